/* many_endpoints.h — a cluster of very many endpoints on one worker, that are made and changed some at a time. */
#pragma once

#include "tests/unit/dataplane/back/fake_codec.h"

#ifndef MANY_ENDPOINTS
#define MANY_ENDPOINTS 5000
#endif

enum { SECOND = 1000000, MANY = MANY_ENDPOINTS, AT_ONCE = 1024, SLICE = 256, SPARE = 100 };

static const uint32_t one[] = {1};
static const enum balance_kind kinds[] = {BALANCE_ROUND_ROBIN,       BALANCE_RANDOM,    BALANCE_LEAST_REQUEST,
                                          BALANCE_LEAST_CONNECTIONS, BALANCE_PEAK_EWMA, BALANCE_RING_HASH,
                                          BALANCE_MAGLEV,            BALANCE_FIRST};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct definition d;
static struct endpoint_definition many[MANY + SPARE];
static char texts[MANY + SPARE][32];
static struct cluster_members *newest;

static inline void define_many(enum balance_kind kind) {
    define(&d, 1, one);
    d.rules.kind = kind;
    d.rules.choices = 2;
    d.rules.table_size = 65537;
    d.rules.ring_size = 65536;
    d.rules.ewma_decay = 10 * SECOND;
    newest = NULL;
    for (unsigned i = 0; i < MANY + SPARE; i++) {
        snprintf(texts[i], sizeof texts[i], "10.%u.%u.%u:80", i / 65536, i / 256 % 256, i % 256);
        many[i] = (struct endpoint_definition){.text = str_of(texts[i]), .weight = 1 + i % 3, .is_usable = i % 7 != 0,
                                               .is_draining = i % 21 == 0, .priority = i % 5 == 4};
        assert_int_equal(address_parse(many[i].text, &many[i].address), 0);
    }
}

static inline struct cluster_runtime *bring_count(uint32_t count) {
    newest = d.cluster.members = make_members(&d.rules, many, count, newest);
    d.cluster.serial = ++next_serial;
    return cluster_of(&worker, &d.cluster);
}

static inline struct endpoint_runtime *endpoint_of(const struct cluster_runtime *c, uint32_t place) {
    return (struct endpoint_runtime *)c->endpoints[place];
}

static inline uint32_t count_ejected(const struct cluster_members *m) {
    uint32_t ejected = 0;
    for (uint32_t i = 0; i < m->count; i++)
        ejected += atomic_load(&m->endpoints[i].shared->ejected_until) != 0;
    return ejected;
}

/* A connection that is kept. NULL: there is no room for one. */
static inline struct client_connection *try_to_keep(struct endpoint_runtime *e) {
    struct client_connection *link = connect_for_nobody(e, 17);
    if (link)
        report_connected(link);
    return link;
}

static inline struct client_connection *keep(struct endpoint_runtime *e) {
    struct client_connection *link = try_to_keep(e);
    assert_non_null(link);
    assert_true(is_open(link));
    return link;
}

static inline void turn(void) {
    ev_run(worker.loop, EVRUN_NOWAIT);
}

static inline uint32_t count_made(const struct cluster_runtime *c) {
    uint32_t made = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        made += c->endpoints[i] != NULL;
    assert_int_equal(made + c->filling.missing, c->endpoint_count);
    return made;
}

/* Once all of them are there. */
static inline struct cluster_runtime *bring_whole(enum balance_kind kind, uint32_t count) {
    define_many(kind);
    struct cluster_runtime *c = bring_count(count);
    worker_empty_mailbox(&worker);
    assert_int_equal(count_made(c), count);
    return c;
}

/* Groups count all members, made or not, as the definition says of them. */
static inline void check_counts(const struct cluster_runtime *c) {
    for (uint32_t g = 0; g < c->group_count; g++) {
        const struct group_definition *gd = c->groups[g]->definition;
        uint32_t eligible = 0, available = 0;
        uint64_t weight = 0;
        for (uint32_t i = 0; i < gd->count; i++) {
            const struct endpoint_definition *e = &c->members->endpoints[gd->members[i]];
            eligible += !e->is_draining;
            available += e->is_usable;
            weight += e->is_usable ? e->weight : 0;
        }
        assert_int_equal(c->groups[g]->eligible, eligible);
        assert_int_equal(c->groups[g]->available, available);
        assert_int_equal(c->groups[g]->available_weight, weight);
    }
}

static inline void pick_some(struct cluster_runtime *c, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct endpoint_runtime *e = cluster_pick(c, &(struct pick){.hash = worker_random(&worker), .has_hash = i % 2});
        assert_non_null(e);
        assert_true(endpoint_is_available(e));
        endpoint_began(e);
        endpoint_ended(e, ENDPOINT_SUCCESS, 1000);
    }
}
