/* second.c — a second leg towards origins, beside the back: the terminal's hedge.
 *
 * It belongs to the exchange, has sent a request without a body, and takes part in no flow. So all that can come from it is
 * a head, or its end. The terminal lets it take over or gives it up before anything else does. */
#include "dataplane/http/exchange_private.h"

void exchange_attach_second(struct exchange *x, struct leg *leg, const struct head *head) {
    leg->exchange = x;
    leg->ops->send_head(leg, head, true);
}

void exchange_drop_second(struct exchange *x, struct leg *leg, enum abort_code code) {
    leg_detach(x, leg);
    leg->ops->abort(leg, code);
}

void exchange_promote_second(struct exchange *x, struct leg *leg) {
    x->back = leg;
    x->request.sink = leg;
    x->response.source = leg;
    x->request.pulled_end = true;
    x->interim_count = 0;
    flow_give(x, &x->response, INITIAL_CREDIT);
    if (exchange_timeouts(x)->response_head)
        exchange_set_phase_deadline(x, x->worker->now + exchange_timeouts(x)->response_head);
}

bool second_wins(struct exchange *x, const struct head *head) {
    bool is_interim = head->status < 200 && head->status != 101;
    return !is_interim && x->terminal->on_second_head(x, head);
}
