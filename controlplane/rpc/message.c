#include "controlplane/rpc/message.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#include "common/alloc.h"

grpc_byte_buffer *rpc_message_pack(const ProtobufCMessage *m) {
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = hg_malloc(size ? size : 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(m, bytes);
    grpc_slice slice = grpc_slice_new(bytes, size, hg_free);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

ProtobufCMessage *rpc_message_unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type) {
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return NULL;
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(slice),
                                                    GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    return m;
}
