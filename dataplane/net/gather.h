/* gather.h — what one connection writes in one system call: rewritten heads, framing and body slices, in order.
 *
 * A worker has one gather and fills it anew for each connection that it flushes. Small pieces are copied behind each other
 * into the scratch memory, so that a head and a small body leave as one buffer; large slices are referred to. Thread: the
 * worker's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "dataplane/core/slice.h"

enum {
    GATHER_PIECES = 64,
    GATHER_SCRATCH = 160 << 10,
    GATHER_COPY_BELOW = 4096,        /* slices up to this size are copied into the scratch memory */
};

struct gather {
    struct slice_pool *pool;
    struct iovec       pieces[GATHER_PIECES];
    struct slice      *slices[GATHER_PIECES];   /* the slice of a piece, or NULL: scratch memory */
    unsigned           count;
    size_t             bytes;
    size_t             scratch_used;
    uint8_t            scratch[GATHER_SCRATCH];
};

void     gather_begin(struct gather *g, struct slice_pool *pool);
/* Room for n bytes of scratch memory, NULL when there is none; what was written is added with gather_wrote. */
uint8_t *gather_room(struct gather *g, size_t n);
void     gather_wrote(struct gather *g, size_t n);
/* Copies n bytes (n small); false when full. */
bool     gather_bytes(struct gather *g, const void *bytes, size_t n);
/* Takes the slice; false (and it stays the caller's) when full. */
bool     gather_slice(struct gather *g, struct slice *s);
/* Refers to bytes that stay as they are until gather_finish. There must be a free piece. */
void     gather_refer(struct gather *g, const void *bytes, size_t n);
/* True when another slice with framing around it may not fit: time to send. */
bool     gather_is_full(const struct gather *g);
/* Gives back the first `sent` bytes and moves the rest, owned, to the end of `rest`. 0, or -1 without memory (all freed). */
int      gather_finish(struct gather *g, size_t sent, struct slice_queue *rest);
