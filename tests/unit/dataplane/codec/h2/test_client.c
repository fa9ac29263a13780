/* Requests to HTTP/2 origins, one aspect at a time. */
#include "tests/unit/dataplane/codec/h2/origin.h"

static void assert_answered(const struct call *c, unsigned status) {
    assert_true(c->loop.received_end);
    assert_int_equal(c->status, status);
}

static void set_window(uint32_t bytes) {
    origin_settings[origin_setting_count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, bytes};
}

/* ---- messages */

static void a_request_is_answered(void **state) {
    (void)state;
    static const char *const fields[][2] = {{"x-mixed", "Case"}, {"cookie", "a=b; c=d"}};
    struct call *c = ask_fields("GET", STR(""), false, -1, 2, fields);
    settle();
    assert_int_equal(question_count, 1);
    struct question *q = &questions[0];
    assert_true(q->ended);
    const char *begin = ":method: GET\n:scheme: http\n:authority: example.com\n:path: /\n";
    assert_memory_equal(text(&q->fields), begin, strlen(begin));
    assert_non_null(strstr(text(&q->fields), "\nx-mixed: Case\n"));
    assert_non_null(strstr(text(&q->fields), "\ncookie: a=b; c=d\n"));
    answer(q, "200", STR("hello"));
    settle();
    assert_answered(c, 200);
    assert_string_equal(text(&c->loop.received), "hello");
    assert_non_null(strstr(text(&c->fields), "x-origin: yes\n"));
    assert_int_equal(c->content_length, 5);
    assert_true(q->closed && q->code == NGHTTP2_NO_ERROR);
    assert_int_equal(logged.status, 200);
}

static void one_connection_carries_them_all(void **state) {
    (void)state;
    enum { COUNT = 90 };
    for (int i = 0; i < COUNT; i++)
        get();
    settle();
    assert_int_equal(question_count, COUNT);
    for (int i = COUNT; i-- > 0;) {
        char status[4];
        snprintf(status, sizeof status, "%d", 400 + i);
        answer(&questions[i], status, STR("x"));
    }
    settle();
    for (unsigned i = 0; i < COUNT; i++)
        assert_answered(&calls[i], 400 + i);
    struct call *later = get();
    settle();
    answer(&questions[COUNT], "200", STR(""));
    settle();
    assert_answered(later, 200);
    assert_int_equal(origin_count, 1);
    assert_int_equal(stats_read(&worker.stats->origin_connects_total), 1);
    assert_int_equal(stats_read(&worker.stats->origin_reuses_total), COUNT);
}

static void bodies_and_trailers_go_both_ways(void **state) {
    (void)state;
    static const nghttp2_nv trailer = {(uint8_t *)"x-sum", (uint8_t *)"1", 5, 1, NGHTTP2_NV_FLAG_NONE};
    struct call *c = ask_fields("POST", STR("question"), true, -1, 0, NULL);
    struct fields trailers = {0};
    fields_add(&trailers, exchange_arena(c->x), STR("x-check"), STR("2"));
    c->loop.trailers = &trailers;
    settle();
    struct question *q = &questions[0];
    assert_string_equal(text(&q->body), "question");
    assert_string_equal(text(&q->trailers), "x-check: 2\n");
    assert_true(q->ended);
    q->trailer = &trailer;
    const nghttp2_nv fields[] = {nv(":status", "200")};
    answer_fields(q, fields, 1, STR("answer"), true);
    settle();
    assert_answered(c, 200);
    assert_string_equal(text(&c->loop.received), "answer");
    assert_string_equal(text(&c->trailers), "x-sum: 1\n");
}

static char large[1 << 20];

static void a_large_body_goes_within_the_windows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 2654435761u >> 13);
    struct call *c = post((struct str){large, sizeof large});
    for (int i = 0; i < 500 && !(question_count && questions[0].ended); i++)
        turn_all();
    struct question *q = &questions[0];
    assert_int_equal(q->body.n, sizeof large);
    assert_memory_equal(q->body.p, large, sizeof large);
    answer(q, "200", (struct str){large, sizeof large});
    for (int i = 0; i < 500 && !c->loop.received_end; i++)
        turn_all();
    assert_answered(c, 200);
    assert_int_equal(c->loop.received.n, sizeof large);
    assert_memory_equal(c->loop.received.p, large, sizeof large);
}

