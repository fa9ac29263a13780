/* request_hash.h — what a request is hashed by, for balancers that hash. Thread: the worker's. */
#pragma once

#include "dataplane/back/cluster.h"
#include "dataplane/http/exchange.h"

/* The value of the cookie of that name. False: there is none. */
bool request_cookie(const struct fields *, struct str name, struct str *ret);
/* By the first of the cluster's rules that the request has, a relayed connection by its client's address. False: by
 * none. */
bool request_hash(const struct exchange *, const struct cluster_definition *, uint64_t *ret);
