/* Very many endpoints change or leave at once: no turn of the worker does much, every choice goes by the newest definition,
 * and those that stay keep what they have. */
#include "tests/unit/dataplane/back/many_endpoints.h"

#include <math.h>

enum { NAMES = MANY + SPARE };

/* Endpoints by the number in their address; those of another port are others. */
static unsigned number_of(const struct endpoint_runtime *e) {
    unsigned high, low;
    assert_int_equal(sscanf(e->text, "10.0.%u.%u:", &high, &low), 2);
    return high * 256 + low;
}

static void reweight_all(void) {
    for (unsigned i = 0; i < NAMES; i++)
        many[i].weight = 1 + (many[i].weight + i) % 5;
}

static void replace_all(unsigned port) {
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(texts[i], sizeof texts[i], "10.0.%u.%u:%u", i / 256, i % 256, port);
        many[i].text = str_of(texts[i]);
        assert_int_equal(address_parse(many[i].text, &many[i].address), 0);
    }
}

/* What is under way in each group is what its members have, also those that are not taken over. */
static void check_active(const struct cluster_runtime *c) {
    for (uint32_t g = 0; g < c->group_count; g++) {
        const struct group_definition *gd = c->groups[g]->definition;
        uint32_t active = 0;
        for (uint32_t i = 0; i < gd->count; i++) {
            const struct endpoint_runtime *e = cluster_endpoint_at(c, gd->members[i]);
            active += e ? e->candidate.active : 0;
        }
        assert_int_equal(c->groups[g]->active, active);
    }
}

/* Those that are there are what the definition says. */
static void check_endpoints(const struct cluster_runtime *c) {
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint_definition *want = &c->members->endpoints[i];
        const struct endpoint_runtime *e = endpoint_of(c, i);
        if (!e)
            continue;
        assert_string_equal(e->text, want->text.p);
        assert_int_equal(e->candidate.weight, want->weight);
        assert_int_equal(e->candidate.is_usable, want->is_usable);
        assert_int_equal(e->candidate.placement_count, want->weight ? 1 : 0);
        assert_ptr_equal(e->candidate.placements[0].group, c->groups[c->members->group_of[c->members->first_group[i]]]);
        assert_false(e->is_retired);
    }
}

static void check_all(const struct cluster_runtime *c) {
    count_made(c);
    check_counts(c);
    check_endpoints(c);
    check_active(c);
}

/* Turn by turn until nothing is left to do. */
static void finish_by_turns(struct cluster_runtime *c) {
    for (unsigned turns = 0; worker.mailbox_first; turns++) {
        uint32_t made = count_made(c);
        turn();
        assert_true(count_made(c) - made <= SLICE);
        check_all(c);
        pick_some(c, 2);
        assert_true(turns < MANY);
    }
    assert_int_equal(count_made(c), c->endpoint_count);
    assert_null(c->earlier);
    assert_null(c->leaving);
    check_all(c);
}

static void all_get_another_weight_by_and_by(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        static struct candidate *before[MANY];
        struct cluster_runtime *c = bring_whole(kinds[k], MANY);
        memcpy(before, c->endpoints, sizeof before);
        reweight_all();
        assert_ptr_equal(bring_count(MANY), c);
        assert_int_equal(count_made(c), SLICE);
        check_all(c);
        for (unsigned i = 0; i < 200; i++) { /* a choice sees the new weight at once */
            const struct endpoint_runtime *e = cluster_pick(c, &any_endpoint);
            assert_int_equal(e->candidate.weight, many[number_of(e)].weight);
        }
        finish_by_turns(c);
        assert_memory_equal(before, c->endpoints, sizeof before);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* Endpoints of a priority stand together, so that while they are being made a group has nobody yet. The next definition
 * comes then. Each start point leaves out others. */
static void a_group_that_nobody_has_come_to_is_followed(void **state) {
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        define_many(BALANCE_ROUND_ROBIN);
        for (unsigned k = 0; k < NAMES; k++)
            many[k].priority = k >= MANY / 2;
        struct cluster_runtime *c = bring_count(MANY);
        reweight_all();
        assert_ptr_equal(bring_count(MANY), c);
        check_all(c);
        finish_by_turns(c);
        cluster_drop(&worker, d.cluster.slot);
    }
}

