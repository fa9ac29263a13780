/* http3.h — what a listener's definition says of HTTP/3. Thread: main. */
#pragma once

#include "dataplane/snapshot/build.h"

struct listen_sockets;

/* Fills `http3`, `quic` and `alt_svc` of the definition, whose `opening` knows what is served. 0, or -1 with faults. */
int snapshot_build_http3(struct snapshot *s, const Headgate__Listener *m, const char *name, struct listener_definition *d,
                         struct error_list *errors);
/* What is said of ports that the system picked, once their addresses are bound. Returns 0, or -1 without memory. */
int snapshot_name_ports(struct snapshot *s, const struct listen_sockets *sockets);
