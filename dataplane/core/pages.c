#include "dataplane/core/pages.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"

enum { SLAB_PAGES = 64 };

struct page_slab {
    struct page_slab *next, *prev;          /* of the pool's list, while there is room */
    uint8_t          *pages;
    uint64_t          free;                 /* a bit for each page */
};

/* Gives back what stands in whole pages. A length would be rounded up to the kernel's pages, and take the neighbours. */
static bool give_back(void *pages, size_t n) {
    return sysconf(_SC_PAGESIZE) == PAGE_BYTES && madvise(pages, n, MADV_DONTNEED) == 0;
}

static void clear(void *pages, size_t n) {
    if (!give_back(pages, n))
        memset(pages, 0, n);
}

static void link_slab(struct page_pool *pool, struct page_slab *slab) {
    slab->prev = NULL;
    slab->next = pool->roomy;
    if (slab->next)
        slab->next->prev = slab;
    pool->roomy = slab;
}

static void unlink_slab(struct page_pool *pool, struct page_slab *slab) {
    *(slab->prev ? &slab->prev->next : &pool->roomy) = slab->next;
    if (slab->next)
        slab->next->prev = slab->prev;
}

/* One block: the struct, and behind it the pages from the next boundary on. */
static struct page_slab *add_slab(struct page_pool *pool) {
    struct page_slab *slab = hg_malloc(sizeof *slab + (SLAB_PAGES + 1) * PAGE_BYTES);
    if (!slab)
        return NULL;
    uintptr_t begin = ((uintptr_t)(slab + 1) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    *slab = (struct page_slab){.pages = (uint8_t *)begin, .free = UINT64_MAX};
    clear(slab->pages, (size_t)SLAB_PAGES * PAGE_BYTES);
    link_slab(pool, slab);
    return slab;
}

void page_pool_finish(struct page_pool *pool) {
    struct page_slab *slab;
    while ((slab = pool->roomy)) {
        pool->roomy = slab->next;
        hg_free(slab);
    }
}

bool page_take(struct page_pool *pool, struct page *ret) {
    struct page_slab *slab = pool->roomy ? pool->roomy : add_slab(pool);
    if (!slab)
        return false;
    size_t index = (size_t)__builtin_ctzll(slab->free);
    slab->free &= slab->free - 1;
    if (slab->free == 0)
        unlink_slab(pool, slab);
    *ret = (struct page){slab->pages + index * PAGE_BYTES, slab};
    return true;
}

void page_drop(struct page_pool *pool, struct page *p) {
    struct page_slab *slab = p->slab;
    if (!slab)
        return;
    size_t index = (size_t)((uint8_t *)p->bytes - slab->pages) / PAGE_BYTES;
    clear(p->bytes, PAGE_BYTES);
    if (slab->free == 0)
        link_slab(pool, slab);
    slab->free |= UINT64_C(1) << index;
    if (slab->free == UINT64_MAX && (slab->next || slab->prev)) {
        unlink_slab(pool, slab);
        hg_free(slab);
    }
    *p = (struct page){0};
}

static bool is_zero(const void *page) {
    const uint64_t *words = page;
    for (size_t i = 0; i < PAGE_BYTES / sizeof *words; i++)
        if (words[i])
            return false;
    return true;
}

void page_rest(const struct page *p) {
    if (p->bytes && is_zero(p->bytes))
        (void)give_back(p->bytes, PAGE_BYTES);
}
