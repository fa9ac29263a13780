#include "controlplane/xds/pace.h"

enum { SECOND = 1000000, JITTER_PERCENT = 20 };

void token_bucket_init(struct token_bucket *b, uint32_t tokens_max, uint32_t fill_per_second, uint64_t now) {
    *b = (struct token_bucket){.tokens_max = tokens_max, .fill_per_second = fill_per_second ? fill_per_second : 1,
                               .tokens = tokens_max, .filled_at = now};
}

bool token_bucket_has(struct token_bucket *b, uint64_t now) {
    uint64_t interval = SECOND / b->fill_per_second, passed = now > b->filled_at ? now - b->filled_at : 0;
    uint64_t fresh = interval ? passed / interval : b->tokens_max;
    if (b->tokens_max == 0)
        return true;
    if (fresh >= b->tokens_max - b->tokens) {
        b->tokens = b->tokens_max;
        b->filled_at = now;
    } else {
        b->tokens += (uint32_t)fresh;
        b->filled_at += fresh * interval;
    }
    return b->tokens > 0;
}

void token_bucket_take(struct token_bucket *b) {
    b->tokens -= b->tokens > 0;
}

uint64_t token_bucket_ready_at(const struct token_bucket *b) {
    return b->tokens_max == 0 || b->tokens > 0 ? 0 : b->filled_at + SECOND / b->fill_per_second;
}

/* From 0 to below `below`; xorshift64*, which is chance enough here. */
static uint64_t draw(uint64_t *random, uint64_t below) {
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return ((*random * UINT64_C(2685821657736338717)) >> 33) % below;
}

uint64_t backoff_wait(uint64_t base, uint64_t max, uint32_t failures, uint64_t *random) {
    uint64_t wait = base;
    for (uint32_t i = 1; i < failures && wait < max; i++)
        wait *= 2;
    wait = wait < max ? wait : max;
    return wait * (100 - JITTER_PERCENT + draw(random, 2 * JITTER_PERCENT + 1)) / 100;
}

uint64_t poll_wait(uint64_t base, uint64_t *random) {
    enum { PARTS = 1000 };
    return base + base / PARTS * draw(random, PARTS);
}
