/* checked.h — servers on the test's own loop that answer as they are told and count what they saw, and a checker that
 * checks them.
 *
 * The checker has a thread of its own, so everything here may be simple: the test's loop runs until what is awaited has
 * come. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "common/address.h"
#include "common/alloc.h"
#include "controlplane/health/health.h"

enum { CONNECTIONS = 512, REQUEST_MAX = 4096, CHANGES_MAX = 4096, GUARD_SECONDS = 60 };

enum { UNKNOWN = HEADGATE__ENDPOINT__HEALTH__UNKNOWN, HEALTHY = HEADGATE__ENDPOINT__HEALTH__HEALTHY,
       UNHEALTHY = HEADGATE__ENDPOINT__HEALTH__UNHEALTHY };

/* ---- a server ---- */

struct server;

struct connection {
    ev_io          io;
    struct server *server;
    SSL           *ssl;
    char           in[REQUEST_MAX];
    size_t         in_n;
    size_t         dripped;
};

struct server {
    struct ev_loop *loop;
    ev_io           io;
    ev_timer        drip;
    unsigned        port;
    SSL_CTX        *tls;
    /* What it does. */
    const char     *response;           /* to each head of a request; NULL: silence */
    size_t          response_n;         /* 0: strlen */
    bool            closes, resets;     /* instead of an answer where there is none, else after it */
    bool            drips;              /* one byte of the answer in 20 ms */
    bool            speaks_first;       /* the response is sent when somebody connects */
    /* What it saw. */
    unsigned        accepted, requests, open;
    char            last[REQUEST_MAX];  /* request */
    struct connection *connections[CONNECTIONS];
};

static inline void connection_close(struct connection *c, bool is_reset) {
    const struct linger now = {1, 0};
    struct server *s = c->server;
    if (is_reset)
        setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ev_io_stop(s->loop, &c->io);
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->io.fd);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (s->connections[i] == c)
            s->connections[i] = NULL;
    s->open--;
    free(c);
}

static inline void connection_put(struct connection *c, const void *bytes, size_t n) {
    if (c->ssl)
        SSL_write(c->ssl, bytes, (int)n);
    else
        (void)!send(c->io.fd, bytes, n, MSG_NOSIGNAL); /* short ones are fine: the peer has had enough then */
}

static inline void connection_answer(struct connection *c) {
    struct server *s = c->server;
    size_t n = s->response ? s->response_n ? s->response_n : strlen(s->response) : 0;
    if (s->drips && s->response) {
        ev_timer_again(s->loop, &s->drip);
        return;
    }
    if (n > 0)
        connection_put(c, s->response, n);
    if (s->closes || s->resets)
        connection_close(c, s->resets);
}

static inline void connection_on_request(struct connection *c) {
    struct server *s = c->server;
    s->requests++;
    memcpy(s->last, c->in, c->in_n);
    s->last[c->in_n] = '\0';
    c->in_n = 0;
    connection_answer(c);
}

static inline void connection_on_io(struct ev_loop *loop, ev_io *io, int events) {
    struct connection *c = io->data;
    (void)loop;
    (void)events;
    size_t room = REQUEST_MAX - 1 - c->in_n;
    ssize_t n = c->ssl ? SSL_read(c->ssl, c->in + c->in_n, (int)room) : read(io->fd, c->in + c->in_n, room);
    if (n <= 0) {
        connection_close(c, false);
        return;
    }
    c->in_n += (size_t)n;
    c->in[c->in_n] = '\0';
    if (strstr(c->in, "\r\n\r\n") || strstr(c->in, "PING\n"))
        connection_on_request(c);
}

/* The peer is on another thread, so the handshake may block. False: it failed. */
static inline bool connection_handshake(struct connection *c) {
    c->ssl = c->server->tls ? SSL_new(c->server->tls) : NULL;
    if (!c->ssl)
        return true;
    SSL_set_fd(c->ssl, c->io.fd);
    return SSL_accept(c->ssl) == 1;
}

