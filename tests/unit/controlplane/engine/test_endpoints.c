/* Endpoints as a part of the state: what is found and checked becomes generations, is stored, and waits for pushes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "controlplane/engine/effective.h"
#include "tests/unit/controlplane/engine/fixture.h"

#define HEALTH(name) HEADGATE__ENDPOINT__HEALTH__##name

/* ---- a checker that says what the test wants ---- */

enum { FAKE_MAX = 16 };

static struct fake {
    struct health_config config;
    char addresses[FAKE_MAX][32];       /* unhealthy or healthy; of any cluster */
    Headgate__Endpoint__Health healths[FAKE_MAX];
    size_t count;
    char watched[64];                   /* the endpoints that the cluster "web" was given last, or "none" */
    int  refusals;                      /* of the next settings of its checks */
    struct health_counters counters;
} fake;

static struct health *fake_create(const struct health_config *config, struct error_list *errors) {
    (void)errors;
    fake.config = *config;
    return (struct health *)&fake;
}

static void fake_destroy(struct health *h) {
    (void)h;
}

static int fake_set_cluster(struct health *h, const char *cluster, const struct health_way *way,
                            const Headgate__EndpointSet *endpoints, struct error_list *errors) {
    (void)h;
    (void)errors;
    size_t n = 0;
    if (strcmp(cluster, "web") != 0)
        return 0;
    if (way && fake.refusals > 0) {
        fake.refusals--;
        return -1;
    }
    snprintf(fake.watched, sizeof fake.watched, "%s", way ? "" : "none");
    for (size_t i = 0; way && i < endpoints->n_endpoints; i++)
        n += (size_t)snprintf(fake.watched + n, sizeof fake.watched - n, "%s ", endpoints->endpoints[i]->address);
    return 0;
}

static Headgate__Endpoint__Health fake_of(const struct health *h, const char *cluster, const char *address) {
    (void)h;
    (void)cluster;
    for (size_t i = 0; i < fake.count; i++)
        if (strcmp(fake.addresses[i], address) == 0)
            return fake.healths[i];
    return HEALTH(UNKNOWN);
}

static const struct health_counters *fake_counters(const struct health *h) {
    (void)h;
    return &fake.counters;
}

static const char *fake_last_failure(const struct health *h, const char *cluster, const char *address, uint64_t *ret_at) {
    (void)h;
    (void)cluster;
    *ret_at = 7;
    return fake_of(h, cluster, address) == HEALTH(UNHEALTHY) ? "connection refused" : NULL;
}

static const struct engine_checks fake_checks = {
    .create = fake_create, .destroy = fake_destroy, .set_cluster = fake_set_cluster, .of = fake_of,
    .counters = fake_counters, .last_failure = fake_last_failure};

static void flip(const char *address, Headgate__Endpoint__Health health) {
    size_t i = 0;
    while (i < fake.count && strcmp(fake.addresses[i], address) != 0)
        i++;
    fake.count += i == fake.count;
    snprintf(fake.addresses[i], sizeof fake.addresses[i], "%s", address);
    fake.healths[i] = health;
    const struct health_change change = {"web", address, health, "connection refused", clock_monotonic_us()};
    fake.config.changed(fake.config.context, &change, 1);
}

/* ---- looking ---- */

static int setup(void **state) {
    fake = (struct fake){0};
    return fixture_setup_with(state, &fake_checks);
}

static const struct snapshot *current(const struct fixture *f) {
    return channel_current(engine_channel(f->engine));
}

