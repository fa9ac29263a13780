/* Checks over TLS: whom they believe, under which name, with which certificate, and what they say. labels: threads */
#include "tests/unit/controlplane/health/checked.h"
#include "tests/unit/controlplane/health/tls_material.h"

#include <signal.h>

enum { DAY = 86400 };

/* ---- material, once for all tests ---- */

static struct material authority, stranger, site, other, expired, client;

static int make_material(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    authority = material_make("authority", NULL, 10L * DAY);
    stranger = material_make("stranger", NULL, 10L * DAY);
    site = material_make("site.test", &authority, 10L * DAY);
    other = material_make("other.test", &authority, 10L * DAY);
    expired = material_make("site.test", &authority, -DAY);
    client = material_make("client.test", &authority, 10L * DAY);
    return 0;
}

static int free_material(void **state) {
    struct material *all[] = {&authority, &stranger, &site, &other, &expired, &client};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        material_finish(all[i]);
    return 0;
}

static void serve(struct checked *c, const struct material *m) {
    SSL_CTX_free(c->server.tls);
    c->server.tls = material_server(m);
}

static int setup(void **state) {
    struct checked *c = checked_create();
    c->trust = material_trust(&authority);
    c->pair = material_pair(&client);
    c->way.tls = &c->tls;
    serve(c, &site);
    *state = c;
    return 0;
}

static int teardown(void **state) {
    struct checked *c = *state;
    health_destroy(c->health);
    c->health = NULL;
    SSL_CTX_free(c->server.tls);
    free((void *)(uintptr_t)c->trust.p);
    free((void *)(uintptr_t)c->pair.p);
    checked_destroy(c);
    return 0;
}

static void use_tls_check(struct checked *c) {
    c->check.kind_case = HEADGATE__HEALTH_CHECK__KIND_TLS;
    c->check.tls = &c->tls_check;
}

/* ---- tests ---- */

static void test_well(void **state) {
    struct checked *c = *state;
    expect_healthy(c, true);
    RUN_UNTIL(c, c->server.requests >= 5);
    assert_int_equal(c->server.accepted, 1); /* one handshake */
    assert_true(strstr(c->server.last, "Host: site.test\r\n") != NULL);
}

static void test_handshake_alone(void **state) {
    struct checked *c = *state;
    use_tls_check(c);
    c->way.tls = NULL; /* what the system trusts: the secret "system-ca" */
    expect_healthy(c, true);
    RUN_UNTIL(c, c->server.accepted >= 3);
    assert_int_equal(c->server.requests, 0);
    serve(c, &other);
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "TLS handshake: hostname mismatch");
    expect_healthy(c, false); /* nobody says which name it is to have */
}

static void test_wrong_name(void **state) {
    struct checked *c = *state;
    serve(c, &other);
    expect_unhealthy(c, true, "TLS handshake: hostname mismatch");
    c->tls.sni = (char *)(uintptr_t)"other.test";
    expect_healthy(c, true);
    c->tls.sni = NULL;
    char *names[] = {(char *)(uintptr_t)"nobody.test", (char *)(uintptr_t)"other.test"};
    c->tls.names = names;
    c->tls.n_names = 1;
    expect_unhealthy(c, true, "TLS handshake: hostname mismatch");
    c->tls.n_names = 2;
    expect_healthy(c, true);
}

static void test_matched_names(void **state) {
    struct checked *c = *state;
    Headgate__NameMatch match = HEADGATE__NAME_MATCH__INIT, *list[] = {&match};
    serve(c, &other);
    match.kind_case = HEADGATE__NAME_MATCH__KIND_SUFFIX;
    match.suffix = (char *)".no-such-name";
    c->tls.match_names = list;
    c->tls.n_match_names = 1;
    expect_unhealthy(c, true, "TLS handshake: hostname mismatch");
    match.kind_case = HEADGATE__NAME_MATCH__KIND_REGEX;
    match.regex = (char *)".*";
    expect_healthy(c, true);
}

static void pin(const struct material *m, char ret[65]) {
    unsigned char hash[32];
    assert_int_equal(X509_digest(m->x, EVP_sha256(), hash, NULL), 1);
    hex_encode(hash, sizeof hash, ret);
}

static void test_pins(void **state) {
    struct checked *c = *state;
    Headgate__CertificatePins pins = HEADGATE__CERTIFICATE_PINS__INIT;
    char hex[65], *list[] = {hex};
    pins.certificates = list;
    pins.n_certificates = 1;
    c->tls.pins = &pins;
    pin(&other, hex);
    expect_unhealthy(c, true, "TLS handshake: certificate rejected");
    pin(&site, hex);
    expect_healthy(c, true);
    serve(c, &expired);
    pin(&expired, hex);
    expect_unhealthy(c, true, "TLS handshake: certificate has expired");
    pins.has_only = pins.only = true;
    expect_healthy(c, true);
    pin(&site, hex);
    expect_unhealthy(c, true, "TLS handshake: certificate rejected");
}

static void test_names_that_come_with_authorities(void **state) {
    struct checked *c = *state;
    Headgate__NameMatch match = HEADGATE__NAME_MATCH__INIT, *list[] = {&match};
    match.kind_case = HEADGATE__NAME_MATCH__KIND_SUFFIX;
    match.suffix = (char *)".no-such-name";
    free((void *)(uintptr_t)c->trust.p);
    c->trust = material_trust_with(&authority, list, 1);
    expect_healthy(c, true); /* the endpoint's name is verified */
    c->tls.has_any_name = c->tls.any_name = true;
    expect_unhealthy(c, true, "TLS handshake: hostname mismatch");
    match.suffix = (char *)"site.test";
    free((void *)(uintptr_t)c->trust.p);
    c->trust = material_trust_with(&authority, list, 1);
    expect_healthy(c, true);
}

