/* Requests to HTTP/3 origins, one aspect at a time. */
#include "tests/unit/dataplane/codec/h3/origin.h"

static void assert_answered(const struct call *c, unsigned status) {
    assert_true(c->loop.received_end);
    assert_int_equal(c->status, status);
}

static void assert_failed(enum abort_code code, unsigned status) {
    assert_int_equal(logged.abort, code);
    assert_int_equal(logged.status, status);
}

/* With a connection that is there, and what the origin can do. */
static struct call *ask_open(struct str body, bool has_body) {
    struct call *c = has_body ? post(body) : get();
    open_connection();
    say_settings(true);
    settle();
    return c;
}

/* ---- messages */

static void a_request_is_answered(void **state) {
    (void)state;
    static const char *const fields[][2] = {{"x-mixed", "Case"}, {"cookie", "a=b; c=d"}};
    struct call *c = ask_fields("GET", STR(""), false, -1, 2, fields);
    open_connection();
    assert_true(hears(0, ":method: GET\n:scheme: https\n:authority: example.com\n:path: /\n"));
    assert_true(hears(0, "\nx-mixed: Case\n") && hears(0, "\ncookie: a=b"));
    assert_true(fake_stream(0)->ended);
    say_settings(false);
    answer(0, "200", STR("hello"));
    settle();
    assert_answered(c, 200);
    assert_string_equal(text(&c->loop.received), "hello");
    assert_non_null(strstr(text(&c->fields), "x-origin: yes\n"));
    assert_int_equal(c->content_length, 5);
    assert_true(fake_stream(0)->is_closed && !fake_stream(0)->was_reset);
    assert_int_equal(logged.status, 200);
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 1);
}

static void bodies_go_both_ways(void **state) {
    (void)state;
    struct call *c = ask_open(STR("question"), true);
    assert_memory_equal(hear(0)->body.p, "question", 8);
    assert_true(hears(0, "content-length: 8\n"));
    SAY_HEAD(0, false, ":status", "200");
    say_frame(0, H3_DATA, "ans", 3, false);
    say_frame(0, H3_DATA, "wer", 3, false);
    SAY_HEAD(0, true, "x-trailer", "t");
    settle();
    assert_answered(c, 200);
    assert_string_equal(text(&c->loop.received), "answer");
    assert_string_equal(text(&c->trailers), "x-trailer: t\n");
}

static void interim_heads_go_before_the_final_one(void **state) {
    (void)state;
    struct call *c = ask_open(STR(""), false);
    SAY_HEAD(0, false, ":status", "103", "link", "</a>");
    settle();
    assert_int_equal(c->status, 103);
    answer(0, "200", STR("x"));
    settle();
    assert_answered(c, 200);
}

/* The transport is done with the stream by then. */
static void a_head_may_wait_for_entries(void **state) {
    (void)state;
    struct call *c = ask_open(STR(""), false);
    fake_receive(0, "\x01\x04\x02\x00\xd9\x80\x00\x01x", 9, true);
    settle();
    assert_true(fake_stream(0)->is_closed && !c->loop.received_end);
    fake_receive(7, "\x02\x3f\xe1\x1f\x43" "abc\x01v", 10, false);
    settle();
    assert_answered(c, 200);
    assert_non_null(strstr(text(&c->fields), "abc: v\n"));
    assert_string_equal(text(&c->loop.received), "x");
    assert_int_equal(logged.abort, ABORT_NONE);
}

static void answers_without_content_may_state_a_length(void **state) {
    (void)state;
    struct call *c = ask_fields("HEAD", STR(""), false, -1, 0, NULL);
    open_connection();
    SAY_HEAD(0, true, ":status", "200", "content-length", "5");
    settle();
    assert_answered(c, 200);
    c = get();
    settle();
    SAY_HEAD(4, true, ":status", "304", "content-length", "5");
    settle();
    assert_answered(c, 304);
}

/* ---- many at once */

