/* Definitions: what is refused and where it is said, what is taken over, how long they live. */
#include "tests/unit/dataplane/tls/fixture.h"

static void expect_server_fault(struct fixture *f, const char *resource, const char *path, const char *word) {
    assert_null(tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place));
    assert_true(fixture_has_fault(f, resource, path, word));
    error_list_finish(&f->errors);
    f->errors = (struct error_list){0};
}

static void expect_client_fault(struct fixture *f, const char *resource, const char *path, const char *word) {
    assert_null(tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place));
    assert_true(fixture_has_fault(f, resource, path, word));
    error_list_finish(&f->errors);
    f->errors = (struct error_list){0};
}

static void test_missing_secrets(void **state) {
    struct fixture *f = *state;
    f->certificates[0] = (char *)"nowhere";
    expect_server_fault(f, "listener/web", "tls.certificates[0]", "there is no secret \"nowhere\"");
    f->certificates[0] = (char *)"ca";
    expect_server_fault(f, "listener/web", "tls.certificates[0]", "not a certificate with its key");
    f->server_message.n_certificates = 0;
    expect_server_fault(f, "listener/web", "tls.certificates", "there is no certificate");
    f->client_message.trust = NULL;
    expect_client_fault(f, "cluster/app", "tls.trust", "unless insecure");
    f->client_message.trust = (char *)"site";
    expect_client_fault(f, "cluster/app", "tls.trust", "not a list of authorities");
}

static void test_client_certificates_need_trust(void **state) {
    struct fixture *f = *state;
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    expect_server_fault(f, "listener/web", "tls.client_trust", "needed");
}

static void test_bad_pairs(void **state) {
    struct fixture *f = *state;
    static uint8_t nonsense[] = "nonsense";
    struct known_secret *site = &f->secrets.items[0];
    ProtobufCBinaryData key = site->pair.private_key, chain = site->chain[0];
    site->pair.private_key = f->secrets.items[1].pair.private_key;
    secret_seal(site);
    expect_server_fault(f, "secret/site", "key_pair.private_key", "not that of the certificate");
    site->pair.private_key = (ProtobufCBinaryData){8, nonsense};
    secret_seal(site);
    expect_server_fault(f, "secret/site", "key_pair.private_key", "PKCS #8");
    site->pair.private_key = key;
    site->chain[0] = (ProtobufCBinaryData){8, nonsense};
    secret_seal(site);
    expect_server_fault(f, "secret/site", "key_pair.chain", "X.509");
    site->chain[0] = (ProtobufCBinaryData){chain.len - 1, chain.data};
    secret_seal(site);
    expect_server_fault(f, "secret/site", "key_pair.chain", "X.509");
    site->chain[0] = chain;
    site->pair.n_chain = 0;
    secret_seal(site);
    expect_server_fault(f, "secret/site", "key_pair.chain", "there is no certificate");
    site->pair.n_chain = 1;
    site->pair.has_private_key = 0;
    secret_seal(site);
    expect_server_fault(f, "secret/site", "key_pair.private_key", "there is no private key");
}

static void test_weak_key(void **state) {
    struct fixture *f = *state;
    struct certificate weak = certificate_make(&(struct certificate_wish){.name = "a", .is_rsa = true, .rsa_bits = 1024});
    secret_add_pair(&f->secrets, "weak", &weak, NULL);
    f->certificates[0] = (char *)"weak";
    expect_server_fault(f, "secret/weak", "key_pair.private_key", "less than 2048 bits");
    certificate_finish(&weak);
}

static void test_bad_trust_and_tickets(void **state) {
    struct fixture *f = *state;
    static uint8_t nonsense[] = "nonsense";
    struct known_secret *ca = &f->secrets.items[2], *tickets = &f->secrets.items[3];
    ca->trust.n_certificates = 2;
    ca->authorities[1] = (ProtobufCBinaryData){8, nonsense};
    secret_seal(ca);
    expect_client_fault(f, "secret/ca", "trust.certificates[1]", "X.509");
    ca->trust.n_certificates = 1;
    ca->authorities[1] = (ProtobufCBinaryData){0};
    ca->trust.n_revocation_lists = 1;
    ca->lists[0] = (ProtobufCBinaryData){8, nonsense};
    secret_seal(ca);
    expect_client_fault(f, "secret/ca", "trust.revocation_lists[0]", "revocation list");
    ca->trust.n_revocation_lists = 0;
    ca->lists[0] = (ProtobufCBinaryData){0};
    ca->trust.n_certificates = 0;
    secret_seal(ca);
    expect_client_fault(f, "secret/ca", "trust.certificates", "there is no certificate");
    tickets->key[1].name.len = 15;
    secret_seal(tickets);
    expect_server_fault(f, "secret/ticket-keys", "ticket_keys.keys", "16 bytes");
}

