/* unproven.c — a client's new address, as long as it has not answered from there. conn_private.h
 *
 * Not more than three times what came from it may go there (RFC 9000 section 8). The library spends that on whatever there
 * is to say; and once it is spent, it neither asks again for a sign of life nor gives the address up: its timers stand. When
 * that sign is lost and the client has nothing to say by itself, both wait for each other until the connection has been idle
 * for too long. So as much as asking takes is kept back from other packets, and it is asked again in time. */
#include "dataplane/quic/conn_private.h"

enum { AMPLIFICATION = 3, CHALLENGES = 2 };
#define KEPT_BACK  (CHALLENGES * NGTCP2_MAX_UDP_PAYLOAD_SIZE)
#define LEAST_WAIT 1000000ULL                              /* microseconds: above three times RFC 9002's initial RTT */

static bool is_current(const struct quic_conn *c, const struct address *local, const struct address *remote) {
    struct conn_ends ends;
    return quic_get_ends(c, &ends) && address_equal(&ends.local, local) && address_equal(&ends.remote, remote);
}

/* Again while it is on: the address has answered, and is asked whether its path takes large datagrams. The library says
 * nothing of the former. */
void quic_unproven_begin(struct quic_conn *c, const struct address *local, const struct address *remote) {
    if (!c->role->is_server || !is_current(c, local, remote))
        return;
    bool has_answered = c->unproven.is_on;
    c->unproven = (struct quic_unproven){
        .is_on = !has_answered, .is_due = true, .wait = ngtcp2_conn_get_pto(c->ng) / 1000 + LEAST_WAIT,
    };
}

void quic_unproven_end(struct quic_conn *c) {
    c->unproven.is_on = false;
}

void quic_unproven_received(struct quic_conn *c, const struct udp_datagram *d) {
    if (c->unproven.is_on && is_current(c, d->local, d->remote))
        c->unproven.received += d->n;
}

void quic_unproven_sent(struct quic_conn *c, size_t n) {
    struct quic_unproven *u = &c->unproven;
    u->sent += n;
    u->allowed -= u->allowed > 0;
}

void quic_unproven_asked(struct quic_conn *c) {
    c->unproven.asked++;
    c->unproven.ask_at = c->worker->now + c->unproven.wait;
}

static uint64_t left_of(const struct quic_unproven *u) {
    uint64_t most = AMPLIFICATION * u->received;
    return most > u->sent ? most - u->sent : 0;
}

/* One where there is little, which leaves something for another time. With the first, the answer to the client's own. */
static uint8_t allowance(const struct quic_unproven *u) {
    bool is_first = u->ask_at == 0;
    if (!u->is_due)
        return 0;
    return left_of(u) < KEPT_BACK ? 1 : CHALLENGES + is_first;
}

/* Challenges go before all else, but they wait for pacing and the congestion window: they are due until one was written. */
void quic_unproven_flush_begins(struct quic_conn *c) {
    struct quic_unproven *u = &c->unproven;
    if (!u->is_on)
        return;
    if (!u->is_due && u->ask_at <= c->worker->now) {
        u->is_due = true;
        u->wait *= 2;
        u->asked = 0;
    }
    u->allowed = allowance(u);
}

void quic_unproven_flush_ends(struct quic_conn *c) {
    struct quic_unproven *u = &c->unproven;
    u->is_due &= u->asked == 0;
    u->allowed = 0;
}

bool quic_unproven_allows(const struct quic_conn *c) {
    const struct quic_unproven *u = &c->unproven;
    if (!u->is_on || u->allowed > 0)
        return true;
    return left_of(u) >= KEPT_BACK + ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ng);
}

uint64_t quic_unproven_deadline(const struct quic_conn *c) {
    const struct quic_unproven *u = &c->unproven;
    return u->is_on && u->ask_at > c->worker->now ? u->ask_at : UINT64_MAX;
}
