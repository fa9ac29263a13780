/* memory.c — what a connection's state takes: from the worker's free lists, charged to its sessions. conn_private.h */
#include <string.h>

#include "dataplane/core/free_lists.h"
#include "dataplane/quic/conn_private.h"

static void *charge(struct quic_conn *c, void *piece) {
    size_t room = free_lists_room(piece);
    c->held += room;
    c->worker->session_memory.used += room;
    stats_add(&c->worker->stats->quic_session_bytes, room);
    return piece;
}

static void discharge(struct quic_conn *c, size_t room) {
    c->held -= room;
    c->worker->session_memory.used -= room;
    stats_sub(&c->worker->stats->quic_session_bytes, room);
}

void *quic_alloc(struct quic_conn *c, size_t n) {
    void *piece = free_lists_alloc(&c->worker->free_lists, n);
    return piece ? charge(c, piece) : NULL;
}

void quic_free(struct quic_conn *c, void *piece) {
    if (!piece)
        return;
    discharge(c, free_lists_room(piece));
    free_lists_free(&c->worker->free_lists, piece);
}

void *quic_calloc(struct quic_conn *c, size_t count, size_t n) {
    size_t bytes;
    if (__builtin_mul_overflow(count, n, &bytes))
        return NULL;
    void *piece = quic_alloc(c, bytes);
    return piece ? memset(piece, 0, bytes) : NULL;
}

void *quic_realloc(struct quic_conn *c, void *piece, size_t n) {
    if (!piece)
        return quic_alloc(c, n);
    size_t before = free_lists_room(piece);
    void *grown = free_lists_realloc(&c->worker->free_lists, piece, n);
    if (!grown)
        return NULL;
    discharge(c, before);
    return charge(c, grown);
}

/* ---- the library's functions ---- */

static void *mem_malloc(size_t n, void *c) {
    return quic_alloc(c, n);
}

static void mem_free(void *piece, void *c) {
    quic_free(c, piece);
}

static void *mem_calloc(size_t count, size_t n, void *c) {
    return quic_calloc(c, count, n);
}

static void *mem_realloc(void *piece, size_t n, void *c) {
    return quic_realloc(c, piece, n);
}

const ngtcp2_mem *quic_memory(struct quic_conn *c) {
    c->memory = (ngtcp2_mem){c, mem_malloc, mem_free, mem_calloc, mem_realloc};
    return &c->memory;
}

uint64_t quic_bytes_held(const struct quic_conn *c) {
    return c->held;
}

/* ---- the connection's own struct ---- */

struct quic_conn *quic_alloc_conn(struct worker *w, size_t size) {
    struct quic_conn *c = free_lists_alloc(&w->free_lists, size);
    if (!c)
        return NULL;
    memset(c, 0, size);
    c->worker = w;
    charge(c, c);
    return c;
}

void quic_free_conn(struct quic_conn *c) {
    struct worker *w = c->worker;
    discharge(c, free_lists_room(c));
    free_lists_free(&w->free_lists, c);
}
