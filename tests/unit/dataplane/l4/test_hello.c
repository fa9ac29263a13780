/* From CRYPTO frames to the name of a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/str.h"
#include "dataplane/l4/hello.h"
#include "tests/unit/dataplane/l4/vectors.h"

enum { HELLO = sizeof initial_frames / 2 - 4 };   /* octets of the ClientHello of the RFCs, behind its frame's header */

static uint8_t hello[HELLO];

static int make_hello(void **state) {
    (void)state;
    uint8_t frames[sizeof initial_frames / 2];
    assert_int_equal(hex_decode(str_of(initial_frames), frames, sizeof frames), 0);
    memcpy(hello, frames + 4, HELLO);
    return 0;
}

/* From memory of exactly that size. */
static enum pass_verdict name_of(const uint8_t *bytes, size_t n, char name[256]) {
    uint8_t *copy = malloc(n ? n : 1);
    struct str found = {NULL, 0};
    memcpy(copy, bytes, n);
    enum pass_verdict verdict = pass_hello_name(copy, n, &found);
    if (verdict == PASS_NAME_FOUND) {
        memcpy(name, found.p, found.n);
        name[found.n] = '\0';
    }
    free(copy);
    return verdict;
}

static size_t crypto(uint8_t *to, size_t at, size_t n) {
    const uint8_t header[] = {0x06, (uint8_t)(0x40 | at >> 8), (uint8_t)at, (uint8_t)(0x40 | n >> 8), (uint8_t)n};
    memcpy(to, header, sizeof header);
    memcpy(to + sizeof header, hello + at, n);
    return sizeof header + n;
}

static void test_the_hello_of_the_rfcs(void **state) {
    (void)state;
    char name[256];
    assert_int_equal(name_of(hello, HELLO, name), PASS_NAME_FOUND);
    assert_string_equal(name, "example.com");
}

/* As soon as the name is there, and never anything else. */
static void test_every_beginning(void **state) {
    (void)state;
    char name[256];
    size_t first = 0;
    for (size_t n = 0; n <= HELLO; n++) {
        enum pass_verdict v = name_of(hello, n, name);
        assert_int_equal(v, first ? PASS_NAME_FOUND : v);
        assert_true(v == PASS_NAME_FOUND || v == PASS_NAME_MORE);
        first = first || v == PASS_NAME_MORE ? first : n;
    }
    assert_true(first > 50 && first < HELLO / 2);
}

static void test_pieces_in_any_order(void **state) {
    (void)state;
    static const size_t orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}};
    static const size_t cut[] = {0, 20, 66, HELLO};
    char name[256];
    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        struct pass_hello *h = calloc(1, sizeof *h);
        for (int i = 0; i < 3; i++) {
            uint8_t frame[HELLO + 16];
            size_t piece = orders[o][i], n = crypto(frame, cut[piece], cut[piece + 1] - cut[piece]);
            assert_int_equal(pass_hello_take(h, frame, n), PASS_FRAMES_TAKEN);
            assert_int_equal(pass_hello_take(h, frame, n), PASS_FRAMES_TAKEN); /* sent again */
        }
        assert_int_equal(h->n, HELLO);
        assert_int_equal(name_of(h->bytes, h->n, name), PASS_NAME_FOUND);
        assert_string_equal(name, "example.com");
        free(h);
    }
}

static void test_a_gap(void **state) {
    (void)state;
    struct pass_hello *h = calloc(1, sizeof *h);
    uint8_t frame[HELLO + 16];
    assert_int_equal(pass_hello_take(h, frame, crypto(frame, 0, 10)), PASS_FRAMES_TAKEN);
    assert_int_equal(pass_hello_take(h, frame, crypto(frame, 11, 100)), PASS_FRAMES_TAKEN);
    assert_int_equal(h->n, 10);
    assert_int_equal(pass_hello_take(h, frame, crypto(frame, 10, 1)), PASS_FRAMES_TAKEN);
    assert_int_equal(h->n, 111);
    free(h);
}

static enum pass_frames take(const char *hex) {
    struct pass_hello *h = calloc(1, sizeof *h);
    size_t n = strlen(hex) / 2;
    uint8_t *frames = malloc(n ? n : 1);
    assert_int_equal(hex_decode(str_of(hex), frames, n), 0);
    enum pass_frames result = pass_hello_take(h, frames, n);
    free(frames);
    free(h);
    return result;
}

