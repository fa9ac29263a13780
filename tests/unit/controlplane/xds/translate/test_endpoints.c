/* Assignments of endpoints: addresses, weights, priorities, health, metadata; and what is refused. */
#include "tests/unit/controlplane/xds/translate/translating.h"

#include <time.h>

#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/weights.h"

/* ---- help ---- */

static bool is_locality_weighted;

static int translate(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_endpoints((const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *)m, is_locality_weighted, ret,
                                   errors);
}

static void print_endpoint(const Headgate__Endpoint *e, struct strbuf *out) {
    static const char *const health[] = {"", " healthy", " unhealthy", " draining"};
    strbuf_printf(out, "%s weight %u priority %u%s", e->address, e->weight, e->priority, health[e->health]);
    if (e->hostname)
        strbuf_printf(out, " host %s", e->hostname);
    if (e->zone)
        strbuf_printf(out, " zone %s", e->zone);
    for (size_t i = 0; i < e->n_metadata; i++)
        strbuf_printf(out, " %s=%s", e->metadata[i]->key, e->metadata[i]->value);
    strbuf_putc(out, '\n');
}

static void print(const struct xds_made *made, struct strbuf *out) {
    struct error_list errors = {0};
    assert_int_equal(made->set.count, 1);
    const struct config_resource *r = &made->set.items[0];
    assert_int_equal(r->kind, HEADGATE__KIND__KIND_ENDPOINT_SET);
    Headgate__EndpointSet *set = (Headgate__EndpointSet *)resource_decode(r->kind, str_of(r->name), r->bytes, r->size,
                                                                         &errors);
    assert_non_null(set);
    strbuf_printf(out, "%s:\n", r->name);
    for (size_t i = 0; i < set->n_endpoints; i++)
        print_endpoint(set->endpoints[i], out);
    headgate__endpoint_set__free_unpacked(set, NULL);
    error_list_finish(&errors);
}

static const struct translating endpoints = {
    &envoy__config__endpoint__v3__cluster_load_assignment__descriptor, translate, print,
};

static void check(const char *yaml, const char *expected) {
    assert_translated(&endpoints, yaml, expected);
}

static int setup(void **state) {
    (void)state;
    is_locality_weighted = false;
    return 0;
}

#define AT(ip) "{endpoint: {address: {socket_address: {address: " ip ", port_value: 80}}}}"
#define WEIGHED(ip, weight) \
    "{endpoint: {address: {socket_address: {address: " ip ", port_value: 80}}}, load_balancing_weight: " #weight "}"
#define WITH(ip, more) "{endpoint: {address: {socket_address: {address: " ip ", port_value: 80}}}, " more "}"

/* ---- what is understood ---- */

static void addresses_are_of_ip_and_unix(void **state) {
    (void)state;
    check("cluster_name: outbound|80||web\nendpoints:\n- lb_endpoints:\n  - " AT("10.0.0.1") "\n  - " AT("'fd00::0:1'")
          "\n  - {endpoint: {address: {pipe: {path: /run/a.sock}}, hostname: Web.Example}}\n"
          "  - {endpoint: {address: {pipe: {path: '@abstract'}}}}\n",
          "outbound@7c80@7c@7cweb:\n10.0.0.1:80 weight 1 priority 0\n[fd00::1]:80 weight 1 priority 0\n"
          "unix:/run/a.sock weight 1 priority 0 host web.example\nunix:@abstract weight 1 priority 0\n");
}

static void no_endpoints_are_none(void **state) {
    (void)state;
    check("cluster_name: a", "a:\n");
    check("{cluster_name: a, endpoints: [{priority: 3, locality: {region: r}}], policy: {}}", "a:\n");
}

