/* What can be read of QUIC packets without keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/str.h"
#include "dataplane/l4/packet.h"
#include "tests/unit/dataplane/l4/vectors.h"

/* From memory of exactly that size, so that a byte too far is seen. The packet points into *ret_bytes. */
static int read_hex(const char *hex, uint8_t **ret_bytes, struct pass_packet *ret) {
    size_t n = strlen(hex) / 2;
    *ret_bytes = malloc(n ? n : 1);
    assert_non_null(*ret_bytes);
    assert_int_equal(hex_decode(str_of(hex), *ret_bytes, n), 0);
    return pass_packet_read(*ret_bytes, n, ret);
}

static void assert_packet(const char *hex, enum pass_packet_kind kind, const char *dcid, const char *scid, size_t n) {
    uint8_t *bytes;
    struct pass_packet p;
    char text[2 * 255 + 1];
    assert_int_equal(read_hex(hex, &bytes, &p), 0);
    assert_int_equal(p.kind, kind);
    assert_int_equal(p.n, n);
    hex_encode(p.dcid, p.dcid_n, text);
    assert_string_equal(text, dcid);
    if (scid) {
        hex_encode(p.scid, p.scid_n, text);
        assert_string_equal(text, scid);
    }
    free(bytes);
}

static void refuse(const char *hex) {
    uint8_t *bytes;
    struct pass_packet p;
    assert_int_equal(read_hex(hex, &bytes, &p), -1);
    free(bytes);
}

static void test_initials_of_the_rfcs(void **state) {
    (void)state;
    uint8_t *bytes;
    struct pass_packet p;
    assert_packet(initial_v1, PASS_INITIAL, "8394c8f03e515708", "", 1200);
    assert_packet(initial_v2, PASS_INITIAL, "8394c8f03e515708", "", 1200);
    assert_int_equal(read_hex(initial_v1, &bytes, &p), 0);
    assert_int_equal(p.version, PASS_VERSION_1);
    assert_int_equal(p.number_at, 18);
    assert_int_equal(p.token_n, 0);
    free(bytes);
}

static void test_types(void **state) {
    (void)state;
    assert_packet("d00000000101aa01bb01ff", PASS_ZERO_RTT, "aa", "bb", 11);
    assert_packet("e00000000101aa01bb01ff", PASS_HANDSHAKE, "aa", "bb", 11);
    assert_packet("f00000000101aa01bbffff", PASS_RETRY, "aa", "bb", 11);
    assert_packet("e06b3343cf01aa01bb01ff", PASS_ZERO_RTT, "aa", "bb", 11);
    assert_packet("f06b3343cf01aa01bb01ff", PASS_HANDSHAKE, "aa", "bb", 11);
    assert_packet("c06b3343cf01aa01bbffff", PASS_RETRY, "aa", "bb", 11);
    assert_packet("800000000001aa01bb00000001", PASS_NEGOTIATION, "aa", "bb", 13);
    assert_packet("c01a2a3a4a01aa01bbffff", PASS_UNKNOWN, "aa", "bb", 11);
    assert_packet("40aabbcc", PASS_SHORT, "aabbcc", NULL, 4);
    /* The fixed bit may be greased (RFC 9287). */
    assert_packet("00aabbcc", PASS_SHORT, "aabbcc", NULL, 4);
}

/* A handshake packet behind an Initial with a token. */
static void test_tokens_and_lengths(void **state) {
    (void)state;
    uint8_t *bytes;
    struct pass_packet p;
    assert_int_equal(read_hex("c00000000101aa01bb03112233" "02abcd" "e00000000101aa01bb03000000", &bytes, &p), 0);
    assert_int_equal(p.token_n, 3);
    assert_int_equal(p.number_at, 14);
    assert_int_equal(p.n, 16);
    struct pass_packet next;
    assert_int_equal(pass_packet_read(bytes + p.n, 13, &next), 0);
    assert_int_equal(next.kind, PASS_HANDSHAKE);
    assert_int_equal(next.n, 13);
    free(bytes);
}

static void test_too_short_everywhere(void **state) {
    (void)state;
    static const char whole[] = "c00000000104aabbccdd02eeff014002abcd";
    char part[sizeof whole];
    for (size_t n = 2; n < sizeof whole - 1; n += 2) {
        memcpy(part, whole, n);
        part[n] = '\0';
        refuse(part);
    }
    refuse("");
    refuse("40");
    refuse("c000000001ff");
}

/* Versions 1 and 2 have IDs of at most 20 octets; others up to 255. */
static void test_long_ids(void **state) {
    (void)state;
    refuse("e00000000115" "000000000000000000000000000000000000000000" "00" "01ff");
    refuse("e0000000010015" "000000000000000000000000000000000000000000" "01ff");
    assert_packet("e00000000a15" "0102030405060708090a0b0c0d0e0f101112131415" "00", PASS_UNKNOWN,
                  "0102030405060708090a0b0c0d0e0f101112131415", "", 28);
}

/* A length of 2^62 - 1 does not run around. */
static void test_huge_numbers(void **state) {
    (void)state;
    refuse("c00000000101aa01bb" "ffffffffffffffff" "01ff");
    refuse("c00000000101aa01bb00" "ffffffffffffffff");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_initials_of_the_rfcs), cmocka_unit_test(test_types),
        cmocka_unit_test(test_tokens_and_lengths),   cmocka_unit_test(test_too_short_everywhere),
        cmocka_unit_test(test_long_ids),             cmocka_unit_test(test_huge_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
