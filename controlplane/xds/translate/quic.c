/* QUIC and HTTP/3: their bounds on both sides; towards clients a listener on UDP and its transport. */
#include "controlplane/xds/translate/quic.h"

#include "controlplane/xds/translate/values.h"

enum {
    STREAMS_MAX = 100000,
    STREAM_WINDOW_MAX = 64 << 20,
    CONNECTION_WINDOW_MAX = 1 << 30,
    WINDOW_MIN = 65535,
    PAYLOAD_MIN = 1200,
    PAYLOAD_MAX = 65527,
};
#define IDLE_MAX (XDS_DAY / 24)

/* ---- what is read ---- */

#define AS_THAT "counts as that"

static const struct xds_fields keep_alive_table = XDS_TABLE(envoy__config__core__v3__quic_keep_alive_settings,
    XDS_NOTE("max_interval", "becomes `keep-alive`: a PING after so much silence of a connection with open requests"),
    XDS_IGNORE("initial_interval", "it is for the network to forget nothing, which one interval does"));

const struct xds_fields quic_read_options = XDS_TABLE(envoy__config__core__v3__quic_protocol_options,
    XDS_NOTE("max_concurrent_streams", "more than 100,000 " AS_THAT),
    XDS_NOTE("initial_stream_window_size", "more than 64 MiB " AS_THAT),
    XDS_NOTE("initial_connection_window_size", "more than 1 GiB " AS_THAT),
    XDS_INSIDE("connection_keepalive", &keep_alive_table), XDS_READ("idle_network_timeout"),
    XDS_NOTE("max_packet_length", "becomes `max-udp-payload`"));

static const struct xds_fields quic_table = XDS_TABLE(envoy__config__listener__v3__quic_protocol_options,
    XDS_INSIDE("quic_protocol_options", &quic_read_options), XDS_READ("idle_timeout"), XDS_READ("crypto_handshake_timeout"),
    XDS_IGNORE("packets_to_read_to_connection_count_ratio", "what a socket delivers in one turn is bounded"),
    XDS_READ("send_disable_active_migration"));

static const struct xds_fields socket_table = XDS_TABLE(envoy__config__core__v3__udp_socket_config,
    XDS_IGNORE("max_rx_datagram_size", "datagrams of any size are taken"),
    XDS_IGNORE("prefer_gro", "datagrams are joined by the kernel where it can"));

const struct xds_fields xds_read_udp_listener = XDS_TABLE(envoy__config__listener__v3__udp_listener_config,
    XDS_INSIDE("downstream_socket_config", &socket_table), XDS_INSIDE("quic_options", &quic_table));

const struct xds_fields xds_read_quic_transport = XDS_TABLE(
    envoy__extensions__transport_sockets__quic__v3__quic_downstream_transport,
    XDS_INSIDE("downstream_tls_context", &xds_read_downstream_tls),
    XDS_NOTE("enable_early_data", "early data, which anybody can send again, is taken where this is true, not by default"));

const struct xds_fields xds_read_http3_options = XDS_TABLE(envoy__config__core__v3__http3_protocol_options,
    XDS_IGNORE("override_stream_error_on_invalid_http_message", "a malformed message ends its stream, never the connection"),
    XDS_READ("allow_extended_connect"), XDS_READ("disable_qpack"));

/* ---- what comes of it ---- */

static void take_bound(struct making *m, const struct xds_at *at, const Google__Protobuf__UInt32Value *v, uint32_t min,
                       uint32_t max, protobuf_c_boolean *has, uint32_t *ret) {
    if (v)
        value_number(m, at, v->value > max ? max : v->value, min, max, has, ret);
}

static Headgate__Http3Options *http3_of(const struct quic_making *q) {
    if (!*q->http3)
        *q->http3 = making_new(q->making, &headgate__http3_options__descriptor);
    return *q->http3;
}

static void take_windows(const struct quic_making *q, const struct xds_at *at,
                         const Envoy__Config__Core__V3__QuicProtocolOptions *o) {
    Headgate__Http3Options *h = http3_of(q);
    if (!h)
        return;
    take_bound(q->making, XDS_AT(at, "max_concurrent_streams"), o->max_concurrent_streams, 1, STREAMS_MAX,
               &h->has_max_concurrent_streams, &h->max_concurrent_streams);
    take_bound(q->making, XDS_AT(at, "initial_stream_window_size"), o->initial_stream_window_size, WINDOW_MIN,
               STREAM_WINDOW_MAX, &h->has_initial_stream_window, &h->initial_stream_window);
    take_bound(q->making, XDS_AT(at, "initial_connection_window_size"), o->initial_connection_window_size, WINDOW_MIN,
               CONNECTION_WINDOW_MAX, &h->has_initial_connection_window, &h->initial_connection_window);
}