static void health_is_kept(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- lb_endpoints:\n  - " WITH("10.0.0.1", "health_status: HEALTHY") "\n  - "
          WITH("10.0.0.2", "health_status: UNHEALTHY") "\n  - " WITH("10.0.0.3", "health_status: DRAINING") "\n  - "
          WITH("10.0.0.4", "health_status: TIMEOUT") "\n  - " WITH("10.0.0.5", "health_status: UNKNOWN"),
          "a:\n10.0.0.1:80 weight 1 priority 0 healthy\n10.0.0.2:80 weight 1 priority 0 unhealthy\n"
          "10.0.0.3:80 weight 1 priority 0 draining\n10.0.0.4:80 weight 1 priority 0 unhealthy\n"
          "10.0.0.5:80 weight 1 priority 0\n");
}

static void what_is_degraded_comes_behind_all_priorities(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- lb_endpoints:\n  - " WITH("10.0.0.1", "health_status: DEGRADED") "\n  - "
          AT("10.0.0.2") "\n- priority: 1\n  lb_endpoints: [" AT("10.0.0.3") "]\n",
          "a:\n10.0.0.1:80 weight 1 priority 2 healthy\n10.0.0.2:80 weight 1 priority 0\n"
          "10.0.0.3:80 weight 1 priority 1\n");
}

static void priorities_without_endpoints_are_left_out(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- {priority: 0, lb_endpoints: []}\n- {priority: 128, lb_endpoints: [" AT("10.0.0.2")
          "]}\n- {priority: 7, lb_endpoints: [" AT("10.0.0.1") "]}\n",
          "a:\n10.0.0.2:80 weight 1 priority 1\n10.0.0.1:80 weight 1 priority 0\n");
}

static void localities_become_zones(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- {locality: {region: eu, zone: b}, lb_endpoints: [" AT("10.0.0.1") "]}\n"
          "- {locality: {region: eu, zone: b, sub_zone: r7}, lb_endpoints: [" AT("10.0.0.2") "]}\n"
          "- {locality: {zone: b}, lb_endpoints: [" AT("10.0.0.3") "]}\n- {locality: {}, lb_endpoints: [" AT("10.0.0.4")
          "]}\n",
          "a:\n10.0.0.1:80 weight 1 priority 0 zone eu/b\n10.0.0.2:80 weight 1 priority 0 zone eu/b/r7\n"
          "10.0.0.3:80 weight 1 priority 0 zone b\n10.0.0.4:80 weight 1 priority 0\n");
}

static void metadata_is_that_of_the_balancer(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- lb_endpoints:\n  - " WITH("10.0.0.1",
          "metadata: {filter_metadata: {istio: {x: {}}, envoy.lb: {version: v2, canary: true, n: 8, f: 0.5}}}"),
          "a:\n10.0.0.1:80 weight 1 priority 0 canary=true f=0.5 n=8 version=v2\n");
    check("cluster_name: a\nendpoints:\n- lb_endpoints:\n  - " WITH("10.0.0.1",
          "metadata: {filter_metadata: {envoy.transport_socket_match: {tlsMode: istio}, envoy.lb: {v: '2', z: '1'}}}"),
          "a:\n10.0.0.1:80 weight 1 priority 0 envoy.transport_socket_match.tlsMode=istio v=2 z=1\n");
}

static void the_first_of_an_address_counts(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- lb_endpoints: [" WEIGHED("10.0.0.1", 2) ", " AT("10.0.0.1") ", " AT("10.0.0.2")
          "]\n- {priority: 1, lb_endpoints: [" AT("10.0.0.1") "]}\n",
          "a:\n10.0.0.1:80 weight 2 priority 0\n10.0.0.2:80 weight 1 priority 0\n");
}

/* ---- weights ---- */

static void weights_of_endpoints_alone(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- load_balancing_weight: 9\n  lb_endpoints: [" WEIGHED("10.0.0.1", 4) ", "
          WEIGHED("10.0.0.2", 6) "]\n- load_balancing_weight: 1\n  locality: {zone: z}\n  lb_endpoints: [" AT("10.0.0.3")
          "]\n",
          "a:\n10.0.0.1:80 weight 4 priority 0\n10.0.0.2:80 weight 6 priority 0\n10.0.0.3:80 weight 1 priority 0 zone z\n");
}

