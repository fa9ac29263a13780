/* maglev.c — Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4. Members
 * take turns at the next free slot of their own permutation; with weights, turns are taken by earliest deadline. */
#include <stdlib.h>

#include "common/alloc.h"
#include "dataplane/balance/tables.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

struct runner {
    uint64_t order;              /* ties do not depend on the order of the list */
    uint32_t member, next, skip; /* slot, and the step to the one after */
    double   due, step;          /* of its turns: 1 / weight */
};

enum { UNTAKEN = UINT32_MAX };

static bool is_before(const struct runner *a, const struct runner *b) {
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void sift_down(struct runner *heap, uint32_t count, uint32_t i) {
    struct runner moved = heap[i];
    for (uint32_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &moved))
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

static int by_order(const void *a, const void *b) {
    const struct runner *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void line_up(struct runner *heap, const struct balance_member *members, uint32_t count, uint32_t size) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t h = XXH64(members[i].name.p, members[i].name.n, 0);
        uint64_t s = XXH64(members[i].name.p, members[i].name.n, 1);
        double step = 1.0 / members[i].weight;
        heap[i] = (struct runner){.order = h, .member = i, .next = (uint32_t)(h % size),
                                  .skip = (uint32_t)(s % (size - 1) + 1), .due = step, .step = step};
    }
}

static void take_slot(struct balance_table *t, struct runner *r) {
    while (t->members[r->next] != (uint32_t)UNTAKEN)
        r->next = (uint32_t)(((uint64_t)r->next + r->skip) % t->size);
    t->members[r->next] = r->member;
}

static bool has_equal_weights(const struct balance_member *members, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        if (members[i].weight != members[0].weight)
            return false;
    return true;
}

/* Earliest deadline first. */
static void take_turns_by_weight(struct balance_table *t, struct runner *heap, uint32_t count) {
    for (uint32_t i = count / 2; i-- > 0;)
        sift_down(heap, count, i);
    for (uint32_t filled = 0; filled < t->size; filled++) {
        take_slot(t, &heap[0]);
        heap[0].due += heap[0].step;
        sift_down(heap, count, 0);
    }
}

/* The same where all weights are: one after the other. */
static void take_equal_turns(struct balance_table *t, struct runner *runners, uint32_t count) {
    qsort(runners, count, sizeof *runners, by_order);
    for (uint32_t filled = 0; filled < t->size; filled++)
        take_slot(t, &runners[filled % count]);
}

int maglev_fill(struct balance_table *t, const struct balance_member *members, uint32_t count, uint32_t size) {
    struct runner *heap = hg_malloc(count * sizeof *heap);
    t->size = size;
    t->members = hg_malloc(size * sizeof *t->members);
    if (!heap || !t->members) {
        hg_free(heap);
        return -1;
    }
    memset(t->members, 0xff, size * sizeof *t->members); /* UNTAKEN */
    line_up(heap, members, count, size);
    (has_equal_weights(members, count) ? take_equal_turns : take_turns_by_weight)(t, heap, count);
    hg_free(heap);
    return 0;
}
