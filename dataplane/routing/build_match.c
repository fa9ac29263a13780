/* The conditions of a rule. */
#include <stdio.h>

#include "dataplane/routing/compiled.h"

enum { FIELD_PATH_MAX = 64 };

/* ---- path */

static struct str without_last_slash(struct str path) {
    return path.n && path.p[path.n - 1] == '/' ? (struct str){path.p, path.n - 1} : path;
}

static void build_path_match(struct builder *b, const Headgate__PathMatch *m, struct rule *rule) {
    switch (m->kind_case) {
    case HEADGATE__PATH_MATCH__KIND_EXACT:
        if (build_path(b, m->exact, "match.path.exact", &rule->path))
            rule->path_kind = PATH_KIND_EXACT;
        break;
    case HEADGATE__PATH_MATCH__KIND_PREFIX:
        if (!build_path(b, m->prefix, "match.path.prefix", &rule->path))
            break;
        if (m->prefix[0] != '/')
            build_fault(b, ERROR_SYNTAX, "match.path.prefix", NULL, "\"%s\" is no prefix of a path", m->prefix);
        rule->path_kind = PATH_KIND_PREFIX;
        rule->path = without_last_slash(rule->path);
        break;
    case HEADGATE__PATH_MATCH__KIND_REGEX:
        rule->path = str_of(m->regex);
        rule->path_regex = build_regex(b, m->regex, REGEX_WHOLE, "match.path.regex");
        rule->path_kind = PATH_KIND_REGEX;
        break;
    case HEADGATE__PATH_MATCH__KIND_STARTS_WITH:
        rule->path = str_of(m->starts_with);
        if (rule->path.n == 0 || rule->path.p[0] != '/')
            build_fault(b, ERROR_SYNTAX, "match.path.starts_with", "text that begins with \"/\"", "\"%s\" begins no path",
                        m->starts_with);
        else
            rule->path_kind = PATH_KIND_STARTS;
        break;
    default:
        build_fault(b, ERROR_MISSING, "match.path", "exact, prefix, starts-with or regex", "a path condition without one");
        break;
    }
    rule->ignore_case = m->ignore_case;
    if (m->ignore_case && rule->path_kind == PATH_KIND_REGEX)
        build_fault(b, ERROR_CONFLICT, "match.path.ignore_case", "(?i) in the regular expression",
                    "a regular expression says itself what case means");
}

/* ---- methods */

static bool is_token(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              (c && strchr("!#$%&'*+-.^_`|~", c))))
            return false;
    }
    return s.n > 0;
}

static void build_methods(struct builder *b, const Headgate__Match *match, struct rule *rule) {
    rule->methods = build_alloc(b, match->n_methods, sizeof *rule->methods);
    for (size_t i = 0; rule->methods && i < match->n_methods; i++) {
        rule->methods[i] = str_of(match->methods[i]);
        if (is_token(rule->methods[i]))
            continue;
        char field[FIELD_PATH_MAX];
        snprintf(field, sizeof field, "match.methods[%zu]", i);
        build_fault(b, ERROR_SYNTAX, field, "a method such as GET", "\"%s\" is no method", match->methods[i]);
    }
    rule->method_count = rule->methods ? (uint32_t)match->n_methods : 0;
}

/* ---- headers and query */

