#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/quic.h"
#include "controlplane/xds/translate/tables.h"
#include "proto/envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"

enum { REQUESTS_MAX = 1000000000 };

#define HTTP_OPTIONS       Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions
#define HTTP_OPTIONS_NAME  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#define UPSTREAM_CASE(name) ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_##name
#define EXPLICIT_CASE(name) \
    ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_##name

/* ---- what is read ---- */

const struct xds_fields cluster_read_common_http = XDS_TABLE(envoy__config__core__v3__http_protocol_options,
    XDS_NOTE("idle_timeout", "above 0"), XDS_NOTE("max_connection_duration", "1 ms to 30 days"),
    XDS_NOTE("max_requests_per_connection", "0 counts as 1,000,000,000"));

const struct xds_fields cluster_read_http1 = XDS_TABLE(envoy__config__core__v3__http1_protocol_options,
    XDS_IGNORE("allow_absolute_url", "it is about requests of clients"),
    XDS_IGNORE("enable_trailers", "trailers are passed on"),
    XDS_IGNORE("override_stream_error_on_invalid_http_message", "a connection with a malformed message is closed"),
    XDS_IGNORE("use_balsa_parser", "it is about how Envoy is built"),
    XDS_IGNORE("allow_custom_methods", "methods are passed on whatever they are"));

const struct xds_fields cluster_read_upstream_http = XDS_TABLE(envoy__config__core__v3__upstream_http_protocol_options,
    XDS_NOTE("auto_sni", "the endpoint's host name is asked for, otherwise the Host that it gets"),
    XDS_NOTE("auto_san_validation", "the certificate must be for the name that is asked for"));

static const struct xds_fields http3 = XDS_TABLE(envoy__config__core__v3__http3_protocol_options,
    XDS_INSIDE("quic_protocol_options", &quic_read_options),
    XDS_IGNORE("override_stream_error_on_invalid_http_message", "a malformed message ends its stream, never the connection"),
    XDS_IGNORE("allow_extended_connect", "it follows from what endpoints offer"),
    XDS_READ("disable_qpack"));

static const struct xds_fields explicit_http = XDS_TABLE(
    envoy__extensions__upstreams__http__v3__http_protocol_options__explicit_http_config,
    XDS_INSIDE("http_protocol_options", &cluster_read_http1),
    XDS_INSIDE_NOTE("http2_protocol_options", &xds_read_http2_options, "over TLS the endpoint must agree to it by ALPN"),
    XDS_INSIDE_NOTE("http3_protocol_options", &http3, "with QuicUpstreamTransport; becomes `protocol: http3`"));

static const struct xds_fields auto_http = XDS_TABLE(
    envoy__extensions__upstreams__http__v3__http_protocol_options__auto_http_config,
    XDS_IGNORE("http_protocol_options", "where HTTP/3 does not get through, HTTP/2 is spoken"),
    XDS_INSIDE_NOTE("http2_protocol_options", &xds_read_http2_options, "of the fallback"),
    XDS_INSIDE_NOTE("http3_protocol_options", &http3, "needed, with QuicUpstreamTransport; becomes `protocol: http3` with "
                    "`http3-fallback`: HTTP/2 over TCP where UDP does not get through"),
    XDS_IGNORE("alternate_protocols_cache_options", "HTTP/3 is tried whether it was announced or not, and where it failed "
               "it is not tried for a while"));

const struct xds_fields cluster_read_http = XDS_TABLE(envoy__extensions__upstreams__http__v3__http_protocol_options,
    XDS_INSIDE("common_http_protocol_options", &cluster_read_common_http),
    XDS_INSIDE("upstream_http_protocol_options", &cluster_read_upstream_http),
    XDS_INSIDE("explicit_http_config", &explicit_http),
    XDS_INSIDE("auto_config", &auto_http));

/* ---- taking ---- */

/* It has two places, of which one may be used. */
static void take_requests(struct cluster_making *c, const struct xds_at *at, const Google__Protobuf__UInt32Value *requests) {
    if (requests && c->to->has_requests_per_connection)
        making_refuse(c->making, at, ERROR_CONFLICT, "stands in common_http_protocol_options, too");
    else if (requests)
        value_number(c->making, at, requests->value ? requests->value : REQUESTS_MAX, 1, REQUESTS_MAX,
                     &c->to->has_requests_per_connection, &c->to->requests_per_connection);
}

static void take_common(struct cluster_making *c, const struct xds_at *at,
                        const Envoy__Config__Core__V3__HttpProtocolOptions *from) {
    Headgate__Cluster *to = c->to;
    if (!from)
        return;
    value_duration(c->making, XDS_AT(at, "idle_timeout"), from->idle_timeout, XDS_MS, XDS_DAY, &to->has_idle_timeout,
                   &to->idle_timeout);
    value_duration(c->making, XDS_AT(at, "max_connection_duration"), from->max_connection_duration, XDS_MS, 30 * XDS_DAY,
                   &to->has_connection_lifetime, &to->connection_lifetime);
    take_requests(c, XDS_AT(at, "max_requests_per_connection"), from->max_requests_per_connection);
}

static void take_http2(struct cluster_making *c, const struct xds_at *at,
                       const Envoy__Config__Core__V3__Http2ProtocolOptions *from) {
    c->to->has_protocol = true;
    c->to->protocol = HEADGATE__CLUSTER__PROTOCOL__HTTP2;
    c->to->http2 = part_http2(c->making, at, from);
}

