/* exchange.c — the life of an exchange: what codecs and terminals report, and how it ends. docs/internals/exchange.md */
#include "dataplane/http/exchange.h"

#include <assert.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "dataplane/core/pace.h"
#include "dataplane/http/exchange_private.h"
#include "dataplane/http/grpc.h"

enum { EXCHANGES_KEPT = 256, ARENA_LIMIT = 1 << 20 };

static struct exchange_hooks hooks;

void exchange_set_hooks(const struct exchange_hooks *h) {
    hooks = *h;
}

struct arena *exchange_arena(struct exchange *x) {
    return &x->arena;
}

struct worker *exchange_worker(struct exchange *x) {
    return x->worker;
}

/* ---- timers ---- */

static void exchange_set_timer(struct exchange *x) {
    worker_hasten_timer(x->worker, &x->timer, x->phase_deadline);
    worker_hasten_timer(x->worker, &x->timer, x->attempt_deadline);
    worker_hasten_timer(x->worker, &x->timer, x->request_deadline);
}

static void set_deadline(struct exchange *x, uint64_t *deadline, uint64_t when) {
    *deadline = when;
    worker_hasten_timer(x->worker, &x->timer, when);
}

void exchange_set_attempt_deadline(struct exchange *x, uint64_t when) {
    set_deadline(x, &x->attempt_deadline, when);
}

void exchange_set_phase_deadline(struct exchange *x, uint64_t when) {
    set_deadline(x, &x->phase_deadline, when);
}

static void release_credit(struct exchange *x) {
    if (!x->withholds_credit)
        return;
    uint64_t before = x->request.granted;
    x->withholds_credit = false;
    if (!x->tunnel) /* that of a tunnel is for its answer, which is still to come */
        exchange_set_phase_deadline(x, 0);
    flow_grant(x, &x->request);
    if (x->request.granted == before && x->request.source && x->request.state == FLOW_BODY)
        x->request.source->ops->grant(x->request.source, 0); /* it may use the credit that it began with */
}

static void on_timer(struct timer *t) {
    struct exchange *x = (struct exchange *)((char *)t - offsetof(struct exchange, timer));
    uint64_t now = x->worker->now;
    if (x->request_deadline && x->request_deadline <= now) {
        exchange_fail(x, ABORT_REQUEST_TIMEOUT);
        return;
    }
    if (x->attempt_deadline && x->attempt_deadline <= now) {
        x->attempt_deadline = 0;
        x->terminal->on_deadline(x);
    } else if (x->phase_deadline && x->phase_deadline <= now) {
        x->phase_deadline = 0;
        if (x->tunnel == TUNNEL_OPEN)
            tunnel_on_deadline(x);
        else if (x->is_reply && x->back)
            reply_waited(x);
        else if (x->withholds_credit && !x->tunnel) /* Expect, and a silent origin: the client may go on (RFC 9110 10.1.1) */
            release_credit(x);
        else
            x->terminal->on_deadline(x);
    }
    if (!x->is_over)
        exchange_set_timer(x);
}

/* ---- memory ---- */

static void exchange_free(struct exchange *x) {
    struct worker *w = x->worker;
    arena_finish(&x->arena);
    w->exchange_memory.used -= sizeof *x;
    if (w->free_exchange_count >= EXCHANGES_KEPT) {
        hg_free(x);
        return;
    }
    x->next_free = w->free_exchanges;
    w->free_exchanges = x;
    w->free_exchange_count++;
}

static struct exchange *exchange_alloc(struct worker *w) {
    struct exchange *x = w->free_exchanges;
    if (w->exchange_memory.used + sizeof *x > w->exchange_memory.limit)
        return NULL;
    if (x) {
        w->free_exchanges = x->next_free;
        w->free_exchange_count--;
    } else if (!(x = hg_malloc(sizeof *x))) {
        return NULL;
    }
    w->exchange_memory.used += sizeof *x;
    return x;
}

void exchange_free_cache(struct worker *w) {
    struct exchange *x;
    while ((x = w->free_exchanges)) {
        w->free_exchanges = x->next_free;
        hg_free(x);
    }
    w->free_exchange_count = 0;
}

