/* table.c — what can be computed from a group's members alone, and is used again while they are the same. */
#include "common/alloc.h"
#include "dataplane/balance/tables.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {
    return XXH3_64bits_withSeed(bytes, n, h);
}

static uint64_t fingerprint(const struct balance_rules *r, const struct balance_member *members, uint32_t count) {
    uint64_t h = mix(0, &r->kind, sizeof r->kind);
    if (r->kind == BALANCE_MAGLEV)
        h = mix(h, &r->table_size, sizeof r->table_size);
    if (r->kind == BALANCE_RING_HASH)
        h = mix(h, &r->ring_size, sizeof r->ring_size);
    for (uint32_t i = 0; i < count; i++) {
        h = mix(h, members[i].name.p, members[i].name.n);
        h = mix(h, &members[i].weight, sizeof members[i].weight);
    }
    return h;
}

static bool has_equal_weights(const struct balance_member *members, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        if (members[i].weight != members[0].weight)
            return false;
    return true;
}

static bool needs_table(const struct balance_rules *r, const struct balance_member *members, uint32_t count) {
    switch (r->kind) {
    case BALANCE_RANDOM:
    case BALANCE_LEAST_REQUEST:
    case BALANCE_PEAK_EWMA: return !has_equal_weights(members, count);
    case BALANCE_RING_HASH:
    case BALANCE_MAGLEV: return count > 0;
    default: return false;
    }
}

static int fill(struct balance_table *t, const struct balance_rules *r, const struct balance_member *members,
                uint32_t count) {
    switch (r->kind) {
    case BALANCE_RING_HASH: return ring_fill(t, members, count, r->ring_size);
    case BALANCE_MAGLEV: return maglev_fill(t, members, count, r->table_size);
    default: return alias_fill(t, members, count);
    }
}

int balance_table_make(const struct balance_rules *r, const struct balance_member *members, uint32_t count,
                       struct balance_table *previous, struct balance_table **ret) {
    if (!needs_table(r, members, count)) {
        *ret = NULL;
        return 0;
    }
    uint64_t print = fingerprint(r, members, count);
    if (previous && previous->fingerprint == print) {
        atomic_fetch_add_explicit(&previous->references, 1, memory_order_relaxed);
        *ret = previous;
        return 0;
    }
    struct balance_table *t = hg_calloc(1, sizeof *t);
    if (!t)
        return -1;
    atomic_init(&t->references, 1);
    t->fingerprint = print;
    if (fill(t, r, members, count) < 0) {
        balance_table_unref(t);
        return -1;
    }
    *ret = t;
    return 0;
}

void balance_table_unref(struct balance_table *t) {
    if (!t || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) > 1)
        return;
    hg_free(t->members);
    hg_free(t->points);
    hg_free(t->thresholds);
    hg_free(t);
}
