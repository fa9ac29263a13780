/* pick.c — which endpoint a request goes to, and what is learnt of it afterwards. */
#include "common/alloc.h"
#include "dataplane/back/reconcile.h"

void pick_note_tried(struct pick *p, const struct endpoint_runtime *e) {
    if (p->tried_count == PICK_TRIED_MAX)
        memmove(p->tried, p->tried + 1, --p->tried_count * sizeof *p->tried);
    p->tried[p->tried_count++] = e;
}

bool endpoint_is_available(const struct endpoint_runtime *e) {
    return candidate_is_available(&e->candidate, e->cluster->worker->now);
}

/* ---- ejections ----
 * An ejected endpoint is passed over from the moment that it is ejected: that is read with each choice. What all of them
 * come to, the shares of priorities and zones, is counted by rounds, a while later where there are many. */

/* Whether what was counted is what is. */
static bool is_up_to_date(const struct cluster_runtime *c) {
    return atomic_load_explicit(&c->shared->ejections, memory_order_relaxed) == c->ejections_seen &&
           c->worker->now < c->next_look;
}

static void note_ejections(struct cluster_runtime *c) {
    if (!is_up_to_date(c) && !c->round.is_under_way && c->worker->now >= c->look_not_before)
        rounds_begin(c, 0);
}

/* ---- groups ---- */

static void share_out(struct cluster_runtime *c, struct group_set *s) {
    struct share *shares = c->shares + s->begin;
    bool has_changed = false;
    for (uint32_t i = s->begin; i < s->end; i++) {
        has_changed |= c->groups[i]->has_changed;
        c->groups[i]->has_changed = false;
    }
    if (!has_changed)
        return;
    s->has_any = balance_shares(c->groups + s->begin, s->end - s->begin, &c->members->rules, shares);
    s->only = s->has_any && shares[0].until == UINT32_MAX && !shares[0].panics ? c->groups[s->begin] : NULL;
}

static struct group_set *find_set(const struct cluster_runtime *c, uint64_t subset) {
    uint32_t low = 0, high = c->set_count;
    if (c->set_count && subset == c->sets[0].subset)
        return &c->sets[0];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (c->sets[middle].subset < subset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < c->set_count && c->sets[low].subset == subset)
        return &c->sets[low];
    return c->set_count && c->members->subset_fallback ? &c->sets[0] : NULL;
}

static struct group *find_group(const struct cluster_runtime *c, const struct group_set *s, struct choice *choice) {
    uint32_t i = s->begin, random = (uint32_t)(balance_random(choice->random) >> 32);
    while (i + 1 < s->end && c->shares[i].until < random)
        i++;
    choice->panics = c->shares[i].panics;
    return c->groups[i];
}

/* Whoever there is, by priority, ours before the other zones. */
static struct candidate *choose_in_any(const struct cluster_runtime *c, const struct group_set *s,
                                       const struct choice *choice) {
    struct candidate *e = NULL;
    for (uint32_t i = s->begin; i < s->end && !e; i++)
        e = group_choose(c->groups[i], choice);
    return e;
}

/* None is left of a group whose last was ejected after the shares were computed, or of which the request has tried all: in
 * panic, too, those of others who are well go first. */
static struct candidate *choose_in_set(const struct cluster_runtime *c, const struct group_set *s, struct group *first,
                                       struct choice choice) {
    bool panics = choice.panics;
    struct candidate *e = group_choose(first, &choice);
    if (e || s->end - s->begin == 1)
        return e;
    choice.panics = false;
    e = choose_in_any(c, s, &choice);
    choice.panics = panics;
    return e || !panics ? e : choose_in_any(c, s, &choice);
}

/* The one that the request's cookie names, when it is one of the set and can be had. */
static struct candidate *find_sticky(struct cluster_runtime *c, const struct group_set *s, const struct pick *p) {
    uint32_t place = p->sticky ? cluster_find_id(c->members, p->sticky) : NO_PLACE;
    if (place == NO_PLACE)
        return NULL;
    struct candidate *e = c->endpoints[place] ? c->endpoints[place] : cluster_make_endpoint(c, place);
    if (!e || !candidate_is_available(e, c->worker->now))
        return NULL;
    for (uint32_t i = 0; i < p->tried_count; i++)
        if (p->tried[i] == e)
            return NULL;
    for (uint32_t i = 0; i < e->placement_count; i++)
        if (e->placements[i].group->definition->subset == s->subset)
            return e;
    return NULL;
}

static void note_changes(struct cluster_runtime *c) {
    if (!c->has_changes)
        return;
    for (uint32_t i = 0; i < c->set_count; i++)
        share_out(c, &c->sets[i]);
    c->plain = c->set_count && c->members->rules.kind == BALANCE_ROUND_ROBIN ? c->sets[0].only : NULL;
    if (c->plain && !c->plain->heap_count)
        c->plain = NULL; /* its members are not there yet */
    c->has_changes = false;
}

/* Who was sent before goes to another group rather than to one that was tried. */
static struct choice choice_of(struct cluster_runtime *c, const struct group_set *s, const struct pick *p) {
    return (struct choice){
        .rules = &c->members->rules, .now = c->worker->now, .random = &c->worker->random,
        .hash = p->hash, .has_hash = p->has_hash, .tried = p->tried, .tried_count = p->tried_count,
        .only_untried = p->is_repeated && s->end - s->begin > 1,
    };
}

