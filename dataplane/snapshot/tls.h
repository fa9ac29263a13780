/* tls.h — the TLS of listeners and clusters, with the secrets of the snapshot's state. Thread: main. */
#pragma once

#include "dataplane/snapshot/resource_set.h"
#include "dataplane/tls/client.h"
#include "dataplane/tls/server.h"

/* Both: 0 with *ret, which has one holder, or -1 with the faults in `errors`. What an earlier snapshot has of equal messages
 * and secrets is taken over. */
/* *ret is NULL where the listener has no TLS. */
int snapshot_listener_tls(const struct resource *listener, const struct resource_set *resources, struct tls_server **ret,
                          struct error_list *errors);
/* `path`: where the message stands in the cluster. `protocol`: what is to be spoken inside. */
int snapshot_client_tls(const char *cluster, const char *path, const Headgate__ClientTls *m, enum tls_protocols protocol,
                        const struct resource_set *resources, struct tls_client **ret, struct error_list *errors);
