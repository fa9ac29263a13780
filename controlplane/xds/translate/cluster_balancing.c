#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/tables.h"

enum {
    TABLE_MAX = 5000011,                /* Envoy's bounds, and ours */
    RING_MAX = 8388608,
    CHOICES_MAX = 32,
    AGGRESSION_MAX = 10000,             /* percent */
    LOAD_BOUND_MAX = 10000,
    SELECTORS_MAX = 16,
    KEYS_MAX = 8,
};

/* ---- what is read ---- */

const struct xds_fields cluster_read_aggression = XDS_TABLE(envoy__config__core__v3__runtime_double,
    XDS_NOTE("default_value", "0.01 to 100"),
    XDS_NOTE("runtime_key", "a number of 0.01 to 100 that a layer has (RTDS, the bootstrap file) counts, otherwise the "
             "default"));

const struct xds_fields cluster_read_bias = XDS_TABLE(envoy__config__core__v3__runtime_double,
    XDS_NOTE("default_value", "1"), XDS_IGNORE("runtime_key", "there is no other bias: default_value holds"));

const struct xds_fields cluster_read_slow_start = XDS_TABLE(envoy__config__cluster__v3__cluster__slow_start_config,
    XDS_READ("slow_start_window"),
    XDS_INSIDE("aggression", &cluster_read_aggression),
    XDS_INSIDE_NOTE("min_weight_percent", &xds_read_percent, "whole percent of 1 to 100"));

const struct xds_fields cluster_read_round_robin = XDS_TABLE(envoy__config__cluster__v3__cluster__round_robin_lb_config,
    XDS_INSIDE("slow_start_config", &cluster_read_slow_start));

const struct xds_fields cluster_read_least_request = XDS_TABLE(envoy__config__cluster__v3__cluster__least_request_lb_config,
    XDS_NOTE("choice_count", "2 to 32"),
    XDS_INSIDE("active_request_bias", &cluster_read_bias),
    XDS_INSIDE("slow_start_config", &cluster_read_slow_start));

const struct xds_fields cluster_read_ring_hash = XDS_TABLE(envoy__config__cluster__v3__cluster__ring_hash_lb_config,
    XDS_READ("minimum_ring_size"),
    XDS_IGNORE("hash_function", "which endpoint a key leads to differs from Envoy with any of them"),
    XDS_NOTE("maximum_ring_size", "not below minimum_ring_size, which says how many points there are"));

const struct xds_fields cluster_read_maglev = XDS_TABLE(envoy__config__cluster__v3__cluster__maglev_lb_config,
    XDS_NOTE("table_size", "a prime"));

static const struct xds_fields zone_aware = XDS_TABLE(
    envoy__config__cluster__v3__cluster__common_lb_config__zone_aware_lb_config,
    XDS_INSIDE_NOTE("routing_enabled", &xds_read_percent, "0 or 100; the zone is that of the data plane"),
    XDS_IGNORE("min_cluster_size", "endpoints of the own zone are preferred as far as they suffice, however few there are"));

static const struct xds_fields locality_weighted = XDS_EMPTY_TABLE(
    envoy__config__cluster__v3__cluster__common_lb_config__locality_weighted_lb_config);

static const struct xds_fields consistent = XDS_TABLE(
    envoy__config__cluster__v3__cluster__common_lb_config__consistent_hashing_lb_config,
    XDS_NOTE("hash_balance_factor", "100 to 10000"));

const struct xds_fields cluster_read_common = XDS_TABLE(envoy__config__cluster__v3__cluster__common_lb_config,
    XDS_INSIDE_NOTE("healthy_panic_threshold", &xds_read_percent, "whole percent"),
    XDS_INSIDE_NOTE("zone_aware_lb_config", &zone_aware, "becomes `prefer-zone`"),
    XDS_INSIDE("locality_weighted_lb_config", &locality_weighted),
    XDS_IGNORE("update_merge_window", "changes of endpoints are gathered for 50 ms"),
    XDS_INSIDE("consistent_hashing_lb_config", &consistent));

static const struct xds_fields selector =
    XDS_TABLE(envoy__config__cluster__v3__cluster__lb_subset_config__lb_subset_selector,
    XDS_NOTE("keys", "1 to 8"),
    XDS_NOTE("fallback_policy", "NOT_DEFINED, or what the cluster has"));

