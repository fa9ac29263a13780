/* pool.c — connections to endpoints: those with room last in, first out; new ones for whoever waits. */
#include <errno.h>

#include "dataplane/back/pool_private.h"

/* Of a connection that is being made nothing is known of how much it will carry; RFC 9113 section 6.5.2 says that an origin
 * should allow at least so much. */
enum { EXPECTED_CAPACITY = 100 };

enum { FRESH = 50000 };                    /* microseconds that a connect may take without being suspicious */

static struct pool_waiter_ops waiter_ops;

void pool_set_waiter_ops(const struct pool_waiter_ops *ops) {
    waiter_ops = *ops;
}

bool pool_error_is_ours(int error) {
    return error == ENOMEM || error == ENOBUFS || error == EMFILE || error == ENFILE;
}

static struct stats *stats_of(const struct endpoint_runtime *e) {
    return e->cluster->worker->stats;
}

/* ---- lists ---- */

static void list_add(struct client_connection *head, struct client_connection *c) {
    c->next = head->next;
    c->prev = head;
    c->next->prev = c;
    head->next = c;
}

static void list_remove(struct client_connection *c) {
    c->prev->next = c->next;
    c->next->prev = c->prev;
    c->next = c->prev = NULL;
}

/* Endpoints with connections that carry nothing, for close_some_idle. */
static void list_idle(struct endpoint_runtime *e) {
    struct cluster_runtime *c = e->cluster;
    e->prev_idle = c->idle_last;
    *(c->idle_last ? &c->idle_last->next_idle : &c->idle_first) = e;
    c->idle_last = e;
}

static void unlist_idle(struct endpoint_runtime *e) {
    struct cluster_runtime *c = e->cluster;
    *(e->prev_idle ? &e->prev_idle->next_idle : &c->idle_first) = e->next_idle;
    *(e->next_idle ? &e->next_idle->prev_idle : &c->idle_last) = e->prev_idle;
    e->next_idle = e->prev_idle = NULL;
}

static void count_idle(struct endpoint_runtime *e, int change) {
    bool had_some = e->idle_count > 0;
    e->idle_count += (uint32_t)change;
    if (had_some != (e->idle_count > 0))
        (had_some ? unlist_idle : list_idle)(e);
    stats_add(&stats_of(e)->origin_idle_connections, (uint64_t)(int64_t)change);
}

static void offer(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    if (c->next)
        return;
    list_add(&e->open, c);
    if (c->active == 0)
        count_idle(e, 1);
}

void pool_withdraw(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    if (!c->next)
        return;
    list_remove(c);
    if (c->is_connected && c->active == 0)
        count_idle(e, -1);
}

/* ---- closing ---- */

static void lost(struct endpoint_runtime *e) {
    breakers_give(&e->shared->connections);
    breakers_give(&e->cluster->shared->connections);
    pending_wake(e->cluster);
    e->connections--;
    endpoint_forget_if_unused(e);
}

void pool_close(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    pool_withdraw(c);
    c->codec->close(c);
    lost(e);
}

/* Whether anything new may be opened on it. */
static bool is_worn_out(const struct client_connection *c) {
    const struct endpoint_runtime *e = c->endpoint;
    const struct cluster_runtime *cluster = e->cluster;
    bool is_old = cluster->connection_lifetime && cluster->worker->now - c->opened_at > cluster->connection_lifetime;
    return c->is_single || c->is_draining || endpoint_is_gone(e) || is_old || c->epoch != cluster->epoch ||
           c->tls_choice != e->tls_choice || c->exchanges >= cluster->requests_per_connection ||
           (c->is_fallback && e->fallback.http3_works);
}

/* Puts the connection where it belongs after something has changed. May close it. */
static void place(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    struct cluster_runtime *cluster = e->cluster;
    bool is_idle = c->active == 0, worn_out = is_worn_out(c);
    if (is_idle && e->idle_count >= cluster->idle_connections + (c->next ? 1 : 0))
        worn_out = true;
    if (is_idle && worn_out) {
        pool_close(c);
        return;
    }
    if (worn_out || c->active >= c->capacity) {
        pool_withdraw(c);
        return;
    }
    offer(c);
    if (is_idle)
        c->codec->rest(c, cluster->idle_timeout);
}

/* ---- waiters ---- */

void pool_add_waiter(struct client_connection *c, struct client_waiter *w) {
    struct client_waiter *first = c->waiters;
    w->connection = c;
    w->next = first ? first : w;
    w->prev = first ? first->prev : w;
    w->prev->next = w;
    w->next->prev = w;
    if (!first)
        c->waiters = w;
    c->waiting++;
}

