/* attempt.c — one request to one endpoint: from the choice of a connection to the end. */
#include <errno.h>
#include <stdio.h>

#include "dataplane/back/proxy_private.h"
#include "dataplane/net/conn.h"
#include "dataplane/net/proxy_protocol.h"

static enum lack go_on_with(struct attempt *a);

void proxy_note_endpoint(struct exchange *x, const struct endpoint_runtime *e) {
    if (x->worker->access_log || x->listener->log_service_count) /* nobody else asks */
        x->endpoint = arena_str(&x->arena, str_of(e->text));
}

void proxy_set_try_deadline(struct exchange *x, const struct attempt *a) {
    uint64_t per_try = x->route->retry.per_try_timeout;
    exchange_set_attempt_deadline(x, per_try ? a->began + per_try : 0);
}

static void stop_pending(struct attempt *a) {
    if (a->is_pending)
        breakers_give(&proxy_of(a->exchange)->cluster->shared->pending);
    a->is_pending = false;
}

static void stop(struct attempt *a, enum endpoint_outcome outcome) {
    struct endpoint_runtime *e = a->endpoint;
    pool_forget_waiter(&a->waiter);
    stop_pending(a);
    if (!a->is_under_way)
        return;
    a->is_under_way = false;
    if (a->is_bounded)
        breakers_give(&e->shared->requests);
    if (a->is_open)
        endpoint_left(e, outcome);
    else
        endpoint_ended(e, outcome, a->head_latency);
}

void attempt_end(struct attempt *a, enum endpoint_outcome outcome) {
    if (a->is_under_way)
        pending_wake(a->endpoint->cluster);
    stop(a, outcome);
}

void attempt_opened(struct attempt *a) {
    a->is_open = true;
    endpoint_opened(a->endpoint, a->head_latency);
}

enum lack attempt_begin(struct attempt *a, struct endpoint_runtime *e) {
    struct exchange *x = a->exchange;
    struct proxy *p = proxy_of(x);
    uint32_t bound = p->cluster->breakers.endpoint_requests;
    pick_note_tried(&p->pick, e);
    if (bound && !breakers_take(&e->shared->requests, bound))
        return LACK_ENDPOINT_REQUESTS;
    a->endpoint = e;
    a->is_under_way = true;
    a->is_bounded = bound != 0;
    a->status = 0;
    a->began = x->worker->now;
    a->head_latency = 0;
    endpoint_began(e);
    x->attempts++;
    if (a == p->current) {
        proxy_note_endpoint(x, e);
        proxy_set_try_deadline(x, a); /* connecting counts */
    }
    enum lack lack = go_on_with(a);
    if (lack == LACK_NOTHING)
        return lack;
    x->attempts--;
    if (a == p->current)
        exchange_set_attempt_deadline(x, 0);
    stop(a, ENDPOINT_CANCELLED);
    return lack;
}

enum endpoint_outcome outcome_of_status(unsigned status) {
    if (status == 502 || status == 503 || status == 504)
        return ENDPOINT_GATEWAY_FAILURE;
    return status >= 500 ? ENDPOINT_5XX : ENDPOINT_SUCCESS;
}

/* A kept connection that turned out to be closed, or a refused stream, says nothing of the endpoint's health. */
enum endpoint_outcome outcome_of_abort(enum abort_code code) {
    switch (code) {
    case ABORT_CONNECT_FAILED: return ENDPOINT_CONNECT_FAILURE;
    case ABORT_ORIGIN_RESET:
    case ABORT_ORIGIN_STREAM_RESET:
    case ABORT_ORIGIN_PROTOCOL:
    case ABORT_ORIGIN_TOO_LARGE: return ENDPOINT_RESET;
    case ABORT_CONNECT_TIMEOUT:
    case ABORT_ORIGIN_TIMEOUT:
    case ABORT_ORIGIN_BODY_TIMEOUT: return ENDPOINT_TIMEOUT;
    default: return ENDPOINT_CANCELLED;
    }
}

static void fail_or_retry(struct exchange *x, enum abort_code code) {
    if (!retry_after_abort(x, code))
        exchange_fail(x, code);
}

static void attempt_failed(struct attempt *a, enum abort_code code) {
    struct exchange *x = a->exchange;
    if (a == proxy_of(x)->hedge)
        hedge_failed(x, code);
    else
        fail_or_retry(x, code);
}

