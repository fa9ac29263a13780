/* check.h — checks of encoded resources: they are turned back into trees, and those are filled as if a user had
 * written them, so that one set of rules holds for all. Thread: one at a time. */
#pragma once

#include "controlplane/config/builder.h"

/* Makes the addresses of all listeners but the named one known to `b`. Returns 0, or -1 after adding an error. */
int check_load_listeners(struct builder *b, const struct config_resources *existing, struct str except);
/* Names every resource that refers to kind/name. Returns 0 when there is none, otherwise -1. */
int check_unreferenced(Headgate__Kind kind, struct str name, const struct config_resources *existing,
                       struct error_list *errors);
