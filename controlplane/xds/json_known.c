/* The types of google.protobuf whose JSON is not that of their fields. */
#include <time.h>

#include "controlplane/xds/decode.h"
#include "controlplane/xds/json_reader.h"
#include "controlplane/xds/types.h"
#include "proto/google/protobuf/any.pb-c.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

/* ---- durations and timestamps ---- */

/* Takes up to `most` decimal digits; *ret_digits is their number. */
static int64_t take_digits(struct str *left, size_t most, size_t *ret_digits) {
    int64_t value = 0;
    size_t n = 0;
    while (n < most && n < left->n && left->p[n] >= '0' && left->p[n] <= '9')
        value = value * 10 + (left->p[n++] - '0');
    *left = (struct str){left->p + n, left->n - n};
    *ret_digits = n;
    return value;
}

static bool take_char(struct str *left, char c) {
    if (!left->n || *left->p != c)
        return false;
    *left = (struct str){left->p + 1, left->n - 1};
    return true;
}

/* ".25" as nanoseconds; nothing at all is 0. False when there is a point without one to nine digits. */
static bool take_fraction(struct str *left, int32_t *ret_nanos) {
    size_t digits;
    *ret_nanos = 0;
    if (!take_char(left, '.'))
        return true;
    int64_t nanos = take_digits(left, 9, &digits);
    for (size_t i = digits; i < 9; i++)
        nanos *= 10;
    *ret_nanos = (int32_t)nanos;
    return digits > 0;
}

static int read_duration(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    static const char expected[] = "a duration such as 1.5s";
    enum { DIGITS_MAX = 12 };
    static const int64_t most = 315576000000;   /* of the standard: about 10000 years */
    Google__Protobuf__Duration *duration = (Google__Protobuf__Duration *)m;
    if (at->node->type == TREE_MAP) /* {seconds: 1, nanos: 500000000}, as Envoy's examples have it */
        return json_read_object(r, at, m, false);
    struct str left = at->node->text;
    int32_t nanos;
    size_t digits;
    bool is_negative = at->node->type == TREE_SCALAR && take_char(&left, '-');
    int64_t seconds = at->node->type == TREE_SCALAR ? take_digits(&left, DIGITS_MAX, &digits) : 0;
    if (at->node->type != TREE_SCALAR || !digits || !take_fraction(&left, &nanos) || !str_eq(left, STR("s")))
        return json_expected(r, at, expected);
    if (seconds > most)
        return json_fault(r, at, &(struct error){.code = ERROR_RANGE, .expected = expected}, "is too long");
    duration->seconds = is_negative ? -seconds : seconds;
    duration->nanos = is_negative ? -nanos : nanos;
    return 0;
}

static bool take_number(struct str *left, size_t digits, int least, int most, int *ret) {
    size_t found;
    *ret = (int)take_digits(left, digits, &found);
    return found == digits && *ret >= least && *ret <= most;
}

static bool take_date(struct str *left, struct tm *tm) {
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_date = take_number(left, 4, 1, 9999, &tm->tm_year) && take_char(left, '-') &&
                   take_number(left, 2, 1, 12, &tm->tm_mon) && take_char(left, '-') &&
                   take_number(left, 2, 1, days[tm->tm_mon - 1], &tm->tm_mday);
    bool is_leap = tm->tm_year % 4 == 0 && (tm->tm_year % 100 != 0 || tm->tm_year % 400 == 0);
    if (!is_date || (tm->tm_mon == 2 && tm->tm_mday == 29 && !is_leap))
        return false;
    tm->tm_year -= 1900;
    tm->tm_mon--;
    return true;
}

static bool take_time(struct str *left, struct tm *tm) {
    return take_number(left, 2, 0, 23, &tm->tm_hour) && take_char(left, ':') && take_number(left, 2, 0, 59, &tm->tm_min) &&
           take_char(left, ':') && take_number(left, 2, 0, 59, &tm->tm_sec);
}

