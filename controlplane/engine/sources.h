/* sources.h — files on disk as a message of the admin service. Thread: any. */
#pragma once

#include "controlplane/config/config.h"
#include "proto/admin.pb-c.h"

/* Fills a message that borrows the texts of `sources`; the rest is in the arena. Environment variables that the files
 * refer to and that are set here go with them. 0, or -1 without memory. */
int sources_to_message(const struct config_sources *sources, struct arena *arena, Headgate__Sources *ret);
/* The same files with the same bytes in the same order? */
bool sources_are_same(const struct config_sources *a, const struct config_sources *b);
