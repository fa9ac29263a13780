#include "dataplane/codec/h3/server.h"

#include "common/alloc.h"
#include "dataplane/codec/h3/session.h"
#include "dataplane/http/message.h"

enum { PEER_TEXT = 46, NOTICE_US = 1000000, INTERIMS_UNSENT = 4096, NOTICE_ID_SHIFT = 62 };

/* Going away (RFC 9114 section 5.2): first everybody may still open streams, then nobody. */
enum phase { PHASE_OPEN, PHASE_NOTICED, PHASE_GOING };

struct h3_server {
    struct h3_session          session;       /* first */
    struct listener_connection membership;
    struct exchange_origin     origin;
    struct timer               timer;         /* of an idle connection, or one that is going away */
    enum phase                 phase;
    uint32_t                   requests;
    uint64_t                   last_id;       /* said by the last GOAWAY: streams from here on are refused */
    char                       peer[PEER_TEXT];
};

static struct h3_server *server_of(struct h3_session *session) {
    return (struct h3_server *)session;
}

/* The definition in force. One that was looked at in an earlier turn may be gone: nothing may be read from it but within an
 * exchange, which holds its snapshot. */
static void renew_definition(struct h3_server *s) {
    const struct listener_definition *d = s->membership.listener->definition;
    if (s->origin.listener == d)
        return;
    const struct limits *l = &d->settings->limits;
    s->origin.listener = d;
    s->session.write_timeout = d->timeouts.write;
    s->session.min_rate = l->min_body_rate;
    s->session.keep_alive = d->quic.keep_alive;
    s->session.limits = (struct section_limits){l->header_bytes, l->headers, l->uri_bytes, l->trailer_bytes};
}

/* ---- going away ---- */

static void end(struct h3_server *s, enum abort_code abort) {
    h3_session_end(&s->session, H3_NO_ERROR, "", abort);
}

static void announce(struct h3_server *s) {
    if (s->phase != PHASE_OPEN || s->session.is_over)
        return;
    s->phase = PHASE_NOTICED;
    h3_session_go_away(&s->session, (UINT64_C(1) << NOTICE_ID_SHIFT) - 4);
    worker_set_timer(s->session.worker, &s->timer, s->session.worker->now + NOTICE_US);
}

/* What the client had sent before it knew has arrived: from here on nothing is opened. */
static void go_away(struct h3_server *s) {
    s->phase = PHASE_GOING;
    s->last_id = s->session.next_id;
    h3_session_go_away(&s->session, s->last_id);
    if (s->session.stream_count == 0)
        end(s, ABORT_SHUTDOWN);
}

/* ---- deadlines ---- */

static void await_request(struct h3_server *s) {
    const struct timeouts *t = &s->membership.listener->definition->timeouts;
    struct worker *w = s->session.worker;
    uint64_t wait = s->requests ? t->idle : t->header;
    if (s->phase == PHASE_OPEN)
        worker_set_timer(w, &s->timer, wait ? w->now + wait : 0);
    else if (s->phase == PHASE_GOING)
        end(s, ABORT_SHUTDOWN);
}

static void on_timer(struct timer *t) {
    struct h3_server *s = (struct h3_server *)((char *)t - offsetof(struct h3_server, timer));
    if (s->session.is_over)
        return;
    if (s->phase == PHASE_NOTICED) {
        go_away(s);
    } else if (s->session.stream_count == 0) {
        stats_add(&s->session.worker->stats->client_idle_timeouts_total, 1);
        end(s, ABORT_SHUTDOWN);
    }
}

/* The head does not come: it is not known yet whom to answer. The body does not, or too slowly: what is still to come of it
 * is thrown away. */
