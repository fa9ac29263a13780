/* Where a route leads: clusters, what is rewritten, how long it may take. */
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"

enum {
    CLUSTERS_MAX = 256,
    WEIGHT_MAX = 1000000,
    HASHES_MAX = 16,
    UPGRADES_MAX = 16,
    SUBSTITUTION_MAX = 4096,
    ROUTE_TIMEOUT_DEFAULT = 15,         /* seconds, Envoy's */
};

/* ---- what is read ---- */

static const struct xds_fields metadata_table = XDS_TABLE(envoy__config__core__v3__metadata,
    XDS_NOTE("filter_metadata", "of `envoy.lb`: the subset of endpoints"),
    XDS_IGNORE("typed_filter_metadata", "endpoints are chosen by filter_metadata alone"));

static const struct xds_fields weight_table = XDS_TABLE(envoy__config__route__v3__weighted_cluster__cluster_weight,
    XDS_READ("name"), XDS_READ("weight"), XDS_INSIDE("metadata_match", &metadata_table),
    XDS_INSIDE("request_headers_to_add", &xds_read_changed_header), XDS_READ("request_headers_to_remove"),
    XDS_INSIDE("response_headers_to_add", &xds_read_changed_header), XDS_READ("response_headers_to_remove"),
    XDS_IGNORE("typed_per_filter_config", "a listener with filters that it is for is refused"));

static const struct xds_fields weighted_table = XDS_TABLE(envoy__config__route__v3__weighted_cluster,
    XDS_INSIDE("clusters", &weight_table), XDS_IGNORE("total_weight", "weights are shares of their sum"),
    XDS_NOTE("runtime_key_prefix", "with a dot and the name of a cluster it is the key of its weight; where no cluster "
             "would get a request by the values of runtime layers, the weights here hold"));

const struct xds_fields xds_read_replacement = XDS_TABLE(envoy__type__matcher__v3__regex_match_and_substitute,
    XDS_INSIDE("pattern", &xds_read_regex), XDS_READ("substitution"));

static const struct xds_fields hash_header_table = XDS_TABLE(envoy__config__route__v3__route_action__hash_policy__header,
    XDS_READ("header_name"));
static const struct xds_fields hash_cookie_table = XDS_TABLE(envoy__config__route__v3__route_action__hash_policy__cookie,
    XDS_NOTE("name", "a cookie that is not there is not made"),
    XDS_IGNORE("path", "of a cookie that would be made, which is refused by its ttl"));
static const struct xds_fields hash_connection_table =
    XDS_TABLE(envoy__config__route__v3__route_action__hash_policy__connection_properties, XDS_READ("source_ip"));
static const struct xds_fields hash_query_table =
    XDS_TABLE(envoy__config__route__v3__route_action__hash_policy__query_parameter, XDS_READ("name"));
static const struct xds_fields hash_table = XDS_TABLE(
    envoy__config__route__v3__route_action__hash_policy, XDS_INSIDE("header", &hash_header_table),
    XDS_INSIDE("cookie", &hash_cookie_table), XDS_INSIDE("connection_properties", &hash_connection_table),
    XDS_INSIDE("query_parameter", &hash_query_table),
    XDS_NOTE(
        "terminal",
        "of several policies the first that the request has is used, so all but the last must be terminal"));

static const struct xds_fields connect_table =
    XDS_EMPTY_TABLE(envoy__config__route__v3__route_action__upgrade_config__connect_config);
static const struct xds_fields upgrade_table = XDS_TABLE(envoy__config__route__v3__route_action__upgrade_config,
    XDS_NOTE("upgrade_type", "CONNECT with connect_config alone"), XDS_NOTE("enabled", "only true"),
    XDS_INSIDE("connect_config", &connect_table));

static const struct xds_fields duration_table = XDS_TABLE(envoy__config__route__v3__route_action__max_stream_duration,
    XDS_READ("max_stream_duration"),
    XDS_IGNORE("grpc_timeout_header_max", "a grpc-timeout shortens the time of the route, and never makes it longer"));

