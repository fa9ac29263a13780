/* What gc drops and what it keeps. labels: threads */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/controlplane/store/fixture.h"

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct store *store;
};

/* Version i sets "web" to "value i" and was made at i seconds; "base" never changes. */
static void commit_versions(struct store *s, unsigned first, unsigned last) {
    struct intent *in = calloc(1, sizeof *in);
    char text[32];
    for (unsigned i = first; i <= last; i++) {
        snprintf(text, sizeof text, "value %u", i);
        intent_set(in, "web", text);
        intent_set(in, "base", "base");
        commit_intent(s, in);
    }
    intent_finish(in);
    free(in);
}

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
    remove_tree(w->folder);
    free(w);
    return 0;
}

static struct store_gc_result gc(struct store *s, struct store_retention retention, bool dry_run) {
    struct error_list errors = {0};
    struct store_gc_result result = {0};
    int status = store_gc(s, &retention, dry_run, &result, &errors);
    assert_no_errors(&errors);
    assert_int_equal(status, 0);
    return result;
}

static void expect(struct store_gc_result found, uint64_t versions, uint64_t objects) {
    assert_int_equal(found.versions, versions);
    assert_int_equal(found.objects, objects);
    assert_int_equal(found.bytes > 0, versions + objects > 0);
}

static bool has_version(struct store *s, uint64_t number) {
    struct error_list errors = {0};
    struct store_manifest *m = store_read_version(s, number, &errors);
    error_list_finish(&errors);
    store_manifest_unref(m);
    return m != NULL;
}

static void an_empty_store_has_nothing_to_drop(void **state) {
    struct world *w = *state;
    expect(gc(w->store, (struct store_retention){0}, false), 0, 0);
    assert_verifies(w->store);
}

static void the_newest_stay(void **state) {
    struct world *w = *state;
    commit_versions(w->store, 1, 10);
    expect(gc(w->store, (struct store_retention){.versions = 20}, false), 0, 0);
    expect(gc(w->store, (struct store_retention){.versions = 4}, false), 6, 6);
    assert_int_equal(store_oldest_version(w->store), 7);
    assert_false(has_version(w->store, 6));
    assert_true(has_version(w->store, 7));
    expect(gc(w->store, (struct store_retention){.versions = 4}, false), 0, 0);
    assert_verifies(w->store);
    store_close(w->store);
    w->store = open_store(w->path);
    assert_int_equal(store_oldest_version(w->store), 7);
    assert_verifies(w->store);
}

static void even_none_keeps_the_newest(void **state) {
    struct world *w = *state;
    commit_versions(w->store, 1, 3);
    expect(gc(w->store, (struct store_retention){.versions = 0}, false), 2, 2);
    assert_int_equal(store_oldest_version(w->store), 3);
    commit_versions(w->store, 4, 4);
    assert_verifies(w->store);
}

static void the_young_stay(void **state) {
    struct world *w = *state;
    struct store_retention retention = {.versions = 2, .age_us = 5000000, .now_us = 10000000};
    commit_versions(w->store, 1, 10);
    expect(gc(w->store, retention, false), 5, 5); /* 6 to 10 are younger than five seconds */
    assert_int_equal(store_oldest_version(w->store), 6);
    retention.now_us = 1000000000;
    expect(gc(w->store, retention, false), 3, 3);
    assert_int_equal(store_oldest_version(w->store), 9);
    assert_verifies(w->store);
}

/* A clock that was set back gives times in the future: those are not old. */
static void times_in_the_future_are_young(void **state) {
    struct world *w = *state;
    commit_versions(w->store, 1, 3);
    expect(gc(w->store, (struct store_retention){.versions = 1, .age_us = 1, .now_us = 1000000}, false), 0,
           0);
}

static void a_dry_run_says_the_same_and_drops_nothing(void **state) {
    struct world *w = *state;
    struct store_retention retention = {.versions = 3};
    commit_versions(w->store, 1, 8);
    struct store_gc_result dry = gc(w->store, retention, true);
    expect(dry, 5, 5);
    for (unsigned i = 1; i <= 8; i++)
        assert_true(has_version(w->store, i));
    assert_verifies(w->store);
    struct store_gc_result real = gc(w->store, retention, false);
    assert_memory_equal(&dry, &real, sizeof dry);
    assert_verifies(w->store);
}

