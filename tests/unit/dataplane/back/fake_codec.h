/* fake_codec.h — a codec towards origins without sockets: the test decides what becomes of each connection. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/back/cluster.h"
#include "dataplane/codec/loopback/loopback.h"
#include "tests/unit/dataplane/back/make_members.h"

#ifndef CONNECTIONS_MOST
#define CONNECTIONS_MOST 64
#endif

enum { ENDPOINTS_MOST = 32 };

struct fake_connection {
    struct client_connection link; /* first */
    struct client_options options;
    char preamble[128];
    struct loopback stream; /* of the exchange that was opened last */
    bool is_open, is_resting;
    uint64_t rest_timeout;
};

static struct worker worker;
static struct cluster_table table;
static struct fake_connection connections[CONNECTIONS_MOST];
static unsigned connection_count;
static uint32_t fake_capacity = 1;
static int connect_error; /* what the next connects fail with at once; 0: they do not */

static const struct client_codec fake_codec;

static struct client_connection *fake_connect(struct worker *w, const struct client_target *to,
                                              const struct client_options *o,
                                              const struct client_owner_ops *owner) {
    assert_ptr_equal(w, &worker);
    assert_true(address_port(to->address) != 0 && connection_count < CONNECTIONS_MOST);
    if (connect_error) {
        errno = connect_error;
        return NULL;
    }
    struct fake_connection *c = &connections[connection_count++];
    *c = (struct fake_connection){
        .link = {.codec = &fake_codec, .owner = owner, .endpoint = to->endpoint, .opened_at = w->now,
                 .capacity = fake_capacity},
        .options = *o,
        .is_open = true};
    assert_true(to->preamble.n < sizeof c->preamble);
    memcpy(c->preamble, to->preamble.p, to->preamble.n);
    return &c->link;
}

static struct leg *fake_open(struct client_connection *link) {
    struct fake_connection *c = (struct fake_connection *)link;
    loopback_finish(&c->stream);
    loopback_init(&c->stream, &worker);
    return &c->stream.leg;
}

static void fake_set_options(struct client_connection *link, const struct client_options *o) {
    ((struct fake_connection *)link)->options = *o;
}

static void fake_rest(struct client_connection *link, uint64_t idle_timeout) {
    struct fake_connection *c = (struct fake_connection *)link;
    assert_true(c->is_open);
    c->is_resting = true;
    c->rest_timeout = idle_timeout;
}

static void fake_close(struct client_connection *link) {
    struct fake_connection *c = (struct fake_connection *)link;
    assert_true(c->is_open);
    c->is_open = false;
}

static const struct client_codec fake_codec = {
    .name = "fake",
    .connect = fake_connect,
    .open = fake_open,
    .set_options = fake_set_options,
    .rest = fake_rest,
    .close = fake_close,
};

/* ---- what the connection reports */

static inline void report_connected(struct client_connection *c) {
    c->is_connected = true;
    c->owner->on_connected(c);
}

static inline void report_closed(struct client_connection *c) {
    ((struct fake_connection *)c)->is_open = false;
    c->owner->on_closed(c);
}

static inline bool is_open(const struct client_connection *c) {
    return ((const struct fake_connection *)c)->is_open;
}

/* ---- what the proxy does */

/* Opens an exchange on a connection that is there, and returns that connection; NULL: there is none. */
static inline struct client_connection *take(struct endpoint_runtime *e) {
    struct client_connection *c = pool_find(e);
    if (c)
        assert_non_null(pool_open(c));
    return c;
}

/* The connection that the waiter now waits for; NULL: errno. */
static inline struct client_connection *connect_for(struct endpoint_runtime *e, uint64_t timeout, struct client_waiter *w) {
    return pool_wait(e, timeout, w) == 0 ? w->connection : NULL;
}

/* A connection that nobody waits for. */
static inline struct client_connection *connect_for_nobody(struct endpoint_runtime *e, uint64_t timeout) {
    struct client_waiter w = {0};
    struct client_connection *c = connect_for(e, timeout, &w);
    pool_forget_waiter(&w);
    return c;
}