const struct xds_fields xds_read_route_action = XDS_TABLE(envoy__config__route__v3__route_action,
    XDS_READ("cluster"),
    XDS_INSIDE("weighted_clusters", &weighted_table),
    XDS_IGNORE("cluster_not_found_response_code", "a cluster that is not there is 503, which is Envoy's default"),
    XDS_INSIDE("metadata_match", &metadata_table),
    XDS_NOTE("prefix_rewrite", "what comes out is made canonical: no double slashes, no dot segments"),
    XDS_INSIDE("regex_rewrite", &xds_read_replacement), XDS_READ("host_rewrite_literal"), XDS_READ("auto_host_rewrite"),
    XDS_IGNORE("append_x_forwarded_host", "X-Forwarded-Host is sent as the settings of the gateway say"),
    XDS_NOTE("timeout", "15 s when it is not set"),
    XDS_NOTE("idle_timeout", "when it is not set, the stream_idle_timeout of the listener; off is a day, and a month for "
             "tunnels"),
    XDS_IGNORE("flush_timeout", "a client that takes nothing is cut by the gateway's write timeout"),
    XDS_IGNORE("early_data_policy", "no request is sent in early data"),
    XDS_INSIDE("retry_policy", &xds_read_retry),
    XDS_IGNORE("priority", "all requests have the same priority"),
    XDS_IGNORE("rate_limits", "a listener with a filter that it is for is refused"),
    XDS_IGNORE("include_vh_rate_limits", "a listener with a filter that it is for is refused"),
    XDS_IGNORE("cors", "a listener with a filter that it is for is refused"),
    XDS_INSIDE("hash_policy", &hash_table),
    XDS_IGNORE("max_grpc_timeout", "a grpc-timeout shortens the time of the route, and never makes it longer"),
    XDS_INSIDE("upgrade_configs", &upgrade_table),
    XDS_IGNORE("max_internal_redirects", "redirects of origins go to the client"),
    XDS_INSIDE("hedge_policy", &xds_read_hedge), XDS_INSIDE("max_stream_duration", &duration_table));

/* ---- clusters ---- */

static Headgate__WeightedCluster *add_cluster(struct making *m, const struct xds_at *at, const char *name,
                                              Headgate__Forward *forward) {
    Headgate__WeightedCluster *c = making_new(m, &headgate__weighted_cluster__descriptor);
    if (!c)
        return NULL;
    c->name = making_name(m, at, name);
    forward->clusters[forward->n_clusters++] = c;
    return c;
}

static void add_changes(struct making *m, const struct xds_at *at,
                        const Envoy__Config__Route__V3__WeightedCluster__ClusterWeight *from, Headgate__WeightedCluster *c) {
    const struct route_headers request = ROUTE_HEADERS(at, from, request), response = ROUTE_HEADERS(at, from, response);
    struct route_changes changes;
    if ((request.add_count || request.remove_count) && route_changes_begin(m, &changes)) {
        route_changes_add(m, &request, false, &changes);
        c->request_headers = changes.items;
        c->n_request_headers = changes.count;
    }
    if ((response.add_count || response.remove_count) && route_changes_begin(m, &changes)) {
        route_changes_add(m, &response, true, &changes);
        c->response_headers = changes.items;
        c->n_response_headers = changes.count;
    }
}

/* Values of the runtime take the place of weights; those that are beyond our bound become smaller together. */
static void take_values(struct making *m, const Envoy__Config__Route__V3__WeightedCluster *w, Headgate__Forward *forward) {
    uint64_t values[CLUSTERS_MAX], largest = 0;
    m->made->reads_runtime = true;
    for (size_t i = 0; i < w->n_clusters; i++) {
        char *key = arena_printf(&m->arena, "%s.%s", w->runtime_key_prefix, w->clusters[i]->name);
        if (!key) {
            making_out_of_memory(m);
            return;
        }
        values[i] = xds_runtime_integer(m->made->runtime, key, forward->clusters[i]->weight);
        largest = values[i] > largest ? values[i] : largest;
    }
    uint64_t divisor = largest / WEIGHT_MAX + (largest % WEIGHT_MAX != 0);
    for (size_t i = 0; largest > 0 && i < w->n_clusters; i++)
        forward->clusters[i]->weight = (uint32_t)(values[i] / divisor + (values[i] > 0 && values[i] < divisor));
}

