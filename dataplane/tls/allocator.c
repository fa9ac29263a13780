#include "dataplane/tls/allocator.h"

#include <stdatomic.h>

#include <openssl/crypto.h>

#include "common/alloc.h"
#include "dataplane/core/free_lists.h"

/* Of one thread; never freed, since pieces outlive their thread. A piece may be freed by another thread than
 * allocated it: then it is kept there. */
struct thread_lists {
    struct free_lists    lists;
    struct thread_lists *next;
};

static _Thread_local struct thread_lists *own;
static struct thread_lists *_Atomic all;

/* NULL: no memory. */
static struct free_lists *own_lists(void) {
    if (own)
        return &own->lists;
    struct thread_lists *t = hg_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->lists.keep_max = FREE_LISTS_KEEP;
    t->next = atomic_load(&all);
    while (!atomic_compare_exchange_weak(&all, &t->next, t))
        ;
    own = t;
    return &t->lists;
}

static void *allocate(size_t size, const char *file, int line) {
    (void)file, (void)line;
    struct free_lists *l = own_lists();
    return l ? free_lists_alloc(l, size) : NULL;
}

static void release(void *piece, const char *file, int line) {
    (void)file, (void)line;
    static struct free_lists nothing_kept; /* so nothing is ever written there */
    struct free_lists *l = own_lists();
    free_lists_free(l ? l : &nothing_kept, piece);
}

static void *reallocate(void *old, size_t size, const char *file, int line) {
    struct free_lists *l = own_lists();
    if (size > 0)
        return l ? free_lists_realloc(l, old, size) : NULL;
    release(old, file, line);
    return NULL;
}

bool tls_allocator_use(void) {
    return CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;
}
