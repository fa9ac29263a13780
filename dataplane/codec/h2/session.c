#include "dataplane/codec/h2/session.h"

enum {
    SEND_SECTION_MAX = 256 << 10,          /* a head that we send; limits of heads end below it */
    ACKS_MAX = 256,                        /* PING and SETTINGS answers that wait */
    CONTROL_MAX = 128,                     /* control frames that wait, before reading stops */
    BOMB_FACTOR = 16,                      /* so many times the limit of heads, and the connection ends */
    TURN_MAX = 4096,                       /* read in one turn, unless most of what came were bodies */
};

static struct h2_session *session_of(void *user) {
    return user;
}

/* ---- abuse ---- */

static void count_fault(struct h2_session *s, enum h2_fault fault) {
    _Static_assert((int)H2_FAULT_COUNT <= (int)STATS_H2_FAULTS_MAX, "each has a counter");
    stats_add(&s->conn.worker->stats->h2_faults[s->role->is_server ? STATS_TLS_CLIENTS : STATS_TLS_ORIGINS][fault], 1);
}

/* The connection ends with it. The check repeats the last one for all that still comes. */
static void on_fault(struct h2_session *s, enum h2_fault fault) {
    struct stats *stats = s->conn.worker->stats;
    if (fault == H2_FAULT_NONE || s->fault != H2_FAULT_NONE)
        return;
    s->fault = fault;
    count_fault(s, fault);
    bool is_flood = h2_fault_code(fault) == NGHTTP2_ENHANCE_YOUR_CALM;
    stats_add(is_flood ? &stats->h2_floods_total : &stats->h2_protocol_errors_total, 1);
    h2_session_terminate(s, h2_fault_code(fault));
}

/* A stream that ended before its time because of the peer, by our RST_STREAM. */
static void charge_reset(struct h2_session *s) {
    on_fault(s, h2_frames_reset_sent(&s->frames, &s->frame_limits, s->conn.worker->now));
}

/* The peer has not acknowledged our SETTINGS (RFC 9113 section 6.5.3). */
static void on_settings_timeout(struct timer *t) {
    struct h2_session *s = (struct h2_session *)((char *)t - offsetof(struct h2_session, settings_timer));
    if (!s->conn.is_closed)
        on_fault(s, H2_FAULT_SETTINGS_TIMEOUT);
}

/* For a while no stream was opened. */
static void on_rest(struct timer *t) {
    struct h2_session *s = (struct h2_session *)((char *)t - offsetof(struct h2_session, rest_timer));
    if (!s->stream_count)
        h2_memory_rest(s);
}

/* ---- field sections that come ---- */

/* The section is decoded, since the state of HPACK depends on it, and not kept. */
static void ignore_section(struct h2_session *s) {
    s->reader = (struct section_reader){.limits = &s->limits, .error = SECTION_MEMORY};
    s->reading = NULL;
}

static struct h2_stream *begin_trailers(struct h2_session *s, struct h2_stream *stream) {
    struct arena *arena = exchange_arena(stream->leg.exchange);
    stream->trailers = arena_alloc(arena, sizeof *stream->trailers);
    if (!stream->trailers) {
        exchange_on_abort(&stream->leg, ABORT_MEMORY);
        h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
        return NULL;
    }
    section_begin_trailers(&s->reader, arena, &s->limits, stream->trailers);
    return stream;
}

/* Whose section it is; NULL: nobody wants it. A new request has no stream yet. */
static struct h2_stream *begin_section(struct h2_session *s, int32_t id, bool is_request) {
    struct h2_stream *stream = is_request ? NULL : nghttp2_session_get_stream_user_data(s->library, id);
    if (!stream || (!stream->has_head && stream->leg.exchange))
        return s->role->on_open(s, id);
    return stream->leg.exchange && !stream->is_stopped ? begin_trailers(s, stream) : NULL;
}

static int on_begin_headers(nghttp2_session *library, const nghttp2_frame *frame, void *user) {
    struct h2_session *s = session_of(user);
    (void)library;
    if (s->is_short)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    s->reading = NULL;
    if (frame->hd.type == NGHTTP2_HEADERS)
        s->reading = begin_section(s, frame->hd.stream_id, frame->headers.cat == NGHTTP2_HCAT_REQUEST);
    if (!s->reading)
        ignore_section(s);
    return 0;
}

