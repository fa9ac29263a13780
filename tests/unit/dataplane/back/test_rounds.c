/* What is seen to at every endpoint of a very large cluster takes no turn of the worker much time, and holds nothing up:
 * ejected ones are not chosen, old connections not used, and panic is panic, before all are looked at. */
#define CONNECTIONS_MOST 2048
#include "tests/unit/dataplane/back/many_endpoints.h"

enum { LOOKS_OF_TURN = 1024 * 4, UNTIL = 100 * SECOND };

/* Another worker has ejected, or brought back, one in so many, which this one has not seen. No places are taken for it. */
static void set_ejected(struct cluster_runtime *c, uint32_t step, uint64_t until) {
    for (uint32_t i = 0; i < c->endpoint_count; i += step)
        atomic_store(&newest->endpoints[i].shared->ejected_until, until ? until | 1 : 0);
    atomic_fetch_add(&c->shared->ejections, 1);
    worker.now += SECOND / 10; /* since the last round */
}

static void check_available(const struct cluster_runtime *c) {
    uint32_t want = 0, counted = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        want += many[i].weight && endpoint_is_available(endpoint_of(c, i));
    for (uint32_t g = 0; g < c->group_count; g++)
        counted += c->groups[g]->available;
    assert_int_equal(counted, want);
}

/* Turn by turn; `between` is done after each. Returns how many there were. */
static unsigned end_round(struct cluster_runtime *c, void (*between)(struct cluster_runtime *)) {
    unsigned turns = 0;
    for (; c->round.is_under_way; turns++) {
        uint32_t at = c->round.at;
        turn();
        if (c->round.is_under_way) /* perhaps the next one */
            assert_true(c->round.at != at && c->round.at <= (c->round.at > at ? at : 0) + LOOKS_OF_TURN);
        if (between)
            between(c);
        assert_true(turns < MANY);
    }
    return turns;
}

static void pick_few(struct cluster_runtime *c) {
    pick_some(c, 20);
}

static void ejections_are_counted_by_and_by(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        struct cluster_runtime *c = bring_whole(kinds[k], MANY);
        set_ejected(c, 2, worker.now + UNTIL);
        pick_few(c);
        assert_true(c->round.is_under_way);
        assert_int_equal(c->round.at, 0);
        assert_true(end_round(c, pick_few) > 1);
        check_available(c);
        assert_true(c->next_look > worker.now && c->next_look < UINT64_MAX);
        set_ejected(c, 2, worker.now);
        pick_few(c);
        assert_true(end_round(c, pick_few) > 1);
        check_available(c);
        check_counts(c);
        assert_true(c->next_look == UINT64_MAX);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* What changes while a round is under way is seen by another one, and there is no end of rounds without changes. */
static void what_comes_in_the_middle_is_seen_by_the_next(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    set_ejected(c, 2, worker.now + UNTIL);
    pick_few(c);
    turn();
    assert_true(c->round.is_under_way && c->round.at > 0);
    atomic_store(&newest->endpoints[1].shared->ejected_until, (worker.now + UNTIL / 2) | 1); /* one that was looked at */
    atomic_fetch_add(&c->shared->ejections, 1);
    end_round(c, pick_few);
    worker.now += SECOND;
    pick_few(c);
    end_round(c, pick_few);
    check_available(c);
    assert_true(c->next_look <= worker.now + UNTIL / 2);
    worker.now += SECOND;
    pick_few(c);
    assert_false(c->round.is_under_way);
}

static void a_change_of_the_list_in_the_middle_misses_nobody(void **state) {
    (void)state;
    for (unsigned few = 0; few < 2; few++) {
        struct cluster_runtime *c = bring_whole(BALANCE_LEAST_REQUEST, MANY);
        set_ejected(c, 3, worker.now + UNTIL);
        pick_few(c);
        turn();
        for (unsigned i = 0; i < (few ? 3 : MANY); i++)
            many[i].weight += 2;
        memmove(many, many + 10, (MANY - 10) * sizeof *many);
        assert_ptr_equal(bring_count(MANY - 10), c);
        assert_true(c->round.is_wanted);
        for (unsigned turns = 0; worker.mailbox_first; turns++) {
            turn();
            pick_few(c);
            assert_true(turns < MANY);
        }
        assert_false(c->round.is_under_way);
        check_available(c);
        cluster_drop(&worker, d.cluster.slot);
    }
}

static void up_to_a_thousand_are_counted_at_once(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_RANDOM, AT_ONCE);
    set_ejected(c, 2, worker.now + UNTIL);
    pick_some(c, 1);
    assert_false(c->round.is_under_way);
    check_available(c);
}

/* ---- nobody is left ---- */

