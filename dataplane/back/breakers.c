#include "dataplane/back/breakers.h"

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
        .retry_tokens = m->retry_tokens,
        .retry_tokens_percent = m->retry_tokens_percent,
        .retry_tokens_per_second = m->retry_tokens_per_second,
    };
}