/* "10.0.0.1:1 U, 10.0.0.2:1 H" of the state's set of a cluster; "none" when it has none. */
static const char *state_of_cluster(const struct fixture *f, const char *cluster) {
    static char text[512];
    static const char letters[] = "?HUD";
    ssize_t at = part_find(current(f)->state, HEADGATE__KIND__KIND_ENDPOINT_SET, cluster);
    size_t n = 0;
    if (at < 0)
        return "none";
    const struct blob *b = part_body(current(f)->state, at);
    Headgate__EndpointSet *set = headgate__endpoint_set__unpack(NULL, b->size, b->bytes);
    text[0] = '\0';
    for (size_t i = 0; i < set->n_endpoints; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %c", i ? ", " : "", set->endpoints[i]->address,
                              letters[set->endpoints[i]->health]);
    headgate__endpoint_set__free_unpacked(set, NULL);
    return text;
}

static const char *state_of(const struct fixture *f) {
    return state_of_cluster(f, "web");
}

/* Turns the loop until the state has that; a test that waits in vain is ended by its runner. */
static void wait_state(struct fixture *f, const char *expected) {
    while (strcmp(state_of(f), expected) != 0)
        ev_run(f->loop, EVRUN_ONCE);
}

static uint64_t generations(const struct fixture *f) {
    struct engine_endpoint_counters c;
    engine_endpoint_counters(f->engine, &c);
    return c.generations;
}

static void reopen(struct fixture *f) {
    struct error_list errors = {0};
    engine_stop(f->engine);
    engine_destroy(f->engine);
    f->engine = fixture_open(f, &errors);
    assert_non_null(f->engine);
}

#define CHECKED(endpoints) "clusters: [{name: web, health: {tcp: {}}, endpoints: [" endpoints "]}]\n"

/* ---- checks ---- */

static void a_flip_is_a_generation_and_no_version(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, CHECKED("10.0.0.1:1, 10.0.0.2:1"));
    assert_string_equal(fake.watched, "10.0.0.1:1 10.0.0.2:1 ");
    assert_string_equal(state_of(f), "none");
    uint64_t generation = current(f)->generation;
    flip("10.0.0.2:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.1:1 ?, 10.0.0.2:1 U");
    assert_int_equal(current(f)->version, 1);
    assert_int_equal(current(f)->generation, generation + 1);
    flip("10.0.0.1:1", HEALTH(HEALTHY));
    flip("10.0.0.2:1", HEALTH(HEALTHY));
    wait_state(f, "10.0.0.1:1 H, 10.0.0.2:1 H");
    assert_int_equal(current(f)->generation, generation + 2);
}

/* The first change at once, and all that follow in a second together. */
static void what_flaps_goes_out_together_and_is_stored_once(void **state) {
    enum { FLIPS = 200 };
    struct fixture *f = *state;
    struct engine_endpoint_counters c;
    fixture_push_text(f, CHECKED("10.0.0.1:1, 10.0.0.2:1"));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.1:1 U, 10.0.0.2:1 ?"); /* the first at once */
    int flips = 0;
    while (flips < FLIPS || generations(f) < 4 || flips % 2) {
        flip("10.0.0.1:1", flips++ % 2 ? HEALTH(UNHEALTHY) : HEALTH(HEALTHY));
        ev_run(f->loop, EVRUN_NOWAIT);
    }
    flip("10.0.0.2:1", HEALTH(HEALTHY));
    wait_state(f, "10.0.0.1:1 U, 10.0.0.2:1 H");
    engine_stop(f->engine);
    engine_endpoint_counters(f->engine, &c);
    assert_in_range(c.generations, 4, (uint64_t)flips / 2);
    assert_in_range(c.saves, 1, c.generations - 1);
}

static void a_flip_waits_for_the_push_under_way(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, CHECKED("10.0.0.1:1"));
    fixture_connect(f, 0);
    fixture_settle(&f->nodes[0]);
    fixture_push_text(f, CHECKED("10.0.0.1:1, 10.0.0.3:1"));
    assert_true(engine_is_busy(f->engine));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    for (int i = 0; i < 10; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_string_equal(state_of(f), "none");
    fixture_settle(&f->nodes[0]);
    assert_int_equal(f->reply->outcome, HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED);
    wait_state(f, "10.0.0.1:1 U, 10.0.0.3:1 ?");
    fixture_settle(&f->nodes[0]);
    assert_false(f->nodes[0].is_broken);
    assert_int_equal(f->nodes[0].generation, current(f)->generation);
}

