/* labels: threads
 *
 * The bucket of tokens that bounds how many retries there are in all: by requests, by time, by its size, and the same for
 * any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>

#include "dataplane/back/cluster.h"

enum { SECOND = 1000000, THREADS = 4, TRIES = 20000 };

static struct cluster_shared *shared;

/* How many may be under way is not the matter here. */
static struct breakers tokens(uint32_t size, uint32_t percent, uint32_t per_second) {
    return (struct breakers){.min_retries = UINT32_MAX, .retry_tokens = size, .retry_tokens_percent = percent,
                             .retry_tokens_per_second = per_second};
}

static unsigned take_all(const struct breakers *b, uint64_t now) {
    unsigned taken = 0;
    while (retry_budget_take(shared, b, now))
        taken++;
    return taken;
}

static void let_in(unsigned worker, unsigned requests) {
    static const char workers[THREADS];
    struct cluster_counts *c = cluster_counts_of(&shared->counts, &workers[worker]);
    assert_non_null(c);
    stats_add(&c->requests, requests);
}

static int set_up(void **state) {
    (void)state;
    shared = cluster_shared_create(STR("c"));
    return shared ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    cluster_shared_unref(shared);
    return 0;
}

static void it_begins_full(void **state) {
    (void)state;
    const struct breakers b = tokens(7, 20, 0);
    assert_int_equal(take_all(&b, SECOND), 7);
    assert_int_equal(atomic_load(&shared->retries), 7);
}

static void what_ends_gives_no_token_back(void **state) {
    (void)state;
    const struct breakers b = tokens(2, 20, 0);
    for (int i = 0; i < 2; i++) {
        assert_true(retry_budget_take(shared, &b, SECOND));
        retry_budget_give(shared);
    }
    assert_false(retry_budget_take(shared, &b, SECOND));
    assert_int_equal(atomic_load(&shared->retries), 0);
}

static void too_many_under_way_take_no_token(void **state) {
    (void)state;
    struct breakers b = tokens(5, 0, 0);
    b.min_retries = 2;
    assert_int_equal(take_all(&b, SECOND), 2);
    b.min_retries = 100;
    assert_int_equal(take_all(&b, SECOND), 3);
}

static void requests_of_all_workers_pay_in(void **state) {
    (void)state;
    const struct breakers b = tokens(100, 20, 0);
    take_all(&b, SECOND);
    let_in(0, 4);
    assert_int_equal(take_all(&b, SECOND), 0);
    let_in(1, 1);
    assert_int_equal(take_all(&b, SECOND), 1);
    let_in(2, 52);
    assert_int_equal(take_all(&b, SECOND), 10);
    let_in(0, 3); /* two were left */
    assert_int_equal(take_all(&b, SECOND), 1);
}

static void good_times_are_not_saved_up_beyond_its_size(void **state) {
    (void)state;
    const struct breakers b = tokens(10, 20, 1);
    take_all(&b, SECOND);
    let_in(0, 1000000);
    assert_int_equal(take_all(&b, SECOND), 10);
    assert_int_equal(take_all(&b, 100000 * (uint64_t)SECOND), 10);
    assert_int_equal(take_all(&b, 10000000 * (uint64_t)SECOND), 10);
}

/* In steps of any length, also of those in which no token is earned; a clock that lags earns nothing twice. */
static void time_pays_in(void **state) {
    (void)state;
    const struct breakers b = tokens(100, 0, 7);
    uint64_t now = SECOND;
    take_all(&b, now);
    unsigned taken = 0;
    for (uint64_t step = 1; now < 11 * SECOND; now += step, step = step * 5 % 4001 + 1) {
        taken += take_all(&b, now);
        taken += take_all(&b, now - (now < 2 * SECOND ? 0 : SECOND / 2));
    }
    taken += take_all(&b, now = 11 * SECOND + 5000);
    assert_in_range(taken, 69, 70);
}

/* What a full bucket has no room for is lost to the last fraction. */
static void time_is_counted_from_the_first_token_on(void **state) {
    (void)state;
    const uint64_t first = 30 * SECOND + 907777;
    const struct breakers b = tokens(2, 0, 1);
    assert_int_equal(take_all(&b, first), 2);
    assert_int_equal(take_all(&b, first + SECOND - 1), 0);
    assert_int_equal(take_all(&b, first + SECOND), 1);
    assert_int_equal(take_all(&b, first + 2 * SECOND), 1);
}

static void another_size_holds_at_once(void **state) {
    (void)state;
    const struct breakers small = tokens(5, 100, 0), large = tokens(50, 100, 0);
    assert_int_equal(take_all(&large, SECOND), 50);
    let_in(0, 45);
    assert_int_equal(take_all(&small, SECOND), 0);
    assert_int_equal(take_all(&large, SECOND), 45);
    let_in(0, 47);
    assert_int_equal(take_all(&small, SECOND), 2);
    const struct breakers none = tokens(0, 100, 1000);
    let_in(0, 1000);
    assert_int_equal(take_all(&none, 9 * SECOND), 0);
}

struct seat {
    pthread_t              thread;
    struct cluster_counts *counts;
    struct breakers        rules;
    unsigned               taken;
};

static void *retry_always(void *arg) {
    struct seat *s = arg;
    for (unsigned i = 0; i < TRIES; i++) {
        stats_add(&s->counts->requests, 1);
        for (int k = 0; k < 3; k++)
            s->taken += retry_budget_take(shared, &s->rules, SECOND);
    }
    return NULL;
}

/* Not one too many, and once all is quiet not one too few. */
static void the_bound_holds_for_all_threads_together(void **state) {
    (void)state;
    enum { TOKENS = 50, PERCENT = 20 };
    static struct seat seats[THREADS];
    static const char workers[THREADS];
    unsigned taken = 0;
    for (int i = 0; i < THREADS; i++) {
        seats[i].counts = cluster_counts_of(&shared->counts, &workers[i]);
        seats[i].rules = tokens(TOKENS, PERCENT, 0);
        assert_non_null(seats[i].counts);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&seats[i].thread, NULL, retry_always, &seats[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(seats[i].thread, NULL), 0);
        taken += seats[i].taken;
    }
    taken += take_all(&seats[0].rules, SECOND);
    assert_in_range(taken, THREADS * TRIES * PERCENT / 100, THREADS * TRIES * PERCENT / 100 + TOKENS);
    assert_int_equal(atomic_load(&shared->retries), taken);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_begins_full),
        TEST(what_ends_gives_no_token_back),
        TEST(too_many_under_way_take_no_token),
        TEST(requests_of_all_workers_pay_in),
        TEST(good_times_are_not_saved_up_beyond_its_size),
        TEST(time_pays_in),
        TEST(time_is_counted_from_the_first_token_on),
        TEST(another_size_holds_at_once),
        TEST(the_bound_holds_for_all_threads_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
