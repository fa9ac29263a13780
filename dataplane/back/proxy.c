#include "dataplane/back/proxy.h"

#include "dataplane/back/proxy_private.h"
#include "dataplane/back/request_hash.h"
#include "dataplane/back/sticky.h"

enum {
    UNPROCESSED_MAX = 3,
    REFUSED_KEPT = 16 << 10,    /* bytes of a body, where the route says nothing of retries */
    ENDPOINTS_ASKED = 4,        /* for room, before none is thought to have any */
};

_Static_assert(sizeof(struct proxy) <= EXCHANGE_TERMINAL_SIZE, "struct exchange has room for it");

/* Nothing of the attempt before may reach into this one: neither its deadlines nor its connection. */
void proxy_forget_attempt(struct exchange *x) {
    exchange_set_attempt_deadline(x, 0);
    exchange_set_phase_deadline(x, 0);
    attempt_end(proxy_of(x)->current, ENDPOINT_CANCELLED);
}

struct cluster_runtime *proxy_find_cluster(struct exchange *x) {
    bool is_newest = x->view == x->worker->view;
    return (is_newest ? cluster_of : cluster_of_older)(x->worker, proxy_of(x)->cluster);
}

struct endpoint_runtime *proxy_pick(struct exchange *x, struct cluster_runtime *c) {
    struct proxy *p = proxy_of(x);
    p->pick.is_repeated = x->attempts > 0;
    return cluster_pick(c, &p->pick);
}

static bool count_request(struct proxy *p, struct cluster_runtime *c) {
    p->is_counted = breakers_take(&p->cluster->shared->requests, p->cluster->breakers.requests);
    if (p->is_counted && !p->was_let_in)
        stats_add(&c->counts->requests, 1);
    p->was_let_in |= p->is_counted;
    return p->is_counted;
}

static void uncount_request(struct proxy *p) {
    if (p->is_counted)
        breakers_give(&p->cluster->shared->requests);
    p->is_counted = false;
}

/* Counts the request, and begins an attempt at some endpoint. What it lacks: then it is counted, and nothing else. */
static enum lack begin(struct exchange *x, struct cluster_runtime *c) {
    struct proxy *p = proxy_of(x);
    enum lack lack = LACK_ENDPOINT;
    if (!p->is_counted && !count_request(p, c))
        return LACK_REQUESTS;
    for (int i = 0; i < ENDPOINTS_ASKED; i++) {
        struct endpoint_runtime *e = proxy_pick(x, c);
        lack = e ? attempt_begin(p->current, e) : LACK_ENDPOINT;
        if (lack < LACK_ENDPOINT_REQUESTS)
            break;
    }
    if (lack == LACK_NOTHING && x->route->retry.hedge_after)
        hedge_plan(x);
    return lack;
}

void proxy_attempt(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    proxy_forget_attempt(x);
    struct cluster_runtime *c = proxy_find_cluster(x);
    if (!c) {
        exchange_fail(x, ABORT_MEMORY);
        return;
    }
    bool has_queue = c->queue.first && p->cluster->breakers.pending_timeout;
    bool must_wait = has_queue && !p->is_counted; /* nobody goes first who came later; one that is counted came before */
    enum lack lack = must_wait ? LACK_REQUESTS : begin(x, c);
    if (lack != LACK_NOTHING)
        proxy_lacks(x, c, lack);
}

/* ---- no room ---- */

static void refuse(struct exchange *x, struct cluster_runtime *c, enum lack lack) {
    struct stats *s = x->worker->stats;
    stats_add(&c->counts->refused, 1);
    if (lack == LACK_ENDPOINT) {
        exchange_fail(x, ABORT_NO_ENDPOINT);
        return;
    }
    stats_add(lack == LACK_REQUESTS      ? &s->requests_overflow_total
              : lack == LACK_PENDING     ? &s->pending_overflow_total
              : lack == LACK_CONNECTIONS ? &s->connections_overflow_total
                                         : &s->endpoint_overflow_total,
              1);
    x->detail = lack_word(lack);
    exchange_fail(x, ABORT_NO_ROOM);
}

/* It joins the queue where the cluster has one; else, or when that is full, it ends here. Who waits is not counted: those
 * before it may wait for just that. Nobody waits for a cluster that goes at the end of this turn: no endpoint comes to it
 * any more, and its end would wake who waits, for another such cluster, and so on within the turn. */
void proxy_lacks(struct exchange *x, struct cluster_runtime *c, enum lack lack) {
    struct proxy *p = proxy_of(x);
    uint64_t timeout = p->cluster->breakers.pending_timeout;
    if (!timeout || lack == LACK_PENDING || c->is_passing) {
        refuse(x, c, lack);
        return;
    }
    exchange_set_attempt_deadline(x, 0);
    uncount_request(p);
    p->lacks = (uint8_t)lack;
    if (pending_enter(c, &p->place))
        proxy_set_timer(x, WAITS_FOR_ROOM, x->worker->now + timeout);
    else
        refuse(x, c, LACK_PENDING);
}

static void waited_too_long(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    stats_add(&p->place.cluster->counts->refused, 1);
    pending_leave(&p->place);
    stats_add(&x->worker->stats->pending_timeouts_total, 1);
    if (p->lacks != LACK_ENDPOINT)
        x->detail = "upstream_rq_pending_timeout";
    exchange_fail(x, p->lacks == LACK_ENDPOINT ? ABORT_NO_ENDPOINT : ABORT_NO_ROOM);
}

