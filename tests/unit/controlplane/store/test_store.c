/* What a store does when nothing goes wrong, and what it refuses. */
#include "tests/unit/controlplane/store/fixture.h"

#include <errno.h>

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct intent intent;
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    make_fast_folder(w->folder);
    snprintf(w->path, sizeof w->path, "%s/store", w->folder);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    intent_finish(&w->intent);
    remove_tree(w->folder);
    free(w);
    return 0;
}

/* ---- making and opening ---- */

static void a_new_store_is_empty(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store *s = open_store(w->path);
    static const uint8_t zero[LINEAGE_SIZE];
    assert_null(store_current(s));
    assert_int_equal(store_next_version(s), 1);
    assert_int_equal(store_oldest_version(s), 0);
    assert_int_equal(store_pinned_version(s), 0);
    assert_memory_not_equal(store_lineage(s), zero, LINEAGE_SIZE);
    assert_null(store_read_version(s, 1, &errors));
    assert_error(&errors, ERROR_REFERENCE, "the store is empty");
    assert_int_equal(store_set_pin(s, true, &errors), -1);
    assert_error(&errors, ERROR_STATE, "no version to pin to");
    assert_verifies(s);
    store_close(s);
}

static void the_lineage_stays_and_is_the_stores_own(void **state) {
    struct world *w = *state;
    char other_path[FIXTURE_PATH + 16];
    uint8_t lineage[LINEAGE_SIZE];
    struct store *s = open_store(w->path);
    memcpy(lineage, store_lineage(s), LINEAGE_SIZE);
    store_close(s);
    s = open_store(w->path);
    assert_memory_equal(store_lineage(s), lineage, LINEAGE_SIZE);
    store_close(s);
    snprintf(other_path, sizeof other_path, "%s/other", w->folder);
    s = open_store(other_path);
    assert_memory_not_equal(store_lineage(s), lineage, LINEAGE_SIZE);
    store_close(s);
}

static void a_store_is_open_once(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store *s = open_store(w->path);
    assert_null(store_open(w->path, &errors));
    assert_error(&errors, ERROR_CONFLICT, "in use by another daemon");
    assert_true(store_is_in_use(w->path));
    store_close(s);
    assert_false(store_is_in_use(w->path));
    store_close(open_store(w->path));
    assert_false(store_is_in_use("/nonexistent/headgate"));
}

static void check_mode(void *context, const char *file) {
    struct stat st;
    unsigned *files = context;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    ++*files;
}

static void files_are_the_owners_alone(void **state) {
    struct world *w = *state;
    struct stat st;
    unsigned files = 0;
    mode_t before = umask(0);
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    intent_set(&w->intent, "web", "one");
    commit_intent(s, &w->intent);
    assert_int_equal(store_save_state(s, &(struct store_state){.generation = 1}, &errors), 0);
    umask(before);
    each_file(w->path, check_mode, &files);
    assert_int_equal(files, 6); /* format, lock, HEAD, state, one version, one object */
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    store_close(s);
}

