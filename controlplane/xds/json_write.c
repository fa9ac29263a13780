#include "controlplane/xds/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/arena.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/json_reader.h"
#include "controlplane/xds/types.h"
#include "controlplane/xds/value.h"
#include "proto/google/protobuf/any.pb-c.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

struct writer {
    struct strbuf *out;
    unsigned       depth;       /* messages around */
};

static int write_message(struct writer *w, const ProtobufCMessage *m);
static int write_fields(struct writer *w, const ProtobufCMessage *m, bool is_first);

/* ---- texts, bytes, numbers ---- */

static int write_text(struct writer *w, const char *text) {
    struct str s = str_of(text ? text : "");
    for (size_t i = 0, n; i < s.n; i += n)
        if (!(n = utf8_length(s.p + i, s.n - i)))
            return -1;
    strbuf_add_json(w->out, s);
    return 0;
}

static int write_bytes(struct writer *w, const ProtobufCBinaryData *bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    strbuf_putc(w->out, '"');
    for (size_t i = 0; i < bytes->len; i += 3) {
        size_t left = bytes->len - i;
        uint32_t bits = (uint32_t)bytes->data[i] << 16 | (left > 1 ? (uint32_t)bytes->data[i + 1] << 8 : 0) |
                        (left > 2 ? bytes->data[i + 2] : 0);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=',
                        left > 2 ? digits[bits & 63] : '='};
        strbuf_add(w->out, four, sizeof four);
    }
    strbuf_putc(w->out, '"');
    return 0;
}

static int write_not_finite(struct writer *w, double value) {
    strbuf_puts(w->out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    return 0;
}

/* The fewest digits that are read as the same value. */
static int write_double(struct writer *w, double value) {
    enum { DIGITS_MIN = 15, DIGITS_MAX = 17 };
    char text[40];
    if (!isfinite(value))
        return write_not_finite(w, value);
    for (int digits = DIGITS_MIN; digits <= DIGITS_MAX; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    strbuf_puts(w->out, text);
    return 0;
}

static int write_float(struct writer *w, float value) {
    enum { DIGITS_MIN = 6, DIGITS_MAX = 9 };
    char text[40];
    if (!isfinite(value))
        return write_not_finite(w, (double)value);
    for (int digits = DIGITS_MIN; digits <= DIGITS_MAX; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    strbuf_puts(w->out, text);
    return 0;
}

static int write_enum(struct writer *w, const ProtobufCEnumDescriptor *type, int32_t number) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    if (!value) {
        strbuf_printf(w->out, "%" PRId32, number);
        return 0;
    }
    return write_text(w, value->name);
}

static int write_whole(struct writer *w, ProtobufCType type, const void *at) {
    int32_t narrow;
    int64_t wide;
    bool is_wide = type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_SINT64 || type == PROTOBUF_C_TYPE_SFIXED64;
    if (type == PROTOBUF_C_TYPE_UINT64 || type == PROTOBUF_C_TYPE_FIXED64) {
        memcpy(&wide, at, sizeof wide);
        strbuf_printf(w->out, "\"%" PRIu64 "\"", (uint64_t)wide);
    } else if (is_wide) {
        memcpy(&wide, at, sizeof wide);
        strbuf_printf(w->out, "\"%" PRId64 "\"", wide);
    } else {
        memcpy(&narrow, at, sizeof narrow);
        bool is_unsigned = type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_FIXED32;
        strbuf_printf(w->out, "%" PRId64, is_unsigned ? (int64_t)(uint32_t)narrow : (int64_t)narrow);
    }
    return 0;
}

static int write_value(struct writer *w, const ProtobufCFieldDescriptor *f, const void *at) {
    const void *pointer;
    double wide;
    float narrow;
    int32_t number;
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE: memcpy(&pointer, at, sizeof pointer); return pointer ? write_message(w, pointer) : -1;
    case PROTOBUF_C_TYPE_STRING: memcpy(&pointer, at, sizeof pointer); return write_text(w, pointer);
    case PROTOBUF_C_TYPE_BYTES: return write_bytes(w, at);
    case PROTOBUF_C_TYPE_ENUM: memcpy(&number, at, sizeof number); return write_enum(w, f->descriptor, number);
    case PROTOBUF_C_TYPE_DOUBLE: memcpy(&wide, at, sizeof wide); return write_double(w, wide);
    case PROTOBUF_C_TYPE_FLOAT: memcpy(&narrow, at, sizeof narrow); return write_float(w, narrow);
    case PROTOBUF_C_TYPE_BOOL:
        strbuf_puts(w->out, *(const protobuf_c_boolean *)at ? "true" : "false");
        return 0;
    default: return write_whole(w, f->type, at);
    }
}

/* ---- lists and maps ---- */

/* Keys are texts in JSON, whatever they are. */
static int write_key(struct writer *w, const ProtobufCFieldDescriptor *f, const void *at) {
    size_t start = w->out->n;
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return write_value(w, f, at);
    strbuf_putc(w->out, '"');
    int status = write_value(w, f, at);
    if (!w->out->failed && w->out->p[start + 1] == '"') { /* of 64 bits: quoted already */
        memmove(w->out->p + start, w->out->p + start + 1, w->out->n - start);
        w->out->n--;
    } else {
        strbuf_putc(w->out, '"');
    }
    return status;
}

static int write_entry(struct writer *w, const ProtobufCMessage *entry) {
    const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0], *value = &entry->descriptor->fields[1];
    if (write_key(w, key, (const char *)entry + key->offset))
        return -1;
    strbuf_putc(w->out, ':');
    const void *at = (const char *)entry + value->offset, *message = NULL;
    if (value->type == PROTOBUF_C_TYPE_MESSAGE) {
        memcpy(&message, at, sizeof message);
        if (!message) { /* an entry without a value has the default */
            strbuf_puts(w->out, "{}");
            return 0;
        }
    }
    return write_value(w, value, at);
}

