/* A snapshot that differs from the one before in endpoints alone: the same comes of it as of building everything, and of
 * what has not changed nothing is made anew. */
#include "tests/unit/common/cmocka_all.h"

#include <stdio.h>

#include "common/alloc.h"
#include "dataplane/back/cluster.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/delta.h"
#include "tests/unit/dataplane/snapshot/make_resource.h"

enum { CLUSTERS = 5 };

static const char *const names[CLUSTERS] = {"a", "b", "c", "d", "e"};

/* ---- resources: the intent has all clusters, each with one endpoint on port 1000 and on, and a table that names some */

static struct resource *make_endpoints(const char *name, unsigned port) {
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    Headgate__Endpoint e = HEADGATE__ENDPOINT__INIT, *list[] = {&e};
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    e.address = address;
    set.endpoints = list;
    set.n_endpoints = 1;
    return make_resource(HEADGATE__KIND__KIND_ENDPOINT_SET, name, &set.base);
}

static struct resource *make_table(void) {
    static const char *const named[] = {"e", "b", "c"};
    Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    Headgate__Rule rule = HEADGATE__RULE__INIT, *rules[] = {&rule};
    Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    Headgate__WeightedCluster items[3], *clusters[3];
    char *domains[] = {(char *)"*"};
    for (int i = 0; i < 3; i++) {
        headgate__weighted_cluster__init(&items[i]);
        items[i].name = (char *)(uintptr_t)named[i];
        clusters[i] = &items[i];
    }
    forward.clusters = clusters, forward.n_clusters = 3;
    rule.action_case = HEADGATE__RULE__ACTION_FORWARD, rule.forward = &forward;
    host.rules = rules, host.n_rules = 1, host.domains = domains, host.n_domains = 1;
    table.hosts = hosts, table.n_hosts = 1;
    return make_resource(HEADGATE__KIND__KIND_ROUTE_TABLE, "site", &table.base);
}

/* The first set; others share its intent. */
static struct resource_set *make_first(void) {
    struct resource_set *set = resource_set_create();
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    for (unsigned i = 0; i < CLUSTERS; i++) {
        add_resource(&set->intent, make_resource(HEADGATE__KIND__KIND_CLUSTER, names[i], &cluster.base));
        add_resource(&set->intent, make_endpoints(names[i], 1000 + i));
    }
    add_resource(&set->intent, make_table());
    return set;
}

/* With these ports in the state; 0: none. What is as in `before` is the same resource. */
static struct resource_set *make_next(struct resource_set *before, const unsigned ports[CLUSTERS],
                                      const unsigned old[CLUSTERS]) {
    struct resource_set *set = resource_set_create();
    assert_true(resource_part_share(&set->intent, &before->intent));
    for (unsigned i = 0; i < CLUSTERS; i++)
        if (ports[i] && old && ports[i] == old[i])
            add_resource(&set->state,
                         resource_ref(resource_part_find(&before->state, HEADGATE__KIND__KIND_ENDPOINT_SET, names[i])));
        else if (ports[i])
            add_resource(&set->state, make_endpoints(names[i], ports[i]));
    return set;
}

static struct snapshot *build(struct resource_set *set, const struct snapshot *previous) {
    struct error_list errors = {0};
    struct snapshot *s = NULL;
    assert_int_equal(snapshot_build(set, previous, &s, &errors), 0);
    error_list_finish(&errors);
    return s;
}

static unsigned port_of(const struct snapshot *s, unsigned cluster) {
    assert_int_equal(s->clusters[cluster]->members->count, 1);
    return address_port(&s->clusters[cluster]->members->endpoints[0].address);
}

/* Every cluster has its endpoints, and the table this snapshot's clusters. */
static void check(const struct snapshot *s, const unsigned ports[CLUSTERS]) {
    static const unsigned bound_to[] = {4, 1, 2};
    const struct bound_table *t = map_get(&s->table_by_name, str_of("site"));
    assert_int_equal(s->cluster_count, CLUSTERS);
    for (unsigned i = 0; i < CLUSTERS; i++)
        assert_int_equal(port_of(s, i), ports[i] ? ports[i] : 1000 + i);
    for (unsigned i = 0; i < 3; i++) {
        unsigned found = 0;
        for (unsigned k = 0; k < 3; k++)
            found += t->clusters[i] == s->clusters[bound_to[k]];
        assert_int_equal(found, 1);
    }
}

/* ---- tests ---- */

static const unsigned steps[][CLUSTERS] = {
    {1, 2, 0, 0, 0}, {1, 3, 0, 0, 0}, {1, 3, 0, 0, 4}, {0, 3, 5, 0, 4}, {6, 7, 8, 9, 10}, {6, 7, 8, 9, 10}, {0, 0, 0, 0, 10},
};
enum { STEPS = sizeof steps / sizeof *steps };

