/* Clients that stall, flood or lie: each meets a bound, and its neighbours do not notice. */
#include "dataplane/http/http2_faults.h"
#include "tests/unit/dataplane/codec/h2/one_client.h"

static char large[1 << 20];

static int set_up(void **state) {
    memset(large, 'x', sizeof large);
    return gateway_set_up(state);
}

static uint64_t floods(void) {
    return stats_read(&worker.stats->h2_floods_total);
}

/* ---- windows */

static void a_stalled_stream_stops_nobody(void **state) {
    (void)state;
    open_client(65535);
    struct call *stalled = get(&client, "/a");
    stalled->reads_nothing = true;
    settle(&client);
    answer_with(&backs[0], (struct str){large, sizeof large});
    for (int i = 0; i < 30; i++) {
        settle(&client);
        push_all(&backs[0]);
    }
    assert_int_equal(stalled->body.n, 65535);
    assert_true(backs[0].x->response.used + backs[0].x->response.granted <= settings.limits.buffer);
    for (unsigned i = 1; i < 20; i++) {
        struct call *other = get(&client, "/b");
        settle(&client);
        answer_with(&backs[i], STR("quick"));
        settle(&client);
        assert_int_equal(other->body.n, 5);
    }
    expire();
    settle(&client);
    assert_true(stalled->closed);
    assert_int_equal(stalled->code, NGHTTP2_CANCEL);
    assert_int_equal(logged.abort, ABORT_CLIENT_WRITE_TIMEOUT);
    assert_false(client.eof);
}

static void a_stream_without_any_window_ends(void **state) {
    (void)state;
    open_client(0);
    struct call *call = get(&client, "/");
    settle(&client);
    answer_with(&backs[0], STR("never"));
    settle(&client);
    assert_int_equal(call->status, 200);
    assert_int_equal(call->body.n, 0);
    expire();
    settle(&client);
    assert_int_equal(call->code, NGHTTP2_CANCEL);
    assert_int_equal(logged.abort, ABORT_CLIENT_WRITE_TIMEOUT);
}

/* Its head is out long since, and its body comes when others have used up the window of the connection. */
static void a_late_body_without_window_ends(void **state) {
    (void)state;
    open_client(1 << 20);
    client.keeps_window = true;
    struct call *late = get(&client, "/a");
    settle(&client);
    answer(&backs[0], 200, 4, false);
    settle(&client);
    get(&client, "/b");
    settle(&client);
    answer_with(&backs[1], (struct str){large, 100000});
    settle(&client);
    backs[0].loop.to_send = STR("late");
    push_all(&backs[0]);
    settle(&client);
    assert_int_equal(late->body.n, 0);
    expire();
    settle(&client);
    assert_true(late->closed && late->code == NGHTTP2_CANCEL);
    assert_false(client.eof);
}

static struct call *get_in_turns(const char *path) {
    const nghttp2_nv fields[] = {BASIC("GET", path), nv("priority", "i")};
    return request_fields(&client, fields, 5, STR(""), false);
}

/* All that there was is sent, and its origin takes its time: the window that the next one has used up is not what it waits
 * for. */
static void a_body_that_its_origin_holds_does_not_end(void **state) {
    enum { WINDOW = 65535, LEFT = 15000, PART = 12000 }; /* behind so much it is the turn of the other one */
    (void)state;
    open_client(1 << 20);
    client.keeps_window = true;
    struct call *held = get_in_turns("/a"), *stalled = get_in_turns("/b");
    settle(&client);
    answer(&backs[0], 200, -1, false);
    answer(&backs[1], 200, -1, false);
    backs[0].loop.to_send = (struct str){large, PART};
    backs[1].loop.to_send = (struct str){large, 100000};
    assert_true(loopback_push(&backs[1].loop, WINDOW - LEFT));
    settle(&client);
    assert_int_equal(stalled->body.n, WINDOW - LEFT);
    assert_true(loopback_push(&backs[0].loop, PART) && loopback_push(&backs[1].loop, LEFT));
    settle(&client);
    assert_int_equal(held->body.n, PART);
    assert_int_equal(stalled->body.n, WINDOW - PART);
    expire();
    settle(&client);
    assert_true(stalled->closed && !held->closed);
}

