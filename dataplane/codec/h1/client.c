#include "dataplane/codec/h1/client.h"

#include <errno.h>

#include "common/alloc.h"
#include "dataplane/codec/h1/body.h"
#include "dataplane/codec/h1/upgrade.h"
#include "dataplane/codec/h1/writer.h"
#include "dataplane/net/conn.h"
#include "dataplane/tls/session.h"

enum { FRAMING_SLACK = 1024 }; /* read beyond the credit, for chunk sizes and the like */

struct h1_client {
    struct conn              conn;             /* first */
    struct client_connection link;
    struct leg               leg;
    struct client_options    options;
    struct h1_limits         limits;
    struct h1_input          input;
    struct h1_scan           scan;
    struct h1_body_reader    reader;
    struct h1_body_writer    writer;
    const struct head       *request;          /* to be written; NULL: none or written already */
    struct str               upgrade, accept;  /* asked for, in the exchange's arena; accept: WebSocket's right answer */
    enum method              method;
    bool                     request_ends;
    bool                     is_writing;       /* the head is written, the body follows */
    bool                     request_sent;     /* in full */
    bool                     in_body;          /* the final response head has come */
    bool                     keep_alive;
    bool                     is_tunnel;        /* the origin has agreed */
    bool                     has_ended;        /* of a tunnel: all is with the connection */
};

static const struct conn_ops client_conn_ops;
static const struct leg_ops client_leg_ops;

static struct h1_client *of_leg(struct leg *leg) {
    return (struct h1_client *)((char *)leg - offsetof(struct h1_client, leg));
}

static struct h1_client *of_link(struct client_connection *link) {
    return (struct h1_client *)((char *)link - offsetof(struct h1_client, link));
}

static void close_and_report(struct h1_client *c) {
    if (c->conn.is_closed)
        return;
    conn_close(&c->conn);
    c->link.owner->on_closed(&c->link);
}

/* In the middle of an exchange. What was sent through a tunnel must not look whole. */
static void cut(struct h1_client *c) {
    if (c->conn.is_closed)
        return;
    if (c->is_tunnel)
        conn_reset(&c->conn);
    else
        conn_close(&c->conn);
    c->link.owner->on_closed(&c->link);
}

static void break_off(struct h1_client *c, enum abort_code code) {
    bool unprocessed = !c->conn.has_sent && code == ABORT_ORIGIN_RESET;
    struct leg *leg = &c->leg;
    cut(c);
    if (leg->exchange)
        exchange_on_abort(leg, unprocessed ? ABORT_ORIGIN_STALE : code);
}

/* ---- response ---- */

/* The response is complete: the connection goes back to its owner, or is closed when it cannot carry another exchange. */
static void finish_response(struct h1_client *c, bool has_leftover) {
    bool reusable = c->keep_alive && c->request_sent && !has_leftover && !c->conn.is_eof && !c->conn.is_broken &&
                    !conn_has_unsent(&c->conn);
    conn_set_deadline(&c->conn, DEADLINE_READ, 0);
    c->in_body = false;
    if (!reusable) {
        close_and_report(c);
        return;
    }
    c->link.owner->on_available(&c->link);
}

static void await_body(struct h1_client *c) {
    bool is_waiting = c->leg.exchange && c->in_body && !c->is_tunnel && exchange_credit(&c->leg);
    uint64_t wait = is_waiting ? exchange_timeouts(c->leg.exchange)->response_body : 0;
    conn_set_deadline(&c->conn, DEADLINE_READ, wait ? c->conn.worker->now + wait : 0);
}

static void refuse(struct h1_client *c, enum h1_error error) {
    struct exchange *x = c->leg.exchange;
    bool is_large = h1_error_status(error) == 431;
    if (x)
        x->detail = h1_error_word(error);
    break_off(c, error == H1_MEMORY ? ABORT_MEMORY : is_large ? ABORT_ORIGIN_TOO_LARGE : ABORT_ORIGIN_PROTOCOL);
}

