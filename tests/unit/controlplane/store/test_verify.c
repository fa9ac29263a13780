/* Damage of every kind, and what verify, or opening, says about it. */
#include "tests/unit/controlplane/store/fixture.h"

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16], template[FIXTURE_PATH + 16];
    struct store *store; /* open on `path` */
};

/* Three versions over a handful of objects, a state, and an object that no version names. */
static void make_template(struct world *w) {
    struct error_list errors = {0};
    struct intent *in = calloc(1, sizeof *in);
    struct store *s = open_store(w->template);
    intent_set(in, "web", "first");
    intent_set(in, "api", "stays");
    commit_intent(s, in);
    intent_set(in, "web", "second");
    commit_intent(s, in);
    intent_set(in, "empty", "");
    commit_intent(s, in);
    struct store_state state = {.generation = 3, .resources = in->resources, .count = in->count};
    assert_int_equal(store_save_state(s, &state, &errors), 0);
    assert_verifies(s);
    store_close(s);
    intent_finish(in);
    free(in);
}

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    make_fast_folder(w->folder);
    snprintf(w->path, sizeof w->path, "%s/store", w->folder);
    snprintf(w->template, sizeof w->template, "%s/template", w->folder);
    make_template(w);
    copy_tree(w->template, w->path);
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

/* Number of faults; all errors in `errors`. */
static uint64_t verify(struct store *s, struct error_list *errors) {
    struct store_verify_result result;
    assert_int_equal(store_verify(s, NULL, NULL, &result, errors), 0);
    assert_int_equal(result.faults, errors->count + errors->dropped);
    return result.faults;
}

static bool says(const struct error_list *errors, const char *part) {
    bool found = false;
    for (size_t i = 0; i < errors->count && !found; i++) {
        struct strbuf text = {0};
        error_format(&errors->items[i], &text);
        found = strstr(text.p, part) != NULL;
        strbuf_finish(&text);
    }
    return found;
}

static void assert_verify_says(struct store *s, const char *part) {
    struct error_list errors = {0};
    uint64_t faults = verify(s, &errors);
    if (faults == 0 || !says(&errors, part))
        print_errors(&errors);
    assert_true(faults > 0);
    assert_true(says(&errors, part));
    error_list_finish(&errors);
}

/* ---- every byte of every file ---- */

struct sweep {
    struct world *world;
    unsigned files;
    unsigned long bytes, found_by_verify, found_by_open;
};

