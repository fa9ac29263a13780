/* Attempts of one exchange: nothing of one may reach into the next. */
#include "tests/unit/dataplane/back/proxied.h"

#include "dataplane/net/conn.h"

enum { PER_TRY = 1 * SECOND, RETRIES = 3 };

static int set_up(void **state) {
    if (set_up_with(state, 2) < 0)
        return -1;
    retry_rule.per_try_timeout = PER_TRY;
    use_rule();
    return 0;
}

/* The first attempt has been refused shortly before its deadline, and the second one connects. */
static struct fake_connection *refuse_late(void) {
    ask(0);
    struct fake_connection *first = newest(1);
    connect_ok(first);
    pass(PER_TRY * 9 / 10);
    answer(first, 503);
    return newest(2);
}

/* ---- tests ---- */

static void the_deadline_of_an_attempt_ends_with_it(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY / 2); /* the deadline of the first one is over */
    assert_int_equal(asked[0].exchange->attempts, 2);
    assert_int_equal(connection_count, 2);
    connect_ok(second);
    answer(second, 200);
    assert_answered(0, 200, 2);
}

static void connecting_counts_for_the_deadline_of_an_attempt(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY + SECOND / 10);
    struct fake_connection *third = newest(3);
    assert_true(is_open(&second->link));
    connect_ok(third);
    answer(third, 200);
    assert_answered(0, 200, 3);
}

/* It goes to the pool: the exchange speaks to another one already. */
static void a_connection_that_comes_after_its_attempt_is_kept_for_others(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY + SECOND / 10);
    struct fake_connection *third = newest(3);
    connect_ok(third);
    connect_ok(second);
    assert_null(second->stream.leg.exchange);
    assert_true(second->is_resting);
    assert_ptr_equal(third->stream.leg.exchange, asked[0].exchange);
    answer(third, 200);
    assert_answered(0, 200, 3);
}

static void a_connect_that_fails_after_its_attempt_is_no_failure(void **state) {
    (void)state;
    struct fake_connection *second = refuse_late();
    pass(PER_TRY + SECOND / 10);
    struct fake_connection *third = newest(3);
    connect_fails(second);
    assert_int_equal(connection_count, 3);
    connect_ok(third);
    answer(third, 200);
    assert_answered(0, 200, 3);
}

/* The last attempt connects, and its deadline has passed: the client has an answer coming that is not the origin's. */
static struct fake_connection *run_out_of_attempts(void) {
    ask(0);
    asked[0].reads_nothing = true;
    for (unsigned i = 0; i <= RETRIES; i++)
        pass(PER_TRY + SECOND / 10);
    assert_non_null(asked[0].exchange);
    assert_int_equal(asked[0].exchange->abort, ABORT_ORIGIN_TIMEOUT);
    return newest(RETRIES + 1);
}

static void a_connection_for_an_exchange_that_was_answered_is_kept_for_others(void **state) {
    (void)state;
    struct fake_connection *last = run_out_of_attempts();
    connect_ok(last);
    assert_null(last->stream.leg.exchange);
    assert_true(last->is_resting);
    asked[0].reads_nothing = false;
    assert_answered(0, 504, RETRIES + 1);
}

static void a_connect_that_fails_for_an_exchange_that_was_answered_is_no_failure(void **state) {
    (void)state;
    struct fake_connection *last = run_out_of_attempts();
    connect_fails(last);
    asked[0].reads_nothing = false;
    assert_answered(0, 504, RETRIES + 1);
    assert_int_equal(asked[0].front.aborted, ABORT_NONE);
}

/* ---- refused by the origin (RFC 9113 section 8.7) */

static void a_refused_request_goes_elsewhere_whatever_its_method(void **state) {
    (void)state;
    ask(0);
    asked[0].question.method = METHOD_POST;
    struct fake_connection *first = newest(1);
    connect_ok(first);
    give_up(first, ABORT_ORIGIN_REFUSED);
    struct fake_connection *second = newest(2);
    assert_int_not_equal(port_of(first->link.endpoint), port_of(second->link.endpoint));
    connect_ok(second);
    answer(second, 200);
    assert_answered(0, 200, 2);
}

