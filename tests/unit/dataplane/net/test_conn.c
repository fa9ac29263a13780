/* A connection of a worker against a peer that the test plays, over real sockets. */
#include "tests/unit/dataplane/net/loop.h"

#include <poll.h>

#include "dataplane/net/conn.h"

enum { LARGE = 1 << 20 };

/* A codec that keeps what it reads and writes what it is given. */
struct fake {
    struct conn conn; /* first */
    size_t limit;     /* what read_limit says */
    char received[4096];
    size_t received_size;
    const char *to_send;
    size_t to_send_size;
    const char *close_in; /* the operation that closes the connection */
    unsigned connected, eofs, errors, write_errors, written, destroyed, largest_read;
    unsigned expired[DEADLINE_COUNT];
    int error;
};

static struct fake fake;
static int peer; /* the other end */
static char large[LARGE];

static struct fake *fake_of(struct conn *c) {
    return (struct fake *)c;
}

static void close_if(struct fake *f, const char *operation) {
    if (f->close_in && strcmp(f->close_in, operation) == 0)
        conn_close(&f->conn);
}

static size_t read_limit(struct conn *c) {
    return fake_of(c)->limit;
}

static void on_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    struct fake *f = fake_of(c);
    assert_true(n <= f->limit && f->received_size + n <= sizeof f->received);
    memcpy(f->received + f->received_size, bytes, n);
    f->received_size += n;
    f->largest_read = n > f->largest_read ? (unsigned)n : f->largest_read;
    close_if(f, "on_bytes");
}

static void on_eof(struct conn *c) {
    fake_of(c)->eofs++;
    close_if(fake_of(c), "on_eof");
}

static void on_error(struct conn *c, int error) {
    fake_of(c)->errors++;
    fake_of(c)->error = error;
    conn_close(c);
}

static void on_write_error(struct conn *c, int error) {
    fake_of(c)->write_errors++;
    fake_of(c)->error = error;
    close_if(fake_of(c), "on_write_error");
}

static void on_connected(struct conn *c) {
    fake_of(c)->connected++;
    close_if(fake_of(c), "on_connected");
}

static bool produce(struct conn *c, struct gather *g) {
    struct fake *f = fake_of(c);
    while (f->to_send_size && !gather_is_full(g)) {
        size_t n = f->to_send_size < 30000 ? f->to_send_size : 30000;
        struct slice *s = slice_borrow(&c->worker->pool, (const uint8_t *)f->to_send, n);
        if (!s)
            break;
        assert_true(gather_slice(g, s));
        f->to_send += n;
        f->to_send_size -= n;
    }
    close_if(f, "produce");
    return f->to_send_size > 0;
}

static void on_written(struct conn *c) {
    fake_of(c)->written++;
    close_if(fake_of(c), "on_written");
}

static void on_deadline(struct conn *c, enum conn_deadline which) {
    fake_of(c)->expired[which]++;
    close_if(fake_of(c), "on_deadline");
}

static void destroy(struct conn *c) {
    fake_of(c)->destroyed++;
}

static const struct conn_ops ops = {
    .read_limit = read_limit,
    .on_bytes = on_bytes,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_write_error = on_write_error,
    .on_connected = on_connected,
    .produce = produce,
    .on_written = on_written,
    .on_deadline = on_deadline,
    .destroy = destroy,
    .is_client = true,
};

static int set_up(void **state) {
    int ends[2], small = 8192;
    if (worker_set_up(state) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    srand(1);
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)rand();
    peer = ends[1];
    fake = (struct fake){.limit = READ_MAX};
    conn_init(&fake.conn, &worker, (struct transport){.fd = ends[0]}, &ops);
    return 0;
}

static int tear_down(void **state) {
    conn_close(&fake.conn);
    worker_end_turn(&worker);
    close(peer);
    assert_int_equal(fake.destroyed, 1);
    assert_int_equal(worker.wheel.count, 0);
    return worker_tear_down(state);
}