static void one_connection_carries_them_all(void **state) {
    (void)state;
    enum { COUNT = 50 };
    for (int i = 0; i < COUNT; i++)
        get();
    open_connection();
    for (int i = COUNT; i-- > 0;) {
        char status[4];
        snprintf(status, sizeof status, "%d", 400 + i);
        answer(4 * i, status, STR("x"));
    }
    settle();
    for (unsigned i = 0; i < COUNT; i++)
        assert_answered(&calls[i], 400 + i);
    assert_int_equal(connects, 1);
    assert_int_equal(stats_read(&worker.stats->origin_reuses_total), COUNT - 1);
}

/* The handshake says how many there may be; more come with MAX_STREAMS. */
static void what_the_origin_allows_is_the_capacity(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++)
        get();
    settle();
    fake.bidi_left = 2;
    open_connection();
    assert_true(hears(0, "GET") && hears(4, "GET"));
    connect_error = ECONNREFUSED;
    get(); /* no room: another connection would be made */
    settle();
    assert_failed(ABORT_CONNECT_FAILED, 503);
    answer(0, "200", STR(""));
    settle();
    assert_answered(&calls[0], 200);
    allow_streams(1);
    struct call *c = get();
    settle();
    answer(8, "201", STR(""));
    settle();
    assert_answered(c, 201);
}

/* An origin that allows none for now is given one all the same, which waits. */
static void request_waits_for_a_stream(void **state) {
    (void)state;
    struct call *c = get();
    settle();
    fake.bidi_left = 0;
    open_connection();
    assert_null(fake_find(0));
    allow_streams(1);
    settle();
    assert_true(hears(0, "GET"));
    answer(0, "200", STR(""));
    settle();
    assert_answered(c, 200);
}

static void it_does_not_wait_for_ever(void **state) {
    (void)state;
    get();
    settle();
    fake.bidi_left = 0;
    open_connection();
    pass(cluster.options.write_timeout + 20000);
    settle();
    assert_failed(ABORT_ORIGIN_TIMEOUT, 504);
    assert_null(fake_find(0));
}

static void clusters_own_bound_holds(void **state) {
    (void)state;
    quic.max_concurrent_streams = 1;
    get();
    open_connection();
    connect_error = ECONNREFUSED;
    get();
    settle();
    assert_failed(ABORT_CONNECT_FAILED, 503);
    answer(0, "200", STR(""));
    settle();
    assert_answered(&calls[0], 200);
}

/* ---- what an origin did not look at is asked again */

static void goaway_gives_back_what_was_not_looked_at(void **state) {
    (void)state;
    struct call *a = get(), *b = get();
    open_connection();
    say_settings(false);
    settle();
    assert_true(hears(0, "GET") && hears(4, "GET"));
    connect_error = ECONNREFUSED; /* where b goes next */
    say_goaway(4);
    settle();
    assert_int_equal(logged.attempts, 2);
    assert_false(a->loop.received_end);
    assert_int_equal(fake_stream(4)->reset_code, H3_REQUEST_CANCELLED);
    assert_failed(ABORT_CONNECT_FAILED, 503);
    assert_int_equal(b->status, 503);
    get(); /* nothing new is opened on it */
    settle();
    assert_null(fake_find(8));
    answer(0, "200", STR(""));
    settle();
    assert_answered(a, 200);
    assert_true(fake.is_gone); /* and it ends with the last */
    assert_int_equal(fake.code, H3_NO_ERROR);
}

/* Giving the first one up can end it: the others are told by that. */
static void goaway_without_memory_ends_the_connection(void **state) {
    (void)state;
    get(), get();
    open_connection();
    say_settings(false);
    settle();
    connect_error = ECONNREFUSED;
    hg_alloc_fail_at(0, 1);
    say_goaway(0);
    hg_alloc_fail_at(-1, 0);
    assert_true(fake.is_closed);
    assert_int_equal(fake.code, H3_INTERNAL_ERROR);
    assert_false(fake_stream(0)->was_reset);
    settle();
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
}

