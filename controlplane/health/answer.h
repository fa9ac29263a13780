/* answer.h — the answer to one check over HTTP or gRPC, and whether it is the one that was wanted.
 *
 * http1.c and http2.c hand over what comes; nothing here knows how. Memory is bounded by ANSWER_BODY_MAX. Thread: the
 * checker's. */
#pragma once

#include "common/str.h"
#include "proto/resources.pb-c.h"

enum { ANSWER_BODY_MAX = 64 << 10, ANSWER_HEADERS_MAX = 64, REASON_MAX = 192 };

struct answer {
    const Headgate__HttpCheck *http;    /* what is wanted; NULL: SERVING, as gRPC says it */
    unsigned      status;               /* 0: none has come */
    uint64_t      seen;                 /* a bit for each of http->expect_headers that has come */
    struct strbuf body;                 /* the first ANSWER_BODY_MAX bytes, where it matters */
    size_t        body_size;            /* bytes of body that came */
    int           grpc_status;          /* of the trailers; -1: none has come */
    char          grpc_message[96];
    bool          has_no_memory;        /* here, to look at it: nothing is known */
};

/* `http` outlives it. */
void answer_init(struct answer *a, const Headgate__HttpCheck *http);
void answer_finish(struct answer *a);

/* `name` in any case. Trailers too. */
void answer_field(struct answer *a, struct str name, struct str value);
/* False: no memory. */
bool answer_body(struct answer *a, const void *bytes, size_t n);

/* Of a whole answer, or one whose body is longer than ANSWER_BODY_MAX. Otherwise `reason` says what is wrong, or
 * has_no_memory is set. */
bool answer_is_wanted(struct answer *a, char reason[REASON_MAX]);
