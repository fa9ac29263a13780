/* Snapshots with very many listeners: each address is found by its key, and workers keep those that stay.
 * labels: threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

#include "common/alloc.h"
#include "dataplane/snapshot/dataplane.h"
#include "dataplane/snapshot/listen_sockets.h"

enum { WORKERS = 2, THOUSANDS = 2000, OPEN = 300, MOVED = 100, NAME = 64 };

/* ---- sockets, in place of the holder's: one for each address ---- */

struct listen_sockets {
    struct address addresses[OPEN + MOVED];
    int            fds[OPEN + MOVED];
};

static size_t index_of(const struct listen_sockets *s, const struct address *a) {
    size_t i = 0;
    while (!address_equal(&s->addresses[i], a))
        i++;
    return i;
}

unsigned listen_socket_count(const struct listen_sockets *s, const struct address *a) {
    return s->fds[index_of(s, a)] >= 0;
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
    assert_int_equal(index, 0);
    return s->fds[index_of(s, a)];
}

static void open_sockets(struct listen_sockets *s) {
    for (unsigned i = 0; i < OPEN + MOVED; i++) {
        char text[NAME];
        snprintf(text, sizeof text, "unix:@headgate-many-%ld-%u", (long)getpid(), i);
        assert_int_equal(address_parse(str_of(text), &s->addresses[i]), 0);
        s->fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(s->fds[i], &s->addresses[i].u.any, s->addresses[i].length), 0);
        assert_int_equal(listen(s->fds[i], 4), 0);
    }
}

static void close_sockets(struct listen_sockets *s) {
    for (unsigned i = 0; i < OPEN + MOVED; i++)
        close(s->fds[i]);
}

/* ---- a set of many listeners, and one route table that answers 204 ---- */

struct many {
    Headgate__Listener   listeners[THOUSANDS];
    char                *addresses[THOUSANDS], texts[THOUSANDS][ADDRESS_TEXT_MAX];
    struct resource     *items[THOUSANDS + 1];
    struct resource_set  resources;
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

static ProtobufCMessage *answering(void) {
    static Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    static Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    static Headgate__Rule rule = HEADGATE__RULE__INIT, *rules[] = {&rule};
    static Headgate__Respond respond = HEADGATE__RESPOND__INIT;
    static char *domains[] = {"*"};
    if (table.n_hosts) /* workers may still read it */
        return &table.base;
    respond.has_status = true, respond.status = 204;
    rule.action_case = HEADGATE__RULE__ACTION_RESPOND, rule.respond = &respond;
    host.rules = rules, host.n_rules = 1, host.domains = domains, host.n_domains = 1;
    table.hosts = hosts, table.n_hosts = 1;
    return &table.base;
}

/* Their texts are there already. */
static struct many *make_many(struct many *m, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char name[NAME];
        headgate__listener__init(&m->listeners[i]);
        m->addresses[i] = m->texts[i];
        m->listeners[i].addresses = &m->addresses[i], m->listeners[i].n_addresses = 1;
        m->listeners[i].route_table = "site";
        snprintf(name, sizeof name, "l%05zu", i);
        m->items[i] = make_resource(HEADGATE__KIND__KIND_LISTENER, name, &m->listeners[i].base, (unsigned)i);
    }
    m->items[count] = make_resource(HEADGATE__KIND__KIND_ROUTE_TABLE, "site", answering(), THOUSANDS);
    m->resources.intent = (struct resource_part){.items = m->items, .count = count + 1};
    return m;
}

static void free_many(struct many *m) {
    for (size_t i = 0; i < m->resources.intent.count; i++)
        free(m->items[i]);
    hg_free(m->resources.intent.users); /* snapshots that were built shared it */
    free(m);
}

/* ---- building ---- */

static void write_address(struct many *m, size_t i) {
    static const char *const hosts[] = {"127.0.0.1:", "[::1]:", "unix:@", "127.0.0.2:"};
    snprintf(m->texts[i], sizeof m->texts[i], "%s%zu", hosts[i % 4], i / 4 + 1);
}

