#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/types.h"
#include "proto/envoy/config/core/v3/extension.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/common/v3/common.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"

#define POLICY(name) Envoy__Extensions__LoadBalancingPolicies__##name
#define LOCALITY_CASE(name) \
    ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_##name

enum { POLICY_DEPTH_MAX = 4 };          /* policies within policies */

/* ---- what is read ---- */

static const struct xds_fields slow_start =
    XDS_TABLE(envoy__extensions__load_balancing_policies__common__v3__slow_start_config,
    XDS_READ("slow_start_window"),
    XDS_INSIDE("aggression", &cluster_read_aggression),
    XDS_INSIDE_NOTE("min_weight_percent", &xds_read_percent, "whole percent of 1 to 100"));

static const struct xds_fields zone_aware = XDS_TABLE(
    envoy__extensions__load_balancing_policies__common__v3__locality_lb_config__zone_aware_lb_config,
    XDS_INSIDE_NOTE("routing_enabled", &xds_read_percent, "0 or 100; the zone is that of the data plane"),
    XDS_IGNORE("min_cluster_size", "endpoints of the own zone are preferred as far as they suffice, however few there are"));

static const struct xds_fields weighted = XDS_EMPTY_TABLE(
    envoy__extensions__load_balancing_policies__common__v3__locality_lb_config__locality_weighted_lb_config);

static const struct xds_fields locality = XDS_TABLE(
    envoy__extensions__load_balancing_policies__common__v3__locality_lb_config,
    XDS_INSIDE_NOTE("zone_aware_lb_config", &zone_aware, "becomes `prefer-zone`"),
    XDS_INSIDE("locality_weighted_lb_config", &weighted));

static const struct xds_fields hashing = XDS_TABLE(
    envoy__extensions__load_balancing_policies__common__v3__consistent_hashing_lb_config,
    XDS_NOTE("hash_balance_factor", "100 to 10000"));

static const struct xds_fields round_robin = XDS_TABLE(
    envoy__extensions__load_balancing_policies__round_robin__v3__round_robin,
    XDS_INSIDE("slow_start_config", &slow_start), XDS_INSIDE("locality_lb_config", &locality));

static const struct xds_fields least_request = XDS_TABLE(
    envoy__extensions__load_balancing_policies__least_request__v3__least_request,
    XDS_NOTE("choice_count", "2 to 32"),
    XDS_INSIDE("active_request_bias", &cluster_read_bias),
    XDS_INSIDE("slow_start_config", &slow_start), XDS_INSIDE("locality_lb_config", &locality),
    XDS_NOTE("enable_full_scan", "false"));

static const struct xds_fields random_table = XDS_TABLE(envoy__extensions__load_balancing_policies__random__v3__random,
    XDS_INSIDE("locality_lb_config", &locality));

static const struct xds_fields ring_hash = XDS_TABLE(
    envoy__extensions__load_balancing_policies__ring_hash__v3__ring_hash,
    XDS_IGNORE("hash_function", "which endpoint a key leads to differs from Envoy with any of them"),
    XDS_READ("minimum_ring_size"),
    XDS_NOTE("maximum_ring_size", "not below minimum_ring_size, which says how many points there are"),
    XDS_NOTE("hash_balance_factor", "100 to 10000"),
    XDS_INSIDE("consistent_hashing_lb_config", &hashing), XDS_INSIDE("locality_weighted_lb_config", &weighted));

static const struct xds_fields maglev = XDS_TABLE(envoy__extensions__load_balancing_policies__maglev__v3__maglev,
    XDS_NOTE("table_size", "a prime"),
    XDS_INSIDE("consistent_hashing_lb_config", &hashing), XDS_INSIDE("locality_weighted_lb_config", &weighted));

static const struct xds_fields wrr_locality = XDS_TABLE(
    envoy__extensions__load_balancing_policies__wrr_locality__v3__wrr_locality,
    XDS_INSIDE("endpoint_picking_policy", &cluster_read_policy));

