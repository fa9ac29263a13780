#include "common/prefix.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { V4_MAPPED_BITS = 96 };

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const uint8_t bytes[16], unsigned bits) {
    return bits >= V4_MAPPED_BITS && memcmp(bytes, v4_mapped, sizeof v4_mapped) == 0;
}

static bool has_bits_behind(const struct prefix *p) {
    for (unsigned bit = p->bits; bit < 128; bit++)
        if (p->bytes[bit / 8] & 0x80u >> bit % 8)
            return true;
    return false;
}

/* Returns the number of bits that an address of the family has, or 0 for what is none. */
static unsigned parse_address(struct str text, uint8_t bytes[16]) {
    char copy[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n))
        return 0;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET6, copy, bytes) == 1)
        return 128;
    memcpy(bytes, v4_mapped, sizeof v4_mapped);
    return inet_pton(AF_INET, copy, bytes + sizeof v4_mapped) == 1 ? 32 : 0;
}

int prefix_parse(struct str text, struct prefix *ret) {
    struct prefix p;
    struct str rest = text, address = str_cut(&rest, '/');
    unsigned most = parse_address(address, p.bytes);
    uint64_t bits = most;
    if (most == 0 || (rest.p && (rest.n > 3 || str_to_uint64(rest, &bits) < 0)) || bits > most)
        return -1;
    p.bits = (unsigned)bits + 128 - most;
    if (has_bits_behind(&p))
        return -1;
    *ret = p;
    return 0;
}

size_t prefix_format(const struct prefix *p, char text[PREFIX_TEXT_MAX]) {
    char address[INET6_ADDRSTRLEN];
    bool v4 = is_v4(p->bytes, p->bits);
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? p->bytes + sizeof v4_mapped : p->bytes, address, sizeof address);
    return (size_t)snprintf(text, PREFIX_TEXT_MAX, "%s/%u", address, v4 ? p->bits - V4_MAPPED_BITS : p->bits);
}

static bool bytes_of(const struct address *a, uint8_t bytes[16]) {
    if (a->u.any.sa_family == AF_INET6) {
        memcpy(bytes, &a->u.v6.sin6_addr, 16);
        return true;
    }
    memcpy(bytes, v4_mapped, sizeof v4_mapped);
    memcpy(bytes + sizeof v4_mapped, &a->u.v4.sin_addr, 4);
    return a->u.any.sa_family == AF_INET;
}

bool prefix_contains(const struct prefix *p, const struct address *a) {
    uint8_t bytes[16];
    if (!bytes_of(a, bytes) || memcmp(bytes, p->bytes, p->bits / 8) != 0)
        return false;
    unsigned left = p->bits % 8;
    return left == 0 || ((bytes[p->bits / 8] ^ p->bytes[p->bits / 8]) & 0xffu << (8 - left) & 0xffu) == 0;
}
