#include "dataplane/codec/h2/server.h"

#include "common/alloc.h"
#include "dataplane/codec/h2/session.h"
#include "dataplane/http/message.h"

enum { PEER_TEXT = 46, LINGER_US = 2000000, NOTICE_US = 1000000, INTERIMS_MAX = 16 };

/* Going away (RFC 9113 section 6.8): first everybody may still open streams, then nobody. */
enum phase { PHASE_OPEN, PHASE_NOTICED, PHASE_GOING, PHASE_LINGER };

struct h2_server {
    struct h2_session          session;       /* first */
    struct listener_connection membership;
    struct exchange_origin     origin;
    enum phase                 phase;
    uint32_t                   requests;
    uint64_t                   ping_interval, received_at;
    bool                       ping_is_out;
    struct early_priorities    early_priorities; /* which the library knows, too */
    struct h2_stream          *complete, *last_complete; /* requests that came in this read, in order; see hand_on_all */
    bool                       takes_protocol; /* SETTINGS_ENABLE_CONNECT_PROTOCOL was sent */
    char                       peer[PEER_TEXT];
};

static const uint8_t notice_ping[8] = "headgate", life_ping[8] = "alive?";

static struct h2_server *server_of(struct h2_session *session) {
    return (struct h2_server *)session;
}

/* The definition in force. One that was looked at in an earlier turn may be gone: nothing may be read from it but within an
 * exchange, which holds its snapshot. */
static void renew_definition(struct h2_server *s) {
    const struct listener_definition *d = s->membership.listener->definition;
    if (s->origin.listener == d)
        return;
    const struct limits *l = &d->settings->limits;
    s->origin.listener = d;
    s->ping_interval = d->http2.ping_interval;
    s->session.conn.write_timeout = d->timeouts.write;
    s->session.conn.min_rate = l->min_body_rate;
    s->session.limits = (struct section_limits){l->header_bytes, l->headers, l->uri_bytes, l->trailer_bytes};
}

/* ---- going away ---- */

static void announce(struct h2_server *s) {
    struct h2_session *session = &s->session;
    if (s->phase != PHASE_OPEN)
        return;
    s->phase = PHASE_NOTICED;
    h2_session_check(session, nghttp2_submit_shutdown_notice(session->library));
    h2_session_check(session, nghttp2_submit_ping(session->library, NGHTTP2_FLAG_NONE, notice_ping));
    conn_set_deadline(&session->conn, DEADLINE_IDLE, session->conn.worker->now + NOTICE_US);
    conn_mark_dirty(&session->conn);
}

/* What the client had sent before it knew has arrived: from here on nothing is opened. */
static void go_away(struct h2_server *s) {
    struct h2_session *session = &s->session;
    if (s->phase != PHASE_NOTICED)
        return;
    s->phase = PHASE_GOING;
    conn_set_deadline(&session->conn, DEADLINE_IDLE, 0);
    int32_t last = nghttp2_session_get_last_proc_stream_id(session->library);
    h2_session_check(session, nghttp2_submit_goaway(session->library, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0));
    conn_mark_dirty(&session->conn);
}

static void on_ping_ack(struct h2_session *session, const uint8_t opaque[8]) {
    if (memcmp(opaque, notice_ping, sizeof notice_ping) == 0)
        go_away(server_of(session));
}

/* Closing with unread input would reset the connection and take the last frames from the client. */
static void begin_linger(struct h2_server *s) {
    struct conn *c = &s->session.conn;
    if (c->is_eof || s->session.is_failed) {
        h2_session_give_up(&s->session, ABORT_CLIENT_GONE);
        return;
    }
    h2_session_drop_streams(&s->session, ABORT_CLIENT_PROTOCOL);
    s->phase = PHASE_LINGER;
    conn_shutdown_write(c);
    conn_set_deadline(c, DEADLINE_READ, 0);
    conn_set_deadline(c, DEADLINE_IDLE, c->worker->now + LINGER_US);
    conn_want_read(c);
}

/* ---- deadlines ---- */

static void await_request(struct h2_server *s) {
    const struct timeouts *t = &s->membership.listener->definition->timeouts;
    struct conn *c = &s->session.conn;
    uint64_t wait = s->requests ? t->idle : t->header;
    if (s->phase == PHASE_OPEN)
        conn_set_deadline(c, DEADLINE_IDLE, wait ? c->worker->now + wait : 0);
}

