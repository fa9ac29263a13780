/* The check of frames: each rule with frames that keep it and frames that break it, however the bytes are cut; and the
 * limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/codec/h2/frames.h"

#include "tests/unit/dataplane/codec/h2/frame_script.h"

static const struct http2_limits limits = {
    .max_frame_size = 16384, .resets_per_second = 10, .reset_burst = 20, .control_frames_per_second = 10,
    .control_frame_burst = 50, .continuation_frames = 8, .block_bytes = 40000,
};

/* Feeds a piece until all of it has passed; what was found is added to the trace, as "word@stream ". */
static bool feed(struct h2_frames *f, struct strbuf *trace, const char *bytes, size_t n, uint64_t now) {
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    size_t at = 0;
    struct h2_verdict v = {H2_FAULT_NONE, 0};
    do {
        size_t good = h2_frames_check(f, &limits, copy + at, n - at, now, &v);
        assert_true(good <= n - at);
        at += good;
        if (v.fault && h2_fault_ends_connection(v.fault))
            strbuf_puts(trace, h2_fault_word(v.fault));
        else if (v.fault)
            strbuf_printf(trace, "%s@%u ", h2_fault_word(v.fault), v.stream);
        else
            assert_int_equal(at, n);
    } while (at < n && !(v.fault && h2_fault_ends_connection(v.fault)));
    free(copy);
    return !v.fault || !h2_fault_ends_connection(v.fault);
}

/* step 0: pieces of any size. */
static void run(struct strbuf *trace, enum h2_peer peer, const struct strbuf *bytes, size_t step) {
    struct h2_frames f;
    h2_frames_init(&f, peer);
    strbuf_reset(trace);
    for (size_t at = 0, n; at < bytes->n; at += n) {
        n = step ? step : (size_t)rand() % 30;
        n = n < bytes->n - at ? n : bytes->n - at;
        if (!feed(&f, trace, bytes->p + at, n, 1))
            break;
    }
}

static const char *text_of(const struct strbuf *trace) {
    return trace->n ? trace->p : "";
}

static void expect(enum h2_peer peer, const char *script, const char *wanted) {
    struct strbuf bytes = {0}, trace = {0};
    static const size_t steps[] = {1, 2, 3, 5, 8, 9, 10, 64, 0, 0, 0};
    script_bytes(&bytes, script);
    run(&trace, peer, &bytes, bytes.n);
    if (strcmp(text_of(&trace), wanted) != 0)
        fail_msg("%s: '%s', expected '%s'", script, text_of(&trace), wanted);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        run(&trace, peer, &bytes, steps[i]);
        if (strcmp(text_of(&trace), wanted) != 0)
            fail_msg("%s in pieces of %zu: '%s', expected '%s'", script, steps[i], text_of(&trace), wanted);
    }
    strbuf_finish(&bytes);
    strbuf_finish(&trace);
}

struct row {
    const char *script, *wanted;
};

