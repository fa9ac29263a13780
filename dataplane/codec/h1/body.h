/* body.h — message bodies of HTTP/1.1 connections, the part that client and server side share.
 *
 * Reading turns bytes into slices for the exchange, within its credit. Writing pulls slices and frames them. Thread: the
 * worker's. */
#pragma once

#include "dataplane/codec/h1/chunked.h"
#include "dataplane/codec/h1/parser.h"
#include "dataplane/http/exchange.h"
#include "dataplane/net/gather.h"

struct h1_body_reader {
    enum h1_framing framing;
    uint64_t        left;                /* H1_BODY_LENGTH */
    uint64_t        bytes;               /* body bytes seen */
    struct chunked *chunked;             /* in the exchange's arena */
    bool            is_done;
};

enum h1_body_result { H1_READ_MORE, H1_READ_END, H1_READ_ERROR, H1_READ_GONE };

/* `length` with H1_BODY_LENGTH. Returns 0, or -1 without memory. `limits` stays as long as the exchange. */
int h1_body_reader_init(struct h1_body_reader *r, enum h1_framing framing, uint64_t length, const struct h1_limits *limits,
                        struct arena *arena);
/* Delivers what credit allows; *ret_used bytes are taken. `is_hot`: the bytes lie in the hot buffer, otherwise they are
 * copied. END: exchange_on_end has been called. ERROR: *ret_error says why. GONE: the exchange ended meanwhile. */
enum h1_body_result h1_body_read(struct h1_body_reader *r, struct leg *leg, struct worker *w, const uint8_t *bytes, size_t n,
                                 bool is_hot, size_t *ret_used, enum h1_error *ret_error);

/* RFC 9112 section 6: how the end of this response is told; sets content_length and chunked accordingly. `is_old`: the
 * client speaks HTTP/1.0. `ends`: no body follows. */
enum h1_framing h1_frame_response(struct head *head, bool is_head_request, bool is_old, bool ends);

struct h1_body_writer {
    enum h1_framing framing;
    uint64_t        left;                /* H1_BODY_LENGTH */
    bool            is_done;
};

enum h1_write_result {
    H1_WRITE_WAIT,                       /* nothing more for now */
    H1_WRITE_FULL,                       /* the gather is full: send it and call again */
    H1_WRITE_END,                        /* complete */
    H1_WRITE_BROKEN,                     /* broken off, or not as long as announced: the connection must be cut */
};

enum h1_write_result h1_body_write(struct h1_body_writer *w, struct leg *leg, struct gather *g);

/* Bytes received and not taken yet. A zeroed struct is valid. */
struct h1_input {
    char  *p;
    size_t n, capacity;
};

int  h1_input_add(struct h1_input *in, const void *bytes, size_t n);  /* 0 or -1 */
void h1_input_drop(struct h1_input *in, size_t n);                    /* the first n; frees the memory when all are gone */
void h1_input_finish(struct h1_input *in);
