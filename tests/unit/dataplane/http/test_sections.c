/* Field sections to heads and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/http/message.h"
#include "dataplane/http/sections.h"

static const struct section_limits limits = {.header_bytes = 4096, .headers = 20, .uri_bytes = 1000, .trailer_bytes = 1000};

static struct arena  arena;
static struct head   head;
static struct fields trailers;

static int set_up(void **state) {
    (void)state;
    arena_init(&arena, NULL, 0, 1 << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    arena_finish(&arena);
    return 0;
}

/* Lines of "name: value"; the name may begin with a colon. */
static enum section_error read_text(enum section_kind section, const char *text, bool end) {
    struct section_reader reader;
    struct str rest = str_of(text);
    if (section == SECTION_TRAILERS)
        section_begin_trailers(&reader, &arena, &limits, &trailers);
    else
        section_begin_head(&reader, section, VERSION_20, &arena, &limits, &head);
    while (rest.p && rest.n) {
        struct str line = str_cut(&rest, '\n');
        const char *colon = memchr(line.p + 1, ':', line.n - 1);
        assert_non_null(colon);
        struct str name = {line.p, (size_t)(colon - line.p)}, value = {colon + 2, line.n - name.n - 2};
        section_read_field(&reader, name, value);
    }
    return section_read_end(&reader, end);
}

#define BASE ":method: GET\n:scheme: https\n:authority: Example.com:8443\n:path: /a?b\n"

static void a_request_becomes_a_head(void **state) {
    (void)state;
    assert_int_equal(read_text(SECTION_REQUEST, BASE "accept: */*\nte: trailers\nx-any: thing\n", true), SECTION_OK);
    assert_int_equal(head.method, METHOD_GET);
    assert_int_equal(head.version, 20);
    assert_true(str_eq(head.scheme, STR("https")));
    assert_true(str_eq(head.authority, STR("example.com:8443")) && str_eq(head.host, STR("example.com")));
    assert_int_equal(head.port, 8443);
    assert_true(str_eq(head.path, STR("/a")) && str_eq(head.query, STR("b")) && head.has_query);
    assert_true(head.te_trailers);
    assert_int_equal(head.fields.count, 3);
    assert_int_equal(head.content_length, -1);
}

static void host_takes_the_place_of_authority(void **state) {
    (void)state;
    assert_int_equal(read_text(SECTION_REQUEST, ":method: GET\n:scheme: http\n:path: /\nhost: A.example\n", true),
                     SECTION_OK);
    assert_true(str_eq(head.authority, STR("a.example")));
    assert_int_equal(read_text(SECTION_REQUEST, BASE "host: EXAMPLE.com:8443\n", true), SECTION_OK);
    assert_true(str_eq(field_value(fields_find(&head.fields, FIELD_HOST)), STR("example.com:8443")));
}

