/* Requests and responses over HTTP/2, one aspect at a time. */
#include "tests/unit/dataplane/codec/h2/one_client.h"

static int set_up(void **state) {
    if (gateway_set_up(state) < 0)
        return -1;
    open_client(65535);
    return 0;
}

static const char *text(const struct strbuf *b) {
    return b->p ? b->p : "";
}

static void a_request_is_answered(void **state) {
    (void)state;
    struct call *call = get(&client, "/a?b=c");
    settle(&client);
    assert_int_equal(back_count, 1);
    const struct head *head = backs[0].loop.heads[0];
    assert_true(str_eq(head->target, STR("/a?b=c")) && str_eq(head->authority, STR("example.com")));
    assert_int_equal(head->version, 20);
    assert_true(backs[0].loop.ends_with_head);
    answer_with(&backs[0], STR("hello"));
    settle(&client);
    assert_int_equal(call->status, 200);
    assert_string_equal(text(&call->body), "hello");
    assert_non_null(strstr(text(&call->fields), "content-length: 5\n"));
    assert_non_null(strstr(text(&call->fields), "via: 1.1 headgate\n"));
    assert_true(call->ended && call->closed && call->code == NGHTTP2_NO_ERROR);
    assert_int_equal(logged.count, 1);
    assert_int_equal(logged.status, 200);
    assert_false(client.eof);
}

static void many_requests_run_beside_each_other(void **state) {
    (void)state;
    enum { COUNT = 100 };
    struct call *calls[COUNT];
    for (int i = 0; i < COUNT; i++)
        calls[i] = get(&client, "/");
    settle(&client);
    assert_int_equal(back_count, COUNT);
    for (int i = COUNT; i-- > 0;) {
        backs[i].loop.to_send = STR("x");
        answer(&backs[i], (unsigned)(400 + i), 1, false);
        push_all(&backs[i]);
    }
    settle(&client);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i]->status, 400 + i);
        assert_true(calls[i]->ended);
    }
}

static void bodies_go_both_ways(void **state) {
    (void)state;
    struct call *call = post(&client, STR("question"));
    settle(&client);
    pull_all(&backs[0]);
    assert_string_equal(text(&backs[0].loop.received), "question");
    assert_true(backs[0].loop.received_end);
    answer_with(&backs[0], STR("answer"));
    settle(&client);
    assert_string_equal(text(&call->body), "answer");
}

static void a_response_without_body_ends_with_its_head(void **state) {
    (void)state;
    struct call *call = get(&client, "/");
    settle(&client);
    answer(&backs[0], 204, -1, true);
    settle(&client);
    assert_true(call->ended);
    assert_int_equal(call->status, 204);
    assert_null(strstr(text(&call->fields), "content-length"));
}

/* What the client holds to read our fields: one that it has not seen is kept where there is room for it. */
static size_t table_after_an_answer(uint32_t size) {
    close_client();
    definition.http2.header_table_size = size;
    open_client(65535);
    get(&client, "/");
    settle(&client);
    struct head head;
    head_init(&head);
    head.status = 204;
    struct back *back = &backs[back_count - 1];
    assert_int_equal(fields_add(&head.fields, exchange_arena(back->x), STR("x-new"), STR("to the client")), 0);
    exchange_on_head(&back->loop.leg, &head, true);
    settle(&client);
    assert_true(client.calls[0].ended);
    return nghttp2_session_get_hd_inflate_dynamic_table_size(client.session);
}

static void the_table_of_fields_has_its_bound_both_ways(void **state) {
    (void)state;
    assert_true(table_after_an_answer(4096) > 0);
    assert_int_equal(table_after_an_answer(0), 0);
}

static void head_keeps_its_length(void **state) {
    (void)state;
    const nghttp2_nv fields[] = {BASIC("HEAD", "/")};
    struct call *call = request_fields(&client, fields, 4, STR(""), false);
    settle(&client);
    answer(&backs[0], 200, 1000, true);
    settle(&client);
    assert_true(call->ended && call->code == NGHTTP2_NO_ERROR);
    assert_non_null(strstr(text(&call->fields), "content-length: 1000\n"));
}

