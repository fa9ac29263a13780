/* arena.h — memory that is freed all at once.
 *
 * An arena hands out pieces from chunks and frees them together. The first chunk can be the caller's, so that
 * a small user takes nothing from the heap. With HG_ARENA_EMULATE (the address-sanitizer builds) each piece
 * is a heap block of its own, so that an overrun or a use after free is seen. Thread: one at a time. */
#pragma once

#include <stddef.h>

#include "common/str.h"

enum { ARENA_ALIGNMENT = 16 };

struct arena_chunk;

/* What several arenas may take from the heap together. */
struct arena_budget {
    size_t used, limit;              /* bytes; used stays when the limit falls below it */
};

struct arena {
    char               *at, *end;    /* free room of the current chunk */
    struct arena_chunk *chunks;      /* heap chunks, newest first */
    size_t              limit;       /* bytes that may be taken in all; 0: no limit */
    size_t              used;        /* bytes handed out, rounded up to the alignment */
    size_t              heap;        /* bytes of all heap chunks */
    struct arena_budget *budget;     /* they count there; NULL: nowhere */
};

/* `first` may be NULL; otherwise it is `first_size` bytes that outlive the arena. */
void       arena_init(struct arena *a, void *first, size_t first_size, size_t limit);
/* Before the first allocation. The budget outlives the arena. */
static inline void arena_set_budget(struct arena *a, struct arena_budget *budget) {
    a->budget = budget;
}
void       arena_finish(struct arena *a);                         /* a zeroed struct is allowed */
/* Of arena.c: what does not fit into the current chunk, or is beyond the limit. */
void      *arena_alloc_elsewhere(struct arena *a, size_t size);
/* Aligned to 16, not cleared; NULL: memory, limit, budget. */
static inline void *arena_alloc(struct arena *a, size_t size) {
    size_t rounded = (size + (size == 0) + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    char *piece = a->at;
    if (rounded < size || rounded > (size_t)(a->end - piece) || (a->limit && rounded > a->limit - a->used))
        return arena_alloc_elsewhere(a, size);
    a->at = piece + rounded;
    a->used += rounded;
    return piece;
}
void      *arena_calloc(struct arena *a, size_t count, size_t size);
void      *arena_memdup(struct arena *a, const void *bytes, size_t size);
char      *arena_strdup(struct arena *a, const char *text);
/* A copy that ends in NUL behind its n bytes; p is NULL on failure. */
struct str arena_str(struct arena *a, struct str s);
char      *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
