/* Looking after the store in steps: one at each turn of the loop, so that pushes, streams and calls go on between them. */
#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/engine/internal.h"

enum {
    GC_SLACK = 100,             /* versions beyond retention that are let grow before they are dropped together */
    DISCOVERED_KEPT = 100,      /* of the versions that servers made, however many of pushes are kept */
};

/* One verification (without `retention`) or collection, from its call to its answer. */
struct upkeep_job {
    struct upkeep_job *next;
    bool is_collection, dry_run;
    struct store_retention retention;
    struct store_verification *verification; /* under way */
    struct store_collection *collection;
    struct error_list errors;
    struct upkeep_result result;
    upkeep_done *done;
    void *context;
};

static void job_destroy(struct upkeep_job *job) {
    store_verification_destroy(job->verification);
    store_collection_destroy(job->collection);
    error_list_finish(&job->errors);
    hg_free(job);
}

/* ---- one after the other ---- */

static void finish(struct engine *e, struct upkeep_job *job, bool is_done) {
    e->upkeep = job->next;
    e->upkeep_count--;
    if (!e->upkeep)
        ev_idle_stop(e->config.loop, &e->upkeep_step);
    job->result.is_done = is_done;
    job->result.errors = &job->errors;
    job->done(job->context, &job->result);
    job_destroy(job);
}

/* As store_verification_step; the job begins with its first step. */
static int step(struct engine *e, struct upkeep_job *job) {
    if (job->is_collection && !job->collection)
        job->collection = store_collection_create(e->store, &job->retention, job->dry_run, &job->errors);
    if (!job->is_collection && !job->verification)
        job->verification = store_verification_create(e->store, NULL, NULL, &job->errors);
    if (job->collection)
        return store_collection_step(job->collection, &job->result.dropped);
    return job->verification ? store_verification_step(job->verification, &job->result.verified) : -1;
}

static void on_step(struct ev_loop *loop, ev_idle *watcher, int events) {
    struct engine *e = watcher->data;
    struct upkeep_job *job = e->upkeep;
    (void)loop;
    (void)events;
    int status = step(e, job);
    if (status <= 0)
        finish(e, job, status == 0);
}

static void answer_at_once(upkeep_done *done, void *context, enum error_code code, const char *message) {
    struct error_list errors = {0};
    error_addf(&errors, code, "%s", message);
    done(context, &(struct upkeep_result){.errors = &errors});
    error_list_finish(&errors);
}

static void begin(struct engine *e, const struct upkeep_job *what) {
    if (e->is_stopping || e->upkeep_count == ENGINE_UPKEEP_MAX) {
        answer_at_once(what->done, what->context, ERROR_STATE,
                       e->is_stopping ? "the control plane is stopping" : "too many of these wait already");
        return;
    }
    struct upkeep_job *job = hg_memdup(what, sizeof *what), **link = &e->upkeep;
    if (!job) {
        answer_at_once(what->done, what->context, ERROR_MEMORY, "no memory to look after the store");
        return;
    }
    while (*link)
        link = &(*link)->next;
    *link = job;
    e->upkeep_count++;
    ev_idle_start(e->config.loop, &e->upkeep_step);
}

void engine_verify(struct engine *e, upkeep_done *done, void *context) {
    begin(e, &(struct upkeep_job){.done = done, .context = context});
}

void engine_gc(struct engine *e, const struct store_retention *retention, bool dry_run, upkeep_done *done,
               void *context) {
    begin(e, &(struct upkeep_job){.is_collection = true,
                                  .retention = *retention,
                                  .dry_run = dry_run,
                                  .done = done,
                                  .context = context});
}

/* ---- by itself ---- */

static void on_collected(void *context, const struct upkeep_result *r) {
    struct engine *e = context;
    e->is_collecting = false;
    if (r->is_done)
        log_info("old versions dropped", LOG_U("versions", r->dropped.versions), LOG_U("objects", r->dropped.objects));
    else if (!e->is_stopping)
        log_error("old versions cannot be dropped",
                  LOG_S("reason", r->errors->count ? r->errors->items[0].message : ""));
}

void upkeep_after_push(struct engine *e) {
    uint64_t pushed = e->config.keep_versions, discovered = pushed < DISCOVERED_KEPT ? pushed : DISCOVERED_KEPT;
    const struct store_retention retention = {.versions = pushed, .discovered = discovered};
    if (e->is_stopping || e->is_collecting || store_version_count(e->store) <= pushed + discovered + GC_SLACK)
        return;
    e->is_collecting = true;
    e->counters.gc_runs++;
    engine_gc(e, &retention, false, on_collected, e);
}

/* ---- life ---- */

/* As soon as there is time in a turn, whatever else there is to do in it: idle watchers of a lower priority would wait until
 * nobody wants anything. */
void upkeep_init(struct engine *e) {
    ev_idle_init(&e->upkeep_step, on_step);
    ev_set_priority(&e->upkeep_step, EV_MAXPRI);
    e->upkeep_step.data = e;
}

void upkeep_stop(struct engine *e) {
    while (e->upkeep) {
        error_addf(&e->upkeep->errors, ERROR_STATE, "the control plane is stopping");
        finish(e, e->upkeep, false);
    }
}

void upkeep_finish(struct engine *e) {
    ev_idle_stop(e->config.loop, &e->upkeep_step);
    while (e->upkeep) {
        struct upkeep_job *job = e->upkeep;
        e->upkeep = job->next;
        job_destroy(job);
    }
}
