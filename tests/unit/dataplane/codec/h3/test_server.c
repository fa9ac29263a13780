/* Requests and responses over HTTP/3, one aspect at a time. */
#include "tests/unit/dataplane/codec/h3/peer.h"

/* A client with a dynamic table, as curl has it. */
static int set_up_with_table(void **state) {
    nghttp3_settings own;
    nghttp3_settings_default(&own);
    own.qpack_max_dtable_capacity = 4096;
    own.qpack_blocked_streams = 100;
    return client_set_up_with(state, &own);
}

static void settings_say_what_it_can_do(void **state) {
    (void)state;
    assert_true(client.has_settings && client.peer.enable_connect_protocol && client.peer.h3_datagram);
    assert_int_equal(client.peer.qpack_max_dtable_capacity, definition.http3.qpack_table_capacity);
    assert_int_equal(client.peer.qpack_blocked_streams, definition.http3.qpack_blocked_streams);
    assert_int_equal(client.peer.max_field_section_size, settings.limits.header_bytes);
}

static void a_request_is_answered(void **state) {
    (void)state;
    struct call *call = get("/a?b=c");
    settle();
    assert_int_equal(back_count, 1);
    const struct head *head = backs[0].loop.heads[0];
    assert_true(str_eq(head->target, STR("/a?b=c")) && str_eq(head->authority, STR("example.com")));
    assert_int_equal(head->version, 30);
    assert_true(backs[0].loop.ends_with_head);
    answer_with(&backs[0], STR("hello"));
    settle();
    assert_int_equal(call->status, 200);
    assert_string_equal(text(&call->body), "hello");
    assert_non_null(strstr(text(&call->fields), "content-length: 5\n"));
    assert_true(call->ended && fake_stream(call->id)->is_closed);
    assert_int_equal(fake.extended[1], 1);
    assert_int_equal(logged.count, 1);
    assert_int_equal(logged.status, 200);
    assert_false(fake.is_closed);
}

/* Head and body of a small response are one piece. */
static void a_small_response_is_one_piece(void **state) {
    (void)state;
    get("/");
    settle();
    unsigned before = fake.piece_count;
    answer_with(&backs[0], STR("hello"));
    settle();
    assert_int_equal(fake.piece_count, before + 1);
}

/* Of the HEADERS frame that a response begins with; 0: it refers to no entry of the dynamic table (RFC 9204, 4.5.1). */
static uint8_t entries_needed_by(const struct call *call) {
    const uint8_t *sent = (const uint8_t *)fake_stream(call->id)->sent.p;
    assert_int_equal(sent[0], H3_HEADERS);
    return sent[sent[1] < 64 ? 2 : 3];
}

static void answer_with_hints(struct back *b) {
    struct head hints;
    head_init(&hints);
    hints.status = 103;
    hints.version = 11;
    assert_int_equal(fields_add(&hints.fields, exchange_arena(b->x), STR("link"), STR("</style.css>")), 0);
    exchange_on_head(&b->loop.leg, &hints, false);
    answer_with(b, STR("hello"));
}

/* Its client may drop one that waits when its stream is complete. */
static void no_response_waits_for_entries(void **state) {
    (void)state;
    uint8_t needed = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct call *at_once = get("/"), *beside = get("/");
        settle();
        answer_with_hints(&backs[2 * i]);
        answer_with_hints(&backs[2 * i + 1]);
        settle();
        assert_true(at_once->ended && beside->ended);
        needed = entries_needed_by(at_once) | entries_needed_by(beside);
        assert_true(i > 0 || needed == 0);
    }
    assert_int_not_equal(needed, 0); /* once it has them, they are used */
}

static void many_requests_run_beside_each_other(void **state) {
    (void)state;
    enum { COUNT = 100 };
    struct call *calls[COUNT];
    for (int i = 0; i < COUNT; i++)
        calls[i] = get("/");
    settle();
    assert_int_equal(back_count, COUNT);
    for (int i = COUNT; i-- > 0;) {
        backs[i].loop.to_send = STR("x");
        answer(&backs[i], (unsigned)(400 + i), 1, false);
        push_all(&backs[i]);
    }
    settle();
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i]->status, 400 + i);
        assert_true(calls[i]->ended);
    }
    assert_int_equal(fake.extended[1], COUNT);
}

