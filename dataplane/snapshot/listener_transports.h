/* listener_transports.h — which sockets a Listener resource needs. Thread: any. */
#pragma once

#include "dataplane/holder/protocol.h"
#include "proto/resources.pb-c.h"

enum listener_transport { LISTENS_ON_TCP = 1, LISTENS_ON_UDP = 2 };

/* A set of enum listener_transport. */
unsigned listener_transports(const Headgate__Listener *m);
/* What is asked of its UDP sockets. */
struct holder_udp_wish udp_wish(const Headgate__Listener *m);
