/* HTTP/3 towards endpoints and TCP beside it: who waits for what, which connection is kept, what is remembered. */
#include "tests/unit/dataplane/back/fake_codec.h"

enum { WAITERS = 4, AFTER = 300000, REMEMBER = 1000000, REMEMBER_MOST = 3000000 };

static struct definition definition;
static struct cluster_runtime *cluster;
static struct endpoint_runtime *endpoint;

struct watched_waiter {
    struct client_waiter waiter; /* first */
    struct client_connection *ready;
    int error;
};

static struct watched_waiter waiters[WAITERS];
static int tcp_error; /* what the next connects over TCP fail with at once */

static void on_ready(struct client_waiter *who, struct client_connection *c) {
    struct watched_waiter *w = (struct watched_waiter *)who;
    assert_null(w->ready);
    assert_int_equal(w->error, 0);
    w->ready = c;
    assert_non_null(pool_open(c));
}

static void on_failed(struct client_waiter *who, int error) {
    struct watched_waiter *w = (struct watched_waiter *)who;
    assert_null(w->ready);
    assert_int_equal(w->error, 0);
    w->error = error;
}

static const struct client_codec tcp_codec;

static struct client_connection *tcp_connect(struct worker *w, const struct client_target *to,
                                             const struct client_options *o, const struct client_owner_ops *owner) {
    if (tcp_error) {
        errno = tcp_error;
        return NULL;
    }
    int error = connect_error;
    connect_error = 0; /* it is of the other codec */
    struct client_connection *c = fake_connect(w, to, o, owner);
    connect_error = error;
    c->codec = &tcp_codec;
    return c;
}

static const struct client_codec tcp_codec = {
    .name = "tcp", .connect = tcp_connect, .open = fake_open, .set_options = fake_set_options, .rest = fake_rest,
    .close = fake_close,
};

static int set_up_with(void **state, uint64_t after) {
    static const struct pool_waiter_ops ops = {.ready = on_ready, .failed = on_failed};
    if (back_set_up(state) < 0)
        return -1;
    pool_set_waiter_ops(&ops);
    memset(waiters, 0, sizeof waiters);
    tcp_error = 0;
    fake_capacity = 3;
    define(&definition, 1, (const uint32_t[]){1});
    definition.cluster.idle_timeout = definition.cluster.connection_lifetime = UINT64_MAX / 2;
    definition.cluster.fallback = (struct fallback_rules){
        .codec = &tcp_codec, .after = after, .remember = REMEMBER, .remember_most = REMEMBER_MOST};
    cluster = bring(&definition);
    endpoint = cluster ? cluster_pick(cluster, &any_endpoint) : NULL;
    return endpoint ? 0 : -1;
}

static int set_up(void **state) {
    return set_up_with(state, AFTER);
}

static int set_up_race(void **state) {
    return set_up_with(state, 0);
}

static int tear_down(void **state) {
    for (unsigned i = 0; i < connection_count; i++)
        while (connections[i].is_open && connections[i].link.is_connected && connections[i].link.active)
            connections[i].link.owner->on_available(&connections[i].link);
    for (unsigned i = 0; i < connection_count; i++)
        if (connections[i].is_open && !connections[i].link.is_connected) {
            connections[i].is_open = false;
            connections[i].link.owner->on_connect_failed(&connections[i].link, ECANCELED);
        }
    fake_capacity = 1;
    return back_tear_down(state);
}

/* ---- what happens */

static struct client_connection *nth(unsigned i) {
    assert_true(i < connection_count);
    return &connections[i].link;
}

static void break_down(struct client_connection *c, int error) {
    ((struct fake_connection *)c)->is_open = false;
    c->owner->on_connect_failed(c, error);
}

static void wait_with(unsigned i) {
    waiters[i] = (struct watched_waiter){.error = 0};
    assert_int_equal(pool_wait(endpoint, 17, &waiters[i].waiter), 0);
}

static void pass(uint64_t time) {
    worker.now += time;
    wheel_advance(&worker.wheel, worker.now);
}

static bool is_tcp(const struct client_connection *c) {
    return c->codec == &tcp_codec;
}

static uint64_t late(void) {
    return stats_read(&worker.stats->origin_http3_late_total);
}

static uint64_t failures(void) {
    return stats_read(&worker.stats->origin_http3_failures_total);
}

static uint64_t over_tcp(void) {
    return stats_read(&worker.stats->origin_fallback_connects_total);
}

/* ---- tests */

