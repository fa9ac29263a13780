#include "dataplane/codec/h2/frames.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#include "dataplane/core/token_bucket.h"

enum { HEAD_SIZE = 9, SETTING_SIZE = 6, PREFACE_SIZE = NGHTTP2_CLIENT_MAGIC_LEN, SETTINGS_MAX = 32 };

enum stage { PREFACE, HEAD, BEGINNING, REST, OVER }; /* of a frame: its head, what a rule looks at, what is passed over */

/* What a free frame takes of what was earned. A gRPC peer that measures bandwidth sends one PING and two WINDOW_UPDATEs for
 * each DATA frame that it receives, at most. */
enum { EARNED_BY_SENT = 20, EARNED_BY_STREAM = 4, EARNED_MAX = 20000, EARNED_RESETS_MAX = 1000, PING_PRICE = 10 };

/* A new window for every stream walks through all of them. */
enum { WINDOW_SETTING_COST = 16 };

static const struct {
    const char *word;
    uint32_t    code;
    bool        is_on_connection;
} faults[H2_FAULT_COUNT] = {
#define X(name, scope, code, word) [H2_FAULT_##name] = {word, NGHTTP2_##code, scope == H2_ON_CONNECTION},
    H2_FAULTS(X)
#undef X
};

const char *h2_fault_word(enum h2_fault fault) {
    return faults[fault].word;
}

uint32_t h2_fault_code(enum h2_fault fault) {
    return faults[fault].code;
}

bool h2_fault_ends_connection(enum h2_fault fault) {
    return faults[fault].is_on_connection;
}

/* What one call works on. */
struct check {
    struct h2_frames          *f;
    const struct http2_limits *limits;
    const uint8_t             *bytes;
    size_t                     n, at;
    uint64_t                   now;
};

