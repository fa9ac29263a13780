#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/tables.h"

enum {
    COUNT_MAX = 1000000,
    BOUND_MAX = 10000000,
    ENVOY_BOUND = 1024,                 /* Envoy's default of connections, requests and what waits */
    ENVOY_RETRIES = 3,
    ENVOY_FACTOR = 1900,                /* thousandths of a standard deviation */
    ENVOY_FAILURE_PERCENT = 85,
    ENVOY_FAILURE_HOSTS = 5,
    ENVOY_FAILURE_REQUESTS = 50,
    TOKENS_MAX = 10000000,              /* with these there are always tokens: Envoy has none */
    TOKENS_PER_SECOND_MAX = 1000000,
};

/* ---- outliers ---- */

#define ALL_OR_NONE "0 or 100"
#define LOCAL "failures of connections count among the answers of 500 to 599, and in the rates"

const struct xds_fields cluster_read_outliers = XDS_TABLE(envoy__config__cluster__v3__outlier_detection,
    XDS_READ("consecutive_5xx"), XDS_READ("interval"), XDS_READ("base_ejection_time"), XDS_READ("max_ejection_percent"),
    XDS_NOTE("enforcing_consecutive_5xx", ALL_OR_NONE), XDS_NOTE("enforcing_success_rate", ALL_OR_NONE),
    XDS_READ("success_rate_minimum_hosts"), XDS_READ("success_rate_request_volume"),
    XDS_NOTE("success_rate_stdev_factor", "1 to 10000"), XDS_READ("consecutive_gateway_failure"),
    XDS_NOTE("enforcing_consecutive_gateway_failure", ALL_OR_NONE),
    XDS_NOTE("split_external_local_origin_errors", "turns consecutive_local_origin_failure on; " LOCAL),
    XDS_READ("consecutive_local_origin_failure"), XDS_NOTE("enforcing_consecutive_local_origin_failure", ALL_OR_NONE),
    XDS_IGNORE("enforcing_local_origin_success_rate", LOCAL),
    XDS_NOTE("failure_percentage_threshold", "1 to 100"), XDS_NOTE("enforcing_failure_percentage", ALL_OR_NONE),
    XDS_IGNORE("enforcing_failure_percentage_local_origin", LOCAL),
    XDS_NOTE("failure_percentage_minimum_hosts", "that of the success rate, where both are enforced"),
    XDS_NOTE("failure_percentage_request_volume", "that of the success rate, where both are enforced"),
    XDS_READ("max_ejection_time"),
    XDS_IGNORE("max_ejection_time_jitter", "endpoints come back at different times, as they were ejected"),
    XDS_IGNORE("successful_active_health_check_uneject_host", "an ejection ends when its time is over"),
    XDS_IGNORE("always_eject_one_host", "one may always be ejected"));

/* Whether a detector that is on to `otherwise` percent without a word is on. */
static bool is_enforced(struct cluster_making *c, const char *field, const Google__Protobuf__UInt32Value *percent,
                        bool otherwise) {
    if (percent && percent->value != 0 && percent->value != 100)
        making_unsupported(c->making, XDS_AT(XDS_AT(NULL, "outlier_detection"), field), "only 0 and 100 percent are");
    return percent ? percent->value != 0 : otherwise;
}

/* A counter of failures in a row: what the server says, or Envoy's default, which is ours; 0 where it is off. */
static void take_counter(struct cluster_making *c, const char *field, const Google__Protobuf__UInt32Value *count, bool is_on,
                         protobuf_c_boolean *has, uint32_t *ret) {
    if (!is_on) {
        *has = true;
        *ret = 0;
    } else {
        value_uint32(c->making, XDS_AT(XDS_AT(NULL, "outlier_detection"), field), count, 1, COUNT_MAX, has, ret);
    }
}

