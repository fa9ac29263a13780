/* opening.h — a new client connection until a codec can begin: PROXY header, TLS handshake, and which version is spoken.
 *
 * It counts as a connection of its listener, has one deadline for all of it, and hands its transport to the codec. */
#pragma once

#include "dataplane/net/listener.h"

/* Takes the transport and the slot. Returns 0, or -1 without memory and nothing was taken. Thread: the worker's. */
int opening_begin(struct listener_runtime *, const struct accepted *);
