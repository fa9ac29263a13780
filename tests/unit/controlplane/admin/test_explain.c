/* What a request would meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "common/alloc.h"
#include "controlplane/admin/explain.h"

static const char yaml[] =
    "listeners:\n"
    "  - {name: web, address: '127.0.0.1:8080', route-table: site}\n"
    "  - {name: other, address: '[::1]:8081', route-table: other}\n"
    "  - {name: relay, address: '127.0.0.1:8082', tcp: {cluster: one}}\n"
    "  - name: scoped\n"
    "    address: '127.0.0.1:8083'\n"
    "    scoped-routes:\n"
    "      key: [host, {header: x-tenant, separator: ';', element: id}]\n"
    "      scopes: [{key: ['example.com:8083', red], route-table: site},\n"
    "               {key: ['example.com:8083', ''], route-table: other}]\n"
    "route-tables:\n"
    "  - name: other\n"
    "    hosts: [{domains: ['*'], rules: [{respond: {status: 204}}]}]\n"
    "  - name: site\n"
    "    hosts:\n"
    "      - domains: [example.com]\n"
    "        rules:\n"
    "          - {match: {path: {exact: /a}, methods: [POST]}, cluster: one}\n"
    "          - {match: {headers: {x-canary: {exact: '1'}}}, cluster: two, rewrite: {host: inner}}\n"
    "          - {match: {path: {prefix: /old}}, redirect: {prefix: /new, status: 301}}\n"
    "          - {match: {path: {prefix: /p}}, rewrite: {prefix: /q}, cluster: one}\n"
    "clusters:\n"
    "  - {name: one, endpoints: ['127.0.0.1:1', {address: '127.0.0.1:2', weight: 3}]}\n"
    "  - {name: two, endpoints: []}\n";

struct fixture {
    struct config_resources set;
    struct arena arena;
    struct explained x;
    struct error_list errors;
    Headgate__HeaderField field, *fields;
};

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    struct config_sources sources = {0};
    struct error_list warnings = {0};
    assert_int_equal(config_sources_add(&sources, STR("t.yaml"), STR(yaml), &f->errors), 0);
    assert_int_equal(config_compile(&sources, NULL, &f->set, &f->errors, &warnings), 0);
    config_sources_finish(&sources);
    error_list_finish(&warnings);
    *state = f;
    return 0;
}

static void forget(struct fixture *f) {
    explained_finish(&f->x);
    arena_finish(&f->arena);
    error_list_finish(&f->errors);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    forget(f);
    config_resources_finish(&f->set);
    test_free(f);
    return 0;
}

static int explain(struct fixture *f, const char *method, const char *url, const char *name,
                   const char *value) {
    Headgate__ExplainRequest m = HEADGATE__EXPLAIN_REQUEST__INIT;
    forget(f);
    headgate__header_field__init(&f->field);
    f->field.name = (char *)name;
    f->field.value = (char *)value;
    f->fields = &f->field;
    m.method = (char *)method;
    m.url = (char *)url;
    m.n_headers = name ? 1 : 0;
    m.headers = &f->fields;
    return explain_request(&f->set, &m, &f->arena, &f->x, &f->errors);
}

static void earlier_rules_say_why_not(void **state) {
    struct fixture *f = *state;
    assert_int_equal(explain(f, "GET", "http://EXAMPLE.com:8080/p/x?y=1#part", NULL, NULL), 0);
    assert_string_equal(f->x.listener, "web");
    assert_null(f->x.listener_note);
    assert_int_equal(f->x.route.rule_count, 4);
    assert_true(str_starts(f->x.route.rules[0].why_not, STR("path is")));
    assert_true(f->x.route.rules[3].matches);
    assert_true(str_eq(f->x.target, STR("/q/x?y=1")));
    assert_true(str_eq(f->x.origin_host, STR("example.com:8080")));
    assert_int_equal(f->x.cluster_count, 1);
    assert_int_equal(f->x.clusters[0].endpoints->endpoints[1]->weight, 3);
}

static void fields_count(void **state) {
    struct fixture *f = *state;
    assert_int_equal(explain(f, "GET", "http://example.com:8080", "X-Canary", " 1 "), 0);
    assert_true(f->x.route.rules[1].matches);
    assert_true(str_eq(f->x.origin_host, STR("inner")));
    assert_true(str_eq(f->x.path, STR("/")));
    assert_int_equal(explain(f, "GET", "http://127.0.0.1:8080/old/x", "Host", "example.com"), 0);
    assert_true(str_eq(f->x.location, STR("http://example.com/new/x")));
    assert_int_equal(explain(f, "GET", "http://example.com:8080/", "bad name", "1"), -1);
    assert_int_equal(explain(f, "GET", "http://example.com:8080/", "x", "a\nb"), -1);
}

static void methods_are_tokens(void **state) {
    struct fixture *f = *state;
    static const char *const wrong[] = {"", "G T", "GET/", "G\xc3\x89T"};
    assert_int_equal(explain(f, "M-SEARCH", "http://example.com:8080/", NULL, NULL), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(explain(f, wrong[i], "http://example.com:8080/", NULL, NULL), -1);
        assert_non_null(strstr(f->errors.items[0].message, "is not a method"));
    }
}

static void port_picks_the_listener(void **state) {
    struct fixture *f = *state;
    assert_int_equal(explain(f, "GET", "http://[::1]:8081/", NULL, NULL), 0);
    assert_string_equal(f->x.listener, "other");
    assert_int_equal(f->x.route.match.route->action, ROUTE_RESPOND);
    assert_int_equal(explain(f, "GET", "http://example.com/", NULL, NULL), -1);
    assert_non_null(strstr(f->errors.items[0].message, "port 80"));
}

static void scopes_choose_the_table(void **state) {
    struct fixture *f = *state;
    struct strbuf text = {0};
    assert_int_equal(explain(f, "GET", "http://Example.com:8083/p", "X-Tenant", "a=b;id=red"), 0);
    assert_string_equal(f->x.scope, "the key is \"example.com:8083\", \"red\"");
    assert_string_equal(f->x.route_table, "site");
    assert_string_equal(f->x.clusters[0].name, "one");
    assert_int_equal(explain(f, "GET", "http://example.com:8083/p", "x-tenant", "id;id=red"), 0);
    assert_string_equal(f->x.route_table, "other");
    assert_int_equal(explain(f, "GET", "http://example.com:8083/p", "x-tenant", "id=blue"), 0);
    assert_null(f->x.route_table);
    explained_print(&f->x, &text);
    assert_non_null(strstr(text.p, "\"blue\", and no scope is for that\nanswer       404\n"));
    strbuf_reset(&text);
    explained_print_json(&f->x, &text);
    cJSON *json = cJSON_Parse(strbuf_str(&text).p);
    assert_int_equal(cJSON_GetObjectItem(json, "status")->valueint, 404);
    cJSON_Delete(json);
    strbuf_finish(&text);
    assert_int_equal(explain(f, "GET", "http://example.com:8083/p", NULL, NULL), 0);
    assert_string_equal(f->x.scope, "the request has no key");
}

static void what_is_relayed_is_not_explained(void **state) {
    struct fixture *f = *state;
    assert_int_equal(explain(f, "GET", "http://example.com:8082/", NULL, NULL), -1);
    assert_string_equal(f->errors.items[0].message, "the listener \"relay\" relays TCP: it looks at no request");
}

/* A listener with tcp is no other one that a request could go to. */
static void the_only_listener_is_the_one_that_serves_requests(void **state) {
    struct fixture *f = *state;
    size_t kept = 0;
    for (size_t i = 0; i < f->set.count; i++) { /* without "other" and "scoped" */
        const char *name = f->set.items[i].name;
        bool is_other = strcmp(name, "other") == 0 || strcmp(name, "scoped") == 0;
        if (is_other && f->set.items[i].kind == HEADGATE__KIND__KIND_LISTENER)
            f->set.items[i].kind = HEADGATE__KIND__KIND_UNSPECIFIED;
        else
            kept++;
    }
    assert_int_equal(kept, f->set.count - 2);
    assert_int_equal(explain(f, "GET", "http://example.com/p/x", NULL, NULL), 0);
    assert_string_equal(f->x.listener, "web");
    assert_string_equal(f->x.listener_note, "it does not listen on port 80, but there is no other");
}

