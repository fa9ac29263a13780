/* How clusters choose endpoints: policies by name and by type, subsets, zones, slow start. */
#include "tests/unit/controlplane/xds/translate/translating_cluster.h"

#define MADE(yaml, text) check_cluster("{name: a, " yaml "}", "name: a\n" text)
#define REFUSED(yaml, text) check_cluster("{name: a, " yaml "}", "cluster/a: " text "\n")

/* ---- by name ---- */

static void policies_by_name(void **state) {
    (void)state;
    MADE("lb_policy: ROUND_ROBIN", "");
    MADE("lb_policy: RANDOM", "balancer: random\n");
    MADE("lb_policy: LEAST_REQUEST, least_request_lb_config: {choice_count: 5, active_request_bias: {default_value: 1}}",
         "balancer: least-request\nbalancing: {choices: 5}\n");
    MADE("lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 2048, maximum_ring_size: 4096, hash_function: "
         "MURMUR_HASH_2}, common_lb_config: {consistent_hashing_lb_config: {hash_balance_factor: 150}}",
         "balancer: ring-hash\nbalancing: {ring-size: 2048, load-bound: 150}\n");
    MADE("lb_policy: MAGLEV, maglev_lb_config: {table_size: 65537}", "balancer: maglev\nbalancing: {table-size: 65537}\n");
    REFUSED("lb_policy: CLUSTER_PROVIDED", "lb_policy: is not supported: there is no such balancer here");
    REFUSED("lb_policy: LOAD_BALANCING_POLICY_CONFIG", "lb_policy: is not supported: there is no such balancer here");
    REFUSED("lb_policy: MAGLEV, maglev_lb_config: {table_size: 100}",
            "maglev_lb_config.table_size: is 100, which is no prime");
    REFUSED("lb_policy: MAGLEV, maglev_lb_config: {table_size: 2}",
            "maglev_lb_config.table_size: is 2; 3 to 5000011 are possible");
    REFUSED("lb_policy: RING_HASH, ring_hash_lb_config: {maximum_ring_size: 100}",
            "ring_hash_lb_config.maximum_ring_size: is 100; 1024 to 8388608 are possible");
    REFUSED("lb_policy: LEAST_REQUEST, least_request_lb_config: {active_request_bias: {default_value: 0}}",
            "least_request_lb_config.active_request_bias.default_value: is not supported: requests under way count once, as "
            "with 1");
}

static void slow_start(void **state) {
    (void)state;
    MADE("round_robin_lb_config: {slow_start_config: {slow_start_window: 60s}}", "balancing: {slow-start: {window: 1m}}\n");
    MADE("lb_policy: LEAST_REQUEST, least_request_lb_config: {slow_start_config: {slow_start_window: 60s, aggression:"
         " {default_value: 1.5, runtime_key: x}, min_weight_percent: {value: 20}}}",
         "balancer: least-request\nbalancing: {slow-start: {window: 1m, aggression: 150, min-percent: 20}}\n");
    REFUSED("round_robin_lb_config: {slow_start_config: {aggression: {default_value: 0}, min_weight_percent: {value: 0.5}}}",
            "round_robin_lb_config.slow_start_config.slow_start_window: is missing");
    REFUSED("round_robin_lb_config: {slow_start_config: {slow_start_window: 1s, aggression: {default_value: -1},"
            " min_weight_percent: {value: 0.5}}}",
            "round_robin_lb_config.slow_start_config.aggression.default_value: is -1; 0.01 to 100 are possible\n"
            "cluster/a: round_robin_lb_config.slow_start_config.min_weight_percent: is 0.5 percent; whole numbers of 1 to "
            "100 "
            "are possible");
}

static struct xds_runtime values;

static int translate_by_values(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    ret->runtime = &values;
    return translate_cluster(m, ret, errors);
}

static void print_aggression(const struct xds_made *made, struct strbuf *out) {
    const struct config_resource *r = &made->set.items[0];
    Headgate__Cluster *c = headgate__cluster__unpack(NULL, r->size, r->bytes);
    assert_non_null(c);
    strbuf_printf(out, "%u %d", c->balancing->slow_start->aggression, made->reads_runtime);
    headgate__cluster__free_unpacked(c, NULL);
}

/* A value that has no meaning leaves the default. */
static void slow_start_goes_by_values(void **state) {
    static const struct {
        const char *value, *made;
    } cases[] = {{"", "150 1"}, {"2.5", "250 1"}, {"0.01", "1 1"}, {"0", "150 1"}, {"101", "150 1"}, {"fast", "150 1"}};
    static const struct translating by_values = {
        &envoy__config__cluster__v3__cluster__descriptor, translate_by_values, print_aggression};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct xds_runtime_value value = xds_runtime_of_text("k", cases[i].value);
        assert_int_equal(xds_runtime_set(&values, &value), 0);
        assert_translated(&by_values, "name: a\nload_assignment: {cluster_name: a}\nround_robin_lb_config: "
                          "{slow_start_config: {slow_start_window: 60s, aggression: {default_value: 1.5, "
                          "runtime_key: k}}}\n", cases[i].made);
    }
    xds_runtime_finish(&values);
}

