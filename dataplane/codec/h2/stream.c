/* stream.c — one stream: the leg of an exchange, its bodies both ways, its windows and its deadlines. session.h */
#include "dataplane/codec/h2/session.h"

enum {
    FRAME_SLICES = 4,                      /* small slices are packed into one DATA frame */
    FRAME_ROOM = 9 + 16384 + 64,
    LINGER_US = 250000,                    /* for the rest of a request that has been answered */
    PADDING_MAX = 2048,                    /* that is owed to the peer's window */
    REST_US = 1000000,                     /* without a stream, until the connection gives memory back */
};

/* ---- lists ---- */

static void reap(struct reapable *r) {
    struct h2_stream *s = (struct h2_stream *)((char *)r - offsetof(struct h2_stream, reapable));
    free_lists_free(&s->worker->free_lists, s);
}

/* ---- deadlines ---- */

static void set_body_deadline(struct h2_stream *s, uint64_t when) {
    s->body_deadline = when;
    worker_hasten_timer(s->worker, &s->timer, when);
}

static void set_write_deadline(struct h2_stream *s, bool on) {
    const struct conn *c = &s->session->conn;
    s->write_deadline = on && c->write_timeout ? c->worker->now + c->write_timeout : 0;
    worker_hasten_timer(s->worker, &s->timer, s->write_deadline);
}

void h2_stream_await_body(struct h2_stream *s) {
    bool is_waiting = s->leg.exchange && s->has_head && !s->received_end && !s->is_stopped &&
                      !exchange_is_tunnel(s->leg.exchange) && exchange_credit(&s->leg) > 0;
    bool is_server = s->session->role->is_server;
    const struct timeouts *t = is_waiting ? exchange_timeouts(s->leg.exchange) : NULL;
    uint64_t wait = !t ? 0 : is_server ? t->body : t->response_body;
    set_body_deadline(s, wait ? s->worker->now + wait : 0);
}

static void give_up_writing(struct h2_stream *s) {
    if (s->leg.exchange)
        exchange_on_abort(&s->leg, s->session->role->write_timeout);
    h2_stream_reset(s, NGHTTP2_CANCEL);
}

/* The peer gives no window; not, that others of its streams go first. */
static bool is_stalled(const struct h2_stream *s) {
    const struct h2_session *session = s->session;
    if (nghttp2_session_get_stream_remote_window_size(session->library, s->id) <= 0)
        return true;
    return nghttp2_session_get_remote_window_size(session->library) <= 0 &&
           session->data_at + session->conn.write_timeout <= session->conn.worker->now;
}

static void on_write_deadline(struct h2_stream *s) {
    s->write_deadline = 0;
    if (is_stalled(s))
        give_up_writing(s);
    else
        set_write_deadline(s, true);
}

static void on_timer(struct timer *t) {
    struct h2_stream *s = (struct h2_stream *)((char *)t - offsetof(struct h2_stream, timer));
    uint64_t now = s->session->conn.worker->now;
    if (s->write_deadline && s->write_deadline <= now)
        on_write_deadline(s);
    if (s->body_deadline && s->body_deadline <= now) {
        s->body_deadline = 0;
        if (s->sent_end && s->session->role->is_server)
            h2_stream_reset(s, NGHTTP2_NO_ERROR);
        else
            s->session->role->on_body_deadline(s);
    }
    if (s->is_closed)
        return;
    worker_hasten_timer(s->worker, &s->timer, s->body_deadline);
    worker_hasten_timer(s->worker, &s->timer, s->write_deadline);
}

void h2_stream_await_window(struct h2_stream *s) {
    set_write_deadline(s, true);
}

/* n bytes go, and the window that is left behind them is `left`. True: the peer opens it too slowly. */
static bool note_window(struct pace *b, const struct conn *c, int32_t left, size_t n) {
    if (left > 0) {
        b->since = 0;
        return false;
    }
    if (!b->since)
        *b = (struct pace){.since = c->worker->now};
    b->bytes += n;
    return pace_is_slow(b->bytes, c->worker->now - b->since, c->min_rate, c->write_timeout);
}

