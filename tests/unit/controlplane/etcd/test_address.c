/* Addresses of etcd: what is one, and what is told of what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/etcd/address.h"

/* "host:port host:port /prefix tls", or what is wrong. */
static const char *parsed(const char *text) {
    static char out[4096];
    struct etcd_address a;
    struct error_list errors = {0};
    size_t n = 0;
    if (etcd_address_parse(text, &a, &errors) == 0) {
        for (size_t i = 0; i < a.member_count; i++)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s ", a.members[i]);
        snprintf(out + n, sizeof out - n, "%s%s", a.prefix, a.is_tls ? " tls" : "");
    } else {
        assert_int_equal(errors.count, 1);
        snprintf(out, sizeof out, "%s", strrchr(errors.items[0].message, ':') + 2);
    }
    etcd_address_finish(&a);
    error_list_finish(&errors);
    return out;
}

static void addresses(void **state) {
    (void)state;
    assert_string_equal(parsed("etcd://a:1,b-c.d:65535,[::1]:3/x/y/"), "a:1 b-c.d:65535 [::1]:3 /x/y");
    assert_string_equal(parsed("etcds://a"), "a:2379 /headgate tls");
    assert_string_equal(parsed("etcd://[fe80::1]/"), "[fe80::1]:2379 /headgate");
    assert_string_equal(parsed("http://a"), "not an address of etcd");
}

static void faults(void **state) {
    (void)state;
    static const char *const bad_members[] = {"etcd://", "etcd:///x", "etcd://a,,b", "etcd://a:0", "etcd://a:65536",
                                              "etcd://a b", "etcd://user@a", "etcd://::1", "etcd://[::1", "etcd://[]:1"};
    for (size_t i = 0; i < sizeof bad_members / sizeof *bad_members; i++)
        assert_string_equal(parsed(bad_members[i]), "a member is no host with a port");
    assert_string_equal(parsed("etcd://a/x//y"), "the prefix has an empty part, or characters that are not printable ASCII");
    assert_string_equal(parsed("etcd://a/x y"), "the prefix has an empty part, or characters that are not printable ASCII");
    assert_string_equal(parsed("etcd://a:99999999999999999999"), "a port is no number");
    assert_string_equal(parsed("etcd://a:"), "a port is no number");
    char text[512] = "etcd://a";
    memset(text + 8, 'x', 300);
    text[8] = '/';
    assert_string_equal(parsed(text), "the prefix is longer than 256 bytes");
    snprintf(text, sizeof text, "etcd://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a");
    assert_string_equal(parsed(text), "there are more than 16 members");
}

static void without_memory(void **state) {
    (void)state;
    for (long nth = 0;; nth++) {
        struct etcd_address a;
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 1);
        int status = etcd_address_parse("etcd://a:1,b/x", &a, &errors);
        hg_alloc_fail_at(-1, 0);
        assert_true(status == 0 || !error_list_is_empty(&errors));
        etcd_address_finish(&a);
        error_list_finish(&errors);
        if (status == 0)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(faults),
                                       cmocka_unit_test(without_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
