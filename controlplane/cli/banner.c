#include "controlplane/cli/banner.h"

#include <unistd.h>

#include "controlplane/rpc/client.h"

enum { LOOKS_MAX = 150, STATUS_MAX = 64 << 20, CALL_US = 1000000 };

static const double LOOK_SECONDS = 0.1;

/* NULL: not there yet. */
static Headgate__StatusReply *ask(const struct cli *cli) {
    Headgate__StatusRequest request = HEADGATE__STATUS_REQUEST__INIT;
    char address[160];
    struct error_list errors = {0};
    grpc_status_code status;
    if (access(cli->control_socket, F_OK) < 0)
        return NULL;
    snprintf(address, sizeof address, "unix:%s", cli->control_socket);
    struct rpc_client *client = rpc_client_create(address, STATUS_MAX);
    const struct rpc_client_call call = {.method = "/headgate.Admin/Status",
                                         .request = &request.base,
                                         .reply_type = &headgate__status_reply__descriptor,
                                         .timeout_us = CALL_US};
    Headgate__StatusReply *reply = client ? (Headgate__StatusReply *)rpc_client_call(client, &call, &status,
                                                                                     &errors)
                                          : NULL;
    rpc_client_destroy(client);
    error_list_finish(&errors);
    return reply;
}

static bool is_in_sync(const Headgate__DataPlaneStatus *d) {
    return d->state && strcmp(d->state, "in-sync") == 0;
}

static bool is_file_wrong(const Headgate__StatusReply *r) {
    for (size_t i = 0; i < r->n_problems; i++)
        if (r->problems[i]->file)
            return true;
    return false;
}

/* Up, and -- where there is something to serve -- serving, with its listeners known. A file may still be on its way: its
 * certificates are checked first. */
static bool is_complete(const struct banner *b, const Headgate__StatusReply *r) {
    if (!r->has_version && b->file && !is_file_wrong(r))
        return false;
    for (size_t i = 0; i < r->n_data_planes; i++)
        if (is_in_sync(r->data_planes[i]) && (!r->has_version || r->data_planes[i]->report))
            return true;
    return false;
}

static bool is_refused(const Headgate__StatusReply *r) {
    for (size_t i = 0; i < r->n_data_planes; i++)
        if (r->data_planes[i]->state && strcmp(r->data_planes[i]->state, "nacked") == 0)
            return true;
    return false;
}

/* One with TLS has a certificate. */
static bool has_tls(const Headgate__StatusReply *r, const char *listener) {
    static const char kind[] = "listener/";
    const size_t n = sizeof kind - 1;
    for (size_t i = 0; i < r->n_certificates; i++)
        for (size_t j = 0; j < r->certificates[i]->n_used_by; j++) {
            const char *user = r->certificates[i]->used_by[j];
            if (strncmp(user, kind, n) == 0 && strcmp(user + n, listener) == 0)
                return true;
        }
    return false;
}

/* How to ask it. A certificate is hardly for the address. */
static void print_listener(const struct cli *cli, const char *name, const char *address, bool is_secure) {
    const char *option = is_secure ? "-ik" : "-i", *scheme = is_secure ? "https" : "http";
    bool is_any = strncmp(address, "0.0.0.0:", 8) == 0, is_any_6 = strncmp(address, "[::]:", 5) == 0;
    cli_print(cli, STYLE_PLAIN, "  %-12s ", name);
    if (strncmp(address, "unix:", 5) == 0)
        cli_print(cli, STYLE_NAME, "curl %s --unix-socket %s %s://localhost/\n", option, address + 5, scheme);
    else
        cli_print(cli, STYLE_NAME, "curl %s %s://%s%s/\n", option, scheme, is_any || is_any_6 ? "127.0.0.1:" : "",
                  is_any     ? address + 8
                  : is_any_6 ? address + 5
                             : address);
}

static void print_listeners(const struct cli *cli, const Headgate__StatusReply *r, const Headgate__DataPlaneStatus *d) {
    for (size_t i = 0; d->report && i < d->report->n_listeners; i++) {
        const Headgate__ListenerReport *l = d->report->listeners[i];
        const char *name = l->name ? l->name : "";
        for (size_t j = 0; l->tcp && j < l->n_addresses; j++)
            print_listener(cli, name, l->addresses[j], has_tls(r, name));
    }
}

static void print_banner(const struct banner *b, const Headgate__StatusReply *r) {
    cli_print(b->cli, STYLE_TITLE, "\nheadgate " HG_VERSION " is running");
    cli_print(b->cli, STYLE_PLAIN, r->has_version ? ", version %llu\n\n" : "\n\n",
              (unsigned long long)r->version);
    for (size_t i = 0; i < r->n_data_planes; i++)
        print_listeners(b->cli, r, r->data_planes[i]);
    if (!r->has_version)
        cli_print(b->cli, STYLE_PLAIN, "  there is no configuration yet: headgate push FILE\n");
    if (b->file)
        cli_print(b->cli, STYLE_PLAIN, "  %-12s %s (edit it: every good edit is served)\n", "watching",
                  b->file);
    cli_print(b->cli, STYLE_PLAIN, "  %-12s headgate status, headgate help\n  %-12s Ctrl-C\n\n", "more",
              "stop");
    fflush(stdout);
}

static void print_trouble(const struct cli *cli, const Headgate__StatusReply *r) {
    cli_error(cli, r ? "this is not served yet:" : "the control plane does not answer yet");
    if (r)
        cli_print_problems(cli, r->problems, r->n_problems);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events) {
    struct banner *b = timer->data;
    (void)events;
    Headgate__StatusReply *reply = ask(b->cli);
    bool is_over = ++b->looks == LOOKS_MAX || (reply && is_refused(reply));
    if (reply && is_complete(b, reply)) {
        print_banner(b, reply);
        is_over = true;
    } else if (is_over) {
        print_trouble(b->cli, reply);
    }
    if (is_over)
        ev_timer_stop(loop, timer);
    if (reply)
        headgate__status_reply__free_unpacked(reply, NULL);
}

void banner_start(struct banner *b, struct ev_loop *loop, struct cli *cli, const char *file) {
    *b = (struct banner){.loop = loop, .cli = cli, .file = file};
    ev_timer_init(&b->look, on_look, LOOK_SECONDS, LOOK_SECONDS);
    b->look.data = b;
    ev_timer_start(loop, &b->look);
}

void banner_stop(struct banner *b) {
    if (b->loop)
        ev_timer_stop(b->loop, &b->look);
}
