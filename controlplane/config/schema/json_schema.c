#include <inttypes.h>

#include "controlplane/config/schema/catalog.h"
#include "controlplane/config/config.h"

/* A scalar may be written with variables anywhere; editors then cannot check it. */
#define VARIABLE "{\"$ref\": \"#/$defs/variable\"}"

static void add_def_name(const struct schema_object *o, unsigned scope, bool is_by_name, struct strbuf *out) {
    const char *place = scope == SCOPE_LISTENER  ? "listener-"
                        : scope == SCOPE_RULE    ? "rule-"
                        : scope == SCOPE_CLUSTER ? "cluster-"
                                                 : "";
    strbuf_printf(out, "%s%s%s", place, o->title, is_by_name ? "-by-name" : "");
}

static void add_ref(const struct schema_object *o, unsigned scope, bool is_by_name, struct strbuf *out) {
    strbuf_puts(out, "{\"$ref\": \"#/$defs/");
    add_def_name(o, scope, is_by_name, out);
    strbuf_puts(out, "\"}");
}

/* ---- values ---- */

static void add_words(const struct schema_key *k, struct strbuf *out) {
    uint64_t number;
    strbuf_puts(out, "{\"anyOf\": [{\"enum\": [");
    for (const struct schema_word *w = k->words; w->word && w->value != SCHEMA_LATER; w++) {
        strbuf_printf(out, "%s\"%s\"", w == k->words ? "" : ", ", w->word);
        if (str_to_uint64(str_of(w->word), &number) == 0)
            strbuf_printf(out, ", %s", w->word);
    }
    strbuf_puts(out, "]}, " VARIABLE "]}");
}

static void add_integer(const struct schema_key *k, struct strbuf *out) {
    strbuf_puts(out, "{\"anyOf\": [{");
    if (k->allowed) {
        strbuf_puts(out, "\"enum\": [");
        for (const uint16_t *a = k->allowed; *a; a++)
            strbuf_printf(out, "%s%u", a == k->allowed ? "" : ", ", *a);
        strbuf_putc(out, ']');
    } else {
        strbuf_printf(out, "\"type\": \"integer\", \"minimum\": %" PRIu64 ", \"maximum\": %" PRIu64, k->min, k->max);
    }
    strbuf_puts(out, "}, " VARIABLE "]}");
}

static void add_text(const struct schema_key *k, struct strbuf *out) {
    if (!k->form->pattern) {
        strbuf_puts(out, "{\"type\": [\"string\", \"number\", \"boolean\"]}");
        return;
    }
    strbuf_puts(out, "{\"anyOf\": [{\"type\": [\"string\", \"number\", \"boolean\"], \"pattern\": ");
    strbuf_add_json(out, str_of(k->form->pattern));
    strbuf_puts(out, "}, " VARIABLE "]}");
}

/* One value of the key, whether or not the key takes a list. */
static void add_item(const struct schema_key *k, struct strbuf *out) {
    switch (k->type) {
    case SCHEMA_BOOL: strbuf_puts(out, "{\"anyOf\": [{\"type\": \"boolean\"}, " VARIABLE "]}"); break;
    case SCHEMA_DURATION:
    case SCHEMA_SIZE:
        strbuf_printf(out, "{\"$ref\": \"#/$defs/%s%s\"}", k->type == SCHEMA_SIZE ? "size" : "duration",
                      k->flags & SCHEMA_MAY_BE_OFF ? "-or-off" : "");
        break;
    case SCHEMA_INTEGER: add_integer(k, out); break;
    case SCHEMA_WORD: add_words(k, out); break;
    case SCHEMA_TEXT: add_text(k, out); break;
    default: add_ref(k->object, k->scope, false, out);
    }
}