/* And not the end. */
static void push_bytes(struct back *b, size_t n) {
    b->loop.to_send = (struct str){large, n};
    for (int i = 0; i < 30; i++) {
        while (b->loop.to_send.n && loopback_push(&b->loop, 16384))
            ;
        settle(&client);
    }
    assert_int_equal(b->loop.to_send.n, 0);
}

/* A body so far has used its window up to the last byte, and its origin has no more for now. Nobody is late before there
 * is. */
static void assert_waits_for_its_origin(struct back *b, const struct call *call) {
    push_bytes(b, 65535);
    assert_int_equal(call->body.n, 65535);
    expire();
    settle(&client);
    assert_false(call->closed);
    push_bytes(b, 10);
    expire();
    settle(&client);
    assert_true(call->closed && call->code == NGHTTP2_CANCEL);
    assert_int_equal(logged.abort, ABORT_CLIENT_WRITE_TIMEOUT);
    assert_false(client.eof);
}

static void a_body_as_long_as_the_window_of_its_stream(void **state) {
    (void)state;
    open_client(65535);
    struct call *call = get(&client, "/");
    call->reads_nothing = true;
    settle(&client);
    answer(&backs[0], 200, -1, false);
    assert_waits_for_its_origin(&backs[0], call);
}

static void a_body_as_long_as_the_window_of_the_connection(void **state) {
    (void)state;
    open_client(1 << 20);
    client.keeps_window = true;
    struct call *call = get(&client, "/");
    settle(&client);
    answer(&backs[0], 200, -1, false);
    assert_waits_for_its_origin(&backs[0], call);
}

/* The buffer that the bytes came in has others by then. */
static void what_waits_for_a_window_is_kept(void **state) {
    (void)state;
    open_client(65535);
    struct call *call = get(&client, "/");
    call->reads_nothing = true;
    settle(&client);
    answer(&backs[0], 200, -1, false);
    push_bytes(&backs[0], 65535 + 10);
    memset(large, 'y', sizeof large);
    for (size_t i = 1; i <= 5; i++) {
        nghttp2_submit_window_update(client.session, NGHTTP2_FLAG_NONE, call->id, 1);
        settle(&client);
        assert_int_equal(call->body.n, 65535 + i);
    }
    nghttp2_session_consume_stream(client.session, call->id, call->body.n);
    settle(&client);
    assert_int_equal(call->body.n, 65535 + 10);
    assert_null(memchr(call->body.p, 'y', call->body.n));
}

/* RFC 9113 section 6.9.1: it needs none. */
static void an_end_behind_the_window_goes_with_the_last_byte(void **state) {
    (void)state;
    open_client(65535);
    struct call *call = get(&client, "/");
    call->reads_nothing = true;
    settle(&client);
    answer(&backs[0], 200, -1, false);
    push_bytes(&backs[0], 65000);
    backs[0].loop.to_send = (struct str){large, 535};
    assert_true(push_all(&backs[0]));
    settle(&client);
    assert_int_equal(call->body.n, 65535);
    assert_true(call->ended && call->closed && call->code == NGHTTP2_NO_ERROR);
}

static void a_small_buffer_is_a_small_window(void **state) {
    (void)state;
    settings.limits.buffer = 16384;
    open_client(65535);
    struct call *call = post(&client, (struct str){large, 100000});
    settle(&client); /* SETTINGS are acknowledged by now */
    for (int i = 0; i < 100 && !backs[0].loop.received_end; i++) {
        assert_true(backs[0].x->request.used <= 16384);
        pull_all(&backs[0]);
        settle(&client);
    }
    assert_int_equal(backs[0].loop.received.n, 100000);
    answer_with(&backs[0], STR("ok"));
    settle(&client);
    assert_true(call->ended);
}

