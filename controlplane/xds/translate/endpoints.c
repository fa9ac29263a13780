#include "controlplane/xds/translate/endpoints.h"

#include "common/map.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/values.h"
#include "controlplane/xds/translate/weights.h"

enum {
    SERVER_PRIORITY_MAX = 128,          /* Envoy's bound */
    PRIORITY_MAX = 127,                 /* ours */
    ENDPOINTS_MAX = 1000000,
    ZONE_MAX = 128,
    OVERPROVISIONING = 140,             /* Envoy's default, and ours */
};

/* ---- what is read ---- */

static const struct xds_fields check_config = XDS_EMPTY_TABLE(envoy__config__endpoint__v3__endpoint__health_check_config);

static const struct xds_fields endpoint_table = XDS_TABLE(envoy__config__endpoint__v3__endpoint,
    XDS_INSIDE("address", &xds_read_address),
    XDS_INSIDE_NOTE("health_check_config", &check_config, "only when nothing stands in it"),
    XDS_READ("hostname"));

static const struct xds_fields endpoint_metadata = XDS_TABLE(envoy__config__core__v3__metadata,
    XDS_NOTE("filter_metadata", "of `envoy.lb` and `envoy.transport_socket_match`: texts, numbers, true and false, where 8 "
             "and \"8\" are one value; what other names say is not looked at"),
    XDS_IGNORE("typed_filter_metadata", "endpoints are chosen by filter_metadata alone"));

static const struct xds_fields item_table = XDS_TABLE(envoy__config__endpoint__v3__lb_endpoint,
    XDS_INSIDE("endpoint", &endpoint_table),
    XDS_NOTE("health_status", "TIMEOUT counts as UNHEALTHY; what is DEGRADED comes behind all priorities; where there are "
             "health checks they decide, but for DRAINING"),
    XDS_INSIDE("metadata", &endpoint_metadata),
    XDS_READ("load_balancing_weight"));

static const struct xds_fields locality_table = XDS_TABLE(envoy__config__core__v3__locality,
    XDS_NOTE("region", "with zone and sub_zone the endpoint's `zone`: `region/zone/sub_zone`"),
    XDS_READ("zone"), XDS_READ("sub_zone"));

static const struct xds_fields locality_metadata = XDS_TABLE(envoy__config__core__v3__metadata,
    XDS_NOTE("filter_metadata", "not of `envoy.transport_socket_match`; what other names say is not looked at"),
    XDS_IGNORE("typed_filter_metadata", "nothing asks what is known of a locality"));

static const struct xds_fields group_table = XDS_TABLE(envoy__config__endpoint__v3__locality_lb_endpoints,
    XDS_INSIDE("locality", &locality_table),
    XDS_INSIDE("metadata", &locality_metadata),
    XDS_INSIDE("lb_endpoints", &item_table),
    XDS_NOTE("load_balancing_weight", "counts where the cluster says so (locality_weighted_lb_config, WrrLocality)"),
    XDS_NOTE("priority", "priorities without endpoints are left out"),
    XDS_IGNORE("proximity", "nothing is chosen by it, in Envoy neither"));

static const struct xds_fields policy_table = XDS_TABLE(envoy__config__endpoint__v3__cluster_load_assignment__policy,
    XDS_NOTE("overprovisioning_factor", "140; other values in the load_assignment of a cluster alone"));

const struct xds_fields xds_read_endpoints = XDS_TABLE(envoy__config__endpoint__v3__cluster_load_assignment,
    XDS_READ("cluster_name"),
    XDS_INSIDE("endpoints", &group_table),
    XDS_INSIDE("policy", &policy_table));

const struct xds_fields xds_read_static_endpoints = XDS_TABLE(envoy__config__endpoint__v3__cluster_load_assignment,
    XDS_IGNORE("cluster_name", "the endpoints are those of the cluster in which they stand"),
    XDS_INSIDE("endpoints", &group_table),
    XDS_INSIDE("policy", &policy_table));

/* ---- gathering ---- */

/* Priorities of the server: those of endpoints as such, then those of what is degraded. */
enum { RANKS = 2 * (SERVER_PRIORITY_MAX + 1) };

struct gathering {
    struct making                 *making;
    const struct endpoint_options *options;
    Headgate__Endpoint           **items;       /* their priority is a rank until all are known */
    double                        *shares;
    size_t                         count;
    struct map                     addresses;
};

struct group {
    const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *m;
    char  *zone;                        /* NULL: none */
    double factor;                      /* of its endpoints' weights; 0: it gets no requests */
};

static char *take_zone(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Locality *l) {
    char *zone = NULL;
    const char *parts[] = {l ? l->region : "", l ? l->zone : "", l ? l->sub_zone : ""};
    struct strbuf text = {0};
    for (int i = 0; i < 3; i++)
        if (parts[i][0])
            strbuf_printf(&text, "%s%s", text.n ? "/" : "", parts[i]);
    if (text.failed)
        making_out_of_memory(m);
    else
        value_text(m, at, strbuf_str(&text).p, &text_any, ZONE_MAX, &zone);
    strbuf_finish(&text);
    return zone;
}

