/* server.h — HTTP/2 towards clients (RFC 9113): by ALPN, or by prior knowledge. */
#pragma once

#include "dataplane/net/listener.h"

/* An accept_function: begins to speak HTTP/2 on the connection. */
struct conn *h2_server_accept(struct listener_runtime *, const struct accepted *);