/* Before SETTINGS are acknowledged each stream has the window of the protocol. */
static void an_early_request_has_the_window_of_the_protocol(void **state) {
    (void)state;
    settings.limits.buffer = 16384;
    client_init(&client, connect_gateway(), 65535);
    struct call *call = post(&client, (struct str){large, 200000});
    settle(&client);
    for (int i = 0; i < 100 && !backs[0].loop.received_end; i++) {
        pull_all(&backs[0]);
        settle(&client);
    }
    assert_int_equal(backs[0].loop.received.n, 200000);
    answer_with(&backs[0], STR("ok"));
    settle(&client);
    assert_true(call->ended && call->code == NGHTTP2_NO_ERROR);
}

/* What padding took of a window is given back once: a client that was let send more than the flow takes would lose part of
 * its body. */
static void padding_is_given_back_once(void **state) {
    (void)state;
    open_client(65535);
    client.padding = 255;
    struct call *call = post(&client, (struct str){large, sizeof large});
    call->most = 256;
    for (int i = 0; i < 200 && (back_count == 0 || !backs[0].loop.received_end); i++) {
        settle(&client);
        pull_all(&backs[0]);
    }
    assert_int_equal(backs[0].loop.received.n, sizeof large);
    answer_with(&backs[0], STR("ok"));
    settle(&client);
    assert_true(call->ended && call->code == NGHTTP2_NO_ERROR);
}

static void a_client_that_reads_nothing_is_cut(void **state) {
    (void)state;
    enum { COUNT = 50 };
    open_client(1 << 20);
    for (int i = 0; i < COUNT; i++)
        get(&client, "/");
    client_send(&client);
    for (int turn_number = 0; turn_number < 50; turn_number++) {
        ev_run(worker.loop, EVRUN_NOWAIT);
        for (unsigned i = 0; i < back_count; i++) {
            if (turn_number == 1)
                answer_with(&backs[i], (struct str){large, 300000});
            else if (backs[i].x && turn_number > 1)
                push_all(&backs[i]);
        }
    }
    assert_int_equal(back_count, COUNT);
    assert_true(worker.buffer_used <= COUNT * settings.limits.buffer + 4 * UNSENT_MAX);
    expire();
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_int_equal(logged.abort, ABORT_CLIENT_WRITE_TIMEOUT);
    assert_int_equal(logged.count, COUNT);
}

/* ---- floods */

