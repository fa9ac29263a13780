/* What listeners say of HTTP/3, as definitions have it; what cannot be is refused, whoever wrote it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/snapshot/build.h"
#include "dataplane/snapshot/listener_transports.h"
#include "dataplane/snapshot/quic_options.h"
#include "tests/unit/dataplane/snapshot/make_resource.h"

static Headgate__QuicServerId server_id(const char *id, const char *key, uint32_t nonce_length) {
    Headgate__QuicServerId s = HEADGATE__QUIC_SERVER_ID__INIT;
    s.id = (char *)id;
    s.key = (char *)key;
    s.nonce_length = nonce_length;
    s.has_nonce_length = 1;
    return s;
}

static int try_server_id(Headgate__QuicServerId s, struct quic_options *ret) {
    Headgate__QuicOptions q = HEADGATE__QUIC_OPTIONS__INIT;
    q.server_id = &s;
    return quic_options_init(ret, &q, NULL, 0);
}

static void defaults_are_those_of_the_messages(void **state) {
    (void)state;
    struct quic_options o;
    assert_int_equal(quic_options_init(&o, NULL, NULL, 123), 0);
    assert_int_equal(o.retry, QUIC_RETRY_UNDER_LOAD);
    assert_int_equal(o.congestion, QUIC_CUBIC);
    assert_int_equal(o.handshake_timeout, 123);
    assert_int_equal(o.max_concurrent_streams, 128);
    assert_int_equal(o.max_udp_payload, 0); /* the path says it */
    assert_false(o.early_data);
    assert_true(o.active_migration);
    assert_int_equal(o.server_id.id_n, 0);
}

static void words_and_numbers_are_taken(void **state) {
    (void)state;
    struct quic_options o;
    Headgate__QuicOptions q = HEADGATE__QUIC_OPTIONS__INIT;
    Headgate__Http3Options h = HEADGATE__HTTP3_OPTIONS__INIT;
    q.retry = HEADGATE__QUIC_OPTIONS__RETRY__ALWAYS;
    q.congestion_control = HEADGATE__QUIC_OPTIONS__CONGESTION_CONTROL__BBR;
    q.early_data = true;
    q.has_max_udp_payload = 1;
    q.max_udp_payload = 1300;
    h.initial_stream_window = 5000;
    assert_int_equal(quic_options_init(&o, &q, &h, 0), 0);
    assert_int_equal(o.retry, QUIC_RETRY_ALWAYS);
    assert_int_equal(o.congestion, QUIC_BBR);
    assert_true(o.early_data);
    assert_int_equal(o.max_udp_payload, 1300);
    assert_int_equal(o.initial_stream_window, 5000);
    q.retry = HEADGATE__QUIC_OPTIONS__RETRY__NEVER;
    assert_int_equal(quic_options_init(&o, &q, &h, 0), 0);
    assert_int_equal(o.retry, QUIC_RETRY_NEVER);
}

