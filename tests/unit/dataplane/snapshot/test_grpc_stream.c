/* The gRPC client against a small server made of the same HTTP/2 library, all in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "common/alloc.h"
#include "common/str.h"
#include "dataplane/snapshot/grpc_stream.h"
#include "proto/resource.h"

/* ---- the server ---- */

static struct server {
    nghttp2_session *session;
    int32_t          id;            /* of the call; 0: none yet */
    struct strbuf    received;      /* with the prefixes */
    struct strbuf    fields;        /* "name: value\n" of the request */
    struct strbuf    out;           /* to be sent as DATA */
    size_t           out_at;
    bool             ends;          /* with trailers when `out` is empty */
    const char      *status;        /* of the trailers */
} server;

static nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t server_output(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size,
                             uint32_t *flags, nghttp2_data_source *source, void *user) {
    size_t left = server.out.n - server.out_at;
    (void)source;
    (void)user;
    if (left == 0 && !server.ends)
        return NGHTTP2_ERR_DEFERRED;
    size = left < size ? left : size;
    if (size)
        memcpy(buffer, server.out.p + server.out_at, size);
    server.out_at += size;
    if (server.ends && server.out_at == server.out.n) {
        const nghttp2_nv trailers[] = {field("grpc-status", server.status), field("grpc-message", "bye")};
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, trailers, 2);
    }
    return (ssize_t)size;
}

static int server_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                          size_t size, void *user) {
    (void)session;
    (void)flags;
    (void)id;
    (void)user;
    strbuf_add(&server.received, bytes, size);
    return 0;
}

static int server_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                            size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                            void *user) {
    (void)session;
    (void)flags;
    (void)user;
    server.id = frame->hd.stream_id;
    strbuf_printf(&server.fields, "%.*s: %.*s\n", (int)name_size, name, (int)value_size, value);
    return 0;
}

static void server_start(void) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, server_on_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, server_on_header);
    server = (struct server){.status = "0"};
    nghttp2_session_server_new(&server.session, callbacks, NULL);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(server.session, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void server_answer(const char *status, const char *content_type) {
    const nghttp2_nv fields[] = {field(":status", status), field("content-type", content_type)};
    const nghttp2_data_provider provider = {.read_callback = server_output};
    assert_int_equal(nghttp2_submit_response(server.session, server.id, fields, 2, &provider), 0);
}

static void server_say(const void *message, size_t size) {
    const uint8_t prefix[] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                              (uint8_t)size};
    strbuf_add(&server.out, prefix, sizeof prefix);
    strbuf_add(&server.out, message, size);
    nghttp2_session_resume_data(server.session, server.id);
}

/* ---- the client, and the wire between them ---- */

static struct grpc_stream *stream;
static struct error_list errors;
static struct strbuf heard;
static int messages;
static bool gives_up;

static int on_message(void *owner, const uint8_t *message, size_t size) {
    (void)owner;
    messages++;
    strbuf_add(&heard, message, size);
    return gives_up ? -1 : 0;
}

static int to_client(size_t piece) {
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(server.session, &bytes)) > 0)
        for (ssize_t at = 0; at < n; at += (ssize_t)piece) {
            size_t size = (size_t)(n - at) < piece ? (size_t)(n - at) : piece;
            if (grpc_stream_receive(stream, bytes + at, size, &errors) < 0)
                return -1;
        }
    return 0;
}

static void to_server(void) {
    const uint8_t *bytes;
    ptrdiff_t n;
    while ((n = grpc_stream_output(stream, &bytes)) > 0)
        assert_int_equal(nghttp2_session_mem_recv(server.session, bytes, (size_t)n), n);
    assert_int_equal(n, 0);
}

static int exchange(void) {
    for (int i = 0; i < 6; i++) {
        to_server();
        if (to_client(SIZE_MAX / 2) < 0)
            return -1;
    }
    return 0;
}

static int set_up(void **state) {
    (void)state;
    server_start();
    messages = 0;
    gives_up = false;
    stream = grpc_stream_create("http", "headgate", "/p.S/M", on_message, NULL);
    return stream ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    grpc_stream_destroy(stream);
    nghttp2_session_del(server.session);
    strbuf_finish(&server.received);
    strbuf_finish(&server.fields);
    strbuf_finish(&server.out);
    strbuf_finish(&heard);
    error_list_finish(&errors);
    return 0;
}

static void request_is_that_of_a_grpc_client(void **state) {
    (void)state;
    exchange();
    assert_non_null(strstr(server.fields.p, ":method: POST\n"));
    assert_non_null(strstr(server.fields.p, ":path: /p.S/M\n"));
    assert_non_null(strstr(server.fields.p, "te: trailers\n"));
    assert_non_null(strstr(server.fields.p, "content-type: application/grpc"));
}

static void messages_go_both_ways(void **state) {
    (void)state;
    assert_int_equal(grpc_stream_send(stream, (const uint8_t *)"hello", 5), 0);
    exchange();
    assert_int_equal(server.received.n, 10);
    assert_memory_equal(server.received.p, "\0\0\0\0\5hello", 10);
    assert_int_equal(grpc_stream_waiting(stream), 0);
    server_answer("200", "application/grpc");
    server_say("one", 3);
    server_say("", 0);
    server_say("two", 3);
    assert_int_equal(exchange(), 0);
    assert_int_equal(messages, 3);
    assert_string_equal(heard.p, "onetwo");
}

