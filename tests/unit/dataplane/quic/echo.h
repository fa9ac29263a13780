/* echo.h — a user of connections that sends back whatever comes on a stream. For network.h. */
#pragma once

#include "tests/unit/common/cmocka_all.h"

#include <stdio.h>

#include "dataplane/quic/endpoint.h"
#include "dataplane/quic/conn.h"

/* ---- streams ---- */

enum { PEERS_MAX = 64, STREAMS = 64, ECHO_MAX = 2 << 20 };

/* What was sent stays where it is until it is acknowledged: nothing here moves. */
struct echo_stream {
    int64_t       id;
    uint8_t      *bytes;
    size_t        n, taken;
    bool          is_used, has_end, end_taken, is_blocked, is_closed;
};

struct echo {
    struct quic_user    user;
    struct echo_stream  streams[STREAMS];
    struct quic_closing closing;
    bool                is_open, is_done, is_closed, is_destroyed, got_early;
    uint64_t            early_bytes, resets, stops, code;
    char                name[64], peer[256];
    bool                is_resumed;
};

static struct echo echoes[PEERS_MAX];
static void       *echo_owner;                  /* of the endpoint: the test's */
static unsigned    echo_count;
static bool        refuses;

static inline struct echo_stream *echo_stream(struct echo *e, int64_t id) {
    for (unsigned i = 0; i < STREAMS; i++)
        if (e->streams[i].is_used && e->streams[i].id == id)
            return &e->streams[i];
    return NULL;
}

static inline struct echo_stream *echo_stream_new(struct echo *e, int64_t id) {
    for (unsigned i = 0; i < STREAMS; i++) {
        struct echo_stream *s = &e->streams[i];
        if (s->is_used)
            continue;
        *s = (struct echo_stream){.id = id, .is_used = true, .bytes = malloc(ECHO_MAX)};
        assert_non_null(s->bytes);
        return s;
    }
    return NULL;
}

static void echo_open(struct quic_user *u) {
    struct echo *e = (struct echo *)u;
    assert_false(e->is_open);
    e->is_open = true;
    struct str name = tls_server_name(quic_tls(u->conn));
    snprintf(e->name, sizeof e->name, "%.*s", (int)name.n, name.p);
    assert_true(str_eq(quic_protocol(u->conn), STR("h3")));
}

static void echo_done(struct quic_user *u) {
    struct echo *e = (struct echo *)u;
    assert_true(e->is_open && quic_is_handshake_done(u->conn));
    struct str peer = tls_peer_text(quic_tls(u->conn));
    snprintf(e->peer, sizeof e->peer, "%.*s", (int)peer.n, peer.p);
    e->is_done = true;
    e->is_resumed = tls_is_resumed(quic_tls(u->conn));
}

static int echo_data(struct quic_user *u, int64_t id, const uint8_t *bytes, size_t n, bool fin, bool early) {
    struct echo *e = (struct echo *)u;
    struct echo_stream *s = echo_stream(e, id);
    assert_true(e->is_open && !e->is_closed);
    s = s ? s : echo_stream_new(e, id);
    if (!s || s->n + n > ECHO_MAX) { /* more than this user takes */
        quic_stop_sending(u->conn, id, 1);
        return 0;
    }
    if (n > 0)
        memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
    s->has_end |= fin;
    e->got_early |= early;
    e->early_bytes += early ? n : 0;
    quic_consume_stream(u->conn, id, n);
    quic_consume_connection(u->conn, n);
    quic_mark_dirty(u->conn);
    return 0;
}

static void echo_acked(struct quic_user *u, int64_t id, uint64_t n) {
    (void)u, (void)id, (void)n;
}

static void echo_reset(struct quic_user *u, int64_t id, uint64_t code) {
    struct echo *e = (struct echo *)u;
    (void)id;
    e->resets++;
    e->code = code;
}

static void echo_stop(struct quic_user *u, int64_t id, uint64_t code) {
    struct echo *e = (struct echo *)u;
    (void)id;
    e->stops++;
    e->code = code;
}

static void echo_close(struct quic_user *u, int64_t id, uint64_t code) {
    struct echo *e = (struct echo *)u;
    struct echo_stream *s = echo_stream(e, id);
    (void)code;
    quic_extend_streams(u->conn, !(id & 2), 1);
    if (!s)
        return;
    free(s->bytes);
    *s = (struct echo_stream){0};
}

static void echo_window(struct quic_user *u, int64_t id) {
    struct echo_stream *s = echo_stream((struct echo *)u, id);
    if (s)
        s->is_blocked = false;
}

static void echo_streams(struct quic_user *u) {
    (void)u;
}

static size_t echo_next(struct quic_user *u, int64_t *ret_id, bool *ret_fin, struct iovec *vec, size_t most) {
    struct echo *e = (struct echo *)u;
    for (unsigned i = 0; i < STREAMS; i++) {
        struct echo_stream *s = &e->streams[i];
        if (!s->is_used || s->is_blocked || (s->id & 2) || (s->taken == s->n && (!s->has_end || s->end_taken)))
            continue;
        if (s->taken < s->n && most == 0)
            continue;
        *ret_id = s->id;
        *ret_fin = s->has_end;
        if (s->taken == s->n)
            return 0;
        vec[0] = (struct iovec){s->bytes + s->taken, s->n - s->taken};
        return 1;
    }
    return 0;
}

static void echo_taken(struct quic_user *u, int64_t id, size_t n) {
    struct echo_stream *s = echo_stream((struct echo *)u, id);
    assert_non_null(s);
    s->taken += n;
    s->end_taken = s->has_end && s->taken == s->n;
}

static void echo_blocked(struct quic_user *u, int64_t id) {
    echo_stream((struct echo *)u, id)->is_blocked = true;
}

static void echo_closed(struct quic_user *u, const struct quic_closing *why) {
    struct echo *e = (struct echo *)u;
    assert_false(e->is_closed);
    e->is_closed = true;
    e->closing = *why;
}

static void echo_destroy(struct quic_user *u) {
    struct echo *e = (struct echo *)u;
    assert_true(e->is_closed);
    for (unsigned i = 0; i < STREAMS; i++)
        free(e->streams[i].bytes);
    e->is_destroyed = true;
}

static const struct quic_ops echo_ops = {
    echo_open, echo_done, echo_data, echo_acked, echo_reset, echo_stop, echo_close, echo_window, echo_streams, NULL,
    echo_next, echo_taken, echo_blocked, echo_blocked, echo_closed, echo_destroy,
};

static struct quic_user *echo_accept(void *owner, struct quic_conn *c) {
    assert_ptr_equal(owner, echo_owner);
    (void)c;
    if (refuses)
        return NULL;
    assert_true(echo_count < PEERS_MAX);
    struct echo *e = &echoes[echo_count++];
    *e = (struct echo){.user.ops = &echo_ops};
    return &e->user;
}

static unsigned empty_calls;

static void echo_empty(void *owner) {
    assert_ptr_equal(owner, echo_owner);
    empty_calls++;
}

static const struct quic_endpoint_ops echo_endpoint = {echo_accept, echo_empty};