static void weighted(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                     Headgate__Forward *forward) {
    const Envoy__Config__Route__V3__WeightedCluster *w = from->weighted_clusters;
    uint64_t sum = 0;
    at = XDS_AT(at, "weighted_clusters");
    if (w->n_clusters == 0 || w->n_clusters > CLUSTERS_MAX) {
        making_refuse(m, XDS_AT(at, "clusters"), ERROR_RANGE, "are %zu; 1 to %d are possible", w->n_clusters, CLUSTERS_MAX);
        return;
    }
    for (size_t i = 0; i < w->n_clusters; i++) {
        const struct xds_at *here = XDS_AT_ITEM(at, "clusters", i);
        Headgate__WeightedCluster *c = add_cluster(m, XDS_AT(here, "name"), w->clusters[i]->name, forward);
        if (!c)
            return;
        c->has_weight = true;
        c->weight = 0;
        value_uint32(m, XDS_AT(here, "weight"), w->clusters[i]->weight, 0, WEIGHT_MAX, &c->has_weight, &c->weight);
        part_subset(m, at->up, from->metadata_match, here, w->clusters[i]->metadata_match, c);
        add_changes(m, here, w->clusters[i], c);
        sum += c->weight;
    }
    if (sum == 0)
        making_refuse(m, XDS_AT(at, "clusters"), ERROR_RANGE, "have no weight: none would get a request");
    else if (w->runtime_key_prefix[0])
        take_values(m, w, forward);
}

/* What cannot be said here; passed over where somebody only asks which route is taken. */
static void unknown_cluster(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                            Headgate__Forward *forward) {
    if (from->cluster_specifier_case == 0)
        making_refuse(m, at, ERROR_MISSING, "needs one of cluster and weighted_clusters");
    Headgate__WeightedCluster *c = making_new(m, &headgate__weighted_cluster__descriptor);
    if (!c)
        return;
    c->name = (char *)"unknown";
    forward->clusters[forward->n_clusters++] = c;
}

static void clusters(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                     Headgate__Rule *rule) {
    Headgate__Forward *forward = making_new(m, &headgate__forward__descriptor);
    if (!forward || !(forward->clusters = making_array(m, CLUSTERS_MAX, sizeof *forward->clusters)))
        return;
    rule->action_case = HEADGATE__RULE__ACTION_FORWARD;
    rule->forward = forward;
    if (from->cluster_specifier_case == ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER) {
        Headgate__WeightedCluster *c = add_cluster(m, XDS_AT(at, "cluster"), from->cluster, forward);
        if (c)
            part_subset(m, at, from->metadata_match, at, NULL, c);
    } else if (from->cluster_specifier_case == ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS) {
        weighted(m, at, from, forward);
    } else {
        unknown_cluster(m, at, from, forward);
    }
}

/* ---- what the origin gets ---- */

/* A route that matches by a regular expression has no prefix: in Envoy all of the path counts as that. */
static void rewrite_prefix(struct making *m, const struct xds_at *at, const char *prefix, const Headgate__Rule *rule,
                           Headgate__Rewrite *rewrite) {
    const Headgate__PathMatch *path = rule->match ? rule->match->path : NULL;
    if (path && path->kind_case == HEADGATE__PATH_MATCH__KIND_REGEX) {
        rewrite->regex = (char *)"^.*$";
        rewrite->substitution = (char *)"/";
        value_text(m, at, prefix, &text_path, SUBSTITUTION_MAX, &rewrite->substitution);
        if (strchr(prefix, '\\'))
            making_unsupported(m, at, "no path has a backslash");
    } else if (path) {
        value_text(m, at, prefix, &text_path, SUBSTITUTION_MAX, &rewrite->prefix);
    } else {
        making_unsupported(m, at, "with an empty prefix there is nothing to replace");
    }
}

