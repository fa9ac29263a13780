/* Where the control plane is. Only names that need no server: those of this machine. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/holder/resolver.h"

static struct resolver resolver;

static int tear_down(void **state) {
    (void)state;
    resolver_finish(&resolver);
    return 0;
}

static int parse(const char *text) {
    resolver = (struct resolver){0};
    identity_find("nobody", &resolver.identity);
    return resolver_name_parse(str_of(text), &resolver.name);
}

static void addresses_need_no_look_up(void **state) {
    (void)state;
    struct address a, expected;
    static const char *const texts[] = {"unix:/run/x.sock", "127.0.0.1:9443", "[::1]:9443"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(parse(texts[i]), 0);
        assert_int_equal(resolver_next(&resolver, &a), 0);
        assert_int_equal(address_parse(str_of(texts[i]), &expected), 0);
        assert_true(address_equal(&a, &expected));
        assert_int_equal(resolver_fd(&resolver), -1);
    }
}

static void names_are_checked(void **state) {
    (void)state;
    static const char *const good[] = {"localhost:1", "control.example:65535", "a-b.c1:9443"};
    static const char *const bad[] = {
        "",     "localhost", ":1",          "localhost:", "localhost:0", "localhost:65536", "local host:1",
        "-x:1", ".x:1",      "300.1.1.1:1", "127.0.0.1",  "[::1:1",      "a_b:1",           "x:1:2"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(parse(good[i]), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(bad[i]), -1);
}

static void wait_for_answer(void) {
    struct pollfd readable = {.fd = resolver_fd(&resolver), .events = POLLIN};
    assert_true(readable.fd >= 0);
    assert_int_equal(poll(&readable, 1, 60000), 1);
    resolver_collect(&resolver);
    waitpid(resolver.child, NULL, 0);
    resolver.child = 0;
}

static void name_is_looked_up_meanwhile(void **state) {
    (void)state;
    struct address a;
    assert_int_equal(parse("localhost:9443"), 0);
    assert_int_equal(resolver_next(&resolver, &a), EAGAIN);
    wait_for_answer();
    assert_int_equal(resolver_next(&resolver, &a), 0);
    assert_true(address_is_loopback(&a));
    assert_int_equal(address_port(&a), 9443);
    assert_int_equal(resolver.child, 0); /* it is fresh */
}

static void stale_result_is_used_and_looked_up_anew(void **state) {
    (void)state;
    struct address a;
    assert_int_equal(parse("localhost:9443"), 0);
    resolver_next(&resolver, &a);
    wait_for_answer();
    resolver.asked_us -= RESOLVER_FRESH_US + 1;
    assert_int_equal(resolver_next(&resolver, &a), 0);
    assert_int_not_equal(resolver.child, 0);
    wait_for_answer();
}

static void every_address_gets_its_turn(void **state) {
    (void)state;
    struct address a, b;
    assert_int_equal(parse("localhost:9443"), 0);
    resolver_next(&resolver, &a);
    wait_for_answer();
    resolver.count = 2;
    assert_int_equal(address_parse(STR("127.0.0.1:1"), &resolver.addresses[0]), 0);
    assert_int_equal(address_parse(STR("127.0.0.2:1"), &resolver.addresses[1]), 0);
    resolver_next(&resolver, &a);
    resolver_next(&resolver, &b);
    assert_false(address_equal(&a, &b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(addresses_need_no_look_up, tear_down),
        cmocka_unit_test_teardown(names_are_checked, tear_down),
        cmocka_unit_test_teardown(name_is_looked_up_meanwhile, tear_down),
        cmocka_unit_test_teardown(stale_result_is_used_and_looked_up_anew, tear_down),
        cmocka_unit_test_teardown(every_address_gets_its_turn, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
