/* strays.c — datagrams for connections that this worker does not have. endpoint_private.h */
#include "dataplane/net/udp_forward.h"
#include "dataplane/quic/endpoint_private.h"

enum {
    LONG_HEADER = 0x80,
    RESET_LEAST = 43,              /* shorter ones might be answered by a reset of the other side for ever: 10.3.3 */
    RESET_MOST = 64,
};

/* As long as a packet of one byte less than the one that came, so that two sides that know nothing end (section 10.3). */
static void reset(struct quic_endpoint *e, const struct quic_arrival *a) {
    uint8_t packet[RESET_MOST], noise[RESET_MOST];
    ngtcp2_stateless_reset_token token;
    ngtcp2_cid id;
    size_t n = a->datagram->n - 1 < RESET_MOST ? a->datagram->n - 1 : RESET_MOST;
    ngtcp2_cid_init(&id, a->ids.dcid, a->ids.dcidlen);
    if (a->datagram->n < RESET_LEAST || !quic_take_stateless(e->room, QUIC_STATELESS_RESET) ||
        quic_token_reset(&e->room->tokens, &id, &token) < 0)
        return;
    quic_random(e->room, noise, n - sizeof token.data);
    ngtcp2_ssize written = ngtcp2_pkt_write_stateless_reset2(packet, n, &token, noise, n - sizeof token.data);
    if (written <= 0)
        return;
    quic_answer(e, a->datagram, packet, (size_t)written);
    stats_add(&e->worker->stats->quic_resets_sent_total, 1);
}

/* True: it was another worker's, and is with that one or dropped. */
static bool forward(struct quic_endpoint *e, const struct quic_arrival *a) {
    struct stats *stats = e->worker->stats;
    uint8_t worker, generation;
    if (a->datagram->is_forwarded || !quic_ids_read(&e->issuer->ids, a->ids.dcid, a->ids.dcidlen, &worker, &generation))
        return false;
    const struct quic_process *p = e->room->process;
    struct worker *other = p->workers[worker];
    if (generation != p->options.generation || !other || other == e->worker)
        return false;
    bool is_sent = udp_forward(&e->socket, other, a->datagram);
    stats_add(is_sent ? &stats->quic_astray_total : &stats->quic_astray_dropped_total, 1);
    return true;
}

void quic_handle_stray(struct quic_endpoint *e, const struct quic_arrival *a) {
    if (forward(e, a))
        return;
    if (a->datagram->bytes[0] & LONG_HEADER) {
        quic_accept_initial(e, a);
        return;
    }
    stats_add(&e->worker->stats->quic_unknown_total, 1);
    reset(e, a);
}
