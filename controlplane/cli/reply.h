/* reply.h — what several commands do with a reply. Thread: main. */
#pragma once

#include "controlplane/cli/cli.h"

/* Prints the message as one line of JSON. */
void reply_print_json(const void *message);
/* Prints why there is nothing else to print, {"problems": [...]} with --output json. Returns EXIT_REFUSED. */
int reply_refuse(const struct cli *cli, Headgate__Problem **problems, size_t count);
/* Likewise what was found here. */
int reply_fail(const struct cli *cli, const struct error_list *errors);
/* Reads the configuration at `path` with its includes and fills `ret`; texts are in `arena` and `sources`. An exit code,
 * or -1 when all is well. The caller finishes both in every case. */
struct config_sources;
int reply_load_sources(const struct cli *cli, const char *path, struct config_sources *sources, struct arena *arena,
                       Headgate__Sources *ret);
/* Pushes and prints what became of it; the exit code. Fills in the author; message, dry run and version from the options
 * "message", "dry-run", "if-version". */
int reply_push(struct cli *cli, const struct options *options, Headgate__PushRequest *request);
