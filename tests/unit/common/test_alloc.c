#include "common/alloc.h"

#include <limits.h>
#include <string.h>

#include "tests/unit/common/cmocka_all.h"

static void nothing_is_still_a_block(void **state) {
    (void)state;
    void *blocks[] = {hg_malloc(0), hg_calloc(0, 8), hg_calloc(8, 0), hg_memdup(NULL, 0),
                      hg_realloc(NULL, 0)};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        assert_non_null(blocks[i]);
        hg_free(blocks[i]);
    }
    hg_free(NULL);
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    int *items = NULL;
    size_t capacity = 0;
    assert_null(hg_calloc(SIZE_MAX / 2, 3));
    assert_int_equal(hg_grow(&items, &capacity, SIZE_MAX / 2, sizeof *items), -1);
    assert_int_equal(hg_grow(&items, &capacity, SIZE_MAX, 1), -1);
    assert_null(items);
    assert_int_equal(capacity, 0);
}

static void copies_end_where_they_should(void **state) {
    (void)state;
    char *whole = hg_strdup("text"), *part = hg_strndup("text", 2), *none = hg_strndup(NULL, 0);
    assert_string_equal(whole, "text");
    assert_string_equal(part, "te");
    assert_string_equal(none, "");
    hg_free(whole);
    hg_free(part);
    hg_free(none);
}

static void arrays_double_from_eight(void **state) {
    (void)state;
    long *items = NULL;
    size_t capacity = 0;
    for (size_t n = 1; n <= 100; n++) {
        assert_int_equal(hg_grow(&items, &capacity, n, sizeof *items), 0);
        items[n - 1] = (long)n;
        assert_true(capacity >= n);
    }
    assert_int_equal(capacity, 128);
    for (size_t n = 1; n <= 100; n++)
        assert_int_equal(items[n - 1], n);
    hg_free(items);
}

static void a_failed_growth_changes_nothing(void **state) {
    (void)state;
    char *items = NULL;
    size_t capacity = 0;
    assert_int_equal(hg_grow(&items, &capacity, 8, 1), 0);
    memcpy(items, "1234567", 8);
    char *before = items;
    hg_alloc_fail_at(0, 0);
    assert_int_equal(hg_grow(&items, &capacity, 9, 1), -1);
    assert_ptr_equal(items, before);
    assert_int_equal(capacity, 8);
    assert_string_equal(items, "1234567");
    assert_int_equal(hg_grow(&items, &capacity, 9, 1), 0);
    hg_free(items);
}

/* Which of the next eight allocations fail, as bits. */
static unsigned failing(void) {
    unsigned bits = 0;
    for (unsigned i = 0; i < 8; i++) {
        void *block = hg_malloc(1);
        bits |= block ? 0 : 1u << i;
        hg_free(block);
    }
    return bits;
}

static void the_nth_allocation_fails(void **state) {
    (void)state;
    uint64_t before = hg_alloc_count();
    assert_int_equal(failing(), 0);
    assert_int_equal(hg_alloc_count() - before, 8);
    hg_alloc_fail_at(0, 0);
    assert_int_equal(failing(), 1);
    hg_alloc_fail_at(3, 0);
    assert_int_equal(failing(), 1u << 3);
    hg_alloc_fail_at(3, 1);
    assert_int_equal(failing(), 0xf8);
    assert_int_equal(failing(), 0xff);
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(failing(), 0);
}

static void every_kind_of_allocation_can_fail(void **state) {
    (void)state;
    hg_alloc_fail_at(0, 1);
    assert_null(hg_malloc(1));
    assert_null(hg_calloc(1, 1));
    assert_null(hg_realloc(NULL, 1));
    assert_null(hg_memdup("x", 1));
    assert_null(hg_strdup("x"));
    assert_null(hg_strndup("x", 1));
    hg_alloc_fail_at(-1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_still_a_block),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(copies_end_where_they_should),
        cmocka_unit_test(arrays_double_from_eight),
        cmocka_unit_test(a_failed_growth_changes_nothing),
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(every_kind_of_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