static void bodies_go_both_ways(void **state) {
    (void)state;
    struct call *call = post(STR("question"));
    settle();
    pull_all(&backs[0]);
    assert_string_equal(text(&backs[0].loop.received), "question");
    assert_true(backs[0].loop.received_end);
    answer_with(&backs[0], STR("answer"));
    settle();
    assert_string_equal(text(&call->body), "answer");
}

static void bytes_may_come_one_by_one(void **state) {
    (void)state;
    client.cut = 1;
    struct call *call = post(STR("question"));
    settle();
    pull_all(&backs[0]);
    assert_string_equal(text(&backs[0].loop.received), "question");
    answer_with(&backs[0], STR("answer"));
    settle();
    assert_string_equal(text(&call->body), "answer");
    assert_true(call->ended && !fake.is_closed);
}

static void a_response_without_body_ends_with_its_head(void **state) {
    (void)state;
    struct call *call = get("/");
    settle();
    answer(&backs[0], 204, -1, true);
    settle();
    assert_true(call->ended);
    assert_int_equal(call->status, 204);
    assert_null(strstr(text(&call->fields), "content-length"));
}

static void head_keeps_its_length(void **state) {
    (void)state;
    const nghttp3_nv fields[] = {BASIC("HEAD", "/")};
    struct call *call = request_fields(fields, 4, STR(""), false);
    settle();
    answer(&backs[0], 200, 1000, true);
    settle();
    assert_true(call->ended && !fake_stream(call->id)->was_reset);
    assert_non_null(strstr(text(&call->fields), "content-length: 1000\n"));
}

static void a_head_request_that_is_refused_is_answered_without_a_body(void **state) {
    (void)state;
    const nghttp3_nv fields[] = {BASIC("HEAD", "/"), nv("expect", "wonders")};
    struct call *call = request_fields(fields, 5, STR(""), false);
    settle();
    assert_int_equal(call->status, 417);
    assert_true(call->ended && call->body.n == 0);
    assert_false(fake_stream(call->id)->was_reset);
}

static void interim_responses_come_first(void **state) {
    (void)state;
    struct call *call = get("/");
    struct head hints;
    settle();
    head_init(&hints);
    hints.status = 103;
    assert_int_equal(fields_add(&hints.fields, exchange_arena(backs[0].x), STR("link"), STR("</style.css>")), 0);
    exchange_on_head(&backs[0].loop.leg, &hints, false);
    exchange_on_head(&backs[0].loop.leg, &hints, false);
    answer_with(&backs[0], STR("x"));
    settle();
    assert_int_equal(call->interims, 2);
    assert_int_equal(call->status, 200);
    assert_string_equal(text(&call->body), "x");
}

static void continue_is_said_once_the_origin_asks(void **state) {
    (void)state;
    const nghttp3_nv fields[] = {BASIC("POST", "/"), nv("expect", "100-continue")};
    struct call *call = request_fields(fields, 5, STR(""), true);
    call->is_held = true;
    settle();
    assert_int_equal(call->interims, 0);
    struct head hundred;
    head_init(&hundred);
    hundred.status = 100;
    exchange_on_head(&backs[0].loop.leg, &hundred, false);
    settle();
    assert_int_equal(call->interims, 1);
    assert_int_equal(call->status, 100);
}

static void trailers_go_both_ways(void **state) {
    (void)state;
    const nghttp3_nv trailer = nv("x-sum", "1"), fields[] = {BASIC("POST", "/"), nv("te", "trailers")};
    struct call *call = request_fields(fields, 5, STR("body"), true);
    call->request_trailers = &trailer;
    settle();
    pull_all(&backs[0]);
    assert_non_null(backs[0].loop.received_trailers);
    assert_int_equal(backs[0].loop.received_trailers->count, 1);
    assert_int_equal(fields_add(&backs[0].trailers, exchange_arena(backs[0].x), STR("grpc-status"), STR("0")), 0);
    backs[0].loop.trailers = &backs[0].trailers;
    backs[0].loop.to_send = STR("x");
    answer(&backs[0], 200, -1, false);
    push_all(&backs[0]);
    settle();
    assert_string_equal(text(&call->body), "x");
    assert_string_equal(text(&call->trailers), "grpc-status: 0\n");
    assert_true(call->ended);
}

