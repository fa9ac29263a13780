/* Balancers that draw, take turns, or look at what is under way: shares, weights, and who is passed over. */
#include "tests/unit/dataplane/balance/choosers.h"

static struct choosers c;

static int tear_down(void **state) {
    (void)state;
    choosers_finish(&c);
    return 0;
}

static const uint32_t weights[] = {1, 2, 3, 10, 50, 7};
enum { WEIGHTS = sizeof weights / sizeof *weights };
static const enum balance_kind by_weight[] = {BALANCE_ROUND_ROBIN, BALANCE_RANDOM, BALANCE_LEAST_REQUEST, BALANCE_PEAK_EWMA};

/* ---- shares */

static void draws_follow_the_weights(void **state) {
    (void)state;
    static const enum balance_kind kinds[] = {BALANCE_RANDOM, BALANCE_LEAST_REQUEST, BALANCE_PEAK_EWMA};
    double expected[WEIGHTS];
    for (unsigned i = 0; i < WEIGHTS; i++)
        expected[i] = weights[i];
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        choosers_make(&c, kinds[k], WEIGHTS, weights);
        c.rules.choices = 1; /* what is drawn is chosen */
        count_choices(&c, 100000);
        assert_drawn_by(c.counts, expected, WEIGHTS);
        choosers_finish(&c);
    }
    choosers_make(&c, BALANCE_FIRST, 1, NULL);
}

static void draws_of_many_are_even(void **state) {
    (void)state;
    double expected[1000];
    choosers_make(&c, BALANCE_RANDOM, 1000, NULL);
    for (unsigned i = 0; i < 1000; i++)
        expected[i] = 1;
    count_choices(&c, 100000);
    assert_drawn_by(c.counts, expected, 1000);
}

/* The share of one that is out goes to the others by their weights. */
static void draws_pass_over_the_unavailable(void **state) {
    (void)state;
    double expected[WEIGHTS];
    choosers_make(&c, BALANCE_RANDOM, WEIGHTS, weights);
    set_usable(&c, 4, false);
    c.out_until[3] = c.now + 1;
    for (unsigned i = 0; i < WEIGHTS; i++)
        expected[i] = i == 3 || i == 4 ? 0 : weights[i];
    count_choices(&c, 20000);
    assert_drawn_by(c.counts, expected, WEIGHTS);
    c.now += 1; /* the ejection is over */
    expected[3] = weights[3];
    count_choices(&c, 20000);
    assert_drawn_by(c.counts, expected, WEIGHTS);
}

/* At every moment each endpoint has had its share, give or take two turns. */
static void turns_are_even_at_every_moment(void **state) {
    (void)state;
    uint32_t counts[WEIGHTS] = {0}, total = 0;
    choosers_make(&c, BALANCE_ROUND_ROBIN, WEIGHTS, weights);
    for (unsigned i = 0; i < WEIGHTS; i++)
        total += weights[i];
    for (unsigned turn = 1; turn <= 100 * total; turn++) {
        counts[choose_one(&c)]++;
        for (unsigned i = 0; i < WEIGHTS; i++)
            assert_true(fabs(counts[i] - (double)turn * weights[i] / total) < 2);
    }
}

/* Who is out loses its turns; the others share as before, and it makes up for nothing. */
static void turns_pass_over_the_unavailable(void **state) {
    (void)state;
    choosers_make(&c, BALANCE_ROUND_ROBIN, 4, NULL);
    set_usable(&c, 2, false);
    count_choices(&c, 3000);
    assert_int_equal(c.counts[2], 0);
    for (unsigned i = 0; i < 4; i++)
        assert_true(i == 2 || abs((int)c.counts[i] - 1000) <= 2);
    set_usable(&c, 2, true);
    count_choices(&c, 4000);
    for (unsigned i = 0; i < 4; i++)
        assert_true(abs((int)c.counts[i] - 1000) <= 2);
}

