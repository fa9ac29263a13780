/* The HTTP core between two loopback legs, under random schedules, with filters that hold, grow and park. No socket, no
 * clock but the one that the test turns. */
#include "tests/unit/dataplane/http/bench.h"

enum { SCHEDULES = 400, BODY_MAX = 300000 };

/* ---- plain forwarding ---- */

static void bodies_arrive_whole(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, dice(4) ? dice(BODY_MAX) : 0);
        make_response(&b, 200, dice(4) ? dice(BODY_MAX) : 0);
        begin(&b);
        run(&b);
        assert_true(b.front.received_end);
        assert_received(&b.front, b.response_body, b.response_size);
        if (!b.front.is_stopped && b.back.received_end)
            assert_received(&b.back, b.request_body, b.request_size);
        assert_int_equal(b.logged_status, 200);
        assert_int_equal(b.finished, 1);
        assert_int_equal(b.logged, 1);
        tear_down(&b);
    }
}

static void trailers_and_interim_heads_pass(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 5);
    b.response.content_length = -1;
    begin(&b);
    struct head early;
    head_init(&early);
    early.status = 103;
    exchange_on_head(&b.back.leg, &early, false);
    send_response_head(&b);
    struct fields trailers = {0};
    fields_add(&trailers, exchange_arena(b.exchange), STR("x-sum"), STR("1"));
    b.back.trailers = &trailers;
    run(&b);
    assert_int_equal(b.front.head_count, 2);
    assert_int_equal(b.front.heads[0]->status, 103);
    assert_ptr_equal(b.front.received_trailers, &trailers);
    tear_down(&b);
}

/* ---- filters ---- */

struct hold_state {
    struct slice *held;
};

/* Keeps one slice back until the next one, or the end, comes. */
static enum pull hold_pull(struct layer *l, size_t max, struct slice **ret,
                           enum pull (*inner)(struct layer *, size_t, struct slice **)) {
    struct hold_state *h = l->state;
    struct slice *s = NULL;
    enum pull result = h->held && h->held->n > max ? PULL_ROOM : inner(l, max < 512 ? max : 512, &s);
    if (result == PULL_DATA) {
        struct slice_queue q = {0};
        slice_queue_push(&q, s);
        if (slice_queue_settle(&q, &exchange_worker(l->exchange)->pool) < 0)
            fail();
        s = slice_queue_pop(&q);
        struct slice *out = h->held;
        h->held = s;
        if (!out)
            return hold_pull(l, max, ret, inner);
        *ret = out;
        return PULL_DATA;
    }
    if ((result == PULL_END || result == PULL_ABORT) && h->held) {
        *ret = h->held;
        h->held = NULL;
        return PULL_DATA;
    }
    return result;
}

static enum pull hold_response(struct layer *l, size_t max, struct slice **ret) {
    return hold_pull(l, max, ret, layer_pull_response);
}

static unsigned entered, done;

static enum verdict count_request(struct layer *l, struct head *h) {
    (void)l;
    (void)h;
    entered++;
    return GO_ON;
}

static void count_done(struct layer *l) {
    struct hold_state *h = l->state;
    if (l->filter->ops->state_size)
        slice_free(&exchange_worker(l->exchange)->pool, h->held);
    done++;
}

static const struct filter_ops holder = {
    .name = "holder", .state_size = sizeof(struct hold_state), .hold_max = 512, .on_request = count_request,
    .pull_response = hold_response, .on_done = count_done,
};

static void stages_that_hold_complete(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        struct bench b;
        set_up(&b);
        add_filter(&b, &holder);
        add_filter(&b, &holder);
        entered = done = 0;
        make_request(&b, METHOD_GET, 0);
        make_response(&b, 200, dice(60000));
        begin(&b);
        for (unsigned idle = 0; b.front.leg.exchange && idle < 4000;)
            idle = (dice(3) ? step(&b) : loopback_pull(&b.front, 512 + dice(4000))) ? 0 : idle + 1;
        assert_true(b.front.received_end);
        assert_received(&b.front, b.response_body, b.response_size);
        assert_int_equal(entered, 2);
        assert_int_equal(done, 2);
        tear_down(&b);
    }
}