/* Each with the preface and SETTINGS of a client before it. */
static const struct row client_rows[] = {
    /* messages */
    {"headers+eh@1=82", ""},
    {"headers+h@1=82 data@1*10 data+e@1*16384 headers+eh@3=82", ""},
    {"headers+h@1=82 data@1*10 headers+eh@1=82", ""},
    {"headers+h@1=82 headers+h@1=82 data+e@1*1", "trailers-without-end-of-stream@1 "},
    {"headers+eh@1=82 headers+eh@9=82 headers+eh@11=82 rst@5=00000008 window@3=00000001", ""},
    {"headers+ehp@1=0182 data+p@1=00 ", "frame-after-end-of-stream"},
    {"headers+hp@1=018200 data+p@1=0161ff data+ep@1=00", ""},
    {"headers+ehP@1=000000000f82", ""},
    {"headers+ehpP@1=02000000000f820000", ""},
    /* ids */
    {"headers+eh@0=82", "frame-on-wrong-stream"},
    {"data@0*1", "frame-on-wrong-stream"},
    {"headers+eh@2=82", "frame-on-idle-stream"},
    {"data@1*1", "frame-on-idle-stream"},
    {"headers+eh@1=82 data@2*1", "frame-on-idle-stream"},
    {"headers+eh@5=82 headers+eh@3=82", "stream-id-not-above-last"},
    {"headers+eh@5=82 data@3*1", "frame-after-end-of-stream"},
    {"headers+eh@1=82 headers+eh@401=82 headers+eh@399=82", "stream-id-not-above-last"},
    {"headers+eh@2147483647=82 headers+eh@2147483645=82", "stream-id-not-above-last"},
    {"headers+eh@2147483647=82 window@2147483647=00000001", ""},
    {"headers+eh@1=82 headers+eh@1=82", "frame-after-end-of-stream"},
    {"headers+h@1=82 data+e@1*1 data@1*1", "frame-after-end-of-stream"},
    {"headers+h@1=82 headers+eh@1=82 data@1*1", "frame-after-end-of-stream"},
    {"headers+h@1=82 rst@1=00000008 data@1*1 headers+eh@3=82", "frame-after-reset@1 "},
    {"headers+h@1=82 rst@1=00000008 data+e@1*0 data@1*1", "frame-after-reset@1 frame-after-reset@1 "},
    {"headers+h@1=82 rst@1=00000008 headers@1*1 continuation+h@1*1", "frame-after-reset@1 "},
    {"headers+h@1=82 rst@1=00000008 headers@1*1 data@1*1", "frame-after-reset@1 header-block-interrupted"},
    {"headers+eh@1=82 rst@1=00000008 data@1*1", "frame-after-end-of-stream"},
    {"headers+eh@1=82 rst@1=00000008 rst@1=00000008 window@1=00000001 priority@1*5", ""},
    {"headers+eh@1=82 headers+eh@301=82 data@1*1 headers+eh@1=82", ""}, /* older than what is watched: the library's */
    {"rst@1=00000008", "frame-on-idle-stream"},
    {"rst@2=00000008", "frame-on-idle-stream"},
    {"rst@0=00000008", "frame-on-wrong-stream"},
    {"window@1=00000001", "frame-on-idle-stream"},
    {"window@2=00000001", "frame-on-idle-stream"},
    /* sizes */
    {"headers+h@1=82 data@1*16385", "frame-size"},
    {"headers+h@1*16385", "frame-size"},
    {"headers@1*10 continuation+h@1*16385", "frame-size"},
    {"headers@1*10 continuation+h@1*16384", ""},
    {"xbb@1*16385", "frame-size"},
    {"headers+ehp@1*0", "frame-size"},
    {"headers+ehP@1*4", "frame-size"},
    {"headers+ehpP@1*5", "frame-size"},
    {"headers+h@1=82 data+p@1*0", "frame-size"},
    {"headers+eh@1=82 rst@1*3", "frame-size"},
    {"headers+eh@1=82 rst@1*5", "frame-size"},
    {"ping*7", "frame-size"},
    {"ping*9", "frame-size"},
    {"ping+a*7", "frame-size"},
    {"window*3", "frame-size"},
    {"window*5", "frame-size"},
    {"goaway*7", "frame-size"},
    {"goaway*8", ""},
    {"goaway*800", ""},
    {"priority@1*4", "frame-size"},
    {"priority@1*6", "frame-size"},
    {"settings*5", "frame-size"},
    {"settings*7", "frame-size"},
    {"settings+a*6", "frame-size"},
    {"settings+a", ""},
    {"update*3", "frame-size"},
    /* padding */
    {"headers+h@1=82 data+p@1=01", "padding"},
    {"headers+h@1=82 data+p@1=026161", ""},
    {"headers+h@1=82 data+p@1=036161", "padding"},
    {"headers+ehp@1=0282", "padding"},
    {"headers+ehpP@1=02000000000f82", "padding"},
    /* header blocks */
    {"headers@1=82 continuation@1=86 continuation+h@1=84 headers+eh@3=82", ""},
    {"headers@1=82 continuation+h@3=86", "header-block-interrupted"},
    {"headers@1=82 headers+h@1=86", "header-block-interrupted"},
    {"headers@1=82 headers+eh@3=82", "header-block-interrupted"},
    {"headers@1=82 data@1*1", "header-block-interrupted"},
    {"headers@1=82 priority@3*5", "header-block-interrupted"},
    {"headers@1=82 ping*8", "header-block-interrupted"},
    {"headers@1=82 settings", "header-block-interrupted"},
    {"headers@1=82 rst@1*4", "header-block-interrupted"},
    {"headers@1=82 xbb@1*4", "header-block-interrupted"},
    {"headers@1=82 xbb*4", "header-block-interrupted"},
    {"continuation+h@1=82", "continuation-without-headers"},
    {"continuation+h*1", "continuation-without-headers"},
    {"headers+eh@1=82 continuation+h@1=82", "continuation-without-headers"},
    {"headers@1=82 continuation+h@1=82 continuation+h@1=82", "continuation-without-headers"},
    {"headers@1*1 continuation@1*1 continuation@1*1 continuation@1*1 continuation@1*1 continuation@1*1 continuation@1*1 "
     "continuation@1*1 continuation+h@1*1", ""},
    {"headers@1*1 continuation@1*1 continuation@1*1 continuation@1*1 continuation@1*1 continuation@1*1 continuation@1*1 "
     "continuation@1*1 continuation@1*1 continuation+h@1*1", "too-many-continuations"},
    {"headers@1*16000 continuation@1*16000 continuation+h@1*8000", ""},
    {"headers@1*16000 continuation@1*16000 continuation+h@1*8001", "header-block-too-long"},
    /* priorities */
    {"priority@0*5", "frame-on-wrong-stream"},
    {"priority@1*5 priority@2*5 priority@2147483647*5", ""},
    {"priority@1=0000000110", "priority-on-itself-idle"},
    {"priority@2=0000000210", "priority-on-itself-idle"},
    {"headers+eh@1=82 priority@1=8000000110 ping*8", "priority-on-itself@1 "},
    {"headers+ehP@1=000000010082", "priority-on-itself-idle"},
    {"headers+ehpP@1=0080000001008200", "priority-on-itself-idle"},
    {"update=00000001", ""},
    {"update=00000005753d31", ""},
    {"update=00000000", "priority-update"},
    {"update=00000002", "priority-update"},
    {"update@1=00000001", "frame-on-wrong-stream"},
    /* settings */
    {"settings@1", "frame-on-wrong-stream"},
    {"settings+a@1", "frame-on-wrong-stream"},
    {"settings=000200000000 settings=000200000001", ""},
    {"settings=000200000002", "settings-value"},
    {"settings=0002ffffffff", "settings-value"},
    {"settings=00047fffffff", ""},
    {"settings=000480000000", "settings-window"},
    {"settings=000500004000 settings=000500ffffff", ""},
    {"settings=000500003fff", "settings-value"},
    {"settings=000501000000", "settings-value"},
    {"settings=000800000001000800000001", ""},
    {"settings=000800000002", "settings-value"},
    {"settings=000800000001000800000000", "settings-value"},
    {"settings=000900000001", ""},
    {"settings=000900000002", "settings-value"},
    {"settings=00010000000000030000000000060000000099990000000400020000000200", "frame-size"},
    {"settings=000100000000000300000000000600000000999900000004000200000002", "settings-value"},
    {"settings*192", ""},
    {"settings*198", "too-many-settings"},
    /* others */
    {"ping@1*8", "frame-on-wrong-stream"},
    {"goaway@1*8", "frame-on-wrong-stream"},
    {"push+h@1=0000000282", "push-promise"},
    {"push+h@0=0000000282", "push-promise"},
    {"window=00000000", "window-update-of-zero"},
    {"window=80000000", "window-update-of-zero"},
    {"window=80000001", ""},
    {"headers+h@1=82 window@1=00000000", "window-update-of-zero"},
    {"xbb@0*3 xff+eahpP@7*100 xbb@2147483647", ""},
};

