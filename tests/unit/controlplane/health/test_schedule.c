/* When endpoints are checked, and when their health changes: thresholds, intervals, changes of what is checked, kept
 * connections, time that the checker did not get, memory that is not there. labels: threads */
#include "tests/unit/controlplane/health/checked.h"

#include <signal.h>
#include <sys/wait.h>

#include "common/clock.h"

static int setup(void **state) {
    *state = checked_create();
    return 0;
}

static int teardown(void **state) {
    checked_destroy(*state);
    return 0;
}

static const char bad[] = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

static uint8_t last_health(const struct checked *c) {
    return c->count ? c->changes[c->count - 1].health : UNKNOWN;
}

/* The checks that end before a flip are counted by the server: what it answered last may not have been judged yet. */
static void test_thresholds(void **state) {
    struct checked *c = *state;
    c->check.unhealthy_after = 4;
    c->check.healthy_after = 3;
    expect_healthy(c, false); /* one suffices at first */
    assert_int_equal(c->server.requests, 1);
    c->server.response = bad;
    unsigned before = c->server.requests;
    RUN_UNTIL(c, last_health(c) == UNHEALTHY);
    assert_in_range(c->server.requests - before, 3, 7);
    assert_int_equal(c->count, 2);
    c->server.response = good;
    before = c->server.requests;
    RUN_UNTIL(c, last_health(c) == HEALTHY);
    assert_in_range(c->server.requests - before, 2, 6);
    assert_int_equal(c->count, 3);
}

/* Failures that are not in a row change nothing. */
static void on_alternating(struct ev_loop *loop, ev_prepare *p, int events) {
    struct checked *c = p->data;
    (void)loop;
    (void)events;
    c->server.response = c->server.requests % 3 == 2 ? good : bad;
}

static void test_not_in_a_row(void **state) {
    struct checked *c = *state;
    ev_prepare alternate;
    c->check.unhealthy_after = 3;
    c->check.interval = c->check.unhealthy_interval = 10000;
    expect_healthy(c, false);
    ev_prepare_init(&alternate, on_alternating);
    alternate.data = c;
    ev_prepare_start(c->loop, &alternate);
    RUN_UNTIL(c, c->server.requests > 30);
    ev_prepare_stop(c->loop, &alternate);
    assert_int_equal(c->count, 1);
    RUN_UNTIL(c, health_counters(c->health)->failures > 0);
}

/* A healthy endpoint is checked once an hour here, so every further check comes from the shorter interval. */
static void test_faster_when_failing(void **state) {
    struct checked *c = *state;
    c->check.interval = UINT64_C(3600000000);
    c->check.unhealthy_after = 5;
    c->server.response = bad;
    checked_one(c, false);
    RUN_UNTIL(c, last_health(c) == UNHEALTHY);
    assert_true(c->server.requests >= 5);
    RUN_UNTIL(c, c->server.requests >= 10);
    c->server.response = good;
    RUN_UNTIL(c, last_health(c) == HEALTHY);
}

/* ---- what is checked changes ---- */

static void test_set_again(void **state) {
    struct checked *c = *state;
    char texts[3][32];
    const char *addresses[3];
    for (unsigned i = 0; i < 3; i++) {
        snprintf(texts[i], sizeof texts[i], "127.0.0.%u:%u", i + 1, c->server.port);
        addresses[i] = texts[i];
    }
    c->check.interval = UINT64_C(3600000000);
    assert_int_equal(checked_try(c, addresses, 2, false), 0);
    RUN_UNTIL(c, c->count == 2);
    assert_int_equal(c->server.requests, 2);
    assert_int_equal(checked_try(c, addresses + 1, 2, false), 0); /* the first goes, the third comes */
    assert_int_equal(health_of(c->health, "c", addresses[0]), UNKNOWN);
    assert_int_equal(health_of(c->health, "c", addresses[1]), HEALTHY);
    RUN_UNTIL(c, c->count == 3);
    assert_string_equal(c->changes[2].address, addresses[2]);
    c->check.timeout = 5000000;
    c->http.path = (char *)(uintptr_t)"/other";
    assert_int_equal(checked_try(c, addresses + 1, 2, false), 0);
    RUN_UNTIL(c, health_counters(c->health)->endpoints == 2);
    assert_int_equal(c->server.requests, 3); /* neither health nor schedule begins anew */
    assert_int_equal(health_of(c->health, "c", addresses[1]), HEALTHY);
    c->check.interval = 20000;
    assert_int_equal(checked_try(c, addresses + 1, 2, false), 0); /* due sooner than a new interval at the latest */
    RUN_UNTIL(c, c->server.requests >= 10);
    assert_int_equal(c->server.accepted, 3); /* the connections have stayed */
    assert_true(strstr(c->server.last, "GET /other ") != NULL);
    assert_int_equal(c->count, 3);
    assert_int_equal(checked_try(c, NULL, 0, false), 0);
    RUN_UNTIL(c, health_counters(c->health)->endpoints == 0 && c->server.open == 0);
    assert_int_equal(health_set_cluster(c->health, "c", NULL, NULL, &c->errors), 0);
    assert_int_equal(health_set_cluster(c->health, "c", NULL, NULL, &c->errors), 0);
    assert_int_equal(health_of(c->health, "c", addresses[1]), UNKNOWN);
}

