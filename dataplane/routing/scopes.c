#include "dataplane/routing/scopes.h"

#include <stdio.h>

#include "common/map.h"
#include "proto/resource.h"

struct part {
    struct str header;                  /* empty: Host, in lower case */
    struct str separator;               /* empty: the value is one element */
    struct str name;                    /* of the element; empty: it is chosen by number */
    struct str assignment;
    uint32_t   index;
};

struct scope_table {
    struct part   parts[SCOPE_KEY_PARTS_MAX];
    size_t        part_count;
    struct str   *keys;                 /* part_count for each scope */
    uint32_t     *slots;                /* number of a scope + 1, by hash; 0: none */
    size_t        slot_mask;
};

/* ---- finding ---- */

/* The next element of *rest, whose p is NULL behind the last one. */
static struct str next_element(struct str *rest, struct str separator) {
    struct str all = *rest;
    const char *end = separator.n && all.n ? memmem(all.p, all.n, separator.p, separator.n) : NULL;
    if (!end) {
        *rest = (struct str){NULL, 0};
        return all;
    }
    size_t n = (size_t)(end - all.p);
    *rest = (struct str){end + separator.n, all.n - n - separator.n};
    return (struct str){all.p, n};
}

static bool is_named(const struct part *part, struct str element, struct str *ret) {
    size_t n = part->name.n;
    if (element.n < n || memcmp(element.p, part->name.p, n) != 0)
        return false;
    struct str rest = {element.p + n, element.n - n};
    if (rest.n > 0 && !str_starts(rest, part->assignment))
        return false;
    size_t skipped = rest.n ? part->assignment.n : 0;
    *ret = (struct str){rest.p + skipped, rest.n - skipped};
    return true;
}

static bool find_element(const struct part *part, struct str value, struct str *ret) {
    uint32_t number = 0;
    for (struct str rest = value; rest.p; number++) {
        struct str element = next_element(&rest, part->separator);
        if (part->name.n ? is_named(part, element, ret) : number == part->index) {
            if (!part->name.n)
                *ret = element;
            return true;
        }
    }
    return false;
}

static bool find_part(const struct part *part, const struct route_request *request, struct str *ret) {
    if (part->header.n == 0)
        return request->authority.n > 0 && find_element(part, request->authority, ret);
    const struct field *f = fields_find_name(request->fields, part->header);
    if (!f)
        return false;
    struct str value = field_value(f);
    return find_element(part, value.n ? value : STR(""), ret);
}

bool scope_table_key(const struct scope_table *t, const struct route_request *request,
                     struct str ret_key[SCOPE_KEY_PARTS_MAX], size_t *ret_count) {
    for (size_t i = 0; i < t->part_count; i++)
        if (!find_part(&t->parts[i], request, &ret_key[i]))
            return false;
    *ret_count = t->part_count;
    return true;
}

static uint64_t hash_of(const struct str *key, size_t count) {
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + map_hash(key[i]);
    return hash;
}

static bool is_same(const struct str *a, const struct str *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!str_eq(a[i], b[i]))
            return false;
    return true;
}

/* The slot that has the key, or the empty one where it belongs. */
static uint32_t *find_slot(const struct scope_table *t, const struct str *key) {
    size_t at = hash_of(key, t->part_count) & t->slot_mask;
    while (t->slots[at] && !is_same(key, t->keys + (t->slots[at] - 1) * t->part_count, t->part_count))
        at = (at + 1) & t->slot_mask;
    return &t->slots[at];
}

int32_t scope_table_find(const struct scope_table *t, const struct route_request *request) {
    struct str key[SCOPE_KEY_PARTS_MAX];
    size_t count;
    return scope_table_key(t, request, key, &count) ? (int32_t)*find_slot(t, key) - 1 : SCOPE_NONE;
}

/* ---- building ---- */

struct scope_builder {
    struct scope_table *table;
    struct arena       *arena;
    struct error_list  *errors;
    const char         *listener;
    bool                has_failed, lacks_memory;
};

static void fault(struct scope_builder *b, const char *list, size_t index, const char *field, enum error_code code,
                  const char *message) {
    char resource[RESOURCE_NAME_MAX + 32], path[96];
    snprintf(resource, sizeof resource, "listener/%s", b->listener);
    snprintf(path, sizeof path, "scoped_routes.%s[%zu].%s", list, index, field);
    error_set_resource(b->errors, error_addf(b->errors, code, "%s", message), resource, path);
    b->has_failed = true;
}

