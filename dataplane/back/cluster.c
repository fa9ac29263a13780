#include "common/alloc.h"
#include "dataplane/back/reconcile.h"

/* ---- endpoints and clusters that are gone ---- */

static void cluster_free_if_unused(struct cluster_runtime *c) {
    if (!c->is_dropped || c->gone)
        return;
    pending_finish(c);
    cluster_members_unref(c->members);
    cluster_shared_unref(c->shared);
    hg_free(c);
}

void cluster_hold(struct cluster_runtime *c) {
    c->gone++;
}

void cluster_release(struct cluster_runtime *c) {
    c->gone--;
    cluster_free_if_unused(c);
}

void endpoint_forget_if_unused(struct endpoint_runtime *e) {
    struct cluster_runtime *c = e->cluster;
    if (!e->is_retired || e->connections || e->candidate.active)
        return;
    endpoint_free(e);
    cluster_release(c);
}

/* ---- reconciling ---- */

bool tls_choices_equal(const struct tls_choice *a, uint32_t a_count, const struct tls_choice *b, uint32_t b_count) {
    bool is_same = a_count == b_count;
    for (uint32_t i = 0; is_same && i < a_count; i++)
        is_same = a[i].id == b[i].id && a[i].tcp == b[i].tcp && a[i].quic == b[i].quic;
    return is_same;
}

/* Kept connections speak the old protocol, were verified by other rules or none, or did not begin with a PROXY header: those
 * of an older epoch are not used again. Returns what is to be seen to at all endpoints. */
static unsigned note_protocol(struct cluster_runtime *c, const struct cluster_definition *d) {
    if (c->codec == d->codec && c->options.tls == d->options.tls && c->options.quic_tls == d->options.quic_tls &&
        tls_choices_equal(c->tls_choices, c->tls_choice_count, d->tls_choices, d->tls_choice_count) &&
        c->options.proxy_version == d->options.proxy_version && c->fallback.codec == d->fallback.codec)
        return 0;
    c->epoch++;
    return ROUND_CLOSES;
}

/* Where detection is switched off, whoever is out comes back. */
static unsigned note_outliers(struct cluster_runtime *c, const struct cluster_definition *d) {
    bool is_switched_off = c->outliers.is_on && !d->outliers.is_on;
    c->outliers = d->outliers;
    return is_switched_off ? ROUND_ENDS_EJECTIONS : 0;
}

static void reconcile(struct cluster_runtime *c, const struct cluster_definition *d) {
    unsigned tasks = note_protocol(c, d) | note_outliers(c, d);
    c->codec = d->codec;
    c->options = d->options;
    c->tls_choices = d->tls_choices;
    c->tls_choice_count = d->tls_choice_count;
    c->fallback = d->fallback;
    c->idle_timeout = d->idle_timeout;
    c->connection_lifetime = d->connection_lifetime;
    c->idle_connections = d->idle_connections;
    c->requests_per_connection = d->requests_per_connection;
    c->breakers = d->breakers;
    if (c->members == d->members || cluster_reconcile_members(c, d->members) == 0)
        c->serial = d->serial; /* otherwise what was there serves on, and it is tried again with the next request */
    if (tasks)
        rounds_begin(c, tasks);
}

/* ---- the worker's table ---- */

static struct cluster_table *table_of(struct worker *w) {
    return w->clusters;
}

static struct cluster_runtime *cluster_make(struct worker *w, const struct cluster_definition *d) {
    struct cluster_table *t = table_of(w);
    size_t old = t->capacity;
    if (hg_grow(&t->slots, &t->capacity, d->slot + 1, sizeof *t->slots) < 0)
        return NULL;
    memset(t->slots + old, 0, (t->capacity - old) * sizeof *t->slots);
    struct cluster_runtime *c = hg_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->counts = cluster_counts_of(&d->shared->counts, w);
    if (!c->counts) {
        hg_free(c);
        return NULL;
    }
    c->worker = w;
    c->shared = cluster_shared_ref(d->shared);
    c->slot = d->slot;
    c->next_look = UINT64_MAX;
    intervals_init(c);
    t->slots[d->slot] = c;
    return c;
}

static struct cluster_runtime *cluster_find(struct worker *w, uint32_t slot) {
    struct cluster_table *t = table_of(w);
    return slot < t->capacity ? t->slots[slot] : NULL;
}

static struct cluster_runtime *find_or_make(struct worker *w, const struct cluster_definition *d) {
    struct cluster_runtime *c = cluster_find(w, d->slot);
    if (c && c->serial >= d->serial)
        return c; /* an exchange of an older snapshot does not bring old endpoints back */
    if (c && c->shared != d->shared) { /* passing; meanwhile the name has left and come back, and is another cluster */
        cluster_drop(w, d->slot);
        c = NULL;
    }
    if (!c && !(c = cluster_make(w, d)))
        return NULL;
    reconcile(c, d);
    return c;
}

struct cluster_runtime *cluster_of(struct worker *w, const struct cluster_definition *d) {
    struct cluster_runtime *c = find_or_make(w, d);
    if (c)
        c->is_passing = false;
    return c;
}

static void end_passing(struct reapable *r) {
    struct cluster_runtime *c = (struct cluster_runtime *)r;
    r->is_reaped = false;
    if (c->is_passing && !c->is_dropped)
        cluster_drop(c->worker, c->slot);
    cluster_release(c);
}

struct cluster_runtime *cluster_of_older(struct worker *w, const struct cluster_definition *d) {
    const struct cluster_runtime *known = cluster_find(w, d->slot);
    struct cluster_runtime *c = find_or_make(w, d);
    if (!c || c == known)
        return c;
    c->is_passing = true;
    cluster_hold(c);
    c->reapable.reap = end_passing;
    worker_reap_later(w, &c->reapable);
    return c;
}

void cluster_drop(struct worker *w, uint32_t slot) {
    struct cluster_table *t = table_of(w);
    struct cluster_runtime *c = cluster_find(w, slot);
    if (!c)
        return;
    t->slots[slot] = NULL;
    cluster_hold(c); /* until all endpoints are retired */
    cluster_retire_all(c);
    c->is_dropped = true;
    intervals_finish(c);
    pending_wake(c);
    cluster_release(c);
}

void clusters_finish(struct worker *w) {
    struct cluster_table *t = table_of(w);
    if (!t)
        return;
    for (size_t i = 0; i < t->capacity; i++)
        cluster_drop(w, (uint32_t)i);
    backlog_finish(w);
    outliers_finish_worker(w);
    hg_free(t->slots);
    t->slots = NULL; /* the backlog's message may be on its way */
    t->capacity = 0;
}