static void add_list(const struct schema_key *k, struct strbuf *out) {
    strbuf_puts(out, "{\"type\": \"array\", \"items\": ");
    add_item(k, out);
    bool is_bound = !schema_bounds_items(k);
    if (is_bound && k->min)
        strbuf_printf(out, ", \"minItems\": %" PRIu64, k->min);
    if (is_bound && k->max)
        strbuf_printf(out, ", \"maxItems\": %" PRIu64, k->max);
    strbuf_putc(out, '}');
}

static void add_value(const struct schema_key *k, struct strbuf *out) {
    bool is_list = k->flags & SCHEMA_LIST || k->type == SCHEMA_RESOURCES;
    bool has_choice = is_list && k->flags & (SCHEMA_ONE_OK | SCHEMA_NAMED);
    if (has_choice)
        strbuf_puts(out, "{\"anyOf\": [");
    if (is_list)
        add_list(k, out);
    else
        add_item(k, out);
    if (has_choice && k->flags & SCHEMA_ONE_OK) {
        strbuf_puts(out, ", ");
        add_item(k, out);
    }
    if (has_choice && k->flags & SCHEMA_NAMED) {
        strbuf_puts(out, ", {\"type\": \"object\", \"additionalProperties\": ");
        add_ref(k->object, k->scope, true, out);
        strbuf_putc(out, '}');
    }
    if (has_choice)
        strbuf_puts(out, "]}");
}

/* ---- objects ---- */

static void add_property(const struct catalog_entry *e, const struct schema_key *k, const char *name, bool is_single,
                         struct strbuf *out) {
    strbuf_printf(out, "\n        \"%s\": {\"description\": ", name);
    strbuf_add_json(out, str_of(k->description));
    strbuf_puts(out, ", \"allOf\": [");
    if (is_single)
        add_item(k, out);
    else
        add_value(k, out);
    strbuf_putc(out, ']');
    size_t end = out->n;
    strbuf_puts(out, ", \"default\": ");
    if (e->scope == SCOPE_LISTENER || e->scope == SCOPE_RULE || !catalog_default(e->object, k, true, out))
        out->n = end;
    strbuf_putc(out, '}');
}

static bool is_key_here(const struct catalog_entry *e, const struct schema_key *k) {
    return schema_in_scope(k, e->scope) && !(e->is_by_name && strcmp(k->key, "name") == 0);
}

static void add_properties(const struct catalog_entry *e, struct strbuf *out) {
    const char *separator = "";
    strbuf_puts(out, "\"properties\": {");
    for (const struct schema_key *k = e->object->keys; k->key; k++) {
        if (!is_key_here(e, k))
            continue;
        strbuf_puts(out, separator);
        add_property(e, k, k->key, false, out);
        if (k->one_as) {
            strbuf_putc(out, ',');
            add_property(e, k, k->one_as, true, out);
        }
        separator = ",";
    }
    strbuf_putc(out, '}');
}

static void add_required(const struct catalog_entry *e, struct strbuf *out) {
    const char *separator = "";
    strbuf_puts(out, ", \"required\": [");
    for (const struct schema_key *k = e->object->keys; k->key; k++) {
        if (!(k->flags & SCHEMA_REQUIRED) || !is_key_here(e, k))
            continue;
        strbuf_printf(out, "%s\"%s\"", separator, k->key);
        separator = ", ";
    }
    strbuf_putc(out, ']');
}

static size_t group_names(const struct schema_object *o, unsigned group, const char **names) {
    size_t n = 0;
    for (const struct schema_key *k = o->keys; k->key && n + 2 <= SCHEMA_KEYS_MAX; k++) {
        if (k->group != group)
            continue;
        names[n++] = k->key;
        if (k->one_as)
            names[n++] = k->one_as;
    }
    return n;
}

