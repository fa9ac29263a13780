/* Tokens: for one address, for a time, and with keys that change. */
#include "tests/unit/common/cmocka_all.h"

#include <arpa/inet.h>
#include <string.h>

#include "dataplane/quic/tokens.h"

static const uint8_t secret[QUIC_KEY_SIZE + 1] = "0123456789abcdef0123456789abcdef";
static const uint8_t nonce[QUIC_TOKEN_NONCE] = "a nonce.....";
enum { VERSION = 1 };
#define NOW (1700000000ULL * 1000000)

static struct address address_of(const char *host, uint16_t port) {
    struct address a = {.length = sizeof a.u.v4};
    a.u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET, host, &a.u.v4.sin_addr), 1);
    return a;
}

static ngtcp2_cid id_of(const char *text) {
    ngtcp2_cid id;
    ngtcp2_cid_init(&id, (const uint8_t *)text, strlen(text));
    return id;
}

static void retry_tokens(void **state) {
    (void)state;
    struct quic_tokens made, other;
    uint8_t token[QUIC_TOKEN_MAX];
    struct address client = address_of("192.0.2.1", 1000), elsewhere = address_of("192.0.2.2", 1000);
    ngtcp2_cid retry = id_of("the second"), first = id_of("the first one"), odd = id_of("another"), original = {0};
    assert_int_equal(quic_tokens_init(&made, tls_main_library(), secret), 0);
    assert_int_equal(quic_tokens_init(&other, tls_main_library(), secret), 0);
    size_t n = quic_token_retry(&made, VERSION, &client, &retry, &first, NOW, nonce, token);
    assert_true(n > 0);
    /* Another worker, or another process, has the same keys. */
    assert_int_equal(quic_token_check(&other, token, n, VERSION, &client, &retry, NOW + 1000000, &original),
                     QUIC_TOKEN_RETRY);
    assert_true(ngtcp2_cid_eq(&original, &first));
    assert_int_equal(quic_token_check(&other, token, n, VERSION, &elsewhere, &retry, NOW, &original), QUIC_TOKEN_BAD);
    assert_int_equal(quic_token_check(&other, token, n, VERSION, &client, &odd, NOW, &original), QUIC_TOKEN_NONE);
    assert_int_equal(quic_token_check(&other, token, n, VERSION, &client, &retry, NOW + QUIC_RETRY_LIFETIME + 1, &original),
                     QUIC_TOKEN_BAD);
    for (size_t i = 1; i < n; i++) {
        token[i] ^= 1;
        assert_int_not_equal(quic_token_check(&other, token, n, VERSION, &client, &retry, NOW, &original), QUIC_TOKEN_RETRY);
        token[i] ^= 1;
    }
    for (size_t i = 0; i < n; i++)
        assert_int_not_equal(quic_token_check(&other, token, i, VERSION, &client, &retry, NOW, &original), QUIC_TOKEN_RETRY);
    quic_tokens_finish(&made);
    quic_tokens_finish(&other);
}

static void keys_change(void **state) {
    (void)state;
    struct quic_tokens t;
    uint8_t token[QUIC_TOKEN_MAX];
    struct address client = address_of("192.0.2.1", 1000), new_port = address_of("192.0.2.1", 2000);
    struct address elsewhere = address_of("192.0.2.2", 1000);
    ngtcp2_cid any = id_of("any"), original;
    uint64_t late = (NOW / QUIC_TOKEN_PERIOD + 1) * QUIC_TOKEN_PERIOD - 1000000; /* a second before the change */
    assert_int_equal(quic_tokens_init(&t, tls_main_library(), secret), 0);
    size_t n = quic_token_regular(&t, &client, late, nonce, token);
    assert_true(n > 0);
    assert_int_equal(quic_token_check(&t, token, n, VERSION, &new_port, &any, late, &original), QUIC_TOKEN_REGULAR);
    assert_int_equal(quic_token_check(&t, token, n, VERSION, &elsewhere, &any, late, &original), QUIC_TOKEN_NONE);
    assert_int_equal(quic_token_check(&t, token, n, VERSION, &client, &any, late + 2000000, &original), QUIC_TOKEN_REGULAR);
    assert_int_equal(quic_token_check(&t, token, n, VERSION, &client, &any, late + QUIC_TOKEN_LIFETIME + 1000000, &original),
                     QUIC_TOKEN_NONE);
    assert_int_equal(quic_token_check(&t, token, n, VERSION, &client, &any, late + 2 * QUIC_TOKEN_PERIOD, &original),
                     QUIC_TOKEN_NONE);
    quic_tokens_finish(&t);
}

static void reset_tokens(void **state) {
    (void)state;
    struct quic_tokens t, same, other;
    ngtcp2_stateless_reset_token a, b;
    ngtcp2_cid one = id_of("one"), two = id_of("two");
    uint8_t odd[QUIC_KEY_SIZE];
    memcpy(odd, secret, sizeof odd);
    odd[0] ^= 1;
    const struct tls_library *l = tls_main_library();
    assert_int_equal(quic_tokens_init(&t, l, secret) | quic_tokens_init(&same, l, secret), 0);
    assert_int_equal(quic_tokens_init(&other, l, odd), 0);
    assert_int_equal(quic_token_reset(&t, &one, &a) | quic_token_reset(&same, &one, &b), 0);
    assert_memory_equal(a.data, b.data, sizeof a.data);
    /* of all lengths, and long ones that differ in their last byte */
    ngtcp2_cid long_one = id_of("an ID of twenty byte"), long_two = id_of("an ID of twenty bytf");
    ngtcp2_stateless_reset_token c;
    assert_int_equal(quic_token_reset(&t, &long_one, &b) | quic_token_reset(&t, &long_two, &c), 0);
    assert_memory_not_equal(b.data, c.data, sizeof b.data);
    assert_int_equal(quic_token_reset(&t, &two, &b), 0);
    assert_memory_not_equal(a.data, b.data, sizeof a.data);
    assert_int_equal(quic_token_reset(&other, &one, &b), 0);
    assert_memory_not_equal(a.data, b.data, sizeof a.data);
    quic_tokens_finish(&t);
    quic_tokens_finish(&same);
    quic_tokens_finish(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retry_tokens),
        cmocka_unit_test(keys_change),
        cmocka_unit_test(reset_tokens),
    };
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    tls_libraries_free();
    return status;
}
