/* bench.h — a gateway without sockets: the HTTP core between two loopback legs, which the test moves. No clock but the one
 * that the test turns. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/codec/loopback/loopback.h"
#include "dataplane/http/exchange.h"
#include "dataplane/net/gather.h"
#include "dataplane/snapshot/settings.h"

/* ---- a gateway without sockets ---- */

struct bench {
    struct worker                worker;
    struct arena                 arena;
    struct settings              settings;
    struct listener_definition   listener;
    struct bound_table           routes;
    struct snapshot_view         view;
    struct exchange_origin       origin;
    struct filter                filters[4];
    struct loopback              front, back;
    struct exchange             *exchange;
    struct head                  request, response;
    bool                         answers;       /* the back has sent its head */
    unsigned                     attempts, finished, logged, views_quiet;
    unsigned                     resets_left;   /* attempts that the origin resets before it answers */
    uint16_t                     logged_status;
    uint64_t                     logged_bytes;  /* of the response */
    enum abort_code              logged_abort;
    char                        *request_body, *response_body;
    size_t                       request_size, response_size;
};

static struct bench *bench; /* hooks have no argument */
static uint64_t seed;

static inline uint32_t dice(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static inline void terminal_start(struct exchange *x) {
    enum abort_code bad = exchange_prepare_forward(x);
    if (bad) {
        exchange_fail(x, bad);
        return;
    }
    bench->attempts++;
    loopback_finish(&bench->back);
    loopback_init(&bench->back, &bench->worker);
    bench->answers = false;
    bench->back.to_send = (struct str){bench->response_body, bench->response_size};
    exchange_attach_back(x, &bench->back.leg);
}

static inline bool terminal_retry(struct exchange *x, enum abort_code code) {
    (void)code;
    if (bench->resets_left == 0 || !exchange_is_replayable(x))
        return false;
    bench->resets_left--;
    exchange_rewind(x);
    bench->attempts++;
    loopback_finish(&bench->back);
    loopback_init(&bench->back, &bench->worker);
    bench->back.to_send = (struct str){bench->response_body, bench->response_size};
    exchange_attach_back(x, &bench->back.leg);
    return true;
}

static inline void terminal_deadline(struct exchange *x) {
    exchange_fail(x, ABORT_ORIGIN_TIMEOUT);
}

static inline void terminal_finish(struct exchange *x) {
    (void)x;
    bench->finished++;
}

static inline void log_exchange(struct exchange *x) {
    bench->logged++;
    bench->logged_status = x->status;
    bench->logged_bytes = x->response.bytes;
    bench->logged_abort = x->abort;
}

static inline void on_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
    bench->views_quiet++;
}

static const struct terminal_ops test_terminal = {
    .name = "test", .start = terminal_start, .retry = terminal_retry, .on_deadline = terminal_deadline,
    .finish = terminal_finish,
};

static inline struct route_table *make_table(struct bench *b) {
    static char *any[] = {"*"};
    static Headgate__WeightedCluster cluster = HEADGATE__WEIGHTED_CLUSTER__INIT;
    static Headgate__WeightedCluster *clusters[] = {&cluster};
    static Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    static Headgate__Rule rule = HEADGATE__RULE__INIT;
    static Headgate__Rule *rules[] = {&rule};
    static Headgate__Host host = HEADGATE__HOST__INIT;
    static Headgate__Host *hosts[] = {&host};
    static Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    struct error_list errors = {0};
    cluster.name = "origin";
    forward.clusters = clusters, forward.n_clusters = 1;
    rule.action_case = HEADGATE__RULE__ACTION_FORWARD, rule.forward = &forward;
    host.domains = any, host.n_domains = 1;
    host.rules = rules, host.n_rules = 1;
    table.hosts = hosts, table.n_hosts = 1;
    struct route_table *t = route_table_build(&table, "test", b->settings.message, &errors);
    assert_non_null(t);
    error_list_finish(&errors);
    return t;
}

