/* reports.h — what the data plane tells the control plane about itself every few seconds. Thread: main. */
#pragma once

#include "dataplane/admin/totals.h"
#include "dataplane/snapshot/resource_set.h"

struct listen_sockets;

/* The memory behind one report. */
struct reports {
    const struct dataplane      *dataplane;
    const struct listen_sockets *sockets;
    const struct process_usage  *usage;
    uint64_t                     started_us;    /* monotonic */
    struct arena                 arena;         /* of the last report */
};

/* Fills `report`, which points into `r` until the next call. Without memory for the listeners they are
 * left out. */
void reports_fill(struct reports *r, const struct resource_set *serving, Headgate__Report *report);
void reports_finish(struct reports *r);
