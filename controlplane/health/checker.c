#include "controlplane/health/checker.h"

#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#include "common/address.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"

/* Of the descriptors a quarter is for connections that are being made, at most UNDER_WAY_MAX; the rest may be kept. */
enum { UNDER_WAY_MAX = 2048, DESCRIPTORS_MIN = 16, PULSES_PER_SECOND = 50, PULSE_PRIORITY = -1 };

/* ---- endpoints ---- */

struct endpoint *endpoint_create(const char *address, const char *hostname, size_t transport, uint64_t id) {
    size_t n = strlen(address) + 1;
    struct endpoint *e = hg_calloc(1, sizeof *e + n);
    if (!e)
        return NULL;
    memcpy(e->address, address, n);
    e->id = id;
    e->transport = transport;
    e->hostname = hostname && *hostname ? hg_strdup(hostname) : NULL;
    if (e->hostname || !hostname || !*hostname)
        return e;
    hg_free(e);
    return NULL;
}

void endpoint_destroy(struct endpoint *e) {
    hg_free(e->hostname);
    hg_free(e->reason);
    hg_free(e);
}

/* ---- commands ---- */

static bool is_same_name(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The endpoint that was there stays, with what is new about it. */
static void keep(struct checker *c, struct endpoint *old, struct endpoint *new) {
    if (!is_same_name(old->hostname, new->hostname)) {
        schedule_rename(c, old, new->hostname);
        new->hostname = NULL;
    }
    old->transport = new->transport;
    schedule_changed(c, old);
    endpoint_destroy(new);
}

static void merge(struct checker *c, struct cluster *cluster, struct map *new) {
    for (size_t i = 0; i < new->capacity; i++) {
        struct map_entry *entry = &new->entries[i];
        struct endpoint *e = entry->value, *old = entry->key.p ? map_remove(&cluster->endpoints, entry->key) : NULL;
        if (!entry->key.p)
            continue;
        if (old) {
            entry->key.p = old->address;
            entry->value = old;
            keep(c, old, e);
        } else {
            e->cluster = cluster;
            schedule_new(c, e);
        }
    }
}

static void remove_all(struct checker *c, struct map *endpoints) {
    const struct map_entry *entry;
    size_t position = 0;
    while ((entry = map_next(endpoints, &position)))
        schedule_remove(c, entry->value);
    map_finish(endpoints);
}

static void add_cluster(struct checker *c, struct cluster *cluster) {
    if (cluster->link)
        return;
    cluster->next = c->clusters;
    cluster->link = &c->clusters;
    if (c->clusters)
        c->clusters->link = &cluster->next;
    c->clusters = cluster;
}

static void remove_cluster(struct checker *c, struct cluster *cluster) {
    remove_all(c, &cluster->endpoints);
    check_plan_unref(cluster->plan);
    *cluster->link = cluster->next;
    if (cluster->next)
        cluster->next->link = cluster->link;
    hg_free(cluster);
}

/* Connections to every endpoint cannot be kept: said once for each power of two of endpoints. */
static void look_at_descriptors(struct checker *c) {
    if (c->counters.endpoints <= c->kept_max || c->counters.endpoints < 2 * c->endpoints_told)
        return;
    c->endpoints_told = c->counters.endpoints;
    log_warning("too few descriptors to keep a connection to every endpoint that is checked: the others are connected to "
                "anew for each check; raise the limit of open files (RLIMIT_NOFILE, LimitNOFILE=)",
                LOG_U("endpoints", c->counters.endpoints), LOG_U("kept_at_most", c->kept_max));
}

static void carry_out(struct checker *c, struct command *command) {
    struct cluster *cluster = command->cluster;
    struct map before;
    if (!command->plan) {
        remove_cluster(c, cluster);
        return;
    }
    add_cluster(c, cluster);
    check_plan_unref(cluster->plan);
    cluster->plan = command->plan;
    merge(c, cluster, &command->endpoints);
    before = cluster->endpoints;
    cluster->endpoints = command->endpoints;
    remove_all(c, &before);
    look_at_descriptors(c);
}

static void on_wake(struct ev_loop *loop, ev_async *wake, int events) {
    struct checker *c = ev_userdata(loop);
    (void)wake;
    (void)events;
    pthread_mutex_lock(&c->lock);
    struct command *command = c->commands;
    bool is_stopped = c->is_stopped;
    c->commands = NULL;
    c->last_command = &c->commands;
    pthread_mutex_unlock(&c->lock);
    while (command) {
        struct command *next = command->next;
        carry_out(c, command);
        hg_free(command);
        command = next;
    }
    if (is_stopped)
        ev_break(loop, EVBREAK_ALL);
}

void checker_send(struct checker *c, struct command *command) {
    command->next = NULL;
    pthread_mutex_lock(&c->lock);
    *c->last_command = command;
    c->last_command = &command->next;
    pthread_mutex_unlock(&c->lock);
    ev_async_send(c->loop, &c->wake);
}

/* ---- the loop ---- */

/* How much later than it should this comes is time that the thread did not have: it was busy, or was not let run. */
static void on_pulse(struct ev_loop *loop, ev_timer *pulse, int events) {
    struct checker *c = ev_userdata(loop);
    ev_now_update(loop); /* deadlines that are put off count from now */
    double now = checker_now(), late = now - c->pulsed - 2.0 / PULSES_PER_SECOND;
    (void)pulse;
    (void)events;
    if (late > 0)
        c->stalled += late + 1.0 / PULSES_PER_SECOND;
    c->pulsed = now;
    if (++c->pulses % PULSES_PER_SECOND == 0)
        news_send(c, true);
}

static void on_prepare(struct ev_loop *loop, ev_prepare *prepare, int events) {
    struct checker *c = ev_userdata(loop);
    (void)prepare;
    (void)events;
    schedule_run(c);
    news_send(c, false);
}

static void on_more(struct ev_loop *loop, ev_idle *idle, int events) {
    (void)loop;
    (void)idle;
    (void)events;
}

static void *run(void *arg) {
    struct checker *c = arg;
    ev_now_update(c->loop);
    c->pulsed = checker_now();
    ev_run(c->loop, 0);
    return NULL;
}

/* ---- beginning and end ---- */

static void init_watchers(struct checker *c) {
    ev_set_userdata(c->loop, c);
    ev_async_init(&c->wake, on_wake);
    ev_async_start(c->loop, &c->wake);
    ev_timer_init(&c->pulse, on_pulse, 1.0 / PULSES_PER_SECOND, 1.0 / PULSES_PER_SECOND);
    ev_set_priority(&c->pulse, PULSE_PRIORITY); /* after answers, before deadlines */
    ev_timer_start(c->loop, &c->pulse);
    ev_prepare_init(&c->prepare, on_prepare);
    ev_prepare_start(c->loop, &c->prepare);
    ev_idle_init(&c->more, on_more);
    ev_set_priority(&c->more, EV_MINPRI);
}

/* Signals are the other thread's business; SIGPIPE too, which OpenSSL's writes may raise. */
static int start_thread(struct checker *c) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        pthread_setname_np(c->thread, "health-checks"); /* for those who look at threads */
    return failed ? -1 : 0;
}

