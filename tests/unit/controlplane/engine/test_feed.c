/* Endpoints from a management server, through the feed: what is known at once, what comes later, what stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "controlplane/discovery/endpoint_feed.h"
#include "tests/unit/controlplane/engine/fixture.h"

/* ---- a server that knows what the test says ---- */

static struct told {
    char     wanted[64];        /* services, in the order of asking; "-NAME" when one is wanted no more */
    unsigned port;              /* of its endpoint; 0: nothing is known */
} told;

static int want(void *context, const char *service, bool is_wanted) {
    size_t n = strlen(told.wanted);
    (void)context;
    snprintf(told.wanted + n, sizeof told.wanted - n, "%s%s%s", n ? " " : "", is_wanted ? "" : "-", service);
    return 0;
}

static Headgate__EndpointSet *known(void *context, const char *service, bool is_locality_weighted) {
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    Headgate__Endpoint endpoint = HEADGATE__ENDPOINT__INIT, *list[] = {&endpoint};
    char address[64];
    uint8_t bytes[128];
    (void)context;
    if (!told.port || strcmp(service, "outbound|80||web") != 0)
        return NULL;
    snprintf(address, sizeof address, "10.0.0.1:%u", told.port);
    endpoint.address = address;
    endpoint.has_weight = is_locality_weighted;
    endpoint.weight = 3;
    set.endpoints = list;
    set.n_endpoints = 1;
    return headgate__endpoint_set__unpack(NULL, headgate__endpoint_set__pack(&set, bytes), bytes);
}

static int setup(void **state) {
    static const struct endpoint_feed_server server = {NULL, want, known};
    told = (struct told){0};
    if (fixture_setup(state) < 0)
        return -1;
    struct fixture *f = *state;
    struct error_list errors = {0};
    engine_destroy(f->engine);
    f->feed = endpoint_feed_create();
    endpoint_feed_serve(f->feed, &server);
    endpoint_feed_set_name(f->feed, "xds.test:18000");
    f->engine = fixture_open(f, &errors);
    return f->engine ? 0 : -1;
}

static int teardown(void **state) {
    struct endpoint_feed *feed = ((struct fixture *)*state)->feed;
    int status = fixture_teardown(state);
    endpoint_feed_destroy(feed);
    return status;
}

/* ---- looking ---- */

/* "10.0.0.1:1" of the state's set of "web", with its weight where it has one; "none" when there is no set. */
static const char *state_of(const struct fixture *f) {
    static char text[128];
    const struct snapshot *s = channel_current(engine_channel(f->engine));
    ssize_t at = part_find(s->state, HEADGATE__KIND__KIND_ENDPOINT_SET, "web");
    if (at < 0)
        return "none";
    const struct blob *b = part_body(s->state, at);
    Headgate__EndpointSet *set = headgate__endpoint_set__unpack(NULL, b->size, b->bytes);
    snprintf(text, sizeof text, "%s", set->n_endpoints ? set->endpoints[0]->address : "");
    if (set->n_endpoints && set->endpoints[0]->has_weight)
        snprintf(text + strlen(text), sizeof text - strlen(text), " weight %u", set->endpoints[0]->weight);
    headgate__endpoint_set__free_unpacked(set, NULL);
    return text;
}

/* A test that waits in vain is ended by its runner. */
static void wait_state(struct fixture *f, const char *expected) {
    while (strcmp(state_of(f), expected) != 0)
        ev_run(f->loop, EVRUN_ONCE);
}

static uint64_t generation(const struct fixture *f) {
    return channel_current(engine_channel(f->engine))->generation;
}

#define FOLLOWING(service) "clusters: [{name: web, discovery: {xds: '" service "'}}]\n"

/* ---- tests ---- */

