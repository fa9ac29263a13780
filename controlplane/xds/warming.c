/* Which copy of each resource is used: the one that is held once it is complete (warm), until then the one before.
 *
 * A decision goes through all items, but only compares and counts: nothing is translated. Clusters come first, then route
 * tables, which want their clusters, then listeners, which want their route tables; at last clusters that are gone, which
 * stay for what still sends to them. */
#include "controlplane/xds/world_internal.h"

void world_look_at(struct xds_world *w, uint64_t at) {
    w->look_at = at < w->look_at ? at : w->look_at;
}

/* ---- warmth ---- */

static enum world_warmth worse(enum world_warmth a, enum world_warmth b) {
    return a > b ? a : b;
}

static enum world_warmth wait_for(struct world_item *it, const char *what) {
    it->waits_for = what;
    return WORLD_WAITING;
}

static bool is_refused(const struct xds_world *w, const struct world_item *it) {
    return it->retry_at > w->now;
}

/* The first copy does without what cannot be had, as Envoy does; a later one leaves the one before in place. */
static enum world_warmth without(struct world_item *it, const char *what) {
    if (!it->used)
        return WORLD_WARM;
    it->waits_for = what;
    return WORLD_STUCK;
}

static enum world_warmth need_endpoints(struct world_item *it, const struct world_item *need) {
    switch (need->known) {
    case WORLD_UNKNOWN: return wait_for(it, "its endpoints");
    case WORLD_FAILING: return without(it, "its endpoints, which the server cannot send rightly");
    default: return WORLD_WARM;
    }
}

static enum world_warmth need_routes(const struct xds_world *w, struct world_item *it, const struct world_item *need) {
    bool is_coming = need->held && need->warmth == WORLD_WAITING && !is_refused(w, need);
    if (need->choice || need->known == WORLD_ABSENT)
        return WORLD_WARM;
    if (need->known == WORLD_UNKNOWN || is_coming)
        return wait_for(it, "its route table");
    if (it->held->has_parts)
        return WORLD_WARM; /* one of many: the others go on */
    return without(it, "its route table, which the server cannot send rightly");
}

/* There is no serving without it. */
static enum world_warmth need_secret(struct world_item *it, const struct world_item *need) {
    if (need->held && world_has_secrets(need->held))
        return WORLD_WARM;
    if (need->known == WORLD_UNKNOWN)
        return wait_for(it, "its secret");
    it->waits_for = "its secret, which the server does not have or cannot send rightly";
    return WORLD_STUCK;
}

/* What it is changes nothing, only whether it is there. */
static enum world_warmth need_filter(struct world_item *it, const struct world_item *need, unsigned awaited) {
    if (need->held || awaited == XDS_NOT_AWAITED)
        return WORLD_WARM;
    if (need->known == WORLD_UNKNOWN)
        return wait_for(it, "its HTTP filter");
    if (awaited == XDS_AWAITED_OR_DEFAULT)
        return WORLD_WARM;
    it->waits_for = "its HTTP filter, which the server does not have or cannot send rightly";
    return WORLD_STUCK;
}

static enum world_warmth warmth_of_need(const struct xds_world *w, struct world_item *it, size_t number) {
    const struct world_item *need = it->held->needs[number];
    switch (need->role) {
    case XDS_ENDPOINTS:  return need_endpoints(it, need);
    case XDS_ROUTES:     return need_routes(w, it, need);
    case XDS_SECRETS:    return need_secret(it, need);
    case XDS_EXTENSIONS: return need_filter(it, need, it->held->awaited[number]);
    default:             return WORLD_WARM;
    }
}

/* Routes may send to a cluster that is not there, but not before it is sure that none is coming: types come in any order. */
static enum world_warmth warmth_of_reference(struct xds_world *w, struct world_item *it, const struct world_slot *slot) {
    const struct world_item *provider = slot->provider;
    if (slot->kind != HEADGATE__KIND__KIND_CLUSTER || (provider && provider->choice) || world_made_refers(it->used, slot))
        return WORLD_WARM;
    if (provider && provider->held && provider->warmth == WORLD_WAITING && !is_refused(w, provider))
        return wait_for(it, "a cluster that is not complete");
    if (w->now >= it->changed_at + w->o.reference_wait)
        return WORLD_WARM;
    world_look_at(w, it->changed_at + w->o.reference_wait);
    return wait_for(it, "a cluster that the server may still send");
}