enum { LARGE = 3 << 20 };

static char large[LARGE];

static void fill_large(void) {
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 7 + i / 4096);
}

/* Nothing that was taken moves before it is acknowledged (fake_check), and no more is held than may be. */
static void a_large_body_waits_for_acknowledgements(void **state) {
    (void)state;
    struct call *call = get("/");
    fill_large();
    settle();
    fake.holds_acks = true;
    fake.most = 1200;
    backs[0].loop.to_send = (struct str){large, LARGE};
    answer(&backs[0], 200, LARGE, false);
    size_t before = 0;
    for (int i = 0; i < 100; i++) {
        push_all(&backs[0]);
        exchange_bytes();
    }
    struct fake_stream *s = fake_stream(call->id);
    assert_true(s->sent.n > 1 << 20 && s->sent.n < 5 << 18);
    assert_true(worker.buffer_used < 3 << 20);
    while (!s->ended && s->sent.n > before) {
        before = s->sent.n;
        fake_ack_all();
        push_all(&backs[0]);
        exchange_bytes();
        push_all(&backs[0]);
        exchange_bytes();
    }
    fake.holds_acks = false;
    settle();
    assert_int_equal(call->body.n, LARGE);
    assert_memory_equal(call->body.p, large, LARGE);
    assert_true(call->ended);
}

static void a_window_that_is_full_holds_its_stream_only(void **state) {
    (void)state;
    fake.first_window = 1000;
    struct call *slow = get("/"), *other = get("/");
    fill_large();
    settle();
    backs[0].loop.to_send = (struct str){large, 100000};
    answer(&backs[0], 200, 100000, false);
    push_all(&backs[0]);
    answer_with(&backs[1], STR("other"));
    settle();
    assert_int_equal(fake_stream(slow->id)->sent.n, 1000);
    assert_string_equal(text(&other->body), "other");
    fake_stream(slow->id)->window = 1000000;
    fake.user->ops->on_stream_window(fake.user, slow->id);
    for (int i = 0; i < 20; i++) {
        push_all(&backs[0]);
        settle();
    }
    assert_int_equal(slow->body.n, 100000);
    assert_true(slow->ended);
}

