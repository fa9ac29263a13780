/* show --to etcd://..., diff --to etcd://...: as a control plane would answer of its own versions. */
#include "controlplane/cli/read_etcd.h"

#include <inttypes.h>

#include "common/input_file.h"
#include "controlplane/cli/etcd.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"
#include "controlplane/engine/reply.h"

struct reading {
    struct cli          *cli;
    const struct options *options;
    struct etcd_session  session;
    struct etcd_intent   there;
    struct etcd_made     current;
    struct etcd_made     previous;      /* where it is asked for */
    struct error_list    errors, warnings;
    struct arena         arena;
};

/* What it has now. EXIT_DONE also with errors. `may_be_empty`: nothing was pushed there yet. */
static int begin(struct reading *r, bool may_be_empty) {
    const char *address = options_get(r->options, "to");
    int64_t modified;
    if (!etcd_address_is_one(address)) {
        cli_error(r->cli, "--to wants an address such as etcd://host:2379/prefix, not %s", address);
        return EXIT_WRONG_USAGE;
    }
    int exit_code = etcd_session_open(&r->session, r->cli, r->options, address);
    if (exit_code == EXIT_DONE)
        exit_code = etcd_session_fetch(&r->session, &r->there);
    if (exit_code == EXIT_DONE && (!may_be_empty || etcd_intent_has_current(&r->there, &modified)))
        etcd_intent_make(&r->there, &r->current, &r->errors);
    return exit_code;
}

static void finish(struct reading *r) {
    etcd_session_close(&r->session);
    etcd_intent_finish(&r->there);
    etcd_made_finish(&r->current);
    etcd_made_finish(&r->previous);
    error_list_finish(&r->errors);
    error_list_finish(&r->warnings);
    arena_finish(&r->arena);
}

static struct problem_list problems_of(struct reading *r) {
    struct problem_list problems = {0};
    reply_add_problems(&r->arena, &problems, &r->errors, false);
    reply_add_problems(&r->arena, &problems, &r->warnings, true);
    return problems;
}

/* ---- show ---- */

/* NULL with an error. */
static const struct config_resources *version_of(struct reading *r, uint64_t version) {
    const struct etcd_pointer *now = &r->current.pointer;
    if (version == 0 || version == now->version)
        return &r->current.set;
    if (version == now->previous.version)
        return etcd_intent_make_previous(&r->there, &r->previous, &r->errors) == 0 ? &r->previous.set : NULL;
    error_addf(&r->errors, ERROR_REFERENCE, "etcd has version %" PRIu64 " and the one before, not %" PRIu64, now->version,
               version);
    return NULL;
}

static int render(struct reading *r, const Headgate__ShowRequest *what, struct strbuf *text) {
    const struct config_render_options o = {.is_json = r->cli->is_json,
                                            .is_effective = options_has(r->options, "effective")};
    const struct config_resources *set = error_list_is_empty(&r->errors) ? version_of(r, what->version) : NULL;
    if (!set)
        return -1;
    return what->name ? config_render_one(set, what->kind, str_of(what->name), &o, text, &r->errors)
                      : config_render(set, &o, text, &r->errors);
}

int show_of_etcd(struct cli *cli, const struct options *options, const Headgate__ShowRequest *what) {
    struct reading r = {.cli = cli, .options = options};
    struct strbuf text = {0};
    int exit_code = begin(&r, false);
    if (exit_code == EXIT_DONE) {
        if (render(&r, what, &text) == 0)
            fputs(text.p, stdout);
        else
            exit_code = reply_fail(cli, &r.errors);
    }
    strbuf_finish(&text);
    finish(&r);
    return exit_code;
}

/* ---- diff ---- */

/* A node's settings are its own, and not in etcd. */
static void leave_out_settings(struct config_resources *set) {
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].kind != HEADGATE__KIND__KIND_SETTINGS)
            set->items[kept++] = set->items[i];
    set->count = kept;
}

static int compile_file(struct reading *r, struct config_resources *ret) {
    const struct config_options options = {.variable = config_variable_from_environment};
    struct config_sources sources = {0};
    int status = config_load(input_file_of_argument(r->options->arguments[0]), &sources, &r->errors);
    if (config_compile(&sources, &options, ret, &r->errors, &r->warnings) < 0)
        status = -1;
    config_sources_finish(&sources);
    leave_out_settings(ret);
    return status;
}

static int print_diff(struct reading *r, const struct config_resources *from, const struct config_resources *to) {
    Headgate__DiffReply reply = HEADGATE__DIFF_REPLY__INIT;
    bool is_right = error_list_is_empty(&r->errors);
    reply.has_change_count = true;
    if (is_right)
        reply.change_count = reply_changes(&r->arena, from, to, &reply.changes, &reply.n_changes);
    struct problem_list problems = problems_of(r);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    if (r->cli->is_json) {
        reply_print_json(&reply);
    } else {
        cli_print_problems(r->cli, reply.problems, reply.n_problems);
        cli_print_changes(r->cli, reply.changes, reply.n_changes, reply.change_count, SIZE_MAX);
    }
    return is_right && reply.change_count == 0 ? EXIT_DONE : EXIT_REFUSED;
}

static int compare_with_file(struct reading *r) {
    struct config_resources set = {0};
    compile_file(r, &set);
    int exit_code = print_diff(r, &r->current.set, &set);
    config_resources_finish(&set);
    return exit_code;
}

/* The first version changed nothing into what it is. */
static int compare_with_previous(struct reading *r) {
    if (error_list_is_empty(&r->errors) && r->current.pointer.version > 1)
        etcd_intent_make_previous(&r->there, &r->previous, &r->errors);
    return print_diff(r, &r->previous.set, &r->current.set);
}

int diff_of_etcd(struct cli *cli, const struct options *options) {
    struct reading r = {.cli = cli, .options = options};
    if (options->argument_count > 1) {
        cli_error(cli, "diff --to takes a file, or nothing");
        return EXIT_WRONG_USAGE;
    }
    int exit_code = begin(&r, options->argument_count > 0);
    if (exit_code == EXIT_DONE)
        exit_code = options->argument_count ? compare_with_file(&r) : compare_with_previous(&r);
    finish(&r);
    return exit_code;
}
