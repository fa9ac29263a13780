#include "controlplane/engine/tracked.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/config/endpoint_bounds.h"
#include "controlplane/engine/effective.h"

/* ---- parts of messages ---- */

const struct resource_id *tracked_declared(const struct part *intent, const char *name) {
    static const struct resource_id none;
    ssize_t at = part_find(intent, HEADGATE__KIND__KIND_ENDPOINT_SET, name);
    return at < 0 ? &none : &part_body(intent, at)->id;
}

/* The endpoint set of a part. NULL: it is not there (or no memory). */
static Headgate__EndpointSet *decode_set(const struct part *p, const char *name) {
    ssize_t at = p ? part_find(p, HEADGATE__KIND__KIND_ENDPOINT_SET, name) : -1;
    if (at < 0)
        return NULL;
    return headgate__endpoint_set__unpack(NULL, part_body(p, at)->size, part_body(p, at)->bytes);
}

static bool is_same_message(const ProtobufCMessage *a, const ProtobufCMessage *b) {
    size_t size = a ? protobuf_c_message_get_packed_size(a) : 0;
    if (!a || !b)
        return a == b;
    if (protobuf_c_message_get_packed_size(b) != size)
        return false;
    uint8_t *bytes = hg_malloc(2 * size + 1);
    bool is_same = bytes && protobuf_c_message_pack(a, bytes) == protobuf_c_message_pack(b, bytes + size) &&
                   memcmp(bytes, bytes + size, size) == 0;
    hg_free(bytes);
    return is_same;
}

static Headgate__EndpointSet *copy_set(const Headgate__EndpointSet *set, struct resource_id *ret_id) {
    size_t size = headgate__endpoint_set__get_packed_size(set);
    uint8_t *bytes = hg_malloc(size + 1);
    Headgate__EndpointSet *copy = NULL;
    if (bytes) {
        headgate__endpoint_set__pack(set, bytes);
        if (resource_id_of(bytes, size, ret_id) == 0)
            copy = headgate__endpoint_set__unpack(NULL, size, bytes);
    }
    hg_free(bytes);
    return copy;
}

static void free_set(Headgate__EndpointSet *set) {
    if (set)
        headgate__endpoint_set__free_unpacked(set, NULL);
}

static void free_cluster(Headgate__Cluster *m) {
    if (m)
        headgate__cluster__free_unpacked(m, NULL);
}

/* The cluster, when there is something to find or check; *ret NULL otherwise. 0, or -1 without memory. */
static int decode_cluster(const uint8_t *bytes, size_t size, Headgate__Cluster **ret) {
    Headgate__Cluster *m = headgate__cluster__unpack(NULL, size, bytes);
    if (!m)
        return -1;
    if (!m->discovery && !m->health) {
        free_cluster(m);
        m = NULL;
    }
    *ret = m;
    return 0;
}

/* Where endpoints are found, what is stored counts until then; what was declared, only when nothing is stored. NULL without
 * memory. */
static Headgate__EndpointSet *stored_or_declared(const Headgate__Cluster *m, const char *name, const struct part *state,
                                                 const uint8_t *declared, size_t size) {
    Headgate__EndpointSet *set = m->discovery ? decode_set(state, name) : NULL;
    if (set)
        effective_forget_checks(set);
    return set ? set : headgate__endpoint_set__unpack(NULL, size, declared);
}

/* ---- checks ---- */

static void stop_checks(struct tracked *t) {
    const struct engine *e = t->engine;
    struct error_list errors = {0};
    t->lacks_checks = false;
    if (e->endpoints.health && t->cluster && t->cluster->health)
        e->config.checks->set_cluster(e->endpoints.health, t->name, NULL, NULL, &errors);
    error_list_finish(&errors);
}

static void note_lack(struct tracked *t, const char *reason) {
    if (!t->lacks_checks)
        log_error("the checks of a cluster stay as they were; trying again", LOG_S("cluster", t->name),
                  LOG_S("reason", reason));
    t->lacks_checks = true;
    engine_try_again_later(t->engine);
}

void tracked_set_checks(struct tracked *t) {
    const struct engine *e = t->engine;
    const Headgate__Cluster *m = t->cluster;
    struct error_list errors = {0};
    if (!e->endpoints.health || !m || !m->health)
        return;
    const struct health_way way = {.check = m->health, .tls = m->tls, .choices = m->tls_choices,
                                   .choice_count = m->n_tls_choices, .protocol = m->protocol};
    if (e->config.checks->set_cluster(e->endpoints.health, t->name, &way, t->base, &errors) < 0)
        note_lack(t, errors.count ? errors.items[0].message : "");
    else
        t->lacks_checks = false;
    error_list_finish(&errors);
}

