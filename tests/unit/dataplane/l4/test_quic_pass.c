/* QUIC that is passed through: where datagrams go, and what becomes of flows. */
#include "tests/unit/dataplane/l4/passing.h"

#include <netinet/udp.h>

static void there_and_back(void **state) {
    (void)state;
    struct address from;
    int fd = client();
    proven(fd, "origin-id", &from);
    assert_int_equal(COUNT(flows), 1);
    assert_int_equal(COUNT(flows_total), 1);
    assert_int_equal(COUNT(proven_total), 1);
    assert_int_equal(listener->open, 1);
    assert_int_equal(COUNT(received_bytes_total), DATAGRAM + 64);
    assert_int_equal(COUNT(sent_bytes_total), 100);
}

/* An answer alone proves nothing: it may have gone to somebody else. */
static void what_proves_a_client(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client();
    int origin = answered(fd, "abc", &from);
    say_short(fd, "abc"); /* three octets can be guessed */
    wait_origin(bytes, &n, &from);
    assert_int_equal(COUNT(proven_total), 0);
    memset(bytes, 0x40, 1400);
    for (int i = 0; i < 3; i++) { /* more than three times of what it has sent goes only to who is validated */
        assert_int_equal(sendto(origins[origin], bytes, 1400, 0, &from.u.any, from.length), 1400);
        expect_client(fd, bytes, 1400);
    }
    assert_int_equal(COUNT(proven_total), 1);
}

static void forged_clients_give_way(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from, first;
    int real = client();
    int origin = proven(real, "origin-id", &first);
    for (int i = 0; i < 5 * FLOWS; i++) {
        say_long(client(), SOME_VERSION, "first-id", "own");
        wait_origin(bytes, &n, &from);
        assert_true(COUNT(flows) <= FLOWS);
    }
    assert_int_equal(COUNT(evicted_total), 5 * FLOWS - (FLOWS - 1));
    say_short(real, "origin-id");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    assert_true(address_equal(&from, &first));
}

static void all_are_proven(void **state) {
    (void)state;
    struct address from;
    for (int i = 0; i < FLOWS; i++) {
        char id[] = "origin-id-0";
        id[10] = (char)('0' + i);
        proven(client(), id, &from);
    }
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_full_total) == 1);
    assert_int_equal(COUNT(flows), FLOWS);
}

/* Too many connections of one address: the flow ends once it would count. */
static void bounds_of_connections(void **state) {
    (void)state;
    struct address from;
    listener_set_definition(listener, &definition, &opening, 1, 100);
    proven(client(), "origin-id-0", &from);
    int second = client();
    answered(second, "origin-id-1", &from);
    say_short(second, "origin-id-1");
    TURN_UNTIL(stats_read(&worker.stats->connections_refused_per_ip_total) == 1);
    assert_int_equal(COUNT(flows), 1);
}

static void a_known_id_from_elsewhere(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from, before;
    int origin = proven(client(), "origin-id", &before);
    for (int i = 0; i < 10; i++) { /* by their addresses half of them would go to the other one */
        say_short(client(), "origin-id");
        assert_int_equal(wait_origin(bytes, &n, &from), origin);
        assert_false(address_equal(&from, &before)); /* the origin sees that the client has moved, and makes sure of it */
    }
    assert_int_equal(COUNT(moved_total), 10);
    assert_int_equal(COUNT(proven_total), 1);
}

static void ids_of_forged_clients_are_not_known(void **state) {
    (void)state;
    struct address from;
    answered(client(), "origin-id", &from);
    say_short(client(), "origin-id");
    TURN_UNTIL(COUNT(flows) == 2);
    assert_int_equal(COUNT(moved_total), 0);
}

static void names(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    pass.max_flows = 2 * FLOWS;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    say_hex(client(), initial_v1);
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    assert_int_equal(n, DATAGRAM);
    say_hex(client(), initial_v2);
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    map_remove(&pass.by_name, STR("example.com"));
    assert_int_equal(map_set(&pass.by_name, STR("*.com"), &clusters[1]), 0);
    say_hex(client(), initial_v1);
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    map_remove(&pass.by_name, STR("*.com"));
    assert_int_equal(map_set(&pass.by_name, STR("*.org"), &clusters[1]), 0);
    say_hex(client(), initial_v1);
    assert_int_not_equal(wait_origin(bytes, &n, &from), 2);
    pass.fallback = NULL;
    say_hex(client(), initial_v1);
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 1);
    assert_int_equal(COUNT(flows), 4);
}

/* The same Initial again, from the same client, belongs to its flow. */
static void retransmissions(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address first, second;
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    int fd = client();
    say_hex(fd, initial_v1);
    wait_origin(bytes, &n, &first);
    say_hex(fd, initial_v1);
    wait_origin(bytes, &n, &second);
    assert_true(address_equal(&first, &second));
    assert_int_equal(COUNT(flows_total), 1);
}