static void every_fault_of_a_request_has_its_word(void **state) {
    static const struct {
        const char   *text;
        enum section_error error;
    } rows[] = {
        {":scheme: http\n:authority: a\n:path: /\n", SECTION_PSEUDO_MISSING},
        {":method: GET\n:authority: a\n:path: /\n", SECTION_PSEUDO_MISSING},
        {":method: GET\n:scheme: http\n:authority: a\n", SECTION_PSEUDO_MISSING},
        {":method: GET\n:scheme: http\n:path: /\n", SECTION_AUTHORITY_MISSING},
        {":method: G T\n:scheme: http\n:authority: a\n:path: /\n", SECTION_METHOD},
        {":method: \n:scheme: http\n:authority: a\n:path: /\n", SECTION_METHOD},
        {":method: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n:scheme: http\n:authority: a\n:path: /\n", SECTION_METHOD_TOO_LONG},
        {":method: GET\n:scheme: ftp\n:authority: a\n:path: /\n", SECTION_SCHEME},
        {":method: GET\n:scheme: http\n:authority: a\n:path: \n", SECTION_TARGET},
        {":method: GET\n:scheme: http\n:authority: a\n:path: a\n", SECTION_TARGET},
        {":method: GET\n:scheme: http\n:authority: a\n:path: *\n", SECTION_TARGET},
        {":method: GET\n:scheme: http\n:authority: a\n:path: /a b\n", SECTION_TARGET},
        {":method: GET\n:scheme: http\n:authority: a\n:path: /a#b\n", SECTION_TARGET},
        {":method: GET\n:scheme: http\n:authority: a\n:path: http://a/\n", SECTION_TARGET},
        {":method: GET\n:scheme: http\n:authority: user@a\n:path: /\n", SECTION_AUTHORITY},
        {":method: GET\n:scheme: http\n:authority: \n:path: /\n", SECTION_AUTHORITY},
        {BASE "host: other\n", SECTION_HOST_DIFFERS},
        {BASE "host: example.com:8443\nhost: example.com:8443\n", SECTION_HOST_REPEATED},
        {BASE ":method: GET\n", SECTION_PSEUDO_REPEATED},
        {BASE "a: b\n:method: GET\n", SECTION_PSEUDO_LATE},
        {BASE ":status: 200\n", SECTION_PSEUDO_UNKNOWN},
        {BASE ":protocol: websocket\n", SECTION_PSEUDO_UNKNOWN},
        {BASE "Upper: a\n", SECTION_FIELD_NAME},
        {BASE "a b: c\n", SECTION_FIELD_NAME},
        {BASE "a: b\rc\n", SECTION_FIELD_VALUE},
        {BASE "a:  b\n", SECTION_FIELD_VALUE},
        {BASE "a: b \n", SECTION_FIELD_VALUE},
        {BASE "a: b\001\n", SECTION_FIELD_VALUE},
        {BASE "connection: close\n", SECTION_CONNECTION_FIELD},
        {BASE "keep-alive: 1\n", SECTION_CONNECTION_FIELD},
        {BASE "proxy-connection: a\n", SECTION_CONNECTION_FIELD},
        {BASE "upgrade: h2c\n", SECTION_CONNECTION_FIELD},
        {BASE "transfer-encoding: chunked\n", SECTION_CONNECTION_FIELD},
        {BASE "te: trailers, gzip\n", SECTION_TE},
        {BASE "content-length: 1\n", SECTION_CONTENT_LENGTH},
        {BASE "content-length: 0x1\n", SECTION_CONTENT_LENGTH},
        {BASE "content-length: 0\ncontent-length: 0\n", SECTION_CONTENT_LENGTH_REPEATED},
        {BASE "expect: more\n", SECTION_EXPECT},
        {":method: CONNECT\n:authority: a:1\n:scheme: http\n", SECTION_PSEUDO_MISSING},
        {":method: CONNECT\n:authority: a\n", SECTION_AUTHORITY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum section_error error = read_text(SECTION_REQUEST, rows[i].text, true);
        if (error != rows[i].error)
            fail_msg("\"%s\": %s instead of %s", rows[i].text, section_error_word(error), section_error_word(rows[i].error));
    }
}

static void other_forms_of_targets(void **state) {
    (void)state;
    assert_int_equal(read_text(SECTION_REQUEST, ":method: OPTIONS\n:scheme: http\n:authority: a\n:path: *\n", true),
                     SECTION_OK);
    assert_int_equal(head.form, TARGET_ASTERISK);
    assert_int_equal(read_text(SECTION_REQUEST, ":method: CONNECT\n:authority: a:443\n", false), SECTION_OK);
    assert_int_equal(head.form, TARGET_AUTHORITY);
    assert_true(str_eq(head.target, STR("a:443")));
}

static void a_body_may_follow(void **state) {
    (void)state;
    assert_int_equal(read_text(SECTION_REQUEST, BASE "content-length: 12\nexpect: 100-continue\n", false), SECTION_OK);
    assert_int_equal(head.content_length, 12);
    assert_true(head.expect_continue);
    assert_int_equal(read_text(SECTION_REQUEST, BASE "expect: 100-continue\n", true), SECTION_OK);
    assert_false(head.expect_continue);
}

static void crumbs_of_cookies_are_joined(void **state) {
    static const struct {
        const char *text, *joined;
    } rows[] = {
        {BASE "cookie: a=1\nx: y\ncookie: b=2\n", "a=1; b=2"},
        {BASE "cookie: a=1\ncookie: \n", "a=1"},
        {BASE "cookie: \ncookie: a=1\ncookie: \ncookie: b=2\n", "a=1; b=2"},
        {BASE "cookie: \ncookie: \n", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_text(SECTION_REQUEST, rows[i].text, true), SECTION_OK);
        const struct field *cookie = fields_find(&head.fields, FIELD_COOKIE);
        assert_true(str_eq(field_value(cookie), str_of(rows[i].joined)));
        assert_null(fields_next(&head.fields, cookie, FIELD_COOKIE));
    }
}

static void responses_have_a_status(void **state) {
    static const char *const bad[] = {":status: 99\n", ":status: 2000\n", ":status: 101\n", ":status: 20x\n",
                                      ":status: 099\n"};
    (void)state;
    assert_int_equal(read_text(SECTION_RESPONSE, ":status: 200\ncontent-length: 7\n", false), SECTION_OK);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.content_length, 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_text(SECTION_RESPONSE, bad[i], true), SECTION_STATUS);
    assert_int_equal(read_text(SECTION_RESPONSE, "a: b\n", true), SECTION_PSEUDO_MISSING);
    assert_int_equal(read_text(SECTION_RESPONSE, ":status: 200\n:path: /\n", true), SECTION_PSEUDO_UNKNOWN);
}

