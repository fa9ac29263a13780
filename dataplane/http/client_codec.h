/* client_codec.h — what the proxy needs of a codec that speaks to origins. One table per protocol; the program registers them.
 *
 * A client connection carries exchanges one after the other (HTTP/1) or many at a time (HTTP/2 and later). Thread: the worker's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"
#include "dataplane/http/exchange.h"

struct tls_client;
struct client_connection;      /* embedded first in the codec's connection */

/* What a connection reports to its owner (the pool). None may be called from within an operation below. */
struct client_owner_ops {
    void (*on_connected)(struct client_connection *);
    void (*on_connect_failed)(struct client_connection *, int error);    /* it is closed */
    /* It has finished an exchange and can take another one. */
    void (*on_available)(struct client_connection *);
    void (*on_closed)(struct client_connection *);                       /* forget it; the memory goes at the end of the turn */
};

struct client_connection {
    const struct client_owner_ops *owner;
    void                          *endpoint;         /* the owner's */
    void                          *waiter;           /* the owner's: who wants it once it is connected */
    struct client_connection      *next, *prev;      /* the owner's list */
    uint64_t                       opened_at;
    uint64_t                       exchanges;        /* begun on it */
    bool                           is_connected;
};

/* The part of a cluster's definition that connections need. Microseconds and bytes. */
struct client_options {
    uint64_t connect_timeout;                            /* 0: none of the cluster's own, the route's counts */
    uint64_t idle_timeout, write_timeout;
    uint32_t header_bytes, headers, trailer_bytes;
    struct tls_client *tls;                              /* tls/client.h; NULL: plaintext. Valid while it connects */
};

struct client_codec {
    const char *name;
    /* Opens a connection; on_connected or on_connect_failed follows. NULL: errno says why, nothing follows. */
    struct client_connection *(*connect)(struct worker *, const struct address *, const struct client_options *,
                                         const struct client_owner_ops *, void *endpoint);
    /* A leg for one exchange on a connected, available connection; the caller attaches it. */
    struct leg *(*open)(struct client_connection *);
    void (*set_options)(struct client_connection *, const struct client_options *);
    void (*rest)(struct client_connection *, uint64_t idle_timeout);      /* it is kept idle from now on */
    void (*close)(struct client_connection *);                           /* on_closed is not called */
};
