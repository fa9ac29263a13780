/* Where connections go: addresses that change, Retry, IDs, sizes of datagrams. */
#include "tests/unit/dataplane/quic/network.h"

#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIZE = 1 << 20, MOVED = 50002, VICTIM = 50003, MOMENTS = 30, SILENCE = 300000 };

static char         large[SIZE];
static struct peer *mover;
static unsigned     turns_left, answers_lost;
static bool         was_sent_elsewhere;

static struct stats *stats(void) {
    return net.worker.stats;
}

/* ---- conditions ---- */

static bool is_done(void) {
    return mover->is_done;
}

static bool is_answered(void) {
    return mover->ended[0];
}

static bool is_time(void) {
    return turns_left-- == 0;
}

static bool all_gone(void) {
    return net.endpoint->count == 0;
}

static bool is_sent_to(uint16_t port) {
    for (size_t i = 0; i < net.count; i++)
        if (net.parcels[i].direction == TO_CLIENT && address_port(&net.parcels[i].to) == port)
            return true;
    return false;
}

static bool watch_new_address(void) {
    was_sent_elsewhere |= is_sent_to(MOVED);
    return false;
}

static bool has_said_all(void) {
    return mover->sending[0].end_taken;
}

static void expect_echo(void) {
    assert_true(net_run(is_answered, 60000000));
    assert_int_equal(mover->got[0].n, SIZE);
    assert_memory_equal(mover->got[0].p, large, SIZE);
}

/* ---- moving ---- */

static void move_after(void **state, unsigned turns) {
    struct conn_ends ends;
    assert_int_equal(net_setup(state), 0);
    mover = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(is_done, 5000000));
    net_run(NULL, 100000); /* before the server has the whole handshake nobody may move (RFC 9000 section 9) */
    peer_send(mover, large, SIZE);
    turns_left = turns;
    net_run(is_time, 1000000);
    peer_move(mover, MOVED);
    expect_echo();
    if (stats()->quic_migrations_total != 1)
        fail_msg("%lu moves instead of one after %u turns", (unsigned long)stats()->quic_migrations_total, turns);
    assert_true(quic_get_ends(&net.endpoint->first->conn, &ends));
    assert_int_equal(address_port(&ends.remote), MOVED);
    assert_int_equal(net_teardown(state), 0);
}

static void an_address_changes_at_any_moment(void **state) {
    for (unsigned turns = 0; turns < MOMENTS; turns++)
        move_after(state, turns);
}

/* Both would wait for each other when the answer to PATH_CHALLENGE is lost, all that may go to an address that is not
 * validated has gone there, and the client has nothing to say. So it is asked again, and enough is left for that. */
static void lose_answers(void **state, unsigned turns) {
    assert_int_equal(net_setup(state), 0);
    mover = peer_connect(&(struct peer_wish){.window = 16384});
    assert_true(net_run(is_done, 5000000));
    net_run(NULL, 100000);
    peer_send(mover, large, SIZE);
    assert_true(net_run(has_said_all, 10000000));
    net_run(NULL, 20 * DELAY_US); /* and has heard that it came */
    assert_true(mover->got[0].n < SIZE / 2);
    mover->local = loopback_address(MOVED);
    net.answers_lost = 1; /* one packet answers both challenges */
    uint64_t began = net.worker.now;
    turns_left = turns;
    net_run(is_time, SILENCE);
    net.mtu[TO_SERVER] = 1; /* all of it is lost, so that the client has little to say */
    net_run(NULL, SILENCE);
    net.mtu[TO_SERVER] = 0;
    expect_echo();
    if (net.worker.now - began > 5000000)
        fail_msg("%lu ms after a move at turn %u", (unsigned long)(net.worker.now - began) / 1000, turns);
    answers_lost += net.answers_lost == 0;
    assert_int_equal(net_teardown(state), 0);
}

static void an_answer_that_is_lost_is_asked_for_again(void **state) {
    for (unsigned turns = 0; turns < MOMENTS; turns++)
        lose_answers(state, turns);
    assert_true(answers_lost > MOMENTS / 2);
}

