/* Real workers and sockets: snapshots are switched under requests, none fails, and every old snapshot is freed.
 * labels: threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include "common/alloc.h"
#include "dataplane/snapshot/dataplane.h"
#include "dataplane/snapshot/listen_sockets.h"
#include "tests/unit/dataplane/net/watched.h"

enum { WORKERS = 2, SWITCHES = 60, CLIENTS = 4, RESOURCES = 4, REQUESTS_PER_SWITCH = 50 };

/* ---- sockets, in place of the holder's ---- */

struct listen_sockets {
    struct address address;
    int            fds[WORKERS];
};

unsigned listen_socket_count(const struct listen_sockets *s, const struct address *a) {
    return address_equal(&s->address, a) ? WORKERS : 0;
}

unsigned listen_udp_count(const struct listen_sockets *s, const struct address *a) {
    (void)s, (void)a;
    return 0;
}

struct held_socket listen_udp_socket(struct listen_sockets *s, const struct address *a, unsigned index) {
    (void)s, (void)a, (void)index;
    return (struct held_socket){.fd = -1};
}

const struct holder_udp *listen_sockets_steering(const struct listen_sockets *s) {
    (void)s;
    return NULL;
}

const struct address *listen_socket_bound(const struct listen_sockets *s, const struct address *a) {
    return listen_socket_count(s, a) ? a : NULL;
}

int listen_socket_fd(const struct listen_sockets *s, const struct address *a, unsigned index) {
    (void)a;
    return s->fds[index];
}

static int listen_on(struct address *a) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
    assert_int_equal(bind(fd, &a->u.any, a->length), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, &a->u.any, &a->length), 0);
    return fd;
}

static void set_nonblocking_listeners(struct listen_sockets *s) {
    assert_int_equal(address_parse(STR("127.0.0.1:0"), &s->address), 0);
    for (int i = 0; i < WORKERS; i++) {
        s->fds[i] = listen_on(&s->address);
        int on = 1;
        assert_int_equal(ioctl(s->fds[i], FIONBIO, &on), 0);
    }
}

/* ---- an origin that answers every head with its own number ---- */

struct origin {
    struct address address;
    int            fd;
    pthread_t      thread;
    char           text[ADDRESS_TEXT_MAX];
};

