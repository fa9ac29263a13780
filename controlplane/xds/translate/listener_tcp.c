/* TCP proxy: connections are relayed as they are. */
#include "controlplane/xds/translate/listener.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/values.h"

enum { CLUSTERS_MAX = 256, WEIGHT_MAX = 1000000, ATTEMPTS_MAX = 100 };

static const struct xds_fields metadata_table = XDS_TABLE(envoy__config__core__v3__metadata,
    XDS_NOTE("filter_metadata", "of `envoy.lb`: the subset of endpoints"),
    XDS_IGNORE("typed_filter_metadata", "endpoints are chosen by filter_metadata alone"));

static const struct xds_fields weight_table =
    XDS_TABLE(envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__weighted_cluster__cluster_weight,
              XDS_READ("name"), XDS_READ("weight"), XDS_INSIDE("metadata_match", &metadata_table));

static const struct xds_fields weighted_table =
    XDS_TABLE(envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__weighted_cluster,
              XDS_INSIDE("clusters", &weight_table));

const struct xds_fields xds_read_tcp_proxy = XDS_TABLE(envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy,
    XDS_IGNORE("stat_prefix", "metrics are named by the listener"), XDS_READ("cluster"),
    XDS_INSIDE("weighted_clusters", &weighted_table), XDS_INSIDE("metadata_match", &metadata_table),
    XDS_NOTE("idle_timeout", "one hour when it is not set"), XDS_INSIDE("access_log", &xds_read_access_log),
    XDS_IGNORE("access_log_flush_interval", "a connection is logged when it ends"),
    XDS_IGNORE("flush_access_log_on_connected", "a connection is logged when it ends"), XDS_READ("max_connect_attempts"));

#define TCP_PROXY(name) Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy##name

/* NULL after an error. */
static Headgate__WeightedCluster *add(struct making *m, const struct xds_at *at, const char *name, uint32_t weight,
                                      Headgate__TcpProxy *to) {
    Headgate__WeightedCluster *c = making_new(m, &headgate__weighted_cluster__descriptor);
    if (!c)
        return NULL;
    c->name = making_name(m, at, name);
    value_number(m, XDS_AT(at->up, "weight"), weight, 1, WEIGHT_MAX, &c->has_weight, &c->weight);
    to->clusters[to->n_clusters++] = c;
    return c;
}

static void add_only(struct making *m, const struct xds_at *at, const TCP_PROXY() *from, Headgate__TcpProxy *to) {
    Headgate__WeightedCluster *c = add(m, XDS_AT(at, "cluster"), from->cluster, 1, to);
    if (c)
        part_subset(m, at, from->metadata_match, at, NULL, c);
}

static void add_weighted(struct making *m, const struct xds_at *at, const TCP_PROXY() *from, Headgate__TcpProxy *to) {
    const TCP_PROXY(__WeightedCluster) *w = from->weighted_clusters;
    if (w->n_clusters == 0 || w->n_clusters > CLUSTERS_MAX) {
        making_refuse(m, XDS_AT(at, "weighted_clusters"), ERROR_RANGE, "are %zu; 1 to %d are possible", w->n_clusters,
                      CLUSTERS_MAX);
        return;
    }
    for (size_t i = 0; i < w->n_clusters; i++) {
        const struct xds_at *here = XDS_AT_ITEM(XDS_AT(at, "weighted_clusters"), "clusters", i);
        Headgate__WeightedCluster *c = add(m, XDS_AT(here, "name"), w->clusters[i]->name, w->clusters[i]->weight, to);
        if (c)
            part_subset(m, at, from->metadata_match, here, w->clusters[i]->metadata_match, c);
    }
}

void listener_tcp(struct listener_making *l, const struct xds_at *at, const TCP_PROXY() *from) {
    struct making *m = l->making;
    Headgate__TcpProxy *to = making_new(m, &headgate__tcp_proxy__descriptor);
    if (!to || !(to->clusters = making_array(m, CLUSTERS_MAX, sizeof *to->clusters)))
        return;
    l->to->tcp = to;
    switch (from->cluster_specifier_case) {
    case ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER:
        add_only(m, at, from, to);
        break;
    case ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
        add_weighted(m, at, from, to);
        break;
    default: making_refuse(m, at, ERROR_MISSING, "needs a cluster or weighted_clusters"); break;
    }
    to->has_idle_timeout = true;
    to->idle_timeout = 3600 * XDS_SEC;
    value_duration(m, XDS_AT(at, "idle_timeout"), from->idle_timeout, 0, 30 * XDS_DAY, &to->has_idle_timeout,
                   &to->idle_timeout);
    value_uint32(m, XDS_AT(at, "max_connect_attempts"), from->max_connect_attempts, 1, ATTEMPTS_MAX,
                 &to->has_max_connect_attempts, &to->max_connect_attempts);
    listener_access_logs(l, at, from->access_log, from->n_access_log);
}
