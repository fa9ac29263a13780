#include "dataplane/back/members.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/map.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t last_serial;     /* main thread */

struct cluster_members *cluster_members_create(uint32_t count) {
    struct cluster_members *m = hg_calloc(1, sizeof *m);
    if (!m)
        return NULL;
    atomic_init(&m->references, 1);
    m->serial = ++last_serial;
    m->count = count;
    m->endpoints = arena_calloc(&m->arena, count, sizeof *m->endpoints);
    if (m->endpoints)
        return m;
    cluster_members_unref(m);
    return NULL;
}

struct cluster_members *cluster_members_ref(struct cluster_members *m) {
    atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed);
    return m;
}

void cluster_members_unref(struct cluster_members *m) {
    if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; m->endpoints && i < m->count; i++)
        endpoint_shared_unref(m->endpoints[i].shared);
    for (uint32_t i = 0; i < m->group_count; i++)
        balance_table_unref(m->groups[i].table);
    arena_finish(&m->arena);
    hg_free(m);
}

/* ---- subsets ---- */

static uint64_t add_to_subset(uint64_t hash, const struct metadata *m) {
    hash = XXH3_64bits_withSeed(m->key.p, m->key.n, hash);
    return XXH3_64bits_withSeed(m->value.p, m->value.n, hash);
}

uint64_t cluster_subset(const struct metadata *entries, uint32_t count) {
    uint64_t hash = count;
    for (uint32_t i = 0; i < count; i++)
        hash = add_to_subset(hash, &entries[i]);
    return hash ? hash : 1;
}

static const struct metadata *find_metadata(const struct endpoint_definition *e, struct str key) {
    for (uint32_t i = 0; i < e->metadata_count; i++)
        if (str_eq(e->metadata[i].key, key))
            return &e->metadata[i];
    return NULL;
}

/* The subset of this selector that the endpoint is in; 0: it lacks a key. */
static uint64_t subset_of(const struct endpoint_definition *e, const struct subset_selector *s) {
    uint64_t hash = s->count;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct metadata *m = find_metadata(e, s->keys[i]);
        if (!m)
            return 0;
        hash = add_to_subset(hash, m);
    }
    return hash ? hash : 1;
}

/* ---- groups ---- */

struct seat {                    /* an endpoint in a group */
    uint64_t subset;
    uint32_t level;              /* priority and zone */
    uint32_t place;
};