/* ---- least request */

/* 100 endpoints, 10,000 requests that do not end. With one choice the fullest would have about 100 + sqrt(2 * 100 * ln 100)
 * = 130; with two the excess is ln ln n / ln 2 + O(1) = 2.2 + O(1) (Berenbrink and others 2006), whatever the number of
 * requests. */
static void better_of_two_keeps_loads_together(void **state) {
    (void)state;
    uint32_t most = 0;
    choosers_make(&c, BALANCE_LEAST_REQUEST, 100, NULL);
    for (unsigned i = 0; i < 10000; i++)
        candidate_began(&c.candidates[choose_one(&c)], &c.rules);
    for (unsigned i = 0; i < 100; i++)
        most = c.candidates[i].active > most ? c.candidates[i].active : most;
    assert_in_range(most, 101, 105);
    assert_int_equal(c.group.active, 10000);
}

static void better_of_two_respects_weights(void **state) {
    (void)state;
    uint32_t total = 0;
    choosers_make(&c, BALANCE_LEAST_REQUEST, WEIGHTS, weights);
    for (unsigned i = 0; i < WEIGHTS; i++)
        total += weights[i];
    for (unsigned i = 0; i < 200 * total; i++)
        candidate_began(&c.candidates[choose_one(&c)], &c.rules);
    for (unsigned i = 0; i < WEIGHTS; i++)
        assert_true(fabs(c.candidates[i].active / 200.0 / weights[i] - 1) < 0.1);
}

/* One that never answers is not given more than it would have of equals' share at the start. */
static void one_that_hangs_loses_its_share(void **state) {
    (void)state;
    unsigned given = 0;
    choosers_make(&c, BALANCE_LEAST_REQUEST, 3, NULL);
    for (unsigned i = 0; i < 10000; i++) {
        struct candidate *e = &c.candidates[choose_one(&c)];
        candidate_began(e, &c.rules);
        if (e == &c.candidates[0])
            given++;
        else
            candidate_ended(e, &c.rules);
    }
    assert_in_range(given, 1, 2); /* it loses to both others from the first one on */
}

/* ---- least connections */

/* The chosen one has the least load of all that are available, by a look at each of them. */
static void assert_is_least(unsigned chosen) {
    for (unsigned i = 0; i < c.count; i++)
        if (candidate_is_available(&c.candidates[i], c.now))
            assert_true(c.candidates[chosen].active * c.candidates[chosen].step <=
                        c.candidates[i].active * c.candidates[i].step);
}

static void least_of_all_is_chosen_whatever_happens(void **state) {
    (void)state;
    static unsigned open[100000];
    unsigned opened = 0;
    choosers_make(&c, BALANCE_LEAST_CONNECTIONS, WEIGHTS, weights);
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t random = balance_random(&c.random) >> 16;
        if (random % 50 == 0)
            set_usable(&c, 1 + (uint32_t)(random / 64 % (WEIGHTS - 1)), random & 32);
        if (opened && random % 16 < 7) {
            unsigned at = (unsigned)(random / 64 % opened);
            candidate_ended(&c.candidates[open[at]], &c.rules);
            open[at] = open[--opened];
            continue;
        }
        int chosen = choose_one(&c);
        assert_true(chosen >= 0 && candidate_is_available(&c.candidates[chosen], c.now));
        assert_is_least((unsigned)chosen);
        candidate_began(&c.candidates[chosen], &c.rules);
        open[opened++] = (unsigned)chosen;
    }
}

/* Of those with nothing to do each gets its turn, by weight. */
static void idle_ones_take_turns(void **state) {
    (void)state;
    uint32_t counts[WEIGHTS] = {0}, total = 0;
    choosers_make(&c, BALANCE_LEAST_CONNECTIONS, WEIGHTS, weights);
    for (unsigned i = 0; i < WEIGHTS; i++)
        total += weights[i];
    for (unsigned i = 0; i < 20 * total; i++) {
        int chosen = choose_one(&c);
        counts[chosen]++;
        candidate_began(&c.candidates[chosen], &c.rules);
        candidate_ended(&c.candidates[chosen], &c.rules);
    }
    for (unsigned i = 0; i < WEIGHTS; i++)
        assert_true(abs((int)counts[i] - (int)(20 * weights[i])) <= 2);
}

