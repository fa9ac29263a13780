/* Windows, room and memory of a connection of HTTP/3, where they run out or change. */
#include "tests/unit/dataplane/codec/h3/peer.h"

enum { LARGE = 3 << 20 };

static char large[LARGE];

static void fill_large(void) {
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 7 + i / 4096);
}

/* No exchange has room while a section is read, the table goes on all the same. */
static void a_request_without_room_is_rejected(void **state) {
    (void)state;
    worker.buffer_limit = worker.buffer_used;
    struct call *refused = get("/");
    settle();
    assert_int_equal(back_count, 0);
    assert_int_equal(fake_stream(refused->id)->reset_code, H3_REQUEST_REJECTED);
    worker.buffer_limit = UINT64_MAX;
    struct call *taken = get("/");
    settle();
    answer_with(&backs[0], STR("x"));
    settle();
    assert_true(taken->ended && !fake.is_closed);
}

/* The same in pieces: what was put together is not freed under the decoder. */
static void a_request_in_pieces_without_room_is_rejected(void **state) {
    client.cut = 3;
    a_request_without_room_is_rejected(state);
}

static void a_connection_with_a_refused_stream_alone_is_idle(void **state) {
    (void)state;
    worker.session_memory.limit = 0;
    struct call *refused = get("/");
    settle();
    assert_int_equal(fake_stream(refused->id)->reset_code, H3_REQUEST_REJECTED);
    worker.session_memory.limit = SIZE_MAX;
    expire();
    assert_true(fake.is_closed && fake.code == H3_NO_ERROR);
    assert_int_equal(stats_read(&worker.stats->client_idle_timeouts_total), 1);
}

/* Whatever becomes of a stream, the connection gets back what came on it. */
static void all_bytes_are_given_back_to_the_connection(void **state) {
    static const char no_path[] = "\x01\x07\x00\x00\xd1\xd7\x50\x01\x61" "\x00\x03" "abc" "\x00\x03" "def";
    (void)state;
    uint64_t before = fake.connection_credit;
    fake_receive(0, no_path, sizeof no_path - 1, false);
    assert_int_equal(fake_stream(0)->reset_code, H3_MESSAGE_ERROR);
    assert_int_equal(fake.connection_credit - before, sizeof no_path - 1);
}

/* A request that waits for the handshake, and is given up. */
static void kept_bytes_are_given_back_to_the_connection(void **state) {
    (void)state;
    fake.is_done = false;
    uint64_t before = fake.connection_credit;
    fill_large();
    struct call *call = post((struct str){large, 30000});
    settle();
    assert_true(fake.connection_credit - before < 30000);
    fake.user->ops->on_stream_reset(fake.user, call->id, H3_REQUEST_CANCELLED);
    fake.user->ops->on_stream_close(fake.user, call->id, H3_REQUEST_CANCELLED);
    settle();
    assert_true(fake.connection_credit - before > 30000);
}

/* What the peer was told at the beginning holds, whatever is configured meanwhile. */
static void a_smaller_window_is_for_later_connections(void **state) {
    (void)state;
    struct listener_definition next = definition;
    next.quic.initial_stream_window = 1024;
    listener_set_definition(listener, &next, &next.opening, 1000, 1000);
    fill_large();
    struct call *call = post((struct str){large, 60000});
    call->is_held = true;
    settle();
    uint64_t allowed = fake.allowance.stream_window + fake_stream(call->id)->credit;
    assert_in_range(allowed, settings.limits.buffer, settings.limits.buffer + 1000); /* and the heads of frames */
    pull_all(&backs[0]);
    assert_int_equal(backs[0].loop.received.n, 60000);
    fake.user->ops->on_stream_reset(fake.user, call->id, H3_REQUEST_CANCELLED);
    settle();
    listener_set_definition(listener, &definition, &definition.opening, 1000, 1000);
}