static int by_group(const void *a, const void *b) {
    const struct seat *x = a, *y = b;
    if (x->subset != y->subset)
        return x->subset < y->subset ? -1 : 1;
    if (x->level != y->level)
        return x->level < y->level ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static bool is_same_group(const struct seat *a, const struct seat *b) {
    return a->subset == b->subset && a->level == b->level;
}

/* One for all endpoints, and one for each selector. Returns how many; in order. */
static uint32_t take_seats(const struct cluster_members *m, struct seat *seats) {
    uint32_t n = 0;
    bool is_sorted = true;
    for (uint32_t s = 0; s <= m->selector_count; s++)
        for (uint32_t i = 0; i < m->count; i++) {
            const struct endpoint_definition *e = &m->endpoints[i];
            uint64_t subset = s ? subset_of(e, &m->selectors[s - 1]) : 0;
            if (e->weight == 0 || (s && !subset))
                continue;
            seats[n] = (struct seat){subset, e->priority * 2u + e->is_remote, i};
            is_sorted = is_sorted && (n == 0 || by_group(&seats[n - 1], &seats[n]) < 0);
            n++;
        }
    if (!is_sorted)
        qsort(seats, n, sizeof *seats, by_group);
    return n;
}

static int compare_groups(const struct group_definition *a, const struct group_definition *b) {
    if (a->subset != b->subset)
        return a->subset < b->subset ? -1 : 1;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return a->is_remote - b->is_remote;
}

/* The table of the same group before. Both lists are in order; *at moves on. */
static struct balance_table *table_before(const struct cluster_members *previous, const struct group_definition *g,
                                          uint32_t *at) {
    while (previous && *at < previous->group_count && compare_groups(&previous->groups[*at], g) < 0)
        ++*at;
    bool is_there = previous && *at < previous->group_count && compare_groups(&previous->groups[*at], g) == 0;
    return is_there ? previous->groups[*at].table : NULL;
}

static int make_table(struct cluster_members *m, struct group_definition *g, struct balance_table *before) {
    struct balance_member *members = hg_malloc((g->count + 1) * sizeof *members);
    if (!members)
        return -1;
    for (uint32_t i = 0; i < g->count; i++) {
        const struct endpoint_definition *e = &m->endpoints[g->members[i]];
        members[i] = (struct balance_member){e->text, e->weight};
    }
    int status = balance_table_make(&m->rules, members, g->count, before, &g->table);
    hg_free(members);
    return status;
}

static int fill_group(struct cluster_members *m, struct group_definition *g, const struct seat *seats, uint32_t count) {
    uint32_t *members = arena_alloc(&m->arena, count * sizeof *members);
    if (!members)
        return -1;
    *g = (struct group_definition){.subset = seats->subset, .priority = seats->level / 2, .is_remote = seats->level % 2,
                                   .count = count, .members = members};
    for (uint32_t i = 0; i < count; i++) {
        const struct endpoint_definition *e = &m->endpoints[seats[i].place];
        members[i] = seats[i].place;
        g->weight += e->weight;
        g->eligible += !e->is_draining;
        g->available += e->is_usable;
        g->available_weight += e->is_usable ? e->weight : 0;
    }
    return 0;
}

static int fill_groups(struct cluster_members *m, const struct seat *seats, uint32_t count,
                       const struct cluster_members *previous) {
    uint32_t groups = 0, before = 0;
    for (uint32_t i = 0; i < count; i++)
        groups += i == 0 || !is_same_group(&seats[i - 1], &seats[i]);
    struct group_definition *g = arena_calloc(&m->arena, groups, sizeof *g);
    m->groups = g;
    if (!g)
        return -1;
    for (uint32_t at = 0, end; at < count; at = end, g++) {
        for (end = at + 1; end < count && is_same_group(&seats[at], &seats[end]);)
            end++;
        if (fill_group(m, g, seats + at, end - at) < 0 || make_table(m, g, table_before(previous, g, &before)) < 0)
            return -1;
        m->group_count++;
        m->table_entries += g->table ? g->table->size : 0;
        if (m->rules.max_table_entries && m->table_entries > m->rules.max_table_entries)
            return -1;
    }
    return 0;
}

/* From places to groups, from the groups' lists of places. */
static int fill_group_lists(struct cluster_members *m, uint32_t seats) {
    uint32_t *first = arena_calloc(&m->arena, m->count + 2, sizeof *first), *group_of;
    group_of = arena_alloc(&m->arena, (seats + 1) * sizeof *group_of);
    if (!first || !group_of)
        return -1;
    for (uint32_t g = 0; g < m->group_count; g++)
        for (uint32_t i = 0; i < m->groups[g].count; i++)
            first[m->groups[g].members[i] + 2]++;
    for (uint32_t i = 2; i < m->count + 2; i++)
        first[i] += first[i - 1];
    for (uint32_t g = 0; g < m->group_count; g++)
        for (uint32_t i = 0; i < m->groups[g].count; i++)
            group_of[first[m->groups[g].members[i] + 1]++] = g;
    m->first_group = first;
    m->group_of = group_of;
    return 0;
}

static int make_groups(struct cluster_members *m, const struct cluster_members *previous) {
    struct seat *seats = hg_malloc(((size_t)m->count * (m->selector_count + 1) + 1) * sizeof *seats);
    if (!seats)
        return -1;
    uint32_t count = take_seats(m, seats);
    int status = fill_groups(m, seats, count, previous) < 0 ? -1 : fill_group_lists(m, count);
    hg_free(seats);
    return status;
}

/* ---- what has changed ---- */

static bool is_same_metadata(const struct endpoint_definition *a, const struct endpoint_definition *b) {
    if (a->metadata_count != b->metadata_count)
        return false;
    for (uint32_t i = 0; i < a->metadata_count; i++)
        if (!str_eq(a->metadata[i].key, b->metadata[i].key) || !str_eq(a->metadata[i].value, b->metadata[i].value))
            return false;
    return true;
}

static bool is_same_endpoint(const struct endpoint_definition *a, const struct endpoint_definition *b) {
    return a->weight == b->weight && a->is_usable == b->is_usable && a->is_draining == b->is_draining &&
           a->is_remote == b->is_remote && a->priority == b->priority && a->tls_choice == b->tls_choice &&
           str_eq(a->hostname, b->hostname) && is_same_metadata(a, b);
}

/* Whether an endpoint that has not changed is in the same groups. */
static bool is_same_layout(const struct cluster_members *a, const struct cluster_members *b) {
    if (a->rules.kind != b->rules.kind || a->selector_count != b->selector_count)
        return false;
    for (uint32_t i = 0; i < a->selector_count; i++) {
        const struct subset_selector *x = &a->selectors[i], *y = &b->selectors[i];
        for (uint32_t k = 0; k < x->count && k < y->count; k++)
            if (!str_eq(x->keys[k], y->keys[k]))
                return false;
        if (x->count != y->count)
            return false;
    }
    return true;
}

/* The place that it had, at first behind that of the one before it: where some have left or come, the others stand in the
 * same order. */
static int find_previous(const struct cluster_members *m, const struct cluster_members *previous, struct map *by_text,
                         uint32_t place, uint32_t *ret) {
    struct str text = m->endpoints[place].text;
    uint32_t next = place && m->previous[place - 1] != NO_PLACE ? m->previous[place - 1] + 1 : place;
    for (uint32_t i = 0; i < 2; i++) {
        *ret = next + i;
        if (*ret < previous->count && str_eq(previous->endpoints[*ret].text, text))
            return 0;
    }
    bool is_filled = by_text->count > 0;
    for (uint32_t i = 0; !is_filled && i < previous->count; i++)
        if (map_set(by_text, previous->endpoints[i].text, &previous->endpoints[i]) < 0)
            return -1;
    const struct endpoint_definition *e = map_get(by_text, text);
    *ret = e ? (uint32_t)(e - previous->endpoints) : NO_PLACE;
    return 0;
}

static int note_previous(struct cluster_members *m, const struct cluster_members *previous, uint32_t *places) {
    struct map by_text = {0};
    int status = 0;
    m->previous = places;
    for (uint32_t i = 0; i < m->count && status == 0; i++) {
        places[i] = NO_PLACE;
        if (previous)
            status = find_previous(m, previous, &by_text, i, &places[i]);
    }
    map_finish(&by_text);
    m->previous_serial = previous ? previous->serial : 0;
    return status;
}

static int note_removed(struct cluster_members *m, const struct cluster_members *previous) {
    bool *is_kept = previous ? hg_calloc(previous->count + 1, sizeof *is_kept) : NULL;
    uint32_t kept = 0;
    if (!previous)
        return 0;
    for (uint32_t i = 0; is_kept && i < m->count; i++)
        if (m->previous[i] != NO_PLACE)
            is_kept[m->previous[i]] = true, kept++;
    uint32_t *removed = is_kept ? arena_alloc(&m->arena, (previous->count - kept + 1) * sizeof *removed) : NULL;
    for (uint32_t i = 0; removed && i < previous->count; i++)
        if (!is_kept[i])
            removed[m->removed_count++] = i;
    m->removed = removed;
    hg_free(is_kept);
    return removed ? 0 : -1;
}

static int note_changed(struct cluster_members *m, const struct cluster_members *previous) {
    bool is_same = previous && is_same_layout(m, previous);
    uint32_t *changed = arena_alloc(&m->arena, (m->count + 1) * sizeof *changed);
    if (!changed)
        return -1;
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t before = m->previous[i];
        if (!is_same || before == NO_PLACE || !is_same_endpoint(&m->endpoints[i], &previous->endpoints[before]))
            changed[m->changed_count++] = i;
    }
    m->changed = changed;
    return 0;
}

