#include "controlplane/admin/explain.h"

#include "controlplane/admin/internal.h"
#include "controlplane/discovery/endpoints.h"
#include "dataplane/routing/authority.h"
#include "dataplane/routing/scopes.h"

/* ---- the URL ---- */

static bool take_scheme(struct explained *x, struct str *rest) {
    static const struct {
        struct str prefix, scheme;
        uint16_t port;
    } schemes[] = {{{"http://", 7}, {"http", 4}, 80}, {{"https://", 8}, {"https", 5}, 443}};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (rest->n < schemes[i].prefix.n ||
            !str_eq_nocase((struct str){rest->p, schemes[i].prefix.n}, schemes[i].prefix))
            continue;
        x->scheme = schemes[i].scheme;
        x->port = schemes[i].port;
        *rest = (struct str){rest->p + schemes[i].prefix.n, rest->n - schemes[i].prefix.n};
        return true;
    }
    return false;
}

static int take_authority(struct explained *x, struct str text, struct arena *arena,
                          struct error_list *errors) {
    struct str copy = arena_str(arena, text);
    uint16_t port = 0;
    if (!copy.p || authority_parse((char *)copy.p, copy.n, &x->host, &port) < 0) {
        error_addf(errors, ERROR_SYNTAX, "\"%.*s\" is not a host, or a host and a port", STR_FMT(text));
        return -1;
    }
    x->authority = copy;
    x->port = port ? port : x->port;
    return 0;
}

/* "http://host:port/path?query" */
static int parse_url(const char *url, struct arena *arena, struct explained *x, struct error_list *errors) {
    struct str rest = str_of(url ? url : "");
    if (!take_scheme(x, &rest)) {
        struct error *e = error_addf(errors, ERROR_SYNTAX, "\"%s\" is not a URL", url ? url : "");
        error_set_expected(errors, e, "http://HOST[:PORT]/PATH[?QUERY]", NULL);
        return -1;
    }
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    const char *mark = rest.n ? memchr(rest.p, '?', rest.n) : NULL;
    const char *end = slash && (!mark || slash < mark) ? slash : mark ? mark : rest.p + rest.n;
    struct str authority = {rest.p, (size_t)(end - rest.p)}, target = {end, rest.n - authority.n};
    const char *fragment = target.n ? memchr(target.p, '#', target.n) : NULL;
    if (fragment)
        target.n = (size_t)(fragment - target.p);
    x->path = str_cut(&target, '?');
    x->has_query = target.p != NULL;
    x->query = target;
    if (x->path.n == 0)
        x->path = STR("/");
    return take_authority(x, authority, arena, errors);
}

/* ---- what is asked ---- */

static char *lower_copy(struct arena *arena, struct str s) {
    struct str copy = arena_str(arena, s);
    for (size_t i = 0; copy.p && i < copy.n; i++)
        if (copy.p[i] >= 'A' && copy.p[i] <= 'Z')
            ((char *)copy.p)[i] |= 0x20;
    return (char *)copy.p;
}

static int add_field(struct fields *fields, struct arena *arena, const Headgate__HeaderField *from,
                     struct error_list *errors) {
    struct str name = str_of(from->name ? from->name : ""), value = str_of(from->value ? from->value : "");
    char *lower = lower_copy(arena, name);
    struct str lower_name = {lower, name.n};
    value = str_trim(value);
    if (!lower || !field_name_is_valid(lower_name) || !field_value_is_valid(value)) {
        error_addf(errors, ERROR_SYNTAX, "\"%.*s: %.*s\" is not a header field", STR_FMT(name),
                   STR_FMT(value));
        return -1;
    }
    fields->v[fields->count++] = (struct field){.name = lower,
                                                .value = value.p,
                                                .value_len = (uint32_t)value.n,
                                                .name_len = (uint16_t)name.n,
                                                .id = FIELD_OTHER};
    return 0;
}

static int take_fields(const Headgate__ExplainRequest *m, struct arena *arena, struct explained *x,
                       struct error_list *errors) {
    struct fields *fields = &x->fields;
    fields->v = arena_calloc(arena, m->n_headers + 1, sizeof *fields->v);
    fields->capacity = (uint32_t)m->n_headers + 1;
    for (size_t i = 0; i < m->n_headers; i++) {
        if (!fields->v || add_field(fields, arena, m->headers[i], errors) < 0)
            return -1;
        /* A Host field stands for the host, as it would on the wire; the port stays that of the URL. */
        struct field *f = &fields->v[fields->count - 1];
        uint16_t port = x->port;
        if (field_is(f, STR("host")) && take_authority(x, field_value(f), arena, errors) < 0)
            return -1;
        x->port = port;
    }
    return 0;
}