static void interim_responses_go_first(void **state) {
    (void)state;
    struct call *c = get();
    settle();
    const nghttp2_nv hint[] = {nv(":status", "103"), nv("link", "</a>")};
    nghttp2_submit_headers(questions[0].origin->session, NGHTTP2_FLAG_NONE, questions[0].id, NULL, hint, 2, NULL);
    settle();
    assert_int_equal(c->status, 103);
    answer(&questions[0], "200", STR("x"));
    settle();
    assert_answered(c, 200);
    assert_int_equal(c->loop.head_count, 2);
}

static void responses_that_have_no_body(void **state) {
    (void)state;
    struct call *head = ask_fields("HEAD", STR(""), false, -1, 0, NULL), *empty = get(), *same = get();
    settle();
    const nghttp2_nv length[] = {nv(":status", "200"), nv("content-length", "1000")};
    const nghttp2_nv not_modified[] = {nv(":status", "304"), nv("content-length", "1000")};
    answer_fields(&questions[0], length, 2, STR(""), false);
    answer(&questions[1], "204", STR(""));
    answer_fields(&questions[2], not_modified, 2, STR(""), true); /* END_STREAM on an empty DATA frame */
    settle();
    assert_answered(head, 200);
    assert_int_equal(head->content_length, 1000);
    assert_answered(empty, 204);
    assert_answered(same, 304);
    assert_int_equal(origin_count, 1);
}

/* ---- what is malformed ends one exchange, and no other */

static void assert_only_this_fails(const char *detail) {
    struct call *bad = &calls[0], *good = &calls[1];
    settle();
    assert_answered(bad, 502);
    assert_string_equal(logged.detail, detail);
    assert_true(questions[0].closed);
    answer(&questions[1], "200", STR("x"));
    settle();
    assert_answered(good, 200);
    assert_int_equal(origin_count, 1);
    assert_int_equal(stats_read(&worker.stats->origin_protocol_errors_total), 1);
}

static void ask_two(void) {
    get();
    get();
    settle();
    assert_int_equal(question_count, 2);
}

static void malformed_heads(void **state) {
    (void)state;
    ask_two();
    const nghttp2_nv fields[] = {nv(":status", "200"), nv("connection", "close")};
    questions[0].is_held = true;
    answer_fields(&questions[0], fields, 2, STR("x"), true);
    assert_only_this_fails("connection-field");
    assert_int_equal(questions[0].code, NGHTTP2_PROTOCOL_ERROR);
}

static void switching_protocols(void **state) {
    (void)state;
    ask_two();
    const nghttp2_nv fields[] = {nv(":status", "101")};
    nghttp2_submit_headers(questions[0].origin->session, NGHTTP2_FLAG_NONE, questions[0].id, NULL, fields, 1, NULL);
    assert_only_this_fails("status");
}

static void an_interim_response_that_ends_the_stream(void **state) {
    (void)state;
    ask_two();
    const nghttp2_nv fields[] = {nv(":status", "103")};
    answer_fields(&questions[0], fields, 1, STR(""), false);
    assert_only_this_fails("interim-response-ends");
}

static void a_head_that_ends_before_its_length(void **state) {
    (void)state;
    ask_two();
    const nghttp2_nv fields[] = {nv(":status", "200"), nv("content-length", "5")};
    answer_fields(&questions[0], fields, 2, STR(""), false);
    assert_only_this_fails("shorter-than-content-length");
}

static void assert_is_cut(const char *length, const char *body) {
    struct call *c = get(), *other = get();
    settle();
    const nghttp2_nv fields[] = {nv(":status", "200"), nv("content-length", length)};
    answer_fields(&questions[0], fields, 2, str_of(body), true);
    settle();
    assert_int_equal(c->loop.head_count, 1);
    assert_true(!c->loop.received_end && c->loop.aborted == ABORT_ORIGIN_PROTOCOL);
    answer(&questions[1], "200", STR("x"));
    settle();
    assert_answered(other, 200);
}

static void a_body_shorter_than_its_length(void **state) {
    (void)state;
    assert_is_cut("10", "12345");
}

static void a_body_longer_than_its_length(void **state) {
    (void)state;
    assert_is_cut("3", "12345");
}

struct fault {
    uint8_t     type, flags;
    bool        is_of_connection;          /* the frame stands on stream 0 */
    const char *payload;
    size_t      n;
};

#define PAYLOAD(text) (text), sizeof(text) - 1

