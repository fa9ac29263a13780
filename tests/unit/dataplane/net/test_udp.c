/* UDP sockets of a worker, over loopback: batches, trains, ECN, destination addresses, what is bounded, forwarding. */
#include "tests/unit/dataplane/net/loop.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>

#include "common/udp_options.h"
#include "dataplane/net/udp.h"
#include "dataplane/net/udp_forward.h"
#include "tests/unit/dataplane/net/watched.h"

enum { MOST = 2048, PIECE = 1200 };

struct seen {
    size_t         n;
    struct address remote, local;
    uint8_t        ecn, first;
    bool           is_forwarded;
};

static struct udp_socket served, client;
static struct seen seen[MOST];
static unsigned count, batches, writable, closes_at;
static const uint8_t *last_end;
static unsigned side_by_side;
static int error_seen;

static void on_datagram(struct udp_socket *s, const struct udp_datagram *d) {
    assert_true(count < MOST);
    seen[count++] = (struct seen){d->n, *d->remote, *d->local, d->ecn, d->n ? d->bytes[0] : 0, d->is_forwarded};
    side_by_side += d->bytes == last_end;
    last_end = d->bytes + d->n;
    if (count == closes_at)
        udp_close(s);
}

static void on_batch_end(struct udp_socket *s) {
    assert_true(s->is_open);
    batches++;
}

static void on_writable(struct udp_socket *s) {
    assert_true(s->is_open);
    writable++;
}

static void on_error(struct udp_socket *s, int error) {
    assert_true(s->is_open);
    error_seen = error;
}

static const struct udp_ops ops = {on_datagram, on_batch_end, on_writable, on_error};

static int set_up(void **state) {
    count = batches = writable = closes_at = side_by_side = 0;
    last_end = NULL;
    error_seen = 0;
    served = client = (struct udp_socket){0};
    return worker_set_up(state);
}

static int tear_down(void **state) {
    udp_close(&served);
    udp_close(&client);
    return worker_tear_down(state);
}

static struct address address_of(const char *text) {
    struct address a;
    assert_int_equal(address_parse(str_of(text), &a), 0);
    return a;
}

static struct address with_port(const char *text, const struct address *of) {
    struct address a = address_of(text);
    *(a.u.any.sa_family == AF_INET6 ? &a.u.v6.sin6_port : &a.u.v4.sin_port) = htons((uint16_t)address_port(of));
    return a;
}

/* As the holder makes them. */
static int bound_to(const char *text, bool is_dual) {
    struct address a = address_of(text);
    int fd = socket(a.u.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(udp_set_options(fd, a.u.any.sa_family, true), 0);
    if (a.u.any.sa_family == AF_INET6)
        assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){!is_dual}, sizeof(int)), 0);
    udp_set_buffer(fd, SO_RCVBUF, 1 << 20);
    assert_int_equal(bind(fd, &a.u.any, a.length), 0);
    return fd;
}

static int serve(const char *text) {
    int fd = bound_to(text, false);
    assert_int_equal(udp_open(&served, &worker, fd, &ops), 0);
    return fd;
}

static int plain_client(int family) {
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const struct address *to, const void *bytes, size_t n) {
    assert_int_equal(sendto(fd, bytes, n, 0, &to->u.any, to->length), n);
}

/* Datagrams that came to a socket and wait, or were dropped: `size` of memory each. */
static unsigned arrived(int fd, uint32_t size) {
    uint32_t figures[SK_MEMINFO_VARS];
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, figures, &(socklen_t){sizeof figures}), 0);
    return figures[SK_MEMINFO_RMEM_ALLOC] / size + figures[SK_MEMINFO_DROPS];
}

