#include "dataplane/snapshot/messages.h"

#include <string.h>

#include "common/alloc.h"

/* ---- identities ---- */

static int fail_identity(struct error_list *errors, const char *path) {
    struct error *e = error_addf(errors, ERROR_SYNTAX, "missing, or not of the right size");
    error_set_resource(errors, e, NULL, path);
    return -1;
}

int snapshot_identity_read(const Headgate__SnapshotId *from, struct snapshot_identity *ret,
                           struct error_list *errors) {
    struct snapshot_identity id = {.version = from->version, .generation = from->generation};
    if (!from->has_lineage || from->lineage.len != LINEAGE_SIZE)
        return fail_identity(errors, "id.lineage");
    memcpy(id.lineage, from->lineage.data, LINEAGE_SIZE);
    if (!from->has_version || !from->has_generation)
        return fail_identity(errors, from->has_version ? "id.generation" : "id.version");
    if (!from->has_intent_hash || resource_id_from_bytes(&from->intent_hash, &id.intent_hash) < 0)
        return fail_identity(errors, "id.intent_hash");
    if (!from->has_state_hash || resource_id_from_bytes(&from->state_hash, &id.state_hash) < 0)
        return fail_identity(errors, "id.state_hash");
    *ret = id;
    return 0;
}

Headgate__SnapshotId snapshot_identity_message(struct snapshot_identity *from) {
    Headgate__SnapshotId m = HEADGATE__SNAPSHOT_ID__INIT;
    m.has_lineage = m.has_version = m.has_generation = m.has_intent_hash = m.has_state_hash = true;
    m.lineage = (ProtobufCBinaryData){LINEAGE_SIZE, from->lineage};
    m.version = from->version;
    m.generation = from->generation;
    m.intent_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, from->intent_hash.bytes};
    m.state_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, from->state_hash.bytes};
    return m;
}

bool snapshot_identity_equal(const struct snapshot_identity *a, const struct snapshot_identity *b) {
    return resource_id_equal(&a->intent_hash, &b->intent_hash) &&
           resource_id_equal(&a->state_hash, &b->state_hash);
}

/* ---- entries ---- */

static Headgate__Entry entry_of(struct resource *r) {
    Headgate__Entry e = HEADGATE__ENTRY__INIT;
    e.has_kind = e.has_id = true;
    e.kind = r->kind;
    e.name = r->name;
    e.id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, r->id.bytes};
    return e;
}

/* A block of `count` pointers, and behind it the `count` things of `size` bytes that they point to. */
static void *pointers_and_items(size_t count, size_t size, void **ret_items) {
    char *block = hg_calloc(count ? count : 1, sizeof(void *) + size);
    if (!block)
        return NULL;
    *ret_items = block + count * sizeof(void *);
    return block;
}

int entry_view_init(struct entry_view *view, const struct resource_part *part) {
    void *items;
    Headgate__Entry **pointers = pointers_and_items(part->count, sizeof(Headgate__Entry), &items);
    if (!pointers)
        return -1;
    Headgate__Entry *entries = items;
    for (size_t i = 0; i < part->count; i++) {
        entries[i] = entry_of(part->items[i]);
        pointers[i] = &entries[i];
    }
    *view = (struct entry_view){pointers, part->count};
    return 0;
}

void entry_view_finish(struct entry_view *view) {
    hg_free(view->pointers);
    *view = (struct entry_view){0};
}

/* ---- reasons ---- */

/* "cluster/web" to kind and name; anything else stays as the name. */
static void split_resource(const char *resource, Headgate__Reason *reason) {
    struct str rest = str_of(resource);
    Headgate__Kind kind = kind_from_name(str_cut(&rest, '/'));
    reason->has_kind = kind != HEADGATE__KIND__KIND_UNSPECIFIED;
    reason->kind = kind;
    reason->name = (char *)(reason->has_kind && rest.p ? rest.p : resource);
}

static Headgate__Reason reason_of(const struct error *e) {
    Headgate__Reason r = HEADGATE__REASON__INIT;
    if (e->resource)
        split_resource(e->resource, &r);
    r.path = (char *)e->path;
    r.code = (char *)error_code_name(e->code);
    r.message = (char *)e->message;
    return r;
}

int reason_view_init(struct reason_view *view, const struct error_list *errors) {
    static const struct error unknown = {.code = ERROR_MEMORY, .message = "out of memory"};
    void *items;
    size_t count = errors->count ? errors->count : 1;
    Headgate__Reason **pointers = pointers_and_items(count, sizeof(Headgate__Reason), &items);
    if (!pointers)
        return -1;
    Headgate__Reason *reasons = items;
    for (size_t i = 0; i < count; i++) {
        reasons[i] = reason_of(errors->count ? &errors->items[i] : &unknown);
        pointers[i] = &reasons[i];
    }
    *view = (struct reason_view){pointers, count};
    return 0;
}

void reason_view_finish(struct reason_view *view) {
    hg_free(view->pointers);
    *view = (struct reason_view){0};
}
