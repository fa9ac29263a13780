#include "controlplane/store/frame.h"

#include <string.h>

static const char magic[] = {'H', 'G', 'S'};

static void put_start(uint8_t start[FRAME_START_SIZE], enum frame_type type, uint32_t size) {
    memcpy(start, magic, sizeof magic);
    start[3] = (uint8_t)type;
    for (int i = 0; i < 4; i++)
        start[4 + i] = (uint8_t)(size >> (24 - 8 * i));
}

static uint32_t payload_size(const uint8_t *start) {
    return (uint32_t)start[4] << 24 | (uint32_t)start[5] << 16 | (uint32_t)start[6] << 8 | start[7];
}

int frame_encode(struct arena *arena, enum frame_type type, const ProtobufCMessage *m, struct str *ret_frame,
                 struct resource_id *ret_hash) {
    size_t size = protobuf_c_message_get_packed_size(m);
    if (size > UINT32_MAX)
        return -1;
    uint8_t *bytes = arena_alloc(arena, size + FRAME_EXTRA);
    struct resource_id hash;
    if (!bytes)
        return -1;
    put_start(bytes, type, (uint32_t)size);
    protobuf_c_message_pack(m, bytes + FRAME_START_SIZE);
    if (resource_id_of(bytes, FRAME_START_SIZE + size, &hash) < 0)
        return -1;
    memcpy(bytes + FRAME_START_SIZE + size, hash.bytes, RESOURCE_ID_SIZE);
    *ret_frame = (struct str){(char *)bytes, size + FRAME_EXTRA};
    *ret_hash = hash;
    return 0;
}

int frame_check(enum frame_type type, struct str bytes, struct frame *ret_frame) {
    const uint8_t *start = (const uint8_t *)bytes.p;
    if (bytes.n < FRAME_EXTRA || memcmp(start, magic, sizeof magic) != 0 || start[3] != (uint8_t)type)
        return -1;
    size_t size = payload_size(start);
    struct resource_id hash;
    if (size > bytes.n - FRAME_EXTRA || resource_id_of(start, FRAME_START_SIZE + size, &hash) < 0 ||
        memcmp(start + FRAME_START_SIZE + size, hash.bytes, RESOURCE_ID_SIZE) != 0)
        return -1;
    *ret_frame = (struct frame){
        .payload = {bytes.p + FRAME_START_SIZE, size},
        .size = size + FRAME_EXTRA,
        .hash = hash,
    };
    return 0;
}

int frame_decode(enum frame_type type, struct str bytes, const ProtobufCMessageDescriptor *descriptor,
                 struct arena *arena, struct frame *ret_frame, ProtobufCMessage **ret_message) {
    struct frame frame;
    ProtobufCMessage *m;
    if (frame_check(type, bytes, &frame) < 0)
        return MESSAGE_MALFORMED;
    int status = message_unpack(descriptor, arena, frame.payload, &m);
    if (status < 0)
        return status;
    struct error_list faults = {0};
    size_t unknown = message_check_known(m, NULL, "", &faults);
    error_list_finish(&faults);
    if (unknown)
        return MESSAGE_MALFORMED;
    *ret_frame = frame;
    *ret_message = m;
    return 0;
}
