#include "dataplane/codec/raw/client.h"

#include <errno.h>

#include "common/alloc.h"
#include "dataplane/net/conn.h"
#include "dataplane/tls/session.h"

struct raw_client {
    struct conn              conn;             /* first */
    struct client_connection link;
    struct leg               leg;
    struct slice_queue       kept;             /* received beyond the credit: TLS gives whole records. Owned bytes */
    bool                     is_answer_due;    /* the exchange waits for the head */
    bool                     is_open;          /* it has it */
    bool                     has_sent_all;     /* the client's end is with the connection */
    bool                     has_delivered_all;
};

static struct raw_client *of_leg(struct leg *leg) {
    return (struct raw_client *)((char *)leg - offsetof(struct raw_client, leg));
}

static struct raw_client *of_link(struct client_connection *link) {
    return (struct raw_client *)((char *)link - offsetof(struct raw_client, link));
}

static void close_and_report(struct raw_client *c) {
    if (c->conn.is_closed)
        return;
    conn_close(&c->conn);
    c->link.owner->on_closed(&c->link);
}

/* In the middle of the tunnel: what was sent must not look whole. */
static void cut(struct raw_client *c) {
    if (c->conn.is_closed)
        return;
    conn_reset(&c->conn);
    c->link.owner->on_closed(&c->link);
}

static void break_off(struct raw_client *c, enum abort_code code) {
    cut(c);
    if (c->leg.exchange)
        exchange_on_abort(&c->leg, code);
}

/* The tunnel has ended both ways, and all that the client said has gone out. */
static void close_if_done(struct raw_client *c) {
    if (!c->leg.exchange && !conn_has_unsent(&c->conn) && !c->conn.flushable.is_dirty)
        close_and_report(c);
}

/* ---- from the endpoint ---- */

static void deliver(struct raw_client *c, struct slice *s) {
    if (s)
        exchange_on_body(&c->leg, s);
    else
        break_off(c, ABORT_MEMORY);
}

/* What was kept goes first, as credit comes. */
static void deliver_kept(struct raw_client *c) {
    struct slice_pool *pool = &c->conn.worker->pool;
    uint64_t credit;
    while (c->leg.exchange && c->kept.first && (credit = exchange_credit(&c->leg)) > 0) {
        struct slice *s = c->kept.first;
        if (s->n <= credit) {
            deliver(c, slice_queue_pop(&c->kept));
            continue;
        }
        struct slice *part = slice_split(pool, s, credit);
        if (part)
            c->kept.bytes -= part->n;
        deliver(c, part);
    }
    conn_set_held(&c->conn, c->kept.bytes);
}

static void end_delivery(struct raw_client *c) {
    if (c->has_delivered_all || c->kept.first || !c->leg.exchange)
        return;
    c->has_delivered_all = true;
    exchange_on_end(&c->leg, NULL);
    close_if_done(c);
}

static size_t read_limit(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    if (!c->is_open || c->kept.first)
        return 0;
    uint64_t credit = exchange_credit(&c->leg);
    return credit < READ_MAX ? credit : READ_MAX;
}

static void on_bytes(struct conn *conn, uint8_t *bytes, size_t n) {
    struct raw_client *c = (struct raw_client *)conn;
    uint64_t credit = c->is_open && !c->kept.first ? exchange_credit(&c->leg) : 0;
    size_t now = n < credit ? n : credit;
    if (now)
        deliver(c, slice_borrow(&conn->worker->pool, bytes, now));
    if (now == n || conn->is_closed || !c->leg.exchange)
        return;
    if (slice_queue_copy(&c->kept, &conn->worker->pool, bytes + now, n - now) < 0)
        break_off(c, ABORT_MEMORY);
    conn_set_held(conn, c->kept.bytes);
}

/* Over TLS an end without close_notify may be anybody's doing. */
static void on_eof(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    if (conn->is_truncated)
        break_off(c, ABORT_ORIGIN_RESET);
    else if (c->is_open)
        end_delivery(c);
}

static void on_error(struct conn *conn, int error) {
    struct raw_client *c = (struct raw_client *)conn;
    if (c->link.is_connected) {
        break_off(c, ABORT_ORIGIN_RESET);
        return;
    }
    conn_close(conn);
    c->link.owner->on_connect_failed(&c->link, error);
}

/* ---- to the endpoint ---- */

/* It takes no more; what it has said before can still be read. */
static void on_write_error(struct conn *conn, int error) {
    struct raw_client *c = (struct raw_client *)conn;
    (void)error;
    if (c->leg.exchange)
        exchange_on_stop(&c->leg);
    if (!c->leg.exchange)
        close_and_report(c);
}

