/* aside.h — a piece of work that takes long, on a thread of its own, while the loop goes on with everything else.
 * Thread: the loop's, but for the work itself. */
#pragma once

#include <ev.h>
#include <pthread.h>

/* A zeroed struct has nothing to do. */
struct aside {
    struct ev_loop *loop;
    ev_async        over;
    pthread_t       thread;
    void          (*work)(void *context);
    void          (*done)(void *context);
    void           *context;
};

/* Runs `work` on another thread of that name (at most 15 characters), and then `done` on the loop's, which sees all that the
 * work has written. One at a time; struct and loop outlive it. When there can be no thread, both run before this returns. */
void aside_run(struct aside *a, struct ev_loop *loop, const char *name, void (*work)(void *context),
               void (*done)(void *context), void *context);
/* Waits for the work that is under way; `done` is not called. */
void aside_drop(struct aside *a);
