/* session.h — one HTTP/3 connection (RFC 9114): what the side that faces clients and the one that faces origins share.
 *
 * A session is the user of a struct quic_conn, with QPACK of libnghttp3 and a list of streams, each with the leg of one
 * exchange. Rules that the files of this room keep:
 *
 *   - What the core or the transport says is recorded, and the connection marked dirty. Bodies are pulled, and heads
 *     compressed, when the transport asks what to write next (sending.c), which it does as the congestion window allows.
 *   - All that is handed to the transport lies in owned blocks: it keeps pointers until the peer acknowledges. A body that
 *     is still in the hot buffer is copied there once, and a small response is one piece with its head.
 *   - The window of the connection is given back when bytes enter a flow; a stream's window is the flow's credit. So a
 *     stream that nobody reads stops nobody else.
 *   - A field section is decoded when it is whole. One that waits for entries of the table (RFC 9204 section 2.1.2) keeps
 *     what follows it on its stream, and the credit for it.
 *   - Whatever a peer can make us do for little has a bound, and each bound has a counter.
 *
 * Thread: the worker's. */
#pragma once

#include <nghttp3/nghttp3.h>

#include "dataplane/codec/h3/frames.h"
#include "dataplane/codec/h3/out.h"
#include "dataplane/codec/h3/qpack.h"
#include "dataplane/core/pace.h"
#include "dataplane/http/exchange.h"
#include "dataplane/http/priority.h"
#include "dataplane/http/sections.h"
#include "dataplane/quic/conn.h"

enum {
    H3_CHUNK = 16384,                      /* pulled from an exchange at once */
    H3_BUCKETS = 32,                       /* of streams by id */
    H3_UNI_PENDING = 8,                    /* unidirectional streams of the peer that we know of */
};

struct h3_session;
struct h3_stream;

/* What differs between the two sides. */
struct h3_role {
    bool            is_server;
    enum abort_code gone, refused, malformed, too_large, write_timeout;
    /* The peer opens a request stream. NULL: it was refused. Of servers only. */
    struct h3_stream *(*on_stream)(struct h3_session *, int64_t id);
    /* The head of a message begins. Returns true when session->reader has begun to read it into the arena of the stream's
     * exchange; false: it is decoded and thrown away. */
    bool (*on_open)(struct h3_stream *);
    /* The head that session->reader has is complete. */
    void (*on_head)(struct h3_stream *, bool end);
    /* The stream's deadline for what it is to receive has passed. */
    void (*on_body_deadline)(struct h3_stream *);
    /* Both halves have ended well, though the peer has not acknowledged all of ours; its leg is detached. May end the
     * session. NULL: nothing to do before on_closed. */
    void (*on_done)(struct h3_stream *);
    /* The stream is closed and gone from the list; its leg is detached. */
    void (*on_closed)(struct h3_stream *);
    /* A stream that has a head to send and no id yet may get one: quic_open_stream. Returns 0, or -1: not now. NULL: all
     * have one. */
    int  (*open)(struct h3_stream *);
    /* The fields of stream->head, which nv has room for (SECTION_EXTRA_FIELDS). Returns how many there are; 0: it is not to
     * be sent, and the stream is reset. */
    size_t (*write_head)(struct h3_stream *, struct field_pair *nv);
    /* What the peer sent. May be NULL. */
    void (*on_settings)(struct h3_session *);
    void (*on_goaway)(struct h3_session *, uint64_t id);
    void (*on_handshake_done)(struct h3_session *);
    void (*on_streams)(struct h3_session *);     /* the peer allows more streams */
    /* Bytes have come: it is alive. */
    void (*on_sign)(struct h3_session *);
    /* The connection has ended, `why` says how, or is about to end because of us (NULL). Once, before its exchanges are
     * told. May be NULL. */
    void (*on_over)(struct h3_session *, const struct quic_closing *why);
    void (*destroy)(struct h3_session *);
    const struct leg_ops *leg_ops;
};

/* A unidirectional stream of ours. */
struct h3_channel {
    int64_t       id;                      /* -1: not open yet */
    bool          is_blocked;
    struct h3_out out;
};
enum { H3_OWN_CONTROL, H3_OWN_ENCODER, H3_OWN_DECODER, H3_OWN_COUNT };

/* One of the peer's. */
struct h3_uni {
    int64_t          id;                   /* -1: none */
    struct h3_number number;               /* its type, while that comes */
    bool             has_type;
    uint8_t          type;                 /* H3_STREAM_* of a critical one */
};

struct h3_ready {                          /* streams with something to send, of one urgency */
    struct h3_stream *first, *last;
};