/* What the kernel charges for one of n bytes. */
static uint32_t memory_of(size_t n) {
    static const uint8_t bytes[PIECE];
    int to = bound_to("127.0.0.1:0", false), from = plain_client(AF_INET);
    struct address own = {.length = sizeof own.u};
    uint32_t figures[SK_MEMINFO_VARS];
    assert_int_equal(getsockname(to, &own.u.any, &own.length), 0);
    say(from, &own, bytes, n);
    assert_int_equal(poll(&(struct pollfd){.fd = to, .events = POLLIN}, 1, -1), 1);
    assert_int_equal(getsockopt(to, SOL_SOCKET, SO_MEMINFO, figures, &(socklen_t){sizeof figures}), 0);
    close(from);
    close(to);
    return figures[SK_MEMINFO_RMEM_ALLOC];
}

/* Loopback may deliver a little later. */
static void wait_for_arrival(int fd, size_t n, unsigned datagrams) {
    for (uint32_t size = memory_of(n); arrived(fd, size) < datagrams;)
        sched_yield();
}

/* ---- receiving ---- */

static void datagrams_come_with_their_addresses(void **state) {
    (void)state;
    int fd = serve("0.0.0.0:0"), from = plain_client(AF_INET);
    struct address one = with_port("127.0.0.1:0", &served.local), two = with_port("127.0.0.2:0", &served.local);
    struct address own = {.length = sizeof own.u};
    say(from, &one, "a", 1);
    say(from, &two, "bc", 2);
    say(from, &two, "", 0);
    TURN_UNTIL(count == 3);
    assert_int_equal(getsockname(from, &own.u.any, &own.length), 0);
    assert_int_equal(address_port(&seen[0].remote), address_port(&own));
    assert_true(address_equal(&seen[0].local, &one));
    assert_true(address_equal(&seen[1].local, &two));
    assert_int_equal(seen[1].n, 2);
    assert_int_equal(seen[2].n, 0);
    assert_int_equal(stats_read(&worker.stats->udp_received_total), 3);
    assert_int_equal(stats_read(&worker.stats->udp_received_bytes_total), 3);
    close(from);
    close(fd);
}

static void ipv6_datagrams_come_with_their_addresses(void **state) {
    (void)state;
    int fd = serve("[::]:0"), from = plain_client(AF_INET6);
    struct address to = with_port("[::1]:0", &served.local);
    assert_int_equal(setsockopt(from, IPPROTO_IPV6, IPV6_TCLASS, &(int){ECN_CE}, sizeof(int)), 0);
    say(from, &to, "a", 1);
    TURN_UNTIL(count == 1);
    assert_true(address_equal(&seen[0].local, &to));
    assert_int_equal(seen[0].ecn, ECN_CE);
    close(from);
    close(fd);
}

/* One socket for both: what comes by IPv4 is answered by IPv4, from the address that it came to, with its ECN bits. */
static void dual_stack_sockets_speak_both(void **state) {
    (void)state;
    int fd = bound_to("[::]:0", true), from = bound_to("127.0.0.1:0", false);
    assert_int_equal(udp_open(&served, &worker, fd, &ops), 0);
    struct address to = with_port("127.0.0.3:0", &served.local);
    assert_int_equal(setsockopt(from, IPPROTO_IP, IP_TOS, &(int){ECN_ECT_1}, sizeof(int)), 0);
    say(from, &to, "a", 1);
    TURN_UNTIL(count == 1);
    assert_int_equal(seen[0].ecn, ECN_ECT_1);
    assert_true(IN6_IS_ADDR_V4MAPPED(&seen[0].local.u.v6.sin6_addr));
    assert_int_equal(udp_send(&served, &seen[0].remote, &seen[0].local, (const uint8_t *)"b", 1, 1, ECN_ECT_0), 0);
    struct udp_socket peer;
    assert_int_equal(udp_open(&peer, &worker, from, &ops), 0);
    TURN_UNTIL(count == 2);
    assert_true(address_equal(&seen[1].remote, &to));
    assert_int_equal(seen[1].ecn, ECN_ECT_0);
    udp_close(&peer);
    close(from);
    close(fd);
}

