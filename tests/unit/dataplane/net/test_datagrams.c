/* What serves datagrams comes, stays, leaves and comes back with the definitions of its listener, and its socket is used as
 * long as anything of it is left. labels: threads */
#include <pthread.h>

#include "tests/unit/dataplane/net/loop.h"

#include "dataplane/core/view.h"
#include "dataplane/net/datagrams.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/listener.h"

enum { DRAIN = 3600000000 };

/* A server with connections that end when they are told to. */
struct fake {
    struct datagram_server server; /* first */
    unsigned connections, renewals;
    bool is_stopped, is_destroyed;
};

struct held {
    struct listener_connection membership; /* first */
    struct fake *fake;
    bool is_idle, is_open;
};

static struct listener_runtime *list;
static struct ip_caps *caps;
static struct fake fakes[8];
static unsigned opened, releases;
static bool refuses;
static struct snapshot_view view;
static struct socket_use uses[2];
static struct held_socket sockets[2];
static const struct address address = {.length = sizeof address.u.v4, .u.v4 = {.sin_family = AF_INET}};

static struct datagram_server *open_fake(struct listener_runtime *l, int fd) {
    assert_non_null(l);
    assert_true(fd == sockets[0].fd || fd == sockets[1].fd);
    return refuses ? NULL : &fakes[opened++].server;
}

static void renew_fake(struct datagram_server *s) {
    ((struct fake *)s)->renewals++;
}

static void stop_fake(struct datagram_server *s) {
    struct fake *f = (struct fake *)s;
    f->is_stopped = true;
    if (f->connections == 0)
        datagrams_ended(s);
}

static void resume_fake(struct datagram_server *s) {
    assert_true(((struct fake *)s)->is_stopped);
    ((struct fake *)s)->is_stopped = false;
}

static void destroy_fake(struct datagram_server *s) {
    ((struct fake *)s)->is_destroyed = true;
}

static const struct datagram_ops ops = {.open = open_fake, .renew = renew_fake, .stop = stop_fake, .resume = resume_fake,
                                        .destroy = destroy_fake};
static const struct datagram_ops others = {.open = open_fake, .renew = renew_fake, .stop = stop_fake, .resume = resume_fake,
                                           .destroy = destroy_fake};
static const struct server_codecs codecs = {0};
static const struct listener_opening opening = {.http1 = true};

static void close_held(struct held *h) {
    struct fake *f = h->fake;
    h->is_open = false;
    listener_remove(&h->membership);
    if (f && --f->connections == 0 && f->is_stopped)
        datagrams_ended(&f->server);
}

static void close_one(struct listener_connection *c, bool only_idle) {
    struct held *h = (struct held *)c;
    if (!only_idle || h->is_idle)
        close_held(h);
}

/* A connection of the server, or, without one, over TCP. */
static void add(struct held *h, struct listener_runtime *l, struct fake *f) {
    *h = (struct held){.membership = {.close = close_one, .is_datagram = f != NULL}, .fake = f, .is_open = true};
    listener_add(l, &h->membership, IP_CAP_UNCOUNTED);
    if (f)
        f->connections++;
}

static void on_release(void *owner) {
    assert_ptr_equal(owner, &releases);
    releases++;
}

static void ignore_view(struct worker *w, struct snapshot_view *v) {
    (void)w, (void)v;
}

static int set_up(void **state) {
    opened = releases = 0;
    refuses = false;
    memset(fakes, 0, sizeof fakes);
    view = (struct snapshot_view){.references = 1, .quiet = ignore_view};
    if (worker_set_up(state) < 0 || !(caps = ip_caps_create()))
        return -1;
    worker.view = &view;
    for (int i = 0; i < 2; i++) {
        uses[i] = (struct socket_use){.on_release = on_release, .owner = &releases};
        sockets[i] = (struct held_socket){1000 + i, &uses[i]};
    }
    return 0;
}

static int tear_down(void **state) {
    while (list)
        listener_destroy(list);
    for (unsigned i = 0; i < opened; i++)
        assert_true(fakes[i].is_destroyed);
    assert_int_equal(uses[0].users + uses[1].users + uses[0].busy + uses[1].busy, 0);
    assert_int_equal(releases, opened);
    assert_int_equal(view.references, 1);
    ip_caps_destroy(caps);
    return worker_tear_down(state);
}

