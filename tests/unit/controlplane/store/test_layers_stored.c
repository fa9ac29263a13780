/* What versions know of layers: where resources come from, what is hidden, and who made the version. */
#include "tests/unit/controlplane/store/fixture.h"

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct intent intent, hidden;
    struct store *store;
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
    intent_finish(&w->hidden);
    remove_tree(w->folder);
    free(w);
    return 0;
}

static void reopen(struct world *w) {
    store_close(w->store);
    w->store = open_store(w->path);
}

static int commit_layers(struct world *w, unsigned layer, struct error_list *errors) {
    struct store_commit c = commit_of(w->store, &w->intent);
    c.layer = layer;
    c.hidden = w->hidden.resources;
    c.hidden_count = w->hidden.count;
    return store_commit(w->store, &c, errors);
}

static void commit(struct world *w, unsigned layer) {
    struct error_list errors = {0};
    assert_int_equal(commit_layers(w, layer, &errors), 0);
    assert_no_errors(&errors);
}

static void format_of(const struct world *w, char line[64]) {
    char path[JOINED_PATH];
    join_path(path, w->path, "format");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, 64, file));
    assert_non_null(fgets(line, 64, file));
    fclose(file);
}

static void older_programs_read_a_store_until_it_has_layers(void **state) {
    struct world *w = *state;
    char line[64];
    intent_set(&w->intent, "web", "one");
    commit(w, 0);
    format_of(w, line);
    assert_string_equal(line, "format 1\n");
    w->intent.resources[0].layer = 2;
    commit(w, 2);
    format_of(w, line);
    assert_string_equal(line, "format 2\n");
    w->intent.resources[0].layer = 0;
    commit(w, 0);
    format_of(w, line);
    assert_string_equal(line, "format 2\n"); /* version 2 is still there */
    reopen(w);
    assert_verifies(w->store);
}

static void everything_comes_back(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    intent_set(&w->intent, "api", "one");
    intent_set(&w->intent, "web", "two");
    intent_set(&w->hidden, "web", "three");
    w->intent.resources[0].layer = 1;
    w->hidden.resources[0].layer = 2;
    commit(w, 2);
    reopen(w);
    const struct store_manifest *m = store_current(w->store);
    assert_int_equal(m->version.layer, 2);
    assert_int_equal(m->version.resources, 2);
    assert_int_equal(m->entries[0].layer, 1);
    assert_int_equal(m->entries[1].layer, 0);
    assert_int_equal(m->hidden_count, 1);
    assert_string_equal(m->hidden[0].name, "web");
    assert_int_equal(m->hidden[0].layer, 2);
    uint8_t *bytes;
    size_t size;
    assert_int_equal(store_read_object(w->store, &m->hidden[0].id, &bytes, &size, &errors), 0);
    assert_memory_equal(bytes, "three", size);
    hg_free(bytes);
}

static void hidden_ones_are_sorted_and_each_once(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    intent_set(&w->intent, "web", "one");
    intent_set(&w->hidden, "b", "two");
    intent_set(&w->hidden, "a", "three");
    intent_set(&w->hidden, "c", "four");
    for (int i = 0; i < 3; i++)
        w->hidden.resources[i].layer = (unsigned char)(1 + i % 2);
    w->hidden.resources[2].name = "b"; /* of the same layer as the first */
    assert_int_equal(commit_layers(w, 1, &errors), -1);
    assert_error(&errors, ERROR_CONFLICT, "a hidden resource is given twice");
    w->hidden.resources[2].layer = 2;
    commit(w, 1);
    const struct store_manifest *m = store_current(w->store);
    assert_string_equal(m->hidden[0].name, "a");
    assert_int_equal(m->hidden[1].layer, 1);
    assert_int_equal(m->hidden[2].layer, 2);
    w->intent.resources[0].layer = STORE_LAYERS_MAX;
    assert_int_equal(commit_layers(w, 1, &errors), -1);
    assert_error(&errors, ERROR_RANGE, "of a layer that there cannot be");
}