static inline void server_on_accept(struct ev_loop *loop, ev_io *io, int events) {
    struct server *s = io->data;
    int fd = accept(io->fd, NULL, NULL);
    (void)events;
    if (fd < 0)
        return;
    struct connection *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->server = s;
    ev_io_init(&c->io, connection_on_io, fd, EV_READ);
    c->io.data = c;
    s->accepted++;
    s->open++;
    size_t i = 0;
    while (i < CONNECTIONS - 1 && s->connections[i])
        i++;
    assert_null(s->connections[i]);
    s->connections[i] = c;
    if (!connection_handshake(c)) {
        connection_close(c, false);
        return;
    }
    ev_io_start(loop, &c->io);
    if (s->speaks_first)
        connection_answer(c);
}

static inline void server_on_drip(struct ev_loop *loop, ev_timer *timer, int events) {
    struct server *s = timer->data;
    size_t n = strlen(s->response);
    (void)loop;
    (void)events;
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (s->connections[i] && s->connections[i]->dripped < n)
            connection_put(s->connections[i], &s->response[s->connections[i]->dripped++], 1);
}

static inline void server_listen(struct server *s, struct ev_loop *loop, const struct address *at) {
    const int on = 1;
    struct sockaddr_in bound;
    socklen_t n = sizeof bound;
    int fd = socket(at->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, &at->u.any, at->length), 0);
    assert_int_equal(listen(fd, 1024), 0);
    if (at->u.any.sa_family == AF_INET && getsockname(fd, (struct sockaddr *)&bound, &n) == 0)
        s->port = ntohs(bound.sin_port);
    s->loop = loop;
    ev_io_init(&s->io, server_on_accept, fd, EV_READ);
    s->io.data = s;
    ev_io_start(loop, &s->io);
    ev_timer_init(&s->drip, server_on_drip, 0, 0.02);
    s->drip.data = s;
}

/* On every address 127.x.y.z, with `port` or one that the system picks. */
static inline void server_start(struct server *s, struct ev_loop *loop, unsigned port) {
    struct address any;
    char text[32];
    snprintf(text, sizeof text, "0.0.0.0:%u", port);
    assert_int_equal(address_parse(str_of(text), &any), 0);
    server_listen(s, loop, &any);
}

static inline void server_drop_connections(struct server *s) {
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (s->connections[i])
            connection_close(s->connections[i], false);
}

/* Nobody listens there any more. */
static inline void server_stop(struct server *s) {
    server_drop_connections(s);
    ev_timer_stop(s->loop, &s->drip);
    if (ev_is_active(&s->io)) {
        ev_io_stop(s->loop, &s->io);
        close(s->io.fd);
    }
}

/* ---- a checker ---- */

struct seen_change {
    char    address[64], reason[256];
    uint8_t health;
};

struct checked {
    struct ev_loop     *loop;
    struct health      *health;
    struct server       server;
    Headgate__HealthCheck check;
    Headgate__HttpCheck http;
    Headgate__TcpCheck  tcp;
    Headgate__GrpcCheck grpc;
    Headgate__TlsCheck  tls_check;
    Headgate__ClientTls tls;
    struct health_way   way;
    Headgate__MetadataEntry **metadata;     /* of all endpoints */
    size_t              metadata_count;
    struct error_list   errors;
    struct seen_change  changes[CHANGES_MAX];
    size_t              count, batches;
    bool                is_guarded;
    ev_timer            guard;
    struct str          trust, pair;        /* secrets: what the name "pair" leads to, and every other name */
};

static inline void checked_on_changed(void *context, const struct health_change *changes, size_t count) {
    struct checked *c = context;
    assert_true(count > 0);
    c->batches++;
    for (size_t i = 0; i < count && c->count < CHANGES_MAX; i++) {
        struct seen_change *seen = &c->changes[c->count++];
        snprintf(seen->address, sizeof seen->address, "%s", changes[i].address);
        snprintf(seen->reason, sizeof seen->reason, "%s", changes[i].reason ? changes[i].reason : "");
        seen->health = (uint8_t)changes[i].health;
        assert_int_equal(health_of(c->health, changes[i].cluster, changes[i].address), changes[i].health);
    }
}

static inline struct str checked_secret(void *context, const char *name) {
    struct checked *c = context;
    return strcmp(name, "pair") == 0 ? c->pair : c->trust;
}

static inline void checked_on_guard(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)timer;
    (void)events;
    fail_msg("nothing came within %d s", GUARD_SECONDS);
}

