/* internal.h — what the files of the protocol share: protocol.c (streams, time), interest.c (what is wanted),
 * requests.c (what goes out), responses.c (what comes in), settle.c (answers, tickets). */
#pragma once

#include "common/map.h"
#include "controlplane/xds/pace.h"
#include "controlplane/xds/protocol.h"

/* Why resources are refused, as the server is told: as much as there is room for. */
struct xds_reasons {
    struct strbuf text;
    size_t        unsaid;               /* reasons for which there is no room */
};

/* An ACK or NACK that is to be sent; one block with its texts behind it. */
struct xds_answer {
    struct xds_answer *next;
    uint64_t           ticket;
    struct str         nonce, version;
    struct xds_reasons reasons;         /* of a NACK */
    bool               is_refusal;
    bool               is_held;
    char               block[];
};

/* What a copy was before a response changed it; `previous` may be NULL. */
struct xds_change {
    struct str       name;              /* owned */
    struct xds_copy *previous;
};

/* The changes of one response that is not settled yet. */
struct xds_journal {
    struct xds_journal *next;           /* newer */
    struct xds_type    *type;
    uint64_t            ticket, expires_at;
    struct str          version;        /* owned; becomes the accepted one when READY comes */
    bool                is_void;        /* its version is not to be called accepted */
    struct xds_change  *changes;
    size_t              change_count, change_capacity;
    struct map          by_name;        /* their numbers + 1 */
};

/* What was said of the names that are wanted since the last response came. */
enum xds_told { XDS_TOLD_NOTHING, XDS_TOLD_MORE, XDS_TOLD_AGAIN };

/* How a server has been told that everything is wanted. */
enum xds_wildcard { XDS_WILDCARD_NONE, XDS_WILDCARD_LEGACY, XDS_WILDCARD_EXPLICIT };

struct xds_type {
    size_t             number;
    struct str         type_url;        /* owned */
    bool               is_complete, is_wildcard_explicit, is_held;
    struct xds_table   table;
    bool               wants_all;
    bool               is_changed;      /* what is wanted is not what the server was told */
    struct str         version;         /* owned; the last accepted; state of the world only */
    uint32_t           nacks;           /* in a row */
    uint64_t           nack_at;         /* no NACK before, unless there is an answer behind it: then not before ... */
    uint64_t           next_nack_at;    /* ... a wait after the last one went */
    uint64_t           poll_at;         /* no poll before, unless more is wanted */
    bool               has_answered;    /* on the present stream, or on the last one */
    /* Of the present stream. */
    bool               has_asked, has_named, has_cancelled, has_cancelled_all;
    enum xds_told      told;
    bool               must_tell_again; /* the next change repeats the last one */
    bool               is_version_void; /* it may be of before everything was wanted: not for another stream */
    enum xds_wildcard  told_wildcard;
    struct str         nonce;           /* owned; the last received */
    struct xds_answer *answers, **answers_end;
    size_t             answer_count;
};

struct xds_stream {
    bool                is_open, has_sent, has_received;
    uint64_t            opened_after;   /* the newest response at that time */
    struct xds_type    *in_flight;      /* of the request that has not been sent yet */
    bool                is_announcing;  /* it tells what is wanted */
    struct xds_answer  *sending;        /* what the views of that request point at */
    size_t              turn;           /* the type that is asked first */
    uint32_t            failures;
    uint64_t            retry_at;
    bool                is_in_doubt;    /* whether the server sends all that is wanted */
    uint64_t            reopen_at;      /* not before, for that reason */
    uint64_t            again_at;       /* opened anew then, so that what was refused is sent again; 0: no need */
    struct token_bucket bucket;
    struct strbuf       error;
};

struct xds_protocol {
    struct xds_options   o;
    xds_judge           *judge;
    void                *context;
    struct xds_cache     cache;
    struct xds_type      types[XDS_TYPES_MAX];
    size_t               type_count;
    struct xds_stream    streams[XDS_TYPES_MAX];
    struct xds_journal  *journals, **journals_end;
    size_t               journal_count;
    uint64_t             ticket;        /* of the newest response */
    struct xds_counters  counters;
    struct xds_resource *taken;         /* by the owner; may have to go */
    /* For the views of requests. */
    struct str              *names;
    struct xds_name_version *versions;
    size_t                   name_capacity, version_capacity;
};

static inline bool xds_is_polled(const struct xds_protocol *p) {
    return p->o.poll_wait > 0;
}

static inline bool xds_is_wildcard(struct str name) {
    return name.n == 1 && name.p[0] == '*';
}

/* ---- protocol.c ---- */

/* `owned` becomes a copy of the text, with a NUL behind it. 0, or -1 without memory, when it stays as it is. */
int  xds_own(struct str *owned, struct str text);
void xds_disown(struct str *owned);
/* The types of a stream: from first to below last. */
void xds_stream_types(const struct xds_protocol *p, const struct xds_stream *s, size_t *ret_first, size_t *ret_last);

/* ---- interest.c ---- */

bool xds_type_is_wanted(const struct xds_type *t);                  /* by name or all */
/* Whether what the server sends is to be taken; `r` NULL: of a resource that is not there yet. What the server has not
 * been told to stop sending counts, so that wanting it again before that loses no update. */
bool xds_type_wants(const struct xds_type *t, const struct xds_resource *r);
void xds_type_sweep(struct xds_protocol *p, struct xds_type *t);    /* lets go what nobody wants */
bool xds_resource_is_kept(const struct xds_protocol *p, const struct xds_resource *r);

/* ---- requests.c ---- */

/* When there may be a request for the type, pace of the stream aside: 0 now, UINT64_MAX when nothing is to be said. */
uint64_t xds_type_due_at(const struct xds_protocol *p, const struct xds_type *t);
void     xds_type_tell_again(struct xds_protocol *p, struct xds_stream *s, struct xds_type *t); /* behind a response */

/* ---- responses.c ---- */

void xds_reasons_add(struct xds_reasons *reasons, struct str name, struct str reason);

/* ---- settle.c ---- */

/* 0, or -1 without memory. A refusal has reasons, which are copied. */
int                xds_answer_add(struct xds_protocol *p, struct xds_type *t, const struct xds_response *response,
                                  bool is_held, const struct xds_reasons *reasons);
struct xds_answer *xds_answer_take(struct xds_type *t);     /* nothing is added to its reasons any more */
void               xds_answer_free(struct xds_answer *a);
void               xds_answers_drop(struct xds_type *t);
/* One more NACK in a row: sets when it may go. */
void               xds_type_count_nack(struct xds_protocol *p, struct xds_type *t, uint64_t now);

/* The journal of the newest response; settles the oldest one when there are too many. NULL without memory. */
struct xds_journal *xds_journal_create(struct xds_protocol *p, struct xds_type *t, struct str version, uint64_t now);
/* Takes `previous`, which may be NULL. 0, or -1 without memory, when `previous` stays the caller's. */
int                 xds_journal_add(struct xds_journal *j, struct str name, struct xds_copy *previous);
bool                xds_type_has_journal(const struct xds_protocol *p, const struct xds_type *t);
/* What is accepted no longer says what is held. */
void                xds_type_void_version(struct xds_protocol *p, struct xds_type *t);
void                xds_journals_expire(struct xds_protocol *p, uint64_t now);
void                xds_journals_finish(struct xds_protocol *p);
