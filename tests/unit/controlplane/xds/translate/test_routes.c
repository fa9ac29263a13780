/* Route configurations of a server as route tables: routes.txt has what comes out. */
#include "tests/unit/controlplane/xds/translate/cases.h"

#include "controlplane/xds/translate/routes.h"

static int translate(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_route_configuration((const Envoy__Config__Route__V3__RouteConfiguration *)m, ret, errors);
}

static void print(const struct xds_made *made, struct strbuf *out) {
    struct error_list errors = {0};
    const struct config_render_options options = {0};
    assert_int_equal(made->set.count, 1);
    assert_int_equal(made->set.items[0].kind, HEADGATE__KIND__KIND_ROUTE_TABLE);
    assert_int_equal(config_render_one(&made->set, HEADGATE__KIND__KIND_ROUTE_TABLE,
                                       str_of(made->set.items[0].name), &options, out, &errors),
                     0);
    error_list_finish(&errors);
}

static const struct translating routes = {&envoy__config__route__v3__route_configuration__descriptor, translate, print};

static void every_case_comes_out_as_written(void **state) {
    (void)state;
    assert_true(check_cases("tests/unit/controlplane/xds/translate/routes.txt", &routes) > 30);
}

static void print_count(const struct xds_made *made, struct strbuf *out) {
    const struct config_resource *r = &made->set.items[0];
    Headgate__RouteTable *table = headgate__route_table__unpack(NULL, r->size, r->bytes);
    assert_non_null(table);
    strbuf_printf(out, "%zu rules", table->hosts[0]->n_rules);
    headgate__route_table__free_unpacked(table, NULL);
}

/* Servers say of each route what is for traces and metrics. */
static void any_number_of_routes_may_have_what_is_ignored(void **state) {
    static const struct translating counted = {&envoy__config__route__v3__route_configuration__descriptor, translate,
                                               print_count};
    struct strbuf text = {0};
    (void)state;
    strbuf_puts(&text, "name: r\nvirtual_hosts:\n- name: h\n  domains: ['*']\n  routes:\n");
    for (int i = 0; i < 500; i++)
        strbuf_printf(&text, "  - {match: {path: /%d}, route: {cluster: c}, decorator: {operation: o}}\n", i);
    assert_translated(&counted, strbuf_str(&text).p, "500 rules");
    strbuf_finish(&text);
}

/* ---- values of the runtime ---- */

static struct xds_runtime values;

static int translate_by_values(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    ret->runtime = &values;
    return translate(m, ret, errors);
}

/* "30/100": the share of the first rule; "a=1 b=2": the weights of its clusters. */
static void print_first_rule(const struct xds_made *made, struct strbuf *out) {
    const struct config_resource *r = &made->set.items[0];
    Headgate__RouteTable *table = headgate__route_table__unpack(NULL, r->size, r->bytes);
    assert_non_null(table);
    const Headgate__Rule *rule = table->hosts[0]->rules[0];
    assert_true(made->reads_runtime);
    if (rule->match && rule->match->fraction)
        strbuf_printf(out, "%u/%u ", rule->match->fraction->numerator, rule->match->fraction->of);
    for (size_t i = 0; i < rule->forward->n_clusters; i++)
        strbuf_printf(out, "%s=%u ", rule->forward->clusters[i]->name, rule->forward->clusters[i]->weight);
    headgate__route_table__free_unpacked(table, NULL);
}

static const struct translating by_values = {&envoy__config__route__v3__route_configuration__descriptor, translate_by_values,
                                             print_first_rule};

static void set_value(const char *key, const char *text) {
    const struct xds_runtime_value value = xds_runtime_of_text(key, text);
    assert_int_equal(xds_runtime_set(&values, &value), 0);
}

static void shares_and_weights_go_by_values(void **state) {
    static const char share[] =
        "name: r\nvirtual_hosts:\n- name: x\n  domains: ['*']\n  routes:\n  - match: {prefix: '', runtime_fraction: "
        "{default_value: {numerator: 7, denominator: MILLION}, runtime_key: k.share}}\n    route: {cluster: a}\n";
    static const char weights[] =
        "name: r\nvirtual_hosts:\n- name: x\n  domains: ['*']\n  routes:\n  - match: {prefix: ''}\n    route: "
        "{weighted_clusters: {runtime_key_prefix: k, clusters: [{name: a, weight: 1}, {name: 'b|', weight: 2},\n"
        "    {name: c, weight: 0}]}}\n";
    (void)state;
    assert_translated(&by_values, share, "7/1000000 a=1 ");
    assert_translated(&by_values, weights, "a=1 b@7c=2 c=0 ");
    set_value("k.share", "30.7");
    set_value("k.b|", "5");
    assert_translated(&by_values, share, "30/100 a=1 ");
    assert_translated(&by_values, weights, "a=1 b@7c=5 c=0 ");
    set_value("k.share", "no");
    set_value("k.a", "-1");
    set_value("k.c", "3000000");
    assert_translated(&by_values, share, "7/1000000 a=1 ");
    assert_translated(&by_values, weights, "a=1 b@7c=1 c=1000000 ");  /* a third of each, and never none of some */
    set_value("k.c", "18446744073709549568");                         /* the largest that there is */
    assert_translated(&by_values, weights, "a=1 b@7c=1 c=999999 ");
    set_value("k.a", "0");
    set_value("k.b|", "0");
    assert_translated(&by_values, weights, "a=0 b@7c=0 c=999999 ");
    set_value("k.c", "0");
    assert_translated(&by_values, weights, "a=1 b@7c=2 c=0 ");        /* nobody would get a request */
    assert_survives_failures(&by_values, weights);
    xds_runtime_finish(&values);
}

static void tables_are_sound(void **state) {
    (void)state;
    const struct xds_fields *const all[] = {
        &xds_read_routes, &xds_read_route_match, &xds_read_header_match, &xds_read_regex, &xds_read_route_action,
        &xds_read_redirect, &xds_read_direct_response, &xds_read_changed_header, &xds_read_retry, &xds_read_hedge,
        &xds_read_replacement, &xds_read_metadata_match, &xds_read_string_match,
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_null(xds_fields_fault(all[i]));
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    assert_survives_failures(&routes,
        "name: r\nvirtual_hosts:\n- name: a\n  domains: [a.example, '*.b']\n  require_tls: ALL\n"
        "  retry_policy: {retry_on: '5xx,unavailable', retriable_status_codes: [425]}\n  routes:\n"
        "  - match: {prefix: /a, headers: [{name: x, invert_match: true, string_match: {safe_regex: {regex: a+}}}],\n"
        "            query_parameters: [{name: q, present_match: true}], grpc: {},\n"
        "            dynamic_metadata: [{filter: f, path: [{key: k}], value: {string_match: {safe_regex: {regex: a}}}}]}\n"
        "    route: {weighted_clusters: {clusters: [{name: one, weight: 1}, {name: two, weight: 2}]}, prefix_rewrite: /b,\n"
        "            metadata_match: {filter_metadata: {envoy.lb: {v: '1'}}}, hash_policy: [{header: {header_name: h}}]}\n"
        "  - match: {safe_regex: {regex: /x.*}}\n    redirect: {path_redirect: /y, https_redirect: true}\n"
        "  - match: {path: /p}\n    direct_response: {status: 200, body: {inline_string: hello}}\n"
        "    response_headers_to_add: [{header: {key: content-type, value: a/b}}, {header: {key: x-a, value: '%%'}}]\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_comes_out_as_written),
        cmocka_unit_test(any_number_of_routes_may_have_what_is_ignored),
        cmocka_unit_test(shares_and_weights_go_by_values),
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