static void take_counters(struct cluster_making *c, const Envoy__Config__Cluster__V3__OutlierDetection *from,
                          Headgate__OutlierDetection *to) {
    bool is_split = from->split_external_local_origin_errors;
    take_counter(c, "consecutive_5xx", from->consecutive_5xx,
                 is_enforced(c, "enforcing_consecutive_5xx", from->enforcing_consecutive_5xx, true),
                 &to->has_consecutive_5xx, &to->consecutive_5xx);
    take_counter(c, "consecutive_gateway_failure", from->consecutive_gateway_failure,
                 is_enforced(c, "enforcing_consecutive_gateway_failure", from->enforcing_consecutive_gateway_failure, false),
                 &to->has_consecutive_gateway_failures, &to->consecutive_gateway_failures);
    bool is_local = is_enforced(c, "enforcing_consecutive_local_origin_failure",
                                from->enforcing_consecutive_local_origin_failure, true);
    take_counter(c, "consecutive_local_origin_failure", from->consecutive_local_origin_failure, is_split && is_local,
                 &to->has_consecutive_local_failures, &to->consecutive_local_failures);
}

/* Two rates share one number here: the least that counts. */
static void take_shared(struct cluster_making *c, const char *field, const Google__Protobuf__UInt32Value *v, uint32_t absent,
                        protobuf_c_boolean *has, uint32_t *ret) {
    const struct xds_at *at = XDS_AT(XDS_AT(NULL, "outlier_detection"), field);
    uint32_t number = v ? v->value : absent;
    if (*has && *ret != number)
        making_unsupported(c->making, at, "it is the same for both rates here, and both are enforced");
    else
        value_number(c->making, at, number, 1, COUNT_MAX, has, ret);
}

static void take_rates(struct cluster_making *c, const Envoy__Config__Cluster__V3__OutlierDetection *from,
                       Headgate__OutlierDetection *to) {
    const struct xds_at *at = XDS_AT(NULL, "outlier_detection");
    if (is_enforced(c, "enforcing_success_rate", from->enforcing_success_rate, true)) {
        const Google__Protobuf__UInt32Value *factor = from->success_rate_stdev_factor;
        value_number(c->making, XDS_AT(at, "success_rate_stdev_factor"), factor ? factor->value : ENVOY_FACTOR, 1, 10000,
                     &to->has_success_rate_factor, &to->success_rate_factor);
        take_shared(c, "success_rate_minimum_hosts", from->success_rate_minimum_hosts, to->min_endpoints,
                    &to->has_min_endpoints, &to->min_endpoints);
        take_shared(c, "success_rate_request_volume", from->success_rate_request_volume, to->min_requests,
                    &to->has_min_requests, &to->min_requests);
    }
    if (is_enforced(c, "enforcing_failure_percentage", from->enforcing_failure_percentage, false)) {
        const Google__Protobuf__UInt32Value *threshold = from->failure_percentage_threshold;
        value_number(c->making, XDS_AT(at, "failure_percentage_threshold"),
                     threshold ? threshold->value : ENVOY_FAILURE_PERCENT, 1, 100, &to->has_failure_percent,
                     &to->failure_percent);
        take_shared(c, "failure_percentage_minimum_hosts", from->failure_percentage_minimum_hosts, ENVOY_FAILURE_HOSTS,
                    &to->has_min_endpoints, &to->min_endpoints);
        take_shared(c, "failure_percentage_request_volume", from->failure_percentage_request_volume, ENVOY_FAILURE_REQUESTS,
                    &to->has_min_requests, &to->min_requests);
    }
}

