/* cluster.h — clusters: the immutable definition in a snapshot, and what a worker keeps for each at run time.
 *
 * Run-time state (pools, balancer positions) belongs to a cluster's name and an endpoint's address. It survives every change
 * of the definition: reconciling adds and removes endpoints and leaves the others alone. Thread: definitions are made on the
 * main thread and read by all; run-time state is the worker's. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"
#include "dataplane/back/breakers.h"
#include "dataplane/back/cluster_counts.h"
#include "dataplane/back/intervals.h"
#include "dataplane/back/members.h"
#include "dataplane/back/outliers.h"
#include "dataplane/back/pending.h"
#include "dataplane/back/retry_budget.h"
#include "dataplane/core/worker.h"
#include "dataplane/http/client_codec.h"
#include "proto/resource.h"
#include "proto/resources.pb-c.h"

/* What all workers share of a cluster; of an endpoint: members.h. What each request writes and what each choice reads stand
 * apart, with the name between them, so that no choice waits for a cache line that another worker has just written. */
struct cluster_shared {
    _Atomic uint32_t references;
    _Atomic uint32_t connections, requests, pending, retries; /* under way, of all workers */
    struct retry_bucket bucket;
    char             name[RESOURCE_NAME_MAX + 1];
    _Atomic uint32_t ejections;             /* counts them, and returns before their time */
    _Atomic uint32_t ejected;               /* places of the ejected that are taken */
    _Atomic uint64_t judged_until;          /* end of the last interval that was judged */
    _Atomic bool     is_judging;            /* a worker judges */
    _Atomic uint32_t reports_to_come;       /* workers that write one */
    _Atomic(struct outlier_report *) reports; /* not judged yet */
    struct cluster_counts_list counts;
};

/* What a request is hashed by, for balancers that hash. */
struct hash_rule {
    enum { HASH_HEADER, HASH_COOKIE, HASH_QUERY, HASH_ADDRESS, HASH_PATH } kind;
    struct str name;                       /* of the first three; a header's in lower case */
};

/* What a cluster of HTTP/3 does where UDP does not get through. Microseconds. */
#define FALLBACK_TIME_MOST (30 * UINT64_C(86400000000))
struct fallback_rules {
    const struct client_codec *codec;      /* over TCP; NULL: there is none */
    uint64_t after;                        /* a handshake is late: TCP is tried beside it. 0: at once */
    uint64_t remember, remember_most;      /* how long a failure keeps HTTP/3 from being tried: the first, and at most;
                                            * up to FALLBACK_TIME_MOST */
};

/* What endpoints get instead of the cluster's own TLS; NULL: plaintext. */
struct tls_choice {
    uint64_t           id;                 /* what endpoint_definition.tls_choice says; 0 is none of them */
    struct tls_client *tcp, *quic;         /* as in client_options */
};

struct cluster_definition {
    struct str                        name;
    uint32_t                          slot;      /* index of the name in every worker's table, for the process's life */
    uint64_t                          serial;    /* differs between any two definitions of the process */
    const struct client_codec        *codec, *tunnel_codec; /* the second for CONNECT */
    struct client_options             options;
    struct tls_choice                *tls_choices;
    uint32_t                          tls_choice_count;
    struct fallback_rules             fallback;
    uint64_t                          idle_timeout, connection_lifetime;
    uint32_t                          idle_connections, requests_per_connection;
    struct cluster_members           *members;
    struct outlier_rules              outliers;
    const struct hash_rule           *hash_rules;  /* the first one that the request has */
    uint32_t                          hash_rule_count;
    const struct sticky              *sticky;      /* back/sticky.h; NULL: none */
    struct breakers                   breakers;
    struct cluster_shared            *shared;
    unsigned                          references; /* main thread: snapshots that hold it */
};

struct cluster_runtime;

/* The groups of one subset. */
struct group_set {
    uint64_t      subset;
    uint32_t      begin, end;                    /* of groups */
    bool          has_any;                       /* some group gets something */
    struct group *only;                          /* gets everything; NULL: by shares */
};

