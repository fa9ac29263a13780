/* secrets.h — the secrets of the engine: what of its state is made of their files. For files of the engine alone.
 * Thread: the loop's. */
#pragma once

#include <ev.h>

#include "controlplane/channel/snapshot.h"
#include "controlplane/config/config.h"
#include "controlplane/discovery/watch.h"
#include "controlplane/secrets/secrets.h"
#include "controlplane/store/store.h"

struct engine;

struct engine_secrets {
    struct secret_root root;
    struct part *kept;                  /* secrets that the state had before, for rollbacks; never sent; may be NULL */
    struct part *given;                 /* by servers, whether the intent names them or not; may be NULL */
    struct map given_now;               /* the names of those that were given since the start */
    ev_timer given_due;                 /* runs when one that is in use is another: look again */
    struct watch watch;
    struct config_sources folders;      /* that are watched */
    ev_timer due;
    struct secret_stamps stamps;        /* of the files that the state was made of */
    uint64_t expires;                   /* when the first certificate does; 0: there is none */
    uint64_t next;                      /* when to look again though no file changes, microseconds since 1970; 0: never */
    bool is_pending;                    /* look again when the push under way is over */
    struct error_list problems;         /* of the last look */
};

struct secret_request {
    const struct secret_embedded *embedded;
    size_t embedded_count;
    bool keep_old;                      /* what cannot be made stays as it is */
    bool is_for_changes;                /* look whether files have changed, even when no resource has */
};

struct secrets_made {
    struct part *state;                 /* the caller's reference */
    uint64_t next, expires;
    struct secret_stamps stamps;
    bool is_as_before;                  /* nobody looked: the three above are none */
};

void secrets_made_finish(struct secrets_made *made); /* a zeroed struct is allowed */

/* A new state in the making, in three steps, of which the second can take long and may run on any thread. Meanwhile the
 * struct stays where it is, and the engine's state, its kept secrets and its stamps as they are: a push is under way, or the
 * loop itself is at work. A zeroed struct is allowed to be finished. */
struct secrets_work {
    struct part            *before, *kept, *given; /* references; before: the current state; NULL: none */
    struct config_secrets   want;
    struct config_resources known;          /* borrowed from the first two parts */
    struct config_resources given_set;      /* from the third */
    struct secret_source    source;
    uint64_t                due;            /* when what there is has to be made again */
    bool                    is_for_changes;
    bool                    is_as_before;   /* the state stays */
    int                     status;         /* of the second step */
    struct secret_set       set;
    struct error_list       errors, warnings;
};

int  engine_secrets_init(struct engine *e, struct error_list *errors);
void engine_secrets_finish(struct engine *e);

/* The current state with the secrets that these resources refer to. What the request names outlives the work. 0, or -1 after
 * adding at least one error. */
int  secrets_work_begin(struct secrets_work *w, struct engine *e, const struct config_resources *set,
                        const struct secret_request *request, struct error_list *errors);
/* Whether there is something to do that can take long. If not, it may be ended at once. */
bool secrets_work_is_long(const struct secrets_work *w);
void secrets_work_run(void *work);
int  secrets_work_end(struct secrets_work *w, struct secrets_made *ret, struct error_list *errors,
                      struct error_list *warnings);
void secrets_work_finish(struct secrets_work *w);
/* What is saved of this state: its resources, and the secrets that are kept. They borrow from the parts that they are of,
 * and names from the arena. hg_free it; NULL without memory. */
struct store_resource *engine_gather_state(struct engine *e, const struct part *state, struct arena *arena,
                                           size_t *ret_count);
/* Durable when it returns; before anybody is sent the state. */
int engine_save_state(struct engine *e, const struct part *state, uint64_t generation, struct error_list *errors);
/* Loaded: what is kept goes to its place, the rest is the state. NULL without memory, or when it is not right. */
struct part *engine_split_state(struct engine *e, const struct store_state *saved);
/* Makes the state, when it is another, current beside the current intent. Not while a push is open. */
int engine_adopt_state(struct engine *e, struct secrets_made *made, struct error_list *errors);
/* After a commit: `before` is the state before it, or NULL. */
void engine_secrets_committed(struct engine *e, const struct part *before, const struct config_resources *set,
                              struct secrets_made *made, struct error_list *warnings);
/* given.c: a server has said all that it has to say. What was given before the start, and not since, and what no resource in
 * use names, is of no use any more. */
void engine_forget_given(struct engine *e);
void given_init(struct engine *e);
void given_finish(struct engine *e);
/* Looks at all files again; when a push is under way, after it. */
void engine_refresh_secrets(struct engine *e);
