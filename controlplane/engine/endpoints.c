/* Endpoints: found by sources and checked, and made known as a new generation of the state. */
#include "controlplane/engine/endpoints.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/engine/effective.h"
#include "controlplane/engine/internal.h"
#include "controlplane/engine/state.h"
#include "controlplane/engine/tracked.h"

static const uint64_t PUBLISH_EVERY_US = 50000;
static const double SAVE_AFTER_SECONDS = 1., SAVE_AGAIN_SECONDS = 5., TRY_AGAIN_SECONDS = 1.;

/* ---- one cluster's set ---- */

static Headgate__Endpoint__Health known_health(void *context, const char *address) {
    const struct tracked *t = context;
    struct engine *e = t->engine;
    return e->endpoints.health ? e->config.checks->of(e->endpoints.health, t->name, address)
                               : HEADGATE__ENDPOINT__HEALTH__UNKNOWN;
}

/* The cluster's endpoint set as a resource of the state; its name NULL: the intent's says the same. In the arena. 0, or -1
 * without memory. */
static int make_set(struct tracked *t, const struct part *state, const struct resource_id *declared, struct arena *arena,
                    struct config_resource *ret) {
    const struct effective_health health = {known_health, t};
    ssize_t at = state ? part_find(state, HEADGATE__KIND__KIND_ENDPOINT_SET, t->name) : -1;
    struct str bytes, before = {0};
    struct config_resource r = {.kind = HEADGATE__KIND__KIND_ENDPOINT_SET, .name = t->name};
    const struct blob *body = at >= 0 ? part_body(state, (size_t)at) : NULL;
    if (body)
        before = (struct str){(const char *)body->bytes, body->size};
    int status = effective_encode(t->base, t->cluster->health ? &health : NULL, before, arena, &bytes);
    if (status < 0 || resource_id_of(bytes.p, bytes.n, &r.id) < 0)
        return -1;
    r.bytes = (const uint8_t *)bytes.p;
    r.size = bytes.n;
    if (resource_id_equal(&r.id, declared))
        r.name = NULL;
    *ret = r;
    return 0;
}

/* ---- a new generation ---- */

struct sets {
    struct config_resource *items;
    size_t                  count;
    struct arena            arena;
    bool                    is_new;     /* one differs from the state */
};

static void sets_finish(struct sets *s) {
    hg_free(s->items);
    arena_finish(&s->arena);
}

static int sets_init(struct sets *s, size_t most) {
    *s = (struct sets){.items = hg_calloc(most + 1, sizeof *s->items)};
    return s->items ? 0 : -1;
}

static void note_whether_new(struct sets *s, const struct part *state, const struct config_resource *r, const char *name) {
    ssize_t at = state ? part_find(state, HEADGATE__KIND__KIND_ENDPOINT_SET, name) : -1;
    bool is_same = r->name ? at >= 0 && resource_id_equal(&r->id, &part_body(state, at)->id) : at < 0;
    if (!is_same)
        s->is_new = true;
}

static void add_set(struct sets *s, const struct part *state, const struct config_resource *r, const char *name) {
    note_whether_new(s, state, r, name);
    if (r->name)
        s->items[s->count++] = *r;
}

/* Those that the state need not have are without bytes. */
static int make_dirty(struct engine *e, const struct part *state, struct sets *s) {
    for (struct tracked *t = e->endpoints.dirty; t; t = t->next_dirty) {
        struct config_resource r = {0};
        if (t->base && make_set(t, state, &t->declared_id, &s->arena, &r) < 0)
            return -1;
        note_whether_new(s, state, &r, t->name);
        if (!r.name)
            r = (struct config_resource){.kind = HEADGATE__KIND__KIND_ENDPOINT_SET, .name = t->name};
        s->items[s->count++] = r;
    }
    return 0;
}

static size_t count_dirty(const struct engine *e) {
    size_t count = 0;
    for (const struct tracked *t = e->endpoints.dirty; t; t = t->next_dirty)
        count++;
    return count;
}

/* Endpoint sets of clusters that have left. */
static void add_strays(const struct snapshot *current, struct sets *s) {
    const struct part *state = current->state;
    for (size_t i = 0; i < state->count; i++) {
        const Headgate__Entry *e = state->entries[i];
        if (e->kind == HEADGATE__KIND__KIND_ENDPOINT_SET &&
            part_find(current->intent, HEADGATE__KIND__KIND_CLUSTER, e->name) < 0)
            s->items[s->count++] = (struct config_resource){.kind = e->kind, .name = e->name};
    }
}

