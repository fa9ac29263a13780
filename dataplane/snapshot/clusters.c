#include "dataplane/snapshot/clusters.h"

#include <stdio.h>

#include "common/alloc.h"
#include "dataplane/codec/h1/client.h"
#include "dataplane/codec/h2/client.h"
#include "dataplane/codec/h3/client.h"
#include "dataplane/codec/raw/client.h"
#include "dataplane/http/http2_options.h"
#include "dataplane/http/http3_options.h"
#include "dataplane/snapshot/cluster_tls.h"
#include "dataplane/snapshot/members.h"
#include "dataplane/snapshot/quic_options.h"
#include "dataplane/snapshot/sticky.h"

/* What a definition was made of: unchanged parts mean that it can be shared. */
struct owned_definition {
    struct cluster_definition  definition;      /* first */
    struct http2_options       http2;
    struct http3_options       http3;
    struct quic_options        quic;
    struct arena               arena;
    struct resource_id         cluster_id, endpoints_id, settings_id, sticky_id; /* the last where cookies are signed */
    bool                       has_endpoints, has_settings;
    uint64_t                   members_print;
};

/* A cluster's place in every worker's table. Names keep theirs for the life of the process, so that pools survive a cluster
 * that goes and comes back, and a stale slot is never another cluster's. */
static struct map slots;
static uint64_t next_serial;

static int slot_of(struct str name, uint32_t *ret) {
    void *known = map_get(&slots, name);
    if (!known) {
        char *copy = hg_strndup(name.p, name.n);
        known = (void *)(uintptr_t)(slots.count + 1);
        if (!copy || map_set(&slots, (struct str){copy, name.n}, known) < 0) {
            hg_free(copy);
            return -1;
        }
    }
    *ret = (uint32_t)(uintptr_t)known - 1;
    return 0;
}

void cluster_definition_unref(struct cluster_definition *d) {
    struct owned_definition *o = (struct owned_definition *)d;
    if (!d || --d->references)
        return;
    cluster_tls_drop(d);
    cluster_members_unref(d->members);
    cluster_shared_unref(d->shared);
    arena_finish(&o->arena);
    hg_free(o);
}

static void fault(struct error_list *errors, const char *kind, const char *name, const char *path, enum error_code code,
                  const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "%s/%s", kind, name);
    error_set_resource(errors, error_addf(errors, code, "%s", message), resource, path);
}

/* The previous ones go on where nothing that they are made of has changed, and always what workers share. */
static int take_members(struct owned_definition *o, const struct resource *cluster, const struct resource *endpoints,
                        const struct cluster_definition *previous, struct error_list *errors) {
    const struct owned_definition *before = (const struct owned_definition *)previous;
    struct cluster_definition *d = &o->definition;
    o->members_print = snapshot_members_print((const Headgate__Cluster *)cluster->message);
    d->shared = previous ? cluster_shared_ref(previous->shared) : cluster_shared_create(d->name);
    bool is_same = before && o->members_print && before->members_print == o->members_print &&
                   before->has_endpoints == o->has_endpoints &&
                   (!endpoints || resource_id_equal(&before->endpoints_id, &o->endpoints_id));
    d->members = is_same ? cluster_members_ref(previous->members)
                         : snapshot_members_make(cluster, endpoints, previous ? previous->members : NULL, errors);
    return d->members && d->shared ? 0 : -1;
}

