/* A request's body that was sent in part, or whole, and goes to another origin. */
#include "tests/unit/dataplane/http/bench.h"

enum { SCHEDULES = 200 };

static void begin_kept(struct bench *b, size_t body, uint64_t keep) {
    set_up(b);
    make_request(b, METHOD_POST, body);
    make_response(b, 200, 10);
    b->resets_left = 1;
    begin(b);
    exchange_keep_body(b->exchange, keep);
}

/* The origin takes some of the body. Bytes stay borrowed until the turn ends. */
static void send_some(struct bench *b, size_t n) {
    size_t goal = b->back.received.n + n;
    while (b->back.received.n < goal) {
        loopback_push(&b->front, goal - b->back.received.n);
        assert_true(loopback_pull(&b->back, goal - b->back.received.n));
    }
}

static void a_body_that_was_sent_in_part_goes_whole_to_the_next(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        struct bench b;
        begin_kept(&b, 1 + dice(50000), 1 << 20);
        for (uint32_t steps = dice(30); steps > 0 && b.back.leg.exchange; steps--) {
            loopback_push(&b.front, 1 + dice(5000));
            loopback_pull(&b.back, 1 + dice(5000));
            if (dice(3) == 0)
                worker_end_turn(&b.worker);
        }
        exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
        assert_int_equal(b.attempts, 2);
        send_some(&b, b.request_size);
        run(&b);
        assert_received(&b.back, b.request_body, b.request_size);
        assert_int_equal(b.logged_status, 200);
        tear_down(&b);
    }
}

static void more_than_is_kept_is_not_sent_again(void **state) {
    (void)state;
    for (unsigned sent = 1000; sent <= 1001; sent++) {
        struct bench b;
        begin_kept(&b, 5000, 1000);
        send_some(&b, sent);
        exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
        assert_int_equal(b.attempts, sent == 1000 ? 2 : 1);
        run(&b);
        assert_int_equal(b.logged_status, sent == 1000 ? 200 : 502);
        tear_down(&b);
    }
}

static void nothing_is_kept_when_nobody_asks(void **state) {
    (void)state;
    struct bench b;
    begin_kept(&b, 5000, 0);
    send_some(&b, 1);
    assert_int_equal(b.exchange->kept.bytes, 0);
    assert_false(exchange_is_replayable(b.exchange));
    exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
    run(&b);
    assert_int_equal(b.logged_status, 502);
    tear_down(&b);
}

static void what_is_kept_is_charged_and_given_up_first(void **state) {
    (void)state;
    struct bench b;
    begin_kept(&b, 5000, 1 << 20);
    uint64_t before = b.worker.buffer_used;
    send_some(&b, 1000);
    assert_int_equal(b.exchange->kept.bytes, 1000);
    assert_true(b.worker.buffer_used >= before);
    b.worker.buffer_limit = 0;
    send_some(&b, 1000);
    assert_int_equal(b.exchange->kept.bytes, 0);
    assert_false(exchange_is_replayable(b.exchange));
    send_some(&b, 3000);
    run(&b);
    assert_received(&b.back, b.request_body, b.request_size);
    tear_down(&b);
}

static void an_answer_ends_it(void **state) {
    (void)state;
    struct bench b;
    begin_kept(&b, 5000, 1 << 20);
    send_some(&b, 1000);
    send_response_head(&b);
    assert_int_equal(b.exchange->kept.bytes, 0);
    assert_false(exchange_is_replayable(b.exchange));
    run(&b);
    tear_down(&b);
}

static enum pull pass_on(struct layer *l, size_t max, struct slice **ret) {
    return layer_pull_request(l, max, ret);
}

static void a_stage_sees_a_body_once(void **state) {
    (void)state;
    static const struct filter_ops stage = {.name = "stage", .pull_request = pass_on};
    struct bench b;
    set_up(&b);
    add_filter(&b, &stage);
    make_request(&b, METHOD_POST, 5000);
    make_response(&b, 200, 10);
    begin(&b);
    exchange_keep_body(b.exchange, 1 << 20);
    assert_true(exchange_is_replayable(b.exchange));
    send_some(&b, 1000);
    assert_false(exchange_is_replayable(b.exchange));
    run(&b);
    tear_down(&b);
}

int main(void) {
    seed = 88172645463325252ULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_was_sent_in_part_goes_whole_to_the_next),
        cmocka_unit_test(more_than_is_kept_is_not_sent_again),
        cmocka_unit_test(nothing_is_kept_when_nobody_asks),
        cmocka_unit_test(what_is_kept_is_charged_and_given_up_first),
        cmocka_unit_test(an_answer_ends_it),
        cmocka_unit_test(a_stage_sees_a_body_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
