/* endpoints.h — which endpoints a cluster has, and where they come from.
 *
 * Endpoints are known from the intent part of a snapshot ("static": written by the user) and, where a source of discovery
 * or a health check has something to say about a cluster, from the state part, which then is what counts. Thread: the
 * loop's. */
#pragma once

#include "controlplane/channel/snapshot.h"

struct cluster_endpoints {
    Headgate__EndpointSet *set;     /* decoded; NULL: the cluster has none */
    const char *source;             /* "static" or "state" */
};

/* What counts for the cluster of that name; finish it. */
void cluster_endpoints_init(struct cluster_endpoints *ret, const struct snapshot *s, const char *cluster);
void cluster_endpoints_finish(struct cluster_endpoints *e);
