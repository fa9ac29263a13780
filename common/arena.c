#include "common/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/alloc.h"

enum { CHUNK_SIZE = 4096 - 64 };

#ifdef HG_ARENA_EMULATE
enum { IS_EMULATED = 1 };
#else
enum { IS_EMULATED = 0 };
#endif

struct arena_chunk {
    _Alignas(ARENA_ALIGNMENT) struct arena_chunk *next;
};

void arena_init(struct arena *a, void *first, size_t first_size, size_t limit) {
    *a = (struct arena){.limit = limit};
    if (!first || IS_EMULATED)
        return;
    uintptr_t start = ((uintptr_t)first + ARENA_ALIGNMENT - 1) & ~(uintptr_t)(ARENA_ALIGNMENT - 1);
    uintptr_t end = (uintptr_t)first + first_size;
    if (start < end) {
        a->at = (char *)start;
        a->end = (char *)end;
    }
}

void arena_finish(struct arena *a) {
    for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        hg_free(c);
    }
    if (a->budget)
        a->budget->used -= a->heap;
    *a = (struct arena){0};
}

static bool fits_budget(const struct arena_budget *b, size_t more) {
    return !b || (b->used <= b->limit && more <= b->limit - b->used);
}

static void *push_chunk(struct arena *a, size_t room) {
    size_t size = sizeof(struct arena_chunk) + room;
    struct arena_chunk *c = fits_budget(a->budget, size) ? hg_malloc(size) : NULL;
    if (!c)
        return NULL;
    a->heap += size;
    if (a->budget)
        a->budget->used += size;
    c->next = a->chunks;
    a->chunks = c;
    return c + 1;
}

static void *take_chunk(struct arena *a, size_t rounded) {
    size_t room = rounded > CHUNK_SIZE / 4 ? rounded : CHUNK_SIZE;
    char *chunk = push_chunk(a, room);
    if (!chunk)
        return NULL;
    a->used += rounded;
    if (room == rounded)
        return chunk; /* large: a chunk of its own, the current one goes on */
    a->at = chunk + rounded;
    a->end = chunk + room;
    return chunk;
}

/* There never is a current chunk. */
static void *take_block(struct arena *a, size_t size, size_t rounded) {
    char *piece = push_chunk(a, size);
    if (piece)
        a->used += rounded;
    return piece;
}

void *arena_alloc_elsewhere(struct arena *a, size_t size) {
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (size + (size == 0) + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    if (a->limit && rounded > a->limit - a->used)
        return NULL;
    return IS_EMULATED ? take_block(a, size, rounded) : take_chunk(a, rounded);
}

void *arena_calloc(struct arena *a, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *piece = arena_alloc(a, bytes);
    if (piece)
        memset(piece, 0, bytes);
    return piece;
}

void *arena_memdup(struct arena *a, const void *bytes, size_t size) {
    void *copy = arena_alloc(a, size);
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

struct str arena_str(struct arena *a, struct str s) {
    char *copy = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (!copy)
        return (struct str){NULL, 0};
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return (struct str){copy, s.n};
}

char *arena_strdup(struct arena *a, const char *text) {
    return (char *)arena_str(a, str_of(text)).p;
}

char *arena_printf(struct arena *a, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}
