/* What an endpoint answers, and what is made of it: HTTP/1.1 and plain TCP. labels: threads */
#include "tests/unit/controlplane/health/checked.h"

static int setup(void **state) {
    *state = checked_create();
    return 0;
}

static int teardown(void **state) {
    checked_destroy(*state);
    return 0;
}

static void test_well(void **state) {
    struct checked *c = *state;
    expect_healthy(c, false);
    assert_string_equal(c->server.last, "GET / HTTP/1.1\r\nHost: c\r\nUser-Agent: headgate-health\r\n\r\n");
}

static void test_request(void **state) {
    struct checked *c = *state;
    Headgate__HeaderField one = HEADGATE__HEADER_FIELD__INIT, two = one, not_sent = one;
    Headgate__HeaderField *headers[] = {&one, &not_sent, &two};
    not_sent.name = (char *)(uintptr_t)"Host";
    not_sent.value = (char *)(uintptr_t)"evil.test";
    one.name = (char *)(uintptr_t)"X-Check";
    one.value = (char *)(uintptr_t)"1";
    two.name = (char *)(uintptr_t)"User-Agent";
    two.value = (char *)(uintptr_t)"probe";
    c->http.method = (char *)(uintptr_t)"POST";
    c->http.path = (char *)(uintptr_t)"/healthz?a=b";
    c->http.headers = headers;
    c->http.n_headers = 3;
    expect_healthy(c, true);
    assert_string_equal(c->server.last, "POST /healthz?a=b HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n"
                                        "X-Check: 1\r\nUser-Agent: probe\r\n\r\n");
    c->http.host = (char *)(uintptr_t)"other.test";
    c->server.requests = 0;
    checked_one(c, true);
    RUN_UNTIL(c, strstr(c->server.last, "Host: other.test\r\n"));
}

struct answer_case {
    const char *response, *reason;      /* reason NULL: well */
};

static void test_responses(void **state) {
    static const struct answer_case cases[] = {
        {"HTTP/1.1 204 No Content\r\n\r\n", NULL},
        {"HTTP/1.0 200 OK\r\n\r\nuntil the end", NULL},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n", NULL},
        {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503, expected 200 to 299"},
        {"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "status 302, expected 200 to 299"},
        {"SSH-2.0-OpenSSH_9.2\r\n", "not an answer of HTTP/1.1"},
        {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "a line that does not end in CR LF"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "Content-Length beside Transfer-Encoding"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n", "a Content-Length that is not one number"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "closed in the middle of its answer"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a malformed chunk"},
        {"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n", "a malformed header"},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101, which nobody asked for"},
    };
    struct checked *c = *state;
    c->server.closes = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        c->server.response = cases[i].response;
        assert_int_equal(health_set_cluster(c->health, "c", NULL, NULL, &c->errors), 0);
        if (cases[i].reason)
            expect_unhealthy(c, false, cases[i].reason);
        else
            expect_healthy(c, false);
    }
}

static void test_statuses(void **state) {
    struct checked *c = *state;
    uint32_t statuses[] = {204, 301, 403};
    c->http.statuses = statuses;
    c->http.n_statuses = 3;
    expect_unhealthy(c, false, "status 200, expected 204, 301 or 403");
    c->server.response = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    RUN_UNTIL(c, c->changes[c->count - 1].health == HEALTHY);
}

static void test_body(void **state) {
    struct checked *c = *state;
    c->http.body_contains = (char *)(uintptr_t)"all is well";
    c->server.response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n6\r\n well!\r\n0\r\n\r\n";
    expect_healthy(c, false);
    c->server.response = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall";
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "the body does not contain \"all is well\"");
}

static void test_expected_headers(void **state) {
    struct checked *c = *state;
    Headgate__HeaderField one = HEADGATE__HEADER_FIELD__INIT, two = HEADGATE__HEADER_FIELD__INIT;
    Headgate__HeaderField *headers[] = {&one, &two};
    one.name = (char *)(uintptr_t)"X-State";
    one.value = (char *)(uintptr_t)"up";
    two.name = (char *)(uintptr_t)"X-Any";
    c->http.expect_headers = headers;
    c->http.n_expect_headers = 2;
    c->server.response = "HTTP/1.1 200 OK\r\nx-state:  up \r\nX-ANY: \r\nContent-Length: 0\r\n\r\n";
    expect_healthy(c, false);
    c->server.response = "HTTP/1.1 200 OK\r\nX-State: down\r\nX-Any: 1\r\nContent-Length: 0\r\n\r\n";
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "header X-State is not \"up\"");
    c->server.response = "HTTP/1.1 200 OK\r\nX-State: up\r\nContent-Length: 0\r\n\r\n";
    uint64_t at;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", c->server.port);
    RUN_UNTIL(c, strcmp(health_last_failure(c->health, "c", address, &at), "no header X-Any") == 0);
}

static void test_head(void **state) {
    struct checked *c = *state;
    c->http.method = (char *)(uintptr_t)"HEAD";
    c->server.response = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    expect_healthy(c, false);
    RUN_UNTIL(c, c->server.requests > 3);
    assert_int_equal(c->server.accepted, 1);
}

static void test_silence(void **state) {
    struct checked *c = *state;
    c->server.response = NULL;
    c->check.timeout = 100000;
    expect_unhealthy(c, false, "no answer within 100ms");
    RUN_UNTIL(c, health_counters(c->health)->timeouts >= 1);
}