static void who_is_replaced_is_not_chosen_any_more(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        struct cluster_runtime *c = bring_whole(kinds[k], MANY);
        replace_all(81);
        assert_ptr_equal(bring_count(MANY), c);
        assert_int_equal(count_made(c), SLICE);
        assert_non_null(c->leaving);
        for (unsigned i = 0; i < 500; i++)
            assert_int_equal(port_of(cluster_pick(c, &any_endpoint)), 81);
        finish_by_turns(c);
        assert_int_equal(c->gone, 0);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* Half of them change. Nothing is picked meanwhile. */
static void turns_stay(void **state) {
    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        static double keys[MANY], ties[MANY], turns[8];
        struct cluster_runtime *c = bring_whole(k ? BALANCE_LEAST_CONNECTIONS : BALANCE_ROUND_ROBIN, MANY);
        pick_some(c, 3000);
        for (unsigned i = 0; i < MANY; i++) {
            keys[i] = turn_of(endpoint_of(c, i));
            ties[i] = c->endpoints[i]->placements[0].tie;
        }
        for (uint32_t g = 0; g < c->group_count; g++)
            turns[g] = c->groups[g]->turn;
        for (unsigned i = 0; i < MANY; i += 2)
            many[i].weight++;
        bring_count(MANY);
        assert_int_equal(count_made(c), SLICE);
        for (uint32_t g = 0; g < c->group_count; g++)
            assert_true(c->groups[g]->turn == turns[g]);
        worker_empty_mailbox(&worker);
        for (unsigned i = 0; i < MANY; i++) {
            assert_true(isinf(keys[i]) || turn_of(endpoint_of(c, i)) == keys[i]); /* parked ones get another look */
            assert_true(c->endpoints[i]->placements[0].tie == ties[i]);
        }
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* Each heap is one: nobody before his parent. */
static void check_heaps(const struct cluster_runtime *c) {
    for (uint32_t g = 0; g < c->group_count; g++) {
        const struct group *group = c->groups[g];
        for (uint32_t i = 0; i < group->heap_count; i++) {
            assert_int_equal(group->heap[i].placement->heap_index, i);
            assert_ptr_equal(group->heap[i].placement->group, group);
            if (i)
                assert_true(group->heap[(i - 1) / 2].key <= group->heap[i].key);
        }
    }
}

static struct endpoint_runtime *busy[40];

static void begin_some(struct cluster_runtime *c) {
    for (unsigned i = 0; i < sizeof busy / sizeof *busy; i++) {
        busy[i] = cluster_pick(c, &any_endpoint);
        assert_non_null(busy[i]);
        endpoint_began(busy[i]);
    }
}

/* Ends a part, and begins as many others. */
static void go_on_with_some(struct cluster_runtime *c) {
    for (unsigned i = 0; i < 6; i++) {
        unsigned at = worker_random(&worker) % (sizeof busy / sizeof *busy);
        endpoint_ended(busy[at], ENDPOINT_SUCCESS, 100);
        busy[at] = cluster_pick(c, &any_endpoint);
        assert_non_null(busy[at]);
        endpoint_began(busy[at]);
    }
}

static void end_all(void) {
    for (unsigned i = 0; i < sizeof busy / sizeof *busy; i++)
        endpoint_ended(busy[i], ENDPOINT_SUCCESS, 100);
}

static void what_is_under_way_is_counted_all_the_time(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        struct cluster_runtime *c = bring_whole(kinds[k], MANY);
        begin_some(c);
        for (unsigned round = 0; round < 3; round++) {
            reweight_all();
            bring_count(MANY);
            for (unsigned turns = 0; worker.mailbox_first && turns < 5 + round * 30; turns++) {
                go_on_with_some(c);
                check_active(c);
                turn();
            }
        }
        worker_empty_mailbox(&worker);
        check_all(c);
        check_heaps(c);
        end_all();
        for (uint32_t g = 0; g < c->group_count; g++)
            assert_int_equal(c->groups[g]->active, 0);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* ---- one change after another ---- */

static bool is_numbered[NAMES]; /* has been in every definition so far, with `first` */
static struct endpoint_runtime *first[NAMES];

static void note_first(const struct cluster_runtime *c) {
    memset(is_numbered, 0, sizeof is_numbered);
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        is_numbered[number_of(endpoint_of(c, i))] = true;
        first[number_of(endpoint_of(c, i))] = endpoint_of(c, i);
    }
}

static void forget_those_out_of(uint32_t count, unsigned offset) {
    static bool is_there[NAMES];
    memset(is_there, 0, sizeof is_there);
    for (uint32_t i = 0; i < count; i++)
        is_there[(i + offset) % NAMES] = true;
    for (unsigned i = 0; i < NAMES; i++)
        is_numbered[i] = is_numbered[i] && is_there[i];
}

/* `count` endpoints from the one with this number on. */
static struct cluster_runtime *bring_from(unsigned offset, uint32_t count) {
    static struct endpoint_definition turned[NAMES];
    for (unsigned i = 0; i < count; i++)
        turned[i] = many[(i + offset) % NAMES];
    newest = d.cluster.members = make_members(&d.rules, turned, count, newest);
    d.cluster.serial = ++next_serial;
    forget_those_out_of(count, offset);
    return cluster_of(&worker, &d.cluster);
}

/* Large and small changes at random, before the last is done: places, weights, use, priorities, balancers. */
static void change_at_random(void) {
    unsigned what = worker_random(&worker) % 6, from = worker_random(&worker) % NAMES;
    for (unsigned i = from; what == 0 && i < NAMES; i++)
        many[i].is_usable = !many[i].is_draining && worker_random(&worker) % 4;
    for (unsigned i = from; what == 1 && i < NAMES; i++)
        many[i].priority ^= i % 3 == 0;
    if (what == 2)
        reweight_all();
    if (what == 3)
        d.rules.kind = kinds[worker_random(&worker) % KINDS];
    many[from].weight = 7; /* at least one changes */
}

static void changes_may_come_before_the_last_is_done(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    note_first(c);
    begin_some(c);
    for (unsigned round = 0; round < 60; round++) {
        unsigned offset = round % 3 ? 0 : worker_random(&worker) % NAMES;
        change_at_random();
        assert_ptr_equal(bring_from(offset, MANY - worker_random(&worker) % 40), c);
        check_counts(c);
        check_endpoints(c);
        for (unsigned turns = worker_random(&worker) % 12; turns && worker.mailbox_first; turns--) {
            go_on_with_some(c);
            turn();
        }
    }
    worker_empty_mailbox(&worker);
    check_all(c);
    check_heaps(c);
    unsigned kept = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        if (is_numbered[number_of(endpoint_of(c, i))]) {
            assert_ptr_equal(endpoint_of(c, i), first[number_of(endpoint_of(c, i))]);
            kept++;
        }
    assert_true(kept > MANY / 8);
    end_all();
    assert_int_equal(c->gone, 0);
}

/* The definition between was missed, so all is looked up. */
static void a_missed_change_is_made_up_for(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    note_first(c);
    for (unsigned round = 0; round < 3; round++) {
        reweight_all();
        newest = make_members(&d.rules, many, MANY, newest);
        many[round].weight = 9;
        assert_ptr_equal(bring_from(round * 7, MANY - 20), c);
        check_all(c);
        turn();
    }
    finish_by_turns(c);
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        if (is_numbered[number_of(endpoint_of(c, i))])
            assert_ptr_equal(endpoint_of(c, i), first[number_of(endpoint_of(c, i))]);
}

/* ---- pools ---- */

static void kept_connections_stay_with_those_that_stay(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_RANDOM, MANY);
    struct client_connection *kept[20];
    for (unsigned i = 0; i < 20; i++)
        kept[i] = keep(endpoint_of(c, i * 200));
    for (unsigned i = 0; i < NAMES; i++)
        many[i].weight += i % 2;
    bring_from(100, MANY - 200); /* number 0 leaves */
    worker_empty_mailbox(&worker);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(is_open(kept[i]), i > 0);
    for (unsigned i = 1; i < 20; i++) {
        assert_ptr_equal(take(endpoint_of(c, i * 200 - 100)), kept[i]);
        kept[i]->owner->on_available(kept[i]);
    }
}

static void those_that_leave_close_what_they_keep_and_end_what_they_carry(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    struct client_connection *kept = keep(endpoint_of(c, 3)), *used = keep(endpoint_of(c, 4));
    assert_ptr_equal(take(endpoint_of(c, 4)), used);
    endpoint_began(used->endpoint);
    replace_all(99);
    bring_count(MANY);
    worker_empty_mailbox(&worker);
    assert_false(is_open(kept));
    assert_true(is_open(used));
    assert_int_equal(c->gone, 1);
    struct endpoint_runtime *e = used->endpoint;
    used->owner->on_available(used);
    assert_false(is_open(used));
    endpoint_ended(e, ENDPOINT_SUCCESS, 10);
    assert_int_equal(c->gone, 0);
}

/* What is kept where nobody is sent any more gives its place to one that is needed. */
static void a_bound_of_connections_counts_those_that_leave(void **state) {
    (void)state;
    define_many(BALANCE_FIRST);
    d.cluster.breakers.connections = 1;
    struct cluster_runtime *c = bring_count(MANY);
    worker_empty_mailbox(&worker);
    struct client_connection *kept = keep(endpoint_of(c, MANY - 1));
    reweight_all();
    bring_count(MANY);
    struct client_connection *next = keep(cluster_pick(c, &any_endpoint));
    assert_false(is_open(kept));
    replace_all(90);
    bring_count(MANY);
    keep(cluster_pick(c, &any_endpoint));
    assert_false(is_open(next));
}

/* ---- the end ---- */

static void a_large_cluster_is_dropped_by_and_by(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_ROUND_ROBIN, MANY);
    struct client_connection *used = keep(endpoint_of(c, 9)), *kept = keep(endpoint_of(c, 10));
    assert_ptr_equal(take(endpoint_of(c, 9)), used);
    struct endpoint_runtime *e = used->endpoint;
    endpoint_began(e);
    cluster_drop(&worker, d.cluster.slot);
    assert_non_null(c->leaving);
    unsigned turns = 0;
    for (; worker.mailbox_first; turns++)
        turn();
    assert_in_range(turns, MANY / SLICE, MANY / SLICE + 5);
    assert_false(is_open(kept));
    endpoint_ended(e, ENDPOINT_TIMEOUT, 0);
    used->owner->on_available(used); /* frees the cluster */
}

