/* The clock of the day is set while endpoints are checked, as by NTP, or when a machine wakes up: neither the deadline of a
 * check nor the time of the next depends on it. labels: threads */
#include "tests/unit/controlplane/health/checked.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { HOUR = 3600 };

static atomic_long day_is_ahead; /* seconds by which the clock of the day is ahead, for everybody in this process */

/* libev asks this one for the time of the day. */
int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
    int status = (int)syscall(SYS_gettimeofday, ret, zone);
    ret->tv_sec += atomic_load(&day_is_ahead);
    return status;
}

static int setup(void **state) {
    atomic_store(&day_is_ahead, 0);
    *state = checked_create();
    return 0;
}

static int teardown(void **state) {
    checked_destroy(*state);
    return 0;
}

/* A check waits for its answer when the clock is set; its deadline comes, and so does the next check. */
static void expect_checks_go_on(struct checked *c, long ahead) {
    c->check.timeout = 2000000;
    expect_healthy(c, false);
    const char *answer = c->server.response;
    unsigned before = c->server.requests;
    c->server.response = NULL;
    RUN_UNTIL(c, c->server.requests > before);
    atomic_store(&day_is_ahead, ahead);
    assert_true((ev_time() - (double)time(NULL)) * (double)ahead > 0); /* it works */
    RUN_UNTIL(c, health_counters(c->health)->timeouts > 0);
    c->server.response = answer;
    before = c->server.requests;
    RUN_UNTIL(c, c->server.requests > before + 3);
    RUN_UNTIL(c, c->changes[c->count - 1].health == HEALTHY);
    assert_int_equal(health_counters(c->health)->late, 0);
}

static void test_forward(void **state) {
    expect_checks_go_on(*state, HOUR);
}

static void test_back(void **state) {
    expect_checks_go_on(*state, -HOUR);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_forward), TEST(test_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
