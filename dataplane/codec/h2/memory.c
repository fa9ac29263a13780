/* memory.c — what the library allocates for a session: from the worker's lists, charged to its budget. Two large blocks
 * are known by their sizes, and cost an idle connection nothing. session.h */
#include "dataplane/codec/h2/session.h"

#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "dataplane/core/free_lists.h"

enum { FRAME_BUFFER_LEAST = 16 << 10 };

static size_t room_of(const struct h2_session *s, void *piece) {
    if (piece == s->worker->frame_buffer)
        return H2_FRAME_BUFFER;
    return piece == s->table.bytes ? PAGE_BYTES : free_lists_room(piece);
}

static void *charge(struct h2_session *s, void *piece, size_t room) {
    s->worker->session_memory.used += room;
    stats_add(&s->worker->stats->h2_session_bytes, room);
    return piece;
}

/* ---- the frame buffer ---- */

/* Nothing stands in it but within mem_send, which hands out the whole frame, and take() copies that. Of DATA it is only the
 * head, written and sent by one call, as no send of ours blocks. Further frames of a large head get buffers of their own,
 * later. So all servers of a worker share one. A client's has the preface in it from the beginning. */
static bool is_shared_buffer(const struct h2_session *s, size_t size) {
    return size <= H2_FRAME_BUFFER && !s->library && s->role->is_server;
}

static void *shared_buffer(struct worker *w) {
    if (!w->frame_buffer)
        w->frame_buffer = hg_malloc(H2_FRAME_BUFFER);
    return w->frame_buffer;
}

/* That of a connection to an origin is large, too, and hardly used. A handshake has often written all over the piece before:
 * its pages are given back, and cost nothing until they are used. Advice only, so failure is none. */
static void give_pages_back(void *piece, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)piece + page - 1) / page * page, end = ((uintptr_t)piece + size) / page * page;
    if (begin < end)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* ---- the library's functions ---- */

/* Where an allocation fails the library is not always able to go on, or even to be freed (1.52: a stream keeps its DATA
 * item when the queue for it cannot grow). So small pieces come from the worker's reserve then, and the connection ends as
 * soon as the library returns. */
static void *alloc_reserved(struct h2_session *s, size_t size) {
    void *piece = free_lists_alloc_reserved(&s->worker->free_lists, size);
    s->is_short = true;
    return piece ? charge(s, piece, free_lists_room(piece)) : NULL;
}

/* Out of line, as free_table is: nearly all that the library wants is small and there already, and needs no registers saved
 * then. */
__attribute__((noinline)) static void *alloc_other(struct h2_session *s, size_t size) {
    if (size > FRAME_BUFFER_LEAST && is_shared_buffer(s, size))
        return shared_buffer(s->worker);
    void *piece = free_lists_alloc(&s->worker->free_lists, size);
    if (!piece)
        return alloc_reserved(s, size);
    if (size > FRAME_BUFFER_LEAST && !s->library)
        give_pages_back(piece, size);
    return charge(s, piece, free_lists_room(piece));
}

static void *mem_malloc(size_t size, void *user) {
    struct h2_session *s = user;
    void *piece = free_lists_take(&s->worker->free_lists, size);
    return piece ? charge(s, piece, free_lists_room(piece)) : alloc_other(s, size);
}

static void discharge(struct h2_session *s, size_t room) {
    s->worker->session_memory.used -= room;
    stats_sub(&s->worker->stats->h2_session_bytes, room);
}

__attribute__((noinline)) static void free_table(struct h2_session *s) {
    discharge(s, PAGE_BYTES);
    page_drop(&s->worker->pages, &s->table);
}

static void mem_free(void *piece, void *user) {
    struct h2_session *s = user;
    if (!piece || piece == s->worker->frame_buffer)
        return;
    if (piece == s->table.bytes) {
        free_table(s);
        return;
    }
    discharge(s, free_lists_room(piece));
    free_lists_free(&s->worker->free_lists, piece);
}

/* The table of streams is a page, until there are very many. */
static void *mem_calloc(size_t count, size_t size, void *user) {
    struct h2_session *s = user;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    if (bytes == PAGE_BYTES && !s->table.bytes && page_take(&s->worker->pages, &s->table))
        return charge(s, s->table.bytes, PAGE_BYTES);
    void *piece = mem_malloc(bytes, user);
    return piece ? memset(piece, 0, bytes) : NULL;
}

/* On failure the old piece stays the library's. */
static void *mem_realloc(void *piece, size_t size, void *user) {
    struct h2_session *s = user;
    if (piece && size <= room_of(s, piece))
        return piece;
    void *grown = mem_malloc(size, user);
    if (grown && piece) {
        memcpy(grown, piece, room_of(s, piece));
        mem_free(piece, user);
    }
    return grown;
}

nghttp2_mem h2_session_memory(struct h2_session *s) {
    return (nghttp2_mem){s, mem_malloc, mem_free, mem_calloc, mem_realloc};
}

void h2_memory_rest(struct h2_session *s) {
    page_rest(&s->table);
}

bool h2_memory_is_spent(const struct worker *w) {
    return w->session_memory.used > w->session_memory.limit;
}
