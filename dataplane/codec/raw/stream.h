/* stream.h — what both sides of the raw codec share: a connection whose bytes are those of an exchange's flows, as they are.
 * For this folder only. Thread: the worker's. */
#pragma once

#include "dataplane/http/exchange.h"
#include "dataplane/net/conn.h"

struct raw_stream;

/* What is different towards clients and towards endpoints. */
struct raw_side {
    enum abort_code gone;                /* the peer has broken off */
    /* Closes the connection and tells its owner; `is_cut`: at once and with a reset, so that nobody takes what was sent for
     * whole. Not called for a connection that is closed. */
    void (*end)(struct raw_stream *, bool is_cut);
};

struct raw_stream {
    struct conn            conn;         /* first */
    struct leg             leg;
    const struct raw_side *side;
    struct slice_queue     kept;         /* received beyond the credit: TLS gives whole records. Owned bytes */
    bool                   is_open;      /* the other side is there: bytes may pass */
    bool                   has_sent_all; /* the other side's end is with the connection */
    bool                   has_delivered_all;
};

static inline struct raw_stream *raw_stream_of(struct leg *leg) {
    return (struct raw_stream *)((char *)leg - offsetof(struct raw_stream, leg));
}

/* In the middle of it: the connection is cut, and the exchange hears of it. */
void raw_break_off(struct raw_stream *s, enum abort_code code);
/* Both ways have ended, and all that was to be sent has gone out? Then the connection ends. */
void raw_end_if_done(struct raw_stream *s);

/* As in struct conn_ops. */
size_t raw_read_limit(struct conn *conn);
void   raw_on_bytes(struct conn *conn, uint8_t *bytes, size_t n);
void   raw_on_eof(struct conn *conn);
void   raw_on_dirty(struct conn *conn);
bool   raw_produce(struct conn *conn, struct gather *g);
void   raw_on_written(struct conn *conn);

/* As in struct leg_ops. */
void raw_want_pull(struct leg *leg);
void raw_grant(struct leg *leg, size_t n);
void raw_abort(struct leg *leg, enum abort_code code);
