#include "dataplane/l4/flow_table.h"

#include <string.h>

#include "common/alloc.h"
#include "common/map.h"

enum { KEYS_OF_FLOW = 4 };

static size_t size_for(uint32_t max) {
    size_t size = 16;
    while (size < (size_t)max * KEYS_OF_FLOW / 2)
        size *= 2;
    return size;
}

int flow_table_init(struct flow_table *t, uint32_t max) {
    size_t size = size_for(max);
    *t = (struct flow_table){.mask = size - 1, .max = max};
    t->proven_list.next = t->proven_list.prev = &t->proven_list;
    t->others.next = t->others.prev = &t->others;
    t->buckets = hg_calloc(size, sizeof(struct flow_key *));
    return t->buckets ? 0 : -1;
}

void flow_table_finish(struct flow_table *t) {
    hg_free(t->buckets);
    *t = (struct flow_table){0};
}

/* ---- keys ---- */

/* Of longer IDs, which unknown versions may have, the beginning counts. */
static size_t compared(size_t n) {
    return n < PASS_ID_MAX ? n : PASS_ID_MAX;
}

/* Seeded (map.h), so that nobody can choose keys that collide. */
static uint64_t hash_of(const struct address *client, const uint8_t *id, size_t n) {
    uint64_t hash = map_hash(address_key(client));
    return n ? hash ^ map_hash((struct str){(const char *)id, n}) * 0x9e3779b97f4a7c15u : hash;
}

static void link_key(struct flow_key **bucket, struct flow_key *k) {
    k->next = *bucket;
    k->link = bucket;
    if (k->next)
        k->next->link = &k->next;
    *bucket = k;
}

void flow_table_set_max(struct flow_table *t, uint32_t max) {
    size_t size = size_for(max);
    struct flow_key **buckets = size > t->mask + 1 ? hg_calloc(size, sizeof(struct flow_key *)) : NULL;
    t->max = max;
    if (!buckets)
        return;
    for (size_t i = 0; i <= t->mask; i++)
        for (struct flow_key *k = t->buckets[i], *next; k; k = next) {
            next = k->next;
            link_key(&buckets[k->hash & (size - 1)], k);
        }
    hg_free(t->buckets);
    t->buckets = buckets;
    t->mask = size - 1;
}

static struct flow_node *find_key(const struct flow_table *t, const struct address *client, const uint8_t *id, size_t n) {
    n = compared(n);
    uint64_t hash = hash_of(client, id, n);
    for (struct flow_key *k = t->buckets[hash & t->mask]; k; k = k->next)
        if (k->hash == hash && k->n == n && memcmp(k->id, id, n) == 0 && address_equal(&k->node->client, client))
            return k->node;
    return NULL;
}

static void put_key(struct flow_table *t, struct flow_node *node, struct flow_key *k, const uint8_t *id, size_t n) {
    n = compared(n);
    k->node = node;
    k->n = (uint8_t)n;
    memcpy(k->id, id, n);
    k->hash = hash_of(&node->client, id, n);
    link_key(&t->buckets[k->hash & t->mask], k);
}

static void remove_key(struct flow_key *k) {
    if (!k->link)
        return;
    *k->link = k->next;
    if (k->next)
        k->next->link = k->link;
    k->next = NULL;
    k->link = NULL;
}

/* ---- lists ---- */

static void list_add(struct flow_node *head, struct flow_node *f) {
    f->next = head;
    f->prev = head->prev;
    f->prev->next = f;
    head->prev = f;
}

static void list_remove(struct flow_node *f) {
    f->prev->next = f->next;
    f->next->prev = f->prev;
}

static const uint8_t no_id[1];

static void name_by_address(struct flow_table *t, struct flow_node *f) {
    put_key(t, f, &f->by_address, no_id, 0);
}

/* ---- flows ---- */

struct flow_node *flow_table_first(const struct flow_table *t, const struct address *client) {
    return find_key(t, client, no_id, 0);
}

/* Both IDs of a long header are whole. */
static struct flow_node *find_long(const struct flow_table *t, const struct address *client, const struct pass_packet *p) {
    struct flow_node *f = p->dcid_n ? find_key(t, client, p->dcid, p->dcid_n) : NULL;
    return !f && p->scid_n ? find_key(t, client, p->scid, p->scid_n) : f;
}

