/* origin.h — the HTTP/2 client codec below pool and proxy, between clients that are loopback legs and origins that are
 * nghttp2's server sessions behind a real socket. The test turns the worker by hand, with its clock; a few turns settle
 * everything. */
#pragma once

#include "tests/unit/dataplane/codec/callers.h"

#include <nghttp2/nghttp2.h>

#include "dataplane/codec/h2/client.h"
#include "dataplane/codec/h2/session.h"

enum { SETTLED = 8, QUESTIONS = 600, ORIGINS = 40 };

/* ---- what origins get */

struct question {                          /* one request, as the origin sees it */
    struct origin *origin;
    int32_t       id;
    struct strbuf fields, body, trailers;  /* "name: value\n" */
    bool          ended, closed, has_head;
    uint32_t      code;                    /* of the close */
    bool          reads_nothing;           /* its window is not opened again */
    struct str    to_send;                 /* of the response */
    size_t        most;                    /* of it in one frame; 0: any */
    bool          is_held;                 /* the end of the body is not sent */
    const nghttp2_nv *trailer;
};

struct origin {                            /* one connection, from its end */
    int              fd;
    nghttp2_session *session;
    uint8_t         *unsent;               /* not from the heap that fails */
    size_t           unsent_n;
    bool             eof, is_raw;          /* raw: the test plays by itself */
    bool             has_goaway;
    uint32_t         goaway_code;
    unsigned         pings, pongs;
    size_t           received;             /* bytes */
};

static struct origin   origins[ORIGINS];
static unsigned        origin_count;
static struct question questions[QUESTIONS];
static unsigned        question_count;
static nghttp2_settings_entry origin_settings[4];
static size_t          origin_setting_count;
static bool            next_is_raw;
static int             listening;

static struct http2_options       http2;

/* ---- the origin's session */

static inline struct question *question_of(const struct origin *o, int32_t id) {
    for (unsigned i = question_count; i-- > 0;)
        if (questions[i].origin == o && questions[i].id == id)
            return &questions[i];
    return NULL;
}

static inline int origin_on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)session;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        assert_true(question_count < QUESTIONS);
        questions[question_count++] = (struct question){.origin = user, .id = frame->hd.stream_id};
    }
    return 0;
}

static inline int origin_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t n,
                                   const uint8_t *value, size_t v, uint8_t flags, void *user) {
    struct question *q = question_of(user, frame->hd.stream_id);
    (void)session;
    (void)flags;
    if (q)
        strbuf_printf(q->has_head ? &q->trailers : &q->fields, "%.*s: %.*s\n", (int)n, (const char *)name, (int)v,
                      (const char *)value);
    return 0;
}

static inline int origin_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
                                 void *user) {
    struct question *q = question_of(user, id);
    (void)flags;
    nghttp2_session_consume_connection(session, n);
    if (q) {
        strbuf_add(&q->body, bytes, n);
        if (!q->reads_nothing)
            nghttp2_session_consume_stream(session, id, n);
    }
    return 0;
}

static inline int origin_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct origin *o = user;
    struct question *q = question_of(o, frame->hd.stream_id);
    bool is_message = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA, is_ack = frame->hd.flags & 1;
    (void)session;
    if (q && frame->hd.type == NGHTTP2_HEADERS)
        q->has_head = true;
    if (q && is_message && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        q->ended = true;
    if (frame->hd.type == NGHTTP2_PING)
        *(is_ack ? &o->pongs : &o->pings) += 1;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        o->has_goaway = true;
        o->goaway_code = frame->goaway.error_code;
    }
    return 0;
}

static inline int origin_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct question *q = question_of(user, id);
    (void)session;
    if (q) {
        q->closed = true;
        q->code = code;
    }
    return 0;
}

static inline void origin_begin(struct origin *o, int fd) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    *o = (struct origin){.fd = fd, .is_raw = next_is_raw};
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, origin_on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, origin_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, origin_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, origin_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, origin_on_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1); /* it may say what it should not */
    assert_int_equal(nghttp2_session_server_new2(&o->session, callbacks, o, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(o->session, NGHTTP2_FLAG_NONE, origin_settings, origin_setting_count);
}

static inline void origin_send(struct origin *o, const void *bytes, size_t n) {
    if (n == 0)
        return;
    o->unsent = realloc(o->unsent, o->unsent_n + n);
    assert_non_null(o->unsent);
    memcpy(o->unsent + o->unsent_n, bytes, n);
    o->unsent_n += n;
}

static inline void origin_flush(struct origin *o) {
    const uint8_t *bytes;
    ssize_t n;
    while (!o->is_raw && (n = nghttp2_session_mem_send(o->session, &bytes)) > 0)
        origin_send(o, bytes, (size_t)n);
    ssize_t sent = o->unsent_n && o->fd >= 0 ? send(o->fd, o->unsent, o->unsent_n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent > 0) {
        o->unsent_n -= (size_t)sent;
        memmove(o->unsent, o->unsent + sent, o->unsent_n);
    }
}

static inline void origin_receive(struct origin *o) {
    uint8_t room[65536];
    ssize_t n;
    while (o->fd >= 0 && (n = recv(o->fd, room, sizeof room, MSG_DONTWAIT)) >= 0) {
        o->received += (size_t)n;
        if ((o->eof = n == 0))
            return;
        if (nghttp2_session_mem_recv(o->session, room, (size_t)n) < 0)
            fail_msg("the gateway broke the protocol");
    }
}

static inline void origin_close(struct origin *o) {
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
}

static inline void accept_origins(void) {
    int fd;
    while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        assert_true(origin_count < ORIGINS);
        origin_begin(&origins[origin_count++], fd);
    }
}

