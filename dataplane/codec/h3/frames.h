/* frames.h — what a peer's HTTP/3 streams consist of (RFC 9114 section 7): heads of frames, the control stream, what is
 * allowed where, and the count of what it costs.
 *
 * Nothing here knows of a connection: pure functions of bytes, cut anywhere. Limits go by a time that the caller passes. No
 * heap, no I/O, no clock. Thread: one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"
#include "dataplane/http/http3_faults.h"
#include "dataplane/http/http3_options.h"

/* RFC 9114 section 8.1. */
enum h3_code {
    H3_NO_ERROR = 0x100,
    H3_GENERAL_PROTOCOL_ERROR = 0x101,
    H3_INTERNAL_ERROR = 0x102,
    H3_STREAM_CREATION_ERROR = 0x103,
    H3_REQUEST_REJECTED = 0x10b,
    H3_REQUEST_CANCELLED = 0x10c,
    H3_REQUEST_INCOMPLETE = 0x10d,
    H3_MESSAGE_ERROR = 0x10e,
    H3_EXCESSIVE_LOAD = 0x107,
    H3_CONNECT_ERROR = 0x10f,
};

const char *h3_fault_word(enum h3_fault fault);     /* static: "reset-flood" */
uint64_t    h3_fault_code(enum h3_fault fault);
bool        h3_fault_ends_connection(enum h3_fault fault);
bool        h3_fault_is_flood(enum h3_fault fault);

/* Types of frames and of unidirectional streams, RFC 9114 section 11.2, RFC 9218 section 7, RFC 9204 section 4.2. */
enum {
    H3_DATA = 0x0,
    H3_HEADERS = 0x1,
    H3_CANCEL_PUSH = 0x3,
    H3_SETTINGS = 0x4,
    H3_PUSH_PROMISE = 0x5,
    H3_GOAWAY = 0x7,
    H3_ORIGIN = 0xc,
    H3_MAX_PUSH_ID = 0xd,
    H3_PRIORITY_UPDATE = 0xf0700,
    H3_PRIORITY_UPDATE_PUSH = 0xf0701,
};
enum { H3_STREAM_CONTROL = 0x0, H3_STREAM_PUSH = 0x1, H3_STREAM_ENCODER = 0x2, H3_STREAM_DECODER = 0x3 };
enum {
    H3_SETTING_TABLE_CAPACITY = 0x1,
    H3_SETTING_FIELD_SECTION_SIZE = 0x6,
    H3_SETTING_BLOCKED_STREAMS = 0x7,
    H3_SETTING_CONNECT_PROTOCOL = 0x8,
    H3_SETTING_DATAGRAM = 0x33,
};

/* ---- numbers of variable length (RFC 9000 section 16) */

enum { H3_NUMBER_MAX = 8 };

/* One that comes in pieces. Zeroed: nothing has come. */
struct h3_number {
    uint64_t value;
    uint8_t  have, want;
};

/* True: it is complete and *at is behind it; the next call begins another one. False: all bytes are taken. */
bool   h3_number_read(struct h3_number *, const uint8_t **at, const uint8_t *end);
/* Writes the shortest form, at most H3_NUMBER_MAX bytes, and returns how many. */
size_t h3_number_write(uint8_t *to, uint64_t value);
size_t h3_number_size(uint64_t value);

/* ---- frames */

/* Where in its frames a stream is. Zeroed: in front of the first one. */
struct h3_frame {
    struct h3_number number;
    uint64_t         type, left;           /* of the frame that has begun; left: payload still to come */
    uint8_t          stage;
};

/* In front of a frame: true when its type and length have come. */
bool h3_frame_begin(struct h3_frame *, const uint8_t **at, const uint8_t *end);
static inline bool h3_frame_is_open(const struct h3_frame *f) {   /* its payload is coming */
    return f->stage == 2;
}
static inline bool h3_frame_is_cut(const struct h3_frame *f) {    /* the stream must not end here */
    return f->stage || f->number.have;
}
/* n bytes of the payload have come; with the last one the frame is over. */
void h3_frame_pass(struct h3_frame *, size_t n);

/* Who speaks, and on what. */
enum h3_peer { H3_CLIENT, H3_ORIGIN_SERVER };
enum h3_place { H3_ON_REQUEST_STREAM, H3_ON_CONTROL_STREAM };

/* Whether a frame with this head may be there at all. */
enum h3_fault h3_frame_check(uint64_t type, uint64_t length, enum h3_place, enum h3_peer);
/* Of a type that means nothing to us. */
bool h3_frame_is_unknown(uint64_t type);

/* ---- what a peer may cost: two buckets, and what may come in answer to ours (as codec/h2/frames.h has them) */

struct h3_costs {
    const struct http3_options *limits;    /* as long as this */
    uint64_t resets_full_at, control_full_at; /* core/token_bucket.h */
    uint16_t earned, earned_resets;        /* what may come without a token */
};

/* One thing of no use has come: `fault`, when the bucket is empty. */
enum h3_fault h3_spend(struct h3_costs *, enum h3_fault fault, uint64_t now);
/* The same, unless enough was earned. */
enum h3_fault h3_spend_earned(struct h3_costs *, enum h3_fault fault, uint64_t now);
/* A stream ended early by the peer (RESETS), or by us for its fault (RESETS_CAUSED). */
enum h3_fault h3_spend_reset(struct h3_costs *, enum h3_fault fault, uint64_t now);
enum h3_earning { H3_SENT_HEAD, H3_PEER_OPENED };
void h3_earn(struct h3_costs *, enum h3_earning);

/* ---- the control stream, behind its type */

struct h3_settings {
    uint64_t table_capacity, blocked_streams;
    uint64_t field_section_size;           /* UINT64_MAX: not limited */
    bool     connect_protocol, datagram;
};

enum h3_event { H3_EVENT_NONE, H3_EVENT_SETTINGS, H3_EVENT_GOAWAY, H3_EVENT_PRIORITY };

enum { H3_CONTROL_KEPT = 64 };             /* of a payload; a Priority value that is longer is not looked at */

struct h3_control {
    enum h3_peer       peer;
    struct h3_frame    frame;
    struct h3_number   number, setting;    /* of the payload */
    struct h3_settings settings;           /* whole once has_settings */
    uint64_t           settings_seen;      /* bits of those that we know */
    uint64_t           goaway;             /* the lowest id that was said */
    uint64_t           max_push_id;
    uint32_t           entries;            /* of SETTINGS */
    bool               has_settings, has_goaway, has_max_push_id;
    bool               has_id, has_setting; /* within a payload */
    bool               is_long;            /* the value is not kept */
    uint8_t            have;
    char               value[H3_CONTROL_KEPT];
};

struct h3_news {
    enum h3_event event;
    uint64_t      id;                      /* of the stream that GOAWAY or PRIORITY_UPDATE names */
    struct str    value;                   /* of PRIORITY_UPDATE; until the next call */
};

void h3_control_init(struct h3_control *, enum h3_peer);
/* Reads up to the next thing that matters, or to the end of the bytes (then H3_EVENT_NONE). A fault ends the connection. */
enum h3_fault h3_control_read(struct h3_control *, struct h3_costs *, const uint8_t **at, const uint8_t *end, uint64_t now,
                              struct h3_news *ret);
/* Our SETTINGS, with the head of the frame; at most H3_SETTINGS_ROOM bytes. */
enum { H3_SETTINGS_ROOM = 128 };
size_t h3_settings_write(uint8_t *to, const struct h3_settings *, bool is_server);
