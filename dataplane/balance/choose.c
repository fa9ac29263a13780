/* choose.c — the balancers: a chooser each. What comes up and cannot be taken is passed over, a bounded number of times;
 * then any that can be taken is looked for. */
#include <math.h>

#include "dataplane/balance/heap.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { TRIES = 64, DRAWS = 16 };

static bool may_take(const struct choice *ch, const struct candidate *c) {
    return c && !c->is_draining && (ch->panics || candidate_is_available(c, ch->now));
}

static bool was_tried(const struct choice *ch, const struct candidate *c) {
    for (uint32_t i = 0; i < ch->tried_count; i++)
        if (ch->tried[i] == c)
            return true;
    return false;
}

static bool is_welcome(const struct choice *ch, const struct candidate *c) {
    return may_take(ch, c) && !was_tried(ch, c);
}

/* Slow start of balancers that have no turns: as if its weight were smaller. */
static bool passes_slow_start(const struct choice *ch, struct candidate *c) {
    if (!c->fresh_since)
        return true;
    double random = (double)(balance_random(ch->random) >> 11) * 0x1p-53;
    return random < candidate_freshness(c, ch->rules, ch->now);
}

/* NULL: one that is not there yet, and cannot be taken in any case. */
static struct candidate *member(const struct group *g, const struct choice *ch, uint32_t index) {
    uint32_t place = g->definition->members[index];
    struct candidate *c = g->candidates[place];
    return c ? c : g->source->make(g->source, place, ch->panics);
}

/* ---- round robin: weighted, earliest deadline first ----
 * Each turn moves a deadline on by 1/weight, which spreads the turns of a heavy endpoint evenly, as nginx's smooth weighted
 * round robin does, at the cost of a heap step instead of a look at every endpoint. Who cannot be taken loses its turn. */

static struct candidate *take_turn(struct group *g, const struct choice *ch) {
    struct heap_entry *top = &g->heap[0];
    struct candidate *c = top->placement->candidate;
    g->turn = top->key;
    top->key += c->fresh_since ? c->step / candidate_freshness(c, ch->rules, ch->now) : c->step;
    heap_sift_down(g, 0, false);
    return c;
}

struct candidate *group_take_turn(struct group *g) {
    struct heap_entry *top = &g->heap[0];
    struct candidate *c = top->placement->candidate;
    if (!c->was_available || c->fresh_since)
        return NULL;
    g->turn = top->key;
    top->key += c->step;
    heap_sift_down(g, 0, false);
    return c;
}

static struct candidate *choose_in_turn(struct group *g, const struct choice *ch) {
    for (uint32_t tries = 0; tries < TRIES; tries++) {
        struct candidate *c = take_turn(g, ch);
        if (is_welcome(ch, c))
            return c;
    }
    return NULL;
}

/* ---- by chance ---- */

static struct candidate *draw(const struct group *g, const struct choice *ch) {
    const struct balance_table *t = g->definition->table;
    uint64_t random = balance_random(ch->random);
    uint32_t index = (uint32_t)((random >> 32) * g->definition->count >> 32);
    if (t && (uint32_t)random > t->thresholds[index])
        index = t->members[index];
    return member(g, ch, index);
}

static struct candidate *draw_welcome(const struct group *g, const struct choice *ch, const struct candidate *other_than) {
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct candidate *c = draw(g, ch);
        if (c != other_than && is_welcome(ch, c) && passes_slow_start(ch, c))
            return c;
    }
    return NULL;
}

static struct candidate *choose_by_chance(const struct group *g, const struct choice *ch) {
    for (uint32_t i = 0; i < TRIES / DRAWS; i++) {
        struct candidate *c = draw_welcome(g, ch, NULL);
        if (c)
            return c;
    }
    return NULL;
}

/* ---- the better of some that were drawn (Mitzenmacher, "The Power of Two Choices", 2001) ---- */

/* Weight is in the draw already; here it is that of what each can carry. */
static bool has_fewer_requests(const struct choice *ch, const struct candidate *a, const struct candidate *b) {
    (void)ch;
    return (uint64_t)a->active * b->weight < (uint64_t)b->active * a->weight;
}

/* One that nothing is known of yet is free while it has nothing to do, and afterwards dearer than all others. */
static double cost(const struct choice *ch, const struct candidate *c) {
    double latency = candidate_expected_latency(c, ch->rules, ch->now);
    if (latency <= 0 && c->active)
        return 1e15 + c->active;
    return latency * (c->active + 1);
}

static bool costs_less(const struct choice *ch, const struct candidate *a, const struct candidate *b) {
    return cost(ch, a) < cost(ch, b);
}

static struct candidate *choose_better(const struct group *g, const struct choice *ch,
                                       bool (*is_better)(const struct choice *, const struct candidate *,
                                                         const struct candidate *)) {
    struct candidate *best = choose_by_chance(g, ch);
    for (uint32_t i = 1; best && g->definition->count > 1 && i < ch->rules->choices; i++) {
        struct candidate *c = draw_welcome(g, ch, best);
        if (c && is_better(ch, c, best))
            best = c;
    }
    return best;
}

/* ---- least connections ---- */

static void park(struct group *g) {
    g->heap[0].key = INFINITY;
    g->parked++;
    heap_sift_down(g, 0, true);
}

/* Among the first few levels; enough, as only those stand in the way that were tried or are fresh. */
static struct candidate *least_of_top(const struct group *g, const struct choice *ch) {
    const struct heap_entry *best = NULL;
    for (uint32_t i = 0; i < g->heap_count && i < TRIES - 1; i++) {
        const struct heap_entry *e = &g->heap[i];
        struct candidate *c = e->placement->candidate;
        if (is_welcome(ch, c) && (!best || entry_is_before(e, best, true)) && passes_slow_start(ch, c))
            best = e;
    }
    return best ? best->placement->candidate : NULL;
}

