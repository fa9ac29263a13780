/* Timers against the clock of the test: never early, at most one tick late, whatever they do to each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/core/wheel.h"

enum { MANY = 64, STEPS = 20000, SECOND = 1000000 };

/* A timer that notes when it fired, and may act on another one. */
struct probe {
    struct timer timer; /* first */
    uint64_t fired_at;
    unsigned fired;
    struct probe *victim;
    uint64_t victim_deadline; /* 0: the victim is removed */
};

static struct wheel wheel;
static uint64_t now;

static void on_fire(struct timer *t) {
    struct probe *p = (struct probe *)t;
    p->fired_at = now;
    p->fired++;
    if (p->victim && p->victim_deadline)
        wheel_set(&wheel, &p->victim->timer, p->victim_deadline);
    else if (p->victim)
        wheel_remove(&wheel, &p->victim->timer);
}

static struct probe probe_of(void) {
    return (struct probe){.timer = {.fire = on_fire}};
}

static int set_up(void **state) {
    (void)state;
    now = 123456789;
    wheel_init(&wheel, now);
    return 0;
}

/* The clock moves on in steps, and the wheel with it. */
static void run_to(uint64_t when, uint64_t step) {
    while (now < when) {
        now = now + step < when ? now + step : when;
        wheel_advance(&wheel, now);
    }
}

static void assert_on_time(const struct probe *p, uint64_t deadline, uint64_t step) {
    assert_int_equal(p->fired, 1);
    assert_true(p->fired_at >= deadline);
    assert_true(p->fired_at <= deadline + WHEEL_TICK_US + step);
}

static void fires_once_and_on_time(void **state) {
    (void)state;
    static const uint64_t delays[] = {0,      1,          9999,        10000,       10001,
                                      250000, 5 * SECOND, 10 * SECOND, 11 * SECOND, 3600ULL * SECOND};
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        struct probe p = probe_of();
        uint64_t deadline = now + delays[i];
        wheel_set(&wheel, &p.timer, deadline);
        assert_int_equal(wheel.count, 1);
        run_to(deadline + 2 * WHEEL_TICK_US, 700);
        assert_on_time(&p, deadline, 700);
        assert_int_equal(wheel.count, 0);
    }
}

static void later_deadline_costs_no_list_operation(void **state) {
    (void)state;
    struct probe p = probe_of();
    wheel_set(&wheel, &p.timer, now + SECOND);
    const struct timer *next = p.timer.next;
    uint64_t slot = p.timer.slot_time;
    for (int i = 2; i < 30; i++)
        wheel_set(&wheel, &p.timer, now + i * (uint64_t)SECOND);
    assert_ptr_equal(p.timer.next, next);
    assert_int_equal(p.timer.slot_time, slot);
    uint64_t deadline = p.timer.deadline;
    run_to(deadline + 2 * WHEEL_TICK_US, 5000);
    assert_on_time(&p, deadline, 5000);
}

static void earlier_deadline_moves_it(void **state) {
    (void)state;
    struct probe p = probe_of();
    uint64_t deadline = now + SECOND;
    wheel_set(&wheel, &p.timer, now + 9 * (uint64_t)SECOND);
    wheel_set(&wheel, &p.timer, deadline);
    assert_int_equal(wheel.count, 1);
    run_to(deadline + 2 * WHEEL_TICK_US, 5000);
    assert_on_time(&p, deadline, 5000);
}

static void hastening_moves_it_only_to_earlier(void **state) {
    (void)state;
    struct probe p = probe_of();
    uint64_t deadline = now + SECOND;
    wheel_hasten(&wheel, &p.timer, 0);
    assert_int_equal(wheel.count, 0);
    wheel_hasten(&wheel, &p.timer, now + 3 * SECOND);
    wheel_hasten(&wheel, &p.timer, deadline);
    wheel_hasten(&wheel, &p.timer, now + 2 * SECOND);
    wheel_hasten(&wheel, &p.timer, 0);
    assert_int_equal(p.timer.deadline, deadline);
    run_to(deadline + 2 * WHEEL_TICK_US, 700);
    assert_on_time(&p, deadline, 700);
    assert_int_equal(wheel.count, 0);
    wheel_hasten(&wheel, &p.timer, now + SECOND); /* after it has fired any time is earlier */
    assert_int_equal(wheel.count, 1);
    wheel_remove(&wheel, &p.timer);
}

static void stopped_timer_drops_out(void **state) {
    (void)state;
    struct probe stopped = probe_of(), removed = probe_of();
    wheel_set(&wheel, &stopped.timer, now + SECOND);
    wheel_set(&wheel, &removed.timer, now + SECOND);
    wheel_set(&wheel, &stopped.timer, 0);
    wheel_remove(&wheel, &removed.timer);
    wheel_remove(&wheel, &removed.timer);
    assert_null(removed.timer.next);
    run_to(now + 2 * (uint64_t)SECOND, 5000);
    assert_int_equal(stopped.fired + removed.fired, 0);
    assert_int_equal(wheel.count, 0);
}