struct h3_session {
    struct quic_user       user;           /* first */
    const struct h3_role  *role;
    struct worker         *worker;
    struct http3_options   options;
    struct section_limits  limits;
    struct h3_qpack        qpack;
    struct h3_control      control;        /* of the peer */
    struct h3_costs        costs;
    struct h3_channel      own[H3_OWN_COUNT];
    struct h3_uni          unis[H3_UNI_PENDING];
    struct h3_stream      *streams;        /* all that are open */
    struct h3_stream      *buckets[H3_BUCKETS];
    struct h3_stream      *pending, *last_pending; /* those with a head and without an id, in order */
    struct h3_ready        ready[PRIORITY_URGENCIES];
    struct h3_ready        ending;         /* those of which only the end is to be said: they need no window, and go first */
    uint32_t               stream_count;
    uint32_t               blocked_count;  /* streams whose section waits for entries */
    uint64_t               next_id;        /* above all request streams of a client */
    uint64_t               streams_granted; /* how many it may have opened by now */
    struct section_reader  reader;         /* of the section that is being decoded */
    struct h3_stream      *reading;        /* whose it is; NULL: nobody wants it */
    struct h3_stream      *decoding;       /* whose it is, wanted or not; NULL: none is being decoded */
    struct early_priorities early_priorities;
    uint64_t               header_bytes;   /* of heads and trailers that came, of all open streams */
    uint64_t               section_bytes;  /* room of sections that are not whole, or wait, of all streams */
    uint64_t               held;           /* bytes in `out` of all streams, charged to the worker's budget */
    uint64_t               parked;         /* of these, what streams hold that wait for their windows */
    uint64_t               sent_at;        /* when the peer last took bytes of a body */
    uint64_t               write_timeout, min_rate; /* microseconds; bytes a second. 0: none */
    uint64_t               keep_alive;     /* microseconds; while a stream is open. 0: not */
    uint32_t               first_window;   /* of each stream that it sends on, to begin with */
    enum h3_fault          fault;          /* that ended the connection */
    bool                   is_early;       /* what is being received came as 0-RTT */
    bool                   is_starved;     /* streams wait until less is held */
    bool                   is_over;        /* nothing more is read or written */
};

/* A field section that is not decoded yet. */
struct h3_section {
    nghttp3_qpack_stream_context *context; /* NULL: none is begun */
    uint8_t *bytes;                        /* what came, when it came in pieces, or waits */
    size_t   n, room, at;
};

struct h3_stream {
    struct leg          leg;               /* first */
    struct reapable     reapable;
    struct timer        timer;
    struct worker      *worker;            /* the session may be freed first */
    struct h3_session  *session;
    struct h3_stream   *next, *prev;       /* of the session */
    struct h3_stream   *next_in_bucket;
    struct h3_stream   *next_ready, *prev_ready, *next_pending;
    struct h3_ready    *ready_in;          /* the list of the session; NULL: it has nothing to send */
    int64_t             id;                /* -1: a request that has no stream yet */
    const struct head  *head;              /* to be sent; NULL: none, or sent */
    bool                head_ends;         /* nothing follows it */
    bool                sent_head;         /* it is compressed */
    bool                is_pending, is_closed;
    bool                has_head;          /* a final head has been received */
    bool                has_trailers;      /* so have trailers */
    bool                received_end;
    bool                is_done;           /* a client's: its owner knows that the exchange has ended */
    bool                ends;              /* our half ends behind what is in `out` ... */
    bool                sent_end;          /* ... and that is in a packet */
    bool                is_stopped;        /* what comes is thrown away */
    bool                is_reset;          /* by either side */
    bool                is_tunnel;         /* no frames but DATA any more */
    bool                is_early;          /* its head came as 0-RTT */
    bool                expects;           /* the peer waits for 100 (Continue) */
    bool                has_no_body;       /* what we send has none, whatever its fields say */
    bool                is_blocked;        /* the peer's window of the stream is full */
    bool                is_starved;        /* it waits until the session holds less */
    bool                is_held;           /* what comes is kept in `kept` for now: */
    bool                is_waiting_for_entries; /* its section waits for QPACK, or */
    bool                is_waiting_for_handshake; /* the request may be a replay */
    bool                kept_end;          /* the end has come, too */
    bool                is_gone;           /* for the transport: it is closed once nothing is held any more */
    bool                kept_is_end;       /* of a head that waits: nothing follows it */
    bool                asks_head;         /* a request of ours is HEAD */
    uint8_t             urgency;
    bool                is_incremental;
    struct str          asks_tunnel;       /* towards an origin: the protocol of the extended CONNECT sent; empty: none */
    struct h3_frame     frame;
    struct h3_section   section;
    struct slice_queue  kept;
    struct fields      *trailers;          /* received, in the exchange's arena */
    struct head        *kept_head;         /* that waits for the handshake */
    int64_t             to_receive, to_send; /* bytes that Content-Length still announces; -1: unknown */
    uint32_t            header_bytes;      /* part of the session's */
    struct priority     asked, answered;   /* towards a client: what it said, what the origin did */
    uint64_t            received;
    uint64_t            began;             /* receiving the body */
    struct h3_out       out;
    size_t              parked;            /* part of the session's */
    uint64_t            body_deadline, write_deadline;
    struct pace         block;             /* the stream's window */
    char                digits[32];        /* of the head that is out */
};

/* ---- session.c */

/* Before anything else, on zeroed memory but for user.conn: the transport's connection. Returns 0, or -1 without memory
 * (nothing to finish). */
