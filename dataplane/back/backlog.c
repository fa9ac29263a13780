/* backlog.c — the clusters of a worker that have endpoints to be made, taken over, looked at, judged or retired: some in
 * each turn of the loop for all of them together, so that neither a very large cluster nor very many of them hold up
 * requests. */
#include "dataplane/back/reconcile.h"

enum { COST_OF_TURN = 1024, COST_OF_ONE = 256 };

static struct cluster_table *table_of(struct worker *w) {
    return w->clusters;
}

static void append(struct cluster_table *t, struct cluster_runtime *c) {
    c->next_busy = NULL;
    *(t->busy_last ? &t->busy_last->next_busy : &t->busy_first) = c;
    t->busy_last = c;
}

static struct cluster_runtime *take_first(struct cluster_table *t) {
    struct cluster_runtime *c = t->busy_first;
    t->busy_first = c->next_busy;
    if (!t->busy_first)
        t->busy_last = NULL;
    return c;
}

static bool has_work(const struct cluster_runtime *c) {
    return c->leaving || c->round.is_under_way || filling_has_work(c) || intervals_have_work(c);
}

/* Requests wait for those that come, and for nobody who leaves. */
static uint32_t go_on(struct cluster_runtime *c, uint32_t most) {
    uint32_t cost = 1;
    if (filling_has_work(c))
        cost += filling_go_on(c, most);
    if (cost < most && c->round.is_under_way)
        cost += rounds_go_on(c, most - cost);
    if (cost < most && intervals_have_work(c))
        cost += intervals_go_on(c, most - cost);
    if (cost < most && c->leaving)
        cost += leaving_go_on(c, most - cost);
    return cost;
}

/* One after the other, each a part of the turn. */
static void do_some(struct cluster_table *t, uint32_t most) {
    for (uint32_t cost = 0; cost < most && t->busy_first;) {
        struct cluster_runtime *c = take_first(t);
        cost += go_on(c, COST_OF_ONE);
        if (has_work(c)) {
            append(t, c);
            continue;
        }
        c->is_busy = false;
        cluster_release(c);
    }
}

static void post(struct worker *w, struct cluster_table *t) {
    if (t->is_posted || !t->busy_first)
        return;
    t->is_posted = true;
    worker_post(w, &t->backlog);
}

static void on_turn(struct worker *w, struct worker_message *m) {
    struct cluster_table *t = table_of(w);
    (void)m;
    t->is_posted = false;
    do_some(t, COST_OF_TURN);
    post(w, t);
}

void backlog_add(struct cluster_runtime *c) {
    struct cluster_table *t = table_of(c->worker);
    if (c->is_busy || !has_work(c))
        return;
    c->is_busy = true;
    cluster_hold(c);
    append(t, c);
    t->backlog.handle = on_turn;
    post(c->worker, t);
}

void backlog_finish(struct worker *w) {
    do_some(table_of(w), UINT32_MAX);
}
