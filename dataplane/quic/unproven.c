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

static bool is_current(const struct quic_conn *c, const struct address *remote) {
    struct conn_ends ends;
    return quic_get_ends(c, &ends) && address_equal(&ends.remote, remote);
}

/* Again while it is on: the address has answered, and is asked whether its path takes large datagrams. The library says
 * nothing of the former. */
void quic_unproven_begin(struct quic_conn *c, const struct address *remote) {
    if (!c->role->is_server || !is_current(c, remote))
        return;
    bool has_answered = c->unproven.is_on;
    c->unproven = (struct quic_unproven){
        .is_on = !has_answered, .ask_at = c->worker->now, .wait = ngtcp2_conn_get_pto(c->ng) / 1000 + LEAST_WAIT,
    };
}

void quic_unproven_end(struct quic_conn *c) {
    c->unproven.is_on = false;
}

void quic_unproven_received(struct quic_conn *c, const struct udp_datagram *d) {
    if (c->unproven.is_on && is_current(c, d->remote))
        c->unproven.received += d->n;
}

void quic_unproven_sent(struct quic_conn *c, size_t n) {
    c->unproven.sent += n;
}

void quic_unproven_look(struct quic_conn *c) {
    struct quic_unproven *u = &c->unproven;
    u->challenges = 0;
    if (!u->is_on || u->ask_at > c->worker->now)
        return;
    u->ask_at = c->worker->now + u->wait;
    u->wait *= 2;
    u->challenges = CHALLENGES;
}

bool quic_unproven_allows(struct quic_conn *c) {
    struct quic_unproven *u = &c->unproven;
    if (!u->is_on)
        return true;
    if (u->challenges) {
        u->challenges--;
        return true;
    }
    return AMPLIFICATION * u->received >= u->sent + KEPT_BACK + ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ng);
}

uint64_t quic_unproven_deadline(const struct quic_conn *c) {
    const struct quic_unproven *u = &c->unproven;
    return u->is_on && u->ask_at > c->worker->now ? u->ask_at : UINT64_MAX;
}
