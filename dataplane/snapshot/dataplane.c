#include "dataplane/snapshot/dataplane.h"

#include <errno.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "dataplane/back/ejection_log.h"
#include "dataplane/back/proxy.h"
#include "dataplane/codec/grpc_log/grpc_log.h"
#include "dataplane/codec/h1/server.h"
#include "dataplane/codec/h2/server.h"
#include "dataplane/codec/raw/server.h"
#include "dataplane/holder/protocol.h"
#include "dataplane/http/access_log.h"
#include "dataplane/http/exchange.h"
#include "dataplane/net/datagrams.h"
#include "dataplane/l4/id_directory.h"
#include "dataplane/l4/quic_pass.h"
#include "dataplane/net/gather.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/listener.h"
#include "dataplane/snapshot/http3.h"
#include "dataplane/quic/endpoint.h"
#include "dataplane/snapshot/listen_sockets.h"
#include "dataplane/snapshot/quic_listener.h"
#include "dataplane/snapshot/sweep.h"
#include "dataplane/tls/session.h"

enum { LOG_PATIENCE_US = 2000000 };

struct dataplane;

/* The descriptors of one served address, for one worker. */
struct address_sockets {
    const int                *fds;      /* TCP */
    const struct held_socket *udp;
    unsigned                  count, udp_count;
    bool                      is_served; /* the worker has a listener for it already */
};

/* A snapshot on its way to one worker. Owned by the worker's seat; used again for the next one. */
struct switch_message {
    struct worker_message   message;
    struct snapshot        *snapshot;
    struct address_sockets *sockets;    /* one per snapshot->addresses */
    int                    *fds;
    struct held_socket     *udp;
    struct log_ring        *access_log;
    struct quic_process    *quic;       /* NULL: there is no socket of UDP */
};

struct drain_message {
    struct worker_message message;
};

struct seat {                           /* a worker and what belongs to it */
    struct dataplane        *dataplane;
    struct worker            worker;
    struct cluster_table     clusters;
    struct listener_runtime *listeners;
    struct switch_message    switching;
    struct sweep             sweep;
    bool                     is_draining;
    bool                     has_quic;  /* the worker is part of the process's QUIC */
    struct drain_message     draining;
    struct log_ring         *access_log;
};

struct dataplane {
    struct ev_loop   *loop;
    struct seat      *seats;
    unsigned          worker_count;
    struct ip_caps   *caps;
    struct id_directory *connection_ids; /* of QUIC that is passed through */
    struct quic_process *quic;          /* NULL until the first socket of UDP */
    struct ejection_log *ejections;
    ev_async          news;             /* a worker has switched or ejected, or a snapshot has become quiet */
    _Atomic unsigned  switched;
    struct snapshot  *current;
    struct snapshot  *retired;          /* waiting for the last worker to become quiet */
    uint64_t          switch_began;
    void            (*switch_done)(void *, uint64_t);
    void             *switch_arg;
    bool              is_switching, is_draining;
    ev_timer          drain_poll;
    uint64_t          drain_until;
    uint64_t          log_until;        /* so long access log services may take what they have not got; 0: not yet */
    void            (*drain_done)(void *);
    void             *drain_arg;
};

static struct seat *seat_of(struct worker *w) {
    return (struct seat *)((char *)w - offsetof(struct seat, worker));
}

/* ---- on a worker's thread ---- */

static void on_view_quiet(struct worker *w, struct snapshot_view *view) {
    struct dataplane *d = seat_of(w)->dataplane;
    atomic_fetch_add_explicit(&view->snapshot->quiet_workers, 1, memory_order_release);
    ev_async_send(d->loop, &d->news);
}

static const struct server_codecs codecs = {.http1 = h1_server_accept, .http2 = h2_server_accept, .raw = raw_server_accept,
                                            .quic = &quic_listener_ops, .pass = &quic_pass_ops};

static uint64_t drain_time(const struct listener_runtime *l) {
    return l->definition ? l->definition->settings->timeouts.drain : 0;
}

static const struct datagram_ops *datagrams_of(const struct listener_opening *o) {
    return o->http3 ? codecs.quic : o->pass ? codecs.pass : NULL;
}

