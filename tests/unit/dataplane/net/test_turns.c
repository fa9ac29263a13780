/* What one turn of a worker reads, and in which order: many connections with more than that waiting in their sockets. */
#include "tests/unit/dataplane/net/loop.h"

#include <limits.h>

#include "dataplane/net/conn.h"

enum {
    COUNT = 40,
    READS = 3,
    QUEUED = READS * READ_MAX,
    SHORT = 5,
    CONNECTS = 10, /* a few more than a turn makes for those who did not wait */
    BULKY = 10,
    BELOW_MAX = 100 << 10, /* more than half of the hot buffer's room, and does not fill a read */
};

/* A codec that counts. */
struct reader {
    struct conn conn; /* first */
    struct conn out;  /* that is opened with the first read */
    int         peer;
    size_t      limit, sent, received;
    unsigned    reads, first_read, destroyed, expired;
    bool        closes, connects, tires;
};

static struct reader readers[COUNT], late;
static unsigned      reads; /* of all */
static char          large[QUEUED];

static struct reader *reader_of(struct conn *c) {
    return (struct reader *)c;
}

static size_t read_limit(struct conn *c) {
    return reader_of(c)->limit;
}

static void connect_out(struct reader *r);

static void on_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    struct reader *r = reader_of(c);
    (void)bytes;
    r->received += n;
    r->first_read = r->reads++ ? r->first_read : reads;
    reads++;
    if (r->closes)
        conn_close(c);
    if (r->connects)
        connect_out(r);
    if (r->tires)
        worker.turn_work += (size_t)4 * TURN_WORK;
}

static bool produce(struct conn *c, struct gather *g) {
    (void)c;
    (void)g;
    return false;
}

static void ignore(struct conn *c) {
    (void)c;
}

static void ignore_error(struct conn *c, int error) {
    (void)error;
    conn_close(c);
}

static void on_deadline(struct conn *c, enum conn_deadline which) {
    assert_int_equal(which, DEADLINE_READ);
    reader_of(c)->expired++;
}

static void destroy(struct conn *c) {
    reader_of(c)->destroyed++;
}

static const struct conn_ops ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = ignore, .on_error = ignore_error,
    .on_write_error = ignore_error, .produce = produce, .on_written = ignore, .on_deadline = on_deadline, .destroy = destroy,
};

/* To where nobody listens; it takes its time all the same. */
static void connect_out(struct reader *r) {
    static const struct conn_ops out_ops = {.destroy = ignore};
    struct address nobody;
    assert_int_equal(address_parse(str_of("127.0.0.1:1"), &nobody), 0);
    assert_int_equal(conn_connect(&r->out, &worker, &nobody, STR(""), NULL, &out_ops), 0);
    conn_close(&r->out);
}

static void open_reader(struct reader *r) {
    int ends[2], room = 4 * QUEUED;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    *r = (struct reader){.peer = ends[1], .limit = READ_MAX};
    conn_init(&r->conn, &worker, (struct transport){.fd = ends[0]}, &ops);
    conn_want_read(&r->conn);
}

static void close_reader(struct reader *r) {
    conn_close(&r->conn);
    worker_end_turn(&worker);
    assert_int_equal(r->destroyed, 1);
    close(r->peer);
}

static void fill(struct reader *r, size_t n) {
    assert_int_equal(send(r->peer, large, n, 0), n);
    r->sent += n;
}

static int set_up(void **state) {
    if (worker_set_up(state) < 0)
        return -1;
    reads = 0;
    for (size_t i = 0; i < COUNT; i++)
        open_reader(&readers[i]);
    open_reader(&late);
    ev_run(worker.loop, EVRUN_NOWAIT); /* the loop learns whom to watch, and how many can be ready at once */
    for (size_t i = 0; i < COUNT; i++)
        fill(&readers[i], 1);
    ev_run(worker.loop, EVRUN_NOWAIT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(readers[i].received, 1);
        readers[i].sent = readers[i].received = readers[i].reads = 0;
    }
    reads = 0;
    return 0;
}

static int tear_down(void **state) {
    for (size_t i = 0; i < COUNT; i++)
        close_reader(&readers[i]);
    close_reader(&late);
    assert_false(worker_has_line(&worker));
    return worker_tear_down(state);
}

static size_t received(void) {
    size_t all = 0;
    for (size_t i = 0; i < COUNT; i++)
        all += readers[i].received;
    return all;
}

static void fill_all(void) {
    for (size_t i = 0; i < COUNT; i++)
        fill(&readers[i], QUEUED);
}

/* One wait for events, and all that the turn does before the next. */
static void one_turn(void) {
    ev_run(worker.loop, EVRUN_NOWAIT);
    worker_end_turn(&worker);
}

static void a_turn_reads_only_so_much(void **state) {
    (void)state;
    size_t before = 0;
    fill_all();
    for (unsigned turns = 0; received() < (size_t)COUNT * QUEUED; turns++) {
        one_turn();
        assert_in_range(received() - before, 1, 2 * TURN_WORK + READ_MAX);
        before = received();
        assert_true(turns < 1000);
    }
    assert_false(worker_has_line(&worker));
}

