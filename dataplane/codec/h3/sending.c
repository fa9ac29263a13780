/* sending.c — what a session writes, in which order: its own streams, then messages by urgency (RFC 9218). session.h */
#include "dataplane/codec/h3/session.h"

enum {
    HELD_MOST = 1 << 20,                   /* bytes that a session may hold until they are acknowledged ... */
    HELD_SHORT = 64 << 10,                 /* ... while the worker's budget is short */
    CHUNK_LEAST = 1024,                    /* pulled although the stream's window is full: so the peer is told that it is */
    FRAME_HEAD_MAX = 2 * H3_NUMBER_MAX,
};

/* ---- streams with something to send */

void h3_stream_unready(struct h3_stream *s) {
    struct h3_ready *list = s->ready_in;
    if (!list)
        return;
    s->ready_in = NULL;
    *(s->prev_ready ? &s->prev_ready->next_ready : &list->first) = s->next_ready;
    *(s->next_ready ? &s->next_ready->prev_ready : &list->last) = s->prev_ready;
    s->next_ready = s->prev_ready = NULL;
}

static void insert_behind(struct h3_ready *list, struct h3_stream *s, struct h3_stream *before) {
    s->ready_in = list;
    s->prev_ready = before;
    s->next_ready = before ? before->next_ready : list->first;
    *(before ? &before->next_ready : &list->first) = s;
    *(s->next_ready ? &s->next_ready->prev_ready : &list->last) = s;
}

/* Only its end is left to be said, as far as can be told before the last pull. */
static bool is_bare_end(const struct h3_stream *s) {
    if (!s->sent_head || s->head || s->out.unsent)
        return false;
    return s->ends ? !s->sent_end : exchange_is_at_end(&s->leg);
}

/* Within one urgency those that are not incremental go by their ids, one after the other (RFC 9218 section 10); an
 * incremental one takes its turn behind all that are there. */
void h3_stream_make_ready(struct h3_stream *s) {
    struct h3_ready *list = is_bare_end(s) ? &s->session->ending : &s->session->ready[s->urgency];
    if (s->ready_in == list || s->is_blocked || s->is_closed || s->is_reset || s->id < 0)
        return;
    h3_stream_unready(s);
    struct h3_stream *before = list->last;
    while (!s->is_incremental && before && !before->is_incremental && before->id > s->id)
        before = before->prev_ready;
    insert_behind(list, s, before);
}

void h3_stream_set_priority(struct h3_stream *s, struct priority_level level) {
    bool was_ready = s->ready_in;
    h3_stream_unready(s);
    s->urgency = (uint8_t)level.urgency;
    s->is_incremental = level.incremental;
    if (was_ready)
        h3_stream_make_ready(s);
}

/* The end of a stream is less than any other frame, and lets the peer go on. */
static struct h3_stream *first_ready(struct h3_session *s, bool only_ends) {
    if (s->ending.first || only_ends)
        return s->ending.first;
    for (int i = 0; i < PRIORITY_URGENCIES; i++)
        if (s->ready[i].first)
            return s->ready[i].first;
    return NULL;
}

static void take_turns(struct h3_stream *s) {
    if (!s->ready_in || !s->is_incremental || !s->next_ready)
        return;
    h3_stream_unready(s);
    h3_stream_make_ready(s);
}

void h3_stream_want_pull(struct leg *leg) {
    struct h3_stream *s = h3_stream_of(leg);
    const struct h3_ready *before = s->ready_in;
    if (!s->sent_head || s->is_starved)
        return; /* it is asked anyway */
    h3_stream_make_ready(s);
    if (s->ready_in != before || quic_window_left(s->session->user.conn) == 0) /* which it waits for from now on */
        quic_mark_dirty(s->session->user.conn);
}

/* ---- what is held */

static uint64_t most_held(const struct h3_session *s) {
    return s->worker->buffer_used < s->worker->buffer_limit ? HELD_MOST : HELD_SHORT;
}

