#include "dataplane/codec/h3/frames.h"

#include <string.h>

#include "dataplane/core/token_bucket.h"

enum stage { TYPE, LENGTH, PAYLOAD };

/* As for HTTP/2: a head or content that we send earns what an honest peer says about it. */
enum { EARNED_BY_SENT = 20, EARNED_BY_STREAM = 4, EARNED_MAX = 20000, EARNED_RESETS_MAX = 1000 };

enum { SETTINGS_MAX = 32, SETTINGS_BYTES_MAX = SETTINGS_MAX * 2 * H3_NUMBER_MAX };

static const struct {
    const char *word;
    uint16_t    code;
    bool        is_on_connection;
} faults[H3_FAULT_COUNT] = {
#define X(name, scope, code, word) [H3_FAULT_##name] = {word, code, scope == H3_ON_CONNECTION},
    H3_FAULTS(X)
#undef X
};

const char *h3_fault_word(enum h3_fault fault) {
    return faults[fault].word;
}

uint64_t h3_fault_code(enum h3_fault fault) {
    return faults[fault].code;
}

bool h3_fault_ends_connection(enum h3_fault fault) {
    return faults[fault].is_on_connection;
}

bool h3_fault_is_flood(enum h3_fault fault) {
    return faults[fault].code == H3_EXCESSIVE_LOAD;
}

/* ---- numbers */

bool h3_number_read(struct h3_number *number, const uint8_t **at, const uint8_t *end) {
    while (*at < end) {
        uint8_t byte = *(*at)++;
        if (number->have == 0) {
            number->want = (uint8_t)(1 << (byte >> 6));
            number->value = byte & 0x3f;
        } else {
            number->value = number->value << 8 | byte;
        }
        if (++number->have == number->want) {
            number->have = 0;
            return true;
        }
    }
    return false;
}

size_t h3_number_size(uint64_t value) {
    return value < 1 << 6 ? 1 : value < 1 << 14 ? 2 : value < 1 << 30 ? 4 : 8;
}

size_t h3_number_write(uint8_t *to, uint64_t value) {
    static const uint8_t prefixes[] = {[1] = 0, [2] = 0x40, [4] = 0x80, [8] = 0xc0};
    size_t n = h3_number_size(value);
    for (size_t i = n; i-- > 0; value >>= 8)
        to[i] = (uint8_t)value;
    to[0] |= prefixes[n];
    return n;
}

/* ---- frames */

bool h3_frame_begin(struct h3_frame *f, const uint8_t **at, const uint8_t *end) {
    if (f->stage == TYPE) {
        if (!h3_number_read(&f->number, at, end))
            return false;
        f->type = f->number.value;
        f->stage = LENGTH;
    }
    if (!h3_number_read(&f->number, at, end))
        return false;
    f->left = f->number.value;
    f->stage = PAYLOAD;
    return true;
}

void h3_frame_pass(struct h3_frame *f, size_t n) {
    f->left -= n;
    if (f->left == 0)
        f->stage = TYPE;
}

bool h3_frame_is_unknown(uint64_t type) {
    switch (type) {
    case H3_DATA: case H3_HEADERS: case H3_CANCEL_PUSH: case H3_SETTINGS: case H3_PUSH_PROMISE: case H3_GOAWAY:
    case H3_MAX_PUSH_ID: case H3_PRIORITY_UPDATE: case H3_PRIORITY_UPDATE_PUSH:
        return false;
    default:
        return true;
    }
}

/* Frames of one number. */
static enum h3_fault check_number(uint64_t length) {
    return length >= 1 && length <= H3_NUMBER_MAX ? H3_FAULT_NONE : H3_FAULT_FRAME_SIZE;
}

