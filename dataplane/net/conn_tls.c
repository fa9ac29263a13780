/* conn_tls.c — a connection whose bytes go through TLS. The session moves bytes between buffers; sockets are ours. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "dataplane/net/conn_private.h"
#include "dataplane/tls/kernel_records.h"
#include "dataplane/tls/session.h"

/* One read takes at least a record, so that a small limit does not cost a system call for each piece of it. What comes
 * beyond the limit is the codec's to keep. */
enum { CIPHERTEXT_MIN = TLS_RECORD_MAX + 256 };

static struct tls_io *io_of(struct conn *c) {
    return tls_io_of(c->worker); /* there is one: the session was made with it */
}

/* What sessions have said by themselves (handshake, tickets, alerts) waits for the flush. */
static int keep_sealed(struct conn *c) {
    struct tls_io *io = io_of(c);
    size_t n = io->out_n;
    io->out_n = 0;
    if (n == 0)
        return 0;
    if (slice_queue_copy(&c->out, &c->worker->pool, io->out, n) < 0)
        return -1;
    conn_charge(c);
    conn_mark_dirty(c);
    return 0;
}

/* The last words of a connection: what the kernel does not take at once is lost, and so is what would come out of order. */
static void send_last(struct conn *c) {
    struct tls_io *io = io_of(c);
    bool is_in_order = !conn_has_unsent(c) && !c->is_broken;
    if (io->has_alert && is_in_order)
        conn_count_bytes(c, true, tls_kernel_send_alert(c->tls, c->io.fd));
    if (io->out_n && is_in_order) {
        ssize_t n = send(c->io.fd, io->out, io->out_n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            conn_count_bytes(c, true, (size_t)n);
    }
    io->out_n = 0;
    io->has_alert = false;
}

static void fail(struct conn *c, int error) {
    send_last(c);
    io_of(c)->in_n = 0;
    conn_pause_read(c);
    c->ops->on_error(c, error);
}

static void end_input(struct conn *c, bool is_truncated) {
    c->is_eof = true;
    c->is_truncated = is_truncated;
    conn_pause_read(c);
    if (c->is_handshaking)
        c->ops->on_error(c, ECONNRESET);
    else
        c->ops->on_eof(c);
}

/* ---- handshake ---- */

static void advance_handshake(struct conn *c) {
    c->worker->turn_work += HANDSHAKE_WORK;
    enum tls_status status = tls_handshake(c->tls);
    if (status == TLS_FAILED || status == TLS_EOF) {
        fail(c, EPROTO);
        return;
    }
    if (keep_sealed(c) < 0) {
        fail(c, ENOMEM);
        return;
    }
    if (status == TLS_AGAIN)
        return;
    c->is_handshaking = false;
    c->ops->on_connected(c);
}

void conn_tls_connected(struct conn *c) {
    c->is_handshaking = true;
    io_of(c)->in_n = 0;
    conn_want_read(c);
    advance_handshake(c);
}

void conn_handshake(struct conn *c, const uint8_t *received, size_t n) {
    struct tls_io *io = io_of(c);
    if (n)
        memcpy(io->in_buffer, received, n);
    io->in = io->in_buffer;
    io->in_n = n;
    c->is_handshaking = true;
    conn_want_read(c);
    conn_tls_drain(c);
}

/* ---- reading ---- */

/* All the plaintext that there is, up to n bytes. The status is that of the last read. */
static enum tls_status read_all(struct conn *c, uint8_t *room, size_t n, size_t *ret) {
    enum tls_status status = TLS_OK;
    size_t got = 0;
    while (status == TLS_OK && got < n) {
        size_t piece = 0;
        status = tls_read(c->tls, room + got, n - got, &piece);
        got += piece;
    }
    *ret = got;
    return status;
}

void conn_tls_drain(struct conn *c) {
    enum tls_status status = TLS_OK;
    if (c->is_handshaking)
        advance_handshake(c);
    while (!c->is_closed && !c->is_handshaking && status == TLS_OK) {
        uint8_t *room = worker_read_room(c->worker);
        size_t n = 0;
        if (c->is_closed) /* making room flushes, and flushing can close */
            break;
        status = read_all(c, room, READ_MAX, &n);
        if (status == TLS_FAILED)
            send_last(c); /* now: the codec may close this one or others, and their last words go through the same buffer */
        else if (keep_sealed(c) < 0)
            status = TLS_FAILED;
        if (n) {
            slice_pool_read_done(&c->worker->pool, n);
            c->ops->on_bytes(c, room, n);
        }
    }
    if (c->is_closed || c->is_handshaking)
        return;
    if (c->charged || tls_kept(c->tls))
        conn_charge(c);
    if (c->is_stalled && !tls_must_read(c->tls))
        conn_mark_dirty(c);
    if (status == TLS_EOF)
        end_input(c, false);
    else if (status == TLS_FAILED)
        fail(c, EPROTO);
}

void conn_tls_read(struct conn *c, size_t limit) {
    struct tls_io *io = io_of(c);
    size_t wanted = limit < CIPHERTEXT_MIN ? CIPHERTEXT_MIN : limit < READ_MAX ? limit : READ_MAX;
    ssize_t n = conn_receive(c->io.fd, io->in_buffer, wanted);
    if (n > 0) {
        conn_note_input(c, (size_t)n, wanted);
        io->in = io->in_buffer;
        io->in_n = (size_t)n;
        conn_tls_drain(c);
    } else if (n == 0) {
        end_input(c, true);
    } else if (errno != EAGAIN && errno != EINTR) {
        c->ops->on_error(c, errno);
    }
}

/* ---- writing ---- */

/* Plaintext on its way into records: small pieces are put together, so that framing does not cost records of its own. */
struct sealer {
    struct conn   *conn;
    struct tls_io *io;
    size_t         staged;
};

static int seal_record(struct sealer *s, const void *bytes, size_t n) {
    if (TLS_OUT_SIZE - s->io->out_n < TLS_OUT_RESERVE && keep_sealed(s->conn) < 0)
        return ENOMEM;
    return tls_write(s->conn->tls, bytes, n) == TLS_OK ? 0 : EPROTO;
}

static int seal_staged(struct sealer *s) {
    size_t n = s->staged;
    s->staged = 0;
    return n ? seal_record(s, s->io->stage, n) : 0;
}

static int seal_piece(struct sealer *s, const uint8_t *bytes, size_t n) {
    int error = 0;
    while (n && !error) {
        if (s->staged == 0 && n >= TLS_RECORD_MAX) {
            error = seal_record(s, bytes, TLS_RECORD_MAX);
            bytes += TLS_RECORD_MAX;
            n -= TLS_RECORD_MAX;
            continue;
        }
        size_t room = TLS_RECORD_MAX - s->staged, part = n < room ? n : room;
        memcpy(s->io->stage + s->staged, bytes, part);
        s->staged += part;
        bytes += part;
        n -= part;
        if (s->staged == TLS_RECORD_MAX)
            error = seal_staged(s);
    }
    return error;
}

int conn_tls_seal(struct conn *c, struct gather *g) {
    struct sealer s = {.conn = c, .io = io_of(c)};
    struct slice_queue none = {0};
    if (s.io->out_n == 0 && !conn_has_unsent(c) && tls_offer_to_kernel(c->tls, c->io.fd))
        return 0;
    int error = 0;
    for (unsigned i = 0; i < g->count && !error; i++)
        error = seal_piece(&s, g->pieces[i].iov_base, g->pieces[i].iov_len);
    if (!error)
        error = seal_staged(&s);
    gather_finish(g, g->bytes, &none);
    if (!error && conn_has_unsent(c) && keep_sealed(c) < 0)
        error = ENOMEM;
    gather_begin(g, &c->worker->pool);
    if (!error && s.io->out_n)
        gather_refer(g, s.io->out, s.io->out_n);
    else if (!error)
        conn_gather_unsent(c, g);
    s.io->out_n = 0; /* the gather refers to it until it is sent, which is next */
    return error;
}

ssize_t conn_tls_transmit(struct conn *c, const struct gather *g, size_t *ret_wire) {
    bool is_in_kernel = tls_is_in_kernel(c->tls);
    *ret_wire = 0;
    if (is_in_kernel && tls_kernel_prepare(c->tls, c->io.fd) < 0)
        return -1;
    ssize_t n = conn_transmit(c->io.fd, g);
    if (n > 0)
        *ret_wire = is_in_kernel ? tls_kernel_took(c->tls, (size_t)n) : (size_t)n;
    return n;
}

bool conn_tls_holds(struct conn *c) {
    return tls_is_in_kernel(c->tls) && tls_kernel_holds(c->tls, c->io.fd);
}

/* ---- the end ---- */

void conn_tls_notify(struct conn *c) {
    if (c->is_handshaking || c->is_connecting || c->is_broken || conn_has_unsent(c))
        return;
    tls_close_notify(c->tls);
    send_last(c);
}

const char *conn_tls_failure(const struct conn *c) {
    return c->tls ? tls_failure(c->tls) : NULL;
}
