/* conn.c — the life of a connection: datagrams in, errors, the end. */
#include "dataplane/quic/conn_private.h"

#include <string.h>

#include "dataplane/tls/quic.h"

enum { CLOSING_PTOS = 3, LONGEST_CLOSING_US = 3000000 };

static struct quic_conn *conn_of(struct reapable *r) {
    return (struct quic_conn *)((char *)r - offsetof(struct quic_conn, reapable));
}

/* ---- beginning ---- */

/* The user goes first; a connection that still has to answer stays without one. */
static void reap(struct reapable *r) {
    struct quic_conn *c = conn_of(r);
    r->is_reaped = false;
    worker_forget_dirty(c->worker, &c->flushable);
    struct quic_user *user = c->user;
    c->user = NULL;
    if (user)
        user->ops->destroy(user);
    tls_session_free(c->tls);
    c->tls = NULL;
    if (c->state == QUIC_OVER)
        c->role->release(c);
}

void quic_conn_init(struct quic_conn *c, const struct quic_role *role, struct worker *w, struct udp_socket *socket) {
    c->flushable.flush = quic_flush;
    c->reapable.reap = reap;
    c->role = role;
    c->worker = w;
    c->room = w->quic;
    c->socket = socket;
    c->state = QUIC_HANDSHAKE;
    ngtcp2_ccerr_default(&c->error);
    quic_timers_init(c);
}

void quic_set_user(struct quic_conn *c, struct quic_user *user) {
    c->user = user;
    if (user)
        user->conn = c;
}

static bool is_on_this_host(const struct address *a) {
    struct address plain = *a;
    address_unmap(&plain);
    return address_is_loopback(&plain);
}

/* Datagrams above what Ethernet takes are tried one size after the other: jumbo frames where users say so, and a peer on
 * this host. There a datagram for each 1,452 bytes would cost both sides most of what they do. */
static void fill_datagram_sizes(const struct quic_options *o, const struct address *remote, ngtcp2_settings *s) {
    static const uint16_t sizes[] = {1444, 4052, 8952, 16336, 32720, QUIC_LOOPBACK_PAYLOAD};
    uint32_t by_path = is_on_this_host(remote) ? QUIC_LOOPBACK_PAYLOAD : QUIC_ETHERNET_PAYLOAD;
    uint32_t most = o->max_udp_payload ? o->max_udp_payload : by_path;
    s->max_tx_udp_payload_size = most < QUIC_BURST_SIZE ? most : QUIC_BURST_SIZE;
    if (most <= QUIC_ETHERNET_PAYLOAD)
        return; /* the library's own sizes */
    s->pmtud_probes = sizes;
    s->pmtud_probeslen = sizeof sizes / sizeof *sizes;
}

void quic_fill_settings(const struct quic_conn *c, const struct quic_options *o, const struct address *remote,
                        ngtcp2_settings *s) {
    static const uint32_t versions[] = {NGTCP2_PROTO_VER_V1, NGTCP2_PROTO_VER_V2};
    ngtcp2_settings_default(s);
    s->initial_ts = quic_now(c);
    s->cc_algo = o->congestion == QUIC_BBR ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
    s->handshake_timeout = o->handshake_timeout * 1000;
    fill_datagram_sizes(o, remote, s);
    s->rand_ctx.native_handle = c->room;
    s->available_versions = versions;
    s->available_versionslen = sizeof versions / sizeof *versions;
}

void quic_fill_params(const struct quic_options *o, ngtcp2_transport_params *p) {
    ngtcp2_transport_params_default(p);
    p->initial_max_stream_data_bidi_local = o->initial_stream_window;
    p->initial_max_stream_data_bidi_remote = o->initial_stream_window;
    p->initial_max_stream_data_uni = o->initial_stream_window;
    p->initial_max_data = o->initial_connection_window;
    p->max_idle_timeout = o->idle_timeout * 1000;
    p->active_connection_id_limit = NGTCP2_DEFAULT_ACTIVE_CONNECTION_ID_LIMIT;
    p->grease_quic_bit = 1;
    p->max_datagram_frame_size = UINT16_MAX; /* RFC 9221: taken, and dropped; who says H3_DATAGRAM must say this */
}

/* ---- the end ---- */

