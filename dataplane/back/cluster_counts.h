/* cluster_counts.h — what workers count of a cluster, for people who watch.
 *
 * One block per cluster and worker, made when the worker first has to do with the cluster. It is written by that worker
 * alone, as plain loads and stores, and read by the main thread, and for the retry budget by whoever wants to retry. Blocks
 * live as long as what the workers share of the cluster, so counts outlive changes of its definition. */
#pragma once

#include "common/histogram.h"
#include "dataplane/core/stats.h"

enum { CLUSTER_OUTCOMES = 7 };               /* of enum endpoint_outcome */

struct cluster_counts {
    struct cluster_counts *next;
    const void            *worker;           /* whose it is; compared only */
    _Atomic uint64_t       requests;         /* that were let in: they pay into the retry budget */
    _Atomic uint64_t       began;            /* attempts */
    _Atomic uint64_t       ended[CLUSTER_OUTCOMES];
    _Atomic uint64_t       refused;          /* requests that ended for want of an endpoint, or of room */
    _Atomic uint64_t       latency_us;       /* to the head of the response; the sum, and how often */
    _Atomic uint64_t       latencies[HISTOGRAM_BUCKETS];
};

/* Zeroed: none. */
struct cluster_counts_list {
    _Atomic(struct cluster_counts *) first;
};

/* The worker's block, made if needed. Thread: that worker. NULL: no memory. */
struct cluster_counts *cluster_counts_of(struct cluster_counts_list *, const void *worker);
/* Thread: whoever is last. */
void                   cluster_counts_finish(struct cluster_counts_list *);

/* How many requests all workers have let in so far. Thread: any; it may miss the last ones of other workers. */
uint64_t               cluster_counts_requests(struct cluster_counts_list *);

/* Thread: the worker. */
static inline void cluster_counts_began(struct cluster_counts *c) {
    stats_add(&c->began, 1);
}

static inline void cluster_counts_ended(struct cluster_counts *c, unsigned outcome) {
    stats_add(&c->ended[outcome], 1);
}

/* 0: no head came. */
static inline void cluster_counts_latency(struct cluster_counts *c, uint64_t head_latency) {
    if (!head_latency)
        return;
    stats_add(&c->latency_us, head_latency);
    stats_add(&c->latencies[histogram_bucket(head_latency)], 1);
}

/* As struct cluster_counts, plain numbers. */
struct cluster_totals {
    uint64_t requests, began, ended[CLUSTER_OUTCOMES], refused, latency_us, latencies[HISTOGRAM_BUCKETS];
};

/* The sum over all workers. Thread: main. */
void cluster_counts_read(struct cluster_counts_list *, struct cluster_totals *ret);