static void rejected_request_is_asked_again(void **state) {
    (void)state;
    struct call *c = ask_open(STR(""), false);
    say_reset(0, H3_REQUEST_REJECTED);
    settle();
    assert_true(hears(4, "GET"));
    answer(4, "200", STR(""));
    settle();
    assert_answered(c, 200);
    assert_int_equal(logged.attempts, 2);
}

/* What was sent of its body is kept, and begins anew. */
static void rejected_request_has_its_body_again(void **state) {
    (void)state;
    struct call *c = ask_open(STR("question"), true);
    say_reset(0, H3_REQUEST_REJECTED);
    settle();
    assert_true(hears(4, "POST"));
    assert_memory_equal(hear(4)->body.p, "question", 8);
    answer(4, "200", STR(""));
    settle();
    assert_answered(c, 200);
}

static void other_resets_are_answered(void **state) {
    (void)state;
    ask_open(STR("a"), true);
    say_reset(0, H3_INTERNAL_ERROR);
    settle();
    assert_failed(ABORT_ORIGIN_STREAM_RESET, 502);
    assert_int_equal(logged.attempts, 1);
}

static void lost_connection_is_answered(void **state) {
    (void)state;
    ask_open(STR("a"), true);
    lose(QUIC_IDLE);
    settle();
    assert_failed(ABORT_ORIGIN_RESET, 502);
    assert_int_equal(logged.attempts, 1);
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
}

/* Nothing of it has left: it can be asked again, whatever it is. */
static void what_was_not_sent_is_asked_again(void **state) {
    (void)state;
    struct call *c = post(STR("a"));
    settle();
    fake.bidi_left = 0;
    open_connection();
    lose(QUIC_RESET);
    settle();
    assert_int_equal(connects, 2);
    open_connection();
    assert_true(hears(0, "POST"));
    answer(0, "200", STR(""));
    settle();
    assert_answered(c, 200);
}

/* ---- origins that break the rules */

static void expect_malformed(const char *detail) {
    settle();
    assert_failed(ABORT_ORIGIN_PROTOCOL, 502);
    assert_string_equal(logged.detail, detail);
    assert_int_equal(fake_stream(0)->reset_code, H3_MESSAGE_ERROR);
    assert_false(fake.is_closed);
}

static void head_without_status_is_malformed(void **state) {
    (void)state;
    ask_open(STR(""), false);
    SAY_HEAD(0, true, "server", "x");
    expect_malformed("pseudo-field-missing");
}

static void interim_head_that_ends_is_malformed(void **state) {
    (void)state;
    ask_open(STR(""), false);
    SAY_HEAD(0, true, ":status", "103");
    expect_malformed("interim-response-ends");
}

static void body_shorter_than_announced_is_malformed(void **state) {
    (void)state;
    ask_open(STR(""), false);
    SAY_HEAD(0, true, ":status", "200", "content-length", "5");
    expect_malformed("shorter-than-content-length");
}

static void data_before_the_head_ends_the_connection(void **state) {
    (void)state;
    ask_open(STR(""), false);
    say_frame(0, H3_DATA, "x", 1, false);
    settle();
    assert_failed(ABORT_ORIGIN_PROTOCOL, 502);
    assert_true(fake.is_closed);
    assert_int_equal(fake.space, QUIC_APPLICATION);
    assert_int_equal(fake.code, 0x105); /* H3_FRAME_UNEXPECTED */
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
}

static void stream_of_the_origin_ends_the_connection(void **state) {
    (void)state;
    ask_open(STR(""), false);
    say(1, "x", 1, false);
    settle();
    assert_int_equal(fake.code, H3_STREAM_CREATION_ERROR);
    assert_failed(ABORT_ORIGIN_PROTOCOL, 502);
}

