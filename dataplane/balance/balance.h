/* balance.h — choosing one of many endpoints. What is known here of an endpoint is a *candidate*; connections, HTTP and
 * snapshots are not known.
 *
 * A *group* is what one choice is made from. Its definition (members, table) is immutable, made on the main thread and
 * shared by all workers; `struct group` is one worker's. A table contains all members: one that is unavailable is passed
 * over when it comes up, so that becoming unwell builds no table and moves no other's requests.
 * docs/internals/clusters.md */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

enum { BALANCE_PRIORITIES = 128 };

enum balance_kind {
    BALANCE_ROUND_ROBIN,
    BALANCE_RANDOM,
    BALANCE_LEAST_REQUEST,
    BALANCE_LEAST_CONNECTIONS,
    BALANCE_PEAK_EWMA,
    BALANCE_RING_HASH,
    BALANCE_MAGLEV,
    BALANCE_FIRST,
};

/* How a cluster's endpoints are chosen. Microseconds and percent. */
struct balance_rules {
    enum balance_kind kind;
    uint32_t table_size;         /* Maglev: slots, a prime */
    uint32_t ring_size;          /* ring hash: points at least */
    uint64_t max_table_entries;  /* of all tables of a cluster; 0: no bound */
    uint32_t load_bound;         /* hash balancers: percent of the mean of requests under way; 0: none */
    uint32_t choices;            /* least request, peak EWMA */
    uint64_t ewma_decay;
    uint64_t slow_start;         /* window; 0: none */
    double   slow_start_power;   /* of age / window */
    double   slow_start_least;   /* share of the weight, above 0 */
    uint32_t panic_threshold, overprovisioning;
};

/* ---- tables (table.c; alias.c, maglev.c, ring.c): shared, immutable */

struct balance_member {
    struct str name;             /* what it is hashed by */
    uint32_t   weight;           /* at least 1 */
};

struct balance_table {
    _Atomic uint32_t references;
    uint64_t  fingerprint;       /* of rules and members in their order */
    uint32_t  size;              /* slots, points, or members */
    uint32_t *members;           /* Maglev: by slot; ring: by point; alias: who takes the rest of a member's column */
    uint64_t *points;            /* ring: ascending */
    uint32_t *thresholds;        /* alias: share of its column that a member keeps, of 2^32 - 1 */
};

/* 0 and a counted table, NULL where the rules need none (round robin, equal weights); -1 without memory. The previous table
 * is returned where it would be the same. Thread: main. */
int  balance_table_make(const struct balance_rules *, const struct balance_member *, uint32_t count,
                        struct balance_table *previous, struct balance_table **ret);
/* Thread: any; the last one frees. NULL is allowed. */
void balance_table_unref(struct balance_table *);

/* ---- groups */

struct group_definition {
    uint64_t subset;             /* 0: all endpoints. Groups are ordered by subset, priority, is_remote */
    uint32_t priority;
    bool     is_remote;          /* of another zone than ours, where that counts */
    uint32_t count;
    uint64_t weight;             /* of all members */
    const uint32_t *members;     /* places in the owner's list of candidates, in the order of that list */
    uint32_t eligible, available; /* members, as the definition says; available_weight likewise */
    uint64_t available_weight;
    struct balance_table *table; /* may be NULL; numbers members by their index here */
};

struct group;
struct candidate;

/* A candidate's place in one group. */
struct placement {
    struct candidate *candidate;
    struct group     *group;
    uint32_t          heap_index;
    uint32_t          weight;                     /* as counted in the group */
    double            tie;                        /* least connections: whose turn it is among equals */
    bool              is_available, is_eligible;  /* as counted in the group */
};

/* What balancers know of an endpoint. Embedded by the owner. */
struct candidate {
    uint32_t weight;
    bool     is_usable;                /* by definition: not unhealthy, not draining */
    bool     is_draining;              /* gets nothing, whatever happens */
    bool     was_available;            /* when it was last counted */
    const _Atomic uint64_t *out_until; /* ejected until then */
    double   step;                     /* 1 / weight */
    uint32_t active;                   /* requests under way on this worker */
    double   latency;                  /* peak EWMA: expected, microseconds; 0: not known */
    uint64_t latency_at;               /* when it was that */
    uint64_t fresh_since;              /* slow start; 0: it is over */
    struct placement *placements;      /* `one`, or a block of the owner's */
    uint32_t placement_count;
    struct placement one;
};

struct heap_entry {
    double key;                  /* round robin: when its turn is due; least connections: load */
    struct placement *placement;
};

/* Makes the candidate at a place that has none yet. `panics`: also one that is not usable. NULL: it is not wanted, or there
 * is no memory for it. */
struct candidate_source {
    struct candidate *(*make)(struct candidate_source *, uint32_t place, bool panics);
};

/* One worker's. Where an owner makes candidates by and by, those that are not there yet count as the definition says.
 *
 * Where very many members change at once, another group follows, and they move there some at a time. The one before is not
 * chosen from any more; it passes on what its members do, and is freed with the last of them. */