static void await_section(struct h2_server *s) {
    uint64_t wait = s->origin.listener->timeouts.header;
    struct conn *c = &s->session.conn;
    conn_set_deadline(c, DEADLINE_READ, wait ? c->worker->now + wait : 0);
}

/* A stream has begun: from now on a client that is silent for long is asked whether it is there. */
static void end_idling(struct h2_server *s) {
    struct conn *c = &s->session.conn;
    if (s->phase == PHASE_OPEN && s->session.stream_count == 1)
        conn_set_deadline(c, DEADLINE_IDLE, s->ping_interval ? c->worker->now + s->ping_interval : 0);
}

static void on_silence(struct h2_server *s) {
    struct h2_session *session = &s->session;
    uint64_t now = session->conn.worker->now, until = s->received_at + s->ping_interval;
    bool is_silent = until <= now;
    if (is_silent && s->ping_is_out) {
        h2_session_give_up(session, ABORT_CLIENT_GONE);
        return;
    }
    if (is_silent) {
        s->ping_is_out = true;
        h2_session_check(session, nghttp2_submit_ping(session->library, NGHTTP2_FLAG_NONE, life_ping));
        conn_mark_dirty(&session->conn);
        until = now + s->ping_interval;
    }
    conn_set_deadline(&session->conn, DEADLINE_IDLE, until);
}

static void on_idle(struct h2_server *s) {
    struct h2_session *session = &s->session;
    if (s->phase == PHASE_OPEN && session->stream_count) {
        on_silence(s);
    } else if (s->phase == PHASE_NOTICED) {
        go_away(s);
    } else if (s->phase == PHASE_LINGER) {
        conn_close(&session->conn);
    } else {
        stats_add(&session->conn.worker->stats->client_idle_timeouts_total, 1);
        h2_session_terminate(session, NGHTTP2_NO_ERROR);
    }
}

static void on_deadline(struct conn *c, enum conn_deadline which) {
    struct h2_server *s = (struct h2_server *)c;
    if (which == DEADLINE_IDLE) {
        on_idle(s);
        return;
    }
    if (which == DEADLINE_READ) /* in the middle of a field section: nothing else can come on this connection */
        stats_add(&c->worker->stats->client_header_timeouts_total, 1);
    h2_session_give_up(&s->session, which == DEADLINE_WRITE ? ABORT_CLIENT_WRITE_TIMEOUT : ABORT_CLIENT_HEAD_TIMEOUT);
}

/* The body does not come, or too slowly. What is still to come of it is thrown away. */
static void on_body_deadline(struct h2_stream *stream) {
    if (!stream->leg.exchange)
        return;
    stream->is_stopped = true;
    exchange_refuse(&stream->leg, ABORT_CLIENT_BODY_TIMEOUT, NULL);
}

/* ---- requests ---- */

static struct h2_stream *create_stream(struct h2_session *session, int32_t id) {
    struct worker *w = session->conn.worker;
    if (!h2_memory_is_spent(w))
        return h2_stream_create(session, id);
    stats_add(&w->stats->overload_total, 1);
    return NULL;
}

/* NULL: the stream is refused, and the client may try again elsewhere. */
static struct h2_stream *open_stream(struct h2_session *session, int32_t id) {
    struct h2_server *s = server_of(session);
    renew_definition(s);
    s->requests++;
    if (s->requests >= s->origin.listener->settings->limits.requests_per_connection)
        announce(s);
    struct h2_stream *stream = create_stream(session, id);
    s->origin.view = s->membership.listener->view;
    s->origin.initial_credit = session->window;
    if (stream && exchange_open(session->conn.worker, &stream->leg, &s->origin)) {
        h2_session_check(session, nghttp2_session_set_stream_user_data(session->library, id, stream));
        end_idling(s);
        stream->asked = early_priorities_find(&s->early_priorities, (uint64_t)id);
        return stream;
    }
    if (stream)
        h2_stream_close(stream);
    h2_session_check(session, nghttp2_submit_rst_stream(session->library, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM));
    return NULL;
}

