/* What the world does when a resource, the engine or memory refuses. */
#include "tests/unit/controlplane/xds/world_play.h"

static void test_bad_resource_is_alone(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:e bad | name:d v:3");
    assert_true(y.was_refused[XDS_CLUSTERS]);
    assert_string_equal(y.reason[XDS_CLUSTERS], "c: a.field: it is bad");
    assert_int_equal(cluster_value(&y, "cluster/c"), 1);
    assert_int_equal(cluster_value(&y, "cluster/d"), 3);
    play_end(&y);
}

/* The engine names what it refuses: that becomes a NACK with the reason, and the rest goes on. */
static void test_engine_refuses_one(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    y.e.refuses = "listener/m";
    says(&y, XDS_LISTENERS, "name:l v:2 rds:r | name:m v:3 rds:r");
    assert_true(y.was_refused[XDS_LISTENERS]);
    assert_string_equal(y.reason[XDS_LISTENERS], "m: addresses[0]: is in use");
    assert_int_equal(port_of(&y, "listener/l"), 2);
    assert_null(in_use(&y, "listener/m"));
    assert_string_equal(xds_state_name(xds_protocol_find(y.p, XDS_LISTENERS, STR("m"))->state), "NACKED");
    y.e.refuses = NULL;
    says(&y, XDS_LISTENERS, "name:l v:2 rds:r | name:m v:4 rds:r");
    assert_int_equal(port_of(&y, "listener/m"), 4);
    assert_false(y.was_refused[XDS_LISTENERS]);
    play_end(&y);
}

