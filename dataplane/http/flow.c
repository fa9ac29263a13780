/* flow.c — one direction of an exchange: queue, credit, pulling through the stages. */
#include <assert.h>

#include "dataplane/http/exchange_private.h"

enum { UNTAKEN_MAX = 64 << 10 }; /* of a response of which the client has taken nothing */
enum { TRICKLE = 4096 };         /* what a flow that holds nothing may hold whatever the budget says, so that it can end; or
                                  * what its source has to be given at once */

void flow_init(struct flow *f, uint64_t limit) {
    *f = (struct flow){.limit = limit};
}

void flow_advance(struct flow *f, enum flow_state to) {
    assert(to >= f->state);
    f->state = to;
}

void flow_charge(struct exchange *x, uint64_t more, uint64_t less) {
    x->worker->buffer_used += more - less;
    stats_add(&x->worker->stats->buffered_bytes, more - less);
}

/* Credit that the source holds counts for the budget, but where it is only a leave to read. */
static void charge_credit(struct exchange *x, const struct flow *f, uint64_t more, uint64_t less) {
    if (!f->is_on_demand)
        flow_charge(x, more, less);
}

void flow_push(struct exchange *x, struct flow *f, struct slice *s) {
    assert(s->n <= f->granted);
    if (f->is_on_demand)
        flow_charge(x, s->n, 0); /* other credit has been charged */
    f->granted -= s->n;
    f->used += s->n;
    f->bytes += s->n;
    bool is_borrowed = !s->block;
    slice_queue_pack(&f->queue, &x->worker->pool, s);
    if (is_borrowed)
        worker_borrow(x->worker, &x->borrower);
}

static void took(struct exchange *x, struct flow *f, size_t n) {
    assert(n <= f->used);
    f->used -= n;
    flow_charge(x, 0, n);
}

/* What a flow may hold now. A response begins with part of its limit and gets the rest as the client takes it: clients that
 * take nothing could otherwise fill the worker's budget with few streams. */
static uint64_t limit_now(const struct exchange *x, const struct flow *f) {
    uint64_t reached = UNTAKEN_MAX + f->bytes - f->used;
    return f == &x->response && reached < f->limit ? reached : f->limit;
}

static uint64_t room_of(const struct exchange *x, const struct flow *f) {
    uint64_t limit = limit_now(x, f), held = f->used + f->granted;
    return held < limit ? limit - held : 0;
}

static uint64_t trickle_of(const struct leg *source) {
    return source->least_grant > TRICKLE ? source->least_grant : TRICKLE;
}

void flow_grant(struct exchange *x, struct flow *f) {
    if (!f->source || f->state != FLOW_BODY || (f == &x->request && x->withholds_credit))
        return;
    uint64_t room = room_of(x, f);
    bool may_wait_for_budget = f->is_on_demand && f->used == 0; /* and is told whenever it may look again */
    if (!may_wait_for_budget && (room == 0 || (room < limit_now(x, f) / 2 && f->used + f->granted > 0)))
        return;
    struct worker *w = x->worker;
    if (!f->is_on_demand && w->buffer_used + room > w->buffer_limit) {
        if (f->granted || f->used)
            return; /* short of memory: no new credit until this flow has drained */
        room = room < trickle_of(f->source) ? room : trickle_of(f->source);
    }
    f->granted += room;
    charge_credit(x, f, room, 0);
    f->source->ops->grant(f->source, room);
}

void flow_give(struct exchange *x, struct flow *f, uint64_t want) {
    uint64_t room = room_of(x, f);
    uint64_t more = want > f->granted ? want - f->granted : 0;
    struct worker *w = x->worker;
    more = more < room ? more : room;
    if (!f->is_on_demand && f->granted + f->used >= INITIAL_CREDIT && w->buffer_used + more > w->buffer_limit)
        return;
    f->granted += more;
    charge_credit(x, f, more, 0);
}

void flow_turn_on_demand(struct exchange *x, struct flow *f) {
    if (!f->source || !f->source->ops->reads_on_demand)
        return;
    flow_charge(x, 0, f->granted);
    f->is_on_demand = true;
}

void flow_take_credit(struct exchange *x, struct flow *f) {
    charge_credit(x, f, 0, f->granted);
    f->granted = 0;
}

void flow_open(struct exchange *x, struct flow *f, uint32_t credit) {
    if (f->limit < credit)
        f->limit = credit;
    f->granted += credit;
    flow_charge(x, credit, 0);
}

void flow_drop(struct exchange *x, struct flow *f) {
    slice_queue_clear(&f->queue, &x->worker->pool);
    flow_charge(x, 0, f->used);
    f->used = 0;
    flow_take_credit(x, f);
}

/* ---- pulling ---- */