static struct layer *parked;

static enum verdict park(struct layer *l, struct head *h) {
    (void)h;
    parked = l;
    return WAIT;
}

static enum verdict park_and_resume(struct layer *l, struct head *h) {
    (void)h;
    exchange_resume(l->exchange, l, GO_ON);
    return WAIT;
}

static const struct filter_ops parker = {.name = "parker", .on_request = park, .on_response = park};
static const struct filter_ops hasty = {.name = "hasty", .on_request = park_and_resume, .on_response = park_and_resume};

static void parked_exchanges_go_on(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &parker);
    add_filter(&b, &hasty);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 100);
    begin(&b);
    assert_int_equal(b.attempts, 0);
    exchange_resume(b.exchange, parked, GO_ON);
    assert_int_equal(b.attempts, 1);
    send_response_head(&b);
    assert_int_equal(b.front.head_count, 0);
    exchange_resume(b.exchange, parked, GO_ON);
    assert_int_equal(b.front.head_count, 1);
    run(&b);
    assert_received(&b.front, b.response_body, 100);
    tear_down(&b);
}

static enum verdict refuse(struct layer *l, struct head *h) {
    (void)h;
    assert_int_equal(exchange_reply(l->exchange, 403, "text/plain", "no\n", 3), 0);
    return REPLIED;
}

static const struct filter_ops refuser = {.name = "refuser", .on_request = refuse};

static unsigned responses_seen;

static enum verdict see_response(struct layer *l, struct head *h) {
    (void)l;
    (void)h;
    responses_seen++;
    return GO_ON;
}

static const struct filter_ops watcher = {.name = "watcher", .on_response = see_response};

static void a_reply_passes_only_outer_layers(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &watcher);
    add_filter(&b, &refuser);
    add_filter(&b, &watcher);
    responses_seen = 0;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 0);
    begin(&b);
    run(&b);
    assert_int_equal(b.attempts, 0);
    assert_int_equal(responses_seen, 1);
    assert_int_equal(b.logged_status, 403);
    assert_received(&b.front, "no\n", 3);
    tear_down(&b);
}

static enum verdict replace(struct layer *l, struct head *h) {
    (void)h;
    assert_int_equal(exchange_reply(l->exchange, 451, "text/plain", "gone\n", 5), 0);
    return REPLIED;
}

static const struct filter_ops replacer = {.name = "replacer", .on_response = replace};

static void a_response_can_be_replaced(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &watcher);
    add_filter(&b, &replacer);
    add_filter(&b, &watcher);
    responses_seen = 0;
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 100);
    begin(&b);
    send_response_head(&b);
    assert_int_equal(b.back.aborted, ABORT_SHUTDOWN);
    run(&b);
    assert_int_equal(responses_seen, 2); /* the inner one saw the origin's, the outer one the new one */
    assert_int_equal(b.logged_status, 451);
    assert_received(&b.front, "gone\n", 5);
    tear_down(&b);
}

/* Takes everything in and gives a count at the end, as a compressor or a digest does. */
struct swallow_state {
    size_t swallowed;
    bool   told;
};

static enum pull swallow(struct layer *l, size_t max, struct slice **ret) {
    struct swallow_state *s = l->state;
    struct slice_pool *pool = &exchange_worker(l->exchange)->pool;
    struct slice *in;
    enum pull result = layer_pull_response(l, max, &in);
    if (result == PULL_DATA) {
        s->swallowed += in->n;
        slice_free(pool, in);
        return PULL_WAIT;
    }
    if (result != PULL_END || s->told)
        return result;
    struct slice_queue q = {0};
    char *text = arena_printf(exchange_arena(l->exchange), "%zu", s->swallowed);
    assert_int_equal(slice_queue_copy(&q, pool, text, strlen(text)), 0);
    *ret = slice_queue_pop(&q);
    s->told = true;
    return PULL_DATA;
}

static const struct filter_ops swallower = {.name = "swallower", .state_size = sizeof(struct swallow_state),
                                            .pull_response = swallow};

static void a_stage_that_takes_and_gives_nothing_gets_more(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    add_filter(&b, &swallower);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 60000);
    begin(&b);
    run(&b);
    assert_received(&b.front, "60000", 5);
    tear_down(&b);
}

