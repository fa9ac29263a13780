/* server.h — HTTP/1.1 towards clients (RFC 9112): one connection, one exchange at a time, pipelined requests in order. */
#pragma once

#include "dataplane/net/listener.h"

/* An accept_function: begins to speak HTTP/1.1. */
struct conn *h1_server_accept(struct listener_runtime *, const struct accepted *);
