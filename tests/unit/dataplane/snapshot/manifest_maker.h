/* manifest_maker.h — the control plane's part of the channel, for tests: small manifests, and the messages
 * that carry them. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "proto/resource.h"

enum { MADE_MAX = 64 };

struct made {
    Headgate__Kind     kind;
    char               name[32];
    struct resource_id id;
    uint8_t            bytes[256];
    size_t             size;
};

struct made_part {
    struct made items[MADE_MAX];
    size_t      count;
};

struct manifest {
    struct made_part   intent, state;
    uint64_t           version, generation;
    struct resource_id intent_hash, state_hash;
    uint8_t            lineage[LINEAGE_SIZE];
};

static inline int made_compare(const struct made *a, Headgate__Kind kind, const char *name) {
    return a->kind != kind ? (a->kind < kind ? -1 : 1) : strcmp(a->name, name);
}

/* The place of (kind, name), made if it is not there; order is kept. */
static inline struct made *made_place(struct made_part *part, Headgate__Kind kind, const char *name) {
    size_t at = 0;
    while (at < part->count && made_compare(&part->items[at], kind, name) < 0)
        at++;
    if (at == part->count || made_compare(&part->items[at], kind, name) != 0) {
        memmove(&part->items[at + 1], &part->items[at], (part->count++ - at) * sizeof *part->items);
        part->items[at] = (struct made){.kind = kind};
        strcpy(part->items[at].name, name);
    }
    return &part->items[at];
}

static inline struct made *made_set(struct made_part *part, Headgate__Kind kind, const char *name,
                                    const ProtobufCMessage *m) {
    struct made *made = made_place(part, kind, name);
    made->size = protobuf_c_message_pack(m, made->bytes);
    if (resource_id_of(made->bytes, made->size, &made->id) < 0)
        abort();
    return made;
}

static inline void made_cluster(struct manifest *m, const char *name, unsigned idle_connections) {
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    cluster.has_idle_connections = true;
    cluster.idle_connections = idle_connections;
    made_set(&m->intent, HEADGATE__KIND__KIND_CLUSTER, name, &cluster.base);
}

static inline void made_endpoint(struct made_part *part, const char *name, const char *address) {
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    Headgate__Endpoint endpoint = HEADGATE__ENDPOINT__INIT, *endpoints[] = {&endpoint};
    endpoint.address = (char *)address;
    set.endpoints = endpoints;
    set.n_endpoints = 1;
    made_set(part, HEADGATE__KIND__KIND_ENDPOINT_SET, name, &set.base);
}

static inline void made_listener(struct manifest *m, const char *name, const char *address) {
    Headgate__Listener listener = HEADGATE__LISTENER__INIT;
    char *addresses[] = {(char *)address};
    listener.addresses = addresses;
    listener.n_addresses = 1;
    made_set(&m->intent, HEADGATE__KIND__KIND_LISTENER, name, &listener.base);
}

static inline void made_remove(struct made_part *part, Headgate__Kind kind, const char *name) {
    size_t at = (size_t)(made_place(part, kind, name) - part->items);
    memmove(&part->items[at], &part->items[at + 1], (--part->count - at) * sizeof *part->items);
}

static inline Headgate__Entry made_entry(struct made *made) {
    Headgate__Entry e = HEADGATE__ENTRY__INIT;
    e.has_kind = e.has_id = 1;
    e.kind = made->kind;
    e.name = made->name;
    e.id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, made->id.bytes};
    return e;
}

static inline void made_hash(struct made_part *part, struct resource_id *ret) {
    Headgate__Entry entries[MADE_MAX], *pointers[MADE_MAX];
    for (size_t i = 0; i < part->count; i++) {
        entries[i] = made_entry(&part->items[i]);
        pointers[i] = &entries[i];
    }
    if (manifest_hash(pointers, part->count, ret) < 0)
        abort();
}

/* To be called when the parts are complete. */
static inline void manifest_seal(struct manifest *m, uint64_t version, uint64_t generation) {
    m->version = version;
    m->generation = generation;
    memset(m->lineage, 7, sizeof m->lineage);
    made_hash(&m->intent, &m->intent_hash);
    made_hash(&m->state, &m->state_hash);
}

