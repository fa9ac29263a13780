/* state_saver.h — the state on its way to the disk beside the loop, which a disk would hold up.
 *
 * For states that nobody waits for: what must be durable before something else happens is saved by engine_save_state, which
 * drops what is under way here. Thread: the loop's, every function. */
#pragma once

#include "common/arena.h"
#include "controlplane/channel/snapshot.h"
#include "controlplane/engine/aside.h"
#include "controlplane/store/store.h"

struct engine;

struct state_saver {
    /* set by the owner, the rest zeroed */
    struct engine  *engine;
    /* The save has ended: 0, or -1 with at least one error. Not called for one that was dropped. */
    void          (*saved)(struct engine *e, int status, const struct error_list *errors);
    /* ours */
    struct aside    aside;
    bool            is_running;
    struct part    *parts[4];           /* hold the bytes that are written */
    struct arena    names;
    struct store_resource *list;
    struct store_state     state;
    int             status;             /* the thread's until it has ended, as is the next */
    struct error_list errors;
};

/* Begins to save this state, unless one is under way. 0, or -1 with an error. */
int  state_saver_begin(struct state_saver *s, struct part *state, uint64_t generation, struct error_list *errors);
/* Waits for the one that is under way, of which nothing is told. Whether there was one. */
bool state_saver_drop(struct state_saver *s);