/* Of an endpoint of HTTP/3 that has a fallback (fallback.c). */
struct fallback_state {
    struct timer timer;                          /* first: the next handshake is late */
    uint64_t     connect_timeout;                /* of who asked last */
    bool         http3_works;                    /* as of the last connection: those over TCP take nothing new */
};

struct endpoint_runtime {
    struct candidate          candidate;         /* first */
    struct address            address;
    char                      text[ADDRESS_TEXT_MAX];
    struct str                hostname;          /* owned */
    struct client_connection  open;              /* list head: connections with room, most recently used first */
    struct client_connection  connecting;        /* list head */
    struct endpoint_runtime  *next_idle, *prev_idle; /* with idle_count above 0: of the cluster */
    uint32_t                  idle_count;        /* of `open`, those that carry nothing */
    uint32_t                  connections;       /* all, connecting ones too */
    uint64_t                  tls_choice;        /* of the definition; connections made by another one are not used again */
    bool                      is_retired;        /* out of the cluster; freed with its last connection */
    uint64_t                  leaving_since;     /* it drains, or is out of the cluster; 0: neither */
    bool                      is_new, is_kept;   /* while reconciling */
    struct str                next_hostname;     /* while reconciling; owned */
    struct placement         *next_placements;   /* while reconciling; owned, NULL where candidate.one does */
    struct endpoint_shared   *shared;
    struct cluster_runtime   *cluster;
    struct fallback_state     fallback;
    struct outlier_tally      tally;
};

/* Where very many endpoints come or change at once, those that no request has asked for are made, or taken over, some at a
 * time (filling.c). */
struct filling {
    struct timer            again;               /* first: there was no memory for one */
    struct candidate_source source;
    uint32_t                missing;             /* endpoints of `members` that are not there yet */
    uint32_t                at;                  /* the place to go on from */
    bool                    waits;               /* for `again` */
    bool                    is_beginning;        /* they were there from the cluster's beginning */
};

/* Now and then each endpoint is looked at, of very many some at a time (rounds.c). */
struct round {
    bool     is_under_way;
    bool     is_wanted;                          /* another one after this */
    unsigned tasks;                              /* reconcile.h */
    bool     has_ended_some;                     /* ejections */
    bool     has_empty;                          /* a choice has found nobody available of `empty_subset` */
    uint64_t empty_subset;
    uint64_t next_look;                          /* the cluster's, once the round is over */
    uint32_t at;                                 /* the place to go on from */
};

/* Each begins an endpoint_runtime, or is NULL. */
struct endpoint_list {
    struct endpoint_list *next;
    uint32_t              count;
    struct candidate     *at[];
};

struct cluster_runtime {
    struct reapable           reapable;          /* first; for cluster_of_older */
    struct worker            *worker;
    struct cluster_shared    *shared;
    struct cluster_counts    *counts;            /* this worker's, in `shared` */
    uint32_t                  slot;
    uint64_t                  serial;            /* of the definition that it was last reconciled with */
    const struct client_codec *codec;
    struct client_options     options;
    const struct tls_choice  *tls_choices;       /* the definition's; read at connect only */
    uint32_t                  tls_choice_count;
    struct fallback_rules     fallback;
    uint64_t                  idle_timeout, connection_lifetime;
    uint32_t                  idle_connections, requests_per_connection;
    struct outlier_rules      outliers;
    struct outlier_gathering  gathering;
    struct outlier_judgement  judgement;
    struct breakers           breakers;
    struct pending_queue      queue;             /* of requests that wait for room */
    uint32_t                  epoch;             /* connections made before the last change of protocol are not used again */
    struct cluster_members   *members;           /* that all below was made by; counted. NULL: nothing was yet, or dropped */
    struct balance_rules      rules;             /* of the members, also when those are gone */
    struct endpoint_list     *list;              /* by place; may be NULL. Of NULL ones: not there yet */
    struct candidate        **endpoints;         /* of the list */
    uint32_t                  endpoint_count;
    struct endpoint_list     *earlier;           /* by place, of those that are not there yet: what they were until now.
                                                  * May be NULL */
    struct endpoint_list     *leaving;           /* by `next`; retired some at a time, from their ends */
    struct endpoint_runtime  *idle_first, *idle_last; /* with connections that carry nothing, for longest first */
    struct group            **groups;            /* as in members */
    struct group_set         *sets;              /* by subset; the first is all endpoints */
    uint32_t                  group_count, set_count;
    struct share             *shares;            /* by group */
    struct group             *plain;             /* round robin, one group for everything; NULL: not so simple */
    bool                      has_changes;       /* of the groups' counts, since shares were computed */
    uint32_t                  ejections_seen;
    uint64_t                  next_look;         /* at ejections: when one of them ends; 0: a round is under way */
    uint64_t                  look_not_before;
    struct round              round;
    struct filling            filling;           /* of those that are not there yet */
    struct cluster_runtime   *next_busy;         /* backlog.c */
    bool                      is_busy;           /* in the backlog, which holds it */
    uint32_t                  gone;              /* what holds it: endpoints that left, a reap, requests that wait */
    bool                      is_passing;        /* made for an exchange of an older snapshot: dropped when the turn ends */
    bool                      is_dropped;        /* out of the table; its definition may be gone, endpoints leave */
};