static void begin_response(struct h1_client *c, struct head *head) {
    struct exchange *x = c->leg.exchange;
    enum h1_framing framing = h1_response_framing(head, c->method);
    c->is_tunnel = framing == H1_BODY_TUNNEL;
    if (c->is_tunnel && (!c->upgrade.n || !h1_upgrade_agreed(head, c->upgrade, c->accept))) {
        refuse(c, H1_STATUS); /* nobody asked for it */
        return;
    }
    if (c->is_tunnel) {
        c->writer = (struct h1_body_writer){.framing = H1_BODY_TUNNEL};
        c->is_writing = true;
    }
    /* What was asked for an upgrade is not used again, agreed or not: what follows may be read two ways. */
    c->keep_alive = head->keep_alive && framing != H1_BODY_UNTIL_CLOSE && !c->upgrade.n;
    uint64_t length = framing == H1_BODY_LENGTH ? (uint64_t)head->content_length : 0;
    if (h1_body_reader_init(&c->reader, framing, length, &c->limits, exchange_arena(x)) < 0) {
        refuse(c, H1_MEMORY);
        return;
    }
    if (framing == H1_BODY_CHUNKED || framing == H1_BODY_UNTIL_CLOSE || framing == H1_BODY_TUNNEL)
        head->content_length = -1;
    c->in_body = true;
    exchange_on_head(&c->leg, head, framing == H1_BODY_NONE);
}

static void parse_head(struct h1_client *c, const uint8_t *bytes, size_t n, bool is_guess) {
    struct arena *arena = exchange_arena(c->leg.exchange);
    struct head *head = arena_alloc(arena, sizeof *head);
    char *copy = arena_memdup(arena, bytes, n);
    enum h1_error error = head && copy ? h1_parse_response(arena, copy, n, &c->limits, head) : H1_MEMORY;
    if (error && is_guess)
        h1_judge_guess(H1_RESPONSE, &c->limits, (const char *)bytes, n, &error);
    if (error)
        refuse(c, error);
    else if (head->status < 200 && head->status != 101)
        exchange_on_head(&c->leg, head, false);
    else
        begin_response(c, head);
}

static size_t read_head(struct h1_client *c, const uint8_t *bytes, size_t n) {
    size_t guess = c->scan.looked ? 0 : h1_guess_head(&c->limits, (const char *)bytes, n);
    enum h1_scan_result result = guess ? H1_SCAN_DONE : h1_scan_head(&c->scan, &c->limits, (const char *)bytes, n);
    size_t start = c->scan.start, end = guess ? guess : c->scan.end;
    if (result == H1_SCAN_MORE)
        return 0;
    if (result == H1_SCAN_ERROR) {
        refuse(c, c->scan.error);
        return n;
    }
    c->scan = (struct h1_scan){.section = H1_RESPONSE};
    parse_head(c, bytes + start, end - start, guess > 0);
    return end;
}

/* True when the message is complete; then *used bytes of it were taken. */
static bool read_body(struct h1_client *c, const uint8_t *bytes, size_t n, bool is_hot, size_t *used) {
    enum h1_error error = H1_OK;
    if (c->reader.framing == H1_BODY_NONE) {
        *used = 0;
        exchange_on_end(&c->leg, NULL);
        return true;
    }
    switch (h1_body_read(&c->reader, &c->leg, c->conn.worker, bytes, n, is_hot, used, &error)) {
    case H1_READ_END: return true;
    case H1_READ_ERROR: refuse(c, error); break;
    case H1_READ_GONE: close_and_report(c); break;
    case H1_READ_MORE: await_body(c); break;
    }
    return false;
}

