/* judgement.c — who stood out in an interval: reports are added up, and endpoints compared with each other. In stages, each
 * of which does one small thing after another, so that the worker can stop anywhere. */
#include <math.h>
#include <stddef.h>

#include "common/alloc.h"
#include "dataplane/back/intervals.h"
#include "dataplane/back/reconcile.h"

/* Of one thing of a stage, in sixty-fourths of the backlog's unit. */
enum { WORK_PER_COST = 64, WORK_OF_ADDING = 32, WORK_OF_READING = 4, WORK_OF_RELEASING = 16, WORK_OF_EJECTING = 128 };

enum { SORTING_STEPS = 16 };

struct worth { /* of an endpoint in a judgement */
    double success_rate, latency;        /* mean latency; 0: too few answers */
};

static struct worth worth_of(const struct outlier_judgement *j, uint32_t i) {
    const struct outlier_counts *n = &j->entries[i].counts;
    bool has_answers = n->answers && n->answers >= j->rules.min_requests;
    return (struct worth){.success_rate = 1 - (double)n->failures / n->requests,
                          .latency = has_answers ? (double)n->latency / n->answers : 0};
}

/* ---- adding up ---- */

static bool take_entry(struct outlier_judgement *j, struct outlier_entry *ret) {
    struct outlier_report *r;
    while ((r = j->reports) && r->count == 0) {
        j->reports = r->next;
        hg_free(r);
    }
    if (r)
        *ret = r->entries[--r->count];
    return r != NULL;
}

static void add(struct outlier_counts *sum, const struct outlier_counts *n) {
    sum->latency += n->latency;
    sum->requests += n->requests;
    sum->failures += n->failures;
    sum->answers += n->answers;
    sum->is_out |= n->is_out;
}

/* What the endpoint notes is of one judgement at a time. */
static bool add_up(struct outlier_judgement *j) {
    struct outlier_entry e;
    if (!take_entry(j, &e))
        return false;
    struct endpoint_shared *s = e.endpoint;
    if (s->judged_until == j->until) {
        add(&j->entries[s->judged_as].counts, &e.counts);
        endpoint_shared_unref(s);
        return true;
    }
    s->judged_until = j->until;
    s->judged_as = j->count;
    j->entries[j->count++] = e;
    return true;
}

/* ---- those with enough requests, and their mean and deviation ---- */

static bool has_enough(const struct outlier_judgement *j, uint32_t i) {
    return j->entries[i].counts.requests && j->entries[i].counts.requests >= j->rules.min_requests;
}

static bool drop_if_too_few(struct outlier_judgement *j) {
    if (j->at == j->count)
        return false;
    if (has_enough(j, j->at)) {
        j->sum += worth_of(j, j->at++).success_rate;
        return true;
    }
    endpoint_shared_unref(j->entries[j->at].endpoint);
    j->entries[j->at] = j->entries[--j->count];
    return true;
}

static bool add_square(struct outlier_judgement *j) {
    if (j->at == j->count || !j->rules.success_rate_factor)
        return false;
    double distance = worth_of(j, j->at++).success_rate - j->sum / j->count;
    j->squares += distance * distance;
    return true;
}

/* ---- rates ---- */

static void note_key(struct outlier_judgement *j, double key) {
    j->keys[j->standing_out++] = (struct sort_key){.key = key, .of = j->at};
}

static bool exceeds_failures(const struct outlier_judgement *j, uint32_t i) {
    const struct outlier_counts *n = &j->entries[i].counts;
    return j->rules.failure_percent && (uint64_t)n->failures * 100 >= (uint64_t)j->rules.failure_percent * n->requests;
}

/* The success rate below which an endpoint stands out. Rates that are all the same must not differ by rounding. */
static double lowest_rate(const struct outlier_judgement *j) {
    if (!j->rules.success_rate_factor)
        return -1;
    return j->sum / j->count - j->rules.success_rate_factor / 1000.0 * sqrt(j->squares / j->count) - 1e-9;
}

/* One that is out by definition leaves the place to others. */
static void eject(struct outlier_judgement *j, const struct sort_key *who, enum ejection_reason why) {
    struct cluster_runtime *c = (struct cluster_runtime *)((char *)j - offsetof(struct cluster_runtime, judgement));
    const struct outlier_entry *e = &j->entries[who->of];
    if (!e->counts.is_out)
        outliers_eject(c, e->endpoint, why);
}

static void begin_sorting(struct outlier_judgement *j) {
    sorting_begin(&j->sorting, j->keys, j->keys + j->count, j->standing_out);
}

static bool find_bad(struct outlier_judgement *j) {
    if (j->at == 0 && j->count)
        j->bound = lowest_rate(j);
    if (j->at == j->count || j->count < j->rules.min_endpoints) {
        begin_sorting(j);
        return false;
    }
    double rate = worth_of(j, j->at).success_rate;
    if (rate < j->bound || exceeds_failures(j, j->at))
        note_key(j, rate);
    j->at++;
    return true;
}

static bool sort(struct outlier_judgement *j) {
    return sorting_go_on(&j->sorting, SORTING_STEPS) > 0;
}