/* ---- listener and table ---- */

static bool listens_on(const Headgate__Listener *l, uint16_t port) {
    struct address address;
    for (size_t i = 0; i < l->n_addresses; i++)
        if (address_parse(str_of(l->addresses[i]), &address) == 0 && address_port(&address) == port)
            return true;
    return false;
}

static Headgate__Listener *decode_listener(const struct config_resource *r) {
    return headgate__listener__unpack(NULL, r->size, r->bytes);
}

/* What is said of the key: "a, b". */
static const char *key_text(const struct scope_table *table, const struct route_request *request, struct arena *arena) {
    struct str key[SCOPE_KEY_PARTS_MAX];
    struct strbuf text = {0};
    size_t count;
    if (!scope_table_key(table, request, key, &count))
        return "the request has no key";
    strbuf_puts(&text, "the key is ");
    for (size_t i = 0; i < count; i++) {
        strbuf_puts(&text, i ? ", " : "");
        strbuf_add_json(&text, key[i]);
    }
    const char *copy = text.failed ? NULL : arena_strdup(arena, text.p);
    strbuf_finish(&text);
    return copy ? copy : "no memory for the key";
}

static void choose_scope(struct explained *x, struct arena *arena, const Headgate__ScopedRoutes *scopes) {
    const struct route_request request = {.authority = x->authority, .fields = &x->fields};
    struct error_list errors = {0};
    struct scope_table *table = scope_table_build(scopes, x->listener, arena, &errors);
    int32_t scope = table ? scope_table_find(table, &request) : SCOPE_NONE;
    x->scope = table ? key_text(table, &request, arena) : "its scopes cannot be read";
    x->route_table = scope == SCOPE_NONE ? NULL : arena_strdup(arena, scopes->scopes[scope]->route_table);
    error_list_finish(&errors);
}

static bool serves_requests(const Headgate__Listener *l) {
    return l->route_table || l->scoped_routes;
}

static void use_listener(struct explained *x, struct arena *arena, const struct config_resource *r,
                         const Headgate__Listener *l) {
    x->listener = r->name;
    x->is_tcp = l->tcp != NULL;
    x->is_quic = !l->tcp && !serves_requests(l);
    x->route_table = arena_strdup(arena, l->route_table ? l->route_table : "");
    if (l->scoped_routes)
        choose_scope(x, arena, l->scoped_routes);
}

/* Takes it if it is wanted: that of the port, or whatever serves requests. Counts those that do. */
static void look_at_listener(struct explained *x, struct arena *arena, const struct config_resource *r, bool by_port,
                             size_t *count) {
    Headgate__Listener *l = r->kind == HEADGATE__KIND__KIND_LISTENER ? decode_listener(r) : NULL;
    if (!l)
        return;
    if (!x->listener && (by_port ? listens_on(l, x->port) : serves_requests(l)))
        use_listener(x, arena, r, l);
    *count += serves_requests(l);
    headgate__listener__free_unpacked(l, NULL);
}

/* The listener of the port; or the only one that serves requests. */
static int choose_listener(const struct config_resources *set, struct arena *arena, struct explained *x,
                           struct error_list *errors) {
    size_t count = 0, again = 0;
    for (size_t i = 0; i < set->count; i++)
        look_at_listener(x, arena, &set->items[i], true, &count);
    if (!x->listener && count == 1) {
        x->listener_note = arena_printf(arena, "it does not listen on port %u, but there is no other", x->port);
        for (size_t i = 0; i < set->count; i++)
            look_at_listener(x, arena, &set->items[i], false, &again);
    }
    if (x->listener)
        return 0;
    error_addf(errors, ERROR_REFERENCE, "no listener has port %u", x->port);
    return -1;
}

static ProtobufCMessage *decode(const struct config_resources *set, Headgate__Kind kind, const char *name) {
    const struct config_resource *r = config_resources_find(set, kind, str_of(name));
    return r ? protobuf_c_message_unpack(kind_descriptor(kind), NULL, r->size, r->bytes) : NULL;
}

