/* secret_names.h — the names of secrets follow from the names of files. Thread: one at a time. */
#pragma once

#include "controlplane/config/builder.h"

/* Sets every field of a listener or cluster that names a secret, and notes the places of their files. Other kinds are left
 * as they are. */
void secret_names_set(struct builder *b, Headgate__Kind kind, const struct fill_at *at, ProtobufCMessage *m);

/* The name of the secret that is made of these files (the last two may be NULL); NULL without memory. */
char *secret_name_of_files(struct arena *arena, const char *file, const char *second, const char *third);