/* ---- peak EWMA */

static void respond(unsigned i, uint64_t latency) {
    candidate_note_latency(&c.candidates[i], &c.rules, latency, c.now);
}

static void latency_rises_at_once_and_falls_slowly(void **state) {
    (void)state;
    choosers_make(&c, BALANCE_PEAK_EWMA, 2, NULL);
    const struct candidate *e = &c.candidates[0];
    respond(0, 1000);
    assert_true(candidate_expected_latency(e, &c.rules, c.now) == 1000);
    respond(0, 9000);
    assert_true(candidate_expected_latency(e, &c.rules, c.now) == 9000);
    c.now += c.rules.ewma_decay;
    assert_true(fabs(candidate_expected_latency(e, &c.rules, c.now) - 9000 * exp(-1)) < 0.01);
    respond(0, 1000);
    assert_true(fabs(candidate_expected_latency(e, &c.rules, c.now) - (9000 * exp(-1) + 1000 * (1 - exp(-1)))) < 0.01);
    candidate_note_failure(&c.candidates[0], &c.rules, c.now);
    assert_true(candidate_expected_latency(e, &c.rules, c.now) >= SECOND);
}

/* Otherwise one that has failed for minutes would get nothing for hours, or for good. */
static void one_that_failed_for_long_comes_back(void **state) {
    (void)state;
    choosers_make(&c, BALANCE_PEAK_EWMA, 2, NULL);
    for (unsigned i = 0; i < 5000; i++, c.now += SECOND / 100)
        candidate_note_failure(&c.candidates[0], &c.rules, c.now);
    respond(1, 1000);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(choose_one(&c), 1);
    c.now += 12 * c.rules.ewma_decay;
    respond(0, 1000);
    assert_true(candidate_expected_latency(&c.candidates[0], &c.rules, c.now) < 2000);
}

static void untried_one_gets_its_chance_and_not_more(void **state) {
    (void)state;
    choosers_make(&c, BALANCE_PEAK_EWMA, 2, NULL);
    respond(0, 1000);
    int chosen = choose_one(&c);
    assert_int_equal(chosen, 1);
    candidate_began(&c.candidates[1], &c.rules);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(choose_one(&c), 0); /* until it is known */
    candidate_ended(&c.candidates[1], &c.rules);
    respond(1, 10);
    assert_int_equal(choose_one(&c), 1);
}

/* Three endpoints in a closed loop of twelve clients; one answers ten times slower. With equal shares it would get a
 * third. */
static void slow_one_gets_a_small_share(void **state) {
    (void)state;
    enum { CLIENTS = 12, REQUESTS = 30000 };
    static const uint64_t latencies[] = {1000, 1000, 10000};
    struct { uint64_t done_at, began; int at; } clients[CLIENTS];
    unsigned counts[3] = {0};
    choosers_make(&c, BALANCE_PEAK_EWMA, 3, NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i].at = -1, clients[i].done_at = c.now + i;
    for (unsigned n = 0; n < REQUESTS; n++) {
        unsigned next = 0;
        for (unsigned i = 1; i < CLIENTS; i++)
            if (clients[i].done_at < clients[next].done_at)
                next = i;
        c.now = clients[next].done_at;
        if (clients[next].at >= 0) {
            candidate_ended(&c.candidates[clients[next].at], &c.rules);
            respond((unsigned)clients[next].at, c.now - clients[next].began);
        }
        int at = choose_one(&c);
        candidate_began(&c.candidates[at], &c.rules);
        counts[at]++;
        clients[next].at = at, clients[next].began = c.now, clients[next].done_at = c.now + latencies[at];
    }
    assert_true(counts[2] < REQUESTS / 20);
    assert_true(counts[2] > 0);
    assert_true(fabs((double)counts[0] / counts[1] - 1) < 0.1);
}