static void write_text(const char *folder, const char *name, const char *text) {
    char path[JOINED_PATH];
    join_path(path, folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_newer_format_is_refused_by_name(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    store_close(open_store(w->path));
    write_text(w->path, "format", "headgate store\nformat 3\nsomething new\n");
    assert_null(store_open(w->path, &errors));
    assert_error(&errors, ERROR_UNSUPPORTED, "the store has format 3, and this program reads up to 2");
    write_text(w->path, "format", "headgate store\nformat x\n");
    assert_null(store_open(w->path, &errors));
    assert_error(&errors, ERROR_INTEGRITY, "store/format: damaged");
    write_text(w->path, "format", "");
    assert_null(store_open(w->path, &errors));
    assert_error(&errors, ERROR_INTEGRITY, "store/format: damaged");
}

static void a_folder_with_something_else_is_not_made_a_store(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    write_text(w->folder, "letter", "dear reader");
    assert_null(store_open(w->folder, &errors));
    assert_error(&errors, ERROR_INTEGRITY, "holds something else");
}

static void versions_without_a_format_are_not_overwritten(void **state) {
    struct world *w = *state;
    char path[FIXTURE_PATH + 32];
    struct error_list errors = {0};
    struct store *s = open_store(w->path);
    commit_intent(s, &w->intent);
    store_close(s);
    snprintf(path, sizeof path, "%s/format", w->path);
    assert_int_equal(unlink(path), 0);
    assert_null(store_open(w->path, &errors));
    assert_error(&errors, ERROR_INTEGRITY, "the format file is missing, but there are versions");
}

static void a_folder_without_a_parent_is_an_error(void **state) {
    struct world *w = *state;
    char path[FIXTURE_PATH + 32];
    struct error_list errors = {0};
    snprintf(path, sizeof path, "%s/none/store", w->folder);
    assert_null(store_open(path, &errors));
    assert_error(&errors, ERROR_IO, "No such file or directory");
    write_text(w->folder, "store", "a file");
    assert_null(store_open(w->path, &errors));
    assert_error(&errors, ERROR_IO, "Not a directory");
}

/* ---- versions ---- */

static void a_commit_is_the_next_version(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    intent_set(&w->intent, "web", "one");
    intent_set(&w->intent, "api", "two");
    commit_intent(s, &w->intent);
    for (int opened = 0; opened < 2; opened++) {
        const struct store_version *v = &store_current(s)->version;
        assert_int_equal(v->number, 1);
        assert_int_equal(v->parent, 0);
        assert_int_equal(v->restores, 0);
        assert_int_equal(v->time_us, 1000000);
        assert_string_equal(v->author, "tester");
        assert_string_equal(v->message, "a change");
        assert_int_equal(store_next_version(s), 2);
        assert_int_equal(store_oldest_version(s), 1);
        assert_string_equal(store_current(s)->entries[0].name, "api");
        assert_string_equal(store_current(s)->entries[1].name, "web");
        assert_current_is(s, &w->intent);
        assert_verifies(s);
        store_close(s);
        s = open_store(w->path);
    }
    store_close(s);
}

static void an_intent_may_be_empty_and_a_resource_too(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    commit_intent(s, &w->intent);
    assert_current_is(s, &w->intent);
    intent_set(&w->intent, "web", "");
    intent_set(&w->intent, "same", "");
    commit_intent(s, &w->intent);
    store_close(s);
    s = open_store(w->path);
    assert_current_is(s, &w->intent);
    assert_verifies(s);
    store_close(s);
}

static void the_intent_hash_is_the_one_of_the_channel(void **state) {
    struct world *w = *state;
    struct resource_id expected;
    struct store *s = open_store(w->path);
    intent_set(&w->intent, "web", "one");
    commit_intent(s, &w->intent);
    Headgate__Entry entry = HEADGATE__ENTRY__INIT, *entries[] = {&entry};
    entry.kind = HEADGATE__KIND__KIND_CLUSTER;
    entry.name = "web";
    entry.id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, w->intent.resources[0].id.bytes};
    assert_int_equal(manifest_hash(entries, 1, &expected), 0);
    assert_true(resource_id_equal(&expected, &store_current(s)->version.intent_hash));
    store_close(s);
}

static void count_file(void *context, const char *file) {
    unsigned *objects = context;
    *objects += strstr(file, "/objects/") != NULL;
}

static unsigned count_objects(const struct world *w) {
    unsigned objects = 0;
    each_file(w->path, count_file, &objects);
    return objects;
}

static void equal_bytes_are_one_object(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    intent_set(&w->intent, "a", "same");
    intent_set(&w->intent, "b", "same");
    intent_set(&w->intent, "c", "other");
    commit_intent(s, &w->intent);
    assert_int_equal(count_objects(w), 2);
    commit_intent(s, &w->intent);
    assert_int_equal(count_objects(w), 2);
    assert_verifies(s);
    store_close(s);
}

static void any_version_can_be_read(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    char text[32];
    for (unsigned i = 1; i <= 5; i++) {
        snprintf(text, sizeof text, "value %u", i);
        intent_set(&w->intent, "web", text);
        commit_intent(s, &w->intent);
    }
    for (unsigned i = 1; i <= 5; i++) {
        uint8_t *bytes;
        size_t size;
        struct store_manifest *m = store_read_version(s, i, &errors);
        assert_no_errors(&errors);
        assert_int_equal(m->version.number, i);
        assert_int_equal(m->version.parent, i - 1);
        assert_int_equal(store_read_object(s, &m->entries[0].id, &bytes, &size, &errors), 0);
        snprintf(text, sizeof text, "value %u", i);
        assert_int_equal(size, strlen(text));
        assert_memory_equal(bytes, text, size);
        hg_free(bytes);
        store_manifest_unref(m);
    }
    assert_null(store_read_version(s, 6, &errors));
    assert_error(&errors, ERROR_REFERENCE, "there is no version 6: the store has 1 to 5");
    assert_null(store_read_version(s, 0, &errors));
    assert_error(&errors, ERROR_REFERENCE, "there is no version 0");
    store_close(s);
}

static void the_log_is_newest_first(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    struct store_log log;
    assert_int_equal(store_list(s, 0, 10, &log, &errors), 0);
    assert_int_equal(log.count, 0);
    for (unsigned i = 0; i < 5; i++)
        commit_intent(s, &w->intent);
    assert_int_equal(store_list(s, 0, 3, &log, &errors), 0);
    assert_int_equal(log.count, 3);
    assert_int_equal(log.items[0].number, 5);
    assert_int_equal(log.items[2].number, 3);
    assert_string_equal(log.items[2].author, "tester");
    assert_true(resource_id_equal(&log.items[0].hash, &store_current(s)->version.hash));
    store_log_finish(&log);
    assert_int_equal(store_list(s, 2, 100, &log, &errors), 0);
    assert_int_equal(log.count, 2);
    assert_int_equal(log.items[1].number, 1);
    store_log_finish(&log);
    assert_no_errors(&errors);
    assert_int_equal(store_list(s, 9, 100, &log, &errors), -1);
    assert_error(&errors, ERROR_REFERENCE, "there is no version 9");
    store_close(s);
}

static void a_rollback_needs_no_bytes(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    intent_set(&w->intent, "web", "one");
    commit_intent(s, &w->intent);
    intent_set(&w->intent, "web", "two");
    commit_intent(s, &w->intent);
    struct store_manifest *old = store_read_version(s, 1, &errors);
    struct store_resource r = {
        .kind = old->entries[0].kind, .name = old->entries[0].name, .id = old->entries[0].id};
    struct store_commit c = {.resources = &r, .count = 1, .parent = 2, .restores = 1, .pin = true};
    assert_int_equal(store_commit(s, &c, &errors), 0);
    assert_no_errors(&errors);
    assert_true(resource_id_equal(&store_current(s)->version.intent_hash, &old->version.intent_hash));
    assert_false(resource_id_equal(&store_current(s)->version.hash, &old->version.hash));
    store_manifest_unref(old);
    store_close(s);
    s = open_store(w->path);
    intent_set(&w->intent, "web", "one");
    assert_current_is(s, &w->intent);
    assert_int_equal(store_current(s)->version.restores, 1);
    assert_int_equal(store_pinned_version(s), 3);
    assert_verifies(s);
    store_close(s);
}

static void a_pin_lasts_until_the_next_push(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    commit_intent(s, &w->intent);
    assert_int_equal(store_set_pin(s, true, &errors), 0);
    assert_int_equal(store_pinned_version(s), 1);
    store_close(s);
    s = open_store(w->path);
    assert_int_equal(store_pinned_version(s), 1);
    commit_intent(s, &w->intent);
    assert_int_equal(store_pinned_version(s), 0);
    assert_int_equal(store_set_pin(s, true, &errors), 0);
    assert_int_equal(store_set_pin(s, false, &errors), 0);
    assert_int_equal(store_pinned_version(s), 0);
    assert_no_errors(&errors);
    assert_verifies(s);
    store_close(s);
}

static void a_manifest_outlives_the_store(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    intent_set(&w->intent, "web", "one");
    commit_intent(s, &w->intent);
    struct store_manifest *m = store_manifest_ref(store_current(s));
    commit_intent(s, &w->intent);
    store_close(s);
    assert_string_equal(m->entries[0].name, "web");
    store_manifest_unref(m);
}

static void find_is_exact(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    char name[32];
    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "c%u", i);
        intent_set(&w->intent, name, name);
    }
    commit_intent(s, &w->intent);
    const struct store_manifest *m = store_current(s);
    assert_current_is(s, &w->intent);
    assert_null(store_manifest_find(m, HEADGATE__KIND__KIND_CLUSTER, STR("c")));
    assert_null(store_manifest_find(m, HEADGATE__KIND__KIND_CLUSTER, STR("c500")));
    assert_null(store_manifest_find(m, HEADGATE__KIND__KIND_LISTENER, STR("c1")));
    assert_null(store_manifest_find(m, HEADGATE__KIND__KIND_ENDPOINT_SET, STR("c1")));
    store_close(s);
}