/* What to connect by goes with the definition, which does not wait for those that have not left yet. */
static void who_waits_at_the_drop_gets_no_connection_beside_that(void **state) {
    (void)state;
    struct client_waiter w = {0};
    define_many(BALANCE_ROUND_ROBIN);
    d.cluster.fallback = (struct fallback_rules){.codec = &fake_codec, .after = SECOND, .remember = SECOND,
                                                 .remember_most = SECOND};
    struct cluster_runtime *c = bring_count(MANY);
    worker_empty_mailbox(&worker);
    struct endpoint_runtime *e = endpoint_of(c, 0);
    assert_int_equal(pool_wait(e, 17, &w), 0);
    cluster_drop(&worker, d.cluster.slot);
    assert_false(e->is_retired);
    worker.now += 2 * SECOND;
    wheel_advance(&worker.wheel, worker.now);
    assert_int_equal(connection_count, 1);
    assert_non_null(w.connection);
    pool_forget_waiter(&w);
    worker_empty_mailbox(&worker);
}

/* Who has not left yet when the last word of a request comes says nothing more. */
static void what_ends_after_the_drop_arms_no_timer(void **state) {
    (void)state;
    define_many(BALANCE_ROUND_ROBIN);
    d.cluster.outliers = (struct outlier_rules){.is_on = true, .has_intervals = true, .interval = SECOND, .min_requests = 1,
                                                .consecutive_5xx = 1, .base_ejection = SECOND, .max_ejection = SECOND,
                                                .max_ejected_percent = 100};
    struct cluster_runtime *c = bring_count(MANY);
    worker_empty_mailbox(&worker);
    begin_some(c);
    cluster_drop(&worker, d.cluster.slot);
    for (unsigned i = 0; i < sizeof busy / sizeof *busy; i++)
        endpoint_ended(busy[i], ENDPOINT_5XX, 100);
    assert_int_equal(worker.wheel.count, 0);
    worker_empty_mailbox(&worker);
    assert_int_equal(worker.wheel.count, 0);
}

