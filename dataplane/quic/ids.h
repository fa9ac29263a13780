/* ids.h — the connection IDs that we issue: which worker of which data plane they belong to, and, for load balancers
 * outside, which server.
 *
 *   | first octet | server ID and nonce, as in draft-ietf-quic-load-balancers; or 8 random octets | routing: 3 octets |
 *
 * First octet: three bits name the QUIC-LB configuration (7: none), five say how many octets follow. Routing is worker,
 * generation of the data plane, and a constant, masked with a keyed hash (common/halfsiphash.h) of the 8 octets before it,
 * read as two words in network byte order. BPF programs compute the same (xdp/): they know the length, the key and the
 * generation. The constant tells our IDs from those that clients choose; with the generation, one of those is taken for ours
 * once in 65,536 times, and then goes to the same worker each time.
 *
 * Pure: bytes in, bytes out. Thread: each struct on one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUIC_SERVER_ID_MAX = 8, QUIC_SERVER_ID_KEY_SIZE = 16 };

/* What load balancers read from the connection IDs that we issue; of a listener (quic/options.h). */
struct quic_server_id {
    uint8_t id[QUIC_SERVER_ID_MAX];
    uint8_t id_n;                    /* 0: connection IDs say nothing to others */
    uint8_t nonce_n;                 /* with id_n 8 to 16 */
    uint8_t config;                  /* 0 to 6 */
    bool    has_key;                 /* false: in plain */
    uint8_t key[QUIC_SERVER_ID_KEY_SIZE];
};

enum {
    QUIC_ID_MAX = 20,                /* RFC 9000 section 17.2 */
    QUIC_ID_PLAIN = 12,              /* length without QUIC-LB */
    QUIC_ID_ROUTING = 3,
    QUIC_ID_CHECK = 0x5a,            /* the constant */
    QUIC_ID_KEY_SIZE = 8,
    QUIC_LB_UNROUTABLE = 7,          /* configuration bits of IDs that say nothing to load balancers */
    QUIC_LB_BLOCK_MAX = 19,          /* server ID and nonce */
    QUIC_LB_NONCE_MIN = 4,
};

/* ---- QUIC-LB: what a load balancer knows ---- */

struct quic_lb_form {
    uint8_t config;                  /* 0 to 6 */
    uint8_t id_n, nonce_n;           /* octets; at least 1 and 4, together at most 19 */
    bool    has_key;                 /* false: in plain */
    uint8_t key[QUIC_SERVER_ID_KEY_SIZE];
};

struct quic_lb;

/* NULL: no memory, or lengths out of bounds. The form is copied. */
struct quic_lb *quic_lb_create(const struct quic_lb_form *form);
void quic_lb_destroy(struct quic_lb *lb);
/* Writes the id_n octets of the server ID to `ret`. False: `id` is of another configuration, or too short. */
bool quic_lb_decode(struct quic_lb *lb, const uint8_t *id, size_t n, uint8_t *ret);
/* Writes 1 + id_n + nonce_n octets to `id`; `n` is the length of the whole ID, for the first octet. False: the cipher
 * failed. */
bool quic_lb_encode(struct quic_lb *lb, const uint8_t *server_id, const uint8_t *nonce, size_t n, uint8_t *id);

/* ---- what we issue ---- */

struct quic_ids {
    uint8_t         n;               /* length of every ID */
    uint8_t         generation;
    uint32_t        key[2];
    struct quic_lb *lb;              /* NULL: without */
    uint8_t         server_id[QUIC_SERVER_ID_MAX];
};

/* The length of IDs with this server ID (id_n 0: none), for who steers them. */
size_t quic_ids_length(const struct quic_server_id *server_id);
/* What an ID's first octet says of it. Any is possible: an ID need not be ours. */
static inline size_t quic_ids_length_by(uint8_t first) {
    return 1u + (first & 0x1f);
}
/* Key and generation are the holder's (holder/protocol.h). 0, or -1 without memory. A zeroed struct can be finished. */
int    quic_ids_init(struct quic_ids *ids, const uint8_t key[QUIC_ID_KEY_SIZE], uint8_t generation,
                     const struct quic_server_id *server_id);
void   quic_ids_finish(struct quic_ids *ids);
/* A new ID of ids->n octets. Random, so the caller sees to it that it does not issue one twice. False: no randomness. */
bool   quic_ids_make(const struct quic_ids *ids, uint8_t worker, uint8_t id[QUIC_ID_MAX]);
/* Whether `id` is one of ours, of any generation and server ID, as far as can be seen. */
bool   quic_ids_read(const struct quic_ids *ids, const uint8_t *id, size_t n, uint8_t *ret_worker, uint8_t *ret_generation);
