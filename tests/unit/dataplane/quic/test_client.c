/* QUIC towards origins: what they have to prove, what is remembered of them, how handshakes fail. */
#include "tests/unit/dataplane/quic/talk.h"

#include "dataplane/tls/failure.h"

static void words_come_back(void **state) {
    struct talk *talk = *state;
    struct talker *client = talk_connect(talk, "site.example");
    assert_non_null(client);
    TURN_UNTIL(client->is_open);
    talk_say(client, "hello");
    TURN_UNTIL(talk_has_echo(client));
    struct talker *server = talk_server(talk);
    assert_true(client->is_done && server->is_done);
    assert_true(str_eq(quic_protocol(client->user.conn), STR("h3")));
    assert_true(str_eq(tls_server_name(quic_tls(server->user.conn)), STR("site.example")));
    assert_int_equal(stats_read(&worker.stats->tls[STATS_TLS_ORIGINS].full), 1);
    talk_close(client);
    TURN_UNTIL(server->is_gone);
    assert_int_equal(server->cause, QUIC_BY_PEER);
    assert_int_equal(server->code, 0x100);
    assert_int_equal(client->cause, QUIC_BY_US);
}

static void datagrams_count_as_bytes_of_origins(void **state) {
    struct talk *talk = *state;
    const struct stats *s = worker.stats;
    struct talker *client = talk_connect(talk, "site.example");
    TURN_UNTIL(client->is_open);
    talk_say(client, "hello");
    TURN_UNTIL(talk_has_echo(client));
    assert_in_range(stats_read(&s->origin_sent_bytes_total), 2400, UINT64_MAX); /* two datagrams of 1200 bytes at least */
    TURN_UNTIL(stats_read(&s->origin_sent_bytes_total) == stats_read(&s->client_received_bytes_total));
    TURN_UNTIL(stats_read(&s->origin_received_bytes_total) == stats_read(&s->client_sent_bytes_total));
    talk_close(client);
}

