/* Whose turn it is, and what survives a change of a cluster's definition. */
#include "tests/unit/dataplane/back/fake_codec.h"

enum { PORT_MOST = 64 };

static const uint32_t equal[] = {1, 1, 1, 1, 1, 1, 1, 1};

/* How often each port is picked in `picks` turns. */
static void count_picks(struct cluster_runtime *c, unsigned picks, unsigned ret_counts[PORT_MOST]) {
    memset(ret_counts, 0, PORT_MOST * sizeof *ret_counts);
    for (unsigned i = 0; i < picks; i++) {
        unsigned port = port_of(cluster_pick(c, &any_endpoint));
        assert_true(port > 0 && port < PORT_MOST);
        ret_counts[port]++;
    }
}

static struct endpoint_runtime *pick_port(struct cluster_runtime *c, unsigned port) {
    for (int i = 0; i < 1000; i++) {
        struct endpoint_runtime *e = cluster_pick(c, &any_endpoint);
        if (port_of(e) == port)
            return e;
    }
    fail_msg("port %u is never picked", port);
    return NULL;
}

static bool is_picked(struct cluster_runtime *c, unsigned port) {
    unsigned counts[PORT_MOST];
    count_picks(c, 1000, counts);
    return counts[port] > 0;
}

/* A connection of this port that is in use. */
static struct client_connection *use(struct cluster_runtime *c, unsigned port) {
    struct client_connection *link = connect_for_nobody(pick_port(c, port), 17);
    assert_non_null(link);
    report_connected(link);
    assert_ptr_equal(take(link->endpoint), link);
    return link;
}

/* A connection of this port that is kept. */
static struct client_connection *keep(struct cluster_runtime *c, unsigned port) {
    struct client_connection *link = use(c, port);
    link->owner->on_available(link);
    return link;
}

/* ---- turns ---- */

/* At every moment each endpoint has had its share, give or take two turns. */
static void assert_fair(const uint32_t *weights, unsigned count) {
    struct definition d;
    unsigned counts[PORT_MOST] = {0}, total = 0;
    define(&d, count, weights);
    struct cluster_runtime *c = bring(&d);
    for (unsigned i = 0; i < count; i++)
        total += weights[i];
    for (unsigned turn = 1; turn <= 20 * total; turn++) {
        counts[port_of(cluster_pick(c, &any_endpoint))]++;
        for (unsigned i = 0; i < count; i++) {
            double share = (double)turn * weights[i] / total;
            assert_true(counts[i + 1] > share - 2 && counts[i + 1] < share + 2);
        }
    }
    cluster_drop(&worker, d.cluster.slot);
}

static void turns_follow_the_weights_all_the_time(void **state) {
    (void)state;
    static const uint32_t tables[][8] = {{1, 1, 1, 1, 1, 1, 1, 1}, {5, 1, 1}, {3, 1},
                                         {100, 1, 1, 50},          {7, 7, 7}, {1}};
    static const unsigned counts[] = {8, 3, 2, 4, 3, 1};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        assert_fair(tables[i], counts[i]);
}

/* a b a b, not a a b b: with 5, 1 and 1 the heavy one never has more than four turns in a row. */
static void turns_of_a_heavy_endpoint_are_spread(void **state) {
    (void)state;
    struct definition d;
    define(&d, 3, (const uint32_t[]){5, 1, 1});
    struct cluster_runtime *c = bring(&d);
    for (int turn = 0, run = 0; turn < 700; turn++) {
        run = port_of(cluster_pick(c, &any_endpoint)) == 1 ? run + 1 : 0;
        assert_true(run <= 5);
    }
}

static void another_one_is_picked_while_there_is_one(void **state) {
    (void)state;
    struct definition d;
    define(&d, 3, (const uint32_t[]){50, 1, 1});
    struct cluster_runtime *c = bring(&d);
    for (int i = 0; i < 200; i++) {
        struct endpoint_runtime *first = cluster_pick(c, &any_endpoint);
        assert_ptr_not_equal(cluster_pick(c, &(struct pick){.tried = {first}, .tried_count = 1}), first);
    }
    define(&d, 1, equal);
    c = bring(&d);
    struct endpoint_runtime *only = cluster_pick(c, &any_endpoint);
    assert_ptr_equal(cluster_pick(c, &(struct pick){.tried = {only}, .tried_count = 1}), only);
}

