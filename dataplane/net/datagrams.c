#include "dataplane/net/datagrams.h"

#include <stddef.h>

#include "dataplane/core/worker.h"
#include "dataplane/net/listener.h"

enum { AGAIN_US = 50000 };

static void put_first(struct datagram_server *s, struct listener_runtime *l) {
    s->listener = l;
    s->next = l->datagrams;
    l->datagrams = s;
}

static void unlink_server(struct datagram_server *s) {
    struct datagram_server **at = &s->listener->datagrams;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

/* Whoever sees that it was the last user may free it at once. */
static void release(struct socket_use *use) {
    void (*on_release)(void *) = use->on_release;
    void *owner = use->owner;
    atomic_fetch_sub_explicit(&use->users, 1, memory_order_release);
    on_release(owner);
}

static void destroy_server(struct datagram_server *s) {
    struct socket_use *use = s->socket.use;
    struct listener_runtime *l = s->listener;
    unlink_server(s);
    wheel_remove(&l->worker->wheel, &s->look);
    if (!s->has_ended)
        atomic_fetch_sub(&use->busy, 1);
    l->holds++; /* connections that end with it are still its */
    s->ops->destroy(s);
    l->holds--;
    release(use);
}

static void look(struct timer *t) {
    struct datagram_server *s = (struct datagram_server *)((char *)t - offsetof(struct datagram_server, look));
    struct listener_runtime *l = s->listener;
    if (atomic_load(&s->socket.use->busy) > 0) {
        worker_set_timer(l->worker, &s->look, l->worker->now + AGAIN_US);
        return;
    }
    destroy_server(s);
    listener_free_if_done(l);
}

void datagrams_ended(struct datagram_server *s) {
    if (s->has_ended)
        return;
    s->has_ended = true;
    atomic_fetch_sub(&s->socket.use->busy, 1);
    s->look.fire = look;
    look(&s->look);
}

void datagrams_stop(struct listener_runtime *l) {
    for (struct datagram_server *s = l->datagrams, *next; s; s = next) {
        next = s->next;
        s->ops->stop(s);
    }
}

void datagrams_destroy(struct listener_runtime *l) {
    while (l->datagrams)
        destroy_server(l->datagrams);
    listener_free_if_done(l);
}

/* ---- leaving ---- */

static bool has_socket(const struct held_socket *sockets, unsigned count, int fd) {
    for (unsigned i = 0; i < count; i++)
        if (sockets[i].fd == fd)
            return true;
    return false;
}

static bool is_wanted(const struct listener_runtime *l, const struct datagram_ops *ops, const struct held_socket *sockets,
                      unsigned count) {
    for (const struct datagram_server *s = l->datagrams; s; s = s->next)
        if (s->ops != ops || !has_socket(sockets, count, s->socket.fd))
            return false;
    return true;
}

/* Its connections over datagrams, to a listener that serves the same. */
static void move_connections(struct listener_runtime *from, struct listener_runtime *to) {
    for (struct listener_connection *c = from->connections.next, *next; c != &from->connections; c = next) {
        next = c->next;
        if (c->is_datagram)
            listener_move(c, to);
    }
}

void datagrams_part(struct listener_runtime *l, struct listener_runtime **list, const struct datagram_ops *ops,
                    const struct held_socket *sockets, unsigned count, uint64_t drain) {
    if (is_wanted(l, ops, sockets, count))
        return;
    struct listener_runtime *apart = listener_twin(l, list);
    if (!apart) {
        datagrams_destroy(l);
        return;
    }
    for (struct datagram_server *s; (s = l->datagrams);) {
        l->datagrams = s->next;
        put_first(s, apart);
    }
    move_connections(l, apart);
    listener_drain(apart, drain);
}

/* ---- serving ---- */

static struct datagram_server *find(struct listener_runtime *list, int fd) {
    for (struct listener_runtime *l = list; l; l = l->next)
        for (struct datagram_server *s = l->datagrams; s; s = s->next)
            if (s->socket.fd == fd)
                return s;
    return NULL;
}

static void open_server(struct listener_runtime *l, const struct datagram_ops *ops, const struct held_socket *socket) {
    struct datagram_server *s = ops->open(l, socket->fd);
    if (!s)
        return;
    s->ops = ops;
    s->socket = *socket;
    s->has_ended = false;
    atomic_fetch_add(&socket->use->users, 1);
    atomic_fetch_add(&socket->use->busy, 1);
    put_first(s, l);
}

/* From a listener that drains. */
static void take_over(struct datagram_server *s, struct listener_runtime *l) {
    unlink_server(s);
    put_first(s, l);
    if (s->has_ended) {
        wheel_remove(&l->worker->wheel, &s->look);
        s->has_ended = false;
        atomic_fetch_add(&s->socket.use->busy, 1);
    }
    s->ops->resume(s);
    s->ops->renew(s);
}

void datagrams_serve(struct listener_runtime *l, struct listener_runtime *list, const struct datagram_ops *ops,
                     const struct held_socket *sockets, unsigned count) {
    for (unsigned i = 0; ops && i < count; i++) {
        struct datagram_server *s = find(list, sockets[i].fd);
        if (s && s->ops != ops) {
            destroy_server(s); /* two cannot read from one socket */
            s = NULL;
        }
        if (!s)
            open_server(l, ops, &sockets[i]);
        else if (s->listener == l)
            ops->renew(s);
        else
            take_over(s, l);
    }
}
