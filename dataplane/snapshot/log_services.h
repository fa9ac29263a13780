/* log_services.h — the access log services of a snapshot's listeners, as workers use them (codec/grpc_log). Streams go
 * through the proxy like requests, by a listener of their own that listens nowhere: one rule, that sends all to the
 * service's cluster and never gives up waiting. Thread: main. */
#pragma once

#include "common/error.h"
#include "dataplane/snapshot/build.h"

/* Fills the services of a listener of this snapshot, whose clusters are built. Those that say the same are one. 0, or -1
 * after adding what is wrong, or without memory. */
int  snapshot_add_log_services(struct snapshot *s, const Headgate__Listener *m, struct listener_definition *d,
                               struct error_list *errors);
void snapshot_drop_log_services(struct snapshot *s);
