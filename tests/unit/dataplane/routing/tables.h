/* tables.h — route tables from a few lines of text, for the tests of this folder.
 *
 *   host example.com *.example.com
 *   rule name=x exact=/a method=GET header=x-a:exact:1 query=q:!present forward=one*3,two rewrite-prefix=/v1
 *   rule prefix=/b redirect=308 to-prefix=/c
 *   rule respond=200 body=ok
 *   ports
 *
 * A value ends at the next space; "%_" stands for a space. A test is [!][~]exact, prefix, suffix, contains, regex,
 * range (10..20), present or absent; "~" ignores case. "ports" makes domains have theirs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/arena.h"
#include "common/error.h"
#include "dataplane/routing/route.h"

struct table_text {
    struct arena          arena;
    Headgate__RouteTable  message;
    struct error_list     errors;
    struct route_table   *table;
};

static inline void *tt_new(struct table_text *t, const void *initial, size_t size) {
    void *p = arena_memdup(&t->arena, initial, size);
    assert_non_null(p);
    return p;
}
#define TT_NEW(t, type, initial) ((type *)tt_new((t), &(const type)initial, sizeof(type)))

/* Appends to a repeated field of pointers. */
static inline void tt_push(struct table_text *t, void *list, size_t *count, void *item) {
    void **old, **grown = arena_alloc(&t->arena, (*count + 1) * sizeof *grown);
    assert_non_null(grown);
    memcpy(&old, list, sizeof old);
    if (*count)
        memcpy(grown, old, *count * sizeof *grown);
    grown[(*count)++] = item;
    memcpy(list, &grown, sizeof grown);
}

static inline char *tt_string(struct table_text *t, struct str s) {
    char *text = (char *)arena_str(&t->arena, s).p, *out = text;
    assert_non_null(text);
    for (char *p = text; *p; p++) {
        *out = *p;
        if (p[0] == '%' && p[1] == '_') {
            *out = ' ';
            p++;
        }
        out++;
    }
    *out = '\0';
    return text;
}

static inline Headgate__FieldMatch *tt_condition(struct table_text *t, struct str value) {
    Headgate__FieldMatch *m = TT_NEW(t, Headgate__FieldMatch, HEADGATE__FIELD_MATCH__INIT);
    struct str name = {value.p, value.n && value.p[0] == ':' ? 1 : 0};
    value = (struct str){value.p + name.n, value.n - name.n};
    name.n += str_cut(&value, ':').n;
    m->name = tt_string(t, name);
    struct str test = str_cut(&value, ':');
    if (test.n && test.p[0] == '!') {
        m->has_invert = m->invert = 1;
        test.p++, test.n--;
    }
    if (test.n && test.p[0] == '~') {
        m->has_ignore_case = m->ignore_case = 1;
        test.p++, test.n--;
    }
    char *text = tt_string(t, value.p ? value : STR(""));
    if (str_eq(test, STR("range"))) {
        m->kind_case = HEADGATE__FIELD_MATCH__KIND_RANGE;
        m->range = TT_NEW(t, Headgate__NumberRange, HEADGATE__NUMBER_RANGE__INIT);
        m->range->from = strtoul(text, &text, 10);
        m->range->has_below = text[2] != '\0';
        m->range->below = strtoul(text + 2, NULL, 10);
    } else if (str_eq(test, STR("exact")))
        m->kind_case = HEADGATE__FIELD_MATCH__KIND_EXACT, m->exact = text;
    else if (str_eq(test, STR("prefix")))
        m->kind_case = HEADGATE__FIELD_MATCH__KIND_PREFIX, m->prefix = text;
    else if (str_eq(test, STR("suffix")))
        m->kind_case = HEADGATE__FIELD_MATCH__KIND_SUFFIX, m->suffix = text;
    else if (str_eq(test, STR("contains")))
        m->kind_case = HEADGATE__FIELD_MATCH__KIND_CONTAINS, m->contains = text;
    else if (str_eq(test, STR("regex")))
        m->kind_case = HEADGATE__FIELD_MATCH__KIND_REGEX, m->regex = text;
    else if (str_eq(test, STR("present")) || str_eq(test, STR("absent")))
        m->kind_case = HEADGATE__FIELD_MATCH__KIND_PRESENT, m->present = test.p[0] == 'p';
    else if (test.n)
        fail_msg("no test: %.*s", STR_FMT(test));
    return m;
}

