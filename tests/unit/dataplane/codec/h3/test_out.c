/* Bytes of a stream until they are acknowledged: what is sent and acknowledged in any parts is what went in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/codec/h3/out.h"

enum { TEXT_SIZE = 200000, STEPS = 4000, PIECES = 4 };

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

/* text[from, from + n), copied or as a slice, borrowed or owned. */
static void put(struct h3_out *out, size_t from, size_t n) {
    struct slice_queue owned = {0};
    switch (rand() % 3) {
    case 0:
        assert_int_equal(h3_out_copy(out, &pool, text + from, n), 0);
        break;
    case 1:
        assert_int_equal(h3_out_push(out, &pool, slice_borrow(&pool, text + from, n)), 0);
        break;
    default:
        assert_int_equal(slice_queue_copy(&owned, &pool, text + from, n), 0);
        while (owned.first)
            assert_int_equal(h3_out_push(out, &pool, slice_queue_pop(&owned)), 0);
    }
}

/* A part of what is unsent goes; it must be what comes next in the text. */
static size_t send_some(struct h3_out *out, size_t sent) {
    struct iovec vec[PIECES];
    size_t count = h3_out_pieces(out, vec, PIECES), at = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(vec[i].iov_base, text + sent + all, vec[i].iov_len);
        all += vec[i].iov_len;
    }
    at = all ? (size_t)rand() % (all + 1) : 0;
    h3_out_sent(out, at);
    return at;
}

static void any_order_keeps_the_bytes(void **state) {
    (void)state;
    struct h3_out out = {0};
    size_t put_in = 0, sent = 0, acked = 0;
    for (int i = 0; i < STEPS; i++) {
        size_t n = rand() % 10 ? (size_t)rand() % 300 + 1 : (size_t)rand() % 20000 + 1;
        if (put_in + n <= TEXT_SIZE) {
            put(&out, put_in, n);
            put_in += n;
        }
        sent += send_some(&out, sent);
        size_t part = sent > acked ? (size_t)rand() % (sent - acked + 1) : 0;
        h3_out_acked(&out, &pool, part);
        acked += part;
        assert_int_equal(out.unsent, put_in - sent);
        assert_int_equal(out.queue.bytes - out.acked, put_in - acked);
        if (put_in == TEXT_SIZE && acked == TEXT_SIZE)
            break;
        if (put_in + 20001 > TEXT_SIZE && sent == put_in && acked == sent)
            put_in = sent = acked = 0;
    }
    h3_out_clear(&out, &pool);
    assert_int_equal(out.queue.bytes, 0);
}

static void without_memory_nothing_is_lost_or_leaked(void **state) {
    (void)state;
    for (int n = 0; n < 12; n++) {
        struct h3_out out = {0};
        hg_alloc_fail_at(n, 1);
        struct slice *slice = slice_borrow(&pool, text, 40000);
        if (slice)
            (void)h3_out_push(&out, &pool, slice);
        hg_alloc_fail_at(-1, 0);
        h3_out_clear(&out, &pool);
        slice_pool_finish(&pool);
        assert_int_equal(slice_pool_init(&pool), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_order_keeps_the_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_nothing_is_lost_or_leaked, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("h3 out", tests, NULL, NULL);
}