/* ngtcp2 keeps to itself what is less than a quarter of the first window. */
static void credit_while_memory_is_short_reaches_the_client(void **state) {
    (void)state;
    fill_large();
    struct call *call = post((struct str){large, 60000});
    call->is_held = true;
    settle();
    worker.buffer_limit = 1;
    uint64_t before = fake_stream(call->id)->credit;
    while (backs[0].x->request.granted > 0) {
        pull_all(&backs[0]);
        size_t n = backs[0].x->request.granted;
        if (fake_stream(call->id)->credit > before)
            break;
        uint8_t head[] = {H3_DATA, 0x80, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        fake_receive(call->id, head, sizeof head, false);
        before = fake_stream(call->id)->credit;
        fake_receive(call->id, large, n, false);
    }
    pull_all(&backs[0]);
    assert_true(4 * (fake_stream(call->id)->credit - before) > fake.allowance.stream_window);
    worker.buffer_limit = UINT64_MAX;
}

/* A connection is kept alive while a request is open. */
static void silence_is_broken_while_a_request_is_open(void **state) {
    (void)state;
    definition.quic.keep_alive = 5000000;
    listener_set_definition(listener, &definition, &definition.opening, 1000, 1000);
    assert_int_equal(fake.keep_alive, 0);
    struct listener_definition next = definition;
    listener_set_definition(listener, &next, &next.opening, 1000, 1000);
    struct call *first = get("/"), *second = get("/");
    settle();
    assert_int_equal(fake.keep_alive, 5000000);
    answer_with(&backs[0], STR("x"));
    settle();
    assert_true(first->ended);
    assert_int_equal(fake.keep_alive, 5000000);
    answer_with(&backs[1], STR("x"));
    settle();
    assert_true(second->ended);
    assert_int_equal(fake.keep_alive, 0);
    listener_set_definition(listener, &definition, &definition.opening, 1000, 1000);
}

/* What held all room goes without being acknowledged: those that waited for it go on. */
static void room_comes_back_with_streams_that_end(void **state) {
    (void)state;
    struct call *large_one = get("/"), *other = get("/");
    fill_large();
    settle();
    fake.holds_acks = true;
    backs[0].loop.to_send = (struct str){large, LARGE};
    answer(&backs[0], 200, LARGE, false);
    for (int i = 0; i < 100; i++) {
        push_all(&backs[0]);
        exchange_bytes();
    }
    assert_true(fake_stream(large_one->id)->sent.n < LARGE);
    backs[1].loop.to_send = STR("other");
    answer(&backs[1], 200, 5, false);
    push_all(&backs[1]);
    settle();
    assert_false(other->ended);
    fake.user->ops->on_stop_sending(fake.user, large_one->id, H3_REQUEST_CANCELLED);
    fake.user->ops->on_stream_close(fake.user, large_one->id, H3_REQUEST_CANCELLED);
    settle();
    assert_string_equal(text(&other->body), "other");
    assert_true(other->ended);
}

static void assert_stalled(const struct call *call) {
    expire();
    settle();
    assert_true(fake_stream(call->id)->was_reset);
    assert_int_equal(fake_stream(call->id)->reset_code, H3_REQUEST_CANCELLED);
    assert_int_equal(logged.abort, ABORT_CLIENT_WRITE_TIMEOUT);
    assert_false(fake.is_closed);
}

/* Nothing of the answer was ever asked for. */
static void an_answer_without_a_window_of_the_connection_ends(void **state) {
    (void)state;
    fake.window = 0;
    struct call *call = get("/");
    settle();
    answer_with(&backs[0], STR("never"));
    settle();
    assert_stalled(call);
}

/* Its head is out long since. */
static void a_late_body_without_a_window_of_the_connection_ends(void **state) {
    (void)state;
    struct call *call = get("/");
    settle();
    answer(&backs[0], 200, 4, false);
    settle();
    assert_int_equal(call->status, 200);
    fake.window = 0;
    backs[0].loop.to_send = STR("late");
    push_all(&backs[0]);
    settle();
    assert_stalled(call);
}

/* What there was has filled the window, and more is still to come from the origin. */
static void who_waits_for_the_origin_has_no_write_deadline(void **state) {
    enum { FRAME = 2 + 4 };
    (void)state;
    struct call *call = get("/");
    settle();
    answer(&backs[0], 200, -1, false);
    settle();
    fake.window = FRAME;
    backs[0].loop.to_send = STR("body");
    loopback_push(&backs[0].loop, 4);
    settle();
    quic_mark_dirty(&fake);
    settle();
    expire();
    settle();
    assert_false(fake_stream(call->id)->was_reset);
    backs[0].loop.to_send = STR("more");
    push_all(&backs[0]);
    settle();
    assert_stalled(call);
}

static void trailers_without_a_window_of_the_connection_end(void **state) {
    (void)state;
    struct call *call = get("/");
    settle();
    answer(&backs[0], 200, -1, false);
    settle();
    fake.window = 0;
    assert_int_equal(fields_add(&backs[0].trailers, exchange_arena(backs[0].x), STR("x-sum"), STR("1")), 0);
    backs[0].loop.trailers = &backs[0].trailers;
    push_all(&backs[0]);
    settle();
    expire();
    settle();
    assert_true(fake_stream(call->id)->was_reset);
}

/* The peer's window of the connection is full, and only content needs it (RFC 9000 section 4.1). */
static void an_end_waits_for_no_window(void **state) {
    (void)state;
    struct call *held = get("/"), *ending = get("/");
    settle();
    answer(&backs[0], 200, -1, false);
    answer(&backs[1], 200, -1, false);
    settle();
    fake.window = 0;
    backs[0].loop.to_send = STR("content");
    push_all(&backs[0]);
    push_all(&backs[1]);
    settle();
    assert_true(ending->ended && !fake_stream(ending->id)->was_reset);
    assert_false(held->ended);
    fake.window = 1 << 20;
    quic_mark_dirty(&fake);
    settle();
    assert_string_equal(text(&held->body), "content");
    assert_true(held->ended);
}

/* What its content has filled the window with is not acknowledged yet: it is still there when its write deadline passes. */
static void an_end_behind_a_full_window_is_the_last_word(void **state) {
    enum { FRAME = 2 + 4 };
    (void)state;
    struct call *call = get("/");
    settle();
    answer(&backs[0], 200, -1, false);
    settle();
    fake.holds_acks = true;
    fake.window = FRAME;
    backs[0].loop.to_send = STR("body");
    loopback_push(&backs[0].loop, 4);
    settle();
    assert_string_equal(text(&call->body), "body");
    assert_int_equal(fake.window, 0);
    quic_mark_dirty(&fake); /* it waits for the window from now on, as it seems */
    settle();
    assert_false(call->ended);
    push_all(&backs[0]);
    settle();
    assert_true(call->ended);
    expire();
    settle();
    assert_false(fake_stream(call->id)->was_reset);
}

/* Trailers are content for the transport. */
static void trailers_wait_for_the_window(void **state) {
    (void)state;
    struct call *call = get("/");
    settle();
    answer(&backs[0], 200, -1, false);
    settle();
    fake.window = 0;
    assert_int_equal(fields_add(&backs[0].trailers, exchange_arena(backs[0].x), STR("x-sum"), STR("1")), 0);
    backs[0].loop.trailers = &backs[0].trailers;
    push_all(&backs[0]);
    settle();
    assert_false(call->ended);
    fake.window = 1 << 20;
    quic_mark_dirty(&fake);
    settle();
    assert_string_equal(text(&call->trailers), "x-sum: 1\n");
    assert_true(call->ended);
}

/* Heads that are never whole: their windows are open again, so only this bounds them. */
static void sections_in_pieces_have_a_bound(void **state) {
    static const char part[2 + 1800] = "\x01\x67"; /* HEADERS of more than there is */
    (void)state;
    ((struct h3_session *)fake.user)->options.header_bytes_held = 4096;
    for (int64_t id = 0; id <= 8; id += 4)
        fake_receive(id, part, sizeof part, false);
    assert_false(fake_stream(0)->was_reset || fake_stream(4)->was_reset);
    assert_int_equal(fake_stream(8)->reset_code, H3_EXCESSIVE_LOAD);
    assert_int_equal(stats_read(&worker.stats->h3_heads_refused_total), 1);
    fake.user->ops->on_stream_reset(fake.user, 0, H3_REQUEST_CANCELLED);
    fake_receive(12, part, sizeof part, false);
    assert_false(fake_stream(12)->was_reset || fake.is_closed);
}

/* ---- trailers that wait for an entry which never comes */

static const char post_head[] = "\x01\x08\x00\x00\xd4\xd7\xc1\x50\x01\x61", blocked[] = "\x01\x03\x02\x00\x80";

/* Without the client's library, which knows nothing of this stream. */
static void acknowledge(void) {
    worker_end_turn(&worker);
    fake_ack_all();
    fake_close_finished();
    worker_end_turn(&worker);
}

static void ask_with_blocked_trailers(bool is_whole) {
    size_t n = settings.limits.buffer / 2; /* enough that credit is given when the origin takes it */
    const uint8_t data[] = {H3_DATA, (uint8_t)(0x80 | n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    fill_large();
    fake_receive(0, post_head, sizeof post_head - 1, false);
    fake_receive(0, data, sizeof data, false);
    fake_receive(0, large, n, false);
    fake_receive(0, blocked, sizeof blocked - 1, is_whole);
    acknowledge();
    assert_int_equal(((struct h3_session *)fake.user)->blocked_count, 1);
    pull_all(&backs[0]);
    assert_int_equal(backs[0].loop.received.n, n);
    acknowledge();
}

static void trailers_that_wait_have_a_deadline(void **state) {
    (void)state;
    ask_with_blocked_trailers(false);
    expire();
    acknowledge();
    assert_int_equal(logged.status, 408);
    assert_int_equal(logged.abort, ABORT_CLIENT_BODY_TIMEOUT);
}

static void assert_nothing_is_left(void) {
    const struct h3_session *session = (struct h3_session *)fake.user;
    assert_int_equal(session->stream_count, 0);
    assert_int_equal(session->blocked_count, 0);
    expire();
    assert_true(fake.is_closed && fake.code == H3_NO_ERROR);
    assert_int_equal(stats_read(&worker.stats->client_idle_timeouts_total), 1);
}

static void answer_at_once(void) {
    answer(&backs[0], 200, 0, true);
    worker_end_turn(&worker);
}

static void who_was_answered_does_not_wait_for_entries(void **state) {
    (void)state;
    ask_with_blocked_trailers(true);
    answer_at_once();
    acknowledge(); /* all is acknowledged */
    pass_seconds(1);
    acknowledge();
    assert_nothing_is_left();
}

static void who_was_answered_and_stopped_does_not_wait_for_entries(void **state) {
    (void)state;
    ask_with_blocked_trailers(true);
    answer_at_once();
    pass_seconds(1);
    acknowledge(); /* acknowledged now */
    assert_nothing_is_left();
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, client_set_up, client_tear_down)
        TEST(a_request_without_room_is_rejected),
        TEST(a_request_in_pieces_without_room_is_rejected),
        TEST(a_connection_with_a_refused_stream_alone_is_idle),
        TEST(all_bytes_are_given_back_to_the_connection),
        TEST(kept_bytes_are_given_back_to_the_connection),
        TEST(a_smaller_window_is_for_later_connections),
        TEST(credit_while_memory_is_short_reaches_the_client),
        TEST(silence_is_broken_while_a_request_is_open),
        TEST(room_comes_back_with_streams_that_end),
        TEST(sections_in_pieces_have_a_bound),
        TEST(an_answer_without_a_window_of_the_connection_ends),
        TEST(a_late_body_without_a_window_of_the_connection_ends),
        TEST(who_waits_for_the_origin_has_no_write_deadline),
        TEST(trailers_without_a_window_of_the_connection_end),
        TEST(an_end_waits_for_no_window),
        TEST(an_end_behind_a_full_window_is_the_last_word),
        TEST(trailers_wait_for_the_window),
        TEST(trailers_that_wait_have_a_deadline),
        TEST(who_was_answered_does_not_wait_for_entries),
        TEST(who_was_answered_and_stopped_does_not_wait_for_entries),
    };
    return cmocka_run_group_tests_name("h3 limits", tests, NULL, NULL);
}
