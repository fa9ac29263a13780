#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/core/free_lists.h"

static void pieces_are_used_again(void **state) {
    (void)state;
    struct free_lists l = {.keep_max = FREE_LISTS_KEEP};
    static const size_t sizes[] = {0, 1, 64, 65, 1024, 1025, 2048, 2049, 4097, 8192, 8193, 16500, FREE_LISTS_MAX};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    void *pieces[COUNT];
    for (int round = 0; round < 3; round++) {
        uint64_t before = hg_alloc_count();
        for (size_t i = 0; i < COUNT; i++) {
            assert_non_null(pieces[i] = free_lists_alloc(&l, sizes[i]));
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], (int)i, sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++)
            free_lists_free(&l, pieces[i]);
        assert_int_equal(hg_alloc_count() - before, round == 0 ? COUNT : 0);
    }
    free_lists_finish(&l);
    assert_int_equal(l.kept, 0);
}

static void only_what_is_free_is_taken(void **state) {
    (void)state;
    struct free_lists l = {.keep_max = FREE_LISTS_KEEP};
    static const size_t none[] = {0, FREE_LISTS_LARGE + 1, FREE_LISTS_MAX, SIZE_MAX};
    assert_null(free_lists_take(&l, 100));
    void *small = free_lists_alloc(&l, 100), *large = free_lists_alloc(&l, FREE_LISTS_MAX);
    free_lists_free(&l, small);
    free_lists_free(&l, large);
    size_t kept = l.kept, room = free_lists_room(small);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(free_lists_take(&l, none[i]));
    assert_null(free_lists_take(&l, room + 1));
    assert_ptr_equal(free_lists_take(&l, room), small);
    assert_int_equal(l.kept, kept - room);
    assert_null(free_lists_take(&l, room));
    free_lists_free(&l, small);
    assert_int_equal(l.kept, kept);
    free_lists_finish(&l);
}

static void every_size_has_room_and_little_more(void **state) {
    (void)state;
    struct free_lists l = {.keep_max = FREE_LISTS_KEEP};
    size_t before = 0;
    for (size_t n = 1; n <= FREE_LISTS_MAX; n++) {
        void *p = free_lists_alloc(&l, n);
        assert_non_null(p);
        size_t room = free_lists_room(p);
        assert_in_range(room, n, n <= FREE_LISTS_LARGE ? n + FREE_LISTS_SMALL - 1 : n + n / FREE_LISTS_STEPS);
        assert_true(room >= before);
        before = room;
        free_lists_free(&l, p);
    }
    assert_int_equal(before, FREE_LISTS_MAX);
    size_t lists = 0;
    for (size_t i = 0; i < FREE_LISTS_COUNT; i++)
        lists += l.pieces[i] != NULL;
    assert_int_equal(lists, FREE_LISTS_COUNT); /* none is without use, and none is beyond the last */
    free_lists_finish(&l);
}

static void no_more_is_kept_than_wanted(void **state) {
    (void)state;
    struct free_lists l = {.keep_max = 1024};
    void *pieces[32];
    for (int i = 0; i < 32; i++)
        assert_non_null(pieces[i] = free_lists_alloc(&l, 100));
    for (int i = 0; i < 32; i++)
        free_lists_free(&l, pieces[i]);
    assert_int_equal(l.kept, 1024);
    free_lists_finish(&l);
}

static void growing_keeps_the_bytes(void **state) {
    (void)state;
    struct free_lists l = {.keep_max = FREE_LISTS_KEEP};
    char *p = free_lists_realloc(&l, NULL, 10);
    assert_non_null(p);
    memset(p, 'x', 10);
    for (size_t n = 20; n < 100000; n = n * 3 / 2) {
        assert_non_null(p = free_lists_realloc(&l, p, n));
        for (size_t i = 0; i < 10; i++)
            assert_int_equal(p[i], 'x');
        memset(p + 10, 'y', n - 10);
    }
    assert_ptr_equal(free_lists_realloc(&l, p, 5), p);
    free_lists_free(&l, p);
    free_lists_finish(&l);
}

static void without_memory_the_old_piece_stays(void **state) {
    (void)state;
    struct free_lists l = {0};
    char *p = free_lists_alloc(&l, 10);
    hg_alloc_fail_at(0, 1);
    assert_null(free_lists_alloc(&l, 10));
    assert_null(free_lists_realloc(&l, p, 5000));
    assert_null(free_lists_alloc(&l, SIZE_MAX));
    hg_alloc_fail_at(-1, 0);
    free_lists_free(&l, p);
    assert_int_equal(l.kept, 0);
}

static void the_reserve_is_what_it_was_afterwards(void **state) {
    (void)state;
    struct free_lists l;
    void *pieces[FREE_LISTS_RESERVED];
    assert_int_equal(free_lists_init(&l, 0), 0);
    hg_alloc_fail_at(0, 1);
    for (int round = 0; round < 2; round++) {
        assert_null(free_lists_alloc(&l, 10));
        assert_null(free_lists_alloc_reserved(&l, FREE_LISTS_RESERVE + 1));
        for (int i = 0; i < FREE_LISTS_RESERVED; i++)
            assert_non_null(pieces[i] = free_lists_alloc_reserved(&l, 10));
        assert_null(free_lists_alloc_reserved(&l, 10));
        for (int i = 0; i < FREE_LISTS_RESERVED; i++)
            free_lists_free(&l, pieces[i]);
    }
    hg_alloc_fail_at(-1, 0);
    free_lists_finish(&l);
}

static void without_memory_there_is_no_reserve(void **state) {
    (void)state;
    struct free_lists l;
    for (int i = 0; i < FREE_LISTS_RESERVED; i++) {
        hg_alloc_fail_at(i, 0);
        assert_int_equal(free_lists_init(&l, 0), -1);
    }
    hg_alloc_fail_at(-1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_used_again),
        cmocka_unit_test(only_what_is_free_is_taken),
        cmocka_unit_test(every_size_has_room_and_little_more),
        cmocka_unit_test(no_more_is_kept_than_wanted),
        cmocka_unit_test(growing_keeps_the_bytes),
        cmocka_unit_test(without_memory_the_old_piece_stays),
        cmocka_unit_test(the_reserve_is_what_it_was_afterwards),
        cmocka_unit_test(without_memory_there_is_no_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