/* ---- sources ---- */

static void forget_failure(struct tracked *t) {
    hg_free(t->failure);
    t->failure = NULL;
}

static void forget_refusal(struct tracked *t) {
    hg_free(t->refusal);
    t->refusal = NULL;
}

static void drop_source(struct tracked *t) {
    struct engine_source_totals *gone;
    struct source_state s;
    if (!t->source)
        return;
    gone = &t->engine->endpoints.gone[source_kind_index(t->source->kind)];
    t->source->kind->state(t->source, &s);
    gone->asked += s.asked;
    gone->failures += s.failures;
    t->source->kind->destroy(t->source);
    t->source = NULL;
    t->lacks_endpoints = false;
    forget_failure(t);
    forget_refusal(t);
}

static struct source_config source_config_of(const struct engine *e) {
    return (struct source_config){.loop = e->config.loop, .root = &e->secrets.root, .resolver = e->endpoints.resolver,
                                  .feed = e->config.feed, .kubernetes = e->config.kubernetes,
                                  .registry = e->config.registry};
}

/* Whether data planes would take it. Otherwise *ret_reason, the caller's, says why not; NULL without memory. */
static bool is_within_bounds(const Headgate__Cluster *m, const Headgate__EndpointSet *set, char **ret_reason) {
    struct error_list errors = {0};
    bool is_within = config_check_endpoints(m, set, &errors) == 0;
    bool has_reason = errors.count > 0 && errors.items[0].code != ERROR_MEMORY;
    *ret_reason = has_reason ? hg_strdup(errors.items[0].message) : NULL;
    error_list_finish(&errors);
    return is_within;
}

/* What a source would say at once. */
static Headgate__EndpointSet *known_already(const struct tracked *t, const Headgate__Cluster *m) {
    const struct source_kind *kind = source_kind_of(m->discovery);
    const struct source_config config = source_config_of(t->engine);
    Headgate__EndpointSet *set = kind && kind->known ? kind->known(&config, m->discovery) : NULL;
    char *reason = NULL;
    if (set && !is_within_bounds(m, set, &reason)) {
        free_set(set);
        set = NULL;
    }
    hg_free(reason);
    return set;
}

static int make_source(struct tracked *t, const Headgate__Discovery *m, const struct source_sink *sink) {
    const struct source_kind *kind = source_kind_of(m);
    struct error_list errors = {0};
    struct source_config config = source_config_of(t->engine);
    if (!kind)
        return 0;
    config.sink = *sink;
    config.sink.context = t;
    t->source = kind->create(&config, m, &errors);
    error_list_finish(&errors);
    return t->source ? 0 : -1;
}

static void refuse(struct tracked *t, char *reason) {
    if (!t->refusal || strcmp(t->refusal, reason) != 0)
        log_warning("endpoints found are more than data planes take; those before stay", LOG_S("cluster", t->name),
                    LOG_S("reason", reason));
    forget_refusal(t);
    t->refusal = reason;
}

/* 1: they are used from now on; 0; or -1 without memory. Takes the set. */
static int use_found(struct tracked *t, Headgate__EndpointSet *set, const struct resource_id *id) {
    char *reason = NULL;
    bool is_same = t->has_found && resource_id_equal(id, &t->found_id);
    if (!is_same && !is_within_bounds(t->cluster, set, &reason)) {
        free_set(set);
        if (reason)
            refuse(t, reason);
        return reason ? 0 : -1;
    }
    forget_refusal(t);
    if (is_same) {
        free_set(set);
        return 0;
    }
    free_set(t->base);
    t->base = set;
    t->found_id = *id;
    t->has_found = true;
    return 1;
}

int tracked_found(struct tracked *t, const Headgate__EndpointSet *set) {
    struct resource_id id;
    struct source_state state;
    Headgate__EndpointSet *copy = copy_set(set, &id);
    if (!copy)
        return -1;
    t->lacks_endpoints = false;
    t->source->kind->state(t->source, &state);
    if (!state.failure[0])
        forget_failure(t);
    int status = use_found(t, copy, &id);
    if (status <= 0)
        return status;
    t->received_at = state.received_at ? state.received_at : clock_monotonic_us();
    tracked_set_checks(t);
    return 1;
}

