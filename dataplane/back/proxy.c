#include "dataplane/back/proxy.h"

#include <errno.h>
#include <stdio.h>

#include "dataplane/back/cluster.h"
#include "dataplane/back/request_hash.h"
#include "dataplane/back/sticky.h"
#include "dataplane/net/conn.h"
#include "dataplane/net/proxy_protocol.h"

/* Of one exchange, in x->terminal_state. */
struct proxy {
    const struct cluster_definition *cluster;
    struct endpoint_runtime         *endpoint;     /* of the present attempt, while that is under way */
    struct client_waiter             waiter;       /* for a connection that is being made */
    struct exchange                 *exchange;
    uint32_t                         retries_left;
    uint32_t                         stale_left;   /* attempts over kept connections that turned out to be dead */
    bool                             reused;       /* the present attempt runs on a kept connection */
    bool                             is_under_way; /* the endpoint counts the present attempt */
    uint16_t                         status;       /* of the present attempt's final head; 0: none yet */
    uint64_t                         began, head_latency; /* of the present attempt */
    struct pick                      pick;
};

enum {
    STALE_MAX = 3,
    REFUSED_KEPT = 16 << 10,    /* bytes of a body, where the route says nothing of retries */
};

_Static_assert(sizeof(struct proxy) <= EXCHANGE_TERMINAL_SIZE, "struct exchange has room for it");

static struct proxy *proxy_of(struct exchange *x) {
    return (struct proxy *)x->terminal_state;
}

static void attempt(struct exchange *x);
static void go_on_with(struct exchange *x, struct endpoint_runtime *e);

/* ---- one attempt ---- */

static void note_endpoint(struct exchange *x, const struct endpoint_runtime *e) {
    x->endpoint = arena_str(&x->arena, str_of(e->text));
}

static void begin_attempt(struct exchange *x, struct endpoint_runtime *e) {
    struct proxy *p = proxy_of(x);
    p->endpoint = e;
    p->is_under_way = true;
    p->status = 0;
    p->began = x->worker->now;
    p->head_latency = 0;
    pick_note_tried(&p->pick, e);
    endpoint_began(e);
}

static void end_attempt(struct exchange *x, enum endpoint_outcome outcome) {
    struct proxy *p = proxy_of(x);
    if (!p->is_under_way)
        return;
    p->is_under_way = false;
    endpoint_ended(p->endpoint, outcome, p->head_latency);
}

static enum endpoint_outcome outcome_of_status(unsigned status) {
    if (status == 502 || status == 503 || status == 504)
        return ENDPOINT_GATEWAY_FAILURE;
    return status >= 500 ? ENDPOINT_5XX : ENDPOINT_SUCCESS;
}

/* A kept connection that turned out to be closed, or a refused stream, says nothing of the endpoint's health. */
static enum endpoint_outcome outcome_of_abort(enum abort_code code) {
    switch (code) {
    case ABORT_CONNECT_FAILED: return ENDPOINT_CONNECT_FAILURE;
    case ABORT_ORIGIN_RESET:
    case ABORT_ORIGIN_PROTOCOL:
    case ABORT_ORIGIN_TOO_LARGE: return ENDPOINT_RESET;
    case ABORT_CONNECT_TIMEOUT:
    case ABORT_ORIGIN_TIMEOUT:
    case ABORT_ORIGIN_BODY_TIMEOUT: return ENDPOINT_TIMEOUT;
    default: return ENDPOINT_CANCELLED;
    }
}

static void set_try_deadline(struct exchange *x) {
    uint64_t per_try = x->route->retry.per_try_timeout;
    if (per_try)
        exchange_set_attempt_deadline(x, x->worker->now + per_try);
}

/* Host is the endpoint's own name where the rule says so: an overlay, since another attempt has another endpoint. */
static bool overlay_head(struct exchange *x, const struct endpoint_runtime *e) {
    if (!route_host_from_endpoint(x->route))
        return true;
    struct head *head = arena_memdup(&x->arena, x->request.head, sizeof *head);
    struct str host = arena_str(&x->arena, e->hostname.n ? e->hostname : str_of(e->text));
    if (!head || !host.p)
        return false;
    head->authority = host;
    x->attempt_head = head;
    return true;
}

static void use(struct exchange *x, struct client_connection *c) {
    struct leg *leg = overlay_head(x, proxy_of(x)->endpoint) ? pool_open(c) : NULL;
    if (leg)
        exchange_attach_back(x, leg);
    else
        exchange_fail(x, ABORT_MEMORY);
}

static struct exchange *exchange_of(struct client_waiter *w) {
    return ((struct proxy *)((char *)w - offsetof(struct proxy, waiter)))->exchange;
}

/* An exchange that has been answered with an error meanwhile has no use for the connection. */
static void ready(struct client_waiter *w, struct client_connection *c) {
    struct exchange *x = exchange_of(w);
    if (x->abort == ABORT_NONE)
        use(x, c);
}

