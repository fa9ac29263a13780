#include "common/input_file.h"
#include "common/plural.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/embed.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"
#include "controlplane/engine/reply.h"
#include "controlplane/secrets/secrets.h"

int validate_file(const char *path, struct config_resources *set, struct error_list *errors, struct error_list *warnings) {
    struct config_places places = {0};
    const struct config_options options = {.variable = config_variable_from_environment, .places = &places};
    struct config_sources sources = {0};
    struct arena arena = {0};
    int loaded = config_load(path, &sources, errors);
    int compiled = config_compile(&sources, &options, set, errors, warnings);
    int status = loaded < 0 || compiled < 0 ? -1 : 0;
    const char *folder = embed_folder_of(&arena, path);
    if (status == 0)
        status = secrets_check(set, folder ? folder : ".", &places, errors, warnings);
    config_sources_finish(&sources);
    config_places_finish(&places);
    arena_finish(&arena);
    return status;
}

static void print_text(const struct cli *cli, const char *path, int status, size_t resources,
                       const struct problem_list *problems) {
    size_t errors = cli_print_problems(cli, problems->items, problems->count);
    if (status == 0)
        cli_print(cli, STYLE_GOOD, "%s is valid: %zu resource%s\n", path, resources, plural(resources));
    else
        cli_print(cli, STYLE_BAD, "%s has %zu error%s\n", path, errors, plural(errors));
}

int command_validate(struct cli *cli, const struct options *options) {
    const char *path = input_file_of_argument(options->arguments[0]);
    struct config_resources set = {0};
    struct error_list errors = {0}, warnings = {0};
    struct problem_list problems = {0};
    struct arena arena = {0};
    Headgate__TextReply reply = HEADGATE__TEXT_REPLY__INIT;
    int status = validate_file(path, &set, &errors, &warnings);
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