/* Nothing goes to an address that a handshake did not begin from, and nothing that comes from there ends it. */
static void nobody_is_followed_within_a_handshake(void **state) {
    (void)state;
    mover = peer_connect(&(struct peer_wish){0});
    net_end_turn();
    net.worker.now += DELAY_US;
    net_deliver_due();
    net_end_turn();
    assert_int_equal(net.endpoint->handshakes, 1);
    struct address before = mover->local;
    mover->local = loopback_address(MOVED);
    was_sent_elsewhere = false;
    net_run(watch_new_address, 1000000);
    assert_false(was_sent_elsewhere);
    assert_int_equal(net.endpoint->handshakes, 1);
    mover->local = before;
    assert_true(net_run(is_done, 8000000));
    peer_send(mover, large, SIZE);
    expect_echo();
    assert_int_equal(stats()->quic_migrations_total, 0);
}

static void who_moves_within_a_handshake_has_to_begin_again(void **state) {
    (void)state;
    mover = peer_connect(&(struct peer_wish){0});
    net_end_turn();
    net.worker.now += DELAY_US;
    net_deliver_due();
    mover->local = loopback_address(MOVED);
    assert_true(net_run(all_gone, 20000000));
    assert_int_equal(stats()->quic_handshake_timeouts_total, 1);
    mover = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(is_done, 5000000));
}

/* ---- what goes elsewhere ---- */

static bool is_far_on(void) {
    return mover->got[0].n > SIZE / 4;
}

/* All that it has to say is said, and the server is in the middle of its answer. */
static void begin_download(void) {
    mover = peer_connect(&(struct peer_wish){.connection_window = 1});
    assert_true(net_run(is_done, 5000000));
    peer_send(mover, large, SIZE);
    assert_true(net_run(has_said_all, 10000000));
    net_run(NULL, 20 * DELAY_US);
    ngtcp2_conn_extend_max_offset(mover->conn, SIZE);
    assert_true(net_run(is_far_on, 10000000));
}

/* PATH_CHALLENGE and PADDING, from another address. Returns its bytes. */
static uint64_t probe_from(uint16_t port) {
    struct address before = mover->local;
    uint64_t sent = net.bytes[TO_SERVER];
    memset(instead.bytes, 0, sizeof instead.bytes);
    memcpy(instead.bytes, "\x1a" "12345678", 9);
    instead.n = 1000;
    mover->local = loopback_address(port);
    peer_send(mover, large, instead.n);
    net.worker.now += 1000; /* for its pacing */
    peer_write(mover);
    mover->local = before;
    assert_int_equal(instead.n, 0);
    return net.bytes[TO_SERVER] - sent;
}

/* An address that anybody can name gets the answer to the probe, and nothing of the download (RFC 9000 section 8). */
static void a_probe_takes_nothing_along(void **state) {
    (void)state;
    net.options.max_udp_payload = NGTCP2_MAX_UDP_PAYLOAD_SIZE; /* of which the answer is, too */
    begin_download();
    net.watched = VICTIM;
    uint64_t bytes = probe_from(VICTIM);
    expect_echo();
    assert_int_equal(net.watched_packets, 1);
    assert_in_range(net.watched_bytes, 1, 3 * bytes);
    assert_int_equal(stats()->quic_migrations_total, 0);
}

static uint8_t challenges(void) {
    return net.endpoint->first->conn.unproven.asked;
}

static uint8_t challenges_before;

static bool has_moved(void) {
    if (stats()->quic_migrations_total > 0)
        return true;
    challenges_before = challenges();
    net.watched_packets = 0;
    return false;
}

/* Once the new address is valid, the old one is asked whether it still is. */
static void an_old_address_gets_challenges_alone(void **state) {
    (void)state;
    begin_download();
    net.watched = address_port(&mover->local);
    mover->local = mover->inner = loopback_address(MOVED);
    ngtcp2_path path = quic_path(&mover->inner, &net.server);
    assert_int_equal(ngtcp2_conn_initiate_immediate_migration(mover->conn, &path, net.worker.now * 1000), 0);
    assert_true(net_run(has_moved, 5000000));
    expect_echo();
    assert_true(net.watched_packets > 0);
    assert_int_equal(net.watched_packets, challenges() - challenges_before);
}