static void forget_dirty(struct engine *e) {
    while (e->endpoints.dirty) {
        struct tracked *t = e->endpoints.dirty;
        e->endpoints.dirty = t->next_dirty;
        t->is_dirty = false;
    }
}

static void save_after(struct engine *e, double seconds) {
    ev_timer_stop(e->config.loop, &e->endpoints.save);
    ev_timer_set(&e->endpoints.save, seconds, 0.);
    ev_timer_start(e->config.loop, &e->endpoints.save);
}

/* At once after a quiet second: what has just been found is to outlive this process. */
void engine_endpoints_save_soon(struct engine *e) {
    double quiet = (double)(clock_monotonic_us() - e->endpoints.saved_at) / 1e6;
    bool was_quiet = !e->endpoints.saved_at || quiet >= SAVE_AFTER_SECONDS;
    if (!ev_is_active(&e->endpoints.save))
        save_after(e, was_quiet ? 0. : SAVE_AFTER_SECONDS - quiet);
}

static int publish_state(struct engine *e, struct sets *s) {
    const struct snapshot *current = channel_current(e->channel);
    if (e->endpoints.has_strays)
        add_strays(current, s);
    qsort(s->items, s->count, sizeof *s->items, state_compare);
    struct part *state = part_change(current->state, s->items, s->count);
    int status = state ? engine_set_state(e, state) : -1;
    part_unref(state);
    if (status < 0)
        return -1;
    channel_current(e->channel)->known_at = e->endpoints.dirty_at;
    e->endpoints.has_strays = false;
    e->endpoints.generations++;
    e->endpoints.published_at = clock_monotonic_us();
    engine_endpoints_save_soon(e);
    return 0;
}

static void publish_after(struct engine *e, uint64_t us) {
    if (ev_is_active(&e->endpoints.publish))
        return;
    ev_timer_set(&e->endpoints.publish, (double)us / 1e6, 0.);
    ev_timer_start(e->config.loop, &e->endpoints.publish);
}

static void publish(struct engine *e) {
    const struct snapshot *current = channel_current(e->channel);
    struct sets dirty = {0};
    e->endpoints.is_pending = e->job != NULL;
    if (!current || e->job || e->is_stopping || !e->endpoints.dirty)
        return;
    int status = sets_init(&dirty, count_dirty(e) + (e->endpoints.has_strays ? current->state->count : 0));
    if (status == 0)
        status = make_dirty(e, current->state, &dirty);
    if (status == 0 && dirty.is_new)
        status = publish_state(e, &dirty);
    sets_finish(&dirty);
    if (status == 0) {
        forget_dirty(e);
        return;
    }
    log_error("no memory for changed endpoints");
    publish_after(e, 1000000);
}

static void on_publish(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    publish(timer->data);
}

/* The first change goes out when the loop turns, further ones together with all of the next while. */
static void mark_dirty(struct tracked *t, uint64_t known_at) {
    struct engine *e = t->engine;
    if (!e->endpoints.dirty || known_at < e->endpoints.dirty_at)
        e->endpoints.dirty_at = known_at;
    if (!t->is_dirty) {
        t->is_dirty = true;
        t->next_dirty = e->endpoints.dirty;
        e->endpoints.dirty = t;
    }
    uint64_t since = clock_monotonic_us() - e->endpoints.published_at;
    publish_after(e, since < PUBLISH_EVERY_US ? PUBLISH_EVERY_US - since : 0);
}

void engine_endpoints_resume(struct engine *e) {
    if (e->endpoints.is_pending)
        publish_after(e, 0);
}

/* ---- on disk ---- */

static void on_saved(struct engine *e, int status, const struct error_list *errors) {
    if (status == 0) {
        e->endpoints.saves++;
        return;
    }
    log_error("changed endpoints cannot be stored", LOG_S("reason", errors->count ? errors->items[0].message : ""));
    save_after(e, SAVE_AGAIN_SECONDS);
}

void engine_endpoints_save(struct engine *e) {
    const struct snapshot *current = channel_current(e->channel);
    struct error_list errors = {0};
    bool was_under_way = state_saver_drop(&e->endpoints.saver);
    if (!was_under_way && !ev_is_active(&e->endpoints.save))
        return;
    ev_timer_stop(e->config.loop, &e->endpoints.save);
    on_saved(e, engine_save_state(e, current->state, current->generation, &errors), &errors);
    error_list_finish(&errors);
}

