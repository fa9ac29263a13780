/* Sorted some steps at a time, upwards, and equals stay in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/back/sorting.h"
#include "dataplane/balance/balance.h"

enum { MOST = 100000 };

static struct sort_key keys[2 * MOST];
static uint64_t random_state = 7;

/* Of so many different ones. */
static void fill(uint32_t count, uint32_t different) {
    for (uint32_t i = 0; i < count; i++)
        keys[i] = (struct sort_key){.key = (double)((balance_random(&random_state) >> 33) % different), .of = i};
}

static void check(const struct sort_key *sorted, uint32_t count) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += sorted[i].of;
        if (i)
            assert_true(sorted[i - 1].key < sorted[i].key ||
                        (sorted[i - 1].key == sorted[i].key && sorted[i - 1].of < sorted[i].of));
    }
    assert_int_equal(sum, count ? (uint64_t)count * (count - 1) / 2 : 0);
}

static uint32_t logarithm(uint32_t count) {
    uint32_t n = 0;
    while (UINT64_C(1) << n < count)
        n++;
    return n;
}

/* Returns how many steps it took. */
static uint64_t sort(uint32_t count, uint32_t most) {
    struct sorting s;
    uint64_t all = 0;
    uint32_t steps;
    sorting_begin(&s, keys, keys + count, count);
    while ((steps = sorting_go_on(&s, most)) > 0) {
        assert_true(steps <= most);
        all += steps;
    }
    check(s.keys, count);
    return all;
}

static void any_number_is_sorted_in_steps(void **state) {
    (void)state;
    static const uint32_t differents[] = {1, 2, 10, UINT32_MAX};
    for (uint32_t count = 0; count < 300; count++)
        for (unsigned d = 0; d < 4; d++) {
            fill(count, differents[d]);
            assert_int_equal(sort(count, 1 + count % 17), (uint64_t)count * logarithm(count));
        }
}

static void very_many_are_sorted(void **state) {
    (void)state;
    fill(MOST, UINT32_MAX);
    assert_int_equal(sort(MOST, 16), (uint64_t)MOST * 17);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_is_sorted_in_steps),
        cmocka_unit_test(very_many_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
