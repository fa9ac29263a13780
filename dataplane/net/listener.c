#include "dataplane/net/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/alloc.h"
#include "dataplane/core/view.h"
#include "dataplane/net/datagrams.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/opening.h"
#include "dataplane/net/proxy_protocol.h"

enum { ACCEPTS_PER_EVENT = 64 };
#define PAUSE_SECONDS 0.1

static bool is_out_of_descriptors(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_pause_over(struct ev_loop *loop, ev_timer *t, int events) {
    (void)events;
    struct listener_runtime *l = t->data;
    ev_io_start(loop, &l->acceptable);
}

/* Nothing stands between the socket and the one codec. */
static bool is_plain(const struct listener_opening *o) {
    return !o->tls && !o->proxy && !(o->http1 && o->http2);
}

static bool begin(struct listener_runtime *l, const struct accepted *a) {
    const struct listener_opening *o = l->opening;
    if (!is_plain(o))
        return opening_begin(l, a) == 0;
    return (o->raw ? l->codecs->raw : o->http2 ? l->codecs->http2 : l->codecs->http1)(l, a) != NULL;
}

/* A trusted proxy is not counted itself: the clients that it names are (net/opening.c). */
static uint32_t take_slot(struct listener_runtime *l, const struct address *peer) {
    if (l->opening->proxy && proxy_is_trusted(l->opening->proxy, peer))
        return IP_CAP_UNCOUNTED;
    return ip_caps_take(l->caps, peer, l->connections_per_ip);
}

bool listener_admits(struct listener_runtime *l, const struct address *peer, uint32_t *ret_slot) {
    struct stats *s = l->worker->stats;
    if (stats_read(&s->connections) >= l->connections_limit) {
        stats_add(&s->connections_refused_limit_total, 1);
        return false;
    }
    uint32_t slot = take_slot(l, peer);
    if (slot == IP_CAP_REFUSED) {
        stats_add(&s->connections_refused_per_ip_total, 1);
        return false;
    }
    *ret_slot = slot;
    return true;
}

static void admit(struct listener_runtime *l, int fd, const struct address *peer) {
    int one = 1;
    uint32_t slot;
    if (!listener_admits(l, peer, &slot)) {
        close(fd);
        return;
    }
    if (peer->u.any.sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!begin(l, &(struct accepted){.transport.fd = fd, .peer = *peer, .cap_slot = slot})) {
        ip_caps_give(l->caps, slot);
        close(fd);
        return;
    }
    stats_add(&l->worker->stats->connections_total, 1);
}

/* Waiting helps, spinning does not. */
static void pause_accepting(struct listener_runtime *l) {
    ev_io_stop(l->worker->loop, &l->acceptable);
    ev_timer_set(&l->pause, PAUSE_SECONDS, 0.);
    ev_timer_start(l->worker->loop, &l->pause);
}

static void accept_from(struct listener_runtime *l, int socket) {
    for (int i = 0; i < ACCEPTS_PER_EVENT && !l->is_draining; i++) {
        struct address peer = {.length = sizeof peer.u};
        int fd = accept4(socket, &peer.u.any, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            address_unmap(&peer);
            admit(l, fd, &peer);
            continue;
        }
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return;
        stats_add(&l->worker->stats->connections_accept_errors_total, 1);
        if (is_out_of_descriptors(errno))
            pause_accepting(l);
        return;
    }
}

static void on_acceptable(struct ev_loop *loop, ev_io *io, int events) {
    (void)loop;
    (void)events;
    struct listener_runtime *l = io->data;
    for (unsigned i = 0; i < l->socket_count && !ev_is_active(&l->pause); i++)
        accept_from(l, l->sockets[i]);
}

/* ---- what is accepted from ---- */

/* A descriptor that is readable while any of the sockets is, or -1. */
static int readable_with(const int *sockets, unsigned count) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; set >= 0 && i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(set, EPOLL_CTL_ADD, sockets[i], &event) < 0) {
            close(set);
            return -1;
        }
    }
    return set;
}

static void stop_accepting(struct listener_runtime *l) {
    if (l->is_draining)
        return;
    l->is_draining = true;
    ev_io_stop(l->worker->loop, &l->acceptable);
    ev_timer_stop(l->worker->loop, &l->pause);
    close(l->acceptable.fd); /* the kernel forgets the sockets with it: nothing of this worker touches them again */
}

/* ---- draining ---- */

static void close_all(struct listener_runtime *l, bool only_idle) {
    for (struct listener_connection *c = l->connections.next, *next; c != &l->connections; c = next) {
        next = c->next;
        c->close(c, only_idle);
    }
}

void listener_cut_all(struct listener_runtime *l) {
    close_all(l, false);
}

