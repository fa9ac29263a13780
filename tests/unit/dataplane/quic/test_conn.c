/* Connections of an endpoint, from the first Initial to the last word. */
#include "tests/unit/dataplane/quic/clients.h"

#include "dataplane/tls/failure.h"
#include "dataplane/tls/quic.h"

/* ---- conditions ---- */

static bool all_settled(void) {
    for (size_t i = 0; i < net.peer_count; i++)
        if (!net.peers[i]->is_done && !net.peers[i]->is_over)
            return false;
    return true;
}

static bool all_over(void) {
    for (size_t i = 0; i < net.peer_count; i++)
        if (!net.peers[i]->is_over)
            return false;
    return true;
}

static bool all_gone(void) {
    return net.endpoint->count == 0;
}

static bool last_over(void) {
    return net.peers[net.peer_count - 1]->is_over;
}

static uint64_t code_at(const struct peer *p, bool *ret_is_application) {
    const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(p->conn);
    *ret_is_application = e->type == NGTCP2_CCERR_TYPE_APPLICATION;
    return e->error_code;
}

static void expect_transport_code(const struct peer *p, uint64_t code) {
    bool is_application;
    assert_int_equal(p->error, NGTCP2_ERR_DRAINING);
    assert_int_equal(code_at(p, &is_application), code);
    assert_false(is_application);
}

static struct stats *stats(void) {
    return net.worker.stats;
}

/* ---- tests ---- */

static void streams_are_sent_back(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    assert_true(net_run(NULL, 100000) || echoes[0].is_done);
    assert_string_equal(echoes[0].name, "site.example");
    for (int i = 0; i < 10; i++)
        peer_send(p, large, 1000 * (size_t)i);
    assert_true(net_run(all_answered, 5000000));
    for (size_t i = 0; i < 10; i++)
        check_echo(p, i);
    assert_int_equal(stats()->quic_handshakes_total, 1);
    assert_int_equal(stats()->quic_handshakes, 0);
    assert_int_equal(stats()->tls[STATS_TLS_CLIENTS].full, 1);
    const struct quic_conn *c = &net.endpoint->first->conn;
    assert_non_null(c->tls);
    assert_false(tls_quic_can_read(c->tls)); /* OpenSSL's object is gone */
    assert_in_range(quic_bytes_held(c), 1, 48 << 10);
}

static uint64_t bytes_on_the_way(enum direction direction) {
    uint64_t sum = 0;
    for (size_t i = 0; i < net.count; i++)
        sum += net.parcels[i].direction == direction ? net.parcels[i].n : 0;
    return sum;
}

static void datagrams_count_as_bytes_of_clients(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    peer_send(p, large, 100000);
    assert_true(net_run(all_answered, 5000000));
    assert_int_equal(stats()->client_sent_bytes_total, net.bytes[TO_CLIENT]);
    assert_int_equal(stats()->client_received_bytes_total + bytes_on_the_way(TO_SERVER), net.bytes[TO_SERVER]);
    quic_close(echoes[0].user.conn, QUIC_APPLICATION, 0, "");
    assert_true(net_run(last_over, 5000000));
    assert_int_equal(stats()->client_sent_bytes_total, net.bytes[TO_CLIENT]); /* the last words, too */
    assert_int_equal(stats()->origin_sent_bytes_total, 0);
}

static void a_megabyte_survives_loss(void **state) {
    (void)state;
    net.loss_percent = 10, net.disorder_percent = 20, net.double_percent = 5;
    struct peer *p = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(all_done, 60000000));
    for (int i = 0; i < 3; i++)
        peer_send(p, large, sizeof large);
    assert_true(net_run(all_answered, 600000000));
    for (size_t i = 0; i < 3; i++)
        check_echo(p, i);
    quic_endpoint_destroy(net.endpoint);
    worker_end_turn(&net.worker);
    net_open();
    assert_true(stats()->quic_packets_lost_total > 10);
}

