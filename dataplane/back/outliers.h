/* outliers.h — passive outlier detection: an endpoint whose answers or failures stand out is left alone for a time.
 *
 * Rows of failures are counted for all workers together; whoever counts one too many ejects, at once and for all. What is
 * judged by interval is in intervals.h.
 * A cluster has places for those that are out, a share of its endpoints: a place is taken first, so that workers that race
 * do not take more together. docs/internals/clusters.md, "Outliers". Thread: the worker's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/stats.h"

struct cluster_runtime;
struct endpoint_runtime;
struct endpoint_shared;
struct worker;

/* How an attempt ended. */
enum endpoint_outcome {
    ENDPOINT_SUCCESS,
    ENDPOINT_5XX,                /* but for the next */
    ENDPOINT_GATEWAY_FAILURE,    /* the origin's 502, 503, 504 */
    ENDPOINT_CONNECT_FAILURE,
    ENDPOINT_RESET,              /* the connection broke, or what came was no response */
    ENDPOINT_TIMEOUT,            /* to connect, or of the response */
    ENDPOINT_CANCELLED,          /* the client's end, or ours: says nothing of the endpoint */
};

enum {
    OUTLIER_ROW_MOST = 1000000,          /* of the three thresholds */
    OUTLIER_TIME_LEAST = 1000,           /* microseconds; of interval, base_ejection and max_ejection */
};

/* As OutlierDetection of the resources. Zeroed: off. */
struct outlier_rules {
    bool     is_on, has_intervals;       /* one of success_rate_factor, failure_percent and latency_factor is set */
    uint32_t consecutive_5xx, consecutive_gateway_failures, consecutive_local_failures; /* 0: off */
    uint64_t interval;
    uint32_t success_rate_factor;        /* thousandths of a standard deviation */
    uint32_t failure_percent, latency_factor;
    uint32_t min_endpoints, min_requests;
    uint64_t base_ejection, max_ejection; /* microseconds, above 0 */
    uint32_t max_ejected_percent;
};

/* Why: name in code, word in metrics and logs. The order of the members of struct stats. */
enum ejection_reason {
#define EJECTION_REASON(name, word) EJECTION_##name,
    STATS_EJECTIONS(EJECTION_REASON)
#undef EJECTION_REASON
};

/* One that this worker has ejected, until its time is over. The worker's, whatever becomes of endpoint and cluster. */
struct ejection;

/* As endpoint_ended. Only with rules that are on. */
void outliers_note(struct endpoint_runtime *, enum endpoint_outcome, uint64_t head_latency);
/* If it is out, it comes back. Returns whether it was. */
bool outliers_end(struct cluster_runtime *, struct endpoint_shared *);
/* The endpoint has left the cluster on this worker. `is_for_good`: in the newest definition; then its place is free. */
void outliers_leave(struct endpoint_runtime *, bool is_for_good);
/* Nothing happens when it is out already, or the cluster has no place. */
void outliers_eject(struct cluster_runtime *, struct endpoint_shared *, enum ejection_reason);
/* Forgets the ejections of this worker; those who are out come back by the clock. */
void outliers_finish_worker(struct worker *);
/* How many endpoints of a cluster of so many may be out. */
uint32_t outliers_most(const struct outlier_rules *, uint32_t endpoints);