/* ---- turning */

/* Once round: the clients read, the gateway works, the origins do. The clock stands still. */
static inline void turn_all(void) {
    uint64_t now = worker.now;
    ev_run(worker.loop, EVRUN_NOWAIT);
    worker.now = now;
    for (unsigned i = 0; i < call_count; i++)
        while (loopback_push(&calls[i].loop, 16384))
            ;
    read_calls();
    worker_end_turn(&worker);
    accept_origins();
    for (unsigned i = 0; i < origin_count; i++) {
        origin_receive(&origins[i]);
        origin_flush(&origins[i]);
    }
}

static inline void settle(void) {
    for (int i = 0; i < SETTLED; i++)
        turn_all();
}

static inline void pass(uint64_t microseconds) {
    worker.now += microseconds;
    wheel_advance(&worker.wheel, worker.now);
    worker_end_turn(&worker);
}

/* ---- origins' answers */

static inline nghttp2_nv nv(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name, .value = (uint8_t *)(uintptr_t)value, .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static inline ssize_t origin_body(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size, uint32_t *flags,
                                  nghttp2_data_source *source, void *user) {
    struct question *q = source->ptr;
    (void)user;
    size_t n = q->to_send.n < size ? q->to_send.n : size;
    n = q->most && n > q->most ? q->most : n;
    if (n == 0 && q->is_held)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        memcpy(buffer, q->to_send.p, n);
    q->to_send = (struct str){q->to_send.p + n, q->to_send.n - n};
    if (q->to_send.n == 0 && !q->is_held) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (q->trailer) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, id, q->trailer, 1);
        }
    }
    return (ssize_t)n;
}

static inline void answer_fields(struct question *q, const nghttp2_nv *fields, size_t n, struct str body, bool has_body) {
    q->to_send = body;
    const nghttp2_data_provider provider = {.source.ptr = q, .read_callback = origin_body};
    assert_int_equal(nghttp2_submit_response(q->origin->session, q->id, fields, n, has_body ? &provider : NULL), 0);
}

static inline void answer(struct question *q, const char *status, struct str body) {
    char length[32];
    snprintf(length, sizeof length, "%zu", body.n);
    const nghttp2_nv fields[] = {nv(":status", status), nv("content-length", length), nv("x-origin", "yes")};
    answer_fields(q, fields, 3, body, body.n > 0);
}

/* ---- set-up */

static inline int listen_somewhere(struct address *ret) {
    *ret = (struct address){.length = sizeof(sa_family_t), .u.un.sun_family = AF_UNIX}; /* the kernel picks a name */
    listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listening < 0 || bind(listening, &ret->u.any, ret->length) < 0 || listen(listening, 64) < 0)
        return -1;
    ret->length = sizeof ret->u.un;
    return getsockname(listening, &ret->u.any, &ret->length);
}

static inline void define_cluster(void) {
    http2_options_init(&http2, NULL, settings.limits.header_bytes);
    callers_define_cluster("unix:origin", &h2_client_codec);
    cluster.options.http2 = &http2;
}

static inline int origins_set_up(void **state) {
    memset(questions, 0, sizeof questions);
    question_count = origin_count = 0;
    origin_setting_count = 0;
    next_is_raw = false;
    if (callers_set_up(state) < 0 || listen_somewhere(&endpoint.address) < 0)
        return -1;
    define_cluster();
    return 0;
}

static inline void finish_peers(void) {
    for (unsigned i = 0; i < origin_count; i++) {
        origin_close(&origins[i]);
        nghttp2_session_del(origins[i].session);
        free(origins[i].unsent);
    }
    for (unsigned i = 0; i < question_count; i++) {
        strbuf_finish(&questions[i].fields);
        strbuf_finish(&questions[i].body);
        strbuf_finish(&questions[i].trailers);
    }
    close(listening);
}

static inline int origins_tear_down(void **state) {
    callers_close();
    finish_peers();
    for (int i = 0; i < SETTLED && stats_read(&worker.stats->origin_connections); i++)
        ev_run(worker.loop, EVRUN_NOWAIT); /* those that were reset see their origin close */
    return callers_tear_down(state);
}
