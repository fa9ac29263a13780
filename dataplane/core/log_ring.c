#include "dataplane/core/log_ring.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"

enum { CAPACITY_MIN = 4096 };

/* ---- waking ---- */

void log_waker_wake(struct log_waker *waker) {
    if (atomic_exchange_explicit(&waker->word, 1, memory_order_release) == 0)
        syscall(SYS_futex, &waker->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void log_waker_wait(struct log_waker *waker, uint64_t timeout_us) {
    struct timespec timeout = {(time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000) * 1000};
    if (atomic_load_explicit(&waker->word, memory_order_acquire) == 0)
        syscall(SYS_futex, &waker->word, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0);
    atomic_exchange_explicit(&waker->word, 0, memory_order_acquire);
}

/* ---- the ring ---- */

int log_ring_init(struct log_ring *ring, size_t capacity, struct log_waker *waker) {
    size_t rounded = CAPACITY_MIN;
    while (rounded < capacity && rounded <= SIZE_MAX / 4)
        rounded *= 2;
    char *bytes = hg_malloc(rounded);
    if (!bytes)
        return -1;
    *ring = (struct log_ring){.bytes = bytes, .capacity = rounded, .waker = waker};
    return 0;
}

void log_ring_finish(struct log_ring *ring) {
    hg_free(ring->bytes);
    *ring = (struct log_ring){0};
}

/* Only the producer adds: no locked instruction. */
static void count(_Atomic uint64_t *counter) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Looks at the consumer's side only when what is known of it does not do. */
static size_t used(struct log_ring *ring, size_t head, size_t acceptable) {
    if (head - ring->known_tail > acceptable)
        ring->known_tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    return head - ring->known_tail;
}

static void wake_when_half_full(struct log_ring *ring, size_t head) {
    bool is_half_full = used(ring, head, ring->capacity / 2) > ring->capacity / 2;
    if (is_half_full && !ring->half_full)
        log_waker_wake(ring->waker);
    ring->half_full = is_half_full;
}

bool log_ring_put(struct log_ring *ring, const void *record, size_t size) {
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (size > ring->capacity || used(ring, head, ring->capacity - size) > ring->capacity - size) {
        count(&ring->dropped);
        return false;
    }
    size_t at = head & (ring->capacity - 1), first = ring->capacity - at;
    if (first > size)
        first = size;
    memcpy(ring->bytes + at, record, first);
    memcpy(ring->bytes, (const char *)record + first, size - first);
    atomic_store_explicit(&ring->head, head + size, memory_order_release);
    count(&ring->records);
    wake_when_half_full(ring, head + size);
    return true;
}

int log_ring_peek(struct log_ring *ring, struct iovec ret_pieces[2]) {
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    size_t size = atomic_load_explicit(&ring->head, memory_order_acquire) - tail;
    size_t at = tail & (ring->capacity - 1), first = ring->capacity - at;
    if (size == 0)
        return 0;
    ret_pieces[0] = (struct iovec){ring->bytes + at, size < first ? size : first};
    if (size <= first)
        return 1;
    ret_pieces[1] = (struct iovec){ring->bytes, size - first};
    return 2;
}

void log_ring_take(struct log_ring *ring, size_t size) {
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + size, memory_order_release);
}

uint64_t log_ring_records(const struct log_ring *ring) {
    return atomic_load_explicit(&ring->records, memory_order_relaxed);
}

uint64_t log_ring_dropped(const struct log_ring *ring) {
    return atomic_load_explicit(&ring->dropped, memory_order_relaxed);
}
