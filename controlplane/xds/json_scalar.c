#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "controlplane/xds/json_reader.h"

/* ---- numbers ---- */

bool json_is_number(struct str text) {
    size_t i = text.n && text.p[0] == '-', digits = 0;
    bool has_point = false, has_exponent = false;
    for (; i < text.n; i++) {
        char c = text.p[i];
        if (c >= '0' && c <= '9') {
            digits++;
        } else if (c == '.' && digits && !has_point && !has_exponent) {
            has_point = true;
        } else if ((c == 'e' || c == 'E') && digits && !has_exponent) {
            has_exponent = true;
            digits = 0;
            i += i + 1 < text.n && (text.p[i + 1] == '-' || text.p[i + 1] == '+');
        } else {
            return false;
        }
    }
    return digits > 0;
}

static bool is_whole(struct str text) {
    size_t i = text.n && text.p[0] == '-', first = i;
    while (i < text.n && text.p[i] >= '0' && text.p[i] <= '9')
        i++;
    return i == text.n && i > first;
}

static int tell_range(struct json_reader *r, const struct json_at *at, const char *expected) {
    return json_fault(r, at, &(struct error){.code = ERROR_RANGE, .expected = expected}, "is out of range: \"%.40s\"",
                      at->node->text.p);
}

/* A number, also in quotes. */
static int need_number(struct json_reader *r, const struct json_at *at, const char *expected) {
    if (at->node->type != TREE_SCALAR || !json_is_number(at->node->text))
        return json_expected(r, at, expected);
    return 0;
}

/* 1.0 and 1e3 are whole numbers, too. */
static int read_signed(struct json_reader *r, const struct json_at *at, int64_t least, int64_t most, int64_t *ret) {
    const char *expected = least ? "a whole number" : "a whole number, not negative";
    struct str text = at->node->text;
    if (need_number(r, at, expected))
        return -1;
    double wide = strtod(text.p, NULL);
    bool is_exact = is_whole(text);
    if (!is_exact && (wide != floor(wide) || fabs(wide) > 9007199254740992.0))
        return json_expected(r, at, expected);
    errno = 0;
    int64_t value = is_exact ? strtoll(text.p, NULL, 10) : (int64_t)wide;
    if (errno || value < least || value > most)
        return tell_range(r, at, expected);
    *ret = value;
    return 0;
}

static int read_unsigned(struct json_reader *r, const struct json_at *at, uint64_t most, uint64_t *ret) {
    static const char expected[] = "a whole number, not negative";
    struct str text = at->node->text;
    int64_t value = 0;
    if (need_number(r, at, expected))
        return -1;
    if (!is_whole(text) || text.p[0] == '-') {
        if (read_signed(r, at, 0, INT64_MAX, &value))
            return -1;
        *ret = (uint64_t)value;
    } else {
        errno = 0;
        *ret = strtoull(text.p, NULL, 10);
        if (errno)
            return tell_range(r, at, expected);
    }
    return *ret > most ? tell_range(r, at, expected) : 0;
}

