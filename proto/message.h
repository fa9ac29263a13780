/* message.h — decoding protobuf messages with memory that a test can make fail. Thread: any, nothing is
 * shared. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/str.h"

enum {
    MESSAGE_MALFORMED = -1,
    MESSAGE_MEMORY = -2,
    MESSAGE_LARGE = -3,     /* it takes more than the limit of the arena, whatever memory there is */
};

/* Decodes into arena memory; with `arena` NULL into the heap, to be freed with
 * protobuf_c_message_free_unpacked(m, NULL). Unknown fields are kept in the message (message_check_known of
 * proto/resource.h finds them). Returns 0, MESSAGE_MALFORMED, MESSAGE_MEMORY or MESSAGE_LARGE. */
int message_unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena, struct str bytes,
                   ProtobufCMessage **ret_message);
