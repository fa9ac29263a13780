/* What becomes of connections to HTTP/2 origins: limits, GOAWAY, refused streams, faults, lack of memory. */
#include "tests/unit/dataplane/codec/h2/origin.h"

static char large[1 << 20];

static void assert_answered(const struct call *c, unsigned status) {
    assert_true(c->loop.received_end);
    assert_int_equal(c->status, status);
}

static void set_streams(uint32_t most) {
    origin_settings[0] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, most};
    origin_setting_count = 1;
}

/* Answers what is open, until nothing comes any more. */
static void answer_all(void) {
    unsigned done = 0;
    for (int i = 0; i < 4; i++) {
        settle();
        for (; done < question_count; done++)
            if (!questions[done].closed)
                answer(&questions[done], "200", STR("x"));
    }
    settle();
}

static void assert_all_answered(void) {
    for (unsigned i = 0; i < call_count; i++)
        assert_answered(&calls[i], 200);
}

static void raw(struct origin *o, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t n) {
    const uint8_t head[] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags,
                            (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    origin_send(o, head, sizeof head);
    origin_send(o, payload, n);
}

/* One exchange that is over, so that the origin's SETTINGS are known. */
static void get_acquainted(void) {
    get();
    answer_all();
    assert_all_answered();
    call_count = 0;
    strbuf_finish(&calls[0].fields);
    loopback_finish(&calls[0].loop);
}

/* ---- a connection that breaks */

/* The kernel takes a part of what many requests need, and then no more: the origin has seen some of them. */
static void what_was_written_in_part_is_not_sent_again(void **state) {
    enum { COUNT = 90 };
    static char value[8000];
    const char *const fields[][2] = {{"x-large", value}};
    (void)state;
    memset(value, 'x', sizeof value - 1);
    get_acquainted();
    for (int i = 0; i < COUNT; i++)
        ask_fields("POST", STR(""), false, 0, 1, fields);
    worker_end_turn(&worker);
    origin_receive(&origins[0]);
    assert_in_range(question_count, 2, COUNT);
    shutdown(origins[0].fd, SHUT_RD);
    settle();
    assert_true(question_count <= 1 + COUNT);
}

/* ---- how many at once */

static void the_origins_limit_is_kept(void **state) {
    (void)state;
    set_streams(3);
    get_acquainted();
    for (int i = 0; i < 7; i++)
        get();
    settle();
    assert_int_equal(question_count, 1 + 7);
    assert_true(origin_count >= 2 && origin_count <= 4);
    answer_all();
    assert_all_answered();
}

/* At first nobody knows the limit; what is too much waits, or moves on when the origin refuses it. */
static void a_limit_that_comes_late(void **state) {
    (void)state;
    set_streams(2);
    for (int i = 0; i < 30; i++)
        get();
    for (int i = 0; i < 20; i++)
        answer_all();
    assert_all_answered();
}

static void our_own_limit_is_kept(void **state) {
    (void)state;
    http2.max_concurrent_streams = 4;
    for (int i = 0; i < 8; i++)
        get();
    settle();
    assert_int_equal(question_count, 8);
    assert_int_equal(origin_count, 2);
    answer_all();
    assert_all_answered();
}

static void an_origin_that_allows_nothing_for_now(void **state) {
    (void)state;
    set_streams(0);
    next_is_raw = true; /* so that it does not refuse */
    get();
    settle();
    raw(&origins[0], NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\0", 6);
    settle();
    struct call *second = get();
    settle();
    size_t before = origins[0].received;
    raw(&origins[0], NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\2", 6);
    settle();
    assert_true(origins[0].received > before);
    assert_false(second->loop.received_end);
}

/* A request that is not even begun has its time, too. */
static void a_request_that_never_gets_out(void **state) {
    (void)state;
    http2.settings_timeout = 3600000000;
    next_is_raw = true; /* no SETTINGS: four may go */
    for (int i = 0; i < 4; i++)
        get();
    settle();
    struct call *held = post(STR("question"));
    settle();
    assert_int_equal(question_count, 4);
    pass(cluster.options.write_timeout + 2000000);
    settle();
    assert_answered(held, 504);
    assert_false(calls[0].loop.received_end);
    assert_int_equal(origin_count, 1);
}

static void ids_run_out(void **state) {
    (void)state;
    struct call *first = get();
    settle();
    struct h2_session *session = h2_stream_of(calls[0].x->back)->session;
    assert_int_equal(nghttp2_session_set_next_stream_id(session->library, (1 << 30) + 1), 0);
    get();
    settle();
    get();
    settle();
    assert_int_equal(origin_count, 2);
    assert_int_equal(questions[1].id, (1 << 30) + 1);
    assert_int_equal(questions[2].id, 1);
    answer_all();
    assert_all_answered();
    assert_answered(first, 200);
    assert_true(origins[0].eof); /* closed with its last exchange */
}

/* ---- the origin goes away, or refuses */

static void goaway_in_two_phases(void **state) {
    (void)state;
    get();
    get();
    settle();
    nghttp2_submit_shutdown_notice(origins[0].session);
    settle();
    struct call *later = get();
    settle();
    assert_int_equal(origin_count, 2);
    nghttp2_submit_goaway(origins[0].session, NGHTTP2_FLAG_NONE, 3, NGHTTP2_NO_ERROR, NULL, 0);
    answer_all();
    assert_all_answered();
    assert_answered(later, 200);
    assert_int_equal(stats_read(&worker.stats->retries_total), 0);
    assert_true(origins[0].eof);
}

/* RFC 9113 section 6.8: what is above the last id was not looked at, whatever its method. */
static void streams_above_the_last_one_go_elsewhere(void **state) {
    (void)state;
    get();
    settle();
    struct call *moved = ask_fields("POST", STR(""), false, 0, 0, NULL);
    settle();
    nghttp2_submit_goaway(origins[0].session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, NULL, 0);
    settle();
    assert_int_equal(origin_count, 2);
    assert_int_equal(question_count, 3);
    assert_non_null(strstr(text(&questions[2].fields), ":method: POST"));
    answer_all();
    assert_answered(moved, 200);
    assert_all_answered();
    assert_int_equal(stats_read(&worker.stats->retries_total), 1);
}

static void refused_streams_are_sent_again(void **state) {
    (void)state;
    struct call *c = ask_fields("POST", STR(""), false, 0, 0, NULL);
    settle();
    nghttp2_submit_rst_stream(origins[0].session, NGHTTP2_FLAG_NONE, questions[0].id, NGHTTP2_REFUSED_STREAM);
    settle();
    assert_int_equal(question_count, 2);
    answer(&questions[1], "200", STR("x"));
    settle();
    assert_answered(c, 200);
    assert_int_equal(origin_count, 1);
}

/* Once it is tried again; more often only within the retry budget, which there is none of here. */
static void an_origin_that_always_refuses(void **state) {
    (void)state;
    struct call *c = get();
    for (unsigned i = 0; i < 10; i++) {
        settle();
        const struct question *q = &questions[i];
        if (i < question_count && !q->closed)
            nghttp2_submit_rst_stream(q->origin->session, NGHTTP2_FLAG_NONE, q->id, NGHTTP2_REFUSED_STREAM);
    }
    settle();
    assert_answered(c, 503);
    assert_int_equal(logged.abort, ABORT_ORIGIN_REFUSED);
    assert_int_equal(logged.attempts, 2);
}

/* What was passed on of a body is not there any more. */
static void a_refused_request_whose_body_is_under_way(void **state) {
    (void)state;
    struct call *c = post((struct str){large, sizeof large});
    settle();
    assert_true(questions[0].body.n > 0);
    nghttp2_submit_rst_stream(origins[0].session, NGHTTP2_FLAG_NONE, questions[0].id, NGHTTP2_REFUSED_STREAM);
    settle();
    assert_answered(c, 503);
    assert_int_equal(question_count, 1);
}

static void a_connection_that_was_closed_meanwhile(void **state) {
    (void)state;
    get_acquainted();
    origin_close(&origins[0]);
    struct call *c = ask_fields("POST", STR(""), false, 0, 0, NULL); /* nothing of it is written */
    answer_all();
    assert_answered(c, 200);
    assert_int_equal(origin_count, 2);
}

static void a_connection_that_is_closed_under_requests(void **state) {
    (void)state;
    get_acquainted();
    struct call *safe = get(), *unsafe = ask_fields("POST", STR(""), false, 0, 0, NULL);
    settle();
    assert_int_equal(question_count, 3);
    origin_close(&origins[0]);
    answer_all();
    assert_answered(safe, 200); /* it ran over a kept connection */
    assert_answered(unsafe, 502);
}

static void nobody_listens(void **state) {
    (void)state;
    close(listening);
    struct call *c = get();
    settle();
    assert_answered(c, 503);
    assert_int_equal(logged.abort, ABORT_CONNECT_FAILED);
    listening = -1;
}

/* ---- faults of the connection */

static void assert_ended_with(uint32_t code) {
    settle();
    assert_true(origins[0].has_goaway && origins[0].goaway_code == code);
    assert_true(origins[0].eof);
    assert_true(calls[0].loop.received_end && calls[0].status >= 500);
    assert_int_equal(logged.abort, ABORT_ORIGIN_PROTOCOL);
    struct call *later = get();
    settle();
    assert_int_equal(origin_count, 2);
    answer(&questions[question_count - 1], "200", STR("x"));
    settle();
    assert_answered(later, 200);
}

static void a_promise_nobody_wants(void **state) {
    (void)state;
    get();
    settle();
    raw(&origins[0], NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, "\0\0\0\2\x82\x84\x86", 7);
    assert_ended_with(NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(stats_read(&worker.stats->h2_protocol_errors_total), 1);
}

static void frames_that_are_too_large(void **state) {
    (void)state;
    get();
    settle();
    raw(&origins[0], NGHTTP2_DATA, 0, 1, large, 20000);
    assert_ended_with(NGHTTP2_FRAME_SIZE_ERROR);
}

static void a_head_that_nobody_can_decode(void **state) {
    (void)state;
    get();
    settle();
    raw(&origins[0], NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff", 6);
    assert_ended_with(NGHTTP2_COMPRESSION_ERROR);
}

static void an_answer_to_nothing(void **state) {
    (void)state;
    get();
    settle();
    raw(&origins[0], NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2, "\x88", 1);
    assert_ended_with(NGHTTP2_PROTOCOL_ERROR);
}

static void a_flood_of_pings(void **state) {
    (void)state;
    get();
    settle();
    for (int i = 0; i < 5000; i++)
        raw(&origins[0], NGHTTP2_PING, 0, 0, "12345678", 8);
    assert_ended_with(NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(stats_read(&worker.stats->h2_floods_total), 1);
}

static void a_flood_of_settings(void **state) {
    (void)state;
    get();
    settle();
    for (int i = 0; i < 5000; i++)
        raw(&origins[0], NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\1", 6);
    assert_ended_with(NGHTTP2_ENHANCE_YOUR_CALM);
}

static void a_head_without_end(void **state) {
    (void)state;
    get();
    settle();
    raw(&origins[0], NGHTTP2_HEADERS, 0, 1, "\x88", 1);
    for (int i = 0; i < 100; i++)
        raw(&origins[0], NGHTTP2_CONTINUATION, 0, 1, "\0\1a\1b", 5);
    assert_ended_with(NGHTTP2_ENHANCE_YOUR_CALM);
}

/* Nobody waits for anything on this connection, and the origin hears of its fault all the same. */
static void a_frame_behind_the_end_of_a_response(void **state) {
    (void)state;
    struct call *c = get();
    settle();
    raw(&origins[0], NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, "\x88", 1);
    raw(&origins[0], NGHTTP2_DATA, 0, 1, "x", 1);
    settle();
    assert_answered(c, 200);
    assert_true(origins[0].has_goaway && origins[0].eof);
    assert_int_equal(origins[0].goaway_code, NGHTTP2_STREAM_CLOSED);
}

static void settings_that_are_not_acknowledged(void **state) {
    (void)state;
    next_is_raw = true;
    get();
    settle();
    pass(http2.settings_timeout - 1000000);
    settle();
    assert_false(origins[0].has_goaway);
    next_is_raw = false;
    pass(2000000);
    assert_ended_with(NGHTTP2_SETTINGS_TIMEOUT);
    assert_int_equal(stats_read(&worker.stats->h2_faults[STATS_TLS_ORIGINS][H2_FAULT_SETTINGS_TIMEOUT]), 1);
}

/* Heads that each are small enough, and together are not: the one that is too much fails. */
static void heads_of_all_streams_have_one_limit(void **state) {
    (void)state;
    static char value[10001];
    memset(value, 'v', sizeof value - 1);
    http2.header_bytes_held = 35000;
    for (int i = 0; i < 4; i++)
        get();
    settle();
    const nghttp2_nv fields[] = {nv(":status", "200"), nv("x-long", value)};
    for (unsigned i = 0; i < 4; i++) {
        questions[i].is_held = true;
        answer_fields(&questions[i], fields, 2, STR("x"), true);
        settle();
    }
    assert_int_equal(calls[2].status, 200);
    assert_answered(&calls[3], 502);
    assert_int_equal(questions[3].code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(logged.abort, ABORT_ORIGIN_TOO_LARGE);
    assert_string_equal(logged.detail, "connection-heads-too-large");
    assert_int_equal(stats_read(&worker.stats->h2_heads_refused_total), 1);
    for (unsigned i = 0; i < 3; i++) {
        questions[i].is_held = false;
        nghttp2_session_resume_data(questions[i].origin->session, questions[i].id);
    }
    settle();
    assert_answered(&calls[0], 200);
    get(); /* what has ended counts no more */
    settle();
    answer_fields(&questions[4], fields, 2, STR("x"), true);
    settle();
    assert_answered(&calls[4], 200);
    assert_int_equal(origin_count, 1);
}

static void a_worker_without_memory_for_sessions(void **state) {
    (void)state;
    worker.session_memory.limit = 0;
    worker.session_memory.used = 1;
    struct call *c = get();
    settle();
    worker.session_memory.used = 0;
    assert_answered(c, 503);
    assert_int_equal(origin_count, 0);
    assert_true(stats_read(&worker.stats->overload_total) > 0);
    worker.session_memory.limit = SIZE_MAX;
    struct call *later = get();
    settle();
    answer(&questions[0], "200", STR("x"));
    settle();
    assert_answered(later, 200);
}

/* ---- lack of memory, and chance */

static void answer_open(void) {
    settle();
    for (unsigned i = 0; i < question_count; i++) {
        struct question *q = &questions[i];
        bool has_body = !strstr(text(&q->fields), ":method: HEAD");
        if (!q->closed && !q->to_send.p)
            answer(q, "200", has_body ? STR("answer") : STR(""));
    }
    settle();
}

static void memory_is_short_everywhere(void **state) {
    for (long nth = 0; nth < 120; nth++) {
        hg_alloc_fail_at(nth, nth % 3 == 0);
        get();
        post(STR("question"));
        ask_fields("HEAD", STR(""), false, -1, 0, NULL);
        answer_open();
        hg_alloc_fail_at(-1, 0);
        for (int i = 0; i < 3; i++)
            answer_open(); /* what was tried again */
        for (unsigned i = 0; i < call_count; i++)
            assert_null(calls[i].loop.leg.exchange);
        assert_int_equal(origins_tear_down(state), 0);
        assert_int_equal(origins_set_up(state), 0);
    }
}

static uint32_t seed;

static uint32_t random_below(uint32_t n) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static void do_something(void) {
    struct question *q = question_count ? &questions[random_below(question_count)] : NULL;
    struct call *c = call_count ? &calls[random_below(call_count)] : NULL;
    struct origin *o = origin_count ? &origins[random_below(origin_count)] : NULL;
    bool is_open = q && !q->closed && q->origin->fd >= 0 && nghttp2_session_find_stream(q->origin->session, q->id);
    static const char *const statuses[] = {"200", "204", "304", "404", "503"};
    const nghttp2_nv fields[] = {nv(":status", statuses[random_below(5)]), nv("content-length", "70000")};
    switch (random_below(14)) {
    case 0: case 1: case 2: get(); break;
    case 3: case 4: post((struct str){large, random_below(sizeof large)}); break;
    case 5: case 6: case 7:
        if (is_open && q->to_send.p == NULL)
            answer(q, "200", (struct str){large, random_below(200000) + 1});
        break;
    case 8:
        if (is_open && q->to_send.p == NULL)
            answer_fields(q, fields, random_below(2) + 1, (struct str){large, random_below(90000) + 1}, true);
        break;
    case 9:
        if (is_open)
            nghttp2_submit_rst_stream(q->origin->session, NGHTTP2_FLAG_NONE, q->id, random_below(14));
        break;
    case 10:
        if (c && c->loop.leg.exchange)
            exchange_on_abort(&c->loop.leg, ABORT_CLIENT_GONE);
        break;
    case 11:
        if (c)
            c->reads_nothing = random_below(3) == 0;
        break;
    case 12:
        if (o && o->fd >= 0 && random_below(4) == 0)
            nghttp2_submit_goaway(o->session, NGHTTP2_FLAG_NONE, (int32_t)random_below(20), NGHTTP2_NO_ERROR, NULL, 0);
        else if (o && o->fd >= 0 && random_below(6) == 0)
            origin_close(o);
        break;
    default: pass(random_below(100000)); break;
    }
    if (random_below(2))
        turn_all();
}

static void random_schedules(void **state) {
    for (uint32_t run = 0; run < 60; run++) {
        seed = run * 7919 + 1;
        set_streams(random_below(3) ? 100 : random_below(5) + 1);
        origin_settings[origin_setting_count++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, random_below(3) ? 65535 : random_below(3000)};
        http2.ping_interval = random_below(2) ? 1000000 : 0;
        for (int i = 0; i < 150 && origin_count + 12 < ORIGINS; i++)
            do_something();
        assert_true(worker.buffer_used <= (uint64_t)call_count * 3 * settings.limits.buffer);
        assert_int_equal(origins_tear_down(state), 0);
        assert_int_equal(origins_set_up(state), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, origins_set_up, origins_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_in_part_is_not_sent_again),
        TEST(the_origins_limit_is_kept),
        TEST(a_limit_that_comes_late),
        TEST(our_own_limit_is_kept),
        TEST(an_origin_that_allows_nothing_for_now),
        TEST(a_request_that_never_gets_out),
        TEST(ids_run_out),
        TEST(goaway_in_two_phases),
        TEST(streams_above_the_last_one_go_elsewhere),
        TEST(refused_streams_are_sent_again),
        TEST(an_origin_that_always_refuses),
        TEST(a_refused_request_whose_body_is_under_way),
        TEST(a_connection_that_was_closed_meanwhile),
        TEST(a_connection_that_is_closed_under_requests),
        TEST(nobody_listens),
        TEST(a_promise_nobody_wants),
        TEST(frames_that_are_too_large),
        TEST(a_head_that_nobody_can_decode),
        TEST(an_answer_to_nothing),
        TEST(a_flood_of_pings),
        TEST(a_flood_of_settings),
        TEST(a_head_without_end),
        TEST(a_frame_behind_the_end_of_a_response),
        TEST(settings_that_are_not_acknowledged),
        TEST(heads_of_all_streams_have_one_limit),
        TEST(a_worker_without_memory_for_sessions),
        TEST(memory_is_short_everywhere),
        TEST(random_schedules),
    };
    return cmocka_run_group_tests_name("connections to http2 origins", tests, NULL, NULL);
}
