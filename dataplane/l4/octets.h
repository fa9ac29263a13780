/* octets.h — a cursor over octets of a peer: reads straight on, and is asked once at the end whether all was there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct octets {
    const uint8_t *at, *end;
    bool           failed;       /* stays set; what is read from then on is zeros */
};

static inline size_t octets_left(const struct octets *o) {
    return (size_t)(o->end - o->at);
}

/* NULL: there are not so many. */
static inline const uint8_t *octets_take(struct octets *o, size_t n) {
    const uint8_t *p = o->at;
    if (o->failed || octets_left(o) < n) {
        o->failed = true;
        return NULL;
    }
    o->at += n;
    return p;
}

/* Network byte order; 1 to 8 octets. */
static inline uint64_t octets_number(struct octets *o, size_t n) {
    const uint8_t *p = octets_take(o, n);
    uint64_t value = 0;
    for (size_t i = 0; p && i < n; i++)
        value = value << 8 | p[i];
    return value;
}

/* RFC 9000 section 16. */
static inline uint64_t octets_varint(struct octets *o) {
    static const uint64_t values[] = {0x3f, 0x3fff, 0x3fffffff, 0x3fffffffffffffff};
    unsigned form = !o->failed && o->at < o->end ? *o->at >> 6 : 0;
    return octets_number(o, (size_t)1 << form) & values[form];
}
