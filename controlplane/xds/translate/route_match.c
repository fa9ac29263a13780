/* Which requests a route is for. */
#include <inttypes.h>
#include <strings.h>

#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"
#include "dataplane/routing/regex.h"

enum { PATH_TEXT_MAX = 16384, CONDITION_NAME_MAX = 256 };

/* ---- what is read ---- */

const struct xds_fields xds_read_regex = XDS_TABLE(envoy__type__matcher__v3__regex_matcher,
    XDS_IGNORE("google_re2", "it bounds the size of programs of RE2; here steps are bounded"),
    XDS_NOTE("regex", "by PCRE2, for the whole text, with bounds on steps"));

const struct xds_fields xds_read_string_match = XDS_TABLE(envoy__type__matcher__v3__string_matcher,
    XDS_READ("exact"), XDS_READ("prefix"), XDS_READ("suffix"), XDS_INSIDE("safe_regex", &xds_read_regex),
    XDS_READ("contains"), XDS_NOTE("ignore_case", "not with safe_regex, as in Envoy"));

static const struct xds_fields range_table = XDS_TABLE(envoy__type__v3__int64_range,
    XDS_NOTE("start", "not negative"), XDS_READ("end"));

const struct xds_fields xds_read_header_match = XDS_TABLE(envoy__config__route__v3__header_matcher,
    XDS_NOTE("name", "also :method, :authority, :scheme and :path"),
    XDS_READ("exact_match"), XDS_INSIDE("safe_regex_match", &xds_read_regex), XDS_INSIDE("range_match", &range_table),
    XDS_READ("present_match"), XDS_READ("prefix_match"), XDS_READ("suffix_match"), XDS_READ("contains_match"),
    XDS_INSIDE("string_match", &xds_read_string_match), XDS_READ("invert_match"),
    XDS_NOTE("treat_missing_header_as_empty", "not where an empty value would meet the condition"));

static const struct xds_fields query_table = XDS_TABLE(envoy__config__route__v3__query_parameter_matcher,
    XDS_NOTE("name", "a parameter that comes several times meets the condition with any of its values"),
    XDS_INSIDE("string_match", &xds_read_string_match), XDS_READ("present_match"));

static const struct xds_fields percent_table = XDS_TABLE(envoy__type__v3__fractional_percent,
    XDS_READ("numerator"), XDS_READ("denominator"));

static const struct xds_fields fraction_table = XDS_TABLE(envoy__config__core__v3__runtime_fractional_percent,
    XDS_INSIDE("default_value", &percent_table),
    XDS_NOTE("runtime_key", "a value that a layer has (RTDS, the bootstrap file) counts, otherwise the default"));

static const struct xds_fields grpc_table =
    XDS_EMPTY_TABLE(envoy__config__route__v3__route_match__grpc_route_match_options);
static const struct xds_fields connect_table = XDS_EMPTY_TABLE(envoy__config__route__v3__route_match__connect_matcher);

const struct xds_fields xds_read_route_match = XDS_TABLE(envoy__config__route__v3__route_match,
    XDS_NOTE("prefix", "empty, or beginning with a slash; compared with the canonical path"), XDS_READ("path"),
    XDS_INSIDE("safe_regex", &xds_read_regex), XDS_INSIDE("connect_matcher", &connect_table),
    XDS_READ("path_separated_prefix"), XDS_NOTE("case_sensitive", "safe_regex says it itself, as in Envoy"),
    XDS_INSIDE("runtime_fraction", &fraction_table), XDS_INSIDE("headers", &xds_read_header_match),
    XDS_INSIDE("query_parameters", &query_table), XDS_INSIDE("grpc", &grpc_table),
    XDS_INSIDE("dynamic_metadata", &xds_read_metadata_match));

/* ---- the path ---- */

static Headgate__PathMatch *new_path(struct making *m, Headgate__Match *match) {
    match->path = making_new(m, &headgate__path_match__descriptor);
    return match->path;
}

/* `at` is the place of the text. */
static void set_path(struct making *m, const struct xds_at *at, Headgate__Match *match, Headgate__PathMatch__KindCase kind,
                     const char *text, bool ignore_case) {
    Headgate__PathMatch *path = new_path(m, match);
    bool is_regex = kind == HEADGATE__PATH_MATCH__KIND_REGEX;
    char *copy = NULL;
    value_text(m, at, text, is_regex ? &text_regex : &text_path, PATH_TEXT_MAX, &copy);
    if (!text[0])
        making_refuse(m, at, ERROR_MISSING, "is empty");
    if (!path || !copy)
        return;
    path->kind_case = kind;
    path->exact = copy; /* all kinds are texts in one place */
    path->has_ignore_case = path->ignore_case = ignore_case && !is_regex;
}

