/* Status: where resources come from, and which of them are hidden. */
#include "controlplane/admin/layers.h"

#include "controlplane/engine/layers.h"

enum { LISTED_MAX = 2000 };            /* resources in one reply */

/* The layer that has what counts of that kind and name; endpoints come with their cluster. */
static const char *winner(const struct store_manifest *m, const struct store_entry *e) {
    bool is_endpoints = e->kind == HEADGATE__KIND__KIND_ENDPOINT_SET;
    const struct store_entry *found =
        store_manifest_find(m, is_endpoints ? HEADGATE__KIND__KIND_CLUSTER : e->kind, str_of(e->name));
    return engine_layer_name(found ? (enum engine_layer)found->layer : ENGINE_LAYER_PUSHED);
}

static Headgate__LayerResource *resource(struct arena *arena, const struct store_entry *e, const char *hidden_by) {
    Headgate__LayerResource *r = arena_alloc(arena, sizeof *r);
    if (!r)
        return NULL;
    headgate__layer_resource__init(r);
    r->has_kind = true;
    r->kind = e->kind;
    r->name = arena_strdup(arena, e->name);
    r->hidden_by = (char *)(uintptr_t)hidden_by;
    return r->name ? r : NULL;
}

static void add(struct arena *arena, Headgate__LayerStatus *layer, const struct store_entry *e, const char *hidden_by,
                size_t *room) {
    Headgate__LayerResource *r = *room ? resource(arena, e, hidden_by) : NULL;
    if (!r)
        return;
    layer->items[layer->n_items++] = r;
    --*room;
}

static Headgate__LayerStatus *layer_status(struct arena *arena, const struct store_manifest *m, enum engine_layer layer,
                                           size_t *room) {
    Headgate__LayerStatus *s = arena_alloc(arena, sizeof *s);
    if (!s)
        return NULL;
    headgate__layer_status__init(s);
    s->has_resources = s->has_hidden = true;
    s->name = (char *)(uintptr_t)engine_layer_name(layer);
    s->items = arena_calloc(arena, *room + 1, sizeof *s->items);
    for (size_t i = 0; i < m->hidden_count && s->items; i++)
        if (m->hidden[i].layer == layer) {
            s->hidden++;
            add(arena, s, &m->hidden[i], winner(m, &m->hidden[i]), room);
        }
    for (size_t i = 0; i < m->version.resources && s->items; i++)
        if (m->entries[i].layer == layer) {
            s->resources++;
            add(arena, s, &m->entries[i], NULL, room);
        }
    return s;
}

static bool has_other_layers(const struct store_manifest *m) {
    size_t i = 0;
    while (i < m->version.resources && m->entries[i].layer == ENGINE_LAYER_PUSHED)
        i++;
    return i < m->version.resources || m->hidden_count;
}

void admin_add_layers(struct arena *arena, const struct store_manifest *m, Headgate__StatusReply *reply) {
    size_t room = LISTED_MAX;
    if (!m || !has_other_layers(m))
        return;
    reply->layers = arena_calloc(arena, ENGINE_LAYER_COUNT, sizeof *reply->layers);
    for (int layer = ENGINE_LAYER_COUNT - 1; layer >= 0 && reply->layers; layer--) {
        Headgate__LayerStatus *s = layer_status(arena, m, (enum engine_layer)layer, &room);
        if (s && (s->resources || s->hidden))
            reply->layers[reply->n_layers++] = s;
    }
}

const char *admin_layer_of(const struct store_manifest *m, Headgate__Kind kind, const char *name) {
    const struct store_entry *e = m ? store_manifest_find(m, kind, str_of(name)) : NULL;
    return e && e->layer != ENGINE_LAYER_PUSHED ? engine_layer_name((enum engine_layer)e->layer) : NULL;
}
