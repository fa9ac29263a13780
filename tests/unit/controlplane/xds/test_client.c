/* The client of management servers against servers by grpcio: every form, TLS, servers that are down, that go away, that are
 * slow, that break the protocol; fallback to the next and back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/xds/client.h"
#include "tests/unit/controlplane/health/tls_material.h"
#include "tests/unit/controlplane/rpc/grpcio.h"

enum { CLUSTERS, ENDPOINTS, DAY = 86400, PEERS = 2, MILLISECOND = 1000 };

struct fixture {
    struct ev_loop *ev;
    struct rpc_loop loop;
    struct grpcio peers[PEERS];
    struct xds_bootstrap bootstrap;
    struct xds_options options;
    struct xds_client *client;
    struct error_list errors, warnings;
    char folder[64];
    /* What the owner has seen. */
    struct xds_protocol *used;
    char server[64];
    int uses, copies;
    char asked[8][16];      /* names of endpoint sets that are wanted */
    int asked_count;
};

#define RUN_UNTIL(f, condition) \
    while (!(condition))        \
    ev_run((f)->ev, EVRUN_ONCE)

/* ---- the owner ---- */

static enum xds_verdict judge(void *context, size_t type, struct str name, struct str bytes, struct strbuf *reasons) {
    (void)context, (void)type, (void)name, (void)bytes, (void)reasons;
    return XDS_VALID;
}

static enum xds_result add_types(void *context, struct xds_protocol *p) {
    const struct xds_type_options clusters = {
        STR("type.googleapis.com/envoy.config.cluster.v3.Cluster"), true, false, false};
    const struct xds_type_options endpoints = {
        STR("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"), false, false, false};
    size_t type;
    (void)context;
    enum xds_result result = xds_protocol_add_type(p, &clusters, &type);
    return result == XDS_OK ? xds_protocol_add_type(p, &endpoints, &type) : result;
}

static void want(struct fixture *f, const char *name) {
    snprintf(f->asked[f->asked_count++], sizeof f->asked[0], "%s", name);
    if (f->used)
        xds_protocol_subscribe(f->used, ENDPOINTS, str_of(name));
}

static void use(void *context, struct xds_protocol *p, const char *server, uint64_t now) {
    struct fixture *f = context;
    (void)now;
    f->used = p;
    f->uses++;
    snprintf(f->server, sizeof f->server, "%s", server);
    xds_protocol_subscribe(p, CLUSTERS, STR("*"));
    for (int i = 0; i < f->asked_count; i++)
        xds_protocol_subscribe(p, ENDPOINTS, str_of(f->asked[i]));
}

static void follow(void *context, uint64_t now) {
    struct fixture *f = context;
    unsigned news;
    (void)now;
    while (xds_protocol_take_news(f->used, &news))
        f->copies += (news & XDS_NEWS_COPY) != 0;
}

static uint64_t deadline(const void *context) {
    (void)context;
    return UINT64_MAX;
}

static bool has(const struct fixture *f, size_t type, const char *name) {
    const struct xds_resource *r = f->used ? xds_protocol_find(f->used, type, str_of(name)) : NULL;
    return r && r->copy;
}

static bool has_all(const struct fixture *f) {
    bool all = has(f, CLUSTERS, "a") && has(f, CLUSTERS, "b");
    for (int i = 0; i < f->asked_count; i++)
        all &= has(f, ENDPOINTS, f->asked[i]);
    return all;
}

static struct xds_server_status status_of(const struct fixture *f, size_t server) {
    struct xds_server_status s;
    xds_client_server_status(f->client, server, &s);
    return s;
}

/* ---- servers ---- */

static void serve(struct fixture *f, size_t number, const char *kind, const char *behaviour) {
    char port[16];
    const char *const arguments[] = {
        "python3", "tests/unit/controlplane/xds/xds_server.py", port, kind, f->folder, behaviour, NULL};
    snprintf(port, sizeof port, "%u", f->peers[number].port);
    f->peers[number] = grpcio_start(arguments);
}

