/* Every allocation fails in turn: the outcome is the right one or an error, never a crash, a leak, or something in between.
 * (libyaml and protobuf-c take their memory themselves; theirs does not fail here.) */
#include "support.h"

#include "common/alloc.h"

static const char text[] =
    "include: more.yaml\n"
    "limits: {headers: 50}\n"
    "access-log: off\n"
    "listeners:\n"
    "  - {name: w, address: [127.0.0.1:8080, \"127.0.0.1:${PORT}\"], route-table: t, timeouts: {idle: 1s}}\n"
    "  - {name: x, address: 127.0.0.1:8443, route-table: t, proxy-protocol: {mode: accept, trusted: 10.0.0.0/8},\n"
    "     tls: {certificates: [{certificate: a.pem, key: a.key}, {certificate: b, key: c, ocsp: d}], groups: [P-256],\n"
    "     client-certificates: {mode: required, ca: ca.pem}}}\n"
    "route-tables:\n"
    "  - name: t\n"
    "    hosts:\n"
    "      - domains: [A.example, \"*\"]\n"
    "        rules:\n"
    "          - match: {path: {prefix: /a}, methods: GET, headers: {X-A: b}, query: [{name: q, exact: x}]}\n"
    "            clusters: [c, {name: d, weight: 2}]\n"
    "            rewrite: {regex: /(a), substitution: /\\1}\n"
    "          - {match: {path: {exact: /a/b}}, respond: {body: x, headers: {x-b: c}}}\n";
static const char more[] =
    "limits: {body: 1KiB}\n"
    "clusters: [{name: c, endpoints: &e [127.0.0.1:1, {address: 127.0.0.1:2, weight: 2}]}, \n"
    "  {name: d, endpoints: *e, tls: {ca: ca.pem, certificate: a.pem, key: a.key}},\n"
    "  {name: e, endpoints: *e, tls: {}, balancer: ring-hash}]\n";
static const char broken[] =
    "limits: {header: 50, body: x}\nlisteners: [{name: w, address: [x, 127.0.0.1:1], route-table: u}, {name: w}]\n"
    "clusters: [{name: c, endpoints: [127.0.0.1:1, 127.0.0.1:1]}]\nserver-name: ${NONE}\n"
    "route-tables: [{name: t, hosts: [{domains: a, rules: [{respond: {}, cluster: c}, {}]}]}]\n";

static struct config_sources sources, broken_sources;
static struct outcome whole;        /* of the good sources, with memory */

static int set_up(void **state)
{
    (void)state;
    add_source(&sources, "a.yaml", text);
    add_source(&sources, "more.yaml", more);
    add_source(&broken_sources, "a.yaml", broken);
    whole = compile_sources(&sources);
    assert_compiles(&whole);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    config_sources_finish(&sources);
    config_sources_finish(&broken_sources);
    outcome_finish(&whole);
    return 0;
}

/* One run of something; returns its status, and checks what it made. */
typedef int attempt(struct error_list *errors);

/* Fails the i-th allocation for each i, once alone and once with all later ones. */
static void fail_each(attempt *try, bool is_refused_anyway)
{
    struct error_list errors = {0};
    uint64_t before = hg_alloc_count();
    assert_int_equal(try(&errors), is_refused_anyway ? -1 : 0);
    long count = (long)(hg_alloc_count() - before);
    error_list_finish(&errors);
    assert_true(count > 0);
    for (long i = 0; i < 2 * count; i++) {
        hg_alloc_fail_at(i / 2, i % 2);
        int status = try(&errors);
        hg_alloc_fail_at(-1, 0);
        if (status < 0 && error_list_is_empty(&errors)) {
            fail_msg("allocation %ld of %ld fails without an error", i / 2, count);
        }
        if (is_refused_anyway) {
            assert_int_equal(status, -1);
        }
        error_list_finish(&errors);
    }
}

static int try_compile(struct error_list *errors)
{
    struct config_resources set = {0};
    struct error_list warnings = {0};
    struct config_places places = {0};
    const struct config_options options = {.variable = test_variable, .places = &places};
    int status = config_compile(&sources, &options, &set, errors, &warnings);
    hg_alloc_fail_at(-1, 0);
    if (status == 0) {
        assert_same_resources(&set, &whole.set);
        assert_int_equal(places.count, 10);
    } else {
        assert_int_equal(set.count, 0);
    }
    config_resources_finish(&set);
    config_places_finish(&places);
    error_list_finish(&warnings);
    return status;
}

static int try_secrets(struct error_list *errors)
{
    struct config_secrets secrets = {0};
    int status = config_secrets_collect(&whole.set, &secrets, errors);
    if (status == 0) {
        assert_int_equal(secrets.count, 5);
    }
    config_secrets_finish(&secrets);
    return status;
}

