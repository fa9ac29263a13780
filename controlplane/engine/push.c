#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/channel/message_copy.h"
#include "common/secret_memory.h"
#include "controlplane/engine/internal.h"
#include "controlplane/engine/reply.h"

/* ---- the end of a job ---- */

/* Keys that came with the push are in its request. */
static void clear_embedded(const Headgate__PushRequest *request) {
    bool has_sources = request->change_case == HEADGATE__PUSH_REQUEST__CHANGE_SOURCES;
    for (size_t i = 0; has_sources && i < request->sources->n_embedded; i++) {
        const ProtobufCBinaryData *text = &request->sources->embedded[i]->text;
        if (text->data)
            secret_clear(text->data, text->len);
    }
}

void push_job_destroy(struct push_job *job) {
    if (job->request) {
        clear_embedded(job->request);
        headgate__push_request__free_unpacked(job->request, NULL);
    }
    config_resources_finish(&job->set);
    secrets_work_finish(&job->work);
    plan_finish(&job->plan);
    secrets_made_finish(&job->secrets);
    part_unref(job->before);
    error_list_finish(&job->secret_warnings);
    snapshot_unref(job->target);
    error_list_finish(&job->errors);
    error_list_finish(&job->warnings);
    arena_finish(&job->arena);
    hg_free(job);
}

static const char *outcome_name(Headgate__PushReply__Outcome outcome) {
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
        &headgate__push_reply__outcome__descriptor, outcome);
    return v ? v->name : "";
}

static void log_reply(const Headgate__PushReply *r) {
    enum log_level level = r->outcome == HEADGATE__PUSH_REPLY__OUTCOME__REFUSED ? LOG_LEVEL_WARNING
                                                                                : LOG_LEVEL_INFO;
    const struct log_value values[] = {LOG_S("outcome", outcome_name(r->outcome)),
                                       LOG_U("version", r->version),
                                       LOG_U("data_planes", r->n_data_planes),
                                       LOG_U("changes", r->change_count),
                                       LOG_U("push_us", r->push_us),
                                       LOG_U("store_us", r->store_us),
                                       {0}};
    log_write(level, "push", values);
}

static void count_reply(struct engine *e, const Headgate__PushReply *r) {
    e->counters.pushes[r->outcome]++;
    if (r->outcome != HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED &&
        r->outcome != HEADGATE__PUSH_REPLY__OUTCOME__STORED)
        return;
    e->counters.push_us += r->push_us;
    e->counters.store_us += r->store_us;
}

/* Who sets a layer looks for resources among the problems alone. */
static void add_reasons(struct push_job *job, struct problem_list *problems) {
    for (size_t i = 0; i < job->reply.n_data_planes; i++) {
        const Headgate__DataPlaneResult *result = job->reply.data_planes[i];
        for (size_t j = 0; j < result->n_reasons; j++)
            reply_add_reason(&job->arena, problems, result->node, result->reasons[j]);
    }
}

static void add_problems(struct push_job *job) {
    struct problem_list problems = {0};
    reply_add_problems(&job->arena, &problems, &job->errors, false);
    if (job->layer != ENGINE_LAYER_PUSHED)
        add_reasons(job, &problems);
    reply_add_problems(&job->arena, &problems, &job->warnings, true);
    job->reply.problems = problems.items;
    job->reply.n_problems = problems.count;
}

/* Answers and takes the job out of the way of the next one. */
static void finish(struct engine *e, struct push_job *job, Headgate__PushReply__Outcome outcome) {
    Headgate__PushReply *r = &job->reply;
    const struct snapshot *current = channel_current(e->channel);
    r->has_outcome = r->has_version = r->has_push_us = r->has_store_us = true;
    r->outcome = outcome;
    r->version = current ? current->version : 0;
    r->push_us = clock_monotonic_us() - job->accepted_us;
    r->store_us = job->store_us;
    struct store_manifest *stored = store_current(e->store);
    if (stored) {
        r->has_hash = true;
        r->hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, stored->version.hash.bytes};
    }
    add_problems(job);
    count_reply(e, r);
    log_reply(r);
    e->job = NULL;
    job->done(job->context, r);
    push_job_destroy(job);
    followed_settle(e);
    if (e->secrets.is_pending && !e->is_stopping)
        engine_refresh_secrets(e);
    engine_endpoints_resume(e);
    if (e->first_waiting || layers_waiting(e))
        ev_feed_event(e->config.loop, &e->next, EV_PREPARE);
}