static void objects_that_come_back_stay(void **state) {
    struct world *w = *state;
    commit_versions(w->store, 1, 3);
    commit_versions(w->store, 1, 1); /* version 4 has the bytes of version 1 */
    expect(gc(w->store, (struct store_retention){.versions = 1}, false), 3, 2);
    assert_verifies(w->store);
}

static void what_a_crashed_commit_left_is_dropped(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    struct resource_id id;
    char text[2 * RESOURCE_ID_SIZE + 1];
    commit_versions(w->store, 1, 2);
    assert_int_equal(resource_id_of("orphan", 6, &id), 0);
    resource_id_format(&id, text);
    int n = snprintf(path, sizeof path, "%s/objects/%.1s/%s", w->path, text, text + 1);
    assert_true(n > 0 && n < JOINED_PATH);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("orphan", file);
    fclose(file);
    assert_verifies(w->store);
    expect(gc(w->store, (struct store_retention){.versions = 10}, false), 0, 1);
    assert_verifies(w->store);
}

static void what_is_held_stays_readable(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    uint8_t *bytes;
    size_t size;
    commit_versions(w->store, 1, 5);
    struct store_manifest *held = store_read_version(w->store, 2, &errors);
    expect(gc(w->store, (struct store_retention){.versions = 1}, false), 4, 3);
    assert_false(has_version(w->store, 2));
    const struct store_entry *e = store_manifest_find(held, HEADGATE__KIND__KIND_CLUSTER, STR("web"));
    assert_int_equal(store_read_object(w->store, &e->id, &bytes, &size, &errors), 0);
    assert_memory_equal(bytes, "value 2", 7);
    hg_free(bytes);
    store_manifest_unref(held);
    expect(gc(w->store, (struct store_retention){.versions = 1}, false), 0, 1);
    assert_verifies(w->store);
}

/* A reader of what it holds never notices commits and collections beside it. */
struct reader {
    const struct store *store;
    const struct store_manifest *manifest;
    _Atomic bool stop;
    _Atomic unsigned reads, failures;
};

static void *read_for_ever(void *context) {
    struct reader *r = context;
    while (!atomic_load(&r->stop)) {
        for (size_t i = 0; i < r->manifest->version.resources; i++) {
            struct error_list errors = {0};
            uint8_t *bytes = NULL;
            size_t size;
            if (store_read_object(r->store, &r->manifest->entries[i].id, &bytes, &size, &errors) < 0)
                atomic_fetch_add(&r->failures, 1);
            atomic_fetch_add(&r->reads, 1);
            error_list_finish(&errors);
            hg_free(bytes);
        }
    }
    return NULL;
}

static void reading_goes_on_beside_gc(void **state) {
    struct world *w = *state;
    pthread_t thread;
    commit_versions(w->store, 1, 1);
    struct reader reader = {.store = w->store, .manifest = store_manifest_ref(store_current(w->store))};
    assert_int_equal(pthread_create(&thread, NULL, read_for_ever, &reader), 0);
    unsigned rounds = 0;
    while (rounds < 5 || atomic_load(&reader.reads) < 100) {
        commit_versions(w->store, 1, 4);
        gc(w->store, (struct store_retention){.versions = 1}, false);
        rounds++;
    }
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&reader.failures), 0);
    store_manifest_unref((struct store_manifest *)reader.manifest);
    assert_verifies(w->store);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_empty_store_has_nothing_to_drop), T(the_newest_stay),
        T(even_none_keeps_the_newest),         T(the_young_stay),
        T(times_in_the_future_are_young),      T(a_dry_run_says_the_same_and_drops_nothing),
        T(objects_that_come_back_stay),        T(what_a_crashed_commit_left_is_dropped),
        T(what_is_held_stays_readable),        T(reading_goes_on_beside_gc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
