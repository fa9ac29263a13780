/* Resources that are parts of others: virtual hosts of a route configuration, scopes of a listener. */
#include "tests/unit/controlplane/xds/world_play.h"

static void begin_as(struct play *y, enum xds_form form) {
    play_options(y, form, true);
    assert_true(play_begin(y));
    follow(y);
    says(y, XDS_CLUSTERS, "name:c v:1");
}

/* A listener whose table has its virtual hosts by themselves. */
static void begin_with_hosts(struct play *y) {
    begin_as(y, XDS_DELTA);
    says(y, XDS_LISTENERS, "name:l v:1 rds:r");
    says(y, XDS_ROUTES, "name:r v:1 parts to:c");
    assert_string_equal(y->names[XDS_HOSTS], "*");
    says(y, XDS_HOSTS, "name:r/x v:10 | name:r/y v:100 | name:other/x v:1000 | name:r/s/x v:5000");
    assert_string_equal(domain_of(y, "route-table/r"), "v111.example");
}

static void test_virtual_hosts(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    says(&y, XDS_HOSTS, "name:r/x v:20");
    assert_string_equal(domain_of(&y, "route-table/r"), "v121.example");
    says(&y, XDS_HOSTS, "-r/y");
    assert_string_equal(domain_of(&y, "route-table/r"), "v21.example");
    says(&y, XDS_ROUTES, "name:r v:2 parts to:c");
    assert_string_equal(domain_of(&y, "route-table/r"), "v22.example");
    says(&y, XDS_ROUTES, "name:r v:3 to:c");
    assert_string_equal(domain_of(&y, "route-table/r"), "v3.example");
    assert_int_equal(y.e.layers, 5);
    play_end(&y);
}

/* One that changes other tables than this makes no new layer, and is acknowledged. */
static void test_others(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    unsigned layers = y.e.layers, answers = (unsigned)xds_protocol_counters(y.p)->acks;
    uint64_t translations = xds_world_counters(y.w)->translations;
    says(&y, XDS_HOSTS, "name:other/x v:1001");
    assert_int_equal(y.e.layers, layers);
    assert_int_equal(xds_protocol_counters(y.p)->acks, answers + 1);
    assert_int_equal(xds_world_counters(y.w)->translations, translations + 1);
    play_end(&y);
}

/* An empty table is not used while its first virtual host may come. */
static void test_waits_for_the_first(void **state) {
    struct play y;
    (void)state;
    begin_as(&y, XDS_DELTA);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    says(&y, XDS_ROUTES, "name:r v:1 parts to:c");
    says(&y, XDS_HOSTS, "");
    assert_int_equal(y.e.layers, 0);
    assert_string_equal(xds_world_waits_for(y.w, XDS_ROUTES, STR("r")), "its virtual hosts");
    play_time(&y, y.o.reference_wait - 1);
    assert_int_equal(y.e.layers, 0);
    play_time(&y, 1);
    assert_int_equal(y.e.layers, 1);
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    play_end(&y);
}

/* The last one that goes stays for a while: another may be about to take its place. */
static void test_the_last_one(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    says(&y, XDS_HOSTS, "-r/x | -r/y");
    assert_string_equal(domain_of(&y, "route-table/r"), "v111.example");
    play_time(&y, y.o.reference_wait - 1);
    assert_string_equal(domain_of(&y, "route-table/r"), "v111.example");
    says(&y, XDS_HOSTS, "name:r/z v:7");
    assert_string_equal(domain_of(&y, "route-table/r"), "v8.example");
    says(&y, XDS_HOSTS, "-r/z");
    play_time(&y, y.o.reference_wait);
    assert_string_equal(domain_of(&y, "route-table/r"), "v1.example");
    play_end(&y);
}

/* Tables and hosts of a new name, in any order: the old ones stay until all is there. */
static void test_made_before_broken(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    says(&y, XDS_HOSTS, "-r/x | -r/y | name:q/x v:30");
    says(&y, XDS_LISTENERS, "name:l v:2 rds:q");
    assert_int_equal(port_of(&y, "listener/l"), 1);
    assert_string_equal(domain_of(&y, "route-table/r"), "v111.example");
    says(&y, XDS_ROUTES, "name:q v:2 parts to:c | -r");
    assert_int_equal(port_of(&y, "listener/l"), 2);
    assert_string_equal(domain_of(&y, "route-table/q"), "v32.example");
    assert_null(domain_of(&y, "route-table/r"));
    play_end(&y);
}

