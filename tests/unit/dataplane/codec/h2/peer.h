/* peer.h — the HTTP/2 server codec between a client of nghttp2's on the other end of a socket, and origins that are
 * loopback legs. The test turns the worker by hand. What is sent on such a socket has arrived when the call returns, so
 * a few turns of the loop settle everything: no test waits. */
#pragma once

#include "tests/unit/dataplane/codec/gateway.h"

#include <nghttp2/nghttp2.h>

#include "dataplane/codec/h2/server.h"
#include "dataplane/codec/h2/session.h"

static inline int gateway_set_up(void **state) {
    static const struct server_codecs codecs = {.http2 = h2_server_accept};
    if (gateway_begin(state, &codecs) < 0)
        return -1;
    http2_options_init(&definition.http2, NULL, settings.limits.header_bytes);
    return 0;
}

/* ---- a client */

struct call {                              /* one request, as the client sees it */
    int32_t       id;
    unsigned      status, interims;
    struct strbuf fields, body, trailers;  /* "name: value\n" */
    bool          has_head, ended, closed;
    uint32_t      code;                    /* of the close */
    struct str    to_send;                 /* of the request body */
    size_t        most;                    /* of it in one frame; 0: any */
    bool          is_held;                 /* the end of the body is not sent */
    bool          reads_nothing;           /* its window is not opened again */
    const nghttp2_nv *request_trailers;
};

struct client {
    int              fd;
    nghttp2_session *session;
    struct call      calls[CALLS];
    unsigned         call_count;
    bool             has_goaway, eof;
    uint32_t         goaway_code;
    int32_t          goaway_last;
    unsigned         goaways, pings, resets;
    uint32_t         reset_code;
    size_t           padding;              /* of each DATA frame, as far as the window takes it */
    bool             keeps_window;         /* the connection's is not opened again */
    struct strbuf    unsent;
};

static inline struct call *call_of(struct client *c, int32_t id) {
    for (unsigned i = 0; i < c->call_count; i++)
        if (c->calls[i].id == id)
            return &c->calls[i];
    return NULL;
}

static inline int client_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t n,
                                   const uint8_t *value, size_t v, uint8_t flags, void *user) {
    struct call *call = call_of(user, frame->hd.stream_id);
    (void)session;
    (void)flags;
    if (!call)
        return 0;
    if (n == 7 && memcmp(name, ":status", 7) == 0) {
        call->status = (unsigned)atoi((const char *)value);
        call->interims += call->status < 200;
        return 0;
    }
    strbuf_printf(call->has_head ? &call->trailers : &call->fields, "%.*s: %.*s\n", (int)n, (const char *)name, (int)v,
                  (const char *)value);
    return 0;
}

static inline int client_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
                                 void *user) {
    const struct client *c = user;
    struct call *call = call_of(user, id);
    (void)flags;
    if (!c->keeps_window)
        nghttp2_session_consume_connection(session, n);
    if (!call)
        return 0;
    strbuf_add(&call->body, bytes, n);
    if (!call->reads_nothing)
        nghttp2_session_consume_stream(session, id, n);
    return 0;
}

static inline int client_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct client *c = user;
    struct call *call = call_of(c, frame->hd.stream_id);
    (void)session;
    bool is_message = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (call && frame->hd.type == NGHTTP2_HEADERS && call->status >= 200)
        call->has_head = true;
    if (call && is_message && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        call->ended = true;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        c->resets++;
        c->reset_code = frame->rst_stream.error_code;
    }
    c->pings += frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        c->goaways++;
        c->has_goaway = true;
        c->goaway_code = frame->goaway.error_code;
        c->goaway_last = frame->goaway.last_stream_id;
    }
    return 0;
}

static inline int client_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct call *call = call_of(user, id);
    (void)session;
    if (call) {
        call->closed = true;
        call->code = code;
    }
    return 0;
}

static inline ssize_t client_body(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size, uint32_t *flags,
                                  nghttp2_data_source *source, void *user) {
    struct call *call = source->ptr;
    (void)id;
    (void)user;
    size_t n = call->to_send.n < size ? call->to_send.n : size;
    n = call->most && n > call->most ? call->most : n;
    if (n == 0 && call->is_held)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        memcpy(buffer, call->to_send.p, n);
    call->to_send = (struct str){call->to_send.p + n, call->to_send.n - n};
    if (call->to_send.n == 0 && !call->is_held) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (call->request_trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, call->id, call->request_trailers, 1);
        }
    }
    return (ssize_t)n;
}

