/* Files of endpoints as a source: what is found, what is kept back, and that only files below the root are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/discovery/source.h"

struct fixture {
    struct ev_loop    *loop;
    char               folder[64];
    struct secret_root root;
    struct source     *source;
    char               found[256];
    char               reason[512];
    unsigned           founds, failures;
    unsigned           starved;     /* those of them for want of memory */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    struct error_list errors = {0};
    snprintf(f->folder, sizeof f->folder, "/tmp/headgate-endpoints-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->loop = ev_loop_new(EVFLAG_AUTO);
    assert_int_equal(secret_root_open(f->folder, NULL, &f->root, &errors), 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->source)
        f->source->kind->destroy(f->source);
    secret_root_close(&f->root);
    ev_loop_destroy(f->loop);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    test_free(f);
    return 0;
}

static void on_found(void *context, const Headgate__EndpointSet *set) {
    struct fixture *f = context;
    size_t n = 0;
    f->founds++;
    f->found[0] = '\0';
    for (size_t i = 0; i < set->n_endpoints; i++)
        n += (size_t)snprintf(f->found + n, sizeof f->found - n, "%s%s", i ? " " : "", set->endpoints[i]->address);
}

static void on_failed(void *context, const char *reason) {
    struct fixture *f = context;
    f->failures++;
    snprintf(f->reason, sizeof f->reason, "%s", reason);
}

static void on_no_memory(void *context) {
    struct fixture *f = context;
    f->failures++;
    f->starved++;
}

static struct source *make(struct fixture *f, const char *path) {
    struct error_list errors = {0};
    Headgate__Discovery m = HEADGATE__DISCOVERY__INIT;
    Headgate__FileDiscovery file = HEADGATE__FILE_DISCOVERY__INIT;
    const struct source_config config = {.loop = f->loop, .root = &f->root, .sink = {f, on_found, on_failed, on_no_memory}};
    file.path = (char *)path;
    m.kind_case = HEADGATE__DISCOVERY__KIND_FILE;
    m.file = &file;
    struct source *s = source_file.create(&config, &m, &errors);
    error_list_finish(&errors);
    return s;
}

/* Renamed over, as it should be done. `folder`: below that of the test. */
static void write_list_in(const struct fixture *f, const char *folder, const char *text) {
    char path[128], fresh[128];
    snprintf(path, sizeof path, "%s/%s/list.yaml", f->folder, folder);
    snprintf(fresh, sizeof fresh, "%s/%s/list.tmp", f->folder, folder);
    FILE *file = fopen(fresh, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, path), 0);
}

static void write_list(const struct fixture *f, const char *text) {
    write_list_in(f, ".", text);
}

static void rename_folder(const struct fixture *f, const char *from, const char *to) {
    char old[128], new[128];
    snprintf(old, sizeof old, "%s/%s", f->folder, from);
    snprintf(new, sizeof new, "%s/%s", f->folder, to);
    assert_int_equal(rename(old, new), 0);
}

static void make_folder(const struct fixture *f, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void wait_found(struct fixture *f, const char *expected) {
    while (strcmp(f->found, expected) != 0)
        ev_run(f->loop, EVRUN_ONCE);
}

static void wait_failed(struct fixture *f, const char *expected) {
    while (strcmp(f->reason, expected) != 0)
        ev_run(f->loop, EVRUN_ONCE);
}

static void changes_are_found_and_faults_change_nothing(void **state) {
    struct fixture *f = *state;
    struct source_state s;
    f->source = make(f, "list.yaml");
    assert_int_equal(f->founds + f->failures, 0); /* nothing is said from within `create` */
    wait_failed(f, "list.yaml: cannot be read: No such file or directory");
    write_list(f, "[10.0.0.2:1, 10.0.0.1:1]");
    wait_found(f, "10.0.0.2:1 10.0.0.1:1");
    write_list(f, "- a\n- b\n- c\n- d\n- e\n");
    while (!strstr(f->reason, "list.yaml:1:3: endpoints[0]: \"a\"") || !strstr(f->reason, "; and 2 more"))
        ev_run(f->loop, EVRUN_ONCE);
    assert_string_equal(f->found, "10.0.0.2:1 10.0.0.1:1");
    write_list(f, "[10.0.0.3:1]");
    wait_found(f, "10.0.0.3:1");
    f->source->kind->state(f->source, &s);
    assert_string_equal(s.failure, "");
    assert_int_equal(s.endpoints, 1);
    assert_true(s.found_at >= s.failed_at && s.failed_at > 0 && s.asked >= s.failures);
    assert_int_equal(s.failures, f->failures);
    unsigned before = f->founds;
    f->source->kind->refresh(f->source);
    assert_int_equal(f->founds, before + 1);
}

/* It has the same name, and is not the one that is watched. */
static void a_folder_that_is_replaced_is_watched(void **state) {
    struct fixture *f = *state;
    make_folder(f, "site");
    write_list_in(f, "site", "[10.0.0.1:1]");
    f->source = make(f, "site/list.yaml");
    wait_found(f, "10.0.0.1:1");
    make_folder(f, "fresh");
    write_list_in(f, "fresh", "[10.0.0.2:1]");
    rename_folder(f, "site", "old");
    rename_folder(f, "fresh", "site");
    wait_found(f, "10.0.0.2:1");
    write_list_in(f, "site", "[10.0.0.3:1]");
    wait_found(f, "10.0.0.3:1");
}

static void nothing_outside_of_the_root_is_read(void **state) {
    struct fixture *f = *state;
    char link[128];
    f->source = make(f, "/etc/hostname");
    while (f->failures == 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_non_null(strstr(f->reason, "outside of"));
    f->source->kind->destroy(f->source);
    snprintf(link, sizeof link, "%s/link.yaml", f->folder);
    assert_int_equal(symlink("/etc/hostname", link), 0);
    f->source = make(f, "link.yaml");
    while (f->failures == 1)
        ev_run(f->loop, EVRUN_ONCE);
    assert_non_null(strstr(f->reason, "leads out of"));
}

/* One look with the nth allocation failing, for every n: something is always said, and who finds nothing asks again. */
static void memory_is_an_ordinary_failure(void **state) {
    struct fixture *f = *state;
    write_list(f, "[10.0.0.1:1]");
    bool is_done = false;
    for (long nth = 0; !is_done; nth++) {
        unsigned before = f->founds + f->failures;
        hg_alloc_fail_at(nth, 0);
        f->source = make(f, "list.yaml");
        while (f->source && f->founds + f->failures == before)
            ev_run(f->loop, EVRUN_ONCE);
        hg_alloc_fail_at(-1, 0);
        if (f->source)
            f->source->kind->destroy(f->source);
        is_done = f->source && f->founds && nth > 100;
        f->source = NULL;
    }
    assert_true(f->failures > 5);
    assert_int_equal(f->starved, f->failures);
    assert_string_equal(f->found, "10.0.0.1:1");
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(changes_are_found_and_faults_change_nothing),
        TEST(a_folder_that_is_replaced_is_watched),
        TEST(nothing_outside_of_the_root_is_read),
        TEST(memory_is_an_ordinary_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
