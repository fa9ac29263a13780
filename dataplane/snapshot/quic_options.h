/* quic_options.h — from the messages of a listener or a cluster to the options of its QUIC. Thread: main. */
#pragma once

#include "dataplane/quic/options.h"
#include "proto/resources.pb-c.h"

/* Either message may be NULL, for its defaults. handshake_timeout: microseconds. Returns 0, or -1: the server id cannot be
 * used. */
int quic_options_init(struct quic_options *, const Headgate__QuicOptions *, const Headgate__Http3Options *,
                      uint64_t handshake_timeout);
