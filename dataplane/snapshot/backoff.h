/* backoff.h — how long to wait before the next try: doubling, capped, with jitter so that many do not come
 * at once. */
#pragma once

#include <stdint.h>

struct backoff {
    double   first, most;      /* seconds */
    unsigned failures;         /* in a row */
    uint64_t random;           /* state of the jitter; seed it with anything */
};

/* Seconds until the next try: between half and all of first * 2^failures, at most `most`. Counts one more
 * failure. */
double backoff_next(struct backoff *b);
static inline void backoff_reset(struct backoff *b) { b->failures = 0; }
