/* gathering.c — flows whose server name has not come yet: what has come of their ClientHello, and the datagrams that wait.
 * */
#include <string.h>

#include "dataplane/core/stats.h"
#include "dataplane/l4/pass_flow.h"
#include "dataplane/tls/names.h"

enum {
    WAITING_DATAGRAMS = 16, WAITING_BYTES = 24576,
    PACKETS_OF_DATAGRAM = 8, /* that are looked at: to open one costs the same however short it is */
};

struct waiting {
    struct waiting *next;
    size_t          n;
    uint8_t         ecn;
    uint8_t         bytes[];
};

struct gathering {
    struct gathering        *next, *prev;    /* of the pass, oldest first */
    struct pass_flow        *flow;
    struct waiting          *first, **last;
    size_t                   count, bytes;   /* that wait */
    struct pass_initial_keys keys;
    uint8_t                  id_n, id[PASS_ID_MAX]; /* that the keys were made of */
    struct pass_hello        hello;
};

/* ---- life ---- */

static void put_last(struct pass *p, struct gathering *g) {
    g->next = NULL;
    g->prev = p->gathering_last;
    *(g->prev ? &g->prev->next : &p->gathering_first) = g;
    p->gathering_last = g;
    p->gathering_count++;
    stats_add(&p->worker->stats->quic_pass_hellos, 1);
}

static void take_out(struct pass *p, struct gathering *g) {
    *(g->prev ? &g->prev->next : &p->gathering_first) = g->next;
    *(g->next ? &g->next->prev : &p->gathering_last) = g->prev;
    p->gathering_count--;
    stats_sub(&p->worker->stats->quic_pass_hellos, 1);
}

/* The oldest one gives way; where the bound has become lower, two go for each that comes. */
static void make_room(struct pass *p) {
    for (int i = 0; i < 2 && p->gathering_count >= pass_definition_of(p)->max_hellos; i++) {
        stats_add(&p->worker->stats->quic_pass_evicted_total, 1);
        pass_flow_close(p->gathering_first->flow, ENDPOINT_CANCELLED);
    }
}

static struct gathering *begin(struct pass_flow *f, const struct pass_packet *initial) {
    struct pass *p = f->pass;
    struct gathering *g = free_lists_alloc(&p->worker->free_lists, sizeof *g);
    if (!g)
        return NULL;
    memset(g, 0, offsetof(struct gathering, hello.bytes));
    if (pass_initial_keys_make(p->crypto, initial->version, PASS_CLIENT, initial->dcid, initial->dcid_n, &g->keys) < 0) {
        free_lists_free(&p->worker->free_lists, g);
        return NULL;
    }
    g->flow = f;
    g->last = &g->first;
    g->id_n = (uint8_t)initial->dcid_n;
    memcpy(g->id, initial->dcid, initial->dcid_n);
    make_room(p);
    put_last(p, g);
    f->gathering = g;
    return g;
}

void gathering_end(struct pass_flow *f) {
    struct gathering *g = f->gathering;
    struct free_lists *lists = &f->pass->worker->free_lists;
    f->gathering = NULL;
    if (!g)
        return;
    take_out(f->pass, g);
    for (struct waiting *d = g->first, *next; d; d = next) {
        next = d->next;
        free_lists_free(lists, d);
    }
    free_lists_free(lists, g);
}

/* ---- what comes ---- */

enum taken { TAKEN_NOTHING, TAKEN_SOME, TAKEN_BAD };

static enum taken take_initial(struct pass *p, struct gathering *g, const uint8_t *bytes, const struct pass_packet *packet) {
    const uint8_t *frames;
    size_t n;
    bool is_same = packet->dcid_n == g->id_n && memcmp(packet->dcid, g->id, g->id_n) == 0;
    if (!is_same || pass_initial_open(p->crypto, &g->keys, bytes, packet, &frames, &n) < 0)
        return TAKEN_NOTHING;
    return pass_hello_take(&g->hello, frames, n) == PASS_FRAMES_TAKEN ? TAKEN_SOME : TAKEN_BAD;
}

