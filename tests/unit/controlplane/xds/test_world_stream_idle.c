/* Routes that go by what their listeners say: made anew when it is something else, and nothing else is. */
#include "tests/unit/controlplane/xds/world_play.h"

static void begin_in(struct play *y, enum xds_form form) {
    play_options(y, form, true);
    assert_true(play_begin(y));
    follow(y);
}

/* "r" goes by its listeners, "q" does not. */
static void says_idle(struct play *y, const char *listeners) {
    says(y, XDS_CLUSTERS, "name:c v:1 eds:e");
    says(y, XDS_LISTENERS, listeners);
    says(y, XDS_ENDPOINTS, "name:e v:1");
    says(y, XDS_ROUTES, "name:r v:1 to:c idle | name:q v:2 to:c");
}

static void test_the_longest_of_the_listeners_counts(void **state) {
    struct play y;
    (void)state;
    begin_in(&y, XDS_STATE_OF_THE_WORLD);
    says_idle(&y, "name:l v:1 rds:r idle:10 | name:m v:2 rds:r idle:30 | name:n v:3 rds:q idle:50");
    assert_string_equal(domain_of(&y, "route-table/r"), "v31.example");
    assert_string_equal(domain_of(&y, "route-table/q"), "v2.example");
    uint64_t translations = xds_world_counters(y.w)->translations;
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r idle:20 | name:m v:2 rds:r idle:30 | name:n v:3 rds:q idle:60");
    assert_string_equal(domain_of(&y, "route-table/r"), "v31.example");
    assert_int_equal(xds_world_counters(y.w)->translations, translations + 2); /* two listeners */
    unsigned pushed = y.e.layers;
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r idle:40 | name:m v:2 rds:r idle:30 | name:n v:3 rds:q idle:60");
    assert_string_equal(domain_of(&y, "route-table/r"), "v41.example");
    assert_int_equal(xds_world_counters(y.w)->translations, translations + 4); /* the listener, the table */
    assert_int_equal(y.e.layers, pushed + 1);               /* both in one */
    says(&y, XDS_LISTENERS, "name:m v:2 rds:r idle:30 | name:n v:3 rds:q idle:60");
    assert_string_equal(domain_of(&y, "route-table/r"), "v31.example");
    says(&y, XDS_LISTENERS, "name:m v:2 rds:r | name:n v:3 rds:q idle:60");
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    play_end(&y);
}

/* What comes again as it was is not what was made for other listeners. */
static void test_routes_that_come_back(void **state) {
    struct play y;
    (void)state;
    begin_in(&y, XDS_STATE_OF_THE_WORLD);
    says_idle(&y, "name:l v:1 rds:r idle:10 | name:n v:3 rds:q");
    says(&y, XDS_ROUTES, "name:r v:3 to:c idle | name:q v:2 to:c");
    assert_string_equal(domain_of(&y, "route-table/r"), "v13.example");
    y.e.is_at_once = false;
    says(&y, XDS_ROUTES, "name:r v:1 to:c idle | name:q v:2 to:c"); /* at the engine */
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r idle:20 | name:n v:3 rds:q");
    says(&y, XDS_ROUTES, "name:r v:3 to:c idle | name:q v:2 to:c");
    says(&y, XDS_ROUTES, "name:r v:1 to:c idle | name:q v:2 to:c");
    while (y.e.is_asked) {
        engine_replies(&y.e, HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED, NULL, NULL);
        follow(&y);
    }
    assert_string_equal(domain_of(&y, "route-table/r"), "v21.example");
    play_end(&y);
}

/* Tables are named by scopes, which come by themselves, and have virtual hosts that do. */
static void test_with_parts(void **state) {
    struct play y;
    (void)state;
    begin_in(&y, XDS_DELTA);
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e");
    says(&y, XDS_LISTENERS, "name:l v:1 parts idle:10");
    says(&y, XDS_SCOPES, "name:s v:1 rds:r");
    says(&y, XDS_ENDPOINTS, "name:e v:1");
    says(&y, XDS_ROUTES, "name:r v:1 parts to:c idle");
    says(&y, XDS_HOSTS, "name:r/h v:100");
    assert_string_equal(domain_of(&y, "route-table/r"), "v111.example");
    says(&y, XDS_LISTENERS, "name:l v:1 parts idle:20");
    assert_string_equal(domain_of(&y, "route-table/r"), "v121.example");
    says(&y, XDS_HOSTS, "name:r/h v:200");
    assert_string_equal(domain_of(&y, "route-table/r"), "v221.example");
    play_end(&y);
}

/* Whichever allocation fails, what the listener says is in use a little later. */
static void test_without_memory(void **state) {
    (void)state;
    for (long i = 0; i < 60; i++) {
        struct play y;
        begin_in(&y, XDS_STATE_OF_THE_WORLD);
        says_idle(&y, "name:l v:1 rds:r idle:10 | name:n v:3 rds:q");
        hg_alloc_fail_at(i, 0);
        says(&y, XDS_LISTENERS, "name:l v:1 rds:r idle:20 | name:n v:3 rds:q");
        hg_alloc_fail_at(-1, 0);
        play_time(&y, 2 * SECOND);
        if (!str_eq(xds_protocol_find(y.p, XDS_LISTENERS, STR("l"))->copy->bytes, STR("name:l v:1 rds:r idle:20")))
            says(&y, XDS_LISTENERS, "name:l v:1 rds:r idle:20 | name:n v:3 rds:q"); /* the machine was short of it */
        play_time(&y, 2 * SECOND);
        assert_string_equal(domain_of(&y, "route-table/r"), "v21.example");
        play_end(&y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_of_the_listeners_counts),
        cmocka_unit_test(test_routes_that_come_back),
        cmocka_unit_test(test_with_parts),
        cmocka_unit_test(test_without_memory),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
