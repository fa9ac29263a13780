/* When each endpoint is checked, and what follows from the result. */
#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/health/checker.h"

#include <stdio.h>

/* BEGIN_MAX: checks that begin in one turn, so that answers are read in between. */
enum { BEGIN_MAX = 256, TIMER_PRIORITY = -2, LATE_SECONDS = 1, PUT_OFF_SECONDS = 1, JITTER_PERCENT = 10 };

enum { HEALTHY = HEADGATE__ENDPOINT__HEALTH__HEALTHY, UNHEALTHY = HEADGATE__ENDPOINT__HEALTH__UNHEALTHY };

/* ---- times ---- */

/* From 0 to below 1; xorshift64*, which is chance enough for phases. */
static double draw(struct checker *c) {
    c->random ^= c->random >> 12;
    c->random ^= c->random << 25;
    c->random ^= c->random >> 27;
    return (double)((c->random * UINT64_C(2685821657736338717)) >> 11) / 9007199254740992.0;
}

/* Timers count from now, not from the beginning of the turn. */
static double clock_of(struct checker *c) {
    ev_now_update(c->loop);
    return checker_now();
}

static double interval_of(const struct endpoint *e) {
    const struct check_plan *plan = e->cluster->plan;
    return e->is_failing ? plan->unhealthy_interval : plan->interval;
}

static void start_timer(struct checker *c, struct endpoint *e, double after) {
    ev_timer_stop(c->loop, &e->timer);
    ev_timer_set(&e->timer, after, 0);
    ev_timer_start(c->loop, &e->timer);
}

static void wait_until(struct checker *c, struct endpoint *e, double due, double now) {
    e->state = ENDPOINT_WAITING;
    e->due = due;
    start_timer(c, e, due > now ? due - now : 0);
}

/* Counted from the beginning of the check before, so that slow answers do not make checks rare. After the first check the
 * phase is drawn anew, over the whole interval: those that came together do not stay together. */
static void wait_for_next(struct checker *c, struct endpoint *e, bool is_first) {
    double now = checker_now(), interval = interval_of(e);
    double jitter = 1 + (draw(c) * 2 - 1) * JITTER_PERCENT / 100;
    double due = e->begun + interval * (is_first ? 0.5 + draw(c) : jitter);
    double earliest = now + interval / 10;
    wait_until(c, e, due > earliest ? due : earliest, now);
}

/* ---- results ---- */

static void set_health(struct checker *c, struct endpoint *e, uint8_t health) {
    if (e->health == health)
        return;
    c->counters.unhealthy += health == UNHEALTHY;
    c->counters.unhealthy -= e->health == UNHEALTHY;
    e->health = health;
    e->changed_at = clock_monotonic_us();
    c->counters.changes++;
    news_add(c, e);
}

static void on_well(struct checker *c, struct endpoint *e) {
    bool is_enough = e->health == HEADGATE__ENDPOINT__HEALTH__UNKNOWN || e->streak >= e->cluster->plan->check->healthy_after;
    if (is_enough)
        set_health(c, e, HEALTHY);
}

static void note_failure(struct checker *c, struct endpoint *e, const char *reason) {
    bool is_known = e->streak > 1 && e->reason && strcmp(e->reason, reason) == 0;
    if (is_known)
        return;
    hg_free(e->reason);
    e->reason = hg_strdup(reason);
    e->failed_at = clock_realtime_us();
    e->has_failure_news = true;
    news_add(c, e);
}

static void on_unwell(struct checker *c, struct endpoint *e, const char *reason) {
    c->counters.failures++;
    note_failure(c, e, reason);
    if (e->streak >= e->cluster->plan->check->unhealthy_after)
        set_health(c, e, UNHEALTHY);
}

static void count_result(struct endpoint *e, bool is_well) {
    bool is_same = e->streak > 0 && e->was_well == is_well;
    e->streak = is_same && e->streak < UINT32_MAX ? e->streak + 1 : is_same ? e->streak : 1;
    e->was_well = is_well;
}

static void leave(struct checker *c, struct endpoint *e) {
    c->under_way--;
    c->failing_under_way -= e->is_failing;
    check_plan_unref(e->plan);
    e->plan = NULL;
    ev_timer_stop(c->loop, &e->timer);
}

static void conclude(struct checker *c, struct endpoint *e, bool is_well, const char *reason) {
    bool is_first = e->streak == 0;
    leave(c, e);
    c->counters.checks++;
    count_result(e, is_well);
    if (is_well)
        on_well(c, e);
    else
        on_unwell(c, e, reason);
    e->is_failing = !is_well || e->health == UNHEALTHY;
    wait_for_next(c, e, is_first);
}

static void drop_probe(struct endpoint *e) {
    probe_destroy(e->probe);
    e->probe = NULL;
}

/* What is missing here is no fault of the endpoint. */
static void put_off(struct checker *c, struct endpoint *e, const char *reason) {
    uint64_t now = clock_monotonic_us();
    leave(c, e);
    c->counters.put_off++;
    if (c->put_off_told == 0 || now - c->put_off_told > 60000000) {
        c->put_off_told = now;
        log_warning("health checks are put off", LOG_S("reason", reason), LOG_S("cluster", e->cluster->plan->cluster),
                    LOG_S("endpoint", e->address), LOG_U("so_far", c->counters.put_off));
    }
    double after = interval_of(e) < PUT_OFF_SECONDS ? interval_of(e) : PUT_OFF_SECONDS;
    wait_until(c, e, checker_now() + after, checker_now());
}

