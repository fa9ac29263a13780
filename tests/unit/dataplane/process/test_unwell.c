/* Which endpoints are told to people who watch: counts are right however many there are, and few are looked at. */
#define MANY_ENDPOINTS 100000
#include "tests/unit/dataplane/back/many_endpoints.h"

#include "common/clock.h"
#include "dataplane/process/unwell.h"

#define LATER (UINT64_C(100) * SECOND)

static struct arena arena;
static Headgate__ClusterCounts counts;

static int set_up(void **state) {
    (void)state;
    define_many(BALANCE_RANDOM);
    for (uint32_t i = 0; i < MANY; i++)
        many[i].is_usable = true, many[i].is_draining = false;
    arena_init(&arena, NULL, 0, 0);
    headgate__cluster_counts__init(&counts);
    atomic_store(&cluster_shared.ejected, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_finish(&arena);
    members_finish();
    return 0;
}

static void make(uint32_t count) {
    newest = d.cluster.members = make_members(&d.rules, many, count, NULL);
}

static void eject(uint32_t place) {
    atomic_store(&newest->endpoints[place].shared->ejected_until, clock_monotonic_us() + LATER);
    atomic_fetch_add(&cluster_shared.ejected, 1);
}

/* Returns how many were looked at. */
static uint32_t fill(uint32_t looks, uint32_t number) {
    struct unwell_search search = {.looks = looks, .number = number};
    arena_finish(&arena);
    arena_init(&arena, NULL, 0, 0);
    headgate__cluster_counts__init(&counts);
    unwell_fill(&arena, &d.cluster, &search, &counts);
    return looks - search.looks;
}

static void check_named(size_t at, uint32_t place, Headgate__UnwellEndpoint__Why why) {
    assert_true(at < counts.n_unwell);
    assert_string_equal(counts.unwell[at]->address, texts[place]);
    assert_int_equal(counts.unwell[at]->why, why);
}

static void who_is_well_is_not_looked_at(void **state) {
    (void)state;
    make(MANY);
    assert_int_equal(fill(UNWELL_LOOKS, 0), 0);
    assert_int_equal(counts.endpoints, MANY);
    assert_int_equal(counts.unhealthy + counts.draining + counts.ejected, 0);
    assert_int_equal(counts.n_unwell, 0);
}

static void unhealthy_and_draining_ones_are_known(void **state) {
    (void)state;
    for (uint32_t i = 3; i < MANY; i += 10)
        many[i].is_usable = false, many[i].is_draining = i % 20 == 3;
    make(MANY);
    assert_int_equal(fill(UNWELL_LOOKS, 0), 0);
    assert_int_equal(counts.unhealthy, MANY / 20);
    assert_int_equal(counts.draining, MANY / 20);
    assert_int_equal(counts.n_unwell, UNWELL_NAMED);
    for (uint32_t i = 0; i < UNWELL_NAMED; i += 2) {
        check_named(i, 3 + 10 * i, HEADGATE__UNWELL_ENDPOINT__WHY__DRAINING);
        check_named(i + 1, 13 + 10 * i, HEADGATE__UNWELL_ENDPOINT__WHY__UNHEALTHY);
    }
}

static void few_are_named_after_each_other(void **state) {
    (void)state;
    many[7].is_usable = false;
    make(100);
    eject(5);
    eject(99);
    assert_int_equal(fill(UNWELL_LOOKS, 4711), 100);
    assert_int_equal(counts.unhealthy, 1);
    assert_int_equal(counts.ejected, 2);
    assert_int_equal(counts.n_unwell, 3);
    check_named(0, 7, HEADGATE__UNWELL_ENDPOINT__WHY__UNHEALTHY);
    check_named(1, 5, HEADGATE__UNWELL_ENDPOINT__WHY__EJECTED);
    check_named(2, 99, HEADGATE__UNWELL_ENDPOINT__WHY__EJECTED);
}

/* One of very many: the count is right each time; the name is found by one of two answers. */
static void ejected_ones_of_many_are_looked_for_some_at_a_time(void **state) {
    (void)state;
    make(MANY);
    eject(MANY - 1);
    unsigned named = 0;
    for (uint32_t number = 0; number < 10; number++) {
        assert_true(fill(UNWELL_LOOKS, number) <= UNWELL_LOOKS);
        assert_int_equal(counts.ejected, 1);
        named += counts.n_unwell == 1;
        if (number % 2)
            assert_true(named > number / 2);
    }
    assert_int_equal(fill(10, 0), 10); /* other clusters had the rest */
    assert_int_equal(counts.n_unwell, 0);
}

static void without_memory_nobody_is_named(void **state) {
    (void)state;
    many[0].is_usable = false;
    make(10);
    hg_alloc_fail_at(0, 100);
    fill(UNWELL_LOOKS, 0);
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(counts.unhealthy, 1);
    assert_int_equal(counts.n_unwell, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(who_is_well_is_not_looked_at),
        TEST(unhealthy_and_draining_ones_are_known),
        TEST(few_are_named_after_each_other),
        TEST(ejected_ones_of_many_are_looked_for_some_at_a_time),
        TEST(without_memory_nobody_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