/* A port where nobody listens until it is served. */
static void reserve(struct fixture *f, size_t number) {
    serve(f, number, "plain", "silent");
    grpcio_kill(&f->peers[number]);
}

/* ---- the fixture ---- */

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/headgate-xds-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->ev = ev_loop_new(EVFLAG_AUTO);
    assert_int_equal(rpc_loop_init(&f->loop, f->ev), 0);
    xds_options_defaults(&f->options);
    f->options.retry_wait = 20 * MILLISECOND;
    f->options.retry_wait_max = 50 * MILLISECOND;
    want(f, "e1");
    *state = f;
    return 0;
}

static void remove_folder(const struct fixture *f) {
    static const char *const names[] = {"ca.pem", "server.pem", "server.key", "ours.pem", "ours.key"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        unlink(path);
    }
    rmdir(f->folder);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->client)
        xds_client_stop(f->client);
    rpc_loop_finish(&f->loop);
    xds_client_destroy(f->client);
    xds_bootstrap_finish(&f->bootstrap);
    ev_loop_destroy(f->ev);
    for (size_t i = 0; i < PEERS; i++)
        grpcio_stop(&f->peers[i]);
    remove_folder(f);
    error_list_finish(&f->errors);
    error_list_finish(&f->warnings);
    test_free(f);
    return 0;
}

static void create(struct fixture *f, const char *credentials, size_t servers) {
    char text[1024];
    int n = snprintf(text, sizeof text, "{node: {id: gw}, xds_servers: [");
    for (size_t i = 0; i < servers; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "{server_uri: '127.0.0.1:%u', channel_creds: [%s]},",
                      f->peers[i].port, credentials);
    snprintf(text + n, sizeof text - (size_t)n, "]}");
    assert_int_equal(xds_bootstrap_parse("b", str_of(text), &f->bootstrap, &f->errors, &f->warnings), 0);
    for (size_t i = 0; i < servers; i++) /* what the certificate of the test is for; gRPC's form has no key for that */
        ((struct xds_server *)(uintptr_t)f->bootstrap.servers)[i].channel.server_name = "localhost";
}

static const struct xds_client_owner owner = {
    .judge = judge, .add_types = add_types, .use = use, .follow = follow, .deadline = deadline};

static struct xds_client *make(struct fixture *f) {
    struct xds_client_config config = {.rpc = &f->loop, .bootstrap = &f->bootstrap, .options = &f->options, .owner = owner};
    config.owner.context = f;
    return xds_client_create(&config, &f->errors);
}

static void start(struct fixture *f, const char *credentials, size_t servers) {
    create(f, credentials, servers);
    f->client = make(f);
    assert_non_null(f->client);
    xds_client_start(f->client);
}

#define PLAIN "{type: insecure}"

/* ---- one server ---- */

static void every_form(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "answer");
    create(f, PLAIN, 1);
    for (int i = 0; i < 4; i++) {
        f->bootstrap.form = i & 1 ? XDS_DELTA : XDS_STATE_OF_THE_WORLD;
        f->bootstrap.is_aggregated = i & 2;
        f->client = make(f);
        xds_client_start(f->client);
        RUN_UNTIL(f, has_all(f) && status_of(f, 0).counters.acks == 2);
        struct xds_server_status s = status_of(f, 0);
        assert_int_equal(s.state, XDS_SERVER_ANSWERING);
        assert_true(s.is_used && s.is_connected);
        assert_int_equal(s.streams_open, i & 2 ? 1 : 2);
        assert_int_equal(s.streams_failed, 0);
        assert_int_equal(s.counters.responses, 2);
        f->used = NULL;
        xds_client_destroy(f->client);
        f->client = NULL;
    }
}

