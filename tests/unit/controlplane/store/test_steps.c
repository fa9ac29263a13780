/* gc and verify in steps, with everything else that may come between two of them. */
#include "tests/unit/controlplane/store/fixture.h"

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct store *store;
    struct intent intent;
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    make_fast_folder(w->folder);
    snprintf(w->path, sizeof w->path, "%s/store", w->folder);
    w->store = open_store(w->path);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    store_close(w->store);
    intent_finish(&w->intent);
    remove_tree(w->folder);
    free(w);
    return 0;
}

/* Three resources of one value; so version n + 1 needs nothing of version n but "base". */
static void commit_value(struct world *w, unsigned value) {
    char name[16], text[32];
    intent_set(&w->intent, "base", "base");
    for (unsigned i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "web%u", i);
        snprintf(text, sizeof text, "%u of value %u", i, value);
        intent_set(&w->intent, name, text);
    }
    commit_intent(w->store, &w->intent);
}

/* How many steps there are when nothing comes between; nothing is changed. */
static int count_steps(struct world *w, struct store_retention retention) {
    struct error_list errors = {0};
    struct store_gc_result result;
    struct store_collection *c = store_collection_create(w->store, &retention, true, &errors);
    int steps = 1;
    while (store_collection_step(c, &result) > 0)
        steps++;
    store_collection_destroy(c);
    assert_no_errors(&errors);
    return steps;
}

/* Commits `commits` versions before the step with this number, of values that old versions have. */
static void collect_with_commits(struct world *w, int before_step, unsigned commits) {
    struct error_list errors = {0};
    struct store_retention retention = {.versions = 2};
    struct store_gc_result result = {0};
    for (unsigned value = 1; value <= 5; value++)
        commit_value(w, value);
    struct store_collection *c = store_collection_create(w->store, &retention, false, &errors);
    int status = 1;
    for (int step = 0; status > 0; step++) {
        for (unsigned i = 1; step == before_step && i <= commits; i++)
            commit_value(w, i);
        status = store_collection_step(c, &result);
    }
    store_collection_destroy(c);
    assert_no_errors(&errors);
    assert_int_equal(status, 0);
    assert_true(result.versions >= 3);
    assert_current_is(w->store, &w->intent);
    assert_verifies(w->store);
}

/* At any moment, one or two at once: what the first of two needs is in no manifest in memory any more. */
static void commits_between_steps_of_gc_lose_nothing(void **state) {
    struct world *w = *state;
    for (unsigned value = 1; value <= 5; value++)
        commit_value(w, value);
    int steps = count_steps(w, (struct store_retention){.versions = 2});
    assert_true(steps > 5 + 16 - 3);
    for (int before = 0; before < steps; before++)
        for (unsigned commits = 1; commits <= 3; commits++)
            collect_with_commits(w, before, commits);
}

static void version_that_is_held_between_steps_keeps_its_objects(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_gc_result result;
    for (unsigned value = 1; value <= 4; value++)
        commit_value(w, value);
    struct store_collection *c = store_collection_create(w->store, &(struct store_retention){.versions = 1}, false,
                                                         &errors);
    struct store_manifest *held = NULL;
    for (int status = 1; status > 0; status = store_collection_step(c, &result))
        if (!held)
            held = store_read_version(w->store, 1, &errors);
    store_collection_destroy(c);
    assert_no_errors(&errors);
    assert_non_null(held);
    for (size_t i = 0; i < held->version.resources; i++) {
        uint8_t *bytes;
        size_t size;
        assert_int_equal(store_read_object(w->store, &held->entries[i].id, &bytes, &size, &errors), 0);
        hg_free(bytes);
    }
    assert_int_equal(result.versions, 3);
    store_manifest_unref(held);
}

static void gc_that_is_left_can_be_begun_again(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    const struct store_retention retention = {.versions = 1};
    struct store_gc_result result;
    bool is_over = false;
    for (int steps = 0; !is_over; steps++) {
        for (unsigned value = 1; value <= 4; value++)
            commit_value(w, value);
        struct store_collection *c = store_collection_create(w->store, &retention, false, &errors);
        for (int i = 0; i < steps && !is_over; i++)
            is_over = store_collection_step(c, &result) == 0;
        store_collection_destroy(c);
        assert_current_is(w->store, &w->intent);
        store_close(w->store);
        w->store = open_store(w->path);
        assert_int_equal(store_gc(w->store, &retention, false, &result, &errors), 0);
        assert_verifies(w->store);
        assert_int_equal(store_oldest_version(w->store), store_next_version(w->store) - 1);
    }
    assert_no_errors(&errors);
}

static void commits_between_steps_of_verify_are_no_faults(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_verify_result result;
    for (unsigned value = 1; value <= 3; value++)
        commit_value(w, value);
    struct store_verification *v = store_verification_create(w->store, NULL, NULL, &errors);
    unsigned steps = 0;
    int status = 1;
    for (; status > 0; steps++) {
        if (steps < 10)
            commit_value(w, steps % 4);
        status = store_verification_step(v, &result);
    }
    store_verification_destroy(v);
    assert_int_equal(status, 0);
    assert_int_equal(result.faults, 0);
    assert_no_errors(&errors);
    assert_true(steps > 13 + 16);
    assert_int_equal(result.versions, 13);
}

/* Many objects in one folder are several steps. */
static void a_step_is_short(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_verify_result result;
    char name[16];
    for (unsigned i = 0; i < 3200; i++) {
        snprintf(name, sizeof name, "r%u", i);
        intent_set(&w->intent, name, name);
    }
    commit_intent(w->store, &w->intent);
    struct store_verification *v = store_verification_create(w->store, NULL, NULL, &errors);
    unsigned steps = 0;
    while (store_verification_step(v, &result) > 0)
        steps++;
    store_verification_destroy(v);
    assert_true(steps > 3200 / STORE_STEP_FILES);
    assert_int_equal(result.objects, 3200);
    assert_no_errors(&errors);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(commits_between_steps_of_gc_lose_nothing),
        T(version_that_is_held_between_steps_keeps_its_objects),
        T(gc_that_is_left_can_be_begun_again),
        T(commits_between_steps_of_verify_are_no_faults),
        T(a_step_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