static inline void tt_forward(struct table_text *t, Headgate__Rule *rule, struct str list) {
    rule->action_case = HEADGATE__RULE__ACTION_FORWARD;
    rule->forward = TT_NEW(t, Headgate__Forward, HEADGATE__FORWARD__INIT);
    while (list.p) {
        struct str weight = str_cut(&list, ',');
        Headgate__WeightedCluster *c = TT_NEW(t, Headgate__WeightedCluster, HEADGATE__WEIGHTED_CLUSTER__INIT);
        c->name = tt_string(t, str_cut(&weight, '*'));
        if (weight.p)
            c->has_weight = 1, c->weight = (uint32_t)strtoul(tt_string(t, weight), NULL, 10);
        tt_push(t, &rule->forward->clusters, &rule->forward->n_clusters, c);
    }
}

static inline Headgate__Redirect *tt_redirect(struct table_text *t, Headgate__Rule *rule) {
    if (rule->action_case != HEADGATE__RULE__ACTION_REDIRECT) {
        rule->action_case = HEADGATE__RULE__ACTION_REDIRECT;
        rule->redirect = TT_NEW(t, Headgate__Redirect, HEADGATE__REDIRECT__INIT);
    }
    return rule->redirect;
}

static inline Headgate__Respond *tt_respond(struct table_text *t, Headgate__Rule *rule) {
    if (rule->action_case != HEADGATE__RULE__ACTION_RESPOND) {
        rule->action_case = HEADGATE__RULE__ACTION_RESPOND;
        rule->respond = TT_NEW(t, Headgate__Respond, HEADGATE__RESPOND__INIT);
    }
    return rule->respond;
}

static inline Headgate__Match *tt_match(struct table_text *t, Headgate__Rule *rule) {
    if (!rule->match)
        rule->match = TT_NEW(t, Headgate__Match, HEADGATE__MATCH__INIT);
    return rule->match;
}

static inline Headgate__PathMatch *tt_path(struct table_text *t, Headgate__Rule *rule) {
    Headgate__Match *m = tt_match(t, rule);
    if (!m->path)
        m->path = TT_NEW(t, Headgate__PathMatch, HEADGATE__PATH_MATCH__INIT);
    return m->path;
}

static inline Headgate__Rewrite *tt_rewrite(struct table_text *t, Headgate__Rule *rule) {
    if (!rule->rewrite)
        rule->rewrite = TT_NEW(t, Headgate__Rewrite, HEADGATE__REWRITE__INIT);
    return rule->rewrite;
}

static inline Headgate__Retry *tt_retry(struct table_text *t, Headgate__Rule *rule) {
    if (!rule->retry)
        rule->retry = TT_NEW(t, Headgate__Retry, HEADGATE__RETRY__INIT);
    return rule->retry;
}

static inline bool tt_match_option(struct table_text *t, Headgate__Rule *rule, struct str key, struct str value,
                                   char *text) {
    Headgate__Match *m = tt_match(t, rule); /* an empty one is as good as none */
    if (str_eq(key, STR("exact")))
        *tt_path(t, rule) = (Headgate__PathMatch){.base = PROTOBUF_C_MESSAGE_INIT(&headgate__path_match__descriptor),
                                                  .kind_case = HEADGATE__PATH_MATCH__KIND_EXACT, .exact = text};
    else if (str_eq(key, STR("prefix")))
        *tt_path(t, rule) = (Headgate__PathMatch){.base = PROTOBUF_C_MESSAGE_INIT(&headgate__path_match__descriptor),
                                                  .kind_case = HEADGATE__PATH_MATCH__KIND_PREFIX, .prefix = text};
    else if (str_eq(key, STR("regex")))
        *tt_path(t, rule) = (Headgate__PathMatch){.base = PROTOBUF_C_MESSAGE_INIT(&headgate__path_match__descriptor),
                                                  .kind_case = HEADGATE__PATH_MATCH__KIND_REGEX, .regex = text};
    else if (str_eq(key, STR("starts")))
        *tt_path(t, rule) = (Headgate__PathMatch){.base = PROTOBUF_C_MESSAGE_INIT(&headgate__path_match__descriptor),
                                                  .kind_case = HEADGATE__PATH_MATCH__KIND_STARTS_WITH,
                                                  .starts_with = text};
    else if (str_eq(key, STR("ignore-case")))
        tt_path(t, rule)->has_ignore_case = tt_path(t, rule)->ignore_case = 1;
    else if (str_eq(key, STR("fraction"))) {
        m->fraction = TT_NEW(t, Headgate__Fraction, HEADGATE__FRACTION__INIT);
        m->fraction->numerator = (uint32_t)strtoul(text, &text, 10);
        m->fraction->of = (uint32_t)strtoul(text + 1, NULL, 10);
    } else if (str_eq(key, STR("no-path")))
        tt_path(t, rule);
    else if (str_eq(key, STR("method")))
        tt_push(t, &m->methods, &m->n_methods, text);
    else if (str_eq(key, STR("header")))
        tt_push(t, &m->headers, &m->n_headers, tt_condition(t, value));
    else if (str_eq(key, STR("query")))
        tt_push(t, &m->query, &m->n_query, tt_condition(t, value));
    else
        return false;
    return true;
}

