#include "controlplane/xds/value.h"

#include <string.h>

#include "common/str.h"

bool xds_field_is_repeated(const ProtobufCFieldDescriptor *f) {
    return f->label == PROTOBUF_C_LABEL_REPEATED;
}

const ProtobufCMessageDescriptor *xds_field_message(const ProtobufCFieldDescriptor *f) {
    return f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
}

size_t xds_field_width(const ProtobufCFieldDescriptor *f) {
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_STRING: return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return 8;
    default: return 4;
    }
}

const void *xds_field_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t index) {
    const char *member = (const char *)m + f->offset;
    const char *items;
    if (!xds_field_is_repeated(f))
        return member;
    memcpy(&items, member, sizeof items);
    return items + index * xds_field_width(f);
}

static bool is_not_zero(const char *value, size_t width) {
    static const char zero[8];
    return memcmp(value, zero, width) != 0;
}

static bool is_set(const ProtobufCFieldDescriptor *f, const char *value) {
    ProtobufCBinaryData bytes;
    const char *text;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        memcpy(&text, value, sizeof text);
        return text && *text;
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&bytes, value, sizeof bytes);
        return bytes.len > 0;
    default: return is_not_zero(value, xds_field_width(f));
    }
}

size_t xds_field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    const char *base = (const char *)m;
    size_t count;
    uint32_t which;
    if (xds_field_is_repeated(f)) {
        memcpy(&count, base + f->quantifier_offset, sizeof count);
        return count;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        memcpy(&which, base + f->quantifier_offset, sizeof which);
        return which == f->id;
    }
    return is_set(f, base + f->offset);
}

bool xds_field_is_map(const ProtobufCMessageDescriptor *of, const ProtobufCFieldDescriptor *f) {
    const ProtobufCMessageDescriptor *entry = xds_field_message(f);
    if (!entry || !xds_field_is_repeated(f) || entry->n_fields != 2)
        return false;
    return str_starts(str_of(entry->name), str_of(of->name)) && str_ends(str_of(entry->name), STR("Entry")) &&
           strcmp(entry->fields[0].name, "key") == 0 && strcmp(entry->fields[1].name, "value") == 0;
}
