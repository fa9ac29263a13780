/* From a cluster's resources to its endpoints and rules: what is taken over, what is refused and where, and how rules find
 * subsets. */
#include "dataplane/snapshot/members.h"

#include "common/alloc.h"
#include "dataplane/snapshot/cluster_tls.h"
#include "tests/unit/common/cmocka_all.h"

enum { ENDPOINTS = 4 };

static Headgate__Cluster cluster_message;
static Headgate__Balancing balancing;
static Headgate__SlowStart slow_start;
static Headgate__EndpointSet set_message;
static Headgate__Endpoint endpoints[ENDPOINTS], *endpoint_pointers[ENDPOINTS];
static Headgate__SubsetSelector selector, *selectors[] = {&selector};
static Headgate__MetadataEntry stage, version, *metadata[] = {&version, &stage}; /* not in order */
static char *keys[] = {(char *)"version", (char *)"stage"};
static struct resource *cluster, *set;
static struct error_list errors;
static struct cluster_members *members;

static struct resource *make_resource(const char *name, void *message) {
    struct resource *r = hg_calloc(1, sizeof *r + strlen(name) + 1);
    assert_non_null(r);
    memcpy(r->name, name, strlen(name) + 1);
    r->message = message;
    return r;
}

static int set_up(void **state) {
    static const char *const texts[ENDPOINTS] = {"10.0.0.1:80", "10.0.0.2:80", "[::1]:80", "unix:/run/app.sock"};
    (void)state;
    headgate__cluster__init(&cluster_message);
    headgate__balancing__init(&balancing);
    headgate__slow_start__init(&slow_start);
    headgate__endpoint_set__init(&set_message);
    headgate__subset_selector__init(&selector);
    headgate__metadata_entry__init(&stage);
    headgate__metadata_entry__init(&version);
    stage.key = (char *)"stage", stage.value = (char *)"prod";
    version.key = (char *)"version", version.value = (char *)"2";
    selector.keys = keys, selector.n_keys = 2;
    cluster_message.balancing = &balancing;
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        headgate__endpoint__init(&endpoints[i]);
        endpoints[i].address = (char *)(uintptr_t)texts[i];
        endpoint_pointers[i] = &endpoints[i];
    }
    set_message.endpoints = endpoint_pointers, set_message.n_endpoints = ENDPOINTS;
    cluster = make_resource("shop", &cluster_message);
    set = make_resource("shop", &set_message);
    snapshot_set_zone(STR(""));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cluster_members_unref(members);
    members = NULL;
    hg_free(cluster);
    hg_free(set);
    error_list_finish(&errors);
    errors = (struct error_list){0};
    return 0;
}

static struct cluster_members *make(void) {
    cluster_members_unref(members);
    members = snapshot_members_make(cluster, set, NULL, &errors);
    return members;
}

static void assert_fault(const char *path) {
    assert_null(make());
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.items[0].path, path);
    error_list_finish(&errors);
    errors = (struct error_list){0};
}

static void defaults_are_those_of_the_schema(void **state) {
    (void)state;
    cluster_message.balancing = NULL;
    assert_non_null(make());
    assert_int_equal(members->rules.kind, BALANCE_ROUND_ROBIN);
    assert_int_equal(members->rules.table_size, 65537);
    assert_int_equal(members->rules.choices, 2);
    assert_int_equal(members->rules.overprovisioning, 140);
    assert_int_equal(members->rules.slow_start, 0);
    assert_int_equal(members->count, ENDPOINTS);
    assert_int_equal(members->group_count, 1);
}

static void health_decides_who_may_be_used(void **state) {
    (void)state;
    endpoints[0].has_health = endpoints[1].has_health = endpoints[2].has_health = true;
    endpoints[0].health = HEADGATE__ENDPOINT__HEALTH__UNHEALTHY;
    endpoints[1].health = HEADGATE__ENDPOINT__HEALTH__DRAINING;
    endpoints[2].health = HEADGATE__ENDPOINT__HEALTH__HEALTHY;
    assert_non_null(make());
    assert_false(members->endpoints[0].is_usable || members->endpoints[0].is_draining);
    assert_true(!members->endpoints[1].is_usable && members->endpoints[1].is_draining);
    assert_true(members->endpoints[2].is_usable && members->endpoints[3].is_usable);
}

