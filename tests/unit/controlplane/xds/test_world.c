/* What the world makes of a server's resources: what is complete, and in which order it is used. */
#include "tests/unit/controlplane/xds/world_play.h"

static void test_asks_for_what_is_needed(void **state) {
    struct play y;
    (void)state;
    begin(&y);
    assert_string_equal(y.names[XDS_CLUSTERS], "");
    assert_string_equal(y.names[XDS_LISTENERS], "");
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e sds:s | name:d v:1 eds:f");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r sds:s");
    assert_string_equal(y.names[XDS_ENDPOINTS], "e f");
    assert_string_equal(y.names[XDS_ROUTES], "r");
    assert_string_equal(y.names[XDS_SECRETS], "s");
    play_end(&y);
}

struct say {
    enum xds_role role;
    const char   *said;
};

/* In each of the orders of five responses there is exactly one layer, and it is whole. */
static void try_order(const struct say *all, const size_t order[5]) {
    struct play y;
    begin(&y);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(y.e.layers, 0);
        says(&y, all[order[i]].role, all[order[i]].said);
    }
    for (size_t i = 0; i < 5 && y.e.layers == 0; i++)       /* what was not asked for yet is sent again */
        says(&y, all[i].role, all[i].said);
    for (size_t i = 0; i < 5 && y.e.layers == 0; i++)
        says(&y, all[i].role, all[i].said);
    assert_int_equal(y.e.layers, 1);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    assert_int_equal(cluster_value(&y, "cluster/c"), 1);
    assert_true(fake_has_secret(&y.e, "sds:s"));
    play_end(&y);
}

static void test_any_order(void **state) {
    static const struct say all[] = {{XDS_CLUSTERS, "name:c v:1 eds:e"}, {XDS_ENDPOINTS, "name:e v:1"},
                                     {XDS_LISTENERS, "name:l v:1 rds:r sds:s"}, {XDS_ROUTES, "name:r v:1 to:c"},
                                     {XDS_SECRETS, "name:s v:1"}};
    unsigned tried = 0;
    (void)state;
    for (size_t n = 0; n < 3125; n++) {
        size_t order[5], seen = 0;
        for (size_t i = 0, rest = n; i < 5; i++, rest /= 5) {
            order[i] = rest % 5;
            seen |= (size_t)1 << order[i];
        }
        if (seen != 31)
            continue;
        try_order(all, order);
        tried++;
    }
    assert_int_equal(tried, 120);
}

/* An ACK of a listener waits for what the listener needs, and for READY. */
static void test_ack_follows_ready(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    y.e.is_at_once = false;
    uint64_t acks = xds_protocol_counters(y.p)->acks;
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    assert_string_equal(y.names[XDS_ROUTES], "q r");        /* make before break */
    assert_false(y.e.is_asked);
    says(&y, XDS_ROUTES, "name:q v:2 to:c");
    assert_true(y.e.is_asked);
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    engine_answers(&y.e);
    follow(&y);
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks + 2);
    assert_int_equal(port_of(&y, "listener/l"), 2);
    assert_null(in_use(&y, "route-table/r"));
    assert_string_equal(y.names[XDS_ROUTES], "q r");        /* and asked for a while longer */
    play_time(&y, 15 * SECOND);
    assert_string_equal(y.names[XDS_ROUTES], "q");
    play_end(&y);
}

/* What is not complete for long is acknowledged all the same: a server may send nothing more of a type before. */
static void test_ack_does_not_wait_for_ever(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    uint64_t acks = xds_protocol_counters(y.p)->acks;
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks);
    play_time(&y, 2 * SECOND);
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks + 1);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    says(&y, XDS_ROUTES, "name:q v:2 to:c");
    assert_int_equal(port_of(&y, "listener/l"), 2);
    play_end(&y);
}

