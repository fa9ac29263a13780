#include "controlplane/channel/snapshot.h"

#include "common/alloc.h"
#include "common/secret_memory.h"

/* ---- bodies ---- */

static struct blob *blob_create(const struct config_resource *r) {
    bool is_secret = r->kind == HEADGATE__KIND__KIND_SECRET;
    struct blob *b = is_secret ? secret_alloc(sizeof *b + r->size) : hg_malloc(sizeof *b + r->size);
    if (!b)
        return NULL;
    b->references = 1;
    b->is_secret = is_secret;
    b->id = r->id;
    b->size = r->size;
    if (r->size)
        memcpy(b->bytes, r->bytes, r->size);
    return b;
}

static void blob_unref(struct blob *b) {
    if (!b || --b->references > 0)
        return;
    if (b->is_secret)
        secret_free(b);
    else
        hg_free(b);
}

/* ---- parts ---- */

static struct part *part_allocate(size_t count, bool has_bodies) {
    struct part *p = hg_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->references = 1;
    arena_init(&p->arena, NULL, 0, 0);
    p->entries = hg_calloc(count ? count : 1, sizeof(Headgate__Entry *));
    p->bodies = has_bodies ? hg_calloc(count ? count : 1, sizeof *p->bodies) : NULL;
    if (p->entries && (p->bodies || !has_bodies))
        return p;
    part_unref(p);
    return NULL;
}

static Headgate__Entry *add_entry(struct part *p, Headgate__Kind kind, const char *name, const uint8_t *id) {
    Headgate__Entry *e = arena_alloc(&p->arena, sizeof *e);
    char *own_name = arena_strdup(&p->arena, name);
    uint8_t *own_id = arena_memdup(&p->arena, id, RESOURCE_ID_SIZE);
    if (!e || !own_name || !own_id)
        return NULL;
    headgate__entry__init(e);
    e->has_kind = true;
    e->kind = kind;
    e->name = own_name;
    e->has_id = true;
    e->id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, own_id};
    p->entries[p->count++] = e;
    return e;
}

/* The body that `previous` has under the same kind, name and id. Resources come in order, so that *at only
 * grows. */
static struct blob *shared_body(const struct part *previous, size_t *at, const Headgate__Entry *e) {
    while (previous && *at < previous->count && entry_compare(previous->entries[*at], e) < 0)
        ++*at;
    if (!previous || !previous->bodies || *at == previous->count ||
        entry_compare(previous->entries[*at], e) != 0)
        return NULL;
    struct blob *b = previous->bodies[*at];
    if (memcmp(b->id.bytes, e->id.data, RESOURCE_ID_SIZE) != 0)
        return NULL;
    b->references++;
    return b;
}

static int fill(struct part *p, const struct config_resource *resources, size_t count,
                const struct part *previous) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct config_resource *r = &resources[i];
        Headgate__Entry *e = add_entry(p, r->kind, r->name, r->id.bytes);
        struct blob *b = e ? shared_body(previous, &at, e) : NULL;
        if (e && !b && (r->bytes || r->size == 0))
            b = blob_create(r);
        if (!b)
            return -1;
        p->bodies[i] = b;
    }
    return manifest_hash(p->entries, p->count, &p->hash);
}

struct part *part_create(const struct config_resource *resources, size_t count, const struct part *previous) {
    struct part *p = part_allocate(count, true);
    if (!p || fill(p, resources, count, previous) == 0)
        return p;
    part_unref(p);
    return NULL;
}

static int fill_held(struct part *p, Headgate__Entry *const *entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const Headgate__Entry *e = entries[i];
        if (!e->name || !resource_name_is_valid(str_of(e->name)) || e->id.len != RESOURCE_ID_SIZE)
            return -1;
        if (!add_entry(p, e->kind, e->name, e->id.data))
            return -1;
    }
    return manifest_hash(p->entries, p->count, &p->hash);
}

struct part *part_create_held(Headgate__Entry *const *entries, size_t count) {
    struct part *p = part_allocate(count, false);
    if (!p || fill_held(p, entries, count) == 0)
        return p;
    part_unref(p);
    return NULL;
}

struct part *part_ref(struct part *p) {
    p->references++;
    return p;
}

void part_unref(struct part *p) {
    if (!p || --p->references > 0)
        return;
    for (size_t i = 0; p->bodies && i < p->count; i++)
        blob_unref(p->bodies[i]);
    hg_free(p->bodies);
    hg_free(p->entries);
    arena_finish(&p->arena);
    hg_free(p);
}

ssize_t part_find(const struct part *p, Headgate__Kind kind, const char *name) {
    Headgate__Entry key = HEADGATE__ENTRY__INIT;
    key.kind = kind;
    key.name = (char *)name;
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = entry_compare(p->entries[middle], &key);
        if (order == 0)
            return (ssize_t)middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

int part_resources(const struct part *p, struct config_resources *ret) {
    struct config_resource *items = hg_calloc(p->count ? p->count : 1, sizeof *items);
    if (!items)
        return -1;
    for (size_t i = 0; i < p->count; i++)
        items[i] = (struct config_resource){.kind = p->entries[i]->kind,
                                            .name = p->entries[i]->name,
                                            .bytes = p->bodies[i]->bytes,
                                            .size = p->bodies[i]->size,
                                            .id = p->bodies[i]->id};
    *ret = (struct config_resources){.items = items, .count = p->count, .capacity = p->count};
    return 0;
}

/* ---- snapshots ---- */

struct snapshot *snapshot_create(const uint8_t lineage[LINEAGE_SIZE], uint64_t version, uint64_t generation,
                                 struct part *intent, struct part *state) {
    struct snapshot *s = hg_calloc(1, sizeof *s);
    if (!s) {
        part_unref(intent);
        part_unref(state);
        return NULL;
    }
    s->references = 1;
    memcpy(s->lineage, lineage, LINEAGE_SIZE);
    s->version = version;
    s->generation = generation;
    s->intent = intent;
    s->state = state;
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s) {
    s->references++;
    return s;
}

void snapshot_unref(struct snapshot *s) {
    if (!s || --s->references > 0)
        return;
    part_unref(s->intent);
    part_unref(s->state);
    hg_free(s);
}

bool snapshot_serves_same(const struct snapshot *a, const struct snapshot *b) {
    if (!a || !b)
        return a == b;
    return resource_id_equal(&a->intent->hash, &b->intent->hash) &&
           resource_id_equal(&a->state->hash, &b->state->hash);
}

bool snapshot_is_same(const struct snapshot *a, const struct snapshot *b) {
    if (a == b || !a || !b)
        return a == b;
    return a->version == b->version && a->generation == b->generation &&
           memcmp(a->lineage, b->lineage, LINEAGE_SIZE) == 0 && snapshot_serves_same(a, b);
}

void snapshot_id_fill(const struct snapshot *s, Headgate__SnapshotId *ret) {
    headgate__snapshot_id__init(ret);
    ret->has_lineage = ret->has_version = ret->has_generation = ret->has_intent_hash = ret->has_state_hash =
        true;
    ret->lineage = (ProtobufCBinaryData){LINEAGE_SIZE, (uint8_t *)s->lineage};
    ret->version = s->version;
    ret->generation = s->generation;
    ret->intent_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, s->intent->hash.bytes};
    ret->state_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, s->state->hash.bytes};
}
