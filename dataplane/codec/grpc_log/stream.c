#include "dataplane/codec/grpc_log/stream.h"

#include "common/alloc.h"

#define METHOD_PATH "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"

enum { VERSION_2 = 20, PULL_MOST = 64 << 10, SEND_MOST = BLOCK_SIZE };

static struct log_stream *of_leg(struct leg *leg) {
    return (struct log_stream *)leg;
}

static struct log_stream *of_flushable(struct flushable *f) {
    return (struct log_stream *)((char *)f - offsetof(struct log_stream, flushable));
}

static void mark(struct log_stream *s) {
    worker_mark_dirty(s->worker, &s->flushable);
}

/* ---- the end ---- */

static void reap(struct reapable *r) {
    struct log_stream *s = (struct log_stream *)((char *)r - offsetof(struct log_stream, reapable));
    worker_forget_dirty(s->worker, &s->flushable);
    wheel_remove(&s->worker->wheel, &s->limit);
    hg_free(s);
}

static void unlist(struct log_stream *s) {
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    stats_sub(&s->worker->stats->access_log_service_streams, 1);
}

static void be_over(struct log_stream *s) {
    if (s->reapable.is_reaped)
        return;
    unlist(s);
    worker_reap_later(s->worker, &s->reapable);
}

static void on_limit(struct timer *t) {
    struct log_stream *s = (struct log_stream *)((char *)t - offsetof(struct log_stream, limit));
    if (s->leg.exchange)
        exchange_on_abort(&s->leg, ABORT_CLIENT_GONE);
    be_over(s);
}

void log_stream_leave(struct log_stream *s, uint64_t patience) {
    s->on_change = NULL;
    if (!s->leg.exchange) {
        be_over(s);
        return;
    }
    worker_set_timer(s->worker, &s->limit, s->worker->now + patience);
    if (!s->has_ended)
        exchange_on_end(&s->leg, NULL);
    s->has_ended = true;
    mark(s);
}

void log_streams_cut(struct log_stream *list) {
    for (struct log_stream *s = list, *next; s; s = next) {
        next = s->next;
        s->on_change = NULL;
        if (s->leg.exchange)
            exchange_on_abort(&s->leg, ABORT_SHUTDOWN);
        be_over(s);
    }
}

/* ---- what the core says; looked at when the turn ends ---- */

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct log_stream *s = of_leg(leg);
    (void)end;
    s->has_head |= head->status >= 200;
    mark(s);
}

static void want_pull(struct leg *leg) {
    mark(of_leg(leg));
}

static void grant(struct leg *leg, size_t n) {
    (void)n;
    mark(of_leg(leg));
}

static void stop(struct leg *leg) {
    struct log_stream *s = of_leg(leg);
    s->has_ended = true;
    mark(s);
}

static void abort_stream(struct leg *leg, enum abort_code code) {
    (void)code;
    mark(of_leg(leg));
}

static const struct leg_ops leg_ops = {
    .name = "grpc-log", .send_head = send_head, .want_pull = want_pull, .grant = grant, .stop = stop, .abort = abort_stream,
};

/* Nothing that the service says counts, but that it goes on. */
static void pull_answer(struct log_stream *s) {
    struct slice *slice;
    while (s->leg.exchange && s->has_head && exchange_pull(&s->leg, PULL_MOST, &slice) == PULL_DATA)
        slice_free(&s->worker->pool, slice);
}

static void flush(struct flushable *f) {
    struct log_stream *s = of_flushable(f);
    pull_answer(s);
    if (s->on_change)
        s->on_change(s->owner);
    else if (!s->leg.exchange)
        be_over(s);
}

/* ---- begin, and bytes ---- */

static int make_request(struct head *head, struct arena *arena, struct str authority) {
    head_init(head);
    head->method = METHOD_POST;
    head->method_text = STR("POST");
    head->authority = head->host = authority;
    head->target = head->path = STR(METHOD_PATH);
    head->version = VERSION_2;
    head->te_trailers = true;
    return fields_add_id(&head->fields, arena, FIELD_CONTENT_TYPE, STR("application/grpc")) < 0 ||
                   fields_add_id(&head->fields, arena, FIELD_USER_AGENT, STR("headgate")) < 0
               ? -1
               : 0;
}

static void enlist(struct log_stream *s, struct log_stream **list) {
    s->link = list;
    s->next = *list;
    if (s->next)
        s->next->link = &s->next;
    *list = s;
    stats_add(&s->worker->stats->access_log_service_streams, 1);
}

struct log_stream *log_stream_open(struct worker *w, struct log_stream **list, const struct listener_definition *listener,
                                   struct str authority, void (*on_change)(void *owner), void *owner) {
    const struct exchange_origin origin = {.listener = listener, .peer = STR("127.0.0.1"), .version = VERSION_2};
    struct log_stream *s = hg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct log_stream){
        .leg.ops = &leg_ops, .flushable.flush = flush, .reapable.reap = reap, .limit.fire = on_limit, .worker = w,
        .on_change = on_change, .owner = owner,
    };
    struct exchange *x = exchange_open(w, &s->leg, &origin);
    if (!x) {
        hg_free(s);
        return NULL;
    }
    enlist(s, list);
    if (make_request(&s->request, exchange_arena(x), authority) < 0)
        exchange_refuse(&s->leg, ABORT_MEMORY, NULL);
    else
        exchange_on_head(&s->leg, &s->request, false);
    return s;
}

size_t log_stream_send(struct log_stream *s, struct str bytes) {
    struct slice_pool *pool = &s->worker->pool;
    size_t sent = 0;
    while (log_stream_is_open(s) && sent < bytes.n) {
        struct slice_queue copy = {0};
        uint64_t most = exchange_credit(&s->leg);
        size_t n = bytes.n - sent < most ? bytes.n - sent : (size_t)most;
        n = n < SEND_MOST ? n : SEND_MOST;
        if (n == 0 || slice_queue_copy(&copy, pool, bytes.p + sent, n) < 0)
            break;
        for (struct slice *slice; (slice = slice_queue_pop(&copy));) {
            if (log_stream_is_open(s))
                exchange_on_body(&s->leg, slice);
            else
                slice_free(pool, slice);
        }
        sent += n;
    }
    return sent;
}

bool log_stream_is_empty(const struct log_stream *s) {
    return s->leg.exchange && s->leg.exchange->request.used == 0;
}