static void push_ends_the_connection(void **state) {
    (void)state;
    ask_open(STR(""), false);
    say_frame(0, H3_PUSH_PROMISE, "\0\0\0", 3, false);
    settle();
    assert_true(fake.is_closed);
    assert_int_equal(fake.code, 0x108); /* H3_ID_ERROR: none was allowed */
}

static void head_beyond_the_limit_is_refused(void **state) {
    (void)state;
    static char large[FRAME_MOST - 64];
    assert_true(settings.limits.header_bytes < sizeof large);
    memset(large, 'x', settings.limits.header_bytes);
    ask_open(STR(""), false);
    SAY_HEAD(0, true, ":status", "200", "x-large", large);
    settle();
    assert_failed(ABORT_ORIGIN_TOO_LARGE, 502);
    assert_int_equal(fake_stream(0)->reset_code, H3_REQUEST_CANCELLED);
    assert_false(fake.is_closed);
}

/* What the origin says that it takes, nobody has to find out. */
static void request_beyond_the_limit_of_its_origin(void **state) {
    static const uint8_t limit_of_1000[] = {H3_STREAM_CONTROL, H3_SETTINGS, 3, H3_SETTING_FIELD_SECTION_SIZE, 0x43, 0xe8};
    static char value[1000];
    (void)state;
    memset(value, 'x', sizeof value - 1);
    const char *const fields[][2] = {{"x-large", value}};
    get();
    open_connection();
    say(CONTROL_OF_ORIGIN, limit_of_1000, sizeof limit_of_1000, false);
    struct call *large = ask_fields("POST", STR("question"), true, 8, 1, fields), *other = get();
    settle();
    assert_answered(large, 431);
    assert_failed(ABORT_HEADERS_TOO_LARGE, 431);
    assert_string_equal(logged.detail, "beyond-origin-limit");
    assert_int_equal(fake_stream(4)->sent.n, 0);
    assert_true(fake_stream(4)->was_reset);
    answer(8, "200", STR("x"));
    settle();
    assert_answered(other, 200);
    assert_int_equal(connects, 1);
}

/* ---- windows */

static void response_is_seen_with_its_whole_credit(void **state) {
    (void)state;
    ask_open(STR(""), false);
    assert_int_equal(asked_options.initial_stream_window, 16384);
    SAY_HEAD(0, false, ":status", "200");
    settle();
    assert_true(fake_stream(0)->credit + 16384 >= 65536);
}

static void small_response_needs_no_more_credit(void **state) {
    (void)state;
    ask_open(STR(""), false);
    SAY_HEAD(0, false, ":status", "200", "content-length", "100");
    settle();
    assert_true(fake_stream(0)->credit < 16384);
}

/* Its head and those of its frames take of the window, too. */
static void response_as_large_as_the_window_gets_more(void **state) {
    (void)state;
    ask_open(STR(""), false);
    SAY_HEAD(0, false, ":status", "200", "content-length", "16383");
    settle();
    assert_true(fake_stream(0)->credit >= 8192);
}

static void unread_response_is_bounded(void **state) {
    (void)state;
    static uint8_t block[16000];
    struct call *c = ask_open(STR(""), false);
    c->reads_nothing = true;
    SAY_HEAD(0, false, ":status", "200");
    settle();
    uint64_t window = 16384 + fake_stream(0)->credit, sent = 0;
    while (sent + 2 * sizeof block < window) {
        say_frame(0, H3_DATA, block, sizeof block, false);
        sent += sizeof block + 5;
    }
    settle();
    assert_true(16384 + fake_stream(0)->credit < window + 1000); /* heads of frames are given back, content is not */
    c->reads_nothing = false;
    settle();
    assert_true(16384 + fake_stream(0)->credit >= window + sent / 2);
}

/* The origin answers without reading the rest, which its window would not have let through: nobody waits for that any more.
 * What is late now is its answer, if anything. */
