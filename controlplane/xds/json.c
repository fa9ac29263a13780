#include "controlplane/xds/json.h"

#include <stdarg.h>
#include <stdio.h>

#include "controlplane/xds/decode.h"
#include "controlplane/xds/json_reader.h"
#include "controlplane/xds/value.h"
#include "proto/google/protobuf/any.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"

/* ---- telling ---- */

static void add_path(const struct json_at *at, struct strbuf *out) {
    if (!at)
        return;
    add_path(at->up, out);
    if (at->field)
        strbuf_printf(out, "%s%s", out->n ? "." : "", at->field);
    else if (at->item && at->item->key.p) {
        strbuf_putc(out, '[');
        strbuf_add_json(out, at->item->key);
        strbuf_putc(out, ']');
    } else if (at->item)
        strbuf_printf(out, "[%zu]", at->item->index);
}

int json_fault(struct json_reader *r, const struct json_at *at, const struct error *what, const char *format, ...) {
    const struct tree_place *place = &at->node->place;
    struct strbuf path = {0};
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    add_path(at, &path);
    error_list_add(r->errors, &(struct error){
        .code = what->code, .message = message, .file = place->file, .line = place->line, .column = place->column,
        .path = path.n && !path.failed ? path.p : NULL, .expected = what->expected, .nearest = what->nearest,
    });
    strbuf_finish(&path);
    r->faults++;
    return -1;
}

int json_expected(struct json_reader *r, const struct json_at *at, const char *expected) {
    struct strbuf found = {0};
    tree_describe(at->node, &found);
    json_fault(r, at, &(struct error){.code = ERROR_TYPE, .expected = expected}, "cannot be %s",
               found.failed ? "this" : strbuf_str(&found).p);
    strbuf_finish(&found);
    return -1;
}

int json_no_memory(struct json_reader *r) {
    error_addf(r->errors, ERROR_MEMORY, "out of memory, or the message is too large");
    r->faults++;
    return -1;
}

ProtobufCMessage *json_new_message(struct json_reader *r, const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *m = arena_alloc(r->arena, type->sizeof_message);
    if (m)
        protobuf_c_message_init(type, m);
    else
        json_no_memory(r);
    return m;
}

/* ---- names ---- */

/* Whether `key` is "lowerCamelCase" of "lower_camel_case". */
static bool is_camel(struct str key, const char *name) {
    size_t i = 0;
    for (; *name; name++, i++) {
        char c = *name;
        if (c == '_' && name[1]) {
            c = *++name;
            c = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        }
        if (i >= key.n || key.p[i] != c)
            return false;
    }
    return i == key.n;
}

static const ProtobufCFieldDescriptor *field_of_key(const ProtobufCMessageDescriptor *type, struct str key) {
    for (unsigned i = 0; i < type->n_fields; i++)
        if (str_eq(key, str_of(type->fields[i].name)) || is_camel(key, type->fields[i].name))
            return &type->fields[i];
    return NULL;
}

enum { NAMES_MAX = 128 };

static int tell_unknown_key(struct json_reader *r, const struct json_at *at, const struct tree_item *item,
                            const ProtobufCMessageDescriptor *type) {
    const char *names[NAMES_MAX];
    size_t count = type->n_fields < NAMES_MAX ? type->n_fields : NAMES_MAX;
    struct tree_node name = {.place = item->key_place};
    struct json_at key = {.up = at, .field = item->key.p, .node = &name};
    for (size_t i = 0; i < count; i++)
        names[i] = type->fields[i].name;
    struct error what = {.code = ERROR_UNKNOWN_KEY, .nearest = str_nearest(item->key, names, count)};
    return json_fault(r, &key, &what, "is no field of %s", type->name);
}

/* ---- fields ---- */

/* One value to where it stands in a message, or in the array of a repeated field. */
static int read_value(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, void *to) {
    ProtobufCMessage *m;
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return json_read_scalar(r, at, f, to);
    if (json_read_message(r, at, f->descriptor, &m))
        return -1;
    memcpy(to, &m, sizeof m);
    return 0;
}

/* One entry of a map to its place in the array. */
static int read_entry(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, void *to) {
    ProtobufCMessage *entry = json_new_message(r, f->descriptor);
    if (!entry)
        return -1;
    const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0], *value = &entry->descriptor->fields[1];
    struct tree_node name = {.type = TREE_SCALAR, .is_quoted = true, .text = at->item->key, .place = at->item->key_place};
    struct json_at key_at = {.up = at->up, .item = at->item, .node = &name};
    struct json_at value_at = *at;
    value_at.depth++;
    if (json_read_scalar(r, &key_at, key, (char *)entry + key->offset) ||
        read_value(r, &value_at, value, (char *)entry + value->offset))
        return -1;
    memcpy(to, &entry, sizeof entry);
    return 0;
}

static int read_items(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f, bool is_map,
                      ProtobufCMessage *m) {
    size_t width = xds_field_width(f), count = at->node->count;
    char *items = arena_calloc(r->arena, count ? count : 1, width), *to = items;
    int status = 0;
    if (!items)
        return json_no_memory(r);
    const struct tree_item *item = at->node->first;
    for (; item && r->faults < ERROR_LIST_MAX; item = item->next, to += width) {
        struct json_at item_at = {.up = at, .item = item, .node = item->node, .depth = at->depth};
        status |= is_map ? read_entry(r, &item_at, f, to) : read_value(r, &item_at, f, to);
    }
    if (status)
        return -1;
    memcpy((char *)m + f->offset, &items, sizeof items);
    memcpy((char *)m + f->quantifier_offset, &count, sizeof count);
    return 0;
}

