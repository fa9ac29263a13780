/* sweep.h — the clusters that a snapshot changed or dropped, on one worker: reconciled and freed in slices of the loop, so
 * that a large change does not hold up requests.
 *
 * A request for a changed cluster that has not had its turn reconciles that one itself (back/cluster.h). Until then a
 * cluster's run-time state goes by its former definition, which an exchange of an older snapshot may still connect by: so
 * the snapshot before is held, too. What a later switch cuts short is done at once. Thread: the worker's. */
#pragma once

#include "dataplane/core/view.h"
#include "dataplane/core/worker.h"

/* A zeroed one is at rest. */
struct sweep {
    struct worker_message message;   /* first */
    struct snapshot_view *view;      /* referenced; NULL: at rest */
    struct snapshot_view *before;    /* likewise; NULL: none */
    size_t                done;      /* of the snapshot's dropped, then of its changed ones */
    bool                  is_posted;
};

/* Begins with the first slice, after what an earlier sweep has left. Holds the view until the last one, and takes the
 * reference to the one before it (NULL: there was none). */
void sweep_begin(struct sweep *, struct worker *, struct snapshot_view *, struct snapshot_view *before);
