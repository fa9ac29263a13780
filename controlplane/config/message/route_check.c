#include "controlplane/config/message/route_check.h"

#include <stdlib.h>

#include "dataplane/routing/route.h"

enum { STEPS_MAX = 32 };

/* A place some steps below the one that the walk began at. */
struct place {
    struct fill_at steps[STEPS_MAX];
    size_t         count;
};

static const struct tree_item *nth(const struct tree_node *node, size_t index) {
    const struct tree_item *item = node->first;
    while (item && index--)
        item = item->next;
    return item;
}

static const struct tree_item *find(const struct tree_node *node, struct str name) {
    char key[64];
    if (node->type != TREE_MAP || name.n >= sizeof key)
        return NULL;
    for (size_t i = 0; i < name.n; i++)
        key[i] = name.p[i] == '_' ? '-' : name.p[i];
    key[name.n] = '\0';
    const struct tree_item *item = tree_find(node, key);
    /* `cluster` is written for a list of one cluster. */
    return item || strcmp(key, "clusters") != 0 ? item : tree_find(node, "cluster");
}

/* A step that users do not write ("forward") is left out. */
static void step(struct place *place, const struct tree_item *item) {
    if (!item || place->count == STEPS_MAX)
        return;
    const struct fill_at *up = &place->steps[place->count - 1];
    place->steps[place->count++] = (struct fill_at){.up = up, .item = item, .node = item->node};
}

/* "hosts[0].rules[1].forward.clusters[0].name" of the message, followed in the tree as far as it goes. */
static const struct fill_at *locate(struct place *place, const struct fill_at *at, const char *path) {
    place->steps[0] = *at;
    place->count = 1;
    struct str left = str_of(path);
    while (left.p) {
        struct str part = str_cut(&left, '.');
        struct str name = str_cut(&part, '[');
        step(place, find(place->steps[place->count - 1].node, name));
        const struct tree_node *node = place->steps[place->count - 1].node;
        if (part.p && node->type != TREE_SCALAR)
            step(place, nth(node, strtoul(part.p, NULL, 10)));
    }
    return &place->steps[place->count - 1];
}

/* The rule that the place is in, or NULL. */
static const struct fill_at *rule_of(const struct place *place) {
    for (size_t i = 1; i < place->count; i++) {
        const struct tree_item *above = place->steps[i - 1].item;
        if (above && above->key.p && str_eq(above->key, STR("rules")))
            return &place->steps[i];
    }
    return NULL;
}

static bool is_below(const char *path, const char *top) {
    size_t n = strlen(top);
    return path && strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '.' || path[n] == '[');
}

/* Whether one of the first `count` errors is about the rule. */
static bool has_fault(const struct fill *f, const struct fill_at *rule, const char *path, size_t count) {
    const char *file = rule->node->place.file;
    for (size_t i = 0; i < count; i++) {
        const struct error *e = &f->errors->items[i];
        bool is_same_file = file && e->file ? strcmp(file, e->file) == 0 : file == e->file;
        if (is_same_file && is_below(e->path, path))
            return true;
    }
    return false;
}

/* The first `count` errors were there before the data plane was asked. */
static void report(struct fill *f, const struct fill_at *at, const struct error *fault, bool is_whole, size_t count) {
    struct place place;
    const struct fill_at *found = locate(&place, at, fault->path ? fault->path : ""), *rule = rule_of(&place);
    const char *path = rule ? fill_path(f, rule) : NULL;
    if (rule && !path)
        fill_out_of_memory(f);
    else if (is_whole || (rule && !has_fault(f, rule, path, count)))
        error_set_expected(f->errors, fill_report(f, found, fault->code, "%s", fault->message), fault->expected,
                           fault->nearest);
}

void check_route_table(struct fill *f, const struct fill_at *at, const char *name, const ProtobufCMessage *table,
                       const ProtobufCMessage *settings, bool is_whole) {
    struct error_list faults = {0};
    size_t count = f->errors->count;
    if (f->errors->dropped)
        return;
    struct route_table *built = route_table_build((const Headgate__RouteTable *)table, name,
                                                  (const Headgate__Settings *)settings, &faults);
    for (size_t i = 0; i < faults.count; i++)
        report(f, at, &faults.items[i], is_whole, count);
    if (!built && faults.count == 0)
        fill_out_of_memory(f);
    route_table_free(built);
    error_list_finish(&faults);
}