static void out_of_memory(struct scope_builder *b) {
    error_addf(b->errors, ERROR_MEMORY, "no memory for scopes");
    b->has_failed = b->lacks_memory = true;
}

static struct str copy(struct scope_builder *b, const char *text) {
    struct str s = arena_str(b->arena, str_of(text ? text : ""));
    if (!s.p)
        out_of_memory(b);
    return s;
}

static void add_part(struct scope_builder *b, size_t i, const Headgate__ScopeKeyPart *m) {
    struct part *part = &b->table->parts[i];
    if (!m->header || !*m->header)
        fault(b, "key", i, "header", ERROR_MISSING, "a part of a key without a header");
    if (m->has_index && m->element)
        fault(b, "key", i, "index", ERROR_CONFLICT, "an element is chosen by its number or by its name");
    if (m->index > 0 && (!m->separator || !*m->separator))
        fault(b, "key", i, "index", ERROR_CONFLICT, "without a separator there is one element, number 0");
    if (!*m->assignment)
        fault(b, "key", i, "assignment", ERROR_MISSING, "something has to stand between name and value");
    if (b->has_failed)
        return;
    bool is_host = strcmp(m->header, "host") == 0;
    *part = (struct part){is_host ? STR("") : copy(b, m->header), copy(b, m->separator), copy(b, m->element),
                          copy(b, m->assignment), m->index};
}

/* Host is compared in lower case. */
static void lower_host(const struct scope_builder *b, size_t i, struct str text) {
    for (size_t k = 0; b->table->parts[i].header.n == 0 && k < text.n; k++)
        if (text.p[k] >= 'A' && text.p[k] <= 'Z')
            ((char *)(uintptr_t)text.p)[k] |= 0x20;
}

static void add_scope(struct scope_builder *b, size_t i, const Headgate__RouteScope *m) {
    struct scope_table *t = b->table;
    struct str *key = t->keys + i * t->part_count;
    if (m->n_key != t->part_count) {
        fault(b, "scopes", i, "key", ERROR_RANGE, "the key of a scope has one text for each part of the listener's key");
        return;
    }
    for (size_t k = 0; k < m->n_key && !b->lacks_memory; k++) {
        key[k] = copy(b, m->key[k]);
        lower_host(b, k, key[k]);
    }
    uint32_t *slot = b->lacks_memory ? NULL : find_slot(t, key);
    if (slot && *slot)
        fault(b, "scopes", i, "key", ERROR_CONFLICT, "another scope has this key");
    else if (slot)
        *slot = (uint32_t)i + 1;
}

static void allocate(struct scope_builder *b, const Headgate__ScopedRoutes *m) {
    struct scope_table *t = b->table;
    size_t slots = 4;
    while (slots < 2 * m->n_scopes)
        slots *= 2;
    t->part_count = m->n_key;
    t->slot_mask = slots - 1;
    t->keys = arena_calloc(b->arena, m->n_scopes * m->n_key + 1, sizeof *t->keys);
    t->slots = arena_calloc(b->arena, slots, sizeof *t->slots);
    if (!t->keys || !t->slots)
        out_of_memory(b);
}

struct scope_table *scope_table_build(const Headgate__ScopedRoutes *m, const char *listener, struct arena *arena,
                                      struct error_list *errors) {
    struct scope_builder b = {arena_calloc(arena, 1, sizeof *b.table), arena, errors, listener, false, false};
    if (m->n_key == 0 || m->n_key > SCOPE_KEY_PARTS_MAX) {
        fault(&b, "key", 0, "header", ERROR_RANGE, "a key has 1 to 8 parts");
        return NULL;
    }
    if (b.table)
        allocate(&b, m);
    else
        out_of_memory(&b);
    for (size_t i = 0; i < m->n_key && b.table; i++)
        add_part(&b, i, m->key[i]);
    bool has_key = !b.has_failed;
    for (size_t i = 0; i < m->n_scopes && has_key && !b.lacks_memory; i++)
        add_scope(&b, i, m->scopes[i]);
    return b.has_failed ? NULL : b.table;
}
