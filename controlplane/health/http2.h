/* http2.h — requests over HTTP/2 (RFC 9113), one after another on one connection, by nghttp2 in memory.
 *
 * Thread: the checker's. */
#pragma once

#include "controlplane/health/answer.h"

struct http2;

struct http2_request {
    const char *method, *scheme, *authority, *path;
    const char *user_agent;                 /* NULL: none */
    Headgate__HeaderField *const *fields;   /* more of them; names in any case */
    size_t      field_count;
    bool        is_grpc;                    /* Content-Type and TE of gRPC */
    struct str  body;                       /* empty: none */
};

enum http2_status { HTTP2_MORE, HTTP2_DONE, HTTP2_FAILED };

/* NULL: no memory. */
struct http2 *http2_create(void);
void          http2_destroy(struct http2 *h);   /* NULL is allowed */

/* Begins the next request; the one before has ended. `request`'s body and `a` outlive the exchange. 0; -1: no memory. */
int           http2_request(struct http2 *h, const struct http2_request *request, struct answer *a);
/* What is to be sent next; valid until the next call. p NULL: nothing. */
struct str    http2_output(struct http2 *h);
/* DONE: the answer is whole, or longer than ANSWER_BODY_MAX. `n` 0: the peer has closed. */
enum http2_status http2_input(struct http2 *h, const void *bytes, size_t n);
/* The answer may go: whatever still comes of the request is passed over. */
void          http2_forget(struct http2 *h);
/* After DONE: whether another request may follow. */
bool          http2_is_reusable(const struct http2 *h);
/* After http2_output: the peer broke the protocol, and has been told so. */
bool          http2_is_broken(const struct http2 *h);
/* The peer will have processed nothing of the request: it was refused, or beyond its GOAWAY. */
bool          http2_is_unprocessed(const struct http2 *h);
/* After FAILED, for people. NULL, at any time: there was no memory here, and the connection is of no use any more. */
const char   *http2_fault(const struct http2 *h);
