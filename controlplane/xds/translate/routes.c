/* RouteConfiguration -> RouteTable. */
#include "controlplane/xds/translate/routes.h"

#include <stdlib.h>

#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/values.h"
#include "dataplane/routing/route.h"

enum { RULE_NAME_MAX = 128, DOMAIN_MAX = 262 };

/* ---- what is read ---- */

#define NO_FILTERS "a listener with a filter that it is for is refused"
#define NO_TRACES  "nothing is traced"
#define NO_BUFFERS "what is held of a request is bounded by the gateway's own limits"

static const struct xds_fields route_table = XDS_TABLE(envoy__config__route__v3__route,
    XDS_NOTE("name", "what cannot stand in a word becomes _"), XDS_INSIDE("match", &xds_read_route_match),
    XDS_INSIDE("route", &xds_read_route_action), XDS_INSIDE("redirect", &xds_read_redirect),
    XDS_INSIDE("direct_response", &xds_read_direct_response),
    XDS_IGNORE("metadata", "filters read it, and a listener with filters is refused"), XDS_IGNORE("decorator", NO_TRACES),
    XDS_IGNORE("typed_per_filter_config", NO_FILTERS),
    XDS_INSIDE("request_headers_to_add", &xds_read_changed_header), XDS_READ("request_headers_to_remove"),
    XDS_INSIDE_NOTE("response_headers_to_add", &xds_read_changed_header, "of a direct_response without commands"),
    XDS_READ("response_headers_to_remove"),
    XDS_IGNORE("tracing", NO_TRACES), XDS_IGNORE("per_request_buffer_limit_bytes", NO_BUFFERS),
    XDS_IGNORE("stat_prefix", "metrics are named by the rule"), XDS_IGNORE("request_body_buffer_limit", NO_BUFFERS));

const struct xds_fields xds_read_virtual_host = XDS_TABLE(envoy__config__route__v3__virtual_host,
    XDS_IGNORE("name", "a virtual host is known by its domains"),
    XDS_NOTE("domains", "names, also with a wildcard at one end, and ports"), XDS_INSIDE("routes", &route_table),
    XDS_NOTE("require_tls", "ALL"),
    XDS_IGNORE("virtual_clusters", "their only use is in metrics"), XDS_IGNORE("rate_limits", NO_FILTERS),
    XDS_IGNORE("cors", NO_FILTERS), XDS_IGNORE("typed_per_filter_config", NO_FILTERS),
    XDS_IGNORE("include_request_attempt_count", "origins are not told how often a request was tried"),
    XDS_IGNORE("include_attempt_count_in_response", "clients are not told how often a request was tried"),
    XDS_IGNORE("include_is_timeout_retry_header", "origins are not told why a request was tried again"),
    XDS_INSIDE("request_headers_to_add", &xds_read_changed_header), XDS_READ("request_headers_to_remove"),
    XDS_INSIDE("response_headers_to_add", &xds_read_changed_header), XDS_READ("response_headers_to_remove"),
    XDS_INSIDE("retry_policy", &xds_read_retry), XDS_INSIDE("hedge_policy", &xds_read_hedge),
    XDS_IGNORE("per_request_buffer_limit_bytes", NO_BUFFERS), XDS_IGNORE("request_body_buffer_limit", NO_BUFFERS),
    XDS_IGNORE("metadata", "filters read it, and a listener with filters is refused"));

static const struct xds_fields vhds_table =
    XDS_TABLE(envoy__config__route__v3__vhds, XDS_INSIDE("config_source", &xds_read_config_source));

