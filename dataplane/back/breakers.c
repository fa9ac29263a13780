#include "dataplane/back/breakers.h"

#include "dataplane/back/cluster.h"

const char *lack_word(enum lack lack) {
    static const char *const words[LACK_COUNT] = {
        [LACK_NOTHING] = "none",
        [LACK_ENDPOINT] = "no-endpoint",
        [LACK_REQUESTS] = "upstream_rq_overflow",
        [LACK_PENDING] = "upstream_rq_pending_overflow",
        [LACK_CONNECTIONS] = "upstream_cx_overflow",
        [LACK_ENDPOINT_REQUESTS] = "endpoint_rq_overflow",
        [LACK_ENDPOINT_CONNECTIONS] = "endpoint_cx_overflow",
    };
    return words[lack];
}

void breakers_fill(struct breakers *b, const Headgate__CircuitBreakers *m) {
    static const Headgate__CircuitBreakers defaults = HEADGATE__CIRCUIT_BREAKERS__INIT;
    if (!m)
        m = &defaults;
    *b = (struct breakers){
        .connections = m->connections,
        .requests = m->requests,
        .pending = m->pending,
        .endpoint_requests = m->endpoint_requests,
        .endpoint_connections = m->endpoint_connections,
        .pending_timeout = m->pending_timeout,
        .retry_percent = m->retry_percent,
        .min_retries = m->min_retries,
    };
}

bool retry_budget_take(struct cluster_shared *shared, const struct breakers *b) {
    uint64_t requests = atomic_load_explicit(&shared->requests, memory_order_relaxed);
    uint64_t most = requests * b->retry_percent / 100;
    uint32_t before = atomic_fetch_add_explicit(&shared->retries, 1, memory_order_relaxed);
    if (before < most || before < b->min_retries)
        return true;
    breakers_give(&shared->retries);
    return false;
}
