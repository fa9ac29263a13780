/* What breaks the rules of RFC 9000 is answered with its code (section 20.1): frames that no library would send. */
#include "tests/unit/dataplane/quic/network.h"

enum {
    FLOW_CONTROL_ERROR = 3, STREAM_LIMIT_ERROR, STREAM_STATE_ERROR, FINAL_SIZE_ERROR, FRAME_ENCODING_ERROR,
    PROTOCOL_VIOLATION = 0xa, CRYPTO_BUFFER_EXCEEDED = 0xd, UNEXPECTED_MESSAGE = 0x10a, ILLEGAL_PARAMETER = 0x12f,
};

static const struct wrong {
    const char *what;
    const char *frames;
    size_t      n;
    uint64_t    code;
} wrongs[] = {
#define WRONG(what, frames, code) {what, frames, sizeof frames - 1, code}
    WRONG("a type that nobody knows", "\x40\x3f", FRAME_ENCODING_ERROR),
    WRONG("a frame that is cut off by its length", "\x06\x00\x7f\xff", FRAME_ENCODING_ERROR),
    WRONG("ACK of a packet that was not sent", "\x02\x67\x10\x00\x00\x00", PROTOCOL_VIOLATION),
    WRONG("ACK with a range below zero", "\x02\x00\x00\x00\x05", FRAME_ENCODING_ERROR),
    WRONG("STREAM on one that we did not open", "\x0a\x01\x01x", STREAM_STATE_ERROR),
    WRONG("STREAM on one that only we may write to", "\x0a\x03\x01x", STREAM_STATE_ERROR),
    WRONG("STREAM beyond the number of streams", "\x0a\x5f\xa0\x01x", STREAM_LIMIT_ERROR),
    WRONG("STREAM beyond its window", "\x0e\x04\x90\x00\x00\x00\x01x", FLOW_CONTROL_ERROR),
    WRONG("STREAM behind its end", "\x0b\x04\x02xx\x0e\x04\x02\x01x", FINAL_SIZE_ERROR),
    WRONG("STREAM with two ends", "\x0b\x04\x02xx\x0b\x04\x03xxx", FINAL_SIZE_ERROR),
    WRONG("RESET_STREAM before what was sent", "\x0a\x04\x04xxxx\x04\x04\x00\x02", FINAL_SIZE_ERROR),
    WRONG("RESET_STREAM of one that only we write to", "\x04\x03\x00\x00", STREAM_STATE_ERROR),
    WRONG("RESET_STREAM beyond its window", "\x04\x04\x00\x90\x00\x00\x00", FLOW_CONTROL_ERROR),
    WRONG("STOP_SENDING of one that only it writes to", "\x05\x02\x00", STREAM_STATE_ERROR),
    WRONG("STOP_SENDING of one that we did not open", "\x05\x01\x00", STREAM_STATE_ERROR),
    WRONG("MAX_STREAM_DATA of one that only it writes to", "\x11\x02\x40\x64", STREAM_STATE_ERROR),
    WRONG("MAX_STREAM_DATA of one that we did not open", "\x11\x01\x40\x64", STREAM_STATE_ERROR),
    WRONG("STREAM_DATA_BLOCKED of one that only we write to", "\x15\x03\x00", STREAM_STATE_ERROR),
    WRONG("MAX_STREAMS beyond 2^60", "\x12\xd0\x00\x00\x00\x00\x00\x00\x01", FRAME_ENCODING_ERROR),
    WRONG("STREAMS_BLOCKED beyond 2^60", "\x16\xd0\x00\x00\x00\x00\x00\x00\x01", FRAME_ENCODING_ERROR),
    WRONG("NEW_TOKEN from a client", "\x07\x01x", PROTOCOL_VIOLATION),
    WRONG("HANDSHAKE_DONE from a client", "\x1e", PROTOCOL_VIOLATION),
    WRONG("NEW_CONNECTION_ID that retires itself", "\x18\x05\x06\x08" "12345678" "0123456789abcdef", FRAME_ENCODING_ERROR),
    WRONG("NEW_CONNECTION_ID without an ID", "\x18\x05\x00\x00" "0123456789abcdef", FRAME_ENCODING_ERROR),
    WRONG("NEW_CONNECTION_ID that is too long", "\x18\x05\x00\x15" "012345678901234567890" "0123456789abcdef",
          FRAME_ENCODING_ERROR),
    WRONG("RETIRE_CONNECTION_ID of one that was not issued", "\x19\x40\x64", PROTOCOL_VIOLATION),
    WRONG("CRYPTO: a key update of TLS", "\x06\x00\x05\x18\x00\x00\x01\x00", UNEXPECTED_MESSAGE),
    WRONG("CRYPTO beyond what is kept", "\x06\x80\x10\x00\x00\x01x", CRYPTO_BUFFER_EXCEEDED),
#undef WRONG
};

