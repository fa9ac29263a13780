/* server.h — HTTP/1.1 towards clients (RFC 9112): one connection, one exchange at a time, pipelined requests in order. */
#pragma once

#include "dataplane/net/listener.h"

/* An accept_function: begins to speak HTTP/1.1 on the socket. */
int  h1_server_accept(struct listener_runtime *, int fd, const struct address *peer, uint32_t cap_slot);
/* Its listener's time is up: closes the connection, at once when it is idle, otherwise by cutting the exchange. */
void h1_server_cut(struct listener_connection *);