static uint32_t number(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t stream_id(const uint8_t *p) {
    return number(p) & 0x7fffffff;
}

/* ---- what a peer may cost */

static enum h2_fault spend(struct check *c, enum h2_fault fault, uint32_t cost) {
    const struct http2_limits *l = c->limits;
    bool is_granted = token_bucket_take(&c->f->control_full_at, c->now, l->control_frames_per_second,
                                        l->control_frame_burst, cost);
    return is_granted ? H2_FAULT_NONE : fault;
}

/* One token, unless enough was earned. */
static enum h2_fault spend_earned(struct check *c, enum h2_fault fault, uint16_t price) {
    if (c->f->earned < price)
        return spend(c, fault, 1);
    c->f->earned -= price;
    return H2_FAULT_NONE;
}

static void earn(struct h2_frames *f, unsigned n) {
    f->earned = f->earned + n < EARNED_MAX ? (uint16_t)(f->earned + n) : EARNED_MAX;
}

static enum h2_fault spend_reset(struct h2_frames *f, const struct http2_limits *limits, uint64_t now, enum h2_fault fault) {
    if (f->earned_resets) {
        f->earned_resets--;
        return H2_FAULT_NONE;
    }
    bool is_granted = token_bucket_take(&f->resets_full_at, now, limits->resets_per_second, limits->reset_burst, 1);
    return is_granted ? H2_FAULT_NONE : fault;
}

void h2_frames_sent(struct h2_frames *f, enum h2_sent what) {
    earn(f, EARNED_BY_SENT);
    if (what == H2_SENT_HEAD && f->earned_resets < EARNED_RESETS_MAX)
        f->earned_resets++;
}

enum h2_fault h2_frames_reset_sent(struct h2_frames *f, const struct http2_limits *limits, uint64_t now) {
    enum h2_fault fault = spend_reset(f, limits, now, H2_FAULT_RESETS_CAUSED);
    if (fault && f->stage != OVER) {
        f->stage = OVER;
        f->fault = (uint8_t)fault;
    }
    return fault;
}

/* ---- streams, as the peer's own frames tell them */

enum state { SKIPPED, OPEN, ENDED, RESET, IDLE, FORGOTTEN }; /* two bits hold the first four */

enum { STATE_BITS = 2, STATES_IN_WORD = 64 / STATE_BITS };

static enum state held_state(const struct h2_frames *f, uint32_t id) {
    unsigned slot = id / 2 % H2_WATCHED_STREAMS;
    return (enum state)(f->streams[slot / STATES_IN_WORD] >> slot % STATES_IN_WORD * STATE_BITS & 3);
}

static void hold_state(struct h2_frames *f, uint32_t id, enum state state) {
    unsigned slot = id / 2 % H2_WATCHED_STREAMS, shift = slot % STATES_IN_WORD * STATE_BITS;
    uint64_t *word = &f->streams[slot / STATES_IN_WORD];
    *word = (*word & ~(UINT64_C(3) << shift)) | (uint64_t)state << shift;
}

/* An odd id above all others: those in between are never used (section 5.1.1). */
static void open_stream(struct h2_frames *f, uint32_t id) {
    uint32_t next = (f->last + 1) | 1;
    if (id - next >= 2 * H2_WATCHED_STREAMS)
        memset(f->streams, 0, sizeof f->streams);
    else
        for (; next < id; next += 2)
            hold_state(f, next, SKIPPED);
    f->last = id;
    hold_state(f, id, OPEN);
}

/* The state before the frame that is being looked at. An origin's streams are ours: it answers them in any order, and only
 * the library knows which were opened. */
static enum state use_stream(struct h2_frames *f) {
    if (f->id % 2 == 0)
        return IDLE;
    if (f->id > f->last) {
        if (!f->is_origin && f->type != NGHTTP2_HEADERS)
            return IDLE;
        open_stream(f, f->id);
        return OPEN;
    }
    if ((f->last - f->id) / 2 >= H2_WATCHED_STREAMS)
        return FORGOTTEN;
    enum state state = held_state(f, f->id);
    return state == SKIPPED && f->is_origin ? OPEN : state;
}

/* ---- rules about heads of frames; the type is one of RFC 9113 section 6 */

static bool has(const struct check *c, uint8_t flag) {
    return c->f->flags & flag;
}

/* DATA and HEADERS. */
static enum h2_fault use_message_stream(struct check *c) {
    struct h2_frames *f = c->f;
    switch (use_stream(f)) {
    case IDLE:
        return H2_FAULT_IDLE_STREAM;
    case SKIPPED:
        return f->type == NGHTTP2_HEADERS ? H2_FAULT_SKIPPED_STREAM : H2_FAULT_ENDED_STREAM;
    case ENDED:
        return H2_FAULT_ENDED_STREAM;
    case RESET:
        return H2_FAULT_RESET_STREAM;
    case OPEN:
        hold_state(f, f->id, has(c, NGHTTP2_FLAG_END_STREAM) ? ENDED : OPEN);
        return H2_FAULT_NONE;
    case FORGOTTEN:
        break;
    }
    return H2_FAULT_NONE;
}

static enum h2_fault head_of_data(struct check *c) {
    struct h2_frames *f = c->f;
    f->want = has(c, NGHTTP2_FLAG_PADDED) ? 1 : 0;
    if (f->left < f->want)
        return H2_FAULT_FRAME_SIZE;
    enum h2_fault fault = use_message_stream(c);
    if (!fault && f->left == 0 && !has(c, NGHTTP2_FLAG_END_STREAM))
        return spend(c, H2_FAULT_EMPTY_FRAMES, 1);
    return fault;
}

/* A part of a header block, that of HEADERS included. */
static enum h2_fault count_block(struct check *c) {
    struct h2_frames *f = c->f;
    f->block_bytes += f->left;
    if (f->block_bytes > c->limits->block_bytes)
        return H2_FAULT_BLOCK_BYTES;
    if (has(c, NGHTTP2_FLAG_END_HEADERS)) {
        f->block_id = 0;
        return H2_FAULT_NONE;
    }
    return f->left ? H2_FAULT_NONE : spend(c, H2_FAULT_EMPTY_FRAMES, 1);
}

static enum h2_fault head_of_headers(struct check *c) {
    struct h2_frames *f = c->f;
    uint32_t last = f->last;
    f->want = (uint8_t)((has(c, NGHTTP2_FLAG_PADDED) ? 1 : 0) + (has(c, NGHTTP2_FLAG_PRIORITY) ? 5 : 0));
    if (f->left < f->want)
        return H2_FAULT_FRAME_SIZE;
    enum h2_fault of_stream = use_message_stream(c);
    if (of_stream && h2_fault_ends_connection(of_stream))
        return of_stream;
    if (f->last > last)
        earn(f, EARNED_BY_STREAM);
    else if (!of_stream && !f->is_origin && !has(c, NGHTTP2_FLAG_END_STREAM))
        of_stream = H2_FAULT_OPEN_TRAILERS;
    f->block_id = f->id;
    f->block_bytes = 0;
    f->block_frames = 0;
    enum h2_fault of_block = count_block(c);
    return of_block ? of_block : of_stream;
}

static enum h2_fault head_of_continuation(struct check *c) {
    struct h2_frames *f = c->f;
    if (f->type != NGHTTP2_CONTINUATION || f->id != f->block_id)
        return H2_FAULT_BLOCK_BROKEN;
    if (++f->block_frames > c->limits->continuation_frames)
        return H2_FAULT_BLOCK_FRAMES;
    return count_block(c);
}

static enum h2_fault head_of_priority(struct check *c) {
    c->f->want = 4;
    return spend_earned(c, H2_FAULT_PRIORITIES, 1);
}

static enum h2_fault head_of_rst_stream(struct check *c) {
    struct h2_frames *f = c->f;
    switch (use_stream(f)) {
    case IDLE:
        return H2_FAULT_IDLE_STREAM;
    case OPEN:
        hold_state(f, f->id, RESET);
        break;
    case SKIPPED:
    case ENDED:
    case RESET:
    case FORGOTTEN:
        break;
    }
    return f->is_origin ? H2_FAULT_NONE : spend_reset(f, c->limits, c->now, H2_FAULT_RESETS);
}

static enum h2_fault head_of_settings(struct check *c) {
    struct h2_frames *f = c->f;
    if (has(c, NGHTTP2_FLAG_ACK))
        return f->left ? H2_FAULT_FRAME_SIZE : spend_earned(c, H2_FAULT_SETTINGS, 1);
    if (f->left % SETTING_SIZE)
        return H2_FAULT_FRAME_SIZE;
    if (f->left > SETTINGS_MAX * SETTING_SIZE)
        return H2_FAULT_SETTINGS_ENTRIES;
    f->want = f->left ? SETTING_SIZE : 0;
    return f->begun == 1 ? H2_FAULT_NONE : spend(c, H2_FAULT_SETTINGS, 1);
}

static enum h2_fault head_of_push_promise(struct check *c) {
    (void)c;
    return H2_FAULT_PUSH; /* clients never push, and origins are told not to */
}

static enum h2_fault head_of_ping(struct check *c) {
    return spend_earned(c, H2_FAULT_PINGS, PING_PRICE);
}

static enum h2_fault head_of_goaway(struct check *c) {
    return spend(c, H2_FAULT_OTHER_FRAMES, 1);
}

static enum h2_fault head_of_window_update(struct check *c) {
    if (c->f->id != 0 && use_stream(c->f) == IDLE)
        return H2_FAULT_IDLE_STREAM;
    c->f->want = 4;
    return spend_earned(c, H2_FAULT_WINDOW_UPDATES, 1);
}

static enum h2_fault head_of_stray_continuation(struct check *c) {
    (void)c;
    return H2_FAULT_NO_BLOCK;
}

/* RFC 9218 section 7.1. */
static enum h2_fault head_of_priority_update(struct check *c) {
    if (c->f->is_origin)
        return H2_FAULT_PRIORITY_UPDATE;
    return head_of_priority(c);
}

enum belongs { TO_STREAM, TO_CONNECTION, TO_EITHER };

static const struct rule {
    enum h2_fault (*head)(struct check *);
    enum belongs belongs;
    uint32_t     least, most; /* bytes of payload; a `most` of 0: the limit of all frames */
} rules[] = {
    [NGHTTP2_DATA] = {head_of_data, TO_STREAM, 0, 0},
    [NGHTTP2_HEADERS] = {head_of_headers, TO_STREAM, 0, 0},
    [NGHTTP2_PRIORITY] = {head_of_priority, TO_STREAM, 5, 5},
    [NGHTTP2_RST_STREAM] = {head_of_rst_stream, TO_STREAM, 4, 4},
    [NGHTTP2_SETTINGS] = {head_of_settings, TO_CONNECTION, 0, 0},
    [NGHTTP2_PUSH_PROMISE] = {head_of_push_promise, TO_EITHER, 0, 0},
    [NGHTTP2_PING] = {head_of_ping, TO_CONNECTION, 8, 8},
    [NGHTTP2_GOAWAY] = {head_of_goaway, TO_CONNECTION, 8, 0},
    [NGHTTP2_WINDOW_UPDATE] = {head_of_window_update, TO_EITHER, 4, 4},
    [NGHTTP2_CONTINUATION] = {head_of_stray_continuation, TO_EITHER, 0, 0},
    [NGHTTP2_PRIORITY_UPDATE] = {head_of_priority_update, TO_CONNECTION, 4, 0},
};

static enum h2_fault check_head(struct check *c) {
    struct h2_frames *f = c->f;
    if (f->left > c->limits->max_frame_size)
        return H2_FAULT_FRAME_SIZE;
    if (f->block_id)
        return head_of_continuation(c);
    if (f->begun < 2 && f->begun++ == 0 && (f->type != NGHTTP2_SETTINGS || has(c, NGHTTP2_FLAG_ACK)))
        return H2_FAULT_NO_SETTINGS;
    const struct rule *rule = f->type < sizeof rules / sizeof *rules ? &rules[f->type] : NULL;
    if (!rule || !rule->head)
        return spend(c, H2_FAULT_OTHER_FRAMES, 1); /* section 4.1: ignored */
    if (rule->belongs != TO_EITHER && (f->id == 0) != (rule->belongs == TO_CONNECTION))
        return H2_FAULT_WRONG_STREAM;
    if (f->left < rule->least || (rule->most && f->left > rule->most))
        return H2_FAULT_FRAME_SIZE;
    return rule->head(c);
}

/* ---- rules about the first bytes of payloads */

static enum h2_fault begin_data(struct check *c, const uint8_t *p) {
    if (p[0] > c->f->left)
        return H2_FAULT_PADDING;
    bool is_empty = p[0] == c->f->left && !has(c, NGHTTP2_FLAG_END_STREAM);
    return is_empty ? spend(c, H2_FAULT_EMPTY_FRAMES, 1) : H2_FAULT_NONE;
}

static enum h2_fault begin_headers(struct check *c, const uint8_t *p) {
    struct h2_frames *f = c->f;
    uint8_t padding = has(c, NGHTTP2_FLAG_PADDED) ? *p++ : 0;
    if (padding > f->left)
        return H2_FAULT_PADDING;
    if (has(c, NGHTTP2_FLAG_PRIORITY) && stream_id(p) == f->id)
        return H2_FAULT_OWN_PARENT_IDLE;
    bool is_empty = padding == f->left && !has(c, NGHTTP2_FLAG_END_HEADERS);
    return is_empty ? spend(c, H2_FAULT_EMPTY_FRAMES, 1) : H2_FAULT_NONE;
}

/* RFC 7540 section 5.3.1: a stream error, but there is no RST_STREAM for an idle stream. */
static enum h2_fault begin_priority(struct check *c, const uint8_t *p) {
    if (stream_id(p) != c->f->id)
        return H2_FAULT_NONE;
    bool is_idle = c->f->id % 2 == 0 || c->f->id > c->f->last;
    return is_idle ? H2_FAULT_OWN_PARENT_IDLE : H2_FAULT_OWN_PARENT;
}

/* Sections 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1. */
static enum h2_fault begin_setting(struct check *c, const uint8_t *p) {
    struct h2_frames *f = c->f;
    uint32_t value = number(p + 2);
    bool is_wrong = false;
    switch (p[0] << 8 | p[1]) {
    case NGHTTP2_SETTINGS_ENABLE_PUSH:
        is_wrong = value > !f->is_origin;
        break;
    case NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > NGHTTP2_MAX_WINDOW_SIZE)
            return H2_FAULT_SETTINGS_WINDOW;
        return f->begun == 1 ? H2_FAULT_NONE : spend(c, H2_FAULT_SETTINGS, WINDOW_SETTING_COST);
    case NGHTTP2_SETTINGS_MAX_FRAME_SIZE:
        is_wrong = value < 0x4000 || value > 0xffffff;
        break;
    case NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL:
        is_wrong = value > 1 || value < f->has_connect;
        f->has_connect = value == 1;
        break;
    case NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES:
        is_wrong = value > 1;
        break;
    }
    return is_wrong ? H2_FAULT_SETTINGS_VALUE : H2_FAULT_NONE;
}

