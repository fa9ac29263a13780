/* flow_table.h — which flow a client's datagram belongs to. A flow is one client address and one connection, as far as can
 * be told from outside.
 *
 * A client address most often has one flow. Where it has several (clients that use one socket for many connections), a long
 * header is told by its connection IDs, and a short one by those that the origin was seen to issue.
 *
 * A flow is *proven* when its client has shown that it receives what is sent to its address; before that it may be forged.
 * The table has room for so many flows; when it is full, a new one takes the place of the oldest that is not proven, never
 * that of a proven one. No call takes memory but _init and _set_max. Thread: one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/address.h"
#include "dataplane/l4/packet.h"

struct flow_node;

enum { FLOW_ORIGIN_IDS = 2 };              /* of a Retry, and of the server that went on */

/* One way to find a flow. */
struct flow_key {
    struct flow_key  *next, **link;        /* in its bucket; link NULL: not in the table */
    struct flow_node *node;
    uint64_t          hash;
    uint8_t           n;                   /* octets of the ID; that of the address alone has none */
    uint8_t           id[PASS_ID_MAX];
};

/* Embedded in a flow. */
struct flow_node {
    struct flow_node *next, *prev;         /* of the proven, or of the others, oldest first */
    struct flow_node *next_same, *prev_same; /* a ring of the flows of one address: first those that are proven */
    struct address    client;
    struct flow_key   by_address;          /* in the table for the first of the ring */
    struct flow_key   by_client_id;        /* the client's own, where it has one */
    struct flow_key   by_first_id;         /* what it first sent to */
    struct flow_key   by_origin_id[FLOW_ORIGIN_IDS];
    bool              is_proven;
};

struct flow_table {
    struct flow_key **buckets;
    size_t            mask;
    uint32_t          count, proven, max;
    struct flow_node  proven_list, others; /* heads */
    uint32_t          lengths[PASS_ID_MAX + 1]; /* how many of the origins' IDs are so long */
};

/* 0, or -1 without memory. A zeroed struct can be finished; flows that are left are no concern of the table any more. */
int  flow_table_init(struct flow_table *, uint32_t max);
void flow_table_finish(struct flow_table *);
/* Another bound, for flows from now on. Takes memory where it is larger; without, finding takes longer. */
void flow_table_set_max(struct flow_table *, uint32_t max);

/* The flow of a packet from `client`, or NULL: none, or it cannot be told which. `first` is the first packet of the
 * datagram. */
struct flow_node *flow_table_find(const struct flow_table *, const struct address *client, const struct pass_packet *first);
/* Of the flows of this address the one that was proven last; the newest, where none is. Who forges the address cannot take
 * this place from a client that is served. */
struct flow_node *flow_table_first(const struct flow_table *, const struct address *client);

/* The one that makes room; NULL: there is room, or all are proven. */
struct flow_node *flow_table_victim(const struct flow_table *);
static inline bool flow_table_is_full(const struct flow_table *t) {
    return t->count >= t->max;
}

/* A new flow, which `first` begins; node->client is set. There is room. */
void flow_table_add(struct flow_table *, struct flow_node *, const struct pass_packet *first);
void flow_table_remove(struct flow_table *, struct flow_node *);
/* The origin has named itself by this ID. Of more than two the last ones count. Whether it is a new one. */
bool flow_table_note_origin_id(struct flow_table *, struct flow_node *, const uint8_t *id, size_t n);
/* Whether a packet is sent to an ID that the origin of this flow has issued, one of at least `least` octets. */
bool flow_node_knows_id(const struct flow_node *, const struct pass_packet *, size_t least);
void flow_table_prove(struct flow_table *, struct flow_node *);