static void a_window_holds_back(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){.window = 5000});
    peer_send(p, large, 400000);
    peer_send(p, large, 10000);
    assert_true(net_run(all_answered, 60000000));
    check_echo(p, 0);
    check_echo(p, 1);
}

static bool second_has_ended(void) {
    return net.peers[0]->ended[1];
}

/* Bytes need credit, and nothing else (RFC 9000 section 4.1). */
static void a_bare_end_passes_a_window_that_is_full(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){.connection_window = 1000});
    peer_send(p, large, 5000);
    assert_false(net_run(all_answered, 1000000));
    assert_int_equal(p->got[0].n, 1000);
    peer_send(p, "", 0);
    assert_true(net_run(second_has_ended, 1000000));
    assert_int_equal(p->got[0].n, 1000);
    ngtcp2_conn_extend_max_offset(p->conn, 1 << 20);
    assert_true(net_run(all_answered, 5000000));
    check_echo(p, 0);
}

static bool ten_turns(void) {
    static unsigned n;
    return ++n % 10 == 0;
}

static void a_blocked_socket_loses_nothing(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    peer_send(p, large, sizeof large);
    net_run(ten_turns, 100000);
    bool was_kept = false;
    for (int i = 0; i < 5; i++) {
        net.is_blocked = true;
        net_run(ten_turns, 30000);
        was_kept |= net.endpoint->first->conn.stuck.bytes != NULL;
        net_unblock(0);
        net_run(ten_turns, 30000);
    }
    assert_true(net_run(all_answered, 60000000));
    check_echo(p, 0);
    assert_true(was_kept);
    assert_null(net.endpoint->waiting);
    assert_null(net.endpoint->first->conn.stuck.bytes);
}

static bool is_sent_to(const struct peer *p) {
    for (size_t i = 0; i < net.count; i++)
        if (net.parcels[i].direction == TO_CLIENT && address_equal(&net.parcels[i].to, &p->local))
            return true;
    return false;
}

/* Whatever it takes at a time: who has had a burst goes behind the others. */
static void a_narrow_socket_is_for_all_in_turn(void **state) {
    (void)state;
    enum { COUNT = 5 };
    for (int i = 0; i < COUNT; i++)
        peer_send(open_one(&(struct peer_wish){.host = "192.0.2.1"}), large, sizeof large);
    net_run(NULL, 40000);
    net.is_blocked = true;
    net_run(NULL, 30000);
    net_drop_all();
    for (int i = 0; i < COUNT; i++) {
        net_unblock(1);
        worker_end_turn(&net.worker);
    }
    for (int i = 0; i < COUNT; i++)
        assert_true(is_sent_to(net.peers[i]));
    net_unblock(0);
    assert_true(net_run(all_answered, 60000000));
}

static void both_versions(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){.version = NGTCP2_PROTO_VER_V2});
    peer_send(p, large, 100000);
    assert_true(net_run(all_answered, 5000000));
    check_echo(p, 0);
    assert_int_equal(ngtcp2_conn_get_negotiated_version(p->conn), NGTCP2_PROTO_VER_V2);
    p = open_one(&(struct peer_wish){.wants_v2 = true});
    assert_int_equal(ngtcp2_conn_get_client_chosen_version(p->conn), NGTCP2_PROTO_VER_V1);
    assert_int_equal(ngtcp2_conn_get_negotiated_version(p->conn), NGTCP2_PROTO_VER_V2);
    p = open_one(&(struct peer_wish){0});
    assert_int_equal(ngtcp2_conn_get_negotiated_version(p->conn), NGTCP2_PROTO_VER_V1);
}

