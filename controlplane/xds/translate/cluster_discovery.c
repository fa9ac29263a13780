#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/cluster.h"
#include "controlplane/xds/translate/endpoints.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/tables.h"
#include "proto/envoy/config/core/v3/resolver.pb-c.h"

enum { SERVERS_MAX = 8, SERVICE_MAX = 4096, NAME_MAX_BYTES = 255 };

#define CLUSTER(name)      Envoy__Config__Cluster__V3__Cluster##name
#define CLUSTER_ENUM(name) ENVOY__CONFIG__CLUSTER__V3__CLUSTER__##name
#define ASSIGNMENT         Envoy__Config__Endpoint__V3__ClusterLoadAssignment

/* ---- what is read ---- */

const struct xds_fields cluster_read_eds = XDS_TABLE(envoy__config__cluster__v3__cluster__eds_cluster_config,
    XDS_INSIDE("eds_config", &xds_read_config_source),
    XDS_NOTE("service_name", "without it the name of the cluster"));

const struct xds_fields cluster_read_failure_refresh = XDS_TABLE(envoy__config__cluster__v3__cluster__refresh_rate,
    XDS_READ("base_interval"),
    XDS_IGNORE("max_interval", "the time is doubled up to `max-refresh`"));

static const struct xds_fields resolver_options = XDS_TABLE(envoy__config__core__v3__dns_resolver_options,
    XDS_IGNORE("no_default_search_domain", "names are whole: no domain is searched"));

const struct xds_fields cluster_read_resolvers = XDS_TABLE(envoy__config__core__v3__dns_resolution_config,
    XDS_INSIDE_NOTE("resolvers", &xds_read_address, "at most 8"),
    XDS_INSIDE("dns_resolver_options", &resolver_options));

/* ---- from the servers ---- */

static void take_eds(struct cluster_making *c) {
    const CLUSTER(__EdsClusterConfig) *eds = c->from->eds_cluster_config;
    Headgate__Discovery *to = making_new(c->making, &headgate__discovery__descriptor);
    Headgate__XdsDiscovery *xds = making_new(c->making, &headgate__xds_discovery__descriptor);
    const char *service = eds && eds->service_name[0] ? eds->service_name : c->from->name;
    if (!eds)
        making_refuse(c->making, XDS_AT(NULL, "eds_cluster_config"), ERROR_MISSING, "is missing");
    else
        part_config_source(c->making, XDS_AT(NULL, "eds_cluster_config.eds_config"), eds->eds_config);
    if (!eds || !to || !xds)
        return;
    value_text(c->making, XDS_AT(NULL, "eds_cluster_config.service_name"), service, &text_any, SERVICE_MAX, &xds->service);
    xds->has_locality_weighted = xds->locality_weighted = c->is_locality_weighted;
    to->kind_case = HEADGATE__DISCOVERY__KIND_XDS;
    to->xds = xds;
    c->to->discovery = to;
    making_need(c->making, XDS_TYPE_ENDPOINTS, service);
}

/* ---- as they stand there ---- */

static void take_policy(struct cluster_making *c, const struct xds_at *at, const ASSIGNMENT *from) {
    Headgate__Balancing *b = c->to->balancing;
    if (from->policy)
        value_uint32(c->making, XDS_AT(at, "policy.overprovisioning_factor"), from->policy->overprovisioning_factor, 100,
                     10000, &b->has_overprovisioning, &b->overprovisioning);
}

static void take_static(struct cluster_making *c) {
    const struct endpoint_options options = {.is_locality_weighted = c->is_locality_weighted, .is_static = true};
    const struct xds_at *at = XDS_AT(NULL, "load_assignment");
    if (!c->from->load_assignment)
        return;
    take_policy(c, at, c->from->load_assignment);
    c->endpoints = endpoints_make(c->making, at, c->from->load_assignment, &options);
}

/* ---- from DNS ---- */

static Headgate__DnsDiscovery__Records records_of(int family) {
    switch (family) {
    case CLUSTER_ENUM(DNS_LOOKUP_FAMILY__V4_ONLY): return HEADGATE__DNS_DISCOVERY__RECORDS__A;
    case CLUSTER_ENUM(DNS_LOOKUP_FAMILY__V6_ONLY): return HEADGATE__DNS_DISCOVERY__RECORDS__AAAA;
    default: return HEADGATE__DNS_DISCOVERY__RECORDS__ADDRESSES;
    }
}

