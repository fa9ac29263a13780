/* Clusters that snapshots change and drop, on a worker that is turned by hand. */
#include "tests/unit/dataplane/back/fake_codec.h"

#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/sweep.h"

enum { CLUSTERS = 200, ENDPOINTS = ENDPOINTS_MOST };

static struct definition definitions[CLUSTERS], newer[CLUSTERS];
static struct cluster_definition *changed[CLUSTERS];
static uint32_t dropped[CLUSTERS];
static struct snapshot first, second;
static struct snapshot_view first_view, second_view;
static struct sweep sweep;
static unsigned quiet;

static void count_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
    quiet++;
}

static void make(struct definition *d, uint32_t slot, uint32_t weight) {
    uint32_t weights[ENDPOINTS];
    for (unsigned i = 0; i < ENDPOINTS; i++)
        weights[i] = weight;
    define(d, ENDPOINTS, weights);
    d->cluster.slot = slot;
    complete(d);
}

/* All clusters have run-time state. */
static int set_up(void **state) {
    if (back_set_up(state) < 0)
        return -1;
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        make(&definitions[i], i, 1);
        if (!bring(&definitions[i]))
            return -1;
        make(&newer[i], i, 2);
        changed[i] = &newer[i].cluster;
        dropped[i] = i;
    }
    first = second = (struct snapshot){0};
    first_view = (struct snapshot_view){.snapshot = &first, .references = 1, .quiet = count_quiet};
    second_view = (struct snapshot_view){.snapshot = &second, .references = 1, .quiet = count_quiet};
    sweep = (struct sweep){0};
    quiet = 0;
    return 0;
}

static unsigned count_left(void) {
    unsigned left = 0;
    for (size_t i = 0; i < table.capacity; i++)
        left += table.slots[i] != NULL;
    return left;
}

static unsigned count_reconciled(void) {
    unsigned count = 0;
    for (unsigned i = 0; i < CLUSTERS; i++)
        count += table.slots[i] && table.slots[i]->serial == newer[i].cluster.serial;
    return count;
}

static void turn(void) {
    ev_run(worker.loop, EVRUN_NOWAIT);
}

/* Each turn does some of it and not much, and the last one lets the snapshot go. */
static void assert_in_slices(unsigned (*count_undone)(void)) {
    unsigned slices = 0, before = CLUSTERS;
    for (unsigned left; (left = count_undone()) > 0; before = left, slices++) {
        assert_true(left < before && before - left <= CLUSTERS / 4);
        assert_int_equal(first_view.references, 2);
        turn();
    }
    assert_true(slices >= 3);
    turn();
    assert_int_equal(first_view.references, 1);
    assert_null(sweep.view);
}

static unsigned count_unreconciled(void) {
    return CLUSTERS - count_reconciled();
}

static void many_dropped_clusters_go_in_slices(void **state) {
    (void)state;
    first.dropped = dropped, first.dropped_count = CLUSTERS;
    sweep_begin(&sweep, &worker, &first_view, NULL);
    assert_in_slices(count_left);
}

static void many_changed_clusters_are_reconciled_in_slices(void **state) {
    (void)state;
    first.changed = changed, first.changed_count = CLUSTERS;
    sweep_begin(&sweep, &worker, &first_view, NULL);
    assert_in_slices(count_unreconciled);
    assert_int_equal(count_left(), CLUSTERS);
}

/* As many clusters as above, each with a kept connection. */
static void closing_connections_makes_slices_shorter(void **state) {
    (void)state;
    first.dropped = dropped, first.dropped_count = CONNECTIONS_MOST;
    sweep_begin(&sweep, &worker, &first_view, NULL);
    unsigned without = CLUSTERS - count_left();
    assert_true(without < CONNECTIONS_MOST);
    for (int i = 0; i < 10; i++)
        turn();
    assert_null(sweep.view);
    for (unsigned i = 0; i < CONNECTIONS_MOST; i++) {
        struct cluster_runtime *c = bring(&definitions[i]);
        struct client_connection *link = connect_for_nobody(cluster_pick(c, &any_endpoint), 17);
        report_connected(link);
    }
    sweep_begin(&sweep, &worker, &first_view, NULL);
    unsigned with = CLUSTERS - count_left();
    assert_true(with > 0 && with <= without * 2 / 3);
    for (int i = 0; i < 20; i++)
        turn();
    assert_null(sweep.view);
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 0);
}

static void a_small_change_is_done_at_once(void **state) {
    (void)state;
    first.dropped = dropped, first.dropped_count = 1;
    first.changed = changed + 1, first.changed_count = 1;
    sweep_begin(&sweep, &worker, &first_view, NULL);
    assert_int_equal(count_left(), CLUSTERS - 1);
    assert_int_equal(count_reconciled(), 1);
    assert_int_equal(first_view.references, 1);
}

/* The last of the dropped ones comes back with the next snapshot, which is there before its turn has come. */
static void a_cluster_that_comes_back_is_a_new_one(void **state) {
    (void)state;
    const struct cluster_definition *back = &newer[CLUSTERS - 1].cluster;
    first.dropped = dropped, first.dropped_count = CLUSTERS;
    second.changed = changed + CLUSTERS - 1, second.changed_count = 1;
    sweep_begin(&sweep, &worker, &first_view, NULL);
    assert_true(count_left() > 0);
    sweep_begin(&sweep, &worker, &second_view, NULL);
    assert_int_equal(count_left(), 0);
    assert_int_equal(first_view.references, 1);
    struct cluster_runtime *c = cluster_of(&worker, back);
    for (int i = 0; i < 10; i++)
        turn();
    assert_ptr_equal(table.slots[CLUSTERS - 1], c);
    assert_int_equal(c->endpoint_count, ENDPOINTS);
    assert_int_equal(second_view.references, 1);
    assert_int_equal(quiet, 0);
}

/* The next one does not know what this one changed. */
static void a_sweep_of_changes_is_not_cut_short(void **state) {
    (void)state;
    first.changed = changed, first.changed_count = CLUSTERS;
    sweep_begin(&sweep, &worker, &first_view, NULL);
    assert_true(count_reconciled() < CLUSTERS);
    view_ref(&first_view);
    sweep_begin(&sweep, &worker, &second_view, &first_view);
    assert_int_equal(count_reconciled(), CLUSTERS);
    turn();
    assert_null(sweep.view);
    assert_int_equal(first_view.references, 1);
    assert_int_equal(second_view.references, 1);
}

/* Clusters that have not had their turn go by definitions of the snapshot before: it stays as long. */
static void the_snapshot_before_stays_until_all_is_reconciled(void **state) {
    (void)state;
    second.changed = changed, second.changed_count = CLUSTERS;
    view_ref(&first_view);
    sweep_begin(&sweep, &worker, &second_view, &first_view);
    while (count_reconciled() < CLUSTERS) {
        assert_int_equal(first_view.references, 2);
        turn();
    }
    turn();
    assert_int_equal(first_view.references, 1);
    assert_int_equal(second_view.references, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, back_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(many_dropped_clusters_go_in_slices),
        TEST(many_changed_clusters_are_reconciled_in_slices),
        TEST(closing_connections_makes_slices_shorter),
        TEST(a_small_change_is_done_at_once),
        TEST(a_cluster_that_comes_back_is_a_new_one),
        TEST(a_sweep_of_changes_is_not_cut_short),
        TEST(the_snapshot_before_stays_until_all_is_reconciled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
