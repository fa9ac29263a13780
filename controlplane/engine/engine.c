#include "common/alloc.h"
#include "common/log.h"
#include "common/secret_memory.h"
#include "controlplane/engine/internal.h"

/* ---- views ---- */

static int view_current(const struct engine *e, struct engine_view *ret) {
    struct snapshot *current = channel_current(e->channel);
    struct engine_view view = {0};
    if (current) {
        if (part_resources(current->intent, &view.set) < 0)
            return -1;
        view.version = current->version;
        view.borrowed = snapshot_ref(current);
        layers_mark(e, &view);
    }
    *ret = view;
    return 0;
}

int engine_read_resource(const struct store *store, const struct store_entry *entry,
                         struct config_resources *set, struct error_list *errors) {
    uint8_t *bytes;
    size_t size;
    if (store_read_object(store, &entry->id, &bytes, &size, errors) < 0)
        return -1;
    int status = config_resources_add(set, entry->kind, str_of(entry->name), bytes, size);
    hg_free(bytes);
    if (status < 0)
        error_addf(errors, ERROR_MEMORY, "no memory for the resources of a version");
    else
        set->items[set->count - 1].layer = entry->layer;
    return status;
}

static int read_resources(const struct store *store, const struct store_manifest *m,
                          struct config_resources *ret, struct error_list *errors) {
    int status = 0;
    for (size_t i = 0; status == 0 && i < m->version.resources; i++)
        status = engine_read_resource(store, &m->entries[i], ret, errors);
    return status;
}

static int view_stored(struct engine *e, uint64_t number, struct engine_view *ret,
                       struct error_list *errors) {
    struct engine_view view = {.version = number, .is_owned = true};
    struct store_manifest *m = store_read_version(e->store, number, errors);
    if (!m)
        return -1;
    int status = read_resources(e->store, m, &view.set, errors);
    store_manifest_unref(m);
    if (status < 0)
        engine_view_finish(&view);
    else
        *ret = view;
    return status;
}

int engine_view(struct engine *e, uint64_t number, struct engine_view *ret, struct error_list *errors) {
    const struct snapshot *current = channel_current(e->channel);
    if (number != 0 && (!current || current->version != number))
        return view_stored(e, number, ret, errors);
    if (view_current(e, ret) == 0)
        return 0;
    error_addf(errors, ERROR_MEMORY, "no memory for the resources of a version");
    return -1;
}

void engine_view_keep_pushed(struct engine_view *view) {
    size_t n = 0;
    for (size_t i = 0; i < view->set.count; i++)
        if (view->set.items[i].layer == ENGINE_LAYER_PUSHED)
            view->set.items[n++] = view->set.items[i];
    view->set.count = n;
}

void engine_view_finish(struct engine_view *view) {
    if (view->is_owned)
        config_resources_finish(&view->set);
    else
        hg_free(view->set.items);
    snapshot_unref(view->borrowed);
    *view = (struct engine_view){0};
}

/* ---- starting from what is stored ---- */

static struct part *stored_intent(const struct store *store, const struct store_manifest *m,
                                  struct error_list *errors) {
    struct config_resources set = {0};
    struct part *part = NULL;
    if (read_resources(store, m, &set, errors) == 0) {
        part = part_create(set.items, set.count, NULL);
        if (!part)
            error_addf(errors, ERROR_MEMORY, "no memory for the stored intent");
    }
    config_resources_finish(&set);
    return part;
}

/* A state that cannot be read is reported and left out: it is made anew by whoever makes state. */
static struct part *stored_state(struct engine *e, uint64_t *ret_generation, struct error_list *errors) {
    struct store_state state = {0};
    struct error_list faults = {0};
    if (store_load_state(e->store, &state, &faults) < 0)
        log_error("the saved state cannot be used",
                  LOG_S("reason", faults.count ? faults.items[0].message : ""));
    struct part *part = engine_split_state(e, &state);
    if (!part)
        error_addf(errors, ERROR_MEMORY, "no memory for the stored state");
    *ret_generation = state.generation;
    for (size_t i = 0; i < state.count; i++)
        if (state.resources[i].kind == HEADGATE__KIND__KIND_SECRET)
            secret_clear((void *)(uintptr_t)state.resources[i].bytes, state.resources[i].size);
    store_state_finish(&state);
    error_list_finish(&faults);
    return part;
}

static int load_current(struct engine *e, struct error_list *errors) {
    struct store_manifest *m = store_current(e->store);
    uint64_t generation = 0;
    if (!m) {
        log_info("there is no configuration yet: nothing is pushed until there is");
        return 0;
    }
    struct part *intent = stored_intent(e->store, m, errors);
    struct part *state = stored_state(e, &generation, errors);
    if (!intent || !state || layers_load(e, m, errors) < 0) {
        part_unref(intent);
        part_unref(state);
        return -1;
    }
    struct snapshot *s = snapshot_create(store_lineage(e->store), m->version.number, generation, intent,
                                         state);
    if (!s) {
        error_addf(errors, ERROR_MEMORY, "no memory for the stored snapshot");
        return -1;
    }
    channel_set_current(e->channel, s);
    snapshot_unref(s);
    engine_refresh_secrets(e);
    engine_follow_intent(e);
    followed_settle(e);
    log_info("started from the stored version", LOG_U("version", m->version.number),
             LOG_U("resources", m->version.resources));
    return 0;
}

/* ---- life ---- */

static int open_all(struct engine *e, struct error_list *errors) {
    const struct channel_events events = {.wake = e->config.wake,
                                          .end = e->config.end,
                                          .may_be_called = e->config.may_be_called,
                                          .push_ready = push_job_ready,
                                          .push_done = push_job_done};
    e->store = store_open(e->config.state_dir, errors);
    if (!e->store || engine_secrets_init(e, errors) < 0 || engine_endpoints_init(e, errors) < 0)
        return -1;
    e->channel = channel_create(&e->config.channel, &events, e);
    if (e->channel)
        return load_current(e, errors);
    error_addf(errors, ERROR_MEMORY, "no memory for the channel");
    return -1;
}

struct engine *engine_create(const struct engine_config *config, struct error_list *errors) {
    struct engine *e = hg_calloc(1, sizeof *e);
    if (!e) {
        error_addf(errors, ERROR_MEMORY, "no memory for the control plane");
        return NULL;
    }
    e->config = *config;
    e->last_waiting = &e->first_waiting;
    ev_prepare_init(&e->next, push_begin_next);
    e->next.data = e;
    upkeep_init(e);
    layers_init(e);
    followed_init(e);
    if (open_all(e, errors) == 0)
        return e;
    engine_destroy(e);
    return NULL;
}

void engine_destroy(struct engine *e) {
    if (!e)
        return;
    ev_clear_pending(e->config.loop, &e->next);
    followed_finish(e);
    layers_finish(e);
    upkeep_finish(e);
    engine_endpoints_finish(e);
    engine_secrets_finish(e);
    channel_destroy(e->channel);
    store_close(e->store);
    hg_free(e);
}

struct channel *engine_channel(struct engine *e) {
    return e->channel;
}

struct store *engine_store(struct engine *e) {
    return e->store;
}

const struct engine_counters *engine_counters(const struct engine *e) {
    return &e->counters;
}

bool engine_is_busy(const struct engine *e) {
    return engine_pushes(e) > 0;
}

size_t engine_pushes(const struct engine *e) {
    return (e->job != NULL) + e->waiting + layers_waiting(e);
}

void engine_stop(struct engine *e) {
    e->is_stopping = true;
    layers_hurry(e);
    engine_endpoints_save(e);
    upkeep_stop(e);
}