static enum h2_fault begin_payload(struct check *c, const uint8_t *p) {
    switch (c->f->type) {
    case NGHTTP2_DATA:
        return begin_data(c, p);
    case NGHTTP2_HEADERS:
        return begin_headers(c, p);
    case NGHTTP2_PRIORITY:
        return begin_priority(c, p);
    case NGHTTP2_SETTINGS:
        return begin_setting(c, p);
    case NGHTTP2_WINDOW_UPDATE:
        return stream_id(p) ? H2_FAULT_NONE : H2_FAULT_NO_INCREMENT;
    default: /* PRIORITY_UPDATE: of a request's stream; nothing was promised */
        return stream_id(p) % 2 ? H2_FAULT_NONE : H2_FAULT_PRIORITY_UPDATE;
    }
}

/* ---- walking */

/* The next `need` bytes, when they have all come. */
static const uint8_t *gather(struct check *c, size_t need) {
    struct h2_frames *f = c->f;
    const uint8_t *p = c->bytes + c->at;
    size_t n = c->n - c->at < need - f->have ? c->n - c->at : need - f->have;
    c->at += n;
    if (n == need)
        return p;
    memcpy(f->bytes + f->have, p, n);
    f->have = (uint8_t)(f->have + n);
    if (f->have < need)
        return NULL;
    f->have = 0;
    return f->bytes;
}

