/* Resources of which nothing of ours is made: HTTP filters that listeners name, which they wait for, and layers of runtime
 * values, which are held. */
#include "tests/unit/controlplane/xds/world_play.h"

/* ---- HTTP filters ---- */

static void begin_with_filter(struct play *y, const char *listener) {
    begin(y);
    says(y, XDS_CLUSTERS, "name:c v:1");
    says(y, XDS_LISTENERS, listener);
    says(y, XDS_ROUTES, "name:r v:1 to:c");
}

static void test_a_listener_waits_for_its_filter(void **state) {
    struct play y;
    (void)state;
    begin_with_filter(&y, "name:l v:1 rds:r ext:f");
    assert_string_equal(y.names[XDS_EXTENSIONS], "f");
    assert_int_equal(y.e.layers, 0);
    assert_string_equal(xds_world_waits_for(y.w, XDS_LISTENERS, STR("l")), "its HTTP filter");
    says(&y, XDS_EXTENSIONS, "name:f v:1");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_null(xds_world_waits_for(y.w, XDS_LISTENERS, STR("l")));
    uint64_t acks = xds_protocol_counters(y.p)->acks;
    says(&y, XDS_EXTENSIONS, "name:f v:2");
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks + 1);
    assert_int_equal(y.e.layers, 1);                        /* it is the listener's own that is used */
    says(&y, XDS_LISTENERS, "name:l v:2 rds:r");
    assert_int_equal(port_of(&y, "listener/l"), 2);
    play_time(&y, 15 * SECOND);
    assert_string_equal(y.names[XDS_EXTENSIONS], "");
    play_end(&y);
}

/* There is no serving without it: what is in use stays. */
static void test_a_filter_that_does_not_exist(void **state) {
    struct play y;
    (void)state;
    begin_with_filter(&y, "name:l v:1 rds:r | name:m v:2 rds:r ext:f");
    play_time(&y, 15 * SECOND);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_null(in_use(&y, "listener/m"));
    assert_non_null(strstr(xds_world_waits_for(y.w, XDS_LISTENERS, STR("m")), "HTTP filter"));
    says(&y, XDS_LISTENERS, "name:l v:3 rds:r ext:f");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    says(&y, XDS_EXTENSIONS, "name:f v:1");
    assert_int_equal(port_of(&y, "listener/l"), 3);
    play_end(&y);
}

static void test_a_filter_that_is_refused(void **state) {
    struct play y;
    (void)state;
    begin_with_filter(&y, "name:l v:1 rds:r ext:f");
    says(&y, XDS_EXTENSIONS, "name:f v:1 bad");
    assert_true(y.was_refused[XDS_EXTENSIONS]);
    assert_string_equal(y.reason[XDS_EXTENSIONS], "f: a.field: it is bad");
    assert_null(in_use(&y, "listener/l"));
    says(&y, XDS_EXTENSIONS, "name:f v:2");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    says(&y, XDS_EXTENSIONS, "name:f v:3 bad");             /* the copy before counts */
    says(&y, XDS_LISTENERS, "name:l v:2 rds:r ext:f");
    assert_int_equal(port_of(&y, "listener/l"), 2);
    play_end(&y);
}

/* A default is used when the filter is known not to come, or at once where the server wants that. */
static void test_a_default(void **state) {
    struct play y;
    (void)state;
    begin_with_filter(&y, "name:l v:1 rds:r ext:f default");
    assert_int_equal(y.e.layers, 0);
    play_time(&y, 15 * SECOND);
    assert_int_equal(port_of(&y, "listener/l"), 1);
    says(&y, XDS_LISTENERS, "name:l v:2 rds:r ext:g default early");
    assert_int_equal(port_of(&y, "listener/l"), 2);
    assert_string_equal(y.names[XDS_EXTENSIONS], "g");      /* f is known not to be there: given up at once */
    play_end(&y);
}

/* ---- runtime values ---- */

static void test_layers_are_held(void **state) {
    static const struct xds_runtime_layer layers[] = {{"base", NULL}, {"canary", NULL}};
    struct play y;
    (void)state;
    play_options(&y, XDS_STATE_OF_THE_WORLD, true);
    y.o.layers = layers;
    y.o.layer_count = 2;
    assert_true(play_begin(&y));
    follow(&y);
    assert_string_equal(y.names[XDS_RUNTIMES], "base canary");
    uint64_t acks = xds_protocol_counters(y.p)->acks;
    says(&y, XDS_RUNTIMES, "name:base v:1");
    assert_int_equal(xds_protocol_counters(y.p)->acks, acks + 1);
    assert_int_equal(y.e.layers, 0);                        /* not even a first set */
    play_time(&y, 15 * SECOND);
    assert_int_equal(xds_protocol_find(y.p, XDS_RUNTIMES, STR("base"))->state, XDS_ACKED);
    assert_int_equal(xds_protocol_find(y.p, XDS_RUNTIMES, STR("canary"))->state, XDS_DOES_NOT_EXIST);
    says(&y, XDS_RUNTIMES, "name:base v:1 | name:canary v:1 bad");
    assert_true(y.was_refused[XDS_RUNTIMES]);
    play_reopen(&y);
    assert_string_equal(y.names[XDS_RUNTIMES], "base canary");
    play_end(&y);
}

static void test_layers_without_memory(void **state) {
    static const struct xds_runtime_layer layers[] = {{"base", NULL}, {"canary", NULL}};
    struct play y;
    (void)state;
    play_options(&y, XDS_STATE_OF_THE_WORLD, true);
    y.o.layers = layers;
    y.o.layer_count = 2;
    y.o.feed = endpoint_feed_create();
    assert_non_null(y.o.feed);
    struct xds_world *w = NULL;
    for (long i = 0; !w; i++) {
        hg_alloc_fail_at(i, 0);
        w = xds_world_create(&y.o);
        hg_alloc_fail_at(-1, 0);
        assert_true(i < 100);
    }
    xds_world_destroy(w);
    endpoint_feed_destroy(y.o.feed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_listener_waits_for_its_filter),
        cmocka_unit_test(test_a_filter_that_does_not_exist),
        cmocka_unit_test(test_a_filter_that_is_refused),
        cmocka_unit_test(test_a_default),
        cmocka_unit_test(test_layers_are_held),
        cmocka_unit_test(test_layers_without_memory),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
