#include "common/map.h"

#include <stdatomic.h>
#include <sys/random.h>

#include "common/alloc.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t seed(void) {
    static _Atomic uint64_t drawn;
    uint64_t value = atomic_load_explicit(&drawn, memory_order_relaxed);
    if (value)
        return value;
    uint64_t fresh = 0, none = 0;
    if (getrandom(&fresh, sizeof fresh, 0) != (ssize_t)sizeof fresh || fresh == 0)
        fresh = (uint64_t)(uintptr_t)&drawn | 1;
    return atomic_compare_exchange_strong(&drawn, &none, fresh) ? fresh : none;
}

uint64_t map_hash(struct str key) {
    return XXH3_64bits_withSeed(key.p, key.n, seed());
}

void map_finish(struct map *m) {
    hg_free(m->entries);
    *m = (struct map){0};
}

/* The entry that holds the key, or the free one where it would go. The table is never full. */
static struct map_entry *find(const struct map *m, struct str key, uint32_t hash) {
    size_t mask = m->capacity - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct map_entry *e = &m->entries[i];
        if (!e->key.p || (e->hash == hash && str_eq(e->key, key)))
            return e;
    }
}

void *map_get(const struct map *m, struct str key) {
    if (m->count == 0)
        return NULL;
    struct map_entry *e = find(m, key, (uint32_t)map_hash(key));
    return e->key.p ? e->value : NULL;
}

static int grow(struct map *m) {
    struct map bigger = {.capacity = m->capacity ? m->capacity * 2 : 16, .count = m->count};
    bigger.entries = hg_calloc(bigger.capacity, sizeof *bigger.entries);
    if (!bigger.entries)
        return -1;
    for (size_t i = 0; i < m->capacity; i++)
        if (m->entries[i].key.p)
            *find(&bigger, m->entries[i].key, m->entries[i].hash) = m->entries[i];
    hg_free(m->entries);
    *m = bigger;
    return 0;
}

int map_set(struct map *m, struct str key, void *value) {
    if ((m->count + 1) * 4 > m->capacity * 3 && grow(m) < 0)
        return -1;
    if (!key.p)
        key.p = "";
    uint32_t hash = (uint32_t)map_hash(key);
    struct map_entry *e = find(m, key, hash);
    m->count += !e->key.p;
    *e = (struct map_entry){.key = key, .hash = hash, .value = value};
    return 0;
}

/* Moves later entries of the run into the hole, so that no tombstones are needed. */
static void close_hole(struct map *m, size_t hole) {
    size_t mask = m->capacity - 1;
    for (size_t i = (hole + 1) & mask; m->entries[i].key.p; i = (i + 1) & mask) {
        size_t home = m->entries[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->entries[hole] = m->entries[i];
        hole = i;
    }
    m->entries[hole] = (struct map_entry){0};
}

void *map_remove(struct map *m, struct str key) {
    if (m->count == 0)
        return NULL;
    struct map_entry *e = find(m, key, (uint32_t)map_hash(key));
    if (!e->key.p)
        return NULL;
    void *value = e->value;
    m->count--;
    close_hole(m, (size_t)(e - m->entries));
    return value;
}

const struct map_entry *map_next(const struct map *m, size_t *position) {
    while (*position < m->capacity) {
        const struct map_entry *e = &m->entries[(*position)++];
        if (e->key.p)
            return e;
    }
    return NULL;
}
