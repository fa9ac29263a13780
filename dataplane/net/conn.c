#include "common/alloc.h"
#include "dataplane/net/conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/core/pace.h"
#include "dataplane/net/conn_private.h"
#include "dataplane/tls/session.h"

static struct conn *conn_of_flushable(struct flushable *f) {
    return (struct conn *)f;
}

void conn_count_bytes(struct conn *c, bool sent, size_t n) {
    struct stats *s = c->worker->stats;
    if (c->ops->is_client)
        stats_add(sent ? &s->client_sent_bytes_total : &s->client_received_bytes_total, n);
    else
        stats_add(sent ? &s->origin_sent_bytes_total : &s->origin_received_bytes_total, n);
}

void conn_note_input(struct conn *c, size_t n, size_t limit) {
    conn_count_bytes(c, false, n);
    c->worker->turn_work += n;
    c->has_more_input = n == limit;
}

/* ---- watching ---- */

static void watch(struct conn *c, int events) {
    if (c->is_closed || (c->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    if (!(events & EV_READ))
        worker_leave_line(&c->readable);
    ev_io_stop(c->worker->loop, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    if (events)
        ev_io_start(c->worker->loop, &c->io);
}

static int watched(const struct conn *c) {
    return c->io.events & (EV_READ | EV_WRITE);
}

void conn_want_read(struct conn *c) {
    if (!c->is_eof && !c->is_connecting)
        watch(c, watched(c) | EV_READ);
}

/* A socket that waits for neither side is not watched, and the loop would say nothing of its reset. Reading would not
 * either, while there are bytes before it. So it is looked at now and then. */
static void look_later(struct conn *c) {
    if (c->ops->is_client && !c->deadlines[DEADLINE_LOOK])
        conn_set_deadline(c, DEADLINE_LOOK, c->worker->now + LOOK_US);
}

static void look_for_reset(struct conn *c) {
    struct pollfd look = {.fd = c->io.fd};
    if (watched(c) & EV_READ)
        return;
    if (poll(&look, 1, 0) > 0 && (look.revents & (POLLERR | POLLHUP)))
        c->ops->on_error(c, ECONNRESET);
    else
        look_later(c);
}

void conn_pause_read(struct conn *c) {
    watch(c, watched(c) & ~EV_READ);
    look_later(c);
}

void conn_mark_dirty(struct conn *c) {
    if (!c->is_closed)
        worker_mark_dirty(c->worker, &c->flushable);
}

/* ---- budget ---- */

void conn_charge(struct conn *c) {
    size_t of_tls = c->tls ? tls_kept(c->tls) : 0;
    uint32_t total = c->is_closed ? 0 : (uint32_t)(c->out.bytes + c->held + of_tls);
    c->worker->buffer_used += (uint64_t)total - c->charged;
    stats_add(&c->worker->stats->buffered_bytes, (uint64_t)total - c->charged);
    c->charged = total;
}

void conn_set_held(struct conn *c, size_t bytes) {
    if (c->held == bytes)
        return;
    c->held = (uint32_t)bytes;
    conn_charge(c);
}

/* ---- system calls ----
 * The library's recv, send and sendmsg are cancellation points, which costs a program with threads two locked instructions
 * each; nobody here cancels a thread. */

ssize_t conn_receive(int fd, void *room, size_t n) {
    return syscall(SYS_recvfrom, fd, room, n, 0, NULL, NULL);
}

ssize_t conn_transmit(int fd, const struct gather *g) {
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)g->pieces, .msg_iovlen = g->count};
    if (g->count == 1)
        return syscall(SYS_sendto, fd, g->pieces[0].iov_base, g->pieces[0].iov_len, MSG_NOSIGNAL, NULL, 0);
    return syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
}

/* ---- reading ---- */

static void read_some(struct conn *c) {
    size_t limit = c->is_handshaking ? READ_MAX : c->ops->read_limit(c);
    c->has_more_input = false;
    if (limit == 0) {
        conn_pause_read(c);
        return;
    }
    if (c->tls) {
        conn_tls_read(c, limit);
        return;
    }
    uint8_t *room = worker_read_room(c->worker);
    if (c->is_closed) /* making room flushes, and flushing can close */
        return;
    limit = limit < READ_MAX ? limit : READ_MAX;
    ssize_t n = conn_receive(c->io.fd, room, limit);
    if (n > 0) {
        slice_pool_read_done(&c->worker->pool, (size_t)n);
        conn_note_input(c, (size_t)n, limit);
        c->ops->on_bytes(c, room, (size_t)n);
    } else if (n == 0) {
        c->is_eof = true;
        conn_pause_read(c);
        c->ops->on_eof(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        c->ops->on_error(c, errno);
    }
}

static void read_from_line(struct readable *r) {
    read_some((struct conn *)((char *)r - offsetof(struct conn, readable)));
}

/* A turn reads only so much, that no burst keeps others waiting. Who has had its share, or finds nothing left, stands in
 * line, in which each has one read at a time; who has just begun to speak goes before them ("new flows", RFC 8290 4.1). What
 * comes while nothing is expected never waits: it must not be taken for the answer to what is about to be sent. */
static void read_in_turn(struct conn *c) {
    struct worker *w = c->worker;
    bool has_had_its_share = c->has_more_input && worker_has_line(w);
    bool may_go_on = w->turn_work < TURN_WORK && !has_had_its_share && !worker_is_in_line(&c->readable);
    if (may_go_on || c->is_resting)
        read_some(c);
    else
        worker_stand_in_line(w, &c->readable, read_from_line);
}

static void finish_connect(struct conn *c) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    c->is_connecting = false;
    watch(c, 0);
    if (conn_has_unsent(c))
        conn_mark_dirty(c);
    if (error)
        c->ops->on_error(c, error);
    else if (c->tls)
        conn_tls_connected(c);
    else
        c->ops->on_connected(c);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events) {
    (void)loop;
    struct conn *c = io->data;
    if (c->is_connecting) {
        finish_connect(c);
        return;
    }
    if (events & EV_WRITE) {
        c->is_blocked = false;
        conn_mark_dirty(c);
    }
    if (events & EV_READ)
        read_in_turn(c);
}

/* ---- writing ---- */

bool conn_gather_unsent(struct conn *c, struct gather *g) {
    while (c->out.first) {
        if (gather_is_full(g))
            return false;
        struct slice *s = slice_queue_pop(&c->out);
        gather_slice(g, s);
    }
    return true;
}

static bool is_too_slow(const struct conn *c) {
    return c->blocked_since &&
           pace_is_slow(c->blocked_bytes, c->worker->now - c->blocked_since, c->min_rate, c->write_timeout);
}

/* After a flush: waits for room, or for the peer where TLS cannot write, or notes that everything is sent. */
static void note_blocked(struct conn *c, bool blocked) {
    c->is_blocked = blocked;
    watch(c, blocked ? watched(c) | EV_WRITE : watched(c) & ~EV_WRITE);
    if (!blocked && !c->is_stalled) {
        c->blocked_since = 0;
        if (c->deadlines[DEADLINE_WRITE])
            conn_set_deadline(c, DEADLINE_WRITE, 0);
        return;
    }
    if (!c->blocked_since) {
        c->blocked_since = c->worker->now;
        c->blocked_bytes = 0;
    }
    if (is_too_slow(c))
        c->ops->on_deadline(c, DEADLINE_WRITE);
    else if (c->write_timeout && !c->deadlines[DEADLINE_WRITE])
        conn_set_deadline(c, DEADLINE_WRITE, c->worker->now + c->write_timeout);
}

static void write_failed(struct conn *c, int error) {
    c->is_broken = true;
    c->is_stalled = false;
    slice_queue_clear(&c->out, &c->worker->pool);
    conn_charge(c);
    c->ops->on_write_error(c, error); /* blocked_since still tells whether something was unsent before */
    note_blocked(c, false);
}

/* *ret_wire: what the bytes that were taken are on the wire. */
static ssize_t transmit(struct conn *c, const struct gather *g, size_t *ret_wire) {
    if (c->tls)
        return conn_tls_transmit(c, g, ret_wire);
    ssize_t n = conn_transmit(c->io.fd, g);
    *ret_wire = n > 0 ? (size_t)n : 0;
    return n;
}

/* 1: everything went; 0: the kernel takes no more for now; -1: failed and reported. */
static int send_gathered(struct conn *c, struct gather *g) {
    size_t wanted = g->bytes, wire = 0;
    ssize_t n = transmit(c, g, &wire);
    int error = n < 0 ? errno : 0;
    if (error == EAGAIN || error == EINTR)
        n = error = 0;
    c->has_sent |= n > 0 && c->has_produced;
    struct slice_queue tail = c->out, rest = {0};
    if (gather_finish(g, n > 0 ? (size_t)n : 0, &rest) < 0 && !error)
        error = ENOMEM;
    if (rest.first) { /* what was gathered stood before what is still queued */
        rest.last->next = tail.first;
        rest.last = tail.last ? tail.last : rest.last;
        rest.bytes += tail.bytes;
        c->out = rest;
    }
    if (error) {
        write_failed(c, error);
        return -1;
    }
    if (n > 0) {
        c->deadlines[DEADLINE_WRITE] = 0; /* progress: the time begins anew */
        c->is_resting = false;
    }
    conn_count_bytes(c, true, wire);
    c->blocked_bytes += wire;
    return (size_t)n == wanted;
}

/* What is to be sent now; *ret_more: there can be more behind it. Returns 0, or an errno. */
static int fill(struct conn *c, struct gather *g, bool *ret_more) {
    bool has_unsent = conn_has_unsent(c);
    gather_begin(g, &c->worker->pool);
    *ret_more = true;
    if (!conn_gather_unsent(c, g) || g->bytes >= UNSENT_MAX || c->is_handshaking || (c->tls && has_unsent))
        return 0;
    c->is_stalled = c->tls && tls_must_read(c->tls);
    if (c->is_stalled)
        return 0;
    size_t before = g->bytes;
    bool wants_room = c->ops->produce(c, g);
    c->has_produced |= g->bytes > before;
    int error = c->tls && g->bytes && !c->is_closed ? conn_tls_seal(c, g) : 0;
    *ret_more = wants_room || conn_has_unsent(c);
    return error;
}

static void flush_conn(struct flushable *f) {
    struct conn *c = conn_of_flushable(f);
    struct gather *g = c->worker->gather;
    int sent = 1;
    bool has_more = true;
    if (c->ops->on_dirty)
        c->ops->on_dirty(c);
    if (c->is_closed || c->is_broken || c->is_blocked)
        return;
    while (!c->is_closed && !c->is_connecting && sent == 1 && has_more) {
        int error = fill(c, g, &has_more);
        if (error) {
            write_failed(c, error);
            return;
        }
        if (g->bytes == 0)
            break;
        if (c->is_closed) {
            struct slice_queue dropped = {0};
            gather_finish(g, g->bytes, &dropped);
            return;
        }
        sent = send_gathered(c, g);
    }
    if (c->is_closed || sent < 0 || c->is_connecting)
        return;
    conn_charge(c);
    if (sent && c->tls && conn_tls_holds(c))
        sent = 0;
    note_blocked(c, !sent);
    if (sent && !c->is_handshaking && !c->is_stalled)
        c->ops->on_written(c);
}

/* ---- deadlines ---- */

static uint64_t earliest(const struct conn *c) {
    uint64_t first = 0;
    for (int i = 0; i < DEADLINE_COUNT; i++)
        if (c->deadlines[i] && (!first || c->deadlines[i] < first))
            first = c->deadlines[i];
    return first;
}

void conn_set_deadline(struct conn *c, enum conn_deadline which, uint64_t when) {
    if (c->is_closed)
        return;
    c->deadlines[which] = when;
    worker_hasten_timer(c->worker, &c->timer, when);
}

/* It may have spoken in time: who waits to be read is not late, but we are. */
static bool put_off_deadline(struct conn *c, int which) {
    if (which == DEADLINE_WRITE || !worker_is_in_line(&c->readable))
        return false;
    c->deadlines[which] = c->worker->now + LATE_US;
    return true;
}

static void on_timer(struct timer *t) {
    struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, timer));
    for (int i = 0; i < DEADLINE_COUNT && !c->is_closed; i++) {
        if (!c->deadlines[i] || c->deadlines[i] > c->worker->now || put_off_deadline(c, i))
            continue;
        c->deadlines[i] = 0;
        if (i == DEADLINE_LOOK)
            look_for_reset(c);
        else
            c->ops->on_deadline(c, (enum conn_deadline)i);
    }
    if (!c->is_closed)
        worker_set_timer(c->worker, &c->timer, earliest(c));
}

