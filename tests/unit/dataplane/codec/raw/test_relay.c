/* A connection of a listener that relays TCP, through the whole worker: bytes as they are on both sides. */
#include "tests/unit/dataplane/codec/raw/ways.h"

#include "dataplane/codec/raw/client.h"
#include "dataplane/codec/raw/server.h"

static int set_up(void **state) {
    fill_patterns();
    rule.has_connect = rule.connect = 0;
    if (dialogue_set_up(state) < 0)
        return -1;
    definition.opening.raw = true;
    cluster.tunnel_codec = &raw_client_codec;
    return 0;
}

static int tear_down(void **state) {
    listener_cut_all(listener);
    worker_end_turn(&worker);
    assert_int_equal(stats_read(&worker.stats->tcp_connections), 0);
    assert_int_equal(stats_read(&worker.stats->connections), 0);
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
    assert_int_equal(stats_read(&worker.stats->requests_total), 0);
    assert_int_equal(stats_read(&worker.stats->tunnels_total), 0);
    return dialogue_tear_down(state);
}

static struct conn *begin(int *ret_client) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    const struct address peer = {.length = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX};
    struct conn *conn = raw_server_accept(
        listener, &(struct accepted){.transport.fd = ends[0], .peer = peer, .cap_slot = IP_CAP_UNCOUNTED});
    if (!conn)
        close(ends[0]);
    *ret_client = ends[1];
    return conn;
}

/* The client's end is returned. */
static int open_relayed(int *ret_origin) {
    int client;
    assert_non_null(begin(&client));
    *ret_origin = accept_as_origin();
    return client;
}

static void the_endpoint_is_connected_to_at_once(void **state) {
    (void)state;
    int origin, client = open_relayed(&origin);
    assert_int_equal(stats_read(&worker.stats->tcp_connections), 1);
    send_text(origin, "220 welcome");
    assert_string_equal(received(client), "220 welcome");
    send_text(client, "HELO");
    assert_string_equal(received(origin), "HELO");
    shutdown(client, SHUT_WR);
    expect_end(origin);
    expect_end(client);
    assert_int_equal(logged.count, 1);
    assert_int_equal(logged.status, 0);
    assert_int_equal(logged.abort, ABORT_NONE);
    assert_int_equal(stats_read(&worker.stats->tcp_received_bytes_total), 4);
    assert_int_equal(stats_read(&worker.stats->tcp_sent_bytes_total), 11);
}

static void a_listener_that_drains_serves_its_own_snapshot(void **state) {
    (void)state;
    struct snapshot_view next = {.references = 1, .quiet = ignore_quiet};
    int client;
    worker.view = &next;
    uint64_t before = view.references;
    assert_non_null(begin(&client));
    assert_int_equal(view.references, before + 1);
    assert_int_equal(next.references, 1);
    int origin = accept_as_origin();
    worker.view = &view;
    close(client);
    expect_end(origin);
    assert_int_equal(view.references, before);
}

static void what_comes_before_the_endpoint_is_there_waits(void **state) {
    (void)state;
    int client;
    assert_non_null(begin(&client));
    send_text(client, "early");
    shutdown(client, SHUT_WR);
    int origin = accept_as_origin();
    assert_string_equal(received(origin), "early");
    expect_end(origin);
    expect_end(client);
}

static void without_an_endpoint_the_client_is_cut(void **state) {
    (void)state;
    int client;
    close(origin_listens);
    assert_non_null(begin(&client));
    expect_end(client);
    assert_int_equal(logged.count, 1);
    assert_int_equal(logged.abort, ABORT_CONNECT_FAILED);
    assert_int_equal(stats_read(&worker.stats->tcp_unconnected_total), 1);
    assert_int_equal(stats_read(&worker.stats->responses_5xx_total), 0);
    origin_listens = socket(AF_UNIX, SOCK_STREAM, 0);
}

static void who_does_not_read_holds_up_the_other(void **state) {
    (void)state;
    int origin, client = open_relayed(&origin);
    hold_up(client, origin);
}

static void bytes_are_exact_both_ways_under_any_schedule(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        int origin, client = open_relayed(&origin);
        pass_both_ways(client, origin);
        assert_int_equal(stats_read(&worker.stats->tcp_connections), 0);
    }
}

/* What is only allowed to come takes none of the worker's budget: idle connections are many. */
static void idle_connections_hold_nothing(void **state) {
    (void)state;
    int ends[CONNECTIONS_MAX][2];
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        ends[i][0] = open_relayed(&ends[i][1]);
        send_text(ends[i][0], "a");
        assert_string_equal(received(ends[i][1]), "a");
    }
    assert_int_equal(worker.buffer_used, 0);
    assert_int_equal(stats_read(&worker.stats->buffered_bytes), 0);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
    settle();
}

static void a_short_budget_slows_down_and_stops_nobody(void **state) {
    (void)state;
    pass_all_with_little_memory(open_relayed);
}

