/* Pages: they read as zeros, lie densely, and cost nothing while they rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/core/pages.h"

enum { COUNT = 200 };

static struct page_pool pool;
static struct page pages[COUNT];

static int set_up(void **state) {
    (void)state;
    pool = (struct page_pool){0};
    memset(pages, 0, sizeof pages);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    for (int i = 0; i < COUNT; i++)
        page_drop(&pool, &pages[i]);
    page_pool_finish(&pool);
    return 0;
}

static bool is_zero(const struct page *p) {
    static const uint8_t zeros[PAGE_BYTES];
    return memcmp(p->bytes, zeros, PAGE_BYTES) == 0;
}

static bool has_memory(const struct page *p) {
    unsigned char is_resident;
    assert_int_equal(mincore(p->bytes, PAGE_BYTES, &is_resident), 0);
    return is_resident & 1;
}

static void a_page_reads_as_zeros_whoever_had_it(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            assert_true(page_take(&pool, &pages[i]));
            assert_int_equal((uintptr_t)pages[i].bytes % PAGE_BYTES, 0);
            assert_true(is_zero(&pages[i]));
            memset(pages[i].bytes, i + 1, PAGE_BYTES);
        }
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(((uint8_t *)pages[i].bytes)[PAGE_BYTES - 1], i + 1);
        for (int i = 0; i < COUNT; i++) {
            page_drop(&pool, &pages[(i * 7) % COUNT]);
            assert_null(pages[(i * 7) % COUNT].bytes);
        }
    }
}

/* One that is dropped is taken again before memory is asked for, and the last slab is kept. */
static void slabs_come_and_go_with_their_pages(void **state) {
    (void)state;
    for (int i = 0; i < COUNT; i++)
        assert_true(page_take(&pool, &pages[i]));
    uint64_t before = hg_alloc_count();
    for (int round = 0; round < 100; round++) {
        page_drop(&pool, &pages[round]);
        assert_true(page_take(&pool, &pages[round]));
    }
    assert_int_equal(hg_alloc_count(), before);
    for (int i = 0; i < COUNT; i++)
        page_drop(&pool, &pages[i]);
    for (int i = 0; i < 64; i++)
        assert_true(page_take(&pool, &pages[i]));
    assert_int_equal(hg_alloc_count(), before);
    assert_true(page_take(&pool, &pages[64]));
    assert_int_equal(hg_alloc_count(), before + 1);
}

static void only_what_is_all_zeros_rests(void **state) {
    (void)state;
    if (sysconf(_SC_PAGESIZE) != PAGE_BYTES) {
        print_message("skipped: the pages of this kernel have %ld bytes, and nothing rests\n", sysconf(_SC_PAGESIZE));
        skip();
    }
    for (int i = 0; i < 3; i++) {
        assert_true(page_take(&pool, &pages[i]));
        memset(pages[i].bytes, 1, PAGE_BYTES);
    }
    memset(pages[1].bytes, 0, PAGE_BYTES - 1);
    page_rest(&pages[1]);
    assert_true(has_memory(&pages[1]));
    assert_int_equal(((uint8_t *)pages[1].bytes)[PAGE_BYTES - 1], 1);
    memset(pages[1].bytes, 0, PAGE_BYTES);
    page_rest(&pages[1]);
    assert_false(has_memory(&pages[1]));
    assert_true(has_memory(&pages[0]) && has_memory(&pages[2])); /* its neighbours */
    assert_true(is_zero(&pages[1]));
    memset(pages[1].bytes, 2, PAGE_BYTES);
    assert_true(has_memory(&pages[1]));
    page_rest(&(struct page){0});
}

static void without_memory_there_is_no_page(void **state) {
    (void)state;
    hg_alloc_fail_at(0, 0);
    assert_false(page_take(&pool, &pages[0]));
    assert_null(pages[0].bytes);
    assert_true(page_take(&pool, &pages[0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_page_reads_as_zeros_whoever_had_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slabs_come_and_go_with_their_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_what_is_all_zeros_rests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_page, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
