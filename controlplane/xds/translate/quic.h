/* quic.h — QUIC and HTTP/3 in the making, of listeners and clusters. Thread: one at a time. */
#pragma once

#include "controlplane/xds/translate/listener.h"
#include "proto/envoy/config/core/v3/protocol.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/quic/v3/quic_transport.pb-c.h"

/* ---- both sides ---- */

extern const struct xds_fields quic_read_options;

struct quic_making {
    struct making           *making;
    Headgate__Http3Options **http3;     /* made where something is said of it */
    Headgate__QuicOptions   *quic;
};

void quic_take_options(const struct quic_making *q, const struct xds_at *at,
                       const Envoy__Config__Core__V3__QuicProtocolOptions *o);
/* What is said of QPACK. */
void quic_take_table(const struct quic_making *q, const Envoy__Config__Core__V3__Http3ProtocolOptions *from);

/* ---- listeners ---- */

extern const struct xds_fields xds_read_udp_listener, xds_read_quic_transport, xds_read_http3_options;

/* Makes a listener of QUIC of it; NULL: it is one of TCP. */
void listener_udp(struct listener_making *l, const struct xds_at *at,
                  const Envoy__Config__Listener__V3__UdpListenerConfig *from);
/* The TLS of a chain's transport, which takes early data or not as the first chain does; NULL after an error. */
Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *
quic_tls(struct listener_making *l, const struct xds_at *at,
         const Envoy__Extensions__TransportSockets__Quic__V3__QuicDownstreamTransport *from, bool is_first);
/* NULL: the gateway's defaults. */
void listener_http3(struct listener_making *l, const Envoy__Config__Core__V3__Http3ProtocolOptions *from);