static void pick_in_panic(struct cluster_runtime *c) {
    for (unsigned i = 0; i < 5; i++) {
        const struct endpoint_runtime *e = cluster_pick(c, &(struct pick){.hash = worker_random(&worker), .has_hash = true});
        assert_non_null(e);
        assert_false(e->candidate.is_draining);
    }
}

static void pick_nobody(struct cluster_runtime *c) {
    assert_null(cluster_pick(c, &any_endpoint));
}

static void when_nobody_is_left_the_threshold_decides_at_once(void **state) {
    (void)state;
    for (unsigned k = 0; k < 2 * KINDS; k++) {
        bool panics = k < KINDS;
        void (*pick)(struct cluster_runtime *) = panics ? pick_in_panic : pick_nobody;
        define_many(kinds[k % KINDS]);
        d.rules.panic_threshold = panics ? 50 : 0;
        struct cluster_runtime *c = bring_count(MANY);
        worker_empty_mailbox(&worker);
        set_ejected(c, 1, worker.now + UNTIL);
        pick(c);
        assert_true(c->round.is_under_way && c->round.has_empty);
        end_round(c, pick);
        check_available(c);
        pick(c);
        set_ejected(c, 1, 0);
        end_round(c, NULL);
        worker.now += SECOND;
        cluster_pick(c, &any_endpoint);
        end_round(c, NULL);
        pick_some(c, 5);
        cluster_drop(&worker, d.cluster.slot);
    }
}

static void who_was_tried_is_passed_over_in_panic(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        struct pick p = {.is_repeated = true};
        define_many(kinds[k]);
        d.rules.panic_threshold = 50;
        for (unsigned i = 0; i < MANY; i++)
            many[i].is_usable = i < 2, many[i].is_draining = i >= 2, many[i].priority = i > 0;
        struct cluster_runtime *c = bring_count(MANY);
        worker_empty_mailbox(&worker);
        set_ejected(c, 1, worker.now + UNTIL);
        for (unsigned i = 0; i < 3; i++) {
            const struct endpoint_runtime *e = cluster_pick(c, &p);
            assert_ptr_equal(e, endpoint_of(c, i % 2));
            assert_true(c->round.is_under_way);
            pick_note_tried(&p, e);
        }
        cluster_drop(&worker, d.cluster.slot);
        worker_empty_mailbox(&worker);
    }
}

/* ---- one that was out and is back between two rounds ---- */

