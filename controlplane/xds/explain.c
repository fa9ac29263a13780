#include "controlplane/xds/explain.h"

#include <stdio.h>
#include <strings.h>

#include "controlplane/admin/explain.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/translate/routes.h"

#define TABLE_NAME "xds"

/* What is answered; texts are empty where there is nothing to say. Named as Envoy's router check tool names them. */
struct answer {
    struct str cluster, virtual_host, virtual_cluster, path_rewrite, host_rewrite, path_redirect, route;
    unsigned   code_redirect, status;       /* 0: none; `status` of a direct response */
};

struct asking {
    const Envoy__Config__Route__V3__RouteConfiguration *routes;
    const struct xds_explain_options                   *options;
    struct explained                                   *x;
    struct arena                                       *arena;
    struct error_list                                  *errors;
};

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "out of memory");
    return -1;
}

/* ---- which of the server's ---- */

static const Envoy__Config__Route__V3__VirtualHost *host_of(const struct asking *a) {
    bool is_there = a->x->path_error == PATH_OK && a->x->route.has_host && a->x->route.host < a->routes->n_virtual_hosts;
    return is_there ? a->routes->virtual_hosts[a->x->route.host] : NULL;
}

/* NULL: none, or the redirect of require_tls, which stands before all. */
static const Envoy__Config__Route__V3__Route *route_of(const struct asking *a) {
    const Envoy__Config__Route__V3__VirtualHost *host = host_of(a);
    if (!host || !a->x->route.match.route || a->x->route.rule_count == 0)
        return NULL;
    size_t added = host->require_tls != 0, rule = a->x->route.rules[a->x->route.rule_count - 1].rule;
    return rule >= added && rule - added < host->n_routes ? host->routes[rule - added] : NULL;
}

static struct route_request request_of(const struct explained *x) {
    return (struct route_request){.host = x->host, .authority = x->authority, .scheme = x->scheme, .path = x->canonical,
                                  .query = x->query, .method = x->method, .fields = &x->fields, .random = x->random};
}

/* ---- clusters ---- */

static struct str header_of(const struct explained *x, const char *name) {
    if (strcmp(name, ":authority") == 0 || strcasecmp(name, "host") == 0)
        return x->authority;
    for (uint32_t i = 0; i < x->fields.count; i++)
        if (str_eq_nocase(field_name(&x->fields.v[i]), str_of(name)))
            return field_value(&x->fields.v[i]);
    return STR("");
}

/* By the weights that were made of them, in which values of the runtime are. */
static struct str weighted(const struct asking *a, const Envoy__Config__Route__V3__WeightedCluster *w) {
    const Headgate__Forward *forward = a->x->route.match.route->rule->forward;
    uint64_t sum = 0, upto = 0;
    for (size_t i = 0; i < forward->n_clusters; i++)
        sum += forward->clusters[i]->weight;
    uint64_t drawn = sum && a->options->has_random ? a->options->random % sum : 0;
    for (size_t i = 0; i < forward->n_clusters && i < w->n_clusters; i++) {
        upto += forward->clusters[i]->weight;
        if (drawn < upto)
            return str_of(w->clusters[i]->name);
    }
    return STR("");
}

static struct str cluster_of(const struct asking *a, const Envoy__Config__Route__V3__RouteAction *action) {
    switch (action->cluster_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER: return str_of(action->cluster);
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER_HEADER:
        return header_of(a->x, action->cluster_header);
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
        return weighted(a, action->weighted_clusters);
    default: return STR("");
    }
}

/* ---- virtual clusters: rules of a table of their own ---- */

static Headgate__Rule *cluster_rule(struct making *m, const Envoy__Config__Route__V3__VirtualCluster *from) {
    Headgate__Rule *rule = making_new(m, &headgate__rule__descriptor);
    Headgate__Match *match = making_new(m, &headgate__match__descriptor);
    Headgate__Respond *respond = making_new(m, &headgate__respond__descriptor);
    if (!rule || !match || !respond || !(match->headers = making_array(m, 2 * from->n_headers + 1, sizeof *match->headers)))
        return NULL;
    route_headers(m, NULL, from->headers, from->n_headers, match);
    rule->match = match;
    rule->action_case = HEADGATE__RULE__ACTION_RESPOND;
    rule->respond = respond;
    return rule;
}

static Headgate__RouteTable *cluster_table(struct making *m, const Envoy__Config__Route__V3__VirtualHost *from) {
    Headgate__RouteTable *table = making_new(m, &headgate__route_table__descriptor);
    Headgate__Host *host = making_new(m, &headgate__host__descriptor);
    if (!table || !host || !(table->hosts = making_array(m, 1, sizeof *table->hosts)) ||
        !(host->domains = making_array(m, 1, sizeof *host->domains)) ||
        !(host->rules = making_array(m, from->n_virtual_clusters, sizeof *host->rules)))
        return NULL;
    table->hosts[table->n_hosts++] = host;
    host->domains[host->n_domains++] = (char *)"*";
    for (size_t i = 0; i < from->n_virtual_clusters; i++)
        if (!(host->rules[host->n_rules++] = cluster_rule(m, from->virtual_clusters[i])))
            return NULL;
    return table;
}

