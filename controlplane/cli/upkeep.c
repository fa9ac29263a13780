/* verify and gc: on the daemon's store, or on a store that no daemon has open. */
#include <inttypes.h>

#include "common/plural.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"
#include "controlplane/engine/reply.h"
#include "controlplane/store/store.h"

/* The store below --state-dir; NULL: the option is not given, or -- with errors -- it cannot be opened. */
static struct store *open_offline(const struct options *options, struct error_list *errors) {
    const char *folder = options_get(options, "state-dir");
    char path[512];
    snprintf(path, sizeof path, "%s/store", folder ? folder : "");
    return folder ? store_open(path, errors) : NULL;
}

static void show_progress(void *context, uint64_t done, uint64_t total) {
    const struct cli *cli = context;
    if (cli->is_error_terminal && total)
        fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " files%s", done, total, done == total ? "\r\033[K" : "");
}

/* ---- verify ---- */

static int print_verify(const struct cli *cli, const Headgate__VerifyReply *r) {
    size_t faults = cli->is_json ? r->n_problems : cli_print_problems(cli, r->problems, r->n_problems);
    if (cli->is_json)
        reply_print_json(r);
    else if (faults)
        cli_print(cli, STYLE_BAD, "%zu fault%s\n", faults, plural(faults));
    else
        cli_print(cli, STYLE_GOOD, "%" PRIu64 " version%s and %" PRIu64 " object%s are as they were written (%" PRIu64
                  " bytes)\n", r->versions, plural(r->versions), r->objects, plural(r->objects), r->bytes);
    return faults ? EXIT_REFUSED : EXIT_DONE;
}

/* `store` is NULL when it could not be opened: then the reasons are the faults. */
static int verify_offline(struct cli *cli, struct store *store, struct error_list *errors) {
    Headgate__VerifyReply reply = HEADGATE__VERIFY_REPLY__INIT;
    struct store_verify_result result = {0};
    struct problem_list problems = {0};
    struct arena arena = {0};
    if (store)
        store_verify(store, show_progress, cli, &result, errors);
    reply_add_problems(&arena, &problems, errors, false);
    reply.has_versions = reply.has_objects = reply.has_bytes = true;
    reply.versions = result.versions;
    reply.objects = result.objects;
    reply.bytes = result.bytes;
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    int exit_code = print_verify(cli, &reply);
    arena_finish(&arena);
    return exit_code;
}

static int verify_daemon(struct cli *cli) {
    Headgate__VerifyRequest request = HEADGATE__VERIFY_REQUEST__INIT;
    int exit_code = EXIT_DONE;
    Headgate__VerifyReply *reply = cli_call(cli, "/headgate.Admin/Verify", &request,
                                            &headgate__verify_reply__descriptor, "reading the store",
                                            &exit_code);
    if (!reply)
        return exit_code;
    exit_code = print_verify(cli, reply);
    headgate__verify_reply__free_unpacked(reply, NULL);
    return exit_code;
}

int command_verify(struct cli *cli, const struct options *options) {
    struct error_list errors = {0};
    struct store *store = open_offline(options, &errors);
    bool is_offline = options_has(options, "state-dir");
    int exit_code = is_offline ? verify_offline(cli, store, &errors) : verify_daemon(cli);
    error_list_finish(&errors);
    store_close(store);
    return exit_code;
}

/* ---- gc ---- */

static int print_gc(const struct cli *cli, const Headgate__GcReply *r, bool is_dry_run) {
    size_t faults = cli->is_json ? r->n_problems : cli_print_problems(cli, r->problems, r->n_problems);
    if (cli->is_json)
        reply_print_json(r);
    else if (faults == 0)
        cli_print(cli, STYLE_PLAIN, "%s %" PRIu64 " version%s and %" PRIu64 " object%s, %" PRIu64 " bytes\n",
                  is_dry_run ? "would drop" : "dropped", r->versions_dropped, plural(r->versions_dropped),
                  r->objects_dropped, plural(r->objects_dropped), r->bytes_freed);
    return faults ? EXIT_REFUSED : EXIT_DONE;
}

static int gc_offline(struct cli *cli, struct store *store, uint64_t keep, bool is_dry_run) {
    const struct store_retention retention = {.versions = keep};
    Headgate__GcReply reply = HEADGATE__GC_REPLY__INIT;
    struct store_gc_result result = {0};
    struct problem_list problems = {0};
    struct error_list errors = {0};
    struct arena arena = {0};
    store_gc(store, &retention, is_dry_run, &result, &errors);
    reply_add_problems(&arena, &problems, &errors, false);
    reply.has_versions_dropped = reply.has_objects_dropped = reply.has_bytes_freed = true;
    reply.versions_dropped = result.versions;
    reply.objects_dropped = result.objects;
    reply.bytes_freed = result.bytes;
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    int exit_code = print_gc(cli, &reply, is_dry_run);
    error_list_finish(&errors);
    arena_finish(&arena);
    return exit_code;
}

static int gc_daemon(struct cli *cli, uint64_t keep, bool has_keep, bool is_dry_run) {
    Headgate__GcRequest request = HEADGATE__GC_REQUEST__INIT;
    int exit_code = EXIT_DONE;
    request.has_keep = has_keep;
    request.keep = (uint32_t)keep;
    request.has_dry_run = true;
    request.dry_run = is_dry_run;
    Headgate__GcReply *reply = cli_call(cli, "/headgate.Admin/Gc", &request, &headgate__gc_reply__descriptor,
                                        "dropping old versions", &exit_code);
    if (!reply)
        return exit_code;
    exit_code = print_gc(cli, reply, is_dry_run);
    headgate__gc_reply__free_unpacked(reply, NULL);
    return exit_code;
}

int command_gc(struct cli *cli, const struct options *options) {
    struct error_list errors = {0};
    uint64_t keep = 0;
    bool is_dry_run = options_has(options, "dry-run"), is_offline = options_has(options, "state-dir");
    int exit_code;
    if (options_number(options, "keep", &(struct options_range){0, 1000000, 1000}, &keep, &errors) < 0) {
        exit_code = cli_fail(cli, &errors, EXIT_WRONG_USAGE);
        error_list_finish(&errors);
        return exit_code;
    }
    struct store *store = open_offline(options, &errors);
    if (!is_offline)
        exit_code = gc_daemon(cli, keep, options_has(options, "keep"), is_dry_run);
    else
        exit_code = store ? gc_offline(cli, store, keep, is_dry_run) : reply_fail(cli, &errors);
    error_list_finish(&errors);
    store_close(store);
    return exit_code;
}
