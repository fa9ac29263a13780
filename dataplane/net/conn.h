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

/* Several deadlines, one timer. What the first two mean is the codec's; conn.c sets the others, and keeps the last to
 * itself. */
enum conn_deadline { DEADLINE_IDLE, DEADLINE_READ, DEADLINE_WRITE, DEADLINE_LOOK, DEADLINE_COUNT };

enum { UNSENT_MAX = 128 << 10, LOOK_US = 1000000 };

struct conn_ops {
    /* How much may be read now, at most READ_MAX; 0 stops reading until conn_want_read. */
    size_t (*read_limit)(struct conn *);
    /* Bytes in the hot buffer, writable, valid until the turn's settling. */
    void (*on_bytes)(struct conn *, uint8_t *bytes, size_t n);
    void (*on_eof)(struct conn *);                       /* the peer will send no more; reading has stopped */
    /* Connecting or reading failed with this errno. */
    void (*on_error)(struct conn *, int error);
    /* Writing failed; what was unsent is dropped. What the peer has sent can still be read. */
    void (*on_write_error)(struct conn *, int error);
    void (*on_connected)(struct conn *);                 /* after conn_connect only */
    /* Marked dirty: before anything is written, also when nothing can be. May close. NULL: nothing to do. */
    void (*on_dirty)(struct conn *);
    /* Adds what there is to write to the gather; called again while it fills it. Not called while UNSENT_MAX bytes or more
     * wait for the kernel: that is the connection's send budget. */
    void (*produce)(struct conn *, struct gather *);
    void (*on_written)(struct conn *);                   /* everything produced so far is with the kernel */
    void (*on_deadline)(struct conn *, enum conn_deadline);
    void (*destroy)(struct conn *);
    /* Faces a client, not an origin: for the byte counters. A client's reset is noticed within LOOK_US also while nothing
     * is read (on_error); an origin's is not looked for, as what it sent before can still be read. */
    bool is_client;
};

struct conn {
    struct flushable       flushable;   /* first */
    struct reapable        reapable;
    const struct conn_ops *ops;
    struct worker         *worker;
    ev_io                  io;          /* io.fd is the socket; events are what is watched */
    struct timer           timer;
    uint64_t               deadlines[DEADLINE_COUNT];
    struct slice_queue     out;         /* produced and not yet taken by the kernel; owned */
    uint64_t               write_timeout; /* microseconds without progress until on_deadline(DEADLINE_WRITE); 0: none */
    uint64_t               blocked_since; /* something has been unsent all the time since; 0: nothing is */
    uint64_t               blocked_bytes; /* sent since then */
    uint64_t               min_rate;      /* bytes per second that a blocked peer must take on average, checked once it has
                                             been blocked for two write timeouts; 0: none */
    uint32_t               held;          /* bytes received that the codec keeps; see conn_set_held */
    uint32_t               charged;       /* of the worker's budget: held and unsent bytes */
    bool                   is_connecting;
    bool                   is_eof;
    bool                   is_broken;    /* a write failed */
    bool                   is_blocked;   /* the kernel takes no more until the socket is writable */
    bool                   is_closed;
};

/* Takes the (non-blocking) descriptor. Does not start reading. */
void conn_init(struct conn *c, struct worker *w, int fd, const struct conn_ops *ops);
/* Begins to connect; on_connected or on_error follows, never from within. Returns 0, or an errno with nothing to close. */
int  conn_connect(struct conn *c, struct worker *w, const struct address *to, const struct conn_ops *ops);
void conn_want_read(struct conn *c);                     /* (again) reading, as read_limit allows */
void conn_pause_read(struct conn *c);
void conn_mark_dirty(struct conn *c);                    /* produce will be called at the end of the turn */
/* Microseconds of the worker's clock; 0: off. */
void conn_set_deadline(struct conn *c, enum conn_deadline which, uint64_t when);
/* What the codec keeps of the input counts for the worker's budget, as unsent output does. */
void conn_set_held(struct conn *c, size_t bytes);
void conn_close(struct conn *c);                         /* any number of times */
static inline bool conn_has_unsent(const struct conn *c) { return c->out.first != NULL; }
static inline int  conn_fd(const struct conn *c) { return c->io.fd; }
