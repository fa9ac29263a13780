/* clusters.h — cluster definitions of a snapshot: built from resources, shared with the previous snapshot where unchanged.
 * Thread: main. */
#pragma once

#include "dataplane/snapshot/build.h"

/* Fills clusters, cluster_by_name, changed and dropped of `s`. Faults go to `errors`. Returns 0 or -1. */
int  snapshot_build_clusters(struct snapshot *s, const struct resource_set *resources, const struct snapshot *previous,
                             struct error_list *errors);
void cluster_definition_unref(struct cluster_definition *d);
