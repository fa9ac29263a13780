/* unwell.h — which endpoints of a cluster are unwell, for people who watch: how many, and some by name.
 *
 * Who is unhealthy or draining is known from the definition, how many are ejected is counted; only to name those that are
 * ejected endpoints are looked at, a bounded number of them for one answer. Thread: main. */
#pragma once

#include "common/arena.h"
#include "dataplane/back/cluster.h"
#include "proto/snapshot.pb-c.h"

enum {
    UNWELL_NAMED = MEMBERS_UNWELL,   /* endpoints for each cluster, at most */
    UNWELL_LOOKS = 65536,            /* at endpoints, for all clusters of one answer: about a millisecond */
};

/* Of one answer. */
struct unwell_search {
    uint32_t looks;                  /* that are left */
    uint32_t number;                 /* of the answer: of very many endpoints each one looks at others */
};

/* Fills the counts of endpoints and `unwell`, from the arena. Without memory for them, or looks, some are not named. */
void unwell_fill(struct arena *, const struct cluster_definition *, struct unwell_search *, Headgate__ClusterCounts *ret);