/* ---- first available */

static void first_available_is_chosen(void **state) {
    (void)state;
    choosers_make(&c, BALANCE_FIRST, 5, NULL);
    assert_int_equal(choose_one(&c), 0);
    set_usable(&c, 0, false);
    set_usable(&c, 1, false);
    assert_int_equal(choose_one(&c), 2);
    set_usable(&c, 1, true);
    assert_int_equal(choose_one(&c), 1);
    c.out_until[1] = c.now + 1;
    assert_int_equal(choose_one(&c), 2);
    set_usable(&c, 0, true);
    assert_int_equal(choose_one(&c), 0);
    assert_int_equal(choose_with(&c, (struct choice){.tried = (const void *[]){&c.candidates[0]}, .tried_count = 1}), 2);
}

/* ---- all of them */

static void each_kind_passes_over_what_was_tried(void **state) {
    (void)state;
    for (enum balance_kind kind = BALANCE_ROUND_ROBIN; kind <= BALANCE_FIRST; kind++) {
        choosers_make(&c, kind, 5, (const uint32_t[]){1000, 1, 1, 1, 1});
        for (unsigned i = 0; i < 200; i++) {
            const void *tried[5];
            uint32_t n = 0;
            for (; n < 5; n++) {
                int at = choose_with(&c, (struct choice){.hash = i, .has_hash = i % 2, .tried = tried, .tried_count = n});
                assert_true(at >= 0);
                for (uint32_t k = 0; k < n; k++)
                    assert_ptr_not_equal(tried[k], &c.candidates[at]);
                tried[n] = &c.candidates[at];
            }
            int again = choose_with(&c, (struct choice){.tried = tried, .tried_count = n});
            assert_true(again >= 0); /* rather one of them than none */
        }
        choosers_finish(&c);
    }
    choosers_make(&c, BALANCE_FIRST, 1, NULL);
}

/* One of 2,000 is available: it is found, and nobody else is ever chosen. */
static void each_kind_finds_the_only_one(void **state) {
    (void)state;
    for (enum balance_kind kind = BALANCE_ROUND_ROBIN; kind <= BALANCE_FIRST; kind++) {
        choosers_make(&c, kind, 2000, NULL);
        for (uint32_t i = 0; i < 2000; i++)
            if (i != 1234)
                set_usable(&c, i, false);
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(choose_by_hash(&c, key_at(i)), 1234);
        set_usable(&c, 1234, false);
        assert_int_equal(choose_one(&c), -1);
        choosers_finish(&c);
    }
    choosers_make(&c, BALANCE_FIRST, 1, NULL);
}

/* In panic the unwell are chosen, too; those that drain never. */
static void each_kind_panics_but_for_the_draining(void **state) {
    (void)state;
    for (enum balance_kind kind = BALANCE_ROUND_ROBIN; kind <= BALANCE_FIRST; kind++) {
        choosers_make(&c, kind, 4, NULL);
        for (uint32_t i = 0; i < 4; i++)
            set_usable(&c, i, false);
        c.candidates[0].is_draining = true;
        candidate_recount(&c.candidates[0], &c.rules, c.now);
        memset(c.counts, 0, sizeof c.counts);
        for (unsigned i = 0; i < 4000; i++) {
            int at = choose_with(&c, (struct choice){.hash = key_at(i), .has_hash = true, .panics = true});
            assert_true(at > 0);
            c.counts[at]++;
            candidate_began(&c.candidates[at], &c.rules);
        }
        for (uint32_t i = 1; i < 4 && kind != BALANCE_FIRST; i++)
            assert_in_range(c.counts[i], 900, 1900);
        choosers_finish(&c);
    }
    choosers_make(&c, BALANCE_FIRST, 1, NULL);
}

