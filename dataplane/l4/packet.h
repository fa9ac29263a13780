/* packet.h — what anybody can read of a QUIC packet: RFC 8999 for all versions, RFC 9000 section 17 and RFC 9369 section 3.2
 * for versions 1 and 2. Pure. Thread: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { PASS_ID_MAX = 20 };       /* octets of a connection ID; of versions 1 and 2 */

#define PASS_VERSION_1 1u
#define PASS_VERSION_2 0x6b3343cfu

enum pass_packet_kind {
    PASS_SHORT,
    PASS_INITIAL, PASS_ZERO_RTT, PASS_HANDSHAKE, PASS_RETRY,
    PASS_NEGOTIATION,            /* version 0 */
    PASS_UNKNOWN,                /* a long header of another version */
};

struct pass_packet {
    enum pass_packet_kind kind;
    uint32_t       version;      /* of a long header */
    const uint8_t *dcid, *scid;  /* in the packet. Of a short header's `dcid` the end is not known: `dcid_n` is the most */
    size_t         dcid_n, scid_n;
    size_t         token_n;      /* Initial */
    size_t         number_at;    /* Initial, 0-RTT, Handshake: where the protected packet number stands */
    size_t         n;            /* octets of the packet; what follows in a datagram is another one */
};

/* Reads the packet at the start of a datagram, or what is left of it. 0, or -1: it is none. */
int pass_packet_read(const uint8_t *bytes, size_t n, struct pass_packet *ret);
