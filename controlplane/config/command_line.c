#include "controlplane/config/builder.h"

#define NAME STR("default")

/* Texts as the scalars of a list, with the option that they come from as their place. */
static struct tree_node *list_of(struct arena *arena, const char *option, const char *const *texts, size_t count) {
    struct tree_node *list = tree_create(arena, TREE_LIST);
    for (size_t i = 0; list && i < count; i++) {
        struct tree_node *text = tree_create_scalar(arena, str_of(texts[i]), true);
        if (tree_append(arena, list, text) < 0)
            return NULL;
        text->place.file = option;
    }
    if (list)
        list->place.file = option;
    return list;
}

static void add(struct builder *b, Headgate__Kind kind, const char *key, struct tree_node *value, const char *key2,
                struct tree_node *value2) {
    struct tree_node *map = tree_create(&b->arena, TREE_MAP);
    if (!map || tree_set(&b->arena, map, key, value) < 0 || (key2 && tree_set(&b->arena, map, key2, value2) < 0)) {
        fill_out_of_memory(&b->fill);
        return;
    }
    struct fill_at at = {.node = map};
    builder_add(b, kind, NAME, &at, true);
}

/* hosts: [{domains: ["*"], rules: [{cluster: default}]}] */
static struct tree_node *everything_to_cluster(struct arena *arena) {
    static const char *const all[] = {"*"};
    struct tree_node *rule = tree_create(arena, TREE_MAP), *rules = tree_create(arena, TREE_LIST);
    struct tree_node *host = tree_create(arena, TREE_MAP), *hosts = tree_create(arena, TREE_LIST);
    if (!rule || !rules || !host || !hosts)
        return NULL;
    int status = tree_set(arena, rule, "cluster", tree_create_scalar(arena, NAME, true)) |
                 tree_append(arena, rules, rule) | tree_set(arena, host, "domains", list_of(arena, NULL, all, 1)) |
                 tree_set(arena, host, "rules", rules) | tree_append(arena, hosts, host);
    return status ? NULL : hosts;
}

static void add_settings(struct builder *b) {
    struct tree_node *none = tree_create(&b->arena, TREE_MAP);
    if (!none) {
        fill_out_of_memory(&b->fill);
        return;
    }
    struct fill_at at = {.node = none};
    builder_add(b, HEADGATE__KIND__KIND_SETTINGS, NAME, &at, false);
}

int config_from_command_line(const char *const *listen, size_t listen_count, const char *const *to, size_t to_count,
                             struct config_resources *ret, struct error_list *errors) {
    struct builder b;
    builder_init(&b, errors, NULL);
    add_settings(&b);
    add(&b, HEADGATE__KIND__KIND_LISTENER, "address", list_of(&b.arena, "--listen", listen, listen_count), "route-table",
        tree_create_scalar(&b.arena, NAME, true));
    add(&b, HEADGATE__KIND__KIND_ROUTE_TABLE, "hosts", everything_to_cluster(&b.arena), NULL, NULL);
    add(&b, HEADGATE__KIND__KIND_CLUSTER, "endpoints", list_of(&b.arena, "--to", to, to_count), NULL, NULL);
    int status = b.fill.faults ? -1 : builder_emit(&b, ret);
    builder_finish(&b);
    return status;
}