/* A frame of n bytes is made, and there is more to send. */
static void note_progress(struct h2_stream *s, size_t n) {
    struct h2_session *session = s->session;
    int32_t left = nghttp2_session_get_stream_remote_window_size(session->library, s->id) - (int32_t)n;
    int32_t left_of_all = nghttp2_session_get_remote_window_size(session->library) - (int32_t)n;
    set_write_deadline(s, true);
    bool is_slow = note_window(&session->block, &session->conn, left_of_all, n);
    if (note_window(&s->block, &session->conn, left, n) || is_slow)
        give_up_writing(s);
}

/* ---- life ---- */

struct h2_stream *h2_stream_create(struct h2_session *session, int32_t id) {
    struct h2_stream *s = free_lists_alloc(&session->conn.worker->free_lists, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct h2_stream){.leg.ops = session->role->leg_ops, .reapable.reap = reap, .timer.fire = on_timer,
                            .worker = session->conn.worker, .session = session, .id = id, .next = session->streams,
                            .to_receive = -1, .to_send = -1,
                            .asked = PRIORITY_UNSTATED, .answered = PRIORITY_UNSTATED};
    if (s->next)
        s->next->prev = s;
    session->streams = s;
    session->stream_count++;
    return s;
}

static void forget_pending(struct h2_stream *s) {
    struct h2_session *session = s->session;
    struct h2_stream *before = NULL, *at = session->pending;
    for (; at && at != s; at = at->next_pending)
        before = at;
    if (!at)
        return;
    *(before ? &before->next_pending : &session->pending) = s->next_pending;
    if (session->last_pending == s)
        session->last_pending = before;
    s->is_pending = false;
}

void h2_stream_close(struct h2_stream *s) {
    struct h2_session *session = s->session;
    s->is_closed = true;
    s->head = NULL;
    if (s->is_pending)
        forget_pending(s);
    if (session->reading == s)
        session->reading = NULL;
    if (session->leaving == s)
        session->leaving = NULL;
    *(s->prev ? &s->prev->next : &session->streams) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    if (--session->stream_count == 0)
        worker_set_timer(s->worker, &session->rest_timer, s->worker->now + REST_US);
    session->header_bytes -= s->header_bytes;
    slice_queue_clear(&s->frame, &session->conn.worker->pool);
    wheel_remove(&session->conn.worker->wheel, &s->timer);
    worker_reap_later(session->conn.worker, &s->reapable);
}

void h2_stream_abandon(struct h2_stream *s) {
    nghttp2_session_set_stream_user_data(s->session->library, s->id, NULL);
    h2_stream_close(s);
}

void h2_stream_reset(struct h2_stream *s, uint32_t code) {
    struct h2_session *session = s->session;
    s->head = NULL;
    if (s->id == 0) {
        h2_stream_close(s);
        session->role->on_closed(s);
        return;
    }
    s->is_stopped = true;
    h2_session_check(session, nghttp2_submit_rst_stream(session->library, NGHTTP2_FLAG_NONE, s->id, code));
    conn_mark_dirty(&session->conn);
}

void h2_stream_refuse(struct h2_stream *s, const char *detail) {
    s->is_malformed = true;
    if (s->leg.exchange) {
        s->leg.exchange->detail = detail;
        exchange_on_abort(&s->leg, s->session->role->malformed);
    }
    h2_stream_reset(s, NGHTTP2_PROTOCOL_ERROR);
}

/* ---- bodies that come ---- */

static void deliver(struct h2_stream *s, const uint8_t *bytes, size_t n) {
    struct slice *slice = slice_borrow(&s->session->conn.worker->pool, bytes, n);
    if (slice) {
        exchange_on_body(&s->leg, slice);
        return;
    }
    exchange_on_abort(&s->leg, ABORT_MEMORY);
    h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR);
}

