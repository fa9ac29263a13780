/* h2_feed.h — what the fuzz targets of whole HTTP/2 connections share: a worker with one route, and a clock to turn.
 * Its state lives as long as the process; one target includes it once. Thread: the fuzzer's. */
#pragma once

#include <stdlib.h>

#include "dataplane/core/view.h"
#include "dataplane/http/exchange.h"
#include "dataplane/net/gather.h"
#include "dataplane/snapshot/settings.h"
#include "tests/unit/dataplane/codec/one_route.h"

#define CHECK(condition) ((condition) ? (void)0 : abort())

enum { EXPIRED_US = 3600 * 1000000LL, SIZE_MOST = 65536 };

/* By the first byte of an input: in pieces of how many bytes the rest comes; 0: whole. */
static const size_t cuts[] = {0, 0, 1, 9, 13, 100, 1000, 16384};

static struct worker              worker;
static struct gather              gather;
static struct settings            settings;
static struct listener_definition definition;
static struct bound_table         routes;
static struct snapshot_view       view;

static inline void ignore_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
}

static inline void set_up_worker(const struct terminal_ops *terminal) {
    static struct arena arena;
    exchange_set_hooks(&(struct exchange_hooks){.terminal = terminal});
    CHECK(worker_init(&worker, 0, 0) == 0 && settings_fill(&settings, NULL, &arena) == 0);
    worker.gather = &gather;
    view = (struct snapshot_view){.references = 1, .quiet = ignore_quiet};
    worker.view = &view;
    worker.route_scratch = route_scratch_create();
    routes.table = one_route();
    CHECK(routes.table && worker.route_scratch);
    definition = (struct listener_definition){.name = STR("web"), .settings = &settings, .timeouts = settings.timeouts,
                                              .routes = &routes};
}

/* An hour passes. */
static inline void expire(void) {
    worker.now = worker.wheel.tick * WHEEL_TICK_US + EXPIRED_US;
    wheel_advance(&worker.wheel, worker.now);
}
