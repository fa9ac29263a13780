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
        cmocka_unit_test(test_refused_update_keeps_the_copy),
        cmocka_unit_test(test_late_refusal_is_tried_again),
        cmocka_unit_test(test_nameless_refusal_is_searched),
        cmocka_unit_test(test_ill_engine_is_tried_again),
        cmocka_unit_test(test_changes_gather),
        cmocka_unit_test(test_same_name_twice),
        cmocka_unit_test(test_memory),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
