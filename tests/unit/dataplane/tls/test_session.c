/* Handshake, protocols, bytes, endings. */
#include "tests/unit/dataplane/tls/fixture.h"

#include "dataplane/tls/allocator.h"
#include "dataplane/tls/session_private.h"

static void expect_done(const struct link *l) {
    assert_true(l->is_done[CLIENT]);
    assert_true(l->is_done[SERVER]);
}

static void expect_echo(struct link *l, const char *text) {
    link_send(l, CLIENT, text, strlen(text));
    link_send(l, SERVER, text, strlen(text));
    link_run(l);
    for (int side = 0; side < 2; side++) {
        assert_true(str_ends(strbuf_str(&l->got[side]), str_of(text)));
        assert_int_equal(l->status[side], TLS_AGAIN);
    }
}

static void test_agrees_on_http2(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    expect_done(l);
    assert_true(str_eq(tls_protocol(l->session[SERVER]), STR("h2")));
    assert_true(str_eq(tls_protocol(l->session[CLIENT]), STR("h2")));
    assert_true(str_eq(tls_server_name(l->session[SERVER]), STR("site.example")));
    assert_int_equal(tls_peer_text(l->session[SERVER]).n, 0);
    assert_string_equal(tls_failure(l->session[SERVER]), "");
    expect_echo(l, "hello");
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].full), 1);
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].version_1_3), 1);
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].tickets_issued), 1);
    assert_int_equal(stats_read(&f->stats[0].tls[STATS_TLS_ORIGINS].full), 1);
    uint64_t timed = 0;
    for (int i = 0; i < STATS_TLS_BUCKETS; i++)
        timed += stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].buckets[i]);
    assert_int_equal(timed, 1);
}

static void test_agrees_on_http1_with_1_2(void **state) {
    struct fixture *f = *state;
    f->client_message.has_max_version = 1;
    f->client_message.max_version = HEADGATE__TLS_VERSION__TLS_1_2;
    fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP1);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    expect_done(l);
    assert_true(str_eq(tls_protocol(l->session[SERVER]), STR("http/1.1")));
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].version_1_2), 1);
    expect_echo(l, "hello");
    tls_close_notify(l->session[CLIENT]);
    link_flush(l, CLIENT);
    link_run(l);
    assert_int_equal(l->status[SERVER], TLS_EOF);
}

static void test_versions_that_do_not_meet(void **state) {
    struct fixture *f = *state;
    f->server_message.has_min_version = 1;
    f->server_message.min_version = HEADGATE__TLS_VERSION__TLS_1_3;
    f->client_message.has_max_version = 1;
    f->client_message.max_version = HEADGATE__TLS_VERSION__TLS_1_2;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_int_equal(l->status[SERVER], TLS_FAILED);
    assert_string_equal(tls_failure(l->session[SERVER]), "no-shared-version");
    assert_string_equal(tls_failure(l->session[CLIENT]), "refused-by-peer");
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].failures[2]), 1);
}

static void test_no_shared_protocol(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1, TLS_HTTP2);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_string_equal(tls_failure(l->session[SERVER]), "no-shared-protocol");
    assert_int_equal(l->status[CLIENT], TLS_FAILED);
}

/* A listener of HTTP/2 alone refuses a client that does not speak ALPN; one with HTTP/1.1 serves it. */
static void test_client_without_alpn(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    fixture_build(f, TLS_HTTP2, TLS_HTTP2);
    struct link *l = fixture_raw(f, plain);
    link_run(l);
    assert_string_equal(tls_failure(l->session[SERVER]), "no-shared-protocol");
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL);
    fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
    l = fixture_raw(f, plain);
    link_run(l);
    expect_done(l);
    assert_int_equal(tls_protocol(l->session[SERVER]).n, 0);
    SSL_CTX_free(plain);
}

static int fill_ticket(SSL *ssl, void *arg) {
    static const char text[2000];
    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), text, sizeof text);
}