/* As Envoy: a listener whose routes do not exist is served, and answers 404. */
static void test_routes_that_do_not_exist(void **state) {
    struct play y;
    (void)state;
    begin(&y);
    says(&y, XDS_CLUSTERS, "name:c v:1");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    play_time(&y, 14 * SECOND);
    assert_int_equal(y.e.layers, 0);
    play_time(&y, 1 * SECOND);
    assert_int_equal(y.e.layers, 1);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_string_equal(domain_of(&y, "route-table/r"), "*");
    says(&y, XDS_ROUTES, "name:r v:5 to:c");
    assert_string_equal(domain_of(&y, "route-table/r"), "v5.example");
    play_end(&y);
}

/* A cluster whose endpoints do not exist is there, without any; a listener without its secret is not. */
static void test_needs_that_do_not_exist(void **state) {
    struct play y;
    (void)state;
    begin(&y);
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r sds:s | name:m v:2 rds:r");
    says(&y, XDS_ROUTES, "name:r v:1 to:c");
    assert_int_equal(y.e.layers, 0);
    play_time(&y, 15 * SECOND);
    assert_int_equal(y.e.layers, 1);
    assert_int_equal(cluster_value(&y, "cluster/c"), 1);
    assert_null(in_use(&y, "listener/l"));
    assert_non_null(strstr(xds_world_waits_for(y.w, XDS_LISTENERS, STR("l")), "secret"));
    assert_int_equal(port_of(&y, "listener/m"), 2);
    says(&y, XDS_SECRETS, "name:s v:1");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_null(xds_world_waits_for(y.w, XDS_LISTENERS, STR("l")));
    play_end(&y);
}

/* Routes wait for a cluster that is about to come, so that no request finds none. */
static void test_routes_wait_for_clusters(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_ROUTES, "name:r v:2 to:d");
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e | name:d v:1 eds:f");
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    says(&y, XDS_ENDPOINTS, "name:f v:1");
    assert_string_equal(domain_of(&y, "route-table/r"), "v2.example");
    says(&y, XDS_ROUTES, "name:r v:3 to:nowhere");
    assert_string_equal(domain_of(&y, "route-table/r"), "v2.example");
    play_time(&y, 15 * SECOND);
    assert_string_equal(domain_of(&y, "route-table/r"), "v3.example");
    says(&y, XDS_ROUTES, "name:r v:4 to:nowhere");          /* known by now */
    assert_string_equal(domain_of(&y, "route-table/r"), "v4.example");
    play_end(&y);
}

/* A cluster that is gone stays while routes send to it, but not for ever. */
static void test_removed_cluster_waits_for_routes(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_CLUSTERS, "name:d v:2");
    assert_int_equal(cluster_value(&y, "cluster/c"), 1);
    assert_int_equal(cluster_value(&y, "cluster/d"), 2);
    assert_string_equal(y.names[XDS_ENDPOINTS], "e");
    says(&y, XDS_ROUTES, "name:r v:2 to:d");
    assert_null(in_use(&y, "cluster/c"));
    assert_null(in_use(&y, "endpoint-set/c"));
    says(&y, XDS_CLUSTERS, "name:e v:3");
    assert_int_equal(cluster_value(&y, "cluster/d"), 2);
    play_time(&y, 15 * SECOND);
    assert_null(in_use(&y, "cluster/d"));
    assert_int_equal(cluster_value(&y, "cluster/e"), 3);
    assert_string_equal(y.names[XDS_ENDPOINTS], "");
    play_end(&y);
}

/* ---- servers that come and go ---- */

/* A new stream's partial answer removes nothing before the other types have answered. */
static void test_partial_answer_removes_nothing(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r | name:m v:2 rds:r");
    assert_int_equal(port_of(&y, "listener/m"), 2);
    play_reopen(&y);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    assert_int_equal(port_of(&y, "listener/m"), 2);
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e");
    assert_null(in_use(&y, "listener/m"));
    play_reopen(&y);
    says(&y, XDS_LISTENERS, "name:k v:4 rds:r");            /* the clusters are as they were: it says nothing */
    assert_int_equal(port_of(&y, "listener/l"), 1);
    play_time(&y, 5 * SECOND);
    assert_null(in_use(&y, "listener/l"));
    play_end(&y);
}