static void other_versions_are_told_ours(void **state) {
    (void)state;
    uint8_t datagram[1200] = {0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 5, 9, 9, 9, 9, 9};
    struct address client = loopback_address(5000);
    struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
    net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(stats()->quic_version_negotiations_total, 1);
    const uint8_t *p = (const uint8_t *)net.last.p;
    assert_int_equal(net.last.n, 5 + 1 + 5 + 1 + 8 + 3 * 4);
    assert_memory_equal(p + 1, "\0\0\0\0\5\11\11\11\11\11\10\1\2\3\4\5\6\7\10", 19);
    assert_memory_equal(p + 24, "\0\0\0\1\x6b\x33\x43\xcf", 8);
    d.n = 1199; /* too short to answer */
    net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(stats()->quic_version_negotiations_total, 1);
    assert_int_equal(net.endpoint->count, 0);
}

static void version_negotiations_are_bounded(void **state) {
    (void)state;
    uint8_t datagram[1200] = {0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 5, 9, 9, 9, 9, 9};
    struct address client = loopback_address(5000);
    struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
    for (int i = 0; i < 1000; i++)
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(stats()->quic_version_negotiations_total, 100);
    assert_int_equal(stats()->quic_unanswered_total, 900);
    net.worker.now += 10000;
    for (int i = 0; i < 1000; i++)
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(stats()->quic_version_negotiations_total, 110);
}

/* ---- addresses ---- */

static void retry_always(void **state) {
    (void)state;
    net.options.retry = QUIC_RETRY_ALWAYS;
    struct peer *p = open_one(&(struct peer_wish){0});
    assert_true(p->got_retry);
    assert_int_equal(stats()->quic_retries_total, 1);
    assert_int_equal(stats()->quic_tokens_accepted_total, 1);
    assert_int_equal(stats()->quic_connections_total, 1);
    peer_send(p, large, 5000);
    assert_true(net_run(all_answered, 5000000));
    /* Who has a token of an earlier connection is not asked again. */
    assert_true(p->token.n > 0);
    struct peer *again = open_one(&(struct peer_wish){.token = &p->token});
    assert_false(again->got_retry);
    assert_int_equal(stats()->quic_tokens_accepted_total, 2);
    /* A token that is not ours is none. */
    struct strbuf odd = {0};
    strbuf_add(&odd, p->token.p, p->token.n);
    odd.p[20] ^= 1;
    struct peer *other = open_one(&(struct peer_wish){.token = &odd});
    assert_true(other->got_retry);
    strbuf_finish(&odd);
}

static void retry_under_load(void **state) {
    (void)state;
    net.options.retry_above = 2;
    struct peer *first = peer_connect(&(struct peer_wish){0}), *second = peer_connect(&(struct peer_wish){0});
    struct peer *third = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(all_done, 5000000));
    assert_false(first->got_retry || second->got_retry);
    assert_true(third->got_retry);
    assert_int_equal(stats()->quic_retries_total, 1);
    assert_false(open_one(&(struct peer_wish){0})->got_retry);
}

/* The socket is another worker's from now on, who has nothing of the first one but what the process has. */
static void become_another_worker(void) {
    quic_endpoint_destroy(net.endpoint);
    worker_end_turn(&net.worker);
    quic_worker_free(&net.worker);
    net.process->workers[net.worker.index] = NULL;
    net.worker.index = net.other.index;
    assert_int_equal(quic_process_add_worker(net.process, &net.worker), 0);
    net_open();
}

static void tokens_of_one_worker_are_good_for_another(void **state) {
    (void)state;
    net.options.retry = QUIC_RETRY_ALWAYS;
    struct peer *p = peer_connect(&(struct peer_wish){0});
    net_end_turn();
    net.worker.now += DELAY_US;
    net_deliver_due();                   /* the Initial has come, the Retry is on its way */
    assert_int_equal(stats()->quic_retries_total, 1);
    become_another_worker();
    assert_true(net_run(all_done, 5000000));
    net_run(NULL, 100000);
    assert_true(p->token.n > 0);
    assert_int_equal(stats()->quic_tokens_accepted_total, 1);
    become_another_worker();
    assert_false(open_one(&(struct peer_wish){.token = &p->token})->got_retry);
    assert_int_equal(stats()->quic_tokens_accepted_total, 2);
    assert_int_equal(stats()->quic_retries_total, 1);
}

