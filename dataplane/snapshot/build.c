#include "dataplane/snapshot/build.h"

#include <stdio.h>

#include "common/alloc.h"
#include "dataplane/net/proxy_protocol.h"
#include "dataplane/routing/scopes.h"
#include "dataplane/snapshot/clusters.h"
#include "dataplane/snapshot/http3.h"
#include "dataplane/snapshot/listener_transports.h"
#include "dataplane/snapshot/log_services.h"
#include "dataplane/snapshot/members.h"
#include "dataplane/snapshot/quic_pass.h"
#include "dataplane/snapshot/settings.h"
#include "dataplane/snapshot/tcp_rule.h"
#include "dataplane/snapshot/tls.h"

#define NO_TABLE SIZE_MAX

/* A compiled table and the messages that it points into. */
struct shared_table {
    struct route_table *table;
    struct resource    *source;                 /* the table, or the listener that relays TCP */
    struct resource    *settings_resource;
    struct tcp_rule     tcp;                    /* of such a listener */
    unsigned            references;
};

static void fault(struct error_list *errors, const char *kind, const char *name, const char *path, enum error_code code,
                  const char *format, const char *argument) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "%s/%s", kind, name);
    error_set_resource(errors, error_addf(errors, code, format, argument), resource, path);
}

/* ---- route tables ---- */

static void table_unref(struct shared_table *t) {
    if (!t || --t->references)
        return;
    route_table_free(t->table);
    resource_unref(t->source);
    resource_unref(t->settings_resource);
    hg_free(t);
}

static struct shared_table *table_make(const struct snapshot *s, struct resource *r, struct error_list *errors) {
    struct shared_table *t = hg_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->references = 1;
    t->source = resource_ref(r);
    t->settings_resource = s->settings_resource ? resource_ref(s->settings_resource) : NULL;
    const Headgate__RouteTable *message = (const Headgate__RouteTable *)r->message;
    if (r->kind == HEADGATE__KIND__KIND_LISTENER) {
        tcp_rule_fill(&t->tcp, ((const Headgate__Listener *)r->message)->tcp);
        message = &t->tcp.table;
    }
    t->table = route_table_build(message, r->name, s->settings.message, errors);
    if (t->table)
        return t;
    table_unref(t);
    return NULL;
}

static bool same_resource(const struct resource *a, const struct resource *b) {
    return a == b || (a && b && resource_id_equal(&a->id, &b->id));
}

static struct shared_table *table_reuse(const struct snapshot *s, const struct snapshot *previous, const struct resource *r,
                                        size_t *ret_place) {
    for (size_t k = 0; previous && k < previous->table_count; k++) {
        size_t i = (s->table_count + k) % previous->table_count; /* most often where it was */
        struct shared_table *t = previous->tables[i];
        if (t->source->kind != r->kind || strcmp(t->source->name, r->name) != 0)
            continue;
        if (!same_resource(t->source, r) || !same_resource(t->settings_resource, s->settings_resource))
            return NULL;
        t->references++;
        *ret_place = i;
        return t;
    }
    return NULL;
}

static void bind_fault(struct snapshot *s, const struct shared_table *t, struct str name, const char *format,
                       struct error_list *errors) {
    char *text = arena_printf(&s->arena, "%.*s", STR_FMT(name));
    bool is_tcp = t->source->kind == HEADGATE__KIND__KIND_LISTENER;
    fault(errors, kind_name(t->source->kind), t->source->name, is_tcp ? "tcp.clusters" : "", ERROR_REFERENCE, format,
          text ? text : "?");
}

static int bind_cluster(struct snapshot *s, const struct shared_table *t, size_t i, uint32_t *ret_place, uint64_t *subset,
                        struct error_list *errors) {
    struct str name = route_table_cluster_name(t->table, i);
    size_t count, place;
    Headgate__MetadataEntry *const *entries = route_table_cluster_subset(t->table, i, &count);
    const struct cluster_definition *cluster = snapshot_find_cluster(s, name, &place);
    *ret_place = (uint32_t)place;
    if (!cluster)
        bind_fault(s, t, name, "there is no cluster \"%s\"", errors);
    else if (snapshot_find_subset(cluster->members, entries, count, subset) < 0)
        bind_fault(s, t, name, "cluster \"%s\" has no subsets by the keys that a rule names", errors);
    else
        return 0;
    return -1;
}

/* As before, where the clusters are, and none of them chooses subsets by other keys. NULL: they are not. */
static const struct table_binding *binding_before(const struct snapshot *s, const struct snapshot *previous, size_t place) {
    if (place == NO_TABLE || s->has_other_clusters)
        return NULL;
    return &previous->bindings[place];
}

