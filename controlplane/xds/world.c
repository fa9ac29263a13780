/* The world as a whole: its life, the machine that counts, and the order in which things are done. */
#include "controlplane/xds/world.h"

#include "common/alloc.h"
#include "controlplane/xds/world_internal.h"

#define SECONDS(n) (UINT64_C(1000000) * (n))
#define TYPE_URL "type.googleapis.com/"

void xds_world_options_defaults(struct xds_world_options *o) {
    *o = (struct xds_world_options){
        .wants_clusters = true, .wants_listeners = true,
        .hold = SECONDS(2), .reference_wait = SECONDS(15), .removal_wait = SECONDS(15), .settle_wait = SECONDS(5),
        .retry_wait = SECONDS(1), .retry_wait_max = SECONDS(60), .refusal_wait = SECONDS(60),
        .linger = SECONDS(15), .lingering_max = 4096,
    };
}

/* They are wanted as long as the world lives, as if they were fed. */
static int want_runtimes(struct xds_world *w) {
    for (size_t i = 0; i < w->o.layer_count; i++) {
        if (w->o.layers[i].values)
            continue;
        struct world_item *it = world_item_get(w, XDS_RUNTIMES, str_of(w->o.layers[i].name));
        if (!it)
            return -1;
        it->is_fed = true;
    }
    return 0;
}

struct xds_world *xds_world_create(const struct xds_world_options *o) {
    struct xds_world *w = hg_calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->o = *o;
    w->look_at = w->resync_at = UINT64_MAX;
    w->limit = SIZE_MAX;
    for (size_t i = 0; i < XDS_ROLES; i++)
        w->roles[i].number = i;
    world_serve_feed(w);
    if (want_runtimes(w) == 0 && world_begin_values(w) == 0)
        return w;
    xds_world_destroy(w);
    return NULL;
}

static void drop_all_made(struct world_item *it) {
    world_made_replace(&it->held, NULL);
    world_made_replace(&it->used, NULL);
    world_made_replace(&it->pushed, NULL);
    world_made_replace(&it->judged, NULL);
}

void xds_world_destroy(struct xds_world *w) {
    if (!w)
        return;
    w->is_destroyed = true;
    endpoint_feed_serve(w->o.feed, NULL);
    for (size_t i = 0; i < XDS_ROLES; i++)
        for (struct world_item *it = w->roles[i].first; it; it = it->next)
            drop_all_made(it);
    for (size_t i = 0; i < XDS_ROLES; i++) {
        while (w->roles[i].first)
            world_item_destroy(w->roles[i].first, w);
        map_finish(&w->roles[i].by_name);
    }
    map_finish(&w->slots);
    map_finish(&w->secrets);
    strbuf_finish(&w->complaint);
    xds_runtime_finish(&w->runtime);
    hg_free(w);
}

/* ---- machines ---- */

static const char *const type_urls[XDS_ROLES] = {
    [XDS_CLUSTERS] = TYPE_URL "envoy.config.cluster.v3.Cluster",
    [XDS_ENDPOINTS] = TYPE_URL "envoy.config.endpoint.v3.ClusterLoadAssignment",
    [XDS_LISTENERS] = TYPE_URL "envoy.config.listener.v3.Listener",
    [XDS_SCOPES] = TYPE_URL "envoy.config.route.v3.ScopedRouteConfiguration",
    [XDS_ROUTES] = TYPE_URL "envoy.config.route.v3.RouteConfiguration",
    [XDS_HOSTS] = TYPE_URL "envoy.config.route.v3.VirtualHost",
    [XDS_SECRETS] = TYPE_URL "envoy.extensions.transport_sockets.tls.v3.Secret",
    [XDS_EXTENSIONS] = TYPE_URL "envoy.config.core.v3.TypedExtensionConfig",
    [XDS_RUNTIMES] = TYPE_URL "envoy.service.runtime.v3.Runtime",
};

const char *xds_world_type_url(enum xds_role role) {
    return type_urls[role];
}