/* Types that are not among these are passed over, so the Any is not looked into before one was chosen. */
static const struct xds_fields extension = XDS_TABLE(envoy__config__core__v3__typed_extension_config,
    XDS_IGNORE("name", "the type of typed_config counts"),
    XDS_INSIDE_NOTE("typed_config", &xds_everything, "the first of RoundRobin, LeastRequest, Random, RingHash, Maglev and "
                    "WrrLocality; others in the list are passed over, as Envoy passes over those that it does not have"));

static const struct xds_fields policy_table = XDS_TABLE(envoy__config__cluster__v3__load_balancing_policy__policy,
    XDS_INSIDE("typed_extension_config", &extension));

const struct xds_fields cluster_read_policy = XDS_TABLE(envoy__config__cluster__v3__load_balancing_policy,
    XDS_INSIDE("policies", &policy_table));

/* ---- parts ---- */

static void take_slow_start(struct cluster_making *c, const struct xds_at *at,
                            const POLICY(Common__V3__SlowStartConfig) *s) {
    if (s)
        cluster_take_slow_start(c, XDS_AT(at, "slow_start_config"), s->slow_start_window, s->aggression,
                                s->min_weight_percent);
}

static void take_locality(struct cluster_making *c, const struct xds_at *at, const POLICY(Common__V3__LocalityLbConfig) *l) {
    switch (l ? (int)l->locality_config_specifier_case : 0) {
    case LOCALITY_CASE(ZONE_AWARE_LB_CONFIG):
        cluster_take_zone_aware(c, XDS_AT(at, "locality_lb_config.zone_aware_lb_config"),
                                l->zone_aware_lb_config->routing_enabled);
        break;
    case LOCALITY_CASE(LOCALITY_WEIGHTED_LB_CONFIG): c->is_locality_weighted = true; break;
    default: break;
    }
}

static void take_hashing(struct cluster_making *c, const struct xds_at *at,
                         const POLICY(Common__V3__ConsistentHashingLbConfig) *h) {
    if (h)
        cluster_take_balance_factor(c, XDS_AT(at, "consistent_hashing_lb_config.hash_balance_factor"),
                                    h->hash_balance_factor);
}

/* ---- policies ---- */

typedef void policy_taker(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m, unsigned depth);

static void take_round_robin(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m, unsigned depth) {
    const POLICY(RoundRobin__V3__RoundRobin) *p = (const void *)m;
    (void)depth;
    take_slow_start(c, at, p->slow_start_config);
    take_locality(c, at, p->locality_lb_config);
}

static void take_least_request(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m,
                               unsigned depth) {
    const POLICY(LeastRequest__V3__LeastRequest) *p = (const void *)m;
    Headgate__Balancing *b = c->to->balancing;
    (void)depth;
    value_uint32(c->making, XDS_AT(at, "choice_count"), p->choice_count, 2, 32, &b->has_choices, &b->choices);
    cluster_take_bias(c, XDS_AT(at, "active_request_bias"), p->active_request_bias);
    if (p->enable_full_scan && p->enable_full_scan->value)
        making_unsupported(c->making, XDS_AT(at, "enable_full_scan"), "some endpoints are compared, not all");
    take_slow_start(c, at, p->slow_start_config);
    take_locality(c, at, p->locality_lb_config);
}

static void take_random(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m, unsigned depth) {
    (void)depth;
    take_locality(c, at, ((const POLICY(Random__V3__Random) *)(const void *)m)->locality_lb_config);
}

static void take_ring_hash(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m, unsigned depth) {
    const POLICY(RingHash__V3__RingHash) *p = (const void *)m;
    (void)depth;
    cluster_take_ring(c, at, p->minimum_ring_size, p->maximum_ring_size);
    cluster_take_balance_factor(c, XDS_AT(at, "hash_balance_factor"), p->hash_balance_factor);
    take_hashing(c, at, p->consistent_hashing_lb_config);
    c->is_locality_weighted |= p->locality_weighted_lb_config != NULL;
}

