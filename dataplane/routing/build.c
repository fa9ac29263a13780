/* A RouteTable message becomes a route_table: hosts, domains, the index. Rules are build_match.c and build_action.c. */
#include <stdio.h>

#include "common/alloc.h"
#include "dataplane/routing/compiled.h"

/* ---- what all of building uses */

void build_no_memory(struct builder *b) {
    b->failed = true;
    error_addf(b->errors, ERROR_MEMORY, "no memory for the route table");
}

void build_fault(struct builder *b, enum error_code code, const char *field, const char *expected, const char *format, ...) {
    struct strbuf message = {0}, path = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&message, format, args);
    va_end(args);
    strbuf_printf(&path, "hosts[%zu]", b->host);
    if (b->has_rule)
        strbuf_printf(&path, ".rules[%zu]", b->rule);
    if (field)
        strbuf_printf(&path, ".%s", field);
    b->failed = true;
    if (message.failed || path.failed) {
        build_no_memory(b);
    } else {
        struct error *e = error_addf(b->errors, code, "%s", message.p);
        error_set_resource(b->errors, e, b->resource, path.p);
        error_set_expected(b->errors, e, expected, NULL);
    }
    strbuf_finish(&message);
    strbuf_finish(&path);
}

void *build_alloc(struct builder *b, size_t count, size_t size) {
    void *memory = arena_calloc(&b->table->arena, count, size);
    if (!memory)
        build_no_memory(b);
    return memory;
}

struct regex *build_regex(struct builder *b, const char *pattern, enum regex_kind kind, const char *field) {
    struct route_table *t = b->table;
    size_t offset = 0;
    char message[128];
    if (hg_grow(&t->regexes, &t->regex_capacity, t->regex_count + 1, sizeof *t->regexes)) {
        build_no_memory(b);
        return NULL;
    }
    struct regex *regex = regex_create(str_of(pattern), kind, &offset, message);
    if (regex)
        t->regexes[t->regex_count++] = regex;
    else if (message[0])
        build_fault(b, ERROR_SYNTAX, field, NULL, "regular expression: %s, at byte %zu", message, offset);
    else
        build_no_memory(b);
    return regex;
}

bool build_path(struct builder *b, const char *text, const char *field, struct str *ret) {
    struct str canonical;
    enum path_error error = path_canonicalize(&b->table->policy, str_of(text), &b->table->arena, &canonical);
    if (error == PATH_MEMORY)
        build_no_memory(b);
    else if (error)
        build_fault(b, ERROR_SYNTAX, field, "a path that begins with \"/\"", "\"%s\" is no path (%s)", text,
                    path_error_word(error));
    else if (!str_eq(canonical, str_of(text))) {
        char *expected = arena_printf(&b->table->arena, "\"%.*s\"", STR_FMT(canonical));
        build_fault(b, ERROR_RANGE, field, expected, "\"%s\" is not in canonical form, so it would never match", text);
    } else {
        *ret = canonical;
        return true;
    }
    return false;
}

/* The name, and behind it the subset's keys and values, each with its NUL. */
static struct str cluster_key(struct builder *b, const Headgate__WeightedCluster *c) {
    struct str key = str_of(c->name);
    for (size_t i = 0; i < c->n_subset && key.p; i++) {
        const Headgate__MetadataEntry *e = c->subset[i];
        size_t n = key.n + 2 + strlen(e->key ? e->key : "") + strlen(e->value ? e->value : "");
        char *longer = build_alloc(b, n + 1, 1);
        if (!longer)
            return (struct str){NULL, 0};
        memcpy(longer, key.p, key.n);
        snprintf(longer + key.n + 1, n - key.n, "%s", e->key ? e->key : "");
        snprintf(longer + key.n + 2 + strlen(e->key ? e->key : ""), n - key.n, "%s", e->value ? e->value : "");
        key = (struct str){longer, n};
    }
    return key;
}

uint32_t build_cluster(struct builder *b, const Headgate__WeightedCluster *c) {
    struct route_table *t = b->table;
    struct str key = cluster_key(b, c);
    uintptr_t known = key.p ? (uintptr_t)map_get(&t->cluster_by_key, key) : 0;
    if (known)
        return (uint32_t)known - 1;
    if (!key.p || hg_grow(&t->clusters, &t->cluster_capacity, t->cluster_count + 1, sizeof *t->clusters) ||
        map_set(&t->cluster_by_key, key, (void *)(uintptr_t)(t->cluster_count + 1))) { /* NOLINT: an index, not a pointer */
        build_no_memory(b);
        return 0;
    }
    t->clusters[t->cluster_count] = (struct chosen_cluster){str_of(c->name), c};
    return (uint32_t)t->cluster_count++;
}

/* ---- rules into the index */

static void append_rule(struct host *host, struct rule_list *list, uint32_t number) {
    if (list->first == NO_RULE)
        list->first = number;
    else
        host->rules[list->last].next = number;
    list->last = number;
}

/* Where requests are met whose path begins with this text: below its whole segments, by the part that is left. */
static uint32_t add_start(struct index *index, uint32_t root, struct str path) {
    const char *slash = memrchr(path.p, '/', path.n);
    struct str whole = {path.p, (size_t)(slash - path.p)}, part = {slash + 1, path.n - whole.n - 1};
    uint32_t node = index_add_path(index, root, whole);
    return node == NO_NODE || part.n == 0 ? node : index_add_partial(index, node, part);
}