static void rewrite(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                    Headgate__Rule *rule) {
    Headgate__Rewrite *r = making_new(m, &headgate__rewrite__descriptor);
    if (!r)
        return;
    if (from->prefix_rewrite[0] && from->regex_rewrite)
        making_refuse(m, XDS_AT(at, "regex_rewrite"), ERROR_CONFLICT, "excludes prefix_rewrite");
    else if (from->prefix_rewrite[0])
        rewrite_prefix(m, XDS_AT(at, "prefix_rewrite"), from->prefix_rewrite, rule, r);
    if (from->regex_rewrite)
        route_replacement(m, XDS_AT(at, "regex_rewrite"), from->regex_rewrite, &r->regex, &r->substitution);
    if (from->host_rewrite_specifier_case ==
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL)
        value_text(m, XDS_AT(at, "host_rewrite_literal"), from->host_rewrite_literal, &text_host,
                   SUBSTITUTION_MAX, &r->host);
    if (from->host_rewrite_specifier_case ==
            ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_AUTO_HOST_REWRITE &&
        from->auto_host_rewrite->value)
        r->has_host_from_endpoint = r->host_from_endpoint = true;
    if (r->prefix || r->regex || r->host || r->host_from_endpoint)
        rule->rewrite = r;
}

void route_replacement(struct making *m, const struct xds_at *at,
                       const Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *from, char **ret_regex,
                       char **ret_substitution) {
    if (!from->pattern || !from->pattern->regex[0]) {
        making_refuse(m, XDS_AT(at, "pattern.regex"), ERROR_MISSING, "is missing");
        return;
    }
    value_text(m, XDS_AT(at, "pattern.regex"), from->pattern->regex, &text_regex, SUBSTITUTION_MAX, ret_regex);
    *ret_substitution = from->substitution;
    value_text(m, XDS_AT(at, "substitution"), from->substitution, &text_substitution, SUBSTITUTION_MAX, ret_substitution);
}

/* ---- time ---- */

/* 0 in Envoy is none: as long as is possible here. */
static uint64_t at_most(uint64_t time, uint64_t most) {
    return time == 0 || time > most ? most : time;
}

/* From the end of the request to that of the answer in Envoy; here from the beginning of the request. */
static void timeouts(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                     Headgate__Rule *rule) {
    const Envoy__Config__Route__V3__RouteAction__MaxStreamDuration *stream = from->max_stream_duration;
    Headgate__Timeouts *t = making_new(m, &headgate__timeouts__descriptor);
    uint64_t total = ROUTE_TIMEOUT_DEFAULT * XDS_SEC, idle = m->made->stream_idle, most = 0;
    protobuf_c_boolean ignored;
    if (!t)
        return;
    m->made->reads_stream_idle |= !from->idle_timeout;
    value_duration(m, XDS_AT(at, "timeout"), from->timeout, 0, XDS_DAY, &ignored, &total);
    value_duration(m, XDS_AT(at, "idle_timeout"), from->idle_timeout, 0, 30 * XDS_DAY, &ignored, &idle);
    value_duration(m, XDS_AT(at, "max_stream_duration.max_stream_duration"), stream ? stream->max_stream_duration : NULL, 0,
                   XDS_DAY, &ignored, &most);
    t->has_response = t->has_request = t->has_response_head = t->has_body = t->has_response_body = t->has_tunnel_idle = true;
    t->response = total;
    t->request = most;
    t->response_head = at_most(total, XDS_DAY);
    t->body = t->response_body = at_most(idle, XDS_DAY);
    t->tunnel_idle = at_most(idle, 30 * XDS_DAY);
    rule->timeouts = t;
}

/* ---- hashing ---- */

static bool is_last_or_terminal(const Envoy__Config__Route__V3__RouteAction *from, size_t i) {
    return i + 1 == from->n_hash_policy || from->hash_policy[i]->terminal;
}

