/* internal.h — what the files of the engine share. */
#pragma once

#include "controlplane/engine/aside.h"
#include "controlplane/engine/endpoints.h"
#include "controlplane/engine/engine.h"
#include "controlplane/engine/secrets.h"

/* What a push asks for, turned into a whole set of resources. */
struct plan {
    struct engine_view base;            /* the current version */
    struct config_resources result;     /* items only: they point into `base` and `fresh` */
    struct config_resources fresh;      /* compiled for this push */
    uint64_t restores;                  /* a rollback: the version whose intent this repeats */
    bool pin;
    struct config_places places;        /* of files that were compiled for this push */
};

/* 0, or -1 with reasons in `errors`; finish it in both cases. */
int plan_make(struct engine *e, const Headgate__PushRequest *request, struct plan *ret, struct error_list *errors,
              struct error_list *warnings);
void plan_finish(struct plan *plan); /* a zeroed struct is allowed */

/* One push from engine_push to its reply. */
struct push_job {
    struct push_job *next;              /* waiting */
    Headgate__PushRequest *request;     /* a copy of our own */
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

struct engine {
    struct engine_config config;
    struct store *store;
    struct channel *channel;
    struct engine_secrets secrets;
    struct engine_endpoints endpoints;
    struct push_job *job;               /* under way; NULL: none */
    struct aside aside;                 /* checks its secrets */
    struct push_job *first_waiting, **last_waiting;
    size_t waiting;
    bool is_stopping;
    ev_prepare next;                    /* never started, only fed: begins the next push outside of any handler */
    struct upkeep_job *upkeep;          /* the first is under way */
    unsigned upkeep_count;
    bool is_collecting;                 /* one of them is our own gc */
    ev_idle upkeep_step;                /* started while there is one */
    struct engine_counters counters;
};

/* push.c */
void push_job_ready(void *engine);
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
