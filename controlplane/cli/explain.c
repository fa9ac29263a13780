#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"

enum { FIELDS_MAX = 100 };

/* "name: value"; cuts the text in two. */
static int parse_field(const struct cli *cli, const char *text, struct arena *arena,
                       Headgate__HeaderField *ret) {
    char *name = arena_strdup(arena, text), *colon = name ? strchr(name, ':') : NULL;
    if (!colon) {
        cli_error(cli, "--header wants \"NAME: VALUE\", not %s", text);
        return -1;
    }
    *colon = '\0';
    headgate__header_field__init(ret);
    ret->name = name;
    ret->value = colon + 1 + strspn(colon + 1, " \t");
    return 0;
}

static int take_fields(const struct cli *cli, const struct options *options, struct arena *arena,
                       Headgate__ExplainRequest *request) {
    const char *text;
    request->headers = arena_calloc(arena, FIELDS_MAX, sizeof(Headgate__HeaderField *));
    while (request->headers && request->n_headers < FIELDS_MAX &&
           (text = options_get_nth(options, "header", request->n_headers))) {
        Headgate__HeaderField *field = arena_alloc(arena, sizeof *field);
        if (!field || parse_field(cli, text, arena, field) < 0)
            return -1;
        request->headers[request->n_headers++] = field;
    }
    return 0;
}

static int ask(struct cli *cli, const Headgate__ExplainRequest *request) {
    int exit_code = EXIT_DONE;
    Headgate__TextReply *reply = cli_call(cli, "/headgate.Admin/Explain", request,
                                          &headgate__text_reply__descriptor, "explaining", &exit_code);
    if (!reply)
        return exit_code;
    if (reply->text)
        fputs(reply->text, stdout);
    exit_code = cli_print_problems(cli, reply->problems, reply->n_problems) ? EXIT_REFUSED : EXIT_DONE;
    headgate__text_reply__free_unpacked(reply, NULL);
    return exit_code;
}

static int ask_about_file(struct cli *cli, const char *path, struct arena *arena,
                          Headgate__ExplainRequest *request) {
    Headgate__Sources message;
    struct config_sources sources = {0};
    int exit_code = reply_load_sources(cli, path, &sources, arena, &message);
    if (exit_code < 0) {
        request->sources = &message;
        exit_code = ask(cli, request);
    }
    config_sources_finish(&sources);
    return exit_code;
}

int command_explain(struct cli *cli, const struct options *options) {
    const char *file = options_get(options, "file"), *version = options_get(options, "version");
    Headgate__ExplainRequest request = HEADGATE__EXPLAIN_REQUEST__INIT;
    struct arena arena = {0};
    int exit_code = EXIT_WRONG_USAGE;
    request.method = (char *)options->arguments[0];
    request.url = (char *)options->arguments[1];
    request.has_json = true;
    request.json = cli->is_json;
    request.has_version = version != NULL;
    if (file && version)
        cli_error(cli, "--file and --version exclude each other");
    else if ((!version || cli_parse_version(cli, version, &request.version) == 0) &&
             take_fields(cli, options, &arena, &request) == 0)
        exit_code = file ? ask_about_file(cli, file, &arena, &request) : ask(cli, &request);
    arena_finish(&arena);
    return exit_code;
}
