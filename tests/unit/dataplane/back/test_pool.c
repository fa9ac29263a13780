/* Kept connections of an endpoint: which is taken, which is closed, and who hears of it. */
#include "tests/unit/dataplane/back/fake_codec.h"

static struct definition definition;
static struct cluster_runtime *cluster;
static struct endpoint_runtime *endpoint;
static struct client_connection *ready_connection;
static int failed_error;
static struct client_waiter waiter;
static bool is_unwanted; /* what the waiter says of a connection that is ready */

static void on_ready(struct client_waiter *who, struct client_connection *c) {
    assert_ptr_equal(who, &waiter);
    ready_connection = c;
    if (!is_unwanted)
        assert_non_null(pool_open(c));
}

static void on_failed(struct client_waiter *who, int error) {
    assert_ptr_equal(who, &waiter);
    failed_error = error;
}

static int set_up(void **state) {
    static const struct pool_waiter_ops ops = {.ready = on_ready, .failed = on_failed};
    if (back_set_up(state) < 0)
        return -1;
    pool_set_waiter_ops(&ops);
    ready_connection = NULL;
    failed_error = 0;
    is_unwanted = false;
    define(&definition, 1, (const uint32_t[]){1});
    cluster = bring(&definition);
    endpoint = cluster ? cluster_pick(cluster, &any_endpoint) : NULL;
    return endpoint ? 0 : -1;
}

static struct client_connection *connect_one(void) {
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    assert_non_null(c);
    report_connected(c);
    assert_ptr_equal(ready_connection, c);
    return c;
}

static struct client_connection *keep_one(void) {
    struct client_connection *c = connect_one();
    c->owner->on_available(c);
    return c;
}

static uint64_t idle(void) {
    return stats_read(&worker.stats->origin_idle_connections);
}

static void last_one_used_is_taken_first(void **state) {
    (void)state;
    assert_null(take(endpoint));
    struct client_connection *a = connect_one(), *b = connect_one();
    a->owner->on_available(a);
    b->owner->on_available(b);
    assert_int_equal(idle(), 2);
    assert_true(((struct fake_connection *)a)->is_resting);
    assert_int_equal(((struct fake_connection *)a)->rest_timeout, 1000);
    assert_ptr_equal(take(endpoint), b);
    assert_ptr_equal(take(endpoint), a);
    assert_null(take(endpoint));
    assert_int_equal(idle(), 0);
    assert_int_equal(stats_read(&worker.stats->origin_reuses_total), 2);
    assert_int_equal(stats_read(&worker.stats->origin_connects_total), 2);
    a->owner->on_available(a);
    b->owner->on_available(b);
}

static void no_more_are_kept_than_the_limit(void **state) {
    (void)state;
    struct client_connection *c[6];
    for (int i = 0; i < 6; i++)
        c[i] = connect_one();
    for (int i = 0; i < 6; i++) {
        c[i]->owner->on_available(c[i]);
        assert_int_equal(is_open(c[i]), i < 4);
    }
    assert_int_equal(idle(), 4);
    assert_int_equal(endpoint->connections, 4);
}

static void old_or_used_up_connections_are_closed(void **state) {
    (void)state;
    struct client_connection *old = keep_one();
    assert_ptr_equal(take(endpoint), old);
    worker.now += 5001;
    old->owner->on_available(old);
    assert_false(is_open(old));
    struct client_connection *used = connect_one();
    used->exchanges = 98;
    used->owner->on_available(used);
    assert_ptr_equal(take(endpoint), used);
    used->owner->on_available(used);
    assert_ptr_equal(take(endpoint), used);
    used->owner->on_available(used);
    assert_false(is_open(used));
    assert_int_equal(endpoint->connections, 0);
}

