/* Connections that begin with a ticket of an earlier one, and what they say before the handshake is done. */
#include "tests/unit/dataplane/quic/clients.h"

static const struct stats *stats(void) {
    return net.worker.stats;
}

static void sessions_are_resumed(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    assert_non_null(p->session);
    assert_false(echoes[0].is_resumed);
    SSL_SESSION *known = p->session;
    SSL_SESSION_up_ref(known);
    open_one(&(struct peer_wish){.session = known});
    net_run(NULL, 100000);
    assert_true(echoes[1].is_done && echoes[1].is_resumed);
    assert_int_equal(SSL_SESSION_get_max_early_data(known), 0);
    SSL_SESSION_free(known);
}

static struct peer *connect_early(const struct peer *before, SSL_SESSION *known, const char *bytes, size_t n) {
    uint8_t remembered[256];
    ngtcp2_ssize written = ngtcp2_conn_encode_0rtt_transport_params(before->conn, remembered, sizeof remembered);
    assert_true(written > 0);
    struct peer *p = peer_connect(&(struct peer_wish){
        .session = known, .early = true, .remembered = remembered, .remembered_n = (size_t)written});
    peer_send(p, bytes, n);
    return p;
}

static void early_data(void **state) {
    (void)state;
    net.options.early_data = true;
    struct peer *first = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    SSL_SESSION *known = first->session;
    assert_non_null(known);
    SSL_SESSION_up_ref(known);
    assert_true(SSL_SESSION_get_max_early_data(known) > 0);
    struct peer *p = connect_early(first, known, large, 3000);
    assert_true(net_run(all_answered, 5000000));
    check_echo(p, 0);
    assert_false(p->early_rejected);
    assert_true(echoes[1].got_early);
    assert_int_equal(echoes[1].early_bytes, 3000);
    /* A limit that the client goes by is another one. */
    net_run(NULL, 100000);
    net.options.max_concurrent_streams = 90;
    struct peer *third = connect_early(p, p->session, large, 3000);
    assert_true(net_run(last_done, 5000000));
    assert_true(third->early_rejected);
    assert_int_equal(stats()->quic_early_refused_total, 1);
    /* Switched off in the meantime. OpenSSL offers a ticket once, so it is the next one. */
    net.options.early_data = false;
    SSL_SESSION_free(known);
    net_run(NULL, 100000);
    known = third->session;
    assert_non_null(known);
    SSL_SESSION_up_ref(known);
    p = connect_early(first, known, large, 3000);
    assert_true(net_run(last_done, 5000000));
    assert_true(p->early_rejected);
    net_run(NULL, 100000);
    assert_false(echoes[2].got_early || echoes[3].got_early);
    SSL_SESSION_free(known);
}

/* Somebody has listened, and sends it all again. */
static void early_data_is_taken_once(void **state) {
    (void)state;
    net.options.early_data = true;
    struct peer *first = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    struct peer *p = connect_early(first, first->session, large, 500);
    net_end_turn();
    size_t count = net.count;
    struct parcel copies[4];
    assert_in_range(count, 1, 4);
    for (size_t i = 0; i < count; i++) {
        copies[i] = net.parcels[i];
        copies[i].bytes = malloc(copies[i].n);
        assert_non_null(copies[i].bytes);
        memcpy(copies[i].bytes, net.parcels[i].bytes, copies[i].n);
    }
    assert_true(net_run(all_answered, 5000000));
    check_echo(p, 0);
    assert_int_equal(stats()->quic_early_total, 1);
    /* from elsewhere, and to an endpoint that does not have the connection */
    quic_endpoint_destroy(net.endpoint);
    worker_end_turn(&net.worker);
    net_open();
    p->is_over = first->is_over = true;
    unsigned before = echo_count;
    for (size_t i = 0; i < count; i++) {
        struct address thief = loopback_address(50010);
        struct udp_datagram d = {.bytes = copies[i].bytes, .n = copies[i].n, .remote = &thief, .local = &net.server};
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
        free(copies[i].bytes);
    }
    net_run(NULL, 1000000);
    assert_int_equal(stats()->quic_early_total, 1);
    assert_int_equal(stats()->quic_early_refused_total, 1);
    assert_int_equal(echo_count, before + 1);
    assert_false(echoes[before].got_early);
}

/* The user hears of it, as of one in a 1-RTT packet. */
static void early_data_gives_a_stream_up(void **state) {
    (void)state;
    net.options.early_data = true;
    struct peer *first = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    memcpy(instead.bytes, "\x05\x00\x12", 3); /* STOP_SENDING of stream 0 */
    instead.n = 3;
    instead.form = IN_0RTT;
    connect_early(first, first->session, large, 500);
    assert_true(net_run(last_done, 5000000));
    net_run(NULL, 100000);
    assert_int_equal(stats()->quic_early_total, 1);
    assert_int_equal(echoes[1].stops, 1);
    assert_int_equal(echoes[1].code, 0x12);
}

int main(void) {
    fill_large();
    const struct CMUnitTest tests[] = {
        NET_TEST(sessions_are_resumed),
        NET_TEST(early_data),
        NET_TEST(early_data_is_taken_once),
        NET_TEST(early_data_gives_a_stream_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