static bool comes_too_slowly(const struct h2_stream *s) {
    return s->session->role->is_server && exchange_body_is_slow(s->leg.exchange, s->received, s->began);
}

void h2_stream_receive(struct h2_stream *s, const uint8_t *bytes, size_t n) {
    if (!s->has_head) {
        h2_stream_refuse(s, "data-before-head");
        return;
    }
    if (s->to_receive >= 0 && (uint64_t)s->to_receive < n) {
        h2_stream_refuse(s, "longer-than-content-length");
        return;
    }
    if (s->to_receive >= 0)
        s->to_receive -= (int64_t)n;
    if (!s->leg.exchange || s->is_stopped)
        return; /* nobody wants it, and no window is given back for it */
    if (exchange_credit(&s->leg) < n) { /* a request's flow was dropped meanwhile */
        if (!s->session->role->is_server)
            h2_stream_refuse(s, "beyond-window");
        return;
    }
    s->received += n;
    deliver(s, bytes, n);
    if (s->leg.exchange && comes_too_slowly(s))
        s->session->role->on_body_deadline(s);
    else
        h2_stream_await_body(s);
}

void h2_stream_receive_end(struct h2_stream *s) {
    s->received_end = true;
    if (s->to_receive > 0) {
        h2_stream_refuse(s, "shorter-than-content-length");
        return;
    }
    if (!s->leg.exchange || s->is_stopped)
        return;
    h2_stream_await_body(s);
    exchange_on_end(&s->leg, s->trailers);
    if (!s->leg.exchange && !s->sent_end && !s->session->role->is_server)
        h2_stream_reset(s, NGHTTP2_NO_ERROR); /* the rest of the request is of no use */
}

/* ---- bodies that go ---- */

bool h2_gather_has_room(struct gather *g) {
    return g->bytes < UNSENT_MAX && g->count + 2 * FRAME_SLICES + 2 <= GATHER_PIECES && gather_room(g, FRAME_ROOM);
}

/* A frame of n bytes goes, and behind it the peer must open a window first. */
static bool is_cut_by_window(const struct h2_stream *s, size_t n) {
    nghttp2_session *library = s->session->library;
    return nghttp2_session_get_remote_window_size(library) <= (int32_t)n ||
           nghttp2_session_get_stream_remote_window_size(library, s->id) <= (int32_t)n;
}

/* PULL_ABORT, too: it is more than was announced. */
static enum pull pull_slice(struct h2_stream *s, size_t room, struct slice **ret, struct fields **ret_trailers) {
    *ret_trailers = exchange_trailers(&s->leg);
    enum pull result = exchange_pull(&s->leg, room, ret);
    if (result != PULL_DATA)
        return result;
    bool is_too_long = s->has_no_body || (s->to_send >= 0 && (uint64_t)s->to_send < (*ret)->n);
    if (is_too_long) {
        slice_free(&s->worker->pool, *ret);
        return PULL_ABORT;
    }
    if (s->to_send >= 0)
        s->to_send -= (int64_t)(*ret)->n;
    return PULL_DATA;
}

/* A byte that stays until the next frame is made, perhaps for long: it is copied. */
static enum pull pull_byte(struct h2_stream *s, struct fields **ret_trailers) {
    struct slice_pool *pool = &s->worker->pool;
    struct slice_queue copy = {0}; /* a slice of its own, whatever is before it */
    struct slice *slice;
    enum pull result = pull_slice(s, 1, &slice, ret_trailers);
    if (result != PULL_DATA)
        return result;
    uint8_t *room = slice_pool_room(pool, 1);
    if (room)
        *room = *slice->p;
    slice_free(pool, slice);
    if (!room || slice_queue_take(&copy, pool, 1) < 0) {
        exchange_on_abort(&s->leg, ABORT_MEMORY);
        return PULL_ABORT;
    }
    slice_queue_push(&s->frame, slice_queue_pop(&copy));
    return PULL_DATA;
}

