/* flush.c — what a connection writes: packets side by side in the worker's buffer, a burst for each call of the kernel.
 * conn_private.h */
#include <errno.h>
#include <string.h>

#include "dataplane/quic/conn_private.h"
#include "dataplane/tls/quic.h"

enum {
    FLUSH_MAX = 256 << 10,         /* bytes of one connection in one turn; the rest in the next */
    PIECES_MAX = 16,
    STREAMS_MAX = 256,             /* pieces that one packet is asked for: many empty ends are small */
};

/* ---- packets ---- */

struct piece {
    int64_t      id;
    bool         fin;
    struct iovec vec[PIECES_MAX];
    size_t       count;
};

static void ask(struct quic_conn *c, struct piece *p) {
    size_t most = ngtcp2_conn_get_max_data_left(c->ng) > 0 ? PIECES_MAX : 0;
    *p = (struct piece){.id = -1};
    if (c->user && !c->wants_close)
        p->count = c->user->ops->next(c->user, &p->id, &p->fin, p->vec, most);
    if (c->wants_close)
        *p = (struct piece){.id = -1}; /* what it points to may be gone */
}

static void note_taken(struct quic_conn *c, int64_t id, size_t n) {
    quic_path_sent(c, n);
    c->user->ops->on_taken(c->user, id, n);
}

/* True: the packet has room for another piece, or this one could not be had. */
static bool answer(struct quic_conn *c, const struct piece *p, ngtcp2_ssize written, ngtcp2_ssize taken) {
    switch (written) {
    case NGTCP2_ERR_WRITE_MORE:
        note_taken(c, p->id, (size_t)taken);
        return true;
    case NGTCP2_ERR_STREAM_DATA_BLOCKED:
        c->user->ops->on_blocked(c->user, p->id);
        return true;
    case NGTCP2_ERR_STREAM_SHUT_WR:
    case NGTCP2_ERR_STREAM_NOT_FOUND:
        c->user->ops->on_shut(c->user, p->id);
        return true;
    default:
        if (taken >= 0)
            note_taken(c, p->id, (size_t)taken);
        return false;
    }
}

/* The library holds a packet that has room left. */
static bool is_begun(ngtcp2_ssize written, uint32_t flags) {
    return written == NGTCP2_ERR_WRITE_MORE ||
           (written == NGTCP2_ERR_STREAM_DATA_BLOCKED && flags & NGTCP2_WRITE_STREAM_FLAG_MORE);
}

/* Once the connection is to be closed, what its streams have said may be gone, and a new packet could say it again: none is
 * begun. One that is begun takes nothing more of that: it is finished. */
static ngtcp2_ssize write_packet(ngtcp2_conn *ng, ngtcp2_path *path, ngtcp2_pkt_info *info, uint8_t *room, size_t n,
                                 ngtcp2_tstamp now, void *user) {
    struct quic_conn *c = user;
    struct piece p;
    ngtcp2_ssize written, taken;
    unsigned asked = 0;
    bool has_begun = false;
    if (c->is_elsewhere)
        return 0;
    n = quic_path_limit(c, n);
    do {
        ask(c, &p);
        if (c->wants_close && !has_begun)
            return 0;
        uint32_t flags = (p.fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0u) |
                         (p.id >= 0 && ++asked < STREAMS_MAX ? NGTCP2_WRITE_STREAM_FLAG_MORE : 0u);
        taken = -1;
        written = ngtcp2_conn_writev_stream(ng, path, info, room, n, &taken, flags, p.id, (const ngtcp2_vec *)p.vec, p.count,
                                            now);
        has_begun |= is_begun(written, flags);
    } while (answer(c, &p, written, taken));
    c->is_elsewhere = written > 0 && !ngtcp2_path_eq(path, ngtcp2_conn_get_path(ng));
    return written;
}

_Static_assert(sizeof(ngtcp2_vec) == sizeof(struct iovec) &&
                   offsetof(ngtcp2_vec, base) == offsetof(struct iovec, iov_base) &&
                   offsetof(ngtcp2_vec, len) == offsetof(struct iovec, iov_len),
               "pieces are given on as they are");

/* ---- bursts ---- */

static bool keep_stuck(struct quic_conn *c, const struct quic_stuck *burst) {
    uint8_t *copy = quic_alloc(c, burst->n);
    if (!copy)
        return false;
    memcpy(copy, burst->bytes, burst->n);
    c->stuck = *burst;
    c->stuck.bytes = copy;
    return true;
}

/* False: the socket takes nothing more. What cannot be sent for another reason is lost like any datagram. */
static bool send_burst(struct quic_conn *c, struct quic_stuck *b) {
    int error = udp_send(c->socket, &b->remote, &b->local, b->bytes, b->n, b->segment, b->ecn);
    quic_count_bytes(c, true, c->socket->sent);
    c->has_sent |= c->socket->sent > 0;
    if (error != EAGAIN)
        return true;
    b->bytes += c->socket->sent;
    b->n -= c->socket->sent;
    return false;
}