/* Queues bytes; they go out at the end of the turn. */
static void send_bytes(const char *bytes, size_t n) {
    fake.to_send = bytes;
    fake.to_send_size = n;
    conn_mark_dirty(&fake.conn);
}

/* Reads at most `max` of what lies in the peer's socket; 0: nothing. */
static size_t peer_read(char *to, size_t max) {
    ssize_t n = recv(peer, to, max, 0);
    assert_true(n >= 0 || errno == EAGAIN);
    return n < 0 ? 0 : (size_t)n;
}

/* ---- reading ---- */

static void bytes_arrive_once_reading_is_wanted(void **state) {
    (void)state;
    assert_int_equal(send(peer, "hello", 5, 0), 5);
    turn();
    assert_int_equal(fake.received_size, 0);
    conn_want_read(&fake.conn);
    TURN_UNTIL(fake.received_size == 5);
    assert_memory_equal(fake.received, "hello", 5);
    assert_int_equal(stats_read(&worker.stats->client_received_bytes_total), 5);
    conn_pause_read(&fake.conn);
    assert_int_equal(send(peer, "more", 4, 0), 4);
    turn();
    assert_int_equal(fake.received_size, 5);
}

static void never_more_is_read_than_the_codec_allows(void **state) {
    (void)state;
    fake.limit = 10;
    assert_int_equal(send(peer, large, 95, 0), 95);
    conn_want_read(&fake.conn);
    TURN_UNTIL(fake.received_size == 95);
    assert_int_equal(fake.largest_read, 10);
    fake.limit = 0;
    assert_int_equal(send(peer, "x", 1, 0), 1);
    turn();
    assert_int_equal(fake.received_size, 95);
    fake.limit = 1;
    turn(); /* zero has stopped it */
    assert_int_equal(fake.received_size, 95);
    conn_want_read(&fake.conn);
    TURN_UNTIL(fake.received_size == 96);
}

static void end_of_input_comes_once_and_writing_goes_on(void **state) {
    (void)state;
    char text[8];
    conn_want_read(&fake.conn);
    shutdown(peer, SHUT_WR);
    TURN_UNTIL(fake.eofs);
    assert_true(fake.conn.is_eof);
    conn_want_read(&fake.conn);
    send_bytes("answer", 6);
    TURN_UNTIL(fake.written);
    turn();
    assert_int_equal(fake.eofs, 1);
    assert_int_equal(peer_read(text, sizeof text), 6);
}

static void reset_by_the_peer_is_an_error(void **state) {
    (void)state;
    conn_want_read(&fake.conn);
    send_bytes("unread", 6);
    turn();
    close(peer);
    peer = -1;
    TURN_UNTIL(fake.errors);
    assert_int_equal(fake.error, ECONNRESET);
}

/* ---- writing ---- */

/* The peer takes what there is; the loop writes more when it can. Returns how much came in all. */
static size_t drain(char *to, size_t total) {
    size_t got = 0;
    while (got < total) {
        worker_end_turn(&worker);
        size_t n = peer_read(to + got, total - got);
        got += n;
        if (n == 0)
            ev_run(worker.loop, EVRUN_ONCE);
    }
    return got;
}

static void large_output_survives_a_slow_peer(void **state) {
    (void)state;
    char *got = test_malloc(LARGE);
    send_bytes(large, LARGE);
    turn();
    assert_true(conn_has_unsent(&fake.conn));
    assert_true(fake.conn.io.events & EV_WRITE);
    assert_int_equal(fake.written, 0);
    assert_int_equal(drain(got, LARGE), LARGE);
    TURN_UNTIL(fake.written);
    assert_memory_equal(got, large, LARGE);
    assert_false(conn_has_unsent(&fake.conn));
    assert_false(fake.conn.io.events & EV_WRITE);
    assert_int_equal(stats_read(&worker.stats->client_sent_bytes_total), LARGE);
    test_free(got);
}