/* The worst first, as there may not be places for all. */
static bool eject_bad(struct outlier_judgement *j) {
    if (j->at == j->standing_out)
        return false;
    const struct sort_key *k = &j->sorting.keys[j->at++];
    eject(j, k, k->key < j->bound ? EJECTION_SUCCESS_RATE : EJECTION_FAILURE_PERCENT);
    return true;
}

/* ---- latencies ---- */

/* Downwards. */
static bool find_latencies(struct outlier_judgement *j) {
    if (j->at == 0)
        j->standing_out = 0;
    if (j->at == j->count || !j->rules.latency_factor) {
        begin_sorting(j);
        return false;
    }
    double latency = worth_of(j, j->at).latency;
    if (latency > 0)
        note_key(j, -latency);
    j->at++;
    return true;
}

static double median_of(const struct sorting *s) {
    return -(s->keys[(s->count - 1) / 2].key + s->keys[s->count / 2].key) / 2;
}

static bool eject_slow(struct outlier_judgement *j) {
    uint32_t count = j->standing_out;
    if (j->at == count || count < j->rules.min_endpoints)
        return false;
    if (j->at == 0)
        j->bound = j->rules.latency_factor * median_of(&j->sorting);
    const struct sort_key *k = &j->sorting.keys[j->at++];
    if (-k->key * 100 <= j->bound)
        return false;
    eject(j, k, EJECTION_LATENCY);
    return true;
}

/* ---- the end ---- */

static bool release_report(struct outlier_judgement *j) {
    struct outlier_entry e;
    if (!take_entry(j, &e))
        return false;
    endpoint_shared_unref(e.endpoint);
    return true;
}

static bool release_entry(struct outlier_judgement *j) {
    if (j->count == 0)
        return false;
    endpoint_shared_unref(j->entries[--j->count].endpoint);
    return true;
}

/* ---- all of it ---- */

enum { RELEASE_REPORTS = 9 };

/* `one` does one thing, or returns false: the next stage begins. */
static const struct stage {
    bool   (*one)(struct outlier_judgement *);
    uint32_t work;
} stages[] = {
    {add_up, WORK_OF_ADDING},      {drop_if_too_few, WORK_OF_READING}, {add_square, WORK_OF_READING},
    {find_bad, WORK_OF_READING},   {sort, SORTING_STEPS},              {eject_bad, WORK_OF_EJECTING},
    {find_latencies, WORK_OF_READING}, {sort, SORTING_STEPS},          {eject_slow, WORK_OF_EJECTING},
    [RELEASE_REPORTS] = {release_report, WORK_OF_RELEASING},           {release_entry, WORK_OF_RELEASING},
};

enum { STAGES = sizeof stages / sizeof *stages };

static void enter(struct outlier_judgement *j, unsigned stage) {
    j->stage = stage;
    j->at = 0;
}

static void end(struct cluster_runtime *c) {
    struct outlier_judgement *j = &c->judgement;
    if (j->until)
        atomic_store(&c->shared->is_judging, false);
    hg_free(j->entries);
    hg_free(j->keys);
    *j = (struct outlier_judgement){0};
}

static uint64_t count_entries(const struct outlier_report *r) {
    uint64_t count = 0;
    for (; r; r = r->next)
        count += r->count;
    return count;
}

static bool has_room(struct outlier_judgement *j) {
    uint64_t count = count_entries(j->reports);
    j->entries = hg_malloc((count + 1) * sizeof *j->entries);
    j->keys = hg_malloc((2 * count + 1) * sizeof *j->keys);
    return j->entries && j->keys;
}

bool judgement_begin(struct cluster_runtime *c, uint64_t until) {
    struct outlier_judgement *j = &c->judgement;
    if (atomic_exchange(&c->shared->is_judging, true))
        return false;
    if (atomic_load(&c->shared->judged_until) >= until) { /* somebody has, just now */
        atomic_store(&c->shared->is_judging, false);
        return true;
    }
    atomic_store(&c->shared->judged_until, until);
    *j = (struct outlier_judgement){.is_under_way = true, .until = until, .rules = c->outliers};
    j->reports = atomic_exchange_explicit(&c->shared->reports, NULL, memory_order_acquire);
    if (!has_room(j))
        enter(j, RELEASE_REPORTS);
    backlog_add(c);
    return true;
}

void judgement_give_up(struct cluster_runtime *c, struct outlier_report *reports) {
    struct outlier_judgement *j = &c->judgement;
    struct outlier_report **last = &j->reports;
    if (!j->is_under_way && !reports)
        return;
    while (*last)
        last = &(*last)->next;
    *last = reports;
    j->is_under_way = true;
    enter(j, RELEASE_REPORTS);
}

uint32_t judgement_go_on(struct cluster_runtime *c, uint32_t most) {
    struct outlier_judgement *j = &c->judgement;
    uint64_t work = 0, limit = (uint64_t)most * WORK_PER_COST;
    if (!c->outliers.has_intervals && j->stage < RELEASE_REPORTS) /* it was switched off */
        enter(j, RELEASE_REPORTS);
    while (j->stage < STAGES && work < limit) {
        work += stages[j->stage].work;
        if (!stages[j->stage].one(j))
            enter(j, j->stage + 1);
    }
    if (j->stage == STAGES)
        end(c);
    return (uint32_t)(work / WORK_PER_COST) + 1;
}
