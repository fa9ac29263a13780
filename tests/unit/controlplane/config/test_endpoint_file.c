/* Files of endpoints: the forms that they may have, and what is said of a bad one. */
#include "support.h"

#include "common/alloc.h"
#include "controlplane/config/endpoint_bounds.h"
#include "controlplane/config/endpoint_file.h"

static const char *text_of(const Headgate__EndpointSet *set)
{
    static char text[512];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < set->n_endpoints; i++) {
        const Headgate__Endpoint *e = set->endpoints[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s w%u p%u %s", i ? ", " : "", e->address, e->weight,
                              e->priority, e->zone ? e->zone : "-");
    }
    return text;
}

static void assert_read(const char *text, const char *expected)
{
    struct error_list errors = {0};
    Headgate__EndpointSet *set = config_read_endpoints("list.yaml", str_of(text), &errors);
    assert_non_null(set);
    assert_true(error_list_is_empty(&errors));
    assert_string_equal(text_of(set), expected);
    headgate__endpoint_set__free_unpacked(set, NULL);
}

static void lists_and_maps_in_yaml_and_json(void **state)
{
    (void)state;
    assert_read("- 10.0.0.2:1\n- {address: '[FD00::0:1]:1', weight: 3, priority: 1, zone: eu/a}\n",
                "10.0.0.2:1 w1 p0 -, [fd00::1]:1 w3 p1 eu/a");
    assert_read("[\"10.0.0.2:1\", {\"address\": \"10.0.0.1:1\", \"weight\": 7}]", "10.0.0.2:1 w1 p0 -, 10.0.0.1:1 w7 p0 -");
    assert_read("endpoints:\n  - unix:/run/x.sock\n", "unix:/run/x.sock w1 p0 -");
    assert_read("[]\n", "");
    assert_read("endpoints: []\n", "");
}

static void assert_refused(const char *text, const char *expected)
{
    struct error_list errors = {0};
    struct strbuf all = {0};
    assert_null(config_read_endpoints("list.yaml", str_of(text), &errors));
    for (size_t i = 0; i < errors.count; i++) {
        strbuf_puts(&all, i ? "\n" : "");
        error_format(&errors.items[i], &all);
    }
    assert_string_equal(strbuf_str(&all).p, expected);
    strbuf_finish(&all);
    error_list_finish(&errors);
}

#define NO_LIST "list.yaml:1:1: there is no list of endpoints; expected a list such as [10.0.0.1:9001], or [] for none"

static void every_fault_is_told_with_its_place(void **state)
{
    (void)state;
    assert_refused("", NO_LIST);
    assert_refused("# soon\n", NO_LIST);
    assert_refused("- 10.0.0.1:1\n- 10.0.0.1:1\n",
                   "list.yaml:2:3: endpoints[1]: \"10.0.0.1:1\" already stands at list.yaml:1:3");
    assert_refused("- {adress: 10.0.0.1:1}\n- api:80\n",
                   "list.yaml:1:4: endpoints[0].adress: unknown key \"adress\"; expected one of address, weight, hostname, "
                   "priority, zone, metadata; did you mean \"address\"?\n"
                   "list.yaml:1:3: endpoints[0]: the key \"address\" is missing; expected an address such as 10.0.0.1:9001, "
                   "[::1]:9001 or unix:/run/x.sock\n"
                   "list.yaml:2:3: endpoints[1]: \"api:80\": not an address (names are for discovery); expected an address "
                   "such as 10.0.0.1:9001, [::1]:9001 or unix:/run/x.sock");
    assert_refused("- {address: 10.0.0.1:1, priority: 1}\n",
                   "list.yaml:1:1: endpoints: no endpoint has priority 0, but one has 1; expected priorities from 0 on, "
                   "without gaps");
}

/* The path of a key or of a list of passwords in the place of one of endpoints. */
static void what_is_something_else_is_not_quoted(void **state)
{
    (void)state;
    assert_refused("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n", NO_LIST);
    assert_refused("s3cr3t\n", NO_LIST);
    assert_refused("admin: s3cr3t\n", NO_LIST);
}

static void variables_are_an_error(void **state)
{
    struct error_list errors = {0};
    (void)state;
    assert_null(config_read_endpoints("list.yaml", STR("- 10.0.0.1:${PORT}\n"), &errors));
    assert_false(error_list_is_empty(&errors));
    error_list_finish(&errors);
}

/* With room for what checks will say of them. */
static void sets_of_sources_have_bounds(void **state)
{
    enum { MANY = 4096, LONG = 16 << 10 };
    static Headgate__Endpoint *list[MANY];
    static char address[LONG];
    Headgate__Endpoint one = HEADGATE__ENDPOINT__INIT;
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    struct error_list errors = {0};
    (void)state;
    memset(address, 'a', LONG - 9);     /* 3 bytes of its tag and length, 3 of those of the endpoint, 3 for health */
    one.address = address;
    for (size_t i = 0; i < MANY; i++)
        list[i] = &one;
    set.endpoints = list;
    set.n_endpoints = MANY;
    assert_int_equal(config_check_endpoints(&cluster, &set, &errors), 0);
    address[LONG - 9] = 'a';
    assert_in_range(headgate__endpoint_set__get_packed_size(&set), RESOURCE_BYTES_MAX - 2 * MANY, RESOURCE_BYTES_MAX - MANY);
    assert_int_equal(config_check_endpoints(&cluster, &set, &errors), -1);
    assert_int_equal(errors.count, 1);
    assert_int_equal(errors.items[0].code, ERROR_RANGE);
    error_list_finish(&errors);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    for (long nth = 0;; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        Headgate__EndpointSet *set = config_read_endpoints("list.yaml", STR("- 10.0.0.1:1\n"), &errors);
        hg_alloc_fail_at(-1, 0);
        assert_true(set || !error_list_is_empty(&errors));
        error_list_finish(&errors);
        if (set) {
            headgate__endpoint_set__free_unpacked(set, NULL);
            assert_true(nth > 5);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_and_maps_in_yaml_and_json),
        cmocka_unit_test(every_fault_is_told_with_its_place),
        cmocka_unit_test(what_is_something_else_is_not_quoted),
        cmocka_unit_test(variables_are_an_error),
        cmocka_unit_test(sets_of_sources_have_bounds),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