static struct quic_closing reason_of(const struct quic_conn *c, enum quic_cause cause) {
    const ngtcp2_ccerr *e = cause == QUIC_BY_PEER && c->ng ? ngtcp2_conn_get_ccerr(c->ng) : &c->error;
    return (struct quic_closing){
        .cause = cause,
        .space = e->type == NGTCP2_CCERR_TYPE_APPLICATION ? QUIC_APPLICATION : QUIC_TRANSPORT,
        .code = e->error_code,
        .was_open = c->was_open,
        .reason = {(const char *)e->reason, e->reasonlen},
        .tls_failure = c->tls ? tls_failure(c->tls) : "",
    };
}

static void count_losses(const struct quic_conn *c) {
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->ng, &info);
    stats_add(&c->worker->stats->quic_packets_lost_total, info.pkt_lost);
}

static uint64_t closing_time(const struct quic_conn *c) {
    uint64_t us = CLOSING_PTOS * ngtcp2_conn_get_pto(c->ng) / 1000;
    return us < LONGEST_CLOSING_US ? us : LONGEST_CLOSING_US;
}

static void drop_stuck(struct quic_conn *c) {
    quic_free(c, c->stuck.bytes);
    c->stuck = (struct quic_stuck){0};
    if (c->waiting_link) {
        *c->waiting_link = c->next_waiting;
        if (c->next_waiting)
            c->next_waiting->waiting_link = c->waiting_link;
        c->waiting_link = NULL;
    }
}

static void leave(struct quic_conn *c) {
    quic_closing_remove(c);
    quic_names_clear(c);
    quic_stop_timers(c);
    quic_free(c, c->last.bytes);
    c->last.bytes = NULL;
    c->state = QUIC_OVER;
    if (c->role->on_over)
        c->role->on_over(c);
    worker_reap_later(c->worker, &c->reapable);
}

/* TLS first: it points to the connection that it secures. The session itself stays until the user is gone. */
static void free_library(struct quic_conn *c) {
    if (c->tls)
        tls_quic_detach(c->tls);
    ngtcp2_conn_del(c->ng);
    c->ng = NULL;
}

void quic_end(struct quic_conn *c, enum quic_cause cause, enum quic_state state) {
    uint64_t until = c->worker->now + closing_time(c);
    struct quic_closing why = reason_of(c, cause);
    worker_forget_dirty(c->worker, &c->flushable);
    drop_stuck(c);
    count_losses(c);
    c->wants_close = true;
    c->cause = (uint8_t)cause;
    if (c->role->on_ending)
        c->role->on_ending(c);
    if (c->user)
        c->user->ops->on_closed(c->user, &why);
    free_library(c);
    worker_reap_later(c->worker, &c->reapable);
    if (state == QUIC_OVER) {
        leave(c);
        return;
    }
    c->state = (uint8_t)state;
    c->expiry = UINT64_MAX;
    quic_stop_timers(c);
    quic_set_deadline(c, until);
    quic_closing_add(c);
}

void quic_cut(struct quic_conn *c) {
    if (c->ng)
        quic_end(c, QUIC_LOST, QUIC_OVER);
    else if (c->state != QUIC_OVER)
        leave(c);
}

/* ---- errors ---- */

void quic_close(struct quic_conn *c, enum quic_error_space space, uint64_t code, const char *reason) {
    if (c->wants_close)
        return;
    c->wants_close = true;
    const uint8_t *bytes = (const uint8_t *)reason;
    if (space == QUIC_APPLICATION)
        ngtcp2_ccerr_set_application_error(&c->error, code, bytes, strlen(reason));
    else
        ngtcp2_ccerr_set_transport_error(&c->error, code, bytes, strlen(reason));
    quic_mark_dirty(c);
}

void quic_fail(struct quic_conn *c, int error) {
    if (c->wants_close)
        return;
    c->wants_close = true;
    if (error == NGTCP2_ERR_CRYPTO)
        ngtcp2_ccerr_set_tls_alert(&c->error, ngtcp2_conn_get_tls_alert(c->ng), NULL, 0);
    else
        ngtcp2_ccerr_set_liberr(&c->error, error, NULL, 0);
    stats_add(&c->worker->stats->quic_protocol_errors_total, error != NGTCP2_ERR_NOMEM);
    quic_mark_dirty(c);
}

/* ---- datagrams ---- */