static void test_tls_of_the_endpoint(void **state) {
    struct checked *c = *state;
    Headgate__MetadataEntry mark = HEADGATE__METADATA_ENTRY__INIT, *marks[] = {&mark};
    Headgate__TlsChoice choice = HEADGATE__TLS_CHOICE__INIT, plain = HEADGATE__TLS_CHOICE__INIT;
    Headgate__TlsChoice *choices[] = {&choice, &plain};
    Headgate__ClientTls wrong = HEADGATE__CLIENT_TLS__INIT;
    mark.key = (char *)"tls";
    mark.value = (char *)"yes";
    wrong.sni = (char *)"nobody.test";
    choice.match = marks;
    choice.n_match = 1;
    choice.tls = &c->tls;
    c->way.tls = &wrong;
    c->way.choices = choices;
    c->way.choice_count = 1;
    expect_unhealthy(c, true, "TLS handshake: hostname mismatch");
    c->metadata = marks;
    c->metadata_count = 1;
    expect_healthy(c, true);
    c->metadata_count = 0;
    expect_unhealthy(c, true, "TLS handshake: hostname mismatch");
    c->way.choice_count = 2; /* whoever is not marked is asked in plaintext */
    SSL_CTX_free(c->server.tls);
    c->server.tls = NULL;
    expect_healthy(c, true);
    use_tls_check(c);
    server_drop_connections(&c->server);
    unsigned before = c->server.accepted;
    checked_one(c, true);
    RUN_UNTIL(c, c->server.accepted >= before + 2);
    assert_int_equal(c->changes[c->count - 1].health, HEALTHY); /* where there is no TLS, connecting is enough */
}

static void test_any_name(void **state) {
    struct checked *c = *state;
    serve(c, &other);
    c->tls.has_any_name = c->tls.any_name = true;
    expect_healthy(c, true);
    free((void *)(uintptr_t)c->trust.p);
    c->trust = material_trust(&stranger);
    expect_unhealthy(c, true, "TLS handshake: unable to get local issuer certificate");
}

static void test_expired(void **state) {
    struct checked *c = *state;
    serve(c, &expired);
    expect_unhealthy(c, true, "TLS handshake: certificate has expired");
    c->tls.has_insecure = c->tls.insecure = true;
    expect_healthy(c, true);
}

/* Another secret of the same name is another trust: the kept connection is not used any more. */
static void test_unknown_authority(void **state) {
    struct checked *c = *state;
    expect_healthy(c, true);
    free((void *)(uintptr_t)c->trust.p);
    c->trust = material_trust(&stranger);
    expect_unhealthy(c, true, "TLS handshake: unable to get local issuer certificate");
}

static void test_missing_secret(void **state) {
    struct checked *c = *state;
    struct str kept = c->trust;
    char address[32];
    const char *addresses[] = {address};
    expect_healthy(c, true);
    snprintf(address, sizeof address, "127.0.0.1:%u", c->server.port);
    c->trust = (struct str){NULL, 0};
    assert_int_equal(checked_try(c, addresses, 1, true), -1);
    assert_string_equal(c->errors.items[0].message, "health check over TLS: there is no secret \"system-ca\"");
    c->trust = c->pair;
    assert_int_equal(checked_try(c, addresses, 1, true), -1);
    c->trust = kept;
    unsigned before = c->server.requests;
    RUN_UNTIL(c, c->server.requests >= before + 2); /* what was, stays */
    assert_int_equal(c->count, 1);
}

static void test_client_certificate(void **state) {
    struct checked *c = *state;
    X509_STORE_add_cert(SSL_CTX_get_cert_store(c->server.tls), authority.x);
    SSL_CTX_set_verify(c->server.tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    c->tls.certificate = (char *)(uintptr_t)"pair";
    expect_healthy(c, true);
    c->tls.certificate = NULL;
    size_t before = c->count;
    checked_one(c, true);
    RUN_UNTIL(c, c->count > before);
    assert_int_equal(c->changes[before].health, UNHEALTHY);
}

static void test_versions(void **state) {
    struct checked *c = *state;
    c->tls.has_max_version = true;
    c->tls.max_version = HEADGATE__TLS_VERSION__TLS_1_2;
    expect_healthy(c, true);
    SSL_CTX_set_min_proto_version(c->server.tls, TLS1_3_VERSION);
    server_drop_connections(&c->server);
    RUN_UNTIL(c, c->changes[c->count - 1].health == UNHEALTHY);
    assert_string_equal(c->changes[c->count - 1].reason, "TLS handshake: tlsv1 alert protocol version");
}

static void test_no_tls_there(void **state) {
    struct checked *c = *state;
    SSL_CTX *kept = c->server.tls;
    c->server.tls = NULL;
    c->server.speaks_first = true;
    expect_unhealthy(c, true, "TLS handshake: wrong version number");
    c->server.speaks_first = false;
    c->server.response = NULL;
    c->check.timeout = 100000;
    assert_int_equal(health_set_cluster(c->health, "c", NULL, NULL, &c->errors), 0);
    expect_unhealthy(c, true, "no TLS handshake within 100ms");
    c->server.tls = kept;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_well), TEST(test_handshake_alone), TEST(test_wrong_name), TEST(test_any_name),
        TEST(test_matched_names), TEST(test_expired), TEST(test_pins), TEST(test_names_that_come_with_authorities),
        TEST(test_tls_of_the_endpoint),
        TEST(test_unknown_authority),
        TEST(test_missing_secret), TEST(test_client_certificate), TEST(test_versions), TEST(test_no_tls_there),
    };
    return cmocka_run_group_tests(tests, make_material, free_material);
}
