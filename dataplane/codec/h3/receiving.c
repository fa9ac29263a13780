/* receiving.c — bytes of a request stream: frames, field sections, what has to wait. session.h */
#include "dataplane/codec/h3/session.h"

enum { BOMB_FACTOR = 16, SECTION_FIRST_ROOM = 1024 };

/* What one call works on. */
struct piece {
    const uint8_t *at, *end;
    size_t         overhead;               /* bytes that are no content: the window for them is given back at once */
    bool           ends;                   /* the stream ends behind it */
};

static bool is_useless(const struct h3_stream *s) {
    return s->is_closed || s->is_reset || s->session->is_over;
}

/* ---- field sections */

static void free_section(struct h3_session *session, struct h3_section *section) {
    nghttp3_qpack_stream_context_del(section->context);
    if (section->bytes)
        quic_free(session->user.conn, section->bytes);
    session->section_bytes -= section->room;
    *section = (struct h3_section){0};
}

/* The peer's encoder keeps the entries that sections refer to until it hears of each, also of those that may still be on
 * their way. One that is being decoded is acknowledged first. */
void h3_stream_forget_sections(struct h3_stream *s) {
    struct h3_session *session = s->session;
    bool may_come = s->id >= 0 && !s->received_end && !s->is_reset && s != session->decoding;
    bool is_due = may_come || s->section.context;
    if (s->is_waiting_for_entries)
        session->blocked_count--;
    s->is_waiting_for_entries = false;
    free_section(session, &s->section);
    if (is_due)
        h3_session_cancel_sections(session, s->id);
}

/* The state of QPACK depends on it, so it is decoded, and not kept. */
static void ignore_section(struct h3_session *session) {
    session->reader = (struct section_reader){.limits = &session->limits, .error = SECTION_MEMORY};
    session->reading = NULL;
}

static bool begin_trailers(struct h3_stream *s) {
    struct arena *arena = exchange_arena(s->leg.exchange);
    s->trailers = arena_alloc(arena, sizeof *s->trailers);
    if (!s->trailers) {
        h3_stream_break(s, ABORT_MEMORY, H3_INTERNAL_ERROR);
        return false;
    }
    section_begin_trailers(&s->session->reader, arena, &s->session->limits, s->trailers);
    return true;
}

static void begin_section(struct h3_stream *s) {
    struct h3_session *session = s->session;
    bool is_wanted = !s->has_head                           ? session->role->on_open(s)
                     : s->leg.exchange && !s->is_stopped ? begin_trailers(s)
                                                            : false;
    session->reading = s;
    if (!is_wanted)
        ignore_section(session);
}

/* What is kept counts until its stream is gone. Beyond what the connection may hold nothing more is. */
static void hold_field(struct h3_session *session, uint32_t bytes) {
    if (!session->reading || session->reader.error)
        return;
    if (session->header_bytes + bytes > session->options.header_bytes_held) {
        session->reader.error = SECTION_TOO_MUCH_HELD;
        stats_add(&session->worker->stats->h3_heads_refused_total, 1);
        return;
    }
    session->header_bytes += bytes;
    session->reading->header_bytes += bytes;
}

static void read_field(struct h3_session *session, nghttp3_qpack_nv *field) {
    nghttp3_vec name = nghttp3_rcbuf_get_buf(field->name), value = nghttp3_rcbuf_get_buf(field->value);
    if (session->reading && !session->reading->leg.exchange)
        ignore_section(session); /* the arena is gone */
    hold_field(session, (uint32_t)(name.len + value.len) + SECTION_FIELD_OVERHEAD);
    section_read_field(&session->reader, (struct str){(const char *)name.base, name.len},
                       (struct str){(const char *)value.base, value.len});
    h3_qpack_drop(field);
    if (session->reader.error && session->reader.bytes > (uint64_t)session->limits.header_bytes * BOMB_FACTOR)
        h3_session_fail(session, H3_FAULT_SECTION_BYTES);
}

static void end_trailers(struct h3_stream *s) {
    enum section_error error = section_read_end(&s->session->reader, true);
    s->has_trailers = true;
    if (error == SECTION_TOO_MUCH_HELD) {
        s->leg.exchange->detail = section_error_word(error);
        h3_stream_break(s, s->session->role->too_large, H3_EXCESSIVE_LOAD);
    } else if (error) {
        h3_stream_refuse(s, section_error_word(error));
    }
}

static void end_section(struct h3_stream *s, bool ends) {
    struct h3_stream *reading = s->session->reading;
    s->session->reading = NULL;
    if (is_useless(s))
        return;
    if (!reading || !s->leg.exchange) {
        s->has_trailers = s->has_head;
        s->has_head = true;
    } else if (!s->has_head) {
        s->session->role->on_head(s, ends);
    } else {
        end_trailers(s);
    }
}