/* What the codec holds back is not asked for while the kernel takes nothing: memory is bounded by one gather. */
static void little_is_buffered_for_a_peer_that_reads_nothing(void **state) {
    (void)state;
    send_bytes(large, LARGE);
    turn();
    size_t buffered = fake.conn.out.bytes, waiting = fake.to_send_size;
    for (int i = 0; i < 20; i++) {
        conn_mark_dirty(&fake.conn);
        turn();
    }
    assert_int_equal(fake.conn.out.bytes, buffered);
    assert_true(fake.to_send_size <= waiting && waiting - fake.to_send_size <= GATHER_PIECES * 30000);
}

static void peer_that_takes_nothing_runs_into_the_write_deadline(void **state) {
    (void)state;
    fake.conn.write_timeout = 1000;
    send_bytes(large, LARGE);
    TURN_UNTIL(fake.expired[DEADLINE_WRITE]);
    assert_int_equal(fake.expired[DEADLINE_IDLE] + fake.expired[DEADLINE_READ], 0);
}

static void write_deadline_moves_with_progress_only(void **state) {
    (void)state;
    char text[2048];
    fake.conn.write_timeout = 3600000000;
    send_bytes(large, LARGE);
    turn();
    uint64_t first = fake.conn.deadlines[DEADLINE_WRITE];
    assert_true(first > worker.now);
    uint64_t began = worker.now;
    while (worker.now == began)
        turn();
    conn_mark_dirty(&fake.conn); /* more to say changes nothing */
    turn();
    assert_int_equal(fake.conn.deadlines[DEADLINE_WRITE], first);
    size_t unsent = fake.conn.out.bytes + fake.to_send_size;
    while (fake.conn.out.bytes + fake.to_send_size == unsent) {
        peer_read(text, sizeof text);
        turn();
    }
    assert_true(fake.conn.deadlines[DEADLINE_WRITE] > first);
    char *rest = test_malloc(LARGE);
    while (conn_has_unsent(&fake.conn) || fake.to_send_size) {
        peer_read(rest, LARGE);
        turn();
    }
    assert_int_equal(fake.conn.deadlines[DEADLINE_WRITE], 0);
    test_free(rest);
}

/* Turns of half a second of the test's own clock, in each of which the peer takes some 4 KiB. Returns how many
 * passed until the connection was given up, at most `most`. */
static unsigned sip(unsigned most) {
    char text[4096];
    unsigned turns = 0;
    while (turns < most && !fake.expired[DEADLINE_WRITE]) {
        worker.now += 500000;
        peer_read(text, sizeof text);
        fake.conn.is_blocked = false; /* as when the socket is writable, but by the test's clock */
        conn_mark_dirty(&fake.conn);
        worker_end_turn(&worker);
        turns++;
    }
    return turns;
}

static void peer_that_takes_too_little_is_given_up_after_two_timeouts(void **state) {
    (void)state;
    fake.conn.write_timeout = 1000000;
    fake.conn.min_rate = 2000; /* it takes about 8000 bytes a second */
    send_bytes(large, LARGE);
    worker_end_turn(&worker);
    assert_int_equal(sip(20), 20);
    fake.conn.min_rate = 100000;
    assert_int_equal(sip(20), 1);
    fake.expired[DEADLINE_WRITE] = 0;
    fake.conn.blocked_since = 0; /* as after a moment in which all was sent */
    assert_in_range(sip(20), 5, 6);
}

static void failed_write_drops_output_but_not_input(void **state) {
    (void)state;
    assert_int_equal(send(peer, "last words", 10, 0), 10);
    shutdown(peer, SHUT_RD);
    send_bytes(large, LARGE);
    turn();
    assert_int_equal(fake.write_errors, 1);
    assert_int_equal(fake.error, EPIPE);
    assert_false(conn_has_unsent(&fake.conn));
    send_bytes("again", 5);
    turn();
    assert_int_equal(fake.write_errors, 1);
    conn_want_read(&fake.conn);
    TURN_UNTIL(fake.received_size == 10);
    assert_int_equal(fake.errors, 0);
}