static void interim_responses_come_first(void **state) {
    (void)state;
    struct call *call = get(&client, "/");
    struct head hints;
    settle(&client);
    head_init(&hints);
    hints.status = 103;
    assert_int_equal(fields_add(&hints.fields, exchange_arena(backs[0].x), STR("link"), STR("</style.css>")), 0);
    exchange_on_head(&backs[0].loop.leg, &hints, false);
    exchange_on_head(&backs[0].loop.leg, &hints, false);
    answer_with(&backs[0], STR("x"));
    settle(&client);
    assert_int_equal(call->interims, 2);
    assert_int_equal(call->status, 200);
    assert_string_equal(text(&call->body), "x");
}

/* The client may use its first window at once; one that asks first is told when the origin agrees, or after a second. */
static void an_expectation_is_met(void **state) {
    const nghttp2_nv fields[] = {BASIC("POST", "/"), nv("expect", "100-continue")};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct call *call = request_fields(&client, fields, 5, STR("late"), true);
        struct str body = call->to_send;
        call->to_send = STR("");
        call->is_held = true;
        settle(&client);
        assert_int_equal(call->interims, 0);
        struct head go_on;
        head_init(&go_on);
        go_on.status = 100;
        if (i == 0)
            exchange_on_head(&backs[i].loop.leg, &go_on, false);
        else
            worker.now += 1100000, wheel_advance(&worker.wheel, worker.now);
        settle(&client);
        assert_int_equal(call->interims, 1);
        call->to_send = body;
        call->is_held = false;
        nghttp2_session_resume_data(client.session, call->id);
        settle(&client);
        pull_all(&backs[i]);
        assert_string_equal(text(&backs[i].loop.received), "late");
        answer_with(&backs[i], STR("x"));
        settle(&client);
        assert_true(call->ended && call->status == 200);
    }
}

static char large[60000];

/* A client whose streams have large windows; that of the connection stays 65535, so that large responses take turns. */
static void open_streams(void) {
    memset(large, 'x', sizeof large);
    close_client();
    open_client(1 << 20);
}

/* Of two large responses. The client does not answer with windows before one of them is whole. */
static void assert_order(const struct call *first, const struct call *second) {
    ev_run(worker.loop, EVRUN_NOWAIT);
    client_receive(&client);
    assert_int_equal(first->body.n, sizeof large);
    assert_true(second->body.n <= 65535 - sizeof large);
    settle(&client);
    assert_int_equal(second->body.n, sizeof large);
}

/* PRIORITY_UPDATE of an urgency. */
static void say_urgency(uint8_t id, char urgency) {
    const uint8_t update[] = {0, 0, 7, NGHTTP2_PRIORITY_UPDATE, 0, 0, 0, 0, 0, 0, 0, 0, id, 'u', '=', (uint8_t)urgency};
    assert_int_equal(send(client.fd, update, sizeof update, MSG_NOSIGNAL), sizeof update);
}

/* RFC 9218: what is urgent goes first, when a connection is short of window. */
static void urgent_responses_go_first(void **state) {
    const nghttp2_nv late[] = {BASIC("GET", "/late"), nv("priority", "u=6")};
    const nghttp2_nv early[] = {BASIC("GET", "/early"), nv("priority", "u=1, i")};
    (void)state;
    open_streams();
    struct call *calls[] = {request_fields(&client, late, 5, STR(""), false),
                            request_fields(&client, early, 5, STR(""), false)};
    settle(&client);
    for (unsigned i = 0; i < 2; i++)
        answer_with(&backs[i], (struct str){large, sizeof large});
    assert_order(calls[1], calls[0]);
}

static void answer_with_priority(struct back *b, const char *value, struct str body) {
    b->loop.to_send = body;
    head_init(&b->response);
    b->response.status = 200;
    b->response.content_length = (int64_t)body.n;
    assert_int_equal(fields_add(&b->response.fields, exchange_arena(b->x), STR("priority"), str_of(value)), 0);
    exchange_on_head(&b->loop.leg, &b->response, false);
    push_all(b);
}

/* RFC 9218 section 8: what an origin states counts more, also than what the client says later. */
static void an_origins_priority_overrides_the_clients(void **state) {
    const nghttp2_nv first[] = {BASIC("GET", "/first"), nv("priority", "u=1")};
    const nghttp2_nv second[] = {BASIC("GET", "/second"), nv("priority", "u=5, i")};
    (void)state;
    open_streams();
    struct call *calls[] = {request_fields(&client, first, 5, STR(""), false),
                            request_fields(&client, second, 5, STR(""), false)};
    settle(&client);
    answer_with_priority(&backs[0], "u=7;x=1, i=?0", (struct str){large, sizeof large});
    answer_with_priority(&backs[1], "u=9, i=?0, u=2", (struct str){large, sizeof large});
    say_urgency(1, '0');
    assert_order(calls[1], calls[0]);
    assert_non_null(strstr(text(&calls[0]->fields), "priority: u=7;x=1, i=?0\n"));
}