/* Of a stream that is refused the library does not tell the end of the section: it is not waited for. */
static struct h2_stream *on_open(struct h2_session *session, int32_t id) {
    struct h2_stream *stream = open_stream(session, id);
    struct exchange *x = stream ? stream->leg.exchange : NULL;
    struct head *head = x ? arena_alloc(exchange_arena(x), sizeof *head) : NULL;
    if (head) {
        await_section(server_of(session));
        section_begin_head(&session->reader, SECTION_REQUEST, VERSION_20, exchange_arena(x), &session->limits, head);
        session->reader.takes_protocol = server_of(session)->takes_protocol;
        return stream;
    }
    if (x) {
        exchange_on_abort(&stream->leg, ABORT_MEMORY);
        h2_stream_reset(stream, NGHTTP2_REFUSED_STREAM);
    }
    return NULL;
}

/* A stream whose priority nobody has stated keeps what it has: the library knows of an update before its request. */
static void set_priority(struct h2_stream *stream) {
    const struct priority_level level = priority_merge(&stream->asked, &stream->answered);
    const nghttp2_extpri priority = {.urgency = level.urgency, .inc = level.incremental};
    nghttp2_session_change_extpri_stream_priority(stream->session->library, stream->id, &priority, 0);
}

/* PRIORITY_UPDATE takes the place of all that the client says elsewhere (RFC 9218 section 7), not of what the origin says
 * (section 8). It can come before its request. */
static void on_priority_update(struct h2_session *session, int32_t id, struct str value) {
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->library, id);
    if (stream) {
        stream->asked = priority_of_update(value);
        set_priority(stream);
    } else if (id > nghttp2_session_get_last_proc_stream_id(session->library)) { /* one that is over never comes again */
        early_priorities_note(&server_of(session)->early_priorities, (uint64_t)id, priority_of_update(value));
    }
}

static void refuse(struct h2_stream *stream, enum section_error error) {
    if (section_error_is_malformed(error)) {
        h2_stream_refuse(stream, section_error_word(error));
        return;
    }
    stream->is_stopped = true;
    exchange_refuse(&stream->leg, section_error_answer(error), section_error_word(error));
}

static void hand_on(struct h2_stream *stream, struct head *head, bool end) {
    exchange_on_head(&stream->leg, head, end);
    h2_stream_await_body(stream);
}

/* One read brings many requests. What reads one and what finds its origin are each about as much code as the instruction
 * cache holds: first the one for all of them and then the other takes half as many misses as both for each
 * (docs/performance.md). One that was reset meanwhile has no exchange; its memory stays until the end of the turn. */
static void hand_on_all(struct h2_server *s) {
    struct h2_stream *stream;
    while ((stream = s->complete)) {
        s->complete = stream->next_complete;
        if (stream->leg.exchange)
            hand_on(stream, stream->request, true);
    }
}

static void hand_on_later(struct h2_server *s, struct h2_stream *stream, struct head *head) {
    stream->request = head;
    *(s->complete ? &s->last_complete->next_complete : &s->complete) = stream;
    s->last_complete = stream;
}

static void on_head(struct h2_stream *stream, bool end) {
    struct h2_session *session = stream->session;
    struct exchange *x = stream->leg.exchange;
    struct head *head = session->reader.head;
    conn_set_deadline(&session->conn, DEADLINE_READ, 0);
    enum section_error error = section_read_end(&session->reader, end);
    x->log_method = head->method_text;
    x->log_target = head->target;
    stream->has_head = true;
    stream->received_end = end;
    stream->began = session->conn.worker->now;
    stream->has_no_body = head->method == METHOD_HEAD;
    stream->to_receive = head->content_length;
    if (error) {
        refuse(stream, error);
        return;
    }
    stream->expects = head->expect_continue;
    if (head->seen & FIELD_BIT(FIELD_PRIORITY)) {
        if (stream->asked.urgency < 0)
            priority_read_fields(&stream->asked, &head->fields);
        set_priority(stream);
    }
    if (end) /* nothing follows that would have to wait for it */
        hand_on_later(server_of(session), stream, head);
    else
        hand_on(stream, head, false);
}

static void on_closed(struct h2_stream *stream) {
    if (stream->session->stream_count == 0)
        await_request(server_of(stream->session));
}