/* Two connections over one socket, with different names. */
static void connections_of_one_address(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address a, b, from;
    int fd = client();
    int first = answered(fd, "origin-id-a", &a);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    say_hex(fd, initial_v1);
    assert_int_equal(wait_origin(bytes, &n, &b), 2);
    n = long_packet(bytes, PASS_VERSION_1, "", "origin-id-b", 100);
    assert_int_equal(sendto(origins[2], bytes, n, 0, &b.u.any, b.length), n);
    expect_client(fd, bytes, n);
    say_short(fd, "origin-id-a");
    assert_int_equal(wait_origin(bytes, &n, &from), first);
    assert_true(address_equal(&from, &a));
    say_short(fd, "origin-id-b");
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
    assert_int_equal(COUNT(flows_total), 2);
}

static void an_id_that_names_a_server(void **state) {
    (void)state;
    static const struct quic_lb_form form = {.config = 2, .id_n = 2, .nonce_n = 5};
    static const struct pass_server servers[] = {
        {.cluster = &clusters[0], .place = 0}, {.cluster = &clusters[0], .place = 1}, {.cluster = &clusters[1], .place = 0},
    };
    static const char *const ids[] = {"\x40" "AAnonce", "\x5f" "BBnonce", "\x41" "CCnonce", "\x60" "AAnonce",
                                      "\x40" "DDnonce"};
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    const char *keys[] = {"\002" "AA", "\002" "BB", "\002" "CC"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(map_set(&pass.by_server, str_of(keys[i]), (void *)(uintptr_t)&servers[i]), 0);
    pass.lb[2] = &form;
    pass.fallback = NULL;
    datagrams_serve(listener, list, &quic_pass_ops, &held, 1);
    for (int i = 0; i < 3; i++) {
        say_short(client(), ids[i]);
        assert_int_equal(wait_origin(bytes, &n, &from), i);
    }
    for (int i = 3; i < 5; i++) { /* of another configuration; of a server that is not there */
        say_short(client(), ids[i]);
        TURN_UNTIL(COUNT(dropped_unroutable_total) == (uint64_t)i - 2);
    }
    int fd = client(); /* another connection comes to where one was */
    say_short(fd, ids[0]);
    assert_int_equal(wait_origin(bytes, &n, &from), 0);
    say_short(fd, ids[1]);
    assert_int_equal(wait_origin(bytes, &n, &from), 1);
}

/* Nobody is there: the network says so, and what the client sends again goes to the other one. */
static void an_endpoint_that_refuses(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client();
    say_long(fd, SOME_VERSION, "first-id", "own");
    int origin = wait_origin(bytes, &n, &from);
    close(origins[origin]);
    origins[origin] = -1;
    say_long(fd, SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(refused_total) == 1);
    assert_int_equal(COUNT(flows), 1);
    say_long(fd, SOME_VERSION, "first-id", "own");
    assert_int_equal(wait_origin(bytes, &n, &from), 1 - origin);
    assert_int_equal(stats_read(&worker.stats->retries_connect_total), 1);
}

static void an_endpoint_in_reserve_takes_what_was_refused(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client();
    reserve_origin = 1;
    define_cluster(0, 0, 2);
    reserve_origin = -1;
    close(origins[0]);
    origins[0] = -1;
    say_long(fd, SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(refused_total) == 1);
    say_long(fd, SOME_VERSION, "first-id", "own");
    assert_int_equal(wait_origin(bytes, &n, &from), 1);
}

static void time_passes(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    uint64_t now = worker.now;
    proven(client(), "origin-id", &from);
    say_long(client(), SOME_VERSION, "first-id", "own");
    wait_origin(bytes, &n, &from);
    assert_int_equal(COUNT(flows), 2);
    worker.now = now + pass.handshake_timeout + SECOND;
    wheel_advance(&worker.wheel, worker.now);
    assert_int_equal(COUNT(flows), 1);
    assert_int_equal(COUNT(unanswered_total), 1);
    worker.now = now + pass.idle_timeout + 2 * SECOND;
    wheel_advance(&worker.wheel, worker.now);
    assert_int_equal(COUNT(flows), 0);
    assert_int_equal(listener->open, 0);
}

static void draining(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    int fd = client(), other = client();
    int origin = proven(fd, "origin-id-a", &from);
    answered(other, "origin-id-b", &from);
    say_long(client(), SOME_VERSION, "first-id", "own");
    wait_origin(bytes, &n, &from);
    assert_int_equal(COUNT(flows), 3);
    listener_drain(listener, 30 * SECOND);
    assert_int_equal(COUNT(flows), 2); /* who has an answer is let finish */
    say_short(fd, "origin-id-a");
    assert_int_equal(wait_origin(bytes, &n, &from), origin);
    say_long(client(), SOME_VERSION, "first-id", "own");
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 1);
    listener_cut_all(listener);
    worker_end_turn(&worker);
    assert_null(list); /* it ends with its last flow */
    assert_int_equal(use.users, 0);
}