/* The table's clusters and subsets, bound to the clusters of this snapshot. NULL: errors has more now, or memory is
 * short. */
static struct bound_table *table_bind(struct snapshot *s, const struct shared_table *t, const struct table_binding *before,
                                      struct error_list *errors) {
    size_t n = route_table_cluster_count(t->table);
    const struct cluster_definition **clusters = arena_calloc(&s->arena, n, sizeof *clusters);
    uint64_t *subsets = arena_calloc(&s->arena, n, sizeof *subsets);
    uint32_t *places = arena_calloc(&s->arena, n, sizeof *places);
    struct bound_table *bound = arena_alloc(&s->arena, sizeof *bound);
    if (!clusters || !subsets || !places || !bound)
        return NULL;
    int status = 0;
    if (before && n) {
        memcpy(places, before->places, n * sizeof *places);
        memcpy(subsets, before->subsets, n * sizeof *subsets);
    }
    for (size_t i = 0; !before && i < n; i++)
        status |= bind_cluster(s, t, i, &places[i], &subsets[i], errors);
    for (size_t i = 0; status == 0 && i < n; i++)
        clusters[i] = s->clusters[places[i]];
    *bound = (struct bound_table){.table = t->table, .clusters = clusters, .subsets = subsets};
    s->bindings[s->table_count] = (struct table_binding){places, subsets};
    return status == 0 ? bound : NULL;
}

/* The table of a resource: the previous snapshot's, or a new one. */
static const struct bound_table *add_table(struct snapshot *s, struct resource *r, const struct snapshot *previous,
                                           struct error_list *errors) {
    size_t before = NO_TABLE;
    struct shared_table *t = table_reuse(s, previous, r, &before);
    if (!t)
        t = table_make(s, r, errors);
    const struct bound_table *bound = t ? table_bind(s, t, binding_before(s, previous, before), errors) : NULL;
    if (t)
        s->tables[s->table_count++] = t;
    return bound;
}

static int build_tables(struct snapshot *s, const struct resource_set *resources, const struct snapshot *previous,
                        struct error_list *errors) {
    struct resource_range range = resource_part_of_kind(&resources->intent, HEADGATE__KIND__KIND_ROUTE_TABLE);
    size_t most = range.count + resource_part_of_kind(&resources->intent, HEADGATE__KIND__KIND_LISTENER).count;
    int status = 0;
    s->tables = arena_calloc(&s->arena, most, sizeof *s->tables);
    s->bindings = arena_calloc(&s->arena, most, sizeof *s->bindings);
    if (!s->tables || !s->bindings)
        return -1;
    for (size_t i = 0; i < range.count; i++) {
        const struct bound_table *bound = add_table(s, range.items[i], previous, errors);
        if (!bound || map_set(&s->table_by_name, str_of(range.items[i]->name), (void *)(uintptr_t)bound) < 0)
            status = -1;
    }
    return status;
}

/* ---- listeners ---- */

static int add_address(struct snapshot *s, const struct address *a, unsigned transports,
                       const struct listener_definition *d) {
    struct served_address *served = &s->addresses[s->address_count++];
    int status = 0;
    *served = (struct served_address){*a, d};
    for (unsigned i = 0; i < 2; i++)
        if (transports & (i ? LISTENS_ON_UDP : LISTENS_ON_TCP))
            status |= map_set(&s->by_address[i], address_key(&served->address), served);
    return status;
}

static bool is_taken(const struct snapshot *s, const struct address *a, unsigned transports) {
    return (transports & LISTENS_ON_TCP && map_get(&s->by_address[0], address_key(a))) ||
           (transports & LISTENS_ON_UDP && map_get(&s->by_address[1], address_key(a)));
}

static int add_addresses(struct snapshot *s, const Headgate__Listener *m, const char *name,
                         const struct listener_definition *d, struct error_list *errors) {
    size_t before = errors->count;
    unsigned transports = listener_transports(m);
    int status = 0;
    for (size_t i = 0; i < m->n_addresses; i++) {
        struct address a;
        char path[64];
        snprintf(path, sizeof path, "addresses[%zu]", i);
        if (address_parse(str_of(m->addresses[i]), &a) < 0)
            fault(errors, "listener", name, path, ERROR_SYNTAX, "\"%s\" is not an address and port", m->addresses[i]);
        else if (is_taken(s, &a, transports))
            fault(errors, "listener", name, path, ERROR_CONFLICT, "\"%s\" is another listener's too", m->addresses[i]);
        else
            status |= add_address(s, &a, transports, d);
    }
    if (m->n_addresses == 0)
        fault(errors, "listener", name, "addresses", ERROR_MISSING, "%s", "there is no address");
    return errors->count == before ? status : -1;
}

