#include "common/secret_memory.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { CHUNK_SIZE = 64 << 10, ALIGNMENT = 16 };

/* A mapping. Blocks are cut from it one behind the other; it goes when its last block is freed. */
struct chunk {
    size_t   size, used;
    unsigned blocks;
};

struct block {
    _Alignas(ALIGNMENT) struct chunk *chunk;
    size_t                            size;       /* of what follows */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *newest;

static struct chunk *chunk_map(size_t need) {
    size_t size = (need + sizeof(struct chunk) + ALIGNMENT + CHUNK_SIZE - 1) / CHUNK_SIZE * CHUNK_SIZE;
    struct chunk *c = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        return NULL;
    madvise(c, size, MADV_DONTDUMP);
    (void)!mlock(c, size); /* bounded by RLIMIT_MEMLOCK; a gateway without the right to lock serves all the same */
    *c = (struct chunk){.size = size, .used = (sizeof *c + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT};
    return c;
}

void *secret_alloc(size_t size) {
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t need = sizeof(struct block) + (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct block *b = NULL;
    pthread_mutex_lock(&lock);
    struct chunk *c = newest && newest->size - newest->used >= need ? newest : chunk_map(need);
    if (c) {
        newest = c;
        b = (struct block *)((char *)c + c->used);
        c->used += need;
        c->blocks++;
        *b = (struct block){.chunk = c, .size = size};
    }
    pthread_mutex_unlock(&lock);
    return b ? b + 1 : NULL;
}

void secret_free(void *block) {
    if (!block)
        return;
    struct block *b = (struct block *)block - 1;
    secret_clear(block, b->size);
    pthread_mutex_lock(&lock);
    struct chunk *c = b->chunk;
    if (--c->blocks == 0) {
        if (newest == c)
            newest = NULL;
        munmap(c, c->size);
    }
    pthread_mutex_unlock(&lock);
}

void secret_clear(void *bytes, size_t size) {
    explicit_bzero(bytes, size);
}
