/* The walks over bytes of fields against loops over single bytes: every byte at every place of every length up to 70, so
 * that all of the wide steps and what is left behind them are met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/routing/field_bytes.h"

enum { LONGEST = 70 };

static size_t first_control(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && (uint8_t)text[i] >= 0x20 && text[i] != 0x7f)
        i++;
    return i;
}

static void first_control_is_found(void **state) {
    (void)state;
    char *text = malloc(LONGEST); /* on the heap, exactly: reading beyond it is seen */
    assert_non_null(text);
    for (size_t n = 0; n <= LONGEST; n++)
        for (size_t at = 0; at < n; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                char *p = text + LONGEST - n;
                memset(p, 'x', n);
                p[at] = (char)byte;
                size_t expected = first_control(p, n);
                assert_int_equal(field_find_control(p, p + n) - p, expected);
                assert_int_equal(field_find_control_by_words(p, p + n) - p, expected);
            }
    assert_ptr_equal(field_find_control(text, text), text);
    free(text);
}

static void two_controls_give_the_first(void **state) {
    (void)state;
    char text[LONGEST];
    for (size_t a = 0; a < LONGEST; a++)
        for (size_t b = 0; b < LONGEST; b++) {
            memset(text, 0xff, sizeof text);
            text[a] = 0x7f;
            text[b] = '\r';
            assert_int_equal(field_find_control(text, text + LONGEST) - text, a < b ? a : b);
        }
}

/* What the loop over bytes makes of `text` is what the wide one makes of it. */
static void assert_same_lower(const char *text, size_t n, char *room) {
    char expected[LONGEST], *p = room + LONGEST - n;
    memcpy(expected, text, n);
    memcpy(p, text, n);
    size_t length = (size_t)(field_lower_token_by_bytes(expected, expected + n) - expected);
    assert_int_equal(field_lower_token(p, p + n) - p, length);
    assert_memory_equal(p, expected, n);
    memcpy(p, text, n);
    assert_ptr_equal(field_skip_lower_token(p, p + n), field_skip_lower_token_by_bytes(p, p + n));
    if (length == n) {
        memcpy(p, expected, n);
        assert_ptr_equal(field_skip_lower_token(p, p + n), p + n);
    }
}

static void tokens_become_lower_case(void **state) {
    (void)state;
    static const char name[] = "X-Forwarded-For1Content-Security-Policy-Report-OnlyAZaz09zyxwvutsrqponml";
    char text[LONGEST], *room = malloc(LONGEST);
    assert_non_null(room);
    for (size_t n = 1; n <= LONGEST; n++)
        for (size_t at = 0; at < n; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                memcpy(text, name, n);
                text[at] = (char)byte;
                assert_same_lower(text, n, room);
            }
    free(room);
}

/* Token bytes that are neither letters nor digits nor '-' stop the wide step, not the name. */
static void rare_token_bytes_belong_to_the_name(void **state) {
    (void)state;
    char text[] = "X_Odd.Name!With*Many~Rare^Token|Bytes: Value";
    char *end = field_lower_token(text, text + sizeof text - 1);
    assert_int_equal(end - text, strlen("X_Odd.Name!With*Many~Rare^Token|Bytes"));
    assert_string_equal(text, "x_odd.name!with*many~rare^token|bytes: Value");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_control_is_found),
        cmocka_unit_test(two_controls_give_the_first),
        cmocka_unit_test(tokens_become_lower_case),
        cmocka_unit_test(rare_token_bytes_belong_to_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
