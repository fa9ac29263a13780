/* The streams of one server: what the machine wants to send goes out, what comes in goes to it. */
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/xds/client_internal.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/types.h"
#include "controlplane/xds/wire.h"

/* ---- methods ---- */

struct method {
    const char *type, *service, *world, *delta, *path;  /* path: of polls */
};

static const struct method methods[] = {
    {"envoy.config.cluster.v3.Cluster", "cluster.v3.ClusterDiscoveryService", "StreamClusters", "DeltaClusters", "clusters"},
    {"envoy.config.endpoint.v3.ClusterLoadAssignment", "endpoint.v3.EndpointDiscoveryService", "StreamEndpoints",
     "DeltaEndpoints", "endpoints"},
    {"envoy.config.listener.v3.Listener", "listener.v3.ListenerDiscoveryService", "StreamListeners", "DeltaListeners",
     "listeners"},
    {"envoy.config.route.v3.RouteConfiguration", "route.v3.RouteDiscoveryService", "StreamRoutes", "DeltaRoutes", "routes"},
    {"envoy.config.route.v3.ScopedRouteConfiguration", "route.v3.ScopedRoutesDiscoveryService", "StreamScopedRoutes",
     "DeltaScopedRoutes", "scoped-routes"},
    {"envoy.config.route.v3.VirtualHost", "route.v3.VirtualHostDiscoveryService", NULL, "DeltaVirtualHosts", NULL},
    {"envoy.config.core.v3.TypedExtensionConfig", "extension.v3.ExtensionConfigDiscoveryService", "StreamExtensionConfigs",
     "DeltaExtensionConfigs", "extension_configs"},
    {"envoy.extensions.transport_sockets.tls.v3.Secret", "secret.v3.SecretDiscoveryService", "StreamSecrets",
     "DeltaSecrets", "secrets"},
    {"envoy.service.runtime.v3.Runtime", "runtime.v3.RuntimeDiscoveryService", "StreamRuntime", "DeltaRuntime", "runtime"},
    {"", "discovery.v3.AggregatedDiscoveryService", "StreamAggregatedResources", "DeltaAggregatedResources", NULL},
};

enum { METHOD_MAX = 128 };

static int find_method(enum xds_form form, bool is_aggregated, struct str type_url, char ret[METHOD_MAX]) {
    struct str type = is_aggregated ? STR("") : xds_type_name(type_url);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const char *name = form == XDS_DELTA ? methods[i].delta : methods[i].world;
        if (!str_eq(type, str_of(methods[i].type)) || !name)
            continue;
        snprintf(ret, METHOD_MAX, "/envoy.service.%s/%s", methods[i].service, name);
        return 0;
    }
    return -1;
}

const char *xds_poll_path(struct str type_url) {
    struct str type = xds_type_name(type_url);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (type.n && str_eq(type, str_of(methods[i].type)))
            return methods[i].path;
    return NULL;
}

/* ---- the end of a stream ---- */

/* The machine first: it decides when there is another. */
void xds_link_ended(struct link *l, struct str reason) {
    struct server *s = l->server;
    bool has_answered = l->has_answered;
    l->stream = NULL;
    l->is_polling = false;
    l->has_answered = false;
    xds_protocol_closed(s->protocol, l->number, reason, clock_monotonic_us());
    if (!has_answered)
        xds_server_failed(s, reason);
    xds_client_turn(s->client);
}

/* The server did what it must not, or memory is short. */
static void give_up(struct link *l, const char *reason) {
    rpc_stream_abandon(l->stream);
    xds_link_ended(l, str_of(reason));
}

static const char *status_name(grpc_status_code status) {
    static const char *const names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
    return (size_t)status < sizeof names / sizeof *names ? names[status] : "an unknown status";
}

static void on_closed(void *owner, grpc_status_code status, struct str text) {
    struct link *l = owner;
    struct strbuf reason = {0};
    strbuf_printf(&reason, "%s%s%.*s", status_name(status), text.n ? ": " : "", (int)(text.n < 500 ? text.n : 500), text.p);
    xds_link_ended(l, reason.failed ? str_of(status_name(status)) : strbuf_str(&reason));
    strbuf_finish(&reason);
}

/* ---- responses ---- */

const char *xds_link_reason(enum xds_result result) {
    switch (result) {
    case XDS_OK: return NULL;
    case XDS_NO_MEMORY: return "no memory for a response";
    case XDS_LIMIT: return "a response beyond the limits of this client";
    case XDS_PROTOCOL_ERROR: return "a response that breaks the protocol";
    }
    return "a response that cannot be used";
}