static void send_fault(const struct question *q, const struct fault *f) {
    uint32_t id = f->is_of_connection ? 0 : (uint32_t)q->id;
    const uint8_t head[] = {0, 0, (uint8_t)f->n, f->type, f->flags, 0, 0, (uint8_t)(id >> 8), (uint8_t)id};
    const uint8_t *bytes;
    ssize_t made;
    while ((made = nghttp2_session_mem_send(q->origin->session, &bytes)) > 0)
        origin_send(q->origin, bytes, (size_t)made);
    origin_send(q->origin, head, sizeof head);
    origin_send(q->origin, f->payload, f->n);
}

/* The head, some of the body and the fault in one segment, of which nothing is written to the client. */
static void assert_is_502(const struct fault *f) {
    unsigned asked = question_count;
    struct call *c = get();
    c->loop.holds_head = true;
    settle();
    assert_int_equal(question_count, asked + 1);
    questions[asked].is_held = true;
    const nghttp2_nv fields[] = {nv(":status", "200"), nv("content-length", "3")};
    answer_fields(&questions[asked], fields, 2, STR("x"), true);
    send_fault(&questions[asked], f);
    settle();
    assert_answered(c, 502);
    assert_int_equal(c->loop.aborted, ABORT_NONE);
    assert_int_equal(c->loop.head_count, 1);
    assert_int_equal(logged.status, 502);
    assert_int_equal(logged.attempts, 1);
}

static void faults_of_a_stream_right_behind_its_head(void **state) {
    (void)state;
    static const struct fault faults[] = {
        {NGHTTP2_RST_STREAM, 0, false, PAYLOAD("\0\0\0\2")},
        {NGHTTP2_RST_STREAM, 0, false, PAYLOAD("\0\0\0\0")},
        {NGHTTP2_DATA, 0, false, PAYLOAD("more")},
        {NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, false, PAYLOAD("")},
        {NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, false, PAYLOAD("\x88")},
        {NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, false, PAYLOAD("\x88")},
    };
    struct call *other = get();
    settle();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        assert_is_502(&faults[i]);
    answer(&questions[0], "200", STR("x"));
    settle();
    assert_answered(other, 200);
    assert_int_equal(origin_count, 1);
}

static void faults_of_a_connection_right_behind_a_head(void **state) {
    (void)state;
    static const struct fault faults[] = {
        {NGHTTP2_DATA, 0, true, PAYLOAD("x")},
        {NGHTTP2_PING, 0, true, PAYLOAD("short")},
        {NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, false, PAYLOAD("\x80")}, /* index 0 */
        {NGHTTP2_WINDOW_UPDATE, 0, false, PAYLOAD("\x7f\xff\xff\xff")},
    };
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++) {
        assert_is_502(&faults[i]);
        assert_int_equal(origin_count, i + 1);
        assert_true(origins[i].has_goaway && origins[i].eof);
        assert_true(origins[i].goaway_code != NGHTTP2_NO_ERROR);
    }
}

static void a_body_where_none_may_be(void **state) {
    (void)state;
    struct call *c = ask_fields("HEAD", STR(""), false, -1, 0, NULL);
    settle();
    const nghttp2_nv fields[] = {nv(":status", "200")};
    answer_fields(&questions[0], fields, 1, STR("x"), true);
    settle();
    assert_int_equal(logged.abort, ABORT_ORIGIN_PROTOCOL);
    assert_true(questions[0].closed && c->loop.received.n == 0);
}

static void heads_that_are_too_large(void **state) {
    (void)state;
    enum { MOST = 8192 };
    static char value[MOST];
    memset(value, 'x', MOST - 1);
    cluster.options.header_bytes = MOST;
    struct call *c = get(), *many = get(), *other = get();
    settle();
    const nghttp2_nv fields[] = {nv(":status", "200"), nv("x-a", value)};
    answer_fields(&questions[0], fields, 2, STR(""), false);
    nghttp2_nv crowd[201] = {nv(":status", "200")};
    for (int i = 1; i <= 200; i++)
        crowd[i] = nv("x", "y");
    answer_fields(&questions[1], crowd, 201, STR(""), false);
    settle();
    assert_answered(c, 502);
    assert_answered(many, 502);
    assert_int_equal(logged.abort, ABORT_ORIGIN_TOO_LARGE);
    answer(&questions[2], "200", STR("x"));
    settle();
    assert_answered(other, 200);
    assert_int_equal(origin_count, 1);
}