bool tracked_failed(struct tracked *t, const char *reason) {
    if (t->failure && strcmp(t->failure, reason) == 0)
        return false;
    forget_failure(t);
    t->failure = hg_strdup(reason);
    return true;
}

void tracked_ask_again(struct tracked *t) {
    t->lacks_endpoints = false;
    t->source->kind->refresh(t->source);
}

/* ---- following the intent ---- */

static bool has_source_of(const struct tracked *t, const Headgate__Cluster *m) {
    const Headgate__Discovery *before = t->cluster ? t->cluster->discovery : NULL;
    return t->source && is_same_message((const ProtobufCMessage *)before, (const ProtobufCMessage *)m->discovery);
}

/* What was found last stays until the new source says something else. */
static int update_base(struct tracked *t, const Headgate__Cluster *m, const struct snapshot *s) {
    ssize_t at = part_find(s->intent, HEADGATE__KIND__KIND_ENDPOINT_SET, t->name);
    const struct blob *declared = at < 0 ? NULL : part_body(s->intent, at);
    Headgate__EndpointSet *set = has_source_of(t, m) ? NULL : known_already(t, m);
    if (!set && m->discovery && t->has_found)
        return 0;
    if (!set)
        set = stored_or_declared(m, t->name, s->state, declared ? declared->bytes : NULL, declared ? declared->size : 0);
    if (!set)
        return -1;
    free_set(t->base);
    t->base = set;
    t->has_found = false;
    return 0;
}

static int update_source(struct tracked *t, const Headgate__Cluster *m, const struct source_sink *sink) {
    if (has_source_of(t, m))
        return 0;
    drop_source(t);
    return make_source(t, m->discovery, sink);
}

/* Neither found nor checked any more. */
static void become_plain(struct tracked *t) {
    drop_source(t);
    stop_checks(t);
    free_set(t->base);
    free_cluster(t->cluster);
    t->base = NULL;
    t->cluster = NULL;
    t->has_found = false;
}

/* By what the cluster is now it may be within bounds. */
static void ask_for_refused(struct tracked *t) {
    if (!t->refusal)
        return;
    t->lacks_endpoints = true;
    engine_try_again_later(t->engine);
}

int tracked_update(struct tracked *t, const struct blob *cluster, const struct resource_id *declared,
                   const struct snapshot *s, const struct source_sink *sink) {
    Headgate__Cluster *m;
    t->cluster_id = (struct resource_id){0}; /* what fails in the middle is of no intent */
    if (decode_cluster(cluster->bytes, cluster->size, &m) < 0)
        return -1;
    if (!m)
        become_plain(t);
    else if (update_base(t, m, s) < 0 || update_source(t, m, sink) < 0) {
        free_cluster(m);
        return -1;
    } else {
        if (!m->health)
            stop_checks(t);
        free_cluster(t->cluster);
        t->cluster = m;
        tracked_set_checks(t);
        ask_for_refused(t);
    }
    t->cluster_id = cluster->id;
    t->declared_id = *declared;
    return 0;
}

int tracked_preview(struct tracked *t, const struct tracked *now, const struct config_resource *cluster,
                    const struct config_resource *declared, const struct part *state) {
    if (decode_cluster(cluster->bytes, cluster->size, &t->cluster) < 0)
        return -1;
    if (!t->cluster)
        return 0;
    if (!now || !has_source_of(now, t->cluster))
        t->base = known_already(t, t->cluster);
    if (t->base)
        return 0;
    if (t->cluster->discovery && now && now->has_found)
        t->base = copy_set(now->base, &t->found_id);
    else
        t->base = stored_or_declared(t->cluster, cluster->name, state, declared ? declared->bytes : NULL,
                                     declared ? declared->size : 0);
    return t->base ? 0 : -1;
}

void tracked_preview_finish(struct tracked *t) {
    free_set(t->base);
    free_cluster(t->cluster);
}

/* ---- life ---- */

struct tracked *tracked_create(struct engine *e, const char *name) {
    struct tracked *t = hg_calloc(1, sizeof *t);
    char *own = hg_strdup(name);
    if (!t || !own) {
        hg_free(own);
        hg_free(t);
        return NULL;
    }
    t->engine = e;
    t->name = own;
    return t;
}

void tracked_destroy(struct tracked *t) {
    if (!t)
        return;
    become_plain(t);
    hg_free(t->name);
    hg_free(t);
}
