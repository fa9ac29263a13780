#include "dataplane/codec/h1/server.h"

#include <sys/socket.h>

#include "common/alloc.h"
#include "dataplane/codec/h1/server_private.h"
#include "dataplane/codec/h1/upgrade.h"
#include "dataplane/http/message.h"

enum { PIPELINE_MAX = 64 << 10, LINGER_PAUSE_US = 2000000 };
enum { REQUESTS_PER_TURN = 32 }; /* of a pipelined burst; others have their turn before the next ones */

/* An idle connection costs this and nothing else (docs/performance.md); an allocator takes steps of 16 and 8 for itself. */
_Static_assert(sizeof(struct h1_server) <= 488, "the next step of an allocator");

static const struct conn_ops server_conn_ops;

static void close_now(struct h1_server *s) {
    conn_close(&s->conn);
}

/* Where the end of the connection would be the end of what is sent, a response or a tunnel that is cut short ends with a
 * reset. */
void h1_server_cut(struct h1_server *s) {
    const struct h1_message *m = s->message;
    enum h1_framing framing = m && m->is_writing ? m->writer.framing : H1_BODY_NONE;
    if (framing == H1_BODY_UNTIL_CLOSE || framing == H1_BODY_TUNNEL)
        conn_reset(&s->conn);
    else
        close_now(s);
}

/* The connection is of no more use: the exchange is told, and everything ends. */
void h1_server_give_up(struct h1_server *s, enum abort_code code) {
    if (s->leg.exchange)
        exchange_on_abort(&s->leg, code);
    h1_server_cut(s);
}

/* ---- an exchange begins and ends ---- */

static struct h1_limits limits_of(const struct h1_server *s) {
    const struct limits *l = &s->definition->settings->limits;
    return (struct h1_limits){l->header_bytes, l->headers, l->uri_bytes, l->trailer_bytes};
}

/* The definition in force. One that was looked at in an earlier turn may be gone: nothing may be read from it but within an
 * exchange, which holds its snapshot. */
static void renew_definition(struct h1_server *s) {
    const struct listener_definition *d = s->membership.listener->definition;
    if (s->definition == d)
        return;
    s->definition = d;
    s->conn.write_timeout = d->timeouts.write;
    s->conn.min_rate = d->settings->limits.min_body_rate;
}

static bool begin_exchange(struct h1_server *s) {
    const struct exchange_origin origin = {.listener = s->definition, .view = s->membership.listener->view,
                                           .peer = {s->peer, s->peer_n}, .tls = s->conn.tls, .version = VERSION_11};
    struct exchange *x = exchange_open(s->conn.worker, &s->leg, &origin);
    s->message = x ? arena_calloc(exchange_arena(x), 1, sizeof *s->message) : NULL;
    if (x && !s->message)
        exchange_on_abort(&s->leg, ABORT_MEMORY);
    if (s->message)
        s->message->limits = limits_of(s);
    return s->message != NULL;
}

/* ---- deadlines ---- */

void h1_server_await_request(struct h1_server *s) {
    const struct timeouts *t = &s->definition->timeouts;
    bool is_first = s->requests == 0;
    uint64_t wait = is_first ? t->header : t->idle;
    conn_set_deadline(&s->conn, DEADLINE_READ, 0);
    conn_set_deadline(&s->conn, DEADLINE_IDLE, wait ? s->conn.worker->now + wait : 0);
}

static void await_head(struct h1_server *s) {
    uint64_t wait = s->definition->timeouts.header;
    if (s->conn.deadlines[DEADLINE_READ] || !wait)
        return; /* absolute: it does not move with the bytes */
    conn_set_deadline(&s->conn, DEADLINE_IDLE, 0);
    conn_set_deadline(&s->conn, DEADLINE_READ, s->conn.worker->now + wait);
}

void h1_server_await_body(struct h1_server *s) {
    uint64_t wait = s->leg.exchange ? exchange_timeouts(s->leg.exchange)->body : 0;
    bool is_waiting = s->state == INPUT_BODY && exchange_credit(&s->leg) > 0;
    conn_set_deadline(&s->conn, DEADLINE_READ, is_waiting && wait ? s->conn.worker->now + wait : 0);
}

/* The body does not come: it is read no more, and the connection ends with the answer. */
static void refuse_slow(struct h1_server *s, const char *detail) {
    s->state = INPUT_STOPPED;
    s->keep_alive = false;
    exchange_refuse(&s->leg, ABORT_CLIENT_BODY_TIMEOUT, detail);
}