/* What is kept to be sure is in nobody's way: a listener with a new name takes the address at once. */
static void test_renamed_listener(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    play_reopen(&y);
    says(&y, XDS_LISTENERS, "name:k v:1 rds:r");
    assert_int_equal(port_of(&y, "listener/k"), 1);
    assert_null(in_use(&y, "listener/l"));
    play_end(&y);
}

/* A server that has nothing at all any more is given time to think better of it. */
static void test_empty_answer_waits(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    play_reopen(&y);
    says(&y, XDS_CLUSTERS, "");
    says(&y, XDS_LISTENERS, "");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_int_equal(cluster_value(&y, "cluster/c"), 1);
    play_time(&y, 10 * SECOND);
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    play_time(&y, 20 * SECOND);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    says(&y, XDS_LISTENERS, "");
    play_time(&y, 14 * SECOND);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    play_time(&y, 1 * SECOND);
    assert_null(in_use(&y, "listener/l"));
    play_end(&y);
}

/* After a start there may be a layer from before, so the first set is whole, and an empty one waits. */
static void test_first_set(void **state) {
    struct play y;
    (void)state;
    begin(&y);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    says(&y, XDS_ROUTES, "name:r v:1 to:c");
    play_time(&y, 100 * SECOND);
    assert_int_equal(y.e.layers, 0);
    says(&y, XDS_CLUSTERS, "name:c v:1");
    assert_int_equal(y.e.layers, 1);
    play_end(&y);
    begin(&y);
    says(&y, XDS_LISTENERS, "");
    says(&y, XDS_CLUSTERS, "");
    assert_int_equal(y.e.layers, 0);
    play_time(&y, 15 * SECOND);
    assert_int_equal(y.e.layers, 1);
    assert_int_equal(y.e.set.count, 0);
    play_end(&y);
}

/* Delta: the next stream begins with what is held, and a server that has nothing else to say says nothing. */
static void test_first_set_over_two_streams(void **state) {
    struct play y;
    (void)state;
    play_options(&y, XDS_DELTA, true);
    assert_true(play_begin(&y));
    follow(&y);
    says(&y, XDS_CLUSTERS, "name:c v:1");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    play_reopen(&y);
    says(&y, XDS_ROUTES, "name:r v:1 to:c");
    play_time(&y, 4 * SECOND);
    assert_int_equal(y.e.layers, 0);
    play_time(&y, 1 * SECOND);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    play_end(&y);
}

/* A name that is given up, and needed again before the server has been told, is held all the time. */
static void test_needed_again_at_once(void **state) {
    struct play y;
    (void)state;
    begin_without_lingering(&y, XDS_STATE_OF_THE_WORLD);
    says_all(&y);
    y.e.is_at_once = false;
    uint64_t requests = xds_protocol_counters(y.p)->requests;
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    says(&y, XDS_ROUTES, "name:q v:1 to:c");
    engine_answers(&y.e);
    xds_world_follow(y.w, y.now);       /* r is given up, and nothing is sent */
    assert_true(xds_protocol_counters(y.p)->requests > requests);
    struct xds_response_resource again = {.name = STR("l"), .type_url = str_of(role_urls[XDS_LISTENERS]),
                                          .version = STR("9"), .bytes = STR("name:l v:3 rds:r"), .has_body = true};
    struct xds_response r = {.type_url = again.type_url, .version = STR("9"), .nonce = STR("9"), .resources = &again,
                             .resource_count = 1};
    assert_int_equal(xds_protocol_receive(y.p, 0, &r, y.now), XDS_OK);
    follow(&y);
    engine_answers(&y.e);
    follow(&y);
    assert_int_equal(port_of(&y, "listener/l"), 3);
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    play_end(&y);
}

