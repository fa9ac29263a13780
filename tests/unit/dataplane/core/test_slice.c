/* Slices: bytes come out as they went in, whoever owns them, also when memory runs out half-way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/core/slice.h"

enum { TEXT_SIZE = 100000, STEPS = 3000 };

static struct slice_pool pool;
static uint8_t text[TEXT_SIZE];

static int set_up(void **state) {
    (void)state;
    srand(1);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)rand();
    return slice_pool_init(&pool);
}

static int tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    slice_pool_finish(&pool);
    return 0;
}

/* The queue holds exactly text[from, from + n), and its count of bytes says so. */
static void assert_holds(const struct slice_queue *q, size_t from, size_t n) {
    size_t at = 0;
    assert_int_equal(q->bytes, n);
    for (const struct slice *s = q->first; s; s = s->next) {
        assert_true(s->n > 0 && at + s->n <= n);
        assert_memory_equal(s->p, text + from + at, s->n);
        at += s->n;
        if (!s->next)
            assert_ptr_equal(s, q->last);
    }
    assert_int_equal(at, n);
}

static unsigned count(const struct slice_queue *q) {
    unsigned n = 0;
    for (const struct slice *s = q->first; s; s = s->next)
        n++;
    return n;
}

static void copies_fill_blocks(void **state) {
    (void)state;
    struct slice_queue q = {0};
    for (size_t at = 0; at < 3 * BLOCK_SIZE; at += 1024)
        assert_int_equal(slice_queue_copy(&q, &pool, text + at, 1024), 0);
    assert_holds(&q, 0, 3 * BLOCK_SIZE);
    assert_int_equal(count(&q), 3);
    assert_int_equal(slice_queue_copy(&q, &pool, text, 0), 0);
    assert_int_equal(count(&q), 3);
    slice_queue_clear(&q, &pool);
    assert_holds(&q, 0, 0);
    assert_int_equal(pool.kept_blocks, 3);
}

static void copy_over_many_blocks(void **state) {
    (void)state;
    struct slice_queue q = {0};
    assert_int_equal(slice_queue_copy(&q, &pool, text, 10), 0);
    assert_int_equal(slice_queue_copy(&q, &pool, text + 10, TEXT_SIZE - 10), 0);
    assert_holds(&q, 0, TEXT_SIZE);
    assert_int_equal(count(&q), (TEXT_SIZE + BLOCK_SIZE - 1) / BLOCK_SIZE);
    slice_queue_clear(&q, &pool);
}

/* Two slices of one block: only the one that ends where the block's used part ends may grow. */
static void split_slices_share_a_block_without_harm(void **state) {
    (void)state;
    struct slice_queue a = {0}, b = {0};
    assert_int_equal(slice_queue_copy(&a, &pool, text, 1000), 0);
    struct slice *rest = slice_queue_pop(&a);
    struct slice *front = slice_split(&pool, rest, 300);
    assert_non_null(front);
    slice_queue_push(&a, front);
    slice_queue_push(&b, rest);
    assert_int_equal(slice_queue_copy(&a, &pool, text + 300, 500), 0);
    assert_int_equal(slice_queue_copy(&b, &pool, text + 1000, 500), 0);
    assert_holds(&a, 0, 800);
    assert_holds(&b, 300, 1200);
    assert_int_equal(count(&b), 1);
    slice_queue_clear(&b, &pool);
    assert_holds(&a, 0, 800);
    slice_queue_clear(&a, &pool);
}

static struct slice *copy_alone(size_t from, size_t n) {
    struct slice_queue q = {0};
    assert_int_equal(slice_queue_copy(&q, &pool, text + from, n), 0);
    return slice_queue_pop(&q);
}

static void packed_slices_fill_blocks(void **state) {
    (void)state;
    struct slice_queue q = {0};
    for (size_t at = 0; at < 3 * BLOCK_SIZE; at += 8)
        slice_queue_pack(&q, &pool, copy_alone(at, 8));
    assert_holds(&q, 0, 3 * BLOCK_SIZE);
    assert_int_equal(count(&q), 3);
    slice_queue_clear(&q, &pool);
}

/* What is borrowed, shared, or has no room stays as it is. */
static void packing_leaves_others_alone(void **state) {
    (void)state;
    struct slice_queue q = {0};
    slice_queue_pack(&q, &pool, copy_alone(0, 100));
    slice_queue_pack(&q, &pool, slice_borrow(&pool, text + 100, 100));
    slice_queue_pack(&q, &pool, copy_alone(200, 100));
    struct slice *last = copy_alone(300, 100), *other = slice_share(&pool, last);
    slice_queue_pack(&q, &pool, last);
    assert_int_equal(count(&q), 4);
    slice_queue_pack(&q, &pool, copy_alone(400, BLOCK_SIZE));
    assert_int_equal(count(&q), 5);
    assert_holds(&q, 0, 400 + BLOCK_SIZE);
    assert_memory_equal(other->p, text + 300, other->n);
    slice_free(&pool, other);
    slice_queue_clear(&q, &pool);
}