static void a_cluster_may_leave_and_come_back_meanwhile(void **state) {
    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        struct cluster_runtime *c = bring_whole(kinds[round % KINDS], MANY);
        begin_some(c);
        reweight_all();
        bring_count(MANY);
        turn();
        cluster_drop(&worker, d.cluster.slot);
        if (round % 2)
            turn();
        newest = NULL;
        struct cluster_runtime *again = bring_count(MANY);
        assert_ptr_not_equal(again, c);
        end_all();
        finish_by_turns(again);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* The worker ends in the middle; whatever is left is a leak. */
static void the_worker_may_end_meanwhile(void **state) {
    (void)state;
    bring_whole(BALANCE_LEAST_CONNECTIONS, MANY);
    cluster_drop(&worker, d.cluster.slot);
    turn();
    newest = NULL;
    define_many(BALANCE_ROUND_ROBIN);
    bring_count(MANY);
    worker_empty_mailbox(&worker);
    replace_all(85);
    bring_count(MANY);
    turn();
}

/* Several clusters have one budget. */
static void clusters_share_a_turn(void **state) {
    (void)state;
    static struct cluster_definition other;
    struct cluster_runtime *c = bring_whole(BALANCE_RANDOM, MANY);
    other = d.cluster;
    other.slot = 4;
    struct cluster_runtime *second = cluster_of(&worker, &other);
    worker_empty_mailbox(&worker);
    reweight_all();
    bring_count(MANY);
    other.members = d.cluster.members;
    other.serial = ++next_serial;
    assert_ptr_equal(cluster_of(&worker, &other), second);
    for (unsigned turns = 0; worker.mailbox_first; turns++) {
        uint32_t made = count_made(c) + count_made(second);
        turn();
        assert_true(count_made(c) + count_made(second) - made <= SLICE);
        assert_true(turns < MANY);
    }
    assert_int_equal(count_made(c) + count_made(second), 2 * MANY);
    cluster_drop(&worker, other.slot);
}

/* ---- memory ---- */

/* Whichever allocation fails, the change has happened as a whole or not at all, and goes on later. */
static void lack_of_memory_leaves_one_or_the_other(void **state) {
    (void)state;
    static const enum balance_kind some[] = {BALANCE_ROUND_ROBIN, BALANCE_MAGLEV};
    for (unsigned round = 0; round < 2 * 14; round++) {
        struct cluster_runtime *c = bring_whole(some[round % 2], MANY);
        begin_some(c);
        const struct cluster_members *before = c->members;
        for (unsigned i = 0; i < NAMES; i++)
            many[i].hostname = STR("other.example"); /* takes memory for each */
        replace_all(80 + round % 4);
        newest = d.cluster.members = make_members(&d.rules, many, MANY - 9, newest);
        d.cluster.serial = ++next_serial;
        hg_alloc_fail_at((long)(round / 2), 1);
        assert_ptr_equal(cluster_of(&worker, &d.cluster), c);
        assert_true(c->members == d.cluster.members || c->members == before);
        turn();
        count_made(c);
        check_counts(c);
        hg_alloc_fail_at(-1, 0);
        pick_some(c, 3);
        assert_ptr_equal(cluster_of(&worker, &d.cluster), c);
        assert_ptr_equal(c->members, d.cluster.members);
        worker.now += (round + 1) * SECOND; /* the loop's turns set it back */
        wheel_advance(&worker.wheel, worker.now);
        worker_empty_mailbox(&worker);
        assert_int_equal(count_made(c), MANY - 9);
        check_all(c);
        end_all();
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* All of a group's are ejected, which the worker sees only as it takes them over: then it is panic, not an error. */
static void panic_is_seen_in_the_middle(void **state) {
    (void)state;
    struct cluster_runtime *c = bring_whole(BALANCE_RANDOM, MANY);
    for (unsigned i = 0; i < MANY; i++)
        atomic_store(&newest->endpoints[i].shared->ejected_until, worker.now + 100 * SECOND);
    reweight_all();
    bring_count(MANY);
    assert_non_null(cluster_pick(c, &any_endpoint));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, back_set_up, back_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(all_get_another_weight_by_and_by),
        TEST(a_group_that_nobody_has_come_to_is_followed),
        TEST(who_is_replaced_is_not_chosen_any_more),
        TEST(turns_stay),
        TEST(what_is_under_way_is_counted_all_the_time),
        TEST(changes_may_come_before_the_last_is_done),
        TEST(a_missed_change_is_made_up_for),
        TEST(kept_connections_stay_with_those_that_stay),
        TEST(those_that_leave_close_what_they_keep_and_end_what_they_carry),
        TEST(a_bound_of_connections_counts_those_that_leave),
        TEST(a_large_cluster_is_dropped_by_and_by),
        TEST(who_waits_at_the_drop_gets_no_connection_beside_that),
        TEST(what_ends_after_the_drop_arms_no_timer),
        TEST(a_cluster_may_leave_and_come_back_meanwhile),
        TEST(the_worker_may_end_meanwhile),
        TEST(clusters_share_a_turn),
        TEST(lack_of_memory_leaves_one_or_the_other),
        TEST(panic_is_seen_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