static void define(struct seat *s, struct listener_runtime *l, const struct listener_definition *d,
                   const struct address_sockets *sockets) {
    const struct datagram_ops *ops = datagrams_of(&d->opening);
    if (ops == codecs.quic && !s->has_quic)
        ops = NULL;
    datagrams_part(l, &s->listeners, ops, sockets->udp, sockets->udp_count, drain_time(l));
    listener_set_definition(l, d, &d->opening, d->settings->connections_per_ip, d->settings->connections);
    datagrams_serve(l, s->listeners, ops, sockets->udp, sockets->udp_count);
}

static bool has_tcp(const struct listener_opening *o) {
    return o->http1 || o->http2 || o->raw;
}

/* What serves its address now. TCP and UDP may be two listeners'; the sockets of TCP come and go with theirs. */
static const struct served_address *address_of(const struct listener_runtime *l, const struct snapshot *snapshot) {
    bool is_udp = !has_tcp(l->opening);
    const struct served_address *a = snapshot ? map_get(&snapshot->by_address[is_udp], address_key(&l->address)) : NULL;
    return a && has_tcp(&a->listener->opening) == !is_udp ? a : NULL;
}

/* Listeners that stay get their new definition, and the others end. */
static void renew_listeners(struct seat *s, const struct snapshot *snapshot, struct address_sockets *sockets) {
    for (struct listener_runtime *l = s->listeners, *next; l; l = next) {
        next = l->next;
        if (l->is_draining)
            continue;
        const struct served_address *a = address_of(l, snapshot);
        if (a) {
            sockets[a - snapshot->addresses].is_served = true;
            define(s, l, a->listener, &sockets[a - snapshot->addresses]);
        } else {
            listener_drain(l, drain_time(l));
        }
    }
}

/* Without memory the other workers serve the address. */
static void open_listener(struct seat *s, const struct served_address *a, const struct address_sockets *sockets) {
    struct listener_runtime *l = listener_create(&s->worker, &s->listeners, &a->address, sockets->fds, sockets->count,
                                                 &codecs, s->dataplane->caps);
    if (l)
        define(s, l, a->listener, sockets);
}

static void take_addresses(struct seat *s, const struct snapshot *snapshot, struct address_sockets *sockets) {
    renew_listeners(s, snapshot, sockets);
    for (size_t i = 0; !s->is_draining && i < snapshot->address_count; i++)
        if (!sockets[i].is_served && (sockets[i].count || sockets[i].udp_count))
            open_listener(s, &snapshot->addresses[i], &sockets[i]);
    listeners_free_done(s->listeners);
}

/* A quarter is for exchanges and their heads, the rest for bodies: neither can starve the other. */
static void set_budgets(struct worker *w, const struct settings *settings) {
    uint64_t bytes = settings->worker_buffer;
    w->exchange_memory.limit = bytes / 4;
    w->buffer_limit = bytes - bytes / 4;
    w->session_memory.limit = settings->worker_sessions;
}

static void take_snapshot(struct worker *w, struct worker_message *m) {
    struct switch_message *message = (struct switch_message *)m;
    struct seat *s = seat_of(w);
    struct snapshot *snapshot = message->snapshot;
    struct snapshot_view *old = w->view;
    w->view = &snapshot->views[w->index];
    view_ref(w->view);
    set_budgets(w, &snapshot->settings);
    w->access_log = message->access_log;
    if (message->quic && !s->has_quic) /* without memory other workers serve HTTP/3 */
        s->has_quic = quic_process_add_worker(message->quic, w) == 0;
    take_addresses(s, snapshot, message->sockets);
    grpc_logs_renew(w->log_services, snapshot->log_services, snapshot->log_service_count, snapshot->settings.timeouts.drain);
    sweep_begin(&s->sweep, w, w->view, old);
    stats_add(&w->stats->snapshots_total, 1);
    atomic_fetch_add_explicit(&s->dataplane->switched, 1, memory_order_release);
    ev_async_send(s->dataplane->loop, &s->dataplane->news);
}

static void begin_drain(struct worker *w, struct worker_message *m) {
    (void)m;
    seat_of(w)->is_draining = true;
    renew_listeners(seat_of(w), NULL, NULL);
    grpc_logs_hurry(w->log_services);
}