static void handshake_in_time_needs_no_tcp(void **state) {
    (void)state;
    wait_with(0);
    wait_with(1);
    pass(AFTER / 2);
    report_connected(nth(0));
    pass(AFTER * 2);
    assert_int_equal(connection_count, 1);
    assert_false(is_tcp(nth(0)));
    assert_ptr_equal(waiters[0].ready, nth(0));
    assert_ptr_equal(waiters[1].ready, nth(0));
    assert_int_equal(late() + failures() + over_tcp(), 0);
}

static void late_handshake_gets_tcp_beside_it(void **state) {
    (void)state;
    wait_with(0);
    pass(AFTER / 2);
    assert_int_equal(connection_count, 1);
    pass(AFTER);
    assert_int_equal(connection_count, 2);
    assert_true(is_tcp(nth(1)) && is_open(nth(0)));
    wait_with(1); /* who comes now need not wait for what is late */
    assert_int_equal(connection_count, 2);
    report_connected(nth(1));
    assert_ptr_equal(waiters[0].ready, nth(1));
    assert_ptr_equal(waiters[1].ready, nth(1));
    assert_int_equal(late(), 1);
    assert_int_equal(over_tcp(), 1);
}

static void late_handshake_that_succeeds_first_takes_all(void **state) {
    (void)state;
    wait_with(0);
    pass(AFTER * 2);
    wait_with(1);
    report_connected(nth(0));
    assert_ptr_equal(waiters[0].ready, nth(0));
    assert_ptr_equal(waiters[1].ready, nth(0));
    assert_false(is_open(nth(1)));
    assert_int_equal(connection_count, 2);
}

/* It has room for one only: the other goes on waiting for TCP. */
static void late_handshake_takes_no_more_than_it_has_room_for(void **state) {
    (void)state;
    wait_with(0);
    pass(AFTER * 2);
    wait_with(1);
    nth(0)->capacity = 1;
    report_connected(nth(0));
    assert_ptr_equal(waiters[0].ready, nth(0));
    assert_true(is_open(nth(1)));
    assert_null(waiters[1].ready);
    assert_int_equal(waiters[1].error, 0);
    report_connected(nth(1));
    assert_ptr_equal(waiters[1].ready, nth(1));
    nth(1)->owner->on_available(nth(1));
    assert_false(is_open(nth(1))); /* not kept, as HTTP/3 works */
}

/* Once HTTP/3 works nothing new goes over TCP; what is open there goes on. */
static void http3_that_comes_later_is_preferred(void **state) {
    (void)state;
    wait_with(0);
    pass(AFTER * 2);
    report_connected(nth(1));
    assert_ptr_equal(take(endpoint), nth(1));
    report_connected(nth(0));
    assert_ptr_equal(take(endpoint), nth(0));
    assert_true(is_open(nth(1)));
    nth(1)->owner->on_available(nth(1));
    nth(1)->owner->on_available(nth(1));
    assert_false(is_open(nth(1)));
    assert_ptr_equal(take(endpoint), nth(0));
}

static void kept_connections_over_tcp_are_closed_when_http3_works(void **state) {
    (void)state;
    wait_with(0);
    pass(AFTER * 2);
    report_connected(nth(1));
    nth(1)->owner->on_available(nth(1));
    assert_true(is_open(nth(1)));
    report_connected(nth(0));
    assert_false(is_open(nth(1)));
}

static void failed_handshake_goes_over_to_tcp(void **state) {
    (void)state;
    wait_with(0);
    wait_with(1);
    break_down(nth(0), ECONNREFUSED);
    assert_int_equal(connection_count, 2);
    assert_true(is_tcp(nth(1)));
    report_connected(nth(1));
    assert_ptr_equal(waiters[0].ready, nth(1));
    assert_ptr_equal(waiters[1].ready, nth(1));
    assert_int_equal(failures(), 1);
    assert_int_equal(late(), 0);
}

static void what_fails_over_tcp_too_has_failed(void **state) {
    (void)state;
    wait_with(0);
    break_down(nth(0), ETIMEDOUT);
    break_down(nth(1), ECONNREFUSED);
    assert_int_equal(waiters[0].error, ECONNREFUSED);
    assert_int_equal(connection_count, 2);
    assert_int_equal(endpoint->connections, 0);
}

/* An origin without TCP, whose HTTP/3 is slow: the handshake is what is left. */
static void who_fails_over_tcp_waits_for_http3_again(void **state) {
    (void)state;
    wait_with(0);
    pass(AFTER * 2);
    break_down(nth(1), ECONNREFUSED);
    assert_int_equal(waiters[0].error, 0);
    wait_with(1);
    assert_int_equal(connection_count, 2);
    report_connected(nth(0));
    assert_ptr_equal(waiters[0].ready, nth(0));
    assert_ptr_equal(waiters[1].ready, nth(0));
}

