/* Frames in front of the HTTP/2 library: the same verdicts however the bytes are cut; the library gets no more than what
 * came, and never fails on it in a way that the check had to see. The first byte chooses the peer. */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/codec/h2/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Not assert: it must hold in every build. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static const struct http2_limits limits = {
    .max_frame_size = 16384, .resets_per_second = 10, .reset_burst = 20, .control_frames_per_second = 10,
    .control_frame_burst = 50, .continuation_frames = 4, .block_bytes = 20000,
};

enum { FAULTS_MAX = 64 };

/* What was found: faults, streams, and how many bytes had been handed on by then. */
struct found {
    struct h2_verdict faults[FAULTS_MAX];
    unsigned          count;
    size_t            good;
    bool              is_over;
};

static void check_piece(struct h2_frames *f, struct found *found, const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    CHECK(copy);
    memcpy(copy, bytes, n);
    for (size_t at = 0, good; at < n && !found->is_over; at += good) {
        struct h2_verdict v;
        good = h2_frames_check(f, &limits, copy + at, n - at, 1000, &v);
        CHECK(good <= n - at && (v.fault || good == n - at));
        found->good += good;
        if (!v.fault)
            break;
        found->is_over = h2_fault_ends_connection(v.fault);
        CHECK(found->is_over || good > 0);
        if (found->is_over)
            v.stream = 0;
        if (found->count < FAULTS_MAX)
            found->faults[found->count++] = v;
    }
    free(copy);
}

static void check_all(struct found *found, enum h2_peer peer, const uint8_t *bytes, size_t n, size_t step) {
    struct h2_frames f;
    *found = (struct found){0};
    h2_frames_init(&f, peer);
    for (size_t at = 0; at < n && !found->is_over; at += step)
        check_piece(&f, found, bytes + at, n - at < step ? n - at : step);
}

static void compare(const struct found *a, const struct found *b) {
    CHECK(a->count == b->count && a->is_over == b->is_over);
    for (unsigned i = 0; i < a->count; i++)
        CHECK(a->faults[i].fault == b->faults[i].fault && a->faults[i].stream == b->faults[i].stream);
    CHECK(a->is_over ? a->good <= b->good : a->good == b->good); /* a: in one piece */
}

static ssize_t no_output(nghttp2_session *session, const uint8_t *bytes, size_t n, int flags, void *user) {
    (void)session;
    (void)bytes;
    (void)flags;
    (void)user;
    return (ssize_t)n;
}

/* The library takes what passed. It has fatal codes for what the check has to see first. */
static void feed_library(const uint8_t *bytes, size_t n) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    nghttp2_option *options;
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0);
    nghttp2_option_set_max_continuations(options, 1000);
    nghttp2_session_callbacks_set_send_callback(callbacks, no_output);
    CHECK(nghttp2_session_server_new2(&session, callbacks, NULL, options) == 0);
    CHECK(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    CHECK(nghttp2_session_mem_recv(session, bytes, n) == (ssize_t)n);
    CHECK(nghttp2_session_send(session) == 0);
    nghttp2_session_del(session);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const size_t steps[] = {1, 2, 7, 9, 64};
    if (size == 0)
        return 0;
    enum h2_peer peer = bytes[0] % 2 ? H2_ORIGIN : H2_CLIENT;
    struct found whole, pieces;
    check_all(&whole, peer, bytes + 1, size - 1, size);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        check_all(&pieces, peer, bytes + 1, size - 1, steps[i]);
        compare(&whole, &pieces);
    }
    if (peer == H2_CLIENT)
        feed_library(bytes + 1, whole.good);
    return 0;
}
