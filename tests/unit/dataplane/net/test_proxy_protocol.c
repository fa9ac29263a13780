/* The PROXY header: what is read, what is refused, what is written, who is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_BODY "\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\x00\x01\xbb" /* 192.0.2.1:4096 -> 198.51.100.2:443 */
#define V6_BODY "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x10\x00\x01\xbb"

/* Read from memory of exactly that size, so that the address sanitizer sees a byte too far. */
static int read_exactly(const void *bytes, size_t n, struct proxy_header *ret) {
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    int used = proxy_header_read(copy, n, ret);
    free(copy);
    return used;
}

#define READ(literal, ret) read_exactly(literal, sizeof literal - 1, ret)
#define REFUSED(literal)                                     \
    do {                                                     \
        struct proxy_header any_;                            \
        assert_int_equal(READ(literal, &any_), -1);          \
    } while (0)

static void assert_address(const struct address *a, const char *text) {
    char found[ADDRESS_TEXT_MAX];
    address_format(a, found);
    assert_string_equal(found, text);
}

/* Every part of it is "not complete yet"; with anything behind it the header is as long as before. */
static void assert_whole(const void *bytes, size_t n, bool has_addresses, const char *source, const char *destination) {
    struct proxy_header h;
    char longer[8192];
    for (size_t i = 0; i < n; i++)
        assert_int_equal(read_exactly(bytes, i, &h), 0);
    assert_int_equal(read_exactly(bytes, n, &h), n);
    memcpy(longer, bytes, n);
    memcpy(longer + n, "GET / HTTP/1.1\r\n", 16);
    for (size_t i = 1; i <= 16; i++)
        assert_int_equal(read_exactly(longer, n + i, &h), n);
    assert_int_equal(h.has_addresses, has_addresses);
    if (!has_addresses)
        return;
    assert_address(&h.source, source);
    assert_address(&h.destination, destination);
}

#define WHOLE(literal, source, destination) assert_whole(literal, sizeof literal - 1, true, source, destination)
#define WHOLE_WITHOUT(literal) assert_whole(literal, sizeof literal - 1, false, NULL, NULL)

/* ---- version 1 */

static void version_1_names_both_ends(void **state) {
    (void)state;
    WHOLE("PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n", "192.0.2.1:4096", "198.51.100.2:443");
    WHOLE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535", "255.255.255.255:65535");
    WHOLE("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0", "0.0.0.0:0");
    WHOLE("PROXY TCP6 2001:db8::1 ::1 4096 443\r\n", "[2001:db8::1]:4096", "[::1]:443");
    WHOLE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
          "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void version_1_unknown_says_nothing(void **state) {
    (void)state;
    WHOLE_WITHOUT("PROXY UNKNOWN\r\n");
    WHOLE_WITHOUT("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n");
    WHOLE_WITHOUT("PROXY UNKNOWN any thing at all\r\n");
}

static void version_1_is_strict(void **state) {
    (void)state;
    REFUSED("PROXY \r\n");
    REFUSED("PROXY\r\n");
    REFUSED("PROXY TCP4\r\n");
    REFUSED("PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n");
    REFUSED("PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n");
    REFUSED("PROXY UNKNOWNS\r\n");
    REFUSED("PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n");
    REFUSED("PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n");
    REFUSED("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n");
    REFUSED("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n");
    REFUSED("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n");
    REFUSED("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n");
    REFUSED("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n");
    REFUSED("PROXY TCP4 192.0.2.1 198.51.100 1 2\r\n");
    REFUSED("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n");
    REFUSED("PROXY TCP4 192.0.2.1\t198.51.100.2 1 2\r\n");
    REFUSED("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n");
    REFUSED("\nPROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n");
    REFUSED("GET / HTTP/1.1\r\n");
    REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    REFUSED("\x16\x03\x01\x00\xa5\x01");
}

static void version_1_ports_are_decimal(void **state) {
    (void)state;
    static const char *const bad[] = {"65536", "99999", "100000", "00", "01", "-1", "+1", "0x50", "8o", "", "4294967297"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[128];
        struct proxy_header h;
        int n = snprintf(line, sizeof line, "PROXY TCP4 192.0.2.1 198.51.100.2 %s 443\r\n", bad[i]);
        assert_int_equal(read_exactly(line, (size_t)n, &h), -1);
        n = snprintf(line, sizeof line, "PROXY TCP4 192.0.2.1 198.51.100.2 443 %s\r\n", bad[i]);
        assert_int_equal(read_exactly(line, (size_t)n, &h), -1);
    }
}