const struct xds_fields xds_read_routes = XDS_TABLE(envoy__config__route__v3__route_configuration,
    XDS_READ("name"), XDS_INSIDE("virtual_hosts", &xds_read_virtual_host),
    XDS_INSIDE_NOTE("vhds", &vhds_table,
                    "over delta streams. All virtual hosts that the server has are asked for at once (`*`), none on "
                    "demand (the filter `OnDemand` is refused): a request for a host that did not come is answered 404 at "
                    "once, and not held while the server is asked. Those named `ROUTE/HOST` belong to the route "
                    "configuration `ROUTE`"),
    XDS_INSIDE("request_headers_to_add", &xds_read_changed_header), XDS_READ("request_headers_to_remove"),
    XDS_INSIDE("response_headers_to_add", &xds_read_changed_header), XDS_READ("response_headers_to_remove"),
    XDS_READ("most_specific_header_mutations_wins"),
    XDS_IGNORE("validate_clusters", "a cluster that is not there is 503"),
    XDS_IGNORE("max_direct_response_body_size_bytes", "a body may have 1 MiB"),
    XDS_READ("ignore_port_in_host_matching"), XDS_IGNORE("typed_per_filter_config", NO_FILTERS),
    XDS_IGNORE("metadata", "filters read it, and a listener with filters is refused"));

/* ---- rules ---- */

/* A word; what cannot stand in one becomes "_". NULL where there is no name. */
static char *rule_name(struct making *m, const char *name) {
    struct str text = str_of(name), ignored;
    if (text.n > RULE_NAME_MAX)
        text.n = RULE_NAME_MAX;
    char *word = text.n ? making_text(m, text) : NULL;
    for (size_t i = 0; word && i < text.n; i++)
        if (text_word.check(&m->arena, (struct str){word + i, 1}, &ignored))
            word[i] = '_';
    return word;
}

static bool has_some(const struct route_headers *h) {
    return h->add_count || h->remove_count;
}

/* Those of the route, its host and its table, as one list. */
static struct route_changes all_changes(struct making *m, const struct route_headers *own,
                                        const struct route_headers outer[2], bool is_own_last, bool is_response) {
    struct route_changes all = {0};
    if ((!has_some(own) && !has_some(&outer[0]) && !has_some(&outer[1])) || !route_changes_begin(m, &all))
        return all;
    if (!is_own_last)
        route_changes_add(m, own, is_response, &all);
    route_changes_add(m, &outer[0], is_response, &all);
    route_changes_add(m, &outer[1], is_response, &all);
    if (is_own_last)
        route_changes_add(m, own, is_response, &all);
    return all;
}

static void request_changes(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                            const struct route_defaults *defaults, Headgate__Rule *rule) {
    const struct route_headers own = ROUTE_HEADERS(at, from, request);
    struct route_changes all = all_changes(m, &own, defaults->request, defaults->is_route_last, false);
    rule->request_headers = all.items;
    rule->n_request_headers = all.count;
}

/* What a direct response adds stands in it, and comes first. */
static void response_changes(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                             const struct route_defaults *defaults, Headgate__Rule *rule) {
    bool is_direct = from->action_case == ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_DIRECT_RESPONSE;
    bool has_outer = has_some(&defaults->response[0]) || has_some(&defaults->response[1]);
    struct route_headers own = ROUTE_HEADERS(at, from, response);
    if (is_direct && own.add_count && has_outer && defaults->is_route_last)
        making_unsupported(m, XDS_AT(at, "response_headers_to_add"), "what a direct response adds comes first");
    if (is_direct)
        own.add_count = 0;
    struct route_changes all = all_changes(m, &own, defaults->response, defaults->is_route_last, true);
    rule->response_headers = all.items;
    rule->n_response_headers = all.count;
}

static void make_rule(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__Route *from,
                      const struct route_defaults *defaults, Headgate__Rule *rule) {
    rule->name = rule_name(m, from->name);
    if (from->match)
        route_match(m, XDS_AT(at, "match"), from->match, rule);
    else
        making_refuse(m, XDS_AT(at, "match"), ERROR_MISSING, "is missing");
    if (from->action_case == ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE)
        request_changes(m, at, from, defaults, rule);
    response_changes(m, at, from, defaults, rule);
    switch (from->action_case) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE: route_forward(m, at, from, defaults, rule); break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_REDIRECT: route_redirect(m, at, from, rule); break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_DIRECT_RESPONSE: route_respond(m, at, from, rule); break;
    default: making_refuse(m, at, ERROR_MISSING, "needs one of route, redirect and direct_response"); break;
    }
}

/* ---- virtual hosts ---- */

static Headgate__Rule *add_rule(struct making *m, Headgate__Host *host) {
    Headgate__Rule *rule = making_new(m, &headgate__rule__descriptor);
    if (rule)
        host->rules[host->n_rules++] = rule;
    return rule;
}

