#include "controlplane/config/message/fill.h"

#include <stdio.h>

#include "controlplane/config/message/fill_value.h"

static void fill_object(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at,
                        ProtobufCMessage *m, ProtobufCMessage *companion);

/* ---- keys that do not belong ---- */

static void expect_keys(struct fill *f, struct error *e, const struct schema_object *o, unsigned scope, struct str key) {
    if (!e)
        return; /* beyond the errors that are kept */
    const char *names[SCHEMA_KEYS_MAX];
    size_t count = schema_names(o, scope, names, SCHEMA_KEYS_MAX);
    struct strbuf expected = {0};
    strbuf_puts(&expected, "one of ");
    for (size_t i = 0; i < count; i++)
        strbuf_printf(&expected, "%s%s", i ? ", " : "", names[i]);
    error_set_expected(f->errors, e, expected.failed ? NULL : expected.p, key.p ? str_nearest(key, names, count) : NULL);
    strbuf_finish(&expected);
}

static void report_unknown(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at) {
    struct str key = at->item->key;
    int shown = (int)(key.n > 80 ? 80 : key.n);
    bool is_single;
    if (schema_is_later(o, key))
        fill_report_key(f, at, ERROR_UNSUPPORTED, "\"%s\" is not supported by this version", key.p);
    else if (schema_find(o, SCOPE_ALL, key, &is_single))
        expect_keys(f, fill_report_key(f, at, ERROR_UNKNOWN_KEY, "\"%s\" cannot be set here", key.p),
                    o, scope, (struct str){0});
    else
        expect_keys(f, fill_report_key(f, at, ERROR_UNKNOWN_KEY, "unknown key \"%.*s\"", shown, key.p), o, scope, key);
}

/* ---- keys that exclude each other, keys that must be there ---- */

struct groups {
    const struct tree_item *first[4];   /* the first key of each group */
};

static bool is_first_of_group(struct fill *f, const struct schema_object *o, const struct schema_key *k,
                              const struct fill_at *at, struct groups *seen) {
    const struct tree_item **first = &seen->first[k->group];
    if (!k->group || !*first) {
        *first = at->item;
        return true;
    }
    struct strbuf names = {0};
    strbuf_puts(&names, "only one of ");
    schema_group_names(o, k->group, &names);
    struct error *e = fill_report_key(f, at, ERROR_CONFLICT, "\"%s\" cannot stand beside \"%s\"", at->item->key.p,
                                      (*first)->key.p);
    error_set_expected(f->errors, e, names.failed ? NULL : names.p, NULL);
    strbuf_finish(&names);
    return false;
}

static void check_groups(struct fill *f, const struct schema_object *o, const struct fill_at *at,
                         const struct groups *seen) {
    for (unsigned group = 1; group < sizeof seen->first / sizeof *seen->first; group++) {
        if (!(o->groups & 1u << group) || seen->first[group])
            continue;
        struct strbuf names = {0};
        schema_group_names(o, group, &names);
        struct error *e = fill_report(f, at, ERROR_MISSING, "the %s is not complete", o->title);
        strbuf_puts(&names, ", exactly one of them");
        error_set_expected(f->errors, e, names.failed ? NULL : names.p, NULL);
        strbuf_finish(&names);
    }
}

static void check_required(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at) {
    for (const struct schema_key *k = o->keys; k->key; k++) {
        bool is_given = at->is_named && strcmp(k->key, "name") == 0;
        if (!(k->flags & SCHEMA_REQUIRED) || k->flags & SCHEMA_ELSEWHERE || is_given || !schema_in_scope(k, scope))
            continue;
        if (tree_find(at->node, k->key) || (k->one_as && tree_find(at->node, k->one_as)))
            continue;
        struct strbuf expected = {0};
        strbuf_puts(&expected, k->flags & SCHEMA_LIST && !(k->flags & SCHEMA_ONE_OK) ? "a list" : "");
        if (!expected.n)
            schema_expected(k, &expected);
        struct error *e = fill_report(f, at, ERROR_MISSING, "the key \"%s\" is missing", k->key);
        error_set_expected(f->errors, e, expected.failed ? NULL : expected.p, NULL);
        strbuf_finish(&expected);
    }
}

/* ---- values ---- */

