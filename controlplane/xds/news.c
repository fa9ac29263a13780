/* What the machine says of resources, and what becomes of that. */
#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/xds/pace.h"
#include "controlplane/xds/world_internal.h"

/* ---- judging ---- */

static int judge(struct xds_world *w, struct world_item *it, struct str bytes, struct error_list *errors) {
    if (it->role == XDS_ENDPOINTS)
        return world_judge_endpoints(w, it, bytes, errors);
    struct world_made *made = world_make(w, it, bytes, errors);
    if (!made)
        return -1;
    world_made_replace(&it->judged, made);
    world_touch(w, it);
    return 0;
}

static enum xds_role role_of(const struct xds_world *w, size_t type) {
    int role = 0;
    while (role < XDS_ROLES - 1 && w->roles[role].number != type)
        role++;
    return (enum xds_role)role;
}

enum xds_verdict xds_world_judge(void *world, size_t type, struct str name, struct str bytes, struct strbuf *reasons) {
    struct xds_world *w = world;
    struct error_list errors = {0};
    enum xds_verdict verdict = XDS_VALID;
    struct world_item *it = world_item_get(w, role_of(w, type), name);
    if (!it)
        return XDS_JUDGE_NO_MEMORY;
    if (judge(w, it, bytes, &errors) < 0) {
        verdict = world_lacks_memory(&errors) ? XDS_JUDGE_NO_MEMORY : XDS_INVALID;
        world_describe(&errors, reasons);
        world_touch(w, it);
    }
    error_list_finish(&errors);
    return reasons->failed ? XDS_JUDGE_NO_MEMORY : verdict;
}

/* ---- copies ---- */

static void refuse_in_machine(struct xds_world *w, struct world_item *it, uint64_t ticket, struct str reason) {
    w->counters.refused_resources++;
    log_warning("a resource of a management server is refused", LOG_S("type", xds_world_type_url(it->role)),
                LOG_S("name", it->name.p), LOG_S("reason", reason.p));
    if (w->p && it->epoch == w->epoch)
        xds_protocol_refuse(w->p, w->roles[it->role].number, it->name, ticket, reason, w->now);
}

void world_refuse(struct xds_world *w, struct world_item *it, uint64_t ticket, struct str reason) {
    uint64_t random = w->now | 1;
    it->refusals += it->refusals < UINT32_MAX;
    it->retry_at = w->now + backoff_wait(w->o.retry_wait, w->o.refusal_wait, it->refusals, &random);
    w->is_dirty = true;
    refuse_in_machine(w, it, ticket, reason);
}

static void hold(struct xds_world *w, struct world_item *it, struct world_made *made) {
    world_made_replace(&it->held, made);
    w->has_other_parts |= made->has_parts || world_is_part(it->role);
    w->has_other_values |= it->role == XDS_RUNTIMES;
    it->is_gone = it->is_left_out = false;
    it->retry_at = 0;
    it->refusals = 0;
    it->changed_at = w->now;
    it->ticket = xds_protocol_ticket(w->p);
}

/* The one that was judged, the one in use, or a new one. NULL with errors. The caller's use. */
static struct world_made *made_of(struct xds_world *w, struct world_item *it, struct str bytes, struct error_list *errors) {
    uint64_t hash = map_hash(bytes);
    struct world_made *const known[] = {it->judged, it->used, it->pushed};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] && known[i]->hash == hash && world_is_current(w, it, known[i]))
            return world_made_use(known[i]);
    return world_make(w, it, bytes, errors);
}

/* Memory that is short passes; anything else is the resource's fault. */
static void fail(struct xds_world *w, struct world_item *it, const struct error_list *errors) {
    struct strbuf reason = {0};
    if (world_lacks_memory(errors)) {
        world_resync_later(w);
        return;
    }
    world_describe(errors, &reason);
    it->ticket = xds_protocol_ticket(w->p);
    refuse_in_machine(w, it, it->ticket, strbuf_str(&reason));
    strbuf_finish(&reason);
}

static void take_copy(struct xds_world *w, struct world_item *it, struct str bytes) {
    struct error_list errors = {0};
    if (it->held && it->held->hash == map_hash(bytes) && world_is_current(w, it, it->held)) {
        it->is_gone = false;
        return;
    }
    struct world_made *made = made_of(w, it, bytes, &errors);
    if (made && made->secret_count > 0 && world_give_secrets(w, it, bytes, &errors) < 0) {
        world_made_drop(made);
        made = NULL;
    }
    if (made)
        hold(w, it, made);
    else
        fail(w, it, &errors);
    error_list_finish(&errors);
}

