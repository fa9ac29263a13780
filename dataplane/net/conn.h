/* conn.h — a stream socket of a worker: reading, gathered writing, deadlines, closing.
 *
 * A codec embeds `struct conn` as its first member and gives it its operations. All operations run on the worker's thread,
 * outside any other operation of the same connection. The memory is freed by `destroy` after the flush of the turn in which
 * conn_close was called; the descriptor is closed at once. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "common/address.h"
#include "dataplane/core/worker.h"
#include "dataplane/net/gather.h"

struct conn;
struct tls_session;

/* Both ends of a connection. */
struct conn_ends {
    struct address remote, local;
};

/* A connected stream between two owners: its socket, the TLS on it, what has still to be sent. */
struct transport {
    int                 fd;
    struct conn_ends   *ends;           /* as a proxy in front named them; NULL: those of the socket. Owned */
    struct tls_session *tls;            /* NULL: plaintext */
    struct slice_queue  unsent;         /* ready for the wire; owned */
};

/* Several deadlines, one timer. What the first two mean is the codec's; conn.c sets the others, and keeps the last to
 * itself. */
enum conn_deadline { DEADLINE_IDLE, DEADLINE_READ, DEADLINE_WRITE, DEADLINE_LOOK, DEADLINE_COUNT };

enum {
    UNSENT_MAX = 128 << 10,
    LOOK_US = 1000000,
    LATE_US = 20000, /* until a deadline is looked at again whose connection waits to be read */
};

struct conn_ops {
    /* How much may be read now, at most READ_MAX; 0 stops reading until conn_want_read. */
    size_t (*read_limit)(struct conn *);
    /* Bytes in the hot buffer, writable, valid until the turn's settling. */
    void (*on_bytes)(struct conn *, uint8_t *bytes, size_t n);
    /* The peer will send no more; reading has stopped. Over TLS see is_truncated. */
    void (*on_eof)(struct conn *);
    /* Connecting, the TLS handshake or reading failed with this errno; EPROTO: TLS did, conn_tls_failure has the reason. */
    void (*on_error)(struct conn *, int error);
    /* Writing failed; what was unsent is dropped. What the peer has sent can still be read. */
    void (*on_write_error)(struct conn *, int error);
    void (*on_connected)(struct conn *);                 /* after conn_connect and conn_handshake only; may release */
    /* Marked dirty: before anything is written, also when nothing can be. May close. NULL: nothing to do. */
    void (*on_dirty)(struct conn *);
    /* Adds what there is to write to the gather. True: there was no room for all, so it is called again once that is sent.
     * Not called while UNSENT_MAX bytes or more wait for the kernel: that is the connection's send budget. */
    bool (*produce)(struct conn *, struct gather *);
    void (*on_written)(struct conn *);                   /* everything produced so far is with the kernel */
    void (*on_deadline)(struct conn *, enum conn_deadline);
    void (*destroy)(struct conn *);
    /* Faces a client, not an origin: for the byte counters. A client's reset is noticed within LOOK_US also while nothing
     * is read (on_error); an origin's is not looked for, as what it sent before can still be read. */
    bool is_client;
};

struct conn {
    struct flushable       flushable;   /* first */
    struct readable        readable;    /* in line only while it is watched for reading */
    struct reapable        reapable;
    const struct conn_ops *ops;
    struct worker         *worker;
    ev_io                  io;          /* io.fd is the socket; events are what is watched */
    struct timer           timer;
    uint64_t               deadlines[DEADLINE_COUNT];
    struct tls_session    *tls;         /* NULL: plaintext */
    struct conn_ends      *ends;        /* of the transport */
    struct slice_queue     out;         /* produced (and encrypted), not yet taken by the kernel; owned */
    uint64_t               write_timeout; /* microseconds without progress until on_deadline(DEADLINE_WRITE); 0: none */
    uint64_t               blocked_since; /* something has been unsent all the time since; 0: nothing is */
    uint64_t               blocked_bytes; /* sent since then */
    uint32_t               held;          /* bytes received that the codec keeps; see conn_set_held */
    uint32_t               charged;       /* of the worker's budget: held and unsent bytes, and what TLS keeps */
    uint32_t               min_rate;      /* bytes per second that a blocked peer must take on average, checked once it has
                                             been blocked for two write timeouts; 0: none */
    bool                   is_connecting : 1;
    bool                   is_handshaking : 1;
    bool                   is_eof : 1;
    bool                   is_truncated : 1; /* the stream ended without TLS's close_notify: anybody may have cut it */
    bool                   is_broken : 1;    /* a write failed */
    bool                   is_blocked : 1;   /* the kernel takes no more until the socket is writable */
    bool                   is_stalled : 1;   /* nothing can be written until TLS has the rest of a message of the peer's */
    bool                   is_closed : 1;
    bool                   has_more_input : 1; /* the last read was filled */
    bool                   has_produced : 1; /* the codec has given something, since it cleared this, and */
    bool                   has_sent : 1;     /* the kernel has taken some of that: not of the handshake before it */
    bool                   is_resting : 1;   /* nothing is expected until something is sent; the codec says so */
};

/* Takes the transport; its descriptor is non-blocking. Does not start reading. */
void conn_init(struct conn *c, struct worker *w, struct transport t, const struct conn_ops *ops);
/* Begins to connect, and then the handshake of `tls` if there is one (it is taken, also on failure); on_connected or
 * on_error follows, never from within. The preamble goes before everything else; it is copied. Returns 0, or an errno with
 * nothing to close. */
int  conn_connect(struct conn *c, struct worker *w, const struct address *to, struct str preamble, struct tls_session *tls,
                  const struct conn_ops *ops);
/* Begins TLS on an accepted connection that has a session, with what has been received already. on_connected or on_error
 * follows, also from within. */
void conn_handshake(struct conn *c, const uint8_t *received, size_t n);
/* Gives the transport to another connection: this one is closed, the descriptor is not. Only within on_bytes or
 * on_connected. */
struct transport conn_release(struct conn *c);
/* Nobody takes it: closed and freed, with the connection that released it. */
void conn_discard(struct conn *released, struct transport *t);
/* What had been received when the transport changed hands goes to its new owner: these bytes, and what TLS still has. */
void conn_go_on(struct conn *c, const uint8_t *received, size_t n);
void conn_want_read(struct conn *c);                     /* (again) reading, as read_limit allows */
void conn_pause_read(struct conn *c);
void conn_mark_dirty(struct conn *c);                    /* produce will be called at the end of the turn */
/* Microseconds of the worker's clock; 0: off. */
void conn_set_deadline(struct conn *c, enum conn_deadline which, uint64_t when);
/* What the codec keeps of the input counts for the worker's budget, as unsent output does. */
void conn_set_held(struct conn *c, size_t bytes);
void conn_close(struct conn *c);                         /* any number of times */
/* Closes so that nobody takes what was sent for whole: with a reset, over TLS without close_notify. */
void conn_reset(struct conn *c);
void conn_shutdown_write(struct conn *c);                /* reading goes on. With nothing unsent only */
bool conn_has_input(const struct conn *c);               /* something can be read right now; a system call */
const char *conn_tls_failure(const struct conn *c);      /* a static word, NULL: none */
/* A system call, but where they have been named. False: it is not known any more. */
bool conn_get_ends(const struct conn *c, struct conn_ends *ret);
static inline bool conn_has_unsent(const struct conn *c) { return c->out.first != NULL; }
static inline int  conn_fd(const struct conn *c) { return c->io.fd; }