/* ---- life ---- */

static void reap_conn(struct reapable *r) {
    struct conn *c = (struct conn *)((char *)r - offsetof(struct conn, reapable));
    c->ops->destroy(c);
}

void conn_init(struct conn *c, struct worker *w, struct transport t, const struct conn_ops *ops) {
    *c = (struct conn){.ops = ops, .worker = w, .tls = t.tls, .ends = t.ends, .out = t.unsent};
    c->flushable.flush = flush_conn;
    c->reapable.reap = reap_conn;
    c->timer.fire = on_timer;
    ev_io_init(&c->io, on_io, t.fd, 0);
    c->io.data = c;
    if (conn_has_unsent(c)) {
        conn_charge(c);
        conn_mark_dirty(c);
    }
}

static int begin_connect(const struct address *to, int *ret) {
    int fd = socket(to->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return errno;
    if (to->u.any.sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, &to->u.any, to->length) < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return error;
    }
    *ret = fd;
    return 0;
}

int conn_connect(struct conn *c, struct worker *w, const struct address *to, struct str preamble, struct tls_session *tls,
                 const struct conn_ops *ops) {
    struct slice_queue first = {0};
    int fd = -1, error = 0;
    if (preamble.n && slice_queue_copy(&first, &w->pool, preamble.p, preamble.n) < 0)
        error = ENOMEM;
    if (!error)
        error = begin_connect(to, &fd);
    w->turn_work += CONNECT_WORK;
    if (error) {
        slice_queue_clear(&first, &w->pool);
        tls_session_free(tls);
        return error;
    }
    conn_init(c, w, (struct transport){.fd = fd, .tls = tls}, ops);
    c->out = first;
    conn_charge(c);
    c->is_connecting = true;
    watch(c, EV_WRITE);
    return 0;
}