static void on_drain_timeout(struct timer *t) {
    listener_cut_all((struct listener_runtime *)((char *)t - offsetof(struct listener_runtime, drain_timer)));
}

void listener_set_definition(struct listener_runtime *l, const struct listener_definition *d,
                             const struct listener_opening *opening, uint32_t connections_per_ip,
                             uint32_t connections_limit) {
    struct snapshot_view *old = l->view;
    bool has_turned = old && l->opening->raw != opening->raw;
    l->definition = d;
    l->opening = opening;
    l->connections_per_ip = connections_per_ip;
    l->connections_limit = connections_limit;
    l->view = l->worker->view;
    view_ref(l->view);
    if (has_turned)
        close_all(l, true); /* what is under way ends as it began, and nothing new begins that way */
    if (old)
        view_unref(l->worker, old);
}

void listener_drain(struct listener_runtime *l, uint64_t timeout) {
    if (l->is_draining)
        return;
    stop_accepting(l);
    l->holds++;
    worker_set_timer(l->worker, &l->drain_timer, l->worker->now + (timeout ? timeout : 1));
    close_all(l, true);
    datagrams_stop(l);
    l->holds--;
    listener_free_if_done(l);
}

void listener_free_if_done(struct listener_runtime *l) {
    if (l->is_draining && l->open == 0 && !l->datagrams && l->holds == 0)
        listener_destroy(l);
}

void listeners_free_done(struct listener_runtime *list) {
    for (struct listener_runtime *l = list, *next; l; l = next) {
        next = l->next;
        listener_free_if_done(l);
    }
}

/* ---- life ---- */

static void put_first(struct listener_runtime *l, struct listener_runtime **list) {
    l->next = *list;
    l->link = list;
    if (l->next)
        l->next->link = &l->next;
    *list = l;
}

struct listener_runtime *listener_create(struct worker *w, struct listener_runtime **list, const struct address *address,
                                         const int *fds, unsigned count, const struct server_codecs *codecs,
                                         struct ip_caps *caps) {
    struct listener_runtime *l = hg_malloc(sizeof *l + count * sizeof *l->sockets);
    int readable = l ? readable_with(fds, count) : -1;
    if (readable < 0) {
        hg_free(l);
        return NULL;
    }
    *l = (struct listener_runtime){.worker = w, .address = *address, .caps = caps, .codecs = codecs, .socket_count = count};
    if (count)
        memcpy(l->sockets, fds, count * sizeof *fds);
    l->connections.next = l->connections.prev = &l->connections;
    put_first(l, list);
    l->drain_timer.fire = on_drain_timeout;
    ev_init(&l->pause, on_pause_over);
    l->pause.data = l;
    ev_io_init(&l->acceptable, on_acceptable, readable, EV_READ);
    l->acceptable.data = l;
    ev_io_start(w->loop, &l->acceptable);
    return l;
}

struct listener_runtime *listener_twin(const struct listener_runtime *of, struct listener_runtime **list) {
    struct listener_runtime *l = listener_create(of->worker, list, &of->address, NULL, 0, of->codecs, of->caps);
    if (!l)
        return NULL;
    l->definition = of->definition;
    l->opening = of->opening;
    l->connections_per_ip = of->connections_per_ip;
    l->connections_limit = of->connections_limit;
    if ((l->view = of->view))
        view_ref(l->view);
    return l;
}

void listener_destroy(struct listener_runtime *l) {
    if (!l)
        return;
    l->holds++;
    datagrams_destroy(l);
    stop_accepting(l);
    wheel_remove(&l->worker->wheel, &l->drain_timer);
    struct snapshot_view *view = l->view;
    struct worker *w = l->worker;
    *l->link = l->next;
    if (l->next)
        l->next->link = l->link;
    hg_free(l);
    if (view)
        view_unref(w, view);
}

static void put_last(struct listener_connection *c, struct listener_runtime *l) {
    c->listener = l;
    c->next = &l->connections;
    c->prev = l->connections.prev;
    c->prev->next = c;
    l->connections.prev = c;
    l->open++;
}

static void take_out(struct listener_connection *c) {
    c->prev->next = c->next;
    c->next->prev = c->prev;
    c->listener->open--;
}

void listener_add(struct listener_runtime *l, struct listener_connection *c, uint32_t cap_slot) {
    c->cap_slot = cap_slot;
    put_last(c, l);
    stats_add(&l->worker->stats->connections, 1);
}

void listener_move(struct listener_connection *c, struct listener_runtime *to) {
    take_out(c);
    put_last(c, to);
}

void listener_remove(struct listener_connection *c) {
    struct listener_runtime *l = c->listener;
    take_out(c);
    ip_caps_give(l->caps, c->cap_slot);
    stats_sub(&l->worker->stats->connections, 1);
    listener_free_if_done(l);
}
