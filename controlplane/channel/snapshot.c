#include "controlplane/channel/snapshot.h"

#include <stddef.h>

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

/* ---- entries ---- */

/* What lists of parts share. */
struct line {
    unsigned           references;
    Headgate__Entry    entry;   /* points into the rest */
    struct resource_id id;
    struct blob       *body;    /* NULL: not known */
    char               name[];
};

static struct line *line_create(Headgate__Kind kind, const char *name, const uint8_t id[RESOURCE_ID_SIZE],
                                struct blob *body) {
    size_t size = strlen(name) + 1;
    struct line *l = hg_malloc(sizeof *l + size);
    if (!l)
        return NULL;
    l->references = 1;
    l->body = body;
    memcpy(l->id.bytes, id, RESOURCE_ID_SIZE);
    memcpy(l->name, name, size);
    headgate__entry__init(&l->entry);
    l->entry.has_kind = l->entry.has_id = true;
    l->entry.kind = kind;
    l->entry.name = l->name;
    l->entry.id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, l->id.bytes};
    return l;
}

static struct line *line_of(const Headgate__Entry *e) {
    return (struct line *)(uintptr_t)((const char *)e - offsetof(struct line, entry));
}

static struct entry_key line_key(const void *item) {
    const struct line *l = item;
    return (struct entry_key){l->entry.kind, l->name, l->id.bytes};
}

static void line_ref(void *item) {
    ((struct line *)item)->references++;
}

static void line_unref(void *item) {
    struct line *l = item;
    if (--l->references > 0)
        return;
    blob_unref(l->body);
    hg_free(l);
}

static const struct shared_ops line_ops = {.key = line_key, .ref = line_ref, .unref = line_unref};

/* ---- parts ---- */

/* What a part is made from: what differs from the one before. Lines that come are its own until the part has them. */
struct changes {
    struct shared_change *items;
    size_t                count;
};

static int changes_init(struct changes *c, size_t most) {
    *c = (struct changes){.items = hg_malloc((most + 1) * sizeof *c->items)};
    return c->items ? 0 : -1;
}

static void changes_finish(struct changes *c) {
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].item)
            line_unref(c->items[i].item);
    hg_free(c->items);
}

static void add_removal(struct changes *c, struct entry_key key) {
    c->items[c->count++] = (struct shared_change){.key = key};
}

static int add_line(struct changes *c, struct line *l) {
    if (!l)
        return -1;
    c->items[c->count++] = (struct shared_change){line_key(l), l};
    return 0;
}

static int add_resource(struct changes *c, const struct config_resource *r) {
    struct blob *body = r->bytes || r->size == 0 ? blob_create(r) : NULL;
    struct line *l = body ? line_create(r->kind, r->name, r->id.bytes, body) : NULL;
    if (!l)
        blob_unref(body);
    return add_line(c, l);
}

/* Takes the changes. */
static struct part *part_from(const struct part *previous, struct changes *c) {
    static const struct shared_list nothing;
    const struct shared_list *from = previous ? &previous->list : &nothing;
    struct part *p = hg_calloc(1, sizeof *p);
    bool is_made = p && shared_list_change(from, &line_ops, c->items, c->count, &p->list) == 0;
    Headgate__Entry **entries = is_made ? hg_malloc((p->list.count + 1) * sizeof *entries) : NULL;
    changes_finish(c);
    if (!entries) {
        if (p)
            shared_list_finish(&p->list);
        hg_free(p);
        return NULL;
    }
    p->references = 1;
    p->entries = entries;
    p->hash = p->list.hash;
    for (size_t i = 0; i < p->list.group_count; i++)
        for (size_t j = 0; j < p->list.groups[i]->count; j++)
            entries[p->count++] = &((struct line *)p->list.groups[i]->items[j])->entry;
    return p;
}

static struct entry_key resource_key(const struct config_resource *r) {
    return (struct entry_key){r->kind, r->name, r->id.bytes};
}

/* What differs between the part and the resources, both in order. */
static int find_changes(struct changes *c, const struct config_resource *resources, size_t count,
                        const struct part *previous) {
    size_t i = 0, j = 0, before = previous ? previous->count : 0;
    int status = 0;
    while (status == 0 && (i < before || j < count)) {
        struct entry_key key = i < before ? line_key(line_of(previous->entries[i])) : (struct entry_key){0};
        struct entry_key of_new = j < count ? resource_key(&resources[j]) : (struct entry_key){0};
        int order = i == before ? 1 : j == count ? -1 : entry_key_compare(&key, &of_new);
        bool is_same = order == 0 && memcmp(key.id, of_new.id, RESOURCE_ID_SIZE) == 0 && part_body(previous, i);
        if (order < 0)
            add_removal(c, key);
        else if (!is_same)
            status = add_resource(c, &resources[j]);
        i += order <= 0;
        j += order >= 0;
    }
    return status;
}

static bool is_sorted(const struct config_resource *resources, size_t count) {
    for (size_t i = 1; i < count; i++) {
        struct entry_key before = resource_key(&resources[i - 1]), key = resource_key(&resources[i]);
        if (entry_key_compare(&before, &key) >= 0)
            return false;
    }
    return true;
}

struct part *part_create(const struct config_resource *resources, size_t count, const struct part *previous) {
    struct changes c;
    if (!is_sorted(resources, count) || changes_init(&c, count + (previous ? previous->count : 0)) < 0)
        return NULL;
    if (find_changes(&c, resources, count, previous) == 0)
        return part_from(previous, &c);
    changes_finish(&c);
    return NULL;
}

struct part *part_change(const struct part *previous, const struct config_resource *changes, size_t count) {
    struct changes c;
    int status = 0;
    if (changes_init(&c, count) < 0)
        return NULL;
    for (size_t i = 0; i < count && status == 0; i++) {
        const struct config_resource *r = &changes[i];
        if (!r->bytes && r->size == 0)
            add_removal(&c, resource_key(r));
        else
            status = add_resource(&c, r);
    }
    if (status == 0)
        return part_from(previous, &c);
    changes_finish(&c);
    return NULL;
}

struct part *part_create_held(Headgate__Entry *const *entries, size_t count) {
    struct changes c;
    int status = changes_init(&c, count);
    if (status < 0)
        return NULL;
    for (size_t i = 0; i < count && status == 0; i++) {
        const Headgate__Entry *e = entries[i];
        bool is_good = e->name && resource_name_is_valid(str_of(e->name)) && e->id.len == RESOURCE_ID_SIZE;
        status = is_good ? add_line(&c, line_create(e->kind, e->name, e->id.data, NULL)) : -1;
    }
    if (status == 0)
        return part_from(NULL, &c);
    changes_finish(&c);
    return NULL;
}

struct part *part_ref(struct part *p) {
    p->references++;
    return p;
}

void part_unref(struct part *p) {
    if (!p || --p->references > 0)
        return;
    shared_list_finish(&p->list);
    hg_free(p->entries);
    hg_free(p);
}

struct blob *part_body(const struct part *p, size_t i) {
    return line_of(p->entries[i])->body;
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
    for (size_t i = 0; i < p->count; i++) {
        const struct blob *body = part_body(p, i);
        items[i] = (struct config_resource){.kind = p->entries[i]->kind,
                                            .name = p->entries[i]->name,
                                            .bytes = body->bytes,
                                            .size = body->size,
                                            .id = body->id};
    }
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
