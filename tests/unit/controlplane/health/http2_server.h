/* http2_server.h — a server of HTTP/2 on the test's loop, by nghttp2, that answers every request as it is told. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "tests/unit/controlplane/health/checked.h"

struct http2_server {
    struct ev_loop *loop;
    ev_io           io;
    unsigned        port;
    SSL_CTX        *tls;
    /* What it does. */
    const char     *status, *grpc_status, *content;    /* grpc_status NULL: no trailers; content NULL: no body */
    size_t          content_n;
    uint32_t        reset;              /* instead of an answer, where not 0 */
    bool            is_silent;
    bool            goes_away;          /* GOAWAY behind the answer */
    bool            answers_text;       /* something that is not HTTP/2, to all */
    /* What it saw. */
    unsigned        accepted, requests;
    char            path[128], authority[128], body[128];
    size_t          body_n;
    struct http2_peer *peers[CONNECTIONS];
};

struct http2_peer {
    ev_io                io;
    struct http2_server *server;
    nghttp2_session     *session;
    SSL                 *ssl;
};

static inline void http2_peer_close(struct http2_peer *p) {
    struct http2_server *s = p->server;
    ev_io_stop(s->loop, &p->io);
    nghttp2_session_del(p->session);
    SSL_free(p->ssl);
    close(p->io.fd);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (s->peers[i] == p)
            s->peers[i] = NULL;
    free(p);
}

static inline ssize_t http2_put(nghttp2_session *session, const uint8_t *bytes, size_t n, int flags, void *context) {
    struct http2_peer *p = context;
    (void)session;
    (void)flags;
    ssize_t put = p->ssl ? SSL_write(p->ssl, bytes, (int)n) : send(p->io.fd, bytes, n, MSG_NOSIGNAL);
    return put > 0 ? put : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static inline int http2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                                  const uint8_t *value, size_t value_n, uint8_t flags, void *context) {
    struct http2_server *s = ((struct http2_peer *)context)->server;
    struct str n = {(const char *)name, name_n};
    (void)session;
    (void)frame;
    (void)flags;
    if (str_eq(n, STR(":path")))
        snprintf(s->path, sizeof s->path, "%.*s", (int)value_n, (const char *)value);
    if (str_eq(n, STR(":authority")))
        snprintf(s->authority, sizeof s->authority, "%.*s", (int)value_n, (const char *)value);
    return 0;
}

static inline int http2_on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t n,
                                void *context) {
    struct http2_server *s = ((struct http2_peer *)context)->server;
    (void)session;
    (void)flags;
    (void)stream;
    s->body_n = n < sizeof s->body ? n : sizeof s->body;
    memcpy(s->body, bytes, s->body_n);
    return 0;
}

static inline ssize_t http2_content(nghttp2_session *session, int32_t stream, uint8_t *room, size_t n, uint32_t *flags,
                                    nghttp2_data_source *source, void *context) {
    struct http2_server *s = ((struct http2_peer *)context)->server;
    (void)source;
    assert_true(s->content_n <= n);
    if (s->content_n > 0)
        memcpy(room, s->content, s->content_n);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->grpc_status) {
        const nghttp2_nv trailer = {(uint8_t *)(uintptr_t)"grpc-status", (uint8_t *)(uintptr_t)s->grpc_status, 11,
                                    strlen(s->grpc_status), 0};
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream, &trailer, 1);
    }
    return (ssize_t)s->content_n;
}

static inline void http2_answer(nghttp2_session *session, struct http2_server *s, int32_t stream) {
    const nghttp2_nv head = {(uint8_t *)(uintptr_t)":status", (uint8_t *)(uintptr_t)s->status, 7, strlen(s->status), 0};
    const nghttp2_data_provider provider = {.read_callback = http2_content};
    bool has_body = s->content || s->grpc_status;
    if (s->reset)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, s->reset);
    else if (!s->is_silent)
        nghttp2_submit_response(session, stream, &head, 1, has_body ? &provider : NULL);
    if (s->goes_away)
        nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_NO_ERROR, NULL, 0);
}

static inline int http2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    struct http2_server *s = ((struct http2_peer *)context)->server;
    bool is_request = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!is_request || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    s->requests++;
    http2_answer(session, s, frame->hd.stream_id);
    return 0;
}

static inline void http2_on_io(struct ev_loop *loop, ev_io *io, int events) {
    struct http2_peer *p = io->data;
    uint8_t room[16384];
    (void)loop;
    (void)events;
    ssize_t n = p->ssl ? SSL_read(p->ssl, room, sizeof room) : read(io->fd, room, sizeof room);
    if (n <= 0 || nghttp2_session_mem_recv(p->session, room, (size_t)n) < 0 || nghttp2_session_send(p->session) != 0)
        http2_peer_close(p);
}

static inline void http2_peer_session(struct http2_peer *p) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, http2_put);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, http2_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, http2_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, http2_on_frame);
    assert_int_equal(nghttp2_session_server_new(&p->session, callbacks, p), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

static inline bool http2_peer_begin(struct http2_peer *p) {
    if (p->server->tls) {
        p->ssl = SSL_new(p->server->tls);
        SSL_set_fd(p->ssl, p->io.fd);
        if (SSL_accept(p->ssl) != 1)
            return false;
    }
    if (p->server->answers_text)
        return send(p->io.fd, "220 mail.test ESMTP, and more than a frame's head\r\n", 51, MSG_NOSIGNAL) == 51;
    return nghttp2_session_send(p->session) == 0;
}

static inline void http2_on_accept(struct ev_loop *loop, ev_io *io, int events) {
    struct http2_server *s = io->data;
    int fd = accept(io->fd, NULL, NULL);
    (void)events;
    if (fd < 0)
        return;
    struct http2_peer *p = calloc(1, sizeof *p);
    size_t i = 0;
    assert_non_null(p);
    p->server = s;
    ev_io_init(&p->io, http2_on_io, fd, EV_READ);
    p->io.data = p;
    s->accepted++;
    while (i < CONNECTIONS - 1 && s->peers[i])
        i++;
    assert_null(s->peers[i]);
    s->peers[i] = p;
    http2_peer_session(p);
    if (http2_peer_begin(p))
        ev_io_start(loop, &p->io);
    else
        http2_peer_close(p);
}

/* Takes over the socket of a server that nobody has connected to. */
static inline void http2_server_start(struct http2_server *s, struct server *plain) {
    s->loop = plain->loop;
    s->port = plain->port;
    ev_io_stop(plain->loop, &plain->io);
    ev_io_init(&s->io, http2_on_accept, plain->io.fd, EV_READ);
    s->io.data = s;
    ev_io_start(s->loop, &s->io);
}

static inline void http2_server_stop(struct http2_server *s) {
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (s->peers[i])
            http2_peer_close(s->peers[i]);
    ev_io_stop(s->loop, &s->io);
    close(s->io.fd);
}
