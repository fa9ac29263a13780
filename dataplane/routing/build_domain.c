/* Domains of hosts: exact ones, wildcards at either end, and the one for everything else. */
#include <stdio.h>

#include "common/alloc.h"
#include "dataplane/routing/authority.h"
#include "dataplane/routing/compiled.h"

enum { COPY_MAX = 264 };

/* A host in lower case; with a port only where ports count. */
static bool is_host_name(struct str text, bool may_have_port) {
    char copy[COPY_MAX];
    struct str host;
    uint16_t port;
    if (text.n == 0 || text.n >= sizeof copy || text.p[text.n - 1] == '.')
        return false;
    memcpy(copy, text.p, text.n);
    return authority_parse(copy, text.n, &host, &port) == 0 && (port == 0 || may_have_port) &&
           memcmp(copy, text.p, text.n) == 0;
}

/* What a wildcard stands beside: with something in its place it must be a host. */
static bool is_part_of_host(struct str part, bool is_front, bool may_have_port) {
    char copy[COPY_MAX];
    if (part.n == 0 || part.n + 1 >= sizeof copy)
        return false;
    memcpy(copy + !is_front, part.p, part.n);
    copy[is_front ? part.n : 0] = 'x';
    return is_host_name((struct str){copy, part.n + 1}, may_have_port);
}

static unsigned count_dots(struct str s) {
    unsigned dots = 0;
    for (size_t i = 0; i < s.n; i++)
        dots += s.p[i] == '.';
    return dots;
}

static void add_to_map(struct builder *b, struct map *map, struct str key, struct domain *domain, const char *field) {
    const struct domain *other = map_get(map, key);
    if (other)
        build_fault(b, ERROR_CONFLICT, field, NULL, "\"%.*s\" stands in hosts[%u] already", STR_FMT(domain->text),
                    other->host->number);
    else if (map_set(map, key, domain))
        build_no_memory(b);
}

static void add_any(struct builder *b, struct domain *domain, const char *field) {
    struct route_table *t = b->table;
    if (t->any)
        build_fault(b, ERROR_CONFLICT, field, NULL, "\"*\" stands in hosts[%u] already", t->any->host->number);
    t->any = domain;
}

static void add_wildcard(struct builder *b, struct str suffix, struct domain *domain, const char *field) {
    struct route_table *t = b->table;
    unsigned dots = count_dots(suffix);
    t->wildcard_labels = dots > t->wildcard_labels ? dots : t->wildcard_labels;
    t->has_partial_label |= suffix.p[0] != '.';
    add_to_map(b, &t->wildcard, suffix, domain, field);
}

void build_domain(struct builder *b, struct host *host, const char *name, size_t number) {
    struct route_table *t = b->table;
    struct str text = str_of(name), behind = {text.p + 1, text.n - 1}, before = {text.p, text.n - 1};
    char field[48];
    snprintf(field, sizeof field, "domains[%zu]", number);
    struct domain *domain = build_alloc(b, 1, sizeof *domain);
    if (!domain)
        return;
    *domain = (struct domain){text, host};
    bool is_wildcard = text.n > 1 && text.p[0] == '*', is_front = text.n > 1 && !is_wildcard && text.p[text.n - 1] == '*';
    if (str_eq(text, STR("*")))
        add_any(b, domain, field);
    else if (is_wildcard && is_part_of_host(behind, false, t->match_port))
        add_wildcard(b, behind, domain, field);
    else if (is_front && is_part_of_host(before, true, false))
        add_to_map(b, &t->front, before, domain, field);
    else if (!is_wildcard && !is_front && is_host_name(text, t->match_port))
        add_to_map(b, &t->exact, text, domain, field);
    else
        build_fault(b, ERROR_SYNTAX, field,
                    "a lower-case host name or address without a port, such a name with \"*\" at one of its ends, or \"*\"",
                    "\"%s\" is no domain", name);
}
