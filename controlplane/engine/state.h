/* state.h — the state part of the snapshot: secrets (secrets.h) and endpoints (endpoints.h) beside each other. For files of
 * the engine alone. Thread: the loop's. */
#pragma once

#include "controlplane/channel/snapshot.h"
#include "controlplane/config/config.h"

struct engine;

/* Another part of a state: what is not of `kind` is that of `old` (NULL: nothing), what is of it are these items, in any
 * order. The caller's reference, or NULL without memory. */
struct part *state_replace(struct part *old, Headgate__Kind kind, const struct config_resource *items, size_t count);
/* Entry i of the part as a resource that borrows from it. */
struct config_resource state_resource(const struct part *p, size_t i);
/* By kind, then name; for qsort. */
int state_compare(const void *a, const void *b);
/* Makes the state current beside the current intent, as the next generation. Not while a push is open. 0, or -1 without
 * memory. */
int engine_set_state(struct engine *e, struct part *state);