static int read_double(struct json_reader *r, const struct json_at *at, double most, double *ret) {
    static const struct { const char *word; double value; } words[] = {
        {"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY},
    };
    for (size_t i = 0; at->node->type == TREE_SCALAR && i < sizeof words / sizeof *words; i++) {
        if (!str_eq(at->node->text, str_of(words[i].word)))
            continue;
        *ret = words[i].value;
        return 0;
    }
    if (need_number(r, at, "a number"))
        return -1;
    double value = strtod(at->node->text.p, NULL);
    if (fabs(value) > most)
        return tell_range(r, at, "a number");
    *ret = value;
    return 0;
}

static int read_number32(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, void *to) {
    int64_t value = 0;
    uint64_t positive = 0;
    uint32_t bits;
    if (f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_FIXED32) {
        if (read_unsigned(r, at, UINT32_MAX, &positive))
            return -1;
        bits = (uint32_t)positive;
    } else {
        if (read_signed(r, at, INT32_MIN, INT32_MAX, &value))
            return -1;
        bits = (uint32_t)value;
    }
    memcpy(to, &bits, sizeof bits);
    return 0;
}

static int read_number64(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, void *to) {
    if (f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_FIXED64)
        return read_unsigned(r, at, UINT64_MAX, to);
    return read_signed(r, at, INT64_MIN, INT64_MAX, to);
}

/* What is nearest to FLT_MAX is that, as it is written: 3.4028235e+38. */
static int read_float(struct json_reader *r, const struct json_at *at, void *to) {
    static const double most = 0x1.fffffefffffffp127;
    double wide = 0;
    if (read_double(r, at, most, &wide))
        return -1;
    float value = (float)wide;
    memcpy(to, &value, sizeof value);
    return 0;
}

/* ---- texts, bytes, words ---- */

/* A plain word is a text unless JSON would read it as something else. */
static bool is_text(const struct tree_node *node) {
    bool ignored;
    return node->type == TREE_SCALAR &&
           (node->is_quoted || !(tree_is_null(node) || tree_is_bool(node, &ignored) || json_is_number(node->text)));
}

/* Names are compared and kept up to their NUL, so nothing may stand behind one. */
int json_refuse_nul(struct json_reader *r, const struct json_at *at) {
    if (!memchr(at->node->text.p, '\0', at->node->text.n))
        return 0;
    return json_fault(r, at, &(struct error){.code = ERROR_SYNTAX}, "has a NUL character");
}

static int read_text(struct json_reader *r, const struct json_at *at, void *to) {
    if (!is_text(at->node))
        return json_expected(r, at, "a text; what looks like a number needs quotes");
    if (json_refuse_nul(r, at))
        return -1;
    memcpy(to, &at->node->text.p, sizeof at->node->text.p);
    return 0;
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* `out` has room for 3 bytes of every 4 digits. Returns the number of bytes, or -1. */
static ssize_t decode_base64(struct str text, uint8_t *out) {
    uint32_t bits = 0;
    size_t n = 0;
    unsigned held = 0;
    bool may_be_padded = text.n && text.n % 4 == 0;
    for (unsigned padding = 0; may_be_padded && padding < 2 && text.p[text.n - 1] == '='; padding++)
        text.n--;
    if (text.n % 4 == 1)
        return -1;
    for (size_t i = 0; i < text.n; i++) {
        int digit = base64_digit(text.p[i]);
        if (digit < 0)
            return -1;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
        }
    }
    return bits & ((1U << held) - 1) ? -1 : (ssize_t)n;
}

static int read_bytes(struct json_reader *r, const struct json_at *at, void *to) {
    static const char expected[] = "bytes in base64";
    const struct tree_node *node = at->node;
    if (node->type != TREE_SCALAR || (!node->is_quoted && tree_is_null(node)))
        return json_expected(r, at, expected);
    uint8_t *bytes = arena_alloc(r->arena, node->text.n / 4 * 3 + 3);
    if (!bytes)
        return json_no_memory(r);
    ssize_t n = decode_base64(node->text, bytes);
    if (n < 0)
        return json_fault(r, at, &(struct error){.code = ERROR_SYNTAX, .expected = expected}, "is not base64");
    memcpy(to, &(ProtobufCBinaryData){(size_t)n, bytes}, sizeof(ProtobufCBinaryData));
    return 0;
}

static int read_bool(struct json_reader *r, const struct json_at *at, void *to) {
    bool yes;
    if (at->node->type != TREE_SCALAR || !tree_is_bool(at->node, &yes))
        return json_expected(r, at, "true or false");
    memcpy(to, &(protobuf_c_boolean){yes}, sizeof(protobuf_c_boolean));
    return 0;
}

static int tell_unknown_word(struct json_reader *r, const struct json_at *at, const ProtobufCEnumDescriptor *type) {
    enum { NAMES_MAX = 128 };
    const char *names[NAMES_MAX];
    size_t count = type->n_value_names < NAMES_MAX ? type->n_value_names : NAMES_MAX;
    for (size_t i = 0; i < count; i++)
        names[i] = type->values_by_name[i].name;
    struct error what = {.code = ERROR_RANGE, .nearest = str_nearest(at->node->text, names, count)};
    return json_fault(r, at, &what, "\"%.60s\" is no value of %s", at->node->text.p, type->name);
}

static int read_enum(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, void *to) {
    const ProtobufCEnumDescriptor *type = f->descriptor;
    int64_t number = 0;
    if (at->node->type != TREE_SCALAR || (!at->node->is_quoted && tree_is_null(at->node)))
        return json_expected(r, at, "the name of a value");
    if (json_refuse_nul(r, at))
        return -1;
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(type, at->node->text.p);
    if (value) {
        memcpy(to, &value->value, sizeof value->value);
        return 0;
    }
    if (at->node->is_quoted || !json_is_number(at->node->text))
        return tell_unknown_word(r, at, type);
    if (read_signed(r, at, INT32_MIN, INT32_MAX, &number))
        return -1;
    memcpy(to, &(int32_t){(int32_t)number}, sizeof(int32_t));
    return 0;
}

int json_read_scalar(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, void *to) {
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING: return read_text(r, at, to);
    case PROTOBUF_C_TYPE_BYTES: return read_bytes(r, at, to);
    case PROTOBUF_C_TYPE_BOOL: return read_bool(r, at, to);
    case PROTOBUF_C_TYPE_ENUM: return read_enum(r, at, f, to);
    case PROTOBUF_C_TYPE_DOUBLE: return read_double(r, at, DBL_MAX, to);
    case PROTOBUF_C_TYPE_FLOAT: return read_float(r, at, to);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: return read_number32(r, at, f, to);
    default: return read_number64(r, at, f, to);
    }
}
