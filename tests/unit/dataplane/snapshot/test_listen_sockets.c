/* Listening sockets, with the holder's answering side at the other end of the socket pair, in the same
 * loop. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <cmocka.h>
#include <ev.h>

#include "common/alloc.h"
#include "dataplane/holder/requests.h"
#include "dataplane/quic/ids.h"
#include "dataplane/snapshot/holder_client.h"
#include "dataplane/snapshot/listen_sockets.h"
#include "tests/unit/dataplane/snapshot/manifest_set.h"

static struct ev_loop *loop;
static struct requests holder;
static ev_io holder_watcher;
static struct holder_client *client;
static struct listen_sockets *sockets;
static struct error_list errors;
static int dones, losses;

static void serve(struct ev_loop *l, ev_io *watcher, int events) {
    (void)events;
    if (requests_serve(&holder, watcher->fd) < 0)
        ev_io_stop(l, watcher);
}

static void on_lost(void *owner) {
    (void)owner;
    losses++;
    ev_break(loop, EVBREAK_ONE);
}

static void on_done(void *arg) {
    (void)arg;
    dones++;
    ev_break(loop, EVBREAK_ONE);
}

static int set_up(void **state) {
    (void)state;
    int pair[2];
    loop = ev_loop_new(0);
    dones = losses = 0;
    holder = (struct requests){.state_dir = -1, .sockets.sockets_max = 100};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    ev_io_init(&holder_watcher, serve, pair[1], EV_READ);
    ev_io_start(loop, &holder_watcher);
    client = holder_client_create(loop, pair[0], on_lost, NULL);
    sockets = listen_sockets_create(client, loop, 2);
    return client && sockets ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    listen_sockets_destroy(sockets);
    holder_client_destroy(client);
    requests_finish(&holder);
    ev_io_stop(loop, &holder_watcher);
    close(holder_watcher.fd);
    ev_loop_destroy(loop);
    error_list_finish(&errors);
    return 0;
}

/* Everything that was asked is answered. */
static void settle(void) {
    for (int i = 0; i < 20; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static struct address address_of(const char *text) {
    struct address a;
    assert_int_equal(address_parse(str_of(text), &a), 0);
    return a;
}

static struct resource_set *listeners(const char *first, const char *second) {
    struct manifest m = {0};
    if (first)
        made_listener(&m, "one", first);
    if (second)
        made_listener(&m, "two", second);
    manifest_seal(&m, 1, 1);
    return manifest_set(&m);
}

static void prepare(struct resource_set *set) {
    int before = dones;
    listen_sockets_prepare(sockets, set, &errors, on_done, NULL);
    if (dones == before)
        ev_run(loop, 0);
    assert_int_equal(dones, before + 1);
}

static int connect_to(const struct address *a) {
    int fd = socket(a->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = connect(fd, &a->u.any, a->length) < 0 ? errno : 0;
    close(fd);
    return error;
}

static void sockets_of_every_address_are_there_when_it_is_done(void **state) {
    (void)state;
    struct resource_set *set = listeners("127.0.0.1:0", "127.0.0.2:0");
    struct address a = address_of("127.0.0.1:0");
    assert_int_equal(listen_socket_count(sockets, &a), 0);
    prepare(set);
    assert_true(error_list_is_empty(&errors));
    assert_int_equal(listen_socket_count(sockets, &a), 2);
    assert_true(listen_socket_fd(sockets, &a, 1) >= 0);
    assert_int_equal(listen_socket_fd(sockets, &a, 2), -1);
    assert_true(address_port(listen_socket_bound(sockets, &a)) > 0);
    assert_int_equal(connect_to(listen_socket_bound(sockets, &a)), 0);
    resource_set_unref(set);
}

static void address_that_leaves_is_closed_and_the_others_stay(void **state) {
    (void)state;
    struct resource_set *both = listeners("127.0.0.1:0", "127.0.0.2:0"),
                        *one = listeners("127.0.0.1:0", NULL);
    struct address a = address_of("127.0.0.1:0"), b = address_of("127.0.0.2:0");
    prepare(both);
    listen_sockets_release(sockets, both);
    int fd = listen_socket_fd(sockets, &a, 0);
    struct address bound_b = *listen_socket_bound(sockets, &b);
    prepare(one);
    assert_int_equal(listen_socket_count(sockets, &b), 2); /* still serving */
    listen_sockets_release(sockets, one);
    settle();
    assert_int_equal(listen_socket_count(sockets, &b), 0);
    assert_int_equal(connect_to(&bound_b), ECONNREFUSED);
    assert_int_equal(listen_socket_fd(sockets, &a, 0), fd);
    assert_int_equal(holder.sockets.addresses, 1);
    resource_set_unref(both);
    resource_set_unref(one);
}

static void abort_closes_what_was_added(void **state) {
    (void)state;
    struct resource_set *one = listeners("127.0.0.1:0", NULL),
                        *both = listeners("127.0.0.1:0", "127.0.0.2:0");
    struct address a = address_of("127.0.0.1:0"), b = address_of("127.0.0.2:0");
    prepare(one);
    listen_sockets_release(sockets, one);
    prepare(both);
    listen_sockets_abort(sockets);
    settle();
    assert_int_equal(listen_socket_count(sockets, &a), 2);
    assert_int_equal(listen_socket_count(sockets, &b), 0);
    assert_int_equal(holder.sockets.addresses, 1);
    resource_set_unref(one);
    resource_set_unref(both);
}

static void abort_before_the_answer_leaves_nothing(void **state) {
    (void)state;
    struct resource_set *one = listeners("127.0.0.1:0", NULL);
    listen_sockets_prepare(sockets, one, &errors, on_done, NULL);
    listen_sockets_abort(sockets);
    settle();
    assert_int_equal(dones, 0);
    assert_int_equal(holder.sockets.addresses, 0);
    prepare(one); /* and it can be asked for again */
    assert_true(error_list_is_empty(&errors));
    resource_set_unref(one);
}

static void address_in_use_names_listener_and_field(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0"), taken = {.length = sizeof taken.u};
    char text[ADDRESS_TEXT_MAX];
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, &any.u.any, any.length), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, &taken.u.any, &taken.length), 0);
    address_format(&taken, text);
    struct resource_set *set = listeners("127.0.0.2:0", text);
    prepare(set);
    assert_int_equal(errors.count, 1);
    assert_int_equal(errors.items[0].code, ERROR_ADDRESS_IN_USE);
    assert_string_equal(errors.items[0].resource, "listener/two");
    assert_string_equal(errors.items[0].path, "addresses[0]");
    listen_sockets_abort(sockets);
    settle();
    assert_int_equal(holder.sockets.addresses, 0);
    close(other);
    resource_set_unref(set);
}

