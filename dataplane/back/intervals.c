/* intervals.c — what a worker counts of its endpoints in an interval, and the report that it makes of that. */
#include "dataplane/back/intervals.h"

#include <stddef.h>

#include "common/alloc.h"
#include "dataplane/back/reconcile.h"

/* How long the judgement waits for workers that are late, and at most for a report that is being written; how long until it
 * is looked at again whether that is there. */
enum { JUDGEMENT_AFTER = 50000, JUDGEMENT_AFTER_MOST = 1000000, JUDGEMENT_AGAIN = 10000 };

static struct cluster_runtime *cluster_of_end(struct timer *t) {
    return (struct cluster_runtime *)((char *)t - offsetof(struct cluster_runtime, gathering.end));
}

static struct cluster_runtime *cluster_of_judgement(struct timer *t) {
    return (struct cluster_runtime *)((char *)t - offsetof(struct cluster_runtime, gathering.judgement));
}

static struct endpoint_runtime *endpoint_of(struct outlier_tally *t) {
    return (struct endpoint_runtime *)((char *)t - offsetof(struct endpoint_runtime, tally));
}

/* ---- tallies ---- */

static void list_clear(struct outlier_tally *head) {
    head->next = head->prev = head;
}

static bool list_is_empty(const struct outlier_tally *head) {
    return head->next == head;
}

static void list_take_out(struct outlier_tally *t) {
    t->next->prev = t->prev;
    t->prev->next = t->next;
}

/* All of `from`, whose head is no part of it any more. */
static void list_move(struct outlier_tally *to, struct outlier_tally *from) {
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_clear(from);
}

static void drop_tally(struct outlier_gathering *g, struct outlier_tally *t) {
    if (!t->next)
        return;
    list_take_out(t);
    g->count -= t->interval == g->interval;
    *t = (struct outlier_tally){0};
}

/* Intervals end for all workers at the same times, but not for all clusters. */
static uint64_t next_end(const struct cluster_runtime *c) {
    uint64_t interval = c->outliers.interval, phase = c->slot * UINT64_C(2654435761) % interval;
    return (c->worker->now + interval - phase) / interval * interval + phase;
}

static void set_end(struct cluster_runtime *c) {
    c->gathering.interval_end = next_end(c);
    worker_set_timer(c->worker, &c->gathering.end, c->gathering.interval_end);
}

static void begin_tally(struct cluster_runtime *c, struct outlier_tally *t) {
    struct outlier_gathering *g = &c->gathering;
    if (g->count++ == 0)
        set_end(c);
    t->interval = g->interval;
    t->next = &g->tallies;
    t->prev = g->tallies.prev;
    t->prev->next = t->next->prev = t;
}

/* ---- reports ---- */

/* Once its interval is over: what it has goes into the report, or nowhere if there is none. */
static void report_tally(struct cluster_runtime *c, struct endpoint_runtime *e) {
    struct outlier_report *r = c->gathering.report;
    e->tally.counts.is_out = !e->candidate.is_usable;
    if (e->tally.next && r && e->tally.interval == r->interval)
        r->entries[r->count++] = (struct outlier_entry){endpoint_shared_ref(e->shared), e->tally.counts};
    drop_tally(&c->gathering, &e->tally);
}

/* Whoever finds no report to come finds this one in the list. */
static void publish(struct cluster_runtime *c) {
    struct cluster_shared *s = c->shared;
    struct outlier_report *r = c->gathering.report;
    r->next = atomic_load_explicit(&s->reports, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&s->reports, &r->next, r, memory_order_release, memory_order_relaxed))
        ;
    atomic_fetch_sub_explicit(&s->reports_to_come, 1, memory_order_release);
    c->gathering.report = NULL;
}

