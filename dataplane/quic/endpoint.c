#include "dataplane/quic/endpoint_private.h"

#include <string.h>

#include <openssl/crypto.h>

#include "common/alloc.h"

static struct quic_endpoint *endpoint_of(struct udp_socket *s) {
    return (struct quic_endpoint *)((char *)s - offsetof(struct quic_endpoint, socket));
}

/* ---- datagrams ---- */

void quic_answer(struct quic_endpoint *e, const struct udp_datagram *to, const uint8_t *bytes, size_t n) {
    udp_send(&e->socket, to->remote, to->local, bytes, n, n, ECN_NOT_ECT); /* lost: it asks again */
}

/* Of a short header's ID, which says it. */
static size_t short_length(uint8_t first) {
    size_t n = quic_ids_length_by(first);
    return n <= QUIC_ID_MAX ? n : (size_t)QUIC_ID_PLAIN;
}

static void on_datagram(struct udp_socket *socket, const struct udp_datagram *d) {
    struct quic_endpoint *e = endpoint_of(socket);
    struct quic_arrival a = {.datagram = d};
    int status = NGTCP2_ERR_INVALID_ARGUMENT;
    if (d->n > 1) /* the library asserts 1 */
        status = ngtcp2_pkt_decode_version_cid(&a.ids, d->bytes, d->n, short_length(d->bytes[1]));
    if (status != 0 && status != NGTCP2_ERR_VERSION_NEGOTIATION) {
        stats_add(&e->worker->stats->quic_malformed_total, 1);
        return;
    }
    struct quic_conn *c = quic_name_find(e->room, a.ids.dcid, a.ids.dcidlen);
    if (status == NGTCP2_ERR_VERSION_NEGOTIATION)
        quic_send_versions(e, &a);
    else if (c)
        quic_conn_receive(c, d);
    else
        quic_handle_stray(e, &a);
}

/* Takes all of them from the list, and turns it round: who waits longest comes first. */
static struct quic_conn *take_waiting(struct quic_endpoint *e) {
    struct quic_conn *first = NULL;
    for (struct quic_conn *c = e->waiting, *next; c; c = next) {
        next = c->next_waiting;
        c->waiting_link = NULL;
        c->next_waiting = first;
        first = c;
    }
    e->waiting = NULL;
    return first;
}

static void wake(struct quic_conn *first, bool has_sent) {
    for (struct quic_conn *c = first; c; c = c->next_waiting)
        if (c->has_sent == has_sent) {
            c->has_sent = false;
            quic_mark_dirty(c);
        }
}

/* Who filled the socket comes behind those who found it full. */
static void on_writable(struct udp_socket *socket) {
    struct quic_conn *first = take_waiting(endpoint_of(socket));
    wake(first, false);
    wake(first, true);
}

static const struct udp_ops socket_ops = {.on_datagram = on_datagram, .on_writable = on_writable};

/* ---- IDs ---- */

static struct quic_issuer *make_issuer(const struct quic_process *p, const struct quic_server_id *server_id) {
    struct quic_issuer *i = hg_calloc(1, sizeof *i);
    if (!i)
        return NULL;
    i->users = 1;
    i->server_id = *server_id;
    if (quic_ids_init(&i->ids, p->options.ids_key, p->options.generation, server_id) == 0)
        return i;
    quic_issuer_drop(i);
    return NULL;
}

void quic_issuer_drop(struct quic_issuer *i) {
    if (!i || --i->users > 0)
        return;
    quic_ids_finish(&i->ids);
    OPENSSL_cleanse(i, sizeof *i);
    hg_free(i);
}

/* Without memory those before go on to be used. */
static void renew_issuer(struct quic_endpoint *e, const struct quic_server_id *server_id) {
    if (memcmp(server_id, &e->issuer->server_id, sizeof *server_id) == 0)
        return;
    struct quic_issuer *i = make_issuer(e->room->process, server_id);
    if (!i)
        return;
    quic_issuer_drop(e->issuer);
    e->issuer = i;
}

/* ---- life ---- */

static void reap(struct reapable *r) {
    struct quic_endpoint *e = (struct quic_endpoint *)((char *)r - offsetof(struct quic_endpoint, reapable));
    quic_issuer_drop(e->issuer);
    hg_free(e);
}

static int start(struct quic_endpoint *e, struct worker *w, int fd) {
    e->issuer = make_issuer(e->room->process, &e->options->server_id);
    return e->issuer && udp_open(&e->socket, w, fd, &socket_ops) == 0 ? 0 : -1;
}

struct quic_endpoint *quic_endpoint_create(struct worker *w, int fd, const struct quic_options *options,
                                           struct tls_server *tls, const struct quic_endpoint_ops *ops, void *owner) {
    struct quic_room *r = quic_room_of(w);
    struct quic_endpoint *e = r && r->process ? hg_calloc(1, sizeof *e) : NULL;
    if (!e)
        return NULL;
    *e = (struct quic_endpoint){.worker = w, .room = r, .options = options, .tls = tls, .ops = ops, .owner = owner};
    e->reapable.reap = reap;
    if (start(e, w, fd) == 0)
        return e;
    quic_issuer_drop(e->issuer);
    hg_free(e);
    return NULL;
}

void quic_endpoint_renew(struct quic_endpoint *e, const struct quic_options *options, struct tls_server *tls) {
    e->options = options;
    e->tls = tls;
    renew_issuer(e, &options->server_id);
}

static void tell_if_empty(struct quic_endpoint *e) {
    if (e->is_stopped && !e->is_destroyed && e->count == 0 && e->ops->on_empty)
        e->ops->on_empty(e->owner);
}

void quic_endpoint_stop(struct quic_endpoint *e) {
    e->is_stopped = true;
    tell_if_empty(e);
}

void quic_endpoint_resume(struct quic_endpoint *e, void *owner) {
    e->is_stopped = false;
    e->owner = owner;
}

uint64_t quic_endpoint_count(const struct quic_endpoint *e) {
    return e->count;
}

/* Connections leave in the reap phase, and with the last one the endpoint. */
void quic_endpoint_destroy(struct quic_endpoint *e) {
    if (!e || e->is_destroyed)
        return;
    e->is_destroyed = true;
    for (struct quic_server *s = e->first, *next; s; s = next) {
        next = s->next;
        quic_cut(&s->conn);
    }
    udp_close(&e->socket);
    if (e->count == 0)
        worker_reap_later(e->worker, &e->reapable);
}

void quic_server_drop(struct quic_server *s) {
    struct quic_endpoint *e = s->conn.endpoint;
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    e->count--;
    if (e->is_destroyed && e->count == 0)
        worker_reap_later(e->worker, &e->reapable);
    else
        tell_if_empty(e);
}