/* What the others hold does not count when one of them can go on. */
static void many_full_windows_hold_nobody_else(void **state) {
    enum { COUNT = 100, SIZE = 100000, WINDOW = 40000 };
    (void)state;
    fake.first_window = WINDOW;
    struct call *calls[COUNT];
    fill_large();
    for (int i = 0; i < COUNT; i++)
        calls[i] = get("/");
    settle();
    for (int i = 0; i < COUNT; i++) {
        backs[i].loop.to_send = (struct str){large, SIZE};
        answer(&backs[i], 200, SIZE, false);
    }
    for (int turns = 0; turns < 100; turns++) {
        for (int i = 0; i < COUNT; i++)
            push_all(&backs[i]);
        exchange_bytes();
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(fake_stream(calls[i]->id)->sent.n, WINDOW);
    fake_stream(calls[50]->id)->window = SIZE;
    fake.user->ops->on_stream_window(fake.user, calls[50]->id);
    for (int turns = 0; turns < 30; turns++) {
        push_all(&backs[50]);
        exchange_bytes();
    }
    assert_true(calls[50]->ended);
    assert_int_equal(calls[50]->body.n, SIZE);
}

static void a_window_that_stays_full_ends_its_stream(void **state) {
    (void)state;
    fake.first_window = 100;
    struct call *call = get("/");
    fill_large();
    settle();
    backs[0].loop.to_send = (struct str){large, 100000};
    answer(&backs[0], 200, 100000, false);
    push_all(&backs[0]);
    settle();
    expire();
    settle();
    assert_true(fake_stream(call->id)->was_reset);
    assert_int_equal(fake_stream(call->id)->reset_code, H3_REQUEST_CANCELLED);
    assert_int_equal(logged.abort, ABORT_CLIENT_WRITE_TIMEOUT);
    assert_false(fake.is_closed);
}

/* Credit of a stream is given back as the origin takes the body, that of the connection at once. */
static void windows_are_credit(void **state) {
    (void)state;
    fill_large();
    struct call *call = post((struct str){large, 200000});
    call->is_held = true;
    settle();
    struct fake_stream *s = fake_stream(call->id);
    assert_int_equal(backs[0].loop.received.n, 0);
    uint64_t more = settings.limits.buffer - definition.quic.initial_stream_window;
    assert_true(s->credit >= more && s->credit < more + 1000 && fake.connection_credit > 200000);
    pull_all(&backs[0]);
    settle();
    assert_true(s->credit >= more + settings.limits.buffer / 2);
    assert_int_equal(backs[0].loop.received.n, 200000);
    assert_memory_equal(backs[0].loop.received.p, large, 200000);
}

static void a_client_that_goes_away_ends_its_exchange(void **state) {
    (void)state;
    struct call *call = post(STR("x"));
    call->is_held = true;
    settle();
    fake.user->ops->on_stream_reset(fake.user, call->id, H3_REQUEST_CANCELLED);
    assert_null(backs[0].x);
    assert_int_equal(logged.abort, ABORT_CLIENT_GONE);
    assert_true(fake_stream(call->id)->was_reset);
    assert_false(fake.is_closed);
}

static void a_response_that_nobody_wants_ends_its_exchange(void **state) {
    (void)state;
    struct call *call = get("/");
    settle();
    fake.user->ops->on_stop_sending(fake.user, call->id, H3_REQUEST_CANCELLED);
    assert_null(backs[0].x);
    assert_int_equal(logged.abort, ABORT_CLIENT_GONE);
}

/* The rest of the request is not waited for; that it is given up does not touch the answer. */
static void an_early_answer_stops_the_request(void **state) {
    (void)state;
    struct call *call = post(STR("x"));
    call->is_held = true;
    settle();
    fake.holds_acks = true;
    answer_with(&backs[0], STR("no"));
    settle();
    assert_int_equal(call->status, 200);
    assert_false(fake_stream(call->id)->was_stopped);
    pass_seconds(1);
    assert_true(fake_stream(call->id)->was_stopped);
    assert_int_equal(fake_stream(call->id)->stop_code, H3_NO_ERROR);
    fake.user->ops->on_stream_reset(fake.user, call->id, H3_REQUEST_CANCELLED);
    assert_false(fake_stream(call->id)->was_reset);
    assert_true(call->ended);
}

/* It gives up its request by itself: the answer is complete, and on its way. */
static void an_answer_outlives_the_rest_of_its_request(void **state) {
    (void)state;
    struct call *call = post(STR("x"));
    call->is_held = true;
    settle();
    fake.holds_acks = true;
    fake.window = 0;
    answer_with(&backs[0], STR("no"));
    settle();
    fake.window = 1;
    quic_mark_dirty(&fake);
    settle();
    fake.user->ops->on_stream_reset(fake.user, call->id, H3_REQUEST_CANCELLED);
    assert_false(fake_stream(call->id)->was_reset);
    fake.window = 1 << 20;
    quic_mark_dirty(&fake);
    settle();
    assert_string_equal(text(&call->body), "no");
    assert_true(call->ended);
}

static void a_response_shorter_than_it_says_is_reset(void **state) {
    (void)state;
    struct call *call = get("/");
    settle();
    backs[0].loop.to_send = STR("half");
    answer(&backs[0], 200, 10, false);
    push_all(&backs[0]);
    settle();
    assert_int_equal(fake_stream(call->id)->reset_code, H3_INTERNAL_ERROR);
    assert_false(call->ended);
}

static void a_cut_response_is_reset(void **state) {
    (void)state;
    struct call *call = get("/");
    settle();
    backs[0].loop.to_send = STR("half");
    answer(&backs[0], 200, 100, false);
    loopback_push(&backs[0].loop, 4);
    settle();
    exchange_on_abort(&backs[0].loop.leg, ABORT_ORIGIN_RESET);
    settle();
    assert_true(fake_stream(call->id)->was_reset);
    assert_int_equal(fake_stream(call->id)->reset_code, H3_INTERNAL_ERROR);
    assert_false(call->ended);
}

static void draining_lets_everything_end(void **state) {
    (void)state;
    struct call *first = get("/");
    settle();
    listener_drain(listener, 10000000);
    settle();
    assert_int_equal(client.goaways, 1);
    assert_true(client.goaway_id > 1000);
    fake_receive(4, "", 0, false); /* it was on the way */
    pass_seconds(2);
    settle();
    assert_int_equal(client.goaways, 2);
    assert_int_equal(client.goaway_id, 8);
    fake_receive(8, "", 0, false);
    assert_int_equal(fake_stream(8)->stop_code, H3_REQUEST_REJECTED);
    assert_false(fake_stream(4)->was_stopped && fake_stream(4)->stop_code == H3_REQUEST_REJECTED);
    fake.user->ops->on_stream_close(fake.user, 4, QUIC_NO_CODE);
    if (backs[0].x)
        answer_with(&backs[0], STR("last"));
    settle();
    assert_string_equal(text(&first->body), "last");
    assert_true(fake.is_closed && fake.space == QUIC_APPLICATION);
    assert_int_equal(fake.code, H3_NO_ERROR);
    listener = NULL;
}

static void a_listener_that_drains_serves_its_own_snapshot(void **state) {
    (void)state;
    struct snapshot_view next = {.references = 1, .quiet = ignore_quiet};
    worker.view = &next;
    struct call *call = get("/");
    settle();
    assert_ptr_equal(backs[0].x->view, &view);
    answer_with(&backs[0], STR("old"));
    settle();
    assert_string_equal(text(&call->body), "old");
    assert_int_equal(next.references, 1);
    worker.view = &view;
}

static void an_idle_connection_ends(void **state) {
    (void)state;
    expire();
    settle();
    assert_true(fake.is_closed);
    assert_int_equal(fake.code, H3_NO_ERROR);
    assert_int_equal(stats_read(&worker.stats->client_idle_timeouts_total), 1);
}

static void a_head_that_does_not_come_ends_its_stream(void **state) {
    (void)state;
    fake_receive(0, "\x01\x40", 2, false);
    expire();
    assert_int_equal(fake_stream(0)->reset_code, H3_REQUEST_INCOMPLETE);
    assert_int_equal(stats_read(&worker.stats->client_header_timeouts_total), 1);
    assert_false(fake.is_closed);
}

static void malformed_requests_end_their_streams(void **state) {
    const nghttp3_nv upper[] = {BASIC("GET", "/"), nv("connection", "close")};
    const nghttp3_nv no_path[] = {nv(":method", "GET"), nv(":scheme", "https"), nv(":authority", "a")};
    const nghttp3_nv nobody[] = {nv(":method", "GET"), nv(":scheme", "https"), nv(":path", "/")};
    const nghttp3_nv shorter[] = {BASIC("POST", "/"), nv("content-length", "5")};
    (void)state;
    struct call *a = request_fields(upper, 5, STR(""), false), *b = request_fields(no_path, 3, STR(""), false);
    struct call *d = request_fields(nobody, 3, STR(""), false), *c = request_fields(shorter, 5, STR("abcd"), true);
    settle();
    assert_int_equal(fake_stream(d->id)->reset_code, H3_MESSAGE_ERROR);
    assert_int_equal(fake_stream(a->id)->reset_code, H3_MESSAGE_ERROR);
    assert_int_equal(fake_stream(b->id)->reset_code, H3_MESSAGE_ERROR);
    assert_int_equal(fake_stream(c->id)->reset_code, H3_MESSAGE_ERROR);
    assert_string_equal(logged.detail, "shorter-than-content-length");
    assert_false(fake.is_closed);
}

static void urgent_responses_go_first(void **state) {
    (void)state;
    const nghttp3_nv later[] = {BASIC("GET", "/"), nv("priority", "u=5")};
    const nghttp3_nv first[] = {BASIC("GET", "/"), nv("priority", "u=1")};
    struct call *a = request_fields(later, 5, STR(""), false), *b = request_fields(first, 5, STR(""), false);
    settle();
    fake.window = 0;
    answer_with(&backs[0], STR("late"));
    answer_with(&backs[1], STR("soon"));
    settle();
    fake.take_count = 0;
    fake.window = 1 << 20;
    quic_mark_dirty(&fake);
    settle();
    assert_int_equal(fake.takes[0], b->id);
    assert_int_equal(fake.takes[1], a->id);
}

static void equal_responses_go_by_their_ids(void **state) {
    (void)state;
    struct call *a = get("/"), *b = get("/");
    settle();
    fake.window = 0;
    answer_with(&backs[1], STR("second"));
    answer_with(&backs[0], STR("first"));
    settle();
    fake.take_count = 0;
    fake.window = 1 << 20;
    quic_mark_dirty(&fake);
    settle();
    assert_int_equal(fake.takes[0], a->id);
    assert_int_equal(fake.takes[1], b->id);
}

/* PRIORITY_UPDATE may name a stream that is still to come, as far as streams were allowed. */
static void a_priority_may_come_before_its_stream(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++)
        get("/");
    settle();
    for (int i = 0; i < 3; i++)
        answer_with(&backs[i], STR("x"));
    settle();
    assert_int_equal(fake.extended[1], 3);
    fake_receive(2, "\x80\x0f\x07\x00\x05\x41\x98u=1", 10, false); /* 408: the 103rd */
    assert_false(fake.is_closed);
    client.next_id = 408;
    const nghttp3_nv fields[] = {BASIC("GET", "/"), nv("priority", "u=5")};
    request_fields(fields, 5, STR(""), false);
    settle();
    assert_int_equal(h3_stream_find((struct h3_session *)fake.user, 408)->urgency, 1);
    fake_receive(2, "\x80\x0f\x07\x00\x02\x41\x9c", 7, false);
    assert_int_equal(fake.code, 0x108);
}

