/* options.h — what a listener or a cluster allows of QUIC, with the defaults filled in (messages QuicOptions and
 * Http3Options).
 *
 * Plain data, immutable after it was filled; times are microseconds, sizes bytes. For a listener the peer is a client, for a
 * cluster an origin: what is marked below has no meaning there. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/quic/ids.h"

enum quic_retry { QUIC_RETRY_UNDER_LOAD, QUIC_RETRY_NEVER, QUIC_RETRY_ALWAYS };
enum quic_congestion { QUIC_CUBIC, QUIC_BBR };

struct quic_options {
    enum quic_retry       retry;                 /* listeners */
    uint32_t              retry_above;           /* listeners: handshakes under way of an endpoint that are load */
    uint32_t              max_handshakes;        /* listeners: under way of an endpoint; beyond: dropped */
    uint64_t              handshake_timeout;
    uint64_t              idle_timeout;          /* the lower of both sides' holds */
    uint64_t              keep_alive;            /* silence with open requests after which a PING is sent; 0: never */
    enum quic_congestion  congestion;
    uint32_t              max_udp_payload;       /* what is sent at most, once the path is known to take it; 0: not said */
    uint32_t              initial_stream_window, initial_connection_window;
    uint32_t              max_concurrent_streams; /* bidirectional ones that the peer may open */
    bool                  early_data;            /* listeners */
    uint64_t              early_context;         /* listeners: a hash of what else clients rely on when they send it */
    bool                  active_migration;      /* listeners */
    struct quic_server_id server_id;             /* listeners */
};
