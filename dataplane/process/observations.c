#include "dataplane/process/observations.h"

#include "common/clock.h"
#include "dataplane/admin/totals.h"
#include "dataplane/process/unwell.h"
#include "dataplane/snapshot/dataplane.h"

_Static_assert(ENDPOINT_CANCELLED + 1 == CLUSTER_OUTCOMES, "every outcome has its count");

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

static Headgate__ClusterCounts *cluster_counts(struct arena *arena, const struct cluster_definition *d,
                                               struct unwell_search *search) {
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
    unwell_fill(arena, d, search, c);
    return c->name ? c : NULL;
}

static void fill_clusters(struct arena *arena, const struct snapshot *s, uint32_t number, Headgate__Observation *ret) {
    struct unwell_search search = {.looks = UNWELL_LOOKS, .number = number};
    size_t bytes = 0;
    ret->clusters = arena_calloc(arena, s->cluster_count + 1, sizeof *ret->clusters);
    for (size_t i = 0; i < s->cluster_count; i++) {
        Headgate__ClusterCounts *c =
            ret->clusters && bytes < OBSERVATION_BYTES ? cluster_counts(arena, s->clusters[i], &search) : NULL;
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
    ret->has_connections = ret->has_exchanges = ret->has_quic_connections = true;
    ret->started_us = o->started_us;
    ret->at_us = clock_monotonic_us();
    ret->requests = t.requests_total;
    ret->responses_4xx = t.responses_4xx_total;
    ret->responses_5xx = t.responses_5xx_total;
    ret->connections = t.connections;
    ret->exchanges = t.exchanges;
    ret->quic_connections = t.quic_connections;
    if (s)
        fill_clusters(&o->arena, s, o->answers++, ret);
}

void observations_finish(struct observations *o) {
    arena_finish(&o->arena);
}
