#include "common/alloc.h"
#include "controlplane/config/config.h"
#include "controlplane/config/message/unfill.h"

struct collect {
    struct config_changes *changes;
    bool                   failed;
};

void config_changes_finish(struct config_changes *changes) {
    if (!changes)
        return;
    hg_free(changes->items);
    arena_finish(&changes->arena);
    *changes = (struct config_changes){0};
}

/* The value as YAML on one line; NULL stays NULL. */
static const char *text_of(struct collect *c, const struct tree_node *node) {
    if (!node)
        return NULL;
    struct strbuf text = {0};
    tree_write_flow(node, &text);
    const char *copy = text.failed ? NULL : arena_strdup(&c->changes->arena, strbuf_str(&text).p);
    strbuf_finish(&text);
    c->failed |= !copy;
    return copy;
}

static void on_change(void *context, const char *path, const struct tree_node *before, const struct tree_node *after) {
    struct collect *c = context;
    struct config_changes *changes = c->changes;
    struct config_change change = {arena_strdup(&changes->arena, path), text_of(c, before), text_of(c, after)};
    if (!change.path || hg_grow(&changes->items, &changes->capacity, changes->count + 1, sizeof *changes->items) < 0)
        c->failed = true;
    else
        changes->items[changes->count++] = change;
}

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "out of memory");
    return -1;
}

/* *ret stays NULL for bytes that are not there. */
static int tree_of(struct arena *arena, Headgate__Kind kind, const void *bytes, size_t size, struct tree_node **ret,
                   struct error_list *errors) {
    struct unfill unfill = {.arena = arena};
    if (!bytes || !schema_of_kind(kind))
        return 0; /* a secret has no fields to show */
    ProtobufCMessage *m = resource_decode(kind, STR("compared"), bytes, size, errors);
    if (!m)
        return -1;
    *ret = unfill_message(&unfill, schema_of_kind(kind), SCOPE_ALL, m, NULL, NULL);
    protobuf_c_message_free_unpacked(m, NULL);
    return *ret ? 0 : out_of_memory(errors);
}

int config_diff(Headgate__Kind kind, const void *before, size_t before_size, const void *after, size_t after_size,
                struct config_changes *ret, struct error_list *errors) {
    struct arena arena;
    struct tree_node *old = NULL, *new = NULL;
    struct collect collect = {.changes = ret};
    struct tree_diff_sink sink = {on_change, &collect};
    arena_init(&arena, NULL, 0, 0);
    int status = tree_of(&arena, kind, before, before_size, &old, errors);
    if (status == 0)
        status = tree_of(&arena, kind, after, after_size, &new, errors);
    if (status == 0 && (old || new) && (tree_diff(old, new, &sink) < 0 || collect.failed))
        status = out_of_memory(errors);
    arena_finish(&arena);
    return status;
}
