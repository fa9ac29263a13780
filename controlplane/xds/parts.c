/* Resources of the server that are parts of another: virtual hosts (VHDS) of a route configuration, scopes (SRDS) of a
 * listener. Each is judged and held by itself; what they belong to is translated again, with all of them, when one has
 * changed. A part that does not fit to the others is left out and refused, and the rest goes on. */
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/world_internal.h"

struct part_list {
    struct world_item **items;          /* sorted by name */
    size_t              count, capacity;
};

bool world_is_part(enum xds_role role) {
    return role == XDS_SCOPES || role == XDS_HOSTS;
}

static enum xds_role whole_of(enum xds_role part) {
    return part == XDS_HOSTS ? XDS_ROUTES : XDS_LISTENERS;
}

/* ---- which parts ---- */

static int compare(const void *a, const void *b) {
    return str_cmp((*(const struct world_item *const *)a)->name, (*(const struct world_item *const *)b)->name);
}

static int add(struct part_list *list, struct world_item *it) {
    if (hg_grow(&list->items, &list->capacity, list->count + 1, sizeof(struct world_item *)) < 0)
        return -1;
    list->items[list->count++] = it;
    return 0;
}

static int list_all(const struct xds_world *w, enum xds_role role, struct part_list *ret) {
    for (struct world_item *it = w->roles[role].first; it; it = it->next)
        if (it->held && add(ret, it) < 0)
            return -1;
    if (ret->count)
        qsort(ret->items, ret->count, sizeof(struct world_item *), compare);
    return 0;
}

/* As the order of names has it: below 0, 0 where the name begins with "ROUTE/", above 0. */
static int compare_to_route(struct str name, struct str route) {
    int order = memcmp(name.p, route.p, name.n < route.n ? name.n : route.n);
    if (order != 0 || name.n <= route.n)
        return order ? order : -1;
    return (unsigned char)name.p[route.n] - '/';
}