static void take_times(struct cluster_making *c, const Envoy__Config__Cluster__V3__OutlierDetection *from,
                       Headgate__OutlierDetection *to) {
    const struct xds_at *at = XDS_AT(NULL, "outlier_detection");
    value_duration(c->making, XDS_AT(at, "interval"), from->interval, 10 * XDS_MS, XDS_DAY, &to->has_interval,
                   &to->interval);
    value_duration(c->making, XDS_AT(at, "base_ejection_time"), from->base_ejection_time, XDS_MS, XDS_DAY,
                   &to->has_base_ejection, &to->base_ejection);
    value_duration(c->making, XDS_AT(at, "max_ejection_time"), from->max_ejection_time, XDS_MS, XDS_DAY,
                   &to->has_max_ejection, &to->max_ejection);
    if (!to->has_max_ejection && to->base_ejection > to->max_ejection) {
        to->has_max_ejection = true;
        to->max_ejection = to->base_ejection;
    }
    value_uint32(c->making, XDS_AT(at, "max_ejection_percent"), from->max_ejection_percent, 0, 100,
                 &to->has_max_ejected_percent, &to->max_ejected_percent);
}

void cluster_take_outliers(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__OutlierDetection *from = c->from->outlier_detection;
    Headgate__OutlierDetection *to = from ? making_new(c->making, &headgate__outlier_detection__descriptor) : NULL;
    if (!to)
        return;
    take_counters(c, from, to);
    take_rates(c, from, to);
    take_times(c, from, to);
    c->to->outliers = to;
}

/* ---- circuit breakers ---- */

static const struct xds_fields retry_budget = XDS_TABLE(
    envoy__config__cluster__v3__circuit_breakers__thresholds__retry_budget,
    XDS_INSIDE_NOTE("budget_percent", &xds_read_percent, "whole percent"), XDS_READ("min_retry_concurrency"));

#define BOUND "1 and more; more than 10,000,000 counts as that"

static const struct xds_fields thresholds = XDS_TABLE(envoy__config__cluster__v3__circuit_breakers__thresholds,
    XDS_NOTE("priority", "DEFAULT; HIGH where it has the same numbers, or none"),
    XDS_NOTE("max_connections", BOUND), XDS_NOTE("max_pending_requests", BOUND), XDS_NOTE("max_requests", BOUND),
    XDS_NOTE("max_retries", "0 and more; more than 10,000,000 counts as that"),
    XDS_INSIDE("retry_budget", &retry_budget),
    XDS_IGNORE("track_remaining", "it is about statistics"),
    XDS_IGNORE("max_connection_pools", "there is one for each endpoint and worker"));

static const struct xds_fields host_thresholds = XDS_TABLE(envoy__config__cluster__v3__circuit_breakers__thresholds,
    XDS_NOTE("priority", "DEFAULT; HIGH where it has the same numbers, or none"),
    XDS_NOTE("max_connections", BOUND), XDS_NOTE("max_requests", BOUND),
    XDS_IGNORE("track_remaining", "it is about statistics"));

const struct xds_fields cluster_read_breakers = XDS_TABLE(envoy__config__cluster__v3__circuit_breakers,
    XDS_INSIDE("thresholds", &thresholds), XDS_INSIDE("per_host_thresholds", &host_thresholds));

static bool is_empty(const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t) {
    return !t->max_connections && !t->max_pending_requests && !t->max_requests && !t->max_retries && !t->retry_budget;
}

static bool is_same(const Google__Protobuf__UInt32Value *a, const Google__Protobuf__UInt32Value *b) {
    return (!a && !b) || (a && b && a->value == b->value);
}

static bool is_equal(const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *a,
                     const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *b) {
    return is_same(a->max_connections, b->max_connections) && is_same(a->max_pending_requests, b->max_pending_requests) &&
           is_same(a->max_requests, b->max_requests) && is_same(a->max_retries, b->max_retries) && !a->retry_budget &&
           !b->retry_budget;
}

