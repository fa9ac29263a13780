/* reconcile.c — from one list of a cluster's endpoints to the next. What needs memory is prepared first, so that a change
 * happens as a whole or not at all. Of endpoints that have not changed only the pointers are copied: pools, turns,
 * latencies and ejections stay. */
#include "common/alloc.h"
#include "common/map.h"
#include "dataplane/back/cluster.h"

/* On the way from c->members to `to`. */
struct change {
    struct cluster_runtime *cluster;
    struct cluster_members *to;
    struct candidate      **endpoints;     /* by place in `to` */
    const uint32_t         *changed;       /* places in `to` */
    const uint32_t         *removed;       /* places in c->endpoints */
    uint32_t                changed_count, removed_count;
    uint32_t               *own;           /* changed and removed, when they are not those of `to` */
    struct group          **groups;
    struct group_set       *sets;
    uint32_t                set_count;
    struct share           *shares;
    bool                    follows;       /* `to` comes right after what is there, and says what has changed */
    bool                    are_all_missing; /* of a cluster that has none yet */
    uint32_t                missing;       /* endpoints that are made later */
};

/* More new ones are made by and by. */
enum { MADE_AT_ONCE = 1024 };

static struct endpoint_runtime *endpoint_at(const struct change *ch, uint32_t place) {
    return (struct endpoint_runtime *)ch->endpoints[place];
}

void endpoint_free(struct endpoint_runtime *e) {
    if (e->candidate.placements != &e->candidate.one)
        hg_free(e->candidate.placements);
    hg_free((char *)(uintptr_t)e->hostname.p);
    endpoint_shared_unref(e->shared);
    hg_free(e);
}

/* ---- preparing ---- */

static struct endpoint_runtime *endpoint_make(struct cluster_runtime *c, const struct endpoint_definition *d) {
    struct endpoint_runtime *e = hg_calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->address = d->address;
    memcpy(e->text, d->text.p, d->text.n < sizeof e->text ? d->text.n : sizeof e->text - 1);
    e->cluster = c;
    e->is_new = true;
    e->open.next = e->open.prev = &e->open;
    e->connecting.next = e->connecting.prev = &e->connecting;
    e->shared = endpoint_shared_ref(d->shared);
    e->candidate.out_until = &e->shared->ejected_until;
    e->candidate.placements = &e->candidate.one;
    return e;
}

static int prepare_endpoint(struct change *ch, uint32_t place) {
    const struct endpoint_definition *d = &ch->to->endpoints[place];
    uint32_t groups = ch->to->first_group[place + 1] - ch->to->first_group[place];
    struct endpoint_runtime *e = endpoint_at(ch, place);
    if (!e && !(e = endpoint_make(ch->cluster, d)))
        return -1;
    ch->endpoints[place] = &e->candidate;
    if (!str_eq(e->hostname, d->hostname)) {
        char *copy = hg_strndup(d->hostname.p, d->hostname.n);
        if (!copy)
            return -1;
        e->next_hostname = (struct str){copy, d->hostname.n};
    }
    if (groups > 1 && groups != e->candidate.placement_count)
        e->next_placements = hg_calloc(groups, sizeof *e->next_placements);
    return groups > 1 && groups != e->candidate.placement_count && !e->next_placements ? -1 : 0;
}

/* Where `to` follows right after what is there, it says what has changed. */
static int find_changes(struct change *ch) {
    const struct cluster_runtime *c = ch->cluster;
    const struct cluster_members *to = ch->to;
    for (uint32_t i = 0; i < to->count; i++) {
        ch->endpoints[i] = to->previous[i] == NO_PLACE ? NULL : c->endpoints[to->previous[i]];
        ch->missing += !ch->endpoints[i];
    }
    ch->changed = to->changed;
    ch->changed_count = to->changed_count;
    ch->removed = to->removed;
    ch->removed_count = to->removed_count;
    return 0;
}

/* One whose address was gone for a while is another one, as for workers that have seen that: what is under way at the one
 * before is counted in what that shares. */