static Headgate__Endpoint__Health health_of(Envoy__Config__Core__V3__HealthStatus status) {
    switch (status) {
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY:
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT: return HEADGATE__ENDPOINT__HEALTH__UNHEALTHY;
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING: return HEADGATE__ENDPOINT__HEALTH__DRAINING;
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__HEALTHY:
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DEGRADED: return HEADGATE__ENDPOINT__HEALTH__HEALTHY;
    default: return HEADGATE__ENDPOINT__HEALTH__UNKNOWN;
    }
}

static void fill_endpoint(struct making *m, const struct xds_at *at, const struct group *g,
                          const Envoy__Config__Endpoint__V3__LbEndpoint *from, Headgate__Endpoint *to) {
    bool is_degraded = from->health_status == ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DEGRADED;
    to->zone = g->zone;
    to->has_priority = true;
    to->priority = g->m->priority + (is_degraded ? SERVER_PRIORITY_MAX + 1 : 0);
    to->health = health_of(from->health_status);
    to->has_health = to->health != HEADGATE__ENDPOINT__HEALTH__UNKNOWN;
    value_text(m, XDS_AT(at, "endpoint.hostname"), from->endpoint->hostname, &text_host, 8192, &to->hostname);
    part_endpoint_metadata(m, XDS_AT(at, "metadata"), from->metadata, &to->metadata, &to->n_metadata);
}

/* An address that has come before: the first one counts, as in Envoy. */
static bool is_known(struct gathering *g, const struct xds_at *at, char *address) {
    if (!map_get(&g->addresses, str_of(address))) {
        if (map_set(&g->addresses, str_of(address), address) < 0)
            making_out_of_memory(g->making);
        return false;
    }
    if (g->options->is_static)
        making_refuse(g->making, XDS_AT(at, "endpoint.address"), ERROR_CONFLICT, "\"%s\" stands there twice", address);
    return true;
}

static void take_endpoint(struct gathering *g, const struct xds_at *at, const struct group *group,
                          const Envoy__Config__Endpoint__V3__LbEndpoint *from) {
    if (from->host_identifier_case != ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT) {
        making_refuse(g->making, XDS_AT(at, "endpoint"), ERROR_MISSING, "is missing");
        return;
    }
    uint32_t weight = from->load_balancing_weight ? from->load_balancing_weight->value : 1;
    char *address = part_address(g->making, XDS_AT(at, "endpoint.address"), from->endpoint->address);
    if (weight == 0)
        making_refuse(g->making, XDS_AT(at, "load_balancing_weight"), ERROR_RANGE, "is 0; 1 is the least");
    if (!address || is_known(g, at, address) || weight == 0)
        return;
    Headgate__Endpoint *to = making_new(g->making, &headgate__endpoint__descriptor);
    if (!to)
        return;
    fill_endpoint(g->making, at, group, from, to);
    to->address = address;
    g->items[g->count] = to;
    g->shares[g->count++] = weight * group->factor;
}

/* ---- weights of localities ---- */

static double sum_of_weights(const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *m) {
    double sum = 0;
    for (size_t i = 0; i < m->n_lb_endpoints; i++)
        sum += m->lb_endpoints[i]->load_balancing_weight ? m->lb_endpoints[i]->load_balancing_weight->value : 1;
    return sum;
}

/* Whether any locality of the priority has a weight. With none of them they are as if there were no localities. */
static void note_weighted(const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment,
                          bool is_weighted[SERVER_PRIORITY_MAX + 1]) {
    for (size_t i = 0; i < assignment->n_endpoints; i++) {
        const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *m = assignment->endpoints[i];
        if (m->load_balancing_weight && m->priority <= SERVER_PRIORITY_MAX)
            is_weighted[m->priority] = true;
    }
}

static double factor_of(const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *m, const bool *is_weighted) {
    if (!is_weighted[m->priority])
        return 1;
    double sum = sum_of_weights(m);
    return m->load_balancing_weight && sum > 0 ? m->load_balancing_weight->value / sum : 0;
}

/* ---- groups ---- */

static void take_group(struct gathering *g, const struct xds_at *at,
                       const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *m, const bool *is_weighted) {
    struct group group = {.m = m};
    if (m->priority > SERVER_PRIORITY_MAX) {
        making_refuse(g->making, XDS_AT(at, "priority"), ERROR_RANGE, "is %u; 0 to %d are possible", m->priority,
                      SERVER_PRIORITY_MAX);
        return;
    }
    if (m->load_balancing_weight && m->load_balancing_weight->value == 0)
        making_refuse(g->making, XDS_AT(at, "load_balancing_weight"), ERROR_RANGE, "is 0; 1 is the least");
    if (part_metadata_is_of_transport(m->metadata))
        making_unsupported(g->making, XDS_AT_KEY(XDS_AT(at, "metadata"), "filter_metadata", "envoy.transport_socket_match"),
                           "each endpoint has its own");
    group.factor = factor_of(m, is_weighted);
    group.zone = take_zone(g->making, XDS_AT(at, "locality"), m->locality);
    for (size_t i = 0; group.factor > 0 && i < m->n_lb_endpoints; i++)
        take_endpoint(g, XDS_AT_ITEM(at, "lb_endpoints", i), &group, m->lb_endpoints[i]);
}

