/* Values of runtime layers: what goes by them is made anew when they change, and nothing else. */
#include "controlplane/xds/json.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "tests/unit/controlplane/xds/world_play.h"

static const struct xds_runtime_layer layers[] = {{"base", NULL}, {"canary", NULL}};

static void begin_with_layers(struct play *y, enum xds_form form) {
    play_options(y, form, true);
    y->o.layers = layers;
    y->o.layer_count = 2;
    assert_true(play_begin(y));
    follow(y);
}

static void says_shared(struct play *y) {
    says(y, XDS_CLUSTERS, "name:c v:1 eds:e");
    says(y, XDS_LISTENERS, "name:l v:1 rds:r | name:m v:2 rds:q");
    says(y, XDS_ENDPOINTS, "name:e v:1");
    says(y, XDS_ROUTES, "name:r v:1 to:c shared | name:q v:2 to:c");
}

static void test_the_last_layer_counts(void **state) {
    (void)state;
    for (unsigned is_delta = 0; is_delta < 2; is_delta++) {
        struct play y;
        begin_with_layers(&y, is_delta ? XDS_DELTA : XDS_STATE_OF_THE_WORLD);
        says_shared(&y);
        assert_int_equal(y.e.layers, 0);                    /* a value may still come */
        says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:30");
        assert_string_equal(domain_of(&y, "route-table/r"), "v31.example");
        assert_string_equal(domain_of(&y, "route-table/q"), "v2.example");
        uint64_t translations = xds_world_counters(y.w)->translations;
        unsigned pushed = y.e.layers;
        says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:40");
        assert_string_equal(domain_of(&y, "route-table/r"), "v41.example");
        assert_int_equal(y.e.layers, pushed + 1);
        assert_int_equal(xds_world_counters(y.w)->translations, translations + 2); /* the layer, the table */
        says(&y, XDS_RUNTIMES, "name:base v:50 | name:canary v:40");
        assert_string_equal(domain_of(&y, "route-table/r"), "v41.example");
        assert_int_equal(y.e.layers, pushed + 1);           /* the one behind it counts */
        play_end(&y);
    }
}

static ProtobufCMessage *read_struct(const char *yaml, struct arena *arena) {
    struct error_list errors = {0};
    ProtobufCMessage *m = xds_json_parse(&google__protobuf__struct__descriptor, "s", str_of(yaml), arena, &errors);
    assert_non_null(m);
    error_list_finish(&errors);
    return m;
}

/* Layers of the bootstrap file are there from the beginning; they count in their order among those of the server. */
static void test_layers_of_the_file(void **state) {
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    const Google__Protobuf__Struct *five = (const Google__Protobuf__Struct *)read_struct("{share: 5, other: 1}", &arena);
    const struct xds_runtime_layer below[] = {{"static", five}, {"base", NULL}}, alone[] = {{"static", five}},
                                   above[] = {{"base", NULL}, {"static", five}};
    struct play y;
    play_options(&y, XDS_STATE_OF_THE_WORLD, true);
    y.o.layers = alone;
    y.o.layer_count = 1;
    assert_true(play_begin(&y));
    follow(&y);
    says_shared(&y);
    assert_string_equal(domain_of(&y, "route-table/r"), "v6.example");      /* nobody is waited for */
    assert_string_equal(y.names[XDS_RUNTIMES], "");
    play_end(&y);
    for (unsigned is_above = 0; is_above < 2; is_above++) {
        play_options(&y, XDS_STATE_OF_THE_WORLD, true);
        y.o.layers = is_above ? above : below;
        y.o.layer_count = 2;
        assert_true(play_begin(&y));
        follow(&y);
        assert_string_equal(y.names[XDS_RUNTIMES], "base");
        says_shared(&y);
        says(&y, XDS_RUNTIMES, "name:base v:10");
        assert_string_equal(domain_of(&y, "route-table/r"), is_above ? "v6.example" : "v11.example");
        play_end(&y);
    }
    arena_finish(&arena);
}

