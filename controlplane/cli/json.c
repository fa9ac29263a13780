#include "controlplane/cli/json.h"

#include <ctype.h>
#include <inttypes.h>

#include "proto/resource.h"

/* ---- single values ---- */

static void add_bytes(struct strbuf *out, const ProtobufCBinaryData *bytes) {
    static const char digits[] = "0123456789abcdef";
    strbuf_putc(out, '"');
    for (size_t i = 0; i < bytes->len; i++) {
        strbuf_putc(out, digits[bytes->data[i] >> 4]);
        strbuf_putc(out, digits[bytes->data[i] & 15]);
    }
    strbuf_putc(out, '"');
}

/* "ROUTE_TABLE" -> "route-table" */
static void add_enum(struct strbuf *out, const ProtobufCEnumDescriptor *type, int number) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    const char *kind = type == &headgate__kind__descriptor ? kind_name((Headgate__Kind)number) : NULL;
    if (kind) {
        strbuf_add_json(out, str_of(kind));
        return;
    }
    strbuf_putc(out, '"');
    for (const char *c = value ? value->name : "unknown"; *c; c++)
        strbuf_putc(out, *c == '_' ? '-' : (char)tolower((unsigned char)*c));
    strbuf_putc(out, '"');
}

static void add_value(struct strbuf *out, const ProtobufCFieldDescriptor *f, const void *at) {
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE: json_add_message(out, *(const ProtobufCMessage *const *)at); break;
    case PROTOBUF_C_TYPE_STRING: strbuf_add_json(out, str_of(*(const char *const *)at)); break;
    case PROTOBUF_C_TYPE_BYTES: add_bytes(out, at); break;
    case PROTOBUF_C_TYPE_ENUM: add_enum(out, f->descriptor, *(const int *)at); break;
    case PROTOBUF_C_TYPE_BOOL: strbuf_puts(out, *(const protobuf_c_boolean *)at ? "true" : "false"); break;
    case PROTOBUF_C_TYPE_UINT32: strbuf_printf(out, "%" PRIu32, *(const uint32_t *)at); break;
    case PROTOBUF_C_TYPE_UINT64: strbuf_printf(out, "%" PRIu64, *(const uint64_t *)at); break;
    default: strbuf_puts(out, "null"); break; /* no other type is used by the schema */
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *f) {
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_STRING: return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_UINT64: return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    default: return sizeof(uint32_t);
    }
}

/* ---- fields ---- */

static void add_repeated(struct strbuf *out, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    const char *base = (const char *)m;
    size_t count = *(const size_t *)(base + f->quantifier_offset);
    const char *items = *(const char *const *)(base + f->offset);
    strbuf_putc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            strbuf_putc(out, ',');
        add_value(out, f, items + i * value_size(f));
    }
    strbuf_putc(out, ']');
}

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    const char *base = (const char *)m;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return true;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(base + f->quantifier_offset) == f->id;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING)
        return *(const void *const *)(base + f->offset) != NULL;
    return *(const protobuf_c_boolean *)(base + f->quantifier_offset);
}

void json_add_message(struct strbuf *out, const ProtobufCMessage *m) {
    bool is_first = true;
    strbuf_putc(out, '{');
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (!is_set(m, f))
            continue;
        if (!is_first)
            strbuf_putc(out, ',');
        is_first = false;
        strbuf_add_json(out, str_of(f->name));
        strbuf_putc(out, ':');
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            add_repeated(out, m, f);
        else
            add_value(out, f, (const char *)m + f->offset);
    }
    strbuf_putc(out, '}');
}
