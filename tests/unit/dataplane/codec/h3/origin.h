/* origin.h — the HTTP/3 client codec below pool and proxy, between clients that are loopback legs and an origin that the
 * test plays, frame by frame. The transport is fake_quic.h: one connection at a time. */
#pragma once

#include "tests/unit/dataplane/codec/callers.h"

#define FAKE_CHECK assert_true
#include "tests/unit/dataplane/codec/h3/fake_quic.h"

#include <nghttp3/nghttp3.h>

#include "dataplane/codec/h3/client.h"
#include "dataplane/codec/h3/session.h"
#include "dataplane/http/http3_options.h"
#include "dataplane/quic/client.h"

enum { SETTLED = 6, CONTROL_OF_ORIGIN = 3, FRAME_MOST = 1 << 17 };

static struct http3_options http3;
static struct quic_options quic;
static unsigned connects;       /* calls of quic_connect */
static int connect_error;       /* what the next ones fail with; 0: they do not */
static struct str agreed;       /* by ALPN */
static struct quic_options asked_options;
static uint64_t asked_timeout;

/* ---- dataplane/quic, the client's part */

struct quic_conn *quic_connect(struct worker *w, const struct quic_target *to, struct quic_user *user) {
    assert_ptr_equal(w, &worker);
    bool is_ending = fake.user && fake.is_closed && !fake.is_gone; /* there is one connection at a time here */
    if (connect_error || is_ending) {
        errno = connect_error ? connect_error : ECONNREFUSED;
        return NULL;
    }
    assert_true(!fake.user || fake.is_gone);
    fake_end();
    fake_begin();
    fake.next_uni = 2;
    fake.next_bidi = 0;
    fake.bidi_left = 100;
    fake.user = user;
    user->conn = &fake;
    asked_options = *to->options;
    asked_timeout = to->handshake_timeout;
    connects++;
    return &fake;
}

struct str quic_protocol(const struct quic_conn *c) {
    (void)c;
    return agreed;
}

uint64_t quic_streams_left(const struct quic_conn *c, bool bidirectional) {
    return bidirectional ? c->bidi_left : c->uni_left;
}

/* ---- what the origin says */

static inline size_t put_number(uint8_t *to, uint64_t value) {
    return h3_number_write(to, value);
}

static inline void say(int64_t id, const void *bytes, size_t n, bool end) {
    fake_receive(id, bytes, n, end);
}

static inline void say_frame(int64_t id, uint64_t type, const void *payload, size_t n, bool end) {
    static uint8_t room[FRAME_MOST];
    size_t at = put_number(room, type);
    at += put_number(room + at, n);
    assert_true(at + n <= sizeof room);
    memcpy(room + at, payload, n);
    say(id, room, at + n, end);
}

/* A prefixed number, RFC 7541 section 5.1. */
static inline size_t put_prefixed(uint8_t *to, uint8_t first, unsigned bits, size_t n) {
    size_t most = (1u << bits) - 1, at = 1;
    if (n < most) {
        to[0] = (uint8_t)(first | n);
        return 1;
    }
    to[0] = (uint8_t)(first | most);
    for (n -= most; n >= 128; n /= 128)
        to[at++] = (uint8_t)(n % 128 | 128);
    to[at++] = (uint8_t)n;
    return at;
}

/* Names and values one after the other; literals alone (RFC 9204 section 4.5.6). */
static inline void say_fields(int64_t id, bool end, size_t count, const char *const *fields) {
    static uint8_t room[FRAME_MOST];
    size_t at = 2;
    room[0] = room[1] = 0;
    for (size_t i = 0; i < count; i += 2) {
        size_t name = strlen(fields[i]), value = strlen(fields[i + 1]);
        at += put_prefixed(room + at, 0x20, 3, name);
        memcpy(room + at, fields[i], name);
        at += name;
        at += put_prefixed(room + at, 0, 7, value);
        memcpy(room + at, fields[i + 1], value);
        at += value;
    }
    say_frame(id, H3_HEADERS, room, at, end);
}

#define SAY_HEAD(id, end, ...)                                                            \
    do {                                                                                  \
        const char *const said[] = {__VA_ARGS__};                                         \
        say_fields(id, end, sizeof said / sizeof *said, said);                            \
    } while (0)

static inline void answer(int64_t id, const char *status, struct str body) {
    char length[32];
    snprintf(length, sizeof length, "%zu", body.n);
    SAY_HEAD(id, body.n == 0, ":status", status, "content-length", length, "x-origin", "yes");
    if (body.n)
        say_frame(id, H3_DATA, body.p, body.n, true);
}

/* The control stream begins: SETTINGS. */
static inline void say_settings(bool connect_protocol) {
    const uint8_t bytes[] = {H3_STREAM_CONTROL, H3_SETTINGS, 2, H3_SETTING_CONNECT_PROTOCOL, connect_protocol};
    say(CONTROL_OF_ORIGIN, bytes, sizeof bytes, false);
}

static inline void say_goaway(uint64_t id) {
    uint8_t payload[H3_NUMBER_MAX];
    say_frame(CONTROL_OF_ORIGIN, H3_GOAWAY, payload, put_number(payload, id), false);
}