static void settle(struct borrower *b) {
    struct exchange *x = (struct exchange *)((char *)b - offsetof(struct exchange, borrower));
    int status = slice_queue_settle(&x->request.queue, &x->worker->pool);
    if (slice_queue_settle(&x->kept, &x->worker->pool) < 0)
        replay_forget(x);
    if (slice_queue_settle(&x->response.queue, &x->worker->pool) < 0 || status < 0) {
        slice_queue_clear(&x->request.queue, &x->worker->pool);
        slice_queue_clear(&x->response.queue, &x->worker->pool);
        exchange_fail(x, ABORT_MEMORY);
    }
}

static void reap(struct reapable *r) {
    struct exchange *x = (struct exchange *)r;
    struct worker *w = x->worker;
    struct snapshot_view *view = x->view;
    stats_sub(&w->stats->exchanges, 1);
    exchange_free(x);
    if (view)
        view_unref(w, view);
}

const struct timeouts *exchange_timeouts(const struct exchange *x) {
    return x->route ? &x->route->timeouts : &x->listener->timeouts;
}

uint64_t exchange_body_limit(const struct exchange *x) {
    return x->route ? x->route->body_limit : x->listener->settings->limits.body;
}

bool exchange_body_is_slow(const struct exchange *x, uint64_t bytes, uint64_t began) {
    uint64_t elapsed = x->worker->now - began, rate = x->listener->settings->limits.min_body_rate;
    return !exchange_is_tunnel(x) && pace_is_slow(bytes, elapsed, rate, exchange_timeouts(x)->body);
}

/* ---- begin ---- */

static struct exchange *exchange_clear(struct exchange *x, struct worker *w) {
    memset(x, 0, offsetof(struct exchange, terminal_state));
    memset(x->terminal_state, 0, sizeof x->terminal_state);
    x->worker = w;
    x->reapable.reap = reap;
    x->borrower.settle = settle;
    x->timer.fire = on_timer;
    x->remembered = -1;
    arena_init(&x->arena, x->first_arena, sizeof x->first_arena, ARENA_LIMIT);
    arena_set_budget(&x->arena, &w->exchange_memory);
    return x;
}

struct exchange *exchange_open(struct worker *w, struct leg *front, const struct exchange_origin *origin) {
    const struct limits *limits = &origin->listener->settings->limits;
    if (w->buffer_used + 2 * INITIAL_CREDIT > w->buffer_limit) {
        stats_add(&w->stats->overload_total, 1);
        return NULL;
    }
    struct exchange *x = exchange_alloc(w);
    if (!x) {
        stats_add(&w->stats->overload_total, 1);
        return NULL;
    }
    exchange_clear(x, w);
    flow_init(&x->request, limits->buffer);
    flow_init(&x->response, limits->buffer);
    x->listener = origin->listener;
    x->peer = x->client = origin->peer;
    x->log_version = origin->version;
    x->tls = origin->tls;
    x->is_tls = origin->tls != NULL;
    x->initial_credit = origin->initial_credit;
    x->terminal = hooks.terminal;
    x->front = front;
    front->exchange = x;
    x->request.source = x->response.sink = front;
    if ((x->view = origin->view ? origin->view : w->view))
        view_ref(x->view);
    x->began = w->now;
    count_begin(x);
    return x;
}

/* ---- end ---- */

void leg_detach(struct exchange *x, struct leg *leg) {
    if (!leg)
        return;
    leg->exchange = NULL;
    if (x->front == leg)
        x->front = NULL;
    if (x->back == leg)
        x->back = NULL;
    struct flow *flows[] = {&x->request, &x->response};
    for (int i = 0; i < 2; i++) {
        if (flows[i]->source == leg)
            flows[i]->source = NULL;
        if (flows[i]->sink == leg)
            flows[i]->sink = NULL;
    }
}

static void abort_leg(struct exchange *x, struct leg *leg, enum abort_code code) {
    if (!leg)
        return;
    leg_detach(x, leg);
    leg->ops->abort(leg, code);
}