static void take_http3(struct cluster_making *c, const struct xds_at *at,
                       const Envoy__Config__Core__V3__Http3ProtocolOptions *from) {
    const struct quic_making q = {.making = c->making, .http3 = &c->to->http3,
                                  .quic = making_new(c->making, &headgate__quic_options__descriptor)};
    if (!q.quic)
        return;
    c->to->has_protocol = true;
    c->to->protocol = HEADGATE__CLUSTER__PROTOCOL__HTTP3;
    if (from->quic_protocol_options)
        quic_take_options(&q, XDS_AT(at, "quic_protocol_options"), from->quic_protocol_options);
    quic_take_table(&q, from);
    if (protobuf_c_message_get_packed_size(&q.quic->base) > 0)
        c->to->quic = q.quic;
}

static void take_upstream(struct cluster_making *c, const Envoy__Config__Core__V3__UpstreamHttpProtocolOptions *from) {
    c->wants_sni = from && from->auto_sni;
    c->verifies_sni = from && from->auto_san_validation;
}

static void take_explicit(struct cluster_making *c, const struct xds_at *at,
                          const Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__ExplicitHttpConfig *from) {
    switch (from->protocol_config_case) {
    case EXPLICIT_CASE(HTTP_PROTOCOL_OPTIONS): break;
    case EXPLICIT_CASE(HTTP2_PROTOCOL_OPTIONS):
        take_http2(c, XDS_AT(at, "http2_protocol_options"), from->http2_protocol_options);
        break;
    case EXPLICIT_CASE(HTTP3_PROTOCOL_OPTIONS):
        take_http3(c, XDS_AT(at, "http3_protocol_options"), from->http3_protocol_options);
        break;
    default: making_refuse(c->making, at, ERROR_MISSING, "names no protocol"); break;
    }
}

/* Which of HTTP/1 and HTTP/2 an endpoint speaks is never found out by asking it. */
static void take_auto(struct cluster_making *c, const struct xds_at *at,
                      const Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__AutoHttpConfig *from) {
    if (!from->http3_protocol_options) {
        making_unsupported(c->making, at, "without http3_protocol_options; explicit_http_config says one protocol");
        return;
    }
    if (from->http2_protocol_options)
        take_http2(c, XDS_AT(at, "http2_protocol_options"), from->http2_protocol_options);
    take_http3(c, XDS_AT(at, "http3_protocol_options"), from->http3_protocol_options);
    c->to->http3_fallback = making_new(c->making, &headgate__http3_fallback__descriptor);
}

static void take_typed(struct cluster_making *c, const struct xds_at *at, const HTTP_OPTIONS *from) {
    take_common(c, XDS_AT(at, "common_http_protocol_options"), from->common_http_protocol_options);
    take_upstream(c, from->upstream_http_protocol_options);
    if (from->upstream_protocol_options_case == UPSTREAM_CASE(EXPLICIT_HTTP_CONFIG))
        take_explicit(c, XDS_AT(at, "explicit_http_config"), from->explicit_http_config);
    else if (from->upstream_protocol_options_case == UPSTREAM_CASE(AUTO_CONFIG))
        take_auto(c, XDS_AT(at, "auto_config"), from->auto_config);
    else
        making_refuse(c->making, XDS_AT(at, "explicit_http_config"), ERROR_MISSING, "is missing");
}

/* What stood in a cluster before it had typed options. */
static void take_legacy(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__Cluster *from = c->from;
    take_common(c, XDS_AT(NULL, "common_http_protocol_options"), from->common_http_protocol_options);
    take_upstream(c, from->upstream_http_protocol_options);
    if (from->http2_protocol_options)
        take_http2(c, XDS_AT(NULL, "http2_protocol_options"), from->http2_protocol_options);
}

static bool has_legacy(const Envoy__Config__Cluster__V3__Cluster *from) {
    return from->common_http_protocol_options || from->upstream_http_protocol_options || from->http2_protocol_options ||
           from->http_protocol_options;
}

/* NULL: there are none. Others belong to nothing that is here. */
static const Google__Protobuf__Any *find_typed(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__Cluster *from = c->from;
    const Google__Protobuf__Any *found = NULL;
    for (size_t i = 0; i < from->n_typed_extension_protocol_options; i++) {
        const char *key = from->typed_extension_protocol_options[i]->key;
        if (strcmp(key, HTTP_OPTIONS_NAME) == 0)
            found = from->typed_extension_protocol_options[i]->value;
        else
            making_unsupported(c->making, XDS_AT_KEY(NULL, "typed_extension_protocol_options", key),
                               "only " HTTP_OPTIONS_NAME " is");
    }
    return found;
}

void cluster_take_protocol(struct cluster_making *c) {
    const struct xds_at *at = XDS_AT_KEY(NULL, "typed_extension_protocol_options", HTTP_OPTIONS_NAME);
    const Google__Protobuf__Any *any = find_typed(c);
    if (any && has_legacy(c->from)) {
        making_refuse(c->making, at, ERROR_CONFLICT, "stands beside options of HTTP in the cluster itself");
    } else if (any) {
        ProtobufCMessage *m = making_open(c->making, at, any);
        if (m)
            take_typed(c, at, (const HTTP_OPTIONS *)m);
    } else {
        take_legacy(c);
    }
    take_requests(c, XDS_AT(NULL, "max_requests_per_connection"), c->from->max_requests_per_connection);
}
