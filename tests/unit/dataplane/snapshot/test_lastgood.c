/* labels: threads
 * The thread that writes the last-known-good copy, driven from a loop. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <ev.h>

#include "dataplane/snapshot/lastgood.h"
#include "tests/unit/dataplane/snapshot/manifest_set.h"

static char folder[64];
static struct ev_loop *loop;
static struct lastgood *lastgood;
static struct error_list errors;
static int answers;
static char answer_text[256];

static atomic_bool sync_fails;
static atomic_uint syncs;

/* In place of libc's. A thread's first synchronization is this one. */
int syncfs(int fd) {
    atomic_fetch_add(&syncs, 1);
    if (!atomic_exchange(&sync_fails, false))
        return (int)syscall(SYS_syncfs, fd);
    errno = EIO;
    return -1;
}

static int open_folder(void) {
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/headgate-lastgood-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    answers = 0;
    loop = ev_loop_new(0);
    lastgood = lastgood_create(loop, open_folder(), &errors);
    return lastgood && lastgood_start(lastgood, NULL) == 0 ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int tear_down(void **state) {
    (void)state;
    lastgood_destroy(lastgood);
    lastgood = NULL;
    ev_loop_destroy(loop);
    error_list_finish(&errors);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct resource_set *make_set(uint64_t version) {
    struct manifest m = {0};
    made_cluster(&m, "a", (unsigned)version);
    manifest_seal(&m, version, version);
    return manifest_set(&m);
}

static void on_stored(void *owner, const char *error) {
    (void)owner;
    answers++;
    snprintf(answer_text, sizeof answer_text, "%s", error ? error : "");
    ev_break(loop, EVBREAK_ONE);
}

static void store(uint64_t version, bool is_urgent) {
    struct resource_set *set = make_set(version);
    lastgood_store(lastgood, set, is_urgent, on_stored, NULL);
    resource_set_unref(set);
}

static long version_of(enum lastgood_copy copy) {
    struct lastgood_files files;
    struct resource_set *set = NULL;
    int dir = open_folder();
    assert_int_equal(lastgood_files_init(&files, dir, &errors), 0);
    assert_int_equal(lastgood_files_load(&files, copy, &set, &errors), 0);
    long version = set ? (long)set->id.version : 0;
    resource_set_unref(set);
    lastgood_files_finish(&files);
    close(dir);
    return version;
}

static long stored_version(void) {
    return version_of(LASTGOOD_CURRENT);
}

static void urgent_copy_is_on_disk_when_it_is_answered(void **state) {
    (void)state;
    for (uint64_t version = 1; version <= 20; version++) {
        store(version, true);
        assert_int_equal(answers, version - 1); /* never from within the call */
        ev_run(loop, 0);
        assert_int_equal(answers, version);
        assert_string_equal(answer_text, "");
        assert_int_equal(stored_version(), version);
    }
}

static void what_is_not_urgent_is_answered_at_once_and_written_at_the_end(void **state) {
    (void)state;
    for (uint64_t version = 1; version <= 5; version++)
        store(version, false);
    assert_int_equal(answers, 5);
    lastgood_destroy(lastgood);
    lastgood = NULL;
    assert_int_equal(stored_version(), 5);
}

static void urgent_after_not_urgent_carries_both(void **state) {
    (void)state;
    store(1, false);
    store(2, true);
    ev_run(loop, 0);
    assert_int_equal(answers, 2);
    assert_int_equal(stored_version(), 2);
}

static void failure_is_told_and_later_writes_succeed(void **state) {
    (void)state;
    char path[96];
    snprintf(path, sizeof path, "%s/manifest.new", folder);
    assert_int_equal(mkdir(path, 0700), 0); /* in the way, for root too */
    store(1, true);
    ev_run(loop, 0);
    assert_non_null(strstr(answer_text, "Is a directory"));
    assert_int_equal(stored_version(), 0);
    assert_int_equal(rmdir(path), 0);
    store(2, true);
    ev_run(loop, 0);
    assert_string_equal(answer_text, "");
    assert_int_equal(stored_version(), 2);
}

static void on_change(struct ev_loop *l, ev_stat *watcher, int events) {
    (void)watcher;
    (void)events;
    ev_break(l, EVBREAK_ONE);
}

static void copy_that_did_not_reach_the_disk_is_written_again(void **state) {
    (void)state;
    char path[96];
    ev_stat manifest;
    atomic_store(&sync_fails, true);
    store(1, true);
    ev_run(loop, 0);
    assert_string_equal(answer_text, "");
    snprintf(path, sizeof path, "%s/manifest", folder);
    ev_stat_init(&manifest, on_change, path, 0.1);
    ev_stat_start(loop, &manifest);
    ev_run(loop, 0);
    ev_stat_stop(loop, &manifest);
    assert_false(atomic_load(&sync_fails));
    assert_int_equal(stored_version(), 1);
}

static void look_again(struct ev_loop *l, ev_timer *timer, int events) {
    (void)events;
    if (atomic_load(&syncs))
        ev_timer_stop(l, timer);
}

/* The first write of the next process: were it lost, what was there before is needed. */
static void copy_that_was_found_becomes_the_previous_one(void **state) {
    (void)state;
    struct resource_set *found = NULL;
    ev_timer timer;
    store(1, true);
    ev_run(loop, 0);
    lastgood_destroy(lastgood);
    atomic_store(&syncs, 0);
    lastgood = lastgood_create(loop, open_folder(), &errors);
    assert_non_null(lastgood);
    assert_int_equal(lastgood_load(lastgood, LASTGOOD_CURRENT, &found, &errors), 0);
    assert_int_equal(lastgood_start(lastgood, found), 0);
    resource_set_unref(found);
    ev_timer_init(&timer, look_again, 0., 0.01);
    ev_timer_start(loop, &timer);
    while (ev_is_active(&timer))
        ev_run(loop, EVRUN_ONCE);
    store(2, true);
    ev_run(loop, 0);
    assert_int_equal(stored_version(), 2);
    assert_int_equal(version_of(LASTGOOD_PREVIOUS), 1);
}

static void owner_that_has_gone_is_not_answered(void **state) {
    (void)state;
    store(1, true);
    lastgood_forget(lastgood);
    lastgood_destroy(lastgood);
    lastgood = NULL;
    ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(answers, 0);
    assert_int_equal(stored_version(), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(urgent_copy_is_on_disk_when_it_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_urgent_is_answered_at_once_and_written_at_the_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(urgent_after_not_urgent_carries_both, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failure_is_told_and_later_writes_succeed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copy_that_did_not_reach_the_disk_is_written_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copy_that_was_found_becomes_the_previous_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(owner_that_has_gone_is_not_answered, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
