/* callers.h — clients that are loopback legs, and the gateway behind them with pool and proxy, one route and one cluster of
 * one endpoint: what tests of codecs towards origins share. The test turns the worker by hand, with its clock. */
#pragma once

#include "tests/unit/dataplane/net/loop.h"
#include "tests/unit/dataplane/back/make_members.h"

#include <stdio.h>

#include "dataplane/back/cluster.h"
#include "dataplane/back/proxy.h"
#include "dataplane/codec/loopback/loopback.h"
#include "dataplane/core/view.h"
#include "dataplane/snapshot/settings.h"
#include "tests/unit/dataplane/codec/one_route.h"

enum { CALLS = 600 };

/* ---- what clients ask */

struct call {
    struct loopback loop;
    struct head     head;
    struct exchange *x;
    bool            reads_nothing;
    /* noted while the exchange lives */
    unsigned        status;
    int64_t         content_length;
    struct strbuf   fields, trailers;      /* "name: value\n" */
};

static struct call calls[CALLS];
static unsigned    call_count;

static struct {
    unsigned        count, attempts;
    unsigned        status;
    enum abort_code abort;
    char            detail[64];
} logged;

static struct settings            settings;
static struct listener_definition definition;
static struct bound_table         routes;
static struct snapshot_view       view;
static struct arena               settings_arena;
static struct cluster_table       table;
static struct cluster_definition  cluster;
static struct endpoint_definition endpoint;
static struct cluster_shared      cluster_shared = {.references = 1 << 20};

static inline void note_fields(struct strbuf *ret, const struct fields *fields) {
    for (uint32_t i = 0; fields && i < fields->count; i++)
        strbuf_printf(ret, "%.*s: %.*s\n", STR_FMT(field_name(&fields->v[i])), STR_FMT(field_value(&fields->v[i])));
}

static inline void note(struct call *c) {
    const struct head *head = c->loop.head_count && c->loop.leg.exchange ? c->loop.heads[c->loop.head_count - 1] : NULL;
    if (!head)
        return;
    if (head->status != c->status)
        note_fields(&c->fields, &head->fields);
    c->status = head->status;
    c->content_length = head->content_length;
    if (c->trailers.n == 0)
        note_fields(&c->trailers, exchange_trailers(&c->loop.leg));
}

static inline void read_calls(void) {
    for (unsigned i = 0; i < call_count; i++) {
        struct call *c = &calls[i];
        note(c);
        if (!c->reads_nothing)
            while (loopback_pull(&c->loop, 16384))
                note(c);
    }
}

/* ---- clients */

static inline struct call *ask_fields(const char *method, struct str body, bool has_body, int64_t length, size_t n,
                                      const char *const (*fields)[2]) {
    static const struct exchange_origin from = {.listener = &definition, .peer = STR("192.0.2.1"), .version = 11};
    assert_true(call_count < CALLS);
    struct call *c = &calls[call_count++];
    *c = (struct call){0};
    loopback_init(&c->loop, &worker);
    head_init(&c->head);
    c->head.method = method_lookup(str_of(method));
    c->head.method_text = str_of(method);
    c->head.host = c->head.authority = STR("example.com");
    c->head.target = c->head.path = STR("/");
    c->head.content_length = length;
    c->head.version = 11;
    c->loop.to_send = body;
    c->loop.has_ended = !has_body;
    c->x = exchange_open(&worker, &c->loop.leg, &from);
    if (!c->x)
        return c;
    for (size_t i = 0; i < n; i++)
        fields_add(&c->head.fields, exchange_arena(c->x), str_of(fields[i][0]), str_of(fields[i][1]));
    exchange_on_head(&c->loop.leg, &c->head, !has_body);
    return c;
}

static inline struct call *get(void) {
    return ask_fields("GET", STR(""), false, -1, 0, NULL);
}

static inline struct call *post(struct str body) {
    return ask_fields("POST", body, true, (int64_t)body.n, 0, NULL);
}

