/* Who is ejected for what it did in an interval, beside the others, and who is not. Two workers, a clock of the test's. */
#include "tests/unit/dataplane/back/outlier_fixture.h"

#include <math.h>

/* By interval, and by nothing else. */
static void judge_by(const struct outlier_rules *judged) {
    struct outlier_rules *r = &site.outliers;
    r->has_intervals = true;
    r->success_rate_factor = judged->success_rate_factor;
    r->failure_percent = judged->failure_percent;
    r->latency_factor = judged->latency_factor;
    r->min_endpoints = judged->min_endpoints;
    r->min_requests = judged->min_requests;
}

/* Two workers' views of `count` endpoints that are judged so. */
static void begin(unsigned count, const struct outlier_rules *judged, struct cluster_runtime *ret[2]) {
    judge_by(judged);
    site_begin(&site, count, ret);
}

/* Of `requests` so many fail, on both workers in turn. */
static void ask(struct cluster_runtime *c[2], unsigned port, unsigned requests, unsigned failures, uint64_t latency) {
    for (unsigned i = 0; i < requests; i++)
        site_end(site_endpoint(c[i % 2], port), i < failures ? ENDPOINT_5XX : ENDPOINT_SUCCESS, latency);
}

static void success_rates_are_judged_by_mean_and_deviation(void **state) {
    (void)state;
    static const unsigned failures[] = {0, 1, 2, 3, 5, 8, 20, 30, 2, 1};
    struct cluster_runtime *c[2];
    double sum = 0, squares = 0;
    for (unsigned i = 0; i < 10; i++) {
        double rate = 1 - failures[i] / 100.0;
        sum += rate, squares += rate * rate;
    }
    double mean = sum / 10, deviation = sqrt(squares / 10 - mean * mean);
    for (unsigned factor = 500; factor <= 2500; factor += 250) {
        unsigned expected = 0;
        begin(10, &(struct outlier_rules){.success_rate_factor = factor, .min_endpoints = 5, .min_requests = 100}, c);
        for (unsigned i = 0; i < 10; i++)
            ask(c, i + 1, 100, failures[i], 100);
        assert_int_equal(count_out(c[0]), 0);
        site_end_interval(&site);
        for (unsigned i = 0; i < 10; i++) {
            bool stands_out = 1 - failures[i] / 100.0 < mean - factor / 1000.0 * deviation;
            assert_int_equal(is_out(c[0], i + 1), stands_out);
            expected += stands_out;
        }
        assert_int_equal(count_out(c[1]), expected);
        for (unsigned i = 0; i < 2; i++)
            cluster_drop(&site.workers[i], 0);
    }
}

static void equal_rates_eject_nobody(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    begin(7, &(struct outlier_rules){.success_rate_factor = 1, .min_endpoints = 2, .min_requests = 10}, c);
    for (unsigned port = 1; port <= 7; port++)
        ask(c, port, 10, 3, 100);
    site_end_interval(&site);
    assert_int_equal(count_out(c[0]), 0);
}

static void failure_percent_has_exact_bounds(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    begin(6, &(struct outlier_rules){.failure_percent = 50, .min_endpoints = 3, .min_requests = 100}, c);
    ask(c, 1, 100, 49, 100);
    ask(c, 2, 100, 50, 100);
    ask(c, 3, 99, 99, 100); /* too few */
    site_end_interval(&site);
    assert_int_equal(count_out(c[0]), 0); /* only two had enough */
    ask(c, 1, 100, 49, 100);
    ask(c, 2, 100, 50, 100);
    ask(c, 3, 99, 99, 100);
    ask(c, 4, 1000, 0, 100);
    site_end_interval(&site);
    assert_int_equal(count_out(c[0]), 1);
    assert_true(is_out(c[1], 2));
    assert_int_equal(site_ejections(&site, EJECTION_FAILURE_PERCENT), 1);
}