/* Its tickets take several of its records. */
static SSL_CTX *origin_with_tickets(const struct fixture *f) {
    SSL_CTX *origin = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(origin, f->site.x);
    SSL_CTX_use_PrivateKey(origin, f->site.key);
    SSL_CTX_set_max_send_fragment(origin, 512);
    SSL_CTX_set_session_ticket_cb(origin, fill_ticket, NULL, NULL);
    return origin;
}

/* An origin that ignores ALPN does not get HTTP/2. */
static void test_origin_without_http2(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1, TLS_HTTP2);
    struct link *l = &f->link;
    SSL_CTX *origin = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(origin, f->site.x);
    SSL_CTX_use_PrivateKey(origin, f->site.key);
    l->worker[SERVER] = &f->workers[1]; /* our client plays the server's side of the link: the raw one answers it */
    l->session[SERVER] = tls_session_connect(&f->workers[1], f->client, STR("site.example"), f);
    l->raw = raw_client(origin);
    SSL_set_accept_state(l->raw);
    side_work(l, SERVER);
    link_run(l);
    assert_int_equal(l->status[SERVER], TLS_FAILED);
    assert_string_equal(tls_failure(l->session[SERVER]), "no-shared-protocol");
    SSL_CTX_free(origin);
}

/* A ticket in several records, as a server with small records sends it: while a part of it has come nothing can be written,
 * and with the rest of it all is as before. */
static void test_ticket_in_parts(void **state) {
    struct fixture *f = *state;
    char text[2000];
    memset(text, 't', sizeof text);
    SSL_CTX *origin = origin_with_tickets(f);
    struct link *l = &f->link;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    l->worker[SERVER] = &f->workers[1]; /* our client plays the server's side of the link: the raw one answers it */
    l->session[SERVER] = tls_session_connect(&f->workers[1], f->client, STR("site.example"), f);
    l->raw = raw_client(origin);
    SSL_set_accept_state(l->raw);
    side_work(l, SERVER);
    l->step = 100;
    bool was_in_parts = false;
    do {
        bool must_read = tls_must_read(l->session[SERVER]);
        was_in_parts |= must_read;
        if (l->is_done[SERVER] && !must_read && l->at[SERVER] < l->wire[SERVER].n)
            link_send(l, SERVER, text, 1);
    } while (link_moves(l, SERVER) || link_moves(l, CLIENT));
    assert_true(was_in_parts);
    expect_done(l);
    expect_echo(l, "hello");
    SSL_CTX_free(origin);
}

static void expect_big(struct link *l, size_t size) {
    char *bytes = malloc(size);
    assert_int_equal(RAND_bytes((unsigned char *)bytes, (int)size), 1);
    for (int side = 0; side < 2; side++) {
        l->got[!side].n = 0;
        link_send(l, side, bytes, size);
        link_run(l);
        assert_int_equal(l->got[!side].n, size);
        assert_memory_equal(l->got[!side].p, bytes, size);
    }
    free(bytes);
}

static void test_bytes_one_by_one(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
    struct link *l = fixture_connect(f, 1, "site.example");
    l->step = 1;
    link_run(l);
    expect_done(l);
    expect_big(l, 40000);
}

static void test_big_and_small_reads(void **state) {
    struct fixture *f = *state;
    static const size_t rooms[] = {1, 7, 1000, 16384, 16400, 65536};
    for (int version = 0; version < 2; version++) {
        f->client_message.has_max_version = 1;
        f->client_message.max_version = version ? HEADGATE__TLS_VERSION__TLS_1_2 : HEADGATE__TLS_VERSION__TLS_1_3;
        fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
        struct link *l = fixture_connect(f, 1, "site.example");
        link_run(l);
        expect_done(l);
        for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
            l->room = rooms[i];
            expect_big(l, rooms[i] < 1000 ? 20000 : 1000000);
        }
    }
}

static void test_endings(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    link_send(l, CLIENT, "last", 4);
    tls_close_notify(l->session[CLIENT]);
    tls_close_notify(l->session[CLIENT]);
    link_flush(l, CLIENT);
    link_run(l);
    assert_int_equal(l->status[SERVER], TLS_EOF);
    assert_true(str_eq(strbuf_str(&l->got[SERVER]), STR("last")));
    /* The other direction is open still: half-closing is what RFC 8446 section 6.1 allows. */
    link_send(l, SERVER, "answer", 6);
    tls_close_notify(l->session[SERVER]);
    link_flush(l, SERVER);
    link_run(l);
    assert_true(str_eq(strbuf_str(&l->got[CLIENT]), STR("answer")));
    assert_int_equal(l->status[CLIENT], TLS_EOF);
}

