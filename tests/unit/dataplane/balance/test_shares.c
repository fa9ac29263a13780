/* What share each priority and zone gets, by the availability of their endpoints. */
#include "tests/unit/dataplane/balance/choosers.h"

enum { GROUPS = 6 };

static struct group_definition definitions[GROUPS];
static struct group groups[GROUPS], *pointers[GROUPS];
static struct share shares[GROUPS];
static struct balance_rules rules;
static uint32_t count;

static int set_up(void **state) {
    (void)state;
    count = 0;
    rules = (struct balance_rules){.panic_threshold = 50, .overprovisioning = 140};
    return 0;
}

static void add(uint32_t priority, bool is_remote, uint32_t eligible, uint32_t available) {
    definitions[count] = (struct group_definition){.priority = priority, .is_remote = is_remote, .count = eligible};
    groups[count] = (struct group){.definition = &definitions[count], .eligible = eligible, .available = available,
                                   .available_weight = available};
    pointers[count] = &groups[count];
    count++;
}

/* In percent, within what rounding to parts of a million leaves. */
static double percent(uint32_t i) {
    return (shares[i].until - (i ? (double)shares[i - 1].until : 0)) * 100 / UINT32_MAX;
}

static void assert_percent(uint32_t i, double expected) {
    if (fabs(percent(i) - expected) > 0.001)
        fail_msg("group %u has %.4f percent, not %.4f", i, percent(i), expected);
}

static bool share(void) {
    return balance_shares(pointers, count, &rules, shares);
}

/* ---- priorities; the cases are those of Envoy's documentation of priority levels */

static void first_priority_takes_all_down_to_72_percent(void **state) {
    (void)state;
    add(0, false, 100, 72);
    add(1, false, 100, 100);
    assert_true(share());
    assert_percent(0, 100);
    assert_percent(1, 0);
}

static void below_that_the_rest_goes_to_the_next(void **state) {
    (void)state;
    add(0, false, 100, 71);
    add(1, false, 100, 100);
    assert_true(share());
    assert_percent(0, 99.4);
    groups[0].available = 50;
    assert_true(share());
    assert_percent(0, 70);
    assert_percent(1, 30);
    groups[0].available = 0;
    assert_true(share());
    assert_percent(0, 0);
    assert_percent(1, 100);
}

static void what_falls_short_is_scaled_up(void **state) {
    (void)state;
    rules.panic_threshold = 0;
    add(0, false, 100, 25);
    add(1, false, 100, 25);
    assert_true(share());
    assert_percent(0, 50);
    assert_percent(1, 50);
    groups[0].available = 5;
    assert_true(share()); /* 7 and 35 of 42 */
    assert_percent(0, 100.0 / 6);
    assert_false(shares[0].panics);
}

static void three_priorities_take_in_turn(void **state) {
    (void)state;
    add(0, false, 10, 2);
    add(1, false, 10, 3);
    add(5, false, 10, 10);
    assert_true(share());
    assert_percent(0, 28);
    assert_percent(1, 42);
    assert_percent(2, 30);
}

static void without_overprovisioning_each_loss_is_passed_on(void **state) {
    (void)state;
    rules.overprovisioning = 100;
    add(0, false, 10, 9);
    add(1, false, 10, 10);
    assert_true(share());
    assert_percent(0, 90);
}

static void nothing_available_anywhere_and_no_panic_is_nothing(void **state) {
    (void)state;
    rules.panic_threshold = 0;
    add(0, false, 10, 0);
    add(1, false, 3, 0);
    assert_false(share());
    count = 0;
    assert_false(share());
}

/* ---- panic */

static void panic_begins_below_the_threshold(void **state) {
    (void)state;
    add(0, false, 100, 50);
    assert_true(share());
    assert_percent(0, 100);
    assert_false(shares[0].panics);
    groups[0].available = 49;
    assert_true(share());
    assert_true(shares[0].panics);
    groups[0].available = 0;
    assert_true(share());
    assert_true(shares[0].panics);
    assert_percent(0, 100);
}

static void nobody_panics_while_another_priority_can_take_over(void **state) {
    (void)state;
    add(0, false, 100, 10);
    add(1, false, 100, 100);
    assert_true(share());
    assert_false(shares[0].panics);
    assert_percent(0, 14);
    groups[1].available = 40; /* 14 and 56 of 70 */
    assert_true(share());
    assert_true(shares[0].panics && shares[1].panics);
    assert_percent(0, 20);
}

static void draining_ones_do_not_count(void **state) {
    (void)state;
    add(0, false, 0, 0); /* all drain */
    add(1, false, 4, 0);
    assert_true(share());
    assert_percent(1, 100);
    assert_true(shares[1].panics);
}

/* ---- zones */

static void own_zone_takes_what_it_can(void **state) {
    (void)state;
    add(0, false, 10, 10);
    add(0, true, 20, 20);
    assert_true(share());
    assert_percent(0, 100);
    groups[0].available = 5;
    assert_true(share());
    assert_percent(0, 70);
    assert_percent(1, 30);
    groups[0].available = 0;
    assert_true(share());
    assert_percent(1, 100);
    groups[0].available = 3, groups[1].available = 0; /* 14 percent of all: panic */
    assert_true(share());
    assert_true(shares[0].panics);
    rules.panic_threshold = 0;
    assert_true(share());
    assert_percent(0, 100);
}

static void zones_share_what_their_priority_has(void **state) {
    (void)state;
    add(0, false, 10, 2);
    add(0, true, 10, 8); /* half of 20 are available: 70 percent, of which ours takes 28 */
    add(1, false, 10, 10);
    add(1, true, 10, 10);
    assert_true(share());
    assert_percent(0, 70 * 0.28);
    assert_percent(1, 70 * 0.72);
    assert_percent(2, 30);
    assert_percent(3, 0);
}

static void a_priority_without_own_zone_is_served_by_others(void **state) {
    (void)state;
    add(0, true, 10, 10);
    assert_true(share());
    assert_percent(0, 100);
}

static void shares_always_cover_everything(void **state) {
    (void)state;
    for (uint32_t a = 0; a <= 7; a++)
        for (uint32_t b = 0; b <= 7; b++)
            for (uint32_t d = 0; d <= 7; d++) {
                count = 0;
                add(0, false, 7, a);
                add(0, true, 7, b);
                add(1, false, 7, d);
                rules.panic_threshold = (a + b + d) % 2 * 50;
                if (!share())
                    continue;
                assert_int_equal(shares[2].until, UINT32_MAX);
                for (uint32_t i = 0; i < 3; i++) {
                    assert_true(percent(i) >= 0);
                    if (groups[i].available == 0 && !shares[i].panics)
                        assert_percent(i, 0);
                }
            }
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(first_priority_takes_all_down_to_72_percent),
        TEST(below_that_the_rest_goes_to_the_next),
        TEST(what_falls_short_is_scaled_up),
        TEST(three_priorities_take_in_turn),
        TEST(without_overprovisioning_each_loss_is_passed_on),
        TEST(nothing_available_anywhere_and_no_panic_is_nothing),
        TEST(panic_begins_below_the_threshold),
        TEST(nobody_panics_while_another_priority_can_take_over),
        TEST(draining_ones_do_not_count),
        TEST(own_zone_takes_what_it_can),
        TEST(zones_share_what_their_priority_has),
        TEST(a_priority_without_own_zone_is_served_by_others),
        TEST(shares_always_cover_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