static void take_groups(struct gathering *g, const struct xds_at *at,
                        const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment) {
    bool is_weighted[SERVER_PRIORITY_MAX + 1] = {false};
    if (g->options->is_locality_weighted)
        note_weighted(assignment, is_weighted);
    for (size_t i = 0; i < assignment->n_endpoints; i++)
        take_group(g, XDS_AT_ITEM(at, "endpoints", i), assignment->endpoints[i], is_weighted);
}

/* ---- priorities and weights of all ---- */

static void number_priorities(struct gathering *g, const struct xds_at *at) {
    uint32_t numbers[RANKS] = {0}, next = 0;
    for (size_t i = 0; i < g->count; i++)
        numbers[g->items[i]->priority] = 1;
    for (size_t rank = 0; rank < RANKS; rank++)
        if (numbers[rank])
            numbers[rank] = next++;
    if (next > PRIORITY_MAX + 1)
        making_refuse(g->making, XDS_AT(at, "endpoints"), ERROR_RANGE, "there are %u priorities; %d are possible", next,
                      PRIORITY_MAX + 1);
    for (size_t i = 0; i < g->count; i++)
        g->items[i]->priority = numbers[g->items[i]->priority];
}

/* Weights are compared within a priority alone. */
static void weigh(struct gathering *g) {
    double *shares = making_array(g->making, g->count, sizeof *shares);
    uint32_t *weights = making_array(g->making, g->count, sizeof *weights), priority = 0;
    for (size_t done = 0; shares && weights && done < g->count; priority++) {
        size_t count = 0, next = 0;
        for (size_t i = 0; i < g->count; i++)
            if (g->items[i]->priority == priority)
                shares[count++] = g->shares[i];
        weights_of_shares(shares, count, weights);
        for (size_t i = 0; i < g->count; i++)
            if (g->items[i]->priority == priority)
                g->items[i]->weight = weights[next++];
        done += count;
    }
}

/* What is not said is what counts without it. */
static void leave_defaults_out(struct gathering *g) {
    for (size_t i = 0; i < g->count; i++) {
        g->items[i]->has_weight = g->items[i]->weight != 1;
        g->items[i]->has_priority = g->items[i]->priority != 0;
    }
}

/* ---- all ---- */

static size_t count_all(const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment) {
    size_t count = 0;
    for (size_t i = 0; i < assignment->n_endpoints; i++)
        count += assignment->endpoints[i]->n_lb_endpoints;
    return count;
}

Headgate__EndpointSet *endpoints_make(struct making *m, const struct xds_at *at,
                                      const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment,
                                      const struct endpoint_options *options) {
    struct gathering g = {.making = m, .options = options};
    Headgate__EndpointSet *set = making_new(m, &headgate__endpoint_set__descriptor);
    size_t count = count_all(assignment);
    if (count > ENDPOINTS_MAX) {
        making_refuse(m, XDS_AT(at, "endpoints"), ERROR_RANGE, "there are %zu; %d are possible", count, ENDPOINTS_MAX);
        return NULL;
    }
    g.items = making_array(m, count, sizeof *g.items);
    g.shares = making_array(m, count, sizeof *g.shares);
    if (!set || !g.items || !g.shares)
        return NULL;
    take_groups(&g, at, assignment);
    map_finish(&g.addresses);
    if (m->faults)
        return NULL;
    number_priorities(&g, at);
    weigh(&g);
    leave_defaults_out(&g);
    set->endpoints = g.items;
    set->n_endpoints = g.count;
    return set;
}

static void check_policy(struct making *m, const Envoy__Config__Endpoint__V3__ClusterLoadAssignment__Policy *policy) {
    const Google__Protobuf__UInt32Value *factor = policy ? policy->overprovisioning_factor : NULL;
    if (factor && factor->value != OVERPROVISIONING)
        making_unsupported(m, XDS_AT(NULL, "policy.overprovisioning_factor"),
                           "of endpoints that are discovered it is 140; the cluster's load_assignment may have another");
}

int xds_translate_endpoints(const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *m, bool is_locality_weighted,
                            struct xds_made *ret, struct error_list *errors) {
    struct making making;
    const struct endpoint_options options = {.is_locality_weighted = is_locality_weighted};
    if (making_begin(&making, &xds_read_endpoints, &m->base, "endpoint-set", m->cluster_name, ret, errors) == 0) {
        char *name = making_name(&making, XDS_AT(NULL, "cluster_name"), m->cluster_name);
        check_policy(&making, m->policy);
        Headgate__EndpointSet *set = endpoints_make(&making, NULL, m, &options);
        if (name && set)
            making_emit(&making, HEADGATE__KIND__KIND_ENDPOINT_SET, name, &set->base);
    }
    return making_end(&making);
}
