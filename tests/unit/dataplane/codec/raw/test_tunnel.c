/* A CONNECT tunnel through the whole worker: HTTP/1.1 towards the client, bytes as they are towards the endpoint. */
#include "tests/unit/dataplane/codec/raw/ways.h"

#include "dataplane/codec/raw/client.h"

#define ASK "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"

static int set_up(void **state) {
    rule.has_connect = rule.connect = 1;
    fill_patterns();
    if (dialogue_set_up(state) < 0)
        return -1;
    cluster.tunnel_codec = &raw_client_codec;
    return 0;
}

static int tear_down(void **state) {
    listener_cut_all(listener);
    worker_end_turn(&worker);
    assert_int_equal(stats_read(&worker.stats->tunnels), 0);
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
    return dialogue_tear_down(state);
}

/* The client's end is returned. */
static int open_tunnel(int *ret_origin) {
    int client = connect_client();
    send_text(client, ASK);
    *ret_origin = accept_as_origin();
    assert_begins(received(client), "HTTP/1.1 200 OK\r\n");
    return client;
}

static void tunnel_opens_when_the_endpoint_is_there(void **state) {
    (void)state;
    int origin, client = open_tunnel(&origin);
    assert_int_equal(stats_read(&worker.stats->tunnels), 1);
    send_text(client, "question");
    assert_string_equal(received(origin), "question");
    send_text(origin, "answer");
    assert_string_equal(received(client), "answer");
    shutdown(client, SHUT_WR);
    expect_end(origin);
    expect_end(client);
    assert_int_equal(logged.count, 1);
    assert_int_equal(logged.status, 200);
    assert_int_equal(logged.abort, ABORT_NONE);
}

static void answer_is_200_without_a_length(void **state) {
    (void)state;
    int client = connect_client();
    send_text(client, ASK);
    int origin = accept_as_origin();
    const char *answer = received(client);
    assert_begins(answer, "HTTP/1.1 200 OK\r\n");
    assert_ends(answer, "\r\n\r\n");
    assert_null(strstr(answer, "content-length"));
    assert_null(strstr(answer, "transfer-encoding"));
    assert_null(strstr(answer, "connection:"));
    close(client);
    close(origin);
    settle();
}

static void endpoint_that_is_not_there_is_503(void **state) {
    (void)state;
    close(origin_listens);
    int client = connect_client();
    send_text(client, ASK "bytes for the tunnel");
    assert_begins(received(client), "HTTP/1.1 503 Service Unavailable\r\n");
    assert_int_equal(logged.abort, ABORT_CONNECT_FAILED);
    assert_int_equal(logged.count, 1); /* what came behind is not a request */
    close(client);
    origin_listens = socket(AF_UNIX, SOCK_STREAM, 0);
    settle();
}

static void rule_without_leave_is_405(void **state) {
    (void)state;
    rule.connect = 0;
    int client = connect_client();
    send_text(client, ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const char *answer = received(client);
    assert_begins(answer, "HTTP/1.1 405 Method Not Allowed\r\n");
    assert_non_null(strstr(answer, "\r\nallow: \r\n"));
    assert_non_null(strstr(answer, "\r\nconnection: close\r\n"));
    assert_int_equal(logged.count, 1);
    close(client);
    settle();
}

static void who_does_not_read_holds_up_the_other(void **state) {
    (void)state;
    int origin, client = open_tunnel(&origin);
    hold_up(client, origin);
}

static void bytes_are_exact_both_ways_under_any_schedule(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        int origin, client = open_tunnel(&origin);
        pass_both_ways(client, origin);
        assert_int_equal(stats_read(&worker.stats->tunnels), 0);
    }
}

static void a_short_budget_slows_down_and_stops_nobody(void **state) {
    (void)state;
    pass_all_with_little_memory(open_tunnel);
}

static void idle_tunnels_hold_nothing(void **state) {
    (void)state;
    int origin, client = open_tunnel(&origin);
    assert_int_equal(worker.buffer_used, 0);
    close(client);
    close(origin);
    settle();
}

static void endpoint_that_leaves_is_heard_to_its_end(void **state) {
    (void)state;
    int origin, client = open_tunnel(&origin);
    send_text(origin, "last words");
    close(origin);
    send_text(client, "nobody hears this");
    assert_string_equal(received(client), "last words");
    close(client);
    settle();
    assert_int_equal(stats_read(&worker.stats->tunnels), 0);
}

static void idle_tunnel_is_cut(void **state) {
    (void)state;
    int origin, client = open_tunnel(&origin);
    expire(); /* an hour is the deadline itself */
    expire();
    expect_end(client);
    expect_end(origin);
    assert_int_equal(logged.abort, ABORT_TUNNEL_IDLE);
}

/* Each allocation fails in turn: an error or a cut, never a hang; in the end it works. */
static void tunnels_without_memory(void **state) {
    (void)state;
    unsigned failed = 0;
    for (long nth = 0;; nth++) {
        unsigned before = logged.count;
        struct strbuf got = {0};
        int client = connect_client(), origin;
        send_text(client, ASK "through");
        hg_alloc_fail_at(nth, 0);
        settle();
        origin = accept4(origin_listens, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
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
        if (works && nth > 60)
            break;
    }
    assert_true(failed > 5);
}

static void an_open_tunnel_without_memory_is_cut(void **state) {
    (void)state;
    int origin, client = open_tunnel(&origin);
    send_text(client, "lost");
    hg_alloc_fail_at(0, 1);
    settle();
    hg_alloc_fail_at(-1, 0);
    expect_end(client);
    expect_end(origin);
    assert_int_equal(logged.abort, ABORT_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tunnel_opens_when_the_endpoint_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answer_is_200_without_a_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endpoint_that_is_not_there_is_503, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rule_without_leave_is_405, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_read_holds_up_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_are_exact_both_ways_under_any_schedule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_short_budget_slows_down_and_stops_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_tunnels_hold_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endpoint_that_leaves_is_heard_to_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_tunnel_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnels_without_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_open_tunnel_without_memory_is_cut, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