/* One message where a list of them belongs is a list of one: Envoy reads it so. */
static int read_alone(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f,
                      ProtobufCMessage *m) {
    size_t count = 1;
    void *items = arena_calloc(r->arena, count, xds_field_width(f));
    if (!items)
        return json_no_memory(r);
    if (read_value(r, at, f, items))
        return -1;
    memcpy((char *)m + f->offset, &items, sizeof items);
    memcpy((char *)m + f->quantifier_offset, &count, sizeof count);
    return 0;
}

int json_read_repeated(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f,
                       ProtobufCMessage *m) {
    bool is_map = xds_field_is_map(m->descriptor, f);
    if (!is_map && at->node->type == TREE_MAP && f->type == PROTOBUF_C_TYPE_MESSAGE)
        return read_alone(r, at, f, m);
    if (at->node->type != (is_map ? TREE_MAP : TREE_LIST))
        return json_expected(r, at, is_map ? "a map" : "a list");
    return read_items(r, at, f, is_map, m);
}

static const char *set_member(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    uint32_t which;
    memcpy(&which, (const char *)m + f->quantifier_offset, sizeof which);
    const ProtobufCFieldDescriptor *other = protobuf_c_message_descriptor_get_field(m->descriptor, which);
    return other ? other->name : NULL;
}

static int read_field(struct json_reader *r, const struct json_at *at, const ProtobufCFieldDescriptor *f,
                      ProtobufCMessage *m) {
    bool is_member = f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
    const char *other = is_member ? set_member(m, f) : NULL;
    uint32_t which = f->id;
    if (xds_field_is_repeated(f))
        return json_read_repeated(r, at, f, m);
    if (other)
        return json_fault(r, at, &(struct error){.code = ERROR_CONFLICT}, "cannot stand beside %s: one of them only", other);
    if (read_value(r, at, f, (char *)m + f->offset))
        return -1;
    if (is_member)
        memcpy((char *)m + f->quantifier_offset, &which, sizeof which);
    return 0;
}

/* ---- messages ---- */

/* Whether a field was written under its other name before. */
static bool is_repeated_key(const struct tree_node *map, const struct tree_item *until,
                            const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *f) {
    for (const struct tree_item *item = map->first; item != until; item = item->next)
        if (field_of_key(type, item->key) == f)
            return true;
    return false;
}

static int read_key(struct json_reader *r, const struct json_at *at, const struct tree_item *item, ProtobufCMessage *m) {
    const ProtobufCFieldDescriptor *f = field_of_key(m->descriptor, item->key);
    if (!f)
        return tell_unknown_key(r, at, item, m->descriptor);
    struct json_at field_at = {.up = at, .field = f->name, .node = item->node, .depth = at->depth};
    if (is_repeated_key(at->node, item, m->descriptor, f))
        return json_fault(r, &field_at, &(struct error){.code = ERROR_CONFLICT},
                          "stands here twice, under both of its names");
    if (tree_is_null(item->node) && xds_field_message(f) != &google__protobuf__value__descriptor)
        return 0;
    return read_field(r, &field_at, f, m);
}

int json_read_object(struct json_reader *r, const struct json_at *at, ProtobufCMessage *m, bool is_any) {
    int status = 0;
    if (at->node->type != TREE_MAP)
        return json_expected(r, at, "an object");
    for (const struct tree_item *item = at->node->first; item && r->faults < ERROR_LIST_MAX; item = item->next)
        if (!is_any || !str_eq(item->key, STR("@type")))
            status |= read_key(r, at, item, m);
    return status;
}

int json_read_message(struct json_reader *r, const struct json_at *at, const ProtobufCMessageDescriptor *type,
                      ProtobufCMessage **ret) {
    struct json_at inside = *at;
    if (++inside.depth > XDS_DEPTH_MAX)
        return json_fault(r, at, &(struct error){.code = ERROR_RANGE}, "is nested too deeply");
    ProtobufCMessage *m = json_new_message(r, type);
    if (!m || (json_is_well_known(type) ? json_read_well_known(r, &inside, m) : json_read_object(r, &inside, m, false)))
        return -1;
    *ret = m;
    return 0;
}

ProtobufCMessage *xds_json_read(const ProtobufCMessageDescriptor *type, const struct tree_node *tree, struct arena *arena,
                                struct error_list *errors) {
    struct json_reader r = {.arena = arena, .errors = errors};
    struct json_at at = {.node = tree};
    ProtobufCMessage *m;
    return json_read_message(&r, &at, type, &m) ? NULL : m;
}

ProtobufCMessage *xds_json_read_resource(const struct tree_node *tree, struct arena *arena, struct error_list *errors) {
    struct json_reader r = {.arena = arena, .errors = errors, .takes_any_type = true};
    struct json_at at = {.node = tree};
    ProtobufCMessage *m;
    return json_read_message(&r, &at, &google__protobuf__any__descriptor, &m) ? NULL : m;
}

ProtobufCMessage *xds_json_parse(const ProtobufCMessageDescriptor *type, const char *file, struct str text,
                                 struct arena *arena, struct error_list *errors) {
    struct tree_budget budget = {TREE_NODES_MAX, TREE_EXPANSION_MAX};
    size_t faults = errors->count + errors->dropped;
    const struct tree_node *tree = tree_read(arena, file, text, &tree_verbatim, &budget, errors);
    if (!tree || errors->count + errors->dropped > faults)
        return NULL;
    return xds_json_read(type, tree, arena, errors);
}
