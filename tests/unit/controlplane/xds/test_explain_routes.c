/* Which route of a server's configuration a request takes, in the server's words. */
#include "tests/unit/common/cmocka_all.h"

#include <cjson/cJSON.h>

#include "common/alloc.h"
#include "controlplane/xds/explain.h"
#include "controlplane/xds/json.h"

static const char routes[] =
    "request_headers_to_add: [{header: {key: a, value: '%REQ(:path)%'}}]\n"
    "internal_only_headers: [x]\n"
    "virtual_hosts:\n"
    "- name: site\n"
    "  domains: [a.example, '*.a.example']\n"
    "  virtual_clusters:\n"
    "  - {name: items, headers: [{name: ':path', string_match: {safe_regex: {regex: '^/item/\\d+$'}}},\n"
    "                            {name: ':method', exact_match: PUT}]}\n"
    "  routes:\n"
    "  - match: {prefix: /share, runtime_fraction: {default_value: {numerator: 30}}}\n"
    "    route: {cluster: shared}\n"
    "  - name: old\n"
    "    match: {prefix: /old, case_sensitive: false}\n"
    "    route: {cluster: c, prefix_rewrite: /new, host_rewrite_literal: inner}\n"
    "  - match: {prefix: /some}\n"
    "    route: {weighted_clusters: {clusters: [{name: one, weight: 30}, {name: two, weight: 70}]}}\n"
    "  - match: {prefix: /by}\n"
    "    route: {cluster_header: x-cluster}\n"
    "  - match: {prefix: /who}\n"
    "    route: {cluster_header: ':authority'}\n"
    "  - match: {prefix: /ping}\n"
    "    direct_response: {status: 201, body: {inline_string: hello}}\n"
    "    response_headers_to_add: [{header: {key: x-a, value: b}}]\n"
    "  - match: {prefix: /gone}\n"
    "    redirect: {host_redirect: b.example, path_redirect: /here}\n"
    "  - match: {prefix: /plug}\n"
    "    route: {cluster_specifier_plugin: p}\n"
    "  - match: {prefix: /}\n"
    "    route: {cluster: rest}\n"
    "- name: safe\n"
    "  domains: ['*']\n"
    "  require_tls: EXTERNAL_ONLY\n"
    "  routes:\n"
    "  - match: {prefix: /x}\n"
    "    route: {cluster: x}\n";

struct asked {
    struct strbuf     out;
    struct error_list errors;
    cJSON            *json;
    int               status;
};

static void ask(struct asked *a, const char *text, const char *method, const char *url, const char *name, const char *value,
                const struct xds_explain_options *options) {
    Headgate__ExplainRequest request = HEADGATE__EXPLAIN_REQUEST__INIT;
    Headgate__HeaderField field = HEADGATE__HEADER_FIELD__INIT, *fields[] = {&field};
    *a = (struct asked){0};
    request.method = (char *)method;
    request.url = (char *)url;
    field.name = (char *)name;
    field.value = (char *)value;
    request.headers = fields;
    request.n_headers = name ? 1 : 0;
    a->status = xds_explain("r.yaml", str_of(text), &request, options, &a->out, &a->errors);
    a->json = a->status == 0 && options->is_json ? cJSON_Parse(strbuf_str(&a->out).p) : NULL;
}

static void forget(struct asked *a) {
    cJSON_Delete(a->json);
    strbuf_finish(&a->out);
    error_list_finish(&a->errors);
}

static const char *text_of(const struct asked *a, const char *key) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(a->json, key));
    return text ? text : "none";
}

/* "cluster virtual-host virtual-cluster path host redirect" */
static void expect(const char *method, const char *url, const char *name, const char *value, long random,
                   const char *expected) {
    static const char *const keys[] = {"cluster_name", "virtual_host_name", "virtual_cluster_name", "path_rewrite",
                                       "host_rewrite", "path_redirect"};
    const struct xds_explain_options options = {.is_json = true, .has_random = random >= 0,
                                                .random = random >= 0 ? (uint32_t)random : 0};
    struct strbuf found = {0};
    struct asked a;
    ask(&a, routes, method, url, name, value, &options);
    if (a.status < 0)
        fail_msg("%s: %s", url, a.errors.items[0].message);
    assert_non_null(a.json);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        strbuf_printf(&found, "%s%s", i ? " " : "", text_of(&a, keys[i])[0] ? text_of(&a, keys[i]) : "-");
    assert_string_equal(strbuf_str(&found).p, expected);
    strbuf_finish(&found);
    forget(&a);
}