static void on_body_deadline(struct h3_stream *stream) {
    struct h3_session *session = stream->session;
    if (!stream->has_head) {
        stats_add(&stream->worker->stats->client_header_timeouts_total, 1);
        h3_stream_break(stream, ABORT_CLIENT_HEAD_TIMEOUT, H3_REQUEST_INCOMPLETE);
        h3_session_fail(session, h3_spend_reset(&session->costs, H3_FAULT_RESETS_CAUSED, session->worker->now));
        return;
    }
    if (!stream->leg.exchange)
        return;
    stream->is_stopped = true;
    exchange_refuse(&stream->leg, ABORT_CLIENT_BODY_TIMEOUT, NULL);
}

/* ---- requests ---- */

static struct h3_stream *refuse_stream(struct h3_session *session, int64_t id) {
    quic_shutdown_stream(session->user.conn, id, H3_REQUEST_REJECTED);
    h3_session_cancel_sections(session, id);
    return NULL;
}

static struct h3_stream *on_stream(struct h3_session *session, int64_t id) {
    struct h3_server *s = server_of(session);
    struct worker *w = session->worker;
    if (s->phase == PHASE_GOING && (uint64_t)id >= s->last_id)
        return refuse_stream(session, id);
    renew_definition(s);
    if (++s->requests >= s->origin.listener->settings->limits.requests_per_connection)
        announce(s);
    struct h3_stream *stream = h3_session_is_spent(w) ? NULL : h3_stream_create(session, id);
    if (!stream) {
        stats_add(&w->stats->overload_total, 1);
        return refuse_stream(session, id);
    }
    if (s->phase == PHASE_OPEN)
        worker_set_timer(w, &s->timer, 0);
    h3_stream_await_head(stream, s->origin.listener->timeouts.header);
    return stream;
}

static bool on_open(struct h3_stream *stream) {
    struct h3_session *session = stream->session;
    struct h3_server *s = server_of(session);
    renew_definition(s);
    s->origin.view = s->membership.listener->view;
    s->origin.initial_credit = session->first_window;
    struct exchange *x = exchange_open(session->worker, &stream->leg, &s->origin);
    struct head *head = x ? arena_alloc(exchange_arena(x), sizeof *head) : NULL;
    if (!head) {
        h3_stream_break(stream, ABORT_MEMORY, H3_REQUEST_REJECTED);
        return false;
    }
    section_begin_head(&session->reader, SECTION_REQUEST, VERSION_30, exchange_arena(x), &session->limits, head);
    session->reader.takes_protocol = session->options.extended_connect;
    return true;
}

/* RFC 9114 section 4.3.1 leaves no choice about a request without an authority. */
static void refuse(struct h3_stream *stream, enum section_error error) {
    if (section_error_is_malformed(error) || error == SECTION_AUTHORITY_MISSING) {
        h3_stream_refuse(stream, section_error_word(error));
        return;
    }
    stream->is_stopped = true;
    exchange_refuse(&stream->leg, section_error_answer(error), section_error_word(error));
}

static void set_priority(struct h3_stream *stream) {
    h3_stream_set_priority(stream, priority_merge(&stream->asked, &stream->answered));
}

static void go_on(struct h3_stream *stream, struct head *head, bool ends) {
    exchange_on_head(&stream->leg, head, ends);
    h3_stream_await_body(stream);
}

/* RFC 8470: a request that can be a replay goes on when nothing comes of it twice, and says so; others wait. */
static void take_early(struct h3_stream *stream, struct head *head, bool ends) {
    struct arena *arena = exchange_arena(stream->leg.exchange);
    stream->is_early = true;
    if (!method_is_safe(head->method) || !ends || head->upgrade.n) {
        stream->kept_head = head;
        stream->kept_is_end = ends;
        stream->is_held = stream->is_waiting_for_handshake = true;
        return;
    }
    if (fields_set_id(&head->fields, arena, FIELD_EARLY_DATA, STR("1"))) {
        h3_stream_break(stream, ABORT_MEMORY, H3_REQUEST_REJECTED);
        return;
    }
    go_on(stream, head, true);
}

