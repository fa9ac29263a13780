#include "proto/shared_list.h"

#include "common/alloc.h"

/* ---- groups ---- */

static void group_unref(const struct shared_ops *ops, struct shared_group *g) {
    if (--g->references > 0)
        return;
    for (size_t i = 0; i < g->count; i++)
        ops->unref(g->items[i]);
    hg_free(g);
}

static int hash_items(const struct shared_ops *ops, void *const *items, size_t count, struct resource_id *ret) {
    struct entry_hasher hasher;
    int status = entry_hasher_begin(&hasher);
    for (size_t i = 0; i < count && status == 0; i++) {
        struct entry_key key = ops->key(items[i]);
        status = entry_hasher_add(&hasher, &key);
    }
    return entry_hasher_end(&hasher, ret) < 0 ? -1 : status;
}

static struct shared_group *group_create(const struct shared_ops *ops, void *const *items, size_t count) {
    struct shared_group *g = hg_malloc(sizeof *g + count * sizeof *items);
    if (!g)
        return NULL;
    g->references = 1;
    g->count = count;
    memcpy(g->items, items, count * sizeof *items);
    if (hash_items(ops, items, count, &g->hash) < 0) {
        hg_free(g);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        ops->ref(items[i]);
    return g;
}

static struct entry_key first_key(const struct shared_list *list, size_t group) {
    return list->ops->key(list->groups[group]->items[0]);
}

/* ---- making a list ----
 * Items that are not in a group yet are borrowed: they are those of the list before, and of the changes. */

struct maker {
    struct shared_list to;
    void             **open;    /* the group that is being made */
    size_t             open_count, open_capacity;
};

static int add_group(struct maker *m, struct shared_group *g) {
    struct shared_list *to = &m->to;
    if (hg_grow(&to->groups, &to->group_capacity, to->group_count + 1, sizeof *to->groups) < 0)
        return -1;
    to->groups[to->group_count++] = g;
    to->count += g->count;
    return 0;
}

static int close_group(struct maker *m) {
    if (m->open_count == 0)
        return 0;
    struct shared_group *g = group_create(m->to.ops, m->open, m->open_count);
    if (!g || add_group(m, g) < 0) {
        if (g)
            group_unref(m->to.ops, g);
        return -1;
    }
    m->open_count = 0;
    return 0;
}

static int open_items(struct maker *m, void *const *items, size_t count) {
    if (hg_grow(&m->open, &m->open_capacity, m->open_count + count, sizeof *m->open) < 0)
        return -1;
    memcpy(m->open + m->open_count, items, count * sizeof *items);
    m->open_count += count;
    return 0;
}

/* What comes next belongs to the group that was the last. */
static int reopen_last(struct maker *m) {
    struct shared_list *to = &m->to;
    struct shared_group *g = to->groups[to->group_count - 1];
    if (open_items(m, g->items, g->count) < 0)
        return -1;
    to->group_count--;
    to->count -= g->count;
    group_unref(to->ops, g);
    return 0;
}

static int add_item(struct maker *m, void *item) {
    struct entry_key key = m->to.ops->key(item);
    int status = 0;
    if (entry_begins_group(&key))
        status = close_group(m);
    else if (m->open_count == 0 && m->to.group_count > 0)
        status = reopen_last(m);
    return status < 0 ? -1 : open_items(m, &item, 1);
}

/* It begins with an item that begins a group, or is the first of all: what is to come before that is a change of it. */
static int share_group(struct maker *m, struct shared_group *g) {
    if (close_group(m) < 0 || add_group(m, g) < 0)
        return -1;
    g->references++;
    return 0;
}

/* ---- from one list to the next ---- */

static int merge_group(struct maker *m, const struct shared_group *g, const struct shared_change *changes,
                       size_t count) {
    size_t i = 0, j = 0;
    int status = 0;
    while (status == 0 && (i < g->count || j < count)) {
        struct entry_key key = i < g->count ? m->to.ops->key(g->items[i]) : (struct entry_key){0};
        int order = i == g->count ? 1 : j == count ? -1 : entry_key_compare(&key, &changes[j].key);
        if (order < 0)
            status = add_item(m, g->items[i]);
        else if (changes[j].item)
            status = add_item(m, changes[j].item);
        i += order <= 0;
        j += order >= 0;
    }
    return status;
}

/* The group that has that key or would take it, from `first` on. */
static size_t find_group(const struct shared_list *list, size_t first, const struct entry_key *key) {
    size_t low = first, high = list->group_count - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        struct entry_key begins = first_key(list, middle);
        if (entry_key_compare(&begins, key) <= 0)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* How many of the changes come before the group after `group`. */
static size_t count_of_group(const struct shared_list *list, size_t group, const struct shared_change *changes,
                             size_t count) {
    size_t n = 1;
    if (group + 1 == list->group_count)
        return count;
    struct entry_key end = first_key(list, group + 1);
    while (n < count && entry_key_compare(&changes[n].key, &end) < 0)
        n++;
    return n;
}

static int share_up_to(struct maker *m, const struct shared_list *from, size_t first, size_t end) {
    int status = 0;
    for (; first < end && status == 0; first++)
        status = share_group(m, from->groups[first]);
    return status;
}

static int make(struct maker *m, const struct shared_list *from, const struct shared_change *changes, size_t count) {
    size_t shared = 0, done = 0;
    while (from->group_count > shared && done < count) {
        size_t group = find_group(from, shared, &changes[done].key);
        size_t n = count_of_group(from, group, changes + done, count - done);
        if (share_up_to(m, from, shared, group) < 0 || merge_group(m, from->groups[group], changes + done, n) < 0)
            return -1;
        shared = group + 1;
        done += n;
    }
    if (share_up_to(m, from, shared, from->group_count) < 0)
        return -1;
    for (; done < count; done++)
        if (changes[done].item && add_item(m, changes[done].item) < 0)
            return -1;
    return close_group(m);
}

static bool is_in_order(const struct shared_change *changes, size_t count) {
    for (size_t i = 1; i < count; i++)
        if (entry_key_compare(&changes[i - 1].key, &changes[i].key) >= 0)
            return false;
    return true;
}

static int hash_groups(struct shared_list *list) {
    struct resource_id *hashes = hg_malloc((list->group_count + 1) * sizeof *hashes);
    if (!hashes)
        return -1;
    for (size_t i = 0; i < list->group_count; i++)
        hashes[i] = list->groups[i]->hash;
    int status = resource_id_of(hashes, list->group_count * sizeof *hashes, &list->hash);
    hg_free(hashes);
    return status;
}

int shared_list_change(const struct shared_list *from, const struct shared_ops *ops, const struct shared_change *changes,
                       size_t count, struct shared_list *ret) {
    struct maker m = {.to.ops = ops};
    int status = is_in_order(changes, count) ? make(&m, from, changes, count) : -1;
    hg_free(m.open);
    if (status < 0 || hash_groups(&m.to) < 0) {
        shared_list_finish(&m.to);
        return -1;
    }
    *ret = m.to;
    return 0;
}

void shared_list_finish(struct shared_list *list) {
    for (size_t i = 0; i < list->group_count; i++)
        group_unref(list->ops, list->groups[i]);
    hg_free(list->groups);
    *list = (struct shared_list){0};
}
