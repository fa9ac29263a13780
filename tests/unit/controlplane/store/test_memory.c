/* Every allocation of every call of the store failed in turn: an error, and nothing changed. */
#include "tests/unit/controlplane/store/script.h"

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
    intent_set(&w->intent, "web", "first");
    intent_set(&w->intent, "api", "stays");
    commit_intent(w->store, &w->intent);
    intent_set(&w->intent, "web", "second");
    commit_intent(w->store, &w->intent);
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

/* Calls `attempt` with the first, second, ... allocation failing, alone or with all later ones, until it does
 * not meet one any more and succeeds. Returns the number of failures. */
static unsigned fail_each(struct world *w, int (*attempt)(struct world *w, struct error_list *errors),
                          int and_later) {
    for (unsigned nth = 0;; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, and_later);
        uint64_t before = hg_alloc_count();
        int status = attempt(w, &errors);
        bool met = hg_alloc_count() - before > nth;
        hg_alloc_fail_at(-1, 0);
        if (status == 0) {
            assert_false(met);
            assert_no_errors(&errors);
            return nth;
        }
        assert_false(error_list_is_empty(&errors));
        for (size_t i = 0; i < errors.count; i++)
            assert_int_equal(errors.items[i].code, ERROR_MEMORY);
        error_list_finish(&errors);
        if (w->store)
            assert_verifies(w->store);
    }
}

static void fail_both_ways(struct world *w, int (*attempt)(struct world *w, struct error_list *errors)) {
    assert_true(fail_each(w, attempt, 0) > 0);
    assert_true(fail_each(w, attempt, 1) > 0);
}

static int open_it(struct world *w, struct error_list *errors) {
    w->store = store_open(w->path, errors);
    return w->store ? 0 : -1;
}

static void opening(void **state) {
    struct world *w = *state;
    for (int and_later = 0; and_later < 2; and_later++) {
        store_close(w->store);
        w->store = NULL;
        assert_true(fail_each(w, open_it, and_later) > 5);
        assert_current_is(w->store, &w->intent);
    }
}

static int make_it(struct world *w, struct error_list *errors) {
    char path[JOINED_PATH];
    join_path(path, w->folder, "new");
    struct store *s = store_open(path, errors);
    store_close(s);
    if (s)
        remove_tree(path);
    return s ? 0 : -1;
}

static void making(void **state) {
    fail_both_ways(*state, make_it);
}

static int commit_it(struct world *w, struct error_list *errors) {
    struct store_commit c = commit_of(w->store, &w->intent);
    return store_commit(w->store, &c, errors);
}

static void committing(void **state) {
    struct world *w = *state;
    for (int and_later = 0; and_later < 2; and_later++) {
        intent_set(&w->intent, "web", and_later ? "fourth" : "third");
        intent_set(&w->intent, "new", and_later ? "fourth" : "new");
        assert_true(fail_each(w, commit_it, and_later) > 5);
        assert_int_equal(store_current(w->store)->version.number, 3 + and_later);
        assert_current_is(w->store, &w->intent);
    }
}

static int list_it(struct world *w, struct error_list *errors) {
    struct store_log log = {0};
    int status = store_list(w->store, 0, 10, &log, errors);
    if (status == 0)
        assert_int_equal(log.count, 2);
    store_log_finish(&log);
    return status;
}

static void listing(void **state) {
    fail_both_ways(*state, list_it);
}

static int read_it(struct world *w, struct error_list *errors) {
    struct store_manifest *m = store_read_version(w->store, 1, errors);
    store_manifest_unref(m);
    return m ? 0 : -1;
}

static void reading_a_version(void **state) {
    fail_both_ways(*state, read_it);
}

static int read_object(struct world *w, struct error_list *errors) {
    uint8_t *bytes = NULL;
    size_t size;
    int status = store_read_object(w->store, &store_current(w->store)->entries[0].id, &bytes, &size, errors);
    hg_free(bytes);
    return status;
}

static void reading_an_object(void **state) {
    fail_both_ways(*state, read_object);
}

static int verify_it(struct world *w, struct error_list *errors) {
    struct store_verify_result result;
    return store_verify(w->store, NULL, NULL, &result, errors) < 0 || result.faults ? -1 : 0;
}

static void verifying(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_state saved = {.generation = 1, .resources = w->intent.resources, .count = w->intent.count};
    assert_int_equal(store_save_state(w->store, &saved, &errors), 0);
    fail_both_ways(w, verify_it);
}

static int collect_it(struct world *w, struct error_list *errors) {
    struct store_gc_result result;
    /* Version 1 stays because it is young; without memory to read its age it must stay too. */
    struct store_retention retention = {.versions = 1, .age_us = 1500000, .now_us = 2000000};
    int status = store_gc(w->store, &retention, false, &result, errors);
    assert_int_equal(store_oldest_version(w->store), 1);
    return status;
}

static void collecting(void **state) {
    fail_both_ways(*state, collect_it);
}

static int save_it(struct world *w, struct error_list *errors) {
    struct store_state saved = {.generation = 1, .resources = w->intent.resources, .count = w->intent.count};
    return store_save_state(w->store, &saved, errors);
}

static int load_it(struct world *w, struct error_list *errors) {
    struct store_state loaded = {0};
    int status = store_load_state(w->store, &loaded, errors);
    store_state_finish(&loaded);
    return status == 1 ? 0 : -1;
}

static void saving_and_loading_state(void **state) {
    fail_both_ways(*state, save_it);
    fail_both_ways(*state, load_it);
}

static int pin_it(struct world *w, struct error_list *errors) {
    return store_set_pin(w->store, store_pinned_version(w->store) == 0, errors);
}

static void pinning(void **state) {
    struct world *w = *state;
    fail_each(w, pin_it, 0);
    assert_int_equal(store_pinned_version(w->store), 2);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(opening),
        T(making),
        T(committing),
        T(listing),
        T(reading_a_version),
        T(reading_an_object),
        T(verifying),
        T(collecting),
        T(saving_and_loading_state),
        T(pinning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
