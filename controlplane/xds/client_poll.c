/* A server that is polled: what the machine wants to know is asked by POST, one poll of a type at a time, and what the
 * answer says goes to the machine. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "controlplane/xds/client_internal.h"
#include "controlplane/xds/wire_json.h"

enum { URL_MAX = 1024, FIELD_MAX = 512, TEXT_MAX = 200, STATUS_OK = 200, STATUS_NOT_MODIFIED = 304 };

/* ---- where it is asked ---- */

/* "host" or "[::1]" of what has a port behind it. */
static struct str host_of(const char *target) {
    const char *end = strrchr(target, ':');
    return end ? (struct str){target, (size_t)(end - target)} : str_of(target);
}

/* The URL has the name that the certificate is for; who is connected to stands in the request. False when it is too long. */
static bool set_url(const struct rpc_channel_options *o, const char *path, char url[URL_MAX], struct http_request *ret) {
    bool is_local = strncmp(o->target, "unix:", 5) == 0;
    const char *port = is_local ? NULL : strrchr(o->target, ':');
    struct str host = o->server_name ? str_of(o->server_name) : is_local ? STR("localhost") : host_of(o->target);
    ret->url = url;
    ret->reach = is_local ? NULL : o->target;
    ret->socket = is_local ? o->target + strlen("unix:") : NULL;
    return snprintf(url, URL_MAX, "%s://%.*s%s/v3/discovery:%s", o->security == RPC_SECURITY_TLS ? "https" : "http",
                    STR_FMT(host), port ? port : "", path) < URL_MAX;
}

/* ---- the end of a poll ---- */

static void answered(struct link *l) {
    l->has_answered = true;
    xds_server_answered(l->server);
    xds_client_turn(l->server->client);
}

/* NULL, or why the answer is none. */
static const char *receive(struct link *l, struct strbuf *reason) {
    struct xds_protocol *p = l->server->protocol;
    struct error_list errors = {0};
    struct xds_response response;
    struct arena arena;
    const char *failure = NULL;
    arena_init(&arena, NULL, 0, XDS_DECODED_MAX);
    if (xds_read_poll(&arena, strbuf_str(&l->body), &response, &errors) == 0) {
        failure = xds_link_reason(xds_protocol_receive(p, l->number, &response, clock_monotonic_us()));
    } else {
        strbuf_puts(reason, "an answer that cannot be read: ");
        if (errors.count)
            error_format(&errors.items[0], reason);
        failure = reason->failed ? "an answer that cannot be read" : reason->p;
    }
    arena_finish(&arena);
    error_list_finish(&errors);
    return failure;
}

/* What an error page begins with, in one line. */
static void add_body(const struct strbuf *body, struct strbuf *out) {
    struct str text = strbuf_str(body);
    size_t i = 0;
    while (i < text.n && i < TEXT_MAX && text.p[i] != '\n' && text.p[i] >= ' ')
        i++;
    if (i)
        strbuf_printf(out, ": %.*s", (int)i, text.p);
}

/* NULL, or why the poll has failed. */
static const char *take_answer(struct link *l, unsigned status, struct strbuf *reason) {
    struct xds_protocol *p = l->server->protocol;
    if (status == STATUS_NOT_MODIFIED || status == STATUS_OK)
        xds_protocol_sent(p, l->number, clock_monotonic_us());
    if (status == STATUS_NOT_MODIFIED) {
        xds_protocol_unchanged(p, l->number);
        return NULL;
    }
    if (status == STATUS_OK)
        return l->body.failed ? "no memory for an answer" : receive(l, reason);
    strbuf_printf(reason, "the status %u", status);
    add_body(&l->body, reason);
    return reason->failed ? "a status that is not 200" : reason->p;
}

static void on_done(void *context, unsigned status, const char *failure) {
    struct link *l = context;
    struct strbuf reason = {0};
    l->call = NULL;
    if (l->is_oversized) {
        strbuf_printf(&reason, "an answer of more than %d bytes", XDS_POLL_MAX);
        failure = reason.failed ? "an answer that is too large" : reason.p;
    }
    if (!failure)
        failure = take_answer(l, status, &reason);
    strbuf_finish(&l->body);
    if (failure)
        xds_link_ended(l, str_of(failure));
    else
        answered(l);
    strbuf_finish(&reason);
}

/* Of what is no answer only the beginning is of use. */
static bool on_data(void *context, unsigned status, struct str piece) {
    struct link *l = context;
    size_t most = status == STATUS_OK ? XDS_POLL_MAX : TEXT_MAX;
    l->is_oversized = status == STATUS_OK && piece.n > most - l->body.n;
    if (piece.n > most - l->body.n)
        piece.n = most - l->body.n;
    strbuf_add_str(&l->body, piece);
    return !l->is_oversized && !l->body.failed;
}

/* ---- asking ---- */

static const struct http_call_ops ops = {.data = on_data, .done = on_done};

/* False when it cannot be sent. */
static bool start_call(struct link *l, const char *path, struct str body) {
    const struct xds_server *config = l->server->config;
    const struct xds_bootstrap *b = l->server->client->config.bootstrap;
    const struct rpc_channel_options *o = &config->channel;
    const struct http_trust trust = {
        .ca_file = o->authority.path, .ca_text = o->authority.text, .certificate = o->certificate.path,
        .certificate_text = o->certificate.text, .key = o->key.path, .key_text = o->key.text};
    char url[URL_MAX], host[FIELD_MAX];
    static const char agent[] = "User-Agent: headgate/" HG_VERSION;
    const char *const fields[] = {host, "Content-Type: application/json", agent,
                                  "Expect:", NULL}; /* a large request is not announced first: few servers answer that */
    struct http_request request = {
        .method = "POST", .fields = fields, .body = body, .trust = &trust, .connect_timeout = o->connect_timeout_us,
        .timeout = b->request_timeout, .is_http2 = config->is_http2};
    if (!set_url(o, path, url, &request) || snprintf(host, sizeof host, "Host: %s", config->host) >= FIELD_MAX)
        return false;
    l->is_oversized = false;
    l->call = http_call_start(l->server->client->http, &request, &ops, l);
    return l->call;
}

static void ask(struct link *l, const struct xds_request *request) {
    struct strbuf body = {0};
    const char *path = xds_poll_path(request->type_url);
    bool is_written = path && xds_write_poll(request, l->server->client->config.bootstrap->node, &body) == 0;
    bool is_begun = is_written && start_call(l, path, strbuf_str(&body));
    strbuf_finish(&body);
    if (!is_begun)
        xds_link_ended(l, path ? STR("a poll cannot be sent") : STR("resources of this type are not polled"));
}

static void open_polls(struct link *l) {
    l->is_polling = true;
    l->server->streams_opened++;
    xds_protocol_opened(l->server->protocol, l->number);
}

void xds_server_poll(struct server *s, uint64_t now) {
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *l = &s->links[i];
        struct xds_request request;
        if (!l->is_polling && xds_protocol_is_due(s->protocol, i, now))
            open_polls(l);
        if (l->is_polling && !l->call && xds_protocol_next_request(s->protocol, i, now, &request) == 1)
            ask(l, &request);
    }
}

void xds_server_abandon_polls(struct server *s) {
    for (size_t i = 0; i < s->link_count; i++) {
        http_call_cancel(s->links[i].call);
        s->links[i].call = NULL;
        s->links[i].is_polling = false;
    }
}
