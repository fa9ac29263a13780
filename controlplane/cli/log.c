#include <inttypes.h>

#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"
#include "proto/resource.h"

enum { HASH_SHOWN = 12 }; /* hexadecimal digits */

static void add_nodes(struct table *t, const Headgate__Version *v) {
    struct strbuf nodes = {0};
    for (size_t i = 0; i < v->n_nodes; i++)
        strbuf_printf(&nodes, "%s%s", i ? ", " : "", v->nodes[i]);
    table_add(t, STYLE_NAME, "%s", nodes.p ? nodes.p : "");
    strbuf_finish(&nodes);
}

static void add_row(struct table *t, const Headgate__Version *v) {
    char hash[2 * RESOURCE_ID_SIZE + 1] = "", when[32];
    if (v->hash.len == RESOURCE_ID_SIZE)
        hex_encode(v->hash.data, v->hash.len, hash);
    hash[HASH_SHOWN] = '\0';
    cli_format_time(v->time_us, when);
    table_add(t, v->current ? STYLE_GOOD : STYLE_PLAIN, "%s%" PRIu64, v->current ? "*" : " ", v->version);
    table_add(t, STYLE_DIM, "%s", hash);
    table_add(t, STYLE_PLAIN, "%s", when);
    table_add(t, STYLE_PLAIN, "%s", v->author ? v->author : "");
    if (v->has_restores)
        table_add(t, STYLE_PLAIN, "rollback to %" PRIu64 "%s%s", v->restores,
                  v->message && *v->message ? ": " : "", v->message ? v->message : "");
    else
        table_add(t, STYLE_PLAIN, "%s", v->message ? v->message : "");
    add_nodes(t, v);
}

static void print_text(const struct cli *cli, const Headgate__LogReply *reply) {
    static const char *const titles[] = {" VERSION", "HASH", "WHEN", "WHO", "WHY", "SERVED BY"};
    struct table t;
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, STYLE_TITLE, "%s", titles[i]);
    for (size_t i = 0; i < reply->n_versions; i++)
        add_row(&t, reply->versions[i]);
    table_print(cli, &t);
    table_finish(&t);
    cli_print_problems(cli, reply->problems, reply->n_problems);
}

int command_log(struct cli *cli, const struct options *options) {
    Headgate__LogRequest request = HEADGATE__LOG_REQUEST__INIT;
    struct error_list errors = {0};
    uint64_t limit = 50;
    int exit_code = EXIT_DONE;
    if (options_number(options, "limit", &(struct options_range){0, 10000, 50}, &limit, &errors) < 0) {
        exit_code = cli_fail(cli, &errors, EXIT_WRONG_USAGE);
        error_list_finish(&errors);
        return exit_code;
    }
    request.has_limit = true;
    request.limit = (uint32_t)limit;
    Headgate__LogReply *reply = cli_call(cli, "/headgate.Admin/Log", &request,
                                         &headgate__log_reply__descriptor, "reading versions", &exit_code);
    if (!reply)
        return exit_code;
    if (cli->is_json)
        reply_print_json(reply);
    else
        print_text(cli, reply);
    exit_code = reply->n_problems ? EXIT_REFUSED : EXIT_DONE;
    headgate__log_reply__free_unpacked(reply, NULL);
    return exit_code;
}
