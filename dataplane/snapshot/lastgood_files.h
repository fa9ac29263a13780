/* lastgood_files.h — the last-known-good copy on disk. Synchronous; see lastgood.h for who calls it when.
 *
 *   objects/<64 hex digits>   a resource's bytes, named by their SHA-256
 *   manifest                  what is served: magic, SHA-256 of the rest, a Manifest message
 *   manifest.previous         the one before that had reached the disk for certain
 *   manifest.new, objects/new being written
 *
 * Everything is written aside and renamed, so that a process killed at any instruction leaves a whole copy;
 * what was renamed outlives the process at once and a loss of power after lastgood_files_sync_step() has done
 * its work. A manifest replaces the previous one only when it had been synchronized, so that a loss of power
 * in between costs one step at most. What a process that was killed wrote counts as not synchronized. Hashes
 * are checked at every load, and the bytes of an object before it is taken for the one to be written. Thread:
 * one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "dataplane/snapshot/resource_set.h"

enum { LASTGOOD_UNSYNCED_MAX = 64 };

enum lastgood_copy { LASTGOOD_CURRENT, LASTGOOD_PREVIOUS };

struct id_list {
    struct resource_id *items;       /* sorted, each once; behind them those of secrets again */
    size_t              count, secret_count;
};

struct lastgood_files {
    int            dir, objects;     /* descriptors; `dir` is the caller's */
    struct id_list current, previous;/* objects that the two manifests name */
    bool           current_is_good;  /* it may become the previous one, once it is synchronized; if not, all
                                      * that the previous one does not name is written anew */
    bool           has_unsynced;     /* at the start too: what a killed process wrote may be */
    int            unsynced[LASTGOOD_UNSYNCED_MAX]; /* descriptors of what was written since */
    size_t         unsynced_count;
    bool           too_many_unsynced;/* or not known which: then the whole file system is synchronized */
    size_t         object_count;     /* files in objects/, about */
    bool           has_old_secrets;  /* perhaps: bodies of secrets that neither manifest names any more */
};

/* Makes what is missing in the folder `dir`. Returns 0, or -1 with the reason in `errors`. */
int  lastgood_files_init(struct lastgood_files *f, int dir, struct error_list *errors);
void lastgood_files_finish(struct lastgood_files *f);

/* Returns 0 with *ret, which is NULL when there is no such copy; or -1 with what is wrong with it in
 * `errors`. A damaged object is removed, so that it will be written again. */
int lastgood_files_load(struct lastgood_files *f, enum lastgood_copy copy, struct resource_set **ret,
                        struct error_list *errors);

/* Makes `set` the current copy. Bodies of `base` are on disk already (NULL: none are). 0, or -1 with the
 * reason: then the current copy is what it was. */
int lastgood_files_write(struct lastgood_files *f, const struct resource_set *set,
                         const struct resource_set *base, struct error_list *errors);
/* Brings one file to the disk. 1: there is more. 0: nothing is left. -1 with the reason in `errors`: the
 * current copy may not be on the disk; write a copy again, which does not make it the previous one. */
int  lastgood_files_sync_step(struct lastgood_files *f, struct error_list *errors);
/* Removes objects that neither manifest names, if there are many, or one of them has keys. */
void lastgood_files_sweep(struct lastgood_files *f);
