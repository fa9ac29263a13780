/* Bounds of a cluster: what goes beyond is refused or waits, and whatever happens nothing stays counted. */
#include "tests/unit/dataplane/back/proxied.h"

enum { PATIENCE = 500 * MS };

static int set_up(void **state) {
    return set_up_with(state, 2);
}

static void bound(struct breakers b) {
    b.min_retries = 100;
    b.retry_tokens = 1000;
    origins.cluster.breakers = b;
    origins.cluster.serial = ++next_serial;
    complete(&origins);
}

static void drain_all(bool drains) {
    for (unsigned i = 0; i < 2; i++)
        origins.endpoints[i].is_draining = drains, origins.endpoints[i].is_usable = !drains;
}

/* ---- overflow */

static void assert_overflow(unsigned i, const char *word) {
    end_turn();
    assert_int_equal(asked[i].status, 503);
    assert_int_equal(asked[i].abort, ABORT_NO_ROOM);
    assert_string_equal(asked[i].detail, word);
}

static void requests_beyond_the_bound_are_refused(void **state) {
    (void)state;
    bound((struct breakers){.requests = 2});
    for (unsigned i = 0; i < 3; i++)
        ask(i);
    assert_overflow(2, "upstream_rq_overflow");
    connect_ok(&connections[0]);
    answer(&connections[0], 200);
    assert_int_equal(asked[0].status, 200);
    ask(2);
    end_turn();
    assert_non_null(asked[2].exchange);
    assert_int_equal(stats_read(&worker.stats->requests_overflow_total), 1);
}

static void requests_beyond_those_that_may_wait_are_refused(void **state) {
    (void)state;
    bound((struct breakers){.pending = 1});
    ask(0);
    ask(1);
    assert_overflow(1, "upstream_rq_pending_overflow");
    connect_ok(&connections[0]);
    ask(1);
    assert_int_equal(connection_count, 2);
    assert_int_equal(stats_read(&worker.stats->pending_overflow_total), 1);
}

static void connections_beyond_the_bound_are_not_made(void **state) {
    (void)state;
    bound((struct breakers){.connections = 2});
    for (unsigned i = 0; i < 3; i++)
        ask(i);
    assert_overflow(2, "upstream_cx_overflow");
    assert_int_equal(connection_count, 2);
    assert_int_equal(stats_read(&worker.stats->connections_overflow_total), 1);
}

/* The other endpoint has no connection, and the one that is there is not in use. */
static void an_idle_connection_makes_room(void **state) {
    (void)state;
    bound((struct breakers){.connections = 1});
    ask(0);
    connect_ok(newest(1));
    answer(newest(1), 200);
    ask(1);
    assert_false(connections[0].is_open && connection_count > 1);
    struct fake_connection *c = newest(connection_count);
    if (!c->link.is_connected)
        connect_ok(c);
    answer(c, 200);
    assert_int_equal(asked[1].status, 200);
}

static void another_endpoint_is_asked_when_one_is_full(void **state) {
    (void)state;
    bound((struct breakers){.endpoint_requests = 2});
    for (unsigned i = 0; i < 5; i++)
        ask(i);
    unsigned at[3] = {0};
    for (unsigned i = 0; i < connection_count; i++)
        at[port_of(connections[i].link.endpoint)]++;
    assert_true(at[1] == 2 && at[2] == 2);
    assert_overflow(4, "endpoint_rq_overflow");
}

/* Those in reserve are not asked instead; but for a retry they are. */
static void who_is_full_is_no_reason_to_leave_the_priority(void **state) {
    (void)state;
    origins.endpoints[1].priority = 1;
    bound((struct breakers){.endpoint_requests = 1});
    ask(0);
    ask(1);
    assert_overflow(1, "endpoint_rq_overflow");
    connect_ok(newest(1));
    answer(newest(1), 503);
    assert_int_equal(port_of(newest(2)->link.endpoint), 2);
}

