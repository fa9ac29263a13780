/* frame.h — one message in a file, so that any change to its bytes is seen.
 *
 *   "HGS", type (1 byte) | size of the payload, 4 bytes big-endian | payload | SHA-256 of all before
 *
 * Thread: any, nothing is shared. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/str.h"
#include "proto/message.h"
#include "proto/resource.h"

enum frame_type { FRAME_HEAD = 'H', FRAME_RECORD = 'R', FRAME_MANIFEST = 'M', FRAME_LAYERS = 'L', FRAME_STATE = 'S' };

enum {
    FRAME_START_SIZE = 8,
    FRAME_EXTRA = FRAME_START_SIZE + RESOURCE_ID_SIZE, /* what a frame adds to its payload */
};

/* The message as a frame in arena memory; `*ret_hash` is the hash in it. Returns 0 or -1 (memory, or over 4
 * GiB). */
int frame_encode(struct arena *arena, enum frame_type type, const ProtobufCMessage *m, struct str *ret_frame,
                 struct resource_id *ret_hash);

struct frame {
    struct str         payload;
    size_t             size; /* of the whole frame */
    struct resource_id hash;
};

/* Finds the frame at the start of `bytes` and checks its hash; more may follow it. Returns 0 or -1 (cut
 * short, another type, hash differs). The views point into `bytes`. */
int frame_check(enum frame_type type, struct str bytes, struct frame *ret_frame);

/* frame_check, and decodes the payload, strictly, into arena memory. Returns 0, MESSAGE_MALFORMED or
 * MESSAGE_MEMORY. */
int frame_decode(enum frame_type type, struct str bytes, const ProtobufCMessageDescriptor *descriptor,
                 struct arena *arena, struct frame *ret_frame, ProtobufCMessage **ret_message);
