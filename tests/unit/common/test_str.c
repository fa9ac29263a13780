#include "common/str.h"

#include <stdio.h>

#include "common/alloc.h"
#include "tests/unit/common/cmocka_all.h"

/* ---- views ---- */

static void comparisons(void **state) {
    (void)state;
    struct str none = {NULL, 0};
    assert_true(str_eq(none, STR("")));
    assert_true(str_eq(str_of(NULL), none));
    assert_false(str_eq(STR("a"), STR("b")));
    assert_false(str_eq(STR("a"), STR("ab")));
    assert_true(str_eq_nocase(STR("Host-1[@"), STR("hOST-1[@")));
    assert_false(str_eq_nocase(STR("["), STR("{")));
    assert_false(str_eq_nocase(STR("@"), STR("`")));
    assert_false(str_eq_nocase(STR("\xc4"), STR("\xe4")));
    assert_true(str_starts(STR("abc"), STR("ab")) && str_starts(STR("abc"), none));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")) && str_ends(none, none));
    assert_false(str_ends(STR("c"), STR("bc")));
    assert_int_equal(str_cmp(STR("a"), STR("a")), 0);
    assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0);
    assert_true(str_cmp(STR("\x7f"), STR("\x80")) < 0);
    assert_int_equal(str_cmp(none, STR("")), 0);
}

static void trimming(void **state) {
    (void)state;
    assert_true(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
    assert_int_equal(str_trim(STR(" \t ")).n, 0);
    assert_true(str_eq(str_trim(STR("\ra\n")), STR("\ra\n")));
    assert_int_equal(str_trim((struct str){NULL, 0}).n, 0);
}

static void cutting(void **state) {
    (void)state;
    struct str rest = STR("a,,b");
    assert_true(str_eq(str_cut(&rest, ','), STR("a")));
    assert_true(str_eq(str_cut(&rest, ','), STR("")));
    assert_non_null(rest.p);
    assert_true(str_eq(str_cut(&rest, ','), STR("b")));
    assert_null(rest.p);
    assert_int_equal(str_cut(&rest, ',').n, 0);
    rest = STR("a,");
    str_cut(&rest, ',');
    assert_non_null(rest.p); /* something stood behind the separator: nothing */
    assert_int_equal(rest.n, 0);
}

static void numbers(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "", " 1", "1 ", "+1", "-1", "0x1", "1.0", "18446744073709551616", "99999999999999999999999"};
    uint64_t value = 7;
    assert_int_equal(str_to_uint64(STR("18446744073709551615"), &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(str_to_uint64(STR("007"), &value), 0);
    assert_int_equal(value, 7);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(str_to_uint64(str_of(wrong[i]), &value), -1);
    assert_int_equal(str_to_uint64((struct str){"1\0", 2}, &value), -1);
    assert_int_equal(value, 7);
}

static void distances(void **state) {
    (void)state;
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 9), 3);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 2), 3);
    assert_int_equal(str_distance(STR(""), STR("abc"), 9), 3);
    assert_int_equal(str_distance(STR("abc"), STR(""), 9), 3);
    assert_int_equal(str_distance(STR("ABC"), STR("abc"), 9), 0);
    char longer[65];
    memset(longer, 'a', sizeof longer);
    assert_int_equal(str_distance((struct str){longer, 64}, (struct str){longer, 64}, 3), 0);
    assert_int_equal(str_distance((struct str){longer, 65}, (struct str){longer, 65}, 3), 4);
}

static void the_nearest_name(void **state) {
    (void)state;
    static const char *const names[] = {"rules", "route-table", "retry", "to"};
    assert_string_equal(str_nearest(STR("rulez"), names, 4), "rules");
    assert_string_equal(str_nearest(STR("route_tabel"), names, 4), "route-table");
    assert_string_equal(str_nearest(STR("RETRY"), names, 4), "retry");
    assert_null(str_nearest(STR("listener"), names, 4));
    assert_null(str_nearest(STR("xyz"), names, 4));
    assert_null(str_nearest(STR("rules"), names, 0));
}

/* ---- buffers ---- */

static void a_buffer_always_ends_in_nul(void **state) {
    (void)state;
    struct strbuf b = {0};
    assert_string_equal(strbuf_str(&b).p, "");
    for (int i = 0; i < 1000; i++) {
        strbuf_putc(&b, (char)('a' + i % 26));
        assert_int_equal(b.p[b.n], '\0');
    }
    strbuf_reset(&b);
    assert_string_equal(b.p, "");
    strbuf_puts(&b, "one");
    strbuf_add_str(&b, STR(" two"));
    strbuf_add(&b, NULL, 0);
    strbuf_printf(&b, " %d%s", 3, "!");
    assert_string_equal(b.p, "one two 3!");
    assert_false(b.failed);
    strbuf_finish(&b);
    strbuf_finish(NULL);
}

static void a_long_format_fits(void **state) {
    (void)state;
    struct strbuf b = {0};
    strbuf_printf(&b, "%5000d", 1);
    assert_int_equal(b.n, 5000);
    assert_int_equal(b.p[4999], '1');
    strbuf_finish(&b);
}