static void match_connect(struct making *m, Headgate__Match *match) {
    match->methods = making_array(m, 1, sizeof *match->methods);
    if (!match->methods)
        return;
    match->methods[0] = making_text(m, STR("CONNECT"));
    match->n_methods = 1;
}

static void match_path(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteMatch *from,
                       Headgate__Match *match) {
    bool ignore_case = from->case_sensitive && !from->case_sensitive->value;
    switch (from->path_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX:
        if (from->prefix[0]) /* every path has nothing in front of it */
            set_path(m, XDS_AT(at, "prefix"), match, HEADGATE__PATH_MATCH__KIND_STARTS_WITH, from->prefix, ignore_case);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH:
        set_path(m, XDS_AT(at, "path"), match, HEADGATE__PATH_MATCH__KIND_EXACT, from->path, ignore_case);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH_SEPARATED_PREFIX:
        set_path(m, XDS_AT(at, "path_separated_prefix"), match, HEADGATE__PATH_MATCH__KIND_PREFIX,
                 from->path_separated_prefix, ignore_case);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX:
        set_path(m, XDS_AT(at, "safe_regex.regex"), match, HEADGATE__PATH_MATCH__KIND_REGEX, from->safe_regex->regex, false);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_CONNECT_MATCHER: match_connect(m, match); break;
    default: making_refuse(m, at, ERROR_MISSING, "needs one of prefix, path, safe_regex, connect_matcher and "
                           "path_separated_prefix"); break;
    }
}

/* ---- conditions on values ---- */

bool route_regex_meets(struct making *m, const char *regex, struct str text) {
    size_t offset;
    char reason[128];
    struct regex *made = regex_create(str_of(regex), REGEX_WHOLE, &offset, reason);
    struct regex_scratch *scratch = made ? regex_scratch_create() : NULL;
    bool is_met = scratch && regex_match(made, text, 0, true, scratch) == REGEX_YES;
    if (!scratch && !m->faults)
        making_out_of_memory(m); /* one that is wrong was told of */
    regex_scratch_destroy(scratch);
    regex_destroy(made);
    return is_met;
}

/* Whether an empty value meets the condition, without regard to `invert`. */
static bool holds_for_empty(struct making *m, const Headgate__FieldMatch *f) {
    switch (f->kind_case) {
    case HEADGATE__FIELD_MATCH__KIND_EXACT: return !f->exact[0];
    case HEADGATE__FIELD_MATCH__KIND_PREFIX: return !f->prefix[0];
    case HEADGATE__FIELD_MATCH__KIND_SUFFIX: return !f->suffix[0];
    case HEADGATE__FIELD_MATCH__KIND_CONTAINS: return !f->contains[0];
    case HEADGATE__FIELD_MATCH__KIND_REGEX: return route_regex_meets(m, f->regex, STR(""));
    case HEADGATE__FIELD_MATCH__KIND_PRESENT: return f->present;
    default: return false;
    }
}

/* An empty prefix, suffix or part is in every value. */
static void set_text(struct making *m, const struct xds_at *at, Headgate__FieldMatch *f, Headgate__FieldMatch__KindCase kind,
                     char *text) {
    char *copy;
    if (kind == HEADGATE__FIELD_MATCH__KIND_REGEX)
        value_text(m, at, text, &text_regex, PATH_TEXT_MAX, &copy);
    bool is_part = kind == HEADGATE__FIELD_MATCH__KIND_PREFIX || kind == HEADGATE__FIELD_MATCH__KIND_SUFFIX ||
                   kind == HEADGATE__FIELD_MATCH__KIND_CONTAINS;
    if (is_part && !text[0]) {
        f->kind_case = HEADGATE__FIELD_MATCH__KIND_PRESENT;
        f->present = true;
        return;
    }
    f->kind_case = kind;
    f->exact = text; /* all kinds are texts in one place */
}

static void set_string(struct making *m, const struct xds_at *at, const Envoy__Type__Matcher__V3__StringMatcher *from,
                       Headgate__FieldMatch *f) {
    switch (from->match_pattern_case) {
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_EXACT, from->exact);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_PREFIX, from->prefix);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_SUFFIX, from->suffix);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_CONTAINS, from->contains);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_REGEX, from->safe_regex->regex);
        break;
    default: making_refuse(m, at, ERROR_MISSING, "needs one of exact, prefix, suffix, contains and safe_regex"); return;
    }
    f->has_ignore_case = f->ignore_case = from->ignore_case && f->kind_case != HEADGATE__FIELD_MATCH__KIND_REGEX &&
                                          f->kind_case != HEADGATE__FIELD_MATCH__KIND_PRESENT;
}