static size_t process(struct h1_client *c, const uint8_t *bytes, size_t n, bool is_hot) {
    size_t done = 0, used = 1;
    while (!c->conn.is_closed && c->leg.exchange && (used || c->in_body)) {
        if (!c->in_body) {
            if (done == n)
                break;
            used = read_head(c, bytes + done, n - done);
            done += used;
            continue;
        }
        bool is_complete = read_body(c, bytes + done, n - done, is_hot, &used);
        done += used;
        if (is_complete) {
            finish_response(c, done < n);
            return n;
        }
        if (used == 0 || done == n)
            break;
    }
    return c->conn.is_closed ? n : done;
}

static void process_kept(struct h1_client *c) {
    if (c->input.n == 0 || c->conn.is_closed)
        return;
    size_t done = process(c, (const uint8_t *)c->input.p, c->input.n, false);
    if (done)
        h1_input_drop(&c->input, done < c->input.n ? done : c->input.n);
    conn_set_held(&c->conn, c->input.n);
}

static void take_bytes(struct conn *conn, uint8_t *bytes, size_t n) {
    struct h1_client *c = (struct h1_client *)conn;
    if (!c->leg.exchange || c->request) { /* an answer before the question belongs to nobody */
        break_off(c, ABORT_ORIGIN_RESET);
        return;
    }
    if (c->input.n) {
        if (h1_input_add(&c->input, bytes, n) < 0)
            break_off(c, ABORT_MEMORY);
        else
            process_kept(c);
        return;
    }
    size_t done = process(c, bytes, n, true);
    if (!conn->is_closed && done < n && h1_input_add(&c->input, bytes + done, n - done) < 0)
        break_off(c, ABORT_MEMORY);
}

static void on_bytes(struct conn *conn, uint8_t *bytes, size_t n) {
    take_bytes(conn, bytes, n);
    conn_set_held(conn, ((struct h1_client *)conn)->input.n);
}

static size_t read_limit(struct conn *conn) {
    struct h1_client *c = (struct h1_client *)conn;
    if (!c->leg.exchange)
        return 4096;
    if (!c->in_body)
        return READ_MAX;
    uint64_t credit = exchange_credit(&c->leg);
    return c->input.n || credit == 0 ? 0 : credit < READ_MAX - FRAMING_SLACK ? credit + FRAMING_SLACK : READ_MAX;
}

/* The origin has ended its side of the tunnel. */
static void end_tunnel(struct h1_client *c) {
    bool is_first = c->leg.exchange && c->in_body;
    c->in_body = false;
    if (is_first)
        exchange_on_end(&c->leg, NULL);
    if (!c->leg.exchange && !conn_has_unsent(&c->conn) && !c->conn.flushable.is_dirty)
        close_and_report(c);
}

static void on_eof(struct conn *conn) {
    struct h1_client *c = (struct h1_client *)conn;
    if (c->is_tunnel && !conn->is_truncated && c->input.n == 0) {
        end_tunnel(c);
        return;
    }
    bool ends_body = c->in_body && c->reader.framing == H1_BODY_UNTIL_CLOSE && !conn->is_truncated;
    if (c->leg.exchange && ends_body && c->input.n == 0) {
        exchange_on_end(&c->leg, NULL);
        close_and_report(c);
        return;
    }
    if (c->leg.exchange && c->in_body && c->input.n)
        return; /* what is kept is delivered first, as credit comes */
    break_off(c, ABORT_ORIGIN_RESET);
}

static void on_error(struct conn *conn, int error) {
    struct h1_client *c = (struct h1_client *)conn;
    if (!c->link.is_connected) {
        conn_close(conn);
        c->link.owner->on_connect_failed(&c->link, error);
        return;
    }
    break_off(c, ABORT_ORIGIN_RESET);
}

/* The origin takes no more of the request. Its answer may be on the way (exchange.md: errors towards the origin). */
static void on_write_error(struct conn *conn, int error) {
    struct h1_client *c = (struct h1_client *)conn;
    (void)error;
    if (!c->leg.exchange || !conn->has_sent) {
        break_off(c, ABORT_ORIGIN_RESET);
        return;
    }
    c->is_writing = false;
    c->request = NULL;
    exchange_on_stop(&c->leg);
    if (!c->leg.exchange)
        close_and_report(c);
}

