#include "controlplane/config/schema/schema.h"

#include <inttypes.h>
#include <stdio.h>

#include "controlplane/config/schema/number.h"

const struct schema_object *schema_of_kind(Headgate__Kind kind) {
    switch (kind) {
    case HEADGATE__KIND__KIND_SETTINGS: return &schema_root;
    case HEADGATE__KIND__KIND_LISTENER: return &schema_listener;
    case HEADGATE__KIND__KIND_ROUTE_TABLE: return &schema_route_table;
    case HEADGATE__KIND__KIND_CLUSTER: return &schema_cluster;
    case HEADGATE__KIND__KIND_ENDPOINT_SET: return &schema_endpoint_set;
    default: return NULL;
    }
}

bool schema_in_scope(const struct schema_key *k, unsigned scope) {
    return k->scopes == SCOPE_ALL || scope == SCOPE_ALL || (k->scopes & scope);
}

bool schema_bounds_items(const struct schema_key *k) {
    return k->flags & SCHEMA_LIST && (k->type == SCHEMA_INTEGER || k->type == SCHEMA_DURATION || k->type == SCHEMA_SIZE);
}

const struct schema_key *schema_find(const struct schema_object *o, unsigned scope, struct str name, bool *ret_is_single) {
    for (const struct schema_key *k = o->keys; k->key; k++) {
        bool is_single = k->one_as && str_eq(name, str_of(k->one_as));
        if (!schema_in_scope(k, scope) || !(is_single || str_eq(name, str_of(k->key))))
            continue;
        *ret_is_single = is_single;
        return k;
    }
    return NULL;
}

bool schema_is_later(const struct schema_object *o, struct str name) {
    for (const char *const *l = o->later; l && *l; l++)
        if (str_eq(name, str_of(*l)))
            return true;
    return false;
}

size_t schema_names(const struct schema_object *o, unsigned scope, const char **names, size_t max) {
    size_t n = 0;
    for (const struct schema_key *k = o->keys; k->key; k++) {
        if (!schema_in_scope(k, scope))
            continue;
        if (n < max)
            names[n++] = k->key;
        if (k->one_as && n < max)
            names[n++] = k->one_as;
    }
    return n;
}

static const char *before_item(size_t index, size_t count) {
    return index == 0 ? "" : index + 1 == count ? " or " : ", ";
}

void schema_group_names(const struct schema_object *o, unsigned group, struct strbuf *out) {
    const char *names[SCHEMA_KEYS_MAX];
    size_t n = 0;
    for (const struct schema_key *k = o->keys; k->key && n + 2 <= SCHEMA_KEYS_MAX; k++) {
        if (k->group != group)
            continue;
        if (k->one_as)
            names[n++] = k->one_as;
        names[n++] = k->key;
    }
    for (size_t i = 0; i < n; i++)
        strbuf_printf(out, "%s%s", before_item(i, n), names[i]);
}

/* ---- expectations ---- */

static void format_number(const struct schema_key *k, uint64_t number, struct strbuf *out) {
    if (k->type == SCHEMA_DURATION)
        duration_format(number, out);
    else if (k->type == SCHEMA_SIZE)
        size_format(number, out);
    else
        strbuf_printf(out, "%" PRIu64, number);
}

static void expect_words(const struct schema_key *k, struct strbuf *out) {
    size_t count = 0;
    while (k->words[count].word && k->words[count].value != SCHEMA_LATER)
        count++;
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%s%s", before_item(i, count), k->words[i].word);
}

static void expect_allowed(const struct schema_key *k, struct strbuf *out) {
    size_t count = 0;
    while (k->allowed[count])
        count++;
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%s%u", before_item(i, count), k->allowed[i]);
}

static void expect_number(const struct schema_key *k, struct strbuf *out) {
    static const char *const what[] = {
        [SCHEMA_INTEGER] = "a whole number",
        [SCHEMA_DURATION] = "a duration such as 250ms, 30s or 5m",
        [SCHEMA_SIZE] = "a size such as 64KiB or 1MiB",
    };
    strbuf_puts(out, what[k->type]);
    if (k->max) {
        strbuf_puts(out, k->type == SCHEMA_INTEGER ? " from " : ", from ");
        format_number(k, k->min, out);
        strbuf_puts(out, " to ");
        format_number(k, k->max, out);
    }
    if (k->flags & SCHEMA_MAY_BE_OFF)
        strbuf_puts(out, ", or off");
}

void schema_expected(const struct schema_key *k, struct strbuf *out) {
    switch (k->type) {
    case SCHEMA_BOOL: strbuf_puts(out, "true or false"); break;
    case SCHEMA_WORD: expect_words(k, out); break;
    case SCHEMA_TEXT: strbuf_puts(out, k->form->expected); break;
    case SCHEMA_OBJECT: strbuf_puts(out, k->object->shorthand ? "a mapping or a single value" : "a mapping"); break;
    case SCHEMA_RESOURCES: strbuf_puts(out, "a list"); break;
    default:
        if (k->allowed)
            expect_allowed(k, out);
        else
            expect_number(k, out);
    }
}

/* ---- fields ---- */

/* The field name of a key that does not say: "response-head" is response_head. */
static const ProtobufCFieldDescriptor *field_by_key(const ProtobufCMessageDescriptor *m, const char *key) {
    char name[64];
    size_t n = strlen(key);
    if (n >= sizeof name)
        return NULL;
    for (size_t i = 0; i <= n; i++)
        name[i] = key[i] == '-' ? '_' : key[i];
    return protobuf_c_message_descriptor_get_field_by_name(m, name);
}

const ProtobufCFieldDescriptor *schema_field(const struct schema_object *o, const struct schema_key *k) {
    const ProtobufCMessageDescriptor *m = k->flags & SCHEMA_COMPANION ? o->companion : o->message;
    if (k->flags & SCHEMA_INLINE)
        return NULL;
    if (!k->field)
        return field_by_key(m, k->key);
    const ProtobufCFieldDescriptor *f = NULL;
    struct str path = str_of(k->field);
    while (path.p && m) {
        char name[64];
        struct str part = str_cut(&path, '.');
        snprintf(name, sizeof name, "%.*s", STR_FMT(part));
        f = protobuf_c_message_descriptor_get_field_by_name(m, name);
        m = f && f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
    }
    return f;
}