static inline void set_up(struct bench *b) {
    static const struct exchange_hooks hooks = {.terminal = &test_terminal, .log = log_exchange};
    memset(b, 0, sizeof *b);
    bench = b;
    assert_int_equal(worker_init(&b->worker, 0, EVFLAG_AUTO), 0);
    b->worker.gather = hg_malloc(sizeof(struct gather));
    b->worker.route_scratch = route_scratch_create();
    b->worker.view = &b->view;
    b->view.quiet = on_quiet;
    view_ref(&b->view);
    assert_int_equal(settings_fill(&b->settings, NULL, &b->arena), 0);
    b->settings.limits.buffer = 16384;
    b->routes.table = make_table(b);
    b->listener = (struct listener_definition){.name = STR("test"), .settings = &b->settings, .routes = &b->routes,
                                               .timeouts = b->settings.timeouts, .filters = b->filters};
    b->origin = (struct exchange_origin){.listener = &b->listener, .peer = STR("192.0.2.1"), .version = 11};
    loopback_init(&b->front, &b->worker);
    loopback_init(&b->back, &b->worker);
    exchange_set_hooks(&hooks);
}

static inline void tear_down(struct bench *b) {
    worker_end_turn(&b->worker);
    assert_int_equal(b->worker.buffer_used, 0);
    assert_int_equal(b->worker.exchange_memory.used, 0);
    assert_int_equal(stats_read(&b->worker.stats->exchanges), 0);
    assert_int_equal(stats_read(&b->worker.stats->buffered_bytes), 0);
    assert_int_equal(b->view.references, 1);
    exchange_free_cache(&b->worker);
    route_table_free((struct route_table *)(uintptr_t)b->routes.table);
    route_scratch_destroy(b->worker.route_scratch);
    hg_free(b->worker.gather);
    worker_finish(&b->worker);
    loopback_finish(&b->front);
    loopback_finish(&b->back);
    arena_finish(&b->arena);
    free(b->request_body);
    free(b->response_body);
}

static inline void add_filter(struct bench *b, const struct filter_ops *ops) {
    b->filters[b->listener.filter_count++] = (struct filter){.ops = ops};
}

static inline char *random_body(size_t n) {
    char *body = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)('a' + dice(26));
    return body;
}

static inline void make_request(struct bench *b, enum method method, size_t body) {
    struct head *h = &b->request;
    head_init(h);
    h->method = method;
    h->method_text = method_name(method);
    h->host = h->authority = STR("example.com");
    h->target = h->path = STR("/");
    h->content_length = body ? (int64_t)body : -1;
    b->request_body = random_body(b->request_size = body);
    b->front.to_send = (struct str){b->request_body, body};
}

static inline void make_response(struct bench *b, unsigned status, size_t body) {
    head_init(&b->response);
    b->response.status = (uint16_t)status;
    b->response.content_length = (int64_t)body;
    b->response_body = random_body(b->response_size = body);
}

static inline void begin(struct bench *b) {
    b->exchange = exchange_open(&b->worker, &b->front.leg, &b->origin);
    assert_non_null(b->exchange);
    exchange_on_head(&b->front.leg, &b->request, b->request_size == 0);
    if (b->request_size == 0)
        b->front.has_ended = true;
}

static inline void send_response_head(struct bench *b) {
    struct head *copy = &b->response;
    b->answers = true;
    exchange_on_head(&b->back.leg, copy, false);
}

static inline void check_bounds(const struct bench *b) {
    const struct exchange *x = b->front.leg.exchange;
    if (!x)
        return;
    assert_true(x->request.used + x->request.granted <= x->request.limit + x->keep_limit);
    assert_true(x->response.used + x->response.granted <= x->response.limit);
    assert_int_equal(x->request.used, x->request.queue.bytes);
    assert_int_equal(x->response.used, x->response.queue.bytes);
}

/* One random step; false when nothing could be done. */
static inline bool step(struct bench *b) {
    switch (dice(6)) {
    case 0: return loopback_push(&b->front, 1 + dice(9000));
    case 1: return b->back.leg.exchange && loopback_pull(&b->back, 1 + dice(9000));
    case 2:
        if (!b->back.leg.exchange || b->answers || b->back.head_count == 0)
            return false;
        send_response_head(b);
        return true;
    case 3: return b->answers && loopback_push(&b->back, 1 + dice(9000));
    case 4: return loopback_pull(&b->front, 1 + dice(9000));
    default: worker_end_turn(&b->worker); return false;
    }
}

/* Runs until the exchange is over. A schedule that makes no progress for long has stalled. */
static inline void run(struct bench *b) {
    for (unsigned idle = 0; b->front.leg.exchange && idle < 2000;) {
        idle = step(b) ? 0 : idle + 1;
        check_bounds(b);
    }
    assert_null(b->front.leg.exchange);
    worker_end_turn(&b->worker);
}

static inline void assert_received(const struct loopback *l, const char *body, size_t n) {
    assert_int_equal(l->received.n, n);
    assert_memory_equal(strbuf_str(&l->received).p, body, n);
}
