/* When a request is sent again, and when not: backoff, Retry-After, and the budget of the cluster. */
#include "tests/unit/dataplane/back/proxied.h"

#include <time.h>

#include "dataplane/back/retry_policy.h"
#include "dataplane/http/date.h"

static int set_up(void **state) {
    return set_up_with(state, 2);
}

/* ---- backoff */

static void backoff_is_between_nothing_and_its_bound(void **state) {
    (void)state;
    const struct route_retry rule = {.backoff = 25 * MS, .max_backoff = 250 * MS};
    const uint64_t bounds[] = {25 * MS, 75 * MS, 175 * MS, 250 * MS, 250 * MS};
    for (uint32_t n = 1; n <= 5; n++) {
        uint64_t least = UINT64_MAX, most = 0;
        for (int i = 0; i < 2000; i++) {
            uint64_t t = retry_backoff(&rule, n, &worker);
            least = t < least ? t : least;
            most = t > most ? t : most;
        }
        assert_in_range(most, bounds[n - 1] * 95 / 100, bounds[n - 1]);
        assert_in_range(least, 0, bounds[n - 1] * 5 / 100);
    }
    assert_in_range(retry_backoff(&rule, 100, &worker), 0, 250 * MS);
    const struct route_retry none = {.max_backoff = SECOND};
    assert_int_equal(retry_backoff(&none, 3, &worker), 0);
}

static void a_retry_waits_for_its_backoff(void **state) {
    (void)state;
    retry_rule.backoff = retry_rule.max_backoff = SECOND;
    use_rule();
    worker.random = 0x9e3779b97f4a7c15; /* not an early moment */
    ask(0);
    connect_ok(newest(1));
    answer(newest(1), 503);
    assert_int_equal(connection_count, 1);
    assert_int_equal(asked[0].exchange->attempts, 1);
    assert_int_equal(atomic_load(&cluster_shared.retries), 1);
    pass(SECOND + 2 * WHEEL_TICK_US);
    connect_ok(newest(2));
    answer(newest(2), 200);
    assert_answered(0, 200, 2);
    assert_int_equal(stats_read(&worker.stats->retries_status_total), 1);
    assert_int_equal(stats_read(&worker.stats->retry_successes_total), 1);
}

static void a_client_may_leave_during_the_backoff(void **state) {
    (void)state;
    retry_rule.backoff = retry_rule.max_backoff = SECOND;
    use_rule();
    ask(0);
    connect_fails(newest(1));
    exchange_on_abort(&asked[0].front.leg, ABORT_CLIENT_GONE);
    end_turn();
    assert_nothing_counted();
    pass(2 * SECOND);
    assert_int_equal(connection_count, 1);
}

/* Out of descriptors or memory: no other endpoint helps, and none is to blame. */
static void what_is_missing_here_is_no_failure_of_the_endpoint(void **state) {
    (void)state;
    static const int errors[] = {ENOMEM, ENOBUFS, EMFILE, ENFILE};
    origins.cluster.outliers = (struct outlier_rules){.is_on = true, .consecutive_local_failures = 1, .interval = SECOND,
                                                      .base_ejection = SECOND, .max_ejection = SECOND,
                                                      .max_ejected_percent = 100};
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++) {
        connect_error = errors[i];
        ask(i);
        assert_answered(i, 503, 1);
        assert_int_equal(asked[i].abort, ABORT_MEMORY);
    }
    assert_int_equal(stats_read(&worker.stats->endpoints_ejected), 0);
    connect_error = ENETUNREACH;
    ask(0);
    assert_answered(0, 503, 4);
    assert_int_equal(stats_read(&worker.stats->endpoints_ejected), 2);
    pass(2 * SECOND);
}

