#include "controlplane/config/message/field.h"

bool field_is_text(const ProtobufCFieldDescriptor *f) {
    return f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES;
}

bool field_is_list(const ProtobufCFieldDescriptor *f) {
    return f->label == PROTOBUF_C_LABEL_REPEATED;
}

ProtobufCMessage *field_new_message(struct arena *arena, const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *m = arena_alloc(arena, type->sizeof_message);
    if (m)
        protobuf_c_message_init(type, m);
    return m;
}

static size_t width_of(const ProtobufCFieldDescriptor *f) {
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT64: return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_UINT32: return sizeof(uint32_t);
    case PROTOBUF_C_TYPE_ENUM: return sizeof(int);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    default: return sizeof(void *);
    }
}

static void store(void *to, const ProtobufCFieldDescriptor *f, const struct field_value *value) {
    uint32_t number32 = (uint32_t)value->number;
    protobuf_c_boolean yes = value->number != 0;
    ProtobufCBinaryData bytes = {value->text.n, (uint8_t *)value->text.p};
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT64: memcpy(to, &value->number, sizeof value->number); break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM: memcpy(to, &number32, sizeof number32); break;
    case PROTOBUF_C_TYPE_BOOL: memcpy(to, &yes, sizeof yes); break;
    case PROTOBUF_C_TYPE_BYTES: memcpy(to, &bytes, sizeof bytes); break;
    case PROTOBUF_C_TYPE_STRING: memcpy(to, &value->text.p, sizeof value->text.p); break;
    default: memcpy(to, &value->message, sizeof value->message); break;
    }
}

static struct field_value load(const void *from, const ProtobufCFieldDescriptor *f) {
    struct field_value value = {0};
    uint32_t number32;
    protobuf_c_boolean yes;
    ProtobufCBinaryData bytes;
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT64: memcpy(&value.number, from, sizeof value.number); break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
        memcpy(&number32, from, sizeof number32);
        value.number = number32;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        memcpy(&yes, from, sizeof yes);
        value.number = yes != 0;
        break;
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&bytes, from, sizeof bytes);
        value.text = (struct str){(const char *)bytes.data, bytes.len};
        break;
    case PROTOBUF_C_TYPE_STRING:
        memcpy(&value.text.p, from, sizeof value.text.p);
        value.text = str_of(value.text.p);
        break;
    default: memcpy(&value.message, from, sizeof value.message); break;
    }
    return value;
}

int field_reserve(struct arena *arena, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t count) {
    void *items = arena_calloc(arena, count ? count : 1, width_of(f));
    if (!items)
        return -1;
    memcpy((char *)m + f->offset, &items, sizeof items);
    return 0;
}

/* Says that the field is set, in the way of its kind: a case, a flag, or nothing for pointers. */
static void mark_set(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    protobuf_c_boolean yes = 1;
    uint32_t which = f->id;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memcpy((char *)m + f->quantifier_offset, &which, sizeof which);
    else if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
        memcpy((char *)m + f->quantifier_offset, &yes, sizeof yes);
}

void field_put(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, const struct field_value *value) {
    char *base = (char *)m;
    if (!field_is_list(f)) {
        store(base + f->offset, f, value);
        mark_set(m, f);
        return;
    }
    size_t count;
    char *items;
    memcpy(&count, base + f->quantifier_offset, sizeof count);
    memcpy(&items, base + f->offset, sizeof items);
    store(items + count * width_of(f), f, value);
    count++;
    memcpy(base + f->quantifier_offset, &count, sizeof count);
}

static size_t count_pointer(const char *member, const ProtobufCFieldDescriptor *f) {
    const void *p;
    memcpy(&p, member, sizeof p);
    return p && p != f->default_value;
}

size_t field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    const char *base = (const char *)m;
    size_t count;
    uint32_t which;
    protobuf_c_boolean has;
    if (field_is_list(f)) {
        memcpy(&count, base + f->quantifier_offset, sizeof count);
        return count;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        memcpy(&which, base + f->quantifier_offset, sizeof which);
        return which == f->id;
    }
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE)
        return count_pointer(base + f->offset, f);
    memcpy(&has, base + f->quantifier_offset, sizeof has);
    return has != 0;
}

struct field_value field_get(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t index) {
    const char *member = (const char *)m + f->offset;
    if (!field_is_list(f))
        return load(member, f);
    const char *items;
    memcpy(&items, member, sizeof items);
    return load(items + index * width_of(f), f);
}

bool field_default(const ProtobufCFieldDescriptor *f, struct field_value *ret) {
    if (!f->default_value)
        return false;
    if (f->type == PROTOBUF_C_TYPE_STRING)
        *ret = (struct field_value){.text = str_of(f->default_value)};
    else
        *ret = load(f->default_value, f);
    return true;
}
