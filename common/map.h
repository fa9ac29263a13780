/* map.h — from byte strings to pointers: open addressing over XXH3 with a seed drawn per process, so that a
 * peer cannot choose keys that collide. Keys are not copied: the caller keeps them alive as long as the
 * entry. Thread: one at a time; a map that nobody changes may be read by all. */
#pragma once

#include "common/str.h"

struct map_entry {
    struct str key;      /* key.p == NULL: free */
    uint32_t   hash;
    void      *value;
};

struct map {
    struct map_entry *entries;
    size_t            capacity;  /* 0 or a power of two */
    size_t            count;
};

/* A zeroed struct is a valid empty map. */
void  map_finish(struct map *m);                             /* frees the table, neither keys nor values */
void *map_get(const struct map *m, struct str key);          /* NULL: not there */
/* Sets or replaces; the stored key becomes `key`. `value` must not be NULL. Returns 0, or -1 without memory.
 * */
int   map_set(struct map *m, struct str key, void *value);
void *map_remove(struct map *m, struct str key);             /* what was there, or NULL */
/* Walks in no particular order: start with *position = 0; NULL at the end. Do not change the map meanwhile.
 * */
const struct map_entry *map_next(const struct map *m, size_t *position);

uint64_t map_hash(struct str key); /* the seeded hash that maps use; stable in a process */