/* Each connection carries one at a time, which nobody knew before. Two wait for the first, one for the second. */
static void ask_for_more_than_they_carry(void) {
    fake_capacity = 10;
    for (unsigned i = 0; i < 3; i++)
        ask(i);
    fake_capacity = 1;
    assert_int_equal(connection_count, 2);
    connections[0].link.capacity = connections[1].link.capacity = 1;
}

static void another_endpoint_is_asked_when_a_connection_carries_less_than_expected(void **state) {
    (void)state;
    bound((struct breakers){.endpoint_connections = 1});
    ask_for_more_than_they_carry();
    connect_ok(&connections[1]);
    answer(&connections[1], 200);
    assert_answered(1, 200, 1);
    connect_ok(&connections[0]);
    answer(&connections[1], 200);
    assert_answered(2, 200, 1);
}

/* It is no attempt, and so no reason to leave the priority. */
static void who_finds_no_room_on_a_connection_waits_for_it(void **state) {
    (void)state;
    origins.endpoints[1].priority = 1;
    bound((struct breakers){.endpoint_connections = 1, .pending = 8, .pending_timeout = PATIENCE});
    fake_capacity = 10;
    ask(0);
    ask(1);
    fake_capacity = 1;
    newest(1)->link.capacity = 1;
    connect_ok(newest(1));
    assert_int_equal(stats_read(&worker.stats->requests_pending), 1);
    answer(newest(1), 200);
    assert_answered(0, 200, 1);
    end_turn();
    answer(newest(1), 200);
    assert_answered(1, 200, 1);
}

static void an_endpoint_has_no_more_connections_than_it_may(void **state) {
    (void)state;
    bound((struct breakers){.endpoint_connections = 1});
    for (unsigned i = 0; i < 3; i++)
        ask(i);
    assert_int_equal(connection_count, 2);
    assert_int_not_equal(port_of(connections[0].link.endpoint), port_of(connections[1].link.endpoint));
    assert_overflow(2, "endpoint_cx_overflow");
    assert_int_equal(stats_read(&worker.stats->endpoint_overflow_total), 1);
}

/* ---- the queue */

/* Connections that are being made are there; one is in use, for this request, which is answered. */
static void serve(unsigned i) {
    struct fake_connection *c = NULL;
    end_turn();
    for (unsigned k = 0; k < connection_count; k++) {
        if (connections[k].is_open && !connections[k].link.is_connected)
            connect_ok(&connections[k]);
        if (is_busy(&connections[k]))
            c = &connections[k];
    }
    assert_non_null(c);
    assert_ptr_equal(c->stream.leg.exchange, asked[i].exchange);
    answer(c, 200);
    assert_int_equal(asked[i].status, 200);
}

static void who_waits_is_served_in_order(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 8, .pending_timeout = PATIENCE});
    for (unsigned i = 0; i < 4; i++)
        ask(i);
    assert_int_equal(stats_read(&worker.stats->requests_pending), 3);
    for (unsigned i = 0; i < 4; i++)
        serve(i);
}

/* It has the room that they wait for. */
static void a_retry_does_not_wait_for_those_behind_it(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 8, .pending_timeout = PATIENCE});
    ask(0);
    ask(1);
    connect_ok(newest(1));
    answer(newest(1), 503);
    serve(0);
    assert_answered(0, 200, 2);
    serve(1);
    assert_answered(1, 200, 1);
}

/* A retry that finds no endpoint waits behind one that has not begun, and leaves it the room. */
static void who_waits_takes_no_room(void **state) {
    (void)state;
    const struct breakers one = {.requests = 1, .pending = 8, .pending_timeout = PATIENCE};
    uint64_t before = cluster_counts_requests(&cluster_shared.counts);
    bound(one);
    ask(0);
    ask(1);
    connect_ok(newest(1));
    drain_all(true);
    bound(one);
    bring(&origins);
    answer(newest(1), 503);
    assert_int_equal(stats_read(&worker.stats->requests_pending), 2);
    assert_int_equal(atomic_load(&cluster_shared.requests), 0);
    drain_all(false);
    bound(one);
    bring(&origins);
    pass(2 * WHEEL_TICK_US);
    serve(1);
    serve(0);
    assert_int_equal(asked[0].attempts, 2);
    assert_int_equal(cluster_counts_requests(&cluster_shared.counts) - before, 2); /* each is let in once */
}

