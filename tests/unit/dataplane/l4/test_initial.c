/* Keys of Initial packets, and opening them: RFC 9001 appendix A, RFC 9369 appendix A. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/alloc.h"
#include "common/str.h"
#include "dataplane/l4/initial.h"
#include "tests/unit/dataplane/l4/vectors.h"

static const uint8_t dcid[8] = {0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08};

static void assert_hex(const uint8_t *bytes, size_t n, const char *expected) {
    char text[65];
    assert_true(n <= 32);
    hex_encode(bytes, n, text);
    assert_string_equal(text, expected);
}

static void assert_keys(uint32_t version, enum pass_sender sender, const char *key, const char *iv, const char *hp) {
    struct pass_crypto *c = pass_crypto_create(NULL);
    struct pass_initial_keys keys;
    assert_non_null(c);
    for (int i = 0; i < 2; i++) { /* the second time nothing is left of the first */
        assert_int_equal(pass_initial_keys_make(c, version, sender, dcid, sizeof dcid, &keys), 0);
        assert_hex(keys.key, 16, key);
        assert_hex(keys.iv, 12, iv);
        assert_hex(keys.hp, 16, hp);
    }
    pass_crypto_destroy(c);
}

static void test_keys(void **state) {
    (void)state;
    assert_keys(PASS_VERSION_1, PASS_CLIENT, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c",
                "9f50449e04a0e810283a1e9933adedd2");
    assert_keys(PASS_VERSION_1, PASS_SERVER, "cf3a5331653c364c88f0f379b6067e37", "0ac1493ca1905853b0bba03e",
                "c206b8d9b9f0f37644430b490eeaa314");
    assert_keys(PASS_VERSION_2, PASS_CLIENT, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f",
                "45b95e15235d6f45a6b19cbcb0294ba9");
    assert_keys(PASS_VERSION_2, PASS_SERVER, "82db637861d55e1d011f19ea71d5d2a7", "dd13c276499c0249d3310652",
                "edf6d05c83121201b436e16877593c3a");
}

static void test_other_versions_have_none(void **state) {
    (void)state;
    struct pass_crypto *c = pass_crypto_create(NULL);
    struct pass_initial_keys keys;
    assert_int_equal(pass_initial_keys_make(c, 0xff00001d, PASS_CLIENT, dcid, sizeof dcid, &keys), -1);
    pass_crypto_destroy(c);
}

struct packet {
    uint8_t           *bytes;
    struct pass_packet read;
};

static struct packet packet_of(const char *hex) {
    struct packet p = {.bytes = malloc(strlen(hex) / 2)};
    assert_int_equal(hex_decode(str_of(hex), p.bytes, strlen(hex) / 2), 0);
    assert_int_equal(pass_packet_read(p.bytes, strlen(hex) / 2, &p.read), 0);
    return p;
}

static int open_it(struct pass_crypto *c, const struct packet *p, const uint8_t **frames, size_t *n) {
    struct pass_initial_keys keys;
    assert_int_equal(pass_initial_keys_make(c, p->read.version, PASS_CLIENT, p->read.dcid, p->read.dcid_n, &keys), 0);
    return pass_initial_open(c, &keys, p->bytes, &p->read, frames, n);
}

static void assert_opens(const char *hex) {
    struct pass_crypto *c = pass_crypto_create(NULL);
    struct packet p = packet_of(hex), same = packet_of(hex);
    uint8_t expected[sizeof initial_frames / 2];
    const uint8_t *frames;
    size_t n;
    assert_int_equal(open_it(c, &p, &frames, &n), 0);
    assert_int_equal(n, 1162);
    assert_int_equal(hex_decode(str_of(initial_frames), expected, sizeof expected), 0);
    assert_memory_equal(frames, expected, sizeof expected);
    for (size_t i = sizeof expected; i < n; i++)
        assert_int_equal(frames[i], 0);
    assert_memory_equal(p.bytes, same.bytes, 1200); /* it goes on as it came */
    free(p.bytes);
    free(same.bytes);
    pass_crypto_destroy(c);
}

static void test_packets_of_the_rfcs(void **state) {
    (void)state;
    assert_opens(initial_v1);
    assert_opens(initial_v2);
}

/* Every octet is protected. */
static void test_a_changed_packet(void **state) {
    (void)state;
    struct pass_crypto *c = pass_crypto_create(NULL);
    const uint8_t *frames;
    size_t n;
    for (size_t i = 0; i < 1200; i += 13) {
        struct packet p = packet_of(initial_v1);
        p.bytes[i] ^= 0x04;
        bool is_packet = pass_packet_read(p.bytes, 1200, &p.read) == 0 && p.read.kind == PASS_INITIAL &&
                         p.read.version == PASS_VERSION_1;
        if (is_packet)
            assert_int_equal(open_it(c, &p, &frames, &n), -1);
        free(p.bytes);
    }
    pass_crypto_destroy(c);
}

/* Too short for a sample or a tag. */
static void test_short_packets(void **state) {
    (void)state;
    struct pass_crypto *c = pass_crypto_create(NULL);
    char hex[2 * 64 + 1] = "c000000001088394c8f03e51570800004000";
    const uint8_t *frames;
    size_t n, header = strlen(hex) / 2;
    for (size_t length = 0; length < 24; length++) {
        memset(hex + 2 * header, '0', 2 * length);
        hex[2 * (header + length)] = '\0';
        hex[2 * header - 2] = "0123456789abcdef"[length / 16];
        hex[2 * header - 1] = "0123456789abcdef"[length % 16];
        struct packet p = packet_of(hex);
        assert_int_equal(open_it(c, &p, &frames, &n), -1);
        free(p.bytes);
    }
    pass_crypto_destroy(c);
}

static void test_without_memory(void **state) {
    (void)state;
    hg_alloc_fail_at(0, 1);
    assert_null(pass_crypto_create(NULL));
    hg_alloc_fail_at(-1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),             cmocka_unit_test(test_other_versions_have_none),
        cmocka_unit_test(test_packets_of_the_rfcs), cmocka_unit_test(test_a_changed_packet),
        cmocka_unit_test(test_short_packets),    cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
