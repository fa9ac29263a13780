#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/quic.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "proto/envoy/config/core/v3/proxy_protocol.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"
#include "proto/tls_choice.h"

#define PROXY Envoy__Extensions__TransportSockets__ProxyProtocol__V3__ProxyProtocolUpstreamTransport
#define QUIC  Envoy__Extensions__TransportSockets__Quic__V3__QuicUpstreamTransport

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

static const struct xds_fields quic = XDS_TABLE(envoy__extensions__transport_sockets__quic__v3__quic_upstream_transport,
    XDS_INSIDE_NOTE("upstream_tls_context", &xds_read_upstream_tls, "of clusters that speak HTTP/3, and of their fallback "
                    "over TCP"));

const struct xds_fields cluster_read_socket = XDS_TABLE(envoy__config__core__v3__transport_socket,
    XDS_NOTE("name", "without typed_config: envoy.transport_sockets.raw_buffer; otherwise its type counts"),
    XDS_TYPES("typed_config", &xds_read_upstream_tls, &raw_buffer, &proxy, &quic));

const struct xds_fields cluster_read_socket_match = XDS_TABLE(envoy__config__cluster__v3__cluster__transport_socket_match,
    XDS_IGNORE("name", "a name for people"),
    XDS_NOTE("match", "texts, numbers, true and false; at most 16"),
    XDS_INSIDE("transport_socket", &cluster_read_socket));

/* ---- taking ---- */

/* What a transport socket comes to. */
struct socket {
    Headgate__ClientTls         *tls;       /* NULL: plaintext */
    Headgate__Cluster__SendProxy proxy;
};

static void take_socket(struct cluster_making *c, const struct xds_at *at,
                        const Envoy__Config__Core__V3__TransportSocket *from, struct socket *ret);

static bool is_http3(const struct cluster_making *c) {
    return c->to->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP3;
}

static void take_tls(struct cluster_making *c, const struct xds_at *at, const TLS_MESSAGE(UpstreamTlsContext) *m,
                     struct socket *ret) {
    const struct tls_client_wishes wishes = {
        .protocol = c->to->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP2 ? "h2" : is_http3(c) ? "h3" : "http/1.1",
        .wants_sni = c->wants_sni, .verifies_sni = c->verifies_sni,
    };
    ret->tls = tls_make_client(c->making, at, m, &wishes);
}

static void take_quic(struct cluster_making *c, const struct xds_at *at, const QUIC *from, struct socket *ret) {
    if (!is_http3(c))
        making_unsupported(c->making, at, "over QUIC HTTP/3 is spoken, which the options of HTTP have to say");
    else if (!from->upstream_tls_context)
        making_refuse(c->making, XDS_AT(at, "upstream_tls_context"), ERROR_MISSING, "is missing");
    else
        take_tls(c, XDS_AT(at, "upstream_tls_context"), from->upstream_tls_context, ret);
}

static void take_proxy(struct cluster_making *c, const struct xds_at *at, const PROXY *from, struct socket *ret) {
    bool is_v2 = from->config && from->config->version == ENVOY__CONFIG__CORE__V3__PROXY_PROTOCOL_CONFIG__VERSION__V2;
    ret->proxy = is_v2 ? HEADGATE__CLUSTER__SEND_PROXY__SEND_V2 : HEADGATE__CLUSTER__SEND_PROXY__SEND_V1;
    if (from->transport_socket)
        take_socket(c, XDS_AT(at, "transport_socket"), from->transport_socket, ret);
    else
        making_refuse(c->making, XDS_AT(at, "transport_socket"), ERROR_MISSING, "is missing");
}

/* A PROXY header within a PROXY header is none of the types that the inner table has. */
static void take_socket(struct cluster_making *c, const struct xds_at *at,
                        const Envoy__Config__Core__V3__TransportSocket *from, struct socket *ret) {
    const struct xds_at *here = XDS_AT(at, "typed_config");
    if (from->config_type_case != ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG) {
        if (is_http3(c) || strcmp(from->name, XDS_RAW_BUFFER) != 0)
            making_refuse(c->making, here, ERROR_MISSING, "is missing");
        return;
    }
    ProtobufCMessage *m = making_open(c->making, here, from->typed_config);
    if (m && m->descriptor == quic.type)
        take_quic(c, here, (const QUIC *)m, ret);
    else if (m && is_http3(c))
        making_unsupported(c->making, here, "HTTP/3 needs a QuicUpstreamTransport");
    else if (m && m->descriptor == xds_read_upstream_tls.type)
        take_tls(c, here, (const TLS_MESSAGE(UpstreamTlsContext) *)m, ret);
    else if (m && m->descriptor == proxy.type)
        take_proxy(c, here, (const PROXY *)m, ret);
}

/* Without one it is plaintext, which HTTP/3 does not know. */
static void take_optional(struct cluster_making *c, const struct xds_at *at,
                          const Envoy__Config__Core__V3__TransportSocket *from, struct socket *ret) {
    if (from)
        take_socket(c, at, from, ret);
    else if (is_http3(c))
        making_refuse(c->making, at, ERROR_MISSING, "is missing: HTTP/3 needs a QuicUpstreamTransport");
}

static Headgate__TlsChoice *take_match(struct cluster_making *c, const struct xds_at *at,
                                       const Envoy__Config__Cluster__V3__Cluster__TransportSocketMatch *from) {
    Headgate__TlsChoice *to = making_new(c->making, &headgate__tls_choice__descriptor);
    struct socket socket = {0};
    if (!to)
        return NULL;
    part_transport_match(c->making, XDS_AT(at, "match"), from->match, &to->match, &to->n_match);
    take_optional(c, XDS_AT(at, "transport_socket"), from->transport_socket, &socket);
    if (socket.proxy != c->to->send_proxy)
        making_unsupported(c->making, XDS_AT(at, "transport_socket"), "all sockets of a cluster send the same PROXY header");
    to->tls = socket.tls;
    return to;
}

static void take_matches(struct cluster_making *c) {
    const Envoy__Config__Cluster__V3__Cluster *from = c->from;
    Headgate__Cluster *to = c->to;
    if (from->n_transport_socket_matches > TLS_CHOICES_MAX) {
        making_refuse(c->making, XDS_AT(NULL, "transport_socket_matches"), ERROR_RANGE, "has %zu items; %d are possible",
                      from->n_transport_socket_matches, TLS_CHOICES_MAX);
        return;
    }
    to->tls_choices = making_array(c->making, from->n_transport_socket_matches, sizeof *to->tls_choices);
    for (size_t i = 0; to->tls_choices && i < from->n_transport_socket_matches; i++) {
        Headgate__TlsChoice *choice =
            take_match(c, XDS_AT_ITEM(NULL, "transport_socket_matches", i), from->transport_socket_matches[i]);
        if (choice)
            to->tls_choices[to->n_tls_choices++] = choice;
    }
}

void cluster_take_transport(struct cluster_making *c) {
    struct socket socket = {0};
    take_optional(c, XDS_AT(NULL, "transport_socket"), c->from->transport_socket, &socket);
    c->to->tls = socket.tls;
    c->to->has_send_proxy = socket.proxy != HEADGATE__CLUSTER__SEND_PROXY__SEND_OFF;
    c->to->send_proxy = socket.proxy;
    take_matches(c);
}
