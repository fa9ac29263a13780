/* session.h — one HTTP/2 connection (RFC 9113): what the side that faces clients and the one that faces origins share.
 *
 * A session is a struct conn with an nghttp2 session and a list of streams, each with the leg of one exchange. The library
 * keeps the state machine, HPACK and the windows; heads are translated by
 * http/sections.h. Rules that this file and stream.c keep:
 *
 *   - mem_send runs in `produce` only, never within a callback. Everything else that the library is told (windows, resets,
 *     resumed streams) is told at once and leaves with the next flush.
 *   - A head is handed to the library without copies, and compressed before `produce` returns: what it points to may go
 *     any time later.
 *   - A DATA frame is its nine bytes in the gather and then the slices themselves. With its head it fits one TLS record.
 *   - The window of the connection is given back when bytes enter a flow; a stream's window is the flow's credit. So a
 *     stream that nobody reads stops nobody else.
 *   - Whatever a peer can make us do for little has a bound, and each bound has a counter.
 *
 * Thread: the worker's. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "dataplane/codec/h2/frames.h"
#include "dataplane/core/pace.h"
#include "dataplane/http/exchange.h"
#include "dataplane/http/priority.h"
#include "dataplane/http/sections.h"
#include "dataplane/net/conn.h"

enum {
    H2_WINDOW = 65535,                     /* of a stream before SETTINGS say otherwise (RFC 9113 section 6.9.2) */
    H2_PAYLOAD_MAX = 16384 - 9,            /* of a DATA frame that we send */
    H2_FRAME_BUFFER = 17 << 10,            /* bytes of worker->frame_buffer */
};

struct h2_session;
struct h2_stream;

/* What differs between the two sides. */
struct h2_role {
    bool            is_server;
    enum abort_code gone, refused, malformed, too_large, write_timeout;
    /* A field section begins on a stream that has none of ours yet. Makes the stream and begins session->reader, or
     * returns NULL: the section is decoded and thrown away. */
    struct h2_stream *(*on_open)(struct h2_session *, int32_t id);
    /* The head that session->reader has is complete. */
    void (*on_head)(struct h2_stream *, bool end);
    /* The stream's deadline for what it is to receive has passed. */
    void (*on_body_deadline)(struct h2_stream *);
    /* The stream is closed and gone from the list; its leg is detached. */
    void (*on_closed)(struct h2_stream *);
    /* Whether the peer lets one more head out. NULL: always. */
    bool (*has_room)(const struct h2_session *);
    /* Gives the head to the library; 0, or a code of it, and the exchange may have ended. */
    int  (*submit)(struct h2_stream *, const nghttp2_data_provider *);
    /* What the peer sent, once the library knows of it; of GOAWAY before the streams are closed that it names. May be
     * NULL. */
    void (*on_settings)(struct h2_session *);
    void (*on_goaway)(struct h2_session *);
    void (*on_ping_ack)(struct h2_session *, const uint8_t opaque[8]);
    void (*on_priority_update)(struct h2_session *, int32_t id, struct str value);
    const struct leg_ops *leg_ops;
};

struct h2_session {
    struct conn           conn;            /* first */
    const struct h2_role *role;
    nghttp2_session      *library;
    struct worker        *worker;          /* whose memory the library gets, from before conn_init on */
    struct gather        *gather;          /* within produce */
    struct section_limits      limits;
    struct h2_stream     *streams;         /* all that are open */
    struct h2_stream     *pending, *last_pending; /* those with a head to send, in order */
    struct h2_stream     *leaving;         /* its head is with the library, which compresses it next; NULL: none is */
    uint32_t              stream_count;
    uint32_t              window;          /* what SETTINGS gave each stream; H2_WINDOW until they are acknowledged */
    uint32_t              window_offered;
    struct section_reader      reader;          /* of the field section that is being received */
    struct h2_stream     *reading;         /* whose it is; NULL: nobody wants it */
    struct h2_frames      frames;
    struct http2_limits   frame_limits;
    enum h2_fault         fault;           /* that ended the connection */
    uint64_t              settings_timeout;
    struct timer          settings_timer;  /* runs until our SETTINGS are acknowledged */
    struct timer          rest_timer;      /* runs for a while after the last stream */
    struct page           table;           /* of streams, the library's (memory.c) */
    uint64_t              header_bytes, header_bytes_most; /* of heads and trailers that came, of all open streams */
    struct pace           block;           /* the window of the connection */
    uint64_t              data_at;         /* when the last DATA frame went */
    uint32_t              content;         /* bytes of bodies in what was read last */
    bool                  is_bulk;         /* most of that was bodies */
    bool                  in_section;      /* a field section is half sent */
    bool                  is_single;       /* mem_send is to return after one frame of DATA */
    bool                  is_paused;       /* it did, or the gather filled up in the middle of it */
    bool                  is_short;        /* memory was */
    bool                  is_failed;       /* the library broke off: nothing more is read or written */
};

