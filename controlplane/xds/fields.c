#include "controlplane/xds/fields.h"

#include "controlplane/xds/decode.h"
#include "controlplane/xds/types.h"
#include "controlplane/xds/value.h"
#include "proto/google/protobuf/any.pb-c.h"

const struct xds_fields xds_everything = {NULL, NULL};

/* Where the walk is. A path is written only when there is something to tell. */
struct place {
    const struct place *up;
    const char         *field;      /* NULL: the message itself */
    const char         *key;        /* of a map; NULL: none */
    size_t              index;
    bool                is_item;
    unsigned            depth;
};

struct walk {
    const struct xds_findings *findings;
    size_t                     memory;      /* bytes that every Any takes that is open */
    size_t                     values;
    int                        told, ignored;   /* ignored: of those that were told */
    bool                       is_over, is_out_of_memory;
};

/* ---- telling ---- */

static void add_path(const struct place *at, struct strbuf *out) {
    if (!at || !at->field)
        return;
    add_path(at->up, out);
    strbuf_printf(out, "%s%s", out->n ? "." : "", at->field);
    if (at->key) {
        strbuf_putc(out, '[');
        strbuf_add_json(out, str_of(at->key));
        strbuf_putc(out, ']');
    } else if (at->is_item) {
        strbuf_printf(out, "[%zu]", at->index);
    }
}

static void run_out_of_memory(struct walk *w) {
    w->is_out_of_memory = w->is_over = true;
}

static void tell(struct walk *w, const struct place *at, const struct xds_finding *finding) {
    bool is_ignored = finding->kind == XDS_IGNORED;
    struct strbuf path = {0};
    struct xds_finding told = *finding;
    if (w->is_over || (is_ignored && w->ignored == XDS_WALK_FINDINGS_MAX))
        return;
    add_path(at, &path);
    told.path = strbuf_str(&path).p;
    if (path.failed) {
        run_out_of_memory(w);
    } else {
        w->told++;
        w->ignored += is_ignored;
        w->is_over = !w->findings->found(w->findings->context, &told);
    }
    strbuf_finish(&path);
    if (!w->is_over && finding->kind != XDS_MORE && w->told - w->ignored == XDS_WALK_FINDINGS_MAX - 1)
        tell(w, NULL, &(struct xds_finding){.kind = XDS_MORE, .detail = "there is more that is not supported"});
    w->is_over |= finding->kind == XDS_MORE;
}

static void tell_kind(struct walk *w, const struct place *at, enum xds_finding_kind kind, const char *detail) {
    tell(w, at, &(struct xds_finding){.kind = kind, .detail = detail});
}

static bool spend(struct walk *w, size_t values) {
    w->values += values;
    if (!w->is_over && w->values > XDS_WALK_VALUES_MAX)
        tell_kind(w, NULL, XDS_MORE, "the message holds too many values");
    return !w->is_over;
}

/* ---- walking ---- */

static bool is_well_known(const ProtobufCMessageDescriptor *type) {
    return strcmp(type->package_name, "google.protobuf") == 0;
}

static const struct xds_field *row_of(const struct xds_fields *table, const char *name) {
    const struct xds_field *row = table->items;
    while (row->name && strcmp(row->name, name) != 0)
        row++;
    return row->name ? row : NULL;
}

static void walk_message(struct walk *w, const struct place *at, const struct xds_fields *table, const ProtobufCMessage *m);

static void tell_unknown_fields(struct walk *w, const struct place *at, const ProtobufCMessage *m) {
    for (unsigned i = 0; i < m->n_unknown_fields && spend(w, 1); i++) {
        tell(w, at, &(struct xds_finding){
            .kind = XDS_UNKNOWN_FIELD, .number = m->unknown_fields[i].tag, .detail = m->descriptor->name,
        });
    }
}

static const struct xds_fields *table_of_url(const struct xds_fields *const *tables, struct str url) {
    struct str name = xds_type_name(url);
    for (; name.p && tables && *tables; tables++)
        if (str_eq(name, str_of((*tables)->type->name)))
            return *tables;
    return NULL;
}

/* Opens an Any of a type that the table lists. */
static void walk_any(struct walk *w, const struct place *at, const struct xds_field *row, const Google__Protobuf__Any *any) {
    const struct xds_fields *table = table_of_url(row->types, str_of(any->type_url));
    struct arena arena;
    ProtobufCMessage *m;
    if (!table) {
        tell_kind(w, at, XDS_UNKNOWN_TYPE, any->type_url);
        return;
    }
    arena_init(&arena, NULL, 0, XDS_RESOURCE_MAX + 1 - w->memory); /* one more: 0 is no limit */
    int status = xds_decode(table->type, &arena, (struct str){(const char *)any->value.data, any->value.len}, &m);
    if (status == MESSAGE_MEMORY)
        run_out_of_memory(w);
    else if (status)
        tell_kind(w, at, status == MESSAGE_LARGE ? XDS_MORE : XDS_MALFORMED, xds_decode_reason(status));
    w->memory += arena.used;
    if (status == 0)
        walk_message(w, at, table, m);
    w->memory -= arena.used;
    arena_finish(&arena);
}

static void walk_enum(struct walk *w, const struct place *at, const ProtobufCFieldDescriptor *f, const void *value) {
    const ProtobufCEnumDescriptor *type = f->descriptor;
    int number;
    memcpy(&number, value, sizeof number);
    if (!protobuf_c_enum_descriptor_get_value(type, number))
        tell(w, at, &(struct xds_finding){.kind = XDS_UNKNOWN_VALUE, .number = number, .detail = type->name});
}

