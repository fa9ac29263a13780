#include "common/alloc.h"
#include "dataplane/routing/compiled.h"

enum { AUTHORITY_MAX = 262, CURSOR_MAX = ROUTE_NESTING_MAX + ROUTE_PARTIALS_MAX + 3 };

struct route_scratch *route_scratch_create(void) {
    struct route_scratch *scratch = hg_malloc(sizeof *scratch);
    struct regex_scratch *regex = regex_scratch_create();
    if (!scratch || !regex) {
        hg_free(scratch);
        regex_scratch_destroy(regex);
        return NULL;
    }
    scratch->regex = regex;
    return scratch;
}

void route_scratch_destroy(struct route_scratch *scratch) {
    if (!scratch)
        return;
    regex_scratch_destroy(scratch->regex);
    hg_free(scratch);
}

/* ---- which host */

static struct str without_port(struct str host) {
    const char *colon = host.n && host.p[host.n - 1] != ']' ? memrchr(host.p, ':', host.n) : NULL;
    if (colon && (host.p[0] != '[' || colon[-1] == ']'))
        host.n = (size_t)(colon - host.p);
    return host;
}

/* Without final dot, in lower case; the text itself when it is that already. */
static struct str normalize_host(struct str host, char room[AUTHORITY_MAX]) {
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    bool is_lower = true;
    for (size_t i = 0; i < host.n; i++)
        is_lower &= !(host.p[i] >= 'A' && host.p[i] <= 'Z');
    if (is_lower || host.n > AUTHORITY_MAX)
        return host;
    for (size_t i = 0; i < host.n; i++)
        room[i] = host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] | 0x20) : host.p[i];
    return (struct str){room, host.n};
}

/* The longest wildcard whose suffix, with its dot where it begins at one, ends the host behind at least one byte. */
static const struct domain *find_wildcard(const struct route_table *table, struct str host) {
    unsigned dots = 0;
    for (size_t i = 1; i < host.n; i++)
        dots += host.p[i] == '.';
    for (size_t i = 1; i < host.n; i++) {
        if (!table->has_partial_label && (host.p[i] != '.' || dots-- > table->wildcard_labels))
            continue;
        const struct domain *found = map_get(&table->wildcard, (struct str){host.p + i, host.n - i});
        if (found)
            return found;
    }
    return NULL;
}

/* The longest text before a wildcard that the host begins with, followed by at least one byte. */
static const struct domain *find_front(const struct route_table *table, struct str host) {
    const struct domain *found = NULL;
    for (size_t n = host.n - 1; n > 0 && !found; n--)
        found = map_get(&table->front, (struct str){host.p, n});
    return found;
}

const struct domain *find_domain(const struct route_table *table, const struct route_request *request) {
    char room[AUTHORITY_MAX];
    const struct domain *found = NULL;
    if (!table->exact.count && !table->wildcard.count && !table->front.count)
        return table->any;
    struct str host = normalize_host(table->match_port ? request->authority : without_port(request->host), room);
    if (host.n && host.n <= AUTHORITY_MAX) {
        found = table->exact.count ? map_get(&table->exact, host) : NULL;
        if (!found && table->wildcard.count)
            found = find_wildcard(table, host);
        if (!found && table->front.count)
            found = find_front(table, host);
    }
    return found ? found : table->any;
}

/* ---- which rule */

/* Lists whose rules may match, each at its first rule not yet looked at. */
struct candidates {
    uint32_t rules[CURSOR_MAX];
    unsigned count;
};

static void add_list(struct candidates *c, const struct rule_list *list) {
    if (list->first != NO_RULE)
        c->rules[c->count++] = list->first;
}

/* The lists of rules that know the beginning of the segment below the node. */
static void add_partials(const struct index *index, const struct node *node, struct str rest, struct candidates *c) {
    const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
    size_t length = slash ? (size_t)(slash - rest.p) : rest.n;
    for (size_t n = 1; n <= ROUTE_PARTIAL_MAX && n <= length; n++) {
        if (!(node->partial_lengths >> n & 1))
            continue;
        uint32_t part = index_find(index, node->partials, (struct str){rest.p, n});
        if (part != NO_NODE)
            add_list(c, &index->nodes[part].prefix);
    }
}

/* Every list of rules whose exact or prefix path is that of the request. */
static void gather(const struct route_table *table, const struct host *host, struct str path, struct candidates *c) {
    const struct index *index = &table->index;
    c->count = 0;
    add_list(c, &host->others);
    if (path.n == 0 || path.p[0] != '/')
        return;
    uint32_t node = host->root;
    struct str rest = {path.p + 1, path.n - 1};
    add_list(c, &index->nodes[node].prefix);
    while (rest.p) {
        if (index->nodes[node].partial_lengths)
            add_partials(index, &index->nodes[node], rest, c);
        node = index_find(index, node, str_cut(&rest, '/'));
        if (node == NO_NODE)
            return;
        add_list(c, &index->nodes[node].prefix);
    }
    add_list(c, &index->nodes[node].exact);
}

/* Takes the candidate that comes first in the table, or NO_RULE. */
static uint32_t take_first(struct candidates *c, const struct host *host) {
    unsigned first = 0;
    if (c->count == 0)
        return NO_RULE;
    for (unsigned i = 1; i < c->count; i++)
        if (c->rules[i] < c->rules[first])
            first = i;
    uint32_t rule = c->rules[first];
    c->rules[first] = host->rules[rule].next;
    if (c->rules[first] == NO_RULE)
        c->rules[first] = c->rules[--c->count];
    return rule;
}

void fill_match(const struct rule *rule, const struct route_request *request, struct route_match *match) {
    match->route = &rule->route;
    switch (rule->path_kind) {
    case PATH_KIND_PREFIX:
    case PATH_KIND_STARTS: match->prefix_length = rule->path.n; break;
    case PATH_KIND_EXACT: match->prefix_length = request->path.n; break;
    case PATH_KIND_ANY:
    case PATH_KIND_REGEX: match->prefix_length = 0; break;
    }
}

/* The path last: the trie has chosen by it already, so only a regular expression costs more than a comparison. */
static enum verdict check_rule(const struct rule *rule, const struct route_request *request, struct route_scratch *scratch) {
    enum verdict verdict = check_conditions(rule, request, scratch);
    return verdict == VERDICT_NO ? verdict : verdict_and(verdict, check_path(rule, request, scratch));
}

void route_table_match(const struct route_table *table, const struct route_request *request, struct route_scratch *scratch,
                       struct route_match *ret) {
    struct candidates candidates;
    const struct domain *domain = find_domain(table, request);
    *ret = (struct route_match){NULL, 0, false};
    if (!domain)
        return;
    gather(table, domain->host, request->path, &candidates);
    uint32_t number;
    while ((number = take_first(&candidates, domain->host)) != NO_RULE) {
        const struct rule *rule = &domain->host->rules[number];
        enum verdict verdict = check_rule(rule, request, scratch);
        if (verdict == VERDICT_YES)
            fill_match(rule, request, ret);
        ret->limit_hit = verdict == VERDICT_LIMIT; /* it may forbid what a later rule allows */
        if (verdict != VERDICT_NO)
            return;
    }
}
