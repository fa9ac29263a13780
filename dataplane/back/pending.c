#include "dataplane/back/pending.h"

#include <stddef.h>

#include "dataplane/back/cluster.h"

static bool (*try_to_go_on)(struct pending *);

void pending_set_try(bool (*f)(struct pending *)) {
    try_to_go_on = f;
}

static void look_again_soon(struct cluster_runtime *c) {
    worker_set_timer(c->worker, &c->queue.timer, c->queue.first ? c->worker->now + WHEEL_TICK_US : 0);
}

static void look(struct cluster_runtime *c) {
    cluster_hold(c);
    while (c->queue.first && try_to_go_on(c->queue.first))
        ;
    look_again_soon(c);
    cluster_release(c);
}

static void flush(struct flushable *f) {
    look((struct cluster_runtime *)((char *)f - offsetof(struct cluster_runtime, queue.flushable)));
}

static void fire(struct timer *t) {
    look((struct cluster_runtime *)((char *)t - offsetof(struct cluster_runtime, queue.timer)));
}

/* Between these two neighbours, either of which may be missing. */
static void insert(struct cluster_runtime *c, struct pending *p, struct pending *prev, struct pending *next) {
    if (!c->queue.first) {
        c->queue.flushable.flush = flush;
        c->queue.timer.fire = fire;
    }
    *p = (struct pending){.next = next, .prev = prev, .cluster = c};
    *(prev ? &prev->next : &c->queue.first) = p;
    *(next ? &next->prev : &c->queue.last) = p;
    cluster_hold(c);
    stats_add(&c->worker->stats->requests_pending, 1);
}

bool pending_enter(struct cluster_runtime *c, struct pending *p) {
    if (!breakers_take(&c->shared->pending, c->breakers.pending))
        return false;
    insert(c, p, c->queue.last, NULL);
    /* Put off by each that joins, the look would not come while they keep coming. */
    worker_hasten_timer(c->worker, &c->queue.timer, c->worker->now + WHEEL_TICK_US);
    return true;
}

void pending_return(struct cluster_runtime *c, struct pending *p) {
    breakers_take(&c->shared->pending, 0);
    insert(c, p, NULL, c->queue.first);
}

void pending_leave(struct pending *p) {
    struct cluster_runtime *c = p->cluster;
    if (!c)
        return;
    *(p->prev ? &p->prev->next : &c->queue.first) = p->next;
    *(p->next ? &p->next->prev : &c->queue.last) = p->prev;
    *p = (struct pending){0};
    breakers_give(&c->shared->pending);
    stats_sub(&c->worker->stats->requests_pending, 1);
    cluster_release(c);
}

void pending_wake(struct cluster_runtime *c) {
    if (c->queue.first)
        worker_mark_dirty(c->worker, &c->queue.flushable);
}

void pending_finish(struct cluster_runtime *c) {
    wheel_remove(&c->worker->wheel, &c->queue.timer);
    worker_forget_dirty(c->worker, &c->queue.flushable);
}
