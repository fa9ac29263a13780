/* server.h — bytes as they are, from a client of a listener that relays TCP: one exchange for each connection, begun when it
 * is accepted, since the endpoint may be the one who speaks first. Nothing is read before the endpoint is connected. */
#pragma once

#include "dataplane/net/listener.h"

/* An accept_function: begins to relay. NULL also when the listener has turned to HTTP meanwhile. */
struct conn *raw_server_accept(struct listener_runtime *, const struct accepted *);
