/* world_play.h — a server, a machine, the world and an engine together, with a clock of the test's. */
#pragma once

#include "tests/unit/controlplane/xds/world_engine.h"

static const char *const role_urls[XDS_ROLES] = {
    [XDS_CLUSTERS] = "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    [XDS_ENDPOINTS] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    [XDS_LISTENERS] = "type.googleapis.com/envoy.config.listener.v3.Listener",
    [XDS_SCOPES] = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration",
    [XDS_ROUTES] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    [XDS_HOSTS] = "type.googleapis.com/envoy.config.route.v3.VirtualHost",
    [XDS_SECRETS] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
    [XDS_EXTENSIONS] = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
    [XDS_RUNTIMES] = "type.googleapis.com/envoy.service.runtime.v3.Runtime",
};

/* One that joins the feed. */
struct joined {
    struct endpoint_feed_member member;
    char                        address[64];    /* of the endpoint that was found last */
    uint32_t                    weight;
    unsigned                    found, failed;
};

struct play {
    struct xds_options       machine;
    struct xds_world_options o;
    struct xds_world        *w;
    struct xds_protocol     *p;
    struct fake_engine       e;
    struct endpoint_feed    *feed;
    uint64_t                 now;
    unsigned                 nonces;
    struct xds_request       last[XDS_ROLES];   /* their views are gone */
    char                     names[XDS_ROLES][64];  /* of the last request, in order */
    bool                     was_refused[XDS_ROLES];
    char                     reason[XDS_ROLES][256];
    unsigned                 answers[XDS_ROLES]; /* requests with a nonce that is an answer: ACK or NACK */
};

static inline void play_options(struct play *y, enum xds_form form, bool is_aggregated) {
    *y = (struct play){.now = 1000 * SECOND, .e.is_at_once = true};
    xds_options_defaults(&y->machine);
    y->machine.form = form;
    y->machine.is_aggregated = is_aggregated;
    y->machine.request_tokens = 0;
    xds_world_options_defaults(&y->o);
    y->o.translations = small_translations;
}

static inline struct xds_protocol *play_machine(struct play *y) {
    struct xds_protocol *p = xds_protocol_create(&y->machine, xds_world_judge, y->w, y->now);
    if (p && xds_world_add_types(y->w, p) != XDS_OK) {
        xds_protocol_destroy(p);
        p = NULL;
    }
    return p;
}

static inline void play_open(struct play *y) {
    for (size_t i = 0; i < xds_protocol_stream_count(y->p); i++)
        if (xds_protocol_is_due(y->p, i, y->now))
            xds_protocol_opened(y->p, i);
}

/* false without memory. */
static inline bool play_begin(struct play *y) {
    y->o.sink = (struct xds_world_sink){&y->e, fake_set_layer, fake_set_secret, fake_drop_secret, fake_changed};
    y->feed = endpoint_feed_create();
    y->o.feed = y->feed;
    y->w = y->feed ? xds_world_create(&y->o) : NULL;
    y->p = y->w ? play_machine(y) : NULL;
    if (!y->p)
        return false;
    xds_world_use(y->w, y->p, "xds.test:1", y->now);
    play_open(y);
    return true;
}

static inline void play_end(struct play *y) {
    xds_world_destroy(y->w);
    xds_protocol_destroy(y->p);
    endpoint_feed_destroy(y->feed);
    config_resources_finish(&y->e.set);
    config_resources_finish(&y->e.asked);
}

