/* What origins are told of a client's certificate: only what the handshake has proved, whatever the client says. */
#include "tests/unit/dataplane/http/bench.h"
#include "tests/unit/dataplane/tls/fixture.h"

static struct bench b;

/* The names that a client may try; the last three are the same to a CGI program. */
static const char *const forged[] = {"x-forwarded-client-cert", "client-cert",        "client-cert-chain",
                                     "x_forwarded_client_cert", "client_cert",        "client_cert_chain",
                                     "x-forwarded_client-cert"};

static void ask(const struct fixture *f) {
    make_request(&b, METHOD_GET, 0);
    make_response(&b, 200, 0);
    b.origin.tls = f ? f->link.session[SERVER] : NULL;
    b.listener.opening.tls = f ? f->server : NULL;
    b.exchange = exchange_open(&b.worker, &b.front.leg, &b.origin);
    assert_non_null(b.exchange);
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        enum field_id id = field_lookup(forged[i], strlen(forged[i]));
        assert_int_equal(fields_add(&b.request.fields, exchange_arena(b.exchange), str_of(forged[i]), STR("forged")), 0);
        b.request.seen |= id ? FIELD_BIT(id) : 0;
    }
    b.front.has_ended = true;
    exchange_on_head(&b.front.leg, &b.request, true);
}

/* All that the origin gets under any of those names. */
static unsigned told(void) {
    const struct fields *fields = &b.back.heads[0]->fields;
    unsigned count = 0;
    assert_int_equal(b.back.head_count, 1);
    for (uint32_t i = 0; i < fields->count; i++)
        for (size_t k = 0; k < sizeof forged / sizeof *forged; k++)
            count += str_eq_nocase(field_name(&fields->v[i]), str_of(forged[k]));
    return count;
}

static void assert_told(enum field_id id, struct str before, struct str value) {
    const struct field *f = fields_find(&b.back.heads[0]->fields, id);
    assert_non_null(f);
    assert_null(fields_next(&b.back.heads[0]->fields, f, id));
    assert_int_equal(f->value_len, value.n + 2 * before.n);
    assert_memory_equal(f->value, before.p, before.n);
    assert_memory_equal(f->value + before.n, value.p, value.n);
    assert_memory_equal(f->value + before.n + value.n, before.p, before.n);
}

static void end(void) {
    if (b.front.leg.exchange)
        exchange_on_abort(&b.front.leg, ABORT_CLIENT_GONE);
    tear_down(&b);
}

/* A handshake with this certificate (NULL: none); the origin is to be told in these ways. */
static void shake_hands(struct fixture *f, const char *certificate, Headgate__ServerTls__Identity *ways, size_t count) {
    f->server_message.has_client_certificates = 1;
    f->server_message.client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__IF_GIVEN;
    f->server_message.client_trust = (char *)"ca";
    f->server_message.identity = ways;
    f->server_message.n_identity = count;
    f->client_message.certificate = (char *)certificate;
    fixture_build(f, TLS_HTTP1, TLS_HTTP1);
    link_run(fixture_connect(f, 1, "site.example"));
    assert_true(f->link.is_done[SERVER]);
    assert_int_equal(tls_peer_text(f->link.session[SERVER]).n > 0, certificate != NULL);
}

static void what_a_client_says_is_removed(void **state) {
    (void)state;
    set_up(&b);
    ask(NULL);
    assert_int_equal(told(), 0);
    end();
}

static void client_without_certificate_is_nobody(void **state) {
    struct fixture *f = *state;
    shake_hands(f, NULL, NULL, 0);
    set_up(&b);
    ask(f);
    assert_int_equal(told(), 0);
    end();
}

static void proved_identity_is_told(void **state) {
    struct fixture *f = *state;
    shake_hands(f, "visitor", NULL, 0);
    set_up(&b);
    ask(f);
    assert_int_equal(told(), 1);
    assert_told(FIELD_X_FORWARDED_CLIENT_CERT, STR(""), tls_peer_text(f->link.session[SERVER]));
    end();
}

static void identity_is_told_as_asked(void **state) {
    struct fixture *f = *state;
    Headgate__ServerTls__Identity ways[] = {HEADGATE__SERVER_TLS__IDENTITY__CLIENT_CERT,
                                            HEADGATE__SERVER_TLS__IDENTITY__XFCC};
    for (size_t count = 1; count <= 2; count++) {
        shake_hands(f, "visitor", ways, count);
        set_up(&b);
        ask(f);
        assert_int_equal(told(), count);
        assert_told(FIELD_CLIENT_CERT, STR(":"), tls_peer_base64(f->link.session[SERVER]));
        if (count == 2)
            assert_told(FIELD_X_FORWARDED_CLIENT_CERT, STR(""), tls_peer_text(f->link.session[SERVER]));
        end();
    }
    f->server_message.identity = NULL;
    f->server_message.n_identity = 0;
}

/* A listener that has lost its TLS by a push, or asks for certificates no more, tells nothing on connections of before. */
static void definition_in_force_decides(void **state) {
    struct fixture *f = *state;
    shake_hands(f, "visitor", NULL, 0);
    set_up(&b);
    struct tls_server *before = f->server;
    f->server = NULL;
    ask(f);
    f->server = before;
    assert_int_equal(told(), 0);
    end();
}

static enum verdict see_certificate(struct layer *l, struct head *head) {
    const struct field *f = fields_find(&head->fields, FIELD_X_FORWARDED_CLIENT_CERT);
    (void)l;
    assert_true(f && f->value_len > 5 && memcmp(f->value, "Hash=", 5) == 0);
    assert_null(fields_find(&head->fields, FIELD_CLIENT_CERT));
    return GO_ON;
}

static void filters_see_the_gateways_word(void **state) {
    static const struct filter_ops seeing = {.name = "seeing", .on_request = see_certificate};
    struct fixture *f = *state;
    shake_hands(f, "visitor", NULL, 0);
    set_up(&b);
    add_filter(&b, &seeing);
    ask(f);
    assert_int_equal(told(), 1);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TLS_TEST(what_a_client_says_is_removed),
        TLS_TEST(client_without_certificate_is_nobody),
        TLS_TEST(proved_identity_is_told),
        TLS_TEST(identity_is_told_as_asked),
        TLS_TEST(definition_in_force_decides),
        TLS_TEST(filters_see_the_gateways_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
