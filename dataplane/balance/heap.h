/* heap.h — a group's heap: the smallest key first. Thread: the group's. */
#pragma once

#include "dataplane/balance/balance.h"

/* Round robin has no ties: the keys begin at random. */
static inline bool entry_is_before(const struct heap_entry *a, const struct heap_entry *b, bool has_ties) {
    return a->key < b->key || (has_ties && a->key == b->key && a->placement->tie < b->placement->tie);
}

static inline void heap_put(struct group *g, uint32_t i, struct heap_entry e) {
    g->heap[i] = e;
    e.placement->heap_index = i;
}

static inline void heap_sift_down(struct group *g, uint32_t i, bool has_ties) {
    struct heap_entry moved = g->heap[i];
    uint32_t child, count = g->heap_count;
    for (; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && entry_is_before(&g->heap[child + 1], &g->heap[child], has_ties))
            child++;
        if (!entry_is_before(&g->heap[child], &moved, has_ties))
            break;
        heap_put(g, i, g->heap[child]);
    }
    heap_put(g, i, moved);
}

void heap_add(struct group *, struct heap_entry);
void heap_remove(struct group *, uint32_t i);
/* Least connections: those that were put at the bottom get another look, as they may be chosen now. */
void group_unpark(struct group *);
/* Its key or tie has changed. */
void heap_fix(struct group *, uint32_t i);