static void fail_or_retry(struct exchange *x, enum abort_code code) {
    if (!proxy_terminal.retry(x, code))
        exchange_fail(x, code);
}

static void failed(struct client_waiter *w, int error) {
    struct exchange *x = exchange_of(w);
    if (x->abort != ABORT_NONE)
        return;
    struct endpoint_runtime *e = proxy_of(x)->endpoint;
    if (error == EAGAIN && e->is_retired) /* what it would connect by may be gone with its definition */
        attempt(x);
    else if (error == EAGAIN) /* too many waited for it: this one goes to another connection */
        go_on_with(x, e);
    else
        fail_or_retry(x, error == ETIMEDOUT ? ABORT_CONNECT_TIMEOUT : ABORT_CONNECT_FAILED);
}

void proxy_init(void) {
    static const struct pool_waiter_ops ops = {.ready = ready, .failed = failed};
    pool_set_waiter_ops(&ops);
}

/* The client as everything else knows it, and the address that it connected to. */
static size_t write_proxy_header(const struct exchange *x, int version, uint8_t room[PROXY_WRITTEN_MAX]) {
    struct conn_ends ends = {.remote.length = 0};
    char text[ADDRESS_TEXT_MAX];
    bool is_known = x->front && x->front->ops->get_ends && x->front->ops->get_ends(x->front, &ends);
    bool is_v6 = memchr(x->client.p, ':', x->client.n) != NULL;
    if (is_known && !str_eq(x->client, x->peer)) { /* another proxy has said who it is, and not from which port */
        int n = snprintf(text, sizeof text, is_v6 ? "[%.*s]:0" : "%.*s:0", STR_FMT(x->client));
        address_parse((struct str){text, (size_t)n}, &ends.remote);
    }
    return proxy_header_write(version, &ends.remote, &ends.local, room);
}

static int connect_to(struct exchange *x, struct endpoint_runtime *e) {
    struct proxy *p = proxy_of(x);
    int version = e->cluster->options.proxy_version;
    bool is_connect = x->request.head->method == METHOD_CONNECT;
    uint8_t room[PROXY_WRITTEN_MAX];
    uint64_t timeout = exchange_timeouts(x)->connect;
    if (!version && !is_connect)
        return pool_wait(e, timeout, &p->waiter);
    struct str preamble = {(const char *)room, version ? write_proxy_header(x, version, room) : 0};
    return pool_wait_single(e, timeout, is_connect ? p->cluster->tunnel_codec : e->cluster->codec, preamble, &p->waiter);
}

static void go_on_with(struct exchange *x, struct endpoint_runtime *e) {
    struct proxy *p = proxy_of(x);
    bool may_be_kept = p->stale_left && x->request.head->method != METHOD_CONNECT;
    struct client_connection *kept = may_be_kept ? pool_find(e) : NULL;
    p->reused = kept != NULL;
    if (kept)
        use(x, kept);
    else if (connect_to(x, e) < 0)
        fail_or_retry(x, errno == ENOMEM ? ABORT_MEMORY : ABORT_CONNECT_FAILED);
}

/* Nothing of the attempt before may reach into this one: neither its deadlines nor its connection. */
static void forget_attempt(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    exchange_set_attempt_deadline(x, 0);
    exchange_set_phase_deadline(x, 0);
    pool_forget_waiter(&p->waiter);
    end_attempt(x, ENDPOINT_CANCELLED);
}

static struct cluster_runtime *find_cluster(struct exchange *x) {
    bool is_newest = x->view == x->worker->view;
    return (is_newest ? cluster_of : cluster_of_older)(x->worker, proxy_of(x)->cluster);
}

static void attempt(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    forget_attempt(x);
    struct cluster_runtime *c = find_cluster(x);
    struct endpoint_runtime *e = c ? cluster_pick(c, &p->pick) : NULL;
    if (!e) {
        exchange_fail(x, c ? ABORT_NO_ENDPOINT : ABORT_MEMORY);
        return;
    }
    begin_attempt(x, e);
    x->attempts++;
    note_endpoint(x, e);
    set_try_deadline(x); /* connecting counts */
    go_on_with(x, e);
}

/* ---- retries ---- */

static bool may_repeat_method(const struct exchange *x) {
    const struct route *r = x->route;
    return r->retry.method_count ? route_retries_method(r, x->request.head) : method_is_idempotent(x->request.head->method);
}

static bool policy_allows(struct exchange *x, enum abort_code code) {
    struct proxy *p = proxy_of(x);
    const struct route *r = x->route;
    bool is_connect = code == ABORT_CONNECT_FAILED || code == ABORT_CONNECT_TIMEOUT;
    bool is_reset = code == ABORT_ORIGIN_RESET || code == ABORT_ORIGIN_TIMEOUT;
    if (p->retries_left == 0)
        return false;
    if (is_connect)
        return r->retry.on_connect_failure;
    return is_reset && r->retry.on_reset && may_repeat_method(x);
}