static void nobody_is_sent_back_and_forth(void **state) {
    (void)state;
    wait_with(0);
    pass(AFTER * 2);
    break_down(nth(1), ECONNREFUSED);
    break_down(nth(0), ETIMEDOUT);
    assert_int_equal(waiters[0].error, ETIMEDOUT);
    assert_int_equal(connection_count, 2);
}

static void failure_is_remembered_for_a_time_that_grows(void **state) {
    (void)state;
    static const uint64_t times[] = {REMEMBER, 2 * REMEMBER, REMEMBER_MOST, REMEMBER_MOST};
    for (unsigned i = 0; i < 4; i++) {
        unsigned first = connection_count;
        wait_with(0);
        assert_false(is_tcp(nth(first)));
        break_down(nth(first), ETIMEDOUT);
        break_down(nth(first + 1), ECONNREFUSED);
        pass(times[i] - 100000);
        wait_with(0);
        assert_true(is_tcp(nth(first + 2)));
        break_down(nth(first + 2), ECONNREFUSED);
        pass(100000);
    }
    assert_int_equal(failures(), 4);
}

/* It says nothing of the origin: HTTP/3 is tried again with the next use. */
static void want_of_our_own_memory_is_not_remembered(void **state) {
    (void)state;
    wait_with(0);
    break_down(nth(0), ENOMEM);
    assert_true(is_tcp(nth(1)));
    report_connected(nth(1));
    assert_ptr_equal(waiters[0].ready, nth(1));
    assert_int_equal(failures(), 0);
    assert_ptr_equal(take(endpoint), nth(1));
    assert_int_equal(connection_count, 3);
    assert_false(is_tcp(nth(2)));
}

static void success_is_remembered_too(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        unsigned first = connection_count;
        wait_with(0);
        break_down(nth(first), ETIMEDOUT);
        break_down(nth(first + 1), ECONNREFUSED);
        pass(REMEMBER); /* as after the first failure */
        wait_with(0);
        assert_false(is_tcp(nth(first + 2)));
        report_connected(nth(first + 2));
        report_closed(nth(first + 2));
    }
}

/* Other workers see it in what they share. */
static void failure_counts_for_all_workers(void **state) {
    (void)state;
    wait_with(0);
    break_down(nth(0), ETIMEDOUT);
    assert_int_equal(atomic_load(&endpoint->shared->http3_not_before), worker.now + REMEMBER);
    report_connected(nth(1));
    atomic_store(&endpoint->shared->http3_not_before, 0);
    assert_ptr_equal(take(endpoint), nth(1));
    assert_int_equal(connection_count, 3);
    assert_false(is_tcp(nth(2)));
}

/* Requests go on over TCP, and a handshake beside them finds out whether UDP gets through now. */
static void http3_is_tried_again_beside_kept_connections(void **state) {
    (void)state;
    wait_with(0);
    break_down(nth(0), ETIMEDOUT);
    report_connected(nth(1));
    pass(REMEMBER - 100000);
    assert_ptr_equal(take(endpoint), nth(1));
    assert_int_equal(connection_count, 2);
    pass(100000);
    nth(1)->owner->on_available(nth(1));
    assert_ptr_equal(take(endpoint), nth(1));
    assert_int_equal(connection_count, 3);
    nth(1)->owner->on_available(nth(1));
    assert_ptr_equal(take(endpoint), nth(1));
    assert_int_equal(connection_count, 3); /* one is enough */
    pass(AFTER * 2);
    assert_int_equal(late(), 0); /* nobody waits for it */
    break_down(nth(2), ETIMEDOUT);
    assert_int_equal(connection_count, 3);
    nth(1)->owner->on_available(nth(1));
    assert_ptr_equal(take(endpoint), nth(1));
    assert_int_equal(connection_count, 3);
    assert_int_equal(failures(), 2);
}

static void both_race_when_told_so(void **state) {
    (void)state;
    wait_with(0);
    assert_int_equal(connection_count, 2);
    assert_true(!is_tcp(nth(0)) && is_tcp(nth(1)));
    wait_with(1);
    assert_int_equal(connection_count, 2);
    report_connected(nth(1));
    assert_ptr_equal(waiters[0].ready, nth(1));
    assert_ptr_equal(waiters[1].ready, nth(1));
    report_connected(nth(0));
    assert_ptr_equal(take(endpoint), nth(0));
    assert_int_equal(late(), 0);
}