/* ---- responses ---- */

/* The client waits for it before it sends the body. */
static void grant(struct leg *leg, size_t n) {
    struct h2_stream *stream = h2_stream_of(leg);
    struct h2_session *session = stream->session;
    const nghttp2_nv go_on = {(uint8_t *)":status", (uint8_t *)"100", 7, 3, NGHTTP2_NV_FLAG_NONE};
    if (stream->expects && !stream->received && !stream->received_end)
        h2_session_check(session,
                         nghttp2_submit_headers(session->library, NGHTTP2_FLAG_NONE, stream->id, NULL, &go_on, 1, NULL));
    if (stream->expects)
        conn_mark_dirty(&session->conn);
    stream->expects = false;
    h2_stream_grant(leg, n);
}

/* Interim responses are copied by the library, and may be dropped (RFC 9110 section 15.2): those for a client that takes
 * nothing are, as no budget knows of the copies. */
static void send_interim(struct h2_stream *stream, const struct head *head) {
    struct h2_session *session = stream->session;
    if (session->conn.is_blocked && nghttp2_session_get_outbound_queue_size(session->library) >= INTERIMS_MAX)
        return;
    struct free_lists *lists = &session->conn.worker->free_lists;
    char digits[32];
    struct field_pair *nv = free_lists_alloc(lists, (head->fields.count + SECTION_EXTRA_FIELDS) * sizeof *nv);
    if (!nv)
        return;
    size_t n = section_write_response(head, nv, digits);
    for (size_t i = 0; i < n; i++)
        nv[i].flags = PAIR_COPIED;
    h2_session_check(session, nghttp2_submit_headers(session->library, NGHTTP2_FLAG_NONE, stream->id, NULL, h2_pairs(nv), n,
                                                     NULL));
    free_lists_free(lists, nv);
    conn_mark_dirty(&session->conn);
}

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct h2_stream *stream = h2_stream_of(leg);
    if (head->status < 200 && head->status != 101) {
        send_interim(stream, head);
        return;
    }
    if (fields_find(&head->fields, FIELD_PRIORITY)) {
        priority_read_fields(&stream->answered, &head->fields);
        set_priority(stream);
    }
    stream->head = head;
    stream->head_ends = end;
    stream->expects = false;
    stream->has_no_body |= head->status == 204 || head->status == 304;
    stream->to_send = stream->has_no_body ? -1 : head->content_length;
    h2_stream_send_later(stream);
}

static bool take_head_back(struct leg *leg) {
    struct h2_stream *stream = h2_stream_of(leg);
    if (!stream->head || stream->session->leaving == stream)
        return false;
    stream->head = NULL;
    stream->has_no_body = leg->exchange->request.head->method == METHOD_HEAD;
    stream->answered = PRIORITY_UNSTATED;
    return true;
}

static int submit(struct h2_stream *stream, const nghttp2_data_provider *provider) {
    struct free_lists *lists = &stream->session->conn.worker->free_lists;
    struct field_pair *nv = free_lists_alloc(lists, (stream->head->fields.count + SECTION_EXTRA_FIELDS) * sizeof *nv);
    if (!nv)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = section_write_response(stream->head, nv, stream->digits);
    int status = nghttp2_submit_response(stream->session->library, stream->id, h2_pairs(nv), n, provider);
    free_lists_free(lists, nv);
    return status;
}

static bool get_ends(const struct leg *leg, struct conn_ends *ret) {
    return conn_get_ends(&((const struct h2_stream *)leg)->session->conn, ret);
}

static const struct leg_ops server_leg_ops = {
    .name = "h2", .send_head = send_head, .want_pull = h2_stream_want_pull, .grant = grant, .stop = h2_stream_stop,
    .abort = h2_stream_abort, .take_head_back = take_head_back, .get_ends = get_ends,
};

static const struct h2_role server_role = {
    .is_server = true, .gone = ABORT_CLIENT_GONE, .refused = ABORT_CLIENT_GONE, .malformed = ABORT_CLIENT_PROTOCOL,
    .too_large = ABORT_HEADERS_TOO_LARGE, .write_timeout = ABORT_CLIENT_WRITE_TIMEOUT,
    .on_open = on_open, .on_head = on_head, .on_body_deadline = on_body_deadline, .on_closed = on_closed, .submit = submit,
    .on_ping_ack = on_ping_ack, .on_priority_update = on_priority_update, .leg_ops = &server_leg_ops,
};

