/* fake_quic.h — a QUIC connection without packets, in place of dataplane/quic: what the session writes is taken in the flush
 * and given to the test, which says when it is acknowledged, and what comes. All that was taken is compared with what it is
 * when it is acknowledged: it must not have moved. Whoever includes it has a static `worker`, and defines FAKE_CHECK. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/core/free_lists.h"
#include "dataplane/quic/conn.h"

enum { FAKE_STREAMS = 512, FAKE_PIECES = 16384 };

/* The test's own: its allocations are not those that may fail. A NUL stands behind them. */
struct bytes {
    char  *p;
    size_t n;
};

static inline void bytes_add(struct bytes *b, const void *from, size_t n) {
    b->p = realloc(b->p, b->n + n + 1);
    memcpy(b->p + b->n, from, n);
    b->n += n;
    b->p[b->n] = '\0';
}

static inline void bytes_finish(struct bytes *b) {
    free(b->p);
    *b = (struct bytes){0};
}

struct fake_stream {
    int64_t       id;                      /* of slot i; -1: unused */
    struct bytes  sent;                    /* by the session */
    size_t        acked, heard;            /* bytes; heard: that the test has given to its client */
    uint64_t      window;                  /* that the session may still use */
    uint64_t      credit;                  /* that it has given back */
    bool          ended, end_heard, is_closed, was_reset, was_stopped, is_blocked;
    bool          peer_ended;              /* the test has said so */
    uint64_t      reset_code, stop_code;
};

struct quic_conn {
    struct flushable   flushable;          /* first */
    struct quic_user  *user;
    struct fake_stream streams[FAKE_STREAMS];
    unsigned           stream_count;
    int64_t            next_uni, next_bidi;
    unsigned           uni_left, bidi_left;
    uint64_t           window, connection_credit, first_window;
    uint64_t           extended[2];
    bool               is_done, holds_acks, is_closed, is_gone;
    struct quic_allowance allowance;       /* what the peer was told */
    uint64_t           keep_alive;         /* as set last */
    uint64_t           idle_timeout, pto;
    enum quic_error_space space;
    uint64_t           code;
    char               reason[64];
    size_t             most;               /* bytes of one take; 0: any */
    struct {
        const uint8_t *p;
        uint8_t       *copy;
        size_t         n;
        int64_t        id;
    } pieces[FAKE_PIECES];
    unsigned           piece_count;
    int64_t            takes[64];          /* of which streams, the first ones since take_count was 0 */
    unsigned           take_count;
};

static struct quic_conn fake;

static inline struct fake_stream *fake_find(int64_t id) {
    for (unsigned i = 0; i < fake.stream_count; i++)
        if (fake.streams[i].id == id)
            return &fake.streams[i];
    return NULL;
}

static inline struct fake_stream *fake_stream(int64_t id) {
    struct fake_stream *s = fake_find(id);
    if (s)
        return s;
    FAKE_CHECK(fake.stream_count < FAKE_STREAMS);
    s = &fake.streams[fake.stream_count++];
    *s = (struct fake_stream){.id = id, .window = fake.first_window};
    return s;
}

/* ---- dataplane/quic/conn.h */

struct worker *quic_worker_of(const struct quic_conn *c) {
    (void)c;
    return &worker;
}

const struct tls_session *quic_tls(const struct quic_conn *c) {
    (void)c;
    return NULL;
}

bool quic_get_ends(const struct quic_conn *c, struct conn_ends *ret) {
    (void)c;
    (void)ret;
    return false;
}

bool quic_is_handshake_done(const struct quic_conn *c) {
    return c->is_done;
}

struct quic_allowance quic_first_allowance(const struct quic_conn *c) {
    return c->allowance;
}

void quic_set_keep_alive(struct quic_conn *c, uint64_t after) {
    c->keep_alive = after;
}

uint64_t quic_idle_timeout(const struct quic_conn *c) {
    return c->idle_timeout;
}

uint64_t quic_pto(const struct quic_conn *c) {
    return c->pto;
}

uint64_t quic_window_left(const struct quic_conn *c) {
    return c->window;
}