static bool is_over(void) {
    return net.peers[net.peer_count - 1]->is_over;
}

static void frames_are_refused(void **state) {
    (void)state;
    static char bytes[1000];
    unsigned faults = 0;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        struct peer *p = peer_connect(&(struct peer_wish){0});
        net_run(NULL, 200000);
        assert_true(p->is_done);
        memcpy(instead.bytes, wrongs[i].frames, wrongs[i].n);
        instead.n = wrongs[i].n;
        peer_send(p, bytes, sizeof bytes);
        net_run(is_over, 2000000);
        const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(p->conn);
        bool is_good = p->is_over && e->error_code == wrongs[i].code && e->type == NGTCP2_CCERR_TYPE_TRANSPORT;
        if (!is_good)
            print_message("%s: over %d, code %#llx instead of %#llx\n", wrongs[i].what, p->is_over,
                          (unsigned long long)e->error_code, (unsigned long long)wrongs[i].code);
        faults += !is_good;
    }
    assert_int_equal(faults, 0);
    assert_int_equal(net.worker.stats->quic_protocol_errors_total, sizeof wrongs / sizeof *wrongs);
}

/* In a Handshake packet only some frames may be (section 12.4). */
static void frames_of_another_packet(void **state) {
    (void)state;
    static const struct wrong frames[] = {
        {"STREAM", "\x0a\x00\x01x", 4, PROTOCOL_VIOLATION},
        {"PATH_CHALLENGE", "\x1a" "12345678", 9, PROTOCOL_VIOLATION},
        {"MAX_DATA", "\x10\x40\x64", 3, PROTOCOL_VIOLATION},
        {"CONNECTION_CLOSE of an application", "\x1d\x00\x00", 3, PROTOCOL_VIOLATION},
        {"CRYPTO: a key update of TLS", "\x06\x00\x05\x18\x00\x00\x01\x00", 8, UNEXPECTED_MESSAGE},
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        memcpy(instead.bytes, frames[i].frames, frames[i].n);
        instead.n = frames[i].n;
        instead.form = IN_HANDSHAKE;
        struct peer *p = peer_connect(&(struct peer_wish){0});
        net_run(is_over, 2000000);
        const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(p->conn);
        if (!p->is_over || e->error_code != frames[i].code)
            fail_msg("%s: over %d, code %#llx", frames[i].what, p->is_over, (unsigned long long)e->error_code);
    }
}

/* What it has of the message is its header. */
static struct peer *say_length(const char *header) {
    memcpy(instead.bytes, "\x06\x00\x04", 3);
    memcpy(instead.bytes + 3, header, 4);
    instead.n = 7;
    instead.form = IN_INITIAL;
    struct peer *p = peer_connect(&(struct peer_wish){0});
    net_run(is_over, 2000000);
    return p;
}

/* Nobody has shown yet whose address it is. */
static void no_room_is_made_for_a_hello_of_any_length(void **state) {
    (void)state;
    struct peer *p = say_length("\x01\x00\x3f\xfd");
    assert_true(p->is_over);
    assert_int_equal(ngtcp2_conn_get_ccerr(p->conn)->error_code, ILLEGAL_PARAMETER);
    assert_int_equal(net.worker.stats->quic_protocol_errors_total, 1);
    assert_false(say_length("\x01\x00\x3f\xfc")->is_over); /* the rest is waited for */
    assert_int_equal(net.endpoint->handshakes, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        NET_TEST(frames_are_refused),
        NET_TEST(frames_of_another_packet),
        NET_TEST(no_room_is_made_for_a_hello_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
