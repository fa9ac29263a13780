/* cluster.h — a cluster in the making, between the files that make its parts. Thread: one at a time. */
#pragma once

#include "controlplane/xds/translate/making.h"
#include "controlplane/xds/translate/values.h"
#include "proto/envoy/config/core/v3/base.pb-c.h"

struct cluster_making {
    struct making       *making;
    const Envoy__Config__Cluster__V3__Cluster *from;
    Headgate__Cluster   *to;            /* balancing and breakers are there */
    Headgate__EndpointSet *endpoints;
    bool                 is_locality_weighted;
    bool                 wants_sni;         /* upstream_http_protocol_options.auto_sni */
    bool                 verifies_sni;      /* upstream_http_protocol_options.auto_san_validation */
};

/* cluster_balancing.c */
void cluster_take_balancing(struct cluster_making *c);
/* Parts of it that typed policies have, too. */
void cluster_take_slow_start(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__Duration *window,
                             const Envoy__Config__Core__V3__RuntimeDouble *aggression,
                             const Envoy__Type__V3__Percent *min_weight);
void cluster_take_bias(struct cluster_making *c, const struct xds_at *at,
                       const Envoy__Config__Core__V3__RuntimeDouble *bias);
void cluster_take_ring(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__UInt64Value *minimum,
                       const Google__Protobuf__UInt64Value *maximum);
void cluster_take_table(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__UInt64Value *size);
void cluster_take_balance_factor(struct cluster_making *c, const struct xds_at *at,
                                 const Google__Protobuf__UInt32Value *factor);
/* `routing` and `min_size` are those of a zone-aware balancer. */
void cluster_take_zone_aware(struct cluster_making *c, const struct xds_at *at, const Envoy__Type__V3__Percent *routing);
/* cluster_policy.c */
void cluster_take_policy(struct cluster_making *c, const struct xds_at *at,
                         const Envoy__Config__Cluster__V3__LoadBalancingPolicy *policy);
/* cluster_limits.c */
void cluster_take_outliers(struct cluster_making *c);
void cluster_take_breakers(struct cluster_making *c);
/* cluster_health.c; behind the protocol */
void cluster_take_health(struct cluster_making *c);
/* cluster_discovery.c; behind the balancing, which says whether localities are weighted */
void cluster_take_endpoints(struct cluster_making *c);
/* cluster_http.c */
void cluster_take_protocol(struct cluster_making *c);
/* cluster_transport.c; behind the protocol */
void cluster_take_transport(struct cluster_making *c);

/* Their tables. */
extern const struct xds_fields cluster_read_slow_start, cluster_read_round_robin, cluster_read_least_request,
    cluster_read_ring_hash, cluster_read_maglev, cluster_read_common, cluster_read_subsets;     /* cluster_balancing.c */
extern const struct xds_fields cluster_read_aggression, cluster_read_bias;                      /* cluster_balancing.c */
extern const struct xds_fields cluster_read_policy;                                             /* cluster_policy.c */
extern const struct xds_fields cluster_read_outliers, cluster_read_breakers;                    /* cluster_limits.c */
extern const struct xds_fields cluster_read_check;                                              /* cluster_health.c */
extern const struct xds_fields cluster_read_eds, cluster_read_failure_refresh, cluster_read_resolvers;  /* ..._discovery.c */
extern const struct xds_fields cluster_read_http, cluster_read_common_http, cluster_read_http1,
    cluster_read_upstream_http;                                                                 /* cluster_http.c */
extern const struct xds_fields cluster_read_socket, cluster_read_socket_match;                  /* cluster_transport.c */
