#include "dataplane/core/slice.h"

#include <string.h>

#include "common/alloc.h"

int slice_pool_init(struct slice_pool *pool) {
    *pool = (struct slice_pool){.hot = hg_malloc(HOT_SIZE)};
    return pool->hot ? 0 : -1;
}

uint8_t *slice_pool_read_room(struct slice_pool *pool) {
    return HOT_SIZE - pool->hot_used < READ_MAX ? NULL : pool->hot + pool->hot_used;
}

void slice_pool_read_done(struct slice_pool *pool, size_t n) {
    pool->hot_used += (n + 63) & ~(size_t)63;
}

static struct slice *slice_new(struct slice_pool *pool) {
    struct slice *s = pool->free_slices;
    if (!s)
        return hg_malloc(sizeof *s);
    pool->free_slices = s->next;
    if (--pool->kept_slices < pool->fewest_slices)
        pool->fewest_slices = pool->kept_slices;
    return s;
}

static struct block *block_new(struct slice_pool *pool) {
    struct block *b = pool->free_blocks;
    if (b) {
        pool->free_blocks = b->next_free;
        if (--pool->kept_blocks < pool->fewest_blocks)
            pool->fewest_blocks = pool->kept_blocks;
    } else if (!(b = hg_malloc(sizeof *b))) {
        return NULL;
    }
    b->references = 1;
    b->used = 0;
    return b;
}

static void block_unref(struct slice_pool *pool, struct block *b) {
    if (--b->references)
        return;
    if (pool->kept_blocks >= BLOCKS_KEPT_MOST) {
        hg_free(b);
        return;
    }
    b->next_free = pool->free_blocks;
    pool->free_blocks = b;
    pool->kept_blocks++;
}

static void drop_slices(struct slice_pool *pool, size_t count) {
    pool->kept_slices -= count;
    for (struct slice *s; count > 0; count--) {
        s = pool->free_slices;
        pool->free_slices = s->next;
        hg_free(s);
    }
    pool->fewest_slices = pool->kept_slices;
}

static void drop_blocks(struct slice_pool *pool, size_t count) {
    pool->kept_blocks -= count;
    for (struct block *b; count > 0; count--) {
        b = pool->free_blocks;
        pool->free_blocks = b->next_free;
        hg_free(b);
    }
    pool->fewest_blocks = pool->kept_blocks;
}

/* Of those that are kept: what is beyond the number for good and was not used. */
static size_t unused(size_t kept, size_t fewest, size_t for_good) {
    size_t beyond = kept > for_good ? kept - for_good : 0;
    return fewest < beyond ? fewest : beyond;
}

void slice_pool_trim(struct slice_pool *pool) {
    drop_slices(pool, unused(pool->kept_slices, pool->fewest_slices, SLICES_KEPT));
    drop_blocks(pool, unused(pool->kept_blocks, pool->fewest_blocks, BLOCKS_KEPT));
}

void slice_pool_finish(struct slice_pool *pool) {
    if (pool->shared)
        block_unref(pool, pool->shared);
    drop_slices(pool, pool->kept_slices);
    drop_blocks(pool, pool->kept_blocks);
    hg_free(pool->hot);
    *pool = (struct slice_pool){0};
}

void slice_free(struct slice_pool *pool, struct slice *s) {
    if (!s)
        return;
    if (s->block)
        block_unref(pool, s->block);
    if (pool->kept_slices >= SLICES_KEPT_MOST) {
        hg_free(s);
        return;
    }
    s->next = pool->free_slices;
    pool->free_slices = s;
    pool->kept_slices++;
}

struct slice *slice_borrow(struct slice_pool *pool, const uint8_t *p, size_t n) {
    struct slice *s = slice_new(pool);
    if (s)
        *s = (struct slice){.p = p, .n = n};
    return s;
}

struct slice *slice_split(struct slice_pool *pool, struct slice *s, size_t n) {
    struct slice *front = slice_new(pool);
    if (!front)
        return NULL;
    *front = (struct slice){.p = s->p, .n = n, .block = s->block};
    if (s->block)
        s->block->references++;
    s->p += n;
    s->n -= n;
    return front;
}

struct slice *slice_share(struct slice_pool *pool, const struct slice *s) {
    struct slice *other = slice_new(pool);
    if (!other)
        return NULL;
    *other = (struct slice){.p = s->p, .n = s->n, .block = s->block};
    if (s->block)
        s->block->references++;
    return other;
}