/* Of which virtual cluster the request is; "other" when the host has some, but none for it. */
static int virtual_cluster_of(const struct asking *a, const Envoy__Config__Route__V3__VirtualHost *host, struct str *ret) {
    struct making m = {.errors = a->errors, .resource = "virtual_clusters"};
    struct route_explanation explanation = {0};
    const struct route_request request = request_of(a->x);
    if (host->n_virtual_clusters == 0)
        return 0;
    arena_init(&m.arena, NULL, 0, 0);
    Headgate__RouteTable *table = cluster_table(&m, host);
    struct route_table *built = m.faults || !table ? NULL : route_table_build(table, "virtual-clusters", NULL, a->errors);
    int status = built ? route_table_explain(built, &request, a->x->scratch, a->arena, &explanation) : -1;
    *ret = STR("other");
    if (status == 0 && explanation.match.route)
        *ret = str_of(host->virtual_clusters[explanation.rules[explanation.rule_count - 1].rule]->name);
    route_table_free(built);
    arena_finish(&m.arena);
    return status < 0 && error_list_is_empty(a->errors) ? out_of_memory(a->errors) : status;
}

/* ---- the answer ---- */

/* Where the request would lead that is answered here without being sent elsewhere: to itself. */
static struct str own_url(const struct asking *a) {
    const struct explained *x = a->x;
    char *text = arena_printf(a->arena, "%.*s://%.*s%.*s%s%.*s", STR_FMT(x->scheme), STR_FMT(x->authority),
                              STR_FMT(x->canonical), x->has_query ? "?" : "", STR_FMT(x->query));
    return str_of(text);
}

static int answer_forward(const struct asking *a, struct answer *ret) {
    const Envoy__Config__Route__V3__VirtualHost *host = host_of(a);
    const Envoy__Config__Route__V3__Route *route = route_of(a);
    if (!host || !route || route->action_case != ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE)
        return 0;
    ret->cluster = cluster_of(a, route->route);
    ret->virtual_host = str_of(host->name);
    ret->path_rewrite = a->x->target;
    ret->host_rewrite = a->x->origin_host;
    return virtual_cluster_of(a, host, &ret->virtual_cluster);
}

static int find_answer(const struct asking *a, struct answer *ret) {
    const struct route *route = a->x->path_error == PATH_OK ? a->x->route.match.route : NULL;
    const Envoy__Config__Route__V3__Route *theirs = route_of(a);
    *ret = (struct answer){0};
    if (!route)
        return 0;
    ret->route = str_of(theirs ? theirs->name : "");
    switch (route->action) {
    case ROUTE_FORWARD: return answer_forward(a, ret);
    case ROUTE_REDIRECT:
        ret->path_redirect = a->x->location;
        ret->code_redirect = route->rule->redirect->status;
        return 0;
    case ROUTE_RESPOND:
        if (!theirs)
            return 0; /* a host without routes: not found */
        ret->path_redirect = own_url(a);
        ret->status = ret->code_redirect = route->rule->respond->status;
        return ret->path_redirect.p ? 0 : -1;
    }
    return 0;
}

/* ---- printing ---- */

static void add_problems(const struct error_list *problems, struct strbuf *out) {
    strbuf_puts(out, "\"not_supported\":[");
    for (size_t i = 0; i < problems->count; i++) {
        struct strbuf text = {0};
        error_format(&problems->items[i], &text);
        strbuf_puts(out, i ? "," : "");
        strbuf_add_json(out, strbuf_str(&text));
        strbuf_finish(&text);
    }
    strbuf_puts(out, "]");
}

static void add_member(struct strbuf *out, bool *has_some, struct str name, struct str value) {
    strbuf_puts(out, *has_some ? "," : "");
    strbuf_add_json(out, name);
    strbuf_puts(out, ":");
    strbuf_add_json(out, value);
    *has_some = true;
}

/* What the origin gets, but for what the gateway adds by itself. */
static void add_request_headers(const struct asking *a, struct strbuf *out) {
    bool has_some = false;
    strbuf_puts(out, ",\"request_headers\":{");
    add_member(out, &has_some, STR(":method"), a->x->method);
    add_member(out, &has_some, STR(":path"), a->x->target);
    add_member(out, &has_some, STR(":authority"), a->x->origin_host);
    for (uint32_t i = 0; i < a->x->sees.count; i++)
        add_member(out, &has_some, field_name(&a->x->sees.v[i]), field_value(&a->x->sees.v[i]));
    strbuf_puts(out, "}");
}

