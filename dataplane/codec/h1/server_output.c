/* server_output.c — responses, and what the core asks of a connection. */
#include "dataplane/codec/h1/server_private.h"
#include "dataplane/codec/h1/upgrade.h"
#include "dataplane/codec/h1/writer.h"

enum { LINGER_US = 30000000 };

/* ---- response ---- */

static bool may_persist(const struct h1_server *s) {
    const struct limits *l = &s->definition->settings->limits;
    return s->keep_alive && !s->close_after && s->state != INPUT_STOPPED && (!s->conn.is_eof || s->input.n) &&
           s->requests < l->requests_per_connection && !s->membership.listener->is_draining;
}

static enum h1_connection connection_option(const struct h1_server *s, enum h1_framing framing) {
    if (framing == H1_BODY_TUNNEL)
        return s->message->is_connect ? H1_CONNECTION_DEFAULT : H1_CONNECTION_UPGRADE;
    if (!s->keep_alive)
        return H1_CONNECTION_CLOSE;
    return s->message->is_old ? H1_CONNECTION_KEEP_ALIVE : H1_CONNECTION_DEFAULT;
}

static bool write_head(struct h1_server *s, struct gather *g) {
    struct h1_message *m = s->message;
    struct head head = *m->response;
    enum h1_framing framing = h1_frame_response(&head, m->is_head_request, m->is_old, m->response_ends);
    /* An open tunnel does not hold its snapshot: of a definition nothing may be read. */
    s->keep_alive = framing != H1_BODY_TUNNEL && framing != H1_BODY_UNTIL_CLOSE && may_persist(s);
    if (framing == H1_BODY_TUNNEL && m->is_connect)
        head.status = 200;
    if (framing == H1_BODY_TUNNEL && h1_upgrade_answer(&head, exchange_arena(s->leg.exchange), m->websocket_key) < 0)
        return false;
    enum h1_connection connection = connection_option(s, framing);
    size_t room_size = GATHER_SCRATCH - g->scratch_used;
    char *room = (char *)gather_room(g, 1);
    size_t n = room ? h1_write_response_head(&head, connection, room, room_size) : 0;
    if (n == 0 || n > room_size)
        return false;
    gather_wrote(g, n);
    m->writer = (struct h1_body_writer){.framing = framing,
                                        .left = head.content_length > 0 ? (uint64_t)head.content_length : 0};
    m->response = NULL;
    m->is_writing = true;
    return true;
}

/* The response is with the gather in full and the exchange is over. */
static void response_done(struct h1_server *s) {
    if (s->leg.exchange) { /* a tunnel that the client has not ended yet */
        s->message->is_writing = false;
        s->message->has_ended = true;
        return;
    }
    s->message = NULL;
    bool is_last = s->membership.listener->is_draining && s->input.n == 0;
    if (s->state != INPUT_DONE || !s->keep_alive || is_last) {
        s->state = INPUT_STOPPED;
        s->close_after = true;
        return;
    }
    s->state = INPUT_HEAD;
    h1_server_await_request(s);
}

/* Credit may have come for what was kept. */
void h1_server_on_dirty(struct conn *c) {
    struct h1_server *s = (struct h1_server *)c;
    if ((s->state == INPUT_BODY || s->state == INPUT_TUNNEL) && s->input.n)
        h1_server_process_kept(s);
}

