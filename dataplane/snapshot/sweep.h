/* sweep.h — the clusters that a snapshot changed or dropped, on one worker: reconciled and freed in slices of the loop, so
 * that a large change does not hold up requests.
 *
 * A request for a changed cluster that has not had its turn reconciles that one itself (back/cluster.h). What a later switch
 * cuts short is dropped at once, before the names can come back, or reconciled on demand. Thread: the worker's. */
#pragma once

#include "dataplane/core/view.h"
#include "dataplane/core/worker.h"

/* A zeroed one is at rest. */
struct sweep {
    struct worker_message message;   /* first */
    struct snapshot_view *view;      /* referenced; NULL: at rest */
    size_t                done;      /* of the snapshot's dropped, then of its changed ones */
    bool                  is_posted;
};

/* Begins with the first slice, in place of what an earlier sweep has left. Holds the view until the last one. */
void sweep_begin(struct sweep *, struct worker *, struct snapshot_view *);