static inline ssize_t client_padding(nghttp2_session *session, const nghttp2_frame *frame, size_t most, void *user) {
    const struct client *c = user;
    size_t padded = frame->hd.length + (frame->hd.type == NGHTTP2_DATA ? c->padding : 0);
    (void)session;
    return (ssize_t)(padded < most ? padded : most);
}

static inline void client_init(struct client *c, int fd, uint32_t window) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    memset(c, 0, sizeof *c);
    c->fd = fd;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_on_close);
    nghttp2_session_callbacks_set_select_padding_callback(callbacks, client_padding);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, 1000); /* until it knows better */
    nghttp2_session_client_new2(&c->session, callbacks, c, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry entries[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
                                              {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries, 2);
}

static inline void client_finish(struct client *c) {
    for (unsigned i = 0; i < c->call_count; i++) {
        strbuf_finish(&c->calls[i].fields);
        strbuf_finish(&c->calls[i].body);
        strbuf_finish(&c->calls[i].trailers);
    }
    strbuf_finish(&c->unsent);
    nghttp2_session_del(c->session);
    if (c->fd >= 0)
        close(c->fd);
}

/* A connection to the gateway; -1 when it was refused. */
static inline int connect_gateway(void) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    const struct accepted accepted = {.transport = {.fd = ends[0]},
                                      .peer = {.length = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX},
                                      .cap_slot = IP_CAP_UNCOUNTED};
    if (h2_server_accept(listener, &accepted))
        return ends[1];
    close(ends[0]);
    close(ends[1]);
    return -1;
}

static inline void client_send(struct client *c) {
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &bytes)) > 0)
        strbuf_add(&c->unsent, bytes, (size_t)n);
    ssize_t sent = c->unsent.n ? send(c->fd, c->unsent.p, c->unsent.n, MSG_NOSIGNAL) : 0;
    if (sent <= 0)
        return;
    memmove(c->unsent.p, c->unsent.p + sent, c->unsent.n - (size_t)sent);
    c->unsent.n -= (size_t)sent;
}

static inline void client_receive(struct client *c) {
    uint8_t room[65536];
    ssize_t n;
    while ((n = recv(c->fd, room, sizeof room, 0)) > 0)
        if (nghttp2_session_mem_recv(c->session, room, (size_t)n) < 0)
            fail_msg("the server broke the protocol");
    c->eof |= n == 0;
}

/* Another connection has its turn. */
static inline void overwrite_frame_buffer(void) {
    if (worker.frame_buffer)
        memset(worker.frame_buffer, 0xa5, H2_FRAME_BUFFER);
}

/* Once round: the client speaks, the gateway works, the client listens. */
static inline void exchange_bytes(struct client *c) {
    client_send(c);
    overwrite_frame_buffer();
    ev_run(worker.loop, EVRUN_NOWAIT);
    client_receive(c);
}

static inline void settle(struct client *c) {
    for (int i = 0; i < SETTLED; i++)
        exchange_bytes(c);
}

/* ---- requests and answers */

static inline nghttp2_nv nv(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name, .value = (uint8_t *)(uintptr_t)value, .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

/* The four pseudo-fields. */
#define BASIC(method, path) nv(":method", method), nv(":scheme", "http"), nv(":authority", "example.com"), nv(":path", path)

/* A request of these fields, with a body or none. */
static inline struct call *request_fields(struct client *c, const nghttp2_nv *fields, size_t n, struct str body,
                                          bool has_body) {
    assert_true(c->call_count < CALLS);
    struct call *call = &c->calls[c->call_count++];
    *call = (struct call){.to_send = body};
    const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = client_body};
    call->id = nghttp2_submit_request(c->session, NULL, fields, n, has_body ? &provider : NULL, NULL);
    assert_true(call->id > 0);
    return call;
}

static inline struct call *get(struct client *c, const char *path) {
    const nghttp2_nv fields[] = {BASIC("GET", path)};
    return request_fields(c, fields, 4, STR(""), false);
}

static inline struct call *post(struct client *c, struct str body) {
    const nghttp2_nv fields[] = {BASIC("POST", "/")};
    return request_fields(c, fields, 4, body, true);
}