/* ---- UDP ---- */

enum { TCP = 1, UDP = 2 };

static Headgate__QuicServerId *server_id;   /* of the listener; NULL: none */

static struct resource_set *listener_over(unsigned transports, const char *address, uint64_t receive_buffer) {
    struct manifest m = {0};
    Headgate__Listener listener = HEADGATE__LISTENER__INIT;
    Headgate__QuicOptions quic = HEADGATE__QUIC_OPTIONS__INIT;
    Headgate__Listener__Protocol protocols[] = {HEADGATE__LISTENER__PROTOCOL__HTTP1, HEADGATE__LISTENER__PROTOCOL__HTTP3};
    char *addresses[] = {(char *)address};
    listener.addresses = addresses;
    listener.n_addresses = 1;
    listener.protocols = protocols + (transports & TCP ? 0 : 1);
    listener.n_protocols = transports == (TCP | UDP) ? 2 : 1;
    listener.quic = &quic;
    quic.server_id = server_id;
    quic.has_receive_buffer = 1;
    quic.receive_buffer = receive_buffer;
    made_set(&m.intent, HEADGATE__KIND__KIND_LISTENER, "one", &listener.base);
    manifest_seal(&m, 1, 1);
    return manifest_set(&m);
}

static void serve_set(struct resource_set *set) {
    prepare(set);
    assert_true(error_list_is_empty(&errors));
    listen_sockets_release(sockets, set);
    settle();
    resource_set_unref(set);
}

static uint16_t port_of(int fd) {
    struct address a = {.length = sizeof a.u};
    assert_int_equal(getsockname(fd, &a.u.any, &a.length), 0);
    return address_port(&a);
}

static int type_of(int fd) {
    int type;
    socklen_t n = sizeof type;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n), 0);
    return type;
}

