/* Token buckets: bursts, rates, and what a token costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/core/token_bucket.h"

enum { RATE = 10, BURST = 5, NOW = 77000000, EACH = 1000000 / RATE };

static void a_burst_and_then_the_rate(void **state) {
    uint64_t bucket = 0;
    (void)state;
    for (int i = 0; i < BURST; i++)
        assert_true(token_bucket_take(&bucket, NOW, RATE, BURST, 1));
    assert_false(token_bucket_take(&bucket, NOW, RATE, BURST, 1));
    assert_false(token_bucket_take(&bucket, NOW + EACH - 1, RATE, BURST, 1));
    assert_true(token_bucket_take(&bucket, NOW + EACH, RATE, BURST, 1));
    assert_false(token_bucket_take(&bucket, NOW + EACH, RATE, BURST, 1));
}

static void it_is_never_more_than_full(void **state) {
    uint64_t bucket = 0;
    int taken = 0;
    (void)state;
    assert_true(token_bucket_take(&bucket, NOW, RATE, BURST, 1));
    while (token_bucket_take(&bucket, NOW + 3600000000u, RATE, BURST, 1))
        taken++;
    assert_int_equal(taken, BURST);
}

static void some_cost_more(void **state) {
    uint64_t bucket = 0;
    (void)state;
    assert_true(token_bucket_take(&bucket, NOW, RATE, BURST, 3));
    assert_false(token_bucket_take(&bucket, NOW, RATE, BURST, 3));
    assert_true(token_bucket_take(&bucket, NOW, RATE, BURST, 2));
}

/* Or it would never be granted. */
static void nothing_costs_more_than_there_can_be(void **state) {
    uint64_t bucket = 0;
    (void)state;
    assert_true(token_bucket_take(&bucket, NOW, RATE, BURST, 100));
    assert_false(token_bucket_take(&bucket, NOW, RATE, BURST, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_and_then_the_rate),
        cmocka_unit_test(it_is_never_more_than_full),
        cmocka_unit_test(some_cost_more),
        cmocka_unit_test(nothing_costs_more_than_there_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
