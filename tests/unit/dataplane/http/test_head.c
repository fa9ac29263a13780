/* Methods, reasons, authorities, and what is taken out before a head is forwarded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/routing/authority.h"
#include "dataplane/http/head.h"

static void methods_have_names(void **state) {
    (void)state;
    for (unsigned m = METHOD_GET; m < METHOD_COUNT; m++)
        assert_int_equal(method_lookup(method_name(m)), m);
    assert_int_equal(method_lookup(STR("get")), METHOD_OTHER);
    assert_int_equal(method_lookup(STR("PROPFIND")), METHOD_OTHER);
    assert_int_equal(method_lookup(STR("")), METHOD_OTHER);
    assert_true(method_is_idempotent(METHOD_PUT) && !method_is_safe(METHOD_PUT));
    assert_true(method_is_idempotent(METHOD_OPTIONS) && method_is_safe(METHOD_OPTIONS));
    assert_false(method_is_idempotent(METHOD_POST) || method_is_idempotent(METHOD_OTHER));
}

static void reasons(void **state) {
    (void)state;
    assert_true(str_eq(status_reason(200), STR("OK")));
    assert_true(str_eq(status_reason(431), STR("Request Header Fields Too Large")));
    assert_true(str_eq(status_reason(511), STR("Network Authentication Required")));
    static const unsigned unknown[] = {0, 99, 104, 299, 418, 499, 599, 600, 999};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_int_equal(status_reason(unknown[i]).n, 0);
}

static void hop_by_hop_fields_go(void **state) {
    (void)state;
    static const char *const names[] = {"connection",      "x-gone", "x-stays", "te",
                                        "x-forwarded-for", "host",   "upgrade", "x-gone"};
    struct str nominated[] = {STR("x-gone"), STR("x-forwarded-for"), STR("host"), STR("absent")};
    struct arena arena;
    struct head head;
    arena_init(&arena, NULL, 0, 0);
    head_init(&head);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(fields_add(&head.fields, &arena, str_of(names[i]), STR("v")), 0);
    head.nominated = nominated;
    head.nominated_count = sizeof nominated / sizeof *nominated;
    head_remove_hop_by_hop(&head);
    assert_int_equal(head.fields.count, 3);
    assert_true(field_is(&head.fields.v[0], STR("x-stays")));
    assert_true(field_is(&head.fields.v[1], STR("x-forwarded-for")));
    assert_true(field_is(&head.fields.v[2], STR("host")));
    arena_finish(&arena);
}

/* The number, or -1 where there is none. */
static int64_t max_forwards(enum method method, const char *value) {
    struct arena arena;
    struct head head;
    uint64_t hops = 0;
    arena_init(&arena, NULL, 0, 0);
    head_init(&head);
    head.method = method;
    assert_int_equal(fields_add(&head.fields, &arena, STR("max-forwards"), str_of(value)), 0);
    bool is_number = head_max_forwards(&head, &hops);
    arena_finish(&arena);
    return !is_number ? -1 : hops == UINT64_MAX ? INT64_MAX : (int64_t)hops;
}

static void max_forwards_is_a_number(void **state) {
    (void)state;
    assert_int_equal(max_forwards(METHOD_OPTIONS, "0"), 0);
    assert_int_equal(max_forwards(METHOD_TRACE, "00"), 0);
    assert_int_equal(max_forwards(METHOD_TRACE, "007"), 7);
    assert_int_equal(max_forwards(METHOD_TRACE, "99999999999999999999999"), INT64_MAX);
    assert_int_equal(max_forwards(METHOD_TRACE, ""), -1);
    assert_int_equal(max_forwards(METHOD_TRACE, "-1"), -1);
    assert_int_equal(max_forwards(METHOD_TRACE, "0, 5"), -1);
    assert_int_equal(max_forwards(METHOD_GET, "0"), -1);
}

static int parse(const char *text, char *ret_shown) {
    char *copy = strdup(text);
    assert_non_null(copy);
    struct str host;
    uint16_t port;
    int result = authority_parse(copy, strlen(copy), &host, &port);
    if (result == 0)
        sprintf(ret_shown, "%.*s %u", STR_FMT(host), port);
    free(copy);
    return result;
}

static void authorities(void **state) {
    (void)state;
    static const char *const good[][2] = {
        {"a", "a 0"}, {"A.Example.COM", "a.example.com 0"}, {"a.:1", "a. 1"}, {"_x~-9:65535", "_x~-9 65535"},
        {"127.0.0.1:80", "127.0.0.1 80"}, {"[::1]", "[::1] 0"}, {"[FE80::A]:00443", "[fe80::a] 443"},
        {"[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4] 1"},
    };
    static const char *const bad[] = {
        "", ":", ":80", "a:", "a:0", "a:65536", "a:123456", "a:+1", "a: 1", "a:1 ", "a b", "a,b", "a/b", "a@b", "a%41", "a#",
        "a?", "a\\b", "\xc3\xa9", "a..b", ".a", ".", "[::1", "::1", "[]", "[::1]a", "[::g]", "[fe80::1%25eth0]", "[v1.a]",
        "[1.2.3.4]", "a[b]", "a;b", "a!b", "a*b", "(a)", "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
    };
    char shown[300];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(parse(good[i][0], shown), 0);
        assert_string_equal(shown, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], shown) == 0)
            fail_msg("\"%s\" was accepted", bad[i]);
    struct str host;
    uint16_t port;
    char nul[] = "[::1\0]", longest[257];
    assert_int_equal(authority_parse(nul, sizeof nul - 1, &host, &port), -1);
    memset(longest, 'a', sizeof longest);
    assert_int_equal(authority_parse(longest, 255, &host, &port), 0);
    assert_int_equal(authority_parse(longest, 256, &host, &port), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_have_names),
        cmocka_unit_test(reasons),
        cmocka_unit_test(hop_by_hop_fields_go),
        cmocka_unit_test(max_forwards_is_a_number),
        cmocka_unit_test(authorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