static void udp_has_the_port_of_tcp(void **state) {
    (void)state;
    struct address a = address_of("127.0.0.1:0");
    assert_null(listen_sockets_steering(sockets));
    serve_set(listener_over(TCP | UDP, "127.0.0.1:0", 100000));
    assert_int_equal(listen_socket_count(sockets, &a), 2);
    assert_int_equal(listen_udp_count(sockets, &a), 2);
    int tcp = listen_socket_fd(sockets, &a, 0), udp = listen_udp_socket(sockets, &a, 1).fd;
    assert_int_equal(type_of(tcp), SOCK_STREAM);
    assert_int_equal(type_of(udp), SOCK_DGRAM);
    assert_int_equal(port_of(udp), port_of(tcp));
    assert_int_equal(address_port(listen_socket_bound(sockets, &a)), port_of(tcp));
    assert_int_equal(listen_udp_socket(sockets, &a, 2).fd, -1);
    assert_non_null(listen_sockets_steering(sockets));
    serve_set(listener_over(UDP, "127.0.0.1:0", 100000)); /* TCP goes, and nothing else changes */
    assert_int_equal(listen_socket_count(sockets, &a), 0);
    assert_int_equal(listen_udp_socket(sockets, &a, 1).fd, udp);
    assert_int_equal(address_port(listen_socket_bound(sockets, &a)), port_of(udp));
    assert_int_equal(holder.sockets.addresses, 1);
}

static void udp_comes_to_tcp_that_is_there(void **state) {
    (void)state;
    struct address a = address_of("127.0.0.1:0");
    serve_set(listener_over(TCP, "127.0.0.1:0", 100000));
    assert_int_equal(listen_udp_count(sockets, &a), 0);
    serve_set(listener_over(TCP | UDP, "127.0.0.1:0", 100000));
    assert_int_equal(port_of(listen_udp_socket(sockets, &a, 0).fd), port_of(listen_socket_fd(sockets, &a, 0)));
    serve_set(listener_over(UDP, "127.0.0.3:0", 100000)); /* alone it has a port of its own */
    a = address_of("127.0.0.3:0");
    assert_true(address_port(listen_socket_bound(sockets, &a)) > 0);
    assert_int_equal(holder.sockets.addresses, 1);
}

static void udp_address_in_use_says_so(void **state) {
    (void)state;
    struct address any = address_of("127.0.0.1:0"), taken = {.length = sizeof taken.u};
    char text[ADDRESS_TEXT_MAX];
    int other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, &any.u.any, any.length), 0);
    assert_int_equal(getsockname(other, &taken.u.any, &taken.length), 0);
    address_format(&taken, text);
    struct resource_set *set = listener_over(TCP | UDP, text, 100000);
    prepare(set);
    assert_int_equal(errors.count, 1);
    assert_int_equal(errors.items[0].code, ERROR_ADDRESS_IN_USE);
    assert_non_null(strstr(errors.items[0].message, "is in use for UDP"));
    assert_string_equal(errors.items[0].path, "addresses[0]");
    listen_sockets_abort(sockets);
    settle();
    assert_int_equal(holder.sockets.addresses, 0);
    close(other);
    resource_set_unref(set);
}

/* TCP is refused: UDP, which waits for its port, is not asked for, and one error says it. */
static void udp_that_waits_for_tcp_ends_with_it(void **state) {
    (void)state;
    struct resource_set *set = listener_over(TCP | UDP, "192.0.2.1:0", 100000);
    prepare(set);
    assert_int_equal(errors.count, 1);
    listen_sockets_abort(sockets);
    listen_sockets_prepare(sockets, set, &errors, on_done, NULL);
    listen_sockets_abort(sockets); /* before the answer */
    settle();
    assert_int_equal(holder.sockets.addresses, 0);
    resource_set_unref(set);
}

static void udp_stays_as_long_as_it_is_used(void **state) {
    (void)state;
    struct address a = address_of("127.0.0.1:0");
    struct resource_set *again = listener_over(TCP | UDP, "127.0.0.1:0", 100000);
    serve_set(listener_over(TCP | UDP, "127.0.0.1:0", 100000));
    struct held_socket held = listen_udp_socket(sockets, &a, 0);
    held.use->users = 1;
    serve_set(listener_over(TCP, "127.0.0.1:0", 100000));
    assert_int_equal(holder.sockets.addresses, 2);
    prepare(again); /* wanted again, and then not */
    held.use->users = 0;
    held.use->on_release(held.use->owner);
    settle();
    assert_int_equal(listen_udp_socket(sockets, &a, 0).fd, held.fd);
    held.use->users = 1;
    listen_sockets_abort(sockets);
    assert_int_equal(listen_udp_socket(sockets, &a, 0).fd, held.fd);
    serve_set(again); /* wanted again: the same sockets */
    assert_int_equal(listen_udp_socket(sockets, &a, 0).fd, held.fd);
    serve_set(listener_over(TCP, "127.0.0.1:0", 100000));
    held.use->users = 0;
    held.use->on_release(held.use->owner);
    settle();
    assert_int_equal(listen_udp_count(sockets, &a), 0);
    assert_int_equal(holder.sockets.addresses, 1);
}

