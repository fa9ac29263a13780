/* clusters.h — cluster definitions of a snapshot: built from resources, shared with the previous snapshot where unchanged.
 * Thread: main. */
#pragma once

#include "dataplane/snapshot/build.h"

/* Fills clusters, changed and dropped of `s`. Faults go to `errors`. Returns 0 or -1. */
int  snapshot_build_clusters(struct snapshot *s, const struct resource_set *resources, const struct snapshot *previous,
                             struct error_list *errors);
/* The cluster of that name, and its place in the list; NULL: there is none. */
struct cluster_definition *snapshot_find_cluster(const struct snapshot *s, struct str name, size_t *ret_place);
void cluster_definition_unref(struct cluster_definition *d);
/* Gives back its references to the definitions of its clusters. */
void snapshot_drop_clusters(struct snapshot *s);
