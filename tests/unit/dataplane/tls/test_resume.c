/* Sessions that are resumed: across workers, keys, definitions; and those that must not be. */
#include "tests/unit/dataplane/tls/fixture.h"

#include "common/clock.h"

static struct link *connect_once(struct fixture *f, unsigned server_worker, const char *hostname) {
    struct link *l = fixture_connect(f, server_worker, hostname);
    link_run(l);
    assert_true(l->is_done[CLIENT] && l->is_done[SERVER]);
    link_send(l, SERVER, "x", 1); /* the ticket was read when this arrives */
    link_run(l);
    assert_true(str_eq(strbuf_str(&l->got[CLIENT]), STR("x")));
    assert_int_equal(tls_is_resumed(l->session[CLIENT]), tls_is_resumed(l->session[SERVER]));
    return l;
}

static bool resumes(struct fixture *f, unsigned server_worker, const char *hostname) {
    return tls_is_resumed(connect_once(f, server_worker, hostname)->session[SERVER]);
}

static void set_versions(struct fixture *f, bool is_1_3) {
    f->client_message.has_max_version = 1;
    f->client_message.max_version = is_1_3 ? HEADGATE__TLS_VERSION__TLS_1_3 : HEADGATE__TLS_VERSION__TLS_1_2;
}

static void test_across_workers(void **state) {
    struct fixture *f = *state;
    for (int is_1_3 = 0; is_1_3 < 2; is_1_3++) {
        set_versions(f, is_1_3);
        fixture_build(f, TLS_HTTP1, TLS_HTTP1);
        assert_false(resumes(f, 1, "site.example"));
        assert_true(resumes(f, 2, "site.example"));
        assert_true(resumes(f, 1, "site.example"));
        assert_false(resumes(f, 1, "127.0.0.1")); /* another name was verified */
        assert_true(resumes(f, 1, "127.0.0.1"));
    }
    assert_int_equal(stats_read(&f->stats[2].tls[STATS_TLS_CLIENTS].resumed), 2);
}

static struct known_secret *tickets(struct fixture *f) {
    return &f->secrets.items[f->secrets.count - 1];
}

static void rotate(struct fixture *f, int newest, size_t count) {
    f->secrets.count--;
    secret_add_tickets(&f->secrets, newest, count);
    struct tls_server *next = tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place);
    assert_non_null(next);
    assert_ptr_not_equal(next, f->server);
    tls_server_unref(f->server);
    f->server = next;
}

/* A listener may have keys of its own. */
static void test_own_keys(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(resumes(f, 1, "site.example"));
    struct known_secret *own = secret_add_tickets(&f->secrets, 9, 1);
    snprintf(own->name, sizeof own->name, "sds:keys");
    f->server_message.ticket_keys = own->name;
    struct tls_server *next = tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place);
    assert_non_null(next);
    tls_server_unref(f->server);
    f->server = next;
    assert_false(resumes(f, 1, "site.example")); /* the ticket is of another key */
    assert_true(resumes(f, 2, "site.example"));
    f->server_message.ticket_keys = (char *)"sds:none";
    assert_null(tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place));
}

static void test_rotated_keys(void **state) {
    struct fixture *f = *state;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_int_equal(tickets(f)->tickets.n_keys, 2);
    assert_false(resumes(f, 1, "site.example"));
    rotate(f, 3, 2); /* the ticket was made with key 2, which is still there */
    assert_true(resumes(f, 1, "site.example"));
    rotate(f, 4, 2); /* by then it was renewed with key 3 */
    assert_true(resumes(f, 1, "site.example"));
    rotate(f, 9, 2);
    assert_false(resumes(f, 1, "site.example"));
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].tickets_rejected), 1);
    assert_true(resumes(f, 1, "site.example"));
}

static void test_without_keys(void **state) {
    struct fixture *f = *state;
    f->secrets.count--;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    for (int i = 0; i < 3; i++)
        assert_false(resumes(f, 1, "site.example"));
    assert_int_equal(stats_read(&f->stats[1].tls[STATS_TLS_CLIENTS].tickets_issued), 0);
}

static void test_switched_off(void **state) {
    struct fixture *f = *state;
    f->server_message.has_tickets = 1;
    f->server_message.tickets = 0;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(resumes(f, 1, "site.example"));
    assert_false(resumes(f, 1, "site.example"));
}

