/* What a client of HTTP/3 can do wrong: each ends in its code (RFC 9114 section 8.1, RFC 9204 section 6), and is counted. */
#include "tests/unit/dataplane/codec/h3/peer.h"

static int set_up(void **state) {
    if (gateway_set_up(state) < 0)
        return -1;
    assert_true(connect_gateway());
    worker_end_turn(&worker);
    return 0;
}

static int tear_down(void **state) {
    fake_end();
    return gateway_tear_down(state);
}

/* One thing that the client does wrong, as bytes of one stream. */
struct row {
    const char   *name;
    int64_t       id;
    const char   *bytes;
    size_t        n;
    bool          ends;
    enum h3_fault fault;
};

#define BYTES(s) (s), sizeof(s) - 1

/* Our control stream begins. Client's streams: 2, 6, 10 ... unidirectional; 0, 4 ... of requests. */
#define CONTROL "\x00\x04\x00"
/* A whole head: GET https://a/ from the static table and literals. */
#define HEAD "\x01\x08\x00\x00\xd1\xd7\xc1\x50\x01\x61"

static const struct row connection_rows[] = {
    {"DATA on the control stream", 2, BYTES(CONTROL "\x00\x01x"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"HEADERS on the control stream", 2, BYTES(CONTROL "\x01\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"PUSH_PROMISE on the control stream", 2, BYTES(CONTROL "\x05\x01\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"a frame of HTTP/2 on the control stream", 2, BYTES(CONTROL "\x06\x00"), false, H3_FAULT_HTTP2_FRAME},
    {"PRIORITY of HTTP/2 on a request stream", 0, BYTES("\x02\x00"), false, H3_FAULT_HTTP2_FRAME},
    {"PING of HTTP/2 on a request stream", 0, BYTES("\x06\x00"), false, H3_FAULT_HTTP2_FRAME},
    {"WINDOW_UPDATE of HTTP/2 on a request stream", 0, BYTES("\x08\x00"), false, H3_FAULT_HTTP2_FRAME},
    {"CONTINUATION of HTTP/2 on a request stream", 0, BYTES("\x09\x00"), false, H3_FAULT_HTTP2_FRAME},
    {"no SETTINGS", 2, BYTES("\x00\x0d\x01\x00"), false, H3_FAULT_SETTINGS_MISSING},
    {"an unknown frame before SETTINGS", 2, BYTES("\x00\x21\x00"), false, H3_FAULT_SETTINGS_MISSING},
    {"SETTINGS twice", 2, BYTES(CONTROL "\x04\x00"), false, H3_FAULT_SETTINGS_TWICE},
    {"SETTINGS on a request stream", 0, BYTES("\x04\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"a setting twice", 2, BYTES("\x00\x04\x04\x06\x01\x06\x01"), false, H3_FAULT_SETTING_REPEATED},
    {"a setting of HTTP/2", 2, BYTES("\x00\x04\x02\x02\x01"), false, H3_FAULT_SETTING_RESERVED},
    {"a setting of HTTP/2", 2, BYTES("\x00\x04\x02\x05\x01"), false, H3_FAULT_SETTING_RESERVED},
    {"ENABLE_CONNECT_PROTOCOL of 2", 2, BYTES("\x00\x04\x02\x08\x02"), false, H3_FAULT_SETTING_VALUE},
    {"H3_DATAGRAM of 2", 2, BYTES("\x00\x04\x02\x33\x02"), false, H3_FAULT_SETTING_VALUE},
    {"a setting without a value", 2, BYTES("\x00\x04\x01\x06"), false, H3_FAULT_FRAME_SIZE},
    {"SETTINGS that are too long", 2, BYTES("\x00\x04\x44\x00"), false, H3_FAULT_SETTINGS_ENTRIES},
    {"GOAWAY on a request stream", 0, BYTES("\x07\x01\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"GOAWAY that grows", 2, BYTES(CONTROL "\x07\x01\x00\x07\x01\x01"), false, H3_FAULT_GOAWAY_ID},
    {"GOAWAY without an id", 2, BYTES(CONTROL "\x07\x00"), false, H3_FAULT_FRAME_SIZE},
    {"GOAWAY with more than an id", 2, BYTES(CONTROL "\x07\x02\x00\x00"), false, H3_FAULT_FRAME_SIZE},
    {"GOAWAY with a cut id", 2, BYTES(CONTROL "\x07\x01\x40"), false, H3_FAULT_FRAME_SIZE},
    {"MAX_PUSH_ID on a request stream", 0, BYTES("\x0d\x01\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"MAX_PUSH_ID that falls", 2, BYTES(CONTROL "\x0d\x01\x05\x0d\x01\x04"), false, H3_FAULT_PUSH_ID},
    {"CANCEL_PUSH of nothing", 2, BYTES(CONTROL "\x03\x01\x00"), false, H3_FAULT_PUSH_ID},
    {"CANCEL_PUSH on a request stream", 0, BYTES("\x03\x01\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"PUSH_PROMISE of a client", 0, BYTES("\x05\x01\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"PRIORITY_UPDATE on a request stream", 0, BYTES("\x80\x0f\x07\x00\x01\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"PRIORITY_UPDATE of a stream that is none", 2, BYTES(CONTROL "\x80\x0f\x07\x00\x01\x01"), false, H3_FAULT_PRIORITY_ID},
    {"PRIORITY_UPDATE beyond all streams", 2, BYTES(CONTROL "\x80\x0f\x07\x00\x02\x7f\xfc"), false, H3_FAULT_PRIORITY_ID},
    {"PRIORITY_UPDATE of a push", 2, BYTES(CONTROL "\x80\x0f\x07\x01\x01\x00"), false, H3_FAULT_PUSH_ID},
    {"PRIORITY_UPDATE without an id", 2, BYTES(CONTROL "\x80\x0f\x07\x00\x00"), false, H3_FAULT_FRAME_SIZE},
    {"the control stream ends", 2, BYTES(CONTROL), true, H3_FAULT_CRITICAL_STREAM},
    {"the encoder stream ends", 2, BYTES("\x02"), true, H3_FAULT_CRITICAL_STREAM},
    {"the decoder stream ends", 2, BYTES("\x03"), true, H3_FAULT_CRITICAL_STREAM},
    {"a push stream of a client", 2, BYTES("\x01"), false, H3_FAULT_STREAM_KIND},
    {"DATA before HEADERS", 0, BYTES("\x00\x01x"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"HEADERS after trailers", 0, BYTES(HEAD "\x01\x02\x00\x00\x01\x02\x00\x00"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"DATA after trailers", 0, BYTES(HEAD "\x01\x02\x00\x00\x00\x01x"), false, H3_FAULT_FRAME_UNEXPECTED},
    {"a frame that the stream's end cuts", 0, BYTES(HEAD "\x00\x05x"), true, H3_FAULT_FRAME_CUT},
    {"a head of a frame that the end cuts", 0, BYTES(HEAD "\x00"), true, H3_FAULT_FRAME_CUT},
    {"a type that the end cuts", 0, BYTES(HEAD "\x40"), true, H3_FAULT_FRAME_CUT},
    {"a section of nothing", 0, BYTES("\x01\x00"), false, H3_FAULT_QPACK_SECTION},
    {"an index that the static table has not", 0, BYTES("\x01\x04\x00\x00\xff\x40"), false, H3_FAULT_QPACK_SECTION},
    {"an index of the dynamic table that nobody inserted", 0, BYTES("\x01\x03\x00\x00\x80"), false, H3_FAULT_QPACK_SECTION},
    {"a name of post-base without entries", 0, BYTES("\x01\x03\x00\x00\x10"), false, H3_FAULT_QPACK_SECTION},
    {"a section too long", 0, BYTES("\x01\xbf\xff\xff\xff"), false, H3_FAULT_SECTION_BYTES},
    {"an insertion by a name that is not there", 2, BYTES("\x02\x80\x00"), false, H3_FAULT_QPACK_ENCODER},
    {"a capacity beyond what was allowed", 2, BYTES("\x02\x3f\xff\xff\x7f"), false, H3_FAULT_QPACK_ENCODER},
    {"a duplicate of nothing", 2, BYTES("\x02\x00"), false, H3_FAULT_QPACK_ENCODER},
    {"an acknowledgement of no section", 2, BYTES("\x03\x80"), false, H3_FAULT_QPACK_DECODER},
    {"an increment of zero", 2, BYTES("\x03\x00"), false, H3_FAULT_QPACK_DECODER},
    {"an increment beyond what was inserted", 2, BYTES("\x03\x01"), false, H3_FAULT_QPACK_DECODER},
};

static void check(const struct row *row) {
    uint64_t counted = stats_read(&worker.stats->h3_faults[STATS_TLS_CLIENTS][row->fault]);
    if (!fake.is_closed || fake.space != QUIC_APPLICATION || fake.code != h3_fault_code(row->fault) || counted != 1 ||
        strcmp(fake.reason, h3_fault_word(row->fault)) != 0)
        fail_msg("%s: closed %d, code 0x%lx (\"%s\") instead of 0x%lx (\"%s\"), counted %lu", row->name, fake.is_closed,
                 (unsigned long)fake.code, fake.reason, (unsigned long)h3_fault_code(row->fault), h3_fault_word(row->fault),
                 (unsigned long)counted);
}

static void each_fault_has_its_code(void **state) {
    for (size_t i = 0; i < sizeof connection_rows / sizeof *connection_rows; i++)
        for (int one_by_one = 0; one_by_one < 2; one_by_one++) {
            const struct row *row = &connection_rows[i];
            assert_int_equal(set_up(state), 0);
            for (size_t at = 0; one_by_one && at + 1 < row->n; at++)
                fake_receive(row->id, row->bytes + at, 1, false);
            fake_receive(row->id, one_by_one ? row->bytes + row->n - 1 : row->bytes, one_by_one ? 1 : row->n, row->ends);
            check(row);
            worker_end_turn(&worker);
            assert_true(fake.is_gone);
            assert_int_equal(tear_down(state), 0);
        }
}

static void a_stream_of_its_kind_comes_once(void **state) {
    for (char type = 0; type < 4; type++) {
        if (type == H3_STREAM_PUSH)
            continue;
        assert_int_equal(set_up(state), 0);
        fake_receive(2, &type, 1, false);
        assert_false(fake.is_closed);
        fake_receive(6, &type, 1, false);
        assert_int_equal(fake.code, 0x103);
        assert_int_equal(tear_down(state), 0);
    }
}

static void a_critical_stream_that_is_reset_ends_the_connection(void **state) {
    for (int way = 0; way < 4; way++) {
        assert_int_equal(set_up(state), 0);
        fake_receive(2, CONTROL, 3, false);
        assert_false(fake.is_closed);
        if (way == 0)
            fake.user->ops->on_stream_reset(fake.user, 2, 0);
        else if (way == 1)
            fake.user->ops->on_stream_close(fake.user, 2, 0);
        else if (way == 2)
            fake.user->ops->on_stop_sending(fake.user, 3, 0);
        else
            fake.user->ops->on_shut(fake.user, 3); /* the transport did not tell of STOP_SENDING */
        assert_int_equal(fake.code, 0x104);
        assert_int_equal(tear_down(state), 0);
    }
}

static void what_is_unknown_is_passed_over(void **state) {
    (void)state;
    fake_receive(2, CONTROL "\x21\x03xyz\x07\x01\x00\x0d\x01\x03", 14, false);
    fake_receive(6, "\x21", 1, false);
    assert_int_equal(fake_stream(6)->stop_code, H3_STREAM_CREATION_ERROR);
    fake_receive(0, "\x21\x02hi" HEAD "\x40\x21\x00", 17, true);
    assert_false(fake.is_closed);
    worker_end_turn(&worker);
    assert_int_equal(back_count, 1);
    assert_true(backs[0].loop.ends_with_head || backs[0].x);
}

static void a_stream_without_a_request_is_incomplete(void **state) {
    (void)state;
    fake_receive(0, "", 0, true);
    assert_int_equal(fake_stream(0)->reset_code, H3_REQUEST_INCOMPLETE);
    fake_receive(4, "\x21\x00", 2, true);
    assert_int_equal(fake_stream(4)->reset_code, H3_REQUEST_INCOMPLETE);
    assert_int_equal(stats_read(&worker.stats->h3_faults[STATS_TLS_CLIENTS][H3_FAULT_INCOMPLETE]), 2);
    assert_false(fake.is_closed);
}

/* ---- floods */

static void check_flood(enum h3_fault fault, unsigned most) {
    if (!fake.is_closed)
        fail_msg("%s: no end after %u", h3_fault_word(fault), most);
    assert_int_equal(fake.code, H3_EXCESSIVE_LOAD);
    assert_string_equal(fake.reason, h3_fault_word(fault));
    assert_int_equal(stats_read(&worker.stats->h3_floods_total), 1);
}

static void streams_opened_and_reset(void **state) {
    unsigned most = 2 * definition.http3.reset_burst + 10;
    (void)state;
    for (unsigned i = 0; i < most && !fake.is_closed; i++) {
        fake_receive(0 + 4 * i, HEAD, sizeof HEAD - 1, true);
        if (!fake.is_closed)
            fake.user->ops->on_stop_sending(fake.user, 4 * i, H3_REQUEST_CANCELLED);
        if (!fake.is_closed)
            fake.user->ops->on_stream_close(fake.user, 4 * i, H3_REQUEST_CANCELLED);
        worker_end_turn(&worker);
        fake.stream_count = 3;
        back_count = 0;
    }
    check_flood(H3_FAULT_RESETS, most);
}

static void requests_that_make_us_reset(void **state) {
    unsigned most = 2 * definition.http3.reset_burst + 10;
    (void)state;
    for (unsigned i = 0; i < most && !fake.is_closed; i++) {
        fake_receive(4 * i, "\x01\x02\x00\x00", 4, true);
        if (!fake.is_closed)
            fake.user->ops->on_stream_close(fake.user, 4 * i, H3_MESSAGE_ERROR);
        worker_end_turn(&worker);
        fake.stream_count = 3;
    }
    check_flood(H3_FAULT_RESETS_CAUSED, most);
}

static void repeat(int64_t id, const char *first, size_t first_n, const char *bytes, size_t n, enum h3_fault fault) {
    unsigned most = 2 * definition.http3.control_frame_burst + 1000;
    fake_receive(id, first, first_n, false);
    for (unsigned i = 0; i < most && !fake.is_closed; i++)
        fake_receive(id, bytes, n, false);
    check_flood(fault, most);
}

static void empty_frames(void **state) {
    (void)state;
    repeat(0, BYTES(HEAD), BYTES("\x00\x00"), H3_FAULT_EMPTY_FRAMES);
}

static void unknown_frames(void **state) {
    (void)state;
    repeat(0, BYTES(HEAD), BYTES("\x21\x00"), H3_FAULT_OTHER_FRAMES);
}

static void unknown_frames_of_the_connection(void **state) {
    (void)state;
    repeat(2, BYTES(CONTROL), BYTES("\x21\x00"), H3_FAULT_OTHER_FRAMES);
}

static void priority_updates(void **state) {
    (void)state;
    repeat(2, BYTES(CONTROL), BYTES("\x80\x0f\x07\x00\x04\x00u=1"), H3_FAULT_PRIORITIES);
}

static void capacity_set_again_and_again(void **state) {
    (void)state;
    repeat(2, BYTES("\x02"), BYTES("\x20"), H3_FAULT_INSTRUCTIONS);
}

static void unknown_streams(void **state) {
    unsigned most = 2 * definition.http3.control_frame_burst + 1000;
    (void)state;
    for (unsigned i = 0; i < most && !fake.is_closed; i++) {
        fake_receive(2 + 4 * i, "\x21", 1, false);
        fake.stream_count = 3;
    }
    check_flood(H3_FAULT_OTHER_STREAMS, most);
}

/* ---- sections that wait (RFC 9204 section 2.1.2) */

static struct bytes kept_instructions;

static void send_and_keep_instructions(void) {
    nghttp3_vec vec[16];
    int64_t id;
    int fin;
    nghttp3_ssize n;
    while ((n = nghttp3_conn_writev_stream(client.conn, &id, &fin, vec, 16)) >= 0 && id >= 0) {
        size_t all = 0;
        for (nghttp3_ssize i = 0; i < n; i++, all += vec[i - 1].len) {
            if (id == 6)
                bytes_add(&kept_instructions, vec[i].base, vec[i].len);
            else
                fake_receive(id, vec[i].base, vec[i].len, fin && i == n - 1);
        }
        nghttp3_conn_add_write_offset(client.conn, id, all);
        nghttp3_conn_add_ack_offset(client.conn, id, all);
    }
}

static struct call *request_with_entry(struct str body) {
    nghttp3_nv entry = nv("x-custom", "a value of the dynamic table");
    entry.flags = NGHTTP3_NV_FLAG_TRY_INDEX;
    const nghttp3_nv fields[] = {BASIC("POST", "/"), entry};
    return request_fields(fields, 5, body, true);
}

static void begin_with_table(void) {
    nghttp3_settings own;
    nghttp3_settings_default(&own);
    own.qpack_encoder_max_dtable_capacity = 4096;
    client_init(&own);
    settle();
}

static void a_section_waits_for_its_entries(void **state) {
    (void)state;
    begin_with_table();
    struct call *call = request_with_entry(STR("question"));
    send_and_keep_instructions();
    assert_true(kept_instructions.n > 0);
    assert_int_equal(back_count, 0);
    fake_receive(6, kept_instructions.p, kept_instructions.n, false);
    assert_int_equal(back_count, 1);
    const struct field *f = fields_find_name(&backs[0].loop.heads[0]->fields, STR("x-custom"));
    assert_true(f && str_eq(field_value(f), STR("a value of the dynamic table")));
    pull_all(&backs[0]);
    assert_string_equal(text(&backs[0].loop.received), "question");
    answer_with(&backs[0], STR("answer"));
    settle();
    assert_string_equal(text(&call->body), "answer");
    assert_false(fake.is_closed);
    bytes_finish(&kept_instructions);
    client_finish();
}

static void so_many_streams_may_wait(void **state) {
    (void)state;
    definition.http3.qpack_blocked_streams = 2; /* it was said to be more: the next connection's would be */
    ((struct h3_session *)fake.user)->options.qpack_blocked_streams = 2;
    begin_with_table();
    for (int i = 0; i < 3; i++)
        request_with_entry(STR("x"));
    send_and_keep_instructions();
    assert_true(fake.is_closed);
    assert_int_equal(fake.code, 0x200);
    assert_string_equal(fake.reason, "too-many-blocked-streams");
    bytes_finish(&kept_instructions);
    client_finish();
}

static void one_that_waits_can_be_given_up(void **state) {
    (void)state;
    begin_with_table();
    struct call *call = request_with_entry(STR("x"));
    send_and_keep_instructions();
    assert_int_equal(((struct h3_session *)fake.user)->blocked_count, 1);
    fake.user->ops->on_stream_reset(fake.user, call->id, H3_REQUEST_CANCELLED);
    assert_int_equal(((struct h3_session *)fake.user)->blocked_count, 0);
    fake.user->ops->on_stream_close(fake.user, call->id, H3_REQUEST_CANCELLED);
    worker_end_turn(&worker);
    assert_false(fake.is_closed);
    bytes_finish(&kept_instructions);
    client_finish();
}

/* ---- sections that are never decoded (RFC 9204 section 2.2.2.2) */

enum { OUR_DECODER = 11, CANCELLED = 0x40 };

static bool is_cancelled(int64_t id) {
    const struct bytes *sent = &fake_stream(OUR_DECODER)->sent;
    return memchr(sent->p, (int)(CANCELLED | id), sent->n) != NULL;
}

static void one_that_was_read_is_not_cancelled(void **state) {
    (void)state;
    client_init(NULL);
    get("/");
    settle();
    answer_with(&backs[0], STR("x"));
    settle();
    assert_int_equal(fake_stream(OUR_DECODER)->sent.n, 1); /* its type */
    client_finish();
}

static void one_that_the_client_resets_is_cancelled(void **state) {
    (void)state;
    client_init(NULL);
    settle();
    fake_receive(0, "\x01", 1, false); /* where the section would begin */
    fake.user->ops->on_stream_reset(fake.user, 0, H3_REQUEST_CANCELLED);
    worker_end_turn(&worker);
    assert_true(is_cancelled(0));
    client_finish();
}

static void one_that_is_refused_is_cancelled(void **state) {
    (void)state;
    client_init(NULL);
    settle();
    uint64_t limit = worker.session_memory.limit;
    worker.session_memory.limit = 0;
    struct call *call = get("/");
    settle();
    worker.session_memory.limit = limit;
    assert_int_equal(fake_stream(call->id)->reset_code, H3_REQUEST_REJECTED);
    assert_true(is_cancelled(call->id));
    client_finish();
}

/* What was acknowledged before is no error of ours for the client's encoder; the other way round it would be. */
static void one_that_is_reset_while_it_is_decoded_is_cancelled_behind_it(void **state) {
    (void)state;
    begin_with_table();
    request_with_entry(STR("x"));
    settle();
    worker.buffer_limit = worker.buffer_used;
    struct call *refused = request_with_entry(STR("x"));
    settle();
    worker.buffer_limit = UINT64_MAX;
    assert_int_equal(fake_stream(refused->id)->reset_code, H3_REQUEST_REJECTED);
    assert_true(is_cancelled(refused->id));
    assert_false(fake.is_closed);
    client_finish();
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        cmocka_unit_test(each_fault_has_its_code),
        cmocka_unit_test(a_stream_of_its_kind_comes_once),
        cmocka_unit_test(a_critical_stream_that_is_reset_ends_the_connection),
        TEST(what_is_unknown_is_passed_over),
        TEST(a_stream_without_a_request_is_incomplete),
        TEST(streams_opened_and_reset),
        TEST(requests_that_make_us_reset),
        TEST(empty_frames),
        TEST(unknown_frames),
        TEST(unknown_frames_of_the_connection),
        TEST(priority_updates),
        TEST(capacity_set_again_and_again),
        TEST(unknown_streams),
        TEST(a_section_waits_for_its_entries),
        TEST(so_many_streams_may_wait),
        TEST(one_that_waits_can_be_given_up),
        TEST(one_that_was_read_is_not_cancelled),
        TEST(one_that_the_client_resets_is_cancelled),
        TEST(one_that_is_refused_is_cancelled),
        TEST(one_that_is_reset_while_it_is_decoded_is_cancelled_behind_it),
    };
    return cmocka_run_group_tests_name("h3 errors", tests, NULL, NULL);
}
