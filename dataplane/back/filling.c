/* filling.c — the run-time state of very many endpoints, some at a time: to make it for a hundred thousand takes tens of
 * milliseconds, for which no request and no other work of the worker should wait. One that a choice falls on before its turn
 * is made at once. Balancers that keep all in a heap choose among those that are there. */
#include <stddef.h>

#include "dataplane/back/cluster.h"

/* Well below a millisecond. */
enum { MADE_AT_FIRST = 256, MADE_IN_A_SLICE = 256, LOOKED_AT_IN_A_SLICE = 8192, AGAIN_US = 100000 };

static struct cluster_runtime *cluster_of_filling(struct filling *f) {
    return (struct cluster_runtime *)((char *)f - offsetof(struct cluster_runtime, filling));
}

/* False: no memory. */
static bool make_some(struct cluster_runtime *c, uint32_t most) {
    struct filling *f = &c->filling;
    for (uint32_t looked = 0; f->missing && most && looked < LOOKED_AT_IN_A_SLICE; looked++) {
        uint32_t place = f->at < c->endpoint_count ? f->at : 0;
        f->at = place + 1;
        if (c->endpoints[place])
            continue;
        if (!cluster_make_endpoint(c, place))
            return false;
        most--;
    }
    return true;
}

static void end_if_full(struct cluster_runtime *c) {
    if (c->filling.missing)
        return;
    c->filling.is_beginning = false;
    c->has_changes = true; /* what is simple may be seen only now */
}

static void go_on(struct cluster_runtime *c) {
    struct filling *f = &c->filling;
    if (f->is_posted || !f->missing || c->is_dropped)
        return;
    f->is_posted = true;
    cluster_hold(c);
    worker_post(c->worker, &f->message);
}

static void make_slice(struct cluster_runtime *c, uint32_t most) {
    bool has_memory = make_some(c, most);
    end_if_full(c);
    if (has_memory)
        go_on(c);
    else
        worker_set_timer(c->worker, &c->filling.again, c->worker->now + AGAIN_US);
}

static void on_turn(struct worker *w, struct worker_message *m) {
    struct cluster_runtime *c = cluster_of_filling((struct filling *)m);
    (void)w;
    c->filling.is_posted = false;
    if (!c->is_dropped && c->filling.missing)
        make_slice(c, MADE_IN_A_SLICE);
    cluster_release(c);
}

static void on_again(struct timer *t) {
    go_on(cluster_of_filling((struct filling *)((char *)t - offsetof(struct filling, again))));
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
    f->message.handle = on_turn;
    f->again.fire = on_again;
    f->source.make = make_for_choice;
    f->at = c->endpoint_count ? worker_random(c->worker) % c->endpoint_count : 0; /* each worker begins elsewhere */
    make_slice(c, MADE_AT_FIRST);
}

void filling_stop(struct cluster_runtime *c) {
    worker_set_timer(c->worker, &c->filling.again, 0);
    c->filling.missing = 0;
}
