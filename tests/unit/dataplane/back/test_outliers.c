/* Who is ejected, when and for how long; and who is not. Two workers and a clock of the test's. */
#include "tests/unit/dataplane/back/outlier_fixture.h"

static bool is_picked(struct cluster_runtime *c, unsigned port) {
    for (int i = 0; i < 1000; i++) {
        struct endpoint_runtime *e = cluster_pick(c, &(struct pick){0});
        if (e && address_port(&e->address) == port)
            return true;
    }
    return false;
}

static void set_rows(uint32_t length) {
    site.outliers.consecutive_5xx = length;
    site.outliers.consecutive_gateway_failures = length;
    site.outliers.consecutive_local_failures = length;
}

/* ---- rows ---- */

static void row_that_is_long_enough_ejects_and_none_before(void **state) {
    (void)state;
    static const struct {
        enum endpoint_outcome outcome;
        enum ejection_reason  reason;
    } cases[] = {
        {ENDPOINT_5XX, EJECTION_CONSECUTIVE_5XX},
        {ENDPOINT_GATEWAY_FAILURE, EJECTION_CONSECUTIVE_GATEWAY_FAILURES},
        {ENDPOINT_CONNECT_FAILURE, EJECTION_CONSECUTIVE_LOCAL_FAILURES},
        {ENDPOINT_RESET, EJECTION_CONSECUTIVE_LOCAL_FAILURES},
        {ENDPOINT_TIMEOUT, EJECTION_CONSECUTIVE_LOCAL_FAILURES},
    };
    struct cluster_runtime *c[2];
    set_rows(5);
    site_begin(&site, 8, c);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct endpoint_runtime *e = site_endpoint(c[0], i + 1);
        uint64_t before = site_ejections(&site, cases[i].reason);
        site_end_many(e, cases[i].outcome, 0, 4);
        assert_false(is_out(c[0], i + 1));
        site_end(e, cases[i].outcome, 0);
        assert_true(is_out(c[0], i + 1) && is_out(c[1], i + 1));
        assert_int_equal(site_ejections(&site, cases[i].reason), before + 1);
        assert_int_equal(site_ejected(&site), i + 1);
        site_end_many(e, cases[i].outcome, 0, 20); /* those that were under way */
        assert_int_equal(site_ejections(&site, cases[i].reason), before + 1);
    }
    assert_false(is_out(c[0], 6));
}

static void rows_are_counted_for_all_workers_together(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_5xx = 5;
    site_begin(&site, 3, c);
    site_end_many(site_endpoint(c[0], 2), ENDPOINT_5XX, 100, 3);
    site_end(site_endpoint(c[1], 2), ENDPOINT_5XX, 100);
    assert_false(is_out(c[0], 2));
    site_end(site_endpoint(c[1], 2), ENDPOINT_5XX, 100);
    assert_false(is_picked(c[0], 2)); /* from the next choice on, also of the worker that saw three */
    assert_false(is_picked(c[1], 2));
    assert_true(is_picked(c[0], 1) && is_picked(c[0], 3));
}

static void success_on_any_worker_breaks_a_row(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 5;
    site_begin(&site, 3, c);
    for (int i = 0; i < 10; i++) {
        site_end_many(site_endpoint(c[0], 1), ENDPOINT_RESET, 0, 4);
        site_end(site_endpoint(c[1], 1), ENDPOINT_SUCCESS, 100);
        site_end(site_endpoint(c[0], 1), ENDPOINT_CANCELLED, 0);
    }
    assert_false(is_out(c[0], 1));
}

/* 500 and reset in turn: an answer breaks the rows of something worse. */
static void rows_of_answers_and_of_none_are_kept_apart(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_gateway_failures = site.outliers.consecutive_local_failures = 2;
    site_begin(&site, 4, c);
    for (int i = 0; i < 10; i++) {
        site_end(site_endpoint(c[0], 1), ENDPOINT_5XX, 100);
        site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
        site_end(site_endpoint(c[1], 2), ENDPOINT_TIMEOUT, 0);
        site_end(site_endpoint(c[1], 2), ENDPOINT_5XX, 100);
    }
    assert_int_equal(count_out(c[0]), 0);
    site_end(site_endpoint(c[0], 3), ENDPOINT_RESET, 0);
    site_end(site_endpoint(c[0], 3), ENDPOINT_GATEWAY_FAILURE, 100);
    assert_true(is_out(c[1], 3));
    assert_int_equal(site_ejections(&site, EJECTION_CONSECUTIVE_GATEWAY_FAILURES), 1);
}