static enum pull pull_queue(struct exchange *x, struct flow *f, size_t max, struct slice **ret) {
    struct slice *s = f->queue.first;
    if (f->state == FLOW_ABORTED)
        return PULL_ABORT;
    if (!s)
        return f->state == FLOW_END ? PULL_END : PULL_WAIT;
    if (s->n > max) {
        struct slice *front = slice_split(&x->worker->pool, s, max);
        if (!front) { /* no event would make the sink pull again */
            exchange_note_abort(x, ABORT_MEMORY);
            return PULL_ABORT;
        }
        f->queue.bytes -= max;
        *ret = front;
    } else {
        *ret = slice_queue_pop(&f->queue);
    }
    took(x, f, (*ret)->n);
    if (f == &x->request)
        replay_keep(x, *ret);
    return PULL_DATA;
}

static bool stage_may_see(const struct exchange *x, const struct layer *l) {
    return l->entered && (!x->tunnel || l->filter->ops->tunnel_ok);
}

/* The request's bytes come from the front: layer 0 stands next to the source, so the inner neighbour of layer i is i - 1. */
static enum pull pull_request_from(struct exchange *x, int layer, size_t max, struct slice **ret) {
    for (; layer >= 0; layer--) {
        struct layer *l = &x->layers[layer];
        if (l->filter->ops->pull_request && stage_may_see(x, l))
            return l->filter->ops->pull_request(l, max, ret);
    }
    return pull_queue(x, &x->request, max, ret);
}

/* The response's bytes come from the origin: the inner neighbour of layer i is i + 1, up to the last layer entered. */
static enum pull pull_response_from(struct exchange *x, unsigned layer, size_t max, struct slice **ret) {
    for (; layer < x->entered; layer++) {
        struct layer *l = &x->layers[layer];
        if (l->filter->ops->pull_response && stage_may_see(x, l))
            return l->filter->ops->pull_response(l, max, ret);
    }
    return pull_queue(x, &x->response, max, ret);
}

enum pull layer_pull_request(struct layer *l, size_t max, struct slice **ret) {
    return pull_request_from(l->exchange, (int)l->index - 1, max, ret);
}

enum pull layer_pull_response(struct layer *l, size_t max, struct slice **ret) {
    return pull_response_from(l->exchange, l->index + 1, max, ret);
}

/* The whole request is on its way: from here on the origin's answer is awaited. */
static void request_is_sent(struct exchange *x) {
    x->request.pulled_end = true;
    exchange_await_response(x);
    if (x->response.state == FLOW_HEAD)
        exchange_set_phase_deadline(x, exchange_timeouts(x)->response_head
                                           ? x->worker->now + exchange_timeouts(x)->response_head
                                           : 0);
}

enum pull exchange_pull(struct leg *leg, size_t max, struct slice **ret) {
    struct exchange *x = leg->exchange;
    bool is_response = leg == x->front;
    struct flow *f = is_response ? &x->response : &x->request;
    if (!is_response && x->tunnel == TUNNEL_ASKED)
        return PULL_WAIT; /* nothing goes to an origin that has not agreed */
    if (is_response && x->keeps_view_for_head)
        tunnel_let_snapshot_go(x);
    enum pull result = is_response ? pull_response_from(x, 0, max, ret)
                                   : pull_request_from(x, (int)x->entered - 1, max, ret);
    if (result == PULL_DATA) {
        assert((*ret)->n <= max && (*ret)->n > 0);
        flow_grant(x, f);
    } else if (result == PULL_END || result == PULL_ABORT) {
        f->pulled_end = true;
        if (x->tunnel == TUNNEL_OPEN && result == PULL_END) {
            tunnel_leave(x, leg);
            return result;
        }
        if (is_response)
            exchange_over(x);
        else if (result == PULL_END)
            request_is_sent(x);
    } else {
        flow_grant(x, f); /* a stage may have taken bytes in and given none out */
    }
    return result;
}

struct fields *exchange_trailers(struct leg *leg) {
    struct exchange *x = leg->exchange;
    return x ? flow_of_sink(x, leg)->trailers : NULL;
}

bool exchange_is_at_end(const struct leg *leg) {
    struct exchange *x = leg->exchange;
    const struct flow *f = x ? flow_of_sink(x, leg) : NULL;
    return f && f->state == FLOW_END && !f->queue.first;
}

bool exchange_has_content(const struct leg *leg) {
    struct exchange *x = leg->exchange;
    return x && flow_of_sink(x, leg)->queue.first;
}

/* Of its credit, what the budget has now. One that holds something gets more when that is gone. */
static uint64_t credit_on_demand(const struct exchange *x, const struct flow *f) {
    const struct worker *w = x->worker;
    uint64_t left = w->buffer_used < w->buffer_limit ? w->buffer_limit - w->buffer_used : 0;
    if (left < TRICKLE)
        left = f->used ? 0 : TRICKLE;
    return f->granted < left ? f->granted : left;
}

uint64_t exchange_credit(const struct leg *leg) {
    struct exchange *x = leg->exchange;
    if (!x)
        return 0;
    const struct flow *f = flow_of_source(x, leg);
    return f->is_on_demand ? credit_on_demand(x, f) : f->granted;
}