struct h2_stream {
    struct leg          leg;               /* first */
    struct reapable     reapable;
    struct timer        timer;
    struct worker      *worker;            /* the session may be freed first */
    struct h2_session  *session;
    struct h2_stream   *next, *prev;       /* of the session */
    struct h2_stream   *next_pending;
    struct h2_stream   *next_complete;     /* of requests that wait for the end of what was read (server.c) */
    struct head        *request;           /* of such a one */
    int32_t             id;                /* 0: a request that was not given to the library yet */
    const struct head  *head;              /* to be sent; NULL: none, or sent */
    bool                head_ends;         /* nothing follows it */
    bool                sent_head;
    bool                is_pending, is_closed;
    bool                has_head;          /* a final head has been received */
    bool                received_end, sent_end;
    bool                is_stopped;        /* what comes is thrown away */
    bool                expects;           /* the peer waits for 100 (Continue) */
    bool                is_malformed;      /* the peer broke the rules of messages */
    bool                has_no_body;       /* what we send has none, whatever its fields say */
    struct str          asks_tunnel;       /* towards an origin: the protocol of the extended CONNECT sent; empty: none */
    bool                asks_head;         /* a request of ours is HEAD */
    uint32_t            batch;             /* of writing that the head of a request went with */
    bool                is_deferred;       /* the library asks again after a resume */
    bool                wants_room;        /* and that is when the peer's window has grown */
    struct fields      *trailers;          /* received, in the exchange's arena */
    int64_t             to_receive, to_send; /* bytes that Content-Length still announces; -1: unknown */
    uint32_t            header_bytes;      /* part of the session's */
    struct priority  asked, answered;   /* towards a client: what it said, what the origin did */
    uint64_t            received;
    uint64_t            began;             /* receiving the body */
    uint32_t            padding;           /* received and not given back */
    struct slice_queue  frame;             /* of the DATA frame that is being made, and a byte behind it */
    uint64_t            body_deadline, write_deadline;
    struct pace         block;             /* the stream's window */
    char                digits[32];        /* of the head that is out */
};

struct h2_session_options {
    uint32_t window;                       /* of a stream, to begin with; at most H2_WINDOW */
    uint32_t header_list_bytes;            /* 0: not announced */
    const struct http2_options *http2;     /* read now only */
};

/* ---- session.c */

/* Before conn_init, on zeroed memory. Makes the library's session and queues SETTINGS. Returns 0, or -1 without memory
 * (nothing to finish). */
int  h2_session_init(struct h2_session *, struct worker *, const struct h2_role *, const struct h2_session_options *);
/* In conn_ops.destroy: all legs are detached by then. */
void h2_session_finish(struct h2_session *);
/* All that was received passes here. */
void h2_session_receive(struct h2_session *, const uint8_t *bytes, size_t n);
/* As conn_ops.read_limit. */
size_t h2_session_read_limit(const struct h2_session *);
/* Every exchange is told. */
void h2_session_drop_streams(struct h2_session *, enum abort_code);
/* The same, and the connection is closed. */
void h2_session_give_up(struct h2_session *, enum abort_code);
/* GOAWAY with that code; the connection ends once it is written (h2_session_is_over). */
void h2_session_terminate(struct h2_session *, uint32_t code);
/* Nothing more will be read or written: what is in conn.out is the last. */
bool h2_session_is_over(const struct h2_session *);
/* The connection is of no more use. */
void h2_session_fail(struct h2_session *);

/* ---- sending.c */