static void test_drip(void **state) {
    struct checked *c = *state;
    c->server.drips = true;
    c->check.timeout = 200000;
    expect_unhealthy(c, false, "no answer within 200ms");
}

static void test_reset(void **state) {
    struct checked *c = *state;
    c->server.response = NULL;
    c->server.resets = true;
    expect_unhealthy(c, false, "connection reset");
}

static void test_closed(void **state) {
    struct checked *c = *state;
    c->server.response = NULL;
    c->server.closes = true;
    expect_unhealthy(c, false, "closed without an answer");
}

static void test_refused(void **state) {
    struct checked *c = *state;
    server_stop(&c->server);
    expect_unhealthy(c, false, "connection refused");
}

/* What comes beyond 64 KiB is not read, and decides nothing. */
static void test_huge_body(void **state) {
    struct checked *c = *state;
    size_t n = 300000;
    char *huge = malloc(n + 1);
    assert_non_null(huge);
    memset(huge, 'x', n);
    huge[n] = '\0';
    memcpy(huge, "HTTP/1.1 200 OK\r\n\r\n", 19);
    c->server.response = huge;
    expect_healthy(c, false);
    c->http.body_contains = (char *)(uintptr_t)"y";
    checked_one(c, false);
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "the body does not contain \"y\" in its first 64 KiB");
    health_destroy(c->health);
    c->health = NULL;
    free(huge);
}

static void test_huge_head(void **state) {
    struct checked *c = *state;
    size_t n = 20000;
    char *huge = malloc(n + 1);
    assert_non_null(huge);
    memset(huge, 'x', n);
    huge[n] = '\0';
    memcpy(huge, "HTTP/1.1 200 OK\r\nA: ", 20);
    c->server.response = huge;
    expect_unhealthy(c, false, "headers that are too long");
    health_destroy(c->health);
    c->health = NULL;
    free(huge);
}

/* ---- TCP ---- */

static void use_tcp(struct checked *c, const char *send, const char *expect) {
    c->check.kind_case = HEADGATE__HEALTH_CHECK__KIND_TCP;
    c->check.tcp = &c->tcp;
    c->tcp.has_send = send != NULL;
    c->tcp.send = (ProtobufCBinaryData){send ? strlen(send) : 0, (uint8_t *)(uintptr_t)send};
    c->tcp.has_expect = expect != NULL;
    c->tcp.expect = (ProtobufCBinaryData){expect ? strlen(expect) : 0, (uint8_t *)(uintptr_t)expect};
}

static void test_tcp_connect(void **state) {
    struct checked *c = *state;
    use_tcp(c, NULL, NULL);
    expect_healthy(c, false);
    RUN_UNTIL(c, c->server.accepted > 1);
    assert_int_equal(c->server.requests, 0);
    server_stop(&c->server);
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "connection refused");
}

static void test_tcp_expect(void **state) {
    struct checked *c = *state;
    use_tcp(c, "PING\n", "+PONG");
    c->server.response = "hello +PONG\n";
    expect_healthy(c, false);
    assert_string_equal(c->server.last, "PING\n");
    c->server.response = "-LOADING\n";
    c->server.closes = true;
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "closed before what was expected");
}

static void test_tcp_banner(void **state) {
    struct checked *c = *state;
    use_tcp(c, NULL, "220 ");
    c->server.response = "220 mail.test\r\n";
    c->server.speaks_first = true;
    expect_healthy(c, false);
}

/* ---- where ---- */

static void test_unix(void **state) {
    struct checked *c = *state;
    struct server other = {.response = c->server.response};
    struct address at;
    char text[64];
    snprintf(text, sizeof text, "unix:@headgate-health-%d", (int)getpid());
    assert_int_equal(address_parse(str_of(text), &at), 0);
    server_listen(&other, c->loop, &at);
    const char *addresses[] = {text, "unix:/nowhere/at/all.sock", "not an address"};
    assert_int_equal(checked_try(c, addresses, 3, false), 0);
    RUN_UNTIL(c, c->count == 2);
    assert_int_equal(health_of(c->health, "c", text), HEALTHY);
    assert_int_equal(health_of(c->health, "c", addresses[1]), UNHEALTHY);
    assert_int_equal(health_of(c->health, "c", addresses[2]), UNKNOWN);
    uint64_t at_us;
    assert_string_equal(health_last_failure(c->health, "c", addresses[1], &at_us), "there is no such socket");
    health_destroy(c->health);
    c->health = NULL;
    server_stop(&other);
}

static void test_port(void **state) {
    struct checked *c = *state;
    const char *addresses[] = {"127.0.0.1:1"};
    c->check.has_port = true;
    c->check.port = c->server.port;
    assert_int_equal(checked_try(c, addresses, 1, false), 0);
    RUN_UNTIL(c, c->count == 1);
    assert_int_equal(c->changes[0].health, HEALTHY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_well), TEST(test_request), TEST(test_responses), TEST(test_statuses), TEST(test_body),
        TEST(test_expected_headers), TEST(test_head), TEST(test_silence), TEST(test_drip), TEST(test_reset),
        TEST(test_closed), TEST(test_refused), TEST(test_huge_body), TEST(test_huge_head), TEST(test_tcp_connect),
        TEST(test_tcp_expect), TEST(test_tcp_banner), TEST(test_unix), TEST(test_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