/* Of the queue, whose first it is. */
static bool try_again(struct pending *place) {
    struct proxy *p = (struct proxy *)((char *)place - offsetof(struct proxy, place));
    struct exchange *x = p->first.exchange;
    struct cluster_runtime *c = place->cluster;
    uint64_t until = p->timer.deadline;
    pending_leave(place); /* the queue is being looked at, which keeps its cluster */
    if (x->abort != ABORT_NONE)
        return true;
    proxy_set_timer(x, WAITS_FOR_NOTHING, 0);
    if (c->is_dropped) {
        proxy_attempt(x);
        return true;
    }
    enum lack lack = begin(x, c);
    if (lack == LACK_NOTHING)
        return true;
    uncount_request(p);
    p->lacks = (uint8_t)lack;
    pending_return(c, place);
    proxy_set_timer(x, WAITS_FOR_ROOM, until);
    return false;
}

/* ---- timer ---- */

static void on_timer(struct timer *t) {
    struct proxy *p = (struct proxy *)((char *)t - offsetof(struct proxy, timer));
    struct exchange *x = p->first.exchange;
    enum proxy_wait waits = p->waits;
    p->waits = WAITS_FOR_NOTHING;
    if (x->abort != ABORT_NONE)
        return;
    switch (waits) {
    case WAITS_FOR_NOTHING: break;
    case WAITS_TO_RETRY: proxy_attempt(x); break;
    case WAITS_FOR_ROOM: waited_too_long(x); break;
    case WAITS_TO_HEDGE: hedge_begin(x); break;
    }
}

void proxy_set_timer(struct exchange *x, enum proxy_wait waits, uint64_t when) {
    struct proxy *p = proxy_of(x);
    p->waits = (uint8_t)waits;
    p->timer.fire = on_timer;
    if (when || p->timer.next)
        worker_set_timer(x->worker, &p->timer, when);
}

void proxy_init(void) {
    attempt_init();
    pending_set_try(try_again);
}

/* ---- begin and end ---- */

/* An origin of HTTP/2 or HTTP/3 may refuse a stream that has begun, whatever the route says of retries. */
static uint64_t kept_body(const struct exchange *x) {
    const struct client_options *options = &proxy_of((struct exchange *)(uintptr_t)x)->cluster->options;
    bool may_be_refused = options->http2 || options->http3;
    return x->route->retry.body ? x->route->retry.body : may_be_refused ? REFUSED_KEPT : 0;
}

/* What the rule and the request say of where it is to go. */
static void fill_pick(struct exchange *x, const struct bound_table *routes, uint32_t index) {
    struct proxy *p = proxy_of(x);
    p->pick.subset = routes->subsets ? routes->subsets[index] : 0;
    p->pick.has_hash = request_hash(x, p->cluster, &p->pick.hash);
    sticky_read(x, p->cluster, &p->pick);
}

static void forward(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    x->choice = worker_random(x->worker);
    x->has_choice = true;
    uint32_t index = route_pick_cluster(x->route, x->choice);
    p->cluster = x->routes->clusters[index];
    if (!p->cluster) {
        exchange_fail(x, ABORT_NO_CLUSTER);
        return;
    }
    x->cluster = p->cluster->name;
    enum abort_code bad = exchange_prepare_forward(x);
    if (bad) {
        exchange_fail(x, bad);
        return;
    }
    p->retries_left = x->route->retry.retries;
    p->unprocessed_left = UNPROCESSED_MAX;
    p->first.exchange = x;
    p->current = &p->first;
    fill_pick(x, x->routes, index);
    exchange_keep_body(x, kept_body(x));
    proxy_attempt(x);
}

static void start(struct exchange *x) {
    if (!direct_answer(x))
        forward(x);
}

/* How the last attempt ended. The time of the whole request is the endpoint's failure when that had all of it, and was
 * silent. */
static enum endpoint_outcome last_outcome(const struct exchange *x, const struct attempt *a) {
    bool was_silent = a->status == 0 && !a->waiter.connection && x->request.state == FLOW_END;
    if (x->abort == ABORT_REQUEST_TIMEOUT && was_silent)
        return ENDPOINT_TIMEOUT;
    return x->abort ? outcome_of_abort(x->abort) : outcome_of_status(a->status);
}

/* The tunnel is a request under way until it ends, for balancers and bounds, and keeps what it is counted by. What there is
 * to learn of its endpoint is known now. It is no retry any more. */
static void opened(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    retry_finish(p);
    attempt_opened(p->current);
    p->tunnel_of = cluster_shared_ref(p->cluster->shared);
    p->cluster = NULL;
}

static void finish_tunnel(struct proxy *p) {
    attempt_end(p->current, ENDPOINT_SUCCESS);
    breakers_give(&p->tunnel_of->requests);
    cluster_shared_unref(p->tunnel_of);
    p->tunnel_of = NULL;
}

static void finish(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    if (!p->current)
        return;
    wheel_remove(&x->worker->wheel, &p->timer); /* also one that was stopped is in it until its slot comes by */
    if (p->tunnel_of) {
        finish_tunnel(p);
        return;
    }
    pending_leave(&p->place);
    hedge_cancel(x);
    attempt_end(p->current, last_outcome(x, p->current));
    retry_finish(p);
    uncount_request(p);
}

const struct terminal_ops proxy_terminal = {
    .name = "proxy", .start = start, .retry = retry_after_abort, .refuses = retry_refuses,
    .on_deadline = retry_on_deadline, .opened = opened, .finish = finish,
    .on_second_head = hedge_on_head, .on_second_abort = hedge_on_abort,
};
