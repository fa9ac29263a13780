/* When the checks of very many endpoints begin that came at the same moment: by chance, first and later on. The clock is the
 * test's, checks begin when their timers are due, and end at once. */
#include "common/clock.h"

static uint64_t clock_us;
#define clock_monotonic_us() clock_us
#include "controlplane/health/schedule.c" /* goes by this clock */

#include <math.h>
#include <stdlib.h>

#include "tests/unit/common/cmocka_all.h"

enum { ENDPOINTS = 200, ROUNDS = 6, TENTHS = 10 };

/* ---- probes that do nothing */

struct probe {
    bool is_under_way;
};

struct probe *probe_create(struct probes *all, void *owner) {
    static struct probe probe;
    (void)all;
    (void)owner;
    return &probe;
}

void probe_destroy(struct probe *p) {
    (void)p;
}

void probe_check(struct probe *p, const struct probe_target *target) {
    (void)target;
    p->is_under_way = true;
}

const char *probe_waits_for(const struct probe *p) {
    (void)p;
    return "answer";
}

/* ---- a timetable */

struct timetable {
    struct checker        checker;
    struct cluster        cluster;
    struct check_plan     plan;
    Headgate__HealthCheck check;
    struct transport     *transport;
    struct endpoint      *endpoints[ENDPOINTS];
    double                due[ENDPOINTS];
    double                waits[ROUNDS][ENDPOINTS]; /* before the first check, the second, ... */
};

static void note_wait(struct timetable *t, unsigned round, unsigned i) {
    double wait = ev_timer_remaining(t->checker.loop, &t->endpoints[i]->timer);
    if (round < ROUNDS)
        t->waits[round][i] = wait;
    t->due[i] = checker_now() + wait;
}

static struct timetable *timetable_create(double interval) {
    struct timetable *t = calloc(1, sizeof *t);
    assert_non_null(t);
    headgate__health_check__init(&t->check);
    t->plan = (struct check_plan){.references = 1, .check = &t->check, .transports = &t->transport, .interval = interval,
                                  .unhealthy_interval = interval, .timeout = interval};
    t->cluster.plan = &t->plan;
    t->checker = (struct checker){.loop = ev_loop_new(EVFLAG_AUTO), .random = 88172645463325252u, .under_way_max = ENDPOINTS,
                                  .kept_max = ENDPOINTS, .last_news = &t->checker.news};
    assert_non_null(t->checker.loop);
    ev_set_userdata(t->checker.loop, &t->checker);
    t->checker.probes.loop = t->checker.loop;
    schedule_init(&t->checker);
    clock_us = UINT64_C(1000000000);
    return t;
}

static void timetable_destroy(struct timetable *t) {
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        ev_timer_stop(t->checker.loop, &t->endpoints[i]->timer);
        endpoint_destroy(t->endpoints[i]);
    }
    ev_loop_destroy(t->checker.loop);
    free(t);
}

static void add_all(struct timetable *t) {
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        t->endpoints[i] = endpoint_create("127.0.0.1:80", NULL, 0, i + 1);
        assert_non_null(t->endpoints[i]);
        t->endpoints[i]->cluster = &t->cluster;
        schedule_new(&t->checker, t->endpoints[i]);
        note_wait(t, 0, i);
    }
}

static unsigned next_due_of(const struct timetable *t) {
    unsigned next = 0;
    for (unsigned i = 1; i < ENDPOINTS; i++)
        if (t->due[i] < t->due[next])
            next = i;
    return next;
}

static void check_one(struct timetable *t, unsigned *rounds) {
    unsigned i = next_due_of(t);
    struct endpoint *e = t->endpoints[i];
    clock_us = (uint64_t)(t->due[i] * 1e6);
    ev_invoke(t->checker.loop, &e->timer, EV_TIMER);
    schedule_run(&t->checker);
    assert_true(e->probe && e->probe->is_under_way);
    e->probe->is_under_way = false;
    t->checker.probes.ended(&t->checker.probes, e, PROBE_WELL, true, NULL);
    note_wait(t, ++rounds[i], i);
}

/* All endpoints come, and are checked so often that every round is full: rounds of different endpoints overlap. */
static struct timetable *timetable_of(double interval) {
    struct timetable *t = timetable_create(interval);
    unsigned rounds[ENDPOINTS] = {0};
    add_all(t);
    for (unsigned least = 0; least < ROUNDS - 1;) {
        check_one(t, rounds);
        least = ROUNDS;
        for (unsigned i = 0; i < ENDPOINTS; i++)
            least = rounds[i] < least ? rounds[i] : least;
    }
    return t;
}

/* All lie in the range, and some in each tenth of it: by chance one is empty once in 1 / (10 * 0.9^200), a hundred million,
 * times, and the seed is fixed. */
static void assert_spread(const double *waits, double least, double most) {
    unsigned counts[TENTHS] = {0};
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        double at = (waits[i] - least) / (most - least);
        assert_true(at > -1e-6 && at < 1 + 1e-6);
        counts[(unsigned)fmin(fmax(at, 0) * TENTHS, TENTHS - 1)]++;
    }
    for (unsigned tenth = 0; tenth < TENTHS; tenth++)
        assert_int_not_equal(counts[tenth], 0);
}

/* ---- tests */

static void first_checks_are_spread_over_a_second(void **state) {
    (void)state;
    struct timetable *t = timetable_of(5);
    assert_spread(t->waits[0], 0, 1);
    timetable_destroy(t);
}

static void first_checks_are_spread_over_a_shorter_interval(void **state) {
    (void)state;
    struct timetable *t = timetable_of(0.25);
    assert_spread(t->waits[0], 0, 0.25);
    timetable_destroy(t);
}

/* Who came together in one second is spread over the whole interval from the second check on. */
static void second_checks_are_spread_over_the_interval(void **state) {
    (void)state;
    struct timetable *t = timetable_of(5);
    assert_spread(t->waits[1], 0.5 * 5, 1.5 * 5);
    timetable_destroy(t);
}

static void further_checks_are_a_tenth_early_or_late(void **state) {
    (void)state;
    struct timetable *t = timetable_of(5);
    for (unsigned round = 2; round < ROUNDS; round++)
        assert_spread(t->waits[round], 0.9 * 5, 1.1 * 5);
    timetable_destroy(t);
}

/* The tenth is drawn each time, not once for each endpoint. */
static void no_endpoint_keeps_its_wait(void **state) {
    (void)state;
    struct timetable *t = timetable_of(5);
    for (unsigned i = 0; i < ENDPOINTS; i++)
        for (unsigned round = 3; round < ROUNDS; round++)
            assert_true(fabs(t->waits[round][i] - t->waits[round - 1][i]) > 1e-9);
    timetable_destroy(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_checks_are_spread_over_a_second),
        cmocka_unit_test(first_checks_are_spread_over_a_shorter_interval),
        cmocka_unit_test(second_checks_are_spread_over_the_interval),
        cmocka_unit_test(further_checks_are_a_tenth_early_or_late),
        cmocka_unit_test(no_endpoint_keeps_its_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