/* ---- request ---- */

static bool write_head(struct h1_client *c, struct gather *g) {
    struct head head = *c->request;
    enum h1_framing framing = H1_BODY_NONE;
    if (c->request_ends) {
        head.chunked = false;
        if (head.content_length > 0)
            head.content_length = 0;
    } else if (head.content_length >= 0) {
        framing = H1_BODY_LENGTH;
        head.chunked = false;
    } else {
        framing = H1_BODY_CHUNKED;
        head.chunked = true;
    }
    enum h1_connection connection = head.upgrade.n ? H1_CONNECTION_UPGRADE : H1_CONNECTION_DEFAULT;
    c->upgrade = head.upgrade;
    if (head.upgrade.n) {
        framing = H1_BODY_NONE;
        head.chunked = false;
        if (h1_upgrade_ask(&head, exchange_arena(c->leg.exchange), c->conn.worker, &c->accept) < 0)
            return false;
    }
    size_t room_size = GATHER_SCRATCH - g->scratch_used;
    char *room = (char *)gather_room(g, 1);
    size_t n = room ? h1_write_request_head(&head, connection, room, room_size) : 0;
    if (n == 0 || n > room_size)
        return false;
    gather_wrote(g, n);
    c->writer = (struct h1_body_writer){.framing = framing,
                                        .left = head.content_length > 0 ? (uint64_t)head.content_length : 0};
    c->request = NULL;
    c->is_writing = !c->request_ends && !head.upgrade.n;
    c->request_sent = c->request_ends;
    return true;
}

static bool produce(struct conn *conn, struct gather *g) {
    struct h1_client *c = (struct h1_client *)conn;
    if (c->request && !write_head(c, g)) {
        if (g->bytes == 0)
            break_off(c, ABORT_MEMORY);
        return true;
    }
    if (!c->is_writing || !c->leg.exchange)
        return false;
    switch (h1_body_write(&c->writer, &c->leg, g)) {
    case H1_WRITE_WAIT: break;
    case H1_WRITE_FULL: return true;
    case H1_WRITE_END:
        c->is_writing = false;
        c->request_sent = true;
        c->has_ended = c->is_tunnel;
        break;
    case H1_WRITE_BROKEN: break_off(c, ABORT_CLIENT_PROTOCOL); break;
    }
    return false;
}

/* What was kept is tried again, also while the other direction is blocked or broken. */
static void on_dirty(struct conn *conn) {
    struct h1_client *c = (struct h1_client *)conn;
    if (c->input.n == 0)
        return;
    process_kept(c);
    if (!conn->is_closed && conn->is_eof && c->input.n == 0)
        on_eof(conn);
}

static void on_written(struct conn *conn) {
    struct h1_client *c = (struct h1_client *)conn;
    if (c->has_ended)
        conn_shutdown_write(conn);
    if (conn->is_eof && c->input.n == 0)
        on_eof(conn);
}

/* ---- from the core ---- */

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct h1_client *c = of_leg(leg);
    c->request = head;
    c->request_ends = end;
    c->method = head->method;
    conn_mark_dirty(&c->conn);
}

static void want_pull(struct leg *leg) {
    conn_mark_dirty(&of_leg(leg)->conn);
}

static void grant(struct leg *leg, size_t n) {
    struct h1_client *c = of_leg(leg);
    (void)n;
    conn_want_read(&c->conn);
    await_body(c);
    if (c->input.n)
        conn_mark_dirty(&c->conn);
}

static void stop(struct leg *leg) {
    (void)leg; /* the exchange aborts the leg once the other flow is done */
}

static void abort_stream(struct leg *leg, enum abort_code code) {
    (void)code;
    cut(of_leg(leg));
}

static const struct leg_ops client_leg_ops = {
    .name = "h1", .send_head = send_head, .want_pull = want_pull, .grant = grant, .stop = stop, .abort = abort_stream,
    .reads_on_demand = true,
};

