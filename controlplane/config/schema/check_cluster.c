#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_cluster.h"

enum { PRIORITIES_MAX = 128 };

static void conflict(struct fill *f, const struct fill_at *at, const char *key, const char *message, const char *expected) {
    struct fill_at below = fill_down(at, key);
    error_set_expected(f->errors, fill_report_key(f, &below, ERROR_CONFLICT, "%s", message), expected, NULL);
}

/* A priority without endpoints has no share to hand on. */
void check_endpoint_set(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__EndpointSet *set = (const Headgate__EndpointSet *)m;
    bool is_used[PRIORITIES_MAX] = {false};
    uint32_t last = 0, gap = 0;
    for (size_t i = 0; i < set->n_endpoints; i++) {
        uint32_t priority = set->endpoints[i]->priority;
        is_used[priority < PRIORITIES_MAX ? priority : PRIORITIES_MAX - 1] = true;
        last = priority > last ? priority : last;
    }
    while (gap <= last && gap < PRIORITIES_MAX && is_used[gap])
        gap++;
    if (set->n_endpoints == 0 || gap > last)
        return;
    struct fill_at below = fill_down(at, "endpoints");
    struct error *e = fill_report(f, &below, ERROR_RANGE, "no endpoint has priority %u, but one has %u", gap, last);
    error_set_expected(f->errors, e, "priorities from 0 on, without gaps", NULL);
}

void check_dns_discovery(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__DnsDiscovery *dns = (const Headgate__DnsDiscovery *)m;
    bool is_srv = dns->records == HEADGATE__DNS_DISCOVERY__RECORDS__SRV;
    if (!is_srv && !dns->has_port)
        error_set_expected(f->errors, fill_report(f, at, ERROR_MISSING, "the key \"port\" is missing"),
                           "the port that endpoints listen on, or records: srv", NULL);
    else if (is_srv && dns->has_port)
        conflict(f, at, "port", "SRV records have ports of their own", "port or records: srv, not both");
    if (is_srv && dns->hostname)
        conflict(f, at, "hostname", "servers of SRV have names of their own", "hostname or records: srv, not both");
    if (dns->min_refresh > dns->max_refresh)
        conflict(f, at, "min-refresh", "min-refresh is above max-refresh", "a duration that is not above max-refresh");
}

void check_balancing(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Balancing *balancing = (const Headgate__Balancing *)m;
    if (balancing->load_bound > 0 && balancing->load_bound < 100)
        conflict(f, at, "load-bound", "nobody can have less than the mean", "off, or 100 and more");
}

void check_http3_fallback(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Http3Fallback *fallback = (const Headgate__Http3Fallback *)m;
    if (fallback->remember > fallback->remember_most)
        conflict(f, at, "remember", "remember is above remember-most", "a duration that is not above remember-most");
}

/* `at` is the cluster, or its endpoint set alone. */
void check_endpoints_over_quic(struct fill *f, const struct fill_at *at, const ProtobufCMessage *cluster,
                               const ProtobufCMessage *set) {
    const Headgate__EndpointSet *endpoints = (const Headgate__EndpointSet *)set;
    const struct fill_at list = fill_down(at, "endpoints");
    if (((const Headgate__Cluster *)cluster)->protocol != HEADGATE__CLUSTER__PROTOCOL__HTTP3)
        return;
    for (size_t i = 0; i < endpoints->n_endpoints; i++) {
        if (!str_starts(str_of(endpoints->endpoints[i]->address), STR("unix:")))
            continue;
        const struct fill_at one = list.node->type == TREE_LIST ? fill_down_to(&list, i) : list;
        const struct fill_at address = fill_down(&one, "address");
        struct error *e = fill_report(f, &address, ERROR_CONFLICT, "there is no HTTP/3 at a Unix-domain address");
        error_set_expected(f->errors, e, "an IP address with a port, or another protocol of the cluster", NULL);
    }
}

/* `at` is what has the key `tls`. */
static void check_tls_of_http3(struct fill *f, const struct fill_at *at, const char *key, const Headgate__ClientTls *tls) {
    struct fill_at below = fill_down(at, "tls");
    if (!tls)
        conflict(f, at, key, "HTTP/3 is always encrypted", "tls beside it");
    else if (tls->max_version == HEADGATE__TLS_VERSION__TLS_1_2)
        conflict(f, &below, "max-version", "HTTP/3 is TLS 1.3 or nothing", "max-version: \"1.3\"");
}

static void check_beside_http3(struct fill *f, const struct fill_at *at, const Headgate__Cluster *cluster) {
    struct fill_at choices = fill_down(at, "tls-choices");
    check_tls_of_http3(f, at, "protocol", cluster->tls);
    for (size_t i = 0; i < cluster->n_tls_choices; i++) {
        struct fill_at choice = fill_down_to(&choices, i);
        check_tls_of_http3(f, &choice, "match", cluster->tls_choices[i]->tls);
    }
    if (cluster->send_proxy != HEADGATE__CLUSTER__SEND_PROXY__SEND_OFF)
        conflict(f, at, "proxy-protocol", "there is no PROXY header over UDP", "off");
    if (cluster->http2 && !cluster->http3_fallback)
        conflict(f, at, "http2", "the cluster does not speak HTTP/2", "http3-fallback beside it");
    const struct fill_at health = fill_down(at, "health");
    if (cluster->health && !cluster->http3_fallback)
        fill_warn(f, &health, "checks are made over TCP: an endpoint that speaks HTTP/3 alone is taken for unhealthy");
}

static void check_beside_others(struct fill *f, const struct fill_at *at, const Headgate__Cluster *cluster) {
    static const char *const keys[] = {"http3", "quic", "http3-fallback"};
    const bool is_there[] = {cluster->http3 != NULL, cluster->quic != NULL, cluster->http3_fallback != NULL};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_there[i])
            conflict(f, at, keys[i], "the cluster does not speak HTTP/3", "protocol: http3 beside it");
    if (cluster->http2 && cluster->protocol != HEADGATE__CLUSTER__PROTOCOL__HTTP2)
        conflict(f, at, "http2", "the cluster does not speak HTTP/2", "protocol: http2 beside it");
}

void check_cluster(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Cluster *cluster = (const Headgate__Cluster *)m;
    bool is_tls_checked = cluster->health && cluster->health->kind_case == HEADGATE__HEALTH_CHECK__KIND_TLS;
    if (cluster->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP3)
        check_beside_http3(f, at, cluster);
    else
        check_beside_others(f, at, cluster);
    if (is_tls_checked && !cluster->tls)
        conflict(f, at, "health", "a check of TLS needs the cluster's tls", "tls beside it");
}