static int fill_hash_rules(struct owned_definition *o, const Headgate__Cluster *m) {
    size_t count = m->balancing ? m->balancing->n_hash : 0;
    struct hash_rule *rules = arena_calloc(&o->arena, count + 1, sizeof *rules);
    o->definition.hash_rules = rules;
    if (!rules)
        return -1;
    if (m->balancer == HEADGATE__CLUSTER__BALANCER__SOURCE_ADDRESS) {
        rules[0].kind = HASH_ADDRESS;
        o->definition.hash_rule_count = 1;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const Headgate__HashOn *h = m->balancing->hash[i];
        const char *name = "";
        switch (h->kind_case) {
        case HEADGATE__HASH_ON__KIND_HEADER: rules[i].kind = HASH_HEADER, name = h->header; break;
        case HEADGATE__HASH_ON__KIND_COOKIE: rules[i].kind = HASH_COOKIE, name = h->cookie; break;
        case HEADGATE__HASH_ON__KIND_QUERY: rules[i].kind = HASH_QUERY, name = h->query; break;
        case HEADGATE__HASH_ON__KIND_ADDRESS: rules[i].kind = HASH_ADDRESS; break;
        default: rules[i].kind = HASH_PATH; break;
        }
        rules[i].name = arena_str(&o->arena, str_of(name));
        if (!rules[i].name.p)
            return -1;
    }
    o->definition.hash_rule_count = (uint32_t)count;
    return 0;
}

static int take_sticky(struct owned_definition *o, const struct resource *cluster, const struct resource *secret,
                       const struct cluster_definition *previous, struct error_list *errors) {
    const struct owned_definition *before = (const struct owned_definition *)previous;
    struct cluster_definition *d = &o->definition;
    if (!((const Headgate__Cluster *)cluster->message)->sticky)
        return 0;
    if (secret)
        o->sticky_id = secret->id;
    if (before && !resource_id_equal(&before->sticky_id, &o->sticky_id))
        previous = NULL;
    d->sticky = snapshot_sticky_make(&o->arena, cluster, secret, d->members, previous, errors);
    return d->sticky ? 0 : -1;
}

/* What HTTP/3 and its fallback have of their own. */
static void fill_http3(struct owned_definition *o, const Headgate__Cluster *m, const struct settings *settings) {
    struct cluster_definition *d = &o->definition;
    const Headgate__Http3Fallback *fallback = m->http3_fallback;
    http3_options_init(&o->http3, m->http3, settings->limits.header_bytes);
    quic_options_init(&o->quic, m->quic, m->http3, 0); /* a cluster has no server id, which is all that could be wrong */
    d->options.http3 = &o->http3;
    d->options.quic = &o->quic;
    d->codec = &h3_client_codec;
    if (fallback)
        d->fallback = (struct fallback_rules){.codec = &h2_client_codec, .after = fallback->after,
                                              .remember = fallback->remember, .remember_most = fallback->remember_most};
}

static void fill_options(struct owned_definition *o, const Headgate__Cluster *m, const struct settings *settings) {
    struct cluster_definition *d = &o->definition;
    bool is_http3 = m->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP3;
    bool is_http2 = m->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP2 || (is_http3 && m->http3_fallback);
    const struct timeouts *t = &settings->timeouts;
    d->options = (struct client_options){
        .connect_timeout = m->has_connect_timeout ? m->connect_timeout : 0,
        .idle_timeout = m->idle_timeout,
        .write_timeout = t->write,
        .header_bytes = settings->limits.header_bytes,
        .headers = settings->limits.headers,
        .trailer_bytes = settings->limits.trailer_bytes,
        .proxy_version = m->send_proxy == HEADGATE__CLUSTER__SEND_PROXY__SEND_V1   ? 1
                         : m->send_proxy == HEADGATE__CLUSTER__SEND_PROXY__SEND_V2 ? 2
                                                                                   : 0,
        .http2 = is_http2 ? &o->http2 : NULL,
    };
    if (is_http2)
        http2_options_init(&o->http2, m->http2, settings->limits.header_bytes);
    d->tunnel_codec = &raw_client_codec;
    d->idle_timeout = m->idle_timeout;
    d->connection_lifetime = m->connection_lifetime;
    d->idle_connections = m->idle_connections;
    d->requests_per_connection = m->requests_per_connection;
    d->codec = is_http2 ? &h2_client_codec : &h1_client_codec;
    if (is_http3)
        fill_http3(o, m, settings);
}

static bool is_good_fallback(const Headgate__Http3Fallback *m) {
    return m->after <= FALLBACK_TIME_MOST && m->remember <= FALLBACK_TIME_MOST && m->remember_most <= FALLBACK_TIME_MOST;
}