static int try_broken(struct error_list *errors)
{
    struct config_resources set = {0};
    struct error_list warnings = {0};
    int status = config_compile(&broken_sources, &test_options, &set, errors, &warnings);
    error_list_finish(&warnings);
    return status;
}

static int try_one(struct error_list *errors)
{
    struct config_resources set = {0};
    struct error_list warnings = {0};
    struct config_source source = {(char *)"one", (char *)"address: 127.0.0.1:99\nroute-table: t\n", 37, false};
    int status = config_compile_one(HEADGATE__KIND__KIND_LISTENER, STR("new"), &source, NULL, &whole.set, &set, errors,
                                    &warnings);
    assert_int_equal(set.count, status == 0);
    config_resources_finish(&set);
    error_list_finish(&warnings);
    return status;
}

static int try_delete(struct error_list *errors)
{
    struct config_resources removed = {0};
    int status = config_delete_one(HEADGATE__KIND__KIND_LISTENER, STR("w"), &whole.set, &removed, errors);
    assert_int_equal(removed.count, status == 0);
    config_resources_finish(&removed);
    return status;
}

static int try_delete_in_use(struct error_list *errors)
{
    struct config_resources removed = {0};
    return config_delete_one(HEADGATE__KIND__KIND_CLUSTER, STR("c"), &whole.set, &removed, errors);
}

static int try_check(struct error_list *errors)
{
    struct error_list warnings = {0};
    int status = config_check_resources(&whole.set, errors, &warnings);
    error_list_finish(&warnings);
    return status;
}

static struct strbuf rendered;

static int try_render(struct error_list *errors)
{
    struct strbuf out = {0};
    struct config_render_options options = {.is_effective = true};
    int status = config_render(&whole.set, &options, &out, errors);
    hg_alloc_fail_at(-1, 0);
    if (status == 0 && rendered.p) {
        assert_string_equal(out.p, rendered.p);
    } else if (status == 0) {
        strbuf_add_str(&rendered, strbuf_str(&out));
    }
    strbuf_finish(&out);
    return status;
}

static int try_diff(struct error_list *errors)
{
    struct config_changes changes = {0};
    const struct config_resource *a = config_resources_find(&whole.set, HEADGATE__KIND__KIND_ENDPOINT_SET, STR("c"));
    int status = config_diff(a->kind, a->bytes, a->size, "", 0, &changes, errors);
    if (status == 0) {
        assert_int_equal(changes.count, 1);
    }
    config_changes_finish(&changes);
    return status;
}

static int try_load(struct error_list *errors)
{
    struct config_sources loaded = {0};
    int status = config_load("tests/config/good/with-includes.yaml", &loaded, errors);
    if (status == 0) {
        assert_int_equal(loaded.count, 3);
        assert_int_equal(loaded.directory_count, 2);
    }
    config_sources_finish(&loaded);
    return status;
}

static int try_command_line(struct error_list *errors)
{
    static const char *const listen[] = {"127.0.0.1:8080"}, *const to[] = {"127.0.0.1:9001"};
    struct config_resources set = {0};
    int status = config_from_command_line(listen, 1, to, 1, &set, errors);
    assert_int_equal(set.count, status == 0 ? 5 : 0);
    config_resources_finish(&set);
    return status;
}

#define FAIL_EACH(name, is_refused) \
    static void name##_fails_cleanly(void **state) \
    { \
        (void)state; \
        fail_each(try_##name, is_refused); \
    }

FAIL_EACH(compile, false)
FAIL_EACH(secrets, false)
FAIL_EACH(broken, true)
FAIL_EACH(one, false)
FAIL_EACH(delete, false)
FAIL_EACH(delete_in_use, true)
FAIL_EACH(check, false)
FAIL_EACH(render, false)
FAIL_EACH(diff, false)
FAIL_EACH(load, false)
FAIL_EACH(command_line, false)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compile_fails_cleanly),
        cmocka_unit_test(secrets_fails_cleanly),
        cmocka_unit_test(broken_fails_cleanly),
        cmocka_unit_test(one_fails_cleanly),
        cmocka_unit_test(delete_fails_cleanly),
        cmocka_unit_test(delete_in_use_fails_cleanly),
        cmocka_unit_test(check_fails_cleanly),
        cmocka_unit_test(render_fails_cleanly),
        cmocka_unit_test(diff_fails_cleanly),
        cmocka_unit_test(load_fails_cleanly),
        cmocka_unit_test(command_line_fails_cleanly),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    strbuf_finish(&rendered);
    return failed;
}
