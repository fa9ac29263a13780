#include "dataplane/l4/quic_pass.h"

#include <string.h>

#include "common/alloc.h"
#include "dataplane/core/stats.h"
#include "dataplane/http/definitions.h"
#include "dataplane/l4/pass_flow.h"
#include "dataplane/tls/library.h"

enum {
    FIRST_DATAGRAM_MIN = 1200,   /* RFC 9000 section 14.1 */
    FIRST_ID_MIN = 8,            /* section 7.2 */
    FLOWS_LOOKED_AT = 8,
};

static struct id_directory *directory;

void quic_pass_set_directory(struct id_directory *d) {
    directory = d;
}

struct id_directory *pass_directory(void) {
    return directory;
}

const struct pass_definition *pass_definition_of(const struct pass *p) {
    return p->server.listener->definition->pass;
}

/* ---- flows that begin ---- */

/* What a client cannot have sent, or not as the first of a connection. */
static bool is_refused(struct pass *p, const struct udp_datagram *d, const struct pass_packet *first) {
    struct stats *s = p->worker->stats;
    bool may_begin = first->kind == PASS_INITIAL || first->kind == PASS_UNKNOWN;
    if (first->kind == PASS_RETRY || first->kind == PASS_NEGOTIATION ||
        (first->kind == PASS_INITIAL && first->token_n == 0 && first->dcid_n < FIRST_ID_MIN))
        stats_add(&s->quic_pass_dropped_malformed_total, 1);
    else if (may_begin && d->n < FIRST_DATAGRAM_MIN)
        stats_add(&s->quic_pass_dropped_small_total, 1);
    else if (p->is_stopped)
        stats_add(&s->quic_pass_dropped_unroutable_total, 1);
    else
        return false;
    return true;
}

/* A client chooses the ID of its first packets by itself: whatever it says, it says by chance. */
static bool is_chosen_by_client(const struct pass_packet *first) {
    return first->kind == PASS_INITIAL || first->kind == PASS_ZERO_RTT;
}

/* To where its ID leads. */
static struct pass_flow *begin_known(struct pass *p, const struct pass_beginning *b, const struct pass_choice *choice) {
    struct pass_flow *f = bounds_may_begin(p, true) ? pass_flow_begin(p, b) : NULL;
    if (!f || pass_flow_connect(f, choice->endpoint, &choice->home) < 0)
        return NULL;
    f->has_moved = true;
    f->was_noted = choice->known_n > 0;
    flow_table_note_origin_id(&p->table, &f->node, b->first->dcid, choice->known_n);
    stats_add(&p->worker->stats->quic_pass_moved_total, 1);
    return f;
}

/* To where its address leads. */
static struct pass_flow *begin_in_cluster(struct pass *p, const struct pass_beginning *b,
                                          const struct cluster_definition *cluster) {
    struct pass_choice choice;
    if (!choose_in_cluster(p, cluster, b->client, NULL, 0, &choice))
        return NULL;
    struct pass_flow *f = pass_flow_begin(p, b);
    return f && pass_flow_connect(f, choice.endpoint, &choice.home) == 0 ? f : NULL;
}

static bool has_name(const struct pass_definition *d, const struct pass_packet *first) {
    return first->kind == PASS_INITIAL && pass_reads_names(d);
}

/* Where names are read, what comes behind one does not say it again. */
static bool leads_nowhere(const struct pass_definition *d, const struct pass_packet *first) {
    bool is_behind = pass_reads_names(d) && first->kind != PASS_UNKNOWN;
    return !has_name(d, first) && (is_behind || !d->fallback);
}

/* Most of a flood ends where it is asked whether another flow may begin: an endpoint is chosen behind that. */
static struct pass_flow *begin(struct pass *p, const struct udp_datagram *d, const struct pass_packet *first) {
    const struct pass_definition *definition = pass_definition_of(p);
    const struct pass_beginning b = {d->remote, d->local, first};
    struct pass_choice choice;
    if (is_refused(p, d, first))
        return NULL;
    if (!is_chosen_by_client(first) && choose_by_id(p, first, &choice))
        return begin_known(p, &b, &choice);
    if (leads_nowhere(definition, first)) {
        stats_add(&p->worker->stats->quic_pass_dropped_unroutable_total, 1);
        return NULL;
    }
    if (!bounds_may_begin(p, false))
        return NULL;
    return has_name(definition, first) ? pass_flow_begin(p, &b) : begin_in_cluster(p, &b, definition->fallback);
}

/* ---- flows that are there ---- */

/* A flow of the same address that goes there. Of many, which somebody has forged, not all are looked at. */
static struct pass_flow *find_towards(struct pass_flow *f, const struct address *endpoint) {
    struct flow_node *n = &f->node;
    for (int i = 0; i < FLOWS_LOOKED_AT; i++, n = n->next_same) {
        struct pass_flow *one = pass_flow_of_node(n);
        if (one->state != PASS_GATHERING && address_equal(&one->home.address, endpoint))
            return one;
    }
    return NULL;
}

/* A packet with an ID that its flow has not used: most often the client has taken another of those that it was given. But a
 * client behind the same address may have followed another one, or a connection come to where another one was. */
static struct pass_flow *look_again(struct pass *p, struct pass_flow *f, const struct udp_datagram *d,
                                    const struct pass_packet *first) {
    struct pass_choice choice;
    if (p->is_stopped || flow_node_knows_id(&f->node, first, 1) || !choose_by_id(p, first, &choice))
        return f;
    struct pass_flow *there = find_towards(f, &choice.home.address);
    return there ? there : begin_known(p, &(struct pass_beginning){d->remote, d->local, first}, &choice);
}