static int check_served(const Headgate__Cluster *m, const char *name, struct error_list *errors) {
    size_t before = errors->count;
    bool is_http3 = m->protocol == HEADGATE__CLUSTER__PROTOCOL__HTTP3;
    if (is_http3 && m->send_proxy != HEADGATE__CLUSTER__SEND_PROXY__SEND_OFF)
        fault(errors, "cluster", name, "send_proxy", ERROR_CONFLICT, "there is no PROXY header over UDP");
    if (m->http3_fallback && !is_good_fallback(m->http3_fallback))
        fault(errors, "cluster", name, "http3_fallback", ERROR_RANGE, "no time of it is above 30 days");
    if (m->breakers && (!m->breakers->connections || !m->breakers->requests || !m->breakers->pending))
        fault(errors, "cluster", name, "breakers", ERROR_RANGE, "connections, requests and pending are at least 1");
    return errors->count == before ? 0 : -1;
}

static int check_outliers(const Headgate__OutlierDetection *m, const char *name, struct error_list *errors) {
    const struct {
        bool is_good;
        const char *path, *message;
    } checks[] = {
        {m->consecutive_5xx <= OUTLIER_ROW_MOST, "outliers.consecutive_5xx", "at most 1000000 can be counted"},
        {m->consecutive_gateway_failures <= OUTLIER_ROW_MOST, "outliers.consecutive_gateway_failures",
         "at most 1000000 can be counted"},
        {m->consecutive_local_failures <= OUTLIER_ROW_MOST, "outliers.consecutive_local_failures",
         "at most 1000000 can be counted"},
        {m->interval >= OUTLIER_TIME_LEAST, "outliers.interval", "at least 1 ms is needed"},
        {m->failure_percent <= 100, "outliers.failure_percent", "a percentage is needed"},
        {m->base_ejection >= OUTLIER_TIME_LEAST, "outliers.base_ejection", "at least 1 ms is needed"},
        {m->max_ejection >= OUTLIER_TIME_LEAST, "outliers.max_ejection", "at least 1 ms is needed"},
        {m->max_ejected_percent <= 100, "outliers.max_ejected_percent", "a percentage is needed"},
    };
    size_t before = errors->count;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!checks[i].is_good)
            fault(errors, "cluster", name, checks[i].path, ERROR_RANGE, checks[i].message);
    return errors->count == before ? 0 : -1;
}

static int fill_outliers(struct cluster_definition *d, const Headgate__OutlierDetection *m, struct error_list *errors) {
    if (!m)
        return 0;
    d->outliers = (struct outlier_rules){
        .is_on = true,
        .has_intervals = m->success_rate_factor || m->failure_percent || m->latency_factor,
        .consecutive_5xx = m->consecutive_5xx,
        .consecutive_gateway_failures = m->consecutive_gateway_failures,
        .consecutive_local_failures = m->consecutive_local_failures,
        .interval = m->interval,
        .success_rate_factor = m->success_rate_factor,
        .failure_percent = m->failure_percent,
        .latency_factor = m->latency_factor,
        .min_endpoints = m->min_endpoints,
        .min_requests = m->min_requests,
        .base_ejection = m->base_ejection,
        .max_ejection = m->max_ejection,
        .max_ejected_percent = m->max_ejected_percent,
    };
    return check_outliers(m, d->name.p ? d->name.p : "", errors);
}

/* What a definition is made of. */
struct ingredients {
    const struct resource *cluster, *endpoints, *secret; /* the last two may be NULL */
    struct cluster_tls     tls;
};

