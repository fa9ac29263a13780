/* observations.h — what the data plane answers when the control plane asks what it counts. Thread: main. */
#pragma once

#include "common/arena.h"
#include "proto/snapshot.pb-c.h"

struct dataplane;

enum {
    OBSERVATION_BYTES = 1 << 20,     /* of clusters in one answer, about; further ones are left out and counted */
};

/* The memory behind one answer. */
struct observations {
    const struct dataplane *dataplane;
    uint64_t                started_us;  /* monotonic */
    uint32_t                answers;
    struct arena            arena;       /* of the last answer */
};

/* Fills all but `asked`. What it points to is `o`'s until the next call. Clusters without memory for them are left out. */
void observations_fill(struct observations *o, Headgate__Observation *ret);
void observations_finish(struct observations *o);
