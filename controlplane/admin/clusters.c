/* Status: clusters, where their endpoints come from, and how well they are. */
#include <stdio.h>

#include "controlplane/admin/internal.h"
#include "controlplane/admin/layers.h"
#include "controlplane/discovery/endpoints.h"

enum { ENDPOINTS_LISTED_MAX = 2000 }; /* in one reply, over all clusters */

struct cluster_view {
    struct admin_call *call;
    const struct engine *engine;
    const char *name;
    const struct blob *body;        /* the resource's bytes */
    const char *source;             /* of its endpoints */
    Headgate__ClusterStatus *status;
};

static char *copy(struct admin_call *call, const char *text) {
    return text ? arena_strdup(&call->arena, text) : NULL;
}

/* ---- endpoints ---- */

static Headgate__EndpointStatus *endpoint_status(const struct cluster_view *v, const Headgate__Endpoint *from) {
    Headgate__EndpointStatus *to = arena_alloc(&v->call->arena, sizeof *to);
    if (!to)
        return NULL;
    headgate__endpoint_status__init(to);
    to->address = copy(v->call, from->address);
    to->has_weight = to->has_health = to->has_priority = true;
    to->weight = from->weight;
    to->health = from->health;
    to->priority = from->priority;
    to->zone = copy(v->call, from->zone);
    to->source = (char *)v->source;
    to->last_failure = copy(v->call, engine_health_failure(v->engine, v->name, from->address, &to->failed_at));
    to->has_failed_at = to->last_failure != NULL;
    return to;
}

/* Without decoding any. */
static void count_endpoints(struct endpoint_reader endpoints, size_t *ret_count, size_t *ret_unhealthy) {
    const uint8_t *bytes;
    size_t size, count = 0, unhealthy = 0;
    for (; endpoint_reader_next(&endpoints, &bytes, &size); count++)
        if (unhealthy == count) /* otherwise one is well, and how many are not does not matter */
            unhealthy += endpoint_health_of(bytes, size) == HEADGATE__ENDPOINT__HEALTH__UNHEALTHY;
    *ret_count = count;
    *ret_unhealthy = unhealthy;
}

static Headgate__EndpointStatus *next_endpoint(const struct cluster_view *v, struct endpoint_reader *endpoints) {
    const uint8_t *bytes;
    size_t size;
    bool is_there = endpoint_reader_next(endpoints, &bytes, &size);
    Headgate__Endpoint *e = is_there ? headgate__endpoint__unpack(NULL, size, bytes) : NULL;
    if (!e)
        return NULL;
    Headgate__EndpointStatus *status = endpoint_status(v, e);
    headgate__endpoint__free_unpacked(e, NULL);
    return status;
}

/* Those for which there is room; of the others there is the number. */
static void add_endpoints(const struct cluster_view *v, struct endpoint_reader endpoints, size_t count, size_t *room) {
    Headgate__ClusterStatus *c = v->status;
    c->has_endpoint_count = true;
    c->endpoint_count = (uint32_t)count;
    if (count > *room)
        count = *room;
    c->endpoints = arena_calloc(&v->call->arena, count + 1, sizeof(Headgate__EndpointStatus *));
    for (size_t i = 0; i < count && c->endpoints; i++) {
        Headgate__EndpointStatus *e = next_endpoint(v, &endpoints);
        if (!e)
            break;
        c->endpoints[c->n_endpoints++] = e;
    }
    *room -= c->n_endpoints;
}

/* ---- discovery ---- */

static Headgate__DiscoveryStatus *discovery_status(struct admin_call *call, const struct source_state *s) {
    Headgate__DiscoveryStatus *d = arena_alloc(&call->arena, sizeof *d);
    if (!d)
        return NULL;
    headgate__discovery_status__init(d);
    d->kind = (char *)s->kind;
    d->target = copy(call, s->target);
    d->has_asked_at = s->asked_at != 0;
    d->asked_at = s->asked_at;
    d->has_found_at = s->found_at != 0;
    d->found_at = s->found_at;
    d->has_failed_at = s->failed_at != 0;
    d->failed_at = s->failed_at;
    d->has_next_at = s->next_at != 0;
    d->next_at = s->next_at;
    d->has_asked = d->has_failures = true;
    d->asked = s->asked;
    d->failures = s->failures;
    d->failure = s->failure[0] ? copy(call, s->failure) : NULL;
    return d;
}

