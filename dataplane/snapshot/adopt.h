/* adopt.h — how a resource set becomes what is served: build, access log, sockets; then the switch and the
 * copy on disk.
 *
 *   IDLE --prepare--> BUILDING --> OPENING --> READY --commit--> SWITCHING --> IDLE
 *
 * Up to READY nothing has changed for traffic, and _abort (or an error) leaves nothing behind. Nothing here
 * blocks; the build itself takes the main thread's time. Thread: main. */
#pragma once

#include <ev.h>

#include "common/error.h"
#include "dataplane/snapshot/resource_set.h"

struct dataplane;
struct lastgood;
struct listen_sockets;
struct log_output;
struct log_ring;
struct snapshot;

/* What builds and switches; a test has its own. Contracts in build.h and dataplane.h. */
struct adopt_ops {
    int (*build)(struct resource_set *resources, const struct snapshot *previous, struct snapshot **ret,
                 struct error_list *errors);
    void (*free)(struct snapshot *snapshot);
    const struct snapshot *(*current)(const struct dataplane *dataplane);
    void (*set_access_log)(struct dataplane *dataplane, unsigned worker, struct log_ring *ring);
    int (*switch_to)(struct dataplane *dataplane, struct snapshot *snapshot,
                     struct listen_sockets *sockets, void (*done)(void *arg, uint64_t switch_us),
                     void *arg);
};
extern const struct adopt_ops adopt_real_ops;

enum adopt_state { ADOPT_IDLE, ADOPT_BUILDING, ADOPT_OPENING, ADOPT_READY, ADOPT_SWITCHING };

struct adopter {
    /* set by the owner, the rest zeroed */
    const struct adopt_ops *ops;
    struct ev_loop         *loop;
    struct dataplane       *dataplane;
    unsigned                workers;
    struct listen_sockets  *sockets;
    struct log_output      *log;
    struct lastgood        *lastgood;      /* NULL: nothing is written */
    void (*on_serving)(void *arg, struct resource_set *serving); /* after every commit; NULL: nobody */
    void                   *serving_arg;
    /* ours */
    enum adopt_state        state;
    struct resource_set    *serving;       /* NULL before the first */
    /* while not IDLE */
    struct resource_set    *candidate;
    struct snapshot        *built;
    struct error_list       errors;
    uint64_t                began_us, build_us, switch_us;
    unsigned                waiting;       /* steps under way */
    ev_timer                retry;         /* of a switch that found no memory */
    bool                    has_persist_error;
    char                    persist_error[256];
    void                  (*on_prepared)(void *owner, const struct error_list *errors, uint64_t build_us);
    void                  (*on_committed)(void *owner, uint64_t switch_us, const char *persist_error);
    void                   *owner;
};

/* Checks and builds `candidate` (a reference is taken). `on_prepared` is called once, possibly before this
 * returns: without errors the set is READY, otherwise all is as before. */
void adopt_prepare(struct adopter *a, struct resource_set *candidate,
                   void (*on_prepared)(void *owner, const struct error_list *errors, uint64_t build_us),
                   void *owner);
/* Serves what is READY. `on_committed` is called when every worker has switched and, unless only the state
 * part changed, the copy on disk is written; `persist_error` NULL: it is. a->serving is the new set then.
 * `is_stored`: it is on disk already. */
void adopt_commit(struct adopter *a, bool is_stored,
                  void (*on_committed)(void *owner, uint64_t switch_us, const char *persist_error),
                  void *owner);
/* Drops what was prepared. Not while SWITCHING. */
void adopt_abort(struct adopter *a);
void adopter_finish(struct adopter *a);