/* The first of priority DEFAULT; NULL: none. Others must not say anything else. */
static const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *find_default(
        struct cluster_making *c, const char *field, Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds **items,
        size_t count, size_t *ret_index) {
    const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *found = NULL;
    for (size_t i = count; i-- > 0;)
        if (items[i]->priority == ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__DEFAULT) {
            found = items[i];
            *ret_index = i;
        }
    for (size_t i = 0; i < count; i++)
        if (items[i]->priority != ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__DEFAULT && !is_empty(items[i]) &&
            !(found && is_equal(items[i], found)))
            making_unsupported(c->making, XDS_AT(XDS_AT_ITEM(XDS_AT(NULL, "circuit_breakers"), field, i), "priority"),
                               "all requests have the same priority, DEFAULT");
    return found;
}

static void take_bound(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__UInt32Value *v,
                       uint32_t min, protobuf_c_boolean *has, uint32_t *ret) {
    if (v)
        value_number(c->making, at, v->value > BOUND_MAX ? BOUND_MAX : v->value, min, BOUND_MAX, has, ret);
}

static void take_thresholds(struct cluster_making *c, const struct xds_at *at,
                            const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t) {
    Headgate__CircuitBreakers *b = c->to->breakers;
    take_bound(c, XDS_AT(at, "max_connections"), t->max_connections, 1, &b->has_connections, &b->connections);
    take_bound(c, XDS_AT(at, "max_pending_requests"), t->max_pending_requests, 1, &b->has_pending, &b->pending);
    take_bound(c, XDS_AT(at, "max_requests"), t->max_requests, 1, &b->has_requests, &b->requests);
    take_bound(c, XDS_AT(at, "max_retries"), t->max_retries, 0, &b->has_min_retries, &b->min_retries);
    if (t->retry_budget) {
        b->retry_percent = 20;
        b->min_retries = ENVOY_RETRIES;
        value_percent(c->making, XDS_AT(at, "retry_budget.budget_percent"), t->retry_budget->budget_percent, 0,
                      &b->has_retry_percent, &b->retry_percent);
        take_bound(c, XDS_AT(at, "retry_budget.min_retry_concurrency"), t->retry_budget->min_retry_concurrency, 0,
                   &b->has_min_retries, &b->min_retries);
    }
}

static void take_host_thresholds(struct cluster_making *c, const struct xds_at *at,
                                 const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t) {
    Headgate__CircuitBreakers *b = c->to->breakers;
    take_bound(c, XDS_AT(at, "max_connections"), t->max_connections, 1, &b->has_endpoint_connections,
               &b->endpoint_connections);
    take_bound(c, XDS_AT(at, "max_requests"), t->max_requests, 1, &b->has_endpoint_requests, &b->endpoint_requests);
}

/* Envoy's bounds are lower than ours, and only the number of retries under way is one. */
static void set_envoy_defaults(Headgate__CircuitBreakers *b) {
    b->has_connections = b->has_requests = b->has_pending = true;
    b->connections = b->requests = b->pending = ENVOY_BOUND;
    b->has_retry_percent = b->has_min_retries = true;
    b->retry_percent = 0;
    b->min_retries = ENVOY_RETRIES;
    b->has_retry_tokens = b->has_retry_tokens_percent = b->has_retry_tokens_per_second = true;
    b->retry_tokens = TOKENS_MAX;
    b->retry_tokens_percent = 100;
    b->retry_tokens_per_second = TOKENS_PER_SECOND_MAX;
}

void cluster_take_breakers(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__CircuitBreakers *from = c->from->circuit_breakers;
    const struct xds_at *at = XDS_AT(NULL, "circuit_breakers");
    size_t index = 0;
    set_envoy_defaults(c->to->breakers);
    if (!from)
        return;
    const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t =
        find_default(c, "thresholds", from->thresholds, from->n_thresholds, &index);
    if (t)
        take_thresholds(c, XDS_AT_ITEM(at, "thresholds", index), t);
    t = find_default(c, "per_host_thresholds", from->per_host_thresholds, from->n_per_host_thresholds, &index);
    if (t)
        take_host_thresholds(c, XDS_AT_ITEM(at, "per_host_thresholds", index), t);
}
