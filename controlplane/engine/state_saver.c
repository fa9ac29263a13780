#include "controlplane/engine/state_saver.h"

#include "common/alloc.h"
#include "controlplane/engine/internal.h"

static void forget(struct state_saver *s) {
    for (size_t i = 0; i < sizeof s->parts / sizeof *s->parts; i++)
        part_unref(s->parts[i]);
    memset(s->parts, 0, sizeof s->parts);
    arena_finish(&s->names);
    hg_free(s->list);
    error_list_finish(&s->errors);
    s->list = NULL;
    s->is_running = false;
}

static void work(void *saver) {
    struct state_saver *s = saver;
    s->status = store_save_state_beside(s->engine->store, &s->state, &s->errors);
}

static void done(void *saver) {
    struct state_saver *s = saver;
    struct error_list errors = s->errors;
    s->errors = (struct error_list){0};
    forget(s);
    s->saved(s->engine, s->status, &errors);
    error_list_finish(&errors);
}

int state_saver_begin(struct state_saver *s, struct part *state, uint64_t generation, struct error_list *errors) {
    struct engine *e = s->engine;
    const struct snapshot *current = channel_current(e->channel);
    struct part *const sources[] = {state, current ? current->state : NULL, e->secrets.kept, e->secrets.given};
    if (s->is_running)
        return 0;
    s->names = (struct arena){0};
    s->state = (struct store_state){.generation = generation};
    s->list = engine_gather_state(e, state, &s->names, &s->state.count);
    s->state.resources = s->list;
    if (!s->list) {
        forget(s);
        error_addf(errors, ERROR_MEMORY, "no memory to store the state");
        return -1;
    }
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        s->parts[i] = sources[i] ? part_ref(sources[i]) : NULL;
    s->is_running = true;
    aside_run(&s->aside, e->config.loop, "state-saver", work, done, s);
    return 0;
}

bool state_saver_drop(struct state_saver *s) {
    if (!s->is_running)
        return false;
    aside_drop(&s->aside);
    forget(s);
    return true;
}