static void test_a_bad_one(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    says(&y, XDS_HOSTS, "name:r/x v:20 bad | name:r/y v:200");
    assert_true(y.was_refused[XDS_HOSTS]);
    assert_string_equal(domain_of(&y, "route-table/r"), "v211.example");
    says(&y, XDS_HOSTS, "name:noslash v:1");
    play_time(&y, 2 * SECOND); /* the second NACK in a row waits */
    assert_non_null(strstr(y.reason[XDS_HOSTS], "ROUTE/HOST"));
    play_end(&y);
}

/* Good by itself, but not beside another: it stays as it was, is refused by name, and others go on. */
static void test_one_that_clashes(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    says(&y, XDS_HOSTS, "name:r/x v:20 clash");
    assert_false(y.was_refused[XDS_HOSTS]);
    says(&y, XDS_HOSTS, "name:r/y v:200 clash | name:r/z v:1000");
    assert_true(y.was_refused[XDS_HOSTS]);
    assert_string_equal(y.reason[XDS_HOSTS], "r/y: virtual_hosts[1].value: it clashes");
    assert_string_equal(domain_of(&y, "route-table/r"), "v1121.example");
    says(&y, XDS_HOSTS, "name:r/x v:30");
    says(&y, XDS_HOSTS, "name:r/y v:300 clash");
    assert_string_equal(domain_of(&y, "route-table/r"), "v1331.example");
    play_end(&y);
}

/* What nobody needs is asked for no longer, after a while, and asked for again: on another stream, to be sure. */
static void test_given_up(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    says(&y, XDS_ROUTES, "name:r v:2 to:c");
    assert_string_equal(domain_of(&y, "route-table/r"), "v2.example");
    says(&y, XDS_ROUTES, "name:r v:3 parts to:c");          /* they are there still */
    assert_string_equal(domain_of(&y, "route-table/r"), "v113.example");
    says(&y, XDS_ROUTES, "name:r v:2 to:c");
    play_time(&y, 15 * SECOND);
    assert_string_equal(y.names[XDS_HOSTS], "");
    assert_false(xds_protocol_must_reopen(y.p, 0, y.now));
    says(&y, XDS_ROUTES, "name:r v:3 parts to:c");
    assert_true(xds_protocol_must_reopen(y.p, 0, y.now));
    assert_string_equal(domain_of(&y, "route-table/r"), "v2.example");
    says(&y, XDS_HOSTS, "name:r/x v:10");
    assert_string_equal(domain_of(&y, "route-table/r"), "v13.example");
    play_end(&y);
}

/* In the state of the world there are no virtual hosts by themselves. */
static void test_delta_only(void **state) {
    struct play y;
    (void)state;
    begin_as(&y, XDS_STATE_OF_THE_WORLD);
    says(&y, XDS_LISTENERS, "name:l v:1 rds:r");
    says(&y, XDS_ROUTES, "name:r v:1 parts to:c");
    assert_true(y.was_refused[XDS_ROUTES]);
    assert_non_null(strstr(y.reason[XDS_ROUTES], "delta"));
    play_end(&y);
}

/* The streams are cut: nothing changes, and what is gone by then goes. */
static void test_reconnected(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    unsigned layers = y.e.layers;
    play_reopen(&y);
    assert_int_equal(y.e.layers, layers);
    says(&y, XDS_HOSTS, "-r/y");
    assert_string_equal(domain_of(&y, "route-table/r"), "v11.example");
    play_end(&y);
}

/* Another server counts: what it does not mention goes as soon as it has answered. */
static void test_another_server(void **state) {
    struct play y;
    (void)state;
    begin_with_hosts(&y);
    struct xds_protocol *before = y.p;
    y.p = play_machine(&y);
    assert_non_null(y.p);
    xds_world_use(y.w, y.p, "xds.test:2", y.now);
    play_open(&y);
    follow(&y);
    assert_string_equal(domain_of(&y, "route-table/r"), "v111.example");
    assert_string_equal(y.names[XDS_HOSTS], "*");
    says(&y, XDS_HOSTS, "name:r/x v:20");
    assert_string_equal(domain_of(&y, "route-table/r"), "v21.example");
    xds_protocol_destroy(before);
    play_end(&y);
}

/* ---- scopes ---- */

