/* A connection over TLS among others: what sessions of one worker share must not pass between them. Real sockets. */
#include "tests/unit/dataplane/net/loop.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "dataplane/net/conn.h"
#include "dataplane/tls/client.h"
#include "dataplane/tls/server.h"
#include "dataplane/tls/session.h"
#include "tests/unit/dataplane/tls/certificates.h"

static struct certificate certificate;
static struct known_secrets secrets;
static struct error_list errors;
static struct tls_server *server;
static SSL_CTX *context;
static SSL *ssl;
static struct conn conn;
static int peer;
static size_t received, shared_at_bytes;
static bool is_connected, is_gone;
static int error_seen;
static const char *to_write;
static unsigned repeats;                        /* so many times, each a piece of its own */
static bool has_produced, has_written;

/* ---- a codec that answers what it gets and closes at once */

static size_t read_limit(struct conn *c) {
    (void)c;
    return READ_MAX;
}

static void on_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    (void)bytes;
    received += n;
    shared_at_bytes = worker.tls->out_n;
    assert_int_equal(slice_queue_copy(&c->out, &worker.pool, "answer", 6), 0);
    conn_close(c);
}

static void on_connected(struct conn *c) {
    (void)c;
    is_connected = true;
}

static void on_eof(struct conn *c) {
    conn_close(c);
}

static void on_error(struct conn *c, int error) {
    error_seen = error;
    conn_close(c);
}

static bool produce(struct conn *c, struct gather *g) {
    (void)c;
    for (unsigned i = 0; to_write && i <= repeats; i++)
        assert_true(gather_bytes(g, to_write, strlen(to_write)));
    has_produced |= to_write != NULL;
    to_write = NULL;
    return false;
}

static void on_written(struct conn *c) {
    (void)c;
    has_written |= has_produced;
}

static void on_deadline(struct conn *c, enum conn_deadline which) {
    (void)c;
    (void)which;
}

static void destroy(struct conn *c) {
    (void)c;
    is_gone = true;
}

static const struct conn_ops ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_error,
    .on_connected = on_connected, .produce = produce, .on_written = on_written, .on_deadline = on_deadline,
    .destroy = destroy, .is_client = true,
};

/* ---- set-up */

static int set_up(void **state) {
    static char *names[] = {(char *)"site"};
    Headgate__ServerTls message = HEADGATE__SERVER_TLS__INIT;
    const struct tls_secrets lookup = {secrets_find, &secrets};
    const struct tls_place place = {"listener/web", "tls", &errors};
    received = shared_at_bytes = 0;
    is_connected = is_gone = false;
    error_seen = 0;
    to_write = NULL;
    repeats = 0;
    has_produced = has_written = false;
    if (worker_set_up(state) < 0)
        return -1;
    certificate = certificate_make(&(struct certificate_wish){.name = "site", .is_ca = true});
    secrets_init(&secrets);
    secret_add_pair(&secrets, "site", &certificate, NULL);
    message.certificates = names;
    message.n_certificates = 1;
    server = tls_server_build(&message, TLS_HTTP1, &lookup, &place);
    context = SSL_CTX_new(TLS_client_method());
    return server && context ? 0 : -1;
}

static int tear_down(void **state) {
    conn_close(&conn);
    worker_end_turn(&worker);
    assert_true(is_gone);
    close(peer);
    SSL_free(ssl);
    SSL_CTX_free(context);
    tls_io_free(&worker);
    tls_server_unref(server);
    certificate_finish(&certificate);
    secrets_finish(&secrets);
    error_list_finish(&errors);
    tls_libraries_free();
    return worker_tear_down(state);
}

/* The client writes into memory, so that the test says what is sent together. */
static void begin_on(int kind, BIO *(*make_input)(int fd, int close_flag)) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    peer = ends[1];
    ssl = SSL_new(context);
    SSL_set0_rbio(ssl, make_input(peer, BIO_NOCLOSE));
    SSL_set0_wbio(ssl, BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    conn_init(&conn, &worker, (struct transport){.fd = ends[0], .tls = tls_session_accept(&worker, server)}, &ops);
    assert_non_null(conn.tls);
    conn_handshake(&conn, NULL, 0);
}

static void begin(void) {
    begin_on(SOCK_STREAM, BIO_new_socket);
}

static void send_written(void) {
    char *bytes;
    long n = BIO_get_mem_data(SSL_get_wbio(ssl), &bytes);
    assert_int_equal(send(peer, bytes, (size_t)n, MSG_NOSIGNAL), n);
    (void)BIO_reset(SSL_get_wbio(ssl));
}

/* Up to the client's last words of the handshake, which are not sent yet. */
static void shake_hands(void) {
    while (SSL_do_handshake(ssl) != 1) {
        send_written();
        turn();
    }
}

/* ---- tests */

/* A record that the codec answers by closing, and behind it one that is broken: the alert for it is of this connection. */
static void alert_is_not_left_to_others(void **state) {
    static const char broken[] = "\x17\x03\x03\x00\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    (void)state;
    begin();
    shake_hands();
    assert_int_equal(SSL_write(ssl, "request", 7), 7);
    BIO_write(SSL_get_wbio(ssl), broken, sizeof broken - 1);
    send_written();
    TURN_UNTIL(is_gone);
    assert_true(is_connected);
    assert_int_equal(received, 7);
    assert_int_equal(shared_at_bytes, 0);
    assert_int_equal(worker.tls->out_n, 0);
}

