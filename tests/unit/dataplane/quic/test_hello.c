/* How long TLS messages say to be, however they come in pieces. */
#include "tests/unit/common/cmocka_all.h"

#include <string.h>

#include "dataplane/quic/hello.h"

/* A message of a body of n octets; returns how many it has. */
static size_t put_message(uint8_t *to, size_t n) {
    const uint8_t header[] = {1, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    memcpy(to, header, sizeof header);
    memset(to + sizeof header, 0xff, n);
    return sizeof header + n;
}

static void messages_pass_in_any_pieces(void **state) {
    (void)state;
    static uint8_t bytes[2 * (QUIC_HELLO_MAX + 4) + 8];
    size_t n = put_message(bytes, QUIC_HELLO_MAX);
    n += put_message(bytes + n, 0);
    n += put_message(bytes + n, QUIC_HELLO_MAX);
    for (size_t piece = 1; piece < 10; piece++) {
        struct quic_hello h = {0};
        for (size_t at = 0; at < n; at += piece)
            assert_true(quic_hello_take(&h, bytes + at, n - at < piece ? n - at : piece));
    }
    struct quic_hello h = {0};
    assert_true(quic_hello_take(&h, bytes, n) && quic_hello_take(&h, bytes, 0));
    assert_int_equal(h.left + h.header_n, 0);
}

static void longer_ones_are_seen_at_their_header(void **state) {
    (void)state;
    static const uint8_t longer[] = {1, 0, 0x3f, 0xfd, 0xff}, longest[] = {1, 0xff, 0xff, 0xff};
    struct quic_hello h = {0};
    for (size_t i = 0; i < 3; i++)
        assert_true(quic_hello_take(&h, longer + i, 1));
    assert_false(quic_hello_take(&h, longer + 3, 1));
    assert_false(quic_hello_take(&h, longer, sizeof longer)); /* and there it ends */
    h = (struct quic_hello){0};
    assert_false(quic_hello_take(&h, longer, sizeof longer));
    h = (struct quic_hello){0};
    assert_false(quic_hello_take(&h, longest, sizeof longest));
}

/* As after a HelloRetryRequest. */
static void the_second_one_is_measured_too(void **state) {
    (void)state;
    uint8_t bytes[300];
    size_t n = put_message(bytes, 200);
    memcpy(bytes + n, "\1\1\0\0", 4);
    struct quic_hello h = {0};
    assert_true(quic_hello_take(&h, bytes, n + 3));
    assert_false(quic_hello_take(&h, bytes + n + 3, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_pass_in_any_pieces),
        cmocka_unit_test(longer_ones_are_seen_at_their_header),
        cmocka_unit_test(the_second_one_is_measured_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