static void incremental_responses_take_turns(void **state) {
    (void)state;
    const nghttp3_nv fields[] = {BASIC("GET", "/"), nv("priority", "i")};
    struct call *a = request_fields(fields, 5, STR(""), false), *b = request_fields(fields, 5, STR(""), false);
    fill_large();
    settle();
    fake.window = 0;
    for (int i = 0; i < 2; i++) {
        backs[i].loop.to_send = (struct str){large, 10000};
        answer(&backs[i], 200, 10000, false);
        push_all(&backs[i]);
    }
    settle();
    fake.take_count = 0;
    fake.window = 1 << 20;
    fake.most = 1000;
    quic_mark_dirty(&fake);
    settle();
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(fake.takes[i], i % 2 ? b->id : a->id);
}

static void a_websocket_is_a_tunnel(void **state) {
    (void)state;
    const nghttp3_nv fields[] = {nv(":method", "CONNECT"), nv(":protocol", "websocket"), nv(":scheme", "https"),
                                 nv(":authority", "example.com"), nv(":path", "/chat"), nv("sec-websocket-version", "13")};
    struct call *call = request_fields(fields, 6, STR("ping"), true);
    call->is_held = true;
    settle();
    assert_true(str_eq(backs[0].loop.heads[0]->upgrade, STR("websocket")));
    head_init(&backs[0].response);
    backs[0].response.status = 101;
    backs[0].response.upgrade = STR("websocket");
    exchange_on_head(&backs[0].loop.leg, &backs[0].response, false);
    settle();
    assert_int_equal(call->status, 200);
    pull_all(&backs[0]);
    assert_string_equal(text(&backs[0].loop.received), "ping");
    backs[0].loop.to_send = STR("pong");
    loopback_push(&backs[0].loop, 4);
    settle();
    assert_string_equal(text(&call->body), "pong");
    exchange_on_abort(&backs[0].loop.leg, ABORT_ORIGIN_RESET);
    settle();
    assert_int_equal(fake_stream(call->id)->reset_code, H3_CONNECT_ERROR);
    assert_int_equal(logged.abort, ABORT_ORIGIN_RESET);
}