static void answers_are_those_of_the_server(void **state) {
    (void)state;
    expect("GET", "http://a.example/OLD/x?q", NULL, NULL, -1, "c site other /new/x?q inner -");
    expect("PUT", "http://x.a.example/item/17", NULL, NULL, -1, "rest site items /item/17 x.a.example -");
    expect("GET", "http://a.example/item/17", NULL, NULL, -1, "rest site other /item/17 a.example -");
    expect("PUT", "http://a.example/item/17?q", NULL, NULL, -1, "rest site other /item/17?q a.example -");
    expect("GET", "http://a.example/some", NULL, NULL, -1, "one site other /some a.example -");
    expect("GET", "http://a.example/some", NULL, NULL, 229, "one site other /some a.example -");
    expect("GET", "http://a.example/some", NULL, NULL, 230, "two site other /some a.example -");
    expect("GET", "http://a.example/share", NULL, NULL, -1, "rest site other /share a.example -");
    expect("GET", "http://a.example/share", NULL, NULL, 129, "shared site other /share a.example -");
    expect("GET", "http://a.example/share", NULL, NULL, 130, "rest site other /share a.example -");
    expect("GET", "http://a.example/by", "X-Cluster", "chosen", -1, "chosen site other /by a.example -");
    expect("GET", "http://a.example/by", NULL, NULL, -1, "- site other /by a.example -");
    expect("GET", "http://a.example/who", NULL, NULL, -1, "a.example site other /who a.example -");
    expect("GET", "http://a.example/plug", NULL, NULL, -1, "- site other /plug a.example -");
    expect("GET", "http://a.example/ping", NULL, NULL, -1, "- - - - - http://a.example/ping");
    expect("GET", "https://a.example/gone?q", NULL, NULL, -1, "- - - - - https://b.example/here?q");
    expect("GET", "http://other/x", NULL, NULL, -1, "- - - - - https://other/x");
    expect("GET", "http://other/x", "x-envoy-internal", "true", -1, "x safe - /x other -");
    expect("GET", "https://other/x", NULL, NULL, -1, "x safe - /x other -");
    expect("GET", "https://other/y", NULL, NULL, -1, "- - - - - -");
    expect("GET", "http://a.example/%00", NULL, NULL, -1, "- - - - - -");
}

static void what_a_gateway_refuses_is_told(void **state) {
    (void)state;
    struct asked a;
    ask(&a, routes, "GET", "http://a.example/ping", NULL, NULL, &(const struct xds_explain_options){.is_json = true});
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(a.json, "not_supported")), 5);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(a.json, "not_supported"), 3)),
                        "routes/xds: internal_only_headers: is not supported");
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(a.json, "code_redirect")), 201);
    const cJSON *headers = cJSON_GetObjectItem(a.json, "response_headers");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(headers, "content-length")), "5");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(headers, "content-type")), "text/plain");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(headers, "x-a")), "b");
    assert_non_null(cJSON_GetObjectItem(cJSON_GetObjectItem(a.json, "explanation"), "rules"));
    forget(&a);
    ask(&a, routes, "GET", "http://a.example/old", NULL, NULL, &(const struct xds_explain_options){.is_json = true});
    headers = cJSON_GetObjectItem(a.json, "request_headers");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(headers, "a")), "/old");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(headers, ":path")), "/new");
    forget(&a);
}

static void people_get_lines(void **state) {
    (void)state;
    struct asked a;
    ask(&a, routes, "GET", "http://a.example/by", "x-cluster", "chosen", &(const struct xds_explain_options){0});
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(strbuf_str(&a.out).p, "virtual host site\ncluster      chosen\ncounted as   other\n"));
    assert_non_null(strstr(strbuf_str(&a.out).p, "virtual_hosts[0].routes[3].route.cluster_header: is not supported"));
    assert_null(strstr(strbuf_str(&a.out).p, "listener"));
    forget(&a);
}

