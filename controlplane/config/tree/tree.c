#include "controlplane/config/tree/tree.h"

#include "common/map.h"

struct tree_node *tree_create(struct arena *arena, enum tree_type type) {
    struct tree_node *node = arena_calloc(arena, 1, sizeof *node);
    if (node)
        *node = (struct tree_node){.type = type, .weight = 1};
    return node;
}

struct tree_node *tree_create_scalar(struct arena *arena, struct str text, bool is_quoted) {
    struct tree_node *node = tree_create(arena, TREE_SCALAR);
    struct str copy = arena_str(arena, text);
    if (!node || !copy.p)
        return NULL;
    node->text = copy;
    node->is_quoted = is_quoted;
    return node;
}

static struct tree_item *add_item(struct arena *arena, struct tree_node *into, struct tree_node *node) {
    struct tree_item *item = node ? arena_calloc(arena, 1, sizeof *item) : NULL;
    if (!item)
        return NULL;
    item->node = node;
    item->index = into->count++;
    into->weight += node->weight;
    if (into->last)
        into->last->next = item;
    else
        into->first = item;
    into->last = item;
    return item;
}

int tree_append(struct arena *arena, struct tree_node *list, struct tree_node *node) {
    return add_item(arena, list, node) ? 0 : -1;
}

int tree_set(struct arena *arena, struct tree_node *map, const char *key, struct tree_node *node) {
    struct tree_item *item = add_item(arena, map, node);
    if (!item)
        return -1;
    item->key = str_of(key);
    return 0;
}

/* ---- merging ---- */

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "out of memory");
    return -1;
}

static int copy_item(struct arena *arena, struct tree_node *into, const struct tree_item *from) {
    struct tree_item *item = add_item(arena, into, from->node);
    if (!item)
        return -1;
    item->key = from->key;
    item->key_place = from->key_place;
    item->index = from->index;
    return 0;
}

/* A new node with the items of `from`, so that neither source is changed by what is added. */
static struct tree_node *copy_collection(struct arena *arena, const struct tree_node *from) {
    struct tree_node *copy = tree_create(arena, from->type);
    for (const struct tree_item *i = from->first; copy && i; i = i->next)
        if (copy_item(arena, copy, i) < 0)
            return NULL;
    if (copy)
        copy->place = from->place;
    return copy;
}

static int join_lists(struct arena *arena, struct tree_node *into, const struct tree_node *from) {
    for (const struct tree_item *i = from->first; i; i = i->next)
        if (copy_item(arena, into, i) < 0)
            return -1;
    return 0;
}

struct merge {
    struct arena      *arena;
    struct strbuf      path;
    struct error_list *errors;
};

static int report_twice(struct merge *m, const struct tree_item *first, const struct tree_item *again) {
    struct error *e = error_addf(m->errors, ERROR_CONFLICT, "\"%s\" is already set at %s:%u:%u", again->key.p,
                                 first->key_place.file, first->key_place.line, first->key_place.column);
    error_set_place(m->errors, e, again->key_place.file, again->key_place.line, again->key_place.column);
    error_set_resource(m->errors, e, NULL, strbuf_str(&m->path).p);
    return -1;
}

static int merge_maps(struct merge *m, struct tree_node *into, const struct tree_node *from);

static int merge_item(struct merge *m, struct tree_item *into, const struct tree_item *from) {
    if (into->node->type != from->node->type || from->node->type == TREE_SCALAR)
        return report_twice(m, into, from);
    struct tree_node *joined = copy_collection(m->arena, into->node);
    if (!joined)
        return out_of_memory(m->errors);
    into->node = joined;
    if (joined->type == TREE_MAP)
        return merge_maps(m, joined, from->node);
    return join_lists(m->arena, joined, from->node) < 0 ? out_of_memory(m->errors) : 0;
}

static int index_map(const struct tree_node *map, struct map *items) {
    for (struct tree_item *i = map->first; i; i = i->next)
        if (map_set(items, i->key, i) < 0)
            return -1;
    return 0;
}

static int merge_items(struct merge *m, struct tree_node *into, const struct tree_node *from,
                       const struct map *present_items) {
    int status = 0;
    size_t end = m->path.n;
    for (const struct tree_item *i = from->first; i; i = i->next) {
        struct tree_item *present = map_get(present_items, i->key);
        if (!present && copy_item(m->arena, into, i) < 0)
            return out_of_memory(m->errors);
        tree_path_add(&m->path, i);
        if (present)
            status |= merge_item(m, present, i);
        if (m->path.p)
            m->path.p[m->path.n = end] = '\0';
    }
    return status;
}

static int merge_maps(struct merge *m, struct tree_node *into, const struct tree_node *from) {
    struct map present = {0};
    int status = index_map(into, &present) < 0 ? out_of_memory(m->errors) : merge_items(m, into, from, &present);
    map_finish(&present);
    return status;
}

int tree_merge(struct arena *arena, struct tree_node *into, const struct tree_node *from, struct error_list *errors) {
    struct merge m = {.arena = arena, .errors = errors};
    int status = merge_maps(&m, into, from);
    strbuf_finish(&m.path);
    return status;
}

/* ---- asking ---- */

struct tree_item *tree_find(const struct tree_node *map, const char *key) {
    struct str wanted = str_of(key);
    for (struct tree_item *i = map->first; i; i = i->next)
        if (i->key.p && str_eq(i->key, wanted))
            return i;
    return NULL;
}

static bool is_one_of(const struct tree_node *node, const char *const words[], size_t count) {
    for (size_t i = 0; node->type == TREE_SCALAR && i < count; i++)
        if (str_eq(node->text, str_of(words[i])))
            return true;
    return false;
}

bool tree_is_text(const struct tree_node *node) {
    return node->is_quoted && !node->has_variable;
}

bool tree_is_null(const struct tree_node *node) {
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    return !node->is_quoted && is_one_of(node, words, 5);
}

bool tree_is_bool(const struct tree_node *node, bool *ret) {
    static const char *const yes[] = {"true", "True", "TRUE"}, *const no[] = {"false", "False", "FALSE"};
    bool is_true = is_one_of(node, yes, 3);
    if (tree_is_text(node))
        return false;
    if (!is_true && !is_one_of(node, no, 3))
        return false;
    *ret = is_true;
    return true;
}

void tree_quote(struct str text, struct strbuf *out) {
    enum { SHOWN_MAX = 60 };
    size_t shown = text.n;
    if (shown > SHOWN_MAX)
        for (shown = SHOWN_MAX; shown && ((unsigned char)text.p[shown] & 0xc0) == 0x80;)
            shown--;
    strbuf_add_json(out, (struct str){text.p, shown});
    if (shown < text.n)
        strbuf_puts(out, "...");
}

void tree_describe(const struct tree_node *node, struct strbuf *out) {
    if (node->type != TREE_SCALAR)
        strbuf_puts(out, node->type == TREE_LIST ? "a list" : "a mapping");
    else if (tree_is_null(node))
        strbuf_puts(out, "nothing");
    else {
        strbuf_puts(out, tree_is_text(node) ? "the quoted text " : "");
        tree_quote(node->text, out);
    }
}

static bool is_plain_key(struct str key) {
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return key.n > 0;
}

void tree_path_add(struct strbuf *out, const struct tree_item *item) {
    if (!item->key.p)
        strbuf_printf(out, "[%zu]", item->index);
    else if (is_plain_key(item->key))
        strbuf_printf(out, out->n ? ".%.*s" : "%.*s", STR_FMT(item->key));
    else {
        strbuf_putc(out, '[');
        strbuf_add_json(out, item->key);
        strbuf_putc(out, ']');
    }
}