/* ---- what goes wrong ---- */

static void a_reset_before_the_answer_is_retried_or_502(void **state) {
    (void)state;
    for (unsigned resets = 0; resets < 3; resets++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_GET, 0);
        make_response(&b, 200, 10);
        b.resets_left = resets;
        begin(&b);
        for (unsigned i = 0; i < 2; i++)
            if (b.back.leg.exchange)
                exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
        run(&b);
        assert_int_equal(b.logged_status, resets < 2 ? 502 : 200);
        assert_int_equal(b.attempts, resets < 2 ? resets + 1 : 3);
        tear_down(&b);
    }
}

static void a_reset_in_the_body_cuts_the_client(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 100000);
    begin(&b);
    send_response_head(&b);
    loopback_push(&b.back, 1000);
    exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
    assert_int_equal(b.front.aborted, ABORT_ORIGIN_RESET);
    assert_null(b.front.leg.exchange);
    tear_down(&b);
}

/* The origin's head and part of its body are there, and nothing of it is written to the client. */
static void reset_behind_a_head(struct bench *b, enum method method, size_t body) {
    set_up(b);
    b->front.holds_head = true;
    make_request(b, method, body);
    make_response(b, 200, 10);
    begin(b);
    while (loopback_push(&b->front, 1000) && loopback_pull(&b->back, 1000))
        ;
    send_response_head(b);
    loopback_push(&b->back, 5);
}

static void a_head_that_is_not_written_is_taken_back(void **state) {
    (void)state;
    struct bench b;
    reset_behind_a_head(&b, METHOD_GET, 0);
    exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
    assert_int_equal(b.front.aborted, ABORT_NONE);
    run(&b);
    assert_int_equal(b.front.head_count, 1);
    assert_true(b.front.received_end);
    assert_true(b.front.received.n > 10 && memcmp(b.front.received.p, "502 ", 4) == 0);
    assert_int_equal(b.logged_status, 502);
    assert_int_equal(b.logged_bytes, b.front.received.n);
    assert_int_equal(b.logged_abort, ABORT_ORIGIN_RESET);
    assert_int_equal(b.attempts, 1);
    assert_int_equal(stats_read(&b.worker.stats->responses_5xx_total), 1);
    assert_int_equal(stats_read(&b.worker.stats->responses_2xx_total), 0);
    tear_down(&b);
}

static void a_head_that_was_taken_back_allows_another_attempt(void **state) {
    (void)state;
    struct bench b;
    reset_behind_a_head(&b, METHOD_GET, 0);
    b.resets_left = 1;
    exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
    assert_int_equal(b.attempts, 2);
    b.answers = false;
    run(&b);
    assert_int_equal(b.front.head_count, 1);
    assert_int_equal(b.logged_status, 200);
    assert_received(&b.front, b.response_body, b.response_size);
    tear_down(&b);
}

/* Its body was let go when the head came. */
static void a_request_with_a_body_is_not_sent_again_behind_a_head(void **state) {
    (void)state;
    struct bench b;
    reset_behind_a_head(&b, METHOD_POST, 500);
    b.resets_left = 1;
    exchange_on_abort(&b.back.leg, ABORT_ORIGIN_RESET);
    run(&b);
    assert_int_equal(b.attempts, 1);
    assert_int_equal(b.logged_status, 502);
    tear_down(&b);
}

static void a_client_that_leaves_takes_everything_along(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, 1 + dice(50000));
        make_response(&b, 200, dice(50000));
        begin(&b);
        for (uint32_t steps = dice(40); steps > 0 && b.front.leg.exchange; steps--)
            step(&b);
        if (b.front.leg.exchange) {
            exchange_on_abort(&b.front.leg, ABORT_CLIENT_GONE);
            assert_int_equal(b.logged_abort, ABORT_CLIENT_GONE);
        }
        assert_null(b.back.leg.exchange);
        tear_down(&b);
    }
}