/* ---- the connection ---- */

static void on_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    struct h2_server *s = (struct h2_server *)c;
    s->received_at = c->worker->now;
    s->ping_is_out = false;
    if (s->phase == PHASE_LINGER)
        return;
    h2_session_receive(&s->session, bytes, n);
    hand_on_all(s);
}

static size_t read_limit(struct conn *c) {
    struct h2_server *s = (struct h2_server *)c;
    return s->phase == PHASE_LINGER ? READ_MAX : h2_session_read_limit(&s->session);
}

/* A client that says no more gives no window either: what runs is of no use to it. */
static void on_eof(struct conn *c) {
    h2_session_give_up((struct h2_session *)c, ABORT_CLIENT_GONE);
}

static void on_error(struct conn *c, int error) {
    (void)error;
    h2_session_give_up((struct h2_session *)c, ABORT_CLIENT_GONE);
}

static void on_dirty(struct conn *c) {
    struct h2_server *s = (struct h2_server *)c;
    if (s->session.is_failed)
        h2_session_give_up(&s->session, ABORT_CLIENT_GONE);
}

static bool produce(struct conn *c, struct gather *g) {
    struct h2_server *s = (struct h2_server *)c;
    return s->phase != PHASE_LINGER && h2_session_produce(&s->session, g);
}

static void on_written(struct conn *c) {
    struct h2_server *s = (struct h2_server *)c;
    if (s->phase != PHASE_LINGER && h2_session_is_over(&s->session))
        begin_linger(s);
}

static void destroy(struct conn *c) {
    struct h2_server *s = (struct h2_server *)c;
    h2_session_finish(&s->session);
    listener_remove(&s->membership);
    hg_free(s);
}

static const struct conn_ops server_conn_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_error,
    .on_dirty = on_dirty, .produce = produce, .on_written = on_written, .on_deadline = on_deadline, .destroy = destroy,
    .is_client = true,
};

/* Streams that are open end first. A connection without any may have a request on the way: it is told, too. */
static void close_connection(struct listener_connection *m, bool only_idle) {
    struct h2_server *s = (struct h2_server *)((char *)m - offsetof(struct h2_server, membership));
    if (only_idle)
        announce(s);
    else
        h2_session_give_up(&s->session, ABORT_SHUTDOWN);
}

static uint32_t least(uint64_t a, uint64_t b) {
    return (uint32_t)(a < b ? a : b);
}

static struct h2_session_options options_of(const struct listener_definition *d) {
    const struct limits *l = &d->settings->limits;
    return (struct h2_session_options){.window = least(least(l->buffer, d->http2.initial_stream_window), H2_WINDOW),
                                       .header_list_bytes = l->header_bytes, .http2 = &d->http2};
}

struct conn *h2_server_accept(struct listener_runtime *l, const struct accepted *a) {
    struct h2_server *s = hg_calloc(1, sizeof *s);
    const struct h2_session_options options = options_of(l->definition);
    char text[ADDRESS_TEXT_MAX];
    if (!s)
        return NULL;
    if (h2_session_init(&s->session, l->worker, &server_role, &options) < 0) {
        hg_free(s);
        return NULL;
    }
    conn_init(&s->session.conn, l->worker, a->transport, &server_conn_ops);
    s->membership.close = close_connection;
    listener_add(l, &s->membership, a->cap_slot);
    size_t n = address_format_host(&a->peer, text);
    n = n < sizeof s->peer ? n : sizeof s->peer - 1;
    memcpy(s->peer, text, n);
    s->origin = (struct exchange_origin){.peer = {s->peer, n}, .version = VERSION_20, .tls = a->transport.tls};
    s->takes_protocol = options.http2->extended_connect;
    renew_definition(s);
    await_request(s);
    if (l->is_draining) /* its handshake has lasted until after everybody was told */
        announce(s);
    conn_want_read(&s->session.conn);
    conn_mark_dirty(&s->session.conn);
    return &s->session.conn;
}