void quic_count_bytes(const struct quic_conn *c, bool sent, size_t n) {
    struct stats *s = c->worker->stats;
    if (c->role->is_server)
        stats_add(sent ? &s->client_sent_bytes_total : &s->client_received_bytes_total, n);
    else
        stats_add(sent ? &s->origin_sent_bytes_total : &s->origin_received_bytes_total, n);
}

static void act_on(struct quic_conn *c, int status, const struct udp_datagram *d) {
    switch (status) {
    case 0:
        break;
    case NGTCP2_ERR_DRAINING:
        quic_end(c, c->was_reset ? QUIC_RESET : QUIC_BY_PEER, QUIC_DRAINING);
        return;
    case NGTCP2_ERR_RETRY:
    case NGTCP2_ERR_DROP_CONN:
        if (c->role->on_refused)
            c->role->on_refused(c, d, status == NGTCP2_ERR_RETRY);
        quic_end(c, QUIC_LOST, QUIC_OVER);
        return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        quic_end(c, QUIC_LOST, QUIC_OVER);
        return;
    default:
        quic_fail(c, status == NGTCP2_ERR_PROTO && c->room->peeked.resets_ours ? NGTCP2_ERR_STREAM_STATE : status);
    }
    worker_mark_dirty(c->worker, &c->flushable);
}

void quic_conn_receive(struct quic_conn *c, const struct udp_datagram *d) {
    quic_count_bytes(c, false, d->n);
    if (!c->ng) {
        quic_knock(c);
        return;
    }
    if (c->wants_close || d->n == 0)
        return;
    ngtcp2_path path = quic_path(d->local, d->remote);
    ngtcp2_pkt_info info = {.ecn = d->ecn};
    quic_read_begin(c);
    int status = ngtcp2_conn_read_pkt(c->ng, &path, &info, d->bytes, d->n, quic_now(c));
    quic_read_end(c);
    quic_unproven_received(c, d);
    act_on(c, status, d);
}

/* ---- what is asked of it ---- */

bool quic_is_closing(const struct quic_conn *c) {
    return c->wants_close || !c->ng;
}

void quic_mark_dirty(struct quic_conn *c) {
    if (c->ng)
        worker_mark_dirty(c->worker, &c->flushable);
}

struct worker *quic_worker_of(const struct quic_conn *c) {
    return c->worker;
}

const struct tls_session *quic_tls(const struct quic_conn *c) {
    return c->tls;
}

struct str quic_protocol(const struct quic_conn *c) {
    return c->tls ? tls_protocol(c->tls) : STR("");
}

bool quic_address_of(const ngtcp2_addr *from, struct address *ret) {
    if (!from->addr || from->addrlen == 0 || from->addrlen > sizeof ret->u)
        return false;
    struct address a = {.length = from->addrlen};
    memcpy(&a.u, from->addr, from->addrlen);
    *ret = a;
    return true;
}

bool quic_get_ends(const struct quic_conn *c, struct conn_ends *ret) {
    struct conn_ends ends;
    const ngtcp2_path *path = c->ng ? ngtcp2_conn_get_path(c->ng) : NULL;
    if (!path || !quic_address_of(&path->remote, &ends.remote) || !quic_address_of(&path->local, &ends.local))
        return false;
    *ret = ends;
    return true;
}

bool quic_is_handshake_done(const struct quic_conn *c) {
    return c->was_open;
}

uint64_t quic_idle_timeout(const struct quic_conn *c) {
    const ngtcp2_transport_params *theirs = c->ng ? ngtcp2_conn_get_remote_transport_params(c->ng) : NULL;
    uint64_t ours = c->ng ? ngtcp2_conn_get_local_transport_params(c->ng)->max_idle_timeout / 1000 : 0;
    uint64_t peers = theirs ? theirs->max_idle_timeout / 1000 : 0;
    return peers && (!ours || peers < ours) ? peers : ours;
}

uint64_t quic_pto(const struct quic_conn *c) {
    return c->ng ? ngtcp2_conn_get_pto(c->ng) / 1000 : 0;
}

void quic_set_keep_alive(struct quic_conn *c, uint64_t after) {
    uint64_t half = quic_idle_timeout(c) / 2;
    if (after && half && half < after)
        after = half;
    if (c->ng)
        ngtcp2_conn_set_keep_alive_timeout(c->ng, after ? after * 1000 : UINT64_MAX);
}
