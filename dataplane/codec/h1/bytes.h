/* bytes.h — the byte classes of HTTP/1.1 (RFC 9110 section 5.6.2, RFC 9112) for scanner, parser and decoder.
 *
 * Internal to the codec. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A token byte as lower case, 0 for every other byte. */
extern const uint8_t h1_token_lower[256];

enum h1_byte_class {
    H1_TARGET_BYTE = 1, /* visible ASCII but "#": what a request target may hold */
    H1_QUOTED_BYTE = 2, /* qdtext of a quoted-string: HTAB, SP, visible but '"' and '\', and obs-text */
    H1_TEXT_BYTE = 4,   /* HTAB, SP, visible, obs-text: a field value, a reason, behind '\' in a quoted-string */
};
extern const uint8_t h1_byte_class[256];

static inline bool h1_is_token_byte(char c) {
    return h1_token_lower[(uint8_t)c] != 0;
}

/* The value of a hexadecimal digit, or -1. */
static inline int h1_hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool h1_is_control(char c) {
    return (uint8_t)c < 0x20 || c == 0x7f;
}

/* The first control byte (HTAB is one) in p..end, or end. Eight bytes at a time: `hit` is not zero exactly when one of
 * them is below 0x20 or equal to 0x7f. A borrow starts only at a true hit, so the lowest one is exact. */
static inline const char *h1_find_control(const char *p, const char *end) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        uint64_t del = word ^ (ones * 0x7f);
        uint64_t hit = (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops;
        if (hit && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
            return p + (__builtin_ctzll(hit) >> 3);
        if (hit)
            break;
        p += 8;
    }
    while (p < end && !h1_is_control(*p))
        p++;
    return p;
}