static void on_head(struct h3_stream *stream, bool ends) {
    struct h3_session *session = stream->session;
    struct exchange *x = stream->leg.exchange;
    struct head *head = session->reader.head;
    enum section_error error = section_read_end(&session->reader, ends);
    h3_stream_await_head(stream, 0);
    x->log_method = head->method_text;
    x->log_target = head->target;
    stream->has_head = true;
    stream->received_end = ends;
    stream->began = session->worker->now;
    stream->has_no_body = head->method == METHOD_HEAD;
    stream->to_receive = head->content_length;
    if (error) {
        refuse(stream, error);
        return;
    }
    stream->is_tunnel = head->upgrade.n || head->method == METHOD_CONNECT;
    stream->expects = head->expect_continue;
    if (head->seen & FIELD_BIT(FIELD_PRIORITY) && stream->asked.urgency < 0) {
        priority_read_fields(&stream->asked, &head->fields);
        set_priority(stream);
    }
    if (session->is_early && !quic_is_handshake_done(session->user.conn))
        take_early(stream, head, ends);
    else
        go_on(stream, head, ends);
}

static struct h3_stream *find_waiting(struct h3_session *session) {
    struct h3_stream *stream = session->streams;
    while (stream && !stream->is_waiting_for_handshake)
        stream = stream->next;
    return stream;
}

/* It was no replay. */
static void on_handshake_done(struct h3_session *session) {
    struct h3_stream *stream;
    renew_definition(server_of(session));
    while (!session->is_over && (stream = find_waiting(session))) {
        stream->is_waiting_for_handshake = false;
        if (stream->leg.exchange)
            go_on(stream, stream->kept_head, stream->kept_is_end);
        h3_stream_release(stream);
    }
}

static void on_closed(struct h3_stream *stream) {
    struct h3_session *session = stream->session;
    if (session->stream_count == 0 && !session->is_over)
        await_request(server_of(session));
}

/* ---- responses ---- */

static void write_interim(struct h3_stream *stream, const struct field_pair *pairs, size_t n) {
    if (stream->is_reset || stream->sent_end || h3_stream_write_section(stream, pairs, n) < 0)
        return;
    h3_stream_make_ready(stream);
    quic_mark_dirty(stream->session->user.conn);
}

/* The client waits for it before it sends the body. */
static void grant(struct leg *leg, size_t n) {
    struct h3_stream *stream = h3_stream_of(leg);
    const struct field_pair hundred = {(const uint8_t *)":status", (const uint8_t *)"100", 7, 3,
                                       PAIR_NAME_KEPT | PAIR_VALUE_KEPT};
    bool is_asked = stream->expects && !stream->received && !stream->received_end;
    stream->expects = false;
    if (is_asked)
        write_interim(stream, &hundred, 1);
    h3_stream_grant(leg, n);
}

/* Interim responses may be dropped (RFC 9110 section 15.2): those for a client that takes nothing are. */
static void send_interim(struct h3_stream *stream, const struct head *head) {
    struct free_lists *lists = &stream->worker->free_lists;
    char digits[32];
    if (stream->out.unsent > INTERIMS_UNSENT)
        return;
    struct field_pair *nv = free_lists_alloc(lists, (head->fields.count + SECTION_EXTRA_FIELDS) * sizeof *nv);
    if (!nv)
        return;
    write_interim(stream, nv, section_write_response(head, nv, digits));
    free_lists_free(lists, nv);
}

static void send_head(struct leg *leg, const struct head *head, bool ends) {
    struct h3_stream *stream = h3_stream_of(leg);
    if (head->status < 200 && head->status != 101) {
        send_interim(stream, head);
        return;
    }
    if (fields_find(&head->fields, FIELD_PRIORITY)) {
        priority_read_fields(&stream->answered, &head->fields);
        set_priority(stream);
    }
    stream->head = head;
    stream->head_ends = ends;
    stream->expects = false;
    stream->has_no_body |= head->status == 204 || head->status == 304;
    stream->to_send = stream->has_no_body ? -1 : head->content_length;
    h3_stream_send_later(stream);
}

