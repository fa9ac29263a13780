/* The chunked coding: bodies and trailer sections that are good or bad, however the bytes arrive. */
#include "tests/unit/dataplane/codec/h1/feed.h"

#include "dataplane/codec/h1/chunked.h"

#define IN(text) (text), sizeof(text) - 1

static const struct h1_limits limits = {.headers = 4, .trailer_bytes = 64};

struct decoded {
    struct arena  arena;
    struct strbuf data, trailers;
    enum h1_error error;
    bool          is_complete;
    size_t        used;
};

static void collect_trailers(struct decoded *d, const struct fields *trailers) {
    for (uint32_t i = 0; i < trailers->count; i++) {
        const struct field *f = &trailers->v[i];
        strbuf_printf(&d->trailers, "[%.*s|%.*s]", f->name_len, f->name, (int)f->value_len, f->value);
    }
}

/* One piece, in a block of its own. Returns false when the decoder wants no more. */
static bool decode_piece(struct chunked *c, struct decoded *d, const char *piece, size_t n) {
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, piece, n);
    size_t at = 0;
    enum chunked_event event;
    do {
        size_t used = n + 1;
        struct str data = {NULL, 0};
        event = chunked_next(c, copy + at, n - at, &used, &data);
        assert_true(used <= n - at);
        if (event == CHUNKED_EVENT_DATA) {
            assert_true(data.n > 0);
            strbuf_add_str(&d->data, data);
        }
        at += used;
    } while (event == CHUNKED_EVENT_DATA);
    assert_true(event != CHUNKED_EVENT_MORE || at == n);
    d->used += at;
    d->error = c->error;
    d->is_complete = event == CHUNKED_EVENT_END;
    free(copy);
    return event == CHUNKED_EVENT_MORE;
}

static void decode(struct decoded *d, const char *input, size_t n, size_t first, size_t step) {
    struct chunked c;
    *d = (struct decoded){0};
    arena_init(&d->arena, NULL, 0, 0);
    chunked_init(&c, &limits, &d->arena);
    strbuf_puts(&d->data, "");
    strbuf_puts(&d->trailers, "");
    size_t at = 0, piece = first;
    while (piece = n - at < piece ? n - at : piece, decode_piece(&c, d, input + at, piece) && at + piece < n) {
        at += piece;
        piece = step;
    }
    if (d->is_complete)
        collect_trailers(d, &c.trailers);
}

static void decoded_finish(struct decoded *d) {
    arena_finish(&d->arena);
    strbuf_finish(&d->data);
    strbuf_finish(&d->trailers);
}

/* ---- good */

struct good {
    const char *text, *data, *trailers;
};

static const struct good good[] = {
    {"0\r\n\r\n", "", ""},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", ""},
    {"0005\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", "hello!", ""},
    {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""},
    {"0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", "x", ""},
    {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""},
    {"1;a\r\nx\r\n0;b\r\n\r\n", "x", ""},
    {"1;a=b;c=\"d;e \\\" \\\\ \xe9\t\";f\r\nx\r\n0\r\n\r\n", "x", ""},
    {"1;a=\"\"\r\nx\r\n0\r\n\r\n", "x", ""},
    {"1\r\nx\r\n0\r\nA: b\r\nC-D:\t e \r\n\r\n", "x", "[a|b][c-d|e]"},
    {"0\r\nDate: x\r\nSet-Cookie: a=b\r\nX-Real-IP: ::\r\nGrpc-Status: 0\r\n\r\n", "", "[grpc-status|0]"},
    {"0\r\nA:012345678901234567890123456789012345678901234567890123456789\r\n\r\n", "",
     "[a|012345678901234567890123456789012345678901234567890123456789]"},
};

static void good_bodies_are_decoded(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t n = strlen(good[i].text);
        char *input = malloc(n + 4);
        assert_non_null(input);
        memcpy(input, good[i].text, n);
        memcpy(input + n, "1\r\nx", 4); /* belongs to whatever comes next */
        for (size_t first = 0; first <= n + 4; first++) {
            struct decoded d;
            decode(&d, input, n + 4, first, first ? n + 4 : 1);
            if (d.error)
                fail_msg("\"%s\" cut at %zu: %s", good[i].text, first, h1_error_word(d.error));
            assert_true(d.is_complete);
            assert_int_equal(d.used, n);
            assert_string_equal(d.data.p, good[i].data);
            assert_string_equal(d.trailers.p, good[i].trailers);
            decoded_finish(&d);
        }
        free(input);
    }
}

/* ---- bad */

