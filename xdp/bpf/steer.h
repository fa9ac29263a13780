/* steer.h — what the eBPF program (steer.bpf.c), who fills its maps, and the classic program agree on. */
#pragma once

#include <stdint.h>

enum {
    STEER_LONG_HEADER = 0x80,  /* bit of the first octet, RFC 8999 section 5 */
    STEER_SHORT_ID = 1,        /* where a connection ID begins behind a short header, and a long one */
    STEER_LONG_ID = 6,
    STEER_TAIL = 12,           /* octets at an ID's end: one that is not looked at, 8 hashed, 3 of routing */
    STEER_CHECK = 0x5a,        /* QUIC_ID_CHECK */
    STEER_GROUPS = 256,        /* STEERING_GROUPS_MAX */
    STEER_SOCKETS = 128,       /* STEERING_SOCKETS_MAX */
};

/* A bound address. */
struct steer_key {
    uint32_t family;
    uint32_t port;             /* host byte order */
    uint32_t ip[4];            /* network byte order; of IPv4 the first */
};

struct steer_group {
    uint32_t first;            /* index in the map of sockets */
    uint32_t count;
    uint32_t hash_key[2];
    uint32_t id_length;
    uint32_t tag;
};

/* The low 16 bits of the routing octets without their mask. */
static inline uint32_t steer_tag(uint8_t generation) {
    return (uint32_t)generation << 8 | STEER_CHECK;
}