struct group {
    const struct group_definition *definition; /* NULL: the owner has left it */
    struct group *successor;               /* of one that was left; NULL: none */
    bool     keeps_turns;                  /* the successor goes by the same turns */
    uint32_t held;                         /* by placements, and by groups that it is the successor of */
    struct candidate *const *candidates;   /* by place; the owner's. NULL: asked for from `source` when it comes up */
    struct candidate_source *source;
    struct heap_entry *heap;               /* round robin, least connections: all members */
    uint32_t heap_count, heap_capacity;
    double   turn;                         /* virtual time */
    uint32_t eligible, available;          /* members */
    uint64_t available_weight;
    uint32_t active;                       /* requests under way */
    uint32_t parked;                       /* least connections: unavailable ones at the bottom of the heap */
    uint32_t first;                        /* first available: all before it are not */
    bool     has_changed;                  /* its counts, since the owner last computed shares */
    bool    *changes;                      /* set with it; the owner's, for all its groups */
};

/* What one request wants. */
struct choice {
    const struct balance_rules *rules;
    uint64_t  now;
    uint64_t *random;                      /* state of a xorshift64* generator, not 0 */
    uint64_t  hash;
    bool      has_hash;                    /* without, hash balancers choose by chance */
    bool      panics;                      /* availability does not count */
    uint32_t  tried_count;
    const void *const *tried;              /* candidates to pass over while there are others */
    bool     only_untried;                 /* and to pass over in any case */
};

/* NULL: there is none. Takes no memory. Cost in endpoints n: round robin and least connections log n, ring hash the
 * logarithm of its points, all others constant; up to n while fewer than about one in 64 is available, and for a key whose
 * requests under way have filled all that it comes up to (`load_bound`). */
struct candidate *group_choose(struct group *, const struct choice *);

/* Round robin, where the owner knows that what was counted last is true, and the request has no wishes: the next turn.
 * NULL: it is that of one that was not available or is fresh, and still due; group_choose sees to it. The group has
 * members. */
struct candidate *group_take_turn(struct group *);

/* Room for this many members. 0, or -1 without memory. */
int  group_reserve(struct group *, const struct balance_rules *, uint32_t count);
void group_finish(struct group *);
/* Goes on for another one, which is left next. Both are blocks of hg_malloc. `keeps_turns`: of the same kind. */
void group_follow(struct group *, struct group *before, bool keeps_turns);
/* Frees it, at once or with the last one that holds it. */
void group_leave(struct group *);

/* A candidate joins; `random` in 0..1 spreads the first turns. Needs the room. */
void placement_add(struct placement *, struct group *, struct candidate *, const struct balance_rules *, double random,
                   uint64_t now);
/* The same of one that the group counts already, as what the definition says of it (group_count_missing). */
void placement_add_counted(struct placement *, struct group *, struct candidate *, const struct balance_rules *,
                           double random, uint64_t now);
/* The same of one that comes from other groups, which are all left; `before` are its placements there (not `placements` of
 * the candidate any more). Where one of these is followed by this group, its turn is what it was. */
void placement_take_over(struct placement *, struct group *, struct candidate *, const struct balance_rules *, double random,
                         uint64_t now, const struct placement *before, uint32_t before_count);
/* One that is not there yet: `by` 1 counts it, -1 does not any more. */
void group_count_missing(struct group *, bool is_eligible, bool is_available, uint32_t weight, int by);
/* All members are not there yet. The group is new. */
void group_count_all_missing(struct group *, const struct group_definition *);
/* Also from a group that was left. */
void placement_remove(struct placement *, const struct balance_rules *);

bool candidate_is_available(const struct candidate *, uint64_t now);
/* To be called when weight, use or ejection may have changed. A candidate that has become available begins slowly. */
void candidate_recount(struct candidate *, const struct balance_rules *, uint64_t now);
/* The same where nothing but ejection may have changed, to be called now and then. Returns whether it was so. */
bool candidate_look(struct candidate *, const struct balance_rules *, uint64_t now);
/* Around each request. */
void candidate_began(struct candidate *, const struct balance_rules *);
void candidate_ended(struct candidate *, const struct balance_rules *);
/* Peak EWMA: a response took so long; and: none came. */
void candidate_note_latency(struct candidate *, const struct balance_rules *, uint64_t latency, uint64_t now);
void candidate_note_failure(struct candidate *, const struct balance_rules *, uint64_t now);
double candidate_expected_latency(const struct candidate *, const struct balance_rules *, uint64_t now);
/* Share of its weight that counts: 1 but in slow start. */
double candidate_freshness(struct candidate *, const struct balance_rules *, uint64_t now);

/* ---- shares of priorities and zones (shares.c) */

struct share {
    uint32_t until;              /* of 2^32 - 1, cumulative; the last that gets anything has all the rest */
    bool     panics;
};

/* What share of the requests each group of one subset gets. False: none gets anything. */
bool balance_shares(struct group *const *groups, uint32_t count, const struct balance_rules *, struct share *ret);

/* ---- chance */

static inline uint64_t balance_random(uint64_t *state) {
    *state ^= *state << 13; /* xorshift64* (Vigna) */
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dULL;
}
