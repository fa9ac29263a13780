/* How long streams may be idle is said by a listener in Envoy, and by routes here. Routes that come by themselves (RDS) and
 * do not say it go by the longest of the listeners that have them: when that is another one, they are made anew. */
#include "controlplane/xds/world_internal.h"

bool world_is_current(const struct xds_world *w, const struct world_item *it, const struct world_made *made) {
    uint64_t idle = it->stream_idle ? it->stream_idle : XDS_STREAM_IDLE;
    return world_goes_by_values(w, made) && (!made->reads_stream_idle || made->stream_idle == idle);
}

static void take_longest(const struct world_made *listener) {
    for (size_t i = 0; listener && i < listener->need_count; i++) {
        struct world_item *routes = listener->needs[i];
        if (routes->role == XDS_ROUTES && routes->stream_idle < listener->stream_idle)
            routes->stream_idle = listener->stream_idle;
    }
}

bool world_follow_listeners(struct xds_world *w) {
    bool is_any_new = false;
    if (!w->is_dirty)
        return false;
    for (struct world_item *it = w->roles[XDS_ROUTES].first; it; it = it->next)
        it->stream_idle = 0;
    for (const struct world_item *it = w->roles[XDS_LISTENERS].first; it; it = it->next)
        take_longest(it->held);
    for (struct world_item *it = w->roles[XDS_ROUTES].first; it; it = it->next) {
        if (!it->held || world_is_current(w, it, it->held))
            continue;
        world_take_known(w, it);
        is_any_new |= it->held && world_is_current(w, it, it->held);
    }
    return is_any_new;
}
