#include "controlplane/config/message/unfill.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/map.h"
#include "controlplane/config/schema/number.h"

enum { KEY_MAX = 128 };

/* ---- scalars ---- */

static const char *word_of(const struct schema_key *k, uint64_t value) {
    for (const struct schema_word *w = k->words; w->word; w++)
        if (w->value != SCHEMA_LATER && (uint64_t)w->value == value)
            return w->word;
    return "unknown";
}

static void format_scalar(const struct schema_key *k, const struct field_value *value, struct strbuf *out) {
    if (k->flags & SCHEMA_MAY_BE_OFF && value->number == 0)
        strbuf_puts(out, "off");
    else if (k->type == SCHEMA_DURATION)
        duration_format(value->number, out);
    else if (k->type == SCHEMA_SIZE)
        size_format(value->number, out);
    else if (k->type == SCHEMA_BOOL)
        strbuf_puts(out, value->number ? "true" : "false");
    else if (k->type == SCHEMA_WORD)
        strbuf_puts(out, word_of(k, value->number));
    else
        strbuf_printf(out, "%" PRIu64, value->number);
}

struct tree_node *unfill_scalar(struct arena *arena, const struct schema_key *k, const struct field_value *value) {
    if (k->type == SCHEMA_TEXT)
        return tree_create_scalar(arena, value->text, true);
    struct strbuf text = {0};
    format_scalar(k, value, &text);
    struct tree_node *node = text.failed ? NULL : tree_create_scalar(arena, strbuf_str(&text), false);
    strbuf_finish(&text);
    return node;
}

/* ---- where values come from ---- */

/* The message that the key's field is in, or NULL when it is not there. */
static const ProtobufCMessage *descend(const struct schema_key *k, const ProtobufCMessage *m) {
    struct str path = str_of(k->field);
    struct str part = path.p ? str_cut(&path, '.') : path;
    while (path.p && m) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", STR_FMT(part));
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
        m = field_count(m, f) ? field_get(m, f, 0).message : NULL;
        part = str_cut(&path, '.');
    }
    return m;
}

/* The message of the same type in the settings: what a route's timeouts inherit from. */
static const ProtobufCMessage *inherited_of(const struct unfill *u, const struct schema_key *k) {
    if (!u->settings || !(k->scope & (SCOPE_LISTENER | SCOPE_RULE)))
        return NULL;
    const ProtobufCMessageDescriptor *type = u->settings->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].descriptor == k->object->message && field_count(u->settings, &type->fields[i]))
            return field_get(u->settings, &type->fields[i], 0).message;
    return NULL;
}

/* A single value: its own, or with is_effective the inherited one or the default. */
static bool find_value(const struct unfill *u, const struct schema_key *k, const ProtobufCFieldDescriptor *f,
                       const ProtobufCMessage *m, const ProtobufCMessage *inherited, struct field_value *ret) {
    bool is_own = m && field_count(m, f), is_inherited = u->is_effective && inherited && field_count(inherited, f);
    if (is_own || is_inherited) {
        *ret = field_get(is_own ? m : inherited, f, 0);
        return true;
    }
    /* Of keys that exclude each other none is in force until it is set. */
    return u->is_effective && !k->group && field_default(f, ret);
}

/* ---- objects and lists ---- */

static struct tree_node *unfill_object(struct unfill *u, const struct schema_object *o, unsigned scope,
                                       const ProtobufCMessage *m,
                                       const ProtobufCMessage *companion, const ProtobufCMessage *inherited, bool is_named);

/* A lone value may stand for the object that has nothing else. */
static struct tree_node *shorten(const struct unfill *u, const struct schema_object *o, struct tree_node *map) {
    bool is_lone = map && map->count == 1 && o->shorthand && !u->is_effective;
    return is_lone && str_eq(map->first->key, str_of(o->shorthand)) ? map->first->node : map;
}

static struct tree_node *unfill_item(struct unfill *u, const struct schema_key *k, const struct field_value *value,
                                     bool is_named) {
    if (k->type != SCHEMA_OBJECT)
        return unfill_scalar(u->arena, k, value);
    return shorten(u, k->object, unfill_object(u, k->object, k->scope, value->message, NULL, NULL, is_named));
}

static const char *name_of(const struct schema_key *k, const ProtobufCMessage *m) {
    bool is_single;
    const struct schema_key *name = schema_find(k->object, SCOPE_ALL, STR("name"), &is_single);
    return field_get(m, schema_field(k->object, name), 0).text.p;
}

/* Whether the names can be the keys of a mapping: they must differ, and YAML's short way of writing keys ends at 1,024
 * characters, escapes included. Returns 0, or -1 without memory. */
static int check_names(const struct schema_key *k, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                       bool *ret_can_be_keys) {
    struct map seen = {0};
    int status = 0;
    bool is_right = true;
    for (size_t i = 0; i < field_count(m, f) && is_right && status == 0; i++) {
        const char *name = name_of(k, field_get(m, f, i).message);
        is_right = name && strlen(name) <= KEY_MAX && !map_get(&seen, str_of(name));
        if (is_right)
            status = map_set(&seen, str_of(name), &seen);
    }
    map_finish(&seen);
    *ret_can_be_keys = is_right;
    return status;
}

static struct tree_node *unfill_named(struct unfill *u, const struct schema_key *k, const ProtobufCMessage *m,
                                      const ProtobufCFieldDescriptor *f) {
    struct tree_node *map = tree_create(u->arena, TREE_MAP);
    for (size_t i = 0; map && i < field_count(m, f); i++) {
        struct field_value value = field_get(m, f, i);
        char *name = arena_strdup(u->arena, name_of(k, value.message));
        if (!name || tree_set(u->arena, map, name, unfill_item(u, k, &value, true)) < 0)
            return NULL;
    }
    return map;
}

