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

/* The same one by one, for whoever need not have all of very many: nothing is decoded, nothing to finish. It is as long as
 * the snapshot. */
struct endpoint_reader {
    const uint8_t *at, *end;
    const char *source;             /* as above */
};

void endpoint_reader_init(struct endpoint_reader *ret, const struct snapshot *s, const char *cluster);
/* Of an EndpointSet's bytes. */
void endpoint_reader_begin(struct endpoint_reader *ret, const uint8_t *bytes, size_t size);
/* The next one's bytes, an Endpoint. False: there are no more, or what follows is no message. */
bool endpoint_reader_next(struct endpoint_reader *r, const uint8_t **ret, size_t *ret_size);
/* What an Endpoint's bytes say of its health. */
Headgate__Endpoint__Health endpoint_health_of(const uint8_t *bytes, size_t size);
