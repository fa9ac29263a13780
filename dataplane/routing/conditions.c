/* The predicates of rules. Matching and explaining use the same ones. */
#include "dataplane/routing/compiled.h"

static enum verdict verdict_of(bool is_met) {
    return is_met ? VERDICT_YES : VERDICT_NO;
}

static enum verdict verdict_of_regex(enum regex_result result) {
    return result == REGEX_LIMIT ? VERDICT_LIMIT : verdict_of(result == REGEX_YES);
}

static enum verdict negated(enum verdict verdict, bool negate) {
    return verdict == VERDICT_LIMIT || !negate ? verdict : verdict_of(verdict == VERDICT_NO);
}

/* ---- texts */

static bool is_same(struct str a, struct str b, bool ignore_case) {
    return ignore_case ? str_eq_nocase(a, b) : str_eq(a, b);
}

static bool begins(struct str text, struct str with, bool ignore_case) {
    return text.n >= with.n && is_same((struct str){text.p, with.n}, with, ignore_case);
}

static bool ends(struct str text, struct str with, bool ignore_case) {
    return text.n >= with.n && is_same((struct str){text.p + text.n - with.n, with.n}, with, ignore_case);
}

static bool contains(struct str text, struct str part, bool ignore_case) {
    if (part.n == 0)
        return true;
    if (!ignore_case)
        return text.n && memmem(text.p, text.n, part.p, part.n);
    for (size_t i = 0; i + part.n <= text.n; i++)
        if (str_eq_nocase((struct str){text.p + i, part.n}, part))
            return true;
    return false;
}

/* ---- path and method */

static bool path_has_prefix(struct str path, struct str prefix, bool ignore_case) {
    return begins(path, prefix, ignore_case) && path.n > 0 && path.p[0] == '/' &&
           (path.n == prefix.n || path.p[prefix.n] == '/');
}

enum verdict check_path(const struct rule *rule, const struct route_request *request, struct route_scratch *scratch) {
    if (rule->path_kind == PATH_KIND_ANY)
        return VERDICT_YES;
    if (request->path.n == 0) /* CONNECT has none */
        return VERDICT_NO;
    switch (rule->path_kind) {
    case PATH_KIND_EXACT: return verdict_of(is_same(request->path, rule->path, rule->ignore_case));
    case PATH_KIND_PREFIX: return verdict_of(path_has_prefix(request->path, rule->path, rule->ignore_case));
    case PATH_KIND_STARTS: return verdict_of(begins(request->path, rule->path, rule->ignore_case));
    case PATH_KIND_ANY:
    case PATH_KIND_REGEX: break;
    }
    return verdict_of_regex(regex_match(rule->path_regex, request->path, 0, true, scratch->regex));
}

bool check_method(const struct rule *rule, const struct route_request *request) {
    for (uint32_t i = 0; i < rule->method_count; i++)
        if (str_eq(rule->methods[i], request->method))
            return true;
    return rule->method_count == 0;
}

/* ---- one value */

static bool is_in_range(const struct condition *c, struct str value) {
    uint64_t number;
    return str_to_uint64(value, &number) == 0 && number >= c->from && (c->below == 0 || number < c->below);
}

static enum verdict test_value(const struct condition *c, struct str value, struct route_scratch *scratch) {
    switch (c->test) {
    case TEST_PRESENT: return VERDICT_YES;
    case TEST_EXACT: return verdict_of(is_same(value, c->text, c->ignore_case));
    case TEST_PREFIX: return verdict_of(begins(value, c->text, c->ignore_case));
    case TEST_SUFFIX: return verdict_of(ends(value, c->text, c->ignore_case));
    case TEST_CONTAINS: return verdict_of(contains(value, c->text, c->ignore_case));
    case TEST_RANGE: return verdict_of(is_in_range(c, value));
    case TEST_REGEX: break;
    }
    return verdict_of_regex(regex_match(c->regex, value, 0, true, scratch->regex));
}

/* ---- headers */

static bool add_text(struct route_scratch *scratch, size_t *n, struct str s) {
    if (s.n > sizeof scratch->text - *n)
        return false;
    if (s.n)
        memcpy(scratch->text + *n, s.p, s.n);
    *n += s.n;
    return true;
}

static int field_text(const struct fields *fields, struct str name, struct route_scratch *scratch, bool *ret_is_present,
                      struct str *ret) {
    const struct field *f = fields_find_name(fields, name);
    *ret_is_present = f != NULL;
    if (!f)
        return 0;
    const struct field *again = fields_next_name(fields, f, name);
    if (!again) {
        *ret = field_value(f);
        return 0;
    }
    size_t n = 0;
    bool fits = add_text(scratch, &n, field_value(f));
    for (; again && fits; again = fields_next_name(fields, again, name))
        fits = add_text(scratch, &n, STR(", ")) && add_text(scratch, &n, field_value(again));
    *ret = (struct str){scratch->text, n};
    return fits ? 0 : -1;
}