/* The Retry was for another address: its token comes from one that did not ask. */
static void tokens_are_for_one_address(void **state) {
    (void)state;
    net.options.retry = QUIC_RETRY_ALWAYS;
    struct peer *p = peer_connect(&(struct peer_wish){0});
    net_end_turn();
    net.worker.now += DELAY_US;
    net_deliver_due();                   /* the Initial has come, the Retry is on its way */
    assert_int_equal(stats()->quic_retries_total, 1);
    net.worker.now += DELAY_US;
    net_deliver_due();
    assert_true(p->got_retry);
    p->local = loopback_address(50001);
    assert_true(net_run(all_over, 5000000));
    assert_int_equal(stats()->quic_tokens_bad_total, 1);
    expect_transport_code(p, QUIC_INVALID_TOKEN);
    assert_int_equal(net.endpoint->count, 0);
}

static void nobody_is_amplified(void **state) {
    (void)state;
    struct peer *p = peer_connect(&(struct peer_wish){0});
    net_end_turn();
    p->is_mute = true;                   /* one Initial, then never a word */
    uint64_t received = net.bytes[TO_SERVER];
    assert_in_range(received, 1200, 2 * 1452);
    net_run(NULL, 20000000);
    assert_int_equal(net.bytes[TO_SERVER], received);
    assert_in_range(net.bytes[TO_CLIENT], 1200, 3 * received);
    assert_int_equal(net.endpoint->count, 0);
    assert_int_equal(stats()->quic_handshake_timeouts_total, 1);
}

/* ---- the bound of handshakes ---- */

static void handshakes_are_bounded(void **state) {
    (void)state;
    net.options.retry = QUIC_RETRY_NEVER;
    net.options.max_handshakes = 5;
    for (int i = 0; i < 20; i++)
        peer_connect(&(struct peer_wish){0})->is_mute = false;
    net_end_turn();
    for (size_t i = 0; i < net.peer_count; i++)
        net.peers[i]->is_mute = true;
    net.worker.now += DELAY_US;
    net_deliver_due();
    assert_int_equal(net.endpoint->handshakes, 5);
    assert_int_equal(stats()->quic_overload_total, 15);
    net_run(all_gone, 20000000);
    assert_int_equal(net.endpoint->handshakes, 0);
}

static void memory_is_bounded(void **state) {
    (void)state;
    net.worker.session_memory.limit = 100;
    open_one(&(struct peer_wish){0});
    assert_true(net.worker.session_memory.used > 100);
    struct peer *second = peer_connect(&(struct peer_wish){0});
    net_run(NULL, 200000);
    assert_false(second->is_done);
    assert_true(stats()->quic_overload_total > 0);
}

static void noise_leaves_nothing(void **state) {
    (void)state;
    uint8_t datagram[1200] = {0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 5, 9, 9, 9, 9, 9, 0, 0x44, 0x80};
    struct address client = loopback_address(5000);
    struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
    for (int i = 0; i < 100; i++) {
        RAND_bytes(datagram + 23, (int)sizeof datagram - 23);
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
        worker_end_turn(&net.worker);
    }
    assert_int_equal(net.packets[TO_CLIENT], 0);
    assert_int_equal(stats()->tls[STATS_TLS_CLIENTS].full, 0);
    net.worker.now += net.options.handshake_timeout + 1000000;
    net_expire();
    worker_end_turn(&net.worker);
    assert_int_equal(net.endpoint->count, 0);
    assert_int_equal(net.worker.session_memory.used, 0);
}