/* ---- Retry ---- */

/* Its ClientHello is two datagrams. */
static const struct peer_wish post_quantum = {.groups = "X25519MLKEM768"};

static void a_large_hello_gets_one_retry(void **state) {
    (void)state;
    net.options.retry = QUIC_RETRY_ALWAYS;
    mover = peer_connect(&post_quantum);
    net_end_turn();
    assert_int_equal(net.packets[TO_SERVER], 2);
    assert_true(net_run(is_done, 5000000));
    assert_true(mover->got_retry);
    assert_int_equal(stats()->quic_retries_total, 1);
    assert_int_equal(stats()->quic_connections_total, 1);
}

static void a_retry_that_is_lost_is_sent_again(void **state) {
    (void)state;
    net.options.retry = QUIC_RETRY_ALWAYS;
    mover = peer_connect(&post_quantum);
    net_end_turn();
    net.worker.now += DELAY_US;
    net_deliver_due();
    assert_int_equal(stats()->quic_retries_total, 1);
    net_drop_all();
    assert_true(net_run(is_done, 5000000));
    assert_int_equal(stats()->quic_retries_total, 2);
}

/* ---- IDs ---- */

static struct {
    uint8_t bytes[16];
    bool    is_known;
    int     left;                         /* so many calls get the same again */
} again;

/* In place of libc's, for IDs that come twice. */
ssize_t getrandom(void *to, size_t n, unsigned flags) {
    if (again.left > 0 && again.is_known && n <= sizeof again.bytes) {
        again.left--;
        memcpy(to, again.bytes, n);
        return (ssize_t)n;
    }
    ssize_t got = syscall(SYS_getrandom, to, n, flags);
    if (n <= sizeof again.bytes) {
        memcpy(again.bytes, to, n);
        again.is_known = true;
    }
    return got;
}

static void no_id_is_issued_twice(void **state) {
    (void)state;
    mover = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(is_done, 5000000));
    net_run(NULL, 100000);
    again.left = 3;
    mover = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(is_done, 5000000));
    assert_int_equal(again.left, 0);
    assert_int_equal(stats()->quic_overload_total, 0);
    peer_send(mover, large, SIZE);
    expect_echo();
}

static bool names_have_length(const struct quic_conn *c, size_t n) {
    unsigned of_ours = 0;
    uint8_t worker, generation;
    for (const struct quic_name *name = c->names; name; name = name->next) {
        bool is_ours = quic_ids_read(&net.endpoint->issuer->ids, name->id, name->n, &worker, &generation);
        of_ours += is_ours && name->n == n;
        if (is_ours && name->n != n)
            return false;
    }
    return of_ours > 1;
}

static size_t id_length_of(const struct peer *p) {
    return ngtcp2_conn_get_dcid(p->conn)->datalen;
}

/* The first octet of QUIC-LB names the configuration, and the server stands behind it. */
static void a_new_server_id_is_for_new_connections(void **state) {
    (void)state;
    struct quic_options next = net.options;
    struct peer *before = mover = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(is_done, 5000000));
    struct quic_server *first = net.endpoint->first;
    next.server_id = (struct quic_server_id){.id = {0xab, 0xcd, 0xef}, .id_n = 3, .nonce_n = 9, .config = 2};
    quic_endpoint_renew(net.endpoint, &next, net.tls.server);
    mover = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(is_done, 5000000));
    const ngtcp2_cid *id = ngtcp2_conn_get_dcid(mover->conn);
    assert_int_equal(id->datalen, 1 + 3 + 9 + 3);
    assert_memory_equal(id->data, "\x4f\xab\xcd\xef", 4);
    assert_int_equal(id_length_of(before), QUIC_ID_PLAIN);
    mover = before;
    peer_send(mover, large, SIZE);
    turns_left = 10;
    net_run(is_time, 1000000);
    peer_move(mover, MOVED); /* which takes further IDs */
    expect_echo();
    assert_true(names_have_length(&first->conn, QUIC_ID_PLAIN));
    assert_true(names_have_length(&net.endpoint->first->conn, 16));
    quic_endpoint_renew(net.endpoint, &net.options, net.tls.server);
}

