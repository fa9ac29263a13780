/* layers.h — layers of the intent as status shows them. Texts live as long as the arena, or the program. Thread: any. */
#pragma once

#include "common/arena.h"
#include "controlplane/store/store.h"
#include "proto/admin.pb-c.h"

/* Fills the layers of the reply, the last that wins first, when there is any but what was pushed. Resources that are hidden
 * come first; without memory there are fewer. `m` may be NULL. */
void admin_add_layers(struct arena *arena, const struct store_manifest *m, Headgate__StatusReply *reply);
/* The name of the layer that a resource comes from; NULL: it was pushed, or is not there. */
const char *admin_layer_of(const struct store_manifest *m, Headgate__Kind kind, const char *name);
