/* conn_private.h — the inside of a connection: for this room.
 *
 * A server's connection is made by an endpoint (accept.c), one to an origin by client.c; what differs is in `struct
 * quic_role`. All else is shared: conn.c (life), callbacks.c (ngtcp2 calls us), flush.c (writing), timers.c, streams.c
 * (conn.h). */
#pragma once

#include <ev.h>

#include <ngtcp2/ngtcp2.h>

#include "dataplane/net/udp.h"
#include "dataplane/quic/conn.h"
#include "dataplane/quic/hello.h"
#include "dataplane/quic/ids.h"
#include "dataplane/quic/options.h"
#include "dataplane/quic/room.h"

enum quic_state {
    QUIC_HANDSHAKE,
    QUIC_OPEN,                     /* the handshake is done */
    QUIC_CLOSING,                  /* CONNECTION_CLOSE was sent, and is sent again (RFC 9000 section 10.2.1) */
    QUIC_DRAINING,                 /* the peer closed: nothing is sent (section 10.2.2) */
    QUIC_OVER,                     /* freed at the end of the turn */
};

/* What differs between the two sides. */
struct quic_role {
    bool is_server;
    /* 1-RTT packets can be written: who speaks on it. NULL: refused. Not called where there is a user from the beginning. */
    struct quic_user   *(*take_user)(struct quic_conn *);
    /* The first CRYPTO data has come. NULL: no memory. NULL as a member: the session is there from the beginning. */
    struct tls_session *(*make_tls)(struct quic_conn *);
    /* A new connection ID and its reset token. 0 or -1. Not called where IDs are empty. */
    int                 (*make_id)(struct quic_conn *, ngtcp2_cid *, ngtcp2_stateless_reset_token *);
    /* NEW_TOKEN: of an origin, for the next connection; valid in the call. NULL: not wanted. */
    void                (*on_token)(struct quic_conn *, const uint8_t *token, size_t n);
    void                (*on_done)(struct quic_conn *);        /* handshake done; the user hears of it next. NULL: nothing */
    void                (*on_new_path)(struct quic_conn *);    /* the peer's new host is validated. NULL: nothing */
    /* Its socket is: to be marked dirty when it is writable again. NULL: whoever owns the socket does that. */
    void                (*on_blocked)(struct quic_conn *);
    /* The first packets were read: no connection begins. `retry`: the client's address is to be validated. NULL: impossible
     * */
    void                (*on_refused)(struct quic_conn *, const struct udp_datagram *, bool retry);
    void                (*on_ending)(struct quic_conn *);      /* before the user hears of it. NULL: nothing */
    void                (*on_over)(struct quic_conn *);        /* it leaves: sockets. Once, before release. NULL: nothing */
    void                (*release)(struct quic_conn *);        /* reap phase: frees the struct (quic_free_conn) */
};

/* A part of a burst that the socket did not take, or the last packet. */
struct quic_stuck {
    uint8_t       *bytes;          /* NULL: none. From the free lists */
    size_t         n, segment;
    struct address remote, local;
    uint8_t        ecn;
};

/* What is known of a client's new address that is not validated yet (unproven.c). */
struct quic_unproven {
    uint64_t received, sent;       /* bytes of datagrams from there and, at most, to there */
    uint64_t ask_at, wait;         /* when PATH_CHALLENGE is due, so long after the last. Microseconds; 0: none yet */
    uint8_t  allowed;              /* in this flush: packets that may be written whatever is left */
    uint8_t  asked;                /* challenges that were written since they were due */
    bool     is_on, is_due;
};

struct quic_conn {
    struct flushable        flushable;       /* first */
    struct reapable         reapable;
    const struct quic_role *role;
    struct worker          *worker;
    struct quic_room       *room;
    struct udp_socket      *socket;
    struct quic_endpoint   *endpoint;        /* a server's; NULL at a client */
    struct quic_user       *user;            /* NULL: none yet, or none any more */
    ngtcp2_conn            *ng;              /* NULL once it is closing */
    ngtcp2_mem              memory;          /* its allocator; it keeps the pointer */
    struct tls_session     *tls;             /* goes with `ng`'s last reader, in the reap phase */
    struct quic_hello       hello;           /* of a client's Initial packets */
    struct quic_name       *names;           /* its IDs in the room's table */
    struct timer            timer;           /* later than NEAR_US */
    ev_timer                near;            /* sooner */
    uint64_t                near_at;         /* when `near` fires, if it is active */
    uint64_t                expiry;          /* microseconds of the worker's clock; UINT64_MAX: none */
    ngtcp2_ccerr            error;           /* what the peer is told, if wants_close */
    struct quic_stuck       stuck;
    struct quic_conn       *next_waiting, **waiting_link;    /* for the socket; link NULL: does not wait */
    struct quic_conn       *next_closing, *prev_closing;     /* of the room, oldest first */
    struct quic_stuck       last;            /* CLOSING: the packet that is sent again */
    uint32_t                knocks, next_knock;              /* datagrams since it was sent; how many bring it again */
    uint64_t                held;            /* bytes of memory, charged */
    uint64_t                unacked;         /* about so many bytes of streams are sent and not acknowledged (path.c) */
    uint64_t                stalled_since;   /* none was since then, as far as timers have looked; 0: they have not */
    uint64_t                small_until;     /* until then datagrams are of the least size, then of what the path takes */
    uint64_t                small_for;       /* how long they were; 0: never */
    struct quic_unproven    unproven;        /* a server's */
    uint8_t                 state;           /* enum quic_state */
    uint8_t                 cause;           /* enum quic_cause, if it is closing */
    bool                    wants_close, was_open, was_reset, is_listed_closing;
    bool                    has_sent;        /* something, since it last waited for the socket */
    bool                    is_elsewhere;    /* the packet that was written last is for another path: no burst goes on */
};

