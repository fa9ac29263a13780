/* call.h — one call on a server of ours, unary or a stream in both directions.
 *
 * The owner gets what the client sends through its handlers, one message at a time, and sends at most one message at a
 * time. `closed` is the last handler that runs; the call must not be touched afterwards. Thread: the loop's. */
#pragma once

#include <grpc/status.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "common/str.h"

struct rpc_call;
struct rpc_server;

struct rpc_call_handlers {
    const ProtobufCMessageDescriptor *type; /* of what the client sends */
    /* One message; freed by the caller of the handler. */
    void (*message)(void *owner, const ProtobufCMessage *m);
    /* The last message sent has left, another may be sent. NULL is allowed. */
    void (*writable)(void *owner);
    /* The client sends no more. NULL: the call is finished with OK. */
    void (*half_closed)(void *owner);
    /* The call has ended, whoever ended it. */
    void (*closed)(void *owner);
};

/* To be called in the start function of a method (server.h), once: begins to read. */
void rpc_call_accept(struct rpc_call *call, const struct rpc_call_handlers *handlers, void *owner);
/* "ipv4:192.0.2.1:40000", "unix:"; valid as long as the call. */
const char *rpc_call_peer(const struct rpc_call *call);
/* Came over a Unix-domain socket, where there are no certificates. */
bool rpc_call_is_local(const struct rpc_call *call);
/* Whether the certificate that the client has shown is for `name`: a DNS name or URI among its alternative names, or its
 * common name, is exactly that. Its names are added to `ret_names` for people, whatever the answer. */
bool rpc_call_is_certified_for(const struct rpc_call *call, const char *name, struct strbuf *ret_names);
bool rpc_call_is_writing(const struct rpc_call *call);
/* Sends one message. Not while one is under way, nor after rpc_call_finish. Returns 0, or -1 without memory. */
int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *m);
/* Ends the call when what is under way has been sent. `text` is copied. Later calls change nothing. */
void rpc_call_finish(struct rpc_call *call, grpc_status_code status, const char *text);
/* Sends the only answer of a unary call and finishes it. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *m);
/* Ends the call now, whatever is under way: for a peer that does not read. */
void rpc_call_cancel(struct rpc_call *call, grpc_status_code status, const char *text);
/* The owner goes away: no handler runs any more. Finish or cancel the call as well. */
void rpc_call_detach(struct rpc_call *call);
