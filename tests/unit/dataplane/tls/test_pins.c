/* Certificates that are known beforehand, and what comes along with authorities. */
#include <openssl/x509.h>

#include "tests/unit/dataplane/tls/verdicts.h"

#define REFUSED "bad-certificate"

/* ---- hashes ---- */

static char *pin_of_certificate(const struct certificate *c, char ret[65]) {
    unsigned char hash[32];
    assert_int_equal(X509_digest(c->x, EVP_sha256(), hash, NULL), 1);
    hex_encode(hash, sizeof hash, ret);
    return ret;
}

static char *pin_of_key(const struct certificate *c, char ret[45]) {
    unsigned char hash[32], *der = NULL;
    int n = i2d_PUBKEY(c->key, &der);
    assert_int_equal(EVP_Digest(der, (size_t)n, hash, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(EVP_EncodeBlock((unsigned char *)ret, hash, sizeof hash), 44);
    OPENSSL_free(der);
    return ret;
}

/* A message of at most two pins of each kind. */
struct pinned {
    Headgate__CertificatePins message;
    char                     *certificates[2], *keys[2];
};

static struct pinned *pinned_init(struct pinned *p) {
    headgate__certificate_pins__init(&p->message);
    p->message.certificates = p->certificates;
    p->message.keys = p->keys;
    return p;
}

static void pin_certificate(struct pinned *p, char *text) {
    p->certificates[p->message.n_certificates++] = text;
}

static void pin_key(struct pinned *p, char *text) {
    p->keys[p->message.n_keys++] = text;
}

static void set_only(struct pinned *p, bool only) {
    p->message.has_only = 1;
    p->message.only = only;
}

/* ---- origins ---- */

static void test_either_hash_will_do(void **state) {
    struct fixture *f = *state;
    char right[65], right_key[45], other[65], other_key[45];
    struct pinned p;
    pin_of_certificate(&f->site, right);
    pin_of_key(&f->site, right_key);
    pin_of_certificate(&f->visitor, other);
    pin_of_key(&f->visitor, other_key);
    f->client_message.pins = &pinned_init(&p)->message;
    pin_certificate(&p, other);
    assert_string_equal(verdict(f, "site.example"), REFUSED);
    pin_certificate(&p, right);
    assert_string_equal(verdict(f, "site.example"), "");
    assert_string_equal(verdict(f, "other.example"), "name-mismatch");
    p.message.n_certificates = 1;
    pin_key(&p, other_key);
    assert_string_equal(verdict(f, "site.example"), REFUSED);
    pin_key(&p, right_key);
    assert_string_equal(verdict(f, "site.example"), "");
    p.message.n_certificates = 0;
    p.keys[0] = right; /* a hash of the wrong kind says nothing of a key */
    p.message.n_keys = 1;
    assert_null(tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place));
}

/* A renewed certificate with the same key; one that has expired and was signed by nobody. */
static void test_beside_all_else_or_alone(void **state) {
    struct fixture *f = *state;
    char pin[65], key[45];
    struct pinned p;
    struct certificate own = certificate_make(&(struct certificate_wish){
        .name = "a", .alternatives = "DNS:far.example", .from = -200, .until = -100});
    show(f, &own);
    f->client_message.pins = &pinned_init(&p)->message;
    pin_certificate(&p, pin_of_certificate(&own, pin));
    assert_string_equal(verdict(f, "far.example"), "unknown-ca");
    f->client_message.trust = NULL;
    set_only(&p, true);
    assert_string_equal(verdict(f, "far.example"), "");
    assert_string_equal(verdict(f, "site.example"), "");
    assert_string_equal(verdict(f, ""), "");
    show(f, &f->site);
    assert_string_equal(verdict(f, "site.example"), REFUSED);
    p.message.n_certificates = 0;
    pin_key(&p, pin_of_key(&own, key));
    assert_string_equal(verdict(f, "site.example"), REFUSED);
    show(f, &own);
    assert_string_equal(verdict(f, "site.example"), "");
    f->client_message.has_insecure = f->client_message.insecure = 1;
    show(f, &f->site);
    assert_string_equal(verdict(f, "site.example"), "");
    certificate_finish(&own);
}

static void test_pins_that_are_none(void **state) {
    struct fixture *f = *state;
    static const char *const certificates[] = {"", "00", "G",
        "0000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000000000000000000000000000000000000000000G",
        "ABCDEF0000000000000000000000000000000000000000000000000000000000"};
    static const char *const keys[] = {"", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAA=", "====",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", "AAAAAAAAAAAAAAAAAAAAA*AAAAAAAAAAAAAAAAAAAAA="};
    for (size_t i = 0; i < sizeof certificates / sizeof *certificates + sizeof keys / sizeof *keys; i++) {
        size_t k = i - sizeof certificates / sizeof *certificates;
        bool is_key = i >= sizeof certificates / sizeof *certificates;
        struct pinned p;
        f->client_message.pins = &pinned_init(&p)->message;
        if (is_key)
            pin_key(&p, (char *)(uintptr_t)keys[k]);
        else
            pin_certificate(&p, (char *)(uintptr_t)certificates[i]);
        assert_null(tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place));
        assert_string_equal(f->errors.items[f->errors.count - 1].path,
                            is_key ? "tls.pins.keys[0]" : "tls.pins.certificates[0]");
    }
    struct pinned none;
    f->client_message.pins = &pinned_init(&none)->message;
    assert_null(tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place));
    assert_string_equal(f->errors.items[f->errors.count - 1].message, "there is none");
}

/* ---- what comes with authorities ---- */

