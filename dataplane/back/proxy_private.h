/* proxy_private.h — what the files of the proxy share: the state of one exchange, and its attempts. Thread: the
 * worker's. */
#pragma once

#include "dataplane/back/cluster.h"
#include "dataplane/back/retry_policy.h"
#include "dataplane/http/exchange.h"

/* One request to one endpoint. */
struct attempt {
    struct endpoint_runtime *endpoint;       /* while it is under way */
    struct client_waiter     waiter;         /* for a connection that is being made */
    struct exchange         *exchange;
    struct leg              *leg;            /* of a hedge: sent, and not yet the exchange's back */
    uint64_t                 began, head_latency;
    uint16_t                 status;         /* of the final head; 0: none yet */
    bool                     was_kept;       /* its connection had been kept, with nothing to carry */
    bool                     is_under_way;   /* the endpoint counts it */
    bool                     is_bounded;     /* it counts for the endpoint's bound, too */
    bool                     is_open;        /* a tunnel: what it says of the endpoint was learnt when it was opened */
    bool                     is_pending;     /* it counts among those that wait for a connection */
};

/* What the proxy's timer is for. */
enum proxy_wait { WAITS_FOR_NOTHING, WAITS_TO_RETRY, WAITS_FOR_ROOM, WAITS_TO_HEDGE };

/* Of one exchange, in x->terminal_state. */
struct proxy {
    const struct cluster_definition *cluster;      /* NULL: it is an open tunnel, ... */
    struct cluster_shared           *tunnel_of;    /* ... which keeps this instead */
    struct attempt                  *current;      /* whose leg is the exchange's back; NULL: nothing is forwarded */
    struct attempt                  *hedge;        /* beside it, in the exchange's arena; NULL: none */
    struct attempt                   first;
    struct timer                     timer;
    struct pending                   place;        /* in the queue */
    uint32_t                         retries_left;
    uint8_t                          unprocessed_left; /* further attempts at what no origin has looked at */
    uint8_t                          waits;        /* enum proxy_wait */
    uint8_t                          lacks;        /* enum lack: what it waits for */
    bool                             is_counted;   /* among the cluster's requests; not while it waits in the queue */
    bool                             was_let_in;   /* it has been, and has paid into the retry budget */
    bool                             holds_retry;  /* counts as a retry in the budget */
    bool                             holds_hedge;  /* and as a hedge */
    bool                             has_retried, has_hedged, was_refused;
    struct pick                      pick;
};

static inline struct proxy *proxy_of(struct exchange *x) {
    return (struct proxy *)x->terminal_state;
}

/* ---- proxy.c */

/* The cluster's run-time state; NULL: no memory. */
struct cluster_runtime *proxy_find_cluster(struct exchange *);
/* An endpoint for the next attempt; NULL: none is available. That one merely had no room is no reason to leave its
 * priority. */
struct endpoint_runtime *proxy_pick(struct exchange *, struct cluster_runtime *);
/* Another attempt at some endpoint, now or when there is room. The one before ends. */
void proxy_attempt(struct exchange *);
void proxy_forget_attempt(struct exchange *);
/* It joins the queue where the cluster has one; else, or when that is full, it ends. */
void proxy_lacks(struct exchange *, struct cluster_runtime *, enum lack);
void proxy_set_timer(struct exchange *, enum proxy_wait, uint64_t when); /* 0: none */

/* ---- attempt.c */

void attempt_init(void);
/* Begins the attempt at this endpoint. What it lacks: then nothing has happened. */
enum lack attempt_begin(struct attempt *, struct endpoint_runtime *);
/* Its connection is no longer waited for; its leg, if it has one, is dropped by whoever ends it. It may be ended again. */
void attempt_end(struct attempt *, enum endpoint_outcome);
/* It has become a tunnel, and goes on. */
void attempt_opened(struct attempt *);
enum endpoint_outcome outcome_of_abort(enum abort_code);
enum endpoint_outcome outcome_of_status(unsigned status);
void proxy_note_endpoint(struct exchange *, const struct endpoint_runtime *);
/* The time of one attempt counts from when it began. */
void proxy_set_try_deadline(struct exchange *, const struct attempt *);

/* ---- retries.c; the first three as in struct terminal_ops */

bool retry_after_abort(struct exchange *, enum abort_code);
bool retry_refuses(struct exchange *, struct head *);
void retry_on_deadline(struct exchange *);
void retry_finish(struct proxy *);           /* the budget gets back what it counts of this exchange */

/* ---- direct.c */

/* False: the request is to be forwarded. */
bool direct_answer(struct exchange *);

/* ---- hedge.c */

void hedge_plan(struct exchange *);          /* the first attempt has begun */
void hedge_begin(struct exchange *);         /* its time has come */
/* The hedge has a connection: this leg is to carry it. */
void hedge_send(struct exchange *, struct leg *, const struct head *);
void hedge_failed(struct exchange *, enum abort_code);
void hedge_cancel(struct exchange *);        /* if there is one */
void hedge_take_over(struct exchange *);     /* the current attempt has ended: the hedge is what is left */
/* For the core, see struct terminal_ops. */
bool hedge_on_head(struct exchange *, const struct head *);
void hedge_on_abort(struct exchange *, enum abort_code);
