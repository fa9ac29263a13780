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

/* ---- one group after another ---- */

static void release(struct group *g) {
    while (g && --g->held == 0 && !g->definition) {
        struct group *next = g->successor;
        group_finish(g);
        hg_free(g);
        g = next;
    }
}

void group_follow(struct group *g, struct group *before, bool keeps_turns) {
    before->successor = g;
    before->keeps_turns = keeps_turns;
    g->turn = before->turn;
    g->active = before->active;
    g->held++;
}

void group_leave(struct group *g) {
    g->definition = NULL;
    g->held++;
    release(g);
}

static void count_active(struct group *g, uint32_t by) {
    for (; g; g = g->successor)
        g->active += by;
}

/* Whether who stands in this one keeps its turn in the other. */
static bool leads_to(const struct group *g, const struct group *to) {
    while (g != to && g->successor && g->keeps_turns)
        g = g->successor;
    return g == to;
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
 * that came up are parked at the bottom until that has changed, or availability does not count. */

static double load_of(const struct candidate *c) {
    return c->active * c->step;
}

void group_unpark(struct group *g) {
    if (g->parked == 0)
        return;
    for (uint32_t i = 0; i < g->heap_count; i++)
        g->heap[i].key = load_of(g->heap[i].placement->candidate);
    for (uint32_t i = g->heap_count / 2; i-- > 0;)
        heap_sift_down(g, i, true);
    g->parked = 0;
}

static void update_load(struct placement *p) {
    if (!p->group->definition)
        return; /* nobody chooses from that one */
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
    g->held++;
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

/* The heap of a group that was left stays as it was. */
static void keep_turn(struct placement *p, const struct placement *before, const struct balance_rules *r) {
    if (r->kind == BALANCE_ROUND_ROBIN)
        p->group->heap[p->heap_index].key = before->group->heap[before->heap_index].key;
    else if (r->kind == BALANCE_LEAST_CONNECTIONS)
        p->tie = before->tie;
    if (has_heap(r))
        heap_fix(p->group, p->heap_index);
}

void placement_take_over(struct placement *p, struct group *g, struct candidate *c, const struct balance_rules *r,
                         double random, uint64_t now, const struct placement *before, uint32_t before_count) {
    placement_add_counted(p, g, c, r, random, now);
    for (uint32_t i = 0; i < before_count; i++)
        if (leads_to(before[i].group, g))
            keep_turn(p, &before[i], r);
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
    if (!g->definition) {
        p->group = NULL;
        count_active(g, -p->candidate->active);
        release(g);
        return;
    }
    count(p, false, false, 0);
    g->active -= p->candidate->active;
    g->held--;
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
        if (r->kind == BALANCE_LEAST_CONNECTIONS)
            update_load(p);
    }
}

/* It may have been passed over, and be back, since the last look. */
static void get_another_look(struct candidate *c, const struct balance_rules *r) {
    for (uint32_t i = 0; i < c->placement_count; i++) {
        struct placement *p = &c->placements[i];
        p->group->first = 0;
        if (r->kind == BALANCE_LEAST_CONNECTIONS && p->group->heap[p->heap_index].key == INFINITY)
            update_load(p);
    }
}

bool candidate_look(struct candidate *c, const struct balance_rules *r, uint64_t now) {
    bool is_available = candidate_is_available(c, now), has_changed = is_available != c->was_available;
    if (has_changed)
        candidate_recount(c, r, now);
    else if (is_available)
        get_another_look(c, r);
    return has_changed;
}

/* ---- requests ---- */

void candidate_began(struct candidate *c, const struct balance_rules *r) {
    c->active++;
    for (uint32_t i = 0; i < c->placement_count; i++) {
        struct placement *p = &c->placements[i];
        count_active(p->group, 1);
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
        count_active(p->group, -1u);
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