/* A WebSocket, by HTTP/1.1. */
static inline struct call *ask_tunnel(void) {
    static const char *const fields[][2] = {{"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
                                            {"sec-websocket-version", "13"}};
    static const struct exchange_origin from = {.listener = &definition, .peer = STR("192.0.2.1"), .version = 11};
    struct call *c = &calls[call_count++];
    *c = (struct call){0};
    loopback_init(&c->loop, &worker);
    head_init(&c->head);
    c->head.method = METHOD_GET;
    c->head.method_text = STR("GET");
    c->head.host = c->head.authority = STR("example.com");
    c->head.target = c->head.path = STR("/chat");
    c->head.content_length = -1;
    c->head.version = 11;
    c->head.upgrade = STR("websocket");
    c->loop.to_send = STR("from the client");
    c->x = exchange_open(&worker, &c->loop.leg, &from);
    for (size_t i = 0; i < 2; i++)
        fields_add(&c->head.fields, exchange_arena(c->x), str_of(fields[i][0]), str_of(fields[i][1]));
    exchange_on_head(&c->loop.leg, &c->head, false);
    return c;
}

static inline const char *text(const struct strbuf *b) {
    return b->p ? b->p : "";
}

/* ---- set-up */

static inline void log_exchange(struct exchange *x) {
    logged.count++;
    logged.status = x->status;
    logged.abort = x->abort;
    logged.attempts = x->attempts;
    snprintf(logged.detail, sizeof logged.detail, "%s", x->detail ? x->detail : "");
}

static inline void ignore_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
}

/* The only endpoint's address is set already. */
static inline void callers_define_cluster(const char *name, const struct client_codec *codec) {
    const struct limits *l = &settings.limits;
    endpoint.text = str_of(name);
    endpoint.weight = 1;
    endpoint.is_usable = true;
    cluster = (struct cluster_definition){.name = STR("origin"), .serial = 1, .codec = codec,
                                          .idle_timeout = 60000000, .idle_connections = 8,
                                          .members = make_members(&round_robin_rules, &endpoint, 1, NULL),
                                          .shared = &cluster_shared,
                                          .requests_per_connection = 100000};
    cluster.options = (struct client_options){.idle_timeout = 60000000, .write_timeout = 30000000,
                                              .header_bytes = l->header_bytes, .headers = l->headers,
                                              .trailer_bytes = l->trailer_bytes};
}

static inline int callers_set_up(void **state) {
    static const struct exchange_hooks hooks = {.terminal = &proxy_terminal, .log = log_exchange};
    static const struct cluster_definition *bound[] = {&cluster};
    exchange_set_hooks(&hooks);
    proxy_init();
    memset(&logged, 0, sizeof logged);
    call_count = 0;
    if (worker_set_up(state) < 0 || settings_fill(&settings, NULL, &settings_arena) < 0)
        return -1;
    memset(&table, 0, sizeof table);
    worker.clusters = &table;
    worker.random = 1;
    view = (struct snapshot_view){.references = 1, .quiet = ignore_quiet};
    worker.view = &view;
    worker.route_scratch = route_scratch_create();
    routes = (struct bound_table){.table = one_route(), .clusters = bound};
    definition = (struct listener_definition){.name = STR("web"), .settings = &settings, .timeouts = settings.timeouts,
                                              .routes = &routes};
    return worker.route_scratch && routes.table ? 0 : -1;
}

/* Ends the calls, and closes the pool. */
static inline void callers_close(void) {
    hg_alloc_fail_at(-1, 0);
    for (unsigned i = 0; i < call_count; i++)
        if (calls[i].loop.leg.exchange)
            exchange_on_abort(&calls[i].loop.leg, ABORT_CLIENT_GONE);
    worker_end_turn(&worker);
    clusters_finish(&worker);
    members_finish();
    for (unsigned i = 0; i < call_count; i++) {
        loopback_finish(&calls[i].loop);
        strbuf_finish(&calls[i].fields);
        strbuf_finish(&calls[i].trailers);
    }
}

/* When all connections are gone. */
static inline int callers_tear_down(void **state) {
    worker_end_turn(&worker);
    assert_int_equal(stats_read(&worker.stats->origin_connections), 0);
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 0);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    assert_int_equal(worker.buffer_used, 0);
    assert_int_equal(worker.session_memory.used, 0);
    assert_int_equal(stats_read(&worker.stats->buffered_bytes), 0);
    exchange_free_cache(&worker);
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    route_scratch_destroy(worker.route_scratch);
    arena_finish(&settings_arena);
    return worker_tear_down(state);
}