uint64_t quic_stream_window_left(const struct quic_conn *c, int64_t id) {
    (void)c;
    return fake_stream(id)->window;
}

int quic_open_stream(struct quic_conn *c, bool bidirectional, int64_t *ret_id) {
    unsigned *left = bidirectional ? &c->bidi_left : &c->uni_left;
    int64_t *next = bidirectional ? &c->next_bidi : &c->next_uni;
    if (*left == 0)
        return -1;
    (*left)--;
    *ret_id = *next;
    *next += 4;
    fake_stream(*ret_id);
    return 0;
}

void quic_extend_streams(struct quic_conn *c, bool bidirectional, size_t n) {
    c->extended[bidirectional] += n;
}

void quic_consume_stream(struct quic_conn *c, int64_t id, size_t n) {
    (void)c;
    fake_stream(id)->credit += n;
}

void quic_consume_connection(struct quic_conn *c, size_t n) {
    c->connection_credit += n;
}

void quic_reset_stream(struct quic_conn *c, int64_t id, uint64_t code) {
    struct fake_stream *s = fake_stream(id);
    (void)c;
    if (!s->was_reset)
        s->reset_code = code;
    s->was_reset = true;
}

void quic_stop_sending(struct quic_conn *c, int64_t id, uint64_t code) {
    struct fake_stream *s = fake_stream(id);
    (void)c;
    if (!s->was_stopped)
        s->stop_code = code;
    s->was_stopped = true;
}

void quic_shutdown_stream(struct quic_conn *c, int64_t id, uint64_t code) {
    quic_reset_stream(c, id, code);
    quic_stop_sending(c, id, code);
}

void quic_close(struct quic_conn *c, enum quic_error_space space, uint64_t code, const char *reason) {
    if (c->is_closed)
        return;
    c->is_closed = true;
    c->space = space;
    c->code = code;
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    worker_mark_dirty(&worker, &c->flushable);
}

void quic_mark_dirty(struct quic_conn *c) {
    worker_mark_dirty(&worker, &c->flushable);
}

void *quic_alloc(struct quic_conn *c, size_t n) {
    void *piece = free_lists_alloc(&worker.free_lists, n);
    (void)c;
    if (piece)
        worker.session_memory.used += free_lists_room(piece);
    return piece;
}

void quic_free(struct quic_conn *c, void *piece) {
    (void)c;
    if (piece)
        worker.session_memory.used -= free_lists_room(piece);
    free_lists_free(&worker.free_lists, piece);
}

void *quic_calloc(struct quic_conn *c, size_t count, size_t n) {
    void *piece = quic_alloc(c, count * n);
    return piece ? memset(piece, 0, count * n) : NULL;
}

void *quic_realloc(struct quic_conn *c, void *piece, size_t n) {
    void *grown = quic_alloc(c, n);
    if (grown && piece) {
        size_t room = free_lists_room(piece);
        memcpy(grown, piece, room < n ? room : n);
        quic_free(c, piece);
    }
    return grown;
}

/* ---- the flush */

static inline void fake_note(int64_t id, const uint8_t *p, size_t n) {
    FAKE_CHECK(fake.piece_count < FAKE_PIECES);
    uint8_t *copy = memcpy(malloc(n ? n : 1), p, n);
    fake.pieces[fake.piece_count].p = p;
    fake.pieces[fake.piece_count].copy = copy;
    fake.pieces[fake.piece_count].n = n;
    fake.pieces[fake.piece_count++].id = id;
}

static inline void fake_check(int64_t id) {
    for (unsigned i = 0; i < fake.piece_count; i++) {
        if (!fake.pieces[i].copy || (id >= 0 && fake.pieces[i].id != id))
            continue;
        if (id >= 0)
            FAKE_CHECK(memcmp(fake.pieces[i].p, fake.pieces[i].copy, fake.pieces[i].n) == 0);
        free(fake.pieces[i].copy);
        fake.pieces[i].copy = NULL;
    }
}

