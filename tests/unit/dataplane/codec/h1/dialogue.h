/* dialogue.h — a worker with all that a request passes: HTTP/1.1 towards the client, exchange, proxy, pool, HTTP/1.1
 * towards the origin. The test plays client and origin over Unix-domain sockets, turns the loop by hand, and lets deadlines
 * pass. What is sent on such a socket has arrived when the call returns, so a few turns of the loop settle everything: no
 * test waits. */
#pragma once

#include "tests/unit/dataplane/net/loop.h"
#include "tests/unit/dataplane/back/make_members.h"

#include <stdio.h>
#include <sys/un.h>

#include "dataplane/back/cluster.h"
#include "dataplane/back/proxy.h"
#include "dataplane/codec/h1/client.h"
#include "dataplane/codec/h1/server.h"
#include "dataplane/core/view.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/snapshot/settings.h"

enum { SETTLED = 8, EXPIRED_US = 3600 * 1000000LL };

/* ---- definitions, as a snapshot has them */

static struct settings             settings;
static struct listener_definition  definition;
static struct cluster_definition   cluster;
static struct endpoint_definition  endpoint;
static struct cluster_shared       cluster_shared = {.references = 1 << 20};
static struct bound_table          routes;
static Headgate__Rule              rule = HEADGATE__RULE__INIT;
static Headgate__Limits            rule_limits = HEADGATE__LIMITS__INIT;
static struct snapshot_view        view;

/* ---- what the worker has of them */

static struct cluster_table        clusters;
static struct listener_runtime    *listener;
static struct ip_caps             *caps;
static int                         origin_listens;

/* ---- the last exchange that ended */

static struct {
    unsigned                          count;
    unsigned                          status, attempts;
    enum abort_code                   abort;
    const struct listener_definition *listener;
    const struct snapshot_view       *view;
} logged;

static inline void log_exchange(struct exchange *x) {
    logged.count++;
    logged.status = x->status;
    logged.attempts = x->attempts;
    logged.abort = x->abort;
    logged.listener = x->listener;
    logged.view = x->view;
}

static inline void ignore_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
}

/* ---- set-up */

static inline const struct route_table *make_table(void) {
    static char *any[] = {"*"};
    static Headgate__WeightedCluster origin = HEADGATE__WEIGHTED_CLUSTER__INIT, *origins[] = {&origin};
    static Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    static Headgate__Rule *rules[] = {&rule};
    static Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    static Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    struct error_list errors = {0};
    origin.name = "origin";
    forward.clusters = origins, forward.n_clusters = 1;
    rule.action_case = HEADGATE__RULE__ACTION_FORWARD, rule.forward = &forward;
    rule.limits = &rule_limits;
    host.domains = any, host.n_domains = 1, host.rules = rules, host.n_rules = 1;
    table.hosts = hosts, table.n_hosts = 1;
    struct route_table *built = route_table_build(&table, "test", NULL, &errors);
    error_list_finish(&errors);
    return built;
}

/* The system picks the origin's address. */
static inline int listen_as_origin(void) {
    static char text[ADDRESS_TEXT_MAX];
    struct address *a = &endpoint.address;
    *a = (struct address){.length = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX};
    origin_listens = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(origin_listens, &a->u.any, a->length) < 0 || listen(origin_listens, 16) < 0)
        return -1;
    a->length = sizeof a->u;
    if (getsockname(origin_listens, &a->u.any, &a->length) < 0)
        return -1;
    address_format(a, text);
    endpoint.text = str_of(text);
    endpoint.weight = 1;
    endpoint.is_usable = true;
    return 0;
}

static inline void define_cluster(void) {
    static uint64_t serial;
    static const struct cluster_definition *bound[] = {&cluster};
    cluster = (struct cluster_definition){
        .name = STR("origin"), .serial = ++serial, .codec = &h1_client_codec,
        .members = make_members(&round_robin_rules, &endpoint, 1, NULL),
        .shared = &cluster_shared,
        .options = {.header_bytes = 16384, .headers = 100, .trailer_bytes = 8192},
        .idle_connections = 4, .requests_per_connection = 1000,
    };
    routes.clusters = bound;
}

