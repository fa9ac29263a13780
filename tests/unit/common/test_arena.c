#include "common/arena.h"

#include <string.h>

#include "common/alloc.h"
#include "tests/unit/common/cmocka_all.h"

static void pieces_are_aligned_and_apart(void **state) {
    (void)state;
    struct arena a = {0};
    unsigned char *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = arena_alloc(&a, i * 7);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, i * 7);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t at = 0; at < i * 7; at++)
            assert_int_equal(pieces[i][at], i);
    arena_finish(&a);
}

static void cleared_memory_is_cleared(void **state) {
    (void)state;
    struct arena a;
    char first[512];
    memset(first, 'x', sizeof first);
    arena_init(&a, first, sizeof first, 0);
    const char *piece = arena_calloc(&a, 10, 10);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(piece[i], 0);
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    arena_finish(&a);
}

/* With the emulator each piece is a heap block: what a small user saves is then not to be seen. */
#ifdef HG_ARENA_EMULATE
enum { IS_EMULATED = 1 };
#else
enum { IS_EMULATED = 0 };
#endif

static void the_first_room_is_the_callers(void **state) {
    (void)state;
    struct arena a;
    char first[1000];
    uint64_t before = hg_alloc_count();
    arena_init(&a, first + 1, sizeof first - 1, 0); /* not aligned */
    char *piece = arena_alloc(&a, 900);
    assert_int_equal((uintptr_t)piece % 16, 0);
    assert_int_equal(hg_alloc_count() - before, IS_EMULATED);
    assert_true(IS_EMULATED || (piece > first && piece + 900 <= first + sizeof first));
    assert_non_null(arena_alloc(&a, 900));
    assert_int_equal(hg_alloc_count() - before, 1 + IS_EMULATED);
    arena_finish(&a);
    arena_init(&a, first + 1, 3, 0); /* too small for one piece */
    assert_non_null(arena_alloc(&a, 1));
    arena_finish(&a);
}

static void a_large_piece_does_not_waste_the_current_chunk(void **state) {
    (void)state;
    struct arena a = {0};
    char *small = arena_alloc(&a, 16);
    assert_non_null(arena_alloc(&a, 100000));
    char *next = arena_alloc(&a, 16);
    assert_true(IS_EMULATED || next == small + 16);
    arena_finish(&a);
}

static void the_limit_is_hard(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0, 64);
    assert_non_null(arena_alloc(&a, 0));  /* takes 16 */
    assert_non_null(arena_alloc(&a, 17)); /* takes 32 */
    assert_int_equal(a.used, 48);
    assert_null(arena_alloc(&a, 17));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 20));
    assert_int_equal(a.used, 48);
    assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 1));
    arena_finish(&a);
}

static void texts_are_copied_with_their_end(void **state) {
    (void)state;
    struct arena a = {0};
    struct str s = arena_str(&a, (struct str){"abcdef", 3}), none = arena_str(&a, (struct str){NULL, 0});
    assert_int_equal(s.n, 3);
    assert_string_equal(s.p, "abc");
    assert_string_equal(none.p, "");
    assert_string_equal(arena_strdup(&a, "abc"), "abc");
    assert_memory_equal(arena_memdup(&a, "a\0c", 3), "a\0c", 3);
    assert_string_equal(arena_printf(&a, "%s %d", "abc", 7), "abc 7");
    arena_finish(&a);
}

static void without_memory_nothing_is_taken(void **state) {
    (void)state;
    struct arena a = {0};
    hg_alloc_fail_at(0, 1);
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_alloc(&a, 100000));
    assert_null(arena_calloc(&a, 1, 1));
    assert_null(arena_memdup(&a, "x", 1));
    assert_null(arena_strdup(&a, "x"));
    assert_null(arena_str(&a, STR("x")).p);
    assert_null(arena_printf(&a, "x"));
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 1));
    arena_finish(&a);
    arena_finish(&a); /* a finished one is a zeroed one */
}

static void a_budget_bounds_several_arenas(void **state) {
    (void)state;
    struct arena_budget budget = {.limit = 100000};
    struct arena a = {0}, b = {0};
    arena_set_budget(&a, &budget);
    arena_set_budget(&b, &budget);
    assert_non_null(arena_alloc(&a, 60000));
    assert_in_range(budget.used, 60000, 60100);
    assert_null(arena_alloc(&b, 60000));
    assert_non_null(arena_alloc(&b, 30000));
    assert_in_range(budget.used, 90000, 90200);
    budget.limit = 50; /* lowered below what is used */
    assert_null(arena_alloc(&b, 20000));
    arena_finish(&a);
    assert_in_range(budget.used, 30000, 30100);
    arena_finish(&b);
    assert_int_equal(budget.used, 0);
}

static void a_failed_allocation_costs_no_budget(void **state) {
    (void)state;
    struct arena_budget budget = {.limit = 100000};
    struct arena a = {0};
    arena_set_budget(&a, &budget);
    hg_alloc_fail_at(0, 1);
    assert_null(arena_alloc(&a, 1));
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(budget.used, 0);
    arena_finish(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(cleared_memory_is_cleared),
        cmocka_unit_test(the_first_room_is_the_callers),
        cmocka_unit_test(a_large_piece_does_not_waste_the_current_chunk),
        cmocka_unit_test(the_limit_is_hard),
        cmocka_unit_test(texts_are_copied_with_their_end),
        cmocka_unit_test(without_memory_nothing_is_taken),
        cmocka_unit_test(a_budget_bounds_several_arenas),
        cmocka_unit_test(a_failed_allocation_costs_no_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
