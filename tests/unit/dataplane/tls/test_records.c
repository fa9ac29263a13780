/* Our own records of TLS 1.3, against OpenSSL's and against records that OpenSSL would never send. */
#include "tests/unit/dataplane/tls/fixture.h"

#include "dataplane/tls/keys.h"
#include "dataplane/tls/session_private.h"

/* ---- keys ---- */

/* RFC 8448 section 3: {client} send application_data record. */
static void test_record_of_the_rfc(void **state) {
    (void)state;
    static const char secret[] = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
    static const char record[] = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f"
                                 "2b9819a8a5b46b395bd54a9a20441e2b6297"
                                 "4e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
    struct traffic_keys writer = {.secret = {.n = 32}}, reader = {.secret = {.n = 32}};
    uint8_t content[50], out[100], expected[72], plain[51];
    for (int i = 0; i < 50; i++)
        content[i] = (uint8_t)i;
    assert_int_equal(hex_decode(STR(secret), writer.secret.bytes, 32), 0);
    assert_int_equal(hex_decode(STR(record), expected, sizeof expected), 0);
    reader.secret = writer.secret;
    assert_int_equal(traffic_keys_init(&writer, EVP_aes_128_gcm(), EVP_sha256(), true), 0);
    assert_int_equal(traffic_keys_init(&reader, EVP_aes_128_gcm(), EVP_sha256(), false), 0);
    assert_int_equal(traffic_keys_seal(&writer, 23, content, 50, out), 0);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(traffic_keys_open(&reader, out, out + 5, 67, plain), 0);
    assert_memory_equal(plain, content, 50);
    assert_int_equal(plain[50], 23);
    traffic_keys_finish(&writer);
    traffic_keys_finish(&reader);
}

/* ---- with OpenSSL as the client ---- */

static struct link *open_raw(struct fixture *f, SSL_CTX *plain) {
    if (!f->server)
        fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_raw(f, plain);
    link_run(l);
    assert_true(l->is_done[SERVER]);
    return l;
}

static void exchange(struct link *l, size_t n) {
    char *bytes = malloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 7);
    for (int side = 0; side < 2; side++) {
        l->got[!side].n = 0;
        link_send(l, side, bytes, n);
        link_run(l);
        assert_int_equal(l->got[!side].n, n);
        assert_memory_equal(l->got[!side].p, bytes, n);
    }
    free(bytes);
}

static void test_suites(void **state) {
    struct fixture *f = *state;
    static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                         "TLS_CHACHA20_POLY1305_SHA256"};
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(SSL_CTX_set_ciphersuites(plain, suites[i]), 1);
        struct link *l = open_raw(f, plain);
        assert_null(l->session[SERVER]->ssl); /* OpenSSL's object is gone */
        assert_non_null(l->session[SERVER]->records);
        exchange(l, 1);
        exchange(l, 100000);
        ERR_clear_error();
        assert_int_equal(SSL_key_update(l->raw, SSL_KEY_UPDATE_REQUESTED), 1);
        exchange(l, 20000);
        l->step = 3;
        exchange(l, 20000);
    }
    SSL_CTX_free(plain);
}

static void test_without_tickets(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    f->server_message.has_tickets = 1;
    f->server_message.tickets = 0;
    exchange(open_raw(f, plain), 1000);
    SSL_CTX_free(plain);
}

/* The records of the client may be padded. */
static void test_padding(void **state) {
    struct fixture *f = *state;
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_block_padding(plain, 512);
    struct link *l = open_raw(f, plain);
    exchange(l, 1);
    l->room = 3;
    exchange(l, 1000);
    SSL_CTX_free(plain);
}

/* A suite that is not done here, and TLS 1.2, stay with OpenSSL. */
static void test_what_stays(void **state) {
    struct fixture *f = *state;
    char *suites[] = {(char *)"TLS_AES_128_CCM_SHA256"};
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    f->server_message.cipher_suites = suites;
    f->server_message.n_cipher_suites = 1;
    assert_int_equal(SSL_CTX_set_ciphersuites(plain, suites[0]), 1);
    struct link *l = open_raw(f, plain);
    assert_non_null(l->session[SERVER]->ssl);
    exchange(l, 20000);
    SSL_CTX_set_max_proto_version(plain, TLS1_2_VERSION);
    l = open_raw(f, plain);
    assert_non_null(l->session[SERVER]->ssl);
    exchange(l, 20000);
    SSL_CTX_free(plain);
}

/* ---- with a client that breaks the rules ---- */

static struct traffic_secret client_secret;

static void note_secret(const SSL *ssl, const char *line) {
    (void)ssl;
    struct str rest = str_of(line);
    if (!str_eq(str_cut(&rest, ' '), STR("CLIENT_TRAFFIC_SECRET_0")))
        return;
    str_cut(&rest, ' ');
    client_secret.n = (uint8_t)(rest.n / 2);
    assert_int_equal(hex_decode(rest, client_secret.bytes, client_secret.n), 0);
}