static void cluster_without_endpoints_has_none(void **state) {
    (void)state;
    struct definition d;
    define(&d, 0, equal);
    assert_null(cluster_pick(bring(&d), &any_endpoint));
    define(&d, 2, equal);
    d.endpoints[0].is_usable = d.endpoints[1].is_usable = false;
    d.rules.panic_threshold = 0;
    assert_null(cluster_pick(bring(&d), &any_endpoint));
}

/* ---- changes ---- */

static void change_of_a_timeout_resets_nothing(void **state) {
    (void)state;
    struct definition d;
    define(&d, 4, (const uint32_t[]){4, 3, 2, 1});
    struct cluster_runtime *c = bring(&d);
    struct client_connection *kept = keep(c, 2);
    struct endpoint_runtime *e[5];
    double times[5];
    for (unsigned port = 1; port <= 4; port++)
        e[port] = pick_port(c, port);
    for (unsigned port = 1; port <= 4; port++)
        times[port] = turn_of(e[port]);
    d.cluster.serial = ++next_serial;
    d.cluster.idle_timeout = 77;
    assert_ptr_equal(bring(&d), c);
    assert_int_equal(c->idle_timeout, 77);
    for (unsigned port = 1; port <= 4; port++)
        assert_true(turn_of(e[port]) == times[port]);
    for (unsigned port = 1; port <= 4; port++)
        assert_ptr_equal(pick_port(c, port), e[port]);
    assert_true(is_open(kept));
    assert_ptr_equal(take(e[2]), kept);
    kept->owner->on_available(kept);
}

static void new_endpoint_gets_its_share_and_no_flood(void **state) {
    (void)state;
    struct definition d;
    unsigned counts[PORT_MOST];
    define(&d, 4, equal);
    struct cluster_runtime *c = bring(&d);
    count_picks(c, 1000, counts);
    d.cluster.serial = ++next_serial;
    add_endpoint(&d, 9, 2);
    bring(&d);
    count_picks(c, 12, counts);
    assert_in_range(counts[9], 2, 6);
    count_picks(c, 600, counts);
    assert_in_range(counts[9], 198, 202);
    for (unsigned port = 1; port <= 4; port++)
        assert_in_range(counts[port], 98, 102);
}

static void endpoint_that_comes_back_makes_up_for_nothing(void **state) {
    (void)state;
    struct definition d;
    unsigned counts[PORT_MOST];
    define(&d, 2, equal);
    struct cluster_runtime *c = bring(&d);
    struct client_connection *kept = keep(c, 2);
    d.cluster.serial = ++next_serial;
    d.endpoints[1].is_usable = false;
    bring(&d);
    assert_false(is_picked(c, 2));
    assert_true(is_open(kept));
    d.cluster.serial = ++next_serial;
    d.endpoints[1].is_usable = true;
    bring(&d);
    count_picks(c, 10, counts);
    assert_in_range(counts[2], 4, 6);
    assert_ptr_equal(take(pick_port(c, 2)), kept);
    kept->owner->on_available(kept);
}

static void weights_change_in_place(void **state) {
    (void)state;
    struct definition d;
    unsigned counts[PORT_MOST];
    define(&d, 2, equal);
    struct cluster_runtime *c = bring(&d);
    struct endpoint_runtime *e = pick_port(c, 1);
    d.cluster.serial = ++next_serial;
    d.endpoints[0].weight = 3;
    d.endpoints[0].hostname = STR("other.example");
    bring(&d);
    assert_ptr_equal(pick_port(c, 1), e);
    assert_true(str_eq(e->hostname, STR("other.example")));
    count_picks(c, 400, counts);
    assert_in_range(counts[1], 298, 302);
}

static void removed_endpoint_ends_its_work_and_is_gone(void **state) {
    (void)state;
    struct definition d;
    define(&d, 3, equal);
    struct cluster_runtime *c = bring(&d);
    struct client_connection *idle = keep(c, 1), *busy = use(c, 1), *other = keep(c, 2);
    d.cluster.serial = ++next_serial;
    d.endpoints[0] = d.endpoints[2];
    d.count = 2; /* 3 and 2 are left */
    bring(&d);
    assert_false(is_open(idle));
    assert_true(is_open(busy) && is_open(other));
    assert_false(is_picked(c, 1));
    assert_int_equal(c->gone, 1);
    busy->owner->on_available(busy);
    assert_false(is_open(busy));
    assert_int_equal(c->gone, 0);
}

