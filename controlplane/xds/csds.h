/* csds.h — client status (CSDS, gRFC A40 and A88): which resources of a management server are held, and in which state.
 * Thread: the loop's. */
#pragma once

#include "common/arena.h"
#include "controlplane/xds/world.h"
#include "proto/envoy/service/status/v3/csds.pb-c.h"

#define XDS_CSDS_SERVICE "/envoy.service.status.v3.ClientStatusDiscoveryService"

enum { XDS_CSDS_BYTES_MAX = 512 << 20 };    /* of one answer while it is made */

/* Who is asked. */
struct xds_csds {
    const struct xds_world              *world;
    const Envoy__Config__Core__V3__Node *node;      /* NULL: it is not told */
};

/* The answer, which points into the machine's copies and is valid until anything happens to it; the rest is in the arena.
 * `csds` NULL: no server is configured, and no configuration is told. `now` is on the machine's clock, `realtime` the same
 * moment since 1970. 0, or -1 without memory (or beyond the arena's limit). */
int xds_csds_answer(const struct xds_csds *csds, const Envoy__Service__Status__V3__ClientStatusRequest *request,
                    uint64_t now, uint64_t realtime, struct arena *arena,
                    Envoy__Service__Status__V3__ClientStatusResponse *ret);
