/* Programs that die: how long each waits before it is started again, by a clock of ours and without waiting. */
#include "tests/unit/common/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/cli/supervisor.h"

static uint64_t now_us;

static uint64_t given_clock(void) {
    return now_us;
}

#define CRASH "kill -KILL $$"

/* A supervisor of one program that writes a byte into a file and ends. */
struct fixture {
    struct supervisor supervisor;
    struct child     *child;
    char              file[64], script[160];
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->file, sizeof f->file, "/tmp/headgate-supervisor-XXXXXX");
    int file = mkstemp(f->file);
    if (file < 0)
        return -1;
    close(file);
    now_us = 5000000;
    supervisor_init(&f->supervisor);
    f->supervisor.clock = given_clock;
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    unlink(f->file);
    free(f);
    return 0;
}

static void let_it_end_by(struct fixture *f, const char *end) {
    snprintf(f->script, sizeof f->script, "printf x >> %s; %s", f->file, end);
}

static void add(struct fixture *f, bool is_restarted, const char *end) {
    f->child = supervisor_add(&f->supervisor, "program", "/bin/sh", is_restarted);
    let_it_end_by(f, end);
    child_add(f->child, "-c", f->script);
}

/* How often it has run. */
static long runs(const struct fixture *f) {
    struct stat s;
    return stat(f->file, &s) == 0 ? (long)s.st_size : -1;
}

static void wait_for_its_end(struct fixture *f) {
    while (f->child->pid)
        ev_run(f->supervisor.loop, EVRUN_ONCE);
}

static void check_wait(struct fixture *f, double seconds) {
    assert_int_equal(f->child->pid, 0);
    assert_true(ev_is_active(&f->child->restart));
    assert_float_equal(f->child->wait, seconds, 1e-6);
    assert_float_equal(ev_timer_remaining(f->supervisor.loop, &f->child->restart), seconds, 1e-5);
}

/* The wait is over. */
static void let_wait_end(struct fixture *f) {
    ev_timer_stop(f->supervisor.loop, &f->child->restart);
    ev_invoke(f->supervisor.loop, &f->child->restart, EV_TIMER);
    assert_true(f->child->pid > 0);
}

static void stop(struct fixture *f) {
    supervisor_stop(&f->supervisor);
    ev_timer_stop(f->supervisor.loop, &f->supervisor.kill);
    assert_false(ev_is_active(&f->child->restart));
    ev_signal_stop(f->supervisor.loop, &f->supervisor.term);
    ev_signal_stop(f->supervisor.loop, &f->supervisor.interrupt);
    ev_signal_stop(f->supervisor.loop, &f->supervisor.hangup);
}

static void who_dies_again_and_again_waits_longer(void **state) {
    struct fixture *f = *state;
    static const double waits[] = {0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10};
    enum { COUNT = sizeof waits / sizeof *waits };
    add(f, true, CRASH);
    assert_int_equal(supervisor_start(&f->supervisor), 0);
    for (int i = 0; i < COUNT; i++) {
        now_us += 10000000; /* it has lived for as long as is not enough */
        wait_for_its_end(f);
        check_wait(f, waits[i]);
        assert_int_equal(runs(f), i + 1);
        let_wait_end(f);
    }
    wait_for_its_end(f);
    assert_int_equal(runs(f), COUNT + 1);
    stop(f);
}

static void who_has_lived_begins_anew(void **state) {
    struct fixture *f = *state;
    add(f, true, CRASH);
    assert_int_equal(supervisor_start(&f->supervisor), 0);
    for (int i = 0; i < 4; i++) {
        wait_for_its_end(f);
        let_wait_end(f);
    }
    now_us += 10000001;
    wait_for_its_end(f);
    check_wait(f, 0.2);
    now_us += 3600000000; /* however long it waited: it has not lived meanwhile */
    let_wait_end(f);
    wait_for_its_end(f);
    check_wait(f, 0.4);
    stop(f);
}

static void who_is_not_restarted_ends_everything(void **state) {
    struct fixture *f = *state;
    add(f, false, CRASH);
    assert_int_equal(supervisor_start(&f->supervisor), 0);
    assert_int_equal(supervisor_run(&f->supervisor), -1);
    assert_int_equal(runs(f), 1);
    stop(f);
}

static void who_cannot_start_ends_everything(void **state) {
    struct fixture *f = *state;
    add(f, true, "exit 3");
    assert_int_equal(supervisor_start(&f->supervisor), 0);
    wait_for_its_end(f);
    assert_false(ev_is_active(&f->child->restart));
    assert_true(f->supervisor.is_stopping && f->supervisor.has_failed);
    assert_int_equal(runs(f), 1);
    stop(f);
}

/* Of its own accord; and whatever keeps the next ones from starting, the others go on without it. */
static void who_has_been_there_is_started_again(void **state) {
    struct fixture *f = *state;
    static const char *const ends[] = {"exit 0", "exit 3", "exit 3"};
    add(f, true, "");
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        let_it_end_by(f, ends[i]);
        if (i == 0)
            assert_int_equal(supervisor_start(&f->supervisor), 0);
        else
            let_wait_end(f);
        wait_for_its_end(f);
        assert_true(ev_is_active(&f->child->restart));
    }
    assert_int_equal(runs(f), 3);
    stop(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_dies_again_and_again_waits_longer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_lived_begins_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_not_restarted_ends_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_cannot_start_ends_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_been_there_is_started_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