/* What is wanted later is asked for on the same stream. */
static void what_is_wanted_later(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "answer");
    start(f, PLAIN, 1);
    RUN_UNTIL(f, has_all(f));
    want(f, "e2");
    xds_client_wake(f->client);
    RUN_UNTIL(f, has(f, ENDPOINTS, "e2"));
    assert_int_equal(status_of(f, 0).streams_opened, 1);
}

/* The server takes a name that was given up for one that it has sent, as some do: another stream brings it. */
static void what_is_wanted_again(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "answer");
    create(f, PLAIN, 1);
    f->bootstrap.resource_timeout = 100 * MILLISECOND;
    f->client = make(f);
    assert_non_null(f->client);
    xds_client_start(f->client);
    want(f, "e2");
    RUN_UNTIL(f, has_all(f) && status_of(f, 0).counters.acks >= 2);
    uint64_t requests = status_of(f, 0).counters.requests;
    xds_protocol_unsubscribe(f->used, ENDPOINTS, STR("e2"));
    xds_client_wake(f->client);
    RUN_UNTIL(f, status_of(f, 0).counters.requests > requests && !xds_protocol_find(f->used, ENDPOINTS, STR("e2")));
    xds_protocol_subscribe(f->used, ENDPOINTS, STR("e2"));
    xds_client_wake(f->client);
    RUN_UNTIL(f, has_all(f));
    assert_int_equal(status_of(f, 0).streams_opened, 2);
    assert_int_equal(status_of(f, 0).streams_failed, 0);
}

static void slow_answers(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "gate");
    start(f, PLAIN, 1);
    RUN_UNTIL(f, status_of(f, 0).is_connected);
    RUN_UNTIL(f, status_of(f, 0).counters.requests >= 1);
    assert_int_equal(status_of(f, 0).state, XDS_SERVER_CONNECTING);
    assert_int_equal(write(f->peers[0].in, "\n", 1), 1);
    RUN_UNTIL(f, has_all(f));
    assert_int_equal(status_of(f, 0).streams_opened, 1);
}

static void server_that_is_down_at_first(void **state) {
    struct fixture *f = *state;
    reserve(f, 0);
    start(f, PLAIN, 1);
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= 3);
    struct xds_server_status s = status_of(f, 0);
    assert_false(s.is_connected);
    assert_true(str_starts(s.error, STR("UNAVAILABLE: ")));
    assert_true(s.failed_at > 0);
    assert_int_equal(s.answered_at, 0);
    serve(f, 0, "plain", "answer");
    RUN_UNTIL(f, has_all(f));
    s = status_of(f, 0);
    assert_int_equal(s.state, XDS_SERVER_ANSWERING);
    assert_true(s.answered_at > 0);
    assert_int_equal(f->uses, 1);
}

static void server_that_goes_away_and_comes_again(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "answer");
    start(f, PLAIN, 1);
    RUN_UNTIL(f, has_all(f));
    grpcio_kill(&f->peers[0]);
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= 2);
    assert_int_equal(status_of(f, 0).state == XDS_SERVER_ANSWERING, 0);
    assert_true(has_all(f)); /* what was received is kept */
    uint64_t before = status_of(f, 0).counters.responses;
    serve(f, 0, "plain", "answer");
    RUN_UNTIL(f, status_of(f, 0).counters.responses >= before + 2);
    assert_int_equal(status_of(f, 0).state, XDS_SERVER_ANSWERING);
    assert_true(has_all(f));
}

static void server_that_refuses(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "refuse");
    start(f, PLAIN, 1);
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= 2);
    struct xds_server_status s = status_of(f, 0);
    assert_string_equal(s.error.p, "PERMISSION_DENIED: not today");
    assert_int_equal(s.counters.responses, 0);
}

/* The end of a stream after an answer is no failure (gRFC A57). */
static void streams_that_end_after_an_answer(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "once");
    start(f, PLAIN, 1);
    RUN_UNTIL(f, status_of(f, 0).streams_opened >= 3 && status_of(f, 0).counters.responses >= 3);
    assert_int_equal(status_of(f, 0).streams_failed, 0);
    assert_int_equal(status_of(f, 0).error.n, 0);
}

