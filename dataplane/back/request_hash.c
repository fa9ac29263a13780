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

bool request_hash(const struct exchange *x, const struct cluster_definition *d, uint64_t *ret) {
    struct str value;
    for (uint32_t i = 0; i < d->hash_rule_count; i++)
        if (find_value(x, &d->hash_rules[i], &value)) {
            *ret = XXH3_64bits(value.p, value.n);
            return true;
        }
    return false;
}
