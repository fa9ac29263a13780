/* one_route.h — the route table of tests and fuzz targets that need one and are not about it: every request goes to the
 * cluster "origin". */
#pragma once

#include "dataplane/routing/route.h"

/* The caller frees it with route_table_free; NULL without memory. */
static inline struct route_table *one_route(void) {
    static char *any[] = {"*"};
    static Headgate__WeightedCluster origin = HEADGATE__WEIGHTED_CLUSTER__INIT, *origins[] = {&origin};
    static Headgate__Forward forward = HEADGATE__FORWARD__INIT;
    static Headgate__Rule rule = HEADGATE__RULE__INIT, *rules[] = {&rule};
    static Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    static Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    struct error_list errors = {0};
    origin.name = "origin";
    forward.clusters = origins, forward.n_clusters = 1;
    rule.action_case = HEADGATE__RULE__ACTION_FORWARD, rule.forward = &forward;
    host.domains = any, host.n_domains = 1, host.rules = rules, host.n_rules = 1;
    table.hosts = hosts, table.n_hosts = 1;
    struct route_table *built = route_table_build(&table, "test", NULL, &errors);
    error_list_finish(&errors);
    return built;
}
