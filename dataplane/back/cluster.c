#include "dataplane/back/cluster.h"

#include "common/alloc.h"

/* ---- the balancer: weighted round robin, earliest deadline first ----
 * Each turn moves an endpoint's deadline on by 1/weight, which spreads the turns of a heavy endpoint evenly, as nginx's
 * smooth weighted round robin does, at the cost of a heap step instead of a look at every endpoint. */

static bool is_before(const struct endpoint_runtime *a, const struct endpoint_runtime *b) {
    return a->virtual_time < b->virtual_time;
}

static void heap_put(struct cluster_runtime *c, uint32_t i, struct endpoint_runtime *e) {
    c->heap[i] = e;
    e->heap_index = i;
}

static void sift_down(struct cluster_runtime *c, uint32_t i) {
    struct endpoint_runtime *e = c->heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= c->usable)
            break;
        if (child + 1 < c->usable && is_before(c->heap[child + 1], c->heap[child]))
            child++;
        if (!is_before(c->heap[child], e))
            break;
        heap_put(c, i, c->heap[child]);
        i = child;
    }
    heap_put(c, i, e);
}

static struct endpoint_runtime *take_turn(struct cluster_runtime *c) {
    struct endpoint_runtime *e = c->heap[0];
    c->virtual_now = e->virtual_time;
    e->virtual_time += 1.0 / e->weight;
    sift_down(c, 0);
    return e;
}

void pick_note_tried(struct pick *p, const struct endpoint_runtime *e) {
    if (p->tried_count == PICK_TRIED_MAX)
        memmove(p->tried, p->tried + 1, --p->tried_count * sizeof *p->tried);
    p->tried[p->tried_count++] = e;
}

static bool was_tried(const struct pick *p, const struct endpoint_runtime *e) {
    for (uint32_t i = 0; i < p->tried_count; i++)
        if (p->tried[i] == e)
            return true;
    return false;
}

bool endpoint_is_available(const struct endpoint_runtime *e) {
    uint64_t until = atomic_load_explicit(&e->shared->ejected_until, memory_order_relaxed);
    return e->is_usable && until <= e->cluster->worker->now;
}

enum { TRIES = 64 };

struct endpoint_runtime *cluster_pick(struct cluster_runtime *c, const struct pick *p) {
    struct endpoint_runtime *any = NULL;
    for (uint32_t tries = 0; c->usable && tries < TRIES; tries++) {
        struct endpoint_runtime *e = take_turn(c);
        if (!endpoint_is_available(e))
            continue;
        if (!was_tried(p, e))
            return e;
        any = e;
    }
    return any;
}

/* ---- attempts ---- */

void endpoint_began(struct endpoint_runtime *e) {
    e->active++;
}

void endpoint_ended(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    (void)outcome;
    (void)head_latency;
    e->active--;
    endpoint_forget_if_unused(e);
}

/* ---- reconciling ---- */

static void endpoint_free(struct endpoint_runtime *e) {
    hg_free((char *)(uintptr_t)e->hostname.p);
    endpoint_shared_unref(e->shared);
    hg_free(e);
}

static void cluster_free_if_unused(struct cluster_runtime *c) {
    if (!c->is_dropped || c->gone)
        return;
    map_finish(&c->by_address);
    cluster_shared_unref(c->shared);
    hg_free(c->heap);
    hg_free(c);
}

void endpoint_forget_if_unused(struct endpoint_runtime *e) {
    struct cluster_runtime *c = e->cluster;
    if (!e->is_retired || e->connections || e->active)
        return;
    endpoint_free(e);
    c->gone--;
    cluster_free_if_unused(c);
}

/* A new endpoint begins at a random point of its first turn, so that workers and restarts do not march in step. */
static struct endpoint_runtime *endpoint_make(struct cluster_runtime *c, const struct endpoint_definition *d) {
    struct endpoint_runtime *e = hg_calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->address = d->address;
    memcpy(e->text, d->text.p, d->text.n < sizeof e->text ? d->text.n : sizeof e->text - 1);
    e->cluster = c;
    e->open.next = e->open.prev = &e->open;
    e->connecting.next = e->connecting.prev = &e->connecting;
    e->weight = d->weight;
    e->virtual_time = c->virtual_now + worker_random(c->worker) / 4294967296.0 / d->weight;
    if (map_set(&c->by_address, str_of(e->text), e) < 0) {
        hg_free(e);
        return NULL;
    }
    e->shared = endpoint_shared_ref(d->shared);
    return e;
}