/* All failures are in the row of 5xx. */
static void any_failure_is_as_bad_as_a_5xx(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_5xx = 5;
    site_begin(&site, 3, c);
    for (enum endpoint_outcome o = ENDPOINT_5XX; o < ENDPOINT_TIMEOUT; o++)
        site_end(site_endpoint(c[o % 2], 2), o, 0);
    assert_false(is_out(c[0], 2));
    site_end(site_endpoint(c[0], 2), ENDPOINT_TIMEOUT, 0);
    assert_true(is_out(c[0], 2));
    assert_int_equal(site_ejections(&site, EJECTION_CONSECUTIVE_5XX), 1);
}

static void nothing_is_ejected_when_it_is_off(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site_begin(&site, 3, c);
    site_end_many(site_endpoint(c[0], 1), ENDPOINT_5XX, 100, 1000);
    site_end_many(site_endpoint(c[0], 2), ENDPOINT_RESET, 0, 1000);
    assert_int_equal(count_out(c[0]), 0);
    site.outliers = (struct outlier_rules){.is_on = false};
    site_begin(&site, 3, c);
    site_end_many(site_endpoint(c[0], 1), ENDPOINT_RESET, 0, 1000);
    assert_int_equal(count_out(c[0]), 0);
}

/* ---- time ---- */

/* Ejects it, and returns for how long it is out, within two microseconds. */
static uint64_t eject_and_measure(struct cluster_runtime *c, unsigned port) {
    struct endpoint_runtime *e = site_endpoint(c, port);
    site_end(e, ENDPOINT_RESET, 0);
    uint64_t until = atomic_load(&e->shared->ejected_until);
    assert_true(until > site.now);
    return until - site.now;
}

static void assert_about(uint64_t actual, uint64_t seconds) {
    assert_in_range(actual, seconds * SECOND, seconds * SECOND + 2);
}

static void each_ejection_in_a_row_is_longer_up_to_a_bound(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site.outliers.max_ejection = 100 * SECOND;
    site_begin(&site, 3, c);
    static const uint64_t expected[] = {30, 60, 90, 100, 100};
    for (unsigned i = 0; i < 5; i++) {
        assert_about(eject_and_measure(c[i % 2], 1), expected[i]);
        site_pass(&site, expected[i] * SECOND - 1);
        assert_true(is_out(c[0], 1));
        site_pass(&site, 3);
        assert_false(is_out(c[0], 1));
        assert_false(is_out(c[1], 1));
    }
}

static void quiet_time_takes_off_the_row(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site_begin(&site, 3, c);
    for (unsigned i = 1; i <= 4; i++) {
        assert_about(eject_and_measure(c[0], 1), 30 * i);
        site_pass(&site, 30 * i * SECOND + 2);
    }
    site_pass(&site, 65 * SECOND); /* two times the base */
    assert_about(eject_and_measure(c[0], 1), 90);
    site_pass(&site, 90 * SECOND + 2 + 1000 * SECOND);
    assert_about(eject_and_measure(c[0], 1), 30);
}

static void endpoint_that_comes_back_is_used_slowly_at_first(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site.balance.slow_start = 10 * SECOND;
    site.balance.slow_start_power = 1;
    site.balance.slow_start_least = 0.1;
    site_begin(&site, 4, c);
    assert_true(is_picked(c[0], 1));
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    assert_false(is_picked(c[0], 1));
    assert_false(is_picked(c[1], 1));
    assert_int_equal(site_ejected(&site), 1);
    site_pass(&site, 31 * SECOND);
    assert_int_equal(site_ejected(&site), 0);
    assert_int_equal(atomic_load(&site.shared->ejected), 0);
    for (unsigned worker = 0; worker < 2; worker++) {
        assert_true(is_picked(c[worker], 1));
        struct candidate *back = &site_endpoint(c[worker], 1)->candidate;
        assert_int_equal(back->fresh_since, site.now);
        assert_true(candidate_freshness(back, &site.balance, site.now) < 0.2);
    }
}

/* The clock has gone on and the timer has not come yet. */
static void endpoint_may_be_ejected_again_before_its_return_was_noticed(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site_begin(&site, 3, c);
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    site.workers[1].now = site.now = 31 * SECOND;
    assert_about(eject_and_measure(c[1], 1), 60);
    site_pass(&site, SECOND);
    assert_true(is_out(c[0], 1));
    assert_int_equal(site_ejected(&site), 1);
    assert_int_equal(atomic_load(&site.shared->ejected), 1);
    site_pass(&site, 60 * SECOND);
    assert_int_equal(site_ejected(&site), 0);
    assert_int_equal(atomic_load(&site.shared->ejected), 0);
}