/* ---- early data (RFC 8470) */

static void safe_early_requests_go_on_and_say_so(void **state) {
    (void)state;
    fake.is_done = false;
    struct call *call = get("/");
    settle();
    assert_int_equal(back_count, 1);
    const struct field *early = fields_find(&backs[0].loop.heads[0]->fields, FIELD_EARLY_DATA);
    assert_true(early && str_eq(field_value(early), STR("1")));
    answer_with(&backs[0], STR("x"));
    settle();
    assert_true(call->ended);
}

static void other_early_requests_wait_for_the_handshake(void **state) {
    (void)state;
    fake.is_done = false;
    struct call *call = post(STR("question"));
    settle();
    assert_int_equal(back_count, 0);
    fake.is_done = true;
    fake.user->ops->on_handshake_done(fake.user);
    settle();
    assert_int_equal(back_count, 1);
    assert_null(fields_find(&backs[0].loop.heads[0]->fields, FIELD_EARLY_DATA));
    pull_all(&backs[0]);
    assert_string_equal(text(&backs[0].loop.received), "question");
    answer_with(&backs[0], STR("answer"));
    settle();
    assert_string_equal(text(&call->body), "answer");
}

/* ---- without memory */

static void one_exchange(void) {
    struct call *call = post(STR("question"));
    settle();
    if (back_count && backs[back_count - 1].x) {
        struct back *b = &backs[back_count - 1];
        pull_all(b);
        answer_with(b, STR("answer"));
    }
    settle();
    (void)call;
}

