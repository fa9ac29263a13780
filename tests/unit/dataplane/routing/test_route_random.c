/* Random tables and requests: the indexed matcher finds what a plain walk over the message finds, and explain agrees. */
#include "tests/unit/dataplane/routing/tables.h"

#include <regex.h>
#include <strings.h>

enum { TABLES = 300, REQUESTS = 200 };

static uint64_t seed = 88172645463325252u;

/* xorshift: the same tables in every run. */
static unsigned draw(unsigned below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % below);
}

static const char *pick(const char *const *words, unsigned count) {
    return words[draw(count)];
}
#define PICK(...) pick((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* Few words, so that tables collide with requests often. */
static void add_path(struct strbuf *out, unsigned max_segments) {
    unsigned segments = draw(max_segments + 1);
    for (unsigned i = 0; i < segments; i++)
        strbuf_printf(out, "/%s", PICK("a", "b", "aa", "c", "A", "ab"));
    if (segments == 0 || draw(4) == 0)
        strbuf_putc(out, '/');
}

static void add_condition(struct strbuf *out, const char *kind) {
    strbuf_printf(out, " %s=%s:%s%s", kind, PICK("x", "y"), draw(4) ? "" : "!",
                  PICK("exact:1", "prefix:1", "suffix:1", "contains:2", "present", "absent", "regex:[12]+"));
}

static void add_rule(struct strbuf *out) {
    strbuf_puts(out, "rule respond=200");
    switch (draw(7)) {
    case 4:
    case 5:
        strbuf_puts(out, " starts=");
        add_path(out, 3);
        break;
    case 0:
    case 1:
        strbuf_puts(out, " exact=");
        add_path(out, 3);
        break;
    case 2:
    case 3:
        strbuf_puts(out, " prefix=");
        add_path(out, 3);
        break;
    default:
        if (draw(2))
            strbuf_printf(out, " regex=%s", PICK("/a/.*", "/(a|b)/?", "/[^/]+/c", ".*b"));
    }
    if (draw(6) == 0 && out->p[out->n - 1] != '*' && !strstr(strrchr(out->p, ' '), "regex") &&
        !strstr(strrchr(out->p, ' '), "respond"))
        strbuf_puts(out, " ignore-case");
    if (draw(3) == 0)
        strbuf_printf(out, " method=%s", PICK("GET", "POST"));
    if (draw(4) == 0)
        add_condition(out, "header");
    if (draw(4) == 0)
        add_condition(out, "query");
    strbuf_putc(out, '\n');
}

static void add_table(struct strbuf *out) {
    const char *const domains[] = {"a.b", "*.b", "*.a.b", "c", "*", "*.c", "*x.b", "x.*", "z.*"};
    for (unsigned i = 0; i < 9; i++) {
        if (draw(3) == 0)
            continue;
        strbuf_printf(out, "host %s\n", domains[i]);
        for (unsigned rules = draw(12); rules-- > 0;)
            add_rule(out);
    }
}

static void add_request(struct strbuf *out) {
    strbuf_printf(out, "%s %s", PICK("GET", "POST", "PUT"), PICK("a.b", "x.b", "x.a.b", "c", "z.c", "q.z.c", "zz", "b", ""));
    add_path(out, 4);
    if (draw(3) == 0)
        strbuf_printf(out, "?%s=%s", PICK("x", "y", "%78"), PICK("1", "2", "12", "21", "%31"));
    for (unsigned n = draw(3); n-- > 0;)
        strbuf_printf(out, " %s:%s", PICK("x", "y"), PICK("1", "2", "12", "21"));
}

/* ---- the plain walk, straight from the message */

static bool posix_matches(const char *pattern, struct str text) {
    regex_t regex;
    char anchored[128], copy[256];
    snprintf(anchored, sizeof anchored, "^(%s)$", pattern);
    snprintf(copy, sizeof copy, "%.*s", STR_FMT(text));
    assert_int_equal(regcomp(&regex, anchored, REG_EXTENDED | REG_NOSUB), 0);
    bool matches = regexec(&regex, copy, 0, NULL, 0) == 0;
    regfree(&regex);
    return matches;
}

static bool plain_path(const Headgate__PathMatch *m, struct str path) {
    if (!m)
        return true;
    int (*compare)(const char *, const char *, size_t) = m->ignore_case ? strncasecmp : strncmp;
    if (m->kind_case == HEADGATE__PATH_MATCH__KIND_EXACT)
        return m->ignore_case ? str_eq_nocase(path, str_of(m->exact)) : str_eq(path, str_of(m->exact));
    if (m->kind_case == HEADGATE__PATH_MATCH__KIND_REGEX)
        return posix_matches(m->regex, path);
    if (m->kind_case == HEADGATE__PATH_MATCH__KIND_STARTS_WITH)
        return path.n >= strlen(m->starts_with) && compare(path.p, m->starts_with, strlen(m->starts_with)) == 0;
    char with_slash[256], wanted[256]; /* "/a" and "/a/" both mean: begins with "/a/" once a "/" is put behind it */
    snprintf(with_slash, sizeof with_slash, "%.*s/", STR_FMT(path));
    size_t n = strlen(m->prefix);
    snprintf(wanted, sizeof wanted, "%s%s", m->prefix, m->prefix[n - 1] == '/' ? "" : "/");
    return compare(with_slash, wanted, strlen(wanted)) == 0;
}

