#include "dataplane/snapshot/adopt.h"

#include <assert.h>
#include <stdio.h>

#include "common/clock.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/dataplane.h"
#include "dataplane/snapshot/lastgood.h"
#include "dataplane/snapshot/listen_sockets.h"
#include "dataplane/snapshot/log_output.h"

const struct adopt_ops adopt_real_ops = {
    .build = snapshot_build,
    .free = snapshot_free,
    .current = dataplane_snapshot,
    .set_access_log = dataplane_set_access_log,
    .switch_to = dataplane_switch,
};

static void set_state(struct adopter *a, enum adopt_state to) {
    assert(to == ADOPT_IDLE || to == a->state + 1);
    a->state = to;
}

/* ---- preparing ---- */

static void drop_candidate(struct adopter *a) {
    if (a->built)
        a->ops->free(a->built);
    resource_set_unref(a->candidate);
    error_list_finish(&a->errors);
    a->built = NULL;
    a->candidate = NULL;
    a->waiting = 0;
    set_state(a, ADOPT_IDLE);
}

static void refuse(struct adopter *a) {
    struct error_list errors = a->errors;
    a->errors = (struct error_list){0};
    if (a->state == ADOPT_OPENING)
        adopt_abort(a);
    else
        drop_candidate(a);
    a->on_prepared(a->owner, &errors, 0);
    error_list_finish(&errors);
}

static void finish_opening(struct adopter *a) {
    static const struct error_list none;
    if (!error_list_is_empty(&a->errors)) {
        refuse(a);
        return;
    }
    a->build_us = clock_monotonic_us() - a->began_us;
    set_state(a, ADOPT_READY);
    a->on_prepared(a->owner, &none, a->build_us);
}

static void on_opened(void *arg) {
    struct adopter *a = arg;
    if (--a->waiting == 0)
        finish_opening(a);
}

/* Sockets and file are opened at the same time; the one more in `waiting` is ours, until both have begun. */
static void open_all(struct adopter *a) {
    set_state(a, ADOPT_OPENING);
    a->waiting = 3;
    log_output_prepare(a->log, a->candidate, &a->errors, on_opened, a);
    listen_sockets_prepare(a->sockets, a->candidate, &a->errors, on_opened, a);
    on_opened(a);
}

void adopt_prepare(struct adopter *a, struct resource_set *candidate,
                   void (*on_prepared)(void *owner, const struct error_list *errors, uint64_t build_us),
                   void *owner) {
    assert(a->state == ADOPT_IDLE);
    set_state(a, ADOPT_BUILDING);
    a->candidate = resource_set_ref(candidate);
    a->on_prepared = on_prepared;
    a->owner = owner;
    a->began_us = clock_monotonic_us();
    if (a->ops->build(candidate, a->ops->current(a->dataplane), &a->built, &a->errors) < 0)
        refuse(a);
    else
        open_all(a);
}

void adopt_abort(struct adopter *a) {
    assert(a->state != ADOPT_SWITCHING);
    if (a->state == ADOPT_IDLE)
        return;
    listen_sockets_abort(a->sockets);
    log_output_abort(a->log);
    drop_candidate(a);
}

/* ---- committing ---- */

static bool changes_intent(const struct adopter *a) {
    return !a->serving || !resource_id_equal(&a->serving->id.intent_hash, &a->candidate->id.intent_hash) ||
           a->serving->id.version != a->candidate->id.version;
}

static void finish_commit(struct adopter *a) {
    resource_set_unref(a->serving);
    a->serving = a->candidate;
    a->candidate = NULL;
    set_state(a, ADOPT_IDLE);
    if (a->on_serving)
        a->on_serving(a->serving_arg, a->serving);
    a->on_committed(a->owner, a->switch_us, a->has_persist_error ? a->persist_error : NULL);
}

static void step_done(struct adopter *a) {
    if (--a->waiting == 0)
        finish_commit(a);
}

static void on_switched(void *arg, uint64_t switch_us) {
    struct adopter *a = arg;
    a->switch_us = switch_us;
    listen_sockets_release(a->sockets, a->candidate);
    log_output_release(a->log);
    step_done(a);
}

static void on_stored(void *owner, const char *error) {
    struct adopter *a = owner;
    a->has_persist_error = error != NULL;
    snprintf(a->persist_error, sizeof a->persist_error, "%s", error ? error : "");
    step_done(a);
}

static void give_logs(struct adopter *a) {
    for (unsigned i = 0; i < a->workers; i++)
        a->ops->set_access_log(a->dataplane, i, log_output_ring(a->log, i));
}

/* What is READY was promised: without memory for the messages to the workers it is tried until there is
 * some. */
static void switch_workers(struct adopter *a) {
    static const double retry_delay = 0.05;
    struct snapshot *built = a->built;
    a->built = NULL;
    if (a->ops->switch_to(a->dataplane, built, a->sockets, on_switched, a) == 0)
        return;
    a->built = built;
    ev_timer_set(&a->retry, retry_delay, 0.);
    ev_timer_start(a->loop, &a->retry);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    switch_workers(timer->data);
}

/* The thread of the copy writes while the workers switch; one more in `waiting` is ours, until both have
 * begun. */
void adopt_commit(struct adopter *a, bool is_stored,
                  void (*on_committed)(void *owner, uint64_t switch_us, const char *persist_error),
                  void *owner) {
    set_state(a, ADOPT_SWITCHING);
    a->on_committed = on_committed;
    a->owner = owner;
    a->has_persist_error = false;
    a->waiting = 2;
    ev_timer_init(&a->retry, on_retry, 0., 0.);
    a->retry.data = a;
    if (a->lastgood && !is_stored) {
        a->waiting++;
        lastgood_store(a->lastgood, a->candidate, changes_intent(a), on_stored, a);
    }
    give_logs(a);
    switch_workers(a);
    step_done(a);
}

void adopter_finish(struct adopter *a) {
    if (a->state == ADOPT_SWITCHING)
        ev_timer_stop(a->loop, &a->retry);
    else
        adopt_abort(a);
    if (a->lastgood)
        lastgood_forget(a->lastgood);
    if (a->built)
        a->ops->free(a->built);
    resource_set_unref(a->candidate);
    resource_set_unref(a->serving);
    error_list_finish(&a->errors);
    *a = (struct adopter){0};
}
