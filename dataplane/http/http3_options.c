#include "dataplane/http/http3_options.h"

static uint32_t block_bytes(uint64_t header_bytes) {
    return header_bytes < UINT32_MAX / 2 ? (uint32_t)header_bytes * 2 : UINT32_MAX;
}

void http3_options_init(struct http3_options *options, const Headgate__Http3Options *message, uint64_t header_bytes) {
    static const Headgate__Http3Options defaults = HEADGATE__HTTP3_OPTIONS__INIT;
    const Headgate__Http3Options *m = message ? message : &defaults;
    *options = (struct http3_options){
        .qpack_table_capacity = m->qpack_table_capacity,
        .qpack_blocked_streams = m->qpack_blocked_streams,
        .resets_per_second = m->resets_per_second,
        .reset_burst = m->reset_burst,
        .control_frames_per_second = m->control_frames_per_second,
        .control_frame_burst = m->control_frame_burst,
        .block_bytes = block_bytes(header_bytes),
        .header_bytes_held = m->header_bytes_held,
        .extended_connect = m->extended_connect,
    };
}