static inline bool tt_answer_option(struct table_text *t, Headgate__Rule *rule, struct str key, char *text) {
    if (str_eq(key, STR("respond")))
        tt_respond(t, rule)->status = (uint32_t)strtoul(text, NULL, 10);
    else if (str_eq(key, STR("body")))
        tt_respond(t, rule)->body = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    else if (str_eq(key, STR("field"))) {
        Headgate__HeaderField *f = TT_NEW(t, Headgate__HeaderField, HEADGATE__HEADER_FIELD__INIT);
        struct str value = str_of(text);
        f->name = tt_string(t, str_cut(&value, ':'));
        f->value = tt_string(t, value);
        Headgate__Respond *respond = tt_respond(t, rule);
        tt_push(t, &respond->headers, &respond->n_headers, f);
    } else if (str_eq(key, STR("redirect")))
        tt_redirect(t, rule)->status = (uint32_t)strtoul(text, NULL, 10);
    else if (str_eq(key, STR("to-scheme")))
        tt_redirect(t, rule)->scheme = text;
    else if (str_eq(key, STR("to-host")))
        tt_redirect(t, rule)->host = text;
    else if (str_eq(key, STR("to-path")))
        tt_redirect(t, rule)->path = text;
    else if (str_eq(key, STR("to-prefix")))
        tt_redirect(t, rule)->prefix = text;
    else if (str_eq(key, STR("to-port")))
        tt_redirect(t, rule)->port = (uint32_t)strtoul(text, NULL, 10);
    else if (str_eq(key, STR("to-regex")))
        tt_redirect(t, rule)->regex = text;
    else if (str_eq(key, STR("to-substitution")))
        tt_redirect(t, rule)->substitution = text;
    else if (str_eq(key, STR("keep-port")))
        tt_redirect(t, rule)->keep_port = 1;
    else if (str_eq(key, STR("keep-query")))
        tt_redirect(t, rule)->keep_query = 1;
    else if (str_eq(key, STR("strip-query")))
        tt_redirect(t, rule)->strip_query = 1;
    else
        return false;
    return true;
}

static inline void tt_forward_option(struct table_text *t, Headgate__Rule *rule, struct str key, struct str value,
                                     char *text) {
    if (str_eq(key, STR("forward")))
        tt_forward(t, rule, value);
    else if (str_eq(key, STR("rewrite-prefix")))
        tt_rewrite(t, rule)->prefix = text;
    else if (str_eq(key, STR("rewrite-regex")))
        tt_rewrite(t, rule)->regex = text;
    else if (str_eq(key, STR("substitution")))
        tt_rewrite(t, rule)->substitution = text;
    else if (str_eq(key, STR("rewrite-host")))
        tt_rewrite(t, rule)->host = text;
    else if (str_eq(key, STR("host-from-endpoint")))
        tt_rewrite(t, rule)->host_from_endpoint = 1;
    else if (str_eq(key, STR("retries")))
        tt_retry(t, rule)->retries = (uint32_t)strtoul(text, NULL, 10);
    else if (str_eq(key, STR("retry-method"))) {
        Headgate__Retry *retry = tt_retry(t, rule);
        tt_push(t, &retry->methods, &retry->n_methods, text);
    } else if (str_eq(key, STR("name")))
        rule->name = text;
    else
        fail_msg("no option: %.*s", STR_FMT(key));
}

