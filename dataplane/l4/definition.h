/* definition.h — what a listener with quic-pass does: the immutable half, made by snapshot/quic_pass.c on the main thread,
 * read by all workers. Lives as long as its snapshot. */
#pragma once

#include <stdint.h>

#include "common/map.h"
#include "dataplane/back/cluster.h"
#include "dataplane/quic/ids.h"

enum { PASS_CLUSTERS_MAX = 256 };

/* An endpoint that its connections' IDs name. */
struct pass_server {
    const struct cluster_definition *cluster;
    uint32_t                         place;        /* in cluster->members */
    uint8_t                          key_n;
    uint8_t                          key[1 + QUIC_LB_BLOCK_MAX]; /* the configuration, and the server ID in it */
};

struct pass_definition {
    struct pass_definition           *next;        /* of the snapshot */
    struct map                        by_name;     /* canonical server name, or "*.rest", to its cluster_definition */
    const struct cluster_definition  *fallback;    /* of all other names, and of none; NULL: they are dropped */
    const struct cluster_definition **clusters;    /* all of them, each once */
    uint32_t                          cluster_count;
    uint64_t                          idle_timeout, handshake_timeout, drain_timeout; /* microseconds */
    uint32_t                          max_flows, max_hellos, new_flows_per_second;    /* of a worker */
    const struct quic_lb_form        *lb[QUIC_LB_UNROUTABLE]; /* by configuration; NULL: its IDs name no servers */
    struct map                        by_server;   /* its key, to a struct pass_server */
};

static inline bool pass_reads_names(const struct pass_definition *d) {
    return d->by_name.count > 0;
}