/* What no data plane can refuse is acknowledged when it is translated. */
static bool is_held(enum xds_role role) {
    return role != XDS_ENDPOINTS && role != XDS_EXTENSIONS && role != XDS_RUNTIMES;
}

enum xds_result xds_world_add_types(struct xds_world *w, struct xds_protocol *p) {
    enum xds_result result = XDS_OK;
    for (size_t i = 0; i < XDS_ROLES && result == XDS_OK; i++) {
        const struct xds_type_options o = {.type_url = str_of(type_urls[i]),
                                           .is_complete = i == XDS_CLUSTERS || i == XDS_LISTENERS || i == XDS_SCOPES,
                                           .is_wildcard_explicit = i == XDS_HOSTS,
                                           .is_held = is_held((enum xds_role)i)};
        result = xds_protocol_add_type(p, &o, &w->roles[i].number);
    }
    return result;
}

static void subscribe_to_all(struct xds_world *w, enum xds_role role) {
    if (world_is_root(w, role) && xds_protocol_subscribe(w->p, w->roles[role].number, STR("*")) != XDS_OK)
        world_resync_later(w);
}

void xds_world_use(struct xds_world *w, struct xds_protocol *p, const char *server, uint64_t now) {
    w->p = p;
    w->now = now;
    w->epoch++;
    w->is_settled = false;
    w->answering_since = w->complete_since = 0;
    w->answered = w->have_answered = w->parts_answered = 0;
    w->have_all_answered = w->have_all_ever_answered = false;
    endpoint_feed_set_name(w->o.feed, p ? server : "");
    for (size_t i = 0; i < XDS_ROLES; i++)
        for (struct world_item *it = w->roles[i].first; it; it = it->next)
            it->is_subscribed = false;
    if (!p)
        return;
    subscribe_to_all(w, XDS_CLUSTERS);
    subscribe_to_all(w, XDS_LISTENERS);
    world_resync(w);
    xds_world_follow(w, now);
}

/* ---- what the server has said ---- */

static unsigned bit_of(int role) {
    return 1U << role;
}

/* An answer without news is one, too. A stream that has begun, and its first answer, begin a wait for the others. */
static void note_answers(struct xds_world *w) {
    unsigned roots = 0, answered = 0;
    for (int role = 0; role < XDS_ROLES; role++)
        if (world_is_root(w, (enum xds_role)role)) {
            roots |= bit_of(role);
            answered |= xds_protocol_has_answered(w->p, w->roles[role].number) ? bit_of(role) : 0;
        }
    if (answered == w->answered)
        return;
    if (w->answered == 0 || (w->answered & ~answered) != 0)
        w->answering_since = w->now;
    w->is_dirty = true;
    w->answered = answered;
    w->have_answered |= answered;
    w->have_all_answered = answered == roots;
    w->have_all_ever_answered = w->have_answered == roots;
}

/* Whether all that there is was said. A server that goes on where it was says nothing of a type that has not changed, so
 * after a while the answers of an earlier stream count, too. */
static bool is_complete(struct xds_world *w) {
    uint64_t until = w->answering_since + w->o.settle_wait;
    if (!w->have_all_answered && !w->have_all_ever_answered)
        return false;
    if (!w->have_all_answered && w->now < until) {
        world_look_at(w, until);
        return false;
    }
    w->complete_since = w->complete_since ? w->complete_since : w->now;
    return true;
}

/* What another server had and this one has not mentioned is gone. */
static void settle(struct xds_world *w) {
    w->is_settled = true;
    for (int role = 0; role < XDS_ROLES; role++)
        for (struct world_item *it = w->roles[role].first; it; it = it->next) {
            if (!world_is_root(w, it->role) || it->epoch == w->epoch || (!it->held && !it->used))
                continue;
            it->is_gone = true;
            it->epoch = w->epoch;
            it->changed_at = w->now;
            world_made_replace(&it->held, NULL);
        }
}

/* ---- deciding ---- */