/* Whichever time is over first: an endpoint that has the whole request and says nothing has failed. */
static void an_endpoint_that_is_silent_until_the_request_is_over_has_failed(void **state) {
    (void)state;
    origins.cluster.outliers = (struct outlier_rules){.is_on = true, .consecutive_local_failures = 1, .interval = SECOND,
                                                      .base_ejection = SECOND, .max_ejection = SECOND,
                                                      .max_ejected_percent = 100};
    for (unsigned i = 0; i < 2; i++) {
        ask(i);
        if (i == 1)
            connect_ok(newest(2)); /* the first one has no connection yet */
        struct exchange *x = asked[i].exchange;
        x->request_deadline = worker.now + SECOND;
        worker_hasten_timer(&worker, &x->timer, x->request_deadline);
        exchange_set_phase_deadline(x, worker.now + 50 * (uint64_t)SECOND);
        pass(SECOND + 2 * WHEEL_TICK_US);
        assert_answered(i, 504, 1);
        assert_int_equal(asked[i].abort, ABORT_REQUEST_TIMEOUT);
        assert_int_equal(stats_read(&worker.stats->endpoints_ejected), i);
    }
    pass(2 * SECOND);
}

static void other_endpoints_are_tried_first(void **state) {
    (void)state;
    unsigned ports = 0;
    ask(0);
    for (unsigned i = 1; i <= 4; i++) {
        ports |= 1u << port_of(newest(i)->link.endpoint);
        connect_fails(newest(i));
    }
    assert_int_equal(ports, 0x1e); /* 1 to 4 */
    assert_answered(0, 503, 4);
    assert_int_equal(stats_read(&worker.stats->retries_connect_total), 3);
    assert_int_equal(stats_read(&worker.stats->retry_successes_total), 0);
}

static int set_up_four(void **state) {
    return set_up_with(state, 4);
}

/* ---- Retry-After */

static void dates_are_read_in_all_three_forms(void **state) {
    (void)state;
    int64_t at;
    assert_true(date_parse(STR("Sun, 06 Nov 1994 08:49:37 GMT"), &at));
    assert_int_equal(at, 784111777);
    assert_true(date_parse(STR("Sunday, 06-Nov-94 08:49:37 GMT"), &at));
    assert_int_equal(at, 784111777);
    assert_true(date_parse(STR("Sun Nov  6 08:49:37 1994"), &at));
    assert_int_equal(at, 784111777);
    const struct str bad[] = {STR(""), STR("Sun, 06 Nov 1994 08:49:37"), STR("Sun, 06 Nop 1994 08:49:37 GMT"),
                              STR("Sun, 06 Nov 1994 25:49:37 GMT"), STR("Sun, 06 Nov 1994 08:49:37 GMT and more"),
                              STR("06 Nov 1994 08:49:37 GMT"), STR("tomorrow")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(date_parse(bad[i], &at));
}

static bool read_retry_after(unsigned status, const char *value, uint64_t *ret) {
    struct field field = {.name = "retry-after", .name_len = 11, .value = value, .value_len = (uint32_t)strlen(value),
                          .id = FIELD_RETRY_AFTER};
    struct head head;
    head_init(&head);
    head.status = (uint16_t)status;
    head.fields = (struct fields){&field, 1, 1};
    return retry_after(&head, ret);
}

static void retry_after_is_read(void **state) {
    (void)state;
    uint64_t wait = 7;
    assert_true(read_retry_after(503, "3", &wait));
    assert_int_equal(wait, 3 * SECOND);
    assert_true(read_retry_after(429, "18446744073709551615", &wait));
    assert_int_equal(wait, UINT64_MAX);
    assert_true(read_retry_after(503, "Sun, 06 Nov 1994 08:49:37 GMT", &wait));
    assert_int_equal(wait, 0);
    char text[40];
    time_t then = time(NULL) + 100;
    struct tm t;
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &t));
    assert_true(read_retry_after(503, text, &wait));
    assert_in_range(wait, 80 * (uint64_t)SECOND, 100 * (uint64_t)SECOND);
    assert_false(read_retry_after(503, "soon", &wait));
    assert_false(read_retry_after(502, "3", &wait));
}

