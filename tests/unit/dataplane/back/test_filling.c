/* Clusters of very many endpoints: the worker makes them some at a time, and no choice waits for that. */
#include "tests/unit/dataplane/back/many_endpoints.h"

static void the_first_use_makes_a_few_and_turns_make_the_rest(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        define_many(kinds[k]);
        struct cluster_runtime *c = bring_count(MANY);
        assert_int_equal(count_made(c), SLICE);
        check_counts(c);
        pick_some(c, 10);
        assert_true(count_made(c) <= SLICE + 20);
        for (uint32_t made = count_made(c), turns = 0; made < MANY; made = count_made(c), turns++) {
            turn();
            assert_in_range(count_made(c) - made, 1, SLICE);
            check_counts(c);
            pick_some(c, 1);
            assert_true(turns < MANY);
        }
        check_counts(c);
        pick_some(c, 100);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* The key goes to the same endpoint before and after the rest are made. */
static void keys_have_their_endpoint_from_the_beginning(void **state) {
    (void)state;
    for (enum balance_kind kind = BALANCE_RING_HASH; kind <= BALANCE_MAGLEV; kind++) {
        const struct endpoint_runtime *first[200];
        define_many(kind);
        struct cluster_runtime *c = bring_count(MANY);
        for (uint64_t i = 0; i < 200; i++)
            first[i] = cluster_pick(c, &(struct pick){.hash = i * 0x9e3779b97f4a7c15u, .has_hash = true});
        worker_empty_mailbox(&worker);
        assert_int_equal(count_made(c), MANY);
        for (uint64_t i = 0; i < 200; i++)
            assert_ptr_equal(first[i], cluster_pick(c, &(struct pick){.hash = i * 0x9e3779b97f4a7c15u, .has_hash = true}));
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* Some leave, some come, some become another, while the rest are being made; every count is as if all had been there. */
static void changes_meanwhile_are_counted(void **state) {
    (void)state;
    for (unsigned k = 0; k < KINDS; k++) {
        define_many(kinds[k]);
        struct cluster_runtime *c = bring_count(MANY);
        for (unsigned round = 0; round < 12; round++) {
            unsigned a = worker_random(&worker) % MANY, b = worker_random(&worker) % MANY;
            struct endpoint_definition other = many[a];
            many[a] = many[b], many[b] = other;                    /* places */
            many[b].is_usable = !many[b].is_usable && !many[b].is_draining;
            many[worker_random(&worker) % MANY].weight = 5;
            many[worker_random(&worker) % MANY].priority ^= 1;
            assert_ptr_equal(bring_count(MANY - round % 3 + (round % 4 == 0) * SPARE), c);
            check_counts(c);
            pick_some(c, 5);
            if (round % 2)
                turn();
        }
        worker_empty_mailbox(&worker);
        assert_int_equal(count_made(c), c->endpoint_count);
        check_counts(c);
        cluster_drop(&worker, d.cluster.slot);
    }
}

/* A definition in between was missed, so everything is looked up by address. */
static void a_change_that_was_missed_is_counted(void **state) {
    (void)state;
    define_many(BALANCE_LEAST_CONNECTIONS);
    struct cluster_runtime *c = bring_count(MANY);
    newest = make_members(&d.rules, many, MANY - 7, newest);
    many[3].weight = 9;
    assert_ptr_equal(bring_count(MANY - 20), c);
    assert_int_equal(c->endpoint_count, MANY - 20);
    count_made(c);
    check_counts(c);
    worker_empty_mailbox(&worker);
    check_counts(c);
}

/* Those that were there stay, with what is under way. */
static void growth_leaves_those_that_are_there(void **state) {
    (void)state;
    define_many(BALANCE_ROUND_ROBIN);
    struct cluster_runtime *c = bring_count(50);
    assert_int_equal(count_made(c), 50);
    struct candidate *before[50];
    memcpy(before, c->endpoints, sizeof before);
    struct endpoint_runtime *busy = cluster_pick(c, &any_endpoint);
    endpoint_began(busy);
    assert_ptr_equal(bring_count(MANY), c);
    assert_memory_equal(before, c->endpoints, sizeof before);
    assert_int_equal(count_made(c), 50 + SLICE);
    assert_int_equal(busy->candidate.active, 1);
    check_counts(c);
    endpoint_ended(busy, ENDPOINT_SUCCESS, 10);
    worker_empty_mailbox(&worker);
    assert_int_equal(count_made(c), MANY);
}

static void up_to_a_thousand_are_made_at_once(void **state) {
    (void)state;
    define_many(BALANCE_RANDOM);
    assert_int_equal(count_made(bring_count(AT_ONCE)), AT_ONCE);
}

/* One that another worker has ejected is passed over as soon as it is there, and counted so. */
static void ejected_ones_are_noticed_as_they_come(void **state) {
    (void)state;
    define_many(BALANCE_ROUND_ROBIN);
    newest = d.cluster.members = make_members(&d.rules, many, MANY, NULL);
    for (unsigned i = 0; i < MANY; i++)
        if (i % 2)
            atomic_store(&newest->endpoints[i].shared->ejected_until, worker.now + SECOND);
    d.cluster.serial = ++next_serial;
    struct cluster_runtime *c = cluster_of(&worker, &d.cluster);
    pick_some(c, 50);
    worker_empty_mailbox(&worker);
    uint32_t available = 0;
    for (unsigned i = 0; i < MANY; i += 2)
        available += many[i].is_usable;
    uint32_t counted = 0;
    for (uint32_t g = 0; g < c->group_count; g++)
        counted += c->groups[g]->available;
    assert_int_equal(counted, available);
}

/* Without memory for one the others wait, and go on later; choices are made among those that are there. */
static void lack_of_memory_puts_the_rest_off(void **state) {
    (void)state;
    define_many(BALANCE_ROUND_ROBIN);
    struct cluster_runtime *c = bring_count(MANY);
    hg_alloc_fail_at(10, 1);
    turn();
    uint32_t made = count_made(c);
    assert_in_range(made, SLICE, SLICE + 10);
    pick_some(c, 100);
    turn();
    assert_int_equal(count_made(c), made);
    check_counts(c);
    hg_alloc_fail_at(-1, 0);
    worker.now += SECOND;
    wheel_advance(&worker.wheel, worker.now);
    worker_empty_mailbox(&worker);
    assert_int_equal(count_made(c), MANY);
    check_counts(c);
}

/* It goes while it waits for memory. */
static void a_cluster_that_leaves_waits_for_no_memory(void **state) {
    (void)state;
    define_many(BALANCE_ROUND_ROBIN);
    bring_count(MANY);
    hg_alloc_fail_at(10, 1);
    turn();
    assert_int_equal(worker.wheel.count, 1);
    cluster_drop(&worker, d.cluster.slot);
    assert_int_equal(worker.wheel.count, 0);
    hg_alloc_fail_at(-1, 0);
}

/* It goes while a message is on its way. */
static void a_cluster_that_leaves_is_not_filled(void **state) {
    (void)state;
    define_many(BALANCE_ROUND_ROBIN);
    bring_count(MANY);
    cluster_drop(&worker, d.cluster.slot);
    worker_empty_mailbox(&worker);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, back_set_up, back_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_first_use_makes_a_few_and_turns_make_the_rest),
        TEST(keys_have_their_endpoint_from_the_beginning),
        TEST(changes_meanwhile_are_counted),
        TEST(a_change_that_was_missed_is_counted),
        TEST(growth_leaves_those_that_are_there),
        TEST(up_to_a_thousand_are_made_at_once),
        TEST(ejected_ones_are_noticed_as_they_come),
        TEST(lack_of_memory_puts_the_rest_off),
        TEST(a_cluster_that_leaves_waits_for_no_memory),
        TEST(a_cluster_that_leaves_is_not_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