static void server_that_says_nonsense(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "garbage");
    start(f, PLAIN, 1);
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= 2);
    assert_string_equal(status_of(f, 0).error.p, "a response that cannot be decoded");
}

/* ---- several ---- */

static bool uses(const struct fixture *f, size_t number) {
    return status_of(f, number).is_used;
}

static void next_server_and_back(void **state) {
    struct fixture *f = *state;
    reserve(f, 0);
    serve(f, 1, "plain", "answer");
    start(f, PLAIN, 2);
    RUN_UNTIL(f, uses(f, 1) && has_all(f));
    assert_int_equal(status_of(f, 1).state, XDS_SERVER_ANSWERING);
    uint64_t failed = status_of(f, 0).streams_failed;
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= failed + 2); /* the first is tried on */
    serve(f, 0, "plain", "answer");
    RUN_UNTIL(f, uses(f, 0) && has_all(f));
    assert_int_equal(status_of(f, 1).state, XDS_SERVER_IDLE);
    assert_int_equal(status_of(f, 1).streams_open, 0);
    assert_int_equal(status_of(f, 1).counters.responses, 2); /* what it did is not forgotten */
    assert_int_equal(f->uses, 3);
}

/* Before the first answer, whatever the reason. */
static void next_server_when_the_first_refuses(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "refuse");
    serve(f, 1, "plain", "answer");
    start(f, PLAIN, 2);
    RUN_UNTIL(f, uses(f, 1) && has_all(f));
    assert_string_equal(status_of(f, 0).error.p, "PERMISSION_DENIED: not today");
}

/* gRFC A71: what is held is enough, unless something else is wanted. */
static void no_other_server_while_nothing_lacks(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "answer");
    serve(f, 1, "plain", "answer");
    start(f, PLAIN, 2);
    RUN_UNTIL(f, has_all(f));
    grpcio_kill(&f->peers[0]);
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= 3);
    assert_int_equal(f->uses, 1);
    want(f, "e2");
    xds_client_wake(f->client);
    RUN_UNTIL(f, uses(f, 1) && has_all(f));
    assert_int_equal(f->uses, 2);
}

static void all_servers_are_down(void **state) {
    struct fixture *f = *state;
    reserve(f, 0);
    reserve(f, 1);
    start(f, PLAIN, 2);
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= 3 && status_of(f, 1).streams_failed >= 3);
    assert_int_equal(f->uses, 2);
    serve(f, 0, "plain", "answer");
    RUN_UNTIL(f, uses(f, 0) && has_all(f));
}

static void no_other_server_while_the_first_is_slow(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "gate");
    serve(f, 1, "plain", "answer");
    start(f, PLAIN, 2);
    RUN_UNTIL(f, status_of(f, 0).is_connected && status_of(f, 0).counters.requests >= 1);
    assert_int_equal(write(f->peers[0].in, "\n", 1), 1);
    RUN_UNTIL(f, has_all(f));
    assert_int_equal(f->uses, 1);
    assert_int_equal(status_of(f, 1).streams_opened, 0);
}

/* ---- TLS ---- */

static void write_pem(const struct fixture *f, const char *name, const struct material *m, bool is_key) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(is_key ? PEM_write_PrivateKey(file, m->key, NULL, NULL, 0, NULL, NULL) : PEM_write_X509(file, m->x), 1);
    fclose(file);
}

static void write_certificates(const struct fixture *f) {
    struct material ca = material_make("authority", NULL, DAY), server = material_make("localhost", &ca, DAY);
    struct material ours = material_make("gateway", &ca, DAY);
    write_pem(f, "ca.pem", &ca, false);
    write_pem(f, "server.pem", &server, false);
    write_pem(f, "server.key", &server, true);
    write_pem(f, "ours.pem", &ours, false);
    write_pem(f, "ours.key", &ours, true);
    material_finish(&ca);
    material_finish(&server);
    material_finish(&ours);
}

