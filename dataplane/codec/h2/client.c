#include "dataplane/codec/h2/client.h"

#include <errno.h>

#include "common/alloc.h"
#include "dataplane/codec/h2/session.h"
#include "dataplane/http/message.h"
#include "dataplane/tls/session.h"

enum {
    FIRST_WINDOW = 16 << 10,               /* of a stream: the credit that every response has before its head */
    FIRST_CAPACITY = 100,                  /* until SETTINGS come (RFC 9113 section 6.5.2) ... */
    FIRST_STREAMS = 4,                     /* ... but so many go out before: who is refused has three more attempts */
    LAST_ID = 1 << 30,                     /* beyond it nothing is opened; ids end at twice that (section 5.1.1) */
};

struct h2_client {
    struct h2_session        session;      /* first */
    struct client_connection link;
    uint32_t                 most;         /* exchanges at once, by our own configuration */
    uint32_t                 opened;       /* streams that the library has */
    uint32_t                 batch;        /* counts what was written; the kernel has all before the present one */
    uint64_t                 ping_interval, received_at;
    bool                     ping_is_out;
    bool                     knows_limit;  /* SETTINGS have come, and say whether the origin knows tunnels */
    bool                     opens_no_more; /* GOAWAY has come, or the ids are used up; what is open goes on */
    bool                     is_owned;     /* the owner knows of it, and is told what becomes of it */
};

static const uint8_t life_ping[8] = "alive?";

static struct h2_client *client_of(const struct h2_session *session) {
    return (struct h2_client *)(uintptr_t)session;
}

static struct h2_client *of_link(struct client_connection *link) {
    return (struct h2_client *)((char *)link - offsetof(struct h2_client, link));
}

/* ---- what the owner is told ---- */

static void report_closed(struct h2_client *c) {
    if (!c->is_owned)
        return;
    c->is_owned = false;
    c->link.owner->on_closed(&c->link);
}

static void report_available(struct h2_client *c) {
    if (c->is_owned)
        c->link.owner->on_available(&c->link);
}

/* Nothing new is opened. */
static void drain(struct h2_client *c) {
    if (c->is_owned && !c->link.is_draining)
        c->link.owner->on_draining(&c->link);
}

/* ---- ends ---- */

static void end_stream(struct h2_stream *stream, enum abort_code code) {
    if (stream->leg.exchange)
        exchange_on_abort(&stream->leg, code);
    h2_stream_abandon(stream);
}

/* Nothing of its request is with the kernel: its head was not made yet, or is in what could not be written at all. */
static bool is_unwritten(const struct h2_stream *stream, bool write_failed) {
    const struct h2_client *c = client_of(stream->session);
    bool in_failed_write = write_failed && stream->batch == c->batch && !c->session.conn.blocked_since;
    return !stream->sent_head || in_failed_write;
}

/* The connection is of no more use. Whoever tries again must not get it, so its owner hears of it first. */
static void break_off(struct h2_client *c, enum abort_code code, bool write_failed) {
    struct h2_stream *stream;
    if (c->session.conn.is_closed)
        return;
    conn_close(&c->session.conn);
    report_closed(c);
    while ((stream = c->session.streams))
        end_stream(stream, is_unwritten(stream, write_failed) ? ABORT_ORIGIN_STALE : code);
}

/* Ends those streams of which the origin has seen nothing, and keeps the others. */
static void end_unwritten(struct h2_client *c, enum abort_code code, bool write_failed) {
    struct h2_stream *stream = c->session.streams, *next;
    for (; stream && !c->session.conn.is_closed; stream = next) {
        next = stream->next;
        if (!is_unwritten(stream, write_failed))
            continue;
        c->opened -= stream->id != 0;
        end_stream(stream, code);
        report_available(c);
    }
}