struct forger {
    SSL_CTX            *context;
    struct link        *link;
    struct traffic_keys keys;
};

static void forger_open(struct forger *g, struct fixture *f) {
    g->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_ciphersuites(g->context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_keylog_callback(g->context, note_secret);
    g->link = open_raw(f, g->context);
    g->keys = (struct traffic_keys){.secret = client_secret};
    assert_int_equal(traffic_keys_init(&g->keys, EVP_aes_128_gcm(), EVP_sha256(), true), 0);
}

static void forger_close(struct forger *g) {
    traffic_keys_finish(&g->keys);
    link_finish(g->link);
    SSL_CTX_free(g->context);
}

static void forge(struct forger *g, uint8_t type, const void *content, size_t n) {
    uint8_t *out = malloc(n + 22);
    assert_int_equal(traffic_keys_seal(&g->keys, type, content, n, out), 0);
    strbuf_add(&g->link->wire[SERVER], out, n + 22);
    free(out);
}

static void deliver(struct forger *g) {
    while (g->link->at[SERVER] < g->link->wire[SERVER].n && g->link->status[SERVER] == TLS_AGAIN)
        link_arrive(g->link, SERVER);
}

/* The alert that the client is told; -1: none. */
static int told(struct forger *g) {
    ERR_clear_error();
    g->link->status[CLIENT] = TLS_AGAIN;
    while (link_moves(g->link, CLIENT))
        ;
    int reason = ERR_GET_REASON(ERR_peek_error());
    return g->link->status[CLIENT] == TLS_FAILED ? reason - SSL_AD_REASON_OFFSET : -1;
}

static void expect_refused(struct fixture *f, uint8_t type, const void *content, size_t n, const char *word, int alert) {
    struct forger g;
    forger_open(&g, f);
    forge(&g, type, content, n);
    deliver(&g);
    assert_int_equal(g.link->status[SERVER], TLS_FAILED);
    assert_string_equal(tls_failure(g.link->session[SERVER]), word);
    assert_int_equal(told(&g), alert);
    forger_close(&g);
}

static void test_messages_out_of_place(void **state) {
    struct fixture *f = *state;
    uint8_t *zeros = calloc(1, 17000);
    expect_refused(f, 22, "\x01\x00\x00\x00", 4, "malformed", SSL_AD_UNEXPECTED_MESSAGE);     /* ClientHello */
    expect_refused(f, 22, "\x18\x00\x00\x02\x00\x00", 6, "malformed", SSL_AD_UNEXPECTED_MESSAGE);
    expect_refused(f, 22, "\x18\x00\x00\x01\x00\x18", 6, "malformed", SSL_AD_UNEXPECTED_MESSAGE); /* more behind it */
    expect_refused(f, 22, "\x18\x00\x00\x01\x02", 5, "malformed", SSL_AD_DECODE_ERROR);
    expect_refused(f, 22, "", 0, "malformed", SSL_AD_UNEXPECTED_MESSAGE);
    expect_refused(f, 20, "\x01", 1, "malformed", SSL_AD_UNEXPECTED_MESSAGE);                 /* change_cipher_spec */
    expect_refused(f, 99, "x", 1, "malformed", SSL_AD_UNEXPECTED_MESSAGE);
    expect_refused(f, 0, zeros, 10, "malformed", SSL_AD_UNEXPECTED_MESSAGE);                  /* no type at all */
    expect_refused(f, 21, "\x01\x00\x00", 3, "malformed", SSL_AD_DECODE_ERROR);
    expect_refused(f, 21, "\x02\x28", 2, "refused-by-peer", -1);                              /* an alert is not answered */
    expect_refused(f, 23, zeros, 16385, "malformed", SSL_AD_RECORD_OVERFLOW);
    expect_refused(f, 23, zeros, 16800, "malformed", SSL_AD_RECORD_OVERFLOW);
    free(zeros);
}

static void test_bare_records(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *bytes;
        size_t      n;
        const char *word;
    } cases[] = {
        {"\x15\x03\x03\x00\x02\x01\x00", 7, "malformed"},  /* an alert in the clear */
        {"\x14\x03\x03\x00\x01\x01", 6, "malformed"},
        {"\x17\x03\x03\x00\x10xxxxxxxxxxxxxxxx", 21, "bad-record"}, /* not even a type */
        {"\x17\x03\x03\x00\x00", 5, "bad-record"},
        {"\x17\x03\x03\xff\xff", 5, "malformed"},
        {"\x17\x03\x03\x00\x12xxxxxxxxxxxxxxxxxx", 23, "bad-record"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct forger g;
        forger_open(&g, f);
        strbuf_add(&g.link->wire[SERVER], cases[i].bytes, cases[i].n);
        deliver(&g);
        assert_int_equal(g.link->status[SERVER], TLS_FAILED);
        assert_string_equal(tls_failure(g.link->session[SERVER]), cases[i].word);
        forger_close(&g);
    }
}

static void test_replay(void **state) {
    struct fixture *f = *state;
    struct forger g;
    forger_open(&g, f);
    forge(&g, 23, "once", 4);
    size_t start = g.link->at[SERVER], n = g.link->wire[SERVER].n - start;
    deliver(&g);
    assert_true(str_eq(strbuf_str(&g.link->got[SERVER]), STR("once")));
    char *again = hg_strndup(g.link->wire[SERVER].p + start, n);
    strbuf_add(&g.link->wire[SERVER], again, n);
    deliver(&g);
    assert_string_equal(tls_failure(g.link->session[SERVER]), "bad-record");
    hg_free(again);
    forger_close(&g);
}

static void forge_update(struct forger *g, uint8_t request) {
    const uint8_t message[] = {24, 0, 0, 1, request};
    forge(g, 22, message, sizeof message);
    assert_int_equal(traffic_keys_update(&g->keys, EVP_sha256(), true), 0);
}

/* A key update in five records; then many with requests: answered once, when there is something to send. */
static void test_key_updates(void **state) {
    struct fixture *f = *state;
    static const uint8_t message[] = {24, 0, 0, 1, 1};
    struct forger g;
    forger_open(&g, f);
    for (size_t i = 0; i < sizeof message; i++)
        forge(&g, 22, message + i, 1);
    assert_int_equal(traffic_keys_update(&g.keys, EVP_sha256(), true), 0);
    for (int i = 0; i < 20; i++)
        forge_update(&g, 1);
    forge(&g, 23, "data", 4);
    size_t before = g.link->wire[CLIENT].n;
    deliver(&g);
    assert_true(str_eq(strbuf_str(&g.link->got[SERVER]), STR("data")));
    for (int i = 0; i < 100; i++) {
        forge_update(&g, 1);
        forge(&g, 23, "more", 4);
    }
    deliver(&g);
    assert_int_equal(g.link->wire[CLIENT].n, before); /* a client that reads nothing has us keep nothing */
    link_send(g.link, SERVER, "answer", 6);
    assert_int_equal(g.link->wire[CLIENT].n - before, 5 + 5 + 1 + 16 + 5 + 6 + 1 + 16);
    g.link->got[CLIENT].n = 0;
    while (link_moves(g.link, CLIENT))
        ;
    assert_true(str_eq(strbuf_str(&g.link->got[CLIENT]), STR("answer")));
    forger_close(&g);
}

static void test_floods(void **state) {
    struct fixture *f = *state;
    for (int kind = 0; kind < 3; kind++) {
        struct forger g;
        forger_open(&g, f);
        for (int i = 0; i < 40; i++)
            if (kind == 0)
                forge_update(&g, 0);
            else if (kind == 1)
                forge(&g, 23, "", 0);
            else
                forge(&g, 21, "\x01\x5a", 2); /* user_canceled */
        deliver(&g);
        assert_int_equal(g.link->status[SERVER], TLS_FAILED);
        assert_string_equal(tls_failure(g.link->session[SERVER]), "malformed");
        forger_close(&g);
    }
}

/* A message in parts may not have others between them. */
static void test_interleaved(void **state) {
    struct fixture *f = *state;
    struct forger g;
    forger_open(&g, f);
    forge(&g, 22, "\x18\x00", 2);
    forge(&g, 23, "x", 1);
    deliver(&g);
    assert_int_equal(g.link->status[SERVER], TLS_FAILED);
    assert_int_equal(told(&g), SSL_AD_UNEXPECTED_MESSAGE);
    forger_close(&g);
}

static void test_lack_of_memory(void **state) {
    struct fixture *f = *state;
    uint8_t bytes[500] = {1};
    for (int part = 0; part < 2; part++) {
        struct forger g;
        forger_open(&g, f);
        forge(&g, 23, bytes, sizeof bytes);
        if (part)
            /* room for the body of a record that comes in parts; else for what the reader has no room for */
            g.link->step = 100;
        else
            g.link->room = 100;
        uint8_t *in = g.link->worker[SERVER]->tls->in_buffer;
        size_t n = part ? 100 : g.link->wire[SERVER].n - g.link->at[SERVER];
        memcpy(in, g.link->wire[SERVER].p + g.link->at[SERVER], n);
        g.link->worker[SERVER]->tls->in = in;
        g.link->worker[SERVER]->tls->in_n = n;
        hg_alloc_fail_at(0, 1);
        size_t got;
        uint8_t room[100];
        enum tls_status status = tls_read(g.link->session[SERVER], room, sizeof room, &got);
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(status, TLS_FAILED);
        assert_string_equal(tls_failure(g.link->session[SERVER]), "out-of-memory");
        forger_close(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_of_the_rfc), TLS_TEST(test_suites),      TLS_TEST(test_without_tickets),
        TLS_TEST(test_padding),                   TLS_TEST(test_what_stays),  TLS_TEST(test_messages_out_of_place),
        TLS_TEST(test_bare_records),              TLS_TEST(test_replay),      TLS_TEST(test_key_updates),
        TLS_TEST(test_floods),                    TLS_TEST(test_interleaved), TLS_TEST(test_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