/* What is wrong with a host of a table is told with a domain of it. */
static void test_a_host_is_named(void **state) {
    static const struct { const char *path, *reason; } cases[] = {
        {"hosts[0].rules[1]", "r: hosts[0].rules[1]: is in use (the virtual host of v2.example)"},
        {"hosts[1]", "r: hosts[1]: is in use"},
        {"name", "r: name: is in use"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct play y;
        begin_with_all(&y);
        y.e.refuses = "route-table/r";
        y.e.path = cases[i].path;
        says(&y, XDS_ROUTES, "name:r v:2 to:c");
        assert_true(y.was_refused[XDS_ROUTES]);
        assert_string_equal(y.reason[XDS_ROUTES], cases[i].reason);
        play_end(&y);
    }
}

static void test_refused_update_keeps_the_copy(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    y.e.refuses = "cluster/c";
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:e");
    assert_true(y.was_refused[XDS_CLUSTERS]);
    assert_int_equal(cluster_value(&y, "cluster/c"), 1);
    assert_int_equal(y.e.layers, 1);
    y.e.refuses = NULL;
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:e");
    assert_int_equal(cluster_value(&y, "cluster/c"), 2);
    play_end(&y);
}

/* Refused after its ACK: the state says so, the copy before stays, and it is offered again a while later. */
static void test_late_refusal_is_tried_again(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    play_time(&y, 3 * SECOND);
    y.e.refuses = "listener/l";
    says(&y, XDS_ROUTES, "name:q v:1 to:c");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_int_equal(xds_protocol_counters(y.p)->late_refusals, 1);
    y.e.refuses = NULL;
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:e");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_int_equal(cluster_value(&y, "cluster/c"), 2);
    play_time(&y, 60 * SECOND);
    assert_int_equal(port_of(&y, "listener/l"), 2);
    play_end(&y);
}

/* Longer and longer waits, up to a minute and its fifth. */
static void test_late_refusals_are_tried_again_less_and_less(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    play_time(&y, 3 * SECOND);
    y.e.refuses = "listener/l";
    says(&y, XDS_ROUTES, "name:q v:1 to:c");
    uint64_t refused = xds_world_counters(y.w)->refused_layers, began = y.now, last = y.now;
    for (unsigned i = 0; i < 12; i++) {
        uint64_t wait = (i < 6 ? UINT64_C(1) << i : 60) * SECOND;
        while (xds_world_counters(y.w)->refused_layers == refused + i && y.now < began + 3600 * SECOND)
            play_time(&y, SECOND / 10);
        assert_in_range(y.now - last, wait * 8 / 10, wait * 12 / 10 + SECOND / 10);
        last = y.now;
    }
    y.e.refuses = NULL;
    play_time(&y, 72 * SECOND);
    assert_int_equal(port_of(&y, "listener/l"), 2);
    play_end(&y);
}

/* ---- refusals in delta, where a server sends on a stream what has changed, and nothing twice ---- */

static size_t stream_for(const struct play *y, enum xds_role role) {
    return xds_protocol_stream_of(y->p, role);
}

static bool must_reopen(const struct play *y, enum xds_role role) {
    return xds_protocol_must_reopen(y->p, stream_for(y, role), y->now);
}

/* As the owner does; another stream begins a second later. */
static void reopen_one(struct play *y, enum xds_role role) {
    xds_protocol_closed(y->p, stream_for(y, role), STR("opened anew"), y->now);
    play_time(y, 2 * SECOND);
    play_open(y);
    follow(y);
}

static void begin_in_delta(struct play *y, bool is_aggregated) {
    play_options(y, XDS_DELTA, is_aggregated);
    assert_true(play_begin(y));
    follow(y);
}

/* Streams for types by themselves begin when something of the type is needed. */
static void sends(struct play *y, enum xds_role role, const char *said) {
    play_open(y);
    follow(y);
    says(y, role, said);
}

static void sends_all(struct play *y) {
    sends(y, XDS_CLUSTERS, "name:c v:1 eds:e");
    sends(y, XDS_LISTENERS, "name:l v:1 rds:r");
    sends(y, XDS_ENDPOINTS, "name:e v:1");
    sends(y, XDS_ROUTES, "name:r v:1 to:c");
}

/* An address that another process has for a moment must not keep the first snapshot out until it changes. */
static void test_what_was_refused_for_a_moment_is_asked_for_again(void **state) {
    (void)state;
    for (int is_aggregated = 0; is_aggregated < 2; is_aggregated++) {
        struct play y;
        begin_in_delta(&y, is_aggregated);
        y.e.refuses = "listener/l";
        sends_all(&y);
        assert_true(y.was_refused[XDS_LISTENERS]);
        assert_int_equal(cluster_value(&y, "cluster/c"), 1);
        y.e.refuses = NULL;
        assert_false(must_reopen(&y, XDS_LISTENERS));
        play_time(&y, 2 * SECOND);
        assert_true(must_reopen(&y, XDS_LISTENERS));
        assert_true(is_aggregated || !must_reopen(&y, XDS_CLUSTERS));
        reopen_one(&y, XDS_LISTENERS);
        assert_int_equal(y.last[XDS_LISTENERS].initial_version_count, 0);
        sends(&y, XDS_LISTENERS, "name:l v:1 rds:r");
        assert_int_equal(port_of(&y, "listener/l"), 1);
        play_time(&y, 100 * SECOND);
        assert_false(must_reopen(&y, XDS_LISTENERS));
        play_end(&y);
    }
}

/* A pair that cannot be given yet. */
static void test_secret_that_was_refused_for_a_moment(void **state) {
    struct play y;
    (void)state;
    begin_in_delta(&y, false);
    y.e.refuses_secret = "sds:s";
    sends(&y, XDS_CLUSTERS, "name:c v:1");
    sends(&y, XDS_LISTENERS, "name:l v:1 rds:r sds:s");
    sends(&y, XDS_ROUTES, "name:r v:1 to:c");
    sends(&y, XDS_SECRETS, "name:s v:1");
    assert_true(y.was_refused[XDS_SECRETS]);
    y.e.refuses_secret = NULL;
    play_time(&y, 2 * SECOND);
    assert_true(must_reopen(&y, XDS_SECRETS));
    reopen_one(&y, XDS_SECRETS);
    sends(&y, XDS_SECRETS, "name:s v:1");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    play_end(&y);
}

/* One that is bad for good costs a stream a minute in the end. */
static void test_streams_for_what_stays_refused_get_rare(void **state) {
    struct play y;
    (void)state;
    begin_in_delta(&y, false);
    sends_all(&y);
    y.e.refuses = "listener/m";
    for (unsigned i = 0; i < 9; i++) {
        uint64_t wait = (i < 6 ? UINT64_C(1) << i : 60) * SECOND, began = y.now;
        sends(&y, XDS_LISTENERS, "name:m v:3 rds:r");
        while (!must_reopen(&y, XDS_LISTENERS) && y.now < began + 1000 * SECOND)
            play_time(&y, SECOND / 10);
        assert_in_range(y.now - began, wait * 8 / 10, wait * 12 / 10 + SECOND / 10);
        reopen_one(&y, XDS_LISTENERS);
    }
    assert_int_equal(port_of(&y, "listener/l"), 1);
    play_end(&y);
}

/* What is refused for what it is would be refused again. */
static void test_what_is_bad_is_not_asked_for_again(void **state) {
    struct play y;
    (void)state;
    begin_in_delta(&y, false);
    sends_all(&y);
    sends(&y, XDS_CLUSTERS, "name:d v:2 bad");
    assert_true(y.was_refused[XDS_CLUSTERS]);
    play_time(&y, 100 * SECOND);
    assert_false(must_reopen(&y, XDS_CLUSTERS));
    play_end(&y);
}

/* The engine cannot say whose fault it is: the one among many is found. */
static void test_nameless_refusal_is_searched(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    y.e.chokes_on = "cluster/g";
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:e | name:d v:3 | name:f v:4 | name:g v:5 | name:h v:6");
    assert_true(y.was_refused[XDS_CLUSTERS]);
    assert_string_equal(y.reason[XDS_CLUSTERS], "g: listener/of-somebody-else: is in use");
    assert_int_equal(cluster_value(&y, "cluster/c"), 2);
    assert_int_equal(cluster_value(&y, "cluster/d"), 3);
    assert_int_equal(cluster_value(&y, "cluster/f"), 4);
    assert_null(in_use(&y, "cluster/g"));
    assert_int_equal(cluster_value(&y, "cluster/h"), 6);
    play_end(&y);
}

/* A full disk is nobody's resource. */
static void test_ill_engine_is_tried_again(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    y.e.is_ill = true;
    uint64_t nacks = xds_protocol_counters(y.p)->nacks, acks = xds_protocol_counters(y.p)->acks;
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:e");
    play_time(&y, 2 * SECOND);
    assert_int_equal(cluster_value(&y, "cluster/c"), 1);
    y.e.is_ill = false;
    for (unsigned i = 0; i < 10 && cluster_value(&y, "cluster/c") != 2; i++)
        play_time(&y, SECOND);
    assert_int_equal(cluster_value(&y, "cluster/c"), 2);
    assert_int_equal(xds_protocol_counters(y.p)->nacks, nacks);
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks + 1);
    play_end(&y);
}