static void take_server(struct cluster_making *c, const struct xds_at *at, const Envoy__Config__Core__V3__Address *address,
                        Headgate__DnsDiscovery *to) {
    char *text = part_address(c->making, at, address);
    if (!text)
        return;
    value_text(c->making, at, text, &text_udp, NAME_MAX_BYTES, &to->servers[to->n_servers]);
    for (size_t i = 0; i < to->n_servers; i++)
        if (to->servers[to->n_servers] && strcmp(to->servers[i], to->servers[to->n_servers]) == 0)
            return;
    to->n_servers += to->servers[to->n_servers] != NULL;
}

static void take_servers(struct cluster_making *c, Headgate__DnsDiscovery *to) {
    const Envoy__Config__Core__V3__DnsResolutionConfig *config = c->from->dns_resolution_config;
    size_t count = config ? config->n_resolvers : c->from->n_dns_resolvers;
    const struct xds_at *at = config ? XDS_AT(NULL, "dns_resolution_config") : NULL;
    const char *field = config ? "resolvers" : "dns_resolvers";
    if (count > SERVERS_MAX) {
        making_refuse(c->making, XDS_AT(at, field), ERROR_RANGE, "has %zu servers; %d are possible", count, SERVERS_MAX);
        return;
    }
    to->servers = making_array(c->making, count + 1, sizeof *to->servers);
    for (size_t i = 0; to->servers && i < count; i++)
        take_server(c, XDS_AT_ITEM(at, field, i), config ? config->resolvers[i] : c->from->dns_resolvers[i], to);
}

/* Envoy asks again every dns_refresh_rate, 5 s without it, unless the records' own time counts. */
static void take_refresh(struct cluster_making *c, Headgate__DnsDiscovery *to) {
    const CLUSTER() *from = c->from;
    const CLUSTER(__RefreshRate) *failure = from->dns_failure_refresh_rate;
    uint64_t rate = 5 * XDS_SEC;
    protobuf_c_boolean has_rate;
    value_duration(c->making, XDS_AT(NULL, "dns_refresh_rate"), from->dns_refresh_rate, XDS_SEC, XDS_DAY, &has_rate, &rate);
    if (!from->respect_dns_ttl) {
        to->has_min_refresh = to->has_max_refresh = true;
        to->min_refresh = to->max_refresh = rate;
    }
    to->has_failure_refresh = true;
    to->failure_refresh = rate;
    if (failure)
        value_duration(c->making, XDS_AT(NULL, "dns_failure_refresh_rate.base_interval"), failure->base_interval, XDS_SEC,
                       XDS_DAY, &to->has_failure_refresh, &to->failure_refresh);
}

/* `hostname`: what the endpoints are called; "": like the name. */
static void take_name(struct cluster_making *c, const struct xds_at *at,
                      const Envoy__Config__Core__V3__SocketAddress *address, const char *hostname) {
    Headgate__Discovery *to = making_new(c->making, &headgate__discovery__descriptor);
    Headgate__DnsDiscovery *dns = making_new(c->making, &headgate__dns_discovery__descriptor);
    if (!to || !dns)
        return;
    if (!address->address[0])
        making_refuse(c->making, XDS_AT(at, "address"), ERROR_MISSING, "is empty");
    value_text(c->making, XDS_AT(at, "address"), address->address, &text_dns_name, NAME_MAX_BYTES, &dns->name);
    value_text(c->making, XDS_AT(at->up, "hostname"), hostname[0] ? hostname : address->address, &text_host, NAME_MAX_BYTES,
               &dns->hostname);
    value_number(c->making, XDS_AT(at, "port_value"), address->port_value, 1, 65535, &dns->has_port, &dns->port);
    dns->records = records_of(c->from->dns_lookup_family);
    dns->has_records = dns->records != HEADGATE__DNS_DISCOVERY__RECORDS__ADDRESSES;
    take_servers(c, dns);
    take_refresh(c, dns);
    to->kind_case = HEADGATE__DISCOVERY__KIND_DNS;
    to->dns = dns;
    c->to->discovery = to;
}

