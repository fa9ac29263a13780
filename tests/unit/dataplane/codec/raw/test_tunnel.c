/* A CONNECT tunnel through the whole worker: HTTP/1.1 towards the client, bytes as they are towards the endpoint. */
#include "tests/unit/dataplane/codec/h1/dialogue.h"

#include "dataplane/codec/raw/client.h"

#define ASK "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"

enum { LARGE = 1 << 20, SCHEDULES = 60 };

static char patterns[2][LARGE];
static uint64_t seed = 88172645463325252u;

static uint32_t dice(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

static int set_up(void **state) {
    rule.has_connect = rule.connect = 1;
    for (size_t i = 0; i < LARGE; i++) {
        patterns[0][i] = (char)(i * 7 + i / 251);
        patterns[1][i] = (char)(i * 13 + i / 241);
    }
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

static void expect_end(int fd) {
    struct strbuf rest = {0};
    settle();
    assert_true(receive(fd, &rest));
    assert_int_equal(rest.n, 0);
    close(fd);
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

/* Nobody reads: what is taken is bounded, and all of it arrives later. */
static void who_does_not_read_holds_up_the_other(void **state) {
    (void)state;
    int origin, client = open_tunnel(&origin);
    const int ends[2][2] = {{client, origin}, {origin, client}};
    for (int way = 0; way < 2; way++) {
        struct strbuf got = {0};
        size_t sent = 0, more;
        while (sent < LARGE && (more = send_some(ends[way][0], patterns[way] + sent, LARGE - sent)) > 0) {
            sent += more;
            settle();
            assert_true(worker.buffer_used <= 2 * settings.limits.buffer + 2 * UNSENT_MAX);
        }
        for (int i = 0; got.n < sent && i < 1000; i++) {
            receive(ends[way][1], &got);
            settle();
        }
        assert_int_equal(got.n, sent);
        assert_memory_equal(got.p, patterns[way], sent);
        strbuf_finish(&got);
    }
    close(client);
    close(origin);
    settle();
}

struct way {
    int           from, to;
    const char   *bytes;
    size_t        size, sent;
    struct strbuf got;
    bool          has_ended, has_seen_end;
};

static void step(struct way *w) {
    if (dice(2)) {
        size_t left = w->size - w->sent, part = dice(60000);
        w->sent += send_some(w->from, w->bytes + w->sent, left < part ? left : part);
        if (w->sent == w->size && !w->has_ended)
            w->has_ended = shutdown(w->from, SHUT_WR) == 0;
    } else if (!w->has_seen_end) {
        w->has_seen_end = receive(w->to, &w->got);
    }
    if (dice(3) == 0)
        settle();
}

static void bytes_are_exact_both_ways_under_any_schedule(void **state) {
    (void)state;
    for (int i = 0; i < SCHEDULES; i++) {
        int origin, client = open_tunnel(&origin);
        struct way ways[2] = {{.from = client, .to = origin, .bytes = patterns[0], .size = dice(LARGE)},
                              {.from = origin, .to = client, .bytes = patterns[1], .size = dice(4) ? dice(LARGE) : 0}};
        while (!ways[0].has_seen_end || !ways[1].has_seen_end)
            step(&ways[dice(2)]);
        for (int way = 0; way < 2; way++) {
            assert_int_equal(ways[way].got.n, ways[way].size);
            assert_memory_equal(ways[way].got.p ? ways[way].got.p : "", ways[way].bytes, ways[way].size);
            strbuf_finish(&ways[way].got);
        }
        close(client);
        close(origin);
        settle();
        assert_int_equal(stats_read(&worker.stats->tunnels), 0);
    }
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tunnel_opens_when_the_endpoint_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answer_is_200_without_a_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endpoint_that_is_not_there_is_503, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rule_without_leave_is_405, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_read_holds_up_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_are_exact_both_ways_under_any_schedule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endpoint_that_leaves_is_heard_to_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_tunnel_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnels_without_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
