/* watch.h — the directories to watch for a path. Thread: any. */
#pragma once

#include "controlplane/config/config.h"

/* Adds to sources->directories every directory in which a change can make `path` lead elsewhere: the one that it is
 * in, and those of symbolic links on the way (a ConfigMap of Kubernetes is swapped by renaming such a link). For what
 * does not exist, the nearest directory that does. Returns 0, or -1 without memory. */
int watch_path(struct config_sources *sources, const char *path);
/* Likewise for a pattern of an include: also what would match later. */
int watch_pattern(struct config_sources *sources, const char *pattern);
/* Sorts, and leaves each once. */
void watch_sort(struct config_sources *sources);
/* Whether both have the same directories, by their names. Both are sorted. */
bool watch_is_same(const struct config_sources *a, const struct config_sources *b);