/* All clusters of a worker, by slot. A zeroed struct is valid. */
struct cluster_table {
    struct cluster_runtime **slots;
    size_t                   capacity;
    struct ejection         *ejections;          /* outliers.c, as the next two */
    uint64_t                 ended_turn;         /* the worker's turn in which the last one has ended */
    uint32_t                 ended;              /* ejections, in that turn */
    struct ejection_log     *ejection_log;       /* of all workers; NULL: none */
    struct worker_message    backlog;            /* posted while there are busy clusters */
    struct cluster_runtime  *busy_first, *busy_last;
    bool                     is_posted;
};

/* The run-time state of this definition's cluster, made or reconciled as needed. NULL: no memory. */
struct cluster_runtime  *cluster_of(struct worker *, const struct cluster_definition *);
/* The same for an exchange of an older snapshot. What has to be made for it ends with the turn, as the newest snapshot may
 * not have the cluster at all; its connections live on while they are in use. */
struct cluster_runtime  *cluster_of_older(struct worker *, const struct cluster_definition *);
/* The cluster has left the snapshot: its pool is closed. */
void                     cluster_drop(struct worker *, uint32_t slot);
void                     clusters_finish(struct worker *);
/* What keeps the run-time state of a cluster that is dropped. */
void                     cluster_hold(struct cluster_runtime *);
void                     cluster_release(struct cluster_runtime *);

/* ---- choosing */

enum { PICK_TRIED_MAX = 12 };

/* What a request wants of a choice. Zeroed: anything. */
struct pick {
    uint64_t                       hash;         /* for balancers that hash; without one they choose by chance */
    bool                           has_hash;
    uint64_t                       subset;       /* of the bound table; 0: all endpoints */
    uint64_t                       sticky;       /* id of the endpoint that a cookie names; 0: none */
    bool                           sticky_is_newest; /* signed with the newest key */
    bool                           is_repeated;  /* another priority or zone is better than who was tried */
    uint32_t                       tried_count;
    const void                    *tried[PICK_TRIED_MAX]; /* endpoints; compared only, they may be gone */
};

/* Notes an attempt, so that the next choice is another endpoint while there is one. Beyond the room the oldest is
 * forgotten. */
void pick_note_tried(struct pick *, const struct endpoint_runtime *);
/* NULL: no endpoint is available. What is returned lives until the end of the turn, or longer between began and ended. */
struct endpoint_runtime *cluster_pick(struct cluster_runtime *, const struct pick *);
/* The endpoint with this address, whether it is well or not: for what has begun there. `place`: where it probably stands,
 * and then where it does. NULL: it is not in the cluster. */
