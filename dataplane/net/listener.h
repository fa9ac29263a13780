/* listener.h — accepting client connections, per worker.
 *
 * A worker has one listener_runtime per address that it serves. It outlives the address's place in the snapshot: connections
 * that are open when the address goes stay on it, draining, until the last one is closed. Thread: the worker's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "common/address.h"
#include "dataplane/core/worker.h"
#include "dataplane/net/conn.h"

struct datagram_ops;                    /* net/datagrams.h */
struct datagram_server;
struct listener_definition;             /* http/definitions.h; only passed on here */
struct listener_runtime;
struct ip_caps;
struct proxy_trust;
struct snapshot_view;
struct tls_server;

/* What happens to a new connection before a codec speaks on it (net/opening.c). Part of a listener's definition. */
struct listener_opening {
    struct tls_server        *tls;      /* NULL: plaintext */
    const struct proxy_trust *proxy;    /* who must begin with a PROXY header; NULL: nobody */
    uint64_t                  timeout;  /* microseconds for all of it */
    bool                      http1, http2; /* what may be spoken; both on plaintext: HTTP/2 by its preface */
    bool                      http3, pass; /* on UDP: HTTP/3; or QUIC is relayed, and nothing else */
    bool                      raw;      /* whatever is spoken: it is relayed. Neither of the above then */
};

/* A client's connection on which a codec can begin. */
struct accepted {
    struct transport transport;
    struct address   peer;
    uint32_t         cap_slot;          /* net/ip_caps.h */
};

/* An open client connection, as the listener sees it. Embedded in the codec's connection. */
struct listener_connection {
    struct listener_connection *next, *prev;
    struct listener_runtime    *listener;
    void                      (*close)(struct listener_connection *, bool only_idle); /* at once, or only if it is idle */
    uint32_t                    cap_slot;      /* net/ip_caps.h */
    bool                        is_datagram;   /* through the listener's UDP sockets. Set by the codec, with `close` */
};

/* Begins to speak. Takes the transport and the slot, and calls listener_add. NULL: no memory, nothing was taken. What has
 * been received already is delivered after it has returned (conn_go_on). */
typedef struct conn *(*accept_function)(struct listener_runtime *, const struct accepted *);

struct server_codecs {
    accept_function            http1, http2, raw;
    const struct datagram_ops *quic, *pass; /* HTTP/3; QUIC that is relayed */
};

struct listener_runtime {
    struct listener_runtime          *next, **link; /* the worker's list; destroying unlinks */
    struct worker                    *worker;
    struct address                    address;
    const struct listener_definition *definition;   /* what new exchanges use; kept alive by `view` */
    struct snapshot_view             *view;
    struct ip_caps                   *caps;
    const struct server_codecs       *codecs;
    const struct listener_opening    *opening;      /* as long as `definition` */
    ev_io                             acceptable;   /* any of the sockets, by an epoll set of its own */
    ev_timer                          pause;        /* after running out of descriptors */
    struct datagram_server           *datagrams;    /* of its UDP sockets */
    bool                              is_draining;
    unsigned                          holds;        /* it is not freed as long as there are any */
    struct timer                      drain_timer;
    struct listener_connection        connections;  /* list head */
    uint64_t                          open;
    uint32_t                          connections_per_ip, connections_limit;
    unsigned                          socket_count;
    int                               sockets[];    /* those that this worker serves; used until it drains */
};

/* Begins to accept on the descriptors (not taken) and puts itself at the head of `list`. NULL without memory or descriptors.
 * The sockets have an epoll set of their own: libev leaves a descriptor in its set when the watcher stops and removes it at
 * some later event, by when the owner may be closing it on another thread. */
struct listener_runtime *listener_create(struct worker *, struct listener_runtime **list, const struct address *,
                                         const int *fds, unsigned count, const struct server_codecs *, struct ip_caps *);
/* Another definition from the worker's present view, for exchanges from now on. */
void listener_set_definition(struct listener_runtime *, const struct listener_definition *, const struct listener_opening *,
                             uint32_t connections_per_ip, uint32_t connections_limit);
/* Stops accepting, and does nothing with the descriptors from here on. Closes what is idle; other connections finish what
 * they do, and are cut after `timeout` microseconds. The runtime frees itself when the last connection is gone. */
void listener_drain(struct listener_runtime *, uint64_t timeout);
/* Frees everything at once; connections must be gone. */
void listener_destroy(struct listener_runtime *);
void listener_free_if_done(struct listener_runtime *);  /* it drains, and nothing of it is left */
void listeners_free_done(struct listener_runtime *list);
/* Another runtime of the same address and definition that accepts nothing. NULL: no memory or descriptors. */
struct listener_runtime *listener_twin(const struct listener_runtime *, struct listener_runtime **list);
void listener_cut_all(struct listener_runtime *);   /* every open connection, now; they are freed at the end of the turn */

/* Whether another connection from there may be, by the bounds of worker and address. A refusal is counted. The slot is the
 * caller's, to be given to listener_add or back to the caps. */
bool listener_admits(struct listener_runtime *, const struct address *peer, uint32_t *ret_slot);
/* The codec has set `close` and `is_datagram`. */
void listener_add(struct listener_runtime *, struct listener_connection *, uint32_t cap_slot);
void listener_remove(struct listener_connection *); /* may free the runtime */
void listener_move(struct listener_connection *, struct listener_runtime *to); /* frees none */
