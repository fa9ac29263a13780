/* labels: threads */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/core/log_ring.h"

enum { RECORDS = 200000 };

static struct log_waker waker;
static struct log_ring ring;

static int set_up(void **state) {
    (void)state;
    atomic_store(&waker.word, 0);
    return log_ring_init(&ring, 4096, &waker);
}

static int tear_down(void **state) {
    (void)state;
    log_ring_finish(&ring);
    return 0;
}

/* Takes all that waits into `out`, which has room for it. */
static size_t take_all(char *out) {
    struct iovec pieces[2];
    size_t size = 0;
    int count = log_ring_peek(&ring, pieces);
    for (int i = 0; i < count; i++) {
        memcpy(out + size, pieces[i].iov_base, pieces[i].iov_len);
        size += pieces[i].iov_len;
    }
    log_ring_take(&ring, size);
    return size;
}

static void records_come_out_in_order_over_the_wrap(void **state) {
    (void)state;
    char record[100], out[4096];
    for (int i = 0; i < 1000; i++) {
        memset(record, 'a' + i % 26, sizeof record);
        assert_true(log_ring_put(&ring, record, sizeof record));
        assert_int_equal(take_all(out), sizeof record);
        assert_memory_equal(out, record, sizeof record);
    }
}

static void full_ring_drops_and_counts(void **state) {
    (void)state;
    char record[1000], out[4096];
    memset(record, 'x', sizeof record);
    for (int i = 0; i < 4; i++)
        assert_true(log_ring_put(&ring, record, sizeof record));
    assert_false(log_ring_put(&ring, record, sizeof record));
    assert_true(log_ring_put(&ring, record, 96)); /* exactly full */
    assert_false(log_ring_put(&ring, record, 1));
    assert_int_equal(log_ring_dropped(&ring), 2);
    assert_int_equal(log_ring_records(&ring), 5);
    assert_int_equal(take_all(out), 4096);
    assert_true(log_ring_put(&ring, record, sizeof record));
}

static void record_longer_than_the_ring_is_dropped(void **state) {
    (void)state;
    char record[4097] = {0};
    assert_false(log_ring_put(&ring, record, sizeof record));
    assert_int_equal(log_ring_dropped(&ring), 1);
}

static void writer_is_woken_once_per_filling(void **state) {
    (void)state;
    char record[1000] = {0}, out[4096];
    for (int filling = 0; filling < 3; filling++) {
        for (int i = 0; i < 2; i++)
            log_ring_put(&ring, record, sizeof record);
        assert_int_equal(atomic_load(&waker.word), 0);
        log_ring_put(&ring, record, sizeof record); /* passes the half */
        assert_int_equal(atomic_load(&waker.word), 1);
        log_waker_wait(&waker, 60000000);            /* returns at once */
        log_ring_put(&ring, record, sizeof record);
        assert_int_equal(atomic_load(&waker.word), 0);
        take_all(out);
    }
}

static void lack_of_memory_is_told(void **state) {
    (void)state;
    struct log_ring other = {0};
    hg_alloc_fail_at(0, 0);
    assert_int_equal(log_ring_init(&other, 4096, &waker), -1);
    hg_alloc_fail_at(-1, 0);
    log_ring_finish(&other);
}

/* ---- two threads ---- */

static _Atomic bool is_done;

static void *produce(void *arg) {
    (void)arg;
    char record[64];
    for (unsigned i = 0; i < RECORDS; i++) {
        int n = snprintf(record, sizeof record, "%u %.*s\n", i, (int)(i % 40),
                         "........................................");
        log_ring_put(&ring, record, (size_t)n);
    }
    atomic_store(&is_done, true);
    log_waker_wake(&waker);
    return NULL;
}

/* Each line is one whole record, and numbers only grow; returns how many there were. */
static unsigned check_lines(const char *bytes, size_t size, long *last) {
    unsigned lines = 0;
    for (const char *at = bytes, *end; at < bytes + size; at = end + 1, lines++) {
        end = memchr(at, '\n', (size_t)(bytes + size - at));
        assert_non_null(end);
        char *rest;
        long number = strtol(at, &rest, 10);
        assert_true(number > *last && number < RECORDS);
        assert_int_equal(end - rest, 1 + number % 40);
        *last = number;
    }
    return lines;
}

static void one_producer_and_one_consumer(void **state) {
    (void)state;
    pthread_t thread;
    char *out = test_calloc(1, ring.capacity + 1); /* strtol wants an end */
    unsigned long lines = 0;
    long last = -1;
    atomic_store(&is_done, false);
    assert_int_equal(pthread_create(&thread, NULL, produce, NULL), 0);
    for (bool ends = false; !ends;) {
        ends = atomic_load(&is_done);
        lines += check_lines(out, take_all(out), &last);
        if (!ends)
            log_waker_wait(&waker, 1000);
    }
    pthread_join(thread, NULL);
    assert_int_equal(lines, log_ring_records(&ring));
    assert_int_equal(log_ring_records(&ring) + log_ring_dropped(&ring), RECORDS);
    test_free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_come_out_in_order_over_the_wrap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_ring_drops_and_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(record_longer_than_the_ring_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writer_is_woken_once_per_filling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lack_of_memory_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_producer_and_one_consumer, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