/* Beside the loop: a change that comes meanwhile does not wait for the disk. */
static void begin_save(struct engine *e) {
    const struct snapshot *current = channel_current(e->channel);
    struct error_list errors = {0};
    e->endpoints.saved_at = clock_monotonic_us();
    if (state_saver_begin(&e->endpoints.saver, current->state, current->generation, &errors) < 0)
        on_saved(e, -1, &errors);
    error_list_finish(&errors);
}

/* A push that is being stored has its own state on disk until it is over. */
static void on_save(struct ev_loop *loop, ev_timer *timer, int events) {
    struct engine *e = timer->data;
    (void)loop;
    (void)events;
    if (e->job || e->endpoints.saver.is_running)
        save_after(e, SAVE_AFTER_SECONDS);
    else
        begin_save(e);
}

/* ---- what sources and checks say ---- */

static void on_no_memory(void *context) {
    struct tracked *t = context;
    if (tracked_failed(t, "no memory"))
        log_error("no memory for the endpoints that were found; trying again", LOG_S("cluster", t->name));
    t->lacks_endpoints = true;
    engine_try_again_later(t->engine);
}

static void on_found(void *context, const Headgate__EndpointSet *set) {
    struct tracked *t = context;
    int changed = tracked_found(t, set);
    if (changed < 0)
        on_no_memory(t);
    if (changed <= 0)
        return;
    log_info("endpoints found", LOG_S("cluster", t->name), LOG_U("endpoints", set->n_endpoints));
    mark_dirty(t, t->received_at);
}

static void on_failed(void *context, const char *reason) {
    struct tracked *t = context;
    if (tracked_failed(t, reason))
        log_warning("discovery failed", LOG_S("cluster", t->name), LOG_S("reason", reason));
}

static void log_health(const struct health_change *c) {
    if (c->health == HEADGATE__ENDPOINT__HEALTH__UNHEALTHY)
        log_warning("endpoint is unhealthy", LOG_S("cluster", c->cluster), LOG_S("address", c->address),
                    LOG_S("reason", c->reason));
    else
        log_info("endpoint is healthy", LOG_S("cluster", c->cluster), LOG_S("address", c->address));
}

static void on_health(void *context, const struct health_change *changes, size_t count) {
    enum { LOGGED_MAX = 20 };
    struct engine *e = context;
    for (size_t i = 0; i < count; i++) {
        struct tracked *t = map_get(&e->endpoints.clusters, str_of(changes[i].cluster));
        if (i < LOGGED_MAX)
            log_health(&changes[i]);
        if (t)
            mark_dirty(t, changes[i].at);
    }
    if (count > LOGGED_MAX)
        log_warning("the health of more endpoints has changed", LOG_U("endpoints", count - LOGGED_MAX));
}

/* What data planes present and trust. */
static struct str find_secret(void *context, const char *name) {
    const struct engine *e = context;
    const struct snapshot *s = channel_current(e->channel);
    ssize_t at = s ? part_find(s->state, HEADGATE__KIND__KIND_SECRET, name) : -1;
    const struct blob *body = at >= 0 ? part_body(s->state, (size_t)at) : NULL;
    return body ? (struct str){(const char *)body->bytes, body->size} : (struct str){NULL, 0};
}

void engine_renew_checks(struct engine *e) {
    const struct map_entry *entry;
    size_t position = 0;
    while ((entry = map_next(&e->endpoints.clusters, &position)) != NULL) {
        struct tracked *t = entry->value;
        if (t->cluster && t->cluster->tls)
            tracked_set_checks(t);
    }
}

void engine_try_again_later(struct engine *e) {
    if (ev_is_active(&e->endpoints.again))
        return;
    ev_timer_set(&e->endpoints.again, TRY_AGAIN_SECONDS, 0.);
    ev_timer_start(e->config.loop, &e->endpoints.again);
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int events) {
    struct engine *e = timer->data;
    const struct map_entry *entry;
    size_t position = 0;
    (void)loop;
    (void)events;
    if (e->endpoints.lacks_clusters)
        engine_follow_intent(e);
    while ((entry = map_next(&e->endpoints.clusters, &position)) != NULL) {
        struct tracked *t = entry->value;
        if (t->lacks_endpoints)
            tracked_ask_again(t);
        if (t->lacks_checks)
            tracked_set_checks(t);
    }
}

