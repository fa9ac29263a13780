/* peek.h — frames that the library does not tell of, or not well enough: a look at the plaintext of 1-RTT packets as they
 * are decrypted, before the library reads them. Pure.
 *
 * ngtcp2 acts on STOP_SENDING without a word: who has nothing to write on the stream would not know that nobody reads it.
 * And it answers RESET_STREAM of a stream that only we write to with another code than RFC 9000 section 19.4 wants. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUIC_STOPS_MAX = 8 };

struct quic_stop {
    int64_t  id;
    uint64_t code;
};

struct quic_peeked {
    struct quic_stop stops[QUIC_STOPS_MAX];   /* more than these are found out when the stream is written to */
    size_t           stop_count;
    bool             resets_ours;             /* RESET_STREAM of a unidirectional stream of this side */
};

/* Adds what is in the payload of one packet. It reads up to the first frame that it does not know, or that is cut off: that
 * is the library's to refuse. */
void quic_peek(struct quic_peeked *p, bool is_server, const uint8_t *payload, size_t n);