/* It is of no more use: off all lists, freed at the end of the turn. */
static void retire(struct conn *c) {
    watch(c, 0);
    c->is_closed = true;
    conn_charge(c);
    wheel_remove(&c->worker->wheel, &c->timer);
    worker_forget_dirty(c->worker, &c->flushable);
    worker_reap_later(c->worker, &c->reapable);
}

void conn_close(struct conn *c) {
    if (c->is_closed)
        return;
    if (c->tls)
        conn_tls_notify(c);
    retire(c);
    close(c->io.fd);
    slice_queue_clear(&c->out, &c->worker->pool);
    tls_session_free(c->tls);
    c->tls = NULL;
    hg_free(c->ends);
    c->ends = NULL;
}

void conn_reset(struct conn *c) {
    static const struct linger reset = {.l_onoff = 1};
    if (c->is_closed)
        return;
    setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    c->is_broken = true; /* no last words */
    conn_close(c);
}

struct transport conn_release(struct conn *c) {
    struct transport t = {.fd = c->io.fd, .ends = c->ends, .tls = c->tls, .unsent = c->out};
    c->tls = NULL;
    c->ends = NULL;
    c->out = (struct slice_queue){0};
    retire(c);
    return t;
}

void conn_discard(struct conn *released, struct transport *t) {
    slice_queue_clear(&t->unsent, &released->worker->pool);
    tls_session_free(t->tls);
    hg_free(t->ends);
    close(t->fd);
}

