/* pages.h — single pages of memory for blocks that have just that size and are all zeros for long times.
 *
 * A page with nothing but zeros can rest: the kernel takes its memory, and it goes on to read as zeros. Pages come from
 * slabs of 64, so that they lie densely; a slab is freed with its last page, but for one that is kept. Where the kernel's
 * own pages are larger nothing rests. Thread: the worker's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { PAGE_BYTES = 4096 };

struct page_slab;

/* A zeroed struct is valid: it has nothing. */
struct page_pool {
    struct page_slab *roomy;                /* slabs with pages that nobody has */
};

/* Zeroed: none. */
struct page {
    void             *bytes;                /* aligned to PAGE_BYTES */
    struct page_slab *slab;
};

void page_pool_finish(struct page_pool *);  /* all pages have been dropped */
/* A page that reads as zeros; false without memory. */
bool page_take(struct page_pool *, struct page *ret);
/* *p is none afterwards, and may be before. */
void page_drop(struct page_pool *, struct page *p);
/* When it is all zeros its memory is given back, until it is written to again. None is allowed. */
void page_rest(const struct page *p);
