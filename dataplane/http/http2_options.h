/* http2_options.h — what a listener or a cluster allows of HTTP/2, with the defaults filled in (message Http2Options).
 *
 * Immutable after it was filled. Used by both sides: for a listener the peer is a client, for a cluster an origin. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/resources.pb-c.h"

/* What a peer may cost us. Each bound ends in ENHANCE_YOUR_CALM and a word for logs and metrics (codec/h2/frames.h). */
struct http2_limits {
    uint32_t max_frame_size;            /* of frames that we take, bytes; advertised */
    uint32_t resets_per_second;         /* streams that the peer resets or makes us reset, sustained */
    uint32_t reset_burst;
    uint32_t control_frames_per_second; /* frames that carry nothing of a message, sustained */
    uint32_t control_frame_burst;
    uint32_t continuation_frames;       /* of one header block */
    uint32_t block_bytes;               /* of one header block, as it is compressed */
};

struct http2_options {
    struct http2_limits limits;
    uint32_t max_concurrent_streams;
    uint32_t initial_stream_window, initial_connection_window; /* bytes */
    uint32_t header_table_size;         /* bytes */
    uint64_t ping_interval;             /* microseconds; 0: never */
    uint64_t settings_timeout;          /* microseconds; for the acknowledgement of ours */
    uint64_t header_bytes_held;         /* of heads and trailers that came, of all open streams of a connection */
    bool     extended_connect;          /* RFC 8441; listeners only */
};

/* message: NULL for the defaults. header_bytes: how large a head may be when it is read; a block is let through up to twice
 * that, so that a head that is only somewhat too large is answered with 431 on its own stream. */
void http2_options_init(struct http2_options *, const Headgate__Http2Options *message, uint64_t header_bytes);
