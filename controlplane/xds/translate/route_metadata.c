/* Conditions on what filters say of a request (dynamic metadata). No filter here says anything, so that each is decided when
 * the route is made: a value that is not there meets no condition but one that is turned around. Those who only ask which
 * route a request takes may say what there is (explain --xds). */
#include <ctype.h>
#include <string.h>

#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"

typedef Envoy__Type__Matcher__V3__MetadataMatcher metadata_matcher;
typedef Envoy__Type__Matcher__V3__ValueMatcher    value_matcher;
typedef Envoy__Type__Matcher__V3__StringMatcher   string_matcher;

enum { REGEX_MAX = 16384 };

/* ---- what is read ---- */

static const struct xds_fields value_table;

static const struct xds_fields segment_table = XDS_TABLE(envoy__type__matcher__v3__metadata_matcher__path_segment,
    XDS_READ("key"));
static const struct xds_fields null_table = XDS_EMPTY_TABLE(envoy__type__matcher__v3__value_matcher__null_match);
static const struct xds_fields range_table = XDS_TABLE(envoy__type__v3__double_range, XDS_READ("start"), XDS_READ("end"));
static const struct xds_fields double_table = XDS_TABLE(envoy__type__matcher__v3__double_matcher,
    XDS_INSIDE("range", &range_table), XDS_READ("exact"));
static const struct xds_fields list_table = XDS_TABLE(envoy__type__matcher__v3__list_matcher,
    XDS_INSIDE("one_of", &value_table));
static const struct xds_fields or_table = XDS_TABLE(envoy__type__matcher__v3__or_matcher,
    XDS_INSIDE("value_matchers", &value_table));
static const struct xds_fields value_table = XDS_TABLE(envoy__type__matcher__v3__value_matcher,
    XDS_INSIDE("null_match", &null_table), XDS_INSIDE("double_match", &double_table),
    XDS_INSIDE("string_match", &xds_read_string_match), XDS_READ("bool_match"), XDS_READ("present_match"),
    XDS_INSIDE("list_match", &list_table), XDS_INSIDE("or_match", &or_table));

const struct xds_fields xds_read_metadata_match = XDS_TABLE(envoy__type__matcher__v3__metadata_matcher,
    XDS_READ("filter"), XDS_INSIDE("path", &segment_table), XDS_INSIDE("value", &value_table),
    XDS_NOTE("invert", "no filter here sets metadata: a route with a condition that is not inverted is for no request"));

/* ---- texts ---- */