/* ---- on the main thread ---- */

static void free_quiet_snapshots(struct dataplane *d) {
    struct snapshot **at = &d->retired;
    while (*at) {
        struct snapshot *s = *at;
        if (atomic_load_explicit(&s->quiet_workers, memory_order_acquire) < d->worker_count) {
            at = &s->next_retired;
            continue;
        }
        *at = s->next_retired;
        snapshot_free(s);
    }
}

static void finish_switch(struct dataplane *d) {
    if (!d->is_switching || atomic_load_explicit(&d->switched, memory_order_acquire) < d->worker_count)
        return;
    d->is_switching = false;
    if (d->switch_done)
        d->switch_done(d->switch_arg, clock_monotonic_us() - d->switch_began);
}

static void on_news(struct ev_loop *loop, ev_async *watcher, int events) {
    (void)loop;
    (void)events;
    struct dataplane *d = watcher->data;
    finish_switch(d);
    free_quiet_snapshots(d);
    ejection_log_write(d->ejections);
}

static unsigned tcp_count(const struct served_address *a, const struct listen_sockets *sockets) {
    return has_tcp(&a->listener->opening) ? listen_socket_count(sockets, &a->address) : 0;
}

/* Fills the message's socket table: worker w of n serves the descriptors w, w + n, ... of each address. */
static int gather_sockets(struct dataplane *d, struct seat *s, const struct snapshot *snapshot,
                          const struct listen_sockets *sockets) {
    struct switch_message *m = &s->switching;
    size_t total = 0, at = 0;
    hg_free(m->sockets);
    hg_free(m->fds);
    for (size_t i = 0; i < snapshot->address_count; i++)
        total += tcp_count(&snapshot->addresses[i], sockets);
    m->sockets = hg_calloc(snapshot->address_count, sizeof *m->sockets);
    m->fds = hg_calloc(total, sizeof *m->fds);
    if (!m->sockets || !m->fds)
        return -1;
    for (size_t i = 0; i < snapshot->address_count; i++) {
        const struct address *a = &snapshot->addresses[i].address;
        unsigned count = tcp_count(&snapshot->addresses[i], sockets);
        m->sockets[i].fds = m->fds + at;
        for (unsigned k = s->worker.index; k < count; k += d->worker_count, m->sockets[i].count++)
            m->fds[at++] = listen_socket_fd(sockets, a, k);
    }
    return 0;
}

static unsigned udp_count(const struct served_address *a, const struct listen_sockets *sockets) {
    return datagrams_of(&a->listener->opening) ? listen_udp_count(sockets, &a->address) : 0;
}

/* Likewise of UDP, behind those of TCP. */
static int gather_udp(struct dataplane *d, struct seat *s, const struct snapshot *snapshot, struct listen_sockets *sockets) {
    struct switch_message *m = &s->switching;
    size_t total = 0, at = 0;
    hg_free(m->udp);
    for (size_t i = 0; i < snapshot->address_count; i++)
        total += udp_count(&snapshot->addresses[i], sockets);
    m->udp = hg_calloc(total, sizeof *m->udp);
    if (!m->udp)
        return -1;
    for (size_t i = 0; i < snapshot->address_count; i++) {
        const struct served_address *a = &snapshot->addresses[i];
        unsigned count = udp_count(a, sockets);
        m->sockets[i].udp = m->udp + at;
        for (unsigned k = s->worker.index; k < count; k += d->worker_count, m->sockets[i].udp_count++)
            m->udp[at++] = listen_udp_socket(sockets, &a->address, k);
    }
    return 0;
}

/* With the first socket of UDP the holder has said what connection IDs are made of. */
static int prepare_quic(struct dataplane *d, const struct listen_sockets *sockets) {
    const struct holder_udp *steering = listen_sockets_steering(sockets);
    if (d->quic || !steering)
        return 0;
    struct quic_process_options o = {.generation = steering->generation};
    _Static_assert(sizeof o.secret == sizeof steering->key, "the secret is the holder's key");
    memcpy(o.ids_key, steering->key, sizeof o.ids_key);
    memcpy(o.secret, steering->key, sizeof o.secret);
    d->quic = quic_process_create(&o);
    return d->quic ? 0 : -1;
}

