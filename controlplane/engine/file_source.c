#include "controlplane/engine/file_source.h"

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/channel/message_copy.h"
#include "controlplane/config/source/watch.h"
#include "controlplane/engine/reply.h"
#include "controlplane/engine/sources.h"
#include "controlplane/discovery/watch.h"

enum { LOGGED_MAX = 20 }; /* problems of one load that are logged */

static const double RETRY_FIRST_SECONDS = 1., RETRY_MOST_SECONDS = 60.;

struct file_source {
    struct ev_loop *loop;
    struct engine *engine;
    char *path;
    struct watch watch;
    struct config_sources sources; /* as they were looked at last */
    Headgate__PushReply *failure;  /* what became of them, when it was not good */
    bool is_held_back, is_pushing, is_changed_meanwhile, is_stopped;
    ev_timer retry;
    double retry_after; /* seconds */
    struct file_source_counters counters;
};

/* ---- what became of it ---- */

static void clear_failure(struct file_source *f) {
    if (f->failure)
        headgate__push_reply__free_unpacked(f->failure, NULL);
    f->failure = NULL;
}

static void log_problem(const Headgate__Problem *p) {
    enum log_level level = p->is_warning ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR;
    const struct log_value values[] = {
        LOG_S("file", p->file),       LOG_U("line", p->line),
        LOG_U("column", p->column),   LOG_S("path", p->path ? p->path : p->resource),
        LOG_S("problem", p->message), LOG_S("expected", p->expected),
        LOG_S("nearest", p->nearest), {0}};
    log_write(level, "configuration file", values);
}

static void log_refusal(const Headgate__DataPlaneResult *r) {
    for (size_t i = 0; i < r->n_reasons && i < LOGGED_MAX; i++)
        log_error("configuration file was refused by a data plane", LOG_S("node", r->node),
                  LOG_S("resource", r->reasons[i]->name), LOG_S("path", r->reasons[i]->path),
                  LOG_S("reason", r->reasons[i]->message));
}

static void log_failure(const Headgate__PushReply *reply) {
    for (size_t i = 0; i < reply->n_problems && i < LOGGED_MAX; i++)
        log_problem(reply->problems[i]);
    for (size_t i = 0; i < reply->n_data_planes; i++)
        log_refusal(reply->data_planes[i]);
}

static void keep_failure(struct file_source *f, const Headgate__PushReply *reply) {
    clear_failure(f);
    f->failure = message_copy(reply);
    f->counters.failures++;
    log_failure(reply);
    log_error("configuration file changes nothing", LOG_S("file", f->path));
}

static bool is_passing(const Headgate__Problem *p) {
    static const enum error_code codes[] = {ERROR_STATE, ERROR_IO, ERROR_MEMORY};
    for (size_t i = 0; p->code && i < sizeof codes / sizeof *codes; i++)
        if (strcmp(p->code, error_code_name(codes[i])) == 0)
            return true;
    return p->is_warning;
}

/* Nobody objected to what the file says: a data plane went away, the disk was full, the control plane was short of something
 * else, or a secret that it names is not there yet. */
static bool is_worth_a_retry(const Headgate__PushReply *reply) {
    for (size_t i = 0; i < reply->n_problems; i++)
        if (!is_passing(reply->problems[i]))
            return false;
    for (size_t i = 0; i < reply->n_data_planes; i++)
        if (reply->data_planes[i]->state == HEADGATE__DATA_PLANE_RESULT__STATE__NACKED)
            return false;
    return true;
}

static void schedule_retry(struct file_source *f) {
    ev_timer_stop(f->loop, &f->retry);
    ev_timer_set(&f->retry, f->retry_after, 0.);
    ev_timer_start(f->loop, &f->retry);
    f->retry_after = f->retry_after * 2 < RETRY_MOST_SECONDS ? f->retry_after * 2 : RETRY_MOST_SECONDS;
}

static void look(struct file_source *f, bool is_forced);

static void on_pushed(void *context, const Headgate__PushReply *reply) {
    struct file_source *f = context;
    f->is_pushing = false;
    if (reply->outcome == HEADGATE__PUSH_REPLY__OUTCOME__REFUSED) {
        keep_failure(f, reply);
        if (is_worth_a_retry(reply) && !f->is_stopped)
            schedule_retry(f);
    } else {
        clear_failure(f);
        f->retry_after = RETRY_FIRST_SECONDS;
        for (size_t i = 0; i < reply->n_problems && i < LOGGED_MAX; i++)
            log_problem(reply->problems[i]);
    }
    if (f->is_changed_meanwhile)
        look(f, false);
}

/* ---- looking and pushing ---- */