/* What the origin says that it takes, nobody has to find out. */
static void a_request_beyond_the_limit_of_its_origin(void **state) {
    (void)state;
    static char value[1000];
    memset(value, 'x', sizeof value - 1);
    const char *const fields[][2] = {{"x-large", value}};
    origin_settings[origin_setting_count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 1000};
    get(); /* the limit is known from then on */
    settle();
    struct call *beyond = ask_fields("POST", STR("question"), true, 8, 1, fields), *other = get();
    settle();
    assert_answered(beyond, 431);
    assert_int_equal(logged.abort, ABORT_HEADERS_TOO_LARGE);
    assert_string_equal(logged.detail, "beyond-origin-limit");
    assert_int_equal(logged.attempts, 1);
    assert_int_equal(question_count, 2);
    answer(&questions[1], "200", STR("x"));
    settle();
    assert_answered(other, 200);
    assert_int_equal(origin_count, 1);
}

/* ---- either side gives up */

static void a_client_that_leaves_resets_its_stream(void **state) {
    (void)state;
    struct call *gone = get(), *other = get();
    settle();
    exchange_on_abort(&gone->loop.leg, ABORT_CLIENT_GONE);
    settle();
    assert_true(questions[0].closed && questions[0].code == NGHTTP2_CANCEL);
    answer(&questions[1], "200", STR("x"));
    settle();
    assert_answered(other, 200);
    assert_int_equal(origin_count, 1);
}

static void a_reset_in_the_body_cuts_the_response(void **state) {
    (void)state;
    struct call *c = get();
    settle();
    questions[0].is_held = true;
    const nghttp2_nv fields[] = {nv(":status", "200")};
    answer_fields(&questions[0], fields, 1, STR("begin"), true);
    settle();
    assert_string_equal(text(&c->loop.received), "begin");
    nghttp2_submit_rst_stream(questions[0].origin->session, NGHTTP2_FLAG_NONE, questions[0].id, NGHTTP2_INTERNAL_ERROR);
    settle();
    assert_int_equal(c->loop.aborted, ABORT_ORIGIN_STREAM_RESET);
}

/* RFC 9113 section 8.1: the answer is complete, and the rest of the request is of no use. */
static void an_early_answer_ends_the_request(void **state) {
    (void)state;
    set_window(0);
    struct call *c = post((struct str){large, sizeof large});
    settle();
    struct question *q = &questions[0];
    answer(q, "413", STR("too large"));
    settle();
    nghttp2_submit_rst_stream(q->origin->session, NGHTTP2_FLAG_NONE, q->id, NGHTTP2_NO_ERROR);
    settle();
    assert_answered(c, 413);
    assert_true(c->loop.is_stopped);
    assert_int_equal(logged.abort, ABORT_NONE);
    assert_true(q->closed && q->code == NGHTTP2_NO_ERROR);
    struct call *later = get();
    settle();
    answer(&questions[1], "200", STR(""));
    settle();
    assert_answered(later, 200);
    assert_int_equal(origin_count, 1);
}

static void a_stream_without_window_stops_no_other(void **state) {
    (void)state;
    set_window(1000);
    post((struct str){large, sizeof large});
    settle();
    struct question *stuck = &questions[0];
    stuck->reads_nothing = true;
    settle();
    struct call *other = post(STR("short"));
    settle();
    assert_string_equal(text(&questions[1].body), "short");
    answer(&questions[1], "200", STR("x"));
    settle();
    assert_answered(other, 200);
    assert_true(stuck->body.n < sizeof large);
    assert_true(stats_read(&worker.stats->buffered_bytes) <= 4 * settings.limits.buffer);
}

static void a_client_that_does_not_read_stops_no_other(void **state) {
    (void)state;
    struct call *lazy = get();
    lazy->reads_nothing = true;
    settle();
    answer(&questions[0], "200", (struct str){large, sizeof large});
    for (int i = 0; i < 100; i++)
        turn_all();
    size_t left = questions[0].to_send.n;
    assert_true(left >= sizeof large - settings.limits.buffer && left < sizeof large);
    struct call *other = get();
    settle();
    answer(&questions[1], "200", STR("x"));
    settle();
    assert_answered(other, 200);
    lazy->reads_nothing = false;
    for (int i = 0; i < 200; i++)
        turn_all();
    assert_int_equal(lazy->loop.received.n, sizeof large);
}

/* ---- times */

static void a_body_that_does_not_come(void **state) {
    (void)state;
    struct call *c = get();
    settle();
    questions[0].is_held = true;
    const nghttp2_nv fields[] = {nv(":status", "200")};
    answer_fields(&questions[0], fields, 1, STR("begin"), true);
    settle();
    pass(settings.timeouts.response_body + 2000000);
    settle();
    assert_int_equal(c->loop.aborted, ABORT_ORIGIN_BODY_TIMEOUT);
    assert_true(questions[0].closed && questions[0].code == NGHTTP2_CANCEL);
}