static struct endpoint_runtime *find_same(const struct map *by_text, const struct endpoint_definition *d) {
    struct endpoint_runtime *e = map_get(by_text, d->text);
    return e && e->shared == d->shared ? e : NULL;
}

/* Otherwise everything is looked up by address. */
static int look_up_all(struct change *ch) {
    const struct cluster_runtime *c = ch->cluster;
    struct map by_text = {0};
    int status = 0;
    ch->own = hg_malloc(((size_t)ch->to->count + c->endpoint_count + 1) * sizeof *ch->own);
    for (uint32_t i = 0; i < c->endpoint_count && status == 0; i++) {
        struct endpoint_runtime *e = (struct endpoint_runtime *)c->endpoints[i];
        if (!e)
            continue;
        e->is_kept = false;
        status = map_set(&by_text, str_of(e->text), e);
    }
    for (uint32_t i = 0; ch->own && status == 0 && i < ch->to->count; i++) {
        struct endpoint_runtime *e = find_same(&by_text, &ch->to->endpoints[i]);
        ch->endpoints[i] = e ? &e->candidate : NULL;
        ch->own[ch->changed_count++] = i;
        ch->missing += !e;
        if (e)
            e->is_kept = true;
    }
    uint32_t *removed = ch->own ? ch->own + ch->changed_count : NULL;
    for (uint32_t i = 0; ch->own && status == 0 && i < c->endpoint_count; i++)
        if (c->endpoints[i] && !((struct endpoint_runtime *)c->endpoints[i])->is_kept)
            removed[ch->removed_count++] = i;
    map_finish(&by_text);
    ch->changed = ch->own;
    ch->removed = removed;
    return ch->own ? status : -1;
}

/* Of a cluster that is new here: nothing has changed, and nobody is there. */
static int find_nothing(struct change *ch) {
    ch->are_all_missing = true;
    ch->missing = ch->to->count;
    return 0;
}

/* Those that have changed or are new; of very many new ones none. */
static int prepare_endpoints(struct change *ch) {
    bool makes_later = ch->cluster->filling.missing || ch->missing > MADE_AT_ONCE;
    for (uint32_t i = 0; i < ch->changed_count; i++) {
        bool is_missing = !ch->endpoints[ch->changed[i]];
        if (is_missing && makes_later)
            continue;
        if (prepare_endpoint(ch, ch->changed[i]) < 0)
            return -1;
        ch->missing -= is_missing;
    }
    return 0;
}

static int compare(const struct group_definition *a, const struct group_definition *b) {
    if (a->subset != b->subset)
        return a->subset < b->subset ? -1 : 1;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return a->is_remote - b->is_remote;
}

/* The group of the same subset, priority and zone goes on. Both lists are in order. */
static int prepare_groups(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    for (uint32_t i = 0, old = 0; i < ch->to->group_count; i++) {
        const struct group_definition *d = &ch->to->groups[i];
        while (old < c->group_count && compare(c->groups[old]->definition, d) < 0)
            old++;
        bool is_there = old < c->group_count && compare(c->groups[old]->definition, d) == 0;
        struct group *g = is_there ? c->groups[old] : hg_calloc(1, sizeof *g);
        ch->groups[i] = g;
        if (!g)
            return -1;
        g->changes = &c->has_changes;
        g->source = &c->filling.source;
        if (group_reserve(g, &ch->to->rules, d->count) < 0)
            return -1;
    }
    return 0;
}

static void prepare_sets(struct change *ch) {
    const struct group_definition *g = ch->to->groups;
    for (uint32_t at = 0, end; at < ch->to->group_count; at = end) {
        for (end = at + 1; end < ch->to->group_count && g[end].subset == g[at].subset;)
            end++;
        ch->sets[ch->set_count++] = (struct group_set){.subset = g[at].subset, .begin = at, .end = end};
    }
}