/* Cut at any byte, a session waits for more and never says that the stream has ended. */
static void test_truncation(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    link_send(l, CLIENT, "truncated", 9);
    l->wire[SERVER].n -= 1;
    link_run(l);
    assert_int_equal(l->status[SERVER], TLS_AGAIN);
    assert_int_equal(l->got[SERVER].n, 0);
}

static void test_damaged_record(void **state) {
    struct fixture *f = *state;
    for (int version = 0; version < 2; version++) {
        f->client_message.has_max_version = 1;
        f->client_message.max_version = version ? HEADGATE__TLS_VERSION__TLS_1_2 : HEADGATE__TLS_VERSION__TLS_1_3;
        fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
        struct link *l = fixture_connect(f, 1, "site.example");
        link_run(l);
        link_send(l, CLIENT, "damaged", 7);
        l->wire[SERVER].p[l->wire[SERVER].n - 1] ^= 1;
        link_run(l);
        assert_int_equal(l->status[SERVER], TLS_FAILED);
        assert_string_equal(tls_failure(l->session[SERVER]), "bad-record");
        assert_int_equal(l->status[CLIENT], TLS_FAILED); /* by the alert */
        assert_string_equal(tls_failure(l->session[CLIENT]), "refused-by-peer");
        uint8_t room[8];
        size_t n;
        assert_int_equal(tls_read(l->session[SERVER], room, sizeof room, &n), TLS_FAILED);
        assert_int_equal(tls_write(l->session[SERVER], "x", 1), TLS_FAILED);
    }
}

static void expect_garbage(struct fixture *f, const void *bytes, size_t n, const char *word) {
    struct link *l = fixture_connect(f, 1, "site.example");
    strbuf_add(&l->wire[SERVER], bytes, n);
    link_arrive(l, SERVER);
    assert_int_equal(l->status[SERVER], TLS_FAILED);
    assert_string_equal(tls_failure(l->session[SERVER]), word);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_garbage(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1 | TLS_HTTP2, TLS_HTTP2);
    expect_garbage(f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, "not-tls");
    expect_garbage(f, "SSH-2.0-OpenSSH_9.2\r\n", 21, "not-tls");
    expect_garbage(f, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10, "malformed");
    uint8_t zeros[600] = {22, 3, 1, 2, 0, 1, 0, 1, 0xfc};
    expect_garbage(f, zeros, sizeof zeros, "malformed");
}

static void test_key_update(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_raw(f, plain);
    link_run(l);
    for (int i = 0; i < 5; i++) {
        expect_echo(l, "before");
        ERR_clear_error();
        assert_int_equal(SSL_key_update(l->raw, i % 2 ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED), 1);
        expect_echo(l, "after");
    }
    SSL_CTX_free(plain);
}

/* The hybrid one is accepted from clients and offered to origins, without a word about it. */
static void test_hybrid_group(void **state) {
    static char *hybrid[] = {(char *)"X25519MLKEM768"};
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_raw(f, plain);
    link_run(l);
    assert_string_equal(SSL_get0_group_name(l->raw), hybrid[0]);
    f->server_message.groups = hybrid;
    f->server_message.n_groups = 1;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_true(l->is_done[SERVER] && l->is_done[CLIENT]);
    SSL_CTX_free(plain);
}

static void test_groups(void **state) {
    struct fixture *f = *state;
    static const char *const wanted[] = {"X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"};
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(SSL_CTX_set1_groups_list(plain, wanted[i]), 1);
        struct link *l = fixture_raw(f, plain);
        link_run(l);
        assert_int_equal(l->is_done[SERVER], i < 4);
    }
    assert_string_equal(tls_failure(f->link.session[SERVER]), "no-shared-group");
    SSL_CTX_free(plain);
}

