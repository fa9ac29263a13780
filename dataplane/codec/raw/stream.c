#include "dataplane/codec/raw/stream.h"

static void cut(struct raw_stream *s) {
    if (!s->conn.is_closed)
        s->side->end(s, true);
}

void raw_end_if_done(struct raw_stream *s) {
    if (!s->conn.is_closed && !s->leg.exchange && !conn_has_unsent(&s->conn) && !s->conn.flushable.is_dirty)
        s->side->end(s, false);
}

void raw_break_off(struct raw_stream *s, enum abort_code code) {
    cut(s);
    if (s->leg.exchange)
        exchange_on_abort(&s->leg, code);
}

/* ---- from the peer ---- */

static void deliver(struct raw_stream *s, struct slice *bytes) {
    if (bytes)
        exchange_on_body(&s->leg, bytes);
    else
        raw_break_off(s, ABORT_MEMORY);
}

/* What was kept goes first, as credit comes. */
static void deliver_kept(struct raw_stream *s) {
    struct slice_pool *pool = &s->conn.worker->pool;
    uint64_t credit;
    while (s->leg.exchange && s->kept.first && (credit = exchange_credit(&s->leg)) > 0) {
        struct slice *first = s->kept.first;
        if (first->n <= credit) {
            deliver(s, slice_queue_pop(&s->kept));
            continue;
        }
        struct slice *part = slice_split(pool, first, credit);
        if (part)
            s->kept.bytes -= part->n;
        deliver(s, part);
    }
    conn_set_held(&s->conn, s->kept.bytes);
}

static void end_delivery(struct raw_stream *s) {
    if (s->has_delivered_all || s->kept.first || !s->leg.exchange)
        return;
    s->has_delivered_all = true;
    exchange_on_end(&s->leg, NULL);
    raw_end_if_done(s);
}

size_t raw_read_limit(struct conn *conn) {
    struct raw_stream *s = (struct raw_stream *)conn;
    if (!s->is_open || s->kept.first)
        return 0;
    uint64_t credit = exchange_credit(&s->leg);
    return credit < READ_MAX ? credit : READ_MAX;
}

void raw_on_bytes(struct conn *conn, uint8_t *bytes, size_t n) {
    struct raw_stream *s = (struct raw_stream *)conn;
    uint64_t credit = s->is_open && !s->kept.first ? exchange_credit(&s->leg) : 0;
    size_t now = n < credit ? n : credit;
    if (now)
        deliver(s, slice_borrow(&conn->worker->pool, bytes, now));
    if (now == n || conn->is_closed || !s->leg.exchange)
        return;
    if (slice_queue_copy(&s->kept, &conn->worker->pool, bytes + now, n - now) < 0)
        raw_break_off(s, ABORT_MEMORY);
    conn_set_held(conn, s->kept.bytes);
}

/* Over TLS an end without close_notify may be anybody's doing. */
void raw_on_eof(struct conn *conn) {
    struct raw_stream *s = (struct raw_stream *)conn;
    if (conn->is_truncated)
        raw_break_off(s, s->side->gone);
    else if (s->is_open)
        end_delivery(s);
}

void raw_on_dirty(struct conn *conn) {
    struct raw_stream *s = (struct raw_stream *)conn;
    if (conn->is_closed || !s->is_open)
        return;
    deliver_kept(s);
    if (!conn->is_closed && conn->is_eof)
        end_delivery(s);
}

/* ---- to the peer ---- */

bool raw_produce(struct conn *conn, struct gather *g) {
    struct raw_stream *s = (struct raw_stream *)conn;
    while (s->is_open && !s->has_sent_all && s->leg.exchange && !gather_is_full(g)) {
        struct slice *bytes;
        switch (exchange_pull(&s->leg, BLOCK_SIZE * 8, &bytes)) {
        case PULL_WAIT:
        case PULL_ROOM: return false;
        case PULL_END: s->has_sent_all = true; return false;
        case PULL_ABORT: raw_break_off(s, ABORT_INTERNAL); return false;
        case PULL_DATA: break;
        }
        if (!gather_slice(g, bytes)) {
            slice_free(g->pool, bytes);
            raw_break_off(s, ABORT_MEMORY);
        }
    }
    return gather_is_full(g);
}

void raw_on_written(struct conn *conn) {
    struct raw_stream *s = (struct raw_stream *)conn;
    if (s->has_sent_all)
        conn_shutdown_write(conn);
    raw_end_if_done(s);
}

/* ---- from the core ---- */

void raw_want_pull(struct leg *leg) {
    conn_mark_dirty(&raw_stream_of(leg)->conn);
}

void raw_grant(struct leg *leg, size_t n) {
    struct raw_stream *s = raw_stream_of(leg);
    (void)n;
    if (!s->is_open)
        return;
    conn_want_read(&s->conn);
    if (s->kept.first)
        conn_mark_dirty(&s->conn);
}

void raw_abort(struct leg *leg, enum abort_code code) {
    (void)code;
    cut(raw_stream_of(leg));
}
