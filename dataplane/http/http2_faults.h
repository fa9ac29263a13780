/* http2_faults.h — what a peer of HTTP/2 can do wrong, for the check that finds it (codec/h2/frames.h) and for what counts
 * it. */
#pragma once

enum { H2_ON_CONNECTION, H2_ON_STREAM };

/* X(name, what ends, code of GOAWAY or RST_STREAM, word for logs and metrics). Codes: RFC 9113 section 7. */
#define H2_FAULTS(X) \
    X(NONE, H2_ON_STREAM, NO_ERROR, "none") \
    X(PREFACE, H2_ON_CONNECTION, PROTOCOL_ERROR, "preface") \
    X(NO_SETTINGS, H2_ON_CONNECTION, PROTOCOL_ERROR, "settings-missing") \
    X(FRAME_SIZE, H2_ON_CONNECTION, FRAME_SIZE_ERROR, "frame-size") \
    X(PADDING, H2_ON_CONNECTION, PROTOCOL_ERROR, "padding") \
    X(WRONG_STREAM, H2_ON_CONNECTION, PROTOCOL_ERROR, "frame-on-wrong-stream") \
    X(IDLE_STREAM, H2_ON_CONNECTION, PROTOCOL_ERROR, "frame-on-idle-stream") \
    X(SKIPPED_STREAM, H2_ON_CONNECTION, PROTOCOL_ERROR, "stream-id-not-above-last") \
    X(ENDED_STREAM, H2_ON_CONNECTION, STREAM_CLOSED, "frame-after-end-of-stream") \
    X(RESET_STREAM, H2_ON_STREAM, STREAM_CLOSED, "frame-after-reset") \
    X(OPEN_TRAILERS, H2_ON_STREAM, PROTOCOL_ERROR, "trailers-without-end-of-stream") \
    X(BLOCK_BROKEN, H2_ON_CONNECTION, PROTOCOL_ERROR, "header-block-interrupted") \
    X(NO_BLOCK, H2_ON_CONNECTION, PROTOCOL_ERROR, "continuation-without-headers") \
    X(OWN_PARENT, H2_ON_STREAM, PROTOCOL_ERROR, "priority-on-itself") \
    X(OWN_PARENT_IDLE, H2_ON_CONNECTION, PROTOCOL_ERROR, "priority-on-itself-idle") \
    X(PRIORITY_UPDATE, H2_ON_CONNECTION, PROTOCOL_ERROR, "priority-update") \
    X(PUSH, H2_ON_CONNECTION, PROTOCOL_ERROR, "push-promise") \
    X(SETTINGS_VALUE, H2_ON_CONNECTION, PROTOCOL_ERROR, "settings-value") \
    X(SETTINGS_WINDOW, H2_ON_CONNECTION, FLOW_CONTROL_ERROR, "settings-window") \
    X(STREAM_WINDOW, H2_ON_CONNECTION, FLOW_CONTROL_ERROR, "stream-window") /* the library's to find */ \
    X(NO_INCREMENT, H2_ON_CONNECTION, PROTOCOL_ERROR, "window-update-of-zero") \
    X(BLOCK_FRAMES, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "too-many-continuations") \
    X(BLOCK_BYTES, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "header-block-too-long") \
    X(SETTINGS_ENTRIES, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "too-many-settings") \
    X(RESETS, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "reset-flood") \
    X(RESETS_CAUSED, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "caused-reset-flood") \
    X(SETTINGS, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "settings-flood") \
    X(PINGS, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "ping-flood") \
    X(ANSWERS, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "answer-flood") /* PING and SETTINGS, faster than answers leave */ \
    X(PRIORITIES, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "priority-flood") \
    X(WINDOW_UPDATES, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "window-update-flood") \
    X(EMPTY_FRAMES, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "empty-frame-flood") \
    X(OTHER_FRAMES, H2_ON_CONNECTION, ENHANCE_YOUR_CALM, "other-frame-flood") \
    X(SETTINGS_TIMEOUT, H2_ON_CONNECTION, SETTINGS_TIMEOUT, "settings-timeout") /* not acknowledged */ \
    X(LIBRARY, H2_ON_CONNECTION, PROTOCOL_ERROR, "other") /* the library's, with its code: HPACK, too many streams, ... */

enum h2_fault {
#define X(name, scope, code, word) H2_FAULT_##name,
    H2_FAULTS(X)
#undef X
    H2_FAULT_COUNT
};