/* As conn_ops.produce. */
bool h2_session_produce(struct h2_session *, struct gather *);

/* ---- memory.c */

/* The library's allocator; s->worker is set. */
nghttp2_mem h2_session_memory(struct h2_session *);
/* The connection is idle: what is empty is given back until it is used again. */
void h2_memory_rest(struct h2_session *);
/* The worker holds as much for its sessions as it may: nothing new is begun. */
bool h2_memory_is_spent(const struct worker *);

/* ---- stream.c */

/* A stream with its leg set up, in the session's list. NULL without memory. */
struct h2_stream *h2_stream_create(struct h2_session *, int32_t id);
/* Gone from every list; the memory goes at the end of the turn. The leg is detached. The library has closed the stream, or
 * never knew of ours. */
void h2_stream_close(struct h2_stream *);
/* The same, where the library may go on with the stream. */
void h2_stream_abandon(struct h2_stream *);
/* The peer broke the rules of messages: the exchange ends and the stream is reset. */
void h2_stream_refuse(struct h2_stream *, const char *detail);
/* Resets the stream; its leg is detached. One that the library does not know is closed. */
void h2_stream_reset(struct h2_stream *, uint32_t code);
/* Bytes of a DATA frame. */
void h2_stream_receive(struct h2_stream *, const uint8_t *bytes, size_t n);
void h2_stream_receive_end(struct h2_stream *);
/* The body is waited for while there is credit; 0 credit, end or stop: not. */
void h2_stream_await_body(struct h2_stream *);
/* The peer has opened a window. */
void h2_stream_resume(struct h2_stream *);
/* The library's callbacks for DATA that we send. */
ssize_t h2_stream_read_data(nghttp2_session *, int32_t id, uint8_t *, size_t length, uint32_t *flags, nghttp2_data_source *,
                            void *);
int     h2_stream_send_data(nghttp2_session *, nghttp2_frame *, const uint8_t *head, size_t length, nghttp2_data_source *,
                            void *);
/* Room for any frame that the library may come with. */
bool    h2_gather_has_room(struct gather *);
/* There is something to send from now on, when the peer lets it go. */
void    h2_stream_await_window(struct h2_stream *);
/* END_STREAM has been sent. */
void    h2_stream_finish_sending(struct h2_stream *);

/* leg_ops that both sides share; send_head is each side's. */
void h2_stream_want_pull(struct leg *);
void h2_stream_grant(struct leg *, size_t n);
void h2_stream_stop(struct leg *);
void h2_stream_abort(struct leg *, enum abort_code);
/* Notes that s->head is to be sent. */
void h2_stream_send_later(struct h2_stream *);

_Static_assert(sizeof(struct field_pair) == sizeof(nghttp2_nv) &&
                   offsetof(struct field_pair, value) == offsetof(nghttp2_nv, value) &&
                   offsetof(struct field_pair, name_n) == offsetof(nghttp2_nv, namelen) &&
                   offsetof(struct field_pair, value_n) == offsetof(nghttp2_nv, valuelen) &&
                   offsetof(struct field_pair, flags) == offsetof(nghttp2_nv, flags),
               "the library takes them as they are");
_Static_assert((int)PAIR_NEVER_INDEXED == NGHTTP2_NV_FLAG_NO_INDEX && (int)PAIR_NAME_KEPT == NGHTTP2_NV_FLAG_NO_COPY_NAME &&
                   (int)PAIR_VALUE_KEPT == NGHTTP2_NV_FLAG_NO_COPY_VALUE,
               "and their flags");

static inline const nghttp2_nv *h2_pairs(const struct field_pair *pairs) {
    return (const nghttp2_nv *)pairs;
}

/* As nghttp2_is_fatal, without a call. */
static inline bool h2_is_fatal(int status) {
    return status < NGHTTP2_ERR_FATAL;
}

/* What a call into the library said: 0 and codes that concern one stream only are fine, others end the connection. */
static inline void h2_session_check(struct h2_session *s, int status) {
    if (h2_is_fatal(status) || s->is_short)
        h2_session_fail(s);
}

static inline struct h2_stream *h2_stream_of(struct leg *leg) {
    return (struct h2_stream *)leg;
}