static bool take_head_back(struct leg *leg) {
    struct h3_stream *stream = h3_stream_of(leg);
    if (!stream->head)
        return false;
    stream->head = NULL;
    stream->head_ends = false;
    stream->has_no_body = leg->exchange->request.head->method == METHOD_HEAD;
    stream->answered = PRIORITY_UNSTATED;
    return true;
}

static size_t write_head(struct h3_stream *stream, struct field_pair *nv) {
    return section_write_response(stream->head, nv, stream->digits);
}

static bool get_ends(const struct leg *leg, struct conn_ends *ret) {
    return quic_get_ends(((const struct h3_stream *)leg)->session->user.conn, ret);
}

static const struct leg_ops server_leg_ops = {
    .name = "h3", .send_head = send_head, .want_pull = h3_stream_want_pull, .grant = grant, .stop = h3_stream_stop,
    .abort = h3_stream_abort, .take_head_back = take_head_back, .get_ends = get_ends,
};

/* ---- the connection ---- */

static void on_over(struct h3_session *session, const struct quic_closing *why) {
    (void)why;
    worker_set_timer(session->worker, &server_of(session)->timer, 0);
}

static void destroy(struct h3_session *session) {
    struct h3_server *s = server_of(session);
    wheel_remove(&session->worker->wheel, &s->timer);
    h3_session_finish(session);
    listener_remove(&s->membership);
    hg_free(s);
}

static const struct h3_role server_role = {
    .is_server = true, .gone = ABORT_CLIENT_GONE, .refused = ABORT_CLIENT_GONE, .malformed = ABORT_CLIENT_PROTOCOL,
    .too_large = ABORT_HEADERS_TOO_LARGE, .write_timeout = ABORT_CLIENT_WRITE_TIMEOUT,
    .on_stream = on_stream, .on_open = on_open, .on_head = on_head, .on_body_deadline = on_body_deadline,
    .on_closed = on_closed, .write_head = write_head, .on_handshake_done = on_handshake_done, .on_over = on_over,
    .destroy = destroy, .leg_ops = &server_leg_ops,
};

/* Streams that are open end first. A connection without any may have a request on the way: it is told, too. */
static void close_connection(struct listener_connection *m, bool only_idle) {
    struct h3_server *s = (struct h3_server *)((char *)m - offsetof(struct h3_server, membership));
    if (only_idle)
        announce(s);
    else
        end(s, ABORT_SHUTDOWN);
}

static size_t write_peer(struct quic_conn *conn, char to[PEER_TEXT]) {
    struct conn_ends ends;
    char text[ADDRESS_TEXT_MAX];
    size_t n = quic_get_ends(conn, &ends) ? address_format_host(&ends.remote, text) : 0;
    n = n < PEER_TEXT ? n : PEER_TEXT - 1;
    memcpy(to, text, n);
    return n;
}

struct quic_user *h3_server_accept(struct listener_runtime *l, struct quic_conn *conn, uint32_t cap_slot) {
    struct h3_server *s = hg_calloc(1, sizeof *s);
    const struct listener_definition *d = l->definition;
    if (!s)
        return NULL;
    if (h3_session_init(&s->session, conn, &server_role, &d->http3) < 0) {
        hg_free(s);
        return NULL;
    }
    s->timer.fire = on_timer;
    s->membership.close = close_connection;
    s->membership.is_datagram = true;
    listener_add(l, &s->membership, cap_slot);
    s->session.streams_granted = quic_first_allowance(conn).streams;
    s->origin = (struct exchange_origin){.version = VERSION_30, .tls = quic_tls(conn)};
    s->origin.peer = (struct str){s->peer, write_peer(conn, s->peer)};
    renew_definition(s);
    await_request(s);
    return &s->session.user;
}
