/* counting.c — what exchanges are counted by, among the worker's stats. */
#include "dataplane/http/exchange_private.h"

void count_begin(const struct exchange *x) {
    struct stats *s = x->worker->stats;
    stats_add(&s->exchanges, 1);
    if (x->listener->is_internal)
        return;
    stats_add(exchange_is_tcp(x) ? &s->tcp_connections_total : &s->requests_total, 1);
    stats_add(&s->tcp_connections, exchange_is_tcp(x));
}

void count_abort(const struct exchange *x, enum abort_code code) {
    struct stats *s = x->worker->stats;
    if (x->listener->is_internal)
        return;
    switch (code) {
    case ABORT_CLIENT_GONE: stats_add(&s->client_aborts_total, 1); break;
    case ABORT_CLIENT_PROTOCOL:
    case ABORT_BAD_PATH:
    case ABORT_VERSION_NOT_SUPPORTED:
    case ABORT_CODING_NOT_IMPLEMENTED: stats_add(&s->client_protocol_errors_total, 1); break;
    case ABORT_URI_TOO_LONG:
    case ABORT_HEADERS_TOO_LARGE:
    case ABORT_BODY_TOO_LARGE: stats_add(&s->requests_too_large_total, 1); break;
    case ABORT_CLIENT_BODY_TIMEOUT: stats_add(&s->client_body_timeouts_total, 1); break;
    case ABORT_CLIENT_WRITE_TIMEOUT: stats_add(&s->client_write_timeouts_total, 1); break;
    case ABORT_NO_ROUTE: stats_add(&s->no_route_total, 1); break;
    case ABORT_NO_CLUSTER:
    case ABORT_NO_ENDPOINT: stats_add(&s->no_endpoint_total, 1); break;
    case ABORT_ORIGIN_RESET:
    case ABORT_ORIGIN_STREAM_RESET: stats_add(&s->origin_resets_total, 1); break;
    case ABORT_ORIGIN_PROTOCOL:
    case ABORT_ORIGIN_TOO_LARGE: stats_add(&s->origin_protocol_errors_total, 1); break;
    case ABORT_ORIGIN_TIMEOUT:
    case ABORT_ORIGIN_BODY_TIMEOUT:
    case ABORT_REQUEST_TIMEOUT: stats_add(&s->origin_timeouts_total, 1); break;
    case ABORT_OVERLOAD:
    case ABORT_MEMORY: stats_add(&s->overload_total, 1); break;
    default: break;
    }
}

static void count_status(const struct exchange *x) {
    struct stats *s = x->worker->stats;
    _Atomic uint64_t *classes[] = {&s->responses_2xx_total, &s->responses_3xx_total, &s->responses_4xx_total,
                                   &s->responses_5xx_total};
    if (x->status >= 200 && x->status < 600)
        stats_add(classes[x->status / 100 - 2], 1);
}

static void count_tcp(const struct exchange *x) {
    stats_sub(&x->worker->stats->tcp_connections, 1);
    if (x->tunnel != TUNNEL_OPEN)
        stats_add(&x->worker->stats->tcp_unconnected_total, 1);
}

void count_over(const struct exchange *x) {
    if (x->listener->is_internal)
        return;
    count_status(x);
    if (exchange_is_tcp(x))
        count_tcp(x);
    else if (x->tunnel == TUNNEL_OPEN)
        stats_sub(&x->worker->stats->tunnels, 1);
}
