/* Pushes from request to reply, on a real store, with scripted data planes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "common/alloc.h"
#include "tests/unit/controlplane/engine/fixture.h"

#define OUTCOME(name) HEADGATE__PUSH_REPLY__OUTCOME__##name

static void expect(const struct fixture *f, Headgate__PushReply__Outcome outcome, uint64_t version) {
    assert_non_null(f->reply);
    if (f->reply->outcome != outcome && f->reply->n_problems)
        print_error("%s\n", f->reply->problems[0]->message);
    assert_int_equal(f->reply->outcome, outcome);
    assert_int_equal(f->reply->version, version);
}

static void versions_follow_each_other(void **state) {
    struct fixture *f = *state;
    fixture_push_port(f, 1);
    expect(f, OUTCOME(STORED), 1);
    assert_int_equal(f->reply->n_changes, 3); /* settings, cluster, endpoint set */
    fixture_push_port(f, 2);
    expect(f, OUTCOME(STORED), 2);
    assert_int_equal(f->reply->n_changes, 1);
    assert_string_equal(f->reply->changes[0]->fields[0]->path, "endpoints[0]");
    fixture_push_port(f, 2);
    expect(f, OUTCOME(UNCHANGED), 2);
    assert_int_equal(f->replies, 3);
    assert_false(engine_is_busy(f->engine));
}

static void what_is_wrong_is_told_and_nothing_changes(void **state) {
    struct fixture *f = *state;
    fixture_push_port(f, 1);
    fixture_push_text(f, "clusters: 7\nlistenerz: []\n");
    expect(f, OUTCOME(REFUSED), 1);
    assert_int_equal(f->reply->n_problems, 2);
    assert_string_equal(f->reply->problems[0]->file, "test.yaml");
    Headgate__PushRequest nothing = HEADGATE__PUSH_REQUEST__INIT;
    fixture_push_request(f, &nothing);
    expect(f, OUTCOME(REFUSED), 1);
    assert_int_equal(store_next_version(engine_store(f->engine)), 2);
}

static void starts_from_what_is_stored(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    fixture_push_port(f, 1);
    fixture_push_port(f, 2);
    struct resource_id before = channel_current(engine_channel(f->engine))->intent->hash;
    engine_destroy(f->engine);
    f->engine = fixture_open(f, &errors);
    assert_non_null(f->engine);
    const struct snapshot *current = channel_current(engine_channel(f->engine));
    assert_int_equal(current->version, 2);
    assert_true(resource_id_equal(&before, &current->intent->hash));
    fixture_push_port(f, 2);
    expect(f, OUTCOME(UNCHANGED), 2);
}

static void a_damaged_store_is_not_started_from(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    char path[128];
    fixture_push_port(f, 1);
    engine_destroy(f->engine);
    snprintf(path, sizeof path, "rm -r %s/objects", f->store);
    assert_int_equal(system(path), 0);
    f->engine = fixture_open(f, &errors);
    assert_null(f->engine);
    assert_true(errors.count > 0);
    error_list_finish(&errors);
}

static void data_planes_switch(void **state) {
    struct fixture *f = *state;
    fixture_connect(f, 0);
    fixture_connect(f, 1);
    fixture_push_port(f, 1);
    assert_int_equal(f->replies, 0);
    assert_true(engine_is_busy(f->engine));
    for (int i = 0; i < 2; i++) {
        script_pull(&f->nodes[i]);
        assert_int_equal(store_next_version(engine_store(f->engine)),
                         1); /* not stored before all are ready */
        script_ready(&f->nodes[i], f->nodes[i].nonce);
    }
    assert_int_equal(store_next_version(engine_store(f->engine)), 2);
    for (int i = 0; i < 2; i++) {
        script_pull(&f->nodes[i]);
        script_ack(&f->nodes[i], f->nodes[i].nonce);
    }
    expect(f, OUTCOME(COMMITTED), 1);
    assert_int_equal(f->reply->n_data_planes, 2);
    assert_int_equal(f->reply->data_planes[1]->state, HEADGATE__DATA_PLANE_RESULT__STATE__ACKED);
    assert_int_equal(f->reply->data_planes[1]->build_us, 7);
    assert_int_equal(f->reply->data_planes[1]->switch_us, 9);
    assert_true(f->reply->data_planes[1]->sent_bytes > 0);
    assert_false(f->nodes[0].is_broken || f->nodes[1].is_broken);
}

