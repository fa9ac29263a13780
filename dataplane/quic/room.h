/* room.h — what one worker has for all its QUIC connections: the table of IDs, the buffer of bursts, keys, and those that
 * are closing. Thread: the worker's, but where said. */
#pragma once

#include "common/map.h"
#include "dataplane/core/worker.h"
#include "dataplane/quic/endpoint.h"
#include "dataplane/quic/ids.h"
#include "dataplane/quic/origin_tokens.h"
#include "dataplane/quic/peek.h"
#include "dataplane/quic/tokens.h"

enum {
    QUIC_BURST_SIZE = 64000,       /* no packet is larger */
    QUIC_ETHERNET_PAYLOAD = 1452,  /* of a datagram over IPv6 on Ethernet: the most, unless quic.max-udp-payload says else */
    QUIC_LOOPBACK_PAYLOAD = 63000, /* likewise towards a peer on this host */
    QUIC_CLOSING_MAX = 4096,       /* of a worker, that still answer; more: the oldest is forgotten */
    QUIC_RANDOM_POOL = 512,
    QUIC_STATELESS_PER_SECOND = 1000, /* of each kind */
    QUIC_STATELESS_BURST = 100,
    QUIC_RETRIES_KEPT = 256,
    QUIC_RETRY_AGAIN_US = 20000,   /* no client repeats a first packet as soon as that */
    QUIC_PEER_UNI_STREAMS = 100,   /* that a peer may have open: HTTP/3 needs three, and takes unknown ones */
};

/* What is answered without a connection, to whoever may have put whatever address on it: each so often in a second at most,
 * for each worker. A Retry has no bound: under an attack it is how honest clients get in. */
enum quic_stateless { QUIC_STATELESS_RESET, QUIC_STATELESS_VERSIONS, QUIC_STATELESS_REFUSAL, QUIC_STATELESS_KINDS };

struct quic_process {
    struct quic_process_options options;
    _Atomic(struct worker *) workers[UINT8_MAX + 1];     /* by index; each writes its own */
};

/* A client that was sent a Retry: a hash of its address and the ID that it chose, and when. */
struct quic_retried {
    uint64_t who, at;
};

/* An ID by which datagrams find a connection. */
struct quic_name {
    struct quic_name *next;        /* of the same connection */
    struct quic_conn *conn;
    uint8_t           n;
    uint8_t           id[QUIC_ID_MAX];
};

struct quic_room {
    struct worker        *worker;
    struct quic_process  *process;         /* NULL: it serves nobody */
    const struct tls_library *library;     /* of the worker: for random bytes and tokens */
    struct map            names;           /* -> struct quic_name */
    uint8_t              *burst;           /* QUIC_BURST_SIZE bytes: what is written and sent within one flush */
    struct quic_peeked    peeked;          /* of the datagram that is read */
    struct quic_tokens    tokens;
    struct origin_tokens  origin_tokens;   /* for clients of ours */
    struct quic_conn     *first_closing, *last_closing;
    size_t                closing_count;
    uint64_t              full_at[QUIC_STATELESS_KINDS]; /* of such answers: core/token_bucket.h */
    struct quic_retried   retried[QUIC_RETRIES_KEPT];    /* by hash; whoever came last */
    uint8_t               random[QUIC_RANDOM_POOL];
    size_t                random_left;
};

/* The worker's, made on first use. NULL: no memory. */
struct quic_room *quic_room_of(struct worker *w);
/* Takes one of the answers of that kind. False: there is none left now, which is counted. */
bool quic_take_stateless(struct quic_room *r, enum quic_stateless kind);
/* Whether a Retry is to go out. False: one just has, and this is the second datagram of the same ClientHello. */
bool quic_take_retry(struct quic_room *r, const struct address *remote, const ngtcp2_cid *original);
/* Unpredictable bytes: OpenSSL's, taken in larger pieces. */
void quic_random(struct quic_room *r, uint8_t *bytes, size_t n);

/* 0, or -1: no memory, or the ID is taken by another connection. */
int  quic_name_add(struct quic_conn *c, const uint8_t *id, size_t n);
void quic_name_remove(struct quic_conn *c, const uint8_t *id, size_t n);
void quic_names_clear(struct quic_conn *c);
struct quic_conn *quic_name_find(const struct quic_room *r, const uint8_t *id, size_t n);   /* NULL: nobody's */

/* Those that are closing or draining, oldest first; beyond QUIC_CLOSING_MAX the oldest is cut. */
void quic_closing_add(struct quic_conn *c);
void quic_closing_remove(struct quic_conn *c);
