#include "dataplane/net/gather.h"

#include <string.h>

void gather_begin(struct gather *g, struct slice_pool *pool) {
    g->pool = pool;
    g->count = 0;
    g->bytes = 0;
    g->scratch_used = 0;
}

uint8_t *gather_room(struct gather *g, size_t n) {
    if (GATHER_SCRATCH - g->scratch_used < n || g->count == GATHER_PIECES)
        return NULL;
    return g->scratch + g->scratch_used;
}

void gather_wrote(struct gather *g, size_t n) {
    uint8_t *start = g->scratch + g->scratch_used;
    struct iovec *last = g->count ? &g->pieces[g->count - 1] : NULL;
    g->scratch_used += n;
    g->bytes += n;
    if (last && !g->slices[g->count - 1] && (uint8_t *)last->iov_base + last->iov_len == start) {
        last->iov_len += n;
        return;
    }
    g->slices[g->count] = NULL;
    g->pieces[g->count++] = (struct iovec){start, n};
}

bool gather_bytes(struct gather *g, const void *bytes, size_t n) {
    uint8_t *room = gather_room(g, n);
    if (!room)
        return false;
    memcpy(room, bytes, n);
    gather_wrote(g, n);
    return true;
}

bool gather_slice(struct gather *g, struct slice *s) {
    if (s->n <= GATHER_COPY_BELOW && gather_bytes(g, s->p, s->n)) {
        slice_free(g->pool, s);
        return true;
    }
    if (g->count == GATHER_PIECES)
        return false;
    g->slices[g->count] = s;
    g->pieces[g->count++] = (struct iovec){(void *)(uintptr_t)s->p, s->n};
    g->bytes += s->n;
    return true;
}

void gather_refer(struct gather *g, const void *bytes, size_t n) {
    g->slices[g->count] = NULL;
    g->pieces[g->count++] = (struct iovec){(void *)(uintptr_t)bytes, n};
    g->bytes += n;
}

bool gather_is_full(const struct gather *g) {
    return g->count + 3 > GATHER_PIECES || GATHER_SCRATCH - g->scratch_used < GATHER_COPY_BELOW + 64;
}

static int keep_rest(struct gather *g, unsigned i, size_t skip, struct slice_queue *rest) {
    const uint8_t *from = (const uint8_t *)g->pieces[i].iov_base + skip;
    size_t n = g->pieces[i].iov_len - skip;
    struct slice *s = g->slices[i];
    if (s && s->block) {
        s->p = from;
        s->n = n;
        slice_queue_push(rest, s);
        return 0;
    }
    slice_free(g->pool, s);
    return slice_queue_copy(rest, g->pool, from, n);
}

int gather_finish(struct gather *g, size_t sent, struct slice_queue *rest) {
    int status = 0;
    for (unsigned i = 0; i < g->count; i++) {
        size_t n = g->pieces[i].iov_len, done = sent < n ? sent : n;
        sent -= done;
        if (done == n || status < 0)
            slice_free(g->pool, g->slices[i]);
        else
            status = keep_rest(g, i, done, rest);
    }
    g->count = 0;
    g->bytes = 0;
    g->scratch_used = 0;
    return status;
}