static void answer_in_front_of_a_full_window_has_its_time(void **state) {
    static char large[50000];
    (void)state;
    struct call *c = post((struct str){large, sizeof large});
    settle();
    fake.first_window = 1000;
    open_connection();
    say_settings(false);
    SAY_HEAD(0, false, ":status", "200");
    fake.user->ops->on_stop_sending(fake.user, 0, H3_NO_ERROR);
    settle();
    pass(cluster.options.write_timeout + 1000000);
    say_frame(0, H3_DATA, "answer", 6, true);
    settle();
    assert_answered(c, 200);
    assert_string_equal(text(&c->loop.received), "answer");
    assert_int_equal(logged.abort, ABORT_NONE);
}

/* ---- tunnels */

static void tunnel_waits_for_settings_and_opens(void **state) {
    (void)state;
    struct call *c = ask_tunnel();
    open_connection();
    assert_null(fake_find(0)); /* SETTINGS tell */
    say_settings(true);
    settle();
    assert_true(hears(0, ":method: CONNECT\n") && hears(0, ":protocol: websocket\n"));
    SAY_HEAD(0, false, ":status", "200");
    settle();
    assert_int_equal(c->status, 101);
    assert_non_null(hear(0)->body.p);
    assert_memory_equal(hear(0)->body.p, "from the client", 15);
    say_frame(0, H3_DATA, "from the origin", 15, true);
    settle();
    assert_string_equal(text(&c->loop.received), "from the origin");
}

static void tunnel_that_waits_holds_nobody_up(void **state) {
    (void)state;
    struct call *tunnel = ask_tunnel(), *other = get();
    open_connection();
    settle();
    assert_true(hears(0, ":method: GET\n") && hears(0, ":path: /\n"));
    answer(0, "200", STR(""));
    settle();
    assert_answered(other, 200);
    say_settings(true);
    settle();
    assert_true(hears(4, ":protocol: websocket\n"));
    SAY_HEAD(4, false, ":status", "200");
    settle();
    assert_int_equal(tunnel->status, 101);
}

/* It has its time, like any request that is not even begun. */
static void tunnel_that_waits_for_ever(void **state) {
    (void)state;
    struct call *tunnel = ask_tunnel();
    open_connection();
    settle();
    pass(cluster.options.write_timeout + 1000000);
    settle();
    assert_answered(tunnel, 504);
}

static void origin_that_knows_no_tunnels_gets_a_request(void **state) {
    (void)state;
    struct call *c = ask_tunnel();
    open_connection();
    say_settings(false);
    settle();
    assert_true(hears(0, ":method: GET\n") && !hears(0, ":protocol"));
    assert_true(fake_stream(0)->ended);
    answer(0, "426", STR(""));
    settle();
    assert_int_equal(c->status, 426);
}

/* ---- ends */

static void client_that_gives_up_resets_the_stream(void **state) {
    (void)state;
    struct call *c = ask_open(STR(""), false);
    SAY_HEAD(0, false, ":status", "200");
    settle();
    exchange_on_abort(&c->loop.leg, ABORT_CLIENT_GONE);
    settle();
    assert_int_equal(fake_stream(0)->reset_code, H3_REQUEST_CANCELLED);
    assert_int_equal(fake_stream(0)->stop_code, H3_REQUEST_CANCELLED);
    assert_false(fake.is_closed); /* it has shown that it is alive */
    c = get();
    settle();
    answer(4, "200", STR(""));
    settle();
    assert_answered(c, 200);
}

/* Nobody else is to wait for an origin that is gone without a word. */
static void silent_connection_ends_with_its_last_request(void **state) {
    (void)state;
    struct call *c = ask_open(STR(""), false);
    answer(0, "200", STR(""));
    settle();
    assert_answered(c, 200);
    worker.now += 1000;
    struct call *a = get(), *b = get();
    settle();
    exchange_on_abort(&a->loop.leg, ABORT_CLIENT_GONE);
    settle();
    assert_false(fake.is_closed);
    exchange_on_abort(&b->loop.leg, ABORT_CLIENT_GONE);
    settle();
    assert_true(fake.is_gone);
    assert_int_equal(fake.code, H3_NO_ERROR);
}