/* The TLS of `from` is the definition's from here on. */
static struct cluster_definition *make(struct ingredients *from, const struct cluster_definition *previous,
                                       const struct snapshot *s, struct error_list *errors) {
    const struct resource *cluster = from->cluster, *endpoints = from->endpoints;
    const Headgate__Cluster *m = (const Headgate__Cluster *)cluster->message;
    struct owned_definition *o = hg_calloc(1, sizeof *o);
    if (!o) {
        cluster_tls_finish(&from->tls);
        return NULL;
    }
    struct cluster_definition *d = &o->definition;
    d->references = 1;
    d->serial = ++next_serial;
    d->name = arena_str(&o->arena, str_of(cluster->name));
    o->cluster_id = cluster->id;
    if ((o->has_endpoints = endpoints != NULL))
        o->endpoints_id = endpoints->id;
    if ((o->has_settings = s->settings_resource != NULL))
        o->settings_id = s->settings_resource->id;
    fill_options(o, m, &s->settings);
    breakers_fill(&d->breakers, m->breakers);
    cluster_tls_move(&from->tls, d);
    int status = check_served(m, cluster->name, errors);
    if (fill_outliers(d, m->outliers, errors) < 0)
        status = -1;
    if (!d->name.p || take_members(o, cluster, endpoints, previous, errors) < 0 || fill_hash_rules(o, m) < 0 ||
        take_sticky(o, cluster, from->secret, previous, errors) < 0)
        status = -1;
    if (!d->name.p || slot_of(d->name, &d->slot) < 0 || status < 0) {
        cluster_definition_unref(d);
        return NULL;
    }
    return d;
}

static bool is_same(const struct cluster_definition *d, const struct ingredients *from, const struct resource *settings) {
    const struct owned_definition *o = (const struct owned_definition *)d;
    if (!cluster_tls_is_of(&from->tls, d) || !resource_id_equal(&o->cluster_id, &from->cluster->id) ||
        o->has_endpoints != (from->endpoints != NULL) || o->has_settings != (settings != NULL))
        return false;
    return (!from->endpoints || resource_id_equal(&o->endpoints_id, &from->endpoints->id)) &&
           (!d->sticky || (from->secret && resource_id_equal(&o->sticky_id, &from->secret->id))) &&
           (!settings || resource_id_equal(&o->settings_id, &settings->id));
}

/* Takes the previous definition `d` over, or makes one. NULL: errors has more now, or memory is short. */
static struct cluster_definition *reuse_or_make(struct snapshot *s, struct ingredients *from,
                                                const struct resource_set *resources, struct cluster_definition *d,
                                                struct error_list *errors) {
    if (cluster_tls_make(from->cluster, resources, &from->tls, errors) < 0)
        return NULL;
    if (d && is_same(d, from, s->settings_resource)) {
        cluster_tls_finish(&from->tls);
        d->references++;
        return d;
    }
    if (!d || !resource_id_equal(&((const struct owned_definition *)d)->cluster_id, &from->cluster->id))
        s->has_other_clusters = true;
    d = make(from, d, s, errors);
    if (d)
        s->changed[s->changed_count++] = d;
    return d;
}

/* ---- groups of definitions ---- */

static void group_unref(struct definition_group *g) {
    if (--g->references)
        return;
    for (size_t i = 0; i < g->count; i++)
        cluster_definition_unref(g->definitions[i]);
    hg_free(g);
}

static int make_room(struct snapshot *s, size_t clusters) {
    s->clusters = arena_alloc(&s->arena, (clusters + 1) * sizeof *s->clusters);
    s->changed = arena_alloc(&s->arena, (clusters + 1) * sizeof *s->changed);
    s->groups = arena_alloc(&s->arena, (clusters / DEFINITIONS_OF_GROUP + 1) * sizeof *s->groups);
    return s->clusters && s->changed && s->groups ? 0 : -1;
}

/* Takes the definition over. 0, or -1 without memory. */
static int add_definition(struct snapshot *s, struct cluster_definition *d) {
    if (s->cluster_count % DEFINITIONS_OF_GROUP == 0) {
        struct definition_group *g = hg_malloc(sizeof *g);
        if (!g) {
            cluster_definition_unref(d);
            return -1;
        }
        g->references = 1;
        g->count = 0;
        s->groups[s->group_count++] = g;
    }
    struct definition_group *g = s->groups[s->group_count - 1];
    g->definitions[g->count++] = d;
    s->clusters[s->cluster_count++] = d;
    return 0;
}