/* Pulls what fits into one frame; and a byte behind it, which goes with the next one, where the end is due or the peer has
 * to open a window first: there may be nothing to wait for. Returns what the last pull said; *ret_trailers is what there was
 * before it. */
static enum pull fill_frame(struct h2_stream *s, size_t most, struct fields **ret_trailers) {
    enum pull result = PULL_DATA;
    for (int i = s->frame.bytes > 0; i < FRAME_SLICES && s->frame.bytes < most; i++) {
        struct slice *slice;
        result = pull_slice(s, most - s->frame.bytes, &slice, ret_trailers);
        if (result != PULL_DATA)
            return result;
        slice_queue_push(&s->frame, slice);
    }
    bool is_full = s->frame.bytes == most;
    return is_full && (s->to_send == 0 || is_cut_by_window(s, most)) ? pull_byte(s, ret_trailers) : result;
}

static void send_trailers(struct h2_stream *s, const struct fields *trailers, uint32_t *flags) {
    enum { ON_STACK = 32 };
    struct field_pair few[ON_STACK], *nv = few;
    struct free_lists *lists = &s->session->conn.worker->free_lists;
    if (trailers->count > ON_STACK)
        nv = free_lists_alloc(lists, trailers->count * sizeof *nv);
    size_t n = nv ? section_write_trailers(trailers, nv) : 0;
    int status = n ? nghttp2_submit_trailer(s->session->library, s->id, h2_pairs(nv), n) : 0;
    h2_session_check(s->session, status);
    if (n && status == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (nv != few)
        free_lists_free(lists, nv);
}

/* What was promised does not come: the peer must see that the message is cut. */
static ssize_t break_off(struct h2_stream *s) {
    slice_queue_clear(&s->frame, &s->session->conn.worker->pool);
    if (s->leg.exchange)
        exchange_on_abort(&s->leg, s->session->role->is_server ? ABORT_ORIGIN_PROTOCOL : ABORT_CLIENT_PROTOCOL);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the library resets the stream */
}

static ssize_t defer(struct h2_stream *s, bool wants_room) {
    s->is_deferred = true;
    s->wants_room = wants_room;
    set_write_deadline(s, wants_room);
    return NGHTTP2_ERR_DEFERRED;
}

ssize_t h2_stream_read_data(nghttp2_session *library, int32_t id, uint8_t *buffer, size_t length, uint32_t *flags,
                            nghttp2_data_source *source, void *user) {
    struct h2_stream *s = source->ptr;
    size_t most = length < H2_PAYLOAD_MAX ? length : H2_PAYLOAD_MAX;
    struct fields *trailers = NULL;
    (void)library;
    (void)id;
    (void)buffer;
    (void)user;
    s->is_deferred = s->wants_room = false;
    if (!s->leg.exchange)
        return defer(s, false); /* it is being reset */
    enum pull result = fill_frame(s, most, &trailers);
    size_t n = s->frame.bytes < most ? s->frame.bytes : most;
    bool is_short = result == PULL_END && s->to_send > 0 && !s->has_no_body;
    if (result == PULL_ABORT || is_short)
        return break_off(s);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (result == PULL_END) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        set_write_deadline(s, false);
        if (trailers && trailers->count)
            send_trailers(s, trailers, flags);
    } else if (n == 0) {
        return defer(s, result == PULL_ROOM);
    } else if (result == PULL_WAIT) {
        set_write_deadline(s, false);
    } else {
        note_progress(s, n);
    }
    return (ssize_t)n;
}

static void note_sent(struct h2_stream *s, const nghttp2_frame_hd *frame) {
    struct h2_session *session = s->session;
    bool end = frame->flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->length) {
        session->data_at = session->conn.worker->now;
        if (end || frame->length >= H2_DRIBBLE || !is_cut_by_window(s, frame->length))
            h2_frames_sent(&session->frames, H2_SENT_CONTENT);
    }
    if (end)
        h2_stream_finish_sending(s);
}

