/* server.h — HTTP/1.1 towards clients (RFC 9112): one connection, one exchange at a time, pipelined requests in order. */
#pragma once

#include "dataplane/net/listener.h"

/* An accept_function: begins to speak HTTP/1.1 on the socket. */
int  h1_server_accept(struct listener_runtime *, int fd, const struct address *peer, uint32_t cap_slot);
/* A close_function: cuts the exchange, unless only an idle connection is to be closed. One that waits for its first request
 * is not idle: its client may have sent it already. */
void h1_server_close(struct listener_connection *, bool only_idle);
