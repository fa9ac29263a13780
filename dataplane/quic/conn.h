/* conn.h — one QUIC connection (RFC 9000), of a client of ours or to an origin: streams without what is said on them.
 *
 * A protocol above embeds `struct quic_user` as the first member of its session and gives it operations. The connection is
 * made by an endpoint (endpoint.h) or by quic_connect (client.h). Everything happens on the worker's thread: datagrams and
 * timers call upwards, what there is to write is asked for in the flush of the turn.
 *
 *     datagram -> on_stream_data, on_stream_reset, on_stream_window ...     the user records, and calls quic_mark_dirty
 *     flush    -> on_dirty, then next / on_taken / on_blocked until there is nothing or no room
 *
 * An operation may call every function below but those of the flush that it is in. quic_close may be called anywhere and any
 * number of times: the first one counts, and on_closed is still the last call but destroy. Stream ids are those of RFC 9000
 * section 2.1. Bytes that next() gave stay where they are until on_stream_acked or on_stream_close says otherwise, or until
 * quic_close: from then on none of them is read, nor what a next() gives that called it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/str.h"
#include "dataplane/core/worker.h"
#include "dataplane/net/conn.h"

struct quic_conn;
struct quic_user;
struct tls_session;

/* A code that no error has: the stream ended well. */
#define QUIC_NO_CODE UINT64_MAX

/* Transport error codes that users need, RFC 9000 section 20.1. */
enum {
    QUIC_NO_ERROR = 0x0,
    QUIC_INTERNAL_ERROR = 0x1,
    QUIC_CONNECTION_REFUSED = 0x2,
    QUIC_PROTOCOL_VIOLATION = 0xa,
    QUIC_INVALID_TOKEN = 0xb,
    QUIC_APPLICATION_ERROR = 0xc,
    QUIC_CRYPTO_ERROR = 0x100,              /* and the TLS alert */
};

enum quic_error_space { QUIC_TRANSPORT, QUIC_APPLICATION };

/* Why a connection is over. */
enum quic_cause {
    QUIC_BY_US,                             /* quic_close, or the peer broke the rules: `code` is what it was told */
    QUIC_BY_PEER,                           /* CONNECTION_CLOSE */
    QUIC_IDLE,                              /* nothing came for too long */
    QUIC_HANDSHAKE_TIMEOUT,
    QUIC_RESET,                             /* a stateless reset */
    QUIC_LOST,                              /* without a word: no version in common, the socket broke, the endpoint ended */
};

struct quic_closing {
    enum quic_cause       cause;
    enum quic_error_space space;
    uint64_t              code;
    bool                  was_open;         /* the handshake had been done */
    struct str            reason;           /* the peer's words or ours, as bytes; lives for the call */
    const char           *tls_failure;      /* a static word; "": TLS was not the cause */
};

struct quic_ops {
    /* 1-RTT packets can be written and ALPN is agreed: streams can be opened. At a server this is before the handshake is
     * done, and before early data is delivered. */
    void (*on_open)(struct quic_user *);
    /* The peer has finished the handshake: its certificate is known, and nothing that comes from here on is a replay. */
    void (*on_handshake_done)(struct quic_user *);
    /* In order, without gaps. The bytes are valid in the call only; n may be 0 with `fin`. `early`: came as 0-RTT and the
     * handshake is not done. Returns 0, or -1 after quic_close. */
    int  (*on_stream_data)(struct quic_user *, int64_t id, const uint8_t *bytes, size_t n, bool fin, bool early);
    void (*on_stream_acked)(struct quic_user *, int64_t id, uint64_t n);     /* the next n bytes need not be kept any more */
    void (*on_stream_reset)(struct quic_user *, int64_t id, uint64_t code);  /* RESET_STREAM: nothing more comes */
    void (*on_stop_sending)(struct quic_user *, int64_t id, uint64_t code);  /* STOP_SENDING; our half has been reset */
    /* Both halves are gone, nothing of the stream is touched again. `code`: of the error that ended it, or QUIC_NO_CODE.
     * One that the peer opened is to be given back (quic_extend_streams). Streams that are open when the connection ends
     * are not closed one by one. */
    void (*on_stream_close)(struct quic_user *, int64_t id, uint64_t code);
    void (*on_stream_window)(struct quic_user *, int64_t id);                /* the peer lets more be sent on it */
    void (*on_streams)(struct quic_user *);                                  /* the peer allows more streams */
    void (*on_dirty)(struct quic_user *);                                    /* once in each flush, before next(); or NULL */
    /* What to write next: fills at most `most` of `vec`, and returns how many. *ret_id -1: nothing. With *ret_fin the stream
     * ends behind these bytes; none with fin is a bare end. `most` 0: the peer's window of the connection is full, which
     * only a bare end needs nothing of (RFC 9000 section 4.1). Called again after on_taken, on_blocked or on_shut. */
    size_t (*next)(struct quic_user *, int64_t *ret_id, bool *ret_fin, struct iovec *vec, size_t most);
    /* The first n bytes of what next() said are in packets; the end too, if it was said and n is all. */
    void (*on_taken)(struct quic_user *, int64_t id, size_t n);
    void (*on_blocked)(struct quic_user *, int64_t id);                      /* window full: not before on_stream_window */
    void (*on_shut)(struct quic_user *, int64_t id);                         /* its sending half is gone: not again */
    void (*on_closed)(struct quic_user *, const struct quic_closing *);      /* over. The last call but destroy */
    void (*destroy)(struct quic_user *);                                     /* reap phase: frees the session */
};