void pool_forget_waiter(struct client_waiter *w) {
    struct client_connection *c = w->connection;
    if (!c)
        return;
    w->connection = NULL;
    c->waiting--;
    if (c->waiters == w)
        c->waiters = w->next == w ? NULL : w->next;
    w->prev->next = w->next;
    w->next->prev = w->prev;
}

struct client_waiter *pool_take_waiter(struct client_connection *c) {
    struct client_waiter *w = c->waiters;
    if (w)
        pool_forget_waiter(w);
    return w;
}

/* A waiter's call can change the list, and lead to the connection's end. Those who come too late are few: they are told
 * before anything else happens to the connection. */
static void fail_waiters(struct client_connection *c, int error) {
    struct client_waiter *w;
    while ((w = pool_take_waiter(c)))
        waiter_ops.failed(w, error);
}

/* ---- what connections report ---- */

static struct client_waiter *next_waiter(struct client_connection *c) {
    struct client_waiter *w = pool_take_waiter(c);
    return w ? w : fallback_take_waiter(c);
}

static void on_connected(struct client_connection *c) {
    struct client_waiter *w;
    list_remove(c); /* of those being made */
    c->active++; /* so that it stays while waiters come to it */
    fallback_note_connected(c);
    while (c->is_connected && c->active <= c->capacity && (w = next_waiter(c)))
        waiter_ops.ready(w, c);
    c->active--;
    fail_waiters(c, EAGAIN);
    if (!c->is_connected)
        return;
    fallback_close_others(c);
    place(c);
}

static void on_connect_failed(struct client_connection *c, int error) {
    struct endpoint_runtime *e = c->endpoint;
    struct stats *s = stats_of(e);
    stats_add(error == ETIMEDOUT ? &s->origin_connect_timeouts_total : &s->origin_connect_failures_total, 1);
    list_remove(c);
    e->connections++; /* losing the last one would free the endpoint */
    lost(e);
    fallback_note_failed(c, error);
    fail_waiters(c, error);
    e->connections--;
    endpoint_forget_if_unused(e);
}

static void on_available(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    if (--c->active == 0 && c->next)
        count_idle(e, 1);
    place(c);
}

static void on_capacity(struct client_connection *c) {
    if (c->is_connected)
        place(c);
}

static void on_draining(struct client_connection *c) {
    c->is_draining = true;
    place(c);
}

static void on_closed(struct client_connection *c) {
    pool_withdraw(c);
    c->is_connected = false;
    lost(c->endpoint);
}

static const struct client_owner_ops owner_ops = {
    .on_connected = on_connected, .on_connect_failed = on_connect_failed, .on_available = on_available,
    .on_capacity = on_capacity, .on_draining = on_draining, .on_closed = on_closed,
};

/* ---- what the proxy wants ---- */

struct client_connection *pool_find(struct endpoint_runtime *e) {
    struct client_connection *c;
    while ((c = e->open.next) != &e->open) {
        if (!is_worn_out(c))
            return c;
        pool_withdraw(c);
        if (c->active == 0)
            pool_close(c);
    }
    return NULL;
}

struct leg *pool_open(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    c->codec->set_options(c, &e->cluster->options);
    struct leg *leg = c->codec->open(c);
    if (!leg)
        return NULL;
    bool was_offered = c->next; /* else it has just been made for this */
    if (c->exchanges++)
        stats_add(&stats_of(e)->origin_reuses_total, 1);
    if (c->active++ == 0 && was_offered)
        count_idle(e, -1);
    if (was_offered && (c->active >= c->capacity || is_worn_out(c)))
        list_remove(c);
    if (was_offered)
        fallback_note_used(c); /* now that it is not idle: room for another one is not made by closing it */
    return leg;
}

/* A connection that carries nothing gives its place to one that is needed elsewhere: of the endpoint that has had one for
 * longest, the one that was used longest ago. */
static bool close_some_idle(struct cluster_runtime *cluster) {
    struct endpoint_runtime *e = cluster->idle_first;
    if (!e)
        return false;
    struct client_connection *c = e->open.prev;
    while (c->active)
        c = c->prev;
    pool_close(c);
    return true;
}

/* 0, or -1 and errno: there are as many connections as there may be. */
static int count_connection(struct endpoint_runtime *e) {
    struct cluster_runtime *cluster = e->cluster;
    const struct breakers *b = &cluster->breakers;
    if (!breakers_take(&e->shared->connections, b->endpoint_connections)) {
        errno = EDQUOT;
        return -1;
    }
    if (breakers_take(&cluster->shared->connections, b->connections) ||
        (close_some_idle(cluster) && breakers_take(&cluster->shared->connections, b->connections)))
        return 0;
    breakers_give(&e->shared->connections);
    errno = EUSERS;
    return -1;
}