void exchange_over(struct exchange *x) {
    if (x->is_over)
        return;
    x->is_over = true;
    x->done_at = x->worker->now;
    if (x->has_started_terminal && x->terminal->finish)
        x->terminal->finish(x);
    abort_leg(x, x->back, x->abort ? x->abort : ABORT_CLIENT_GONE);
    leg_detach(x, x->front);
    layers_finish(x);
    replay_forget(x);
    flow_drop(x, &x->request);
    flow_drop(x, &x->response);
    count_over(x);
    if (hooks.log)
        hooks.log(x);
    wheel_remove(&x->worker->wheel, &x->timer);
    worker_forget_borrower(x->worker, &x->borrower);
    worker_reap_later(x->worker, &x->reapable);
}

void exchange_note_abort(struct exchange *x, enum abort_code code) {
    if (x->abort != ABORT_NONE)
        return;
    x->abort = code;
    count_abort(x, code);
}

static int plain_error(struct head *head, struct arena *arena, uint16_t status) {
    head_init(head);
    head->status = status;
    if (status == 405 && fields_add(&head->fields, arena, STR("allow"), STR("")) < 0)
        return -1;
    return fields_add_id(&head->fields, arena, FIELD_CONTENT_TYPE, STR("text/plain; charset=utf-8"));
}

/* No head has gone out: the answer becomes an error response of our own. */
static bool answer_with_error(struct exchange *x, enum abort_code code) {
    const struct abort_meaning *m = abort_meaning(code);
    struct head *head = arena_alloc(&x->arena, sizeof *head);
    bool is_grpc = x->request.head && grpc_is_request(x->request.head);
    char *body = arena_printf(&x->arena, is_grpc ? "%u %.*s: %s (%s)" : "%u %.*s\n%s (%s)\n", m->status,
                              STR_FMT(status_reason(m->status)), m->reason, x->detail ? x->detail : m->word);
    if (!head || !body || m->status == 0)
        return false;
    if ((is_grpc ? grpc_error(head, &x->arena, code, body) : plain_error(head, &x->arena, m->status)) < 0)
        return false;
    flow_drop(x, &x->response);
    x->response.head = NULL;
    return reply_attach(x, head, is_grpc ? STR("") : str_of(body)) == 0;
}

void exchange_fail(struct exchange *x, enum abort_code code) {
    if (x->is_over)
        return;
    exchange_note_abort(x, code);
    abort_leg(x, x->back, code);
    x->is_parked = false;
    bool can_answer = x->front && !x->is_answered && x->response.state == FLOW_HEAD && !exchange_is_tcp(x);
    if (can_answer && answer_with_error(x, x->abort))
        return;
    struct leg *front = x->front;
    exchange_over(x);
    if (front)
        front->ops->abort(front, tunnel_abort_code(x, code));
}

/* ---- request ---- */

/* The time of the route, or what a gRPC call says that it has left if that is less. */
static void set_request_deadline(struct exchange *x) {
    uint64_t most = exchange_timeouts(x)->request, of_call;
    if (grpc_is_request(x->request.head) && grpc_read_timeout(x->request.head, &of_call) && (most == 0 || of_call < most))
        most = of_call ? of_call : 1;
    if (most)
        set_deadline(x, &x->request_deadline, x->began + most);
}

/* Once, whatever is tried again: what the route gives for the answer begins with the end of the request. */
void exchange_await_response(struct exchange *x) {
    uint64_t most = exchange_timeouts(x)->response, end = x->worker->now + most;
    if (most && !x->awaits_response && (x->request_deadline == 0 || end < x->request_deadline))
        set_deadline(x, &x->request_deadline, end);
    x->awaits_response = true;
}

static void on_request_head(struct exchange *x, struct head *head, bool end) {
    x->request.head = head;
    x->withholds_credit = !end && head->expect_continue;
    enum abort_code refused = request_prepare(x, head);
    if (refused == ABORT_NONE)
        refused = tunnel_ask(x, head);
    flow_advance(&x->request, end && !x->tunnel ? FLOW_END : FLOW_BODY);
    if (!end)
        flow_open(x, &x->request, x->initial_credit);
    if (refused == ABORT_NONE && head->content_length > 0 && (uint64_t)head->content_length > exchange_body_limit(x))
        refused = ABORT_BODY_TOO_LARGE;
    if (refused == ABORT_NONE && layers_make(x) < 0)
        refused = ABORT_MEMORY;
    if (refused != ABORT_NONE) {
        exchange_fail(x, refused);
        return;
    }
    set_request_deadline(x);
    exchange_enter_layers(x, 0);
}

