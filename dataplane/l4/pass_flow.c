#include "dataplane/l4/pass_flow.h"

#include <errno.h>
#include <string.h>

#include "dataplane/core/stats.h"

enum {
    ORIGIN_BUFFER = 1 << 20,         /* bytes that are asked for towards origins */
    PROOF_ID_MIN = 4,                /* octets of an ID that nobody guesses */
    AMPLIFICATION = 3,               /* RFC 9000 section 8: an origin sends more only to who is validated */
    QUIET_US = 5000000,              /* a flow without a datagram for so long is idle when its listener drains */
    COMPARED_BY_GUESS = 8,           /* octets of IDs whose length is not known */
};

/* ---- IDs ---- */

bool pass_flow_has_seen(const struct pass_flow *f, const struct pass_packet *p) {
    return f->has_no_ids || (f->seen_n && p->dcid_n >= f->seen_n && memcmp(f->seen, p->dcid, f->seen_n) == 0);
}

/* The length of the origin's IDs is that of the first; a guess that is too long costs another look at each packet. */
void pass_flow_note_seen(struct pass_flow *f, const struct pass_packet *p) {
    size_t n = f->node.by_origin_id[1].n ? f->node.by_origin_id[1].n : f->node.by_origin_id[0].n;
    n = n ? n : COMPARED_BY_GUESS;
    f->seen_n = (uint8_t)(n < p->dcid_n ? n : p->dcid_n);
    memcpy(f->seen, p->dcid, f->seen_n);
}

static void note_ids(const struct pass_flow *f, uint64_t expires) {
    for (int i = 0; i < FLOW_ORIGIN_IDS; i++) {
        const struct flow_key *k = &f->node.by_origin_id[i];
        if (k->link)
            id_directory_note(pass_directory(), k->id, k->n, &f->home, f->pass->worker->now, expires);
    }
}

/* The endpoint drains, or is out of its cluster: its flows may go on until then. 0: it does not leave. */
static uint64_t leaves_at(const struct pass_flow *f) {
    const struct endpoint_runtime *e = f->endpoint;
    if (!e)
        return f->home.until;
    return e->leaving_since ? e->leaving_since + pass_definition_of(f->pass)->drain_timeout : 0;
}

/* Only what a client has shown that it knows by itself is noted, so that forged addresses fill nothing. */
static bool is_known_by_ids(const struct pass_flow *f) {
    return f->node.is_proven || f->has_moved;
}

static void tell_directory(struct pass_flow *f) {
    uint64_t now = f->pass->worker->now, idle = pass_definition_of(f->pass)->idle_timeout;
    if (!is_known_by_ids(f) || now < f->note_after)
        return;
    f->note_after = now + idle / 4;
    f->home.until = leaves_at(f);
    note_ids(f, now + idle);
}

/* ---- time ---- */

static uint64_t falls_silent_at(const struct pass_flow *f) {
    const struct pass_definition *d = pass_definition_of(f->pass);
    return f->state == PASS_ANSWERED ? f->last + d->idle_timeout : f->began + d->handshake_timeout;
}

static void note_leaving(struct pass_flow *f, bool is_leaving) {
    _Atomic uint64_t *gauge = &f->pass->worker->stats->quic_pass_leaving;
    if (is_leaving && !f->is_leaving)
        stats_add(gauge, 1);
    if (!is_leaving && f->is_leaving)
        stats_sub(gauge, 1);
    f->is_leaving = is_leaving;
}

/* Whatever happens to its endpoint is noticed when a datagram comes; otherwise it falls silent. */
static void set_deadline(struct pass_flow *f) {
    uint64_t silent = falls_silent_at(f), leaves = leaves_at(f);
    note_leaving(f, leaves != 0);
    worker_set_timer(f->pass->worker, &f->timer, leaves && leaves < silent ? leaves : silent);
}

static void on_timer(struct timer *t) {
    struct pass_flow *f = (struct pass_flow *)((char *)t - offsetof(struct pass_flow, timer));
    struct worker *w = f->pass->worker;
    uint64_t leaves = leaves_at(f);
    bool has_left = leaves && leaves <= w->now;
    if (!has_left && w->now < falls_silent_at(f)) {
        set_deadline(f);
        return;
    }
    if (has_left && is_known_by_ids(f))
        note_ids(f, w->now); /* they lead nowhere now */
    stats_add(&w->stats->quic_pass_drained_total, has_left);
    stats_add(&w->stats->quic_pass_unanswered_total, !has_left && f->state == PASS_SENT);
    pass_flow_close(f, f->state == PASS_ANSWERED ? ENDPOINT_SUCCESS : ENDPOINT_CANCELLED);
}

/* ---- proof ---- */

static void close_for_listener(struct listener_connection *c, bool only_idle) {
    struct pass_flow *f = (struct pass_flow *)((char *)c - offsetof(struct pass_flow, connection));
    if (!only_idle || f->pass->worker->now - f->last >= QUIET_US)
        pass_flow_close(f, ENDPOINT_SUCCESS);
}