static int prepare(struct change *ch) {
    const struct cluster_runtime *c = ch->cluster;
    struct cluster_members *to = ch->to;
    ch->endpoints = hg_calloc((size_t)to->count + 1, sizeof(struct candidate *));
    ch->groups = hg_calloc((size_t)to->group_count + 1, sizeof(struct group *));
    ch->sets = hg_calloc((size_t)to->group_count + 1, sizeof *ch->sets);
    ch->shares = hg_calloc((size_t)to->group_count + 1, sizeof *ch->shares);
    if (!ch->endpoints || !ch->groups || !ch->sets || !ch->shares)
        return -1;
    ch->follows = c->members && to->previous_serial == c->members->serial;
    bool is_large_and_new = !c->members && to->count > MADE_AT_ONCE;
    if ((ch->follows ? find_changes : is_large_and_new ? find_nothing : look_up_all)(ch) < 0 || prepare_endpoints(ch) < 0)
        return -1;
    prepare_sets(ch);
    return prepare_groups(ch);
}

/* ---- giving up ---- */

static void forget_prepared(struct endpoint_runtime *e) {
    hg_free((char *)(uintptr_t)e->next_hostname.p);
    hg_free(e->next_placements);
    e->next_hostname = (struct str){NULL, 0};
    e->next_placements = NULL;
    if (e->is_new)
        endpoint_free(e);
}

static bool is_in_use(const struct cluster_runtime *c, const struct group *g) {
    for (uint32_t i = 0; i < c->group_count; i++)
        if (c->groups[i] == g)
            return true;
    return false;
}

static void undo(struct change *ch) {
    for (uint32_t i = 0; ch->endpoints && i < ch->changed_count; i++)
        if (ch->endpoints[ch->changed[i]])
            forget_prepared(endpoint_at(ch, ch->changed[i]));
    for (uint32_t i = 0; ch->groups && i < ch->to->group_count; i++)
        if (ch->groups[i] && !is_in_use(ch->cluster, ch->groups[i])) {
            group_finish(ch->groups[i]);
            hg_free(ch->groups[i]);
        }
    hg_free(ch->endpoints);
    hg_free(ch->groups);
    hg_free(ch->sets);
    hg_free(ch->shares);
    hg_free(ch->own);
}

/* ---- carrying out; needs no memory ---- */

static void detach(struct candidate *e, const struct balance_rules *rules) {
    for (uint32_t i = 0; i < e->placement_count; i++)
        placement_remove(&e->placements[i], rules);
    e->placement_count = 0;
}

static bool is_in_same_groups(const struct change *ch, uint32_t place) {
    const struct candidate *e = ch->endpoints[place];
    const uint32_t *group_of = ch->to->group_of + ch->to->first_group[place];
    uint32_t count = ch->to->first_group[place + 1] - ch->to->first_group[place];
    const struct cluster_members *from = ch->cluster->members;
    bool is_same = from && from->rules.kind == ch->to->rules.kind && e->placement_count == count;
    for (uint32_t i = 0; is_same && i < count; i++)
        is_same = e->placements[i].group == ch->groups[group_of[i]];
    return is_same;
}

typedef void place_candidate(struct placement *, struct group *, struct candidate *, const struct balance_rules *, double,
                             uint64_t);

static void attach(const struct change *ch, uint32_t place, uint64_t now, place_candidate *add) {
    struct endpoint_runtime *e = endpoint_at(ch, place);
    struct candidate *c = &e->candidate;
    const uint32_t *group_of = ch->to->group_of + ch->to->first_group[place];
    uint32_t count = ch->to->first_group[place + 1] - ch->to->first_group[place];
    if (count <= 1 || e->next_placements) {
        if (c->placements != &c->one)
            hg_free(c->placements);
        c->placements = count <= 1 ? &c->one : e->next_placements;
        e->next_placements = NULL;
    }
    for (uint32_t i = 0; i < count; i++)
        add(&c->placements[i], ch->groups[group_of[i]], c, &ch->to->rules,
            worker_random(ch->cluster->worker) / 4294967296.0, now);
    c->placement_count = count;
}

