#include "dataplane/codec/raw/client.h"

#include <errno.h>

#include "common/alloc.h"
#include "dataplane/codec/raw/stream.h"
#include "dataplane/tls/session.h"

struct raw_client {
    struct raw_stream        stream;           /* first */
    struct client_connection link;
    bool                     is_answer_due;    /* the exchange waits for the head */
};

static struct raw_client *of_link(struct client_connection *link) {
    return (struct raw_client *)((char *)link - offsetof(struct raw_client, link));
}

static void end(struct raw_stream *s, bool is_cut) {
    struct raw_client *c = (struct raw_client *)s;
    if (is_cut)
        conn_reset(&s->conn);
    else
        conn_close(&s->conn);
    c->link.owner->on_closed(&c->link);
}

static const struct raw_side endpoint_side = {.gone = ABORT_ORIGIN_RESET, .end = end};

static void on_error(struct conn *conn, int error) {
    struct raw_client *c = (struct raw_client *)conn;
    if (c->link.is_connected) {
        raw_break_off(&c->stream, ABORT_ORIGIN_RESET);
        return;
    }
    conn_close(conn);
    c->link.owner->on_connect_failed(&c->link, error);
}

/* It takes no more; what it has said before can still be read. */
static void on_write_error(struct conn *conn, int error) {
    struct raw_stream *s = (struct raw_stream *)conn;
    (void)error;
    if (s->leg.exchange)
        exchange_on_stop(&s->leg);
    if (!s->leg.exchange)
        end(s, false);
}

/* ---- the tunnel ---- */

static void answer(struct raw_client *c) {
    struct raw_stream *s = &c->stream;
    struct head *head = arena_alloc(exchange_arena(s->leg.exchange), sizeof *head);
    c->is_answer_due = false;
    if (!head) {
        raw_break_off(s, ABORT_MEMORY);
        return;
    }
    head_init(head);
    head->status = 101;
    s->is_open = true;
    exchange_on_head(&s->leg, head, false);
    if (!s->conn.is_closed)
        conn_want_read(&s->conn);
}

static void on_dirty(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    if (c->is_answer_due && c->stream.leg.exchange)
        answer(c);
    raw_on_dirty(conn);
}

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct raw_client *c = (struct raw_client *)raw_stream_of(leg);
    (void)head;
    (void)end;
    c->is_answer_due = true;
    conn_mark_dirty(&c->stream.conn);
}

static void stop(struct leg *leg) {
    (void)leg; /* the exchange aborts the leg once the other flow is done */
}

static const struct leg_ops raw_leg_ops = {
    .name = "raw", .send_head = send_head, .want_pull = raw_want_pull, .grant = raw_grant, .stop = stop, .abort = raw_abort,
    .reads_on_demand = true,
};

/* ---- connection ---- */

static void on_connected(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    conn_set_deadline(conn, DEADLINE_READ, 0);
    c->link.is_connected = true;
    c->link.owner->on_connected(&c->link);
}

static void on_deadline(struct conn *conn, enum conn_deadline which) {
    struct raw_client *c = (struct raw_client *)conn;
    (void)which;
    if (c->link.is_connected)
        raw_break_off(&c->stream, ABORT_ORIGIN_TIMEOUT); /* it takes nothing */
    else
        on_error(conn, ETIMEDOUT);
}

static void destroy(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    slice_queue_clear(&c->stream.kept, &conn->worker->pool);
    stats_sub(&conn->worker->stats->origin_connections, 1);
    hg_free(c);
}

static const struct conn_ops raw_conn_ops = {
    .read_limit = raw_read_limit, .on_bytes = raw_on_bytes, .on_eof = raw_on_eof, .on_error = on_error,
    .on_write_error = on_write_error, .on_connected = on_connected, .on_dirty = on_dirty, .produce = raw_produce,
    .on_written = raw_on_written, .on_deadline = on_deadline, .destroy = destroy,
};

static struct client_connection *open_connection(struct worker *w, const struct client_target *to,
                                                 const struct client_options *o, const struct client_owner_ops *owner) {
    struct raw_client *c = hg_calloc(1, sizeof *c);
    struct tls_session *tls = NULL;
    int error = c ? 0 : ENOMEM;
    if (c && o->tls && !(tls = tls_session_connect(w, o->tls, to->hostname, to->endpoint)))
        error = ENOMEM;
    if (tls)
        tls_session_offer_nothing(tls);
    if (!error)
        error = conn_connect(&c->stream.conn, w, to->address, to->preamble, tls, &raw_conn_ops);
    if (error) {
        hg_free(c);
        errno = error;
        return NULL;
    }
    c->stream.leg.ops = &raw_leg_ops;
    c->stream.side = &endpoint_side;
    c->link = (struct client_connection){
        .codec = &raw_client_codec, .owner = owner, .endpoint = to->endpoint, .opened_at = w->now, .capacity = 1};
    c->stream.conn.write_timeout = o->write_timeout;
    stats_add(&w->stats->origin_connections, 1);
    if (o->connect_timeout)
        conn_set_deadline(&c->stream.conn, DEADLINE_READ, w->now + o->connect_timeout);
    return &c->link;
}

static struct leg *open_leg(struct client_connection *link) {
    return &of_link(link)->stream.leg;
}

static void set_options(struct client_connection *link, const struct client_options *o) {
    of_link(link)->stream.conn.write_timeout = o->write_timeout;
}

static void rest(struct client_connection *link, uint64_t idle_timeout) {
    (void)link; /* it is nobody's to keep */
    (void)idle_timeout;
}

static void close_quietly(struct client_connection *link) {
    conn_close(&of_link(link)->stream.conn);
}

const struct client_codec raw_client_codec = {
    .name = "raw", .connect = open_connection, .open = open_leg, .set_options = set_options, .rest = rest,
    .close = close_quietly,
};