static void endpoint_that_was_removed_and_comes_back_is_new(void **state) {
    (void)state;
    struct definition d;
    define(&d, 2, equal);
    struct cluster_runtime *c = bring(&d);
    struct client_connection *busy = use(c, 2);
    d.cluster.serial = ++next_serial;
    d.count = 1;
    bring(&d);
    d.cluster.serial = ++next_serial;
    d.count = 2;
    bring(&d);
    assert_ptr_not_equal(pick_port(c, 2), busy->endpoint);
    assert_int_equal(pick_port(c, 2)->connections, 0);
    report_closed(busy);
    assert_int_equal(c->gone, 0);
    assert_true(is_picked(c, 2));
}

static void older_definition_brings_nothing_back(void **state) {
    (void)state;
    struct definition older, newer;
    define(&older, 3, equal);
    define(&newer, 2, equal);
    struct cluster_runtime *c = bring(&older);
    assert_true(is_picked(c, 3));
    assert_ptr_equal(bring(&newer), c);
    assert_ptr_equal(bring(&older), c);
    assert_false(is_picked(c, 3));
}

static void dropped_cluster_closes_its_pool_and_lets_work_end(void **state) {
    (void)state;
    struct definition d;
    define(&d, 2, equal);
    struct cluster_runtime *c = bring(&d);
    struct client_connection *idle = keep(c, 1), *busy = use(c, 1),
                             *connecting = connect_for_nobody(pick_port(c, 2), 17);
    cluster_drop(&worker, d.cluster.slot);
    cluster_drop(&worker, d.cluster.slot);
    cluster_drop(&worker, 1000);
    assert_false(is_open(idle));
    assert_true(is_open(busy));
    assert_false(is_open(connecting)); /* nobody waits for it */
    report_closed(busy);
    define(&d, 2, equal); /* the name may come back */
    assert_non_null(cluster_pick(bring(&d), &any_endpoint));
}

/* A retry of an exchange that began before the cluster left. */
static void older_exchange_gets_a_dropped_cluster_for_the_turn_only(void **state) {
    (void)state;
    struct definition d;
    define(&d, 2, equal);
    bring(&d);
    cluster_drop(&worker, d.cluster.slot);
    struct cluster_runtime *c = cluster_of_older(&worker, complete(&d));
    struct client_connection *busy = use(c, 1);
    assert_ptr_equal(cluster_of_older(&worker, complete(&d)), c); /* another one in the same turn */
    struct client_connection *other = use(c, 2);
    worker_end_turn(&worker);
    assert_null(table.slots[d.cluster.slot]);
    busy->owner->on_available(busy);
    assert_false(is_open(busy)); /* nothing is kept for a cluster that is gone */
    report_closed(other);
    cluster_of_older(&worker, complete(&d)); /* nobody uses this one */
    worker_end_turn(&worker);
    assert_null(table.slots[d.cluster.slot]);
}

static void older_exchange_does_not_end_what_the_newest_uses(void **state) {
    (void)state;
    struct definition older, newer;
    define(&older, 1, equal);
    define(&newer, 2, equal);
    struct cluster_runtime *c = cluster_of_older(&worker, complete(&older));
    assert_ptr_equal(bring(&newer), c); /* the name comes back in the same turn */
    struct client_connection *kept = keep(c, 2);
    worker_end_turn(&worker);
    assert_ptr_equal(cluster_of_older(&worker, complete(&older)), c);
    worker_end_turn(&worker);
    assert_ptr_equal(bring(&newer), c);
    assert_true(is_open(kept));
}

/* What workers share of the name is made anew when it comes back. */
static void name_that_comes_back_is_another_cluster(void **state) {
    (void)state;
    struct definition older, newer;
    define(&older, 1, equal);
    define(&newer, 1, equal);
    newer.cluster.shared = cluster_shared_create(newer.cluster.name);
    struct cluster_runtime *passing = cluster_of_older(&worker, complete(&older));
    struct client_connection *busy = use(passing, 1);
    struct cluster_runtime *c = bring(&newer);
    assert_ptr_equal(c->shared, newer.cluster.shared);
    assert_true(passing->is_dropped);
    worker_end_turn(&worker);
    assert_ptr_equal(bring(&newer), c);
    report_closed(busy);
    cluster_drop(&worker, newer.cluster.slot);
    cluster_shared_unref(newer.cluster.shared);
}