/* ---- how many ---- */

static void no_more_than_the_share_is_out(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site.outliers.max_ejected_percent = 10;
    site_begin(&site, 29, c); /* two of them */
    for (unsigned port = 1; port <= 29; port++)
        site_end_many(site_endpoint(c[port % 2], port), ENDPOINT_RESET, 0, 3);
    assert_int_equal(count_out(c[0]), 2);
    assert_true(is_out(c[0], 1) && is_out(c[1], 2));
    site_pass(&site, 31 * SECOND);
    site_end(site_endpoint(c[0], 29), ENDPOINT_RESET, 0); /* its row has lasted */
    assert_true(is_out(c[0], 29));
    assert_int_equal(count_out(c[0]), 1);
}

static void one_may_always_be_out(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site.outliers.max_ejected_percent = 0;
    site_begin(&site, 3, c);
    for (unsigned port = 1; port <= 3; port++)
        site_end(site_endpoint(c[0], port), ENDPOINT_RESET, 0);
    assert_int_equal(count_out(c[0]), 1);
    assert_int_equal(outliers_most(&site.outliers, 1000), 1);
    site.outliers.max_ejected_percent = 10;
    assert_int_equal(outliers_most(&site.outliers, 9), 1);
    assert_int_equal(outliers_most(&site.outliers, 100000), 10000);
}

static void unhealthy_endpoint_takes_no_place(void **state) {
    (void)state;
    static struct site_definition d;
    site.outliers.consecutive_local_failures = 1;
    site.outliers.max_ejected_percent = 0;
    site_define(&d, 3);
    d.endpoints[0].is_usable = false;
    site_complete(&site, &d, NULL);
    struct cluster_runtime *c = site_bring(&site, 0, &d);
    site_end(site_endpoint(c, 1), ENDPOINT_RESET, 0);
    assert_int_equal(site_ejected(&site), 0);
    site_end(site_endpoint(c, 2), ENDPOINT_RESET, 0);
    assert_true(is_out(c, 2));
}

static void when_all_are_out_the_panic_threshold_decides(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site_begin(&site, 4, c);
    assert_true(is_picked(c[0], 1) && is_picked(c[1], 1));
    for (unsigned port = 1; port <= 4; port++)
        site_end(site_endpoint(c[0], port), ENDPOINT_RESET, 0);
    assert_int_equal(count_out(c[0]), 4);
    for (unsigned port = 1; port <= 4; port++)
        assert_true(is_picked(c[0], port) && is_picked(c[1], port));
}

static void without_a_panic_threshold_nobody_is_picked(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site.balance.panic_threshold = 0;
    site_begin(&site, 2, c);
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    site_end(site_endpoint(c[0], 2), ENDPOINT_RESET, 0);
    assert_null(cluster_pick(c[0], &(struct pick){0}));
    assert_null(cluster_pick(c[1], &(struct pick){0}));
    site_pass(&site, 31 * SECOND);
    assert_non_null(cluster_pick(c[0], &(struct pick){0}));
    assert_non_null(cluster_pick(c[1], &(struct pick){0}));
}

/* Shares of priorities are those of the workers, too, that did not eject. */
static void other_priority_takes_over(void **state) {
    (void)state;
    static struct site_definition d;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    d = (struct site_definition){.count = 0};
    for (unsigned port = 1; port <= 4; port++)
        site_add(&d, port, port > 2);
    site_take(&site, &d, NULL, c);
    assert_false(is_picked(c[0], 3));
    assert_false(is_picked(c[1], 4));
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    site_end(site_endpoint(c[0], 2), ENDPOINT_RESET, 0);
    site_pass(&site, SECOND); /* shares may be a little late; choices are not */
    for (unsigned i = 0; i < 2; i++) {
        assert_false(is_picked(c[i], 1) || is_picked(c[i], 2));
        assert_true(is_picked(c[i], 3) && is_picked(c[i], 4));
    }
    site_pass(&site, 30 * SECOND);
    assert_true(is_picked(c[1], 1) && !is_picked(c[1], 3));
}

/* ---- changes of the cluster ---- */

