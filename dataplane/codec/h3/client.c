#include "dataplane/codec/h3/client.h"

#include <errno.h>

#include "common/alloc.h"
#include "dataplane/codec/h3/session.h"
#include "dataplane/http/message.h"
#include "dataplane/quic/client.h"
#include "dataplane/tls/session.h"

enum {
    FIRST_WINDOW = 16 << 10,               /* of a stream: the credit that every response has before its head */
    FIRST_CAPACITY = 100,                  /* until the handshake tells */
    NO_APPLICATION_PROTOCOL = QUIC_CRYPTO_ERROR + 120, /* RFC 9001 section 8.1 */
};

struct h3_client {
    struct h3_session        session;      /* first; begun once the handshake has come so far */
    struct client_connection link;
    struct http3_options     options;
    struct timer             idle;
    uint64_t                 idle_at;      /* 0: it carries something */
    uint64_t                 received_at, asked_at; /* a sign of life; when it was given something to do */
    uint32_t                 window;       /* of a stream, to begin with */
    uint32_t                 most;         /* exchanges at once, by our own configuration */
    uint32_t                 opened;       /* exchanges that have a stream */
    bool                     opens_no_more; /* GOAWAY has come; what is open goes on */
    bool                     is_owned;     /* the owner knows of it, and is told what becomes of it */
};

static struct h3_client *client_of(const struct h3_session *session) {
    return (struct h3_client *)(uintptr_t)session;
}

static struct h3_client *of_user(struct quic_user *user) {
    return (struct h3_client *)user;
}

static struct h3_client *of_link(struct client_connection *link) {
    return (struct h3_client *)((char *)link - offsetof(struct h3_client, link));
}

/* ---- what the owner is told ---- */

static void fail_connect(struct h3_client *c, int error) {
    if (!c->is_owned)
        return;
    c->is_owned = false;
    c->link.owner->on_connect_failed(&c->link, error);
}

/* Before it is connected nothing but memory ends its session. */
static void report_closed(struct h3_client *c) {
    if (!c->link.is_connected) {
        fail_connect(c, ENOMEM);
    } else if (c->is_owned) {
        c->is_owned = false;
        c->link.owner->on_closed(&c->link);
    }
}

static void report_available(struct h3_client *c) {
    if (c->is_owned)
        c->link.owner->on_available(&c->link);
}

/* Nothing new is opened. */
static void drain(struct h3_client *c) {
    if (c->is_owned && !c->link.is_draining)
        c->link.owner->on_draining(&c->link);
}

/* ---- ends ---- */

static void end_stream(struct h3_stream *stream, enum abort_code code) {
    if (stream->leg.exchange)
        exchange_on_abort(&stream->leg, code);
    h3_stream_reset(stream, H3_REQUEST_CANCELLED);
}

/* The origin cannot have seen anything of its request. */
static bool is_unsent(const struct h3_stream *stream) {
    return !stream->sent_head;
}

static bool has_exchange(const struct h3_client *c) {
    const struct h3_stream *stream = c->session.streams;
    while (stream && !stream->leg.exchange)
        stream = stream->next;
    return stream != NULL;
}

/* The connection is of no more use. Whoever tries again must not get it, so its owner hears of it first. What the other
 * exchanges are told is the session's business, unless it was lost. */
static void on_over(struct h3_session *session, const struct quic_closing *why) {
    struct h3_client *c = client_of(session);
    struct h3_stream *stream, *next;
    report_closed(c);
    for (stream = session->streams; stream; stream = next) {
        next = stream->next;
        if (stream->leg.exchange && (why || is_unsent(stream)))
            exchange_on_abort(&stream->leg, is_unsent(stream) ? ABORT_ORIGIN_STALE : ABORT_ORIGIN_RESET);
    }
}

/* ---- what the origin allows ---- */

static uint32_t least(uint64_t a, uint64_t b) {
    return (uint32_t)(a < b ? a : b);
}

