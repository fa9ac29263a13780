/* settings.h — values with inheritance: the message's own, else the outer one's, else the default of proto/resources.proto.
 * Thread: main. */
#pragma once

#include "common/arena.h"
#include "dataplane/http/definitions.h"

/* Fills *ret from the settings message, NULL for all defaults. Texts point into the message. Returns 0 or -1 (memory). */
int  settings_fill(struct settings *ret, const Headgate__Settings *message, struct arena *arena);
/* Sets those members of *t that `message` sets; NULL: none. */
void timeouts_override(struct timeouts *t, const Headgate__Timeouts *message);
