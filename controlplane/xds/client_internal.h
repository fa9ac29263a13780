/* client_internal.h — what client.c (servers, time) and client_stream.c (streams) share. */
#pragma once

#include <ev.h>

#include "controlplane/xds/client.h"

struct server;

/* One stream of a machine, open or not. */
struct link {
    struct server     *server;
    size_t             number;          /* of the stream, to the machine */
    struct rpc_stream *stream;          /* NULL: none */
    bool               has_answered;
};

struct server {
    struct xds_client       *client;
    const struct xds_server *config;
    size_t                   number;    /* in the order of the bootstrap file */
    struct rpc_channel      *channel;
    struct xds_protocol     *protocol;  /* NULL: not asked */
    struct link             *links;
    size_t                   link_count;
    bool                     has_answered;  /* since it is asked */
    bool                     is_failing;
    struct strbuf            error;
    uint64_t                 failed_at, answered_at;
    uint64_t                 streams_opened, streams_failed;
    struct xds_counters      counters;  /* of machines that are gone */
};

struct xds_client {
    struct xds_client_config config;
    struct xds_options       options;
    struct server           *servers;
    size_t                   server_count;
    size_t                   used;      /* those up to this one are asked */
    bool                     is_stopped;
    bool                     is_turning, is_again;  /* a turn is under way; another is to follow it */
    ev_timer                 timer;
};

/* Opens, writes and reads what is due. */
void xds_server_pump(struct server *s, uint64_t now);
/* Leaves the server; the machine is told of nothing. */
void xds_server_abandon(struct server *s);

/* ---- what a stream tells the client; each is followed by xds_client_turn ---- */

void xds_server_answered(struct server *s);
void xds_server_failed(struct server *s, struct str reason);
/* After each event: the owner looks, requests go out, the next time is set. */
void xds_client_turn(struct xds_client *c);