/* Though the first one is more urgent by its field, and its origin states the other parameter. */
static void assert_second_goes_first(struct back *first, struct back *second) {
    const nghttp2_nv early[] = {BASIC("GET", "/early"), nv("priority", "u=1")};
    const nghttp2_nv late[] = {BASIC("GET", "/late"), nv("priority", "u=5")};
    struct call *calls[] = {request_fields(&client, early, 5, STR(""), false),
                            request_fields(&client, late, 5, STR(""), false)};
    settle(&client);
    answer_with_priority(first, "i=?0", (struct str){large, sizeof large});
    answer_with(second, (struct str){large, sizeof large});
    assert_order(calls[1], calls[0]);
}

/* RFC 9218 section 7: an update has the last word, also one that comes before its request. */
static void an_update_before_the_request_overrides_its_field(void **state) {
    (void)state;
    open_streams();
    say_urgency(1, '7');
    settle(&client);
    assert_second_goes_first(&backs[0], &backs[1]);
}

/* Of what comes before its request little is kept, and nothing gives way to what is said of streams that are over. */
static void an_update_of_a_stream_that_is_over_is_forgotten(void **state) {
    (void)state;
    open_streams();
    for (unsigned i = 0; i < PRIORITY_EARLY_MOST; i++) {
        get(&client, "/");
        settle(&client);
        answer(&backs[i], 204, -1, true);
    }
    settle(&client);
    say_urgency(2 * PRIORITY_EARLY_MOST + 1, '7');
    for (unsigned i = 0; i < PRIORITY_EARLY_MOST; i++)
        say_urgency((uint8_t)(2 * i + 1), '0');
    settle(&client);
    assert_second_goes_first(&backs[PRIORITY_EARLY_MOST], &backs[PRIORITY_EARLY_MOST + 1]);
}

static void trailers_pass_both_ways(void **state) {
    (void)state;
    const nghttp2_nv checksum = nv("x-checksum", "12");
    struct call *call = post(&client, STR("body"));
    call->request_trailers = &checksum;
    settle(&client);
    pull_all(&backs[0]);
    struct fields *received = backs[0].loop.received_trailers;
    assert_non_null(received);
    assert_non_null(fields_find_name(received, STR("x-checksum")));
    assert_int_equal(fields_add(&backs[0].trailers, exchange_arena(backs[0].x), STR("grpc-status"), STR("0")), 0);
    backs[0].loop.trailers = &backs[0].trailers;
    answer_with(&backs[0], STR("reply"));
    settle(&client);
    assert_string_equal(text(&call->body), "reply");
    assert_string_equal(text(&call->trailers), "grpc-status: 0\n");
    assert_true(call->ended && call->code == NGHTTP2_NO_ERROR);
}

/* RFC 9113 section 8.1: what is left of the request is not wanted. */
static void an_early_answer_stops_the_request(void **state) {
    (void)state;
    struct call *call = post(&client, STR("part"));
    call->is_held = true;
    settle(&client);
    answer_with(&backs[0], STR("no"));
    settle(&client);
    assert_int_equal(call->status, 200);
    assert_string_equal(text(&call->body), "no");
    assert_true(call->ended && !call->closed);
    pass_seconds(1);
    settle(&client);
    assert_true(call->closed);
    assert_int_equal(call->code, NGHTTP2_NO_ERROR);
    assert_int_equal(logged.abort, ABORT_NONE);
}

/* What was on its way when the answer came ends the stream as usual, and is still checked. */
static void the_rest_of_an_answered_request_is_read(void **state) {
    const nghttp2_nv fields[] = {BASIC("POST", "/"), nv("content-length", "4")};
    static const char *const rests[] = {"rest", "res", "rest!"};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct call *call = request_fields(&client, fields, 5, STR(""), true);
        call->is_held = true;
        settle(&client);
        answer_with(&backs[i], STR("early"));
        settle(&client);
        assert_true(call->ended && !call->closed);
        call->to_send = str_of(rests[i]);
        call->is_held = false;
        nghttp2_session_resume_data(client.session, call->id);
        settle(&client);
        assert_true(call->closed);
        assert_int_equal(client.resets, i);
        assert_int_equal(client.reset_code, i ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_NO_ERROR);
    }
}

