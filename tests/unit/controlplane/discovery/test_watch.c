/* Watching directories: every way in which a file changes is told, once things are quiet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "controlplane/discovery/watch.h"

struct fixture {
    struct ev_loop *loop;
    struct watch watch;
    char folder[64];
    int told;
};

static void on_changed(void *owner) {
    struct fixture *f = owner;
    f->told++;
    ev_break(f->loop, EVBREAK_ALL);
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/headgate-watch-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->loop = ev_loop_new(EVFLAG_AUTO);
    watch_init(&f->watch, f->loop, on_changed, f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    watch_finish(&f->watch);
    ev_loop_destroy(f->loop);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    test_free(f);
    return 0;
}

static const char *at(const struct fixture *f, const char *name) {
    static char paths[2][128];
    static int which;
    which = !which;
    snprintf(paths[which], sizeof paths[which], "%s/%s", f->folder, name);
    return paths[which];
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void watch_one(struct fixture *f, const char *directory) {
    char *list[] = {(char *)directory};
    watch_set(&f->watch, list, 1);
}

/* Turns the loop until a change is told. */
static void expect_change(struct fixture *f) {
    int before = f->told;
    ev_run(f->loop, 0);
    assert_int_equal(f->told, before + 1);
}

static void tells_of_every_way_to_change(void **state) {
    struct fixture *f = *state;
    write_file(at(f, "a"), "1");
    watch_one(f, f->folder);
    write_file(at(f, "a"), "2");
    expect_change(f);
    write_file(at(f, "b"), "3");
    expect_change(f);
    assert_int_equal(rename(at(f, "b"), at(f, "a")), 0);
    expect_change(f);
    assert_int_equal(symlink("a", at(f, "link")), 0);
    expect_change(f);
    unlink(at(f, "a"));
    expect_change(f);
}

static void many_changes_are_told_once(void **state) {
    struct fixture *f = *state;
    watch_one(f, f->folder);
    for (int i = 0; i < 100; i++)
        write_file(at(f, "a"), "x");
    expect_change(f);
    ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(f->told, 1);
    assert_false(ev_is_active(&f->watch.quiet));
    assert_false(ev_is_active(&f->watch.latest));
}

static void a_directory_that_comes_later(void **state) {
    struct fixture *f = *state;
    char deep[128];
    snprintf(deep, sizeof deep, "%s/x/y", f->folder);
    watch_one(f, deep);
    mkdir(at(f, "x"), 0700);
    expect_change(f);
    watch_one(f, deep);
    mkdir(deep, 0700);
    expect_change(f);
    watch_one(f, deep);
    write_file(at(f, "x/y/file"), "1");
    expect_change(f);
    assert_false(ev_is_active(&f->watch.poll));
}

static void setting_forgets_the_old_set(void **state) {
    struct fixture *f = *state;
    mkdir(at(f, "one"), 0700);
    mkdir(at(f, "two"), 0700);
    watch_one(f, at(f, "one"));
    watch_one(f, at(f, "two"));
    write_file(at(f, "one/file"), "1");
    ev_run(f->loop, EVRUN_NOWAIT);
    assert_false(ev_is_active(&f->watch.quiet));
    write_file(at(f, "two/file"), "1");
    expect_change(f);
}

static void polls_when_nothing_can_be_watched(void **state) {
    struct fixture *f = *state;
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    watch_one(f, f->folder);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(ev_is_active(&f->watch.poll));
    expect_change(f); /* by the timer: the owner looks for itself */
    watch_one(f, f->folder);
    assert_false(ev_is_active(&f->watch.poll));
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(tells_of_every_way_to_change),      TEST(many_changes_are_told_once),
        TEST(a_directory_that_comes_later),      TEST(setting_forgets_the_old_set),
        TEST(polls_when_nothing_can_be_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