/* A check under way goes with its endpoint; nothing is said of it any more. */
static void test_removed_under_way(void **state) {
    struct checked *c = *state;
    c->server.response = NULL;
    const char *address = checked_one(c, false);
    RUN_UNTIL(c, c->server.requests == 1);
    assert_int_equal(health_set_cluster(c->health, "c", NULL, NULL, &c->errors), 0);
    RUN_UNTIL(c, c->server.open == 0);
    c->server.response = good;
    checked_one(c, true);
    RUN_UNTIL(c, c->count == 1);
    assert_int_equal(health_of(c->health, "c", address), HEALTHY);
    c->server.response = NULL;
    RUN_UNTIL(c, c->server.requests == 3);
    checked_one(c, false); /* another host name in the middle of a check: it begins anew */
    c->server.response = good;
    RUN_UNTIL(c, c->server.requests >= 4);
    assert_true(strstr(c->server.last, "Host: c\r\n") != NULL);
    assert_int_equal(c->count, 1);
}

static void test_many_changes(void **state) {
    struct checked *c = *state;
    enum { MANY = 300 };
    char texts[MANY][32];
    const char *addresses[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "127.0.1.%u:%u", i % 250 + 1, i < 250 ? c->server.port : 1);
        addresses[i] = texts[i];
    }
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(checked_try(c, addresses + i % 100, 1 + i, false), 0);
    assert_int_equal(checked_try(c, addresses, MANY, false), 0);
    RUN_UNTIL(c, c->count >= MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(health_of(c->health, "c", addresses[i]), i < 250 ? HEALTHY : UNHEALTHY);
    assert_true(c->batches < c->count); /* coalesced */
    RUN_UNTIL(c, health_counters(c->health)->unhealthy == 50);
    assert_int_equal(health_counters(c->health)->endpoints, MANY);
}

/* ---- connections ---- */

static void test_reuse(void **state) {
    struct checked *c = *state;
    expect_healthy(c, false);
    RUN_UNTIL(c, c->server.requests >= 10);
    assert_int_equal(c->server.accepted, 1);
    RUN_UNTIL(c, health_counters(c->health)->reused >= 9);
    assert_int_equal(health_counters(c->health)->connects, 1);
}

/* A kept connection that the server closes, before the next request or in its face, is no failure. */
static void test_stale_connections(void **state) {
    struct checked *c = *state;
    expect_healthy(c, false);
    for (unsigned i = 0; i < 5; i++) {
        server_drop_connections(&c->server);
        unsigned before = c->server.requests;
        RUN_UNTIL(c, c->server.requests > before);
    }
    c->server.closes = true; /* behind an answer that says nothing of it */
    RUN_UNTIL(c, c->server.accepted >= 15);
    c->server.closes = false;
    RUN_UNTIL(c, health_counters(c->health)->checks > c->server.requests - 1);
    assert_int_equal(health_counters(c->health)->failures, 0);
    assert_int_equal(c->count, 1);
}

/* With few descriptors most connections are not kept, and all endpoints are checked. */
static void test_few_descriptors(void **state) {
    struct checked *c = *state;
    enum { MANY = 100, DESCRIPTORS = 16 };
    char texts[MANY][32];
    const char *addresses[MANY];
    health_destroy(c->health);
    checked_begin(c, DESCRIPTORS);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "127.0.2.%u:%u", i + 1, c->server.port);
        addresses[i] = texts[i];
    }
    assert_int_equal(checked_try(c, addresses, MANY, false), 0);
    while (c->count < MANY || c->server.requests < 3 * MANY) {
        ev_run(c->loop, EVRUN_ONCE);
        assert_true(health_counters(c->health)->connections <= DESCRIPTORS);
    }
    assert_int_equal(health_counters(c->health)->unhealthy, 0);
    assert_int_equal(c->count, MANY);
}

/* ---- time ---- */

/* The process of the checker is stopped for longer than every time-out, again and again: that is not the endpoints'
 * fault. Its parent is the server, and the clock. */
static void run_checker_of(struct checked *parent, int out) {
    struct checked *c = calloc(1, sizeof *c);
    c->loop = ev_loop_new(0);
    c->server.port = parent->server.port;
    c->check = parent->check;
    c->http = parent->http;
    c->check.http = &c->http;
    c->way = parent->way;
    c->way.check = &c->check;
    c->check.timeout = 200000;
    checked_begin(c, 0);
    checked_one(c, false);
    RUN_UNTIL(c, c->count > 0);
    (void)!write(out, &c->changes[0].health, 1);
    RUN_UNTIL(c, health_counters(c->health)->failures > 0 || getppid() == 1);
    (void)!write(out, "f", 1);
    _exit(0);
}

