/* retries.c — other attempts after one that has failed, within the retry budget of the cluster. */
#include "dataplane/back/proxy_private.h"
#include "dataplane/back/sticky.h"

static void give_retry_back(struct proxy *p) {
    if (p->holds_retry)
        retry_budget_give(p->cluster->shared);
    p->holds_retry = false;
}

void retry_finish(struct proxy *p) {
    give_retry_back(p);
    if (p->holds_hedge)
        retry_budget_give(p->cluster->shared);
    p->holds_hedge = false;
}

static bool take_budget(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    give_retry_back(p);
    p->holds_retry = retry_budget_take(p->cluster->shared, &p->cluster->breakers, x->worker->now);
    if (!p->holds_retry)
        stats_add(&x->worker->stats->retries_over_budget_total, 1);
    return p->holds_retry;
}

/* RFC 9110 section 9.2.2: what the origin provably did not see may always be sent again; what it may have seen only when
 * the method is idempotent, and without the user's word only when a kept connection was closed under us. Whose head has come
 * has seen it, whatever it says. */
static bool is_unprocessed(const struct exchange *x, enum abort_code code) {
    if (x->head_at)
        return false;
    switch (code) {
    case ABORT_ORIGIN_STALE:
    case ABORT_ORIGIN_REFUSED: return true;
    case ABORT_ORIGIN_RESET: {
        const struct proxy *p = (const struct proxy *)x->terminal_state;
        return p->current->was_kept && method_is_idempotent(x->request.head->method);
    }
    default: return false;
    }
}

/* A connection that was kept has served before, so there are no more of these than of answers. To refuse costs an origin
 * nothing: once is free, and then it is a retry like others. */
static bool take_unprocessed(struct exchange *x, enum abort_code code) {
    struct proxy *p = proxy_of(x);
    if (!is_unprocessed(x, code) || p->unprocessed_left == 0)
        return false;
    bool is_free = code != ABORT_ORIGIN_REFUSED || !p->was_refused;
    p->was_refused |= code == ABORT_ORIGIN_REFUSED;
    if (!is_free && !take_budget(x))
        return false;
    p->unprocessed_left--;
    return true;
}

/* One more of the retries that the rule allows, after `delay`. False: it would come too late, or the budget is used
 * up. */
static bool take_retry(struct exchange *x, uint64_t delay) {
    struct proxy *p = proxy_of(x);
    bool is_too_late = x->request_deadline && x->worker->now + delay >= x->request_deadline;
    if (p->retries_left == 0 || is_too_late)
        return false;
    if (!take_budget(x))
        return false;
    p->retries_left--;
    return true;
}

static uint64_t backoff(struct exchange *x) {
    const struct route_retry *r = &x->route->retry;
    return retry_backoff(r, r->retries - proxy_of(x)->retries_left + 1, x->worker);
}

static void repeat(struct exchange *x, enum retry_reason reason, uint64_t delay) {
    proxy_of(x)->has_retried = true;
    retry_count(x->worker->stats, reason);
    exchange_rewind(x);
    if (delay == 0) {
        proxy_attempt(x);
        return;
    }
    proxy_forget_attempt(x);
    proxy_set_timer(x, WAITS_TO_RETRY, x->worker->now + delay);
}

bool retry_after_abort(struct exchange *x, enum abort_code code) {
    struct proxy *p = proxy_of(x);
    enum retry_reason reason = RETRY_NOT;
    uint64_t delay = 0;
    attempt_end(p->current, outcome_of_abort(code));
    if (x->is_over || x->abort != ABORT_NONE)
        return false;
    if (p->hedge) {
        hedge_take_over(x);
        return true;
    }
    if (!exchange_is_replayable(x))
        return false;
    if (take_unprocessed(x, code)) {
        reason = RETRY_UNPROCESSED;
    } else if ((reason = retry_by_rule(x, code)) == RETRY_NOT || !take_retry(x, delay = backoff(x))) {
        return false;
    }
    proxy_set_timer(x, WAITS_FOR_NOTHING, 0);
    repeat(x, reason, delay);
    return true;
}

/* How long the origin wants to be left alone, and then some, so that not all come back at once. False: for too long. */
static bool find_delay(struct exchange *x, const struct head *head, uint64_t *ret) {
    uint64_t most = x->route->retry.max_retry_after, asked = 0;
    if (most && retry_after(head, &asked) && asked > most)
        return false;
    *ret = (most ? asked : 0) + backoff(x);
    return true;
}

static bool may_repeat_answered(struct exchange *x, const struct head *head) {
    return proxy_of(x)->retries_left && route_retries_answer(x->route, head) && exchange_is_replayable(x) &&
           retry_allows_method(x);
}

bool retry_refuses(struct exchange *x, struct head *head) {
    struct proxy *p = proxy_of(x);
    struct attempt *a = p->current;
    uint64_t delay;
    a->status = head->status;
    a->head_latency = x->worker->now - a->began;
    bool is_refused = p->hedge && route_retries_answer(x->route, head); /* while there is another attempt anyway */
    if (!is_refused && may_repeat_answered(x, head) && find_delay(x, head, &delay) && take_retry(x, delay)) {
        exchange_drop_back(x, ABORT_ORIGIN_RESET);
        attempt_end(a, outcome_of_status(head->status));
        proxy_set_timer(x, WAITS_FOR_NOTHING, 0);
        repeat(x, RETRY_STATUS, delay);
        return true;
    }
    if (is_refused) {
        exchange_drop_back(x, ABORT_ORIGIN_RESET);
        attempt_end(a, outcome_of_status(head->status));
        hedge_take_over(x);
        return true;
    }
    hedge_cancel(x);
    sticky_write(x, p->cluster, &p->pick, a->endpoint, head); /* without memory the client goes on without */
    if (p->has_retried && !route_retries_answer(x->route, head))
        stats_add(&x->worker->stats->retry_successes_total, 1);
    if (p->waits)
        proxy_set_timer(x, WAITS_FOR_NOTHING, 0);
    return false;
}

void retry_on_deadline(struct exchange *x) {
    if (x->abort != ABORT_NONE)
        return;
    bool may_retry = x->response.state == FLOW_HEAD;
    exchange_drop_back(x, ABORT_ORIGIN_TIMEOUT);
    attempt_end(proxy_of(x)->current, ENDPOINT_TIMEOUT);
    if (!may_retry || !retry_after_abort(x, ABORT_ORIGIN_TIMEOUT))
        exchange_fail(x, ABORT_ORIGIN_TIMEOUT);
}