/* An origin that allows no stream for now is given one at a time all the same: that request waits for its turn, up to its
 * deadline. */
static void update_capacity(struct h3_client *c) {
    uint32_t capacity = least(c->opened + quic_streams_left(c->session.user.conn, true), c->most);
    capacity = capacity ? capacity : 1;
    if (c->session.pending)
        quic_mark_dirty(c->session.user.conn);
    if (capacity == c->link.capacity)
        return;
    c->link.capacity = capacity;
    if (c->is_owned && c->link.is_connected)
        c->link.owner->on_capacity(&c->link);
}

static void on_streams(struct h3_session *session) {
    update_capacity(client_of(session));
}

/* Whether the origin knows tunnels is clear: requests for them stood aside until now, so that no other one waits behind
 * them. */
static void on_settings(struct h3_session *session) {
    for (struct h3_stream *stream = session->streams; stream; stream = stream->next)
        if (stream->head && stream->id < 0 && !stream->is_pending)
            h3_stream_send_later(stream);
}

/* Requests from this id on were not looked at, and will not be (RFC 9114 section 5.2). */
static void on_goaway(struct h3_session *session, uint64_t id) {
    struct h3_client *c = client_of(session);
    struct h3_stream *stream, *next;
    c->opens_no_more = true;
    drain(c);
    for (stream = session->streams; stream && !session->is_over; stream = next) {
        next = stream->next;
        if (stream->id < 0 || (uint64_t)stream->id >= id)
            end_stream(stream, ABORT_ORIGIN_REFUSED);
    }
}

/* ---- requests ---- */

static int open_stream(struct h3_stream *stream) {
    struct h3_session *session = stream->session;
    struct h3_client *c = client_of(session);
    int64_t id;
    if (c->opens_no_more || quic_open_stream(session->user.conn, true, &id) < 0)
        return -1;
    h3_stream_set_id(stream, id);
    h3_stream_await_window(stream, false);
    c->opened++;
    return 0;
}

/* A request for a tunnel to an origin that knows none is an ordinary one, whole with its head (RFC 9110 section 7.8). */
static size_t write_fields(struct h3_stream *stream, struct field_pair *nv) {
    const struct head *head = stream->head;
    bool asks = head->upgrade.n;
    if (!asks || !stream->session->control.settings.connect_protocol) {
        stream->head_ends |= asks;
        return section_write_request(head, true, nv, stream->digits);
    }
    stream->asks_tunnel = head->upgrade;
    stream->to_send = -1; /* what the request says of its content does not bind what comes behind it */
    return section_write_tunnel(head, true, nv);
}

static size_t write_head(struct h3_stream *stream, struct field_pair *nv) {
    size_t n = write_fields(stream, nv);
    if (section_is_within(nv, n, stream->session->control.settings.field_section_size))
        return n;
    stream->leg.exchange->detail = "beyond-origin-limit";
    h3_stream_break(stream, ABORT_HEADERS_TOO_LARGE, H3_REQUEST_CANCELLED);
    return 0;
}

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct h3_stream *stream = h3_stream_of(leg);
    stream->head = head;
    stream->head_ends = end;
    stream->asks_head = head->method == METHOD_HEAD;
    stream->to_send = head->content_length;
    if (!head->upgrade.n || stream->session->control.has_settings)
        h3_stream_send_later(stream);
    h3_stream_await_window(stream, true); /* the origin lets it begin in time, or never */
}

/* Whatever the reason is, an origin need not know more than that nobody waits. One that has said nothing since it was asked
 * may be gone without a word: nobody else is to wait for it. */
static void abort_stream(struct leg *leg, enum abort_code code) {
    struct h3_client *c = client_of(h3_stream_of(leg)->session);
    (void)code;
    h3_stream_reset(h3_stream_of(leg), H3_REQUEST_CANCELLED);
    if (c->received_at < c->asked_at && !has_exchange(c))
        h3_session_end(&c->session, H3_NO_ERROR, "", ABORT_ORIGIN_RESET);
}

