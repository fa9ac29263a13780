/* What a path does to datagrams: the size that it takes, which may change, and congestion that it tells of (ECN). */
#include "tests/unit/dataplane/quic/clients.h"

#define FAR_HOST "192.0.2.1"   /* none of the sizes that are tried on loopback */

enum { PLENTY_US = 60000000 };

static bool half_answered(void) {
    return net.peers[0]->got[0].n > sizeof large / 2;
}

/* Its handshake is done, and the first sizes have been tried. */
static struct peer *open_from(const char *host) {
    struct peer *p = peer_connect(&(struct peer_wish){.host = host});
    assert_true(net_run(all_done, PLENTY_US));
    net_run(NULL, 5000000);
    return p;
}

static void exchange(struct peer *p, size_t n) {
    size_t stream = 0;
    while (p->sending[stream].is_used)
        stream++;
    peer_send(p, large, n);
    assert_true(net_run(all_answered, PLENTY_US));
    assert_int_equal(p->got[stream].n, n);
    assert_memory_equal(p->got[stream].p, large, n);
}

static ngtcp2_conn *library(void) {
    return net.endpoint->first->conn.ng;
}

static size_t found_size(void) {
    return ngtcp2_conn_get_path_max_tx_udp_payload_size(library());
}

/* ---- sizes ---- */

enum { FAR_LEAST = 1200, FAR_MOST = 1452 };

static void expect_size(const char *host, size_t mtu, size_t least, size_t most) {
    net.mtu[TO_CLIENT] = mtu;
    struct peer *p = open_from(host);
    assert_in_range(found_size(), least, most);
    exchange(p, sizeof large);
}

static void the_largest_size_of_ethernet(void **state) {
    (void)state;
    expect_size(FAR_HOST, 0, 1440, FAR_MOST);
}

static void a_tunnel_takes_less(void **state) {
    (void)state;
    expect_size(FAR_HOST, 1350, 1340, 1350);
}

static void the_least_that_there_is(void **state) {
    (void)state;
    expect_size(FAR_HOST, FAR_LEAST, FAR_LEAST, FAR_LEAST);
}

static void a_host_of_ones_own_takes_much(void **state) {
    (void)state;
    expect_size(NULL, 0, QUIC_LOOPBACK_PAYLOAD, QUIC_LOOPBACK_PAYLOAD);
}

static void loopback_with_a_smaller_size(void **state) {
    (void)state;
    expect_size(NULL, 9000, 8900, 9000);
}

static uint64_t shrunk(void) {
    return net.worker.stats->quic_paths_shrunk_total;
}

/* The network takes another way, which takes less, and says nothing. */
static struct peer *expect_survival(const char *host, size_t before, size_t after) {
    net.mtu[TO_CLIENT] = before;
    struct peer *p = open_from(host);
    peer_send(p, large, sizeof large);
    assert_true(net_run(half_answered, PLENTY_US));
    assert_true(found_size() > after);
    net.mtu[TO_CLIENT] = after;
    assert_true(net_run(all_answered, PLENTY_US));
    assert_memory_equal(p->got[0].p, large, sizeof large);
    assert_int_equal(shrunk(), 1);
    net.longest[TO_CLIENT] = 0;
    exchange(p, sizeof large);
    assert_int_equal(net.longest[TO_CLIENT], FAR_LEAST);
    return p;
}

static void a_path_that_shrinks(void **state) {
    (void)state;
    expect_survival(FAR_HOST, FAR_MOST, 1300);
}

static void a_path_that_shrinks_to_the_least(void **state) {
    (void)state;
    expect_survival(FAR_HOST, FAR_MOST, FAR_LEAST);
}

static void loopback_that_shrinks(void **state) {
    (void)state;
    expect_survival(NULL, 0, 1500);
}

/* In which it is not idle. */
static void let_pass(struct peer *p, unsigned seconds) {
    for (; seconds > 20; seconds -= 20) {
        net_run(NULL, 20000000);
        exchange(p, 100);
    }
    net_run(NULL, seconds * 1000000);
    net.longest[TO_CLIENT] = 0;
}

/* After four seconds, then eight, sixteen ... */
static void a_larger_size_is_tried_again(void **state) {
    (void)state;
    struct peer *p = expect_survival(FAR_HOST, FAR_MOST, 1300);
    for (unsigned i = 0; i < 4; i++) {
        let_pass(p, (4u << i) - 2);
        exchange(p, 100000);
        assert_int_equal(net.longest[TO_CLIENT], FAR_LEAST);
        let_pass(p, 3);
        exchange(p, 100000);    /* it is lost again */
        assert_true(net.longest[TO_CLIENT] > 1300);
        assert_int_equal(shrunk(), 2 + i);
    }
    net.mtu[TO_CLIENT] = FAR_MOST;
    let_pass(p, 70);
    exchange(p, sizeof large);
    assert_true(net.longest[TO_CLIENT] > 1300);
    assert_int_equal(shrunk(), 5);
}

static bool has_shrunk(void) {
    return shrunk() > 0;
}

/* All of it is lost for a moment: which of both it was cannot be told, and does not matter for long. */
static void a_peer_that_is_gone_for_a_moment(void **state) {
    (void)state;
    struct peer *p = open_from(FAR_HOST);
    peer_send(p, large, sizeof large);
    net_run(has_shrunk, 20000);
    net.loss_percent = 100;
    assert_true(net_run(has_shrunk, 10000000));
    net.loss_percent = 0;
    assert_true(net_run(all_answered, PLENTY_US));
    let_pass(p, 5);
    exchange(p, sizeof large);
    assert_true(net.longest[TO_CLIENT] > 1300);
    assert_int_equal(shrunk(), 1);
}

