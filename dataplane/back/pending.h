/* pending.h — requests that wait for room below a cluster's bounds, or for an endpoint: one queue for each cluster and
 * worker, first come first served.
 *
 * What may have made room on this worker wakes the queue (pending_wake): it is looked at when the turn's output is flushed.
 * What other workers give back, and endpoints that become available, are found by looking every ten milliseconds while
 * somebody waits. How many wait is bounded over all workers by the cluster's `pending`; how long is the waiter's business.
 * Thread: the worker's. */
#pragma once

#include <stdbool.h>

#include "dataplane/core/worker.h"

struct cluster_runtime;

/* Who waits. Zeroed: does not. */
struct pending {
    struct pending         *next, *prev;
    struct cluster_runtime *cluster;         /* NULL: does not wait. It lives at least as long */
};

struct pending_queue {
    struct pending  *first, *last;
    struct flushable flushable;
    struct timer     timer;
};

/* Joins at the end. False: too many wait. */
bool pending_enter(struct cluster_runtime *, struct pending *);
/* One that has just left, and found no room, is the first again. */
void pending_return(struct cluster_runtime *, struct pending *);
void pending_leave(struct pending *);        /* one that does not wait may leave, too */
/* There may be room. */
void pending_wake(struct cluster_runtime *);

/* Tries to go on. False: there is no room, it still waits, and so do those behind it. Otherwise it has left. Set once by the
 * program. */
void pending_set_try(bool (*try_to_go_on)(struct pending *));
/* cluster.c: nobody waits, and the cluster's memory goes. */
void pending_finish(struct cluster_runtime *);