/* ---- responses ---- */

static bool on_open(struct h3_stream *stream) {
    struct h3_session *session = stream->session;
    struct exchange *x = stream->leg.exchange;
    struct head *head = x ? arena_alloc(exchange_arena(x), sizeof *head) : NULL;
    if (head) {
        section_begin_head(&session->reader, SECTION_RESPONSE, VERSION_30, exchange_arena(x), &session->limits, head);
        return true;
    }
    if (x)
        h3_stream_break(stream, ABORT_MEMORY, H3_INTERNAL_ERROR);
    return false;
}

static void refuse(struct h3_stream *stream, enum section_error error) {
    if (section_error_is_malformed(error)) {
        h3_stream_refuse(stream, section_error_word(error));
        return;
    }
    stream->leg.exchange->detail = section_error_word(error);
    h3_stream_break(stream, error == SECTION_MEMORY ? ABORT_MEMORY : ABORT_ORIGIN_TOO_LARGE,
                    error == SECTION_TOO_MUCH_HELD ? H3_EXCESSIVE_LOAD : H3_REQUEST_CANCELLED);
}

/* The origin sees the whole credit of the response, unless what it announced fits into what it has. Half of that may go into
 * heads of frames and the like: ngtcp2 says that more is allowed only when it is half of the first window. */
static void open_window(struct h3_stream *stream) {
    uint64_t window = client_of(stream->session)->window, credit = exchange_credit(&stream->leg);
    bool fits = stream->to_receive >= 0 && (uint64_t)stream->to_receive <= window / 2;
    if (credit > window && !fits)
        h3_stream_grant(&stream->leg, credit - window);
    else
        h3_stream_await_body(stream);
}

/* Any 2xx opens the tunnel; for the exchange that is 101. */
static void note_agreement(struct h3_stream *stream, struct head *head) {
    if (!stream->asks_tunnel.n || head->status > 299)
        return;
    stream->is_tunnel = true;
    head->status = 101;
    head->upgrade = stream->asks_tunnel;
    head->content_length = -1;
}

static void on_final_head(struct h3_stream *stream, struct head *head, bool end) {
    note_agreement(stream, head);
    bool has_body = !stream->asks_head && head->status != 204 && head->status != 304;
    stream->has_head = true;
    stream->to_receive = has_body ? head->content_length : 0;
    if (end && stream->to_receive > 0) {
        h3_stream_refuse(stream, "shorter-than-content-length");
        return;
    }
    exchange_on_head(&stream->leg, head, end);
    if (stream->leg.exchange && end)
        h3_stream_receive_end(stream);
    else if (stream->leg.exchange)
        open_window(stream);
}

static void on_head(struct h3_stream *stream, bool end) {
    struct section_reader *reader = &stream->session->reader;
    enum section_error error = section_read_end(reader, end);
    if (error)
        refuse(stream, error);
    else if (reader->head->status >= 200)
        on_final_head(stream, reader->head, end);
    else if (end)
        h3_stream_refuse(stream, "interim-response-ends");
    else
        exchange_on_head(&stream->leg, reader->head, false);
}

static void on_body_deadline(struct h3_stream *stream) {
    if (stream->leg.exchange)
        h3_stream_break(stream, ABORT_ORIGIN_BODY_TIMEOUT, H3_REQUEST_CANCELLED);
}

/* Nothing is open on the connection from here on, whenever our last packet is acknowledged: if it breaks while the next
 * request is on its way, that one goes out again as on any connection that was kept. */
static void on_done(struct h3_stream *stream) {
    stream->is_done = true;
    report_available(client_of(stream->session));
}

/* Another request may go out in its place. */
static void on_stream_closed(struct h3_stream *stream) {
    struct h3_client *c = client_of(stream->session);
    c->opened -= stream->id >= 0;
    update_capacity(c);
    if (!stream->is_done)
        report_available(c);
}

