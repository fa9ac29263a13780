/* histogram.h — buckets for times in microseconds: each power of two from 64 us to 64 s in four equal parts, one bucket for
 * what is below and one for what is above. A value read back from a bucket is at most an eighth off. Thread: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    HISTOGRAM_FIRST_BIT = 6,
    HISTOGRAM_LAST_BIT = 26,
    HISTOGRAM_BUCKETS = 4 * (HISTOGRAM_LAST_BIT - HISTOGRAM_FIRST_BIT) + 2
};

static inline unsigned histogram_bucket(uint64_t us) {
    if (us < UINT64_C(1) << HISTOGRAM_FIRST_BIT)
        return 0;
    if (us >= UINT64_C(1) << HISTOGRAM_LAST_BIT)
        return HISTOGRAM_BUCKETS - 1;
    unsigned bit = 63 - (unsigned)__builtin_clzll(us);
    return 1 + 4 * (bit - HISTOGRAM_FIRST_BIT) + (unsigned)(us >> (bit - 2) & 3);
}

/* The lowest value of the bucket; that of the one behind the last bucket is twice the last's. */
static inline uint64_t histogram_lowest(unsigned bucket) {
    if (bucket == 0)
        return 0;
    unsigned bit = HISTOGRAM_FIRST_BIT + (bucket - 1) / 4;
    if (bucket == HISTOGRAM_BUCKETS)
        return UINT64_C(1) << (HISTOGRAM_LAST_BIT + 1);
    return (UINT64_C(1) << bit) + ((uint64_t)((bucket - 1) % 4) << (bit - 2));
}

/* The value below which `share` (0 to 1) of the counted ones are, by the straight line within a bucket; 0: none were. */
static inline uint64_t histogram_quantile(const uint64_t counts[HISTOGRAM_BUCKETS], double share) {
    uint64_t total = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        total += counts[i];
    double wanted = share * (double)total, below = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && total; i++) {
        double here = (double)counts[i];
        if (counts[i] && below + here >= wanted) {
            uint64_t from = histogram_lowest(i), to = histogram_lowest(i + 1);
            return from + (uint64_t)((double)(to - from) * (wanted > below ? (wanted - below) / here : 0));
        }
        below += here;
    }
    return 0;
}
