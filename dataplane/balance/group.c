/* group.c — one worker's state of a group: who is in it, how many are available, and the heaps of those balancers that have
 * one. */
#include <math.h>

#include "common/alloc.h"
#include "dataplane/balance/heap.h"

static bool has_heap(const struct balance_rules *r) {
    return r->kind == BALANCE_ROUND_ROBIN || r->kind == BALANCE_LEAST_CONNECTIONS;
}

int group_reserve(struct group *g, const struct balance_rules *r, uint32_t count) {
    if (!has_heap(r) || count <= g->heap_capacity)
        return 0;
    struct heap_entry *heap = hg_realloc(g->heap, count * sizeof *heap);
    if (!heap)
        return -1;
    g->heap = heap;
    g->heap_capacity = count;
    return 0;
}

void group_finish(struct group *g) {
    hg_free(g->heap);
}

/* ---- availability ---- */

bool candidate_is_available(const struct candidate *c, uint64_t now) {
    return c->is_usable && atomic_load_explicit(c->out_until, memory_order_relaxed) <= now;
}

static void count(struct placement *p, bool is_eligible, bool is_available, uint32_t weight) {
    struct group *g = p->group;
    if (p->is_available)
        g->available_weight -= p->weight;
    if (is_available)
        g->available_weight += weight;
    g->eligible += (uint32_t)is_eligible - (uint32_t)p->is_eligible;
    g->available += (uint32_t)is_available - (uint32_t)p->is_available;
    if (is_available != p->is_available || is_eligible != p->is_eligible) {
        g->has_changed = *g->changes = true;
        g->first = 0;
    }
    p->is_eligible = is_eligible;
    p->is_available = is_available;
    p->weight = weight;
}

/* ---- least connections ----
 * The heap is ordered by requests under way for each unit of weight; among equals by whose turn it is. Unavailable ones
 * that came up are parked at the bottom until something about the group's availability has changed. */

static double load_of(const struct candidate *c) {
    return c->active * c->step;
}

void group_unpark(struct group *g) {
    g->first = 0;
    if (g->parked == 0)
        return;
    for (uint32_t i = 0; i < g->heap_count; i++)
        g->heap[i].key = load_of(g->heap[i].placement->candidate);
    for (uint32_t i = g->heap_count / 2; i-- > 0;)
        heap_sift_down(g, i, true);
    g->parked = 0;
}

static void update_load(struct placement *p) {
    struct heap_entry *e = &p->group->heap[p->heap_index];
    p->group->parked -= e->key == INFINITY;
    e->key = load_of(p->candidate);
    heap_fix(p->group, p->heap_index);
}

/* Its next turn among equals: as in round robin. */
static void take_turn(struct placement *p) {
    struct group *g = p->group;
    g->turn = p->tie > g->turn ? p->tie : g->turn;
    p->tie = g->turn + p->candidate->step;
}

/* ---- placements ---- */

static void take_place(struct placement *p, struct group *g, struct candidate *c, const struct balance_rules *r,
                       double random, uint64_t now) {
    *p = (struct placement){.candidate = c, .group = g};
    g->active += c->active;
    double turn = g->turn + random * c->step;
    if (r->kind == BALANCE_ROUND_ROBIN) {
        turn = g->turn + random * c->step / candidate_freshness(c, r, now);
        heap_add(g, (struct heap_entry){.key = turn, .placement = p});
    } else if (r->kind == BALANCE_LEAST_CONNECTIONS) {
        p->tie = turn;
        heap_add(g, (struct heap_entry){.key = load_of(c), .placement = p});
    }
}

void placement_add(struct placement *p, struct group *g, struct candidate *c, const struct balance_rules *r, double random,
                   uint64_t now) {
    take_place(p, g, c, r, random, now);
    count(p, !c->is_draining, candidate_is_available(c, now), c->weight);
}

void placement_add_counted(struct placement *p, struct group *g, struct candidate *c, const struct balance_rules *r,
                           double random, uint64_t now) {
    take_place(p, g, c, r, random, now);
    p->is_eligible = !c->is_draining;
    p->is_available = c->is_usable;
    p->weight = c->weight;
}

void group_count_missing(struct group *g, bool is_eligible, bool is_available, uint32_t weight, int by) {
    g->eligible += is_eligible ? (uint32_t)by : 0;
    g->available += is_available ? (uint32_t)by : 0;
    g->available_weight += is_available ? (uint64_t)by * weight : 0;
    g->has_changed = *g->changes = true;
    g->first = 0;
}

void group_count_all_missing(struct group *g, const struct group_definition *d) {
    g->eligible = d->eligible;
    g->available = d->available;
    g->available_weight = d->available_weight;
    g->has_changed = *g->changes = true;
}

void placement_remove(struct placement *p, const struct balance_rules *r) {
    struct group *g = p->group;
    count(p, false, false, 0);
    g->active -= p->candidate->active;
    if (r->kind == BALANCE_LEAST_CONNECTIONS)
        g->parked -= g->heap[p->heap_index].key == INFINITY;
    if (has_heap(r))
        heap_remove(g, p->heap_index);
    p->group = NULL;
}

void candidate_recount(struct candidate *c, const struct balance_rules *r, uint64_t now) {
    bool is_available = candidate_is_available(c, now);
    if (is_available && !c->was_available && r->slow_start)
        c->fresh_since = now;
    c->was_available = is_available;
    for (uint32_t i = 0; i < c->placement_count; i++) {
        struct placement *p = &c->placements[i];
        count(p, !c->is_draining, is_available, c->weight);
        if (r->kind == BALANCE_LEAST_CONNECTIONS) {
            update_load(p);
            group_unpark(p->group);
        }
    }
}

/* ---- requests ---- */

void candidate_began(struct candidate *c, const struct balance_rules *r) {
    c->active++;
    for (uint32_t i = 0; i < c->placement_count; i++) {
        struct placement *p = &c->placements[i];
        p->group->active++;
        if (r->kind == BALANCE_LEAST_CONNECTIONS) {
            take_turn(p);
            update_load(p);
        }
    }
}

void candidate_ended(struct candidate *c, const struct balance_rules *r) {
    c->active--;
    for (uint32_t i = 0; i < c->placement_count; i++) {
        struct placement *p = &c->placements[i];
        p->group->active--;
        if (r->kind == BALANCE_LEAST_CONNECTIONS)
            update_load(p);
    }
}

double candidate_freshness(struct candidate *c, const struct balance_rules *r, uint64_t now) {
    if (!c->fresh_since)
        return 1;
    uint64_t age = now - c->fresh_since;
    if (age >= r->slow_start) {
        c->fresh_since = 0;
        return 1;
    }
    double share = pow((double)age / (double)r->slow_start, r->slow_start_power);
    return share > r->slow_start_least ? share : r->slow_start_least;
}
