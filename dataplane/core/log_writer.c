#include "dataplane/core/log_writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"

enum { WAIT_US = 100000, STOP_SECONDS = 2, STACK_SIZE = 256 << 10, CACHE_LINE = 64 };

static const uint64_t wait_when_off_us = 3600 * (uint64_t)1000000;

struct log_target {
    struct log_target *next;
    int                fd;
    struct log_rings  *rings;
};

struct log_writer {
    struct log_waker   waker;
    pthread_t          thread;
    pthread_mutex_t    lock;         /* guards `first` and `end` */
    struct log_target *first, **end; /* set by the main thread, not yet taken */
    struct log_target *reserve;      /* the main thread's: for the next one */
    _Atomic bool       is_stopping;
    _Atomic uint64_t   bytes, lost, failures;
    /* the thread's */
    struct log_target *target;       /* NULL: none */
    bool               is_mid_line;  /* the last write stopped within a record */
    bool               is_failing;   /* that has been said */
};

/* ---- one batch: what waits in one ring, in at most two pieces ---- */

struct batch {
    struct iovec pieces[3];          /* before them, perhaps, the line end that a broken write left out */
    int          count, at;
};

static void count(_Atomic uint64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void advance(struct batch *b, size_t n) {
    while (b->at < b->count && n >= b->pieces[b->at].iov_len)
        n -= b->pieces[b->at++].iov_len;
    if (n) {
        b->pieces[b->at].iov_base = (char *)b->pieces[b->at].iov_base + n;
        b->pieces[b->at].iov_len -= n;
    }
}

static uint64_t count_lines(const struct batch *b) {
    uint64_t lines = 0;
    for (int i = b->at; i < b->count; i++) {
        const char *at = b->pieces[i].iov_base, *end = at + b->pieces[i].iov_len;
        while ((at = memchr(at, '\n', (size_t)(end - at)))) {
            lines++;
            at++;
        }
    }
    return lines;
}

/* A pipe or terminal that is non-blocking, which is not ours to change. Gives up when we are to stop. */
static bool wait_until_writable(struct log_writer *w, int fd) {
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    while (poll(&writable, 1, 500) == 0)
        if (atomic_load(&w->is_stopping))
            return false;
    return true;
}

static bool write_some(struct log_writer *w, int fd, struct batch *b) {
    ssize_t n = writev(fd, b->pieces + b->at, b->count - b->at);
    if (n >= 0) {
        count(&w->bytes, (uint64_t)n);
        advance(b, (size_t)n);
        return true;
    }
    return errno == EINTR || (errno == EAGAIN && wait_until_writable(w, fd));
}

static void batch_failed(struct log_writer *w, const struct batch *b, bool has_begun) {
    count(&w->lost, count_lines(b));
    atomic_fetch_add_explicit(&w->failures, 1, memory_order_release); /* last: who sees it sees what it lost */
    w->is_mid_line |= has_begun;
    if (!w->is_failing)
        log_error("the access log cannot be written; records are lost", LOG_S("error", strerror(errno)));
    w->is_failing = true;
}

static void write_batch(struct log_writer *w, int fd, struct batch *b) {
    size_t first_size = b->pieces[0].iov_len;
    while (b->at < b->count && write_some(w, fd, b))
        continue;
    if (b->at < b->count) {
        batch_failed(w, b, b->at > 0 || b->pieces[0].iov_len < first_size);
        return;
    }
    w->is_mid_line = false;
    if (w->is_failing)
        log_info("the access log can be written again");
    w->is_failing = false;
}

static void drain_ring(struct log_writer *w, int fd, struct log_ring *ring) {
    struct batch b = {.count = 0};
    struct iovec waiting[2];
    int pieces = log_ring_peek(ring, waiting);
    size_t size = 0;
    if (pieces == 0)
        return;
    if (w->is_mid_line)
        b.pieces[b.count++] = (struct iovec){(char *)"\n", 1};
    for (int i = 0; i < pieces; i++) {
        b.pieces[b.count++] = waiting[i];
        size += waiting[i].iov_len;
    }
    write_batch(w, fd, &b);
    log_ring_take(ring, size);
}

static void drain_target(struct log_writer *w) {
    if (!w->target || !w->target->rings)
        return;
    for (unsigned i = 0; i < w->target->rings->count; i++)
        drain_ring(w, w->target->fd, &w->target->rings->items[i]);
}

/* ---- targets ---- */

static void target_free(struct log_target *t, const struct log_rings *kept) {
    if (!t)
        return;
    if (t->fd >= 0)
        close(t->fd);
    if (t->rings != kept)
        log_rings_destroy(t->rings);
    hg_free(t);
}

static struct log_target *next_target(struct log_writer *w) {
    pthread_mutex_lock(&w->lock);
    struct log_target *t = w->first;
    if (t && !(w->first = t->next))
        w->end = &w->first;
    pthread_mutex_unlock(&w->lock);
    return t;
}

static void take_targets(struct log_writer *w) {
    for (struct log_target *next; (next = next_target(w));) {
        drain_target(w);
        target_free(w->target, next->rings);
        w->target = next;
        w->is_mid_line = w->is_failing = false;
    }
}

static void *run(void *arg) {
    struct log_writer *w = arg;
    for (;;) {
        bool is_stopping = atomic_load(&w->is_stopping); /* before the last round, not after it */
        take_targets(w);
        drain_target(w);
        if (is_stopping)
            return NULL;
        log_waker_wait(&w->waker, w->target && w->target->rings ? WAIT_US : wait_when_off_us);
    }
}

/* ---- the main thread ---- */

int log_writer_reserve(struct log_writer *w) {
    if (!w->reserve)
        w->reserve = hg_malloc(sizeof *w->reserve);
    return w->reserve ? 0 : -1;
}

int log_writer_set(struct log_writer *w, int fd, struct log_rings *rings) {
    if (log_writer_reserve(w) < 0)
        return -1;
    struct log_target *t = w->reserve;
    w->reserve = NULL;
    *t = (struct log_target){.fd = fd, .rings = rings};
    pthread_mutex_lock(&w->lock);
    *w->end = t;
    w->end = &t->next;
    pthread_mutex_unlock(&w->lock);
    log_waker_wake(&w->waker);
    return 0;
}

struct log_rings *log_rings_create(struct log_writer *w, unsigned workers, size_t capacity) {
    struct log_rings *rings = hg_calloc(1, sizeof *rings);
    /* Rings keep producer and consumer on cache lines of their own, which is more than the heap aligns to. */
    void *block = rings ? hg_calloc(1, workers * sizeof *rings->items + CACHE_LINE) : NULL;
    if (!block) {
        hg_free(rings);
        return NULL;
    }
    rings->block = block;
    rings->items = (struct log_ring *)(((uintptr_t)block + CACHE_LINE - 1) & ~(uintptr_t)(CACHE_LINE - 1));
    for (; rings->count < workers; rings->count++)
        if (log_ring_init(&rings->items[rings->count], capacity, &w->waker) < 0) {
            log_rings_destroy(rings);
            return NULL;
        }
    return rings;
}

void log_rings_destroy(struct log_rings *rings) {
    if (!rings)
        return;
    for (unsigned i = 0; i < rings->count; i++)
        log_ring_finish(&rings->items[i]);
    hg_free(rings->block);
    hg_free(rings);
}

struct log_writer_counts log_writer_counts(const struct log_writer *w) {
    uint64_t failures = atomic_load_explicit(&w->failures, memory_order_acquire);
    return (struct log_writer_counts){
        .bytes = atomic_load_explicit(&w->bytes, memory_order_relaxed),
        .lost = atomic_load_explicit(&w->lost, memory_order_relaxed),
        .failures = failures,
    };
}

static int start_thread(struct log_writer *w) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = pthread_create(&w->thread, &attributes, run, w);
    pthread_attr_destroy(&attributes);
    return error ? -1 : 0;
}

struct log_writer *log_writer_create(void) {
    struct log_writer *w = hg_calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->end = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    if (start_thread(w) == 0)
        return w;
    pthread_mutex_destroy(&w->lock);
    hg_free(w);
    return NULL;
}

void log_writer_destroy(struct log_writer *w) {
    struct timespec until;
    if (!w)
        return;
    atomic_store(&w->is_stopping, true);
    log_waker_wake(&w->waker);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_SECONDS;
    if (pthread_timedjoin_np(w->thread, NULL, &until) != 0)
        return; /* it waits for the disk and still uses everything; the process is about to end */
    target_free(w->target, NULL);
    for (struct log_target *t; (t = next_target(w));)
        target_free(t, NULL);
    pthread_mutex_destroy(&w->lock);
    hg_free(w->reserve);
    hg_free(w);
}