/* While the engine is at work, changes gather; there is never more than one layer with it. */
static void test_changes_gather(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    y.e.is_at_once = false;
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:e");
    says(&y, XDS_CLUSTERS, "name:c v:3 eds:e");
    says(&y, XDS_CLUSTERS, "name:c v:4 eds:e");
    engine_answers(&y.e);
    follow(&y);
    assert_int_equal(cluster_value(&y, "cluster/c"), 2);
    engine_answers(&y.e);
    follow(&y);
    assert_int_equal(cluster_value(&y, "cluster/c"), 4);
    assert_false(y.e.is_asked);
    assert_int_equal(y.e.layers, 3);
    play_end(&y);
}

/* Two resources of the server cannot become the same one of ours. */
static void test_same_name_twice(void **state) {
    struct play y;
    struct xds_response_resource resources[2] = {
        {.name = STR("x"), .type_url = str_of(role_urls[XDS_CLUSTERS]), .bytes = STR("name:c v:1"), .has_body = true},
        {.name = STR("y"), .type_url = str_of(role_urls[XDS_CLUSTERS]), .bytes = STR("name:c v:2"), .has_body = true}};
    struct xds_response r = {.type_url = str_of(role_urls[XDS_CLUSTERS]), .version = STR("1"), .nonce = STR("n"),
                             .resources = resources, .resource_count = 2};
    (void)state;
    begin(&y);
    assert_int_equal(xds_protocol_receive(y.p, 0, &r, y.now), XDS_OK);
    follow(&y);
    assert_true(y.was_refused[XDS_CLUSTERS]);
    assert_non_null(strstr(y.reason[XDS_CLUSTERS], "y: the cluster \"c\" that it becomes is there already, made of \"x\""));
    play_end(&y);
}

