/* Listeners that relay TCP, in snapshots: what is refused, by which path, and the table that each of them has. */
#include "tests/unit/common/cmocka_all.h"

#include "common/alloc.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/tcp_rule.h"
#include "tests/unit/dataplane/snapshot/make_resource.h"

struct parts {
    Headgate__Listener        listener;
    Headgate__TcpProxy        tcp;
    Headgate__WeightedCluster items[2], *clusters[2];
    char                     *addresses[1];
};

static void fill(struct parts *p) {
    static char a[] = "a", b[] = "b", address[] = "127.0.0.1:8080";
    *p = (struct parts){HEADGATE__LISTENER__INIT, HEADGATE__TCP_PROXY__INIT,
                        {HEADGATE__WEIGHTED_CLUSTER__INIT, HEADGATE__WEIGHTED_CLUSTER__INIT}, {&p->items[0], &p->items[1]},
                        {address}};
    p->items[0].name = a;
    p->items[1].name = b;
    p->tcp.n_clusters = 2;
    p->tcp.clusters = p->clusters;
    p->listener.n_addresses = 1;
    p->listener.addresses = p->addresses;
    p->listener.tcp = &p->tcp;
}

/* ---- checks */

/* One fault, at this path; NULL: none. */
static void expect(const struct parts *p, const char *path) {
    struct error_list errors = {0};
    assert_int_equal(tcp_rule_check(&p->listener, "relay", &errors), path ? -1 : 0);
    assert_int_equal(errors.count, path != NULL);
    if (path) {
        assert_string_equal(errors.items[0].resource, "listener/relay");
        assert_string_equal(errors.items[0].path, path);
    }
    error_list_finish(&errors);
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static Headgate__Listener__Protocol http1 = HEADGATE__LISTENER__PROTOCOL__HTTP1;
    static char table[] = "site", empty[] = "";
    Headgate__Http2Options http2 = HEADGATE__HTTP2_OPTIONS__INIT;
    struct parts p;
    fill(&p), expect(&p, NULL);
    fill(&p), p.tcp.n_clusters = 0, expect(&p, "tcp.clusters");
    fill(&p), p.items[0].weight = p.items[1].weight = 0, expect(&p, "tcp.clusters");
    fill(&p), p.items[0].weight = p.items[1].weight = UINT32_MAX, expect(&p, "tcp.clusters");
    fill(&p), p.items[1].name = NULL, expect(&p, "tcp.clusters[1].name");
    fill(&p), p.items[0].name = empty, expect(&p, "tcp.clusters[0].name");
    fill(&p), p.tcp.max_connect_attempts = 0, expect(&p, "tcp.max_connect_attempts");
    fill(&p), p.tcp.max_connect_attempts = 101, expect(&p, "tcp.max_connect_attempts");
    fill(&p), p.tcp.max_connect_attempts = 100, expect(&p, NULL);
    fill(&p), p.listener.route_table = table, expect(&p, "route_table");
    fill(&p), p.listener.n_protocols = 1, p.listener.protocols = &http1, expect(&p, "protocols");
    fill(&p), p.listener.http2 = &http2, expect(&p, "http2");
}

/* ---- snapshots */

static struct resource *make_cluster(const char *name) {
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    return make_resource(HEADGATE__KIND__KIND_CLUSTER, name, &cluster.base);
}

/* A table and a cluster have the name of the listener that relays. */
static struct resource_set *make_set(const struct parts *p, bool has_b) {
    struct resource_set *set = resource_set_create();
    Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    add_resource(&set->intent, make_resource(HEADGATE__KIND__KIND_LISTENER, "a", &p->listener.base));
    add_resource(&set->intent, make_resource(HEADGATE__KIND__KIND_ROUTE_TABLE, "a", &table.base));
    add_resource(&set->intent, make_cluster("a"));
    if (has_b)
        add_resource(&set->intent, make_cluster("b"));
    return set;
}

static const struct listener_definition *only_listener(const struct snapshot *s) {
    assert_int_equal(s->address_count, 1);
    return s->addresses[0].listener;
}

static const struct route *only_route(const struct listener_definition *d) {
    struct fields none = {0};
    struct route_request request = {.method = STR("CONNECT"), .fields = &none};
    struct route_match match;
    route_table_match(d->routes->table, &request, NULL, &match);
    return match.route;
}

