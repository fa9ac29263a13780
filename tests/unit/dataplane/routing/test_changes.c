/* Changes of fields: which commands there are, what they become, and what is no value. */
#include "tests/unit/common/cmocka_all.h"

#include "common/alloc.h"
#include "dataplane/http/fields.h"
#include "dataplane/routing/changes.h"

static struct arena arena;
static struct fields request, response;
static struct change_facts facts;

static int start(void **state) {
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    request = response = (struct fields){0};
    fields_add(&request, &arena, STR("x-user"), STR("alice"));
    fields_add(&request, &arena, STR("x-many"), STR("one"));
    fields_add(&request, &arena, STR("x-many"), STR("two"));
    fields_add(&response, &arena, STR("etag"), STR("\"tag\""));
    facts = (struct change_facts){
        .client = STR("192.0.2.1"), .peer = STR("10.0.0.1"), .protocol = STR("HTTP/1.1"), .route = STR("rule"),
        .cluster = STR("site"), .method = STR("GET"), .authority = STR("a.example:8080"), .scheme = STR("https"),
        .target = STR("/a?b"), .request = &request, .response = &response, .status = 404,
    };
    return 0;
}

static int stop(void **state) {
    (void)state;
    arena_finish(&arena);
    return 0;
}

static const char *build(const char *value, bool is_response, struct header_change *ret) {
    Headgate__HeaderChange m = HEADGATE__HEADER_CHANGE__INIT;
    m.name = "x";
    m.value = arena_strdup(&arena, value);
    return header_change_build(&arena, &m, is_response, ret);
}

static void expect(const char *value, const char *expected) {
    struct header_change c;
    struct str made;
    assert_null(build(value, true, &c));
    assert_int_equal(header_change_value(&c, &facts, &arena, &made), 0);
    if (!str_eq(made, str_of(expected)))
        fail_msg("%s became %.*s, not %s", value, STR_FMT(made), expected);
}

static void commands_become_what_they_stand_for(void **state) {
    (void)state;
    expect("", "");
    expect("plain", "plain");
    expect("100%% of %%", "100% of %");
    expect("%REQ(x-user)%", "alice");
    expect("%REQ(X-User)%", "alice");
    expect("<%REQ(x-user)%,%REQ(x-user):2%>", "<alice,al>");
    expect("%REQ(x-many)%", "one,two");
    expect("%REQ(x-none)%", "");
    expect("%REQ(x-none?x-user)%", "alice");
    expect("%REQ(x-user?x-many)%", "alice");
    expect("a%REQ(x-none)%b", "ab");
    expect(" %REQ(x-none)%", "");
    expect("%REQ(:method)% %REQ(:scheme)%://%REQ(:authority)%%REQ(:path)%", "GET https://a.example:8080/a?b");
    expect("%RESP(etag)% %RESP(none?etag):3%", "\"tag\" \"ta");
    expect("%RESPONSE_CODE%", "404");
    expect("%PROTOCOL%", "HTTP/1.1");
    expect("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%/%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "192.0.2.1/10.0.0.1");
    expect("%ROUTE_NAME%.%UPSTREAM_CLUSTER%", "rule.site");
    facts = (struct change_facts){.request = &request};
    expect("%RESP(etag)%%RESPONSE_CODE%%PROTOCOL%%REQ(:path)%%ROUTE_NAME%%UPSTREAM_CLUSTER%", "");
}

static void refuse(const char *value, bool is_response, const char *reason) {
    struct header_change c;
    const char *bad = build(value, is_response, &c);
    assert_non_null(bad);
    if (!strstr(bad, reason))
        fail_msg("%s: %s", value, bad);
}

static void what_is_no_command_is_refused(void **state) {
    (void)state;
    refuse("%", true, "%%");
    refuse("100%", true, "%%");
    refuse("%HOSTNAME%", true, "not known");
    refuse("%req(x)%", true, "not known");
    refuse("%REQ%", true, "name");
    refuse("%REQ(x%", true, "name");
    refuse("%REQ()%", true, "no name");
    refuse("%REQ(a b)%", true, "no name");
    refuse("%REQ(:cookie)%", true, "no name");
    refuse("%REQ(a?)%", true, "no name");
    refuse("%RESP(:path)%", true, "no name");
    refuse("%REQ(x):%", true, "length");
    refuse("%REQ(x):0%", true, "length");
    refuse("%REQ(x)y%", true, "length");
    refuse("%PROTOCOL(x)%", true, "brackets");
    refuse("%RESP(x)%", false, "no response");
    refuse("%RESPONSE_CODE%", false, "no response");
}

static void memory_may_be_short(void **state) {
    (void)state;
    struct header_change c;
    struct str made;
    for (long nth = 0; nth < 4; nth++) {
        struct arena own;
        Headgate__HeaderChange m = HEADGATE__HEADER_CHANGE__INIT;
        m.name = "x";
        m.value = "<%REQ(x-many)%%REQ(x-user)%>";
        arena_init(&own, NULL, 0, 0);
        hg_alloc_fail_at(nth, 1);
        if (!header_change_build(&own, &m, false, &c) && header_change_value(&c, &facts, &own, &made) == 0)
            assert_true(str_eq(made, STR("<one,twoalice>")));
        hg_alloc_fail_at(-1, 0);
        arena_finish(&own);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commands_become_what_they_stand_for, start, stop),
        cmocka_unit_test_setup_teardown(what_is_no_command_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(memory_may_be_short, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