static void set_range(struct making *m, const struct xds_at *at, const Envoy__Type__V3__Int64Range *from,
                      Headgate__FieldMatch *f) {
    f->range = making_new(m, &headgate__number_range__descriptor);
    if (!f->range)
        return;
    f->kind_case = HEADGATE__FIELD_MATCH__KIND_RANGE;
    if (from->start < 0)
        making_unsupported(m, XDS_AT(at, "start"), "numbers are not negative here");
    if (from->end <= from->start || from->end <= 0)
        making_refuse(m, at, ERROR_RANGE, "is empty: %" PRId64 " to below %" PRId64, from->start, from->end);
    f->range->has_from = f->range->has_below = true;
    f->range->from = from->start < 0 ? 0 : (uint64_t)from->start;
    f->range->below = from->end <= 0 ? 1 : (uint64_t)from->end;
}

/* ---- headers ---- */

static void set_present(Headgate__FieldMatch *f, bool present) {
    f->kind_case = HEADGATE__FIELD_MATCH__KIND_PRESENT;
    f->present = present;
}

static void set_header(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__HeaderMatcher *from,
                       Headgate__FieldMatch *f) {
    switch (from->header_match_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_EXACT_MATCH:
        if (from->exact_match[0])
            set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_EXACT, from->exact_match);
        else
            set_present(f, true); /* as Envoy has it: nothing to compare with */
        break;
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SAFE_REGEX_MATCH:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_REGEX, from->safe_regex_match->regex);
        break;
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_RANGE_MATCH:
        set_range(m, XDS_AT(at, "range_match"), from->range_match, f);
        break;
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PREFIX_MATCH:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_PREFIX, from->prefix_match);
        break;
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SUFFIX_MATCH:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_SUFFIX, from->suffix_match);
        break;
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_CONTAINS_MATCH:
        set_text(m, at, f, HEADGATE__FIELD_MATCH__KIND_CONTAINS, from->contains_match);
        break;
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH:
        set_string(m, XDS_AT(at, "string_match"), from->string_match, f);
        break;
    case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH:
        set_present(f, from->present_match);
        break;
    default: set_present(f, true); break;
    }
}

static Headgate__FieldMatch *add_condition(struct making *m, Headgate__FieldMatch ***list, size_t *count, const char *name) {
    Headgate__FieldMatch *f = making_new(m, &headgate__field_match__descriptor);
    if (!f)
        return NULL;
    f->name = (char *)name;
    (*list)[(*count)++] = f;
    return f;
}

/* In Envoy what is absent meets no condition on a value, inverted or not, or counts as empty; here it meets those on a value
 * that are inverted. */
static bool needs_presence(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__HeaderMatcher *from,
                           const Headgate__FieldMatch *f) {
    bool is_on_value = f->kind_case != HEADGATE__FIELD_MATCH__KIND_PRESENT;
    bool meets_here = (!is_on_value && !f->present) != from->invert_match;
    if (!from->treat_missing_header_as_empty)
        return is_on_value && meets_here;
    bool meets_there = holds_for_empty(m, f) != from->invert_match;
    if (meets_there && !meets_here)
        making_unsupported(m, XDS_AT(at, "treat_missing_header_as_empty"),
                           "an empty value meets this condition, and an absent one does not");
    return meets_here && !meets_there;
}

static const char *header_name(struct making *m, const struct xds_at *at, const char *name) {
    char *lower = NULL;
    value_text(m, XDS_AT(at, "name"), strcasecmp(name, "host") == 0 ? ":authority" : name, &text_condition_name,
               CONDITION_NAME_MAX, &lower);
    if (!name[0])
        making_refuse(m, XDS_AT(at, "name"), ERROR_MISSING, "is empty");
    return lower;
}

void route_headers(struct making *m, const struct xds_at *at, Envoy__Config__Route__V3__HeaderMatcher **from, size_t count,
                   Headgate__Match *to) {
    for (size_t i = 0; i < count; i++) {
        const struct xds_at *here = XDS_AT_ITEM(at, "headers", i);
        const char *name = header_name(m, here, from[i]->name);
        Headgate__FieldMatch *f = name ? add_condition(m, &to->headers, &to->n_headers, name) : NULL;
        if (!f)
            continue;
        set_header(m, here, from[i], f);
        f->has_invert = f->invert = from[i]->invert_match;
        Headgate__FieldMatch *present = NULL;
        if (needs_presence(m, here, from[i], f) && (present = add_condition(m, &to->headers, &to->n_headers, name)))
            set_present(present, true);
    }
}