static void every_ecn_codepoint_crosses(void **state) {
    (void)state;
    static const char *const both[] = {"127.0.0.1:0", "[::1]:0"};
    for (size_t i = 0; i < 2; i++) {
        int fd = serve(both[i]);
        count = 0;
        assert_int_equal(udp_connect(&client, &worker, &served.local, 0, 0, &ops), 0);
        for (uint8_t ecn = 0; ecn < 4; ecn++)
            assert_int_equal(udp_send(&client, NULL, NULL, &ecn, 1, 1, ecn), 0);
        TURN_UNTIL(count == 4);
        for (unsigned k = 0; k < 4; k++)
            assert_int_equal(seen[k].ecn, seen[k].first);
        udp_close(&client);
        udp_close(&served);
        close(fd);
    }
}

/* A train comes apart into datagrams of the size that was said, the last one shorter, side by side in memory. */
static void trains_come_apart(void **state) {
    (void)state;
    static uint8_t bytes[40 * PIECE + 7];
    int fd = serve("127.0.0.1:0");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i / PIECE);
    assert_int_equal(udp_connect(&client, &worker, &served.local, 0, 0, &ops), 0);
    assert_true(client.has_segmentation);
    assert_int_equal(udp_send(&client, NULL, NULL, bytes, sizeof bytes, PIECE, ECN_ECT_0), 0);
    TURN_UNTIL(count == 41);
    for (unsigned i = 0; i < 41; i++) {
        assert_int_equal(seen[i].n, i < 40 ? PIECE : 7);
        assert_int_equal(seen[i].first, i);
        assert_int_equal(seen[i].ecn, ECN_ECT_0);
    }
    assert_int_equal(side_by_side, 40); /* one train: the kernel kept it whole */
    assert_int_equal(stats_read(&worker.stats->udp_sent_total), 41);
    assert_int_equal(stats_read(&worker.stats->udp_sent_bytes_total), sizeof bytes);
    close(fd);
}

/* Beyond the bounds of one system call a burst becomes several; without segmentation one for each datagram. */
static void long_bursts_and_hosts_without_segmentation(void **state) {
    (void)state;
    static uint8_t bytes[100 * PIECE + 1];
    int fd = serve("127.0.0.1:0");
    assert_int_equal(udp_connect(&client, &worker, &served.local, 0, 0, &ops), 0);
    assert_int_equal(udp_send(&client, NULL, NULL, bytes, sizeof bytes, PIECE, 0), 0);
    TURN_UNTIL(count == 101);
    client.has_segmentation = false;
    assert_int_equal(udp_send(&client, NULL, NULL, bytes, 10 * PIECE + 1, PIECE, 0), 0);
    TURN_UNTIL(count == 112);
    assert_int_equal(seen[111].n, 1);
    close(fd);
}

/* So many datagrams of one socket in one turn, and what is left in the next. */
static void turns_are_bounded(void **state) {
    (void)state;
    enum { ALL = UDP_TURN_DATAGRAMS + 2 * UDP_BATCH };
    int fd = serve("127.0.0.1:0"), from = plain_client(AF_INET);
    for (unsigned i = 0; i < ALL; i++)
        say(from, &served.local, "x", 1);
    wait_for_arrival(fd, 1, ALL);
    ev_run(worker.loop, EVRUN_NOWAIT);
    assert_int_equal(count, UDP_TURN_DATAGRAMS);
    assert_int_equal(batches, UDP_TURN_DATAGRAMS / UDP_BATCH);
    TURN_UNTIL(count == ALL);
    close(from);
    close(fd);
}

