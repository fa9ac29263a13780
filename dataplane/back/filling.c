/* filling.c — the run-time state of very many endpoints, some at a time: to make or change it for a hundred thousand takes
 * tens of milliseconds, for which no request and no other work of the worker should wait. One that a choice falls on before
 * its turn is made at once. Balancers that keep all in a heap choose among those that are there. */
#include <stddef.h>

#include "common/alloc.h"
#include "dataplane/back/reconcile.h"

enum { MADE_AT_FIRST = 256, AGAIN_US = 100000 };

static struct cluster_runtime *cluster_of_filling(struct filling *f) {
    return (struct cluster_runtime *)((char *)f - offsetof(struct cluster_runtime, filling));
}

bool filling_has_work(const struct cluster_runtime *c) {
    return c->filling.missing && !c->filling.waits && !c->is_dropped;
}

static void end_if_full(struct cluster_runtime *c) {
    if (c->filling.missing)
        return;
    hg_free(c->earlier);
    c->earlier = NULL;
    c->filling.is_beginning = false;
    c->has_changes = true; /* what is simple may be seen only now */
}

void filling_made_one(struct cluster_runtime *c) {
    c->filling.missing--;
    end_if_full(c);
}

uint32_t filling_go_on(struct cluster_runtime *c, uint32_t most) {
    struct filling *f = &c->filling;
    uint32_t cost = 0, looks = 0;
    while (f->missing && !f->waits && cost + looks / LOOKS_PER_COST < most) {
        uint32_t place = f->at < c->endpoint_count ? f->at : 0;
        f->at = place + 1;
        if (c->endpoints[place]) {
            looks++;
            continue;
        }
        cost += COST_OF_MAKING;
        f->waits = !cluster_make_endpoint(c, place);
    }
    if (f->waits)
        worker_set_timer(c->worker, &f->again, c->worker->now + AGAIN_US);
    return cost + looks / LOOKS_PER_COST;
}

static void on_again(struct timer *t) {
    struct cluster_runtime *c = cluster_of_filling((struct filling *)t);
    c->filling.waits = false;
    backlog_add(c);
}

/* A choice has fallen on one that is not there yet. */
static struct candidate *make_for_choice(struct candidate_source *source, uint32_t place, bool panics) {
    struct cluster_runtime *c = cluster_of_filling((struct filling *)((char *)source - offsetof(struct filling, source)));
    const struct endpoint_definition *d = &c->members->endpoints[place];
    bool is_wanted = d->is_usable || (panics && !d->is_draining);
    return is_wanted ? cluster_make_endpoint(c, place) : NULL;
}

void filling_begin(struct cluster_runtime *c) {
    struct filling *f = &c->filling;
    f->again.fire = on_again;
    f->source.make = make_for_choice;
    if (!c->is_busy && c->endpoint_count)
        f->at = worker_random(c->worker) % c->endpoint_count; /* each worker begins elsewhere */
    f->waits = false;
    end_if_full(c);
    filling_go_on(c, (c->endpoint_count > CHANGED_AT_ONCE ? MADE_AT_FIRST : CHANGED_AT_ONCE) * COST_OF_MAKING);
    backlog_add(c);
}

void filling_stop(struct cluster_runtime *c) {
    wheel_remove(&c->worker->wheel, &c->filling.again); /* the cluster may be freed before its slot comes by */
    c->filling.missing = 0;
}