static enum h3_fault check_on_control(uint64_t type, uint64_t length, enum h3_peer peer) {
    switch (type) {
    case H3_CANCEL_PUSH: case H3_GOAWAY:
        return check_number(length);
    case H3_MAX_PUSH_ID:
        return peer == H3_CLIENT ? check_number(length) : H3_FAULT_FRAME_UNEXPECTED;
    case H3_PRIORITY_UPDATE: case H3_PRIORITY_UPDATE_PUSH:
        if (peer != H3_CLIENT)
            return H3_FAULT_FRAME_UNEXPECTED;
        return length ? H3_FAULT_NONE : H3_FAULT_FRAME_SIZE;
    case H3_SETTINGS:
        return length <= SETTINGS_BYTES_MAX ? H3_FAULT_NONE : H3_FAULT_SETTINGS_ENTRIES;
    default: /* of messages */
        return H3_FAULT_FRAME_UNEXPECTED;
    }
}

/* A promise from an origin has an id that it was never allowed (RFC 9114 section 7.2.5). */
static enum h3_fault check_on_request(uint64_t type, enum h3_peer peer) {
    if (type == H3_DATA || type == H3_HEADERS)
        return H3_FAULT_NONE;
    return type == H3_PUSH_PROMISE && peer == H3_ORIGIN_SERVER ? H3_FAULT_PUSH_ID : H3_FAULT_FRAME_UNEXPECTED;
}

enum h3_fault h3_frame_check(uint64_t type, uint64_t length, enum h3_place place, enum h3_peer peer) {
    if (type == 0x2 || type == 0x6 || type == 0x8 || type == 0x9) /* RFC 9114 section 7.2.8 */
        return H3_FAULT_HTTP2_FRAME;
    if (h3_frame_is_unknown(type))
        return H3_FAULT_NONE;
    return place == H3_ON_CONTROL_STREAM ? check_on_control(type, length, peer) : check_on_request(type, peer);
}

/* ---- what a peer may cost */

enum h3_fault h3_spend(struct h3_costs *c, enum h3_fault fault, uint64_t now) {
    const struct http3_options *l = c->limits;
    bool is_granted = token_bucket_take(&c->control_full_at, now, l->control_frames_per_second, l->control_frame_burst, 1);
    return is_granted ? H3_FAULT_NONE : fault;
}

enum h3_fault h3_spend_earned(struct h3_costs *c, enum h3_fault fault, uint64_t now) {
    if (c->earned == 0)
        return h3_spend(c, fault, now);
    c->earned--;
    return H3_FAULT_NONE;
}

enum h3_fault h3_spend_reset(struct h3_costs *c, enum h3_fault fault, uint64_t now) {
    if (c->earned_resets) {
        c->earned_resets--;
        return H3_FAULT_NONE;
    }
    const struct http3_options *l = c->limits;
    bool is_granted = token_bucket_take(&c->resets_full_at, now, l->resets_per_second, l->reset_burst, 1);
    return is_granted ? H3_FAULT_NONE : fault;
}

void h3_earn(struct h3_costs *c, enum h3_earning what) {
    unsigned earned = c->earned + (what == H3_PEER_OPENED ? EARNED_BY_STREAM : EARNED_BY_SENT);
    c->earned = (uint16_t)(earned < EARNED_MAX ? earned : EARNED_MAX);
    if (what == H3_SENT_HEAD && c->earned_resets < EARNED_RESETS_MAX)
        c->earned_resets++;
}

/* ---- the control stream */

void h3_control_init(struct h3_control *c, enum h3_peer peer) {
    *c = (struct h3_control){.peer = peer, .settings.field_section_size = UINT64_MAX};
}