/* What is not found is 404, without a body. */
static void add_not_found(struct making *m, Headgate__Host *host) {
    Headgate__Rule *rule = add_rule(m, host);
    Headgate__Respond *respond = rule ? making_new(m, &headgate__respond__descriptor) : NULL;
    if (!respond)
        return;
    respond->has_status = true;
    respond->status = 404;
    rule->action_case = HEADGATE__RULE__ACTION_RESPOND;
    rule->respond = respond;
}

/* Before all routes: what came without TLS is sent to the same place with it. */
static void add_tls_redirect(struct making *m, Headgate__Host *host, bool is_for_external) {
    Headgate__Rule *rule = add_rule(m, host);
    Headgate__Redirect *redirect = rule ? making_new(m, &headgate__redirect__descriptor) : NULL;
    Headgate__Match *match = redirect ? making_new(m, &headgate__match__descriptor) : NULL;
    if (!match || !(match->headers = making_array(m, 2, sizeof *match->headers)))
        return;
    const struct { const char *name, *value; bool invert; } conditions[] = {
        {":scheme", "https", true}, {"x-envoy-internal", "true", true},
    };
    for (size_t i = 0; i < (is_for_external ? 2 : 1); i++) {
        Headgate__FieldMatch *f = making_new(m, &headgate__field_match__descriptor);
        if (!f)
            return;
        f->name = (char *)conditions[i].name;
        f->kind_case = HEADGATE__FIELD_MATCH__KIND_EXACT;
        f->exact = (char *)conditions[i].value;
        f->has_invert = f->invert = conditions[i].invert;
        match->headers[match->n_headers++] = f;
    }
    redirect->has_status = redirect->has_keep_port = redirect->keep_port = true;
    redirect->status = 301;
    redirect->scheme = (char *)"https";
    rule->match = match;
    rule->action_case = HEADGATE__RULE__ACTION_REDIRECT;
    rule->redirect = redirect;
}

static void require_tls(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__VirtualHost *from,
                        Headgate__Host *host) {
    bool is_for_external =
        from->require_tls == ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__EXTERNAL_ONLY;
    if (from->require_tls == ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__NONE)
        return;
    if (is_for_external)
        making_unsupported(m, XDS_AT(at, "require_tls"), "nobody is internal here; ALL is for everybody");
    add_tls_redirect(m, host, is_for_external);
}

static void domains(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__VirtualHost *from,
                    Headgate__Host *host) {
    host->domains = making_array(m, from->n_domains, sizeof *host->domains);
    if (from->n_domains == 0 || from->n_domains > ROUTES_MAX)
        making_refuse(m, XDS_AT(at, "domains"), ERROR_RANGE, "are %zu; 1 to %d are possible", from->n_domains, ROUTES_MAX);
    for (size_t i = 0; host->domains && i < from->n_domains; i++) {
        host->domains[i] = (char *)"";
        if (!from->domains[i][0])
            making_refuse(m, XDS_AT_ITEM(at, "domains", i), ERROR_MISSING, "is empty");
        value_text(m, XDS_AT_ITEM(at, "domains", i), from->domains[i], &text_domain, DOMAIN_MAX, &host->domains[i]);
    }
    host->n_domains = host->domains ? from->n_domains : 0;
}

/* The changes of heads of the host and of the table, which is NULL where it is not known. */
static void set_outer(const struct xds_at *at, const Envoy__Config__Route__V3__VirtualHost *from,
                      const struct xds_at *table_at, const Envoy__Config__Route__V3__RouteConfiguration *table,
                      struct route_defaults *to) {
    static const struct route_headers none;
    const struct route_headers host[] = {ROUTE_HEADERS(at, from, request), ROUTE_HEADERS(at, from, response)};
    struct route_headers outer[] = {none, none};
    if (table) {
        outer[0] = (struct route_headers)ROUTE_HEADERS(table_at, table, request);
        outer[1] = (struct route_headers)ROUTE_HEADERS(table_at, table, response);
    }
    to->is_route_last = table && table->most_specific_header_mutations_wins;
    to->request[to->is_route_last] = host[0];
    to->request[!to->is_route_last] = outer[0];
    to->response[to->is_route_last] = host[1];
    to->response[!to->is_route_last] = outer[1];
}