struct rules {
    struct known_secret *secret;
    Headgate__NameMatch  match, *list[1];
    struct pinned        pins;
};

static void rules_init(struct rules *r, struct fixture *f) {
    r->secret = secret_add_trust(&f->secrets, "told", &f->ca);
    headgate__name_match__init(&r->match);
    r->match.kind_case = HEADGATE__NAME_MATCH__KIND_EXACT;
    r->list[0] = &r->match;
    pinned_init(&r->pins);
    f->client_message.trust = (char *)"told";
}

static void match_name(struct rules *r, const char *name) {
    r->match.exact = (char *)(uintptr_t)name;
    r->secret->trust.match_names = r->list;
    r->secret->trust.n_match_names = 1;
    secret_seal(r->secret);
}

static void test_names_that_come_with_authorities(void **state) {
    struct fixture *f = *state;
    struct rules r;
    Headgate__NameMatch own = HEADGATE__NAME_MATCH__INIT, *list[] = {&own};
    rules_init(&r, f);
    f->client_message.has_any_name = f->client_message.any_name = 1;
    match_name(&r, "other.example");
    assert_string_equal(verdict(f, "x.example"), "name-mismatch");
    match_name(&r, "site.example");
    assert_string_equal(verdict(f, "x.example"), "");
    f->client_message.any_name = 0; /* the name that is asked for is verified, and nothing else */
    match_name(&r, "other.example");
    assert_string_equal(verdict(f, "site.example"), "");
    own.kind_case = HEADGATE__NAME_MATCH__KIND_EXACT;
    own.exact = (char *)"third.example";
    f->client_message.match_names = list;
    f->client_message.n_match_names = 1;
    assert_string_equal(verdict(f, "site.example"), "name-mismatch");
    match_name(&r, "site.example");
    assert_string_equal(verdict(f, "x.example"), "");
    own.exact = (char *)"site.example";
    match_name(&r, "other.example");
    assert_string_equal(verdict(f, "x.example"), "");
    r.match.exact = (char *)"";
    secret_seal(r.secret);
    assert_null(tls_client_build(&f->client_message, TLS_HTTP1, &f->lookup, &f->client_place));
    assert_string_equal(f->errors.items[f->errors.count - 1].path, "tls.trust.match_names[0]");
}

static void test_pins_that_come_with_authorities(void **state) {
    struct fixture *f = *state;
    char right[65], other[65];
    struct rules r;
    struct pinned own;
    rules_init(&r, f);
    r.secret->trust.pins = &r.pins.message;
    pin_certificate(&r.pins, pin_of_certificate(&f->visitor, other));
    secret_seal(r.secret);
    assert_string_equal(verdict(f, "site.example"), REFUSED);
    f->client_message.pins = &pinned_init(&own)->message;
    pin_certificate(&own, pin_of_certificate(&f->site, right));
    assert_string_equal(verdict(f, "site.example"), "");
    f->client_message.pins = NULL;
    r.pins.certificates[0] = right;
    secret_seal(r.secret);
    assert_string_equal(verdict(f, "site.example"), "");
}

/* ---- clients ---- */

static void test_clients(void **state) {
    struct fixture *f = *state;
    char visitor[65], other[65];
    struct pinned p;
    struct certificate stranger = certificate_make(&(struct certificate_wish){.name = "stranger"});
    secret_add_pair(&f->secrets, "stranger", &stranger, NULL);
    pin_of_certificate(&f->visitor, visitor);
    pin_of_certificate(&stranger, other);
    f->server_message.pins = &pinned_init(&p)->message;
    pin_certificate(&p, visitor);
    for (int mode = 1; mode <= 2; mode++) {
        Headgate__ServerTls__ClientCertificates how = (Headgate__ServerTls__ClientCertificates)mode;
        p.certificates[0] = visitor;
        set_only(&p, false);
        assert_string_equal(verdict_of_listener(f, how, "ca", "visitor"), "");
        assert_true(tls_peer_text(f->link.session[SERVER]).n > 0);
        assert_string_equal(verdict_of_listener(f, how, "ca", NULL), mode == 1 ? "" : "no-certificate");
        p.certificates[0] = other;
        assert_string_equal(verdict_of_listener(f, how, "ca", "visitor"), REFUSED);
        assert_string_equal(verdict_of_listener(f, how, "ca", "stranger"), "unknown-ca");
        set_only(&p, true);
        assert_string_equal(verdict_of_listener(f, how, "ca", "stranger"), "");
        assert_true(tls_peer_text(f->link.session[SERVER]).n > 0);
        assert_string_equal(verdict_of_listener(f, how, "ca", "visitor"), REFUSED);
        assert_string_equal(verdict_of_listener(f, how, "ca", NULL), mode == 1 ? "" : "no-certificate");
    }
    certificate_finish(&stranger);
}

static void test_rules_of_clients_that_come_with_authorities(void **state) {
    struct fixture *f = *state;
    const Headgate__ServerTls__ClientCertificates how = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    struct rules r;
    rules_init(&r, f);
    match_name(&r, "visitor.example");
    assert_string_equal(verdict_of_listener(f, how, "told", "visitor"), "");
    match_name(&r, "other.example");
    assert_string_equal(verdict_of_listener(f, how, "told", "visitor"), "name-mismatch");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TLS_TEST(test_either_hash_will_do), TLS_TEST(test_beside_all_else_or_alone), TLS_TEST(test_pins_that_are_none),
        TLS_TEST(test_names_that_come_with_authorities), TLS_TEST(test_pins_that_come_with_authorities),
        TLS_TEST(test_clients), TLS_TEST(test_rules_of_clients_that_come_with_authorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