/* NULL, or why the stream has to end. */
static const char *receive(struct link *l, struct str bytes, uint64_t now) {
    struct server *s = l->server;
    struct xds_response response;
    struct arena arena;
    arena_init(&arena, NULL, 0, XDS_DECODED_MAX);
    int status = xds_decode_response(&arena, s->client->options.form, bytes, &response);
    const char *reason = status == MESSAGE_MEMORY  ? xds_link_reason(XDS_NO_MEMORY)
                         : status == MESSAGE_LARGE ? xds_link_reason(XDS_LIMIT)
                                                   : "a response that cannot be decoded";
    if (status == 0)
        reason = xds_link_reason(xds_protocol_receive(s->protocol, l->number, &response, now));
    arena_finish(&arena);
    return reason;
}

static void on_message(void *owner, struct str bytes) {
    struct link *l = owner;
    const char *reason = receive(l, bytes, clock_monotonic_us());
    if (reason) {
        give_up(l, reason);
        return;
    }
    l->has_answered = true;
    xds_server_answered(l->server);
    xds_client_turn(l->server->client);
}

/* ---- requests ---- */

static void on_sent(void *owner) {
    struct link *l = owner;
    xds_protocol_sent(l->server->protocol, l->number, clock_monotonic_us());
    xds_client_turn(l->server->client);
}

/* False without memory; what the machine has handed out must go, so the stream cannot go on without it. */
static bool send_request(struct link *l, const struct xds_request *request) {
    struct xds_client *c = l->server->client;
    struct arena arena;
    arena_init(&arena, NULL, 0, XDS_REQUEST_MAX);
    struct str bytes = xds_encode_request(&arena, c->options.form, request, c->config.bootstrap->node);
    bool is_sent = bytes.p && rpc_stream_send(l->stream, bytes) == 0;
    arena_finish(&arena);
    return is_sent;
}

static void send_next(struct link *l, uint64_t now) {
    struct xds_request request;
    if (rpc_stream_is_sending(l->stream) ||
        xds_protocol_next_request(l->server->protocol, l->number, now, &request) != 1)
        return;
    if (!send_request(l, &request))
        give_up(l, "no memory for a request");
}

/* ---- opening ---- */

static const struct rpc_stream_handlers handlers = {.sent = on_sent, .message = on_message, .closed = on_closed};

static struct str first_error(const struct error_list *errors) {
    return str_of(errors->count ? errors->items[0].message : "no memory for a stream");
}

static struct str type_of(const struct link *l) {
    const struct xds_protocol *p = l->server->protocol;
    return l->server->client->options.is_aggregated ? STR("") : xds_protocol_type_url(p, l->number);
}

static void open_stream(struct link *l) {
    struct server *s = l->server;
    const struct xds_options *o = &s->client->options;
    struct error_list errors = {0};
    char method[METHOD_MAX];
    struct rpc_stream_options options = {
        .method = method, .metadata = s->config->metadata, .metadata_count = s->config->metadata_count};
    if (find_method(o->form, o->is_aggregated, type_of(l), method) < 0)
        error_addf(&errors, ERROR_UNSUPPORTED, "there is no service for resources of this type alone");
    else
        l->stream = rpc_stream_open(s->channel, &options, &handlers, l, &errors);
    s->streams_opened++;
    if (l->stream) {
        xds_protocol_opened(s->protocol, l->number);
        rpc_stream_read(l->stream);
    } else
        xds_link_ended(l, first_error(&errors));
    error_list_finish(&errors);
}

static void leave_for_another(struct link *l) {
    log_info("a stream to a management server is opened again, for what is not sent twice on one",
             LOG_S("server", l->server->config->name));
    give_up(l, "a resource is asked for again");
}

void xds_server_pump(struct server *s, uint64_t now) {
    for (size_t i = 0; i < s->link_count; i++) {
        struct link *l = &s->links[i];
        if (l->stream && xds_protocol_must_reopen(s->protocol, i, now))
            leave_for_another(l);
        if (!l->stream && xds_protocol_is_due(s->protocol, i, now))
            open_stream(l);
        if (l->stream)
            send_next(l, now);
        if (l->stream && !rpc_stream_is_reading(l->stream) && xds_protocol_can_receive(s->protocol, i))
            rpc_stream_read(l->stream);
    }
}

void xds_server_abandon(struct server *s) {
    xds_server_abandon_polls(s);
    for (size_t i = 0; i < s->link_count; i++) {
        rpc_stream_abandon(s->links[i].stream);
        s->links[i].stream = NULL;
    }
}