/* A whole section waits, and what follows it. */
static void wait_for_entries(struct h3_stream *s, const uint8_t *at, const uint8_t *end) {
    struct h3_session *session = s->session;
    struct h3_section *section = &s->section;
    size_t n = (size_t)(end - at);
    if (session->blocked_count >= session->options.qpack_blocked_streams) {
        h3_session_fail(session, H3_FAULT_QPACK_BLOCKED);
        return;
    }
    if (!section->bytes) {
        if (!(section->bytes = quic_alloc(session->user.conn, n))) {
            h3_session_break(session);
            return;
        }
        memcpy(section->bytes, at, n);
        section->n = section->room = n;
        section->at = 0;
        session->section_bytes += n;
    } else {
        section->at = (size_t)(at - section->bytes);
    }
    session->blocked_count++;
    s->is_waiting_for_entries = s->is_held = true;
}

/* Nothing is read before the first field comes, so that a section that waits has not begun an exchange. Once it has, the
 * stream can be reset by what a field leads to: all the same the section is decoded to its end, as QPACK counts it. */
static void decode(struct h3_stream *s, const uint8_t *at, const uint8_t *end, bool ends) {
    struct h3_session *session = s->session;
    struct h3_section section = s->section;
    enum h3_fault fault = H3_FAULT_NONE;
    enum h3_step step;
    nghttp3_qpack_nv field;
    bool has_begun = false;
    s->section = (struct h3_section){0};
    session->decoding = s;
    do {
        step = h3_qpack_step(&session->qpack, section.context, &at, end, &field, &fault);
        if (!has_begun && (step == H3_STEP_FIELD || step == H3_STEP_DONE))
            begin_section(s);
        has_begun = true;
        if (step == H3_STEP_FIELD)
            read_field(session, &field);
    } while (step == H3_STEP_FIELD && !session->is_over);
    session->decoding = NULL;
    if (s->is_reset)
        h3_session_cancel_sections(session, s->id);
    if (step == H3_STEP_BLOCKED) {
        s->section = section;
        wait_for_entries(s, at, end);
        return;
    }
    free_section(session, &section);
    if (step == H3_STEP_DONE)
        end_section(s, ends);
    else
        h3_session_fail(session, fault);
}

static void begin_decoding(struct h3_stream *s, const uint8_t *at, const uint8_t *end, bool ends) {
    if (nghttp3_qpack_stream_context_new(&s->section.context, s->id, &s->session->qpack.memory) == 0)
        decode(s, at, end, ends);
    else
        h3_session_break(s->session);
}

/* The bound is that of heads that were read: their windows are open again, and they may never be whole. */
static bool grow_section(struct h3_stream *s, size_t room) {
    struct h3_session *session = s->session;
    struct h3_section *section = &s->section;
    size_t more = room - section->room;
    if (session->section_bytes + more > session->options.header_bytes_held) {
        stats_add(&session->worker->stats->h3_heads_refused_total, 1);
        h3_stream_break(s, session->role->too_large, H3_EXCESSIVE_LOAD);
        return false;
    }
    uint8_t *grown = quic_realloc(session->user.conn, section->bytes, room);
    if (!grown) {
        h3_session_break(session);
        return false;
    }
    section->bytes = grown;
    section->room = room;
    session->section_bytes += more;
    return true;
}

/* One that comes in pieces is put together: what it announces is not believed before it has come. */
static bool gather(struct h3_stream *s, const uint8_t *bytes, size_t n) {
    struct h3_section *section = &s->section;
    size_t room = section->room ? section->room : SECTION_FIRST_ROOM;
    while (room < section->n + n)
        room *= 2;
    if (room > section->room && !grow_section(s, room))
        return false;
    memcpy(section->bytes + section->n, bytes, n);
    section->n += n;
    return true;
}

static void receive_section(struct h3_stream *s, struct piece *p, size_t n) {
    bool is_whole = n == s->frame.left, ends = is_whole && p->ends && p->at + n == p->end;
    if (is_whole && !s->section.bytes)
        begin_decoding(s, p->at, p->at + n, ends);
    else if (gather(s, p->at, n) && is_whole)
        begin_decoding(s, s->section.bytes, s->section.bytes + s->section.n, ends);
}

/* ---- frames */

static enum h3_fault begin_data(struct h3_stream *s) {
    if (!s->has_head || s->has_trailers)
        return H3_FAULT_FRAME_UNEXPECTED;
    return s->frame.left ? H3_FAULT_NONE : h3_spend(&s->session->costs, H3_FAULT_EMPTY_FRAMES, s->worker->now);
}

static enum h3_fault begin_headers(struct h3_stream *s) {
    if (s->has_trailers || s->is_tunnel)
        return H3_FAULT_FRAME_UNEXPECTED;
    return s->frame.left > s->session->options.block_bytes ? H3_FAULT_SECTION_BYTES : H3_FAULT_NONE;
}

static enum h3_fault begin_frame(struct h3_stream *s) {
    enum h3_peer peer = s->session->role->is_server ? H3_CLIENT : H3_ORIGIN_SERVER;
    enum h3_fault fault = h3_frame_check(s->frame.type, s->frame.left, H3_ON_REQUEST_STREAM, peer);
    if (fault)
        return fault;
    switch (s->frame.type) {
    case H3_DATA: return begin_data(s);
    case H3_HEADERS: return begin_headers(s);
    default: return h3_spend(&s->session->costs, H3_FAULT_OTHER_FRAMES, s->worker->now);
    }
}

