/* What happens on a client's connection before a codec speaks on it: the PROXY header, TLS, which HTTP it is. Real
 * sockets, and codecs that keep what they are given. */
#include "tests/unit/dataplane/net/loop.h"

#include <openssl/ssl.h>

#include "dataplane/core/view.h"
#include "dataplane/net/ip_caps.h"
#include "dataplane/net/listener.h"
#include "dataplane/net/proxy_protocol.h"
#include "dataplane/tls/server.h"
#include "dataplane/tls/session.h"
#include "tests/unit/dataplane/tls/certificates.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HEADER "PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n"
#define HEADER_V6 "PROXY TCP6 2001:db8::1 2001:db8::2 4096 443\r\n"
#define HEADER_MAPPED "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 4096 443\r\n"
#define LOCAL "\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
#define REQUEST "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

enum { MOST = 8 };

/* A codec's connection. */
struct kept {
    struct conn conn; /* first */
    struct listener_connection membership;
    struct address peer;
    unsigned version;
    char received[8192];
    size_t received_size;
};

static struct listener_runtime *list;
static struct ip_caps *caps;
static struct kept kept[MOST];
static unsigned kept_count, gone;
static bool refuses;
static struct snapshot_view view;
static int listening, client;
static struct address address;
static struct proxy_prefix loopback = {.bytes = {[10] = 0xff, 0xff, 127}, .bits = 104};
static struct proxy_trust everyone_here = {.prefixes = &loopback, .count = 1};
static struct proxy_trust nobody = {.prefixes = &loopback};

/* ---- the codecs */

static size_t read_limit(struct conn *c) {
    return sizeof ((struct kept *)c)->received - ((struct kept *)c)->received_size;
}

static void on_bytes(struct conn *c, uint8_t *bytes, size_t n) {
    struct kept *k = (struct kept *)c;
    assert_true(n <= sizeof k->received - k->received_size);
    memcpy(k->received + k->received_size, bytes, n);
    k->received_size += n;
}

static void on_eof(struct conn *c) {
    conn_close(c);
}

static void on_error(struct conn *c, int error) {
    (void)error;
    conn_close(c);
}

static bool produce(struct conn *c, struct gather *g) {
    (void)c;
    (void)g;
    return false;
}

static void on_written(struct conn *c) {
    (void)c;
}

static void on_deadline(struct conn *c, enum conn_deadline which) {
    (void)c;
    (void)which;
    fail_msg("the deadline of the opening has gone on");
}

static void destroy(struct conn *c) {
    listener_remove(&((struct kept *)c)->membership);
    gone++;
}

static const struct conn_ops kept_ops = {
    .read_limit = read_limit, .on_bytes = on_bytes, .on_eof = on_eof, .on_error = on_error, .on_write_error = on_error,
    .produce = produce, .on_written = on_written, .on_deadline = on_deadline, .destroy = destroy, .is_client = true,
};

static void close_kept(struct listener_connection *m, bool only_idle) {
    (void)only_idle;
    conn_close(&((struct kept *)((char *)m - offsetof(struct kept, membership)))->conn);
}

static struct conn *accept_version(struct listener_runtime *l, const struct accepted *a, unsigned version) {
    struct kept *k = &kept[kept_count];
    assert_true(kept_count < MOST);
    if (refuses)
        return NULL;
    kept_count++;
    *k = (struct kept){.peer = a->peer, .version = version};
    conn_init(&k->conn, l->worker, a->transport, &kept_ops);
    k->membership.close = close_kept;
    listener_add(l, &k->membership, a->cap_slot);
    conn_want_read(&k->conn);
    return &k->conn;
}

static struct conn *accept_http1(struct listener_runtime *l, const struct accepted *a) {
    return accept_version(l, a, 1);
}

static struct conn *accept_http2(struct listener_runtime *l, const struct accepted *a) {
    return accept_version(l, a, 2);
}

static const struct server_codecs codecs = {.http1 = accept_http1, .http2 = accept_http2};

/* ---- set-up */

static void on_quiet(struct worker *w, struct snapshot_view *v) {
    (void)w;
    (void)v;
}

