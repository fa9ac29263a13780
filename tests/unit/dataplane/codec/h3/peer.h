/* peer.h — the HTTP/3 server codec between a client of nghttp3's, which has its own idea of the protocol, and origins that
 * are loopback legs. The transport between them is fake_quic.h. The test turns the worker by hand. */
#pragma once

#include "tests/unit/dataplane/codec/gateway.h"

#define FAKE_CHECK assert_true
#include "tests/unit/dataplane/codec/h3/fake_quic.h"

#include "dataplane/codec/h3/server.h"
#include "dataplane/codec/h3/session.h"

static inline int gateway_set_up(void **state) {
    static const struct server_codecs codecs = {0};
    if (gateway_begin(state, &codecs) < 0)
        return -1;
    http3_options_init(&definition.http3, NULL, settings.limits.header_bytes);
    definition.quic = (struct quic_options){.initial_stream_window = 65536, .max_concurrent_streams = 100};
    return 0;
}

struct call {                              /* one request, as the client sees it */
    int64_t       id;
    unsigned      status, interims;
    struct bytes  fields, body, trailers;  /* "name: value\n" */
    bool          has_head, ended;
    struct str    to_send;                 /* of the request body */
    bool          is_held;                 /* the end of the body is not sent */
    bool          reads_nothing;
    const nghttp3_nv *request_trailers;
};

struct client {
    nghttp3_conn *conn;
    struct call   calls[CALLS];
    unsigned      call_count;
    int64_t       next_id;
    unsigned      goaways;
    int64_t       goaway_id;
    size_t        cut;                     /* what it says comes in pieces of so many bytes; 0: whole */
    bool          has_settings;
    nghttp3_settings peer;
};

static struct client client;

static inline struct call *call_of(int64_t id) {
    for (unsigned i = 0; i < client.call_count; i++)
        if (client.calls[i].id == id)
            return &client.calls[i];
    return NULL;
}

static inline int client_on_header(nghttp3_conn *conn, int64_t id, int32_t token, nghttp3_rcbuf *name, nghttp3_rcbuf *value,
                                   uint8_t flags, void *user, void *stream_user) {
    struct call *call = call_of(id);
    nghttp3_vec n = nghttp3_rcbuf_get_buf(name), v = nghttp3_rcbuf_get_buf(value);
    (void)conn;
    (void)token;
    (void)flags;
    (void)user;
    (void)stream_user;
    if (n.len == 7 && memcmp(n.base, ":status", 7) == 0) {
        call->status = (unsigned)atoi((const char *)v.base);
        call->interims += call->status < 200;
        return 0;
    }
    struct bytes *to = call->has_head ? &call->trailers : &call->fields;
    bytes_add(to, n.base, n.len);
    bytes_add(to, ": ", 2);
    bytes_add(to, v.base, v.len);
    bytes_add(to, "\n", 1);
    return 0;
}

static inline int client_end_headers(nghttp3_conn *conn, int64_t id, int fin, void *user, void *stream_user) {
    struct call *call = call_of(id);
    (void)conn;
    (void)fin;
    (void)user;
    (void)stream_user;
    call->has_head |= call->status >= 200;
    return 0;
}

static inline int client_on_data(nghttp3_conn *conn, int64_t id, const uint8_t *bytes, size_t n, void *user,
                                 void *stream_user) {
    (void)conn;
    (void)user;
    (void)stream_user;
    bytes_add(&call_of(id)->body, bytes, n);
    return 0;
}

static inline int client_on_end(nghttp3_conn *conn, int64_t id, void *user, void *stream_user) {
    (void)conn;
    (void)user;
    (void)stream_user;
    call_of(id)->ended = true;
    return 0;
}

static inline int client_on_goaway(nghttp3_conn *conn, int64_t id, void *user) {
    (void)conn;
    (void)user;
    client.goaways++;
    client.goaway_id = id;
    return 0;
}

static inline int client_on_settings(nghttp3_conn *conn, const nghttp3_settings *s, void *user) {
    (void)conn;
    (void)user;
    client.has_settings = true;
    client.peer = *s;
    return 0;
}

static inline nghttp3_ssize client_body(nghttp3_conn *conn, int64_t id, nghttp3_vec *vec, size_t count, uint32_t *flags,
                                        void *user, void *stream_user) {
    struct call *call = call_of(id);
    (void)count;
    (void)user;
    (void)stream_user;
    size_t n = call->to_send.n;
    if (n == 0 && call->is_held)
        return NGHTTP3_ERR_WOULDBLOCK;
    vec[0] = (nghttp3_vec){(uint8_t *)(uintptr_t)call->to_send.p, n};
    call->to_send = (struct str){call->to_send.p + n, 0};
    if (!call->is_held) {
        *flags |= NGHTTP3_DATA_FLAG_EOF;
        if (call->request_trailers) {
            *flags |= NGHTTP3_DATA_FLAG_NO_END_STREAM;
            nghttp3_conn_submit_trailers(conn, id, call->request_trailers, 1);
        }
    }
    return n ? 1 : 0;
}