/* The canonical path, and the query where there is one. */
static int target_text(const struct route_request *request, struct route_scratch *scratch, struct str *ret) {
    size_t n = 0;
    *ret = request->path;
    if (request->query.n == 0)
        return 0;
    bool fits = add_text(scratch, &n, request->path) && add_text(scratch, &n, STR("?")) &&
                add_text(scratch, &n, request->query);
    *ret = (struct str){scratch->text, n};
    return fits ? 0 : -1;
}

int header_value(const struct condition *c, const struct route_request *request, struct route_scratch *scratch,
                 bool *ret_is_present, struct str *ret) {
    int status = 0;
    switch (c->subject) {
    case SUBJECT_FIELD: return field_text(request->fields, c->name, scratch, ret_is_present, ret);
    case SUBJECT_METHOD: *ret = request->method; break;
    case SUBJECT_AUTHORITY: *ret = request->authority; break;
    case SUBJECT_SCHEME: *ret = request->scheme; break;
    case SUBJECT_TARGET: status = target_text(request, scratch, ret); break;
    }
    *ret_is_present = ret->n > 0;
    return status;
}

enum verdict check_header(const struct condition *c, const struct route_request *request, struct route_scratch *scratch) {
    bool is_present;
    struct str value;
    if (header_value(c, request, scratch, &is_present, &value))
        return VERDICT_LIMIT;
    return negated(is_present ? test_value(c, value, scratch) : VERDICT_NO, c->negate);
}

/* ---- query parameters: "&" separates, the first "=" ends the name, "+" is itself */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at *at, decoded; *at moves on. A "%" that begins no escape is itself. */
static char next_decoded(struct str s, size_t *at) {
    char c = s.p[*at];
    if (c == '%' && s.n - *at >= 3) {
        int high = hex_digit(s.p[*at + 1]), low = hex_digit(s.p[*at + 2]);
        if (high >= 0 && low >= 0) {
            *at += 3;
            return (char)(high << 4 | low);
        }
    }
    ++*at;
    return c;
}

static bool equals_decoded(struct str encoded, struct str text) {
    size_t at = 0, n = 0;
    while (at < encoded.n && n < text.n)
        if (next_decoded(encoded, &at) != text.p[n++])
            return false;
    return at == encoded.n && n == text.n;
}

bool query_next(struct str *rest, struct str name, struct str *ret_value) {
    while (rest->p) {
        struct str value = str_cut(rest, '&');
        struct str own = str_cut(&value, '=');
        if (equals_decoded(own, name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static enum verdict test_parameter(const struct condition *c, struct str encoded, struct route_scratch *scratch) {
    if (encoded.n == 0 || !memchr(encoded.p, '%', encoded.n))
        return test_value(c, encoded, scratch);
    if (encoded.n > sizeof scratch->text)
        return VERDICT_LIMIT;
    size_t n = 0;
    for (size_t at = 0; at < encoded.n;)
        scratch->text[n++] = next_decoded(encoded, &at);
    return test_value(c, (struct str){scratch->text, n}, scratch);
}

/* Met when any parameter of that name meets it: an origin may take the first or the last one. */
enum verdict check_query(const struct condition *c, const struct route_request *request, struct route_scratch *scratch) {
    struct str rest = request->query, value;
    enum verdict verdict = VERDICT_NO;
    if (rest.n == 0)
        rest.p = NULL;
    while (verdict == VERDICT_NO && query_next(&rest, c->name, &value))
        verdict = test_parameter(c, value, scratch);
    return negated(verdict, c->negate);
}

bool in_fraction(const struct rule *rule, const struct route_request *request) {
    return rule->fraction_of == 0 || request->random % rule->fraction_of < rule->fraction;
}

enum verdict check_conditions(const struct rule *rule, const struct route_request *request, struct route_scratch *scratch) {
    if (!check_method(rule, request) || !in_fraction(rule, request))
        return VERDICT_NO;
    enum verdict verdict = VERDICT_YES;
    for (uint32_t i = 0; i < rule->header_count && verdict != VERDICT_NO; i++)
        verdict = verdict_and(verdict, check_header(&rule->headers[i], request, scratch));
    for (uint32_t i = 0; i < rule->query_count && verdict != VERDICT_NO; i++)
        verdict = verdict_and(verdict, check_query(&rule->query[i], request, scratch));
    return verdict;
}