static void take_maglev(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m, unsigned depth) {
    const POLICY(Maglev__V3__Maglev) *p = (const void *)m;
    (void)depth;
    cluster_take_table(c, at, p->table_size);
    take_hashing(c, at, p->consistent_hashing_lb_config);
    c->is_locality_weighted |= p->locality_weighted_lb_config != NULL;
}

static void take_first(struct cluster_making *c, const struct xds_at *at,
                       const Envoy__Config__Cluster__V3__LoadBalancingPolicy *list, unsigned depth);

static void take_wrr_locality(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m, unsigned depth) {
    const POLICY(WrrLocality__V3__WrrLocality) *p = (const void *)m;
    c->is_locality_weighted = true;
    if (!p->endpoint_picking_policy)
        making_refuse(c->making, XDS_AT(at, "endpoint_picking_policy"), ERROR_MISSING, "is missing");
    else
        take_first(c, XDS_AT(at, "endpoint_picking_policy"), p->endpoint_picking_policy, depth + 1);
}

static const struct known_policy {
    const struct xds_fields    *table;
    policy_taker               *take;
    Headgate__Cluster__Balancer balancer;       /* 0: a policy within says it */
} known[] = {
    {&round_robin, take_round_robin, HEADGATE__CLUSTER__BALANCER__ROUND_ROBIN},
    {&least_request, take_least_request, HEADGATE__CLUSTER__BALANCER__LEAST_REQUEST},
    {&random_table, take_random, HEADGATE__CLUSTER__BALANCER__RANDOM},
    {&ring_hash, take_ring_hash, HEADGATE__CLUSTER__BALANCER__RING_HASH},
    {&maglev, take_maglev, HEADGATE__CLUSTER__BALANCER__MAGLEV},
    {&wrr_locality, take_wrr_locality, 0},
};

/* ---- which one ---- */

static const struct known_policy *find(const Google__Protobuf__Any *any) {
    struct str name = any ? xds_type_name(str_of(any->type_url)) : (struct str){0};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(name, str_of(known[i].table->type->name)))
            return &known[i];
    return NULL;
}

static void take_known(struct cluster_making *c, const struct xds_at *at, const struct known_policy *k,
                       const Google__Protobuf__Any *any, unsigned depth) {
    ProtobufCMessage *m = making_open(c->making, at, any);
    if (!m || making_look(c->making, at, k->table, m) < 0)
        return;
    if (k->balancer) {
        c->to->has_balancer = k->balancer != HEADGATE__CLUSTER__BALANCER__ROUND_ROBIN;
        c->to->balancer = k->balancer;
    }
    k->take(c, at, m, depth);
}

static void take_first(struct cluster_making *c, const struct xds_at *at,
                       const Envoy__Config__Cluster__V3__LoadBalancingPolicy *list, unsigned depth) {
    if (depth > POLICY_DEPTH_MAX) {
        making_refuse(c->making, at, ERROR_RANGE, "is nested too deeply");
        return;
    }
    for (size_t i = 0; i < list->n_policies; i++) {
        const Envoy__Config__Core__V3__TypedExtensionConfig *e = list->policies[i]->typed_extension_config;
        const struct known_policy *k = find(e ? e->typed_config : NULL);
        if (k) {
            const struct xds_at *item = XDS_AT_ITEM(at, "policies", i);
            take_known(c, XDS_AT(item, "typed_extension_config.typed_config"), k, e->typed_config, depth);
            return;
        }
    }
    making_unsupported(c->making, XDS_AT(at, "policies"), "none of these balancers is here");
}

void cluster_take_policy(struct cluster_making *c, const struct xds_at *at,
                         const Envoy__Config__Cluster__V3__LoadBalancingPolicy *policy) {
    take_first(c, at, policy, 0);
}