static void a_push_keeps_the_health_of_what_stays(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, CHECKED("10.0.0.1:1, 10.0.0.2:1"));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.1:1 U, 10.0.0.2:1 ?");
    uint64_t before = generations(f);
    fixture_push_text(f, CHECKED("10.0.0.1:1, 10.0.0.9:1"));
    assert_string_equal(state_of(f), "10.0.0.1:1 U, 10.0.0.9:1 ?"); /* with the version itself */
    assert_int_equal(generations(f), before);
    fixture_rollback(f, 0);
    assert_string_equal(state_of(f), "10.0.0.1:1 U, 10.0.0.2:1 ?");
}

static void a_restart_starts_from_what_was_known(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, CHECKED("10.0.0.1:1, 10.0.0.2:1"));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    flip("10.0.0.2:1", HEALTH(HEALTHY));
    wait_state(f, "10.0.0.1:1 U, 10.0.0.2:1 H");
    fake.count = 0; /* a new checker knows nothing */
    reopen(f);
    assert_string_equal(state_of(f), "10.0.0.1:1 U, 10.0.0.2:1 H");
    flip("10.0.0.2:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.1:1 U, 10.0.0.2:1 U");
    flip("10.0.0.1:1", HEALTH(HEALTHY));
    wait_state(f, "10.0.0.1:1 H, 10.0.0.2:1 U");
}

/* It is stored a second after the change, while everything else goes on, not only when the engine is stopped. */
static void a_change_is_stored_before_the_end(void **state) {
    struct fixture *f = *state;
    struct engine_endpoint_counters c;
    struct error_list errors = {0};
    fixture_push_text(f, CHECKED("10.0.0.1:1, 10.0.0.2:1"));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.1:1 U, 10.0.0.2:1 ?");
    do {
        ev_run(f->loop, EVRUN_ONCE);
        engine_endpoint_counters(f->engine, &c);
    } while (c.saves == 0);
    flip("10.0.0.2:1", HEALTH(HEALTHY)); /* meanwhile: not in what is being stored */
    wait_state(f, "10.0.0.1:1 U, 10.0.0.2:1 H");
    fake.count = 0;
    engine_destroy(f->engine); /* without a stop */
    f->engine = fixture_open(f, &errors);
    assert_non_null(f->engine);
    assert_string_equal(state_of(f), "10.0.0.1:1 U, 10.0.0.2:1 ?");
}

static void what_leaves_the_intent_takes_its_state_along(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, CHECKED("10.0.0.1:1"));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.1:1 U");
    fixture_push_text(f, "clusters: [{name: web, endpoints: ['10.0.0.1:1']}]\n");
    assert_string_equal(state_of(f), "none");
    assert_string_equal(fake.watched, "none");
    fixture_push_text(f, CHECKED("10.0.0.1:1"));
    assert_string_equal(state_of(f), "10.0.0.1:1 U");
    fixture_push_text(f, "clusters: []\n");
    assert_string_equal(state_of(f), "none");
    flip("10.0.0.1:1", HEALTH(HEALTHY)); /* too late */
    for (int i = 0; i < 5; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_string_equal(state_of(f), "none");
}