/* Packets that can only belong to a connection that has begun, whose IDs are not known. */
static bool is_of_some_flow(const struct pass_packet *first) {
    return first->kind == PASS_SHORT || first->kind == PASS_HANDSHAKE;
}

/* What has moved began long ago, and was let in then: a connection that begins now is another one, whatever IDs it uses. */
static struct pass_flow *flow_of(struct pass *p, const struct udp_datagram *d, const struct pass_packet *first) {
    struct pass_flow *f = pass_flow_of_node(flow_table_find(&p->table, d->remote, first));
    if (!f && is_of_some_flow(first))
        f = pass_flow_of_node(flow_table_first(&p->table, d->remote));
    if (!f || (f->has_moved && is_chosen_by_client(first)))
        return begin(p, d, first);
    return first->kind == PASS_SHORT && !pass_flow_has_seen(f, first) ? look_again(p, f, d, first) : f;
}

static struct pass *pass_of_socket(struct udp_socket *s) {
    return (struct pass *)((char *)s - offsetof(struct pass, socket));
}

static void on_client_datagram(struct udp_socket *s, const struct udp_datagram *d) {
    struct pass *p = pass_of_socket(s);
    struct pass_packet first;
    stats_add(&p->worker->stats->quic_pass_received_bytes_total, d->n);
    if (pass_packet_read(d->bytes, d->n, &first) < 0) {
        stats_add(&p->worker->stats->quic_pass_dropped_malformed_total, 1);
        return;
    }
    struct pass_flow *f = flow_of(p, d, &first);
    if (f)
        pass_flow_take(f, d, &first);
}

static void on_client_batch_end(struct udp_socket *s) {
    train_send(&pass_of_socket(s)->train);
}

static const struct udp_ops client_ops = {.on_datagram = on_client_datagram, .on_batch_end = on_client_batch_end};

/* ---- life ---- */

static struct pass *pass_of(struct datagram_server *s) {
    return (struct pass *)s;
}

/* Without memory IDs that name servers are not read until the next change. */
static void renew_ids(struct pass_ids *ids, const struct quic_lb_form *form) {
    if (ids->lb && form && memcmp(form, &ids->form, sizeof *form) == 0)
        return;
    quic_lb_destroy(ids->lb);
    ids->lb = form ? quic_lb_create(form) : NULL;
    if (form)
        ids->form = *form;
}

static void renew(struct datagram_server *s) {
    struct pass *p = pass_of(s);
    const struct pass_definition *d = pass_definition_of(p);
    for (unsigned i = 0; i < QUIC_LB_UNROUTABLE; i++)
        renew_ids(&p->ids[i], d->lb[i]);
    flow_table_set_max(&p->table, d->max_flows);
}

static void free_pass(struct reapable *r) {
    struct pass *p = (struct pass *)((char *)r - offsetof(struct pass, reapable));
    flow_table_finish(&p->table);
    pass_crypto_destroy(p->crypto);
    for (unsigned i = 0; i < QUIC_LB_UNROUTABLE; i++)
        quic_lb_destroy(p->ids[i].lb);
    hg_free(p);
}

static struct datagram_server *open_pass(struct listener_runtime *l, int fd) {
    struct pass *p = hg_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->server.listener = l;
    p->worker = l->worker;
    p->reapable.reap = free_pass;
    struct tls_worker *tls = tls_worker_of(l->worker);
    p->crypto = tls ? pass_crypto_create(tls->library.context) : NULL;
    if (p->crypto && flow_table_init(&p->table, pass_definition_of(p)->max_flows) == 0 &&
        udp_open(&p->socket, l->worker, fd, &client_ops) == 0) {
        p->overflows = p->socket.overflows;
        renew(&p->server);
        return &p->server;
    }
    free_pass(&p->reapable);
    return NULL;
}

static void free_if_last(struct pass *p) {
    if (p->is_over && p->alive == 0)
        worker_reap_later(p->worker, &p->reapable);
}

void pass_flow_freed(struct pass *p) {
    p->alive--;
    if (p->is_stopped && !p->is_over && p->alive == 0)
        datagrams_ended(&p->server);
    else
        free_if_last(p);
}

static void close_all(struct flow_node *head) {
    while (head->next != head)
        pass_flow_close(pass_flow_of_node(head->next), ENDPOINT_CANCELLED);
}

/* Who has an answer is let finish, who has none may try elsewhere. */
static void stop(struct datagram_server *s) {
    struct pass *p = pass_of(s);
    p->is_stopped = true;
    for (struct flow_node *n = p->table.others.next, *next; n != &p->table.others; n = next) {
        struct pass_flow *f = pass_flow_of_node(n);
        next = n->next;
        if (f->state == PASS_ANSWERED)
            pass_flow_prove(f);
        else
            pass_flow_close(f, ENDPOINT_CANCELLED);
    }
    if (p->alive == 0)
        datagrams_ended(s);
}

static void resume(struct datagram_server *s) {
    pass_of(s)->is_stopped = false;
}

static void destroy(struct datagram_server *s) {
    struct pass *p = pass_of(s);
    p->is_stopped = true; /* what is refused now is not tried elsewhere */
    close_all(&p->table.others);
    close_all(&p->table.proven_list);
    udp_close(&p->socket);
    p->is_over = true;
    free_if_last(p);
}

const struct datagram_ops quic_pass_ops = {
    .open = open_pass, .renew = renew, .stop = stop, .resume = resume, .destroy = destroy,
};