/* The group becomes this snapshot's alone. */
static struct definition_group *own_group(struct snapshot *s, size_t at) {
    struct definition_group *shared = s->groups[at];
    if (shared->references == 1)
        return shared;
    struct definition_group *own = hg_memdup(shared, sizeof *own);
    if (!own)
        return NULL;
    own->references = 1;
    for (size_t i = 0; i < own->count; i++)
        own->definitions[i]->references++;
    shared->references--;
    return s->groups[at] = own;
}

/* Takes the definition over in place of the one that is there. 0, or -1 without memory. */
static int replace_definition(struct snapshot *s, size_t place, struct cluster_definition *d) {
    struct definition_group *g = own_group(s, place / DEFINITIONS_OF_GROUP);
    if (!g) {
        cluster_definition_unref(d);
        return -1;
    }
    cluster_definition_unref(g->definitions[place % DEFINITIONS_OF_GROUP]);
    g->definitions[place % DEFINITIONS_OF_GROUP] = d;
    s->clusters[place] = d;
    return 0;
}

void snapshot_drop_clusters(struct snapshot *s) {
    for (size_t i = 0; i < s->group_count; i++)
        group_unref(s->groups[i]);
}

/* ---- all of them ----
 * Clusters, their endpoint sets and the definitions of before are all in the order of their names, so that one walk over the
 * three finds what belongs together: most snapshots differ from the one before in one endpoint. */

/* The one of that name, at the front of the range if it is there. Names are asked for in order. */
static const struct resource *take_named(struct resource_range *range, const char *name) {
    int order = -1;
    while (range->count && (order = strcmp(range->items[0]->name, name)) < 0) {
        range->items++;
        range->count--;
    }
    return order == 0 ? range->items[0] : NULL;
}

/* Likewise; *at moves on. Those before it have left. NULL `name`: all have. */
static struct cluster_definition *take_previous(struct snapshot *s, const struct snapshot *previous, size_t *at,
                                                const char *name) {
    int order = -1;
    while (previous && *at < previous->cluster_count &&
           (order = name ? strcmp(previous->clusters[*at]->name.p, name) : -1) < 0)
        s->dropped[s->dropped_count++] = previous->clusters[(*at)++]->slot;
    return order == 0 ? previous->clusters[(*at)++] : NULL;
}

