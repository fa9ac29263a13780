#include "dataplane/balance/heap.h"

static void sift_up(struct group *g, uint32_t i) {
    struct heap_entry moved = g->heap[i];
    for (; i && entry_is_before(&moved, &g->heap[(i - 1) / 2], true); i = (i - 1) / 2)
        heap_put(g, i, g->heap[(i - 1) / 2]);
    heap_put(g, i, moved);
}

void heap_fix(struct group *g, uint32_t i) {
    if (i && entry_is_before(&g->heap[i], &g->heap[(i - 1) / 2], true))
        sift_up(g, i);
    else
        heap_sift_down(g, i, true);
}

void heap_add(struct group *g, struct heap_entry e) {
    g->heap[g->heap_count] = e;
    sift_up(g, g->heap_count++);
}

void heap_remove(struct group *g, uint32_t i) {
    struct heap_entry last = g->heap[--g->heap_count];
    if (i == g->heap_count)
        return;
    heap_put(g, i, last);
    heap_fix(g, i);
}