/* Host is the endpoint's own name where the rule says so: an overlay, since another attempt has another endpoint. */
static struct head *overlay_head(struct exchange *x, const struct endpoint_runtime *e) {
    struct head *head = arena_memdup(&x->arena, x->request.head, sizeof *head);
    struct str host = arena_str(&x->arena, e->hostname.n ? e->hostname : str_of(e->text));
    if (!head || !host.p)
        return NULL;
    head->authority = host;
    return head;
}

static void use(struct attempt *a, struct client_connection *c) {
    struct exchange *x = a->exchange;
    struct head *head = route_host_from_endpoint(x->route) ? overlay_head(x, a->endpoint) : x->request.head;
    struct leg *leg = head ? pool_open(c) : NULL;
    if (!leg) {
        attempt_failed(a, ABORT_MEMORY);
    } else if (a == proxy_of(x)->hedge) {
        hedge_send(x, leg, head);
    } else {
        x->attempt_head = head;
        exchange_attach_back(x, leg);
    }
}

static struct attempt *attempt_of(struct client_waiter *w) {
    return (struct attempt *)((char *)w - offsetof(struct attempt, waiter));
}

/* An exchange that has been answered with an error meanwhile has no use for the connection. */
static void ready(struct client_waiter *w, struct client_connection *c) {
    struct attempt *a = attempt_of(w);
    stop_pending(a);
    if (a->exchange->abort == ABORT_NONE)
        use(a, c);
}

/* Too many waited for the connection, or its endpoint is gone and with it perhaps what to connect by. */
static void go_elsewhere(struct attempt *a) {
    struct exchange *x = a->exchange;
    struct proxy *p = proxy_of(x);
    bool is_gone = endpoint_is_gone(a->endpoint);
    if (!is_gone && go_on_with(a) == LACK_NOTHING)
        return;
    if (a == p->hedge) {
        hedge_failed(x, ABORT_NO_ROOM);
    } else if (p->hedge) {
        attempt_end(a, ENDPOINT_CANCELLED);
        hedge_take_over(x);
    } else {
        if (!is_gone)
            x->attempts--; /* as when there is no room in the first place */
        proxy_attempt(x);
    }
}

static enum abort_code meaning_of(int error) {
    if (pool_error_is_ours(error))
        return ABORT_MEMORY;
    return error == ETIMEDOUT ? ABORT_CONNECT_TIMEOUT : ABORT_CONNECT_FAILED;
}

static void failed(struct client_waiter *w, int error) {
    struct attempt *a = attempt_of(w);
    stop_pending(a);
    if (a->exchange->abort != ABORT_NONE)
        return;
    if (error == EAGAIN)
        go_elsewhere(a);
    else
        attempt_failed(a, meaning_of(error));
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

static int connect_to(struct attempt *a) {
    struct exchange *x = a->exchange;
    struct endpoint_runtime *e = a->endpoint;
    int version = e->cluster->options.proxy_version;
    bool is_connect = x->request.head->method == METHOD_CONNECT;
    uint8_t room[PROXY_WRITTEN_MAX];
    uint64_t timeout = exchange_timeouts(x)->connect;
    if (!version && !is_connect)
        return pool_wait(e, timeout, &a->waiter);
    struct str preamble = {(const char *)room, version ? write_proxy_header(x, version, room) : 0};
    return pool_wait_single(e, timeout, is_connect ? proxy_of(x)->cluster->tunnel_codec : e->cluster->codec, preamble,
                            &a->waiter);
}

static enum lack connect_or_lack(struct attempt *a) {
    const struct cluster_definition *d = proxy_of(a->exchange)->cluster;
    if (!breakers_take(&d->shared->pending, d->breakers.pending))
        return LACK_PENDING;
    a->is_pending = true;
    if (connect_to(a) == 0)
        return LACK_NOTHING;
    int error = errno;
    stop_pending(a);
    if (error == EUSERS || error == EDQUOT)
        return error == EUSERS ? LACK_CONNECTIONS : LACK_ENDPOINT_CONNECTIONS;
    attempt_failed(a, meaning_of(error));
    return LACK_NOTHING;
}

static enum lack go_on_with(struct attempt *a) {
    struct exchange *x = a->exchange;
    bool may_be_kept = proxy_of(x)->unprocessed_left && x->request.head->method != METHOD_CONNECT;
    struct client_connection *kept = may_be_kept ? pool_find(a->endpoint) : NULL;
    a->was_kept = kept && kept->active == 0;
    if (!kept)
        return connect_or_lack(a);
    use(a, kept);
    return LACK_NOTHING;
}

void attempt_init(void) {
    static const struct pool_waiter_ops ops = {.ready = ready, .failed = failed};
    pool_set_waiter_ops(&ops);
}