/* ---- following the intent ---- */

static void leave_dirty(struct engine *e, const struct tracked *t) {
    struct tracked **at = &e->endpoints.dirty;
    while (*at && *at != t)
        at = &(*at)->next_dirty;
    if (*at)
        *at = t->next_dirty;
}

static void drop_unseen(struct engine *e) {
    const struct map_entry *entry;
    struct tracked *gone = NULL, *next;
    size_t position = 0;
    while ((entry = map_next(&e->endpoints.clusters, &position)) != NULL) {
        struct tracked *t = entry->value;
        if (t->is_seen)
            continue;
        t->next_gone = gone;
        gone = t;
    }
    for (; gone; gone = next) {
        next = gone->next_gone;
        map_remove(&e->endpoints.clusters, str_of(gone->name));
        if (gone->is_dirty)
            leave_dirty(e, gone);
        tracked_destroy(gone);
    }
}

/* The tracked cluster of that name, which is made when it is not there; NULL without memory. */
static struct tracked *track(struct engine *e, const char *name) {
    struct tracked *t = map_get(&e->endpoints.clusters, str_of(name));
    if (t)
        return t;
    t = tracked_create(e, name);
    if (t && map_set(&e->endpoints.clusters, str_of(t->name), t) == 0)
        return t;
    tracked_destroy(t);
    return NULL;
}

static int follow_cluster(struct engine *e, const struct snapshot *s, size_t at) {
    const struct source_sink sink = {.found = on_found, .failed = on_failed, .no_memory = on_no_memory};
    const char *name = s->intent->entries[at]->name;
    const struct resource_id *declared = tracked_declared(s->intent, name);
    struct tracked *t = track(e, name);
    if (!t)
        return -1;
    t->is_seen = true;
    if (resource_id_equal(&t->cluster_id, &part_body(s->intent, at)->id) && resource_id_equal(&t->declared_id, declared))
        return 0;
    if (tracked_update(t, part_body(s->intent, at), declared, s, &sink) < 0)
        return -1;
    mark_dirty(t, clock_monotonic_us());
    return 0;
}

void engine_follow_intent(struct engine *e) {
    const struct snapshot *s = channel_current(e->channel);
    const struct map_entry *entry;
    size_t position = 0;
    int status = 0;
    while ((entry = map_next(&e->endpoints.clusters, &position)) != NULL)
        ((struct tracked *)entry->value)->is_seen = false;
    for (size_t i = 0; s && i < s->intent->count; i++)
        if (s->intent->entries[i]->kind == HEADGATE__KIND__KIND_CLUSTER)
            status |= follow_cluster(e, s, i);
    drop_unseen(e);
    e->endpoints.has_strays = true;
    e->endpoints.lacks_clusters = status < 0;
    if (status == 0)
        return;
    log_error("no memory to find and check the endpoints of every cluster; trying again");
    engine_try_again_later(e);
}

/* ---- a push ---- */

/* Of a cluster that is as it was, the state has what it should; of another, it is made. */
static int add_for_push(struct engine *e, const struct config_resources *intent, const struct config_resource *cluster,
                        struct part *state, struct sets *s) {
    const struct config_resource *set =
        config_resources_find(intent, HEADGATE__KIND__KIND_ENDPOINT_SET, str_of(cluster->name));
    static const struct resource_id none;
    const struct resource_id *declared = set ? &set->id : &none;
    struct tracked *t = map_get(&e->endpoints.clusters, str_of(cluster->name));
    if (t && resource_id_equal(&t->cluster_id, &cluster->id) && resource_id_equal(&t->declared_id, declared)) {
        ssize_t at = state ? part_find(state, HEADGATE__KIND__KIND_ENDPOINT_SET, t->name) : -1;
        if (at >= 0)
            s->items[s->count++] = state_resource(state, (size_t)at);
        return 0;
    }
    struct tracked new = {.engine = e, .name = (char *)(uintptr_t)cluster->name};
    struct config_resource r = {0};
    int status = tracked_preview(&new, t, cluster, set, state);
    if (status == 0 && new.base)
        status = make_set(&new, state, declared, &s->arena, &r);
    if (status == 0)
        add_set(s, state, &r, cluster->name);
    tracked_preview_finish(&new);
    return status;
}

