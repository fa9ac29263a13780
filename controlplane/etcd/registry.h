/* registry.h — endpoints that are registered below PREFIX/endpoints/, for all who want to know.
 *
 *     endpoints/SERVICE/INSTANCE    one endpoint, as JSON in the form that it has under a cluster; often with a lease of who
 *                                   put it there, so that it goes with its process
 *
 * One watch for all services, however many clusters follow them; it begins with the first. Thread: the loop's. */
#pragma once

#include "common/arena.h"
#include "common/error.h"
#include "controlplane/etcd/follower.h"
#include "proto/resources.pb-c.h"

#define ETCD_ENDPOINTS "endpoints/"

enum {
    ETCD_INSTANCES_MAX = 262144,        /* of all services */
    ETCD_INSTANCE_BYTES_MAX = 4096,     /* of one key, and of one value */
};

struct etcd_registry;
struct etcd_service;

/* NULL without memory. `e` outlives it. */
struct etcd_registry *etcd_registry_create(struct etcd *e);
void etcd_registry_stop(struct etcd_registry *r);    /* asks no more; NULL is allowed */
void etcd_registry_destroy(struct etcd_registry *r); /* nobody follows anything; NULL is allowed */

/* Follows one service; lives in who does. */
struct etcd_service_follower {
    struct etcd_service_follower *next, **place;    /* of the service */
    struct etcd_service          *in;               /* NULL: follows nothing */
    /* The endpoints may be others than before: ask. Not before the list is whole. */
    void (*changed)(void *context);
    void (*failed)(void *context, const char *reason); /* etcd; what was known stays */
    void *context;
};

/* The functions are set. 0, or -1 without memory. */
int  etcd_registry_join(struct etcd_registry *r, const char *service, struct etcd_service_follower *f);
void etcd_registry_leave(struct etcd_service_follower *f); /* also one that follows nothing; not from within its functions */
/* Whether the list is whole: then it may ask. */
bool etcd_registry_is_known(const struct etcd_service_follower *f);
/* Those of the service, in the order of their addresses; of two with one address that of the lower key. In the arena. NULL
 * with a reason in `errors`: nobody has registered. Beside a set, `errors` has what of it cannot be read: a value that
 * became bad counts as it was before. */
Headgate__EndpointSet *etcd_registry_endpoints(const struct etcd_service_follower *f, struct arena *arena,
                                               struct error_list *errors);

/* ---- for metrics ---- */

size_t etcd_registry_count(const struct etcd_registry *r);
void   etcd_registry_counters(const struct etcd_registry *r, struct etcd_follower_counters *ret);

/* The functions of struct etcd_mirror_ops, with the registry as their context. */
extern const struct etcd_mirror_ops etcd_registry_ops;
