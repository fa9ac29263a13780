/* Accepting, limits, and draining, with real sockets and a codec that only holds what it accepted. */
#include "tests/unit/dataplane/net/loop.h"

#include <sys/resource.h>

#include "dataplane/core/view.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/listener.h"
#include "tests/unit/dataplane/net/watched.h"

enum { MOST = 64 };

struct held {
    struct listener_connection membership; /* first */
    int fd;
    bool is_open, is_idle;
};

static struct listener_runtime *list;
static struct ip_caps *caps;
static struct held held[MOST];
static unsigned accepted, cut_count, quiet;
static bool refuses;
static struct snapshot_view view;
static int listening;
static struct address address;

static void close_one(struct listener_connection *c, bool only_idle);

static struct conn *accept_one(struct listener_runtime *l, const struct accepted *a) {
    static struct conn any; /* nobody looks into it */
    assert_true(a->peer.u.any.sa_family == AF_INET && accepted < MOST);
    if (refuses)
        return NULL;
    struct held *h = &held[accepted++];
    *h = (struct held){.fd = a->transport.fd, .is_open = true, .membership.close = close_one};
    listener_add(l, &h->membership, a->cap_slot);
    return &any;
}

static const struct server_codecs codecs = {.http1 = accept_one};
static const struct listener_opening plain = {.http1 = true};

static void close_held(struct held *h) {
    h->is_open = false;
    close(h->fd);
    listener_remove(&h->membership);
}

static void close_one(struct listener_connection *c, bool only_idle) {
    struct held *h = (struct held *)c;
    if (only_idle && !h->is_idle)
        return;
    cut_count++;
    close_held(h);
}

static void on_quiet(struct worker *w, struct snapshot_view *v) {
    assert_ptr_equal(w, &worker);
    assert_ptr_equal(v, &view);
    quiet++;
}

static int set_up(void **state) {
    accepted = cut_count = quiet = 0;
    refuses = false;
    view = (struct snapshot_view){.references = 1, .quiet = on_quiet};
    if (worker_set_up(state) < 0 || !(caps = ip_caps_create()))
        return -1;
    worker.view = &view;
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address = (struct address){.length = sizeof address.u.v4,
                               .u.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    if (bind(listening, &address.u.any, address.length) < 0 || listen(listening, MOST) < 0)
        return -1;
    return getsockname(listening, &address.u.any, &address.length);
}

static int tear_down(void **state) {
    for (unsigned i = 0; i < accepted; i++)
        if (held[i].is_open)
            close_held(&held[i]);
    while (list)
        listener_destroy(list);
    close(listening);
    ip_caps_destroy(caps);
    assert_int_equal(view.references, 1);
    assert_int_equal(stats_read(&worker.stats->connections), 0);
    return worker_tear_down(state);
}

static struct listener_runtime *listen_with(uint32_t per_ip, uint32_t limit) {
    struct listener_runtime *l = listener_create(&worker, &list, &address, &listening, 1, &codecs, caps);
    assert_non_null(l);
    listener_set_definition(l, NULL, &plain, per_ip, limit);
    return l;
}

static int connect_client(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &address.u.any, address.length), 0);
    return fd;
}