static void bound_of_connections_holds_for_both(void **state) {
    (void)state;
    definition.cluster.serial = ++next_serial;
    definition.cluster.breakers.endpoint_connections = 1;
    bring(&definition);
    wait_with(0);
    pass(AFTER * 2);
    assert_int_equal(connection_count, 1);
    break_down(nth(0), ETIMEDOUT); /* which makes room */
    assert_int_equal(connection_count, 2);
    report_connected(nth(1));
    assert_ptr_equal(waiters[0].ready, nth(1));
}

static void tcp_that_cannot_begin_leaves_who_waits(void **state) {
    (void)state;
    tcp_error = EMFILE;
    wait_with(0);
    pass(AFTER * 2);
    assert_int_equal(connection_count, 1);
    assert_int_equal(waiters[0].error, 0);
    break_down(nth(0), ETIMEDOUT);
    assert_int_equal(waiters[0].error, ETIMEDOUT);
}

static void http3_that_cannot_begin_leaves_tcp(void **state) {
    (void)state;
    connect_error = EPERM;
    wait_with(0);
    assert_int_equal(connection_count, 1);
    assert_true(is_tcp(nth(0)));
    report_connected(nth(0));
    assert_ptr_equal(waiters[0].ready, nth(0));
}

static void who_has_gone_needs_no_tcp(void **state) {
    (void)state;
    wait_with(0);
    pool_forget_waiter(&waiters[0].waiter);
    pass(AFTER * 2);
    assert_int_equal(connection_count, 1);
    break_down(nth(0), ETIMEDOUT);
    assert_int_equal(connection_count, 1);
    assert_int_equal(failures(), 1);
}

/* The endpoint leaves while its handshake is under way. */
static void endpoint_that_has_left_is_not_tried_over_tcp(void **state) {
    (void)state;
    wait_with(0);
    define(&definition, 0, NULL);
    bring(&definition);
    pass(AFTER * 2);
    assert_int_equal(connection_count, 1);
    break_down(nth(0), ETIMEDOUT);
    assert_int_equal(waiters[0].error, ETIMEDOUT);
    endpoint = NULL;
}

/* The bound is reached by the very connection that is about to be used: it is not closed for the sake of the next one. */
static void trying_http3_again_does_not_close_the_connection_in_use(void **state) {
    (void)state;
    definition.cluster.serial = ++next_serial;
    definition.cluster.breakers.connections = 1;
    cluster = bring(&definition);
    wait_with(0);
    break_down(nth(0), ETIMEDOUT);
    report_connected(nth(1));
    nth(1)->owner->on_available(nth(1));
    pass(REMEMBER);
    assert_ptr_equal(take(endpoint), nth(1));
    assert_true(is_open(nth(1)));
    assert_int_equal(connection_count, 2);
}

/* Connections of the fallback are worn out once there is none any more. */
static void taking_the_fallback_away_takes_its_connections(void **state) {
    (void)state;
    wait_with(0);
    break_down(nth(0), ETIMEDOUT);
    report_connected(nth(1));
    definition.cluster.serial = ++next_serial;
    definition.cluster.fallback.codec = NULL;
    bring(&definition);
    assert_null(take(endpoint));
    nth(1)->owner->on_available(nth(1));
    assert_false(is_open(nth(1)));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(handshake_in_time_needs_no_tcp),
        TEST(late_handshake_gets_tcp_beside_it),
        TEST(late_handshake_that_succeeds_first_takes_all),
        TEST(late_handshake_takes_no_more_than_it_has_room_for),
        TEST(http3_that_comes_later_is_preferred),
        TEST(kept_connections_over_tcp_are_closed_when_http3_works),
        TEST(failed_handshake_goes_over_to_tcp),
        TEST(what_fails_over_tcp_too_has_failed),
        TEST(who_fails_over_tcp_waits_for_http3_again),
        TEST(nobody_is_sent_back_and_forth),
        TEST(failure_is_remembered_for_a_time_that_grows),
        TEST(want_of_our_own_memory_is_not_remembered),
        TEST(success_is_remembered_too),
        TEST(failure_counts_for_all_workers),
        TEST(http3_is_tried_again_beside_kept_connections),
        TEST(trying_http3_again_does_not_close_the_connection_in_use),
        cmocka_unit_test_setup_teardown(both_race_when_told_so, set_up_race, tear_down),
        TEST(bound_of_connections_holds_for_both),
        TEST(tcp_that_cannot_begin_leaves_who_waits),
        TEST(http3_that_cannot_begin_leaves_tcp),
        TEST(who_has_gone_needs_no_tcp),
        TEST(endpoint_that_has_left_is_not_tried_over_tcp),
        TEST(taking_the_fallback_away_takes_its_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