static void on_sign(struct h3_session *session) {
    client_of(session)->received_at = session->worker->now;
}

static void destroy_session(struct h3_session *session) {
    struct h3_client *c = client_of(session);
    h3_session_finish(session);
    wheel_remove(&session->worker->wheel, &c->idle);
    stats_sub(&session->worker->stats->origin_connections, 1);
    hg_free(c);
}

static const struct leg_ops client_leg_ops = {
    .name = "h3", .send_head = send_head, .want_pull = h3_stream_want_pull, .grant = h3_stream_grant, .stop = h3_stream_stop,
    .abort = abort_stream,
};

static const struct h3_role client_role = {
    .is_server = false, .gone = ABORT_ORIGIN_STREAM_RESET, .refused = ABORT_ORIGIN_REFUSED,
    .malformed = ABORT_ORIGIN_PROTOCOL, .too_large = ABORT_ORIGIN_TOO_LARGE, .write_timeout = ABORT_ORIGIN_TIMEOUT,
    .on_open = on_open, .on_head = on_head, .on_body_deadline = on_body_deadline, .on_done = on_done,
    .on_closed = on_stream_closed,
    .open = open_stream, .write_head = write_head, .on_settings = on_settings, .on_streams = on_streams,
    .on_goaway = on_goaway, .on_sign = on_sign,
    .on_over = on_over, .destroy = destroy_session, .leg_ops = &client_leg_ops,
};

/* ---- the handshake ---- */

static const struct quic_ops connecting_ops;

/* From here on the session is the user of the connection. */
static void connecting_on_open(struct quic_user *user) {
    struct h3_client *c = of_user(user);
    struct worker *w = quic_worker_of(user->conn);
    if (!str_eq(quic_protocol(user->conn), STR("h3"))) {
        quic_close(user->conn, QUIC_TRANSPORT, NO_APPLICATION_PROTOCOL, "");
        return;
    }
    if (h3_session_init(&c->session, user->conn, &client_role, &c->options) < 0) {
        user->ops = &connecting_ops;
        quic_close(user->conn, QUIC_TRANSPORT, QUIC_INTERNAL_ERROR, "");
        return;
    }
    user->ops->on_open(user);
    if (c->session.is_over)
        return;
    c->received_at = w->now;
    c->link.is_connected = true;
    update_capacity(c);
    if (c->is_owned)
        c->link.owner->on_connected(&c->link);
}

static int error_of(const struct quic_closing *why) {
    if (why->cause == QUIC_BY_US && why->space == QUIC_TRANSPORT && why->code == QUIC_INTERNAL_ERROR)
        return ENOMEM;
    if (why->cause == QUIC_HANDSHAKE_TIMEOUT || why->cause == QUIC_IDLE)
        return ETIMEDOUT;
    return why->tls_failure[0] ? EPROTO : ECONNREFUSED;
}

static void connecting_on_closed(struct quic_user *user, const struct quic_closing *why) {
    fail_connect(of_user(user), error_of(why));
}

static size_t connecting_next(struct quic_user *user, int64_t *ret_id, bool *ret_end, struct iovec *vec, size_t most) {
    (void)user, (void)ret_end, (void)vec, (void)most;
    *ret_id = -1;
    return 0;
}

static void connecting_destroy(struct quic_user *user) {
    struct h3_client *c = of_user(user);
    stats_sub(&quic_worker_of(user->conn)->stats->origin_connections, 1);
    hg_free(c);
}

/* Until the session has begun. What is about streams cannot come before. */
static const struct quic_ops connecting_ops = {
    .on_open = connecting_on_open, .next = connecting_next, .on_closed = connecting_on_closed, .destroy = connecting_destroy,
};

/* ---- for the owner ---- */

static void set_options(struct client_connection *link, const struct client_options *o) {
    struct h3_session *session = &of_link(link)->session;
    session->limits = (struct section_limits){
        .header_bytes = o->header_bytes, .headers = o->headers, .trailer_bytes = o->trailer_bytes};
    session->write_timeout = o->write_timeout;
}