static inline int compare_names(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static inline void note_request(struct play *y, const struct xds_request *r) {
    size_t role = 0;
    struct str sorted[32];
    while (!str_eq(r->type_url, str_of(role_urls[role])))
        role++;
    y->last[role] = *r;
    y->was_refused[role] = r->is_refusal;
    snprintf(y->reason[role], sizeof y->reason[role], "%.*s", STR_FMT(r->error));
    y->names[role][0] = '\0';
    if (r->name_count > 32)     /* nobody compares so many */
        return;
    if (r->name_count)
        memcpy(sorted, r->names, r->name_count * sizeof *sorted);
    qsort(sorted, r->name_count, sizeof *sorted, compare_names);
    for (size_t i = 0; i < r->name_count; i++) {
        size_t n = strlen(y->names[role]);
        snprintf(y->names[role] + n, sizeof y->names[role] - n, "%s%.*s", n ? " " : "", STR_FMT(sorted[i]));
    }
}

/* Follows and sends until nothing is left to be sent. */
static inline void follow(struct play *y) {
    struct xds_request r;
    bool is_any = true;
    while (is_any) {
        is_any = false;
        xds_world_follow(y->w, y->now);
        for (size_t i = 0; i < xds_protocol_stream_count(y->p); i++)
            while (xds_protocol_next_request(y->p, i, y->now, &r) == 1) {
                note_request(y, &r);
                xds_protocol_sent(y->p, i, y->now);
                is_any = true;
            }
    }
    assert_true(xds_world_deadline(y->w) > y->now);
}

static inline void play_time(struct play *y, uint64_t microseconds) {
    y->now += microseconds;
    xds_protocol_advance(y->p, y->now);
    follow(y);
}

/* What stands in `said`, by bars: "name:a v:1 | -b", the latter removed (delta only). */
static inline void says(struct play *y, enum xds_role role, const char *said) {
    struct xds_response_resource resources[SAID_MAX];
    struct str removed[SAID_MAX], texts = str_of(said);
    char nonce[16], names[SAID_MAX][32];
    snprintf(nonce, sizeof nonce, "%u", ++y->nonces);
    struct xds_response r = {.type_url = str_of(role_urls[role]), .version = str_of(nonce), .nonce = str_of(nonce),
                             .resources = resources, .removed = removed};
    while (texts.n) {
        struct str text = str_trim(str_cut(&texts, '|'));
        if (text.n && text.p[0] == '-') {
            removed[r.removed_count++] = (struct str){text.p + 1, text.n - 1};
        } else if (text.n) {
            char *name = names[r.resource_count];
            assert_int_equal(sscanf(text.p, "name:%31s", name), 1);
            resources[r.resource_count++] = (struct xds_response_resource){
                .name = str_of(name), .type_url = r.type_url, .version = r.nonce, .bytes = text, .has_body = true};
        }
    }
    xds_protocol_receive(y->p, xds_protocol_stream_of(y->p, role), &r, y->now);
    follow(y);
}

static inline void play_reopen(struct play *y) {
    for (size_t i = 0; i < xds_protocol_stream_count(y->p); i++)
        xds_protocol_closed(y->p, i, STR("cut"), y->now);
    follow(y);
    y->now += 200 * SECOND;
    xds_protocol_advance(y->p, y->now);
    play_open(y);
    follow(y);
}

/* ---- what is in use ---- */

static inline const struct config_resource *in_use(const struct play *y, const char *label) {
    return find_by_label(&y->e.set, label);
}

/* The port of a listener in use, and its scopes' sum; 0: it is not there. */
static inline unsigned port_and_sum_of(const struct play *y, const char *label, unsigned *ret_sum) {
    const struct config_resource *r = in_use(y, label);
    unsigned port = 0;
    if (!r)
        return 0;
    Headgate__Listener *m = headgate__listener__unpack(NULL, r->size, r->bytes);
    assert_non_null(m);
    assert_int_equal(sscanf(m->addresses[0], "127.0.0.1:%u", &port), 1);
    *ret_sum = m->has_backlog ? m->backlog : 0;
    headgate__listener__free_unpacked(m, NULL);
    return port - 1;
}

static inline unsigned port_of(const struct play *y, const char *label) {
    unsigned sum;
    return port_and_sum_of(y, label, &sum);
}

/* Of the scopes of a listener that is there. */
static inline unsigned sum_of(const struct play *y, const char *label) {
    unsigned sum = 0;
    assert_int_not_equal(port_and_sum_of(y, label, &sum), 0);
    return sum;
}

/* The value of a cluster in use; UINT_MAX: it is not there, 0 less one: a stand-in. */
static inline unsigned cluster_value(const struct play *y, const char *label) {
    const struct config_resource *r = in_use(y, label);
    if (!r)
        return UINT32_MAX;
    Headgate__Cluster *m = headgate__cluster__unpack(NULL, r->size, r->bytes);
    assert_non_null(m);
    unsigned value = m->has_requests_per_connection ? m->requests_per_connection - 1 : UINT32_MAX - 1;
    headgate__cluster__free_unpacked(m, NULL);
    return value;
}

/* "v3.example" of a route table in use; "*": a stand-in; NULL: it is not there. */
static inline const char *domain_of(const struct play *y, const char *label) {
    static char text[64];
    const struct config_resource *r = in_use(y, label);
    if (!r)
        return NULL;
    Headgate__RouteTable *m = headgate__route_table__unpack(NULL, r->size, r->bytes);
    assert_non_null(m);
    snprintf(text, sizeof text, "%s", m->hosts[0]->domains[0]);
    headgate__route_table__free_unpacked(m, NULL);
    return text;
}

/* ---- the feed ---- */

static inline void on_found(void *owner, const Headgate__EndpointSet *set, uint64_t at) {
    struct joined *j = owner;
    assert_true(at > 0);
    j->found++;
    snprintf(j->address, sizeof j->address, "%s", set->n_endpoints ? set->endpoints[0]->address : "");
    j->weight = set->n_endpoints ? set->endpoints[0]->weight : 0;
}

static inline void on_failed(void *owner, const char *reason) {
    struct joined *j = owner;
    assert_true(strlen(reason) > 0);
    j->failed++;
}

static inline void join(struct play *y, struct joined *j, const char *service, bool is_weighted) {
    *j = (struct joined){.member = {j, is_weighted, on_found, on_failed, NULL, NULL, NULL}};
    assert_int_equal(endpoint_feed_join(y->feed, &j->member, service), 0);
    follow(y);
}

/* ---- beginnings ---- */

static inline void begin(struct play *y) {
    play_options(y, XDS_STATE_OF_THE_WORLD, true);
    assert_true(play_begin(y));
    follow(y);
}

/* What nobody needs is given up at once. */
static inline void begin_without_lingering(struct play *y, enum xds_form form) {
    play_options(y, form, true);
    y->o.linger = 0;
    assert_true(play_begin(y));
    follow(y);
}

/* One listener, its route table, a cluster with endpoints. */
static inline void says_all(struct play *y) {
    says(y, XDS_CLUSTERS, "name:c v:1 eds:e");
    says(y, XDS_LISTENERS, "name:l v:1 rds:r");
    says(y, XDS_ENDPOINTS, "name:e v:1");
    says(y, XDS_ROUTES, "name:r v:1 to:c");
    assert_int_equal(y->e.layers, 1);
    assert_int_equal(port_of(y, "listener/l"), 1);
    assert_string_equal(domain_of(y, "route-table/r"), "v1.example");
    assert_int_equal(cluster_value(y, "cluster/c"), 1);
}

static inline void begin_with_all(struct play *y) {
    begin(y);
    says_all(y);
}