struct quic_user {
    const struct quic_ops *ops;
    struct quic_conn      *conn;            /* set before the first call */
};

/* ---- streams. An id of a stream that is gone is passed over by all */

/* 0, or -1: the peer allows none now, or no memory. */
int  quic_open_stream(struct quic_conn *c, bool bidirectional, int64_t *ret_id);
uint64_t quic_streams_left(const struct quic_conn *c, bool bidirectional);   /* that we may open now */
void quic_extend_streams(struct quic_conn *c, bool bidirectional, size_t n); /* the peer may open n more */
/* Credit that the peer gets: of the stream, of the connection. What was received is credit used up until it is given back.
 * */
void quic_consume_stream(struct quic_conn *c, int64_t id, size_t n);
void quic_consume_connection(struct quic_conn *c, size_t n);
void quic_reset_stream(struct quic_conn *c, int64_t id, uint64_t code);      /* RESET_STREAM; what was unsent is dropped */
void quic_stop_sending(struct quic_conn *c, int64_t id, uint64_t code);
void quic_shutdown_stream(struct quic_conn *c, int64_t id, uint64_t code);   /* both */

/* ---- the connection */

/* Ends it, in the next flush, with CONNECTION_CLOSE. `reason`: static text, may be "". */
void quic_close(struct quic_conn *c, enum quic_error_space space, uint64_t code, const char *reason);
bool quic_is_closing(const struct quic_conn *c);             /* nothing that is written will be sent any more */
void quic_mark_dirty(struct quic_conn *c);                   /* something is to be written: next() is asked in the flush */

struct worker *quic_worker_of(const struct quic_conn *c);
const struct tls_session *quic_tls(const struct quic_conn *c);               /* NULL: no ClientHello has come yet */
struct str quic_protocol(const struct quic_conn *c);         /* by ALPN; from on_open on */
bool quic_get_ends(const struct quic_conn *c, struct conn_ends *ret);        /* of the path that is used now. False: none */
bool quic_is_handshake_done(const struct quic_conn *c);
/* What the peer was told in the handshake, whatever options are in force now: bytes that it may send on a bidirectional
 * stream, and how many of those it may open. */
struct quic_allowance { uint64_t stream_window, streams; };
struct quic_allowance quic_first_allowance(const struct quic_conn *c);
uint64_t quic_window_left(const struct quic_conn *c);        /* bytes that the peer's connection window takes */
uint64_t quic_stream_window_left(const struct quic_conn *c, int64_t id);
uint64_t quic_congestion_left(const struct quic_conn *c);    /* bytes that the congestion window takes */
uint64_t quic_bytes_held(const struct quic_conn *c);         /* of memory, for its state */

/* Microseconds without a packet after which the connection is gone, with no word from the peer: the lower of both sides'
 * timeouts (RFC 9000 section 10.1); 0: neither has one. */
uint64_t quic_idle_timeout(const struct quic_conn *c);
uint64_t quic_pto(const struct quic_conn *c);                /* microseconds: one way and back, and then some (RFC 9002) */

/* Microseconds without a packet after which a PING goes out, so that neither side takes the connection for idle: at the
 * latest when half of that time is over. 0: none. */
void quic_set_keep_alive(struct quic_conn *c, uint64_t after);

/* ---- memory for libraries above (nghttp3), charged to the worker's sessions as the connection's own state is */
void *quic_alloc(struct quic_conn *c, size_t n);             /* NULL: no memory */
void *quic_calloc(struct quic_conn *c, size_t count, size_t n);
void *quic_realloc(struct quic_conn *c, void *piece, size_t n);
void  quic_free(struct quic_conn *c, void *piece);
