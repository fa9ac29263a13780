/* view.h — a worker's hold on a snapshot. Thread: the worker's. */
#pragma once

#include <stdint.h>

struct snapshot;
struct worker;

/* New exchanges take a reference, and so do listeners for their definitions. When a view that is no longer the worker's
 * newest loses its last reference, the worker reports the snapshot quiet. */
struct snapshot_view {
    struct snapshot *snapshot;
    uint64_t         references;
    void           (*quiet)(struct worker *, struct snapshot_view *);
};

static inline void view_ref(struct snapshot_view *view) {
    view->references++;
}

static inline void view_unref(struct worker *w, struct snapshot_view *view) {
    if (--view->references == 0)
        view->quiet(w, view);
}