/* ---- ids ---- */

uint64_t endpoint_id(struct str text) {
    uint64_t id = XXH64(text.p, text.n, 0);
    return id ? id : 1;
}

static int by_id(const void *a, const void *b) {
    const struct endpoint_id *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int make_ids(struct cluster_members *m) {
    struct endpoint_id *ids = m->wants_ids ? arena_alloc(&m->arena, (m->count + 1) * sizeof *ids) : NULL;
    if (!m->wants_ids)
        return 0;
    for (uint32_t i = 0; ids && i < m->count; i++)
        ids[i] = (struct endpoint_id){endpoint_id(m->endpoints[i].text), i};
    if (ids)
        qsort(ids, m->count, sizeof *ids, by_id);
    m->ids = ids;
    return ids ? 0 : -1;
}

uint32_t cluster_find_id(const struct cluster_members *m, uint64_t id) {
    uint32_t low = 0, high = m->ids ? m->count : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->ids[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return m->ids && low < m->count && m->ids[low].id == id ? m->ids[low].place : NO_PLACE;
}

/* ---- the whole ---- */

/* The first of the same address counts. */
static int remove_doubles(struct cluster_members *m) {
    struct map by_text = {0};
    uint32_t n = 0;
    int status = 0;
    for (uint32_t i = 0; i < m->count && status == 0; i++) {
        if (map_get(&by_text, m->endpoints[i].text))
            continue;
        m->endpoints[n] = m->endpoints[i];
        status = map_set(&by_text, m->endpoints[n].text, m);
        n++;
    }
    if (status == 0)
        m->count = n;
    map_finish(&by_text);
    return status;
}

/* What workers share of each address goes on. */
static int share(struct cluster_members *m, const struct cluster_members *previous) {
    for (uint32_t i = 0; i < m->count; i++) {
        struct endpoint_shared *known = m->previous[i] == NO_PLACE ? NULL : previous->endpoints[m->previous[i]].shared;
        m->endpoints[i].shared = known ? endpoint_shared_ref(known) : endpoint_shared_create(m->endpoints[i].text);
        if (!m->endpoints[i].shared)
            return -1;
    }
    return 0;
}

static void note_unwell(struct cluster_members *m) {
    for (uint32_t i = 0; i < m->count; i++) {
        const struct endpoint_definition *e = &m->endpoints[i];
        uint32_t noted = m->unhealthy_count + m->draining_count;
        if (e->is_usable)
            continue;
        if (noted < MEMBERS_UNWELL)
            m->unwell[noted] = i;
        m->draining_count += e->is_draining;
        m->unhealthy_count += !e->is_draining;
    }
}

int cluster_members_complete(struct cluster_members *m, const struct cluster_members *previous) {
    uint32_t *places = arena_alloc(&m->arena, (m->count + 1) * sizeof *places);
    if (!places || remove_doubles(m) < 0 || note_previous(m, previous, places) < 0)
        return -1;
    note_unwell(m);
    if (share(m, previous) < 0 || note_removed(m, previous) < 0 || note_changed(m, previous) < 0)
        return -1;
    return make_ids(m) < 0 ? -1 : make_groups(m, previous);
}
