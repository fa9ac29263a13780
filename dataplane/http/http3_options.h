/* http3_options.h — what a listener or a cluster allows of HTTP/3, with the defaults filled in (message Http3Options).
 *
 * Immutable after it was filled. Used by both sides: for a listener the peer is a client, for a cluster an origin. Windows
 * and the number of streams are the transport's (quic/options.h), although users write them beside these. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/resources.pb-c.h"

struct http3_options {
    uint32_t qpack_table_capacity;      /* bytes; of the peer's encoder, and at most of ours */
    uint32_t qpack_blocked_streams;
    uint32_t resets_per_second;         /* streams that the peer resets or makes us reset, sustained */
    uint32_t reset_burst;
    uint32_t control_frames_per_second; /* frames without a use for a request, sustained */
    uint32_t control_frame_burst;
    uint32_t block_bytes;               /* of one field section, as it is compressed */
    uint64_t header_bytes_held;         /* of heads and trailers that came, of all open streams of a connection */
    bool     extended_connect;          /* RFC 9220; listeners only */
};

/* message: NULL for the defaults. header_bytes: how large a head may be when it is read, as for http2_options_init. */
void http3_options_init(struct http3_options *, const Headgate__Http3Options *message, uint64_t header_bytes);
