#include "dataplane/http/http2_options.h"

static uint32_t block_bytes(uint64_t header_bytes) {
    return header_bytes < UINT32_MAX / 2 ? (uint32_t)header_bytes * 2 : UINT32_MAX;
}

void http2_options_init(struct http2_options *options, const Headgate__Http2Options *message, uint64_t header_bytes) {
    static const Headgate__Http2Options defaults = HEADGATE__HTTP2_OPTIONS__INIT;
    const Headgate__Http2Options *m = message ? message : &defaults;
    *options = (struct http2_options){
        .limits = {
            .max_frame_size = m->max_frame_size,
            .resets_per_second = m->resets_per_second,
            .reset_burst = m->reset_burst,
            .control_frames_per_second = m->control_frames_per_second,
            .control_frame_burst = m->control_frame_burst,
            .continuation_frames = m->continuation_frames,
            .block_bytes = block_bytes(header_bytes),
        },
        .max_concurrent_streams = m->max_concurrent_streams,
        .initial_stream_window = m->initial_stream_window,
        .initial_connection_window = m->initial_connection_window,
        .header_table_size = m->header_table_size,
        .ping_interval = m->ping_interval,
        .settings_timeout = m->settings_timeout,
        .header_bytes_held = m->header_bytes_held,
        .extended_connect = m->extended_connect,
    };
}