/* What streams hold whose windows are full does not count: others must not wait for a peer that opens them late. */
static uint64_t counted(const struct h3_session *s) {
    return s->held - s->parked;
}

/* Nothing is pulled any more until less is held. */
static bool is_full(struct h3_stream *s) {
    if (counted(s->session) < most_held(s->session))
        return false;
    s->is_starved = true;
    s->session->is_starved = true;
    return true;
}

/* Whatever makes it less: acknowledgements, streams that end, or full windows of others. */
static void feed_starved(struct h3_session *session) {
    if (!session->is_starved || session->is_over || counted(session) > most_held(session) / 2)
        return;
    session->is_starved = false;
    for (struct h3_stream *s = session->streams; s; s = s->next) {
        if (!s->is_starved)
            continue;
        s->is_starved = false;
        h3_stream_make_ready(s);
    }
    quic_mark_dirty(session->user.conn);
}

void h3_session_hold(struct h3_session *s, size_t before, size_t after) {
    struct worker *w = s->worker;
    s->held += after - before;
    w->buffer_used += after - before;
    stats_add(&w->stats->buffered_bytes, after - before);
    feed_starved(s);
}

void h3_stream_park(struct h3_stream *s, size_t bytes) {
    s->session->parked += bytes - s->parked;
    s->parked = bytes;
    feed_starved(s->session);
}

/* ---- heads */

int h3_stream_write_section(struct h3_stream *s, const struct field_pair *pairs, size_t n) {
    struct h3_session *session = s->session;
    struct h3_out *instructions = &session->own[H3_OWN_ENCODER].out;
    size_t before = s->out.queue.bytes + instructions->queue.bytes;
    int status = h3_qpack_write(&session->qpack, &s->worker->pool, &s->worker->free_lists, s->id, pairs, n, &s->out,
                                instructions);
    h3_session_hold(session, before, s->out.queue.bytes + instructions->queue.bytes);
    if (status < 0)
        h3_session_break(session);
    return status;
}

static int write_head(struct h3_stream *s) {
    struct free_lists *lists = &s->worker->free_lists;
    struct field_pair *nv = free_lists_alloc(lists, (s->head->fields.count + SECTION_EXTRA_FIELDS) * sizeof *nv);
    if (!nv) {
        h3_session_break(s->session);
        return -1;
    }
    size_t n = s->session->role->write_head(s, nv);
    int status = n ? h3_stream_write_section(s, nv, n) : -1;
    free_lists_free(lists, nv);
    if (n == 0)
        return -1;
    s->head = NULL;
    s->sent_head = true;
    h3_earn(&s->session->costs, H3_SENT_HEAD);
    return status;
}

static int write_trailers(struct h3_stream *s, const struct fields *trailers) {
    struct free_lists *lists = &s->worker->free_lists;
    struct field_pair *nv = free_lists_alloc(lists, (trailers->count + 1) * sizeof *nv);
    size_t n = nv ? section_write_trailers(trailers, nv) : 0;
    int status = nv ? 0 : -1;
    if (!nv)
        h3_session_break(s->session);
    else if (n)
        status = h3_stream_write_section(s, nv, n);
    free_lists_free(lists, nv);
    return status;
}

/* ---- bodies */

/* What was promised does not come: the peer must see that the message is cut. */
static void break_off(struct h3_stream *s) {
    h3_stream_break(s, s->session->role->is_server ? ABORT_ORIGIN_PROTOCOL : ABORT_CLIENT_PROTOCOL, H3_INTERNAL_ERROR);
}

/* One that needs more room than others gets it, once. */
static enum pull pull_one(struct h3_stream *s, size_t most, bool is_first, struct slice **ret) {
    enum pull result = exchange_pull(&s->leg, most, ret);
    return result == PULL_ROOM && is_first ? exchange_pull(&s->leg, 4 * H3_CHUNK, ret) : result;
}

