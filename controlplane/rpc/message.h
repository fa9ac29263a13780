/* message.h — protobuf-c messages in and out of gRPC's byte buffers. Thread: any. */
#pragma once

#include <grpc/byte_buffer.h>
#include <grpc/compression.h>
#include <protobuf-c/protobuf-c.h>

/* The bounds of messages are for what comes on the wire, so nothing may come compressed: a call with such a message ends
 * with UNIMPLEMENTED. GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET. */
enum { RPC_UNCOMPRESSED = 1 << GRPC_COMPRESS_NONE };

/* Encodes; the caller destroys the buffer (grpc_byte_buffer_destroy). NULL without memory. */
grpc_byte_buffer *rpc_message_pack(const ProtobufCMessage *m);
/* Decodes; the caller frees the message (protobuf_c_message_free_unpacked). NULL when it is not a message of that type, or
 * without memory. */
ProtobufCMessage *rpc_message_unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type);
