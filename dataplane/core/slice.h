/* slice.h — body bytes on their way through a worker.
 *
 * A slice is a run of bytes. Fresh from a socket it is *borrowed* from the worker's hot read buffer and valid until that
 * buffer is settled (core/worker.h: at the latest at the end of the loop turn, after the flush). A slice that
 * has to live longer is *owned*: its bytes lie in a counted block of the worker's pool. Nobody but the settling code and
 * those who keep slices across turns needs to know the difference. Thread: the worker's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BLOCK_SIZE = 16384,               /* bytes of payload in a block */
    HOT_SIZE = 256 << 10,             /* the hot read buffer */
    READ_MAX = 128 << 10,             /* the most one read takes */
    SLICES_KEPT = 1024,               /* free slices and blocks that a pool keeps for good */
    BLOCKS_KEPT = 256,
    SLICES_KEPT_MOST = 16384,         /* and as long as they are used again and again: slice_pool_trim */
    BLOCKS_KEPT_MOST = 2048,
};

struct block {
    struct block *next_free;
    uint32_t      references;
    uint32_t      used;               /* bytes[0..used) are taken */
    uint8_t       bytes[BLOCK_SIZE];
};

struct slice {
    struct slice  *next;
    const uint8_t *p;
    size_t         n;
    struct block  *block;             /* NULL: borrowed */
};

struct slice_queue {
    struct slice *first, *last;
    size_t        bytes;
};

struct slice_pool {
    struct slice *free_slices;
    struct block *free_blocks;
    size_t        kept_slices, kept_blocks;
    size_t        fewest_slices, fewest_blocks; /* kept at any time since the last trim: nobody needed these */
    struct block *shared;             /* of slice_pool_room; NULL: none */
    uint8_t      *hot;                /* HOT_SIZE bytes */
    size_t        hot_used;
};

int           slice_pool_init(struct slice_pool *pool);        /* 0, or -1 without memory */
void          slice_pool_finish(struct slice_pool *pool);
/* What nobody has used since the last call is freed, down to what is kept for good. Called now and then while there is more:
 * what waits for acknowledgements of HTTP/3 comes and goes by many MiB, and is not to come from the heap each time. */
void          slice_pool_trim(struct slice_pool *pool);
static inline bool slice_pool_has_spare(const struct slice_pool *pool) {
    return pool->kept_blocks > BLOCKS_KEPT || pool->kept_slices > SLICES_KEPT;
}

/* Room of READ_MAX bytes in the hot buffer, or NULL when it has to be settled first. */
uint8_t      *slice_pool_read_room(struct slice_pool *pool);
/* Says that `n` bytes of that room were filled. */
void          slice_pool_read_done(struct slice_pool *pool, size_t n);

/* NULL without memory. `p` is borrowed. */
struct slice *slice_borrow(struct slice_pool *pool, const uint8_t *p, size_t n);
/* Copies the bytes into blocks: one or more slices appended to the queue. 0, or -1 and the queue is as before. */
int           slice_queue_copy(struct slice_queue *q, struct slice_pool *pool, const void *bytes, size_t n);
void          slice_free(struct slice_pool *pool, struct slice *s);
/* Cuts the first n bytes off as a slice of its own (0 < n < s->n); NULL without memory. */
struct slice *slice_split(struct slice_pool *pool, struct slice *s, size_t n);

/* Another slice of the same bytes; NULL without memory. */
struct slice *slice_share(struct slice_pool *pool, const struct slice *s);

void          slice_queue_push(struct slice_queue *q, struct slice *s);
/* The same, where many small slices may come: one that is in a block of its own moves into the last one's when that has
 * room, and is freed. */
void          slice_queue_pack(struct slice_queue *q, struct slice_pool *pool, struct slice *s);
struct slice *slice_queue_pop(struct slice_queue *q);          /* NULL when empty */
void          slice_queue_free_all(struct slice_queue *q, struct slice_pool *pool);
static inline void slice_queue_clear(struct slice_queue *q, struct slice_pool *pool) {
    if (q->first) /* most are empty */
        slice_queue_free_all(q, pool);
}
/* For small pieces of many queues that stay for a while: room of at least `least` bytes, at most BLOCK_SIZE, in a block that
 * all of them share. NULL without memory. */
uint8_t      *slice_pool_room(struct slice_pool *pool, size_t least);
/* The first n bytes of that room, just written, join the queue; owned. 0, or -1 without memory. */
int           slice_queue_take(struct slice_queue *q, struct slice_pool *pool, size_t n);
/* Makes every slice of the queue owned, packing small ones together. 0, or -1 without memory (some may be left borrowed). */
int           slice_queue_settle(struct slice_queue *q, struct slice_pool *pool);
