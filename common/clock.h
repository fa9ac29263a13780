/* clock.h — the two clocks, in microseconds. Thread: any. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_read_us(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* For durations and deadlines. */
static inline uint64_t clock_monotonic_us(void) {
    return clock_read_us(CLOCK_MONOTONIC);
}

/* Since 1970, for people. */
static inline uint64_t clock_realtime_us(void) {
    return clock_read_us(CLOCK_REALTIME);
}