static Headgate__Host *make_host(struct making *m, const struct xds_at *at,
                                 const Envoy__Config__Route__V3__VirtualHost *from, const struct xds_at *table_at,
                                 const Envoy__Config__Route__V3__RouteConfiguration *table) {
    struct route_defaults defaults = {
        .retry = from->retry_policy, .retry_at = XDS_AT(at, "retry_policy"),
        .hedge = from->hedge_policy, .hedge_at = XDS_AT(at, "hedge_policy"),
    };
    set_outer(at, from, table_at, table, &defaults);
    Headgate__Host *host = making_new(m, &headgate__host__descriptor);
    if (!host || !(host->rules = making_array(m, from->n_routes + 2, sizeof *host->rules)))
        return NULL;
    if (from->n_routes >= ROUTES_MAX)
        making_refuse(m, XDS_AT(at, "routes"), ERROR_RANGE, "are %zu; fewer than %d are possible",
                      from->n_routes, ROUTES_MAX);
    domains(m, at, from, host);
    require_tls(m, at, from, host);
    for (size_t i = 0; i < from->n_routes; i++) {
        Headgate__Rule *rule = add_rule(m, host);
        if (!rule)
            return NULL;
        make_rule(m, XDS_AT_ITEM(at, "routes", i), from->routes[i], &defaults, rule);
    }
    if (host->n_rules == 0)
        add_not_found(m, host);
    return host;
}

/* A table that knows no host answers 404, too. */
static void add_nobody(struct making *m, Headgate__RouteTable *table) {
    Headgate__Host *host = making_new(m, &headgate__host__descriptor);
    if (!host || !(host->rules = making_array(m, 1, sizeof *host->rules)) ||
        !(host->domains = making_array(m, 1, sizeof *host->domains)))
        return;
    host->domains[host->n_domains++] = (char *)"*";
    add_not_found(m, host);
    table->hosts[table->n_hosts++] = host;
}

/* ---- what only the whole table shows: domains that stand twice, paths that never match, expressions that are none ---- */

/* Behind `word` in the path, the number up to "]"; false: it does not stand there. */
static bool take_index(const char **path, const char *word, size_t *ret) {
    size_t n = strlen(word);
    if (!*path || strncmp(*path, word, n) != 0)
        return false;
    char *end;
    *ret = strtoul(*path + n, &end, 10);
    *path = *end ? end + 1 : end;
    return true;
}

/* "hosts[1].rules[3].match.path.exact" as the place in the server's message: virtual_hosts[1].routes[3]. */
static void refuse_built(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteConfiguration *from,
                         const struct error *e) {
    size_t host = 0, rule = 0, added = 0;
    const char *path = e->path, *expected = e->expected ? e->expected : "", *between = e->expected ? "; expected " : "";
    bool has_host = take_index(&path, "hosts[", &host) && host < from->n_virtual_hosts;
    bool has_rule = has_host && take_index(&path, ".rules[", &rule);
    const struct xds_at *in_host = XDS_AT_ITEM(at, "virtual_hosts", host);
    if (has_host)
        added = from->virtual_hosts[host]->require_tls != 0;
    if (has_rule && rule >= added)
        making_refuse(m, XDS_AT_ITEM(in_host, "routes", rule - added), e->code, "%s%s%s", e->message, between, expected);
    else
        making_refuse(m, has_host ? in_host : at, e->code, "%s%s%s", e->message, between, expected);
}

static void check_table(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteConfiguration *from,
                        const Headgate__RouteTable *table, const char *name) {
    struct error_list errors = {0};
    struct route_table *built = route_table_build(table, name, NULL, &errors);
    for (size_t i = 0; i < errors.count; i++)
        refuse_built(m, at, from, &errors.items[i]);
    if (!built && errors.count == 0)
        making_out_of_memory(m);
    route_table_free(built);
    error_list_finish(&errors);
}