static void a_cancelled_request_ends_its_exchange(void **state) {
    (void)state;
    struct call *call = get(&client, "/");
    settle(&client);
    nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
    settle(&client);
    assert_int_equal(logged.abort, ABORT_CLIENT_GONE);
    assert_null(backs[0].x);
    call = get(&client, "/");
    settle(&client);
    answer_with(&backs[1], STR("y"));
    settle(&client);
    assert_string_equal(text(&call->body), "y");
}

/* What one read brings is handed on when all of it has been read. */
static void a_request_that_comes_with_its_reset_goes_nowhere(void **state) {
    (void)state;
    struct call *gone = get(&client, "/gone");
    client_send(&client);
    nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, gone->id, NGHTTP2_CANCEL);
    struct call *first = get(&client, "/first"), *second = get(&client, "/second");
    settle(&client);
    assert_int_equal(logged.abort, ABORT_CLIENT_GONE);
    assert_int_equal(logged.count, 1);
    answer_with(&backs[0], STR("1"));
    answer_with(&backs[1], STR("2"));
    settle(&client);
    assert_string_equal(text(&first->body), "1");
    assert_string_equal(text(&second->body), "2");
}

static void an_origin_that_breaks_off_resets_the_stream_alone(void **state) {
    (void)state;
    struct call *broken = get(&client, "/1"), *other = get(&client, "/2");
    settle(&client);
    answer(&backs[0], 200, 10, false);
    backs[0].loop.to_send = STR("half");
    loopback_push(&backs[0].loop, 2);
    settle(&client);
    exchange_on_abort(&backs[0].loop.leg, ABORT_ORIGIN_RESET);
    answer_with(&backs[1], STR("whole"));
    settle(&client);
    assert_true(broken->closed && !broken->ended);
    assert_int_equal(broken->code, NGHTTP2_INTERNAL_ERROR);
    assert_string_equal(text(&other->body), "whole");
}

/* RFC 9113 section 8.5. */
static void a_tunnel_that_its_origin_cuts_says_so(void **state) {
    (void)state;
    const nghttp2_nv fields[] = {BASIC("CONNECT", "/chat"), nv(":protocol", "websocket"), nv("sec-websocket-version", "13")};
    struct call *call = request_fields(&client, fields, 6, STR(""), true);
    call->is_held = true;
    settle(&client);
    head_init(&backs[0].response);
    backs[0].response.status = 101;
    backs[0].response.upgrade = STR("websocket");
    exchange_on_head(&backs[0].loop.leg, &backs[0].response, false);
    settle(&client);
    assert_int_equal(call->status, 200);
    exchange_on_abort(&backs[0].loop.leg, ABORT_ORIGIN_RESET);
    settle(&client);
    assert_true(call->closed);
    assert_int_equal(call->code, NGHTTP2_CONNECT_ERROR);
    assert_int_equal(logged.abort, ABORT_ORIGIN_RESET);
    assert_false(client.eof);
}

static void an_origin_that_never_answers_becomes_a_response(void **state) {
    (void)state;
    struct call *call = get(&client, "/");
    settle(&client);
    exchange_on_abort(&backs[0].loop.leg, ABORT_ORIGIN_RESET);
    settle(&client);
    assert_int_equal(call->status, 502);
    assert_true(call->ended && call->code == NGHTTP2_NO_ERROR);
}

static void crumbs_of_cookies_are_joined(void **state) {
    (void)state;
    const nghttp2_nv fields[] = {BASIC("GET", "/"),
                                 nv("cookie", "a=1"), nv("x", "y"), nv("cookie", "b=2"), nv("cookie", "c=3")};
    request_fields(&client, fields, 8, STR(""), false);
    settle(&client);
    const struct fields *received = &backs[0].loop.heads[0]->fields;
    const struct field *cookie = fields_find(received, FIELD_COOKIE);
    assert_true(str_eq(field_value(cookie), STR("a=1; b=2; c=3")));
    assert_null(fields_next(received, cookie, FIELD_COOKIE));
}

