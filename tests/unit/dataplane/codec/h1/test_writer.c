/* Heads as bytes: what is written, what is left out, and that the length is exact. */
#include "tests/unit/dataplane/codec/h1/feed.h"

#include "dataplane/codec/h1/writer.h"

typedef size_t writer(const struct head *, enum h1_connection, char *, size_t);

static void check_written(writer *write, const struct head *head, enum h1_connection connection, const char *expected) {
    size_t n = strlen(expected);
    assert_int_equal(write(head, connection, NULL, 0), n);
    for (size_t room = n > 40 ? n - 40 : 0; room <= n + 1; room++) {
        char *out = malloc(room ? room : 1); /* exactly: a byte too many is seen */
        assert_non_null(out);
        assert_int_equal(write(head, connection, out, room), n);
        if (room >= n)
            assert_memory_equal(out, expected, n);
        free(out);
    }
}

static void add(struct head *head, struct arena *arena, const char *name, const char *value) {
    assert_int_equal(fields_add(&head->fields, arena, str_of(name), str_of(value)), 0);
}

static struct head request_head(struct arena *arena) {
    struct head head;
    head_init(&head);
    head.method = METHOD_POST;
    head.method_text = STR("POST");
    head.target = STR("/a?b");
    head.authority = STR("example.com");
    add(&head, arena, "host", "other.example");
    add(&head, arena, "content-length", "999");
    add(&head, arena, "transfer-encoding", "gzip");
    add(&head, arena, "connection", "close");
    add(&head, arena, "keep-alive", "1");
    add(&head, arena, "proxy-connection", "close");
    add(&head, arena, "upgrade", "h2c");
    add(&head, arena, "te", "gzip");
    add(&head, arena, "http2-settings", "x");
    add(&head, arena, "x-a", "b");
    add(&head, arena, "empty", "");
    return head;
}

static void request_framing_comes_from_members(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0, 0);
    struct head head = request_head(&arena);
    check_written(h1_write_request_head, &head, H1_CONNECTION_DEFAULT,
                  "POST /a?b HTTP/1.1\r\nhost: example.com\r\nx-a: b\r\nempty: \r\n\r\n");
    head.content_length = INT64_MAX;
    check_written(h1_write_request_head, &head, H1_CONNECTION_CLOSE,
                  "POST /a?b HTTP/1.1\r\nhost: example.com\r\nx-a: b\r\nempty: \r\ncontent-length: 9223372036854775807\r\n"
                  "connection: close\r\n\r\n");
    head.content_length = -1;
    head.chunked = head.te_trailers = true;
    head.upgrade = STR("websocket");
    check_written(h1_write_request_head, &head, H1_CONNECTION_UPGRADE,
                  "POST /a?b HTTP/1.1\r\nhost: example.com\r\nx-a: b\r\nempty: \r\ntransfer-encoding: chunked\r\n"
                  "connection: upgrade, te\r\nupgrade: websocket\r\nte: trailers\r\n\r\n");
    check_written(h1_write_request_head, &head, H1_CONNECTION_DEFAULT,
                  "POST /a?b HTTP/1.1\r\nhost: example.com\r\nx-a: b\r\nempty: \r\ntransfer-encoding: chunked\r\n"
                  "connection: te\r\nte: trailers\r\n\r\n");
    arena_finish(&arena);
}

static void responses(void **state) {
    (void)state;
    struct arena arena;
    struct head head;
    arena_init(&arena, NULL, 0, 0);
    head_init(&head);
    head.status = 404;
    head.content_length = 0;
    add(&head, &arena, "set-cookie", "a=b");
    add(&head, &arena, "set-cookie", "c=d");
    check_written(h1_write_response_head, &head, H1_CONNECTION_KEEP_ALIVE,
                  "HTTP/1.1 404 Not Found\r\nset-cookie: a=b\r\nset-cookie: c=d\r\ncontent-length: 0\r\n"
                  "connection: keep-alive\r\n\r\n");
    head.reason = STR("Nope");
    head.te_trailers = true;
    check_written(h1_write_response_head, &head, H1_CONNECTION_DEFAULT,
                  "HTTP/1.1 404 Nope\r\nset-cookie: a=b\r\nset-cookie: c=d\r\ncontent-length: 0\r\n\r\n");
    head.reason = STR("");
    head.fields.count = 0;
    head.status = 204;
    check_written(h1_write_response_head, &head, H1_CONNECTION_DEFAULT, "HTTP/1.1 204 No Content\r\n\r\n");
    head.status = 304;
    head.content_length = 7;
    check_written(h1_write_response_head, &head, H1_CONNECTION_DEFAULT,
                  "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n");
    head.status = 101;
    head.content_length = -1;
    head.chunked = true;
    head.upgrade = STR("websocket");
    check_written(h1_write_response_head, &head, H1_CONNECTION_UPGRADE,
                  "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    head.status = 799;
    check_written(h1_write_response_head, &head, H1_CONNECTION_DEFAULT,
                  "HTTP/1.1 799 \r\ntransfer-encoding: chunked\r\n\r\n");
    arena_finish(&arena);
}

static void trailers(void **state) {
    (void)state;
    char out[64];
    struct arena arena;
    struct fields fields = {0};
    arena_init(&arena, NULL, 0, 0);
    assert_int_equal(h1_write_trailers(NULL, out, sizeof out), 2);
    assert_memory_equal(out, "\r\n", 2);
    assert_int_equal(fields_add(&fields, &arena, STR("a"), STR("b")), 0);
    assert_int_equal(fields_add(&fields, &arena, STR("content-length"), STR("5")), 0);
    assert_int_equal(fields_add(&fields, &arena, STR("date"), STR("x")), 0);
    assert_int_equal(h1_write_trailers(&fields, out, sizeof out), 8);
    assert_memory_equal(out, "a: b\r\n\r\n", 8);
    assert_int_equal(h1_write_trailers(&fields, out, 7), 8);
    arena_finish(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_framing_comes_from_members),
        cmocka_unit_test(responses),
        cmocka_unit_test(trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
