/* endpoints.h — an assignment of endpoints as an endpoint set; between endpoints.c and clusters. Thread: one at a time. */
#pragma once

#include "controlplane/xds/translate/making.h"

struct endpoint_options {
    bool is_locality_weighted;  /* weights of localities count; otherwise those of endpoints alone */
    bool is_static;             /* of a cluster itself: no address may stand there twice */
};

/* NULL after an error. Places are below `at`.
 *
 * Priorities: those that have endpoints, in their order, then those that have degraded endpoints, numbered from 0.
 * Weights: within a priority, that of the endpoint; where localities are weighted, the share of its locality in the priority
 * times its own share in the locality. As whole numbers of 1 to 65535 they keep their proportions where that is possible;
 * otherwise the largest becomes 65535 and the others are rounded. */
Headgate__EndpointSet *endpoints_make(struct making *m, const struct xds_at *at,
                                      const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment,
                                      const struct endpoint_options *options);
