#include "controlplane/channel/message_copy.h"

#include <protobuf-c/protobuf-c.h>

#include "common/alloc.h"

void *message_copy(const void *message) {
    const ProtobufCMessage *m = message;
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = hg_malloc(size ? size : 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(m, bytes);
    void *copy = protobuf_c_message_unpack(m->descriptor, NULL, size, bytes);
    hg_free(bytes);
    return copy;
}