/* ---- slow start */

static void freshness_grows_by_the_formula(void **state) {
    (void)state;
    choosers_make(&c, BALANCE_RANDOM, 2, NULL);
    c.rules.slow_start = 10 * SECOND;
    set_usable(&c, 0, false);
    set_usable(&c, 0, true);
    struct candidate *e = &c.candidates[0];
    uint64_t began = c.now;
    assert_true(candidate_freshness(e, &c.rules, began) == 0.1);
    assert_true(candidate_freshness(e, &c.rules, began + 5 * SECOND) == 0.5);
    c.rules.slow_start_power = 0.5;
    assert_true(fabs(candidate_freshness(e, &c.rules, began + 5 * SECOND) - sqrt(0.5)) < 1e-9);
    assert_true(candidate_freshness(e, &c.rules, began + 10 * SECOND) == 1);
    assert_int_equal(e->fresh_since, 0);
    assert_true(candidate_freshness(&c.candidates[1], &c.rules, began) == 1);
}

/* One of two has half of its weight: it gets 0.5 of 1.5. */
static void fresh_one_gets_less(void **state) {
    (void)state;
    for (unsigned k = 0; k < sizeof by_weight / sizeof *by_weight; k++) {
        choosers_make(&c, by_weight[k], 8, NULL);
        c.rules.slow_start = 10 * SECOND;
        c.rules.choices = 1; /* what is drawn is chosen */
        set_usable(&c, 0, false);
        set_usable(&c, 0, true);
        c.now += 5 * SECOND;
        const double expected[] = {0.5, 1, 1, 1, 1, 1, 1, 1};
        count_choices(&c, 30000);
        assert_drawn_by(c.counts, expected, 8);
        c.now += 5 * SECOND;
        const double even[] = {1, 1, 1, 1, 1, 1, 1, 1};
        count_choices(&c, 30000);
        assert_drawn_by(c.counts, even, 8);
        choosers_finish(&c);
    }
    choosers_make(&c, BALANCE_FIRST, 1, NULL);
}

static void fresh_ones_alone_are_all_there_is(void **state) {
    (void)state;
    for (enum balance_kind kind = BALANCE_ROUND_ROBIN; kind <= BALANCE_FIRST; kind++) {
        choosers_make(&c, kind, 3, NULL);
        c.rules.slow_start = 10 * SECOND;
        for (uint32_t i = 0; i < 3; i++) {
            set_usable(&c, i, false);
            set_usable(&c, i, true);
        }
        count_choices(&c, 1000);
        choosers_finish(&c);
    }
    choosers_make(&c, BALANCE_FIRST, 1, NULL);
}

#define TEST(function) cmocka_unit_test_teardown(function, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(draws_follow_the_weights),
        TEST(draws_of_many_are_even),
        TEST(draws_pass_over_the_unavailable),
        TEST(turns_are_even_at_every_moment),
        TEST(turns_pass_over_the_unavailable),
        TEST(better_of_two_keeps_loads_together),
        TEST(better_of_two_respects_weights),
        TEST(one_that_hangs_loses_its_share),
        TEST(least_of_all_is_chosen_whatever_happens),
        TEST(idle_ones_take_turns),
        TEST(latency_rises_at_once_and_falls_slowly),
        TEST(one_that_failed_for_long_comes_back),
        TEST(untried_one_gets_its_chance_and_not_more),
        TEST(slow_one_gets_a_small_share),
        TEST(first_available_is_chosen),
        TEST(each_kind_passes_over_what_was_tried),
        TEST(each_kind_finds_the_only_one),
        TEST(each_kind_panics_but_for_the_draining),
        TEST(freshness_grows_by_the_formula),
        TEST(fresh_one_gets_less),
        TEST(fresh_ones_alone_are_all_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