static void index_rule(struct builder *b, struct host *host, uint32_t number) {
    const struct rule *rule = &host->rules[number];
    bool is_exact = rule->path_kind == PATH_KIND_EXACT && rule->path.p[0] == '/';
    bool is_start = rule->path_kind == PATH_KIND_STARTS;
    if (rule->ignore_case || (!is_exact && !is_start && rule->path_kind != PATH_KIND_PREFIX)) {
        append_rule(host, &host->others, number);
        return;
    }
    uint32_t at = is_start ? add_start(&b->table->index, host->root, rule->path)
                           : index_add_path(&b->table->index, host->root, rule->path);
    if (at == NO_NODE) {
        build_no_memory(b);
        return;
    }
    struct node *node = &b->table->index.nodes[at];
    append_rule(host, is_exact ? &node->exact : &node->prefix, number);
}

static void check_nesting(struct builder *b) {
    bool is_partial, no_memory;
    const struct index *index = &b->table->index;
    uint32_t at = index_find_too_deep(index, &is_partial, &no_memory);
    if (no_memory)
        build_no_memory(b);
    if (at == NO_NODE)
        return;
    uint32_t rule = index->nodes[at].prefix.first;
    while (index->nodes[at].parent != NO_NODE)
        at = index->nodes[at].parent;
    for (b->host = 0; b->table->hosts[b->host].root != at;)
        b->host++;
    b->rule = rule;
    b->has_rule = !is_partial;
    if (is_partial)
        build_fault(b, ERROR_RANGE, "rules", NULL,
                    "paths that requests start with have more than %d lengths inside each other",
                    ROUTE_PARTIALS_MAX);
    else
        build_fault(b, ERROR_RANGE, "match.path.prefix", NULL, "lies inside more than %d other prefixes", ROUTE_NESTING_MAX);
}

/* ---- hosts */

static void build_rule(struct builder *b, const Headgate__Rule *message, struct rule *rule) {
    rule->host = (uint32_t)b->host;
    rule->index = (uint32_t)b->rule;
    rule->next = NO_RULE;
    rule->policy = &b->table->policy;
    rule->route.rule = message;
    const char *name = message->name && *message->name
                           ? message->name
                           : arena_printf(&b->table->arena, "%zu.%zu", b->host, b->rule);
    if (!name)
        build_no_memory(b);
    rule->route.name = str_of(name);
    build_match(b, message->match, rule);
    build_action(b, message, rule);
}

static void build_host(struct builder *b, const Headgate__Host *message, struct host *host) {
    host->number = (uint32_t)b->host;
    host->others = (struct rule_list){NO_RULE, NO_RULE};
    host->root = index_add_root(&b->table->index);
    host->rule_count = (uint32_t)message->n_rules;
    host->rules = build_alloc(b, message->n_rules, sizeof *host->rules);
    if (host->root == NO_NODE || !host->rules) {
        build_no_memory(b);
        return;
    }
    if (message->n_domains == 0)
        build_fault(b, ERROR_MISSING, "domains", NULL, "a host needs at least one domain");
    for (size_t i = 0; i < message->n_domains; i++)
        build_domain(b, host, message->domains[i], i);
    for (size_t i = 0; i < message->n_rules; i++) {
        bool had_failed = b->failed;
        b->rule = i;
        b->has_rule = true;
        b->failed = false;
        build_rule(b, message->rules[i], &host->rules[i]);
        if (!b->failed)
            index_rule(b, host, (uint32_t)i);
        b->failed |= had_failed;
        b->has_rule = false;
    }
}

static void build_hosts(struct builder *b, const Headgate__RouteTable *message) {
    struct route_table *t = b->table;
    t->host_count = message->n_hosts;
    t->hosts = build_alloc(b, message->n_hosts, sizeof *t->hosts);
    for (size_t i = 0; t->hosts && i < message->n_hosts; i++) {
        b->host = i;
        build_host(b, message->hosts[i], &t->hosts[i]);
    }
    if (!b->failed)
        check_nesting(b);
}

struct route_table *route_table_build(const Headgate__RouteTable *message, const char *name,
                                      const Headgate__Settings *settings, struct error_list *errors) {
    struct builder b = {.settings = settings, .errors = errors, .table = hg_calloc(1, sizeof *b.table)};
    if (!b.table) {
        build_no_memory(&b);
        return NULL;
    }
    arena_init(&b.table->arena, NULL, 0, 0);
    b.table->policy = path_policy_of(settings ? settings->path : NULL);
    b.table->match_port = message->match_port;
    b.resource = arena_printf(&b.table->arena, "route-table/%s", name);
    if (b.resource)
        build_hosts(&b, message);
    else
        build_no_memory(&b);
    if (!b.failed)
        return b.table;
    route_table_free(b.table);
    return NULL;
}

void route_table_free(struct route_table *table) {
    if (!table)
        return;
    for (size_t i = 0; i < table->regex_count; i++)
        regex_destroy(table->regexes[i]);
    hg_free(table->regexes);
    hg_free(table->clusters);
    map_finish(&table->cluster_by_key);
    map_finish(&table->exact);
    map_finish(&table->wildcard);
    map_finish(&table->front);
    index_finish(&table->index);
    arena_finish(&table->arena);
    hg_free(table);
}

size_t route_table_cluster_count(const struct route_table *table) {
    return table->cluster_count;
}

struct str route_table_cluster_name(const struct route_table *table, size_t index) {
    return table->clusters[index].name;
}

Headgate__MetadataEntry *const *route_table_cluster_subset(const struct route_table *table, size_t index,
                                                           size_t *ret_count) {
    *ret_count = table->clusters[index].message->n_subset;
    return table->clusters[index].message->subset;
}
