/* layers.c — the onion: heads through the filters, inwards and outwards, parking and replying. */
#include "dataplane/http/exchange_private.h"

int layers_make(struct exchange *x) {
    unsigned n = x->listener->filter_count;
    if (n == 0)
        return 0;
    size_t states = 0;
    for (unsigned i = 0; i < n; i++)
        states += (x->listener->filters[i].ops->state_size + 15) & ~(size_t)15;
    char *memory = arena_calloc(&x->arena, 1, n * sizeof(struct layer) + 16 + states);
    if (!memory)
        return -1;
    x->layers = (struct layer *)memory;
    x->layer_count = n;
    char *state = memory + ((n * sizeof(struct layer) + 15) & ~(size_t)15);
    for (unsigned i = 0; i < n; i++) {
        const struct filter *f = &x->listener->filters[i];
        x->layers[i] = (struct layer){.filter = f, .exchange = x, .state = state, .index = i};
        state += (f->ops->state_size + 15) & ~(size_t)15;
    }
    return 0;
}

static void start_terminal(struct exchange *x) {
    x->has_started_terminal = true;
    if (x->request.source && x->request.state == FLOW_BODY)
        flow_grant(x, &x->request);
    x->terminal->start(x);
}

static void pass_response_head(struct exchange *x) {
    struct head *head = x->response.head;
    if (!exchange_is_tcp(x) && response_prepare(x, head) < 0) {
        exchange_fail(x, ABORT_MEMORY);
        return;
    }
    x->is_answered = true;
    x->status = x->tunnel == TUNNEL_OPEN ? tunnel_status(x) : head->status;
    bool end = x->response.state == FLOW_END && !x->response.queue.first && !x->response.trailers;
    for (unsigned i = 0; end && i < x->entered; i++)
        end = !x->layers[i].filter->ops->pull_response;
    x->front->ops->send_head(x->front, head, end);
    if (x->tunnel == TUNNEL_OPEN)
        tunnel_begin(x);
}

static void park(struct exchange *x, struct layer *l) {
    x->is_parked = true;
    x->waiting = l;
}

/* Runs one hook; a resumption that came before it returned counts as its verdict. */
static enum verdict run_hook(struct exchange *x, struct layer *l, enum verdict (*hook)(struct layer *, struct head *),
                             struct head *head) {
    x->in_hook = true;
    x->remembered = -1;
    enum verdict v = hook(l, head);
    x->in_hook = false;
    return v == WAIT && x->remembered >= 0 ? (enum verdict)x->remembered : v;
}

/* The layer has answered the request itself: it does not see its own response. */
static void leave_by_reply(struct exchange *x, struct layer *l) {
    x->entered = l->index;
    l->done = true;
    if (l->filter->ops->on_done)
        l->filter->ops->on_done(l);
}

void exchange_enter_layers(struct exchange *x, unsigned from) {
    for (unsigned i = from; i < x->layer_count; i++) {
        struct layer *l = &x->layers[i];
        l->entered = true;
        x->entered = i + 1;
        enum verdict v = l->filter->ops->on_request ? run_hook(x, l, l->filter->ops->on_request, x->request.head) : GO_ON;
        if (x->is_over || v == GO_ON)
            continue;
        if (v == WAIT)
            park(x, l);
        else
            leave_by_reply(x, l);
        return;
    }
    if (!x->is_over)
        start_terminal(x);
}

void exchange_leave_layers(struct exchange *x) {
    while (x->response_left > 0 && !x->is_over) {
        struct layer *l = &x->layers[--x->response_left];
        enum verdict v = l->filter->ops->on_response ? run_hook(x, l, l->filter->ops->on_response, x->response.head) : GO_ON;
        if (v == GO_ON)
            continue;
        if (v == WAIT)
            park(x, l);
        return; /* REPLIED: the new head comes by itself, for the outer layers (exchange_reply) */
    }
    if (!x->is_over && x->front)
        pass_response_head(x);
}

static void resume_request(struct exchange *x, struct layer *l, enum verdict v) {
    if (v == GO_ON)
        exchange_enter_layers(x, l->index + 1);
    else if (v == REPLIED)
        leave_by_reply(x, l);
}

void exchange_resume(struct exchange *x, struct layer *l, enum verdict v) {
    if (x->in_hook) {
        x->remembered = (int)v;
        return;
    }
    if (!x->is_parked || x->waiting != l || x->is_over)
        return;
    x->is_parked = false;
    x->waiting = NULL;
    if (!x->response.head)
        resume_request(x, l, v);
    else if (v == GO_ON)
        exchange_leave_layers(x);
}

void layers_finish(struct exchange *x) {
    for (unsigned i = x->entered; i-- > 0;) {
        struct layer *l = &x->layers[i];
        if (!l->done && l->filter->ops->on_done)
            l->filter->ops->on_done(l);
        l->done = true;
    }
}

int exchange_reply(struct exchange *x, unsigned status, const char *content_type, const void *body, size_t size) {
    struct head *head = arena_alloc(&x->arena, sizeof *head);
    struct str copy = arena_str(&x->arena, (struct str){body, size});
    struct str type = arena_str(&x->arena, str_of(content_type));
    if (!head || !copy.p || !type.p)
        return -1;
    head_init(head);
    head->status = (uint16_t)status;
    if (fields_add_id(&head->fields, &x->arena, FIELD_CONTENT_TYPE, type) < 0)
        return -1;
    if (x->response.head)
        exchange_take_back_response(x);
    return reply_attach(x, head, copy);
}