static void idle_connection_is_closed_in_time(void **state) {
    (void)state;
    struct call *c = ask_open(STR(""), false);
    assert_int_equal(fake.keep_alive, quic.keep_alive);
    answer(0, "200", STR(""));
    settle();
    assert_answered(c, 200);
    assert_int_equal(fake.keep_alive, 0);
    pass(cluster.idle_timeout - 100000);
    assert_false(fake.is_closed);
    pass(200000);
    assert_true(fake.is_closed);
    assert_int_equal(fake.code, H3_NO_ERROR);
    settle();
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
}

/* An origin forgets a connection without a word: no request goes out when that is near. */
static void idle_connection_is_closed_before_the_origin_forgets_it(void **state) {
    (void)state;
    struct call *c = get();
    open_connection();
    fake.idle_timeout = 8000000;
    fake.pto = 100000;
    say_settings(true);
    settle();
    uint64_t heard_at = worker.now;
    answer(0, "200", STR(""));
    settle();
    assert_answered(c, 200);
    pass(6800000 - (worker.now - heard_at));
    assert_false(fake.is_closed);
    pass(200000);
    assert_true(fake.is_closed);
    assert_int_equal(fake.code, H3_NO_ERROR);
    get();
    settle();
    assert_int_equal(connects, 2);
}

/* It is kept from the end of the exchange on, whenever its last packet is acknowledged: what is lost with it is asked
 * again. */
static void connection_is_kept_before_all_is_acknowledged(void **state) {
    (void)state;
    struct call *c = get();
    settle();
    fake.holds_acks = true;
    open_connection();
    settle();
    answer(0, "200", STR(""));
    settle();
    assert_answered(c, 200);
    assert_false(fake_stream(0)->is_closed);
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 1);
    get();
    settle();
    assert_true(hears(4, "GET"));
    lose(QUIC_BY_PEER);
    settle();
    assert_int_equal(connects, 2);
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 0);
}

static void kept_connection_that_is_lost_is_forgotten(void **state) {
    (void)state;
    struct call *c = ask_open(STR(""), false);
    answer(0, "200", STR(""));
    settle();
    assert_answered(c, 200);
    lose(QUIC_BY_PEER);
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 0);
    get();
    settle();
    assert_int_equal(connects, 2);
}

/* ---- handshakes */

static void failed_handshake_is_a_failed_connect(void **state) {
    (void)state;
    get();
    settle();
    refuse_connection(QUIC_BY_US, "name-mismatch");
    settle();
    assert_failed(ABORT_CONNECT_FAILED, 503);
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
    get();
    settle();
    refuse_connection(QUIC_HANDSHAKE_TIMEOUT, "");
    settle();
    assert_failed(ABORT_CONNECT_TIMEOUT, 503);
    assert_int_equal(asked_timeout, settings.timeouts.connect);
}

/* Whatever of the session could not be made: who waits is told, and it is nothing that the endpoint did. */
static void handshake_without_memory_is_our_own_failure(void **state) {
    bool has_failed = true;
    unsigned failed = 0;
    for (long nth = 0; has_failed; nth++) {
        get();
        settle();
        hg_alloc_fail_at(nth, 1);
        fake.user->ops->on_open(fake.user);
        hg_alloc_fail_at(-1, 0);
        has_failed = fake.is_closed;
        failed += has_failed;
        settle();
        assert_true(!has_failed || (fake.is_gone && logged.count == 1 && logged.abort == ABORT_MEMORY));
        assert_int_equal(origin_tear_down(state), 0); /* what was freed is kept for the next one */
        assert_int_equal(origin_set_up(state), 0);
    }
    assert_true(failed > 1);
}

