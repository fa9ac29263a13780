/* embed.h — the files that a configuration names, sent along with it. Thread: main. */
#pragma once

#include "controlplane/cli/cli.h"
#include "controlplane/config/config.h"
#include "proto/admin.pb-c.h"

/* Reads every file of a certificate, key or authority that the sources name (names start at the folder of `path`) into the
 * message; texts are secret memory, in the arena is the rest. EXIT_DONE, or an exit code after saying why. */
int  embed_files(struct cli *cli, const char *path, const struct config_sources *sources, struct arena *arena,
                 Headgate__Sources *message);
void embed_clear(const Headgate__Sources *message);
/* The folder that names of files in this configuration start at, in the arena; NULL without memory. */
const char *embed_folder_of(struct arena *arena, const char *path);