/* HTTP/3 needs three at least; of streams both ways origins open none. */
static void origin_opens_streams_of_its_own(void **state) {
    struct talk *talk = *state;
    struct talker *client = talk_connect(talk, "site.example");
    TURN_UNTIL(talk_server(talk) && talk_server(talk)->is_done && client->is_done);
    struct talker *server = talk_server(talk);
    int64_t id;
    assert_int_equal(quic_open_stream(server->user.conn, true, &id), -1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(quic_open_stream(server->user.conn, false, &server->id), 0);
    memcpy(server->says, "settings", server->says_n = 8);
    quic_mark_dirty(server->user.conn);
    TURN_UNTIL(client->got_n == 8);
    assert_int_equal(client->id, server->id);
    talk_close(client);
}

/* ---- what an origin has to prove */

static void expect_refused(struct talk *talk, const char *hostname, const char *word) {
    struct talker *client = talk_connect(talk, hostname);
    assert_non_null(client);
    TURN_UNTIL(client->is_gone);
    assert_false(client->is_open);
    assert_string_equal(client->tls_failure, word);
    assert_int_equal(client->cause, QUIC_BY_US);
    assert_true(client->code >= QUIC_CRYPTO_ERROR && client->code < QUIC_CRYPTO_ERROR + 256);
}

static void origin_of_another_name_is_refused(void **state) {
    expect_refused(*state, "other.example", "name-mismatch");
    assert_int_equal(stats_read(&worker.stats->tls[STATS_TLS_ORIGINS].failures[TLS_FAILURE_NAME_MISMATCH]), 1);
}

static void address_is_a_name_too(void **state) {
    struct talker *client = talk_connect(*state, "127.0.0.1");
    TURN_UNTIL(client->is_open);
    talk_close(client);
}

static void origin_without_a_name_is_refused(void **state) {
    assert_null(talk_connect(*state, ""));
    assert_int_equal(errno, EPROTO);
}

static void there_is_no_quic_to_unix_domain_addresses(void **state) {
    struct talk *talk = *state;
    struct address kept = talk->address;
    assert_int_equal(address_parse(STR("unix:/run/nobody.sock"), &talk->address), 0);
    assert_null(talk_connect(talk, "site.example"));
    assert_int_equal(errno, EAFNOSUPPORT);
    talk->address = kept;
}

static void origin_of_another_authority_is_refused(void **state) {
    struct talk *talk = *state;
    struct certificate other = certificate_make(&(struct certificate_wish){.name = "Other CA", .is_ca = true});
    secret_add_trust(&talk->tls->secrets, "other", &other);
    talk->tls->client_message.trust = (char *)"other";
    fixture_build(talk->tls, TLS_HTTP3, TLS_HTTP3);
    quic_endpoint_renew(talk->endpoint, &talk->options, talk->tls->server);
    expect_refused(talk, "site.example", "unknown-ca");
    certificate_finish(&other);
}

static void insecure_means_that_nothing_is_asked(void **state) {
    struct talk *talk = *state;
    talk->tls->client_message.has_insecure = talk->tls->client_message.insecure = 1;
    fixture_build(talk->tls, TLS_HTTP3, TLS_HTTP3);
    quic_endpoint_renew(talk->endpoint, &talk->options, talk->tls->server);
    struct talker *client = talk_connect(talk, "other.example");
    TURN_UNTIL(client->is_open);
    talk_close(client);
}

/* Over TCP it would do; QUIC has no version before it (RFC 9001 section 4.2). */
static void tls_1_2_alone_is_no_definition(void **state) {
    struct talk *talk = *state;
    Headgate__ClientTls m = talk->tls->client_message;
    m.has_max_version = 1;
    m.max_version = HEADGATE__TLS_VERSION__TLS_1_2;
    assert_null(tls_client_build(&m, TLS_HTTP3, &talk->tls->lookup, &talk->tls->client_place));
    assert_true(fixture_has_fault(talk->tls, "cluster/app", "tls.max_version", "TLS 1.3"));
    struct tls_client *over_tcp = tls_client_build(&m, TLS_HTTP2, &talk->tls->lookup, &talk->tls->client_place);
    assert_non_null(over_tcp);
    tls_client_unref(over_tcp);
}

static void client_shows_its_certificate(void **state) {
    struct talk *talk = *state;
    Headgate__ServerTls *server = &talk->tls->server_message;
    server->has_client_certificates = 1;
    server->client_certificates = HEADGATE__SERVER_TLS__CLIENT_CERTIFICATES__REQUIRED;
    server->client_trust = (char *)"ca";
    talk->tls->client_message.certificate = (char *)"visitor";
    fixture_build(talk->tls, TLS_HTTP3, TLS_HTTP3);
    quic_endpoint_renew(talk->endpoint, &talk->options, talk->tls->server);
    struct talker *client = talk_connect(talk, "site.example");
    TURN_UNTIL(talk_server(talk) && talk_server(talk)->is_done);
    struct str shown = tls_peer_text(quic_tls(talk_server(talk)->user.conn));
    assert_true(str_ends(shown, STR("DNS=visitor.example")));
    talk_close(client);
}

/* ---- what is remembered */

static struct talker *talk_once(struct talk *talk) {
    struct talker *client = talk_connect(talk, "site.example");
    TURN_UNTIL(client->is_open);
    talk_say(client, "x");
    TURN_UNTIL(talk_has_echo(client)); /* the ticket and the token came before it */
    talk_close(client);
    return client;
}

static void second_connection_resumes(void **state) {
    struct talk *talk = *state;
    assert_false(talk_once(talk)->is_resumed);
    assert_true(talk_once(talk)->is_resumed);
    assert_true(talk_once(talk)->is_resumed);
    assert_int_equal(stats_read(&worker.stats->tls[STATS_TLS_ORIGINS].resumed), 2);
}

/* A server that asks everybody for proof of the address needs none of who has a token. */
static void token_of_the_first_connection_spares_a_retry(void **state) {
    struct talk *talk = *state;
    talk->options.retry = QUIC_RETRY_ALWAYS;
    quic_endpoint_renew(talk->endpoint, &talk->options, talk->tls->server);
    talk_once(talk);
    uint64_t retries = stats_read(&worker.stats->quic_retries_total);
    assert_true(retries > 0);
    talk_once(talk);
    assert_int_equal(stats_read(&worker.stats->quic_retries_total), retries);
}

/* ---- how handshakes fail */

static void port_that_nobody_serves_is_known_at_once(void **state) {
    struct talk *talk = *state;
    quic_endpoint_destroy(talk->endpoint);
    talk->endpoint = NULL;
    worker_end_turn(&worker);
    close(talk->fd);
    talk->fd = -1;
    struct talker *client = talk_connect(talk, "site.example");
    TURN_UNTIL(client->is_gone);
    assert_false(client->is_open);
    assert_int_equal(client->cause, QUIC_LOST);
}

static void silence_ends_with_the_time_for_the_handshake(void **state) {
    struct talk *talk = *state;
    quic_endpoint_destroy(talk->endpoint); /* the socket stays, and swallows */
    talk->endpoint = NULL;
    talk->client_options.handshake_timeout = 20000;
    struct talker *client = talk_connect(talk, "site.example");
    TURN_UNTIL(client->is_gone);
    assert_int_equal(client->cause, QUIC_HANDSHAKE_TIMEOUT);
}

static void server_that_refuses_is_told_from_others(void **state) {
    struct talk *talk = *state;
    quic_endpoint_stop(talk->endpoint);
    struct talker *client = talk_connect(talk, "site.example");
    TURN_UNTIL(client->is_gone);
    assert_int_equal(client->cause, QUIC_BY_PEER);
    assert_int_equal(client->code, QUIC_CONNECTION_REFUSED);
}

static void every_lack_of_memory_is_an_error(void **state) {
    struct talk *talk = *state;
    struct talker *client = NULL;
    int failures = 0;
    for (long i = 0; !client; i++) {
        talk->count = 0;
        hg_alloc_fail_at(i, 0);
        client = talk_connect(talk, "site.example");
        hg_alloc_fail_at(-1, 0);
        if (client)
            break;
        assert_int_equal(errno, ENOMEM);
        worker_end_turn(&worker);
        failures++;
    }
    assert_true(failures > 3);
    TURN_UNTIL(client->is_open);
    talk_close(client);
}

/* A worker without TLS and QUIC so far: what both share is made with the first connection. */
static void lack_of_memory_for_what_is_shared_is_an_error(void **state) {
    struct talk *talk = *state;
    quic_endpoint_destroy(talk->endpoint);
    talk->endpoint = NULL;
    worker_end_turn(&worker);
    for (long i = 0; i < 8; i++) {
        talk->count = 0;
        quic_worker_free(&worker);
        tls_io_free(&worker);
        hg_alloc_fail_at(i, 1);
        assert_null(talk_connect(talk, "site.example"));
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(errno, ENOMEM);
        worker_end_turn(&worker);
    }
    talk->count = 0;
    struct talker *client = talk_connect(talk, "site.example");
    assert_non_null(client);
    talk_close(client);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, talk_set_up, talk_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(words_come_back),
        TEST(datagrams_count_as_bytes_of_origins),
        TEST(origin_opens_streams_of_its_own),
        TEST(origin_of_another_name_is_refused),
        TEST(address_is_a_name_too),
        TEST(origin_without_a_name_is_refused),
        TEST(there_is_no_quic_to_unix_domain_addresses),
        TEST(origin_of_another_authority_is_refused),
        TEST(insecure_means_that_nothing_is_asked),
        TEST(tls_1_2_alone_is_no_definition),
        TEST(client_shows_its_certificate),
        TEST(second_connection_resumes),
        TEST(token_of_the_first_connection_spares_a_retry),
        TEST(port_that_nobody_serves_is_known_at_once),
        TEST(silence_ends_with_the_time_for_the_handshake),
        TEST(server_that_refuses_is_told_from_others),
        TEST(every_lack_of_memory_is_an_error),
        TEST(lack_of_memory_for_what_is_shared_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