static void what_all_policies_have(void **state) {
    (void)state;
    MADE("common_lb_config: {healthy_panic_threshold: {value: 0}, zone_aware_lb_config: {min_cluster_size: 3},"
         " update_merge_window: 1s}", "balancing: {panic-threshold: off, prefer-zone: true}\n");
    MADE("common_lb_config: {zone_aware_lb_config: {routing_enabled: {value: 0}}}", "balancing: {prefer-zone: false}\n");
    REFUSED("common_lb_config: {zone_aware_lb_config: {routing_enabled: {value: 50}}}", "common_lb_config."
            "zone_aware_lb_config.routing_enabled: is not supported: only 0 and 100 percent are");
    REFUSED("common_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}, ignore_new_hosts_until_first_hc: true,"
            " close_connections_on_host_set_change: true, override_host_status: {statuses: [HEALTHY]},"
            " consistent_hashing_lb_config: {use_hostname_for_hashing: true}}",
            "common_lb_config.zone_aware_lb_config.fail_traffic_on_panic: is not supported\n"
            "cluster/a: common_lb_config.ignore_new_hosts_until_first_hc: is not supported\n"
            "cluster/a: common_lb_config.close_connections_on_host_set_change: is not supported\n"
            "cluster/a: common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing: is not supported\n"
            "cluster/a: common_lb_config.override_host_status: is not supported");
}

static void subsets(void **state) {
    (void)state;
    MADE("lb_subset_config: {subset_selectors: [{keys: [version]}, {keys: [version, stage], fallback_policy: NO_FALLBACK}]}",
         "balancing:\n  subsets:\n    - keys: [version]\n    - keys: [version, stage]\n  subset-fallback: false\n");
    MADE("lb_subset_config: {fallback_policy: ANY_ENDPOINT, subset_selectors: [{keys: [v], fallback_policy: ANY_ENDPOINT}]}",
         "balancing:\n  subsets:\n    - keys: [v]\n  subset-fallback: true\n");
    REFUSED("lb_subset_config: {fallback_policy: DEFAULT_SUBSET}",
            "lb_subset_config.fallback_policy: is not supported: there is no default subset");
    REFUSED("lb_subset_config: {subset_selectors: [{keys: []}, {keys: ['a b', '']}, {keys: [v], fallback_policy: "
            "KEYS_SUBSET}]}",
            "lb_subset_config.subset_selectors[0].keys: has 0 keys; 1 to 8 are possible\n"
            "cluster/a: lb_subset_config.subset_selectors[1].keys[0]: is \"a b\": not a single word\n"
            "cluster/a: lb_subset_config.subset_selectors[1].keys[1]: is empty\n"
            "cluster/a: lb_subset_config.subset_selectors[2].fallback_policy: is not supported: all selectors of a cluster "
            "fall back alike");
    REFUSED("lb_subset_config: {subset_selectors: [{keys: [v], single_host_per_subset: true}], list_as_any: true,"
            " default_subset: {a: b}}",
            "lb_subset_config.default_subset: is not supported\n"
            "cluster/a: lb_subset_config.subset_selectors[0].single_host_per_subset: is not supported\n"
            "cluster/a: lb_subset_config.list_as_any: is not supported");
}

/* ---- by type ---- */

#define TYPE(name, package, more) \
    "{typed_extension_config: {name: x, typed_config: {'@type': type.googleapis.com/envoy.extensions." \
    "load_balancing_policies." package ".v3." name more "}}}"
#define POLICIES(items) "load_balancing_policy: {policies: [" items "]}"
#define AT "load_balancing_policy.policies[0].typed_extension_config.typed_config"

static void policies_by_type(void **state) {
    (void)state;
    MADE("lb_policy: RANDOM, " POLICIES(TYPE("RoundRobin", "round_robin",
         ", slow_start_config: {slow_start_window: 60s}, locality_lb_config: {zone_aware_lb_config: {}}")),
         "balancing: {slow-start: {window: 1m}, prefer-zone: true}\n");
    MADE(POLICIES(TYPE("LeastRequest", "least_request", ", choice_count: 3, enable_full_scan: false")),
         "balancer: least-request\nbalancing: {choices: 3}\n");
    MADE(POLICIES(TYPE("Random", "random", "")), "balancer: random\n");
    MADE(POLICIES(TYPE("RingHash", "ring_hash", ", minimum_ring_size: 7, hash_balance_factor: 120")),
         "balancer: ring-hash\nbalancing: {ring-size: 7, load-bound: 120}\n");
    MADE(POLICIES(TYPE("Maglev", "maglev", ", table_size: 7, consistent_hashing_lb_config: {hash_balance_factor: 130}")),
         "balancer: maglev\nbalancing: {table-size: 7, load-bound: 130}\n");
}