static void trailers_are_cleaned(void **state) {
    (void)state;
    assert_int_equal(read_text(SECTION_TRAILERS, "grpc-status: 0\ncookie: a\ncache-control: b\n", true), SECTION_OK);
    assert_int_equal(trailers.count, 1);
    assert_int_equal(read_text(SECTION_TRAILERS, "content-length: 0\n", true), SECTION_TRAILER_FIELD);
    assert_int_equal(read_text(SECTION_TRAILERS, ":status: 200\n", true), SECTION_PSEUDO_UNKNOWN);
    assert_int_equal(read_text(SECTION_TRAILERS, "connection: x\n", true), SECTION_CONNECTION_FIELD);
    assert_int_equal(read_text(SECTION_TRAILERS, "a: b\n", false), SECTION_TRAILER_NOT_LAST);
}

/* Beyond the limits nothing is kept: what comes only counts. */
static void limits_hold(void **state) {
    static char value[3000];
    struct section_reader r;
    (void)state;
    memset(value, 'v', sizeof value);
    section_begin_head(&r, SECTION_REQUEST, VERSION_20, &arena, &limits, &head);
    for (int i = 0; i < 3; i++)
        section_read_field(&r, STR("x"), (struct str){value, sizeof value});
    size_t used = arena.used;
    for (int i = 0; i < 10000; i++)
        section_read_field(&r, STR("x"), (struct str){value, sizeof value});
    assert_int_equal(arena.used, used);
    assert_int_equal(r.bytes, 10003 * (sizeof value + 1 + SECTION_FIELD_OVERHEAD));
    assert_int_equal(section_read_end(&r, true), SECTION_HEAD_TOO_LARGE);
    section_begin_head(&r, SECTION_REQUEST, VERSION_20, &arena, &limits, &head);
    for (uint32_t i = 0; i <= limits.headers; i++)
        section_read_field(&r, STR("cookie"), STR("a=b"));
    assert_int_equal(section_read_end(&r, true), SECTION_TOO_MANY_FIELDS);
    section_begin_head(&r, SECTION_REQUEST, VERSION_20, &arena, &limits, &head);
    section_read_field(&r, STR(":path"), (struct str){value, limits.uri_bytes + 1});
    assert_int_equal(section_read_end(&r, true), SECTION_TARGET_TOO_LONG);
}