static enum h2_fault walk_preface(struct check *c) {
    struct h2_frames *f = c->f;
    size_t n = c->n - c->at, left = PREFACE_SIZE - (size_t)f->preface;
    n = n < left ? n : left;
    if (memcmp(c->bytes + c->at, &NGHTTP2_CLIENT_MAGIC[f->preface], n) != 0)
        return H2_FAULT_PREFACE;
    c->at += n;
    f->preface = (uint8_t)(f->preface + n);
    if (f->preface == PREFACE_SIZE)
        f->stage = HEAD;
    return H2_FAULT_NONE;
}

static enum h2_fault walk_head(struct check *c) {
    struct h2_frames *f = c->f;
    const uint8_t *p = gather(c, HEAD_SIZE);
    if (!p)
        return H2_FAULT_NONE;
    f->left = number(p) >> 8;
    f->type = p[3];
    f->flags = p[4];
    f->id = stream_id(p + 5);
    f->want = 0;
    enum h2_fault fault = check_head(c);
    f->stage = f->want ? BEGINNING : f->left ? REST : HEAD;
    return fault;
}

static enum h2_fault walk_beginning(struct check *c) {
    struct h2_frames *f = c->f;
    const uint8_t *p = gather(c, f->want);
    if (!p)
        return H2_FAULT_NONE;
    f->left -= f->want;
    enum h2_fault fault = begin_payload(c, p);
    if (f->left == 0)
        f->stage = HEAD;
    else if (f->type != NGHTTP2_SETTINGS)
        f->stage = REST;
    return fault;
}

