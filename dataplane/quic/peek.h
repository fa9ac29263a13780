/* peek.h — frames that the library does not tell of, or not well enough: a look at the plaintext of 0-RTT and 1-RTT packets
 * as they are decrypted, before the library reads them. Pure.
 *
 * ngtcp2 acts on STOP_SENDING without a word: who has nothing to write on the stream would not know that nobody reads it.
 * And it answers RESET_STREAM of a stream that only we write to with another code than RFC 9000 section 19.4 wants. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUIC_STOPS_MAX = 512 }; /* more than fit into a datagram of Ethernet: each has three bytes at least */

struct quic_stop {
    int64_t  id;
    uint64_t code;
};

/* What the packets of one datagram say. */
struct quic_peeked {
    bool             resets_ours;             /* RESET_STREAM of a unidirectional stream of this side */
    size_t           stop_count;
    struct quic_stop stops[QUIC_STOPS_MAX];   /* more than these are found out when the stream is written to; the first of a
                                               * unidirectional stream of this side is among them */
};

/* Adds what is in the payload of one packet. It reads up to the first frame that it does not know, or that is cut off: that
 * is the library's to refuse. */
void quic_peek(struct quic_peeked *p, bool is_server, const uint8_t *payload, size_t n);