/* The room is given back by another worker. */
static void those_that_join_do_not_hold_the_queue_up(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 8, .pending_timeout = PATIENCE});
    breakers_take(&cluster_shared.requests, 1);
    ask(0);
    breakers_give(&cluster_shared.requests);
    for (unsigned i = 1; i < 8; i++) {
        pass(WHEEL_TICK_US / 2);
        ask(i);
    }
    assert_int_equal(connection_count, 1);
    serve(0);
}

static void nobody_waits_for_ever(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 8, .pending_timeout = PATIENCE});
    ask(0);
    ask(1);
    pass(PATIENCE - 2 * WHEEL_TICK_US);
    assert_non_null(asked[1].exchange);
    pass(4 * WHEEL_TICK_US);
    assert_overflow(1, "upstream_rq_pending_timeout");
    assert_int_equal(stats_read(&worker.stats->pending_timeouts_total), 1);
}

static void the_queue_is_bounded(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 3, .pending_timeout = PATIENCE});
    for (unsigned i = 0; i < 4; i++) /* the first waits for its connection */
        ask(i);
    assert_overflow(3, "upstream_rq_pending_overflow");
}

static void who_leaves_waits_no_more(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 8, .pending_timeout = PATIENCE});
    for (unsigned i = 0; i < 3; i++)
        ask(i);
    exchange_on_abort(&asked[1].front.leg, ABORT_CLIENT_GONE);
    connect_ok(newest(1));
    answer(newest(1), 200);
    assert_int_equal(stats_read(&worker.stats->requests_pending), 0);
    assert_non_null(asked[2].exchange);
    assert_int_equal(asked[2].exchange->attempts, 1);
}

static void an_endpoint_that_comes_is_waited_for(void **state) {
    (void)state;
    drain_all(true);
    bound((struct breakers){.pending = 8, .pending_timeout = PATIENCE});
    ask(0);
    ask(1);
    assert_int_equal(connection_count, 0);
    pass(PATIENCE / 2);
    origins.endpoints[1].is_draining = false, origins.endpoints[1].is_usable = true;
    bound((struct breakers){.pending = 8, .pending_timeout = PATIENCE});
    bring(&origins);
    pass(2 * WHEEL_TICK_US);
    assert_int_equal(connection_count, 2);
    assert_int_equal(port_of(connections[0].link.endpoint), 2);
}

static void without_an_endpoint_the_wait_ends(void **state) {
    (void)state;
    drain_all(true);
    bound((struct breakers){.pending = 8, .pending_timeout = PATIENCE});
    ask(0);
    pass(PATIENCE + 2 * WHEEL_TICK_US);
    assert_int_equal(asked[0].abort, ABORT_NO_ENDPOINT);
    assert_int_equal(asked[0].status, 503);
}

static void the_cluster_may_go_while_somebody_waits(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 8, .pending_timeout = PATIENCE});
    ask(0);
    ask(1);
    cluster_drop(&worker, origins.cluster.slot);
    end_turn();
    connect_ok(newest(1));
    if (is_busy(newest(1)))
        answer(newest(1), 200);
    pass(PATIENCE + 2 * WHEEL_TICK_US);
}