/* Not more than the stream's window takes. */
static size_t chunk_size(const struct h3_stream *s) {
    uint64_t window = quic_stream_window_left(s->session->user.conn, s->id);
    uint64_t room = window > s->out.unsent ? window - s->out.unsent : 0;
    return room < CHUNK_LEAST ? CHUNK_LEAST : room < H3_CHUNK ? (size_t)room : H3_CHUNK;
}

/* Pulls what there is, up to `most`. Returns what the last pull said; *ret_trailers is what there was before it. */
static enum pull pull_chunk(struct h3_stream *s, size_t most, struct slice_queue *chunk, struct fields **ret_trailers) {
    enum pull result = PULL_DATA;
    while (chunk->bytes < most || s->to_send == 0) {
        struct slice *slice;
        size_t room = chunk->bytes < most ? most - chunk->bytes : 1;
        *ret_trailers = exchange_trailers(&s->leg);
        result = pull_one(s, room, !chunk->first, &slice);
        if (result != PULL_DATA)
            return result;
        bool is_too_long = s->has_no_body || (s->to_send >= 0 && (uint64_t)s->to_send < slice->n);
        if (s->to_send >= 0)
            s->to_send -= is_too_long ? s->to_send : (int64_t)slice->n;
        slice_queue_push(chunk, slice);
        if (is_too_long)
            return PULL_ABORT;
    }
    return result;
}

/* A DATA frame: its head, and the slices behind it. */
static int write_data(struct h3_stream *s, struct slice_queue *chunk) {
    struct slice_pool *pool = &s->worker->pool;
    uint8_t head[FRAME_HEAD_MAX];
    size_t before = s->out.queue.bytes, n = h3_number_write(head, H3_DATA);
    struct slice *slice;
    n += h3_number_write(head + n, chunk->bytes);
    int status = h3_out_copy(&s->out, pool, head, n);
    while (status == 0 && (slice = slice_queue_pop(chunk)))
        status = h3_out_push(&s->out, pool, slice);
    h3_session_hold(s->session, before, s->out.queue.bytes);
    slice_queue_clear(chunk, pool);
    return status;
}

static void end_body(struct h3_stream *s, const struct fields *trailers) {
    if (trailers && trailers->count && write_trailers(s, trailers) < 0)
        return;
    s->ends = true;
    h3_stream_finish_sending(s);
}

static void fill_body(struct h3_stream *s) {
    struct slice_queue chunk = {0};
    struct fields *trailers = NULL;
    enum pull result = pull_chunk(s, chunk_size(s), &chunk, &trailers);
    bool is_short = result == PULL_END && s->to_send > 0 && !s->has_no_body;
    if (result == PULL_ABORT || is_short) {
        slice_queue_clear(&chunk, &s->worker->pool);
        break_off(s);
        return;
    }
    if (chunk.first && write_data(s, &chunk) < 0) {
        h3_session_break(s->session);
        return;
    }
    if (result == PULL_END)
        end_body(s, trailers);
}

/* Whether there is something in `out` to be sent, made now if need be. May end the stream, or the session. */
static bool fill(struct h3_stream *s) {
    if (s->head && write_head(s) < 0)
        return false;
    if (s->head_ends && !s->ends) {
        s->ends = true;
        h3_stream_finish_sending(s);
    }
    /* A small body goes with its head. */
    bool wants_body = s->sent_head && !s->ends && s->leg.exchange && s->out.unsent < H3_CHUNK / 4;
    if (wants_body && !is_full(s))
        fill_body(s);
    return !s->is_reset && !s->is_closed && (s->out.unsent || (s->ends && !s->sent_end));
}

/* ---- the transport asks */

static size_t offer(struct h3_out *out, bool ends, bool *ret_end, struct iovec *vec, size_t most) {
    size_t n = h3_out_pieces(out, vec, most), bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += vec[i].iov_len;
    *ret_end = ends && bytes == out->unsent;
    return n;
}

static struct h3_channel *own_channel(struct h3_session *s, int64_t id) {
    for (int i = 0; i < H3_OWN_COUNT; i++)
        if (s->own[i].id == id)
            return &s->own[i];
    return NULL;
}

