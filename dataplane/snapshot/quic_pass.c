#include "dataplane/snapshot/quic_pass.h"

#include <stdio.h>

#include "dataplane/l4/definition.h"
#include "dataplane/snapshot/clusters.h"
#include "dataplane/tls/names.h"

struct place {
    struct snapshot        *snapshot;
    struct pass_definition *to;
    const char             *listener;
    struct error_list      *errors;
};

static int fault(const struct place *p, const char *path, enum error_code code, const char *format, const char *argument) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "listener/%s", p->listener);
    error_set_resource(p->errors, error_addf(p->errors, code, format, argument), resource, path);
    return -1;
}

/* ---- where names lead ---- */

static void add_cluster(struct pass_definition *d, const struct cluster_definition *cluster) {
    for (uint32_t i = 0; i < d->cluster_count; i++)
        if (d->clusters[i] == cluster)
            return;
    d->clusters[d->cluster_count++] = cluster;
}

static const struct cluster_definition *find_cluster(const struct place *p, const char *name, const char *path) {
    size_t place;
    const struct cluster_definition *cluster = snapshot_find_cluster(p->snapshot, str_of(name ? name : ""), &place);
    if (!cluster)
        fault(p, path, ERROR_REFERENCE, "there is no cluster \"%s\"", name ? name : "");
    else
        add_cluster(p->to, cluster);
    return cluster;
}

/* A host name in lower case, perhaps behind "*.". */
static bool is_canonical(struct str name) {
    char room[DNS_NAME_MAX + 1];
    if (str_starts(name, STR("*.")))
        name = (struct str){name.p + 2, name.n - 2};
    return name.n && str_eq(tls_name_canonical(name, room), name);
}

static int add_name(const struct place *p, const char *text, const char *path, const struct cluster_definition *cluster) {
    struct str name = arena_str(&p->snapshot->arena, str_of(text));
    if (!name.p)
        return -1;
    if (!is_canonical(name))
        return fault(p, path, ERROR_SYNTAX, "\"%s\" is not a server name", text);
    if (map_get(&p->to->by_name, name))
        return fault(p, path, ERROR_CONFLICT, "\"%s\" stands there twice", text);
    return map_set(&p->to->by_name, name, (void *)(uintptr_t)cluster);
}

static int add_route(const struct place *p, const Headgate__QuicPassRoute *m, size_t index) {
    char path[64];
    int status = 0;
    snprintf(path, sizeof path, "quic_pass.routes[%zu].cluster", index);
    const struct cluster_definition *cluster = find_cluster(p, m->cluster, path);
    snprintf(path, sizeof path, "quic_pass.routes[%zu].server_names", index);
    if (m->n_server_names == 0)
        status = fault(p, path, ERROR_MISSING, "%s", "there is no server name");
    for (size_t i = 0; cluster && i < m->n_server_names; i++)
        status |= add_name(p, m->server_names[i], path, cluster);
    return cluster ? status : -1;
}

static int add_routes(const struct place *p, const Headgate__QuicPass *m) {
    int status = 0;
    if (m->n_routes >= PASS_CLUSTERS_MAX)
        return fault(p, "quic_pass.routes", ERROR_RANGE, "%s", "255 routes are possible");
    for (size_t i = 0; i < m->n_routes; i++)
        status |= add_route(p, m->routes[i], i);
    if (m->cluster && !(p->to->fallback = find_cluster(p, m->cluster, "quic_pass.cluster")))
        status = -1;
    if (m->n_routes == 0 && !m->cluster)
        status = fault(p, "quic_pass", ERROR_MISSING, "%s", "there is neither a route nor a cluster");
    return status;
}

/* ---- endpoints that connection IDs name ---- */

static const struct metadata *find_metadata(const struct endpoint_definition *e, struct str key) {
    for (uint32_t i = 0; i < e->metadata_count; i++)
        if (str_eq(e->metadata[i].key, key))
            return &e->metadata[i];
    return NULL;
}

/* An ID of one configuration goes before that of all. */
static const struct metadata *server_id_of(const struct endpoint_definition *e, unsigned rotation) {
    char key[32];
    snprintf(key, sizeof key, "quic-server-id-%u", rotation);
    const struct metadata *own = find_metadata(e, str_of(key));
    return own ? own : find_metadata(e, STR("quic-server-id"));
}

/* Of two with the same ID the first counts. */
static int add_server(const struct place *p, const struct quic_lb_form *form, const struct cluster_definition *cluster,
                      uint32_t place) {
    const struct metadata *id = server_id_of(&cluster->members->endpoints[place], form->config);
    uint8_t octets[1 + QUIC_LB_BLOCK_MAX] = {form->config}, n = (uint8_t)(1 + form->id_n);
    const struct str key = {(const char *)octets, n};
    if (!id || hex_decode(id->value, octets + 1, form->id_n) < 0 || map_get(&p->to->by_server, key))
        return 0;
    struct pass_server *s = arena_calloc(&p->snapshot->arena, 1, sizeof *s);
    if (!s)
        return -1;
    *s = (struct pass_server){.cluster = cluster, .place = place, .key_n = n};
    memcpy(s->key, octets, n);
    return map_set(&p->to->by_server, (struct str){(const char *)s->key, n}, s);
}