/* Those of an answer that a route has. */
static void add_response_headers(const Headgate__Respond *respond, struct strbuf *out) {
    char length[24];
    bool has_some = false;
    strbuf_puts(out, ",\"response_headers\":{");
    if (respond->body.len) {
        snprintf(length, sizeof length, "%zu", respond->body.len);
        add_member(out, &has_some, STR("content-type"), str_of(respond->content_type));
        add_member(out, &has_some, STR("content-length"), str_of(length));
    }
    for (size_t i = 0; i < respond->n_headers; i++)
        add_member(out, &has_some, str_of(respond->headers[i]->name), str_of(respond->headers[i]->value));
    strbuf_puts(out, "}");
}

static void add_headers(const struct asking *a, struct strbuf *out) {
    const struct route *route = a->x->path_error == PATH_OK ? a->x->route.match.route : NULL;
    if (route && route->action == ROUTE_FORWARD)
        add_request_headers(a, out);
    else if (route && route->action == ROUTE_RESPOND)
        add_response_headers(route->rule->respond, out);
}

static void print_json(const struct asking *a, const struct answer *answer, const struct error_list *problems,
                       struct strbuf *out) {
    const struct { const char *key; struct str value; } texts[] = {
        {"cluster_name", answer->cluster}, {"virtual_host_name", answer->virtual_host},
        {"virtual_cluster_name", answer->virtual_cluster}, {"path_rewrite", answer->path_rewrite},
        {"host_rewrite", answer->host_rewrite}, {"path_redirect", answer->path_redirect}, {"route_name", answer->route},
    };
    strbuf_puts(out, "{");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        strbuf_printf(out, "\"%s\":", texts[i].key);
        strbuf_add_json(out, texts[i].value.p ? texts[i].value : STR(""));
        strbuf_puts(out, ",");
    }
    if (answer->code_redirect)
        strbuf_printf(out, "\"code_redirect\":%u,", answer->code_redirect);
    add_problems(problems, out);
    add_headers(a, out);
    strbuf_puts(out, ",\"explanation\":");
}

static void print_line(struct strbuf *out, const char *what, struct str value) {
    if (value.n)
        strbuf_printf(out, "%-12s %.*s\n", what, STR_FMT(value));
}

static void print_text(const struct answer *answer, const struct error_list *problems, struct strbuf *out) {
    print_line(out, "virtual host", answer->virtual_host);
    print_line(out, "cluster", answer->cluster);
    print_line(out, "counted as", answer->virtual_cluster);
    if (problems->count)
        strbuf_puts(out, "a gateway refuses these routes from a server:\n");
    for (size_t i = 0; i < problems->count; i++) {
        strbuf_puts(out, "  ");
        error_format(&problems->items[i], out);
        strbuf_putc(out, '\n');
    }
}

static void print(const struct asking *a, const struct answer *answer, const struct error_list *problems,
                  struct strbuf *out) {
    if (a->options->is_json) {
        print_json(a, answer, problems, out);
        explained_print_json(a->x, out);
        while (out->n && out->p[out->n - 1] == '\n')
            out->n--;
        strbuf_puts(out, "}\n");
    } else {
        explained_print(a->x, out);
        print_text(answer, problems, out);
    }
}

/* ---- all of it ---- */

static uint32_t number_of(const struct xds_explain_options *options) {
    return options->has_random ? options->random : UINT32_MAX; /* the last that a share would take */
}

static int explain_made(struct asking *a, const struct xds_made *made, const Headgate__ExplainRequest *request,
                        const struct error_list *problems, struct strbuf *out) {
    struct explained x;
    struct answer answer;
    a->x = &x;
    int status = explain_by_table(&made->set, TABLE_NAME, number_of(a->options), request, a->arena, &x, a->errors);
    if (status == 0)
        status = find_answer(a, &answer);
    if (status == 0)
        print(a, &answer, problems, out);
    else if (error_list_is_empty(a->errors))
        out_of_memory(a->errors);
    explained_finish(&x);
    a->x = NULL;
    return status;
}

static void move_errors(struct error_list *from, struct error_list *to) {
    for (size_t i = 0; i < from->count; i++) {
        const struct error *e = &from->items[i];
        error_set_resource(to, error_addf(to, e->code, "%s", e->message), e->resource, e->path);
    }
}

int xds_explain(const char *file, struct str text, const Headgate__ExplainRequest *request,
                const struct xds_explain_options *options, struct strbuf *out, struct error_list *errors) {
    struct arena arena;
    struct xds_made made = {.runtime = options->runtime, .metadata = options->metadata};
    struct error_list problems = {0};
    int status = -1;
    arena_init(&arena, NULL, 0, 0);
    ProtobufCMessage *m =
        xds_json_parse(&envoy__config__route__v3__route_configuration__descriptor, file, text, &arena, errors);
    struct asking asking = {(const Envoy__Config__Route__V3__RouteConfiguration *)m, options, NULL, &arena, errors};
    if (m && routes_translate_leniently(asking.routes, TABLE_NAME, &made, &problems) == 0)
        status = explain_made(&asking, &made, request, &problems, out);
    else
        move_errors(&problems, errors);
    xds_made_finish(&made);
    error_list_finish(&problems);
    arena_finish(&arena);
    return status;
}
