/* field_bytes.h — walks over the bytes of field names and values, sixteen at a time where the machine has SSE2 (every
 * x86-64), eight at a time elsewhere. Both forms give the same results; tests/unit/dataplane/routing/test_field_bytes.c
 * holds them against loops over single bytes. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A token byte (RFC 9110 section 5.6.2) as lower case, 0 for every other byte. */
extern const uint8_t field_token_lower[256];

static inline bool field_is_control(char c) {
    return (uint8_t)c < 0x20 || c == 0x7f;
}

/* The same as field_find_control() below, eight bytes at a time: `hit` is not zero exactly when one of them is below 0x20
 * or equal to 0x7f. A borrow starts only at a true hit, so the lowest one is exact. */
static inline const char *field_find_control_by_words(const char *p, const char *end) {
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
    while (p < end && !field_is_control(*p))
        p++;
    return p;
}

/* The same as field_lower_token() below. */
static inline char *field_lower_token_by_bytes(char *p, const char *end) {
    char lower;
    while (p < end && (lower = (char)field_token_lower[(uint8_t)*p]))
        *p++ = lower;
    return p;
}

/* The same as field_skip_lower_token() below. */
static inline const char *field_skip_lower_token_by_bytes(const char *p, const char *end) {
    while (p < end && *p && *p == (char)field_token_lower[(uint8_t)*p])
        p++;
    return p;
}

#ifdef __SSE2__
#include <emmintrin.h>

/* Sixteen 0xff, then sixteen 0: from 16 - n on, a mask of the first n bytes. */
extern const uint8_t field_first_bytes[32];

static inline __m128i field_in_range(__m128i bytes, char first, char last) {
    __m128i from_first = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_first, _mm_set1_epi8((char)(last - first))), from_first);
}

/* A bit for each of the sixteen bytes at p that is a control byte. */
static inline unsigned field_control_bytes(const char *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i found = _mm_or_si128(field_in_range(bytes, 0, 0x1f), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
    return (unsigned)_mm_movemask_epi8(found);
}

/* The first control byte (HTAB is one) in p..end, or end. The last sixteen bytes may overlap those before them. */
static inline const char *field_find_control(const char *p, const char *end) {
    if (end - p < 16)
        return field_find_control_by_words(p, end);
    unsigned hits;
    for (; end - p >= 16; p += 16)
        if ((hits = field_control_bytes(p)))
            return p + __builtin_ctz(hits);
    hits = field_control_bytes(end - 16) >> (16 - (end - p));
    return hits ? p + __builtin_ctz(hits) : end;
}

/* A bit for each byte that is not in [a-z0-9-], the bytes of nearly every name. */
static inline unsigned field_unusual_bytes(__m128i bytes) {
    __m128i usual = _mm_or_si128(_mm_or_si128(field_in_range(bytes, 'a', 'z'), field_in_range(bytes, '0', '9')),
                                 _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')));
    return ~(unsigned)_mm_movemask_epi8(usual) & 0xffff;
}

/* Makes the token at p lower-case, in place. Returns the first byte that belongs to no token, or end. */
static inline char *field_lower_token(char *p, const char *end) {
    while (end - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i upper = field_in_range(bytes, 'A', 'Z');
        __m128i lower = _mm_or_si128(bytes, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
        unsigned others = field_unusual_bytes(lower);
        unsigned n = others ? (unsigned)__builtin_ctz(others) : 16;
        __m128i mask = _mm_loadu_si128((const __m128i *)(field_first_bytes + 16 - n));
        _mm_storeu_si128((__m128i *)p, _mm_or_si128(_mm_and_si128(mask, lower), _mm_andnot_si128(mask, bytes)));
        p += n;
        if (others)
            break;
    }
    return field_lower_token_by_bytes(p, end); /* at the colon nearly always; a rare token byte goes on here */
}

/* The first byte that belongs to no lower-case token, or end. */
static inline const char *field_skip_lower_token(const char *p, const char *end) {
    while (end - p >= 16) {
        unsigned others = field_unusual_bytes(_mm_loadu_si128((const __m128i *)p));
        p += others ? __builtin_ctz(others) : 16;
        if (others)
            break;
    }
    return field_skip_lower_token_by_bytes(p, end);
}
#else
static inline const char *field_find_control(const char *p, const char *end) {
    return field_find_control_by_words(p, end);
}

static inline char *field_lower_token(char *p, const char *end) {
    return field_lower_token_by_bytes(p, end);
}

static inline const char *field_skip_lower_token(const char *p, const char *end) {
    return field_skip_lower_token_by_bytes(p, end);
}
#endif