static void each_of_thousands_is_found(void **state) {
    (void)state;
    struct many *m = calloc(1, sizeof *m);
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    for (size_t i = 0; i < THOUSANDS; i++)
        write_address(m, i);
    make_many(m, THOUSANDS);
    assert_int_equal(snapshot_build(&m->resources, NULL, &s, &errors), 0);
    assert_int_equal(s->address_count, THOUSANDS);
    assert_int_equal(s->by_address[0].count, THOUSANDS);
    for (size_t i = 0; i < THOUSANDS; i++) {
        const struct served_address *a = map_get(&s->by_address[0], address_key(&s->addresses[i].address));
        assert_ptr_equal(a, &s->addresses[i]);
        assert_true(str_eq(a->listener->name, str_of(m->items[i]->name)));
    }
    snapshot_free(s);
    free_many(m);
}

static void the_same_address_twice_is_refused(void **state) {
    (void)state;
    struct many *m = calloc(1, sizeof *m);
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    for (size_t i = 0; i < THOUSANDS; i++)
        write_address(m, i);
    strcpy(m->texts[THOUSANDS - 1], m->texts[0]);
    strcpy(m->texts[THOUSANDS - 2], "[0:0:0:0:0:0:0:1]:1"); /* as the second, written otherwise */
    make_many(m, THOUSANDS);
    assert_int_equal(snapshot_build(&m->resources, NULL, &s, &errors), -1);
    assert_int_equal(errors.count, 2);
    assert_string_equal(errors.items[0].resource, "listener/l01998");
    assert_string_equal(errors.items[1].resource, "listener/l01999");
    assert_string_equal(errors.items[1].path, "addresses[0]");
    error_list_finish(&errors);
    free_many(m);
}

/* ---- serving ---- */

static bool answers(const struct address *a) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    char answer[16] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, &a->u.any, a->length) == 0 &&
              send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1 &&
              recv(fd, answer, 12, MSG_WAITALL) == 12;
    close(fd);
    return ok && memcmp(answer, "HTTP/1.1 204", 12) == 0;
}

static void on_switched(void *arg, uint64_t us) {
    (void)us;
    ev_break(arg, EVBREAK_ALL);
}

static struct many *serve(struct ev_loop *loop, struct dataplane *d, struct listen_sockets *sockets, size_t from) {
    struct many *m = calloc(1, sizeof *m);
    struct snapshot *s = NULL;
    struct error_list errors = {0};
    for (size_t i = 0; i < OPEN; i++)
        address_format(&sockets->addresses[from + i], m->texts[i]);
    make_many(m, OPEN);
    assert_int_equal(snapshot_build(&m->resources, dataplane_snapshot(d), &s, &errors), 0);
    assert_int_equal(dataplane_switch(d, s, sockets, on_switched, loop), 0);
    ev_run(loop, 0);
    for (size_t i = 0; i < OPEN; i++)
        assert_true(answers(&sockets->addresses[from + i]));
    return m;
}

/* The second snapshot has most of the first one's, and others; the third is the first again. */
static void workers_keep_what_stays_and_open_what_is_new(void **state) {
    (void)state;
    struct listen_sockets sockets;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct dataplane *d = dataplane_create(loop, WORKERS);
    struct many *served[3];
    open_sockets(&sockets);
    for (size_t i = 0; i < 3; i++)
        served[i] = serve(loop, d, &sockets, i == 1 ? MOVED : 0);
    dataplane_destroy(d);
    close_sockets(&sockets);
    for (size_t i = 0; i < 3; i++)
        free_many(served[i]);
    ev_loop_destroy(loop);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    struct many *m = calloc(1, sizeof *m);
    struct snapshot *s = NULL;
    for (size_t i = 0; i < 40; i++)
        write_address(m, i);
    make_many(m, 40);
    for (long n = 0; !s; n++) {
        struct error_list errors = {0};
        hg_alloc_fail_at(n, 0);
        int status = snapshot_build(&m->resources, NULL, &s, &errors);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(status, s ? 0 : -1);
        error_list_finish(&errors);
    }
    assert_int_equal(s->by_address[0].count, 40);
    snapshot_free(s);
    free_many(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_thousands_is_found),
        cmocka_unit_test(the_same_address_twice_is_refused),
        cmocka_unit_test(workers_keep_what_stays_and_open_what_is_new),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("many listeners", tests, NULL, NULL);
}
