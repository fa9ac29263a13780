/* lastgood.h — keeps the last-known-good copy on disk up to date, from a thread of its own.
 *
 * The main loop never waits for the disk. What is acknowledged must outlive a kill of the process, so a
 * changed intent is written and renamed before the Ack; it is synchronized to the disk (for a loss of power)
 * within half a second after that, so that a burst of pushes costs one synchronization. A change of the state
 * part alone is written within half a second and does not hold up its Ack. A write that fails is told, and
 * tried again; so is a synchronization, whose copy is then written anew. Thread: main. */
#pragma once

#include <stdbool.h>

#include "dataplane/snapshot/lastgood_files.h"

struct ev_loop;
struct lastgood;

/* `dir` is taken over. NULL with the reason in `errors`. */
struct lastgood *lastgood_create(struct ev_loop *loop, int dir, struct error_list *errors);
/* Writes what still waits, synchronizes, ends the thread; gives up after a few seconds. NULL is allowed. */
void lastgood_destroy(struct lastgood *l);

/* As lastgood_files_load(). Only before lastgood_start(); blocks on the disk. */
int lastgood_load(struct lastgood *l, enum lastgood_copy copy, struct resource_set **ret,
                  struct error_list *errors);
/* Starts the thread. `stored` is the current copy on disk, NULL when there is none or it is not what was
 * loaded. 0 or -1. */
int lastgood_start(struct lastgood *l, struct resource_set *stored);

/* `error` NULL: written. The text is valid during the call only. */
typedef void lastgood_on_stored(void *owner, const char *error);
/* Makes `set` the copy on disk (a reference is taken). Urgent: at once, and `on_stored` is called from the
 * loop when it is written, or is not within a few seconds. Otherwise: soon, and `on_stored` is called before
 * this returns. One urgent call at a time. */
void lastgood_store(struct lastgood *l, struct resource_set *set, bool is_urgent,
                    lastgood_on_stored *on_stored, void *owner);
/* The owner no longer wants to hear. */
void lastgood_forget(struct lastgood *l);
