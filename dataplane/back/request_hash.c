#include "dataplane/back/request_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The value of `name` among pairs "a=b" with this separator. */
static bool find_pair(struct str pairs, char separator, struct str name, struct str *ret) {
    while (pairs.n) {
        struct str value = str_trim(str_cut(&pairs, separator));
        if (!str_eq(str_cut(&value, '='), name))
            continue;
        *ret = value;
        return true;
    }
    return false;
}

bool request_cookie(const struct fields *fields, struct str name, struct str *ret) {
    for (const struct field *f = NULL; (f = fields_next(fields, f, FIELD_COOKIE));)
        if (find_pair(field_value(f), ';', name, ret))
            return true;
    return false;
}

static bool find_header(const struct fields *fields, struct str name, struct str *ret) {
    const struct field *f = fields_find_name(fields, name);
    if (f)
        *ret = field_value(f);
    return f != NULL;
}

static bool find_value(const struct exchange *x, const struct hash_rule *rule, struct str *ret) {
    const struct head *head = x->request.head;
    switch (rule->kind) {
    case HASH_HEADER: return find_header(&head->fields, rule->name, ret);
    case HASH_COOKIE: return request_cookie(&head->fields, rule->name, ret);
    case HASH_QUERY: return find_pair(head->query, '&', rule->name, ret);
    case HASH_ADDRESS: *ret = x->client; return x->client.n > 0;
    case HASH_PATH: *ret = x->path; return true;
    }
    return false;
}

/* A rule's own. */
static struct hash_rule hash_rule_of(const Headgate__HashOn *m) {
    switch (m->kind_case) {
    case HEADGATE__HASH_ON__KIND_HEADER: return (struct hash_rule){HASH_HEADER, str_of(m->header)};
    case HEADGATE__HASH_ON__KIND_COOKIE: return (struct hash_rule){HASH_COOKIE, str_of(m->cookie)};
    case HEADGATE__HASH_ON__KIND_QUERY: return (struct hash_rule){HASH_QUERY, str_of(m->query)};
    case HEADGATE__HASH_ON__KIND_PATH: return (struct hash_rule){HASH_PATH, {NULL, 0}};
    default: return (struct hash_rule){HASH_ADDRESS, {NULL, 0}};
    }
}

static bool hash_by_rule(const struct exchange *x, const Headgate__Rule *own, uint64_t *ret) {
    struct str value;
    for (size_t i = 0; i < own->n_hash; i++) {
        const struct hash_rule rule = hash_rule_of(own->hash[i]);
        if (find_value(x, &rule, &value)) {
            *ret = XXH3_64bits(value.p, value.n);
            return true;
        }
    }
    return false;
}

/* There is nothing else to know the client of a relayed connection by. */
static bool hash_by_client(const struct exchange *x, const struct cluster_definition *d, uint64_t *ret) {
    if (d->members->rules.kind != BALANCE_RING_HASH && d->members->rules.kind != BALANCE_MAGLEV)
        return false;
    *ret = XXH3_64bits(x->client.p, x->client.n);
    return true;
}

bool request_hash(const struct exchange *x, const struct cluster_definition *d, uint64_t *ret) {
    struct str value;
    if (exchange_is_tcp(x))
        return hash_by_client(x, d, ret);
    if (x->route->rule->n_hash)
        return hash_by_rule(x, x->route->rule, ret);
    for (uint32_t i = 0; i < d->hash_rule_count; i++)
        if (find_value(x, &d->hash_rules[i], &value)) {
            *ret = XXH3_64bits(value.p, value.n);
            return true;
        }
    return false;
}
