/* The tables agree with the messages: every key has its field, of a fitting type, and every field has its key. */
#include "support.h"

#include "controlplane/config/schema/catalog.h"
#include "controlplane/config/message/field.h"

/* What only the state part of a snapshot knows, and names of secrets, which follow from the names of files. */
static bool is_not_configured(const ProtobufCMessageDescriptor *m, const ProtobufCFieldDescriptor *f)
{
    static const char *const names[][2] = {{"Endpoint", "health"}, {"ServerTls", "certificates"},
                                           {"ServerTls", "client_trust"}, {"ClientTls", "trust"},
                                           {"ClientTls", "certificate"},
                                           {"CertificateFiles", "ocsp"} /* that is of listeners only */};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(m->short_name, names[i][0]) == 0 && strcmp(f->name, names[i][1]) == 0) {
            return true;
        }
    }
    return false;
}

static bool fits(const struct schema_key *k, const ProtobufCFieldDescriptor *f)
{
    switch (k->type) {
    case SCHEMA_BOOL: return f->type == PROTOBUF_C_TYPE_BOOL;
    case SCHEMA_INTEGER: return f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_UINT64;
    case SCHEMA_DURATION: return f->type == PROTOBUF_C_TYPE_UINT64;
    case SCHEMA_SIZE: return f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_UINT64;
    case SCHEMA_WORD: return f->type == PROTOBUF_C_TYPE_ENUM;
    case SCHEMA_TEXT: return f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES;
    case SCHEMA_OBJECT: return f->type == PROTOBUF_C_TYPE_MESSAGE && f->descriptor == k->object->message;
    default: return false;
    }
}

static void check_key(const struct schema_object *o, const struct schema_key *k)
{
    if (!k->description || !*k->description) {
        fail_msg("%s.%s has no description", o->title, k->key);
    }
    if (k->flags & SCHEMA_INLINE && k->object->message != o->message) {
        fail_msg("%s.%s stands inside of another message", o->title, k->key);
    }
    if (k->flags & (SCHEMA_ELSEWHERE | SCHEMA_INLINE) || k->type == SCHEMA_RESOURCES) {
        return;
    }
    const ProtobufCFieldDescriptor *f = schema_field(o, k);
    if (!f || !fits(k, f)) {
        fail_msg("%s.%s has no field of its type", o->title, k->key);
    }
    if ((f->label == PROTOBUF_C_LABEL_REPEATED) != ((k->flags & SCHEMA_LIST) != 0)) {
        fail_msg("%s.%s: list or not", o->title, k->key);
    }
    if (k->type == SCHEMA_TEXT && !k->form) {
        fail_msg("%s.%s has no form", o->title, k->key);
    }
    if ((k->type == SCHEMA_DURATION || k->type == SCHEMA_SIZE || k->type == SCHEMA_INTEGER) && !k->max && !k->allowed) {
        fail_msg("%s.%s has no finite bound", o->title, k->key);
    }
    if (f->type == PROTOBUF_C_TYPE_UINT32 && k->max > UINT32_MAX) {
        fail_msg("%s.%s: the bound does not fit", o->title, k->key);
    }
}

static void every_key_has_a_field(void **state)
{
    struct catalog c;
    (void)state;
    catalog_collect(&c, &schema_root);
    assert_in_range(c.count, 20, CATALOG_MAX - 1);
    for (size_t i = 0; i < c.count; i++) {
        for (const struct schema_key *k = c.entries[i].object->keys; k->key; k++) {
            check_key(c.entries[i].object, k);
        }
    }
}

static bool is_filled(const struct schema_object *o, const ProtobufCFieldDescriptor *f)
{
    for (const struct schema_key *k = o->keys; k->key; k++) {
        bool is_inside = k->field && strncmp(k->field, f->name, strlen(f->name)) == 0 && k->field[strlen(f->name)] == '.';
        if (k->flags & SCHEMA_INLINE && is_filled(k->object, f)) {
            return true;
        }
        bool is_own = !(k->flags & (SCHEMA_ELSEWHERE | SCHEMA_COMPANION | SCHEMA_INLINE)) && k->type != SCHEMA_RESOURCES;
        if (is_own && (is_inside || schema_field(o, k) == f)) {
            return true;
        }
    }
    return false;
}

/* Its keys count as those of the object around it. */
static bool is_inline(const struct catalog *c, const struct schema_object *o)
{
    for (size_t i = 0; i < c->count; i++) {
        for (const struct schema_key *k = c->entries[i].object->keys; k->key; k++) {
            if (k->object == o && k->flags & SCHEMA_INLINE) {
                return true;
            }
        }
    }
    return false;
}

static void every_field_has_a_key(void **state)
{
    struct catalog c;
    (void)state;
    catalog_collect(&c, &schema_root);
    for (size_t i = 0; i < c.count; i++) {
        const struct schema_object *o = c.entries[i].object;
        for (unsigned j = 0; j < o->message->n_fields && !is_inline(&c, o); j++) {
            const ProtobufCFieldDescriptor *f = &o->message->fields[j];
            if (!is_not_configured(o->message, f) && !is_filled(o, f)) {
                fail_msg("%s.%s cannot be written", o->message->short_name, f->name);
            }
        }
    }
}

static bool has_word(const struct schema_key *k, int value)
{
    for (const struct schema_word *w = k->words; w->word; w++) {
        if (w->value == value) {
            return true;
        }
    }
    return false;
}

/* The value of the protocol that a later version brings is a word without a value yet. */
static bool is_later_protocol(const ProtobufCEnumValue *v)
{
    return strcmp(v->name, "HTTP3") == 0;
}

static void every_enum_value_has_a_word(void **state)
{
    struct catalog c;
    (void)state;
    catalog_collect(&c, &schema_root);
    for (size_t i = 0; i < c.count; i++) {
        for (const struct schema_key *k = c.entries[i].object->keys; k->key; k++) {
            if (k->type != SCHEMA_WORD) {
                continue;
            }
            const ProtobufCEnumDescriptor *e = schema_field(c.entries[i].object, k)->descriptor;
            for (unsigned v = 0; v < e->n_values; v++) {
                if (!has_word(k, e->values[v].value) && !is_later_protocol(&e->values[v])) {
                    fail_msg("%s.%s has no word for %s", c.entries[i].object->title, k->key, e->values[v].name);
                }
            }
        }
    }
}

static void defaults_lie_within_their_bounds(void **state)
{
    struct catalog c;
    (void)state;
    catalog_collect(&c, &schema_root);
    for (size_t i = 0; i < c.count; i++) {
        for (const struct schema_key *k = c.entries[i].object->keys; k->key; k++) {
            struct field_value value;
            bool is_number = k->type == SCHEMA_INTEGER || k->type == SCHEMA_DURATION || k->type == SCHEMA_SIZE;
            if (!is_number || k->allowed || !field_default(schema_field(c.entries[i].object, k), &value)) {
                continue;
            }
            if (value.number < k->min || value.number > k->max) {
                fail_msg("%s.%s: the default %llu is out of bounds", c.entries[i].object->title, k->key,
                         (unsigned long long)value.number);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_a_field),
        cmocka_unit_test(every_field_has_a_key),
        cmocka_unit_test(every_enum_value_has_a_word),
        cmocka_unit_test(defaults_lie_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
