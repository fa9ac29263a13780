/* What rules change of fields, as it comes out for the request that is asked about. */
#include "controlplane/admin/explain.h"

/* Who asks is taken for the client. */
#define CLIENT STR("127.0.0.1")

static const char *const actions[] = {"set", "append", "add-if-absent", "replace", "remove"};

static const struct field *find(const struct fields *fields, struct str name) {
    for (uint32_t i = 0; i < fields->count; i++)
        if (field_is(&fields->v[i], name))
            return &fields->v[i];
    return NULL;
}

static void drop(struct fields *fields, struct str name) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fields->count; i++)
        if (!field_is(&fields->v[i], name))
            fields->v[kept++] = fields->v[i];
    fields->count = kept;
}

/* There is room for one field for each change. */
static void put(struct fields *fields, struct str name, struct str value) {
    fields->v[fields->count++] = (struct field){.name = name.p, .name_len = (uint16_t)name.n, .value = value.p,
                                                .value_len = (uint32_t)value.n, .id = FIELD_OTHER};
}

static bool is_made(const struct header_change *c, const struct fields *fields, struct str value) {
    bool is_there = find(fields, c->name) != NULL;
    switch (c->action) {
    case HEADGATE__HEADER_CHANGE__ACTION__REMOVE: return is_there;
    case HEADGATE__HEADER_CHANGE__ACTION__ADD_IF_ABSENT: return !is_there && (value.n || c->keep_empty);
    case HEADGATE__HEADER_CHANGE__ACTION__REPLACE: return is_there && (value.n || c->keep_empty);
    default: return value.n || c->keep_empty;
    }
}

static int change_request(struct explained *x, const struct header_change *c, const struct change_facts *facts,
                          struct arena *arena) {
    struct str value = {"", 0};
    bool removes = c->action == HEADGATE__HEADER_CHANGE__ACTION__REMOVE;
    if (!removes && header_change_value(c, facts, arena, &value) < 0)
        return -1;
    bool is_effective = is_made(c, &x->sees, value);
    x->request_changes[x->request_change_count++] =
        (struct explained_change){actions[c->action], c->name, value, is_effective};
    if (!is_effective)
        return 0;
    if (c->action != HEADGATE__HEADER_CHANGE__ACTION__APPEND)
        drop(&x->sees, c->name);
    if (!removes)
        put(&x->sees, c->name, value);
    return 0;
}

static int change_requests(struct explained *x, const struct header_changes *changes, struct arena *arena) {
    const struct route *route = x->route.match.route;
    const struct change_facts facts = {
        .client = CLIENT, .peer = CLIENT, .protocol = STR("HTTP/1.1"), .route = route->name,
        .cluster = str_of(route->rule->forward->clusters[0]->name), .method = x->method, .authority = x->authority,
        .scheme = x->scheme, .target = x->canonical, .request = &x->sees,
    };
    int status = 0;
    for (uint32_t i = 0; i < changes->count; i++)
        status |= change_request(x, &changes->items[i], &facts, arena);
    return status;
}

static void take_responses(struct explained *x, Headgate__HeaderChange *const *m, size_t n) {
    for (size_t i = 0; i < n; i++)
        x->response_changes[x->response_change_count++] = (struct explained_change){
            actions[m[i]->action], str_of(m[i]->name), str_of(m[i]->value ? m[i]->value : ""), true};
}

/* Which cluster a request gets is known only where there is one. */
int explain_changes(struct explained *x, struct arena *arena) {
    const struct route *route = x->route.match.route;
    const Headgate__Rule *rule = route->rule;
    const Headgate__WeightedCluster *only =
        route->action == ROUTE_FORWARD && rule->forward->n_clusters == 1 ? rule->forward->clusters[0] : NULL;
    size_t requests = rule->n_request_headers + (only ? only->n_request_headers : 0);
    size_t responses = rule->n_response_headers + (only ? only->n_response_headers : 0);
    x->sees = (struct fields){.v = arena_calloc(arena, x->fields.count + requests + 1, sizeof *x->sees.v)};
    x->request_changes = arena_calloc(arena, requests + 1, sizeof *x->request_changes);
    x->response_changes = arena_calloc(arena, responses + 1, sizeof *x->response_changes);
    if (!x->sees.v || !x->request_changes || !x->response_changes)
        return -1;
    for (uint32_t i = 0; i < x->fields.count; i++)
        x->sees.v[x->sees.count++] = x->fields.v[i];
    if (only)
        take_responses(x, only->response_headers, only->n_response_headers);
    take_responses(x, rule->response_headers, rule->n_response_headers);
    if (route->action != ROUTE_FORWARD)
        return 0;
    int status = only ? change_requests(x, route_choice_changes(route, 0, false), arena) : 0;
    return status | change_requests(x, &route->request_changes, arena);
}