static void latencies_are_judged_against_the_median(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    begin(7, &(struct outlier_rules){.latency_factor = 300, .min_endpoints = 5, .min_requests = 10}, c);
    static const uint64_t latency[] = {100, 200, 300, 300, 900, 901, 50}; /* the median is 300 */
    for (unsigned i = 0; i < 7; i++)
        ask(c, i + 1, 10, 0, latency[i]);
    site_end_interval(&site);
    assert_true(is_out(c[0], 6));
    assert_int_equal(count_out(c[1]), 1);
    assert_int_equal(site_ejections(&site, EJECTION_LATENCY), 1);
}

/* Requests without an answer have no latency: they must not make it look quick, nor count as answers. */
static void latency_is_of_answers_alone(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    begin(4, &(struct outlier_rules){.latency_factor = 200, .min_endpoints = 3, .min_requests = 10}, c);
    for (unsigned port = 1; port <= 3; port++)
        ask(c, port, 20, 0, 100);
    ask(c, 4, 9, 0, 1000);
    site_end_many(site_endpoint(c[0], 4), ENDPOINT_TIMEOUT, 0, 50);
    site_end_interval(&site);
    assert_int_equal(count_out(c[0]), 0);
    for (unsigned port = 1; port <= 3; port++)
        ask(c, port, 20, 0, 100);
    ask(c, 4, 10, 0, 1000);
    site_end_many(site_endpoint(c[0], 4), ENDPOINT_TIMEOUT, 0, 50);
    site_end_interval(&site);
    assert_true(is_out(c[0], 4));
}

static void worst_come_first_when_places_are_short(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.max_ejected_percent = 20;
    begin(10, &(struct outlier_rules){.failure_percent = 10, .min_endpoints = 1, .min_requests = 10}, c); /* two */
    for (unsigned port = 1; port <= 10; port++)
        ask(c, port, 20, port, 100);
    site_end_interval(&site);
    assert_int_equal(count_out(c[0]), 2);
    assert_true(is_out(c[0], 9) && is_out(c[0], 10));
}

/* The worst has become unhealthy meanwhile. */
static void who_is_out_by_definition_leaves_the_place_to_others(void **state) {
    (void)state;
    static struct site_definition well, unwell;
    struct cluster_runtime *c[2];
    judge_by(&(struct outlier_rules){.failure_percent = 50, .latency_factor = 200, .min_endpoints = 1, .min_requests = 10});
    site.outliers.max_ejected_percent = 0; /* one */
    site_define(&well, 3);
    site_take(&site, &well, NULL, c);
    ask(c, 1, 20, 20, 1000);
    ask(c, 2, 20, 15, 100);
    ask(c, 3, 20, 0, 100);
    unwell = well;
    unwell.endpoints[0].is_usable = false;
    site_take(&site, &unwell, &well, c);
    site_end_interval(&site);
    assert_int_equal(atomic_load(&site_endpoint(c[0], 1)->shared->ejected_until), 0);
    assert_true(is_out(c[0], 2));
    assert_int_equal(site_ejected(&site), 1);
}

static void each_interval_is_judged_once_and_begins_at_nothing(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    begin(2, &(struct outlier_rules){.failure_percent = 60, .min_endpoints = 1, .min_requests = 100}, c);
    for (int i = 0; i < 5; i++) {
        ask(c, 1, 99, 99, 100); /* never enough in one */
        site_end_interval(&site);
        assert_null(atomic_load(&site.shared->reports));
        assert_int_equal(atomic_load(&site.shared->reports_to_come), 0);
        assert_false(atomic_load(&site.shared->is_judging));
    }
    assert_int_equal(count_out(c[0]), 0);
    ask(c, 1, 100, 60, 100);
    site_end_interval(&site);
    assert_int_equal(site_ejections(&site, EJECTION_FAILURE_PERCENT), 1);
}

/* ---- reports that are late ---- */

/* The report of a worker that has very much else to do. */
static void let_one_be_late(struct cluster_runtime *c[2]) {
    begin(3, &(struct outlier_rules){.failure_percent = 50, .min_endpoints = 1, .min_requests = 100}, c);
    ask(c, 1, 100, 100, 100);
    site.now = site.outliers.interval;
    site_wake(&site, 1, site.now);
    site_set_worker_time(&site, 0, site.now);
    assert_int_equal(atomic_load(&site.shared->reports_to_come), 1);
}