static void refusals_do_not_use_up_retries_and_have_an_end(void **state) {
    (void)state;
    enum { ATTEMPTS = 4 };
    ask(0);
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        struct fake_connection *c = NULL;
        for (unsigned j = 0; j < connection_count; j++) {
            if (is_open(&connections[j].link) && !connections[j].link.is_connected)
                connect_ok(&connections[j]);
            if (connections[j].stream.leg.exchange)
                c = &connections[j];
        }
        assert_non_null(c);
        assert_int_equal(asked[0].exchange->attempts, i + 1);
        give_up(c, ABORT_ORIGIN_REFUSED);
    }
    assert_answered(0, 503, ATTEMPTS);
    assert_int_equal(asked[0].abort, ABORT_ORIGIN_REFUSED);
    assert_int_equal(stats_read(&worker.stats->retries_total), ATTEMPTS - 1);
}

/* ---- the PROXY header */

static bool fixed_ends(const struct leg *leg, struct conn_ends *ret) {
    (void)leg;
    *ret = (struct conn_ends){0};
    assert_int_equal(address_parse(STR("192.0.2.1:4096"), &ret->remote), 0);
    assert_int_equal(address_parse(STR("198.51.100.2:443"), &ret->local), 0);
    return true;
}

/* The client of a connection with such ends. `forwarded_for`: what another proxy says of it; NULL: nothing. */
static void ask_from_there(const char *forwarded_for) {
    static struct leg_ops ops;
    struct asked *a = &asked[0];
    origins.cluster.options.proxy_version = 1;
    open_question(a, METHOD_GET);
    ops = *a->front.leg.ops;
    ops.get_ends = fixed_ends;
    a->front.leg.ops = &ops;
    if (forwarded_for)
        assert_int_equal(fields_add_id(&a->question.fields, exchange_arena(a->exchange), FIELD_X_FORWARDED_FOR,
                                       str_of(forwarded_for)), 0);
    send_question(a);
}

static void check_header(const char *expected) {
    struct fake_connection *c = newest(connection_count);
    assert_string_equal(c->preamble, expected);
    connect_ok(c);
    answer(c, 200);
    assert_answered(0, 200, 1);
    assert_false(c->is_open);
}

static void each_exchange_has_a_connection_that_names_its_client(void **state) {
    (void)state;
    for (unsigned i = 1; i <= 2; i++) {
        ask_from_there(NULL);
        assert_int_equal(connection_count, i);
        check_header("PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n");
    }
}

static void client_that_another_proxy_names_has_no_port(void **state) {
    (void)state;
    settings.trusted_hops = 1;
    ask_from_there("2001:db8::7");
    check_header("PROXY TCP6 2001:db8::7 ::ffff:198.51.100.2 0 443\r\n");
}

static void client_that_is_not_known_is_not_named(void **state) {
    (void)state;
    origins.cluster.options.proxy_version = 1;
    ask(0);
    check_header("PROXY UNKNOWN\r\n");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, proxied_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_deadline_of_an_attempt_ends_with_it),
        TEST(connecting_counts_for_the_deadline_of_an_attempt),
        TEST(a_connection_that_comes_after_its_attempt_is_kept_for_others),
        TEST(a_connect_that_fails_after_its_attempt_is_no_failure),
        TEST(a_connection_for_an_exchange_that_was_answered_is_kept_for_others),
        TEST(a_connect_that_fails_for_an_exchange_that_was_answered_is_no_failure),
        TEST(a_refused_request_goes_elsewhere_whatever_its_method),
        TEST(refusals_do_not_use_up_retries_and_have_an_end),
        TEST(each_exchange_has_a_connection_that_names_its_client),
        TEST(client_that_another_proxy_names_has_no_port),
        TEST(client_that_is_not_known_is_not_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
