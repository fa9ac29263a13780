/* endpoint_private.h — the inside of an endpoint: for this room. */
#pragma once

#include "dataplane/quic/conn_private.h"

/* By what connection IDs are issued: as long as the endpoint or a connection has it. */
struct quic_issuer {
    struct quic_ids       ids;
    struct quic_server_id server_id;
    uint32_t              users;
};

struct quic_endpoint {
    struct udp_socket               socket;
    struct reapable                 reapable;
    struct worker                  *worker;
    struct quic_room               *room;
    struct quic_issuer             *issuer;        /* of new connections */
    const struct quic_options      *options;
    struct tls_server              *tls;
    const struct quic_endpoint_ops *ops;
    void                           *owner;
    struct quic_conn               *waiting;       /* for the socket */
    struct quic_server             *first;         /* its connections, those that are closing too */
    uint64_t                        count;         /* of them */
    uint32_t                        handshakes;    /* under way */
    bool                            is_stopped, is_destroyed;
};

/* A connection of an endpoint. */
struct quic_server {
    struct quic_conn    conn;                      /* first */
    struct quic_server *next, **link;
    struct quic_issuer *issuer;                    /* a connection's IDs have one length, and name one server */
    bool                is_handshaking;
};

/* What is known of the long header of a datagram, or of the ID of a short one. */
struct quic_arrival {
    const struct udp_datagram *datagram;
    ngtcp2_version_cid         ids;
};

void quic_issuer_drop(struct quic_issuer *i);      /* one user less; NULL is allowed */
/* It is nobody's and has a long header: perhaps the beginning of a connection (accept.c). */
void quic_accept_initial(struct quic_endpoint *e, const struct quic_arrival *a);
void quic_send_versions(struct quic_endpoint *e, const struct quic_arrival *a);
/* Of another worker, of another process, or of nobody (strays.c). */
void quic_handle_stray(struct quic_endpoint *e, const struct quic_arrival *a);
/* Sends one datagram from where `to` came to. */
void quic_answer(struct quic_endpoint *e, const struct udp_datagram *to, const uint8_t *bytes, size_t n);
void quic_server_drop(struct quic_server *s);      /* it is over: out of the endpoint's list */