static void on_deadline(struct conn *c, enum conn_deadline which) {
    struct h1_server *s = (struct h1_server *)c;
    struct stats *stats = c->worker->stats;
    if (which == DEADLINE_WRITE) {
        h1_server_give_up(s, ABORT_CLIENT_WRITE_TIMEOUT);
    } else if (s->state == INPUT_BODY && s->leg.exchange) {
        refuse_slow(s, NULL);
    } else if (s->state == INPUT_HEAD && s->input.n && !h1_scan_is_idle(&s->scan, s->input.n)) {
        stats_add(&stats->client_header_timeouts_total, 1);
        s->state = INPUT_STOPPED;
        renew_definition(s);
        if (begin_exchange(s))
            exchange_refuse(&s->leg, ABORT_CLIENT_HEAD_TIMEOUT, NULL);
        else
            close_now(s);
    } else {
        if (s->state == INPUT_HEAD)
            stats_add(&stats->client_idle_timeouts_total, 1);
        h1_server_give_up(s, ABORT_CLIENT_HEAD_TIMEOUT);
    }
}

/* ---- request ---- */

static void refuse(struct h1_server *s, enum h1_error error) {
    s->state = INPUT_STOPPED;
    s->keep_alive = false;
    exchange_refuse(&s->leg, h1_error_abort(error), h1_error_word(error));
}

/* An answer without an exchange, when there is no memory for one. */
static void refuse_bare(struct h1_server *s) {
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    s->state = INPUT_STOPPED;
    s->close_after = true;
    if (slice_queue_copy(&s->conn.out, &s->conn.worker->pool, text, sizeof text - 1) < 0)
        close_now(s);
    else
        conn_mark_dirty(&s->conn);
}

static void begin_body(struct h1_server *s, struct head *head) {
    struct exchange *x = s->leg.exchange;
    enum h1_framing framing = h1_request_framing(head);
    uint64_t length = framing == H1_BODY_LENGTH ? (uint64_t)head->content_length : 0;
    struct h1_message *m = s->message;
    m->expects = head->expect_continue && framing != H1_BODY_NONE;
    s->state = framing == H1_BODY_NONE ? INPUT_DONE : INPUT_BODY;
    m->body_began = s->conn.worker->now;
    if (h1_body_reader_init(&m->reader, framing, length, &m->limits, exchange_arena(x)) < 0) {
        refuse(s, H1_MEMORY);
        return;
    }
    h1_upgrade_read(head, framing != H1_BODY_NONE, &m->websocket_key);
    exchange_on_head(&s->leg, head, framing == H1_BODY_NONE);
    if (exchange_is_tunnel(s->leg.exchange)) {
        m->reader.framing = H1_BODY_TUNNEL;
        s->state = INPUT_TUNNEL;
    }
}

/* On a port where HTTP/2 is spoken too, a client that begins with something else than HTTP may have meant that: an answer of
 * HTTP/1.1 would be noise to it (RFC 9113 section 3.4). */
static bool is_no_http(const struct h1_server *s, const uint8_t *bytes, size_t n) {
    const uint8_t *end = memchr(bytes, '\r', n);
    return s->requests == 1 && s->membership.listener->opening->http2 && end &&
           !memmem(bytes, (size_t)(end - bytes), " HTTP/", 6);
}

static void begin_request(struct h1_server *s, const uint8_t *bytes, size_t n, bool is_guess) {
    struct exchange *x = s->leg.exchange;
    struct head *head = arena_alloc(exchange_arena(x), sizeof *head);
    char *copy = arena_memdup(exchange_arena(x), bytes, n);
    if (!head || !copy) {
        refuse(s, H1_MEMORY);
        return;
    }
    enum h1_error error = h1_parse_request(exchange_arena(x), copy, n, &s->message->limits, head);
    x->log_method = head->method_text;
    x->log_target = head->target;
    s->message->is_head_request = head->method == METHOD_HEAD;
    s->message->is_old = head->version == VERSION_10;
    x->log_version = s->message->is_old ? 10 : 11;
    s->message->is_connect = head->method == METHOD_CONNECT;
    s->keep_alive = head->keep_alive && !s->message->is_connect; /* after a refusal: bytes for the tunnel may follow */
    bool is_malformed = error && is_guess && h1_judge_guess(H1_REQUEST, &s->message->limits, (const char *)bytes, n, &error);
    if (error && !is_malformed && is_no_http(s, bytes, n))
        h1_server_give_up(s, ABORT_CLIENT_PROTOCOL);
    else if (error)
        refuse(s, error);
    else
        begin_body(s, head);
}

