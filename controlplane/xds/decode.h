/* decode.h — messages of a management server from bytes, within bounds.
 *
 * protobuf-c follows nested messages as deep as they go and keeps a text only up to its first NUL, so both are looked at
 * before it sees the bytes. Thread: any, nothing is shared. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/str.h"
#include "proto/message.h"

enum {
    XDS_DEPTH_MAX = 64,     /* messages within messages */
    XDS_TOO_DEEP = -4,
    XDS_RESOURCE_MAX = 256 << 20,   /* bytes that a resource may take when it is decoded */
};

/* Decodes into arena memory, whose limit bounds what a small input can grow to. Texts are valid UTF-8 without NUL. The
 * message refers to nothing of `bytes`. Unknown fields are kept in it. Returns 0, MESSAGE_MALFORMED, MESSAGE_MEMORY,
 * MESSAGE_LARGE or XDS_TOO_DEEP. */
int xds_decode(const ProtobufCMessageDescriptor *type, struct arena *arena, struct str bytes,
               ProtobufCMessage **ret_message);

/* Why it failed, for people: "is not well-formed". Of a resource: MESSAGE_LARGE is told with XDS_RESOURCE_MAX. */
const char *xds_decode_reason(int status);
