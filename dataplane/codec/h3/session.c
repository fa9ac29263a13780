#include "dataplane/codec/h3/session.h"

static struct h3_session *session_of(struct quic_user *user) {
    return (struct h3_session *)user;
}

/* RFC 9000 section 2.1. */
static bool is_unidirectional(int64_t id) {
    return id & 2;
}

static bool is_ours(const struct h3_session *s, int64_t id) {
    return (id & 1) == s->role->is_server;
}

/* ---- ends ---- */

void h3_session_drop_streams(struct h3_session *s, enum abort_code code) {
    struct h3_stream *stream;
    while ((stream = s->streams)) {
        if (stream->leg.exchange)
            exchange_on_abort(&stream->leg, code);
        h3_stream_close(stream);
    }
}

static void begin_end(struct h3_session *s, const struct quic_closing *why) {
    s->is_over = true;
    if (s->role->on_over)
        s->role->on_over(s, why);
}

void h3_session_end(struct h3_session *s, uint64_t code, const char *word, enum abort_code abort) {
    if (s->is_over)
        return;
    quic_close(s->user.conn, QUIC_APPLICATION, code, word);
    begin_end(s, NULL);
    h3_session_drop_streams(s, abort);
}

void h3_session_break(struct h3_session *s) {
    h3_session_end(s, H3_INTERNAL_ERROR, "memory", ABORT_MEMORY);
}

void h3_session_fail(struct h3_session *s, enum h3_fault fault) {
    struct stats *stats = s->worker->stats;
    _Static_assert((int)H3_FAULT_COUNT <= (int)STATS_H3_FAULTS_MAX, "each has a counter");
    if (fault == H3_FAULT_NONE || s->is_over)
        return;
    stats_add(&stats->h3_faults[s->role->is_server ? STATS_TLS_CLIENTS : STATS_TLS_ORIGINS][fault], 1);
    if (!h3_fault_ends_connection(fault)) {
        h3_session_fail(s, h3_spend_reset(&s->costs, H3_FAULT_RESETS_CAUSED, s->worker->now));
        return;
    }
    s->fault = fault;
    stats_add(h3_fault_is_flood(fault) ? &stats->h3_floods_total : &stats->h3_protocol_errors_total, 1);
    h3_session_end(s, h3_fault_code(fault), h3_fault_word(fault), s->role->malformed);
}

bool h3_session_is_spent(const struct worker *w) {
    return w->session_memory.used > w->session_memory.limit;
}

/* ---- our own streams ---- */

static void write_own(struct h3_session *s, int which, const uint8_t *bytes, size_t n) {
    struct h3_out *out = &s->own[which].out;
    size_t before = out->queue.bytes;
    int status = h3_out_copy(out, &s->worker->pool, bytes, n);
    h3_session_hold(s, before, out->queue.bytes);
    if (status < 0)
        h3_session_break(s);
    quic_mark_dirty(s->user.conn);
}

/* What our decoder has to say. */
static void write_decoder(struct h3_session *s) {
    struct h3_channel *own = &s->own[H3_OWN_DECODER];
    size_t before = own->out.queue.bytes;
    if (own->id < 0)
        return;
    int status = h3_qpack_write_decoder(&s->qpack, &s->worker->pool, &own->out);
    h3_session_hold(s, before, own->out.queue.bytes);
    if (status < 0)
        h3_session_break(s);
}

/* Written at once: the library keeps the words of few streams. */
void h3_session_cancel_sections(struct h3_session *s, int64_t id) {
    if (s->is_over || !s->options.qpack_table_capacity)
        return;
    if (h3_qpack_cancel(&s->qpack, id) < 0)
        h3_session_break(s);
    else
        write_decoder(s);
}

void h3_session_go_away(struct h3_session *s, uint64_t id) {
    uint8_t frame[3 * H3_NUMBER_MAX];
    size_t n = h3_number_write(frame, H3_GOAWAY);
    n += h3_number_write(frame + n, h3_number_size(id));
    n += h3_number_write(frame + n, id);
    write_own(s, H3_OWN_CONTROL, frame, n);
}