static int receive_buffer(int fd) {
    int bytes;
    socklen_t n = sizeof bytes;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &n), 0);
    return bytes;
}

static void buffers_are_asked_for_and_change(void **state) {
    (void)state;
    struct address a = address_of("127.0.0.1:0");
    serve_set(listener_over(UDP, "127.0.0.1:0", 20000));
    int fd = listen_udp_socket(sockets, &a, 1).fd, before = receive_buffer(fd);
    assert_in_range(before, 20000, 2 * 20000);
    serve_set(listener_over(UDP, "127.0.0.1:0", 50000));
    assert_int_equal(listen_udp_socket(sockets, &a, 1).fd, fd);
    assert_in_range(receive_buffer(fd), 50000, 2 * 50000);
}

enum { SENDERS = 20 };

/* From so many ports, with IDs that name the second worker: how many of them come to its socket. */
static unsigned count_steered(const struct quic_server_id *id) {
    struct address a = address_of("127.0.0.1:0");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[] = {listen_udp_socket(sockets, &a, 0).fd, listen_udp_socket(sockets, &a, 1).fd};
    const struct held_udp *udp = &holder.sockets.udp;
    unsigned char datagram[64] = {0x40};
    struct quic_ids ids;
    unsigned count = 0;
    to.sin_port = htons(port_of(fds[0]));
    assert_int_equal(quic_ids_init(&ids, udp->key, udp->generation, id), 0);
    for (int i = 0; i < SENDERS; i++) {
        int sender = socket(AF_INET, SOCK_DGRAM, 0);
        assert_true(quic_ids_make(&ids, 1, datagram + 1));
        assert_int_equal(sendto(sender, datagram, sizeof datagram, 0, (struct sockaddr *)&to, sizeof to), sizeof datagram);
        close(sender);
    }
    quic_ids_finish(&ids);
    while (recv(fds[0], datagram, sizeof datagram, MSG_DONTWAIT) > 0)
        ;
    while (recv(fds[1], datagram, sizeof datagram, MSG_DONTWAIT) > 0)
        count++;
    return count;
}

static void a_server_id_that_changes_is_steered_by(void **state) {
    (void)state;
    Headgate__QuicServerId id = HEADGATE__QUIC_SERVER_ID__INIT;
    const struct quic_server_id none = {0}, long_one = {.id = {1, 2, 3, 4}, .id_n = 4, .nonce_n = 12};
    holder.sockets.udp.most = STEERING_CLASSIC;
    id.id = (char *)"01020304";
    id.has_nonce_length = 1;
    id.nonce_length = 12;
    serve_set(listener_over(UDP, "127.0.0.1:0", 20000));
    assert_int_equal(count_steered(&none), SENDERS);
    server_id = &id;
    serve_set(listener_over(UDP, "127.0.0.1:0", 20000));
    server_id = NULL;
    assert_int_equal(count_steered(&long_one), SENDERS);
}

static void udp_with_every_allocation_failed_in_turn(void **state) {
    (void)state;
    struct resource_set *set = listener_over(TCP | UDP, "127.0.0.1:0", 100000);
    bool is_good = false;
    for (long nth = 0; !is_good; nth++) {
        error_list_finish(&errors);
        hg_alloc_fail_at(nth, 0);
        prepare(set);
        hg_alloc_fail_at(-1, 0);
        is_good = error_list_is_empty(&errors);
        if (!is_good)
            listen_sockets_abort(sockets);
    }
    serve_set(set);
    assert_int_equal(holder.sockets.addresses, 2);
}

/* ---- beside the admin listener ---- */

static struct address admin_bound;

static void on_admin_socket(void *owner, struct holder_answer *answer) {
    (void)owner;
    assert_int_equal(answer->error, 0);
    assert_int_equal(answer->count, 1);
    admin_bound = answer->address;
}

