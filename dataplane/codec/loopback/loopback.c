#include "dataplane/codec/loopback/loopback.h"

static struct loopback *of_leg(struct leg *leg) {
    return (struct loopback *)leg;
}

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct loopback *l = of_leg(leg);
    if (l->head_count < LOOPBACK_HEADS)
        l->heads[l->head_count++] = head;
    l->ends_with_head = end;
}

static bool take_head_back(struct leg *leg) {
    struct loopback *l = of_leg(leg);
    if (l->holds_head)
        l->head_count--;
    return l->holds_head;
}

static void want_pull(struct leg *leg) {
    of_leg(leg)->wanted++;
}

static void grant(struct leg *leg, size_t n) {
    (void)leg;
    (void)n;
}

static void stop(struct leg *leg) {
    of_leg(leg)->is_stopped = true;
}

static void abort_stream(struct leg *leg, enum abort_code code) {
    of_leg(leg)->aborted = code;
}

static const struct leg_ops loopback_ops = {
    .name = "loopback", .send_head = send_head, .want_pull = want_pull, .grant = grant, .stop = stop, .abort = abort_stream,
    .take_head_back = take_head_back,
};

void loopback_init(struct loopback *l, struct worker *w) {
    *l = (struct loopback){.leg.ops = &loopback_ops, .worker = w};
}

void loopback_finish(struct loopback *l) {
    strbuf_finish(&l->received);
}

static bool push_end(struct loopback *l) {
    l->has_ended = true;
    exchange_on_end(&l->leg, l->trailers);
    return true;
}

bool loopback_push(struct loopback *l, size_t most) {
    if (!l->leg.exchange || l->has_ended || l->is_stopped)
        return false;
    if (l->to_send.n == 0)
        return push_end(l);
    uint64_t credit = exchange_credit(&l->leg);
    size_t n = l->to_send.n < most ? l->to_send.n : most;
    n = n < credit ? n : credit;
    struct slice *s = n ? slice_borrow(&l->worker->pool, (const uint8_t *)l->to_send.p, n) : NULL;
    if (!s)
        return false;
    l->to_send = (struct str){l->to_send.p + n, l->to_send.n - n};
    exchange_on_body(&l->leg, s);
    return true;
}

bool loopback_pull(struct loopback *l, size_t max) {
    struct slice *s;
    if (!l->leg.exchange || l->received_end || l->received_abort || l->head_count == 0)
        return false;
    l->wanted = 0;
    l->holds_head = false;
    l->received_trailers = exchange_trailers(&l->leg);
    switch (exchange_pull(&l->leg, max, &s)) {
    case PULL_DATA:
        strbuf_add(&l->received, s->p, s->n);
        slice_free(&l->worker->pool, s);
        return true;
    case PULL_END: l->received_end = true; return true;
    case PULL_ABORT: l->received_abort = true; return true;
    default: return false;
    }
}
