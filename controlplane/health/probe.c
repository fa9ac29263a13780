#include "controlplane/health/probe.h"

#include <stdio.h>

#include "common/alloc.h"
#include "controlplane/health/http1.h"
#include "controlplane/health/http2.h"
#include "controlplane/health/wire.h"

enum place { IDLE, CONNECTING, HANDSHAKE, EXCHANGE, ENDED };
enum { READS_MAX = 8 };                 /* of one event; the rest waits for the next turn */

/* One check under way. */
struct exchange {
    struct probe_target target;
    struct answer       answer;
    struct http1_reader http1;
    struct strbuf       out;
    size_t              sent;           /* of out */
    bool                has_input;      /* the peer has said something */
    enum probe_end      end;            /* once ENDED */
    bool                is_reusable;
    char                reason[REASON_MAX];
};

struct probe {
    ev_io             io;
    struct probes    *all;
    void             *owner;
    struct transport *transport;        /* how the connection was made; NULL: there is none */
    struct http2     *http2;
    struct exchange  *exchange;         /* NULL: none under way */
    struct wire       wire;
    enum place        place;
    bool              was_kept;         /* the connection is older than the check */
};

/* ---- connection ---- */

static void watch(struct probe *p, int events) {
    if (ev_is_active(&p->io) && (p->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(p->all->loop, &p->io);
    ev_io_set(&p->io, p->wire.fd, events);
    ev_io_start(p->all->loop, &p->io);
}

static void close_wire(struct probe *p) {
    ev_io_stop(p->all->loop, &p->io);
    if (p->wire.fd >= 0)
        p->all->open--;
    wire_close(&p->wire);
    http2_destroy(p->http2);
    p->http2 = NULL;
    transport_unref(p->transport);
    p->transport = NULL;
}

/* The end is told from the loop, so that whoever called may go on with the probe. */
static void finish(struct probe *p, enum probe_end end, const char *reason) {
    struct exchange *x = p->exchange;
    p->place = ENDED;
    x->end = end;
    if (reason && reason != x->reason)
        snprintf(x->reason, sizeof x->reason, "%s", reason);
    if (!x->is_reusable || end == PROBE_NOT_MADE)
        close_wire(p);
    ev_feed_event(p->all->loop, &p->io, EV_CUSTOM);
}

static void not_made(struct probe *p) {
    p->exchange->is_reusable = false;
    finish(p, PROBE_NOT_MADE, "no memory");
}

static void open_wire(struct probe *p);

/* The connection is gone. A kept one may have been closed by the peer while the request was on its way: that says nothing
 * about the endpoint, a new connection does. */
static void on_gone(struct probe *p, const char *reason) {
    struct exchange *x = p->exchange;
    bool is_fresh = !p->was_kept || (x->has_input && !(p->http2 && http2_is_unprocessed(p->http2)));
    if (is_fresh) {
        finish(p, PROBE_UNWELL, reason);
        return;
    }
    close_wire(p);
    open_wire(p);
}

static void on_wire(struct probe *p, enum wire_status status) {
    if (status == WIRE_NOT_MADE)
        finish(p, PROBE_NOT_MADE, p->exchange->reason[0] ? NULL : "no memory");
    else
        on_gone(p, NULL);
}

/* ---- the request ---- */

static int start_http2(struct probe *p) {
    struct exchange *x = p->exchange;
    const struct check_plan *plan = x->target.plan;
    const Headgate__HttpCheck *http = plan->kind == PLAN_HTTP ? plan->check->http : NULL;
    const struct http2_request request = {
        .method = http ? http->method : "POST",
        .scheme = p->transport->context ? "https" : "http",
        .authority = check_plan_host(plan, x->target.hostname),
        .path = http ? http->path : "/grpc.health.v1.Health/Check",
        .user_agent = check_plan_user_agent(plan),
        .fields = http ? http->headers : NULL,
        .field_count = http ? http->n_headers : 0,
        .is_grpc = !http,
        .body = http ? (struct str){NULL, 0} : strbuf_str(&plan->grpc),
    };
    if (!p->http2)
        p->http2 = http2_create();
    return p->http2 ? http2_request(p->http2, &request, &x->answer) : -1;
}

static int start_http1(struct exchange *x) {
    const struct check_plan *plan = x->target.plan;
    strbuf_add_str(&x->out, strbuf_str(&plan->head));
    strbuf_puts(&x->out, check_plan_host(plan, x->target.hostname));
    strbuf_add_str(&x->out, strbuf_str(&plan->tail));
    return 0;
}

static int start_tcp(struct exchange *x) {
    const ProtobufCBinaryData *send = &x->target.plan->check->tcp->send;
    if (send->len)
        strbuf_add(&x->out, send->data, send->len);
    return 0;
}

/* Moves what HTTP/2 has to say into `out`, once that is empty: what a peer makes us say and does not read waits in nghttp2,
 * which takes no more of it than it should. */
static void collect_output(struct probe *p) {
    struct exchange *x = p->exchange;
    struct str piece;
    if (x->out.failed || x->sent < x->out.n) /* emptying the buffer would forget that it has failed */
        return;
    strbuf_reset(&x->out);
    x->sent = 0;
    while (p->http2 && (piece = http2_output(p->http2)).n > 0)
        strbuf_add_str(&x->out, piece);
}

/* Whether there is something to send. */
static bool has_output(struct probe *p) {
    collect_output(p);
    return p->exchange->sent < p->exchange->out.n;
}

static bool has_memory(const struct probe *p) {
    return !p->exchange->out.failed && (!p->http2 || http2_fault(p->http2));
}

/* False when the check has ended. */
static bool flush(struct probe *p) {
    struct exchange *x = p->exchange;
    while (has_output(p) && has_memory(p)) {
        size_t n = 0;
        enum wire_status status = wire_write(&p->wire, x->out.p + x->sent, x->out.n - x->sent, &n, x->reason);
        x->sent += n;
        if (status == WIRE_WANTS_READ || status == WIRE_WANTS_WRITE) {
            watch(p, status == WIRE_WANTS_WRITE ? EV_READ | EV_WRITE : EV_READ);
            return true;
        }
        if (status != WIRE_OK) {
            on_wire(p, status);
            return false;
        }
    }
    if (!has_memory(p)) {
        not_made(p);
        return false;
    }
    watch(p, EV_READ);
    return true;
}

static bool is_sent(const struct exchange *x) {
    return x->sent == x->out.n;
}

/* A check that only connects, or only sends, ends here. */
static void on_sent(struct probe *p) {
    struct exchange *x = p->exchange;
    const struct check_plan *plan = x->target.plan;
    if (plan->kind == PLAN_TCP && plan->check->tcp->expect.len == 0 && is_sent(x))
        finish(p, PROBE_WELL, NULL);
}

static void start_exchange(struct probe *p) {
    struct exchange *x = p->exchange;
    enum check_plan_kind kind = x->target.plan->kind;
    p->place = EXCHANGE;
    if (kind == PLAN_TLS) {
        finish(p, PROBE_WELL, NULL);
        return;
    }
    strbuf_reset(&x->out);
    x->sent = 0;
    int status = kind == PLAN_TCP ? start_tcp(x) : p->transport->is_http2 ? start_http2(p) : start_http1(x);
    if (status < 0)
        not_made(p);
    else if (flush(p))
        on_sent(p);
}

/* ---- connecting ---- */

static void handshake(struct probe *p) {
    struct exchange *x = p->exchange;
    const char *name = check_plan_tls_name(x->target.plan, x->target.hostname);
    p->place = HANDSHAKE;
    enum wire_status status = wire_handshake(&p->wire, p->transport, name, x->reason);
    if (status == WIRE_OK)
        start_exchange(p);
    else if (status == WIRE_WANTS_READ || status == WIRE_WANTS_WRITE)
        watch(p, status == WIRE_WANTS_READ ? EV_READ : EV_WRITE);
    else
        on_wire(p, status);
}

static void on_connected(struct probe *p) {
    enum wire_status status = wire_connected(&p->wire, p->exchange->reason);
    if (status != WIRE_OK)
        on_wire(p, status);
    else if (p->transport->context)
        handshake(p);
    else
        start_exchange(p);
}

static int find_address(const struct probe_target *target, struct address *ret) {
    uint16_t port = htons(target->transport->port);
    if (address_parse(str_of(target->address), ret) < 0)
        return -1;
    if (port && ret->u.any.sa_family == AF_INET)
        ret->u.v4.sin_port = port;
    if (port && ret->u.any.sa_family == AF_INET6)
        ret->u.v6.sin6_port = port;
    return 0;
}

static void open_wire(struct probe *p) {
    struct exchange *x = p->exchange;
    struct address to;
    p->place = CONNECTING;
    p->was_kept = false;
    if (find_address(&x->target, &to) < 0) {
        finish(p, PROBE_NOT_MADE, "not an address");
        return;
    }
    enum wire_status status = wire_open(&p->wire, &to, x->reason);
    if (status == WIRE_FAILED || status == WIRE_NOT_MADE) {
        finish(p, status == WIRE_FAILED ? PROBE_UNWELL : PROBE_NOT_MADE, NULL);
        return;
    }
    p->all->open++;
    p->all->connects++;
    p->transport = transport_ref(x->target.transport);
    ev_io_set(&p->io, p->wire.fd, EV_WRITE);
    if (status == WIRE_OK)
        ev_feed_event(p->all->loop, &p->io, EV_WRITE);
    else
        watch(p, EV_WRITE);
}

/* ---- the answer ---- */

static void judge(struct probe *p, bool is_reusable) {
    struct exchange *x = p->exchange;
    bool is_wanted = answer_is_wanted(&x->answer, x->reason);
    x->is_reusable = is_reusable;
    if (x->answer.has_no_memory)
        not_made(p);
    else
        finish(p, is_wanted ? PROBE_WELL : PROBE_UNWELL, NULL);
}

static void on_http1(struct probe *p, enum http1_status status) {
    struct http1_reader *r = &p->exchange->http1;
    if (status == HTTP1_DONE)
        judge(p, r->is_reusable && is_sent(p->exchange));
    else if (status == HTTP1_FAILED && !r->fault)
        not_made(p);
    else if (status == HTTP1_FAILED)
        on_gone(p, r->fault);
}

static void on_http2(struct probe *p, enum http2_status status) {
    if (status == HTTP2_DONE)
        judge(p, http2_is_reusable(p->http2) && is_sent(p->exchange));
    else if (status == HTTP2_MORE && flush(p) && http2_is_broken(p->http2))
        on_gone(p, "not an answer of HTTP/2");
    else if (status == HTTP2_MORE)
        return;
    else if (http2_fault(p->http2))
        on_gone(p, http2_fault(p->http2));
    else
        not_made(p);
}

static void on_tcp(struct probe *p, size_t n) {
    struct exchange *x = p->exchange;
    const ProtobufCBinaryData *wanted = &x->target.plan->check->tcp->expect;
    size_t before = x->answer.body.n, from = before > wanted->len ? before - wanted->len : 0;
    if (!answer_body(&x->answer, p->all->room, n)) {
        not_made(p);
        return;
    }
    if (memmem(x->answer.body.p + from, x->answer.body.n - from, wanted->data, wanted->len))
        finish(p, PROBE_WELL, NULL);
    else if (x->answer.body_size > ANSWER_BODY_MAX)
        finish(p, PROBE_UNWELL, "the first 64 KiB are not what was expected");
}

static void on_bytes(struct probe *p, size_t n) {
    struct exchange *x = p->exchange;
    x->has_input = true;
    if (x->target.plan->kind == PLAN_TCP)
        on_tcp(p, n);
    else if (p->http2)
        on_http2(p, http2_input(p->http2, p->all->room, n));
    else
        on_http1(p, http1_read(&x->http1, (const char *)p->all->room, n));
}

static void on_closed(struct probe *p) {
    struct exchange *x = p->exchange;
    if (x->target.plan->kind == PLAN_TCP)
        on_gone(p, x->has_input ? "closed before what was expected" : "closed without an answer");
    else if (p->http2)
        on_http2(p, http2_input(p->http2, NULL, 0));
    else
        on_http1(p, http1_end(&x->http1));
}

static void read_answer(struct probe *p) {
    struct exchange *x = p->exchange;
    for (int i = 0; i < READS_MAX && p->place == EXCHANGE; i++) {
        size_t n = 0;
        enum wire_status status = wire_read(&p->wire, p->all->room, PROBE_ROOM, &n, x->reason);
        if (status == WIRE_WANTS_READ || status == WIRE_WANTS_WRITE)
            return;
        if (status == WIRE_OK)
            on_bytes(p, n);
        else if (status == WIRE_CLOSED)
            on_closed(p);
        else
            on_wire(p, status);
        if (!p->wire.ssl && n < PROBE_ROOM)
            return; /* level-triggered: what comes next is told */
    }
    if (p->place == EXCHANGE && p->wire.ssl)
        ev_feed_event(p->all->loop, &p->io, EV_READ); /* OpenSSL may hold bytes that epoll does not know of */
}

/* ---- between checks ---- */

/* Sends what HTTP/2 answers by itself. False: it cannot. */
static bool flush_idle(struct probe *p) {
    struct str piece;
    while ((piece = http2_output(p->http2)).n > 0) {
        char ignored[REASON_MAX];
        size_t n = 0;
        if (wire_write(&p->wire, piece.p, piece.n, &n, ignored) != WIRE_OK || n < piece.n)
            return false;
    }
    return true;
}

/* Bytes that belong to no check are HTTP/2's own, or TLS's; anything else, and an end, ends the connection. */
static void read_idle(struct probe *p) {
    char ignored[REASON_MAX];
    size_t n = 0;
    enum wire_status status = wire_read(&p->wire, p->all->room, PROBE_ROOM, &n, ignored);
    if (status == WIRE_WANTS_READ || status == WIRE_WANTS_WRITE)
        return;
    if (status == WIRE_OK && p->http2 && http2_input(p->http2, p->all->room, n) == HTTP2_DONE && flush_idle(p) &&
        http2_is_reusable(p->http2))
        return;
    p->all->closed(p->all, p->owner);
}

static void free_exchange(struct probe *p) {
    struct exchange *x = p->exchange;
    if (!x)
        return;
    answer_finish(&x->answer);
    http1_finish(&x->http1);
    strbuf_finish(&x->out);
    hg_free(x);
    p->exchange = NULL;
}

static void on_ended(struct probe *p) {
    struct exchange *x = p->exchange;
    enum probe_end end = x ? x->end : PROBE_NOT_MADE;
    char reason[REASON_MAX];
    snprintf(reason, sizeof reason, "%s", x ? x->reason : "no memory");
    if (p->http2)
        http2_forget(p->http2);
    if (p->http2 && !(flush_idle(p) && http2_is_reusable(p->http2)))
        close_wire(p);
    free_exchange(p);
    p->place = IDLE;
    p->all->ended(p->all, p->owner, end, p->wire.fd >= 0, reason);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events) {
    struct probe *p = io->data;
    (void)loop;
    switch (p->place) {
    case IDLE: read_idle(p); break;
    case CONNECTING: on_connected(p); break;
    case HANDSHAKE: handshake(p); break;
    case EXCHANGE:
        if ((events & EV_WRITE) && flush(p))
            on_sent(p);
        if ((events & EV_READ) && p->place == EXCHANGE)
            read_answer(p);
        break;
    case ENDED:
        if (events & EV_CUSTOM)
            on_ended(p);
        break;
    }
}

/* ---- what the owner calls ---- */

struct probe *probe_create(struct probes *all, void *owner) {
    struct probe *p = hg_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->all = all;
    p->owner = owner;
    p->wire.fd = -1;
    ev_io_init(&p->io, on_io, -1, EV_READ);
    p->io.data = p;
    return p;
}

void probe_destroy(struct probe *p) {
    if (!p)
        return;
    close_wire(p);
    free_exchange(p);
    hg_free(p);
}

void probe_check(struct probe *p, const struct probe_target *target) {
    struct exchange *x = hg_calloc(1, sizeof *x);
    p->exchange = x;
    if (!x) {
        p->place = ENDED;
        ev_feed_event(p->all->loop, &p->io, EV_CUSTOM);
        return;
    }
    const Headgate__HealthCheck *check = target->plan->check;
    bool is_http = target->plan->kind == PLAN_HTTP, is_kept = is_http || target->plan->kind == PLAN_GRPC;
    x->target = *target;
    answer_init(&x->answer, is_http ? check->http : NULL);
    http1_init(&x->http1, &x->answer, is_http && strcmp(check->http->method, "HEAD") == 0);
    p->was_kept = is_kept && p->wire.fd >= 0 && p->transport == target->transport;
    if (p->was_kept) {
        p->all->reused++;
        start_exchange(p);
        return;
    }
    close_wire(p);
    open_wire(p);
}

const char *probe_waits_for(const struct probe *p) {
    return p->place == CONNECTING ? "connection" : p->place == HANDSHAKE ? "TLS handshake" : "answer";
}
