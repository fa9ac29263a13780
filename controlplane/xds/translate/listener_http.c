/* The HTTP connection manager: which routes, which protocols, how long a client may take. */
#include "controlplane/xds/translate/listener.h"
#include "controlplane/xds/translate/names.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/quic.h"
#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"

#define HCM(name) Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__##name
#define HCM_VALUE(name) \
    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__##name
#define HCM_TABLE(name, ...) \
    XDS_TABLE(envoy__extensions__filters__network__http_connection_manager__v3__##name, __VA_ARGS__)

/* ---- what is read ---- */

#define SETTINGS_PATHS   "paths are made canonical as the settings of the gateway say"
#define SETTINGS_CLIENTS "whom to believe about clients is said by `trusted-hops` of the settings"
#define NO_TRACES        "nothing is traced"
#define ONE_RECORD       "an exchange is logged when it ends"

static const struct xds_fields rds_table = HCM_TABLE(rds,
    XDS_INSIDE("config_source", &xds_read_config_source), XDS_READ("route_config_name"));

static const struct xds_fields common_table = XDS_TABLE(envoy__config__core__v3__http_protocol_options,
    XDS_NOTE("idle_timeout", "one hour when it is not set"),
    XDS_IGNORE("max_headers_count", "the limit of the settings holds"));

static const struct xds_fields http1_table = XDS_TABLE(envoy__config__core__v3__http1_protocol_options,
    XDS_IGNORE("allow_absolute_url", "absolute targets are understood, as RFC 9112 has it"),
    XDS_IGNORE("accept_http_10", "HTTP/1.0 is understood"),
    XDS_IGNORE("enable_trailers", "trailers are passed on"),
    XDS_IGNORE("override_stream_error_on_invalid_http_message", "a malformed message ends its connection"),
    XDS_IGNORE("use_balsa_parser", "it is about how Envoy is built"),
    XDS_IGNORE("allow_custom_methods", "any method is passed on"));

static const struct xds_fields upgrade_table = HCM_TABLE(http_connection_manager__upgrade_config,
    XDS_NOTE("upgrade_type", "websocket, which is always possible, and CONNECT, which the routes say"),
    XDS_NOTE("enabled", "true"));

const struct xds_fields xds_read_http_manager = HCM_TABLE(
    http_connection_manager, XDS_NOTE("codec_type", "AUTO, HTTP1, HTTP2; HTTP3 of a listener of QUIC"),
    XDS_IGNORE("stat_prefix", "metrics are named by the listener"), XDS_INSIDE("rds", &rds_table),
    XDS_INSIDE("route_config", &xds_read_routes), XDS_INSIDE("scoped_routes", &xds_read_scoped_routes),
    XDS_INSIDE("http_filters", &xds_read_http_filter),
    XDS_IGNORE("tracing", NO_TRACES), XDS_INSIDE("common_http_protocol_options", &common_table),
    XDS_INSIDE("http_protocol_options", &http1_table),
    XDS_INSIDE("http2_protocol_options", &xds_read_http2_options),
    XDS_INSIDE("http3_protocol_options", &xds_read_http3_options),
    XDS_IGNORE("server_name", "`server-name` of the settings holds"),
    XDS_IGNORE("server_header_transformation", "the Server field of an origin is passed on"),
    XDS_IGNORE("max_request_headers_kb", "the limit of the settings holds"),
    XDS_NOTE("stream_idle_timeout", "for routes without an idle_timeout, 5 minutes when it is not set; for those that come "
             "by themselves the longest of the listeners that have them"),
    XDS_IGNORE("stream_flush_timeout", "a client that takes nothing is cut by the gateway's write timeout"),
    XDS_NOTE("request_timeout", "0; the time between two pieces of a request is bounded"),
    XDS_NOTE("request_headers_timeout", "10 s when it is not set"),
    XDS_IGNORE("drain_timeout", "`timeouts.drain` of the settings holds"),
    XDS_IGNORE("delayed_close_timeout", "connections are closed so that the last answer arrives"),
    XDS_INSIDE("access_log", &xds_read_access_log), XDS_IGNORE("access_log_flush_interval", ONE_RECORD),
    XDS_IGNORE("flush_access_log_on_new_request", ONE_RECORD), XDS_IGNORE("access_log_options", ONE_RECORD),
    XDS_IGNORE("use_remote_address", SETTINGS_CLIENTS), XDS_IGNORE("xff_num_trusted_hops", SETTINGS_CLIENTS),
    XDS_IGNORE("internal_address_config", "no client counts as internal"),
    XDS_IGNORE("generate_request_id", "every request has an id"),
    XDS_IGNORE("preserve_external_request_id", "an id is kept of proxies that are trusted"),
    XDS_NOTE("forward_client_cert_details",
             "SANITIZE or SANITIZE_SET: a client's own are removed, and what a certificate says "
             "is told in X-Forwarded-Client-Cert"),
    XDS_IGNORE("set_current_client_cert_details", "Hash, Cert, Subject, URI and DNS are told"),
    XDS_IGNORE("proxy_100_continue", "100 is passed on"), XDS_INSIDE("upgrade_configs", &upgrade_table),
    XDS_IGNORE("normalize_path", SETTINGS_PATHS), XDS_IGNORE("merge_slashes", SETTINGS_PATHS),
    XDS_IGNORE("path_with_escaped_slashes_action", SETTINGS_PATHS),
    XDS_IGNORE("stream_error_on_invalid_http_message",
               "a malformed message of HTTP/2 ends its stream, one of HTTP/1 the "
               "connection"),
    XDS_IGNORE("strip_trailing_host_dot", "the dot at the end of a host does not count"));

/* ---- protocols ---- */

static void add_protocol(Headgate__Listener *to, Headgate__Listener__Protocol protocol) {
    to->protocols[to->n_protocols++] = protocol;
}

/* QUIC carries HTTP/3 and nothing else. */
static void http3_alone(struct listener_making *l, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    if (from->codec_type != HCM_VALUE(CODEC_TYPE__AUTO) && from->codec_type != HCM_VALUE(CODEC_TYPE__HTTP3))
        making_unsupported(l->making, XDS_AT(at, "codec_type"), "over QUIC only HTTP3 is");
    add_protocol(l->to, HEADGATE__LISTENER__PROTOCOL__HTTP3);
    listener_http3(l, from->http3_protocol_options);
}

/* With TLS and AUTO those that ALPN offers; a listener that offers nothing gets HTTP/1. */
static void protocols(struct listener_making *l, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    bool is_auto = from->codec_type == HCM_VALUE(CODEC_TYPE__AUTO);
    bool is_http1 = from->codec_type == HCM_VALUE(CODEC_TYPE__HTTP1);
    bool is_http2 = from->codec_type == HCM_VALUE(CODEC_TYPE__HTTP2);
    l->to->protocols = making_array(l->making, 2, sizeof *l->to->protocols);
    if (!l->to->protocols)
        return;
    if (l->is_quic) {
        http3_alone(l, at, from);
        return;
    }
    if (!is_auto && !is_http1 && !is_http2)
        making_unsupported(l->making, XDS_AT(at, "codec_type"), "AUTO, HTTP1 and HTTP2 are");
    if (is_auto) {
        is_http2 = !l->has_tls || (l->alpn.is_said && l->alpn.has_http2);
        is_http1 = !l->has_tls || !is_http2 || l->alpn.has_http1;
    }
    if (is_http1)
        add_protocol(l->to, HEADGATE__LISTENER__PROTOCOL__HTTP1);
    if (is_http2)
        add_protocol(l->to, HEADGATE__LISTENER__PROTOCOL__HTTP2);
    if (!is_http2)
        return;
    if (from->http2_protocol_options)
        l->to->http2 = part_http2(l->making, XDS_AT(at, "http2_protocol_options"), from->http2_protocol_options);
    if (l->to->http2)
        l->to->http2->has_extended_connect = l->to->http2->extended_connect = from->http2_protocol_options->allow_connect;
}

/* ---- times, upgrades, certificates ---- */

static void times(struct listener_making *l, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    const Envoy__Config__Core__V3__HttpProtocolOptions *common = from->common_http_protocol_options;
    Headgate__Timeouts *t = listener_timeouts(l);
    protobuf_c_boolean has_request = false;
    uint64_t request = 0;
    if (!t)
        return;
    t->has_idle = true;
    t->idle = 3600 * XDS_SEC;
    value_duration(l->making, XDS_AT(at, "common_http_protocol_options.idle_timeout"),
                   common ? common->idle_timeout : NULL, 0, XDS_DAY, &t->has_idle, &t->idle);
    t->idle = t->idle ? t->idle : XDS_DAY;
    value_duration(l->making, XDS_AT(at, "request_headers_timeout"), from->request_headers_timeout, 0,
                   XDS_DAY, &t->has_header, &t->header);
    if (t->has_header && t->header == 0)
        t->has_header = false; /* off: ours holds */
    value_duration(l->making, XDS_AT(at, "request_timeout"), from->request_timeout, 0, XDS_DAY, &has_request, &request);
    if (request)
        making_unsupported(l->making, XDS_AT(at, "request_timeout"), "the time between two pieces of a request is bounded");
}

static void upgrades(struct making *m, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    for (size_t i = 0; i < from->n_upgrade_configs; i++) {
        const HCM(HttpConnectionManager__UpgradeConfig) *u = from->upgrade_configs[i];
        const struct xds_at *here = XDS_AT_ITEM(at, "upgrade_configs", i);
        bool is_known = strcasecmp(u->upgrade_type, "websocket") == 0 || strcasecmp(u->upgrade_type, "CONNECT") == 0;
        if (u->enabled && !u->enabled->value)
            making_unsupported(m, XDS_AT(here, "enabled"), "what may be upgraded to is said by the routes");
        else if (!is_known)
            making_unsupported(m, XDS_AT(here, "upgrade_type"), "further protocols are said by the routes");
    }
}

static void certificates(struct making *m, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    switch (from->forward_client_cert_details) {
    case HCM_VALUE(FORWARD_CLIENT_CERT_DETAILS__SANITIZE):
    case HCM_VALUE(FORWARD_CLIENT_CERT_DETAILS__SANITIZE_SET):
        break;
    default:
        making_unsupported(m, XDS_AT(at, "forward_client_cert_details"),
                           "what a client says of itself is never passed on");
    }
}

/* ---- routes ---- */

/* Routes that stand in the listener are a table of its own: their name may be that of many. */
static void inline_routes(struct listener_making *l, const struct xds_at *at,
                          const Envoy__Config__Route__V3__RouteConfiguration *from) {
    struct str name = xds_name_map(&l->making->arena, STR(XDS_INLINE_ROUTES), str_of(l->server_name));
    if (!name.p) {
        making_out_of_memory(l->making);
        return;
    }
    l->to->route_table = (char *)name.p;
    routes_make(l->making, XDS_AT(at, "route_config"), from, name.p);
}

static void routes(struct listener_making *l, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    switch (from->route_specifier_case) {
    case HCM_VALUE(ROUTE_SPECIFIER_RDS):
        part_config_source(l->making, XDS_AT(at, "rds.config_source"), from->rds->config_source);
        l->to->route_table = making_name(l->making, XDS_AT(at, "rds.route_config_name"), from->rds->route_config_name);
        making_need(l->making, XDS_TYPE_ROUTES, from->rds->route_config_name);
        break;
    case HCM_VALUE(ROUTE_SPECIFIER_ROUTE_CONFIG):
        inline_routes(l, at, from->route_config);
        break;
    case HCM_VALUE(ROUTE_SPECIFIER_SCOPED_ROUTES):
        listener_scopes(l, XDS_AT(at, "scoped_routes"), from->scoped_routes);
        break;
    default: making_refuse(l->making, at, ERROR_MISSING, "needs one of rds, route_config and scoped_routes"); break;
    }
}

static void stream_idle(struct making *m, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    protobuf_c_boolean ignored;
    uint64_t idle = XDS_STREAM_IDLE;
    value_duration(m, XDS_AT(at, "stream_idle_timeout"), from->stream_idle_timeout, 0, UINT64_MAX, &ignored, &idle);
    m->made->stream_idle = idle ? idle : UINT64_MAX; /* 0 is off */
}

void listener_http(struct listener_making *l, const struct xds_at *at, const HCM(HttpConnectionManager) *from) {
    stream_idle(l->making, at, from);
    routes(l, at, from);
    http_filters(l->making, at, from);
    protocols(l, at, from);
    times(l, at, from);
    upgrades(l->making, at, from);
    certificates(l->making, at, from);
    listener_access_logs(l, at, from->access_log, from->n_access_log);
}