/* ---- connection ---- */

static void on_connected(struct conn *conn) {
    struct h1_client *c = (struct h1_client *)conn;
    conn_set_deadline(conn, DEADLINE_READ, 0);
    c->link.is_connected = true;
    conn_want_read(conn);
    c->link.owner->on_connected(&c->link);
}

static void on_deadline(struct conn *conn, enum conn_deadline which) {
    struct h1_client *c = (struct h1_client *)conn;
    if (!c->link.is_connected)
        on_error(conn, ETIMEDOUT);
    else if (!c->leg.exchange)
        close_and_report(c); /* idle for long enough */
    else
        break_off(c, which == DEADLINE_WRITE ? ABORT_ORIGIN_TIMEOUT : ABORT_ORIGIN_BODY_TIMEOUT);
}

static void destroy(struct conn *conn) {
    struct h1_client *c = (struct h1_client *)conn;
    h1_input_finish(&c->input);
    stats_sub(&conn->worker->stats->origin_connections, 1);
    hg_free(c);
}

static const struct conn_ops client_conn_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_write_error,
    .on_connected = on_connected, .on_dirty = on_dirty, .produce = produce, .on_written = on_written,
    .on_deadline = on_deadline, .destroy = destroy, .is_client = false,
};

static void set_options(struct client_connection *link, const struct client_options *o) {
    struct h1_client *c = of_link(link);
    c->options = *o;
    c->limits = (struct h1_limits){.header_bytes = o->header_bytes, .headers = o->headers, .uri_bytes = 0,
                                   .trailer_bytes = o->trailer_bytes};
    c->conn.write_timeout = o->write_timeout;
}

static struct client_connection *open_connection(struct worker *w, const struct client_target *to,
                                                 const struct client_options *o, const struct client_owner_ops *owner) {
    struct h1_client *c = hg_calloc(1, sizeof *c);
    struct tls_session *tls = NULL;
    int error = c ? 0 : ENOMEM;
    if (c && o->tls && !(tls = tls_session_connect(w, o->tls, to->hostname, to->endpoint)))
        error = ENOMEM;
    if (!error)
        error = conn_connect(&c->conn, w, to->address, to->preamble, tls, &client_conn_ops);
    if (error) {
        hg_free(c);
        errno = error;
        return NULL;
    }
    c->leg.ops = &client_leg_ops;
    c->link = (struct client_connection){
        .codec = &h1_client_codec, .owner = owner, .endpoint = to->endpoint, .opened_at = w->now, .capacity = 1};
    set_options(&c->link, o);
    stats_add(&w->stats->origin_connections, 1);
    if (o->connect_timeout)
        conn_set_deadline(&c->conn, DEADLINE_READ, w->now + o->connect_timeout);
    return &c->link;
}

static struct leg *open_leg(struct client_connection *link) {
    struct h1_client *c = of_link(link);
    c->scan = (struct h1_scan){.section = H1_RESPONSE};
    c->upgrade = c->accept = (struct str){NULL, 0};
    c->is_tunnel = c->has_ended = false;
    c->in_body = c->is_writing = c->request_sent = c->conn.has_produced = c->conn.has_sent = false;
    c->keep_alive = false;
    conn_set_deadline(&c->conn, DEADLINE_IDLE, 0);
    return &c->leg;
}

static void rest(struct client_connection *link, uint64_t idle_timeout) {
    struct h1_client *c = of_link(link);
    c->conn.is_resting = true;
    conn_set_deadline(&c->conn, DEADLINE_IDLE, idle_timeout ? c->conn.worker->now + idle_timeout : 0);
    conn_want_read(&c->conn);
}

static void close_quietly(struct client_connection *link) {
    conn_close(&of_link(link)->conn);
}

const struct client_codec h1_client_codec = {
    .name = "http1", .connect = open_connection, .open = open_leg, .set_options = set_options, .rest = rest,
    .close = close_quietly,
};
