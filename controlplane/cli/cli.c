#include "controlplane/cli/cli.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/folders.h"
#include "controlplane/cli/command.h"
#include "controlplane/rpc/client.h"
#include "proto/resource.h"

enum { REPLY_MAX = 256 << 20, TIMEOUT_SECONDS_MAX = 86400, QUIET_TIMEOUT_US = 2000000 };

/* ---- the common options ---- */

static int set_colour(struct cli *cli, const struct options *options, struct error_list *errors) {
    const char *when = options_get(options, "color");
    const char *no_color = getenv("NO_COLOR");
    bool is_wanted = !no_color || !*no_color;
    if (when && strcmp(when, "always") == 0) {
        cli->has_colour = cli->has_error_colour = true;
        return 0;
    }
    if (when && strcmp(when, "auto") != 0 && strcmp(when, "never") != 0) {
        error_addf(errors, ERROR_SYNTAX, "--color is auto, always or never, not %s", when);
        return -1;
    }
    is_wanted = is_wanted && (!when || strcmp(when, "auto") == 0);
    cli->has_colour = is_wanted && isatty(STDOUT_FILENO);
    cli->has_error_colour = is_wanted && isatty(STDERR_FILENO);
    return 0;
}

static int set_output(struct cli *cli, const struct options *options, struct error_list *errors) {
    const char *form = options_get(options, "output");
    cli->is_json = form && strcmp(form, "json") == 0;
    if (!form || cli->is_json || strcmp(form, "text") == 0)
        return 0;
    error_addf(errors, ERROR_SYNTAX, "--output is text or json, not %s", form);
    return -1;
}

static int set_socket(struct cli *cli, const struct options *options, struct error_list *errors) {
    const char *socket = options_get(options, "control-socket"),
               *runtime = options_get(options, "runtime-dir");
    char folder[128];
    int status = runtime ? snprintf(folder, sizeof folder, "%s", runtime) >= (int)sizeof folder
                         : default_runtime_dir(folder, sizeof folder);
    int n = socket ? snprintf(cli->control_socket, sizeof cli->control_socket, "%s", socket)
                   : snprintf(cli->control_socket, sizeof cli->control_socket, "%s/control.sock", folder);
    if (status == 0 && n < (int)sizeof cli->control_socket)
        return 0;
    error_addf(errors, ERROR_RANGE, "the path of the control socket is too long");
    return -1;
}

int cli_init(struct cli *cli, const char *program, const struct options *options, struct error_list *errors) {
    uint64_t seconds = 0;
    *cli = (struct cli){.program = program, .is_error_terminal = isatty(STDERR_FILENO)};
    int status = set_colour(cli, options, errors);
    status |= set_output(cli, options, errors);
    status |= set_socket(cli, options, errors);
    status |= options_number(options, "timeout", &(struct options_range){1, TIMEOUT_SECONDS_MAX, 120}, &seconds, errors);
    cli->timeout_us = seconds * 1000000;
    return status ? -1 : 0;
}

void cli_finish(struct cli *cli) {
    rpc_client_destroy(cli->client);
    cli->client = NULL;
}

/* ---- calls ---- */

struct progress {
    const struct cli *cli;
    const char *doing;
    bool is_shown;
};

static void show_progress(void *context, uint64_t elapsed_us) {
    struct progress *p = context;
    if (elapsed_us < 1000000 || !p->cli->is_error_terminal)
        return;
    p->is_shown = true;
    fprintf(stderr, "\r%s ... %" PRIu64 " s", p->doing, elapsed_us / 1000000);
    fflush(stderr);
}

static void clear_progress(const struct progress *p) {
    if (p->is_shown)
        fputs("\r\033[K", stderr);
}

