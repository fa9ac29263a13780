/* free_lists.h — memory for libraries that allocate small pieces at a high rate and take an allocator.
 *
 * Pieces that are freed are kept, by size, and given out again, so that nothing comes from the heap once a worker is warm. Sizes
 * are rounded up to 64 bytes, above 1 KiB to 1 KiB; what is above 20 KiB goes to the heap each time. At most `keep_max` bytes
 * are kept. Thread: the worker's. */
#pragma once

#include <stddef.h>

enum { FREE_LISTS_SMALL = 64, FREE_LISTS_LARGE = 1024, FREE_LISTS_MAX = 20 << 10, FREE_LISTS_KEEP = 4 << 20 };
enum { FREE_LISTS_COUNT = FREE_LISTS_LARGE / FREE_LISTS_SMALL + FREE_LISTS_MAX / FREE_LISTS_LARGE };

struct free_piece;

/* A zeroed struct is valid and keeps nothing. */
struct free_lists {
    struct free_piece *pieces[FREE_LISTS_COUNT];
    size_t             kept, keep_max;      /* bytes */
};

void  free_lists_finish(struct free_lists *l);               /* all pieces have been freed */
void *free_lists_alloc(struct free_lists *l, size_t size);   /* aligned to 16, not cleared; NULL without memory */
void *free_lists_realloc(struct free_lists *l, void *old, size_t size); /* on NULL the old piece is still the caller's */
void  free_lists_free(struct free_lists *l, void *piece);    /* NULL is allowed */