static struct flow_node *find_short(const struct flow_table *t, const struct address *client, const struct pass_packet *p) {
    for (size_t n = PASS_ID_MAX; n > 0; n--) {
        struct flow_node *f = t->lengths[n] && n <= p->dcid_n ? find_key(t, client, p->dcid, n) : NULL;
        if (f)
            return f;
    }
    return NULL;
}

struct flow_node *flow_table_find(const struct flow_table *t, const struct address *client,
                                  const struct pass_packet *first) {
    struct flow_node *one = flow_table_first(t, client);
    if (!one)
        return NULL;
    if (first->kind != PASS_SHORT)
        return find_long(t, client, first);
    return one->next_same == one ? one : find_short(t, client, first);
}

struct flow_node *flow_table_victim(const struct flow_table *t) {
    return flow_table_is_full(t) && t->others.next != &t->others ? t->others.next : NULL;
}

/* Before the first of its address, which it becomes; behind all others while one of these is proven, and it is not. */
static void join_address(struct flow_table *t, struct flow_node *f) {
    struct flow_node *first = flow_table_first(t, &f->client);
    f->next_same = f->prev_same = f;
    if (first) {
        f->next_same = first;
        f->prev_same = first->prev_same;
        f->prev_same->next_same = first->prev_same = f;
    }
    if (first && first->is_proven && !f->is_proven)
        return;
    if (first)
        remove_key(&first->by_address);
    name_by_address(t, f);
}

static void leave_address(struct flow_table *t, struct flow_node *f) {
    bool was_first = f->by_address.link != NULL;
    remove_key(&f->by_address);
    f->prev_same->next_same = f->next_same;
    f->next_same->prev_same = f->prev_same;
    if (was_first && f->next_same != f)
        name_by_address(t, f->next_same);
}

void flow_table_add(struct flow_table *t, struct flow_node *f, const struct pass_packet *first) {
    f->is_proven = false;
    join_address(t, f);
    if (first->kind != PASS_SHORT && first->dcid_n)
        put_key(t, f, &f->by_first_id, first->dcid, first->dcid_n);
    if (first->kind != PASS_SHORT && first->scid_n)
        put_key(t, f, &f->by_client_id, first->scid, first->scid_n);
    list_add(&t->others, f);
    t->count++;
}

static void forget_origin_id(struct flow_table *t, struct flow_key *k) {
    if (!k->link)
        return;
    t->lengths[k->n]--;
    remove_key(k);
}

void flow_table_remove(struct flow_table *t, struct flow_node *f) {
    list_remove(f);
    leave_address(t, f);
    remove_key(&f->by_client_id);
    remove_key(&f->by_first_id);
    for (int i = 0; i < FLOW_ORIGIN_IDS; i++)
        forget_origin_id(t, &f->by_origin_id[i]);
    t->count--;
    t->proven -= f->is_proven;
}

static bool key_is(const struct flow_key *k, const uint8_t *id, size_t n) {
    return k->link && k->n == n && memcmp(k->id, id, n) == 0;
}

bool flow_table_note_origin_id(struct flow_table *t, struct flow_node *f, const uint8_t *id, size_t n) {
    struct flow_key *last = &f->by_origin_id[FLOW_ORIGIN_IDS - 1];
    n = compared(n);
    if (n == 0)
        return false;
    for (int i = 0; i < FLOW_ORIGIN_IDS; i++)
        if (key_is(&f->by_origin_id[i], id, n))
            return false;
    struct flow_key *k = f->by_origin_id[0].link ? last : &f->by_origin_id[0];
    forget_origin_id(t, k);
    put_key(t, f, k, id, n);
    t->lengths[n]++;
    return true;
}

bool flow_node_knows_id(const struct flow_node *f, const struct pass_packet *p, size_t least) {
    for (int i = 0; i < FLOW_ORIGIN_IDS; i++) {
        const struct flow_key *k = &f->by_origin_id[i];
        bool has_length = p->kind == PASS_SHORT ? p->dcid_n >= k->n : compared(p->dcid_n) == k->n;
        if (k->link && k->n >= least && has_length && memcmp(k->id, p->dcid, k->n) == 0)
            return true;
    }
    return false;
}

void flow_table_prove(struct flow_table *t, struct flow_node *f) {
    if (f->is_proven)
        return;
    f->is_proven = true;
    t->proven++;
    list_remove(f);
    list_add(&t->proven_list, f);
    leave_address(t, f);
    join_address(t, f);
}
