/* What one system call writes: order, what is copied and what is referred to, and what is left after a partial write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/net/gather.h"

enum { TEXT_SIZE = 400000 };

static struct slice_pool pool;
static struct gather gather;
static uint8_t text[TEXT_SIZE];

static int set_up(void **state) {
    (void)state;
    srand(1);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)rand();
    gather_begin(&gather, &pool);
    return slice_pool_init(&pool);
}

static int tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    slice_pool_finish(&pool);
    return 0;
}

/* The pieces hold exactly text[0, n). */
static void assert_holds(size_t n) {
    size_t at = 0;
    assert_int_equal(gather.bytes, n);
    for (unsigned i = 0; i < gather.count; i++) {
        assert_memory_equal(gather.pieces[i].iov_base, text + at, gather.pieces[i].iov_len);
        at += gather.pieces[i].iov_len;
    }
    assert_int_equal(at, n);
}

static void assert_rest(const struct slice_queue *rest, size_t from, size_t n) {
    size_t at = from;
    assert_int_equal(rest->bytes, n);
    for (const struct slice *s = rest->first; s; s = s->next) {
        assert_non_null(s->block);
        assert_memory_equal(s->p, text + at, s->n);
        at += s->n;
    }
    assert_int_equal(at, from + n);
}

static struct slice *owned(size_t from, size_t n) {
    struct slice_queue q = {0};
    assert_int_equal(slice_queue_copy(&q, &pool, text + from, n), 0);
    struct slice *s = slice_queue_pop(&q);
    assert_null(q.first);
    return s;
}

static void small_pieces_leave_as_one(void **state) {
    (void)state;
    struct slice_queue rest = {0};
    assert_true(gather_bytes(&gather, text, 100));
    memcpy(gather_room(&gather, 50), text + 100, 50);
    gather_wrote(&gather, 50);
    assert_true(gather_slice(&gather, slice_borrow(&pool, text + 150, GATHER_COPY_BELOW)));
    assert_true(gather_slice(&gather, owned(150 + GATHER_COPY_BELOW, 10)));
    assert_int_equal(gather.count, 1);
    assert_holds(160 + GATHER_COPY_BELOW);
    assert_int_equal(gather_finish(&gather, gather.bytes, &rest), 0);
    assert_null(rest.first);
    assert_int_equal(gather.count, 0);
    assert_int_equal(gather.bytes, 0);
}

static void large_slices_are_referred_to(void **state) {
    (void)state;
    struct slice_queue rest = {0};
    assert_true(gather_bytes(&gather, text, 5));
    struct slice *large = owned(5, GATHER_COPY_BELOW + 1);
    const uint8_t *bytes = large->p;
    assert_true(gather_slice(&gather, large));
    assert_true(gather_bytes(&gather, text + 6 + GATHER_COPY_BELOW, 5));
    assert_int_equal(gather.count, 3);
    assert_ptr_equal(gather.pieces[1].iov_base, bytes);
    assert_holds(11 + GATHER_COPY_BELOW);
    assert_int_equal(gather_finish(&gather, gather.bytes, &rest), 0);
    assert_int_equal(pool.kept_blocks, 1);
}

/* A head, a borrowed slice, an owned one and a tail: 20000 bytes of the text. */
static void fill(void) {
    gather_begin(&gather, &pool);
    assert_true(gather_bytes(&gather, text, 200));
    assert_true(gather_slice(&gather, slice_borrow(&pool, text + 200, 9800)));
    assert_true(gather_slice(&gather, owned(10000, 9000)));
    assert_true(gather_bytes(&gather, text + 19000, 1000));
}

static void rest_of_a_partial_write_is_owned_and_in_order(void **state) {
    (void)state;
    for (size_t sent = 0; sent <= 20000; sent += sent < 300 || sent > 18900 ? 1 : 97) {
        struct slice_queue rest = {0};
        fill();
        assert_int_equal(gather_finish(&gather, sent, &rest), 0);
        assert_rest(&rest, sent, 20000 - sent);
        slice_queue_clear(&rest, &pool);
    }
}

static void rest_without_memory_is_freed(void **state) {
    (void)state;
    bool failed = true;
    for (long nth = 0; failed; nth++) {
        struct slice_queue rest = {0};
        slice_pool_finish(&pool);
        assert_int_equal(slice_pool_init(&pool), 0);
        fill();
        struct slice_pool kept = pool; /* nothing is left to reuse, so that each piece asks for memory */
        pool = (struct slice_pool){0};
        slice_pool_finish(&kept);
        hg_alloc_fail_at(nth, 0);
        failed = gather_finish(&gather, 100, &rest) < 0;
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(gather.count, 0);
        if (!failed)
            assert_rest(&rest, 100, 19900);
        slice_queue_clear(&rest, &pool);
    }
}

static void it_is_full_in_time(void **state) {
    (void)state;
    struct slice_queue rest = {0};
    size_t at = 0, n = GATHER_COPY_BELOW + 1;
    while (!gather_is_full(&gather)) { /* chunk framing around each large slice, as a codec writes it */
        assert_true(gather_bytes(&gather, text + at, 6));
        assert_true(gather_slice(&gather, slice_borrow(&pool, text + at + 6, n)));
        assert_true(gather_bytes(&gather, text + at + 6 + n, 2));
        at += n + 8;
    }
    assert_holds(at);
    assert_int_equal(gather_finish(&gather, at, &rest), 0);
    gather_begin(&gather, &pool);
    for (at = 0; !gather_is_full(&gather); at += GATHER_COPY_BELOW + 8) {
        assert_true(gather_bytes(&gather, text + at, 6));
        assert_true(gather_slice(&gather, slice_borrow(&pool, text + at + 6, GATHER_COPY_BELOW)));
        assert_true(gather_bytes(&gather, text + at + 6 + GATHER_COPY_BELOW, 2));
    }
    assert_holds(at);
    assert_int_equal(gather.count, 1);
    assert_int_equal(gather_finish(&gather, at, &rest), 0);
}

static void what_does_not_fit_stays_with_the_caller(void **state) {
    (void)state;
    struct slice_queue rest = {0};
    assert_null(gather_room(&gather, GATHER_SCRATCH + 1));
    assert_false(gather_bytes(&gather, text, GATHER_SCRATCH + 1));
    for (int i = 0; i < GATHER_PIECES; i++)
        assert_true(gather_slice(&gather, slice_borrow(&pool, text, GATHER_COPY_BELOW + 1)));
    struct slice *more = slice_borrow(&pool, text, GATHER_COPY_BELOW + 1);
    assert_false(gather_slice(&gather, more));
    assert_null(gather_room(&gather, 1));
    slice_free(&pool, more);
    assert_int_equal(gather_finish(&gather, gather.bytes, &rest), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_pieces_leave_as_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_slices_are_referred_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rest_of_a_partial_write_is_owned_and_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rest_without_memory_is_freed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_full_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_fit_stays_with_the_caller, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