/* Until then the checks are those that there were. */
static void checks_that_cannot_be_set_are_tried_again(void **state) {
    struct fixture *f = *state;
    fixture_push_text(f, CHECKED("10.0.0.1:1"));
    assert_string_equal(fake.watched, "10.0.0.1:1 ");
    fake.refusals = 2;
    fixture_push_text(f, CHECKED("10.0.0.2:1"));
    assert_string_equal(fake.watched, "10.0.0.1:1 ");
    while (fake.refusals > 0 || strcmp(fake.watched, "10.0.0.2:1 ") != 0)
        ev_run(f->loop, EVRUN_ONCE);
    fake.refusals = 1;
    fixture_push_text(f, CHECKED("10.0.0.3:1"));
    fixture_push_text(f, "clusters: [{name: web, endpoints: ['10.0.0.3:1']}]\n");
    ev_sleep(1.1); /* longer than it waits to try again */
    for (int i = 0; i < 5; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_string_equal(fake.watched, "none");
}

static void last_failures_are_shown(void **state) {
    struct fixture *f = *state;
    uint64_t at = 0;
    fixture_push_text(f, CHECKED("10.0.0.1:1"));
    assert_null(engine_health_failure(f->engine, "web", "10.0.0.1:1", &at));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    assert_string_equal(engine_health_failure(f->engine, "web", "10.0.0.1:1", &at), "connection refused");
    assert_int_equal(at, 7);
}

/* ---- discovery ---- */

static const char *write_file(const struct fixture *f, const char *name, const char *text) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s.yaml", f->folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *write_list(const struct fixture *f, const char *text) {
    return write_file(f, "list", text);
}

static void push_file_cluster(struct fixture *f, const char *path) {
    char yaml[512];
    snprintf(yaml, sizeof yaml,
             "clusters: [{name: web, discovery: {file: %s}, health: {tcp: {}}, endpoints: ['10.0.0.9:9']}]\n", path);
    fixture_push_text(f, yaml);
}

static void found_endpoints_replace_declared_ones_and_survive(void **state) {
    struct fixture *f = *state;
    struct source_state source;
    push_file_cluster(f, write_list(f, "[10.0.0.2:1, 10.0.0.1:1]"));
    assert_string_equal(state_of(f), "none"); /* what is declared counts until then */
    wait_state(f, "10.0.0.2:1 ?, 10.0.0.1:1 ?"); /* in the order of the file */
    assert_string_equal(fake.watched, "10.0.0.2:1 10.0.0.1:1 ");
    assert_true(engine_cluster_source(f->engine, "web", &source));
    assert_string_equal(source.kind, "file");
    assert_int_equal(source.endpoints, 2);
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.2:1 ?, 10.0.0.1:1 U");
    fake.count = 0;
    write_list(f, "nonsense");
    reopen(f);
    assert_string_equal(fake.watched, "10.0.0.2:1 10.0.0.1:1 ");
    do
        ev_run(f->loop, EVRUN_ONCE);
    while (engine_cluster_source(f->engine, "web", &source) && !source.failure[0]);
    assert_string_equal(state_of(f), "10.0.0.2:1 ?, 10.0.0.1:1 U");
    assert_non_null(strstr(source.failure, "list.yaml:1:1"));
    write_list(f, "[]");
    wait_state(f, "");
}

static void another_source_keeps_the_endpoints_until_it_answers(void **state) {
    struct fixture *f = *state;
    push_file_cluster(f, write_list(f, "[10.0.0.2:1]"));
    wait_state(f, "10.0.0.2:1 ?");
    push_file_cluster(f, "/nonexistent/headgate/list.yaml");
    assert_string_equal(state_of(f), "10.0.0.2:1 ?");
    for (int i = 0; i < 5; i++)
        ev_run(f->loop, EVRUN_NOWAIT);
    assert_string_equal(state_of(f), "10.0.0.2:1 ?");
    fixture_push_text(f, CHECKED("10.0.0.9:9"));
    assert_string_equal(state_of(f), "none");
}

/* "web" has a table of 1,009 entries for all of its endpoints, and one for each value of the key "shard". */
static void push_bounded(struct fixture *f, const char *list, const char *other, unsigned bound) {
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "clusters:\n"
             "  - {name: web, discovery: {file: %s}, balancer: maglev,\n"
             "     balancing: {table-size: 1009, max-table-entries: %u, subsets: [{keys: [shard]}]}}\n"
             "  - {name: other, discovery: {file: %s}}\n", list, bound, other);
    fixture_push_text(f, yaml);
    assert_int_equal(f->reply->outcome, HEADGATE__PUSH_REPLY__OUTCOME__STORED);
}

