/* reply.c — a leg that answers from memory: direct responses, redirects, our own errors. */
#include "common/alloc.h"
#include "dataplane/http/exchange_private.h"

struct reply {
    struct leg       leg;
    struct flushable flushable;
    struct worker   *worker;
    struct head     *head;
    struct str       left;               /* of the body */
    bool             reads_first;        /* the request's body, before it answers */
    bool             has_sent_head;
};

static void mark(struct leg *leg) {
    struct reply *r = (struct reply *)leg;
    worker_mark_dirty(r->worker, &r->flushable);
}

static void on_grant(struct leg *leg, size_t n) {
    (void)n;
    mark(leg);
}

static void on_abort(struct leg *leg, enum abort_code code) {
    (void)code;
    struct reply *r = (struct reply *)leg;
    worker_forget_dirty(r->worker, &r->flushable);
}

static void ignore_head(struct leg *leg, const struct head *head, bool end) {
    (void)leg;
    (void)head;
    (void)end;
}

static void want_pull(struct leg *leg) {
    if (((struct reply *)leg)->reads_first)
        mark(leg);
}

static void ignore(struct leg *leg) {
    (void)leg;
}

static const struct leg_ops reply_ops = {
    .name = "reply", .send_head = ignore_head, .want_pull = want_pull, .grant = on_grant, .stop = ignore, .abort = on_abort,
};

/* Gives as much of the body as there is credit for. */
static void push_body(struct reply *r) {
    uint64_t credit = exchange_credit(&r->leg);
    size_t n = r->left.n < credit ? r->left.n : credit;
    struct slice *s = n ? slice_borrow(&r->worker->pool, (const uint8_t *)r->left.p, n) : NULL;
    if (n && !s) {
        exchange_on_abort(&r->leg, ABORT_MEMORY);
        return;
    }
    r->left = (struct str){r->left.p + n, r->left.n - n};
    if (s)
        exchange_on_body(&r->leg, s);
    if (r->left.n == 0 && r->leg.exchange)
        exchange_on_end(&r->leg, NULL);
}

/* An answer before the end of the request costs the client its connection. A body that is short and on its way anyway is
 * read to its end first, which also finds one that breaks the rules. One whose length nobody knows may be a stream that
 * waits for us: it is given a moment. Errors are answered at once. */
enum { READ_FIRST_MAX = 64 << 10, READ_FIRST_US = 200000 };

static bool should_read_first(struct exchange *x) {
    const struct head *head = x->request.head;
    if (x->abort != ABORT_NONE || x->request.state != FLOW_BODY || x->request.pulled_end || x->withholds_credit || x->tunnel)
        return false;
    if (head->content_length >= 0)
        return head->content_length <= READ_FIRST_MAX;
    exchange_set_phase_deadline(x, x->worker->now + READ_FIRST_US);
    return true;
}

void reply_waited(struct exchange *x) {
    struct reply *r = (struct reply *)x->back;
    r->reads_first = false;
    mark(&r->leg);
}

/* True once all of it has come. */
static bool read_request(struct reply *r) {
    struct slice *s;
    enum pull result;
    while ((result = exchange_pull(&r->leg, READ_FIRST_MAX, &s)) == PULL_DATA)
        slice_free(&r->worker->pool, s);
    r->reads_first = result == PULL_WAIT && r->leg.exchange->request.bytes <= READ_FIRST_MAX;
    return !r->reads_first;
}

static void flush_reply(struct flushable *f) {
    struct reply *r = (struct reply *)((char *)f - offsetof(struct reply, flushable));
    struct exchange *x = r->leg.exchange;
    if (!x || (r->reads_first && !read_request(r)))
        return;
    if (!r->has_sent_head) {
        r->has_sent_head = true;
        exchange_on_head(&r->leg, r->head, r->left.n == 0);
    }
    if (r->leg.exchange && x->response.granted == 0)
        flow_grant(x, &x->response);
    if (r->leg.exchange)
        push_body(r);
}

/* Of a request that its codec has refused there is no head. */
static bool is_head_request(const struct exchange *x) {
    const struct head *head = x->request.head;
    return (head ? head->method : method_lookup(x->log_method)) == METHOD_HEAD;
}

int reply_attach(struct exchange *x, struct head *head, struct str body) {
    struct reply *r = arena_calloc(&x->arena, 1, sizeof *r);
    if (!r)
        return -1;
    bool has_no_body = head->status == 204 || head->status == 304;
    head->content_length = has_no_body ? -1 : (int64_t)body.n;
    *r = (struct reply){.leg.ops = &reply_ops, .worker = x->worker, .head = head,
                        .left = is_head_request(x) || has_no_body ? STR("") : body};
    r->flushable.flush = flush_reply;
    r->leg.exchange = x;
    x->back = &r->leg;
    x->is_reply = true;
    x->response.source = &r->leg;
    x->request.sink = &r->leg;
    r->reads_first = should_read_first(x);
    if (r->reads_first)
        flow_grant(x, &x->request);
    worker_mark_dirty(x->worker, &r->flushable);
    return 0;
}
