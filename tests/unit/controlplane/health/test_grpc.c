/* The health protocol of gRPC, and HTTP checks over HTTP/2, with a server of nghttp2 and one of grpcio. labels: threads */
#include "tests/unit/controlplane/health/http2_server.h"
#include "tests/unit/controlplane/health/tls_material.h"
#include "tests/unit/controlplane/rpc/grpcio.h"

#define SERVING "\0\0\0\0\2\x08\1"
#define NOT_SERVING "\0\0\0\0\2\x08\2"

struct grpc_fixture {
    struct checked     *c;
    struct http2_server server;
};

static void answer(struct grpc_fixture *f, const char *content, size_t n, const char *grpc_status) {
    f->server.status = "200";
    f->server.content = content;
    f->server.content_n = n;
    f->server.grpc_status = grpc_status;
}

static int setup(void **state) {
    struct grpc_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->c = checked_create();
    f->c->check.kind_case = HEADGATE__HEALTH_CHECK__KIND_GRPC;
    f->c->check.grpc = &f->c->grpc;
    http2_server_start(&f->server, &f->c->server);
    answer(f, SERVING, 7, "0");
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct grpc_fixture *f = *state;
    health_destroy(f->c->health);
    f->c->health = NULL;
    http2_server_stop(&f->server);
    SSL_CTX_free(f->server.tls);
    free((void *)(uintptr_t)f->c->trust.p);
    checked_destroy(f->c);
    free(f);
    return 0;
}

static void test_serving(void **state) {
    struct grpc_fixture *f = *state;
    f->c->grpc.service = (char *)(uintptr_t)"shop";
    expect_healthy(f->c, true);
    assert_string_equal(f->server.path, "/grpc.health.v1.Health/Check");
    assert_string_equal(f->server.authority, "site.test");
    assert_int_equal(f->server.body_n, 11);
    assert_memory_equal(f->server.body, "\0\0\0\0\6\x0a\4shop", 11);
    RUN_UNTIL(f->c, f->server.requests >= 10);
    assert_int_equal(f->server.accepted, 1);
}

struct grpc_case {
    const char *content;
    size_t      n;
    const char *status, *grpc_status, *reason;
};

static void test_answers(void **state) {
    static const struct grpc_case cases[] = {
        {NOT_SERVING, 7, "200", "0", "the server says NOT_SERVING"},
        {"\0\0\0\0\0", 5, "200", "0", "the server says UNKNOWN"},
        {"\0\0\0\0\2\x08\3", 7, "200", "0", "the server says SERVICE_UNKNOWN"},
        {"\0\0\0\0\2\x08\x63", 7, "200", "0", "the server says something unknown"},
        {NULL, 0, "200", "12", "the server does not implement grpc.health.v1.Health"},
        {NULL, 0, "200", "5", "the server does not know the service"},
        {NULL, 0, "200", "14", "gRPC status 14"},
        {SERVING, 7, "200", NULL, "an answer without grpc-status"},
        {SERVING, 7, "503", "0", "HTTP status 503 instead of an answer of gRPC"},
        {"\1\0\0\0\2\x08\1", 7, "200", "0", "not a message of grpc.health.v1.Health"},
        {"\0\0\0\0\3\x08\1", 7, "200", "0", "not a message of grpc.health.v1.Health"},
        {"\0\0\0\0\2\xff\xff", 7, "200", "0", "not a message of grpc.health.v1.Health"},
        {"\0\0", 2, "200", "0", "not a message of grpc.health.v1.Health"},
    };
    struct grpc_fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answer(f, cases[i].content, cases[i].n, cases[i].grpc_status);
        f->server.status = cases[i].status;
        assert_int_equal(health_set_cluster(f->c->health, "c", NULL, NULL, &f->c->errors), 0);
        expect_unhealthy(f->c, false, cases[i].reason);
    }
    answer(f, SERVING, 7, "0");
    RUN_UNTIL(f->c, f->c->changes[f->c->count - 1].health == HEALTHY);
}

/* A server that goes away between two checks, or refuses a stream of a kept connection, is asked anew on another one. */
static void test_going_away(void **state) {
    struct grpc_fixture *f = *state;
    f->server.goes_away = true;
    expect_healthy(f->c, false);
    RUN_UNTIL(f->c, f->server.requests >= 5);
    assert_true(f->server.accepted >= 4);
    f->server.goes_away = false;
    unsigned before = f->server.requests;
    RUN_UNTIL(f->c, f->server.requests >= before + 3);
    assert_int_equal(f->c->count, 1);
    f->server.reset = NGHTTP2_REFUSED_STREAM; /* also on the new one: that is a failure */
    RUN_UNTIL(f->c, f->c->changes[f->c->count - 1].health == UNHEALTHY);
    assert_string_equal(f->c->changes[f->c->count - 1].reason, "stream reset: REFUSED_STREAM");
}