/* What the kernel dropped before is not counted, what it drops while the socket is open is. */
static void overflows_are_counted(void **state) {
    (void)state;
    static uint8_t bytes[PIECE];
    int fd = bound_to("127.0.0.1:0", false), from = plain_client(AF_INET);
    struct address to = {.length = sizeof to.u};
    assert_int_equal(getsockname(fd, &to.u.any, &to.length), 0);
    udp_set_buffer(fd, SO_RCVBUF, 4096);
    for (int i = 0; i < 100; i++)
        say(from, &to, bytes, sizeof bytes);
    wait_for_arrival(fd, sizeof bytes, 100);
    unsigned dropped = arrived(fd, UINT32_MAX);
    assert_int_equal(udp_open(&served, &worker, fd, &ops), 0);
    turn();
    assert_true(count > 0 && count + dropped == 100);
    assert_int_equal(stats_read(&worker.stats->udp_overflows_total), 0);
    for (int i = 0; i < 100; i++)
        say(from, &to, bytes, sizeof bytes);
    wait_for_arrival(fd, sizeof bytes, dropped + 100);
    turn();
    say(from, &to, bytes, 1); /* drops are told with the next that comes */
    TURN_UNTIL(count + arrived(fd, UINT32_MAX) == 201);
    assert_int_equal(stats_read(&worker.stats->udp_overflows_total), arrived(fd, UINT32_MAX) - dropped);
    close(from);
    close(fd);
}

static void half_full(void **state) {
    (void)state;
    static uint8_t bytes[PIECE];
    int fd = serve("127.0.0.1:0"), from = plain_client(AF_INET);
    uint32_t each = memory_of(sizeof bytes);
    unsigned half = (unsigned)(udp_set_buffer(fd, SO_RCVBUF, 1 << 16) / each); /* of twice as much */
    for (unsigned i = 0; i < half; i++)
        say(from, &served.local, bytes, sizeof bytes);
    wait_for_arrival(fd, sizeof bytes, half);
    assert_false(udp_is_half_full(&served));
    say(from, &served.local, bytes, sizeof bytes);
    wait_for_arrival(fd, sizeof bytes, half + 1);
    assert_true(udp_is_half_full(&served));
    TURN_UNTIL(count == half + 1);
    assert_false(udp_is_half_full(&served));
    close(from);
    close(fd);
}

/* ---- sending ---- */

static void answers_leave_from_the_address_that_was_asked(void **state) {
    (void)state;
    int fd = serve("0.0.0.0:0");
    struct address to = with_port("127.0.0.2:0", &served.local);
    assert_int_equal(udp_connect(&client, &worker, &to, 0, 0, &ops), 0);
    assert_int_equal(udp_send(&client, NULL, NULL, (const uint8_t *)"a", 1, 1, 0), 0);
    TURN_UNTIL(count == 1);
    /* A connected socket takes nothing but what comes from 127.0.0.2; without `local` the kernel would say 127.0.0.1. */
    assert_int_equal(udp_send(&served, &seen[0].remote, &seen[0].local, (const uint8_t *)"b", 1, 1, 0), 0);
    TURN_UNTIL(count == 2);
    assert_true(address_equal(&seen[1].remote, &to));
    assert_true(address_equal(&seen[1].local, &client.local));
    close(fd);
}

static void too_large_is_said(void **state) {
    (void)state;
    static uint8_t bytes[65535];
    int fd = serve("127.0.0.1:0");
    assert_int_equal(udp_connect(&client, &worker, &served.local, 0, 0, &ops), 0);
    assert_int_equal(udp_send(&client, NULL, NULL, bytes, sizeof bytes, sizeof bytes, 0), EMSGSIZE);
    assert_int_equal(client.sent, 0);
    assert_int_equal(stats_read(&worker.stats->udp_send_errors_total), 1);
    close(fd);
}

static void closed_ports_are_told(void **state) {
    (void)state;
    int fd = serve("127.0.0.1:0");
    struct address to = served.local;
    udp_close(&served);
    close(fd);
    assert_int_equal(udp_connect(&client, &worker, &to, 0, 0, &ops), 0);
    assert_int_equal(udp_send(&client, NULL, NULL, (const uint8_t *)"a", 1, 1, 0), 0);
    TURN_UNTIL(error_seen);
    assert_int_equal(error_seen, ECONNREFUSED);
    assert_true(client.is_open);
}