static void a_body_over_the_limit_is_413(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 40000);
    b.request.content_length = -1;
    make_response(&b, 200, 0);
    begin(&b);
    ((struct route *)(uintptr_t)b.exchange->route)->body_limit = 20000;
    for (int i = 0; i < 100 && b.front.head_count == 0; i++) {
        loopback_push(&b.front, 4096);
        if (b.back.leg.exchange)
            loopback_pull(&b.back, 8192);
        worker_end_turn(&b.worker);
    }
    assert_int_equal(b.front.head_count, 1);
    assert_int_equal(b.front.heads[0]->status, 413);
    run(&b);
    tear_down(&b);
}

static void an_early_response_stops_the_request(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 100000);
    make_response(&b, 400, 10);
    begin(&b);
    loopback_push(&b.front, 5000);
    send_response_head(&b);
    while (loopback_push(&b.back, 100))
        ;
    assert_true(b.front.is_stopped);
    while (loopback_pull(&b.front, 100))
        ;
    assert_true(b.front.received_end);
    tear_down(&b);
}

static void an_expected_continue_waits_for_the_origin(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 1000);
    b.request.expect_continue = true;
    make_response(&b, 200, 10);
    begin(&b);
    assert_int_equal(exchange_credit(&b.front.leg), 0);
    struct head go;
    head_init(&go);
    go.status = 100;
    exchange_on_head(&b.back.leg, &go, false);
    assert_true(exchange_credit(&b.front.leg) > 0);
    while (loopback_push(&b.front, 1000) || loopback_pull(&b.back, 1000)) /* it reads all before it answers */
        ;
    run(&b);
    assert_received(&b.back, b.request_body, 1000);
    tear_down(&b);
}

/* The second that a silent origin has ends with its 100. */
static void a_body_that_was_asked_for_may_take_its_time(void **state) {
    (void)state;
    struct bench b;
    struct head go;
    set_up(&b);
    make_request(&b, METHOD_POST, 1000);
    b.request.expect_continue = true;
    make_response(&b, 200, 10);
    begin(&b);
    head_init(&go);
    go.status = 100;
    exchange_on_head(&b.back.leg, &go, false);
    assert_true(loopback_push(&b.front, 500));
    b.worker.now += 2000000;
    wheel_advance(&b.worker.wheel, b.worker.now);
    worker_end_turn(&b.worker);
    assert_int_equal(b.front.head_count, 0);
    while (loopback_push(&b.front, 1000) || loopback_pull(&b.back, 1000))
        ;
    run(&b);
    assert_received(&b.back, b.request_body, 1000);
    assert_int_equal(b.front.heads[0]->status, 200);
    tear_down(&b);
}

static void deadlines_answer_504(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 10);
    begin(&b);
    b.worker.now += b.settings.timeouts.response_head + 1000000;
    for (int i = 0; i < 100 && b.front.head_count == 0; i++) {
        wheel_advance(&b.worker.wheel, b.worker.now);
        worker_end_turn(&b.worker);
    }
    assert_int_equal(b.front.heads[0]->status, 504);
    run(&b);
    tear_down(&b);
}

/* However long the request takes; and no second attempt has the time anew. */
static void the_time_for_the_answer_begins_with_the_end_of_the_request(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 1000);
    make_response(&b, 200, 10);
    begin(&b);
    ((struct route *)(uintptr_t)b.exchange->route)->timeouts.response = 2000000;
    b.worker.now += 20000000;
    wheel_advance(&b.worker.wheel, b.worker.now);
    worker_end_turn(&b.worker);
    assert_int_equal(b.front.head_count, 0);
    while (loopback_push(&b.front, 1000) || loopback_pull(&b.back, 1000))
        ;
    uint64_t end = b.worker.now + 2000000;
    b.worker.now += 1000000;
    exchange_await_response(b.exchange);
    assert_int_equal(b.exchange->request_deadline, end);
    b.worker.now = end + 1000000;
    for (int i = 0; i < 100 && b.front.head_count == 0; i++) {
        wheel_advance(&b.worker.wheel, b.worker.now);
        worker_end_turn(&b.worker);
    }
    assert_int_equal(b.front.heads[0]->status, 504);
    run(&b);
    tear_down(&b);
}