/* The first set of a server that has nothing waits: there may be something from before that is better. */
static bool is_first_too_early(struct xds_world *w) {
    bool is_empty = w->differing == 0;
    if (!w->is_settled || w->waiting > 0 || world_lacks_values(w))
        return true;
    if (is_empty && w->now < w->complete_since + w->o.removal_wait) {
        world_look_at(w, w->complete_since + w->o.removal_wait);
        return true;
    }
    return false;
}

static void act(struct xds_world *w) {
    w->holds_back = w->ticket < xds_protocol_ticket(w->p);
    if (!w->has_layer && is_first_too_early(w))
        return;
    if (w->differing > 0 || !w->has_layer)
        world_push(w);
    else
        xds_protocol_ready(w->p, w->ticket);
}

static void decide(struct xds_world *w) {
    w->look_at = UINT64_MAX;
    bool has_said_all = is_complete(w);
    if (!has_said_all)
        w->is_settled = false;
    world_decide(w);
    if (has_said_all && !w->is_settled && w->waiting == 0) {
        settle(w);
        world_decide(w);
    }
    act(w);
}

static bool must_decide(const struct xds_world *w) {
    return w->p && !w->is_pushing && (w->is_dirty || w->look_at <= w->now) && w->retry_at <= w->now;
}

/* Returns whether there may be news, or something that has parts was made without them. */
static bool compose(struct xds_world *w) {
    bool is_refused = world_compose(w);
    return world_follow_listeners(w) || is_refused;
}

static void take_in(struct xds_world *w) {
    if (w->p) {
        world_take_news(w);
        note_answers(w);
        world_settle_parts(w);
    }
    world_follow_values(w);
    while (w->p && compose(w))
        world_take_news(w);
    world_sweep(w);
}

/* A response that brings nothing new makes nobody decide: with all that came before in use, so is what it has. */
static void acknowledge_the_same(struct xds_world *w) {
    bool is_in_use = w->has_layer && !w->is_pushing && !w->is_dirty && w->differing == 0;
    if (w->p && is_in_use && !w->holds_back)
        xds_protocol_ready(w->p, xds_protocol_ticket(w->p));
}

void xds_world_follow(struct xds_world *w, uint64_t now) {
    w->now = now;
    world_take_reply(w);
    if (w->p && w->resync_at <= now) {
        subscribe_to_all(w, XDS_CLUSTERS);
        subscribe_to_all(w, XDS_LISTENERS);
        world_resync(w);
    }
    take_in(w);
    while (must_decide(w)) {
        decide(w);
        world_take_reply(w);
        take_in(w);
    }
    acknowledge_the_same(w);
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

uint64_t xds_world_deadline(const struct xds_world *w) {
    uint64_t at = w->p ? w->resync_at : UINT64_MAX;
    bool is_to_decide = w->p && !w->is_pushing;
    if (w->p && w->lingering_first && !w->touched)
        at = earlier(at, w->lingering_first->lingers_until);
    uint64_t decide_at = w->is_dirty ? 0 : w->look_at;
    if (is_to_decide && decide_at != UINT64_MAX)
        at = earlier(at, decide_at > w->retry_at ? decide_at : w->retry_at);
    return w->reply != WORLD_NO_REPLY ? 0 : at;
}

/* ---- for status ---- */

size_t xds_world_type(const struct xds_world *w, enum xds_role role) {
    return w->roles[role].number;
}

const struct xds_protocol *xds_world_protocol(const struct xds_world *w) {
    return w->p;
}

const char *xds_world_waits_for(const struct xds_world *w, enum xds_role role, struct str name) {
    const struct world_item *it = world_item_find(w, role, name);
    return it && it->held && it->held != it->used ? it->waits_for : NULL;
}

bool xds_world_has_keys(const struct xds_world *w, enum xds_role role, struct str name) {
    const struct world_item *it = world_item_find(w, role, name);
    bool may_have = role == XDS_CLUSTERS || role == XDS_LISTENERS;
    return role == XDS_SECRETS || (may_have && (!it || !it->held || it->held->has_keys));
}

const struct xds_world_counters *xds_world_counters(const struct xds_world *w) {
    return &w->counters;
}