static inline void say_reset(int64_t id, uint64_t code) {
    fake.user->ops->on_stream_reset(fake.user, id, code);
    fake_stream(id)->peer_ended = true;
}

static inline void allow_streams(unsigned n) {
    fake.bidi_left += n;
    fake.user->ops->on_streams(fake.user);
}

/* ---- what the origin hears */

/* The fields of the sections of a stream as "name: value\n", its content, and what else there is. */
struct heard {
    struct bytes fields, body, trailers;
};

static struct heard heard;

static inline void hear_fields(struct bytes *to, int64_t id, const uint8_t *at, size_t n) {
    nghttp3_qpack_decoder *decoder;
    nghttp3_qpack_stream_context *context;
    nghttp3_qpack_nv field;
    uint8_t flags = 0;
    assert_int_equal(nghttp3_qpack_decoder_new(&decoder, 0, 0, nghttp3_mem_default()), 0);
    assert_int_equal(nghttp3_qpack_stream_context_new(&context, id, nghttp3_mem_default()), 0);
    while (!(flags & NGHTTP3_QPACK_DECODE_FLAG_FINAL)) {
        nghttp3_ssize used = nghttp3_qpack_decoder_read_request(decoder, context, &field, &flags, at, n, 1);
        assert_true(used >= 0);
        at += used;
        n -= (size_t)used;
        if (!(flags & NGHTTP3_QPACK_DECODE_FLAG_EMIT))
            continue;
        nghttp3_vec name = nghttp3_rcbuf_get_buf(field.name), value = nghttp3_rcbuf_get_buf(field.value);
        bytes_add(to, name.base, name.len);
        bytes_add(to, ": ", 2);
        bytes_add(to, value.base, value.len);
        bytes_add(to, "\n", 1);
        h3_qpack_drop(&field);
    }
    nghttp3_qpack_stream_context_del(context);
    nghttp3_qpack_decoder_del(decoder);
}

static inline uint64_t take_number(const uint8_t **at, const uint8_t *end) {
    struct h3_number number = {0};
    assert_true(h3_number_read(&number, at, end));
    return number.value;
}

static inline const struct heard *hear(int64_t id) {
    const struct fake_stream *s = fake_stream(id);
    const uint8_t *at = (const uint8_t *)s->sent.p, *end = at + s->sent.n;
    bytes_finish(&heard.fields);
    bytes_finish(&heard.body);
    bytes_finish(&heard.trailers);
    while (at < end) {
        uint64_t type = take_number(&at, end), n = take_number(&at, end);
        assert_true(n <= (uint64_t)(end - at));
        if (type == H3_DATA)
            bytes_add(&heard.body, at, n);
        else if (type == H3_HEADERS)
            hear_fields(heard.fields.n ? &heard.trailers : &heard.fields, id, at, n);
        at += n;
    }
    return &heard;
}

static inline bool hears(int64_t id, const char *line) {
    const struct heard *h = hear(id);
    return h->fields.p && strstr(h->fields.p, line);
}

/* ---- turning */

static inline void turn_all(void) {
    uint64_t now = worker.now;
    ev_run(worker.loop, EVRUN_NOWAIT);
    worker.now = now;
    for (unsigned i = 0; i < call_count; i++)
        while (loopback_push(&calls[i].loop, 16384))
            ;
    read_calls();
    worker_end_turn(&worker);
    if (!fake.user || fake.is_gone)
        return;
    if (!fake.holds_acks)
        fake_ack_all();
    fake_close_finished();
    worker_end_turn(&worker);
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

/* The handshake of the connection that is being made comes to its end. */
static inline void open_connection(void) {
    settle();
    assert_true(connects > 0 && !fake.is_gone);
    fake.user->ops->on_open(fake.user);
    settle();
}

/* The connection is over. Another one may be begun within. */
static inline void lose(enum quic_cause cause) {
    const struct quic_closing why = {.cause = cause, .was_open = true, .tls_failure = ""};
    struct quic_user *user = fake.user;
    fake.is_gone = true;
    user->ops->on_closed(user, &why);
    user->ops->destroy(user);
}

static inline void refuse_connection(enum quic_cause cause, const char *tls) {
    const struct quic_closing why = {.cause = cause, .tls_failure = tls};
    struct quic_user *user = fake.user;
    fake.is_gone = true;
    user->ops->on_closed(user, &why);
    user->ops->destroy(user);
}

/* ---- set-up */

static inline int origin_set_up(void **state) {
    fake_begin();
    connects = 0;
    connect_error = 0;
    agreed = STR("h3");
    if (callers_set_up(state) < 0 || address_parse(STR("127.0.0.1:1"), &endpoint.address) < 0)
        return -1;
    http3_options_init(&http3, NULL, settings.limits.header_bytes);
    quic = (struct quic_options){.initial_stream_window = 65536, .max_concurrent_streams = 100, .keep_alive = 5000000};
    callers_define_cluster("127.0.0.1:1", &h3_client_codec);
    cluster.options.http3 = &http3;
    cluster.options.quic = &quic;
    return 0;
}

static inline int origin_tear_down(void **state) {
    callers_close();
    worker_end_turn(&worker);
    fake_end();
    bytes_finish(&heard.fields);
    bytes_finish(&heard.body);
    bytes_finish(&heard.trailers);
    return callers_tear_down(state);
}