static void who_was_out_between_two_rounds_is_chosen_again(void **state) {
    (void)state;
    static const enum balance_kind some[] = {BALANCE_LEAST_CONNECTIONS, BALANCE_FIRST};
    for (unsigned k = 0; k < 2; k++) {
        define_many(some[k]);
        for (unsigned i = 0; i < 3; i++)
            many[i] = (struct endpoint_definition){.text = many[i].text, .weight = 1, .is_usable = true,
                                                   .address = many[i].address};
        struct cluster_runtime *c = bring_count(3);
        _Atomic uint64_t *until = &endpoint_of(c, 0)->shared->ejected_until;
        atomic_store(until, (worker.now + UNTIL) | 1);
        for (unsigned i = 0; i < 10; i++)
            assert_ptr_not_equal(cluster_pick(c, &any_endpoint), endpoint_of(c, 0));
        atomic_store(until, 0);
        set_ejected(c, 3, 0);
        for (unsigned i = 1; i < 3; i++)
            endpoint_began(endpoint_of(c, i));
        assert_ptr_equal(cluster_pick(c, &any_endpoint), endpoint_of(c, 0));
        for (unsigned i = 1; i < 3; i++)
            endpoint_ended(endpoint_of(c, i), ENDPOINT_SUCCESS, 1);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* Whose turns are next are out, so all of them come up. One choice puts some aside, and finds somebody all the same. */
static void choices_of_least_connections_put_few_aside(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_LEAST_CONNECTIONS, MANY);
    uint32_t most = 0;
    for (uint32_t i = 0; i < MANY; i++)
        if (c->endpoints[i]->placements[0].tie < 0.2)
            atomic_store(&newest->endpoints[i].shared->ejected_until, (worker.now + UNTIL) | 1);
    for (unsigned i = 0; i < 200; i++) {
        uint32_t parked = c->groups[0]->parked;
        pick_some(c, 1);
        most = c->groups[0]->parked - parked > most ? c->groups[0]->parked - parked : most;
    }
    assert_in_range(most, 1, 64);
}

/* ---- detection is switched off ---- */

static struct cluster_runtime *bring_failing(void) {
    define_many(BALANCE_ROUND_ROBIN);
    d.cluster.outliers = (struct outlier_rules){.is_on = true, .consecutive_5xx = 1, .interval = SECOND,
                                                .base_ejection = UNTIL, .max_ejection = UNTIL, .max_ejected_percent = 100};
    struct cluster_runtime *c = bring_count(MANY);
    worker_empty_mailbox(&worker);
    for (uint32_t i = 0; i < MANY; i += 2) {
        endpoint_began(endpoint_of(c, i));
        endpoint_ended(endpoint_of(c, i), ENDPOINT_5XX, 1);
    }
    return c;
}

static void switched_off_all_come_back_by_and_by(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_failing();
    uint32_t out = count_ejected(newest), seen;
    assert_true(out > MANY / 3);
    assert_int_equal(atomic_load(&cluster_shared.ejected), out);
    d.cluster.outliers.is_on = false;
    uint32_t ejections = atomic_load(&cluster_shared.ejections);
    bring_count(MANY);
    assert_int_equal(count_ejected(newest), out);
    for (unsigned turns = 0; c->round.is_under_way; turns++, out = seen) {
        turn();
        seen = count_ejected(newest);
        assert_true(out - seen <= LOOKS_OF_TURN / 8 && turns < MANY);
    }
    assert_int_equal(count_ejected(newest), 0);
    assert_int_equal(atomic_load(&cluster_shared.ejected), 0);
    assert_int_equal(stats_read(&worker.stats->endpoints_ejected), 0);
    assert_int_equal(atomic_load(&cluster_shared.ejections), ejections + 1); /* the others are to look */
    check_available(c);
    worker.now += SECOND;
    pick_few(c);
    end_round(c, pick_few);
    assert_int_equal(atomic_load(&cluster_shared.ejections), ejections + 1);
}

/* Switched on again in the middle, those who are out stay out. */
static void switched_on_again_the_rest_stay_out(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_failing();
    uint32_t all = count_ejected(newest);
    d.cluster.outliers.is_on = false;
    bring_count(MANY);
    turn();
    uint32_t out = count_ejected(newest);
    assert_in_range(out, 1, all - 1);
    d.cluster.outliers.is_on = true;
    bring_count(MANY);
    end_round(c, pick_few);
    assert_int_equal(count_ejected(newest), out);
    assert_int_equal(atomic_load(&cluster_shared.ejected), out);
    check_available(c);
    d.cluster.outliers.is_on = false; /* for other tests the shared counts are 0 */
    bring_count(MANY);
    end_round(c, NULL);
    assert_int_equal(atomic_load(&cluster_shared.ejected), 0);
}

/* ---- connections that may not be used again ---- */

static unsigned count_open(unsigned end) {
    unsigned open = 0;
    for (unsigned i = 0; i < end; i++)
        open += connections[i].is_open;
    return open;
}

static void connections_of_another_protocol_are_closed_by_and_by(void **state) {
    (void)state;
    enum { KEPT = 1000, OF_TURN = 1024 / 32 + 4 };
    struct cluster_runtime *c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    for (unsigned i = 0; i < KEPT; i++)
        keep(endpoint_of(c, i * 5));
    d.cluster.options.proxy_version = 2;
    d.cluster.connection_lifetime = 0;
    bring_count(MANY);
    assert_int_equal(count_open(KEPT), KEPT);
    const struct client_connection *first = keep(endpoint_of(c, 0)), *last = keep(endpoint_of(c, MANY - 1));
    assert_null(take(endpoint_of(c, 5 * (KEPT - 1)))); /* it is not used, whenever it is closed */
    unsigned open = count_open(KEPT);
    for (unsigned turns = 0; c->round.is_under_way; turns++) {
        turn();
        assert_true(open - count_open(KEPT) <= OF_TURN && turns < MANY);
        open = count_open(KEPT);
    }
    assert_int_equal(open, 0);
    assert_true(is_open(first) && is_open(last));
}

/* ---- the end ---- */

static void the_cluster_may_be_dropped_in_the_middle(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    set_ejected(c, 2, worker.now + UNTIL);
    pick_few(c);
    turn();
    assert_true(c->round.is_under_way);
    cluster_drop(&worker, d.cluster.slot);
    worker_empty_mailbox(&worker);
    c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    set_ejected(c, 2, worker.now + UNTIL);
    pick_few(c); /* and the worker ends */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, back_set_up, back_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(ejections_are_counted_by_and_by),
        TEST(what_comes_in_the_middle_is_seen_by_the_next),
        TEST(a_change_of_the_list_in_the_middle_misses_nobody),
        TEST(up_to_a_thousand_are_counted_at_once),
        TEST(when_nobody_is_left_the_threshold_decides_at_once),
        TEST(who_was_tried_is_passed_over_in_panic),
        TEST(who_was_out_between_two_rounds_is_chosen_again),
        TEST(choices_of_least_connections_put_few_aside),
        TEST(switched_off_all_come_back_by_and_by),
        TEST(switched_on_again_the_rest_stay_out),
        TEST(connections_of_another_protocol_are_closed_by_and_by),
        TEST(the_cluster_may_be_dropped_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
