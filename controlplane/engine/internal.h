/* internal.h — what the files of the engine share. */
#pragma once

#include "controlplane/engine/aside.h"
#include "controlplane/engine/endpoints.h"
#include "controlplane/engine/engine.h"
#include "controlplane/engine/followed.h"
#include "controlplane/engine/layers.h"
#include "controlplane/engine/secrets.h"

/* The resources of each layer: items only, sorted. */
struct layer_sets {
    struct config_resources of[ENGINE_LAYER_COUNT];
};

/* What a push asks for, turned into a whole set of resources. */
struct plan {
    struct engine_view base;            /* the current version */
    enum engine_layer layer;            /* that this changes */
    struct layer_sets sets;             /* as they will be: they point into `base`, `fresh` and what the engine has hidden */
    struct config_resources result;     /* what is not hidden of them; items only */
    struct config_resources hidden;     /* the rest, likewise */
    struct part *hidden_parts[ENGINE_LAYER_COUNT]; /* the same, each layer's for itself */
    bool is_same_layering;              /* where what is not hidden comes from, and what is hidden */
    struct config_resources fresh;      /* compiled for this push, or set */
    struct config_resources settings;   /* those that an empty configuration has, when nothing was ever pushed */
    const char *message;                /* of a layer's version; in the arena of `fresh` */
    uint64_t restores;                  /* a rollback: the version whose intent this repeats */
    bool pin;
    struct config_places places;        /* of files that were compiled for this push */
};

/* 0, or -1 with reasons in `errors`; finish it in both cases. */
int plan_make(struct engine *e, const Headgate__PushRequest *request, struct plan *ret, struct error_list *errors,
              struct error_list *warnings);
/* The same for a layer of which `set` is to be all; it is taken over. */
int plan_make_layer(struct engine *e, enum engine_layer layer, struct config_resources *set, struct plan *ret,
                    struct error_list *errors, struct error_list *warnings);
void plan_finish(struct plan *plan); /* a zeroed struct is allowed */

/* One push from engine_push to its reply. */
struct push_job {
    struct push_job *next;              /* waiting */
    Headgate__PushRequest *request;     /* a copy of our own; of a layer's set it names the author alone */
    enum engine_layer layer;            /* PUSHED: a push */
    struct config_resources set;        /* of another layer, until the plan has it */
    void (*done)(void *context, const Headgate__PushReply *reply);
    void *context;
    uint64_t accepted_us, store_us;     /* monotonic; duration */
    struct plan plan;
    struct snapshot *target;
    struct secrets_work work;           /* until it is ended */
    struct secrets_made secrets;        /* the state of the target */
    struct error_list secret_warnings;
    struct part *before;                /* the state before the commit; NULL: there was none */
    bool is_unchanged;                  /* the intent is */
    struct error_list errors, warnings;
    struct arena arena;                 /* of the reply */
    Headgate__PushReply reply;
};

/* What is known of layers beside the version in the store, which says where everything comes from. */
struct engine_layers {
    struct part *hidden[ENGINE_LAYER_COUNT]; /* NULL: nothing */
    struct push_job *waiting[ENGINE_LAYER_COUNT];
    uint64_t stored_at;                 /* when one became a version, monotonic microseconds; 0: never yet */
    ev_timer due;
};

struct engine {
    struct engine_config config;
    struct store *store;
    struct channel *channel;
    struct engine_secrets secrets;
    struct engine_endpoints endpoints;
    struct engine_followed followed;
    struct push_job *job;               /* under way; NULL: none */
    struct aside aside;                 /* checks its secrets */
    struct push_job *first_waiting, **last_waiting;
    size_t waiting;
    struct engine_layers layers;
    bool is_stopping;
    ev_prepare next;                    /* never started, only fed: begins the next push outside of any handler */
    struct upkeep_job *upkeep;          /* the first is under way */
    unsigned upkeep_count;
    bool is_collecting;                 /* one of them is our own gc */
    ev_idle upkeep_step;                /* started while there is one */
    struct engine_counters counters;
};

/* engine.c: one resource of a version. 0, or -1 with an error. */
int engine_read_resource(const struct store *store, const struct store_entry *entry, struct config_resources *set,
                         struct error_list *errors);

/* layers.c */
void layers_init(struct engine *e);
void layers_finish(struct engine *e);
/* What the version hides. 0, or -1 with errors. */
int layers_load(struct engine *e, const struct store_manifest *m, struct error_list *errors);
/* Tells the resources of the current version where they come from. */
void layers_mark(const struct engine *e, struct engine_view *view);
/* Every layer as it is now. 0, or -1 without memory; finish it in both cases. */
int layers_split(const struct engine *e, const struct config_resources *current, struct layer_sets *ret);
void layer_sets_finish(struct layer_sets *sets);
/* Fills result, hidden and hidden_parts of the plan from its sets. 0, or -1 without memory. */
int layers_join(const struct engine *e, struct plan *plan);
/* Everything that can be wrong now that layer plan->layer has changed. 0, or -1 with errors. */
int layers_check(const struct plan *plan, struct error_list *errors, struct error_list *warnings);
/* The plan is what counts from now on. */
void layers_adopt(struct engine *e, struct plan *plan);
size_t layers_waiting(const struct engine *e);
/* The layer that waits longest and is not later than `accepted_us`, when it is due; NULL: none. No longer waits then. */
struct push_job *layers_take_due(struct engine *e, uint64_t accepted_us);
/* From now on nothing is held back. */
void layers_hurry(struct engine *e);

/* push.c */
struct push_job *push_job_create(const Headgate__PushRequest *request);
/* For a push that does not get as far as a job. */
void push_refuse_at_once(void (*done)(void *context, const Headgate__PushReply *reply), void *context, enum error_code code,
                         const char *message);
void push_job_ready(void *engine);
/* What followed_wait waited for is there, or does not come. */
void push_job_go_on(struct engine *e);
void push_job_done(void *engine, const struct push_result *result);
void push_job_destroy(struct push_job *job);
void push_begin_next(struct ev_loop *loop, ev_prepare *watcher, int events);

/* upkeep.c */
void upkeep_init(struct engine *e);
/* Drops old versions when there are many beyond retention. */
void upkeep_after_push(struct engine *e);
/* Everything is answered: it was stopped. */
void upkeep_stop(struct engine *e);
/* Without answers. */
void upkeep_finish(struct engine *e);
