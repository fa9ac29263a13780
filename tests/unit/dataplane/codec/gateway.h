/* gateway.h — a server codec without a network: a listener with one route, and origins that are loopback legs, one for each
 * exchange that reaches the terminal. The test turns the worker by hand. */
#pragma once

#include "tests/unit/dataplane/net/loop.h"

#include <stdio.h>

#include "dataplane/codec/loopback/loopback.h"
#include "dataplane/core/view.h"
#include "dataplane/http/exchange.h"
#include "dataplane/net/conn.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/listener.h"
#include "dataplane/snapshot/settings.h"
#include "tests/unit/dataplane/codec/one_route.h"

enum { SETTLED = 6, EXPIRED = 3600, BACKS = 512, CALLS = 512 };

/* ---- origins: one leg for each exchange that reaches the terminal */

struct back {
    struct loopback  loop;
    struct exchange *x;                    /* NULL: over */
    struct head      response;
    struct fields    trailers;
    char             target[16];           /* the beginning of the request's */
};

static struct back backs[BACKS];
static unsigned    back_count;

static struct {
    unsigned        count;
    unsigned        status;
    enum abort_code abort;
    char            detail[64];
} logged;

static inline void terminal_start(struct exchange *x) {
    enum abort_code bad = exchange_prepare_forward(x);
    if (bad) {
        exchange_fail(x, bad);
        return;
    }
    assert_true(back_count < BACKS);
    struct back *b = &backs[back_count++];
    *b = (struct back){.x = x};
    loopback_init(&b->loop, &worker);
    snprintf(b->target, sizeof b->target, "%.*s", STR_FMT(x->request.head->target));
    *(struct back **)x->terminal_state = b;
    exchange_attach_back(x, &b->loop.leg);
}

static inline bool terminal_retry(struct exchange *x, enum abort_code code) {
    (void)x;
    (void)code;
    return false;
}

static inline void terminal_deadline(struct exchange *x) {
    exchange_fail(x, ABORT_ORIGIN_TIMEOUT);
}

static inline void terminal_finish(struct exchange *x) {
    struct back *b = *(struct back **)x->terminal_state;
    if (b)
        b->x = NULL;
}

static inline void log_exchange(struct exchange *x) {
    logged.count++;
    logged.status = x->status;
    logged.abort = x->abort;
    snprintf(logged.detail, sizeof logged.detail, "%s", x->detail ? x->detail : "");
}

static const struct terminal_ops test_terminal = {
    .name = "test", .start = terminal_start, .retry = terminal_retry, .on_deadline = terminal_deadline,
    .finish = terminal_finish,
};

/* ---- the gateway */

static struct settings            settings;
static struct listener_definition definition;
static struct bound_table         routes;
static struct snapshot_view       view;
static struct listener_runtime   *listener;
static struct ip_caps            *caps;
static struct arena               settings_arena;

static inline void ignore_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
}

static inline int gateway_begin(void **state, const struct server_codecs *codecs) {
    static const struct exchange_hooks hooks = {.terminal = &test_terminal, .log = log_exchange};
    exchange_set_hooks(&hooks);
    memset(&logged, 0, sizeof logged);
    memset(backs, 0, sizeof backs);
    back_count = 0;
    if (worker_set_up(state) < 0 || settings_fill(&settings, NULL, &settings_arena) < 0)
        return -1;
    view = (struct snapshot_view){.references = 1, .quiet = ignore_quiet};
    worker.view = &view;
    worker.route_scratch = route_scratch_create();
    caps = ip_caps_create();
    definition = (struct listener_definition){.name = STR("web"), .settings = &settings, .timeouts = settings.timeouts,
                                              .routes = &routes};
    listener = NULL;
    if (!listener_create(&worker, &listener, &(struct address){0}, NULL, 0, codecs, caps))
        return -1;
    listener_set_definition(listener, &definition, &definition.opening, 1000, 1000);
    return worker.route_scratch && (routes.table = one_route()) ? 0 : -1;
}

static inline int gateway_tear_down(void **state) {
    hg_alloc_fail_at(-1, 0);
    if (listener) {
        listener_cut_all(listener);
        worker_end_turn(&worker);
        listener_destroy(listener);
    }
    assert_int_equal(worker.buffer_used, 0);
    assert_int_equal(worker.session_memory.used, 0);
    assert_int_equal(stats_read(&worker.stats->exchanges), 0);
    assert_int_equal(stats_read(&worker.stats->buffered_bytes), 0);
    for (unsigned i = 0; i < back_count; i++)
        loopback_finish(&backs[i].loop);
    exchange_free_cache(&worker);
    route_table_free((struct route_table *)(uintptr_t)routes.table);
    route_scratch_destroy(worker.route_scratch);
    ip_caps_destroy(caps);
    arena_finish(&settings_arena);
    return worker_tear_down(state);
}

/* The wheel does not turn back: the loop sets the worker's clock right again. */
static inline void pass_seconds(unsigned seconds) {
    worker.now = worker.wheel.tick * WHEEL_TICK_US + seconds * 1000000ULL;
    wheel_advance(&worker.wheel, worker.now);
}

/* Every deadline that is set passes. */
static inline void expire(void) {
    pass_seconds(EXPIRED);
}

/* The origin's head; a body follows unless `end`. */
static inline void answer(struct back *b, unsigned status, int64_t length, bool end) {
    head_init(&b->response);
    b->response.status = (uint16_t)status;
    b->response.version = 11;
    b->response.content_length = length;
    exchange_on_head(&b->loop.leg, &b->response, end);
    if (end && b->loop.leg.exchange)
        exchange_on_end(&b->loop.leg, NULL);
}

/* All of the body within the credit there is; true once it has ended. */
static inline bool push_all(struct back *b) {
    while (loopback_push(&b->loop, 16384))
        ;
    return b->loop.has_ended;
}

static inline void answer_with(struct back *b, struct str body) {
    b->loop.to_send = body;
    answer(b, 200, (int64_t)body.n, false);
    push_all(b);
}

static inline void pull_all(struct back *b) {
    while (loopback_pull(&b->loop, 16384))
        ;
}
