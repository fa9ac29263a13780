#include "common/prefix.h"

#include "tests/unit/common/cmocka_all.h"

static void what_is_written_comes_back(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"10.0.0.0/8", "10.0.0.0/8"}, {"192.0.2.7", "192.0.2.7/32"}, {"0.0.0.0/0", "0.0.0.0/0"},
        {"::1/128", "::1/128"},       {"2001:DB8::/33", "2001:db8::/33"}, {"::/0", "::/0"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prefix p;
        char text[PREFIX_TEXT_MAX];
        assert_int_equal(prefix_parse(str_of(cases[i][0]), &p), 0);
        assert_int_equal(prefix_format(&p, text), strlen(cases[i][1]));
        assert_string_equal(text, cases[i][1]);
    }
}

static void other_texts_are_refused(void **state) {
    (void)state;
    static const char *const cases[] = {
        "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "::1/129", "::1/64", "10.0.0/8", "localhost", "10.0.0.0/8/8",
        "10.0.0.0/-1", "10.0.0.0/ 8", "[::1]", "unix:/x", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prefix p = {.bits = 7};
        assert_int_equal(prefix_parse(str_of(cases[i]), &p), -1);
        assert_int_equal(p.bits, 7);
    }
    assert_int_equal(prefix_parse((struct str){"::1\0", 4}, &(struct prefix){0}), -1);
}

static void what_lies_within_is_contained(void **state) {
    (void)state;
    static const struct {
        const char *prefix, *address;
        bool        is_inside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1:80", true},      {"10.0.0.0/8", "11.0.0.1:80", false},
        {"10.128.0.0/9", "10.127.255.255:1", false}, {"10.128.0.0/9", "10.128.0.0:1", true},
        {"0.0.0.0/0", "1.2.3.4:1", true},           {"0.0.0.0/0", "[::1]:1", false},
        {"0.0.0.0/0", "[::ffff:1.2.3.4]:1", true},  {"::/0", "1.2.3.4:1", true},
        {"::1", "[::1]:1", true},                   {"2001:db8::/33", "[2001:db8:8000::]:1", false},
        {"::/0", "unix:/x", false},                 {"192.0.2.7", "192.0.2.6:1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prefix p;
        struct address a;
        assert_int_equal(prefix_parse(str_of(cases[i].prefix), &p), 0);
        assert_int_equal(address_parse(str_of(cases[i].address), &a), 0);
        if (prefix_contains(&p, &a) != cases[i].is_inside)
            fail_msg("%s in %s", cases[i].address, cases[i].prefix);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(what_lies_within_is_contained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