/* "Z" or "+02:00", in seconds. */
static bool take_zone(struct str *left, int *ret_offset) {
    int hours, minutes;
    bool is_west = left->n && *left->p == '-';
    *ret_offset = 0;
    if (take_char(left, 'Z'))
        return true;
    if (!(take_char(left, '+') || take_char(left, '-')) || !take_number(left, 2, 0, 23, &hours) || !take_char(left, ':') ||
        !take_number(left, 2, 0, 59, &minutes))
        return false;
    *ret_offset = (is_west ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

static int read_timestamp(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    Google__Protobuf__Timestamp *stamp = (Google__Protobuf__Timestamp *)m;
    struct str left = at->node->text;
    struct tm tm = {0};
    int32_t nanos;
    int offset;
    if (at->node->type != TREE_SCALAR || !take_date(&left, &tm) || !take_char(&left, 'T') || !take_time(&left, &tm) ||
        !take_fraction(&left, &nanos) || !take_zone(&left, &offset) || left.n)
        return json_expected(r, at, "a time such as 2026-01-31T10:00:00Z");
    stamp->seconds = timegm(&tm) - offset;
    stamp->nanos = nanos;
    return 0;
}

/* ---- any value ---- */

static int read_struct(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    if (at->node->type != TREE_MAP)
        return json_expected(r, at, "an object");
    return json_read_repeated(r, at, &google__protobuf__struct__descriptor.fields[0], m);
}

static int read_list(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    return json_read_repeated(r, at, &google__protobuf__list_value__descriptor.fields[0], m);
}

/* What a scalar is without a type that says so: nothing, a flag, a number, or a text. */
static int read_plain(struct json_reader *r, const struct json_at *at, Google__Protobuf__Value *value) {
    bool yes;
    unsigned number = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    if (!at->node->is_quoted && tree_is_null(at->node))
        number = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
    else if (tree_is_bool(at->node, &yes))
        number = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
    else if (!at->node->is_quoted && json_is_number(at->node->text))
        number = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(value->base.descriptor, number);
    value->kind_case = (Google__Protobuf__Value__KindCase)number;
    if (number == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE)
        return 0;
    return json_read_scalar(r, at, f, (char *)value + f->offset);
}

static int read_any_value(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    Google__Protobuf__Value *value = (Google__Protobuf__Value *)m;
    ProtobufCMessage *inside;
    if (at->node->type == TREE_SCALAR)
        return read_plain(r, at, value);
    bool is_map = at->node->type == TREE_MAP;
    if (json_read_message(r, at, is_map ? &google__protobuf__struct__descriptor : &google__protobuf__list_value__descriptor,
                          &inside))
        return -1;
    value->kind_case = is_map ? GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE : GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
    if (is_map)
        value->struct_value = (Google__Protobuf__Struct *)inside;
    else
        value->list_value = (Google__Protobuf__ListValue *)inside;
    return 0;
}

/* ---- Any ---- */

static int pack(struct json_reader *r, const ProtobufCMessage *m, ProtobufCBinaryData *ret) {
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = arena_alloc(r->arena, size ? size : 1);
    if (!bytes)
        return json_no_memory(r);
    protobuf_c_message_pack(m, bytes);
    *ret = (ProtobufCBinaryData){size, bytes};
    return 0;
}

static int read_inside(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    const struct tree_item *value = tree_find(at->node, "value");
    if (!json_is_well_known(m->descriptor))
        return json_read_object(r, at, m, true);
    if (!value)
        return json_fault(r, at, &(struct error){.code = ERROR_MISSING, .expected = "the key \"value\""},
                          "has no value of its type %s", m->descriptor->name);
    struct json_at value_at = {.up = at, .field = "value", .node = value->node, .depth = at->depth};
    if (at->node->count > 2)
        return json_fault(r, at, &(struct error){.code = ERROR_UNKNOWN_KEY}, "has more than \"@type\" and \"value\"");
    return json_read_well_known(r, &value_at, m);
}

/* *ret is NULL for a type that is not known where that is no fault. */
static int find_type(struct json_reader *r, const struct json_at *at, struct str *ret_url,
                     const ProtobufCMessageDescriptor **ret) {
    const struct tree_item *item = at->node->type == TREE_MAP ? tree_find(at->node, "@type") : NULL;
    if (!item || item->node->type != TREE_SCALAR)
        return json_expected(r, at, "an object with \"@type\": \"type.googleapis.com/...\"");
    struct json_at type_at = {.up = at, .field = "@type", .node = item->node};
    *ret_url = item->node->text;
    *ret = xds_type_of_url(*ret_url);
    if (*ret)
        return 0;
    if (r->takes_any_type && at->up)
        return json_refuse_nul(r, &type_at);
    struct error what = {.code = ERROR_UNSUPPORTED, .nearest = xds_type_nearest(*ret_url)};
    return json_fault(r, &type_at, &what, "the type \"%.200s\" is not known", ret_url->p);
}

static int read_any(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    Google__Protobuf__Any *any = (Google__Protobuf__Any *)m;
    const ProtobufCMessageDescriptor *type = NULL;
    struct json_at inside_at = *at;
    struct str url = {0};
    if (++inside_at.depth > XDS_DEPTH_MAX)
        return json_fault(r, at, &(struct error){.code = ERROR_RANGE}, "is nested too deeply");
    if (find_type(r, at, &url, &type))
        return -1;
    any->type_url = (char *)url.p;
    if (!type)
        return 0;
    ProtobufCMessage *inside = json_new_message(r, type);
    return inside && read_inside(r, &inside_at, inside) == 0 ? pack(r, inside, &any->value) : -1;
}

/* ---- which ---- */

static int read_empty(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    return json_read_object(r, at, m, false);
}

static int read_wrapped(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    const ProtobufCFieldDescriptor *f = &m->descriptor->fields[0];
    return json_read_scalar(r, at, f, (char *)m + f->offset);
}

typedef int reading(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m);

static reading *reading_of(const ProtobufCMessageDescriptor *type) {
    static const struct { const ProtobufCMessageDescriptor *type; reading *read; } rows[] = {
        {&google__protobuf__any__descriptor, read_any},
        {&google__protobuf__duration__descriptor, read_duration},
        {&google__protobuf__timestamp__descriptor, read_timestamp},
        {&google__protobuf__struct__descriptor, read_struct},
        {&google__protobuf__value__descriptor, read_any_value},
        {&google__protobuf__list_value__descriptor, read_list},
        {&google__protobuf__empty__descriptor, read_empty},
    };
    if (strcmp(type->package_name, "google.protobuf") != 0)
        return NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].type == type)
            return rows[i].read;
    return str_ends(str_of(type->name), STR("Value")) ? read_wrapped : NULL;
}

bool json_is_well_known(const ProtobufCMessageDescriptor *type) {
    return reading_of(type) != NULL;
}

int json_read_well_known(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m) {
    return reading_of(m->descriptor)(r, at, m);
}
