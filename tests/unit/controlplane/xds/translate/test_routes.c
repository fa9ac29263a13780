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

static void tables_are_sound(void **state) {
    (void)state;
    const struct xds_fields *const all[] = {
        &xds_read_routes, &xds_read_route_match, &xds_read_header_match, &xds_read_regex, &xds_read_route_action,
        &xds_read_redirect, &xds_read_direct_response, &xds_read_changed_header, &xds_read_retry, &xds_read_hedge,
        &xds_read_replacement,
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
        "            query_parameters: [{name: q, present_match: true}], grpc: {}}\n"
        "    route: {weighted_clusters: {clusters: [{name: one, weight: 1}, {name: two, weight: 2}]}, prefix_rewrite: /b,\n"
        "            metadata_match: {filter_metadata: {envoy.lb: {v: '1'}}}, hash_policy: [{header: {header_name: h}}]}\n"
        "  - match: {safe_regex: {regex: /x.*}}\n    redirect: {path_redirect: /y, https_redirect: true}\n"
        "  - match: {path: /p}\n    direct_response: {status: 200, body: {inline_string: hello}}\n"
        "    response_headers_to_add: [{header: {key: content-type, value: a/b}}, {header: {key: x-a, value: '%%'}}]\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_comes_out_as_written),
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