/* ---- messages ---- */

/* The memory behind one Prepare. */
struct prepare {
    Headgate__Prepare    m;
    Headgate__SnapshotId id;
    Headgate__Entry      entries[4 * MADE_MAX];
    Headgate__Entry     *lists[4][MADE_MAX];
    Headgate__Body       bodies[2 * MADE_MAX], *body_list[2 * MADE_MAX];
    size_t               entry_count;
};

static inline size_t list_entry(struct prepare *p, int list, size_t count, struct made *made) {
    Headgate__Entry *e = &p->entries[p->entry_count++];
    *e = made_entry(made);
    p->lists[list][count] = e;
    return count + 1;
}

static inline void add_body(struct prepare *p, struct made *made) {
    Headgate__Body *b = &p->bodies[p->m.n_bodies];
    *b = (Headgate__Body)HEADGATE__BODY__INIT;
    b->has_id = b->has_bytes = 1;
    b->id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, made->id.bytes};
    b->bytes = (ProtobufCBinaryData){made->size, made->bytes};
    p->body_list[p->m.n_bodies++] = b;
}

static inline void list_changes(struct prepare *p, int upserts, int removes, struct made_part *from,
                                struct made_part *to, size_t *ret_upserts, size_t *ret_removes) {
    for (size_t i = 0; i < to->count; i++) {
        struct made *made = &to->items[i];
        struct made *old = NULL;
        for (size_t k = 0; k < from->count; k++)
            if (made_compare(&from->items[k], made->kind, made->name) == 0)
                old = &from->items[k];
        if (old && resource_id_equal(&old->id, &made->id))
            continue;
        *ret_upserts = list_entry(p, upserts, *ret_upserts, made);
        add_body(p, made);
    }
    for (size_t i = 0; i < from->count; i++) {
        int found = 0;
        for (size_t k = 0; k < to->count; k++)
            found |= made_compare(&to->items[k], from->items[i].kind, from->items[i].name) == 0;
        if (!found)
            *ret_removes = list_entry(p, removes, *ret_removes, &from->items[i]);
    }
}

/* The whole delta in one part; the caller may change it before it is packed. `from` and `to` stay as they
 * are meanwhile. */
static inline void prepare_make(struct prepare *p, uint64_t nonce, struct manifest *from,
                                struct manifest *to) {
    static struct manifest nothing;
    if (!from)
        from = &nothing;
    *p = (struct prepare){.m = HEADGATE__PREPARE__INIT, .id = HEADGATE__SNAPSHOT_ID__INIT};
    p->m.has_nonce = p->m.has_last = p->m.last = 1;
    p->m.nonce = nonce;
    p->m.id = &p->id;
    p->id.has_lineage = p->id.has_version = p->id.has_generation = p->id.has_intent_hash =
        p->id.has_state_hash = 1;
    p->id.lineage = (ProtobufCBinaryData){LINEAGE_SIZE, to->lineage};
    p->id.version = to->version;
    p->id.generation = to->generation;
    p->id.intent_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, to->intent_hash.bytes};
    p->id.state_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, to->state_hash.bytes};
    list_changes(p, 0, 1, &from->intent, &to->intent, &p->m.n_upsert_intent, &p->m.n_remove_intent);
    list_changes(p, 2, 3, &from->state, &to->state, &p->m.n_upsert_state, &p->m.n_remove_state);
    p->m.upsert_intent = p->lists[0];
    p->m.remove_intent = p->lists[1];
    p->m.upsert_state = p->lists[2];
    p->m.remove_state = p->lists[3];
    p->m.bodies = p->body_list;
}

/* malloc'd; *ret_size is its size. */
static inline uint8_t *pack_control(Headgate__ControlPlaneMessage *m, size_t *ret_size) {
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(&m->base) + 1);
    *ret_size = protobuf_c_message_pack(&m->base, bytes);
    return bytes;
}
