/* udp_forward.h — a datagram that came to the wrong worker goes to the right one.
 *
 * Steering (docs/internals/udp.md) makes this rare. A copy travels through the mailbox of the other worker and arrives there
 * as a datagram of its held socket that is bound to the same address. */
#pragma once

#include "dataplane/net/udp.h"

enum { UDP_FORWARDED_MAX = 4 << 20 }; /* bytes on their way to one worker; beyond, datagrams are dropped */

/* Copies the datagram, which `s` (held) received, for `to`, another worker. False: it is dropped, and counted. Thread: that
 * of the worker of `s`. `to` must be running, or its mailbox emptied later. */
bool udp_forward(struct udp_socket *s, struct worker *to, const struct udp_datagram *datagram);
