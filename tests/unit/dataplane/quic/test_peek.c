/* Frames that the library does not tell of, among all others. */
#include "tests/unit/common/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/quic/peek.h"

/* One of each kind that may stand in a 1-RTT packet. */
static const char others[] =
    "\x00\x00\x01"                                       /* PADDING, PING */
    "\x02\x05\x00\x01\x00\x01\x01"                       /* ACK with another range */
    "\x03\x40\x50\x00\x00\x00\x01\x02\x03"               /* ACK with ECN */
    "\x06\x00\x03" "abc" "\x07\x02" "to"                 /* CRYPTO, NEW_TOKEN */
    "\x0a\x00\x02xx\x0e\x04\x40\x10\x03yyy\x0f\x08\x01\x00" /* STREAM */
    "\x10\x44\x00\x11\x00\x44\x00\x12\x10\x13\x10"       /* MAX_DATA ... MAX_STREAMS */
    "\x14\x00\x15\x00\x00\x16\x00\x17\x00"               /* the blocked ones */
    "\x18\x02\x00\x04" "idid" "0123456789abcdef" "\x19\x00" /* NEW_CONNECTION_ID, RETIRE_CONNECTION_ID */
    "\x1a" "12345678" "\x1b" "12345678"                  /* PATH_CHALLENGE, PATH_RESPONSE */
    "\x31\x03" "abc";                                    /* DATAGRAM */

/* On the heap, so that a read beyond the end is seen. */
static struct quic_peeked peek(bool is_server, const char *bytes, size_t n) {
    struct quic_peeked p = {0};
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    quic_peek(&p, is_server, copy, n);
    free(copy);
    return p;
}

static size_t join(char *room, const char *a, size_t a_n, const char *b, size_t b_n) {
    memcpy(room, a, a_n);
    memcpy(room + a_n, b, b_n);
    return a_n + b_n;
}

static void stops_are_found(void **state) {
    (void)state;
    static const char stop[] = "\x05\x40\x44\x41\x0c";
    char room[512];
    struct quic_peeked p = peek(true, room, join(room, others, sizeof others - 1, stop, sizeof stop - 1));
    assert_int_equal(p.stop_count, 1);
    assert_int_equal(p.stops[0].id, 0x44);
    assert_int_equal(p.stops[0].code, 0x10c);
    assert_false(p.resets_ours);
    for (size_t i = 0; i < sizeof others; i++) /* cut anywhere */
        assert_int_equal(peek(true, others, i).stop_count, 0);
    for (size_t i = 0; i + 1 < sizeof stop; i++)
        assert_int_equal(peek(true, stop, i).stop_count, 0);
}

static void no_more_than_there_is_room_for(void **state) {
    (void)state;
    static char room[3 * (QUIC_STOPS_MAX + 12)];
    for (size_t i = 0; i < sizeof room; i += 3)
        memcpy(room + i, "\x05\x04\x01", 3);
    assert_int_equal(peek(true, room, sizeof room).stop_count, QUIC_STOPS_MAX - 1);
    memcpy(room + sizeof room - 6, "\x05\x0b\x02\x05\x0f\x03", 6); /* two of ours */
    struct quic_peeked p = peek(true, room, sizeof room);
    assert_int_equal(p.stop_count, QUIC_STOPS_MAX);
    assert_int_equal(p.stops[QUIC_STOPS_MAX - 1].id, 11);
    assert_int_equal(p.stops[QUIC_STOPS_MAX - 1].code, 2);
    for (size_t i = 0; i < sizeof room; i += 3)
        room[i + 1] = 0x0b;
    assert_int_equal(peek(true, room, sizeof room).stop_count, QUIC_STOPS_MAX);
}

static void resets_of_ours(void **state) {
    (void)state;
    assert_true(peek(true, "\x04\x03\x00\x00", 4).resets_ours);
    assert_false(peek(true, "\x04\x02\x00\x00", 4).resets_ours);
    assert_true(peek(false, "\x04\x02\x00\x00", 4).resets_ours);
    assert_false(peek(false, "\x04\x00\x00\x00", 4).resets_ours);
    assert_false(peek(true, "\x04\x03\x00", 3).resets_ours);
}

/* What stands in a stream is no frame, and behind a frame that nobody knows nothing is read. */
static void what_looks_like_a_frame(void **state) {
    (void)state;
    assert_int_equal(peek(true, "\x0a\x00\x03\x05\x04\x01", 6).stop_count, 0);
    assert_int_equal(peek(true, "\x08\x00\x05\x04\x01", 5).stop_count, 0);
    assert_int_equal(peek(true, "\x30\x05\x04\x01", 4).stop_count, 0);
    assert_int_equal(peek(true, "\x40\x3f\x05\x04\x01", 5).stop_count, 0);
    assert_int_equal(peek(true, "\x1c\x05\x04\x01", 4).stop_count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_are_found),
        cmocka_unit_test(no_more_than_there_is_room_for),
        cmocka_unit_test(resets_of_ours),
        cmocka_unit_test(what_looks_like_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