/* ---- what a commit refuses ---- */

static void expect_refusal(struct store *s, const struct store_commit *c, enum error_code code,
                           const char *part) {
    struct error_list errors = {0};
    uint64_t next = store_next_version(s);
    assert_int_equal(store_commit(s, c, &errors), -1);
    assert_error(&errors, code, part);
    assert_int_equal(store_next_version(s), next);
    assert_verifies(s);
}

static void a_wrong_commit_changes_nothing(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct intent *in = &w->intent;
    char text[STORE_MESSAGE_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    intent_set(in, "web", "one");
    commit_intent(s, in);
    intent_set(in, "api", "two");
    struct store_commit good = commit_of(s, in), c = good;
    c.parent = 0;
    expect_refusal(s, &c, ERROR_STATE, "made from version 0, but the newest is 1");
    c = good;
    c.message = text;
    expect_refusal(s, &c, ERROR_RANGE, "the message has more than 4096 bytes");
    c = good;
    c.author = text;
    expect_refusal(s, &c, ERROR_RANGE, "the author has more than 256 bytes");
    c = good;
    c.count = RESOURCES_MAX + 1;
    expect_refusal(s, &c, ERROR_RANGE, "resources, at most");
    in->resources[1].name = "web";
    expect_refusal(s, &good, ERROR_CONFLICT, "cluster/web: given twice");
    in->resources[1].name = "no spaces";
    expect_refusal(s, &good, ERROR_SYNTAX, "cluster/no spaces: not a valid resource name");
    in->resources[1].name = NULL;
    expect_refusal(s, &good, ERROR_SYNTAX, "not a valid resource name");
    in->resources[1].name = "api";
    in->resources[1].kind = 99;
    expect_refusal(s, &good, ERROR_UNSUPPORTED, "kind 99/api: unknown kind");
    in->resources[1].kind = HEADGATE__KIND__KIND_CLUSTER;
    in->resources[1].size = RESOURCE_BYTES_MAX + 1;
    expect_refusal(s, &good, ERROR_RANGE, "cluster/api: resource is too large");
    in->resources[1].size = 2;
    expect_refusal(s, &good, ERROR_INTEGRITY, "cluster/api: the bytes do not have the id");
    in->resources[1].size = 3;
    in->resources[1].bytes = NULL;
    expect_refusal(s, &good, ERROR_REFERENCE, "the object is missing");
    in->resources[1].bytes = in->bytes[1];
    commit_intent(s, in);
    assert_current_is(s, in);
    store_close(s);
}

/* ---- objects and state ---- */

static void an_unknown_object_is_an_error(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    struct resource_id id = {{1}};
    uint8_t *bytes;
    size_t size;
    assert_int_equal(store_read_object(s, &id, &bytes, &size, &errors), -1);
    assert_error(&errors, ERROR_REFERENCE, "the object is missing");
    store_close(s);
}

static void the_saved_state_comes_back(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    struct store_state saved = {0}, loaded;
    assert_int_equal(store_load_state(s, &loaded, &errors), 0);
    for (unsigned generation = 7; generation < 9; generation++) {
        intent_set(&w->intent, "web", generation == 7 ? "up" : "down");
        intent_set(&w->intent, "api", "");
        saved = (struct store_state){.generation = generation,
                                     .time_us = 5,
                                     .resources = w->intent.resources,
                                     .count = w->intent.count};
        assert_int_equal(store_save_state(s, &saved, &errors), 0);
    }
    store_close(s);
    s = open_store(w->path);
    assert_int_equal(store_load_state(s, &loaded, &errors), 1);
    assert_no_errors(&errors);
    assert_int_equal(loaded.generation, 8);
    assert_int_equal(loaded.time_us, 5);
    assert_int_equal(loaded.count, 2);
    assert_string_equal(loaded.resources[0].name, "web");
    assert_int_equal(loaded.resources[0].size, 4);
    assert_memory_equal(loaded.resources[0].bytes, "down", 4);
    assert_true(resource_id_equal(&loaded.resources[0].id, &w->intent.resources[0].id));
    assert_int_equal(loaded.resources[1].size, 0);
    assert_non_null(loaded.resources[1].bytes);
    store_state_finish(&loaded);
    assert_verifies(s);
    store_close(s);
}

static int fail_rename(void *context, struct disk_step *step) {
    (void)context;
    return step->op == DISK_RENAME ? EIO : 0;
}

/* What is saved beside other calls is what comes back, and the one before it when it fails. */
static void a_state_saved_beside_comes_back(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    struct store_state saved = {.generation = 3, .resources = w->intent.resources}, loaded;
    assert_int_equal(store_save_state_beside(s, &saved, &errors), 0);
    saved.generation = 4;
    assert_int_equal(store_save_state_beside(s, &saved, &errors), 0);
    assert_no_errors(&errors);
    saved.generation = 5;
    disk_set_hook(fail_rename, NULL);
    assert_int_equal(store_save_state_beside(s, &saved, &errors), -1);
    disk_set_hook(NULL, NULL);
    assert_error(&errors, ERROR_IO, "cannot put the file in its place");
    assert_verifies(s);
    store_close(s);
    s = open_store(w->path);
    assert_int_equal(store_load_state(s, &loaded, &errors), 1);
    assert_int_equal(loaded.generation, 4);
    store_state_finish(&loaded);
    store_close(s);
}

static void a_state_beyond_its_limit_is_refused(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    struct error_list errors = {0};
    struct store_resource r = {.name = "x", .bytes = "", .size = (size_t)STORE_STATE_MAX + 1};
    assert_int_equal(store_save_state(s, &(struct store_state){.resources = &r, .count = 1}, &errors), -1);
    assert_error(&errors, ERROR_RANGE, "a state of 1 resource and");
    store_close(s);
}

/* ---- what a commit costs in steps ---- */

struct step_count {
    unsigned syncs, sync_all, creates, steps;
    size_t bytes;
};

static int count_step(void *context, struct disk_step *step) {
    struct step_count *c = context;
    c->steps++;
    c->creates += step->op == DISK_CREATE;
    c->syncs += step->op == DISK_SYNC_FILE || step->op == DISK_SYNC_FOLDER;
    c->sync_all += step->op == DISK_SYNC_ALL;
    c->bytes += step->op == DISK_WRITE ? step->bytes.n : 0;
    return 0;
}

static void steps_of_a_commit(void **state) {
    struct world *w = *state;
    struct store *s = open_store(w->path);
    char name[32];
    struct step_count all = {0}, one = {0};
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "cluster-%u", i);
        intent_set(&w->intent, name, name);
    }
    disk_set_hook(count_step, &all);
    commit_intent(s, &w->intent);
    intent_set(&w->intent, "cluster-7", "changed");
    disk_set_hook(count_step, &one);
    commit_intent(s, &w->intent);
    disk_set_hook(NULL, NULL);
    assert_int_equal(all.sync_all, 2); /* bytes, then names */
    assert_int_equal(all.syncs, 4);    /* version file and its folder, head and its folder */
    assert_int_equal(one.creates, 3);  /* object, version, head */
    assert_int_equal(one.syncs, 6);
    assert_int_equal(one.sync_all, 0);
    assert_true(one.bytes < 300 * 64 + 1000); /* the object, and one manifest */
    store_close(s);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_new_store_is_empty),
        T(the_lineage_stays_and_is_the_stores_own),
        T(a_store_is_open_once),
        T(files_are_the_owners_alone),
        T(a_newer_format_is_refused_by_name),
        T(a_folder_with_something_else_is_not_made_a_store),
        T(versions_without_a_format_are_not_overwritten),
        T(a_folder_without_a_parent_is_an_error),
        T(a_commit_is_the_next_version),
        T(an_intent_may_be_empty_and_a_resource_too),
        T(the_intent_hash_is_the_one_of_the_channel),
        T(equal_bytes_are_one_object),
        T(any_version_can_be_read),
        T(the_log_is_newest_first),
        T(a_rollback_needs_no_bytes),
        T(a_pin_lasts_until_the_next_push),
        T(a_manifest_outlives_the_store),
        T(find_is_exact),
        T(a_wrong_commit_changes_nothing),
        T(an_unknown_object_is_an_error),
        T(the_saved_state_comes_back),
        T(a_state_saved_beside_comes_back),
        T(a_state_beyond_its_limit_is_refused),
        T(steps_of_a_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