static void origin_without_h3_is_told_so(void **state) {
    (void)state;
    agreed = STR("");
    get();
    open_connection();
    assert_true(fake.is_gone);
    assert_int_equal(fake.space, QUIC_TRANSPORT);
    assert_int_equal(fake.code, 0x178);
    assert_failed(ABORT_CONNECT_FAILED, 503);
}

static void unwanted_handshake_is_ended(void **state) {
    (void)state;
    struct call *c = get();
    settle();
    exchange_on_abort(&c->loop.leg, ABORT_CLIENT_GONE);
    settle();
    cluster_drop(&worker, 0);
    worker_end_turn(&worker);
    assert_true(fake.is_gone);
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
}

/* Every allocation that can fail, at each place: an answer of some kind, and nothing is left behind. */
static void lack_of_memory_is_an_answer(void **state) {
    (void)state;
    for (long i = 0; i < 60; i++) {
        unsigned before = logged.count;
        hg_alloc_fail_at(i, 0);
        const struct call *c = get();
        settle();
        if (!fake.is_gone && fake.user && !fake.is_closed) {
            if (fake.user->ops->on_open && !fake_find(2))
                fake.user->ops->on_open(fake.user);
            settle();
        }
        hg_alloc_fail_at(-1, 0);
        for (unsigned s = 0; s < fake.stream_count && !fake.is_gone; s++)
            if (!(fake.streams[s].id & 3) && !fake.streams[s].is_closed && !fake.streams[s].was_reset &&
                !fake.streams[s].peer_ended)
                answer(fake.streams[s].id, "200", STR(""));
        settle();
        assert_true(logged.count > before || !c->x);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, origin_set_up, origin_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(bodies_go_both_ways),
        TEST(interim_heads_go_before_the_final_one),
        TEST(a_head_may_wait_for_entries),
        TEST(answers_without_content_may_state_a_length),
        TEST(one_connection_carries_them_all),
        TEST(what_the_origin_allows_is_the_capacity),
        TEST(request_waits_for_a_stream),
        TEST(it_does_not_wait_for_ever),
        TEST(clusters_own_bound_holds),
        TEST(goaway_gives_back_what_was_not_looked_at),
        TEST(goaway_without_memory_ends_the_connection),
        TEST(rejected_request_is_asked_again),
        TEST(rejected_request_has_its_body_again),
        TEST(other_resets_are_answered),
        TEST(lost_connection_is_answered),
        TEST(what_was_not_sent_is_asked_again),
        TEST(head_without_status_is_malformed),
        TEST(interim_head_that_ends_is_malformed),
        TEST(body_shorter_than_announced_is_malformed),
        TEST(data_before_the_head_ends_the_connection),
        TEST(stream_of_the_origin_ends_the_connection),
        TEST(push_ends_the_connection),
        TEST(head_beyond_the_limit_is_refused),
        TEST(request_beyond_the_limit_of_its_origin),
        TEST(response_is_seen_with_its_whole_credit),
        TEST(small_response_needs_no_more_credit),
        TEST(response_as_large_as_the_window_gets_more),
        TEST(unread_response_is_bounded),
        TEST(answer_in_front_of_a_full_window_has_its_time),
        TEST(tunnel_waits_for_settings_and_opens),
        TEST(tunnel_that_waits_holds_nobody_up),
        TEST(tunnel_that_waits_for_ever),
        TEST(origin_that_knows_no_tunnels_gets_a_request),
        TEST(client_that_gives_up_resets_the_stream),
        TEST(silent_connection_ends_with_its_last_request),
        TEST(idle_connection_is_closed_in_time),
        TEST(idle_connection_is_closed_before_the_origin_forgets_it),
        TEST(connection_is_kept_before_all_is_acknowledged),
        TEST(kept_connection_that_is_lost_is_forgotten),
        TEST(failed_handshake_is_a_failed_connect),
        TEST(handshake_without_memory_is_our_own_failure),
        TEST(origin_without_h3_is_told_so),
        TEST(unwanted_handshake_is_ended),
        TEST(lack_of_memory_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
