#include "controlplane/config/schema/catalog.h"

#include "controlplane/config/message/unfill.h"

static void add(struct catalog *c, struct catalog_entry entry) {
    for (size_t i = 0; i < c->count; i++) {
        const struct catalog_entry *e = &c->entries[i];
        if (e->object == entry.object && e->scope == entry.scope && e->is_by_name == entry.is_by_name)
            return;
    }
    if (c->count < CATALOG_MAX)
        c->entries[c->count++] = entry;
}

void catalog_collect(struct catalog *c, const struct schema_object *root) {
    *c = (struct catalog){0};
    add(c, (struct catalog_entry){.object = root});
    for (size_t i = 0; i < c->count; i++) {
        struct catalog_entry parent = c->entries[i];
        for (const struct schema_key *k = parent.object->keys; k->key; k++) {
            if (!k->object || !schema_in_scope(k, parent.scope))
                continue;
            add(c, (struct catalog_entry){k->object, k->scope, false});
            if (k->flags & SCHEMA_NAMED)
                add(c, (struct catalog_entry){k->object, k->scope, true});
        }
    }
}

bool catalog_default(const struct schema_object *o, const struct schema_key *k, bool as_json, struct strbuf *out) {
    const ProtobufCFieldDescriptor *f = k->flags & SCHEMA_ELSEWHERE || k->object ? NULL : schema_field(o, k);
    struct field_value value;
    struct arena arena;
    if (!f || field_is_list(f) || f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF || !field_default(f, &value))
        return false;
    arena_init(&arena, NULL, 0, 0);
    struct tree_node *node = unfill_scalar(&arena, k, &value);
    size_t start = out->n;
    if (!node)
        out->failed = true;
    else if (as_json)
        tree_write_json(node, out);
    else
        tree_write_flow(node, out);
    if (node && as_json && out->n > start)
        out->p[--out->n] = '\0'; /* the line end */
    arena_finish(&arena);
    return true;
}
