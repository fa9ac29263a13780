/* members.h — the endpoints of a cluster and how they are chosen, from its resources. Thread: main. */
#pragma once

#include "dataplane/snapshot/build.h"

/* The zone of this data plane, for clusters that prefer it; before the first snapshot. Empty: none. Kept, not copied. */
void snapshot_set_zone(struct str zone);

/* What members are made of, but for the endpoints: equal for clusters that choose in the same way. */
uint64_t snapshot_members_print(const Headgate__Cluster *);
/* Made from the cluster and its endpoint set, which may be NULL. `previous` may be NULL. NULL: errors has more now, or no
 * memory. */
struct cluster_members *snapshot_members_make(const struct resource *cluster, const struct resource *endpoints,
                                              const struct cluster_members *previous, struct error_list *errors);
/* The subset of the cluster's endpoints that a rule names. 0, or -1: the cluster does not select by these keys, or no
 * memory. */
int snapshot_find_subset(const struct cluster_members *, Headgate__MetadataEntry *const *entries, size_t count,
                         uint64_t *ret);