/* ---- response ---- */

static void on_interim(struct exchange *x, struct head *head) {
    if (head->status == 100)
        release_credit(x);
    if (++x->interim_count > EXCHANGE_INTERIM_MAX) {
        exchange_fail(x, ABORT_ORIGIN_PROTOCOL);
        return;
    }
    stats_add(&x->worker->stats->responses_1xx_total, 1);
    bool client_knows_interim = x->log_version > 10;
    head_remove_hop_by_hop(head);
    head->upgrade = (struct str){NULL, 0};
    if (x->front && client_knows_interim && !x->is_answered && head->status != 100)
        x->front->ops->send_head(x->front, head, false);
}

static void on_final_head(struct exchange *x, struct head *head, bool end) {
    if (!x->is_reply && x->terminal->refuses && x->terminal->refuses(x, head))
        return;
    replay_forget(x);
    x->head_at = x->worker->now;
    x->attempt_deadline = 0;
    exchange_set_phase_deadline(x, 0);
    enum abort_code bad = x->tunnel == TUNNEL_ASKED ? tunnel_answered(x, head) : ABORT_NONE;
    if (bad) {
        exchange_fail(x, bad);
        return;
    }
    x->response.head = head;
    flow_advance(&x->response, end ? FLOW_END : FLOW_BODY);
    if (!end && x->response.source)
        flow_give(x, &x->response, x->response.limit);
    x->response_left = x->replaced_at ? x->replaced_at - 1 : x->entered;
    exchange_leave_layers(x);
}

void exchange_on_head(struct leg *leg, struct head *head, bool end) {
    struct exchange *x = leg->exchange;
    if (leg_is_second(x, leg) && !second_wins(x, head))
        return;
    if (leg == x->front)
        on_request_head(x, head, end);
    else if (head->status < 200 && head->status != 101)
        on_interim(x, head);
    else
        on_final_head(x, head, end);
}

/* ---- bodies ---- */

static void tell_sink(struct exchange *x, struct flow *f) {
    if (!f->sink)
        return;
    if (f == &x->response && !x->is_answered)
        return; /* the head is still with a layer */
    f->sink->ops->want_pull(f->sink);
}

void exchange_on_body(struct leg *leg, struct slice *s) {
    struct exchange *x = leg->exchange;
    struct flow *f = flow_of_source(x, leg);
    if (f->state == FLOW_ABORTED) { /* refused already; the rest is of no use */
        slice_free(&x->worker->pool, s);
        return;
    }
    flow_push(x, f, s);
    x->last_activity = x->worker->now;
    if (f == &x->request && !x->tunnel && f->bytes > exchange_body_limit(x)) {
        exchange_refuse(leg, ABORT_BODY_TOO_LARGE, NULL);
        if (leg->exchange)
            leg->ops->stop(leg);
        return;
    }
    tell_sink(x, f);
}

/* The origin has said all. Its connection goes back to the pool while the client still reads. */
static void release_back(struct exchange *x) {
    struct leg *back = x->back;
    if (!back)
        return;
    bool sent_all = x->request.state == FLOW_END && x->request.pulled_end;
    leg_detach(x, back);
    if (sent_all)
        return;
    x->request.pulled_end = true;
    flow_drop(x, &x->request);
    if (x->request.source && x->request.state != FLOW_END)
        x->request.source->ops->stop(x->request.source);
}

void exchange_on_end(struct leg *leg, struct fields *trailers) {
    struct exchange *x = leg->exchange;
    struct flow *f = flow_of_source(x, leg);
    if (f->state == FLOW_ABORTED)
        return;
    f->trailers = trailers;
    flow_advance(f, FLOW_END);
    flow_take_credit(x, f);
    for (unsigned i = 0; trailers && i < x->entered; i++) {
        const struct filter_ops *ops = x->layers[i].filter->ops;
        if (f == &x->request && ops->on_request_trailers)
            ops->on_request_trailers(&x->layers[i], trailers);
        if (f == &x->response && ops->on_response_trailers)
            ops->on_response_trailers(&x->layers[i], trailers);
    }
    if (x->tunnel == TUNNEL_OPEN) {
        tell_sink(x, f);
        tunnel_leave(x, leg);
        return;
    }
    if (leg == x->back)
        release_back(x);
    tell_sink(x, f);
}

