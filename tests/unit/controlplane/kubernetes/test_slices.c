/* EndpointSlices and Services: which endpoints are made of them. */
#include "tests/unit/common/told.h"

#include "common/alloc.h"
#include "controlplane/kubernetes/services.h"
#include "controlplane/kubernetes/slices.h"

/* "web web api ": services that have changed. */
static void on_changed(void *context, const char *service) {
    (void)context;
    tell("%s ", service);
}

static int setup(void **state) {
    static struct slices slices;
    slices = (struct slices){.changed = on_changed};
    told[0] = '\0';
    *state = &slices;
    return 0;
}

static int teardown(void **state) {
    slices_finish(*state);
    return 0;
}

static cJSON *object(const char *name, const char *service, const char *endpoints, const char *ports) {
    char text[2048];
    snprintf(text, sizeof text, "{\"metadata\": {\"name\": \"%s\", \"labels\": {\"kubernetes.io/service-name\": \"%s\"}}, "
             "\"addressType\": \"IPv4\", \"endpoints\": %s, \"ports\": %s}", name, service, endpoints, ports);
    cJSON *made = cJSON_Parse(text);
    assert_non_null(made);
    return made;
}

static void set(struct slices *s, const char *name, const char *service, const char *endpoints, const char *ports) {
    cJSON *o = object(name, service, endpoints, ports);
    assert_true(slices_set(s, o));
    cJSON_Delete(o);
}

/* "10.0.0.1:80 10.0.0.2:80(draining) 10.0.0.3:80@a", or what is wrong. */
static const char *made(const struct slices *s, const char *service, const char *port) {
    static char text[1024];
    struct arena arena = {0};
    struct error_list errors = {0};
    const Headgate__EndpointSet *set = slices_endpoints(s, service, port, &arena, &errors);
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; set && i < set->n_endpoints; i++) {
        const Headgate__Endpoint *e = set->endpoints[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%s%s%s", i ? " " : "", e->address,
                              e->health == HEADGATE__ENDPOINT__HEALTH__DRAINING ? "(draining)" : "", e->zone ? "@" : "",
                              e->zone ? e->zone : "");
    }
    if (!set)
        snprintf(text, sizeof text, "%s", errors.items[0].message);
    error_list_finish(&errors);
    arena_finish(&arena);
    return text;
}

#define HTTP "[{\"name\": \"http\", \"port\": 80}]"

static void slices_of_a_service_are_one_set(void **state) {
    struct slices *s = *state;
    set(s, "b", "web", "[{\"addresses\": [\"10.0.0.3\"]}, {\"addresses\": [\"10.0.0.1\", \"10.9.9.9\"]}]", HTTP);
    set(s, "a", "web", "[{\"addresses\": [\"10.0.0.2\"]}]", HTTP);
    set(s, "c", "api", "[{\"addresses\": [\"10.0.0.4\"]}]", HTTP);
    assert_string_equal(made(s, "web", "http"), "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80");
    assert_string_equal(made(s, "web", NULL), "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80");
    assert_told("web web api ");
}

static void an_address_in_two_slices_is_one_endpoint(void **state) {
    struct slices *s = *state;
    set(s, "a", "web", "[{\"addresses\": [\"10.0.0.1\"], \"conditions\": {\"ready\": false, \"serving\": true}}]", HTTP);
    set(s, "b", "web", "[{\"addresses\": [\"10.0.0.1\"]}]", HTTP);
    assert_string_equal(made(s, "web", NULL), "10.0.0.1:80");
}