static void what_is_malformed_is_reset(void **state) {
    static const struct {
        const char *name, *value, *word;
    } rows[] = {
        {"connection", "close", "connection-field"}, {"transfer-encoding", "chunked", "connection-field"},
        {"te", "gzip", "te"}, {"host", "example.org", "host-differs"},
        {"content-length", "5", "content-length"}, {"content-length", "+1", "content-length"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const nghttp2_nv fields[] = {BASIC("GET", "/"),
                                     nv(rows[i].name, rows[i].value)};
        struct call *call = request_fields(&client, fields, 5, STR(""), false);
        settle(&client);
        assert_true(call->closed);
        assert_int_equal(call->code, NGHTTP2_PROTOCOL_ERROR);
        assert_int_equal(logged.abort, ABORT_CLIENT_PROTOCOL);
        assert_string_equal(logged.detail, rows[i].word);
    }
    assert_int_equal(back_count, 0);
    assert_false(client.has_goaway);
}

static void what_is_only_unwelcome_is_answered(void **state) {
    static char huge[20000];
    const struct {
        const char *name, *value;
        unsigned    status;
    } rows[] = {{"expect", "wonders", 417}, {"x-large", huge, 431}, {":path", huge, 414}, {":scheme", "gopher", 400}};
    (void)state;
    settings.limits.header_bytes = 16384;
    settings.limits.uri_bytes = 8192;
    client_finish(&client);
    client_init(&client, connect_gateway(), 65535);
    memset(huge, 'a', sizeof huge - 1);
    huge[0] = '/';
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        const bool is_head = i % 2;
        nghttp2_nv fields[] = {BASIC(is_head ? "HEAD" : "GET", "/"),
                               nv("accept", "*/*")};
        size_t row = i / 2, at = rows[row].name[0] != ':' ? 4 : rows[row].name[1] == 's' ? 1 : 3;
        fields[at] = nv(rows[row].name, rows[row].value);
        struct call *call = request_fields(&client, fields, 5, STR(""), false);
        settle(&client);
        assert_int_equal(call->status, rows[row].status);
        assert_true(call->ended && is_head == (call->body.n == 0));
    }
    assert_int_equal(client.resets, 0);
    assert_false(client.has_goaway);
}

static void content_length_must_match(void **state) {
    const nghttp2_nv fields[] = {BASIC("POST", "/"),
                                 nv("content-length", "5")};
    static const char *const bodies[] = {"four", "sixsix"};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct call *call = request_fields(&client, fields, 5, str_of(bodies[i]), true);
        settle(&client);
        assert_int_equal(call->code, NGHTTP2_PROTOCOL_ERROR);
        assert_string_equal(logged.detail, i ? "longer-than-content-length" : "shorter-than-content-length");
        assert_false(backs[i].loop.received_end);
    }
}

/* A response that is not as long as its head says must not look complete. */
static void a_short_response_is_cut(void **state) {
    (void)state;
    struct call *call = get(&client, "/");
    settle(&client);
    backs[0].loop.to_send = STR("abc");
    answer(&backs[0], 200, 5, false);
    push_all(&backs[0]);
    settle(&client);
    assert_true(call->closed && !call->ended);
    assert_int_equal(call->code, NGHTTP2_INTERNAL_ERROR);
}