static void change_leaves_others_as_they_were(void **state) {
    (void)state;
    static struct site_definition before, after;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 3;
    site_define(&before, 10);
    site_take(&site, &before, NULL, c);
    site_end_many(site_endpoint(c[0], 4), ENDPOINT_RESET, 0, 3);
    site_end_many(site_endpoint(c[0], 5), ENDPOINT_RESET, 0, 2);
    uint64_t until = atomic_load(&site_endpoint(c[0], 4)->shared->ejected_until);
    after = before;
    site_remove(&after, 2);
    site_add(&after, 11, 0);
    after.endpoints[4].weight = 7;
    site_complete(&site, &after, &before);
    for (unsigned i = 0; i < 2; i++) {
        assert_ptr_equal(site_bring(&site, i, &after), c[i]);
        assert_true(is_out(c[i], 4));
        assert_int_equal(atomic_load(&site_endpoint(c[i], 4)->shared->ejected_until), until);
    }
    site_end(site_endpoint(c[1], 5), ENDPOINT_RESET, 0); /* the third in the row */
    assert_true(is_out(c[0], 5));
    assert_int_equal(site_ejected(&site), 2);
}

static void endpoint_that_leaves_gives_its_place_back(void **state) {
    (void)state;
    static struct site_definition before, after, again;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site.outliers.max_ejected_percent = 0;
    site_define(&before, 5);
    site_take(&site, &before, NULL, c);
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    after = before;
    site_remove(&after, 1);
    site_complete(&site, &after, &before);
    site_bring(&site, 1, &after);
    assert_int_equal(site_ejected(&site), 0);
    assert_false(is_picked(c[0], 1)); /* who does not know yet still passes it over */
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    assert_int_equal(site_ejected(&site), 0);
    site_end(site_endpoint(c[1], 2), ENDPOINT_RESET, 0);
    assert_true(is_out(c[0], 2));
    site_bring(&site, 0, &after);
    assert_int_equal(site_ejected(&site), 1);
    site_define(&again, 5); /* the address comes back: another endpoint */
    site_complete(&site, &again, &after);
    for (unsigned i = 0; i < 2; i++)
        assert_false(is_out(site_bring(&site, i, &again), 1));
    site_pass(&site, 400 * SECOND);
    assert_int_equal(atomic_load(&site.shared->ejected), 0);
    assert_int_equal(site_ejected(&site), 0);
}

/* A worker that saw neither the definition without the endpoint nor the timer of the other. */
static void worker_that_skips_a_definition_sees_what_the_others_see(void **state) {
    (void)state;
    static struct site_definition first, without, last;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site_define(&first, 3);
    site_take(&site, &first, NULL, c);
    site_define(&without, 2);
    site_complete(&site, &without, &first);
    site_bring(&site, 0, &without);
    site_define(&last, 3);
    site_take(&site, &last, &without, c);
    assert_ptr_equal(site_endpoint(c[0], 3)->shared, site_endpoint(c[1], 3)->shared);
    site_end(site_endpoint(c[0], 3), ENDPOINT_RESET, 0);
    assert_true(is_out(c[1], 3));
    assert_false(is_picked(c[1], 3));
}

static void switching_it_off_brings_all_back(void **state) {
    (void)state;
    static struct site_definition on, off;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site_define(&on, 4);
    site_take(&site, &on, NULL, c);
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    site_end(site_endpoint(c[1], 2), ENDPOINT_RESET, 0);
    site.outliers.is_on = false;
    off = on;
    site_complete(&site, &off, &on);
    site_bring(&site, 0, &off);
    assert_int_equal(count_out(c[0]), 0);
    assert_int_equal(count_out(c[1]), 0);
    site_bring(&site, 1, &off);
    assert_int_equal(site_ejected(&site), 0);
    site_pass(&site, 400 * SECOND);
    assert_int_equal(atomic_load(&site.shared->ejected), 0);
}

static void dropped_cluster_leaves_nothing_behind(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site.outliers.has_intervals = true;
    site_begin(&site, 4, c);
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    site_end(site_endpoint(c[1], 2), ENDPOINT_SUCCESS, 100);
    cluster_drop(&site.workers[1], 0);
    cluster_drop(&site.workers[0], 0);
    assert_int_equal(site_ejected(&site), 0);
    site_pass(&site, 400 * SECOND);
}

/* ---- memory ---- */

static void without_memory_it_is_tried_again(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.consecutive_local_failures = 1;
    site_begin(&site, 3, c);
    hg_alloc_fail_at(0, 1);
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(count_out(c[0]), 0);
    assert_int_equal(atomic_load(&site.shared->ejected), 0);
    site_end(site_endpoint(c[0], 1), ENDPOINT_RESET, 0);
    assert_true(is_out(c[0], 1));
}

/* ---- chance ---- */

static uint64_t random_state;

static uint32_t below(uint32_t n) {
    return (uint32_t)(balance_random(&random_state) >> 33) % n;
}

static bool holds_place(const struct endpoint_shared *s) {
    uint64_t until = atomic_load(&s->ejected_until);
    return until > site.now && until % 2 == 0;
}