static void build_test(struct builder *b, const Headgate__FieldMatch *m, struct condition *c, const char *field) {
    char place[FIELD_PATH_MAX + 8];
    switch (m->kind_case) {
    case HEADGATE__FIELD_MATCH__KIND_EXACT: c->test = TEST_EXACT, c->text = str_of(m->exact); break;
    case HEADGATE__FIELD_MATCH__KIND_PREFIX: c->test = TEST_PREFIX, c->text = str_of(m->prefix); break;
    case HEADGATE__FIELD_MATCH__KIND_SUFFIX: c->test = TEST_SUFFIX, c->text = str_of(m->suffix); break;
    case HEADGATE__FIELD_MATCH__KIND_CONTAINS: c->test = TEST_CONTAINS, c->text = str_of(m->contains); break;
    case HEADGATE__FIELD_MATCH__KIND_PRESENT:
        c->test = TEST_PRESENT;
        c->negate ^= !m->present;
        break;
    case HEADGATE__FIELD_MATCH__KIND_REGEX:
        snprintf(place, sizeof place, "%s.regex", field);
        c->test = TEST_REGEX;
        c->text = str_of(m->regex);
        c->regex = build_regex(b, m->regex, REGEX_WHOLE, place);
        break;
    case HEADGATE__FIELD_MATCH__KIND_RANGE:
        c->test = TEST_RANGE;
        c->from = m->range->from;
        c->below = m->range->has_below ? m->range->below : 0;
        if (m->range->has_below && m->range->below <= m->range->from)
            build_fault(b, ERROR_RANGE, field, NULL, "no number is in the range");
        break;
    default:
        build_fault(b, ERROR_MISSING, field, "exact, prefix, suffix, contains, regex, range or present",
                    "a condition without a test");
        break;
    }
    c->ignore_case = m->ignore_case;
    if (m->ignore_case && c->test == TEST_REGEX)
        build_fault(b, ERROR_CONFLICT, field, "(?i) in the regular expression",
                    "a regular expression says itself what case means");
}

/* False: the name has a colon, but is none of those. */
static bool find_subject(struct str name, enum subject *ret) {
    static const char *const names[] = {
        [SUBJECT_FIELD] = "", [SUBJECT_METHOD] = ":method", [SUBJECT_AUTHORITY] = ":authority", [SUBJECT_SCHEME] = ":scheme",
        [SUBJECT_TARGET] = ":path",
    };
    *ret = SUBJECT_FIELD;
    if (name.n == 0 || name.p[0] != ':')
        return true;
    for (size_t i = 1; i < sizeof names / sizeof *names; i++)
        if (str_eq(name, str_of(names[i])))
            *ret = (enum subject)i;
    return *ret != SUBJECT_FIELD;
}

static bool is_header_name(struct condition *c) {
    return find_subject(c->name, &c->subject) && (c->subject != SUBJECT_FIELD || field_name_is_valid(c->name));
}

static struct condition *build_conditions(struct builder *b, Headgate__FieldMatch **messages, size_t count, bool is_header,
                                          uint32_t *ret_count) {
    struct condition *conditions = build_alloc(b, count, sizeof *conditions);
    for (size_t i = 0; conditions && i < count; i++) {
        const Headgate__FieldMatch *m = messages[i];
        char field[FIELD_PATH_MAX], place[FIELD_PATH_MAX + 8];
        snprintf(field, sizeof field, "match.%s[%zu]", is_header ? "headers" : "query", i);
        snprintf(place, sizeof place, "%s.name", field);
        conditions[i] = (struct condition){.name = str_of(m->name), .negate = m->invert};
        if (is_header && !is_header_name(&conditions[i]))
            build_fault(b, ERROR_SYNTAX, place, "a field name in lower case", "\"%s\" is no field name",
                        m->name ? m->name : "");
        else if (!m->name)
            build_fault(b, ERROR_MISSING, place, NULL, "a query condition needs the parameter's name");
        build_test(b, m, &conditions[i], field);
    }
    *ret_count = conditions ? (uint32_t)count : 0;
    return conditions;
}

void build_match(struct builder *b, const Headgate__Match *match, struct rule *rule) {
    if (!match)
        return;
    if (match->path)
        build_path_match(b, match->path, rule);
    build_methods(b, match, rule);
    rule->headers = build_conditions(b, match->headers, match->n_headers, true, &rule->header_count);
    rule->query = build_conditions(b, match->query, match->n_query, false, &rule->query_count);
    if (!match->fraction)
        return;
    rule->fraction = match->fraction->numerator;
    rule->fraction_of = match->fraction->of;
    if (rule->fraction_of == 0)
        build_fault(b, ERROR_RANGE, "match.fraction", "more than 0", "a fraction of 0");
}
