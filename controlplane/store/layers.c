/* Where the resources of a version come from: the third frame of its file. */
#include "controlplane/store/internal.h"

bool layers_has_any(const struct store_manifest *m) {
    if (m->hidden_count)
        return true;
    for (size_t i = 0; i < m->version.resources; i++)
        if (m->entries[i].layer)
            return true;
    return false;
}

/* ---- encoding ---- */

static Headgate__Store__HiddenEntry **hidden_messages(const struct store_manifest *m, struct arena *arena) {
    Headgate__Store__HiddenEntry *messages = arena_alloc(arena, m->hidden_count * sizeof *messages);
    Headgate__Store__HiddenEntry **pointers = arena_alloc(arena, m->hidden_count * sizeof *pointers);
    for (size_t i = 0; messages && pointers && i < m->hidden_count; i++) {
        const struct store_entry *e = &m->hidden[i];
        messages[i] = (Headgate__Store__HiddenEntry)HEADGATE__STORE__HIDDEN_ENTRY__INIT;
        messages[i].has_kind = messages[i].has_id = messages[i].has_layer = true;
        messages[i].kind = e->kind;
        messages[i].name = (char *)e->name;
        messages[i].id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)e->id.bytes};
        messages[i].layer = e->layer;
        pointers[i] = &messages[i];
    }
    return messages ? pointers : NULL;
}

int layers_encode(const struct store_manifest *m, struct arena *arena, struct str *ret_frame,
                  struct resource_id *ret_hash) {
    Headgate__Store__Layers layers = HEADGATE__STORE__LAYERS__INIT;
    layers.entries = arena_alloc(arena, m->version.resources * sizeof *layers.entries);
    layers.hidden = hidden_messages(m, arena);
    if (!layers.entries || !layers.hidden)
        return -1;
    for (size_t i = 0; i < m->version.resources; i++)
        layers.entries[i] = m->entries[i].layer;
    layers.n_entries = m->version.resources;
    layers.n_hidden = m->hidden_count;
    return frame_encode(arena, FRAME_LAYERS, &layers.base, ret_frame, ret_hash);
}

/* ---- decoding ---- */

static int take_hidden(struct store_manifest *m, const Headgate__Store__HiddenEntry *from, struct store_entry *to) {
    if (!from->name || !resource_name_is_valid(str_of(from->name)) || !kind_name(from->kind) ||
        from->layer >= STORE_LAYERS_MAX || resource_id_from_bytes(&from->id, &to->id) < 0)
        return MESSAGE_MALFORMED;
    to->kind = from->kind;
    to->layer = (unsigned char)from->layer;
    to->name = arena_strdup(&m->arena, from->name);
    return to->name ? 0 : MESSAGE_MEMORY;
}

int entry_compare_hidden(const struct store_entry *a, const struct store_entry *b) {
    int order = a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->name, b->name);
    return order ? order : (a->layer > b->layer) - (a->layer < b->layer);
}

static int take_all_hidden(struct store_manifest *m, const Headgate__Store__Layers *message) {
    struct store_entry *hidden = arena_alloc(&m->arena, message->n_hidden * sizeof *hidden);
    int status = hidden ? 0 : MESSAGE_MEMORY;
    for (size_t i = 0; i < message->n_hidden && status == 0; i++) {
        status = take_hidden(m, message->hidden[i], &hidden[i]);
        if (status == 0 && i && entry_compare_hidden(&hidden[i - 1], &hidden[i]) >= 0)
            status = MESSAGE_MALFORMED;
    }
    m->hidden = hidden;
    m->hidden_count = status == 0 ? message->n_hidden : 0;
    return status;
}

int layers_decode(struct store_manifest *m, struct store_entry *entries, const struct record *r, struct str bytes,
                  struct arena *arena) {
    struct frame frame;
    ProtobufCMessage *decoded;
    int status = frame_decode(FRAME_LAYERS, bytes, &headgate__store__layers__descriptor, arena, &frame, &decoded);
    if (status < 0)
        return status;
    const Headgate__Store__Layers *message = (const Headgate__Store__Layers *)decoded;
    if (frame.size != bytes.n || !resource_id_equal(&frame.hash, &r->layers_hash) ||
        message->n_entries != m->version.resources || message->n_hidden > RESOURCES_MAX)
        return MESSAGE_MALFORMED;
    for (size_t i = 0; i < message->n_entries; i++) {
        if (message->entries[i] >= STORE_LAYERS_MAX)
            return MESSAGE_MALFORMED;
        entries[i].layer = (unsigned char)message->entries[i];
    }
    return take_all_hidden(m, message);
}