static void refuse(struct engine *e, struct push_job *job) {
    finish(e, job, HEADGATE__PUSH_REPLY__OUTCOME__REFUSED);
}

/* ---- storing ---- */

static struct store_resource *store_resources(const struct config_resources *set) {
    struct store_resource *list = hg_calloc(set->count ? set->count : 1, sizeof *list);
    for (size_t i = 0; list && i < set->count; i++) {
        const struct config_resource *r = &set->items[i];
        list[i] = (struct store_resource){
            .kind = r->kind, .name = r->name, .id = r->id, .bytes = r->bytes, .size = r->size, .layer = r->layer};
    }
    return list;
}

/* A layer leaves the pin of a rollback as it is. */
static bool pins(const struct engine *e, const struct push_job *job) {
    return job->layer == ENGINE_LAYER_PUSHED ? job->plan.pin : store_pinned_version(e->store) != 0;
}

static int store_job(struct engine *e, struct push_job *job) {
    uint64_t start = clock_monotonic_us();
    struct store_resource *list = store_resources(&job->plan.result), *hidden = store_resources(&job->plan.hidden);
    const struct store_commit commit = {.resources = list,
                                        .count = job->plan.result.count,
                                        .hidden = hidden,
                                        .hidden_count = job->plan.hidden.count,
                                        .layer = job->layer,
                                        .author = job->request->author,
                                        .message = job->plan.message ? job->plan.message : job->request->message,
                                        .parent = job->plan.base.version,
                                        .restores = job->plan.restores,
                                        .pin = pins(e, job)};
    int status = list && hidden ? store_commit(e->store, &commit, &job->errors) : -1;
    if (!list || !hidden)
        error_addf(&job->errors, ERROR_MEMORY, "no memory to store the new version");
    hg_free(list);
    hg_free(hidden);
    job->store_us = clock_monotonic_us() - start;
    if (status < 0)
        e->counters.store_errors++;
    return status;
}

/* The state first: a version that is stored has its secrets. */
static int store_all(struct engine *e, struct push_job *job) {
    const struct snapshot *current = channel_current(e->channel);
    bool is_new_state = !current || !resource_id_equal(&current->state->hash, &job->target->state->hash);
    job->before = current ? part_ref(current->state) : NULL;
    if (is_new_state && engine_save_state(e, job->target->state, job->target->generation, &job->errors) < 0)
        return -1;
    return store_job(e, job);
}

void push_job_ready(void *engine) {
    struct engine *e = engine;
    if (e->job->is_unchanged || store_all(e, e->job) == 0)
        channel_push_commit(e->channel);
    else
        channel_push_abort(e->channel, "the new version could not be stored");
}

static Headgate__PushReply__Outcome outcome_of(const struct push_job *job, const struct push_result *result) {
    if (job->is_unchanged)
        return HEADGATE__PUSH_REPLY__OUTCOME__UNCHANGED;
    switch (result->outcome) {
    case PUSH_COMMITTED:
        return result->count ? HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED
                             : HEADGATE__PUSH_REPLY__OUTCOME__STORED;
    case PUSH_CHECKED: return HEADGATE__PUSH_REPLY__OUTCOME__CHECKED;
    default: return HEADGATE__PUSH_REPLY__OUTCOME__REFUSED;
    }
}

void push_job_done(void *engine, const struct push_result *result) {
    struct engine *e = engine;
    struct push_job *job = e->job;
    reply_data_planes(&job->arena, result, &job->reply.data_planes, &job->reply.n_data_planes);
    bool was_stored = job->store_us > 0 && result->outcome == PUSH_COMMITTED;
    if (was_stored) {
        layers_adopt(e, &job->plan);
        engine_secrets_committed(e, job->before, &job->plan.result, &job->secrets, &job->secret_warnings);
        if (job->layer == ENGINE_LAYER_XDS)
            engine_forget_given(e);
        engine_follow_intent(e);
        if (!job->secrets.is_as_before)
            engine_renew_checks(e);
    }
    finish(e, job, outcome_of(job, result));
    if (was_stored)
        upkeep_after_push(e);
}

/* ---- the beginning of a job ---- */