static void hash_on(struct making *m, const struct xds_at *at,
                    const Envoy__Config__Route__V3__RouteAction__HashPolicy *from, Headgate__HashOn *to) {
    switch (from->policy_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_HEADER:
        to->kind_case = HEADGATE__HASH_ON__KIND_HEADER;
        to->header = (char *)"";
        value_text(m, XDS_AT(at, "header.header_name"), from->header->header_name, &text_field_name, 256, &to->header);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_COOKIE:
        to->kind_case = HEADGATE__HASH_ON__KIND_COOKIE;
        to->cookie = (char *)"";
        value_text(m, XDS_AT(at, "cookie.name"), from->cookie->name, &text_word, 256, &to->cookie);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_QUERY_PARAMETER:
        to->kind_case = HEADGATE__HASH_ON__KIND_QUERY;
        to->query = (char *)"";
        value_text(m, XDS_AT(at, "query_parameter.name"), from->query_parameter->name, &text_any, 256, &to->query);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_CONNECTION_PROPERTIES:
        to->kind_case = HEADGATE__HASH_ON__KIND_ADDRESS;
        to->address = true;
        if (!from->connection_properties->source_ip)
            making_unsupported(m, XDS_AT(at, "connection_properties"), "only source_ip is a property of connections");
        return;
    default:
        making_refuse(m, at, ERROR_MISSING,
                      "needs one of header, cookie, connection_properties and query_parameter");
        return;
    }
    if (!to->header[0]) /* all of these are texts in one place */
        making_refuse(m, at, ERROR_MISSING, "needs a name");
}

static void hashes(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                   Headgate__Rule *rule) {
    rule->hash = making_array(m, from->n_hash_policy, sizeof *rule->hash);
    if (from->n_hash_policy > HASHES_MAX)
        making_refuse(m, XDS_AT(at, "hash_policy"), ERROR_RANGE, "are %zu; %d are possible",
                      from->n_hash_policy, HASHES_MAX);
    for (size_t i = 0; rule->hash && i < from->n_hash_policy; i++) {
        const struct xds_at *here = XDS_AT_ITEM(at, "hash_policy", i);
        Headgate__HashOn *to = making_new(m, &headgate__hash_on__descriptor);
        if (!to)
            return;
        if (!is_last_or_terminal(from, i))
            making_unsupported(
                m, here,
                "several policies that are not terminal are one hash in Envoy; here the first that the "
                "request has is used");
        hash_on(m, here, from->hash_policy[i], to);
        rule->hash[rule->n_hash++] = to;
    }
}

/* ---- upgrades ---- */

static void upgrade(struct making *m, const struct xds_at *at,
                    const Envoy__Config__Route__V3__RouteAction__UpgradeConfig *from, Headgate__Rule *rule) {
    bool is_connect = strcasecmp(from->upgrade_type, "CONNECT") == 0;
    if (from->enabled && !from->enabled->value)
        making_unsupported(m, XDS_AT(at, "enabled"), "what may be upgraded to is said by what is enabled");
    else if (is_connect && !from->connect_config)
        making_unsupported(m, at, "CONNECT is not passed on as a request; with connect_config it becomes a tunnel");
    else if (is_connect)
        rule->has_connect = rule->connect = true;
    else if (from->upgrade_type[0])
        value_text(m, XDS_AT(at, "upgrade_type"), from->upgrade_type, &text_upgrade, 256,
                   &rule->upgrades[rule->n_upgrades++]);
    else
        making_refuse(m, XDS_AT(at, "upgrade_type"), ERROR_MISSING, "is empty");
}

static void upgrades(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                     Headgate__Rule *rule) {
    rule->upgrades = making_array(m, from->n_upgrade_configs, sizeof *rule->upgrades);
    if (from->n_upgrade_configs > UPGRADES_MAX)
        making_refuse(m, XDS_AT(at, "upgrade_configs"), ERROR_RANGE, "are %zu; %d are possible", from->n_upgrade_configs,
                      UPGRADES_MAX);
    for (size_t i = 0; rule->upgrades && i < from->n_upgrade_configs; i++)
        upgrade(m, XDS_AT_ITEM(at, "upgrade_configs", i), from->upgrade_configs[i], rule);
}

void route_forward(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                   const struct route_defaults *defaults, Headgate__Rule *rule) {
    at = XDS_AT(at, "route");
    clusters(m, at, from->route, rule);
    rewrite(m, at, from->route, rule);
    timeouts(m, at, from->route, rule);
    hashes(m, at, from->route, rule);
    upgrades(m, at, from->route, rule);
    route_retry(m, at, from->route, defaults, rule);
}