struct cluster_definition *snapshot_find_cluster(const struct snapshot *s, struct str name, size_t *ret_place) {
    size_t low = 0, high = s->cluster_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(s->clusters[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_place = low;
    return low < s->cluster_count && str_eq(s->clusters[low]->name, name) ? s->clusters[low] : NULL;
}

/* ---- only endpoints have changed ----
 * Then nothing is looked at but what has changed. */

struct change {
    struct snapshot           *snapshot;
    const struct snapshot     *previous;
    const struct resource_set *resources;
    struct resource_range      clusters;
    struct error_list         *errors;
};

static bool is_same_list(struct resource *const *a, size_t a_count, struct resource *const *b, size_t b_count) {
    return a_count == b_count && memcmp(a, b, a_count * sizeof *a) == 0;
}

/* What stands before and behind the endpoint sets of the state. */
static bool has_same_rest(const struct resource_part *a, const struct resource_part *b) {
    const Headgate__Kind kind = HEADGATE__KIND__KIND_ENDPOINT_SET, next = (Headgate__Kind)(kind + 1);
    size_t a_end = resource_part_position(a, next, ""), b_end = resource_part_position(b, next, "");
    return is_same_list(a->items, resource_part_position(a, kind, ""), b->items, resource_part_position(b, kind, "")) &&
           is_same_list(a->items + a_end, a->count - a_end, b->items + b_end, b->count - b_end);
}

static bool only_endpoints_differ(const struct snapshot *previous, const struct resource_set *resources) {
    return previous && previous->intent.items && previous->intent.items == resources->intent.items &&
           previous->state.items && resources->state.items && has_same_rest(&previous->state, &resources->state);
}

static int change_one(struct change *c, const char *name) {
    struct snapshot *s = c->snapshot;
    size_t place;
    struct cluster_definition *d = snapshot_find_cluster(s, str_of(name), &place);
    if (!d)
        return 0; /* a set without a cluster */
    struct ingredients from = {
        .cluster = c->clusters.items[place],
        .endpoints = resource_set_find(c->resources, HEADGATE__KIND__KIND_ENDPOINT_SET, name),
        .secret = snapshot_sticky_secret(c->resources)};
    struct cluster_definition *made = reuse_or_make(s, &from, c->resources, d, c->errors);
    return made ? replace_definition(s, place, made) : -1;
}

/* Of both lists, each in order of names, those resources that are not the same. */
static int change_those(struct change *c, struct resource_range before, struct resource_range now) {
    int status = 0;
    while (before.count || now.count) {
        int order = !before.count ? 1 : !now.count ? -1 : 0;
        bool is_same = order == 0 && before.items[0] == now.items[0];
        if (order == 0 && !is_same)
            order = strcmp(before.items[0]->name, now.items[0]->name);
        if (!is_same && change_one(c, order < 0 ? before.items[0]->name : now.items[0]->name) < 0)
            status = -1;
        size_t from_before = order <= 0, from_now = order >= 0;
        before = (struct resource_range){before.items + from_before, before.count - from_before};
        now = (struct resource_range){now.items + from_now, now.count - from_now};
    }
    return status;
}

static int follow_clusters(struct change *c) {
    struct snapshot *s = c->snapshot;
    const struct snapshot *previous = c->previous;
    if (make_room(s, previous->cluster_count) < 0)
        return -1;
    for (; s->group_count < previous->group_count; s->group_count++) {
        s->groups[s->group_count] = previous->groups[s->group_count];
        s->groups[s->group_count]->references++;
    }
    if ((s->cluster_count = previous->cluster_count))
        memcpy(s->clusters, previous->clusters, s->cluster_count * sizeof *s->clusters);
    return change_those(c, resource_part_of_kind(&c->previous->state, HEADGATE__KIND__KIND_ENDPOINT_SET),
                        resource_part_of_kind(&c->resources->state, HEADGATE__KIND__KIND_ENDPOINT_SET));
}

int snapshot_build_clusters(struct snapshot *s, const struct resource_set *resources, const struct snapshot *previous,
                            struct error_list *errors) {
    struct resource_range range = resource_part_of_kind(&resources->intent, HEADGATE__KIND__KIND_CLUSTER);
    struct resource_range declared = resource_part_of_kind(&resources->intent, HEADGATE__KIND__KIND_ENDPOINT_SET);
    struct resource_range found = resource_part_of_kind(&resources->state, HEADGATE__KIND__KIND_ENDPOINT_SET);
    const struct resource *secret = snapshot_sticky_secret(resources);
    size_t before = 0;
    int status = 0;
    if (only_endpoints_differ(previous, resources))
        return follow_clusters(&(struct change){s, previous, resources, range, errors});
    s->dropped = arena_alloc(&s->arena, ((previous ? previous->cluster_count : 0) + 1) * sizeof *s->dropped);
    if (make_room(s, range.count) < 0 || !s->dropped)
        return -1;
    for (size_t i = 0; i < range.count; i++) {
        const char *name = range.items[i]->name;
        const struct resource *of_state = take_named(&found, name), *of_intent = take_named(&declared, name);
        struct ingredients from = {
            .cluster = range.items[i], .endpoints = of_state ? of_state : of_intent, .secret = secret};
        struct cluster_definition *d = take_previous(s, previous, &before, name);
        d = reuse_or_make(s, &from, resources, d, errors);
        if (!d || add_definition(s, d) < 0)
            status = -1; /* the other faults are reported as well */
    }
    take_previous(s, previous, &before, NULL);
    s->has_other_clusters |= s->dropped_count > 0;
    return status;
}