static void a_refusal_is_reported_with_its_reason(void **state) {
    struct fixture *f = *state;
    fixture_connect(f, 0);
    fixture_push_port(f, 1);
    script_pull(&f->nodes[0]);
    script_nack(&f->nodes[0], f->nodes[0].nonce, "port is taken");
    expect(f, OUTCOME(REFUSED), 0);
    const Headgate__DataPlaneResult *r = f->reply->data_planes[0];
    assert_int_equal(r->state, HEADGATE__DATA_PLANE_RESULT__STATE__NACKED);
    assert_string_equal(r->node, "a");
    assert_string_equal(r->reasons[0]->message, "port is taken");
    assert_string_equal(r->reasons[0]->path, "addresses[0]");
    assert_null(channel_current(engine_channel(f->engine)));
}

static void pushes_wait_for_each_other(void **state) {
    struct fixture *f = *state;
    fixture_connect(f, 0);
    for (unsigned i = 1; i <= 3; i++)
        fixture_push_port(f, i);
    for (int i = 1; i <= 3; i++) {
        fixture_settle(&f->nodes[0]);
        assert_int_equal(f->replies, i);
        expect(f, OUTCOME(COMMITTED), (uint64_t)i);
        ev_run(f->loop, EVRUN_NOWAIT); /* the next one begins */
    }
    assert_false(engine_is_busy(f->engine));
}

static void too_many_waiting_pushes_are_refused(void **state) {
    struct fixture *f = *state;
    fixture_connect(f, 0);
    for (unsigned i = 0; i <= ENGINE_PUSHES_WAITING_MAX; i++)
        fixture_push_port(f, 1 + i % 2);
    assert_int_equal(f->replies, 0);
    fixture_push_port(f, 9);
    assert_int_equal(f->replies, 1);
    expect(f, OUTCOME(REFUSED), 0);
    engine_stop(f->engine);
    fixture_push_port(f, 9);
    assert_string_equal(f->reply->problems[0]->message, "the control plane is stopping");
    while (engine_is_busy(f->engine)) {
        fixture_settle(&f->nodes[0]);
        ev_run(f->loop, EVRUN_NOWAIT);
    }
    assert_int_equal(f->replies, 2 + ENGINE_PUSHES_WAITING_MAX + 1);
}

static void a_disk_that_fails_aborts(void **state) {
    struct fixture *f = *state;
    char moved[96];
    snprintf(moved, sizeof moved, "%s/moved", f->folder);
    fixture_push_port(f, 1);
    fixture_connect(f, 0);
    fixture_settle(&f->nodes[0]);
    fixture_push_port(f, 2);
    script_pull(&f->nodes[0]);
    char objects[96];
    snprintf(objects, sizeof objects, "%s/objects", f->store);
    assert_int_equal(rename(objects, moved), 0);
    script_ready(&f->nodes[0], f->nodes[0].nonce);
    assert_int_equal(rename(moved, objects), 0);
    expect(f, OUTCOME(REFUSED), 1);
    assert_true(f->reply->n_problems > 0);
    script_pull(&f->nodes[0]);
    assert_string_equal(f->nodes[0].aborted, "the new version could not be stored");
    assert_int_equal(engine_counters(f->engine)->store_errors, 1);
    assert_int_equal(f->nodes[0].version, 1);
}