static void release(struct checker *c) {
    if (c->loop)
        ev_loop_destroy(c->loop);
    hg_free(c->probes.room);
    pthread_mutex_destroy(&c->lock);
}

int checker_start(struct checker *c, size_t descriptors, struct ev_loop *owner, ev_async *owner_wake,
                  struct error_list *errors) {
    size_t all = descriptors < DESCRIPTORS_MIN ? DESCRIPTORS_MIN : descriptors;
    *c = (struct checker){.owner = owner, .owner_wake = owner_wake, .loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV)};
    pthread_mutex_init(&c->lock, NULL);
    c->last_command = &c->commands;
    c->last_news = &c->news;
    c->probes.room = hg_malloc(PROBE_ROOM);
    c->probes.loop = c->loop;
    c->under_way_max = all / 4 < UNDER_WAY_MAX ? all / 4 : UNDER_WAY_MAX;
    c->kept_max = all - c->under_way_max;
    if (getrandom(&c->random, sizeof c->random, 0) != sizeof c->random || c->random == 0)
        c->random = clock_monotonic_us() | 1;
    schedule_init(c);
    if (c->loop)
        init_watchers(c);
    if (c->loop && c->probes.room && start_thread(c) == 0)
        return 0;
    error_addf(errors, ERROR_MEMORY, "no means for the thread of health checks");
    release(c);
    return -1;
}

void checker_stop(struct checker *c) {
    pthread_mutex_lock(&c->lock);
    c->is_stopped = true;
    pthread_mutex_unlock(&c->lock);
    ev_async_send(c->loop, &c->wake);
    pthread_join(c->thread, NULL);
    on_wake(c->loop, &c->wake, 0); /* commands that came after its last look */
    while (c->clusters)
        remove_cluster(c, c->clusters);
    schedule_forget(c);
    news_forget(c);
    hg_free(c->batch);
    release(c);
}
