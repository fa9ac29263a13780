#include "controlplane/cli/command.h"
#include "controlplane/cli/read_etcd.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"

static bool is_number(const char *text) {
    uint64_t ignored;
    return str_to_uint64(str_of(text), &ignored) == 0;
}

static int ask(struct cli *cli, const Headgate__DiffRequest *request) {
    int exit_code = EXIT_DONE;
    Headgate__DiffReply *reply = cli_call(cli, "/headgate.Admin/Diff", request,
                                          &headgate__diff_reply__descriptor, "comparing", &exit_code);
    if (!reply)
        return exit_code;
    if (cli->is_json)
        reply_print_json(reply);
    else {
        cli_print_problems(cli, reply->problems, reply->n_problems);
        cli_print_changes(cli, reply->changes, reply->n_changes, reply->change_count, SIZE_MAX);
    }
    bool is_same = reply->n_changes == 0;
    for (size_t i = 0; i < reply->n_problems; i++)
        is_same = is_same && reply->problems[i]->is_warning;
    headgate__diff_reply__free_unpacked(reply, NULL);
    return is_same ? EXIT_DONE : EXIT_REFUSED;
}

static int diff_file(struct cli *cli, const char *path, Headgate__DiffRequest *request) {
    Headgate__Sources message;
    struct config_sources sources = {0};
    struct arena arena = {0};
    int exit_code = reply_load_sources(cli, path, &sources, &arena, &message);
    if (exit_code < 0) {
        request->sources = &message;
        exit_code = ask(cli, request);
        request->sources = NULL;
    }
    arena_finish(&arena);
    config_sources_finish(&sources);
    return exit_code;
}

/* [A [B]] are versions; the last may be a file. */
int command_diff(struct cli *cli, const struct options *options) {
    if (options_has(options, "to"))
        return diff_of_etcd(cli, options);
    Headgate__DiffRequest request = HEADGATE__DIFF_REQUEST__INIT;
    size_t count = options->argument_count;
    const char *last = count ? options->arguments[count - 1] : NULL;
    bool has_file = last && !is_number(last);
    size_t versions = has_file ? count - 1 : count;
    if (versions > 0 && cli_parse_version(cli, options->arguments[0], &request.a) < 0)
        return EXIT_WRONG_USAGE;
    if (versions > 1 && cli_parse_version(cli, options->arguments[1], &request.b) < 0)
        return EXIT_WRONG_USAGE;
    request.has_a = versions > 0;
    request.has_b = versions > 1;
    return has_file ? diff_file(cli, last, &request) : ask(cli, &request);
}