static void draining_lets_streams_end(void **state) {
    (void)state;
    struct snapshot_view next = {.references = 1, .quiet = ignore_quiet};
    struct call *first = get(&client, "/1");
    settle(&client);
    worker.view = &next; /* which does not have the listener */
    listener_drain(listener, 3600 * 1000000ULL);
    struct call *second = get(&client, "/2"); /* on its way when the notice comes */
    exchange_bytes(&client);
    exchange_bytes(&client);
    assert_true(client.has_goaway);
    settle(&client);
    assert_int_equal(client.goaways, 2);
    assert_int_equal(client.goaway_last, second->id);
    assert_int_equal(client.goaway_code, NGHTTP2_NO_ERROR);
    assert_int_equal(back_count, 2);
    assert_ptr_equal(backs[1].x->view, &view);
    answer_with(&backs[0], STR("1"));
    answer_with(&backs[1], STR("2"));
    settle(&client);
    assert_int_equal(next.references, 1);
    assert_string_equal(text(&first->body), "1");
    assert_string_equal(text(&second->body), "2");
    assert_true(client.eof);
    close(client.fd);
    client.fd = -1;
    for (int i = 0; i < SETTLED; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
    listener = NULL; /* it has freed itself */
}

/* A TLS handshake may last longer than the moment at which connections are told. */
static void a_connection_that_comes_while_draining_is_told(void **state) {
    (void)state;
    struct client late;
    get(&client, "/stays");
    settle(&client);
    listener_drain(listener, 3600 * 1000000ULL);
    client_init(&late, connect_gateway(), 65535);
    struct call *call = get(&late, "/late");
    settle(&late);
    assert_int_equal(late.goaways, 2);
    answer_with(&backs[1], STR("late"));
    settle(&late);
    assert_string_equal(text(&call->body), "late");
    assert_true(late.eof);
    client_finish(&late);
    close(client.fd);
    client.fd = -1;
    for (int i = 0; i < SETTLED; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
    listener = NULL; /* it has freed itself */
}

static void an_idle_connection_is_told_before_it_is_closed(void **state) {
    (void)state;
    expire();
    settle(&client);
    assert_int_equal(client.goaway_code, NGHTTP2_NO_ERROR);
    assert_true(client.has_goaway && client.eof);
    assert_int_equal(stats_read(&worker.stats->client_idle_timeouts_total), 1);
}

static void a_silent_client_is_asked(void **state) {
    (void)state;
    definition.http2.ping_interval = 2000000;
    client_finish(&client);
    client_init(&client, connect_gateway(), 65535);
    get(&client, "/");
    settle(&client);
    for (int i = 0; i < 3; i++) {
        pass_seconds(3);
        settle(&client); /* it answers */
    }
    assert_int_equal(client.pings, 3);
    assert_int_equal(stats_read(&worker.stats->exchanges), 1);
    for (int i = 0; i < 2; i++) {
        pass_seconds(3);
        ev_run(worker.loop, EVRUN_NOWAIT); /* it does not */
    }
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    assert_int_equal(logged.abort, ABORT_CLIENT_GONE);
}

static void a_body_that_does_not_come_is_a_408(void **state) {
    (void)state;
    struct call *call = post(&client, STR("a"));
    call->is_held = true;
    settle(&client);
    pull_all(&backs[0]);
    expire();
    settle(&client);
    assert_int_equal(call->status, 408);
    expire();
    settle(&client);
    assert_true(call->closed);
    assert_int_equal(call->code, NGHTTP2_NO_ERROR);
}

static void the_requests_of_a_connection_are_counted(void **state) {
    (void)state;
    settings.limits.requests_per_connection = 2;
    for (unsigned i = 0; i < 2; i++) {
        get(&client, "/");
        settle(&client);
        answer_with(&backs[i], STR("x"));
        settle(&client);
    }
    assert_int_equal(client.goaways, 2);
    assert_true(client.eof);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, client_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(many_requests_run_beside_each_other),
        TEST(bodies_go_both_ways),
        TEST(a_response_without_body_ends_with_its_head),
        TEST(the_table_of_fields_has_its_bound_both_ways),
        TEST(head_keeps_its_length),
        TEST(interim_responses_come_first),
        TEST(an_expectation_is_met),
        TEST(urgent_responses_go_first),
        TEST(an_origins_priority_overrides_the_clients),
        TEST(an_update_before_the_request_overrides_its_field),
        TEST(an_update_of_a_stream_that_is_over_is_forgotten),
        TEST(trailers_pass_both_ways),
        TEST(an_early_answer_stops_the_request),
        TEST(the_rest_of_an_answered_request_is_read),
        TEST(a_cancelled_request_ends_its_exchange),
        TEST(a_request_that_comes_with_its_reset_goes_nowhere),
        TEST(an_origin_that_breaks_off_resets_the_stream_alone),
        TEST(a_tunnel_that_its_origin_cuts_says_so),
        TEST(an_origin_that_never_answers_becomes_a_response),
        TEST(crumbs_of_cookies_are_joined),
        TEST(what_is_malformed_is_reset),
        TEST(what_is_only_unwelcome_is_answered),
        TEST(content_length_must_match),
        TEST(a_short_response_is_cut),
        TEST(draining_lets_streams_end),
        TEST(a_connection_that_comes_while_draining_is_told),
        TEST(an_idle_connection_is_told_before_it_is_closed),
        TEST(a_silent_client_is_asked),
        TEST(a_body_that_does_not_come_is_a_408),
        TEST(the_requests_of_a_connection_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
