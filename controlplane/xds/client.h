/* client.h — the management servers of a bootstrap file: one machine of the protocol for each that is asked, its streams,
 * and which of them counts.
 *
 * The first server is asked. One that fails before it has answered, or while something that is wanted was never received,
 * hands over to the next (gRFC A71); those before it are tried on, with the waits of the machine, and the first that answers
 * again counts from then on, and those behind it are let go. What is made of resources is the owner's (world.h): the client
 * calls it and never the other way round, but for xds_client_wake. Servers that are polled (bootstrap.h) are treated alike:
 * the polls of one type are a stream for as long as they are answered. Thread: the loop's. */
#pragma once

#include "controlplane/rpc/stream.h"
#include "controlplane/xds/bootstrap.h"
#include "controlplane/xds/protocol.h"

enum {
    XDS_MESSAGE_MAX = 128 << 20,        /* bytes of one response on a stream */
    XDS_POLL_MAX = 64 << 20,            /* of one answer to a poll, which is JSON */
};

struct xds_client;

/* Who reads the resources. None of these may call the client, but xds_client_wake. */
struct xds_client_owner {
    void            *context;
    xds_judge       *judge;             /* of every machine, with `context` */
    enum xds_result (*add_types)(void *context, struct xds_protocol *p);
    /* From now on this machine counts; its server is named for people. */
    void            (*use)(void *context, struct xds_protocol *p, const char *server, uint64_t now);
    /* Something has happened: take the news of the machine that counts. */
    void            (*follow)(void *context, uint64_t now);
    uint64_t        (*deadline)(const void *context);   /* when `follow` has something to do; UINT64_MAX: never */
};

struct xds_client_config {
    struct rpc_loop               *rpc;
    const struct xds_bootstrap    *bootstrap;   /* outlives the client */
    const struct xds_options      *options;     /* what the bootstrap does not say; NULL: the defaults */
    struct xds_client_owner        owner;
};

/* Looks at the files of certificates; asks nobody yet. NULL with reasons in `errors`. */
struct xds_client *xds_client_create(const struct xds_client_config *config, struct error_list *errors);
void               xds_client_start(struct xds_client *c);
/* There is something to do, soon: news for the owner's deadline, tickets that are ready, what is wanted. */
void               xds_client_wake(struct xds_client *c);
/* Leaves all servers. The owner is called no more. Once, or never; before the loop of gRPC ends. */
void               xds_client_stop(struct xds_client *c);
/* After xds_client_stop; the machines go now. NULL is allowed. */
void               xds_client_destroy(struct xds_client *c);

/* ---- for status and metrics ---- */

enum xds_server_state {
    XDS_SERVER_IDLE,            /* not needed */
    XDS_SERVER_CONNECTING,      /* tried, and has not failed */
    XDS_SERVER_ANSWERING,       /* connected; has answered on one of the streams that are open */
    XDS_SERVER_FAILING,         /* see error */
};

const char *xds_server_state_name(enum xds_server_state state); /* "answering" */

struct xds_server_status {
    const char           *name;
    enum xds_server_state state;
    bool                  is_used;              /* its resources count */
    bool                  is_connected;         /* polled: answered on the last poll of any type */
    struct str            error;                /* why it is failing, or was last; valid until the next event */
    uint64_t              failed_at, answered_at; /* last; microseconds since 1970, 0: never */
    uint64_t              streams_open;
    uint64_t              streams_opened, streams_failed;   /* since the start */
    struct xds_counters   counters;             /* likewise */
};

size_t xds_client_server_count(const struct xds_client *c);
void   xds_client_server_status(const struct xds_client *c, size_t server, struct xds_server_status *ret);