static int prepare_messages(struct dataplane *d, struct snapshot *snapshot, struct listen_sockets *sockets) {
    hg_free(snapshot->views); /* of an attempt that failed */
    snapshot->views = hg_calloc(d->worker_count, sizeof *snapshot->views);
    if (!snapshot->views)
        return -1;
    for (unsigned i = 0; i < d->worker_count; i++) {
        struct seat *s = &d->seats[i];
        snapshot->views[i] = (struct snapshot_view){.snapshot = snapshot, .quiet = on_view_quiet};
        if (gather_sockets(d, s, snapshot, sockets) < 0 || gather_udp(d, s, snapshot, sockets) < 0)
            return -1;
        s->switching.snapshot = snapshot;
        s->switching.access_log = s->access_log;
        s->switching.quic = d->quic;
        s->switching.message.handle = take_snapshot;
    }
    return 0;
}

int dataplane_switch(struct dataplane *d, struct snapshot *snapshot, struct listen_sockets *sockets,
                     void (*done)(void *arg, uint64_t switch_us), void *arg) {
    if (prepare_quic(d, sockets) < 0 || snapshot_name_ports(snapshot, sockets) < 0 ||
        prepare_messages(d, snapshot, sockets) < 0)
        return -1;
    if (d->current) {
        d->current->next_retired = d->retired;
        d->retired = d->current;
    }
    d->current = snapshot;
    d->switch_began = clock_monotonic_us();
    d->switch_done = done;
    d->switch_arg = arg;
    d->is_switching = true;
    atomic_store(&d->switched, 0);
    for (unsigned i = 0; i < d->worker_count; i++)
        worker_post(&d->seats[i].worker, &d->seats[i].switching.message);
    return 0;
}

const struct snapshot *dataplane_snapshot(const struct dataplane *d) {
    return d->current;
}

unsigned dataplane_worker_count(const struct dataplane *d) {
    return d->worker_count;
}

const struct stats *dataplane_worker_stats(const struct dataplane *d, unsigned worker) {
    return d->seats[worker].worker.stats;
}

void dataplane_set_access_log(struct dataplane *d, unsigned worker, struct log_ring *ring) {
    d->seats[worker].access_log = ring;
}

/* ---- draining ---- */

static uint64_t open_connections(const struct dataplane *d) {
    uint64_t open = 0;
    for (unsigned i = 0; i < d->worker_count; i++)
        open += stats_read(&d->seats[i].worker.stats->connections);
    return open;
}

/* Entries that wait, or streams whose service has not said that it has all. */
static bool has_logs_left(const struct dataplane *d) {
    uint64_t left = 0;
    for (unsigned i = 0; i < d->worker_count; i++) {
        const struct stats *stats = d->seats[i].worker.stats;
        left += stats_read(&stats->access_log_service_waiting_bytes) + stats_read(&stats->access_log_service_streams);
    }
    return left > 0;
}

static void poll_drain(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)events;
    struct dataplane *d = timer->data;
    uint64_t now = clock_monotonic_us();
    if (open_connections(d) && now < d->drain_until)
        return;
    d->log_until = d->log_until ? d->log_until : now + LOG_PATIENCE_US;
    if (has_logs_left(d) && now < d->log_until)
        return;
    ev_timer_stop(loop, timer);
    d->drain_done(d->drain_arg);
}

void dataplane_drain(struct dataplane *d, uint64_t timeout_us, void (*done)(void *arg), void *arg) {
    if (d->is_draining)
        return;
    d->is_draining = true;
    d->drain_until = clock_monotonic_us() + timeout_us;
    d->drain_done = done;
    d->drain_arg = arg;
    for (unsigned i = 0; i < d->worker_count; i++) {
        d->seats[i].draining.message.handle = begin_drain;
        worker_post(&d->seats[i].worker, &d->seats[i].draining.message);
    }
    d->drain_poll.data = d;
    ev_timer_init(&d->drain_poll, poll_drain, 0.01, 0.01);
    ev_timer_start(d->loop, &d->drain_poll);
}

bool dataplane_is_draining(const struct dataplane *d) {
    return d->is_draining;
}

/* ---- life ---- */