/* What another server had stays until this one has said all. */
static void test_another_server(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e | name:d v:1");
    struct xds_protocol *first = y.p;
    y.p = play_machine(&y);
    assert_non_null(y.p);
    xds_world_use(y.w, y.p, "xds.test:2", y.now);
    xds_protocol_destroy(first);
    play_open(&y);
    follow(&y);
    assert_string_equal(endpoint_feed_name(y.feed), "xds.test:2");
    assert_string_equal(y.names[XDS_ROUTES], "r");
    assert_string_equal(y.names[XDS_ENDPOINTS], "e");
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e");
    assert_int_equal(cluster_value(&y, "cluster/d"), 1);
    says(&y, XDS_LISTENERS, "name:l v:7 rds:r");
    says(&y, XDS_ROUTES, "name:r v:1 to:c");
    assert_null(in_use(&y, "cluster/d"));
    assert_int_equal(port_of(&y, "listener/l"), 7);
    xds_world_use(y.w, NULL, NULL, y.now);
    xds_world_follow(y.w, y.now);
    assert_int_equal(port_of(&y, "listener/l"), 7);
    play_end(&y);
}

/* A machine that has counted before is asked for what is needed now, and for nothing else. */
static void test_back_to_the_first_server(void **state) {
    struct play y;
    struct joined j;
    (void)state;
    begin_with_all(&y);
    join(&y, &j, "other", false);
    struct xds_protocol *first = y.p, *second = play_machine(&y);
    y.p = second;
    xds_world_use(y.w, y.p, "xds.test:2", y.now);
    play_open(&y);
    follow(&y);
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:f");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:q");
    says(&y, XDS_ENDPOINTS, "name:f v:1");
    says(&y, XDS_ROUTES, "name:q v:1 to:c");
    assert_null(in_use(&y, "route-table/r"));
    endpoint_feed_leave(y.feed, &j.member);
    y.p = first;
    xds_world_use(y.w, y.p, "xds.test:1", y.now);
    play_reopen(&y);
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");  /* what it held from before */
    assert_null(in_use(&y, "route-table/q"));
    assert_string_equal(y.names[XDS_ROUTES], "r");
    assert_string_equal(y.names[XDS_ENDPOINTS], "e");
    xds_protocol_destroy(second);
    play_end(&y);
}

/* ---- endpoints ---- */

static void test_endpoints_go_to_the_feed(void **state) {
    struct play y;
    struct joined j, k;
    (void)state;
    begin_with_all(&y);
    join(&y, &j, "e", false);
    join(&y, &k, "e", true);
    Headgate__EndpointSet *known = endpoint_feed_known(y.feed, "e", false);
    assert_non_null(known);
    assert_string_equal(known->endpoints[0]->address, "127.0.0.1:2");
    headgate__endpoint_set__free_unpacked(known, NULL);
    says(&y, XDS_ENDPOINTS, "name:e v:8");
    assert_string_equal(j.address, "127.0.0.1:9");
    assert_int_equal(j.weight, 1);
    assert_string_equal(k.address, "127.0.0.1:9");
    assert_int_equal(k.weight, 7);
    assert_int_equal(y.e.layers, 1);
    says(&y, XDS_ENDPOINTS, "name:e v:9 bad");
    assert_string_equal(j.address, "127.0.0.1:9");
    assert_int_equal(j.found, 1);
    assert_int_equal(j.failed, 1);
    endpoint_feed_leave(y.feed, &j.member);
    endpoint_feed_leave(y.feed, &k.member);
    play_end(&y);
}

/* A service that no cluster of the server names is asked for when a source wants it, until it leaves. */
static void test_feed_subscribes(void **state) {
    struct play y;
    struct joined j;
    (void)state;
    begin_with_all(&y);
    join(&y, &j, "other", false);
    assert_string_equal(y.names[XDS_ENDPOINTS], "e other");
    assert_null(endpoint_feed_known(y.feed, "other", false));
    says(&y, XDS_ENDPOINTS, "name:other v:3");
    assert_string_equal(j.address, "127.0.0.1:4");
    endpoint_feed_leave(y.feed, &j.member);
    follow(&y);
    play_time(&y, 15 * SECOND);
    assert_string_equal(y.names[XDS_ENDPOINTS], "e");
    play_end(&y);
}

