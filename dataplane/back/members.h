/* members.h — the immutable half of a cluster's endpoints: who they are, and the groups that choices are made from.
 *
 * Made once on the main thread for all workers. It outlives the snapshot as long as a worker's run-time state was made by
 * it, so it is counted; it is shared by the definitions between which nothing of it has changed. What is different from the
 * one before is noted, so that a worker that has that one need not look at the rest. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"
#include "common/arena.h"
#include "dataplane/balance/balance.h"

/* What all workers share of an endpoint. Made on the main thread, taken over by the next definition that has the address;
 * counted by the definitions and by the workers' run-time state. Relaxed atomics. */
struct endpoint_shared {
    _Atomic uint32_t references;
    _Atomic uint32_t requests, connections; /* under way, of all workers */
    _Atomic uint64_t ejected_until;         /* monotonic; 0: not ejected. The lowest bit: its place was given back */
    _Atomic uint64_t rows;                  /* of failures, one after the other without a success: outliers.c */
    _Atomic uint64_t last_ejected_until;
    _Atomic uint32_t ejections_in_row;      /* as of then */
    _Atomic bool     is_gone;               /* from the cluster: not ejected any more */
    _Atomic uint64_t http3_not_before;      /* monotonic; HTTP/3 has failed, and is not tried before then (fallback.c) */
    _Atomic uint32_t http3_failures;        /* one after the other */
    uint32_t         judged_as;             /* of the worker that judges, as the next: its entry, in that judgement */
    uint64_t         judged_until;
    char             text[];                /* "127.0.0.1:9001", for logs */
};

struct metadata {
    struct str key, value;
};

struct endpoint_definition {
    struct address address;
    struct str     text;                   /* "127.0.0.1:9001" */
    struct str     hostname;               /* may be empty */
    uint64_t       tls_choice;             /* id of one of the cluster's; 0: its own TLS */
    uint32_t       weight;                 /* 0: never chosen */
    bool           is_usable;              /* neither unhealthy nor draining */
    bool           is_draining;
    bool           is_remote;              /* of another zone, where that counts */
    uint8_t        priority;
    const struct metadata *metadata;       /* by key */
    uint32_t       metadata_count;
    struct endpoint_shared *shared;
};

/* Keys by which rules may choose, in byte order. */
struct subset_selector {
    const struct str *keys;
    uint32_t          count;
};

enum { NO_PLACE = UINT32_MAX };

enum { MEMBERS_UNWELL = 8 };              /* that are noted by place */

struct endpoint_id {
    uint64_t id;
    uint32_t place;
};

struct cluster_members {
    _Atomic uint32_t            references;
    struct arena                arena;
    uint64_t                    serial, previous_serial; /* of no two of the process the same; 0: none */
    struct balance_rules        rules;
    const struct subset_selector *selectors;
    uint32_t                    selector_count;
    bool                        subset_fallback;
    struct endpoint_definition *endpoints;
    uint32_t                    count;
    uint32_t                    unhealthy_count, draining_count; /* one that drains is not counted as unhealthy */
    uint32_t                    unwell[MEMBERS_UNWELL]; /* the first of both */
    const struct group_definition *groups;
    uint32_t                    group_count;
    uint64_t                    table_entries;  /* of the tables of all groups; above the rules' bound: completing failed */
    const uint32_t             *first_group;  /* by place: where in group_of its groups begin; one more for the end */
    const uint32_t             *group_of;     /* indices of groups */
    bool                        wants_ids;    /* set by the caller */
    const struct endpoint_id   *ids;          /* if wanted: all, by id */
    const uint32_t             *previous;     /* place in the one before, or NO_PLACE */
    const uint32_t             *changed;      /* places that are new or different */
    const uint32_t             *removed;      /* places of the one before that are gone */
    uint32_t                    changed_count, removed_count;
};

/* All of main's thread but unref. NULL: no memory. */
/* With room for `count` endpoints, zeroed. Endpoints, rules and selectors are filled by the caller, from `arena`. */
struct cluster_members *cluster_members_create(uint32_t count);
/* The rest: groups, tables, what is shared with `previous` (may be NULL), what has changed since. An address that stands
 * twice counts once. 0, or -1 without memory: then it can only be unref'd. */
int                     cluster_members_complete(struct cluster_members *, const struct cluster_members *previous);
struct cluster_members *cluster_members_ref(struct cluster_members *);
/* Thread: any; the last one frees. NULL is allowed. */
void                    cluster_members_unref(struct cluster_members *);

/* What struct pick calls the endpoints with all of these (by key; at least one). Never 0. */
uint64_t cluster_subset(const struct metadata *, uint32_t count);

/* What a cookie calls an endpoint: the same in every process. Never 0. */
uint64_t endpoint_id(struct str text);
/* The place of the endpoint with this id, or NO_PLACE. Thread: any. */
uint32_t cluster_find_id(const struct cluster_members *, uint64_t id);

struct endpoint_shared *endpoint_shared_create(struct str text);
struct endpoint_shared *endpoint_shared_ref(struct endpoint_shared *);
void                    endpoint_shared_unref(struct endpoint_shared *);   /* thread: any */
