/* protocol.h — the xDS transport protocol from the client's side, for one server, as pure logic.
 *
 * State of the world or delta, one aggregated stream or one stream for each type. There is no network, loop or thread
 * here: the owner opens streams, hands over responses (decoded), sends the requests that it is given, and passes the
 * time. docs/internals/xds.md has the rules; the unit test test_rules.c has one test for each.
 *
 *     xds_protocol_create, xds_protocol_add_type ..., xds_protocol_subscribe ...
 *     while running, after each event:
 *         xds_protocol_opened | _receive | _sent | _closed | _subscribe | _ready | _refuse | _advance
 *         while (xds_protocol_next_request(...) == 1)   write it; xds_protocol_sent when it has really left
 *         while ((r = xds_protocol_take_news(...)))      use r->copy, or what r->state says
 *         wake up at xds_protocol_deadline()
 *
 * Times are microseconds of one monotonic clock and never go back. Everything is bounded by struct xds_options. A
 * failed allocation is an error of the call that needed it; what was told before stays true. Thread: one at a time. */
#pragma once

#include "controlplane/xds/cache.h"
#include "controlplane/xds/message.h"

struct xds_protocol;

enum { XDS_TYPES_MAX = 16 };

enum xds_verdict { XDS_VALID, XDS_INVALID, XDS_JUDGE_NO_MEMORY };

/* Judges one resource of type number `type`. When it is invalid, appends why, with the path of the field, to
 * `reasons`. Must not call the protocol. The same bytes may be judged again. */
typedef enum xds_verdict xds_judge(void *context, size_t type, struct str name, struct str bytes,
                                   struct strbuf *reasons);

struct xds_options {
    enum xds_form form;
    bool          is_aggregated;            /* ADS: stream 0 carries all types; otherwise stream i carries type i */
    uint64_t      poll_wait;                /* see below; 0: the server sends of itself, on streams */
    /* What the server's bootstrap entry says (gRFC A53, A88). */
    bool          fail_on_data_errors;      /* a refused, removed or denied resource loses its copy */
    bool          ignore_resource_deletion; /* not even a resource that was never named loses its copy by absence */
    bool          is_timer_transient;       /* resource_timer_is_transient_error: TIMEOUT for DOES_NOT_EXIST */
    uint64_t      resource_timeout;         /* how long a resource may take; 0: for ever */
    /* Pacing. */
    uint32_t      request_tokens, requests_per_second;  /* of each stream; 0 tokens: no limit */
    uint64_t      nack_wait, nack_wait_max;             /* from the second NACK in a row, doubled each time */
    uint64_t      retry_wait, retry_wait_max;           /* between streams */
    uint64_t      reopen_wait;                          /* between streams that are closed for xds_protocol_must_reopen */
    uint64_t      random;                               /* seed of jitter; 0 becomes 1 */
    /* Bounds. */
    uint64_t      hold_max;                 /* how long an ACK is held back at most */
    size_t        holds_max;                /* responses whose READY is awaited */
    size_t        answers_max;              /* ACKs and NACKs of one type that wait for being sent */
    size_t        resources_max, bytes_max; /* of the cache */
    size_t        name_max;                 /* bytes of a name, version or nonce */
};

/* 15 s, 100 tokens and 10 requests a second, NACKs 1 s to 60 s, retries 1 s to 120 s, 60 s, holds 60 s and 64, 1,000,000
 * resources and 1 GiB. State of the world, aggregated. */
void xds_options_defaults(struct xds_options *o);

/* ---- polling: the state of the world, asked for again and again, each type by itself ----
 *
 * With poll_wait a stream is the polls of one type, one at a time, as long as they are answered. Each request says all:
 * version_info, the names, and the reason of a refusal before it. The next is due `poll_wait` to twice as long after an
 * answer, at once when more is wanted, and not while READY is awaited. A version stands for the names that were asked for
 * with it: while there are others, none is named, so that all is sent.
 *
 *     xds_protocol_next_request(...) == 1     ask
 *     xds_protocol_sent, then xds_protocol_receive or xds_protocol_unchanged     an answer
 *     xds_protocol_closed     no answer, or not a good one; `retry_wait` later the stream may be opened again */

struct xds_type_options {
    struct str type_url;                    /* copied */
    bool       is_complete;                 /* a response of the state of the world has all (Listener, Cluster) */
    bool       is_wildcard_explicit;        /* ask for everything by "*" even where naming nothing would do */
    bool       is_held;                     /* ACKs wait for xds_protocol_ready */
};

/* NULL without memory. `judge` and `context` must outlive it. */
struct xds_protocol *xds_protocol_create(const struct xds_options *o, xds_judge *judge, void *context, uint64_t now);
void                 xds_protocol_destroy(struct xds_protocol *p);
bool                 xds_protocol_is_delta(const struct xds_protocol *p);

enum xds_result {
    XDS_OK,
    XDS_NO_MEMORY,
    XDS_LIMIT,              /* one of the bounds above */
    XDS_PROTOCOL_ERROR,     /* the server did what it must not: close the stream */
};

/* Before the first stream. Types are numbered from 0, and asked for in that order (Cluster, ClusterLoadAssignment,
 * Listener, RouteConfiguration is a good one). */