static int set_up(void **state) {
    kept_count = gone = 0;
    refuses = false;
    view = (struct snapshot_view){.references = 1, .quiet = on_quiet};
    client = -1;
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

static uint64_t open_connections(void) {
    return stats_read(&worker.stats->connections);
}

static int tear_down(void **state) {
    hg_alloc_fail_at(-1, 0);
    if (client >= 0)
        close(client);
    if (list)
        listener_cut_all(list);
    worker_end_turn(&worker);
    assert_int_equal(open_connections(), 0);
    assert_int_equal(gone, kept_count);
    listener_destroy(list);
    assert_int_equal(view.references, 1);
    assert_int_equal(worker.wheel.count, 0);
    close(listening);
    ip_caps_destroy(caps);
    tls_io_free(&worker);
    return worker_tear_down(state);
}

static struct listener_runtime *serve(const struct listener_opening *opening, uint32_t per_ip) {
    struct listener_runtime *l = listener_create(&worker, &list, &address, &listening, 1, &codecs, caps);
    assert_non_null(l);
    listener_set_definition(l, NULL, opening, per_ip, 100);
    return l;
}

static int connect_client(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    assert_int_equal(connect(fd, &address.u.any, address.length), 0);
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    return fd;
}

static void send_bytes(const void *bytes, size_t n) {
    assert_int_equal(send(client, bytes, n, MSG_NOSIGNAL), n);
}

static void begin(const struct listener_opening *opening) {
    serve(opening, 100);
    client = connect_client();
    TURN_UNTIL(open_connections() == 1);
}

/* The gateway has closed this one without a byte. */
static void assert_closed(int fd) {
    char byte;
    ssize_t n;
    while ((n = recv(fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
        ev_run(worker.loop, EVRUN_ONCE);
        worker_end_turn(&worker);
    }
    assert_true(n == 0 || errno == ECONNRESET);
}

static void assert_kept(unsigned index, unsigned version, const char *peer, const char *received) {
    char text[ADDRESS_TEXT_MAX];
    assert_true(index < kept_count);
    address_format_host(&kept[index].peer, text);
    assert_string_equal(text, peer);
    assert_int_equal(kept[index].version, version);
    assert_int_equal(kept[index].received_size, strlen(received));
    assert_memory_equal(kept[index].received, received, strlen(received));
}

/* In pieces of this size, each seen by itself. */
static void send_in_pieces(const char *text, size_t step) {
    size_t n = strlen(text);
    for (size_t at = 0; at < n; at += step) {
        uint64_t before = stats_read(&worker.stats->client_received_bytes_total);
        size_t part = n - at < step ? n - at : step;
        send_bytes(text + at, part);
        TURN_UNTIL(stats_read(&worker.stats->client_received_bytes_total) == before + part);
    }
}

static void end_client(void) {
    unsigned before = gone;
    close(client);
    client = -1;
    TURN_UNTIL(gone == before + 1);
}

/* However it is cut, the codec gets all but the first `skipped` bytes. */
static void check_pieces(const struct listener_opening *opening, const char *text, size_t skipped, unsigned version,
                         const char *peer) {
    serve(opening, 100);
    for (size_t step = 1; step <= strlen(text) + 1; step += step < 3 ? 1 : 17) {
        kept_count = gone = 0;
        client = connect_client();
        TURN_UNTIL(open_connections() == 1);
        send_in_pieces(text, step);
        assert_int_equal(kept_count, 1);
        assert_kept(0, version, peer, text + skipped);
        end_client();
    }
    assert_int_equal(stats_read(&worker.stats->proxy_header_errors_total), 0);
}

/* ---- which HTTP */

static const struct listener_opening both = {.http1 = true, .http2 = true};

static void preface_makes_it_http2(void **state) {
    (void)state;
    check_pieces(&both, PREFACE "and frames", 0, 2, "127.0.0.1");
}

static void anything_else_is_http1(void **state) {
    (void)state;
    check_pieces(&both, REQUEST, 0, 1, "127.0.0.1");
}

static void a_request_may_begin_like_the_preface(void **state) {
    (void)state;
    check_pieces(&both, "PRI * HTTP/2.0\r\nHost: a\r\n\r\n", 0, 1, "127.0.0.1");
}

static void what_is_neither_is_refused_by_http2(void **state) {
    static const struct {
        const char *text;
        unsigned    version;
    } rows[] = {
        {"INVALID CONNECTION PREFACE\r\n\r\n", 2}, {"PRI x SM\r\n", 2}, {"GET index HTTP/1.1\r\n\r\n", 1}, {"GET x H", 1},
        {"GET /a b HTTP/1.1\r\n\r\n", 1}, {"CONNECT a:1 x\r\n", 1}, {"OPTIONS * x\r\n", 1}, {"GET x\r\nHost: a\r\n", 1},
        {"GET x ", 1}, {"GET", 1}, {" ", 1},
    };
    (void)state;
    serve(&both, 100);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kept_count = gone = 0;
        client = connect_client();
        TURN_UNTIL(open_connections() == 1);
        send_in_pieces(rows[i].text, strlen(rows[i].text));
        assert_kept(0, rows[i].version, "127.0.0.1", rows[i].text);
        end_client();
    }
}

static void one_protocol_needs_no_preface(void **state) {
    (void)state;
    static const struct listener_opening http2 = {.http2 = true};
    check_pieces(&http2, REQUEST, 0, 2, "127.0.0.1"); /* the codec refuses it */
}

static void part_of_a_preface_waits_for_the_deadline(void **state) {
    (void)state;
    static const struct listener_opening quick = {.http1 = true, .http2 = true, .timeout = 20000};
    begin(&quick);
    send_bytes("PRI * HTTP", 10);
    TURN_UNTIL(stats_read(&worker.stats->client_header_timeouts_total) == 1);
    assert_closed(client);
    assert_int_equal(kept_count, 0);
}

static void deadline_ends_with_the_opening(void **state) {
    (void)state;
    static const struct listener_opening quick = {.http1 = true, .http2 = true, .timeout = 1000000};
    begin(&quick);
    send_bytes("G", 1);
    TURN_UNTIL(kept_count == 1);
    assert_int_equal(kept[0].conn.deadlines[DEADLINE_READ], 0);
    assert_int_equal(worker.wheel.count, 0);
}

/* ---- the PROXY header */

static struct listener_opening trusting = {.http1 = true, .proxy = &everyone_here};
static struct listener_opening trusting_both = {.http1 = true, .http2 = true, .proxy = &everyone_here};

static void header_names_the_client(void **state) {
    (void)state;
    check_pieces(&trusting, HEADER REQUEST, sizeof HEADER - 1, 1, "192.0.2.1");
}

static void header_may_be_of_version_6(void **state) {
    (void)state;
    check_pieces(&trusting, HEADER_V6 REQUEST, sizeof HEADER_V6 - 1, 1, "2001:db8::1");
}

static void mapped_address_is_an_ipv4_address(void **state) {
    (void)state;
    check_pieces(&trusting, HEADER_MAPPED REQUEST, sizeof HEADER_MAPPED - 1, 1, "192.0.2.1");
}

static void preface_comes_behind_the_header(void **state) {
    (void)state;
    check_pieces(&trusting_both, HEADER PREFACE "frames", sizeof HEADER - 1, 2, "192.0.2.1");
}

static void request_comes_behind_the_header(void **state) {
    (void)state;
    check_pieces(&trusting_both, HEADER REQUEST, sizeof HEADER - 1, 1, "192.0.2.1");
}

static void proxy_may_speak_for_itself(void **state) {
    (void)state;
    begin(&trusting);
    send_bytes(LOCAL REQUEST, sizeof LOCAL REQUEST - 1);
    TURN_UNTIL(kept_count == 1);
    assert_kept(0, 1, "127.0.0.1", REQUEST);
}

static void check_refused(const void *bytes, size_t n) {
    uint64_t before = stats_read(&worker.stats->proxy_header_errors_total);
    client = connect_client();
    send_bytes(bytes, n);
    TURN_UNTIL(stats_read(&worker.stats->proxy_header_errors_total) == before + 1);
    assert_closed(client);
    close(client);
    client = -1;
    assert_int_equal(kept_count, 0);
}

static void trusted_source_must_begin_with_a_header(void **state) {
    (void)state;
    char endless[PROXY_HEADER_MAX] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff";
    serve(&trusting, 100);
    check_refused(REQUEST, sizeof REQUEST - 1);
    check_refused(PREFACE, sizeof PREFACE - 1);
    check_refused("PROXY TCP4 192.0.2.1 198.51.100.2 4096 99999\r\n" REQUEST, sizeof HEADER + sizeof REQUEST);
    check_refused(endless, sizeof endless);
}

static void whoever_is_not_trusted_sends_what_it_likes(void **state) {
    (void)state;
    static const struct listener_opening opening = {.http1 = true, .proxy = &nobody};
    check_pieces(&opening, HEADER REQUEST, 0, 1, "127.0.0.1"); /* the codec refuses it */
}

static void half_a_header_waits_for_the_deadline(void **state) {
    (void)state;
    static const struct listener_opening quick = {.http1 = true, .proxy = &everyone_here, .timeout = 20000};
    begin(&quick);
    send_bytes(HEADER, 10);
    TURN_UNTIL(stats_read(&worker.stats->client_header_timeouts_total) == 1);
    assert_closed(client);
    assert_int_equal(kept_count, 0);
}

static void end_within_a_header_is_the_end(void **state) {
    (void)state;
    begin(&trusting);
    send_bytes(HEADER, 10);
    shutdown(client, SHUT_WR);
    TURN_UNTIL(open_connections() == 0);
    assert_closed(client);
}

static void end_behind_a_header_reaches_the_codec(void **state) {
    (void)state;
    begin(&trusting);
    send_bytes(HEADER REQUEST, sizeof HEADER REQUEST - 1);
    shutdown(client, SHUT_WR);
    TURN_UNTIL(gone == 1);
    assert_kept(0, 1, "192.0.2.1", REQUEST);
}

/* The proxy is not counted, each client that it names is. */
static void named_clients_are_counted(void **state) {
    (void)state;
    int fds[4];
    serve(&trusting, 2);
    for (int i = 0; i < 4; i++)
        fds[i] = connect_client();
    TURN_UNTIL(open_connections() == 4);
    for (int i = 0; i < 3; i++) {
        client = fds[i];
        send_bytes(HEADER REQUEST, sizeof HEADER REQUEST - 1);
        TURN_UNTIL(kept_count == (i < 2 ? i + 1U : 2U) &&
                   stats_read(&worker.stats->connections_refused_per_ip_total) == (i == 2));
    }
    assert_closed(fds[2]);
    client = fds[3];
    send_bytes(HEADER_V6 REQUEST, sizeof HEADER_V6 REQUEST - 1);
    TURN_UNTIL(kept_count == 3);
    conn_close(&kept[0].conn);
    worker_end_turn(&worker);
    client = connect_client();
    send_bytes(HEADER_MAPPED REQUEST, sizeof HEADER_MAPPED REQUEST - 1);
    TURN_UNTIL(kept_count == 4); /* the place has become free */
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

/* ---- TLS */

struct tls_side {
    struct certificate certificate;
    struct known_secrets secrets;
    struct error_list errors;
    struct tls_server *server;
    SSL_CTX *context;
    SSL *ssl;
};

static struct tls_side tls;
static struct listener_opening secure;

static int tls_set_up(void **state) {
    static char *names[] = {(char *)"site"};
    if (set_up(state) < 0)
        return -1;
    tls = (struct tls_side){0};
    tls.certificate = certificate_make(&(struct certificate_wish){.name = "site", .alternatives = "DNS:site.example",
                                                                  .is_ca = true});
    secrets_init(&tls.secrets);
    secret_add_pair(&tls.secrets, "site", &tls.certificate, NULL);
    Headgate__ServerTls message = HEADGATE__SERVER_TLS__INIT;
    message.certificates = names;
    message.n_certificates = 1;
    const struct tls_secrets lookup = {secrets_find, &tls.secrets};
    const struct tls_place place = {"listener/web", "tls", &tls.errors};
    tls.server = tls_server_build(&message, TLS_HTTP1 | TLS_HTTP2, &lookup, &place);
    tls.context = SSL_CTX_new(TLS_client_method());
    secure = (struct listener_opening){.tls = tls.server, .http1 = true, .http2 = true};
    return tls.server && tls.context ? 0 : -1;
}

static int tls_tear_down(void **state) {
    SSL_free(tls.ssl);
    int status = tear_down(state);
    SSL_CTX_free(tls.context);
    tls_server_unref(tls.server);
    certificate_finish(&tls.certificate);
    secrets_finish(&tls.secrets);
    error_list_finish(&tls.errors);
    tls_libraries_free();
    return status;
}

/* A client that offers these protocols, in the form of ALPN. */
static void begin_tls(const char *protocols) {
    tls.ssl = SSL_new(tls.context);
    assert_non_null(tls.ssl);
    assert_int_equal(SSL_set_alpn_protos(tls.ssl, (const uint8_t *)protocols, (unsigned)strlen(protocols)), 0);
    assert_int_equal(fcntl(client, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(SSL_set_fd(tls.ssl, client), 1);
    SSL_set_connect_state(tls.ssl);
}

#define TURN_UNTIL_DONE(call)                                                      \
    do {                                                                           \
        int returned_;                                                             \
        while ((returned_ = (call)) <= 0) {                                        \
            assert_int_equal(SSL_get_error(tls.ssl, returned_), SSL_ERROR_WANT_READ); \
            ev_run(worker.loop, EVRUN_ONCE);                                       \
            worker_end_turn(&worker);                                              \
        }                                                                          \
    } while (0)

static void check_protocol(const char *protocols, unsigned version, const char *peer) {
    begin_tls(protocols);
    TURN_UNTIL_DONE(SSL_do_handshake(tls.ssl));
    TURN_UNTIL_DONE(SSL_write(tls.ssl, REQUEST, sizeof REQUEST - 1));
    TURN_UNTIL(kept_count == 1 && kept[0].received_size == sizeof REQUEST - 1);
    assert_kept(0, version, peer, REQUEST);
    assert_non_null(kept[0].conn.tls);
}

static void alpn_chooses_http2(void **state) {
    (void)state;
    begin(&secure);
    check_protocol("\x08http/1.1\x02h2", 2, "127.0.0.1");
}

static void alpn_chooses_http1(void **state) {
    (void)state;
    begin(&secure);
    check_protocol("\x08http/1.1", 1, "127.0.0.1");
}

static void without_alpn_it_is_http1(void **state) {
    (void)state;
    begin(&secure);
    check_protocol("", 1, "127.0.0.1");
}

static void tls_begins_behind_the_header(void **state) {
    (void)state;
    secure.proxy = &everyone_here;
    begin(&secure);
    send_in_pieces(HEADER, 5);
    check_protocol("\x02h2", 2, "192.0.2.1");
}

/* The answer to it is most of what a handshake costs: many in one turn would keep everybody else waiting. */
static void hello_is_more_work_than_its_bytes(void **state) {
    (void)state;
    size_t most = 0;
    begin(&secure);
    begin_tls("\x02h2");
    while (SSL_do_handshake(tls.ssl) <= 0) {
        ev_run(worker.loop, EVRUN_ONCE);
        most = worker.turn_work > most ? worker.turn_work : most;
        worker_end_turn(&worker);
    }
    assert_in_range(most, TURN_WORK / 8, TURN_WORK);
}

/* Both in one piece: the handshake begins with what came behind the header. */
static void hello_may_come_with_the_header(void **state) {
    (void)state;
    char all[8192] = HEADER;
    secure.proxy = &everyone_here;
    begin(&secure);
    begin_tls("\x02h2");
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(tls.ssl, out);
    assert_int_equal(SSL_do_handshake(tls.ssl), -1);
    int n = BIO_read(out, all + sizeof HEADER - 1, (int)(sizeof all - sizeof HEADER));
    assert_true(n > 0 && (size_t)n + sizeof HEADER - 1 < PROXY_HEADER_MAX);
    send_bytes(all, sizeof HEADER - 1 + (size_t)n);
    SSL_set0_wbio(tls.ssl, BIO_new_socket(client, BIO_NOCLOSE));
    TURN_UNTIL_DONE(SSL_do_handshake(tls.ssl));
    TURN_UNTIL(kept_count == 1);
    assert_kept(0, 2, "192.0.2.1", "");
}

static void what_is_no_tls_is_closed(void **state) {
    (void)state;
    begin(&secure);
    send_bytes(REQUEST, sizeof REQUEST - 1);
    TURN_UNTIL(open_connections() == 0);
    assert_int_equal(kept_count, 0);
}

static void who_says_nothing_costs_no_session(void **state) {
    (void)state;
    begin(&secure);
    turn();
    assert_null(worker.tls); /* not even what sessions share has been made */
    check_protocol("\x02h2", 2, "127.0.0.1");
}

static void handshake_has_a_deadline(void **state) {
    (void)state;
    secure.timeout = 20000;
    begin(&secure);
    TURN_UNTIL(stats_read(&worker.stats->client_handshake_timeouts_total) == 1);
    assert_closed(client);
}

/* ---- draining */

static void draining_closes_who_has_said_nothing(void **state) {
    (void)state;
    struct listener_runtime *l = serve(&trusting_both, 100);
    client = connect_client();
    int other = connect_client();
    TURN_UNTIL(open_connections() == 2);
    send_bytes(HEADER, 10);
    TURN_UNTIL(stats_read(&worker.stats->client_received_bytes_total) == 10);
    listener_drain(l, 3600000000);
    TURN_UNTIL(open_connections() == 1);
    assert_closed(other);
    send_bytes(&(HEADER REQUEST)[10], sizeof HEADER REQUEST - 11); /* who has begun goes on */
    TURN_UNTIL(kept_count == 1);
    end_client();
    assert_null(list);
    close(other);
}

/* ---- lack of memory */

static void codec_that_refuses_closes_and_counts_nothing(void **state) {
    (void)state;
    serve(&trusting, 1);
    refuses = true;
    for (int i = 0; i < 3; i++) {
        client = connect_client();
        send_bytes(HEADER REQUEST, sizeof HEADER REQUEST - 1);
        assert_closed(client);
        worker_end_turn(&worker);
        close(client);
        assert_int_equal(open_connections(), 0);
    }
    refuses = false;
    client = connect_client();
    send_bytes(HEADER REQUEST, sizeof HEADER REQUEST - 1);
    TURN_UNTIL(kept_count == 1);
    assert_int_equal(stats_read(&worker.stats->connections_refused_per_ip_total), 0);
}

static bool has_ended(int fd) {
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* Until the codec has it, or the client sees that it is closed. */
static void turn_until_decided(void) {
    while (kept_count == 0 && !has_ended(client)) {
        if (tls.ssl)
            SSL_do_handshake(tls.ssl);
        ev_run(worker.loop, EVRUN_ONCE);
        worker_end_turn(&worker);
    }
}

/* Each allocation fails in turn: the connection is closed, or served, and nothing is left over. */
static void check_without_memory(void (*begin_client)(void)) {
    unsigned closed = 0;
    for (long nth = 0; kept_count == 0; nth++) {
        client = connect_client();
        begin_client();
        hg_alloc_fail_at(nth, 0);
        turn_until_decided();
        hg_alloc_fail_at(-1, 0);
        closed += kept_count == 0;
        assert_int_equal(open_connections(), kept_count);
        close(client);
        client = -1;
    }
    assert_true(closed > 0);
    assert_int_equal(stats_read(&worker.stats->connections_refused_per_ip_total), 0);
}

static void send_header_and_request(void) {
    tls.ssl = NULL;
    send_bytes(HEADER REQUEST, sizeof HEADER REQUEST - 1);
}

static void begin_tls_again(void) {
    SSL_free(tls.ssl);
    begin_tls("\x02h2");
}

static void opening_without_memory(void **state) {
    (void)state;
    serve(&trusting, 1);
    check_without_memory(send_header_and_request);
}

static void handshake_without_memory(void **state) {
    (void)state;
    serve(&secure, 1);
    check_without_memory(begin_tls_again);
}

#define PLAIN_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define SECURE_TEST(function) cmocka_unit_test_setup_teardown(function, tls_set_up, tls_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        PLAIN_TEST(preface_makes_it_http2),
        PLAIN_TEST(anything_else_is_http1),
        PLAIN_TEST(a_request_may_begin_like_the_preface),
        PLAIN_TEST(what_is_neither_is_refused_by_http2),
        PLAIN_TEST(one_protocol_needs_no_preface),
        PLAIN_TEST(part_of_a_preface_waits_for_the_deadline),
        PLAIN_TEST(deadline_ends_with_the_opening),
        PLAIN_TEST(header_names_the_client),
        PLAIN_TEST(header_may_be_of_version_6),
        PLAIN_TEST(mapped_address_is_an_ipv4_address),
        PLAIN_TEST(preface_comes_behind_the_header),
        PLAIN_TEST(request_comes_behind_the_header),
        PLAIN_TEST(proxy_may_speak_for_itself),
        PLAIN_TEST(trusted_source_must_begin_with_a_header),
        PLAIN_TEST(whoever_is_not_trusted_sends_what_it_likes),
        PLAIN_TEST(half_a_header_waits_for_the_deadline),
        PLAIN_TEST(end_within_a_header_is_the_end),
        PLAIN_TEST(end_behind_a_header_reaches_the_codec),
        PLAIN_TEST(named_clients_are_counted),
        SECURE_TEST(alpn_chooses_http2),
        SECURE_TEST(alpn_chooses_http1),
        SECURE_TEST(without_alpn_it_is_http1),
        SECURE_TEST(tls_begins_behind_the_header),
        SECURE_TEST(hello_is_more_work_than_its_bytes),
        SECURE_TEST(hello_may_come_with_the_header),
        SECURE_TEST(what_is_no_tls_is_closed),
        SECURE_TEST(who_says_nothing_costs_no_session),
        SECURE_TEST(handshake_has_a_deadline),
        PLAIN_TEST(draining_closes_who_has_said_nothing),
        PLAIN_TEST(codec_that_refuses_closes_and_counts_nothing),
        PLAIN_TEST(opening_without_memory),
        SECURE_TEST(handshake_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
