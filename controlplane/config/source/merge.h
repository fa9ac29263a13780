/* merge.h — the files of a configuration as one tree. Thread: any. */
#pragma once

#include "controlplane/config/config.h"
#include "controlplane/config/tree/tree.h"

/* Reads the first source and what it includes into one tree, in the arena. Faults are added to `errors`, and
 * *ret_is_complete becomes false when something that belongs to the configuration could not be read at all. NULL when
 * nothing could. */
struct tree_node *merge_sources(struct arena *arena, const struct config_sources *sources,
                                const struct config_options *options, bool *ret_is_complete, struct error_list *errors);