static void rollback_pins_and_a_push_lifts(void **state) {
    struct fixture *f = *state;
    struct store *store = engine_store(f->engine);
    fixture_rollback(f, 0);
    expect(f, OUTCOME(REFUSED), 0);
    fixture_push_port(f, 1);
    fixture_rollback(f, 0);
    expect(f, OUTCOME(REFUSED), 1); /* nothing before the first */
    fixture_push_port(f, 2);
    fixture_rollback(f, 0);
    expect(f, OUTCOME(STORED), 3);
    assert_int_equal(store_pinned_version(store), 3);
    fixture_rollback(f, 1);
    expect(f, OUTCOME(UNCHANGED), 3);
    fixture_push_port(f, 1); /* nothing differs, but it is a push */
    expect(f, OUTCOME(UNCHANGED), 3);
    assert_int_equal(store_pinned_version(store), 0);
    fixture_rollback(f, 99);
    expect(f, OUTCOME(REFUSED), 3);
}

static void old_versions_are_dropped_now_and_then(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 1; i <= 110; i++)
        fixture_push_port(f, i);
    assert_int_equal(engine_counters(f->engine)->gc_runs, 1);
    assert_int_equal(store_oldest_version(engine_store(f->engine)), 1); /* the loop has its turn first */
    while (store_oldest_version(engine_store(f->engine)) == 1)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(store_oldest_version(engine_store(f->engine)), 108);
}

/* ---- looking after the store ---- */

struct kept {
    int count, failed;
    struct upkeep_result last;
    char error[128];
};

static void keep_result(void *context, const struct upkeep_result *result) {
    struct kept *k = context;
    k->count++;
    k->failed += !result->is_done;
    k->last = *result;
    snprintf(k->error, sizeof k->error, "%s", result->errors->count ? result->errors->items[0].message : "");
}

static int turns_until(struct fixture *f, const struct kept *k, int count) {
    int turns = 0;
    for (; k->count < count; turns++)
        ev_run(f->loop, EVRUN_ONCE);
    return turns;
}

/* A version a turn: whatever else there is to do is done between them. */
static void verify_holds_up_nobody(void **state) {
    struct fixture *f = *state;
    struct kept k = {0};
    for (unsigned i = 1; i <= 20; i++)
        fixture_push_port(f, i);
    engine_verify(f->engine, keep_result, &k);
    for (int i = 0; i < 10; i++)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(k.count, 0);
    fixture_push_port(f, 21);
    expect(f, OUTCOME(STORED), 21);
    assert_int_equal(k.count, 0);
    assert_true(turns_until(f, &k, 1) > 10);
    assert_true(k.last.is_done);
    assert_int_equal(k.last.verified.versions, 21);
    assert_int_equal(k.last.verified.faults, 0);
}

static void gc_holds_up_nobody(void **state) {
    struct fixture *f = *state;
    struct kept k = {0};
    const struct store_retention retention = {.versions = 10};
    for (unsigned i = 1; i <= 20; i++)
        fixture_push_port(f, i);
    engine_gc(f->engine, &retention, false, keep_result, &k);
    for (int i = 0; i < 5; i++)
        ev_run(f->loop, EVRUN_ONCE);
    fixture_push_port(f, 1); /* bytes that only versions which go have */
    expect(f, OUTCOME(STORED), 21);
    assert_int_equal(k.count, 0);
    turns_until(f, &k, 1);
    assert_true(k.last.is_done);
    assert_int_equal(k.last.dropped.versions, 10);
    engine_verify(f->engine, keep_result, &k);
    turns_until(f, &k, 2);
    assert_int_equal(k.last.verified.faults, 0);
}