static int take_embedded(struct push_job *job, struct secret_request *ret) {
    const Headgate__PushRequest *request = job->request;
    bool has_sources = request->change_case == HEADGATE__PUSH_REQUEST__CHANGE_SOURCES;
    size_t count = has_sources ? request->sources->n_embedded : 0;
    struct secret_embedded *list = arena_calloc(&job->arena, count + 1, sizeof *list);
    if (!list)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const Headgate__SourceFile *file = request->sources->embedded[i];
        list[i].name = file->path ? file->path : "";
        list[i].bytes = (struct str){file->text.data ? (const char *)file->text.data : "", file->text.len};
    }
    *ret = (struct secret_request){.embedded = list, .embedded_count = count};
    return 0;
}

static int begin_secrets(struct engine *e, struct push_job *job) {
    struct secret_request request;
    size_t first = job->errors.count;
    if (take_embedded(job, &request) < 0) {
        error_addf(&job->errors, ERROR_MEMORY, "no memory for secrets");
        return -1;
    }
    int status = secrets_work_begin(&job->work, e, &job->plan.result, &request, &job->errors);
    config_places_locate(&job->plan.places, &job->errors, first);
    return status;
}

static int end_secrets(struct push_job *job) {
    size_t first = job->errors.count;
    int status = secrets_work_end(&job->work, &job->secrets, &job->errors, &job->secret_warnings);
    secrets_work_finish(&job->work);
    config_places_locate(&job->plan.places, &job->errors, first);
    config_places_locate(&job->plan.places, &job->secret_warnings, 0);
    for (size_t i = 0; i < job->secret_warnings.count; i++)
        error_list_add(&job->warnings, &job->secret_warnings.items[i]);
    return status;
}

/* The state that was made has the endpoints of before. */
static int make_endpoints(struct engine *e, struct push_job *job) {
    struct part *state = engine_make_endpoints(e, &job->plan.result, job->secrets.state);
    if (!state) {
        error_addf(&job->errors, ERROR_MEMORY, "no memory for endpoints");
        return -1;
    }
    part_unref(job->secrets.state);
    job->secrets.state = state;
    return 0;
}

/* The same intent: the files, or what came along, may be others all the same. */
static int adopt_secrets(struct engine *e, struct push_job *job) {
    if (job->request->dry_run)
        return 0;
    e->secrets.is_pending = true;
    return engine_adopt_state(e, &job->secrets, &job->errors);
}

static int make_target(struct engine *e, struct push_job *job) {
    struct snapshot *current = channel_current(e->channel);
    const struct config_resources *set = &job->plan.result;
    struct part *intent = part_create(set->items, set->count, current ? current->intent : NULL);
    struct part *state = job->secrets.state;
    if (!intent)
        return -1;
    job->is_unchanged = current && job->plan.is_same_layering && resource_id_equal(&intent->hash, &current->intent->hash);
    if (job->is_unchanged) {
        part_unref(intent);
        int status = adopt_secrets(e, job);
        job->target = snapshot_ref(channel_current(e->channel));
        return status;
    }
    bool is_same_state = current && resource_id_equal(&state->hash, &current->state->hash);
    job->target = snapshot_create(store_lineage(e->store), store_next_version(e->store),
                                  (current ? current->generation : 0) + !is_same_state, intent, part_ref(state));
    return job->target ? 0 : -1;
}

/* The same intent again: a push that lifts the pin of a rollback, or sets it, does so without a new version. */
static int update_pin(struct engine *e, struct push_job *job) {
    bool is_pinned = store_pinned_version(e->store) != 0;
    if (!job->is_unchanged || job->request->dry_run || is_pinned == pins(e, job))
        return 0;
    return store_set_pin(e->store, job->plan.pin, &job->errors);
}

static void tell_changes(struct push_job *job) {
    Headgate__PushReply *r = &job->reply;
    r->has_change_count = true;
    r->change_count = reply_changes(&job->arena, &job->plan.base.set, &job->plan.result, &r->changes,
                                    &r->n_changes);
}

/* All that the new version is made of is known. */
static void propose(struct engine *e, struct push_job *job) {
    if (make_target(e, job) < 0) {
        error_addf(&job->errors, ERROR_MEMORY, "no memory for the new snapshot");
        refuse(e, job);
        return;
    }
    if (update_pin(e, job) < 0) {
        refuse(e, job);
        return;
    }
    if (!job->is_unchanged)
        tell_changes(job);
    else if (job->request->dry_run) {
        finish(e, job, HEADGATE__PUSH_REPLY__OUTCOME__UNCHANGED);
        return;
    }
    if (channel_push(e->channel, job->target, job->request->dry_run) < 0) {
        error_addf(&job->errors, ERROR_MEMORY, "no memory for the push");
        refuse(e, job);
    }
}

