/* dataplane.h — the workers as a whole: starting them, switching them to a snapshot, draining and stopping them.
 *
 * Thread: main, for every function; callbacks are called there too. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "dataplane/core/log_ring.h"
#include "dataplane/core/stats.h"
#include "dataplane/snapshot/build.h"

struct dataplane;
struct listen_sockets;

/* Makes `workers` workers on `loop`'s process and starts their threads. NULL: no memory or no thread (errno). */
struct dataplane *dataplane_create(struct ev_loop *main_loop, unsigned workers);
/* Stops the threads and frees everything. Open connections are cut. NULL is allowed. */
void              dataplane_destroy(struct dataplane *);

unsigned          dataplane_worker_count(const struct dataplane *);
/* Live counters of a worker, to be read with stats_read(). */
const struct stats *dataplane_worker_stats(const struct dataplane *, unsigned worker);

/* Publishes the snapshot to all workers and takes ownership of it; -1 without memory, and it stays the caller's. Each takes
 * it at a loop boundary; exchanges under way keep the one that they began with. `done` is called when all have, with the
 * microseconds from this call. Listening sockets must be held by `sockets` for every address of the snapshot. At most one
 * switch is under way. */
int dataplane_switch(struct dataplane *, struct snapshot *, struct listen_sockets *sockets,
                     void (*done)(void *arg, uint64_t switch_us), void *arg);
const struct snapshot *dataplane_snapshot(const struct dataplane *);   /* the newest; NULL before the first */

/* Where finished access records of a worker go from the next switch on; NULL: off. The ring outlives the data plane. */
void dataplane_set_access_log(struct dataplane *, unsigned worker, struct log_ring *);

/* Stops accepting and lets open exchanges finish. `done` is called when no client connection is left or the time is up. */
void dataplane_drain(struct dataplane *, uint64_t timeout_us, void (*done)(void *arg), void *arg);
bool dataplane_is_draining(const struct dataplane *);
