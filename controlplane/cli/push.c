#include "controlplane/cli/command.h"
#include "controlplane/cli/embed.h"
#include "controlplane/cli/push_etcd.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"

int command_push(struct cli *cli, const struct options *options) {
    if (options_has(options, "to"))
        return push_to_etcd(cli, options);
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__Sources message;
    struct config_sources sources = {0};
    struct arena arena = {0};
    int exit_code = reply_load_sources(cli, options->arguments[0], &sources, &arena, &message);
    bool is_loaded = exit_code < 0;
    if (is_loaded && options_has(options, "embed"))
        is_loaded = embed_files(cli, options->arguments[0], &sources, &arena, &message) == EXIT_DONE;
    if (is_loaded) {
        request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_SOURCES;
        request.sources = &message;
        exit_code = reply_push(cli, options, &request);
        embed_clear(&message);
    } else if (exit_code < 0) {
        embed_clear(&message);
        exit_code = EXIT_REFUSED;
    }
    arena_finish(&arena);
    config_sources_finish(&sources);
    return exit_code;
}

int command_rollback(struct cli *cli, const struct options *options) {
    if (options_has(options, "to"))
        return rollback_in_etcd(cli, options);
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__Rollback rollback = HEADGATE__ROLLBACK__INIT;
    rollback.has_version = options->argument_count > 0;
    if (rollback.has_version && cli_parse_version(cli, options->arguments[0], &rollback.version) < 0)
        return EXIT_WRONG_USAGE;
    request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_ROLLBACK;
    request.rollback = &rollback;
    return reply_push(cli, options, &request);
}
