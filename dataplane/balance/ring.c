/* ring.c — ketama: each member has points on a ring by its weight, and a key belongs to the first point that follows it. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/ring_points.h"
#include "dataplane/balance/tables.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

struct point {
    uint64_t hash;
    uint32_t member;
};

static int by_hash(const void *a, const void *b) {
    const struct point *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static double scale_of(const struct balance_member *members, uint32_t count, uint32_t size) {
    double total = 0;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        total += members[i].weight;
        least = members[i].weight < least ? members[i].weight : least;
    }
    return ring_scale(total, least, size);
}

static void place_points(struct point *points, const struct balance_member *members, uint32_t count, double scale) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t seed = XXH64(members[i].name.p, members[i].name.n, 0);
        for (uint64_t n = ring_points(members[i].weight, scale); n > 0; n--)
            *points++ = (struct point){XXH64(&n, sizeof n, seed), i};
    }
}

int ring_fill(struct balance_table *t, const struct balance_member *members, uint32_t count, uint32_t size) {
    double scale = scale_of(members, count, size);
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += ring_points(members[i].weight, scale);
    struct point *points = hg_malloc(total * sizeof *points);
    t->size = (uint32_t)total;
    t->members = hg_malloc(total * sizeof *t->members);
    t->points = hg_malloc(total * sizeof *t->points);
    if (!points || !t->members || !t->points) {
        hg_free(points);
        return -1;
    }
    place_points(points, members, count, scale);
    qsort(points, total, sizeof *points, by_hash);
    for (uint64_t i = 0; i < total; i++) {
        t->points[i] = points[i].hash;
        t->members[i] = points[i].member;
    }
    hg_free(points);
    return 0;
}
