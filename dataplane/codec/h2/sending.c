/* sending.c — what a session writes: heads in order, each with its small body, then what the library chooses. session.h */
#include "dataplane/codec/h2/session.h"

enum { SMALL_BODY = 1024 };

static bool take(struct h2_session *s, const uint8_t *bytes, size_t n) {
    if (bytes[3] == NGHTTP2_HEADERS || bytes[3] == NGHTTP2_CONTINUATION)
        s->in_section = !(bytes[4] & NGHTTP2_FLAG_END_HEADERS);
    return gather_bytes(s->gather, bytes, n);
}

/* One frame, or a run of DATA. False: there is nothing more, or no room for it. */
static bool send_next(struct h2_session *s) {
    const uint8_t *bytes;
    if (s->is_failed || !h2_gather_has_room(s->gather))
        return false;
    s->is_paused = false;
    ssize_t n = nghttp2_session_mem_send(s->library, &bytes);
    if (n < 0 || s->is_short)
        h2_session_check(s, n < 0 ? (int)n : 0);
    return n > 0 ? take(s, bytes, (size_t)n) : s->is_paused;
}

/* Control frames stand before heads. */
static bool send_control(struct h2_session *s) {
    while (s->in_section || nghttp2_session_get_outbound_queue_size(s->library))
        if (!send_next(s))
            return false;
    return true;
}

static struct h2_stream *next_pending(struct h2_session *s) {
    struct h2_stream *stream = s->pending;
    s->pending = stream->next_pending;
    if (!s->pending)
        s->last_pending = NULL;
    stream->next_pending = NULL;
    stream->is_pending = false;
    return stream;
}

static void submit(struct h2_session *s, struct h2_stream *stream) {
    const nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = h2_stream_read_data};
    s->leaving = stream;
    int status = s->role->submit(stream, stream->head_ends ? NULL : &provider);
    if (status == 0)
        return;
    s->leaving = NULL;
    if (stream->leg.exchange)
        exchange_on_abort(&stream->leg, ABORT_MEMORY);
    h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    h2_session_check(s, status);
}

/* A small body goes behind its head at once, or another frame of DATA that is more urgent: the library's queue of streams
 * stays short, and most responses are done with before any timer knows of them. */
static void send_head(struct h2_session *s, struct h2_stream *stream) {
    submit(s, stream);
    while (stream->head && send_next(s))
        ;
    s->is_single = true;
    if (!stream->head && stream->to_send > 0 && stream->to_send < SMALL_BODY)
        send_next(s);
    s->is_single = false;
    if (!stream->is_closed && !stream->is_stopped && !stream->sent_end && !stream->is_deferred && !stream->head_ends)
        h2_stream_await_window(stream);
}

/* What a head points to is gone when its exchange is, so it is given to the library only when it will be compressed at
 * once. */
static bool send_heads(struct h2_session *s) {
    while (s->pending && (!s->role->has_room || s->role->has_room(s))) {
        if (!send_control(s) || !h2_gather_has_room(s->gather))
            return false;
        if (!s->pending) /* what was sent can have closed streams */
            break;
        struct h2_stream *stream = next_pending(s);
        if (stream->head)
            send_head(s, stream);
    }
    return true;
}

bool h2_session_produce(struct h2_session *s, struct gather *g) {
    s->gather = g;
    if (send_heads(s))
        while (send_next(s))
            ;
    s->gather = NULL;
    if (s->is_failed || s->conn.is_closed)
        return false;
    conn_want_read(&s->conn);
    return !h2_gather_has_room(g);
}