/* On any thread. */
static void wake_main(void *arg) {
    struct dataplane *d = arg;
    ev_async_send(d->loop, &d->news);
}

static int seat_init(struct dataplane *d, unsigned index) {
    struct seat *s = &d->seats[index];
    s->dataplane = d;
    if (worker_init(&s->worker, index, EVFLAG_AUTO | EVFLAG_NOENV) < 0)
        return -1;
    s->worker.clusters = &s->clusters;
    s->clusters.ejection_log = d->ejections;
    s->worker.gather = hg_malloc(sizeof(struct gather));
    s->worker.route_scratch = route_scratch_create();
    s->worker.log_services = grpc_logs_create(&s->worker);
    return s->worker.gather && s->worker.route_scratch && s->worker.log_services ? 0 : -1;
}

static void seat_finish(struct seat *s) {
    if (!s->dataplane)
        return;
    if (s->worker.loop)
        worker_empty_mailbox(&s->worker); /* a sweep may be on its way; it needs all that follows */
    renew_listeners(s, NULL, NULL);
    for (struct listener_runtime *l = s->listeners; l; l = l->next)
        listener_cut_all(l);
    grpc_logs_end(s->worker.log_services);
    if (s->worker.loop)
        worker_end_turn(&s->worker);
    for (struct listener_runtime *l = s->listeners, *next; l; l = next) {
        next = l->next;
        datagrams_destroy(l); /* their connections have said farewell */
    }
    grpc_logs_destroy(s->worker.log_services);
    clusters_finish(&s->worker);
    if (s->worker.loop)
        worker_end_turn(&s->worker);
    if (s->worker.view)
        view_unref(&s->worker, s->worker.view);
    exchange_free_cache(&s->worker);
    quic_worker_free(&s->worker);
    tls_io_free(&s->worker);
    route_scratch_destroy(s->worker.route_scratch);
    hg_free(s->worker.gather);
    worker_finish(&s->worker);
    hg_free(s->switching.sockets);
    hg_free(s->switching.fds);
    hg_free(s->switching.udp);
}

static void log_exchange(struct exchange *x) {
    if (x->listener->is_internal)
        return;
    access_log_write(x);
    grpc_logs_write(x);
}

struct dataplane *dataplane_create(struct ev_loop *main_loop, unsigned workers) {
    static const struct exchange_hooks hooks = {.terminal = &proxy_terminal, .log = log_exchange};
    struct dataplane *d = hg_calloc(1, sizeof *d);
    if (!d)
        return NULL;
    exchange_set_hooks(&hooks);
    proxy_init();
    tls_set_worker_count(workers);
    d->loop = main_loop;
    d->seats = hg_calloc(workers, sizeof *d->seats);
    d->caps = ip_caps_create();
    d->connection_ids = id_directory_create();
    quic_pass_set_directory(d->connection_ids);
    d->ejections = ejection_log_create(wake_main, d);
    ev_async_init(&d->news, on_news);
    d->news.data = d;
    ev_async_start(main_loop, &d->news);
    bool ok = d->seats && d->caps && d->connection_ids && d->ejections;
    for (; ok && d->worker_count < workers; d->worker_count++)
        ok = seat_init(d, d->worker_count) == 0;
    for (unsigned i = 0; ok && i < workers; i++) {
        errno = worker_start(&d->seats[i].worker);
        ok = errno == 0;
    }
    if (ok)
        return d;
    dataplane_destroy(d);
    return NULL;
}

void dataplane_destroy(struct dataplane *d) {
    if (!d)
        return;
    for (unsigned i = 0; i < d->worker_count; i++)
        worker_stop_and_join(&d->seats[i].worker);
    for (unsigned i = 0; d->seats && i < d->worker_count; i++)
        seat_finish(&d->seats[i]);
    ev_async_stop(d->loop, &d->news);
    ev_timer_stop(d->loop, &d->drain_poll);
    for (struct snapshot *s = d->retired, *next; s; s = next) {
        next = s->next_retired;
        snapshot_free(s);
    }
    snapshot_free(d->current);
    quic_process_destroy(d->quic);
    ip_caps_destroy(d->caps);
    id_directory_destroy(d->connection_ids);
    ejection_log_destroy(d->ejections);
    hg_free(d->seats);
    hg_free(d);
}
