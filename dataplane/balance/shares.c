/* shares.c — how much each priority and zone gets. docs/internals/clusters.md, "One choice" */
#include "dataplane/balance/balance.h"

enum { WHOLE = 1000000 };        /* shares in parts of a million */

struct level {                   /* a priority: our zone's group, that of the others, or one for both */
    uint32_t begin, end;
    uint32_t eligible, available;
    uint32_t load;
    bool     panics;
};

static uint32_t share_of(uint64_t available, uint64_t eligible, const struct balance_rules *r) {
    uint64_t share = eligible ? available * r->overprovisioning * (WHOLE / 100) / eligible : 0;
    return share > WHOLE ? WHOLE : (uint32_t)share;
}

static struct level level_at(struct group *const *groups, uint32_t begin, uint32_t count) {
    struct level l = {.begin = begin};
    uint32_t priority = groups[begin]->definition->priority;
    for (l.end = begin; l.end < count && groups[l.end]->definition->priority == priority; l.end++) {
        l.eligible += groups[l.end]->eligible;
        l.available += groups[l.end]->available;
    }
    return l;
}

/* Each takes what it can of what those before it have left. Returns what all take together. */
static uint32_t take_loads(struct level *levels, uint32_t count, const struct balance_rules *r) {
    uint32_t left = WHOLE;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t share = share_of(levels[i].available, levels[i].eligible, r);
        levels[i].load = share < left ? share : left;
        left -= levels[i].load;
    }
    return WHOLE - left;
}

/* Panic is for when there is too little in all priorities together: while another one can take over, nobody is sent to the
 * unwell. */
static void scale_up(struct level *levels, uint32_t count, uint32_t total, const struct balance_rules *r) {
    for (uint32_t i = 0; i < count; i++) {
        struct level *l = &levels[i];
        l->panics = l->eligible && (uint64_t)l->available * 100 < (uint64_t)l->eligible * r->panic_threshold;
        if (total)
            l->load = (uint32_t)((uint64_t)l->load * WHOLE / total);
    }
    for (uint32_t i = 0; i < count && total == 0; i++) /* nothing is available anywhere: the first that may be tried */
        if (levels[i].panics) {
            levels[i].load = WHOLE;
            return;
        }
}

/* Ours gets what it can by the same rule, the others the rest. */
static uint32_t share_of_ours(const struct group *ours, const struct group *others, bool panics,
                              const struct balance_rules *r) {
    if (panics)
        return ours->eligible ? WHOLE : 0;
    if (others->available == 0)
        return WHOLE;
    return share_of(ours->available, ours->eligible, r);
}

static void spread(struct group *const *groups, const struct level *l, const struct balance_rules *r, uint64_t *parts) {
    parts[l->begin] = l->load;
    if (l->end - l->begin < 2)
        return;
    uint64_t ours = share_of_ours(groups[l->begin], groups[l->begin + 1], l->panics, r);
    parts[l->begin] = l->load * ours / WHOLE;
    parts[l->begin + 1] = l->load - parts[l->begin];
}

/* The last one with anything takes what rounding has left. */
static bool accumulate(const uint64_t *parts, uint32_t count, struct share *ret) {
    uint64_t sum = 0, last = count;
    for (uint32_t i = 0; i < count; i++) {
        sum += parts[i];
        ret[i].until = (uint32_t)(sum >= WHOLE ? UINT32_MAX : sum * UINT32_MAX / WHOLE);
        if (parts[i])
            last = i;
    }
    for (uint64_t i = last; i < count; i++)
        ret[i].until = UINT32_MAX;
    return last < count;
}

bool balance_shares(struct group *const *groups, uint32_t count, const struct balance_rules *r, struct share *ret) {
    struct level levels[BALANCE_PRIORITIES];
    uint64_t parts[2 * BALANCE_PRIORITIES] = {0};
    uint32_t n = 0;
    for (uint32_t at = 0; at < count; at = levels[n++].end)
        levels[n] = level_at(groups, at, count);
    uint32_t total = take_loads(levels, n, r);
    if (total < WHOLE)
        scale_up(levels, n, total, r);
    for (uint32_t i = 0; i < n; i++) {
        spread(groups, &levels[i], r, parts);
        for (uint32_t g = levels[i].begin; g < levels[i].end; g++)
            ret[g].panics = levels[i].panics;
    }
    return accumulate(parts, count, ret);
}
