#include "proto/message.h"

#include "common/alloc.h"

struct memory {
    struct arena *arena;
    bool failed, is_beyond_limit;
};

static bool is_beyond_limit(const struct arena *arena, size_t size) {
    return arena && arena->limit && size > arena->limit - arena->used;
}

static void *take_memory(void *context, size_t size) {
    struct memory *memory = context;
    void *block = memory->arena ? arena_alloc(memory->arena, size) : hg_malloc(size);
    if (!block) {
        memory->failed = true;
        memory->is_beyond_limit = is_beyond_limit(memory->arena, size);
    }
    return block;
}

static void give_back(void *context, void *block) {
    struct memory *memory = context;
    if (!memory->arena)
        hg_free(block);
}

int message_unpack(const ProtobufCMessageDescriptor *descriptor, struct arena *arena, struct str bytes,
                   ProtobufCMessage **ret_message) {
    struct memory memory = {.arena = arena};
    ProtobufCAllocator allocator = {.alloc = take_memory, .free = give_back, .allocator_data = &memory};
    ProtobufCMessage *m = protobuf_c_message_unpack(descriptor, &allocator, bytes.n,
                                                    (const uint8_t *)bytes.p);
    if (!m)
        return !memory.failed ? MESSAGE_MALFORMED : memory.is_beyond_limit ? MESSAGE_LARGE : MESSAGE_MEMORY;
    *ret_message = m;
    return 0;
}