/* IDs of whatever length find their worker. */
static void strays_of_other_lengths_go_to_their_worker(void **state) {
    (void)state;
    static const struct quic_server_id ids[] = {{.id_n = 0}, {.id_n = 4, .nonce_n = 12}, {.id_n = 1, .nonce_n = 10}};
    struct address client = loopback_address(5000);
    for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
        uint8_t datagram[100] = {0x40};
        struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
        struct quic_ids of;
        assert_int_equal(quic_ids_init(&of, net.process->options.ids_key, net.process->options.generation, &ids[i]), 0);
        assert_true(quic_ids_make(&of, 1, datagram + 1));
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
        assert_int_equal(net.forwarded, i + 1);
        quic_ids_finish(&of);
    }
}

/* ---- sizes ---- */

static size_t largest_towards(uint32_t said, const char *peer) {
    struct quic_conn c = {.worker = &net.worker, .room = net.worker.quic};
    struct quic_options options = net.options;
    struct address remote;
    ngtcp2_settings settings;
    options.max_udp_payload = said;
    assert_int_equal(address_parse(str_of(peer), &remote), 0);
    quic_fill_settings(&c, &options, &remote, &settings);
    return settings.max_tx_udp_payload_size;
}

static void the_path_says_how_large_datagrams_are(void **state) {
    (void)state;
    assert_int_equal(largest_towards(0, "192.0.2.1:1"), QUIC_ETHERNET_PAYLOAD);
    assert_int_equal(largest_towards(0, "127.0.0.1:1"), QUIC_LOOPBACK_PAYLOAD);
    assert_int_equal(largest_towards(0, "[::1]:1"), QUIC_LOOPBACK_PAYLOAD);
    assert_int_equal(largest_towards(0, "[::ffff:127.0.0.1]:1"), QUIC_LOOPBACK_PAYLOAD);
    assert_int_equal(largest_towards(0, "[::ffff:192.0.2.1]:1"), QUIC_ETHERNET_PAYLOAD);
    assert_int_equal(largest_towards(1452, "127.0.0.1:1"), 1452);
    assert_int_equal(largest_towards(9000, "192.0.2.1:1"), 9000);
    assert_int_equal(largest_towards(65527, "192.0.2.1:1"), QUIC_BURST_SIZE);
}

/* Whatever was lost before, a probe that gets lost leaves some of the congestion window to what comes behind it. */
static void probes_do_not_fill_the_congestion_window(void **state) {
    unsigned probes = 0;
    for (unsigned seed = 1; seed <= MOMENTS; seed++) {
        assert_int_equal(net_setup(state), 0);
        net.random = seed;
        net.mtu[TO_CLIENT] = 1500;
        mover = peer_connect(&(struct peer_wish){0});
        assert_true(net_run(is_done, 5000000));
        net.loss_percent = 30;
        peer_send(mover, large, SIZE);
        net_run(is_answered, 3000000);
        net.loss_percent = 0;
        expect_echo();
        probes += net.too_long;
        assert_int_equal(net.windows_filled, 0);
        assert_int_equal(net_teardown(state), 0);
    }
    assert_true(probes > 0);
}

int main(void) {
    for (size_t i = 0; i < SIZE; i++)
        large[i] = (char)(i * 2654435761u >> 24);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_changes_at_any_moment),
        cmocka_unit_test(an_answer_that_is_lost_is_asked_for_again),
        NET_TEST(nobody_is_followed_within_a_handshake),
        NET_TEST(who_moves_within_a_handshake_has_to_begin_again),
        NET_TEST(a_probe_takes_nothing_along),
        NET_TEST(an_old_address_gets_challenges_alone),
        NET_TEST(a_large_hello_gets_one_retry),
        NET_TEST(a_retry_that_is_lost_is_sent_again),
        NET_TEST(no_id_is_issued_twice),
        NET_TEST(a_new_server_id_is_for_new_connections),
        NET_TEST(strays_of_other_lengths_go_to_their_worker),
        NET_TEST(the_path_says_how_large_datagrams_are),
        cmocka_unit_test(probes_do_not_fill_the_congestion_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
