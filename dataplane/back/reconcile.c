/* reconcile.c — from one list of a cluster's endpoints to the next. What needs memory is prepared first, so that a change
 * happens as a whole or not at all. Of endpoints that have not changed only the pointers are copied: pools, turns,
 * latencies and ejections stay.
 *
 * Where very many change, none is looked at here. The new list and its groups begin as if nobody were there yet; each
 * endpoint is taken over when a choice falls on it or its turn comes (filling.c), and those that are left over are retired
 * some at a time (leaving.c). */
#include "common/alloc.h"
#include "common/map.h"
#include "dataplane/back/reconcile.h"

/* On the way from c->members to `to`. */
struct change {
    struct cluster_runtime *cluster;
    struct cluster_members *to;
    struct endpoint_list   *list, *earlier; /* by place in `to` */
    const uint32_t         *previous;      /* by place in `to`: the place in c->list, or NO_PLACE */
    const uint32_t         *changed;       /* places in `to` */
    const uint32_t         *removed;       /* places in c->list */
    uint32_t                changed_count, removed_count;
    uint32_t               *own;           /* `previous` or `changed`, when they are not those of `to` */
    struct group          **groups;
    struct group_set       *sets;
    uint32_t                set_count;
    struct share           *shares;
    bool                    is_large;      /* all are missing at first */
    uint32_t                missing;       /* endpoints that are made, or taken over, later */
};

enum { COUNTED_AT_ONCE = 16384 };

static struct endpoint_runtime *endpoint_at(const struct change *ch, uint32_t place) {
    return (struct endpoint_runtime *)ch->list->at[place];
}

/* ---- preparing ---- */

static struct endpoint_list *make_list(uint32_t count) {
    struct endpoint_list *list = hg_calloc(1, sizeof *list + count * sizeof *list->at);
    if (list)
        list->count = count;
    return list;
}

/* Those that have changed or are new; of very many new ones none. */
static int prepare_endpoints(struct change *ch) {
    bool makes_later = ch->cluster->filling.missing || ch->missing > CHANGED_AT_ONCE;
    for (uint32_t i = 0; i < ch->changed_count; i++) {
        uint32_t place = ch->changed[i];
        bool is_missing = !ch->list->at[place];
        if (is_missing && makes_later)
            continue;
        struct endpoint_runtime *e = endpoint_at(ch, place);
        if (is_missing)
            e = endpoint_make(ch->cluster, &ch->to->endpoints[place]);
        if (!e)
            return -1;
        ch->list->at[place] = &e->candidate;
        ch->missing -= is_missing;
        if (endpoint_prepare(e, ch->to, place, false) < 0)
            return -1;
    }
    return 0;
}

/* ---- what has changed ---- */

static void copy_list(struct endpoint_list *to, const struct endpoint_list *from, const uint32_t *previous) {
    for (uint32_t i = 0; from && i < to->count; i++)
        to->at[i] = previous[i] == NO_PLACE ? NULL : from->at[previous[i]];
}

/* A cluster that is new here has everything to make, of very many later. */
static int find_all(struct change *ch) {
    uint32_t count = ch->missing = ch->to->count;
    ch->is_large = count > CHANGED_AT_ONCE;
    if (ch->is_large)
        return 0;
    ch->own = hg_malloc((count + 1) * sizeof *ch->own);
    if (!ch->own)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        ch->own[i] = i;
    ch->changed = ch->own;
    ch->changed_count = count;
    return 0;
}

/* New ones are made later in any case; here they are counted, which is a little, too. */
static bool changes_many(const struct cluster_members *to) {
    uint32_t changed = to->removed_count, new = 0;
    for (uint32_t i = 0; i < to->changed_count && changed <= CHANGED_AT_ONCE && new <= COUNTED_AT_ONCE; i++) {
        bool is_new = to->previous[to->changed[i]] == NO_PLACE;
        changed += !is_new;
        new += is_new;
    }
    return changed > CHANGED_AT_ONCE || new > COUNTED_AT_ONCE;
}

