/* ejection_log.h — ejections and returns on their way from the workers to the log: a worker never waits for the log.
 *
 * A bounded list; what does not fit is counted and told as a number. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/back/outliers.h"

struct cluster_shared;
struct endpoint_shared;
struct ejection_log;

struct ejection_event {
    bool                    is_return;
    enum ejection_reason    reason;      /* of an ejection, as the two below */
    uint32_t                in_row;
    uint64_t                duration;    /* microseconds */
    struct endpoint_shared *endpoint;
    struct cluster_shared  *cluster;
};

/* `wake` is called on any thread when there is something to write. NULL: no memory. Thread: main, as of write
 * and destroy. */
struct ejection_log *ejection_log_create(void (*wake)(void *), void *arg);
/* Takes references of its own. Thread: any. NULL is allowed: nobody wants to know. */
void                 ejection_log_put(struct ejection_log *, const struct ejection_event *);
void                 ejection_log_write(struct ejection_log *);
/* Writes what waits. NULL is allowed. */
void                 ejection_log_destroy(struct ejection_log *);
