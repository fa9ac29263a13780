/* stream.c — one stream: the leg of an exchange, what comes of a body, deadlines. session.h */
#include "dataplane/codec/h3/session.h"

enum { LINGER_US = 250000 };               /* for the rest of a request that has been answered */

/* ---- lists */

static struct h3_stream **bucket_of(struct h3_session *s, int64_t id) {
    return &s->buckets[(uint64_t)id / 4 % H3_BUCKETS];
}

struct h3_stream *h3_stream_find(struct h3_session *s, int64_t id) {
    struct h3_stream *stream = *bucket_of(s, id);
    while (stream && stream->id != id)
        stream = stream->next_in_bucket;
    return stream;
}

void h3_stream_set_id(struct h3_stream *s, int64_t id) {
    struct h3_stream **bucket = bucket_of(s->session, id);
    s->id = id;
    s->next_in_bucket = *bucket;
    *bucket = s;
}

static void leave_bucket(struct h3_stream *s) {
    struct h3_stream **at = bucket_of(s->session, s->id);
    while (*at != s)
        at = &(*at)->next_in_bucket;
    *at = s->next_in_bucket;
}

static void forget_pending(struct h3_stream *s) {
    struct h3_session *session = s->session;
    struct h3_stream *before = NULL, *at = session->pending;
    for (; at && at != s; at = at->next_pending)
        before = at;
    if (!at)
        return;
    *(before ? &before->next_pending : &session->pending) = s->next_pending;
    if (session->last_pending == s)
        session->last_pending = before;
    s->is_pending = false;
}

static void reap(struct reapable *r) {
    struct h3_stream *s = (struct h3_stream *)((char *)r - offsetof(struct h3_stream, reapable));
    free_lists_free(&s->worker->free_lists, s);
}

/* ---- deadlines */

static void set_body_deadline(struct h3_stream *s, uint64_t when) {
    s->body_deadline = when;
    worker_hasten_timer(s->worker, &s->timer, when);
}

void h3_stream_await_head(struct h3_stream *s, uint64_t timeout) {
    set_body_deadline(s, timeout ? s->worker->now + timeout : 0);
}

void h3_stream_await_body(struct h3_stream *s) {
    bool is_waiting = s->leg.exchange && s->has_head && !s->received_end && !s->is_stopped &&
                      !s->is_waiting_for_handshake && !exchange_is_tunnel(s->leg.exchange) && exchange_credit(&s->leg) > 0;
    const struct timeouts *t = is_waiting ? exchange_timeouts(s->leg.exchange) : NULL;
    uint64_t wait = !t ? 0 : s->session->role->is_server ? t->body : t->response_body;
    set_body_deadline(s, wait ? s->worker->now + wait : 0);
}

void h3_stream_await_window(struct h3_stream *s, bool on) {
    uint64_t wait = s->session->write_timeout;
    s->write_deadline = on && wait ? s->worker->now + wait : 0;
    worker_hasten_timer(s->worker, &s->timer, s->write_deadline);
}

static void give_up_writing(struct h3_stream *s) {
    h3_stream_break(s, s->session->role->write_timeout, H3_REQUEST_CANCELLED);
}

/* The peer gives no window, or no stream; not, that others of its streams go first. */
static bool is_stalled(const struct h3_stream *s) {
    const struct h3_session *session = s->session;
    if (s->id < 0)
        return true;
    bool is_shut = quic_window_left(session->user.conn) == 0;
    return s->is_blocked || (is_shut && session->sent_at + session->write_timeout <= s->worker->now);
}

static void on_write_deadline(struct h3_stream *s) {
    s->write_deadline = 0;
    if (is_stalled(s))
        give_up_writing(s);
    else if (s->out.unsent)
        h3_stream_await_window(s, true);
}

/* The answer is out and the rest of the request does not come (RFC 9114 section 4.1), or cannot be read. */
static void stop_request(struct h3_stream *s) {
    h3_stream_forget_sections(s);
    if (s->is_closed)
        return;
    s->is_held = false; /* nobody waits for it to be read any more */
    s->received_end = true;
    if (s->is_gone)
        h3_stream_end(s, s->session->role->gone);
    else
        quic_stop_sending(s->session->user.conn, s->id, H3_NO_ERROR);
}

static void on_timer(struct timer *t) {
    struct h3_stream *s = (struct h3_stream *)((char *)t - offsetof(struct h3_stream, timer));
    uint64_t now = s->worker->now;
    if (s->write_deadline && s->write_deadline <= now)
        on_write_deadline(s);
    if (!s->is_closed && s->body_deadline && s->body_deadline <= now) {
        s->body_deadline = 0;
        if (s->ends && s->has_head && s->session->role->is_server)
            stop_request(s);
        else
            s->session->role->on_body_deadline(s);
    }
    if (s->is_closed)
        return;
    worker_hasten_timer(s->worker, &s->timer, s->body_deadline);
    worker_hasten_timer(s->worker, &s->timer, s->write_deadline);
}