static bool has_byte(int fd, char wanted) {
    char got = 0;
    ssize_t n = read(fd, &got, 1);
    return n == 1 && got == wanted;
}

static void test_stopped(void **state) {
    enum { STOPS = 4, STOP_US = 600000 };
    struct checked *c = *state;
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
    health_destroy(c->health);
    c->health = NULL; /* a process with threads is not to be forked */
    pid_t child = fork();
    if (child == 0)
        run_checker_of(c, out[1]);
    RUN_UNTIL(c, has_byte(out[0], HEALTHY));
    for (unsigned i = 0; i < STOPS; i++) {
        unsigned before = c->server.requests;
        RUN_UNTIL(c, c->server.requests > before); /* a check is under way, or just over */
        kill(child, SIGSTOP);
        uint64_t until = clock_monotonic_us() + STOP_US;
        while (clock_monotonic_us() < until)
            ev_run(c->loop, EVRUN_NOWAIT);
        kill(child, SIGCONT);
    }
    unsigned before = c->server.requests;
    RUN_UNTIL(c, c->server.requests > before + 20);
    assert_false(has_byte(out[0], 'f'));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(out[0]);
    close(out[1]);
}

/* ---- memory ---- */

/* Setting a cluster either succeeds or leaves everything as it was, whichever allocation fails. The checker's own
 * allocations may meet the failure instead: a check is then put off, and nothing is said of the endpoint. */
static void test_no_memory_to_set(void **state) {
    struct checked *c = *state;
    char texts[2][32];
    const char *addresses[] = {texts[0], texts[1]};
    for (unsigned i = 0; i < 2; i++)
        snprintf(texts[i], sizeof texts[i], "127.0.0.%u:%u", i + 1, c->server.port);
    c->check.interval = UINT64_C(3600000000);
    assert_int_equal(checked_try(c, addresses, 1, true), 0);
    RUN_UNTIL(c, c->count == 1);
    unsigned failures = 0;
    for (long n = 0; n < 1000; n++) {
        hg_alloc_fail_at(n, 1);
        int status = checked_try(c, addresses, 2, true);
        hg_alloc_fail_at(-1, 0);
        if (status == 0)
            break;
        failures++;
        assert_int_equal(health_of(c->health, "c", addresses[0]), HEALTHY);
        error_list_finish(&c->errors);
        c->errors = (struct error_list){0};
    }
    assert_true(failures > 10);
    RUN_UNTIL(c, c->count == 2);
    assert_int_equal(health_of(c->health, "c", addresses[1]), HEALTHY);
    for (long n = 0; n < 1000; n++) { /* a cluster that was not there */
        const Headgate__EndpointSet none = HEADGATE__ENDPOINT_SET__INIT;
        hg_alloc_fail_at(n, 1);
        int status = health_set_cluster(c->health, "d", &c->way, &none, &c->errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&c->errors);
        c->errors = (struct error_list){0};
        if (status == 0)
            break;
        assert_int_equal(health_of(c->health, "d", "x"), UNKNOWN);
    }
}

static void test_no_memory_to_check(void **state) {
    struct checked *c = *state;
    c->check.interval = c->check.unhealthy_interval = 5000;
    expect_healthy(c, false);
    for (unsigned i = 0; i < 60; i++) {
        unsigned before = c->server.requests;
        uint64_t checks = health_counters(c->health)->put_off;
        hg_alloc_fail_at((long)i % 12, 0);
        RUN_UNTIL(c, c->server.requests > before || health_counters(c->health)->put_off > checks);
        hg_alloc_fail_at(-1, 0);
    }
    if (c->count > 1)
        fail_msg("unhealthy: %s", c->changes[1].reason);
    assert_int_equal(health_counters(c->health)->failures, 0);
}

static void test_no_memory_to_create(void **state) {
    struct checked *c = *state;
    const struct health_config config = {.loop = c->loop, .changed = checked_on_changed, .context = c};
    for (long n = 0; n < 100; n++) {
        hg_alloc_fail_at(n, 0);
        struct health *h = health_create(&config, &c->errors);
        hg_alloc_fail_at(-1, 0);
        if (h) {
            health_destroy(h);
            assert_true(n > 1);
            return;
        }
    }
    fail_msg("it never succeeds");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_thresholds), TEST(test_not_in_a_row), TEST(test_faster_when_failing), TEST(test_set_again),
        TEST(test_removed_under_way), TEST(test_many_changes), TEST(test_reuse), TEST(test_stale_connections),
        TEST(test_few_descriptors), TEST(test_stopped), TEST(test_no_memory_to_set), TEST(test_no_memory_to_check),
        TEST(test_no_memory_to_create),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