/* Without a token the library passes over a first ID of less than eight octets. It has to be as long with one. */
static void first_ids_are_never_short(void **state) {
    (void)state;
    struct address client = loopback_address(5000);
    for (uint8_t n = 0; n < NGTCP2_MIN_INITIAL_DCIDLEN; n++) {
        uint8_t datagram[1200] = {0xc3, 0, 0, 0, 1, n};
        memcpy(datagram + 6 + n, "\5abcde" "\1t" "\x44\x80", 10); /* the other ID, a token, a length */
        struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    }
    assert_int_equal(stats()->quic_malformed_total, NGTCP2_MIN_INITIAL_DCIDLEN);
    assert_int_equal(stats()->quic_connections_total, 0);
}

/* ---- ends ---- */

static void a_close_is_told(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    quic_close(echoes[0].user.conn, QUIC_APPLICATION, 0x101, "enough");
    quic_close(echoes[0].user.conn, QUIC_APPLICATION, 0x102, "not heard");
    assert_true(net_run(all_over, 1000000));
    bool is_application;
    assert_int_equal(code_at(p, &is_application), 0x101);
    assert_true(is_application && echoes[0].is_closed && echoes[0].is_destroyed);
    assert_int_equal(echoes[0].closing.cause, QUIC_BY_US);
    assert_int_equal(echoes[0].closing.code, 0x101);
    assert_int_equal(stats()->quic_connections, 0);
    assert_true(net_run(all_gone, 5000000));
}

/* Who does not know that it is over is told again, less and less often. */
static void who_knocks_is_told_again(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    peer_send(p, large, 100);
    net_end_turn();
    quic_close(echoes[0].user.conn, QUIC_TRANSPORT, QUIC_INTERNAL_ERROR, "");
    worker_end_turn(&net.worker);
    assert_int_equal(net.endpoint->count, 1);
    assert_true(net.count > 0);
    struct parcel *knock = NULL;
    for (size_t i = 0; i < net.count; i++)
        if (net.parcels[i].direction == TO_SERVER)
            knock = &net.parcels[i];
    assert_non_null(knock);
    uint64_t before = net.packets[TO_CLIENT];
    struct udp_datagram d = {.bytes = knock->bytes, .n = knock->n, .remote = &knock->from, .local = &knock->to};
    for (int i = 0; i < 100; i++)
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_in_range(net.packets[TO_CLIENT] - before, 5, 8);
    net_drop_all();
    p->is_over = true;
    assert_true(net_run(all_gone, 5000000));
    assert_null(net.worker.quic->first_closing);
}

static void the_peer_closes(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    uint8_t packet[1500];
    ngtcp2_ccerr error;
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info;
    ngtcp2_path_storage_zero(&path);
    ngtcp2_ccerr_set_application_error(&error, 0x10c, (const uint8_t *)"bye", 3);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(p->conn, &path.path, &info, packet, sizeof packet, &error,
                                                        net.worker.now * 1000);
    assert_true(n > 0);
    net_post(TO_SERVER, &p->local, &net.server, packet, (size_t)n, 0);
    p->is_over = true;
    uint64_t before = net.packets[TO_CLIENT];
    net_run(NULL, DELAY_US * 2);
    assert_true(echoes[0].is_destroyed);
    assert_int_equal(echoes[0].closing.cause, QUIC_BY_PEER);
    assert_int_equal(echoes[0].closing.space, QUIC_APPLICATION);
    assert_int_equal(echoes[0].closing.code, 0x10c);
    assert_int_equal(net.packets[TO_CLIENT], before);
    assert_true(net_run(all_gone, 5000000));
}

static void idleness_ends_it(void **state) {
    (void)state;
    net.options.idle_timeout = 2000000;
    struct peer *p = open_one(&(struct peer_wish){0});
    net_run(NULL, 1000000);
    assert_false(echoes[0].is_closed);
    p->is_mute = p->is_over = true;
    assert_true(net_run(all_gone, 3000000));
    assert_true(echoes[0].is_destroyed);
    assert_int_equal(echoes[0].closing.cause, QUIC_IDLE);
}