static int write_items(struct writer *w, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    bool is_map = xds_field_is_map(m->descriptor, f);
    size_t count = xds_field_count(m, f);
    int status = 0;
    strbuf_putc(w->out, is_map ? '{' : '[');
    for (size_t i = 0; i < count && !status; i++) {
        const ProtobufCMessage *entry;
        if (i)
            strbuf_putc(w->out, ',');
        if (is_map) {
            memcpy(&entry, xds_field_at(m, f, i), sizeof entry);
            status = write_entry(w, entry);
        } else {
            status = write_value(w, f, xds_field_at(m, f, i));
        }
    }
    strbuf_putc(w->out, is_map ? '}' : ']');
    return status;
}

/* ---- types with a JSON of their own ---- */

/* ".25" for 250,000,000, in three, six or nine digits. */
static void write_fraction(struct writer *w, int32_t nanos) {
    if (nanos == 0)
        return;
    if (nanos % 1000000 == 0)
        strbuf_printf(w->out, ".%03d", nanos / 1000000);
    else if (nanos % 1000 == 0)
        strbuf_printf(w->out, ".%06d", nanos / 1000);
    else
        strbuf_printf(w->out, ".%09d", nanos);
}

static int write_duration(struct writer *w, const ProtobufCMessage *m) {
    static const int64_t most = 315576000000;
    const Google__Protobuf__Duration *d = (const Google__Protobuf__Duration *)m;
    bool is_negative = d->seconds < 0 || d->nanos < 0;
    bool is_mixed = (d->seconds < 0 && d->nanos > 0) || (d->seconds > 0 && d->nanos < 0);
    if (is_mixed || d->seconds > most || d->seconds < -most || d->nanos >= 1000000000 || d->nanos <= -1000000000)
        return -1;
    strbuf_printf(w->out, "\"%s%" PRId64, is_negative ? "-" : "", is_negative ? -d->seconds : d->seconds);
    write_fraction(w, d->nanos < 0 ? -d->nanos : d->nanos);
    strbuf_puts(w->out, "s\"");
    return 0;
}

