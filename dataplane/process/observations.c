#include "dataplane/process/observations.h"

#include "common/clock.h"
#include "dataplane/admin/totals.h"
#include "dataplane/back/cluster.h"
#include "dataplane/snapshot/dataplane.h"

_Static_assert(ENDPOINT_CANCELLED + 1 == CLUSTER_OUTCOMES, "every outcome has its count");

/* ---- endpoints ---- */

static bool is_unwell(const struct endpoint_definition *e, const struct endpoint_shared *shared, uint64_t now,
                      Headgate__UnwellEndpoint__Why *ret) {
    if (e->is_draining)
        *ret = HEADGATE__UNWELL_ENDPOINT__WHY__DRAINING;
    else if (!e->is_usable)
        *ret = HEADGATE__UNWELL_ENDPOINT__WHY__UNHEALTHY;
    else if (atomic_load_explicit(&shared->ejected_until, memory_order_relaxed) > now)
        *ret = HEADGATE__UNWELL_ENDPOINT__WHY__EJECTED;
    else
        return false;
    return true;
}

static void add_unwell(struct arena *arena, Headgate__ClusterCounts *c, const struct endpoint_definition *e,
                       Headgate__UnwellEndpoint__Why why) {
    if (!c->unwell)
        c->unwell = arena_calloc(arena, OBSERVATION_UNWELL, sizeof *c->unwell);
    Headgate__UnwellEndpoint *u = c->unwell && c->n_unwell < OBSERVATION_UNWELL ? arena_alloc(arena, sizeof *u) : NULL;
    if (!u)
        return;
    headgate__unwell_endpoint__init(u);
    u->address = (char *)(uintptr_t)arena_str(arena, e->text).p;
    u->has_why = true;
    u->why = why;
    if (u->address)
        c->unwell[c->n_unwell++] = u;
}

static void fill_endpoints(struct arena *arena, const struct cluster_members *m, Headgate__ClusterCounts *c) {
    uint64_t now = clock_monotonic_us();
    c->has_endpoints = c->has_unhealthy = c->has_draining = c->has_ejected = true;
    c->endpoints = m->count;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct endpoint_definition *e = &m->endpoints[i];
        Headgate__UnwellEndpoint__Why why;
        if (!is_unwell(e, e->shared, now, &why))
            continue;
        c->unhealthy += why == HEADGATE__UNWELL_ENDPOINT__WHY__UNHEALTHY;
        c->draining += why == HEADGATE__UNWELL_ENDPOINT__WHY__DRAINING;
        c->ejected += why == HEADGATE__UNWELL_ENDPOINT__WHY__EJECTED;
        add_unwell(arena, c, e, why);
    }
}

/* ---- clusters ---- */

static void fill_latencies(struct arena *arena, const struct cluster_totals *t, Headgate__ClusterCounts *c) {
    size_t n = HISTOGRAM_BUCKETS;
    while (n && !t->latencies[n - 1])
        n--;
    c->has_latency_us = true;
    c->latency_us = t->latency_us;
    c->latency_buckets = n ? arena_memdup(arena, t->latencies, n * sizeof *t->latencies) : NULL;
    c->n_latency_buckets = c->latency_buckets ? n : 0;
}

static void fill_counts(const struct cluster_totals *t, Headgate__ClusterCounts *c) {
    c->has_attempts = c->has_succeeded = c->has_responses_5xx = c->has_failures = c->has_cancelled = true;
    c->attempts = t->began;
    c->succeeded = t->ended[ENDPOINT_SUCCESS];
    c->responses_5xx = t->ended[ENDPOINT_5XX] + t->ended[ENDPOINT_GATEWAY_FAILURE];
    c->failures = t->ended[ENDPOINT_CONNECT_FAILURE] + t->ended[ENDPOINT_RESET] + t->ended[ENDPOINT_TIMEOUT];
    c->has_refused = true;
    c->refused = t->refused;
    c->cancelled = t->ended[ENDPOINT_CANCELLED];
}

static uint32_t read_gauge(const _Atomic uint32_t *gauge) {
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

static Headgate__ClusterCounts *cluster_counts(struct arena *arena, const struct cluster_definition *d) {
    struct cluster_totals totals;
    Headgate__ClusterCounts *c = arena_alloc(arena, sizeof *c);
    if (!c)
        return NULL;
    headgate__cluster_counts__init(c);
    c->name = (char *)(uintptr_t)arena_str(arena, d->name).p;
    cluster_counts_read(&d->shared->counts, &totals);
    fill_counts(&totals, c);
    c->has_connections = c->has_waiting = true;
    c->connections = read_gauge(&d->shared->connections);
    c->waiting = read_gauge(&d->shared->pending);
    fill_latencies(arena, &totals, c);
    fill_endpoints(arena, d->members, c);
    return c->name ? c : NULL;
}

static void fill_clusters(struct arena *arena, const struct snapshot *s, Headgate__Observation *ret) {
    size_t bytes = 0;
    ret->clusters = arena_calloc(arena, s->cluster_count + 1, sizeof *ret->clusters);
    for (size_t i = 0; i < s->cluster_count; i++) {
        Headgate__ClusterCounts *c =
            ret->clusters && bytes < OBSERVATION_BYTES ? cluster_counts(arena, s->clusters[i]) : NULL;
        if (!c) {
            ret->clusters_left_out++;
            continue;
        }
        bytes += headgate__cluster_counts__get_packed_size(c);
        ret->clusters[ret->n_clusters++] = c;
    }
    ret->has_clusters_left_out = true;
}

void observations_fill(struct observations *o, Headgate__Observation *ret) {
    const struct snapshot *s = dataplane_snapshot(o->dataplane);
    struct totals t;
    totals_read(o->dataplane, &t);
    arena_finish(&o->arena);
    arena_init(&o->arena, NULL, 0, 0);
    ret->has_started_us = ret->has_at_us = ret->has_requests = ret->has_responses_4xx = ret->has_responses_5xx = true;
    ret->has_connections = ret->has_exchanges = true;
    ret->started_us = o->started_us;
    ret->at_us = clock_monotonic_us();
    ret->requests = t.requests_total;
    ret->responses_4xx = t.responses_4xx_total;
    ret->responses_5xx = t.responses_5xx_total;
    ret->connections = t.connections;
    ret->exchanges = t.exchanges;
    if (s)
        fill_clusters(&o->arena, s, ret);
}

void observations_finish(struct observations *o) {
    arena_finish(&o->arena);
}