static void the_origin_says_when(void **state) {
    (void)state;
    retry_rule.max_retry_after = 3 * SECOND;
    use_rule();
    ask(0);
    connect_ok(newest(1));
    answer_with(newest(1), 503, FIELD_RETRY_AFTER, "2");
    pass(2 * SECOND - 2 * WHEEL_TICK_US);
    assert_int_equal(connection_count, 1);
    pass(4 * WHEEL_TICK_US);
    connect_ok(newest(2));
    answer_with(newest(2), 503, FIELD_RETRY_AFTER, "4"); /* too long: the client is told */
    assert_answered(0, 503, 2);
    assert_int_equal(asked[0].abort, ABORT_NONE);
}

static void retry_after_may_be_ignored(void **state) {
    (void)state;
    retry_rule.max_retry_after = 0;
    use_rule();
    ask(0);
    connect_ok(newest(1));
    answer_with(newest(1), 503, FIELD_RETRY_AFTER, "1000");
    connect_ok(newest(2));
    answer(newest(2), 200);
    assert_answered(0, 200, 2);
}

/* Waiting beyond the request's own time would turn the origin's answer into a 504. */
static void no_retry_waits_beyond_the_end_of_the_request(void **state) {
    (void)state;
    retry_rule.max_retry_after = 1000 * (uint64_t)SECOND;
    use_rule();
    ask(0);
    asked[0].exchange->request_deadline = worker.now + 5 * SECOND;
    connect_ok(newest(1));
    answer_with(newest(1), 503, FIELD_RETRY_AFTER, "6");
    assert_answered(0, 503, 1);
}

/* ---- the budget */

static void the_budget_bounds_what_is_under_way(void **state) {
    (void)state;
    struct cluster_shared s = {.requests = 100};
    const struct breakers b = {.retry_percent = 20, .min_retries = 3, .retry_tokens = 1000};
    for (int i = 0; i < 20; i++)
        assert_true(retry_budget_take(&s, &b, SECOND));
    assert_false(retry_budget_take(&s, &b, SECOND));
    assert_int_equal(atomic_load(&s.retries), 20);
    atomic_store(&s.requests, 1);
    atomic_store(&s.retries, 0);
    for (int i = 0; i < 3; i++)
        assert_true(retry_budget_take(&s, &b, SECOND));
    assert_false(retry_budget_take(&s, &b, SECOND));
    const struct breakers none = {.retry_tokens = 1000};
    atomic_store(&s.retries, 0);
    assert_false(retry_budget_take(&s, &none, SECOND));
}

/* Answers all that is under way with 503 until nothing is; how many answers that took. */
static unsigned refuse_all(unsigned *most_at_once) {
    unsigned seen = 0;
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        for (unsigned i = 0; i < connection_count; i++) {
            struct fake_connection *c = &connections[i];
            if (c->is_open && !c->link.is_connected)
                connect_ok(c);
            if (!is_busy(c))
                continue;
            goes_on = true;
            seen++;
            answer(c, 503);
            unsigned retries = atomic_load(&cluster_shared.retries);
            *most_at_once = retries > *most_at_once ? retries : *most_at_once;
        }
    }
    return seen;
}

/* Every answer is 503, and ten retries are allowed: of 50 requests at once ten percent are sent again, not all. */
static void there_is_no_retry_storm(void **state) {
    (void)state;
    enum { REQUESTS = 50, PERCENT = 10, LEAST = 2, RETRIES = 10 };
    retry_rule.retries = RETRIES;
    use_rule();
    origins.cluster.breakers = (struct breakers){.retry_percent = PERCENT, .min_retries = LEAST, .retry_tokens = 1000};
    for (unsigned i = 0; i < REQUESTS; i++)
        ask(i);
    unsigned most_at_once = 0, seen = refuse_all(&most_at_once);
    for (unsigned i = 0; i < REQUESTS; i++)
        assert_int_equal(asked[i].status, 503);
    assert_true(most_at_once <= REQUESTS * PERCENT / 100);
    assert_in_range(seen, REQUESTS + 1, REQUESTS + REQUESTS * PERCENT / 100 + LEAST * RETRIES);
    assert_true(stats_read(&worker.stats->retries_over_budget_total) >= REQUESTS / 2);
}