static int add_servers(const struct place *p, const struct quic_lb_form *form) {
    int status = 0;
    for (uint32_t c = 0; c < p->to->cluster_count; c++)
        for (uint32_t i = 0; i < p->to->clusters[c]->members->count; i++)
            status |= add_server(p, form, p->to->clusters[c], i);
    return status;
}

static int add_server_ids(const struct place *p, const Headgate__QuicServerIds *m, const char *path) {
    struct quic_lb_form *form = arena_calloc(&p->snapshot->arena, 1, sizeof *form);
    uint32_t both = m->length + m->nonce_length;
    if (!form)
        return -1;
    if (m->rotation >= QUIC_LB_UNROUTABLE || m->length < 1 || m->length > QUIC_LB_BLOCK_MAX ||
        m->nonce_length < QUIC_LB_NONCE_MIN || m->nonce_length > QUIC_LB_BLOCK_MAX || both > QUIC_LB_BLOCK_MAX)
        return fault(p, path, ERROR_RANGE, "%s", "rotation, length and nonce-length do not fit");
    if (p->to->lb[m->rotation])
        return fault(p, path, ERROR_CONFLICT, "%s", "two have the same rotation");
    *form = (struct quic_lb_form){.config = (uint8_t)m->rotation, .id_n = (uint8_t)m->length,
                                  .nonce_n = (uint8_t)m->nonce_length, .has_key = m->key != NULL};
    if (m->key && hex_decode(str_of(m->key), form->key, sizeof form->key) < 0)
        return fault(p, path, ERROR_SYNTAX, "%s", "16 octets in hexadecimal are needed as a key");
    p->to->lb[m->rotation] = form;
    return add_servers(p, form);
}

static int add_all_server_ids(const struct place *p, const Headgate__QuicPass *m) {
    int status = 0;
    for (size_t i = 0; i < m->n_server_ids && status == 0; i++) {
        char path[64];
        snprintf(path, sizeof path, "quic_pass.server_ids[%zu]", i);
        status = add_server_ids(p, m->server_ids[i], path);
    }
    return status;
}

/* ---- the whole ---- */

static int check_bounds(const struct place *p, const Headgate__QuicPass *m) {
    if (m->max_flows < 1 || m->max_flows > 1000000 || m->max_hellos < 1)
        return fault(p, "quic_pass", ERROR_RANGE, "%s", "the bounds of flows are out of their range");
    if (m->new_flows_per_second < 1 || m->new_flows_per_second > 1000000)
        return fault(p, "quic_pass.new_flows_per_second", ERROR_RANGE, "%s", "1 to 1000000 flows in a second are possible");
    if (m->idle_timeout == 0 || m->handshake_timeout == 0 || m->drain_timeout == 0)
        return fault(p, "quic_pass", ERROR_RANGE, "%s", "the time-outs must be above 0");
    return 0;
}

static int check_beside(const struct place *p, const Headgate__Listener *m) {
    for (size_t i = 0; i < m->n_protocols; i++)
        if (m->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP3)
            return fault(p, "quic_pass", ERROR_CONFLICT, "%s", "QUIC is passed through, or ends here with HTTP/3");
    for (size_t i = 0; i < m->n_addresses; i++)
        if (str_starts(str_of(m->addresses[i]), STR("unix:")))
            return fault(p, "addresses", ERROR_CONFLICT, "there is no QUIC at \"%s\"", m->addresses[i]);
    return 0;
}

int snapshot_build_quic_pass(struct snapshot *s, const Headgate__Listener *m, const char *name,
                             struct listener_definition *d, struct error_list *errors) {
    const Headgate__QuicPass *pass = m->quic_pass;
    struct pass_definition *to = arena_calloc(&s->arena, 1, sizeof *to);
    const struct cluster_definition **clusters = arena_calloc(&s->arena, pass->n_routes + 1, sizeof *clusters);
    const struct place p = {s, to, name, errors};
    if (!to || !clusters)
        return -1;
    *to = (struct pass_definition){.clusters = clusters, .idle_timeout = pass->idle_timeout,
                                   .handshake_timeout = pass->handshake_timeout, .drain_timeout = pass->drain_timeout,
                                   .max_flows = pass->max_flows, .max_hellos = pass->max_hellos,
                                   .new_flows_per_second = pass->new_flows_per_second, .next = s->passes};
    s->passes = to;
    d->pass = to;
    d->opening.pass = true;
    int status = check_beside(&p, m) | check_bounds(&p, pass) | add_routes(&p, pass);
    return status == 0 ? add_all_server_ids(&p, pass) : status;
}

void snapshot_drop_quic_passes(struct snapshot *s) {
    for (struct pass_definition *d = s->passes; d; d = d->next) {
        map_finish(&d->by_name);
        map_finish(&d->by_server);
    }
}