/* As a switch does it. */
static void define(struct listener_runtime *l, const struct datagram_ops *wanted, unsigned count) {
    datagrams_part(l, &list, wanted, sockets, count, DRAIN);
    listener_set_definition(l, NULL, &opening, 10, 100);
    datagrams_serve(l, list, wanted, sockets, count);
    listeners_free_done(list);
}

static struct listener_runtime *listen_with(const struct datagram_ops *wanted, unsigned count) {
    struct listener_runtime *l = listener_create(&worker, &list, &address, NULL, 0, &codecs, caps);
    assert_non_null(l);
    define(l, wanted, count);
    return l;
}

static void sockets_are_served_and_stay(void **state) {
    (void)state;
    struct listener_runtime *l = listen_with(&ops, 2);
    assert_int_equal(opened, 2);
    assert_int_equal(uses[0].users, 1);
    assert_int_equal(uses[1].users, 1);
    define(l, &ops, 2);
    assert_int_equal(opened, 2);
    assert_int_equal(fakes[0].renewals, 1);
    assert_int_equal(fakes[1].renewals, 1);
    assert_ptr_equal(list, l);
    assert_null(l->next);
}

static void idle_server_ends_when_it_is_not_wanted(void **state) {
    (void)state;
    struct held tcp;
    struct listener_runtime *l = listen_with(&ops, 1);
    add(&tcp, l, NULL);
    define(l, NULL, 0);
    assert_true(fakes[0].is_destroyed);
    assert_int_equal(uses[0].users, 0);
    assert_int_equal(releases, 1);
    assert_null(l->datagrams);
    assert_null(list->next); /* no other listener is left behind */
    assert_int_equal(l->open, 1);
    close_held(&tcp);
}

static void connections_leave_with_their_server_and_others_stay(void **state) {
    (void)state;
    struct held tcp, busy, idle;
    struct listener_runtime *l = listen_with(&ops, 1);
    add(&tcp, l, NULL);
    add(&busy, l, &fakes[0]);
    add(&idle, l, &fakes[0]);
    idle.is_idle = true;
    tcp.is_idle = true;
    define(l, NULL, 0);
    assert_false(idle.is_open);
    assert_true(busy.is_open && tcp.is_open);
    assert_int_equal(l->open, 1);
    assert_ptr_not_equal(busy.membership.listener, l);
    assert_true(busy.membership.listener->is_draining);
    assert_false(l->is_draining);
    assert_int_equal(uses[0].users, 1); /* the busy one's packets come through it */
    close_held(&busy);
    assert_int_equal(uses[0].users, 0);
    assert_ptr_equal(list, l);
    assert_null(l->next);
    close_held(&tcp);
}

static void server_comes_back_while_it_drains(void **state) {
    (void)state;
    struct held busy;
    struct listener_runtime *l = listen_with(&ops, 1);
    add(&busy, l, &fakes[0]);
    define(l, NULL, 0);
    assert_true(fakes[0].is_stopped);
    define(l, &ops, 1);
    assert_int_equal(opened, 1);
    assert_false(fakes[0].is_stopped);
    assert_int_equal(fakes[0].renewals, 1);
    assert_ptr_equal(fakes[0].server.listener, l);
    assert_true(busy.membership.listener->is_draining); /* the connection ends as it was told */
    close_held(&busy);
    assert_ptr_equal(list, l);
    assert_null(l->next);
    assert_int_equal(uses[0].users, 1);
}

static void listener_that_drains_hands_its_server_to_the_next(void **state) {
    (void)state;
    struct held busy;
    struct listener_runtime *l = listen_with(&ops, 1);
    add(&busy, l, &fakes[0]);
    listener_drain(l, DRAIN);
    struct listener_runtime *next = listen_with(&ops, 1);
    assert_int_equal(opened, 1);
    assert_ptr_equal(fakes[0].server.listener, next);
    close_held(&busy);
    assert_ptr_equal(list, next);
    assert_null(next->next);
}

