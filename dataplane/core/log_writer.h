/* log_writer.h — the thread that brings access records from the workers' rings to their file.
 *
 * It takes what waits in a ring with one writev, ten times a second, and at once when a ring is half full.
 * The disk may block it: then the rings fill up, and what does not fit is dropped and counted by the ring. A
 * write that fails loses the batch, which is counted too. Thread: main, for all functions. */
#pragma once

#include <stdint.h>

#include "dataplane/core/log_ring.h"

/* One ring per worker. */
struct log_rings {
    void            *block;          /* what to free */
    struct log_ring *items;
    unsigned         count;
};

struct log_writer;

/* Starts the thread. NULL: no memory, or no thread. */
struct log_writer *log_writer_create(void);
/* Writes what waits and ends the thread; gives up when the file does not take it for two seconds. NULL is
 * allowed. */
void log_writer_destroy(struct log_writer *w);

/* Rings for `workers` workers; NULL: no memory. */
struct log_rings *log_rings_create(struct log_writer *w, unsigned workers, size_t capacity);
void log_rings_destroy(struct log_rings *rings);            /* those that no writer has; NULL is allowed */

/* Makes sure that the next log_writer_set() succeeds. Returns 0, or -1 without memory. */
int log_writer_reserve(struct log_writer *w);
/* From now on the records of `rings` go to `fd`; both are taken over. What waits in the rings before goes to
 * the file before; then those are freed, unless they are the same. No worker may put anything into rings that
 * are being replaced. `rings` NULL, fd -1: none. Returns 0, or -1 without memory (nothing is taken). */
int log_writer_set(struct log_writer *w, int fd, struct log_rings *rings);

struct log_writer_counts {
    uint64_t bytes;                  /* written */
    uint64_t lost;                   /* records in batches that could not be written */
    uint64_t failures;               /* of writes */
};
struct log_writer_counts log_writer_counts(const struct log_writer *w);