/* Whatever may be under way: when everything fails, the attempts are exactly as many as tokens allow. */
static void there_are_no_more_retries_than_tokens(void **state) {
    (void)state;
    enum { ROUNDS = 20, AT_ONCE = 50, REQUESTS = ROUNDS * AT_ONCE, PERCENT = 20, TOKENS = 10 };
    retry_rule.retries = 10;
    use_rule();
    origins.cluster.breakers = (struct breakers){
        .retry_percent = 100, .min_retries = 1000, .retry_tokens = TOKENS, .retry_tokens_percent = PERCENT};
    unsigned seen = 0, most_at_once = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        ask(i % AT_ONCE);
        if ((i + 1) % AT_ONCE == 0)
            seen += refuse_all(&most_at_once);
    }
    assert_int_equal(seen, REQUESTS + REQUESTS * PERCENT / 100 + TOKENS - AT_ONCE * PERCENT / 100);
}

static void what_was_not_processed_is_outside_the_budget(void **state) {
    (void)state;
    origins.cluster.breakers = (struct breakers){0};
    ask(0);
    connect_ok(newest(1));
    give_up(newest(1), ABORT_ORIGIN_REFUSED);
    connect_ok(newest(2));
    reset(newest(2)); /* which the budget does not allow to be sent again */
    assert_answered(0, 502, 2);
    assert_int_equal(stats_read(&worker.stats->retries_unprocessed_total), 1);
    assert_int_equal(stats_read(&worker.stats->retries_over_budget_total), 1);
}

/* Once. An origin that refuses everything is not asked four times as much. */
static void who_refuses_again_is_asked_within_the_budget(void **state) {
    (void)state;
    origins.cluster.breakers = (struct breakers){.min_retries = 1, .retry_tokens = 1};
    for (unsigned i = 0; i < 2; i++) {
        unsigned attempts = i ? 2 : 3;
        ask(i);
        for (unsigned k = 0; k < attempts; k++) {
            for (unsigned n = 0; n < connection_count; n++)
                if (connections[n].is_open && !connections[n].link.is_connected)
                    connect_ok(&connections[n]);
            for (unsigned n = 0; n < connection_count; n++)
                if (is_busy(&connections[n])) {
                    give_up(&connections[n], ABORT_ORIGIN_REFUSED);
                    break;
                }
        }
        assert_answered(i, 503, attempts);
    }
}

/* A stream that is reset on a kept connection was not lost with it, and may have been looked at. */
static void a_reset_stream_is_no_dead_connection(void **state) {
    (void)state;
    retry_rule.n_on = 0;
    use_rule();
    ask(0);
    connect_ok(newest(1));
    answer(newest(1), 200);
    for (unsigned i = 0; i < 2; i++) {
        ask(0);
        if (i == 0)
            connect_ok(newest(2));
        else
            assert_true(is_busy(&connections[0]));
        if (i == 0)
            answer(newest(2), 200);
    }
    give_up(&connections[0], ABORT_ORIGIN_STREAM_RESET);
    assert_answered(0, 502, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, proxied_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(backoff_is_between_nothing_and_its_bound),
        TEST(a_retry_waits_for_its_backoff),
        TEST(a_client_may_leave_during_the_backoff),
        TEST(what_is_missing_here_is_no_failure_of_the_endpoint),
        TEST(an_endpoint_that_is_silent_until_the_request_is_over_has_failed),
        cmocka_unit_test_setup_teardown(other_endpoints_are_tried_first, set_up_four, proxied_tear_down),
        TEST(dates_are_read_in_all_three_forms),
        TEST(retry_after_is_read),
        TEST(the_origin_says_when),
        TEST(retry_after_may_be_ignored),
        TEST(no_retry_waits_beyond_the_end_of_the_request),
        TEST(the_budget_bounds_what_is_under_way),
        TEST(there_is_no_retry_storm),
        TEST(there_are_no_more_retries_than_tokens),
        TEST(what_was_not_processed_is_outside_the_budget),
        TEST(who_refuses_again_is_asked_within_the_budget),
        TEST(a_reset_stream_is_no_dead_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
