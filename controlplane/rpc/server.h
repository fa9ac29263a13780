/* server.h — a gRPC server that dispatches calls by method. Thread: the loop's. */
#pragma once

#include <grpc/grpc_security.h>

#include "common/address.h"
#include "common/error.h"
#include "controlplane/rpc/call.h"
#include "controlplane/rpc/loop.h"

struct rpc_method {
    const char *path;                       /* "/headgate.Admin/Push" */
    /* A call has come: accept it (rpc_call_accept), or refuse it (rpc_call_finish). */
    void (*start)(void *context, const struct rpc_method *method, struct rpc_call *call);
    const void *detail;                     /* the owner's, for `start` */
};

struct rpc_server_config {
    const struct rpc_method *methods;       /* ends with a NULL path; outlives the server */
    void *context;                          /* for `start` */
    int message_max;                        /* bytes of one message that is received */
    int calls_max;                          /* open at once; beyond: RESOURCE_EXHAUSTED */
    size_t memory_max;                      /* what gRPC may hold for all connections */
};

/* NULL with a reason in `errors`. */
struct rpc_server *rpc_server_create(struct rpc_loop *loop, const struct rpc_server_config *config,
                                     struct error_list *errors);
/* Whether somebody listens on the Unix-domain socket at the path. Thread: any. */
bool rpc_socket_is_alive(const char *path);
/* Listens on a Unix-domain socket. A socket file that nobody listens on is removed first; one that is alive is
 * ERROR_ADDRESS_IN_USE. `group` is a group id that gets the file, or -1. Returns 0 or -1. */
int rpc_server_listen_unix(struct rpc_server *server, const char *path, unsigned mode, long group,
                           struct error_list *errors);
/* Listens on "host:port" with the credentials; they are still the caller's. Returns the port, or -1. */
int rpc_server_listen_tcp(struct rpc_server *server, const char *address, grpc_server_credentials *credentials,
                          struct error_list *errors);
void rpc_server_start(struct rpc_server *server);
/* Takes no more calls; cancels those that are open when `cancel` is set. `done` runs when the last one has closed; then
 * destroy the server. */
void rpc_server_stop(struct rpc_server *server, bool cancel, void (*done)(void *context), void *context);
/* Cuts the calls that are open, after rpc_server_stop; NULL is allowed. */
void rpc_server_cancel(struct rpc_server *server);
/* Only before rpc_server_start or after `done`; NULL is allowed. */
void rpc_server_destroy(struct rpc_server *server);
