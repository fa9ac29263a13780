/* exchange.h — one HTTP request and its response, whatever the version on either side.
 *
 * Words: front (client side), back (origin side), request and response flows, leg (a codec stream's half of an exchange),
 * layer (a filter at work). Thread: an exchange lives and dies on one worker; nothing here is shared or locked.
 *
 * Data moves by one rule: the source pushes what it was granted credit for (exchange_on_body), the sink pulls when it can
 * write (exchange_pull), and credit goes back to the source as the sink takes bytes. Codecs call the functions below; the
 * core calls codecs through leg_ops, which only record and mark dirty and never call up. docs/internals/exchange.md has the
 * order of calls and the closing states. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "dataplane/core/slice.h"
#include "dataplane/core/view.h"
#include "dataplane/core/worker.h"
#include "dataplane/http/abort.h"
#include "dataplane/http/definitions.h"
#include "dataplane/http/filter.h"
#include "dataplane/http/head.h"
#include "dataplane/routing/route.h"

struct exchange;
struct leg;
struct tls_session;
struct conn_ends;

struct leg_ops {                                         /* core -> codec; record intent and mark dirty, never call up */
    const char *name;                                    /* "h1", "static", "loopback" */
    /* As sink: write this head; `end`: nothing follows. Again for each 1xx. The head stays valid until the leg is
     * detached. */
    void (*send_head)(struct leg *, const struct head *, bool end);
    void (*want_pull)(struct leg *);                     /* as sink: there is something to pull, or the end */
    void (*grant)(struct leg *, size_t n);               /* as source: n more bytes are welcome */
    void (*stop)(struct leg *);                          /* as source: no more is wanted; the other flow lives on */
    void (*abort)(struct leg *, enum abort_code);        /* last call; the leg is already detached */
    /* Of a front: forgets the final head that it was given, if no byte of it is written; another one follows. False, or
     * NULL: it is too late. */
    bool (*take_head_back)(struct leg *);
    /* Of a front: both ends of the client's connection. False, or NULL: not known. */
    bool (*get_ends)(const struct leg *, struct conn_ends *);
    /* Credit is no promise to its peer: it looks before each read, and one that may not read just waits. */
    bool reads_on_demand;
};

struct leg {                                             /* embedded in the codec's stream */
    const struct leg_ops *ops;
    struct exchange      *exchange;                      /* NULL: detached */
    uint32_t              least_grant;                   /* as source: its peer does not hear of less; 0: of any */
};

enum flow_state { FLOW_HEAD, FLOW_BODY, FLOW_END, FLOW_ABORTED }; /* what the source has delivered; only moves right */

struct flow {                                            /* one direction */
    enum flow_state    state;
    bool               pulled_end;                       /* the sink has seen PULL_END or PULL_ABORT, or is gone */
    bool               is_on_demand;                     /* credit takes none of the worker's budget, only what has come */
    struct head       *head;
    struct fields     *trailers;
    struct slice_queue queue;                            /* admitted by the source, not yet pulled */
    uint64_t           limit;                            /* bytes */
    uint64_t           used;                             /* in the queue */
    uint64_t           granted;                          /* credit that the source holds and has not used */
    uint64_t           bytes;                            /* admitted so far */
    struct leg        *source, *sink;                    /* NULL once detached */
};

/* What answers once the request has passed all layers: the proxy, in production. */
struct terminal_ops {
    const char *name;
    /* The request head is complete. Attaches a back leg sooner or later, or calls exchange_fail. */
    void (*start)(struct exchange *);
    /* The back leg broke off before a response head was passed on. True: another attempt is under way. */
    bool (*retry)(struct exchange *, enum abort_code);
    /* The final response head has come, and may be added to; true: it is not passed on, another attempt is under way. */
    bool (*refuses)(struct exchange *, struct head *);
    /* The exchange's deadline for the present phase has passed. */
    void (*on_deadline)(struct exchange *);
    /* The request has become a tunnel, which may live for days. What belongs to the snapshot is not to be used any more, and
     * of the calls of this table only `finish` follows. May be NULL. */
    void (*opened)(struct exchange *);
    /* The exchange ends; anything still pending (a connect) is given up. Once. */
    void (*finish)(struct exchange *);
    /* Of the second leg, for a terminal that attaches one. The final head has come; true: it has become the back, and what
     * is said of a back follows. False: it was dropped. */
    bool (*on_second_head)(struct exchange *, const struct head *);
    void (*on_second_abort)(struct exchange *, enum abort_code);    /* it broke off; it is detached already */
};

enum { EXCHANGE_FIRST_ARENA = 3072, EXCHANGE_INTERIM_MAX = 8, EXCHANGE_TERMINAL_SIZE = 320 };