struct part *engine_make_endpoints(struct engine *e, const struct config_resources *intent, struct part *state) {
    struct sets sets = {0};
    struct part *made = NULL;
    int status = sets_init(&sets, intent->count);
    for (size_t i = 0; i < intent->count && status == 0; i++)
        if (intent->items[i].kind == HEADGATE__KIND__KIND_CLUSTER)
            status = add_for_push(e, intent, &intent->items[i], state, &sets);
    if (status == 0)
        made = state_replace(state, HEADGATE__KIND__KIND_ENDPOINT_SET, sets.items, sets.count);
    sets_finish(&sets);
    return made;
}

/* ---- for status and metrics ---- */

/* Of a cluster that has a source. */
static void fill_source_state(const struct tracked *t, struct source_state *ret) {
    t->source->kind->state(t->source, ret);
    if (!ret->failure[0] && t->refusal)
        snprintf(ret->failure, sizeof ret->failure, "%s", t->refusal);
}

bool engine_cluster_source(const struct engine *e, const char *cluster, struct source_state *ret) {
    const struct tracked *t = map_get(&e->endpoints.clusters, str_of(cluster));
    if (!t || !t->source)
        return false;
    fill_source_state(t, ret);
    return true;
}

const char *engine_health_failure(const struct engine *e, const char *cluster, const char *address, uint64_t *ret_at) {
    return e->endpoints.health ? e->config.checks->last_failure(e->endpoints.health, cluster, address, ret_at) : NULL;
}

static void add_totals(const struct tracked *t, struct engine_source_totals totals[SOURCE_KINDS]) {
    struct source_state s;
    if (!t->source)
        return;
    struct engine_source_totals *sum = &totals[source_kind_index(t->source->kind)];
    fill_source_state(t, &s);
    sum->sources++;
    sum->failing += s.failure[0] != '\0';
    sum->left_out += s.left_out;
    sum->asked += s.asked;
    sum->failures += s.failures;
}

void engine_endpoint_counters(const struct engine *e, struct engine_endpoint_counters *ret) {
    const struct engine_endpoints *p = &e->endpoints;
    const struct map_entry *entry;
    size_t position = 0;
    *ret = (struct engine_endpoint_counters){.generations = p->generations, .saves = p->saves};
    memcpy(ret->sources, p->gone, sizeof ret->sources);
    while ((entry = map_next(&p->clusters, &position)) != NULL)
        add_totals(entry->value, ret->sources);
    ret->health = p->health ? e->config.checks->counters(p->health) : NULL;
    ret->resolver = resolver_counters(p->resolver);
    ret->has_kubernetes = e->config.kubernetes != NULL;
    if (!ret->has_kubernetes)
        return;
    kubernetes_count(e->config.kubernetes, &ret->kubernetes);
    followed_count(e, &ret->kubernetes);
}

/* ---- life ---- */

int engine_endpoints_init(struct engine *e, struct error_list *errors) {
    const struct health_config health = {
        .loop = e->config.loop, .context = e, .changed = on_health, .secret = find_secret};
    struct engine_endpoints *p = &e->endpoints;
    ev_timer_init(&p->publish, on_publish, 0., 0.);
    ev_timer_init(&p->save, on_save, SAVE_AFTER_SECONDS, 0.);
    ev_timer_init(&p->again, on_again, 0., 0.);
    p->publish.data = p->save.data = p->again.data = e;
    p->saver = (struct state_saver){.engine = e, .saved = on_saved};
    for (size_t i = 0; i < SOURCE_KINDS; i++)
        p->gone[i].kind = source_kinds[i]->name;
    p->resolver = resolver_create(e->config.loop);
    if (!p->resolver) {
        error_addf(errors, ERROR_MEMORY, "no memory for DNS");
        return -1;
    }
    if (e->config.checks)
        p->health = e->config.checks->create(&health, errors);
    return p->health || !e->config.checks ? 0 : -1;
}

void engine_endpoints_finish(struct engine *e) {
    struct engine_endpoints *p = &e->endpoints;
    const struct map_entry *entry;
    size_t position = 0;
    ev_timer_stop(e->config.loop, &p->publish);
    ev_timer_stop(e->config.loop, &p->save);
    ev_timer_stop(e->config.loop, &p->again);
    state_saver_drop(&p->saver);
    while ((entry = map_next(&p->clusters, &position)) != NULL)
        tracked_destroy(entry->value);
    map_finish(&p->clusters);
    if (p->health)
        e->config.checks->destroy(p->health);
    resolver_destroy(p->resolver);
}
