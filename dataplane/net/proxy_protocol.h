/* proxy_protocol.h — the PROXY header, versions 1 and 2, with which a proxy in front says who the client is.
 * (HAProxy: doc/proxy-protocol.txt.) Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/address.h"

enum { PROXY_HEADER_MAX = 4096 };          /* received; one that is longer is refused */
enum { PROXY_WRITTEN_MAX = 128 };          /* written */

struct proxy_header {
    bool           has_addresses;          /* false: LOCAL, UNKNOWN or another family; the connection's own count */
    struct address source, destination;
};

/* How many bytes of `bytes` the header has; 0: not complete yet; -1: this is no PROXY header. */
int proxy_header_read(const uint8_t *bytes, size_t n, struct proxy_header *ret);
/* Writes a header of version 1 or 2; returns its length. An IPv4 address beside an IPv6 address is written in
 * its mapped form; with one that is neither the header says UNKNOWN or LOCAL. */
size_t proxy_header_write(int version, const struct address *source, const struct address *destination,
                          uint8_t room[PROXY_WRITTEN_MAX]);

/* Who is believed. */
struct proxy_prefix {
    uint8_t  bytes[16];                    /* IPv4 in its mapped form */
    unsigned bits;                         /* of these 16 bytes */
};
struct proxy_trust {
    const struct proxy_prefix *prefixes;
    size_t                     count;
    bool                       unix_sockets; /* peers on Unix-domain sockets too */
};
bool proxy_is_trusted(const struct proxy_trust *, const struct address *peer);
/* "10.0.0.0/8", "::1/128", "192.0.2.1", "unix:". 0, or -1. For "unix:" *ret_unix is set. */
int  proxy_prefix_parse(struct str text, struct proxy_prefix *ret, bool *ret_unix);