/* Whichever allocation fails, all comes right a while later. */
static void run_short_of_memory(struct play *y, long nth) {
    hg_alloc_fail_at(nth, 0);
    bool has_begun = play_begin(y);
    if (has_begun) {
        follow(y);
        says(y, XDS_CLUSTERS, "name:c v:1 eds:e");
        says(y, XDS_LISTENERS, "name:l v:1 rds:r sds:s");
        says(y, XDS_ENDPOINTS, "name:e v:1");
        says(y, XDS_SECRETS, "name:s v:1");
        says(y, XDS_ROUTES, "name:r v:1 to:c");
        says(y, XDS_ROUTES, "name:r v:2 to:c");
    }
    hg_alloc_fail_at(-1, 0);
    if (!has_begun)
        return;
    for (unsigned i = 0; i < 3; i++) {
        says(y, XDS_CLUSTERS, "name:c v:1 eds:e");
        says(y, XDS_LISTENERS, "name:l v:1 rds:r sds:s");
        says(y, XDS_ENDPOINTS, "name:e v:1");
        says(y, XDS_SECRETS, "name:s v:1");
        says(y, XDS_ROUTES, "name:r v:2 to:c");
        play_time(y, 5 * SECOND);
    }
    assert_int_equal(port_of(y, "listener/l"), 1);
    assert_string_equal(domain_of(y, "route-table/r"), "v2.example");
}

static void test_memory(void **state) {
    struct play y;
    (void)state;
    play_options(&y, XDS_STATE_OF_THE_WORLD, true);
    uint64_t before = hg_alloc_count();
    run_short_of_memory(&y, -1);
    long count = (long)(hg_alloc_count() - before);
    play_end(&y);
    assert_true(count > 100);
    for (long nth = 0; nth < count; nth++) {
        play_options(&y, XDS_STATE_OF_THE_WORLD, true);
        run_short_of_memory(&y, nth);
        play_end(&y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_resource_is_alone),
        cmocka_unit_test(test_engine_refuses_one),
        cmocka_unit_test(test_a_host_is_named),
        cmocka_unit_test(test_refused_update_keeps_the_copy),
        cmocka_unit_test(test_late_refusal_is_tried_again),
        cmocka_unit_test(test_late_refusals_are_tried_again_less_and_less),
        cmocka_unit_test(test_what_was_refused_for_a_moment_is_asked_for_again),
        cmocka_unit_test(test_secret_that_was_refused_for_a_moment),
        cmocka_unit_test(test_streams_for_what_stays_refused_get_rare),
        cmocka_unit_test(test_what_is_bad_is_not_asked_for_again),
        cmocka_unit_test(test_nameless_refusal_is_searched),
        cmocka_unit_test(test_ill_engine_is_tried_again),
        cmocka_unit_test(test_changes_gather),
        cmocka_unit_test(test_same_name_twice),
        cmocka_unit_test(test_memory),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