int h2_stream_send_data(nghttp2_session *library, nghttp2_frame *frame, const uint8_t *head, size_t length,
                        nghttp2_data_source *source, void *user) {
    struct h2_session *session = user;
    struct h2_stream *s = source->ptr;
    size_t left = frame->hd.length;
    (void)library;
    (void)length;
    bool fits = gather_bytes(session->gather, head, 9);
    while (fits && left) {
        struct slice *slice = slice_queue_pop(&s->frame);
        left -= slice->n;
        if (!(fits = gather_slice(session->gather, slice)))
            slice_free(&session->conn.worker->pool, slice);
    }
    if (!fits) /* room was looked for before the frame was begun */
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    note_sent(s, &frame->hd);
    session->is_paused = session->is_single || !h2_gather_has_room(session->gather);
    return session->is_paused ? NGHTTP2_ERR_PAUSE : 0;
}

/* Our half of the stream has ended. What is left of the other half is of no use to anybody (RFC 9113 section 8.1). Often it
 * is on its way already: then the stream ends without a reset. */
void h2_stream_finish_sending(struct h2_stream *s) {
    struct slice *slice;
    s->sent_end = true;
    if (!s->session->role->is_server)
        return;
    if (s->leg.exchange && s->head_ends && exchange_pull(&s->leg, H2_PAYLOAD_MAX, &slice) == PULL_DATA)
        slice_free(&s->session->conn.worker->pool, slice);
    if (s->leg.exchange && s->head_ends)
        exchange_on_abort(&s->leg, ABORT_INTERNAL);
    if (s->received_end || exchange_is_tunnel(s->leg.exchange))
        return;
    s->is_stopped = true;
    set_body_deadline(s, s->worker->now + LINGER_US);
}

/* ---- from the core ---- */

void h2_stream_send_later(struct h2_stream *s) {
    struct h2_session *session = s->session;
    if (!s->is_pending) {
        s->is_pending = true;
        *(session->last_pending ? &session->last_pending->next_pending : &session->pending) = s;
        session->last_pending = s;
    }
    conn_mark_dirty(&session->conn);
}

/* While a window is shut the library does not ask at all, so the time begins here. */
void h2_stream_want_pull(struct leg *leg) {
    struct h2_stream *s = h2_stream_of(leg);
    if (!s->is_deferred) { /* the library asks by itself */
        if (s->sent_head && !s->sent_end && !s->write_deadline)
            set_write_deadline(s, true);
        return;
    }
    s->is_deferred = s->wants_room = false;
    set_write_deadline(s, true);
    h2_session_check(s->session, nghttp2_session_resume_data(s->session->library, s->id));
    conn_mark_dirty(&s->session->conn);
}

void h2_stream_resume(struct h2_stream *s) {
    if (s->wants_room)
        h2_stream_want_pull(&s->leg);
}

/* Padding is no credit, but the peer's window paid for it. */
void h2_stream_grant(struct leg *leg, size_t n) {
    struct h2_stream *s = h2_stream_of(leg);
    size_t more = n + s->padding;
    if (s->received_end || s->is_stopped || (n == 0 && s->padding < PADDING_MAX))
        return;
    s->padding = 0;
    h2_session_check(s->session, nghttp2_submit_window_update(s->session->library, NGHTTP2_FLAG_NONE, s->id, (int32_t)more));
    conn_mark_dirty(&s->session->conn);
    h2_stream_await_body(s);
}

void h2_stream_stop(struct leg *leg) {
    struct h2_stream *s = h2_stream_of(leg);
    s->is_stopped = true;
    h2_stream_await_body(s);
    if (s->sent_end && !s->received_end && s->session->role->is_server) /* a tunnel that has ended the other way */
        h2_stream_reset(s, NGHTTP2_NO_ERROR);
}

void h2_stream_abort(struct leg *leg, enum abort_code code) {
    h2_stream_reset(h2_stream_of(leg), abort_meaning(code)->h2_code);
}
