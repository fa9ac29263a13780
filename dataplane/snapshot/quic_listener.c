#include "dataplane/snapshot/quic_listener.h"

#include "common/alloc.h"
#include "dataplane/codec/h3/server.h"
#include "dataplane/core/view.h"
#include "dataplane/http/definitions.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/quic/endpoint.h"

struct quic_listener {
    struct datagram_server server;      /* first */
    struct quic_endpoint  *endpoint;
    struct worker         *worker;
    struct snapshot_view  *view;        /* of the options and the TLS that the endpoint has */
};

static struct listener_runtime *listener_of(const struct quic_listener *q) {
    return q->server.listener;
}

/* A connection counts as those of TCP do, from when it can be spoken on. */
static struct quic_user *accept_connection(void *owner, struct quic_conn *c) {
    struct listener_runtime *l = listener_of(owner);
    struct conn_ends ends;
    uint32_t slot;
    if (l->is_draining || !quic_get_ends(c, &ends) || !listener_admits(l, &ends.remote, &slot))
        return NULL;
    struct quic_user *user = h3_server_accept(l, c, slot);
    if (user)
        stats_add(&l->worker->stats->connections_total, 1);
    else
        ip_caps_give(l->caps, slot);
    return user;
}

static void on_empty(void *owner) {
    struct quic_listener *q = owner;
    datagrams_ended(&q->server);
}

static const struct quic_endpoint_ops endpoint_ops = {.accept = accept_connection, .on_empty = on_empty};

static struct datagram_server *open_endpoint(struct listener_runtime *l, int fd) {
    const struct listener_definition *d = l->definition;
    struct quic_listener *q = hg_calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->endpoint = quic_endpoint_create(l->worker, fd, &d->quic, d->opening.tls, &endpoint_ops, q);
    if (!q->endpoint) {
        hg_free(q);
        return NULL;
    }
    q->worker = l->worker;
    q->view = l->view;
    view_ref(q->view);
    return &q->server;
}

static void renew(struct datagram_server *s) {
    struct quic_listener *q = (struct quic_listener *)s;
    const struct listener_definition *d = s->listener->definition;
    struct snapshot_view *before = q->view;
    quic_endpoint_renew(q->endpoint, &d->quic, d->opening.tls);
    q->view = s->listener->view;
    view_ref(q->view);
    view_unref(q->worker, before);
}

static void stop(struct datagram_server *s) {
    quic_endpoint_stop(((struct quic_listener *)s)->endpoint);
}

static void resume(struct datagram_server *s) {
    quic_endpoint_resume(((struct quic_listener *)s)->endpoint, s);
}

static void destroy(struct datagram_server *s) {
    struct quic_listener *q = (struct quic_listener *)s;
    struct snapshot_view *view = q->view;
    struct worker *w = q->worker;
    quic_endpoint_destroy(q->endpoint);
    hg_free(q);
    view_unref(w, view);
}

const struct datagram_ops quic_listener_ops = {
    .open = open_endpoint, .renew = renew, .stop = stop, .resume = resume, .destroy = destroy,
};
