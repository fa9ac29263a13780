/* log_ring.h — access records on their way from one worker to the writer thread.
 *
 * A byte ring of fixed capacity with one producer and one consumer. A record is a run of finished bytes with
 * its line end; the ring does not know where records begin, but the consumer always sees whole ones, since
 * each is published at once. When there is no room the record is dropped and counted: a slow disk never slows
 * a request. The producer makes no system call, except that it wakes the writer once each time the ring
 * becomes half full; below that the writer comes by itself. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Shared by all rings of one writer thread. */
struct log_waker {
    _Atomic uint32_t word;            /* futex: 1 while a wake-up is pending */
};

void log_waker_wake(struct log_waker *waker);                         /* any thread */
void log_waker_wait(struct log_waker *waker, uint64_t timeout_us); /* the writer; returns early when woken */

struct log_ring {
    char             *bytes;
    size_t            capacity;       /* a power of two */
    struct log_waker *waker;
    /* the producer's */
    _Alignas(64) _Atomic size_t head; /* bytes ever put; positions are taken modulo the capacity */
    size_t            known_tail;     /* what the producer last saw of `tail` */
    bool              half_full;      /* the writer has been woken for this filling */
    _Atomic uint64_t  records, dropped;
    /* the consumer's */
    _Alignas(64) _Atomic size_t tail; /* bytes ever taken */
};

/* `capacity` is rounded up to a power of two, at least 4096. Returns 0 or -1 (memory). `waker` outlives
 * the ring. */
int  log_ring_init(struct log_ring *ring, size_t capacity, struct log_waker *waker);
void log_ring_finish(struct log_ring *ring);                          /* a zeroed struct is allowed */

/* Producer. Copies one record; false: it was dropped. A record longer than the capacity is always dropped. */
bool log_ring_put(struct log_ring *ring, const void *record, size_t size);

/* Consumer. What waits, as at most two pieces in order; returns their number, 0 when empty. The bytes stay
 * until taken. */
int  log_ring_peek(struct log_ring *ring, struct iovec ret_pieces[2]);
void log_ring_take(struct log_ring *ring, size_t size);               /* frees the first `size` bytes */

/* Any thread. */
uint64_t log_ring_records(const struct log_ring *ring);               /* put so far */
uint64_t log_ring_dropped(const struct log_ring *ring);               /* dropped so far */
