/* retry_budget.h — how many retries and hedges a cluster's requests may make, over all workers of the data plane.
 *
 * Two bounds, and both must hold. How many are under way: a share of the requests under way, or a few. How many there are
 * in all: a bucket of tokens, of which each retry takes one. Each request pays in a share of a token, and time a few per
 * second; the bucket begins full and holds no more than its size. So over any time
 *
 *     retries <= size + requests * share + seconds * per_second
 *
 * The bucket is one for all workers, and requests do not touch it: each worker counts its own requests (cluster_counts.h),
 * and whoever wants a retry pays in for all that came since the last one. Thread: any. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct breakers;
struct cluster_shared;

/* Zeroed: full, whatever its size. */
struct retry_bucket {
    _Atomic uint64_t spent;                  /* hundredths of a token that are missing */
    _Atomic uint64_t paid_requests;          /* how many requests have paid in */
    _Atomic uint64_t paid_until;             /* until when time has: microseconds */
};

/* One more retry or hedge under way, if the budget allows it. retry_budget_give ends it, and gives no token back. `now`:
 * microseconds; clocks of workers may differ a little. */
bool retry_budget_take(struct cluster_shared *, const struct breakers *, uint64_t now);
void retry_budget_give(struct cluster_shared *);
