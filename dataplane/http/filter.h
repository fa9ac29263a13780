/* filter.h — what a filter is: all that a filter includes.
 *
 * A chain is an onion. The request head visits layer 0, 1, ... n-1 and then the terminal (proxy, static response, ...); the
 * response head visits n-1, ... 0. A layer that never saw the request never sees the response. Bodies are pulled through the
 * stages of the layers in the same order: not being asked is the pause, and a layer without a stage costs nothing.
 * Thread: the exchange's worker. No operation may free the exchange, and none is called while another one of the same layer
 * runs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dataplane/core/slice.h"
#include "dataplane/http/head.h"

struct exchange;
struct layer;

enum verdict {
    GO_ON,
    WAIT,                      /* parked until exchange_resume(); one resumption before the hook returned is remembered */
    REPLIED,                   /* on_request: exchange_reply() was called. on_response: head replaced, the old body stops */
};

enum pull {
    PULL_DATA,                 /* a slice was taken out */
    PULL_WAIT,                 /* nothing now; want_pull will follow */
    PULL_ROOM,                 /* there is something, but `max` is too small for it: ask again when more can be taken */
    PULL_END,                  /* complete; trailers with exchange_trailers() */
    PULL_ABORT,                /* broken off */
};

struct filter_ops {
    const char *name;
    size_t      state_size;                                              /* zeroed, for each layer; lives as the exchange */
    size_t      hold_max;                                                /* bytes kept back at most, within its limit */
    enum verdict (*on_request)(struct layer *, struct head *);           /* NULL: GO_ON */
    enum verdict (*on_response)(struct layer *, struct head *);
    /* Stages: pull from the inner side with layer_pull_request / layer_pull_response and give at most `max` bytes.
     * A slice that is kept beyond the call must be made owned first. NULL: transparent. */
    enum pull  (*pull_request)(struct layer *, size_t max, struct slice **ret);
    enum pull  (*pull_response)(struct layer *, size_t max, struct slice **ret);
    void       (*on_request_trailers)(struct layer *, struct fields *);
    void       (*on_response_trailers)(struct layer *, struct fields *);
    void       (*on_done)(struct layer *);                               /* exactly once per entered layer, inner first */
    bool         tunnel_ok;                                              /* its stages may see tunnel bytes */
};

struct filter {                /* one entry of a chain: immutable, shared by all workers */
    const struct filter_ops *ops;
    const void              *config;
};

struct layer {                 /* a filter at work in one exchange */
    const struct filter *filter;
    struct exchange     *exchange;
    void                *state;
    unsigned             index;
    bool                 entered, done;
};

/* What stands further in (request: towards the client; response: towards the origin). Same results as a stage's. */
enum pull layer_pull_request(struct layer *, size_t max, struct slice **ret);
enum pull layer_pull_response(struct layer *, size_t max, struct slice **ret);

/* Continues after WAIT. Thread: the worker's; may be called at any time until on_done. */
void exchange_resume(struct exchange *, struct layer *, enum verdict);
/* Answers in place of the origin: status, content type and body (copied). For on_request, followed by REPLIED. Returns 0 or
 * -1. */
int  exchange_reply(struct exchange *, unsigned status, const char *content_type, const void *body, size_t size);
struct arena *exchange_arena(struct exchange *);          /* memory that lives as long as the exchange */
struct worker *exchange_worker(struct exchange *);