static void weights_of_localities_times_those_of_endpoints(void **state) {
    (void)state;
    is_locality_weighted = true;
    check("cluster_name: a\nendpoints:\n- load_balancing_weight: 1\n  lb_endpoints: [" AT("10.0.0.1") ", " AT("10.0.0.2")
          "]\n- load_balancing_weight: 3\n  locality: {zone: z}\n  lb_endpoints: [" WEIGHED("10.0.0.3", 200) ", "
          WEIGHED("10.0.0.4", 100) "]\n",
          "a:\n10.0.0.1:80 weight 1 priority 0\n10.0.0.2:80 weight 1 priority 0\n10.0.0.3:80 weight 4 priority 0 zone z\n"
          "10.0.0.4:80 weight 2 priority 0 zone z\n");
}

static void a_locality_without_weight_gets_nothing_beside_weighted_ones(void **state) {
    (void)state;
    is_locality_weighted = true;
    check("cluster_name: a\nendpoints:\n- load_balancing_weight: 1\n  lb_endpoints: [" AT("10.0.0.1") "]\n"
          "- locality: {zone: z}\n  lb_endpoints: [" AT("10.0.0.2") "]\n"
          "- priority: 1\n  lb_endpoints: [" WEIGHED("10.0.0.3", 5) ", " AT("10.0.0.4") "]\n",
          "a:\n10.0.0.1:80 weight 1 priority 0\n10.0.0.3:80 weight 5 priority 1\n10.0.0.4:80 weight 1 priority 1\n");
}

static void large_weights_keep_their_proportion(void **state) {
    (void)state;
    check("cluster_name: a\nendpoints:\n- lb_endpoints: [" WEIGHED("10.0.0.1", 4000000000) ", "
          WEIGHED("10.0.0.2", 2000000000) "]\n- priority: 1\n  lb_endpoints: [" WEIGHED("10.0.0.3", 4294967295) ", "
          WEIGHED("10.0.0.4", 1) "]\n",
          "a:\n10.0.0.1:80 weight 2 priority 0\n10.0.0.2:80 weight 1 priority 0\n10.0.0.3:80 weight 65535 priority 1\n"
          "10.0.0.4:80 weight 1 priority 1\n");
}

static void assert_weights(const double *shares, size_t count, const uint32_t *expected) {
    uint32_t weights[8];
    weights_of_shares(shares, count, weights);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(weights[i], expected[i]);
}

static void shares_become_whole_numbers(void **state) {
    (void)state;
    assert_weights((double[]){1. / 3, 1. / 2}, 2, (uint32_t[]){2, 3});
    assert_weights((double[]){1. / 3, 1. / 3, 1. / 3}, 3, (uint32_t[]){1, 1, 1});
    assert_weights((double[]){1. / 7, 1. / 6, 1. / 5}, 3, (uint32_t[]){30, 35, 42});
    assert_weights((double[]){65535, 1}, 2, (uint32_t[]){65535, 1});
    assert_weights((double[]){65536, 1}, 2, (uint32_t[]){65535, 1});
    assert_weights((double[]){65536, 32768.5}, 2, (uint32_t[]){65535, 32768});
    assert_weights((double[]){1e-9}, 1, (uint32_t[]){1});
    weights_of_shares(NULL, 0, NULL);
}

/* ---- what is refused ---- */

static void refused(const char *endpoint, const char *message) {
    struct strbuf yaml = {0}, expected = {0};
    strbuf_printf(&yaml, "cluster_name: a\nendpoints:\n- lb_endpoints:\n  - %s\n", endpoint);
    strbuf_printf(&expected, "endpoint-set/a: endpoints[0].lb_endpoints[0]%s\n", message);
    check(strbuf_str(&yaml).p, strbuf_str(&expected).p);
    strbuf_finish(&yaml);
    strbuf_finish(&expected);
}