/* A ticket of a listener that asks nobody for a certificate is no way around one that does. */
static void test_other_client_policy(void **state) {
    struct fixture *f = *state;
    f->client_message.certificate = (char *)"visitor";
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(resumes(f, 1, "site.example"));
    assert_true(resumes(f, 1, "site.example"));
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    f->server_message.client_trust = (char *)"ca";
    struct tls_client *kept = f->client;
    f->client = NULL;
    tls_server_unref(f->server);
    f->server = tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place);
    f->client = kept;
    struct link *l = connect_once(f, 1, "site.example");
    assert_false(tls_is_resumed(l->session[SERVER]));
    assert_true(str_starts(tls_peer_text(l->session[SERVER]), STR("Hash=")));
    char *first = hg_strndup(tls_peer_text(l->session[SERVER]).p, tls_peer_text(l->session[SERVER]).n);
    l = connect_once(f, 2, "site.example");
    assert_true(tls_is_resumed(l->session[SERVER]));
    assert_true(str_eq(tls_peer_text(l->session[SERVER]), str_of(first))); /* the identity comes with the ticket */
    hg_free(first);
}

/* Nor of one that asks for other names. */
static void test_other_names_of_clients(void **state) {
    struct fixture *f = *state;
    Headgate__NameMatch match = HEADGATE__NAME_MATCH__INIT, *list[] = {&match};
    match.has_type = 1;
    match.type = HEADGATE__NAME_MATCH__TYPE__URI;
    match.kind_case = HEADGATE__NAME_MATCH__KIND_PREFIX;
    match.prefix = (char *)"spiffe://a/";
    f->client_message.certificate = (char *)"visitor";
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    f->server_message.client_trust = (char *)"ca";
    f->server_message.match_names = list;
    f->server_message.n_match_names = 1;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(resumes(f, 1, "site.example"));
    assert_true(resumes(f, 1, "site.example"));
    match.prefix = (char *)"spiffe://b/";
    tls_server_unref(f->server);
    f->server = tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_false(l->is_done[SERVER]);
    assert_string_equal(tls_failure(l->session[SERVER]), "name-mismatch");
}

/* Nor of one that knows other certificates. */
static void test_other_pins_of_clients(void **state) {
    struct fixture *f = *state;
    Headgate__CertificatePins pins = HEADGATE__CERTIFICATE_PINS__INIT;
    unsigned char hash[32];
    char hex[65], *list[] = {hex};
    X509_digest(f->visitor.x, EVP_sha256(), hash, NULL);
    hex_encode(hash, sizeof hash, hex);
    pins.certificates = list;
    pins.n_certificates = 1;
    f->client_message.certificate = (char *)"visitor";
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    f->server_message.client_trust = (char *)"ca";
    f->server_message.pins = &pins;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(resumes(f, 1, "site.example"));
    assert_true(resumes(f, 1, "site.example"));
    hex[0] = hex[0] == '0' ? '1' : '0';
    tls_server_unref(f->server);
    f->server = tls_server_build(&f->server_message, TLS_HTTP1, &f->lookup, &f->server_place);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_false(l->is_done[SERVER]);
    assert_string_equal(tls_failure(l->session[SERVER]), "bad-certificate");
}

static bool once_more_resumed(struct fixture *f) {
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    return l->is_done[SERVER] && tls_is_resumed(l->session[SERVER]);
}

/* A session is resumed with a certificate, of this name, that is valid for some seconds; and then they are over. */
static void resume_until_expired(struct fixture *f, const char *name, struct certificate *c) {
    struct certificate_wish wish = {
        .name = name, .alternatives = "DNS:site.example", .issuer = &f->ca, .from = -60, .until = 2};
    for (bool was_resumed = false; !was_resumed; wish.until *= 2) { /* longer, where it was too short for this machine */
        certificate_finish(c);
        *c = certificate_make(&wish);
        for (size_t i = 0; i < f->secrets.count; i++)
            if (strcmp(f->secrets.items[i].name, name) == 0)
                f->secrets.items[i].name[0] = '-';
        secret_add_pair(&f->secrets, name, c, NULL);
        fixture_build(f, TLS_HTTP1, TLS_HTTP1);
        once_more_resumed(f);
        was_resumed = once_more_resumed(f);
    }
    while (X509_cmp_current_time(X509_get0_notAfter(c->x)) > 0)
        ;
}

