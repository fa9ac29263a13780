#include "dataplane/snapshot/lastgood.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

enum { SYNC_DELAY_US = 500000, STACK_SIZE = 512 << 10, STOP_SECONDS = 5 };

static const double store_delay = 0.4, retry_delay = 5, answer_timeout = 3; /* seconds */

struct lastgood {
    struct ev_loop        *loop;
    struct lastgood_files  files;         /* the thread's, once it runs */
    int                    dir;
    /* the main thread's */
    struct resource_set   *stored;        /* on disk; NULL: not known */
    struct resource_set   *waiting;       /* newest that has not been given to the thread */
    bool                   is_urgent;     /* `waiting` is */
    struct resource_set   *in_work;
    lastgood_on_stored    *on_stored;     /* of the urgent call that is open; NULL: none */
    void                  *owner;
    struct resource_set *asked; /* what that call was about; not a reference: it waits or is in work */
    ev_async               finished;
    ev_timer               delay, timeout;
    /* between the two */
    pthread_t              thread;
    bool                   has_thread;
    pthread_mutex_t        lock;          /* guards what follows */
    pthread_cond_t         news;
    const struct resource_set *job, *job_base; /* NULL: none; the main thread holds the references */
    bool                   is_lost;       /* what was written may not be on the disk */
    bool                   was_found;     /* as it started: a copy, to be synchronized before another comes */
    bool                   is_done;       /* the job's result is there */
    int                    status;
    struct strbuf          error;
    bool                   is_stopping;
};

/* ---- the thread ---- */

static void run_job(struct lastgood *l, const struct resource_set *job, const struct resource_set *base) {
    struct error_list errors = {0};
    struct strbuf text = {0};
    int status = lastgood_files_write(&l->files, job, base, &errors);
    if (errors.count)
        error_format(&errors.items[0], &text);
    error_list_finish(&errors);
    pthread_mutex_lock(&l->lock);
    if (l->job == job) /* at the end there may be another one already */
        l->job = NULL;
    l->is_done = true;
    l->status = status;
    strbuf_finish(&l->error);
    l->error = text;
    pthread_mutex_unlock(&l->lock);
    ev_async_send(l->loop, &l->finished);
}

/* Waits for a job, until `deadline` (monotonic, microseconds; 0: for ever). Call with the lock held. */
static void wait_for_news(struct lastgood *l, uint64_t deadline) {
    struct timespec until = {(time_t)(deadline / 1000000), (long)(deadline % 1000000) * 1000};
    if (deadline)
        pthread_cond_timedwait(&l->news, &l->lock, &until);
    else
        pthread_cond_wait(&l->news, &l->lock);
}

/* Told from here, so that the last one before the end is told too. */
static void sync_failed(struct lastgood *l, const struct error_list *errors) {
    struct strbuf text = {0};
    if (errors->count)
        error_format(&errors->items[0], &text);
    log_error("the last-known-good copy may not be on the disk",
              LOG_S("error", text.p ? text.p : "out of memory"));
    strbuf_finish(&text);
    pthread_mutex_lock(&l->lock);
    l->is_lost = true;
    pthread_mutex_unlock(&l->lock);
    ev_async_send(l->loop, &l->finished);
}

/* One step at a time, so that a job waits for one file at most. Returns whether there is more. */
static bool synchronize_step(struct lastgood *l) {
    struct error_list errors = {0};
    int status = lastgood_files_sync_step(&l->files, &errors);
    if (status < 0)
        sync_failed(l, &errors);
    else if (status == 0)
        lastgood_files_sweep(&l->files);
    error_list_finish(&errors);
    return status > 0;
}