#define SHARD(address, value) "{address: '" address "', metadata: {shard: " value "}}"

/* With it data planes would refuse all, the endpoints of other clusters too. */
static void more_than_data_planes_take_is_not_used(void **state) {
    struct fixture *f = *state;
    struct source_state source;
    char list[128], other[128];
    snprintf(list, sizeof list, "%s", write_file(f, "list", "[" SHARD("10.0.0.1:1", "a") "]"));
    snprintf(other, sizeof other, "%s", write_file(f, "other", "[10.0.1.1:1]"));
    push_bounded(f, list, other, 2 * 1009);
    wait_state(f, "10.0.0.1:1 ?");
    write_file(f, "list", "[" SHARD("10.0.0.1:1", "a") ", " SHARD("10.0.0.2:1", "b") "]");
    do
        ev_run(f->loop, EVRUN_ONCE);
    while (engine_cluster_source(f->engine, "web", &source) && source.endpoints != 2);
    assert_non_null(strstr(source.failure, "3027 entries"));
    write_file(f, "other", "[10.0.1.2:1]");
    while (strcmp(state_of_cluster(f, "other"), "10.0.1.2:1 ?") != 0)
        ev_run(f->loop, EVRUN_ONCE);
    assert_string_equal(state_of(f), "10.0.0.1:1 ?");
    push_bounded(f, list, other, 3 * 1009); /* with this it is used */
    wait_state(f, "10.0.0.1:1 ?, 10.0.0.2:1 ?");
    assert_true(engine_cluster_source(f->engine, "web", &source));
    assert_string_equal(source.failure, "");
}

/* A push with checks and discovery with the nth allocation failing, for every n: each ends with a reply, and what is served
 * after one that worked is what it says. */
static void pushes_survive_failing_allocations(void **state) {
    struct fixture *f = *state;
    char yaml[512], expected[128];
    bool is_done = false;
    fixture_push_text(f, CHECKED("10.0.0.1:1"));
    flip("10.0.0.1:1", HEALTH(UNHEALTHY));
    wait_state(f, "10.0.0.1:1 U");
    for (long nth = 0; !is_done; nth++) {
        int replies = f->replies;
        uint64_t version = current(f)->version;
        snprintf(yaml, sizeof yaml,
                 "clusters:\n  - {name: web, health: {tcp: {}}, endpoints: ['10.0.0.1:1', '10.0.0.2:%ld']}\n"
                 "  - {name: other, discovery: {file: /nonexistent/headgate}, endpoints: ['10.0.0.1:%ld']}\n",
                 nth % 60000 + 1, nth % 60000 + 1);
        hg_alloc_fail_at(nth, 0);
        fixture_push_text(f, yaml);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(f->replies, replies + 1);
        assert_true(nth < 20000);
        if (current(f)->version == version)
            continue;
        snprintf(expected, sizeof expected, "10.0.0.1:1 U, 10.0.0.2:%ld ?", nth % 60000 + 1);
        assert_string_equal(state_of(f), expected);
        is_done = f->reply && f->reply->outcome == HEADGATE__PUSH_REPLY__OUTCOME__STORED && nth > 1000;
    }
}

/* The push is done with, and one cluster of it could not be followed for want of memory. */
static void push_until_a_source_is_missing(struct fixture *f) {
    struct source_state source;
    char yaml[512];
    bool is_missing = false;
    for (long nth = 0; !is_missing; nth++) {
        uint64_t version = current(f)->version;
        snprintf(yaml, sizeof yaml, "clusters: [{name: web, discovery: {file: %s/%slist.yaml}}]\n", f->folder,
                 nth % 2 ? "./" : "");
        hg_alloc_fail_at(nth, 0);
        fixture_push_text(f, yaml);
        hg_alloc_fail_at(-1, 0);
        assert_true(nth < 20000);
        is_missing = current(f)->version != version && !engine_cluster_source(f->engine, "web", &source);
    }
}

