#include "dataplane/tls/replay.h"

#include <stdatomic.h>

#include "common/map.h"

enum { SECOND = 1000000, TIME_BITS = 16, TIME_MASK = (1 << TIME_BITS) - 1 };

/* Each the upper 48 bits of a hash, and the second in which it was noted, which is never 0. All of them together are half a
 * mebibyte, of which nothing is touched before early data is. */
static _Atomic uint64_t seen[REPLAY_SLOTS];
static _Atomic uint64_t takes_from;

void tls_replay_begin(uint64_t now) {
    atomic_store(&takes_from, now + REPLAY_WINDOW);
    for (size_t i = 0; i < REPLAY_SLOTS; i++)
        if (atomic_load_explicit(&seen[i], memory_order_relaxed))
            atomic_store(&seen[i], 0);
}

static uint64_t second_of(uint64_t now) {
    return now / SECOND % TIME_MASK + 1;
}

static bool is_fresh(uint64_t entry, uint64_t second) {
    uint64_t then = entry & TIME_MASK;
    return then != 0 && (second + TIME_MASK - then) % TIME_MASK <= REPLAY_WINDOW / SECOND;
}

bool tls_replay_is_first(struct str random, uint64_t now) {
    if (now < atomic_load(&takes_from))
        return false;
    uint64_t hash = map_hash(random), second = second_of(now), entry = (hash & ~(uint64_t)TIME_MASK) | second;
    _Atomic uint64_t *bucket = &seen[hash % (REPLAY_SLOTS / REPLAY_BUCKET) * REPLAY_BUCKET];
    _Atomic uint64_t *room = NULL;
    uint64_t old = 0;
    for (size_t i = REPLAY_BUCKET; i-- > 0;) {
        uint64_t found = atomic_load(&bucket[i]);
        if (is_fresh(found, second) && (found ^ entry) <= TIME_MASK)
            return false;
        if (!is_fresh(found, second)) {
            room = &bucket[i];
            old = found;
        }
    }
    /* Two workers that note one thing at once: both choose the first place that is free, and only one gets it. */
    return room && atomic_compare_exchange_strong(room, &old, entry);
}