static void listen_for_admin(const char *text) {
    struct address asked = address_of(text);
    admin_bound = (struct address){0};
    assert_int_equal(holder_listen_admin(client, &asked, 64, on_admin_socket, NULL), 0);
    settle();
    assert_true(admin_bound.length > 0);
}

static void address_of_the_admin_listener_is_in_use(void **state) {
    (void)state;
    char text[ADDRESS_TEXT_MAX];
    listen_for_admin("127.0.0.1:0");
    address_format(&admin_bound, text);
    struct resource_set *set = listeners(text, NULL);
    prepare(set);
    assert_int_equal(errors.items[0].code, ERROR_ADDRESS_IN_USE);
    listen_sockets_abort(sockets);
    settle();
    assert_int_equal(holder.sockets.addresses, 1);
    assert_int_equal(connect_to(&admin_bound), 0);
    resource_set_unref(set);
}

/* The holder must not hand out the admin listener's sockets, nor take them away with a listener's. */
static void port_0_for_both_is_two_ports(void **state) {
    (void)state;
    struct resource_set *set = listeners("127.0.0.1:0", NULL), *none = listeners("127.0.0.2:0", NULL);
    struct address a = address_of("127.0.0.1:0");
    listen_for_admin("127.0.0.1:0");
    prepare(set);
    assert_true(error_list_is_empty(&errors));
    assert_int_equal(listen_socket_count(sockets, &a), 2);
    assert_int_not_equal(address_port(listen_socket_bound(sockets, &a)), address_port(&admin_bound));
    listen_sockets_release(sockets, set);
    prepare(none);
    listen_sockets_release(sockets, none);
    settle();
    assert_int_equal(connect_to(&admin_bound), 0);
    resource_set_unref(set);
    resource_set_unref(none);
}

/* What a predecessor had prepared and not committed is dropped with the first snapshot. */
static void leftovers_of_a_predecessor_are_dropped(void **state) {
    (void)state;
    struct resource_set *one = listeners("127.0.0.1:0", NULL);
    struct address left = address_of("127.0.0.3:0");
    struct held_address *held;
    assert_int_equal(held_sockets_listen(&holder.sockets, HELD_FOR_LISTENERS, &left, 1, 1, &held), 0);
    requests_reset(&holder);
    prepare(one);
    listen_sockets_release(sockets, one);
    settle();
    assert_int_equal(holder.sockets.addresses, 1);
    resource_set_unref(one);
}

static void loss_of_the_holder_ends_the_preparation(void **state) {
    (void)state;
    struct resource_set *one = listeners("127.0.0.1:0", NULL);
    ev_io_stop(loop, &holder_watcher);
    shutdown(holder_watcher.fd, SHUT_RDWR);
    listen_sockets_prepare(sockets, one, &errors, on_done, NULL);
    while (losses == 0)
        ev_run(loop, EVRUN_ONCE);
    assert_int_equal(dones, 1);
    assert_int_equal(errors.count, 1);
    resource_set_unref(one);
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    struct resource_set *one = listeners("127.0.0.1:0", NULL);
    bool is_good = false;
    for (long nth = 0; !is_good; nth++) {
        error_list_finish(&errors);
        hg_alloc_fail_at(nth, 0);
        prepare(one);
        hg_alloc_fail_at(-1, 0);
        is_good = error_list_is_empty(&errors);
        if (!is_good)
            listen_sockets_abort(sockets);
    }
    listen_sockets_release(sockets, one);
    settle();
    assert_int_equal(holder.sockets.addresses, 1);
    resource_set_unref(one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sockets_of_every_address_are_there_when_it_is_done, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(udp_has_the_port_of_tcp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(udp_comes_to_tcp_that_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(udp_address_in_use_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(udp_that_waits_for_tcp_ends_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(udp_stays_as_long_as_it_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(buffers_are_asked_for_and_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_id_that_changes_is_steered_by, set_up, tear_down),
        cmocka_unit_test_setup_teardown(udp_with_every_allocation_failed_in_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(address_that_leaves_is_closed_and_the_others_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(abort_closes_what_was_added, set_up, tear_down),
        cmocka_unit_test_setup_teardown(abort_before_the_answer_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(address_in_use_names_listener_and_field, set_up, tear_down),
        cmocka_unit_test_setup_teardown(address_of_the_admin_listener_is_in_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(port_0_for_both_is_two_ports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leftovers_of_a_predecessor_are_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loss_of_the_holder_ends_the_preparation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_failed_in_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
