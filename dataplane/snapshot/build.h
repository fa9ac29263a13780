/* build.h — from the decoded resources of a snapshot to what workers use.
 *
 * Definitions are immutable and shared: what is unchanged since the previous snapshot (same resource ids) is taken over, not
 * built again. Building happens on the main thread, off the hot path, and touches no socket. Thread: main. */
#pragma once

#include <stdatomic.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/map.h"
#include "dataplane/back/cluster.h"
#include "dataplane/core/view.h"
#include "dataplane/http/definitions.h"
#include "dataplane/snapshot/resource_set.h"

/* One address that is listened on with TCP, UDP or both, and what serves it. Another may have the same for the other one. */
struct served_address {
    struct address                    address;
    const struct listener_definition *listener;
};

struct unnamed_port;                             /* http3.c */
struct shared_table;                             /* a compiled route table, shared between snapshots */

/* What a table is bound to: with the same clusters the next snapshot need not look for them by name. */
struct table_binding {
    const uint32_t *places;                      /* of the table's clusters, in snapshot.clusters */
    const uint64_t *subsets;
};

/* Definitions of clusters that stand beside each other: successive snapshots share those groups in which nothing changed, so
 * that the others' definitions are not touched. */
enum { DEFINITIONS_OF_GROUP = 64 };

struct definition_group {
    unsigned                     references;     /* by snapshots */
    size_t                       count;
    struct cluster_definition   *definitions[DEFINITIONS_OF_GROUP]; /* each referenced */
};

struct snapshot {
    struct snapshot_identity     id;
    struct resource_part         intent, state;  /* that it was built from; empty: not known */
    struct arena                 arena;          /* all that is not shared */
    struct settings              settings;
    struct resource             *settings_resource; /* NULL: all defaults */
    struct served_address       *addresses;
    size_t                       address_count;
    struct map                   by_address[2];  /* of TCP and of UDP, to struct served_address, by address_key */
    struct cluster_definition  **clusters;       /* by name; those of the groups in one list */
    size_t                       cluster_count;
    struct definition_group    **groups;
    size_t                       group_count;
    struct shared_table        **tables;
    struct table_binding        *bindings;       /* beside them */
    size_t                       table_count;
    struct map                   table_by_name;  /* name -> struct bound_table */
    struct tls_server          **tls;            /* of listeners; held for them */
    size_t                       tls_count;
    struct pass_definition      *passes;         /* by next */
    const struct log_service   **log_services;   /* of all listeners, without duplicates */
    unsigned                     log_service_count;
    struct unnamed_port         *unnamed_ports;  /* of listeners that speak of a port that the system picks */
    struct route_table         **log_tables;     /* beside them */
    struct cluster_definition  **changed;        /* new, or other than in the previous snapshot */
    size_t                       changed_count;
    uint32_t                    *dropped;        /* slots of clusters that the previous snapshot had and this has not */
    size_t                       dropped_count;
    bool                         has_other_clusters; /* than the previous one, by name or by more than endpoints */
    /* once published: */
    struct snapshot_view        *views;          /* one per worker */
    _Atomic unsigned             quiet_workers;
    struct snapshot             *next_retired;
};

/* Builds a snapshot of `resources`; `previous` may be NULL. Every fault is added to `errors` with resource and field path.
 * Returns 0, or -1 (then *ret is untouched). */
int  snapshot_build(struct resource_set *resources, const struct snapshot *previous, struct snapshot **ret,
                    struct error_list *errors);
/* Frees a snapshot that no worker uses: never published, or quiet on all. NULL is allowed. */
void snapshot_free(struct snapshot *);