/* RFC 9114 section 7.2.4.1, RFC 9204 section 5, RFC 9220 section 3, RFC 9297 section 2.1.1. */
static enum h3_fault set(struct h3_control *c, uint64_t id, uint64_t value) {
    struct h3_settings *s = &c->settings;
    if (id == 0 || (id >= 0x2 && id <= 0x5))
        return H3_FAULT_SETTING_RESERVED;
    if (id < 64 && (c->settings_seen & UINT64_C(1) << id))
        return H3_FAULT_SETTING_REPEATED;
    if (id < 64)
        c->settings_seen |= UINT64_C(1) << id;
    switch (id) {
    case H3_SETTING_TABLE_CAPACITY: s->table_capacity = value; break;
    case H3_SETTING_FIELD_SECTION_SIZE: s->field_section_size = value; break;
    case H3_SETTING_BLOCKED_STREAMS: s->blocked_streams = value; break;
    case H3_SETTING_CONNECT_PROTOCOL: s->connect_protocol = value == 1; break;
    case H3_SETTING_DATAGRAM: s->datagram = value == 1; break;
    default: return H3_FAULT_NONE;
    }
    bool is_flag = id == H3_SETTING_CONNECT_PROTOCOL || id == H3_SETTING_DATAGRAM;
    return is_flag && value > 1 ? H3_FAULT_SETTING_VALUE : H3_FAULT_NONE;
}

/* Of the payload: at most up to its end. */
static const uint8_t *end_of_payload(const struct h3_control *c, const uint8_t *at, const uint8_t *end) {
    return c->frame.left < (uint64_t)(end - at) ? at + c->frame.left : end;
}

static enum h3_fault read_settings(struct h3_control *c, const uint8_t **at, const uint8_t *end) {
    while (h3_number_read(c->has_setting ? &c->number : &c->setting, at, end)) {
        c->has_setting = !c->has_setting;
        if (c->has_setting)
            continue;
        enum h3_fault fault = ++c->entries > SETTINGS_MAX ? H3_FAULT_SETTINGS_ENTRIES
                                                          : set(c, c->setting.value, c->number.value);
        if (fault)
            return fault;
    }
    return H3_FAULT_NONE;
}

static void read_value(struct h3_control *c, const uint8_t **at, const uint8_t *end) {
    size_t n = (size_t)(end - *at);
    if (n > sizeof c->value - c->have)
        c->is_long = true;
    if (!c->is_long) {
        memcpy(c->value + c->have, *at, n);
        c->have = (uint8_t)(c->have + n);
    }
    *at = end;
}

static enum h3_fault read_payload(struct h3_control *c, const uint8_t **at, const uint8_t *end) {
    if (h3_frame_is_unknown(c->frame.type)) {
        *at = end;
        return H3_FAULT_NONE;
    }
    if (c->frame.type == H3_SETTINGS)
        return read_settings(c, at, end);
    if (!c->has_id)
        c->has_id = h3_number_read(&c->number, at, end);
    if (*at < end && (c->frame.type == H3_PRIORITY_UPDATE || c->frame.type == H3_PRIORITY_UPDATE_PUSH))
        read_value(c, at, end);
    return *at < end ? H3_FAULT_FRAME_SIZE : H3_FAULT_NONE; /* more than the number */
}

/* A client may name streams of ours that it pushes to, which nobody has; an origin names a client's stream. */
static enum h3_fault end_goaway(struct h3_control *c, struct h3_news *ret) {
    uint64_t id = c->number.value;
    if (c->has_goaway && id > c->goaway)
        return H3_FAULT_GOAWAY_ID;
    if (c->peer == H3_ORIGIN_SERVER && id % 4 != 0)
        return H3_FAULT_GOAWAY_ID;
    c->has_goaway = true;
    c->goaway = id;
    *ret = (struct h3_news){.event = H3_EVENT_GOAWAY, .id = id};
    return H3_FAULT_NONE;
}

/* Nothing is ever promised here, so no push has an id that was used. */
static enum h3_fault end_push(struct h3_control *c) {
    uint64_t id = c->number.value;
    if (c->frame.type != H3_MAX_PUSH_ID)
        return H3_FAULT_PUSH_ID;
    if (c->has_max_push_id && id < c->max_push_id)
        return H3_FAULT_PUSH_ID;
    c->has_max_push_id = true;
    c->max_push_id = id;
    return H3_FAULT_NONE;
}

static enum h3_fault end_priority(struct h3_control *c, struct h3_news *ret) {
    if (c->number.value % 4 != 0)
        return H3_FAULT_PRIORITY_ID;
    if (!c->is_long)
        *ret = (struct h3_news){H3_EVENT_PRIORITY, c->number.value, {c->value, c->have}};
    return H3_FAULT_NONE;
}