/* Nobody reads: beyond the budget each direction holds a trickle, besides what is on its way to the kernel. */
static void the_budget_bounds_what_is_held(void **state) {
    (void)state;
    enum { LIMIT = 200000, TRICKLE = 4096 };
    int ends[CONNECTIONS_MAX][2];
    for (unsigned k = 0; k < CONNECTIONS_MAX; k++)
        ends[k][0] = open_relayed(&ends[k][1]);
    worker.buffer_limit = LIMIT;
    for (unsigned turn = 0; turn < 40; turn++)
        for (unsigned k = 0; k < CONNECTIONS_MAX; k++) {
            send_some(ends[k][0], patterns[0], 100000);
            send_some(ends[k][1], patterns[1], 100000);
            settle();
            assert_true(worker.buffer_used <= LIMIT + 2 * CONNECTIONS_MAX * (TRICKLE + UNSENT_MAX));
        }
    assert_true(worker.buffer_used >= LIMIT); /* it was reached */
    for (unsigned k = 0; k < CONNECTIONS_MAX; k++) {
        close(ends[k][0]);
        close(ends[k][1]);
    }
    settle();
    worker.buffer_limit = UINT64_MAX;
}

/* What the client still says is dropped until it ends, so that it can read in peace. */
static void an_endpoint_that_leaves_is_heard_to_its_end(void **state) {
    (void)state;
    int origin, client = open_relayed(&origin);
    send_text(origin, "last words");
    close(origin);
    send_text(client, "nobody hears this");
    assert_string_equal(received(client), "last words");
    assert_int_equal(stats_read(&worker.stats->tcp_connections), 0);
    assert_int_equal(stats_read(&worker.stats->connections), 1);
    send_text(client, "nor this");
    settle();
    assert_int_equal(stats_read(&worker.stats->connections), 1);
    close(client);
    settle();
    assert_int_equal(stats_read(&worker.stats->connections), 0);
}

static void a_client_that_does_not_leave_is_not_waited_for_for_ever(void **state) {
    (void)state;
    int origin, client = open_relayed(&origin);
    close(origin);
    send_text(client, "nobody hears this");
    settle();
    send_text(client, "nor this");
    settle();
    assert_int_equal(stats_read(&worker.stats->connections), 1);
    expire();
    settle();
    assert_int_equal(stats_read(&worker.stats->connections), 0);
    close(client);
}

static void an_idle_connection_is_cut(void **state) {
    (void)state;
    int origin, client = open_relayed(&origin);
    expire(); /* an hour is the deadline itself */
    expire();
    expect_end(client);
    expect_end(origin);
    assert_int_equal(logged.abort, ABORT_TUNNEL_IDLE);
}

static void draining_waits_and_then_cuts(void **state) {
    (void)state;
    int origin, client = open_relayed(&origin);
    for (struct listener_connection *c = listener->connections.next; c != &listener->connections; c = c->next)
        c->close(c, true);
    send_text(client, "still");
    assert_string_equal(received(origin), "still");
    listener_cut_all(listener);
    expect_end(client);
    expect_end(origin);
    assert_int_equal(logged.abort, ABORT_SHUTDOWN);
}

static void a_listener_that_has_turned_relays_nothing(void **state) {
    (void)state;
    int client;
    definition.opening.raw = false;
    assert_null(begin(&client));
    expect_end(client);
    assert_int_equal(logged.count, 0);
}

static void beyond_the_budget_nothing_is_accepted(void **state) {
    (void)state;
    int client;
    uint64_t limit = worker.buffer_limit;
    worker.buffer_limit = 0;
    assert_null(begin(&client));
    worker.buffer_limit = limit;
    expect_end(client);
    assert_int_equal(stats_read(&worker.stats->overload_total), 1);
}

/* Each allocation fails in turn: a cut, never a hang; in the end it works. */
static void connections_without_memory(void **state) {
    (void)state;
    unsigned failed = 0;
    for (long nth = 0;; nth++) {
        unsigned before = logged.count;
        struct strbuf got = {0};
        int client;
        hg_alloc_fail_at(nth, 0);
        begin(&client);
        send_some(client, "through", 7);
        settle();
        int origin = accept4(origin_listens, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        settle();
        hg_alloc_fail_at(-1, 0);
        settle();
        bool works = origin >= 0 && (receive(origin, &got), got.n == 7);
        strbuf_finish(&got);
        failed += !works;
        close(client);
        if (origin >= 0)
            close(origin);
        settle();
        assert_true(logged.count <= before + 1);
        assert_int_equal(stats_read(&worker.stats->exchanges), 0);
        if (works && nth > 40)
            break;
    }
    assert_true(failed > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_endpoint_is_connected_to_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listener_that_drains_serves_its_own_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_before_the_endpoint_is_there_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_an_endpoint_the_client_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_read_holds_up_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_are_exact_both_ways_under_any_schedule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_connections_hold_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_short_budget_slows_down_and_stops_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_budget_bounds_what_is_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_endpoint_that_leaves_is_heard_to_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_leave_is_not_waited_for_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_idle_connection_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(draining_waits_and_then_cuts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listener_that_has_turned_relays_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(beyond_the_budget_nothing_is_accepted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_without_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