static int endpoint_update(struct cluster_runtime *c, const struct endpoint_definition *d) {
    struct endpoint_runtime *e = map_get(&c->by_address, d->text);
    if (!e && !(e = endpoint_make(c, d)))
        return -1;
    if (!str_eq(e->hostname, d->hostname)) {
        char *copy = hg_strndup(d->hostname.p, d->hostname.n);
        if (!copy)
            return -1;
        hg_free((char *)(uintptr_t)e->hostname.p);
        e->hostname = (struct str){copy, d->hostname.n};
        if (c->options.tls && e->connections) /* another name was verified */
            c->epoch++;
    }
    if (!e->is_usable && d->is_usable && e->virtual_time < c->virtual_now)
        e->virtual_time = c->virtual_now; /* what it missed is not made up for */
    e->weight = d->weight;
    e->is_usable = d->is_usable;
    e->is_listed = true;
    return 0;
}

static void retire(struct cluster_runtime *c, struct endpoint_runtime *e) {
    map_remove(&c->by_address, str_of(e->text));
    c->gone++;
    e->is_usable = false;
    e->is_retired = true;
    e->active++;
    pool_close_idle(e);
    e->active--;
    endpoint_forget_if_unused(e);
}

/* Collects first: the map must not change while it is walked. */
static void retire_unlisted(struct cluster_runtime *c) {
    size_t position = 0;
    const struct map_entry *entry;
    struct endpoint_runtime *unlisted = NULL;
    while ((entry = map_next(&c->by_address, &position))) {
        struct endpoint_runtime *e = entry->value;
        if (e->is_listed)
            continue;
        e->next_unlisted = unlisted;
        unlisted = e;
    }
    for (struct endpoint_runtime *e = unlisted, *next; e; e = next) {
        next = e->next_unlisted;
        retire(c, e);
    }
}

static int rebuild_heap(struct cluster_runtime *c) {
    size_t position = 0;
    const struct map_entry *entry;
    struct endpoint_runtime **heap = hg_malloc((c->by_address.count + 1) * sizeof *heap);
    if (!heap)
        return -1;
    hg_free(c->heap);
    c->heap = heap;
    c->usable = 0;
    while ((entry = map_next(&c->by_address, &position))) {
        struct endpoint_runtime *e = entry->value;
        if (e->is_usable)
            heap_put(c, c->usable++, e);
    }
    for (uint32_t i = c->usable / 2; i-- > 0;)
        sift_down(c, i);
    return 0;
}

static void unlist_all(struct cluster_runtime *c) {
    size_t position = 0;
    const struct map_entry *entry;
    while ((entry = map_next(&c->by_address, &position)))
        ((struct endpoint_runtime *)entry->value)->is_listed = false;
}

/* Kept connections speak the old protocol, were verified by other rules or none, or did not begin with a PROXY header. */
static void note_protocol(struct cluster_runtime *c, const struct cluster_definition *d) {
    size_t position = 0;
    const struct map_entry *entry;
    if (c->codec == d->codec && c->options.tls == d->options.tls && c->options.proxy_version == d->options.proxy_version)
        return;
    c->epoch++;
    while ((entry = map_next(&c->by_address, &position)))
        pool_close_idle(entry->value);
}

static int reconcile(struct cluster_runtime *c, const struct cluster_definition *d) {
    int status = 0;
    note_protocol(c, d);
    c->codec = d->codec;
    c->options = d->options;
    c->idle_timeout = d->idle_timeout;
    c->connection_lifetime = d->connection_lifetime;
    c->idle_connections = d->idle_connections;
    c->requests_per_connection = d->requests_per_connection;
    c->usable = 0; /* the heap is rebuilt below */
    unlist_all(c);
    for (size_t i = 0; i < d->endpoint_count && status == 0; i++)
        status = endpoint_update(c, &d->endpoints[i]);
    if (status == 0)
        retire_unlisted(c);
    if (rebuild_heap(c) < 0)
        return -1;
    if (status == 0)
        c->serial = d->serial;
    return status; /* on failure what was there serves on, and it is tried again with the next request */
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
    c->worker = w;
    c->shared = cluster_shared_ref(d->shared);
    c->slot = d->slot;
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
    c->gone--;
    cluster_free_if_unused(c);
}

struct cluster_runtime *cluster_of_older(struct worker *w, const struct cluster_definition *d) {
    bool is_there = cluster_find(w, d->slot) != NULL;
    struct cluster_runtime *c = find_or_make(w, d);
    if (!c || is_there)
        return c;
    c->is_passing = true;
    c->gone++;
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
    c->usable = 0;
    c->gone++; /* holds it until all endpoints are retired */
    unlist_all(c);
    retire_unlisted(c);
    c->is_dropped = true;
    c->gone--;
    cluster_free_if_unused(c);
}

void clusters_finish(struct worker *w) {
    struct cluster_table *t = table_of(w);
    if (!t)
        return;
    for (size_t i = 0; i < t->capacity; i++)
        cluster_drop(w, (uint32_t)i);
    hg_free(t->slots);
    *t = (struct cluster_table){0};
}
