#include "dataplane/process/unwell.h"

#include "common/clock.h"

static void name_one(struct arena *arena, Headgate__ClusterCounts *c, const struct endpoint_definition *e,
                     Headgate__UnwellEndpoint__Why why) {
    if (!c->unwell)
        c->unwell = arena_calloc(arena, UNWELL_NAMED, sizeof *c->unwell);
    Headgate__UnwellEndpoint *u = c->unwell && c->n_unwell < UNWELL_NAMED ? arena_alloc(arena, sizeof *u) : NULL;
    if (!u)
        return;
    headgate__unwell_endpoint__init(u);
    u->address = (char *)(uintptr_t)arena_str(arena, e->text).p;
    u->has_why = true;
    u->why = why;
    if (u->address)
        c->unwell[c->n_unwell++] = u;
}

static bool is_ejected(const struct endpoint_definition *e, uint64_t now) {
    return e->is_usable && atomic_load_explicit(&e->shared->ejected_until, memory_order_relaxed) > now;
}

/* Until so many are found. */
static void name_ejected(struct arena *arena, const struct cluster_members *m, uint32_t most, struct unwell_search *search,
                         Headgate__ClusterCounts *c) {
    uint64_t now = clock_monotonic_us();
    uint32_t begin = m->count > UNWELL_LOOKS ? (uint32_t)((uint64_t)search->number * UNWELL_LOOKS % m->count) : 0;
    for (uint32_t i = 0, found = 0; i < m->count && found < most && c->n_unwell < UNWELL_NAMED && search->looks; i++) {
        const struct endpoint_definition *e = &m->endpoints[((uint64_t)begin + i) % m->count];
        search->looks--;
        if (!is_ejected(e, now))
            continue;
        name_one(arena, c, e, HEADGATE__UNWELL_ENDPOINT__WHY__EJECTED);
        found++;
    }
}

void unwell_fill(struct arena *arena, const struct cluster_definition *d, struct unwell_search *search,
                 Headgate__ClusterCounts *ret) {
    const struct cluster_members *m = d->members;
    uint32_t ejected = atomic_load_explicit(&d->shared->ejected, memory_order_relaxed);
    ret->has_endpoints = ret->has_unhealthy = ret->has_draining = ret->has_ejected = true;
    ret->endpoints = m->count;
    ret->unhealthy = m->unhealthy_count;
    ret->draining = m->draining_count;
    ret->ejected = ejected;
    for (uint32_t i = 0; i < MEMBERS_UNWELL && i < m->unhealthy_count + m->draining_count; i++) {
        const struct endpoint_definition *e = &m->endpoints[m->unwell[i]];
        name_one(arena, ret, e, e->is_draining ? HEADGATE__UNWELL_ENDPOINT__WHY__DRAINING
                                               : HEADGATE__UNWELL_ENDPOINT__WHY__UNHEALTHY);
    }
    name_ejected(arena, m, ejected, search, ret);
}