/* It is waited for as long as for any resource, and only where something goes by it. */
static void test_layers_that_do_not_come(void **state) {
    struct play y;
    (void)state;
    begin_with_layers(&y, XDS_STATE_OF_THE_WORLD);
    says_shared(&y);
    play_time(&y, 14 * SECOND);
    assert_int_equal(y.e.layers, 0);
    play_time(&y, SECOND);
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    says(&y, XDS_RUNTIMES, "name:base v:5");
    assert_string_equal(domain_of(&y, "route-table/r"), "v6.example");
    play_end(&y);
    begin_with_layers(&y, XDS_STATE_OF_THE_WORLD);
    says_all(&y);
    play_end(&y);
}

/* What comes again as it was is not what was made by other values. */
static void test_routes_that_come_back(void **state) {
    struct play y;
    (void)state;
    begin_with_layers(&y, XDS_STATE_OF_THE_WORLD);
    says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:30");
    says_shared(&y);
    says(&y, XDS_ROUTES, "name:r v:3 to:c shared | name:q v:2 to:c");
    assert_string_equal(domain_of(&y, "route-table/r"), "v33.example");
    y.e.is_at_once = false;
    says(&y, XDS_ROUTES, "name:r v:1 to:c shared | name:q v:2 to:c"); /* at the engine */
    says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:60");
    says(&y, XDS_ROUTES, "name:r v:3 to:c shared | name:q v:2 to:c");
    says(&y, XDS_ROUTES, "name:r v:1 to:c shared | name:q v:2 to:c");
    while (y.e.is_asked) {
        engine_replies(&y.e, HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED, NULL, NULL);
        follow(&y);
    }
    assert_string_equal(domain_of(&y, "route-table/r"), "v61.example");
    play_end(&y);
}

static void test_what_has_parts(void **state) {
    struct play y;
    (void)state;
    begin_with_layers(&y, XDS_DELTA);
    says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:30");
    says(&y, XDS_CLUSTERS, "name:c v:1 eds:e");
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    says(&y, XDS_ENDPOINTS, "name:e v:1");
    says(&y, XDS_ROUTES, "name:r v:1 parts to:c shared");
    says(&y, XDS_HOSTS, "name:r/h v:100");
    assert_string_equal(domain_of(&y, "route-table/r"), "v131.example");
    says(&y, XDS_RUNTIMES, "name:canary v:31");
    assert_string_equal(domain_of(&y, "route-table/r"), "v132.example");
    says(&y, XDS_HOSTS, "name:r/h v:200");
    assert_string_equal(domain_of(&y, "route-table/r"), "v232.example");
    play_end(&y);
}

/* Whichever allocation fails, the value is in use a little later. */
static void test_without_memory(void **state) {
    (void)state;
    for (long i = 0; i < 60; i++) {
        struct play y;
        begin_with_layers(&y, XDS_STATE_OF_THE_WORLD);
        says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:30");
        says_shared(&y);
        hg_alloc_fail_at(i, 0);
        says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:40");
        hg_alloc_fail_at(-1, 0);
        play_time(&y, 2 * SECOND);
        if (!str_eq(xds_protocol_find(y.p, XDS_RUNTIMES, STR("canary"))->copy->bytes, STR("name:canary v:40")))
            says(&y, XDS_RUNTIMES, "name:base v:10 | name:canary v:40"); /* the machine was short of it */
        play_time(&y, 2 * SECOND);
        assert_string_equal(domain_of(&y, "route-table/r"), "v41.example");
        play_end(&y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_layer_counts),
        cmocka_unit_test(test_layers_of_the_file),
        cmocka_unit_test(test_layers_that_do_not_come),
        cmocka_unit_test(test_routes_that_come_back),
        cmocka_unit_test(test_what_has_parts),
        cmocka_unit_test(test_without_memory),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
