#include <stdlib.h>

#include "controlplane/config/builder.h"
#include "controlplane/config/message/fill_value.h"
#include "controlplane/config/source/merge.h"

static void mark_incomplete(struct builder *b) {
    for (size_t i = 0; i < sizeof b->names.of_kind / sizeof *b->names.of_kind; i++)
        b->names.of_kind[i].is_incomplete = true;
}

/* Where the names of one kind stand, so that a second one can be told where the first is. */
static bool is_new_name(struct builder *b, struct map *seen, const struct fill_at *name) {
    const struct tree_node *first = map_get(seen, name->node->text);
    if (first) {
        fill_report(&b->fill, name, ERROR_CONFLICT, "the name \"%s\" already stands at %s:%u:%u", first->text.p,
                    first->place.file, first->place.line, first->place.column);
        return false;
    }
    if (map_set(seen, name->node->text, (void *)name->node) == 0)
        return true;
    fill_out_of_memory(&b->fill);
    return false;
}

/* The name of a resource in a list; an empty one after a report. */
static struct str read_name(struct builder *b, const struct schema_object *o, const struct fill_at *at, struct map *seen) {
    bool is_single;
    struct field_value value = {0};
    struct fill_at name = fill_down(at, "name");
    if (at->node->type != TREE_MAP)
        return value.text; /* filling it will report that */
    if (!name.item) {
        struct error *e = fill_report(&b->fill, at, ERROR_MISSING, "the key \"name\" is missing");
        error_set_expected(b->fill.errors, e, text_name.expected, NULL);
    } else if (!fill_scalar(&b->fill, schema_find(o, SCOPE_ALL, STR("name"), &is_single), &name, &value) ||
               !is_new_name(b, seen, &name)) {
        value.text.n = 0;
    }
    return value.text;
}

static void add_resource(struct builder *b, const struct schema_key *k, const struct fill_at *at, struct map *seen) {
    struct str name = read_name(b, k->object, at, seen);
    if (name.n) {
        builder_add(b, k->kind, name, at, true);
        return;
    }
    /* Its other faults are still worth knowing. */
    b->names.of_kind[k->kind].is_incomplete = true;
    fill_begin_resource(&b->fill, k->object->title);
    fill_message(&b->fill, k->object, SCOPE_ALL, at, NULL);
}

static void add_resources(struct builder *b, const struct schema_key *k, const struct fill_at *root) {
    struct fill_at list = fill_down(root, k->key);
    struct map seen = {0};
    if (!list.item)
        return;
    if (list.node->type != TREE_LIST) {
        fill_report_type(&b->fill, k, &list);
        b->names.of_kind[k->kind].is_incomplete = true;
        return;
    }
    for (const struct tree_item *i = list.node->first; i; i = i->next) {
        struct fill_at at = {.up = &list, .item = i, .node = i->node};
        add_resource(b, k, &at, &seen);
    }
    map_finish(&seen);
}

static void compile_tree(struct builder *b, const struct tree_node *root) {
    struct fill_at at = {.node = root};
    builder_add(b, HEADGATE__KIND__KIND_SETTINGS, STR("default"), &at, false);
    for (const struct schema_key *k = schema_root.keys; k->key; k++)
        if (k->type == SCHEMA_RESOURCES)
            add_resources(b, k, &at);
    names_check(&b->names, &b->fill);
}

/* ---- the order of errors ---- */

static int compare_texts(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "");
}

/* As one reads them: file by file from the top. */
static int compare_errors(const void *a, const void *b) {
    const struct error *x = a, *y = b;
    int order = compare_texts(x->file, y->file);
    if (order == 0)
        order = (x->line > y->line) - (x->line < y->line);
    if (order == 0)
        order = (x->column > y->column) - (x->column < y->column);
    if (order == 0)
        order = compare_texts(x->path, y->path);
    return order ? order : compare_texts(x->message, y->message);
}

static void sort_errors(struct error_list *list, size_t from) {
    if (list && list->count > from)
        qsort(list->items + from, list->count - from, sizeof *list->items, compare_errors);
}

int config_compile(const struct config_sources *sources, const struct config_options *options, struct config_resources *ret,
                   struct error_list *errors, struct error_list *warnings) {
    struct builder b;
    bool is_complete;
    size_t first = errors->count, first_warning = warnings ? warnings->count : 0, before = first + errors->dropped;
    builder_init(&b, errors, warnings);
    b.options = options;
    struct tree_node *root = merge_sources(&b.arena, sources, options, &is_complete, errors);
    if (!is_complete)
        mark_incomplete(&b);
    if (root)
        compile_tree(&b, root);
    int status = errors->count + errors->dropped == before && is_complete && root ? builder_emit(&b, ret) : -1;
    builder_finish(&b);
    sort_errors(errors, first);
    sort_errors(warnings, first_warning);
    return status;
}