static size_t first_of_route(const struct part_list *all, struct str route) {
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_to_route(all->items[middle]->name, route) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Names of route configurations may have slashes, hosts have none. */
static int select_hosts(const struct part_list *all, struct str route, struct part_list *ret) {
    for (size_t i = first_of_route(all, route); i < all->count; i++) {
        struct str name = all->items[i]->name;
        if (compare_to_route(name, route) != 0)
            break;
        if (!memchr(name.p + route.n + 1, '/', name.n - route.n - 1) && add(ret, all->items[i]) < 0)
            return -1;
    }
    return 0;
}

static int select_parts(const struct part_list *all, const struct world_item *whole, struct part_list *ret) {
    int status = 0;
    if (whole->held->part_role == XDS_HOSTS)
        return select_hosts(all, whole->name, ret);
    for (size_t i = 0; status == 0 && i < all->count; i++)
        status = add(ret, all->items[i]);
    return status;
}

static uint64_t hash_of(const struct part_list *parts) {
    uint64_t hash = 0;
    for (size_t i = 0; i < parts->count; i++)
        hash = (hash ^ map_hash(parts->items[i]->name) ^ parts->items[i]->held->hash) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    return hash;
}

/* ---- what does not fit ---- */

enum { ALONE = 16 };                    /* parts that are taken out one by one */

/* Where the part is that an error is about, "virtual_hosts[3].domains[0]"; NULL: it is about none. */
static struct world_item **blamed(const struct part_list *parts, const struct error *e, enum xds_role role) {
    const char *word = role == XDS_HOSTS ? "virtual_hosts[" : "scopes[";
    size_t n = strlen(word);
    if (!e->path || strncmp(e->path, word, n) != 0)
        return NULL;
    unsigned long i = strtoul(e->path + n, NULL, 10);
    return i < parts->count ? &parts->items[i] : NULL;
}

static void leave_out(struct xds_world *w, struct world_item *part, const struct error *e) {
    struct strbuf reason = {0};
    part->is_left_out = true;
    strbuf_printf(&reason, "%s: %s", e->path, e->message);
    world_refuse(w, part, xds_protocol_ticket(w->p), reason.failed ? STR("it does not fit to others") : strbuf_str(&reason));
    strbuf_finish(&reason);
}

static void close_gaps(struct part_list *parts) {
    size_t kept = 0;
    for (size_t i = 0; i < parts->count; i++)
        if (parts->items[i])
            parts->items[kept++] = parts->items[i];
    parts->count = kept;
}

/* Takes out the first parts that are to blame, `most` of them. Returns how many there were; `*is_refused` where that is
 * news. */
static size_t take_out(struct xds_world *w, enum xds_role role, struct part_list *parts, const struct error_list *errors,
                       size_t most, bool *is_refused) {
    size_t count = 0;
    for (size_t i = 0; i < errors->count && count < most; i++) {
        struct world_item **at = blamed(parts, &errors->items[i], role);
        if (!at || !*at)
            continue;
        if (!(*at)->is_left_out) {
            leave_out(w, *at, &errors->items[i]);
            *is_refused = true;
        }
        *at = NULL;
        count++;
    }
    close_gaps(parts);
    return count;
}

/* ---- the whole ---- */

static void give_up(struct xds_world *w, struct world_item *it, const struct error_list *errors) {
    struct strbuf reason = {0};
    if (world_lacks_memory(errors)) {
        w->has_other_parts = true;
        world_resync_later(w);
        return;
    }
    world_describe(errors, &reason);
    world_refuse(w, it, xds_protocol_ticket(w->p), strbuf_str(&reason));
    strbuf_finish(&reason);
}

/* With as many parts as possible: one that clashes only with one that is taken out itself may stay, so the first ALONE to
 * blame go one by one. Then two, four and more at a time: many do not cost a translation each. NULL: what is held stays. */
static struct world_made *make(struct xds_world *w, struct world_item *it, struct part_list *parts, bool *is_refused) {
    enum xds_role role = it->held->part_role;
    for (size_t round = 1, most = 1;; round++) {
        most = round > ALONE && most < ERROR_LIST_MAX ? 2 * most : most;
        struct error_list errors = {0};
        struct world_made *made =
            world_make_with(w, it, strbuf_str(&it->held->source), parts->items, parts->count, &errors);
        bool is_again = !made && !world_lacks_memory(&errors) && take_out(w, role, parts, &errors, most, is_refused) > 0;
        if (!made && !is_again)
            give_up(w, it, &errors);
        error_list_finish(&errors);
        if (!is_again)
            return made;
    }
}

static bool is_made_of(const struct xds_world *w, const struct world_item *it, const struct world_made *made,
                       uint64_t parts_hash) {
    return made && made->hash == it->held->hash && made->parts_hash == parts_hash && world_is_current(w, it, made);
}

static struct world_made *find_made(const struct xds_world *w, const struct world_item *it, uint64_t parts_hash) {
    if (is_made_of(w, it, it->used, parts_hash))
        return world_made_use(it->used);
    return is_made_of(w, it, it->pushed, parts_hash) ? world_made_use(it->pushed) : NULL;
}

static void hold(struct xds_world *w, struct world_item *it, struct world_made *made, const struct part_list *parts) {
    for (size_t i = 0; i < parts->count; i++)
        parts->items[i]->is_left_out = false;
    world_made_replace(&it->held, made);
    it->changed_at = w->now;
    it->ticket = xds_protocol_ticket(w->p);
    it->retry_at = 0;
    it->refusals = 0;
    w->is_dirty = true;
}

static bool compose(struct xds_world *w, struct world_item *it, const struct part_list *all) {
    struct part_list parts = {0};
    bool is_refused = false;
    if (select_parts(all, it, &parts) < 0) {
        w->has_other_parts = true;
        world_resync_later(w);
    } else if (!is_made_of(w, it, it->held, hash_of(&parts))) {
        uint64_t hash = hash_of(&parts);
        struct world_made *made = find_made(w, it, hash);
        if (!made && (made = make(w, it, &parts, &is_refused)))
            made->parts_hash = hash;
        if (made)
            hold(w, it, made, &parts);
    }
    hg_free(parts.items);
    return is_refused;
}

static bool compose_role(struct xds_world *w, enum xds_role role) {
    struct part_list all = {0};
    bool is_refused = false;
    if (list_all(w, role, &all) < 0) {
        w->has_other_parts = true;
        world_resync_later(w);
    } else {
        for (struct world_item *it = w->roles[whole_of(role)].first; it; it = it->next)
            if (it->held && it->held->has_parts && it->held->part_role == role)
                is_refused |= compose(w, it, &all);
    }
    hg_free(all.items);
    return is_refused;
}

bool world_compose(struct xds_world *w) {
    if (!w->has_other_parts)
        return false;
    w->has_other_parts = false;
    bool is_refused = compose_role(w, XDS_HOSTS);
    return compose_role(w, XDS_SCOPES) || is_refused;
}

/* ---- when they go ---- */

void world_drop_parts(struct xds_world *w, enum xds_role role) {
    for (struct world_item *it = w->roles[role].first; it; it = it->next) {
        it->known = WORLD_UNKNOWN;
        world_made_replace(&it->held, NULL);
        world_touch(w, it);
    }
}

static void drop_unmentioned(struct xds_world *w, enum xds_role role) {
    for (struct world_item *it = w->roles[role].first; it; it = it->next) {
        if (!it->held || it->epoch == w->epoch)
            continue;
        world_made_replace(&it->held, NULL);
        world_touch(w, it);
        w->has_other_parts = true;
    }
}

void world_settle_parts(struct xds_world *w) {
    for (int role = 0; role < XDS_ROLES; role++) {
        unsigned bit = 1U << role;
        if (!world_is_part((enum xds_role)role) || (w->parts_answered & bit)
            || !xds_protocol_has_answered(w->p, w->roles[role].number))
            continue;
        w->parts_answered |= bit;
        drop_unmentioned(w, (enum xds_role)role);
    }
}
