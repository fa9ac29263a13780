/* halfsiphash.h — HalfSipHash-2-4 (Aumasson and Bernstein) of eight octets, which come as two words.
 *
 * 32 bits wide, without loops that depend on anything, so that BPF programs compute it too: xdp/bpf/steer.bpf.c includes
 * this file, xdp/classic.c has the same in instructions of classic BPF. The reference implementation reads its words in
 * little-endian order; who calls this chooses. Thread: any. */
#pragma once

#include <stdint.h>

struct halfsiphash_state {
    uint32_t v0, v1, v2, v3;
};

static inline uint32_t halfsiphash_rotate(uint32_t x, unsigned bits) {
    return x << bits | x >> (32 - bits);
}

static inline __attribute__((always_inline)) void halfsiphash_round(struct halfsiphash_state *s) {
    s->v0 += s->v1;
    s->v1 = halfsiphash_rotate(s->v1, 5) ^ s->v0;
    s->v0 = halfsiphash_rotate(s->v0, 16);
    s->v2 += s->v3;
    s->v3 = halfsiphash_rotate(s->v3, 8) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = halfsiphash_rotate(s->v3, 7) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = halfsiphash_rotate(s->v1, 13) ^ s->v2;
    s->v2 = halfsiphash_rotate(s->v2, 16);
}

static inline __attribute__((always_inline)) void halfsiphash_word(struct halfsiphash_state *s, uint32_t word) {
    s->v3 ^= word;
    halfsiphash_round(s);
    halfsiphash_round(s);
    s->v0 ^= word;
}

static inline __attribute__((always_inline)) uint32_t halfsiphash_of_8(uint32_t key0, uint32_t key1, uint32_t word0,
                                                                      uint32_t word1) {
    struct halfsiphash_state s = {key0, key1, key0 ^ 0x6c796765, key1 ^ 0x74656462};
    halfsiphash_word(&s, word0);
    halfsiphash_word(&s, word1);
    halfsiphash_word(&s, 8u << 24); /* the length */
    s.v2 ^= 0xff;
    halfsiphash_round(&s);
    halfsiphash_round(&s);
    halfsiphash_round(&s);
    halfsiphash_round(&s);
    return s.v1 ^ s.v3;
}