/* What is kept counts until its stream is gone. Beyond what the connection may hold nothing more is. */
static void hold_field(struct h2_session *s, uint32_t bytes) {
    if (!s->reading || s->reader.error)
        return;
    if (s->header_bytes + bytes > s->header_bytes_most) {
        s->reader.error = SECTION_TOO_MUCH_HELD;
        stats_add(&s->conn.worker->stats->h2_heads_refused_total, 1);
        return;
    }
    s->header_bytes += bytes;
    s->reading->header_bytes += bytes;
}

static int on_header(nghttp2_session *library, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user) {
    struct h2_session *s = session_of(user);
    (void)library;
    (void)frame;
    (void)flags;
    if (s->is_short)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (s->reading && !s->reading->leg.exchange)
        ignore_section(s); /* the arena is gone */
    hold_field(s, (uint32_t)(name_n + value_n) + SECTION_FIELD_OVERHEAD);
    section_read_field(&s->reader, (struct str){(const char *)name, name_n}, (struct str){(const char *)value, value_n});
    if (s->reader.error && s->reader.bytes > (uint64_t)s->limits.header_bytes * BOMB_FACTOR)
        on_fault(s, H2_FAULT_BLOCK_BYTES);
    return 0;
}

static void end_trailers(struct h2_session *s, struct h2_stream *stream, bool end) {
    enum section_error error = section_read_end(&s->reader, end);
    if (error == SECTION_TOO_MUCH_HELD) {
        stream->leg.exchange->detail = section_error_word(error);
        exchange_on_abort(&stream->leg, s->role->too_large);
        h2_stream_reset(stream, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (error) {
        h2_stream_refuse(stream, section_error_word(error));
    }
}

static void end_section(struct h2_session *s, bool end) {
    struct h2_stream *stream = s->reading;
    s->reading = NULL;
    if (!stream || stream->is_closed || !stream->leg.exchange)
        return;
    if (!stream->has_head) {
        s->role->on_head(stream, end);
        return;
    }
    end_trailers(s, stream, end);
    if (end && stream->leg.exchange)
        h2_stream_receive_end(stream);
}

/* ---- frames that come ---- */

static int on_data_chunk(nghttp2_session *library, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n, void *user) {
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(library, id);
    (void)flags;
    session_of(user)->content += (uint32_t)n;
    int status = nghttp2_session_consume_connection(library, n);
    if (stream)
        h2_stream_receive(stream, bytes, n);
    return h2_is_fatal(status) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void on_data_frame(struct h2_session *s, const nghttp2_frame *frame) {
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(s->library, frame->hd.stream_id);
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!stream)
        return;
    stream->padding += (uint32_t)frame->data.padlen;
    if (end)
        h2_stream_receive_end(stream);
    else if (frame->data.padlen)
        h2_stream_grant(&stream->leg, 0);
}

/* Streams that were opened under the old window have more credit than the peer can see from now on: it is given back to
 * them. */
static void on_settings_ack(struct h2_session *s) {
    int32_t less = (int32_t)s->window - (int32_t)s->window_offered;
    s->window = s->window_offered;
    for (struct h2_stream *stream = s->streams; stream && less > 0; stream = stream->next)
        if (!stream->received_end)
            h2_session_check(s, nghttp2_submit_window_update(s->library, NGHTTP2_FLAG_NONE, stream->id, less));
}

static void resume(struct h2_session *s, int32_t id) {
    struct h2_stream *stream = id ? nghttp2_session_get_stream_user_data(s->library, id) : s->streams;
    for (; stream; stream = id ? NULL : stream->next)
        h2_stream_resume(stream);
}

static void on_priority_update(struct h2_session *s, const nghttp2_frame *frame) {
    const nghttp2_ext_priority_update *update = frame->ext.payload;
    const struct str value = {(const char *)update->field_value, update->field_value_len};
    if (s->role->on_priority_update)
        s->role->on_priority_update(s, update->stream_id, value);
}

static int on_frame(nghttp2_session *library, const nghttp2_frame *frame, void *user) {
    struct h2_session *s = session_of(user);
    bool is_ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
    (void)library;
    if (s->is_short)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    switch (frame->hd.type) {
    case NGHTTP2_DATA: on_data_frame(s, frame); break;
    case NGHTTP2_HEADERS: end_section(s, frame->hd.flags & NGHTTP2_FLAG_END_STREAM); break;
    case NGHTTP2_WINDOW_UPDATE: resume(s, frame->hd.stream_id); break;
    case NGHTTP2_SETTINGS:
        if (is_ack)
            worker_set_timer(s->conn.worker, &s->settings_timer, 0);
        if (is_ack && s->window != s->window_offered)
            on_settings_ack(s);
        if (!is_ack && s->role->on_settings)
            s->role->on_settings(s);
        resume(s, 0);
        break;
    case NGHTTP2_PRIORITY_UPDATE: on_priority_update(s, frame); break;
    case NGHTTP2_GOAWAY:
        if (s->role->on_goaway)
            s->role->on_goaway(s);
        break;
    case NGHTTP2_PING:
        if (is_ack && s->role->on_ping_ack)
            s->role->on_ping_ack(s, frame->ping.opaque_data);
        break;
    default: break;
    }
    return 0;
}

/* The stream is going to be reset for its peer's fault. Its exchange ends now: once the reset is written, a head that came
 * just before would be on its way. */
static void end_exchange(struct h2_session *s, int32_t id) {
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(s->library, id);
    if (!stream || !stream->leg.exchange)
        return;
    stream->is_stopped = true;
    stream->head = NULL;
    exchange_on_abort(&stream->leg, s->role->malformed);
}

/* What the library answers with RST_STREAM by itself, and streams beyond the limit. */
static int on_invalid_frame(nghttp2_session *library, const nghttp2_frame *frame, int code, void *user) {
    (void)library;
    (void)code;
    end_exchange(session_of(user), frame->hd.stream_id);
    charge_reset(session_of(user));
    return 0;
}

/* ---- frames that go ---- */

/* The head has been compressed: what it points to is needed no more. */
static int before_frame_send(nghttp2_session *library, const nghttp2_frame *frame, void *user) {
    struct h2_session *s = session_of(user);
    struct h2_stream *stream = s->leaving;
    (void)library;
    if (!stream || frame->hd.type != NGHTTP2_HEADERS || frame->hd.stream_id != stream->id)
        return 0;
    s->leaving = NULL;
    stream->head = NULL;
    stream->sent_head = true;
    h2_frames_sent(&s->frames, H2_SENT_HEAD);
    return 0;
}

/* What the library alone finds ends with a GOAWAY that it makes by itself. */
static void note_goaway(struct h2_session *s, uint32_t code) {
    if (s->fault != H2_FAULT_NONE || code == NGHTTP2_NO_ERROR || code == NGHTTP2_INTERNAL_ERROR)
        return;
    s->fault = H2_FAULT_LIBRARY;
    count_fault(s, H2_FAULT_LIBRARY);
    stats_add(&s->conn.worker->stats->h2_protocol_errors_total, 1);
}

/* DATA is noted in h2_stream_send_data. */
static void note_headers(struct h2_session *s, const nghttp2_frame_hd *frame) {
    bool end = frame->flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_stream *stream = end ? nghttp2_session_get_stream_user_data(s->library, frame->stream_id) : NULL;
    if (stream)
        h2_stream_finish_sending(stream);
}

static int on_frame_send(nghttp2_session *library, const nghttp2_frame *frame, void *user) {
    struct h2_session *s = session_of(user);
    (void)library;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS: note_headers(s, &frame->hd); break;
    case NGHTTP2_GOAWAY: note_goaway(s, frame->goaway.error_code); break;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            worker_set_timer(s->conn.worker, &s->settings_timer, s->conn.worker->now + s->settings_timeout);
        break;
    case NGHTTP2_RST_STREAM: /* for SETTINGS a must (section 6.9.2); else the peer is broken as well */
        if (frame->rst_stream.error_code == NGHTTP2_FLOW_CONTROL_ERROR)
            on_fault(s, H2_FAULT_STREAM_WINDOW);
        break;
    default: break;
    }
    return 0;
}

/* A head or trailers that cannot be sent: too large, or no memory. An interim response may be lost. */
static int on_frame_not_send(nghttp2_session *library, const nghttp2_frame *frame, int code, void *user) {
    struct h2_session *s = session_of(user);
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(library, frame->hd.stream_id);
    (void)code;
    if (frame->hd.type != NGHTTP2_HEADERS || !stream || (s->leaving != stream && !stream->sent_head))
        return 0;
    if (s->leaving == stream)
        s->leaving = NULL;
    stream->head = NULL;
    if (stream->leg.exchange)
        exchange_on_abort(&stream->leg, ABORT_MEMORY);
    h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *library, int32_t id, uint32_t code, void *user) {
    struct h2_session *s = session_of(user);
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(library, id);
    if (!stream)
        return 0;
    if (stream->is_malformed)
        charge_reset(s);
    bool is_refused = code == NGHTTP2_REFUSED_STREAM && !stream->has_head; /* who has answered has not refused */
    if (stream->leg.exchange)
        exchange_on_abort(&stream->leg, is_refused ? s->role->refused : s->role->gone);
    h2_stream_close(stream);
    s->role->on_closed(stream);
    return 0;
}

/* ---- receiving ---- */

/* Some failures leave the library able to say goodbye. */
static void on_receive_error(struct h2_session *s, int status) {
    if (status == NGHTTP2_ERR_FLOODED)
        on_fault(s, H2_FAULT_ANSWERS);
    else if (status == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        on_fault(s, H2_FAULT_PREFACE);
    else
        h2_session_check(s, status);
}

static void hand_on(struct h2_session *s, const uint8_t *bytes, size_t n) {
    ssize_t used = n && !s->is_failed ? nghttp2_session_mem_recv(s->library, bytes, n) : 0;
    if (used < 0)
        on_receive_error(s, (int)used);
    h2_session_check(s, 0);
}

void h2_session_receive(struct h2_session *s, const uint8_t *bytes, size_t n) {
    struct h2_verdict verdict = {0};
    size_t received = n;
    s->content = 0;
    while (n && !s->is_failed && s->fault == H2_FAULT_NONE) {
        size_t good = h2_frames_check(&s->frames, &s->frame_limits, bytes, n, s->conn.worker->now, &verdict);
        hand_on(s, bytes, good);
        bytes += good;
        n -= good;
        if (verdict.fault == H2_FAULT_NONE)
            break;
        if (h2_fault_ends_connection(verdict.fault)) {
            on_fault(s, verdict.fault);
            break;
        }
        count_fault(s, verdict.fault);
        end_exchange(s, (int32_t)verdict.stream);
        h2_session_check(s, nghttp2_submit_rst_stream(s->library, NGHTTP2_FLAG_NONE, (int32_t)verdict.stream,
                                                      h2_fault_code(verdict.fault)));
        charge_reset(s);
    }
    s->is_bulk = s->content >= received / 2;
    if (nghttp2_session_want_write(s->library) || h2_session_is_over(s))
        conn_mark_dirty(&s->conn);
}

/* One read of frames that are no bodies can be thousands of requests, opened and reset, while all others wait. */
size_t h2_session_read_limit(const struct h2_session *s) {
    bool is_behind = nghttp2_session_get_outbound_queue_size(s->library) > CONTROL_MAX;
    if (is_behind && conn_has_unsent(&s->conn))
        return 0;
    return s->is_bulk ? READ_MAX : TURN_MAX;
}

/* ---- ends ---- */

void h2_session_drop_streams(struct h2_session *s, enum abort_code code) {
    struct h2_stream *stream;
    while ((stream = s->streams)) {
        if (stream->leg.exchange)
            exchange_on_abort(&stream->leg, code);
        h2_stream_abandon(stream);
    }
}

void h2_session_give_up(struct h2_session *s, enum abort_code code) {
    h2_session_drop_streams(s, code);
    conn_close(&s->conn);
}

void h2_session_terminate(struct h2_session *s, uint32_t code) {
    h2_session_check(s, nghttp2_session_terminate_session(s->library, code));
    conn_mark_dirty(&s->conn);
}

bool h2_session_is_over(const struct h2_session *s) {
    return s->is_failed || (!nghttp2_session_want_read(s->library) && !nghttp2_session_want_write(s->library));
}

/* The connection is not closed here: this may be far down in a callback. It is dirty, and over. */
void h2_session_fail(struct h2_session *s) {
    s->is_failed = true;
    conn_mark_dirty(&s->conn);
}

/* ---- life ---- */

static int make_callbacks(nghttp2_session_callbacks **ret) {
    if (nghttp2_session_callbacks_new(ret) != 0)
        return -1;
    nghttp2_session_callbacks_set_on_begin_headers_callback(*ret, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(*ret, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*ret, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(*ret, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(*ret, on_invalid_frame);
    nghttp2_session_callbacks_set_before_frame_send_callback(*ret, before_frame_send);
    nghttp2_session_callbacks_set_on_frame_send_callback(*ret, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(*ret, on_frame_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(*ret, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(*ret, h2_stream_send_data);
    return 0;
}

static int make_options(nghttp2_option **ret, const struct http2_options *http2) {
    if (nghttp2_option_new(ret) != 0)
        return -1;
    nghttp2_option_set_no_auto_window_update(*ret, 1);
    nghttp2_option_set_no_http_messaging(*ret, 1); /* http/sections.h is stricter */
    nghttp2_option_set_max_outbound_ack(*ret, ACKS_MAX);
    nghttp2_option_set_max_send_header_block_length(*ret, SEND_SECTION_MAX);
    nghttp2_option_set_max_deflate_dynamic_table_size(*ret, http2->header_table_size); /* the peer may want less */
    nghttp2_option_set_builtin_recv_extension_type(*ret, NGHTTP2_PRIORITY_UPDATE);
    /* The check in front of it counts these, and better. */
    nghttp2_option_set_stream_reset_rate_limit(*ret, UINT64_MAX, UINT64_MAX);
    nghttp2_option_set_max_continuations(*ret, SIZE_MAX);
    return 0;
}

static int make_library(struct h2_session *s, const struct http2_options *http2) {
    nghttp2_mem memory = h2_session_memory(s);
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    int status = -1;
    if (make_callbacks(&callbacks) == 0 && make_options(&options, http2) == 0)
        status = s->role->is_server ? nghttp2_session_server_new3(&s->library, callbacks, s, options, &memory)
                                    : nghttp2_session_client_new3(&s->library, callbacks, s, options, &memory);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    return status;
}

static int submit_settings(struct h2_session *s, const struct h2_session_options *o) {
    nghttp2_settings_entry entries[7] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o->window},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, o->http2->header_table_size},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, o->http2->limits.max_frame_size},
    };
    size_t n = 4;
    if (s->role->is_server)
        entries[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o->http2->max_concurrent_streams};
    if (s->role->is_server && o->http2->extended_connect)
        entries[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    else
        entries[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    if (o->header_list_bytes)
        entries[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, o->header_list_bytes};
    if (nghttp2_submit_settings(s->library, NGHTTP2_FLAG_NONE, entries, n) != 0)
        return -1;
    return nghttp2_session_set_local_window_size(s->library, NGHTTP2_FLAG_NONE, 0,
                                                 (int32_t)o->http2->initial_connection_window);
}

int h2_session_init(struct h2_session *s, struct worker *w, const struct h2_role *role, const struct h2_session_options *o) {
    s->role = role;
    s->worker = w;
    s->window = role->is_server ? H2_WINDOW : o->window; /* an origin has our SETTINGS before any request */
    s->window_offered = o->window;
    s->frame_limits = o->http2->limits;
    s->settings_timeout = o->http2->settings_timeout;
    s->settings_timer.fire = on_settings_timeout;
    s->rest_timer.fire = on_rest;
    s->header_bytes_most = o->http2->header_bytes_held;
    h2_frames_init(&s->frames, role->is_server ? H2_CLIENT : H2_ORIGIN);
    if (h2_memory_is_spent(w)) {
        stats_add(&w->stats->overload_total, 1);
        return -1;
    }
    if (make_library(s, o->http2) != 0)
        return -1;
    if (submit_settings(s, o) == 0 && !s->is_short)
        return 0;
    nghttp2_session_del(s->library);
    s->library = NULL;
    return -1;
}

void h2_session_finish(struct h2_session *s) {
    wheel_remove(&s->worker->wheel, &s->settings_timer);
    wheel_remove(&s->worker->wheel, &s->rest_timer);
    nghttp2_session_del(s->library);
    s->library = NULL;
}