static void only_what_has_changed_is_made(void **state) {
    (void)state;
    struct resource_set *first = make_first(), *set = make_next(first, steps[0], NULL);
    struct snapshot *s = build(set, NULL);
    resource_set_unref(first);
    check(s, steps[0]);
    for (unsigned i = 1; i < STEPS; i++) {
        struct resource_set *next_set = make_next(set, steps[i], steps[i - 1]);
        struct snapshot *next = build(next_set, s);
        size_t changed = 0;
        check(next, steps[i]);
        for (unsigned k = 0; k < CLUSTERS; k++) {
            bool is_same = steps[i][k] == steps[i - 1][k];
            assert_int_equal(next->clusters[k] == s->clusters[k], is_same);
            changed += !is_same;
        }
        assert_int_equal(next->changed_count, changed);
        assert_int_equal(next->dropped_count, 0);
        snapshot_free(s);
        resource_set_unref(set);
        s = next, set = next_set;
    }
    check(s, steps[STEPS - 1]);
    snapshot_free(s);
    resource_set_unref(set);
}

/* Clusters that come and go between those that stay are found, whether anything is shared or not. */
static void clusters_may_come_and_go(void **state) {
    (void)state;
    struct resource_set *all = make_first(), *less = resource_set_create();
    for (size_t i = 0; i < all->intent.count; i++)
        if (strcmp(all->intent.items[i]->name, "a") != 0 && strcmp(all->intent.items[i]->name, "d") != 0)
            add_resource(&less->intent, resource_ref(all->intent.items[i]));
    struct snapshot *s = build(all, NULL), *t = build(less, s), *u = build(all, t);
    assert_int_equal(t->cluster_count, 3);
    assert_int_equal(t->changed_count, 0);
    assert_int_equal(t->dropped_count, 2);
    assert_ptr_equal(t->clusters[2], s->clusters[4]);
    const struct bound_table *bound = map_get(&t->table_by_name, str_of("site"));
    for (unsigned i = 0; i < 3; i++)
        assert_true(bound->clusters[i] == t->clusters[0] || bound->clusters[i] == t->clusters[1] ||
                    bound->clusters[i] == t->clusters[2]);
    assert_int_equal(u->changed_count, 2);
    assert_int_equal(u->dropped_count, 0);
    check(u, (const unsigned[CLUSTERS]){0});
    snapshot_free(s), snapshot_free(t), snapshot_free(u);
    resource_set_unref(all), resource_set_unref(less);
}

/* ---- many clusters ---- */

enum { MANY = 300 };

static const char *name_of_many(unsigned i) {
    static char name[16];
    snprintf(name, sizeof name, "c%03u", i);
    return name;
}

static struct resource_set *make_many(void) {
    struct resource_set *set = resource_set_create();
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    for (unsigned i = 0; i < MANY; i++) {
        add_resource(&set->intent, make_resource(HEADGATE__KIND__KIND_CLUSTER, name_of_many(i), &cluster.base));
        add_resource(&set->state, make_endpoints(name_of_many(i), 1000 + i));
    }
    return set;
}

static const struct shared_group *group_with(const struct resource_part *part, size_t at) {
    size_t i = 0;
    for (; at >= part->list.groups[i]->count; i++)
        at -= part->list.groups[i]->count;
    return part->list.groups[i];
}

/* Nothing of other clusters is looked at: nothing more holds their resources and definitions. */
static void a_change_among_many_touches_few(void **state) {
    (void)state;
    enum { CHANGED = 130 };
    struct resource_set *set = make_many(), *next_set = resource_set_create();
    struct snapshot *s = build(set, NULL);
    assert_true(resource_part_share(&next_set->intent, &set->intent));
    struct resource *r = make_endpoints(name_of_many(CHANGED), 7);
    struct shared_change change = {{r->kind, r->name, r->id.bytes}, r};
    unsigned definitions = 0, resources = 0;
    assert_int_equal(resource_part_change(&set->state, &change, 1, &next_set->state), 0);
    struct snapshot *next = build(next_set, s);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(port_of(next, i), i == CHANGED ? 7 : 1000 + i);
        assert_int_equal(port_of(s, i), 1000 + i);
        definitions += s->clusters[i]->references > 1;
        resources += set->state.items[i]->refcount > 1;
    }
    assert_in_range(definitions, 1, DEFINITIONS_OF_GROUP - 1);
    assert_int_equal(resources, group_with(&set->state, CHANGED)->count - 1);
    assert_int_equal(next->changed_count, 1);
    snapshot_free(s);
    resource_set_unref(set);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(next->clusters[i]->references, 1);
    snapshot_free(next);
    resource_set_unref(next_set);
    resource_unref(r);
}

static void lack_of_memory_changes_nothing(void **state) {
    (void)state;
    struct resource_set *first = make_first(), *set = make_next(first, steps[3], NULL);
    struct resource_set *next_set = make_next(set, steps[4], steps[3]);
    struct snapshot *s = build(set, NULL), *next = NULL;
    unsigned failures = 0;
    for (int status = -1; status < 0; failures++) {
        struct error_list errors = {0};
        hg_alloc_fail_at((long)failures, 0);
        status = snapshot_build(next_set, s, &next, &errors);
        hg_alloc_fail_at(-1, 0);
        error_list_finish(&errors);
        check(s, steps[3]);
        assert_true(failures < 1000);
    }
    assert_true(failures > CLUSTERS);
    check(next, steps[4]);
    snapshot_free(next), snapshot_free(s);
    resource_set_unref(next_set), resource_set_unref(set), resource_set_unref(first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_has_changed_is_made),
        cmocka_unit_test(clusters_may_come_and_go),
        cmocka_unit_test(a_change_among_many_touches_few),
        cmocka_unit_test(lack_of_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
