/* Buckets of times: every value is in the bucket whose bounds are around it, and quantiles come back within an eighth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/histogram.h"

static void assert_inside(uint64_t us) {
    unsigned bucket = histogram_bucket(us);
    assert_in_range(bucket, 0, HISTOGRAM_BUCKETS - 1);
    assert_true(us >= histogram_lowest(bucket));
    assert_true(us < histogram_lowest(bucket + 1) || bucket == HISTOGRAM_BUCKETS - 1);
}

static void values_are_within_their_buckets(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t part = 0; part < 8; part++) {
            uint64_t at = (UINT64_C(1) << bit) + (bit >= 3 ? part << (bit - 3) : 0);
            assert_inside(at);
            assert_inside(at - 1);
        }
    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(63), 0);
    assert_int_equal(histogram_bucket(64), 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void bounds_grow(void **state) {
    (void)state;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        assert_true(histogram_lowest(i) < histogram_lowest(i + 1));
}

static void quantiles(void **state) {
    uint64_t counts[HISTOGRAM_BUCKETS] = {0};
    (void)state;
    assert_int_equal(histogram_quantile(counts, .5), 0);
    for (uint64_t us = 1; us <= 100000; us++)
        counts[histogram_bucket(us)]++;
    assert_in_range(histogram_quantile(counts, .5), 50000 - 6250, 50000 + 6250);
    assert_in_range(histogram_quantile(counts, .99), 99000 - 12375, 99000 + 12375);
}

static void one_value(void **state) {
    uint64_t counts[HISTOGRAM_BUCKETS] = {0};
    (void)state;
    counts[histogram_bucket(1000)] = 1;
    assert_in_range(histogram_quantile(counts, .5), 875, 1125);
    assert_in_range(histogram_quantile(counts, .99), 875, 1125);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_within_their_buckets),
        cmocka_unit_test(bounds_grow),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
