/* free_lists.h — memory for libraries that allocate small pieces at a high rate and take an allocator.
 *
 * Pieces that are freed are kept, by size, and given out again, so that nothing comes from the heap once a worker is
 * warm. Sizes are rounded up to 64 bytes, above 1 KiB by an eighth at most (connections of QUIC keep such pieces for long);
 * what is above 20 KiB goes to the heap each time. At most `keep_max` bytes are kept. A few pieces are held in reserve: a
 * library that is in the middle of something when memory runs out can end it. Thread: the worker's. */
#pragma once

#include <stddef.h>

enum { FREE_LISTS_SMALL = 64, FREE_LISTS_LARGE = 1024, FREE_LISTS_MAX = 20 << 10, FREE_LISTS_KEEP = 4 << 20 };
enum { FREE_LISTS_STEPS = 8, FREE_LISTS_DOUBLINGS = 3 }; /* lists up to each of 2, 4 and 8 KiB; then one for each KiB */
enum { FREE_LISTS_RESERVE = 1536, FREE_LISTS_RESERVED = 16 }; /* bytes of a piece, and how many */
enum {
    FREE_LISTS_COUNT = FREE_LISTS_LARGE / FREE_LISTS_SMALL + FREE_LISTS_STEPS * (FREE_LISTS_DOUBLINGS - 1) +
                       FREE_LISTS_MAX / FREE_LISTS_LARGE
};

struct free_piece;

/* A zeroed struct is valid: it keeps nothing and has no reserve. */
struct free_lists {
    struct free_piece *pieces[FREE_LISTS_COUNT];
    struct free_piece *reserve;
    size_t             kept, keep_max;      /* bytes */
};

int   free_lists_init(struct free_lists *l, size_t keep_max); /* with a reserve; 0, or -1 without memory */

void  free_lists_finish(struct free_lists *l);               /* all pieces have been freed */
void *free_lists_alloc(struct free_lists *l, size_t size);   /* aligned to 16, not cleared; NULL without memory */
void *free_lists_take(struct free_lists *l, size_t size);    /* the same, at most FREE_LISTS_LARGE; NULL: none is free */
void *free_lists_alloc_reserved(struct free_lists *l, size_t size); /* from the reserve; NULL: too large, none left */
void *free_lists_realloc(struct free_lists *l, void *old, size_t size); /* on NULL the old piece is still the caller's */
size_t free_lists_room(void *piece);                         /* what it can hold, at least what was asked for */
void  free_lists_free(struct free_lists *l, void *piece);    /* NULL is allowed */