static int compile_table(const struct config_resources *set, struct explained *x, struct error_list *errors) {
    if (x->is_tcp || x->is_quic) {
        error_addf(errors, ERROR_UNSUPPORTED, "the listener \"%s\" relays %s: it looks at no request", x->listener,
                   x->is_quic ? "QUIC" : "TCP");
        return -1;
    }
    if (!x->route_table)
        return 0;
    x->settings = (Headgate__Settings *)decode(set, HEADGATE__KIND__KIND_SETTINGS, "default");
    x->owned_table = (Headgate__RouteTable *)decode(set, HEADGATE__KIND__KIND_ROUTE_TABLE, x->route_table);
    x->table = x->owned_table;
    if (!x->table) {
        error_addf(errors, ERROR_REFERENCE, "there is no route table \"%s\"", x->route_table);
        return -1;
    }
    x->compiled = route_table_build(x->table, x->route_table, x->settings, errors);
    x->scratch = route_scratch_create();
    if (x->compiled && x->scratch)
        return 0;
    if (error_list_is_empty(errors))
        error_addf(errors, ERROR_MEMORY, "no memory to compile the route table");
    return -1;
}

/* ---- what comes of it ---- */

static void explain_cluster(const struct config_resources *set, const Headgate__WeightedCluster *from,
                            struct explained_cluster *to) {
    *to = (struct explained_cluster){
        .name = from->name,
        .weight = from->weight,
        .is_missing = !config_resources_find(set, HEADGATE__KIND__KIND_CLUSTER, str_of(from->name)),
        .endpoints = (Headgate__EndpointSet *)decode(set, HEADGATE__KIND__KIND_ENDPOINT_SET, from->name)};
}

static int explain_forward(const struct config_resources *set, const Headgate__Forward *forward,
                           struct arena *arena, struct explained *x) {
    const struct route *route = x->route.match.route;
    x->clusters = arena_calloc(arena, forward->n_clusters + 1, sizeof *x->clusters);
    if (!x->clusters || route_rewrite_target(route, &x->route.match, x->canonical, x->has_query, x->query,
                                             x->scratch, arena, &x->target) < 0)
        return -1;
    for (size_t i = 0; i < forward->n_clusters; i++)
        explain_cluster(set, forward->clusters[i], &x->clusters[x->cluster_count++]);
    x->origin_host = route_rewrite_host(route);
    if (x->origin_host.n == 0 && !route_host_from_endpoint(route))
        x->origin_host = x->authority;
    return 0;
}

static int explain_action(const struct config_resources *set, struct arena *arena, struct explained *x) {
    const struct route *route = x->route.match.route;
    if (route && explain_changes(x, arena) < 0)
        return -1;
    if (!route || route->action == ROUTE_RESPOND)
        return 0;
    if (route->action == ROUTE_REDIRECT)
        return route_redirect_location(route, &x->route.match, &(struct route_request){.authority = x->authority,
                                       .scheme = x->scheme, .path = x->canonical, .query = x->query}, x->has_query,
                                       x->scratch, arena, &x->location);
    return explain_forward(set, route->rule->forward, arena, x);
}

static int explain_route(const struct config_resources *set, struct arena *arena, struct explained *x,
                         struct error_list *errors) {
    if (!x->route_table)
        return 0;
    const struct path_policy policy = path_policy_of(x->settings ? x->settings->path : NULL);
    x->path_error = path_canonicalize(&policy, x->path, arena, &x->canonical);
    if (x->path_error != PATH_OK)
        return 0;
    const struct route_request request = {
        .host = x->host, .authority = x->authority, .scheme = x->scheme, .path = x->canonical, .query = x->query,
        .method = x->method, .fields = &x->fields, .random = x->random};
    if (route_table_explain(x->compiled, &request, x->scratch, arena, &x->route) == 0 &&
        explain_action(set, arena, x) == 0)
        return 0;
    error_addf(errors, ERROR_MEMORY, "no memory, or a limit of a regular expression was hit");
    return -1;
}