static void kept_connection_that_closes_is_forgotten(void **state) {
    (void)state;
    struct client_connection *a = connect_one(), *b = connect_one(), *c = connect_one();
    a->owner->on_available(a);
    b->owner->on_available(b);
    c->owner->on_available(c);
    report_closed(b);
    assert_ptr_equal(take(endpoint), c);
    assert_ptr_equal(take(endpoint), a);
    assert_null(take(endpoint));
    a->owner->on_available(a);
    c->owner->on_available(c);
    assert_int_equal(endpoint->connections, 2);
}

/* A connection that was kept while a push changed a timeout works with the new one. */
static void kept_connection_learns_new_options(void **state) {
    (void)state;
    struct client_connection *c = keep_one();
    definition.cluster.serial = ++next_serial;
    definition.cluster.options.write_timeout = 4711;
    bring(&definition);
    assert_ptr_equal(take(endpoint), c);
    assert_int_equal(((struct fake_connection *)c)->options.write_timeout, 4711);
    c->owner->on_available(c);
}

static void timeout_of_the_cluster_comes_before_that_of_the_route(void **state) {
    (void)state;
    struct client_connection *of_route = connect_for(endpoint, 17, &waiter);
    assert_int_equal(((struct fake_connection *)of_route)->options.connect_timeout, 17);
    definition.cluster.serial = ++next_serial;
    definition.cluster.options.connect_timeout = 4711;
    bring(&definition);
    struct client_connection *of_cluster = connect_for_nobody(endpoint, 17);
    assert_int_equal(((struct fake_connection *)of_cluster)->options.connect_timeout, 4711);
    pool_forget_waiter(&waiter);
}

static void failed_connect_is_told_to_who_waits(void **state) {
    (void)state;
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    ((struct fake_connection *)c)->is_open = false;
    c->owner->on_connect_failed(c, ECONNREFUSED);
    assert_int_equal(failed_error, ECONNREFUSED);
    c = connect_for(endpoint, 17, &waiter);
    ((struct fake_connection *)c)->is_open = false;
    c->owner->on_connect_failed(c, ETIMEDOUT);
    assert_int_equal(failed_error, ETIMEDOUT);
    assert_int_equal(stats_read(&worker.stats->origin_connect_failures_total), 1);
    assert_int_equal(stats_read(&worker.stats->origin_connect_timeouts_total), 1);
    assert_int_equal(endpoint->connections, 0);
    connect_error = ENETUNREACH;
    assert_null(connect_for(endpoint, 17, &waiter));
    assert_int_equal(errno, ENETUNREACH);
    assert_int_equal(stats_read(&worker.stats->origin_connect_failures_total), 2);
    assert_int_equal(endpoint->connections, 0);
}

static void connection_that_nobody_waits_for_any_more_is_kept(void **state) {
    (void)state;
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    pool_forget_waiter(&waiter);
    report_connected(c);
    assert_null(ready_connection);
    assert_ptr_equal(take(endpoint), c);
    c->owner->on_available(c);
    c = connect_for(endpoint, 17, &waiter);
    pool_forget_waiter(&waiter);
    ((struct fake_connection *)c)->is_open = false;
    c->owner->on_connect_failed(c, ECONNREFUSED);
    assert_int_equal(failed_error, 0);
}

static void connection_that_nobody_waits_for_any_more_takes_the_next(void **state) {
    (void)state;
    struct client_waiter other = {0};
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    c->opened_at = worker.now;
    for (int i = 0; i < 3; i++) {
        pool_forget_waiter(&waiter);
        assert_int_equal(pool_wait(endpoint, 17, &waiter), 0);
        assert_ptr_equal(waiter.connection, c);
    }
    assert_int_equal(pool_wait(endpoint, 17, &other), 0);
    assert_ptr_not_equal(other.connection, c);
    pool_forget_waiter(&other);
    report_connected(c);
    assert_ptr_equal(ready_connection, c);
}