static bool read_head(int fd) {
    char bytes[4096];
    size_t n = 0;
    while (n < sizeof bytes) {
        ssize_t got = recv(fd, bytes + n, sizeof bytes - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        if (n >= 4 && memcmp(bytes + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static void *serve_connection(void *arg) {
    int fd = (int)(intptr_t)arg;
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    while (read_head(fd) && send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) > 0)
        ;
    close(fd);
    return NULL;
}

static void *serve(void *arg) {
    struct origin *o = arg;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (int fd; (fd = accept(o->fd, NULL, NULL)) >= 0;) {
        pthread_t t;
        if (pthread_create(&t, &detached, serve_connection, (void *)(intptr_t)fd) != 0)
            close(fd);
    }
    pthread_attr_destroy(&detached);
    return NULL;
}

static void origin_start(struct origin *o) {
    assert_int_equal(address_parse(STR("127.0.0.1:0"), &o->address), 0);
    o->fd = listen_on(&o->address);
    address_format(&o->address, o->text);
    assert_int_equal(pthread_create(&o->thread, NULL, serve, o), 0);
}

static void origin_stop(struct origin *o) {
    shutdown(o->fd, SHUT_RDWR);
    pthread_join(o->thread, NULL);
    close(o->fd);
}

/* ---- snapshots made by hand ---- */

struct parts {
    Headgate__Listener         listener;
    Headgate__RouteTable       table;
    Headgate__Host             host;
    Headgate__Rule             rule;
    Headgate__Forward          forward;
    Headgate__WeightedCluster  weighted;
    Headgate__Cluster          cluster;
    Headgate__EndpointSet      set;
    Headgate__Endpoint         endpoint;
    char                      *addresses[1], *domains[1], address[ADDRESS_TEXT_MAX];
    Headgate__Host            *hosts[1];
    Headgate__Rule            *rules[1];
    Headgate__WeightedCluster *clusters[1];
    Headgate__Endpoint        *endpoints[1];
    struct resource           *items[RESOURCES];
    struct resource_set        resources;
};

static struct resource *make_resource(Headgate__Kind kind, const char *name, ProtobufCMessage *m, unsigned number) {
    struct resource *r = calloc(1, sizeof *r + strlen(name) + 1);
    r->kind = kind;
    r->refcount = 1000000; /* the test's own */
    r->message = m;
    strcpy(r->name, name);
    memcpy(r->id.bytes, &number, sizeof number);
    return r;
}

static void fill_routes(struct parts *p) {
    headgate__route_table__init(&p->table);
    headgate__host__init(&p->host);
    headgate__rule__init(&p->rule);
    headgate__forward__init(&p->forward);
    headgate__weighted_cluster__init(&p->weighted);
    p->domains[0] = "*";
    p->weighted.name = "web";
    p->clusters[0] = &p->weighted, p->forward.clusters = p->clusters, p->forward.n_clusters = 1;
    p->rule.action_case = HEADGATE__RULE__ACTION_FORWARD, p->rule.forward = &p->forward;
    p->rules[0] = &p->rule, p->host.rules = p->rules, p->host.n_rules = 1;
    p->host.domains = p->domains, p->host.n_domains = 1;
    p->hosts[0] = &p->host, p->table.hosts = p->hosts, p->table.n_hosts = 1;
}

static void fill_rest(struct parts *p, const struct address *listen, char *endpoint) {
    headgate__listener__init(&p->listener);
    headgate__cluster__init(&p->cluster);
    headgate__endpoint_set__init(&p->set);
    headgate__endpoint__init(&p->endpoint);
    address_format(listen, p->address);
    p->addresses[0] = p->address, p->listener.addresses = p->addresses, p->listener.n_addresses = 1;
    p->listener.route_table = "site";
    p->endpoint.address = endpoint;
    p->endpoints[0] = &p->endpoint, p->set.endpoints = p->endpoints, p->set.n_endpoints = 1;
}

/* `number` makes route table and endpoints differ from those of another number. */
static void make_parts(struct parts *p, unsigned number, const struct address *listen, char *endpoint) {
    memset(p, 0, sizeof *p);
    fill_routes(p);
    fill_rest(p, listen, endpoint);
    p->items[0] = make_resource(HEADGATE__KIND__KIND_LISTENER, "front", &p->listener.base, 1);
    p->items[1] = make_resource(HEADGATE__KIND__KIND_ROUTE_TABLE, "site", &p->table.base, 2 + number);
    p->items[2] = make_resource(HEADGATE__KIND__KIND_CLUSTER, "web", &p->cluster.base, 3);
    p->items[3] = make_resource(HEADGATE__KIND__KIND_ENDPOINT_SET, "web", &p->set.base, 4 + number);
    p->resources.intent = (struct resource_part){.items = p->items, .count = RESOURCES};
}

static void free_parts(struct parts *p) {
    hg_free(p->resources.intent.users); /* snapshots that were built shared it */
    for (int i = 0; i < RESOURCES; i++)
        free(p->items[i]);
}

/* ---- clients ---- */

struct client {
    pthread_t             thread;
    struct address        to;
    _Atomic bool         *stop;
    _Atomic uint64_t     *all_done;    /* of all clients */
    uint64_t              done, failed;
};

static bool ask(int fd) {
    static const char request[] = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";
    char answer[1024];
    size_t n = 0;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        return false;
    while (n < sizeof answer) {
        ssize_t got = recv(fd, answer + n, sizeof answer - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        if (n > 6 && memcmp(answer + n - 4, "\r\nok", 4) == 0)
            return memcmp(answer, "HTTP/1.1 200", 12) == 0;
    }
    return false;
}

static void *run_client(void *arg) {
    struct client *c = arg;
    int fd = -1;
    while (!atomic_load(c->stop)) {
        if (fd < 0) {
            fd = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(fd, &c->to.u.any, c->to.length) < 0) {
                c->failed++;
                break;
            }
        }
        bool ok = ask(fd);
        c->done += ok;
        atomic_fetch_add(c->all_done, ok);
        c->failed += !ok;
        if (!ok || c->done % 50 == 0) {
            close(fd);
            fd = -1;
        }
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

/* ---- the test ---- */

struct fixture {
    struct ev_loop       *loop;
    struct dataplane     *dataplane;
    struct listen_sockets sockets;
    struct origin         origins[2];
    struct parts          parts[2];
    unsigned              switches;
    _Atomic bool          stop;
    _Atomic uint64_t      done;
    ev_timer              wait;
};

static void switch_next(struct fixture *f);

/* The next switch comes once every snapshot has served a few requests. */
static void on_wait(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)events;
    struct fixture *f = timer->data;
    if (atomic_load(&f->done) < f->switches * (uint64_t)REQUESTS_PER_SWITCH)
        return;
    ev_timer_stop(loop, timer);
    if (f->switches == SWITCHES)
        ev_break(loop, EVBREAK_ALL);
    else
        switch_next(f);
}

static void on_switched(void *arg, uint64_t us) {
    (void)us;
    struct fixture *f = arg;
    f->switches++;
    ev_timer_init(&f->wait, on_wait, 0.0005, 0.0005);
    f->wait.data = f;
    ev_timer_start(f->loop, &f->wait);
}

static void switch_next(struct fixture *f) {
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    struct resource_set *resources = &f->parts[f->switches % 2].resources;
    assert_int_equal(snapshot_build(resources, dataplane_snapshot(f->dataplane), &s, &errors), 0);
    assert_int_equal(dataplane_switch(f->dataplane, s, &f->sockets, on_switched, f), 0);
    error_list_finish(&errors);
}

static void set_up(struct fixture *f) {
    memset(f, 0, sizeof *f);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    set_nonblocking_listeners(&f->sockets);
    for (unsigned i = 0; i < 2; i++) {
        origin_start(&f->origins[i]);
        make_parts(&f->parts[i], i * 10, &f->sockets.address, f->origins[i].text);
    }
    f->dataplane = dataplane_create(f->loop, WORKERS);
    assert_non_null(f->dataplane);
}

static void tear_down(struct fixture *f) {
    dataplane_destroy(f->dataplane);
    for (int i = 0; i < 2; i++) {
        origin_stop(&f->origins[i]);
        free_parts(&f->parts[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        if (f->sockets.fds[i] >= 0)
            close(f->sockets.fds[i]);
    ev_loop_destroy(f->loop);
}

static void no_request_fails_while_snapshots_switch(void **state) {
    (void)state;
    struct fixture f;
    struct client clients[CLIENTS] = {0};
    uint64_t done = 0;
    set_up(&f);
    switch_next(&f);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].to = f.sockets.address;
        clients[i].stop = &f.stop;
        clients[i].all_done = &f.done;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    ev_run(f.loop, 0);
    atomic_store(&f.stop, true);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].failed, 0);
        done += clients[i].done;
    }
    assert_int_equal(f.switches, SWITCHES);
    print_message("%llu requests during %d switches\n", (unsigned long long)done, SWITCHES);
    tear_down(&f);
}

static void on_drained(void *arg) {
    struct fixture *f = arg;
    ev_break(f->loop, EVBREAK_ALL);
}

static void stop_after_first(void *arg, uint64_t us) {
    (void)us;
    ev_break(((struct fixture *)arg)->loop, EVBREAK_ALL);
}

static void draining_lets_an_open_connection_finish(void **state) {
    (void)state;
    struct fixture f;
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    set_up(&f);
    assert_int_equal(snapshot_build(&f.parts[0].resources, NULL, &s, &errors), 0);
    assert_int_equal(dataplane_switch(f.dataplane, s, &f.sockets, stop_after_first, &f), 0);
    ev_run(f.loop, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, &f.sockets.address.u.any, f.sockets.address.length), 0);
    assert_true(ask(fd));
    dataplane_drain(f.dataplane, 60000000, on_drained, &f);
    while (ask(fd)) /* the first one after the drain began is answered with Connection: close, and the connection ends */
        ;
    close(fd);
    ev_run(f.loop, 0);
    assert_true(dataplane_is_draining(f.dataplane));
    tear_down(&f);
}

/* Each allocation of the messages fails once; the same snapshot is then switched to after all. */
static void a_switch_without_memory_can_be_tried_again(void **state) {
    (void)state;
    struct fixture f;
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    int status = -1;
    long failures = 0;
    set_up(&f);
    assert_int_equal(snapshot_build(&f.parts[0].resources, NULL, &s, &errors), 0);
    for (; status < 0; failures++) {
        hg_alloc_fail_at(failures, 1);
        status = dataplane_switch(f.dataplane, s, &f.sockets, stop_after_first, &f);
        hg_alloc_fail_at(-1, 0);
        assert_true(failures < 100);
    }
    assert_true(failures > WORKERS);
    ev_run(f.loop, 0);
    assert_ptr_equal(dataplane_snapshot(f.dataplane), s);
    tear_down(&f);
}

static void switch_at_once(struct fixture *f, struct resource_set *resources) {
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    assert_int_equal(snapshot_build(resources, dataplane_snapshot(f->dataplane), &s, &errors), 0);
    assert_int_equal(dataplane_switch(f->dataplane, s, &f->sockets, stop_after_first, f), 0);
    ev_run(f->loop, 0);
}

/* A worker that still had a socket in its epoll set would be woken by connections, for which there is no owner any more, and
 * remove it then: while this thread closes it, as the thread sanitizer says. */
static void sockets_may_be_closed_once_the_switch_is_reported(void **state) {
    (void)state;
    enum { LATE = 32 };
    struct fixture f;
    int late[LATE];
    set_up(&f);
    switch_at_once(&f, &f.parts[0].resources);
    struct resource_set without_listener = {.intent = {.items = f.parts[0].items + 1, .count = RESOURCES - 1}};
    switch_at_once(&f, &without_listener);
    for (int i = 0; i < LATE; i++) { /* for each of the sockets that share the port */
        late[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(late[i], &f.sockets.address.u.any, f.sockets.address.length), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        while (is_watched(f.sockets.fds[i]))
            ;
        close(f.sockets.fds[i]);
        f.sockets.fds[i] = -1;
    }
    for (int i = 0; i < LATE; i++)
        close(late[i]);
    tear_down(&f);
    hg_free(without_listener.intent.users);
}

static void never_switched(void *arg, uint64_t us) {
    (void)arg;
    (void)us;
    fail();
}

/* The workers end with the switch, or parts of it, in their mailboxes. */
static void a_switch_on_its_way_does_not_outlive_the_workers(void **state) {
    (void)state;
    struct fixture f;
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    set_up(&f);
    assert_int_equal(snapshot_build(&f.parts[0].resources, NULL, &s, &errors), 0);
    assert_int_equal(dataplane_switch(f.dataplane, s, &f.sockets, never_switched, &f), 0);
    tear_down(&f);
}

static void a_reference_to_nothing_is_refused_by_name(void **state) {
    (void)state;
    struct parts p;
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    struct address listen;
    char endpoint[] = "127.0.0.1:1";
    assert_int_equal(address_parse(STR("127.0.0.1:8080"), &listen), 0);
    make_parts(&p, 0, &listen, endpoint);
    p.weighted.name = "nowhere";
    p.listener.route_table = "nothing";
    assert_int_equal(snapshot_build(&p.resources, NULL, &s, &errors), -1);
    assert_null(s);
    assert_int_equal(errors.count, 2);
    assert_string_equal(errors.items[0].resource, "route-table/site");
    assert_string_equal(errors.items[1].resource, "listener/front");
    error_list_finish(&errors);
    free_parts(&p);
}

static void building_survives_every_failed_allocation(void **state) {
    (void)state;
    struct parts p;
    struct address listen;
    char endpoint[] = "127.0.0.1:1";
    assert_int_equal(address_parse(STR("127.0.0.1:8080"), &listen), 0);
    make_parts(&p, 0, &listen, endpoint);
    int status = -1;
    for (long i = 0; status < 0; i++) {
        struct snapshot *s = NULL;
        struct error_list errors = {0};
        hg_alloc_fail_at(i, 0);
        status = snapshot_build(&p.resources, NULL, &s, &errors);
        hg_alloc_fail_at(-1, 0);
        assert_true(status == 0 || !error_list_is_empty(&errors));
        error_list_finish(&errors);
        snapshot_free(s);
        assert_true(i < 1000);
    }
    free_parts(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_request_fails_while_snapshots_switch),
        cmocka_unit_test(draining_lets_an_open_connection_finish),
        cmocka_unit_test(a_switch_without_memory_can_be_tried_again),
        cmocka_unit_test(sockets_may_be_closed_once_the_switch_is_reported),
        cmocka_unit_test(a_switch_on_its_way_does_not_outlive_the_workers),
        cmocka_unit_test(a_reference_to_nothing_is_refused_by_name),
        cmocka_unit_test(building_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