/* Type: kept by the caller, as the frame is over. */
static enum h3_fault end_frame(struct h3_control *c, struct h3_news *ret) {
    uint64_t type = c->frame.type;
    if (h3_frame_is_unknown(type))
        return H3_FAULT_NONE;
    if (type == H3_SETTINGS) {
        c->has_settings = true;
        ret->event = H3_EVENT_SETTINGS;
        return c->setting.have || c->number.have || c->has_setting ? H3_FAULT_FRAME_SIZE : H3_FAULT_NONE;
    }
    if (!c->has_id)
        return H3_FAULT_FRAME_SIZE;
    if (type == H3_GOAWAY)
        return end_goaway(c, ret);
    return type == H3_PRIORITY_UPDATE ? end_priority(c, ret) : end_push(c);
}

static enum h3_fault begin_frame(struct h3_control *c, struct h3_costs *costs, uint64_t now) {
    uint64_t type = c->frame.type;
    if (!c->has_settings && type != H3_SETTINGS)
        return H3_FAULT_SETTINGS_MISSING;
    if (c->has_settings && type == H3_SETTINGS)
        return H3_FAULT_SETTINGS_TWICE;
    enum h3_fault fault = h3_frame_check(type, c->frame.left, H3_ON_CONTROL_STREAM, c->peer);
    c->has_id = c->has_setting = c->is_long = false;
    c->number = c->setting = (struct h3_number){0};
    c->have = 0;
    if (fault || type == H3_SETTINGS)
        return fault;
    if (type == H3_PRIORITY_UPDATE || type == H3_PRIORITY_UPDATE_PUSH)
        return h3_spend_earned(costs, H3_FAULT_PRIORITIES, now);
    return h3_spend(costs, H3_FAULT_OTHER_FRAMES, now);
}

enum h3_fault h3_control_read(struct h3_control *c, struct h3_costs *costs, const uint8_t **at, const uint8_t *end,
                              uint64_t now, struct h3_news *ret) {
    enum h3_fault fault = H3_FAULT_NONE;
    *ret = (struct h3_news){.event = H3_EVENT_NONE};
    while (!fault && ret->event == H3_EVENT_NONE) {
        if (!h3_frame_is_open(&c->frame)) {
            if (!h3_frame_begin(&c->frame, at, end))
                break;
            if ((fault = begin_frame(c, costs, now)))
                break;
        }
        const uint8_t *from = *at;
        if ((fault = read_payload(c, at, end_of_payload(c, *at, end))))
            break;
        h3_frame_pass(&c->frame, (size_t)(*at - from));
        if (h3_frame_is_open(&c->frame))
            break;
        fault = end_frame(c, ret);
    }
    return fault;
}

size_t h3_settings_write(uint8_t *to, const struct h3_settings *s, bool is_server) {
    uint8_t payload[H3_SETTINGS_ROOM];
    const uint64_t pairs[][2] = {
        {H3_SETTING_TABLE_CAPACITY, s->table_capacity},
        {H3_SETTING_BLOCKED_STREAMS, s->blocked_streams},
        {H3_SETTING_DATAGRAM, s->datagram},
        {H3_SETTING_FIELD_SECTION_SIZE, s->field_section_size},
        {H3_SETTING_CONNECT_PROTOCOL, s->connect_protocol},
    };
    size_t n = 0, count = is_server && s->connect_protocol ? 5 : 4;
    for (size_t i = 0; i < count; i++) {
        if (pairs[i][0] == H3_SETTING_FIELD_SECTION_SIZE && pairs[i][1] == UINT64_MAX)
            continue;
        n += h3_number_write(payload + n, pairs[i][0]);
        n += h3_number_write(payload + n, pairs[i][1]);
    }
    size_t head = h3_number_write(to, H3_SETTINGS);
    head += h3_number_write(to + head, n);
    memcpy(to + head, payload, n);
    return head + n;
}
