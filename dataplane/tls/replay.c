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

/* Workers disagree about the second: an entry may be of a later one. */
static bool is_fresh(uint64_t entry, uint64_t second) {
    const uint64_t most = REPLAY_WINDOW / SECOND;
    uint64_t then = entry & TIME_MASK;
    return then != 0 && (second + TIME_MASK + most - then) % TIME_MASK <= 2 * most;
}

static bool is_same(uint64_t a, uint64_t b) {
    return (a ^ b) <= TIME_MASK;
}

/* Where the entry may go, and what is there now. NULL: it has been noted, or there is no room. */
static _Atomic uint64_t *find_room(_Atomic uint64_t *bucket, uint64_t entry, uint64_t *ret_old) {
    _Atomic uint64_t *room = NULL;
    for (size_t i = REPLAY_BUCKET; i-- > 0;) {
        uint64_t found = atomic_load(&bucket[i]);
        bool is_taken = is_fresh(found, entry & TIME_MASK);
        if (is_taken && is_same(found, entry))
            return NULL;
        if (!is_taken) {
            room = &bucket[i];
            *ret_old = found;
        }
    }
    return room;
}

static bool is_noted_elsewhere(_Atomic uint64_t *bucket, uint64_t entry, const _Atomic uint64_t *room) {
    for (size_t i = 0; i < REPLAY_BUCKET; i++) {
        uint64_t found = atomic_load(&bucket[i]);
        if (&bucket[i] != room && is_fresh(found, entry & TIME_MASK) && is_same(found, entry))
            return true;
    }
    return false;
}

/* Of two workers that note one thing at once only one gets the place, where both have found the same. Where they have not,
 * as one of them took another place for free already, the later one sees the other's. */
static bool note(_Atomic uint64_t *bucket, uint64_t entry, _Atomic uint64_t *room, uint64_t old) {
    return atomic_compare_exchange_strong(room, &old, entry) && !is_noted_elsewhere(bucket, entry, room);
}

bool tls_replay_is_first(struct str random, uint64_t now) {
    if (now < atomic_load(&takes_from))
        return false;
    uint64_t hash = map_hash(random), entry = (hash & ~(uint64_t)TIME_MASK) | second_of(now), old = 0;
    _Atomic uint64_t *bucket = &seen[hash % (REPLAY_SLOTS / REPLAY_BUCKET) * REPLAY_BUCKET];
    _Atomic uint64_t *room = find_room(bucket, entry, &old);
    return room && note(bucket, entry, room, old);
}
