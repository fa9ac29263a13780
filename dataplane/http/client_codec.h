/* client_codec.h — what the proxy needs of a codec that speaks to origins. One table per protocol; the program registers
 * them.
 *
 * A client connection carries exchanges one after the other (HTTP/1) or many at a time (HTTP/2 and later). Thread: the
 * worker's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"
#include "dataplane/http/exchange.h"

struct client_connection;      /* embedded in the codec's connection */
struct tls_client;

/* What a connection reports to its owner (the pool). None may be called from within an operation below. */
struct client_owner_ops {
    void (*on_connected)(struct client_connection *);                    /* exchanges can be opened on it */
    void (*on_connect_failed)(struct client_connection *, int error);    /* it is closed. EPROTO: TLS refused */
    /* An exchange on it has ended and it lives on. Once for each `open`, unless on_closed comes. */
    void (*on_available)(struct client_connection *);
    void (*on_capacity)(struct client_connection *);                     /* `capacity` has changed */
    void (*on_draining)(struct client_connection *);                     /* opens nothing new; what is open goes on */
    void (*on_closed)(struct client_connection *);                       /* forget it; freed at the end of the turn */
};

struct client_connection {
    const struct client_codec     *codec;
    const struct client_owner_ops *owner;
    void                          *endpoint;         /* the owner's, as are all below unless it says otherwise */
    struct client_waiter          *waiters;          /* who wants it once it is connected, first come first */
    struct client_connection      *next, *prev;
    uint64_t                       opened_at;
    uint64_t                       exchanges;        /* begun on it */
    uint32_t                       active;           /* exchanges open on it */
    uint32_t                       epoch;
    uint64_t                       tls_choice;       /* the endpoint's, when it was made */
    uint32_t                       waiting;          /* length of `waiters` */
    uint32_t                       capacity;         /* the codec's: exchanges at once; 1 for HTTP/1 */
    bool                           is_connected;     /* the codec's */
    bool                           is_draining;      /* nothing new is opened */
    bool                           is_single;        /* for one exchange: not shared, not kept */
    bool                           is_fallback;      /* over TCP, towards an endpoint that HTTP/3 is meant for */
    bool                           has_no_other;     /* those who wait for it have nothing else to wait for */
};

/* The part of a cluster's definition that connections need. Microseconds and bytes. */
struct client_options {
    uint64_t connect_timeout;                            /* 0: none of the cluster's own, the route's counts */
    uint64_t idle_timeout, write_timeout;
    uint32_t header_bytes, headers, trailer_bytes;
    struct tls_client *tls;                              /* tls/client.h; NULL: plaintext. Read at connect only */
    struct tls_client *quic_tls;                         /* the same for HTTP/3, whose `tls` is for what goes over TCP */
    const struct http2_options *http2;                   /* as long as the definition; read at connect only */
    const struct http3_options *http3;                   /* likewise */
    const struct quic_options *quic;                     /* quic/options.h; likewise */
    int proxy_version;                                   /* of the PROXY header to begin with; 0: none. The owner's */
};

/* What one new connection is to. */
struct client_target {
    const struct address *address;
    struct str            hostname;                      /* for TLS, where the definition names none; may be empty */
    struct str            preamble;                      /* goes before everything else; read at connect; may be empty */
    void                 *endpoint;                      /* the owner's; also what TLS sessions are remembered by */
};

struct client_codec {
    const char *name;
    /* Opens a connection; on_connected or on_connect_failed follows. NULL: errno says why, nothing follows. */
    struct client_connection *(*connect)(struct worker *, const struct client_target *, const struct client_options *,
                                         const struct client_owner_ops *);
    /* A leg for one exchange on a connection that is connected, not draining, and has active < capacity; the caller attaches
     * it. NULL: no memory, nothing has changed. */
    struct leg *(*open)(struct client_connection *);
    void (*set_options)(struct client_connection *, const struct client_options *);
    void (*rest)(struct client_connection *, uint64_t idle_timeout);      /* it is kept idle from now on */
    void (*close)(struct client_connection *);                           /* on_closed is not called */
};