static bool plain_value(const Headgate__FieldMatch *m, const char *value) {
    size_t n = strlen(value);
    switch (m->kind_case) {
    case HEADGATE__FIELD_MATCH__KIND_EXACT: return strcmp(value, m->exact) == 0;
    case HEADGATE__FIELD_MATCH__KIND_PREFIX: return strncmp(value, m->prefix, strlen(m->prefix)) == 0;
    case HEADGATE__FIELD_MATCH__KIND_SUFFIX:
        return n >= strlen(m->suffix) && strcmp(value + n - strlen(m->suffix), m->suffix) == 0;
    case HEADGATE__FIELD_MATCH__KIND_CONTAINS: return strstr(value, m->contains) != NULL;
    case HEADGATE__FIELD_MATCH__KIND_REGEX: return posix_matches(m->regex, str_of(value));
    default: return true;
    }
}

static bool plain_outcome(const Headgate__FieldMatch *m, bool is_met, bool is_present) {
    if (m->kind_case == HEADGATE__FIELD_MATCH__KIND_PRESENT)
        is_met = is_present == (m->present != 0);
    return is_met != (m->invert != 0);
}

static bool plain_header(const Headgate__FieldMatch *m, const struct fields *fields) {
    char joined[256] = "";
    bool is_present = false;
    for (uint32_t i = 0; i < fields->count; i++) {
        if (!str_eq(field_name(&fields->v[i]), str_of(m->name)))
            continue;
        size_t n = strlen(joined);
        snprintf(joined + n, sizeof joined - n, "%s%.*s", is_present ? ", " : "", STR_FMT(field_value(&fields->v[i])));
        is_present = true;
    }
    return plain_outcome(m, is_present && plain_value(m, joined), is_present);
}

/* At most one parameter, of which "%78" is x and "%31" is 1. */
static bool plain_query(const Headgate__FieldMatch *m, struct str query) {
    struct str value = query, name = str_cut(&value, '=');
    const char *own = str_eq(name, STR("%78")) ? "x" : name.n ? (name.p[0] == 'x' ? "x" : "y") : "";
    char text[16];
    snprintf(text, sizeof text, "%.*s", STR_FMT(value));
    bool is_present = strcmp(own, m->name) == 0;
    return plain_outcome(m, is_present && plain_value(m, strcmp(text, "%31") == 0 ? "1" : text), is_present);
}

static bool plain_rule(const Headgate__Rule *rule, const struct route_request *r) {
    const Headgate__Match *m = rule->match;
    if (!m)
        return true;
    bool is_method = m->n_methods == 0, is_all = true;
    for (size_t i = 0; i < m->n_methods; i++)
        is_method |= str_eq(r->method, str_of(m->methods[i]));
    for (size_t i = 0; i < m->n_headers; i++)
        is_all &= plain_header(m->headers[i], r->fields);
    for (size_t i = 0; i < m->n_query; i++)
        is_all &= plain_query(m->query[i], r->query);
    return is_method && is_all && plain_path(m->path, r->path);
}

/* 0: none; otherwise the better, the larger. */
static size_t plain_domain(const char *domain, struct str host) {
    size_t n = strlen(domain);
    if (strcmp(domain, "*") == 0)
        return 1;
    if (str_eq(host, str_of(domain)))
        return 1000;
    if (domain[n - 1] == '*')
        return host.n > n - 1 && str_starts(host, (struct str){domain, n - 1}) ? 1 + n : 0;
    return domain[0] == '*' && host.n > n - 1 && str_ends(host, str_of(domain + 1)) ? 500 + n : 0;
}

static const Headgate__Rule *plain_match(const Headgate__RouteTable *table, const struct route_request *r) {
    const Headgate__Host *best = NULL;
    size_t best_score = 0;
    for (size_t i = 0; i < table->n_hosts; i++) {
        size_t score = plain_domain(table->hosts[i]->domains[0], r->host);
        if (score > best_score) {
            best_score = score;
            best = table->hosts[i];
        }
    }
    for (size_t i = 0; best && i < best->n_rules; i++)
        if (plain_rule(best->rules[i], r))
            return best->rules[i];
    return NULL;
}

/* ---- */

static void check_request(struct table_text *t, struct route_scratch *scratch, unsigned *ret_found) {
    struct strbuf text = {0};
    struct request_text r;
    struct route_match match;
    struct route_explanation e;
    add_request(&text);
    request_text(t, text.p, &r);
    route_table_match(t->table, &r.request, scratch, &match);
    const Headgate__Rule *expected = plain_match(&t->message, &r.request);
    if ((match.route ? match.route->rule : NULL) != expected)
        fail_msg("%s: found %s", text.p, match.route ? match.route->name.p : "none");
    assert_int_equal(route_table_explain(t->table, &r.request, scratch, &t->arena, &e), 0);
    assert_ptr_equal(e.match.route, match.route);
    assert_int_equal(e.rule_count > 0 && e.rules[e.rule_count - 1].matches, match.route != NULL);
    *ret_found += match.route != NULL;
    strbuf_finish(&text);
}

static void index_agrees_with_plain_walk(void **state) {
    (void)state;
    struct route_scratch *scratch = route_scratch_create();
    unsigned found = 0;
    assert_non_null(scratch);
    for (unsigned i = 0; i < TABLES; i++) {
        struct strbuf text = {0};
        struct table_text t;
        strbuf_puts(&text, "");
        add_table(&text);
        table_text_init(&t, text.p, NULL);
        assert_non_null(t.table);
        for (unsigned j = 0; j < REQUESTS; j++)
            check_request(&t, scratch, &found);
        table_text_finish(&t);
        strbuf_finish(&text);
    }
    assert_in_range(found, TABLES * REQUESTS / 10, TABLES * REQUESTS * 9 / 10); /* both outcomes were tried */
    route_scratch_destroy(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_agrees_with_plain_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
