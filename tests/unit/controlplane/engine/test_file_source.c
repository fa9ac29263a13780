/* A configuration file that is followed: what is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/engine/file_source.h"
#include "controlplane/store/disk.h"
#include "tests/unit/controlplane/engine/fixture.h"

enum { GUARD_SECONDS = 30 };

static struct file_source *source;
static ev_timer guard;

static void on_guard(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)timer;
    (void)events;
    fail_msg("nothing came within %d s", GUARD_SECONDS);
}

static int setup(void **state) {
    if (fixture_setup(state) < 0)
        return -1;
    struct fixture *f = *state;
    ev_timer_init(&guard, on_guard, GUARD_SECONDS, 0.);
    ev_timer_start(f->loop, &guard);
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    disk_set_hook(NULL, NULL);
    file_source_destroy(source);
    source = NULL;
    ev_timer_stop(f->loop, &guard);
    return fixture_teardown(state);
}

static const char *write_site(const struct fixture *f, const char *text) {
    static char path[128];
    snprintf(path, sizeof path, "%s/site.yaml", f->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static void follow(struct fixture *f, const char *text) {
    const char *path = write_site(f, text);
    source = file_source_create(f->loop, f->engine, path);
    assert_non_null(source);
}

static uint64_t version_of(struct fixture *f) {
    const struct snapshot *current = channel_current(engine_channel(f->engine));
    return current ? current->version : 0;
}

static int without_room(void *context, struct disk_step *step) {
    (void)context;
    return step->op == DISK_WRITE ? ENOSPC : 0;
}

static void full_disk_is_waited_for(void **state) {
    struct fixture *f = *state;
    disk_set_hook(without_room, NULL);
    follow(f, "clusters:\n  - {name: web, endpoints: ['127.0.0.1:1']}\n");
    while (!file_source_failure(source))
        ev_run(f->loop, EVRUN_ONCE);
    assert_string_equal(file_source_failure(source)->problems[0]->code, "io");
    assert_int_equal(version_of(f), 0);
    disk_set_hook(NULL, NULL);
    while (!version_of(f))
        ev_run(f->loop, EVRUN_ONCE);
    assert_null(file_source_failure(source));
}

/* It was emptied, and what is to be in it takes a while. */
static void a_file_that_is_empty_takes_nothing_away(void **state) {
    struct fixture *f = *state;
    static const char site[] = "clusters:\n  - {name: web, endpoints: ['127.0.0.1:1']}\n";
    follow(f, site);
    while (!version_of(f))
        ev_run(f->loop, EVRUN_ONCE);
    write_site(f, "");
    while (!file_source_failure(source))
        ev_run(f->loop, EVRUN_ONCE);
    assert_string_equal(file_source_failure(source)->problems[0]->message, "the file is empty");
    write_site(f, site);
    while (file_source_failure(source))
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(version_of(f), 1);
    write_site(f, "{}\n");
    while (version_of(f) == 1)
        ev_run(f->loop, EVRUN_ONCE);
    assert_null(file_source_failure(source));
}

/* It blocks nobody, and what is renamed over it is read. */
static void a_pipe_in_its_place_is_told(void **state) {
    struct fixture *f = *state;
    static const char site[] = "clusters:\n  - {name: web, endpoints: ['127.0.0.1:1']}\n";
    char pipe[128], path[128];
    follow(f, site);
    while (!version_of(f))
        ev_run(f->loop, EVRUN_ONCE);
    snprintf(pipe, sizeof pipe, "%s/pipe", f->folder);
    snprintf(path, sizeof path, "%s/site.yaml", f->folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(rename(pipe, path), 0);
    while (!file_source_failure(source))
        ev_run(f->loop, EVRUN_ONCE);
    assert_string_equal(file_source_failure(source)->problems[0]->expected, "a regular file");
    assert_int_equal(unlink(path), 0);
    write_site(f, site);
    while (file_source_failure(source))
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(version_of(f), 1);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(full_disk_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_empty_takes_nothing_away, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pipe_in_its_place_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
