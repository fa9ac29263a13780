/* A second attempt beside the first: who wins, what becomes of the other, and what is never hedged. */
#include "tests/unit/dataplane/back/proxied.h"

enum { AFTER = 100 * MS };

static int set_up(void **state) {
    if (set_up_with(state, 2) < 0)
        return -1;
    retry_rule.hedge_after = AFTER;
    use_rule();
    return 0;
}

/* The first attempt is with its origin, and the second one connects. */
static void ask_and_wait(void) {
    ask(0);
    connect_ok(newest(1));
    pass(AFTER + 2 * WHEEL_TICK_US);
    assert_int_equal(connection_count, 2);
    assert_int_not_equal(port_of(newest(1 + 1)->link.endpoint), port_of(connections[0].link.endpoint));
    assert_int_equal(atomic_load(&cluster_shared.retries), 1);
}

static void the_hedge_wins(void **state) {
    (void)state;
    ask_and_wait();
    connect_ok(newest(2));
    answer(newest(2), 200);
    assert_false(connections[0].is_open);
    assert_answered(0, 200, 2);
    assert_int_equal(stats_read(&worker.stats->hedges_total), 1);
    assert_int_equal(stats_read(&worker.stats->hedges_won_total), 1);
}

static void the_first_wins(void **state) {
    (void)state;
    ask_and_wait();
    connect_ok(newest(2));
    answer(&connections[0], 200);
    assert_false(connections[1].is_open);
    assert_answered(0, 200, 2);
    assert_int_equal(stats_read(&worker.stats->hedges_won_total), 0);
}

static void the_first_wins_while_the_hedge_connects(void **state) {
    (void)state;
    ask_and_wait();
    answer(&connections[0], 200);
    connect_ok(newest(2));
    assert_true(connections[1].is_resting);
    assert_answered(0, 200, 2);
}

static void a_quick_answer_is_not_hedged(void **state) {
    (void)state;
    ask(0);
    connect_ok(newest(1));
    pass(AFTER / 2);
    answer(newest(1), 200);
    pass(AFTER * 2);
    assert_int_equal(connection_count, 1);
    assert_answered(0, 200, 1);
}

/* The hedge stands in for it, and no retry is used up. */
static void the_hedge_goes_on_when_the_first_fails(void **state) {
    (void)state;
    for (int is_connected = 0; is_connected < 2; is_connected++) {
        unsigned before = connection_count;
        ask(0);
        connect_ok(newest(before + 1));
        pass(AFTER + 2 * WHEEL_TICK_US);
        if (is_connected)
            connect_ok(newest(before + 2));
        reset(&connections[before]);
        assert_int_equal(connection_count, before + 2);
        if (!is_connected)
            connect_ok(newest(before + 2));
        answer(newest(before + 2), 200);
        assert_answered(0, 200, 2);
        pool_close_idle(connections[before + 1].link.endpoint);
    }
    assert_int_equal(stats_read(&worker.stats->retries_total), 0);
}

/* Both connect, and there may be no third connection. The first one will take no request. */
static void ask_while_both_connect(void) {
    origins.cluster.breakers.connections = 2;
    origins.cluster.serial = ++next_serial;
    complete(&origins);
    fake_capacity = 10;
    ask(0);
    pass(AFTER + 2 * WHEEL_TICK_US);
    assert_int_equal(connection_count, 2);
    connections[0].link.capacity = 0;
    fake_capacity = 1;
}

static void assert_hedge_goes_on(void) {
    connect_ok(&connections[0]);
    connect_ok(newest(2));
    answer(newest(2), 200);
    assert_answered(0, 200, 2);
}

static void the_hedge_goes_on_when_the_first_finds_no_room(void **state) {
    (void)state;
    ask_while_both_connect();
    assert_hedge_goes_on();
}

static void the_hedge_goes_on_when_the_endpoint_of_the_first_leaves(void **state) {
    (void)state;
    ask_while_both_connect();
    origins.endpoints[0] = origins.endpoints[port_of(newest(2)->link.endpoint) - 1];
    origins.count = 1;
    origins.cluster.serial = ++next_serial;
    bring(&origins);
    assert_hedge_goes_on();
}

static void the_first_goes_on_when_the_hedge_fails(void **state) {
    (void)state;
    ask_and_wait();
    connect_fails(newest(2));
    assert_int_equal(atomic_load(&cluster_shared.retries), 0);
    answer(&connections[0], 200);
    assert_answered(0, 200, 2);
}

