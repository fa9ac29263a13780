/* file_source.h — a configuration file that is pushed when it, or what it includes, changes.
 *
 * A file that is not valid, or that data planes refuse, changes nothing; what was wrong stays to be seen until a later state
 * of the file is accepted. Where nothing is wrong with the file itself (a Secret that it names is not there yet) it is
 * pushed again, after a second at first and then up to once a minute. While a rollback has pinned intent, the file is not
 * pushed. Thread: the loop's. */
#pragma once

#include "controlplane/engine/engine.h"

struct file_source;

/* Loads and pushes at the first turn of the loop, then watches. `path` is copied. NULL without memory. */
struct file_source *file_source_create(struct ev_loop *loop, struct engine *engine, const char *path);
/* Not while a push of its own is under way (engine_is_busy); NULL is allowed. */
void file_source_destroy(struct file_source *f);
/* Looks again now and pushes even what was refused before. */
void file_source_reload(struct file_source *f);
/* No more pushes from now on. */
void file_source_stop(struct file_source *f);

const char *file_source_path(const struct file_source *f);
/* Why the file as it is now is not what is served, or NULL. Valid until the loop turns. */
const Headgate__PushReply *file_source_failure(const struct file_source *f);
/* The file is held back by a rollback. */
bool file_source_is_held_back(const struct file_source *f);

struct file_source_counters {
    uint64_t loads, failures;
};
const struct file_source_counters *file_source_counters(const struct file_source *f);