static void settling_copies_what_is_borrowed_only(void **state) {
    (void)state;
    struct slice_queue q = {0};
    uint8_t hot[600];
    memcpy(hot, text, sizeof hot);
    for (size_t at = 0; at < 300; at += 3)
        slice_queue_push(&q, slice_borrow(&pool, hot + at, 3));
    assert_int_equal(slice_queue_settle(&q, &pool), 0);
    const struct slice *settled = q.first;
    slice_queue_push(&q, slice_borrow(&pool, hot + 300, 300));
    assert_int_equal(slice_queue_settle(&q, &pool), 0);
    memset(hot, 0, sizeof hot);
    assert_holds(&q, 0, 600);
    assert_int_equal(count(&q), 1);
    assert_ptr_equal(q.first, settled);
    slice_queue_clear(&q, &pool);
}

static void split_of_a_borrowed_slice_is_borrowed(void **state) {
    (void)state;
    struct slice *s = slice_borrow(&pool, text, 10);
    struct slice *front = slice_split(&pool, s, 4);
    assert_ptr_equal(front->p, text);
    assert_int_equal(front->n, 4);
    assert_ptr_equal(s->p, text + 4);
    assert_int_equal(s->n, 6);
    assert_true(!front->block && !s->block);
    slice_free(&pool, front);
    slice_free(&pool, s);
    slice_free(&pool, NULL);
}

static void hot_buffer_has_room_until_it_is_used_up(void **state) {
    (void)state;
    uint8_t *first = slice_pool_read_room(&pool);
    slice_pool_read_done(&pool, 1);
    uint8_t *second = slice_pool_read_room(&pool);
    assert_true(second > first);
    assert_int_equal((uintptr_t)(second - first) % 64, 0);
    size_t used = pool.hot_used;
    while (slice_pool_read_room(&pool)) {
        memset(slice_pool_read_room(&pool), 1, READ_MAX); /* the address sanitizer looks on */
        slice_pool_read_done(&pool, 5000);
        used += 5056;
        assert_int_equal(pool.hot_used, used);
    }
    assert_true(HOT_SIZE - pool.hot_used < READ_MAX);
}

static void put_shared(struct slice_queue *q, size_t from, size_t n) {
    uint8_t *room = slice_pool_room(&pool, n);
    assert_non_null(room);
    memcpy(room, text + from, n);
    assert_int_equal(slice_queue_take(q, &pool, n), 0);
}

/* What belongs together is one slice; a block that nobody has a part of any more is begun anew. */
static void queues_share_a_block(void **state) {
    (void)state;
    struct slice_queue a = {0}, b = {0};
    put_shared(&a, 0, 100);
    put_shared(&a, 100, 100);
    put_shared(&b, 500, 50);
    put_shared(&a, 200, 100);
    assert_holds(&a, 0, 300);
    assert_holds(&b, 500, 50);
    assert_ptr_equal(a.first->block, b.first->block);
    assert_int_equal(a.first->n, 200);
    put_shared(&b, 550, BLOCK_SIZE);
    assert_holds(&b, 500, 50 + BLOCK_SIZE);
    assert_holds(&a, 0, 300);
    const struct block *shared = pool.shared;
    slice_queue_clear(&a, &pool);
    slice_queue_clear(&b, &pool);
    put_shared(&a, 0, BLOCK_SIZE);
    assert_ptr_equal(a.first->block, shared);
    assert_holds(&a, 0, BLOCK_SIZE);
    slice_queue_clear(&a, &pool);
}

static void use_at_once(unsigned blocks, unsigned slices) {
    struct slice_queue q = {0};
    for (unsigned i = 0; i < blocks; i++)
        assert_int_equal(slice_queue_copy(&q, &pool, text, BLOCK_SIZE), 0);
    for (unsigned i = blocks; i < slices; i++)
        slice_queue_push(&q, slice_borrow(&pool, text, 1));
    slice_queue_clear(&q, &pool);
}

static void what_is_kept_for_reuse_is_bounded(void **state) {
    (void)state;
    use_at_once(BLOCKS_KEPT_MOST + 5, SLICES_KEPT_MOST + 5);
    assert_int_equal(pool.kept_blocks, BLOCKS_KEPT_MOST);
    assert_int_equal(pool.kept_slices, SLICES_KEPT_MOST);
    uint64_t before = hg_alloc_count();
    use_at_once(BLOCKS_KEPT_MOST, SLICES_KEPT_MOST);
    assert_int_equal(hg_alloc_count(), before);
}