/* Closes the interval: all tallies are of an older one from now on. Without room for a report they are forgotten. */
static void begin_report(struct cluster_runtime *c, struct outlier_report *r) {
    struct outlier_gathering *g = &c->gathering;
    if (r) {
        *r = (struct outlier_report){.interval = g->interval};
        atomic_fetch_add_explicit(&c->shared->reports_to_come, 1, memory_order_relaxed);
        list_move(&g->closed, &g->tallies);
        g->report = r;
    } else {
        list_take_out(&g->tallies);
        list_clear(&g->tallies);
    }
    g->reported_until = g->interval_end;
    g->interval++;
    g->count = 0;
}

/* Neither its time nor how long it waits is put off by short intervals. */
static void plan_judgement(struct cluster_runtime *c) {
    struct outlier_gathering *g = &c->gathering;
    if (g->judgement.deadline)
        return;
    g->waits_until = g->reported_until + JUDGEMENT_AFTER_MOST;
    worker_set_timer(c->worker, &g->judgement, g->reported_until + JUDGEMENT_AFTER);
}

/* While the report before is not written the interval goes on. */
static void on_interval_end(struct timer *timer) {
    struct cluster_runtime *c = cluster_of_end(timer);
    struct outlier_gathering *g = &c->gathering;
    if (g->count == 0)
        return;
    if (!c->outliers.has_intervals) {
        begin_report(c, NULL);
        return;
    }
    if (g->report) {
        set_end(c);
        return;
    }
    begin_report(c, hg_malloc(sizeof *g->report + g->count * sizeof *g->report->entries));
    plan_judgement(c);
    backlog_add(c);
}

static void on_judgement(struct timer *timer) {
    struct cluster_runtime *c = cluster_of_judgement(timer);
    struct cluster_shared *s = c->shared;
    uint64_t until = c->gathering.reported_until, now = c->worker->now;
    bool waits = atomic_load_explicit(&s->reports_to_come, memory_order_acquire) && now < c->gathering.waits_until;
    if (atomic_load(&s->judged_until) < until && (waits || !judgement_begin(c, until)))
        worker_set_timer(c->worker, timer, now + JUDGEMENT_AGAIN);
}

/* ---- what the cluster does ---- */

void intervals_init(struct cluster_runtime *c) {
    struct outlier_gathering *g = &c->gathering;
    list_clear(&g->tallies);
    list_clear(&g->closed);
    g->interval = 1;
    g->end.fire = on_interval_end;
    g->judgement.fire = on_judgement;
}

void intervals_note(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    struct outlier_tally *t = &e->tally;
    if (t->interval != e->cluster->gathering.interval)
        report_tally(e->cluster, e);
    if (!t->next)
        begin_tally(e->cluster, t);
    t->counts.requests++;
    t->counts.failures += outcome != ENDPOINT_SUCCESS;
    t->counts.answers += head_latency > 0;
    t->counts.latency += head_latency;
}

void intervals_leave(struct endpoint_runtime *e) {
    drop_tally(&e->cluster->gathering, &e->tally);
}

void intervals_finish(struct cluster_runtime *c) {
    struct outlier_gathering *g = &c->gathering;
    wheel_remove(&c->worker->wheel, &g->end);
    wheel_remove(&c->worker->wheel, &g->judgement);
    if (g->report)
        publish(c);
    if (!c->is_passing) /* the newest definition has no such cluster: nobody will judge */
        judgement_give_up(c, atomic_exchange_explicit(&c->shared->reports, NULL, memory_order_acquire));
    backlog_add(c);
}

bool intervals_have_work(const struct cluster_runtime *c) {
    return c->gathering.report || c->judgement.is_under_way;
}

uint32_t intervals_go_on(struct cluster_runtime *c, uint32_t most) {
    struct outlier_gathering *g = &c->gathering;
    uint32_t cost = 0;
    for (; g->report && cost < most; cost++) {
        for (unsigned i = 0; i < REPORTS_PER_COST && !list_is_empty(&g->closed); i++)
            report_tally(c, endpoint_of(g->closed.next));
        if (list_is_empty(&g->closed))
            publish(c);
    }
    return cost < most && c->judgement.is_under_way ? cost + judgement_go_on(c, most - cost) : cost;
}