/* With an idle timeout of two seconds on one side. */
static void assert_kept_alive_by(uint64_t keep_alive) {
    assert_int_equal(quic_idle_timeout(echoes[0].user.conn), 2000000);
    quic_set_keep_alive(echoes[0].user.conn, keep_alive);
    quic_mark_dirty(echoes[0].user.conn);
    net_run(NULL, 20000000);
    assert_false(echoes[0].is_closed);
}

static void keep_alive_prevents_idleness(void **state) {
    (void)state;
    net.options.idle_timeout = 2000000;
    open_one(&(struct peer_wish){0});
    assert_kept_alive_by(500000);
}

/* The peer's timeout counts as well, and a keep-alive that is longer would come too late for it. */
static void keep_alive_regards_the_peers_timeout(void **state) {
    (void)state;
    open_one(&(struct peer_wish){.idle_timeout = 2000000});
    assert_kept_alive_by(5000000);
}

static void the_lower_idle_timeout_counts(void **state) {
    (void)state;
    net.options.idle_timeout = 2000000;
    open_one(&(struct peer_wish){0});
    assert_int_equal(quic_idle_timeout(echoes[0].user.conn), 2000000);
    open_one(&(struct peer_wish){.idle_timeout = 3000000});
    assert_int_equal(quic_idle_timeout(echoes[1].user.conn), 2000000);
    net.options.idle_timeout = 0;
    open_one(&(struct peer_wish){0});
    assert_int_equal(quic_idle_timeout(echoes[2].user.conn), 0);
}

/* A process that knows nothing of the connection, with the keys of the one before. */
static void a_later_process_resets(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    net_run(NULL, 100000);
    net_drop_all();
    quic_endpoint_destroy(net.endpoint);
    worker_end_turn(&net.worker);
    net_drop_all();
    net.process->options.generation++;
    net_open();
    peer_send(p, large, 2000);
    assert_true(net_run(all_over, 5000000));
    assert_true(p->was_reset);
    assert_true(stats()->quic_resets_sent_total >= 1);
    assert_int_equal(p->error, NGTCP2_ERR_DRAINING);
}

static void resets_are_bounded(void **state) {
    (void)state;
    uint8_t datagram[100];
    struct address client = loopback_address(5000);
    struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
    for (int i = 0; i < 1000; i++) {
        RAND_bytes(datagram, sizeof datagram);
        datagram[0] = 0x40;
        net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    }
    assert_in_range(stats()->quic_resets_sent_total, 50, 101);
    assert_in_range(stats()->quic_unknown_total, 980, 1000);
    assert_true(net.last.n < sizeof datagram);
    datagram[0] = 0x40;
    d.n = 42; /* so short that the answer could not be shorter */
    uint64_t before = net.packets[TO_CLIENT];
    net.worker.now += 1000000;
    net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(net.packets[TO_CLIENT], before);
}

/* A Version Negotiation packet, which only servers send, with an ID longer than there are. */
static void version_negotiation_from_a_client(void **state) {
    (void)state;
    uint8_t datagram[1200] = {0xc0, 0, 0, 0, 0, 200};
    struct address client = loopback_address(5000);
    struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
    net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(stats()->quic_malformed_total, 1);
    assert_int_equal(net.packets[TO_CLIENT], 0);
}

static void strays_go_to_their_worker(void **state) {
    (void)state;
    uint8_t datagram[100] = {0x40};
    struct address client = loopback_address(5000);
    struct udp_datagram d = {.bytes = datagram, .n = sizeof datagram, .remote = &client, .local = &net.server};
    assert_true(quic_ids_make(&net.endpoint->issuer->ids, 1, datagram + 1));
    net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(net.forwarded, 1);
    assert_int_equal(stats()->quic_astray_total, 1);
    d.is_forwarded = true; /* never on and on */
    net.endpoint->socket.ops->on_datagram(&net.endpoint->socket, &d);
    assert_int_equal(net.forwarded, 1);
}

/* ---- TLS ---- */