static void judgement_waits_for_a_report_that_is_being_written(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    let_one_be_late(c);
    for (unsigned i = 0; i < 50; i++)
        site_set_worker_time(&site, 0, site.now += WHEEL_TICK_US);
    assert_false(is_out(c[0], 1));
    worker_empty_mailbox(&site.workers[1]);
    assert_int_equal(atomic_load(&site.shared->reports_to_come), 0);
    site_set_worker_time(&site, 0, site.now += 2 * WHEEL_TICK_US);
    assert_true(is_out(c[0], 1));
}

/* Half of the requests are too few; the other half is judged with what comes after. */
static void report_that_comes_too_late_counts_in_the_next_interval(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    let_one_be_late(c);
    for (unsigned i = 0; i < 110; i++)
        site_set_worker_time(&site, 0, site.now += WHEEL_TICK_US);
    assert_int_equal(atomic_load(&site.shared->judged_until), site.outliers.interval);
    site_set_worker_time(&site, 1, site.now);
    assert_false(is_out(c[0], 1));
    assert_non_null(atomic_load(&site.shared->reports));
    ask(c, 1, 50, 50, 100);
    site_end_interval(&site);
    assert_true(is_out(c[0], 1));
}

/* One worker goes on with its intervals. */
static void go_on_alone(struct cluster_runtime *c, unsigned ticks) {
    for (unsigned i = 0; i < ticks; i++) {
        site_end(site_endpoint(c, 2), ENDPOINT_SUCCESS, 100);
        site_set_worker_time(&site, 0, site.now += WHEEL_TICK_US);
    }
}

/* Intervals that are much shorter than the longest wait do not make it longer. */
static void the_next_intervals_do_not_make_it_wait_longer(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    site.outliers.interval = SECOND / 5;
    let_one_be_late(c);
    go_on_alone(c[0], 90);
    assert_int_equal(atomic_load(&site.shared->judged_until), 0);
    go_on_alone(c[0], 20);
    assert_true(atomic_load(&site.shared->judged_until) > 0);
}

/* Another worker judges an older interval. */
static void one_judges_at_a_time(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    begin(3, &(struct outlier_rules){.failure_percent = 50, .min_endpoints = 1, .min_requests = 10}, c);
    ask(c, 1, 20, 20, 100);
    atomic_store(&site.shared->is_judging, true);
    site_end_interval(&site);
    assert_false(is_out(c[0], 1));
    atomic_store(&site.shared->is_judging, false);
    site_pass(&site, 2 * WHEEL_TICK_US);
    assert_true(is_out(c[0], 1));
    assert_int_equal(site_ejections(&site, EJECTION_FAILURE_PERCENT), 1);
}

/* ---- memory ---- */

static void interval_without_memory_judges_nobody(void **state) {
    (void)state;
    struct cluster_runtime *c[2];
    begin(3, &(struct outlier_rules){.failure_percent = 50, .min_endpoints = 1, .min_requests = 10}, c);
    ask(c, 1, 10, 10, 100);
    hg_alloc_fail_at(0, 1);
    site_end_interval(&site);
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(count_out(c[0]), 0);
    ask(c, 1, 10, 10, 100);
    site_end_interval(&site);
    assert_true(is_out(c[0], 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(success_rates_are_judged_by_mean_and_deviation),
        TEST(equal_rates_eject_nobody),
        TEST(failure_percent_has_exact_bounds),
        TEST(latencies_are_judged_against_the_median),
        TEST(latency_is_of_answers_alone),
        TEST(worst_come_first_when_places_are_short),
        TEST(who_is_out_by_definition_leaves_the_place_to_others),
        TEST(each_interval_is_judged_once_and_begins_at_nothing),
        TEST(judgement_waits_for_a_report_that_is_being_written),
        TEST(report_that_comes_too_late_counts_in_the_next_interval),
        TEST(the_next_intervals_do_not_make_it_wait_longer),
        TEST(one_judges_at_a_time),
        TEST(interval_without_memory_judges_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
