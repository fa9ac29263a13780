#include "dataplane/codec/h3/out.h"

#include <string.h>

enum { SMALL = 1024 };

int h3_out_take(struct h3_out *out, struct slice_pool *pool, size_t n) {
    if (slice_queue_take(&out->queue, pool, n) < 0)
        return -1;
    out->unsent += n;
    return 0;
}

int h3_out_copy(struct h3_out *out, struct slice_pool *pool, const void *bytes, size_t n) {
    const uint8_t *from = bytes;
    while (n) {
        uint8_t *room = slice_pool_room(pool, 1);
        if (!room)
            return -1;
        size_t left = BLOCK_SIZE - pool->shared->used, part = n < left ? n : left;
        memcpy(room, from, part);
        if (h3_out_take(out, pool, part) < 0)
            return -1;
        from += part;
        n -= part;
    }
    return 0;
}

int h3_out_push(struct h3_out *out, struct slice_pool *pool, struct slice *s) {
    if (s->block && s->n > SMALL) { /* a small one would keep a whole block */
        slice_queue_push(&out->queue, s);
        out->unsent += s->n;
        return 0;
    }
    int status = h3_out_copy(out, pool, s->p, s->n);
    slice_free(pool, s);
    return status;
}

/* The slice with the next byte to be sent, which is *offset into it. NULL: there is none. */
static struct slice *next_unsent(const struct h3_out *out, size_t *offset) {
    struct slice *s = out->at ? out->at : out->queue.first;
    *offset = out->at_offset;
    if (s && *offset == s->n) {
        s = s->next;
        *offset = 0;
    }
    return s;
}

size_t h3_out_pieces(const struct h3_out *out, struct iovec *vec, size_t most) {
    size_t offset, n = 0;
    struct slice *s = out->unsent ? next_unsent(out, &offset) : NULL;
    for (; s && n < most; s = s->next, offset = 0)
        vec[n++] = (struct iovec){(void *)(uintptr_t)(s->p + offset), s->n - offset};
    return n;
}

void h3_out_sent(struct h3_out *out, size_t n) {
    size_t offset;
    out->unsent -= n;
    while (n) {
        struct slice *s = next_unsent(out, &offset);
        size_t part = s->n - offset < n ? s->n - offset : n;
        out->at = s;
        out->at_offset = offset + part;
        n -= part;
    }
}

void h3_out_acked(struct h3_out *out, struct slice_pool *pool, uint64_t n) {
    struct slice *s;
    n += out->acked;
    while ((s = out->queue.first) && n >= s->n) {
        n -= s->n;
        if (out->at == s) {
            out->at = NULL;
            out->at_offset = 0;
        }
        slice_free(pool, slice_queue_pop(&out->queue));
    }
    out->acked = out->queue.first ? (size_t)n : 0;
}

void h3_out_clear(struct h3_out *out, struct slice_pool *pool) {
    slice_queue_clear(&out->queue, pool);
    *out = (struct h3_out){0};
}
