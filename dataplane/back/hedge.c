/* hedge.c — a second attempt beside the first, for a request without a body whose answer is late. The first final head
 * wins.
 *
 * The hedge has a leg of its own, which belongs to the exchange but is not its back (http/second.c): it takes part in no
 * flow until it takes over. Which of the two ends first does not matter: one that fails leaves the other as the only one. */
#include "common/arena.h"
#include "dataplane/back/proxy_private.h"

/* A body would have to be pulled twice at the same time. */
static bool has_no_body(const struct exchange *x) {
    for (unsigned i = 0; i < x->entered; i++)
        if (x->layers[i].filter->ops->pull_request)
            return false;
    return x->request.state == FLOW_END && x->request.bytes == 0 && !x->request.trailers;
}

static bool may_hedge(const struct exchange *x) {
    return !x->tunnel && x->request.head->method != METHOD_CONNECT && retry_allows_method(x);
}

void hedge_plan(struct exchange *x) {
    uint64_t after = x->route->retry.hedge_after;
    struct proxy *p = proxy_of(x);
    if (!after || p->has_hedged || p->waits != WAITS_FOR_NOTHING || !p->current->is_under_way || !may_hedge(x))
        return;
    if (has_no_body(x))
        proxy_set_timer(x, WAITS_TO_HEDGE, x->worker->now + after);
    else if (x->attempts == 1)
        stats_add(&x->worker->stats->hedges_with_body_total, 1);
}

static void give_budget_back(struct proxy *p) {
    if (p->holds_hedge)
        retry_budget_give(p->cluster->shared);
    p->holds_hedge = false;
}

static bool take_budget(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    p->holds_hedge = retry_budget_take(p->cluster->shared, &p->cluster->breakers, x->worker->now);
    if (!p->holds_hedge)
        stats_add(&x->worker->stats->retries_over_budget_total, 1);
    return p->holds_hedge;
}

static struct endpoint_runtime *pick_another(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    struct cluster_runtime *c = proxy_find_cluster(x);
    struct endpoint_runtime *e = c ? proxy_pick(x, c) : NULL;
    return e == p->current->endpoint ? NULL : e;
}

void hedge_begin(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    if (x->abort != ABORT_NONE || x->response.state != FLOW_HEAD || !p->current->is_under_way)
        return;
    struct endpoint_runtime *e = pick_another(x);
    struct attempt *a = e ? arena_calloc(&x->arena, 1, sizeof *a) : NULL;
    if (!a || !take_budget(x))
        return;
    a->exchange = x;
    p->hedge = a;
    p->has_hedged = true;
    if (attempt_begin(a, e) == LACK_NOTHING) {
        stats_add(&x->worker->stats->hedges_total, 1);
    } else {
        p->hedge = NULL;
        give_budget_back(p);
    }
}

void hedge_send(struct exchange *x, struct leg *leg, const struct head *head) {
    proxy_of(x)->hedge->leg = leg;
    exchange_attach_second(x, leg, head);
}

void hedge_failed(struct exchange *x, enum abort_code code) {
    struct proxy *p = proxy_of(x);
    struct attempt *a = p->hedge;
    p->hedge = NULL;
    give_budget_back(p);
    attempt_end(a, outcome_of_abort(code));
}

static void drop_leg(struct exchange *x, struct attempt *a) {
    struct leg *leg = a->leg;
    a->leg = NULL;
    if (leg)
        exchange_drop_second(x, leg, ABORT_CLIENT_GONE);
}

void hedge_cancel(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    if (!p->hedge)
        return;
    drop_leg(x, p->hedge);
    hedge_failed(x, ABORT_CLIENT_GONE);
}

/* The budget goes on counting it until the exchange ends: it is still more than the one attempt of the request. */
void hedge_take_over(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    struct leg *leg = p->hedge->leg;
    p->current = p->hedge;
    p->hedge = NULL;
    p->current->leg = NULL;
    if (leg)
        exchange_promote_second(x, leg);
    proxy_note_endpoint(x, p->current->endpoint);
    proxy_set_try_deadline(x, p->current);
}

/* ---- from the core ---- */

/* An answer that the rule wants retried is no answer while there is another attempt. */
static bool is_refusal(const struct exchange *x, const struct head *head) {
    return route_retries_answer(x->route, head);
}

bool hedge_on_head(struct exchange *x, const struct head *head) {
    struct proxy *p = proxy_of(x);
    struct attempt *a = p->hedge;
    a->status = head->status;
    a->head_latency = x->worker->now - a->began;
    if (x->abort != ABORT_NONE || is_refusal(x, head)) {
        drop_leg(x, a);
        p->hedge = NULL;
        give_budget_back(p);
        attempt_end(a, x->abort ? ENDPOINT_CANCELLED : outcome_of_status(head->status));
        return false;
    }
    struct attempt *loser = p->current;
    exchange_drop_back(x, ABORT_CLIENT_GONE);
    attempt_end(loser, ENDPOINT_CANCELLED);
    stats_add(&x->worker->stats->hedges_won_total, 1);
    hedge_take_over(x);
    return true;
}

void hedge_on_abort(struct exchange *x, enum abort_code code) {
    struct attempt *a = proxy_of(x)->hedge;
    a->leg = NULL;
    if (x->abort == ABORT_NONE)
        x->detail = NULL; /* the codec's word for what happened to the hedge */
    hedge_failed(x, code);
}