/* The places of a table with this host alone. */
static void check_host(struct making *m, const Envoy__Config__Route__V3__VirtualHost *from,
                       const Headgate__RouteTable *table) {
    Envoy__Config__Route__V3__RouteConfiguration whole = ENVOY__CONFIG__ROUTE__V3__ROUTE_CONFIGURATION__INIT;
    Envoy__Config__Route__V3__VirtualHost *hosts[] = {(Envoy__Config__Route__V3__VirtualHost *)(uintptr_t)from};
    whole.virtual_hosts = hosts;
    whole.n_virtual_hosts = 1;
    check_table(m, NULL, &whole, table, from->name);
}

/* ---- virtual hosts that come by themselves ---- */

static void wait_for_hosts(struct making *m, const struct xds_at *at,
                           const Envoy__Config__Route__V3__RouteConfiguration *from) {
    if (!from->vhds)
        return;
    if (at) {
        making_unsupported(m, XDS_AT(at, "vhds"), "routes that stand in a listener have all their virtual hosts");
        return;
    }
    if (from->n_request_headers_to_add || from->n_request_headers_to_remove || from->n_response_headers_to_add ||
        from->n_response_headers_to_remove || from->most_specific_header_mutations_wins)
        making_unsupported(m, XDS_AT(at, "vhds"), "virtual hosts that come by themselves have their own changes of heads");
    part_config_source(m, XDS_AT(at, "vhds.config_source"), from->vhds->config_source);
    making_need(m, XDS_TYPE_HOSTS, "*");
    m->made->is_hollow = from->n_virtual_hosts == 0;
}

int xds_translate_virtual_host(const Envoy__Config__Route__V3__VirtualHost *from, struct xds_made *ret,
                               struct error_list *errors) {
    struct making m;
    if (making_begin(&m, &xds_read_virtual_host, &from->base, "virtual-host", from->name, ret, errors) == 0) {
        Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
        Headgate__Host *host = make_host(&m, NULL, from, NULL, NULL);
        table.has_match_port = table.match_port = true;
        table.hosts = &host;
        table.n_hosts = 1;
        if (host && m.faults == 0)
            check_host(&m, from, &table);
    }
    return making_end(&m);
}

/* ---- all of it ---- */

void routes_make(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteConfiguration *from,
                 const char *name) {
    Headgate__RouteTable *table = making_new(m, &headgate__route_table__descriptor);
    if (!table || !(table->hosts = making_array(m, from->n_virtual_hosts + 1, sizeof *table->hosts)))
        return;
    if (from->n_virtual_hosts > ROUTES_MAX) {
        making_refuse(m, XDS_AT(at, "virtual_hosts"), ERROR_RANGE, "are %zu; %d are possible",
                      from->n_virtual_hosts, ROUTES_MAX);
        return;
    }
    wait_for_hosts(m, at, from);
    table->has_match_port = table->match_port = !from->ignore_port_in_host_matching;
    for (size_t i = 0; i < from->n_virtual_hosts; i++) {
        const struct xds_at *here = XDS_AT_ITEM(at, "virtual_hosts", i);
        Headgate__Host *host = make_host(m, here, from->virtual_hosts[i], at, from);
        if (!host)
            return;
        table->hosts[table->n_hosts++] = host;
    }
    if (table->n_hosts == 0)
        add_nobody(m, table);
    if (m->faults == 0)
        check_table(m, at, from, table, name);
    making_emit(m, HEADGATE__KIND__KIND_ROUTE_TABLE, name, &table->base);
}

int routes_translate_leniently(const Envoy__Config__Route__V3__RouteConfiguration *from, const char *name,
                               struct xds_made *ret, struct error_list *errors) {
    struct making m;
    if (making_begin_leniently(&m, &xds_read_routes, &from->base, "routes", name, ret, errors) == 0)
        routes_make(&m, NULL, from, name);
    return making_end(&m);
}

int xds_translate_route_configuration(const Envoy__Config__Route__V3__RouteConfiguration *from, struct xds_made *ret,
                                      struct error_list *errors) {
    struct making m;
    if (making_begin(&m, &xds_read_routes, &from->base, "routes", from->name, ret, errors) == 0) {
        const char *name = making_name(&m, XDS_AT(NULL, "name"), from->name);
        if (name)
            routes_make(&m, NULL, from, name);
    }
    return making_end(&m);
}