static inline void fake_ack_all(void) {
    for (unsigned i = 0; i < fake.stream_count; i++) {
        struct fake_stream *s = &fake.streams[i];
        size_t n = s->sent.n - s->acked;
        s->acked = s->sent.n;
        if (n == 0 || s->was_reset || fake.is_gone)
            continue;
        fake_check(s->id);
        fake.user->ops->on_stream_acked(fake.user, s->id, n);
    }
}

/* Both halves are over. */
static inline void fake_close_finished(void) {
    for (unsigned i = 0; i < fake.stream_count && !fake.is_gone; i++) {
        struct fake_stream *s = &fake.streams[i];
        bool is_over = (s->ended && s->acked == s->sent.n) || s->was_reset;
        if (s->is_closed || s->id & 2 || !is_over || !(s->peer_ended || s->was_stopped))
            continue;
        s->is_closed = true;
        fake.user->ops->on_stream_close(fake.user, s->id, s->was_reset ? s->reset_code : QUIC_NO_CODE);
    }
}

static inline void fake_take(int64_t id, bool end, const struct iovec *vec, size_t count) {
    struct fake_stream *s = fake_stream(id);
    size_t taken = 0, all = 0;
    for (size_t i = 0; i < count; i++)
        all += vec[i].iov_len;
    FAKE_CHECK(all == 0 ? end : fake.window > 0);
    if (all && s->window == 0) {
        fake.user->ops->on_blocked(fake.user, id);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t n = vec[i].iov_len;
        n = n < s->window ? n : (size_t)s->window;
        n = n < fake.window ? n : (size_t)fake.window;
        n = fake.most && n > fake.most - taken ? fake.most - taken : n;
        fake_note(id, vec[i].iov_base, n);
        if (n)
            bytes_add(&s->sent, vec[i].iov_base, n);
        s->window -= n;
        fake.window -= n;
        taken += n;
    }
    s->ended |= end && taken == all;
    if (fake.take_count < sizeof fake.takes / sizeof *fake.takes)
        fake.takes[fake.take_count++] = id;
    fake.user->ops->on_taken(fake.user, id, taken);
}

static inline void fake_gone(enum quic_cause cause) {
    const struct quic_closing why = {.cause = cause, .space = fake.space, .code = fake.code, .was_open = true,
                                     .tls_failure = ""};
    if (fake.is_gone)
        return;
    fake.is_gone = true;
    fake.user->ops->on_closed(fake.user, &why);
    fake.user->ops->destroy(fake.user);
}

static inline void fake_flush(struct flushable *f) {
    struct iovec vec[8];
    int64_t id;
    bool end;
    (void)f;
    if (fake.is_gone)
        return;
    if (!fake.is_closed)
        fake.user->ops->on_dirty(fake.user);
    while (!fake.is_closed) {
        size_t n = fake.user->ops->next(fake.user, &id, &end, vec, fake.window ? sizeof vec / sizeof *vec : 0);
        if (id < 0)
            break;
        fake_take(id, end, vec, n);
    }
    if (fake.is_closed)
        fake_gone(QUIC_BY_US);
}

/* Bytes of the peer. */
static inline void fake_receive(int64_t id, const void *bytes, size_t n, bool end) {
    fake_stream(id)->peer_ended |= end;
    if (!fake.is_closed && !fake.is_gone && !fake_stream(id)->was_stopped)
        fake.user->ops->on_stream_data(fake.user, id, bytes, n, end, !fake.is_done);
}

static inline void fake_begin(void) {
    fake = (struct quic_conn){.flushable.flush = fake_flush, .window = UINT64_MAX / 2, .first_window = UINT64_MAX / 2,
                              .uni_left = 3, .next_uni = 3, .next_bidi = 1, .is_done = true,
                              .allowance = {.stream_window = 65536, .streams = 100}};
}

static inline void fake_end(void) {
    if (fake.user && !fake.is_gone)
        fake_gone(QUIC_BY_PEER);
    worker_forget_dirty(&worker, &fake.flushable);
    fake_check(-1);
    for (unsigned i = 0; i < fake.stream_count; i++)
        bytes_finish(&fake.streams[i].sent);
}