/* n bytes go. True: ever since the window was full for the first time, with more to send, the peer has opened it too
 * slowly. */
static bool is_taken_too_slowly(struct h3_stream *s, size_t n) {
    const struct h3_session *session = s->session;
    struct pace *b = &s->block;
    if (!b->since)
        return false;
    b->bytes += n;
    return pace_is_slow(b->bytes, s->worker->now - b->since, session->min_rate, session->write_timeout);
}

void h3_stream_note_sent(struct h3_stream *s, size_t n) {
    if (n == 0)
        return;
    s->session->sent_at = s->worker->now;
    h3_stream_await_window(s, s->out.unsent > 0);
    if (is_taken_too_slowly(s, n))
        give_up_writing(s);
}

/* ---- life */

/* The transport says that more is allowed when it is more than a quarter of the first window. */
static uint32_t least_grant(const struct h3_session *session) {
    return session->first_window / 4 + 1;
}

struct h3_stream *h3_stream_create(struct h3_session *session, int64_t id) {
    struct h3_stream *s = free_lists_alloc(&session->worker->free_lists, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct h3_stream){.leg = {.ops = session->role->leg_ops, .least_grant = least_grant(session)},
                            .reapable.reap = reap, .timer.fire = on_timer, .worker = session->worker, .session = session,
                            .id = -1, .next = session->streams, .to_receive = -1, .to_send = -1,
                            .urgency = PRIORITY_DEFAULT_URGENCY, .asked = PRIORITY_UNSTATED, .answered = PRIORITY_UNSTATED};
    if (s->next)
        s->next->prev = s;
    session->streams = s;
    if (++session->stream_count == 1)
        quic_set_keep_alive(session->user.conn, session->keep_alive);
    if (id >= 0)
        h3_stream_set_id(s, id);
    return s;
}

void h3_stream_close(struct h3_stream *s) {
    struct h3_session *session = s->session;
    struct slice_pool *pool = &s->worker->pool;
    s->is_closed = true;
    s->head = NULL;
    h3_stream_unready(s);
    if (s->is_pending)
        forget_pending(s);
    if (session->reading == s)
        session->reading = NULL;
    if (s->id >= 0)
        leave_bucket(s);
    *(s->prev ? &s->prev->next : &session->streams) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    if (--session->stream_count == 0)
        quic_set_keep_alive(session->user.conn, 0);
    session->header_bytes -= s->header_bytes;
    h3_stream_park(s, 0);
    quic_consume_connection(session->user.conn, s->kept.bytes); /* which nobody will read */
    h3_session_hold(session, s->out.queue.bytes + s->kept.bytes, 0);
    h3_out_clear(&s->out, pool);
    slice_queue_clear(&s->kept, pool);
    wheel_remove(&s->worker->wheel, &s->timer);
    worker_reap_later(s->worker, &s->reapable);
    h3_stream_forget_sections(s); /* may end the session, and with it the streams that are in its list */
}

void h3_stream_end(struct h3_stream *s, enum abort_code abort) {
    if (s->leg.exchange)
        exchange_on_abort(&s->leg, abort);
    h3_stream_close(s);
    s->session->role->on_closed(s);
}

void h3_stream_reset(struct h3_stream *s, uint64_t code) {
    struct h3_session *session = s->session;
    s->head = NULL;
    if (s->id < 0 || s->is_gone) {
        h3_stream_close(s);
        session->role->on_closed(s);
        return;
    }
    h3_stream_unready(s);
    h3_stream_forget_sections(s);
    s->is_stopped = s->is_reset = true;
    s->body_deadline = s->write_deadline = 0;
    quic_shutdown_stream(session->user.conn, s->id, code);
    quic_mark_dirty(session->user.conn);
}

void h3_stream_break(struct h3_stream *s, enum abort_code abort, uint64_t code) {
    if (s->leg.exchange)
        exchange_on_abort(&s->leg, abort);
    if (!s->is_closed)
        h3_stream_reset(s, code);
}

void h3_stream_refuse(struct h3_stream *s, const char *detail) {
    struct h3_session *session = s->session;
    if (s->leg.exchange)
        s->leg.exchange->detail = detail;
    h3_stream_break(s, session->role->malformed, H3_MESSAGE_ERROR);
    h3_session_fail(session, h3_spend_reset(&session->costs, H3_FAULT_RESETS_CAUSED, s->worker->now));
}

/* ---- bodies that come */

/* The bytes are the transport's: they go to where reading puts those of sockets, and so have to move only when the sink does
 * not take them in this turn. */