static void faults_name_their_field(void **state) {
    (void)state;
    static const struct { uint32_t *field; uint32_t bad, good; const char *path; } cases[] = {
        {&balancing.table_size, 65536, 65537, "balancing.table_size"},
        {&balancing.table_size, 5000017, 5000011, "balancing.table_size"},
        {&balancing.ring_size, 0, 1, "balancing.ring_size"},
        {&balancing.ring_size, 8388609, 8388608, "balancing.ring_size"},
        {&balancing.load_bound, 99, 100, "balancing.load_bound"},
        {&balancing.choices, 0, 2, "balancing.choices"},
        {&balancing.panic_threshold, 101, 100, "balancing.panic_threshold"},
        {&balancing.overprovisioning, 99, 100, "balancing.overprovisioning"},
        {&endpoints[2].priority, 128, 127, "endpoints[2].priority"},
        {&endpoints[3].weight, 65536, 65535, "endpoints[3].weight"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        *cases[i].field = cases[i].bad;
        assert_fault(cases[i].path);
        *cases[i].field = cases[i].good;
        assert_non_null(make());
    }
    endpoints[1].address = (char *)"localhost:80";
    assert_fault("endpoints[1].address");
    endpoints[1].address = (char *)"10.0.0.2:80";
    balancing.slow_start = &slow_start;
    slow_start.window = 0;
    assert_fault("balancing.slow_start.window");
    slow_start.window = 1;
    selector.n_keys = 0;
    balancing.subsets = selectors, balancing.n_subsets = 1;
    assert_fault("balancing.subsets[0].keys");
}

static void zones_count_where_they_are_preferred(void **state) {
    (void)state;
    endpoints[0].zone = endpoints[1].zone = (char *)"eu/a";
    endpoints[2].zone = (char *)"eu/b";
    snapshot_set_zone(STR("eu/a"));
    assert_non_null(make());
    assert_int_equal(members->group_count, 1);
    uint64_t print = snapshot_members_print(&cluster_message);
    balancing.has_prefer_zone = balancing.prefer_zone = true;
    assert_true(snapshot_members_print(&cluster_message) != print);
    assert_non_null(make());
    assert_int_equal(members->group_count, 2);
    assert_int_equal(members->groups[0].count, 2);
    assert_true(!members->groups[0].is_remote && members->groups[1].is_remote);
    snapshot_set_zone(STR("")); /* it does not know where it is */
    assert_non_null(make());
    assert_int_equal(members->group_count, 1);
}

static void rules_find_subsets_whatever_the_order_of_keys(void **state) {
    (void)state;
    Headgate__MetadataEntry *reversed[] = {&stage, &version};
    uint64_t subset, again;
    balancing.subsets = selectors, balancing.n_subsets = 1;
    endpoints[1].metadata = metadata, endpoints[1].n_metadata = 2;
    assert_non_null(make());
    assert_int_equal(members->group_count, 2);
    assert_int_equal(snapshot_find_subset(members, metadata, 2, &subset), 0);
    assert_int_equal(snapshot_find_subset(members, reversed, 2, &again), 0);
    assert_true(subset == again && subset == members->groups[1].subset);
    assert_int_equal(members->groups[1].count, 1);
    assert_int_equal(members->groups[1].members[0], 1);
    version.value = (char *)"3";
    assert_int_equal(snapshot_find_subset(members, metadata, 2, &again), 0);
    assert_true(subset != again);
    assert_int_equal(snapshot_find_subset(members, metadata, 0, &subset), 0);
    assert_true(subset == 0);
}

static void keys_without_subsets_are_refused(void **state) {
    (void)state;
    uint64_t subset = 4711;
    balancing.subsets = selectors, balancing.n_subsets = 1;
    assert_non_null(make());
    assert_int_equal(snapshot_find_subset(members, metadata, 1, &subset), -1); /* one of the two keys */
    version.key = (char *)"release";
    assert_int_equal(snapshot_find_subset(members, metadata, 2, &subset), -1);
    assert_true(subset == 4711);
}

/* Endpoints say how many subsets there are, and each has a table. */
static void tables_are_bounded_in_all(void **state) {
    (void)state;
    balancing.subsets = selectors, balancing.n_subsets = 1;
    endpoints[1].metadata = metadata, endpoints[1].n_metadata = 2;
    cluster_message.balancer = HEADGATE__CLUSTER__BALANCER__MAGLEV;
    balancing.table_size = 1009;
    balancing.max_table_entries = 2 * 1009 - 1;
    assert_fault("balancing.max_table_entries");
    balancing.max_table_entries = 2 * 1009;
    assert_non_null(make());
    assert_int_equal(members->group_count, 2);
    assert_int_equal(members->table_entries, 2 * 1009);
    cluster_message.balancer = HEADGATE__CLUSTER__BALANCER__RING_HASH;
    balancing.ring_size = 1024;
    assert_fault("balancing.max_table_entries");
    cluster_message.balancer = HEADGATE__CLUSTER__BALANCER__ROUND_ROBIN;
    balancing.max_table_entries = 1;
    assert_non_null(make());
}

static void memory_may_be_short(void **state) {
    (void)state;
    bool failed = true;
    balancing.subsets = selectors, balancing.n_subsets = 1;
    endpoints[1].metadata = metadata, endpoints[1].n_metadata = 2;
    endpoints[1].hostname = (char *)"a.example";
    cluster_message.balancer = HEADGATE__CLUSTER__BALANCER__RING_HASH;
    for (long nth = 0; failed; nth++) {
        uint64_t count = hg_alloc_count();
        hg_alloc_fail_at(nth, 0);
        struct cluster_members *m = snapshot_members_make(cluster, set, NULL, &errors);
        hg_alloc_fail_at(-1, 0);
        failed = hg_alloc_count() - count > (uint64_t)nth;
        assert_true(failed == (m == NULL));
        cluster_members_unref(m);
    }
    assert_int_equal(errors.count, 0);
}

/* The first choice that fits counts; metadata and matches have no order. */
static void endpoints_choose_their_tls(void **state) {
    (void)state;
    Headgate__TlsChoice both = HEADGATE__TLS_CHOICE__INIT, one = both, any = both;
    Headgate__TlsChoice *choices[] = {&both, &one, &any};
    Headgate__MetadataEntry *reversed[] = {&stage, &version};
    uint64_t print = snapshot_members_print(&cluster_message);
    both.match = one.match = reversed;
    both.n_match = 2;
    one.n_match = 1;
    cluster_message.tls_choices = choices;
    cluster_message.n_tls_choices = 2;
    endpoints[0].metadata = metadata, endpoints[0].n_metadata = 2;
    endpoints[1].metadata = reversed, endpoints[1].n_metadata = 1;
    endpoints[2].metadata = metadata, endpoints[2].n_metadata = 1;
    assert_non_null(make());
    assert_true(print != snapshot_members_print(&cluster_message));
    assert_true(members->endpoints[0].tls_choice == cluster_tls_id(&both));
    assert_true(members->endpoints[1].tls_choice == cluster_tls_id(&one));
    assert_true(members->endpoints[2].tls_choice == 0 && members->endpoints[3].tls_choice == 0);
    both.match = metadata;
    assert_true(members->endpoints[0].tls_choice == cluster_tls_id(&both));
    cluster_message.n_tls_choices = 3;
    assert_non_null(make());
    assert_true(members->endpoints[1].tls_choice == cluster_tls_id(&one));
    assert_true(members->endpoints[2].tls_choice == cluster_tls_id(&any) && members->endpoints[2].tls_choice != 0);
    assert_true(cluster_tls_id(&any) != cluster_tls_id(&one) && cluster_tls_id(&one) != cluster_tls_id(&both));
    version.value = (char *)"3"; /* as it is in the match: both have changed */
    assert_true(members->endpoints[0].tls_choice != cluster_tls_id(&both));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_those_of_the_schema),     TEST(health_decides_who_may_be_used),
        TEST(faults_name_their_field),              TEST(zones_count_where_they_are_preferred),
        TEST(rules_find_subsets_whatever_the_order_of_keys), TEST(keys_without_subsets_are_refused),
        TEST(tables_are_bounded_in_all),            TEST(memory_may_be_short),
        TEST(endpoints_choose_their_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