static size_t offer_own(struct h3_session *s, int64_t *ret_id, bool *ret_end, struct iovec *vec, size_t most) {
    for (int i = 0; i < H3_OWN_COUNT; i++) {
        struct h3_channel *own = &s->own[i];
        if (own->id < 0 || !own->out.unsent || own->is_blocked)
            continue;
        *ret_id = own->id;
        return offer(&own->out, false, ret_end, vec, most);
    }
    return 0;
}

/* There is something in `out`, or the end, which may be all that is left. */
static bool may_go(struct h3_stream *s, bool only_ends) {
    h3_stream_make_ready(s);
    if (!only_ends || s->ready_in == &s->session->ending)
        return true;
    h3_stream_await_window(s, true);
    return false;
}

/* Making a section can make instructions for the peer's decoder, which go first. */
size_t h3_session_next(struct quic_user *user, int64_t *ret_id, bool *ret_end, struct iovec *vec, size_t most) {
    struct h3_session *s = (struct h3_session *)user;
    bool only_ends = most == 0;
    *ret_id = -1;
    while (!s->is_over) {
        struct h3_stream *stream = first_ready(s, only_ends);
        bool has_more = stream && fill(stream);
        size_t n = s->is_over || only_ends ? 0 : offer_own(s, ret_id, ret_end, vec, most);
        if (n || !stream || s->is_over)
            return n;
        if (!has_more) {
            h3_stream_unready(stream);
            stream->block.since = 0; /* whoever it waits for, it is not the peer */
        } else if (may_go(stream, only_ends)) {
            *ret_id = stream->id;
            return offer(&stream->out, stream->ends, ret_end, vec, most);
        }
    }
    return 0;
}

void h3_session_taken(struct quic_user *user, int64_t id, size_t n) {
    struct h3_session *s = (struct h3_session *)user;
    struct h3_channel *own = own_channel(s, id);
    struct h3_stream *stream = own ? NULL : h3_stream_find(s, id);
    if (own)
        h3_out_sent(&own->out, n);
    if (!stream)
        return;
    h3_out_sent(&stream->out, n);
    h3_stream_note_sent(stream, n);
    if (stream->ends && stream->out.unsent == 0) {
        stream->sent_end = true;
        h3_stream_unready(stream);
        h3_stream_await_window(stream, false);
    }
    take_turns(stream);
}

void h3_session_acked(struct quic_user *user, int64_t id, uint64_t n) {
    struct h3_session *s = (struct h3_session *)user;
    struct h3_channel *own = own_channel(s, id);
    struct h3_stream *stream = own ? NULL : h3_stream_find(s, id);
    struct h3_out *out = own ? &own->out : stream ? &stream->out : NULL;
    if (!out)
        return;
    size_t before = out->queue.bytes;
    h3_out_acked(out, &s->worker->pool, n);
    h3_session_hold(s, before, out->queue.bytes);
    if (stream && stream->parked)
        h3_stream_park(stream, out->queue.bytes);
}

void h3_session_blocked(struct quic_user *user, int64_t id) {
    struct h3_session *s = (struct h3_session *)user;
    struct h3_channel *own = own_channel(s, id);
    struct h3_stream *stream = own ? NULL : h3_stream_find(s, id);
    if (own)
        own->is_blocked = true;
    if (!stream)
        return;
    h3_stream_unready(stream);
    stream->is_blocked = true;
    h3_stream_park(stream, stream->out.queue.bytes);
    if (!stream->block.since)
        stream->block = (struct pace){.since = s->worker->now};
    h3_stream_await_window(stream, true);
}

void h3_session_window(struct quic_user *user, int64_t id) {
    struct h3_session *s = (struct h3_session *)user;
    struct h3_channel *own = own_channel(s, id);
    struct h3_stream *stream = own ? NULL : h3_stream_find(s, id);
    if (own)
        own->is_blocked = false;
    if (stream) {
        stream->is_blocked = false;
        h3_stream_park(stream, 0);
        h3_stream_make_ready(stream);
    }
    quic_mark_dirty(user->conn);
}