void quic_take_options(const struct quic_making *q, const struct xds_at *at,
                       const Envoy__Config__Core__V3__QuicProtocolOptions *o) {
    Headgate__QuicOptions *to = q->quic;
    uint64_t payload = 0;
    protobuf_c_boolean has_payload = false;
    if (o->max_concurrent_streams || o->initial_stream_window_size || o->initial_connection_window_size)
        take_windows(q, at, o);
    value_duration(q->making, XDS_AT(at, "idle_network_timeout"), o->idle_network_timeout, XDS_SEC, IDLE_MAX,
                   &to->has_idle_timeout, &to->idle_timeout);
    value_uint64(q->making, XDS_AT(at, "max_packet_length"), o->max_packet_length, PAYLOAD_MIN, PAYLOAD_MAX, &has_payload,
                 &payload);
    if (has_payload) {
        to->has_max_udp_payload = true;
        to->max_udp_payload = (uint32_t)payload;
    }
    if (o->connection_keepalive)
        value_duration(q->making, XDS_AT(at, "connection_keepalive.max_interval"), o->connection_keepalive->max_interval, 0,
                       IDLE_MAX, &to->has_keep_alive, &to->keep_alive);
}

void quic_take_table(const struct quic_making *q, const Envoy__Config__Core__V3__Http3ProtocolOptions *from) {
    Headgate__Http3Options *h = from->disable_qpack ? http3_of(q) : NULL;
    if (!h)
        return;
    h->has_qpack_table_capacity = h->has_qpack_blocked_streams = true;
    h->qpack_table_capacity = h->qpack_blocked_streams = 0;
}

/* ---- towards clients ---- */

static struct quic_making making_of(struct listener_making *l) {
    return (struct quic_making){.making = l->making, .http3 = &l->to->http3, .quic = l->to->quic};
}

/* Every row of it that has a meaning. */
static void take_quic(struct listener_making *l, const struct xds_at *at,
                      const Envoy__Config__Listener__V3__QuicProtocolOptions *o) {
    const struct quic_making both = making_of(l);
    Headgate__QuicOptions *q = l->to->quic;
    uint64_t handshake = 0;
    protobuf_c_boolean has_handshake = false;
    if (o->quic_protocol_options)
        quic_take_options(&both, XDS_AT(at, "quic_protocol_options"), o->quic_protocol_options);
    value_duration(l->making, XDS_AT(at, "idle_timeout"), o->idle_timeout, XDS_SEC, IDLE_MAX, &q->has_idle_timeout,
                   &q->idle_timeout);
    value_duration(l->making, XDS_AT(at, "crypto_handshake_timeout"), o->crypto_handshake_timeout, XDS_MS, XDS_DAY,
                   &has_handshake, &handshake);
    if (has_handshake && listener_timeouts(l)) {
        l->to->timeouts->has_handshake = true;
        l->to->timeouts->handshake = handshake;
    }
    if (o->send_disable_active_migration) {
        q->has_active_migration = true;
        q->active_migration = !o->send_disable_active_migration->value;
    }
}

void listener_udp(struct listener_making *l, const struct xds_at *at,
                  const Envoy__Config__Listener__V3__UdpListenerConfig *from) {
    if (!from)
        return;
    if (!from->quic_options) {
        making_refuse(l->making, XDS_AT(at, "quic_options"), ERROR_MISSING, "is missing: of UDP only QUIC is served");
        return;
    }
    l->is_quic = true;
    l->to->quic = making_new(l->making, &headgate__quic_options__descriptor);
    if (l->to->quic)
        take_quic(l, XDS_AT(at, "quic_options"), from->quic_options);
}

Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *
quic_tls(struct listener_making *l, const struct xds_at *at,
         const Envoy__Extensions__TransportSockets__Quic__V3__QuicDownstreamTransport *from, bool is_first) {
    bool has_early_data = from->enable_early_data && from->enable_early_data->value;
    Headgate__QuicOptions *q = l->to->quic;
    if (!from->downstream_tls_context)
        making_refuse(l->making, XDS_AT(at, "downstream_tls_context"), ERROR_MISSING, "is missing");
    if (q && is_first)
        q->has_early_data = q->early_data = has_early_data;
    else if (q && !q->early_data != !has_early_data)
        making_unsupported(l->making, XDS_AT(at, "enable_early_data"), "the chains of a listener have the same");
    return from->downstream_tls_context;
}

void listener_http3(struct listener_making *l, const Envoy__Config__Core__V3__Http3ProtocolOptions *from) {
    const struct quic_making both = making_of(l);
    Headgate__Http3Options *h = from ? http3_of(&both) : NULL;
    if (!h)
        return;
    h->has_extended_connect = true;
    h->extended_connect = from->allow_extended_connect;
    quic_take_table(&both, from);
}
