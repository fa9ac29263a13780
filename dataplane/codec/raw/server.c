#include "dataplane/codec/raw/server.h"

#include "common/alloc.h"
#include "dataplane/codec/raw/stream.h"
#include "dataplane/http/message.h"

enum { PEER_TEXT = 46, LINGER_US = 30000000, LINGER_PAUSE_US = 2000000 };

struct raw_server {
    struct raw_stream          stream;       /* first */
    struct listener_connection membership;
    bool                       is_stopped;   /* nobody wants what the client still sends: it is read and dropped */
    bool                       is_lingering; /* the same, and nothing more is sent */
    uint8_t                    peer_n;
    char                       peer[PEER_TEXT];
};

static struct raw_server *of_conn(struct conn *conn) {
    return (struct raw_server *)conn;
}

static void await_close(struct raw_server *s) {
    struct conn *conn = &s->stream.conn;
    conn_set_deadline(conn, DEADLINE_READ, conn->worker->now + LINGER_PAUSE_US);
}

/* Closing with unread input would reset the connection, and take from the client what it has not read yet. */
static void linger(struct raw_server *s) {
    struct conn *conn = &s->stream.conn;
    if (s->is_lingering)
        return;
    s->is_lingering = s->is_stopped = true;
    conn_shutdown_write(conn);
    conn_set_deadline(conn, DEADLINE_IDLE, conn->worker->now + LINGER_US);
    await_close(s);
    conn_want_read(conn);
}

static void end(struct raw_stream *stream, bool is_cut) {
    if (is_cut)
        conn_reset(&stream->conn);
    else if (stream->conn.is_eof)
        conn_close(&stream->conn);
    else
        linger(of_conn(&stream->conn));
}

static const struct raw_side client_side = {.gone = ABORT_CLIENT_GONE, .end = end};

/* ---- from the client ---- */

static size_t read_limit(struct conn *conn) {
    return of_conn(conn)->is_stopped ? READ_MAX : raw_read_limit(conn);
}

static void on_bytes(struct conn *conn, uint8_t *bytes, size_t n) {
    struct raw_server *s = of_conn(conn);
    if (s->is_lingering)
        await_close(s);
    if (s->is_stopped)
        return;
    stats_add(&conn->worker->stats->tcp_received_bytes_total, n);
    raw_on_bytes(conn, bytes, n);
}

static void on_eof(struct conn *conn) {
    if (of_conn(conn)->is_lingering)
        conn_close(conn);
    else
        raw_on_eof(conn);
}

static void on_error(struct conn *conn, int error) {
    (void)error;
    raw_break_off((struct raw_stream *)conn, ABORT_CLIENT_GONE);
}

static void on_deadline(struct conn *conn, enum conn_deadline which) {
    if (of_conn(conn)->is_lingering)
        conn_close(conn);
    else if (which == DEADLINE_WRITE)
        raw_break_off((struct raw_stream *)conn, ABORT_CLIENT_WRITE_TIMEOUT);
}

/* ---- to the client ---- */

static bool produce(struct conn *conn, struct gather *g) {
    size_t before = g->bytes;
    bool wants_room = raw_produce(conn, g);
    stats_add(&conn->worker->stats->tcp_sent_bytes_total, g->bytes - before);
    return wants_room;
}

/* The endpoint is there: that is all that a head can say here. The client may have ended before, and says no more. */
static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct raw_stream *s = raw_stream_of(leg);
    (void)end;
    s->is_open = head->status == 101;
    if (s->is_open)
        conn_mark_dirty(&s->conn);
}

/* The core may let go of the leg right behind this; the flush looks. */
static void stop(struct leg *leg) {
    struct raw_stream *stream = raw_stream_of(leg);
    of_conn(&stream->conn)->is_stopped = true;
    slice_queue_clear(&stream->kept, &stream->conn.worker->pool);
    conn_set_held(&stream->conn, 0);
    conn_want_read(&stream->conn);
    conn_mark_dirty(&stream->conn);
}

static bool get_ends(const struct leg *leg, struct conn_ends *ret) {
    return conn_get_ends(&raw_stream_of((struct leg *)(uintptr_t)leg)->conn, ret);
}

static const struct leg_ops server_leg_ops = {
    .name = "tcp", .send_head = send_head, .want_pull = raw_want_pull, .grant = raw_grant, .stop = stop, .abort = raw_abort,
    .get_ends = get_ends, .reads_on_demand = true,
};

/* ---- life ---- */

static void destroy(struct conn *conn) {
    struct raw_server *s = of_conn(conn);
    slice_queue_clear(&s->stream.kept, &conn->worker->pool);
    listener_remove(&s->membership);
    hg_free(s);
}

static const struct conn_ops server_conn_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_error,
    .on_dirty = raw_on_dirty, .produce = produce, .on_written = raw_on_written, .on_deadline = on_deadline,
    .destroy = destroy, .is_client = true,
};

/* None is idle: nobody here knows what either side waits for. */
static void on_close_wanted(struct listener_connection *m, bool only_idle) {
    struct raw_server *s = (struct raw_server *)((char *)m - offsetof(struct raw_server, membership));
    if (!only_idle)
        raw_break_off(&s->stream, ABORT_SHUTDOWN);
}

static bool open_exchange(struct raw_server *s, struct listener_runtime *l, const struct accepted *a) {
    char text[ADDRESS_TEXT_MAX];
    size_t n = address_format_host(&a->peer, text);
    s->peer_n = (uint8_t)(n < sizeof s->peer ? n : sizeof s->peer - 1);
    memcpy(s->peer, text, s->peer_n);
    const struct exchange_origin origin = {.listener = l->definition, .view = l->view, .peer = {s->peer, s->peer_n},
                                           .tls = a->transport.tls, .version = VERSION_NONE};
    return exchange_open(l->worker, &s->stream.leg, &origin) != NULL;
}

struct conn *raw_server_accept(struct listener_runtime *l, const struct accepted *a) {
    const struct listener_definition *d = l->definition;
    struct raw_server *s = d->opening.raw ? hg_calloc(1, sizeof *s) : NULL;
    if (!s || !open_exchange(s, l, a)) {
        hg_free(s);
        return NULL;
    }
    struct conn *conn = &s->stream.conn;
    conn_init(conn, l->worker, a->transport, &server_conn_ops);
    conn->write_timeout = d->timeouts.write;
    conn->min_rate = d->settings->limits.min_body_rate;
    s->membership.close = on_close_wanted;
    listener_add(l, &s->membership, a->cap_slot);
    s->stream.leg.ops = &server_leg_ops;
    s->stream.side = &client_side;
    conn_pause_read(conn); /* until the endpoint is there; but who goes away is noticed */
    exchange_on_connection(&s->stream.leg);
    return conn;
}