static void conditions(void **state) {
    static const struct {
        const char *conditions, *result;
    } rows[] = {
        {"{}", "10.0.0.1:80 10.0.0.2:80"},
        {"{\"ready\": null}", "10.0.0.1:80 10.0.0.2:80"},
        {"{\"ready\": true, \"terminating\": false}", "10.0.0.1:80 10.0.0.2:80"},
        {"{\"ready\": false}", "10.0.0.2:80"},
        {"{\"ready\": false, \"serving\": false, \"terminating\": true}", "10.0.0.2:80"},
        {"{\"ready\": false, \"serving\": true, \"terminating\": true}", "10.0.0.1:80(draining) 10.0.0.2:80"},
        {"{\"ready\": true, \"serving\": true, \"terminating\": true}", "10.0.0.1:80(draining) 10.0.0.2:80"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char endpoints[256];
        snprintf(endpoints, sizeof endpoints,
                 "[{\"addresses\": [\"10.0.0.1\"], \"conditions\": %s}, "
                 "{\"addresses\": [\"10.0.0.2\"]}]", rows[i].conditions);
        set(*state, "a", "web", endpoints, HTTP);
        assert_string_equal(made(*state, "web", NULL), rows[i].result);
    }
}

static void where_nothing_is_ready_what_serves_is_used(void **state) {
    set(*state, "a", "web", "[{\"addresses\": [\"10.0.0.1\"], \"conditions\": {\"ready\": false, \"serving\": true, "
        "\"terminating\": true}}]", HTTP);
    assert_string_equal(made(*state, "web", NULL), "10.0.0.1:80");
}

static void zones_and_hints(void **state) {
    set(*state, "a", "web", "[{\"addresses\": [\"10.0.0.1\"], \"zone\": \"a\"}, "
        "{\"addresses\": [\"10.0.0.2\"], \"zone\": \"a\", \"hints\": {\"forZones\": [{\"name\": \"b\"}]}}]", HTTP);
    assert_string_equal(made(*state, "web", NULL), "10.0.0.1:80@a 10.0.0.2:80@b");
}

static void ports(void **state) {
    struct slices *s = *state;
    set(s, "a", "web", "[{\"addresses\": [\"10.0.0.1\"]}]",
        "[{\"name\": \"http\", \"port\": 80}, "
        "{\"name\": \"dns\", \"port\": 53, \"protocol\": \"UDP\"}, {\"name\": \"tls\", \"port\": 443}]");
    assert_string_equal(made(s, "web", "tls"), "10.0.0.1:443");
    assert_string_equal(made(s, "web", "dns"), "service web has no TCP port dns");
    assert_string_equal(made(s, "web", NULL), "service web has several ports, and none is named");
    set(s, "a", "web", "[{\"addresses\": [\"10.0.0.1\"]}]", "[{\"port\": 80}]");
    assert_string_equal(made(s, "web", ""), "10.0.0.1:80");
    set(s, "b", "web", "null", "null"); /* empty slices have no ports */
    assert_string_equal(made(s, "web", ""), "10.0.0.1:80");
    set(s, "a", "web", "null", "null");
    assert_string_equal(made(s, "web", "http"), "");
    assert_string_equal(made(s, "api", "http"), "there is no EndpointSlice of service api");
}

static void ipv6_has_brackets_and_names_are_left_out(void **state) {
    set(*state, "a", "web", "[{\"addresses\": [\"fd00::1\"]}, {\"addresses\": [\"unix:/x\"]}, "
        "{\"addresses\": [\"a.test\"]}, {\"addresses\": []}]", HTTP);
    assert_string_equal(made(*state, "web", NULL), "[fd00::1]:80");
}

static void a_slice_that_changes_its_service_leaves_the_old_one(void **state) {
    struct slices *s = *state;
    set(s, "a", "web", "[{\"addresses\": [\"10.0.0.1\"]}]", HTTP);
    set(s, "b", "web", "[{\"addresses\": [\"10.0.0.2\"]}]", HTTP);
    told[0] = '\0';
    set(s, "a", "api", "[{\"addresses\": [\"10.0.0.1\"]}]", HTTP);
    assert_told("web api ");
    assert_string_equal(made(s, "web", NULL), "10.0.0.2:80");
    assert_string_equal(made(s, "api", NULL), "10.0.0.1:80");
}

static void what_a_new_list_does_not_name_is_gone_at_its_end(void **state) {
    struct slices *s = *state;
    set(s, "a", "web", "[{\"addresses\": [\"10.0.0.1\"]}]", HTTP);
    set(s, "b", "web", "[{\"addresses\": [\"10.0.0.2\"]}]", HTTP);
    slices_list(s);
    set(s, "b", "web", "[{\"addresses\": [\"10.0.0.3\"]}]", HTTP);
    assert_string_equal(made(s, "web", NULL), "10.0.0.1:80 10.0.0.3:80");
    told[0] = '\0';
    slices_listed(s);
    assert_told("web ");
    assert_string_equal(made(s, "web", NULL), "10.0.0.3:80");
    cJSON *o = object("b", "web", "null", "null");
    slices_remove(s, o);
    slices_remove(s, o); /* twice is once */
    cJSON_Delete(o);
    assert_string_equal(made(s, "web", NULL), "there is no EndpointSlice of service web");
}

/* Each allocation fails in turn; what was there stays. */
static void short_memory_loses_nothing(void **state) {
    struct slices *s = *state;
    set(s, "a", "web", "[{\"addresses\": [\"10.0.0.1\"]}]", HTTP);
    cJSON *o = object("a", "api", "[{\"addresses\": [\"10.0.0.2\"], \"zone\": \"z\"}]", HTTP);
    for (long nth = 0;; nth++) {
        hg_alloc_fail_at(nth, 0);
        bool is_set = slices_set(s, o);
        hg_alloc_fail_at(-1, 0);
        if (is_set)
            break;
        assert_string_equal(made(s, "web", NULL), "10.0.0.1:80");
        assert_true(nth < 100);
    }
    cJSON_Delete(o);
    assert_string_equal(made(s, "api", NULL), "10.0.0.2:80@z");
}

static void services_know_the_names_of_numbers(void **state) {
    (void)state;
    struct services all = {0};
    cJSON *o = cJSON_Parse("{\"metadata\": {\"name\": \"web\"}, "
                           "\"spec\": {\"ports\": [{\"port\": 80}, {\"name\": \"tls\", \"port\": 443}]}}");
    assert_string_equal(services_set(&all, o), "web");
    assert_string_equal(services_set(&all, o), "web"); /* again */
    assert_string_equal(services_port_name(&all, "web", 80), "");
    assert_string_equal(services_port_name(&all, "web", 443), "tls");
    assert_null(services_port_name(&all, "web", 81));
    assert_null(services_port_name(&all, "api", 80));
    services_list(&all);
    services_listed(&all);
    assert_null(services_port_name(&all, "web", 80));
    services_set(&all, o);
    services_remove(&all, o);
    assert_null(services_port_name(&all, "web", 80));
    cJSON_Delete(o);
    services_finish(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slices_of_a_service_are_one_set, setup, teardown),
        cmocka_unit_test_setup_teardown(an_address_in_two_slices_is_one_endpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(conditions, setup, teardown),
        cmocka_unit_test_setup_teardown(where_nothing_is_ready_what_serves_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(zones_and_hints, setup, teardown),
        cmocka_unit_test_setup_teardown(ports, setup, teardown),
        cmocka_unit_test_setup_teardown(ipv6_has_brackets_and_names_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slice_that_changes_its_service_leaves_the_old_one, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_new_list_does_not_name_is_gone_at_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(short_memory_loses_nothing, setup, teardown),
        cmocka_unit_test(services_know_the_names_of_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
