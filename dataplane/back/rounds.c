/* rounds.c — what is seen to at every endpoint of a cluster: whether it is ejected or back, which its groups count; that it
 * comes back where detection was switched off; that it closes connections which may not be used again. Of very many some at
 * a time. That an ejected one is not chosen, and such a connection not used, waits for no round. */
#include "dataplane/back/reconcile.h"

/* Between two rounds; and how many endpoints a round takes a microsecond for. */
enum { INTERVAL = 1000, ENDPOINTS_PER_MICROSECOND = 8 };

/* In looks. */
enum { WORK_OF_COUNTING = 4, WORK_OF_ENDING = 8, WORK_OF_CLOSING = COST_OF_CLOSING * ROUND_LOOKS_PER_COST };

void rounds_note_end(struct cluster_runtime *c, uint64_t until) {
    if (until < c->next_look)
        c->next_look = until;
    if (until < c->round.next_look)
        c->round.next_look = until;
}

static uint64_t end_ejection(struct cluster_runtime *c, uint32_t place) {
    if (!outliers_end(c, c->members->endpoints[place].shared))
        return 0;
    c->round.has_ended_some = true;
    return WORK_OF_ENDING;
}

static uint64_t close_worn_out(struct endpoint_runtime *e) {
    uint32_t kept = e->idle_count;
    pool_close_worn_out(e);
    return kept * (uint64_t)WORK_OF_CLOSING;
}

/* One that is not there yet is counted as it comes. */
static uint64_t count_anew(struct cluster_runtime *c, struct candidate *e) {
    uint64_t now = c->worker->now, until = atomic_load_explicit(e->out_until, memory_order_relaxed);
    if (until > now)
        rounds_note_end(c, until);
    return candidate_look(e, &c->members->rules, now) ? WORK_OF_COUNTING : 0;
}

static uint64_t see_to(struct cluster_runtime *c, uint32_t place) {
    uint64_t work = 1;
    if ((c->round.tasks & ROUND_ENDS_EJECTIONS) && !c->outliers.is_on)
        work += end_ejection(c, place);
    if (c->endpoints[place])
        work += count_anew(c, c->endpoints[place]);
    if ((c->round.tasks & ROUND_CLOSES) && cluster_endpoint_at(c, place))
        work += close_worn_out(cluster_endpoint_at(c, place));
    return work;
}

static void start(struct cluster_runtime *c, unsigned tasks) {
    c->round = (struct round){.is_under_way = true, .tasks = tasks, .next_look = UINT64_MAX};
    c->ejections_seen = atomic_load_explicit(&c->shared->ejections, memory_order_acquire);
    c->next_look = 0;
}

/* What has ended is told to the other workers. */
static void end(struct cluster_runtime *c) {
    struct round *r = &c->round;
    r->is_under_way = false;
    c->next_look = r->next_look;
    c->look_not_before = c->worker->now + INTERVAL + c->endpoint_count / ENDPOINTS_PER_MICROSECOND;
    if (r->has_ended_some)
        atomic_fetch_add_explicit(&c->shared->ejections, 1, memory_order_release);
    if (r->is_wanted)
        start(c, r->tasks);
}

uint32_t rounds_go_on(struct cluster_runtime *c, uint32_t most) {
    uint64_t work = 0, limit = (uint64_t)most * ROUND_LOOKS_PER_COST;
    while (c->round.is_under_way && work < limit) {
        if (c->round.at < c->endpoint_count)
            work += see_to(c, c->round.at++);
        else
            end(c);
    }
    return (uint32_t)(work / ROUND_LOOKS_PER_COST);
}

void rounds_begin(struct cluster_runtime *c, unsigned tasks) {
    struct round *r = &c->round;
    if (r->is_under_way) {
        r->is_wanted = true;
        r->tasks |= tasks;
        return;
    }
    start(c, tasks);
    if (c->endpoint_count <= CHANGED_AT_ONCE)
        rounds_go_on(c, UINT32_MAX);
    backlog_add(c);
}

void rounds_follow_change(struct cluster_runtime *c) {
    c->round.is_wanted = c->round.is_under_way;
    c->round.has_empty = false;
}

void rounds_stop(struct cluster_runtime *c) {
    c->round = (struct round){0};
}