/* From now on it is a connection like any other, for bounds and draining. Beyond the bounds it ends. */
void pass_flow_prove(struct pass_flow *f) {
    struct listener_runtime *l = f->pass->server.listener;
    struct address peer = f->node.client;
    uint32_t slot;
    if (f->node.is_proven)
        return;
    address_unmap(&peer);
    if (!bounds_take(f) || !listener_admits(l, &peer, &slot)) {
        pass_flow_close(f, ENDPOINT_CANCELLED);
        return;
    }
    f->connection = (struct listener_connection){.close = close_for_listener, .is_datagram = true};
    listener_add(l, &f->connection, slot);
    f->is_listed = true;
    flow_table_prove(&f->pass->table, &f->node);
    stats_add(&f->pass->worker->stats->quic_pass_proven_total, 1);
}

/* ---- from the origin ---- */

static struct pass_flow *flow_of_socket(struct udp_socket *s) {
    return (struct pass_flow *)((char *)s - offsetof(struct pass_flow, socket));
}

static void note_answer(struct pass_flow *f) {
    if (f->state != PASS_SENT)
        return;
    f->state = PASS_ANSWERED;
    uint64_t latency = f->pass->worker->now - f->began;
    if (f->endpoint)
        endpoint_opened(f->endpoint, latency ? latency : 1);
}

/* An origin that wants no IDs says so in its long headers. A version negotiation has the client's. */
static void learn_ids(struct pass_flow *f, const uint8_t *bytes, size_t n) {
    struct pass_packet p;
    if (pass_packet_read(bytes, n, &p) < 0 || p.kind == PASS_SHORT || p.kind == PASS_NEGOTIATION)
        return;
    f->has_no_ids = p.scid_n == 0;
    if (flow_table_note_origin_id(&f->pass->table, &f->node, p.scid, p.scid_n))
        f->note_after = 0; /* after a Retry another one counts */
}

static void on_origin_datagram(struct udp_socket *s, const struct udp_datagram *d) {
    struct pass_flow *f = flow_of_socket(s);
    struct pass *p = f->pass;
    note_answer(f);
    f->last = p->worker->now;
    f->sent += d->n;
    if (d->n && d->bytes[0] & 0x80)
        learn_ids(f, d->bytes, d->n);
    if (f->sent > AMPLIFICATION * f->received)
        pass_flow_prove(f);
    if (f->state == PASS_OVER)
        return;
    set_deadline(f);
    stats_add(&p->worker->stats->quic_pass_sent_bytes_total, d->n);
    train_add(&p->train, &p->socket, &f->node.client, &f->local, d->ecn, d->bytes, d->n);
}

static void on_origin_batch_end(struct udp_socket *s) {
    train_send(&flow_of_socket(s)->pass->train);
}

/* The client will send again what it has sent; it then goes to another endpoint. A connection that has begun lives where it
 * does. */
static void try_elsewhere(struct pass_flow *f) {
    struct pass *p = f->pass;
    const struct flow_key *first = &f->node.by_first_id, *own = &f->node.by_client_id;
    const struct pass_packet packet = {.kind = PASS_INITIAL, .dcid = first->id, .dcid_n = first->n, .scid = own->id,
                                       .scid_n = own->n};
    const struct pass_beginning beginning = {&f->node.client, &f->local, &packet};
    const struct cluster_definition *cluster = choose_cluster_of_slot(p, f->home.slot);
    struct pass_choice choice;
    uint8_t tries = f->tries;
    f->refused[tries++] = f->endpoint;
    pass_flow_close(f, ENDPOINT_CONNECT_FAILURE);
    if (tries == PASS_TRIES || !cluster || first->n == 0 || f->has_moved || p->is_stopped ||
        !choose_in_cluster(p, cluster, &f->node.client, f->refused, tries, &choice))
        return;
    struct pass_flow *next = pass_flow_begin(p, &beginning);
    if (!next || pass_flow_connect(next, choice.endpoint, &choice.home) < 0)
        return;
    next->tries = tries;
    memcpy(next->refused, f->refused, sizeof next->refused);
    stats_add(&p->worker->stats->retries_total, 1);
    stats_add(&p->worker->stats->retries_connect_total, 1);
}

/* Nobody is there. Where somebody was, a new process may be there soon, which will tell the client what it has to know. */
static void on_origin_error(struct udp_socket *s, int error) {
    struct pass_flow *f = flow_of_socket(s);
    if (f->state == PASS_OVER)
        return;
    stats_add(&f->pass->worker->stats->quic_pass_refused_total, 1);
    if (f->state == PASS_SENT)
        try_elsewhere(f);
    else if (error == EBADF || error == EIO)
        pass_flow_close(f, ENDPOINT_RESET);
}

static const struct udp_ops origin_ops = {
    .on_datagram = on_origin_datagram, .on_batch_end = on_origin_batch_end, .on_error = on_origin_error,
};

/* ---- from the client ---- */