enum tunnel_state { TUNNEL_NONE, TUNNEL_ASKED, TUNNEL_OPEN };

struct exchange {
    struct reapable                   reapable;
    struct borrower                   borrower;
    struct timer                      timer;
    struct worker                    *worker;
    struct snapshot_view             *view;
    const struct listener_definition *listener;
    const struct bound_table         *routes;            /* NULL until it is known which */
    const struct route               *route;             /* NULL until matched */
    struct route_match                match;
    uint32_t                          choice;            /* of a cluster (route_pick_cluster), once has_choice */
    bool                              has_choice;
    struct str                        path;              /* canonical */
    struct leg                       *front, *back;
    struct flow                       request, response;
    struct arena                      arena;
    struct layer                     *layers;            /* all of the chain, in one block */
    unsigned                          layer_count;
    unsigned                          entered;           /* layers that have seen the request */
    unsigned                          response_left;     /* layers that have yet to see the response head */
    unsigned                          replaced_at;       /* 1 + the layer that replaced the response; 0: none did */
    const struct terminal_ops        *terminal;
    struct head                      *attempt_head;      /* what the present attempt sends; NULL: the request's head */
    bool                              has_started_terminal;
    bool                              is_parked;         /* a layer said WAIT */
    struct layer                     *waiting;           /* that layer */
    bool                              in_hook;
    int                               remembered;        /* a verdict that came while in_hook, or -1 */
    bool                              is_answered;       /* the front has the final response head, and keeps it */
    bool                              is_over;
    struct slice_queue                kept;              /* of the request's body: sent, but perhaps not for good */
    uint64_t                          keep_limit;        /* bytes */
    bool                              has_forgotten;     /* something that was sent is not in `kept` */
    bool                              withholds_credit;  /* Expect: 100-continue, and nobody asked for the body yet */
    bool                              keeps_view_for_head; /* of an open tunnel: until the front has written that */
    unsigned                          interim_count;
    enum tunnel_state                 tunnel;
    uint64_t                          tunnel_idle, last_activity; /* of an open tunnel */
    uint32_t                          initial_credit;    /* of struct exchange_origin */
    uint64_t                          phase_deadline;    /* connect, response head, expect; 0: none */
    uint64_t                          attempt_deadline;  /* the present attempt, until its head; 0: none */
    uint64_t                          request_deadline;  /* the whole exchange, or the answer alone; 0: none */
    /* for the access log */
    const struct conn_ends           *ends;              /* of the client's connection; NULL: not known, or nobody asks */
    struct str                        client;            /* address text of the trusted client, in the arena */
    struct str                        peer;              /* address text of the connection */
    struct str                        request_id;
    struct str                        log_method, log_target, log_host, log_user_agent, log_referer;
    struct str                        route_name;        /* once `route` is gone */
    struct str                        cluster, endpoint; /* of the last attempt; static as long as the view, or arena */
    uint8_t                           log_version;       /* as in struct exchange_origin */
    uint16_t                          status;            /* sent to the client; 0: none */
    enum abort_code                   abort;             /* why it ended early */
    const char                       *detail;            /* a finer word for it, static; NULL: none */
    const struct tls_session         *tls;               /* the client's, while the front is attached; NULL: plaintext */
    bool                              is_tls;
    bool awaits_response; /* the request is on its way, so its route's time for the answer runs */
    bool                              is_reply;          /* the back leg is an answer of our own */
    unsigned                          attempts;
    uint64_t                          began, head_at, done_at; /* worker clock; head_at: the final head came */
    _Alignas(16) unsigned char        terminal_state[EXCHANGE_TERMINAL_SIZE];
    struct exchange                  *next_free;
    _Alignas(16) char                 first_arena[EXCHANGE_FIRST_ARENA];
};

/* What the front codec knows of its connection. All outlives the exchange. */
struct exchange_origin {
    const struct listener_definition *listener;
    struct snapshot_view             *view;              /* that it is of; NULL: the worker's present one */
    struct str                        peer;              /* address text without port */
    const struct tls_session         *tls;               /* NULL: plaintext */
    uint8_t                           version;           /* 10, 11, 20, 30; 0: it is relayed, whatever is spoken on it */
    /* What the peer may send right behind a head, before anything is granted: HTTP/2's initial stream window. At most
     * limits.buffer of the definition; later definitions do not lower it. */
    uint32_t                          initial_credit;
};

/* ---- codec -> core */