static void take_hostname(struct endpoint_runtime *e) {
    struct cluster_runtime *c = e->cluster;
    if (!e->next_hostname.p)
        return;
    hg_free((char *)(uintptr_t)e->hostname.p);
    e->hostname = e->next_hostname;
    e->next_hostname = (struct str){NULL, 0};
    if (c->options.tls && e->connections) /* another name was verified */
        c->epoch++;
}

/* The worker may have looked at ejections after this one began, when it did not know the endpoint yet. */
static void note_end_of_ejection(struct cluster_runtime *c, const struct endpoint_runtime *e) {
    uint64_t until = atomic_load_explicit(&e->shared->ejected_until, memory_order_relaxed);
    if (until > c->worker->now && until < c->next_look)
        c->next_look = until;
}

/* One that came to a cluster at work begins slowly; those of a cluster that is new are all the same. */
static void update(const struct change *ch, uint32_t place) {
    const struct endpoint_definition *d = &ch->to->endpoints[place];
    struct endpoint_runtime *e = endpoint_at(ch, place);
    struct candidate *c = &e->candidate;
    take_hostname(e);
    note_end_of_ejection(ch->cluster, e);
    c->weight = d->weight;
    c->step = d->weight ? 1.0 / d->weight : 0;
    c->is_usable = d->is_usable;
    c->is_draining = d->is_draining;
    if (ch->cluster->filling.is_beginning && e->is_new)
        c->was_available = true;
    e->is_new = false;
}

static void retire(struct cluster_runtime *c, struct endpoint_runtime *e) {
    c->gone++;
    outliers_leave(e, !c->is_passing); /* whatever is made for an older exchange says nothing of the newest definition */
    e->is_retired = true;
    e->candidate.is_usable = false;
    e->connections++; /* closing the last one would free it */
    pool_close_idle(e);
    e->connections--;
    endpoint_forget_if_unused(e);
}

static void free_groups(struct cluster_runtime *c, struct group *const *kept, uint32_t kept_count) {
    for (uint32_t i = 0, k = 0; i < c->group_count; i++) {
        while (k < kept_count && compare(kept[k]->definition, c->groups[i]->definition) < 0)
            k++;
        if (k < kept_count && kept[k] == c->groups[i])
            continue;
        group_finish(c->groups[i]);
        hg_free(c->groups[i]);
    }
}

static void move_groups(struct change *ch) {
    for (uint32_t i = 0; i < ch->to->group_count; i++) {
        struct group *g = ch->groups[i];
        g->definition = &ch->to->groups[i];
        g->candidates = ch->endpoints;
        g->first = 0;
    }
}

/* In each of its groups. */
static void count_missing(const struct cluster_members *m, uint32_t place, struct group *const *groups, int by) {
    const struct endpoint_definition *d = &m->endpoints[place];
    for (uint32_t i = m->first_group[place]; i < m->first_group[place + 1]; i++)
        group_count_missing(groups[m->group_of[i]], !d->is_draining, d->is_usable, d->weight, by);
}

static void attach_changed(struct change *ch, uint64_t now) {
    for (uint32_t i = 0; i < ch->changed_count; i++) {
        uint32_t place = ch->changed[i];
        struct candidate *e = ch->endpoints[place];
        if (!e) {
            count_missing(ch->to, place, ch->groups, 1);
            continue;
        }
        bool is_out = e->placement_count == 0;
        update(ch, place);
        candidate_recount(e, &ch->to->rules, now);
        if (is_out)
            attach(ch, place, now, placement_add);
    }
}

/* Those that are not there, and will not be counted as they were. */
static void uncount_changed(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    for (uint32_t i = 0; ch->follows && i < ch->removed_count; i++)
        if (!c->endpoints[ch->removed[i]])
            count_missing(c->members, ch->removed[i], c->groups, -1);
    for (uint32_t i = 0; ch->follows && i < ch->changed_count; i++) {
        uint32_t before = ch->to->previous[ch->changed[i]];
        if (before != NO_PLACE && !c->endpoints[before])
            count_missing(c->members, before, c->groups, -1);
    }
    for (uint32_t i = 0; !ch->follows && i < c->endpoint_count; i++)
        if (!c->endpoints[i])
            count_missing(c->members, i, c->groups, -1);
}