/* The gateway has closed this one without a byte. */
static bool is_closed(int fd) {
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    close(fd);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void connections_are_accepted_and_counted(void **state) {
    (void)state;
    struct listener_runtime *l = listen_with(10, 100);
    int a = connect_client(), b = connect_client();
    TURN_UNTIL(accepted == 2);
    assert_int_equal(l->open, 2);
    assert_int_equal(stats_read(&worker.stats->connections), 2);
    assert_int_equal(stats_read(&worker.stats->connections_total), 2);
    close_held(&held[0]);
    assert_int_equal(l->open, 1);
    assert_int_equal(stats_read(&worker.stats->connections), 1);
    close(a);
    close(b);
}

static void too_many_of_one_address_are_closed(void **state) {
    (void)state;
    listen_with(2, 100);
    int a = connect_client(), b = connect_client(), c = connect_client();
    TURN_UNTIL(accepted == 2 && stats_read(&worker.stats->connections_refused_per_ip_total) == 1);
    assert_true(is_closed(c));
    close_held(&held[0]);
    int d = connect_client();
    TURN_UNTIL(accepted == 3);
    close(a);
    close(b);
    close(d);
}

static void too_many_of_all_are_closed(void **state) {
    (void)state;
    listen_with(100, 1);
    int a = connect_client(), b = connect_client();
    TURN_UNTIL(accepted == 1 && stats_read(&worker.stats->connections_refused_limit_total) == 1);
    assert_true(is_closed(b));
    close(a);
}

static void what_the_codec_cannot_take_is_closed_and_not_counted(void **state) {
    (void)state;
    listen_with(1, 100);
    refuses = true;
    assert_int_equal(stats_read(&worker.stats->connections_total), 0);
    for (int i = 0; i < 3; i++) {
        int fd = connect_client();
        turn();
        assert_true(is_closed(fd));
    }
    refuses = false;
    int fd = connect_client();
    TURN_UNTIL(accepted == 1);
    close(fd);
}

static void another_definition_counts_at_once_and_lets_the_old_view_go(void **state) {
    (void)state;
    struct snapshot_view newer = {.references = 1, .quiet = on_quiet};
    struct listener_runtime *l = listen_with(1, 100);
    int a = connect_client();
    TURN_UNTIL(accepted == 1);
    assert_int_equal(view.references, 2);
    worker.view = &newer;
    listener_set_definition(l, NULL, &plain, 2, 100);
    assert_int_equal(view.references, 1);
    assert_int_equal(newer.references, 2);
    int b = connect_client();
    TURN_UNTIL(accepted == 2);
    assert_true(held[0].is_open);
    close_held(&held[0]);
    close_held(&held[1]);
    listener_destroy(l);
    assert_int_equal(newer.references, 1);
    close(a);
    close(b);
}

static void draining_stops_accepting_and_ends_with_the_last_connection(void **state) {
    (void)state;
    struct listener_runtime *l = listen_with(10, 100);
    int a = connect_client(), b = connect_client();
    TURN_UNTIL(accepted == 2);
    listener_drain(l, 3600000000);
    listener_drain(l, 1);
    int late = connect_client();
    turn();
    assert_int_equal(accepted, 2);
    close_held(&held[1]);
    assert_ptr_equal(list, l);
    close_held(&held[0]);
    assert_null(list);
    assert_int_equal(cut_count, 0);
    assert_int_equal(worker.wheel.count, 0);
    close(a);
    close(b);
    close(late);
}

/* Whoever owns the sockets may close them at once, on any thread. */
static void draining_lets_the_sockets_go(void **state) {
    (void)state;
    struct listener_runtime *l = listen_with(10, 100);
    int a = connect_client();
    TURN_UNTIL(accepted == 1);
    assert_true(is_watched(listening));
    listener_drain(l, 3600000000);
    assert_ptr_equal(list, l);
    assert_false(is_watched(listening));
    close_held(&held[0]);
    close(a);
}

static void several_sockets_are_accepted_from(void **state) {
    (void)state;
    int both[] = {listening, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    struct address other = {.length = sizeof other.u.v4,
                            .u.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(both[1], &other.u.any, other.length), 0);
    assert_int_equal(listen(both[1], MOST), 0);
    assert_int_equal(getsockname(both[1], &other.u.any, &other.length), 0);
    struct listener_runtime *l = listener_create(&worker, &list, &address, both, 2, &codecs, caps);
    assert_non_null(l);
    listener_set_definition(l, NULL, &plain, 10, 100);
    int a = connect_client(), b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TURN_UNTIL(accepted == 1);
    assert_int_equal(connect(b, &other.u.any, other.length), 0);
    TURN_UNTIL(accepted == 2);
    listener_drain(l, 3600000000);
    assert_false(is_watched(both[0]) || is_watched(both[1]));
    close(both[1]);
    close(a);
    close(b);
}

static void drain_timeout_cuts_what_is_left(void **state) {
    (void)state;
    struct listener_runtime *l = listen_with(10, 100);
    int a = connect_client(), b = connect_client();
    TURN_UNTIL(accepted == 2);
    listener_drain(l, 0);
    TURN_UNTIL(cut_count == 2);
    assert_null(list);
    assert_true(is_closed(a) && is_closed(b));
}

static void draining_closes_what_is_idle_at_once(void **state) {
    (void)state;
    struct listener_runtime *l = listen_with(10, 100);
    int a = connect_client(), b = connect_client();
    TURN_UNTIL(accepted == 2);
    held[0].is_idle = true;
    listener_drain(l, 3600000000);
    assert_true(is_closed(a));
    assert_true(held[1].is_open);
    assert_ptr_equal(list, l);
    close_held(&held[1]);
    assert_null(list);
    l = listen_with(10, 100);
    int c = connect_client();
    TURN_UNTIL(accepted == 3);
    held[2].is_idle = true;
    listener_drain(l, 3600000000); /* nobody is left */
    assert_null(list);
    close(b);
    close(c);
}

static void idle_listener_is_gone_when_it_drains(void **state) {
    (void)state;
    struct listener_runtime *first = listen_with(1, 1);
    struct listener_runtime *second = listener_create(&worker, &list, &address, &listening, 0, &codecs, caps);
    struct listener_runtime *third = listener_create(&worker, &list, &address, &listening, 0, &codecs, caps);
    assert_ptr_equal(list, third);
    listener_drain(second, 1000);
    assert_ptr_equal(list, third);
    assert_ptr_equal(third->next, first);
    listener_drain(third, 1000);
    assert_ptr_equal(list, first);
    listener_destroy(NULL);
}

/* Without descriptors left accepting pauses instead of spinning, and goes on by itself. */
static void lack_of_descriptors_pauses(void **state) {
    (void)state;
    struct rlimit old, low;
    listen_with(100, 100);
    int a = connect_client();
    TURN_UNTIL(accepted == 1);
    int b = connect_client();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 3; /* all that are open stay open */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    TURN_UNTIL(stats_read(&worker.stats->connections_accept_errors_total));
    for (int i = 0; i < 10; i++)
        turn();
    uint64_t errors = stats_read(&worker.stats->connections_accept_errors_total);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    TURN_UNTIL(accepted == 2);
    assert_true(errors < 5);
    close(a);
    close(b);
}

/* The end of the pause is not moved by a second socket that has someone waiting, too. */
static void lack_of_descriptors_pauses_all_sockets_once(void **state) {
    (void)state;
    struct rlimit old, low;
    int other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct address at = {.length = sizeof at.u.v4,
                         .u.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(other, &at.u.any, at.length), 0);
    assert_int_equal(listen(other, MOST), 0);
    assert_int_equal(getsockname(other, &at.u.any, &at.length), 0);
    const int both[] = {listening, other};
    struct listener_runtime *l = listener_create(&worker, &list, &address, both, 2, &codecs, caps);
    assert_non_null(l);
    int a = connect_client(), b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(b, &at.u.any, at.length), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    TURN_UNTIL(stats_read(&worker.stats->connections_accept_errors_total));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(stats_read(&worker.stats->connections_accept_errors_total), 1);
    assert_true(ev_timer_remaining(worker.loop, &l->pause) >= 0);
    close(a);
    close(b);
    close(other);
}

static void listener_without_memory_or_descriptors(void **state) {
    (void)state;
    struct rlimit old, low;
    hg_alloc_fail_at(0, 0);
    assert_null(listener_create(&worker, &list, &address, &listening, 1, &codecs, caps));
    hg_alloc_fail_at(-1, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_null(listener_create(&worker, &list, &address, &listening, 1, &codecs, caps));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_null(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connections_are_accepted_and_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_of_one_address_are_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_of_all_are_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_codec_cannot_take_is_closed_and_not_counted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_definition_counts_at_once_and_lets_the_old_view_go, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(draining_stops_accepting_and_ends_with_the_last_connection, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(draining_lets_the_sockets_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_sockets_are_accepted_from, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drain_timeout_cuts_what_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(draining_closes_what_is_idle_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_listener_is_gone_when_it_drains, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lack_of_descriptors_pauses_all_sockets_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lack_of_descriptors_pauses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(listener_without_memory_or_descriptors, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