/* A train of the kernel's goes on in order, with its shorter end. */
static void trains(void **state) {
    (void)state;
    enum { SEGMENT = 1200, N = 10 * SEGMENT + 100 };
    uint8_t bytes[65536], train[N];
    size_t n, at = 0;
    struct address from;
    int fd = client(), segment = SEGMENT;
    int origin = proven(fd, "origin-id", &from);
    for (size_t i = 0; i < N; i++)
        train[i] = (uint8_t)(i / 97);
    for (size_t i = 0; i < N; i += SEGMENT)
        memcpy(train + i, "\x40origin-id", 10);
    assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    say(fd, train, N);
    while (at < N) {
        assert_int_equal(wait_origin(bytes, &n, &from), origin);
        assert_int_equal(n, at + SEGMENT <= N ? SEGMENT : N - at);
        assert_memory_equal(bytes, train + at, n);
        at += n;
    }
}

/* The next datagram's ECN bits. */
static int ecn_of_next(int fd) {
    uint8_t bytes[65536], control[256];
    struct iovec v = {bytes, sizeof bytes};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    TURN_UNTIL(is_readable(fd));
    assert_true(recvmsg(fd, &m, 0) > 0);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
            return *CMSG_DATA(c) & 3;
    return -1;
}

static void mark(int fd, int ecn) {
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TOS, &ecn, sizeof ecn), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &(int){1}, sizeof(int)), 0);
}

/* Both ends validate ECN by what arrives. */
static void ecn_bits(void **state) {
    (void)state;
    struct address from;
    int fd = client(), origin = origins[proven(fd, "origin-id", &from)];
    assert_int_equal(setsockopt(held.fd, IPPROTO_IP, IP_RECVTOS, &(int){1}, sizeof(int)), 0); /* as the holder does */
    for (int ecn = 0; ecn < 4; ecn++) {
        mark(fd, ecn);
        mark(origin, 3 - ecn);
        say_short(fd, "origin-id");
        assert_int_equal(ecn_of_next(origin), ecn);
        assert_int_equal(sendto(origin, "\x40 answer", 8, 0, &from.u.any, from.length), 8);
        assert_int_equal(ecn_of_next(fd), 3 - ecn);
    }
}

static void what_is_dropped(void **state) {
    (void)state;
    uint8_t bytes[DATAGRAM];
    int fd = client();
    say(fd, (const uint8_t *)"\x40", 1);
    TURN_UNTIL(COUNT(dropped_malformed_total) == 1);
    say_long(fd, 0, "first-id", "own"); /* version negotiation */
    TURN_UNTIL(COUNT(dropped_malformed_total) == 2);
    say_long(fd, PASS_VERSION_1, "short", "own");
    TURN_UNTIL(COUNT(dropped_malformed_total) == 3);
    say(fd, bytes, long_packet(bytes, PASS_VERSION_1, "first-id", "own", DATAGRAM - 1));
    TURN_UNTIL(COUNT(dropped_small_total) == 1);
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    say_long(fd, PASS_VERSION_1, "first-id", "own"); /* cannot be opened */
    TURN_UNTIL(COUNT(dropped_hello_total) == 1);
    say_short(fd, "unknown-id");
    TURN_UNTIL(COUNT(dropped_unroutable_total) == 1);
    assert_int_equal(COUNT(flows), 0);
}

static uint64_t drops(void) {
    return COUNT(dropped_system_total) + COUNT(dropped_no_endpoint_total) + COUNT(dropped_unroutable_total);
}

static void without_memory(void **state) {
    (void)state;
    uint8_t bytes[65536];
    size_t n;
    struct address from;
    assert_int_equal(map_set(&pass.by_name, STR("example.com"), &clusters[1]), 0);
    for (long i = 0; i < 40; i++) {
        uint64_t before = drops();
        int fd = client();
        hg_alloc_fail_at(i, 1);
        say_hex(fd, initial_v1);
        TURN_UNTIL(drops() > before || is_readable(origins[2]));
        hg_alloc_fail_at(-1, 0);
        if (is_readable(origins[2]))
            break;
        assert_true(i < 39);
    }
    assert_int_equal(wait_origin(bytes, &n, &from), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(there_and_back), TEST(what_proves_a_client), TEST(forged_clients_give_way), TEST(all_are_proven),
        TEST(bounds_of_connections), TEST(a_known_id_from_elsewhere), TEST(ids_of_forged_clients_are_not_known), TEST(names),
        TEST(retransmissions), TEST(connections_of_one_address), TEST(an_id_that_names_a_server),
        TEST(an_endpoint_that_refuses), TEST(time_passes), TEST(draining), TEST(trains), TEST(ecn_bits),
        TEST(an_endpoint_in_reserve_takes_what_was_refused),
        TEST(what_is_dropped),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