static void walk_value(struct walk *w, const struct place *at, const struct xds_field *row,
                       const ProtobufCFieldDescriptor *f, const void *value) {
    const ProtobufCMessage *m;
    if (f->type == PROTOBUF_C_TYPE_ENUM)
        walk_enum(w, at, f, value);
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return;
    memcpy(&m, value, sizeof m);
    if (!m)     /* an entry of a map without its value */
        return;
    if (m->descriptor == &google__protobuf__any__descriptor && row->inside != &xds_everything)
        walk_any(w, at, row, (const Google__Protobuf__Any *)m);
    else
        walk_message(w, at, row->inside, m);
}

static void walk_entry(struct walk *w, struct place *at, const struct xds_field *row, const ProtobufCMessage *entry) {
    const ProtobufCMessageDescriptor *type = entry->descriptor;
    memcpy(&at->key, xds_field_at(entry, &type->fields[0], 0), sizeof at->key);
    tell_unknown_fields(w, at, entry);
    walk_value(w, at, row, &type->fields[1], xds_field_at(entry, &type->fields[1], 0));
}

/* `row` says what is read of the field's items. */
static void walk_field(struct walk *w, const struct place *up, const struct xds_field *row, const ProtobufCMessage *m,
                       const ProtobufCFieldDescriptor *f) {
    bool is_map = xds_field_is_map(m->descriptor, f);
    size_t count = xds_field_count(m, f);
    if (f->type != PROTOBUF_C_TYPE_MESSAGE && f->type != PROTOBUF_C_TYPE_ENUM)
        return;
    for (size_t i = 0; i < count && spend(w, 1); i++) {
        struct place at = {
            .up = up, .field = f->name, .index = i, .is_item = xds_field_is_repeated(f), .depth = up->depth + 1,
        };
        const void *value = xds_field_at(m, f, i);
        if (is_map)
            walk_entry(w, &at, row, *(const ProtobufCMessage *const *)value);
        else
            walk_value(w, &at, row, f, value);
    }
}

static void look_at_field(struct walk *w, const struct place *up, const struct xds_fields *table, const ProtobufCMessage *m,
                          const ProtobufCFieldDescriptor *f) {
    static const struct xds_field everything = {.inside = &xds_everything};
    const struct xds_field *row = table->items ? row_of(table, f->name) : &everything;
    struct place at = {.up = up, .field = f->name};
    if (!row)
        tell_kind(w, &at, XDS_NOT_READ, NULL);
    else if (row->ignored)
        tell_kind(w, &at, XDS_IGNORED, row->ignored);
    else
        walk_field(w, up, row, m, f);
}

static void walk_message(struct walk *w, const struct place *at, const struct xds_fields *table, const ProtobufCMessage *m) {
    const ProtobufCMessageDescriptor *type = m->descriptor;
    if (!table && is_well_known(type))
        table = &xds_everything;
    if (!table || at->depth > XDS_DEPTH_MAX) {
        tell_kind(w, at, table ? XDS_DEEP : XDS_NOT_READ, NULL);
        return;
    }
    tell_unknown_fields(w, at, m);
    for (unsigned i = 0; i < type->n_fields && spend(w, 1); i++)
        if (xds_field_count(m, &type->fields[i]))
            look_at_field(w, at, table, m, &type->fields[i]);
}

int xds_fields_walk(const struct xds_fields *table, const ProtobufCMessage *message, const struct xds_findings *findings) {
    struct walk w = {.findings = findings};
    struct place at = {.depth = 1};
    walk_message(&w, &at, table, message);
    return w.is_out_of_memory ? -1 : w.told;
}

/* ---- for people, and for tests ---- */

void xds_finding_describe(const struct xds_finding *finding, struct strbuf *out) {
    const char *detail = finding->detail ? finding->detail : "";
    switch (finding->kind) {
    case XDS_NOT_READ: strbuf_puts(out, "is not supported"); break;
    case XDS_IGNORED: strbuf_printf(out, "is ignored: %s", detail); break;
    case XDS_UNKNOWN_FIELD: strbuf_printf(out, "has the unknown field number %ld of %s", finding->number, detail); break;
    case XDS_UNKNOWN_VALUE: strbuf_printf(out, "is %ld, which is no known value of %s", finding->number, detail); break;
    case XDS_UNKNOWN_TYPE: strbuf_printf(out, "is of the type \"%s\", which is not supported here", detail); break;
    case XDS_MALFORMED: strbuf_puts(out, detail); break;
    case XDS_DEEP: strbuf_puts(out, "is nested too deeply"); break;
    case XDS_MORE: strbuf_puts(out, detail); break;
    }
}

/* The type whose table a row needs: of the messages, or of a map's values. */
static const ProtobufCMessageDescriptor *type_inside(const ProtobufCMessageDescriptor *of,
                                                     const ProtobufCFieldDescriptor *f) {
    const ProtobufCMessageDescriptor *type = xds_field_message(f);
    return type && xds_field_is_map(of, f) ? xds_field_message(&type->fields[1]) : type;
}

static bool is_sound(const ProtobufCMessageDescriptor *of, const struct xds_field *row) {
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(of, row->name);
    const ProtobufCMessageDescriptor *type = f ? type_inside(of, f) : NULL;
    bool has_table = row->inside || row->types;
    if (!f)
        return false;
    if (row->ignored || !type)
        return !has_table;
    if (row->inside == &xds_everything)
        return !row->types;
    if (type == &google__protobuf__any__descriptor)
        return row->types && !row->inside;
    if (is_well_known(type))
        return !has_table;
    return row->inside && row->inside->type == type && !row->types;
}

const char *xds_fields_fault(const struct xds_fields *table) {
    for (const struct xds_field *row = table->items; row->name; row++)
        if (!is_sound(table->type, row) || row_of(table, row->name) != row)
            return row->name;
    return NULL;
}
