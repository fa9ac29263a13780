#include "dataplane/back/outliers.h"

#include <math.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "dataplane/back/cluster.h"
#include "dataplane/back/ejection_log.h"

/* How long the judgement waits for workers that are late with what they hand in. What comes later counts in the next
 * interval. */
enum { JUDGEMENT_AFTER = 50000 };

/* In ejected_until. The endpoint has left the cluster, and workers that do not know yet still pass it over. */
#define PLACE_IS_FREE ((uint64_t)1)

struct ejection {
    struct timer            timer;       /* first */
    struct ejection        *next, *prev; /* of the worker */
    struct worker          *worker;
    struct endpoint_shared *endpoint;
    struct cluster_shared  *cluster;
    uint64_t                until;
};

static struct cluster_table *table_of(const struct worker *w) {
    return w->clusters;
}

/* ---- places ---- */

uint32_t outliers_most(const struct outlier_rules *r, uint32_t endpoints) {
    uint32_t most = (uint32_t)((uint64_t)endpoints * r->max_ejected_percent / 100);
    return most ? most : 1;
}

static bool take_place(const struct cluster_runtime *c) {
    uint32_t most = outliers_most(&c->outliers, c->endpoint_count);
    uint32_t taken = atomic_load_explicit(&c->shared->ejected, memory_order_relaxed);
    do {
        if (taken >= most)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->shared->ejected, &taken, taken + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void give_place_back(struct cluster_shared *c) {
    atomic_fetch_sub_explicit(&c->ejected, 1, memory_order_relaxed);
}

/* ---- the end of an ejection ---- */

/* From `until`, which is of no other ejection, to `next`: done by one alone, who gives the place back. */
static bool change_ejection(struct worker *w, struct cluster_shared *c, struct endpoint_shared *s, uint64_t until,
                            uint64_t next) {
    if (!atomic_compare_exchange_strong(&s->ejected_until, &until, next))
        return false;
    if (until & PLACE_IS_FREE)
        return true;
    give_place_back(c);
    stats_sub(&w->stats->endpoints_ejected, 1);
    return true;
}

static void end_ejection(struct worker *w, struct cluster_shared *c, struct endpoint_shared *s, uint64_t until) {
    if (change_ejection(w, c, s, until, 0) && !(until & PLACE_IS_FREE))
        ejection_log_put(table_of(w)->ejection_log,
                         &(struct ejection_event){.is_return = true, .endpoint = s, .cluster = c});
}

static void forget(struct ejection *x) {
    if (x->prev)
        x->prev->next = x->next;
    else
        table_of(x->worker)->ejections = x->next;
    if (x->next)
        x->next->prev = x->prev;
    wheel_remove(&x->worker->wheel, &x->timer);
    endpoint_shared_unref(x->endpoint);
    cluster_shared_unref(x->cluster);
    hg_free(x);
}

static void on_time_is_over(struct timer *t) {
    struct ejection *x = (struct ejection *)t;
    end_ejection(x->worker, x->cluster, x->endpoint, x->until);
    change_ejection(x->worker, x->cluster, x->endpoint, x->until | PLACE_IS_FREE, 0);
    forget(x);
}

void outliers_finish_worker(struct worker *w) {
    while (table_of(w)->ejections)
        forget(table_of(w)->ejections);
}

/* ---- ejecting ---- */

/* Each base_ejection without one takes one off the row. */
static uint32_t next_in_row(const struct endpoint_shared *s, const struct outlier_rules *r, uint64_t now) {
    uint32_t in_row = atomic_load_explicit(&s->ejections_in_row, memory_order_relaxed);
    uint64_t over = atomic_load_explicit(&s->last_ejected_until, memory_order_relaxed);
    uint64_t quiet = now > over ? (now - over) / r->base_ejection : 0;
    return quiet >= in_row ? 1 : in_row - (uint32_t)quiet + 1;
}

static uint64_t duration_of(uint32_t in_row, const struct outlier_rules *r) {
    return in_row > r->max_ejection / r->base_ejection ? r->max_ejection : in_row * r->base_ejection;
}

static struct ejection *make_ejection(const struct cluster_runtime *c, struct endpoint_shared *s, uint64_t duration) {
    struct cluster_table *t = table_of(c->worker);
    struct ejection *x = hg_calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->worker = c->worker;
    x->timer.fire = on_time_is_over;
    x->endpoint = endpoint_shared_ref(s);
    x->cluster = cluster_shared_ref(c->shared);
    x->until = ((c->worker->now + duration) | PLACE_IS_FREE) + 1; /* rounded up to an even one */
    x->next = t->ejections;
    if (x->next)
        x->next->prev = x;
    t->ejections = x;
    return x;
}

static void note_ejection(struct cluster_runtime *c, struct ejection *x, struct ejection_event *e) {
    struct endpoint_shared *s = x->endpoint;
    atomic_store_explicit(&s->ejections_in_row, e->in_row, memory_order_relaxed);
    atomic_store_explicit(&s->last_ejected_until, x->until, memory_order_relaxed);
    atomic_store_explicit(&s->rows, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->shared->ejections, 1, memory_order_release);
    stats_add(&c->worker->stats->ejections[e->reason], 1);
    stats_add(&c->worker->stats->endpoints_ejected, 1);
    worker_set_timer(c->worker, &x->timer, x->until);
    ejection_log_put(table_of(c->worker)->ejection_log, e);
}

/* With a place that is taken. False: somebody else was faster, or no memory. */
static bool eject_with_place(struct cluster_runtime *c, struct endpoint_shared *s, enum ejection_reason reason) {
    uint64_t nobody = 0;
    struct ejection_event e = {.reason = reason, .endpoint = s, .cluster = c->shared};
    e.in_row = next_in_row(s, &c->outliers, c->worker->now);
    e.duration = duration_of(e.in_row, &c->outliers);
    struct ejection *x = make_ejection(c, s, e.duration);
    if (!x)
        return false;
    if (!atomic_compare_exchange_strong(&s->ejected_until, &nobody, x->until)) {
        forget(x);
        return false;
    }
    note_ejection(c, x, &e);
    if (atomic_load(&s->is_gone)) /* whoever noted that may have come too early to see it ejected */
        change_ejection(c->worker, c->shared, s, x->until, x->until | PLACE_IS_FREE);
    return true;
}

/* Nothing happens when it is out already, or the cluster has no place. */
static void eject(struct cluster_runtime *c, struct endpoint_shared *s, enum ejection_reason reason) {
    uint64_t until = atomic_load(&s->ejected_until);
    if (until > c->worker->now || atomic_load(&s->is_gone))
        return;
    if (until)
        end_ejection(c->worker, c->shared, s, until); /* whose timer comes a little later */
    if (take_place(c) && !eject_with_place(c, s, reason))
        give_place_back(c->shared);
}

/* ---- rows of failures ----
 * Three counts in one word, so that one step makes a row longer and breaks another. */

enum row { ROW_5XX, ROW_GATEWAY, ROW_LOCAL };

enum { ROW_BITS = 20, ROW_FULL = (1 << ROW_BITS) - 1 };

_Static_assert((int)OUTLIER_ROW_MOST < (int)ROW_FULL, "every threshold can be counted up to");

static uint32_t length_of(uint64_t rows, enum row r) {
    return (uint32_t)(rows >> r * ROW_BITS) & ROW_FULL;
}

static uint64_t add_to(uint64_t rows, enum row r) {
    return length_of(rows, r) < ROW_FULL ? rows + ((uint64_t)1 << r * ROW_BITS) : rows;
}

static uint64_t without(uint64_t rows, enum row r) {
    return rows & ~((uint64_t)ROW_FULL << r * ROW_BITS);
}

/* What never came counts as the worst of answers, and an answer breaks the rows that are of something worse. */
static uint64_t add_failure(uint64_t rows, enum endpoint_outcome outcome) {
    switch (outcome) {
    case ENDPOINT_5XX: return without(without(add_to(rows, ROW_5XX), ROW_GATEWAY), ROW_LOCAL);
    case ENDPOINT_GATEWAY_FAILURE: return without(add_to(add_to(rows, ROW_5XX), ROW_GATEWAY), ROW_LOCAL);
    default: return add_to(add_to(add_to(rows, ROW_5XX), ROW_GATEWAY), ROW_LOCAL);
    }
}

static bool is_long(uint64_t rows, enum row r, uint32_t threshold) {
    return threshold && length_of(rows, r) >= threshold;
}

static void judge_rows(struct endpoint_runtime *e, uint64_t rows) {
    struct cluster_runtime *c = e->cluster;
    const struct outlier_rules *r = &c->outliers;
    if (!e->candidate.is_usable) /* out by definition: the place is for others */
        return;
    if (is_long(rows, ROW_LOCAL, r->consecutive_local_failures))
        eject(c, e->shared, EJECTION_CONSECUTIVE_LOCAL_FAILURES);
    else if (is_long(rows, ROW_GATEWAY, r->consecutive_gateway_failures))
        eject(c, e->shared, EJECTION_CONSECUTIVE_GATEWAY_FAILURES);
    else if (is_long(rows, ROW_5XX, r->consecutive_5xx))
        eject(c, e->shared, EJECTION_CONSECUTIVE_5XX);
}

static void note_failure(struct endpoint_runtime *e, enum endpoint_outcome outcome) {
    uint64_t rows = atomic_load_explicit(&e->shared->rows, memory_order_relaxed), next;
    do {
        next = add_failure(rows, outcome);
    } while (!atomic_compare_exchange_weak_explicit(&e->shared->rows, &rows, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    judge_rows(e, next);
}

static void note_success(struct endpoint_shared *s) {
    if (atomic_load_explicit(&s->rows, memory_order_relaxed))
        atomic_store_explicit(&s->rows, 0, memory_order_relaxed);
}

/* ---- intervals: gathering ---- */

static struct endpoint_runtime *endpoint_of(struct outlier_tally *t) {
    return (struct endpoint_runtime *)((char *)t - offsetof(struct endpoint_runtime, tally));
}

static struct cluster_runtime *cluster_of_end(struct timer *t) {
    return (struct cluster_runtime *)((char *)t - offsetof(struct cluster_runtime, gathering.end));
}

static struct cluster_runtime *cluster_of_judgement(struct timer *t) {
    return (struct cluster_runtime *)((char *)t - offsetof(struct cluster_runtime, gathering.judgement));
}

static void drop_tally(struct outlier_tally *t) {
    if (!t->next)
        return;
    t->next->prev = t->prev;
    t->prev->next = t->next;
    *t = (struct outlier_tally){0};
}

/* Intervals begin for all workers at the same times. */
static void begin_tally(struct cluster_runtime *c, struct outlier_tally *t) {
    struct outlier_gathering *g = &c->gathering;
    if (g->tallies.next == &g->tallies) {
        g->interval_end = (c->worker->now / c->outliers.interval + 1) * c->outliers.interval;
        worker_set_timer(c->worker, &g->end, g->interval_end);
    }
    t->next = &g->tallies;
    t->prev = g->tallies.prev;
    t->prev->next = t->next->prev = t;
}

static void add_to_tally(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    struct outlier_tally *t = &e->tally;
    if (!t->next)
        begin_tally(e->cluster, t);
    t->requests++;
    t->failures += outcome != ENDPOINT_SUCCESS;
    t->answers += head_latency > 0;
    t->latency += head_latency;
}

static void hand_in(struct cluster_shared *c, struct endpoint_shared *s, const struct outlier_tally *t) {
    atomic_fetch_add_explicit(&s->interval_requests, t->requests, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->interval_failures, t->failures, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->interval_answers, t->answers, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->interval_latency, t->latency, memory_order_relaxed);
    if (atomic_exchange(&s->is_handed_in, true))
        return;
    endpoint_shared_ref(s);
    struct endpoint_shared *first = atomic_load_explicit(&c->handed_in, memory_order_relaxed);
    do {
        s->next_handed_in = first;
    } while (!atomic_compare_exchange_weak_explicit(&c->handed_in, &first, s, memory_order_release, memory_order_relaxed));
}

static void on_interval_end(struct timer *timer) {
    struct cluster_runtime *c = cluster_of_end(timer);
    struct outlier_gathering *g = &c->gathering;
    struct outlier_tally *t;
    while ((t = g->tallies.next) != &g->tallies) {
        hand_in(c->shared, endpoint_of(t)->shared, t);
        drop_tally(t);
    }
    g->handed_in_until = g->interval_end;
    if (!g->judgement.deadline) /* it is not put off by short intervals */
        worker_set_timer(c->worker, &g->judgement, g->interval_end + JUDGEMENT_AFTER);
}

/* ---- intervals: judging ---- */

struct sample {
    struct endpoint_shared *endpoint;    /* counted */
    uint32_t requests, failures;
    double   success_rate;
    double   latency;                    /* mean; 0: too few answers */
};

/* Whoever hands something in from now on puts it into the list anew; `next_handed_in` is theirs then. */
static struct sample take_sample(struct endpoint_shared *s, const struct outlier_rules *r) {
    atomic_store(&s->is_handed_in, false);
    struct sample sample = {.endpoint = s};
    sample.requests = atomic_exchange_explicit(&s->interval_requests, 0, memory_order_relaxed);
    sample.failures = atomic_exchange_explicit(&s->interval_failures, 0, memory_order_relaxed);
    uint32_t answers = atomic_exchange_explicit(&s->interval_answers, 0, memory_order_relaxed);
    uint64_t latency = atomic_exchange_explicit(&s->interval_latency, 0, memory_order_relaxed);
    if (sample.requests)
        sample.success_rate = 1 - (double)sample.failures / sample.requests;
    if (answers && answers >= r->min_requests)
        sample.latency = (double)latency / answers;
    return sample;
}

static uint32_t count_handed_in(const struct endpoint_shared *first) {
    uint32_t count = 0;
    for (const struct endpoint_shared *s = first; s; s = s->next_handed_in)
        count++;
    return count;
}

/* Those with enough requests; without room for them nobody. Returns how many. */
static uint32_t take_samples(struct endpoint_shared *first, const struct outlier_rules *r, struct sample *samples) {
    uint32_t count = 0;
    for (struct endpoint_shared *s = first, *next; s; s = next) {
        next = s->next_handed_in;
        struct sample sample = take_sample(s, r);
        if (samples && sample.requests && sample.requests >= r->min_requests)
            samples[count++] = sample;
        else
            endpoint_shared_unref(s);
    }
    return count;
}

static int by_success_rate(const void *a, const void *b) {
    double x = ((const struct sample *)a)->success_rate, y = ((const struct sample *)b)->success_rate;
    return (x > y) - (x < y);
}

static int by_latency_downwards(const void *a, const void *b) {
    double x = ((const struct sample *)a)->latency, y = ((const struct sample *)b)->latency;
    return (x < y) - (x > y);
}

/* The success rate below which an endpoint stands out. Rates that are all the same must not differ by rounding. */
static double lowest_rate(const struct sample *samples, uint32_t count, uint32_t factor) {
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += samples[i].success_rate;
    double mean = sum / count;
    for (uint32_t i = 0; i < count; i++)
        squares += (samples[i].success_rate - mean) * (samples[i].success_rate - mean);
    return mean - factor / 1000.0 * sqrt(squares / count) - 1e-9;
}

/* The worst first, as there may not be places for all. */
static void judge_rates(struct cluster_runtime *c, struct sample *samples, uint32_t count) {
    const struct outlier_rules *r = &c->outliers;
    if (count < r->min_endpoints || count == 0)
        return;
    qsort(samples, count, sizeof *samples, by_success_rate);
    double lowest = r->success_rate_factor ? lowest_rate(samples, count, r->success_rate_factor) : -1;
    for (uint32_t i = 0; i < count; i++) {
        const struct sample *s = &samples[i];
        if (s->success_rate < lowest)
            eject(c, s->endpoint, EJECTION_SUCCESS_RATE);
        else if (r->failure_percent && (uint64_t)s->failures * 100 >= (uint64_t)r->failure_percent * s->requests)
            eject(c, s->endpoint, EJECTION_FAILURE_PERCENT);
        else
            break;
    }
}

static void judge_latencies(struct cluster_runtime *c, struct sample *samples, uint32_t count) {
    const struct outlier_rules *r = &c->outliers;
    if (count == 0 || !r->latency_factor)
        return;
    qsort(samples, count, sizeof *samples, by_latency_downwards);
    while (count && samples[count - 1].latency <= 0)
        count--;
    if (count == 0 || count < r->min_endpoints)
        return;
    double median = (samples[(count - 1) / 2].latency + samples[count / 2].latency) / 2;
    for (uint32_t i = 0; i < count && samples[i].latency * 100 > r->latency_factor * median; i++)
        eject(c, samples[i].endpoint, EJECTION_LATENCY);
}

static void judge(struct cluster_runtime *c) {
    struct endpoint_shared *first = atomic_exchange_explicit(&c->shared->handed_in, NULL, memory_order_acquire);
    struct sample *samples = hg_calloc(count_handed_in(first) + 1, sizeof *samples);
    uint32_t count = take_samples(first, &c->outliers, samples);
    judge_rates(c, samples, count);
    judge_latencies(c, samples, count);
    for (uint32_t i = 0; i < count; i++)
        endpoint_shared_unref(samples[i].endpoint);
    hg_free(samples);
}

static void on_judgement(struct timer *timer) {
    struct cluster_runtime *c = cluster_of_judgement(timer);
    uint64_t until = c->gathering.handed_in_until, last = atomic_load(&c->shared->judged_until);
    if (last < until && atomic_compare_exchange_strong(&c->shared->judged_until, &last, until))
        judge(c);
}

/* ---- what the cluster does ---- */

void outliers_init(struct cluster_runtime *c) {
    struct outlier_gathering *g = &c->gathering;
    g->tallies.next = g->tallies.prev = &g->tallies;
    g->end.fire = on_interval_end;
    g->judgement.fire = on_judgement;
}

void outliers_finish(struct cluster_runtime *c) {
    wheel_remove(&c->worker->wheel, &c->gathering.end);
    wheel_remove(&c->worker->wheel, &c->gathering.judgement);
}

/* What one that is out does says nothing new. */
void outliers_note(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    struct cluster_runtime *c = e->cluster;
    bool is_out = atomic_load_explicit(&e->shared->ejected_until, memory_order_relaxed) > c->worker->now;
    if (outcome == ENDPOINT_CANCELLED || e->is_retired || c->is_dropped || is_out)
        return;
    if (c->outliers.has_intervals)
        add_to_tally(e, outcome, head_latency);
    if (outcome == ENDPOINT_SUCCESS)
        note_success(e->shared);
    else
        note_failure(e, outcome);
}

bool outliers_end(struct cluster_runtime *c, struct endpoint_shared *s) {
    uint64_t until = atomic_load(&s->ejected_until);
    if (until)
        end_ejection(c->worker, c->shared, s, until);
    return until != 0;
}

void outliers_leave(struct endpoint_runtime *e, bool is_for_good) {
    struct endpoint_shared *s = e->shared;
    drop_tally(&e->tally);
    if (!is_for_good)
        return;
    atomic_store(&s->is_gone, true);
    uint64_t until = atomic_load(&s->ejected_until);
    if (until && !(until & PLACE_IS_FREE))
        change_ejection(e->cluster->worker, e->cluster->shared, s, until, until | PLACE_IS_FREE);
}