static void test_silence(void **state) {
    struct grpc_fixture *f = *state;
    f->server.is_silent = true;
    f->c->check.timeout = 100000;
    expect_unhealthy(f->c, false, "no answer within 100ms");
}

static void test_not_http2(void **state) {
    struct grpc_fixture *f = *state;
    f->server.answers_text = true;
    expect_unhealthy(f->c, false, "not an answer of HTTP/2");
}

static void test_over_tls(void **state) {
    struct grpc_fixture *f = *state;
    struct material authority = material_make("authority", NULL, 86400);
    struct material site = material_make("site.test", &authority, 86400);
    f->server.tls = material_server(&site);
    f->c->trust = material_trust(&authority);
    f->c->way.tls = &f->c->tls;
    expect_healthy(f->c, true);
    RUN_UNTIL(f->c, f->server.requests >= 5);
    assert_int_equal(f->server.accepted, 1);
    SSL_CTX_set_alpn_select_cb(f->server.tls, NULL, NULL); /* it no longer agrees to HTTP/2 */
    assert_int_equal(health_set_cluster(f->c->health, "c", NULL, NULL, &f->c->errors), 0);
    expect_unhealthy(f->c, true, "the server does not agree to HTTP/2");
    material_finish(&authority);
    material_finish(&site);
}

/* An HTTP check of a cluster that speaks HTTP/2. */
static void test_http(void **state) {
    struct grpc_fixture *f = *state;
    struct checked *c = f->c;
    c->check.kind_case = HEADGATE__HEALTH_CHECK__KIND_HTTP;
    c->check.http = &c->http;
    c->way.protocol = HEADGATE__CLUSTER__PROTOCOL__HTTP2;
    c->http.path = (char *)(uintptr_t)"/healthz";
    c->http.body_contains = (char *)(uintptr_t)"fine";
    answer(f, "all is fine", 11, NULL);
    expect_healthy(c, true);
    assert_string_equal(f->server.path, "/healthz");
    answer(f, "all is lost", 11, NULL);
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "the body does not contain \"fine\"");
    f->server.status = "500";
    uint64_t at;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", f->server.port);
    RUN_UNTIL(c, strcmp(health_last_failure(c->health, "c", address, &at), "status 500, expected 200 to 299") == 0);
}

static void test_no_memory(void **state) {
    struct grpc_fixture *f = *state;
    struct checked *c = f->c;
    c->check.interval = c->check.unhealthy_interval = 5000;
    expect_healthy(c, false);
    for (unsigned i = 0; i < 60; i++) {
        unsigned before = f->server.requests;
        uint64_t put_off = health_counters(c->health)->put_off;
        hg_alloc_fail_at((long)i % 30, 0);
        RUN_UNTIL(c, f->server.requests > before || health_counters(c->health)->put_off > put_off);
        hg_alloc_fail_at(-1, 0);
    }
    if (c->count > 1)
        fail_msg("unhealthy: %s", c->changes[1].reason);
}

/* ---- a server that is not ours ---- */

static struct grpcio start_grpcio(const char *option) {
    const char *const arguments[] = {"python3", "tests/unit/controlplane/health/grpc_health_server.py", option, NULL};
    return grpcio_start(arguments);
}

static void expect_of_grpcio(struct checked *c, const struct grpcio *g, const char *service, const char *reason) {
    char address[32];
    const char *addresses[] = {address};
    snprintf(address, sizeof address, "127.0.0.1:%u", g->port);
    c->grpc.service = (char *)(uintptr_t)service;
    assert_int_equal(health_set_cluster(c->health, "c", NULL, NULL, &c->errors), 0);
    assert_int_equal(checked_try(c, addresses, 1, false), 0);
    size_t before = c->count;
    RUN_UNTIL(c, c->count > before);
    assert_string_equal(c->changes[before].reason, reason);
    assert_int_equal(c->changes[before].health, *reason ? UNHEALTHY : HEALTHY);
}

static void test_grpcio(void **state) {
    struct grpc_fixture *f = *state;
    struct grpcio g = start_grpcio(NULL);
    expect_of_grpcio(f->c, &g, NULL, "");
    expect_of_grpcio(f->c, &g, "up", "");
    expect_of_grpcio(f->c, &g, "down", "the server says NOT_SERVING");
    expect_of_grpcio(f->c, &g, "nobody", "the server does not know the service");
    grpcio_stop(&g);
    g = start_grpcio("--without-health");
    expect_of_grpcio(f->c, &g, NULL, "the server does not implement grpc.health.v1.Health");
    grpcio_stop(&g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_serving), TEST(test_answers), TEST(test_going_away), TEST(test_silence), TEST(test_not_http2),
        TEST(test_over_tls), TEST(test_http), TEST(test_no_memory), TEST(test_grpcio),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