void slice_queue_push(struct slice_queue *q, struct slice *s) {
    s->next = NULL;
    if (q->last)
        q->last->next = s;
    else
        q->first = s;
    q->last = s;
    q->bytes += s->n;
}

struct slice *slice_queue_pop(struct slice_queue *q) {
    struct slice *s = q->first;
    if (!s)
        return NULL;
    q->first = s->next;
    if (!q->first)
        q->last = NULL;
    q->bytes -= s->n;
    s->next = NULL;
    return s;
}

void slice_queue_free_all(struct slice_queue *q, struct slice_pool *pool) {
    struct slice *s;
    while ((s = slice_queue_pop(q)))
        slice_free(pool, s);
}

/* Room behind the last slice, when that slice is the newest user of its block and may simply grow. */
static size_t room_behind(const struct slice_queue *q) {
    const struct slice *s = q->last;
    if (!s || !s->block || s->p + s->n != s->block->bytes + s->block->used)
        return 0;
    return BLOCK_SIZE - s->block->used;
}

static int push_block(struct slice_queue *q, struct slice_pool *pool) {
    struct block *b = block_new(pool);
    struct slice *s = b ? slice_new(pool) : NULL;
    if (!s) {
        if (b)
            block_unref(pool, b);
        return -1;
    }
    *s = (struct slice){.p = b->bytes, .block = b};
    slice_queue_push(q, s);
    return 0;
}

uint8_t *slice_pool_room(struct slice_pool *pool, size_t least) {
    struct block *b = pool->shared;
    if (b && b->references == 1) /* whoever had a part of it is done */
        b->used = 0;
    if (b && BLOCK_SIZE - b->used >= least)
        return b->bytes + b->used;
    struct block *fresh = block_new(pool);
    if (!fresh)
        return NULL;
    if (b)
        block_unref(pool, b);
    pool->shared = fresh;
    return fresh->bytes;
}

int slice_queue_take(struct slice_queue *q, struct slice_pool *pool, size_t n) {
    struct block *b = pool->shared;
    struct slice *s = q->last;
    const uint8_t *p = b->bytes + b->used;
    if (s && s->block == b && s->p + s->n == p) {
        s->n += n;
        q->bytes += n;
    } else {
        if (!(s = slice_new(pool)))
            return -1;
        *s = (struct slice){.p = p, .n = n, .block = b};
        b->references++;
        slice_queue_push(q, s);
    }
    b->used += (uint32_t)n;
    return 0;
}

static void append(struct slice_queue *q, const uint8_t *bytes, size_t n) {
    struct slice *s = q->last;
    memcpy(s->block->bytes + s->block->used, bytes, n);
    s->block->used += (uint32_t)n;
    s->n += n;
    q->bytes += n;
}

static void queue_join(struct slice_queue *q, struct slice_queue *tail) {
    if (!tail->first)
        return;
    if (q->last)
        q->last->next = tail->first;
    else
        q->first = tail->first;
    q->last = tail->last;
    q->bytes += tail->bytes;
    *tail = (struct slice_queue){0};
}

void slice_queue_pack(struct slice_queue *q, struct slice_pool *pool, struct slice *s) {
    bool is_alone = s->block && s->block->references == 1;
    if (!is_alone || s->n > room_behind(q)) {
        slice_queue_push(q, s);
        return;
    }
    append(q, s->p, s->n);
    slice_free(pool, s);
}

int slice_queue_copy(struct slice_queue *q, struct slice_pool *pool, const void *bytes, size_t n) {
    const uint8_t *from = bytes;
    struct slice_queue more = {0};
    size_t first = room_behind(q) < n ? room_behind(q) : n, done = first;
    while (done < n) {
        size_t part = n - done < BLOCK_SIZE ? n - done : BLOCK_SIZE;
        if (push_block(&more, pool) < 0) {
            slice_queue_clear(&more, pool);
            return -1;
        }
        append(&more, from + done, part);
        done += part;
    }
    if (first)
        append(q, from, first);
    queue_join(q, &more);
    return 0;
}

int slice_queue_settle(struct slice_queue *q, struct slice_pool *pool) {
    struct slice_queue settled = {0};
    int status = 0;
    struct slice *s;
    while ((s = slice_queue_pop(q))) {
        if (s->block || status < 0) {
            slice_queue_push(&settled, s);
            continue;
        }
        status = slice_queue_copy(&settled, pool, s->p, s->n);
        if (status < 0)
            slice_queue_push(&settled, s);
        else
            slice_free(pool, s);
    }
    *q = settled;
    return status;
}