static void write_settings(struct h3_session *s) {
    const struct h3_settings settings = {
        .table_capacity = s->options.qpack_table_capacity, .blocked_streams = s->options.qpack_blocked_streams,
        .field_section_size = s->limits.header_bytes ? s->limits.header_bytes : UINT64_MAX, .datagram = true,
        .connect_protocol = s->options.extended_connect,
    };
    uint8_t bytes[H3_SETTINGS_ROOM];
    write_own(s, H3_OWN_CONTROL, bytes, h3_settings_write(bytes, &settings, s->role->is_server));
}

/* A peer has to let us open all three (RFC 9114 section 6.2); one that is slow about it has no dynamic table meanwhile. */
static void open_own(struct h3_session *s) {
    static const uint8_t types[H3_OWN_COUNT] = {H3_STREAM_CONTROL, H3_STREAM_ENCODER, H3_STREAM_DECODER};
    for (int i = 0; i < H3_OWN_COUNT && !s->is_over; i++) {
        if (s->own[i].id >= 0)
            continue;
        if (quic_open_stream(s->user.conn, false, &s->own[i].id) < 0)
            return;
        write_own(s, i, &types[i], 1);
        if (i == H3_OWN_CONTROL)
            write_settings(s);
    }
}

static void set_table(struct h3_session *s) {
    if (s->own[H3_OWN_ENCODER].id >= 0 && s->control.has_settings)
        h3_qpack_set_peer(&s->qpack, &s->control.settings);
}

static void on_open(struct quic_user *user) {
    struct h3_session *s = session_of(user);
    if (!s->is_over)
        open_own(s);
}

/* ---- unidirectional streams of the peer ---- */

static struct h3_uni *find_uni(struct h3_session *s, int64_t id) {
    for (int i = 0; i < H3_UNI_PENDING; i++)
        if (s->unis[i].id == id)
            return &s->unis[i];
    return NULL;
}

/* Nobody reads it (RFC 9114 section 6.2.3). */
static enum h3_fault refuse_uni(struct h3_session *s, struct h3_uni *uni) {
    quic_stop_sending(s->user.conn, uni->id, H3_STREAM_CREATION_ERROR);
    uni->id = -1;
    return h3_spend(&s->costs, H3_FAULT_OTHER_STREAMS, s->worker->now);
}

static enum h3_fault begin_uni(struct h3_session *s, struct h3_uni *uni) {
    uint64_t type = uni->number.value;
    if (type == H3_STREAM_PUSH)
        return s->role->is_server ? H3_FAULT_STREAM_KIND : H3_FAULT_PUSH_ID;
    if (type > H3_STREAM_DECODER)
        return refuse_uni(s, uni);
    for (int i = 0; i < H3_UNI_PENDING; i++)
        if (s->unis[i].id >= 0 && s->unis[i].has_type && s->unis[i].type == type)
            return H3_FAULT_STREAM_TWICE;
    uni->has_type = true;
    uni->type = (uint8_t)type;
    return H3_FAULT_NONE;
}

static void on_priority(struct h3_session *s, uint64_t id, struct str value) {
    struct h3_stream *stream = h3_stream_find(s, (int64_t)id);
    if (stream) {
        stream->asked = priority_of_update(value);
        h3_stream_set_priority(stream, priority_merge(&stream->asked, &stream->answered));
    } else { /* the request may still come; one that has been closed never does again */
        early_priorities_note(&s->early_priorities, id, priority_of_update(value));
    }
}

/* One so far away can never be opened (RFC 9218 section 7.2). */
static bool is_beyond_limit(const struct h3_session *s, uint64_t id) {
    return id >= 4 * s->streams_granted;
}

static enum h3_fault act_on_news(struct h3_session *s, const struct h3_news *news) {
    switch (news->event) {
    case H3_EVENT_SETTINGS:
        set_table(s);
        if (s->role->on_settings)
            s->role->on_settings(s);
        break;
    case H3_EVENT_GOAWAY:
        if (s->role->on_goaway)
            s->role->on_goaway(s, news->id);
        break;
    case H3_EVENT_PRIORITY:
        if (is_beyond_limit(s, news->id))
            return H3_FAULT_PRIORITY_ID;
        on_priority(s, news->id, news->value);
        break;
    case H3_EVENT_NONE:
        break;
    }
    return H3_FAULT_NONE;
}