/* A datagram may have several packets. One that came with 0-RTT alone waits with the others. */
static enum taken take_packets(struct pass *p, struct gathering *g, const struct udp_datagram *d) {
    enum taken taken = TAKEN_NOTHING;
    struct pass_packet packet;
    size_t at = 0;
    for (int i = 0; i < PACKETS_OF_DATAGRAM && taken != TAKEN_BAD; i++, at += packet.n) {
        if (pass_packet_read(d->bytes + at, d->n - at, &packet) < 0)
            break;
        if (packet.kind == PASS_ZERO_RTT)
            taken = TAKEN_SOME;
        enum taken one = packet.kind == PASS_INITIAL ? take_initial(p, g, d->bytes + at, &packet) : TAKEN_NOTHING;
        taken = one == TAKEN_NOTHING ? taken : one;
    }
    return taken;
}

static int keep(struct pass *p, struct gathering *g, const struct udp_datagram *d) {
    if (g->count == WAITING_DATAGRAMS || g->bytes + d->n > WAITING_BYTES)
        return -1;
    struct waiting *w = free_lists_alloc(&p->worker->free_lists, sizeof *w + d->n);
    if (!w)
        return -1;
    *w = (struct waiting){.n = d->n, .ecn = d->ecn};
    memcpy(w->bytes, d->bytes, d->n);
    *g->last = w;
    g->last = &w->next;
    g->count++;
    g->bytes += d->n;
    return 0;
}

/* ---- the name is known ---- */

static void give_up(struct pass_flow *f, _Atomic uint64_t *counter) {
    stats_add(counter, 1);
    pass_flow_close(f, ENDPOINT_CANCELLED);
}

/* An endpoint that cannot be reached may be known by the first of them: then the flow is over, and so is the rest. */
static void send_waiting(struct pass_flow *f) {
    struct waiting *w;
    while (f->gathering && (w = f->gathering->first)) {
        f->gathering->first = w->next;
        pass_flow_send(f, w->bytes, w->n, w->ecn);
        free_lists_free(&f->pass->worker->free_lists, w);
    }
    gathering_end(f);
}

static void go_on(struct pass_flow *f, const struct cluster_definition *cluster, const struct udp_datagram *d) {
    struct pass_choice choice;
    if (!cluster) {
        give_up(f, &f->pass->worker->stats->quic_pass_dropped_unroutable_total);
        return;
    }
    if (!choose_in_cluster(f->pass, cluster, &f->node.client, NULL, 0, &choice)) {
        pass_flow_close(f, ENDPOINT_CANCELLED);
        return;
    }
    if (pass_flow_connect(f, choice.endpoint, &choice.home) < 0)
        return;
    send_waiting(f);
    if (f->state != PASS_OVER)
        pass_flow_send(f, d->bytes, d->n, d->ecn);
}

static void judge(struct pass_flow *f, const struct udp_datagram *d) {
    struct gathering *g = f->gathering;
    char room[DNS_NAME_MAX + 1];
    struct str name;
    switch (pass_hello_name(g->hello.bytes, g->hello.n, &name)) {
    case PASS_NAME_MORE:
        if (keep(f->pass, g, d) < 0)
            give_up(f, &f->pass->worker->stats->quic_pass_dropped_hello_total);
        break;
    case PASS_NAME_FOUND:
        name = tls_name_canonical(name, room);
        go_on(f, name.n ? choose_cluster_of_name(f->pass, name) : NULL, d);
        break;
    case PASS_NAME_NONE: go_on(f, pass_definition_of(f->pass)->fallback, d); break;
    case PASS_NAME_MALFORMED: give_up(f, &f->pass->worker->stats->quic_pass_dropped_hello_total); break;
    }
}

void gathering_take(struct pass_flow *f, const struct udp_datagram *d) {
    struct pass *p = f->pass;
    struct stats *s = p->worker->stats;
    struct pass_packet first;
    if (!f->gathering && (pass_packet_read(d->bytes, d->n, &first) < 0 || !begin(f, &first))) {
        give_up(f, &s->quic_pass_dropped_system_total);
        return;
    }
    enum taken taken = take_packets(p, f->gathering, d);
    if (taken == TAKEN_SOME)
        judge(f, d);
    else if (taken == TAKEN_BAD || f->gathering->count == 0)
        give_up(f, &s->quic_pass_dropped_hello_total);
    else
        stats_add(&s->quic_pass_dropped_hello_total, 1); /* not of the one whose flow it is */
}