enum xds_result xds_protocol_add_type(struct xds_protocol *p, const struct xds_type_options *o, size_t *ret_type);
size_t          xds_protocol_stream_count(const struct xds_protocol *p);
size_t          xds_protocol_stream_of(const struct xds_protocol *p, size_t type);
size_t          xds_protocol_type_count(const struct xds_protocol *p);
struct str      xds_protocol_type_url(const struct xds_protocol *p, size_t type);

/* ---- what is wanted. "*" is everything that the server has for this client. Idempotent. ---- */

enum xds_result xds_protocol_subscribe(struct xds_protocol *p, size_t type, struct str name);
/* The copy is gone at once, unless everything is wanted too, or at the latest when the server has been told. */
void            xds_protocol_unsubscribe(struct xds_protocol *p, size_t type, struct str name);

/* ---- streams ---- */

/* Whether a stream should be opened now: something is wanted and the wait after the last one is over. */
bool            xds_protocol_is_due(const struct xds_protocol *p, size_t stream, uint64_t now);
void            xds_protocol_opened(struct xds_protocol *p, size_t stream);
/* The stream has ended, or the connection was refused (then without xds_protocol_opened). `reason` is kept as the
 * stream's error when there was no response on it; with one, the end is none (gRFC A57). */
void            xds_protocol_closed(struct xds_protocol *p, size_t stream, struct str reason, uint64_t now);
/* Whether the owner should end the stream, and open another: names were given up on it, and one that is wanted has not come
 * in time, or everything was given up and is wanted again. There are servers that do not send twice on a stream what has not
 * changed. In delta they do not send again what was refused either, which xds_protocol_refuse may have been for a reason
 * that has passed. */
bool            xds_protocol_must_reopen(const struct xds_protocol *p, size_t stream, uint64_t now);
/* Why there is no connection; empty when all is well. Valid until the next call. Not for those who ask the gateway
 * (gRFC A54): for logs and status. */
struct str      xds_protocol_stream_error(const struct xds_protocol *p, size_t stream);

/* 1 and the next request; 0: nothing to send now; -1: no memory, try again later. There is none while the one before
 * has not been sent, nor while the pace forbids it. */
int             xds_protocol_next_request(struct xds_protocol *p, size_t stream, uint64_t now, struct xds_request *ret);
/* The request has really left on a connected transport; timers of what it asks for start now. */
void            xds_protocol_sent(struct xds_protocol *p, size_t stream, uint64_t now);

/* False: too many answers wait; read on when some have been sent, so that a server cannot outrun us. */
bool            xds_protocol_can_receive(const struct xds_protocol *p, size_t stream);
/* Anything but XDS_OK: the owner closes the stream. */
enum xds_result xds_protocol_receive(struct xds_protocol *p, size_t stream, const struct xds_response *response,
                                     uint64_t now);

/* Polling: the server has nothing newer than the version that was named. */
void            xds_protocol_unchanged(struct xds_protocol *p, size_t stream);

/* ---- what came of it ---- */

/* The next resource with news, or NULL. It is valid until the next call; `*ret_news` is of XDS_NEWS_*. */
struct xds_resource *xds_protocol_take_news(struct xds_protocol *p, unsigned *ret_news);
/* All of a type, for CSDS: first *position = NULL; NULL at the end. Nothing else may be called meanwhile. */
const struct xds_resource *xds_protocol_next_resource(const struct xds_protocol *p, size_t type,
                                                      const struct xds_resource *position);
const struct xds_resource *xds_protocol_find(const struct xds_protocol *p, size_t type, struct str name);
/* The version_info that was accepted last; empty: none, or delta. */
struct str                 xds_protocol_version(const struct xds_protocol *p, size_t type);

/* Whether a response of the type has come on its stream, or on the last one when none is open. */
bool                       xds_protocol_has_answered(const struct xds_protocol *p, size_t type);

/* Number of the newest response: what is made of all news up to now. */
uint64_t xds_protocol_ticket(const struct xds_protocol *p);
/* All responses up to the ticket are in use: held ACKs go out. */
void     xds_protocol_ready(struct xds_protocol *p, uint64_t ticket);
/* A data plane refuses the resource as it was in the newest response up to the ticket that changed it. It becomes
 * NACKED, the copy from before comes back, and where the answer has not been sent it becomes a NACK. XDS_LIMIT: that
 * response is settled already; the state is set, the copy stays. */
enum xds_result xds_protocol_refuse(struct xds_protocol *p, size_t type, struct str name, uint64_t ticket,
                                    struct str reason, uint64_t now);

/* ---- time ---- */

/* When something is to be done next: xds_protocol_advance, a request, a stream. UINT64_MAX: nothing. */
uint64_t xds_protocol_deadline(const struct xds_protocol *p);
void     xds_protocol_advance(struct xds_protocol *p, uint64_t now);

struct xds_counters {
    uint64_t requests, responses, acks, nacks;
    uint64_t ignored_types, ignored_resources;  /* not asked for */
    uint64_t timeouts, expired;                 /* resources that never came; whose TTL ran out */
    uint64_t deletions_ignored;
    uint64_t holds_expired, late_refusals;
};

const struct xds_counters *xds_protocol_counters(const struct xds_protocol *p);
