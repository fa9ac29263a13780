/* Sets of layers that wait: the last of each layer, for a while. */
#include "common/alloc.h"
#include "common/clock.h"
#include "controlplane/engine/internal.h"

static const uint64_t STORE_EVERY_US = 100000;

/* ---- when ---- */

static uint64_t wait_us(const struct engine *e) {
    uint64_t since = clock_monotonic_us() - e->layers.stored_at;
    return e->is_stopping || e->layers.stored_at == 0 || since >= STORE_EVERY_US ? 0 : STORE_EVERY_US - since;
}

static void begin_later(struct engine *e, uint64_t us) {
    if (ev_is_active(&e->layers.due))
        return;
    ev_timer_set(&e->layers.due, (double)us / 1e6, 0.);
    ev_timer_start(e->config.loop, &e->layers.due);
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int events) {
    struct engine *e = timer->data;
    (void)loop;
    (void)events;
    if (!e->job)
        ev_feed_event(e->config.loop, &e->next, EV_PREPARE);
}

size_t layers_waiting(const struct engine *e) {
    size_t n = 0;
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++)
        n += e->layers.waiting[layer] != NULL;
    return n;
}

struct push_job *layers_take_due(struct engine *e, uint64_t accepted_us) {
    struct push_job **first = NULL;
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++) {
        struct push_job **at = &e->layers.waiting[layer];
        if (*at && (*at)->accepted_us <= (first ? (*first)->accepted_us : accepted_us))
            first = at;
    }
    uint64_t us = first ? wait_us(e) : 0;
    if (us)
        begin_later(e, us);
    if (!first || us)
        return NULL;
    struct push_job *job = *first;
    *first = NULL;
    return job;
}

void layers_hurry(struct engine *e) {
    if (layers_waiting(e))
        ev_feed_event(e->config.loop, &e->next, EV_PREPARE);
}

/* ---- sets ---- */

static struct push_job *create(enum engine_layer layer) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    request.author = (char *)(uintptr_t)engine_layer_name(layer);
    struct push_job *job = push_job_create(&request);
    if (job)
        job->layer = layer;
    return job;
}

static void answer_superseded(void (*done)(void *context, const Headgate__PushReply *reply), void *context) {
    Headgate__PushReply reply = HEADGATE__PUSH_REPLY__INIT;
    reply.has_outcome = true;
    reply.outcome = HEADGATE__PUSH_REPLY__OUTCOME__SUPERSEDED;
    done(context, &reply);
}

static void fill(struct push_job *job, struct config_resources *set,
                 void (*done)(void *context, const Headgate__PushReply *reply), void *context) {
    config_resources_finish(&job->set);
    job->set = *set;
    *set = (struct config_resources){0};
    job->done = done;
    job->context = context;
}

/* A set that takes the place of another waits no longer than that would have. */
int engine_set_layer(struct engine *e, enum engine_layer layer, struct config_resources *set,
                     void (*done)(void *context, const Headgate__PushReply *reply), void *context) {
    if (e->is_stopping) {
        config_resources_finish(set);
        push_refuse_at_once(done, context, ERROR_STATE, "the control plane is stopping");
        return 0;
    }
    struct push_job *job = e->layers.waiting[layer];
    if (job) {
        void (*old_done)(void *, const Headgate__PushReply *) = job->done;
        void *old_context = job->context;
        fill(job, set, done, context);
        answer_superseded(old_done, old_context);
        return 0;
    }
    job = create(layer);
    if (!job)
        return -1;
    fill(job, set, done, context);
    e->layers.waiting[layer] = job;
    if (!e->job)
        ev_feed_event(e->config.loop, &e->next, EV_PREPARE);
    return 0;
}

/* ---- life ---- */

void layers_init(struct engine *e) {
    ev_timer_init(&e->layers.due, on_due, 0., 0.);
    e->layers.due.data = e;
}

void layers_finish(struct engine *e) {
    ev_timer_stop(e->config.loop, &e->layers.due);
    for (int layer = 0; layer < ENGINE_LAYER_COUNT; layer++) {
        if (e->layers.waiting[layer])
            push_job_destroy(e->layers.waiting[layer]);
        part_unref(e->layers.hidden[layer]);
    }
}