static inline void checked_begin(struct checked *c, size_t descriptors) {
    const struct health_config config = {.loop = c->loop, .context = c, .changed = checked_on_changed,
                                         .secret = checked_secret, .descriptors = descriptors};
    c->health = health_create(&config, &c->errors);
    assert_non_null(c->health);
}

/* A server that answers with 200, and a checker without clusters: HTTP, every 50 ms, one failure suffices. */
static inline struct checked *checked_create(void) {
    struct checked *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->loop = ev_loop_new(0);
    assert_non_null(c->loop);
    server_start(&c->server, c->loop, 0);
    c->server.response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    headgate__health_check__init(&c->check);
    headgate__http_check__init(&c->http);
    headgate__tcp_check__init(&c->tcp);
    headgate__grpc_check__init(&c->grpc);
    headgate__tls_check__init(&c->tls_check);
    headgate__client_tls__init(&c->tls);
    c->check.kind_case = HEADGATE__HEALTH_CHECK__KIND_HTTP;
    c->check.http = &c->http;
    c->check.has_interval = c->check.has_unhealthy_interval = c->check.has_timeout = c->check.has_unhealthy_after = true;
    c->check.interval = c->check.unhealthy_interval = 50000;
    c->check.timeout = 10000000;
    c->check.unhealthy_after = 1;
    c->check.has_healthy_after = true;
    c->check.healthy_after = 1;
    c->way = (struct health_way){.check = &c->check, .protocol = HEADGATE__CLUSTER__PROTOCOL__HTTP1};
    ev_init(&c->guard, checked_on_guard);
    ev_timer_set(&c->guard, GUARD_SECONDS, 0);
    ev_timer_start(c->loop, &c->guard);
    checked_begin(c, 0);
    return c;
}

static inline void checked_destroy(struct checked *c) {
    health_destroy(c->health);
    server_stop(&c->server);
    ev_timer_stop(c->loop, &c->guard);
    ev_loop_destroy(c->loop);
    error_list_finish(&c->errors);
    free(c);
}

/* Sets cluster "c" to these addresses, hostname "site.test" where `has_name`. */
static inline int checked_try(struct checked *c, const char *const *addresses, size_t count, bool has_name) {
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    Headgate__Endpoint *items = calloc(count + 1, sizeof *items);
    set.endpoints = calloc(count + 1, sizeof *set.endpoints);
    set.n_endpoints = count;
    for (size_t i = 0; i < count; i++) {
        headgate__endpoint__init(&items[i]);
        items[i].address = (char *)(uintptr_t)addresses[i];
        items[i].hostname = has_name ? (char *)(uintptr_t)"site.test" : NULL;
        items[i].metadata = c->metadata;
        items[i].n_metadata = c->metadata_count;
        set.endpoints[i] = &items[i];
    }
    int status = health_set_cluster(c->health, "c", &c->way, &set, &c->errors);
    free(set.endpoints);
    free(items);
    return status;
}

static inline const char *checked_one(struct checked *c, bool has_name) {
    static char address[32];
    const char *addresses[] = {address};
    snprintf(address, sizeof address, "127.0.0.1:%u", c->server.port);
    assert_int_equal(checked_try(c, addresses, 1, has_name), 0);
    return address;
}

/* Runs the loop until `cond`. */
#define RUN_UNTIL(c, cond) \
    do { \
        while (!(cond)) \
            ev_run((c)->loop, EVRUN_ONCE); \
    } while (0)

static inline void expect_healthy(struct checked *c, bool has_name) {
    size_t before = c->count;
    const char *address = checked_one(c, has_name);
    RUN_UNTIL(c, c->count > before);
    if (c->changes[before].health != HEALTHY)
        fail_msg("unhealthy: %s", c->changes[before].reason);
    assert_int_equal(health_of(c->health, "c", address), HEALTHY);
}

static inline void expect_unhealthy(struct checked *c, bool has_name, const char *reason) {
    size_t before = c->count;
    uint64_t at = 0;
    const char *address = checked_one(c, has_name);
    RUN_UNTIL(c, c->count > before);
    assert_string_equal(c->changes[before].reason, reason);
    assert_int_equal(c->changes[before].health, UNHEALTHY);
    assert_string_equal(health_last_failure(c->health, "c", address, &at), reason);
    assert_true(at > 0);
}