/* The definition of an older snapshot alone has the cluster: nobody will tell it of endpoints any more. */
static void nobody_waits_for_a_cluster_that_has_gone(void **state) {
    static struct snapshot_view newer;
    (void)state;
    newer = (struct snapshot_view){.references = 1, .quiet = ignore_quiet};
    drain_all(true);
    bound((struct breakers){.pending = 8, .pending_timeout = PATIENCE});
    ask(0);
    end_turn();
    assert_non_null(asked[0].exchange);
    worker.view = &newer;
    cluster_drop(&worker, origins.cluster.slot);
    end_turn();
    assert_int_equal(asked[0].status, 503);
    assert_int_equal(asked[0].abort, ABORT_NO_ENDPOINT);
    worker.view = &view;
}

static void open_upgrade(unsigned i) {
    open_question(&asked[i], METHOD_GET);
    asked[i].question.upgrade = STR("websocket");
    exchange_on_head(&asked[i].front.leg, &asked[i].question, true);
}

/* It becomes a tunnel, which ends before the time is over for which it would have waited. */
static void who_waited_and_became_a_tunnel_waits_no_more(void **state) {
    (void)state;
    bound((struct breakers){.requests = 1, .pending = 8, .pending_timeout = PATIENCE});
    ask(0);
    open_upgrade(1);
    connect_ok(newest(1));
    answer(newest(1), 200);
    struct fake_connection *c = newest(2);
    connect_ok(c);
    struct head *head = &answers[answer_count++ % ANSWERS_MOST];
    head_init(head);
    head->status = 101;
    head->upgrade = STR("websocket");
    exchange_on_head(&c->stream.leg, head, false);
    end_turn();
    assert_int_equal(asked[1].front.head_count, 1);
    reset(c);
    assert_null(asked[1].exchange); /* at the end of the test the wheel is empty */
}

/* Its endpoints leave by and by: those that have not are gone all the same, with what to connect by. */
static void a_large_cluster_may_go_while_somebody_waits(void **state) {
    enum { LARGE = 1100 };
    static struct endpoint_definition large[LARGE];
    static char texts[LARGE][32];
    (void)state;
    for (unsigned i = 0; i < LARGE; i++) {
        snprintf(texts[i], sizeof texts[i], "127.0.0.1:%u", i + 1);
        large[i] = (struct endpoint_definition){.text = str_of(texts[i]), .weight = i == 0, .is_usable = i == 0};
        assert_int_equal(address_parse(large[i].text, &large[i].address), 0);
    }
    origins.cluster.members = make_members(&origins.rules, large, LARGE, NULL);
    fake_capacity = 10;
    ask(0);
    ask(1);
    struct fake_connection *first = newest(1);
    const struct endpoint_runtime *e = first->link.endpoint;
    cluster_drop(&worker, origins.cluster.slot);
    assert_false(e->is_retired);
    first->link.capacity = 1; /* less than was expected */
    connect_ok(first);
    const struct endpoint_runtime *other = newest(2)->link.endpoint;
    assert_false(other->cluster->is_dropped);
    answer(first, 200);
    connect_ok(newest(2));
    answer(newest(2), 200);
    assert_answered(0, 200, 1);
    assert_answered(1, 200, 2);
    fake_capacity = 1;
}

/* ---- nothing stays counted */

static uint64_t seed = 4711;

