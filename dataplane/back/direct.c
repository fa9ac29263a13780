/* direct.c — what the proxy answers by itself: responses and redirects of rules, and requests that may go no further. */
#include "dataplane/back/proxy_private.h"

static void respond(struct exchange *x) {
    const Headgate__Respond *m = x->route->rule->respond;
    struct head *head = arena_alloc(&x->arena, sizeof *head);
    int status = head ? 0 : -1;
    if (head) {
        head_init(head);
        head->status = (uint16_t)m->status;
        if (m->body.len)
            status |= fields_add_id(&head->fields, &x->arena, FIELD_CONTENT_TYPE, str_of(m->content_type));
        for (size_t i = 0; i < m->n_headers; i++)
            status |= fields_add(&head->fields, &x->arena, str_of(m->headers[i]->name), str_of(m->headers[i]->value));
    }
    if (status < 0)
        exchange_fail(x, ABORT_MEMORY);
    else
        exchange_answer(x, head, (struct str){(const char *)m->body.data, m->body.len});
}

static void redirect(struct exchange *x) {
    const struct head *request = x->request.head;
    struct head *head = arena_alloc(&x->arena, sizeof *head);
    struct str location;
    const struct route_request asked = {.authority = request->authority.p ? request->authority : STR(""),
                                        .scheme = x->is_tls ? STR("https") : STR("http"), .path = x->path,
                                        .query = request->query};
    if (!head || route_redirect_location(x->route, &x->match, &asked, request->has_query,
                                         x->worker->route_scratch, &x->arena, &location) < 0) {
        exchange_fail(x, ABORT_MEMORY);
        return;
    }
    head_init(head);
    head->status = (uint16_t)x->route->rule->redirect->status;
    if (fields_add_id(&head->fields, &x->arena, FIELD_LOCATION, location) < 0)
        exchange_fail(x, ABORT_MEMORY);
    else
        exchange_answer(x, head, STR(""));
}

/* An OPTIONS or TRACE that may not be forwarded any more is answered here. */
static bool is_last_hop(const struct exchange *x) {
    uint64_t hops;
    return head_max_forwards(x->request.head, &hops) && hops == 0;
}

static void answer_empty(struct exchange *x) {
    struct head *head = arena_alloc(&x->arena, sizeof *head);
    if (!head) {
        exchange_fail(x, ABORT_MEMORY);
        return;
    }
    head_init(head);
    head->status = 200;
    exchange_answer(x, head, STR(""));
}

bool direct_answer(struct exchange *x) {
    if (is_last_hop(x)) {
        answer_empty(x);
        return true;
    }
    switch (x->route->action) {
    case ROUTE_RESPOND: respond(x); return true;
    case ROUTE_REDIRECT: redirect(x); return true;
    case ROUTE_FORWARD: break;
    }
    return false;
}