static const struct {
    const char   *text;
    size_t        n;
    enum h1_error error;
} bad[] = {
    {IN("\r\n"), H1_CHUNK_SIZE},
    {IN("\n"), H1_BARE_LF},
    {IN(" 1\r\nx"), H1_CHUNK_SIZE},
    {IN("1 \r\nx"), H1_CHUNK_SIZE},
    {IN("1\t\r\nx"), H1_CHUNK_SIZE},
    {IN("+1\r\nx"), H1_CHUNK_SIZE},
    {IN("-1\r\nx"), H1_CHUNK_SIZE},
    {IN("0x1\r\nx"), H1_CHUNK_SIZE},
    {IN("1_0\r\nx"), H1_CHUNK_SIZE},
    {IN("1,0\r\nx"), H1_CHUNK_SIZE},
    {IN("g\r\nx"), H1_CHUNK_SIZE},
    {IN(";a\r\nx"), H1_CHUNK_SIZE},
    {IN("1\0\r\nx"), H1_CHUNK_SIZE},
    {IN("00000000000000001\r\nx"), H1_CHUNK_SIZE},
    {IN("8000000000000000\r\nx"), H1_CHUNK_SIZE},
    {IN("ffffffffffffffff\r\nx"), H1_CHUNK_SIZE},
    {IN("1\nx"), H1_BARE_LF},
    {IN("1\rx"), H1_BARE_CR},
    {IN("1\r\r\nx"), H1_BARE_CR},
    {IN("1\r\nxy\r\n"), H1_CHUNK_END},
    {IN("1\r\nx0\r\n"), H1_CHUNK_END},
    {IN("1\r\nx\n0\r\n\r\n"), H1_BARE_LF},
    {IN("1\r\nx\rx"), H1_BARE_CR},
    {IN("0\n\r\n"), H1_BARE_LF},
    {IN("1;\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a;\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1; a\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a \r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a= b\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a=\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;=b\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a=b=c\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a=\"b\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a=\"b\"c\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a=\"\x01\"\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a=\"\\\r\n\"\r\nx"), H1_CHUNK_EXTENSION},
    {IN("1;a\nx"), H1_BARE_LF},
    {IN("1;\nx"), H1_BARE_LF},
    {IN("1;a=\"\n\"\r\nx"), H1_BARE_LF},
    {IN("1;a\rx"), H1_BARE_CR},
    {IN("0\r\n\n"), H1_BARE_LF},
    {IN("0\r\n\rx"), H1_BARE_CR},
    {IN("0\r\n a: b\r\n\r\n"), H1_OBS_FOLD},
    {IN("0\r\na: b\r\n c\r\n\r\n"), H1_OBS_FOLD},
    {IN("0\r\na : b\r\n\r\n"), H1_FIELD_NAME},
    {IN("0\r\na\r\n\r\n"), H1_FIELD_NAME},
    {IN("0\r\n: b\r\n\r\n"), H1_FIELD_NAME},
    {IN("0\r\na: b\x01\r\n\r\n"), H1_CONTROL_BYTE},
    {IN("0\r\na: b\n\r\n"), H1_BARE_LF},
    {IN("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_FIELD_NAME},
    {IN("0\r\nContent-Length: 5\r\n\r\n"), H1_TRAILER_FIELD},
    {IN("0\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_TRAILER_FIELD},
    {IN("0\r\nHost: a\r\n\r\n"), H1_TRAILER_FIELD},
    {IN("0\r\nConnection: close\r\n\r\n"), H1_TRAILER_FIELD},
    {IN("0\r\na:1\r\nb:1\r\nc:1\r\nd:1\r\ne:1\r\n\r\n"), H1_TOO_MANY_FIELDS},
    {IN("0\r\nA:0123456789012345678901234567890123456789012345678901234567890\r\n\r\n"), H1_TRAILER_TOO_LARGE},
    {IN("0\r\nA:012345678901234567890123456789012345678901234567890123456789012\r\n\r\n"), H1_TRAILER_TOO_LARGE},
    {IN("0\r\nA:0123456789012345678901234567890123456789012345678901234567890123\r\n\r\n"), H1_TRAILER_TOO_LARGE},
    {IN("0\r\nA:01234567890123456789012345678901234567890123456789012345678901234\r\n\r\n"), H1_TRAILER_TOO_LARGE},
};

static void bad_bodies_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (size_t first = 0; first <= bad[i].n; first++) {
            struct decoded d;
            decode(&d, bad[i].text, bad[i].n, first, first ? bad[i].n : 1);
            if (d.error != bad[i].error)
                fail_msg("\"%s\" cut at %zu: %s instead of %s", bad[i].text, first, h1_error_word(d.error),
                         h1_error_word(bad[i].error));
            assert_false(d.is_complete);
            decoded_finish(&d);
        }
    }
}

/* ---- bounds */

/* `count` chunks of one byte, each with `digits` digits and `extension` behind them. */
static enum h1_error decode_tiny(unsigned count, unsigned digits, const char *extension) {
    struct strbuf text = {0};
    for (unsigned i = 0; i < count; i++)
        strbuf_printf(&text, "%0*d%s\r\nx\r\n", digits, 1, extension);
    strbuf_puts(&text, "0\r\n\r\n");
    struct decoded d;
    decode(&d, text.p, text.n, text.n, 1);
    enum h1_error error = d.error;
    assert_int_equal(d.is_complete, error == H1_OK);
    decoded_finish(&d);
    strbuf_finish(&text);
    return error;
}

static void overhead_is_bounded(void **state) {
    (void)state;
    /* One byte in a plain chunk costs 5, of which 18 are free. */
    assert_int_equal(decode_tiny(100000, 1, ""), H1_OK);
    /* 16 digits cost 2 bytes more than is free: 8,192 chunks reach the bound exactly. */
    assert_int_equal(decode_tiny(8192, 16, ""), H1_OK);
    assert_int_equal(decode_tiny(8193, 16, ""), H1_CHUNK_OVERHEAD);
    /* An extension of 77 bytes: 64 too many each. */
    const char *extension = ";chunk-signature=012345678901234567890123456789012345678901234567890123456789";
    assert_int_equal(strlen(extension), 77);
    assert_int_equal(decode_tiny(256, 1, extension), H1_OK);
    assert_int_equal(decode_tiny(257, 1, extension), H1_CHUNK_OVERHEAD);
}

static void extension_is_bounded(void **state) {
    (void)state;
    char extension[CHUNK_EXTENSION_MAX + 2];
    memset(extension, 'a', sizeof extension);
    extension[0] = ';';
    extension[CHUNK_EXTENSION_MAX] = '\0';
    assert_int_equal(decode_tiny(1, 1, extension), H1_OK);
    extension[CHUNK_EXTENSION_MAX] = 'a';
    extension[CHUNK_EXTENSION_MAX + 1] = '\0';
    assert_int_equal(decode_tiny(1, 1, extension), H1_CHUNK_EXTENSION);
}

static void large_chunk_pays_back(void **state) {
    (void)state;
    struct strbuf text = {0};
    for (int i = 0; i < 3 * 8000; i++) {
        strbuf_puts(&text, "0000000000000001\r\nx\r\n");
        if (i % 8000 == 7999)
            strbuf_printf(&text, "2000\r\n%08192d\r\n", 0);
    }
    struct decoded d;
    decode(&d, text.p, text.n, text.n, 1);
    assert_int_equal(d.error, H1_OK);
    assert_int_equal(d.data.n, 3 * (8000 + 8192));
    decoded_finish(&d);
    strbuf_finish(&text);
}

static void end_and_error_repeat(void **state) {
    (void)state;
    struct chunked c;
    struct arena arena;
    size_t used;
    struct str data;
    arena_init(&arena, NULL, 0, 0);
    chunked_init(&c, &limits, &arena);
    assert_int_equal(chunked_next(&c, "0\r\n\r\nX", 6, &used, &data), CHUNKED_EVENT_END);
    assert_int_equal(used, 5);
    assert_int_equal(chunked_next(&c, "X", 1, &used, &data), CHUNKED_EVENT_END);
    assert_int_equal(used, 0);
    chunked_init(&c, &limits, &arena);
    assert_int_equal(chunked_next(&c, "X", 1, &used, &data), CHUNKED_EVENT_ERROR);
    assert_int_equal(chunked_next(&c, "0", 1, &used, &data), CHUNKED_EVENT_ERROR);
    assert_int_equal(used, 0);
    arena_finish(&arena);
}

static void no_memory_for_trailers(void **state) {
    (void)state;
    struct chunked c;
    struct arena arena;
    size_t used;
    struct str data;
    arena_init(&arena, NULL, 0, 16);
    chunked_init(&c, &limits, &arena);
    assert_int_equal(chunked_next(&c, "0\r\na: b\r\n\r\n", 11, &used, &data), CHUNKED_EVENT_ERROR);
    assert_int_equal(c.error, H1_MEMORY);
    arena_finish(&arena);
    arena_init(&arena, NULL, 0, 256 + 16);
    chunked_init(&c, &limits, &arena);
    assert_int_equal(chunked_next(&c, "0\r\na: b\r\n\r\n", 11, &used, &data), CHUNKED_EVENT_ERROR);
    assert_int_equal(c.error, H1_MEMORY);
    arena_finish(&arena);
}

/* ---- the encoder */

static void sizes_are_written(void **state) {
    (void)state;
    static const struct {
        uint64_t    size;
        const char *text;
    } cases[] = {
        {0, "0\r\n"}, {1, "1\r\n"}, {15, "f\r\n"}, {16, "10\r\n"}, {500, "1f4\r\n"}, {65536, "10000\r\n"},
        {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[CHUNK_SIZE_LINE_MAX];
        size_t n = chunked_write_size(cases[i].size, out);
        assert_int_equal(n, strlen(cases[i].text));
        assert_memory_equal(out, cases[i].text, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies_are_decoded), cmocka_unit_test(bad_bodies_are_refused),
        cmocka_unit_test(overhead_is_bounded),     cmocka_unit_test(extension_is_bounded),
        cmocka_unit_test(large_chunk_pays_back),   cmocka_unit_test(end_and_error_repeat),
        cmocka_unit_test(no_memory_for_trailers),  cmocka_unit_test(sizes_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
