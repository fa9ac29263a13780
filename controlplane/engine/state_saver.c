#include "controlplane/engine/state_saver.h"

#include <signal.h>

#include "common/alloc.h"
#include "controlplane/engine/internal.h"

static void *run(void *arg) {
    struct state_saver *s = arg;
    s->status = store_write_state(s->engine->store, &s->state, &s->errors);
    ev_async_send(s->engine->config.loop, &s->done);
    return NULL;
}

static void forget(struct state_saver *s) {
    for (size_t i = 0; i < sizeof s->parts / sizeof *s->parts; i++)
        part_unref(s->parts[i]);
    memset(s->parts, 0, sizeof s->parts);
    arena_finish(&s->names);
    hg_free(s->list);
    error_list_finish(&s->errors);
    s->names = (struct arena){0};
    s->list = NULL;
}

/* One that was saved durably meanwhile is newer. */
static void on_done(struct ev_loop *loop, ev_async *watcher, int events) {
    struct state_saver *s = watcher->data;
    struct engine *e = s->engine;
    (void)loop;
    (void)events;
    if (!s->is_running)
        return;
    pthread_join(s->thread, NULL);
    s->is_running = false;
    bool is_newest = s->durable_saves == e->secrets.saves && !e->job;
    if (s->status == 0)
        s->status = is_newest ? store_place_state(e->store, &s->errors) : STATE_SAVER_OVERTAKEN;
    struct error_list errors = s->errors;
    s->errors = (struct error_list){0};
    forget(s);
    s->saved(e, s->status, &errors);
    error_list_finish(&errors);
}

void state_saver_init(struct state_saver *s) {
    ev_async_init(&s->done, on_done);
    s->done.data = s;
    ev_async_start(s->engine->config.loop, &s->done);
    ev_unref(s->engine->config.loop); /* does not keep the loop running */
}

/* Signals are the other thread's business. */
static int start_thread(struct state_saver *s) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        pthread_setname_np(s->thread, "state-saver"); /* for those who look at threads */
    return failed ? -1 : 0;
}

int state_saver_begin(struct state_saver *s, struct part *state, uint64_t generation, struct error_list *errors) {
    struct engine *e = s->engine;
    const struct snapshot *current = channel_current(e->channel);
    struct part *const sources[] = {state, current ? current->state : NULL, e->secrets.kept};
    if (s->is_running)
        return 0;
    s->state = (struct store_state){.generation = generation};
    s->list = engine_gather_state(e, state, &s->names, &s->state.count);
    s->state.resources = s->list;
    s->durable_saves = e->secrets.saves;
    for (size_t i = 0; s->list && i < sizeof sources / sizeof *sources; i++)
        s->parts[i] = sources[i] ? part_ref(sources[i]) : NULL;
    if (s->list && start_thread(s) == 0) {
        s->is_running = true;
        return 0;
    }
    forget(s);
    error_addf(errors, ERROR_MEMORY, "no memory, or no thread, to store the state");
    return -1;
}

bool state_saver_drop(struct state_saver *s) {
    if (!s->is_running)
        return false;
    pthread_join(s->thread, NULL);
    s->is_running = false;
    forget(s);
    return true;
}

void state_saver_finish(struct state_saver *s) {
    state_saver_drop(s);
    ev_ref(s->engine->config.loop);
    ev_async_stop(s->engine->config.loop, &s->done);
}