static const char *tls_credentials(const struct fixture *f, bool is_mutual, char text[512]) {
    int n = snprintf(text, 512, "{type: tls, config: {ca_certificate_file: %s/ca.pem", f->folder);
    if (is_mutual)
        n += snprintf(text + n, 512 - (size_t)n, ", certificate_file: %s/ours.pem, private_key_file: %s/ours.key", f->folder,
                      f->folder);
    snprintf(text + n, 512 - (size_t)n, "}}");
    return text;
}

static void over_tls(void **state) {
    struct fixture *f = *state;
    char text[512];
    write_certificates(f);
    serve(f, 0, "tls", "answer");
    start(f, tls_credentials(f, false, text), 1);
    RUN_UNTIL(f, has_all(f));
}

static void over_mutual_tls(void **state) {
    struct fixture *f = *state;
    char text[512];
    write_certificates(f);
    serve(f, 0, "mtls", "answer");
    start(f, tls_credentials(f, true, text), 1);
    RUN_UNTIL(f, has_all(f));
}

static void without_our_certificate(void **state) {
    struct fixture *f = *state;
    char text[512];
    write_certificates(f);
    serve(f, 0, "mtls", "answer");
    start(f, tls_credentials(f, false, text), 1);
    RUN_UNTIL(f, status_of(f, 0).streams_failed >= 2);
    assert_true(str_starts(status_of(f, 0).error, STR("UNAVAILABLE: ")));
    assert_int_equal(status_of(f, 0).counters.responses, 0);
}

static void files_that_are_not_there(void **state) {
    struct fixture *f = *state;
    char text[512];
    create(f, tls_credentials(f, true, text), 1);
    assert_null(make(f));
    assert_int_equal(f->errors.count, 3);
    assert_non_null(strstr(f->errors.items[0].message, "ca.pem"));
}

/* ---- the end ---- */

static void stopping_with_open_streams(void **state) {
    struct fixture *f = *state;
    serve(f, 0, "plain", "answer");
    start(f, PLAIN, 1);
    RUN_UNTIL(f, has_all(f));
    int copies = f->copies;
    xds_client_stop(f->client);
    xds_client_wake(f->client);
    ev_run(f->ev, EVRUN_NOWAIT);
    assert_int_equal(f->copies, copies);
    assert_int_equal(status_of(f, 0).streams_open, 0);
    xds_client_destroy(f->client);
    f->client = NULL;
}

static void creation_without_memory(void **state) {
    struct fixture *f = *state;
    long failures = 0;
    f->peers[0].port = 1;
    create(f, PLAIN, 1);
    while (!f->client) {
        error_list_finish(&f->errors);
        f->errors = (struct error_list){0};
        hg_alloc_fail_at(failures++, 0);
        f->client = make(f);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(f->client == NULL, !error_list_is_empty(&f->errors));
        assert_true(failures < 1000);
    }
    assert_true(failures > 5);
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_form),
        TEST(what_is_wanted_later),
        TEST(what_is_wanted_again),
        TEST(slow_answers),
        TEST(server_that_is_down_at_first),
        TEST(server_that_goes_away_and_comes_again),
        TEST(server_that_refuses),
        TEST(streams_that_end_after_an_answer),
        TEST(server_that_says_nonsense),
        TEST(next_server_and_back),
        TEST(next_server_when_the_first_refuses),
        TEST(no_other_server_while_nothing_lacks),
        TEST(all_servers_are_down),
        TEST(no_other_server_while_the_first_is_slow),
        TEST(over_tls),
        TEST(over_mutual_tls),
        TEST(without_our_certificate),
        TEST(files_that_are_not_there),
        TEST(stopping_with_open_streams),
        TEST(creation_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