/* The socket stays writable: who still waited for that would never rest, and run into the write deadline. */
static void after_a_failed_write_nothing_waits_for_room(void **state) {
    (void)state;
    char *taken = test_malloc(LARGE);
    fake.conn.write_timeout = 3600000000;
    fake.limit = 0; /* what the peer has said is not read yet */
    conn_want_read(&fake.conn);
    send_bytes(large, LARGE);
    turn();
    assert_true(fake.conn.charged > 0 && fake.conn.deadlines[DEADLINE_WRITE]);
    peer_read(taken, LARGE); /* there is room again */
    shutdown(peer, SHUT_RD);
    TURN_UNTIL(fake.write_errors);
    turn();
    assert_int_equal(fake.conn.io.events & EV_WRITE, 0);
    assert_int_equal(fake.conn.deadlines[DEADLINE_WRITE], 0);
    assert_false(fake.conn.flushable.is_dirty);
    assert_int_equal(fake.conn.charged, 0);
    assert_int_equal(worker.buffer_used, 0);
    test_free(taken);
}

static void output_that_cannot_be_kept_is_a_write_error(void **state) {
    (void)state;
    send_bytes(large, LARGE);
    hg_alloc_fail_at(10, 1); /* some slices are made, nothing can be kept */
    worker_end_turn(&worker);
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(fake.write_errors, 1);
    assert_int_equal(fake.error, ENOMEM);
    assert_true(fake.conn.has_sent); /* the kernel has a part of it */
}

/* ---- deadlines ---- */

static void deadlines_share_a_timer(void **state) {
    (void)state;
    conn_set_deadline(&fake.conn, DEADLINE_IDLE, worker.now + 3600000000);
    conn_set_deadline(&fake.conn, DEADLINE_READ, worker.now + 1000);
    assert_int_equal(worker.wheel.count, 1);
    TURN_UNTIL(fake.expired[DEADLINE_READ]);
    assert_int_equal(fake.expired[DEADLINE_IDLE], 0);
    assert_int_equal(fake.conn.deadlines[DEADLINE_READ], 0);
    conn_set_deadline(&fake.conn, DEADLINE_IDLE, worker.now + 1000);
    TURN_UNTIL(fake.expired[DEADLINE_IDLE]);
    conn_set_deadline(&fake.conn, DEADLINE_IDLE, worker.now + 1000);
    conn_set_deadline(&fake.conn, DEADLINE_READ, worker.now + 40000);
    conn_set_deadline(&fake.conn, DEADLINE_IDLE, 0);
    TURN_UNTIL(fake.expired[DEADLINE_READ] == 2);
    assert_int_equal(fake.expired[DEADLINE_IDLE], 1);
}

/* ---- closing ---- */

static void closing_inside_any_operation_is_safe(void **state) {
    (void)state;
    static const char *const operations[] = {"on_bytes", "on_eof", "produce", "on_written", "on_deadline"};
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        int ends[2];
        conn_close(&fake.conn);
        worker_end_turn(&worker);
        close(peer);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
        peer = ends[1];
        fake = (struct fake){.limit = READ_MAX, .close_in = operations[i]};
        conn_init(&fake.conn, &worker, (struct transport){.fd = ends[0]}, &ops);
        conn_want_read(&fake.conn);
        if (i == 0)
            assert_int_equal(send(peer, "x", 1, 0), 1);
        else if (i == 1)
            shutdown(peer, SHUT_WR);
        else if (i < 4)
            send_bytes(large, 50000);
        else
            conn_set_deadline(&fake.conn, DEADLINE_IDLE, worker.now + 1);
        TURN_UNTIL(fake.destroyed);
        conn_mark_dirty(&fake.conn);
        conn_set_deadline(&fake.conn, DEADLINE_IDLE, worker.now + 1);
        conn_close(&fake.conn);
        turn();
        assert_int_equal(fake.destroyed, 1);
    }
}

/* ---- connecting ---- */