/* Removed by the server: what was found last stays. */
static void test_removed_endpoints_stay(void **state) {
    struct play y;
    struct joined j;
    (void)state;
    play_options(&y, XDS_DELTA, true);
    y.machine.fail_on_data_errors = true;
    assert_true(play_begin(&y));
    follow(&y);
    join(&y, &j, "e", false);
    says(&y, XDS_ENDPOINTS, "name:e v:3");
    says(&y, XDS_ENDPOINTS, "-e");
    assert_int_equal(j.found, 1);
    assert_int_equal(j.failed, 1);
    Headgate__EndpointSet *known = endpoint_feed_known(y.feed, "e", false);
    assert_non_null(known);
    headgate__endpoint_set__free_unpacked(known, NULL);
    endpoint_feed_leave(y.feed, &j.member);
    play_end(&y);
}

/* ---- secrets ---- */

static void test_secrets(void **state) {
    struct play y;
    (void)state;
    begin(&y);
    says(&y, XDS_CLUSTERS, "name:c v:1");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r sds:s");
    says(&y, XDS_ROUTES, "name:r v:1 to:c");
    assert_int_equal(y.e.layers, 0);
    says(&y, XDS_SECRETS, "name:s v:1");
    assert_int_equal(y.e.layers, 1);
    assert_string_equal(y.e.secrets[0].content, "name:s v:1");
    says(&y, XDS_SECRETS, "name:s v:2");
    assert_string_equal(y.e.secrets[0].content, "name:s v:2");
    assert_int_equal(y.e.layers, 1);
    y.e.refuses_secret = "sds:s";
    says(&y, XDS_SECRETS, "name:s v:3");
    assert_true(y.was_refused[XDS_SECRETS]);
    assert_string_equal(y.reason[XDS_SECRETS], "s: the key does not fit");
    assert_string_equal(y.e.secrets[0].content, "name:s v:2");
    y.e.is_at_once = false;
    says(&y, XDS_LISTENERS, "name:l v:2 rds:r");
    assert_int_equal(y.e.secret_count, 1);
    engine_answers(&y.e);
    follow(&y);
    assert_int_equal(y.e.secret_count, 1);
    play_time(&y, 15 * SECOND);
    assert_int_equal(y.e.secret_count, 0);
    assert_string_equal(y.names[XDS_SECRETS], "");
    play_end(&y);
}

/* ---- bounds ---- */

/* One change among many is translated once, and nothing else is. */
static void test_cost_of_one_change(void **state) {
    struct play y;
    (void)state;
    begin_with_all(&y);
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e | name:d v:2 | name:f v:3 | name:g v:4 | name:h v:5");
    uint64_t before = xds_world_counters(y.w)->translations;
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e | name:d v:2 | name:f v:9 | name:g v:4 | name:h v:5");
    assert_int_equal(cluster_value(&y, "cluster/f"), 9);
    assert_int_equal(xds_world_counters(y.w)->translations, before + 1);
    before++;
    says(&y, XDS_ENDPOINTS, "name:e v:2");
    assert_int_equal(xds_world_counters(y.w)->translations, before + 1);
    play_end(&y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks_for_what_is_needed),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_ack_follows_ready),
        cmocka_unit_test(test_ack_does_not_wait_for_ever),
        cmocka_unit_test(test_routes_that_do_not_exist),
        cmocka_unit_test(test_needs_that_do_not_exist),
        cmocka_unit_test(test_routes_wait_for_clusters),
        cmocka_unit_test(test_removed_cluster_waits_for_routes),
        cmocka_unit_test(test_partial_answer_removes_nothing),
        cmocka_unit_test(test_renamed_listener),
        cmocka_unit_test(test_empty_answer_waits),
        cmocka_unit_test(test_first_set),
        cmocka_unit_test(test_first_set_over_two_streams),
        cmocka_unit_test(test_needed_again_at_once),
        cmocka_unit_test(test_another_server),
        cmocka_unit_test(test_back_to_the_first_server),
        cmocka_unit_test(test_endpoints_go_to_the_feed),
        cmocka_unit_test(test_feed_subscribes),
        cmocka_unit_test(test_removed_endpoints_stay),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_cost_of_one_change),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
