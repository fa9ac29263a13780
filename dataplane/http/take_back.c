/* take_back.c — a response that was under way gives room to another one, of which the client has seen nothing. */
#include "dataplane/http/exchange_private.h"

static void drop_response(struct exchange *x) {
    flow_drop(x, &x->response);
    x->response.state = FLOW_HEAD;
    x->response.head = NULL;
    x->response.trailers = NULL;
    x->response.bytes = 0;
}

void exchange_take_back_response(struct exchange *x) {
    exchange_drop_back(x, ABORT_SHUTDOWN);
    drop_response(x);
    x->replaced_at = x->response_left + 1;
}

/* Nothing of a request without a body had to be kept for another attempt. One that asked for a tunnel has become another
 * request by its answer. */
static bool can_be_sent_again(const struct exchange *x) {
    const struct head *head = x->request.head;
    bool asked_tunnel = head->upgrade.n || head->method == METHOD_CONNECT;
    return x->request.state == FLOW_END && !x->request.bytes && !x->request.trailers && !asked_tunnel;
}

void response_take_head_back(struct exchange *x) {
    struct leg *front = x->front;
    if (!x->is_answered || x->is_reply || x->tunnel || !front->ops->take_head_back || !front->ops->take_head_back(front))
        return;
    drop_response(x);
    x->is_answered = false;
    x->status = 0;
    if (can_be_sent_again(x))
        x->has_forgotten = false;
}