static enum h2_fault walk_rest(struct check *c) {
    struct h2_frames *f = c->f;
    size_t n = c->n - c->at < f->left ? c->n - c->at : f->left;
    c->at += n;
    f->left -= (uint32_t)n;
    if (f->left == 0)
        f->stage = HEAD;
    return H2_FAULT_NONE;
}

static enum h2_fault walk(struct check *c) {
    switch ((enum stage)c->f->stage) {
    case PREFACE:
        return walk_preface(c);
    case HEAD:
        return walk_head(c);
    case BEGINNING:
        return walk_beginning(c);
    case REST:
        return walk_rest(c);
    case OVER:
        break;
    }
    return (enum h2_fault)c->f->fault;
}

void h2_frames_init(struct h2_frames *f, enum h2_peer peer) {
    *f = (struct h2_frames){.stage = peer == H2_CLIENT ? PREFACE : HEAD, .is_origin = peer == H2_ORIGIN,
                            .earned = EARNED_BY_SENT};
}

size_t h2_frames_check(struct h2_frames *f, const struct http2_limits *limits, const void *bytes, size_t n, uint64_t now,
                       struct h2_verdict *ret_verdict) {
    struct check c = {.f = f, .limits = limits, .bytes = bytes, .n = n, .now = now};
    enum h2_fault fault = H2_FAULT_NONE;
    size_t frame = 0; /* where the frame begins that is being looked at; 0 too when that was in an earlier piece */
    while (c.at < n && !fault) {
        if (f->stage == HEAD && f->have == 0)
            frame = c.at;
        fault = walk(&c);
    }
    *ret_verdict = (struct h2_verdict){.fault = fault, .stream = f->id};
    if (!fault || !h2_fault_ends_connection(fault))
        return c.at;
    f->stage = OVER;
    f->fault = (uint8_t)fault;
    return frame;
}