/* ---- definitions */

static const struct pick any_endpoint __attribute__((unused));

struct definition {
    struct cluster_definition cluster; /* first */
    struct endpoint_definition endpoints[ENDPOINTS_MOST];
    char texts[ENDPOINTS_MOST][32];
    uint32_t count;
    uint64_t made_serial; /* of the definition that its members were made for */
    struct balance_rules rules;
};

/* The worker's runtime keeps it longer than a test its definition. */
static struct cluster_shared cluster_shared;

static uint64_t next_serial;

static inline void add_endpoint(struct definition *d, unsigned port, uint32_t weight) {
    size_t i = d->count++;
    snprintf(d->texts[i], sizeof d->texts[i], "127.0.0.1:%u", port);
    d->endpoints[i] = (struct endpoint_definition){
        .text = str_of(d->texts[i]), .hostname = STR("origin.example"), .weight = weight, .is_usable = true};
    assert_int_equal(address_parse(d->endpoints[i].text, &d->endpoints[i].address), 0);
}

/* Endpoints on ports 1, 2, ... with these weights. */
static inline void define(struct definition *d, unsigned count, const uint32_t *weights) {
    *d = (struct definition){.cluster = {.name = STR("c"),
                                         .slot = 3,
                                         .serial = ++next_serial,
                                         .codec = &fake_codec,
                                         .idle_timeout = 1000,
                                         .idle_connections = 4,
                                         .requests_per_connection = 100,
                                         .connection_lifetime = 5000,
                                         .breakers = {.min_retries = 10, .retry_tokens = 1000}}};
    d->rules = round_robin_rules;
    d->cluster.shared = &cluster_shared;
    cluster_shared.references = 1 << 20; /* never the last */
    for (unsigned i = 0; i < count; i++)
        add_endpoint(d, i + 1, weights[i]);
}

/* What the main thread does before workers see a definition: once for each serial. */
static inline const struct cluster_definition *complete(struct definition *d) {
    static struct cluster_members *last;
    if (made_members_count == 0)
        last = NULL;
    if (d->made_serial != d->cluster.serial)
        last = d->cluster.members = make_members(&d->rules, d->endpoints, d->count, last);
    d->made_serial = d->cluster.serial;
    return &d->cluster;
}

static inline struct cluster_runtime *bring(struct definition *d) {
    return cluster_of(&worker, complete(d));
}

static inline int back_set_up(void **state) {
    (void)state;
    connection_count = 0;
    connect_error = 0;
    if (worker_init(&worker, 0, EVFLAG_AUTO) < 0)
        return -1;
    worker.clusters = &table;
    worker.random = 1; /* the same offsets each time */
    return 0;
}

static inline int back_tear_down(void **state) {
    (void)state;
    hg_alloc_fail_at(-1, 0);
    for (unsigned i = 0; i < connection_count; i++)
        if (connections[i].is_open && !connections[i].is_resting)
            report_closed(&connections[i].link);
    clusters_finish(&worker);
    assert_int_equal(worker.wheel.count, 0); /* also who was stopped has to leave before the memory does */
    for (unsigned i = 0; i < connection_count; i++) {
        assert_false(connections[i].is_open);
        loopback_finish(&connections[i].stream);
    }
    assert_int_equal(stats_read(&worker.stats->origin_idle_connections), 0);
    worker_finish(&worker);
    members_finish();
    return 0;
}

static inline unsigned port_of(const struct endpoint_runtime *e) {
    return e ? address_port(&e->address) : 0;
}

/* When its next turn is due, in the first of its groups; 0: nobody there has turns. */
static inline double turn_of(const struct endpoint_runtime *e) {
    const struct placement *p = &e->candidate.placements[0];
    return p->group->heap_count ? p->group->heap[p->heap_index].key : 0;
}