/* ---- aborts ---- */

static void on_back_abort(struct exchange *x, enum abort_code code) {
    x->attempt_deadline = 0;
    exchange_set_phase_deadline(x, 0);
    response_take_head_back(x);
    if (x->response.state == FLOW_HEAD) {
        if (x->is_reply || !x->terminal->retry || !x->terminal->retry(x, code))
            exchange_fail(x, code);
        return;
    }
    if (!x->is_answered) { /* a layer still holds the head; answer with an error instead */
        x->response.state = FLOW_HEAD;
        exchange_fail(x, code);
        return;
    }
    exchange_fail(x, code);
}

void exchange_on_abort(struct leg *leg, enum abort_code code) {
    struct exchange *x = leg->exchange;
    bool is_front = leg == x->front, is_second = leg_is_second(x, leg);
    leg_detach(x, leg);
    if (is_second) {
        x->terminal->on_second_abort(x, code);
        return;
    }
    if (!is_front) {
        on_back_abort(x, code);
        return;
    }
    exchange_note_abort(x, code);
    exchange_over(x);
}

void exchange_on_stop(struct leg *leg) {
    struct exchange *x = leg->exchange;
    struct flow *f = flow_of_sink(x, leg);
    if (leg_is_second(x, leg))
        return; /* it has sent all that it is to send */
    f->pulled_end = true;
    f->sink = NULL;
    if (f == &x->request && (f->bytes || f->state == FLOW_BODY))
        replay_forget(x);
    flow_drop(x, f);
    if (f->source && f->state == FLOW_BODY)
        f->source->ops->stop(f->source);
    if (x->tunnel == TUNNEL_OPEN) {
        tunnel_stop(x, leg, f);
        return;
    }
    if (f == &x->request && x->response.state == FLOW_HEAD && exchange_timeouts(x)->response_head)
        exchange_set_phase_deadline(x, x->worker->now + exchange_timeouts(x)->response_head);
}

void exchange_refuse(struct leg *leg, enum abort_code code, const char *detail) {
    struct exchange *x = leg->exchange;
    x->detail = detail;
    if (x->request.state < FLOW_END)
        x->request.state = FLOW_ABORTED;
    exchange_fail(x, code);
}

/* ---- terminals ---- */

void exchange_attach_back(struct exchange *x, struct leg *leg) {
    leg->exchange = x;
    x->back = leg;
    x->is_reply = false;
    x->request.sink = leg;
    x->response.source = leg;
    flow_give(x, &x->response, INITIAL_CREDIT);
    bool end = x->request.state == FLOW_END && !x->request.queue.first && !x->request.trailers;
    for (unsigned i = 0; end && i < x->entered; i++)
        end = !x->layers[i].filter->ops->pull_request;
    leg->ops->send_head(leg, x->attempt_head ? x->attempt_head : x->request.head, end);
    if (end) {
        x->request.pulled_end = true;
        exchange_await_response(x);
    }
    if ((end || x->tunnel) && exchange_timeouts(x)->response_head)
        exchange_set_phase_deadline(x, x->worker->now + exchange_timeouts(x)->response_head);
    else if (x->withholds_credit)
        exchange_set_phase_deadline(x, x->worker->now + 1000000);
}

void exchange_drop_back(struct exchange *x, enum abort_code code) {
    abort_leg(x, x->back, code);
}

enum abort_code exchange_prepare_forward(struct exchange *x) {
    return exchange_is_tcp(x) ? ABORT_NONE : request_prepare_forward(x, x->request.head);
}

void exchange_answer(struct exchange *x, struct head *head, struct str body) {
    if (reply_attach(x, head, body) < 0)
        exchange_fail(x, ABORT_MEMORY);
}