static void check_secrets(void *engine) {
    secrets_work_run(&((struct engine *)engine)->job->work);
}

static void on_secrets(void *engine) {
    struct engine *e = engine;
    struct push_job *job = e->job;
    if (end_secrets(job) < 0 || make_endpoints(e, job) < 0)
        refuse(e, job);
    else
        propose(e, job);
}

static int make_plan(struct engine *e, struct push_job *job) {
    if (job->layer == ENGINE_LAYER_PUSHED)
        return plan_make(e, job->request, &job->plan, &job->errors, &job->warnings);
    return plan_make_layer(e, job->layer, &job->set, &job->plan, &job->errors, &job->warnings);
}

/* Thousands of certificates take a second to check. Meanwhile the loop goes on, and other pushes wait. */
static void make_secrets(struct engine *e, struct push_job *job) {
    size_t first = job->errors.count;
    if (followed_check(e, &job->work.want, &job->errors) < 0) {
        config_places_locate(&job->plan.places, &job->errors, first);
        refuse(e, job);
    } else if (secrets_work_is_long(&job->work)) {
        aside_run(&e->aside, e->config.loop, "secrets", check_secrets, on_secrets, e);
    } else {
        check_secrets(e);
        on_secrets(e);
    }
}

void push_job_go_on(struct engine *e) {
    struct push_job *job = e->job;
    secrets_work_finish(&job->work); /* what has been given meanwhile is not in it */
    if (begin_secrets(e, job) < 0)
        refuse(e, job);
    else
        make_secrets(e, job);
}

static void start(struct engine *e, struct push_job *job) {
    e->job = job;
    if (make_plan(e, job) < 0 || begin_secrets(e, job) < 0)
        refuse(e, job);
    else if (!followed_wait(e, &job->work.want))
        make_secrets(e, job);
}

void push_begin_next(struct ev_loop *loop, ev_prepare *watcher, int events) {
    struct engine *e = watcher->data;
    (void)loop;
    (void)events;
    struct push_job *job = e->first_waiting;
    if (e->job)
        return;
    struct push_job *layer = layers_take_due(e, job ? job->accepted_us : UINT64_MAX);
    if (layer || !job) {
        if (layer)
            start(e, layer);
        return;
    }
    e->first_waiting = job->next;
    if (!e->first_waiting)
        e->last_waiting = &e->first_waiting;
    e->waiting--;
    start(e, job);
}

void push_refuse_at_once(void (*done)(void *context, const Headgate__PushReply *reply), void *context,
                         enum error_code code, const char *message) {
    Headgate__PushReply reply = HEADGATE__PUSH_REPLY__INIT;
    Headgate__Problem problem = HEADGATE__PROBLEM__INIT, *list = &problem;
    problem.code = (char *)error_code_name(code);
    problem.message = (char *)message;
    reply.has_outcome = true;
    reply.outcome = HEADGATE__PUSH_REPLY__OUTCOME__REFUSED;
    reply.n_problems = 1;
    reply.problems = &list;
    done(context, &reply);
}

struct push_job *push_job_create(const Headgate__PushRequest *request) {
    struct push_job *job = hg_calloc(1, sizeof *job);
    if (!job)
        return NULL;
    arena_init(&job->arena, NULL, 0, 0);
    headgate__push_reply__init(&job->reply);
    job->accepted_us = clock_monotonic_us();
    job->request = message_copy(request);
    if (job->request)
        return job;
    push_job_destroy(job);
    return NULL;
}

void engine_push(struct engine *e, const Headgate__PushRequest *request,
                 void (*done)(void *context, const Headgate__PushReply *reply), void *context) {
    if (e->is_stopping || e->waiting == ENGINE_PUSHES_WAITING_MAX) {
        push_refuse_at_once(done, context, ERROR_STATE,
                            e->is_stopping ? "the control plane is stopping" : "too many pushes are waiting");
        return;
    }
    struct push_job *job = push_job_create(request);
    if (!job) {
        push_refuse_at_once(done, context, ERROR_MEMORY, "no memory for the push");
        return;
    }
    job->done = done;
    job->context = context;
    if (!e->job && !e->first_waiting) {
        start(e, job);
        return;
    }
    *e->last_waiting = job;
    e->last_waiting = &job->next;
    e->waiting++;
}
