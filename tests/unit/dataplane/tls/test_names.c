/* Which certificate a name gets. */
#include "tests/unit/dataplane/tls/fixture.h"

#include "common/map.h"
#include "dataplane/tls/names.h"

/* ---- names of a certificate ---- */

static void expect_names(const struct certificate_wish *wish, const char *const *expected, size_t n) {
    struct certificate c = certificate_make(wish);
    struct tls_names names;
    assert_int_equal(tls_names_of(c.x, &names), 0);
    assert_int_equal(names.count, n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(names.items[i], expected[i]);
    tls_names_finish(&names);
    certificate_finish(&c);
}

static void test_names_of_a_certificate(void **state) {
    (void)state;
    static const char *const some[] = {"a.example", "*.b.example", "xn--bcher-kva.example"};
    expect_names(&(struct certificate_wish){.name = "common.example",
                                            .alternatives = "DNS:A.Example,DNS:*.b.example,DNS:xn--bcher-kva.example,"
                                                            "IP:10.0.0.1,email:a@b.example"}, some, 3);
    static const char *const common[] = {"common.example"};
    expect_names(&(struct certificate_wish){.name = "Common.Example"}, common, 1);
    /* An extension without a host name: the common name does not count. */
    expect_names(&(struct certificate_wish){.name = "common.example", .alternatives = "IP:10.0.0.1"}, NULL, 0);
    expect_names(&(struct certificate_wish){.name = "not a host"}, NULL, 0);
}

/* "good.example\0.evil.example" is neither of the two. */
static void test_nul_in_a_name(void **state) {
    (void)state;
    struct certificate c = certificate_make(&(struct certificate_wish){.name = "x"});
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    ASN1_STRING_set(s, "good.example\0.evil.example", 26);
    GENERAL_NAME_set0_value(g, GEN_DNS, s);
    sk_GENERAL_NAME_push(list, g);
    assert_int_equal(X509_add1_ext_i2d(c.x, NID_subject_alt_name, list, 0, 0), 1);
    GENERAL_NAMES_free(list);
    struct tls_names names;
    assert_int_equal(tls_names_of(c.x, &names), 0);
    assert_int_equal(names.count, 0);
    certificate_finish(&c);
}

static void test_canonical_names(void **state) {
    (void)state;
    static const struct {
        const char *name, *canonical;
    } cases[] = {{"A.Example", "a.example"}, {"a.example.", "a.example"}, {"", ""}, {".", ""}, {"a b", ""}, {"*.a", ""},
                 {"a/b", ""}, {"\xc3\xa4.example", ""}, {"10.0.0.1", "10.0.0.1"}};
    char room[DNS_NAME_MAX + 1], long_name[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(str_eq(tls_name_canonical(str_of(cases[i].name), room), str_of(cases[i].canonical)));
    memset(long_name, 'a', sizeof long_name);
    assert_int_equal(tls_name_canonical((struct str){long_name, 253}, room).n, 253);
    assert_int_equal(tls_name_canonical((struct str){long_name, 254}, room).n, 0);
}

static void test_wildcards(void **state) {
    (void)state;
    struct map map = {0};
    int exact, wild;
    assert_int_equal(map_set(&map, STR("a.b.example"), &exact), 0);
    assert_int_equal(map_set(&map, STR("*.b.example"), &wild), 0);
    assert_ptr_equal(tls_names_find(&map, STR("a.b.example")), &exact);
    assert_ptr_equal(tls_names_find(&map, STR("c.b.example")), &wild);
    assert_null(tls_names_find(&map, STR("b.example")));
    assert_null(tls_names_find(&map, STR("d.c.b.example"))); /* one label only */
    assert_null(tls_names_find(&map, STR("localhost")));
    map_finish(&map);
}

/* ---- handshakes ---- */

/* The serial number of the certificate that the server shows for that name; -1: it refuses. */
static long serial_for(struct fixture *f, SSL_CTX *plain, const char *name) {
    struct link *l = fixture_raw(f, plain);
    if (name)
        SSL_set_tlsext_host_name(l->raw, name);
    link_run(l);
    X509 *shown = SSL_get0_peer_certificate(l->raw);
    assert_int_equal(l->is_done[SERVER], shown != NULL);
    return shown ? ASN1_INTEGER_get(X509_get0_serialNumber(shown)) : -1;
}

static void add_site(struct fixture *f, const char *secret, const char *alternatives, long serial, char **list) {
    struct certificate c = certificate_make(&(struct certificate_wish){
        .name = "x", .alternatives = alternatives, .serial = serial, .issuer = &f->ca});
    secret_add_pair(&f->secrets, secret, &c, NULL);
    list[f->server_message.n_certificates++] = f->secrets.items[f->secrets.count - 1].name;
    certificate_finish(&c);
}

static void use_list(struct fixture *f, char **list) {
    list[0] = (char *)"site";
    f->server_message.certificates = list;
    f->server_message.n_certificates = 1;
}

static void test_choice(void **state) {
    struct fixture *f = *state;
    char *list[8];
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    use_list(f, list);
    add_site(f, "s2", "DNS:a.example,DNS:*.wild.example", 2, list);
    add_site(f, "s3", "DNS:b.wild.example", 3, list);
    add_site(f, "s4", "DNS:a.example", 4, list); /* a.example is the one's before it */
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    for (int version = 0; version < 2; version++) {
        SSL_CTX_set_max_proto_version(plain, version ? TLS1_2_VERSION : TLS1_3_VERSION);
        assert_int_equal(serial_for(f, plain, "a.example"), 2);
        assert_int_equal(serial_for(f, plain, "A.EXAMPLE"), 2);
        assert_int_equal(serial_for(f, plain, "c.wild.example"), 2);
        assert_int_equal(serial_for(f, plain, "b.wild.example"), 3);
        assert_int_equal(serial_for(f, plain, "site.example"), 1);
        assert_int_equal(serial_for(f, plain, "unknown.example"), 1);
        assert_int_equal(serial_for(f, plain, NULL), 1);
    }
    f->server_message.has_require_sni_match = 1;
    f->server_message.require_sni_match = 1;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_int_equal(serial_for(f, plain, "a.example"), 2);
    assert_int_equal(serial_for(f, plain, "unknown.example"), -1);
    assert_string_equal(tls_failure(f->link.session[SERVER]), "unknown-name");
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + SSL_AD_UNRECOGNIZED_NAME);
    assert_int_equal(serial_for(f, plain, NULL), -1);
    SSL_CTX_free(plain);
}

enum { MANY = 5000 };

static void test_thousands(void **state) {
    struct fixture *f = *state;
    char **list = calloc(MANY + 1, sizeof *list);
    char alternatives[64], name[32];
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    use_list(f, list);
    struct certificate c = certificate_make(&(struct certificate_wish){.name = "x"});
    for (int i = 0; i < MANY; i++) {
        /* One key for all; the certificates differ. */
        snprintf(alternatives, sizeof alternatives, "DNS:h%d.example", i);
        struct certificate next = {.x = X509_dup(c.x), .key = c.key};
        ASN1_INTEGER_set(X509_get_serialNumber(next.x), 100 + i);
        add_extension(next.x, next.x, NID_subject_alt_name, alternatives);
        assert_true(X509_sign(next.x, c.key, EVP_sha256()) > 0);
        snprintf(name, sizeof name, "many-%d", i);
        secret_add_pair(&f->secrets, name, &next, NULL);
        list[f->server_message.n_certificates++] = f->secrets.items[f->secrets.count - 1].name;
        X509_free(next.x);
    }
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    for (int i = 0; i < MANY; i += 499) {
        snprintf(name, sizeof name, "h%d.example", i);
        assert_int_equal(serial_for(f, plain, name), 100 + i);
    }
    certificate_finish(&c);
    SSL_CTX_free(plain);
    free(list);
}

static bool shows_rsa(struct fixture *f, SSL_CTX *plain, const char *name, const char *algorithms) {
    assert_int_equal(SSL_CTX_set1_sigalgs_list(plain, algorithms), 1);
    struct link *l = fixture_raw(f, plain);
    SSL_set_tlsext_host_name(l->raw, name);
    link_run(l);
    assert_true(l->is_done[SERVER]);
    return EVP_PKEY_is_a(X509_get0_pubkey(SSL_get0_peer_certificate(l->raw)), "RSA");
}

/* RSA beside ECDSA, as the first certificate and as one chosen by name. */
static void test_two_kinds_of_keys(void **state) {
    struct fixture *f = *state;
    char *list[] = {(char *)"first", (char *)"second"};
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < 2; i++) {
        struct certificate_wish wish = {.name = "x", .alternatives = i ? "DNS:second.example" : "DNS:first.example"};
        struct certificate ec = certificate_make(&wish);
        wish.is_rsa = true;
        struct certificate rsa = certificate_make(&wish);
        secret_add_pair(&f->secrets, list[i], &ec, &rsa);
        certificate_finish(&ec);
        certificate_finish(&rsa);
    }
    f->server_message.certificates = list;
    f->server_message.n_certificates = 2;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "second.example" : "first.example";
        assert_false(shows_rsa(f, plain, name, "ECDSA+SHA256:RSA-PSS+SHA256"));
        assert_true(shows_rsa(f, plain, name, "RSA-PSS+SHA256"));
        assert_false(shows_rsa(f, plain, name, "ECDSA+SHA256"));
    }
    SSL_CTX_free(plain);
}