static void a_wrong_protocol_is_refused(void **state) {
    (void)state;
    struct peer *p = peer_connect(&(struct peer_wish){.protocol = "h2"});
    assert_true(net_run(all_over, 5000000));
    expect_transport_code(p, QUIC_CRYPTO_ERROR + 120);
    assert_int_equal(stats()->tls[STATS_TLS_CLIENTS].failures[TLS_FAILURE_PROTOCOL], 1);
    assert_int_equal(echo_count, 0);
    assert_true(net_run(all_gone, 5000000));
}

static void nobody_speaks(void **state) {
    (void)state;
    refuses = true;
    struct peer *p = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(all_over, 5000000));
    expect_transport_code(p, QUIC_CONNECTION_REFUSED);
    assert_int_equal(stats()->quic_refused_total, 1);
    assert_true(net_run(all_gone, 5000000));
}

static void a_stopped_endpoint_refuses(void **state) {
    (void)state;
    struct peer *first = open_one(&(struct peer_wish){0});
    quic_endpoint_stop(net.endpoint);
    struct peer *p = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(last_over, 100000));
    expect_transport_code(p, QUIC_CONNECTION_REFUSED);
    peer_send(first, large, 10000);
    assert_true(net_run(all_answered, 5000000));
    assert_int_equal(empty_calls, 0);
    quic_close(echoes[0].user.conn, QUIC_APPLICATION, 0x100, "");
    assert_true(net_run(all_gone, 5000000));
    assert_int_equal(empty_calls, 1);
    quic_endpoint_resume(net.endpoint, &net);
    open_one(&(struct peer_wish){0});
}

static void clients_have_names(void **state) {
    (void)state;
    net.tls.server_message.has_client_certificates = 1;
    net.tls.server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    net.tls.server_message.client_trust = (char *)"ca";
    fixture_build(&net.tls, TLS_HTTP3, TLS_HTTP1);
    quic_endpoint_renew(net.endpoint, &net.options, net.tls.server);
    open_one(&(struct peer_wish){.certificate = &net.tls.visitor});
    net_run(NULL, 100000);
    assert_non_null(strstr(echoes[0].peer, "visitor.example"));
    struct peer *nameless = peer_connect(&(struct peer_wish){0});
    assert_true(net_run(last_over, 300000));
    expect_transport_code(nameless, QUIC_CRYPTO_ERROR + 116);
}

static void keys_are_updated(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){0});
    for (int i = 0; i < 3; i++) {
        net_run(NULL, 1000000);
        peer_send(p, large, 5000); /* the next keys are made when a packet comes */
        assert_true(net_run(all_answered, 5000000));
        assert_int_equal(ngtcp2_conn_initiate_key_update(p->conn, net.worker.now * 1000), 0);
        peer_send(p, large, 50000);
        assert_true(net_run(all_answered, 5000000));
    }
    check_echo(p, 5);
}

/* ---- streams ---- */

static void streams_are_ended(void **state) {
    (void)state;
    struct peer *p = open_one(&(struct peer_wish){.window = 1000});
    peer_send(p, large, 100000);
    net_run(ten_turns, 1000000);
    ngtcp2_conn_shutdown_stream_write(p->conn, 0, 0, 0x11);
    net_run(NULL, 100000);
    assert_int_equal(echoes[0].resets, 1);
    assert_int_equal(echoes[0].code, 0x11);
    ngtcp2_conn_shutdown_stream_read(p->conn, 0, 0, 0x12);
    net_run(NULL, 100000);
    assert_int_equal(echoes[0].stops, 1);
    assert_int_equal(echoes[0].code, 0x12);
    assert_int_equal(p->closed_streams, 1);
}

