/* credentials.h — mutual TLS for a server, from files that may be replaced while it runs.
 *
 * The files are PEM. Before each handshake it is looked whether one of them has changed; what cannot be used is told in the
 * log once, and the certificates of before go on. Connections that are open stay as they are.
 * Thread: the loop's; gRPC asks for certificates on threads of its own. */
#pragma once

#include <grpc/grpc_security.h>

#include "common/error.h"

struct rpc_tls;

struct rpc_tls_files {
    const char *certificate;        /* ours, with its chain */
    const char *key;
    const char *authority;          /* who may have issued a client's certificate; clients without one are not let in */
};

/* Reads and checks the files. NULL with reasons in `errors`. */
struct rpc_tls *rpc_tls_create(const struct rpc_tls_files *files, struct error_list *errors);
/* After the server that listens with it was destroyed; NULL is allowed. */
void rpc_tls_destroy(struct rpc_tls *t);
grpc_server_credentials *rpc_tls_credentials(const struct rpc_tls *t); /* not a new reference */
