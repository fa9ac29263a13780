/* pool.c — connections to endpoints: kept ones last in, first out; new ones for whoever waits. */
#include <errno.h>

#include "dataplane/back/cluster.h"

static struct pool_waiter_ops waiters;

void pool_set_waiter_ops(const struct pool_waiter_ops *ops) {
    waiters = *ops;
}

static void list_push(struct endpoint_runtime *e, struct client_connection *c) {
    c->next = e->idle.next;
    c->prev = &e->idle;
    c->next->prev = c;
    e->idle.next = c;
    e->idle_count++;
    stats_add(&e->cluster->worker->stats->origin_idle_connections, 1);
}

static void list_remove(struct endpoint_runtime *e, struct client_connection *c) {
    c->prev->next = c->next;
    c->next->prev = c->prev;
    c->next = c->prev = NULL;
    e->idle_count--;
    stats_sub(&e->cluster->worker->stats->origin_idle_connections, 1);
}

static void lost(struct endpoint_runtime *e) {
    e->connections--;
    if (e->is_retired && e->connections == 0)
        endpoint_forget(e);
}

static void close_connection(struct endpoint_runtime *e, struct client_connection *c) {
    e->cluster->codec->close(c);
    lost(e);
}

static void on_available(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    const struct cluster_runtime *cluster = e->cluster;
    bool is_old = cluster->connection_lifetime && cluster->worker->now - c->opened_at > cluster->connection_lifetime;
    bool is_used_up = c->exchanges >= cluster->requests_per_connection;
    if (e->is_retired || is_old || is_used_up || e->idle_count >= cluster->idle_connections) {
        close_connection(e, c);
        return;
    }
    list_push(e, c);
    cluster->codec->rest(c, cluster->idle_timeout);
}

static void on_connected(struct client_connection *c) {
    void *waiter = c->waiter;
    c->waiter = NULL;
    if (!waiter || !waiters.ready(waiter, c))
        on_available(c);
}

static void on_connect_failed(struct client_connection *c, int error) {
    struct endpoint_runtime *e = c->endpoint;
    struct stats *s = e->cluster->worker->stats;
    void *waiter = c->waiter;
    stats_add(error == ETIMEDOUT ? &s->origin_connect_timeouts_total : &s->origin_connect_failures_total, 1);
    c->waiter = NULL;
    lost(e);
    if (waiter)
        waiters.failed(waiter, error);
}

static void on_closed(struct client_connection *c) {
    struct endpoint_runtime *e = c->endpoint;
    if (c->next)
        list_remove(e, c);
    lost(e);
}

static const struct client_owner_ops owner_ops = {
    .on_connected = on_connected, .on_connect_failed = on_connect_failed, .on_available = on_available, .on_closed = on_closed,
};

struct client_connection *pool_take(struct endpoint_runtime *e) {
    struct client_connection *c = e->idle.next;
    if (c == &e->idle)
        return NULL;
    list_remove(e, c);
    e->cluster->codec->set_options(c, &e->cluster->options);
    stats_add(&e->cluster->worker->stats->origin_reuses_total, 1);
    return c;
}

struct client_connection *pool_connect(struct endpoint_runtime *e, uint64_t connect_timeout, void *waiter) {
    struct cluster_runtime *cluster = e->cluster;
    struct client_options options = cluster->options;
    if (!options.connect_timeout)
        options.connect_timeout = connect_timeout;
    struct client_connection *c =
        cluster->codec->connect(cluster->worker, &e->address, &options, &owner_ops, e);
    if (!c) {
        stats_add(&cluster->worker->stats->origin_connect_failures_total, 1);
        return NULL;
    }
    stats_add(&cluster->worker->stats->origin_connects_total, 1);
    e->connections++;
    c->waiter = waiter;
    return c;
}

void pool_forget_waiter(struct client_connection *c) {
    c->waiter = NULL;
}

void pool_close_idle(struct endpoint_runtime *e) {
    struct client_connection *c;
    uint32_t left = e->idle_count; /* closing the last one may free the endpoint */
    while (left-- > 0) {
        c = e->idle.next;
        list_remove(e, c);
        close_connection(e, c);
    }
}