/* Nobody is read a third time before all have been read once. */
static void those_who_wait_are_read_in_turn(void **state) {
    (void)state;
    fill_all();
    while (received() < (size_t)COUNT * QUEUED) {
        unsigned least = UINT_MAX, most = 0;
        one_turn();
        for (size_t i = 0; i < COUNT; i++) {
            least = readers[i].reads < least ? readers[i].reads : least;
            most = readers[i].reads > most ? readers[i].reads : most;
        }
        assert_in_range(most - least, 0, 2);
    }
}

/* A request does not wait for the bulk before it. */
static void who_begins_to_speak_goes_first(void **state) {
    (void)state;
    fill_all();
    one_turn();
    assert_true(worker_has_line(&worker));
    fill(&late, SHORT);
    unsigned before = reads;
    one_turn();
    assert_int_equal(late.received, SHORT);
    assert_in_range(late.first_read, before, before + TURN_WORK / READ_MAX);
    assert_true(received() < (size_t)COUNT * QUEUED);
}

/* All the others have something to say in each turn: more than a turn takes, and more than there is room for. */
static void the_line_moves_while_others_speak(void **state) {
    (void)state;
    size_t got = 0;
    for (size_t i = 0; i < BULKY; i++)
        fill(&readers[i], QUEUED);
    for (unsigned turns = 0; got < (size_t)BULKY * QUEUED; turns++) {
        for (size_t i = BULKY; i < COUNT; i++)
            if (readers[i].received == readers[i].sent)
                fill(&readers[i], BELOW_MAX);
        one_turn();
        got = 0;
        for (size_t i = 0; i < BULKY; i++)
            got += readers[i].received;
        assert_true(turns < COUNT);
    }
}

/* One that takes more than a turn each time that it is read. */
static void the_line_moves_in_each_turn(void **state) {
    (void)state;
    fill_all();
    one_turn();
    late.tires = true;
    for (unsigned turns = 0; received() < (size_t)COUNT * QUEUED; turns++) {
        fill(&late, SHORT);
        one_turn();
        assert_true(turns < COUNT * READS);
    }
}

/* One read can be many requests, and each of them a connection to an origin. */
static void connections_are_work_as_well(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        readers[i].connects = true;
        fill(&readers[i], SHORT);
    }
    for (unsigned before = 0, turns = 0; received() < (size_t)COUNT * SHORT; turns++) {
        one_turn();
        assert_in_range(reads - before, 1, 2 * CONNECTS);
        before = reads;
        assert_true(turns < COUNT);
    }
}

/* The loop does not sleep while somebody stands in line. */
static void the_next_turn_comes_by_itself(void **state) {
    (void)state;
    fill_all();
    while (received() < (size_t)COUNT * QUEUED)
        ev_run(worker.loop, EVRUN_ONCE);
}

static void who_is_closed_leaves_the_line(void **state) {
    (void)state;
    fill_all();
    one_turn();
    size_t closed = 0;
    for (size_t i = 0; i < COUNT; i++)
        if (worker_is_in_line(&readers[i].conn.readable)) {
            conn_close(&readers[i].conn);
            closed++;
        }
    assert_true(closed > 2);
    assert_false(worker_has_line(&worker));
}

static void let_time_pass(void) {
    worker.now += 1000000;
    wheel_advance(&worker.wheel, worker.now);
}

/* It has spoken in time, and is not blamed for our being late. */
static void deadlines_wait_for_who_waits_to_be_read(void **state) {
    (void)state;
    fill_all();
    one_turn();
    for (size_t i = 0; i < COUNT; i++)
        conn_set_deadline(&readers[i].conn, DEADLINE_READ, worker.now + 1);
    let_time_pass();
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(readers[i].expired, worker_is_in_line(&readers[i].conn.readable) ? 0 : 1);
    while (worker_has_line(&worker))
        worker_leave_line(worker.line.next_in_line); /* as if they had been read */
    let_time_pass();
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(readers[i].expired, 1);
}

static void who_closes_when_its_place_comes(void **state) {
    (void)state;
    fill_all();
    one_turn();
    for (size_t i = 0; i < COUNT; i++)
        readers[i].closes = true;
    for (unsigned turns = 0; turns < COUNT; turns++)
        one_turn();
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(readers[i].destroyed, 1);
}

/* Reading was paused while it stood in line. */
static void who_is_paused_is_not_read(void **state) {
    (void)state;
    fill_all();
    one_turn();
    for (size_t i = 0; i < COUNT; i++)
        conn_pause_read(&readers[i].conn);
    assert_false(worker_has_line(&worker));
    size_t before = received();
    for (unsigned turns = 0; turns < COUNT; turns++)
        one_turn();
    assert_int_equal(received(), before);
    for (size_t i = 0; i < COUNT; i++)
        conn_want_read(&readers[i].conn);
    while (received() < (size_t)COUNT * QUEUED)
        one_turn();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_turn_reads_only_so_much, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_who_wait_are_read_in_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_begins_to_speak_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_line_moves_while_others_speak, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_line_moves_in_each_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_are_work_as_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_turn_comes_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_closed_leaves_the_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deadlines_wait_for_who_waits_to_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_closes_when_its_place_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_paused_is_not_read, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
