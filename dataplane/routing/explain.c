/* Why a request meets the rule that it meets: all rules of its host in order, with the predicates that matching uses. */
#include <inttypes.h>

#include "dataplane/routing/compiled.h"

struct explainer {
    const struct route_request *request;
    struct route_scratch       *scratch;
    struct arena               *arena;
    bool                        failed; /* no memory */
    bool                        gave_up; /* at a limit: whether the last rule matches is not known */
};

static struct str say(struct explainer *e, char *text) {
    e->failed |= text == NULL;
    return str_of(text);
}

static const char *test_word(enum test test) {
    static const char *const words[] = {
        [TEST_PRESENT] = "present", [TEST_EXACT] = "exact", [TEST_PREFIX] = "prefix", [TEST_SUFFIX] = "suffix",
        [TEST_CONTAINS] = "contains", [TEST_REGEX] = "regex",       [TEST_RANGE] = "range",
    };
    return words[test];
}

static struct str explain_path(struct explainer *e, const struct rule *rule, enum verdict verdict) {
    static const char *const kinds[] = {
        [PATH_KIND_ANY] = "any",     [PATH_KIND_EXACT] = "exact",        [PATH_KIND_PREFIX] = "prefix",
        [PATH_KIND_REGEX] = "regex", [PATH_KIND_STARTS] = "starts-with",
    };
    struct str path = rule->path.n ? rule->path : STR("/");
    if (verdict == VERDICT_LIMIT)
        return say(e, arena_printf(e->arena, "path: regex \"%.*s\" gave up at its step limit", STR_FMT(path)));
    return say(e, arena_printf(e->arena, "path is \"%.*s\", expected %s \"%.*s\"", STR_FMT(e->request->path),
                               kinds[rule->path_kind], STR_FMT(path)));
}

static struct str explain_method(struct explainer *e, const struct rule *rule) {
    char *list = NULL;
    for (uint32_t i = 0; i < rule->method_count; i++)
        list = arena_printf(e->arena, "%s%s%.*s", list ? list : "", list ? " or " : "", STR_FMT(rule->methods[i]));
    return say(e, arena_printf(e->arena, "method is %.*s, expected %s", STR_FMT(e->request->method), list ? list : ""));
}

static struct str explain_fraction(struct explainer *e, const struct rule *rule) {
    return say(e, arena_printf(e->arena, "by chance: the rule takes %u of %u, and the number of this request is %u",
                               rule->fraction, rule->fraction_of, e->request->random % rule->fraction_of));
}

/* "exact "1"", "not present" */
static struct str expectation(struct explainer *e, const struct condition *c) {
    const char *not = c->negate ? "not " : "";
    if (c->test == TEST_PRESENT)
        return say(e, arena_printf(e->arena, "%s%s", not, test_word(c->test)));
    if (c->test == TEST_RANGE && c->below)
        return say(e, arena_printf(e->arena, "%sa number from %" PRIu64 " and below %" PRIu64, not, c->from, c->below));
    if (c->test == TEST_RANGE)
        return say(e, arena_printf(e->arena, "%sa number from %" PRIu64, not, c->from));
    return say(e, arena_printf(e->arena, "%s%s \"%.*s\"", not, test_word(c->test), STR_FMT(c->text)));
}

static struct str explain_condition(struct explainer *e, const char *what, const struct condition *c, enum verdict verdict,
                                    bool is_present, struct str actual) {
    struct str expected = expectation(e, c);
    if (verdict == VERDICT_LIMIT)
        return say(e, arena_printf(e->arena, "%s \"%.*s\": %.*s gave up at a limit", what, STR_FMT(c->name),
                                   STR_FMT(expected)));
    if (!is_present)
        return say(e, arena_printf(e->arena, "%s \"%.*s\" is absent, expected %.*s", what, STR_FMT(c->name),
                                   STR_FMT(expected)));
    return say(e, arena_printf(e->arena, "%s \"%.*s\" is \"%.*s\", expected %.*s", what, STR_FMT(c->name), STR_FMT(actual),
                               STR_FMT(expected)));
}

/* The first that is `wanted`: no, or not known. */
static bool explain_headers(struct explainer *e, const struct rule *rule, enum verdict wanted, struct str *ret_why) {
    for (uint32_t i = 0; i < rule->header_count; i++) {
        const struct condition *c = &rule->headers[i];
        enum verdict verdict = check_header(c, e->request, e->scratch);
        if (verdict != wanted)
            continue;
        bool is_present = true;
        struct str value = {"", 0};
        header_value(c, e->request, e->scratch, &is_present, &value);
        *ret_why = explain_condition(e, "header", c, verdict, is_present, value);
        return true;
    }
    return false;
}

static bool explain_query(struct explainer *e, const struct rule *rule, enum verdict wanted, struct str *ret_why) {
    for (uint32_t i = 0; i < rule->query_count; i++) {
        const struct condition *c = &rule->query[i];
        enum verdict verdict = check_query(c, e->request, e->scratch);
        if (verdict != wanted)
            continue;
        struct str rest = e->request->query, value = {"", 0};
        bool is_present = rest.n > 0 && query_next(&rest, c->name, &value);
        *ret_why = explain_condition(e, "query", c, verdict, is_present, value);
        return true;
    }
    return false;
}

/* Empty: it matches. What says no comes before what is not known, which does not matter then. */
static struct str explain_rule(struct explainer *e, const struct rule *rule) {
    enum verdict path = check_path(rule, e->request, e->scratch);
    struct str why = {"", 0};
    if (path == VERDICT_NO)
        return explain_path(e, rule, path);
    if (!check_method(rule, e->request))
        return explain_method(e, rule);
    if (explain_headers(e, rule, VERDICT_NO, &why) || explain_query(e, rule, VERDICT_NO, &why))
        return why;
    if (!in_fraction(rule, e->request))
        return explain_fraction(e, rule);
    if (path == VERDICT_LIMIT)
        why = explain_path(e, rule, path);
    e->gave_up = path == VERDICT_LIMIT || explain_headers(e, rule, VERDICT_LIMIT, &why) ||
                 explain_query(e, rule, VERDICT_LIMIT, &why);
    return why;
}

int route_table_explain(const struct route_table *table, const struct route_request *request, struct route_scratch *scratch,
                        struct arena *arena, struct route_explanation *ret) {
    struct explainer e = {request, scratch, arena, false, false};
    struct route_explanation explanation = {0};
    route_table_match(table, request, scratch, &explanation.match);
    const struct domain *domain = find_domain(table, request);
    if (!domain) {
        *ret = explanation;
        return 0;
    }
    const struct host *host = domain->host;
    explanation.has_host = true;
    explanation.host = host->number;
    explanation.domain = domain->text;
    explanation.rules = arena_calloc(arena, host->rule_count, sizeof *explanation.rules);
    bool is_found = false;
    for (uint32_t i = 0; explanation.rules && i < host->rule_count && !is_found && !e.gave_up && !e.failed; i++) {
        struct str why = explain_rule(&e, &host->rules[i]);
        is_found = why.n == 0;
        explanation.rules[explanation.rule_count++] = (struct route_explained_rule){host->number, i, is_found, why};
    }
    if (!explanation.rules || e.failed)
        return -1;
    *ret = explanation;
    return 0;
}
