/* endpoint_bounds.h — whether endpoints that were found are within what data planes take.
 *
 * Thread: any, nothing is shared. */
#pragma once

#include "common/error.h"
#include "proto/resources.pb-c.h"

/* The set's size, with health that is still to come, and the tables that the cluster's balancer makes of it. Endpoints are
 * valid by themselves. Returns 0, or -1 after adding an error: ERROR_MEMORY when it cannot be said now. */
int config_check_endpoints(const Headgate__Cluster *cluster, const Headgate__EndpointSet *set, struct error_list *errors);
