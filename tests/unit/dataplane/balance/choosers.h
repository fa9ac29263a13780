/* choosers.h — a group of made-up endpoints, and bounds for what chance does. Seeds are fixed: a test gives the same each
 * time. */
#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "dataplane/balance/balance.h"
#include "tests/unit/common/cmocka_all.h"

enum { CANDIDATES_MOST = 2048, SECOND = 1000000 };

struct choosers {
    struct balance_rules    rules;
    struct candidate        candidates[CANDIDATES_MOST];
    struct candidate       *places[CANDIDATES_MOST];
    _Atomic uint64_t        out_until[CANDIDATES_MOST];
    char                    names[CANDIDATES_MOST][24];
    struct balance_member   members[CANDIDATES_MOST];
    uint32_t                indices[CANDIDATES_MOST];
    struct group_definition definition;
    struct group            group;
    bool                    changes;
    uint64_t                now, random;
    uint32_t                count;
    uint32_t                counts[CANDIDATES_MOST]; /* of choices */
};

static inline void choosers_init(struct choosers *c, enum balance_kind kind) {
    memset(c, 0, sizeof *c);
    c->rules = (struct balance_rules){.kind = kind, .table_size = 65537, .ring_size = 1024, .choices = 2,
                                      .ewma_decay = 10 * SECOND, .slow_start_power = 1, .slow_start_least = 0.1,
                                      .panic_threshold = 50, .overprovisioning = 140};
    c->now = 1000 * (uint64_t)SECOND;
    c->random = 88172645463325252u;
}

static inline void choosers_add(struct choosers *c, unsigned name, uint32_t weight) {
    uint32_t i = c->count++;
    assert_true(i < CANDIDATES_MOST);
    snprintf(c->names[i], sizeof c->names[i], "10.0.%u.%u:8080", name / 256, name % 256);
    c->members[i] = (struct balance_member){str_of(c->names[i]), weight};
    c->indices[i] = i;
    c->candidates[i] = (struct candidate){.weight = weight, .step = 1.0 / weight, .is_usable = true, .was_available = true,
                                          .out_until = &c->out_until[i]};
    c->candidates[i].placements = &c->candidates[i].one;
    c->candidates[i].placement_count = 1;
    c->places[i] = &c->candidates[i];
}

/* After the last one was added. */
static inline void choosers_ready(struct choosers *c) {
    c->definition = (struct group_definition){.count = c->count, .members = c->indices};
    assert_int_equal(balance_table_make(&c->rules, c->members, c->count, NULL, &c->definition.table), 0);
    c->group = (struct group){.definition = &c->definition, .candidates = c->places, .changes = &c->changes};
    assert_int_equal(group_reserve(&c->group, &c->rules, c->count), 0);
    for (uint32_t i = 0; i < c->count; i++) {
        c->definition.weight += c->candidates[i].weight;
        placement_add(&c->candidates[i].one, &c->group, &c->candidates[i], &c->rules,
                      (double)(balance_random(&c->random) >> 11) * 0x1p-53, c->now);
    }
}

static inline void choosers_make(struct choosers *c, enum balance_kind kind, uint32_t count, const uint32_t *weights) {
    choosers_init(c, kind);
    for (uint32_t i = 0; i < count; i++)
        choosers_add(c, i, weights ? weights[i] : 1);
    choosers_ready(c);
}

static inline void choosers_finish(struct choosers *c) {
    balance_table_unref(c->definition.table);
    group_finish(&c->group);
}

/* The index of the one that is chosen, or -1. */
static inline int choose_with(struct choosers *c, struct choice choice) {
    choice.rules = &c->rules;
    choice.now = c->now;
    choice.random = &c->random;
    struct candidate *e = group_choose(&c->group, &choice);
    return e ? (int)(e - c->candidates) : -1;
}

static inline int choose_one(struct choosers *c) {
    return choose_with(c, (struct choice){.hash = 0});
}

static inline int choose_by_hash(struct choosers *c, uint64_t hash) {
    return choose_with(c, (struct choice){.hash = hash, .has_hash = true});
}

static inline void count_choices(struct choosers *c, unsigned n) {
    memset(c->counts, 0, sizeof c->counts);
    for (unsigned i = 0; i < n; i++) {
        int chosen = choose_one(c);
        assert_true(chosen >= 0);
        c->counts[chosen]++;
    }
}

static inline void set_usable(struct choosers *c, uint32_t i, bool is_usable) {
    c->candidates[i].is_usable = is_usable;
    candidate_recount(&c->candidates[i], &c->rules, c->now);
}

/* The value that chi-square of so many degrees of freedom exceeds once in a million times (Wilson and Hilferty 1931). */
static inline double chi_square_bound(unsigned degrees) {
    double a = 2.0 / (9.0 * degrees), root = 1 - a + 4.753 * sqrt(a);
    return degrees * root * root * root;
}

/* `counts` are drawn by these weights; a weight of 0 is never drawn. */
static inline void assert_drawn_by(const uint32_t *counts, const double *weights, uint32_t n) {
    double total = 0, drawn = 0, sum = 0;
    unsigned degrees = 0;
    for (uint32_t i = 0; i < n; i++)
        total += weights[i], drawn += counts[i];
    for (uint32_t i = 0; i < n; i++) {
        double expected = drawn * weights[i] / total;
        if (weights[i] <= 0) {
            assert_int_equal(counts[i], 0);
            continue;
        }
        assert_true(expected >= 5); /* below that the bound says nothing */
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
        degrees++;
    }
    if (degrees > 1 && sum > chi_square_bound(degrees - 1))
        fail_msg("chi-square is %.1f, at most %.1f is expected", sum, chi_square_bound(degrees - 1));
}

/* The n-th of keys that have nothing in common. */
static inline uint64_t key_at(uint64_t n) {
    uint64_t x = n + 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u * (2 * n + 1);
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
