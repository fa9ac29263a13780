/* proxied.h — requests through the proxy without sockets: clients are loopback legs, origins the fake codec, and the test
 * has the clock. Several requests at a time. */
#pragma once

#define CONNECTIONS_MOST 4096
#include "tests/unit/dataplane/back/fake_codec.h"

#include "dataplane/back/proxy.h"
#include "dataplane/core/view.h"
#include "dataplane/snapshot/settings.h"

enum { SECOND = 1000000, MS = 1000, ASKED_MOST = 64, ANSWERS_MOST = 4096 };

struct asked {
    struct loopback front;
    struct head question;
    struct exchange *exchange; /* until it is logged */
    bool reads_nothing;        /* the client, for now */
    unsigned status, attempts;
    enum abort_code abort;
    const char *detail;
};

static struct definition origins;
static struct settings settings;
static struct listener_definition listener;
static struct bound_table routes;
static struct snapshot_view view;
static struct asked asked[ASKED_MOST];
static struct head answers[ANSWERS_MOST];
static unsigned answer_count;
static Headgate__Retry retry_rule;

static inline void log_exchange(struct exchange *x) {
    for (int i = 0; i < ASKED_MOST; i++) {
        if (asked[i].exchange != x)
            continue;
        asked[i].exchange = NULL;
        asked[i].status = x->status;
        asked[i].attempts = x->attempts;
        asked[i].abort = x->abort;
        asked[i].detail = x->detail;
    }
}

static inline void ignore_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
}

static inline const struct route_table *make_table(void) {
    static char *any[] = {"*"};
    static Headgate__WeightedCluster cluster = HEADGATE__WEIGHTED_CLUSTER__INIT, *clusters[] = {&cluster};
    static Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    static Headgate__Rule rule = HEADGATE__RULE__INIT, *rules[] = {&rule};
    static Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    static Headgate__RouteTable message = HEADGATE__ROUTE_TABLE__INIT;
    struct error_list errors = {0};
    cluster.name = "c";
    forward.clusters = clusters, forward.n_clusters = 1;
    rule.action_case = HEADGATE__RULE__ACTION_FORWARD, rule.forward = &forward;
    rule.retry = &retry_rule;
    host.domains = any, host.n_domains = 1, host.rules = rules, host.n_rules = 1;
    message.hosts = hosts, message.n_hosts = 1;
    struct route_table *built = route_table_build(&message, "test", NULL, &errors);
    error_list_finish(&errors);
    return built;
}

/* After a change of retry_rule. */
static inline void use_rule(void) {
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    routes.table = make_table();
    assert_non_null(routes.table);
}

/* Connect failures, resets and 503 are retried, at once and three times. */
static inline void default_rule(void) {
    static Headgate__Retry__On on[] = {HEADGATE__RETRY__ON__CONNECT_FAILURE, HEADGATE__RETRY__ON__RESET,
                                       HEADGATE__RETRY__ON__STATUS_503};
    retry_rule = (Headgate__Retry)HEADGATE__RETRY__INIT;
    retry_rule.retries = 3;
    retry_rule.backoff = 0;
    retry_rule.on = on, retry_rule.n_on = sizeof on / sizeof *on;
}

/* Endpoints 1 .. count; the breakers are wide open until a test says something else. */
static inline int set_up_with(void **state, unsigned count) {
    static const struct exchange_hooks hooks = {.terminal = &proxy_terminal, .log = log_exchange};
    static const struct cluster_definition *bound[] = {&origins.cluster};
    static const uint32_t weights[] = {1, 1, 1, 1, 1, 1, 1, 1};
    static struct arena arena;
    if (back_set_up(state) < 0 || settings_fill(&settings, NULL, &arena) < 0)
        return -1;
    exchange_set_hooks(&hooks);
    proxy_init();
    define(&origins, count, weights);
    origins.cluster.connection_lifetime = 0;
    origins.cluster.idle_connections = 1000;
    origins.cluster.breakers = (struct breakers){.min_retries = 100, .retry_tokens = 1000};
    complete(&origins);
    view = (struct snapshot_view){.references = 1, .quiet = ignore_quiet};
    worker.view = &view;
    worker.now = SECOND;
    cluster_shared.bucket = (struct retry_bucket){0};
    wheel_init(&worker.wheel, worker.now);
    worker.route_scratch = route_scratch_create();
    default_rule();
    routes = (struct bound_table){.table = make_table(), .clusters = bound};
    listener = (struct listener_definition){.name = STR("web"), .settings = &settings, .timeouts = settings.timeouts,
                                            .routes = &routes};
    memset(asked, 0, sizeof asked);
    answer_count = 0;
    return worker.route_scratch && routes.table ? 0 : -1;
}

/* What the cluster counts is nothing at the end of each test. */
static inline void assert_nothing_counted(void) {
    assert_int_equal(atomic_load(&cluster_shared.requests), 0);
    assert_int_equal(atomic_load(&cluster_shared.pending), 0);
    assert_int_equal(atomic_load(&cluster_shared.retries), 0);
    assert_int_equal(stats_read(&worker.stats->requests_pending), 0);
    for (uint32_t i = 0; i < origins.count; i++)
        assert_int_equal(atomic_load(&origins.cluster.members->endpoints[i].shared->requests), 0);
}