static void largest_message_goes_through_flow_control(void **state) {
    (void)state;
    char *large = malloc(MESSAGE_MAX);
    memset(large, 'x', MESSAGE_MAX);
    exchange();
    server_answer("200", "application/grpc");
    server_say(large, MESSAGE_MAX);
    for (int i = 0; i < 50 && messages == 0; i++)
        assert_int_equal(exchange(), 0);
    assert_int_equal(messages, 1);
    assert_int_equal(heard.n, MESSAGE_MAX);
    free(large);
}

static void any_cut_of_the_bytes_gives_the_same(void **state) {
    (void)state;
    exchange();
    server_answer("200", "application/grpc");
    server_say("abcdefgh", 8);
    server_say("ij", 2);
    assert_int_equal(to_client(1), 0);
    assert_int_equal(messages, 2);
    assert_string_equal(heard.p, "abcdefghij");
}

static void expect_fault(const char *part) {
    assert_int_equal(exchange(), -1);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.items[0].message, part));
}

static void message_that_is_too_large_is_a_fault(void **state) {
    (void)state;
    static const uint8_t prefix[] = {0, 0, 0x40, 0, 1};
    exchange();
    server_answer("200", "application/grpc");
    strbuf_add(&server.out, prefix, sizeof prefix);
    expect_fault("too large");
}

static void compressed_message_is_a_fault(void **state) {
    (void)state;
    static const uint8_t prefix[] = {1, 0, 0, 0, 1, 'x'};
    exchange();
    server_answer("200", "application/grpc");
    strbuf_add(&server.out, prefix, sizeof prefix);
    expect_fault("compressed");
}

static void other_servers_are_a_fault(void **state) {
    (void)state;
    exchange();
    server_answer("404", "application/grpc");
    expect_fault("does not answer as a gRPC server");
    tear_down(NULL);
    set_up(NULL);
    exchange();
    server_answer("200", "text/html");
    expect_fault("content type");
}

static void end_of_the_call_is_told(void **state) {
    (void)state;
    int status;
    const char *text;
    exchange();
    assert_false(grpc_stream_has_ended(stream, &status, &text));
    server_answer("200", "application/grpc");
    server.ends = true;
    server.status = "7";
    assert_int_equal(exchange(), 0);
    assert_true(grpc_stream_has_ended(stream, &status, &text));
    assert_int_equal(status, 7);
    assert_string_equal(text, "bye");
}

static void reset_of_the_call_is_told(void **state) {
    (void)state;
    int status;
    const char *text;
    exchange();
    nghttp2_submit_rst_stream(server.session, NGHTTP2_FLAG_NONE, server.id, NGHTTP2_CANCEL);
    assert_int_equal(exchange(), 0);
    assert_true(grpc_stream_has_ended(stream, &status, &text));
    assert_non_null(strstr(text, "CANCEL"));
}

static void owner_that_gives_up_ends_it(void **state) {
    (void)state;
    exchange();
    server_answer("200", "application/grpc");
    server_say("one", 3);
    gives_up = true;
    assert_int_equal(exchange(), -1);
    assert_int_equal(errors.count, 0); /* it knows why */
}

static void ping_is_answered(void **state) {
    (void)state;
    exchange();
    assert_int_equal(grpc_stream_ping(stream), 0);
    assert_true(grpc_stream_awaits_pong(stream));
    exchange();
    assert_false(grpc_stream_awaits_pong(stream));
}

static void output_is_bounded(void **state) {
    (void)state;
    uint8_t *large = calloc(1, MESSAGE_MAX);
    int sent = 0;
    while (grpc_stream_send(stream, large, MESSAGE_MAX) == 0)
        sent++;
    assert_int_equal(sent, GRPC_OUTPUT_MAX / MESSAGE_MAX - 1);
    assert_int_equal(grpc_stream_send(stream, large, MESSAGE_MAX + 1), -1);
    free(large);
}

/* Whatever fails, the stream says so or works, and can be destroyed. */
static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    bool has_worked = false;
    for (long nth = 0; !has_worked; nth++) {
        tear_down(NULL);
        server_start();
        messages = 0;
        hg_alloc_fail_at(nth, 0);
        stream = grpc_stream_create("http", "headgate", "/p.S/M", on_message, NULL);
        bool is_up = stream && grpc_stream_send(stream, (const uint8_t *)"hello", 5) == 0;
        const uint8_t *bytes;
        ptrdiff_t n = -1;
        while (is_up && (n = grpc_stream_output(stream, &bytes)) > 0)
            nghttp2_session_mem_recv(server.session, bytes, (size_t)n);
        hg_alloc_fail_at(-1, 0);
        int end_status;
        const char *end_text;
        if (n < 0 || grpc_stream_has_ended(stream, &end_status, &end_text))
            continue;
        server_answer("200", "application/grpc");
        server_say("one", 3);
        hg_alloc_fail_at(nth > 60 ? -1 : nth % 7, 0);
        int status = to_client(SIZE_MAX / 2);
        hg_alloc_fail_at(-1, 0);
        assert_true(status == 0 || messages == 0);
        has_worked = status == 0 && messages == 1 && nth > 60;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(request_is_that_of_a_grpc_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_go_both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(largest_message_goes_through_flow_control, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_cut_of_the_bytes_gives_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(message_that_is_too_large_is_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(compressed_message_is_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_servers_are_a_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(end_of_the_call_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset_of_the_call_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(owner_that_gives_up_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ping_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(output_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_failed_in_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
