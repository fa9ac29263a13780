/* checker.h — the thread that checks: its loop, the schedule of all endpoints, and what they answered.
 *
 * health.c talks to it by commands and batches; every allocation that a command needs has been made by then, so that a
 * command is always carried out. Threads: as each function says. */
#pragma once

#include <pthread.h>

#include "common/clock.h"
#include "common/map.h"
#include "controlplane/health/health.h"
#include "controlplane/health/check_plan.h"
#include "controlplane/health/probe.h"

/* The schedule of one endpoint. */
enum endpoint_state { ENDPOINT_WAITING, ENDPOINT_QUEUED, ENDPOINT_UNDER_WAY };

struct endpoint {
    ev_timer         timer;             /* until the check is due, or the deadline of that under way */
    struct cluster  *cluster;
    struct endpoint *next_queued, *next_news;
    struct probe    *probe;             /* the check under way, or a kept connection; NULL: neither */
    struct check_plan     *plan;              /* of the check under way */
    char            *hostname;          /* NULL: none */
    size_t           transport;         /* which of the cluster's plan is its */
    char            *reason;            /* of the last failure; NULL: none, or no memory */
    uint64_t         id;                /* tells it from one with the same address before or after it */
    uint64_t         failed_at;         /* microseconds since 1970 */
    uint64_t         changed_at;        /* its health; monotonic microseconds */
    double           due, begun;        /* checker_now */
    double           stalled;           /* checker.stalled when the deadline was set */
    uint32_t         streak;            /* checks in a row with the last result */
    uint8_t          health, told;      /* Headgate__Endpoint__Health; what the loop's thread knows */
    uint8_t          state;
    bool             is_failing;        /* the last check failed, or it is unhealthy */
    bool             was_well;          /* the last check */
    bool             has_news, has_failure_news, is_queued, is_removed;
    char             address[];
};

/* Allocated by the loop's thread, otherwise the checker's alone. */
struct cluster {
    struct cluster *next, **link;       /* of the checker's list; link NULL: not there yet */
    struct check_plan    *plan;
    struct map      endpoints;          /* by address */
};

struct command {
    struct command *next;
    struct cluster *cluster;
    struct check_plan    *plan;               /* the checker's from now on. NULL: the cluster goes */
    struct map      endpoints;          /* all that there are now, as if new; the checker's from now on */
};

/* What is new of one endpoint. */
struct news {
    const char *cluster, *address, *reason;     /* reason NULL: as before */
    uint64_t    id, failed_at, changed_at;
    uint8_t     health;
};

struct batch {
    struct health_counters counters;
    struct health_change  *changes;     /* room for `count`, for who takes it */
    size_t                 count;
    struct news            news[];      /* texts stand behind */
};

struct queue {
    struct endpoint *first, **last;
};

struct checker {
    /* Between the threads, under the lock. */
    pthread_mutex_t  lock;
    struct command  *commands, **last_command;
    struct batch    *batch;             /* not yet taken; NULL: none */
    bool             is_stopped;
    ev_async         wake;              /* of the checker's loop */
    struct ev_loop  *owner;             /* the loop of the other thread, and what wakes it */
    ev_async        *owner_wake;
    /* The checker's. */
    pthread_t        thread;
    struct ev_loop  *loop;
    ev_timer         pulse;
    ev_prepare       prepare;
    ev_idle          more;              /* active while a turn is to follow at once */
    struct probes    probes;
    struct cluster  *clusters;
    struct queue     queues[2];         /* endpoints that are due: well ones, failing ones */
    struct endpoint *news, **last_news;
    struct health_counters counters;
    size_t           under_way, failing_under_way, under_way_max, kept_max;
    double           pulsed, stalled;   /* when the pulse came last; seconds in which this thread did not run as it should */
    uint64_t         random;
    uint64_t         put_off_told, endpoints_told;
    unsigned         pulses;
};

/* The loop's thread. `owner_wake` is sent to when there is a batch. 0, or -1 with errors. */
int           checker_start(struct checker *c, size_t descriptors, struct ev_loop *owner, ev_async *owner_wake,
                            struct error_list *errors);
/* Waits for the thread and frees everything that it has. */
void          checker_stop(struct checker *c);
/* The command is the checker's from now on. */
void          checker_send(struct checker *c, struct command *command);
/* NULL: there is none. The caller frees it (hg_free). */
struct batch *checker_take(struct checker *c);
struct endpoint *endpoint_create(const char *address, const char *hostname, size_t transport, uint64_t id);
void          endpoint_destroy(struct endpoint *e);     /* one that the checker does not have (any more) */

/* ---- between the files of the checker; its own thread */

/* Seconds of the clock that nobody sets. ev_now would be the time of the day. */
static inline double checker_now(void) {
    return (double)clock_monotonic_us() / 1e6;
}

void schedule_init(struct checker *c);
void schedule_new(struct checker *c, struct endpoint *e);       /* the first check */
void schedule_changed(struct checker *c, struct endpoint *e);   /* the cluster's plan has changed */
void schedule_rename(struct checker *c, struct endpoint *e, char *hostname); /* the checker's from now on; may be NULL */
void schedule_remove(struct checker *c, struct endpoint *e);    /* nothing of it is under way any more */
void schedule_forget(struct checker *c);                        /* at the end: what was removed while it was queued */
void schedule_run(struct checker *c);                           /* begins what is due */
void news_add(struct checker *c, struct endpoint *e);
void news_send(struct checker *c, bool is_always);              /* `is_always`: also counters alone */
void news_forget(struct checker *c);                            /* at the end: what was removed with news */
