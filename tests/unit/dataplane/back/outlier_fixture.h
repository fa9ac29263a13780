/* outlier_fixture.h — workers with one cluster between them, and a clock that the test has. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/back/cluster.h"
#include "tests/unit/dataplane/back/make_members.h"

enum { OUTLIER_WORKERS = 4, OUTLIER_ENDPOINTS = 64, SECOND = 1000000 };

struct site {
    struct worker         workers[OUTLIER_WORKERS];
    struct cluster_table  tables[OUTLIER_WORKERS];
    struct cluster_shared *shared;
    struct balance_rules  balance;
    struct outlier_rules  outliers;
    uint64_t              now;
};

/* One definition of the cluster. It outlives the workers' use of it. */
struct site_definition {
    struct cluster_definition  cluster;
    struct endpoint_definition endpoints[OUTLIER_ENDPOINTS];
    char                       texts[OUTLIER_ENDPOINTS][32];
    uint32_t                   count;
};

static struct site site;                /* of the test that runs */
static uint64_t site_serial;

static inline int site_set_up(struct site *s) {
    *s = (struct site){.balance = round_robin_rules, .shared = cluster_shared_create(STR("c"))};
    s->outliers = (struct outlier_rules){.is_on = true, .interval = 10 * SECOND, .base_ejection = 30 * SECOND,
                                         .max_ejection = 300 * SECOND, .max_ejected_percent = 100};
    for (unsigned i = 0; i < OUTLIER_WORKERS; i++) {
        if (worker_init(&s->workers[i], i, EVFLAG_AUTO) < 0)
            return -1;
        s->workers[i].clusters = &s->tables[i];
        s->workers[i].random = i + 1;
        wheel_init(&s->workers[i].wheel, 0); /* the clock begins here */
        s->workers[i].now = 0;
    }
    return s->shared ? 0 : -1;
}

static inline void site_tear_down(struct site *s) {
    hg_alloc_fail_at(-1, 0);
    for (unsigned i = 0; i < OUTLIER_WORKERS; i++) {
        clusters_finish(&s->workers[i]);
        worker_finish(&s->workers[i]);
    }
    members_finish();
    cluster_shared_unref(s->shared);
}

static inline int set_up(void **state) {
    (void)state;
    return site_set_up(&site);
}

static inline int tear_down(void **state) {
    (void)state;
    site_tear_down(&site);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static inline void site_add(struct site_definition *d, unsigned port, uint8_t priority) {
    uint32_t i = d->count++;
    snprintf(d->texts[i], sizeof d->texts[i], "127.0.0.1:%u", port);
    d->endpoints[i] = (struct endpoint_definition){.text = str_of(d->texts[i]), .weight = 1, .is_usable = true,
                                                   .priority = priority};
    assert_int_equal(address_parse(d->endpoints[i].text, &d->endpoints[i].address), 0);
}

static inline void site_remove(struct site_definition *d, unsigned port) {
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    for (uint32_t i = 0; i < d->count; i++)
        if (str_eq(d->endpoints[i].text, str_of(text)))
            d->endpoints[i] = d->endpoints[--d->count];
}

/* Endpoints on ports 1, 2, ... */
static inline void site_define(struct site_definition *d, unsigned count) {
    *d = (struct site_definition){.count = 0};
    for (unsigned port = 1; port <= count; port++)
        site_add(d, port, 0);
}

/* What the main thread does. */
static inline void site_complete(const struct site *s, struct site_definition *d, const struct site_definition *previous) {
    d->cluster.name = STR("c");
    d->cluster.serial = ++site_serial;
    d->cluster.shared = s->shared;
    d->cluster.outliers = s->outliers;
    d->cluster.members = make_members(&s->balance, d->endpoints, d->count, previous ? previous->cluster.members : NULL);
}

static inline struct cluster_runtime *site_bring(struct site *s, unsigned worker, const struct site_definition *d) {
    struct cluster_runtime *c = cluster_of(&s->workers[worker], &d->cluster);
    assert_non_null(c);
    return c;
}

static inline struct endpoint_runtime *site_endpoint(struct cluster_runtime *c, unsigned port) {
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        struct endpoint_runtime *e = (struct endpoint_runtime *)c->endpoints[i];
        if (address_port(&e->address) == port)
            return e;
    }
    return NULL;
}

/* One request. */
static inline void site_end(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t latency) {
    endpoint_began(e);
    endpoint_ended(e, outcome, latency);
}

static inline void site_end_many(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t latency, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        site_end(e, outcome, latency);
}

/* A turn of its loop: what is due, and nothing of what is put off to the next turns. */
static inline void site_wake(struct site *s, unsigned worker, uint64_t now) {
    s->workers[worker].turn++;
    s->workers[worker].now = now;
    wheel_advance(&s->workers[worker].wheel, now);
}

/* As many turns as there is to do. */
static inline void site_set_worker_time(struct site *s, unsigned worker, uint64_t now) {
    site_wake(s, worker, now);
    worker_empty_mailbox(&s->workers[worker]);
}

static inline void site_pass(struct site *s, uint64_t time) {
    s->now += time;
    for (unsigned i = 0; i < OUTLIER_WORKERS; i++)
        site_set_worker_time(s, i, s->now);
}

static inline uint64_t site_ejections(const struct site *s, enum ejection_reason reason) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < OUTLIER_WORKERS; i++)
        sum += stats_read(&s->workers[i].stats->ejections[reason]);
    return sum;
}

/* As the metric. */
static inline uint64_t site_ejected(const struct site *s) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < OUTLIER_WORKERS; i++)
        sum += stats_read(&s->workers[i].stats->endpoints_ejected);
    return sum;
}

static inline bool is_out(struct cluster_runtime *c, unsigned port) {
    return !endpoint_is_available(site_endpoint(c, port));
}

static inline unsigned count_out(struct cluster_runtime *c) {
    unsigned count = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        count += !endpoint_is_available((struct endpoint_runtime *)c->endpoints[i]);
    return count;
}

/* Two workers' views of a definition that is made whole. */
static inline void site_take(struct site *s, struct site_definition *d, const struct site_definition *previous,
                             struct cluster_runtime *ret[2]) {
    site_complete(s, d, previous);
    for (unsigned i = 0; i < 2; i++)
        ret[i] = site_bring(s, i, d);
}

/* Two workers' views of `count` endpoints. */
static inline void site_begin(struct site *s, unsigned count, struct cluster_runtime *ret[2]) {
    static struct site_definition d;
    site_define(&d, count);
    site_take(s, &d, NULL, ret);
}

/* To the end of the interval and past its judgement. */
static inline void site_end_interval(struct site *s) {
    uint64_t end = (s->now / s->outliers.interval + 1) * s->outliers.interval;
    site_pass(s, end - s->now + 10000);
    site_pass(s, 100000);
}