static inline void close_aborted(void);

static inline int proxied_tear_down(void **state) {
    for (int i = 0; i < ASKED_MOST; i++) {
        if (asked[i].front.leg.exchange)
            exchange_on_abort(&asked[i].front.leg, ABORT_CLIENT_GONE);
        loopback_finish(&asked[i].front);
    }
    close_aborted();
    worker_end_turn(&worker);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    assert_int_equal(worker.buffer_used, 0);
    assert_nothing_counted();
    exchange_free_cache(&worker);
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    route_scratch_destroy(worker.route_scratch);
    int status = back_tear_down(state);
    assert_int_equal(atomic_load(&cluster_shared.connections), 0);
    return status;
}

/* ---- what happens ---- */

static inline void open_question(struct asked *a, enum method method) {
    static const struct exchange_origin from = {.listener = &listener, .peer = STR("192.0.2.1"), .version = 11};
    loopback_finish(&a->front);
    *a = (struct asked){0};
    loopback_init(&a->front, &worker);
    head_init(&a->question);
    a->question.method = method;
    a->question.method_text = method_name(method);
    a->question.host = a->question.authority = STR("example.com");
    a->question.target = a->question.path = STR("/");
    a->exchange = exchange_open(&worker, &a->front.leg, &from);
    assert_non_null(a->exchange);
}

static inline void send_question(struct asked *a) {
    a->front.has_ended = true;
    exchange_on_head(&a->front.leg, &a->question, true);
}

static inline void ask_as(struct asked *a, enum method method) {
    open_question(a, method);
    send_question(a);
}

static inline void ask(unsigned i) {
    ask_as(&asked[i], METHOD_GET);
}

/* A leg that was given up takes its connection with it, as with HTTP/1. */
static inline void close_aborted(void) {
    for (unsigned i = 0; i < connection_count; i++)
        if (connections[i].is_open && connections[i].stream.aborted)
            report_closed(&connections[i].link);
}

/* Reads what there is for each client. */
static inline void end_turn(void) {
    for (int k = 0; k < 4; k++) {
        close_aborted();
        worker_end_turn(&worker);
        for (int i = 0; i < ASKED_MOST; i++)
            while (!asked[i].reads_nothing && loopback_pull(&asked[i].front, 1000))
                ;
    }
    worker_end_turn(&worker);
}

static inline void pass(uint64_t microseconds) {
    uint64_t until = worker.now + microseconds;
    while (worker.now < until) {
        worker.now = until - worker.now < WHEEL_TICK_US ? until : worker.now + WHEEL_TICK_US;
        wheel_advance(&worker.wheel, worker.now);
        end_turn();
    }
}

static inline struct fake_connection *newest(unsigned count) {
    assert_int_equal(connection_count, count);
    return &connections[count - 1];
}

static inline bool is_busy(const struct fake_connection *c) {
    return c->is_open && c->stream.leg.exchange;
}

/* A response without a body and with at most one more field; the connection is then free again. */
static inline void answer_with(struct fake_connection *c, unsigned status, enum field_id id, const char *value) {
    struct head *head = &answers[answer_count++ % ANSWERS_MOST];
    struct exchange *x = c->stream.leg.exchange;
    assert_non_null(x);
    head_init(head);
    head->status = (uint16_t)status;
    head->content_length = 0;
    if (value)
        assert_int_equal(fields_add_id(&head->fields, exchange_arena(x), id, str_of(value)), 0);
    exchange_on_head(&c->stream.leg, head, true);
    if (c->stream.leg.exchange) {
        exchange_on_end(&c->stream.leg, NULL);
        c->link.owner->on_available(&c->link);
    }
    end_turn();
}

static inline void answer(struct fake_connection *c, unsigned status) {
    answer_with(c, status, FIELD_OTHER, NULL);
}

static inline void connect_ok(struct fake_connection *c) {
    report_connected(&c->link);
    end_turn();
}

static inline void connect_fails(struct fake_connection *c) {
    c->is_open = false;
    c->link.owner->on_connect_failed(&c->link, ECONNREFUSED);
    end_turn();
}

static inline void reset(struct fake_connection *c) {
    report_closed(&c->link);
    exchange_on_abort(&c->stream.leg, ABORT_ORIGIN_RESET);
    end_turn();
}

/* The origin gives up this exchange alone, with this reason. */
static inline void give_up(struct fake_connection *c, enum abort_code code) {
    exchange_on_abort(&c->stream.leg, code);
    c->link.owner->on_available(&c->link);
    end_turn();
}

static inline void assert_answered(unsigned i, unsigned status, unsigned attempts) {
    end_turn();
    assert_null(asked[i].exchange);
    assert_true(asked[i].front.received_end);
    assert_int_equal(asked[i].front.head_count, 1);
    assert_int_equal(asked[i].status, status);
    assert_int_equal(asked[i].attempts, attempts);
}
