#include "dataplane/quic/hello.h"

enum { HEADER = 4 };                         /* type, and three octets of length (RFC 8446 section 4) */

static void take_header_octet(struct quic_hello *h, uint8_t octet) {
    if (h->header_n > 0)
        h->length = h->length << 8 | octet;
    if (++h->header_n == HEADER)
        *h = (struct quic_hello){.left = h->length};
}

bool quic_hello_take(struct quic_hello *h, const uint8_t *bytes, size_t n) {
    for (size_t at = 0; at < n && h->left <= QUIC_HELLO_MAX;) {
        size_t part = h->left < n - at ? h->left : n - at;
        h->left -= (uint32_t)part;
        at += part;
        if (at < n)
            take_header_octet(h, bytes[at++]);
    }
    return h->left <= QUIC_HELLO_MAX;
}
