/* listen_sockets.h — the listening sockets that the holder bound for this data plane.
 *
 * The holder keeps a copy of each, so that backlogs survive a crash. Addresses are those of the Listener
 * resources, as parsed; with port 0 the system picks one and it stays that one as long as the address is in
 * use. A socket stays open as long as its address is in the served snapshot; unrelated changes never touch
 * it. An address can be served over TCP, UDP, or both, which then have the same port. Thread: main; the
 * descriptors of TCP may be used on any thread until the release that drops their address, those of UDP as
 * long as their struct socket_use says so. */
#pragma once

#include <stddef.h>

#include "common/address.h"
#include "common/error.h"
#include "dataplane/net/datagrams.h"

struct ev_loop;
struct holder_client;
struct holder_udp;
struct listen_sockets;
struct resource_set;

/* `workers` sockets are asked for per address. NULL: no memory. `holder` and `loop` outlive the sockets. */
struct listen_sockets *listen_sockets_create(struct holder_client *holder, struct ev_loop *loop, unsigned workers);
void listen_sockets_destroy(struct listen_sockets *sockets); /* closes our copies; the holder keeps its own */

/* Asks for the sockets of every address of `resources` that is not held yet. `done` is called once on the
 * main thread, possibly before this returns; errors found by then are in `errors` (one per address, naming
 * listener and field), which must live until then, as must `resources`. Then either _release or _abort
 * follows. At most one preparation is open. The sockets listen from here on: connections that arrive before
 * the snapshot is served wait in the backlog. */
void listen_sockets_prepare(struct listen_sockets *sockets, const struct resource_set *resources,
                            struct error_list *errors, void (*done)(void *arg), void *arg);
/* The snapshot of `resources` is served by every worker: closes the sockets whose address it does not have,
 * here and in the holder, and ends the preparation. */
void listen_sockets_release(struct listen_sockets *sockets, const struct resource_set *resources);
/* Closes what the preparation added, and ends it; one that still waits for the holder is cancelled,
 * without `done`. */
void listen_sockets_abort(struct listen_sockets *sockets);

/* How many sockets of TCP an address has: at least 1 where it is held, otherwise 0. Usually the number of workers;
 * it differs after a restart with another number, and is 1 for Unix-domain addresses. */
unsigned listen_socket_count(const struct listen_sockets *sockets, const struct address *address);
/* The descriptor number `index` (from 0, below the count), non-blocking and close-on-exec, or -1. Worker w of
 * n serves the indices w, w + n, w + 2n, ...; it must not close them. */
int listen_socket_fd(const struct listen_sockets *sockets, const struct address *address, unsigned index);
/* The same of UDP. Sockets whose address has left the snapshot stay as long as they are used: whether UDP is
 * wanted is for the definition to say. */
unsigned listen_udp_count(const struct listen_sockets *sockets, const struct address *address);
struct held_socket listen_udp_socket(struct listen_sockets *sockets, const struct address *address, unsigned index);
/* What the holder says of connection IDs; NULL: there has been no socket of UDP yet. */
const struct holder_udp *listen_sockets_steering(const struct listen_sockets *sockets);
/* The address as bound, with the port that the system picked; NULL: not held. */
const struct address *listen_socket_bound(const struct listen_sockets *sockets,
                                          const struct address *address);