/* Datagrams between two ends of a socket pair wait for their reader, so the sender is held up, as by a slow device. */
static void full_buffers_hold_up_and_are_resumed(void **state) {
    (void)state;
    int pair[2];
    uint8_t bytes[4 * 16], read_back[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(udp_open(&served, &worker, pair[0], &ops), 0);
    memset(bytes, 'x', sizeof bytes);
    served.has_segmentation = false;
    unsigned sent = 0;
    int error;
    while ((error = udp_send(&served, NULL, NULL, bytes, sizeof bytes, 16, 0)) == 0)
        sent += 4;
    assert_int_equal(error, EAGAIN);
    assert_true(served.sent < sizeof bytes && served.sent % 16 == 0);
    sent += (unsigned)served.sent / 16;
    turn();
    assert_int_equal(writable, 0);
    for (unsigned i = 0; i < sent; i++)
        assert_int_equal(recv(pair[1], read_back, sizeof read_back, 0), 16);
    TURN_UNTIL(writable == 1);
    assert_int_equal(udp_send(&served, NULL, NULL, bytes, 16, 16, 0), 0);
    turn();
    assert_int_equal(writable, 1);
    assert_int_equal(stats_read(&worker.stats->udp_send_blocked_total), 1);
    udp_close(&served);
    close(pair[0]);
    close(pair[1]);
}

/* ---- opening and closing ---- */

static void closing_within_a_call_ends_it(void **state) {
    (void)state;
    int fd = serve("127.0.0.1:0"), from = plain_client(AF_INET);
    closes_at = 3;
    for (unsigned i = 0; i < 10; i++)
        say(from, &served.local, "x", 1);
    wait_for_arrival(fd, 1, 10);
    turn();
    assert_int_equal(count, 3);
    assert_int_equal(batches, 0);
    assert_false(served.is_open);
    assert_false(is_watched(fd)); /* another thread may close it */
    close(from);
    close(fd);
}

static void closing_within_a_train_ends_it(void **state) {
    (void)state;
    static uint8_t bytes[10 * PIECE];
    int fd = serve("127.0.0.1:0");
    closes_at = 3;
    assert_int_equal(udp_connect(&client, &worker, &served.local, 0, 0, &ops), 0);
    assert_int_equal(udp_send(&client, NULL, NULL, bytes, sizeof bytes, PIECE, 0), 0);
    TURN_UNTIL(count >= 3);
    assert_int_equal(side_by_side, 2); /* it was one train */
    assert_int_equal(count, 3);
    close(fd);
}

static void sockets_are_found_by_address(void **state) {
    (void)state;
    struct udp_socket other;
    int fd = serve("127.0.0.1:0"), second = bound_to("127.0.0.1:0", false);
    assert_int_equal(udp_open(&other, &worker, second, &ops), 0);
    assert_ptr_equal(udp_find_held(&worker, &served.local), &served);
    assert_ptr_equal(udp_find_held(&worker, &other.local), &other);
    udp_close(&served);
    assert_null(udp_find_held(&worker, &served.local));
    assert_ptr_equal(udp_find_held(&worker, &other.local), &other);
    udp_close(&other);
    assert_null(udp_find_held(&worker, &other.local));
    close(fd);
    close(second);
}

static void opening_without_memory_fails(void **state) {
    (void)state;
    struct address to = address_of("127.0.0.1:9");
    int fd = bound_to("127.0.0.1:0", false);
    hg_alloc_fail_at(0, 0);
    assert_int_equal(udp_open(&served, &worker, fd, &ops), ENOMEM);
    hg_alloc_fail_at(0, 0);
    assert_int_equal(udp_connect(&client, &worker, &to, 0, 0, &ops), ENOMEM);
    assert_false(served.is_open || client.is_open);
    close(fd);
}

static void buffers_are_asked_for(void **state) {
    (void)state;
    struct address to = address_of("127.0.0.1:9");
    assert_int_equal(udp_connect(&client, &worker, &to, 16384, 32768, &ops), 0);
    assert_int_equal(udp_set_buffer(client.fd, SO_RCVBUF, 0), 16384);
    assert_int_equal(udp_set_buffer(client.fd, SO_SNDBUF, 0), 32768);
    assert_true(udp_set_buffer(client.fd, SO_RCVBUF, (size_t)1 << 40) < (size_t)1 << 40);
}

/* ---- forwarding ---- */

static struct worker second;

static int set_up_two(void **state) {
    return set_up(state) < 0 ? -1 : worker_init(&second, 1, EVFLAG_AUTO);
}

static int tear_down_two(void **state) {
    worker_finish(&second);
    return tear_down(state);
}

static const struct address elsewhere = {.length = sizeof(struct sockaddr_in), .u.v4.sin_family = AF_INET};

static bool forward(size_t n) {
    static uint8_t bytes[UDP_DATAGRAM_MAX] = {42};
    struct address to = served.local;
    return udp_forward(&served, &second, &(struct udp_datagram){.bytes = bytes, .n = n, .remote = &elsewhere, .local = &to,
                                                                 .ecn = ECN_CE});
}

/* The sockets of two workers have one address, as those of a group do. */
static void forwarded_datagrams_arrive(void **state) {
    (void)state;
    struct udp_socket there;
    int fd = serve("127.0.0.1:0"), copy = dup(fd);
    assert_int_equal(udp_open(&there, &second, copy, &ops), 0);
    assert_true(forward(1000));
    assert_int_equal(count, 0);
    worker_empty_mailbox(&second);
    assert_int_equal(count, 1);
    assert_int_equal(batches, 1);
    assert_true(seen[0].is_forwarded && seen[0].n == 1000 && seen[0].first == 42 && seen[0].ecn == ECN_CE);
    assert_true(address_equal(&seen[0].remote, &elsewhere) && address_equal(&seen[0].local, &served.local));
    assert_int_equal(stats_read(&worker.stats->udp_forwarded_total), 1);
    assert_int_equal(atomic_load(&second.udp_forwarded), 0);
    udp_close(&there);
    close(copy);
    close(fd);
}

static void forwarding_is_bounded(void **state) {
    (void)state;
    int fd = serve("127.0.0.1:0");
    unsigned taken = 0;
    while (forward(60000))
        taken++;
    assert_in_range(taken, UDP_FORWARDED_MAX / 62000, UDP_FORWARDED_MAX / 60000);
    assert_true(atomic_load(&second.udp_forwarded) <= UDP_FORWARDED_MAX);
    assert_int_equal(stats_read(&worker.stats->udp_forwards_dropped_total), 1);
    worker_empty_mailbox(&second); /* it has no such socket */
    assert_int_equal(stats_read(&second.stats->udp_forwards_dropped_total), taken);
    assert_int_equal(atomic_load(&second.udp_forwarded), 0);
    hg_alloc_fail_at(0, 0);
    assert_false(forward(1));
    assert_true(forward(1));
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(datagrams_come_with_their_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ipv6_datagrams_come_with_their_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dual_stack_sockets_speak_both, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_ecn_codepoint_crosses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trains_come_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_bursts_and_hosts_without_segmentation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(turns_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(overflows_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_leave_from_the_address_that_was_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_large_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closed_ports_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_buffers_hold_up_and_are_resumed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_within_a_call_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_within_a_train_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sockets_are_found_by_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(opening_without_memory_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(buffers_are_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forwarded_datagrams_arrive, set_up_two, tear_down_two),
        cmocka_unit_test_setup_teardown(forwarding_is_bounded, set_up_two, tear_down_two),
    };
    return cmocka_run_group_tests_name("net/udp", tests, NULL, NULL);
}