static void endpoints_that_mean_nothing_here_are_refused(void **state) {
    (void)state;
    refused("{}", ".endpoint: is missing");
    refused("{endpoint_name: x}", ".endpoint_name: is not supported");
    refused("{endpoint: {}}", ".endpoint.address: there is no address");
    refused("{endpoint: {address: {envoy_internal_address: {server_listener_name: x}}}}",
            ".endpoint.address.envoy_internal_address: is not supported");
    refused(WITH("web.example", "health_status: HEALTHY"),
            ".endpoint.address.socket_address.address: is \"web.example:80\": not an address (names are for discovery)");
    refused("{endpoint: {address: {socket_address: {address: 10.0.0.1}}}}",
            ".endpoint.address.socket_address.port_value: is no port that can be connected to");
    refused("{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 65536}}}}",
            ".endpoint.address.socket_address.port_value: is no port that can be connected to");
    refused("{endpoint: {address: {socket_address: {protocol: UDP, address: 10.0.0.1, port_value: 1}}}}",
            ".endpoint.address.socket_address.protocol: is not supported: only TCP is");
    refused("{endpoint: {address: {socket_address: {address: 10.0.0.1, named_port: http}}}}",
            ".endpoint.address.socket_address.named_port: is not supported");
    refused("{endpoint: {address: {pipe: {path: /a}}, additional_addresses: [{}]}}",
            ".endpoint.additional_addresses: is not supported");
    refused("{endpoint: {address: {pipe: {path: /a}}, health_check_config: {port_value: 9}}}",
            ".endpoint.health_check_config.port_value: is not supported");
    refused("{endpoint: {address: {pipe: {path: /a}}, hostname: 'a b'}}", ".endpoint.hostname: is \"a b\": not a host");
    refused(WITH("10.0.0.1", "metadata: {filter_metadata: {envoy.lb: {a: [x]}}}"), ".metadata.filter_metadata[\"envoy.lb\"]"
            ".fields[\"a\"]: is not supported: only texts, numbers and true or false are");
    refused(WITH("10.0.0.1", "metadata: {filter_metadata: {envoy.lb: {envoy.transport_socket_match.a: x}}}"),
            ".metadata.filter_metadata[\"envoy.lb\"].fields[\"envoy.transport_socket_match.a\"]: is not supported: such "
            "keys are of transport sockets here");
    refused(WEIGHED("10.0.0.1", 0), ".load_balancing_weight: is 0; 1 is the least");
    refused(WITH("10.0.0.1", "health_status: 77"), ".health_status: is 77, which is no known value of "
            "envoy.config.core.v3.HealthStatus");
}

static void assignments_that_mean_nothing_here_are_refused(void **state) {
    (void)state;
    check("{endpoints: []}", "endpoint-set/: cluster_name: is empty\n");
    check("{cluster_name: a, policy: {drop_overloads: [{category: x}], overprovisioning_factor: 140}}",
          "endpoint-set/a: policy.drop_overloads: is not supported\n");
    check("{cluster_name: a, policy: {endpoint_stale_after: 5s, weighted_priority_health: true}}",
          "endpoint-set/a: policy.endpoint_stale_after: is not supported\n"
          "endpoint-set/a: policy.weighted_priority_health: is not supported\n");
    check("{cluster_name: a, policy: {overprovisioning_factor: 200}}", "endpoint-set/a: policy.overprovisioning_factor: is "
          "not supported: of endpoints that are discovered it is 140; the cluster's load_assignment may have another\n");
    check("{cluster_name: a, named_endpoints: {x: {}}, endpoints: [{leds_cluster_locality_config: {}}, {priority: 129}]}",
          "endpoint-set/a: endpoints[0].leds_cluster_locality_config: is not supported\n"
          "endpoint-set/a: named_endpoints: is not supported\n");
    check("{cluster_name: a, endpoints: [{priority: 129}, {load_balancing_weight: 0}]}",
          "endpoint-set/a: endpoints[0].priority: is 129; 0 to 128 are possible\n"
          "endpoint-set/a: endpoints[1].load_balancing_weight: is 0; 1 is the least\n");
}

