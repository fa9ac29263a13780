/* client.h — QUIC towards origins: each connection has a UDP socket of its own, so it needs no IDs to be found by. Thread:
 * the worker's. */
#pragma once

#include "common/address.h"
#include "dataplane/quic/conn.h"
#include "dataplane/quic/options.h"
#include "dataplane/tls/client.h"

/* What one connection is to. Read in the call only. */
struct quic_target {
    const struct address      *address;
    const struct quic_options *options;
    uint64_t                   handshake_timeout; /* microseconds; 0: that of the options */
    struct tls_client         *tls;               /* of TLS_HTTP3 */
    struct str                 hostname;          /* for TLS, where the definition names none */
    const void                *endpoint;          /* what TLS sessions and tokens are remembered by */
};

/* Begins a handshake in the flush of this turn; on_open or on_closed of the user follows, `destroy` last. NULL: errno says
 * why (ENOMEM, EPROTO, those of udp_connect), and the user hears nothing. */
struct quic_conn *quic_connect(struct worker *w, const struct quic_target *to, struct quic_user *user);
