/* Keys of session tickets: the newest encrypts, all decrypt. */
#include <openssl/rand.h>

#include "controlplane/secrets/load.h"

enum { NAME_SIZE = 16, KEY_SIZE = 32 };

static int random_bytes(struct arena *arena, size_t size, protobuf_c_boolean *has, ProtobufCBinaryData *ret) {
    uint8_t *bytes = arena_alloc(arena, size);
    if (!bytes || RAND_bytes(bytes, (int)size) != 1)
        return -1;
    *has = 1;
    *ret = (ProtobufCBinaryData){size, bytes};
    return 0;
}

static Headgate__TicketKey *make_key(struct arena *arena, uint64_t now) {
    Headgate__TicketKey *k = arena_alloc(arena, sizeof *k);
    if (!k)
        return NULL;
    headgate__ticket_key__init(k);
    k->has_created_at = 1;
    k->created_at = now;
    if (random_bytes(arena, NAME_SIZE, &k->has_name, &k->name) < 0 ||
        random_bytes(arena, KEY_SIZE, &k->has_encryption_key, &k->encryption_key) < 0 ||
        random_bytes(arena, KEY_SIZE, &k->has_mac_key, &k->mac_key) < 0)
        return NULL;
    return k;
}

static int copy_bytes(struct arena *arena, const ProtobufCBinaryData *from, protobuf_c_boolean *has,
                      ProtobufCBinaryData *ret) {
    uint8_t *bytes = arena_memdup(arena, from->data, from->len);
    if (!bytes)
        return -1;
    *has = 1;
    *ret = (ProtobufCBinaryData){from->len, bytes};
    return 0;
}

static Headgate__TicketKey *copy_key(struct arena *arena, const Headgate__TicketKey *from) {
    Headgate__TicketKey *k = arena_alloc(arena, sizeof *k);
    if (!k)
        return NULL;
    headgate__ticket_key__init(k);
    k->has_created_at = 1;
    k->created_at = from->created_at;
    if (copy_bytes(arena, &from->name, &k->has_name, &k->name) < 0 ||
        copy_bytes(arena, &from->encryption_key, &k->has_encryption_key, &k->encryption_key) < 0 ||
        copy_bytes(arena, &from->mac_key, &k->has_mac_key, &k->mac_key) < 0)
        return NULL;
    return k;
}

/* A clock that was set back leaves a key from the future: it counts as new. */
static bool is_due(const Headgate__TicketKeys *old, uint64_t rotate, uint64_t now) {
    return !old || old->n_keys == 0 || (now >= old->keys[0]->created_at && now - old->keys[0]->created_at >= rotate);
}

static int fill(struct loading *loading, Headgate__TicketKeys *m, const Headgate__TicketKeys *old,
                const struct config_secrets *want) {
    size_t most = want->ticket_keep ? want->ticket_keep : 1;
    m->keys = arena_calloc(loading->arena, most + 1, sizeof *m->keys);
    if (!m->keys)
        return -1;
    if (is_due(old, want->ticket_rotate, loading->source->now)) {
        m->keys[0] = make_key(loading->arena, loading->source->now);
        if (!m->keys[0])
            return -1;
        m->n_keys = 1;
    }
    for (size_t i = 0; old && i < old->n_keys && m->n_keys < most; i++) {
        m->keys[m->n_keys] = copy_key(loading->arena, old->keys[i]);
        if (!m->keys[m->n_keys])
            return -1;
        m->n_keys++;
    }
    return 0;
}

int load_tickets(struct loading *loading, struct loaded *l, const struct config_secrets *want, uint64_t *ret_next) {
    const struct config_resource *before =
        config_resources_find(loading->source->previous, HEADGATE__KIND__KIND_SECRET, str_of(CONFIG_TICKET_KEYS));
    Headgate__Secret *old = before ? headgate__secret__unpack(NULL, before->size, before->bytes) : NULL;
    headgate__ticket_keys__init(&l->tickets);
    l->message.kind_case = HEADGATE__SECRET__KIND_TICKET_KEYS;
    l->message.ticket_keys = &l->tickets;
    bool has_old = old && old->kind_case == HEADGATE__SECRET__KIND_TICKET_KEYS;
    int status = fill(loading, &l->tickets, has_old ? old->ticket_keys : NULL, want);
    if (old) {
        secret_message_clear(old);
        headgate__secret__free_unpacked(old, NULL);
    }
    if (status < 0)
        load_fault(loading, l->want, "", ERROR_MEMORY, "no memory, or no random numbers, for the keys of session tickets");
    else
        *ret_next = l->tickets.keys[0]->created_at + want->ticket_rotate;
    return status;
}
