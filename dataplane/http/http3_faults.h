/* http3_faults.h — what a peer of HTTP/3 can do wrong, for the checks that find it (codec/h3) and for what counts it. */
#pragma once

enum { H3_ON_CONNECTION, H3_ON_STREAM };

/* X(name, what ends, code, word for logs and metrics). Codes: RFC 9114 section 8.1, RFC 9204 section 6. */
#define H3_FAULTS(X) \
    X(NONE, H3_ON_STREAM, 0x100, "none") \
    X(FRAME_UNEXPECTED, H3_ON_CONNECTION, 0x105, "frame-unexpected") /* on this stream, or in this order */ \
    X(HTTP2_FRAME, H3_ON_CONNECTION, 0x105, "frame-of-http2") \
    X(FRAME_SIZE, H3_ON_CONNECTION, 0x106, "frame-size") \
    X(FRAME_CUT, H3_ON_CONNECTION, 0x106, "frame-cut-by-end") \
    X(STREAM_TWICE, H3_ON_CONNECTION, 0x103, "stream-opened-twice") \
    X(STREAM_KIND, H3_ON_CONNECTION, 0x103, "stream-of-wrong-kind") \
    X(CRITICAL_STREAM, H3_ON_CONNECTION, 0x104, "critical-stream-closed") \
    X(SETTINGS_MISSING, H3_ON_CONNECTION, 0x10a, "settings-missing") \
    X(SETTINGS_TWICE, H3_ON_CONNECTION, 0x105, "settings-twice") \
    X(SETTING_REPEATED, H3_ON_CONNECTION, 0x109, "setting-repeated") \
    X(SETTING_RESERVED, H3_ON_CONNECTION, 0x109, "setting-of-http2") \
    X(SETTING_VALUE, H3_ON_CONNECTION, 0x109, "setting-value") \
    X(GOAWAY_ID, H3_ON_CONNECTION, 0x108, "goaway-id") \
    X(PUSH_ID, H3_ON_CONNECTION, 0x108, "push-id") \
    X(PRIORITY_ID, H3_ON_CONNECTION, 0x108, "priority-update-id") \
    X(QPACK_SECTION, H3_ON_CONNECTION, 0x200, "field-section") \
    X(QPACK_BLOCKED, H3_ON_CONNECTION, 0x200, "too-many-blocked-streams") \
    X(QPACK_ENCODER, H3_ON_CONNECTION, 0x201, "encoder-stream") \
    X(QPACK_DECODER, H3_ON_CONNECTION, 0x202, "decoder-stream") \
    X(INCOMPLETE, H3_ON_STREAM, 0x10d, "request-incomplete") \
    X(SECTION_BYTES, H3_ON_CONNECTION, 0x107, "field-section-too-long") \
    X(SETTINGS_ENTRIES, H3_ON_CONNECTION, 0x107, "too-many-settings") \
    X(RESETS, H3_ON_CONNECTION, 0x107, "reset-flood") \
    X(RESETS_CAUSED, H3_ON_CONNECTION, 0x107, "caused-reset-flood") \
    X(PRIORITIES, H3_ON_CONNECTION, 0x107, "priority-flood") \
    X(EMPTY_FRAMES, H3_ON_CONNECTION, 0x107, "empty-frame-flood") \
    X(OTHER_FRAMES, H3_ON_CONNECTION, 0x107, "other-frame-flood") \
    X(OTHER_STREAMS, H3_ON_CONNECTION, 0x107, "other-stream-flood") \
    X(INSTRUCTIONS, H3_ON_CONNECTION, 0x107, "qpack-instruction-flood")

enum h3_fault {
#define X(name, scope, code, word) H3_FAULT_##name,
    H3_FAULTS(X)
#undef X
    H3_FAULT_COUNT
};
