/* Who is believed: origins by us, clients by a listener. */
#include "tests/unit/dataplane/tls/verdicts.h"

/* ---- origins ---- */

static void set_site(struct fixture *f, const struct certificate_wish *wish) {
    struct certificate c = certificate_make(wish);
    show(f, &c);
    certificate_finish(&c);
}

static void test_names(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *hostname, *failure;
    } cases[] = {
        {"site.example", ""},           {"SITE.example", ""},
        {"127.0.0.1", ""},              {"other.example", "name-mismatch"},
        {"127.0.0.2", "name-mismatch"}, {"a.site.example", "name-mismatch"},
        {"site", "name-mismatch"} /* the common name does not count */, {"", "name-mismatch"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(verdict(f, cases[i].hostname), cases[i].failure);
}

static void test_named_names(void **state) {
    struct fixture *f = *state;
    char *names[] = {(char *)"x.example", (char *)"site.example"};
    f->client_message.names = names;
    f->client_message.n_names = 2;
    assert_string_equal(verdict(f, "whatever.example"), "");
    f->client_message.n_names = 1;
    assert_string_equal(verdict(f, "site.example"), "name-mismatch");
    f->client_message.n_names = 0;
    f->client_message.sni = (char *)"site.example";
    assert_string_equal(verdict(f, "other.example"), "");
    assert_true(str_eq(tls_server_name(f->link.session[SERVER]), STR("site.example")));
}

static void test_any_name(void **state) {
    struct fixture *f = *state;
    f->client_message.has_any_name = f->client_message.any_name = 1;
    assert_string_equal(verdict(f, "other.example"), "");
    assert_string_equal(verdict(f, ""), "");
    set_site(f, &(struct certificate_wish){.name = "a", .alternatives = "DNS:other.example"}); /* signed by itself */
    assert_string_equal(verdict(f, "other.example"), "unknown-ca");
}

/* ---- names by their parts ---- */

#define NAME(a_type, a_kind, a_field, a_text) \
    {.has_type = 1, .type = HEADGATE__NAME_MATCH__TYPE__##a_type, .kind_case = HEADGATE__NAME_MATCH__KIND_##a_kind, \
     .a_field = (char *)(uintptr_t)(a_text)}

struct name_case {
    Headgate__NameMatch match;
    bool                fits;
};

static const struct name_case name_cases[] = {
    {NAME(DNS, EXACT, exact, "Site.Example"), true},
    {NAME(DNS, EXACT, exact, "a.wild.example"), true}, /* by the certificate's wildcard */
    {NAME(DNS, EXACT, exact, "a.b.wild.example"), false},
    {NAME(DNS, EXACT, exact, "*.wild.example"), true},
    {NAME(DNS, EXACT, exact, ".example"), false}, /* the whole name */
    {NAME(DNS, EXACT, exact, "site"), false},
    {NAME(DNS, PREFIX, prefix, "SITE."), true},
    {NAME(DNS, PREFIX, prefix, "ite."), false},
    {NAME(DNS, SUFFIX, suffix, ".example"), true},
    {NAME(DNS, SUFFIX, suffix, ".exampl"), false},
    {NAME(DNS, CONTAINS, contains, "e.ex"), true},
    {NAME(DNS, REGEX, regex, "s[a-z]+[.]example"), true},
    {NAME(DNS, REGEX, regex, "s[a-z]+"), false}, /* the whole name */
    {NAME(DNS, EXACT, exact, "spiffe://td/ns/a"), false},
    {NAME(URI, EXACT, exact, "spiffe://td/ns/a"), true},
    {NAME(URI, EXACT, exact, "spiffe://TD/ns/a"), false},
    {NAME(URI, EXACT, exact, "site.example"), false},
    {NAME(URI, PREFIX, prefix, "spiffe://td/"), true},
    {NAME(URI, SUFFIX, suffix, "/ns/b"), false},
    {NAME(URI, CONTAINS, contains, "/ns/"), true},
    {NAME(URI, REGEX, regex, "spiffe://[^/]+/ns/a"), true},
    {NAME(URI, REGEX, regex, "(a|b|ab)*c"), false},
    {NAME(EMAIL, EXACT, exact, "me@a.example"), true},
    {NAME(EMAIL, SUFFIX, suffix, "@A.example"), false},
    {NAME(IP, EXACT, exact, "127.0.0.1"), true},
    {NAME(IP, EXACT, exact, "127.0.0.2"), false},
    {NAME(IP, EXACT, exact, "0:0:0:0:0:0:0:1"), true},
    {NAME(IP, PREFIX, prefix, "127."), true},
    {NAME(IP, EXACT, exact, "no address"), false},
};

static const char alternatives[] =
    "DNS:site.example,DNS:*.wild.example,URI:spiffe://td/ns/a,email:me@a.example,IP:127.0.0.1,IP:::1";

static void test_matched_names(void **state) {
    struct fixture *f = *state;
    set_site(f, &(struct certificate_wish){.name = "a", .issuer = &f->ca, .alternatives = alternatives});
    for (size_t i = 0; i < sizeof name_cases / sizeof *name_cases; i++) {
        Headgate__NameMatch match = HEADGATE__NAME_MATCH__INIT, *list[] = {&match};
        ProtobufCMessage base = match.base;
        match = name_cases[i].match;
        match.base = base;
        f->client_message.match_names = list;
        f->client_message.n_match_names = 1;
        if (strcmp(verdict(f, "whatever.example"), name_cases[i].fits ? "" : "name-mismatch") != 0)
            fail_msg("case %zu: %s", i, verdict(f, "whatever.example"));
    }
}

static void test_one_matched_name_is_enough(void **state) {
    struct fixture *f = *state;
    Headgate__NameMatch a = HEADGATE__NAME_MATCH__INIT, b = HEADGATE__NAME_MATCH__INIT, *list[] = {&a, &b};
    a.has_type = b.has_type = 1;
    a.type = b.type = HEADGATE__NAME_MATCH__TYPE__URI;
    a.kind_case = b.kind_case = HEADGATE__NAME_MATCH__KIND_EXACT;
    a.exact = (char *)"SPIFFE://td/ns/a";
    b.exact = (char *)"other";
    set_site(f, &(struct certificate_wish){.name = "a", .issuer = &f->ca, .alternatives = alternatives});
    f->client_message.match_names = list;
    f->client_message.n_match_names = 2;
    assert_string_equal(verdict(f, "site.example"), "name-mismatch");
    a.has_ignore_case = a.ignore_case = 1;
    assert_string_equal(verdict(f, "site.example"), "");
    set_site(f, &(struct certificate_wish){.name = "a", .alternatives = alternatives}); /* signed by itself */
    assert_string_equal(verdict(f, "site.example"), "unknown-ca");
    set_site(f, &(struct certificate_wish){.name = "a", .issuer = &f->ca}); /* without any name */
    assert_string_equal(verdict(f, "site.example"), "name-mismatch");
}

static void test_times_and_issuers(void **state) {
    struct fixture *f = *state;
    struct certificate stranger = certificate_make(&(struct certificate_wish){.name = "Other CA", .is_ca = true});
    const struct {
        struct certificate_wish wish;
        const char             *failure;
    } cases[] = {
        {{.name = "a", .issuer = &f->ca, .from = -200, .until = -100}, "certificate-expired"},
        {{.name = "a", .issuer = &f->ca, .from = 1000, .until = 2000}, "certificate-not-yet-valid"},
        {{.name = "a", .issuer = &stranger}, "unknown-ca"},
        {{.name = "a"}, "unknown-ca"}, /* signed by itself */
        {{.name = "a", .issuer = &f->ca, .is_rsa = true}, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct certificate_wish wish = cases[i].wish;
        wish.alternatives = "DNS:site.example";
        set_site(f, &wish);
        f->client_message.has_insecure = 1;
        f->client_message.insecure = 0;
        assert_string_equal(verdict(f, "site.example"), cases[i].failure);
        f->client_message.insecure = 1;
        assert_string_equal(verdict(f, "site.example"), "");
    }
    certificate_finish(&stranger);
}

static ProtobufCBinaryData revocation_list(const struct certificate *ca, long serial, long until) {
    X509_CRL *list = X509_CRL_new();
    X509_CRL_set_version(list, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(ca->x));
    ASN1_TIME *now = X509_gmtime_adj(NULL, -1000), *next = X509_gmtime_adj(NULL, until);
    X509_CRL_set1_lastUpdate(list, now);
    X509_CRL_set1_nextUpdate(list, next);
    X509_REVOKED *r = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(r, number);
    X509_REVOKED_set_revocationDate(r, now);
    X509_CRL_add0_revoked(list, r);
    assert_true(X509_CRL_sign(list, ca->key, EVP_sha256()) > 0);
    ProtobufCBinaryData der = {0};
    der.len = (size_t)i2d_X509_CRL(list, &der.data);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    X509_CRL_free(list);
    return der;
}

static void test_revocation(void **state) {
    struct fixture *f = *state;
    struct known_secret *k = secret_add_trust(&f->secrets, "with-list", &f->ca);
    k->trust.n_revocation_lists = 1;
    k->lists[0] = revocation_list(&f->ca, 7, 100000);
    secret_seal(k);
    f->client_message.trust = (char *)"with-list";
    assert_string_equal(verdict(f, "site.example"), "");
    set_site(f, &(struct certificate_wish){.name = "a", .issuer = &f->ca, .alternatives = "DNS:site.example", .serial = 7});
    assert_string_equal(verdict(f, "site.example"), "certificate-revoked");
    OPENSSL_free(k->lists[0].data);
    k->lists[0] = revocation_list(&f->ca, 8, -100);
    secret_seal(k);
    assert_string_equal(verdict(f, "site.example"), "no-revocation-list");
}

/* A certificate that an intermediate authority, number 9 of the root, has issued. Both come in the chain. */
static struct known_secret *add_below_intermediate(struct fixture *f, const char *name) {
    struct certificate between = certificate_make(
        &(struct certificate_wish){.name = "Between", .issuer = &f->ca, .is_ca = true, .serial = 9});
    struct certificate leaf = certificate_make(
        &(struct certificate_wish){.name = "leaf", .issuer = &between, .alternatives = "DNS:site.example", .serial = 20});
    struct known_secret *k = secret_add_pair(&f->secrets, name, &leaf, NULL);
    k->chain[k->pair.n_chain++] = der_of_certificate(&between);
    secret_seal(k);
    certificate_finish(&leaf);
    struct known_secret *trust = secret_add_trust(&f->secrets, "lists", &f->ca);
    trust->trust.n_revocation_lists = 2;
    trust->lists[0] = revocation_list(&between, 21, 100000);
    trust->lists[1] = revocation_list(&f->ca, 8, 100000);
    secret_seal(trust);
    certificate_finish(&between);
    return trust;
}

static void set_root_list(const struct fixture *f, struct known_secret *trust, long serial) {
    OPENSSL_free(trust->lists[1].data);
    trust->lists[1] = revocation_list(&f->ca, serial, 100000);
    secret_seal(trust);
}

/* Every certificate of the chain is looked up, unless the leaf's alone is asked for. */
static void test_revocation_of_an_authority(void **state) {
    struct fixture *f = *state;
    struct known_secret *trust = add_below_intermediate(f, "below");
    f->certificates[0] = (char *)"below";
    f->client_message.trust = (char *)"lists";
    f->client_message.has_only_verify_leaf_cert_crl = 1;
    assert_string_equal(verdict(f, "site.example"), "");
    set_root_list(f, trust, 9);
    assert_string_equal(verdict(f, "site.example"), "certificate-revoked");
    f->client_message.only_verify_leaf_cert_crl = 1;
    assert_string_equal(verdict(f, "site.example"), "");
    trust->trust.n_revocation_lists = 1; /* of the root there is none */
    secret_seal(trust);
    assert_string_equal(verdict(f, "site.example"), "");
    f->client_message.only_verify_leaf_cert_crl = 0;
    assert_string_equal(verdict(f, "site.example"), "no-revocation-list");
}

/* ---- clients ---- */

static const char *ask(struct fixture *f, Headgate__ServerTls__ClientCertificates how, const char *shown) {
    return verdict_of_listener(f, how, "ca", shown);
}

static void test_revocation_of_a_clients_authority(void **state) {
    struct fixture *f = *state;
    struct known_secret *trust = add_below_intermediate(f, "below");
    f->server_message.has_only_verify_leaf_cert_crl = 1;
    for (int leaf_alone = 0; leaf_alone < 2; leaf_alone++) {
        set_root_list(f, trust, 9);
        f->server_message.only_verify_leaf_cert_crl = leaf_alone;
        assert_string_equal(verdict_of_listener(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED, "lists", "below"),
                            leaf_alone ? "" : "certificate-revoked");
    }
}

static void expect_identity(const struct fixture *f) {
    const struct tls_session *s = f->link.session[SERVER];
    unsigned char digest[32];
    char hex[65];
    X509_digest(f->visitor.x, EVP_sha256(), digest, NULL);
    hex_encode(digest, 32, hex);
    struct strbuf expected = {0};
    /* RFC 2253 escapes the quotation marks of the name with a backslash; a quoted string escapes both again. */
    strbuf_printf(&expected,
                  "Hash=%s;Subject=\"CN=visitor \\\\\\\"one\\\\\\\"\";URI=spiffe://a/b%%3Bc;DNS=visitor.example", hex);
    assert_int_equal(tls_peer_text(s).n, expected.n);
    assert_memory_equal(tls_peer_text(s).p, expected.p, expected.n);
    strbuf_finish(&expected);
    ProtobufCBinaryData der = der_of_certificate(&f->visitor);
    unsigned char *decoded = malloc(tls_peer_base64(s).n);
    int n = EVP_DecodeBlock(decoded, (const unsigned char *)tls_peer_base64(s).p, (int)tls_peer_base64(s).n);
    assert_true(n >= (int)der.len && n < (int)der.len + 3);
    assert_memory_equal(decoded, der.data, der.len);
    free(decoded);
    OPENSSL_free(der.data);
}

static void test_required(void **state) {
    struct fixture *f = *state;
    for (int version = 0; version < 2; version++) {
        f->client_message.has_max_version = 1;
        f->client_message.max_version = version ? HEADGATE__TLS_VERSION__TLS_1_3 : HEADGATE__TLS_VERSION__TLS_1_2;
        assert_string_equal(ask(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED, "visitor"), "");
        expect_identity(f);
        assert_string_equal(ask(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED, NULL), "no-certificate");
    }
}

static void test_if_given(void **state) {
    struct fixture *f = *state;
    assert_string_equal(ask(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IF_GIVEN, NULL), "");
    assert_int_equal(tls_peer_text(f->link.session[SERVER]).n, 0);
    assert_string_equal(ask(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IF_GIVEN, "visitor"), "");
    expect_identity(f);
}

static void test_strangers(void **state) {
    struct fixture *f = *state;
    struct certificate stranger = certificate_make(&(struct certificate_wish){.name = "stranger"});
    struct certificate late = certificate_make(&(struct certificate_wish){
        .name = "late", .issuer = &f->ca, .from = -1000, .until = -500});
    secret_add_pair(&f->secrets, "stranger", &stranger, NULL);
    secret_add_pair(&f->secrets, "late", &late, NULL);
    for (int how = 1; how <= 2; how++) {
        assert_string_equal(ask(f, (Headgate__ServerTls__ClientCertificates)how, "stranger"), "unknown-ca");
        assert_string_equal(ask(f, (Headgate__ServerTls__ClientCertificates)how, "late"), "certificate-expired");
    }
    certificate_finish(&stranger);
    certificate_finish(&late);
}

static void test_names_of_clients(void **state) {
    struct fixture *f = *state;
    Headgate__NameMatch match = HEADGATE__NAME_MATCH__INIT, *list[] = {&match};
    match.has_type = 1;
    match.type = HEADGATE__NAME_MATCH__TYPE__URI;
    match.kind_case = HEADGATE__NAME_MATCH__KIND_PREFIX;
    f->server_message.match_names = list;
    f->server_message.n_match_names = 1;
    for (int how = 1; how <= 2; how++) {
        match.prefix = (char *)"spiffe://a/";
        assert_string_equal(ask(f, (Headgate__ServerTls__ClientCertificates)how, "visitor"), "");
        match.prefix = (char *)"spiffe://b/";
        assert_string_equal(ask(f, (Headgate__ServerTls__ClientCertificates)how, "visitor"), "name-mismatch");
    }
    /* none has no name to be looked at */
    assert_string_equal(ask(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IF_GIVEN, NULL), "");
}

static void test_ways_of_telling(void **state) {
    struct fixture *f = *state;
    Headgate__ServerTls__Identity ways[] = {HEADGATE__SERVER_TLS__IDENTITY__CLIENT_CERT};
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(tls_server_tells_xfcc(f->server));
    ask(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED, "visitor");
    assert_true(tls_server_tells_xfcc(f->server));
    assert_false(tls_server_tells_client_cert(f->server));
    f->server_message.identity = ways;
    f->server_message.n_identity = 1;
    ask(f, HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED, "visitor");
    assert_false(tls_server_tells_xfcc(f->server));
    assert_true(tls_server_tells_client_cert(f->server));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TLS_TEST(test_names),      TLS_TEST(test_named_names), TLS_TEST(test_any_name), TLS_TEST(test_times_and_issuers),
        TLS_TEST(test_revocation), TLS_TEST(test_required),    TLS_TEST(test_if_given),
        TLS_TEST(test_strangers),  TLS_TEST(test_ways_of_telling), TLS_TEST(test_matched_names),
        TLS_TEST(test_one_matched_name_is_enough), TLS_TEST(test_names_of_clients),
        TLS_TEST(test_revocation_of_an_authority), TLS_TEST(test_revocation_of_a_clients_authority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
