/* quic_pass.h — QUIC connections go to endpoints as they are: TLS stays between the two ends. Thread: the worker's, but for
 * the directory. docs/internals/quic_pass.md */
#pragma once

#include "dataplane/net/datagrams.h"

struct id_directory;

/* What serves the UDP sockets of a listener with quic-pass. */
extern const struct datagram_ops quic_pass_ops;

/* Set once by the program, before any worker runs; it outlives them. */
void quic_pass_set_directory(struct id_directory *);