/* ---- life (conn.c) */

/* Fills the members that are the same for both sides; the memory is zeroed and is the caller's (quic_alloc_conn). */
void quic_conn_init(struct quic_conn *c, const struct quic_role *role, struct worker *w, struct udp_socket *socket);
struct quic_conn *quic_alloc_conn(struct worker *w, size_t size);      /* zeroed, from the free lists; NULL: no memory */
void quic_free_conn(struct quic_conn *c);
/* The defaults of settings and transport parameters, from options. */
void quic_fill_settings(const struct quic_conn *c, const struct quic_options *o, const struct address *remote,
                        ngtcp2_settings *s);
void quic_fill_params(const struct quic_options *o, ngtcp2_transport_params *p);
const ngtcp2_mem *quic_memory(struct quic_conn *c);                    /* lives with the connection */
extern const ngtcp2_callbacks quic_callbacks;                          /* callbacks.c; user_data is the connection */
void quic_read_begin(struct quic_conn *c);                             /* before the library reads (callbacks.c) */
void quic_read_end(struct quic_conn *c);                               /* after it: what it does not tell goes to the user */
/* A datagram that is its. May end it: then it is freed at the end of the turn. */
void quic_conn_receive(struct quic_conn *c, const struct udp_datagram *d);
/* Over, for `cause`. Frees what the library holds; the user hears on_closed. What state follows: QUIC_CLOSING,
 * QUIC_DRAINING for a while, or QUIC_OVER. */
void quic_end(struct quic_conn *c, enum quic_cause cause, enum quic_state state);
void quic_cut(struct quic_conn *c);          /* at once, without a word */
/* The library returned an error: what the peer is told is noted, and said in the flush. */
void quic_fail(struct quic_conn *c, int error);
void quic_set_user(struct quic_conn *c, struct quic_user *user);
/* Datagrams of the connection, as what other transports read and write: of clients, or of origins. */
void quic_count_bytes(const struct quic_conn *c, bool sent, size_t n);

/* ---- a path that has become smaller (path.c) */

void quic_path_sent(struct quic_conn *c, size_t n);        /* of a stream, for the first time */
void quic_path_acked(struct quic_conn *c, uint64_t n);
void quic_path_forget(struct quic_conn *c);                /* a stream has ended: what was left of it may never come */
void quic_path_check(struct quic_conn *c);                 /* a timer of the connection has fired */
void quic_path_changed(struct quic_conn *c);               /* another address: what was known is nothing */
size_t quic_path_limit(const struct quic_conn *c, size_t n);  /* the size of a datagram that may have n bytes */

/* ---- a client's new address (unproven.c) */

/* The validation of it has begun; or of the one before, which changes nothing. */
void quic_unproven_begin(struct quic_conn *c, const struct address *local, const struct address *remote);
void quic_unproven_end(struct quic_conn *c);               /* it is valid, or given up */
void quic_unproven_received(struct quic_conn *c, const struct udp_datagram *d);
void quic_unproven_sent(struct quic_conn *c, size_t n);    /* one packet of n bytes, or any number when there is no limit */
void quic_unproven_asked(struct quic_conn *c);             /* PATH_CHALLENGE is written */
void quic_unproven_flush_begins(struct quic_conn *c);
bool quic_unproven_allows(const struct quic_conn *c);      /* one more packet in it */
void quic_unproven_flush_ends(struct quic_conn *c);
uint64_t quic_unproven_deadline(const struct quic_conn *c);    /* when to write next; UINT64_MAX: nothing to wait for */

/* ---- writing (flush.c) and time (timers.c) */

void quic_flush(struct flushable *f);
void quic_say_goodbye(struct quic_conn *c);  /* CONNECTION_CLOSE, and quic_end */
void quic_knock(struct quic_conn *c);        /* a datagram came for one that is closing */
void quic_set_timer(struct quic_conn *c);    /* by what the library says */
void quic_set_deadline(struct quic_conn *c, uint64_t when);   /* microseconds; UINT64_MAX: none */
void quic_stop_timers(struct quic_conn *c);
void quic_check_timer(struct quic_conn *c);  /* does what is due */
void quic_timers_init(struct quic_conn *c);

static inline ngtcp2_tstamp quic_now(const struct quic_conn *c) {
    return c->worker->now * 1000;            /* nanoseconds. One for a turn: what one turn takes in counts as one moment */
}

static inline ngtcp2_addr quic_address(const struct address *a) {
    return (ngtcp2_addr){(ngtcp2_sockaddr *)(uintptr_t)&a->u.any, a->length};
}

static inline ngtcp2_path quic_path(const struct address *local, const struct address *remote) {
    return (ngtcp2_path){quic_address(local), quic_address(remote), NULL};
}

/* False: longer than an address is. */
bool quic_address_of(const ngtcp2_addr *from, struct address *ret);