/* As many as a browser gives up when its user goes elsewhere: in one datagram. */
static void many_streams_are_stopped_at_once(void **state) {
    (void)state;
    enum { COUNT = 50 };
    struct peer *p = open_one(&(struct peer_wish){0});
    for (int i = 0; i < COUNT; i++)
        peer_send(p, large, 100000);
    net_run(ten_turns, 1000000);
    for (int64_t i = 0; i < COUNT; i++)
        assert_int_equal(ngtcp2_conn_shutdown_stream_read(p->conn, 0, i * 4, 0x12), 0);
    net_run(NULL, 100000);
    assert_int_equal(echoes[0].stops, COUNT);
}

static void the_server_opens_streams(void **state) {
    (void)state;
    open_one(&(struct peer_wish){0});
    struct quic_conn *c = echoes[0].user.conn;
    int64_t id;
    assert_int_equal(quic_streams_left(c, false), 16);
    assert_int_equal(quic_open_stream(c, false, &id), 0);
    assert_int_equal(id, 3);
    assert_int_equal(quic_streams_left(c, true), 0);
    assert_int_equal(quic_open_stream(c, true, &id), -1);
}

/* ---- without memory ---- */

static void allocations_fail_in_turn(void **state) {
    (void)state;
    uint64_t before = hg_alloc_count();
    struct peer *p = open_one(&(struct peer_wish){0});
    peer_send(p, large, 20000);
    assert_true(net_run(all_answered, 5000000));
    long count = (long)(hg_alloc_count() - before);
    assert_true(count > 5);
    for (long i = 0; i < count && net.peer_count < PEERS_MAX; i++) {
        p->is_over = true;
        p->is_mute = true;
        free_lists_finish(&net.worker.free_lists); /* else they would hide most of what can fail */
        assert_int_equal(free_lists_init(&net.worker.free_lists, 0), 0);
        p = peer_connect(&(struct peer_wish){0});
        hg_alloc_fail_at(i, 0);
        net_run(all_settled, 3000000);
        hg_alloc_fail_at(-1, 0);
    }
}

int main(void) {
    fill_large();
    const struct CMUnitTest tests[] = {
        NET_TEST(streams_are_sent_back),
        NET_TEST(datagrams_count_as_bytes_of_clients),
        NET_TEST(a_megabyte_survives_loss),
        NET_TEST(a_window_holds_back),
        NET_TEST(a_bare_end_passes_a_window_that_is_full),
        NET_TEST(a_blocked_socket_loses_nothing),
        NET_TEST(a_narrow_socket_is_for_all_in_turn),
        NET_TEST(both_versions),
        NET_TEST(other_versions_are_told_ours),
        NET_TEST(version_negotiations_are_bounded),
        NET_TEST(retry_always),
        NET_TEST(retry_under_load),
        NET_TEST(tokens_of_one_worker_are_good_for_another),
        NET_TEST(tokens_are_for_one_address),
        NET_TEST(nobody_is_amplified),
        NET_TEST(handshakes_are_bounded),
        NET_TEST(memory_is_bounded),
        NET_TEST(noise_leaves_nothing),
        NET_TEST(first_ids_are_never_short),
        NET_TEST(a_close_is_told),
        NET_TEST(who_knocks_is_told_again),
        NET_TEST(the_peer_closes),
        NET_TEST(idleness_ends_it),
        NET_TEST(keep_alive_prevents_idleness),
        NET_TEST(keep_alive_regards_the_peers_timeout),
        NET_TEST(the_lower_idle_timeout_counts),
        NET_TEST(a_later_process_resets),
        NET_TEST(resets_are_bounded),
        NET_TEST(version_negotiation_from_a_client),
        NET_TEST(strays_go_to_their_worker),
        NET_TEST(a_wrong_protocol_is_refused),
        NET_TEST(nobody_speaks),
        NET_TEST(a_stopped_endpoint_refuses),
        NET_TEST(clients_have_names),
        NET_TEST(keys_are_updated),
        NET_TEST(streams_are_ended),
        NET_TEST(many_streams_are_stopped_at_once),
        NET_TEST(the_server_opens_streams),
        NET_TEST(allocations_fail_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
