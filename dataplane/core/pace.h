/* pace.h — whether bytes move as fast as they have to. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* How long a peer's window has been the limit, and what went meanwhile. */
struct pace {
    uint64_t since, bytes;                 /* since: 0: it is not the limit */
};

/* `bytes` in `elapsed` microseconds are fewer than `rate` a second, and it has lasted for more than twice `wait`: not, that
 * a peer is slow to begin. A rate or a wait of 0: never. */
static inline bool pace_is_slow(uint64_t bytes, uint64_t elapsed, uint64_t rate, uint64_t wait) {
    return rate && wait && elapsed > 2 * wait && bytes * 1000000 / elapsed < rate;
}