/* Where `to` follows right after what is there, it says what has changed. */
static void find_changes(struct change *ch) {
    const struct cluster_runtime *c = ch->cluster;
    const struct cluster_members *to = ch->to;
    ch->previous = to->previous;
    ch->is_large = changes_many(to) || (c->earlier && c->rules.kind != to->rules.kind); /* turns mean something else */
    if (ch->is_large)
        return;
    copy_list(ch->list, c->list, to->previous);
    for (uint32_t i = 0; i < to->count; i++)
        ch->missing += !ch->list->at[i];
    ch->changed = to->changed;
    ch->changed_count = to->changed_count;
    ch->removed = to->removed;
    ch->removed_count = to->removed_count;
}

/* One whose address was gone for a while is another one, as for workers that have seen that: what is under way at the one
 * before is counted in what that shares. */
static uint32_t find_same(const struct cluster_runtime *c, const struct map *by_text, const struct endpoint_definition *d) {
    struct candidate **at = map_get(by_text, d->text);
    uint32_t place = at ? (uint32_t)(at - c->endpoints) : NO_PLACE;
    return at && cluster_endpoint_at(c, place)->shared == d->shared ? place : NO_PLACE;
}

/* Otherwise everything is looked up by address. */
static int look_up_all(struct change *ch) {
    const struct cluster_runtime *c = ch->cluster;
    struct map by_text = {0};
    int status = 0;
    ch->is_large = true;
    ch->own = hg_malloc((ch->to->count + 1) * sizeof *ch->own);
    for (uint32_t i = 0; i < c->endpoint_count && status == 0; i++) {
        const struct endpoint_runtime *e = cluster_endpoint_at(c, i);
        if (e)
            status = map_set(&by_text, str_of(e->text), &c->endpoints[i]);
    }
    for (uint32_t i = 0; ch->own && status == 0 && i < ch->to->count; i++)
        ch->own[i] = find_same(c, &by_text, &ch->to->endpoints[i]);
    map_finish(&by_text);
    ch->previous = ch->own;
    return ch->own ? status : -1;
}

static int find_what_changes(struct change *ch) {
    const struct cluster_runtime *c = ch->cluster;
    if (!c->members)
        return find_all(ch);
    if (ch->to->previous_serial != c->members->serial)
        return look_up_all(ch);
    find_changes(ch);
    return 0;
}

/* ---- groups ---- */

static int compare(const struct group_definition *a, const struct group_definition *b) {
    if (a->subset != b->subset)
        return a->subset < b->subset ? -1 : 1;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return a->is_remote - b->is_remote;
}

/* The group of the same subset, priority and zone. Both lists are in order; *at moves on. */
static struct group *group_before(const struct cluster_runtime *c, const struct group_definition *d, uint32_t *at) {
    while (*at < c->group_count && compare(c->groups[*at]->definition, d) < 0)
        ++*at;
    return *at < c->group_count && compare(c->groups[*at]->definition, d) == 0 ? c->groups[*at] : NULL;
}

