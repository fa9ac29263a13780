/* reconcile.h — how a cluster's run-time state becomes that of another list of endpoints: what the files that do it share.
 *
 * Few endpoints are made, taken over or retired at once. Of very many this is done between the worker's other work, some in
 * each turn of its loop. Thread: the worker's. docs/internals/clusters.md */
#pragma once

#include "dataplane/back/cluster.h"

enum { CHANGED_AT_ONCE = 1024 };

/* ---- reconcile.c */

/* Makes the run-time state that of these members. 0, or -1 without memory: then nothing has changed. */
int  cluster_reconcile_members(struct cluster_runtime *, struct cluster_members *);
/* Takes all endpoints out, and frees what they were chosen by. The members are gone, too. */
void cluster_retire_all(struct cluster_runtime *);

/* ---- endpoint.c */

/* One that is not in the cluster yet. NULL: no memory. */
struct endpoint_runtime *endpoint_make(struct cluster_runtime *, const struct endpoint_definition *);
void                     endpoint_free(struct endpoint_runtime *);
/* What needs memory of becoming the one at this place. `is_taken_over`: its placements are to be others. 0, or -1. */
int                      endpoint_prepare(struct endpoint_runtime *, const struct cluster_members *, uint32_t place,
                                          bool is_taken_over);
/* Undoes that. One that is new is freed. */
void                     endpoint_forget_prepared(struct endpoint_runtime *);
/* What was prepared is used; placements have to follow. */
void                     endpoint_update(struct endpoint_runtime *, const struct endpoint_definition *);
/* Puts it into these of the groups, or takes it out of all. */
void                     endpoint_attach(struct endpoint_runtime *, const struct cluster_members *, uint32_t place,
                                         struct group *const *groups);
void                     endpoint_detach(struct endpoint_runtime *);

/* ---- leaving.c */

/* Takes an endpoint out of the cluster. It is freed now, or with what it has under way. */
void     endpoint_retire(struct endpoint_runtime *);
/* All of the list, by and by; the list is the cluster's then. NULL is allowed. */
void     leaving_add(struct cluster_runtime *, struct endpoint_list *);
/* Returns what it cost: not much above `most`, and below it only when nobody is left. */
uint32_t leaving_go_on(struct cluster_runtime *, uint32_t most);

/* ---- filling.c */

/* Some endpoints now, and the rest by and by. */
void     filling_begin(struct cluster_runtime *);
void     filling_stop(struct cluster_runtime *);
void     filling_made_one(struct cluster_runtime *);
/* As leaving_go_on; below `most` also without memory. */
uint32_t filling_go_on(struct cluster_runtime *, uint32_t most);
bool     filling_has_work(const struct cluster_runtime *);

/* ---- rounds.c */

enum {
    ROUND_ENDS_EJECTIONS = 1,    /* while detection is off */
    ROUND_CLOSES = 2,            /* what is kept and may not be used again */
};

/* Each endpoint is looked at: those that are ejected, or back, are counted so. Few at once, very many by and by. */
void     rounds_begin(struct cluster_runtime *, unsigned tasks);
/* The cluster's endpoints have become others. */
void     rounds_follow_change(struct cluster_runtime *);
/* An ejection ends then. */
void     rounds_note_end(struct cluster_runtime *, uint64_t until);
void     rounds_stop(struct cluster_runtime *);
/* As leaving_go_on. */
uint32_t rounds_go_on(struct cluster_runtime *, uint32_t most);

/* ---- backlog.c */

/* A turn of the loop has 1024 of these for all clusters together, well below a millisecond. */
enum { COST_OF_MAKING = 4, COST_OF_RETIRING = 4, COST_OF_CLOSING = 32, LOOKS_PER_COST = 32, ROUND_LOOKS_PER_COST = 4,
       REPORTS_PER_COST = 2 };

/* The cluster has endpoints to be made, looked at, judged or retired. */
void backlog_add(struct cluster_runtime *);
/* All that is to be done for clusters that are dropped. */
void backlog_finish(struct worker *);