/* Its worker is not the last one. */
static void ended_server_waits_for_those_of_other_workers(void **state) {
    (void)state;
    uses[0].busy++;
    struct listener_runtime *l = listen_with(&ops, 1);
    define(l, NULL, 0);
    assert_true(fakes[0].is_stopped);
    assert_false(fakes[0].is_destroyed);
    assert_int_equal(uses[0].busy, 1);
    define(l, &ops, 1);
    assert_false(fakes[0].is_stopped);
    assert_int_equal(uses[0].busy, 2);
    define(l, NULL, 0);
    for (int i = 0; i < 10; i++)
        turn();
    assert_false(fakes[0].is_destroyed);
    uses[0].busy--;
    TURN_UNTIL(fakes[0].is_destroyed);
    assert_int_equal(releases, 1);
    assert_ptr_equal(list, l);
    assert_null(l->next);
}

static void another_kind_of_server_takes_the_socket(void **state) {
    (void)state;
    struct held busy;
    struct listener_runtime *l = listen_with(&ops, 1);
    add(&busy, l, &fakes[0]);
    fakes[0].is_stopped = false;
    define(l, &others, 1);
    assert_true(fakes[0].is_destroyed);
    assert_int_equal(opened, 2);
    assert_ptr_equal(l->datagrams, &fakes[1].server);
    assert_int_equal(uses[0].users, 1);
    busy.fake = NULL; /* its server is gone */
    close_held(&busy);
    assert_ptr_equal(list, l);
    assert_null(l->next);
}

static void what_is_left_is_cut_in_the_end(void **state) {
    (void)state;
    struct held busy;
    struct listener_runtime *l = listen_with(&ops, 1);
    add(&busy, l, &fakes[0]);
    datagrams_part(l, &list, NULL, NULL, 0, 1000);
    TURN_UNTIL(!busy.is_open);
    assert_ptr_equal(list, l);
    assert_null(l->next);
}

static void *free_when_unused(void *use) {
    while (atomic_load_explicit(&((struct socket_use *)use)->users, memory_order_acquire) > 0)
        ;
    hg_free(use);
    return NULL;
}

/* The main thread looks when it likes, not only when it is told to. */
static void use_may_be_freed_as_soon_as_nobody_is_left(void **state) {
    (void)state;
    struct listener_runtime *l = listener_create(&worker, &list, &address, NULL, 0, &codecs, caps);
    pthread_t thread;
    sockets[0].use = hg_calloc(1, sizeof *sockets[0].use);
    assert_non_null(sockets[0].use);
    *sockets[0].use = uses[0];
    define(l, &ops, 1);
    assert_int_equal(pthread_create(&thread, NULL, free_when_unused, sockets[0].use), 0);
    define(l, NULL, 0);
    pthread_join(thread, NULL);
    assert_int_equal(releases, 1);
}

static void without_memory_there_is_none(void **state) {
    (void)state;
    struct held busy;
    struct listener_runtime *l = listener_create(&worker, &list, &address, NULL, 0, &codecs, caps);
    refuses = true;
    define(l, &ops, 1);
    assert_null(l->datagrams);
    assert_int_equal(uses[0].users, 0);
    refuses = false;
    define(l, &ops, 1);
    add(&busy, l, &fakes[0]);
    hg_alloc_fail_at(0, 0); /* no listener to drain on: it ends at once */
    datagrams_part(l, &list, NULL, NULL, 0, DRAIN);
    hg_alloc_fail_at(-1, 0);
    assert_true(fakes[0].is_destroyed);
    assert_null(l->datagrams);
    busy.fake = NULL;
    close_held(&busy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sockets_are_served_and_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_server_ends_when_it_is_not_wanted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_leave_with_their_server_and_others_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(server_comes_back_while_it_drains, set_up, tear_down),
        cmocka_unit_test_setup_teardown(listener_that_drains_hands_its_server_to_the_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ended_server_waits_for_those_of_other_workers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_kind_of_server_takes_the_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_left_is_cut_in_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(use_may_be_freed_as_soon_as_nobody_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_there_is_none, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
