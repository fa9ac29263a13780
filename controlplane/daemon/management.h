/* management.h — the management servers of --xds-bootstrap, and what comes of their resources: client, world and engine
 * together. Thread: the loop's. */
#pragma once

#include "controlplane/discovery/endpoint_feed.h"
#include "controlplane/engine/engine.h"
#include "controlplane/xds/client.h"
#include "controlplane/xds/csds.h"

struct management;

/* What it may hold of what servers send. */
struct management_limits {
    uint64_t resources_max, bytes_max;
};

/* Reads the file, and tells in the log what of it is ignored. The loop, the engine and the feed outlive it. NULL with
 * reasons in `errors`. */
struct management *management_create(const char *bootstrap, const struct management_limits *limits, struct rpc_loop *rpc,
                                     struct engine *engine, struct endpoint_feed *feed, struct error_list *errors);
void management_start(struct management *m);
/* Leaves the servers; what they have said stays in use. Before the loop of gRPC ends; NULL is allowed. */
void management_stop(struct management *m);
/* When the engine answers nothing any more; NULL is allowed. */
void management_destroy(struct management *m);
const struct xds_client *management_client(const struct management *m);
const struct xds_csds   *management_csds(const struct management *m);