/* The origin reads no more of the request: its answer is awaited as if it had read all. */
static void a_stopped_request_has_a_deadline(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    make_request(&b, METHOD_POST, 50000);
    make_response(&b, 200, 10);
    begin(&b);
    loopback_push(&b.front, 5000);
    exchange_on_stop(&b.back.leg);
    assert_true(b.front.is_stopped);
    b.worker.now += b.settings.timeouts.response_head + 1000000;
    wheel_advance(&b.worker.wheel, b.worker.now);
    worker_end_turn(&b.worker);
    assert_int_equal(b.front.head_count, 1);
    assert_int_equal(b.front.heads[0]->status, 504);
    run(&b);
    tear_down(&b);
}

/* What a source still delivers in the turn in which its request was refused. */
static void a_refused_body_is_dropped(void **state) {
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        struct bench b;
        set_up(&b);
        make_request(&b, METHOD_POST, 10000);
        make_response(&b, 200, 0);
        begin(&b);
        loopback_push(&b.front, 5000);
        exchange_refuse(&b.front.leg, ABORT_CLIENT_BODY_TIMEOUT, NULL);
        exchange_on_body(&b.front.leg, slice_borrow(&b.worker.pool, (const uint8_t *)b.request_body, 5000));
        assert_int_equal(b.exchange->request.bytes, 5000);
        if (ends)
            exchange_on_end(&b.front.leg, NULL);
        run(&b);
        assert_int_equal(b.logged_status, 408);
        assert_int_equal(b.logged_abort, ABORT_CLIENT_BODY_TIMEOUT);
        tear_down(&b);
    }
}

/* ---- no memory ---- */

static void scenario(struct bench *b) {
    struct exchange *x = exchange_open(&b->worker, &b->front.leg, &b->origin);
    if (!x)
        return;
    b->exchange = x;
    exchange_on_head(&b->front.leg, &b->request, false);
    for (unsigned idle = 0; b->front.leg.exchange && idle < 300;)
        idle = step(b) ? 0 : idle + 1;
    if (b->front.leg.exchange)
        exchange_on_abort(&b->front.leg, ABORT_CLIENT_GONE);
    worker_end_turn(&b->worker);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    uint64_t needed = 1;
    for (uint64_t i = 0; i <= needed; i++) {
        struct bench b;
        seed = 12345;
        set_up(&b);
        make_request(&b, METHOD_POST, 50000);
        make_response(&b, 200, 50000);
        uint64_t before = hg_alloc_count();
        hg_alloc_fail_at(i == 0 ? -1 : (long)i - 1, 0);
        scenario(&b);
        hg_alloc_fail_at(-1, 0);
        if (i == 0)
            needed = hg_alloc_count() - before;
        tear_down(&b);
    }
    assert_true(needed > 3);
}

int main(void) {
    seed = 88172645463325252ULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_arrive_whole),
        cmocka_unit_test(trailers_and_interim_heads_pass),
        cmocka_unit_test(stages_that_hold_complete),
        cmocka_unit_test(parked_exchanges_go_on),
        cmocka_unit_test(a_reply_passes_only_outer_layers),
        cmocka_unit_test(a_response_can_be_replaced),
        cmocka_unit_test(a_stage_that_takes_and_gives_nothing_gets_more),
        cmocka_unit_test(a_reset_before_the_answer_is_retried_or_502),
        cmocka_unit_test(a_reset_in_the_body_cuts_the_client),
        cmocka_unit_test(a_head_that_is_not_written_is_taken_back),
        cmocka_unit_test(a_head_that_was_taken_back_allows_another_attempt),
        cmocka_unit_test(a_request_with_a_body_is_not_sent_again_behind_a_head),
        cmocka_unit_test(a_client_that_leaves_takes_everything_along),
        cmocka_unit_test(a_body_over_the_limit_is_413),
        cmocka_unit_test(an_early_response_stops_the_request),
        cmocka_unit_test(an_expected_continue_waits_for_the_origin),
        cmocka_unit_test(a_body_that_was_asked_for_may_take_its_time),
        cmocka_unit_test(deadlines_answer_504),
        cmocka_unit_test(the_time_for_the_answer_begins_with_the_end_of_the_request),
        cmocka_unit_test(a_stopped_request_has_a_deadline),
        cmocka_unit_test(a_refused_body_is_dropped),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
