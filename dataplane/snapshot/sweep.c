#include "dataplane/snapshot/sweep.h"

#include "dataplane/back/reconcile.h"
#include "dataplane/snapshot/build.h"

/* In looks at an endpoint: a slice stays well below a millisecond. Closing a kept connection is a system call. */
enum { COST_OF_SLICE = 1024, COPIED_PER_LOOK = 64 };

static struct cluster_runtime *find(const struct worker *w, uint32_t slot) {
    const struct cluster_table *t = w->clusters;
    return slot < t->capacity ? t->slots[slot] : NULL;
}

/* Very many are not looked at here but by and by. */
static size_t at_once(size_t endpoints) {
    return endpoints > CHANGED_AT_ONCE ? CHANGED_AT_ONCE : endpoints;
}

/* Both return how many endpoints they looked at. Without run-time state there is nothing to do. */
static size_t drop(struct worker *w, uint32_t slot) {
    const struct cluster_runtime *c = find(w, slot);
    size_t count = c ? c->endpoint_count : 0;
    cluster_drop(w, slot);
    return at_once(count);
}

/* Of endpoints that have not changed only pointers are copied, when the worker has what came right before. */
static size_t cost_of(const struct cluster_members *from, const struct cluster_members *to) {
    size_t both = (from ? from->count : 0) + (size_t)to->count;
    if (from == to)
        return 0;
    bool follows = from && to->previous_serial == from->serial;
    return follows ? both / COPIED_PER_LOOK + at_once((size_t)to->changed_count + to->removed_count) : both;
}

static size_t reconcile(struct worker *w, const struct cluster_definition *d) {
    const struct cluster_runtime *c = find(w, d->slot);
    if (!c)
        return 0;
    size_t count = cost_of(c->members, d->members);
    cluster_of(w, d);
    return count;
}

/* Returns what it cost. */
static size_t do_next(struct sweep *s, struct worker *w, const struct snapshot *snapshot) {
    uint64_t kept = stats_read(&w->stats->origin_idle_connections);
    size_t i = s->done++;
    size_t endpoints = i < snapshot->dropped_count ? drop(w, snapshot->dropped[i])
                                                   : reconcile(w, snapshot->changed[i - snapshot->dropped_count]);
    return 1 + endpoints + COST_OF_CLOSING * (kept - stats_read(&w->stats->origin_idle_connections));
}

static void finish(struct sweep *s, struct worker *w) {
    struct snapshot_view *view = s->view, *before = s->before;
    s->view = s->before = NULL;
    view_unref(w, view);
    if (before)
        view_unref(w, before);
}

static void do_slice(struct worker *w, struct worker_message *m) {
    struct sweep *s = (struct sweep *)m;
    const struct snapshot *snapshot = s->view->snapshot;
    size_t total = snapshot->dropped_count + snapshot->changed_count;
    s->is_posted = false;
    for (size_t cost = 0; cost < COST_OF_SLICE && s->done < total;)
        cost += do_next(s, w, snapshot);
    if (s->done < total) {
        s->is_posted = true;
        worker_post(w, m);
        return;
    }
    finish(s, w);
}

/* A name may come back with the next snapshot, so it has to be gone by then; and a cluster that this one changed and the
 * next does not would be reconciled by nobody. */
static void cut_short(struct sweep *s, struct worker *w) {
    if (!s->view)
        return;
    const struct snapshot *snapshot = s->view->snapshot;
    while (s->done < snapshot->dropped_count + snapshot->changed_count)
        do_next(s, w, snapshot);
    finish(s, w);
}

void sweep_begin(struct sweep *s, struct worker *w, struct snapshot_view *view, struct snapshot_view *before) {
    view_ref(view);
    cut_short(s, w);
    s->message.handle = do_slice;
    s->view = view;
    s->before = before;
    s->done = 0;
    if (!s->is_posted)
        do_slice(w, &s->message);
}