struct endpoint_runtime *cluster_find_endpoint(struct cluster_runtime *, const struct address *, uint32_t *place);
/* Neither unhealthy, draining nor ejected. */
bool endpoint_is_available(const struct endpoint_runtime *);
/* It is out of its cluster, or that is dropped: perhaps with what to connect by. */
static inline bool endpoint_is_gone(const struct endpoint_runtime *e) {
    return e->is_retired || e->cluster->is_dropped;
}

/* ---- what is learnt */

/* Around each attempt, once each. The endpoint, and its cluster's run-time state, live at least until `ended`. */
void endpoint_began(struct endpoint_runtime *);
/* `head_latency`: microseconds from `began` to the head of the response; 0: none came. */
void endpoint_ended(struct endpoint_runtime *, enum endpoint_outcome, uint64_t head_latency);
/* The attempt has become a tunnel: a success, which is learnt from now. It is under way until endpoint_left, which is called
 * instead of `ended`. */
void endpoint_opened(struct endpoint_runtime *, uint64_t head_latency);
void endpoint_left(struct endpoint_runtime *, enum endpoint_outcome);

/* Main thread, and worker for run-time state; whoever is last frees. NULL: no memory. */
struct cluster_shared  *cluster_shared_create(struct str name);
struct cluster_shared  *cluster_shared_ref(struct cluster_shared *);
void                    cluster_shared_unref(struct cluster_shared *);

/* ---- pool.c */

/* Someone who waits for a connection that is being made. */
struct client_waiter {
    struct client_waiter     *next, *prev;
    struct client_connection *connection;   /* NULL: waits for none */
};

/* A connection that is open and has room, or NULL. Still the pool's: what is wanted of it is pool_open. */
struct client_connection *pool_find(struct endpoint_runtime *);
/* Begins an exchange. NULL: no memory, the connection stays in the pool. */
struct leg               *pool_open(struct client_connection *);
/* Waits for a connection that is being made and can carry one more exchange, or makes one. `connect_timeout` counts where
 * the cluster has none. 0, or -1 and errno: EUSERS and EDQUOT when the cluster or the endpoint has as many connections as it
 * may. After 0 one of the waiter's calls below follows, never from within. */
int                       pool_wait(struct endpoint_runtime *, uint64_t connect_timeout, struct client_waiter *);
/* Waits for a connection of its own, which ends with the exchange: one of this codec that begins with these bytes. */
int                       pool_wait_single(struct endpoint_runtime *, uint64_t connect_timeout, const struct client_codec *,
                                           struct str preamble, struct client_waiter *);
/* Whoever waits no longer wants it; the connection goes to the pool once connected. */
void                      pool_forget_waiter(struct client_waiter *);
/* Those that are being made and that nobody waits for are closed, too. */
void                      pool_close_idle(struct endpoint_runtime *);
/* The same of those alone that may not be used again. */
void                      pool_close_worn_out(struct endpoint_runtime *);

/* Set once by the program. */
struct pool_waiter_ops {
    void (*ready)(struct client_waiter *, struct client_connection *);  /* has room: pool_open it, or not */
    void (*failed)(struct client_waiter *, int error);                  /* the connection is gone. EAGAIN: it has no room */
};
void pool_set_waiter_ops(const struct pool_waiter_ops *);
/* What is missing here says nothing of the endpoint, and would be missing for another one, too. */
bool pool_error_is_ours(int error);
/* cluster.c: frees an endpoint that is out of its cluster when nothing uses it any more. */
void endpoint_forget_if_unused(struct endpoint_runtime *);

/* The one at this place, also one that is not taken over yet. NULL: there is none. */
static inline struct endpoint_runtime *cluster_endpoint_at(const struct cluster_runtime *c, uint32_t place) {
    struct candidate *e = c->endpoints[place];
    return (struct endpoint_runtime *)(e || !c->earlier ? e : c->earlier->at[place]);
}

/* Whether both lead to the same connections. */
bool tls_choices_equal(const struct tls_choice *a, uint32_t a_count, const struct tls_choice *b, uint32_t b_count);

/* endpoint.c: makes the one at a place that has none yet, or takes it over. NULL: no memory. */
struct candidate *cluster_make_endpoint(struct cluster_runtime *, uint32_t place);