/* The connection ends with our GOAWAY, and what still comes is not read: nobody need wait until that is written. */
static void condemn(struct h2_client *c) {
    struct h2_stream *stream, *next;
    drain(c);
    for (stream = c->session.streams; stream && !c->session.conn.is_closed; stream = next) {
        next = stream->next;
        stream->is_stopped = true;
        stream->head = NULL;
        if (stream->leg.exchange)
            exchange_on_abort(&stream->leg, is_unwritten(stream, false) ? ABORT_ORIGIN_STALE : ABORT_ORIGIN_PROTOCOL);
    }
}

/* ---- what the origin allows ---- */

static uint32_t streams_allowed(const struct h2_session *session) {
    return nghttp2_session_get_remote_settings(session->library, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

static bool has_room(const struct h2_session *session) {
    const struct h2_client *c = client_of(session);
    uint32_t most = c->knows_limit ? streams_allowed(session) : FIRST_STREAMS;
    return c->opened < most && nghttp2_session_check_request_allowed(session->library);
}

static uint32_t least(uint64_t a, uint64_t b) {
    return (uint32_t)(a < b ? a : b);
}

/* Requests for tunnels stood aside until now, so that no other one waits behind them. */
static void send_tunnels(struct h2_session *session) {
    for (struct h2_stream *stream = session->streams; stream; stream = stream->next)
        if (stream->head && stream->id == 0 && !stream->is_pending)
            h2_stream_send_later(stream);
}

/* An origin that allows no stream for now is given one at a time all the same: that request waits for its turn, up to its
 * deadline. */
static void on_settings(struct h2_session *session) {
    struct h2_client *c = client_of(session);
    uint32_t capacity = least(streams_allowed(session), c->most);
    capacity = capacity ? capacity : 1;
    c->knows_limit = true;
    send_tunnels(session);
    if (session->pending)
        conn_mark_dirty(&session->conn);
    if (capacity == c->link.capacity)
        return;
    c->link.capacity = capacity;
    if (c->is_owned)
        c->link.owner->on_capacity(&c->link);
}

/* The library closes the streams above the last one that the origin looks at; it also refuses what it has not sent yet. */
static void on_goaway(struct h2_session *session) {
    struct h2_client *c = client_of(session);
    c->opens_no_more = true;
    drain(c);
    end_unwritten(c, ABORT_ORIGIN_REFUSED, false);
}

/* ---- is it alive? ---- */

static void await_sign(struct h2_client *c) {
    struct conn *conn = &c->session.conn;
    if (c->ping_interval && !conn->deadlines[DEADLINE_READ])
        conn_set_deadline(conn, DEADLINE_READ, conn->worker->now + c->ping_interval);
}

/* Only who waits for something asks. */
static void on_silence(struct h2_client *c) {
    struct conn *conn = &c->session.conn;
    uint64_t until = c->received_at + c->ping_interval;
    if (c->session.stream_count == 0)
        return;
    if (until > conn->worker->now) {
        conn_set_deadline(conn, DEADLINE_READ, until);
        return;
    }
    if (c->ping_is_out) {
        break_off(c, ABORT_ORIGIN_RESET, false);
        return;
    }
    c->ping_is_out = true;
    h2_session_check(&c->session, nghttp2_submit_ping(c->session.library, NGHTTP2_FLAG_NONE, life_ping));
    conn_mark_dirty(conn);
    await_sign(c);
}

/* ---- requests ---- */

/* RFC 8441 section 3. */
static bool knows_tunnels(const struct h2_session *session) {
    return nghttp2_session_get_remote_settings(session->library, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

/* A request for a tunnel to an origin that knows none is an ordinary one, whole with its head (RFC 9110 section 7.8). */
static size_t write_fields(struct h2_stream *stream, struct field_pair *nv) {
    const struct head *head = stream->head;
    bool asks = head->upgrade.n, is_tls = stream->session->conn.tls != NULL;
    if (!asks || !knows_tunnels(stream->session)) {
        stream->head_ends |= asks;
        return section_write_request(head, is_tls, nv, stream->digits);
    }
    stream->asks_tunnel = head->upgrade;
    stream->to_send = -1; /* what the request says of its content does not bind what comes behind it */
    return section_write_tunnel(head, is_tls, nv);
}

/* The id of its stream, or a code of the library. One that the origin has said to be too large is not sent. */
static int32_t submit_fields(struct h2_stream *stream, const struct field_pair *nv, size_t n,
                             const nghttp2_data_provider *provider) {
    nghttp2_session *library = stream->session->library;
    uint32_t most = nghttp2_session_get_remote_settings(library, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE);
    if (section_is_within(nv, n, most))
        return nghttp2_submit_request(library, NULL, h2_pairs(nv), n, stream->head_ends ? NULL : provider, stream);
    stream->leg.exchange->detail = "beyond-origin-limit";
    exchange_on_abort(&stream->leg, ABORT_HEADERS_TOO_LARGE);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int submit(struct h2_stream *stream, const nghttp2_data_provider *provider) {
    struct h2_client *c = client_of(stream->session);
    struct free_lists *lists = &c->session.conn.worker->free_lists;
    struct field_pair *nv = free_lists_alloc(lists, (stream->head->fields.count + SECTION_EXTRA_FIELDS) * sizeof *nv);
    if (!nv)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    int32_t id = submit_fields(stream, nv, write_fields(stream, nv), provider);
    free_lists_free(lists, nv);
    if (id < 0)
        return id;
    stream->id = id;
    stream->batch = c->batch;
    stream->write_deadline = 0;
    c->opened++;
    if (id >= LAST_ID) {
        c->opens_no_more = true;
        drain(c);
    }
    return 0;
}

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct h2_stream *stream = h2_stream_of(leg);
    stream->head = head;
    stream->head_ends = end;
    stream->asks_head = head->method == METHOD_HEAD;
    stream->to_send = head->content_length;
    if (!head->upgrade.n || client_of(stream->session)->knows_limit)
        h2_stream_send_later(stream);
    if (!stream->is_pending || !has_room(stream->session))
        h2_stream_await_window(stream); /* the origin lets it go in time, or never */
}

static bool has_exchange(const struct h2_client *c) {
    const struct h2_stream *stream = c->session.streams;
    while (stream && !stream->leg.exchange)
        stream = stream->next;
    return stream != NULL;
}

/* Whatever the reason is, an origin need not know more than that nobody waits. When it cannot be told, and nobody else
 * waits, the connection ends. */
static void abort_stream(struct leg *leg, enum abort_code code) {
    struct h2_client *c = client_of(h2_stream_of(leg)->session);
    const struct conn *conn = &c->session.conn;
    (void)code;
    h2_stream_reset(h2_stream_of(leg), NGHTTP2_CANCEL);
    if ((conn->is_blocked || conn->is_broken) && !has_exchange(c))
        break_off(c, ABORT_ORIGIN_RESET, false);
}

/* ---- responses ---- */

static struct h2_stream *on_open(struct h2_session *session, int32_t id) {
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->library, id);
    struct exchange *x = stream ? stream->leg.exchange : NULL;
    struct head *head = x ? arena_alloc(exchange_arena(x), sizeof *head) : NULL;
    if (head) {
        section_begin_head(&session->reader, SECTION_RESPONSE, VERSION_20, exchange_arena(x), &session->limits, head);
        return stream;
    }
    if (x) {
        exchange_on_abort(&stream->leg, ABORT_MEMORY);
        h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    }
    return NULL;
}

static void refuse(struct h2_stream *stream, enum section_error error) {
    if (section_error_is_malformed(error)) {
        h2_stream_refuse(stream, section_error_word(error));
        return;
    }
    stream->leg.exchange->detail = section_error_word(error);
    exchange_on_abort(&stream->leg, error == SECTION_MEMORY ? ABORT_MEMORY : ABORT_ORIGIN_TOO_LARGE);
    h2_stream_reset(stream, error == SECTION_TOO_MUCH_HELD ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_CANCEL);
}

/* The origin sees the whole credit of the response, unless what it announced fits into what it has. */
static void open_window(struct h2_stream *stream) {
    uint64_t window = stream->session->window, credit = exchange_credit(&stream->leg);
    bool fits = stream->to_receive >= 0 && (uint64_t)stream->to_receive <= window;
    if (credit > window && !fits)
        h2_stream_grant(&stream->leg, credit - window);
    else
        h2_stream_await_body(stream);
}

/* Any 2xx opens the tunnel; for the exchange that is 101. */
static void note_agreement(struct h2_stream *stream, struct head *head) {
    if (!stream->asks_tunnel.n || head->status > 299)
        return;
    head->status = 101;
    head->upgrade = stream->asks_tunnel;
    head->content_length = -1;
}

static void on_final_head(struct h2_stream *stream, struct head *head, bool end) {
    note_agreement(stream, head);
    bool has_body = !stream->asks_head && head->status != 204 && head->status != 304;
    stream->has_head = true;
    stream->to_receive = has_body ? head->content_length : 0;
    if (end && stream->to_receive > 0) {
        h2_stream_refuse(stream, "shorter-than-content-length");
        return;
    }
    exchange_on_head(&stream->leg, head, end);
    if (stream->leg.exchange && end)
        h2_stream_receive_end(stream);
    else if (stream->leg.exchange)
        open_window(stream);
}

static void on_head(struct h2_stream *stream, bool end) {
    struct section_reader *reader = &stream->session->reader;
    enum section_error error = section_read_end(reader, end);
    if (error)
        refuse(stream, error);
    else if (reader->head->status >= 200)
        on_final_head(stream, reader->head, end);
    else if (end)
        h2_stream_refuse(stream, "interim-response-ends");
    else
        exchange_on_head(&stream->leg, reader->head, false);
}

static void on_body_deadline(struct h2_stream *stream) {
    if (!stream->leg.exchange)
        return;
    exchange_on_abort(&stream->leg, ABORT_ORIGIN_BODY_TIMEOUT);
    h2_stream_reset(stream, NGHTTP2_CANCEL);
}

/* Another request may go out in its place. */
static void on_closed(struct h2_stream *stream) {
    struct h2_client *c = client_of(stream->session);
    c->opened -= stream->id != 0;
    if (c->session.pending)
        conn_mark_dirty(&c->session.conn);
    report_available(c);
}

static const struct leg_ops client_leg_ops = {
    .name = "h2", .send_head = send_head, .want_pull = h2_stream_want_pull, .grant = h2_stream_grant, .stop = h2_stream_stop,
    .abort = abort_stream,
};

static const struct h2_role client_role = {
    .is_server = false, .gone = ABORT_ORIGIN_STREAM_RESET, .refused = ABORT_ORIGIN_REFUSED,
    .malformed = ABORT_ORIGIN_PROTOCOL, .too_large = ABORT_ORIGIN_TOO_LARGE, .write_timeout = ABORT_ORIGIN_TIMEOUT,
    .on_open = on_open, .on_head = on_head, .on_body_deadline = on_body_deadline, .on_closed = on_closed,
    .has_room = has_room, .submit = submit, .on_settings = on_settings, .on_goaway = on_goaway, .leg_ops = &client_leg_ops,
};

/* ---- the connection ---- */

static void end_if_over(struct h2_client *c) {
    bool is_broken = c->session.fault != H2_FAULT_NONE ||
                     (!c->opens_no_more && !nghttp2_session_check_request_allowed(c->session.library));
    if (h2_session_is_over(&c->session))
        break_off(c, ABORT_ORIGIN_PROTOCOL, false);
    else if (is_broken)
        condemn(c);
}

static void on_bytes(struct conn *conn, uint8_t *bytes, size_t n) {
    struct h2_client *c = (struct h2_client *)conn;
    c->received_at = conn->worker->now;
    c->ping_is_out = false;
    h2_session_receive(&c->session, bytes, n);
    if (!conn->is_closed)
        end_if_over(c);
}

/* Always: two peers that both stop reading because they cannot write would wait for each other. What an origin can make us
 * queue has a bound of its own (frames.h). */
static size_t read_limit(struct conn *conn) {
    (void)conn;
    return READ_MAX;
}

static void fail_connect(struct h2_client *c, int error) {
    conn_close(&c->session.conn);
    c->is_owned = false;
    c->link.owner->on_connect_failed(&c->link, error);
}

static void on_eof(struct conn *conn) {
    break_off((struct h2_client *)conn, ABORT_ORIGIN_RESET, false);
}

static void on_error(struct conn *conn, int error) {
    struct h2_client *c = (struct h2_client *)conn;
    if (c->link.is_connected)
        break_off(c, ABORT_ORIGIN_RESET, false);
    else
        fail_connect(c, error);
}

/* What the origin sent before it closed, its GOAWAY above all, can still be read; then comes the end. */
static void on_write_error(struct conn *conn, int error) {
    struct h2_client *c = (struct h2_client *)conn;
    bool is_closed_by_peer = error == EPIPE || error == ECONNRESET;
    if (!is_closed_by_peer || c->session.stream_count == 0 || conn->is_eof) {
        break_off(c, ABORT_ORIGIN_RESET, true);
        return;
    }
    drain(c);
    end_unwritten(c, ABORT_ORIGIN_STALE, true);
    conn_want_read(conn);
}

static void on_dirty(struct conn *conn) {
    struct h2_client *c = (struct h2_client *)conn;
    if (c->session.is_failed)
        break_off(c, ABORT_ORIGIN_PROTOCOL, false);
}

static bool produce(struct conn *conn, struct gather *g) {
    struct h2_client *c = (struct h2_client *)conn;
    if (g->bytes == 0)
        c->batch++;
    return h2_session_produce(&c->session, g);
}

static void on_written(struct conn *conn) {
    end_if_over((struct h2_client *)conn);
}

static void on_connected(struct conn *conn) {
    struct h2_client *c = (struct h2_client *)conn;
    if (conn->tls && !str_eq(tls_protocol(conn->tls), STR("h2"))) {
        fail_connect(c, EPROTO);
        return;
    }
    conn_set_deadline(conn, DEADLINE_READ, 0);
    c->link.is_connected = true;
    c->received_at = conn->worker->now;
    conn_want_read(conn);
    conn_mark_dirty(conn);
    c->link.owner->on_connected(&c->link);
}

static void on_deadline(struct conn *conn, enum conn_deadline which) {
    struct h2_client *c = (struct h2_client *)conn;
    if (!c->link.is_connected)
        on_error(conn, ETIMEDOUT);
    else if (which == DEADLINE_READ)
        on_silence(c);
    else
        break_off(c, ABORT_ORIGIN_TIMEOUT, false); /* idle for long enough, or it takes nothing from us */
}

static void destroy(struct conn *conn) {
    struct h2_client *c = (struct h2_client *)conn;
    h2_session_finish(&c->session);
    stats_sub(&conn->worker->stats->origin_connections, 1);
    hg_free(c);
}

static const struct conn_ops client_conn_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_write_error,
    .on_connected = on_connected, .on_dirty = on_dirty, .produce = produce, .on_written = on_written,
    .on_deadline = on_deadline, .destroy = destroy, .is_client = false,
};

/* ---- for the owner ---- */

static void set_options(struct client_connection *link, const struct client_options *o) {
    struct h2_client *c = of_link(link);
    c->session.limits = (struct section_limits){
        .header_bytes = o->header_bytes, .headers = o->headers, .trailer_bytes = o->trailer_bytes};
    c->session.conn.write_timeout = o->write_timeout;
}

static int begin_session(struct h2_client *c, struct worker *w, const struct client_options *o) {
    struct http2_options defaults;
    const struct http2_options *http2 = o->http2 ? o->http2 : &defaults;
    if (!o->http2)
        http2_options_init(&defaults, NULL, o->header_bytes);
    c->most = http2->max_concurrent_streams;
    c->ping_interval = http2->ping_interval;
    const struct h2_session_options options = {
        .window = least(http2->initial_stream_window, FIRST_WINDOW), .header_list_bytes = o->header_bytes, .http2 = http2};
    return h2_session_init(&c->session, w, &client_role, &options);
}

static int connect_to(struct h2_client *c, struct worker *w, const struct client_target *to,
                      const struct client_options *o) {
    struct tls_session *tls = NULL;
    if (begin_session(c, w, o) < 0)
        return ENOMEM;
    if (o->tls && !(tls = tls_session_connect(w, o->tls, to->hostname, to->endpoint))) {
        h2_session_finish(&c->session);
        return ENOMEM;
    }
    int error = conn_connect(&c->session.conn, w, to->address, to->preamble, tls, &client_conn_ops);
    if (error)
        h2_session_finish(&c->session);
    return error;
}

static struct client_connection *open_connection(struct worker *w, const struct client_target *to,
                                                 const struct client_options *o, const struct client_owner_ops *owner) {
    struct h2_client *c = hg_calloc(1, sizeof *c);
    int error = c ? connect_to(c, w, to, o) : ENOMEM;
    if (error) {
        hg_free(c);
        errno = error;
        return NULL;
    }
    c->is_owned = true;
    c->link = (struct client_connection){.codec = &h2_client_codec, .owner = owner, .endpoint = to->endpoint,
                                         .opened_at = w->now, .capacity = least(FIRST_CAPACITY, c->most)};
    set_options(&c->link, o);
    stats_add(&w->stats->origin_connections, 1);
    if (o->connect_timeout)
        conn_set_deadline(&c->session.conn, DEADLINE_READ, w->now + o->connect_timeout);
    return &c->link;
}

static struct leg *open_leg(struct client_connection *link) {
    struct h2_client *c = of_link(link);
    struct h2_stream *stream = h2_stream_create(&c->session, 0);
    if (!stream)
        return NULL;
    if (c->session.stream_count == 1) {
        conn_set_deadline(&c->session.conn, DEADLINE_IDLE, 0);
        c->received_at = c->session.conn.worker->now; /* an origin that had nothing to say is not late */
    }
    await_sign(c);
    return &stream->leg;
}

static void rest(struct client_connection *link, uint64_t idle_timeout) {
    struct conn *conn = &of_link(link)->session.conn;
    conn->is_resting = true;
    conn_set_deadline(conn, DEADLINE_IDLE, idle_timeout ? conn->worker->now + idle_timeout : 0);
    conn_want_read(conn);
}

/* An origin that broke the protocol is told so first: on_written ends the connection, within this turn. */
static bool has_last_word(const struct h2_client *c) {
    const struct conn *conn = &c->session.conn;
    nghttp2_session *library = c->session.library;
    bool has_goaway = !nghttp2_session_check_request_allowed(library) && nghttp2_session_want_write(library);
    return has_goaway && !c->session.is_failed && c->session.stream_count == 0 && !conn->is_blocked && !conn->is_broken;
}

static void close_quietly(struct client_connection *link) {
    struct h2_client *c = of_link(link);
    c->is_owned = false;
    if (has_last_word(c))
        conn_mark_dirty(&c->session.conn);
    else
        break_off(c, ABORT_SHUTDOWN, false);
}

const struct client_codec h2_client_codec = {
    .name = "http2", .connect = open_connection, .open = open_leg, .set_options = set_options, .rest = rest,
    .close = close_quietly,
};