static int write_timestamp(struct writer *w, const ProtobufCMessage *m) {
    static const int64_t first = -62135596800, last = 253402300799; /* of the years 1 and 9999 */
    const Google__Protobuf__Timestamp *stamp = (const Google__Protobuf__Timestamp *)m;
    time_t seconds = stamp->seconds;
    struct tm tm;
    if (stamp->seconds < first || stamp->seconds > last || stamp->nanos < 0 || stamp->nanos >= 1000000000 ||
        !gmtime_r(&seconds, &tm))
        return -1;
    strbuf_printf(w->out, "\"%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                  tm.tm_min, tm.tm_sec);
    write_fraction(w, stamp->nanos);
    strbuf_puts(w->out, "Z\"");
    return 0;
}

/* A Struct is its fields, a ListValue its values. */
static int write_only_field(struct writer *w, const ProtobufCMessage *m) {
    return write_items(w, m, &m->descriptor->fields[0]);
}

static int write_any_value(struct writer *w, const ProtobufCMessage *m) {
    const Google__Protobuf__Value *value = (const Google__Protobuf__Value *)m;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(m->descriptor, value->kind_case);
    if (!f || (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE && !isfinite(value->number_value)))
        return -1;
    if (value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE)
        return write_value(w, f, (const char *)m + f->offset);
    strbuf_puts(w->out, "null");
    return 0;
}

static int write_wrapped(struct writer *w, const ProtobufCMessage *m) {
    const ProtobufCFieldDescriptor *f = &m->descriptor->fields[0];
    return write_value(w, f, (const char *)m + f->offset);
}

static int write_opened(struct writer *w, const char *url, const ProtobufCMessage *m) {
    strbuf_puts(w->out, "{\"@type\":");
    if (write_text(w, url))
        return -1;
    if (!json_is_well_known(m->descriptor))
        return write_fields(w, m, false);
    strbuf_puts(w->out, ",\"value\":");
    int status = write_message(w, m);
    strbuf_putc(w->out, '}');
    return status;
}

static int write_any(struct writer *w, const ProtobufCMessage *m) {
    const Google__Protobuf__Any *any = (const Google__Protobuf__Any *)m;
    const ProtobufCMessageDescriptor *type = xds_type_of_url(str_of(any->type_url));
    struct str bytes = {any->value.len ? (const char *)any->value.data : "", any->value.len};
    struct arena arena;
    ProtobufCMessage *opened;
    if (!type)
        return -1;
    arena_init(&arena, NULL, 0, XDS_RESOURCE_MAX);
    int status = xds_decode(type, &arena, bytes, &opened);
    w->out->failed |= status == MESSAGE_MEMORY || status == MESSAGE_LARGE;
    status = status ? -1 : write_opened(w, any->type_url, opened);
    arena_finish(&arena);
    return status;
}

typedef int writing(struct writer *w, const ProtobufCMessage *m);

/* NULL: by its fields. */
static writing *writing_of(const ProtobufCMessageDescriptor *type) {
    static const struct { const ProtobufCMessageDescriptor *type; writing *write; } rows[] = {
        {&google__protobuf__any__descriptor, write_any},
        {&google__protobuf__duration__descriptor, write_duration},
        {&google__protobuf__timestamp__descriptor, write_timestamp},
        {&google__protobuf__struct__descriptor, write_only_field},
        {&google__protobuf__value__descriptor, write_any_value},
        {&google__protobuf__list_value__descriptor, write_only_field},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].type == type)
            return rows[i].write;
    return json_is_well_known(type) && type->n_fields == 1 ? write_wrapped : NULL;
}

/* ---- messages ---- */

static int write_fields(struct writer *w, const ProtobufCMessage *m, bool is_first) {
    int status = 0;
    for (unsigned i = 0; i < m->descriptor->n_fields && !status; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (xds_field_count(m, f) == 0)
            continue;
        strbuf_printf(w->out, "%s\"%s\":", is_first ? "" : ",", f->name);
        is_first = false;
        status = xds_field_is_repeated(f) ? write_items(w, m, f) : write_value(w, f, xds_field_at(m, f, 0));
    }
    strbuf_putc(w->out, '}');
    return status;
}

static int write_message(struct writer *w, const ProtobufCMessage *m) {
    writing *write = writing_of(m->descriptor);
    if (w->depth == XDS_DEPTH_MAX)
        return -1;
    w->depth++;
    if (!write)
        strbuf_putc(w->out, '{');
    int status = write ? write(w, m) : write_fields(w, m, true);
    w->depth--;
    return status;
}

int xds_json_write(const ProtobufCMessage *m, struct strbuf *out) {
    struct writer w = {.out = out};
    return write_message(&w, m);
}