static void versions_know_the_push_before_them(void **state) {
    static const unsigned layers[] = {2, 0, 2, 2, 0, 0, 2};
    static const uint64_t before[] = {0, 0, 2, 2, 2, 5, 6};
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_log log;
    char text[16];
    for (int i = 0; i < 7; i++) {
        snprintf(text, sizeof text, "%d", i);
        intent_set(&w->intent, "web", text);
        commit(w, layers[i]);
        reopen(w);
    }
    assert_int_equal(store_list(w->store, 0, 10, &log, &errors), 0);
    assert_int_equal(log.count, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(log.items[6 - i].layer, layers[i]);
        assert_int_equal(log.items[6 - i].pushed_before, before[i]);
    }
    store_log_finish(&log);
    assert_verifies(w->store);
}

static void what_is_hidden_is_kept_by_gc(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_gc_result dropped;
    const struct store_retention retention = {.versions = 1};
    intent_set(&w->intent, "web", "one");
    commit(w, 0);
    intent_set(&w->intent, "web", "two");
    intent_set(&w->hidden, "web", "three");
    w->hidden.resources[0].layer = 2;
    commit(w, 0);
    assert_int_equal(store_gc(w->store, &retention, false, &dropped, &errors), 0);
    assert_int_equal(dropped.versions, 1);
    assert_int_equal(dropped.objects, 1);
    assert_verifies(w->store);
    const struct resource_id *id = &store_current(w->store)->hidden[0].id;
    char name[2 * RESOURCE_ID_SIZE + 1], path[JOINED_PATH];
    resource_id_format(id, name);
    snprintf(path, sizeof path, "%s/objects/%.1s/%s", w->path, name, name + 1);
    assert_int_equal(unlink(path), 0);
    struct store_verify_result result;
    assert_int_equal(store_verify(w->store, NULL, NULL, &result, &errors), 0);
    assert_error(&errors, ERROR_INTEGRITY, "the object is missing");
}

/* ---- what gc leaves ---- */

/* Versions 1, 12 and 23 are pushed; ten of a server follow each. */
static void commit_storms(struct world *w) {
    char text[24];
    for (int i = 0; i < 33; i++) {
        snprintf(text, sizeof text, "%d", i);
        intent_set(&w->intent, "web", text);
        commit(w, i % 11 ? 2 : 0);
    }
}

static void collect(struct world *w, uint64_t versions, uint64_t discovered, uint64_t dropped) {
    const struct store_retention retention = {.versions = versions, .discovered = discovered};
    struct store_gc_result result;
    struct error_list errors = {0};
    assert_int_equal(store_gc(w->store, &retention, true, &result, &errors), 0);
    assert_int_equal(result.versions, dropped);
    assert_int_equal(store_gc(w->store, &retention, false, &result, &errors), 0);
    assert_int_equal(result.versions, dropped);
    assert_no_errors(&errors);
    assert_verifies(w->store);
}

static void expect_versions(struct world *w, const uint64_t *numbers, size_t count) {
    struct error_list errors = {0};
    struct store_log log;
    assert_int_equal(store_list(w->store, 0, 100, &log, &errors), 0);
    assert_no_errors(&errors);
    assert_int_equal(log.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(log.items[i].number, numbers[i]);
    assert_int_equal(store_version_count(w->store), count);
    store_log_finish(&log);
}

static void a_storm_does_not_push_out_what_was_pushed(void **state) {
    static const uint64_t left[] = {33, 32, 31, 23, 12}, later[] = {34, 33, 23};
    struct world *w = *state;
    struct error_list errors = {0};
    commit_storms(w);
    collect(w, 2, 3, 28);
    expect_versions(w, left, 5);
    collect(w, 2, 3, 0);
    reopen(w);
    assert_verifies(w->store);
    expect_versions(w, left, 5);
    assert_int_equal(store_oldest_version(w->store), 12);
    assert_null(store_read_version(w->store, 20, &errors));
    assert_error(&errors, ERROR_REFERENCE, "version 20 was not pushed, and is not kept any more");
    assert_null(store_read_version(w->store, 1, &errors));
    assert_error(&errors, ERROR_REFERENCE, "the store has 12 to 33");
    struct store_manifest *m = store_read_version(w->store, 12, &errors);
    assert_non_null(m);
    store_manifest_unref(m);
    intent_set(&w->intent, "web", "more");
    commit(w, 2);
    collect(w, 1, 2, 3);
    expect_versions(w, later, 3);
}

static void without_a_push_the_newest_stay(void **state) {
    static const uint64_t left[] = {6, 5};
    struct world *w = *state;
    char text[24];
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof text, "%d", i);
        intent_set(&w->intent, "web", text);
        commit(w, 2);
    }
    collect(w, 100, 2, 4);
    expect_versions(w, left, 2);
    reopen(w);
    expect_versions(w, left, 2);
}

