/* quic_listener.h — HTTP/3 on the UDP sockets of a listener: an endpoint of QUIC (quic/endpoint.h) for each, whose
 * connections speak HTTP/3 (codec/h3). Thread: the worker's. */
#pragma once

#include "dataplane/net/datagrams.h"

extern const struct datagram_ops quic_listener_ops;
