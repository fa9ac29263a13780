/* check.h — checks of encoded resources: they are turned back into trees, and those are filled as if a user had
 * written them, so that one set of rules holds for all. Thread: one at a time. */
#pragma once

#include "controlplane/config/builder.h"

/* Fills what `existing` has of a kind, but for the named one, so that `b` knows it: the addresses of listeners, the
 * settings. With b->settings new, route tables are checked again under them. Faults are reported by resource. They become
 * no part of what is built. Returns 0, or -1 after adding an error. */
int check_load(struct builder *b, const struct config_resources *existing, Headgate__Kind kind, struct str except);
/* Makes the names of all resources known to `b`. Returns 0, or -1 after adding an error. */
int check_add_names(struct builder *b, const struct config_resources *existing);
/* Names every resource that refers to kind/name. Returns 0 when there is none, otherwise -1. */
int check_unreferenced(Headgate__Kind kind, struct str name, const struct config_resources *existing,
                       struct error_list *errors);