static void an_answer_to_be_retried_does_not_win(void **state) {
    (void)state;
    ask_and_wait();
    connect_ok(newest(2));
    answer(newest(2), 503);
    answer(&connections[0], 200);
    assert_answered(0, 200, 2);
}

static void an_answer_to_be_retried_leaves_the_hedge(void **state) {
    (void)state;
    ask_and_wait();
    connect_ok(newest(2));
    answer(&connections[0], 503);
    assert_false(connections[0].is_open);
    answer(newest(2), 200);
    assert_answered(0, 200, 2);
    assert_int_equal(stats_read(&worker.stats->retries_total), 0);
}

static void both_fail_and_a_retry_follows(void **state) {
    (void)state;
    ask_and_wait();
    connect_ok(newest(2));
    reset(newest(2));
    reset(&connections[0]);
    connect_ok(newest(3));
    answer(newest(3), 200);
    assert_answered(0, 200, 3);
    assert_int_equal(stats_read(&worker.stats->hedges_total), 1);
}

static void the_client_leaves(void **state) {
    (void)state;
    ask_and_wait();
    connect_ok(newest(2));
    exchange_on_abort(&asked[0].front.leg, ABORT_CLIENT_GONE);
    end_turn();
    assert_false(connections[0].is_open || connections[1].is_open);
}

static void an_interim_response_of_the_hedge_decides_nothing(void **state) {
    (void)state;
    ask_and_wait();
    connect_ok(newest(2));
    struct head early;
    head_init(&early);
    early.status = 103;
    exchange_on_head(&newest(2)->stream.leg, &early, false);
    assert_true(is_busy(&connections[0]) && is_busy(&connections[1]));
    answer(&connections[0], 200);
    assert_answered(0, 200, 2);
    assert_int_equal(asked[0].front.head_count, 1);
}

static void what_may_not_be_repeated_is_not_hedged(void **state) {
    (void)state;
    ask_as(&asked[0], METHOD_POST);
    connect_ok(newest(1));
    pass(AFTER * 3);
    assert_int_equal(connection_count, 1);
    answer(newest(1), 200);
    assert_answered(0, 200, 1);
}

static void hedges_are_within_the_budget(void **state) {
    (void)state;
    origins.cluster.breakers = (struct breakers){.min_retries = 1, .retry_tokens = 100};
    ask(0);
    ask(1);
    connect_ok(&connections[0]);
    connect_ok(&connections[1]);
    pass(AFTER + 2 * WHEEL_TICK_US);
    assert_int_equal(connection_count, 3);
    assert_int_equal(stats_read(&worker.stats->retries_over_budget_total), 1);
    answer(&connections[0], 200);
    answer(&connections[1], 200);
}

static int set_up_single(void **state) {
    if (set_up_with(state, 1) < 0)
        return -1;
    retry_rule.hedge_after = AFTER;
    use_rule();
    return 0;
}

static void the_same_endpoint_is_not_asked_twice(void **state) {
    (void)state;
    ask(0);
    connect_ok(newest(1));
    pass(AFTER * 3);
    assert_int_equal(connection_count, 1);
    answer(newest(1), 200);
    assert_answered(0, 200, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, proxied_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_hedge_wins),
        TEST(the_first_wins),
        TEST(the_first_wins_while_the_hedge_connects),
        TEST(a_quick_answer_is_not_hedged),
        TEST(the_hedge_goes_on_when_the_first_fails),
        TEST(the_hedge_goes_on_when_the_first_finds_no_room),
        TEST(the_hedge_goes_on_when_the_endpoint_of_the_first_leaves),
        TEST(the_first_goes_on_when_the_hedge_fails),
        TEST(an_answer_to_be_retried_does_not_win),
        TEST(an_answer_to_be_retried_leaves_the_hedge),
        TEST(both_fail_and_a_retry_follows),
        TEST(the_client_leaves),
        TEST(an_interim_response_of_the_hedge_decides_nothing),
        TEST(what_may_not_be_repeated_is_not_hedged),
        TEST(hedges_are_within_the_budget),
        cmocka_unit_test_setup_teardown(the_same_endpoint_is_not_asked_twice, set_up_single, proxied_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