/* A listening socket, or one that is only bound: connecting to it is refused. */
static int bind_loopback(bool listens, struct address *ret) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret = (struct address){.length = sizeof ret->u.v4,
                            .u.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, &ret->u.any, ret->length), 0);
    assert_int_equal(getsockname(fd, &ret->u.any, &ret->length), 0);
    if (listens)
        assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void connecting(void **state) {
    (void)state;
    struct address to;
    int listening = bind_loopback(true, &to);
    struct fake other = {.limit = READ_MAX, .to_send = "hi", .to_send_size = 2};
    assert_int_equal(conn_connect(&other.conn, &worker, &to, STR(""), NULL, &ops), 0);
    conn_mark_dirty(&other.conn); /* what is ready early waits for the connection */
    worker_end_turn(&worker);
    assert_int_equal(other.written + other.write_errors, 0);
    TURN_UNTIL(other.connected);
    conn_mark_dirty(&other.conn);
    TURN_UNTIL(other.written);
    int accepted = accept(listening, NULL, NULL);
    char text[4];
    assert_int_equal(recv(accepted, text, sizeof text, 0), 2);
    conn_close(&other.conn);
    worker_end_turn(&worker);
    close(accepted);
    close(listening);
}

static void preamble_goes_before_everything_else(void **state) {
    (void)state;
    struct address to;
    char preamble[] = "before ";
    int listening = bind_loopback(true, &to);
    struct fake other = {.limit = READ_MAX, .to_send = "hi", .to_send_size = 2};
    uint64_t buffered = worker.buffer_used;
    assert_int_equal(conn_connect(&other.conn, &worker, &to, str_of(preamble), NULL, &ops), 0);
    preamble[0] = 'x'; /* it has been copied */
    assert_int_equal(worker.buffer_used, buffered + 7);
    conn_mark_dirty(&other.conn);
    worker_end_turn(&worker);
    TURN_UNTIL(other.written);
    int accepted = accept(listening, NULL, NULL);
    char text[16];
    assert_int_equal(recv(accepted, text, 9, MSG_WAITALL), 9);
    assert_memory_equal(text, "before hi", 9);
    assert_int_equal(worker.buffer_used, buffered);
    conn_close(&other.conn);
    worker_end_turn(&worker);
    close(accepted);
    close(listening);
}

static void preamble_of_a_connection_that_is_refused(void **state) {
    (void)state;
    struct address to;
    int bound = bind_loopback(false, &to);
    struct fake other = {.limit = READ_MAX};
    uint64_t buffered = worker.buffer_used;
    assert_int_equal(conn_connect(&other.conn, &worker, &to, STR("before"), NULL, &ops), 0);
    TURN_UNTIL(other.destroyed);
    assert_int_equal(other.errors, 1);
    assert_int_equal(worker.buffer_used, buffered);
    assert_int_equal(address_parse(STR("unix:/nonexistent/socket"), &to), 0);
    assert_int_equal(conn_connect(&other.conn, &worker, &to, STR("before"), NULL, &ops), ENOENT);
    assert_int_equal(worker.buffer_used, buffered);
    close(bound);
}

static void both_ends_are_known(void **state) {
    (void)state;
    struct address to;
    struct conn_ends ends;
    int listening = bind_loopback(true, &to);
    struct fake other = {.limit = READ_MAX};
    assert_int_equal(conn_connect(&other.conn, &worker, &to, STR(""), NULL, &ops), 0);
    TURN_UNTIL(other.connected);
    assert_true(conn_get_ends(&other.conn, &ends));
    assert_true(address_equal(&ends.remote, &to));
    assert_true(address_is_loopback(&ends.local) && address_port(&ends.local) != 0);
    assert_non_null(other.conn.ends = hg_calloc(1, sizeof *other.conn.ends));
    assert_int_equal(address_parse(STR("192.0.2.1:5"), &other.conn.ends->remote), 0);
    assert_true(conn_get_ends(&other.conn, &ends));
    assert_int_equal(address_port(&ends.remote), 5);
    conn_close(&other.conn);
    assert_false(conn_get_ends(&other.conn, &ends));
    worker_end_turn(&worker);
    close(listening);
}

