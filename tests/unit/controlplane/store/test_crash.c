/* A store whose process dies, or whose disk fails, at each step in turn. */
#include <errno.h>
#include <signal.h>

#include "tests/unit/controlplane/store/script.h"

enum { DIED = 42 };

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct acknowledged *done;
};

static int set_up_in(void **state, void (*make)(char folder[FIXTURE_PATH])) {
    struct world *w = calloc(1, sizeof *w);
    make(w->folder);
    snprintf(w->path, sizeof w->path, "%s/store", w->folder);
    w->done = shared_acknowledged();
    *state = w;
    return 0;
}

static int set_up(void **state) {
    return set_up_in(state, make_fast_folder);
}

static int set_up_on_disk(void **state) {
    return set_up_in(state, make_folder);
}

static int tear_down(void **state) {
    struct world *w = *state;
    disk_set_hook(NULL, NULL);
    remove_tree(w->folder);
    munmap(w->done, sizeof *w->done);
    free(w);
    return 0;
}

static void start_over(struct world *w) {
    remove_tree(w->path);
    *w->done = (struct acknowledged){0};
}

/* ---- counting ---- */

static int count_step(void *context, struct disk_step *step) {
    unsigned *steps = context;
    (void)step;
    ++*steps;
    return 0;
}

static unsigned steps_of_the_script(struct world *w) {
    unsigned steps = 0;
    start_over(w);
    disk_set_hook(count_step, &steps);
    assert_int_equal(script_run(w->path, w->done), 0);
    disk_set_hook(NULL, NULL);
    assert_int_equal(w->done->version, SCRIPT_VERSIONS);
    assert_int_equal(w->done->generation, 2);
    assert_true(steps > 150);
    return steps;
}

/* ---- death ---- */

struct death {
    unsigned at;  /* the step before which the process dies */
    bool is_torn; /* if the step before it was a write, half of it was written */
    unsigned reached;
};

static int die_at(void *context, struct disk_step *step) {
    struct death *d = context;
    if (d->reached == d->at)
        _exit(DIED);
    d->reached++;
    if (d->reached == d->at && d->is_torn && step->op == DISK_WRITE && step->bytes.n > 1)
        step->bytes.n /= 2;
    return 0;
}

/* Runs the script in a child that dies at the step. */
static void run_to_death(struct world *w, struct death death) {
    int status;
    start_over(w);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        disk_set_hook(die_at, &death);
        script_run(w->path, w->done);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), DIED);
}

static void dying_at_any_step_leaves_the_old_or_the_new(void **state) {
    struct world *w = *state;
    unsigned steps = steps_of_the_script(w), ahead = 0;
    for (unsigned at = 0; at < steps; at++) {
        run_to_death(w, (struct death){.at = at});
        ahead += assert_survived(w->path, w->done) > w->done->version;
    }
    /* Between the head's rename and the acknowledgement the new version counts. */
    assert_in_range(ahead, SCRIPT_VERSIONS, steps / 4);
    print_message("%u steps; after %u of them the version was there before it was acknowledged\n", steps,
                  ahead);
}

static void dying_in_a_write_leaves_the_old(void **state) {
    struct world *w = *state;
    unsigned steps = steps_of_the_script(w);
    for (unsigned at = 0; at < steps; at++) {
        run_to_death(w, (struct death){.at = at, .is_torn = true});
        assert_survived(w->path, w->done);
    }
}

/* ---- failing calls ---- */

struct failure {
    unsigned at;
    bool for_good; /* all later steps fail too */
    int with;
    unsigned reached;
};

static int fail_at(void *context, struct disk_step *step) {
    struct failure *f = context;
    unsigned now = f->reached++;
    (void)step;
    return now == f->at || (f->for_good && now > f->at) ? f->with : 0;
}

static void fail_each_step(struct world *w, int with, bool for_good) {
    unsigned steps = steps_of_the_script(w), failed = 0;
    for (unsigned at = 0; at < steps; at++) {
        struct failure failure = {.at = at, .for_good = for_good, .with = with};
        start_over(w);
        disk_set_hook(fail_at, &failure);
        failed += script_run(w->path, w->done) > 0;
        disk_set_hook(NULL, NULL);
        assert_survived(w->path, w->done);
    }
    /* A step whose failure nobody hears of would be a write that was not checked. */
    assert_int_equal(failed, steps);
}

