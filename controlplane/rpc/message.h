/* message.h — protobuf-c messages in and out of gRPC's byte buffers. Thread: any. */
#pragma once

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>

/* Encodes; the caller destroys the buffer (grpc_byte_buffer_destroy). NULL without memory. */
grpc_byte_buffer *rpc_message_pack(const ProtobufCMessage *m);
/* Decodes; the caller frees the message (protobuf_c_message_free_unpacked). NULL when it is not a message of that type, or
 * without memory. */
ProtobufCMessage *rpc_message_unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type);