/* Whether an endpoint has a name where others have an address. */
static bool has_name(const Envoy__Config__Endpoint__V3__LbEndpoint *e) {
    const Envoy__Config__Core__V3__Address *a =
        e->host_identifier_case == ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT ? e->endpoint->address
                                                                                                      : NULL;
    struct str canonical;
    struct arena scratch;
    char room[512];
    if (!a || a->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
        return false;
    arena_init(&scratch, room, sizeof room, 0);
    bool is_name = text_dns_name.check(&scratch, str_of(a->socket_address->address), &canonical) == NULL;
    arena_finish(&scratch);
    return is_name;
}

/* The endpoint that has a name, in *ret; NULL: none has. Returns the number of all. */
static size_t find_name(const ASSIGNMENT *from, const Envoy__Config__Endpoint__V3__LbEndpoint **ret) {
    size_t count = 0;
    *ret = NULL;
    for (size_t i = 0; from && i < from->n_endpoints; i++)
        for (size_t k = 0; k < from->endpoints[i]->n_lb_endpoints; k++, count++)
            if (has_name(from->endpoints[i]->lb_endpoints[k]))
                *ret = from->endpoints[i]->lb_endpoints[k];
    return count;
}

/* What is said of the name is not said of the addresses that it has, so nothing may be chosen by it. */
static void check_named(struct cluster_making *c, const struct xds_at *at,
                        const Envoy__Config__Endpoint__V3__LbEndpoint *e) {
    Headgate__MetadataEntry **items = NULL;
    size_t count = 0;
    bool is_chosen_by = c->from->lb_subset_config || c->from->n_transport_socket_matches;
    part_endpoint_metadata(c->making, XDS_AT(at, "metadata"), e->metadata, &items, &count);
    if (count && is_chosen_by)
        making_unsupported(c->making, XDS_AT(at, "metadata"), "endpoints of a name in DNS have none to be chosen by");
    if (e->health_status > ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__HEALTHY)
        making_unsupported(c->making, XDS_AT(at, "health_status"), "of endpoints of a name in DNS only checks know it");
}

/* A cluster of names has one; addresses among them make it a static one. */
static void take_dns(struct cluster_making *c) {
    const ASSIGNMENT *from = c->from->load_assignment;
    const struct xds_at *at = XDS_AT(NULL, "load_assignment");
    const Envoy__Config__Endpoint__V3__LbEndpoint *named;
    size_t count = find_name(from, &named);
    if (!named) {
        take_static(c);
    } else if (count > 1) {
        making_unsupported(c->making, XDS_AT(at, "endpoints"), "a cluster has one name in DNS, and nothing beside it");
    } else {
        const struct xds_at *item = XDS_AT(at, "endpoints[0].lb_endpoints[0]"), *endpoint = XDS_AT(item, "endpoint");
        take_policy(c, at, from);
        check_named(c, item, named);
        take_name(c, XDS_AT(endpoint, "address.socket_address"), named->endpoint->address->socket_address,
                  named->endpoint->hostname);
    }
}

/* ---- all ---- */

void cluster_take_endpoints(struct cluster_making *c) {
    const CLUSTER() *from = c->from;
    bool is_eds = from->type == CLUSTER_ENUM(DISCOVERY_TYPE__EDS);
    if (from->cluster_discovery_type_case == CLUSTER_ENUM(CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE))
        return; /* the walk has refused it */
    if (is_eds && from->load_assignment)
        making_unsupported(c->making, XDS_AT(NULL, "load_assignment"), "the endpoints of a cluster of type EDS are "
                           "discovered");
    if (!is_eds && from->eds_cluster_config)
        making_unsupported(c->making, XDS_AT(NULL, "eds_cluster_config"), "the cluster is not of type EDS");
    switch (from->type) {
    case CLUSTER_ENUM(DISCOVERY_TYPE__STATIC): take_static(c); break;
    case CLUSTER_ENUM(DISCOVERY_TYPE__STRICT_DNS):
    case CLUSTER_ENUM(DISCOVERY_TYPE__LOGICAL_DNS): take_dns(c); break;
    case CLUSTER_ENUM(DISCOVERY_TYPE__EDS): take_eds(c); break;
    default: making_unsupported(c->making, XDS_AT(NULL, "type"), "there are no clusters of this type"); break;
    }
}