static void on_ended(struct probes *all, void *owner, enum probe_end end, bool is_reusable, const char *reason) {
    struct endpoint *e = owner;
    struct checker *c = ev_userdata(all->loop);
    if (!is_reusable || c->probes.open > c->kept_max)
        drop_probe(e);
    if (end == PROBE_NOT_MADE)
        put_off(c, e, reason);
    else
        conclude(c, e, end == PROBE_WELL, reason);
}

static void on_closed(struct probes *all, void *owner) {
    (void)all;
    drop_probe(owner);
}

/* ---- checks ---- */

/* Time in which this thread did not run, or not soon enough, is not the endpoint's: it gets as much again. */
static void on_deadline(struct checker *c, struct endpoint *e) {
    char reason[REASON_MAX];
    double lost = c->stalled - e->stalled;
    if (lost > 0) {
        e->stalled = c->stalled;
        start_timer(c, e, lost);
        return;
    }
    snprintf(reason, sizeof reason, "no %s within %s", probe_waits_for(e->probe), e->plan->timeout_text);
    c->counters.timeouts++;
    drop_probe(e);
    conclude(c, e, false, reason);
}

static void begin(struct checker *c, struct endpoint *e) {
    double now = clock_of(c);
    c->counters.late += now - e->due > LATE_SECONDS;
    c->under_way++;
    c->failing_under_way += e->is_failing;
    e->state = ENDPOINT_UNDER_WAY;
    e->begun = now;
    e->stalled = c->stalled;
    e->plan = check_plan_ref(e->cluster->plan);
    if (!e->probe)
        e->probe = probe_create(&c->probes, e);
    if (!e->probe) {
        put_off(c, e, "no memory");
        return;
    }
    start_timer(c, e, e->plan->timeout);
    const struct probe_target target = {e->plan, e->address, e->hostname, e->plan->transports[e->transport]};
    probe_check(e->probe, &target);
}

static void enqueue(struct checker *c, struct endpoint *e) {
    struct queue *q = &c->queues[e->is_failing];
    e->state = ENDPOINT_QUEUED;
    e->is_queued = true;
    e->next_queued = NULL;
    *q->last = e;
    q->last = &e->next_queued;
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events) {
    struct checker *c = ev_userdata(loop);
    struct endpoint *e = timer->data;
    (void)events;
    if (e->state == ENDPOINT_UNDER_WAY)
        on_deadline(c, e);
    else
        enqueue(c, e);
}

/* NULL: empty. What was removed meanwhile is freed. */
static struct endpoint *dequeue(struct queue *q) {
    for (;;) {
        struct endpoint *e = q->first;
        if (!e)
            return NULL;
        q->first = e->next_queued;
        if (!q->first)
            q->last = &q->first;
        e->is_queued = false;
        if (!e->is_removed)
            return e;
        if (!e->has_news)
            endpoint_destroy(e);
    }
}

/* Failing endpoints, each of which may take up its time-out, never have more than half of what there is. */
static struct endpoint *next_due(struct checker *c, unsigned turn) {
    bool may_fail = c->failing_under_way < c->under_way_max / 2;
    for (unsigned i = 0; i < 2; i++) {
        unsigned which = (turn + i) % 2;
        struct endpoint *e = which == 0 || may_fail ? dequeue(&c->queues[which]) : NULL;
        if (e)
            return e;
    }
    return NULL;
}

void schedule_forget(struct checker *c) {
    for (int i = 0; i < 2; i++)
        dequeue(&c->queues[i]);
}

void schedule_run(struct checker *c) {
    unsigned begun = 0;
    struct endpoint *e = NULL;
    while (begun < BEGIN_MAX && c->under_way < c->under_way_max && (e = next_due(c, begun)) != NULL) {
        begin(c, e);
        begun++;
    }
    if (begun == BEGIN_MAX)
        ev_idle_start(c->loop, &c->more);
    else
        ev_idle_stop(c->loop, &c->more);
}

/* ---- endpoints come and go ---- */

void schedule_init(struct checker *c) {
    for (int i = 0; i < 2; i++)
        c->queues[i].last = &c->queues[i].first;
    c->probes.ended = on_ended;
    c->probes.closed = on_closed;
}

void schedule_new(struct checker *c, struct endpoint *e) {
    double now = clock_of(c), within = interval_of(e);
    ev_init(&e->timer, on_timer);
    ev_set_priority(&e->timer, TIMER_PRIORITY); /* answers that have come are looked at before deadlines */
    e->timer.data = e;
    c->counters.endpoints++;
    wait_until(c, e, now + draw(c) * (within < 1 ? within : 1), now);
}

void schedule_changed(struct checker *c, struct endpoint *e) {
    double now = checker_now(), interval = interval_of(e);
    if (e->state == ENDPOINT_WAITING && e->due > now + interval)
        wait_until(c, e, now + draw(c) * interval, now);
}

void schedule_rename(struct checker *c, struct endpoint *e, char *hostname) {
    double now = checker_now();
    drop_probe(e); /* it has been made, or is being asked, under the other name */
    if (e->state == ENDPOINT_UNDER_WAY) {
        leave(c, e);
        wait_until(c, e, now, now);
    }
    hg_free(e->hostname);
    e->hostname = hostname;
}

void schedule_remove(struct checker *c, struct endpoint *e) {
    drop_probe(e);
    if (e->state == ENDPOINT_UNDER_WAY)
        leave(c, e);
    ev_timer_stop(c->loop, &e->timer);
    c->counters.endpoints--;
    c->counters.unhealthy -= e->health == UNHEALTHY;
    e->is_removed = true;
    if (!e->is_queued && !e->has_news)
        endpoint_destroy(e);
}