static void lack_of_memory_is_an_error(void **state) {
    (void)state;
    const char *text = BASE "cookie: a\ncookie: b\nx-name: value\n";
    enum section_error error = SECTION_MEMORY;
    long nth = 0;
    for (; error == SECTION_MEMORY; nth++) {
        arena_finish(&arena);
        arena_init(&arena, NULL, 0, 1 << 20);
        hg_alloc_fail_at(nth, 1);
        error = read_text(SECTION_REQUEST, text, true);
        hg_alloc_fail_at(-1, 0);
    }
    assert_int_equal(error, SECTION_OK);
    assert_true(nth > 1);
}

static struct str text_of(const struct field_pair *nv, size_t n) {
    static char room[4096];
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(room + at, sizeof room - at, "%.*s: %.*s\n", (int)nv[i].name_n, (char *)nv[i].name,
                               (int)nv[i].value_n, (char *)nv[i].value);
    return (struct str){room, at};
}

static void what_frames_comes_from_the_members(void **state) {
    struct field_pair nv[40];
    char digits[32];
    (void)state;
    assert_int_equal(read_text(SECTION_RESPONSE, ":status: 200\nserver: x\n", false), SECTION_OK);
    assert_int_equal(fields_add(&head.fields, &arena, STR("content-length"), STR("999")), 0);
    assert_int_equal(fields_add(&head.fields, &arena, STR("connection"), STR("close")), 0);
    head.content_length = 12;
    struct str text = text_of(nv, section_write_response(&head, nv, digits));
    assert_true(str_eq(text, STR(":status: 200\nserver: x\ncontent-length: 12\n")));
    head.status = 204;
    text = text_of(nv, section_write_response(&head, nv, digits));
    assert_true(str_eq(text, STR(":status: 204\nserver: x\n")));
}

static void a_request_is_written(void **state) {
    struct field_pair nv[40];
    char digits[32];
    (void)state;
    assert_int_equal(read_text(SECTION_REQUEST, BASE "accept: a\nte: trailers\nhost: example.com:8443\n", false),
                     SECTION_OK);
    struct str text = text_of(nv, section_write_request(&head, false, nv, digits));
    assert_true(str_eq(text, STR(":method: GET\n:scheme: http\n:authority: example.com:8443\n:path: /a?b\n"
                                 "accept: a\nte: trailers\n")));
}

static void a_section_counts_as_peers_limit_it(void **state) {
    (void)state;
    enum { SIZE = 7 + 3 + 1 + 2 * 32 };
    const struct field_pair pairs[] = {{.name_n = 7, .value_n = 3}, {.name_n = 1, .value_n = 0}};
    assert_true(section_is_within(pairs, 2, SIZE));
    assert_false(section_is_within(pairs, 2, SIZE - 1));
    assert_true(section_is_within(pairs, 0, 0));
}

static void a_section_is_not_counted_without_a_limit(void **state) {
    (void)state;
    const struct field_pair uncounted = {.value_n = SIZE_MAX / 2};
    assert_false(section_is_within(&uncounted, 1, UINT32_MAX - 1));
    assert_true(section_is_within(&uncounted, 1, UINT32_MAX) && section_is_within(&uncounted, 1, UINT64_MAX));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_request_becomes_a_head),
        TEST(host_takes_the_place_of_authority),
        TEST(every_fault_of_a_request_has_its_word),
        TEST(other_forms_of_targets),
        TEST(a_body_may_follow),
        TEST(crumbs_of_cookies_are_joined),
        TEST(responses_have_a_status),
        TEST(trailers_are_cleaned),
        TEST(limits_hold),
        TEST(lack_of_memory_is_an_error),
        TEST(what_frames_comes_from_the_members),
        TEST(a_request_is_written),
        TEST(a_section_counts_as_peers_limit_it),
        TEST(a_section_is_not_counted_without_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
