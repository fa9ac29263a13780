/* replay.c — what an origin was sent of a request's body is kept for another attempt, up to a bound.
 *
 * The bytes are shared with those that go out, not copied, unless they are still borrowed when the turn ends. They are
 * charged to the worker's budget beside the flow's limit, and are the first to be given up when it is short. */
#include "dataplane/http/exchange_private.h"

void exchange_keep_body(struct exchange *x, uint64_t most) {
    x->keep_limit = most;
}

void replay_keep(struct exchange *x, const struct slice *s) {
    struct worker *w = x->worker;
    if (x->has_forgotten)
        return;
    bool has_room = x->kept.bytes + s->n <= x->keep_limit && w->buffer_used + s->n <= w->buffer_limit;
    struct slice *shared = has_room ? slice_share(&w->pool, s) : NULL;
    if (!shared) {
        replay_forget(x);
        return;
    }
    slice_queue_push(&x->kept, shared);
    flow_charge(x, shared->n, 0);
    if (!shared->block)
        worker_borrow(w, &x->borrower);
}

void replay_forget(struct exchange *x) {
    flow_charge(x, 0, x->kept.bytes);
    slice_queue_clear(&x->kept, &x->worker->pool);
    x->has_forgotten = true;
}

/* A stage has seen what was pulled, and would see it again. */
static bool has_stage(const struct exchange *x) {
    for (unsigned i = 0; i < x->entered; i++)
        if (x->layers[i].filter->ops->pull_request)
            return true;
    return false;
}

bool exchange_is_replayable(const struct exchange *x) {
    return !x->has_forgotten && (x->kept.bytes == 0 || !has_stage(x));
}

void exchange_rewind(struct exchange *x) {
    struct flow *f = &x->request;
    struct slice *s;
    f->pulled_end = false;
    x->head_at = 0;
    f->used += x->kept.bytes; /* charged already */
    while ((s = slice_queue_pop(&f->queue)))
        slice_queue_push(&x->kept, s);
    f->queue = x->kept;
    x->kept = (struct slice_queue){0};
}