static inline int dialogue_set_up(void **state) {
    static const struct exchange_hooks hooks = {.terminal = &proxy_terminal, .log = log_exchange};
    static struct arena arena;
    exchange_set_hooks(&hooks);
    proxy_init();
    logged.count = 0;
    rule_limits.has_body = false;
    rule.retry = NULL;
    if (worker_set_up(state) < 0 || listen_as_origin() < 0 || settings_fill(&settings, NULL, &arena) < 0)
        return -1;
    view = (struct snapshot_view){.references = 1, .quiet = ignore_quiet};
    worker.view = &view;
    worker.clusters = &clusters;
    worker.route_scratch = route_scratch_create();
    caps = ip_caps_create();
    define_cluster();
    definition = (struct listener_definition){.name = STR("web"), .settings = &settings, .timeouts = settings.timeouts,
                                              .routes = &routes};
    listener = NULL;
    static const struct server_codecs codecs = {.http1 = h1_server_accept};
    if (!listener_create(&worker, &listener, &(struct address){0}, NULL, 0, &codecs, caps))
        return -1;
    listener_set_definition(listener, &definition, &definition.opening, 1000, 1000);
    return worker.route_scratch && (routes.table = make_table()) ? 0 : -1;
}

static inline int dialogue_tear_down(void **state) {
    listener_cut_all(listener);
    worker_end_turn(&worker);
    clusters_finish(&worker);
    worker_end_turn(&worker);
    members_finish();
    assert_int_equal(worker.buffer_used, 0);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    listener_destroy(listener);
    exchange_free_cache(&worker);
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    route_scratch_destroy(worker.route_scratch);
    ip_caps_destroy(caps);
    close(origin_listens);
    return worker_tear_down(state);
}

/* For a rule whose limits the test has set. */
static inline void rebuild_table(void) {
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    assert_non_null(routes.table = make_table());
}

/* ---- time */

static inline void settle(void) {
    for (int i = 0; i < SETTLED; i++)
        ev_run(worker.loop, EVRUN_NOWAIT);
}

/* Every deadline that is set passes. The wheel does not turn back: each time it is an hour further on. */
static inline void expire(void) {
    worker.now = worker.wheel.tick * WHEEL_TICK_US + EXPIRED_US;
    wheel_advance(&worker.wheel, worker.now);
}

/* Turns the loop with `act` called between waiting and the first of the events that came: in the same turn, before any
 * socket is looked at. */
static void (*first_act)(void);

static inline void on_first(struct ev_loop *loop, ev_check *watcher, int events) {
    (void)events;
    ev_check_stop(loop, watcher);
    first_act();
}

static inline void settle_after(void (*act)(void)) {
    ev_check first;
    first_act = act;
    ev_check_init(&first, on_first);
    ev_set_priority(&first, EV_MAXPRI - 1); /* the worker's clock is set before it */
    ev_check_start(worker.loop, &first);
    settle();
}

/* ---- peers */

static inline int connect_client(void) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    const struct address peer = {.length = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX};
    assert_non_null(h1_server_accept(
        listener, &(struct accepted){.transport.fd = ends[0], .peer = peer, .cap_slot = IP_CAP_UNCOUNTED}));
    settle();
    return ends[1];
}

/* The origin's end of the next connection; fails when there is none. */
static inline int accept_as_origin(void) {
    settle();
    int fd = accept4(origin_listens, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    settle();
    return fd;
}

/* As much as the socket takes; returns how much. */
static inline size_t send_some(int fd, const char *bytes, size_t n) {
    ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
    return sent > 0 ? (size_t)sent : 0;
}

/* All of it; it must fit. Not looked at by the worker until the loop turns. */
static inline void send_text(int fd, const char *text) {
    assert_int_equal(send_some(fd, text, strlen(text)), strlen(text));
}

/* Appends what has come. True: the end has come too. */
static inline bool receive(int fd, struct strbuf *into) {
    char room[65536];
    ssize_t n;
    while ((n = recv(fd, room, sizeof room, 0)) > 0)
        strbuf_add(into, room, (size_t)n);
    return n == 0;
}

/* What has come, in memory that is used again by the next call. */
static inline const char *received(int fd) {
    static struct strbuf text;
    settle();
    strbuf_finish(&text);
    receive(fd, &text);
    return text.p ? text.p : "";
}

static inline void assert_begins(const char *text, const char *begin) {
    if (strncmp(text, begin, strlen(begin)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, begin);
}

static inline void assert_ends(const char *text, const char *end) {
    if (strlen(text) < strlen(end) || strcmp(text + strlen(text) - strlen(end), end) != 0)
        fail_msg("\"%s\" does not end with \"%s\"", text, end);
}