static void pings_without_end_are_a_flood(void **state) {
    (void)state;
    open_client(65535);
    for (int i = 0; i < 4000 && !client.has_goaway; i++) {
        nghttp2_submit_ping(client.session, NGHTTP2_FLAG_NONE, NULL);
        exchange_bytes(&client);
    }
    settle(&client);
    assert_true(client.has_goaway);
    assert_int_equal(client.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(floods(), 1);
    assert_true(client.eof);
}

static void rapid_resets_are_a_flood(void **state) {
    (void)state;
    open_client(65535);
    unsigned begun = 0;
    for (; begun < 3000 && !client.has_goaway; begun++) {
        client.call_count = 0;
        struct call *call = get(&client, "/");
        client_send(&client);
        nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
        exchange_bytes(&client);
        back_count = 0;
    }
    settle(&client);
    assert_int_equal(client.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(begun < 2000);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
}

/* MadeYouReset: it is the server that sends RST_STREAM. */
static void resets_that_the_client_causes_count_too(void **state) {
    (void)state;
    const nghttp2_nv fields[] = {BASIC("GET", "/"),
                                 nv("connection", "close")};
    open_client(65535);
    unsigned begun = 0;
    for (; begun < 3000 && !client.has_goaway; begun++) {
        client.call_count = 0;
        request_fields(&client, fields, 5, STR(""), false);
        exchange_bytes(&client);
    }
    settle(&client);
    assert_int_equal(client.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(begun < 2000);
}

/* One entry of the dynamic table, referred to again and again: a byte each on the wire. */
static void bomb(unsigned count) {
    static char value[3001];
    nghttp2_nv *fields = calloc(count + 4, sizeof *fields);
    memset(value, 'v', sizeof value - 1);
    fields[0] = nv(":method", "GET"), fields[1] = nv(":scheme", "http");
    fields[2] = nv(":authority", "example.com"), fields[3] = nv(":path", "/");
    for (unsigned i = 0; i < count; i++)
        fields[4 + i] = nv("x-bomb", value);
    request_fields(&client, fields, 4 + count, STR(""), false);
    free(fields);
    settle(&client);
}

/* The library refuses to send blocks above 64 KiB of names and values, whatever they shrink to. */
static struct client *open_bomber(void) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    open_client(65535);
    nghttp2_session_del(client.session);
    close(client.fd);
    client.fd = connect_gateway();
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_on_close);
    nghttp2_option_new(&option);
    nghttp2_option_set_max_send_header_block_length(option, 100 << 20);
    nghttp2_session_client_new2(&client.session, callbacks, &client, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client.session, NGHTTP2_FLAG_NONE, NULL, 0);
    settle(&client);
    return &client;
}

static void a_section_beyond_its_limit_is_a_431(void **state) {
    (void)state;
    open_bomber();
    bomb(60);
    assert_int_equal(client.calls[0].status, 431);
    assert_false(client.has_goaway);
}

static void a_section_far_beyond_its_limit_ends_the_connection(void **state) {
    (void)state;
    open_bomber();
    bomb(5000);
    assert_int_equal(client.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(floods(), 1);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
}

/* Each head is within its limit; together they are not. */
static void heads_of_all_streams_have_one_limit(void **state) {
    (void)state;
    static char value[10001];
    const nghttp2_nv fields[] = {BASIC("GET", "/"), nv("x-long", memset(value, 'v', sizeof value - 1))};
    definition.http2.header_bytes_held = 50000;
    open_client(65535);
    for (int i = 0; i < 5; i++)
        request_fields(&client, fields, 5, STR(""), false);
    for (int i = 0; i < 5; i++)
        settle(&client);
    assert_int_equal(back_count, 4);
    assert_int_equal(client.calls[4].status, 431);
    assert_string_equal(logged.detail, "connection-heads-too-large");
    assert_int_equal(stats_read(&worker.stats->h2_heads_refused_total), 1);
    answer_with(&backs[0], STR("x"));
    settle(&client);
    assert_int_equal(client.calls[0].status, 200);
    struct call *later = request_fields(&client, fields, 5, STR(""), false); /* what has ended counts no more */
    settle(&client);
    assert_int_equal(back_count, 5);
    answer_with(&backs[4], STR("x"));
    settle(&client);
    assert_int_equal(later->status, 200);
    assert_false(client.has_goaway);
}

static void trailers_count_as_heads_do(void **state) {
    (void)state;
    static char value[3001];
    const nghttp2_nv trailer = nv("x-long", memset(value, 'v', sizeof value - 1));
    definition.http2.header_bytes_held = 3000;
    open_client(65535);
    struct call *call = post(&client, STR("x"));
    call->request_trailers = &trailer;
    settle(&client);
    assert_true(call->closed);
    assert_int_equal(call->code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(logged.abort, ABORT_HEADERS_TOO_LARGE);
    assert_int_equal(stats_read(&worker.stats->h2_heads_refused_total), 1);
}

static void settings_have_to_be_acknowledged(void **state) {
    (void)state;
    static const uint8_t begun[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    definition.http2.settings_timeout = 3000000;
    open_client(65535);
    client_finish(&client);
    int fd = connect_gateway();
    client_init(&client, fd, 65535); /* listens only */
    assert_int_equal(send(fd, begun, sizeof begun, MSG_NOSIGNAL), sizeof begun);
    for (int i = 0; i < SETTLED; i++) {
        ev_run(worker.loop, EVRUN_NOWAIT);
        client_receive(&client);
    }
    assert_false(client.has_goaway);
    pass_seconds(4);
    for (int i = 0; i < SETTLED; i++) {
        ev_run(worker.loop, EVRUN_NOWAIT);
        client_receive(&client);
    }
    assert_int_equal(client.goaway_code, NGHTTP2_SETTINGS_TIMEOUT);
    assert_true(client.eof);
    assert_int_equal(stats_read(&worker.stats->h2_faults[STATS_TLS_CLIENTS][H2_FAULT_SETTINGS_TIMEOUT]), 1);
}

static void settings_that_are_acknowledged_have_no_deadline(void **state) {
    (void)state;
    definition.http2.settings_timeout = 3000000;
    open_client(65535);
    pass_seconds(4);
    settle(&client);
    assert_false(client.has_goaway || client.eof);
}

static void a_section_that_never_ends_runs_out_of_time(void **state) {
    (void)state;
    static const uint8_t begun[] = {0, 0, 1, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 0, 0, 0, 1, 0x82};
    open_client(65535);
    assert_int_equal(send(client.fd, begun, sizeof begun, MSG_NOSIGNAL), sizeof begun);
    settle(&client);
    assert_int_equal(stats_read(&worker.stats->exchanges), 1);
    expire();
    settle(&client);
    assert_true(client.eof);
    assert_int_equal(logged.abort, ABORT_CLIENT_HEAD_TIMEOUT);
    assert_int_equal(stats_read(&worker.stats->client_header_timeouts_total), 1);
}

/* For want of memory. */
static void refuse_a_stream(void) {
    worker.session_memory.limit = 0;
    struct call *refused = get(&client, "/");
    settle(&client);
    assert_int_equal(refused->code, NGHTTP2_REFUSED_STREAM);
    worker.session_memory.limit = SIZE_MAX;
}

/* Its section is whole all the same: nothing more of it is waited for, and others go on. */
static void a_stream_that_is_refused_leaves_no_deadline(void **state) {
    (void)state;
    open_client(65535);
    struct call *other = get(&client, "/");
    settle(&client);
    refuse_a_stream();
    pass_seconds((unsigned)(definition.timeouts.header / 1000000) + 1);
    settle(&client);
    assert_false(client.eof);
    answer_with(&backs[0], STR("x"));
    settle(&client);
    assert_int_equal(other->status, 200);
}

static void a_connection_with_a_refused_stream_alone_is_idle(void **state) {
    (void)state;
    definition.http2.ping_interval = 0;
    open_client(65535);
    refuse_a_stream();
    expire();
    settle(&client);
    assert_true(client.has_goaway && client.goaway_code == NGHTTP2_NO_ERROR && client.eof);
    assert_int_equal(stats_read(&worker.stats->client_idle_timeouts_total), 1);
}

static void more_streams_than_allowed_are_refused(void **state) {
    (void)state;
    enum { COUNT = 200 };
    client_init(&client, connect_gateway(), 65535);
    unsigned refused = 0;
    for (int i = 0; i < COUNT; i++)
        get(&client, "/");
    settle(&client);
    for (unsigned i = 0; i < client.call_count; i++)
        refused += client.calls[i].closed && client.calls[i].code == NGHTTP2_REFUSED_STREAM;
    assert_int_equal(back_count, 128);
    assert_int_equal(refused, COUNT - 128);
    assert_false(client.has_goaway);
}

static void what_is_not_http2_is_closed(void **state) {
    (void)state;
    memset(&client, 0, sizeof client);
    int fd = connect_gateway();
    char room[256];
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    for (int i = 0; i < SETTLED; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
    ssize_t n, all = 0;
    while ((n = recv(fd, room, sizeof room, 0)) > 0)
        all += n;
    assert_int_equal(n, 0);
    assert_true(all > 0);
    assert_int_equal(stats_read(&worker.stats->h2_protocol_errors_total), 1);
    close(fd);
}

static void what_only_the_library_finds_is_counted(void **state) {
    (void)state;
    static const uint8_t unasked[] = {0, 0, 0, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, 0, 0, 0};
    open_client(65535);
    for (int i = 0; i < 3; i++)
        assert_int_equal(send(client.fd, unasked, sizeof unasked, MSG_NOSIGNAL), sizeof unasked);
    settle(&client);
    assert_int_equal(client.goaway_code, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(stats_read(&worker.stats->h2_faults[STATS_TLS_CLIENTS][H2_FAULT_LIBRARY]), 1);
    assert_int_equal(stats_read(&worker.stats->h2_protocol_errors_total), 1);
}

static void a_client_that_leaves_ends_all_of_its_exchanges(void **state) {
    (void)state;
    open_client(65535);
    for (int i = 0; i < 10; i++)
        get(&client, "/");
    settle(&client);
    assert_int_equal(stats_read(&worker.stats->exchanges), 10);
    close(client.fd);
    client.fd = -1;
    for (int i = 0; i < SETTLED; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    assert_int_equal(logged.abort, ABORT_CLIENT_GONE);
}

/* ---- memory */

/* A worker that holds as much as it may for connections begins neither connections nor streams. */
static void what_the_library_holds_has_a_budget(void **state) {
    (void)state;
    open_client(65535);
    size_t used = worker.session_memory.used;
    assert_true(used > 8000 && used < 12000); /* no frame buffer, which is all connections' */
    assert_int_equal(stats_read(&worker.stats->h2_session_bytes), used);
    struct call *first = get(&client, "/");
    settle(&client);
    worker.session_memory.limit = used / 2;
    struct call *second = get(&client, "/");
    settle(&client);
    assert_true(second->closed);
    assert_int_equal(second->code, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(connect_gateway(), -1);
    assert_int_equal(stats_read(&worker.stats->overload_total), 2);
    answer_with(&backs[0], STR("x"));
    settle(&client);
    assert_int_equal(first->status, 200);
    worker.session_memory.limit = SIZE_MAX;
    struct call *third = get(&client, "/");
    settle(&client);
    assert_int_equal(back_count, 2);
    assert_false(third->closed);
}

static void one_dialogue(void) {
    static const nghttp2_nv trailer = {(uint8_t *)"x-end", (uint8_t *)"yes", 5, 3, NGHTTP2_NV_FLAG_NONE};
    int fd = connect_gateway();
    if (fd < 0)
        return;
    client_init(&client, fd, 65535);
    post(&client, (struct str){large, 40000})->request_trailers = &trailer;
    get(&client, "/");
    settle(&client);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < back_count; i++) {
            if (backs[i].loop.leg.exchange)
                pull_all(&backs[i]);
            if (backs[i].loop.leg.exchange && backs[i].x->response.state == FLOW_HEAD)
                answer_with(&backs[i], (struct str){large, 30000});
            else if (backs[i].loop.leg.exchange)
                push_all(&backs[i]);
        }
        settle(&client);
    }
    close_client();
    for (int i = 0; i < SETTLED; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
    for (unsigned i = 0; i < back_count; i++)
        loopback_finish(&backs[i].loop);
    back_count = 0;
}

static void each_lack_of_memory_is_survived(void **state) {
    (void)state;
    uint64_t before = hg_alloc_count();
    one_dialogue();
    long count = (long)(hg_alloc_count() - before);
    assert_true(count > 0);
    for (long nth = 0; nth < count; nth++) {
        hg_alloc_fail_at(nth, nth % 3 == 0);
        one_dialogue();
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(stats_read(&worker.stats->exchanges), 0);
        assert_int_equal(worker.buffer_used, 0);
    }
}

/* Up to its window, behind which a byte is kept. */
static struct call *fill_window(struct back **ret_back) {
    enum { LAST = 100 };
    struct call *call = get(&client, "/");
    call->reads_nothing = true;
    settle(&client);
    struct back *b = *ret_back = &backs[back_count - 1];
    answer(b, 200, -1, false);
    push_bytes(b, 65535 - LAST);
    b->loop.to_send = (struct str){large, LAST + 10};
    assert_true(loopback_push(&b->loop, LAST + 10));
    return call;
}

/* Nor is it the origin that is said to have failed. */
static void a_body_that_we_lack_memory_for_is_not_the_origins_fault(void **state) {
    (void)state;
    struct back *b;
    unsigned failed = 0;
    for (long nth = 0; nth < 4; nth++) {
        open_client(65535);
        struct call *call = fill_window(&b);
        hg_alloc_fail_at(nth, 1);
        ev_run(worker.loop, EVRUN_NOWAIT);
        hg_alloc_fail_at(-1, 0);
        settle(&client);
        failed += call->closed;
        if (call->closed)
            assert_int_equal(logged.abort, ABORT_MEMORY);
        close_client();
        for (int i = 0; i < SETTLED; i++)
            ev_run(worker.loop, EVRUN_NOWAIT);
    }
    assert_true(failed > 0);
}

/* Interim responses of many streams, that are copied and counted nowhere: those that the kernel does not take are few. */
static void interims_are_not_kept_for_who_reads_nothing(void **state) {
    (void)state;
    enum { STREAMS = 20, EACH = EXCHANGE_INTERIM_MAX, LINK = 8000 };
    struct call *calls[STREAMS];
    unsigned arrived = 0;
    open_client(65535);
    for (unsigned i = 0; i < STREAMS; i++)
        calls[i] = get(&client, "/");
    settle(&client);
    for (unsigned round = 0; round < EACH; round++)
        for (unsigned i = 0; i < STREAMS; i++) {
            struct head *hints = arena_alloc(exchange_arena(backs[i].x), sizeof *hints);
            head_init(hints);
            hints->status = 103;
            fields_add(&hints->fields, exchange_arena(backs[i].x), STR("link"), (struct str){large, LINK});
            exchange_on_head(&backs[i].loop.leg, hints, false);
            ev_run(worker.loop, EVRUN_NOWAIT);
        }
    for (unsigned i = 0; i < STREAMS; i++)
        answer_with(&backs[i], STR("x"));
    for (unsigned i = 0; i < STREAMS; i++)
        settle(&client);
    for (unsigned i = 0; i < STREAMS; i++) {
        assert_int_equal(calls[i]->body.n, 1);
        arrived += calls[i]->interims;
    }
    assert_true(arrived > 0 && arrived < STREAMS * EACH / 2);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, client_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(interims_are_not_kept_for_who_reads_nothing),
        TEST(a_stalled_stream_stops_nobody),
        TEST(a_stream_without_any_window_ends),
        TEST(a_late_body_without_window_ends),
        TEST(a_body_that_its_origin_holds_does_not_end),
        TEST(a_body_as_long_as_the_window_of_its_stream),
        TEST(a_body_as_long_as_the_window_of_the_connection),
        TEST(what_waits_for_a_window_is_kept),
        TEST(an_end_behind_the_window_goes_with_the_last_byte),
        TEST(a_small_buffer_is_a_small_window),
        TEST(an_early_request_has_the_window_of_the_protocol),
        TEST(padding_is_given_back_once),
        TEST(a_client_that_reads_nothing_is_cut),
        TEST(pings_without_end_are_a_flood),
        TEST(rapid_resets_are_a_flood),
        TEST(resets_that_the_client_causes_count_too),
        TEST(a_section_beyond_its_limit_is_a_431),
        TEST(a_section_far_beyond_its_limit_ends_the_connection),
        TEST(heads_of_all_streams_have_one_limit),
        TEST(trailers_count_as_heads_do),
        TEST(settings_have_to_be_acknowledged),
        TEST(settings_that_are_acknowledged_have_no_deadline),
        TEST(what_the_library_holds_has_a_budget),
        TEST(a_section_that_never_ends_runs_out_of_time),
        TEST(a_stream_that_is_refused_leaves_no_deadline),
        TEST(a_connection_with_a_refused_stream_alone_is_idle),
        TEST(more_streams_than_allowed_are_refused),
        TEST(what_is_not_http2_is_closed),
        TEST(what_only_the_library_finds_is_counted),
        TEST(a_client_that_leaves_ends_all_of_its_exchanges),
        TEST(each_lack_of_memory_is_survived),
        TEST(a_body_that_we_lack_memory_for_is_not_the_origins_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
