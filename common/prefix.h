/* prefix.h — ranges of IP addresses as users write them. Thread: any, nothing is shared. */
#pragma once

#include "common/address.h"

/* The first `bits` of an address; an IPv4 prefix counts as one of IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2). */
struct prefix {
    uint8_t  bytes[16];
    unsigned bits;                  /* 0 to 128 */
};

enum { PREFIX_TEXT_MAX = 64 };

/* "10.0.0.0/8", "::1/128", or an address alone. Bits behind the prefix must be 0. Returns 0, or -1 and leaves *ret
 * untouched. */
int  prefix_parse(struct str text, struct prefix *ret);
/* The one text of a prefix; the length is always written. */
size_t prefix_format(const struct prefix *p, char text[PREFIX_TEXT_MAX]);
/* Never true of Unix-domain addresses. */
bool prefix_contains(const struct prefix *p, const struct address *a);
