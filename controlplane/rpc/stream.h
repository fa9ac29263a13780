/* stream.h — asynchronous calls on a server of somebody else's: streams in both directions, and unary ones.
 *
 *     c = rpc_channel_create(&loop, &options, &errors);
 *     s = rpc_stream_open(c, &call, &handlers, owner, &errors);
 *     rpc_stream_send(s, bytes)       one at a time; the next after `sent`
 *     rpc_stream_read(s)              one `message` each; nobody reads ahead of the owner
 *     closed(owner, status, text)     runs once, last, whoever ended the call; the stream is freed after it
 *
 * No handler runs inside one of the functions: all come from the loop. What is read, sent or half closed after the end has
 * come is ignored, so the owner needs to know of no end but `closed`. Thread: the loop's. */
#pragma once

#include <grpc/status.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/str.h"
#include "controlplane/rpc/loop.h"

/* ---- a server, and how it is reached ---- */

/* A PEM text, or the file that holds it; with neither there is none. */
struct rpc_pem {
    const char *path;
    const char *text;
};

enum rpc_security {
    RPC_SECURITY_UNSET,             /* refused: nobody gets plaintext by forgetting something */
    RPC_SECURITY_PLAINTEXT,
    RPC_SECURITY_TLS,
};

struct rpc_channel_options {
    const char *target;             /* "xds.example:18000", "unix:/run/x.sock", "dns:///host:port", "[::1]:443" */
    enum rpc_security security;
    struct rpc_pem authority;       /* who may have issued the server's certificate; none: those that the system trusts */
    struct rpc_pem certificate, key; /* ours, for mutual TLS: both or none */
    const char *server_name;        /* what the certificate is to be for, also SNI and :authority; NULL: the target's */
    const char *user_agent;         /* NULL: gRPC's */
    int message_max;                /* bytes of one message that is received */
    uint64_t connect_timeout_us;    /* 0: 20 s */
    uint64_t keepalive_us;          /* a ping when nothing was heard for so long while a call is open; 0: none. Servers end
                                     * connections that are pinged too often: many allow one in 5 minutes */
    uint64_t keepalive_timeout_us;  /* for the answer; 0: 20 s */
};

struct rpc_channel;

/* Texts are copied; files are read here once, to tell of what is wrong with them, and again whenever a connection is begun
 * after one of them has changed. Nothing is connected yet. NULL with reasons in `errors`. */
struct rpc_channel *rpc_channel_create(struct rpc_loop *loop, const struct rpc_channel_options *o,
                                       struct error_list *errors);
/* Streams that are still open are abandoned by their owners before. NULL is allowed. */
void                rpc_channel_destroy(struct rpc_channel *c);
/* A connection stands, handshakes included. It is found out by asking gRPC; it tells of no change. */
bool                rpc_channel_is_connected(const struct rpc_channel *c);
const char         *rpc_channel_target(const struct rpc_channel *c);

/* ---- calls ---- */

struct rpc_metadata {
    const char *key, *value;        /* key in small letters; the value of one that ends with "-bin" is any bytes but NUL */
};

struct rpc_stream_options {
    const char *method;             /* "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources" */
    const struct rpc_metadata *metadata;
    size_t metadata_count;
    uint64_t timeout_us;            /* of the whole call: then it ends with DEADLINE_EXCEEDED; 0: none */
};

struct rpc_stream_handlers {
    /* The call stands on a connected transport. NULL is allowed, as for `sent`. */
    void (*connected)(void *owner);
    /* What was sent last has left on a connected transport; another may be sent. */
    void (*sent)(void *owner);
    /* What rpc_stream_read asked for; `bytes` are valid until it returns. */
    void (*message)(void *owner, struct str bytes);
    /* `text` is the server's, or gRPC's reason why there is none; valid until it returns. */
    void (*closed)(void *owner, grpc_status_code status, struct str text);
};

struct rpc_stream;

/* Connects first where there is no connection, once: a server that cannot be reached ends the call with UNAVAILABLE, and
 * when it is tried again is the owner's to decide. `handlers` outlives the stream. NULL with a reason in `errors`. */
struct rpc_stream *rpc_stream_open(struct rpc_channel *c, const struct rpc_stream_options *o,
                                   const struct rpc_stream_handlers *handlers, void *owner, struct error_list *errors);
/* Copies the bytes. Not while one is under way. 0, or -1 without memory: nothing was sent. */
int  rpc_stream_send(struct rpc_stream *s, struct str bytes);
bool rpc_stream_is_sending(const struct rpc_stream *s);
/* Asks for the next message; once until it has come. It comes also when nothing can be sent any more. */
void rpc_stream_read(struct rpc_stream *s);
bool rpc_stream_is_reading(const struct rpc_stream *s);
/* Nothing more will be sent; after what is under way. */
void rpc_stream_half_close(struct rpc_stream *s);
/* Ends the call with CANCELLED; `closed` tells. */
void rpc_stream_cancel(struct rpc_stream *s);
/* The owner goes away: the call is cancelled and no handler runs any more. Also from inside a handler. NULL is allowed. */
void rpc_stream_abandon(struct rpc_stream *s);

/* A unary call: sends the request, half closes and reads the reply. `message` runs when there is one, `closed` always. */
struct rpc_stream *rpc_stream_call(struct rpc_channel *c, const struct rpc_stream_options *o, struct str request,
                                   const struct rpc_stream_handlers *handlers, void *owner, struct error_list *errors);