static void connect_that_takes_long_is_not_for_the_next(void **state) {
    (void)state;
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    c->opened_at = worker.now;
    pool_forget_waiter(&waiter);
    worker.now += 60000;
    assert_int_equal(pool_wait(endpoint, 17, &waiter), 0);
    assert_ptr_not_equal(waiter.connection, c);
    pool_forget_waiter(&waiter);
}

static void connection_being_made_for_nobody_is_closed_with_the_idle_ones(void **state) {
    (void)state;
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    pool_close_idle(endpoint);
    assert_true(is_open(c));
    pool_forget_waiter(&waiter);
    pool_close_idle(endpoint);
    assert_false(is_open(c));
    assert_int_equal(endpoint->connections, 0);
}

static void connection_that_the_waiter_refuses_is_kept(void **state) {
    (void)state;
    is_unwanted = true;
    struct client_connection *c = connect_one();
    assert_int_equal(idle(), 1);
    assert_ptr_equal(take(endpoint), c);
    c->owner->on_available(c);
}

static void closing_all_that_are_kept_leaves_those_in_use(void **state) {
    (void)state;
    struct client_connection *busy = connect_one(), *a = keep_one();
    pool_close_idle(endpoint);
    assert_false(is_open(a));
    assert_true(is_open(busy));
    assert_int_equal(endpoint->connections, 1);
    assert_int_equal(idle(), 0);
    pool_close_idle(endpoint);
}

/* ---- connections that carry many exchanges */

static int set_up_many(void **state) {
    fake_capacity = 3;
    return set_up(state);
}

static int tear_down_many(void **state) {
    fake_capacity = 1;
    return back_tear_down(state);
}

static void one_connection_carries_many_until_it_is_full(void **state) {
    (void)state;
    struct client_connection *c = connect_one();
    assert_ptr_equal(take(endpoint), c);
    assert_int_equal(idle(), 0);
    assert_ptr_equal(take(endpoint), c);
    assert_null(take(endpoint));
    c->owner->on_available(c);
    assert_ptr_equal(take(endpoint), c);
    for (int i = 0; i < 3; i++)
        c->owner->on_available(c);
    assert_int_equal(idle(), 1);
    assert_int_equal(c->active, 0);
}

static void those_who_wait_share_the_connection_that_is_being_made(void **state) {
    (void)state;
    struct client_waiter others[4] = {0};
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(connect_for(endpoint, 17, &others[i]), c);
    for (int i = 0; i < 4; i++)
        pool_forget_waiter(&others[i]);
    assert_int_equal(c->waiting, 1);
    report_connected(c);
    assert_int_equal(c->active, 1);
    assert_int_equal(stats_read(&worker.stats->origin_connects_total), 1);
    c->owner->on_available(c);
}

static void one_that_drains_takes_nothing_new_and_ends_with_the_last(void **state) {
    (void)state;
    struct client_connection *c = connect_one();
    assert_ptr_equal(take(endpoint), c);
    c->owner->on_draining(c);
    assert_null(take(endpoint));
    c->owner->on_available(c);
    assert_true(is_open(c));
    c->owner->on_available(c);
    assert_false(is_open(c));
    assert_int_equal(endpoint->connections, 0);
}

static void capacity_that_changes_counts_at_once(void **state) {
    (void)state;
    struct client_connection *c = connect_one();
    c->capacity = 1;
    c->owner->on_capacity(c);
    assert_null(take(endpoint));
    c->capacity = 2;
    c->owner->on_capacity(c);
    assert_ptr_equal(take(endpoint), c);
    c->owner->on_available(c);
    c->owner->on_available(c);
}

/* What is kept speaks another protocol than the cluster's from now on. */
static void change_of_protocol_leaves_old_connections_to_end(void **state) {
    (void)state;
    static struct client_codec other;
    struct client_connection *busy = connect_one(), *c = connect_one();
    c->owner->on_available(c);
    other = fake_codec;
    definition.cluster.codec = &other;
    definition.cluster.serial = ++next_serial;
    bring(&definition);
    assert_false(is_open(c));
    assert_true(is_open(busy));
    assert_null(take(endpoint));
    busy->owner->on_available(busy);
    assert_false(is_open(busy));
}

