/* client_internal.h — what client.c (servers, time), client_stream.c (streams) and client_poll.c (polls) share. */
#pragma once

#include <ev.h>

#include "controlplane/http/client.h"
#include "controlplane/xds/client.h"

struct server;

/* One stream of a machine, open or not. */
struct link {
    struct server     *server;
    size_t             number;          /* of the stream, to the machine */
    struct rpc_stream *stream;          /* NULL: none */
    bool               has_answered;
    /* Of polls. */
    bool               is_polling;      /* open, to the machine */
    struct http_call  *call;            /* the poll under way; NULL: none */
    struct strbuf      body;            /* of its answer */
    bool               is_oversized;
};

struct server {
    struct xds_client       *client;
    const struct xds_server *config;
    size_t                   number;    /* in the order of the bootstrap file */
    struct rpc_channel      *channel;   /* NULL: it is polled */
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
    struct http_client      *http;      /* of polls; NULL: streams */
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
/* The same by polls. */
void xds_server_poll(struct server *s, uint64_t now);
void xds_server_abandon_polls(struct server *s);

/* ---- what streams and polls share ---- */

enum { XDS_DECODED_MAX = 1 << 30, XDS_REQUEST_MAX = 256 << 20 };

/* The machine knows that it has ended; a turn follows. */
void        xds_link_ended(struct link *l, struct str reason);
/* Why the stream has to end when the machine says this of a response; NULL: it goes on. */
const char *xds_link_reason(enum xds_result result);
/* "/v3/discovery:clusters" where resources of a type are polled; NULL: nowhere. */
const char *xds_poll_path(struct str type_url);

/* ---- what a stream tells the client; each is followed by xds_client_turn ---- */

void xds_server_answered(struct server *s);
void xds_server_failed(struct server *s, struct str reason);
/* After each event: the owner looks, requests go out, the next time is set. */
void xds_client_turn(struct xds_client *c);