const struct xds_fields cluster_read_subsets = XDS_TABLE(envoy__config__cluster__v3__cluster__lb_subset_config,
    XDS_NOTE("fallback_policy", "NO_FALLBACK or ANY_ENDPOINT; a route without metadata_match may have any endpoint"),
    XDS_INSIDE_NOTE("subset_selectors", &selector, "at most 16"));

/* ---- parts ---- */

static bool is_aggression(double value) {
    return value * 100 >= 1 && value * 100 <= AGGRESSION_MAX;
}

/* A value of the runtime counts where it has a meaning; ours are hundredths. */
static void take_aggression(struct cluster_making *c, const struct xds_at *at,
                            const Envoy__Config__Core__V3__RuntimeDouble *from, Headgate__SlowStart *to) {
    double value = xds_runtime_number(c->making->made->runtime, from->runtime_key, from->default_value);
    c->making->made->reads_runtime |= from->runtime_key[0] != '\0';
    if (!is_aggression(from->default_value)) {
        making_refuse(c->making, XDS_AT(at, "default_value"), ERROR_RANGE, "is %g; 0.01 to %g are possible",
                      from->default_value, AGGRESSION_MAX / 100.);
        return;
    }
    to->has_aggression = true;
    to->aggression = (uint32_t)((is_aggression(value) ? value : from->default_value) * 100 + .5);
}

void cluster_take_slow_start(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__Duration *window,
                             const Envoy__Config__Core__V3__RuntimeDouble *aggression,
                             const Envoy__Type__V3__Percent *min_weight) {
    Headgate__SlowStart *to = making_new(c->making, &headgate__slow_start__descriptor);
    if (!window)
        making_refuse(c->making, XDS_AT(at, "slow_start_window"), ERROR_MISSING, "is missing");
    if (!to || !window)
        return;
    value_duration(c->making, XDS_AT(at, "slow_start_window"), window, XDS_MS, XDS_DAY, &to->has_window, &to->window);
    if (aggression)
        take_aggression(c, XDS_AT(at, "aggression"), aggression, to);
    value_percent(c->making, XDS_AT(at, "min_weight_percent"), min_weight, 1, &to->has_min_percent, &to->min_percent);
    c->to->balancing->slow_start = to;
}

static void take_legacy_slow_start(struct cluster_making *c, const struct xds_at *at,
                                   const Envoy__Config__Cluster__V3__Cluster__SlowStartConfig *s) {
    if (s)
        cluster_take_slow_start(c, XDS_AT(at, "slow_start_config"), s->slow_start_window, s->aggression,
                                s->min_weight_percent);
}

void cluster_take_bias(struct cluster_making *c, const struct xds_at *at,
                       const Envoy__Config__Core__V3__RuntimeDouble *bias) {
    if (bias && bias->default_value != 1)
        making_unsupported(c->making, XDS_AT(at, "default_value"), "requests under way count once, as with 1");
}

void cluster_take_ring(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__UInt64Value *minimum,
                       const Google__Protobuf__UInt64Value *maximum) {
    Headgate__Balancing *b = c->to->balancing;
    uint64_t most = maximum ? maximum->value : RING_MAX;
    if (minimum)
        value_number(c->making, XDS_AT(at, "minimum_ring_size"), minimum->value, 1, RING_MAX, &b->has_ring_size,
                     &b->ring_size);
    if (most < b->ring_size || most > RING_MAX)
        making_refuse(c->making, XDS_AT(at, "maximum_ring_size"), ERROR_RANGE, "is %llu; %u to %d are possible",
                      (unsigned long long)most, b->ring_size, RING_MAX);
}