/* ---- no copy ---- */

static enum world_known known_of(const struct xds_resource *r) {
    switch (r->state) {
    case XDS_DOES_NOT_EXIST: return WORLD_ABSENT;
    case XDS_NACKED: case XDS_RECEIVED_ERROR: case XDS_TIMEOUT: return WORLD_FAILING;
    default: return WORLD_UNKNOWN;
    }
}

/* What this machine has had is gone for good; what came from another one stays until this one knows better. */
static void take_absence(struct xds_world *w, struct world_item *it, const struct xds_resource *r) {
    enum world_known known = known_of(r);
    bool was_had = it->held && it->epoch == w->epoch;
    if (known == WORLD_UNKNOWN || (known == WORLD_FAILING && it->held && !was_had))
        return;
    if (known == WORLD_ABSENT || was_had) {
        it->is_gone |= it->held || it->used;
        it->changed_at = w->now;
        it->retry_at = 0;
        w->has_other_parts |= it->held && world_is_part(it->role);
        w->has_other_values |= it->held && it->role == XDS_RUNTIMES;
        world_made_replace(&it->held, NULL);
    }
    it->known = known;
    it->epoch = w->epoch;
}

/* ---- one resource ---- */

static void reconcile(struct xds_world *w, struct world_item *it, const struct xds_resource *r) {
    it->is_stale = false;
    world_touch(w, it);
    if (it->role == XDS_ENDPOINTS) {
        world_take_endpoints(w, it, r);
        return;
    }
    w->is_dirty = true;
    if (!r->copy) {
        take_absence(w, it, r);
        return;
    }
    it->known = WORLD_HELD;
    it->epoch = w->epoch;
    take_copy(w, it, r->copy->bytes);
}

void world_take_news(struct xds_world *w) {
    unsigned news;
    for (struct xds_resource *r; (r = xds_protocol_take_news(w->p, &news));) {
        struct world_item *it = world_item_get(w, role_of(w, r->table->type), r->name);
        if (it)
            reconcile(w, it, r);
        else
            world_resync_later(w);
    }
}

/* ---- all of them ---- */

/* A machine that has counted before may ask for what nobody needs any more. */
static bool mark_stale(struct xds_world *w, enum xds_role role) {
    const struct xds_resource *r = NULL;
    bool is_whole = true;
    while ((r = xds_protocol_next_resource(w->p, w->roles[role].number, r))) {
        struct world_item *it = world_item_get(w, role, r->name);
        is_whole &= it != NULL;
        if (!it)
            continue;
        it->is_stale = true;
        it->is_subscribed |= r->is_named;
    }
    return is_whole;
}

static void reconcile_stale(struct xds_world *w, enum xds_role role) {
    for (struct world_item *it = w->roles[role].first; it; it = it->next) {
        const struct xds_resource *r = it->is_stale ? xds_protocol_find(w->p, w->roles[role].number, it->name) : NULL;
        if (r)
            reconcile(w, it, r);
        it->is_stale = false;
    }
}

/* A name that was given up, and is asked for again before the server has been told, has its copy still, which is no news. */
void world_take_known(struct xds_world *w, struct world_item *it) {
    const struct xds_resource *r = xds_protocol_find(w->p, w->roles[it->role].number, it->name);
    if (r && (r->copy || r->state != XDS_REQUESTED))
        reconcile(w, it, r);
    if (!world_is_part(it->role))
        return;
    if (!mark_stale(w, it->role))
        world_resync_later(w);
    reconcile_stale(w, it->role);
}

/* Nothing goes while this runs: items are destroyed by world_sweep alone. */
void world_resync(struct xds_world *w) {
    w->resync_at = UINT64_MAX;
    endpoint_feed_repeat(w->o.feed);
    for (int role = 0; role < XDS_ROLES; role++) {
        if (!mark_stale(w, (enum xds_role)role))
            world_resync_later(w);
        reconcile_stale(w, (enum xds_role)role);
        for (struct world_item *it = w->roles[role].first; it; it = it->next)
            world_touch(w, it);
    }
}