static void expect_worn_out(struct client_connection *c) {
    definition.cluster.serial = ++next_serial;
    bring(&definition);
    assert_null(take(endpoint));
    assert_false(is_open(c));
}

/* What was verified by one rule is not used under another: trust, or the name that the origin must show. */
static void change_of_verification_leaves_old_connections_to_end(void **state) {
    (void)state;
    static char rules[2]; /* two definitions of TLS: only told apart here */
    struct client_connection *c = connect_one();
    c->owner->on_available(c);
    definition.cluster.options.tls = (struct tls_client *)&rules[0];
    expect_worn_out(c);
    c = connect_one();
    c->owner->on_available(c);
    definition.cluster.options.tls = (struct tls_client *)&rules[1];
    expect_worn_out(c);
    c = connect_one();
    c->owner->on_available(c);
    definition.cluster.serial = ++next_serial;
    bring(&definition);
    assert_ptr_equal(take(endpoint), c); /* nothing of it has changed */
    c->owner->on_available(c);
    definition.endpoints[0].hostname = STR("other.example");
    expect_worn_out(c);
}

/* What it was made with, before an exchange brings the cluster's options. */
static struct client_connection *connect_with(const char *tls, const char *quic_tls) {
    struct client_connection *c = connect_for(endpoint, 17, &waiter);
    assert_non_null(c);
    assert_ptr_equal(((struct fake_connection *)c)->options.tls, tls);
    assert_ptr_equal(((struct fake_connection *)c)->options.quic_tls, quic_tls);
    report_connected(c);
    c->owner->on_available(c);
    return c;
}

/* Endpoints that are marked for it get a TLS of their own; one that changes its mark is not talked to over what was. */
static void endpoints_have_tls_of_their_own(void **state) {
    (void)state;
    static char rules[4];
    struct tls_choice choices[] = {{7, NULL, NULL},
                                   {8, (struct tls_client *)&rules[1], (struct tls_client *)&rules[2]}};
    definition.cluster.options.tls = (struct tls_client *)&rules[0];
    definition.cluster.tls_choices = choices;
    definition.cluster.tls_choice_count = 2;
    definition.cluster.serial = ++next_serial;
    bring(&definition);
    struct client_connection *c = connect_with(&rules[0], NULL);
    definition.endpoints[0].tls_choice = 8;
    expect_worn_out(c);
    c = connect_with(&rules[1], &rules[2]);
    definition.endpoints[0].tls_choice = 7;
    expect_worn_out(c);
    c = connect_with(NULL, NULL);
    choices[1].tcp = (struct tls_client *)&rules[3]; /* what others go by */
    assert_true(tls_choices_equal(choices, 2, choices, 2));
    struct tls_choice changed[] = {choices[1], {7, (struct tls_client *)&rules[3], NULL}};
    assert_false(tls_choices_equal(choices, 2, changed, 2));
    assert_false(tls_choices_equal(choices, 2, choices, 1));
    definition.cluster.tls_choices = changed;
    expect_worn_out(c);
    connect_with(&rules[3], NULL);
}

/* An endpoint that could not be told of a change, for want of memory, gets no TLS that was meant for others. */
static void tls_that_the_cluster_has_no_more_is_not_guessed(void **state) {
    (void)state;
    definition.endpoints[0].tls_choice = 9;
    definition.cluster.serial = ++next_serial;
    bring(&definition);
    assert_int_equal(pool_wait(endpoint, 0, &waiter), -1);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(endpoint->connections, 0);
    assert_int_equal(atomic_load(&cluster_shared.connections), 0);
}