static inline void tt_rule(struct table_text *t, Headgate__Host *host, struct str line) {
    Headgate__Rule *rule = TT_NEW(t, Headgate__Rule, HEADGATE__RULE__INIT);
    while (line.p) {
        struct str value = str_cut(&line, ' '), key = str_cut(&value, '=');
        char *text = tt_string(t, value.p ? value : STR(""));
        if (key.n && !tt_match_option(t, rule, key, value, text) && !tt_answer_option(t, rule, key, text))
            tt_forward_option(t, rule, key, value, text);
    }
    tt_push(t, &host->rules, &host->n_rules, rule);
}

static inline void tt_line(struct table_text *t, struct str line) {
    struct str word = str_cut(&line, ' ');
    if (str_eq(word, STR("host"))) {
        Headgate__Host *host = TT_NEW(t, Headgate__Host, HEADGATE__HOST__INIT);
        while (line.p)
            tt_push(t, &host->domains, &host->n_domains, tt_string(t, str_cut(&line, ' ')));
        tt_push(t, &t->message.hosts, &t->message.n_hosts, host);
    } else if (str_eq(word, STR("ports"))) {
        t->message.has_match_port = t->message.match_port = 1;
    } else if (str_eq(word, STR("rule"))) {
        tt_rule(t, t->message.hosts[t->message.n_hosts - 1], line);
    } else if (word.n) {
        fail_msg("no line: %.*s", STR_FMT(word));
    }
}

/* t->table is NULL when there are errors. */
static inline void table_text_init(struct table_text *t, const char *text, const Headgate__Settings *settings) {
    struct str rest = str_of(text);
    *t = (struct table_text){.message = HEADGATE__ROUTE_TABLE__INIT};
    arena_init(&t->arena, NULL, 0, 0);
    while (rest.p)
        tt_line(t, str_trim(str_cut(&rest, '\n')));
    t->table = route_table_build(&t->message, "test", settings, &t->errors);
}

static inline void table_text_finish(struct table_text *t) {
    route_table_free(t->table);
    error_list_finish(&t->errors);
    arena_finish(&t->arena);
}

/* "METHOD host/path?query name:value name:value", with "%_" for a space; *ret points into the arena. */
struct request_text {
    struct fields        fields;
    struct route_request request;
};

static inline struct route_request *request_text(struct table_text *t, const char *text, struct request_text *ret) {
    struct str rest = str_of(text), method = str_cut(&rest, ' '), target = str_cut(&rest, ' ');
    const char *slash = memchr(target.p, '/', target.n);
    struct str host = {target.p, slash ? (size_t)(slash - target.p) : target.n};
    struct str query = {target.p + host.n, target.n - host.n}, path = str_cut(&query, '?');
    *ret = (struct request_text){0};
    ret->request = (struct route_request){.host = host, .authority = host, .scheme = STR("http"), .path = path,
                                          .query = query, .method = method, .fields = &ret->fields};
    while (rest.p) {
        struct str value = str_cut(&rest, ' '), name = str_cut(&value, ':');
        struct field f = {name.p, tt_string(t, value), 0, (uint16_t)name.n, FIELD_OTHER};
        f.value_len = (uint32_t)strlen(f.value);
        assert_int_equal(fields_reserve(&ret->fields, &t->arena, 1), 0);
        ret->fields.v[ret->fields.count++] = f;
    }
    return &ret->request;
}

/* ---- which rule a request meets */

struct expectation {
    const char *request, *name; /* of the rule; NULL: none */
};

static inline void check_matches(struct route_scratch *scratch, const char *text,
                                 const struct expectation *expected, size_t count) {
    struct table_text t;
    table_text_init(&t, text, NULL);
    assert_non_null(t.table);
    for (size_t i = 0; i < count; i++) {
        struct request_text r;
        struct route_match match;
        route_table_match(t.table, request_text(&t, expected[i].request, &r), scratch, &match);
        assert_false(match.limit_hit);
        const char *name = match.route ? match.route->name.p : "none";
        if (strcmp(name, expected[i].name ? expected[i].name : "none") != 0)
            fail_msg("%s: %s instead of %s", expected[i].request, name, expected[i].name);
    }
    table_text_finish(&t);
}
#define CHECK_MATCHES(text, expected) check_matches(scratch, (text), (expected), sizeof(expected) / sizeof *(expected))

static inline bool retries_answer(struct table_text *t, const struct route *route, uint16_t status,
                                  const char *grpc_status) {
    struct head head;
    head_init(&head);
    head.status = status;
    if (grpc_status)
        assert_int_equal(fields_add(&head.fields, &t->arena, STR("grpc-status"), str_of(grpc_status)), 0);
    return route_retries_answer(route, &head);
}