static inline void client_init(const nghttp3_settings *own) {
    nghttp3_callbacks callbacks = {.recv_header = client_on_header, .recv_trailer = client_on_header,
                                   .end_headers = client_end_headers, .recv_data = client_on_data,
                                   .end_stream = client_on_end, .shutdown = client_on_goaway,
                                   .recv_settings = client_on_settings};
    nghttp3_settings defaults;
    memset(&client, 0, sizeof client);
    nghttp3_settings_default(&defaults);
    own = own ? own : &defaults;
    assert_int_equal(nghttp3_conn_client_new(&client.conn, &callbacks, own, nghttp3_mem_default(), NULL), 0);
    assert_int_equal(nghttp3_conn_bind_control_stream(client.conn, 2), 0);
    assert_int_equal(nghttp3_conn_bind_qpack_streams(client.conn, 6, 10), 0);
}

static inline void client_finish(void) {
    for (unsigned i = 0; i < client.call_count; i++) {
        bytes_finish(&client.calls[i].fields);
        bytes_finish(&client.calls[i].body);
        bytes_finish(&client.calls[i].trailers);
    }
    nghttp3_conn_del(client.conn);
}

static inline void receive_cut(int64_t id, const uint8_t *bytes, size_t n, bool end) {
    while (client.cut && n > client.cut) {
        fake_receive(id, bytes, client.cut, false);
        bytes += client.cut;
        n -= client.cut;
    }
    fake_receive(id, bytes, n, end);
}

static inline void client_send(void) {
    nghttp3_vec vec[16];
    int64_t id;
    int fin;
    nghttp3_ssize n;
    while ((n = nghttp3_conn_writev_stream(client.conn, &id, &fin, vec, 16)) >= 0 && id >= 0) {
        struct bytes all = {0};
        for (nghttp3_ssize i = 0; i < n; i++)
            bytes_add(&all, vec[i].base, vec[i].len);
        nghttp3_conn_add_write_offset(client.conn, id, all.n);
        nghttp3_conn_add_ack_offset(client.conn, id, all.n);
        receive_cut(id, (const uint8_t *)all.p, all.n, fin);
        bytes_finish(&all);
    }
}

/* What the gateway has written since. Its own unidirectional streams in the order of their ids. */
static inline void client_receive(void) {
    for (unsigned i = 0; i < fake.stream_count; i++) {
        struct fake_stream *s = &fake.streams[i];
        struct call *call = s->id & 2 ? NULL : call_of(s->id);
        if ((s->heard == s->sent.n && s->ended == s->end_heard) || (call && call->reads_nothing) || s->was_reset)
            continue;
        nghttp3_ssize n = nghttp3_conn_read_stream(client.conn, s->id, (const uint8_t *)s->sent.p + s->heard,
                                                   s->sent.n - s->heard, s->ended);
        if (n < 0)
            fail_msg("the server broke the protocol: %s", nghttp3_strerror((int)n));
        s->heard = s->sent.n;
        s->end_heard = s->ended;
    }
}

/* Once round: the client speaks, the gateway works, the client listens. */
static inline void exchange_bytes(void) {
    client_send();
    ev_run(worker.loop, EVRUN_NOWAIT);
    worker_end_turn(&worker);
    client_receive();
    if (!fake.holds_acks)
        fake_ack_all();
    fake_close_finished();
    worker_end_turn(&worker);
}

static inline void settle(void) {
    for (int i = 0; i < SETTLED; i++)
        exchange_bytes();
}

/* A connection to the gateway. */
static inline bool connect_gateway(void) {
    fake_begin();
    fake.user = h3_server_accept(listener, &fake, IP_CAP_UNCOUNTED);
    if (!fake.user)
        return false;
    fake.user->ops->on_open(fake.user);
    return true;
}

/* ---- requests */

static inline nghttp3_nv nv(const char *name, const char *value) {
    return (nghttp3_nv){.name = (const uint8_t *)name, .value = (const uint8_t *)value, .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

/* The four pseudo-fields. */
#define BASIC(method, path) nv(":method", method), nv(":scheme", "https"), nv(":authority", "example.com"), nv(":path", path)

static inline struct call *request_fields(const nghttp3_nv *fields, size_t n, struct str body, bool has_body) {
    assert_true(client.call_count < CALLS);
    struct call *call = &client.calls[client.call_count++];
    const nghttp3_data_reader reader = {.read_data = client_body};
    *call = (struct call){.id = client.next_id, .to_send = body};
    client.next_id += 4;
    assert_int_equal(nghttp3_conn_submit_request(client.conn, call->id, fields, n, has_body ? &reader : NULL, NULL), 0);
    return call;
}

static inline struct call *get(const char *path) {
    const nghttp3_nv fields[] = {BASIC("GET", path)};
    return request_fields(fields, 4, STR(""), false);
}

static inline struct call *post(struct str body) {
    const nghttp3_nv fields[] = {BASIC("POST", "/")};
    return request_fields(fields, 4, body, true);
}

/* Of struct bytes and struct strbuf. */
#define text(b) ((b)->p ? (b)->p : "")

/* ---- tests with a client */

static inline int client_set_up_with(void **state, const nghttp3_settings *own) {
    if (gateway_set_up(state) < 0)
        return -1;
    client_init(own);
    assert_true(connect_gateway());
    settle();
    return 0;
}

static inline int client_set_up(void **state) {
    return client_set_up_with(state, NULL);
}

static inline int client_tear_down(void **state) {
    fake_end();
    client_finish();
    return gateway_tear_down(state);
}