static struct str lower(struct making *m, struct str text) {
    char *copy = making_text(m, text);
    for (size_t i = 0; copy && i < text.n; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    return copy ? (struct str){copy, text.n} : STR("");
}

static bool has_part(struct str text, struct str part) {
    return part.n == 0 || (text.n >= part.n && memmem(text.p, text.n, part.p, part.n));
}

/* Wrong expressions are refused whatever there is. */
static bool meets_regex(struct making *m, const struct xds_at *at, const char *regex, struct str text, bool is_text) {
    char *right = NULL;
    value_text(m, XDS_AT(at, "safe_regex.regex"), regex, &text_regex, REGEX_MAX, &right);
    return right && is_text && route_regex_meets(m, right, text);
}

static bool meets_string(struct making *m, const struct xds_at *at, const string_matcher *from,
                         const Google__Protobuf__Value *value) {
    bool is_text = value && value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE, ignores = from->ignore_case;
    struct str text = is_text ? str_of(value->string_value) : STR("");
    if (from->match_pattern_case == ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX)
        return meets_regex(m, at, from->safe_regex->regex, text, is_text);
    bool is_known = from->match_pattern_case != 0
                    && from->match_pattern_case != ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CUSTOM;
    if (!is_known)
        making_refuse(m, at, ERROR_MISSING, "needs one of exact, prefix, suffix, contains and safe_regex");
    if (!is_known || !is_text)
        return false;
    struct str with = ignores ? lower(m, str_of(from->exact)) : str_of(from->exact); /* all are texts in one place */
    text = ignores ? lower(m, text) : text;
    switch (from->match_pattern_case) {
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT: return str_eq(text, with);
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX: return str_starts(text, with);
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX: return str_ends(text, with);
    default: return has_part(text, with);
    }
}

/* ---- other values ---- */

static bool meets_number(struct making *m, const struct xds_at *at, const Envoy__Type__Matcher__V3__DoubleMatcher *from,
                         const Google__Protobuf__Value *value) {
    bool is_number = value && value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
    double number = is_number ? value->number_value : 0;
    switch (from->match_pattern_case) {
    case ENVOY__TYPE__MATCHER__V3__DOUBLE_MATCHER__MATCH_PATTERN_RANGE:
        return is_number && from->range->start <= number && number < from->range->end;
    case ENVOY__TYPE__MATCHER__V3__DOUBLE_MATCHER__MATCH_PATTERN_EXACT: return is_number && from->exact == number;
    default: making_refuse(m, at, ERROR_MISSING, "needs range or exact"); return false;
    }
}

static bool meets(struct making *m, const struct xds_at *at, const value_matcher *from,
                  const Google__Protobuf__Value *value);

static bool meets_in_list(struct making *m, const struct xds_at *at, const value_matcher *from,
                          const Google__Protobuf__Value *value) {
    bool is_list = value && value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE, is_met = false;
    size_t count = is_list ? value->list_value->n_values : 0;
    if (!from) {
        making_refuse(m, at, ERROR_MISSING, "needs one_of");
        return false;
    }
    if (count == 0)
        meets(m, XDS_AT(at, "one_of"), from, NULL); /* is it right? */
    for (size_t i = 0; i < count && !is_met && !m->faults; i++)
        is_met = meets(m, XDS_AT(at, "one_of"), from, value->list_value->values[i]);
    return is_met;
}

static bool meets_any(struct making *m, const struct xds_at *at, const Envoy__Type__Matcher__V3__OrMatcher *from,
                      const Google__Protobuf__Value *value) {
    bool is_met = false;
    if (from->n_value_matchers < 2)
        making_refuse(m, at, ERROR_MISSING, "needs two conditions");
    for (size_t i = 0; i < from->n_value_matchers; i++)
        is_met |= meets(m, XDS_AT_ITEM(at, "value_matchers", i), from->value_matchers[i], value);
    return is_met;
}

/* `value` may be NULL: there is none. */
static bool meets(struct making *m, const struct xds_at *at, const value_matcher *from,
                  const Google__Protobuf__Value *value) {
    int kind = value ? (int)value->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET;
    switch (from->match_pattern_case) {
    case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_NULL_MATCH:
        return kind == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
    case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_DOUBLE_MATCH:
        return meets_number(m, XDS_AT(at, "double_match"), from->double_match, value);
    case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_STRING_MATCH:
        return meets_string(m, XDS_AT(at, "string_match"), from->string_match, value);
    case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_BOOL_MATCH:
        return kind == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE && !value->bool_value == !from->bool_match;
    case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_PRESENT_MATCH:
        return from->present_match && kind != GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET;
    case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_LIST_MATCH:
        return meets_in_list(m, XDS_AT(at, "list_match"), from->list_match->one_of, value);
    case ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_OR_MATCH:
        return meets_any(m, XDS_AT(at, "or_match"), from->or_match, value);
    default: making_refuse(m, at, ERROR_MISSING, "needs a condition"); return false;
    }
}

/* ---- where the value is ---- */

static const Google__Protobuf__Value *member(const Google__Protobuf__Value *of, const char *key) {
    bool is_struct = of && of->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
    for (size_t i = 0; is_struct && i < of->struct_value->n_fields; i++)
        if (strcmp(of->struct_value->fields[i]->key, key) == 0)
            return of->struct_value->fields[i]->value;
    return NULL;
}

/* NULL: there is none. */
static const Google__Protobuf__Value *value_of(struct making *m, const struct xds_at *at, const metadata_matcher *from) {
    Google__Protobuf__Value all = GOOGLE__PROTOBUF__VALUE__INIT;
    all.kind_case = m->made->metadata ? GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET;
    all.struct_value = (Google__Protobuf__Struct *)(uintptr_t)m->made->metadata;
    const Google__Protobuf__Value *value = member(&all, from->filter);
    if (!from->filter[0])
        making_refuse(m, XDS_AT(at, "filter"), ERROR_MISSING, "is empty");
    if (from->n_path == 0)
        making_refuse(m, XDS_AT(at, "path"), ERROR_MISSING, "is empty");
    for (size_t i = 0; i < from->n_path; i++) {
        const Envoy__Type__Matcher__V3__MetadataMatcher__PathSegment *segment = from->path[i];
        bool is_key = segment->segment_case == ENVOY__TYPE__MATCHER__V3__METADATA_MATCHER__PATH_SEGMENT__SEGMENT_KEY;
        if (!is_key || !segment->key[0])
            making_refuse(m, XDS_AT_ITEM(at, "path", i), ERROR_MISSING, "needs a key");
        value = is_key ? member(value, segment->key) : NULL;
    }
    return value;
}

static bool is_met(struct making *m, const struct xds_at *at, const metadata_matcher *from) {
    const Google__Protobuf__Value *value = value_of(m, at, from);
    if (!from->value) {
        making_refuse(m, XDS_AT(at, "value"), ERROR_MISSING, "is missing");
        return false;
    }
    return meets(m, XDS_AT(at, "value"), from->value, value) != (from->invert != 0);
}

bool route_metadata_is_met(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteMatch *from) {
    bool are_met = true;
    for (size_t i = 0; i < from->n_dynamic_metadata; i++)
        are_met &= is_met(m, XDS_AT_ITEM(at, "dynamic_metadata", i), from->dynamic_metadata[i]);
    return are_met;
}