/* Returns how many bytes were taken: none while the head is incomplete. */
static size_t read_head(struct h1_server *s, const uint8_t *bytes, size_t n) {
    renew_definition(s); /* the old one may have gone since the last byte came */
    struct h1_limits limits = limits_of(s);
    size_t guess = s->scan.looked ? 0 : h1_guess_head(&limits, (const char *)bytes, n);
    enum h1_scan_result result = guess ? H1_SCAN_DONE : h1_scan_head(&s->scan, &limits, (const char *)bytes, n);
    if (result == H1_SCAN_MORE) {
        if (!h1_scan_is_idle(&s->scan, n))
            await_head(s);
        return 0;
    }
    enum h1_error error = s->scan.error;
    size_t start = s->scan.start, end = guess ? guess : s->scan.end;
    s->scan = (struct h1_scan){.section = H1_REQUEST};
    s->requests++;
    s->burst++;
    conn_set_deadline(&s->conn, DEADLINE_IDLE, 0);
    conn_set_deadline(&s->conn, DEADLINE_READ, 0);
    if (!begin_exchange(s)) {
        refuse_bare(s);
        return n;
    }
    if (result == H1_SCAN_ERROR) {
        refuse(s, error);
        return n;
    }
    begin_request(s, bytes + start, end - start, guess > 0);
    return end;
}

static bool is_too_slow(const struct h1_server *s) {
    return exchange_body_is_slow(s->leg.exchange, s->message->reader.bytes, s->message->body_began);
}

static size_t read_body(struct h1_server *s, const uint8_t *bytes, size_t n, bool is_hot) {
    size_t used;
    enum h1_error error;
    switch (h1_body_read(&s->message->reader, &s->leg, s->conn.worker, bytes, n, is_hot, &used, &error)) {
    case H1_READ_MORE:
        if (s->leg.exchange && s->state == INPUT_BODY && is_too_slow(s))
            refuse_slow(s, "rate");
        break;
    case H1_READ_END: s->state = INPUT_DONE; break;
    case H1_READ_ERROR: refuse(s, error); return n;
    case H1_READ_GONE:
        h1_server_cut(s);
        s->message = NULL;
        s->state = INPUT_STOPPED;
        return n;
    }
    h1_server_await_body(s);
    return used;
}

/* Requests that are answered here need no event between them: without a bound a client that sends many at once would have
 * the worker for itself. */
static bool is_turn_over(struct h1_server *s) {
    struct worker *w = s->conn.worker;
    if (s->burst_turn != (uint32_t)w->turn) {
        s->burst_turn = (uint32_t)w->turn;
        s->burst = 0;
    }
    s->is_put_off = s->burst >= REQUESTS_PER_TURN;
    if (s->is_put_off)
        worker_put_off(w, &s->conn.flushable); /* on_written looks again */
    return s->is_put_off;
}

/* Takes what can be taken now. */
static size_t process(struct h1_server *s, const uint8_t *bytes, size_t n, bool is_hot) {
    size_t done = 0, used = 1;
    s->in_process = true;
    s->is_put_off = false;
    while (used && done < n && !s->conn.is_closed) {
        if (s->state == INPUT_HEAD && is_turn_over(s))
            used = 0;
        else if (s->state == INPUT_HEAD)
            used = read_head(s, bytes + done, n - done);
        else if (s->state == INPUT_BODY || s->state == INPUT_TUNNEL)
            used = read_body(s, bytes + done, n - done, is_hot);
        else if (s->state == INPUT_DONE)
            used = 0;
        else
            used = n - done; /* stopped or lingering: dropped */
        done += used;
    }
    s->in_process = false;
    return done;
}

/* Dropping bytes that nobody wants: the client may be one that writes all of its request before it reads. */
void h1_server_await_close(struct h1_server *s) {
    if (s->state == INPUT_LINGER)
        conn_set_deadline(&s->conn, DEADLINE_READ, s->conn.worker->now + LINGER_PAUSE_US);
}

static void take_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    struct h1_server *s = (struct h1_server *)c;
    if (s->state == INPUT_LINGER || s->state == INPUT_STOPPED) {
        h1_server_await_close(s);
        return;
    }
    if (s->input.n) {
        if (h1_input_add(&s->input, bytes, n) < 0)
            h1_server_give_up(s, ABORT_MEMORY);
        else
            h1_server_process_kept(s);
        return;
    }
    size_t done = process(s, bytes, n, true);
    if (!c->is_closed && done < n && h1_input_add(&s->input, bytes + done, n - done) < 0)
        h1_server_give_up(s, ABORT_MEMORY);
}

static void on_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    take_bytes(c, bytes, n);
    conn_set_held(c, ((struct h1_server *)c)->input.n);
}

/* The client has ended its side of the tunnel; before the origin has agreed that means that it does not want it any more.
 * Without TLS's close_notify the end may be anybody's doing. */
