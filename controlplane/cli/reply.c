#include "controlplane/cli/reply.h"

#include "common/input_file.h"
#include "controlplane/cli/json.h"
#include "controlplane/config/config.h"
#include "controlplane/engine/reply.h"
#include "controlplane/engine/sources.h"

enum { CHANGES_SHOWN = 20 }; /* resources, and fields of each; diff shows them all */

void reply_print_json(const void *message) {
    struct strbuf text = {0};
    json_add_message(&text, message);
    puts(text.failed ? "{}" : text.p);
    strbuf_finish(&text);
}

int reply_refuse(const struct cli *cli, Headgate__Problem **problems, size_t count) {
    Headgate__TextReply reply = HEADGATE__TEXT_REPLY__INIT;
    reply.problems = problems;
    reply.n_problems = count;
    if (cli->is_json)
        reply_print_json(&reply);
    else
        cli_print_problems(cli, problems, count);
    return EXIT_REFUSED;
}

int reply_fail(const struct cli *cli, const struct error_list *errors) {
    struct problem_list problems = {0};
    struct arena arena = {0};
    if (!cli->is_json)
        return cli_fail(cli, errors, EXIT_REFUSED);
    reply_add_problems(&arena, &problems, errors, false);
    int exit_code = reply_refuse(cli, problems.items, problems.count);
    arena_finish(&arena);
    return exit_code;
}

int reply_load_sources(const struct cli *cli, const char *path, struct config_sources *sources,
                       struct arena *arena, Headgate__Sources *ret) {
    struct error_list errors = {0};
    int status = -1;
    if (config_load(input_file_of_argument(path), sources, &errors) < 0)
        status = reply_fail(cli, &errors);
    else if (sources_to_message(sources, arena, ret) < 0) {
        cli_error(cli, "out of memory");
        status = EXIT_REFUSED;
    }
    error_list_finish(&errors);
    return status;
}

/* ---- what became of a push ---- */

static const char *state_text(Headgate__DataPlaneResult__State state) {
    switch (state) {
    case HEADGATE__DATA_PLANE_RESULT__STATE__ACKED: return "serves it";
    case HEADGATE__DATA_PLANE_RESULT__STATE__READY: return "is ready";
    case HEADGATE__DATA_PLANE_RESULT__STATE__NACKED: return "refused";
    default: return "was lost";
    }
}

static enum style state_style(Headgate__DataPlaneResult__State state) {
    return state == HEADGATE__DATA_PLANE_RESULT__STATE__NACKED ? STYLE_BAD
           : state == HEADGATE__DATA_PLANE_RESULT__STATE__LOST ? STYLE_WARN
                                                               : STYLE_GOOD;
}

static void print_reason(const struct cli *cli, const Headgate__Reason *r) {
    const char *kind = r->has_kind ? kind_name(r->kind) : NULL;
    cli_print(cli, STYLE_PLAIN, "      ");
    if (kind)
        cli_print(cli, STYLE_NAME, "%s/%s", kind, r->name ? r->name : "");
    if (r->path && *r->path)
        cli_print(cli, STYLE_NAME, "%s%s", kind ? ": " : "", r->path);
    cli_print(cli, STYLE_PLAIN, "%s%s\n", kind || (r->path && *r->path) ? ": " : "",
              r->message ? r->message : "");
}

static void print_data_plane(const struct cli *cli, const Headgate__DataPlaneResult *r) {
    char build[32], change[32];
    cli_format_duration(r->build_us, build);
    cli_format_duration(r->switch_us, change);
    cli_print(cli, STYLE_PLAIN, "  data plane ");
    cli_print(cli, STYLE_NAME, "%s ", r->node ? r->node : "?");
    cli_print(cli, state_style(r->state), "%s", state_text(r->state));
    if (r->state == HEADGATE__DATA_PLANE_RESULT__STATE__ACKED)
        cli_print(cli, STYLE_DIM, " (built in %s, switched in %s)", build, change);
    cli_print(cli, STYLE_PLAIN, "\n");
    for (size_t i = 0; i < r->n_reasons; i++)
        print_reason(cli, r->reasons[i]);
}

static void print_outcome(const struct cli *cli, const Headgate__PushReply *r) {
    unsigned long long version = r->version;
    char took[32];
    cli_format_duration(r->push_us, took);
    switch (r->outcome) {
    case HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED:
        cli_print(cli, STYLE_GOOD, "version %llu is served", version);
        cli_print(cli, STYLE_DIM, " (in %s)\n", took);
        break;
    case HEADGATE__PUSH_REPLY__OUTCOME__STORED:
        cli_print(cli, STYLE_GOOD, "version %llu is stored", version);
        cli_print(cli, STYLE_PLAIN, "; no data plane is connected\n");
        break;
    case HEADGATE__PUSH_REPLY__OUTCOME__UNCHANGED:
        cli_print(cli, STYLE_PLAIN, "nothing differs from version %llu\n", version);
        break;
    case HEADGATE__PUSH_REPLY__OUTCOME__CHECKED:
        cli_print(cli, STYLE_GOOD, "would become the version after %llu", version);
        cli_print(cli, STYLE_PLAIN, "; nothing was changed\n");
        break;
    default:
        cli_print(cli, STYLE_BAD, "refused");
        cli_print(cli, STYLE_PLAIN, "; version %llu stays\n", version);
        break;
    }
}

static bool is_any_refused(const Headgate__PushReply *r) {
    for (size_t i = 0; i < r->n_data_planes; i++)
        if (r->data_planes[i]->state == HEADGATE__DATA_PLANE_RESULT__STATE__NACKED)
            return true;
    return r->outcome == HEADGATE__PUSH_REPLY__OUTCOME__REFUSED;
}

static void print_push(const struct cli *cli, const Headgate__PushReply *r) {
    cli_print_problems(cli, r->problems, r->n_problems);
    cli_print_changes(cli, r->changes, r->n_changes, r->change_count, CHANGES_SHOWN);
    for (size_t i = 0; i < r->n_data_planes; i++)
        print_data_plane(cli, r->data_planes[i]);
    print_outcome(cli, r);
}

int reply_push(struct cli *cli, const struct options *options, Headgate__PushRequest *request) {
    const char *version = options_get(options, "if-version");
    int exit_code = EXIT_DONE;
    request->author = (char *)cli_author();
    request->message = (char *)options_get(options, "message");
    request->has_dry_run = true;
    request->dry_run = options_has(options, "dry-run");
    request->has_if_version = version != NULL;
    if (version && str_to_uint64(str_of(version), &request->if_version) < 0) {
        cli_error(cli, "--if-version wants a version number (0: none yet), not %s", version);
        return EXIT_WRONG_USAGE;
    }
    Headgate__PushReply *reply = cli_call(cli, "/headgate.Admin/Push", request,
                                          &headgate__push_reply__descriptor, "waiting for the data planes",
                                          &exit_code);
    if (!reply)
        return exit_code;
    if (cli->is_json)
        reply_print_json(reply);
    else
        print_push(cli, reply);
    exit_code = is_any_refused(reply) ? EXIT_REFUSED : EXIT_DONE;
    headgate__push_reply__free_unpacked(reply, NULL);
    return exit_code;
}