static void a_failing_step_is_an_error_and_changes_nothing(void **state) {
    fail_each_step(*state, EIO, false);
}

static void a_disk_that_stays_full_changes_nothing(void **state) {
    fail_each_step(*state, ENOSPC, true);
}

static void count_file(void *context, const char *file) {
    unsigned *files = context;
    (void)file;
    ++*files;
}

/* One failing commit in an open store: nothing is left behind, and the same commit works once there is room.
 * */
static void after_a_failed_commit_the_store_goes_on(void **state) {
    struct world *w = *state;
    struct acknowledged *done = w->done;
    unsigned uncertain = 0, failed = 0;
    for (uint64_t version = 2; version <= 3; version++) {
        for (unsigned at = 0; at == 0 || failed; at++) {
            struct failure failure = {.at = at, .with = ENOSPC};
            unsigned before = 0, after = 0;
            start_over(w);
            struct store *s = open_store(w->path);
            for (uint64_t v = 1; v < version; v++)
                assert_int_equal(script_commit(s, v, done), 0);
            each_file(w->path, count_file, &before);
            disk_set_hook(fail_at, &failure);
            failed = script_commit(s, version, done) < 0;
            disk_set_hook(NULL, NULL);
            assert_int_equal(store_current(s)->version.number, failed ? version - 1 : version);
            each_file(w->path, count_file, &after);
            if (failed && script_commit(s, version, done) < 0) {
                uncertain++;
            } else {
                assert_true(!failed || before == after);
                assert_verifies(s);
            }
            store_close(s);
            assert_survived(w->path, done);
        }
    }
    /* The last sync of each of the two versions, and of the format that the first of a server needs. */
    assert_int_equal(uncertain, 3);
}

/* ---- a real kill ---- */

static void commit_for_ever(struct world *w, int to_parent) {
    struct store *s = open_store(w->path);
    for (;;) {
        uint64_t version = store_next_version(s);
        if (script_commit(s, (version - 1) % SCRIPT_VERSIONS + 1, &(struct acknowledged){0}) < 0)
            _exit(1);
        w->done->version = version;
        if (write(to_parent, "", 1) != 1)
            _exit(1);
        if (version % 16 == 0 && script_gc(s, 3) < 0)
            _exit(1);
    }
}

/* Kills the child somewhere behind `commits` acknowledged commits. */
static void kill_behind(struct world *w, unsigned commits, unsigned spin) {
    int ends[2], status;
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        commit_for_ever(w, ends[1]);
    }
    close(ends[1]);
    for (unsigned i = 0; i < commits; i++)
        assert_int_equal(read(ends[0], &byte, 1), 1);
    for (volatile unsigned i = 0; i < spin; i++)
        continue;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    close(ends[0]);
}

static void a_killed_process_loses_nothing_acknowledged(void **state) {
    struct world *w = *state;
    struct intent *in = calloc(1, sizeof *in);
    unsigned random = 12345, ahead = 0;
    for (unsigned kills = 0; kills < 30; kills++) {
        random = random * 1103515245 + 12345;
        kill_behind(w, 1 + random % 7, (random >> 8) % 200000);
        struct store *s = open_store(w->path);
        uint64_t version = store_current(s)->version.number;
        assert_true(version == w->done->version || version == w->done->version + 1);
        ahead += version > w->done->version;
        script_intent(in, (version - 1) % SCRIPT_VERSIONS + 1);
        assert_current_is(s, in);
        assert_verifies(s);
        w->done->version = version;
        store_close(s);
    }
    print_message("30 kills over %lu versions, %u of them between head and acknowledgement\n",
                  (unsigned long)w->done->version, ahead);
    intent_finish(in);
    free(in);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(dying_at_any_step_leaves_the_old_or_the_new),
        T(dying_in_a_write_leaves_the_old),
        T(a_failing_step_is_an_error_and_changes_nothing),
        T(a_disk_that_stays_full_changes_nothing),
        T(after_a_failed_commit_the_store_goes_on),
        cmocka_unit_test_setup_teardown(a_killed_process_loses_nothing_acknowledged, set_up_on_disk,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