static bool is_udp_only(const Headgate__Listener *m) {
    return m->quic_pass && !m->route_table && !m->scoped_routes && !m->tcp;
}

/* Without a word HTTP/1.1, and with TLS HTTP/2 as well. */
static int add_protocols(struct snapshot *s, const Headgate__Listener *m, const char *name, struct listener_definition *d,
                         struct error_list *errors) {
    struct listener_opening *o = &d->opening;
    if (m->quic_pass && snapshot_build_quic_pass(s, m, name, d, errors) < 0)
        return -1;
    if (is_udp_only(m))
        return 0;
    o->raw = m->tcp != NULL;
    if (o->raw)
        return tcp_rule_check(m, name, errors);
    o->http1 = m->n_protocols == 0;
    o->http2 = m->n_protocols == 0 && m->tls;
    for (size_t i = 0; i < m->n_protocols; i++) {
        o->http1 |= m->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP1;
        o->http2 |= m->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP2;
        o->http3 |= m->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP3;
    }
    http2_options_init(&d->http2, m->http2, d->settings->limits.header_bytes);
    return snapshot_build_http3(s, m, name, d, errors);
}

/* Who must begin with a PROXY header. */
static int add_proxy_trust(struct snapshot *s, const Headgate__Listener *m, const char *name, struct listener_definition *d,
                           struct error_list *errors) {
    const Headgate__ProxyProtocol *p = m->proxy_protocol;
    size_t before = errors->count;
    if (!p || p->mode == HEADGATE__PROXY_PROTOCOL__MODE__OFF)
        return 0;
    struct proxy_trust *trust = arena_calloc(&s->arena, 1, sizeof *trust);
    struct proxy_prefix *prefixes = arena_calloc(&s->arena, p->n_trusted, sizeof *prefixes);
    if (!trust || !prefixes)
        return -1;
    for (size_t i = 0; i < p->n_trusted; i++) {
        char path[64];
        bool is_unix = false;
        snprintf(path, sizeof path, "proxy_protocol.trusted[%zu]", i);
        if (proxy_prefix_parse(str_of(p->trusted[i]), &prefixes[trust->count], &is_unix) < 0)
            fault(errors, "listener", name, path, ERROR_SYNTAX, "\"%s\" is not a network such as 10.0.0.0/8", p->trusted[i]);
        trust->unix_sockets |= is_unix;
        trust->count += !is_unix;
    }
    trust->prefixes = prefixes;
    d->opening.proxy = trust;
    return errors->count == before ? 0 : -1;
}

static int add_tls(struct snapshot *s, const struct resource *r, const struct resource_set *resources,
                   struct listener_definition *d, struct error_list *errors) {
    if (snapshot_listener_tls(r, resources, &d->opening.tls, errors) < 0)
        return -1;
    if (d->opening.tls)
        s->tls[s->tls_count++] = d->opening.tls;
    return 0;
}

static int add_scopes(struct snapshot *s, const char *name, const Headgate__ScopedRoutes *m, struct listener_definition *d,
                      struct error_list *errors) {
    size_t before = errors->count;
    const struct bound_table **routes = arena_calloc(&s->arena, m->n_scopes + 1, sizeof(struct bound_table *));
    d->scopes = scope_table_build(m, name, &s->arena, errors);
    d->scope_routes = routes;
    for (size_t i = 0; routes && d->scopes && i < m->n_scopes; i++) {
        const char *table = m->scopes[i]->route_table ? m->scopes[i]->route_table : "";
        char path[64];
        snprintf(path, sizeof path, "scoped_routes.scopes[%zu].route_table", i);
        routes[i] = map_get(&s->table_by_name, str_of(table));
        if (!routes[i])
            fault(errors, "listener", name, path, ERROR_REFERENCE, "there is no route table \"%s\"", table);
    }
    return routes && d->scopes && errors->count == before ? 0 : -1;
}

/* Where its requests, or connections, go. */
static int add_routes(struct snapshot *s, struct resource *r, const struct snapshot *previous, struct listener_definition *d,
                      struct error_list *errors) {
    const Headgate__Listener *m = (const Headgate__Listener *)r->message;
    if (is_udp_only(m))
        return 0;
    if (m->tcp) {
        d->routes = add_table(s, r, previous, errors);
        return d->routes ? 0 : -1;
    }
    if (m->scoped_routes && !m->route_table)
        return add_scopes(s, r->name, m->scoped_routes, d, errors);
    if (m->scoped_routes) {
        fault(errors, "listener", r->name, "scoped_routes", ERROR_CONFLICT, "%s", "there is a route table for all requests");
        return -1;
    }
    d->routes = m->route_table ? map_get(&s->table_by_name, str_of(m->route_table)) : NULL;
    if (!d->routes)
        fault(errors, "listener", r->name, "route_table", ERROR_REFERENCE, "there is no route table \"%s\"",
              m->route_table ? m->route_table : "");
    return d->routes ? 0 : -1;
}