/* A condition that is not understood decides who takes the route, so there is no answer. */
static void what_cannot_be_told_apart_is_refused(void **state) {
    static const struct { const char *text, *error; } cases[] = {
        {"virtual_hosts: [{name: h, domains: ['*'], routes: [{match: {prefix: /, filter_state: [{key: k}]},"
         " route: {cluster: c}}]}]", "is not supported"},
        {"virtual_hosts: [{name: h, domains: ['*'], routes: [{match: {path: x}, route: {cluster: c}}]}]",
         "is \"x\": a path begins with a slash"},
        {"tests: []", "is no field of envoy.config.route.v3.RouteConfiguration"}, {"{", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct asked a;
        ask(&a, cases[i].text, "GET", "http://h/", NULL, NULL, &(const struct xds_explain_options){.is_json = true});
        assert_int_equal(a.status, -1);
        assert_false(error_list_is_empty(&a.errors));
        if (cases[i].error && !strstr(a.errors.items[0].message, cases[i].error))
            fail_msg("%s", a.errors.items[0].message);
        forget(&a);
    }
}

/* ---- what filters say, and values of the runtime ---- */

static const char conditional[] =
    "virtual_hosts:\n- name: h\n  domains: ['*']\n  routes:\n"
    "  - {match: {prefix: /, dynamic_metadata: [{filter: f, path: [{key: a}, {key: b}], value: {string_match: {exact: Yes,\n"
    "     ignore_case: true}}}]}, route: {cluster: text}}\n"
    "  - {match: {prefix: /, dynamic_metadata: [{filter: f, path: [{key: n}], value: {double_match: {range: {start: 1,\n"
    "     end: 2}}}}]}, route: {cluster: range}}\n"
    "  - {match: {prefix: /, dynamic_metadata: [{filter: f, path: [{key: n}], value: {or_match: {value_matchers:\n"
    "     [{double_match: {exact: 7}}, {bool_match: false}]}}}]}, route: {cluster: any}}\n"
    "  - {match: {prefix: /, dynamic_metadata: [{filter: f, path: [{key: l}], value: {list_match: {one_of: {string_match:\n"
    "     {safe_regex: {regex: 'x+'}}}}}}]}, route: {cluster: list}}\n"
    "  - {match: {prefix: /, dynamic_metadata: [{filter: g, path: [{key: z}], value: {null_match: {}}}]},\n"
    "     route: {cluster: nothing}}\n"
    "  - {match: {prefix: /, dynamic_metadata: [{filter: g, path: [{key: p}], value: {string_match: {prefix: a}}},\n"
    "     {filter: g, path: [{key: p}], value: {string_match: {suffix: c}}}, {filter: g, path: [{key: p}],\n"
    "     value: {string_match: {contains: b}}}]}, route: {cluster: parts}}\n"
    "  - {match: {prefix: /, dynamic_metadata: [{filter: g, path: [{key: y}], value: {present_match: true},\n"
    "     invert: true}]}, route: {weighted_clusters: {runtime_key_prefix: w, clusters: [{name: one, weight: 1},\n"
    "     {name: two, weight: 0}]}}}\n"
    "  - {match: {prefix: /}, route: {cluster: last}}\n";

static void expect_with(const char *metadata, const struct xds_runtime *runtime, const char *cluster) {
    struct arena arena;
    struct error_list errors = {0};
    struct asked a;
    arena_init(&arena, NULL, 0, 0);
    ProtobufCMessage *m = xds_json_parse(&google__protobuf__struct__descriptor, "m", str_of(metadata), &arena, &errors);
    assert_non_null(m);
    const struct xds_explain_options options = {.is_json = true, .runtime = runtime,
                                                .metadata = (const Google__Protobuf__Struct *)m};
    ask(&a, conditional, "GET", "http://h/", NULL, NULL, &options);
    assert_int_equal(a.status, 0);
    assert_string_equal(text_of(&a, "cluster_name"), cluster);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(a.json, "not_supported")), 0);
    forget(&a);
    error_list_finish(&errors);
    arena_finish(&arena);
}

static void metadata_decides(void **state) {
    static const struct { const char *metadata, *cluster; } cases[] = {
        {"{f: {a: {b: yES}}}", "text"}, {"{f: {a: yes}}", "one"}, {"{f: {a: {b: 1}}}", "one"}, {"{g: {a: {b: yes}}}", "one"},
        {"{f: {n: 1}}", "range"}, {"{f: {n: 2}}", "one"}, {"{f: {n: 7}}", "any"}, {"{f: {n: false}}", "any"},
        {"{f: {n: true}}", "one"}, {"{f: {n: '7'}}", "one"}, {"{f: {l: [y, xx]}}", "list"}, {"{f: {l: [y, xz]}}", "one"},
        {"{f: {l: xx}}", "one"}, {"{g: {z: null}}", "nothing"}, {"{g: {z: {}}}", "one"}, {"{g: {p: abc}}", "parts"},
        {"{g: {p: ac}}", "one"}, {"{g: {y: null}}", "last"}, {"{g: {y: [0]}}", "last"}, {"{}", "one"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_with(cases[i].metadata, NULL, cases[i].cluster);
}

static void weights_go_by_values(void **state) {
    static const struct { const char *one, *two, *cluster; } cases[] = {
        {"0", "5", "two"}, {"1", "5", "one"}, {"0", "0", "one"}, {"none", "5", "one"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct xds_runtime runtime = {0};
        const struct xds_runtime_value one = xds_runtime_of_text("w.one", cases[i].one),
                                       two = xds_runtime_of_text("w.two", cases[i].two);
        assert_int_equal(xds_runtime_set(&runtime, &one) | xds_runtime_set(&runtime, &two), 0);
        expect_with("{}", &runtime, cases[i].cluster);
        xds_runtime_finish(&runtime);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (long i = 0, status = -1; status < 0; i++) {
        struct asked a;
        hg_alloc_fail_at(i, 0);
        ask(&a, routes, "PUT", "http://a.example/item/17", NULL, NULL, &(const struct xds_explain_options){0});
        hg_alloc_fail_at(-1, 0);
        status = a.out.failed ? -1 : a.status;
        assert_true(status == 0 || a.out.failed || !error_list_is_empty(&a.errors));
        assert_true(i < 100000);
        forget(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_server),      cmocka_unit_test(what_a_gateway_refuses_is_told),
        cmocka_unit_test(people_get_lines),                     cmocka_unit_test(what_cannot_be_told_apart_is_refused),
        cmocka_unit_test(metadata_decides),                     cmocka_unit_test(weights_go_by_values),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
