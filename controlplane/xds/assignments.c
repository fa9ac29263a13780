/* Endpoints: from the machine to the feed, past the layer. What was found last stays when an assignment is gone, as
 * discovery promises; an assignment without endpoints is an answer. */
#include "common/alloc.h"
#include "controlplane/xds/world_internal.h"

/* ---- translating ---- */

static void forget(struct world_assignment *a) {
    hg_free(a->bytes);
    *a = (struct world_assignment){0};
}

void world_forget_endpoints(struct world_item *it) {
    forget(&it->assignment);
    it->told_hash = 0;
}

static int keep(struct world_assignment *a, const struct config_resources *set, struct str from, bool is_locality_weighted,
                struct error_list *errors) {
    if (set->count != 1 || set->items[0].kind != HEADGATE__KIND__KIND_ENDPOINT_SET) {
        error_addf(errors, ERROR_INTERNAL, "it became no endpoint set");
        return -1;
    }
    uint8_t *bytes = hg_malloc(set->items[0].size + 1);
    if (!bytes) {
        error_addf(errors, ERROR_MEMORY, "no memory for endpoints");
        return -1;
    }
    if (set->items[0].size)
        memcpy(bytes, set->items[0].bytes, set->items[0].size);
    forget(a);
    *a = (struct world_assignment){map_hash(from), is_locality_weighted, bytes, set->items[0].size};
    return 0;
}

static int translate(struct xds_world *w, struct world_assignment *a, struct str bytes, bool is_locality_weighted,
                     struct error_list *errors) {
    struct xds_made made = {0};
    w->counters.translations++;
    const struct xds_material from = {.bytes = bytes, .is_locality_weighted = is_locality_weighted};
    int status = w->o.translations[XDS_ENDPOINTS].translate(&from, &made, errors);
    if (status == 0)
        status = keep(a, &made.set, bytes, is_locality_weighted, errors);
    xds_made_finish(&made);
    return status;
}

/* In the way in which it was asked for last, since it is about to be asked for. */
int world_judge_endpoints(struct xds_world *w, struct world_item *it, struct str bytes, struct error_list *errors) {
    return translate(w, &it->assignment, bytes, it->assignment.is_locality_weighted, errors);
}

/* ---- news ---- */

static void take_copy(struct xds_world *w, struct world_item *it, const struct xds_resource *r) {
    uint64_t hash = map_hash(r->copy->bytes);
    w->is_dirty |= it->known != WORLD_HELD && it->needed > 0;
    it->known = WORLD_HELD;
    it->epoch = w->epoch;
    if (it->told_hash == hash)
        return;
    it->told_hash = hash;
    w->counters.assignments += it->is_fed;
    endpoint_feed_changed(w->o.feed, it->name.p, r->updated_at);
}

static void take_absence(struct xds_world *w, struct world_item *it, const struct xds_resource *r) {
    enum world_known known = r->state == XDS_DOES_NOT_EXIST ? WORLD_ABSENT : WORLD_FAILING;
    if (r->state == XDS_REQUESTED)
        return;
    if (it->known != WORLD_HELD) {
        w->is_dirty |= it->known != known && it->needed > 0;
        it->known = known;
    }
    it->epoch = w->epoch;
}

static void tell_failure(const struct xds_world *w, const struct world_item *it, struct str error) {
    struct strbuf reason = {0};
    strbuf_add_str(&reason, error);
    endpoint_feed_failed(w->o.feed, it->name.p, reason.failed ? "no memory for the reason" : reason.p);
    strbuf_finish(&reason);
}

void world_take_endpoints(struct xds_world *w, struct world_item *it, const struct xds_resource *r) {
    if (r->copy)
        take_copy(w, it, r);
    else
        take_absence(w, it, r);
    if (r->error.n > 0 && r->state != XDS_ACKED)
        tell_failure(w, it, r->error);
}

/* ---- the feed asks ---- */

static int want(void *context, const char *service, bool is_wanted) {
    struct xds_world *w = context;
    struct str name = str_of(service);
    struct world_item *it = is_wanted ? world_item_get(w, XDS_ENDPOINTS, name) : world_item_find(w, XDS_ENDPOINTS, name);
    if (it && it->is_fed != is_wanted) {
        it->is_fed = is_wanted;
        world_touch(w, it);
        w->o.sink.changed(w->o.sink.context);
    }
    if (is_wanted && !it)
        world_resync_later(w);
    return is_wanted && !it ? -1 : 0;
}

/* The machine's copy, or, where it has none, what was translated last. */
static int refresh(struct xds_world *w, struct world_item *it, bool is_locality_weighted) {
    const struct xds_resource *r = w->p ? xds_protocol_find(w->p, w->roles[XDS_ENDPOINTS].number, it->name) : NULL;
    const struct world_assignment *a = &it->assignment;
    struct error_list errors = {0};
    if (!r || !r->copy)
        return a->bytes ? 0 : -1;
    bool is_fresh = a->bytes && a->is_locality_weighted == is_locality_weighted && a->hash == map_hash(r->copy->bytes);
    int status = is_fresh ? 0 : translate(w, &it->assignment, r->copy->bytes, is_locality_weighted, &errors);
    error_list_finish(&errors);
    if (status < 0) {
        it->told_hash = 0;
        world_resync_later(w);
    }
    return status;
}

static Headgate__EndpointSet *known(void *context, const char *service, bool is_locality_weighted) {
    struct xds_world *w = context;
    struct world_item *it = world_item_find(w, XDS_ENDPOINTS, str_of(service));
    if (!it || refresh(w, it, is_locality_weighted) < 0)
        return NULL;
    return headgate__endpoint_set__unpack(NULL, it->assignment.size, it->assignment.bytes);
}

void world_serve_feed(struct xds_world *w) {
    const struct endpoint_feed_server server = {.context = w, .want = want, .known = known};
    endpoint_feed_serve(w->o.feed, &server);
}