static void fail_to_load(struct file_source *f, const struct error_list *errors) {
    Headgate__PushReply reply = HEADGATE__PUSH_REPLY__INIT;
    struct problem_list problems = {0};
    struct arena arena = {0};
    reply_add_problems(&arena, &problems, errors, false);
    reply.has_outcome = true;
    reply.outcome = HEADGATE__PUSH_REPLY__OUTCOME__REFUSED;
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    keep_failure(f, &reply);
    arena_finish(&arena);
}

static void push(struct file_source *f) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__Sources sources;
    struct arena arena = {0};
    if (sources_to_message(&f->sources, &arena, &sources) < 0) {
        log_error("no memory to push the configuration file", LOG_S("file", f->path));
        schedule_retry(f);
    } else {
        request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_SOURCES;
        request.sources = &sources;
        request.author = (char *)"file";
        request.message = f->path;
        f->is_pushing = true;
        engine_push(f->engine, &request, on_pushed, f);
    }
    arena_finish(&arena);
}

/* Reads the files with their directories watched already, so that no change falls between reading and watching. What has
 * to be watched is known only after reading, so it is read again while that changes. */
static int load(struct file_source *f, struct config_sources *ret, struct error_list *errors) {
    enum { ROUNDS = 5 };
    struct config_sources before = {0};
    int status = 0;
    watch_set(&f->watch, f->sources.directories, f->sources.directory_count);
    for (int i = 0; i < ROUNDS; i++) {
        error_list_finish(errors);
        status = config_load(f->path, ret, errors);
        bool is_watched = watch_is_same(ret, i ? &before : &f->sources);
        config_sources_finish(&before);
        if (is_watched || i == ROUNDS - 1)
            return status;
        watch_set(&f->watch, ret->directories, ret->directory_count);
        before = *ret;
        *ret = (struct config_sources){0};
    }
    return status;
}

/* A program that writes into it has emptied it first, and may take its time: that is no wish to serve nothing. */
static int refuse_empty(const struct file_source *f, const struct config_sources *sources, struct error_list *errors) {
    if (sources->items[0].size > 0)
        return 0;
    struct error *e = error_addf(errors, ERROR_MISSING, "the file is empty");
    error_set_place(errors, e, f->path, 0, 0);
    error_set_expected(errors, e, "a configuration, or {} for an empty one", NULL);
    return -1;
}

static void look(struct file_source *f, bool is_forced) {
    struct config_sources fresh = {0};
    struct error_list errors = {0};
    f->is_changed_meanwhile = f->is_pushing;
    if (f->is_stopped || f->is_pushing)
        return;
    int status = load(f, &fresh, &errors);
    if (status == 0)
        status = refuse_empty(f, &fresh, &errors);
    bool is_new = !sources_are_same(&f->sources, &fresh);
    config_sources_finish(&f->sources);
    f->sources = fresh;
    bool was_held_back = f->is_held_back;
    f->is_held_back = store_pinned_version(engine_store(f->engine)) != 0;
    if (is_new || is_forced || was_held_back) {
        f->counters.loads++;
        if (status < 0)
            fail_to_load(f, &errors);
        else if (f->is_held_back)
            log_warning("a rollback has pinned the version: the configuration file is not pushed",
                        LOG_S("file", f->path));
        else
            push(f);
    }
    error_list_finish(&errors);
}

static void on_changed(void *owner) {
    look(owner, false);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    look(timer->data, true);
}

/* ---- life ---- */

struct file_source *file_source_create(struct ev_loop *loop, struct engine *engine, const char *path) {
    struct file_source *f = hg_calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->loop = loop;
    f->engine = engine;
    f->path = hg_strdup(path);
    f->retry_after = RETRY_FIRST_SECONDS;
    watch_init(&f->watch, loop, on_changed, f);
    ev_timer_init(&f->retry, on_retry, 0., 0.);
    f->retry.data = f;
    ev_timer_start(loop, &f->retry);
    if (f->path)
        return f;
    file_source_destroy(f);
    return NULL;
}

void file_source_destroy(struct file_source *f) {
    if (!f)
        return;
    ev_timer_stop(f->loop, &f->retry);
    watch_finish(&f->watch);
    clear_failure(f);
    config_sources_finish(&f->sources);
    hg_free(f->path);
    hg_free(f);
}

void file_source_reload(struct file_source *f) {
    f->retry_after = RETRY_FIRST_SECONDS;
    look(f, true);
}

void file_source_stop(struct file_source *f) {
    f->is_stopped = true;
    ev_timer_stop(f->loop, &f->retry);
}

const char *file_source_path(const struct file_source *f) {
    return f->path;
}

const Headgate__PushReply *file_source_failure(const struct file_source *f) {
    return f->failure;
}

bool file_source_is_held_back(const struct file_source *f) {
    return f->is_held_back;
}

const struct file_source_counters *file_source_counters(const struct file_source *f) {
    return &f->counters;
}
