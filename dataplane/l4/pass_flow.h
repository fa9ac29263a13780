/* pass_flow.h — a flow: one client address and one connection, its endpoint, and the socket towards it. Private to this
 * folder. docs/internals/quic_pass.md
 *
 * States only move right. Thread: the worker's. */
#pragma once

#include "dataplane/back/cluster.h"
#include "dataplane/l4/definition.h"
#include "dataplane/l4/flow_table.h"
#include "dataplane/l4/hello.h"
#include "dataplane/l4/id_directory.h"
#include "dataplane/l4/initial.h"
#include "dataplane/l4/train.h"
#include "dataplane/net/datagrams.h"
#include "dataplane/net/listener.h"
#include "dataplane/net/udp.h"

enum pass_state {
    PASS_GATHERING,          /* its server name is not known yet; what came waits */
    PASS_SENT,               /* its endpoint has not answered */
    PASS_ANSWERED,
    PASS_OVER,
};

enum { PASS_TRIES = 3 };     /* endpoints of which each refused the one before */

struct gathering;

struct pass_flow {
    struct reapable            reapable;     /* first */
    struct flow_node           node;
    struct listener_connection connection;   /* listed once the flow is proven */
    struct timer               timer;
    struct udp_socket          socket;
    struct pass               *pass;
    struct endpoint_runtime   *endpoint;     /* between began and left. NULL: none yet, or it had left when this began */
    struct id_home             home;
    struct gathering          *gathering;    /* of that state */
    enum pass_state            state;
    bool                       has_moved;    /* began with an ID that led to its endpoint: that proves nothing */
    bool                       was_noted;    /* that ID was in the directory: a client has shown that it knows it */
    bool                       is_listed;    /* with the listener */
    bool                       is_counted;   /* as a connection to its endpoint and cluster */
    bool                       is_leaving;   /* in the gauge of those whose endpoint leaves */
    bool                       has_no_ids;   /* its origin wants none */
    uint8_t                    tries;        /* endpoints that refused it */
    uint8_t                    seen_n;       /* octets of `seen` that are compared */
    uint8_t                    seen[PASS_ID_MAX]; /* the ID that its client last used with a short header */
    uint64_t                   began, last;  /* when; microseconds */
    uint64_t                   note_after;   /* when the directory is told again */
    uint64_t                   received, sent; /* bytes, from the client and to it */
    struct address             local;        /* what the client sends to */
    const void                *refused[PASS_TRIES]; /* endpoints; compared only */
};

/* How IDs of one configuration name servers. */
struct pass_ids {
    struct quic_lb     *lb;                  /* NULL: they do not */
    struct quic_lb_form form;                /* that it was made of */
};

/* What a worker serves a listener with, on one socket. */
struct pass {
    struct datagram_server    server;        /* first */
    struct reapable           reapable;
    struct worker            *worker;
    struct udp_socket         socket;
    struct flow_table         table;
    struct gathering         *gathering_first, *gathering_last; /* oldest first */
    uint32_t                  gathering_count;
    uint32_t                  alive;         /* flows that are not freed yet */
    struct pass_crypto       *crypto;
    struct pass_ids           ids[QUIC_LB_UNROUTABLE]; /* by configuration */
    uint64_t                  next_beginning; /* bounds.c: when the next flow would begin by the rate alone */
    uint32_t                  overflows;     /* of the socket, when it was last looked at */
    uint64_t                  turn;          /* of the worker, in which `strangers` were counted */
    uint32_t                  strangers;     /* their datagrams */
    bool                      is_crowded;    /* the socket's queue was more than half full when it was last looked at */
    bool                      is_stopped;    /* no new flows */
    bool                      is_over;       /* freed with its last flow */
    struct train              train;
};

/* ---- pass_flow.c */

/* What begins a flow, and where it goes. */
struct pass_beginning {
    const struct address     *client, *local;
    const struct pass_packet *first;
};