static int build_listener(struct snapshot *s, struct resource *r, const struct resource_set *resources,
                          const struct snapshot *previous, struct error_list *errors) {
    const Headgate__Listener *m = (const Headgate__Listener *)r->message;
    struct listener_definition *d = arena_calloc(&s->arena, 1, sizeof *d);
    if (!d)
        return -1;
    d->name = arena_str(&s->arena, str_of(r->name));
    d->settings = &s->settings;
    d->timeouts = s->settings.timeouts;
    timeouts_override(&d->timeouts, m->timeouts);
    d->opening.timeout = d->timeouts.handshake;
    int status = add_addresses(s, m, r->name, d, errors) | add_protocols(s, m, r->name, d, errors) |
                 add_proxy_trust(s, m, r->name, d, errors) | add_tls(s, r, resources, d, errors);
    if (status == 0 || !m->tcp)
        status |= add_routes(s, r, previous, d, errors);
    if (d->name.p)
        status |= snapshot_add_log_services(s, m, d, errors);
    return d->name.p && status == 0 ? 0 : -1;
}

static int build_listeners(struct snapshot *s, const struct resource_set *resources, const struct snapshot *previous,
                           struct error_list *errors) {
    struct resource_range range = resource_part_of_kind(&resources->intent, HEADGATE__KIND__KIND_LISTENER);
    size_t most = 0;
    int status = 0;
    for (size_t i = 0; i < range.count; i++)
        most += ((const Headgate__Listener *)range.items[i]->message)->n_addresses;
    s->addresses = arena_calloc(&s->arena, most, sizeof *s->addresses);
    s->tls = arena_calloc(&s->arena, range.count, sizeof(struct tls_server *));
    if (!s->addresses || !s->tls)
        return -1;
    for (size_t i = 0; i < range.count; i++)
        status |= build_listener(s, range.items[i], resources, previous, errors);
    return status;
}

/* ---- the whole ---- */

static int build(struct snapshot *s, const struct resource_set *resources, const struct snapshot *previous,
                 struct error_list *errors) {
    const struct resource *settings = resource_set_find(resources, HEADGATE__KIND__KIND_SETTINGS, "default");
    s->settings_resource = settings ? resource_ref((struct resource *)(uintptr_t)settings) : NULL;
    if (settings_fill(&s->settings, settings ? (const Headgate__Settings *)settings->message : NULL, &s->arena) < 0)
        return -1;
    int status = snapshot_build_clusters(s, resources, previous, errors);
    if (status < 0)
        s->has_other_clusters = true; /* some are missing */
    status |= build_tables(s, resources, previous, errors);
    if (s->tables && s->bindings)
        status |= build_listeners(s, resources, previous, errors);
    return status;
}

int snapshot_build(struct resource_set *resources, const struct snapshot *previous, struct snapshot **ret,
                   struct error_list *errors) {
    struct snapshot *s = hg_calloc(1, sizeof *s);
    int status = -1;
    if (s) {
        s->id = resources->id;
        status = build(s, resources, previous, errors);
    }
    if (status == 0) {
        resource_part_share(&s->intent, &resources->intent);
        resource_part_share(&s->state, &resources->state);
        *ret = s;
        return 0;
    }
    if (error_list_is_empty(errors))
        error_addf(errors, ERROR_MEMORY, "out of memory");
    snapshot_free(s);
    return -1;
}

void snapshot_free(struct snapshot *s) {
    if (!s)
        return;
    snapshot_drop_clusters(s);
    snapshot_drop_log_services(s);
    snapshot_drop_quic_passes(s);
    for (size_t i = 0; i < s->table_count; i++)
        table_unref(s->tables[i]);
    for (size_t i = 0; i < s->tls_count; i++)
        tls_server_unref(s->tls[i]);
    resource_unref(s->settings_resource);
    resource_part_finish(&s->intent);
    resource_part_finish(&s->state);
    map_finish(&s->table_by_name);
    map_finish(&s->by_address[0]);
    map_finish(&s->by_address[1]);
    hg_free(s->views);
    arena_finish(&s->arena);
    hg_free(s);
}