/* ---- what is wrong ---- */

static void add_problem(const struct cluster_view *v, struct problem_list *problems, const char *path, const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "cluster/%s", v->name);
    reply_add_problem(&v->call->arena, problems, ERROR_STATE, resource, path, message);
}

static bool speaks_http3(const struct blob *body) {
    Headgate__Cluster *m = headgate__cluster__unpack(NULL, body->size, body->bytes);
    bool is_http3 = m && m->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP3;
    if (m)
        headgate__cluster__free_unpacked(m, NULL);
    return is_http3;
}

static void add_unhealthy(const struct cluster_view *v, size_t count, size_t unhealthy, struct problem_list *problems) {
    char message[128];
    if (count == 0 || unhealthy < count)
        return;
    const char *why = speaks_http3(v->body) ? ": checks are made over TCP, and the cluster speaks HTTP/3" : "";
    if (count == 1)
        snprintf(message, sizeof message, "its endpoint is unhealthy%s", why);
    else
        snprintf(message, sizeof message, "all %zu endpoints are unhealthy%s", count, why);
    add_problem(v, problems, "health", message);
}

/* ---- clusters ---- */

/* The cluster at that place of the intent. */
static Headgate__ClusterStatus *cluster_status(struct admin_call *call, const struct snapshot *s, size_t at, size_t *room,
                                               struct problem_list *problems) {
    struct endpoint_reader endpoints;
    struct source_state source;
    size_t count, unhealthy;
    char *name = s->intent->entries[at]->name;
    Headgate__ClusterStatus *c = arena_alloc(&call->arena, sizeof *c);
    if (!c)
        return NULL;
    headgate__cluster_status__init(c);
    c->name = name;
    c->layer = (char *)(uintptr_t)admin_layer_of(store_current(engine_store(call->admin->engine)),
                                                 HEADGATE__KIND__KIND_CLUSTER, name);
    const char *declared = c->layer ? c->layer : "static";
    struct cluster_view v = {.call = call, .engine = call->admin->engine, .name = name, .source = declared, .status = c,
                             .body = part_body(s->intent, at)};
    endpoint_reader_init(&endpoints, s, name);
    if (engine_cluster_source(v.engine, name, &source)) {
        v.source = source.found_at ? source.kind : strcmp(endpoints.source, "state") == 0 ? "stored" : declared;
        c->discovery = discovery_status(call, &source);
        if (source.failure[0])
            add_problem(&v, problems, "discovery", source.failure);
    }
    count_endpoints(endpoints, &count, &unhealthy);
    add_endpoints(&v, endpoints, count, room);
    add_unhealthy(&v, count, unhealthy, problems);
    return c;
}

static bool is_asked_for(const Headgate__Entry *e, const char *name) {
    return e->kind == HEADGATE__KIND__KIND_CLUSTER && (!name || strcmp(e->name, name) == 0);
}

void admin_add_clusters(struct admin_call *call, const struct snapshot *s, const char *name, Headgate__StatusReply *reply,
                        struct problem_list *problems) {
    size_t room = ENDPOINTS_LISTED_MAX;
    reply->clusters = arena_calloc(&call->arena, s->intent->count + 1, sizeof(Headgate__ClusterStatus *));
    for (size_t i = 0; i < s->intent->count && reply->clusters; i++) {
        if (!is_asked_for(s->intent->entries[i], name))
            continue;
        Headgate__ClusterStatus *c = cluster_status(call, s, i, &room, problems);
        if (c)
            reply->clusters[reply->n_clusters++] = c;
    }
}
