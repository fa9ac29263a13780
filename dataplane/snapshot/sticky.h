/* sticky.h — the signatures of sticky cookies, made when a cluster's definition is. Thread: main. */
#pragma once

#include "dataplane/back/sticky.h"
#include "dataplane/snapshot/build.h"

/* The secret that signs: that of the session tickets, under a key derived for cookies. NULL: there is none. */
const struct resource *snapshot_sticky_secret(const struct resource_set *);
/* Everything in the arena. `previous` (may be NULL) was made with the same secret: its signatures are taken over. NULL:
 * errors has more now, or no memory. */
const struct sticky *snapshot_sticky_make(struct arena *, const struct resource *cluster, const struct resource *secret,
                                          const struct cluster_members *, const struct cluster_definition *previous,
                                          struct error_list *errors);