static enum h3_fault receive_control(struct h3_session *s, const uint8_t *at, const uint8_t *end) {
    struct h3_news news = {0};
    enum h3_fault fault;
    do {
        fault = h3_control_read(&s->control, &s->costs, &at, end, s->worker->now, &news);
        if (!fault)
            fault = act_on_news(s, &news);
    } while (!fault && news.event != H3_EVENT_NONE && !s->is_over);
    return fault;
}

static enum h3_fault receive_instructions(struct h3_session *s, uint8_t type, const uint8_t *bytes, size_t n) {
    enum h3_fault fault = h3_spend_earned(&s->costs, H3_FAULT_INSTRUCTIONS, s->worker->now);
    if (fault || n == 0)
        return fault;
    if (type == H3_STREAM_DECODER)
        return h3_qpack_read_decoder(&s->qpack, bytes, n);
    if ((fault = h3_qpack_read_encoder(&s->qpack, bytes, n)))
        return fault;
    if (s->blocked_count)
        h3_session_retry_sections(s);
    return H3_FAULT_NONE;
}

static enum h3_fault receive_uni(struct h3_session *s, int64_t id, const uint8_t *at, size_t n, bool ends) {
    const uint8_t *end = n ? at + n : at;
    struct h3_uni *uni = find_uni(s, id);
    if (!uni && !(uni = find_uni(s, -1)))
        return H3_FAULT_OTHER_STREAMS;
    if (uni->id < 0)
        *uni = (struct h3_uni){.id = id};
    if (!uni->has_type && h3_number_read(&uni->number, &at, end)) {
        enum h3_fault fault = begin_uni(s, uni);
        if (fault || uni->id < 0)
            return fault;
    }
    if (!uni->has_type) {
        if (ends) /* without a type it meant nothing */
            uni->id = -1;
        return H3_FAULT_NONE;
    }
    if (ends)
        return H3_FAULT_CRITICAL_STREAM;
    return uni->type == H3_STREAM_CONTROL ? receive_control(s, at, end)
                                          : receive_instructions(s, uni->type, at, (size_t)(end - at));
}

/* ---- what the transport says ---- */

static struct h3_stream *find_or_begin(struct h3_session *s, int64_t id) {
    struct h3_stream *stream = h3_stream_find(s, id);
    if (stream || !s->role->on_stream)
        return stream;
    if ((uint64_t)id >= s->next_id)
        s->next_id = (uint64_t)id + 4;
    h3_earn(&s->costs, H3_PEER_OPENED);
    stream = s->role->on_stream(s, id);
    if (stream) {
        stream->asked = early_priorities_find(&s->early_priorities, (uint64_t)id);
        h3_stream_set_priority(stream, priority_merge(&stream->asked, &stream->answered));
    }
    return stream;
}

static void receive_on_request(struct h3_session *s, int64_t id, const uint8_t *bytes, size_t n, bool ends) {
    struct h3_stream *stream = find_or_begin(s, id);
    if (stream && !stream->is_reset)
        h3_stream_receive(stream, bytes, n, ends);
    else
        quic_consume_connection(s->user.conn, n);
}

static int on_stream_data(struct quic_user *user, int64_t id, const uint8_t *bytes, size_t n, bool ends, bool early) {
    struct h3_session *s = session_of(user);
    if (s->is_over)
        return -1;
    s->is_early = early;
    if (s->role->on_sign)
        s->role->on_sign(s);
    if (is_unidirectional(id)) {
        h3_session_fail(s, receive_uni(s, id, bytes, n, ends));
        if (!s->is_over) {
            quic_consume_stream(user->conn, id, n);
            quic_consume_connection(user->conn, n);
        }
    } else if (!s->role->is_server && !is_ours(s, id)) {
        h3_session_fail(s, H3_FAULT_STREAM_KIND);
    } else {
        receive_on_request(s, id, bytes, n, ends);
    }
    if (!s->is_over)
        quic_mark_dirty(user->conn);
    return s->is_over ? -1 : 0;
}