static void test_other_frames(void **state) {
    (void)state;
    assert_int_equal(take(""), PASS_FRAMES_TAKEN);
    assert_int_equal(take("000001010000"), PASS_FRAMES_TAKEN);
    assert_int_equal(take("02050001000102" "01"), PASS_FRAMES_TAKEN);               /* ACK with one more range */
    assert_int_equal(take("0305000000010203"), PASS_FRAMES_TAKEN);                   /* ACK with ECN counts */
    assert_int_equal(take("1c010003616263"), PASS_FRAMES_TAKEN);                     /* CONNECTION_CLOSE */
    assert_int_equal(take("1c010004616263"), PASS_FRAMES_MALFORMED);
    assert_int_equal(take("020500"), PASS_FRAMES_MALFORMED);
    assert_int_equal(take("0205ffffffffffffffff00"), PASS_FRAMES_MALFORMED);         /* ranges without end */
    assert_int_equal(take("0600ffffffffffffffff"), PASS_FRAMES_MALFORMED);
    assert_int_equal(take("060003ab"), PASS_FRAMES_MALFORMED);
    assert_int_equal(take("0800"), PASS_FRAMES_MALFORMED);                           /* STREAM */
    assert_int_equal(take("1d010003616263"), PASS_FRAMES_MALFORMED);                 /* of the application */
    assert_int_equal(take("40"), PASS_FRAMES_MALFORMED);
}

static void test_bounds(void **state) {
    (void)state;
    assert_int_equal(take("0680003fff01aa"), PASS_FRAMES_TAKEN);      /* the last octet */
    assert_int_equal(take("0680003fff02aabb"), PASS_FRAMES_TOO_MUCH);
    assert_int_equal(take("068000400000"), PASS_FRAMES_TAKEN);
    assert_int_equal(take("06800040000100"), PASS_FRAMES_TOO_MUCH);
    assert_int_equal(take("06ffffffffffffffff0100"), PASS_FRAMES_TOO_MUCH);
}

/* A ClientHello with this extension block, of which everything before is short. */
static enum pass_verdict with_extensions(const char *hex, char name[256]) {
    uint8_t bytes[512] = {1, 0, 0, 0, 3, 3};
    size_t n = strlen(hex) / 2, at = 4 + 2 + 32;
    const uint8_t middle[] = {0, 0, 2, 0x13, 1, 1, 0, (uint8_t)(n >> 8), (uint8_t)n};
    memcpy(bytes + at, middle, sizeof middle);
    assert_int_equal(hex_decode(str_of(hex), bytes + at + sizeof middle, n), 0);
    n += at + sizeof middle;
    bytes[2] = (uint8_t)((n - 4) >> 8);
    bytes[3] = (uint8_t)(n - 4);
    return name_of(bytes, n, name);
}

static void test_extensions(void **state) {
    (void)state;
    char name[256];
    assert_int_equal(with_extensions("", name), PASS_NAME_NONE);
    assert_int_equal(with_extensions("00100000", name), PASS_NAME_NONE);
    assert_int_equal(with_extensions("00100001", name), PASS_NAME_MALFORMED);
    assert_int_equal(with_extensions("001000", name), PASS_NAME_MALFORMED);
    assert_int_equal(with_extensions("00100001ff" "00000006000400000161", name), PASS_NAME_FOUND);
    assert_string_equal(name, "a");
    assert_int_equal(with_extensions("0000000500030000" "00", name), PASS_NAME_MALFORMED);      /* empty */
    assert_int_equal(with_extensions("00000006000401000161", name), PASS_NAME_MALFORMED);       /* of another type */
    assert_int_equal(with_extensions("00000006000500000161", name), PASS_NAME_MALFORMED);       /* beyond its extension */
    assert_int_equal(with_extensions("00000006000400000261", name), PASS_NAME_MALFORMED);
    assert_int_equal(with_extensions("00000000", name), PASS_NAME_MALFORMED);
}

static void test_no_hello(void **state) {
    (void)state;
    char name[256];
    static const uint8_t server_hello[] = {2, 0, 0, 1, 0}, nothing[] = {1, 0, 0, 0}, cut[] = {1, 0, 0, 34, 3, 3};
    assert_int_equal(name_of(server_hello, 1, name), PASS_NAME_MALFORMED);
    assert_int_equal(name_of(server_hello, sizeof server_hello, name), PASS_NAME_MALFORMED);
    assert_int_equal(name_of(nothing, sizeof nothing, name), PASS_NAME_MALFORMED);
    assert_int_equal(name_of(cut, sizeof cut, name), PASS_NAME_MORE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_hello_of_the_rfcs), cmocka_unit_test(test_every_beginning),
        cmocka_unit_test(test_pieces_in_any_order),   cmocka_unit_test(test_a_gap),
        cmocka_unit_test(test_other_frames),          cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_extensions),            cmocka_unit_test(test_no_hello),
    };
    return cmocka_run_group_tests(tests, make_hello, NULL);
}
