/* http1.h — one HTTP/1.1 response, read as it comes (RFC 9112).
 *
 * Strict: lines end in CR LF, no folded lines, a Content-Length is one number, and not beside a Transfer-Encoding. Memory
 * is bounded by one line. Thread: the checker's. */
#pragma once

#include "controlplane/health/answer.h"

enum { HTTP1_LINE_MAX = 8 << 10, HTTP1_HEAD_MAX = 64 << 10, HTTP1_INTERIM_MAX = 8 };

enum http1_status { HTTP1_MORE, HTTP1_DONE, HTTP1_FAILED };

enum http1_place {
    HTTP1_STATUS_LINE, HTTP1_FIELDS, HTTP1_BODY, HTTP1_CHUNK_SIZE, HTTP1_CHUNK, HTTP1_CHUNK_END, HTTP1_TRAILERS,
};

struct http1_reader {
    struct answer   *answer;
    enum http1_place place;
    struct strbuf    line;          /* the beginning of a line, where it came in pieces */
    size_t           head;          /* bytes of lines so far */
    uint64_t         left;          /* bytes of body or chunk */
    unsigned         interim;       /* responses 1xx so far */
    bool             is_to_head;    /* the request was HEAD */
    bool             is_10, is_kept, is_closed, has_length, is_chunked, is_to_end;
    bool             has_begun;     /* a byte has come */
    bool             is_reusable;   /* once DONE: the connection may serve another request */
    const char      *fault;         /* once FAILED, for people; NULL: no memory here */
};

/* `a` outlives it. */
void http1_init(struct http1_reader *r, struct answer *a, bool is_to_head);
void http1_finish(struct http1_reader *r);
/* DONE: the whole response, or more than ANSWER_BODY_MAX of it. Not again after DONE or FAILED. */
enum http1_status http1_read(struct http1_reader *r, const char *bytes, size_t n);
/* The peer has closed. */
enum http1_status http1_end(struct http1_reader *r);
