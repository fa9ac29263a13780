/* breakers.h — how much may be asked of a cluster at once, over all workers of the data plane.
 *
 * Counts are relaxed atomics shared by the workers: one addition when something begins, one when it ends. Whoever finds the
 * count at its bound takes its addition back, so a bound is never exceeded by what goes on. Thread: any. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/resources.pb-c.h"

struct breakers {                            /* bounds; 0: none */
    uint32_t connections, requests, pending;
    uint32_t endpoint_requests, endpoint_connections;
    uint64_t pending_timeout;                /* microseconds that a request may wait for room; 0: it does not wait */
    uint32_t retry_percent, min_retries;     /* the retry budget (retry_budget.h), where 0 is a bound like any other */
    uint32_t retry_tokens, retry_tokens_percent, retry_tokens_per_second;
};

/* What an attempt could not get. */
enum lack {
    LACK_NOTHING,
    LACK_ENDPOINT,                           /* none is available */
    LACK_REQUESTS,
    LACK_PENDING,
    LACK_CONNECTIONS,
    LACK_ENDPOINT_REQUESTS,                  /* this and the next: another endpoint may do */
    LACK_ENDPOINT_CONNECTIONS,
    LACK_COUNT
};

/* What the access log and the error response say: the names that the field knows. Static. */
const char *lack_word(enum lack);

/* `m`: NULL means the defaults. */
void breakers_fill(struct breakers *, const Headgate__CircuitBreakers *m);

/* Counts one more, unless `most` are counted already. */
static inline bool breakers_take(_Atomic uint32_t *count, uint32_t most) {
    uint32_t before = atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    if (most == 0 || before < most)
        return true;
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

static inline void breakers_give(_Atomic uint32_t *count) {
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}
