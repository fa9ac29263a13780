/* What nobody needs any more is asked for a while longer: needed again within that time it is there, whatever the server
 * makes of a name that comes back. */
#include "tests/unit/controlplane/xds/world_play.h"

static uint64_t requests(const struct play *y) {
    const struct xds_counters *c = xds_protocol_counters(y->p);
    return c->requests - c->acks - c->nacks;
}

static void test_needed_again(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    says(&y, XDS_ROUTES, "name:q v:1 to:c");
    assert_int_equal(port_of(&y, "listener/l"), 2);
    assert_null(in_use(&y, "route-table/r"));
    play_time(&y, 14 * SECOND);
    uint64_t before = requests(&y);
    says(&y, XDS_LISTENERS, "name:l v:3 rds:r");
    assert_int_equal(port_of(&y, "listener/l"), 3);
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    assert_int_equal(requests(&y), before);                 /* nobody was asked anything */
    play_time(&y, 14 * SECOND);
    assert_string_equal(y.names[XDS_ROUTES], "q r");
    play_time(&y, 1 * SECOND);                              /* of r nothing is left of its first time */
    assert_string_equal(y.names[XDS_ROUTES], "r");
    play_end(&y);
}

/* What comes meanwhile is taken, and holds nothing up. */
static void test_changes_meanwhile(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    says(&y, XDS_ROUTES, "name:q v:1 to:c");
    uint64_t acks = xds_protocol_counters(y.p)->acks, layers = y.e.layers;
    says(&y, XDS_ROUTES, "name:r v:7 to:d");
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks + 1);
    assert_int_equal(y.e.layers, layers);
    assert_null(xds_world_waits_for(y.w, XDS_ROUTES, STR("r")));
    says(&y, XDS_LISTENERS, "name:l v:3 rds:r");
    assert_int_equal(port_of(&y, "listener/l"), 2);         /* it does wait for d now */
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e | name:d v:1");
    assert_int_equal(port_of(&y, "listener/l"), 3);
    assert_string_equal(domain_of(&y, "route-table/r"), "v7.example");
    play_end(&y);
}

/* There is nothing to come back to. */
static void test_removed_meanwhile(void **state) {
    struct play y;
    (void)state;
    play_options(&y, XDS_DELTA, true);
    assert_true(play_begin(&y));
    follow(&y);
    says_all(&y);
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    says(&y, XDS_ROUTES, "name:q v:1 to:c");
    assert_non_null(xds_protocol_find(y.p, XDS_ROUTES, STR("r")));
    says(&y, XDS_ROUTES, "-r");
    assert_null(xds_protocol_find(y.p, XDS_ROUTES, STR("r")));
    play_end(&y);
}

/* The oldest goes first. */
static void test_bound(void **state) {
    struct play y;
    (void)state;
    play_options(&y, XDS_STATE_OF_THE_WORLD, true);
    y.o.lingering_max = 2;
    assert_true(play_begin(&y));
    follow(&y);
    says_all(&y);
    says(&y, XDS_CLUSTERS, "name:c v:2 eds:f");
    says(&y, XDS_ENDPOINTS, "name:f v:1");
    assert_string_equal(y.names[XDS_ENDPOINTS], "e f");
    says(&y, XDS_CLUSTERS, "name:c v:3 eds:g");
    says(&y, XDS_ENDPOINTS, "name:g v:1");
    assert_string_equal(y.names[XDS_ENDPOINTS], "e f g");
    says(&y, XDS_CLUSTERS, "name:c v:4");
    assert_string_equal(y.names[XDS_ENDPOINTS], "f g");
    assert_int_equal(cluster_value(&y, "cluster/c"), 4);
    play_end(&y);
}

static void test_not_at_all(void **state) {
    struct play y;
    (void)state;
    begin_without_lingering(&y, XDS_STATE_OF_THE_WORLD);
    says_all(&y);
    says(&y, XDS_CLUSTERS, "name:c v:2");
    assert_string_equal(y.names[XDS_ENDPOINTS], "");
    play_end(&y);
}

/* Another server is asked for what is needed, and for nothing else. */
static void test_another_server(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_CLUSTERS, "name:c v:2");
    assert_string_equal(y.names[XDS_ENDPOINTS], "e");
    struct xds_protocol *first = y.p;
    y.p = play_machine(&y);
    assert_non_null(y.p);
    xds_world_use(y.w, y.p, "xds.test:2", y.now);
    play_open(&y);
    follow(&y);
    assert_null(xds_protocol_find(y.p, XDS_ENDPOINTS, STR("e")));
    assert_non_null(xds_protocol_find(y.p, XDS_ROUTES, STR("r")));
    xds_world_use(y.w, NULL, "", y.now);                    /* with nobody to ask nothing waits */
    assert_true(xds_world_deadline(y.w) > y.now);
    xds_world_use(y.w, y.p, "xds.test:2", y.now);
    xds_protocol_destroy(first);
    play_end(&y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needed_again),
        cmocka_unit_test(test_changes_meanwhile),
        cmocka_unit_test(test_removed_meanwhile),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_not_at_all),
        cmocka_unit_test(test_another_server),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