static struct slice *keep(struct slice_pool *pool, const uint8_t *bytes, size_t n) {
    struct slice_queue q = {0};
    if (pool->hot_used + n + 64 <= HOT_SIZE) { /* reading rounds up */
        uint8_t *room = pool->hot + pool->hot_used;
        memcpy(room, bytes, n);
        slice_pool_read_done(pool, n);
        return slice_borrow(pool, room, n);
    }
    uint8_t *room = slice_pool_room(pool, n);
    if (!room)
        return NULL;
    memcpy(room, bytes, n);
    return slice_queue_take(&q, pool, n) < 0 ? NULL : slice_queue_pop(&q);
}

static void deliver(struct h3_stream *s, const uint8_t *bytes, size_t n) {
    while (n && s->leg.exchange) {
        size_t part = n < BLOCK_SIZE ? n : BLOCK_SIZE;
        struct slice *slice = keep(&s->worker->pool, bytes, part);
        if (!slice) {
            h3_stream_break(s, ABORT_MEMORY, H3_INTERNAL_ERROR);
            return;
        }
        exchange_on_body(&s->leg, slice);
        bytes += part;
        n -= part;
    }
}

static bool comes_too_slowly(const struct h3_stream *s) {
    return s->session->role->is_server && exchange_body_is_slow(s->leg.exchange, s->received, s->began);
}

void h3_stream_receive_content(struct h3_stream *s, const uint8_t *bytes, size_t n) {
    if (s->to_receive >= 0 && (uint64_t)s->to_receive < n) {
        h3_stream_refuse(s, "longer-than-content-length");
        return;
    }
    if (s->to_receive >= 0)
        s->to_receive -= (int64_t)n;
    if (!s->leg.exchange || s->is_stopped)
        return; /* nobody wants it, and no window is given back for it */
    if (exchange_credit(&s->leg) < n) { /* a request's flow was dropped meanwhile */
        if (!s->session->role->is_server)
            h3_stream_refuse(s, "beyond-window");
        return;
    }
    s->received += n;
    deliver(s, bytes, n);
    if (!s->leg.exchange)
        return;
    if (comes_too_slowly(s))
        s->session->role->on_body_deadline(s);
    else
        h3_stream_await_body(s);
}

void h3_stream_receive_end(struct h3_stream *s) {
    s->received_end = true;
    if (s->to_receive > 0) {
        h3_stream_refuse(s, "shorter-than-content-length");
        return;
    }
    if (!s->leg.exchange || s->is_stopped)
        return;
    h3_stream_await_body(s);
    exchange_on_end(&s->leg, s->trailers);
    if (!s->leg.exchange && !s->ends && !s->session->role->is_server)
        quic_reset_stream(s->session->user.conn, s->id, H3_NO_ERROR); /* the rest of the request is of no use */
    if (!s->leg.exchange && s->sent_end && s->session->role->on_done)
        s->session->role->on_done(s);
}

/* ---- bodies that go */

/* Our half has ended. What is left of the other half is of no use to anybody. Often it is on its way already: then the
 * stream ends without STOP_SENDING. */
void h3_stream_finish_sending(struct h3_stream *s) {
    struct slice *slice;
    if (!s->session->role->is_server)
        return;
    if (s->leg.exchange && s->head_ends && exchange_pull(&s->leg, H3_CHUNK, &slice) == PULL_DATA)
        slice_free(&s->worker->pool, slice);
    if (s->leg.exchange && s->head_ends)
        exchange_on_abort(&s->leg, ABORT_INTERNAL);
    if (s->received_end || exchange_is_tunnel(s->leg.exchange))
        return;
    s->is_stopped = true;
    set_body_deadline(s, s->worker->now + LINGER_US);
}

/* ---- from the core */

void h3_stream_send_later(struct h3_stream *s) {
    struct h3_session *session = s->session;
    if (s->id >= 0) {
        h3_stream_make_ready(s);
    } else if (!s->is_pending) {
        s->is_pending = true;
        *(session->last_pending ? &session->last_pending->next_pending : &session->pending) = s;
        session->last_pending = s;
    }
    quic_mark_dirty(session->user.conn);
}

void h3_stream_grant(struct leg *leg, size_t n) {
    struct h3_stream *s = h3_stream_of(leg);
    if (s->received_end || s->is_stopped || n == 0)
        return;
    quic_consume_stream(s->session->user.conn, s->id, n);
    quic_mark_dirty(s->session->user.conn);
    h3_stream_await_body(s);
}

void h3_stream_stop(struct leg *leg) {
    struct h3_stream *s = h3_stream_of(leg);
    s->is_stopped = true;
    h3_stream_await_body(s);
    if (s->ends && !s->received_end && s->session->role->is_server) /* a tunnel that has ended the other way */
        stop_request(s);
}

void h3_stream_abort(struct leg *leg, enum abort_code code) {
    h3_stream_reset(h3_stream_of(leg), abort_meaning(code)->h3_code);
}
