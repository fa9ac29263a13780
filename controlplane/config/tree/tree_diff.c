#include "common/map.h"
#include "controlplane/config/tree/tree.h"

struct diff {
    const struct tree_diff_sink *sink;
    struct strbuf                path;
    bool                         failed;
};

static void diff_nodes(struct diff *d, const struct tree_node *before, const struct tree_node *after);

static void emit(struct diff *d, const struct tree_node *before, const struct tree_node *after) {
    if (d->path.failed)
        d->failed = true;
    else
        d->sink->change(d->sink->context, strbuf_str(&d->path).p, before, after);
}

/* Goes one step down for what stands at `item` in either tree. */
static void diff_item(struct diff *d, const struct tree_item *item, const struct tree_node *before,
                      const struct tree_node *after) {
    size_t end = d->path.n;
    tree_path_add(&d->path, item);
    diff_nodes(d, before, after);
    if (d->path.p)
        d->path.p[d->path.n = end] = '\0';
}

static bool is_equal(const struct tree_node *a, const struct tree_node *b) {
    if (a->type != b->type || a->count != b->count)
        return false;
    if (a->type == TREE_SCALAR)
        return str_eq(a->text, b->text) && a->is_quoted == b->is_quoted;
    const struct tree_item *i = a->first, *j = b->first;
    while (i && str_eq(i->key, j->key) && is_equal(i->node, j->node))
        i = i->next, j = j->next;
    return !i;
}

/* ---- lists of named items ---- */

/* What an item is called; p == NULL when it has no name. */
static struct str identity(const struct tree_node *item) {
    static const char *const keys[] = {"name", "address"};
    if (item->type == TREE_SCALAR)
        return item->text;
    for (size_t i = 0; item->type == TREE_MAP && i < 2; i++) {
        const struct tree_item *found = tree_find(item, keys[i]);
        if (found && found->node->type == TREE_SCALAR)
            return found->node->text;
    }
    return (struct str){NULL, 0};
}

/* Items by identity. False when some item has none, or two have the same. */
static bool index_items(struct diff *d, const struct tree_node *list, struct map *items) {
    for (struct tree_item *i = list->first; i; i = i->next) {
        struct str key = identity(i->node);
        if (!key.p || map_get(items, key))
            return false;
        if (map_set(items, key, i) < 0) {
            d->failed = true;
            return false;
        }
    }
    return true;
}

static void diff_by_identity(struct diff *d, const struct tree_node *before, const struct tree_node *after,
                             const struct map *old_items, const struct map *new_items) {
    for (const struct tree_item *i = before->first; i; i = i->next)
        if (!map_get(new_items, identity(i->node)))
            diff_item(d, i, i->node, NULL);
    for (const struct tree_item *i = after->first; i; i = i->next) {
        const struct tree_item *old = map_get(old_items, identity(i->node));
        diff_item(d, i, old ? old->node : NULL, i->node);
    }
}

/* Whether the items that both lists have stand in the same order in them. */
static bool is_same_order(const struct tree_node *before, const struct tree_node *after, const struct map *old_items,
                          const struct map *new_items) {
    const struct tree_item *i = before->first, *j = after->first;
    for (;;) {
        while (i && !map_get(new_items, identity(i->node)))
            i = i->next;
        while (j && !map_get(old_items, identity(j->node)))
            j = j->next;
        if (!i || !j)
            return true;
        if (!str_eq(identity(i->node), identity(j->node)))
            return false;
        i = i->next;
        j = j->next;
    }
}

/* ---- lists by position ---- */

/* Equal items at the end, of at most `max`. Lists are linked forwards, so their tails are compared from the positions
 * at which they are equally long. */
static size_t equal_tail(const struct tree_item *i, size_t i_left, const struct tree_item *j, size_t j_left) {
    size_t tail = 0;
    for (; i_left > j_left; i_left--)
        i = i->next;
    for (; j_left > i_left; j_left--)
        j = j->next;
    for (; i_left; i_left--, i = i->next, j = j->next)
        tail = is_equal(i->node, j->node) ? tail + 1 : 0;
    return tail;
}

static void diff_by_position(struct diff *d, const struct tree_node *before, const struct tree_node *after) {
    const struct tree_item *i = before->first, *j = after->first;
    size_t i_left = before->count, j_left = after->count;
    for (; i && j && is_equal(i->node, j->node); i_left--, j_left--)
        i = i->next, j = j->next;
    size_t tail = equal_tail(i, i_left, j, j_left);
    for (; i_left > tail && j_left > tail; i_left--, j_left--, i = i->next, j = j->next)
        diff_item(d, j, i->node, j->node);
    for (; i_left > tail; i_left--, i = i->next)
        diff_item(d, i, i->node, NULL);
    for (; j_left > tail; j_left--, j = j->next)
        diff_item(d, j, NULL, j->node);
}

static void diff_lists(struct diff *d, const struct tree_node *before, const struct tree_node *after) {
    struct map old_items = {0}, new_items = {0};
    bool is_named = index_items(d, before, &old_items) && index_items(d, after, &new_items);
    if (!is_named)
        diff_by_position(d, before, after);
    else if (is_same_order(before, after, &old_items, &new_items))
        diff_by_identity(d, before, after, &old_items, &new_items);
    else
        emit(d, before, after);
    map_finish(&old_items);
    map_finish(&new_items);
}

/* ---- all ---- */

static void diff_maps(struct diff *d, const struct tree_node *before, const struct tree_node *after) {
    for (const struct tree_item *i = before->first; i; i = i->next) {
        const struct tree_item *other = tree_find(after, i->key.p);
        diff_item(d, i, i->node, other ? other->node : NULL);
    }
    for (const struct tree_item *i = after->first; i; i = i->next)
        if (!tree_find(before, i->key.p))
            diff_item(d, i, NULL, i->node);
}

static void diff_nodes(struct diff *d, const struct tree_node *before, const struct tree_node *after) {
    if (!before || !after || before->type != after->type)
        emit(d, before, after);
    else if (before->type == TREE_MAP)
        diff_maps(d, before, after);
    else if (is_equal(before, after))
        return;
    else if (before->type == TREE_LIST)
        diff_lists(d, before, after);
    else
        emit(d, before, after);
}

int tree_diff(const struct tree_node *before, const struct tree_node *after, const struct tree_diff_sink *sink) {
    struct diff d = {.sink = sink};
    diff_nodes(&d, before, after);
    bool failed = d.failed || d.path.failed;
    strbuf_finish(&d.path);
    return failed ? -1 : 0;
}