/* As many places are taken as are counted; no more than there are; and those who are out hold one. */
static void check_places(const struct cluster_runtime *c) {
    uint32_t places = atomic_load(&site.shared->ejected), holders = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        holders += holds_place(((struct endpoint_runtime *)c->endpoints[i])->shared);
    assert_true(places <= outliers_most(&site.outliers, c->endpoint_count));
    assert_int_equal(places, site_ejected(&site));
    assert_true(holders <= places);
}

/* Every third port fails most of the time, every seventh is slow. */
static void make_request(struct cluster_runtime *c) {
    struct endpoint_runtime *e = cluster_pick(c, &(struct pick){0});
    assert_non_null(e);
    unsigned port = address_port(&e->address);
    bool fails = below(10) < (port % 3 == 0 ? 7u : 1u);
    site_end(e, fails ? (enum endpoint_outcome)(ENDPOINT_5XX + below(5)) : ENDPOINT_SUCCESS,
             port % 7 == 0 ? 1000 : 100 + below(50));
}

static void replace_some(struct site_definition *d, unsigned *next_port) {
    for (unsigned i = 0; i < 3; i++)
        site_remove(d, 1 + below(*next_port));
    while (d->count < 20)
        site_add(d, (*next_port)++, 0);
}

static void set_all_rules(void) {
    set_rows(4);
    site.outliers.has_intervals = true;
    site.outliers.failure_percent = 40, site.outliers.latency_factor = 300, site.outliers.success_rate_factor = 1500;
    site.outliers.min_endpoints = 3, site.outliers.min_requests = 5;
    site.outliers.interval = SECOND, site.outliers.base_ejection = SECOND, site.outliers.max_ejection = 4 * SECOND;
    site.outliers.max_ejected_percent = 30;
}

/* Workers take each definition at times of their own. */
static void places_are_right_whatever_happens(void **state) {
    (void)state;
    enum { DEFINITIONS = 40, STEPS = 2000 };
    static struct site_definition definitions[DEFINITIONS];
    struct cluster_runtime *c[2] = {NULL, NULL};
    unsigned next_port = 1;
    random_state = 20;
    set_all_rules();
    for (unsigned at = 0; at < DEFINITIONS; at++) {
        struct site_definition *d = &definitions[at];
        unsigned first = below(2), later = at ? below(STEPS) : 0;
        *d = at ? definitions[at - 1] : (struct site_definition){.count = 0};
        replace_some(d, &next_port);
        site_complete(&site, d, at ? &definitions[at - 1] : NULL);
        c[first] = site_bring(&site, first, d);
        for (unsigned step = 0; step < STEPS; step++) {
            if (step == later)
                c[!first] = site_bring(&site, !first, d);
            make_request(c[below(2)]);
            if (below(5) == 0)
                site_pass(&site, below(20000));
            check_places(c[0]);
            check_places(c[1]);
        }
    }
    for (int reason = 0; reason < STATS_EJECTION_COUNT; reason++)
        assert_true(site_ejections(&site, (enum ejection_reason)reason) > 0);
    site_end_interval(&site);
    site_pass(&site, 60 * SECOND);
    assert_int_equal(atomic_load(&site.shared->ejected), 0);
    assert_int_equal(site_ejected(&site), 0);
    assert_int_equal(count_out(c[0]), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(row_that_is_long_enough_ejects_and_none_before),
        TEST(rows_are_counted_for_all_workers_together),
        TEST(success_on_any_worker_breaks_a_row),
        TEST(rows_of_answers_and_of_none_are_kept_apart),
        TEST(any_failure_is_as_bad_as_a_5xx),
        TEST(nothing_is_ejected_when_it_is_off),
        TEST(each_ejection_in_a_row_is_longer_up_to_a_bound),
        TEST(quiet_time_takes_off_the_row),
        TEST(endpoint_that_comes_back_is_used_slowly_at_first),
        TEST(endpoint_may_be_ejected_again_before_its_return_was_noticed),
        TEST(no_more_than_the_share_is_out),
        TEST(one_may_always_be_out),
        TEST(unhealthy_endpoint_takes_no_place),
        TEST(when_all_are_out_the_panic_threshold_decides),
        TEST(without_a_panic_threshold_nobody_is_picked),
        TEST(other_priority_takes_over),
        TEST(change_leaves_others_as_they_were),
        TEST(endpoint_that_leaves_gives_its_place_back),
        TEST(worker_that_skips_a_definition_sees_what_the_others_see),
        TEST(switching_it_off_brings_all_back),
        TEST(dropped_cluster_leaves_nothing_behind),
        TEST(without_memory_it_is_tried_again),
        TEST(places_are_right_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