bool h1_server_produce(struct conn *c, struct gather *g) {
    struct h1_server *s = (struct h1_server *)c;
    struct h1_message *m = s->leg.exchange ? s->message : NULL;
    if (!m)
        return false;
    if (m->continue_due) {
        m->continue_due = false;
        gather_bytes(g, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    if (m->interim_n && !gather_bytes(g, m->interim, m->interim_n))
        return true;
    m->interim_n = 0;
    if (m->response && !write_head(s, g)) {
        if (g->bytes == 0) /* there was all the room that there ever is */
            h1_server_give_up(s, ABORT_MEMORY);
        return true;
    }
    if (!m->is_writing)
        return false;
    switch (h1_body_write(&m->writer, &s->leg, g)) {
    case H1_WRITE_WAIT: break;
    case H1_WRITE_FULL: return true;
    case H1_WRITE_END: response_done(s); break;
    case H1_WRITE_BROKEN: h1_server_give_up(s, ABORT_ORIGIN_PROTOCOL); break;
    }
    return false;
}

/* RFC 9112 section 9.6: closing with unread input would reset the connection and take the response from the client. */
static void begin_linger(struct h1_server *s) {
    if (s->conn.is_eof) {
        conn_close(&s->conn);
        return;
    }
    conn_shutdown_write(&s->conn);
    s->state = INPUT_LINGER;
    h1_input_finish(&s->input);
    conn_set_held(&s->conn, 0);
    conn_set_deadline(&s->conn, DEADLINE_IDLE, s->conn.worker->now + LINGER_US);
    h1_server_await_close(s);
    conn_want_read(&s->conn);
}

void h1_server_on_written(struct conn *c) {
    struct h1_server *s = (struct h1_server *)c;
    if (s->leg.exchange) {
        if (s->message->has_ended)
            conn_shutdown_write(c);
        return;
    }
    if (s->close_after) {
        if (s->state != INPUT_LINGER)
            begin_linger(s);
        return;
    }
    if (s->state != INPUT_HEAD)
        return;
    h1_server_process_kept(s);
    if (s->is_put_off)
        return;
    if (c->is_eof && s->state == INPUT_HEAD)
        conn_close(&s->conn); /* all is answered; the rest is not a request */
    else if (!c->is_closed)
        conn_want_read(c);
}

/* ---- from the core ---- */

/* Those of an origin that is faster than its client, and those without room, are dropped: nobody may rely on them (RFC 9110
 * section 15.2). */
static void send_interim(struct h1_server *s, const struct head *head) {
    struct h1_message *m = s->message;
    if (!m->interim)
        m->interim = arena_alloc(exchange_arena(s->leg.exchange), INTERIM_MAX);
    size_t room = m->interim ? INTERIM_MAX - m->interim_n : 0;
    size_t n = room ? h1_write_response_head(head, H1_CONNECTION_DEFAULT, m->interim + m->interim_n, room) : 0;
    if (n == 0 || n > room)
        return;
    m->interim_n += n;
    conn_mark_dirty(&s->conn);
}

static void send_head(struct leg *leg, const struct head *head, bool end) {
    struct h1_server *s = h1_server_of_leg(leg);
    if (head->status < 200 && head->status != 101) {
        send_interim(s, head);
        return;
    }
    struct h1_message *m = s->message;
    m->response = head;
    m->response_ends = end;
    m->has_response = true;
    m->continue_due = false;
    if (m->expects && s->state == INPUT_BODY && m->reader.bytes == 0 && s->input.n == 0)
        s->keep_alive = false; /* the client may or may not send the body now: only closing is safe */
    conn_mark_dirty(&s->conn);
}

static bool take_head_back(struct leg *leg) {
    struct h1_message *m = h1_server_of_leg(leg)->message;
    if (!m->response)
        return false;
    m->response = NULL;
    m->has_response = false;
    return true;
}

static void want_pull(struct leg *leg) {
    conn_mark_dirty(&h1_server_of_leg(leg)->conn);
}

static void grant(struct leg *leg, size_t n) {
    struct h1_server *s = h1_server_of_leg(leg);
    (void)n;
    if (s->message->expects && s->state == INPUT_BODY) {
        s->message->continue_due = !s->message->has_response;
        s->message->expects = false;
    }
    conn_want_read(&s->conn);
    h1_server_await_body(s);
    if (s->message->continue_due || s->input.n)
        conn_mark_dirty(&s->conn);
}

/* The origin did not agree, and what follows is the next request; or it takes no more, and what follows is of no use. */
static void stop_tunnel(struct h1_server *s) {
    s->state = s->leg.exchange->tunnel == TUNNEL_OPEN ? INPUT_STOPPED : INPUT_DONE;
    if (s->state == INPUT_DONE || !s->message->has_ended)
        return;
    s->message = NULL; /* the core lets go of us now */
    s->close_after = true;
    conn_mark_dirty(&s->conn);
}

static void stop(struct leg *leg) {
    struct h1_server *s = h1_server_of_leg(leg);
    if (s->state == INPUT_BODY)
        s->state = INPUT_STOPPED;
    else if (s->state == INPUT_TUNNEL)
        stop_tunnel(s);
    conn_set_deadline(&s->conn, DEADLINE_READ, 0);
}

/* The response cannot be completed: the client must see that it is cut. */
static void abort_stream(struct leg *leg, enum abort_code code) {
    (void)code;
    h1_server_cut(h1_server_of_leg(leg));
}

static bool get_ends(const struct leg *leg, struct conn_ends *ret) {
    return conn_get_ends(&((const struct h1_server *)((const char *)leg - offsetof(struct h1_server, leg)))->conn, ret);
}

const struct leg_ops h1_server_leg_ops = {
    .name = "h1", .send_head = send_head, .want_pull = want_pull, .grant = grant, .stop = stop, .abort = abort_stream,
    .take_head_back = take_head_back, .get_ends = get_ends, .reads_on_demand = true,
};
