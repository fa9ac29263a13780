#include "dataplane/back/outliers.h"

#include "common/alloc.h"
#include "dataplane/back/cluster.h"
#include "dataplane/back/ejection_log.h"

/* Where very many ejections end at once, so many of them in one turn. The endpoints are back by the clock in any case. */
enum { ENDED_IN_TURN = 512 };

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

static bool is_too_much(struct worker *w) {
    struct cluster_table *t = table_of(w);
    if (t->ended_turn != w->turn)
        t->ended = 0;
    t->ended_turn = w->turn;
    return ++t->ended > ENDED_IN_TURN;
}

static void on_time_is_over(struct timer *t) {
    struct ejection *x = (struct ejection *)t;
    if (is_too_much(x->worker)) {
        worker_set_timer(x->worker, t, x->worker->now + WHEEL_TICK_US);
        return;
    }
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

void outliers_eject(struct cluster_runtime *c, struct endpoint_shared *s, enum ejection_reason reason) {
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
        outliers_eject(c, e->shared, EJECTION_CONSECUTIVE_LOCAL_FAILURES);
    else if (is_long(rows, ROW_GATEWAY, r->consecutive_gateway_failures))
        outliers_eject(c, e->shared, EJECTION_CONSECUTIVE_GATEWAY_FAILURES);
    else if (is_long(rows, ROW_5XX, r->consecutive_5xx))
        outliers_eject(c, e->shared, EJECTION_CONSECUTIVE_5XX);
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

/* ---- what the cluster does ---- */

/* What one that is out does says nothing new. */
void outliers_note(struct endpoint_runtime *e, enum endpoint_outcome outcome, uint64_t head_latency) {
    struct cluster_runtime *c = e->cluster;
    bool is_out = atomic_load_explicit(&e->shared->ejected_until, memory_order_relaxed) > c->worker->now;
    if (outcome == ENDPOINT_CANCELLED || endpoint_is_gone(e) || is_out)
        return;
    if (c->outliers.has_intervals)
        intervals_note(e, outcome, head_latency);
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
    intervals_leave(e);
    if (!is_for_good)
        return;
    atomic_store(&s->is_gone, true);
    uint64_t until = atomic_load(&s->ejected_until);
    if (until && !(until & PLACE_IS_FREE))
        change_ejection(e->cluster->worker, e->cluster->shared, s, until, until | PLACE_IS_FREE);
}