static struct candidate *choose_by_shares(struct cluster_runtime *c, const struct pick *p) {
    note_changes(c);
    const struct group_set *s = find_set(c, p->subset);
    if (!s || !s->has_any)
        return NULL;
    struct candidate *sticky = find_sticky(c, s, p);
    if (sticky)
        return sticky;
    struct choice choice = choice_of(c, s, p);
    struct group *g = s->only ? s->only : find_group(c, s, &choice);
    struct candidate *e = choose_in_set(c, s, g, choice);
    if (!e && choice.only_untried) {
        choice.only_untried = false;
        e = choose_in_set(c, s, g, choice);
    }
    return e;
}

/* The round is not over, and nobody was found available: what shares will be when it is. */
static struct candidate *choose_in_panic(struct cluster_runtime *c, const struct pick *p) {
    const struct group_set *s = find_set(c, p->subset);
    c->round.has_empty = true;
    c->round.empty_subset = p->subset;
    if (!s || !c->members->rules.panic_threshold)
        return NULL;
    struct choice choice = choice_of(c, s, p);
    choice.panics = true;
    struct candidate *e = choose_in_any(c, s, &choice);
    if (!e && choice.only_untried) {
        choice.only_untried = false;
        e = choose_in_any(c, s, &choice);
    }
    return e;
}

/* A choice that finds nobody has asked all of them, which the next ones need not do. */
static bool is_known_to_be_empty(const struct cluster_runtime *c, const struct pick *p) {
    return c->round.is_under_way && c->round.has_empty && c->round.empty_subset == p->subset;
}

/* When nobody is left, ejections that were not looked at yet can mean panic. */
static struct candidate *pick_again(struct cluster_runtime *c, const struct pick *p) {
    bool has_changes = c->has_changes; /* endpoints that the choice has made may be ejected */
    bool is_new = is_up_to_date(c);
    if (!is_new && !c->round.is_under_way)
        rounds_begin(c, 0);
    if (c->round.is_under_way)
        return choose_in_panic(c, p);
    return is_new && !has_changes ? NULL : choose_by_shares(c, p);
}

/* Kept out of cluster_pick, which then needs no registers saved for what it almost always does. */
__attribute__((noinline)) static struct endpoint_runtime *pick_with_care(struct cluster_runtime *c, const struct pick *p) {
    note_ejections(c);
    if (is_known_to_be_empty(c, p))
        return (struct endpoint_runtime *)choose_in_panic(c, p);
    struct candidate *e = choose_by_shares(c, p);
    return (struct endpoint_runtime *)(e ? e : pick_again(c, p));
}

struct endpoint_runtime *cluster_pick(struct cluster_runtime *c, const struct pick *p) {
    if (c->plain && !c->has_changes && (p->subset | p->sticky | p->tried_count) == 0 && is_up_to_date(c)) {
        struct candidate *e = group_take_turn(c->plain); /* almost always */
        if (e)
            return (struct endpoint_runtime *)e;
    }
    return pick_with_care(c, p);
}

/* Seldom asked for: a pass over all of them, where it does not stand where it was. */
static uint32_t place_of(const struct cluster_members *m, const struct address *a, uint32_t place) {
    if (place < m->count && address_equal(&m->endpoints[place].address, a))
        return place;
    for (uint32_t i = 0; i < m->count; i++)
        if (address_equal(&m->endpoints[i].address, a))
            return i;
    return NO_PLACE;
}

struct endpoint_runtime *cluster_find_endpoint(struct cluster_runtime *c, const struct address *a, uint32_t *place) {
    uint32_t at = c->members ? place_of(c->members, a, *place) : NO_PLACE;
    if (at == NO_PLACE)
        return NULL;
    *place = at;
    struct candidate *e = c->endpoints[at] ? c->endpoints[at] : cluster_make_endpoint(c, at);
    return (struct endpoint_runtime *)e;
}

/* ---- attempts ---- */

static const struct balance_rules *rules_of(const struct endpoint_runtime *e) {
    return &e->cluster->rules;
}

void endpoint_began(struct endpoint_runtime *e) {
    candidate_began(&e->candidate, rules_of(e));
    cluster_counts_began(e->cluster->counts);
}

/* What fails at once must not look quick. */
static void note_latency(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    uint64_t now = e->cluster->worker->now;
    switch (outcome) {
    case ENDPOINT_SUCCESS:
    case ENDPOINT_5XX: candidate_note_latency(&e->candidate, rules_of(e), head_latency, now); break;
    case ENDPOINT_GATEWAY_FAILURE:
    case ENDPOINT_CONNECT_FAILURE:
    case ENDPOINT_RESET:
    case ENDPOINT_TIMEOUT: candidate_note_failure(&e->candidate, rules_of(e), now); break;
    case ENDPOINT_CANCELLED: break;
    }
}

static void learn(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    cluster_counts_latency(e->cluster->counts, head_latency);
    if (rules_of(e)->kind == BALANCE_PEAK_EWMA)
        note_latency(e, outcome, head_latency);
    if (e->cluster->outliers.is_on)
        outliers_note(e, outcome, head_latency);
}

void endpoint_opened(struct endpoint_runtime *e, uint64_t head_latency) {
    learn(e, ENDPOINT_SUCCESS, head_latency);
}

static void leave(struct endpoint_runtime *e, enum endpoint_outcome outcome) {
    candidate_ended(&e->candidate, rules_of(e));
    cluster_counts_ended(e->cluster->counts, outcome);
}

void endpoint_left(struct endpoint_runtime *e, enum endpoint_outcome outcome) {
    leave(e, outcome);
    endpoint_forget_if_unused(e);
}

void endpoint_ended(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    leave(e, outcome);
    learn(e, outcome, head_latency);
    endpoint_forget_if_unused(e);
}
