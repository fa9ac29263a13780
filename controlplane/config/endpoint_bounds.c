#include "controlplane/config/endpoint_bounds.h"

#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_cluster.h"

/* The health of an endpoint, and that its length may take one byte more then. */
enum { HEALTH_BYTES_MAX = 3 };

static void check_size(struct fill *f, const struct fill_at *at, const Headgate__EndpointSet *set) {
    size_t size = headgate__endpoint_set__get_packed_size(set) + HEALTH_BYTES_MAX * set->n_endpoints;
    if (size > RESOURCE_BYTES_MAX)
        fill_report(f, at, ERROR_RANGE, "the endpoints have %zu bytes with their health; %d are allowed", size,
                    (int)RESOURCE_BYTES_MAX);
}

int config_check_endpoints(const Headgate__Cluster *cluster, const Headgate__EndpointSet *set, struct error_list *errors) {
    const struct tree_node nowhere = {0};
    const struct fill_at at = {.node = &nowhere};
    struct fill f = {.errors = errors};
    check_size(&f, &at, set);
    if (f.faults == 0)
        check_tables(&f, &at, &cluster->base, &set->base);
    return f.faults ? -1 : 0;
}