static void a_failed_buffer_stays_failed_until_it_is_reset(void **state) {
    (void)state;
    struct strbuf b = {0};
    strbuf_puts(&b, "12345");
    hg_alloc_fail_at(0, 0);
    strbuf_puts(&b, "67890");
    assert_true(b.failed);
    assert_string_equal(b.p, "12345");
    strbuf_puts(&b, "x"); /* memory is back, but the text has a hole */
    strbuf_printf(&b, "x");
    strbuf_add_json(&b, STR("x"));
    assert_string_equal(b.p, "12345");
    assert_null(strbuf_take(&b));
    strbuf_puts(&b, "new");
    strbuf_add(&b, "x", SIZE_MAX);
    assert_true(b.failed);
    strbuf_reset(&b);
    strbuf_puts(&b, "again");
    assert_string_equal(b.p, "again");
    strbuf_finish(&b);
}

static void taking_moves_the_text(void **state) {
    (void)state;
    struct strbuf b = {0};
    char *empty = strbuf_take(&b);
    assert_string_equal(empty, "");
    hg_free(empty);
    strbuf_puts(&b, "text");
    char *text = strbuf_take(&b);
    assert_string_equal(text, "text");
    assert_null(b.p);
    hg_free(text);
    hg_alloc_fail_at(0, 0);
    assert_null(strbuf_take(&b));
    assert_false(b.failed);
    hg_alloc_fail_at(-1, 0);
}

/* ---- JSON and UTF-8 ---- */

static void assert_json(struct str s, const char *expected) {
    struct strbuf b = {0};
    strbuf_add_json(&b, s);
    assert_string_equal(b.p, expected);
    strbuf_finish(&b);
}

static void json_strings(void **state) {
    (void)state;
    assert_json(STR(""), "\"\"");
    assert_json(STR("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
    assert_json(STR("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\"");
    assert_json((struct str){"\0\x1f\x7f", 3}, "\"\\u0000\\u001f\\u007f\"");
    assert_json(STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
    assert_json(STR("a\xff\xc3"), "\"a\\ufffd\\ufffd\"");
    assert_json(STR("\xe2\x82"), "\"\\ufffd\\ufffd\"");
}

static size_t encode(unsigned code, size_t n, char out[4]) {
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(n == 1 ? code : lead[n] | code);
    return n;
}

static size_t shortest(unsigned code) {
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static void every_code_point_has_one_form(void **state) {
    (void)state;
    char text[4];
    for (unsigned code = 0; code < 0x200000; code++) {
        bool is_scalar = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        for (size_t n = shortest(code); n <= 4; n++) {
            size_t expected = is_scalar && n == shortest(code) ? n : 0;
            if (utf8_length(text, encode(code, n, text)) != expected)
                fail_msg("code point %x in %zu bytes", code, n);
            if (n > 1 && utf8_length(text, n - 1) != 0)
                fail_msg("code point %x cut short", code);
        }
    }
}

/* ---- hexadecimal ---- */

static void hexadecimal(void **state) {
    (void)state;
    char text[9];
    uint8_t bytes[4] = {0x00, 0x7f, 0xab, 0xff}, back[4] = {0};
    hex_encode(bytes, 4, text);
    assert_string_equal(text, "007fabff");
    assert_int_equal(hex_decode(STR("007fABff"), back, 4), 0);
    assert_memory_equal(bytes, back, 4);
    assert_int_equal(hex_decode(STR("007fabf"), back, 4), -1);
    assert_int_equal(hex_decode(STR("007fabff0"), back, 4), -1);
    assert_int_equal(hex_decode(STR("007fabfg"), back, 4), -1);
    assert_int_equal(hex_decode(STR("0x7fabff"), back, 4), -1);
    assert_int_equal(hex_decode(STR(""), back, 0), 0);
}

static void every_byte_in_hexadecimal(void **state) {
    (void)state;
    for (unsigned n = 0; n <= 9; n++)
        for (unsigned at = 0; at < n; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t bytes[9] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0x5a};
                char text[19], expected[19] = "";
                bytes[at] = (uint8_t)byte;
                hex_encode(bytes, n, text);
                for (unsigned i = 0; i < n; i++)
                    snprintf(expected + 2 * i, 3, "%02x", bytes[i]);
                assert_string_equal(text, expected);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparisons),
        cmocka_unit_test(trimming),
        cmocka_unit_test(cutting),
        cmocka_unit_test(numbers),
        cmocka_unit_test(distances),
        cmocka_unit_test(the_nearest_name),
        cmocka_unit_test(a_buffer_always_ends_in_nul),
        cmocka_unit_test(a_long_format_fits),
        cmocka_unit_test(a_failed_buffer_stays_failed_until_it_is_reset),
        cmocka_unit_test(taking_moves_the_text),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(every_code_point_has_one_form),
        cmocka_unit_test(hexadecimal),
        cmocka_unit_test(every_byte_in_hexadecimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