static void upkeep_is_one_after_the_other_and_bounded(void **state) {
    struct fixture *f = *state;
    struct kept gc = {0}, verify = {0}, refused = {0};
    const struct store_retention retention = {.versions = 1};
    fixture_push_port(f, 1);
    fixture_push_port(f, 2);
    engine_gc(f->engine, &retention, false, keep_result, &gc);
    for (int i = 1; i < ENGINE_UPKEEP_MAX; i++)
        engine_verify(f->engine, keep_result, &verify);
    engine_verify(f->engine, keep_result, &refused);
    assert_int_equal(refused.failed, 1);
    assert_string_equal(refused.error, "too many of these wait already");
    turns_until(f, &gc, 1);
    assert_int_equal(verify.count, 0);
    turns_until(f, &verify, ENGINE_UPKEEP_MAX - 1);
    assert_int_equal(verify.failed, 0);
    assert_int_equal(verify.last.verified.versions, 1);
}

static void stopping_answers_what_is_under_way(void **state) {
    struct fixture *f = *state;
    struct kept k = {0};
    fixture_push_port(f, 1);
    engine_verify(f->engine, keep_result, &k);
    engine_verify(f->engine, keep_result, &k);
    ev_run(f->loop, EVRUN_ONCE);
    engine_stop(f->engine);
    assert_int_equal(k.count, 2);
    assert_int_equal(k.failed, 2);
    assert_string_equal(k.error, "the control plane is stopping");
    engine_verify(f->engine, keep_result, &k);
    assert_int_equal(k.failed, 3);
}

static void views_of_versions(void **state) {
    struct fixture *f = *state;
    struct engine_view view = {0};
    struct error_list errors = {0};
    assert_int_equal(engine_view(f->engine, 0, &view, &errors), 0);
    assert_int_equal(view.version, 0);
    assert_int_equal(view.set.count, 0);
    engine_view_finish(&view);
    fixture_push_port(f, 1);
    fixture_push_port(f, 2);
    assert_int_equal(engine_view(f->engine, 1, &view, &errors), 0);
    assert_int_equal(view.set.count, 3);
    engine_view_finish(&view);
    assert_int_equal(engine_view(f->engine, 2, &view, &errors), 0);
    assert_non_null(view.borrowed);
    engine_view_finish(&view);
    assert_int_equal(engine_view(f->engine, 3, &view, &errors), -1);
    error_list_finish(&errors);
}

/* A push, a set and a rollback with the nth allocation failing, for every n: each ends with a reply, and what was stored
 * is whole. */
static void survives_failing_allocations(void **state) {
    struct fixture *f = *state;
    fixture_push_port(f, 1);
    fixture_push_port(f, 2);
    bool is_done = false;
    for (long nth = 0; !is_done; nth++) {
        int replies = f->replies;
        hg_alloc_fail_at(nth, 0);
        fixture_push_port(f, 1000 + (unsigned)nth);
        is_done = f->reply && f->reply->outcome == OUTCOME(STORED);
        fixture_rollback(f, 1);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(f->replies, replies + 2);
        assert_true(nth < 20000);
    }
    struct error_list errors = {0};
    struct store_verify_result result;
    assert_int_equal(store_verify(engine_store(f->engine), NULL, NULL, &result, &errors), 0);
    assert_int_equal(result.faults, 0);
    error_list_finish(&errors);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(versions_follow_each_other),
        TEST(what_is_wrong_is_told_and_nothing_changes),
        TEST(starts_from_what_is_stored),
        TEST(a_damaged_store_is_not_started_from),
        TEST(data_planes_switch),
        TEST(a_refusal_is_reported_with_its_reason),
        TEST(pushes_wait_for_each_other),
        TEST(too_many_waiting_pushes_are_refused),
        TEST(a_disk_that_fails_aborts),
        TEST(rollback_pins_and_a_push_lifts),
        TEST(old_versions_are_dropped_now_and_then),
        TEST(verify_holds_up_nobody),
        TEST(gc_holds_up_nobody),
        TEST(upkeep_is_one_after_the_other_and_bounded),
        TEST(stopping_answers_what_is_under_way),
        TEST(views_of_versions),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