void pass_flow_send(struct pass_flow *f, const uint8_t *bytes, size_t n, uint8_t ecn) {
    train_add(&f->pass->train, &f->socket, NULL, NULL, ecn, bytes, n);
}

/* Of a flow the first datagram was let in with it. An ID that names an endpoint anybody can make up. */
static bool gives_way(const struct pass_flow *f) {
    return f->received && !f->node.is_proven && !f->was_noted && bounds_gives_way(f->pass);
}

void pass_flow_take(struct pass_flow *f, const struct udp_datagram *d, const struct pass_packet *first) {
    if (!f->node.is_proven && !f->has_moved && flow_node_knows_id(&f->node, first, PROOF_ID_MIN))
        pass_flow_prove(f);
    if (f->state == PASS_OVER || gives_way(f))
        return;
    f->last = f->pass->worker->now;
    f->received += d->n;
    if (!address_equal(&f->local, d->local))
        f->local = *d->local;
    if (f->state == PASS_GATHERING) {
        gathering_take(f, d);
        return;
    }
    if (first->kind == PASS_SHORT)
        pass_flow_note_seen(f, first);
    tell_directory(f);
    set_deadline(f);
    pass_flow_send(f, d->bytes, d->n, d->ecn);
}

/* ---- life ---- */

/* Where the bound has become lower, two go for each that comes. */
static int make_room(struct pass *p) {
    struct stats *s = p->worker->stats;
    for (int i = 0; i < 2 && flow_table_is_full(&p->table); i++) {
        struct pass_flow *victim = pass_flow_of_node(flow_table_victim(&p->table));
        if (!victim && i == 0) {
            stats_add(&s->quic_pass_dropped_full_total, 1);
            return -1;
        }
        if (!victim)
            break;
        stats_add(&s->quic_pass_evicted_total, 1);
        pass_flow_close(victim, ENDPOINT_CANCELLED);
    }
    return 0;
}

static void free_flow(struct reapable *r) {
    struct pass_flow *f = (struct pass_flow *)r;
    struct pass *p = f->pass;
    free_lists_free(&p->worker->free_lists, f);
    pass_flow_freed(p);
}

struct pass_flow *pass_flow_begin(struct pass *p, const struct pass_beginning *b) {
    struct worker *w = p->worker;
    struct pass_flow *f = make_room(p) == 0 ? free_lists_alloc(&w->free_lists, sizeof *f) : NULL;
    if (!f) {
        stats_add(&w->stats->quic_pass_dropped_system_total, !flow_table_is_full(&p->table));
        return NULL;
    }
    *f = (struct pass_flow){.reapable.reap = free_flow, .pass = p, .began = w->now, .last = w->now, .local = *b->local,
                       .timer.fire = on_timer};
    f->node.client = *b->client;
    flow_table_add(&p->table, &f->node, b->first);
    p->alive++;
    stats_add(&w->stats->quic_pass_flows, 1);
    stats_add(&w->stats->quic_pass_flows_total, 1);
    set_deadline(f);
    return f;
}

int pass_flow_connect(struct pass_flow *f, struct endpoint_runtime *e, const struct id_home *home) {
    struct worker *w = f->pass->worker;
    f->endpoint = e;
    f->home = *home;
    if (e)
        endpoint_began(e);
    int error = udp_connect(&f->socket, w, &home->address, ORIGIN_BUFFER, ORIGIN_BUFFER, &origin_ops);
    if (error) {
        bool is_ours = error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
        stats_add(is_ours ? &w->stats->quic_pass_dropped_system_total : &w->stats->quic_pass_refused_total, 1);
        pass_flow_close(f, is_ours ? ENDPOINT_CANCELLED : ENDPOINT_CONNECT_FAILURE);
        return -1;
    }
    f->state = PASS_SENT;
    return 0;
}

static void leave_endpoint(struct pass_flow *f, enum endpoint_outcome outcome) {
    struct endpoint_runtime *e = f->endpoint;
    bounds_give(f);
    f->endpoint = NULL;
    if (!e)
        return;
    if (f->state == PASS_ANSWERED)
        endpoint_left(e, outcome);
    else
        endpoint_ended(e, outcome, 0);
}

void pass_flow_close(struct pass_flow *f, enum endpoint_outcome outcome) {
    struct pass *p = f->pass;
    if (f->state == PASS_OVER)
        return;
    train_send_of(&p->train, &f->socket, &f->node.client);
    if (f->state == PASS_OVER)
        return; /* what was sent was refused */
    gathering_end(f);
    note_leaving(f, false);
    leave_endpoint(f, outcome);
    f->state = PASS_OVER;
    flow_table_remove(&p->table, &f->node);
    wheel_remove(&p->worker->wheel, &f->timer);
    udp_close(&f->socket);
    if (f->is_listed)
        listener_remove(&f->connection);
    stats_sub(&p->worker->stats->quic_pass_flows, 1);
    worker_reap_later(p->worker, &f->reapable);
}