static void on_idle(struct timer *t) {
    struct h3_client *c = (struct h3_client *)((char *)t - offsetof(struct h3_client, idle));
    if (c->idle_at)
        h3_session_end(&c->session, H3_NO_ERROR, "", ABORT_ORIGIN_TIMEOUT);
}

static int connect_to(struct h3_client *c, struct worker *w, const struct client_target *to,
                      const struct client_options *o) {
    struct quic_options options = *o->quic;
    options.initial_stream_window = c->window = least(options.initial_stream_window, FIRST_WINDOW);
    c->options = *o->http3;
    c->most = options.max_concurrent_streams;
    c->session.keep_alive = options.keep_alive;
    c->idle.fire = on_idle;
    c->session.user.ops = &connecting_ops;
    const struct quic_target target = {
        .address = to->address, .options = &options, .handshake_timeout = o->connect_timeout, .tls = o->quic_tls,
        .hostname = to->hostname, .endpoint = to->endpoint};
    return quic_connect(w, &target, &c->session.user) ? 0 : errno;
}

static struct client_connection *open_connection(struct worker *w, const struct client_target *to,
                                                 const struct client_options *o, const struct client_owner_ops *owner) {
    struct h3_client *c = hg_calloc(1, sizeof *c);
    int error = c ? connect_to(c, w, to, o) : ENOMEM;
    if (error) {
        hg_free(c);
        errno = error;
        return NULL;
    }
    c->is_owned = true;
    c->link = (struct client_connection){.codec = &h3_client_codec, .owner = owner, .endpoint = to->endpoint,
                                         .opened_at = w->now, .capacity = least(FIRST_CAPACITY, c->most)};
    set_options(&c->link, o);
    stats_add(&w->stats->origin_connections, 1);
    return &c->link;
}

static struct leg *open_leg(struct client_connection *link) {
    struct h3_client *c = of_link(link);
    struct quic_conn *conn = c->session.user.conn;
    struct h3_stream *stream = h3_stream_create(&c->session, -1);
    if (!stream)
        return NULL;
    c->idle_at = 0;
    if (c->session.stream_count == 1)
        c->asked_at = quic_worker_of(conn)->now;
    return &stream->leg;
}

/* When the origin may be about to forget the connection, which it does without a word: a request that goes out then waits
 * for an answer that nobody writes (RFC 9000 section 10.1.2). UINT64_MAX: it does not. */
static uint64_t forgotten_at(const struct h3_client *c) {
    const struct quic_conn *conn = c->session.user.conn;
    uint64_t timeout = quic_idle_timeout(conn), margin = timeout / 8 + quic_pto(conn);
    return timeout ? c->received_at + (timeout > margin ? timeout - margin : 0) : UINT64_MAX;
}

static void rest(struct client_connection *link, uint64_t idle_timeout) {
    struct h3_client *c = of_link(link);
    struct worker *w = quic_worker_of(c->session.user.conn);
    uint64_t ours = idle_timeout ? w->now + idle_timeout : UINT64_MAX, theirs = forgotten_at(c);
    uint64_t until = ours < theirs ? ours : theirs;
    c->idle_at = until == UINT64_MAX ? 0 : until;
    worker_set_timer(w, &c->idle, c->idle_at);
}

static void close_quietly(struct client_connection *link) {
    struct h3_client *c = of_link(link);
    c->is_owned = false;
    if (c->link.is_connected)
        h3_session_end(&c->session, H3_NO_ERROR, "", ABORT_SHUTDOWN);
    else
        quic_close(c->session.user.conn, QUIC_TRANSPORT, QUIC_NO_ERROR, "");
}

const struct client_codec h3_client_codec = {
    .name = "http3", .connect = open_connection, .open = open_leg, .set_options = set_options, .rest = rest,
    .close = close_quietly,
};