/* 107 bytes are the longest that the specification knows. */
static void version_1_has_a_longest_line(void **state) {
    (void)state;
    char line[256] = "PROXY UNKNOWN ";
    struct proxy_header h;
    memset(line + 14, 'x', sizeof line - 14);
    assert_int_equal(read_exactly(line, 106, &h), 0);
    assert_int_equal(read_exactly(line, 107, &h), -1);
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(read_exactly(line, 107, &h), 107);
    memcpy(line + 105, "x\r\n", 3);
    assert_int_equal(read_exactly(line, 108, &h), -1);
}

/* ---- version 2 */

static void version_2_names_both_ends(void **state) {
    (void)state;
    WHOLE(SIGNATURE "\x21\x11\x00\x0c" V4_BODY, "192.0.2.1:4096", "198.51.100.2:443");
    WHOLE(SIGNATURE "\x21\x21\x00\x24" V6_BODY, "[2001:db8::1]:4096", "[2001:db8::2]:443");
}

static void version_2_skips_what_follows_the_addresses(void **state) {
    (void)state;
    WHOLE(SIGNATURE "\x21\x11\x00\x14" V4_BODY "\x02\x00\x05hello", "192.0.2.1:4096", "198.51.100.2:443");
    WHOLE(SIGNATURE "\x21\x11\x00\x0d" V4_BODY "\xff", "192.0.2.1:4096", "198.51.100.2:443"); /* not even a whole TLV */
    char large[PROXY_HEADER_MAX];
    memset(large, 0x04, sizeof large);
    memcpy(large, SIGNATURE "\x21\x11\x0f\xf0" V4_BODY, 28);
    assert_whole(large, sizeof large, true, "192.0.2.1:4096", "198.51.100.2:443");
}

static void version_2_without_addresses(void **state) {
    (void)state;
    WHOLE_WITHOUT(SIGNATURE "\x20\x00\x00\x00");
    WHOLE_WITHOUT(SIGNATURE "\x20\x11\x00\x0c" V4_BODY); /* LOCAL: the proxy speaks for itself */
    WHOLE_WITHOUT(SIGNATURE "\x21\x00\x00\x00");
    WHOLE_WITHOUT(SIGNATURE "\x21\x00\x00\x05xxxxx");
    WHOLE_WITHOUT(SIGNATURE "\x21\x12\x00\x0c" V4_BODY); /* UDP: nothing that could have come here */
}

static void version_2_is_strict(void **state) {
    (void)state;
    REFUSED(SIGNATURE "\x11\x11\x00\x0c" V4_BODY); /* version 1 in the form of 2 */
    REFUSED(SIGNATURE "\x31\x11\x00\x0c" V4_BODY);
    REFUSED(SIGNATURE "\x22\x11\x00\x0c" V4_BODY); /* neither LOCAL nor PROXY */
    REFUSED(SIGNATURE "\x21\x11\x00\x0b" V4_BODY); /* too short for its family */
    REFUSED(SIGNATURE "\x21\x21\x00\x0c" V4_BODY);
    REFUSED(SIGNATURE "\x21\x11\x0f\xf1"); /* longer than what is received, known from its first 16 bytes */
    REFUSED("\r\n\r\n\0\r\nQUIT\r");
    REFUSED("\r\n\r\nGET / HTTP/1.1\r\n");
}

/* ---- writing */

/* `from_again` NULL: it says that it does not know. */
static void check_written_as(int version, const char *from, const char *to, const char *from_again, const char *to_again) {
    struct address source, destination;
    uint8_t room[PROXY_WRITTEN_MAX];
    assert_int_equal(address_parse(str_of(from), &source), 0);
    assert_int_equal(address_parse(str_of(to), &destination), 0);
    size_t n = proxy_header_write(version, &source, &destination, room);
    assert_whole(room, n, from_again != NULL, from_again, to_again);
    assert_int_equal(room[0], version == 1 ? 'P' : '\r');
}

static void check_written(int version, const char *from, const char *to, bool is_known) {
    check_written_as(version, from, to, is_known ? from : NULL, to);
}

static void what_is_written_is_read_again(void **state) {
    (void)state;
    for (int version = 1; version <= 2; version++) {
        check_written(version, "192.0.2.1:4096", "198.51.100.2:443", true);
        check_written(version, "0.0.0.0:0", "255.255.255.255:65535", true);
        check_written(version, "[2001:db8::1]:4096", "[::1]:443", true);
        check_written(version, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0]:65535",
                      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", true);
        check_written_as(version, "192.0.2.1:4096", "[::1]:443", "[::ffff:192.0.2.1]:4096", "[::1]:443");
        check_written_as(version, "[::1]:4096", "192.0.2.1:443", "[::1]:4096", "[::ffff:192.0.2.1]:443");
        check_written(version, "unix:/run/a", "unix:/run/b", false);
        check_written(version, "unix:/run/a", "127.0.0.1:1", false);
    }
}

