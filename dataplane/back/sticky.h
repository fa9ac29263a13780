/* sticky.h — the cookie that brings a client back to its endpoint: the endpoint's id and a signature, in hexadecimal.
 *
 * The signatures of all endpoints of a definition are computed when it is built, so that a worker only compares. A cookie
 * that is not signed by us, for another cluster, or for an endpoint that is gone is as good as none. Thread: the
 * worker's. */
#pragma once

#include "dataplane/back/cluster.h"
#include "dataplane/http/exchange.h"

enum { STICKY_MAC = 16, STICKY_VALUE = 2 * (8 + STICKY_MAC), STICKY_KEYS_MOST = 16 };

struct sticky {
    struct str name, path;
    uint64_t   max_age;                       /* seconds; 0: a cookie of the session */
    bool       secure;
    uint32_t   key_count;
    const uint8_t (*macs)[STICKY_MAC];        /* by place in the definition's members, then by key, newest first */
};

/* Notes the endpoint that the request's cookie names. */
void sticky_read(const struct exchange *, const struct cluster_definition *, struct pick *);
/* Gives the client a cookie for this endpoint, unless it has it. 0, or -1 without memory. */
int  sticky_write(struct exchange *, const struct cluster_definition *, const struct pick *, const struct endpoint_runtime *,
                  struct head *response);