static void another_address_begins_anew(void **state) {
    (void)state;
    struct peer *p = expect_survival(FAR_HOST, FAR_MOST, 1300);
    net.mtu[TO_CLIENT] = FAR_MOST;
    p->local.u.v4.sin_port = htons(50002);     /* a rebinding */
    exchange(p, 1000);
    net_run(NULL, 5000000);
    exchange(p, sizeof large);
    assert_true(found_size() > 1300);
    assert_int_equal(net.longest[TO_CLIENT], found_size());
    assert_int_equal(shrunk(), 1);
}

static void silence_is_no_sign(void **state) {
    (void)state;
    struct peer *p = open_from(FAR_HOST);
    exchange(p, 100000);
    let_pass(p, 300);
    exchange(p, 100000);
    assert_true(net.longest[TO_CLIENT] > 1300);
    assert_int_equal(shrunk(), 0);
}

/* ---- congestion that is told ---- */

static void every_datagram_is_marked(void **state) {
    (void)state;
    peer_connect(&(struct peer_wish){.host = FAR_HOST});
    assert_true(net_run(all_done, PLENTY_US));
    assert_true(net.ecn[TO_CLIENT][ECN_ECT_0] > 0);
    assert_int_equal(net.ecn[TO_CLIENT][ECN_NOT_ECT], 0);
    exchange(net.peers[0], 100000);
    memset(net.ecn, 0, sizeof net.ecn);
    exchange(net.peers[0], 100000); /* what was tried has been acknowledged: from here on all of them are */
    assert_true(net.ecn[TO_CLIENT][ECN_ECT_0] > 10);
    assert_int_equal(net.ecn[TO_CLIENT][ECN_NOT_ECT] + net.ecn[TO_CLIENT][ECN_ECT_1] + net.ecn[TO_CLIENT][ECN_CE], 0);
}

static void marks_are_told(void **state) {
    (void)state;
    struct peer *p = open_from(FAR_HOST);
    exchange(p, 100000);
    assert_true(p->heard_ect0 > 0);
    assert_int_equal(p->heard_ce, 0);
    net.marks[TO_SERVER] = 7;
    exchange(p, 100000);
    assert_int_equal(net.marks[TO_SERVER], 0);
    assert_int_equal(p->heard_ce, 7);
    uint64_t before = p->heard_ect0;
    exchange(p, 100000);
    assert_int_equal(p->heard_ce, 7);
    assert_true(p->heard_ect0 > before + 10);
}

static uint64_t threshold(void) {
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(library(), &info);
    return info.ssthresh;
}

static bool has_slowed_down(void) {
    return threshold() < UINT64_MAX;
}

/* The library may take it back later, when nothing was lost. */
static void marks_slow_down(void **state) {
    (void)state;
    struct peer *p = open_from(FAR_HOST);
    exchange(p, 100000);
    assert_int_equal(threshold(), UINT64_MAX);
    net.marks[TO_CLIENT] = 3;
    peer_send(p, large, 100000);
    assert_true(net_run(has_slowed_down, PLENTY_US));
    assert_true(net_run(all_answered, PLENTY_US));
}

/* Losses bring the threshold of CUBIC down. BBR has none: it goes by what arrives. */
static void the_congestion_control_is_the_one_that_is_asked_for(void **state) {
    (void)state;
    struct peer *cubic = open_from(FAR_HOST);
    net.loss_percent = 10;
    exchange(cubic, sizeof large);
    assert_true(has_slowed_down());
    net.loss_percent = 0;
    net.options.congestion = QUIC_BBR;
    struct peer *bbr = open_from(FAR_HOST);
    net.loss_percent = 10;
    exchange(bbr, sizeof large);
    assert_false(has_slowed_down());
}

/* Who does not hear of the bits that it has sent stops (RFC 9000 section 13.4.2.1). */
static void a_path_that_clears_the_bits(void **state) {
    (void)state;
    net.bleaches = true;
    struct peer *p = open_from(FAR_HOST);
    exchange(p, 100000);
    memset(net.ecn, 0, sizeof net.ecn);
    exchange(p, 100000);
    assert_true(net.ecn[TO_CLIENT][ECN_NOT_ECT] > 10);
    assert_int_equal(net.ecn[TO_CLIENT][ECN_ECT_0], 0);
    assert_int_equal(p->heard_ect0, 0);
}

int main(void) {
    fill_large();
    const struct CMUnitTest tests[] = {
        NET_TEST(the_largest_size_of_ethernet),
        NET_TEST(a_tunnel_takes_less),
        NET_TEST(the_least_that_there_is),
        NET_TEST(a_host_of_ones_own_takes_much),
        NET_TEST(loopback_with_a_smaller_size),
        NET_TEST(a_path_that_shrinks),
        NET_TEST(a_path_that_shrinks_to_the_least),
        NET_TEST(loopback_that_shrinks),
        NET_TEST(a_larger_size_is_tried_again),
        NET_TEST(a_peer_that_is_gone_for_a_moment),
        NET_TEST(another_address_begins_anew),
        NET_TEST(silence_is_no_sign),
        NET_TEST(every_datagram_is_marked),
        NET_TEST(marks_are_told),
        NET_TEST(marks_slow_down),
        NET_TEST(the_congestion_control_is_the_one_that_is_asked_for),
        NET_TEST(a_path_that_clears_the_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