static bool is_prime(uint64_t n) {
    if (n < 2)
        return false;
    for (uint64_t d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return true;
}

void cluster_take_table(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__UInt64Value *size) {
    Headgate__Balancing *b = c->to->balancing;
    if (size && size->value <= TABLE_MAX && !is_prime(size->value))
        making_refuse(c->making, XDS_AT(at, "table_size"), ERROR_RANGE, "is %u, which is no prime", (unsigned)size->value);
    else if (size)
        value_number(c->making, XDS_AT(at, "table_size"), size->value, 3, TABLE_MAX, &b->has_table_size, &b->table_size);
}

void cluster_take_balance_factor(struct cluster_making *c, const struct xds_at *at,
                                 const Google__Protobuf__UInt32Value *factor) {
    Headgate__Balancing *b = c->to->balancing;
    value_uint32(c->making, at, factor, 100, LOAD_BOUND_MAX, &b->has_load_bound, &b->load_bound);
}

void cluster_take_zone_aware(struct cluster_making *c, const struct xds_at *at, const Envoy__Type__V3__Percent *routing) {
    double percent = routing ? routing->value : 100;
    if (percent != 0 && percent != 100) {
        making_unsupported(c->making, XDS_AT(at, "routing_enabled"), "only 0 and 100 percent are");
        return;
    }
    c->to->balancing->has_prefer_zone = true;
    c->to->balancing->prefer_zone = percent == 100;
}

/* ---- the policy by name, and its settings ---- */

static void set_balancer(struct cluster_making *c, Headgate__Cluster__Balancer balancer) {
    c->to->has_balancer = true;
    c->to->balancer = balancer;
}

static void take_name(struct cluster_making *c) {
    switch (c->from->lb_policy) {
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN: break;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LEAST_REQUEST:
        set_balancer(c, HEADGATE__CLUSTER__BALANCER__LEAST_REQUEST);
        break;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RING_HASH:
        set_balancer(c, HEADGATE__CLUSTER__BALANCER__RING_HASH);
        break;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RANDOM:
        set_balancer(c, HEADGATE__CLUSTER__BALANCER__RANDOM);
        break;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__MAGLEV:
        set_balancer(c, HEADGATE__CLUSTER__BALANCER__MAGLEV);
        break;
    default: making_unsupported(c->making, XDS_AT(NULL, "lb_policy"), "there is no such balancer here"); break;
    }
}

static void take_least_request(struct cluster_making *c, const struct xds_at *at,
                               const Envoy__Config__Cluster__V3__Cluster__LeastRequestLbConfig *l) {
    Headgate__Balancing *b = c->to->balancing;
    value_uint32(c->making, XDS_AT(at, "choice_count"), l->choice_count, 2, CHOICES_MAX, &b->has_choices, &b->choices);
    cluster_take_bias(c, XDS_AT(at, "active_request_bias"), l->active_request_bias);
    take_legacy_slow_start(c, at, l->slow_start_config);
}

/* Settings of another balancer than the cluster's have no effect in Envoy either. */
static void take_settings(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__Cluster *from = c->from;
    switch (from->lb_config_case) {
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ROUND_ROBIN_LB_CONFIG:
        if (from->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN)
            take_legacy_slow_start(c, XDS_AT(NULL, "round_robin_lb_config"),
                                   from->round_robin_lb_config->slow_start_config);
        break;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_LEAST_REQUEST_LB_CONFIG:
        if (from->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LEAST_REQUEST)
            take_least_request(c, XDS_AT(NULL, "least_request_lb_config"), from->least_request_lb_config);
        break;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG:
        cluster_take_ring(c, XDS_AT(NULL, "ring_hash_lb_config"), from->ring_hash_lb_config->minimum_ring_size,
                          from->ring_hash_lb_config->maximum_ring_size);
        break;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG:
        cluster_take_table(c, XDS_AT(NULL, "maglev_lb_config"), from->maglev_lb_config->table_size);
        break;
    default: break;
    }
}

/* ---- what all policies have ---- */

#define LOCALITY(name) \
    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_##name##_LB_CONFIG

static void take_common(struct cluster_making *c, const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig *common) {
    const struct xds_at *at = XDS_AT(NULL, "common_lb_config");
    Headgate__Balancing *b = c->to->balancing;
    value_percent(c->making, XDS_AT(at, "healthy_panic_threshold"), common->healthy_panic_threshold, 0,
                  &b->has_panic_threshold, &b->panic_threshold);
    switch (common->locality_config_specifier_case) {
    case LOCALITY(ZONE_AWARE):
        cluster_take_zone_aware(c, XDS_AT(at, "zone_aware_lb_config"), common->zone_aware_lb_config->routing_enabled);
        break;
    case LOCALITY(LOCALITY_WEIGHTED):
        c->is_locality_weighted = true;
        break;
    default: break;
    }
    if (common->consistent_hashing_lb_config)
        cluster_take_balance_factor(c, XDS_AT(at, "consistent_hashing_lb_config.hash_balance_factor"),
                                    common->consistent_hashing_lb_config->hash_balance_factor);
}

/* ---- subsets ---- */

#define SELECTOR_FALLBACK(name) \
    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_SUBSET_CONFIG__LB_SUBSET_SELECTOR__LB_SUBSET_SELECTOR_FALLBACK_POLICY__##name

static Headgate__SubsetSelector *take_selector(struct cluster_making *c, const struct xds_at *at, bool may_be_any,
        const Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig__LbSubsetSelector *from) {
    Headgate__SubsetSelector *to = making_new(c->making, &headgate__subset_selector__descriptor);
    char **keys = making_array(c->making, from->n_keys, sizeof *keys);
    int same = may_be_any ? SELECTOR_FALLBACK(ANY_ENDPOINT) : SELECTOR_FALLBACK(NO_FALLBACK);
    if ((int)from->fallback_policy != SELECTOR_FALLBACK(NOT_DEFINED) && (int)from->fallback_policy != same)
        making_unsupported(c->making, XDS_AT(at, "fallback_policy"), "all selectors of a cluster fall back alike");
    if (from->n_keys == 0 || from->n_keys > KEYS_MAX)
        making_refuse(c->making, XDS_AT(at, "keys"), ERROR_RANGE, "has %zu keys; 1 to %d are possible", from->n_keys,
                      KEYS_MAX);
    if (!to || !keys)
        return NULL;
    for (size_t i = 0; i < from->n_keys; i++) {
        if (!from->keys[i][0])
            making_refuse(c->making, XDS_AT_ITEM(at, "keys", i), ERROR_MISSING, "is empty");
        value_text(c->making, XDS_AT_ITEM(at, "keys", i), from->keys[i], &text_word, 8192, &keys[i]);
    }
    to->keys = keys;
    to->n_keys = from->n_keys;
    return to;
}

static void take_subsets(struct cluster_making *c, const Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig *subsets) {
    const struct xds_at *at = XDS_AT(NULL, "lb_subset_config");
    Headgate__Balancing *b = c->to->balancing;
    int fallback = subsets->fallback_policy;
    bool may_be_any =
        fallback == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_SUBSET_CONFIG__LB_SUBSET_FALLBACK_POLICY__ANY_ENDPOINT;
    if (fallback == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_SUBSET_CONFIG__LB_SUBSET_FALLBACK_POLICY__DEFAULT_SUBSET)
        making_unsupported(c->making, XDS_AT(at, "fallback_policy"), "there is no default subset");
    if (subsets->n_subset_selectors > SELECTORS_MAX) {
        making_refuse(c->making, XDS_AT(at, "subset_selectors"), ERROR_RANGE, "has %zu selectors; %d are possible",
                      subsets->n_subset_selectors, SELECTORS_MAX);
        return;
    }
    b->has_subset_fallback = true;
    b->subset_fallback = may_be_any;
    b->subsets = making_array(c->making, subsets->n_subset_selectors, sizeof *b->subsets);
    for (size_t i = 0; b->subsets && i < subsets->n_subset_selectors; i++) {
        Headgate__SubsetSelector *to = take_selector(c, XDS_AT_ITEM(at, "subset_selectors", i), may_be_any,
                                                     subsets->subset_selectors[i]);
        if (to)
            b->subsets[b->n_subsets++] = to;
    }
}

/* ---- all ---- */

/* The policy by its type has fields of its own for what these say. Envoy refuses such a cluster, too. */
static void refuse_beside_policy(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig *common = c->from->common_lb_config;
    const struct { const char *field; bool is_set; } fields[] = {
        {"lb_subset_config", c->from->lb_subset_config},
        {"common_lb_config.zone_aware_lb_config", common && common->locality_config_specifier_case == LOCALITY(ZONE_AWARE)},
        {"common_lb_config.locality_weighted_lb_config",
         common && common->locality_config_specifier_case == LOCALITY(LOCALITY_WEIGHTED)},
        {"common_lb_config.consistent_hashing_lb_config", common && common->consistent_hashing_lb_config},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].is_set)
            making_refuse(c->making, XDS_AT(NULL, fields[i].field), ERROR_CONFLICT,
                          "cannot stand beside load_balancing_policy");
}

void cluster_take_balancing(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__Cluster *from = c->from;
    if (from->load_balancing_policy) {
        cluster_take_policy(c, XDS_AT(NULL, "load_balancing_policy"), from->load_balancing_policy);
        refuse_beside_policy(c);
    } else {
        take_name(c);
        take_settings(c);
    }
    if (from->common_lb_config)
        take_common(c, from->common_lb_config);
    if (from->lb_subset_config)
        take_subsets(c, from->lb_subset_config);
}