static void server_ids_have_their_bounds(void **state) {
    (void)state;
    struct quic_options o;
    assert_int_equal(try_server_id(server_id("0a0B", "000102030405060708090a0b0c0d0e0f", 6), &o), 0);
    assert_int_equal(o.server_id.id_n, 2);
    assert_int_equal(o.server_id.nonce_n, 6);
    assert_memory_equal(o.server_id.id, "\x0a\x0b", 2);
    assert_true(o.server_id.has_key && o.server_id.key[15] == 15);
    assert_int_equal(try_server_id(server_id("0a", NULL, 15), &o), 0);
    assert_false(o.server_id.has_key);
    const Headgate__QuicServerId bad[] = {
        server_id(NULL, NULL, 8), server_id("", NULL, 8), server_id("0", NULL, 8), server_id("0x", NULL, 8),
        server_id("010203040506070809", NULL, 4), server_id("0a", NULL, 6), server_id("0a", NULL, 16),
        server_id("0a0b", "00", 8), server_id("0a0b", "000102030405060708090a0b0c0d0e0g", 8),
        server_id("0a", NULL, UINT32_MAX),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(try_server_id(bad[i], &o), -1);
    Headgate__QuicServerId seven = server_id("0a", NULL, 8);
    seven.config = 7;
    assert_int_equal(try_server_id(seven, &o), -1);
}

static void transports_follow_from_protocols(void **state) {
    (void)state;
    Headgate__Listener m = HEADGATE__LISTENER__INIT;
    Headgate__Listener__Protocol all[] = {HEADGATE__LISTENER__PROTOCOL__HTTP1, HEADGATE__LISTENER__PROTOCOL__HTTP2,
                                          HEADGATE__LISTENER__PROTOCOL__HTTP3};
    Headgate__QuicOptions quic = HEADGATE__QUIC_OPTIONS__INIT;
    Headgate__QuicServerId id = server_id("0a0b", NULL, 6);
    assert_int_equal(listener_transports(&m), LISTENS_ON_TCP);
    m.protocols = all;
    m.n_protocols = 2;
    assert_int_equal(listener_transports(&m), LISTENS_ON_TCP);
    m.n_protocols = 3;
    assert_int_equal(listener_transports(&m), LISTENS_ON_TCP | LISTENS_ON_UDP);
    m.protocols = all + 2;
    m.n_protocols = 1;
    assert_int_equal(listener_transports(&m), LISTENS_ON_UDP);
    assert_int_equal(udp_wish(&m).id_length, 12);
    m.quic = &quic;
    quic.server_id = &id;
    quic.receive_buffer = UINT64_MAX;
    assert_int_equal(udp_wish(&m).id_length, 1 + 2 + 6 + 3);
    assert_int_equal(udp_wish(&m).receive_buffer, HOLDER_UDP_BUFFER_MAX);
}

/* The fault of a snapshot with this listener alone, besides its route table, which is missing. */
static void assert_refused(const Headgate__Listener *m, const char *path, const char *message) {
    struct resource_set *set = hg_calloc(1, sizeof *set);
    struct error_list errors = {0};
    struct snapshot *s;
    bool is_said = false;
    add_resource(&set->intent, make_resource(HEADGATE__KIND__KIND_LISTENER, "web", &m->base));
    assert_int_equal(snapshot_build(set, NULL, &s, &errors), -1);
    for (size_t i = 0; i < errors.count; i++)
        is_said |= strcmp(errors.items[i].path, path) == 0 && strstr(errors.items[i].message, message);
    if (!is_said)
        fail_msg("%s is not said of %s", message, path);
    error_list_finish(&errors);
    resource_part_finish(&set->intent);
    hg_free(set);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    Headgate__Listener m = HEADGATE__LISTENER__INIT;
    Headgate__ServerTls tls = HEADGATE__SERVER_TLS__INIT;
    Headgate__QuicOptions quic = HEADGATE__QUIC_OPTIONS__INIT;
    Headgate__QuicServerId id = server_id("0a", NULL, 4);
    Headgate__AltSvc alt_svc = HEADGATE__ALT_SVC__INIT;
    Headgate__Listener__Protocol http3 = HEADGATE__LISTENER__PROTOCOL__HTTP3;
    char *addresses[] = {(char *)"127.0.0.1:1", (char *)"unix:@x"};
    m.addresses = addresses;
    m.n_addresses = 1;
    m.protocols = &http3;
    m.n_protocols = 1;
    assert_refused(&m, "protocols", "no HTTP/3 without TLS 1.3");
    m.tls = &tls;
    tls.has_max_version = 1;
    tls.max_version = HEADGATE__TLS_VERSION__TLS_1_2;
    assert_refused(&m, "protocols", "no HTTP/3 without TLS 1.3");
    tls.max_version = HEADGATE__TLS_VERSION__TLS_1_3;
    m.n_addresses = 2;
    assert_refused(&m, "addresses", "Unix-domain");
    m.n_addresses = 1;
    m.quic = &quic;
    quic.server_id = &id;
    quic.has_max_udp_payload = quic.has_max_handshakes = 1;
    quic.max_udp_payload = 1199;
    assert_refused(&m, "quic.max_udp_payload", "1200");
    quic.max_udp_payload = 65528;
    assert_refused(&m, "quic.max_udp_payload", "65527");
    quic.max_udp_payload = 1200;
    quic.max_handshakes = 0;
    assert_refused(&m, "quic.max_handshakes", "at least 1");
    quic.max_handshakes = 1;
    assert_refused(&m, "quic.server_id", "cannot be used");
    m.n_protocols = 0;
    m.alt_svc = &alt_svc;
    m.addresses = addresses + 1;
    assert_refused(&m, "alt_svc.port", "no port");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_messages),
        cmocka_unit_test(words_and_numbers_are_taken),
        cmocka_unit_test(server_ids_have_their_bounds),
        cmocka_unit_test(transports_follow_from_protocols),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