static void cluster_of_an_older_exchange_may_be_dropped_in_the_same_turn(void **state) {
    (void)state;
    struct definition d;
    define(&d, 1, equal);
    cluster_of_older(&worker, complete(&d));
    cluster_drop(&worker, d.cluster.slot);
    struct cluster_runtime *again = bring(&d);
    worker_end_turn(&worker);
    assert_ptr_equal(bring(&d), again);
    cluster_drop(&worker, d.cluster.slot);
    struct client_connection *busy = use(cluster_of_older(&worker, complete(&d)), 1);
    clusters_finish(&worker);
    report_closed(busy);
}

/* ---- memory ---- */

static void first_use_without_memory(void **state) {
    (void)state;
    struct definition d;
    define(&d, 5, equal);
    complete(&d);
    for (long nth = 0;; nth++) {
        uint64_t before = hg_alloc_count();
        hg_alloc_fail_at(nth, 0);
        struct cluster_runtime *c = bring(&d);
        hg_alloc_fail_at(-1, 0);
        bool failed = hg_alloc_count() - before > (uint64_t)nth;
        if (c)
            cluster_pick(c, &any_endpoint); /* an endpoint or none, but never one that is freed */
        assert_true(is_picked(bring(&d), 5));
        cluster_drop(&worker, d.cluster.slot);
        clusters_finish(&worker);
        if (!failed)
            break;
    }
}

/* One endpoint goes, one comes, one gets another name, with connections kept and in use. */
static void change_without_memory_harms_nobody(void **state) {
    (void)state;
    bool failed = true;
    for (long nth = 0; failed; nth++) {
        struct definition before, after;
        connection_count = 0;
        define(&before, 3, equal);
        struct cluster_runtime *c = bring(&before);
        struct client_connection *idle = keep(c, 1), *busy[] = {use(c, 1), use(c, 2), use(c, 3)};
        define(&after, 2, equal);
        add_endpoint(&after, 9, 1);
        after.endpoints[0].hostname = STR("new.example");
        complete(&after);
        uint64_t count = hg_alloc_count();
        hg_alloc_fail_at(nth, 0);
        assert_ptr_equal(bring(&after), c);
        hg_alloc_fail_at(-1, 0);
        failed = hg_alloc_count() - count > (uint64_t)nth;
        cluster_pick(c, &any_endpoint);
        for (unsigned i = 0; i < 3; i++)
            report_closed(busy[i]); /* in the middle of it all */
        bring(&after);
        assert_true(is_picked(c, 9) && is_picked(c, 1) && is_picked(c, 2) && !is_picked(c, 3));
        assert_true(is_open(idle));
        cluster_drop(&worker, after.cluster.slot);
        assert_false(is_open(idle));
    }
}

static void dropping_needs_no_memory(void **state) {
    (void)state;
    struct definition d;
    define(&d, 3, equal);
    struct cluster_runtime *c = bring(&d);
    struct client_connection *idle = keep(c, 1), *busy = use(c, 2);
    hg_alloc_fail_at(0, 1);
    cluster_drop(&worker, d.cluster.slot);
    assert_false(is_open(idle));
    report_closed(busy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(turns_follow_the_weights_all_the_time, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(turns_of_a_heavy_endpoint_are_spread, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(another_one_is_picked_while_there_is_one, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(cluster_without_endpoints_has_none, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(change_of_a_timeout_resets_nothing, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(new_endpoint_gets_its_share_and_no_flood, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(endpoint_that_comes_back_makes_up_for_nothing, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(weights_change_in_place, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(removed_endpoint_ends_its_work_and_is_gone, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(endpoint_that_was_removed_and_comes_back_is_new, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(older_definition_brings_nothing_back, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(dropped_cluster_closes_its_pool_and_lets_work_end, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(older_exchange_gets_a_dropped_cluster_for_the_turn_only, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(older_exchange_does_not_end_what_the_newest_uses, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(name_that_comes_back_is_another_cluster, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(cluster_of_an_older_exchange_may_be_dropped_in_the_same_turn, back_set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(first_use_without_memory, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(change_without_memory_harms_nobody, back_set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(dropping_needs_no_memory, back_set_up, back_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