static bool is_own_channel(const struct h3_session *s, int64_t id) {
    return id == s->own[H3_OWN_CONTROL].id || id == s->own[H3_OWN_ENCODER].id || id == s->own[H3_OWN_DECODER].id;
}

/* One of the peer's is gone. */
static enum h3_fault end_uni(struct h3_session *s, int64_t id) {
    struct h3_uni *uni = find_uni(s, id);
    if (!uni)
        return H3_FAULT_NONE;
    if (uni->has_type)
        return H3_FAULT_CRITICAL_STREAM;
    uni->id = -1;
    return H3_FAULT_NONE;
}

static enum abort_code meaning_of(const struct h3_stream *stream, uint64_t code) {
    const struct h3_role *role = stream->session->role;
    return code == H3_REQUEST_REJECTED && !stream->has_head ? role->refused : role->gone;
}

/* The peer gives the stream up: who resets streams that we have begun to work for pays for it. */
static void give_stream_up(struct h3_session *s, struct h3_stream *stream, uint64_t code) {
    enum h3_fault fault = H3_FAULT_NONE;
    if (stream->is_reset)
        return;
    if (s->role->is_server)
        fault = h3_spend_reset(&s->costs, H3_FAULT_RESETS, s->worker->now);
    h3_stream_break(stream, meaning_of(stream, code), H3_REQUEST_CANCELLED);
    h3_session_fail(s, fault);
}

/* A request that we want no more of may end so while its answer is on the way. */
static void on_stream_reset(struct quic_user *user, int64_t id, uint64_t code) {
    struct h3_session *s = session_of(user);
    if (s->is_over)
        return;
    if (is_unidirectional(id)) {
        h3_session_fail(s, end_uni(s, id));
        return;
    }
    struct h3_stream *stream = h3_stream_find(s, id);
    if (!stream || stream->received_end)
        return;
    h3_stream_forget_sections(stream);
    stream->received_end = true;
    if (s->role->is_server && stream->has_head && (stream->ends || stream->is_stopped))
        return;
    give_stream_up(s, stream, code);
}

/* Nothing more of our half goes out, and nobody waits for room for it. */
static void end_sending(struct h3_stream *stream) {
    h3_stream_unready(stream);
    h3_stream_await_window(stream, false);
    stream->ends = stream->sent_end = true;
}

static void on_stop_sending(struct quic_user *user, int64_t id, uint64_t code) {
    struct h3_session *s = session_of(user);
    if (s->is_over)
        return;
    if (is_own_channel(s, id)) {
        h3_session_fail(s, H3_FAULT_CRITICAL_STREAM);
        return;
    }
    struct h3_stream *stream = h3_stream_find(s, id);
    if (!stream || stream->is_reset)
        return;
    bool goes_on = !s->role->is_server || exchange_is_tunnel(stream->leg.exchange), is_news = !stream->sent_end;
    end_sending(stream);
    if (!goes_on)
        give_stream_up(s, stream, code);
    else if (stream->leg.exchange && is_news) /* it is said again when it seems lost */
        exchange_on_stop(&stream->leg);
}

static void on_stream_close(struct quic_user *user, int64_t id, uint64_t code) {
    struct h3_session *s = session_of(user);
    struct h3_stream *stream = is_unidirectional(id) ? NULL : h3_stream_find(s, id);
    if (!is_ours(s, id)) {
        quic_extend_streams(user->conn, !is_unidirectional(id), 1);
        s->streams_granted += !is_unidirectional(id);
    }
    if (s->is_over)
        return;
    if (is_unidirectional(id))
        h3_session_fail(s, is_own_channel(s, id) ? H3_FAULT_CRITICAL_STREAM : end_uni(s, id));
    if (!stream)
        return;
    if (stream->is_held && stream->kept_end && !stream->is_reset) /* all of it has come, and waits here */
        stream->is_gone = true;
    else
        h3_stream_end(stream, meaning_of(stream, code));
}

static void open_pending(struct h3_session *s) {
    struct h3_stream *stream;
    while (!s->is_over && (stream = s->pending)) {
        if (stream->head && s->role->open(stream) < 0)
            return;
        s->pending = stream->next_pending;
        if (!s->pending)
            s->last_pending = NULL;
        stream->next_pending = NULL;
        stream->is_pending = false;
        h3_stream_make_ready(stream);
    }
}

