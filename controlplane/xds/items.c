/* Resources of the server, whether they are held or only needed, and what is asked for. */
#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/xds/world_internal.h"

bool world_is_root(const struct xds_world *w, enum xds_role role) {
    return (role == XDS_CLUSTERS && w->o.wants_clusters) || (role == XDS_LISTENERS && w->o.wants_listeners);
}

void world_resync_later(struct xds_world *w) {
    uint64_t at = w->now + w->o.retry_wait;
    w->resync_at = w->resync_at < at ? w->resync_at : at;
}

/* ---- life ---- */

struct world_item *world_item_find(const struct xds_world *w, enum xds_role role, struct str name) {
    return name.n ? map_get(&w->roles[role].by_name, name) : NULL;
}

static void link_item(struct world_role *r, struct world_item *it) {
    it->previous = r->last;
    *(r->last ? &r->last->next : &r->first) = it;
    r->last = it;
}

struct world_item *world_item_get(struct xds_world *w, enum xds_role role, struct str name) {
    struct world_item *it = world_item_find(w, role, name);
    if (it)
        return it;
    it = hg_malloc(sizeof *it + name.n + 1);
    if (!it)
        return NULL;
    char *text = (char *)(it + 1);
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    *it = (struct world_item){.role = role, .name = {text, name.n}};
    if (map_set(&w->roles[role].by_name, it->name, it) < 0) {
        hg_free(it);
        return NULL;
    }
    link_item(&w->roles[role], it);
    world_touch(w, it);
    return it;
}

static void stop_lingering(struct xds_world *w, struct world_item *it) {
    if (it->lingers_until == 0)
        return;
    *(it->linger_previous ? &it->linger_previous->linger_next : &w->lingering_first) = it->linger_next;
    *(it->linger_next ? &it->linger_next->linger_previous : &w->lingering_last) = it->linger_previous;
    it->linger_next = it->linger_previous = NULL;
    it->lingers_until = 0;
    w->lingering_count--;
}

/* What it has may let go of other items, so it is dropped by then. */
void world_item_destroy(struct world_item *it, struct xds_world *w) {
    struct world_role *r = &w->roles[it->role];
    stop_lingering(w, it);
    map_remove(&r->by_name, it->name);
    *(it->previous ? &it->previous->next : &r->first) = it->next;
    *(it->next ? &it->next->previous : &r->last) = it->previous;
    world_forget_endpoints(it);
    strbuf_finish(&it->blame);
    hg_free(it);
}

/* ---- what is asked for ---- */

void world_touch(struct xds_world *w, struct world_item *it) {
    if (it->is_touched)
        return;
    it->is_touched = true;
    it->next_touched = w->touched;
    w->touched = it;
}

static bool is_wanted(const struct xds_world *w, const struct world_item *it) {
    return !world_is_root(w, it->role) && it->role != XDS_CLUSTERS && it->role != XDS_LISTENERS
           && (it->needed > 0 || it->is_fed);
}

static void subscribe(struct xds_world *w, struct world_item *it) {
    switch (xds_protocol_subscribe(w->p, w->roles[it->role].number, it->name)) {
    case XDS_OK:
        it->is_subscribed = true;
        world_take_known(w, it);
        break;
    case XDS_NO_MEMORY:
        world_touch(w, it);
        world_resync_later(w);
        break;
    default:
        log_error("there is no room to ask for a resource", LOG_S("type", xds_world_type_url(it->role)),
                  LOG_S("name", it->name.p));
        it->known = WORLD_FAILING;
    }
}

/* Nobody needs it: what is held of it need not stay. */
static void give_up(struct xds_world *w, struct world_item *it) {
    bool was_subscribed = it->is_subscribed;
    stop_lingering(w, it);
    if (was_subscribed && w->p)
        xds_protocol_unsubscribe(w->p, w->roles[it->role].number, it->name);
    it->is_subscribed = false;
    if (world_is_part(it->role) && was_subscribed)
        world_drop_parts(w, it->role);
    if (it->role == XDS_CLUSTERS || it->role == XDS_LISTENERS || world_is_part(it->role))
        return;
    it->known = WORLD_UNKNOWN;
    world_made_replace(&it->held, NULL);
    world_forget_endpoints(it);
}

/* ---- lingering ---- */

/* What is gone is given up at once: there is nothing to come back to. */
static bool may_linger(const struct xds_world *w, const struct world_item *it) {
    bool is_asked = it->is_subscribed && w->p, is_over = it->lingers_until != 0 && it->lingers_until <= w->now;
    if (!is_asked || is_over || w->o.linger == 0)
        return false;
    const struct xds_resource *r = xds_protocol_find(w->p, w->roles[it->role].number, it->name);
    return str_eq(it->name, STR("*")) || (r && r->state != XDS_DOES_NOT_EXIST);
}

/* A name is often wanted again soon, and servers have been seen not to send again what they have sent before. */
static void linger(struct xds_world *w, struct world_item *it) {
    if (it->lingers_until != 0)
        return;
    it->lingers_until = w->now + w->o.linger;
    it->linger_previous = w->lingering_last;
    *(w->lingering_last ? &w->lingering_last->linger_next : &w->lingering_first) = it;
    w->lingering_last = it;
    w->lingering_count++;
}

static void touch_overdue(struct xds_world *w) {
    for (struct world_item *it = w->lingering_first; it && it->lingers_until <= w->now; it = it->linger_next)
        world_touch(w, it);
}

static void keep_within_limit(struct xds_world *w) {
    size_t excess = w->lingering_count > w->o.lingering_max ? w->lingering_count - w->o.lingering_max : 0;
    for (struct world_item *it = w->lingering_first; excess > 0; it = it->linger_next, excess--) {
        it->lingers_until = w->now;
        world_touch(w, it);
    }
}

/* ---- all that was touched ---- */

static bool is_idle(const struct world_item *it) {
    bool is_used = it->held || it->used || it->pushed;
    return !is_used && !it->needed && !it->is_fed && !it->is_touched && it->lingers_until == 0;
}

static void sweep_item(struct xds_world *w, struct world_item *it) {
    world_made_replace(&it->judged, NULL);
    if (is_wanted(w, it)) {
        stop_lingering(w, it);
        if (!it->is_subscribed && w->p)
            subscribe(w, it);
    } else if (may_linger(w, it)) {
        linger(w, it);
    } else {
        give_up(w, it);
    }
    if (is_idle(it))
        world_item_destroy(it, w);
}

void world_sweep(struct xds_world *w) {
    struct world_item *list;
    touch_overdue(w);
    while ((list = w->touched)) {
        w->touched = NULL;
        for (struct world_item *it = list, *next; it; it = next) {
            next = it->next_touched;
            it->is_touched = false;
            sweep_item(w, it);
        }
        keep_within_limit(w);
        if (w->resync_at != UINT64_MAX)
            return;
    }
}
