/* Deltas between snapshots and how they are cut into messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "controlplane/channel/transfer.h"
#include "tests/unit/controlplane/channel/script.h"

/* Sends a whole transfer to a script that holds what `base` has; checks it there. */
static void run_transfer(struct script *s, struct snapshot *base, struct snapshot *target) {
    struct transfer *t = transfer_create(s->nonce + 1, base, target, false);
    const Headgate__Prepare *p;
    bool has_failed = false;
    assert_non_null(t);
    assert_false(transfer_has_begun(t));
    while ((p = transfer_next(t, &has_failed))) {
        assert_true(headgate__prepare__get_packed_size(p) <= TRANSFER_PART_MAX);
        script_prepare(s, p);
    }
    assert_false(has_failed);
    assert_true(transfer_is_complete(t));
    assert_true(s->is_last);
    assert_false(s->is_broken);
    script_commit(s);
    transfer_destroy(t);
}

static void everything_to_an_empty_data_plane(void **state) {
    static struct script s;
    struct snapshot *target = script_snapshot(1, 0, 100, 3, NULL);
    (void)state;
    run_transfer(&s, NULL, target);
    assert_int_equal(s.serving[0].count, 100);
    assert_int_equal(s.body_count, 100);
    assert_int_equal(s.prepares, 1);
    snapshot_unref(target);
    script_finish(&s);
}

static void only_what_changed(void **state) {
    static struct script s;
    struct snapshot *one = script_snapshot(1, 0, 100, 3, NULL);
    struct snapshot *two = script_snapshot(2, 0, 100, 4, one);
    struct snapshot *three = script_snapshot(3, 0, 60, 4, two);
    (void)state;
    run_transfer(&s, NULL, one);
    run_transfer(&s, one, two);
    assert_int_equal(s.body_count, 102); /* c3 goes back, c4 changes */
    run_transfer(&s, two, three);
    assert_int_equal(s.serving[0].count, 60);
    assert_int_equal(s.body_count, 102);
    assert_int_equal(s.prepares, 3);
    snapshot_unref(one);
    snapshot_unref(two);
    snapshot_unref(three);
    script_finish(&s);
}

static void unchanged_bodies_are_shared(void **state) {
    struct snapshot *one = script_snapshot(1, 0, 10, 3, NULL);
    struct snapshot *two = script_snapshot(2, 0, 10, 4, one);
    (void)state;
    assert_ptr_equal(part_body(one->intent, 0), part_body(two->intent, 0));
    assert_ptr_not_equal(part_body(one->intent, 4), part_body(two->intent, 4));
    snapshot_unref(one);
    snapshot_unref(two);
}

static void the_same_again_is_one_empty_message(void **state) {
    struct snapshot *one = script_snapshot(1, 0, 10, 3, NULL);
    struct transfer *t = transfer_create(1, one, one, false);
    bool has_failed = false;
    (void)state;
    const Headgate__Prepare *p = transfer_next(t, &has_failed);
    assert_non_null(p);
    assert_true(p->last);
    assert_int_equal(p->n_upsert_intent + p->n_remove_intent + p->n_bodies, 0);
    assert_null(transfer_next(t, &has_failed));
    transfer_destroy(t);
    snapshot_unref(one);
}

static struct part *part_of_one(const char *name, size_t size) {
    uint8_t *bytes = test_malloc(size);
    memset(bytes, name[0], size);
    struct config_resource r = {
        .kind = HEADGATE__KIND__KIND_ENDPOINT_SET, .name = name, .bytes = bytes, .size = size};
    resource_id_of(bytes, size, &r.id);
    struct part *p = part_create(&r, 1, NULL);
    test_free(bytes);
    return p;
}

static void large_bodies_come_in_pieces(void **state) {
    static struct script s;
    static const uint8_t lineage[LINEAGE_SIZE];
    struct snapshot *target = snapshot_create(lineage, 1, 1, part_of_one("a", 9 << 20),
                                              part_of_one("b", TRANSFER_PART_MAX));
    (void)state;
    run_transfer(&s, NULL, target);
    assert_int_equal(s.body_count, 2);
    assert_true(s.prepares >= 6);
    assert_true(s.largest > TRANSFER_PART_MAX - 1024);
    snapshot_unref(target);
    script_finish(&s);
}

static void an_empty_resource_has_an_empty_body(void **state) {
    static struct script s;
    static const uint8_t lineage[LINEAGE_SIZE];
    struct snapshot *target = snapshot_create(lineage, 1, 1, part_of_one("a", 0), part_of_one("b", 0));
    (void)state;
    run_transfer(&s, NULL, target);
    assert_int_equal(s.body_count, 1); /* one id, sent once */
    snapshot_unref(target);
    script_finish(&s);
}

static void parts_want_order_and_ids(void **state) {
    Headgate__Entry a = HEADGATE__ENTRY__INIT, b = HEADGATE__ENTRY__INIT;
    uint8_t id[RESOURCE_ID_SIZE] = {0};
    Headgate__Entry *list[] = {&a, &b};
    (void)state;
    a.kind = b.kind = HEADGATE__KIND__KIND_CLUSTER;
    a.name = (char *)"x";
    b.name = (char *)"y";
    a.id = b.id = (ProtobufCBinaryData){sizeof id, id};
    struct part *p = part_create_held(list, 2);
    assert_non_null(p);
    assert_int_equal(part_find(p, HEADGATE__KIND__KIND_CLUSTER, "y"), 1);
    assert_int_equal(part_find(p, HEADGATE__KIND__KIND_CLUSTER, "z"), -1);
    part_unref(p);
    b.name = (char *)"x";
    assert_null(part_create_held(list, 2));
    b.name = (char *)"";
    assert_null(part_create_held(list, 2));
    b.name = (char *)"y";
    b.id.len = 31;
    assert_null(part_create_held(list, 2));
}

/* Every allocation fails once: NULL or a flag, no leak and no crash. */
static void survives_failing_allocations(void **state) {
    static struct script s;
    struct snapshot *one = script_snapshot(1, 0, 3, 1, NULL), *two = script_snapshot(2, 0, 9, 2, one);
    (void)state;
    bool is_done = false;
    for (long nth = 0; !is_done; nth++) {
        bool has_failed = false;
        hg_alloc_fail_at(nth, 0);
        struct snapshot *copy = script_snapshot(2, 0, 9, 2, one);
        struct transfer *t = copy ? transfer_create(1, one, copy, false) : NULL;
        is_done = t && transfer_next(t, &has_failed) && !has_failed;
        hg_alloc_fail_at(-1, 0);
        transfer_destroy(t);
        snapshot_unref(copy);
        assert_true(nth < 1000);
    }
    snapshot_unref(one);
    snapshot_unref(two);
    script_finish(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_to_an_empty_data_plane),
        cmocka_unit_test(only_what_changed),
        cmocka_unit_test(unchanged_bodies_are_shared),
        cmocka_unit_test(the_same_again_is_one_empty_message),
        cmocka_unit_test(large_bodies_come_in_pieces),
        cmocka_unit_test(an_empty_resource_has_an_empty_body),
        cmocka_unit_test(parts_want_order_and_ids),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