/* The message in which the last part of the key's field lives; those on the way are made. NULL without memory. */
static ProtobufCMessage *descend(struct fill *f, const struct schema_key *k, ProtobufCMessage *m) {
    struct str path = str_of(k->field);
    struct str part = path.p ? str_cut(&path, '.') : path;
    while (path.p) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", STR_FMT(part));
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
        struct field_value inner = {.message = field_count(m, field) ? field_get(m, field, 0).message
                                                                    : field_new_message(f->arena, field->descriptor)};
        if (!inner.message)
            return NULL;
        field_put(m, field, &inner);
        m = inner.message;
        part = str_cut(&path, '.');
    }
    return m;
}

static void fill_one(struct fill *f, const struct schema_key *k, const struct fill_at *at, ProtobufCMessage *m,
                     const ProtobufCFieldDescriptor *field) {
    struct field_value value = {0};
    if (k->type != SCHEMA_OBJECT) {
        if (fill_scalar(f, k, at, &value))
            field_put(m, field, &value);
        return;
    }
    value.message = field_new_message(f->arena, field->descriptor);
    if (!value.message) {
        fill_out_of_memory(f);
        return;
    }
    fill_object(f, k->object, k->scope, at, value.message, NULL);
    field_put(m, field, &value);
}

/* The item's key is its name: {x-canary: {exact: "1"}}. */
static void fill_named(struct fill *f, const struct schema_key *k, const struct fill_at *at, ProtobufCMessage *m,
                       const ProtobufCFieldDescriptor *field) {
    struct field_value value = {.message = field_new_message(f->arena, field->descriptor)}, name;
    if (!value.message) {
        fill_out_of_memory(f);
        return;
    }
    bool is_single;
    const struct schema_key *name_key = schema_find(k->object, SCOPE_ALL, STR("name"), &is_single);
    struct tree_node text = {.type = TREE_SCALAR, .is_quoted = true, .place = at->item->key_place, .text = at->item->key};
    struct fill_at at_name = {.up = at->up, .item = at->item, .node = &text};
    if (fill_scalar(f, name_key, &at_name, &name))
        field_put(value.message, schema_field(k->object, name_key), &name);
    fill_object(f, k->object, k->scope, at, value.message, NULL);
    field_put(m, field, &value);
}

static bool is_list_length_right(struct fill *f, const struct schema_key *k, const struct fill_at *at) {
    size_t count = at->node->count;
    if (schema_bounds_items(k))
        return true;
    if (count < k->min)
        fill_report(f, at, ERROR_RANGE, "the list is empty; at least %llu entry is needed", (unsigned long long)k->min);
    else if (k->max && count > k->max)
        fill_report(f, at, ERROR_RANGE, "the list has %zu entries; %llu are allowed", count, (unsigned long long)k->max);
    return count >= k->min && !(k->max && count > k->max);
}

static void fill_list(struct fill *f, const struct schema_key *k, bool is_single, const struct fill_at *at,
                      ProtobufCMessage *m, const ProtobufCFieldDescriptor *field) {
    bool is_named = k->flags & SCHEMA_NAMED && at->node->type == TREE_MAP;
    bool is_item = at->node->type == TREE_SCALAR || (at->node->type == TREE_MAP && k->type == SCHEMA_OBJECT);
    bool is_alone = is_single || (k->flags & SCHEMA_ONE_OK && is_item && !is_named);
    if (!is_alone && !is_named && at->node->type != TREE_LIST) {
        struct strbuf found = {0};
        tree_describe(at->node, &found);
        error_set_expected(f->errors, fill_report(f, at, ERROR_TYPE, "found %s", strbuf_str(&found).p), "a list", NULL);
        strbuf_finish(&found);
        return;
    }
    if (!is_alone && !is_list_length_right(f, k, at))
        return;
    if (field_reserve(f->arena, m, field, is_alone ? 1 : at->node->count) < 0) {
        fill_out_of_memory(f);
        return;
    }
    if (is_alone)
        fill_one(f, k, at, m, field);
    for (const struct tree_item *i = at->node->first; i && !is_alone; i = i->next) {
        struct fill_at below = {.up = at, .item = i, .node = i->node, .is_named = is_named};
        is_named ? fill_named(f, k, &below, m, field) : fill_one(f, k, &below, m, field);
    }
}