/* ---- query ---- */

static void match_query(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteMatch *from,
                        Headgate__Match *match) {
    match->query = making_array(m, from->n_query_parameters, sizeof *match->query);
    for (size_t i = 0; match->query && i < from->n_query_parameters; i++) {
        const struct xds_at *here = XDS_AT_ITEM(at, "query_parameters", i);
        const Envoy__Config__Route__V3__QueryParameterMatcher *q = from->query_parameters[i];
        Headgate__FieldMatch *f = add_condition(m, &match->query, &match->n_query, q->name);
        if (!q->name[0])
            making_refuse(m, XDS_AT(here, "name"), ERROR_MISSING, "is empty");
        if (!f)
            continue;
        if (q->query_parameter_match_specifier_case ==
            ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH)
            set_string(m, XDS_AT(here, "string_match"), q->string_match, f);
        else
            set_present(f, q->query_parameter_match_specifier_case == 0 || q->present_match);
    }
}

/* ---- all of it ---- */

/* content-type is application/grpc, or that and a suffix behind "+". */
static void match_grpc(struct making *m, Headgate__Match *match) {
    Headgate__FieldMatch *f = add_condition(m, &match->headers, &match->n_headers, "content-type");
    if (f)
        set_text(m, NULL, f, HEADGATE__FIELD_MATCH__KIND_REGEX, (char *)"(?s)application/grpc(\\+.*)?");
}

/* The route of no request: it takes none of a hundred. */
static void match_nothing(struct making *m, Headgate__Match *match) {
    match->fraction = making_new(m, &headgate__fraction__descriptor);
    if (!match->fraction)
        return;
    match->fraction->has_numerator = match->fraction->has_of = true;
    match->fraction->numerator = 0;
    match->fraction->of = 100;
}

static void match_fraction(struct making *m, const struct xds_at *at,
                           const Envoy__Config__Core__V3__RuntimeFractionalPercent *from, Headgate__Match *match) {
    static const uint32_t denominators[] = {100, 10000, 1000000};
    const Envoy__Type__V3__FractionalPercent *value = from->default_value;
    if (!value) {
        making_refuse(m, XDS_AT(at, "default_value"), ERROR_MISSING, "is missing");
        return;
    }
    match->fraction = making_new(m, &headgate__fraction__descriptor);
    if (!match->fraction)
        return;
    match->fraction->has_numerator = match->fraction->has_of = true;
    match->fraction->numerator = value->numerator;
    match->fraction->of = denominators[(unsigned)value->denominator < 3 ? value->denominator : 0];
    m->made->reads_runtime |= from->runtime_key[0] != '\0';
    xds_runtime_share(m->made->runtime, from->runtime_key, &match->fraction->numerator, &match->fraction->of);
}

static void check_counts(struct making *m, const struct xds_at *at, const Headgate__Match *match) {
    if (match->n_headers > ROUTE_CONDITIONS_MAX)
        making_refuse(m, XDS_AT(at, "headers"), ERROR_RANGE, "are %zu conditions here; %d are possible", match->n_headers,
                      ROUTE_CONDITIONS_MAX);
    if (match->n_query > ROUTE_CONDITIONS_MAX)
        making_refuse(m, XDS_AT(at, "query_parameters"), ERROR_RANGE, "are %zu conditions; %d are possible", match->n_query,
                      ROUTE_CONDITIONS_MAX);
}

static bool is_empty(const Headgate__Match *match) {
    return !match->path && !match->n_methods && !match->n_headers && !match->n_query && !match->fraction;
}

void route_match(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteMatch *from,
                 Headgate__Rule *rule) {
    Headgate__Match *match = making_new(m, &headgate__match__descriptor);
    if (!match)
        return;
    match->headers = making_array(m, 2 * from->n_headers + 1, sizeof *match->headers);
    if (!match->headers)
        return;
    match_path(m, at, from, match);
    route_headers(m, at, from->headers, from->n_headers, match);
    if (from->grpc)
        match_grpc(m, match);
    match_query(m, at, from, match);
    if (from->runtime_fraction)
        match_fraction(m, XDS_AT(at, "runtime_fraction"), from->runtime_fraction, match);
    if (!route_metadata_is_met(m, at, from))
        match_nothing(m, match);
    check_counts(m, at, match);
    rule->match = is_empty(match) ? NULL : match;
}