static void the_first_that_is_known_counts(void **state) {
    (void)state;
    MADE(POLICIES("{}, {typed_extension_config: {name: x}}, " TYPE("Random", "random", "") ", "
                  TYPE("RoundRobin", "round_robin", ", slow_start_config: {}")), "balancer: random\n");
    REFUSED(POLICIES(""), "load_balancing_policy.policies: is not supported: none of these balancers is here");
    REFUSED(POLICIES("{typed_extension_config: {name: x, typed_config: {'@type': type.googleapis.com/google.protobuf.Empty,"
            " value: {}}}}"), "load_balancing_policy.policies: is not supported: none of these balancers is here");
}

static void what_a_type_says_stands_nowhere_else(void **state) {
    (void)state;
    MADE("common_lb_config: {healthy_panic_threshold: {value: 0}}, " POLICIES(TYPE("Random", "random", "")),
         "balancer: random\nbalancing: {panic-threshold: off}\n");
    REFUSED("lb_subset_config: {subset_selectors: [{keys: [v]}]}, " POLICIES(TYPE("Random", "random", "")),
            "lb_subset_config: cannot stand beside load_balancing_policy");
    REFUSED("common_lb_config: {locality_weighted_lb_config: {}, consistent_hashing_lb_config: {}}, "
            POLICIES(TYPE("Random", "random", "")),
            "common_lb_config.locality_weighted_lb_config: cannot stand beside load_balancing_policy\n"
            "cluster/a: common_lb_config.consistent_hashing_lb_config: cannot stand beside load_balancing_policy");
    REFUSED("common_lb_config: {zone_aware_lb_config: {}}, " POLICIES(TYPE("Random", "random", "")),
            "common_lb_config.zone_aware_lb_config: cannot stand beside load_balancing_policy");
}

static void localities_by_type(void **state) {
    (void)state;
    MADE("type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, " POLICIES(TYPE("WrrLocality", "wrr_locality",
         ", endpoint_picking_policy: {policies: [" TYPE("LeastRequest", "least_request", "") "]}")),
         "discovery: {xds: {service: a, locality-weighted: true}}\nbalancer: least-request\n"
         "needs envoy.config.endpoint.v3.ClusterLoadAssignment a\n");
    MADE("type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, " POLICIES(TYPE("Maglev", "maglev",
         ", locality_weighted_lb_config: {}")),
         "discovery: {xds: {service: a, locality-weighted: true}}\nbalancer: maglev\n"
         "needs envoy.config.endpoint.v3.ClusterLoadAssignment a\n");
    REFUSED(POLICIES(TYPE("WrrLocality", "wrr_locality", "")), AT ".endpoint_picking_policy: is missing");
}

static void what_types_have_and_nothing_reads_is_refused(void **state) {
    (void)state;
    REFUSED(POLICIES(TYPE("RoundRobin", "round_robin", ", locality_lb_config: {zone_aware_lb_config: {force_local_zone: "
                          "{}}}")),
            AT ".locality_lb_config.zone_aware_lb_config.force_local_zone: is not supported");
    REFUSED(POLICIES(TYPE("LeastRequest", "least_request", ", selection_method: FULL_SCAN")),
            AT ".selection_method: is not supported");
    REFUSED(POLICIES(TYPE("LeastRequest", "least_request", ", enable_full_scan: true")),
            AT ".enable_full_scan: is not supported: some endpoints are compared, not all");
    REFUSED(POLICIES(TYPE("Maglev", "maglev", ", consistent_hashing_lb_config: {hash_policy: [{terminal: true}]}")),
            AT ".consistent_hashing_lb_config.hash_policy: is not supported");
}

static void policies_within_policies_end(void **state) {
    (void)state;
#define WRR(inner) TYPE("WrrLocality", "wrr_locality", ", endpoint_picking_policy: {policies: [" inner "]}")
    char *text = translated(&whole_cluster, "{name: a, " POLICIES(WRR(WRR(WRR(WRR(WRR(WRR(""))))))) "}");
    assert_non_null(strstr(text, ".endpoint_picking_policy: is nested too deeply\n"));
    hg_free(text);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    assert_survives_failures(&whole_cluster, "{name: a, lb_subset_config: {subset_selectors: [{keys: [v, w]}]}}");
    assert_survives_failures(&whole_cluster, "{name: a, "
                             POLICIES(TYPE("RoundRobin", "round_robin", ", slow_start_config: {slow_start_window: "
                                           "60s}")) "}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_by_name),
        cmocka_unit_test(slow_start),
        cmocka_unit_test(slow_start_goes_by_values),
        cmocka_unit_test(what_all_policies_have),
        cmocka_unit_test(subsets),
        cmocka_unit_test(policies_by_type),
        cmocka_unit_test(the_first_that_is_known_counts),
        cmocka_unit_test(what_a_type_says_stands_nowhere_else),
        cmocka_unit_test(localities_by_type),
        cmocka_unit_test(what_types_have_and_nothing_reads_is_refused),
        cmocka_unit_test(policies_within_policies_end),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
