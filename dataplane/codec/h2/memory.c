/* memory.c — what the library allocates for a session: from the worker's lists, charged to its budget. session.h */
#include "dataplane/codec/h2/session.h"

#include <sys/mman.h>

#include "dataplane/core/free_lists.h"

enum { FRAME_BUFFER_LEAST = 16 << 10, PAGE = 4096 };

/* The library's frame buffer, of which an idle connection uses a page. A handshake has often written all over the piece
 * before: its pages are given back, and cost nothing until they are used. Advice only, so failure is none. */
static void *give_pages_back(void *piece, size_t size) {
    uintptr_t begin = ((uintptr_t)piece + PAGE - 1) / PAGE * PAGE, end = ((uintptr_t)piece + size) / PAGE * PAGE;
    if (piece && size > FRAME_BUFFER_LEAST && begin < end)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
    return piece;
}

static void *charge(struct h2_session *s, void *piece) {
    if (!piece)
        return NULL;
    s->worker->session_memory.used += free_lists_room(piece);
    stats_add(&s->worker->stats->h2_session_bytes, free_lists_room(piece));
    return piece;
}

/* Where an allocation fails the library is not always able to go on, or even to be freed (1.52: a stream keeps its DATA
 * item when the queue for it cannot grow). So small pieces come from the worker's reserve then, and the connection ends as
 * soon as the library returns. */
static void *mem_malloc(size_t size, void *user) {
    struct h2_session *s = user;
    void *piece = give_pages_back(free_lists_alloc(&s->worker->free_lists, size), size);
    if (piece)
        return charge(s, piece);
    s->is_short = true;
    return charge(s, free_lists_alloc_reserved(&s->worker->free_lists, size));
}

static void mem_free(void *piece, void *user) {
    struct h2_session *s = user;
    if (!piece)
        return;
    s->worker->session_memory.used -= free_lists_room(piece);
    stats_sub(&s->worker->stats->h2_session_bytes, free_lists_room(piece));
    free_lists_free(&s->worker->free_lists, piece);
}

static void *mem_calloc(size_t count, size_t size, void *user) {
    size_t bytes;
    void *piece = __builtin_mul_overflow(count, size, &bytes) ? NULL : mem_malloc(bytes, user);
    return piece ? memset(piece, 0, bytes) : NULL;
}

/* On failure the old piece stays the library's. */
static void *mem_realloc(void *piece, size_t size, void *user) {
    if (piece && size <= free_lists_room(piece))
        return piece;
    void *grown = mem_malloc(size, user);
    if (grown && piece) {
        memcpy(grown, piece, free_lists_room(piece));
        mem_free(piece, user);
    }
    return grown;
}

nghttp2_mem h2_session_memory(struct h2_session *s) {
    return (nghttp2_mem){s, mem_malloc, mem_free, mem_calloc, mem_realloc};
}

bool h2_memory_is_spent(const struct worker *w) {
    return w->session_memory.used > w->session_memory.limit;
}