static void firing_timer_may_remove_its_neighbours(void **state) {
    (void)state;
    struct probe first = probe_of(), second = probe_of(), third = probe_of();
    first.victim = &second;
    uint64_t deadline = now + SECOND;
    wheel_set(&wheel, &first.timer, deadline);
    wheel_set(&wheel, &second.timer, deadline);
    wheel_set(&wheel, &third.timer, deadline);
    run_to(deadline + SECOND, 5000);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired, 0);
    assert_int_equal(third.fired, 1);
}

static void firing_timer_may_set_itself_and_others(void **state) {
    (void)state;
    struct probe first = probe_of(), second = probe_of();
    uint64_t deadline = now + SECOND;
    first.victim = &second;
    first.victim_deadline = deadline + WHEEL_TICK_US * WHEEL_SLOTS; /* the same slot, one turn later */
    wheel_set(&wheel, &first.timer, deadline);
    run_to(deadline + 2 * WHEEL_TICK_US, 5000);
    assert_int_equal(second.fired, 0);
    run_to(first.victim_deadline + 2 * WHEEL_TICK_US, 5000);
    assert_on_time(&second, first.victim_deadline, 5000);

    first.victim = &first;
    first.victim_deadline = now + 2 * (uint64_t)SECOND;
    wheel_set(&wheel, &first.timer, now + SECOND);
    run_to(now + 3 * (uint64_t)SECOND, 5000);
    assert_true(first.fired >= 3);
    wheel_remove(&wheel, &first.timer);
}

static void long_sleep_fires_all_that_is_due_once(void **state) {
    (void)state;
    struct probe p[MANY];
    for (int i = 0; i < MANY; i++) {
        p[i] = probe_of();
        wheel_set(&wheel, &p[i].timer, now + (uint64_t)i * 7 * SECOND);
    }
    uint64_t half = now + (uint64_t)MANY / 2 * 7 * SECOND;
    now = half;
    wheel_advance(&wheel, now);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(p[i].fired, i <= MANY / 2);
    assert_int_equal(wheel.count, MANY / 2 - 1);
    run_to(now + (uint64_t)MANY * 7 * SECOND, 9 * SECOND);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(p[i].fired, 1);
}

static void timer_set_after_an_idle_hour_is_on_time(void **state) {
    (void)state;
    struct probe p = probe_of();
    now += 3600 * (uint64_t)SECOND; /* nothing advances an empty wheel */
    uint64_t deadline = now + SECOND;
    wheel_set(&wheel, &p.timer, deadline);
    run_to(deadline + 2 * WHEEL_TICK_US, 5000);
    assert_on_time(&p, deadline, 5000);
}

/* What has to have fired by now, and has not; or has, too early. */
static void check_against(struct probe *p, uint64_t *deadlines, uint64_t step) {
    for (int i = 0; i < MANY; i++) {
        if (p[i].fired) {
            assert_true(deadlines[i] != 0);
            assert_on_time(&p[i], deadlines[i], step);
            p[i].fired = 0;
            deadlines[i] = 0;
        }
        if (deadlines[i])
            assert_true(deadlines[i] + WHEEL_TICK_US > now);
    }
}

static void random_timers_behave_as_a_list_of_deadlines(void **state) {
    (void)state;
    struct probe p[MANY];
    uint64_t deadlines[MANY] = {0};
    srand(1);
    for (int i = 0; i < MANY; i++)
        p[i] = probe_of();
    for (int step = 0; step < STEPS; step++) {
        int i = rand() % MANY;
        deadlines[i] = rand() % 4 ? now + 1 + (uint64_t)(rand() % 30) * (uint64_t)(rand() % SECOND) : 0;
        if (deadlines[i] || rand() % 2)
            wheel_set(&wheel, &p[i].timer, deadlines[i]);
        else
            wheel_remove(&wheel, &p[i].timer);
        uint64_t pause = (uint64_t)(rand() % 100000);
        run_to(now + pause, pause + 1);
        check_against(p, deadlines, pause);
    }
    for (int i = 0; i < MANY; i++)
        wheel_remove(&wheel, &p[i].timer);
    assert_int_equal(wheel.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fires_once_and_on_time, set_up),
        cmocka_unit_test_setup(later_deadline_costs_no_list_operation, set_up),
        cmocka_unit_test_setup(earlier_deadline_moves_it, set_up),
        cmocka_unit_test_setup(hastening_moves_it_only_to_earlier, set_up),
        cmocka_unit_test_setup(stopped_timer_drops_out, set_up),
        cmocka_unit_test_setup(firing_timer_may_remove_its_neighbours, set_up),
        cmocka_unit_test_setup(firing_timer_may_set_itself_and_others, set_up),
        cmocka_unit_test_setup(long_sleep_fires_all_that_is_due_once, set_up),
        cmocka_unit_test_setup(timer_set_after_an_idle_hour_is_on_time, set_up),
        cmocka_unit_test_setup(random_timers_behave_as_a_list_of_deadlines, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