/* The next part of a frame's payload. */
static void receive_payload(struct h3_stream *s, struct piece *p) {
    size_t left = (size_t)(p->end - p->at), n = s->frame.left < left ? (size_t)s->frame.left : left;
    if (s->frame.type == H3_DATA)
        h3_stream_receive_content(s, p->at, n);
    else if (s->frame.type == H3_HEADERS)
        receive_section(s, p, n);
    p->overhead += s->frame.type == H3_DATA ? 0 : n;
    p->at += n;
    h3_frame_pass(&s->frame, n);
}

static void walk(struct h3_stream *s, struct piece *p) {
    while (p->at < p->end && !s->is_held && !is_useless(s)) {
        const uint8_t *from = p->at;
        bool has_begun = h3_frame_is_open(&s->frame);
        if (!has_begun && !h3_frame_begin(&s->frame, &p->at, p->end)) {
            p->overhead += (size_t)(p->at - from);
            return;
        }
        p->overhead += (size_t)(p->at - from);
        enum h3_fault fault = has_begun ? H3_FAULT_NONE : begin_frame(s);
        if (fault)
            h3_session_fail(s->session, fault);
        else if (p->at < p->end || s->frame.left == 0)
            receive_payload(s, p);
    }
}

static void receive_incomplete(struct h3_stream *s) {
    struct h3_session *session = s->session;
    if (!session->role->is_server) {
        h3_stream_refuse(s, "response-incomplete");
        return;
    }
    h3_stream_break(s, session->role->malformed, H3_REQUEST_INCOMPLETE);
    h3_session_fail(session, H3_FAULT_INCOMPLETE);
}

static void receive_end(struct h3_stream *s) {
    if (h3_frame_is_cut(&s->frame))
        h3_session_fail(s->session, H3_FAULT_FRAME_CUT);
    else if (!s->has_head)
        receive_incomplete(s);
    else if (!s->received_end)
        h3_stream_receive_end(s);
}

/* ---- what has to wait */

static void keep_back(struct h3_stream *s, const uint8_t *bytes, size_t n, bool ends) {
    size_t before = s->kept.bytes;
    int status = n ? slice_queue_copy(&s->kept, &s->worker->pool, bytes, n) : 0;
    h3_session_hold(s->session, before, s->kept.bytes);
    s->kept_end |= ends;
    if (status < 0)
        h3_session_break(s->session);
}

void h3_stream_receive(struct h3_stream *s, const uint8_t *bytes, size_t n, bool ends) {
    struct quic_conn *conn = s->session->user.conn;
    struct piece piece = {.at = bytes, .end = n ? bytes + n : bytes, .ends = ends};
    if (s->is_held) {
        keep_back(s, bytes, n, ends);
        return;
    }
    walk(s, &piece);
    size_t rest = (size_t)(piece.end - piece.at);
    bool is_kept = s->is_held && !is_useless(s);
    if (piece.overhead && !is_useless(s))
        quic_consume_stream(conn, s->id, piece.overhead);
    quic_consume_connection(conn, is_kept ? n - rest : n);
    if (is_kept)
        keep_back(s, piece.at, rest, ends);
    else if (ends && !is_useless(s))
        receive_end(s);
}

void h3_stream_release(struct h3_stream *s) {
    struct slice_queue kept = s->kept;
    struct slice_pool *pool = &s->worker->pool;
    bool ends = s->kept_end;
    struct slice *slice;
    h3_session_hold(s->session, kept.bytes, 0);
    s->kept = (struct slice_queue){0};
    s->is_held = s->kept_end = false;
    while ((slice = slice_queue_pop(&kept))) {
        if (!is_useless(s))
            h3_stream_receive(s, slice->p, slice->n, ends && !kept.first);
        else
            quic_consume_connection(s->session->user.conn, slice->n);
        slice_free(pool, slice);
        if (!kept.first)
            ends = false;
    }
    if (ends && !is_useless(s))
        h3_stream_receive(s, NULL, 0, true);
    if (s->is_gone && !s->is_closed && !s->is_held)
        h3_stream_end(s, s->session->role->gone);
}

static void retry_section(struct h3_stream *s) {
    s->session->blocked_count--;
    s->is_waiting_for_entries = false;
    bool ends = s->kept_end && s->kept.bytes == 0;
    decode(s, s->section.bytes + s->section.at, s->section.bytes + s->section.n, ends);
    if (!is_useless(s) && !s->is_waiting_for_entries && !s->is_waiting_for_handshake)
        h3_stream_release(s);
}

/* What one of them does can close others. */
void h3_session_retry_sections(struct h3_session *session) {
    struct h3_stream *s = session->streams;
    while (s && session->blocked_count && !session->is_over) {
        struct h3_stream *next = s->next;
        if (s->is_waiting_for_entries && h3_qpack_is_unblocked(&session->qpack, s->section.context))
            retry_section(s);
        s = next && next->is_closed ? session->streams : next;
    }
}