static struct candidate *choose_least(struct group *g, const struct choice *ch) {
    if (ch->panics)
        group_unpark(g);
    for (uint32_t i = 0; i < TRIES && g->heap[0].key != INFINITY && !may_take(ch, g->heap[0].placement->candidate); i++)
        park(g);
    struct candidate *c = g->heap[0].placement->candidate;
    if (is_welcome(ch, c) && !c->fresh_since)
        return c;
    return least_of_top(g, ch);
}

/* ---- by hash ---- */

/* Bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016): nobody has more than so many times its share of what is under
 * way. */
static bool is_over(const struct group *g, const struct choice *ch, const struct candidate *c) {
    uint64_t weight = ch->panics || !g->available_weight ? g->definition->weight : g->available_weight;
    if (!ch->rules->load_bound)
        return false;
    double room = ceil(ch->rules->load_bound / 100.0 * (g->active + 1) * c->weight / (double)weight);
    return c->active + 1 > room;
}

static uint64_t hash_of(const struct choice *ch) {
    return ch->has_hash ? ch->hash : balance_random(ch->random);
}

/* The keys of one that is passed over go to others by chance, each key always to the same. */
static struct candidate *choose_slot(const struct group *g, const struct choice *ch) {
    const struct balance_table *t = g->definition->table;
    uint64_t hash = hash_of(ch);
    for (uint32_t tries = 0; tries < TRIES; tries++, hash = XXH64(&hash, sizeof hash, tries)) {
        struct candidate *c = member(g, ch, t->members[hash % t->size]);
        if (is_welcome(ch, c) && !is_over(g, ch, c))
            return c;
    }
    return NULL;
}

/* The first point at or behind the key. */
static uint32_t find_point(const struct balance_table *t, uint64_t key) {
    uint32_t low = 0, high = t->size;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->points[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low == t->size ? 0 : low;
}

static struct candidate *choose_point(const struct group *g, const struct choice *ch) {
    const struct balance_table *t = g->definition->table;
    uint32_t at = find_point(t, hash_of(ch));
    for (uint32_t tries = 0; tries < TRIES; tries++, at = at + 1 == t->size ? 0 : at + 1) {
        struct candidate *c = member(g, ch, t->members[at]);
        if (is_welcome(ch, c) && !is_over(g, ch, c))
            return c;
    }
    return NULL;
}

/* ---- the first one ---- */

static struct candidate *choose_first(struct group *g, const struct choice *ch) {
    bool is_start = true;
    for (uint32_t i = ch->panics ? 0 : g->first; i < g->definition->count; i++) {
        struct candidate *c = member(g, ch, i);
        if (is_start && !ch->panics && may_take(ch, c)) {
            g->first = i;
            is_start = false;
        }
        if (is_welcome(ch, c) && passes_slow_start(ch, c))
            return c;
    }
    return NULL;
}

/* ---- whatever there is ---- */

/* What is asked of it; each includes what stands before. */
enum wish { TAKEABLE, UNTRIED, BELOW_BOUND };

static bool fulfils(const struct group *g, const struct choice *ch, const struct candidate *c, enum wish wish) {
    return may_take(ch, c) && (wish < UNTRIED || !was_tried(ch, c)) && (wish < BELOW_BOUND || !is_over(g, ch, c));
}

static struct candidate *find(const struct group *g, const struct choice *ch, uint32_t start, enum wish wish) {
    uint32_t count = g->definition->count;
    for (uint32_t i = 0; i < count; i++) {
        struct candidate *c = member(g, ch, (uint32_t)(((uint64_t)start + i) % count));
        if (fulfils(g, ch, c, wish))
            return c;
    }
    return NULL;
}

/* The bound holds here, too: a key that very many ask for at once fills all that it comes up to. */
static struct candidate *choose_any(const struct group *g, const struct choice *ch) {
    uint32_t start = (uint32_t)((ch->has_hash ? ch->hash : balance_random(ch->random)) % g->definition->count);
    struct candidate *c = ch->rules->load_bound ? find(g, ch, start, BELOW_BOUND) : NULL;
    if (!c)
        c = find(g, ch, start, UNTRIED);
    return c || !ch->tried_count || ch->only_untried ? c : find(g, ch, start, TAKEABLE);
}

static struct candidate *choose(struct group *g, const struct choice *ch) {
    switch (ch->rules->kind) {
    case BALANCE_ROUND_ROBIN: return g->heap_count ? choose_in_turn(g, ch) : NULL;
    case BALANCE_RANDOM: return choose_by_chance(g, ch);
    case BALANCE_LEAST_REQUEST: return choose_better(g, ch, has_fewer_requests);
    case BALANCE_LEAST_CONNECTIONS: return g->heap_count ? choose_least(g, ch) : NULL;
    case BALANCE_PEAK_EWMA: return choose_better(g, ch, costs_less);
    case BALANCE_RING_HASH: return choose_point(g, ch);
    case BALANCE_MAGLEV: return choose_slot(g, ch);
    case BALANCE_FIRST: return choose_first(g, ch);
    }
    return NULL;
}

struct candidate *group_choose(struct group *g, const struct choice *ch) {
    if (g->definition->count == 0 || (!ch->panics && g->available == 0))
        return NULL;
    struct candidate *c = choose(g, ch);
    return c ? c : choose_any(g, ch);
}