static void bytes_are_those_of_the_specification(void **state) {
    (void)state;
    struct address source, destination;
    uint8_t room[PROXY_WRITTEN_MAX];
    assert_int_equal(address_parse(STR("192.0.2.1:4096"), &source), 0);
    assert_int_equal(address_parse(STR("198.51.100.2:443"), &destination), 0);
    static const char v1[] = "PROXY TCP4 192.0.2.1 198.51.100.2 4096 443\r\n", v2[] = SIGNATURE "\x21\x11\x00\x0c" V4_BODY;
    assert_int_equal(proxy_header_write(1, &source, &destination, room), sizeof v1 - 1);
    assert_memory_equal(room, v1, sizeof v1 - 1);
    assert_int_equal(proxy_header_write(2, &source, &destination, room), sizeof v2 - 1);
    assert_memory_equal(room, v2, sizeof v2 - 1);
}

/* ---- trust */

static void networks_are_parsed(void **state) {
    (void)state;
    static const char *const bad[] = {"",          "10.0.0.0/33", "::/129",     "10.0.0/8",   "10.0.0.0/",   "10.0.0.0/08",
                                      "/8",        "host",        "10.0.0.0:80", "[::1]",      "unix:/run/x", "10.0.0.0/8/8",
                                      "10.0.0.0/-1", "::ffff:1.2.3.4/99999"};
    struct proxy_prefix p;
    bool is_unix = false;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(proxy_prefix_parse(str_of(bad[i]), &p, &is_unix), -1);
    assert_false(is_unix);
    assert_int_equal(proxy_prefix_parse(STR("unix:"), &p, &is_unix), 0);
    assert_true(is_unix);
}

static bool trusts(const char *network, const char *peer) {
    struct proxy_prefix p = {{0}, 0};
    struct address a;
    struct proxy_trust trust = {.prefixes = &p};
    assert_int_equal(proxy_prefix_parse(str_of(network), &p, &trust.unix_sockets), 0);
    trust.count = !trust.unix_sockets;
    assert_int_equal(address_parse(str_of(peer), &a), 0);
    return proxy_is_trusted(&trust, &a);
}

static void only_named_networks_are_believed(void **state) {
    (void)state;
    assert_true(trusts("10.0.0.0/8", "10.255.255.255:1"));
    assert_false(trusts("10.0.0.0/8", "11.0.0.0:1"));
    assert_true(trusts("10.1.2.3/8", "10.9.9.9:1")); /* bits beyond the width do not count */
    assert_true(trusts("192.0.2.1", "192.0.2.1:1"));
    assert_false(trusts("192.0.2.1", "192.0.2.0:1"));
    assert_true(trusts("192.0.2.128/25", "192.0.2.128:1"));
    assert_false(trusts("192.0.2.128/25", "192.0.2.127:1"));
    assert_true(trusts("0.0.0.0/0", "203.0.113.9:1"));
    assert_false(trusts("0.0.0.0/0", "[2001:db8::1]:1"));
    assert_true(trusts("2001:db8::/32", "[2001:db8:ffff::1]:1"));
    assert_false(trusts("2001:db8::/33", "[2001:db8:8000::1]:1"));
    assert_true(trusts("::1", "[::1]:1"));
    assert_true(trusts("::/0", "[2001:db8::1]:1"));
    assert_true(trusts("unix:", "unix:/run/x"));
    assert_false(trusts("unix:", "127.0.0.1:1"));
    assert_false(trusts("::/0", "unix:/run/x"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_names_both_ends),
        cmocka_unit_test(version_1_unknown_says_nothing),
        cmocka_unit_test(version_1_is_strict),
        cmocka_unit_test(version_1_ports_are_decimal),
        cmocka_unit_test(version_1_has_a_longest_line),
        cmocka_unit_test(version_2_names_both_ends),
        cmocka_unit_test(version_2_skips_what_follows_the_addresses),
        cmocka_unit_test(version_2_without_addresses),
        cmocka_unit_test(version_2_is_strict),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(bytes_are_those_of_the_specification),
        cmocka_unit_test(networks_are_parsed),
        cmocka_unit_test(only_named_networks_are_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
