/* call_internal.h — what server.c and call.c share: the life of a call. */
#pragma once

#include <grpc/grpc.h>

#include "controlplane/rpc/call.h"
#include "controlplane/rpc/loop.h"

/* Moves forward only. */
enum rpc_call_state {
    RPC_CALL_WAITING,               /* for a client to call */
    RPC_CALL_OPEN,
    RPC_CALL_FINISHING,             /* a status is to be sent or under way */
    RPC_CALL_CLOSED,
};

struct rpc_call {
    struct rpc_server *server;
    enum rpc_call_state state;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    char *peer;                     /* gpr_free */
    struct rpc_completion request, begin, read, write, status, close;
    unsigned under_way;             /* operations whose completion has not come; freed at 0 when closed */
    int cancelled;                  /* set by gRPC */
    grpc_byte_buffer *received;
    bool is_writing, is_status_sent;
    grpc_status_code status_code;
    char *status_text;
    const struct rpc_call_handlers *handlers;
    void *owner;                    /* NULL: detached */
};

/* The client's call has come: sends the initial metadata and begins to watch for its end. */
void rpc_call_open(struct rpc_call *call);
void rpc_call_free(struct rpc_call *call);
/* The server's count of open calls falls; called when a call is freed. */
void rpc_server_call_ended(struct rpc_server *server);