/* Begins an exchange on the view of its listener. NULL: no memory or no budget; the codec refuses the stream. */
struct exchange *exchange_open(struct worker *, struct leg *front, const struct exchange_origin *);
void  exchange_on_head(struct leg *, struct head *, bool end);  /* the front's request; 1xx and final response of the back */
/* Instead of a request's head, of a front without HTTP: it asks for a tunnel. A head of status 101 follows, or an abort. */
void  exchange_on_connection(struct leg *);
/* Takes the slice. The codec never delivers more than flow->granted. */
void  exchange_on_body(struct leg *, struct slice *);
void  exchange_on_end(struct leg *, struct fields *trailers);   /* trailers may be NULL, else they live in the arena */
/* The source or sink broke off. The leg is detached on return. */
void  exchange_on_abort(struct leg *, enum abort_code);
/* As sink: will take no more, the other flow lives on (write side of the connection is dead). Of a tunnel that has ended the
 * other way the leg is detached. */
void  exchange_on_stop(struct leg *);
/* A malformed or refused request: answers with the status of the code, as the request flow is unusable. `detail` is a static
 * word for the log, or NULL. */
void  exchange_refuse(struct leg *, enum abort_code, const char *detail);
/* For the sink of a flow. PULL_DATA: *ret holds 1..max bytes. After PULL_END or PULL_ABORT on the response the exchange is
 * over and the leg is detached on return; the codec keeps what it needs before. */
enum pull exchange_pull(struct leg *, size_t max, struct slice **ret);
/* For the sink: what follows the body, complete once the pull after it returns PULL_END, so it is taken before each pull.
 * NULL: none. */
struct fields *exchange_trailers(struct leg *);
/* For the sink: the source has ended, and none of its content waits. Stages may still have some, and trailers may follow. */
bool exchange_is_at_end(const struct leg *);
bool exchange_has_content(const struct leg *);                  /* for the sink: some waits to be pulled, stages apart */
uint64_t exchange_credit(const struct leg *);                   /* bytes that this source may deliver now */

/* ---- terminal -> core */

void exchange_attach_back(struct exchange *, struct leg *);     /* the leg is given the request head right away */
/* Ends the exchange with an error response, or by aborting the front when a head has gone out already. */
void exchange_fail(struct exchange *, enum abort_code);
void exchange_set_phase_deadline(struct exchange *, uint64_t when);   /* 0: none */
void exchange_await_response(struct exchange *);                     /* the whole request is on its way */
void exchange_set_attempt_deadline(struct exchange *, uint64_t when); /* 0: none */
/* Answers with bytes that live as long as the exchange. */
void exchange_answer(struct exchange *, struct head *, struct str body);
/* From now on up to `most` bytes of the request's body are kept for another attempt, until the final head is passed on.
 * Without this call nothing is. */
void exchange_keep_body(struct exchange *, uint64_t most);
/* Whether another attempt could send the same request: all of its body that was pulled has been kept. */
bool exchange_is_replayable(const struct exchange *);
/* Another attempt is about to be made: the body begins anew. */
void exchange_rewind(struct exchange *);
const struct timeouts *exchange_timeouts(const struct exchange *);  /* of the route when matched */
/* Whether the request asks for a tunnel, or is one: the source then delivers what follows the head as its body, and ends it
 * with the half-close. In an open one (the response head's status was 101, whatever the version; a front says 200
 * where the request was CONNECT) a leg is detached when it has both delivered and pulled the end, and the codec closes the
 * connection by itself once all is written. */
static inline bool exchange_is_tunnel(const struct exchange *x) { return x && x->tunnel != TUNNEL_NONE; }
/* Whether it is a connection that is relayed: there is no HTTP in it, and nobody who could be given an answer of ours. */
static inline bool exchange_is_tcp(const struct exchange *x) { return x->log_version == 0; }
uint64_t               exchange_body_limit(const struct exchange *);
/* Of a request's body `bytes` have come since `began`: whether that is less than the listener wants. Never of a tunnel. */
bool exchange_body_is_slow(const struct exchange *, uint64_t bytes, uint64_t began);
/* Gives the back leg of an attempt up; another one can be attached. */
void exchange_drop_back(struct exchange *, enum abort_code);
/* Sends the head of a request without a body beside the back; at most one at a time. It ends, is dropped or is promoted
 * before the exchange ends. */
void exchange_attach_second(struct exchange *, struct leg *, const struct head *);
void exchange_drop_second(struct exchange *, struct leg *, enum abort_code);
/* It becomes the back. There is none any more. */
void exchange_promote_second(struct exchange *, struct leg *);
/* Makes the request head what the origin is to see. Once, before the first attempt. ABORT_NONE, or why not. */
enum abort_code exchange_prepare_forward(struct exchange *);

/* ---- set-up: what the core needs from further up, given once by the program (or a test) before the first exchange */

struct exchange_hooks {
    const struct terminal_ops *terminal;
    void (*log)(struct exchange *);                             /* the exchange is complete; may be NULL */
};
void exchange_set_hooks(const struct exchange_hooks *);
void exchange_free_cache(struct worker *);                      /* at worker_finish */