static int take_method(const Headgate__ExplainRequest *m, struct arena *arena, struct explained *x,
                       struct error_list *errors) {
    x->method = str_of(m->method ? m->method : "GET");
    char *lower = lower_copy(arena, x->method);
    if (lower && field_name_is_valid((struct str){lower, x->method.n})) /* both are tokens */
        return 0;
    error_addf(errors, ERROR_SYNTAX, "\"%.*s\" is not a method", STR_FMT(x->method));
    return -1;
}

static int take_request(const Headgate__ExplainRequest *m, struct arena *arena, struct explained *x,
                        struct error_list *errors) {
    if (take_method(m, arena, x, errors) < 0 || parse_url(m->url, arena, x, errors) < 0)
        return -1;
    return take_fields(m, arena, x, errors);
}

int explain_request(const struct config_resources *set, const Headgate__ExplainRequest *m,
                    struct arena *arena, struct explained *ret, struct error_list *errors) {
    *ret = (struct explained){0};
    if (take_request(m, arena, ret, errors) < 0 || choose_listener(set, arena, ret, errors) < 0 ||
        compile_table(set, ret, errors) < 0)
        return -1;
    return explain_route(set, arena, ret, errors);
}

int explain_by_table(const struct config_resources *set, const char *table, uint32_t random,
                     const Headgate__ExplainRequest *m, struct arena *arena, struct explained *ret,
                     struct error_list *errors) {
    *ret = (struct explained){.route_table = table, .random = random};
    if (take_request(m, arena, ret, errors) < 0 || compile_table(set, ret, errors) < 0)
        return -1;
    return explain_route(set, arena, ret, errors);
}

void explained_finish(struct explained *x) {
    for (size_t i = 0; i < x->cluster_count; i++)
        if (x->clusters[i].endpoints)
            headgate__endpoint_set__free_unpacked(x->clusters[i].endpoints, NULL);
    route_table_free(x->compiled);
    route_scratch_destroy(x->scratch);
    if (x->owned_table)
        headgate__route_table__free_unpacked(x->owned_table, NULL);
    if (x->settings)
        headgate__settings__free_unpacked(x->settings, NULL);
    *x = (struct explained){0};
}

/* ---- the method of the admin service ---- */

/* What is served now: endpoints as they were found and checked, not as they were declared. */
static void use_current_endpoints(struct explained *x, const struct snapshot *current) {
    for (size_t i = 0; i < x->cluster_count; i++) {
        struct cluster_endpoints now;
        Headgate__EndpointSet **endpoints = &x->clusters[i].endpoints;
        cluster_endpoints_init(&now, current, x->clusters[i].name);
        Headgate__EndpointSet *declared = *endpoints;
        *endpoints = now.set;
        now.set = declared;
        cluster_endpoints_finish(&now);
    }
}

/* `current`: whose resources these are; NULL: those of a file or of an older version. */
static int explain_set(const struct config_resources *set, const struct snapshot *current,
                       const Headgate__ExplainRequest *m, struct arena *arena, struct strbuf *text,
                       struct error_list *errors) {
    struct explained x;
    int status = explain_request(set, m, arena, &x, errors);
    if (status == 0 && current)
        use_current_endpoints(&x, current);
    if (status == 0 && m->json)
        explained_print_json(&x, text);
    else if (status == 0)
        explained_print(&x, text);
    explained_finish(&x);
    return status;
}

static void explain(struct admin_call *call, const Headgate__ExplainRequest *m, struct strbuf *text,
                    struct error_list *errors) {
    struct error_list warnings = {0};
    struct engine_view view = {.is_owned = m->sources != NULL};
    int status = m->sources ? engine_compile_sources(m->sources, &view.set, errors, &warnings)
                            : engine_view(call->admin->engine, m->version, &view, errors);
    if (status == 0)
        explain_set(&view.set, view.borrowed, m, &call->arena, text, errors);
    engine_view_finish(&view);
    error_list_finish(&warnings);
}

void admin_explain(struct admin_call *call, const ProtobufCMessage *request) {
    Headgate__TextReply reply = HEADGATE__TEXT_REPLY__INIT;
    struct strbuf text = {0};
    struct error_list errors = {0};
    struct problem_list problems = {0};
    explain(call, (const Headgate__ExplainRequest *)request, &text, &errors);
    reply_add_problems(&call->arena, &problems, &errors, false);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    reply.text = problems.count ? NULL : text.p;
    error_list_finish(&errors);
    admin_reply(call, &reply.base);
    strbuf_finish(&text);
}