/* RFC 9110 section 9.2.2: what the origin provably did not see may always be sent again; what it may have seen only when
 * the method is idempotent, and without the user's word only when a kept connection was closed under us. */
static bool is_stale(const struct exchange *x, enum abort_code code) {
    const struct proxy *p = (const struct proxy *)x->terminal_state;
    if (p->stale_left == 0)
        return false;
    return code == ABORT_ORIGIN_STALE || code == ABORT_ORIGIN_REFUSED ||
           (p->reused && code == ABORT_ORIGIN_RESET && method_is_idempotent(x->request.head->method));
}

static bool retry(struct exchange *x, enum abort_code code) {
    struct proxy *p = proxy_of(x);
    end_attempt(x, outcome_of_abort(code));
    if (x->is_over || x->abort != ABORT_NONE || !exchange_is_replayable(x))
        return false;
    if (is_stale(x, code))
        p->stale_left--;
    else if (policy_allows(x, code))
        p->retries_left--;
    else
        return false;
    stats_add(&x->worker->stats->retries_total, 1);
    exchange_rewind(x);
    attempt(x);
    return true;
}

static bool refuses(struct exchange *x, struct head *head) {
    struct proxy *p = proxy_of(x);
    p->status = head->status;
    p->head_latency = x->worker->now - p->began;
    sticky_write(x, p->cluster, &p->pick, p->endpoint, head); /* without memory the client goes on without */
    if (p->retries_left == 0 || !route_retries_status(x->route, head->status) || !exchange_is_replayable(x) ||
        !may_repeat_method(x))
        return false;
    p->retries_left--;
    stats_add(&x->worker->stats->retries_total, 1);
    exchange_drop_back(x, ABORT_ORIGIN_RESET);
    end_attempt(x, outcome_of_status(head->status));
    exchange_rewind(x);
    attempt(x);
    return true;
}

static void on_deadline(struct exchange *x) {
    bool may_retry = x->response.state == FLOW_HEAD && policy_allows(x, ABORT_ORIGIN_TIMEOUT);
    exchange_drop_back(x, ABORT_ORIGIN_TIMEOUT);
    end_attempt(x, ENDPOINT_TIMEOUT);
    if (!may_retry || !retry(x, ABORT_ORIGIN_TIMEOUT))
        exchange_fail(x, ABORT_ORIGIN_TIMEOUT);
}

/* ---- begin and end ---- */

/* An origin of HTTP/2 may refuse a stream that has begun, whatever the route says of retries. */
static uint64_t kept_body(const struct exchange *x) {
    bool may_be_refused = proxy_of((struct exchange *)(uintptr_t)x)->cluster->options.http2 != NULL;
    return x->route->retry.body ? x->route->retry.body : may_be_refused ? REFUSED_KEPT : 0;
}

/* What the rule and the request say of where it is to go. */
static void fill_pick(struct exchange *x, const struct bound_table *routes, uint32_t index) {
    struct proxy *p = proxy_of(x);
    p->pick.subset = routes->subsets ? routes->subsets[index] : 0;
    p->pick.has_hash = request_hash(x, p->cluster, &p->pick.hash);
    sticky_read(x, p->cluster, &p->pick);
}

static void forward(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    uint32_t index = route_pick_cluster(x->route, worker_random(x->worker));
    const struct bound_table *routes = x->listener->routes;
    p->cluster = routes->clusters[index];
    if (!p->cluster) {
        exchange_fail(x, ABORT_NO_CLUSTER);
        return;
    }
    enum abort_code bad = exchange_prepare_forward(x);
    if (bad) {
        exchange_fail(x, bad);
        return;
    }
    x->cluster = p->cluster->name;
    p->retries_left = x->route->retry.retries;
    p->stale_left = STALE_MAX;
    p->exchange = x;
    fill_pick(x, routes, index);
    exchange_keep_body(x, kept_body(x));
    attempt(x);
}

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
    if (!head || route_redirect_location(x->route, &x->match, x->is_tls ? STR("https") : STR("http"), request->authority,
                                         x->path, request->has_query, request->query, &x->arena, &location) < 0) {
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

static void start(struct exchange *x) {
    if (is_last_hop(x)) {
        answer_empty(x);
        return;
    }
    switch (x->route->action) {
    case ROUTE_RESPOND: respond(x); break;
    case ROUTE_REDIRECT: redirect(x); break;
    case ROUTE_FORWARD: forward(x); break;
    }
}

static void finish(struct exchange *x) {
    struct proxy *p = proxy_of(x);
    pool_forget_waiter(&p->waiter);
    end_attempt(x, x->abort ? outcome_of_abort(x->abort) : outcome_of_status(p->status));
}

const struct terminal_ops proxy_terminal = {
    .name = "proxy", .start = start, .retry = retry, .refuses = refuses, .on_deadline = on_deadline, .finish = finish,
};
