/* command.h — the commands of `headgate` as a table: what runs, and the text that help, the man page, docs/cli.md and the
 * shells' completion are made of. Thread: main. */
#pragma once

#include "common/options.h"
#include "controlplane/cli/cli.h"
#include "controlplane/config/config.h"

/* What a command's arguments are, for completion. */
enum argument_kind { ARGUMENT_NONE, ARGUMENT_FILE, ARGUMENT_COMMAND, ARGUMENT_RESOURCE_THEN_FILE, ARGUMENT_RESOURCE };

struct command {
    const char *name;
    const char *arguments;              /* "FILE", "[VERSION] [KIND/NAME]"; "" for none */
    const char *summary;                /* one phrase, no full stop */
    const char *description;            /* sentences; lines are joined and wrapped where they are printed */
    const struct option_spec *options;  /* its own, without those that all have */
    enum argument_kind completion;
    size_t arguments_min, arguments_max;
    int (*run)(struct cli *cli, const struct options *options); /* the exit code */
};

extern const struct command commands[]; /* ends with a NULL name */
extern const struct option_spec common_options[];

const struct command *command_find(struct str name);
/* The nearest name, or NULL. */
const char *command_nearest(struct str name);
/* The command's options and the common ones, as one table in `room`; NULL when it is too small. */
const struct option_spec *command_options(const struct command *c, struct option_spec *room, size_t count);

enum { COMMAND_OPTIONS_MAX = 48 };

/* What the control plane would say of a file and of the files that it names, without one. `set` is empty, and to be
 * finished. */
int validate_file(const char *path, struct config_resources *set, struct error_list *errors, struct error_list *warnings);

/* One function for each command, in the file of that name. */
int command_run(struct cli *cli, const struct options *options);
int command_validate(struct cli *cli, const struct options *options);
int command_push(struct cli *cli, const struct options *options);
int command_set(struct cli *cli, const struct options *options);
int command_delete(struct cli *cli, const struct options *options);
int command_log(struct cli *cli, const struct options *options);
int command_show(struct cli *cli, const struct options *options);
int command_diff(struct cli *cli, const struct options *options);
int command_rollback(struct cli *cli, const struct options *options);
int command_status(struct cli *cli, const struct options *options);
int command_top(struct cli *cli, const struct options *options);
int command_explain(struct cli *cli, const struct options *options);
int command_verify(struct cli *cli, const struct options *options);
int command_gc(struct cli *cli, const struct options *options);
int command_schema(struct cli *cli, const struct options *options);
int command_completion(struct cli *cli, const struct options *options);
int command_version(struct cli *cli, const struct options *options);
int command_help(struct cli *cli, const struct options *options);
