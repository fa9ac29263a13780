/* hello.h — how long the TLS messages of a client's Initial packets say to be. Pure.
 *
 * OpenSSL makes room for a whole message once its header has come: of a ClientHello up to 128 KiB, for four octets from an
 * address that may be anybody's. Up to QUIC_HELLO_MAX it takes nothing beyond what every session has. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUIC_HELLO_MAX = (16 << 10) - 4 }; /* what is behind a header; ClientHellos with post-quantum keys have 2 KiB */

/* Zeroed: nothing has come. */
struct quic_hello {
    uint32_t left;                           /* octets of a message that are still to come */
    uint32_t length;                         /* of the next one, as far as it is known */
    uint8_t  header_n;                       /* so many octets of its header have come */
};

/* Takes what comes next, in order. False: a message says to be longer. */
bool quic_hello_take(struct quic_hello *h, const uint8_t *bytes, size_t n);