/* A flow in the table, GATHERING, without an endpoint. NULL: there is no room or no memory, which is counted. */
struct pass_flow *pass_flow_begin(struct pass *, const struct pass_beginning *);
/* Connects it to its home: SENT. `endpoint` is there, or NULL: it has left its cluster. -1: not possible, which is counted,
 * and the flow is closed. */
int  pass_flow_connect(struct pass_flow *, struct endpoint_runtime *endpoint, const struct id_home *home);
/* A datagram of its client goes on to the endpoint. */
void pass_flow_send(struct pass_flow *, const uint8_t *bytes, size_t n, uint8_t ecn);
/* The same of one that came just now: `first` is its first packet. */
void pass_flow_take(struct pass_flow *, const struct udp_datagram *, const struct pass_packet *first);
/* Ends it; it is freed at the end of the turn. Any number of times. */
void pass_flow_close(struct pass_flow *, enum endpoint_outcome);
/* Its client receives what is sent to it. Beyond the bounds of connections the flow is closed. */
void pass_flow_prove(struct pass_flow *);
/* Whether its client has sent to this ID before: it is still the same connection. */
bool pass_flow_has_seen(const struct pass_flow *, const struct pass_packet *);
void pass_flow_note_seen(struct pass_flow *, const struct pass_packet *);

static inline struct pass_flow *pass_flow_of_node(struct flow_node *n) {
    return n ? (struct pass_flow *)((char *)n - offsetof(struct pass_flow, node)) : NULL;
}

/* ---- gathering.c */

/* An Initial of a flow whose name is not known yet. Once it is, the flow goes where the name leads, with all that has come;
 * or it is closed. */
void gathering_take(struct pass_flow *, const struct udp_datagram *);
/* Frees what waits. */
void gathering_end(struct pass_flow *);

/* ---- choose.c */

struct pass_choice {
    struct endpoint_runtime *endpoint;           /* NULL: it has left its cluster */
    struct id_home           home;
    size_t                   known_n;            /* octets of the ID where the directory knew it, otherwise 0 */
};

/* Where the ID says that the connection lives, if it may go on there. */
bool choose_by_id(struct pass *, const struct pass_packet *first, struct pass_choice *ret);
/* An endpoint of the cluster, the same for the same client as long as they are the same. False: none is available, or there
 * is no room for a connection, which is counted. */
bool choose_in_cluster(struct pass *, const struct cluster_definition *, const struct address *client,
                       const void *const *refused, unsigned refused_count, struct pass_choice *ret);
/* NULL: the listener does not have it any more. */
const struct cluster_definition *choose_cluster_of_slot(const struct pass *, uint32_t slot);
/* By server name; NULL: there is none for it. */
const struct cluster_definition *choose_cluster_of_name(const struct pass *, struct str name);

/* ---- bounds.c */

/* Whether the cluster's bounds leave room for a connection there. Only proven flows are counted: anybody can begin
 * others. */
enum lack bounds_lack(const struct endpoint_runtime *);
/* A flow is proven: it counts. False: there is no room, which is counted; it has to be closed. A connection that has moved
 * was let in before, and is let in however many there are. */
bool bounds_take(struct pass_flow *);
void bounds_give(struct pass_flow *);
void bounds_count_lack(struct cluster_runtime *, enum lack);
/* Whether another flow may begin now: so many in a second, of a listener and worker, and none for a moment after the kernel
 * had to drop datagrams. Otherwise it is counted. What is left for connections that are known is more. */
bool bounds_may_begin(struct pass *, bool is_known);
/* Whether a datagram of a stranger, who is neither proven nor came with an ID of somebody who is, gives way to those of
 * others, which is counted. */
bool bounds_gives_way(struct pass *);

/* ---- quic_pass.c */

struct id_directory          *pass_directory(void);
const struct pass_definition *pass_definition_of(const struct pass *);
/* A flow of a server has been freed. */
void pass_flow_freed(struct pass *);
