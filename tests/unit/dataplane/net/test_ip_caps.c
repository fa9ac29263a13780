/* Connections per client address. labels: threads */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/net/ip_caps.h"

enum { THREADS = 4, ROUNDS = 20000, SHARED_LIMIT = 3 };

static struct ip_caps *caps;

static int set_up(void **state) {
    (void)state;
    caps = ip_caps_create();
    return caps ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    ip_caps_destroy(caps);
    return 0;
}

static struct address address_of(const char *text) {
    struct address a = {0};
    assert_int_equal(address_parse(str_of(text), &a), 0);
    return a;
}

static uint32_t take(const char *text, uint32_t limit) {
    struct address a = address_of(text);
    return ip_caps_take(caps, &a, limit);
}

static void limit_is_per_address_whatever_the_port(void **state) {
    (void)state;
    uint32_t slots[3];
    for (int i = 0; i < 3; i++) {
        char text[32];
        snprintf(text, sizeof text, "192.0.2.1:%d", 1000 + i);
        slots[i] = take(text, 3);
        assert_true(slots[i] < IP_CAP_UNCOUNTED);
    }
    assert_int_equal(take("192.0.2.1:2000", 3), IP_CAP_REFUSED);
    assert_true(take("192.0.2.2:2000", 3) < IP_CAP_UNCOUNTED);
    assert_true(take("192.0.2.1:2000", 4) < IP_CAP_UNCOUNTED); /* a raised limit counts at once */
    ip_caps_give(caps, slots[0]);
    ip_caps_give(caps, slots[1]);
    assert_true(take("192.0.2.1:2000", 3) < IP_CAP_UNCOUNTED);
    assert_int_equal(take("192.0.2.1:2000", 3), IP_CAP_REFUSED);
}

static void ipv6_counts_by_its_network(void **state) {
    (void)state;
    assert_true(take("[2001:db8:0:1::1]:80", 2) < IP_CAP_UNCOUNTED);
    assert_true(take("[2001:db8:0:1:ffff::2]:80", 2) < IP_CAP_UNCOUNTED);
    assert_int_equal(take("[2001:db8:0:1::3]:80", 2), IP_CAP_REFUSED);
    assert_true(take("[2001:db8:0:2::1]:80", 2) < IP_CAP_UNCOUNTED);
}

static void unix_peers_are_not_counted(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(take("unix:/run/x.sock", 1), IP_CAP_UNCOUNTED);
    ip_caps_give(caps, IP_CAP_UNCOUNTED);
}

static void all_given_back_leaves_an_empty_table(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        uint32_t slots[1000];
        for (uint32_t i = 0; i < 1000; i++) {
            struct address a = {.length = sizeof a.u.v4,
                                .u.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i / 2)}};
            slots[i] = ip_caps_take(caps, &a, 2);
            assert_true(slots[i] < IP_CAP_UNCOUNTED);
        }
        for (uint32_t i = 0; i < 1000; i++)
            ip_caps_give(caps, slots[i]);
    }
}

/* With more addresses than slots a newcomer is admitted uncounted; nobody is refused for someone else's connections. */
static void crowded_table_refuses_nobody(void **state) {
    (void)state;
    unsigned uncounted = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        struct address a = {.length = sizeof a.u.v4,
                            .u.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i)}};
        uint32_t slot = ip_caps_take(caps, &a, 1);
        assert_int_not_equal(slot, IP_CAP_REFUSED);
        uncounted += slot == IP_CAP_UNCOUNTED;
    }
    assert_true(uncounted >= 100000 - 65536);
}

static void lack_of_memory_is_told(void **state) {
    (void)state;
    hg_alloc_fail_at(0, 0);
    assert_null(ip_caps_create());
    hg_alloc_fail_at(-1, 0);
    ip_caps_destroy(NULL);
}

/* ---- many threads, one address ---- */

static _Atomic int held, refused;

static void *take_and_give(void *arg) {
    const struct address *a = arg;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t slot = ip_caps_take(caps, a, SHARED_LIMIT);
        if (slot == IP_CAP_REFUSED) {
            refused++;
            continue;
        }
        assert_true(slot < IP_CAP_UNCOUNTED);
        assert_true(++held <= SHARED_LIMIT);
        held--;
        ip_caps_give(caps, slot);
    }
    return NULL;
}

static void limit_holds_over_all_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    struct address a = address_of("192.0.2.7:1");
    held = refused = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &a), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(held, 0);
    for (int i = 0; i < SHARED_LIMIT; i++) /* every one was given back */
        assert_true(ip_caps_take(caps, &a, SHARED_LIMIT) < IP_CAP_UNCOUNTED);
    assert_int_equal(ip_caps_take(caps, &a, SHARED_LIMIT), IP_CAP_REFUSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(limit_is_per_address_whatever_the_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ipv6_counts_by_its_network, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unix_peers_are_not_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_given_back_leaves_an_empty_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(crowded_table_refuses_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lack_of_memory_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limit_holds_over_all_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