/* Memory of OpenSSL's that is out cannot change its allocator. */
static void test_allocator_comes_too_late(void **state) {
    (void)state;
    assert_false(tls_allocator_use());
}

static void run_once(struct fixture *f) {
    struct link *l = &f->link;
    l->worker[CLIENT] = &f->workers[0];
    l->worker[SERVER] = &f->workers[1];
    l->session[CLIENT] = tls_session_connect(l->worker[CLIENT], f->client, STR("site.example"), f);
    l->session[SERVER] = l->session[CLIENT] ? tls_session_accept(l->worker[SERVER], f->server) : NULL;
    if (l->session[SERVER])
        link_run(l);
}

/* Each allocation of ours fails in turn: either the session is not made, or its handshake fails, or all is well. */
static void test_lack_of_memory(void **state) {
    struct fixture *f = *state;
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    f->server_message.client_trust = (char *)"ca";
    f->client_message.certificate = (char *)"visitor";
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    int failed = 0;
    for (long i = 0;; i++) {
        uint64_t before = hg_alloc_count();
        hg_alloc_fail_at(i, 0);
        run_once(f);
        hg_alloc_fail_at(-1, 0);
        bool was_reached = hg_alloc_count() - before > (uint64_t)i;
        struct link *l = &f->link;
        bool is_done = l->session[SERVER] && l->is_done[SERVER] && l->is_done[CLIENT];
        failed += !is_done;
        link_finish(l);
        tls_io_free(&f->workers[0]);
        tls_io_free(&f->workers[1]);
        if (!was_reached) {
            assert_true(is_done);
            break;
        }
        fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    }
    assert_true(failed > 5);
}

/* An origin's ticket in two records, of which one is here: what we write meanwhile reads nothing, least of all the bytes of
 * another connection whose turn it is. */
static void test_write_within_a_message(void **state) {
    struct fixture *f = *state;
    static const uint8_t others[] = "of another connection";
    struct tls_io *io;
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    f->server_message.client_trust = (char *)"ca"; /* the client's certificate makes its ticket long */
    f->client_message.certificate = (char *)"visitor";
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_connect(f, 1, "site.example");
    assert_int_equal(SSL_set_max_send_fragment(l->session[SERVER]->ssl, 512), 1);
    side_work(l, CLIENT);
    while (!l->is_done[SERVER])
        link_arrive(l, l->at[SERVER] < l->wire[SERVER].n ? SERVER : CLIENT);
    size_t first = 5 + ((size_t)(uint8_t)l->wire[CLIENT].p[l->at[CLIENT] + 3] << 8 |
                        (uint8_t)l->wire[CLIENT].p[l->at[CLIENT] + 4]);
    assert_true(l->wire[CLIENT].n - l->at[CLIENT] > first);
    l->step = first;
    link_arrive(l, CLIENT);
    assert_int_equal(l->status[CLIENT], TLS_AGAIN);
    io = l->worker[CLIENT]->tls;
    io->in = others;
    io->in_n = sizeof others;
    tls_write(l->session[CLIENT], "x", 1);
    assert_int_equal(io->in_n, sizeof others);
    assert_ptr_equal(io->in, others);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TLS_TEST(test_agrees_on_http2),    TLS_TEST(test_agrees_on_http1_with_1_2),
        TLS_TEST(test_versions_that_do_not_meet), TLS_TEST(test_no_shared_protocol),
        TLS_TEST(test_client_without_alpn), TLS_TEST(test_origin_without_http2), TLS_TEST(test_ticket_in_parts),
        TLS_TEST(test_bytes_one_by_one),   TLS_TEST(test_big_and_small_reads),
        TLS_TEST(test_endings),            TLS_TEST(test_truncation),
        TLS_TEST(test_damaged_record),     TLS_TEST(test_garbage),
        TLS_TEST(test_key_update),         TLS_TEST(test_groups),
        TLS_TEST(test_hybrid_group),
        TLS_TEST(test_allocator_comes_too_late), TLS_TEST(test_lack_of_memory),
        TLS_TEST(test_write_within_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