/* The same group goes on, or in a large change another one follows it. */
static int prepare_groups(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    for (uint32_t i = 0, old = 0; i < ch->to->group_count; i++) {
        const struct group_definition *d = &ch->to->groups[i];
        struct group *g = ch->is_large ? NULL : group_before(c, d, &old);
        ch->groups[i] = g = g ? g : hg_calloc(1, sizeof *g);
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
    const struct cluster_members *to = ch->to;
    ch->list = make_list(to->count);
    ch->groups = hg_calloc((size_t)to->group_count + 1, sizeof(struct group *));
    ch->sets = hg_calloc((size_t)to->group_count + 1, sizeof *ch->sets);
    ch->shares = hg_calloc((size_t)to->group_count + 1, sizeof *ch->shares);
    if (!ch->list || !ch->groups || !ch->sets || !ch->shares || find_what_changes(ch) < 0)
        return -1;
    if ((c->earlier || (ch->is_large && c->members)) && !(ch->earlier = make_list(to->count)))
        return -1;
    if (prepare_endpoints(ch) < 0)
        return -1;
    prepare_sets(ch);
    return prepare_groups(ch);
}

/* ---- giving up ---- */

static bool is_in_use(const struct cluster_runtime *c, const struct group *g) {
    for (uint32_t i = 0; i < c->group_count; i++)
        if (c->groups[i] == g)
            return true;
    return false;
}

static void undo(struct change *ch) {
    for (uint32_t i = 0; i < ch->changed_count; i++)
        if (ch->list->at[ch->changed[i]])
            endpoint_forget_prepared(endpoint_at(ch, ch->changed[i]));
    for (uint32_t i = 0; ch->groups && i < ch->to->group_count; i++)
        if (ch->groups[i] && !is_in_use(ch->cluster, ch->groups[i])) {
            group_finish(ch->groups[i]);
            hg_free(ch->groups[i]);
        }
    hg_free(ch->list);
    hg_free(ch->earlier);
    hg_free(ch->groups);
    hg_free(ch->sets);
    hg_free(ch->shares);
    hg_free(ch->own);
}

/* ---- carrying out; needs no memory ---- */

static bool is_in_same_groups(const struct change *ch, uint32_t place) {
    const struct candidate *e = ch->list->at[place];
    const uint32_t *group_of = ch->to->group_of + ch->to->first_group[place];
    uint32_t count = ch->to->first_group[place + 1] - ch->to->first_group[place];
    const struct cluster_members *from = ch->cluster->members;
    bool is_same = from && from->rules.kind == ch->to->rules.kind && e->placement_count == count;
    for (uint32_t i = 0; is_same && i < count; i++)
        is_same = e->placements[i].group == ch->groups[group_of[i]];
    return is_same;
}

/* All but those that go on. */
static void leave_groups(struct cluster_runtime *c, struct group *const *kept, uint32_t kept_count) {
    for (uint32_t i = 0, k = 0; i < c->group_count; i++) {
        while (k < kept_count && compare(kept[k]->definition, c->groups[i]->definition) < 0)
            k++;
        if (k == kept_count || kept[k] != c->groups[i])
            group_leave(c->groups[i]);
    }
}

static void move_groups(struct change *ch) {
    for (uint32_t i = 0; i < ch->to->group_count; i++) {
        struct group *g = ch->groups[i];
        g->definition = &ch->to->groups[i];
        g->candidates = ch->list->at;
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
        struct candidate *e = ch->list->at[place];
        if (!e) {
            count_missing(ch->to, place, ch->groups, 1);
            continue;
        }
        bool is_out = e->placement_count == 0;
        endpoint_update(endpoint_at(ch, place), &ch->to->endpoints[place]);
        candidate_recount(e, &ch->to->rules, now);
        if (is_out)
            endpoint_attach(endpoint_at(ch, place), ch->to, place, ch->groups);
    }
}

/* Those that are not there, and will not be counted as they were. */
static void uncount_changed(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    for (uint32_t i = 0; i < ch->removed_count; i++)
        if (!c->endpoints[ch->removed[i]])
            count_missing(c->members, ch->removed[i], c->groups, -1);
    for (uint32_t i = 0; i < ch->changed_count; i++) {
        uint32_t before = ch->to->previous[ch->changed[i]];
        if (before != NO_PLACE && !c->endpoints[before])
            count_missing(c->members, before, c->groups, -1);
    }
}

static void detach_changed(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    if (c->filling.missing)
        uncount_changed(ch);
    for (uint32_t i = 0; i < ch->removed_count; i++)
        if (c->endpoints[ch->removed[i]])
            endpoint_detach((struct endpoint_runtime *)c->endpoints[ch->removed[i]]);
    for (uint32_t i = 0; i < ch->changed_count; i++)
        if (ch->list->at[ch->changed[i]] && !is_in_same_groups(ch, ch->changed[i]) && c->members)
            endpoint_detach(endpoint_at(ch, ch->changed[i]));
}

/* Few have changed. */
static void change_few(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    if (c->earlier)
        copy_list(ch->earlier, c->earlier, ch->previous);
    detach_changed(ch);
    for (uint32_t i = 0; i < ch->to->group_count; i++)
        if (!ch->groups[i]->definition)
            ch->groups[i]->definition = &ch->to->groups[i];
    leave_groups(c, ch->groups, ch->to->group_count);
    move_groups(ch);
    attach_changed(ch, c->worker->now);
}

static struct candidate *take(struct endpoint_list *list, uint32_t place) {
    struct candidate *e = list ? list->at[place] : NULL;
    if (e)
        list->at[place] = NULL;
    return e;
}

static void retire_removed(const struct change *ch, struct endpoint_list *list, struct endpoint_list *earlier) {
    for (uint32_t i = 0; i < ch->removed_count; i++) {
        struct candidate *e = take(list, ch->removed[i]);
        e = e ? e : take(earlier, ch->removed[i]);
        if (e)
            endpoint_retire((struct endpoint_runtime *)e);
    }
}

static void follow_groups(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    for (uint32_t i = 0, old = 0; i < ch->to->group_count; i++) {
        struct group *before = group_before(c, &ch->to->groups[i], &old);
        if (before)
            group_follow(ch->groups[i], before, c->rules.kind == ch->to->rules.kind);
        group_count_all_missing(ch->groups[i], &ch->to->groups[i]);
    }
}

/* What is left in the lists afterwards leaves. */
static void change_many(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    for (uint32_t i = 0; ch->earlier && i < ch->to->count; i++) {
        uint32_t place = ch->previous[i];
        struct candidate *e = place == NO_PLACE ? NULL : take(c->list, place);
        ch->earlier->at[i] = e || place == NO_PLACE ? e : take(c->earlier, place);
    }
    ch->missing = ch->to->count;
    follow_groups(ch);
    move_groups(ch); /* before the old ones leave: with its definition a group stays when its predecessor goes */
    leave_groups(c, NULL, 0);
}

static void free_groups(struct cluster_runtime *c) {
    hg_free(c->groups);
    hg_free(c->sets);
    hg_free(c->shares);
    c->plain = NULL;
}

static void take_members(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    free_groups(c);
    c->list = ch->list;
    c->earlier = ch->earlier;
    c->endpoints = ch->list->at;
    c->endpoint_count = ch->to->count;
    c->groups = ch->groups;
    c->group_count = ch->to->group_count;
    c->sets = ch->sets;
    c->set_count = ch->set_count;
    c->shares = ch->shares;
    c->has_changes = true;
    for (uint32_t i = 0; i < c->group_count; i++)
        c->groups[i]->has_changed = true;
    cluster_members_unref(c->members);
    c->members = cluster_members_ref(ch->to);
    c->rules = ch->to->rules;
    c->filling.missing = ch->missing;
}

/* Few that very many have come to are there at once. Without memory they are taken over later. */
static void take_over_few(struct cluster_runtime *c) {
    for (uint32_t i = 0; c->earlier && i < c->endpoint_count; i++)
        if (c->earlier->at[i])
            cluster_make_endpoint(c, i);
}

static void carry_out(struct change *ch) {
    struct cluster_runtime *c = ch->cluster;
    uint32_t count = c->endpoint_count;
    struct endpoint_list *list = c->list, *earlier = c->earlier;
    c->filling.is_beginning |= !c->members;
    (ch->is_large ? change_many : change_few)(ch);
    take_members(ch);
    if (ch->is_large) {
        leaving_add(c, list);
        leaving_add(c, earlier);
        if (count <= CHANGED_AT_ONCE)
            take_over_few(c);
    } else {
        retire_removed(ch, list, earlier);
        hg_free(list);
        hg_free(earlier);
    }
    hg_free(ch->own);
    rounds_follow_change(c);
    filling_begin(c);
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
    bool is_large = c->endpoint_count > CHANGED_AT_ONCE || c->leaving;
    filling_stop(c);
    rounds_stop(c);
    leave_groups(c, NULL, 0);
    free_groups(c);
    leaving_add(c, c->list);
    leaving_add(c, c->earlier);
    c->list = c->earlier = NULL;
    c->endpoints = NULL;
    c->groups = NULL;
    c->sets = NULL;
    c->shares = NULL;
    c->endpoint_count = c->group_count = c->set_count = 0;
    cluster_members_unref(c->members);
    c->members = NULL;
    leaving_go_on(c, is_large ? 1 : UINT32_MAX);
    backlog_add(c);
}
