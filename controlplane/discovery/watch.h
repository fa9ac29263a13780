/* watch.h — tells when something in a set of directories may have changed.
 *
 * Directories are watched, not files: editors rename over a file, and Kubernetes swaps a symbolic link beside it. Where the
 * kernel gives no more watches, the owner is told every two seconds instead. Thread: the loop's. */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

struct watch {
    struct ev_loop *loop;
    void (*changed)(void *owner);
    void *owner;
    int fd;                         /* of inotify; -1: none */
    ev_io io;
    ev_timer quiet;                 /* until nothing has happened for a moment */
    ev_timer latest;                /* however much happens */
    ev_timer poll;                  /* runs when something cannot be watched */
};

/* `changed` runs a moment after the last change, and at the latest a second after the first. */
void watch_init(struct watch *w, struct ev_loop *loop, void (*changed)(void *owner), void *owner);
/* Replaces the set. A directory that does not exist is watched for at its nearest parent that does. */
void watch_set(struct watch *w, char *const *directories, size_t count);
/* Stops; what has not been told is not told any more. A zeroed struct is allowed. */
void watch_finish(struct watch *w);
