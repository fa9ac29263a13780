#include "controlplane/xds/translate/cluster.h"

#include "controlplane/xds/translate/tables.h"

static const struct xds_fields keepalive = XDS_TABLE(envoy__config__core__v3__tcp_keepalive,
    XDS_IGNORE("keepalive_probes", "dead connections are found by deadlines"),
    XDS_IGNORE("keepalive_time", "dead connections are found by deadlines"),
    XDS_IGNORE("keepalive_interval", "dead connections are found by deadlines"));

static const struct xds_fields connection = XDS_TABLE(envoy__config__cluster__v3__upstream_connection_options,
    XDS_INSIDE("tcp_keepalive", &keepalive));

#define STATISTICS "it is about statistics"

const struct xds_fields xds_read_cluster = XDS_TABLE(envoy__config__cluster__v3__cluster,
    XDS_READ("name"), XDS_IGNORE("alt_stat_name", STATISTICS),
    XDS_NOTE("type", "STATIC, EDS; STRICT_DNS and LOGICAL_DNS with one name: all its addresses are endpoints, and have it "
             "as their host name, but no metadata to be chosen by"),
    XDS_INSIDE("eds_cluster_config", &cluster_read_eds),
    XDS_NOTE("connect_timeout", "1 ms to 1 day; without it 5 s"),
    XDS_IGNORE("per_connection_buffer_limit_bytes", "what is held is bounded by `limits.buffer`"),
    XDS_NOTE("lb_policy", "ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH, MAGLEV"),
    XDS_INSIDE("load_assignment", &xds_read_static_endpoints),
    XDS_INSIDE_NOTE("health_checks", &cluster_read_check, "one"),
    XDS_NOTE("max_requests_per_connection", "0 counts as 1,000,000,000"),
    XDS_INSIDE_NOTE("circuit_breakers", &cluster_read_breakers, "without them, and without a number, Envoy's defaults: 1024 "
                    "connections, requests and waiting requests, 3 retries under way"),
    XDS_INSIDE("upstream_http_protocol_options", &cluster_read_upstream_http),
    XDS_INSIDE("common_http_protocol_options", &cluster_read_common_http),
    XDS_INSIDE("http_protocol_options", &cluster_read_http1),
    XDS_INSIDE_NOTE("http2_protocol_options", &xds_read_http2_options, "over TLS the endpoint must agree to it by ALPN"),
    XDS_TYPES("typed_extension_protocol_options", &cluster_read_http),
    XDS_NOTE("dns_refresh_rate", "at least 1 s; without it 5 s"),
    XDS_IGNORE("dns_jitter", "there always is one of a tenth"),
    XDS_INSIDE("dns_failure_refresh_rate", &cluster_read_failure_refresh),
    XDS_READ("respect_dns_ttl"),
    XDS_NOTE("dns_lookup_family", "V4_ONLY, V6_ONLY; otherwise addresses of both families are endpoints"),
    XDS_INSIDE_NOTE("dns_resolvers", &xds_read_address, "at most 8"),
    XDS_INSIDE("dns_resolution_config", &cluster_read_resolvers),
    XDS_IGNORE("wait_for_warm_on_init", "what is served at any time is complete"),
    XDS_INSIDE("outlier_detection", &cluster_read_outliers),
    XDS_IGNORE("cleanup_interval", "it is about clusters of type ORIGINAL_DST"),
    XDS_INSIDE("lb_subset_config", &cluster_read_subsets),
    XDS_INSIDE("ring_hash_lb_config", &cluster_read_ring_hash), XDS_INSIDE("maglev_lb_config", &cluster_read_maglev),
    XDS_INSIDE("least_request_lb_config", &cluster_read_least_request),
    XDS_INSIDE("round_robin_lb_config", &cluster_read_round_robin),
    XDS_INSIDE("common_lb_config", &cluster_read_common),
    XDS_INSIDE("transport_socket", &cluster_read_socket),
    XDS_INSIDE_NOTE("transport_socket_matches", &cluster_read_socket_match, "at most 64; `tls-choices`, where the metadata "
                    "`envoy.transport_socket_match` of endpoints has keys that begin so; health checks go by them, too"),
    XDS_IGNORE("metadata", "nothing asks what is known of a cluster"),
    XDS_INSIDE("upstream_connection_options", &connection),
    XDS_IGNORE("ignore_health_on_host_removal", "an endpoint that is gone from discovery is gone at once"),
    XDS_INSIDE_NOTE("load_balancing_policy", &cluster_read_policy, "takes the place of lb_policy"),
    XDS_IGNORE("track_timeout_budgets", STATISTICS), XDS_IGNORE("track_cluster_stats", STATISTICS));

/* ---- what the checks of a configuration say ---- */

/* They know our names; the server is told what they are about. */
static void tell(struct making *m, const struct error_list *faults) {
    for (size_t i = 0; i < faults->count; i++) {
        const struct error *e = &faults->items[i];
        making_refuse(m, NULL, e->code, "%s%s%s", e->path ? e->path : "", e->path ? ": " : "", e->message);
    }
    if (faults->dropped)
        making_out_of_memory(m);
}

/* What is accepted here is accepted by everybody behind. */
static void check(struct making *m) {
    struct error_list faults = {0};
    if (!m->faults && config_check_resources(&m->made->set, &faults, NULL) < 0)
        tell(m, &faults);
    error_list_finish(&faults);
}

/* ---- all ---- */

static void take(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__Cluster *from = c->from;
    c->to->has_connect_timeout = true;
    c->to->connect_timeout = 5 * XDS_SEC;
    value_duration(c->making, XDS_AT(NULL, "connect_timeout"), from->connect_timeout, XDS_MS, XDS_DAY,
                   &c->to->has_connect_timeout, &c->to->connect_timeout);
    cluster_take_balancing(c);
    cluster_take_outliers(c);
    cluster_take_breakers(c);
    cluster_take_protocol(c);
    cluster_take_transport(c);
    cluster_take_health(c);
    cluster_take_endpoints(c);
}

static void translate(struct making *m, const Envoy__Config__Cluster__V3__Cluster *from) {
    char *name = making_name(m, XDS_AT(NULL, "name"), from->name);
    struct cluster_making c = {
        .making = m, .from = from,
        .to = making_new(m, &headgate__cluster__descriptor),
        .endpoints = making_new(m, &headgate__endpoint_set__descriptor),
    };
    if (!c.to || !c.endpoints)
        return;
    c.to->balancing = making_new(m, &headgate__balancing__descriptor);
    c.to->breakers = making_new(m, &headgate__circuit_breakers__descriptor);
    if (!c.to->balancing || !c.to->breakers)
        return;
    take(&c);
    if (m->faults || !name)
        return;
    if (protobuf_c_message_get_packed_size(&c.to->balancing->base) == 0)
        c.to->balancing = NULL;
    making_emit(m, HEADGATE__KIND__KIND_CLUSTER, name, &c.to->base);
    making_emit(m, HEADGATE__KIND__KIND_ENDPOINT_SET, name, &c.endpoints->base);
    check(m);
}

int xds_translate_cluster(const Envoy__Config__Cluster__V3__Cluster *m, struct xds_made *ret, struct error_list *errors) {
    struct making making;
    if (making_begin(&making, &xds_read_cluster, &m->base, "cluster", m->name, ret, errors) == 0)
        translate(&making, m);
    return making_end(&making);
}
