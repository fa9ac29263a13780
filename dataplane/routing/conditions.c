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

/* ---- path and method */

bool path_has_prefix(struct str path, struct str prefix) {
    return str_starts(path, prefix) && path.n > 0 && path.p[0] == '/' &&
           (path.n == prefix.n || path.p[prefix.n] == '/');
}

enum verdict check_path(const struct rule *rule, const struct route_request *request, struct route_scratch *scratch) {
    if (rule->path_kind == PATH_KIND_ANY)
        return VERDICT_YES;
    if (request->path.n == 0) /* CONNECT has none */
        return VERDICT_NO;
    switch (rule->path_kind) {
    case PATH_KIND_EXACT: return verdict_of(str_eq(request->path, rule->path));
    case PATH_KIND_PREFIX: return verdict_of(path_has_prefix(request->path, rule->path));
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

static enum verdict test_value(const struct condition *c, struct str value, struct route_scratch *scratch) {
    switch (c->test) {
    case TEST_PRESENT: return VERDICT_YES;
    case TEST_EXACT: return verdict_of(str_eq(value, c->text));
    case TEST_PREFIX: return verdict_of(str_starts(value, c->text));
    case TEST_SUFFIX: return verdict_of(str_ends(value, c->text));
    case TEST_CONTAINS: return verdict_of(c->text.n == 0 || (value.n && memmem(value.p, value.n, c->text.p, c->text.n)));
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

int header_value(const struct fields *fields, struct str name, struct route_scratch *scratch, bool *ret_is_present,
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

enum verdict check_header(const struct condition *c, const struct route_request *request, struct route_scratch *scratch) {
    bool is_present;
    struct str value;
    if (header_value(request->fields, c->name, scratch, &is_present, &value))
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

enum verdict check_conditions(const struct rule *rule, const struct route_request *request, struct route_scratch *scratch) {
    if (!check_method(rule, request))
        return VERDICT_NO;
    enum verdict verdict = VERDICT_YES;
    for (uint32_t i = 0; i < rule->header_count && verdict == VERDICT_YES; i++)
        verdict = check_header(&rule->headers[i], request, scratch);
    for (uint32_t i = 0; i < rule->query_count && verdict == VERDICT_YES; i++)
        verdict = check_query(&rule->query[i], request, scratch);
    return verdict;
}