/* Parts come by themselves, in any order. Where there were some, the last of them may only have made room for others. */
static enum world_warmth wait_for_parts(struct xds_world *w, struct world_item *it) {
    uint64_t until = it->changed_at + w->o.reference_wait;
    if ((it->used && it->used->is_hollow) || w->now >= until)
        return WORLD_WARM;
    world_look_at(w, until);
    return wait_for(it, it->role == XDS_ROUTES ? "its virtual hosts" : "its scopes");
}

static enum world_warmth warmth_of(struct xds_world *w, struct world_item *it) {
    enum world_warmth warmth = WORLD_WARM;
    it->waits_for = NULL;
    if (!it->held)
        return warmth;
    if (it->held->is_hollow)
        warmth = wait_for_parts(w, it);
    for (size_t i = 0; i < it->held->need_count; i++)
        warmth = worse(warmth, warmth_of_need(w, it, i));
    world_made_mark(it->used);
    for (size_t i = 0; i < it->held->reference_count; i++)
        warmth = worse(warmth, warmth_of_reference(w, it, it->held->references[i]));
    return warmth;
}

/* ---- choosing ---- */

/* What waits for a little while keeps the ACK back, so that a data plane's refusal can still become a NACK. */
static void note_waiting(struct xds_world *w, const struct world_item *it) {
    w->waiting++;
    if (w->now >= it->changed_at + w->o.hold)
        return;
    world_look_at(w, it->changed_at + w->o.hold);
    if (it->ticket > 0 && w->ticket >= it->ticket)
        w->ticket = it->ticket - 1;
}

static struct world_made *choose_gone(const struct xds_world *w, const struct world_item *it) {
    bool may_go = it->role == XDS_ROUTES || (it->role == XDS_LISTENERS && w->is_settled);
    return may_go && !is_refused(w, it) ? NULL : it->used;
}

/* A route table that nobody needs and that is asked for a while longer holds nothing up. */
static bool only_lingers(const struct world_item *it) {
    return it->role == XDS_ROUTES && it->needed == 0;
}

static void choose(struct xds_world *w, struct world_item *it) {
    it->warmth = only_lingers(it) ? WORLD_WARM : warmth_of(w, it);
    it->choice = it->used;
    if (is_refused(w, it))
        world_look_at(w, it->retry_at);
    else if (only_lingers(it))
        it->waits_for = NULL;
    else if (it->held && it->warmth == WORLD_WARM)
        it->choice = it->held;
    else if (it->held && it->warmth == WORLD_WAITING && it->held != it->used)
        note_waiting(w, it);
    if (it->is_gone && !it->held)
        it->choice = choose_gone(w, it);
}

static void choose_all(struct xds_world *w) {
    static const enum xds_role order[] = {XDS_CLUSTERS, XDS_ROUTES, XDS_LISTENERS};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (struct world_item *it = w->roles[order[i]].first; it; it = it->next)
            choose(w, it);
}

/* A server that has nothing at all any more may have only just started: it is given time to think better of it. */
static void keep_the_last(struct xds_world *w, enum xds_role role) {
    uint64_t until = 0;
    for (struct world_item *it = w->roles[role].first; it; it = it->next) {
        if (it->held)
            return;
        if (it->is_gone && it->used && it->changed_at + w->o.removal_wait > until)
            until = it->changed_at + w->o.removal_wait;
    }
    if (until <= w->now)
        return;
    world_look_at(w, until);
    for (struct world_item *it = w->roles[role].first; it; it = it->next)
        it->choice = it->used;
}

static bool has_address(const Headgate__Listener *l, const char *address) {
    for (size_t i = 0; i < l->n_addresses; i++)
        if (strcmp(l->addresses[i], address) == 0)
            return true;
    return false;
}

static bool is_in_the_way(const struct world_item *gone, const struct world_item *it) {
    const Headgate__Listener *a = gone->used->listener, *b = it->choice ? it->choice->listener : NULL;
    if (it == gone || it->choice != it->held || !a || !b)
        return false;
    for (size_t i = 0; i < a->n_addresses; i++)
        if (has_address(b, a->addresses[i]))
            return true;
    return false;
}

/* One that is gone and only kept to be sure gives its address to another: it has another name now. */
static void make_way(struct xds_world *w) {
    for (struct world_item *gone = w->roles[XDS_LISTENERS].first; gone; gone = gone->next) {
        if (!gone->is_gone || gone->held || !gone->choice)
            continue;
        for (const struct world_item *it = w->roles[XDS_LISTENERS].first; it; it = it->next)
            if (is_in_the_way(gone, it))
                gone->choice = NULL;
    }
}

