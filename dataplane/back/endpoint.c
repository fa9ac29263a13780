/* endpoint.c — an endpoint's run-time state: made, changed, and put where choices find it. */
#include "common/alloc.h"
#include "dataplane/back/pool_private.h"
#include "dataplane/back/reconcile.h"

void endpoint_free(struct endpoint_runtime *e) {
    if (e->candidate.placements != &e->candidate.one)
        hg_free(e->candidate.placements);
    fallback_finish(e);
    hg_free((char *)(uintptr_t)e->hostname.p);
    endpoint_shared_unref(e->shared);
    hg_free(e);
}

struct endpoint_runtime *endpoint_make(struct cluster_runtime *c, const struct endpoint_definition *d) {
    struct endpoint_runtime *e = hg_calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->address = d->address;
    memcpy(e->text, d->text.p, d->text.n < sizeof e->text ? d->text.n : sizeof e->text - 1);
    e->cluster = c;
    e->is_new = true;
    e->open.next = e->open.prev = &e->open;
    e->connecting.next = e->connecting.prev = &e->connecting;
    e->shared = endpoint_shared_ref(d->shared);
    e->candidate.out_until = &e->shared->ejected_until;
    e->candidate.placements = &e->candidate.one;
    return e;
}

static uint32_t count_groups(const struct cluster_members *m, uint32_t place) {
    return m->first_group[place + 1] - m->first_group[place];
}

/* One that is taken over has placements in groups that are left until it has those in the new ones. */
int endpoint_prepare(struct endpoint_runtime *e, const struct cluster_members *to, uint32_t place, bool is_taken_over) {
    const struct endpoint_definition *d = &to->endpoints[place];
    uint32_t groups = count_groups(to, place);
    if (!str_eq(e->hostname, d->hostname)) {
        char *copy = hg_strndup(d->hostname.p, d->hostname.n);
        if (!copy)
            return -1;
        e->next_hostname = (struct str){copy, d->hostname.n};
    }
    if (groups <= 1 || (groups == e->candidate.placement_count && !is_taken_over))
        return 0;
    e->next_placements = hg_calloc(groups, sizeof *e->next_placements);
    return e->next_placements ? 0 : -1;
}

void endpoint_forget_prepared(struct endpoint_runtime *e) {
    hg_free((char *)(uintptr_t)e->next_hostname.p);
    hg_free(e->next_placements);
    e->next_hostname = (struct str){NULL, 0};
    e->next_placements = NULL;
    if (e->is_new)
        endpoint_free(e);
}

/* ---- carrying out; needs no memory ---- */

static void take_hostname(struct endpoint_runtime *e) {
    struct cluster_runtime *c = e->cluster;
    if (!e->next_hostname.p)
        return;
    hg_free((char *)(uintptr_t)e->hostname.p);
    e->hostname = e->next_hostname;
    e->next_hostname = (struct str){NULL, 0};
    if ((c->options.tls || c->options.quic_tls || c->tls_choice_count) && e->connections) /* another name was verified */
        c->epoch++;
}

/* The worker may have looked at ejections after this one began, when it did not know the endpoint yet. */
static void note_end_of_ejection(struct cluster_runtime *c, const struct endpoint_runtime *e) {
    uint64_t until = atomic_load_explicit(&e->shared->ejected_until, memory_order_relaxed);
    if (until > c->worker->now)
        rounds_note_end(c, until);
}

/* One that came to a cluster at work begins slowly; those of a cluster that is new are all the same. */
void endpoint_update(struct endpoint_runtime *e, const struct endpoint_definition *d) {
    struct candidate *c = &e->candidate;
    take_hostname(e);
    note_end_of_ejection(e->cluster, e);
    e->tls_choice = d->tls_choice;
    c->weight = d->weight;
    c->step = d->weight ? 1.0 / d->weight : 0;
    c->is_usable = d->is_usable;
    c->is_draining = d->is_draining;
    if (!d->is_draining)
        e->leaving_since = 0;
    else if (!e->leaving_since)
        e->leaving_since = e->cluster->worker->now;
    if (e->cluster->filling.is_beginning && e->is_new)
        c->was_available = true;
    e->is_new = false;
}

static double random_share(const struct cluster_runtime *c) {
    return worker_random(c->worker) / 4294967296.0;
}

/* Room for the placements of so many groups. */
static void use_placements(struct endpoint_runtime *e, uint32_t count) {
    struct candidate *c = &e->candidate;
    if (count > 1 && !e->next_placements)
        return;
    if (c->placements != &c->one)
        hg_free(c->placements);
    c->placements = count > 1 ? e->next_placements : &c->one;
    e->next_placements = NULL;
}

void endpoint_attach(struct endpoint_runtime *e, const struct cluster_members *to, uint32_t place,
                     struct group *const *groups) {
    struct candidate *c = &e->candidate;
    const uint32_t *group_of = to->group_of + to->first_group[place];
    uint32_t count = count_groups(to, place);
    use_placements(e, count);
    for (uint32_t i = 0; i < count; i++)
        placement_add(&c->placements[i], groups[group_of[i]], c, &to->rules, random_share(e->cluster),
                      e->cluster->worker->now);
    c->placement_count = count;
}

void endpoint_detach(struct endpoint_runtime *e) {
    struct candidate *c = &e->candidate;
    for (uint32_t i = 0; i < c->placement_count; i++)
        placement_remove(&c->placements[i], &e->cluster->rules);
    c->placement_count = 0;
}

/* ---- one of very many ---- */

/* Its placements in groups that are left are copied, as the new ones may stand where they do. */
static void take_over(struct endpoint_runtime *e, uint32_t place) {
    const struct cluster_runtime *cluster = e->cluster;
    const struct cluster_members *m = cluster->members;
    struct candidate *c = &e->candidate;
    struct placement one = c->one, *old = c->placements == &c->one ? &one : c->placements;
    uint32_t count = count_groups(m, place), old_count = c->placement_count;
    const uint32_t *group_of = m->group_of + m->first_group[place];
    c->placement_count = 0;
    candidate_recount(c, &m->rules, cluster->worker->now);
    c->placements = count > 1 ? e->next_placements : &c->one;
    e->next_placements = NULL;
    for (uint32_t i = 0; i < count; i++)
        placement_take_over(&c->placements[i], cluster->groups[group_of[i]], c, &m->rules, random_share(cluster),
                            cluster->worker->now, old, old_count);
    for (uint32_t i = 0; i < old_count; i++)
        placement_remove(&old[i], &m->rules);
    if (old != &one)
        hg_free(old);
    c->placement_count = count;
}

struct candidate *cluster_make_endpoint(struct cluster_runtime *c, uint32_t place) {
    struct endpoint_runtime *e = cluster_endpoint_at(c, place);
    if (!e)
        e = endpoint_make(c, &c->members->endpoints[place]);
    if (!e)
        return NULL;
    if (endpoint_prepare(e, c->members, place, true) < 0) {
        endpoint_forget_prepared(e);
        return NULL;
    }
    c->endpoints[place] = &e->candidate;
    if (c->earlier)
        c->earlier->at[place] = NULL;
    endpoint_update(e, &c->members->endpoints[place]);
    take_over(e, place);
    candidate_recount(&e->candidate, &c->rules, c->worker->now); /* it may be ejected, which the definition does not know */
    filling_made_one(c);
    return &e->candidate;
}