/* {"oneOf": [{"required": ["a"]}, ...]}, with a way out for none of them where none is allowed. */
static void add_group(const struct schema_object *o, unsigned group, struct strbuf *out) {
    const char *names[SCHEMA_KEYS_MAX];
    size_t n = group_names(o, group, names);
    strbuf_puts(out, "{\"oneOf\": [");
    for (size_t i = 0; i < n; i++)
        strbuf_printf(out, "%s{\"required\": [\"%s\"]}", i ? ", " : "", names[i]);
    if (!(o->groups & 1u << group)) {
        strbuf_puts(out, ", {\"not\": {\"anyOf\": [");
        for (size_t i = 0; i < n; i++)
            strbuf_printf(out, "%s{\"required\": [\"%s\"]}", i ? ", " : "", names[i]);
        strbuf_puts(out, "]}}");
    }
    strbuf_puts(out, "]}");
}

static void add_groups(const struct schema_object *o, struct strbuf *out) {
    const char *names[SCHEMA_KEYS_MAX];
    if (!group_names(o, 1, names))
        return;
    strbuf_puts(out, ", \"allOf\": [");
    for (unsigned group = 1; group_names(o, group, names); group++) {
        strbuf_puts(out, group == 1 ? "" : ", ");
        add_group(o, group, out);
    }
    strbuf_putc(out, ']');
}

static void add_object(const struct catalog_entry *e, struct strbuf *out) {
    strbuf_puts(out, "{\"type\": \"object\", \"description\": ");
    strbuf_add_json(out, str_of(e->object->description));
    strbuf_puts(out, ", \"additionalProperties\": false, ");
    add_properties(e, out);
    add_required(e, out);
    add_groups(e->object, out);
    strbuf_putc(out, '}');
}

/* A lone scalar may stand for the object when nothing else is required. */
static bool has_shorthand(const struct catalog_entry *e) {
    const char *shorthand = e->object->shorthand;
    for (const struct schema_key *k = e->object->keys; shorthand && k->key; k++)
        if (k->flags & SCHEMA_REQUIRED && is_key_here(e, k) && strcmp(k->key, shorthand) != 0)
            return false;
    return shorthand;
}

static void add_def(const struct catalog_entry *e, struct strbuf *out) {
    bool is_single;
    strbuf_puts(out, ",\n    \"");
    add_def_name(e->object, e->scope, e->is_by_name, out);
    strbuf_puts(out, "\": ");
    if (!has_shorthand(e)) {
        add_object(e, out);
        return;
    }
    strbuf_puts(out, "{\"anyOf\": [");
    add_item(schema_find(e->object, SCOPE_ALL, str_of(e->object->shorthand), &is_single), out);
    strbuf_puts(out, ", ");
    add_object(e, out);
    strbuf_puts(out, "]}");
}

int config_json_schema(struct strbuf *out) {
    static const char head[] =
        "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"Headgate configuration\",\n"
        "  \"$ref\": \"#/$defs/configuration\",\n  \"$defs\": {\n"
        "    \"variable\": {\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\"},\n"
        "    \"duration\": {\"anyOf\": [{\"const\": 0}, {\"type\": \"string\", \"pattern\": "
        "\"^(0|[0-9]+(us|ms|s|m|h|d))$\"}, " VARIABLE "]},\n"
        "    \"duration-or-off\": {\"anyOf\": [{\"const\": \"off\"}, {\"$ref\": \"#/$defs/duration\"}]},\n"
        "    \"size\": {\"anyOf\": [{\"type\": \"integer\", \"minimum\": 0}, "
        "{\"type\": \"string\", \"pattern\": \"^[0-9]+([KMGT]i)?B?$\"}, " VARIABLE "]},\n"
        "    \"size-or-off\": {\"anyOf\": [{\"const\": \"off\"}, {\"$ref\": \"#/$defs/size\"}]}";
    struct catalog catalog;
    catalog_collect(&catalog, &schema_root);
    strbuf_puts(out, head);
    for (size_t i = 0; i < catalog.count; i++)
        add_def(&catalog.entries[i], out);
    strbuf_puts(out, "\n  }\n}\n");
    return out->failed ? -1 : 0;
}
