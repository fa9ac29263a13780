/* state_saver.h — the state on its way to the disk beside the loop, which a disk would hold up.
 *
 * A thread writes it aside and synchronizes it; then the loop puts it in its place. For states that nobody waits for: what
 * must be durable before something else happens is saved by engine_save_state. Thread: the loop's, every function. */
#pragma once

#include <ev.h>
#include <pthread.h>

#include "common/arena.h"
#include "controlplane/channel/snapshot.h"
#include "controlplane/store/store.h"

struct engine;

enum { STATE_SAVER_OVERTAKEN = 1 };     /* another state was saved meanwhile, or is about to be */

struct state_saver {
    /* set by the owner */
    struct engine  *engine;
    /* The save has ended: 0, overtaken, or -1 with at least one error. Not called for one that was dropped. */
    void          (*saved)(struct engine *e, int status, const struct error_list *errors);
    /* ours */
    ev_async        done;
    pthread_t       thread;
    bool            is_running;
    struct part    *parts[3];           /* hold the bytes that are written */
    struct arena    names;
    struct store_resource *list;
    struct store_state     state;
    uint64_t        durable_saves;      /* of the engine, when it began */
    int             status;             /* the thread's until it has ended */
    struct error_list errors;
};

/* Of a zeroed struct with its first two members set. */
void state_saver_init(struct state_saver *s);
/* A save that is under way is dropped. */
void state_saver_finish(struct state_saver *s);
/* Begins to save this state, unless one is under way. 0, or -1 with an error. */
int  state_saver_begin(struct state_saver *s, struct part *state, uint64_t generation, struct error_list *errors);
/* Waits for the one that is under way, which then counts as never begun. Whether there was one. */
bool state_saver_drop(struct state_saver *s);