static void detach_changed(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    if (c->filling.missing)
        uncount_changed(ch);
    for (uint32_t i = 0; i < ch->removed_count; i++)
        if (c->endpoints[ch->removed[i]])
            detach(c->endpoints[ch->removed[i]], &c->members->rules);
    for (uint32_t i = 0; i < ch->changed_count; i++)
        if (ch->endpoints[ch->changed[i]] && !is_in_same_groups(ch, ch->changed[i]) && c->members)
            detach(ch->endpoints[ch->changed[i]], &c->members->rules);
}

static void carry_out(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    struct candidate **old = c->endpoints;
    c->filling.is_beginning |= !c->members;
    detach_changed(ch);
    for (uint32_t i = 0; i < ch->to->group_count; i++)
        if (!ch->groups[i]->definition)
            ch->groups[i]->definition = &ch->to->groups[i];
    for (uint32_t i = 0; ch->are_all_missing && i < ch->to->group_count; i++)
        group_count_all_missing(ch->groups[i], &ch->to->groups[i]);
    free_groups(c, ch->groups, ch->to->group_count);
    move_groups(ch);
    attach_changed(ch, c->worker->now);
    hg_free(c->groups);
    hg_free(c->sets);
    hg_free(c->shares);
    c->endpoints = ch->endpoints;
    c->endpoint_count = ch->to->count;
    c->groups = ch->groups;
    c->group_count = ch->to->group_count;
    c->sets = ch->sets;
    c->set_count = ch->set_count;
    c->shares = ch->shares;
    c->has_changes = true;
    c->plain = NULL;
    for (uint32_t i = 0; i < c->group_count; i++)
        c->groups[i]->has_changed = true;
    cluster_members_unref(c->members);
    c->members = cluster_members_ref(ch->to);
    for (uint32_t i = 0; i < ch->removed_count; i++)
        if (old[ch->removed[i]])
            retire(c, (struct endpoint_runtime *)old[ch->removed[i]]);
    hg_free(old);
    hg_free(ch->own);
    c->filling.missing = ch->missing;
    filling_begin(c);
}

struct candidate *cluster_make_endpoint(struct cluster_runtime *c, uint32_t place) {
    struct change ch = {.cluster = c, .to = c->members, .endpoints = c->endpoints, .groups = c->groups};
    if (prepare_endpoint(&ch, place) < 0) {
        if (c->endpoints[place])
            forget_prepared(endpoint_at(&ch, place));
        c->endpoints[place] = NULL;
        return NULL;
    }
    struct candidate *e = c->endpoints[place];
    update(&ch, place);
    candidate_recount(e, &ch.to->rules, c->worker->now);
    attach(&ch, place, c->worker->now, placement_add_counted);
    candidate_recount(e, &ch.to->rules, c->worker->now); /* it may be ejected, which the definition does not know */
    c->filling.missing--;
    return e;
}

int cluster_reconcile_members(struct cluster_runtime *c, struct cluster_members *to) {
    struct change ch = {.cluster = c, .to = to};
    if (prepare(&ch) < 0) {
        undo(&ch);
        return -1;
    }
    carry_out(&ch);
    return 0;
}

void cluster_retire_all(struct cluster_runtime *c) {
    struct candidate **old = c->endpoints;
    uint32_t count = c->endpoint_count;
    filling_stop(c);
    for (uint32_t i = 0; i < count; i++)
        if (old[i])
            detach(old[i], &c->members->rules);
    free_groups(c, NULL, 0);
    hg_free(c->groups);
    hg_free(c->sets);
    hg_free(c->shares);
    c->plain = NULL;
    c->groups = NULL;
    c->sets = NULL;
    c->shares = NULL;
    c->endpoints = NULL;
    c->endpoint_count = c->group_count = c->set_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (old[i])
            retire(c, (struct endpoint_runtime *)old[i]);
    hg_free(old);
}
