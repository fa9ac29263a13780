/* path.c — a path that takes less than it did, and says nothing (RFC 8899 section 4.3); probes. conn_private.h
 *
 * The library finds how large datagrams may be, and never looks again. When nothing of what streams have sent is
 * acknowledged over two probe timeouts, datagrams are of the least size that every path of QUIC takes. It may as well be
 * that the peer was gone for a moment: so the larger size is soon tried again, and later each time that it is lost again. */
#include "dataplane/quic/conn_private.h"

#define SMALL_FIRST 4000000ULL                             /* microseconds */
#define SMALL_MOST  600000000ULL                           /* PMTU_RAISE_TIMER of RFC 8899 section 5.1.1 */

void quic_path_sent(struct quic_conn *c, size_t n) {
    c->unacked += n;
}

void quic_path_acked(struct quic_conn *c, uint64_t n) {
    c->unacked -= n < c->unacked ? n : c->unacked;
    c->stalled_since = 0;
}

void quic_path_forget(struct quic_conn *c) {
    c->unacked = 0;
}

void quic_path_changed(struct quic_conn *c) {
    c->stalled_since = c->small_until = c->small_for = 0;
}

static bool is_small(const struct quic_conn *c) {
    return c->small_until > c->worker->now;
}

static void shrink(struct quic_conn *c) {
    uint64_t now = c->worker->now, before = c->small_for;
    bool is_again = before && now < c->small_until + before;
    c->small_for = !is_again ? SMALL_FIRST : before < SMALL_MOST / 2 ? before * 2 : SMALL_MOST;
    c->small_until = now + c->small_for;
    stats_add(&c->worker->stats->quic_paths_shrunk_total, 1);
}

/* Timers have looked once when the first probe timeout was over; the second one is twice as long. */
void quic_path_check(struct quic_conn *c) {
    uint64_t now = c->worker->now, pto = ngtcp2_conn_get_pto(c->ng) / 1000;
    bool is_least = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ng) <= NGTCP2_MAX_UDP_PAYLOAD_SIZE;
    if (c->unacked == 0 || is_least || is_small(c) || c->unproven.is_on)
        c->stalled_since = 0;
    else if (!c->stalled_since)
        c->stalled_since = now;
    else if (now - c->stalled_since >= pto + pto / 2)
        shrink(c);
}

static bool is_idle_and_new(const struct quic_conn *c) {
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->ng, &info);
    return info.bytes_in_flight == 0 && info.ssthresh == UINT64_MAX;
}

/* A probe for larger datagrams takes its bytes of the congestion window until it is known to be lost. One that would fill
 * the window is put off, but where nothing was lost yet and nothing is on its way: nothing could go out behind it whose
 * acknowledgement shows that it is lost. The library sends no probe that has no room. */
static size_t room_of(const struct quic_conn *c, size_t n) {
    uint64_t least = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ng), left = ngtcp2_conn_get_cwnd_left(c->ng);
    if (n < left || n <= least || is_idle_and_new(c))
        return n;
    return left > least ? (size_t)left - 1 : (size_t)least;
}

size_t quic_path_limit(const struct quic_conn *c, size_t n) {
    if (!is_small(c))
        return room_of(c, n);
    return n < NGTCP2_MAX_UDP_PAYLOAD_SIZE ? n : NGTCP2_MAX_UDP_PAYLOAD_SIZE;
}