static void end_tunnel(struct h1_server *s) {
    if (s->leg.exchange->tunnel != TUNNEL_OPEN || s->conn.is_truncated) {
        h1_server_give_up(s, ABORT_CLIENT_GONE);
        return;
    }
    s->state = INPUT_DONE;
    exchange_on_end(&s->leg, NULL);
    if (s->leg.exchange)
        return;
    s->message = NULL;
    s->close_after = true;
    conn_mark_dirty(&s->conn);
}

/* What was kept is tried again: more has come, credit has come, or the connection is free for the next request. */
void h1_server_process_kept(struct h1_server *s) {
    if (s->in_process || s->conn.is_closed || s->input.n == 0)
        return;
    size_t done = process(s, (const uint8_t *)s->input.p, s->input.n, false);
    if (done)
        h1_input_drop(&s->input, done);
    conn_set_held(&s->conn, s->input.n);
    bool took_all = s->input.n == 0 || exchange_credit(&s->leg) > 0;
    if (s->conn.is_eof && s->state == INPUT_BODY && took_all)
        h1_server_give_up(s, ABORT_CLIENT_GONE);
    if (s->conn.is_eof && s->state == INPUT_TUNNEL && s->input.n == 0)
        end_tunnel(s);
}

static size_t read_limit(struct conn *c) {
    struct h1_server *s = (struct h1_server *)c;
    switch (s->state) {
    case INPUT_HEAD: return s->is_put_off ? 0 : READ_MAX;
    case INPUT_TUNNEL:
    case INPUT_BODY: return s->input.n >= PIPELINE_MAX || exchange_credit(&s->leg) == 0 ? 0 : READ_MAX;
    case INPUT_DONE: return s->input.n >= PIPELINE_MAX ? 0 : 16384;
    case INPUT_STOPPED:
    case INPUT_LINGER: return READ_MAX;
    }
    return 0;
}

/* The client will send no more. What it has sent is still answered, also the requests that wait behind the present one. */
static void on_eof(struct conn *c) {
    struct h1_server *s = (struct h1_server *)c;
    if ((s->state == INPUT_BODY || s->state == INPUT_TUNNEL) && s->input.n)
        return; /* what is kept may complete it: process_kept looks again */
    if (s->state == INPUT_TUNNEL) {
        end_tunnel(s);
        return;
    }
    if (s->state == INPUT_BODY)
        h1_server_give_up(s, ABORT_CLIENT_GONE);
    else if (!s->leg.exchange && !conn_has_unsent(c) && !c->flushable.is_dirty)
        close_now(s); /* idle, or in the middle of a head */
    else if (s->input.n == 0)
        s->close_after = true;
}

static void on_error(struct conn *c, int error) {
    (void)error;
    h1_server_give_up((struct h1_server *)c, ABORT_CLIENT_GONE);
}

/* ---- life ---- */

static void destroy(struct conn *c) {
    struct h1_server *s = (struct h1_server *)c;
    h1_input_finish(&s->input);
    listener_remove(&s->membership);
    hg_free(s);
}

static const struct conn_ops server_conn_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_error,
    .on_dirty = h1_server_on_dirty, .produce = h1_server_produce, .on_written = h1_server_on_written,
    .on_deadline = on_deadline, .destroy = destroy, .is_client = true,
};

/* Between two requests, with nothing of the next one here yet. */
static bool is_idle(const struct h1_server *s) {
    return s->state == INPUT_HEAD && s->requests && s->input.n == 0 && !conn_has_unsent(&s->conn) &&
           !conn_has_input(&s->conn);
}

/* One that waits for its first request is not idle: the client may be about to send it. */
static void on_close_wanted(struct listener_connection *m, bool only_idle) {
    struct h1_server *s = (struct h1_server *)((char *)m - offsetof(struct h1_server, membership));
    if (!only_idle)
        h1_server_give_up(s, ABORT_SHUTDOWN);
    else if (is_idle(s))
        close_now(s);
}

struct conn *h1_server_accept(struct listener_runtime *l, const struct accepted *a) {
    struct h1_server *s = hg_calloc(1, sizeof *s);
    char text[ADDRESS_TEXT_MAX];
    if (!s)
        return NULL;
    conn_init(&s->conn, l->worker, a->transport, &server_conn_ops);
    s->membership.close = on_close_wanted;
    listener_add(l, &s->membership, a->cap_slot);
    s->leg.ops = &h1_server_leg_ops;
    s->scan.section = H1_REQUEST;
    size_t n = address_format_host(&a->peer, text);
    n = n < sizeof s->peer ? n : sizeof s->peer - 1;
    memcpy(s->peer, text, n);
    s->peer_n = (uint8_t)n;
    renew_definition(s);
    h1_server_await_request(s);
    conn_want_read(&s->conn);
    return &s->conn;
}