static int exit_code_of(struct cli *cli, grpc_status_code status, const struct error_list *errors) {
    const char *why = errors->count ? errors->items[0].message : "";
    switch (status) {
    case GRPC_STATUS_UNAVAILABLE:
        cli_error(cli, "cannot reach the control plane at %s: is it running, and may you use it?",
                  cli->control_socket);
        return EXIT_UNREACHABLE;
    case GRPC_STATUS_DEADLINE_EXCEEDED:
        cli_error(cli, "the control plane at %s did not answer within %" PRIu64 " s (--timeout)",
                  cli->control_socket, cli->timeout_us / 1000000);
        return EXIT_UNREACHABLE;
    case GRPC_STATUS_UNIMPLEMENTED:
        cli_error(cli, "the control plane at %s does not know this command: is it of another version?",
                  cli->control_socket);
        return EXIT_REFUSED;
    default: cli_error(cli, "%s", why); return EXIT_REFUSED;
    }
}

static struct rpc_client *client_of(struct cli *cli) {
    char address[160];
    snprintf(address, sizeof address, "unix:%s", cli->control_socket);
    if (!cli->client)
        cli->client = rpc_client_create(address, REPLY_MAX);
    return cli->client;
}

void *cli_call(struct cli *cli, const char *method, const void *request,
               const ProtobufCMessageDescriptor *reply_type, const char *doing, int *ret_exit) {
    struct progress progress = {.cli = cli, .doing = doing};
    struct error_list errors = {0};
    grpc_status_code status = GRPC_STATUS_OK;
    const struct rpc_client_call call = {.method = method,
                                         .request = request,
                                         .reply_type = reply_type,
                                         .timeout_us = cli->timeout_us,
                                         .waiting = show_progress,
                                         .context = &progress};
    if (!client_of(cli)) {
        cli_error(cli, "out of memory");
        *ret_exit = EXIT_REFUSED;
        return NULL;
    }
    ProtobufCMessage *reply = rpc_client_call(cli->client, &call, &status, &errors);
    clear_progress(&progress);
    if (!reply)
        *ret_exit = exit_code_of(cli, status, &errors);
    error_list_finish(&errors);
    return reply;
}

void *cli_call_quietly(struct cli *cli, const char *method, const void *request,
                       const ProtobufCMessageDescriptor *reply_type) {
    struct error_list errors = {0};
    grpc_status_code status = GRPC_STATUS_OK;
    const struct rpc_client_call call = {
        .method = method, .request = request, .reply_type = reply_type, .timeout_us = QUIET_TIMEOUT_US};
    ProtobufCMessage *reply = client_of(cli) ? rpc_client_call(cli->client, &call, &status, &errors) : NULL;
    if (!reply)
        cli_finish(cli); /* gRPC would wait longer and longer before it tries again */
    error_list_finish(&errors);
    return reply;
}

/* ---- texts ---- */

static void list_kinds(struct strbuf *out) {
    size_t count;
    const Headgate__Kind *kinds = kind_all(&count);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%s%s", i ? ", " : "", kind_name(kinds[i]));
}

static const char *nearest_kind(struct str name) {
    const char *names[64];
    size_t count;
    const Headgate__Kind *kinds = kind_all(&count);
    for (size_t i = 0; i < count && i < 64; i++)
        names[i] = kind_name(kinds[i]);
    return str_nearest(name, names, count < 64 ? count : 64);
}

int cli_parse_resource(const struct cli *cli, const char *text, Headgate__Kind *ret_kind,
                       const char **ret_name) {
    struct str name = str_of(text);
    struct str kind_text = str_cut(&name, '/');
    Headgate__Kind kind = kind_from_name(kind_text);
    if (kind != HEADGATE__KIND__KIND_UNSPECIFIED && name.p && resource_name_is_valid(name)) {
        *ret_kind = kind;
        *ret_name = name.p;
        return 0;
    }
    struct strbuf kinds = {0};
    const char *nearest = nearest_kind(kind_text);
    list_kinds(&kinds);
    cli_error(cli, "%s is not KIND/NAME with a kind of: %s%s%s%s", text, kinds.p ? kinds.p : "",
              nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    strbuf_finish(&kinds);
    return -1;
}

int cli_parse_version(const struct cli *cli, const char *text, uint64_t *ret) {
    if (str_to_uint64(str_of(text), ret) == 0 && *ret > 0)
        return 0;
    cli_error(cli, "%s is not a version: versions are numbers from 1, see headgate log", text);
    return -1;
}

const char *cli_author(void) {
    const struct passwd *user = getpwuid(geteuid());
    return user ? user->pw_name : "";
}