int  h3_session_init(struct h3_session *, struct quic_conn *, const struct h3_role *, const struct http3_options *);
/* In role->destroy. */
void h3_session_finish(struct h3_session *);
/* Every exchange is told, every stream forgotten. */
void h3_session_drop_streams(struct h3_session *, enum abort_code);
/* CONNECTION_CLOSE with that code; all exchanges end with `abort`. */
void h3_session_end(struct h3_session *, uint64_t code, const char *word, enum abort_code abort);
/* The connection or a stream ends with it, and it is counted. H3_FAULT_NONE: nothing happens. */
void h3_session_fail(struct h3_session *, enum h3_fault);
/* Memory was short, or a library broke off: the connection ends. */
void h3_session_break(struct h3_session *);
/* The worker holds as much for its sessions as it may: nothing new is begun. */
bool h3_session_is_spent(const struct worker *);
/* No section of that stream that was not decoded will be (RFC 9204 section 2.2.2.2). */
void h3_session_cancel_sections(struct h3_session *, int64_t id);
/* GOAWAY with that id. */
void h3_session_go_away(struct h3_session *, uint64_t id);
/* What the session holds of bodies and heads has changed by that much. */
void h3_session_hold(struct h3_session *, size_t before, size_t after);

/* ---- receiving.c */

/* Bytes of a request stream, and its end. */
void h3_stream_receive(struct h3_stream *, const uint8_t *bytes, size_t n, bool end);
/* What was kept back goes its way, once nothing holds it any more. */
void h3_stream_release(struct h3_stream *);
/* Entries have come: those go on that waited for them. */
void h3_session_retry_sections(struct h3_session *);
/* Nothing that comes on it, or waits, is decoded any more. */
void h3_stream_forget_sections(struct h3_stream *);

/* ---- sending.c */

size_t h3_session_next(struct quic_user *, int64_t *ret_id, bool *ret_end, struct iovec *vec, size_t most);
void   h3_session_taken(struct quic_user *, int64_t id, size_t n);
void   h3_session_acked(struct quic_user *, int64_t id, uint64_t n);
void   h3_session_blocked(struct quic_user *, int64_t id);
void   h3_session_window(struct quic_user *, int64_t id);
/* It waits for its window, with so many bytes that are held; 0: not any more. */
void   h3_stream_park(struct h3_stream *, size_t bytes);
/* It has something to send, unless its window is full; or what it has is another thing by now. */
void   h3_stream_make_ready(struct h3_stream *);
void   h3_stream_unready(struct h3_stream *);
/* Its priority is another one from now on. */
void   h3_stream_set_priority(struct h3_stream *, struct priority_level);
/* Compresses fields as a HEADERS frame. 0, or -1: the session broke. */
int    h3_stream_write_section(struct h3_stream *, const struct field_pair *, size_t n);

/* ---- stream.c */

/* A stream with its leg set up, in the session's list. NULL without memory. */
struct h3_stream *h3_stream_create(struct h3_session *, int64_t id);
struct h3_stream *h3_stream_find(struct h3_session *, int64_t id);
/* The transport has given it an id. */
void h3_stream_set_id(struct h3_stream *, int64_t id);
/* Gone from every list; the memory goes at the end of the turn. The leg is detached. */
void h3_stream_close(struct h3_stream *);
/* The same; an exchange that is still there hears `abort`. */
void h3_stream_end(struct h3_stream *, enum abort_code abort);
/* The peer broke the rules of messages: the exchange ends and the stream is reset. */
void h3_stream_refuse(struct h3_stream *, const char *detail);
/* Ends both halves; the leg is detached, or is before the turn ends. One without an id is closed. */
void h3_stream_reset(struct h3_stream *, uint64_t code);
/* The exchange is told, and the stream reset. */
void h3_stream_break(struct h3_stream *, enum abort_code, uint64_t code);
/* Bytes of a DATA frame. */
void h3_stream_receive_content(struct h3_stream *, const uint8_t *bytes, size_t n);
void h3_stream_receive_end(struct h3_stream *);
/* The head, or the body, is waited for while there is credit; 0 credit, end or stop: not. */
void h3_stream_await_head(struct h3_stream *, uint64_t timeout);
void h3_stream_await_body(struct h3_stream *);
/* Something is to be sent: the peer has to take it in time. `on` false: nothing is. */
void h3_stream_await_window(struct h3_stream *, bool on);
/* n bytes of it went into packets. */
void h3_stream_note_sent(struct h3_stream *, size_t n);
/* Our half is complete. */
void h3_stream_finish_sending(struct h3_stream *);

/* leg_ops that both sides share; send_head is each side's. */
void h3_stream_want_pull(struct leg *);
void h3_stream_grant(struct leg *, size_t n);
void h3_stream_stop(struct leg *);
void h3_stream_abort(struct leg *, enum abort_code);
/* Notes that s->head is to be sent. */
void h3_stream_send_later(struct h3_stream *);

static inline struct h3_stream *h3_stream_of(struct leg *leg) {
    return (struct h3_stream *)leg;
}