void conn_go_on(struct conn *c, const uint8_t *received, size_t n) {
    if (n) {
        uint8_t *room = worker_read_room(c->worker);
        if (c->is_closed) /* making room flushes, and flushing can close */
            return;
        memcpy(room, received, n);
        slice_pool_read_done(&c->worker->pool, n);
        c->ops->on_bytes(c, room, n);
    }
    if (c->tls && !c->is_closed)
        conn_tls_drain(c);
}

void conn_shutdown_write(struct conn *c) {
    if (c->tls)
        conn_tls_notify(c);
    shutdown(c->io.fd, SHUT_WR);
}

bool conn_get_ends(const struct conn *c, struct conn_ends *ret) {
    struct conn_ends e = {.remote.length = sizeof e.remote.u, .local.length = sizeof e.local.u};
    if (c->is_closed)
        return false;
    if (c->ends) {
        *ret = *c->ends;
        return true;
    }
    if (getpeername(c->io.fd, &e.remote.u.any, &e.remote.length) < 0 ||
        getsockname(c->io.fd, &e.local.u.any, &e.local.length) < 0)
        return false;
    address_unmap(&e.remote);
    address_unmap(&e.local);
    *ret = e;
    return true;
}

bool conn_has_input(const struct conn *c) {
    char byte;
    return recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}