/* ---- objects ---- */

static void fill_key(struct fill *f, const struct schema_object *o, const struct schema_key *k, bool is_single,
                     const struct fill_at *at, ProtobufCMessage *m, ProtobufCMessage *companion) {
    if (k->flags & SCHEMA_ELSEWHERE || k->type == SCHEMA_RESOURCES)
        return;
    if (k->flags & SCHEMA_INLINE) {
        fill_object(f, k->object, k->scope, at, m, NULL);
        return;
    }
    const ProtobufCFieldDescriptor *field = schema_field(o, k);
    m = descend(f, k, k->flags & SCHEMA_COMPANION ? companion : m);
    if (!m)
        fill_out_of_memory(f);
    else if (k->flags & SCHEMA_LIST)
        fill_list(f, k, is_single, at, m, field);
    else
        fill_one(f, k, at, m, field);
}

static void fill_map(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at,
                     ProtobufCMessage *m, ProtobufCMessage *companion) {
    struct groups seen = {0};
    for (const struct tree_item *i = at->node->first; i; i = i->next) {
        struct fill_at below = {.up = at, .item = i, .node = i->node};
        bool is_single;
        const struct schema_key *k = schema_find(o, scope, i->key, &is_single);
        if (!k)
            report_unknown(f, o, scope, &below);
        else if (at->is_named && strcmp(k->key, "name") == 0)
            fill_report_key(f, &below, ERROR_CONFLICT, "the name already stands in front");
        else if (is_first_of_group(f, o, k, &below, &seen))
            fill_key(f, o, k, is_single, &below, m, companion);
    }
    check_groups(f, o, at, &seen);
    check_required(f, o, scope, at);
}

static void fill_shorthand(struct fill *f, const struct schema_object *o, const struct fill_at *at, ProtobufCMessage *m) {
    bool is_single;
    const struct schema_key *k = schema_find(o, SCOPE_ALL, str_of(o->shorthand), &is_single);
    struct fill_at same = {.up = at, .node = at->node};
    fill_key(f, o, k, false, &same, m, NULL);
}

/* A lone scalar fills one key; what else is required must come from elsewhere. */
static bool is_shorthand_enough(const struct schema_object *o, const struct fill_at *at) {
    if (!o->shorthand || at->node->type != TREE_SCALAR || tree_is_null(at->node))
        return false;
    for (const struct schema_key *k = o->keys; k->key; k++) {
        bool is_given = strcmp(k->key, o->shorthand) == 0 || (at->is_named && strcmp(k->key, "name") == 0);
        if (k->flags & SCHEMA_REQUIRED && !is_given)
            return false;
    }
    return true;
}

static void report_no_map(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at) {
    struct strbuf found = {0};
    tree_describe(at->node, &found);
    struct error *e = fill_report(f, at, ERROR_TYPE, "found %s", strbuf_str(&found).p);
    strbuf_reset(&found);
    schema_expected(&(struct schema_key){.type = SCHEMA_OBJECT, .object = o, .scope = scope}, &found);
    error_set_expected(f->errors, e, strbuf_str(&found).p, NULL);
    strbuf_finish(&found);
}

static void fill_object(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at,
                        ProtobufCMessage *m, ProtobufCMessage *companion) {
    size_t faults = f->faults;
    if (at->node->type == TREE_MAP)
        fill_map(f, o, scope, at, m, companion);
    else if (at->node->is_broken)
        fill_adopt(f, at);
    else if (is_shorthand_enough(o, at))
        fill_shorthand(f, o, at, m);
    else
        report_no_map(f, o, scope, at);
    if (f->faults == faults && o->check)
        o->check(f, at, m);
}

ProtobufCMessage *fill_message(struct fill *f, const struct schema_object *o, unsigned scope, const struct fill_at *at,
                               ProtobufCMessage **ret_companion) {
    ProtobufCMessage *m = field_new_message(f->arena, o->message);
    ProtobufCMessage *companion = o->companion ? field_new_message(f->arena, o->companion) : NULL;
    if (!m || (o->companion && !companion)) {
        fill_out_of_memory(f);
        return NULL;
    }
    fill_object(f, o, scope, at, m, companion);
    if (ret_companion)
        *ret_companion = companion;
    return m;
}