static void *run(void *arg) {
    struct lastgood *l = arg;
    uint64_t sync_at = l->was_found ? clock_monotonic_us() : 0; /* 0: everything is on the disk */
    pthread_setname_np(pthread_self(), "last-good"); /* for those who look at threads */
    pthread_mutex_lock(&l->lock);
    for (;;) {
        const struct resource_set *job = l->job, *base = l->job_base;
        bool is_stopping = l->is_stopping,
             is_due = sync_at && (is_stopping || clock_monotonic_us() >= sync_at);
        if (!job && !is_due && is_stopping)
            break;
        if (!job && !is_due) {
            wait_for_news(l, sync_at);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        if (job)
            run_job(l, job, base);
        if (job)
            sync_at = sync_at ? sync_at : clock_monotonic_us() + SYNC_DELAY_US;
        else if (!synchronize_step(l))
            sync_at = 0;
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- the main thread ---- */

static void answer(struct lastgood *l, const char *error) {
    lastgood_on_stored *on_stored = l->on_stored;
    l->on_stored = NULL;
    l->asked = NULL;
    ev_timer_stop(l->loop, &l->timeout);
    if (on_stored)
        on_stored(l->owner, error);
}

static void hand_over(struct lastgood *l) {
    ev_timer_stop(l->loop, &l->delay);
    l->in_work = l->waiting;
    l->waiting = NULL;
    pthread_mutex_lock(&l->lock);
    l->job = l->in_work;
    l->job_base = l->stored;
    pthread_cond_signal(&l->news);
    pthread_mutex_unlock(&l->lock);
}

static void start_delay(struct lastgood *l, double seconds) {
    ev_timer_stop(l->loop, &l->delay);
    ev_timer_set(&l->delay, seconds, 0.);
    ev_timer_start(l->loop, &l->delay);
}

static void on_delay_over(struct ev_loop *loop, ev_timer *timer, int events) {
    struct lastgood *l = timer->data;
    (void)loop;
    (void)events;
    if (l->waiting && !l->in_work)
        hand_over(l);
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    log_error("the disk of the last-known-good copy does not answer");
    answer(timer->data, "the disk has not answered in time");
}

static void job_succeeded(struct lastgood *l) {
    bool was_asked = l->asked == l->in_work;
    resource_set_unref(l->stored);
    l->stored = l->in_work;
    l->in_work = NULL;
    if (was_asked)
        answer(l, NULL);
}

/* Unless something newer waits, this one is tried again. */
static void job_failed(struct lastgood *l, const char *error) {
    bool was_asked = l->asked == l->in_work;
    log_error("the last-known-good copy cannot be written", LOG_S("error", error));
    if (l->waiting)
        resource_set_unref(l->in_work);
    else {
        l->waiting = l->in_work;
        l->is_urgent = false;
        start_delay(l, retry_delay);
    }
    l->in_work = NULL;
    if (was_asked)
        answer(l, error);
}

/* Unless something else is about to be written, all of which will be written anew. */
static void write_again(struct lastgood *l) {
    if (!l->stored || l->waiting || l->in_work)
        return;
    l->waiting = resource_set_ref(l->stored);
    l->is_urgent = false;
    start_delay(l, retry_delay);
}

static void on_finished(struct ev_loop *loop, ev_async *watcher, int events) {
    struct lastgood *l = watcher->data;
    (void)loop;
    (void)events;
    pthread_mutex_lock(&l->lock);
    bool is_done = l->is_done, is_lost = l->is_lost;
    int status = l->status;
    struct strbuf error = l->error;
    l->error = (struct strbuf){0};
    l->is_done = l->is_lost = false;
    pthread_mutex_unlock(&l->lock);
    if (is_done && status == 0)
        job_succeeded(l);
    else if (is_done)
        job_failed(l, error.p ? error.p : "out of memory");
    strbuf_finish(&error);
    if (is_lost)
        write_again(l);
    if (l->waiting && l->is_urgent && !l->in_work)
        hand_over(l);
    else if (l->waiting && !ev_is_active(&l->delay))
        start_delay(l, store_delay);
}

void lastgood_store(struct lastgood *l, struct resource_set *set, bool is_urgent,
                    lastgood_on_stored *on_stored, void *owner) {
    resource_set_ref(set);
    resource_set_unref(l->waiting);
    l->waiting = set;
    l->is_urgent = is_urgent;
    if (is_urgent) {
        l->on_stored = on_stored;
        l->owner = owner;
        l->asked = set;
        ev_timer_set(&l->timeout, answer_timeout, 0.);
        ev_timer_start(l->loop, &l->timeout);
    }
    if (is_urgent && !l->in_work)
        hand_over(l);
    else if (!is_urgent && !ev_is_active(&l->delay))
        start_delay(l, store_delay);
    if (!is_urgent)
        on_stored(owner, NULL);
}

void lastgood_forget(struct lastgood *l) {
    l->on_stored = NULL;
    l->asked = NULL;
    ev_timer_stop(l->loop, &l->timeout);
}

int lastgood_load(struct lastgood *l, enum lastgood_copy copy, struct resource_set **ret,
                  struct error_list *errors) {
    return lastgood_files_load(&l->files, copy, ret, errors);
}

/* ---- beginning and end ---- */

static int start_thread(struct lastgood *l) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = pthread_create(&l->thread, &attributes, run, l);
    pthread_attr_destroy(&attributes);
    l->has_thread = error == 0;
    return error ? -1 : 0;
}

int lastgood_start(struct lastgood *l, struct resource_set *stored) {
    l->was_found = stored;
    if (start_thread(l) < 0)
        return -1;
    l->stored = stored ? resource_set_ref(stored) : NULL;
    ev_async_start(l->loop, &l->finished);
    return 0;
}

static void make_lock(struct lastgood *l) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&l->news, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct lastgood *lastgood_create(struct ev_loop *loop, int dir, struct error_list *errors) {
    struct lastgood *l = hg_calloc(1, sizeof *l);
    if (!l) {
        error_addf(errors, ERROR_MEMORY, "out of memory");
        close(dir);
        return NULL;
    }
    l->loop = loop;
    l->dir = dir;
    make_lock(l);
    ev_async_init(&l->finished, on_finished);
    ev_timer_init(&l->delay, on_delay_over, 0., 0.);
    ev_timer_init(&l->timeout, on_timeout, 0., 0.);
    l->finished.data = l->delay.data = l->timeout.data = l;
    if (lastgood_files_init(&l->files, dir, errors) == 0)
        return l;
    lastgood_destroy(l);
    return NULL;
}

/* What waits is the thread's last job. Returns whether the thread has ended. */
static bool stop_thread(struct lastgood *l) {
    struct timespec until;
    pthread_mutex_lock(&l->lock);
    if (l->waiting) {
        l->job = l->waiting;
        l->job_base = l->in_work ? NULL : l->stored;
    }
    l->is_stopping = true;
    pthread_cond_signal(&l->news);
    pthread_mutex_unlock(&l->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_SECONDS;
    return pthread_timedjoin_np(l->thread, NULL, &until) == 0;
}

void lastgood_destroy(struct lastgood *l) {
    if (!l)
        return;
    ev_timer_stop(l->loop, &l->delay);
    ev_timer_stop(l->loop, &l->timeout);
    if (l->has_thread && !stop_thread(l)) {
        log_error("the disk of the last-known-good copy does not answer");
        return; /* the thread still uses it all; the process is about to end */
    }
    ev_async_stop(l->loop, &l->finished);
    lastgood_files_finish(&l->files);
    resource_set_unref(l->stored);
    resource_set_unref(l->waiting);
    resource_set_unref(l->in_work);
    strbuf_finish(&l->error);
    pthread_cond_destroy(&l->news);
    pthread_mutex_destroy(&l->lock);
    close(l->dir);
    hg_free(l);
}