/* 0, or -1: a choice that the cluster has no more, while the endpoint could not be told for want of memory. */
static int choose_tls(const struct endpoint_runtime *e, struct client_options *options) {
    const struct cluster_runtime *cluster = e->cluster;
    uint32_t i = 0;
    if (e->tls_choice == 0)
        return 0;
    while (i < cluster->tls_choice_count && cluster->tls_choices[i].id != e->tls_choice)
        i++;
    if (i == cluster->tls_choice_count) {
        errno = ENOMEM;
        return -1;
    }
    options->tls = cluster->tls_choices[i].tcp;
    options->quic_tls = cluster->tls_choices[i].quic;
    return 0;
}

static struct client_connection *connect_new(struct endpoint_runtime *e, uint64_t connect_timeout,
                                             const struct client_codec *codec, struct str preamble) {
    struct cluster_runtime *cluster = e->cluster;
    struct client_options options = cluster->options;
    struct client_target target = {.address = &e->address, .hostname = e->hostname, .preamble = preamble, .endpoint = e};
    if (!options.connect_timeout)
        options.connect_timeout = connect_timeout;
    if (choose_tls(e, &options) < 0 || count_connection(e) < 0)
        return NULL;
    struct client_connection *c = codec->connect(cluster->worker, &target, &options, &owner_ops);
    if (!c) {
        breakers_give(&e->shared->connections);
        breakers_give(&cluster->shared->connections);
        stats_add(&stats_of(e)->origin_connect_failures_total, 1);
        return NULL;
    }
    stats_add(&stats_of(e)->origin_connects_total, 1);
    e->connections++;
    c->epoch = cluster->epoch;
    c->tls_choice = e->tls_choice;
    list_add(&e->connecting, c);
    return c;
}

/* Requests that are given up at once must not make a connection each. One that has been waited for in vain is no good for a
 * retry. */
static bool can_join(const struct endpoint_runtime *e, const struct client_connection *c) {
    if (is_worn_out(c))
        return false;
    if (c->capacity > 1)
        return c->waiting < EXPECTED_CAPACITY;
    return c->waiting == 0 && e->cluster->worker->now - c->opened_at < FRESH;
}

struct client_connection *pool_connect(struct endpoint_runtime *e, uint64_t connect_timeout, bool is_fallback) {
    const struct client_codec *codec = is_fallback ? e->cluster->fallback.codec : e->cluster->codec;
    struct client_connection *c = connect_new(e, connect_timeout, codec, STR(""));
    if (!c || !is_fallback)
        return c;
    c->is_fallback = true;
    stats_add(&stats_of(e)->origin_fallback_connects_total, 1);
    return c;
}

struct client_connection *pool_join(struct endpoint_runtime *e, uint64_t connect_timeout, bool is_fallback) {
    struct client_connection *c = e->connecting.next;
    while (c != &e->connecting && c->is_fallback != is_fallback)
        c = c->next;
    return c != &e->connecting && can_join(e, c) ? c : pool_connect(e, connect_timeout, is_fallback);
}

int pool_wait(struct endpoint_runtime *e, uint64_t connect_timeout, struct client_waiter *w) {
    if (e->cluster->fallback.codec)
        return fallback_wait(e, connect_timeout, w);
    struct client_connection *c = pool_join(e, connect_timeout, false);
    if (!c)
        return -1;
    pool_add_waiter(c, w);
    return 0;
}

int pool_wait_single(struct endpoint_runtime *e, uint64_t connect_timeout, const struct client_codec *codec,
                     struct str preamble, struct client_waiter *w) {
    struct client_connection *c = connect_new(e, connect_timeout, codec, preamble);
    if (!c)
        return -1;
    c->is_single = true;
    pool_add_waiter(c, w);
    return 0;
}

static bool is_any(const struct client_connection *c) {
    (void)c;
    return true;
}

static void close_idle(struct endpoint_runtime *e, bool (*is_meant)(const struct client_connection *)) {
    struct client_connection *c, *next;
    e->connections++; /* closing the last one would free the endpoint */
    for (c = e->open.next; c != &e->open; c = next) {
        next = c->next;
        if (!is_meant(c))
            continue;
        if (c->active == 0)
            pool_close(c);
        else
            pool_withdraw(c);
    }
    for (c = e->connecting.next; c != &e->connecting; c = next) {
        next = c->next;
        if (c->waiting == 0 && is_meant(c))
            pool_close(c);
    }
    e->connections--;
    endpoint_forget_if_unused(e);
}

void pool_close_idle(struct endpoint_runtime *e) {
    close_idle(e, is_any);
}

void pool_close_worn_out(struct endpoint_runtime *e) {
    close_idle(e, is_worn_out);
}
