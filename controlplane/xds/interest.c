/* What the owner wants, and what of the cache goes when it is wanted no more. */
#include "controlplane/xds/internal.h"

bool xds_type_is_wanted(const struct xds_type *t) {
    return t->wants_all || t->table.named_count > 0;
}

static bool has_wildcard(const struct xds_type *t) {
    return t->wants_all || t->told_wildcard != XDS_WILDCARD_NONE;
}

bool xds_type_wants(const struct xds_type *t, const struct xds_resource *r) {
    return has_wildcard(t) || (r && (r->is_named || r->is_told));
}

/* One that nobody named stays while there is something to say of it. */
bool xds_resource_is_kept(const struct xds_protocol *p, const struct xds_resource *r) {
    bool is_of_interest = r->copy || r->news || r->state == XDS_NACKED || r->state == XDS_RECEIVED_ERROR;
    return r->is_named || r->is_told || (has_wildcard(&p->types[r->table->type]) && is_of_interest);
}

static void destroy(struct xds_protocol *p, struct xds_resource *r) {
    if (p->taken == r)
        p->taken = NULL;
    xds_resource_destroy(r);
}

void xds_type_sweep(struct xds_protocol *p, struct xds_type *t) {
    for (struct xds_resource *r = t->table.first, *next; r; r = next) {
        next = r->next;
        if (!xds_resource_is_kept(p, r))
            destroy(p, r);
    }
}

/* Nothing is waited for by name, so that nobody would notice what the server does not send again. A server that is polled
 * remembers nothing. */
static void doubt(struct xds_protocol *p, const struct xds_type *t) {
    struct xds_stream *s = &p->streams[xds_protocol_stream_of(p, t->number)];
    s->is_in_doubt |= s->is_open && s->has_received && t->has_cancelled_all && !xds_is_polled(p);
}

/* A server takes a client that names the present version for one that has everything of it. */
static void subscribe_to_all(struct xds_protocol *p, struct xds_type *t) {
    if (t->wants_all)
        return;
    doubt(p, t);
    t->wants_all = true;
    t->is_changed = true;
    t->is_version_void = t->has_asked;
    xds_type_void_version(p, t);
}

/* Nobody wanted it for a moment, of which the server has not been told: what it said of the name before has had its time. It
 * is asked again, and may say something else, or nothing. */
static void ask_again(struct xds_resource *r) {
    if (r->copy || !r->is_told)
        return;
    r->is_told = false;
    r->seen = 0;
    xds_resource_set_state(r, XDS_REQUESTED, STR(""), STR(""), 0);
}

enum xds_result xds_protocol_subscribe(struct xds_protocol *p, size_t type, struct str name) {
    struct xds_type *t = &p->types[type];
    struct xds_resource *r = xds_table_get(&t->table, name);
    if (xds_is_wildcard(name)) {
        subscribe_to_all(p, t);
        return XDS_OK;
    }
    enum xds_stored stored = r ? XDS_STORED : xds_table_add(&t->table, name, &r);
    if (stored != XDS_STORED)
        return stored == XDS_STORE_FULL ? XDS_LIMIT : XDS_NO_MEMORY;
    if (!r->is_named) {
        r->is_named = true;
        t->table.named_count++;
        t->is_changed = true;
        ask_again(r);
    }
    return XDS_OK;
}

/* A server that is polled has nothing to forget. */
static void unsubscribe_from_all(struct xds_protocol *p, struct xds_type *t) {
    t->is_changed |= t->wants_all && !xds_is_polled(p);
    t->wants_all = false;
    if (xds_is_polled(p))
        t->told_wildcard = XDS_WILDCARD_NONE;
    xds_type_sweep(p, t);
}

/* The server has removed it; it was kept for its name's sake alone. */
static void drop_removed_copy(struct xds_protocol *p, struct xds_resource *r) {
    xds_copy_free(&p->cache, xds_resource_swap_copy(r, NULL, r->updated_at));
    r->is_deletion_ignored = false;
    r->ticket = 0;
}

void xds_protocol_unsubscribe(struct xds_protocol *p, size_t type, struct str name) {
    struct xds_type *t = &p->types[type];
    if (xds_is_wildcard(name)) {
        unsubscribe_from_all(p, t);
        return;
    }
    struct xds_resource *r = xds_table_get(&t->table, name);
    if (!r || !r->is_named)
        return;
    r->is_named = false;
    t->table.named_count--;
    if (xds_is_polled(p))
        r->is_told = false;
    else
        t->is_changed = true;
    if (r->is_deletion_ignored && !p->o.ignore_resource_deletion)
        drop_removed_copy(p, r);
    if (!r->copy)
        xds_resource_set_deadline(r, 0);
    if (!xds_resource_is_kept(p, r))
        destroy(p, r);
}