static void single_connection_is_neither_shared_nor_kept(void **state) {
    (void)state;
    fake_capacity = 10;
    struct client_waiter other = {0};
    assert_int_equal(pool_wait_single(endpoint, 17, &fake_codec, STR("first words"), &waiter), 0);
    struct client_connection *c = waiter.connection;
    assert_string_equal(((struct fake_connection *)c)->preamble, "first words");
    assert_int_equal(pool_wait(endpoint, 17, &other), 0);
    assert_ptr_not_equal(other.connection, c);
    pool_forget_waiter(&other);
    report_connected(c);
    assert_ptr_equal(ready_connection, c);
    assert_null(take(endpoint));
    c->owner->on_available(c);
    assert_false(is_open(c));
    assert_int_equal(endpoint->connections, 1);
    fake_capacity = 1;
}

static void single_connection_that_nobody_wants_any_more_is_closed(void **state) {
    (void)state;
    assert_int_equal(pool_wait_single(endpoint, 17, &fake_codec, STR(""), &waiter), 0);
    struct client_connection *c = waiter.connection;
    pool_forget_waiter(&waiter);
    report_connected(c);
    assert_false(is_open(c));
    is_unwanted = true;
    assert_int_equal(pool_wait_single(endpoint, 17, &fake_codec, STR(""), &waiter), 0);
    c = waiter.connection;
    report_connected(c);
    assert_ptr_equal(ready_connection, c);
    assert_false(is_open(c));
    assert_int_equal(endpoint->connections, 0);
    connect_error = EMFILE;
    assert_int_equal(pool_wait_single(endpoint, 17, &fake_codec, STR(""), &waiter), -1);
    assert_int_equal(errno, EMFILE);
}

static void kept_connections_end_when_headers_are_wanted(void **state) {
    (void)state;
    struct client_connection *kept = keep_one(), *busy = connect_one();
    struct definition wanted = definition;
    wanted.cluster.serial = ++next_serial;
    wanted.cluster.options.proxy_version = 2;
    assert_ptr_equal(bring(&wanted), cluster);
    assert_true(is_open(busy));
    assert_false(is_open(kept));
    busy->owner->on_available(busy);
    assert_false(is_open(busy));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(last_one_used_is_taken_first, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(no_more_are_kept_than_the_limit, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(old_or_used_up_connections_are_closed, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(kept_connection_that_closes_is_forgotten, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(kept_connection_learns_new_options, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(timeout_of_the_cluster_comes_before_that_of_the_route, set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(failed_connect_is_told_to_who_waits, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(connection_that_nobody_waits_for_any_more_is_kept, set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(connection_that_nobody_waits_for_any_more_takes_the_next, set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(connect_that_takes_long_is_not_for_the_next, set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(connection_being_made_for_nobody_is_closed_with_the_idle_ones, set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(connection_that_the_waiter_refuses_is_kept, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(closing_all_that_are_kept_leaves_those_in_use, set_up,
                                        back_tear_down),
        cmocka_unit_test_setup_teardown(one_connection_carries_many_until_it_is_full, set_up_many, tear_down_many),
        cmocka_unit_test_setup_teardown(those_who_wait_share_the_connection_that_is_being_made, set_up_many, tear_down_many),
        cmocka_unit_test_setup_teardown(one_that_drains_takes_nothing_new_and_ends_with_the_last, set_up_many,
                                        tear_down_many),
        cmocka_unit_test_setup_teardown(capacity_that_changes_counts_at_once, set_up_many, tear_down_many),
        cmocka_unit_test_setup_teardown(single_connection_is_neither_shared_nor_kept, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(single_connection_that_nobody_wants_any_more_is_closed, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(kept_connections_end_when_headers_are_wanted, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(change_of_protocol_leaves_old_connections_to_end, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(change_of_verification_leaves_old_connections_to_end, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(endpoints_have_tls_of_their_own, set_up, back_tear_down),
        cmocka_unit_test_setup_teardown(tls_that_the_cluster_has_no_more_is_not_guessed, set_up, back_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
