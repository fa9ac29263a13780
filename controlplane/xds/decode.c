#include "controlplane/xds/decode.h"

#include <stdbool.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static int take_varint(struct str *left, uint64_t *ret) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && left->n; shift += 7) {
        uint8_t byte = (uint8_t)*left->p++;
        left->n--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return 0;
        }
    }
    return -1;
}

static int skip(struct str *left, size_t n) {
    if (left->n < n)
        return -1;
    left->p += n;
    left->n -= n;
    return 0;
}

/* Takes one field; *ret_bytes is its content where it has a length, otherwise p == NULL. */
static int take_field(struct str *left, uint64_t *ret_tag, struct str *ret_bytes) {
    uint64_t ignored, length;
    *ret_bytes = (struct str){0};
    if (take_varint(left, ret_tag) || *ret_tag >> 3 == 0)   /* there is no field 0 */
        return -1;
    switch (*ret_tag & 7) {
    case WIRE_VARINT: return take_varint(left, &ignored);
    case WIRE_64: return skip(left, 8);
    case WIRE_32: return skip(left, 4);
    case WIRE_BYTES: break;
    default: return -1;
    }
    if (take_varint(left, &length) || length > left->n)
        return -1;
    *ret_bytes = (struct str){left->p, (size_t)length};
    return skip(left, (size_t)length);
}

static bool is_text(struct str s) {
    for (size_t i = 0, length; i < s.n; i += length) {
        length = utf8_length(s.p + i, s.n - i);
        if (!length || s.p[i] == '\0')
            return false;
    }
    return true;
}

/* What protobuf-c would follow or cut, here and below. */
static int look_through(const ProtobufCMessageDescriptor *type, struct str left, unsigned depth) {
    uint64_t tag;
    struct str bytes;
    int status = depth > XDS_DEPTH_MAX ? XDS_TOO_DEEP : 0;
    while (!status && left.n) {
        if (take_field(&left, &tag, &bytes))
            return MESSAGE_MALFORMED;
        const ProtobufCFieldDescriptor *f =
            bytes.p && tag >> 3 <= UINT32_MAX ? protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3)) : NULL;
        if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
            status = look_through(f->descriptor, bytes, depth + 1);
        else if (f && f->type == PROTOBUF_C_TYPE_STRING && !is_text(bytes))
            status = MESSAGE_MALFORMED;
    }
    return status;
}

int xds_decode(const ProtobufCMessageDescriptor *type, struct arena *arena, struct str bytes,
               ProtobufCMessage **ret_message) {
    int status = look_through(type, bytes, 1);
    return status ? status : message_unpack(type, arena, bytes, ret_message);
}

const char *xds_decode_reason(int status) {
    static_assert(XDS_RESOURCE_MAX == 256 << 20, "as it is told");
    switch (status) {
    case MESSAGE_MEMORY: return "cannot be decoded without memory";
    case MESSAGE_LARGE: return "takes more than 256 MiB when it is decoded, which is the bound";
    case XDS_TOO_DEEP: return "is nested too deeply";
    default: return "is not a well-formed message of this type";
    }
}