/* Resumption does not outlive the client's certificate, though each ticket is followed by a newer one. */
static void test_expired_client(void **state) {
    struct fixture *f = *state;
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    f->server_message.client_trust = (char *)"ca";
    f->client_message.certificate = (char *)"passing";
    resume_until_expired(f, "passing", &f->visitor);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_false(l->is_done[SERVER]);
    assert_string_equal(tls_failure(l->session[SERVER]), "certificate-expired");
}

/* Nor the origin's. */
static void test_expired_origin(void **state) {
    struct fixture *f = *state;
    resume_until_expired(f, "site", &f->site);
    struct link *l = fixture_connect(f, 1, "site.example");
    link_run(l);
    assert_false(l->is_done[CLIENT]);
    assert_string_equal(tls_failure(l->session[CLIENT]), "certificate-expired");
}

static void wait_until_us(uint64_t when) {
    while (clock_realtime_us() < when)
        ;
}

/* Each resumption gives a new ticket, but no ticket outlives the total lifetime, which begins with the full handshake. */
static void test_chain_of_tickets_ends(void **state) {
    struct fixture *f = *state;
    f->server_message.has_session_total_lifetime = 1;
    for (int is_1_3 = 0; is_1_3 < 2; is_1_3++) {
        uint64_t total = 1000000, first = 0;
        set_versions(f, is_1_3);
        for (bool was_resumed = false; !was_resumed; total *= 2) { /* longer, where it was too short for this machine */
            f->server_message.session_total_lifetime = total;
            fixture_build(f, TLS_HTTP1, TLS_HTTP1);
            assert_false(resumes(f, 1, "site.example"));
            first = clock_realtime_us();
            wait_until_us(first + total / 2);
            was_resumed = resumes(f, 2, "site.example");
            wait_until_us(first + total * 3 / 4);
            was_resumed = was_resumed && resumes(f, 1, "site.example");
        }
        wait_until_us(first + total);
        assert_false(resumes(f, 2, "site.example"));
        assert_true(resumes(f, 2, "site.example")); /* a chain of its own */
    }
}

/* What the client is told of a ticket is what will be kept. */
static void test_ticket_promises_what_is_left(void **state) {
    struct fixture *f = *state;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    f->server_message.has_session_total_lifetime = 1;
    f->server_message.session_total_lifetime = 3600000000;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    struct link *l = fixture_raw(f, context);
    link_run(l);
    assert_true(l->is_done[CLIENT]);
    unsigned long told = SSL_SESSION_get_ticket_lifetime_hint(SSL_get_session(l->raw));
    assert_in_range(told, 3500, 3600);
    SSL_CTX_free(context);
}

/* Towards origins: what was verified under one definition is not offered under another. */
static void test_other_trust(void **state) {
    struct fixture *f = *state;
    f->client_message.has_insecure = 1;
    f->client_message.insecure = 1;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(resumes(f, 1, "site.example"));
    assert_true(resumes(f, 1, "site.example"));
    f->client_message.insecure = 0;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    assert_false(resumes(f, 1, "site.example"));
}

static void test_bounded_cache(void **state) {
    struct fixture *f = *state;
    char name[32];
    f->client_message.has_insecure = 1;
    f->client_message.insecure = 1;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    for (int i = 0; i < 520; i++) {
        snprintf(name, sizeof name, "h%d.example", i);
        assert_false(resumes(f, 1, name));
    }
    assert_true(resumes(f, 1, "h519.example"));
    assert_true(resumes(f, 1, "h100.example"));
    assert_false(resumes(f, 1, "h0.example")); /* the oldest went */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TLS_TEST(test_across_workers),      TLS_TEST(test_rotated_keys), TLS_TEST(test_own_keys),
        TLS_TEST(test_without_keys),
        TLS_TEST(test_switched_off),        TLS_TEST(test_other_client_policy), TLS_TEST(test_other_names_of_clients),
        TLS_TEST(test_other_pins_of_clients), TLS_TEST(test_other_trust),
        TLS_TEST(test_bounded_cache),       TLS_TEST(test_expired_client), TLS_TEST(test_expired_origin),
        TLS_TEST(test_chain_of_tickets_ends), TLS_TEST(test_ticket_promises_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
