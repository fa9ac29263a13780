/* bounds.c — how many flows may begin, and be. */
#include "dataplane/core/stats.h"
#include "dataplane/l4/pass_flow.h"

enum {
    BURST_US = 100000,               /* beginnings of so long a time may come at once */
    STRANGERS_OF_TURN = 4,           /* go on however full the queue is */
    LOOK_EVERY = 16,                 /* datagrams of the others, at the queue */
};
#define SECOND UINT64_C(1000000)

/* ---- connections ---- */

static bool is_full(const _Atomic uint32_t *count, uint32_t most) {
    return most && atomic_load_explicit(count, memory_order_relaxed) >= most;
}

enum lack bounds_lack(const struct endpoint_runtime *e) {
    const struct breakers *b = &e->cluster->breakers;
    if (is_full(&e->cluster->shared->connections, b->connections))
        return LACK_CONNECTIONS;
    return is_full(&e->shared->connections, b->endpoint_connections) ? LACK_ENDPOINT_CONNECTIONS : LACK_NOTHING;
}

void bounds_count_lack(struct cluster_runtime *c, enum lack lack) {
    struct stats *s = c->worker->stats;
    stats_add(lack == LACK_ENDPOINT ? &s->quic_pass_dropped_no_endpoint_total : &s->quic_pass_dropped_overflow_total, 1);
    stats_add(&c->counts->refused, 1);
}

/* What it lacks: then nothing is counted. */
static enum lack take(struct endpoint_runtime *e, const struct breakers *b) {
    if (!breakers_take(&e->shared->connections, b->endpoint_connections))
        return LACK_ENDPOINT_CONNECTIONS;
    if (breakers_take(&e->cluster->shared->connections, b->connections))
        return LACK_NOTHING;
    breakers_give(&e->shared->connections);
    return LACK_CONNECTIONS;
}

bool bounds_take(struct pass_flow *f) {
    static const struct breakers none;
    struct endpoint_runtime *e = f->endpoint;
    if (!e)
        return true;
    enum lack lack = take(e, f->has_moved ? &none : &e->cluster->breakers);
    f->is_counted = lack == LACK_NOTHING;
    if (lack)
        bounds_count_lack(e->cluster, lack);
    return f->is_counted;
}

void bounds_give(struct pass_flow *f) {
    if (!f->is_counted)
        return;
    f->is_counted = false;
    breakers_give(&f->endpoint->shared->connections);
    breakers_give(&f->endpoint->cluster->shared->connections);
}

/* ---- strangers ---- */

/* Half of the socket's queue is for those who are served: beyond it strangers are dropped, for less than it takes to go on
 * with them, so that the kernel need not drop what it does not look at. Some go on in each turn, or nobody could come while
 * others have more to say than a worker can take. */
bool bounds_gives_way(struct pass *p) {
    uint32_t before = p->turn == p->worker->turn ? p->strangers : 0;
    p->turn = p->worker->turn;
    p->strangers = before + 1;
    if (before < STRANGERS_OF_TURN)
        return false;
    if ((before - STRANGERS_OF_TURN) % LOOK_EVERY == 0)
        p->is_crowded = udp_is_half_full(&p->socket);
    stats_add(&p->worker->stats->quic_pass_dropped_crowded_total, p->is_crowded);
    return p->is_crowded;
}

/* ---- beginnings ---- */

/* The worker is behind, and datagrams of flows that are there are lost: what begins costs most. */
static void note_overflow(struct pass *p) {
    uint64_t pause = p->worker->now + 2 * BURST_US;
    if (p->overflows == p->socket.overflows)
        return;
    p->overflows = p->socket.overflows;
    if (p->next_beginning < pause)
        p->next_beginning = pause;
}

bool bounds_may_begin(struct pass *p, bool is_known) {
    note_overflow(p);
    uint64_t now = p->worker->now, latest = now + (is_known ? 2 : 1) * BURST_US;
    uint64_t each = SECOND / pass_definition_of(p)->new_flows_per_second;
    if (p->next_beginning > latest) {
        stats_add(&p->worker->stats->quic_pass_dropped_rate_total, 1);
        return false;
    }
    if (!is_known && bounds_gives_way(p))
        return false;
    p->next_beginning = (p->next_beginning > now ? p->next_beginning : now) + each;
    return true;
}