static void no_host_and_no_rule(void **state) {
    struct fixture *f = *state;
    assert_int_equal(explain(f, "GET", "http://nobody.test:8080/", NULL, NULL), 0);
    assert_false(f->x.route.has_host);
    assert_null(f->x.route.match.route);
    assert_int_equal(explain(f, "GET", "http://example.com:8080/zzz", NULL, NULL), 0);
    assert_true(f->x.route.has_host);
    assert_null(f->x.route.match.route);
}

static void paths_are_made_canonical_or_refused(void **state) {
    struct fixture *f = *state;
    assert_int_equal(explain(f, "GET", "http://example.com:8080/x/../p/%7e", NULL, NULL), 0);
    assert_true(str_eq(f->x.canonical, STR("/p/~")));
    assert_int_equal(explain(f, "GET", "http://example.com:8080/%00", NULL, NULL), 0);
    assert_int_equal(f->x.path_error, PATH_NUL);
}

static void not_a_url(void **state) {
    struct fixture *f = *state;
    static const char *const wrong[] = {"",          "/x",          "ftp://x/",       "http://",
                                        "http:///x", "http://a b/", "http://x:99999/"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(explain(f, "GET", wrong[i], NULL, NULL), -1);
    assert_int_equal(explain(f, "GET", NULL, NULL, NULL), -1);
}

static void both_forms_can_be_printed(void **state) {
    struct fixture *f = *state;
    static const char *const urls[] = {"http://example.com:8080/p", "http://example.com:8080/old",
                                       "http://x:8080/", "http://x:8081/", "http://x:8080/%00"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct strbuf text = {0}, json = {0};
        assert_int_equal(explain(f, "GET", urls[i], NULL, NULL), 0);
        explained_print(&f->x, &text);
        explained_print_json(&f->x, &json);
        assert_true(str_starts(strbuf_str(&text), STR("request      GET http://")));
        cJSON *parsed = cJSON_Parse(json.p);
        assert_non_null(parsed);
        cJSON_Delete(parsed);
        strbuf_finish(&text);
        strbuf_finish(&json);
    }
}

static void survives_failing_allocations(void **state) {
    struct fixture *f = *state;
    int status = -1;
    for (long nth = 0; status < 0; nth++) {
        forget(f);
        hg_alloc_fail_at(nth, 0);
        status = explain(f, "GET", "http://example.com:8080/p", "x", "1");
        hg_alloc_fail_at(-1, 0);
        assert_true(nth < 1000);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(earlier_rules_say_why_not),
        TEST(fields_count),
        TEST(methods_are_tokens),
        TEST(port_picks_the_listener),
        TEST(scopes_choose_the_table),
        TEST(what_is_relayed_is_not_explained),
        TEST(the_only_listener_is_the_one_that_serves_requests),
        TEST(no_host_and_no_rule),
        TEST(not_a_url),
        TEST(paths_are_made_canonical_or_refused),
        TEST(both_forms_can_be_printed),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