static void a_cluster_that_cannot_be_followed_is_tried_again(void **state) {
    struct fixture *f = *state;
    push_file_cluster(f, write_list(f, "[10.0.0.1:1]"));
    wait_state(f, "10.0.0.1:1 ?");
    push_until_a_source_is_missing(f);
    write_list(f, "[10.0.0.2:1]");
    wait_state(f, "10.0.0.2:1 ?");
}

/* ---- one set ---- */

static Headgate__Endpoint__Health always_healthy(void *context, const char *address) {
    (void)context;
    return strcmp(address, "unknown") == 0 ? HEALTH(UNKNOWN) : HEALTH(HEALTHY);
}

static Headgate__EndpointSet *make_base(Headgate__Endpoint list[3], Headgate__Endpoint *pointers[3],
                                        Headgate__EndpointSet *set) {
    static const char *const names[] = {"a", "b", "unknown"};
    headgate__endpoint_set__init(set);
    for (int i = 0; i < 3; i++) {
        headgate__endpoint__init(&list[i]);
        list[i].address = (char *)names[i];
        pointers[i] = &list[i];
    }
    list[1].has_health = true;
    list[1].health = HEALTH(DRAINING);
    set->n_endpoints = 3;
    set->endpoints = pointers;
    return set;
}

static void draining_endpoints_stay_so_and_memory_may_run_out(void **state) {
    Headgate__Endpoint list[3], *pointers[3], old = HEADGATE__ENDPOINT__INIT, *olds[] = {&old};
    Headgate__EndpointSet base, before = HEADGATE__ENDPOINT_SET__INIT;
    const struct effective_health health = {always_healthy, NULL};
    (void)state;
    make_base(list, pointers, &base);
    old.address = (char *)"unknown";
    old.has_health = true;
    old.health = HEALTH(UNHEALTHY);
    before.n_endpoints = 1;
    before.endpoints = olds;
    uint8_t packed[64];
    const struct str old_bytes = {(const char *)packed, headgate__endpoint_set__pack(&before, packed)};
    for (long nth = 0;; nth++) {
        struct arena arena = {0};
        struct str bytes;
        hg_alloc_fail_at(nth, 0);
        int status = effective_encode(&base, &health, old_bytes, &arena, &bytes);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(list[0].health, HEALTH(UNKNOWN)); /* the base is not touched */
        if (status == 0) {
            Headgate__EndpointSet *set = headgate__endpoint_set__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
            assert_int_equal(set->endpoints[0]->health, HEALTH(HEALTHY));
            assert_int_equal(set->endpoints[1]->health, HEALTH(DRAINING));
            assert_int_equal(set->endpoints[2]->health, HEALTH(UNHEALTHY));
            headgate__endpoint_set__free_unpacked(set, NULL);
            arena_finish(&arena);
            assert_true(nth > 0);
            return;
        }
        arena_finish(&arena);
    }
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_flip_is_a_generation_and_no_version),
        TEST(what_flaps_goes_out_together_and_is_stored_once),
        TEST(a_flip_waits_for_the_push_under_way),
        TEST(a_push_keeps_the_health_of_what_stays),
        TEST(a_restart_starts_from_what_was_known),
        TEST(a_change_is_stored_before_the_end),
        TEST(what_leaves_the_intent_takes_its_state_along),
        TEST(checks_that_cannot_be_set_are_tried_again),
        TEST(last_failures_are_shown),
        TEST(found_endpoints_replace_declared_ones_and_survive),
        TEST(another_source_keeps_the_endpoints_until_it_answers),
        TEST(more_than_data_planes_take_is_not_used),
        TEST(pushes_survive_failing_allocations),
        TEST(a_cluster_that_cannot_be_followed_is_tried_again),
        cmocka_unit_test(draining_endpoints_stay_so_and_memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