/* A record that never comes to its end is memory that the budget knows of. */
static void part_of_a_record_is_charged(void **state) {
    (void)state;
    static const char part[] = "\x17\x03\x03\x3e\x80 and little more"; /* of 16000 bytes */
    begin();
    shake_hands();
    BIO_write(SSL_get_wbio(ssl), part, sizeof part - 1);
    send_written();
    TURN_UNTIL(is_connected && worker.buffer_used > 0 && !conn_has_unsent(&conn));
    assert_int_equal(worker.buffer_used, 16000);
    conn_close(&conn);
    assert_int_equal(worker.buffer_used, 0);
}

static BIO *memory(int fd, int close_flag) {
    (void)fd;
    (void)close_flag;
    return BIO_new(BIO_s_mem());
}

/* Where every write is a packet: takes those that are there, and counts them. */
static unsigned receive_packets(void) {
    static uint8_t packet[256 << 10];
    unsigned count = 0;
    for (ssize_t n; (n = recv(peer, packet, sizeof packet, 0)) > 0; count++)
        assert_int_equal(BIO_write(SSL_get_rbio(ssl), packet, (int)n), n);
    return count;
}

/* A flush is one write, of however many pieces and records. */
static void what_is_flushed_is_one_write(void **state) {
    (void)state;
    static char text[5001], room[sizeof text];
    memset(text, 'x', sizeof text - 1);
    begin_on(SOCK_SEQPACKET, memory);
    while (SSL_do_handshake(ssl) != 1) {
        send_written();
        turn();
        receive_packets();
    }
    send_written();
    TURN_UNTIL(is_connected && !conn_has_unsent(&conn));
    receive_packets();
    to_write = text;
    repeats = 9;
    conn_mark_dirty(&conn);
    worker_end_turn(&worker);
    assert_true(has_written);
    assert_int_equal(receive_packets(), 1);
    size_t got = 0, n;
    while (SSL_read_ex(ssl, room, sizeof room, &n) == 1)
        got += n;
    assert_int_equal(got, 10 * (sizeof text - 1));
}

/* ---- towards an origin */

static int fill_ticket(SSL *made_by, void *arg) {
    static const char text[2000];
    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(made_by), text, sizeof text);
}

/* The peer is an origin; its tickets take several of its records. */
static void begin_origin(struct tls_client *client) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    peer = ends[1];
    SSL_CTX_free(context);
    context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context, certificate.x);
    SSL_CTX_use_PrivateKey(context, certificate.key);
    SSL_CTX_set_max_send_fragment(context, 512);
    SSL_CTX_set_session_ticket_cb(context, fill_ticket, NULL, NULL);
    ssl = SSL_new(context);
    SSL_set0_rbio(ssl, BIO_new_socket(peer, BIO_NOCLOSE));
    SSL_set0_wbio(ssl, BIO_new(BIO_s_mem()));
    SSL_set_accept_state(ssl);
    struct tls_session *session = tls_session_connect(&worker, client, STR("site.example"), &conn);
    conn_init(&conn, &worker, (struct transport){.fd = ends[0], .tls = session}, &ops);
    assert_non_null(conn.tls);
    conn_handshake(&conn, NULL, 0);
    TURN_UNTIL(!conn_has_unsent(&conn));
}

static void send_part(size_t n) {
    char bytes[600];
    assert_int_equal(BIO_read(SSL_get_wbio(ssl), bytes, (int)n), n);
    assert_int_equal(send(peer, bytes, n, MSG_NOSIGNAL), n);
}

/* A part of a ticket has come: what there is to write waits for the rest, and is not lost. */
static void ticket_in_parts_holds_up_writing(void **state) {
    (void)state;
    char text[16];
    Headgate__ClientTls message = HEADGATE__CLIENT_TLS__INIT;
    message.has_insecure = message.insecure = 1;
    const struct tls_secrets lookup = {secrets_find, &secrets};
    const struct tls_place place = {"cluster/app", "tls", &errors};
    struct tls_client *client = tls_client_build(&message, TLS_HTTP1, &lookup, &place);
    assert_non_null(client);
    begin_origin(client);
    while (SSL_do_handshake(ssl) != 1) { /* the tickets are not sent with it */
        send_written();
        turn();
        worker_end_turn(&worker);
    }
    TURN_UNTIL(is_connected);
    send_part(600);
    TURN_UNTIL(tls_must_read(conn.tls));
    to_write = "hello";
    conn_mark_dirty(&conn);
    worker_end_turn(&worker);
    assert_true(conn.is_stalled && !has_produced && !has_written);
    assert_int_equal(SSL_read(ssl, text, sizeof text), -1);
    send_written();
    TURN_UNTIL(has_written || error_seen);
    assert_int_equal(error_seen, 0);
    assert_int_equal(SSL_read(ssl, text, sizeof text), 5);
    assert_memory_equal(text, "hello", 5);
    tls_client_unref(client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alert_is_not_left_to_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(part_of_a_record_is_charged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_flushed_is_one_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ticket_in_parts_holds_up_writing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
