/* include.h — how files name each other, the same on disk and in a list of sources. Thread: any. */
#pragma once

#include "controlplane/config/config.h"
#include "controlplane/config/tree/tree.h"

/* One entry of a file's `include`. */
struct include {
    const char       *pattern;      /* joined to the folder of the including file and made normal */
    struct tree_place place;
};

enum { INCLUDES_MAX = 1000 };       /* entries of one file */

/* A path without "." and "x/.." parts and doubled slashes, in the arena; NULL without memory. */
const char *include_normal_path(struct arena *arena, struct str path);
bool        include_is_pattern(const char *path);       /* has *, ? or [ */
/* The includes of a file; faults are added to `errors`. Returns 0, or -1 after a fault (the right ones are still listed). */
int include_list(struct arena *arena, const char *file, const struct tree_node *root, struct include **ret,
                 size_t *ret_count, struct error_list *errors);
/* Whether the path, a normal one, is what the pattern stands for. */
bool include_matches(const char *pattern, const char *path);