static void the_table_says_what_the_listener_does(void **state) {
    (void)state;
    struct parts p;
    struct error_list errors = {0};
    struct snapshot *s = NULL;
    fill(&p);
    p.items[1].weight = 3;
    p.tcp.max_connect_attempts = 4;
    p.tcp.has_idle_timeout = true;
    p.tcp.idle_timeout = 5000000;
    p.items[1].has_weight = p.tcp.has_max_connect_attempts = true;
    struct resource_set *set = make_set(&p, true);
    assert_int_equal(snapshot_build(set, NULL, &s, &errors), 0);
    const struct listener_definition *d = only_listener(s);
    const struct route *r = only_route(d);
    assert_true(d->opening.raw && !d->opening.http1 && !d->opening.http2);
    assert_int_equal(r->retry.retries, 3);
    assert_true(r->retry.on_connect_failure && !r->retry.on_reset);
    assert_int_equal(r->retry.backoff, 0);
    assert_int_equal(r->timeouts.tunnel_idle, 5000000);
    assert_true(str_eq(d->routes->clusters[route_pick_cluster(r, 0)]->name, STR("a")));
    assert_true(str_eq(d->routes->clusters[route_pick_cluster(r, UINT32_MAX / 2)]->name, STR("b")));
    snapshot_free(s);
    resource_set_unref(set);
}

static void without_a_word_the_settings_count(void **state) {
    (void)state;
    struct parts p;
    struct error_list errors = {0};
    struct snapshot *s = NULL;
    fill(&p);
    struct resource_set *set = make_set(&p, true);
    assert_int_equal(snapshot_build(set, NULL, &s, &errors), 0);
    assert_int_equal(only_route(only_listener(s))->timeouts.tunnel_idle, s->settings.timeouts.tunnel_idle);
    assert_int_equal(only_route(only_listener(s))->retry.retries, 0);
    snapshot_free(s);
    resource_set_unref(set);
}

static void a_listener_that_is_the_same_keeps_its_table(void **state) {
    (void)state;
    struct parts p;
    struct error_list errors = {0};
    struct snapshot *first = NULL, *second = NULL, *third = NULL;
    fill(&p);
    struct resource_set *set = make_set(&p, true);
    p.tcp.has_max_connect_attempts = true;
    p.tcp.max_connect_attempts = 2;
    struct resource_set *other = make_set(&p, true);
    assert_int_equal(snapshot_build(set, NULL, &first, &errors), 0);
    assert_int_equal(snapshot_build(set, first, &second, &errors), 0);
    assert_int_equal(snapshot_build(other, second, &third, &errors), 0);
    assert_ptr_equal(only_listener(first)->routes->table, only_listener(second)->routes->table);
    snapshot_free(first);
    assert_non_null(only_route(only_listener(second))); /* it is held */
    assert_ptr_not_equal(only_listener(second)->routes->table, only_listener(third)->routes->table);
    snapshot_free(second);
    assert_int_equal(only_route(only_listener(third))->retry.retries, 1);
    snapshot_free(third);
    resource_set_unref(set);
    resource_set_unref(other);
}

static void a_cluster_that_is_not_there(void **state) {
    (void)state;
    struct parts p;
    struct error_list errors = {0};
    struct snapshot *s = NULL;
    fill(&p);
    struct resource_set *set = make_set(&p, false);
    assert_int_equal(snapshot_build(set, NULL, &s, &errors), -1);
    assert_null(s);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.items[0].resource, "listener/a");
    assert_string_equal(errors.items[0].path, "tcp.clusters");
    assert_string_equal(errors.items[0].message, "there is no cluster \"b\"");
    error_list_finish(&errors);
    resource_set_unref(set);
}

static void building_without_memory(void **state) {
    (void)state;
    struct parts p;
    fill(&p);
    struct resource_set *set = make_set(&p, true);
    int status = -1;
    for (long i = 0; status < 0; i++) {
        struct snapshot *s = NULL;
        struct error_list errors = {0};
        hg_alloc_fail_at(i, 0);
        status = snapshot_build(set, NULL, &s, &errors);
        hg_alloc_fail_at(-1, 0);
        assert_true(status == 0 || !error_list_is_empty(&errors));
        error_list_finish(&errors);
        snapshot_free(s);
        assert_true(i < 1000);
    }
    resource_set_unref(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(the_table_says_what_the_listener_does),
        cmocka_unit_test(without_a_word_the_settings_count),
        cmocka_unit_test(a_listener_that_is_the_same_keeps_its_table),
        cmocka_unit_test(a_cluster_that_is_not_there),
        cmocka_unit_test(building_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