static struct tree_node *unfill_list(struct unfill *u, const struct schema_key *k, const ProtobufCMessage *m,
                                     const ProtobufCFieldDescriptor *f) {
    bool is_map = false;
    if (k->flags & SCHEMA_NAMED && check_names(k, m, f, &is_map) < 0)
        return NULL;
    if (is_map)
        return unfill_named(u, k, m, f);
    struct tree_node *list = tree_create(u->arena, TREE_LIST);
    for (size_t i = 0; list && i < field_count(m, f); i++) {
        struct field_value value = field_get(m, f, i);
        if (tree_append(u->arena, list, unfill_item(u, k, &value, false)) < 0)
            return NULL;
    }
    return list;
}

/* "[http1]" of the schema, for a list that is absent. */
static struct tree_node *absent_list(struct unfill *u, const struct schema_key *k) {
    struct tree_node *list = tree_create(u->arena, TREE_LIST);
    struct str words = {k->absent + 1, strlen(k->absent) - 2};
    while (list && words.p) {
        struct str word = str_trim(str_cut(&words, ','));
        if (tree_append(u->arena, list, tree_create_scalar(u->arena, word, false)) < 0)
            return NULL;
    }
    return list;
}

static int set_list(struct unfill *u, const struct schema_key *k, const ProtobufCMessage *m,
                    const ProtobufCFieldDescriptor *f, struct tree_node *into) {
    size_t count = m ? field_count(m, f) : 0;
    if (count == 0 && u->is_effective && k->absent && k->absent[0] == '[')
        return tree_set(u->arena, into, k->key, absent_list(u, k));
    if (count == 0)
        return 0;
    struct tree_node *list = unfill_list(u, k, m, f);
    if (!list)
        return -1;
    bool is_lone = count == 1 && list->type == TREE_LIST && list->first->node->type == TREE_SCALAR;
    if (is_lone && (k->one_as || k->flags & SCHEMA_ONE_SHOWN))
        return tree_set(u->arena, into, k->one_as ? k->one_as : k->key, list->first->node);
    return tree_set(u->arena, into, k->key, list);
}

/* The keys of an object without a message of its own, in a map where there are any. */
static int set_inline(struct unfill *u, const struct schema_key *k, const ProtobufCMessage *m, struct tree_node *into) {
    struct tree_node *map = unfill_object(u, k->object, k->scope, m, NULL, NULL, false);
    if (!map)
        return -1;
    return map->count ? tree_set(u->arena, into, k->key, shorten(u, k->object, map)) : 0;
}

static int set_object(struct unfill *u, const struct schema_key *k, const ProtobufCMessage *m,
                      const ProtobufCFieldDescriptor *f, struct tree_node *into) {
    const ProtobufCMessage *own = m && field_count(m, f) ? field_get(m, f, 0).message : NULL;
    if (!own && !(u->is_effective && k->flags & SCHEMA_ALWAYS))
        return 0;
    struct tree_node *map = unfill_object(u, k->object, k->scope, own, NULL, inherited_of(u, k), false);
    return tree_set(u->arena, into, k->key, shorten(u, k->object, map));
}

static int set_key(struct unfill *u, const struct schema_object *o, const struct schema_key *k, const ProtobufCMessage *m,
                   const ProtobufCMessage *inherited, struct tree_node *into) {
    if (k->flags & SCHEMA_INLINE)
        return set_inline(u, k, m, into);
    const ProtobufCFieldDescriptor *f = schema_field(o, k);
    struct field_value value;
    m = m ? descend(k, m) : NULL;
    if (k->flags & SCHEMA_LIST)
        return set_list(u, k, m, f, into);
    if (k->type == SCHEMA_OBJECT)
        return set_object(u, k, m, f, into);
    if (!find_value(u, k, f, m, inherited, &value))
        return 0;
    return tree_set(u->arena, into, k->key, unfill_scalar(u->arena, k, &value));
}

static int set_keys(struct unfill *u, const struct schema_object *o, unsigned scope, const ProtobufCMessage *m,
                    const ProtobufCMessage *companion, const ProtobufCMessage *inherited, bool is_named,
                    struct tree_node *into) {
    for (const struct schema_key *k = o->keys; k->key; k++) {
        bool is_name = is_named && strcmp(k->key, "name") == 0;
        if (is_name || k->flags & SCHEMA_ELSEWHERE || k->type == SCHEMA_RESOURCES || !schema_in_scope(k, scope))
            continue;
        if (set_key(u, o, k, k->flags & SCHEMA_COMPANION ? companion : m, inherited, into) < 0)
            return -1;
    }
    return 0;
}

static struct tree_node *unfill_object(struct unfill *u, const struct schema_object *o, unsigned scope,
                                       const ProtobufCMessage *m,
                                       const ProtobufCMessage *companion, const ProtobufCMessage *inherited, bool is_named) {
    struct tree_node *map = tree_create(u->arena, TREE_MAP);
    return map && set_keys(u, o, scope, m, companion, inherited, is_named, map) == 0 ? map : NULL;
}

struct tree_node *unfill_message(struct unfill *u, const struct schema_object *o, unsigned scope, const ProtobufCMessage *m,
                                 const ProtobufCMessage *companion, const char *name) {
    struct tree_node *map = tree_create(u->arena, TREE_MAP);
    if (!map || (name && tree_set(u->arena, map, "name", tree_create_scalar(u->arena, str_of(name), true)) < 0))
        return NULL;
    return set_keys(u, o, scope, m, companion, NULL, false, map) == 0 ? map : NULL;
}