static bool send_stuck(struct quic_conn *c) {
    if (!c->stuck.bytes)
        return true;
    struct quic_stuck rest = c->stuck;
    bool is_sent = send_burst(c, &rest);
    if (is_sent) {
        quic_free(c, c->stuck.bytes);
        c->stuck = (struct quic_stuck){0};
    } else {
        memmove(c->stuck.bytes, rest.bytes, rest.n);
        c->stuck.n = rest.n;
    }
    return is_sent;
}

/* Bytes that were written; 0: nothing more for now; below: an error of the library.
 *
 * All of a burst goes where its first packet goes. The library may answer or ask another path with that one, and would
 * fill the burst with packets of the current path behind it. */
static ngtcp2_ssize write_burst(struct quic_conn *c, bool *ret_is_blocked) {
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info = {0};
    ngtcp2_path_storage_zero(&path);
    c->is_elsewhere = false;
    size_t quantum = ngtcp2_conn_get_send_quantum(c->ng), segment = 0;
    size_t least = ngtcp2_conn_get_max_tx_udp_payload_size(c->ng);
    size_t room = quantum < QUIC_BURST_SIZE ? quantum : QUIC_BURST_SIZE;
    ngtcp2_ssize n = ngtcp2_conn_write_aggregate_pkt2(c->ng, &path.path, &info, c->room->burst, room < least ? least : room,
                                                      &segment, write_packet, c->unproven.is_on ? 1 : 0, quic_now(c));
    if (n <= 0)
        return n;
    quic_unproven_sent(c, (size_t)n);
    struct quic_stuck burst = {.bytes = c->room->burst, .n = (size_t)n, .segment = segment, .ecn = info.ecn};
    if (!quic_address_of(&path.path.remote, &burst.remote) || !quic_address_of(&path.path.local, &burst.local))
        return n;
    *ret_is_blocked = !send_burst(c, &burst);
    if (*ret_is_blocked)
        keep_stuck(c, &burst); /* without memory it is lost, and sent again as such */
    return n;
}

static void wait_for_socket(struct quic_conn *c) {
    if (c->role->on_blocked)
        c->role->on_blocked(c);
}

static void write_all(struct quic_conn *c) {
    size_t sum = 0;
    bool is_blocked = false;
    ngtcp2_ssize n = 0;
    quic_unproven_flush_begins(c);
    while (!is_blocked && sum < FLUSH_MAX && quic_unproven_allows(c) && (n = write_burst(c, &is_blocked)) > 0)
        sum += (size_t)n;
    quic_unproven_flush_ends(c);
    ngtcp2_conn_update_pkt_tx_time(c->ng, quic_now(c));
    if (n < 0)
        quic_fail(c, (int)n);
    else if (is_blocked)
        wait_for_socket(c);
    else if (sum >= FLUSH_MAX)
        worker_put_off(c->worker, &c->flushable);
}

/* ---- the flush ---- */

void quic_flush(struct flushable *f) {
    struct quic_conn *c = (struct quic_conn *)f;
    if (!c->ng)
        return;
    if (c->user && c->user->ops->on_dirty && !c->wants_close)
        c->user->ops->on_dirty(c->user);
    if (c->was_open && c->tls && c->role->is_server)
        tls_quic_rest(c->tls);
    if (!c->wants_close) {
        if (c->socket->is_blocked || !send_stuck(c))
            wait_for_socket(c);
        else
            write_all(c);
    }
    if (c->wants_close)
        quic_say_goodbye(c);
    else
        quic_set_timer(c);
}

/* ---- the last words ---- */

static void send_farewell(struct quic_conn *c, const uint8_t *bytes) {
    const struct quic_stuck *last = &c->last;
    udp_send(c->socket, &last->remote, &last->local, bytes, last->n, last->n, ECN_NOT_ECT); /* lost: the peer asks again */
    quic_count_bytes(c, true, c->socket->sent);
}

void quic_say_goodbye(struct quic_conn *c) {
    struct quic_stuck *last = &c->last;
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info;
    ngtcp2_path_storage_zero(&path);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->ng, &path.path, &info, c->room->burst,
                                                        NGTCP2_MAX_UDP_PAYLOAD_SIZE, &c->error, quic_now(c));
    if (n <= 0 || !quic_address_of(&path.path.remote, &last->remote) || !quic_address_of(&path.path.local, &last->local)) {
        quic_end(c, QUIC_BY_US, QUIC_OVER);
        return;
    }
    last->n = (size_t)n;
    send_farewell(c, c->room->burst);
    last->bytes = quic_alloc(c, (size_t)n);
    if (last->bytes)
        memcpy(last->bytes, c->room->burst, (size_t)n);
    quic_end(c, QUIC_BY_US, QUIC_CLOSING);
}

/* After one datagram, then two more, four ... (RFC 9000 section 10.2.1), to where the first went: an answer to any address
 * would let others use us. */
void quic_knock(struct quic_conn *c) {
    if (c->state != QUIC_CLOSING || !c->last.bytes || ++c->knocks < c->next_knock)
        return;
    c->knocks = 0;
    c->next_knock = c->next_knock ? c->next_knock * 2 : 1;
    send_farewell(c, c->last.bytes);
}
