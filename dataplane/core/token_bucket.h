/* token_bucket.h — how often something may happen: `rate` times a second, and `burst` times at once. Pure.
 *
 * A bucket is a single number, the time at which it will be full again, in nanoseconds; zeroed: it is full. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Takes `cost` tokens, at most `burst`, at a time in microseconds. False: there are too few, and nothing is taken. A rate of
 * 0 is one of 1. */
static inline bool token_bucket_take(uint64_t *full_at, uint64_t now_us, uint32_t rate, uint32_t burst, uint32_t cost) {
    uint64_t now = now_us * 1000, one = 1000000000 / (rate ? rate : 1);
    uint64_t then = (*full_at > now ? *full_at : now) + (cost < burst ? cost : burst) * one;
    if (then - now > burst * one)
        return false;
    *full_at = then;
    return true;
}