static void on_streams(struct quic_user *user) {
    struct h3_session *s = session_of(user);
    if (s->is_over)
        return;
    open_own(s);
    set_table(s);
    if (s->pending)
        quic_mark_dirty(user->conn);
    if (s->role->on_streams && !s->is_over)
        s->role->on_streams(s);
}

/* It would say more than its end, and does not wait for its source. */
static bool needs_window(const struct h3_stream *s) {
    bool is_asked = s->ready_in && s->ready_in != &s->session->ending;
    return is_asked && (s->head || s->out.unsent || exchange_has_content(&s->leg));
}

/* While the connection's window is shut nobody is asked what to write but ends. */
static void await_connection_window(struct h3_session *s) {
    if (quic_window_left(s->user.conn) > 0)
        return;
    for (struct h3_stream *stream = s->streams; stream; stream = stream->next)
        if (needs_window(stream) && !stream->write_deadline)
            h3_stream_await_window(stream, true);
}

static void on_dirty(struct quic_user *user) {
    struct h3_session *s = session_of(user);
    if (s->is_over)
        return;
    write_decoder(s);
    open_pending(s);
    await_connection_window(s);
}

static void on_handshake_done(struct quic_user *user) {
    struct h3_session *s = session_of(user);
    if (!s->is_over && s->role->on_handshake_done)
        s->role->on_handshake_done(s);
}

/* Our half was reset: on_stop_sending says why, or the stream is about to be closed. Of many of them at once it is not
 * called (quic/peek.h). */
static void on_shut(struct quic_user *user, int64_t id) {
    struct h3_session *s = session_of(user);
    struct h3_stream *stream = h3_stream_find(s, id);
    if (is_own_channel(s, id))
        h3_session_fail(s, H3_FAULT_CRITICAL_STREAM);
    if (stream)
        end_sending(stream);
}

static void on_closed(struct quic_user *user, const struct quic_closing *why) {
    struct h3_session *s = session_of(user);
    if (!s->is_over)
        begin_end(s, why);
    h3_session_drop_streams(s, s->role->gone);
}

static void destroy(struct quic_user *user) {
    struct h3_session *s = session_of(user);
    s->role->destroy(s);
}

static const struct quic_ops session_ops = {
    .on_open = on_open, .on_handshake_done = on_handshake_done, .on_stream_data = on_stream_data,
    .on_stream_acked = h3_session_acked, .on_stream_reset = on_stream_reset, .on_stop_sending = on_stop_sending,
    .on_stream_close = on_stream_close, .on_stream_window = h3_session_window, .on_streams = on_streams,
    .on_dirty = on_dirty, .next = h3_session_next, .on_taken = h3_session_taken, .on_blocked = h3_session_blocked,
    .on_shut = on_shut, .on_closed = on_closed, .destroy = destroy,
};

/* ---- life ---- */

int h3_session_init(struct h3_session *s, struct quic_conn *conn, const struct h3_role *role,
                    const struct http3_options *o) {
    s->user.ops = &session_ops;
    s->user.conn = conn;
    s->role = role;
    s->worker = quic_worker_of(conn);
    s->options = *o;
    s->costs.limits = &s->options;
    s->first_window = (uint32_t)quic_first_allowance(conn).stream_window;
    h3_control_init(&s->control, role->is_server ? H3_CLIENT : H3_ORIGIN_SERVER);
    for (int i = 0; i < H3_OWN_COUNT; i++)
        s->own[i].id = -1;
    for (int i = 0; i < H3_UNI_PENDING; i++)
        s->unis[i].id = -1;
    if (h3_session_is_spent(s->worker)) {
        stats_add(&s->worker->stats->overload_total, 1);
        return -1;
    }
    return h3_qpack_init(&s->qpack, conn, o);
}

void h3_session_finish(struct h3_session *s) {
    for (int i = 0; i < H3_OWN_COUNT; i++) {
        h3_session_hold(s, s->own[i].out.queue.bytes, 0);
        h3_out_clear(&s->own[i].out, &s->worker->pool);
    }
    h3_qpack_finish(&s->qpack);
}
