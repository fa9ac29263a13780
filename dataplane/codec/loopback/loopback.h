/* loopback.h — a codec without a wire: what it is to send is set by the caller, what it receives is kept. For driving the
 * HTTP core without sockets, by tests and fuzzers. One stream each. Thread: the worker's. */
#pragma once

#include "dataplane/http/exchange.h"

enum { LOOPBACK_HEADS = 12 };

struct loopback {
    struct leg         leg;
    struct worker     *worker;
    /* as source */
    struct str         to_send;                     /* body bytes left */
    struct fields     *trailers;
    bool               has_ended;                   /* exchange_on_end was called */
    bool               is_stopped;                  /* the other side wants no more */
    /* as sink */
    const struct head *heads[LOOPBACK_HEADS];
    unsigned           head_count;
    struct strbuf      received;
    bool               ends_with_head;
    bool               received_end, received_abort;
    struct fields     *received_trailers;
    unsigned           wanted;                      /* calls of want_pull since the last pull */
    bool               holds_head;                  /* set by the caller: a head can be taken back until the next pull */
    /* both */
    enum abort_code    aborted;                     /* by the core; ABORT_NONE: not */
};

void loopback_init(struct loopback *, struct worker *);
void loopback_finish(struct loopback *);
/* Delivers up to `most` bytes of the body within the credit, and the end once all is delivered. Returns whether it did
 * anything. */
bool loopback_push(struct loopback *, size_t most);
/* Pulls once, at most `max` bytes. Returns whether anything came. */
bool loopback_pull(struct loopback *, size_t max);