static void test_rules_for_clients(void **state) {
    char script[2048];
    (void)state;
    for (size_t i = 0; i < sizeof client_rows / sizeof *client_rows; i++) {
        snprintf(script, sizeof script, "preface settings=000300000064 %s", client_rows[i].script);
        expect(H2_CLIENT, script, client_rows[i].wanted);
    }
}

static void test_beginnings(void **state) {
    static const struct row rows[] = {
        {"preface settings", ""},
        {"preface settings*192", ""},
        {"preface settings+a", "settings-missing"},
        {"preface headers+eh@1=82", "settings-missing"},
        {"preface ping*8", "settings-missing"},
        {"preface xbb*8", "settings-missing"},
        {"preface window=00000001", "settings-missing"},
        {"settings", "preface"},
        {"headers+eh@1=82", "preface"},
        {"preface preface", "frame-size"}, /* its letters are a large frame */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect(H2_CLIENT, rows[i].script, rows[i].wanted);
}

static void test_preface_letter_by_letter(void **state) {
    char bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct strbuf trace = {0};
    (void)state;
    for (size_t i = 0; i < 24; i++) {
        struct h2_frames f;
        h2_frames_init(&f, H2_CLIENT);
        strbuf_reset(&trace);
        bytes[i] ^= 1;
        assert_false(feed(&f, &trace, bytes, 24, 1));
        assert_string_equal(trace.p, "preface");
        bytes[i] ^= 1;
    }
    strbuf_finish(&trace);
}

/* What an origin sends: no preface, answers in any order, streams that only the library knows. */
static void test_rules_for_origins(void **state) {
    static const struct row rows[] = {
        {"settings headers+eh@1=88", ""},
        {"settings headers+h@5=88 headers+h@1=88 data+e@1*5 data+e@5*5 headers+eh@3=88", ""},
        {"settings headers+h@1=88 headers+h@1=88 data@1*4 headers+eh@1=88 headers+eh@301=88", ""},
        {"headers+eh@1=88", "settings-missing"},
        {"preface settings", "frame-size"},
        {"settings headers+eh@2=88", "frame-on-idle-stream"},
        {"settings data@2*1", "frame-on-idle-stream"},
        {"settings rst@2*4", "frame-on-idle-stream"},
        {"settings window@2=00000001", "frame-on-idle-stream"},
        {"settings push+h@1=0000000282", "push-promise"},
        {"settings=000200000001", "settings-value"},
        {"settings=000200000000000800000001", ""},
        {"settings=000800000001 settings=000800000000", "settings-value"},
        {"settings update=00000001", "priority-update"},
        {"settings xaa*4 x0a*4 x0c*9", ""},
        {"settings headers+h@1=88 data+e@1*1 data+e@1*1", "frame-after-end-of-stream"},
        {"settings headers+eh@1=88 headers+eh@1=88", "frame-after-end-of-stream"},
        {"settings headers+h@1=88 rst@1*4 data@1*1 ping*8", "frame-after-reset@1 "},
        {"settings rst@7*4 headers+eh@5=88 rst@5*4", ""},
        {"settings headers@1*5 continuation@1*16385", "frame-size"},
        {"settings headers@1*5 headers@3*5", "header-block-interrupted"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect(H2_ORIGIN, rows[i].script, rows[i].wanted);
}

/* All that was handed on ends before the frame that ends the connection, when that came in one piece. */
static void test_bytes_before_a_fault_pass(void **state) {
    struct strbuf bytes = {0};
    struct h2_verdict v;
    struct h2_frames f;
    (void)state;
    script_bytes(&bytes, "preface settings headers+eh@1=82");
    size_t good = bytes.n;
    script_bytes(&bytes, "window=00000000 ping*8");
    h2_frames_init(&f, H2_CLIENT);
    assert_int_equal(h2_frames_check(&f, &limits, bytes.p, bytes.n, 1, &v), good);
    assert_int_equal(v.fault, H2_FAULT_NO_INCREMENT);
    assert_int_equal(h2_fault_code(v.fault), 1);
    assert_int_equal(h2_frames_check(&f, &limits, bytes.p, bytes.n, 1, &v), 0);
    assert_int_equal(v.fault, H2_FAULT_NO_INCREMENT);
    strbuf_finish(&bytes);
}

static void test_streams_within_the_window_are_told_apart(void **state) {
    struct strbuf bytes = {0}, trace = {0};
    struct h2_frames f;
    char word[64];
    (void)state;
    h2_frames_init(&f, H2_CLIENT);
    script_bytes(&bytes, "preface settings");
    for (unsigned i = 0; i < 1000; i++) { /* three quarters are used, half of those end */
        snprintf(word, sizeof word, "headers+%s@%u=82", i % 4 == 1 ? "eh" : "h", 2 * i + 1);
        if (i % 4 != 3)
            script_bytes(&bytes, word);
    }
    assert_true(feed(&f, &trace, bytes.p, bytes.n, 1));
    for (unsigned i = 1000 - H2_WATCHED_STREAMS + 2; i < 999; i++) {
        static const char *const wanted[] = {"", "frame-after-end-of-stream", "", "stream-id-not-above-last"};
        struct h2_frames copy = f;
        strbuf_reset(&bytes);
        strbuf_reset(&trace);
        snprintf(word, sizeof word, "headers+eh@%u=82", 2 * i + 1);
        script_bytes(&bytes, word);
        feed(&copy, &trace, bytes.p, bytes.n, 1);
        assert_string_equal(text_of(&trace), wanted[i % 4]);
    }
    strbuf_finish(&bytes);
    strbuf_finish(&trace);
}

/* ---- limits */

struct peer {
    struct h2_frames f;
    struct strbuf    bytes, trace;
    uint64_t         now;
};

static void begin(struct peer *p, enum h2_peer kind) {
    *p = (struct peer){.now = 1000000};
    h2_frames_init(&p->f, kind);
    script_bytes(&p->bytes, kind == H2_CLIENT ? "preface settings" : "settings");
    assert_true(feed(&p->f, &p->trace, p->bytes.p, p->bytes.n, p->now));
}

static bool is_taken(struct peer *p, const char *script) {
    strbuf_reset(&p->bytes);
    script_bytes(&p->bytes, script);
    return feed(&p->f, &p->trace, p->bytes.p, p->bytes.n, p->now);
}

/* How many times the frames are taken. */
static unsigned count_taken(struct peer *p, const char *script, unsigned most) {
    unsigned n = 0;
    while (n < most && is_taken(p, script))
        n++;
    return n;
}

static void end(struct peer *p, const char *wanted) {
    assert_string_equal(text_of(&p->trace), wanted);
    strbuf_finish(&p->bytes);
    strbuf_finish(&p->trace);
}

static void test_floods(void **state) {
    static const struct {
        const char *script, *wanted;
        unsigned    taken;   /* with a burst of 50, and what a new connection has earned */
    } rows[] = {
        {"settings", "settings-flood", 50},
        {"settings=000400001000", "settings-flood", 2},
        {"settings+a", "settings-flood", 70},
        {"ping*8", "ping-flood", 52},
        {"ping+a*8", "ping-flood", 52},
        {"priority@3*5", "priority-flood", 70},
        {"update=00000001", "priority-flood", 70},
        {"window=00000001", "window-update-flood", 70},
        {"goaway*8", "other-frame-flood", 50},
        {"xbb@1*8", "other-frame-flood", 50},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer p;
        begin(&p, H2_CLIENT);
        assert_int_equal(count_taken(&p, rows[i].script, 1000), rows[i].taken);
        end(&p, rows[i].wanted);
    }
}

static void test_empty_frames(void **state) {
    static const struct {
        const char *first, *empty;
    } rows[] = {
        {"headers+h@1=82", "data@1"},
        {"headers+h@1=82", "data+p@1=00"},
        {"headers+h@1=82", "data+p@1=020000"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct peer p;
        begin(&p, H2_CLIENT);
        assert_true(is_taken(&p, rows[i].first));
        assert_int_equal(count_taken(&p, rows[i].empty, 1000), 50);
        end(&p, "empty-frame-flood");
    }
}

static void test_empty_parts_of_blocks(void **state) {
    struct peer p;
    unsigned blocks = 0;
    char script[200];
    (void)state;
    begin(&p, H2_CLIENT);
    do
        snprintf(script, sizeof script, "headers@%u continuation@%u continuation+eh@%u=82", 2 * blocks + 1, 2 * blocks + 1,
                 2 * blocks + 1);
    while (is_taken(&p, script) && ++blocks < 1000);
    assert_int_equal(blocks, 25);
    end(&p, "empty-frame-flood");
}

static void test_tokens_come_back(void **state) {
    struct peer p;
    (void)state;
    begin(&p, H2_CLIENT);
    assert_int_equal(count_taken(&p, "settings", 50), 50);
    for (int i = 0; i < 100; i++) {
        p.now += 100000; /* ten a second */
        assert_true(is_taken(&p, "settings"));
    }
    p.now += 3600 * UINT64_C(1000000); /* and never more than the burst */
    assert_int_equal(count_taken(&p, "settings", 1000), 50);
    end(&p, "settings-flood");
}

static void test_rapid_reset(void **state) {
    struct peer p;
    unsigned n = 0;
    char script[100];
    (void)state;
    begin(&p, H2_CLIENT);
    do
        snprintf(script, sizeof script, "headers+eh@%u=82 rst@%u=00000008", 2 * n + 1, 2 * n + 1);
    while (is_taken(&p, script) && ++n < 1000);
    assert_int_equal(n, limits.reset_burst);
    end(&p, "reset-flood");
}

/* A client whose streams end by its own deadlines, after the response has begun. */
static void test_resets_of_answered_streams_are_free(void **state) {
    struct peer p;
    char script[100];
    (void)state;
    begin(&p, H2_CLIENT);
    for (unsigned n = 0; n < 10000; n++) {
        snprintf(script, sizeof script, "headers+h@%u=82 data@%u*5", 2 * n + 1, 2 * n + 1);
        assert_true(is_taken(&p, script));
        h2_frames_sent(&p.f, H2_SENT_HEAD);
        h2_frames_sent(&p.f, H2_SENT_CONTENT);
        snprintf(script, sizeof script, "rst@%u=00000008", 2 * n + 1);
        assert_true(is_taken(&p, script));
    }
    end(&p, "");
}

static void test_caused_resets(void **state) {
    struct peer p;
    (void)state;
    begin(&p, H2_CLIENT);
    for (unsigned n = 0; n < limits.reset_burst; n++)
        assert_int_equal(h2_frames_reset_sent(&p.f, &limits, p.now), H2_FAULT_NONE);
    assert_int_equal(h2_frames_reset_sent(&p.f, &limits, p.now), H2_FAULT_RESETS_CAUSED);
    assert_int_equal(h2_fault_code(H2_FAULT_RESETS_CAUSED), 11);
    assert_false(is_taken(&p, "ping*8"));
    end(&p, "caused-reset-flood");
}

static void test_origins_may_reset(void **state) {
    struct peer p;
    char script[100];
    (void)state;
    begin(&p, H2_ORIGIN);
    for (unsigned n = 0; n < 1000; n++) {
        snprintf(script, sizeof script, "rst@%u=00000008", 2 * n + 1);
        assert_true(is_taken(&p, script));
    }
    end(&p, "");
}

/* Each DATA frame of ours is answered with two window updates and a PING: what a gRPC client does at most. */
static void test_bandwidth_probes_are_free(void **state) {
    struct peer p;
    (void)state;
    begin(&p, H2_CLIENT);
    assert_true(is_taken(&p, "settings+a headers+eh@1=82"));
    for (unsigned n = 0; n < 20000; n++) {
        h2_frames_sent(&p.f, H2_SENT_CONTENT);
        assert_true(is_taken(&p, "window@1=00004000 window=00004000 ping*8"));
    }
    assert_true(is_taken(&p, "ping+a*8"));
    end(&p, "");
}

/* A window opened by crumbs: what goes out earns nothing, and the caller says nothing of it. */
static void test_dribble(void **state) {
    struct peer p;
    (void)state;
    begin(&p, H2_CLIENT);
    assert_true(is_taken(&p, "headers+eh@1=82"));
    assert_int_equal(count_taken(&p, "window@1=00000001", 1000), 74);
    end(&p, "window-update-flood");
}

static void test_what_is_earned_has_a_bound(void **state) {
    struct peer p;
    (void)state;
    begin(&p, H2_CLIENT);
    for (unsigned n = 0; n < 100000; n++)
        h2_frames_sent(&p.f, H2_SENT_HEAD);
    assert_int_equal(count_taken(&p, "ping*8", 100000), 2000 + 50);
    end(&p, "ping-flood");
}

/* Frames of all kinds with ids near each other, well formed or not: cutting changes nothing. */
static void test_random_frames(void **state) {
    struct strbuf bytes = {0}, whole = {0}, pieces = {0};
    (void)state;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        enum h2_peer peer = round % 3 ? H2_CLIENT : H2_ORIGIN;
        strbuf_reset(&bytes);
        script_bytes(&bytes, peer == H2_CLIENT ? "preface settings" : "settings");
        for (int i = rand() % 12; i >= 0; i--) {
            static const uint8_t sizes[] = {0, 1, 4, 4, 5, 5, 6, 8, 12};
            uint8_t frame[9 + 12] = {0, 0, sizes[(size_t)rand() % sizeof sizes], (uint8_t)(rand() % 12),
                                     (uint8_t)rand() & 0x2d};
            frame[8] = (uint8_t)(rand() % 8);
            for (int k = 0; k < frame[2]; k++)
                frame[9 + k] = rand() % 2 ? 0 : (uint8_t)(rand() % 9);
            strbuf_add(&bytes, frame, 9u + frame[2]);
        }
        run(&whole, peer, &bytes, bytes.n);
        run(&pieces, peer, &bytes, 1);
        assert_string_equal(text_of(&pieces), text_of(&whole));
        run(&pieces, peer, &bytes, 0);
        assert_string_equal(text_of(&pieces), text_of(&whole));
    }
    strbuf_finish(&bytes);
    strbuf_finish(&whole);
    strbuf_finish(&pieces);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_for_clients),
        cmocka_unit_test(test_beginnings),
        cmocka_unit_test(test_preface_letter_by_letter),
        cmocka_unit_test(test_rules_for_origins),
        cmocka_unit_test(test_bytes_before_a_fault_pass),
        cmocka_unit_test(test_streams_within_the_window_are_told_apart),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_empty_frames),
        cmocka_unit_test(test_empty_parts_of_blocks),
        cmocka_unit_test(test_tokens_come_back),
        cmocka_unit_test(test_rapid_reset),
        cmocka_unit_test(test_resets_of_answered_streams_are_free),
        cmocka_unit_test(test_caused_resets),
        cmocka_unit_test(test_origins_may_reset),
        cmocka_unit_test(test_bandwidth_probes_are_free),
        cmocka_unit_test(test_dribble),
        cmocka_unit_test(test_what_is_earned_has_a_bound),
        cmocka_unit_test(test_random_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