static void produce(struct conn *conn, struct gather *g) {
    struct raw_client *c = (struct raw_client *)conn;
    while (c->is_open && !c->has_sent_all && c->leg.exchange && !gather_is_full(g)) {
        struct slice *s;
        switch (exchange_pull(&c->leg, BLOCK_SIZE * 8, &s)) {
        case PULL_WAIT:
        case PULL_ROOM: return;
        case PULL_END: c->has_sent_all = true; return;
        case PULL_ABORT: break_off(c, ABORT_CLIENT_GONE); return;
        case PULL_DATA: break;
        }
        if (!gather_slice(g, s)) {
            slice_free(g->pool, s);
            break_off(c, ABORT_MEMORY);
        }
    }
}

static void on_written(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    if (c->has_sent_all)
        conn_shutdown_write(conn);
    close_if_done(c);
}

/* ---- the tunnel ---- */

static void answer(struct raw_client *c) {
    struct head *head = arena_alloc(exchange_arena(c->leg.exchange), sizeof *head);
    c->is_answer_due = false;
    if (!head) {
        break_off(c, ABORT_MEMORY);
        return;
    }
    head_init(head);
    head->status = 101;
    c->is_open = true;
    exchange_on_head(&c->leg, head, false);
    if (!c->conn.is_closed)
        conn_want_read(&c->conn);
}

static void on_dirty(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    if (c->is_answer_due && c->leg.exchange)
        answer(c);
    if (conn->is_closed || !c->is_open)
        return;
    deliver_kept(c);
    if (!conn->is_closed && conn->is_eof)
        end_delivery(c);
}

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct raw_client *c = of_leg(leg);
    (void)head;
    (void)end;
    c->is_answer_due = true;
    conn_mark_dirty(&c->conn);
}

static void want_pull(struct leg *leg) {
    conn_mark_dirty(&of_leg(leg)->conn);
}

static void grant(struct leg *leg, size_t n) {
    struct raw_client *c = of_leg(leg);
    (void)n;
    if (!c->is_open)
        return;
    conn_want_read(&c->conn);
    if (c->kept.first)
        conn_mark_dirty(&c->conn);
}

static void stop(struct leg *leg) {
    (void)leg; /* the exchange aborts the leg once the other flow is done */
}

static void abort_stream(struct leg *leg, enum abort_code code) {
    (void)code;
    cut(of_leg(leg));
}

static const struct leg_ops raw_leg_ops = {
    .name = "raw", .send_head = send_head, .want_pull = want_pull, .grant = grant, .stop = stop, .abort = abort_stream,
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
        break_off(c, ABORT_ORIGIN_TIMEOUT); /* it takes nothing */
    else
        on_error(conn, ETIMEDOUT);
}

static void destroy(struct conn *conn) {
    struct raw_client *c = (struct raw_client *)conn;
    slice_queue_clear(&c->kept, &conn->worker->pool);
    stats_sub(&conn->worker->stats->origin_connections, 1);
    hg_free(c);
}

static const struct conn_ops raw_conn_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_write_error,
    .on_connected = on_connected, .on_dirty = on_dirty, .produce = produce, .on_written = on_written,
    .on_deadline = on_deadline, .destroy = destroy,
};

static struct client_connection *open_connection(struct worker *w, const struct client_target *to,
                                                 const struct client_options *o, const struct client_owner_ops *owner) {
    struct raw_client *c = hg_calloc(1, sizeof *c);
    struct tls_session *tls = NULL;
    int error = c ? 0 : ENOMEM;
    if (c && o->tls && !(tls = tls_session_connect(w, o->tls, to->hostname, to->endpoint)))
        error = ENOMEM;
    if (!error)
        error = conn_connect(&c->conn, w, to->address, to->preamble, tls, &raw_conn_ops);
    if (error) {
        hg_free(c);
        errno = error;
        return NULL;
    }
    c->leg.ops = &raw_leg_ops;
    c->link = (struct client_connection){
        .codec = &raw_client_codec, .owner = owner, .endpoint = to->endpoint, .opened_at = w->now, .capacity = 1};
    c->conn.write_timeout = o->write_timeout;
    stats_add(&w->stats->origin_connections, 1);
    if (o->connect_timeout)
        conn_set_deadline(&c->conn, DEADLINE_READ, w->now + o->connect_timeout);
    return &c->link;
}

static struct leg *open_leg(struct client_connection *link) {
    return &of_link(link)->leg;
}

static void set_options(struct client_connection *link, const struct client_options *o) {
    of_link(link)->conn.write_timeout = o->write_timeout;
}

static void rest(struct client_connection *link, uint64_t idle_timeout) {
    (void)link; /* it is nobody's to keep */
    (void)idle_timeout;
}

static void close_quietly(struct client_connection *link) {
    conn_close(&of_link(link)->conn);
}

const struct client_codec raw_client_codec = {
    .name = "raw", .connect = open_connection, .open = open_leg, .set_options = set_options, .rest = rest,
    .close = close_quietly,
};
