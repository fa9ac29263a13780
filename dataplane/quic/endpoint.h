/* endpoint.h — one UDP socket of one worker that serves: from datagrams to connections.
 *
 * A datagram belongs to the connection that its destination ID names, whatever address it comes from. The IDs that we issue
 * name their worker, so one that came astray is sent on to it. Any other one can only be a first Initial: it gets a
 * connection, a Retry, a Version Negotiation, or no answer. As long as it cannot be a connection's, it costs no memory.
 *
 * One `struct quic_process` is shared by the workers (main thread: made before, freed after them); each worker's table of
 * IDs is made with its first endpoint. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/worker.h"
#include "dataplane/quic/conn.h"
#include "dataplane/quic/ids.h"
#include "dataplane/quic/options.h"

struct quic_endpoint;
struct quic_process;
struct tls_server;

enum { QUIC_SECRET_SIZE = 32 };

/* ---- what the workers share. Thread: main */

/* All of it is the holder's: data planes after this one have the same but for the generation. */
struct quic_process_options {
    uint8_t ids_key[QUIC_ID_KEY_SIZE];       /* by which IDs name their worker (ids.h); BPF programs have it too */
    uint8_t generation;
    uint8_t secret[QUIC_SECRET_SIZE];        /* of tokens and stateless resets */
};
/* NULL: no memory. */
struct quic_process *quic_process_create(const struct quic_process_options *o);
void                 quic_process_destroy(struct quic_process *p);   /* after the workers; NULL is allowed */
/* Before the first endpoint of the worker, on its thread. The workers must outlive each other's traffic. */
int quic_process_add_worker(struct quic_process *p, struct worker *w);          /* 0, or -1 without memory */
/* After the last endpoint of the worker, before its TLS (tls_io_free): frees its table. Thread: the worker's, or main after
 * it has ended. */
void quic_worker_free(struct worker *w);

/* ---- an endpoint. Thread: the worker's */

struct quic_endpoint_ops {
    /* A connection can be spoken on: called with 1-RTT keys, before the client has finished the handshake. The user is
     * called from here on (on_open next). NULL: refused, with CONNECTION_REFUSED. */
    struct quic_user *(*accept)(void *owner, struct quic_conn *);
    void (*on_empty)(void *owner);           /* stopped, and the last connection is gone; may destroy the endpoint */
};

/* Begins to read from a held socket (net/udp.h: not taken). `options` and `tls` live until they are replaced, or the
 * endpoint is destroyed; connections keep what they need. NULL: no memory, or the socket cannot be watched. */
struct quic_endpoint *quic_endpoint_create(struct worker *w, int fd, const struct quic_options *options,
                                           struct tls_server *tls, const struct quic_endpoint_ops *ops, void *owner);
/* For connections from now on; the IDs of those that are there stay what they are. */
void quic_endpoint_renew(struct quic_endpoint *e, const struct quic_options *options, struct tls_server *tls);
/* First Initials are answered with CONNECTION_REFUSED; connections go on. */
void quic_endpoint_stop(struct quic_endpoint *e);
void quic_endpoint_resume(struct quic_endpoint *e, void *owner);
uint64_t quic_endpoint_count(const struct quic_endpoint *e);         /* connections that are not over; of handshakes, too */
/* Connections that are left end without a word (their users hear on_closed). Memory goes at the end of the turn. */
void quic_endpoint_destroy(struct quic_endpoint *e);                 /* NULL is allowed */
