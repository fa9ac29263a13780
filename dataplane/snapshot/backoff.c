#include "dataplane/snapshot/backoff.h"

/* xorshift64* */
static double random_fraction(uint64_t *state) {
    uint64_t x = *state ? *state : 0x9e3779b97f4a7c15u;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (double)((x * 0x2545f4914f6cdd1du) >> 11) / (double)(1ull << 53);
}

double backoff_next(struct backoff *b) {
    double delay = b->first;
    for (unsigned i = 0; i < b->failures && delay < b->most; i++)
        delay *= 2;
    if (delay > b->most)
        delay = b->most;
    b->failures++;
    return delay / 2 + delay / 2 * random_fraction(&b->random);
}