/* ---- all of it ---- */

static void tables_are_sound(void **state) {
    (void)state;
    assert_null(xds_fields_fault(&xds_read_endpoints));
    assert_null(xds_fields_fault(&xds_read_static_endpoints));
    assert_null(xds_fields_fault(&xds_read_address));
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    is_locality_weighted = true;
    assert_survives_failures(&endpoints,
          "cluster_name: a\nendpoints:\n- load_balancing_weight: 1\n  locality: {region: eu, zone: b}\n  lb_endpoints:\n  - "
          WITH("10.0.0.1", "metadata: {filter_metadata: {envoy.lb: {version: v2, n: 8}}}") "\n"
          "  - {endpoint: {address: {pipe: {path: /run/a.sock}}, hostname: Web.Example}}\n");
}

/* A thousand assignments of a hundred endpoints each: what comes when a control plane starts. How long it takes is told. */
static void a_hundred_thousand_endpoints_are_taken(void **state) {
    enum { SETS = 1000, EACH = 100 };
    struct strbuf yaml = {0};
    struct arena arena;
    struct timespec before, after;
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    strbuf_puts(&yaml, "cluster_name: a\nendpoints:\n");
    for (int i = 0; i < EACH; i++) {
        if (i % 50 == 0)
            strbuf_puts(&yaml, "- locality: {region: eu, zone: b}\n  load_balancing_weight: 3\n  lb_endpoints:\n");
        strbuf_printf(&yaml, "  - {endpoint: {address: {socket_address: {address: 10.0.%d.1, port_value: 80}}},"
                      " load_balancing_weight: %d, metadata: {filter_metadata: {envoy.lb: {v: '2'}}}}\n", i, i + 1);
    }
    ProtobufCMessage *m = read_message(&endpoints, strbuf_str(&yaml).p, &arena);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    for (int i = 0; i < SETS; i++) {
        struct error_list errors = {0};
        struct xds_made made = {0};
        is_locality_weighted = i % 2;
        assert_int_equal(translate(m, &made, &errors), 0);
        xds_made_finish(&made);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    print_message("%d endpoints: %ld ms of CPU\n", SETS * EACH,
                  (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000);
    strbuf_finish(&yaml);
    arena_finish(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(addresses_are_of_ip_and_unix, setup),
        cmocka_unit_test_setup(no_endpoints_are_none, setup),
        cmocka_unit_test_setup(health_is_kept, setup),
        cmocka_unit_test_setup(what_is_degraded_comes_behind_all_priorities, setup),
        cmocka_unit_test_setup(priorities_without_endpoints_are_left_out, setup),
        cmocka_unit_test_setup(localities_become_zones, setup),
        cmocka_unit_test_setup(metadata_is_that_of_the_balancer, setup),
        cmocka_unit_test_setup(the_first_of_an_address_counts, setup),
        cmocka_unit_test_setup(weights_of_endpoints_alone, setup),
        cmocka_unit_test_setup(weights_of_localities_times_those_of_endpoints, setup),
        cmocka_unit_test_setup(a_locality_without_weight_gets_nothing_beside_weighted_ones, setup),
        cmocka_unit_test_setup(large_weights_keep_their_proportion, setup),
        cmocka_unit_test_setup(shares_become_whole_numbers, setup),
        cmocka_unit_test_setup(endpoints_that_mean_nothing_here_are_refused, setup),
        cmocka_unit_test_setup(assignments_that_mean_nothing_here_are_refused, setup),
        cmocka_unit_test_setup(tables_are_sound, setup),
        cmocka_unit_test_setup(every_allocation_may_fail, setup),
        cmocka_unit_test_setup(a_hundred_thousand_endpoints_are_taken, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