static void what_nobody_uses_is_not_kept_for_long(void **state) {
    (void)state;
    assert_false(slice_pool_has_spare(&pool));
    use_at_once(BLOCKS_KEPT + 100, SLICES_KEPT + 100);
    assert_true(slice_pool_has_spare(&pool));
    slice_pool_trim(&pool); /* all of it has just been used */
    assert_int_equal(pool.kept_blocks, BLOCKS_KEPT + 100);
    use_at_once(80, SLICES_KEPT + 60);
    slice_pool_trim(&pool);
    assert_int_equal(pool.kept_blocks, BLOCKS_KEPT);
    assert_int_equal(pool.kept_slices, SLICES_KEPT + 60);
    slice_pool_trim(&pool);
    assert_int_equal(pool.kept_slices, SLICES_KEPT);
    assert_false(slice_pool_has_spare(&pool));
    slice_pool_trim(&pool);
    assert_int_equal(pool.kept_blocks, BLOCKS_KEPT);
}

static void failed_copy_leaves_the_queue_as_it_was(void **state) {
    (void)state;
    for (long nth = 0;; nth++) {
        struct slice_queue q = {0};
        slice_pool_finish(&pool);
        assert_int_equal(slice_pool_init(&pool), 0);
        assert_int_equal(slice_queue_copy(&q, &pool, text, 100), 0);
        hg_alloc_fail_at(nth, 0);
        int status = slice_queue_copy(&q, &pool, text + 100, 5 * BLOCK_SIZE);
        hg_alloc_fail_at(-1, 0);
        assert_holds(&q, 0, status < 0 ? 100 : 100 + 5 * BLOCK_SIZE);
        slice_queue_clear(&q, &pool);
        if (status == 0) {
            assert_true(nth >= 10);
            return;
        }
    }
}

static void failed_settling_loses_no_byte(void **state) {
    (void)state;
    bool failed = true;
    for (long nth = 0; failed; nth++) {
        struct slice_queue q = {0};
        slice_pool_finish(&pool);
        assert_int_equal(slice_pool_init(&pool), 0);
        for (size_t at = 0; at < TEXT_SIZE; at += 5000)
            slice_queue_push(&q, slice_borrow(&pool, text + at, 5000));
        hg_alloc_fail_at(nth, 0);
        failed = slice_queue_settle(&q, &pool) < 0;
        hg_alloc_fail_at(-1, 0);
        assert_holds(&q, 0, TEXT_SIZE);
        slice_queue_clear(&q, &pool);
    }
}

/* Takes a random part of at most `max` bytes from the front, as a sink does; returns its length. */
static size_t take_front(struct slice_queue *q, size_t from) {
    struct slice *s = q->first;
    size_t n = s->n;
    if (n > 1 && rand() % 2) {
        n = 1 + (size_t)rand() % (n - 1);
        struct slice *front = slice_split(&pool, s, n);
        q->bytes -= n;
        s = front;
    } else {
        s = slice_queue_pop(q);
    }
    assert_memory_equal(s->p, text + from, n);
    slice_free(&pool, s);
    return n;
}

static void random_use_behaves_as_one_run_of_bytes(void **state) {
    (void)state;
    struct slice_queue q = {0};
    size_t from = 0, to = 0;
    for (int i = 0; i < STEPS; i++) {
        size_t n = (size_t)rand() % 40;
        n = to + n <= TEXT_SIZE ? n : 0;
        if (n && rand() % 2)
            slice_queue_push(&q, slice_borrow(&pool, text + to, n));
        else if (n)
            assert_int_equal(slice_queue_copy(&q, &pool, text + to, n), 0);
        to += n;
        if (rand() % 3 == 0)
            assert_int_equal(slice_queue_settle(&q, &pool), 0);
        while (from < to && rand() % 3)
            from += take_front(&q, from);
        assert_holds(&q, from, to - from);
    }
    slice_queue_clear(&q, &pool);
}

static void pool_without_memory(void **state) {
    (void)state;
    struct slice_pool other;
    hg_alloc_fail_at(0, 1);
    assert_int_equal(slice_pool_init(&other), -1);
    assert_null(slice_borrow(&pool, text, 1));
    hg_alloc_fail_at(-1, 0);
    slice_pool_finish(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_fill_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copy_over_many_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(split_slices_share_a_block_without_harm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(packed_slices_fill_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(packing_leaves_others_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(settling_copies_what_is_borrowed_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(split_of_a_borrowed_slice_is_borrowed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hot_buffer_has_room_until_it_is_used_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(queues_share_a_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_kept_for_reuse_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_nobody_uses_is_not_kept_for_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_copy_leaves_the_queue_as_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_settling_loses_no_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_use_behaves_as_one_run_of_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pool_without_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