/* A name with an ECDSA certificate only is never answered with the RSA key of the first. */
static void test_kinds_do_not_mix(void **state) {
    struct fixture *f = *state;
    char *list[] = {(char *)"rsa", (char *)"site"};
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    struct certificate rsa = certificate_make(&(struct certificate_wish){.name = "x", .is_rsa = true});
    secret_add_pair(&f->secrets, "rsa", &rsa, NULL);
    f->server_message.certificates = list;
    f->server_message.n_certificates = 2;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    SSL_CTX_set1_sigalgs_list(plain, "RSA-PSS+SHA256");
    struct link *l = fixture_raw(f, plain);
    SSL_set_tlsext_host_name(l->raw, "site.example");
    link_run(l);
    assert_false(l->is_done[SERVER]);
    assert_string_equal(tls_failure(l->session[SERVER]), "no-shared-cipher");
    certificate_finish(&rsa);
    SSL_CTX_free(plain);
}

static void test_stapling(void **state) {
    struct fixture *f = *state;
    static uint8_t response[] = "as good as a response: nobody looks inside";
    struct known_secret *site = &f->secrets.items[0];
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    const unsigned char *got;
    for (int is_stapled = 0; is_stapled < 2; is_stapled++) {
        site->pair.has_ocsp_response = is_stapled;
        site->pair.ocsp_response = (ProtobufCBinaryData){is_stapled ? sizeof response : 0, response};
        secret_seal(site);
        fixture_build(f, TLS_HTTP1, TLS_HTTP1);
        struct link *l = fixture_raw(f, plain);
        SSL_set_tlsext_status_type(l->raw, TLSEXT_STATUSTYPE_ocsp);
        link_run(l);
        assert_true(l->is_done[SERVER]);
        long n = SSL_get_tlsext_status_ocsp_resp(l->raw, &got);
        assert_int_equal(n, is_stapled ? (long)sizeof response : -1);
        if (is_stapled)
            assert_memory_equal(got, response, sizeof response);
    }
    SSL_CTX_free(plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_a_certificate), cmocka_unit_test(test_nul_in_a_name),
        cmocka_unit_test(test_canonical_names),        cmocka_unit_test(test_wildcards),
        TLS_TEST(test_choice),                         TLS_TEST(test_thousands),
        TLS_TEST(test_two_kinds_of_keys),              TLS_TEST(test_kinds_do_not_mix),
        TLS_TEST(test_stapling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