/* ---- what belongs together ---- */

static void mark(const struct xds_world *w, const struct world_made *made, bool is_listener) {
    for (size_t i = 0; i < made->provide_count; i++)
        made->provides[i]->provided_in = w->decision;
    for (size_t i = 0; i < made->reference_count; i++) {
        made->references[i]->referenced_in = w->decision;
        if (is_listener)
            made->references[i]->listened_in = w->decision;
    }
}

static void include(const struct xds_world *w, struct world_item *it) {
    if (it->included_in == w->decision)
        return;
    it->included_in = w->decision;
    if (it->choice)
        mark(w, it->choice, it->role == XDS_LISTENERS);
}

/* Listeners, and the route tables that they need. */
static void include_all(struct xds_world *w) {
    w->decision++;
    for (struct world_item *it = w->roles[XDS_LISTENERS].first; it; it = it->next) {
        include(w, it);
        for (size_t i = 0; it->choice && i < it->choice->need_count; i++)
            if (it->choice->needs[i]->role == XDS_ROUTES)
                include(w, it->choice->needs[i]);
    }
}

static void leave_out_routes(struct xds_world *w) {
    for (struct world_item *it = w->roles[XDS_ROUTES].first; it; it = it->next)
        if (it->included_in != w->decision)
            it->choice = NULL;
}

static bool is_referred_to(const struct xds_world *w, const struct world_item *it) {
    for (size_t i = 0; i < it->used->provide_count; i++)
        if (it->used->provides[i]->referenced_in == w->decision)
            return true;
    return false;
}

static bool may_go(struct xds_world *w, const struct world_item *it) {
    uint64_t until = it->changed_at + w->o.removal_wait;
    if (!w->is_settled || is_refused(w, it))
        return false;
    if (w->now >= until || !is_referred_to(w, it))
        return true;
    world_look_at(w, until);
    return false;
}

/* ---- the limit ---- */

static bool is_counted(struct xds_world *w, struct world_item *it) {
    if (w->changes == w->limit)
        return false;
    w->changes++;
    w->suspect = it;
    return true;
}

/* What goes beyond the limit stays as it is used, and unacknowledged. */
static void limit_change(struct xds_world *w, struct world_item *it) {
    if (it->choice == it->used || is_counted(w, it))
        return;
    it->choice = it->used;
    if (it->ticket > 0 && w->ticket >= it->ticket)
        w->ticket = it->ticket - 1;
}

static void limit_all(struct xds_world *w) {
    w->changes = 0;
    w->suspect = NULL;
    for (struct world_item *it = w->roles[XDS_CLUSTERS].first; it; it = it->next)
        limit_change(w, it);
    for (struct world_item *it = w->roles[XDS_ROUTES].first; it; it = it->next) {
        if (it->included_in != w->decision)
            it->choice = it->used;
        limit_change(w, it);
    }
    for (struct world_item *it = w->roles[XDS_LISTENERS].first; it; it = it->next)
        limit_change(w, it);
}

static void remove_clusters(struct xds_world *w) {
    for (struct world_item *it = w->roles[XDS_CLUSTERS].first; it; it = it->next)
        if (it->is_gone && !it->held && it->used && may_go(w, it) && is_counted(w, it))
            it->choice = NULL;
    keep_the_last(w, XDS_CLUSTERS);
    for (struct world_item *it = w->roles[XDS_CLUSTERS].first; it; it = it->next)
        include(w, it);
}

static void count_differing(struct xds_world *w) {
    static const enum xds_role order[] = {XDS_CLUSTERS, XDS_ROUTES, XDS_LISTENERS};
    w->differing = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (const struct world_item *it = w->roles[order[i]].first; it; it = it->next)
            w->differing += it->choice != it->used;
}

static void decide(struct xds_world *w) {
    w->ticket = xds_protocol_ticket(w->p);
    w->waiting = 0;
    choose_all(w);
    keep_the_last(w, XDS_LISTENERS);
    make_way(w);
    include_all(w);
    limit_all(w);
    include_all(w);
    leave_out_routes(w);
    remove_clusters(w);
    count_differing(w);
}

/* Changes may have no effect without another one that is beyond the limit: the limit is raised until there is one. */
void world_decide(struct xds_world *w) {
    w->is_dirty = false;
    w->without_effect = 0;
    decide(w);
    while (w->differing == 0 && w->changes == w->limit) {
        w->without_effect = w->limit++;
        decide(w);
    }
}