static void any_allocation_may_fail(void **state) {
    for (int n = 0; n < 120; n++) {
        assert_int_equal(client_set_up(state), 0);
        hg_alloc_fail_at(n, 1);
        one_exchange();
        assert_int_equal(client_tear_down(state), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, client_set_up, client_tear_down)
        TEST(settings_say_what_it_can_do),
        TEST(a_request_is_answered),
        TEST(a_small_response_is_one_piece),
        cmocka_unit_test_setup_teardown(no_response_waits_for_entries, set_up_with_table, client_tear_down),
        TEST(many_requests_run_beside_each_other),
        TEST(bodies_go_both_ways),
        TEST(bytes_may_come_one_by_one),
        TEST(a_response_without_body_ends_with_its_head),
        TEST(head_keeps_its_length),
        TEST(a_head_request_that_is_refused_is_answered_without_a_body),
        TEST(interim_responses_come_first),
        TEST(continue_is_said_once_the_origin_asks),
        TEST(trailers_go_both_ways),
        TEST(a_large_body_waits_for_acknowledgements),
        TEST(a_window_that_is_full_holds_its_stream_only),
        TEST(many_full_windows_hold_nobody_else),
        TEST(a_window_that_stays_full_ends_its_stream),
        TEST(windows_are_credit),
        TEST(a_client_that_goes_away_ends_its_exchange),
        TEST(a_response_that_nobody_wants_ends_its_exchange),
        TEST(an_early_answer_stops_the_request),
        TEST(an_answer_outlives_the_rest_of_its_request),
        TEST(a_response_shorter_than_it_says_is_reset),
        TEST(a_cut_response_is_reset),
        TEST(draining_lets_everything_end),
        TEST(a_listener_that_drains_serves_its_own_snapshot),
        TEST(an_idle_connection_ends),
        TEST(a_head_that_does_not_come_ends_its_stream),
        TEST(malformed_requests_end_their_streams),
        TEST(urgent_responses_go_first),
        TEST(equal_responses_go_by_their_ids),
        TEST(a_priority_may_come_before_its_stream),
        TEST(incremental_responses_take_turns),
        TEST(a_websocket_is_a_tunnel),
        TEST(safe_early_requests_go_on_and_say_so),
        TEST(other_early_requests_wait_for_the_handshake),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("h3 server", tests, NULL, NULL);
}