static void an_origin_that_takes_no_body(void **state) {
    (void)state;
    set_window(0);
    get(); /* the window is known from then on */
    settle();
    struct call *c = post(STR("question"));
    settle();
    assert_int_equal(question_count, 2);
    assert_int_equal(questions[1].body.n, 0);
    pass(cluster.options.write_timeout + 2000000);
    settle();
    assert_answered(c, 504);
    assert_true(questions[1].closed && questions[1].code == NGHTTP2_CANCEL);
    assert_false(questions[0].closed);
}

/* ---- tunnels */

static void a_tunnel_that_waits_for_settings_holds_nobody_up(void **state) {
    (void)state;
    origin_settings[origin_setting_count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    next_is_raw = true; /* they are not sent yet */
    ask_tunnel();
    get();
    settle();
    assert_int_equal(question_count, 1);
    assert_non_null(strstr(text(&questions[0].fields), ":path: /\n"));
    origins[0].is_raw = false;
    settle();
    assert_int_equal(question_count, 2);
    assert_non_null(strstr(text(&questions[1].fields), ":protocol: websocket\n"));
    answer(&questions[0], "200", STR("x"));
    settle();
    assert_answered(&calls[1], 200);
}

static void a_tunnel_does_not_wait_for_ever(void **state) {
    (void)state;
    http2.settings_timeout = 3600000000;
    next_is_raw = true;
    struct call *tunnel = ask_tunnel();
    settle();
    pass(cluster.options.write_timeout + 1000000);
    settle();
    assert_answered(tunnel, 504);
    assert_int_equal(question_count, 0);
}

static void an_idle_connection_is_closed_in_time(void **state) {
    (void)state;
    get();
    settle();
    answer(&questions[0], "200", STR(""));
    settle();
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 1);
    pass(cluster.idle_timeout + 2000000);
    settle();
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
    assert_true(origins[0].eof);
}

static void silence_is_asked_about(void **state) {
    (void)state;
    http2.ping_interval = 5000000;
    struct call *c = get();
    settle();
    pass(6000000);
    settle();
    assert_int_equal(origins[0].pings, 1);
    pass(6000000); /* it has answered */
    settle();
    assert_int_equal(origins[0].pings, 2);
    assert_false(c->loop.received_end);
    answer(&questions[0], "200", STR(""));
    settle();
    assert_answered(c, 200);
    pass(20000000); /* nobody waits */
    settle();
    assert_int_equal(origins[0].pings, 2);
}

static void a_dead_connection_is_noticed(void **state) {
    (void)state;
    http2.ping_interval = 5000000;
    next_is_raw = true; /* it says nothing at all */
    struct call *c = get();
    settle();
    pass(6000000);
    settle();
    pass(6000000);
    settle();
    assert_true(origins[0].eof);
    assert_answered(c, 502);
    assert_int_equal(logged.abort, ABORT_ORIGIN_RESET);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, origins_set_up, origins_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(one_connection_carries_them_all),
        TEST(bodies_and_trailers_go_both_ways),
        TEST(a_large_body_goes_within_the_windows),
        TEST(interim_responses_go_first),
        TEST(responses_that_have_no_body),
        TEST(malformed_heads),
        TEST(switching_protocols),
        TEST(an_interim_response_that_ends_the_stream),
        TEST(a_head_that_ends_before_its_length),
        TEST(a_body_shorter_than_its_length),
        TEST(a_body_longer_than_its_length),
        TEST(faults_of_a_stream_right_behind_its_head),
        TEST(faults_of_a_connection_right_behind_a_head),
        TEST(a_body_where_none_may_be),
        TEST(heads_that_are_too_large),
        TEST(a_request_beyond_the_limit_of_its_origin),
        TEST(a_client_that_leaves_resets_its_stream),
        TEST(a_reset_in_the_body_cuts_the_response),
        TEST(an_early_answer_ends_the_request),
        TEST(a_stream_without_window_stops_no_other),
        TEST(a_client_that_does_not_read_stops_no_other),
        TEST(a_body_that_does_not_come),
        TEST(an_origin_that_takes_no_body),
        TEST(a_tunnel_that_waits_for_settings_holds_nobody_up),
        TEST(a_tunnel_does_not_wait_for_ever),
        TEST(an_idle_connection_is_closed_in_time),
        TEST(silence_is_asked_about),
        TEST(a_dead_connection_is_noticed),
    };
    return cmocka_run_group_tests_name("http2 towards origins", tests, NULL, NULL);
}
