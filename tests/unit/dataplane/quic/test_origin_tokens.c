/* Tokens of origins: one each, used once, and not more than there may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/quic/origin_tokens.h"

static struct origin_tokens tokens;

static int tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    origin_tokens_finish(&tokens);
    memset(&tokens, 0, sizeof tokens);
    return 0;
}

static void put(const char *origin, const char *token) {
    origin_tokens_put(&tokens, str_of(origin), (const uint8_t *)token, strlen(token));
}

static void expect(const char *origin, const char *token) {
    uint8_t room[ORIGIN_TOKEN_BYTES_MAX];
    size_t n = origin_tokens_take(&tokens, str_of(origin), room);
    assert_int_equal(n, strlen(token));
    assert_memory_equal(room, token, n);
}

static void each_is_taken_once(void **state) {
    (void)state;
    expect("a", "");
    put("a", "first");
    put("b", "other");
    expect("a", "first");
    expect("a", "");
    expect("b", "other");
}

static void newest_counts(void **state) {
    (void)state;
    put("a", "first");
    put("a", "second");
    expect("a", "second");
    expect("a", "");
}

static void oldest_go_when_there_are_too_many(void **state) {
    (void)state;
    char name[16];
    put("again", "old");
    for (int i = 0; i < ORIGIN_TOKENS_MAX - 1; i++) {
        snprintf(name, sizeof name, "%d", i);
        put(name, name);
    }
    put("again", "new");
    put("one more", "x");
    assert_int_equal(tokens.by_origin.count, ORIGIN_TOKENS_MAX);
    expect("0", "");
    expect("1", "1");
    expect("again", "new");
    expect("one more", "x");
}

static void too_long_ones_are_not_kept(void **state) {
    (void)state;
    char text[ORIGIN_TOKEN_BYTES_MAX + 2];
    memset(text, 'x', sizeof text);
    text[ORIGIN_TOKEN_BYTES_MAX + 1] = '\0';
    put("a", "fits");
    put("a", text);
    expect("a", "fits");
    put("a", text + 1);
    expect("a", text + 1);
    put("a", "");
    expect("a", "");
}

static void without_memory_there_is_none(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        hg_alloc_fail_at(i, 1);
        put("a", "token");
        hg_alloc_fail_at(-1, 0);
        expect("a", "");
    }
    put("a", "token");
    expect("a", "token");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_is_taken_once, tear_down),
        cmocka_unit_test_teardown(newest_counts, tear_down),
        cmocka_unit_test_teardown(oldest_go_when_there_are_too_many, tear_down),
        cmocka_unit_test_teardown(too_long_ones_are_not_kept, tear_down),
        cmocka_unit_test_teardown(without_memory_there_is_none, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