/* The version that brings a cluster brings its endpoints: no request finds it without. */
static void what_is_known_comes_with_the_cluster(void **state) {
    struct fixture *f = *state;
    told.port = 1;
    fixture_push_text(f, FOLLOWING("outbound|80||web"));
    assert_string_equal(state_of(f), "10.0.0.1:1");
    assert_string_equal(told.wanted, "outbound|80||web");
    uint64_t before = generation(f);
    for (int i = 0; i < 5; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(generation(f), before);        /* and saying it again is no news */
}

/* But what data planes would refuse does not, and they would refuse the version with it. */
static void what_is_known_is_within_bounds(void **state) {
    struct fixture *f = *state;
    struct source_state s;
    told.port = 1;
    fixture_push_text(f, "clusters:\n  - {name: web, discovery: {xds: 'outbound|80||web'}, balancer: maglev,\n"
                         "     balancing: {table-size: 1009, max-table-entries: 1008}}\n");
    assert_int_equal(f->reply->outcome, HEADGATE__PUSH_REPLY__OUTCOME__STORED);
    assert_string_equal(state_of(f), "none");
    while (engine_cluster_source(f->engine, "web", &s) && !s.failure[0])
        ev_run(f->loop, EVRUN_ONCE);
    assert_non_null(strstr(s.failure, "1009 entries"));
    assert_string_equal(state_of(f), "none");
}

static void what_changes_is_a_generation(void **state) {
    struct fixture *f = *state;
    struct source_state s;
    fixture_push_text(f, FOLLOWING("outbound|80||web"));
    assert_string_equal(state_of(f), "none");
    told.port = 1;
    endpoint_feed_changed(f->feed, "outbound|80||web", 1000);
    wait_state(f, "10.0.0.1:1");
    assert_int_equal(channel_current(engine_channel(f->engine))->known_at, 1000);
    told.port = 2;
    endpoint_feed_changed(f->feed, "outbound|80||web", 2000);
    wait_state(f, "10.0.0.1:2");
    assert_int_equal(channel_current(engine_channel(f->engine))->known_at, 2000);
    assert_true(engine_cluster_source(f->engine, "web", &s));
    assert_string_equal(s.kind, "xds");
    assert_string_equal(s.target, "outbound|80||web @ xds.test:18000");
    assert_int_equal(s.endpoints, 1);
    endpoint_feed_failed(f->feed, "outbound|80||web", "the server says that it does not exist");
    assert_true(engine_cluster_source(f->engine, "web", &s));
    assert_string_equal(s.failure, "the server says that it does not exist");
    assert_string_equal(state_of(f), "10.0.0.1:2");
}

static void localities_count_where_the_cluster_says_so(void **state) {
    struct fixture *f = *state;
    told.port = 1;
    fixture_push_text(f, "clusters:\n  - name: web\n    discovery:\n"
                         "      xds: {service: 'outbound|80||web', locality-weighted: true}\n");
    assert_string_equal(state_of(f), "10.0.0.1:1 weight 3");
}

/* Another service whose endpoints are known replaces what was found at once; one that nobody knows yet does not. */
static void another_service(void **state) {
    struct fixture *f = *state;
    told.port = 1;
    fixture_push_text(f, FOLLOWING("outbound|80||web"));
    ev_run(f->loop, EVRUN_NOWAIT);
    fixture_push_text(f, FOLLOWING("unheard-of"));
    assert_string_equal(state_of(f), "10.0.0.1:1");
    assert_string_equal(told.wanted, "outbound|80||web -outbound|80||web unheard-of");
    told.port = 7;
    fixture_push_text(f, FOLLOWING("outbound|80||web"));
    assert_string_equal(state_of(f), "10.0.0.1:7");
}

static void after_a_restart_what_was_stored_counts(void **state) {
    struct fixture *f = *state;
    struct error_list errors = {0};
    told.port = 1;
    fixture_push_text(f, FOLLOWING("outbound|80||web"));
    assert_string_equal(state_of(f), "10.0.0.1:1");
    engine_stop(f->engine);
    engine_destroy(f->engine);
    told.port = 0;
    f->engine = fixture_open(f, &errors);
    assert_non_null(f->engine);
    for (int i = 0; i < 5; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_string_equal(state_of(f), "10.0.0.1:1");
}

/* The server says it once; the engine, without memory for it, asks for it later. */
static void what_there_was_no_memory_for_is_found_later(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, FOLLOWING("outbound|80||web"));
    told.port = 1;
    endpoint_feed_changed(f->feed, "outbound|80||web", 1000);
    wait_state(f, "10.0.0.1:1");
    told.port = 2;
    hg_alloc_fail_at(0, 1);
    endpoint_feed_changed(f->feed, "outbound|80||web", 2000);
    hg_alloc_fail_at(-1, 0);
    for (int i = 0; i < 5; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_string_equal(state_of(f), "10.0.0.1:1");
    wait_state(f, "10.0.0.1:2");
}

/* Who has no management server is told so. */
static void without_a_server(void **state) {
    struct fixture *f = *state;
    struct source_state s = {0};
    struct error_list errors = {0};
    engine_destroy(f->engine);
    endpoint_feed_destroy(f->feed);
    f->feed = NULL;
    f->engine = fixture_open(f, &errors);
    assert_non_null(f->engine);
    fixture_push_text(f, FOLLOWING("a"));
    do {
        ev_run(f->loop, EVRUN_ONCE);
        assert_true(engine_cluster_source(f->engine, "web", &s));
    } while (s.failures == 0);
    assert_string_equal(s.failure, "no management server is configured");
    assert_string_equal(s.target, "a @ no server");
}

static void a_source_without_memory(void **state) {
    struct endpoint_feed *feed = ((struct fixture *)*state)->feed;
    Headgate__Discovery m = HEADGATE__DISCOVERY__INIT;
    Headgate__XdsDiscovery xds = HEADGATE__XDS_DISCOVERY__INIT;
    const struct source_config config = {.loop = ((struct fixture *)*state)->loop, .feed = feed};
    struct source *s = NULL;
    int failed = 0;
    xds.service = (char *)(uintptr_t)"a";
    m.kind_case = HEADGATE__DISCOVERY__KIND_XDS;
    m.xds = &xds;
    for (long nth = 0; !s; nth++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(nth, 0);
        s = source_xds.create(&config, &m, &errors);
        hg_alloc_fail_at(-1, 0);
        failed += s == NULL;
        assert_int_equal(errors.count, s == NULL);
        error_list_finish(&errors);
    }
    assert_in_range(failed, 4, 20);
    source_xds.destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_known_comes_with_the_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_known_is_within_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(what_changes_is_a_generation, setup, teardown),
        cmocka_unit_test_setup_teardown(localities_count_where_the_cluster_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(another_service, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_restart_what_was_stored_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_there_was_no_memory_for_is_found_later, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_server, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_without_memory, setup, teardown),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