static unsigned dice(unsigned below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static void move_connection(struct fake_connection *c) {
    static const unsigned statuses[] = {200, 200, 200, 503, 500};
    if (!c->link.is_connected) {
        if (dice(4))
            connect_ok(c);
        else
            connect_fails(c);
    } else if (is_busy(c)) {
        if (dice(5))
            answer(c, statuses[dice(5)]);
        else
            reset(c);
    } else if (dice(8) == 0) {
        report_closed(&c->link);
    }
}

static void random_event(void) {
    unsigned i = dice(16);
    switch (dice(6)) {
    case 0:
    case 1:
        if (!asked[i].exchange && !asked[i].front.leg.exchange)
            ask(i);
        break;
    case 2:
        if (asked[i].front.leg.exchange && dice(3) == 0)
            exchange_on_abort(&asked[i].front.leg, ABORT_CLIENT_GONE);
        break;
    case 3: pass(dice(8) * 10 * MS); break;
    default:
        for (unsigned k = 0; k < connection_count; k++)
            if (connections[k].is_open && dice(4) == 0)
                move_connection(&connections[k]);
    }
    end_turn();
}

static void finish_all(void) {
    for (unsigned i = 0; i < ASKED_MOST; i++)
        if (asked[i].front.leg.exchange)
            exchange_on_abort(&asked[i].front.leg, ABORT_CLIENT_GONE);
    end_turn();
}

static void assert_bounds(const struct breakers *b) {
    assert_in_range(atomic_load(&cluster_shared.requests), 0, b->requests);
    assert_in_range(atomic_load(&cluster_shared.connections), 0, b->connections);
    assert_in_range(atomic_load(&cluster_shared.pending), 0, b->pending);
    for (uint32_t i = 0; i < origins.count; i++) {
        assert_in_range(atomic_load(&origins.cluster.members->endpoints[i].shared->requests), 0, b->endpoint_requests);
        assert_in_range(atomic_load(&origins.cluster.members->endpoints[i].shared->connections), 0, b->endpoint_connections);
    }
}

static void counts_come_back_whatever_happens(void **state) {
    (void)state;
    retry_rule.hedge_after = 30 * MS;
    retry_rule.backoff = 20 * MS;
    retry_rule.per_try_timeout = 200 * MS;
    use_rule();
    for (int round = 0; round < 20; round++) {
        bound((struct breakers){.requests = 1 + dice(10), .connections = 1 + dice(6), .pending = 1 + dice(8),
                                .endpoint_requests = 1 + dice(4), .endpoint_connections = 1 + dice(4),
                                .pending_timeout = dice(2) * 60 * MS});
        struct breakers b = origins.cluster.breakers;
        for (int i = 0; i < 200 && connection_count < CONNECTIONS_MOST - 32; i++) {
            random_event();
            assert_bounds(&b);
        }
        finish_all();
        assert_nothing_counted();
        for (unsigned k = 0; k < connection_count; k++)
            if (connections[k].is_open)
                report_closed(&connections[k].link);
        assert_int_equal(atomic_load(&cluster_shared.connections), 0);
    }
    assert_true(stats_read(&worker.stats->hedges_total) > 0);
    assert_true(stats_read(&worker.stats->retries_total) > 0);
    assert_true(stats_read(&worker.stats->pending_timeouts_total) > 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, proxied_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(requests_beyond_the_bound_are_refused),
        TEST(requests_beyond_those_that_may_wait_are_refused),
        TEST(connections_beyond_the_bound_are_not_made),
        TEST(an_idle_connection_makes_room),
        TEST(another_endpoint_is_asked_when_one_is_full),
        TEST(who_is_full_is_no_reason_to_leave_the_priority),
        TEST(another_endpoint_is_asked_when_a_connection_carries_less_than_expected),
        TEST(who_finds_no_room_on_a_connection_waits_for_it),
        TEST(an_endpoint_has_no_more_connections_than_it_may),
        TEST(who_waits_is_served_in_order),
        TEST(a_retry_does_not_wait_for_those_behind_it),
        TEST(who_waits_takes_no_room),
        TEST(those_that_join_do_not_hold_the_queue_up),
        TEST(nobody_waits_for_ever),
        TEST(the_queue_is_bounded),
        TEST(who_leaves_waits_no_more),
        TEST(an_endpoint_that_comes_is_waited_for),
        TEST(without_an_endpoint_the_wait_ends),
        TEST(the_cluster_may_go_while_somebody_waits),
        TEST(nobody_waits_for_a_cluster_that_has_gone),
        TEST(who_waited_and_became_a_tunnel_waits_no_more),
        TEST(a_large_cluster_may_go_while_somebody_waits),
        TEST(counts_come_back_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