static void test_unknown_words(void **state) {
    struct fixture *f = *state;
    char *good[] = {(char *)"TLS_AES_256_GCM_SHA384"}, *bad_suite[] = {(char *)"TLS_AES_128_GCM_SHA265"};
    char *bad_cipher[] = {(char *)"ECDHE-RSA-AES128-GCM-SHA256", (char *)"ALL"};
    char *bad_group[] = {(char *)"X25519", (char *)"X25518"};
    f->server_message.cipher_suites = bad_suite;
    f->server_message.n_cipher_suites = 1;
    expect_server_fault(f, "listener/web", "tls.cipher_suites[0]", "did you mean \"TLS_AES_128_GCM_SHA256\"?");
    f->server_message.cipher_suites = good;
    f->server_message.ciphers = bad_cipher;
    f->server_message.n_ciphers = 2;
    expect_server_fault(f, "listener/web", "tls.ciphers[1]", "\"ALL\" is not known");
    f->server_message.n_ciphers = 1;
    f->server_message.groups = bad_group;
    f->server_message.n_groups = 2;
    expect_server_fault(f, "listener/web", "tls.groups[1]", "did you mean \"X25519\"?");
    f->server_message.n_groups = 1;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_true(l->is_done[SERVER]);
    f->client_message.has_min_version = f->client_message.has_max_version = 1;
    f->client_message.max_version = HEADGATE__TLS_VERSION__TLS_1_2;
    f->client_message.min_version = HEADGATE__TLS_VERSION__TLS_1_3;
    expect_client_fault(f, "cluster/app", "tls.min_version", "above");
}

static struct tls_server *build_server(struct fixture *f, unsigned protocols) {
    struct tls_server *s = tls_server_build(&f->server_message, protocols, &f->lookup, &f->server_place);
    assert_non_null(s);
    return s;
}

static void test_equal_ones_are_one(void **state) {
    struct fixture *f = *state;
    struct tls_server *a = build_server(f, TLS_HTTP1), *b = build_server(f, TLS_HTTP1), *c = build_server(f, TLS_HTTP2);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    tls_server_unref(b);
    struct known_secret *site = &f->secrets.items[0];
    site->message.has_salt = 1; /* the same pair under another id */
    secret_seal(site);
    b = build_server(f, TLS_HTTP1);
    assert_ptr_not_equal(a, b);
    tls_server_unref(a);
    tls_server_unref(b);
    tls_server_unref(c);
    struct tls_client *d = tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place);
    struct tls_client *e = tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place);
    assert_non_null(d);
    assert_ptr_equal(d, e);
    tls_client_unref(d);
    tls_client_unref(e);
}

/* A certificate is exchanged: the open connection lives on, a handshake in its middle ends with the former one,
 * new ones show the new. */
static void test_rotation(void **state) {
    struct fixture *f = *state;
    struct link *l = &f->link, half = {0};
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    l = fixture_connect(f, 1, "site.example");
    link_run(l);
    half = (struct link){.worker = {&f->workers[0], &f->workers[1]}};
    half.session[CLIENT] = tls_session_connect(half.worker[CLIENT], f->client, STR("site.example"), &half);
    half.session[SERVER] = tls_session_accept(half.worker[SERVER], f->server);
    half.step = 100;
    side_work(&half, CLIENT);
    link_arrive(&half, SERVER);
    struct known_secret *site = &f->secrets.items[0];
    struct certificate next = certificate_make(&(struct certificate_wish){
        .name = "next", .alternatives = "DNS:site.example", .issuer = &f->ca, .serial = 99});
    OPENSSL_free(site->chain[0].data);
    OPENSSL_free(site->pair.private_key.data);
    site->chain[0] = der_of_certificate(&next);
    site->pair.private_key = der_of_key(&next);
    secret_seal(site);
    fixture_build(f, TLS_HTTP1, TLS_HTTP1); /* the former ones are released here */
    link_run(&half);
    assert_true(half.is_done[SERVER] && half.is_done[CLIENT]);
    for (int i = 0; i < 2; i++) {
        struct link *each = i ? &half : l;
        link_send(each, CLIENT, "still here", 10);
        link_run(each);
        assert_true(str_eq(strbuf_str(&each->got[SERVER]), STR("still here")));
    }
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    l = fixture_raw(f, plain);
    link_run(l);
    assert_int_equal(ASN1_INTEGER_get(X509_get0_serialNumber(SSL_get0_peer_certificate(l->raw))), 99);
    link_finish(&half);
    certificate_finish(&next);
    SSL_CTX_free(plain);
}

static void test_lack_of_memory(void **state) {
    struct fixture *f = *state;
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    f->server_message.client_trust = (char *)"ca";
    f->client_message.certificate = (char *)"visitor";
    for (long i = 0;; i++) {
        hg_alloc_fail_at(i, 0);
        struct tls_server *s = tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place);
        struct tls_client *c = tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place);
        hg_alloc_fail_at(-1, 0);
        bool is_whole = s && c;
        if (!is_whole)
            assert_false(error_list_is_empty(&f->errors));
        bool is_clean = error_list_is_empty(&f->errors);
        error_list_finish(&f->errors);
        f->errors = (struct error_list){0};
        tls_server_unref(s);
        tls_client_unref(c);
        tls_libraries_free();
        if (is_whole && is_clean && i > 60)
            break;
        assert_true(i < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TLS_TEST(test_missing_secrets), TLS_TEST(test_client_certificates_need_trust),
        TLS_TEST(test_bad_pairs),       TLS_TEST(test_weak_key),
        TLS_TEST(test_bad_trust_and_tickets), TLS_TEST(test_unknown_words),
        TLS_TEST(test_equal_ones_are_one), TLS_TEST(test_rotation),
        TLS_TEST(test_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
