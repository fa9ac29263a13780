#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "proto/envoy/config/core/v3/proxy_protocol.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"

#define PROXY Envoy__Extensions__TransportSockets__ProxyProtocol__V3__ProxyProtocolUpstreamTransport
#define RAW_BUFFER_NAME "envoy.transport_sockets.raw_buffer"

/* ---- what is read ---- */

static const struct xds_fields raw_buffer =
    XDS_EMPTY_TABLE(envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer);

static const struct xds_fields proxy_config = XDS_TABLE(envoy__config__core__v3__proxy_protocol_config,
    XDS_NOTE("version", "becomes `proxy-protocol`"));

static const struct xds_fields inner_socket = XDS_TABLE(envoy__config__core__v3__transport_socket,
    XDS_IGNORE("name", "the type of typed_config counts"),
    XDS_TYPES("typed_config", &xds_read_upstream_tls, &raw_buffer));

static const struct xds_fields proxy = XDS_TABLE(
    envoy__extensions__transport_sockets__proxy_protocol__v3__proxy_protocol_upstream_transport,
    XDS_INSIDE("config", &proxy_config), XDS_INSIDE("transport_socket", &inner_socket));

const struct xds_fields cluster_read_socket = XDS_TABLE(envoy__config__core__v3__transport_socket,
    XDS_NOTE("name", "without typed_config: envoy.transport_sockets.raw_buffer; otherwise its type counts"),
    XDS_TYPES("typed_config", &xds_read_upstream_tls, &raw_buffer, &proxy));

/* ---- taking ---- */

static void take_socket(struct cluster_making *c, const struct xds_at *at,
                        const Envoy__Config__Core__V3__TransportSocket *from);

static void take_tls(struct cluster_making *c, const struct xds_at *at, const ProtobufCMessage *m) {
    const struct tls_client_wishes wishes = {
        .is_http2 = c->to->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP2,
        .wants_sni = c->wants_sni, .verifies_sni = c->verifies_sni,
    };
    c->to->tls = tls_make_client(c->making, at, (const TLS_MESSAGE(UpstreamTlsContext) *)m, &wishes);
}

static void take_proxy(struct cluster_making *c, const struct xds_at *at, const PROXY *from) {
    bool is_v2 = from->config && from->config->version == ENVOY__CONFIG__CORE__V3__PROXY_PROTOCOL_CONFIG__VERSION__V2;
    c->to->has_send_proxy = true;
    c->to->send_proxy = is_v2 ? HEADGATE__CLUSTER__SEND_PROXY__SEND_V2 : HEADGATE__CLUSTER__SEND_PROXY__SEND_V1;
    if (from->transport_socket)
        take_socket(c, XDS_AT(at, "transport_socket"), from->transport_socket);
    else
        making_refuse(c->making, XDS_AT(at, "transport_socket"), ERROR_MISSING, "is missing");
}

/* A PROXY header within a PROXY header is none of the types that the inner table has. */
static void take_socket(struct cluster_making *c, const struct xds_at *at,
                        const Envoy__Config__Core__V3__TransportSocket *from) {
    const struct xds_at *here = XDS_AT(at, "typed_config");
    if (from->config_type_case != ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG) {
        if (strcmp(from->name, RAW_BUFFER_NAME) != 0)
            making_refuse(c->making, here, ERROR_MISSING, "is missing");
        return;
    }
    ProtobufCMessage *m = making_open(c->making, here, from->typed_config);
    if (m && m->descriptor == xds_read_upstream_tls.type)
        take_tls(c, here, m);
    else if (m && m->descriptor == proxy.type)
        take_proxy(c, here, (const PROXY *)m);
}

void cluster_take_transport(struct cluster_making *c) {
    if (c->from->transport_socket)
        take_socket(c, XDS_AT(NULL, "transport_socket"), c->from->transport_socket);
}
