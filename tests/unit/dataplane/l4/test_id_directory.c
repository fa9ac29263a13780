/* Where connections live whose IDs say nothing. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/l4/id_directory.h"

enum { NOW = 1000, LATER = 2000 };

static struct id_home home_at(const char *address, uint32_t slot) {
    struct id_home h = {.slot = slot, .place = slot * 2};
    assert_int_equal(address_parse(str_of(address), &h.address), 0);
    return h;
}

static void note(struct id_directory *d, const char *id, const struct id_home *home, uint64_t expires) {
    id_directory_note(d, (const uint8_t *)id, strlen(id), home, NOW, expires);
}

static size_t find(struct id_directory *d, const char *octets, uint64_t now, struct id_home *ret) {
    return id_directory_find(d, (const uint8_t *)octets, strlen(octets), now, ret);
}

static void test_finding(void **state) {
    (void)state;
    struct id_directory *d = id_directory_create();
    struct id_home a = home_at("192.0.2.1:443", 7), b = home_at("[2001:db8::1]:443", 8), found;
    note(d, "origin-a", &a, LATER);
    note(d, "origin-a-longer", &b, LATER);
    assert_int_equal(find(d, "origin-a", NOW, &found), 8);
    assert_int_equal(found.slot, 7);
    assert_int_equal(found.place, 14);
    assert_true(address_equal(&found.address, &a.address));
    assert_int_equal(find(d, "origin-a and what is encrypted", NOW, &found), 8);
    assert_int_equal(find(d, "origin-a-longerXXXXX", NOW, &found), 15);
    assert_true(address_equal(&found.address, &b.address));
    assert_int_equal(find(d, "origin-b", NOW, &found), 0);
    assert_int_equal(find(d, "origin", NOW, &found), 0);
    id_directory_destroy(d);
}

static void test_time(void **state) {
    (void)state;
    struct id_directory *d = id_directory_create();
    struct id_home a = home_at("192.0.2.1:443", 7), b = home_at("192.0.2.2:443", 7), found;
    note(d, "origin-a", &a, LATER);
    assert_int_equal(find(d, "origin-a", LATER - 1, &found), 8);
    assert_int_equal(find(d, "origin-a", LATER, &found), 0);
    note(d, "origin-a", &b, LATER + 1); /* the same one again, elsewhere */
    assert_int_equal(find(d, "origin-a", LATER, &found), 8);
    assert_true(address_equal(&found.address, &b.address));
    id_directory_destroy(d);
}

static void test_an_endpoint_that_leaves(void **state) {
    (void)state;
    struct id_directory *d = id_directory_create();
    struct id_home a = home_at("192.0.2.1:443", 7), found;
    note(d, "origin-a", &a, LATER);
    assert_int_equal(find(d, "origin-a", NOW, &found), 8);
    assert_int_equal(found.until, 0);
    a.until = 1234567890123;
    note(d, "origin-a", &a, LATER);
    assert_int_equal(find(d, "origin-a", NOW, &found), 8);
    assert_int_equal(found.until, 1234568000000); /* to the second, not before */
    id_directory_destroy(d);
}

static void test_ids_that_can_be_guessed(void **state) {
    (void)state;
    struct id_directory *d = id_directory_create();
    struct id_home a = home_at("192.0.2.1:443", 7), found;
    note(d, "abc", &a, LATER);
    note(d, "of-more-than-twenty-octets", &a, LATER);
    assert_int_equal(find(d, "abc", NOW, &found), 0);
    assert_int_equal(find(d, "of-more-than-twenty-octets", NOW, &found), 0);
    id_directory_destroy(d);
}

/* It never grows; those that are refreshed last longest. */
static void test_more_than_there_is_room_for(void **state) {
    (void)state;
    struct id_directory *d = id_directory_create();
    struct id_home a = home_at("192.0.2.1:443", 7), found;
    uint64_t before = hg_alloc_count();
    size_t there = 0;
    note(d, "the-one-that-is-used", &a, UINT64_MAX);
    for (unsigned i = 0; i < 4 * DIRECTORY_IDS; i++) {
        char id[16];
        snprintf(id, sizeof id, "id-%08x", i);
        note(d, id, &a, LATER + i);
    }
    for (unsigned i = 0; i < 4 * DIRECTORY_IDS; i++) {
        char id[16];
        snprintf(id, sizeof id, "id-%08x", i);
        there += find(d, id, NOW, &found) > 0;
    }
    assert_true(there <= DIRECTORY_IDS && there > DIRECTORY_IDS / 2);
    assert_int_equal(find(d, "the-one-that-is-used", NOW, &found), 20);
    assert_int_equal(hg_alloc_count(), before);
    id_directory_destroy(d);
}

static size_t count(struct id_directory *d, const char *prefix) {
    struct id_home found;
    size_t there = 0;
    for (unsigned i = 0; i < DIRECTORY_IDS; i++) {
        char id[16];
        snprintf(id, sizeof id, "%s-%08x", prefix, i);
        there += find(d, id, NOW, &found) > 0;
    }
    return there;
}

/* What leads nowhere takes no room of what leads somewhere. */
static void test_ids_that_end(void **state) {
    (void)state;
    struct id_directory *d = id_directory_create();
    struct id_home a = home_at("192.0.2.1:443", 7);
    char id[16];
    for (unsigned i = 0; i < DIRECTORY_IDS; i++) {
        snprintf(id, sizeof id, "id-%08x", i);
        note(d, id, &a, LATER);
    }
    size_t before = count(d, "id");
    for (unsigned i = 0; i < DIRECTORY_IDS; i++) {
        snprintf(id, sizeof id, "gone-%08x", i);
        note(d, id, &a, NOW);
    }
    assert_int_equal(count(d, "id"), before);
    assert_int_equal(count(d, "gone"), 0);
    note(d, id, &a, LATER);
    note(d, id, &a, NOW);
    assert_int_equal(count(d, "gone"), 0);
    id_directory_destroy(d);
}

static void *use(void *arg) {
    struct id_directory *d = arg;
    struct id_home a = home_at("192.0.2.1:443", 7), found;
    for (unsigned i = 0; i < 20000; i++) {
        char id[16];
        snprintf(id, sizeof id, "id-%08x", i % 300);
        note(d, id, &a, LATER);
        assert_int_equal(find(d, id, NOW, &found), 11);
        assert_int_equal(found.slot, 7);
    }
    return NULL;
}

static void test_from_several_threads(void **state) {
    (void)state;
    struct id_directory *d = id_directory_create();
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, use, d), 0);
    use(d);
    pthread_join(other, NULL);
    id_directory_destroy(d);
}

static void test_without_memory(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        hg_alloc_fail_at(i, 1);
        assert_null(id_directory_create());
        hg_alloc_fail_at(-1, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finding), cmocka_unit_test(test_time),
        cmocka_unit_test(test_an_endpoint_that_leaves), cmocka_unit_test(test_ids_that_can_be_guessed),
        cmocka_unit_test(test_more_than_there_is_room_for), cmocka_unit_test(test_ids_that_end),
        cmocka_unit_test(test_from_several_threads), cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