static void change_byte(const char *file, long at, unsigned char mask) {
    unsigned char byte;
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static long size_of(const char *file) {
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    return (long)st.st_size;
}

/* The store that is open sees it; and one that is opened afterwards refuses, or sees it too. */
static void assert_damage_is_found(struct sweep *sweep, const char *file, const char *what, long at) {
    struct world *w = sweep->world;
    struct error_list errors = {0};
    uint64_t faults = verify(w->store, &errors);
    if (!faults)
        print_message("%s: %s at %ld was not found\n", file, what, at);
    assert_true(faults > 0);
    error_list_finish(&errors);
    store_close(w->store);
    struct store *again = store_open(w->path, &errors);
    sweep->found_by_open += again == NULL;
    sweep->found_by_verify += again != NULL;
    assert_true(again == NULL || verify(again, &errors) > 0);
    store_close(again);
    assert_true(errors.count > 0);
    error_list_finish(&errors);
}

static void flip_file(void *context, const char *file) {
    struct sweep *sweep = context;
    long size = size_of(file);
    sweep->files++;
    for (long at = 0; at < size; at++, sweep->bytes++) {
        unsigned char mask = (unsigned char)(1u << (at % 8));
        change_byte(file, at, mask);
        assert_damage_is_found(sweep, file, "flipped bit", at);
        change_byte(file, at, mask);
        sweep->world->store = open_store(sweep->world->path);
    }
}

static void any_flipped_bit_is_found(void **state) {
    struct sweep sweep = {.world = *state};
    each_file(sweep.world->path, flip_file, &sweep);
    assert_verifies(sweep.world->store);
    assert_int_equal(sweep.files, 11); /* format, lock, HEAD, state, 3 versions, 4 objects */
    assert_true(sweep.found_by_open > 0 && sweep.found_by_verify > 0);
    print_message("%lu bytes in %u files: opening refused %lu, verify found %lu\n", sweep.bytes, sweep.files,
                  sweep.found_by_open, sweep.found_by_verify);
}

static void put_back(struct world *w, const char *file) {
    char source[JOINED_PATH], bytes[8192];
    join_path(source, w->template, file + strlen(w->path) + 1);
    int in = open(source, O_RDONLY), out = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    ssize_t n = read(in, bytes, sizeof bytes);
    assert_true(n < (ssize_t)sizeof bytes);
    assert_int_equal(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
    w->store = open_store(w->path);
}

static void cut_file(void *context, const char *file) {
    struct sweep *sweep = context;
    long size = size_of(file);
    for (long length = 0; length < size; length++, sweep->bytes++) {
        assert_int_equal(truncate(file, length), 0);
        assert_damage_is_found(sweep, file, "cut", length);
        put_back(sweep->world, file);
    }
    if (strstr(file, "/lock"))
        return;
    assert_int_equal(truncate(file, size + 1), 0);
    assert_damage_is_found(sweep, file, "a byte more", size);
    put_back(sweep->world, file);
}

static void any_cut_and_any_addition_is_found(void **state) {
    struct sweep sweep = {.world = *state};
    each_file(sweep.world->path, cut_file, &sweep);
    assert_verifies(sweep.world->store);
}

/* A state may be absent: it is gathered anew. All else may not. */
static void remove_file(void *context, const char *file) {
    struct sweep *sweep = context;
    if (strstr(file, "/lock") || strstr(file, "/state"))
        return;
    assert_int_equal(unlink(file), 0);
    assert_damage_is_found(sweep, file, "removal", 0);
    put_back(sweep->world, file);
}

static void any_missing_file_is_found(void **state) {
    struct sweep sweep = {.world = *state};
    each_file(sweep.world->path, remove_file, &sweep);
    assert_verifies(sweep.world->store);
    assert_int_equal(sweep.found_by_open + sweep.found_by_verify, 9);
}

/* ---- what it says ---- */

static void path_of(const struct world *w, const struct resource_id *id, char path[JOINED_PATH]) {
    char text[2 * RESOURCE_ID_SIZE + 1];
    resource_id_format(id, text);
    int n = snprintf(path, JOINED_PATH, "%s/objects/%.1s/%s", w->path, text, text + 1);
    assert_true(n > 0 && n < JOINED_PATH);
}

static void a_damaged_object_names_resource_and_versions(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    const struct store_manifest *m = store_current(w->store);
    path_of(w, &store_manifest_find(m, HEADGATE__KIND__KIND_CLUSTER, STR("web"))->id, path);
    change_byte(path, 2, 4);
    assert_verify_says(
        w->store, "cluster/web: the object is damaged: its bytes do not have its hash (in versions 2 to 3)");
    change_byte(path, 2, 4);
    path_of(w, &store_manifest_find(m, HEADGATE__KIND__KIND_CLUSTER, STR("api"))->id, path);
    assert_int_equal(unlink(path), 0);
    assert_verify_says(w->store, "cluster/api: the object is missing (in versions 1 to 3)");
}

static void a_damaged_version_is_named(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    join_path(path, w->path, "versions/1");
    change_byte(path, 30, 1);
    assert_verify_says(w->store, "store/versions/1: version 1 is damaged");
    change_byte(path, 30, 1);
    change_byte(path, size_of(path) - 50, 1);
    assert_verify_says(w->store, "store/versions/1: version 1 is damaged");
    assert_int_equal(unlink(path), 0);
    assert_verify_says(w->store, "store/versions/1: version 1 is missing");
}

static void swapped_versions_break_the_chain(void **state) {
    struct world *w = *state;
    char one[JOINED_PATH], two[JOINED_PATH];
    join_path(one, w->path, "versions/1");
    join_path(two, w->path, "versions/2");
    assert_int_equal(rename(one, two), 0);
    assert_verify_says(w->store, "version 1 is missing");
    assert_verify_says(w->store, "version 2 is damaged");
}

static void commit_web(const char *path, unsigned versions, const char *first) {
    struct intent *in = calloc(1, sizeof *in);
    struct store *s = open_store(path);
    for (unsigned i = 0; i < versions; i++) {
        intent_set(in, "web", i ? "later" : first);
        commit_intent(s, in);
    }
    store_close(s);
    intent_finish(in);
    free(in);
}

/* Two histories of one lineage, as after a backup was put back: each version is whole in itself. */
struct histories {
    char one[JOINED_PATH], other[JOINED_PATH];
};

static void make_histories(struct histories *h, const struct world *w) {
    join_path(h->one, w->folder, "one");
    join_path(h->other, w->folder, "other");
    store_close(open_store(h->one));
    copy_tree(h->one, h->other);
    commit_web(h->one, 2, "first");
    commit_web(h->other, 2, "another");
}

static void take_from_the_other(const struct histories *h, const char *name) {
    char from[JOINED_PATH], to[JOINED_PATH];
    join_path(from, h->other, name);
    join_path(to, h->one, name);
    assert_int_equal(rename(from, to), 0);
}

static void a_version_of_another_history_breaks_the_chain(void **state) {
    struct histories h;
    struct error_list errors = {0};
    struct store_log log;
    make_histories(&h, *state);
    take_from_the_other(&h, "versions/1");
    struct store *s = open_store(h.one);
    assert_verify_says(s, "one/versions/2: the chain is broken: not made from the version before it");
    assert_int_equal(store_list(s, 0, 10, &log, &errors), 0);
    assert_error(&errors, ERROR_INTEGRITY,
                 "one/versions/1: not the version that its successor was made from");
    store_log_finish(&log);
    store_close(s);
}

static void the_newest_must_be_the_one_that_the_head_names(void **state) {
    struct histories h;
    struct error_list errors = {0};
    make_histories(&h, *state);
    struct store *s = open_store(h.one);
    take_from_the_other(&h, "versions/2");
    assert_verify_says(s, "one/HEAD: the newest version is not the one that HEAD names");
    store_close(s);
    assert_null(store_open(h.one, &errors));
    assert_error(&errors, ERROR_INTEGRITY, "versions/2: the newest version is not the one that HEAD names");
}

static void a_head_of_another_lineage_is_refused(void **state) {
    struct world *w = *state;
    struct histories h;
    struct error_list errors = {0};
    join_path(h.one, w->folder, "one");
    join_path(h.other, w->folder, "other");
    commit_web(h.one, 1, "first");
    commit_web(h.other, 1, "first");
    take_from_the_other(&h, "HEAD");
    assert_null(store_open(h.one, &errors));
    assert_error(&errors, ERROR_INTEGRITY, "one/HEAD: of another lineage");
}

static void strangers_are_named(void **state) {
    static const char *const strangers[] = {"note",       "versions/9",  "versions/01",
                                            "versions/x", "objects/0/x", "tmp/object-0"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        char path[JOINED_PATH];
        join_path(path, w->path, strangers[i]);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        close(fd);
        assert_verify_says(w->store, strangers[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_verifies(w->store);
}

static void a_stranger_that_is_no_file_does_not_stop_verify(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    path_of(w, &(struct resource_id){{0}}, path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_verify_says(w->store, "not a regular file");
}

static void the_list_goes_on_past_a_damaged_version(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    struct error_list errors = {0};
    struct store_log log;
    join_path(path, w->path, "versions/2");
    change_byte(path, 30, 1);
    assert_int_equal(store_list(w->store, 0, 10, &log, &errors), 0);
    assert_int_equal(log.count, 2);
    assert_int_equal(log.items[0].number, 3);
    assert_int_equal(log.items[1].number, 1);
    assert_error(&errors, ERROR_INTEGRITY, "version 2 is damaged");
    store_log_finish(&log);
    assert_null(store_read_version(w->store, 2, &errors));
    assert_error(&errors, ERROR_INTEGRITY, "version 2 is damaged");
}

/* ---- damage and the other calls ---- */

static void a_damaged_object_is_never_handed_out(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    struct error_list errors = {0};
    const struct store_entry *e = store_manifest_find(store_current(w->store), HEADGATE__KIND__KIND_CLUSTER,
                                                      STR("web"));
    uint8_t *bytes;
    size_t size;
    path_of(w, &e->id, path);
    change_byte(path, 0, 1);
    assert_int_equal(store_read_object(w->store, &e->id, &bytes, &size, &errors), -1);
    assert_error(&errors, ERROR_INTEGRITY, "the object is damaged");
}

static void writing_a_resource_again_heals_its_object(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    struct intent *in = calloc(1, sizeof *in);
    path_of(w, &store_manifest_find(store_current(w->store), HEADGATE__KIND__KIND_CLUSTER, STR("api"))->id,
            path);
    change_byte(path, 0, 1);
    intent_set(in, "web", "second");
    commit_intent(w->store, in);
    intent_set(in, "api", "stays");
    commit_intent(w->store, in);
    assert_current_is(w->store, in);
    assert_verifies(w->store);
    intent_finish(in);
    free(in);
}

static void a_damaged_state_does_not_keep_the_store_from_opening(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    struct error_list errors = {0};
    struct store_state saved;
    store_close(w->store);
    join_path(path, w->path, "state");
    change_byte(path, 20, 1);
    w->store = open_store(w->path);
    assert_int_equal(store_load_state(w->store, &saved, &errors), -1);
    assert_error(&errors, ERROR_INTEGRITY, "the saved state is damaged");
    assert_int_equal(store_save_state(w->store, &(struct store_state){.generation = 4}, &errors), 0);
    assert_verifies(w->store);
}

static void gc_refuses_when_it_cannot_know_what_is_needed(void **state) {
    struct world *w = *state;
    char path[JOINED_PATH];
    struct error_list errors = {0};
    struct store_gc_result result;
    struct store_retention keep = {.versions = 2};
    join_path(path, w->path, "versions/2");
    change_byte(path, size_of(path) - 1, 1);
    assert_int_equal(store_gc(w->store, &keep, false, &result, &errors), -1);
    assert_error(&errors, ERROR_INTEGRITY, "version 2 is damaged");
    change_byte(path, size_of(path) - 1, 1);
    assert_verifies(w->store);
    keep.versions = 1;
    change_byte(path, size_of(path) - 1, 1);
    assert_int_equal(store_gc(w->store, &keep, false, &result, &errors), 0);
    assert_verifies(w->store);
}

/* ---- progress ---- */

static void last_progress(void *context, uint64_t done, uint64_t total) {
    uint64_t *last = context;
    assert_true(done <= total);
    assert_true(done >= *last);
    *last = done;
}

static void progress_ends_at_the_total(void **state) {
    struct world *w = *state;
    struct error_list errors = {0};
    struct store_verify_result result;
    uint64_t last = 0;
    assert_int_equal(store_verify(w->store, last_progress, &last, &result, &errors), 0);
    assert_int_equal(result.versions, 3);
    assert_int_equal(result.objects, 4);
    assert_int_equal(last, 7);
    assert_no_errors(&errors);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(any_flipped_bit_is_found),
        T(any_cut_and_any_addition_is_found),
        T(any_missing_file_is_found),
        T(a_damaged_object_names_resource_and_versions),
        T(a_damaged_version_is_named),
        T(swapped_versions_break_the_chain),
        T(a_version_of_another_history_breaks_the_chain),
        T(the_newest_must_be_the_one_that_the_head_names),
        T(a_head_of_another_lineage_is_refused),
        T(strangers_are_named),
        T(a_stranger_that_is_no_file_does_not_stop_verify),
        T(the_list_goes_on_past_a_damaged_version),
        T(a_damaged_object_is_never_handed_out),
        T(writing_a_resource_again_heals_its_object),
        T(a_damaged_state_does_not_keep_the_store_from_opening),
        T(gc_refuses_when_it_cannot_know_what_is_needed),
        T(progress_ends_at_the_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