static void begin_with_scopes(struct play *y, enum xds_form form) {
    begin_as(y, form);
    says(y, XDS_LISTENERS, "name:l v:1 parts rds:d");
    says(y, XDS_SCOPES, "name:s v:10 rds:r | name:t v:100 rds:q");
    assert_string_equal(y->names[XDS_ROUTES], form == XDS_DELTA ? "q r" : "d q r");
    says(y, XDS_ROUTES, "name:d v:1 to:c | name:q v:2 to:c");
    assert_int_equal(y->e.layers, 0);
    says(y, XDS_ROUTES, "name:d v:1 to:c | name:q v:2 to:c | name:r v:3 to:c");
    assert_int_equal(sum_of(y, "listener/l"), 110);
    assert_string_equal(domain_of(y, "route-table/q"), "v2.example");
    assert_string_equal(domain_of(y, "route-table/r"), "v3.example");
}

static void test_scopes(void **state) {
    struct play y;
    (void)state;
    begin_with_scopes(&y, XDS_STATE_OF_THE_WORLD);
    says(&y, XDS_SCOPES, "name:s v:20 rds:r | name:t v:200 rds:p");
    assert_int_equal(sum_of(&y, "listener/l"), 110);
    says(&y, XDS_ROUTES, "name:d v:1 to:c | name:p v:4 to:c | name:q v:2 to:c | name:r v:3 to:c");
    assert_int_equal(sum_of(&y, "listener/l"), 220);
    assert_null(domain_of(&y, "route-table/q"));
    says(&y, XDS_SCOPES, "name:s v:20 rds:r");
    assert_int_equal(sum_of(&y, "listener/l"), 20);
    assert_null(domain_of(&y, "route-table/p"));
    play_end(&y);
}

static void test_scopes_by_delta(void **state) {
    struct play y;
    (void)state;
    begin_with_scopes(&y, XDS_DELTA);
    says(&y, XDS_SCOPES, "-t");
    assert_int_equal(sum_of(&y, "listener/l"), 10);
    assert_null(domain_of(&y, "route-table/q"));
    play_end(&y);
}

enum { MANY = 5000 };

static void says_many_that_clash(struct play *y) {
    static struct xds_response_resource resources[MANY];
    static char names[MANY][16], texts[MANY][48];
    struct str url = str_of(role_urls[XDS_SCOPES]);
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "s%04d", i);
        snprintf(texts[i], sizeof texts[i], "name:%s v:%d clash", names[i], i + 7);
        resources[i] = (struct xds_response_resource){.name = str_of(names[i]), .type_url = url,
                                                      .bytes = str_of(texts[i]), .has_body = true};
    }
    struct xds_response r = {.type_url = url, .version = STR("many"), .nonce = STR("many"), .resources = resources,
                             .resource_count = MANY};
    xds_protocol_receive(y->p, xds_protocol_stream_of(y->p, XDS_SCOPES), &r, y->now);
    follow(y);
}

/* They do not cost a translation of the whole each, and the server is told as much as there is room for. */
static void test_many_that_clash(void **state) {
    struct play y;
    (void)state;
    begin_as(&y, XDS_DELTA);
    says(&y, XDS_LISTENERS, "name:l v:1 parts rds:d");
    says(&y, XDS_ROUTES, "name:d v:1 to:c");
    uint64_t translations = xds_world_counters(y.w)->translations;
    says_many_that_clash(&y);
    assert_true(y.was_refused[XDS_SCOPES]);
    assert_in_range(y.last[XDS_SCOPES].error.n, 4096, 8192);
    assert_in_range(xds_world_counters(y.w)->translations - translations, MANY, MANY + 50);
    assert_int_equal(sum_of(&y, "listener/l"), 7);
    play_end(&y);
}

/* Routes that cannot be had hold nothing else back. */
static void test_scope_without_routes(void **state) {
    struct play y;
    (void)state;
    begin_with_scopes(&y, XDS_DELTA);
    says(&y, XDS_SCOPES, "name:t v:200 rds:p");
    says(&y, XDS_ROUTES, "name:p v:1 bad to:c");
    assert_int_equal(xds_protocol_counters(y.p)->nacks, 1);
    assert_int_equal(sum_of(&y, "listener/l"), 210);
    play_end(&y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virtual_hosts), cmocka_unit_test(test_others), cmocka_unit_test(test_waits_for_the_first),
        cmocka_unit_test(test_the_last_one), cmocka_unit_test(test_made_before_broken), cmocka_unit_test(test_a_bad_one),
        cmocka_unit_test(test_one_that_clashes), cmocka_unit_test(test_given_up), cmocka_unit_test(test_delta_only),
        cmocka_unit_test(test_reconnected), cmocka_unit_test(test_another_server), cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_scopes_by_delta), cmocka_unit_test(test_scope_without_routes),
        cmocka_unit_test(test_many_that_clash),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