static void with_age_old_pushes_stay_and_old_words_of_servers_go(void **state) {
    static const uint64_t left[] = {33, 32, 23, 12};
    const struct store_retention retention = {.versions = 1, .discovered = 2, .age_us = 22500000, .now_us = 33000000};
    struct world *w = *state;
    struct store_gc_result result;
    struct error_list errors = {0};
    commit_storms(w); /* one a second, the last at 33 */
    assert_int_equal(store_gc(w->store, &retention, false, &result, &errors), 0);
    expect_versions(w, left, 4);
    assert_verifies(w->store);
}

static void version_path(const struct world *w, const char *name, char path[JOINED_PATH]) {
    char folder[JOINED_PATH];
    join_path(folder, w->path, "versions");
    join_path(path, folder, name);
}

/* A gc that was cut off after the head was written. */
static void what_a_gc_left_behind_goes_when_the_store_opens(void **state) {
    static const uint64_t left[] = {33, 32, 31, 23, 12};
    struct world *w = *state;
    char path[JOINED_PATH], aside[JOINED_PATH];
    commit_storms(w);
    version_path(w, "20", path);
    join_path(aside, w->folder, "aside");
    assert_int_equal(link(path, aside), 0);
    collect(w, 2, 3, 28);
    assert_int_equal(rename(aside, path), 0);
    struct error_list errors = {0};
    struct store_verify_result result;
    assert_int_equal(store_verify(w->store, NULL, NULL, &result, &errors), 0);
    assert_error(&errors, ERROR_INTEGRITY, "not a version of this history");
    reopen(w);
    assert_int_equal(access(path, F_OK), -1);
    expect_versions(w, left, 5);
    assert_verifies(w->store);
}

static void a_push_that_is_missing_is_found(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_verify_result result;
    char path[JOINED_PATH];
    commit_storms(w);
    collect(w, 3, 2, 28);
    version_path(w, "12", path);
    assert_int_equal(unlink(path), 0);
    reopen(w);
    assert_int_equal(store_verify(w->store, NULL, NULL, &result, &errors), 0);
    assert_error(&errors, ERROR_INTEGRITY, "the chain is broken");
}

static void collecting_without_memory(void **state) {
    const struct store_retention retention = {.versions = 2, .discovered = 3};
    struct world *w = *state;
    struct store_gc_result dropped;
    int status = -1;
    commit_storms(w);
    for (long nth = 0; status < 0; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        status = store_gc(w->store, &retention, false, &dropped, &errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&errors);
        assert_true(nth < 5000);
    }
    struct error_list errors = {0};
    store_close(w->store);
    for (long nth = 0; nth >= 0; nth++) {
        hg_alloc_fail_at(nth, 0);
        w->store = store_open(w->path, &errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&errors);
        if (w->store)
            break;
        assert_true(nth < 1000);
    }
    assert_int_equal(store_version_count(w->store), 5);
    assert_verifies(w->store);
}

static void every_allocation_may_fail(void **state) {
    struct world *w = *state;
    intent_set(&w->intent, "web", "one");
    w->intent.resources[0].layer = 1;
    intent_set(&w->hidden, "web", "two");
    w->hidden.resources[0].layer = 2;
    int status = -1;
    for (long nth = 0; status < 0; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        status = commit_layers(w, 1, &errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&errors);
        assert_true(nth < 1000);
    }
    store_close(w->store);
    w->store = NULL;
    for (long nth = 0; !w->store; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        w->store = store_open(w->path, &errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&errors);
        assert_true(nth < 1000);
    }
    assert_int_equal(store_current(w->store)->hidden_count, 1);
    assert_verifies(w->store);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(older_programs_read_a_store_until_it_has_layers),
        T(everything_comes_back),
        T(hidden_ones_are_sorted_and_each_once),
        T(versions_know_the_push_before_them),
        T(what_is_hidden_is_kept_by_gc),
        T(a_storm_does_not_push_out_what_was_pushed),
        T(without_a_push_the_newest_stay),
        T(with_age_old_pushes_stay_and_old_words_of_servers_go),
        T(what_a_gc_left_behind_goes_when_the_store_opens),
        T(a_push_that_is_missing_is_found),
        T(collecting_without_memory),
        T(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