static void refused_connection(void **state) {
    (void)state;
    struct address to;
    int bound = bind_loopback(false, &to);
    struct fake other = {.limit = READ_MAX};
    assert_int_equal(conn_connect(&other.conn, &worker, &to, STR(""), NULL, &ops), 0);
    TURN_UNTIL(other.destroyed);
    assert_int_equal(other.errors, 1);
    assert_int_equal(other.connected, 0);
    assert_int_equal(other.error, ECONNREFUSED);
    close(bound);
}

static void connection_that_fails_at_once(void **state) {
    (void)state;
    struct address to;
    struct fake other = {.limit = READ_MAX};
    assert_int_equal(address_parse(STR("unix:/nonexistent/socket"), &to), 0);
    assert_int_equal(conn_connect(&other.conn, &worker, &to, STR(""), NULL, &ops), ENOENT);
}

/* ---- a reset while nothing is read ---- */

static const struct conn_ops origin_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_write_error,
    .produce = produce, .on_written = on_written, .on_deadline = on_deadline, .destroy = destroy,
};

/* A connection over TCP that has unread bytes and whose reading is paused; its peer is returned. */
static int paused_connection(struct fake *f, const struct conn_ops *with) {
    struct address to;
    int listening = bind_loopback(true, &to), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, &to.u.any, to.length), 0);
    int accepted = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listening);
    assert_int_equal(send(client, "unread", 6, 0), 6);
    conn_init(&f->conn, &worker, (struct transport){.fd = accepted}, with);
    conn_want_read(&f->conn); /* its limit is zero: that pauses it */
    struct pollfd readable = {.fd = accepted, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, -1), 1);
    TURN_UNTIL(!(f->conn.io.events & EV_READ));
    return client;
}

static void reset_and_wait(int client, const struct fake *f) {
    const struct linger at_once = {.l_onoff = 1};
    struct pollfd gone = {.fd = conn_fd(&f->conn)};
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(client);
    assert_int_equal(poll(&gone, 1, -1), 1);
}

static void pass_time(void) {
    worker.now += LOOK_US + 100000;
    wheel_advance(&worker.wheel, worker.now);
    worker_end_turn(&worker);
}

static void reset_by_a_client_is_noticed_while_nothing_is_read(void **state) {
    (void)state;
    struct fake f = {0};
    int client = paused_connection(&f, &ops);
    pass_time();
    shutdown(client, SHUT_WR); /* the end of its input is not the end of the client */
    pass_time();
    assert_int_equal(f.errors + f.eofs, 0);
    reset_and_wait(client, &f);
    pass_time();
    assert_int_equal(f.errors, 1);
    assert_int_equal(f.error, ECONNRESET);
    assert_int_equal(f.expired[DEADLINE_LOOK], 0);
    assert_int_equal(f.destroyed, 1);
}

static void reset_by_an_origin_leaves_what_it_sent(void **state) {
    (void)state;
    struct fake f = {0};
    int origin = paused_connection(&f, &origin_ops);
    reset_and_wait(origin, &f);
    pass_time();
    assert_int_equal(f.errors, 0);
    f.limit = READ_MAX;
    conn_want_read(&f.conn);
    TURN_UNTIL(f.errors);
    assert_int_equal(f.received_size, 6);
    assert_int_equal(f.destroyed, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_arrive_once_reading_is_wanted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_more_is_read_than_the_codec_allows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(end_of_input_comes_once_and_writing_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset_by_the_peer_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_output_survives_a_slow_peer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(little_is_buffered_for_a_peer_that_reads_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(peer_that_takes_nothing_runs_into_the_write_deadline, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(write_deadline_moves_with_progress_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(peer_that_takes_too_little_is_given_up_after_two_timeouts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(failed_write_drops_output_but_not_input, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_failed_write_nothing_waits_for_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(output_that_cannot_be_kept_is_a_write_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deadlines_share_a_timer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_inside_any_operation_is_safe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset_by_a_client_is_noticed_while_nothing_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset_by_an_origin_leaves_what_it_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connecting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(preamble_goes_before_everything_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(preamble_of_a_connection_that_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_ends_are_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connection_that_fails_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
