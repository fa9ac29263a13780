#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"
#include "controlplane/engine/reply.h"

/* What the control plane would say, without one. */
static int compile(const char *path, struct config_resources *set, struct error_list *errors,
                   struct error_list *warnings) {
    const struct config_options options = {.variable = config_variable_from_environment};
    struct config_sources sources = {0};
    int loaded = config_load(path, &sources, errors);
    int compiled = config_compile(&sources, &options, set, errors, warnings);
    config_sources_finish(&sources);
    return loaded < 0 || compiled < 0 ? -1 : 0;
}

static void print_text(const struct cli *cli, const char *path, int status, size_t resources,
                       const struct problem_list *problems) {
    size_t errors = cli_print_problems(cli, problems->items, problems->count);
    if (status == 0)
        cli_print(cli, STYLE_GOOD, "%s is valid: %zu resources\n", path, resources);
    else
        cli_print(cli, STYLE_BAD, "%s has %zu error%s\n", path, errors, errors == 1 ? "" : "s");
}

int command_validate(struct cli *cli, const struct options *options) {
    const char *path = options->arguments[0];
    struct config_resources set = {0};
    struct error_list errors = {0}, warnings = {0};
    struct problem_list problems = {0};
    struct arena arena = {0};
    Headgate__TextReply reply = HEADGATE__TEXT_REPLY__INIT;
    int status = compile(path, &set, &errors, &warnings);
    reply_add_problems(&arena, &problems, &errors, false);
    reply_add_problems(&arena, &problems, &warnings, true);
    reply.n_problems = problems.count;
    reply.problems = problems.items;
    if (cli->is_json)
        reply_print_json(&reply);
    else
        print_text(cli, path, status, set.count, &problems);
    config_resources_finish(&set);
    error_list_finish(&errors);
    error_list_finish(&warnings);
    arena_finish(&arena);
    return status < 0 ? EXIT_REFUSED : EXIT_DONE;
}
